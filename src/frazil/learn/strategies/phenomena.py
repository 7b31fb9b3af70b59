"""Learning from imagettes: masks, categories, or categories at every pixel; one `step` each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from frazil.errors import LabelError, OptionError
from frazil.learn.config import CategorisationConfig, Im2PxStrategyConfig, SegmentationConfig
from frazil.learn.models.output import output_of
from frazil.learn.strategies.building import Parts
from frazil.learn.strategies.phenomena_losses import label_loss, rarity_of, weighted_bce
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


def build_segmentation(settings: SegmentationConfig, parts: Parts) -> Segmentation:
    """See `frazil.learn.strategies.make_strategy`.

    Raises:
        OptionError: masks of other cells, or a K of another number of classes.
    """
    n, cell = parts.n_classes, getattr(parts.network, "cell", 1)
    if cell != parts.data.cell:
        raise OptionError(f"The network has cells of {cell} pixels, the masks of {parts.data.cell}: set output.")
    if settings.rarity and len(settings.rarity) != n:
        raise OptionError(f"strategy.rarity has {len(settings.rarity)} numbers for {n} classes.")
    shares = torch.from_numpy(parts.data.train.class_frequency(n).astype(np.float32))
    rarity = torch.tensor(settings.rarity) if settings.rarity else rarity_of(shares, settings.rarest)
    return Segmentation(parts.network, parts.batches(), rarity.to(parts.device), settings.weighting)


def build_image_labels(settings: CategorisationConfig | Im2PxStrategyConfig, parts: Parts) -> ImageLabels:
    """See `frazil.learn.strategies.make_strategy`.

    Raises:
        LabelError: images without a category, of which a softmax can make nothing.
    """
    output = output_of(parts.network)
    if output == "softmax" and parts.data.unnamed:
        raise LabelError(
            f"{parts.data.unnamed} images have no category; leave them out, or train with "
            "model.settings.output=sigmoid."
        )
    return ImageLabels(parts.network, parts.batches(), output, settings.label_smoothing)
