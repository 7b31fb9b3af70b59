"""Learning from imagettes: masks, categories, or categories at every pixel; one `step` each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from frazil.learn.strategies.phenomena_losses import label_loss, weighted_bce
from frazil.learn.train import Strategy


class Segmentation(Strategy):
    """Weighted binary cross-entropy on masks.

    Args:
        network: logits on cells.
        batches: images (batch, 1, height, width) and masks (batch, class, rows, columns) of a step.
        rarity: K (class).
        weighting: see `SegmentationConfig`.
    """

    def __init__(
        self, network: nn.Module, batches: Callable[[int], tuple[Tensor, Tensor]], rarity: Tensor, weighting: str
    ) -> None:
        self.networks, self.result = {"network": network}, network
        self.batches, self.rarity, self.weighting = batches, rarity, weighting

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and logs of one step."""
        image, mask = self.batches(step)
        logits = self.result(image)
        loss = weighted_bce(logits, mask, self.rarity, self.weighting)
        with torch.no_grad():
            found, there = logits > 0, mask == 1
            dice = 2 * float((found & there).sum()) / max(float(found.sum() + there.sum()), 1.0)
        return loss, {"loss": float(loss.detach()), "dice": dice}


class ImageLabels(Strategy):
    """Labels of whole images, for a categoriser or for every pixel of a bounded network.

    Args:
        network: logits (batch, class) or (batch, class, rows, columns).
        batches: images and labels (batch, class): 1, 0, or 255 for unknown.
        output: what logits mean.
        smoothing: of the labels.
    """

    def __init__(
        self, network: nn.Module, batches: Callable[[int], tuple[Tensor, Tensor]], output: str, smoothing: float = 0.0
    ) -> None:
        self.networks, self.result = {"network": network}, network
        self.batches, self.output, self.smoothing = batches, output, smoothing

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and logs of one step."""
        image, label = self.batches(step)
        logits = self.result(image)
        loss = label_loss(logits, label, self.output, self.smoothing)
        with torch.no_grad():
            best = (logits if logits.ndim == 2 else logits.mean((2, 3))).argmax(1, keepdim=True)
            accuracy = float((label.gather(1, best) == 1).float().mean())
        return loss, {"loss": float(loss.detach()), "accuracy": accuracy}
