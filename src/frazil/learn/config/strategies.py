"""Settings of the ways to learn, one dataclass each; what they do stands in `frazil.learn.strategies`.

Defaults are those of the papers. Where a default is not, or where published codes do otherwise, the attribute says why.

References:
    Khaleghian (2022), paper 2, section IV-B, and the papers that each strategy names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Discriminator

from frazil.learn.config.base import StrategySettings, check_choice, check_least, check_share
from frazil.learn.config.consistency import (
    M1M2Config,
    NoisyStudentConfig,
    PiModelConfig,
    ReMixMatchConfig,
    TemporalEnsemblingConfig,
)
from frazil.learn.config.data import AUGMENTATIONS
from frazil.learn.config.distillation import DistillationConfig
from frazil.learn.config.mixed import Averaged, Mixed, Staged
from frazil.learn.config.phenomena import CategorisationConfig, Im2PxStrategyConfig, SegmentationConfig
from frazil.learn.config.propagation import ChoiceConfig, PropagationConfig


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig(StrategySettings):
    """Learning from labels alone.

    Attributes:
        label_smoothing: of the cross-entropy.
        class_balance: class weights are frequency to the power of minus this (0: none, 1: full).
    """

    name: Literal["supervised"] = "supervised"
    label_smoothing: float = 0.0
    class_balance: float = 0.5

    def __post_init__(self) -> None:
        check_share("label_smoothing", self.label_smoothing)
        check_share("class_balance", self.class_balance)


@dataclass(frozen=True, kw_only=True)
class _Propagating(Staged):
    """What strategies that propagate labels share; the first stage lasts until the first propagation.

    Attributes:
        refresh_epochs: epochs from one propagation to the next. Every epoch, as in the papers, costs a forward pass
            through all patches and a search for neighbours, see ``refresh_seconds`` in the log; from some 100,000
            patches on, the search dominates.
        class_balance: weigh classes by the inverse of how many labels and pseudo-labels they have.
        unreached: weight of patches that no label reaches. 0, so that they teach nothing; published codes give 1, with
            class 0 as their label, and so teach it to every patch without data.
        propagation: how labels spread.
        choice: whether k and alpha of it are chosen at the first propagation, and of which.
    """

    refresh_epochs: int = 1
    class_balance: bool = True
    unreached: float = 0.0
    propagation: PropagationConfig = field(default_factory=PropagationConfig)
    choice: ChoiceConfig = field(default_factory=ChoiceConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(1, refresh_epochs=self.refresh_epochs)
        check_share("unreached", self.unreached)


@dataclass(frozen=True, kw_only=True)
class LabelPropagationConfig(_Propagating):
    """One network that learns from what its own descriptors propagate, see `_Propagating` for the settings."""

    name: Literal["label_propagation"] = "label_propagation"


@dataclass(frozen=True, kw_only=True)
class TeacherStudentConfig(_Propagating):
    """A student from scratch that learns from what a slow teacher's descriptors propagate.

    The student learns at `OptimConfig.lr`.

    Attributes:
        teacher_lr: of the second stage.
        equal_rates: let the teacher learn at the student's rate in the second stage. In the paper the student's rate is
            twenty times the teacher's, and part of what it gains over label propagation with one network is that.
    """

    name: Literal["teacher_student"] = "teacher_student"
    teacher_lr: float = 1e-4
    equal_rates: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(0, teacher_lr=self.teacher_lr)


@dataclass(frozen=True, kw_only=True)
class MixMatchConfig(Averaged):
    """Guessed labels, sharpened, and all patches mixed with each other.

    Attributes:
        guesses: augmented views of an unlabelled patch whose predictions are averaged.
        temperature: of the sharpening.
        alpha: of the Beta distribution of the mixing.
    """

    name: Literal["mixmatch"] = "mixmatch"
    weight: float = 75.0
    ramp: float = 1.0
    guesses: int = 2
    temperature: float = 0.5
    alpha: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(1, guesses=self.guesses)
        check_least(1e-3, temperature=self.temperature, alpha=self.alpha)


@dataclass(frozen=True, kw_only=True)
class FixMatchConfig(Averaged):
    """What is confident about a slightly changed patch is taught for a strongly changed one.

    Attributes:
        threshold: least confidence.
        strong: of `AUGMENTATIONS`, for the patch that is taught: none that changes what backscatter means.
    """

    name: Literal["fixmatch"] = "fixmatch"
    threshold: float = 0.95
    strong: tuple[str, ...] = ("flip", "rotate", "speckle", "noise_floor")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("threshold", self.threshold)
        for name in self.strong:
            check_choice("strong", name, AUGMENTATIONS)


@dataclass(frozen=True, kw_only=True)
class MeanTeacherConfig(Averaged):
    """Agreement with the moving average of oneself; `weight` is that of the mean squared difference."""

    name: Literal["mean_teacher"] = "mean_teacher"
    weight: float = 100.0
    ramp: float = 0.1


@dataclass(frozen=True, kw_only=True)
class SemiGANConfig(Mixed):
    """A classifier that must also tell patches from those that a generator makes.

    Attributes:
        weight: of the loss on unlabelled and made patches.
        latent: numbers that a made patch starts from.
        width: channels of the generator's last layer but one.
        generator_rate: learning rate of the generator, as a multiple of the classifier's.
    """

    name: Literal["semi_gan"] = "semi_gan"
    labelled: int = 64
    weight: float = 1.0
    latent: int = 100
    width: int = 32
    generator_rate: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(1, latent=self.latent, width=self.width)
        check_least(0, weight=self.weight, generator_rate=self.generator_rate)


Propagating = LabelPropagationConfig | TeacherStudentConfig
StrategyConfig = Annotated[
    SupervisedConfig
    | DistillationConfig
    | LabelPropagationConfig
    | TeacherStudentConfig
    | MixMatchConfig
    | FixMatchConfig
    | MeanTeacherConfig
    | SemiGANConfig
    | PiModelConfig
    | TemporalEnsemblingConfig
    | ReMixMatchConfig
    | NoisyStudentConfig
    | M1M2Config
    | SegmentationConfig
    | CategorisationConfig
    | Im2PxStrategyConfig,
    Discriminator("name"),
]
