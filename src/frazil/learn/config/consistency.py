"""Settings of further ways to learn from unlabelled patches; what they do stands in `frazil.learn.strategies`.

Defaults are those of the papers that each strategy names. Where one is not, the attribute says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from frazil.errors import OptionError
from frazil.learn.config.base import check_choice, check_least, check_share
from frazil.learn.config.data import AUGMENTATIONS
from frazil.learn.config.mixed import Averaged, Mixed, Staged


@dataclass(frozen=True, kw_only=True)
class _Agreeing(Mixed):
    """What the two strategies of Laine and Aila share.

    Attributes:
        weight: of the mean squared difference at its height, before it is multiplied by the labelled share.
        ramp: share of the run over which that weight rises, as exp(−5 (1 − t)²); the paper's 80 of 300 epochs.
        share: the labelled share by which the weight is multiplied: ``"set"``, of all training patches, to the letter;
            or ``"batch"``, of a batch. In the paper the two are the same, since batches are drawn from all patches
            alike; here labelled patches come oftener, and ``"batch"`` keeps the paper's balance of both losses.
    """

    weight: float = 100.0
    ramp: float = 80 / 300
    share: Literal["set", "batch"] = "set"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(0, weight=self.weight)
        check_share("ramp", self.ramp)
        check_choice("share", self.share, ("set", "batch"))


@dataclass(frozen=True, kw_only=True)
class PiModelConfig(_Agreeing):
    """Agreement of two views of a patch, each with noise of its own, see `_Agreeing` for the settings."""

    name: Literal["pi_model"] = "pi_model"


@dataclass(frozen=True, kw_only=True)
class TemporalEnsemblingConfig(_Agreeing):
    """Agreement with what one has said of a patch in earlier epochs, see `_Agreeing` for further settings.

    Attributes:
        alpha: share of itself that the memory of a patch keeps at each epoch, below 1.
    """

    name: Literal["temporal_ensembling"] = "temporal_ensembling"
    weight: float = 30.0
    alpha: float = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.alpha < 1:
            raise OptionError(f"alpha {self.alpha} must be 0 or more and below 1.")


@dataclass(frozen=True, kw_only=True)
class ReMixMatchConfig(Averaged):
    """Guesses whose classes come as often as those of the labels, taught for strongly changed and mixed patches.

    Attributes:
        weight: of the loss on mixed patches without a label.
        strong_weight: of the loss on one strongly changed view, unmixed.
        ramp: in the published code that weight rises over 16,384 steps, which is longer than most runs here.
        rotation_weight: of the loss on which way that view was turned; 0 leaves it out.
        views: strongly changed views of an unlabelled patch.
        temperature: of the sharpening.
        alpha: of the Beta distribution of the mixing.
        window: batches over which the network's own classes are averaged.
        strong: of `AUGMENTATIONS`: none that changes what backscatter means. Turned patches cannot be told which way
            they were turned, so that ``"rotate"`` goes only with a `rotation_weight` of 0.
    """

    name: Literal["remixmatch"] = "remixmatch"
    weight: float = 1.5
    ramp: float = 1.0
    strong_weight: float = 0.5
    rotation_weight: float = 0.5
    views: int = 8
    temperature: float = 0.5
    alpha: float = 0.75
    window: int = 128
    strong: tuple[str, ...] = ("flip", "speckle", "noise_floor")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(0, strong_weight=self.strong_weight, rotation_weight=self.rotation_weight)
        check_least(1, views=self.views, window=self.window)
        check_least(1e-3, temperature=self.temperature, alpha=self.alpha)
        for name in self.strong:
            check_choice("strong", name, AUGMENTATIONS)
        if self.rotation_weight and "rotate" in self.strong:
            raise OptionError(
                "strong 'rotate' hides which way a patch was turned. Leave it out, or set rotation_weight to 0."
            )


@dataclass(frozen=True, kw_only=True)
class NoisyStudentConfig(Staged):
    """A teacher labels what it is not too unsure of for a student that learns it with noise, and so on in turns.

    Each student learns at `OptimConfig.lr`.

    Attributes:
        rounds: students, one after the other; each but the last is the teacher of the next.
        weight: of the loss on unlabelled patches.
        threshold: least confidence of a pseudo-label.
        targets: what the student learns: ``"soft"``, the teacher's probabilities; or ``"hard"``, its class.
        balance: take as many patches of each class: the most confident ones, and some of them several times.
        per_class: how many that are (None: the mean over the classes that the teacher finds).
        strong: of `AUGMENTATIONS`, the noise of what is learnt: none that changes what backscatter means.
        teacher: settings of the first teacher's network that differ from `ModelConfig.settings`, for instance
            ``{"width": 64}`` for a student that is larger than its teacher.
    """

    name: Literal["noisy_student"] = "noisy_student"
    rounds: int = 3
    weight: float = 1.0
    threshold: float = 0.3
    targets: Literal["soft", "hard"] = "soft"
    balance: bool = True
    per_class: int | None = None
    strong: tuple[str, ...] = ("flip", "rotate", "speckle", "noise_floor")
    teacher: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(1, rounds=self.rounds)
        if self.per_class is not None:
            check_least(1, per_class=self.per_class)
        check_least(0, weight=self.weight)
        check_share("threshold", self.threshold)
        check_choice("targets", self.targets, ("soft", "hard"))
        for name in self.strong:
            check_choice("strong", name, AUGMENTATIONS)


@dataclass(frozen=True, kw_only=True)
class M1M2Config(Mixed):
    """A variational autoencoder of patches (M1), then one of its latents and their classes (M2).

    For networks whose descriptors may be negative, as those of the architecture ``encoder``.

    Attributes:
        first: share of the run's steps in which M1 learns; M2 has the others.
        alpha: of the classifier's own loss: the paper's α is this times the number of patches.
        latent: numbers z₂ that a latent of M1 is made from, beside its class.
        hidden: nodes of the hidden layer of M2's networks.
        width: channels of the last layer but one of M1's decoder.
    """

    name: Literal["m1_m2"] = "m1_m2"
    first: float = 0.5
    alpha: float = 0.1
    latent: int = 50
    hidden: int = 500
    width: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.first < 1:
            raise OptionError(f"first {self.first} must lie between 0 and 1: M1 and M2 both must learn.")
        check_least(0, alpha=self.alpha)
        check_least(1, latent=self.latent, hidden=self.hidden, width=self.width)
