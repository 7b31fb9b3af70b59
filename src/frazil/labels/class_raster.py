"""Labels painted as a class raster, in radar geometry or in any CRS, on the pixels of a scene."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pyproj import CRS

from frazil.conventions import CLASS_LAND, CLASS_NODATA, ClassScheme
from frazil.errors import LabelError
from frazil.gdal_files import open_raster
from frazil.georeference import refuse_unplaced, world_file
from frazil.labels.classes import ClassRegions, LabelOptions, LabelsOnScene, meaning_of, name_of, strange_values
from frazil.labels.polygons import find_crs
from frazil.scene.geolocation import Geolocation

if TYPE_CHECKING:
    import xarray as xr

_LATTICE = 16  # scene pixels between positions that are geolocated exactly; linear between errs by centimetres
_MOST_SAMPLES = 50  # along a scene pixel; of a raster that is finer still not every cell is looked at


class RasterLabels:
    """Labels painted as a class raster."""

    def __init__(self, path: Path, scheme: ClassScheme, options: LabelOptions) -> None:
        import rasterio

        self.path, self.source, self.scheme, self.options = path, path.name, scheme, options
        try:
            with open_raster(path, "a class raster") as file:
                self.shape = (file.height, file.width)
                self.nodata = file.nodata
                self.crs = CRS.from_user_input(file.crs) if file.crs else None
                self.transform = file.transform
                self.gcps = file.gcps[0]
                kind = np.dtype(file.dtypes[0])
                tags = file.tags(1) | file.tags()
        except rasterio.errors.RasterioError as error:
            raise LabelError(f"{path} cannot be read as a class raster: {error}.") from error
        if kind.kind not in "ui":
            raise LabelError(f"{path} holds {kind} values; a class raster holds integers. Round and save it as uint8.")
        if self.transform.is_identity and not self.gcps:
            self.transform = world_file(path) or self.transform
        if self.crs is None and options.assume_crs is not None:
            self.crs = find_crs(options.assume_crs)
        if not self.gcps and (self.crs is None or self.transform.is_identity):
            raise LabelError(
                f"{path} is not georeferenced. It needs a transform (or a world file) "
                "and a CRS (or --assume-crs), or the product's tie points."
            )
        if not self.gcps and self.crs is not None:
            refuse_unplaced(path, self.crs, self.transform)
        values, names = tags.get("flag_values", "").split(), tags.get("flag_meanings", "").split()
        self.meaning = dict(options.classes) or dict(zip(values, names, strict=False))

    def on(self, scene: xr.Dataset) -> LabelsOnScene:
        """The raster on the pixels of a scene."""
        return RasterOnScene(self, scene)


class RasterOnScene(ClassRegions):
    """See `LabelsOnScene`; a scene pixel that holds several classes has none."""

    def __init__(self, raster: RasterLabels, scene: xr.Dataset) -> None:
        self.raster, self.scene, self.geo = raster, scene, Geolocation.of(scene)
        looks = float(scene.attrs.get("looks", 1))
        if raster.gcps:
            self.fit = _fit_ties(raster, scene)
            finest = 1 / max(self.fit[0][1], self.fit[1][1])  # product pixels per raster pixel
        else:
            t = raster.transform  # its axes may be turned
            metres = min(math.hypot(t.a, t.d), math.hypot(t.b, t.e)) * (
                111_000 if raster.crs and raster.crs.is_geographic else 1
            )
            finest = metres / (float(scene.attrs["spacing_m"]) / looks)
        k = min(max(math.ceil(looks / finest - 0.01), 1), _MOST_SAMPLES)
        self.offsets = ((np.arange(k) + 0.5) / k - 0.5) * looks

    def regions(self, rows: slice) -> np.ndarray:
        """Class of each pixel of some rows, −1 without a single one."""
        line, pixel = self.scene["line"].values[rows], self.scene["pixel"].values
        low: np.ndarray | None = None
        for a in self.offsets:
            for b in self.offsets:
                codes = self._codes(*self._index(line + a, pixel + b))
                if low is None:
                    low, high = codes, codes
                else:
                    low, high = np.minimum(low, codes), np.maximum(high, codes)
        assert low is not None
        out = np.where(low == high, low, CLASS_NODATA).astype(np.int32)
        out[out >= CLASS_LAND] = -1
        return out

    def _index(self, line: np.ndarray, pixel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of the raster at scene positions (open grid), broadcastable."""
        raster = self.raster
        if raster.gcps:
            (l0, dl), (p0, dp) = self.fit
            row, column = (l0 + dl * line)[:, None], (p0 + dp * pixel)[None, :]
            return np.floor(row + 0.5).astype(int), np.floor(column + 0.5).astype(int)
        assert raster.crs is not None
        if raster.crs.is_geographic:  # longitude jumps at the antimeridian: no interpolation there
            x, y = self.geo.xy(line[:, None], pixel[None, :], raster.crs)
        else:
            nodes = [np.unique(np.append(np.arange(0, v.size, _LATTICE), v.size - 1)) for v in (line, pixel)]
            x, y = self.geo.xy(line[nodes[0]][:, None], pixel[nodes[1]][None, :], raster.crs)
            x, y = (_between(v, nodes, (line.size, pixel.size)) for v in (x, y))
        t = ~raster.transform
        column, row = t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f
        return np.floor(row).astype(int), np.floor(column).astype(int)

    def _codes(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Class codes at rows and columns of the raster; 255 outside and without a label."""
        import rasterio
        from rasterio.windows import Window

        height, width = self.raster.shape
        shape = np.broadcast_shapes(row.shape, column.shape)
        r0, r1 = max(int(row.min()), 0), min(int(row.max()) + 1, height)
        c0, c1 = max(int(column.min()), 0), min(int(column.max()) + 1, width)
        if r0 >= r1 or c0 >= c1:
            return np.full(shape, CLASS_NODATA, np.uint8)
        try:
            with open_raster(self.raster.path) as file:
                values = file.read(1, window=Window(c0, r0, c1 - c0, r1 - r0))
        except rasterio.errors.RasterioError as error:
            raise LabelError(f"{self.raster.path} is damaged: {error}.") from error
        codes = self._meaning(values)
        inside = (row >= r0) & (row < r1) & (column >= c0) & (column < c1)
        picked = codes[np.clip(row - r0, 0, r1 - r0 - 1), np.clip(column - c0, 0, c1 - c0 - 1)]
        return np.where(inside, picked, np.uint8(CLASS_NODATA))

    def _meaning(self, values: np.ndarray) -> np.ndarray:
        raster = self.raster
        found, inverse = np.unique(values, return_inverse=True)
        codes = [raster_code(v, raster.scheme, raster.meaning, raster.nodata) for v in found.tolist()]
        strange = [str(v) for v, c in zip(found, codes, strict=True) if c is None]
        if strange:
            raise LabelError(strange_values(str(raster.path), strange, raster.scheme))
        return np.array(codes, np.uint8)[inverse].reshape(values.shape)


def raster_code(value: int, scheme: ClassScheme, meaning: Mapping[str, str], nodata: float | None) -> int | None:
    """The class code of a value of a class raster: what is said of it, else 254 land, 255 and nodata none."""
    if name_of(value, meaning) is None and (value in (CLASS_LAND, CLASS_NODATA) or value == nodata):
        return CLASS_LAND if value == CLASS_LAND else CLASS_NODATA
    return meaning_of(value, scheme, meaning)


def _fit_ties(raster: RasterLabels, scene: xr.Dataset) -> tuple[tuple[float, float], tuple[float, float]]:
    """(row of line 0, rows per line), (column of pixel 0, columns per pixel) from control points at tie points."""
    from scipy.spatial import cKDTree

    lon, lat = np.radians([[p.x for p in raster.gcps], [p.y for p in raster.gcps]])
    tie_lon, tie_lat = (np.radians(scene[f"tie_{n}"].values.ravel()) for n in ("longitude", "latitude"))
    earth = 6.371e6

    def ball(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
        return earth * np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])

    away, at = cKDTree(ball(tie_lon, tie_lat)).query(ball(lon, lat))
    near = away < 20.0  # metres
    line, pixel = (
        v.ravel()[at[near]] for v in np.meshgrid(scene["tie_line"].values, scene["tie_pixel"].values, indexing="ij")
    )
    row, column = (np.array([getattr(p, n) for p in raster.gcps])[near] for n in ("row", "col"))
    stranger = LabelError(
        f"{raster.path} is not in the radar geometry of {scene.attrs['product']}: its control points are not the "
        "product's tie points. Pass the raster of this product, or one in a map projection."
    )
    if np.unique(line).size < 2 or np.unique(pixel).size < 2:
        raise stranger
    (dl, l0), (dp, p0) = np.polyfit(line, row, 1), np.polyfit(pixel, column, 1)
    if np.abs(l0 + dl * line - row).max() > 0.5 or np.abs(p0 + dp * pixel - column).max() > 0.5 or min(dl, dp) <= 0:
        raise stranger
    return (float(l0), float(dl)), (float(p0), float(dp))


def _between(values: np.ndarray, nodes: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Bilinear interpolation from nodes (indices along both axes) to every index."""
    for axis, (at, n) in enumerate(zip(nodes, shape, strict=True)):
        if at.size == 1:
            values = np.repeat(values, n, axis=axis)
            continue
        index = np.arange(n)
        left = np.clip(np.searchsorted(at, index, side="right") - 1, 0, at.size - 2)
        weight = (index - at[left]) / (at[left + 1] - at[left])
        weight = weight[:, None] if axis == 0 else weight[None, :]
        values = (1 - weight) * np.take(values, left, axis) + weight * np.take(values, left + 1, axis)
    return values
