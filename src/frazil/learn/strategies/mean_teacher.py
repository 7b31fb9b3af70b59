"""Mean Teacher: agreement with the moving average of oneself on another view of the same patch.

References:
    Tarvainen, A., Valpola, H. (2017), Mean teachers are better role models. NIPS 2017. doi:10.48550/arXiv.1703.01780.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from frazil.learn.config import MeanTeacherConfig
from frazil.learn.data.pool import PoolBatches
from frazil.learn.propagation.pseudo import hits
from frazil.learn.strategies.average import Averaged, risen, weighed
from frazil.learn.strategies.building import Parts
from frazil.learn.strategies.plan import Plan


class MeanTeacher(Averaged):
    """Cross-entropy on labels, and the mean squared difference of probabilities from the average's on all patches.

    Args:
        network: a patch classifier.
        batches: two views, the network's and the average's.
        label: int64 of the labelled patches.
        plan: how long the run is.
        settings: of the strategy.
    """

    def __init__(
        self, network: nn.Module, batches: PoolBatches, label: Tensor, plan: Plan, settings: MeanTeacherConfig
    ) -> None:
        super().__init__(network, settings.ema)
        self.batches, self.label, self.plan, self.settings = batches, label, plan, settings

    def losses(self, step: int) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Losses on labelled and on unlabelled patches, and logs."""
        (mine, its), places = self.batches(step)
        n = self.settings.labelled
        label = self.label[places[:n]].to(mine.device)
        logits = self.network(mine).float()
        with torch.no_grad():
            target = self.average.network(its).float().softmax(1)
        apart = (logits.softmax(1) - target).square().mean()
        return nn.functional.cross_entropy(logits[:n], label), apart, {"accuracy": hits(logits[:n], label)}

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and logs of one step."""
        labelled, unlabelled, logs = self.losses(step)
        weight = self.settings.weight * risen(step, self.plan.steps, self.settings.ramp)
        loss, parts = weighed(labelled, unlabelled, weight)
        return loss, {**parts, **logs}


def build(settings: MeanTeacherConfig, parts: Parts) -> MeanTeacher:
    """See `frazil.learn.strategies.make_strategy`."""
    views = parts.views(settings.labelled, parts.weak, parts.weak)
    return MeanTeacher(parts.network, views, parts.pool.label, parts.plan, settings)
