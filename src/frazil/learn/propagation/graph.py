"""Label propagation: a few labels spread over a graph of nearest neighbours. Arrays in, arrays out.

Descriptors are put on the unit sphere; each is joined to its k nearest neighbours with affinity [dᵢᵀdⱼ]₊^γ; the graph
is made symmetric and normalised, Ξ = Γ^−½ (Δ + Δᵀ) Γ^−½; and (I − αΞ) ψ = Y is solved by conjugate gradients for all
classes at once. A sample's pseudo-label is its largest ψ; the certainty of it is one minus the entropy of ψ over that
of a uniform distribution.

Where no label reaches there is no pseudo-label: −1, with weight 0.

References:
    Iscen, A., Tolias, G., Avrithis, Y., Chum, O. (2019), Label propagation for deep semi-supervised learning. CVPR
    2019. doi:10.48550/arXiv.1904.04717.
    Zhu, X., Ghahramani, Z., Lafferty, J. (2003), Semi-supervised learning using Gaussian fields and harmonic
    functions. ICML 2003. Section 4, class mass normalisation.
    Zhou, D., Bousquet, O., Lal, T. N., Weston, J., Schölkopf, B. (2003), Learning with local and global consistency.
    NIPS 2003.
    Khaleghian (2022), paper 2, equations 5 to 14.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from frazil.errors import OptionError
from frazil.learn.config import PropagationConfig
from frazil.learn.propagation.neighbours import nearest_neighbours
from frazil.learn.propagation.order import breadth_first, permuted

#: From so many samples and classes on, samples are put in an order first: the rows that a product gathers no longer fit
#: into a core's cache, and what an order costs is gained back within some ten iterations.
_ORDERED_SAMPLES, _ORDERED_CLASSES = 50_000, 4
NOWHERE = -1  #: the label of samples without one, given or found


@dataclass(frozen=True, eq=False, kw_only=True)
class Propagated:
    """What the labels became.

    Attributes:
        label: int64 (sample,) class codes; given labels are kept; −1 where no label reaches.
        weight: float32 (sample,) certainty, 0…1; 1 for given labels, 0 where no label reaches.
        score: float32 (sample, class) ψ, not negative; times `mass_factors` where masses are asked for.
        reached: bool (sample,).
        class_weight: float32 (class,) by which classes even out, 1 on average over reached samples; 0 for a class that
            nothing has.
        iterations: of conjugate gradients.
        residual: of the solution, relative, the largest over classes.
        converged: whether the iterations reached the tolerance (rounding may leave the residual a little above it).
    """

    label: np.ndarray
    weight: np.ndarray
    score: np.ndarray
    reached: np.ndarray
    class_weight: np.ndarray
    iterations: int
    residual: float
    converged: bool


def propagate_labels(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    n_classes: int | None = None,
    config: PropagationConfig | None = None,
    graph: sparse.csr_array | None = None,
    **settings: Any,
) -> Propagated:
    """Pseudo-labels of samples from the labels of a few.

    Args:
        features: (sample, feature) descriptors; rows of zeros have no neighbours.
        labels: integer (sample,); −1 without one.
        n_classes: how many classes there are; by default one more than the largest label. A class without a label is
            never found.
        config: settings.
        graph: of an earlier call on the same features (`affinity_graph`), in place of making it anew.
        **settings: fields of `PropagationConfig`, in place of ``config``.

    Raises:
        OptionError: features that are not finite, labels of another number or beyond the classes, or none at all.
    """
    chosen = config or PropagationConfig(**settings)
    if config is not None and settings:
        raise OptionError("Pass either config or single settings, not both.")
    labels = np.asarray(labels)
    n = len(features)
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise OptionError(f"labels must be {n} integers, one for each sample; got {labels.dtype} {labels.shape}.")
    labels = labels.astype(np.int64)
    given = labels != NOWHERE
    if not given.any():
        raise OptionError("There is no label to propagate. Give at least one sample a class code of 0 or more.")
    n_classes = int(labels.max()) + 1 if n_classes is None else n_classes
    if labels.min() < NOWHERE or labels.max() >= n_classes:
        raise OptionError(f"labels must lie between -1 and {n_classes - 1}; got {labels.min()} to {labels.max()}.")
    graph = affinity_graph(features, chosen) if graph is None else graph
    seeds = np.zeros((n, n_classes), np.float32)
    seeds[np.flatnonzero(given), labels[given]] = 1
    if chosen.seeds == "per_class":
        seeds /= np.maximum(seeds.sum(axis=0), 1)
    score, iterations, residual, converged = solve(graph, seeds, chosen)
    np.maximum(score, 0, out=score)
    if chosen.mass != "none":
        prior = np.bincount(labels[given], minlength=n_classes).astype(np.float64)
        score *= mass_factors(score[~given], prior if chosen.mass == "labels" else prior > 0)
    total = score.sum(axis=1)
    reached = (total > 0) | given
    label = np.where(reached, score.argmax(axis=1), NOWHERE)
    label[given] = labels[given]
    weight = certainty(score[:, seeds.any(axis=0)])  # a class without a label cannot be doubted about
    if chosen.weights == "relative":
        found = reached & ~given
        weight /= max(float(weight[found].max()), 1e-12) if found.any() else 1.0
    weight[~reached] = 0
    weight[given] = 1
    return Propagated(
        label=label,
        weight=weight,
        score=score,
        reached=reached,
        class_weight=class_weight(label, n_classes),
        iterations=iterations,
        residual=residual,
        converged=converged,
    )


def affinity_graph(
    features: np.ndarray,
    config: PropagationConfig | None = None,
    progress: Callable[[float], None] | None = None,
    *,
    device: str = "cpu",
) -> sparse.csr_array:
    """The normalised graph Ξ: float32, symmetric, not negative, zero diagonal, spectral radius at most 1.

    Args:
        features: (sample, feature).
        config: settings.
        progress: called with the fraction of samples whose neighbours are found.
        device: where neighbours are searched, ``"cpu"`` or ``"cuda"``.

    Raises:
        OptionError: features that are not finite, or fewer than two samples.
    """
    config = config or PropagationConfig()
    near = nearest_neighbours(features, config.k, search=config.search, progress=progress, device=device)
    return graph_of(*near, config.gamma)


def graph_of(neighbour: np.ndarray, cosine: np.ndarray, gamma: float) -> sparse.csr_array:
    """The graph of `affinity_graph` from neighbours that are known.

    Args:
        neighbour: positions, whole numbers (sample, neighbour).
        cosine: similarities (sample, neighbour), −1…1.
        gamma: exponent of the affinity.
    """
    n, k = neighbour.shape
    affinity = np.maximum(cosine, 0).astype(np.float32) ** np.float32(gamma)
    index = np.int32 if 2 * n * k < 2**31 else np.int64  # MKL multiplies with the former, and half the memory moves
    start = np.arange(0, n * k + 1, k, dtype=index)
    delta = sparse.csr_array((affinity.ravel(), neighbour.ravel().astype(index, copy=False), start), shape=(n, n))
    theta = (delta + delta.T).tocsr()
    theta.eliminate_zeros()
    degree = theta.sum(axis=1)
    scale = np.zeros(n, np.float32)
    np.divide(1, np.sqrt(degree), out=scale, where=degree > 0)
    both = scale[theta.indices]
    both *= np.repeat(scale, np.diff(theta.indptr))  # this product first: it is the same for (i, j) and (j, i)
    theta.data *= both
    return theta


@torch.autocast("cpu", enabled=False)  # a training step may be in half precision
def solve(graph: sparse.csr_array, seeds: np.ndarray, config: PropagationConfig) -> tuple[np.ndarray, int, float, bool]:
    """ψ of (I − αΞ) ψ = Y by conjugate gradients, all classes side by side.

    Args:
        graph: Ξ, (sample, sample).
        seeds: Y, (sample, class).
        config: α, tolerance and iterations.

    Returns:
        ψ float32 (sample, class), the iterations, the largest relative residual over the classes, and whether the
        iterations reached the tolerance.
    """
    if seeds.shape[0] >= _ORDERED_SAMPLES and seeds.shape[1] >= _ORDERED_CLASSES:
        order = breadth_first(graph)
        found, steps, left, converged = _gradients(permuted(graph, order), seeds[order], config)
        score = np.empty_like(found)
        score[order] = found
        return score, steps, left, converged
    return _gradients(graph, seeds, config)


def _gradients(
    graph: sparse.csr_array, seeds: np.ndarray, config: PropagationConfig
) -> tuple[np.ndarray, int, float, bool]:
    """`solve`, with samples in the order that they come in."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        matrix = torch.sparse_csr_tensor(
            torch.from_numpy(graph.indptr),
            torch.from_numpy(graph.indices),
            torch.from_numpy(graph.data),
            graph.shape,
            check_invariants=False,
        )

    right = torch.from_numpy(np.ascontiguousarray(seeds, np.float32))
    x, r, p = torch.zeros_like(right), right.clone(), right.clone()
    ap, product = torch.empty_like(right), torch.empty_like(right)  # new memory in every step would cost as much again

    def apply(v: Tensor) -> Tensor:
        return torch.addmm(v, matrix, v, alpha=-config.alpha, out=ap)

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return torch.mul(a, b, out=product).sum(0)

    norm = dot(right, right)
    rr = norm.clone()
    target = config.tolerance**2 * norm
    steps = 0
    while steps < config.iterations and bool((rr > target).any()):
        steps += 1
        # A class that has converged, or has no label, stands still: its step is 0, not 0 / 0.
        active = rr > target
        along = torch.where(active, rr / dot(p, apply(p)).clamp(min=1e-38), 0.0)
        x.addcmul_(along, p)
        r.addcmul_(along, ap, value=-1)
        new = dot(r, r)
        p.mul_(torch.where(active, new / rr.clamp(min=1e-38), 0.0)).add_(r)
        rr = torch.where(active, new, rr)
    left = dot(apply(x).sub_(right), ap)
    relative = torch.where(norm > 0, (left / norm.clamp(min=1e-38)).sqrt(), 0.0)
    return x.numpy(), steps, float(relative.max()), not bool((rr > target).any())


def mass_factors(score: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Factors float32 (class,) that give each class the mass that it should have; 1 where it has it.

    The mass of a class is the sum of ψ̂, the scores of a sample divided by their sum, over all samples; it is to be that
    class's share of the prior. Samples are then named by the largest of ψ times these factors.

    Args:
        score: ψ (sample, class) of the samples without a label; rows of zeros count for nothing.
        prior: (class,), of any sum.
    """
    total = score.sum(axis=1, dtype=np.float64)
    reached = total > 0
    mass = (score[reached] / total[reached, None]).sum(axis=0)
    wanted = np.asarray(prior, np.float64) / prior.sum() * reached.sum()
    if not reached.any():
        return np.ones(len(mass), np.float32)
    return np.divide(wanted, mass, out=np.zeros(len(mass)), where=mass > 0).astype(np.float32)


def certainty(score: np.ndarray) -> np.ndarray:
    """1 − H(ψ̂) / log g, float32 (sample,), of scores (sample, class).

    0 for rows of zeros; 1 for all others where there is but one class.
    """
    n_classes = score.shape[1]
    total = score.sum(axis=1, keepdims=True)
    p = np.divide(score, total, out=np.zeros_like(score), where=total > 0)
    if n_classes == 1:
        return (total[:, 0] > 0).astype(np.float32)
    entropy = -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1)
    weight: np.ndarray = np.clip(1 - entropy / np.log(n_classes), 0, 1).astype(np.float32)
    weight[total[:, 0] == 0] = 0
    return weight


def class_weight(label: np.ndarray, n_classes: int) -> np.ndarray:
    """v_j ∝ 1 / (|S_j| + |E_j|), float32 (class,), one on average over the samples that have a class."""
    count = np.bincount(label[label >= 0], minlength=n_classes).astype(np.float64)
    present = count > 0
    weight = np.zeros(n_classes)
    weight[present] = count.sum() / (present.sum() * count[present])
    return weight.astype(np.float32)


class LabelPropagator:
    """Label propagation with the interface of scikit-learn: ``fit(X, y)`` with −1 for samples without a label.

    Args:
        **settings: fields of `PropagationConfig`.

    Attributes:
        transduction_: labels of the fitted samples, −1 where none reaches.
        label_distributions_: (sample, class) ψ, rows summing to one, or to zero where no label reaches.
        certainty_: weights of the fitted samples.
        classes_: class codes.
    """

    def __init__(self, **settings: Any) -> None:
        self.config = PropagationConfig(**settings)

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002 - scikit-learn's signature
        """The settings."""
        return asdict(self.config)

    def set_params(self, **settings: Any) -> LabelPropagator:
        """Change settings."""
        unknown = set(settings) - {f.name for f in fields(PropagationConfig)}
        if unknown:
            raise OptionError(f"{sorted(unknown)[0]!r} is not a setting of label propagation.")
        self.config = PropagationConfig(**{**asdict(self.config), **settings})
        return self

    def fit(self, X: np.ndarray, y: np.ndarray) -> LabelPropagator:
        """Propagate the labels ``y`` over the samples ``X``."""
        codes = np.asarray(y)
        self.classes_ = np.unique(codes[codes != NOWHERE])
        place = np.searchsorted(self.classes_, codes)
        inner = np.where(codes == NOWHERE, NOWHERE, place)
        found = propagate_labels(X, inner, n_classes=max(self.classes_.size, 1), config=self.config)
        self.transduction_ = np.where(found.label >= 0, self.classes_[np.maximum(found.label, 0)], NOWHERE)
        total = found.score.sum(axis=1, keepdims=True)
        self.label_distributions_ = np.divide(found.score, total, out=np.zeros_like(found.score), where=total > 0)
        self.certainty_ = found.weight
        self.report_ = found
        self._fitted = np.asarray(X, np.float32)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities (sample, class) of other samples: the affinity-weighted mean over their fitted neighbours."""
        new = np.asarray(X, np.float32)
        neighbour, cosine = nearest_neighbours(new, self.config.k, among=self._fitted)
        weight = np.maximum(cosine, 0) ** self.config.gamma
        p = np.einsum("nk,nkc->nc", weight, self.label_distributions_[neighbour])
        total = p.sum(axis=1, keepdims=True)
        return np.divide(p, total, out=np.zeros_like(p), where=total > 0)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Labels of other samples; −1 where no label reaches."""
        p = self.predict_proba(X)
        return np.where(p.sum(axis=1) > 0, self.classes_[p.argmax(axis=1)], NOWHERE)
