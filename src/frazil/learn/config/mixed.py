"""What settings of strategies that learn from unlabelled patches share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from frazil.learn.config.base import StrategySettings, check_least, check_share


@dataclass(frozen=True, kw_only=True)
class Mixed(StrategySettings):
    """What all strategies with unlabelled patches share.

    Attributes:
        labelled: patches with a label among the `OptimConfig.batch` of a step; the others have none. An epoch is one
            pass through the unlabelled patches.
    """

    learns_from: ClassVar[Literal["labels", "pool", "imagettes"]] = "pool"
    labelled: int = 50

    def __post_init__(self) -> None:
        check_least(1, labelled=self.labelled)


@dataclass(frozen=True, kw_only=True)
class Staged(Mixed):
    """What strategies with a first stage, on labelled patches alone, share.

    Attributes:
        first_epochs: passes through the labelled patches in that stage.
        first_steps: its steps, in place of `first_epochs`. With few labels an epoch is a single step, and a hundred
            epochs at a small rate leave the network close to where it began.
        first_lr: its peak learning rate; later stages begin at `OptimConfig.lr`, and each falls on its own.
    """

    first_epochs: float = 100
    first_steps: int | None = None
    first_lr: float = 8e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(0, first_epochs=self.first_epochs, first_steps=self.first_steps or 0, first_lr=self.first_lr)

    def first_steps_of(self, n_labelled: int) -> int:
        """`first_steps`, or passes through the labelled patches."""
        if self.first_steps is not None:
            return self.first_steps
        return max(round(self.first_epochs * n_labelled / self.labelled), 1)


@dataclass(frozen=True, kw_only=True)
class Averaged(Mixed):
    """What strategies that keep a moving average of their network share.

    Attributes:
        ema: share of itself that the average keeps at each step, once it is old enough; the average maps scenes.
        weight: of the loss on unlabelled patches.
        ramp: share of the run over which that weight rises from 0.
    """

    ema: float = 0.999
    weight: float = 1.0
    ramp: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("ema", self.ema)
        check_share("ramp", self.ramp)
        check_least(0, weight=self.weight)
