"""Scores of class maps: counts are added up over scenes first, and divided last.

References:
    Guo, C., Pleiss, G., Sun, Y., Weinberger, K. Q. (2017), On calibration of modern neural networks. ICML 2017
    (expected calibration error, equal-width bins).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np

from frazil.answer import ICE_PERCENT
from frazil.errors import OptionError


def confusion_counts(truth: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Counts int64 (true class, predicted class).

    Args:
        truth: integer codes, any shape; codes of `n_classes` or more (land, nodata) are left out.
        predicted: codes, same shape; left out likewise.
        n_classes: how many classes there are.

    Raises:
        OptionError: the shapes differ.
    """
    if truth.shape != predicted.shape:
        raise OptionError(f"truth has shape {truth.shape}, predicted {predicted.shape}; they must agree.")
    used = (truth < n_classes) & (predicted < n_classes)
    pairs = truth[used].astype(np.int64) * n_classes + predicted[used]
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def student_interval(values: np.ndarray) -> float:
    """Half the width of the 95 % interval of a mean (Student's t), in the units of the values (n,); NaN for n < 2."""
    from scipy.stats import t

    n = values.size
    return float(t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan


class ClassFigures(TypedDict):
    """What `scores` gives."""

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    precision: list[float]
    recall: list[float]
    f1: list[float]


def scores(counts: np.ndarray) -> ClassFigures:
    """Accuracy, balanced accuracy, macro-F1, and precision, recall and F1 per class, of confusion counts.

    Per-class figures of a class that occurs nowhere are NaN and stay out of the averages.
    """
    counts = np.asarray(counts, np.float64)
    hit, true, said = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall, f1 = hit / said, hit / true, 2 * hit / (true + said)
        accuracy = float(hit.sum() / counts.sum())
    return {
        "accuracy": accuracy,
        "balanced_accuracy": float(np.mean(recall[true > 0])) if (true > 0).any() else float("nan"),
        "macro_f1": float(np.mean(f1[true + said > 0])) if (true + said > 0).any() else float("nan"),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
    }


@dataclass
class Reliability:
    """Counts by confidence bin, to be added up over scenes: how often a stated confidence comes true."""

    bins: int = 20
    total: np.ndarray = field(init=False)
    confidence: np.ndarray = field(init=False)
    correct: np.ndarray = field(init=False)
    log_loss: float = 0.0

    def __post_init__(self) -> None:
        self.total, self.confidence, self.correct = (np.zeros(self.bins) for _ in range(3))

    def add(self, truth: np.ndarray, probability: np.ndarray) -> None:
        """Add pixels: codes (pixel,) and probabilities (class, pixel); codes beyond the classes are left out."""
        used = truth < len(probability)
        truth, probability = truth[used], probability[:, used]
        top = probability.max(axis=0)
        right = probability.argmax(axis=0) == truth
        index = np.minimum((top * self.bins).astype(int), self.bins - 1)
        self.total += np.bincount(index, minlength=self.bins)
        self.confidence += np.bincount(index, weights=top, minlength=self.bins)
        self.correct += np.bincount(index, weights=right, minlength=self.bins)
        at_truth = np.take_along_axis(probability, truth[None].astype(int), axis=0)[0]
        self.log_loss -= float(np.log(np.maximum(at_truth, 1e-12)).sum())

    @property
    def ece(self) -> float:
        """Expected calibration error, 0…1."""
        return float(np.abs(self.confidence - self.correct).sum() / max(self.total.sum(), 1))

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood."""
        return float(self.log_loss / max(self.total.sum(), 1))


@dataclass(eq=False)
class IceWater:
    """Counts of how well ice is told from open water, to be added up over scenes.

    Attributes:
        counts: int64 (truth, percent): 0 open water, 1 ice of any class; stated probability of ice, whole percent.
    """

    counts: np.ndarray = field(default_factory=lambda: np.zeros((2, 101), np.int64))

    def add(self, is_ice: np.ndarray, percent: np.ndarray) -> None:
        """Add samples: whether they are ice (bool), and the probability of ice that was stated for them, 0…100."""
        np.add.at(self.counts, (is_ice.astype(int), percent.astype(int)), 1)

    def __add__(self, other: IceWater) -> IceWater:
        return IceWater(self.counts + other.counts)

    def likelier(self) -> dict[str, float | None]:
        """How often the likelier of ice and water is wrong, how sure it is then, and the calibration of P(ice).

        The expected calibration error ``ece`` is the mean distance of P(ice) from the share of ice, in 15 bins. None
        where there was nothing to count.
        """
        sure = np.maximum(_LEVELS, 100 - _LEVELS) / 100
        ice = _LEVELS >= ICE_PERCENT
        wrong = np.where(ice, self.counts[0], self.counts[1])
        right = np.where(ice, self.counts[1], self.counts[0])
        n = self.counts.sum(axis=0)
        at = np.minimum(_LEVELS * _ICE_BINS // 100, _ICE_BINS - 1)
        off = np.bincount(at, n * _LEVELS / 100 - self.counts[1], _ICE_BINS)
        return {
            "wrong": _share(wrong.sum(), n.sum()),
            "confidence_wrong": _share((wrong * sure).sum(), wrong.sum()),
            "confidence_right": _share((right * sure).sum(), right.sum()),
            "ece": _share(np.abs(off).sum(), n.sum()),
        }

    def decided(self, confidence_percent: float) -> dict[str, float | None]:
        """What is undecided if so much confidence is asked for, and what is wrong of the rest; see `frazil.answer`."""
        ice = np.maximum(confidence_percent, ICE_PERCENT) <= _LEVELS
        water = (confidence_percent <= 100 - _LEVELS) & (_LEVELS < ICE_PERCENT)
        told = self.counts[:, ice | water].sum(axis=1)
        as_ice, as_water = self.counts[0, ice].sum(), self.counts[1, water].sum()
        return {
            "confidence_percent": confidence_percent,
            "undecided": _share(self.counts.sum() - told.sum(), self.counts.sum()),
            "wrong": _share(as_ice + as_water, told.sum()),
            "ice_called_water": _share(as_water, told[1]),
            "water_called_ice": _share(as_ice, told[0]),
        }


_LEVELS, _ICE_BINS = np.arange(101), 15


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
