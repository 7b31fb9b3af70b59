"""Labels of any kind, seen from a scene: which region each pixel belongs to, and which class a region is.

A *region* is a polygon, or all pixels of one class of a class raster. Patches are cut inside regions.

Rests on `frazil.labels.polygons` for vector files and on `frazil.gdal_files` for class rasters.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from frazil.conventions import CLASS_LAND, ClassScheme
from frazil.errors import LabelError, LabelNotFoundError
from frazil.gdal_files import refuse_address
from frazil.labels.chart import chart_classes, formvern_of, is_chart, normalize_chart
from frazil.labels.class_raster import RasterLabels
from frazil.labels.classes import (
    ClassRegions,
    LabelOptions,
    LabelsOnScene,
    meaning_of,
    strange_values,
)
from frazil.labels.polygons import PlacedPolygons, place, read_polygons

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

_RASTERS = (".tif", ".tiff", ".img", ".vrt", ".png")


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
                raise LabelError(strange_values(f"Column {options.class_column!r} of {self.source}", strange, scheme))
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


def product_key(name: str) -> str:
    """A product name without folder and suffix, for comparing."""
    return Path(name.strip()).name.removesuffix(".zip").removesuffix(".SAFE")
