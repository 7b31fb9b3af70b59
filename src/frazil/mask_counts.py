"""Scores of maps of phenomena against drawn masks. Each class is judged alone; several may hold at one place.

Two figures go by the name of Dice. **Set Dice** is 2 Σxy / (Σx + Σy) over all cells of all images, of masks: the usual
one, equal to F1. **Per-pixel Dice** is that of C, equation 8, to the letter: the mean over cells of 2xy / (x + y), of
scores x, where x + y > 0. Of masks it is the intersection over the union; of scores it falls with every cell that has
a score above 0 and no label, so it is small for rare classes. They are different numbers and never stand in one column.

References:
    Colin, A., et al. (2022), Remote Sens. 14, 851, equation 8.
    Dice, L. R. (1945), Measures of the amount of ecologic association between species. Ecology 26, 297.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict, cast

import numpy as np

from frazil.errors import OptionError

THRESHOLDS = np.round(np.arange(0.02, 1.0, 0.02), 2)  #: at which masks are also judged


class MaskFigures(TypedDict):
    """See `MaskCounts.result`."""

    set_dice: list[float]
    pixel_dice: list[float]
    precision: list[float]
    recall: list[float]
    iou: list[float]
    mean_set_dice: float
    mean_pixel_dice: float
    mean_precision: float
    mean_recall: float
    mean_iou: float
    accuracy: float
    images: int


@dataclass(eq=False)
class MaskCounts:
    """Adds up counts image by image.

    Attributes:
        n_classes: of the masks.
        threshold: from which a score is a mask.
    """

    n_classes: int
    threshold: float = 0.5
    _counts: np.ndarray = field(init=False)
    _ladder: np.ndarray = field(init=False)
    _pixel: np.ndarray = field(init=False)
    _named: list[tuple[int, int]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise OptionError(f"threshold {self.threshold} must lie between 0 and 1.")
        self._counts = np.zeros((self.n_classes, 3))  # hits, said, there
        self._ladder = np.zeros((len(THRESHOLDS), self.n_classes, 3))
        self._pixel = np.zeros((self.n_classes, 2))

    def add(
        self, score: np.ndarray, mask: np.ndarray | None, category: int | None = None, said: int | None = None
    ) -> None:
        """One image.

        Args:
            score: (class, rows, columns) in [0, 1]; NaN counts as 0.
            mask: bool, likewise; None where nobody drew one.
            category: what the image is called, None where unknown.
            said: what it was taken for; by default the class of the highest mean score.

        Raises:
            OptionError: a mask of another shape.
        """
        x = np.nan_to_num(np.asarray(score, np.float64)).reshape(self.n_classes, -1)
        if category is not None:
            self._named.append((category, int(x.mean(1).argmax()) if said is None else said))
        if mask is None:
            return
        if mask.shape != score.shape:
            raise OptionError(f"A mask of {mask.shape} does not fit scores of {score.shape}.")
        y = mask.reshape(self.n_classes, -1).astype(np.float64)
        self._counts += _count(x >= self.threshold, y)
        for i, level in enumerate(THRESHOLDS):
            self._ladder[i] += _count(x >= level, y)
        both = x + y
        ratio = np.divide(2 * x * y, both, out=np.zeros_like(x), where=both > 0)
        self._pixel += np.stack([ratio.sum(1), (both > 0).sum(1)], 1)

    def dice_at(self) -> np.ndarray:
        """Set Dice (threshold, class) at `THRESHOLDS`; NaN for a class that is neither there nor said."""
        return _dice(self._ladder)

    def result(self) -> MaskFigures:
        """Lists by class, NaN where a class is nowhere, means over the classes that are there, accuracy of images."""
        hits, said, there = self._counts.T
        with np.errstate(invalid="ignore", divide="ignore"):
            out: dict[str, np.ndarray] = {
                "set_dice": _dice(self._counts),
                "pixel_dice": self._pixel[:, 0] / self._pixel[:, 1],
                "precision": hits / said,
                "recall": hits / there,
                "iou": hits / (said + there - hits),
            }
        seen = there > 0
        means = {
            f"mean_{k}": float(np.nan_to_num(v[seen]).mean()) if seen.any() else float("nan") for k, v in out.items()
        }
        named = np.array(self._named).reshape(-1, 2)
        accuracy = float((named[:, 0] == named[:, 1]).mean()) if len(named) else float("nan")
        lists = {k: v.tolist() for k, v in out.items()}
        return cast(MaskFigures, {**lists, **means, "accuracy": accuracy, "images": len(named)})


def _count(found: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([(found * y).sum(1), found.sum(1), y.sum(1)], 1)


def _dice(counts: np.ndarray) -> np.ndarray:
    total = counts[..., 1] + counts[..., 2]
    return np.divide(2 * counts[..., 0], total, out=np.full(total.shape, np.nan), where=total > 0)
