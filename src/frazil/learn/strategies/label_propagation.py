"""Label propagation with one network (LP-DeepSSL, "LP-SSL" in the sea-ice paper).

Stage 1 learns from the labelled patches. In stage 2 every epoch begins with the network's descriptors of all patches,
over which the labels are propagated; the network then learns from all patches, weighted by certainty and class.

References:
    Iscen, A., Tolias, G., Avrithis, Y., Chum, O. (2019), Label propagation for deep semi-supervised learning. CVPR
    2019. doi:10.48550/arXiv.1904.04717.
"""

from __future__ import annotations

from torch import Tensor, nn

from frazil.learn.config import LabelPropagationConfig, OptimConfig
from frazil.learn.data.pool import PoolBatches
from frazil.learn.propagation.pseudo import PseudoLabels, hits
from frazil.learn.strategies.building import Parts
from frazil.learn.strategies.plan import Plan
from frazil.learn.train import Strategy, scheduled


class LabelPropagation(Strategy):
    """One network, its own teacher.

    Args:
        network: a patch classifier.
        batches: one view of labelled and unlabelled patches.
        pseudo: their labels and weights.
        plan: where stages and epochs begin.
        settings: of the strategy.
    """

    def __init__(
        self,
        network: nn.Module,
        batches: PoolBatches,
        pseudo: PseudoLabels,
        plan: Plan,
        settings: LabelPropagationConfig,
    ) -> None:
        self.networks, self.result = {"network": network}, network
        self.batches, self.pseudo, self.plan, self.settings = batches, pseudo, plan, settings

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and logs of one step."""
        logs: dict[str, float] = {}
        if self.plan.begins_epoch(step, self.settings.refresh_epochs):
            logs |= self.pseudo.refresh(self.result)
        (image,), places = self.batches(step)
        logits = self.result(image)
        loss = self.pseudo.loss(logits, places)
        n = min(self.settings.labelled, len(places))
        accuracy = hits(logits[:n], self.pseudo.label[places[:n]])
        return loss, {"loss": float(loss.detach()), "accuracy": accuracy, **logs}

    def rates(self, step: int, config: OptimConfig) -> dict[str, float]:
        """`first_lr` for the first stage, `OptimConfig.lr` for the second, each on its own schedule."""
        first = self.plan.first
        if step < first:
            return {"network": scheduled(config, self.settings.first_lr, step, first)}
        return {"network": scheduled(config, config.lr, step - first, config.steps - first)}

    def tensors(self) -> dict[str, Tensor]:
        """The pseudo-labels of the epoch."""
        return self.pseudo.tensors()

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        self.pseudo.load_tensors(tensors)

    def notes(self) -> dict[str, object]:
        """The k and alpha that were chosen."""
        return self.pseudo.notes()


def build(settings: LabelPropagationConfig, parts: Parts) -> LabelPropagation:
    """See `frazil.learn.strategies.make_strategy`."""
    pseudo = PseudoLabels(parts.pool, parts.n_classes, settings, parts.device, parts.validation)
    return LabelPropagation(parts.network, parts.views(settings.labelled, parts.weak), pseudo, parts.plan, settings)
