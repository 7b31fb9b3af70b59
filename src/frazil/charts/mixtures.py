"""What lies in square cells of a map of sea ice: the mean probability of each class, and how much could not be told.

Means of calibrated probabilities are expected shares of area. Counting the likeliest class of each pixel instead would
hide mixtures: ice of 40 % everywhere would be no ice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from frazil.conventions import CLASS_LAND, QUALITY_FLAGS, UNDECIDED
from frazil.errors import OptionError
from frazil.maps.areas import PixelAreas
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import xarray as xr

CELL_M = 1000.0
#: Pixels with these flags are part of the sea and tell nothing of what is there.
SILENT_BITS = np.uint16(sum(QUALITY_FLAGS[name][0] for name in ("border", "noise_missing")))


@dataclass(frozen=True, eq=False)
class Mixtures:
    """Cells of a map, ``side`` × ``side`` pixels each; those along the last row and column may be smaller.

    Attributes:
        side: pixels.
        sea_km2: float64 (row, column), ground area of the pixels that are sea and were observed, of whatever quality.
        area_km2: float64 (row, column), that of those of them that tell what is there.
        shares: float64 (class, row, column), their mean probability of each class; 0 where none tells.
        undecided: float64 (row, column), share of them that is undecided.
        confidence: float64 (row, column), their mean confidence, percent.
    """

    side: int
    sea_km2: np.ndarray
    area_km2: np.ndarray
    shares: np.ndarray
    undecided: np.ndarray
    confidence: np.ndarray


def mixtures(ice_map: xr.Dataset, cell_m: float = CELL_M) -> Mixtures:
    """The cells of a map.

    Args:
        ice_map: see `frazil.conventions.check_ice_map`, on a projected grid.
        cell_m: side of a cell, metres; taken to whole pixels.

    Raises:
        OptionError: cells smaller than pixels.
    """
    grid = MapGrid.of(ice_map)
    side = round(cell_m / grid.spacing_m)
    if side < 1:
        raise OptionError(f"Cells of {cell_m:g} m are smaller than the map's pixels of {grid.spacing_m:g} m.")
    codes, flags = ice_map["ice_class"].values, ice_map["quality_flags"].values
    percent, confidence = ice_map["probability"].values, ice_map["confidence"].values
    areas = PixelAreas(grid)
    shape = tuple(-(-n // side) for n in codes.shape)
    sea, area = np.zeros(shape), np.zeros(shape)
    sums = np.zeros((len(percent) + 2, *shape))
    for row in range(shape[0]):
        rows = slice(row * side, (row + 1) * side)
        ground = np.where(codes[rows] < CLASS_LAND, areas.rows(rows.start, min(rows.stop, len(codes))), 0.0)
        weight = np.where((flags[rows] & SILENT_BITS) == 0, ground, 0.0)
        starts = np.arange(0, codes.shape[1], side)
        sea[row] = np.add.reduceat(ground.sum(axis=0), starts)
        area[row] = np.add.reduceat(weight.sum(axis=0), starts)
        planes = [*(plane[rows] for plane in percent), codes[rows] == UNDECIDED, confidence[rows]]
        for k, plane in enumerate(planes):
            sums[k, row] = np.add.reduceat((weight * plane).sum(axis=0), starts)
    means = np.divide(sums, area, out=np.zeros_like(sums), where=area > 0)
    shares = means[:-2] / np.maximum(means[:-2].sum(axis=0), 1e-9)
    return Mixtures(side, sea, area, np.where(area > 0, shares, 0.0), means[-2], means[-1])
