"""What a map is worth where the truth is known: counts that can be added up, and the shares that come of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from benchmarks.real_ice.scenes import ICE, WATER

from frazil.conventions import CLASS_LAND, PERCENT_NODATA, QUALITY_FLAGS, UNDECIDED

SAYS_WATER, SAYS_ICE, SAYS_NEITHER, SAYS_NOTHING = 0, 1, 2, 3
BINS = 15


def decide(ice_map: xr.Dataset) -> np.ndarray:
    """What a map answers, uint8 of its grid: `SAYS_WATER`, `SAYS_ICE`, `SAYS_NEITHER`; `SAYS_NOTHING` where no sea is.

    The one place that knows how a map says that it cannot tell: class `UNDECIDED`. Maps of today's models never do.
    """
    shown = ice_map["ice_class"].values
    answer = np.where(shown == 0, SAYS_WATER, SAYS_ICE).astype(np.uint8)
    answer[shown == UNDECIDED] = SAYS_NEITHER
    answer[shown >= CLASS_LAND] = SAYS_NOTHING
    return answer


@dataclass(eq=False)
class Tally:
    """Counts over pixels of known truth, and over all that were mapped. Add them up over scenes, then divide.

    Attributes:
        answers: (truth, answer): rows `WATER`, `ICE`; columns water, ice, neither.
        mapped: (answer,) of all pixels, whatever is known of them.
        confidence: sums over decided pixels that are (wrong, right).
        flagged: how many (wrong, right) pixels carry a quality flag.
        flags: name -> wrong pixels that carry it.
        bins: (pixels, sum of P(ice), ice), each by bin of P(ice).
    """

    answers: np.ndarray = field(default_factory=lambda: np.zeros((2, 3), np.int64))
    mapped: np.ndarray = field(default_factory=lambda: np.zeros(3, np.int64))
    confidence: np.ndarray = field(default_factory=lambda: np.zeros(2))
    flagged: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))
    flags: Counter[str] = field(default_factory=Counter)
    bins: np.ndarray = field(default_factory=lambda: np.zeros((3, BINS)))

    @classmethod
    def of(
        cls, truth: np.ndarray, answer: np.ndarray, p_ice: np.ndarray, confidence: np.ndarray, flags: np.ndarray
    ) -> Tally:
        """From arrays of one grid.

        Args:
            truth: `WATER`, `ICE` or anything else where it is not known.
            answer: see `decide`.
            p_ice, confidence: 0…1.
            flags: bits of `QUALITY_FLAGS`.
        """
        made = cls(mapped=np.bincount(answer[answer < SAYS_NOTHING], minlength=3))
        known = ((truth == WATER) | (truth == ICE)) & (answer < SAYS_NOTHING)
        truth, answer, p_ice, confidence, flags = (a[known] for a in (truth, answer, p_ice, confidence, flags))
        np.add.at(made.answers, (truth, answer), 1)
        decided = answer < SAYS_NEITHER
        for k, those in enumerate((decided & (answer != truth), decided & (answer == truth))):
            made.confidence[k] = confidence[those].sum()
            made.flagged[k] = np.count_nonzero(flags[those])
        wrong = flags[decided & (answer != truth)]
        made.flags.update({n: int(np.count_nonzero(wrong & mask)) for n, (mask, _) in QUALITY_FLAGS.items()})
        at = np.minimum((p_ice * BINS).astype(int), BINS - 1)
        for row, weight in zip(made.bins, (np.ones_like(p_ice), p_ice, truth == ICE), strict=True):
            row += np.bincount(at, weight, minlength=BINS)
        return made

    @classmethod
    def of_map(cls, ice_map: xr.Dataset, scene: xr.Dataset) -> Tally:
        """Of a map on the scene's radar grid, or on every so many of its pixels, against the scene's ``truth``."""
        truth = scene["truth"].sel(line=ice_map["line"], pixel=ice_map["pixel"]).values
        percents = (ice_map[name].values for name in ("ice_probability", "confidence"))
        p_ice, confidence = (np.where(p == PERCENT_NODATA, 0.0, p / 100.0) for p in percents)
        return cls.of(truth, decide(ice_map), p_ice, confidence, ice_map["quality_flags"].values)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.answers + other.answers, self.mapped + other.mapped, self.confidence + other.confidence,
            self.flagged + other.flagged, Counter({n: self.flags[n] + other.flags[n] for n in QUALITY_FLAGS}),
            self.bins + other.bins,
        )  # fmt: skip

    def scores(self) -> dict[str, Any]:
        """Shares, 0…1; None where nothing was there to be counted."""
        water, ice = self.answers
        decided = self.answers[:, :SAYS_NEITHER]
        wrong, right = int(decided[WATER, ICE] + decided[ICE, WATER]), int(np.trace(decided))
        return {
            "pixels": int(self.mapped.sum()),
            "known_water": int(water.sum()),
            "known_ice": int(ice.sum()),
            "mapped_water": _share(self.mapped[SAYS_WATER], self.mapped.sum()),
            "mapped_ice": _share(self.mapped[SAYS_ICE], self.mapped.sum()),
            "mapped_undecided": _share(self.mapped[SAYS_NEITHER], self.mapped.sum()),
            "undecided": _share(self.answers[:, SAYS_NEITHER].sum(), self.answers.sum()),
            "ice_called_water_of_decided": _share(ice[SAYS_WATER], decided[ICE].sum()),
            "ice_found": _share(ice[SAYS_ICE], ice.sum()),
            "water_found": _share(water[SAYS_WATER], water.sum()),
            "confidence_wrong": _share(self.confidence[0], wrong),
            "confidence_right": _share(self.confidence[1], right),
            "ece": ece(self.bins),
            "wrong_flagged": _share(self.flagged[0], wrong),
            "right_flagged": _share(self.flagged[1], right),
            "wrong_by_flag": {name: _share(n, wrong) for name, n in self.flags.items() if n},
        }


def ece(bins: np.ndarray) -> float | None:
    """Expected calibration error: mean distance of P(ice) from the share of ice, by bin; `bins` as in `Tally`."""
    n, p, ice = bins
    return _share(np.abs(p - ice).sum(), n.sum())


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
