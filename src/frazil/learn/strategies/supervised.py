"""Learning from labels alone: weighted cross-entropy over labelled pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from frazil.learn.data import IGNORE


class Supervised:
    """Cross-entropy with class weights.

    Args:
        class_weights: (class,), or None.
        label_smoothing: 0…1.
    """

    def __init__(self, class_weights: Tensor | None = None, label_smoothing: float = 0.0) -> None:
        self.loss = nn.CrossEntropyLoss(class_weights, ignore_index=IGNORE, label_smoothing=label_smoothing)

    def step(self, model: nn.Module, batch: tuple[Tensor, Tensor], step: int) -> tuple[Tensor, dict[str, float]]:  # noqa: ARG002
        """Loss and logs of one batch: images (batch, channel, height, width), labels int64 (batch, height, width)."""
        image, label = batch
        logits = model(image).float()
        loss = self.loss(logits, label)
        with torch.no_grad():
            known = label != IGNORE
            hits = (logits.argmax(1) == label) & known
            accuracy = float(hits.sum() / known.sum().clamp(min=1))
        return loss, {"loss": float(loss.detach()), "accuracy": accuracy}
