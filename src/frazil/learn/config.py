"""What a run is: frozen settings, one group per component, checked when built and saved with the model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from frazil.conventions import CLASS_SCHEMES
from frazil.errors import OptionError
from frazil.scene.scaling import CHANNELS


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network: an architecture of `frazil.learn.models` and its settings."""

    architecture: str = "unet"
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Simulated scenes to learn from.

    Attributes:
        channels: network inputs, names of `CHANNELS`.
        class_scheme: one of `CLASS_SCHEMES`.
        spacing_m: pixel spacing.
        train_seeds, validation_seeds, test_seeds: one scene each; no seed twice.
        land_every: every so-many-th training scene has a fictitious coast (0: none).
        crop: side of the training crops, pixels.
        coarsen: share of the training crops that `frazil.learn.augment.coarsen` robs of their fine texture.
    """

    channels: tuple[str, ...] = ("hh", "hv", "incidence_angle")
    class_scheme: str = "five_classes"
    spacing_m: float = 120.0
    train_seeds: tuple[int, ...] = ()
    validation_seeds: tuple[int, ...] = ()
    test_seeds: tuple[int, ...] = ()
    land_every: int = 4
    crop: int = 256
    coarsen: float = 0.35

    def __post_init__(self) -> None:
        unknown = [c for c in self.channels if c not in CHANNELS]
        if unknown or not self.channels:
            raise OptionError(f"channels {unknown or self.channels} unknown; choose from {sorted(CHANNELS)}.")
        if self.class_scheme not in CLASS_SCHEMES:
            raise OptionError(f"class_scheme {self.class_scheme!r} is not one of {sorted(CLASS_SCHEMES)}.")
        if not 0 <= self.coarsen <= 1:
            raise OptionError(f"coarsen {self.coarsen} must lie in [0, 1].")
        seeds = (*self.train_seeds, *self.validation_seeds, *self.test_seeds)
        if len(set(seeds)) != len(seeds):
            raise OptionError("A scene seed stands twice: training, validation and test must not share scenes.")


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW with linear warm-up and cosine decay.

    Attributes:
        steps: optimiser steps.
        batch: crops per step.
        lr: peak learning rate.
        warmup: steps of warm-up.
        weight_decay: decoupled.
        label_smoothing: of the cross-entropy.
        class_balance: class weights are frequency to the power of minus this (0: none, 1: full).
        precision: of the forward pass, ``"float32"`` or ``"bfloat16"`` (autocast).
    """

    steps: int = 2000
    batch: int = 8
    lr: float = 2e-3
    warmup: int = 100
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    class_balance: float = 0.5
    precision: str = "float32"

    def __post_init__(self) -> None:
        if min(self.steps, self.batch) < 1 or self.lr <= 0 or self.warmup < 0 or self.weight_decay < 0:
            raise OptionError(f"Impossible optimisation settings: {self}.")
        if self.precision not in ("float32", "bfloat16"):
            raise OptionError(f"precision {self.precision!r} is not 'float32' or 'bfloat16'.")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One training run."""

    name: str
    seed: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)

    def to_json(self) -> dict[str, Any]:
        """As saved in a model card."""
        return asdict(self)
