"""Labels of any kind, seen from a scene: which region each pixel belongs to, and which class a region is.

A *region* is a polygon, or all pixels of one class of a class raster. Patches are cut inside regions.

Rests on `frazil.labels.polygons` for vector files and on `frazil.gdal_files` for class rasters.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pyproj import CRS

from frazil.conventions import CLASS_LAND, CLASS_NODATA, CLASS_SCHEMES, ClassScheme
from frazil.errors import LabelError, LabelNotFoundError
from frazil.gdal_files import open_raster, refuse_address, world_file
from frazil.labels.chart import Unknown, chart_classes, formvern_of, is_chart, normalize_chart
from frazil.labels.polygons import PlacedPolygons, find_crs, place, read_polygons
from frazil.labels.sigrid3 import ChartSettings, code_text
from frazil.sentinel1.geolocation import Geolocation

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

_RASTERS = (".tif", ".tiff", ".img", ".vrt", ".png")
_LATTICE = 16  # scene pixels between positions that are geolocated exactly; linear between errs by centimetres


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """How a file of labels is read.

    Attributes:
        class_column: column of a vector file that holds classes: names, titles or codes of the scheme, or SIGRID-3
            codes (``"02"``, ``83``). None: the columns of a SIGRID-3 chart.
        classes: what a value of the class column, or of a class raster, means: value (as text) -> class name,
            ``"land"``, or ``""`` for no label. Numbers are compared as numbers. If any is given, a value that is not
            among them is an error, so that nothing is taken for a code that it is not.
        scene_column: column that names the product a polygon was drawn on; polygons of other products are left out.
        layer: of a vector file of several layers.
        assume_crs: of a file that does not say its own.
        unknown: codes of a chart that SIGRID-3 does not have: ``"refuse"`` or ``"ignore"``.
        chart: thresholds for charts.
        dialect: edition of SIGRID-3 that a chart is written in; None to find out (see `frazil.labels.read_chart`).
    """

    class_column: str | None = None
    classes: Mapping[str, str] = field(default_factory=dict)
    scene_column: str | None = None
    layer: str | None = None
    assume_crs: str | None = None
    unknown: Unknown = "refuse"
    chart: ChartSettings = ChartSettings()  # noqa: RUF009 - frozen
    dialect: str | None = None


class LabelsOnScene(Protocol):
    """Labels on the pixels of one scene."""

    @property
    def class_of(self) -> np.ndarray:
        """Class code of each region; 254 land, 255 none."""

    @property
    def polygon_of(self) -> np.ndarray:
        """Row in the label file of each region; −1 for regions of a class raster."""

    def regions(self, rows: slice) -> np.ndarray:
        """Region of each pixel of some rows of the scene: int32, −1 without a single label."""


class Labels(Protocol):
    """Labels of a file, before they meet a scene."""

    @property
    def source(self) -> str:
        """What they are called in messages."""

    def on(self, scene: xr.Dataset) -> LabelsOnScene:
        """The labels on the pixels of a scene."""


def open_labels(
    labels: str | os.PathLike[str] | gpd.GeoDataFrame | np.ndarray,
    scheme: ClassScheme,
    options: LabelOptions | None = None,
) -> Labels:
    """Labels from a file or a table.

    Args:
        labels: a vector file with a class column or the columns of a SIGRID-3 chart; a class raster in radar geometry
            (ground control points at the product's tie points, as simulated products have) or in any CRS; a table of
            polygons; or class codes of the scene's own pixels, uint8 (line, pixel), 254 and 255 without a class.
        scheme: the classes wanted.
        options: how to read them.

    Raises:
        LabelNotFoundError, LabelError: no file; a file of neither kind; values that mean no class.
    """
    options = options or LabelOptions()
    if isinstance(labels, np.ndarray):
        return ArrayLabels(labels)
    if not isinstance(labels, (str, os.PathLike)):
        return PolygonLabels(labels, scheme, options)
    refuse_address(labels)
    path = Path(labels)
    if not path.exists():
        raise LabelNotFoundError(f"No labels at {path}. Pass a chart, polygons or a class raster.")
    if path.suffix.lower() in _RASTERS:
        return RasterLabels(path, scheme, options)
    if options.class_column is None:
        frame = read_polygons(path, layer=options.layer, assume_crs=options.assume_crs)
        if is_chart(frame):
            frame = normalize_chart(
                frame, source=str(path), unknown=options.unknown, dialect=options.dialect, formvern=formvern_of(path)
            )
    else:
        frame = read_polygons(path, layer=options.layer, assume_crs=options.assume_crs)
    return PolygonLabels(frame, scheme, options)


def meaning_of(value: Any, scheme: ClassScheme, classes: Mapping[str, str]) -> int | None:
    """The class code that a value means (see `class_code`); with ``classes`` given only what they say, else None."""
    if not classes or class_code(value, scheme, {}) == CLASS_NODATA:
        return class_code(value, scheme, classes)
    name = name_of(value, classes)
    return None if name is None else class_code(name, scheme, {})


def name_of(value: Any, classes: Mapping[str, str]) -> str | None:
    """What ``classes`` say of a value, by its text or else by its number: ``1``, ``1.0`` and ``"01"`` are one."""
    text = str(value).strip()
    if text in classes:
        return classes[text]
    number = _number(text)
    same = {name for key, name in classes.items() if number is not None and _number(key) == number}
    return same.pop() if len(same) == 1 else None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def class_code(value: Any, scheme: ClassScheme, classes: Mapping[str, str]) -> int | None:
    """The class code that a value of a label file means: 254 land, 255 no label, None if it means nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return CLASS_NODATA
    text = str(value).strip()
    if isinstance(value, float) and value.is_integer():
        text = str(int(value))
    text = classes.get(text, text)
    if text == "":
        return CLASS_NODATA
    if text.lower() == "land":
        return CLASS_LAND
    for other in (scheme, *CLASS_SCHEMES.values()):
        for c in other.classes:
            if text.lower() in (c.name, c.title.lower()):
                return into_scheme(c.code, other, scheme)
    if text.isdecimal():
        if str(int(text)) == text and int(text) < len(scheme.classes):  # "02" is a SIGRID-3 code, "2" is not
            return int(text)
        for other in (scheme, *CLASS_SCHEMES.values()):
            for c in other.classes:
                if code_text(text) in c.sigrid3:
                    return into_scheme(c.code, other, scheme)
    return None


def into_scheme(code: int, source: ClassScheme, target: ClassScheme) -> int | None:
    """A class of one scheme in another: equal names, or ice against water."""
    if source.name == target.name:
        return code
    if len(target.classes) == 2:
        return min(code, 1)
    name = source.classes[code].name
    return target.names.index(name) if name in target.names else None


class ClassRegions:
    """Labels whose regions are classes, as in rasters; see `LabelsOnScene`."""

    @property
    def class_of(self) -> np.ndarray:
        """The code itself."""
        return np.arange(256, dtype=np.uint8)

    @property
    def polygon_of(self) -> np.ndarray:
        """No polygons."""
        return np.full(256, -1, np.int32)


@dataclass(frozen=True, eq=False)
class ArrayLabels(ClassRegions):
    """Class codes of a scene's own pixels; see `Labels` and `LabelsOnScene`."""

    codes: np.ndarray
    source: str = "the array"

    def on(self, scene: xr.Dataset) -> LabelsOnScene:
        """The codes, checked to be of the scene's size."""
        size = scene.sizes["line"], scene.sizes["pixel"]
        if self.codes.shape != size:
            raise LabelError(f"The class codes have shape {self.codes.shape}, but the scene has {size}.")
        return self

    def regions(self, rows: slice) -> np.ndarray:
        """Class of each pixel of some rows, −1 without one."""
        codes = self.codes[rows].astype(np.int32)
        codes[codes >= CLASS_LAND] = -1
        return codes


class PolygonLabels:
    """Labels drawn as polygons."""

    def __init__(self, frame: gpd.GeoDataFrame, scheme: ClassScheme, options: LabelOptions) -> None:
        self.source = str(frame.attrs.get("source", "The polygons"))
        self.options = options
        self.dialect: str | None = None
        columns = [c for c in frame.columns if c != frame.geometry.name]
        for column in (options.class_column, options.scene_column):
            if column is not None and column not in columns:
                raise LabelError(f"{self.source} has no column {column!r}; it has {columns}. Pass one of these.")
        if options.class_column is not None:
            values = list(frame[options.class_column])
            codes = [meaning_of(v, scheme, options.classes) for v in values]
            strange = sorted({str(v) for v, c in zip(values, codes, strict=True) if c is None})
            if strange:
                raise LabelError(_strange(f"Column {options.class_column!r} of {self.source}", strange, scheme))
            self.code = np.array(codes, np.int64)
        elif is_chart(frame):
            frame = normalize_chart(frame, source=self.source, unknown=options.unknown, dialect=options.dialect)
            self.dialect = str(frame.attrs["dialect"])
            self.code = np.array([r.ice_class for r in chart_classes(frame, scheme, options.chart)], np.int64)
        else:
            raise LabelError(
                f"{self.source} is not a SIGRID-3 chart; it has the columns {columns}. "
                "Name the one that holds classes: class_column=... (--class-column)."
            )
        self.frame = frame

    def on(self, scene: xr.Dataset) -> LabelsOnScene:
        """The polygons on the pixels of a scene."""
        frame, code = self.frame, self.code
        if self.options.scene_column is not None:
            name = product_key(str(scene.attrs["product"]))
            mine = np.array([product_key(str(v)) == name for v in frame[self.options.scene_column]])
            frame, code = frame[mine], code[mine]
        return PolygonsOnScene(place(frame, scene), code.astype(np.uint8), np.asarray(frame.index, np.int32))


@dataclass(frozen=True, eq=False)
class PolygonsOnScene:
    """See `LabelsOnScene`; a pixel that several polygons claim has no region."""

    placed: PlacedPolygons
    class_of: np.ndarray
    polygon_of: np.ndarray

    def regions(self, rows: slice) -> np.ndarray:
        """Region of each pixel of some rows."""
        owner, shared = self.placed.burn(rows)
        owner[shared] = -1
        return owner


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
            metres = abs(raster.transform.a) * (111_000 if raster.crs and raster.crs.is_geographic else 1)
            finest = metres / (float(scene.attrs["spacing_m"]) / looks)
        k = max(math.ceil(looks / finest - 0.01), 1)
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
            raise LabelError(_strange(str(raster.path), strange, raster.scheme))
        return np.array(codes, np.uint8)[inverse].reshape(values.shape)


def raster_code(value: int, scheme: ClassScheme, meaning: Mapping[str, str], nodata: float | None) -> int | None:
    """The class code of a value of a class raster: what is said of it, else 254 land, 255 and nodata none."""
    if name_of(value, meaning) is None and (value in (CLASS_LAND, CLASS_NODATA) or value == nodata):
        return CLASS_LAND if value == CLASS_LAND else CLASS_NODATA
    return meaning_of(value, scheme, meaning)


def product_key(name: str) -> str:
    """A product name without folder and suffix, for comparing."""
    return Path(name.strip()).name.removesuffix(".zip").removesuffix(".SAFE")


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


def _strange(where: str, values: list[str], scheme: ClassScheme) -> str:
    listed = ", ".join(map(repr, values[:40])) + (f" and {len(values) - 40} more" if len(values) > 40 else "")
    return (
        f"{where} holds {listed}, which is no class of {scheme.name} {list(scheme.names)}. "
        "Say what it means: classes={'VALUE': 'name'} (--class VALUE=NAME; an empty name leaves it out)."
    )
