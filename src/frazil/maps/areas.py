"""True areas and lengths of what a projected map shows.

Polar stereographic grids stretch: a 120 m pixel of EPSG:3413 covers about 7 % less ground at 60° N and 6 % more at
the pole than its nominal 0.0144 km². Areas here are ground areas on the ellipsoid: nominal area divided by the areal
scale of the projection (PROJ, ``proj_factors``), which is evaluated on nodes some kilometres apart and interpolated
linearly (relative error below 1e-6). Lengths are geodesic.

References:
    Snyder (1987), Map Projections: A Working Manual, USGS Professional Paper 1395, sections 4 and 21.
    Karney (2013), Algorithms for geodesics, J. Geodesy 87, doi:10.1007/s00190-012-0578-z.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from frazil.scene.grid import MapGrid

_NODE_DISTANCE_M = 8000.0
_BLOCK_ROWS = 256


class PixelAreas:
    """Ground area of every pixel of a grid, made row by row so that no second map is held in memory.

    Args:
        grid: the grid of the map.
    """

    def __init__(self, grid: MapGrid) -> None:
        rows, columns = grid.shape
        step = int(np.clip(_NODE_DISTANCE_M // grid.spacing_m, 1, 64))
        self.shape = grid.shape
        self._node_rows = _nodes(rows, step)
        node_columns = _nodes(columns, step)
        x, y = np.meshgrid(grid.x[node_columns], grid.y[self._node_rows])
        nodes = (grid.spacing_m / 1000) ** 2 / areal_scale(grid, x, y)
        self._lines = np.stack([np.interp(np.arange(columns), node_columns, line) for line in nodes])

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Areas of the pixels of rows ``start`` to ``stop - 1``, km², float64 ``(stop - start, columns)``."""
        position = np.interp(np.arange(start, stop), self._node_rows, np.arange(self._node_rows.size))
        upper = np.minimum(position.astype(int), max(self._node_rows.size - 2, 0))
        lower = np.minimum(upper + 1, self._node_rows.size - 1)
        weight = (position - upper)[:, None]
        return np.asarray((1 - weight) * self._lines[upper] + weight * self._lines[lower])

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """The whole grid in bands of rows: the rows and the areas of their pixels, km²."""
        for start in range(0, self.shape[0], _BLOCK_ROWS):
            stop = min(start + _BLOCK_ROWS, self.shape[0])
            yield slice(start, stop), self.rows(start, stop)

    def by_code(self, codes: np.ndarray) -> np.ndarray:
        """Ground area of each code of a uint8 raster ``(y, x)``: km², float64, 256 values."""
        total = np.zeros(256)
        for rows, area in self.blocks():
            total += np.bincount(codes[rows].ravel(), weights=area.ravel(), minlength=256)
        return total

    def by_bit(self, bits: np.ndarray, n: int) -> np.ndarray:
        """Ground area on which each of the lowest n bits of an integer raster ``(y, x)`` is set: km², float64 (n)."""
        return np.array([self.by_code(((bits >> k) & 1).astype(np.uint8))[1] for k in range(n)])


def areal_scale(grid: MapGrid, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Area on the map over area on the ground at points of a grid's CRS.

    Points where the projection is undefined (beyond the edge of the world) take the value of the nearest defined one.

    Args:
        grid: names the CRS.
        x: metres, any shape.
        y: metres, likewise.
    """
    from pyproj import Proj
    from scipy.ndimage import distance_transform_edt

    projection = Proj(grid.pyproj_crs)
    longitude, latitude = projection(x, y, inverse=True)
    scale = np.asarray(projection.get_factors(longitude, latitude).areal_scale, dtype=float).reshape(np.shape(x))
    bad = ~np.isfinite(scale) | (scale <= 0)
    if bad.all():
        return np.ones(np.shape(x))
    if bad.any():
        scale = scale[tuple(distance_transform_edt(bad, return_distances=False, return_indices=True))]
    return scale


def geodesic_lengths_km(grid: MapGrid, xy: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Lengths on the ellipsoid of many lines at once, km.

    Args:
        grid: names the CRS.
        xy: the vertices of all lines, one line after the other, metres, ``(n, 2)``.
        first: index of the first vertex of each line, ascending, starting at 0; every line has two vertices or more.
    """
    from pyproj import Transformer

    if not len(first):
        return np.zeros(0)
    crs = grid.pyproj_crs
    geodetic = crs.geodetic_crs
    geod = crs.get_geod()
    assert geodetic is not None
    assert geod is not None
    longitude, latitude = Transformer.from_crs(crs, geodetic, always_xy=True).transform(*xy.T)
    _, _, steps = geod.inv(longitude[:-1], latitude[:-1], longitude[1:], latitude[1:])
    steps = np.append(steps, 0.0)
    steps[np.asarray(first)[1:] - 1] = 0.0  # from the end of one line to the start of the next
    return np.add.reduceat(steps, first) / 1000


def _nodes(size: int, step: int) -> np.ndarray:
    """Indices 0, step, 2 step … and the last one."""
    return np.unique(np.append(np.arange(0, size, step), size - 1))
