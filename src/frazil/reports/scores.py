"""Scores of a run as ``evaluation.json`` holds them, checked: of classes that exclude each other, and of masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
class ClassScores:
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


@dataclass(frozen=True, kw_only=True)
class MaskScores:
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
