"""Settings of runs on CIFAR-10."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from frazil.learn.settings import Settings, check_choice, check_least, check_share


@dataclass(frozen=True, kw_only=True)
class Cifar10Data(Settings):
    """CIFAR-10, to compare ways of training on what the paper compared them on.

    Attributes:
        path: folder or archive, see `frazil.labels.datasets.cifar10`.
        per_class: training images of each class, those for validation among them (None: all 5000).
        test_per_class: test images of each class (None: all 1000).
        validation: share of the training images that is held out for calibration.
        split_seed: of what is drawn.
        shrink: average so many pixels by as many: 2 makes images of 16 pixels, four times as fast to learn from.
        augment: ``"crop"`` (of the image with 4 pixels of zeros around it) and ``"flip"`` (left to right).
        channels: what the images hold.
    """

    kind: Literal["cifar10"] = "cifar10"
    path: str = ""
    per_class: int | None = None
    test_per_class: int | None = None
    validation: float = 0.1
    split_seed: int = 0
    shrink: int = 1
    augment: tuple[str, ...] = ("crop", "flip")
    channels: tuple[str, ...] = ("red", "green", "blue")

    def __post_init__(self) -> None:
        check_share("validation", self.validation)
        check_least(1, per_class=self.per_class or 1, test_per_class=self.test_per_class or 1)
        check_choice("shrink", str(self.shrink), ("1", "2", "4"))
        check_choice("channels", ",".join(self.channels), ("red,green,blue",))
        for name in self.augment:
            check_choice("augment", name, ("crop", "flip"))
