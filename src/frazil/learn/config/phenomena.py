"""Settings of the ways to learn from imagettes: the losses of the three networks.

Each says which networks learn so (``takes``): those that take an ``"imagette"`` and answer cell by cell, or those that
take a ``"patch"`` and name it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from frazil.errors import OptionError
from frazil.learn.config.base import StrategySettings, check_choice, check_share


class _FromImagettes(StrategySettings):
    learns_from: ClassVar[Literal["labels", "pool", "imagettes"]] = "imagettes"
    labels: str | None = None  # of whole images: "category", "present"; None where masks are learnt
    label_smoothing: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig(_FromImagettes):
    """Learning masks (method A): weighted binary cross-entropy.

    Attributes:
        weighting: ``"paper"`` as printed in C, equation 1: pixels of a class count by the share of the image that it
            covers, all others by the rest; ``"code"`` the other way round, as the published code has it, so that small
            things count; ``"none"``: all alike.
        rarity: K, a weight for each class: inverse of its share of the training pixels where empty.
        rarest: largest K that is computed.
    """

    name: Literal["segmentation"] = "segmentation"
    takes: ClassVar[str] = "imagette"
    weighting: Literal["paper", "code", "none"] = "paper"
    rarity: tuple[float, ...] = ()
    rarest: float = 250.0

    def __post_init__(self) -> None:
        check_choice("weighting", self.weighting, ("paper", "code", "none"))
        if any(not k > 0 for k in self.rarity) or not self.rarest >= 1:
            raise OptionError("rarity must hold numbers above 0, and rarest must be 1 or more.")


@dataclass(frozen=True, kw_only=True)
class CategorisationConfig(_FromImagettes):
    """Learning what images are called, by a categoriser.

    Attributes:
        labels: ``"category"``: the one class of each image, with every other one taken as absent where logits are
            sigmoids; ``"present"``: all classes that are said to be there or not, for sigmoids.
        label_smoothing: of the cross-entropy over categories.
    """

    name: Literal["categorisation"] = "categorisation"
    takes: ClassVar[str] = "patch"
    labels: Literal["category", "present"] = "category"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_choice("labels", self.labels, ("category", "present"))
        check_share("label_smoothing", self.label_smoothing)


@dataclass(frozen=True, kw_only=True)
class Im2PxStrategyConfig(_FromImagettes):
    """Learning labels of whole images at every pixel (method E).

    Attributes:
        labels: as in `CategorisationConfig`.
    """

    name: Literal["im2px"] = "im2px"
    takes: ClassVar[str] = "imagette"
    labels: Literal["category", "present"] = "category"

    def __post_init__(self) -> None:
        check_choice("labels", self.labels, ("category", "present"))


PhenomenaConfig = SegmentationConfig | CategorisationConfig | Im2PxStrategyConfig
