"""What a run learns from and is judged by: the interface between kinds of data and everything else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import nn

from frazil.conventions import ClassScheme
from frazil.learn.data.patches import Patches
from frazil.learn.data.scenes import Images
from frazil.scene.scaling import Channel


class Sampler(Protocol):
    """Training batches; a batch is a function of seed and step alone."""

    @property
    def n_samples(self) -> int:
        """Samples of an epoch."""
        ...

    def batch(self, step: int, size: int) -> tuple[Images, np.ndarray]:
        """Images float32 (batch, channel, height, width), and labels uint8 (batch,) or (batch, height, width)."""
        ...

    def class_frequency(self, n_classes: int) -> np.ndarray:
        """Share of each class."""
        ...

    def scene_images(self) -> Iterator[np.ndarray]:
        """Of each scene what is learnt from, thinned: (channel, …) in [0, 1]; for `frazil.learn.seen`."""
        ...


class HeldOut(Protocol):
    """What judges a network."""

    @property
    def names(self) -> list[str]:
        """Product names."""
        ...

    def outputs(self, network: nn.Module, device: str | None = None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Scene name, logits (class, n) and labels (n,), scene by scene."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class LearningData:
    """All that a run reads.

    Attributes:
        train: batches.
        validation: for early stopping and calibration, None without.
        test: for the scores, None without.
        unlabelled: to learn from without labels; None where the strategy wants none. Its labels are the hidden truth,
            for logs alone.
        channels: of the images.
        scheme: of the labels.
        spacing_m, denoise, boxcar, incidence_range: of the scenes, for the model card.
        description: scenes and samples of each side, for people and for checking that a resumed run sees the same.
    """

    train: Sampler
    validation: HeldOut | None
    test: HeldOut | None
    channels: tuple[Channel, ...]
    scheme: ClassScheme
    spacing_m: float
    denoise: str
    boxcar: bool = False
    incidence_range: tuple[float, float] = (0.0, 90.0)
    description: dict[str, Any] = field(default_factory=dict)
    unlabelled: Patches | None = None
