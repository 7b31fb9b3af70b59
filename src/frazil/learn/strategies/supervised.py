"""Learning from labels alone: weighted cross-entropy over labelled patches or pixels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from frazil.learn.config import SupervisedConfig
from frazil.learn.data.scenes import IGNORE
from frazil.learn.strategies.building import Parts, class_weights
from frazil.learn.train import Strategy


class Supervised(Strategy):
    """Cross-entropy with class weights.

    Args:
        network: to train.
        batches: images (batch, channel, height, width) and labels int64 (batch,) or (batch, height, width) of a step.
        class_weights: (class,), or None.
        label_smoothing: 0…1.
    """

    def __init__(
        self,
        network: nn.Module,
        batches: Callable[[int], tuple[Tensor, Tensor]],
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        self.networks = {"network": network}
        self.result = network
        self.batches = batches
        self.loss = nn.CrossEntropyLoss(class_weights, ignore_index=IGNORE, label_smoothing=label_smoothing)

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and logs of one step."""
        image, label = self.batches(step)
        logits = self.result(image).float()
        loss = self.loss(logits, label)
        with torch.no_grad():
            known = label != IGNORE
            hits = (logits.argmax(1) == label) & known
            accuracy = float(hits.sum() / known.sum().clamp(min=1))
        return loss, {"loss": float(loss.detach()), "accuracy": accuracy}


def build(settings: SupervisedConfig, parts: Parts) -> Supervised:
    """See `frazil.learn.strategies.make_strategy`."""
    weights = class_weights(parts.data.train, parts.n_classes, settings.class_balance).to(parts.device)
    return Supervised(parts.network, parts.batches(), weights, settings.label_smoothing)
