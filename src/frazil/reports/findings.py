"""What a training run has found out, in plain numbers: filled where torch is, drawn where it is not.

`frazil.reports.gather` reads a run folder into `RunFindings`; `frazil.reports.pages` makes pages of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.conventions import ClassScheme

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, kw_only=True)
class TwoClassScores:
    """Scores of ice against water, in this order of classes: water, ice. None where there is nothing to divide by."""

    accuracy: float | None
    balanced_accuracy: float | None
    macro_f1: float | None
    precision: tuple[float | None, ...]
    recall: tuple[float | None, ...]
    f1: tuple[float | None, ...]

    def __post_init__(self) -> None:
        if any(len(getattr(self, name)) != 2 for name in ("precision", "recall", "f1")):
            raise ValueError("the scores of ice against water are not of two classes")


@dataclass(frozen=True, kw_only=True)
class Bins:
    """A reliability diagram: samples by stated confidence, in bins of equal width from 0 to 1.

    Attributes:
        total: samples in each bin.
        confidence: sum of their confidences.
        correct: how many of them were right.
    """

    total: tuple[float, ...]
    confidence: tuple[float, ...]
    correct: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.total or not len(self.total) == len(self.confidence) == len(self.correct):
            raise ValueError("the reliability diagram has bins of different number")


@dataclass(frozen=True, kw_only=True)
class SideScores:
    """Scores on one side of the split, as ``evaluation.json`` holds them.

    Attributes:
        classes: names, by code.
        accuracy, balanced_accuracy, macro_f1: over all samples.
        precision, recall, f1: of each class; None where there is nothing to divide by.
        binary: ice against water; None of other classes.
        ece, nll: of the calibrated confidence.
        ece_before_temperature: of the confidence as the network gives it.
        accuracy_per_scene: scene -> accuracy.
        confusion: counts (true class, predicted class).
        confusion_per_scene: scene -> the same.
        reliability: of the calibrated confidence.
        leaks: whether neighbours of these samples were learnt.
    """

    classes: tuple[str, ...]
    accuracy: float | None
    balanced_accuracy: float | None
    macro_f1: float | None
    precision: tuple[float | None, ...]
    recall: tuple[float | None, ...]
    f1: tuple[float | None, ...]
    ece: float | None
    nll: float | None
    accuracy_per_scene: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]
    confusion_per_scene: dict[str, tuple[tuple[int, ...], ...]]
    reliability: Bins
    binary: TwoClassScores | None = None
    ece_before_temperature: float | None = None
    leaks: bool = False

    def __post_init__(self) -> None:
        n = len(self.classes)
        tables = [self.confusion, *self.confusion_per_scene.values()]
        if n < 2 or any(len(table) != n or any(len(row) != n for row in table) for table in tables):
            raise ValueError(f"a confusion matrix is not of its {n} classes")
        if any(len(getattr(self, name)) != n for name in ("precision", "recall", "f1")):
            raise ValueError(f"there are not {n} scores for its {n} classes")
        if set(self.accuracy_per_scene) != set(self.confusion_per_scene):
            raise ValueError("the accuracies and the confusion matrices are of different scenes")

    @property
    def counts(self) -> np.ndarray:
        """The confusion matrix, int64."""
        return np.array(self.confusion, np.int64)

    @property
    def scene_counts(self) -> dict[str, np.ndarray]:
        """Scene -> its confusion matrix, int64."""
        return {name: np.array(table, np.int64) for name, table in self.confusion_per_scene.items()}


@dataclass(frozen=True, eq=False, kw_only=True)
class Mistake:
    """A patch that was taken for another class.

    Attributes:
        picture: uint8 (height, width, 3).
        truth, said: class codes.
        confidence: stated for ``said``, 0…1.
        scene: product name.
        line, pixel: of its first pixel in the full-resolution product; NaN where unknown.
    """

    picture: np.ndarray
    truth: int
    said: int
    confidence: float
    scene: str
    line: float
    pixel: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Mistakes:
    """The most confident mistakes on one side of the split, most confident first; and what their colours mean."""

    side: str
    judged: int
    wrong: int
    legend: str
    worst: tuple[Mistake, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class RunFindings:
    """All that a report says of a run.

    Attributes:
        folder: as it was named.
        name: of the run.
        run: content of ``run.json``.
        log: lines of the log.
        scheme: the classes; None where the run does not say.
        unit: what was counted: ``"patches"`` or ``"pixels"``.
        finished: whether the run has ended, with scores.
        sides: scores of ``"validation"`` and ``"test"``, as far as there are any.
        steps: steps done.
        planned: steps that were to be done; None where the run does not say.
        kept_step: after which the network was kept (unfinished: the best one so far); None where nobody looked.
        stopped_early: whether early stopping ended it.
        seconds: of training; None where the run does not say.
        card: content of the model's ``card.json``; empty without a model.
        mistakes: the most confident ones; None where there are none to show.
        no_mistakes: why not, in words.
    """

    folder: str
    name: str
    run: dict[str, Any]
    log: list[dict[str, float]]
    scheme: ClassScheme | None
    unit: str
    finished: bool
    sides: dict[str, SideScores] = field(default_factory=dict)
    steps: int = 0
    planned: int | None = None
    kept_step: int | None = None
    stopped_early: bool = False
    seconds: float | None = None
    card: dict[str, Any] = field(default_factory=dict)
    mistakes: Mistakes | None = None
    no_mistakes: str = ""

    @property
    def judged(self) -> tuple[str, SideScores] | None:
        """The side that judges the run: the test side, else the validation side."""
        return next(((side, self.sides[side]) for side in ("test", "validation") if side in self.sides), None)


@dataclass(frozen=True, kw_only=True)
class PhenomenaScores:
    """Scores on one side of a run on imagettes, as ``evaluation.json`` holds them; None where nothing is known.

    Attributes:
        classes: names, by code.
        images: how many were judged.
        accuracy: share of the images whose category is named right.
        presence_accuracy: share of right answers to whether a class is in an image.
        f1_by_category: of the categories named.
        confusion: counts (category, category named).
        set_dice, pixel_dice, precision, recall, iou: of the masks of each class; empty for categorisers.
        mean_set_dice, mean_pixel_dice: over classes.
    """

    classes: tuple[str, ...]
    images: int
    accuracy: float | None
    presence_accuracy: float | None
    f1_by_category: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]
    set_dice: tuple[float | None, ...] = ()
    pixel_dice: tuple[float | None, ...] = ()
    precision: tuple[float | None, ...] = ()
    recall: tuple[float | None, ...] = ()
    iou: tuple[float | None, ...] = ()
    mean_set_dice: float | None = None
    mean_pixel_dice: float | None = None

    def __post_init__(self) -> None:
        n = len(self.classes)
        if not n or len(self.confusion) != n or any(len(row) != n for row in self.confusion):
            raise ValueError(f"a confusion matrix is not of its {n} classes")
        lists = (self.f1_by_category, self.set_dice, self.pixel_dice, self.precision, self.recall, self.iou)
        if any(len(values) not in (0, n) for values in lists):
            raise ValueError(f"there are not {n} scores for its {n} classes")


@dataclass(frozen=True, eq=False, kw_only=True)
class ImagettesShown:
    """Imagettes with what was drawn and found in them, for a contact sheet.

    Attributes:
        title: why these.
        images: the set, in the order shown; found: segments of it.
        rows: of each image: name, category (empty where nobody told), what it was taken for, its set Dice (NaN without
            masks).
    """

    title: str
    images: xr.Dataset
    found: xr.Dataset
    rows: tuple[tuple[str, str, str, float], ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class PhenomenaFindings(RunFindings):
    """All that a report says of a run on imagettes.

    Attributes:
        metocean: scores of ``"validation"`` and ``"test"``, as far as there are any.
        shown: imagettes to look at, worst ones first.
    """

    metocean: dict[str, PhenomenaScores] = field(default_factory=dict)
    shown: tuple[ImagettesShown, ...] = ()
