"""What a worker learns from stale copies of the others, on its own batch.

*Feature-space distillation* (AFSD) compares how far apart the samples of a batch lie in two feature spaces; the spaces
themselves may be turned, mirrored or shifted against each other. *Output distillation* (codistillation) compares
probabilities.

References:
    Khaleghian (2022), paper 3, equations 1 to 3.
    Anil, R., Pereyra, G., Passos, A., Ormandi, R., Dahl, G., Hinton, G. (2018), Large scale distributed neural network
    training through online distillation. ICLR 2018. doi:10.48550/arXiv.1804.03235.
    Park, W., Kim, D., Lu, Y., Cho, M. (2019), Relational knowledge distillation. CVPR 2019.
    doi:10.48550/arXiv.1904.05068 (division of distances by their mean).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from frazil.learn.models.output import activated

_EPS = 1e-12
_SAME = 1e-13  # of squared lengths: what rounding leaves between equal rows


def pairwise_distances(features: Tensor) -> Tensor:
    """Euclidean distances float32 (sample, sample) between the rows of ``features`` (sample, feature).

    By the inner-product formula, in double precision and with the mean taken out: in single precision it is off by half
    a percent between close samples, and differences of all pairs (`torch.cdist`) take four times as long. Samples that
    are equal to rounding are at distance 0, with a gradient of zero, not NaN.
    """
    with torch.autocast(features.device.type, enabled=False):
        x = features.double()
        x = x - x.mean(0)
        lengths = x.square().sum(1)
        both = lengths[:, None] + lengths[None]
        squares = both - 2 * x @ x.T
        apart = (squares > _SAME * both).fill_diagonal_(False)
        return torch.where(apart, squares, 1.0).sqrt().mul(apart).float()


def pairwise_angles(features: Tensor) -> Tensor:
    """One minus the cosine of the angle between rows of ``features`` (sample, feature): float32 (sample, sample)."""
    with torch.autocast(features.device.type, enabled=False):
        x = nn.functional.normalize(features.float(), dim=1, eps=_EPS)
        return (1 - x @ x.T).clamp(min=0)


def feature_distillation(
    student: Tensor, teachers: list[Tensor], *, normalised: bool = True, distance: str = "euclidean"
) -> Tensor:
    """The mean over teachers of how unlike the distances in two feature spaces are.

    Args:
        student: features (sample, feature); gradients go here alone.
        teachers: features of the same samples, each (sample, feature) of any width.
        normalised: divide each matrix by its mean distance and average over pairs, so that neither batch size nor scale
            of the features matters; otherwise equation 3 to the letter, the sum over all entries divided by the number
            of samples.
        distance: ``"euclidean"`` or ``"cosine"``.

    Returns:
        A scalar; 0 without teachers, or with fewer than two samples.
    """
    n = len(student)
    if not teachers or n < 2:
        return student.sum() * 0.0
    between = pairwise_angles if distance == "cosine" else pairwise_distances
    own = _scaled(between(student), normalised)
    total = student.new_zeros((), dtype=torch.float32)
    for features in teachers:
        other = _scaled(between(features.detach()), normalised)
        total = total + (own - other).abs().sum() / (n * (n - 1) if normalised else n)
    return total / len(teachers)


def layers_distillation(
    student: list[Tensor], teachers: list[list[Tensor]], *, normalised: bool = True, distance: str = "euclidean"
) -> Tensor:
    """The mean over layers of `feature_distillation`, of each layer's features of the student and of each teacher."""
    losses = [
        feature_distillation(own, [t[i] for t in teachers], normalised=normalised, distance=distance)
        for i, own in enumerate(student)
    ]
    return torch.stack(losses).mean()


def _scaled(distances: Tensor, normalised: bool) -> Tensor:
    if not normalised:
        return distances
    n = len(distances)
    mean = distances.sum() / (n * (n - 1))
    return distances / mean.clamp(min=_EPS)


def output_distillation(logits: Tensor, teachers: list[Tensor], output: str = "softmax") -> Tensor:
    """Cross-entropy of the student's probabilities against the mean of its teachers'.

    Args:
        logits: of the student, (sample, class, …).
        teachers: logits of the same samples.
        output: what logits mean: ``"softmax"``, or ``"sigmoid"``, where the cross-entropy is the mean of those of each
            class by itself.

    Returns:
        A scalar; 0 without teachers.
    """
    if not teachers:
        return logits.sum() * 0.0
    target = torch.stack([activated(t.detach().float(), output) for t in teachers]).mean(0)
    if output == "sigmoid":
        return nn.functional.binary_cross_entropy_with_logits(logits.float(), target)
    return -(target * logits.float().log_softmax(1)).sum(1).mean()
