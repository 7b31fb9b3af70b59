"""A map of phenomena against where they are: the masks that `frazil simulate --phenomena` writes beside a product.

Masks lie in radar geometry, finer than the map. Their control points, which stand on a lattice of lines and pixels,
place them: each pixel of the map looks up the block of masks around its centre, and a phenomenon is there if it covers
35 % of it, as in masks of imagettes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from pyproj import CRS
from scipy.ndimage import uniform_filter

from frazil.conventions import PERCENT_NODATA, check_map
from frazil.errors import ContractError, LabelError
from frazil.gdal_files import open_raster
from frazil.mask_counts import MaskCounts
from frazil.scene.geolocation import Geolocation

if TYPE_CHECKING:
    import xarray as xr

_LEAST_SHARE = 0.35  # of a map's pixel that a phenomenon covers, as in `frazil.simulate.wave_mode.block_masks`


def score_phenomena(ds: xr.Dataset, truth: str | os.PathLike[str]) -> dict[str, Any]:
    """Scores of a map of phenomena, JSON-ready (None for NaN), see `frazil.mask_counts.MaskCounts`.

    Args:
        ds: a map on a projected grid, see `frazil.open_map`.
        truth: GeoTIFF of bits, with ``flag_meanings`` and control points: ``phenomena.tif``.

    Returns:
        ``classes``, and lists and means over them: ``set_dice``, ``pixel_dice``, ``precision``, ``recall``, ``iou``;
        ``compared_km2``: of the map, where it knows scores and the masks lie.

    Raises:
        ContractError: no map of phenomena on a projected grid.
        LabelError: no such masks, masks without a class of the map, or masks of another place.
    """
    scheme = check_map(ds)
    if scheme.kind != "multilabel" or "y" not in ds.dims:
        raise ContractError("Masks of phenomena are compared with a map of phenomena on a projected grid.")
    bits, place, meanings = _read(truth)
    lacking = [name for name in scheme.names if name not in meanings]
    if lacking:
        raise LabelError(f"{truth} has no masks of {lacking[0]!r}; it has {', '.join(meanings) or 'none'}.")
    crs = CRS.from_wkt(str(ds["spatial_ref"].attrs["crs_wkt"]))
    x, y = np.meshgrid(ds["x"].values, ds["y"].values)
    row, column = place.line_pixel(x, y, crs)
    known = np.isfinite(row) & np.isfinite(column) & (ds["score"].values[0] != PERCENT_NODATA)
    row, column = (np.rint(np.where(known, v, -1)).astype(int) for v in (row, column))
    known &= (row >= 0) & (row < bits.shape[0]) & (column >= 0) & (column < bits.shape[1])
    if not known.any():
        raise LabelError(f"The masks of {truth} and the map do not lie at the same place.")
    row, column = row[known], column[known]
    step_m = abs(float(ds["x"].values[1] - ds["x"].values[0]))
    block = max(round(step_m / _spacing_m(place)), 1)
    there = np.stack(
        [
            uniform_filter((bits >> meanings.index(name) & 1).astype(np.float32), block)[row, column] >= _LEAST_SHARE
            for name in scheme.names
        ]
    )
    counts = MaskCounts(len(scheme.names), float(ds.attrs.get("threshold", 0.5)))
    counts.add(ds["score"].values[:, known].astype(np.float32)[..., None] / 100, there[..., None])
    made = {k: v for k, v in counts.result().items() if k not in ("accuracy", "images")}
    plain = {k: [_plain(x) for x in v] if isinstance(v, list) else _plain(v) for k, v in made.items()}
    return {"classes": list(scheme.names), "compared_km2": round(known.sum() * step_m**2 / 1e6, 1), **plain}


def _plain(value: Any) -> Any:
    return None if value != value else value


def _read(path: str | os.PathLike[str]) -> tuple[np.ndarray, Geolocation, list[str]]:
    """Bits (row, column), where rows and columns lie, and the class of each bit."""
    from rasterio.errors import RasterioError

    try:
        with open_raster(path, "masks of phenomena") as file:
            meanings = str(file.tags(1).get("flag_meanings", "")).split()
            points, bits = file.gcps[0], file.read(1)
    except RasterioError as error:
        raise LabelError(f"{path} is truncated or damaged. Simulate the scene anew.") from error
    rows, columns = (np.unique([p[k] for p in ((g.row, g.col) for g in points)]) for k in (0, 1))
    if not meanings or min(rows.size, columns.size) < 2 or len(points) != rows.size * columns.size:
        raise LabelError(
            f"{path} holds no masks of phenomena: flag_meanings or a lattice of control points is missing. Pass the "
            "phenomena.tif that `frazil simulate --phenomena` wrote."
        )
    if not np.issubdtype(bits.dtype, np.unsignedinteger):
        raise LabelError(f"{path} holds {bits.dtype} and not bits.")
    order = sorted(points, key=lambda g: (g.row, g.col))
    lon, lat = (np.array([getattr(g, k) for g in order]).reshape(rows.size, columns.size) for k in "xy")
    return bits, Geolocation(rows, columns, lat, lon, np.zeros_like(lat)), meanings


def _spacing_m(place: Geolocation) -> float:
    """Ground distance of neighbouring columns in the middle."""
    middle = float(place.line[place.line.size // 2])
    first, last = (float(place.pixel[i]) for i in (0, -1))
    a, b = (
        np.array(_geocentric(*place.lonlat(middle, pixel)))
        for pixel in ((first + last) / 2 - 0.5, (first + last) / 2 + 0.5)
    )
    return float(np.linalg.norm(a - b))


def _geocentric(lon: np.ndarray, lat: np.ndarray) -> tuple[float, float, float]:
    from pyproj import Transformer

    x, y, z = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True).transform(float(lon), float(lat), 0.0)
    return x, y, z
