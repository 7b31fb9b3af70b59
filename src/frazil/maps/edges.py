"""The lines of the ice edge of a map.

Contours come from contourpy, the removal of specks from GDAL (rasterio.features). Lengths are geodesic, see
`frazil.maps.areas`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.answer import ICE_PERCENT, likely_ice, widely_undecided
from frazil.conventions import (
    CLASS_LAND,
    CLASS_NODATA,
    QUALITY_FLAGS,
    check_ice_map,
)
from frazil.errors import OptionError
from frazil.maps.areas import geodesic_lengths_km
from frazil.maps.outlines import bands
from frazil.maps.polygons import framed, pixels_covering, refuse_negative, without_specks
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

EDGE_MIN_AREA_KM2 = 10.0  #: smaller patches of ice or water have no edge of their own

_UNSURE = QUALITY_FLAGS["border"][0] | QUALITY_FLAGS["noise_missing"][0]


def ice_edge(
    ice_map: xr.Dataset,
    *,
    threshold_percent: float = ICE_PERCENT,
    min_area_km2: float = EDGE_MIN_AREA_KM2,
    smooth_m: float = 0.0,
) -> gpd.GeoDataFrame:
    """Lines of the ice edge: where the probability of ice crosses a threshold, longest first.

    Patches of ice in water and of water in ice below the least area are taken for their surroundings; between the rest
    the lines run half-way from pixel centre to pixel centre: at 50 percent no pixel that the map calls ice lies on the
    water's side of a line, and none that it calls water on the ice's. Only squares of four observed sea pixels are
    contoured, so that a line ends at land, nodata and the scene border and never follows them. At 50 percent it ends,
    too, where the map is undecided over a kilometre and more (`frazil.answer.widely_undecided`). Pixels flagged
    ``border`` or ``noise_missing`` are left out: a strip of false ice along the swath's rim is no ice edge.
    `frazil.compare` measures the same lines.

    Args:
        ice_map: a map, see `frazil.conventions.check_ice_map`.
        threshold_percent: the probability that counts as ice, above 0 and at most 100; at 50 what the map calls ice.
        min_area_km2: patches smaller than this have no edge of their own; 0 keeps every pixel.
        smooth_m: width of a square over which the probability is averaged first, metres on the map: a calmer and
            shorter line that keeps to the pixels no more. Below two pixels there is no averaging.

    Returns:
        One row a line, in the CRS of the map, with ``length_km`` (geodesic), ``mean_confidence`` (percent, of the
        pixels along the line), ``threshold_percent``, ``product``, ``start_time``, ``model``. No rows if there is no
        edge.

    Raises:
        ContractError: not a map, or not on a projected grid.
        OptionError: a threshold or size outside its range.
    """
    check_ice_map(ice_map)
    if not 0 < threshold_percent <= 100:
        raise OptionError(f"threshold_percent is {threshold_percent}; it must lie above 0 and at most at 100.")
    refuse_negative(min_area_km2=min_area_km2, smooth_m=smooth_m)
    grid = MapGrid.of(ice_map)
    sides = edge_sides(ice_map, None if threshold_percent == ICE_PERCENT else threshold_percent)
    sea = sides != CLASS_NODATA
    if smooth_m < 2 * grid.spacing_m:
        lines = edge_between(sides, sea, grid, min_area_km2)
    else:
        percent = ice_map["ice_probability"].values
        lines = _smoothed_edge(percent, sea, grid, threshold_percent, min_area_km2, smooth_m)
    first = np.cumsum([0, *(len(line) for line in lines)])
    index = np.concatenate(lines) if lines else np.zeros((0, 2))  # column, row of pixel centres
    column, row = np.rint(index).astype(int).T
    near = ice_map["confidence"].values[row, column].astype(float)
    near = np.add.reduceat(near, first[:-1]) if lines else near
    xy = np.column_stack([grid.x[0] + index[:, 0] * grid.spacing_m, grid.y[0] - index[:, 1] * grid.spacing_m])
    return framed(
        _linestrings(xy, first),
        grid,
        ice_map,
        {
            "length_km": np.round(geodesic_lengths_km(grid, xy, first[:-1]), 3),
            "mean_confidence": np.round(near / np.diff(first), 1),
            "threshold_percent": np.full(len(lines), float(threshold_percent)),
        },
        sort_by="length_km",
    )


def edge_sides(ice_map: xr.Dataset, threshold_percent: float | None = None) -> np.ndarray:
    """On which side of the ice edge a map sees each pixel: uint8 (y, x), 1 ice, 0 water, `CLASS_NODATA` not told.

    Args:
        ice_map: a map.
        threshold_percent: ice from this probability on, all over the sea; None: what is likelier
            (`frazil.answer.likely_ice`), and nothing where the map is undecided over a kilometre and more.
    """
    codes = ice_map["ice_class"].values
    silent = (codes >= CLASS_LAND) | ((ice_map["quality_flags"].values & _UNSURE) > 0)
    if threshold_percent is None:
        ice = likely_ice(ice_map)
        silent |= widely_undecided(codes, MapGrid.of(ice_map).spacing_m)
    else:
        ice = ice_map["ice_probability"].values >= threshold_percent
    return np.where(silent, np.uint8(CLASS_NODATA), ice.astype(np.uint8))


def edge_between(ice: np.ndarray, use: np.ndarray, grid: MapGrid, min_area_km2: float) -> list[np.ndarray]:
    """Lines between ice and water, as column and row of pixel centres, ``(n, 2)`` each.

    They run half-way between the centres, inside squares of four sea pixels only: they end at land and nodata.

    Args:
        ice: uint8 (y, x), 1 ice, 0 water, anything where it does not count.
        use: True where ``ice`` counts.
        grid: where the pixels lie.
        min_area_km2: patches of ice or water smaller than this have no edge.
    """
    kept = _without_small(np.where(use, ice, np.uint8(0)), use, grid, min_area_km2)
    return _contour(_Field(kept * np.uint8(100), use, 0), kept, kept, 50.0)


def _smoothed_edge(
    percent: np.ndarray, use: np.ndarray, grid: MapGrid, threshold_percent: float, min_area_km2: float, smooth_m: float
) -> list[np.ndarray]:
    level = threshold_percent - 0.5  # between two whole percents: no pixel lies on the level, and 50 % counts as ice
    field = _Field(percent, use, int(smooth_m // grid.spacing_m))
    ice = np.empty(percent.shape, np.uint8)
    for rows in bands(percent.shape[0]):
        np.greater(field.rows(rows.start, rows.stop), level, out=ice[rows])
    return _contour(field, ice, _without_small(ice, use, grid, min_area_km2), level)


def _without_small(ice: np.ndarray, use: np.ndarray, grid: MapGrid, min_area_km2: float) -> np.ndarray:
    return without_specks(ice, use, (pixels_covering(min_area_km2, grid) if min_area_km2 > 0 else 0,))


class _Field:
    """Percentages averaged over a square of pixels, made a few rows at a time.

    Args:
        percent: uint8 ``(y, x)``.
        use: True where ``percent`` counts.
        width: side of the square in pixels, made odd; below 3 there is no averaging.
    """

    def __init__(self, percent: np.ndarray, use: np.ndarray, width: int) -> None:
        self.percent, self.use, self.reach = percent, use, width // 2

    def rows(self, start: int, stop: int) -> np.ndarray:
        """The mean over the pixels in use around each pixel in use, float32; 0 where not in use."""
        top = max(start - self.reach, 0)
        around = slice(top, stop + self.reach)
        use = self.use[around]
        total = np.where(use, self.percent[around], np.uint8(0)).astype(np.uint32 if self.reach > 12 else np.uint16)
        count = use.astype(total.dtype)
        for axis in (0, 1):
            total, count = _box_sum(total, self.reach, axis), _box_sum(count, self.reach, axis)
        out = np.zeros(total.shape, np.float32)
        np.divide(total, count, out=out, where=use)
        return out[start - top : stop - top]


def _box_sum(values: np.ndarray, reach: int, axis: int) -> np.ndarray:
    """Sum over the ``2 reach + 1`` values around each one along an axis; nothing beyond the ends."""
    values = np.moveaxis(values, axis, 0)
    out = values.copy()
    for shift in range(1, min(reach, len(values) - 1) + 1):
        out[shift:] += values[:-shift]
        out[:-shift] += values[shift:]
    return np.moveaxis(out, 0, axis)


def _contour(field: _Field, ice: np.ndarray, kept: np.ndarray, level: float) -> list[np.ndarray]:
    """Contour lines (column, row of pixel centres) inside squares of four sea pixels.

    Band by band, for a contour of a whole scene would hold it in float64 several times; lines that cross from one band
    to the next have the same point (to a millionth of a pixel) on the row they share, where GEOS joins them.

    Args:
        field: the heights.
        ice: 1 where the field is above the level.
        kept: the same without specks; the field is lifted or lowered to the level where the two differ.
        level: height of the contour.
    """
    import shapely
    from contourpy import contour_generator

    pieces = []
    for rows in bands(ice.shape[0]):
        band = slice(rows.start, min(rows.stop + 1, ice.shape[0]))
        columns = np.flatnonzero(_has_edge(kept[band], field.use[band]))
        if not columns.size:
            continue
        part = (band, slice(columns[0], columns[-1] + 2))
        height = field.rows(band.start, band.stop)[:, part[1]].astype(float)
        height[kept[part] > ice[part]] = level + 0.5
        height[kept[part] < ice[part]] = level - 0.5
        masked = np.ma.array(height, mask=~field.use[part])
        lines: Any = contour_generator(z=masked, name="serial", corner_mask=False).lines(level)
        pieces += [np.round(line + np.array([columns[0], band.start]), 6) for line in lines if len(line) > 1]
    if not pieces:
        return []
    joined = shapely.line_merge(shapely.multilinestrings([shapely.linestrings(piece) for piece in pieces]))
    return [shapely.get_coordinates(line) for line in shapely.get_parts(joined)]


def _has_edge(ice: np.ndarray, sea: np.ndarray) -> np.ndarray:
    """True for every pair of neighbouring columns between which ice and water meet."""
    down = ((ice[1:] != ice[:-1]) & sea[1:] & sea[:-1]).any(axis=0)
    across = ((ice[:, 1:] != ice[:, :-1]) & sea[:, 1:] & sea[:, :-1]).any(axis=0)
    return np.asarray(across | down[1:] | down[:-1])


def _linestrings(xy: np.ndarray, first: np.ndarray) -> np.ndarray:
    import shapely

    if len(first) < 2:
        return np.zeros(0, dtype=object)
    return np.asarray(shapely.linestrings(xy, indices=np.repeat(np.arange(len(first) - 1), np.diff(first))))
