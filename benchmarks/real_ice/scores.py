"""What a map is worth where the truth is known: counts that can be added up, and the shares that come of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from benchmarks.real_ice.scenes import ICE, WATER

from frazil.answer import ICE_PERCENT
from frazil.conventions import CLASS_LAND, QUALITY_FLAGS, UNDECIDED
from frazil.metrics import IceWater

SAYS_WATER, SAYS_ICE, SAYS_NEITHER, SAYS_NOTHING = 0, 1, 2, 3
ASKED = (50, 60, 70, 80, 90, 95)  # confidences, percent
FLAGS = {name: mask for name, (mask, _) in QUALITY_FLAGS.items() if name not in ("nodata", "land")} | {"any": 0xFFFF}


def decide(ice_map: xr.Dataset) -> np.ndarray:
    """What a map answers, uint8 of its grid: `SAYS_WATER`, `SAYS_ICE`, `SAYS_NEITHER`; `SAYS_NOTHING` where no sea is.

    The one place that knows how a map says that it cannot tell: class `UNDECIDED`.
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
        counts: (truth, answer, percent): rows `WATER`, `ICE`; water, ice, neither; probability of ice 0…100.
        mapped: (answer,) of all pixels, whatever is known of them.
        flags: name -> how many (wrong, right) pixels carry it, by the likelier answer; ``"any"``: one or more.
    """

    counts: np.ndarray = field(default_factory=lambda: np.zeros((2, 3, 101), np.int64))
    mapped: np.ndarray = field(default_factory=lambda: np.zeros(3, np.int64))
    flags: dict[str, np.ndarray] = field(default_factory=lambda: {n: np.zeros(2, np.int64) for n in FLAGS})

    @classmethod
    def of(cls, truth: np.ndarray, answer: np.ndarray, percent: np.ndarray, flags: np.ndarray) -> Tally:
        """From arrays of one grid.

        Args:
            truth: `WATER`, `ICE` or anything else where it is not known.
            answer: see `decide`.
            percent: probability of ice, 0…100.
            flags: bits of `QUALITY_FLAGS`.
        """
        made = cls(mapped=np.bincount(answer[answer < SAYS_NOTHING], minlength=3))
        known = ((truth == WATER) | (truth == ICE)) & (answer < SAYS_NOTHING)
        truth, answer, percent, flags = (a[known] for a in (truth, answer, percent, flags))
        np.add.at(made.counts, (truth, answer, percent), 1)
        right = (percent >= ICE_PERCENT) == (truth == ICE)
        for name, mask in FLAGS.items():
            made.flags[name] = np.bincount(right[(flags & mask) > 0], minlength=2)
        return made

    @classmethod
    def of_map(cls, ice_map: xr.Dataset, scene: xr.Dataset) -> Tally:
        """Of a map on the scene's radar grid, or on every so many of its pixels, against the scene's ``truth``."""
        truth = scene["truth"].sel(line=ice_map["line"], pixel=ice_map["pixel"]).values
        return cls.of(truth, decide(ice_map), ice_map["ice_probability"].values, ice_map["quality_flags"].values)

    def __add__(self, other: Tally) -> Tally:
        flags = {name: self.flags[name] + other.flags[name] for name in FLAGS}
        return Tally(self.counts + other.counts, self.mapped + other.mapped, flags)

    def scores(self) -> dict[str, Any]:
        """Shares, 0…1; None where nothing was there to be counted."""
        answers, told = self.counts.sum(axis=2), IceWater(self.counts.sum(axis=1))
        (water, ice), decided = answers, answers[:, :SAYS_NEITHER]
        return {
            "pixels": int(self.mapped.sum()),
            "known_water": int(water.sum()),
            "known_ice": int(ice.sum()),
            "mapped_water": _share(self.mapped[SAYS_WATER], self.mapped.sum()),
            "mapped_ice": _share(self.mapped[SAYS_ICE], self.mapped.sum()),
            "mapped_undecided": _share(self.mapped[SAYS_NEITHER], self.mapped.sum()),
            "undecided": _share(self.counts[:, SAYS_NEITHER].sum(), self.counts.sum()),
            "ice_called_water_of_decided": _share(ice[SAYS_WATER], decided[ICE].sum()),
            "water_called_ice_of_decided": _share(water[SAYS_ICE], decided[WATER].sum()),
            "ice_found": _share(ice[SAYS_ICE], ice.sum()),
            "water_found": _share(water[SAYS_WATER], water.sum()),
            **{f"likelier_{name}": value for name, value in told.likelier().items()},
            "flags": {name: self._errors_by(name) for name in FLAGS if self.flags[name].sum()},
            "trade": [told.decided(asked) for asked in ASKED],
        }

    def _errors_by(self, name: str) -> dict[str, float | None]:
        """How often the likelier answer is wrong inside a flag, and outside."""
        by_percent = self.counts.sum(axis=1)
        wrong = by_percent[ICE, :ICE_PERCENT].sum() + by_percent[WATER, ICE_PERCENT:].sum()
        inside, n = self.flags[name], self.counts.sum()
        return {
            "share": _share(inside.sum(), n),
            "wrong_inside": _share(inside[0], inside.sum()),
            "wrong_outside": _share(wrong - inside[0], n - inside.sum()),
        }


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
