"""What quality flags are set by, on the radar grid: for pixels, and for cells of several pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from frazil.answer import CONFIDENCE_PERCENT
from frazil.conventions import QUALITY_FLAGS
from frazil.errors import OptionError

BIT = {name: np.uint16(mask) for name, (mask, _) in QUALITY_FLAGS.items()}
#: What a result of several pixels is a result of: the pixel in its middle (patches), or all of them.
Holds = Literal["middle", "whole"]


@dataclass(frozen=True, kw_only=True)
class FlagSettings:
    """Thresholds of the quality flags.

    Attributes:
        coast_m: sea closer to land than this is flagged ``coast``.
        border_m: pixels closer than this to the edge of the data are flagged ``border``.
        confidence_percent: where neither ice nor open water is so probable, the map says that it is undecided.
    """

    coast_m: float = 2000.0
    border_m: float = 1000.0
    confidence_percent: float = CONFIDENCE_PERCENT

    def __post_init__(self) -> None:
        for name, most in (("coast_m", np.inf), ("border_m", np.inf), ("confidence_percent", 100.0)):
            value = getattr(self, name)
            if not 0 <= value <= most or value == np.inf:  # NaN neither
                limit = "0 or more, and finite" if most == np.inf else f"between 0 and {most:g}"
                raise OptionError(f"{name} is {value}; it must be {limit}.")


def n_cells(n_pixels: int, cell: int, holds: Holds) -> int:
    """How many cells count along a side: those whose middle, or all of whose pixels, lie in the scene."""
    return len(range(cell // 2, n_pixels, cell)) if holds == "middle" else n_pixels // cell


def flags_of_cells(
    window: dict[str, np.ndarray], cell: int, holds: Holds, seen_deg: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Flags uint16 (row, column) of cells, and whether each is observed.

    Of whole cells half their pixels must be: half observed, more than half without noise.

    Args:
        window: ``valid``, ``noise_missing``, ``incidence_angle`` (line, pixel), ``nesz`` (polarisation, line, pixel).
        cell: pixels along a side.
        holds: see `Holds`.
        seen_deg: incidence angles that the model has learnt from.
    """
    unknown = window["noise_missing"] | ~np.isfinite(window["nesz"]).all(axis=0)
    valid, angle = window["valid"], window["incidence_angle"]
    if holds == "middle":
        middle = (..., slice(cell // 2, None, cell), slice(cell // 2, None, cell))
        observed, unknown, angle = valid[middle], unknown[middle], angle[middle]
    else:
        observed = _share(valid, cell) >= 0.5
        unknown, angle = _share(unknown, cell) > 0.5, _share(angle.astype(np.float64), cell)
    flags = np.where(observed, np.uint16(0), BIT["nodata"])
    flags |= np.where(unknown & observed, BIT["noise_missing"], np.uint16(0))
    low, high = seen_deg
    flags |= np.where(observed & ((angle < low) | (angle > high)), BIT["incidence_out_of_range"], np.uint16(0))
    return flags, observed


def border_cells(border_m: float, spacing_m: float) -> int:
    """How far `flag_border` looks, in cells."""
    return max(round(border_m / spacing_m), 0)


def flag_border(flags: np.ndarray, border_m: float, spacing_m: float) -> None:
    """Flag ``border``, in place, what is closer to something that was not observed."""
    reach = border_cells(border_m, spacing_m)
    if reach:
        seen = (flags & BIT["nodata"]) == 0
        inner = ndimage.minimum_filter(seen.view(np.uint8), size=2 * reach + 1, mode="constant", cval=0)
        flags[seen & (inner == 0)] |= BIT["border"]


def flags_on_map(
    flags: np.ndarray, nodata: np.ndarray, land: np.ndarray, distance: np.ndarray, settings: FlagSettings
) -> np.ndarray:
    """Flags uint16 of a map: those of the radar grid at sea, ``land``, ``coast``, and nothing else without data.

    Args:
        flags: of the radar grid, on that of the map.
        nodata: where nothing was observed, bool.
        land: where land is, bool.
        distance: from the coast, metres.
        settings: thresholds.
    """
    out = np.where(nodata, BIT["nodata"], flags)
    out[land & ~nodata] = BIT["land"]
    out[~(nodata | land) & (distance < settings.coast_m)] |= BIT["coast"]
    return out.astype(np.uint16)


def _share(values: np.ndarray, cell: int) -> np.ndarray:
    height, width = values.shape
    mean: np.ndarray = values.reshape(height // cell, cell, width // cell, cell).mean((1, 3))
    return mean
