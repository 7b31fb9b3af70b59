"""FixMatch: what is confident about a slightly changed patch is taught for a strongly changed one.

The changes are those that keep the physics of a radar image; the original's colour operations would make patches that
no radar gives.

References:
    Sohn, K. et al. (2020), FixMatch: simplifying semi-supervised learning with consistency and confidence. NeurIPS
    2020. doi:10.48550/arXiv.2001.07685.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from frazil.learn.config import FixMatchConfig
from frazil.learn.data.pool import PoolBatches
from frazil.learn.propagation.pseudo import hits
from frazil.learn.strategies.average import Averaged, risen, weighed
from frazil.learn.strategies.building import Parts
from frazil.learn.strategies.plan import Plan


class FixMatch(Averaged):
    """Cross-entropy on labels, and on one's own confident guesses.

    Args:
        network: a patch classifier.
        batches: two views, the weak and the strong one.
        label: int64 of the labelled patches.
        plan: how long the run is.
        settings: of the strategy.
    """

    def __init__(
        self, network: nn.Module, batches: PoolBatches, label: Tensor, plan: Plan, settings: FixMatchConfig
    ) -> None:
        super().__init__(network, settings.ema)
        self.batches, self.label, self.plan, self.settings = batches, label, plan, settings

    def losses(self, step: int) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Losses on labelled and on unlabelled patches, and logs."""
        (weak, strong), places = self.batches(step)
        n = self.settings.labelled
        label = self.label[places[:n]].to(weak.device)
        logits = self.network(torch.cat([weak, strong[n:]])).float()
        of_labelled, of_weak, of_strong = logits[:n], logits[n : len(weak)], logits[len(weak) :]
        confidence, guess = of_weak.detach().softmax(1).max(1)
        sure = confidence >= self.settings.threshold
        each = nn.functional.cross_entropy(of_strong, guess, reduction="none")
        logs = {"accuracy": hits(of_labelled, label), "pseudo_coverage": float(sure.float().mean())}
        return nn.functional.cross_entropy(of_labelled, label), (each * sure).mean(), logs

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and logs of one step."""
        labelled, unlabelled, logs = self.losses(step)
        weight = self.settings.weight * risen(step, self.plan.steps, self.settings.ramp)
        loss, parts = weighed(labelled, unlabelled, weight)
        return loss, {**parts, **logs}


def build(settings: FixMatchConfig, parts: Parts) -> FixMatch:
    """See `frazil.learn.strategies.make_strategy`."""
    views = parts.views(settings.labelled, parts.weak, settings.strong)
    return FixMatch(parts.network, views, parts.pool.label, parts.plan, settings)
