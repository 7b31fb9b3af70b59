"""What a run learns from and is judged by: the interface between kinds of data and everything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

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


class Scores(Protocol):
    """How a network did on a held-out set."""

    def figures(self) -> dict[str, float]:
        """Single numbers, for the log; the best network is that of the highest ``macro_f1``."""
        ...

    def to_json(self) -> Mapping[str, object]:
        """All of it, with the names of the classes."""
        ...


class HeldOut(Protocol):
    """What a network is scored on, and how.

    Attributes:
        unit: what is counted: ``"patches"``, ``"pixels"`` or ``"images"``.
    """

    unit: ClassVar[str]

    @property
    def n_scored(self) -> int:
        """How many scenes, or images, it holds."""
        ...

    def score(self, network: nn.Module, *, temperature: float = 1.0, device: str | None = None) -> Scores:
        """Scores of a network whose logits are divided by a temperature."""
        ...

    def temperature(self, network: nn.Module, device: str | None = None) -> float:
        """The temperature that makes a network's confidence true here; 1 where the set cannot tell."""
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
        scored_on: what the scores of a side are of, in words: ``"{n} {side} scene{s}, split by scene"``.
        statement: what users of the maps must know, where the run does not say so itself.
        cell: side of the cells that masks hold a value for, pixels; 0 of labels of whole images and of pixels.
        unnamed: training images without a category.
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
    scored_on: str = "{n} {side} scene{s}"
    statement: str = ""
    cell: int = 0
    unnamed: int = 0

    def words(self, side: str) -> str:
        """What the scores of a side are of."""
        held_out = {"validation": self.validation, "test": self.test}[side]
        n = held_out.n_scored if held_out is not None else 0
        leaks = " (leaks: neighbours of test patches were learnt)" if self.description.get("leaks") else ""
        return self.scored_on.format(n=n, side=side, s="s" if n > 1 else "") + leaks
