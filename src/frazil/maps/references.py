"""What a map is compared with: analyst polygons, ice charts, concentration maps, class rasters, other maps.

A reference says for every pixel of a map: water, ice, land, or nothing. Which kind a file is follows from its name and
content, or is stated.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np

from frazil.conventions import BINARY, CLASS_LAND, CLASS_NODATA, UNDECIDED, check_ice_map
from frazil.errors import LabelError, LabelNotFoundError, OptionError, printable
from frazil.gdal_files import refuse_address
from frazil.hdf5_files import DAMAGED
from frazil.labels.chart import chart_classes, formvern_of, is_chart, normalize_chart
from frazil.labels.classes import LabelOptions
from frazil.labels.polygons import place, read_polygons
from frazil.labels.sources import PolygonLabels, product_key
from frazil.maps.edges import edge_sides
from frazil.maps.geotiff_reference import read_geotiff
from frazil.maps.netcdf import MAP_FILE, open_map
from frazil.maps.netcdf_reference import open_any, read_netcdf
from frazil.maps.rasters import Raster, RasterReference, Resampling
from frazil.maps.times import TimeSpan, span_of_name, span_of_texts
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

Kind = Literal["map", "polygons", "chart", "osisaf", "amsr2", "nsidc", "concentration", "classes"]
KINDS: tuple[str, ...] = get_args(Kind)
WATER_CODE, ICE_CODE = 0, 1
_NETCDF = (".nc", ".nc4", ".cdf", ".hdf", ".h5", ".he5")
_RASTERS = (".tif", ".tiff", ".img", ".vrt")
_FITTING: dict[str, tuple[str, ...]] = {
    "a NetCDF file": ("map", "osisaf", "amsr2", "concentration"),
    "a raster": ("nsidc", "amsr2", "concentration", "classes"),
    "a vector file": ("polygons", "chart"),
    "a folder": ("map",),
}


@dataclass(frozen=True, kw_only=True)
class ReferenceOptions:
    """How a reference is read.

    Attributes:
        threshold_percent: concentration from which a chart or a concentration map counts as ice.
        chart_edge: take the edge of a chart as its analyst drew it (ice from 1/10) and not the threshold.
        ice_probability_percent: probability of ice from which another map counts as ice; None: its classes.
        resampling: of concentration, see `frazil.maps.rasters`.
        labels: class column, meanings, layer, CRS of vector files and class rasters.
        near: of files of several times, the map nearest to this moment.
        variable: of NetCDF files, the one that holds the concentration; None to find it.
    """

    threshold_percent: float = 15.0
    chart_edge: bool = False
    ice_probability_percent: float | None = None
    resampling: Resampling = "bilinear"
    labels: LabelOptions = LabelOptions()  # noqa: RUF009 - frozen
    near: datetime | None = None
    variable: str | None = None

    def __post_init__(self) -> None:
        for name, value in (
            ("threshold_percent", self.threshold_percent),
            ("ice_probability_percent", self.ice_probability_percent),
        ):
            if value is not None and not 0 < value <= 100:
                raise OptionError(f"{name} is {value}; it must lie above 0 and at most at 100.")
        if self.resampling not in get_args(Resampling):
            raise OptionError(f"resampling {self.resampling!r} is not one of {list(get_args(Resampling))}.")


class Reference(Protocol):
    """A reference, read.

    Attributes:
        name: what it is called in tables and pictures.
        kind: one of `KINDS`.
        time: when it was observed or drawn, where that is known.
        says: what counts as ice in it.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def time(self) -> TimeSpan | None: ...  # noqa: D102
    @property
    def says(self) -> str: ...  # noqa: D102

    def on(self, like: xr.Dataset) -> np.ndarray:
        """Codes uint8 on the grid of a map: 0 water, 1 ice, 253 undecided (other maps), 254 land, 255 not told."""

    def concentration_on(self, like: xr.Dataset) -> np.ndarray:
        """Concentration on the grid of a map, before any threshold: float32 percent, NaN where not told and on land.

        Of polygons and classes 0 or 100, of another map its probability of ice.
        """


@dataclass(frozen=True, eq=False, kw_only=True)
class PolygonReference:
    """Polygons, each water, ice, land or nothing; where they overlap and disagree they say nothing.

    Attributes:
        name, kind, time, says: see `Reference`.
        frame: the polygons.
        code: of each polygon, uint8: 0 water, 1 ice, 254 land, 255 nothing.
        concentration: of each polygon, percent, NaN where it tells none.
        scene_column: names the product that a polygon was drawn on; others do not count.
    """

    name: str
    kind: str
    time: TimeSpan | None
    says: str
    frame: gpd.GeoDataFrame
    code: np.ndarray
    concentration: np.ndarray
    scene_column: str | None = None

    def on(self, like: xr.Dataset) -> np.ndarray:
        """Codes on the grid of a map, see `Reference`; a pixel has those of the polygon that its centre lies in."""
        out = np.full(MapGrid.of(like).shape, CLASS_NODATA, np.uint8)
        for value, alone, disputed in self._placed(like, self.code):
            out[alone], out[disputed] = value, CLASS_NODATA
        return out

    def concentration_on(self, like: xr.Dataset) -> np.ndarray:
        """Concentration on the grid of a map, see `Reference`: that of the polygon that the centre of a pixel lies in.

        Nothing where polygons overlap that differ, or that are land.
        """
        out = np.full(MapGrid.of(like).shape, np.nan, np.float32)
        says = np.where(self.code == CLASS_LAND, -1.0, self.concentration)  # land claims its place, and tells nothing
        for value, alone, disputed in self._placed(like, says):
            out[alone], out[disputed] = np.nan if value < 0 else value, np.nan
        return out

    def _placed(self, like: xr.Dataset, says: np.ndarray) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
        """By what polygons say: the value, pixels that they are the first to claim, and those claimed before."""
        told = (self.code != CLASS_NODATA) & np.isfinite(says)
        if self.scene_column is not None:
            product = product_key(str(like.attrs["product"]))
            told &= [product_key(str(v)) == product for v in self.frame[self.scene_column]]
        claimed = np.zeros(MapGrid.of(like).shape, bool)
        for value in np.unique(says[told]):
            inside = place(self.frame[told & (says == value)], like).burn()[0] >= 0
            yield value, inside & ~claimed, inside & claimed
            claimed |= inside


def ice_codes(ice_map: xr.Dataset, ice_probability_percent: float | None = None) -> np.ndarray:
    """Water and ice of a map: uint8, 0 water, 1 ice, 253 undecided, 254 land, 255 nodata.

    Args:
        ice_map: a map.
        ice_probability_percent: probability from which a pixel is ice, all others are water; None: what the map says.
    """
    n = len(check_ice_map(ice_map).classes)
    classes = ice_map["ice_class"].values
    if ice_probability_percent is None:
        return np.where(classes < n, np.minimum(classes, 1), np.maximum(classes, UNDECIDED)).astype(np.uint8)
    ice = ice_map["ice_probability"].values >= ice_probability_percent
    return np.where(classes < CLASS_LAND, ice.astype(np.uint8), classes)


def map_time(ice_map: xr.Dataset) -> TimeSpan | None:
    """When the scene of a map was observed."""
    return span_of_texts(ice_map.attrs["start_time"], ice_map.attrs.get("stop_time"))


def shown_name(reference: Reference) -> str:
    """The name of a reference in one line, with nothing that a terminal or a NetCDF file would stumble over."""
    return printable(" ".join(reference.name.split()))


def open_reference(
    source: str | os.PathLike[str] | xr.Dataset | gpd.GeoDataFrame,
    *,
    kind: str | None = None,
    options: ReferenceOptions | None = None,
) -> Reference:
    """A reference from a file, a map or a table of polygons.

    Args:
        source: a map folder or NetCDF of frazil; NetCDF of concentration (`frazil.maps.netcdf_reference`); a GeoTIFF
            (`frazil.maps.geotiff_reference`); a vector file (`frazil.labels.polygons.read_polygons`); a map; a
            GeoDataFrame.
        kind: one of `KINDS`; None to find out.
        options: how to read it.

    Raises:
        LabelNotFoundError: no such file.
        LabelError: not readable, of no known kind, without CRS, or with values of unknown meaning.
        OptionError: an unknown kind, or one that the file cannot be.
    """
    import xarray as xr

    options = options or ReferenceOptions()
    if kind is not None and kind not in KINDS:
        raise OptionError(f"kind {kind!r} is not one of {list(KINDS)}.")
    if isinstance(source, xr.Dataset):
        return _of_map(source, str(source.attrs.get("product", "map")), options)
    if not isinstance(source, (str, os.PathLike)):
        return _of_polygons(source, kind, options)
    refuse_address(source)
    path = Path(source)
    if not path.exists():
        raise LabelNotFoundError(f"No reference at {path}. Pass polygons, a chart, concentrations or a map folder.")
    what, reader = _reader(path)
    if options.variable is not None and (what != "a NetCDF file" or kind == "map"):
        raise OptionError(f"{path} is {what}; variable {options.variable!r} is for NetCDF files. Leave it out.")
    if kind is not None and kind not in _FITTING[what]:
        raise OptionError(f"{path} is {what}; kind {kind!r} is none: choose from {list(_FITTING[what])}.")
    return reader(path, kind, options)


def _reader(path: Path) -> tuple[str, Callable[[Path, str | None, ReferenceOptions], Reference]]:
    """What a path is by its name, and what reads it."""
    if path.is_dir() and (path / MAP_FILE).exists():
        return "a folder", _from_map
    suffix = path.suffix.lower()
    if suffix in _NETCDF and path.is_file():
        return "a NetCDF file", _from_netcdf
    if suffix in _RASTERS and path.is_file():
        return "a raster", _from_raster
    return "a vector file", _from_vector


def _from_map(path: Path, _kind: str | None, options: ReferenceOptions) -> Reference:
    return _of_map(open_map(path), path.name if path.name != MAP_FILE else path.parent.name, options)


def _of_map(ice_map: xr.Dataset, name: str, options: ReferenceOptions) -> Reference:
    grid = MapGrid.of(ice_map)
    codes = ice_codes(ice_map, options.ice_probability_percent)
    raster = Raster(crs=grid.pyproj_crs, transform=grid.transform, values=codes)
    percent = options.ice_probability_percent
    says = "its classes of ice" if percent is None else f"a probability of ice of {percent:g} % or more"
    return RasterReference(
        name=name,
        kind="map",
        time=map_time(ice_map),
        says=says,
        raster=raster,
        edge=replace(raster, values=edge_sides(ice_map, percent)),
        percent=replace(raster, values=ice_map["ice_probability"].values),
    )


def _from_netcdf(path: Path, kind: str | None, options: ReferenceOptions) -> Reference:
    if kind == "map" or (kind is None and options.variable is None and _is_map(path)):
        return _from_map(path, kind, options)
    found, raster, time, name = read_netcdf(path, options.near, options.labels.assume_crs, options.variable)
    what = "concentration" if name in ("ice_conc", "z") else f"concentration ({name})"
    return _of_raster(path, kind or found, raster, time, options, what)


def _is_map(path: Path) -> bool:
    try:
        with open_any(path) as dataset:
            return {"ice_class", "quality_flags"} <= set(dataset.variables)
    except DAMAGED:
        return False  # the reader says what is wrong


def _from_raster(path: Path, kind: str | None, options: ReferenceOptions) -> Reference:
    found, raster = read_geotiff(path, kind, options.labels)
    return _of_raster(path, found, raster, None, options)


def _of_raster(
    path: Path,
    kind: str,
    raster: Raster,
    time: TimeSpan | None,
    options: ReferenceOptions,
    what: str = "concentration",
) -> RasterReference:
    classes = raster.values.dtype == np.uint8
    return RasterReference(
        name=path.name,
        kind=kind,
        time=time or span_of_name(path.stem),
        says="its classes of ice" if classes else f"{what} of {options.threshold_percent:g} % or more",
        raster=raster,
        threshold_percent=options.threshold_percent,
        resampling=options.resampling,
    )


def _from_vector(path: Path, kind: str | None, options: ReferenceOptions) -> Reference:
    frame = read_polygons(path, layer=options.labels.layer, assume_crs=options.labels.assume_crs)
    if kind == "chart" or (kind is None and options.labels.class_column is None and is_chart(frame)):
        frame = normalize_chart(
            frame,
            source=str(path),
            unknown=options.labels.unknown,
            dialect=options.labels.dialect,
            formvern=formvern_of(path),
        )
        kind = "chart"
    return _of_polygons(frame, kind, options)


def _of_polygons(frame: gpd.GeoDataFrame, kind: str | None, options: ReferenceOptions) -> Reference:
    if frame.empty:
        raise LabelError("The table of polygons is empty. Pass one with polygons.")
    name = str(frame.attrs.get("source", "polygons"))
    time = span_of_name(Path(name).stem)
    if kind != "polygons" and options.labels.class_column is None and is_chart(frame):
        threshold = 0.1 if options.chart_edge else options.threshold_percent / 100
        frame = normalize_chart(frame, source=name, unknown=options.labels.unknown, dialect=options.labels.dialect)
        rows = chart_classes(frame, BINARY)
        sic = np.array([row.sic for row in rows])
        code = np.where(sic >= threshold - 1e-9, ICE_CODE, WATER_CODE)
        code[np.isnan(sic)] = CLASS_NODATA
        code[[row.ice_class == CLASS_LAND for row in rows]] = CLASS_LAND
        says = f"total concentration of {100 * threshold:g} % or more" + (", as drawn" if options.chart_edge else "")
        says += f" (SIGRID-3 {frame.attrs['dialect']})" if frame.attrs["dialect"] != "S-411" else " (S-411)"
        return PolygonReference(
            name=name, kind="chart", time=time, says=says, frame=frame, code=code, concentration=100 * sic
        )
    if options.labels.class_column is None:
        columns = [c for c in frame.columns if c != frame.geometry.name]
        raise LabelError(
            f"{name} is not read as a SIGRID-3 chart; it has the columns {columns}. "
            "Name the one that holds classes: class_column=... (--class-column)."
        )
    labels = PolygonLabels(frame, BINARY, options.labels)
    return PolygonReference(
        name=name,
        kind="polygons",
        time=time,
        says="polygons of ice",
        frame=frame,
        code=labels.code,
        concentration=np.where(labels.code <= ICE_CODE, 100.0 * labels.code, np.nan),
        scene_column=options.labels.scene_column,
    )


__all__ = [
    "ICE_CODE",
    "KINDS",
    "WATER_CODE",
    "Kind",
    "PolygonReference",
    "Reference",
    "ReferenceOptions",
    "ice_codes",
    "map_time",
    "open_reference",
    "shown_name",
]
