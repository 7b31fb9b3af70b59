"""Settings of the network and of the optimiser."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from frazil.errors import OptionError
from frazil.learn.config.base import Settings, check_choice, check_share

Optimiser = Literal["adamw", "adam", "sgd"]
Schedule = Literal["cosine", "constant", "steps"]
Precision = Literal["float32", "bfloat16"]
Keep = Literal["best", "last"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Settings):
    """The network.

    Attributes:
        architecture: one of `frazil.learn.models.ARCHITECTURES`.
        settings: of the architecture.
        pretrained: weights trained on photographs to start from: a file in torchvision's published layout, or
            ``"torchvision"`` or ``"timm"`` where these are installed.
    """

    architecture: str = "unet"
    settings: dict[str, Any] = field(default_factory=dict)
    pretrained: str | None = None


@dataclass(frozen=True, kw_only=True)
class OptimConfig(Settings):
    """Optimiser, learning rate, and when to look at the validation scenes.

    Attributes:
        optimiser: ``"adamw"``, ``"adam"`` or ``"sgd"``.
        steps: optimiser steps.
        epochs: passes over the training patches, in place of `steps`.
        batch: patches or crops per step.
        lr: peak learning rate.
        schedule: ``"cosine"`` down to zero, ``"constant"``, or ``"steps"``: a tenth at each of `milestones`.
        milestones: shares of the run.
        warmup: steps of linear warm-up.
        momentum: of SGD.
        weight_decay: decoupled with AdamW.
        clip: largest norm of the gradient; 0 does not clip.
        precision: of the forward pass, ``"float32"`` or ``"bfloat16"`` (autocast).
        validate_every: steps from one look at the validation scenes to the next; by default an epoch, or a twentieth
            of the run.
        patience: stop after so many looks without a better macro-F1; 0 never stops.
        target: stop at the first look whose `target_score` reaches this share, and keep that network; 0 never stops.
        target_score: ``"accuracy"`` or ``"macro_f1"``.
        keep: the network of the ``"best"`` look or the ``"last"`` one.
        compile: let ``torch.compile`` fuse the network.
    """

    optimiser: Optimiser = "adamw"
    steps: int = 2000
    epochs: float | None = None
    batch: int = 8
    lr: float = 2e-3
    schedule: Schedule = "cosine"
    milestones: tuple[float, ...] = (0.75, 0.92)
    warmup: int = 100
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip: float = 5.0
    precision: Precision = "float32"
    validate_every: int | None = None
    patience: int = 0
    target: float = 0.0
    target_score: Literal["accuracy", "macro_f1"] = "accuracy"
    keep: Keep = "last"
    compile: bool = False

    def __post_init__(self) -> None:
        numbers = {"steps": self.steps, "batch": self.batch, "lr": self.lr}
        numbers["epochs"] = 1.0 if self.epochs is None else self.epochs
        numbers["validate_every"] = 1 if self.validate_every is None else self.validate_every
        for name, value in numbers.items():
            if not value > 0:
                raise OptionError(f"{name} {value} must be above 0.")
        for name in ("warmup", "weight_decay", "clip", "patience"):
            if getattr(self, name) < 0:
                raise OptionError(f"{name} {getattr(self, name)} must not be negative.")
        for name, kind in (("optimiser", Optimiser), ("schedule", Schedule), ("precision", Precision), ("keep", Keep)):
            check_choice(name, getattr(self, name), get_args(kind))
        check_choice("target_score", self.target_score, ("accuracy", "macro_f1"))
        check_share("momentum", self.momentum)
        if not 0 <= self.target <= 1:
            raise OptionError(f"target {self.target} is no share from 0 to 1: give 0.9 for 90 %.")
        for share in self.milestones:
            check_share("milestones", share)
