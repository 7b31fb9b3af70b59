"""References that are rasters: concentration or ice and water on a grid of their own, brought onto the grid of a map.

Concentration is interpolated bilinearly and then compared with the threshold. The cells of a radiometer are tens of
times as large as the pixels of a map; their footprints are larger still and overlap, so that concentration changes
gradually across several cells, and the line of 15 % runs between their centres. Taking the nearest cell instead draws
the edge as a staircase whose steps, half a cell high, would be counted as displacement and as area of the map. The
price: across a sharp jump from 0 to 100 % in neighbouring cells, the interpolated line of 15 % lies 0.35 cells on the
water side of their border. ``resampling="nearest"`` counts whole cells, as published extents do.

Codes and classes are never interpolated: nearest cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from affine import Affine
from pyproj import CRS, Transformer

from frazil.conventions import CLASS_LAND, CLASS_NODATA, PERCENT_NODATA
from frazil.maps.times import TimeSpan
from frazil.scene.grid import MapGrid, Warp

if TYPE_CHECKING:
    import xarray as xr

Resampling = Literal["bilinear", "nearest"]
_LATTICE_M = 4000.0  # positions are exact this far apart and linear between: errs by centimetres
_BLOCK_ROWS = 512
_ON_RIM = 1e-9  # rows
_PERCENT_OF_CODE = np.full(256, np.nan, np.float32)
_PERCENT_OF_CODE[:2] = 0, 100


@dataclass(frozen=True, eq=False, kw_only=True)
class Raster:
    """Values on a grid: concentration, or codes of ice and water.

    Attributes:
        crs: of the grid.
        transform: column, row (at cell corners) -> x, y in units of the CRS.
        values: concentration in percent (float32, NaN where missing), or codes (uint8: 0 water, 1 ice, 254 land,
            255 missing).
        land: True on land; beside concentration only.
    """

    crs: CRS
    transform: Affine
    values: np.ndarray
    land: np.ndarray | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class RasterReference:
    """A raster as a reference, see `frazil.maps.references.Reference`.

    Attributes:
        name, kind, time, says: see there.
        raster: the values.
        threshold_percent: concentration from which a cell is ice.
        resampling: of concentration.
        edge: of a map: the sides of its ice edge, see `frazil.maps.edges.edge_sides`.
        percent: of a map: its probability of ice, uint8, 255 on land and where nothing was observed.
    """

    name: str
    kind: str
    time: TimeSpan | None
    says: str
    raster: Raster
    threshold_percent: float = 15.0
    resampling: Resampling = "bilinear"
    edge: Raster | None = None
    percent: Raster | None = None

    def on(self, like: xr.Dataset) -> np.ndarray:
        """Codes on the grid of a map: 0 water, 1 ice, 254 land, 255 not told."""
        grid = MapGrid.of(like)
        out = np.empty(grid.shape, np.uint8)
        raster = _closed(self.raster)
        values, land = raster.values, raster.land
        for rows, warp in warps(grid, raster):
            if values.dtype == np.uint8:
                out[rows] = warp.nearest(values, CLASS_NODATA)
                continue
            percent = warp.nearest(values, np.nan) if self.resampling == "nearest" else warp.bilinear(values)
            codes = (percent >= self.threshold_percent - 1e-4).astype(np.uint8)  # float32 of weights that add up to 1
            codes[np.isnan(percent)] = CLASS_NODATA
            if land is not None:
                codes[warp.nearest(land.astype(np.uint8), 0) == 1] = CLASS_LAND
            out[rows] = codes
        return out

    def concentration_on(self, like: xr.Dataset) -> np.ndarray:
        """Concentration on the grid of a map, before any threshold: float32 percent, NaN where not told and on land.

        Concentration comes as `resampling` says, 0 and 100 of classes and extents by the nearest cell; of a map its
        probability of ice, bilinearly.
        """
        grid = MapGrid.of(like)
        raster = _closed(self.percent or self.raster)
        out = np.empty(grid.shape, np.float32)
        for rows, warp in warps(grid, raster):
            if self.percent is not None:
                out[rows] = warp.bilinear(raster.values, missing=PERCENT_NODATA)
            elif raster.values.dtype == np.uint8:
                out[rows] = _PERCENT_OF_CODE[warp.nearest(raster.values, CLASS_NODATA)]
            else:
                percent = warp.nearest(raster.values, np.nan) if self.resampling == "nearest" else None
                out[rows] = np.clip(warp.bilinear(raster.values) if percent is None else percent, 0, 100)
                if raster.land is not None:
                    out[rows][warp.nearest(raster.land.astype(np.uint8), 0) == 1] = np.nan
        return out


def _closed(raster: Raster) -> Raster:
    """A raster in degrees that runs around the Earth with its last column before its first, and the first after it."""
    columns = raster.values.shape[1]
    if not raster.crs.is_geographic or abs(columns * abs(raster.transform.a) - 360) > 0.01 * abs(raster.transform.a):
        return raster
    around = np.r_[columns - 1, :columns, 0]
    land = None if raster.land is None else raster.land[:, around]
    transform = raster.transform @ Affine.translation(-1, 0)
    return Raster(crs=raster.crs, transform=transform, values=raster.values[:, around], land=land)


def warps(grid: MapGrid, raster: Raster) -> Iterator[tuple[slice, Warp]]:
    """The warp of a raster onto a grid, whole or in bands of rows.

    Longitude jumps at the antimeridian and spins at the poles: from a raster in degrees every pixel is placed by
    itself, band by band.
    """
    degrees = raster.crs.is_geographic
    step = 1 if degrees else int(np.clip(_LATTICE_M // grid.spacing_m, 1, 32))
    change = Transformer.from_crs(grid.pyproj_crs, raster.crs, always_xy=True)
    inverse = ~raster.transform
    rows_at_once = _BLOCK_ROWS if degrees else grid.shape[0]
    for start in range(0, grid.shape[0], rows_at_once):
        stop = min(start + rows_at_once, grid.shape[0])
        nodes = [-(-n // step) + 1 for n in (stop - start, grid.shape[1])]
        x = grid.left + (np.arange(nodes[1]) * step + 0.5) * grid.spacing_m
        y = grid.top - (start + np.arange(nodes[0]) * step + 0.5) * grid.spacing_m
        xx, yy = change.transform(*np.meshgrid(x, y))
        if degrees:
            ends = (raster.transform.c, raster.transform.c + raster.transform.a * raster.values.shape[1])
            west = (min(ends) + max(ends)) / 2 - 180 if abs(ends[1] - ends[0]) > 360 else min(ends)
            xx = (xx - west) % 360 + west
        column, row = inverse.a * xx + inverse.b * yy + inverse.c, inverse.d * xx + inverse.e * yy + inverse.f
        row, column = (np.where(np.isfinite(v), v - 0.5, np.nan) for v in (row, column))
        if degrees:  # a pole lies on the rim of the first or last row, and a rim is neither inside nor outside
            n = raster.values.shape[0]
            row = np.where((row >= -0.5 - _ON_RIM) & (row <= n - 0.5 + _ON_RIM), np.clip(row, 0, n - 1), row)
        band = MapGrid(
            crs=grid.crs,
            left=grid.left,
            top=grid.top - start * grid.spacing_m,
            spacing_m=grid.spacing_m,
            shape=(stop - start, grid.shape[1]),
        )
        yield slice(start, stop), Warp(band, row, column, step, raster.values.shape)
