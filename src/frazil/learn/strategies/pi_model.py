"""Π-model: two views of a patch, each with noise of its own, shall be named alike.

Equation (algorithm 1): −1/|B| Σ_{labelled} log z_i[y_i] + w(t) 1/(C |B|) Σ_B ‖z_i − z̃_i‖², where z and z̃ are the
probabilities of two views in training mode (changes of the patch, dropout), and the gradient runs through both.
w(t) = w_max · M/N · exp(−5 (1 − t)²): M/N is the labelled share, and t goes from 0 to 1 over the ramp.

Left out: Gaussian noise on the inputs, which makes patches that no radar gives (speckle is among the changes of
training patches), mean-only batch norm, and the change of Adam's β₁ at the end. Labelled patches are a fixed part of
each batch; `PiModelConfig.share` says what that means for the weight.

References:
    Laine, S., Aila, T. (2017), Temporal ensembling for semi-supervised learning. ICLR 2017.
    doi:10.48550/arXiv.1610.02242.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from frazil.learn.config import PiModelConfig
from frazil.learn.data.pool import PoolBatches
from frazil.learn.propagation.pseudo import hits
from frazil.learn.strategies.average import risen_smoothly, weighed
from frazil.learn.strategies.building import Parts
from frazil.learn.strategies.plan import Plan
from frazil.learn.train import Strategy


class PiModel(Strategy):
    """Cross-entropy on labels, and the mean squared difference of the probabilities of two views of all patches.

    Args:
        network: a patch classifier.
        batches: two views.
        label: int64 of the labelled patches.
        plan: how long the run is.
        settings: of the strategy.
        share: by which the weight is multiplied, M/N.
    """

    def __init__(
        self,
        network: nn.Module,
        batches: PoolBatches,
        label: Tensor,
        plan: Plan,
        settings: PiModelConfig,
        *,
        share: float,
    ) -> None:
        self.networks, self.result = {"network": network}, network
        self.batches, self.label, self.plan, self.settings, self.share = batches, label, plan, settings, share

    def losses(self, step: int) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Losses on labelled patches and on all, the second before it is weighed, and logs."""
        (one, other), places = self.batches(step)
        n = self.settings.labelled
        label = self.label[places[:n]].to(one.device)
        logits = self.result(torch.cat([one, other])).float()
        first, second = logits.softmax(1).chunk(2)
        labelled = nn.functional.cross_entropy(logits[:n], label, reduction="sum") / len(one)
        return labelled, (first - second).square().mean(), {"accuracy": hits(logits[:n], label)}

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and logs of one step."""
        labelled, unlabelled, logs = self.losses(step)
        rise = risen_smoothly(step, self.plan.steps, self.settings.ramp)
        loss, parts = weighed(labelled, unlabelled, self.settings.weight * self.share * rise)
        return loss, {**parts, **logs}


def build(settings: PiModelConfig, parts: Parts) -> PiModel:
    """See `frazil.learn.strategies.make_strategy`."""
    views, share = parts.views(settings.labelled, parts.weak, parts.weak), parts.labelled_share(settings)
    return PiModel(parts.network, views, parts.pool.label, parts.plan, settings, share=share)
