"""Land and the distance to it, from the GSHHG shorelines that roaring-landmask ships inside its wheel.

Its bitmap has cells of a quarter arc-minute (0.46 km of latitude, less of longitude) that are land where they touch
land, which errs on the safe side at a coast. Lookups are 20 million a second; nothing is downloaded.

References:
    Wessel, P., Smith, W. H. F. (1996), A global, self-consistent, hierarchical, high-resolution shoreline database.
    J. Geophys. Res. 101, 8741-8743. doi:10.1029/96JB00104.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr
from pyproj import CRS, Transformer
from scipy import ndimage

from frazil.conventions import VARIABLES
from frazil.scene.geolocation import Geolocation
from frazil.scene.grid import MapGrid

_SPACING_M = 240.0  # half a cell of the bitmap
_NODES_M = 4000.0
_MARGIN_M = 10_000.0  # land this far outside the grid still counts for the distance to the coast


@lru_cache(maxsize=1)
def _bitmap() -> Any:
    from roaring_landmask import LandmaskProvider, RoaringMask

    return RoaringMask.new(LandmaskProvider.Gshhg)


def land_mask(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    """Whether places are land: bool, of the shape of the arguments; False where they are NaN.

    Args:
        longitude: degrees, any range.
        latitude: degrees, −90…90.
    """
    lon, lat = np.broadcast_arrays(np.asarray(longitude, float), np.asarray(latitude, float))
    known = np.isfinite(lon) & np.isfinite(lat)
    wrapped = (np.where(known, lon, 0.0) + 180.0) % 360.0 - 180.0
    land = _bitmap().contains_many_par(wrapped.ravel(), np.where(known, lat, 0.0).ravel())
    return np.asarray(land).reshape(lon.shape) & known


def land_on(grid: MapGrid) -> tuple[np.ndarray, np.ndarray]:
    """Land and the distance to it on a map grid.

    Returns:
        land: bool (y, x).
        distance: float32 (y, x), metres in the projection to the nearest land within 10 km around the grid; 0 on land,
            infinite without any. Exact to the 0.24 km at which it is computed.
    """
    step = _step(grid)
    coarse_m = step * grid.spacing_m
    margin = int(np.ceil(_MARGIN_M / coarse_m))
    rows, columns = (-(-n // step) + 2 * margin for n in grid.shape)
    x = grid.left + (np.arange(columns) - margin + 0.5) * coarse_m
    y = grid.top - (np.arange(rows) - margin + 0.5) * coarse_m
    land = land_mask(*_lonlat(grid, x, y))
    distance = coast_distance(land, coarse_m)
    window = slice(margin, rows - margin), slice(margin, columns - margin)
    full = slice(0, grid.shape[0]), slice(0, grid.shape[1])
    return _finer(land[window], step)[full], _finer(distance[window], step)[full]


def land_lattice(grid: MapGrid) -> int:
    """Pixels between the nodes of `land_on`: on a part of a grid that begins at a node, it finds what it finds on all.

    Coasts more than 10 km outside the part are not seen from it.
    """
    step = _step(grid)
    return step * _node_step(step * grid.spacing_m)


def _step(grid: MapGrid) -> int:
    return max(int(_SPACING_M // grid.spacing_m), 1)


def _node_step(coarse_m: float) -> int:
    return int(np.clip(_NODES_M / coarse_m, 1, 64))


def _lonlat(grid: MapGrid, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude, degrees (y, x), of a lattice of coordinates of a grid's CRS.

    PROJ is asked every 4 km along either axis, and directions from the Earth's centre are linear between: that errs by
    less than a decimetre, at poles and the antimeridian as elsewhere. Where the projection ends it is asked everywhere.
    """
    to_lonlat = Transformer.from_crs(grid.pyproj_crs, CRS.from_epsg(4326), always_xy=True)
    step = _node_step(abs(x[1] - x[0])) if x.size > 1 else 1
    nodes = [np.unique(np.append(np.arange(0, v.size, step), v.size - 1)) for v in (x, y)]
    longitude, latitude = (np.radians(v) for v in to_lonlat.transform(*np.meshgrid(x[nodes[0]], y[nodes[1]])))
    if not (np.isfinite(longitude).all() and np.isfinite(latitude).all()):
        everywhere = to_lonlat.transform(*np.meshgrid(x, y))
        return everywhere[0], everywhere[1]
    at = [np.interp(np.arange(v.size), n, np.arange(n.size)) for v, n in zip((x, y), nodes, strict=True)]
    directions = []
    for part in (np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)):
        for position in at:  # along x, then along y
            low = np.minimum(position.astype(int), max(part.shape[1] - 2, 0))
            high = np.minimum(low + 1, part.shape[1] - 1)
            part = ((1 - (position - low)) * part[:, low] + (position - low) * part[:, high]).T
        directions.append(part)
    east, north, up = directions
    return np.degrees(np.arctan2(north, east)), np.degrees(np.arctan2(up, np.hypot(east, north)))


def coast_distance(land: np.ndarray, spacing_m: float | tuple[float, float]) -> np.ndarray:
    """Distance of every pixel to the nearest land pixel, metres, float32; 0 on land, infinite without land."""
    if not land.any():
        return np.full(land.shape, np.inf, np.float32)
    distance: np.ndarray = ndimage.distance_transform_edt(~land, sampling=spacing_m).astype(np.float32)
    return distance


def add_land(scene: xr.Dataset) -> xr.Dataset:
    """The scene with ``land_mask`` (bool) and ``coast_distance`` (m, float32), both (line, pixel).

    Computed at every sixth pixel at 40 m (a quarter kilometre, the bitmap's own grain) and repeated between; distances
    see no land outside the scene.
    """
    step = max(int(_SPACING_M // float(scene.attrs["spacing_m"])), 1)
    line, pixel = scene["line"].values, scene["pixel"].values
    lon, lat = Geolocation.of(scene).lonlat(
        _centres(line, step)[:, None],
        _centres(pixel, step)[None, :],
    )
    land = land_mask(lon, lat)
    distance = coast_distance(land, float(scene.attrs["spacing_m"]) * step)
    full = slice(0, line.size), slice(0, pixel.size)
    dims = ("line", "pixel")
    return scene.assign(
        land_mask=(dims, _finer(land, step)[full], VARIABLES["land_mask"]),
        coast_distance=(dims, _finer(distance, step)[full], VARIABLES["coast_distance"]),
    )


def _centres(coordinate: np.ndarray, step: int) -> np.ndarray:
    """Positions of the centres of groups of `step` pixels; the last group may stick out."""
    spacing = (coordinate[-1] - coordinate[0]) / max(coordinate.size - 1, 1)
    groups = -(-coordinate.size // step)
    centres: np.ndarray = coordinate[0] + (np.arange(groups) * step + (step - 1) / 2) * spacing
    return centres


def _finer(coarse: np.ndarray, step: int) -> np.ndarray:
    return np.repeat(np.repeat(coarse, step, axis=0), step, axis=1)
