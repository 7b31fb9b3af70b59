"""A map as a folder of files that GIS programs read: GeoTIFF, NetCDF, GeoPackage, GeoJSON, PNG, STAC, JSON."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from frazil.conventions import ClassScheme, check_map, prior_attrs
from frazil.dates import fixed_date
from frazil.errors import OptionError, OutputError
from frazil.files import refuse_existing, whole_output
from frazil.maps.layers import FORMATS, files_of, layers_of
from frazil.maps.netcdf import open_map
from frazil.maps.times import moment_of
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

T = TypeVar("T")
_FULL_BYTES = 2**20
#: Attributes of a map that its GeoTIFFs bear as tags.
_TAGS = (
    "product",
    "start_time",
    "stop_time",
    "model",
    "model_card",
    "note",
    "outside_training",
    "class_scheme",
    "attribution",
)

__all__ = ["FORMATS", "export", "open_map"]


def export(
    ds: xr.Dataset,
    directory: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    timings: Mapping[str, float] | None = None,
    progress: Callable[[str], None] | None = None,
    formats: Collection[str] = FORMATS,
) -> dict[str, Path]:
    """Write a map as a folder of files; the folder appears whole or not at all.

    Of sea ice: ``class.tif`` (codes, colour table, category names), ``probability.tif`` (a band a class),
    ``ice_probability.tif``, ``confidence.tif``, ``flags.tif``: Cloud-Optimised GeoTIFF. ``ice.gpkg`` (layers
    ``ice_edge`` and ``ice_classes``, CRS of the map), ``ice_edge.geojson`` and ``ice_classes.geojson`` (WGS 84).
    Of phenomena: ``dominant.tif`` (like ``class.tif``), ``score.tif`` (a band a class, percent), ``phenomena.tif`` (a
    bit a class), ``flags.tif``; ``phenomena.gpkg`` and ``phenomena.geojson``, a polygon wherever one is found.
    Of both: ``quicklook.tif``, the radar image, if the map was made from a scene; ``map.nc``, all rasters as CF
    NetCDF-4, which `open_map` reads back; ``map.png``, ``summary.json``; ``stac_item.json`` with sizes and checksums of
    the files, and its ``collection.json``; ``map.qgz``, a QGIS project of all rasters and vectors, which have their
    QGIS styles beside or inside them.

    Args:
        ds: a map, see `frazil.conventions.check_map`, on a projected grid.
        directory: the folder; made with its parents.
        overwrite: replace the folder if it exists.
        timings: seconds by step so far; they go into ``summary.json``, together with those of the export. Where the
            environment fixes the date of files (`frazil.dates`), none do: the folder is then the same, byte for byte.
        progress: called with the name of each file when it is done, from several threads.
        formats: which of `FORMATS` to write.

    Returns:
        The path of each file by its asset name (``"class"``, ``"netcdf"``, ``"vectors"``, ``"figure"`` …).

    Raises:
        ContractError: not a map, not on a projected grid, or of no time.
        OptionError: an unknown format, or a QGIS project of nothing.
        OutputExistsError: the folder exists and ``overwrite`` is not set.
        OutputError: the disk is full or the folder cannot be written.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown or not formats:
        raise OptionError(f"formats {list(formats)} are not all known; choose from {list(FORMATS)}.")
    if "qgis" in formats and not {"geotiff", "geopackage"} & set(formats):
        raise OptionError(f"formats {list(formats)} hold nothing that a QGIS project could show; add 'geotiff'.")
    scheme = check_map(ds)
    MapGrid.of(ds)
    moment_of(ds.attrs["start_time"])
    target = refuse_existing(directory, overwrite=overwrite)
    known = files_of(ds, scheme.kind)
    chosen = {name: file for choice in FORMATS if choice in formats for name, file in known[choice].items()}
    ds = ds.compute()
    clock = _Clock(timings, progress)
    with whole_output(target, overwrite=overwrite) as part, as_output_error(target):
        part.mkdir()
        _write_all(ds, scheme, part, set(formats), chosen, clock)
    return {name: target / file for name, file in chosen.items()}


def _write_all(
    ds: xr.Dataset, scheme: ClassScheme, folder: Path, formats: set[str], files: dict[str, str], clock: _Clock
) -> None:
    """Fill the folder. Compression runs beside the vectors and the picture, which are one thread's work."""
    from frazil.maps.collection import make_collection
    from frazil.maps.netcdf import write_netcdf
    from frazil.maps.qgis_project import write_project
    from frazil.maps.stac import make_item
    from frazil.maps.summary import summarise

    with ThreadPoolExecutor(1) as pool:
        compressed: list[Future[Any]] = []
        if "geotiff" in formats:
            compressed.append(pool.submit(lambda: _write_rasters(ds, scheme, folder, clock)))
        if "netcdf" in formats:
            nc = folder / files["netcdf"]
            compressed.append(pool.submit(lambda: clock.timed("map.nc", write_netcdf, ds, nc)))
        draw = _draw_ice if scheme.kind == "exclusive" else _draw_phenomena
        edge = draw(ds, scheme, folder, formats, files, clock)
        for job in compressed:
            job.result()
    if "qgis" in formats:
        clock.timed(files["project"], write_project, ds, folder / files["project"], set(files.values()))
    if "summary" in formats:
        seconds = {} if fixed_date() else clock.seconds
        _write_json(folder / files["summary"], summarise(ds, edge=edge, timings=seconds))
    if "stac" in formats:  # last, for it tells the checksums of the others
        assets = {name: file for name, file in files.items() if name not in ("stac", "collection")}
        item = make_item(ds, assets, folder=folder, collection=files["collection"])
        told = item.to_dict(include_self_link=False, transform_hrefs=False)
        _write_json(folder / files["stac"], told)
        _write_json(folder / files["collection"], make_collection({f"./{files['stac']}": told}, scheme.kind))


def _draw_ice(
    ds: xr.Dataset, scheme: ClassScheme, folder: Path, formats: set[str], files: dict[str, str], clock: _Clock
) -> gpd.GeoDataFrame | None:
    """Edge, polygons and picture of a map of sea ice; the edge."""
    from frazil.geojson import write_geojson
    from frazil.maps.edges import ice_edge
    from frazil.maps.figures import draw_map
    from frazil.maps.polygons import ice_polygons

    def path(name: str) -> Path:
        return folder / files[name]

    edge = polygons = None
    if formats & {"geopackage", "geojson", "png", "summary"}:
        edge = clock.timed("ice edge", ice_edge, ds)
    if formats & {"geopackage", "geojson"}:
        polygons = clock.timed("ice polygons", ice_polygons, ds)
    if "geopackage" in formats:
        layers = {"ice_classes": polygons, "ice_edge": edge}
        clock.timed(files["vectors"], _write_geopackage, path("vectors"), layers, scheme)
    if "geojson" in formats:
        clock.timed(files["ice_edge"], write_geojson, edge, path("ice_edge"))
        clock.timed(files["ice_classes"], write_geojson, polygons, path("ice_classes"))
    if "png" in formats:
        clock.timed(files["figure"], draw_map, ds, path("figure"), edge=edge)
    return edge


def _draw_phenomena(
    ds: xr.Dataset, scheme: ClassScheme, folder: Path, formats: set[str], files: dict[str, str], clock: _Clock
) -> None:
    """Polygons and picture of a map of phenomena."""
    from frazil.geojson import write_geojson
    from frazil.maps.phenomena_figures import draw_phenomena_map
    from frazil.maps.polygons import phenomena_polygons

    if formats & {"geopackage", "geojson"}:
        polygons = clock.timed("polygons", phenomena_polygons, ds)
        if "geopackage" in formats:
            clock.timed(files["vectors"], _write_geopackage, folder / files["vectors"], {"phenomena": polygons}, scheme)
        if "geojson" in formats:
            name = files["phenomena_areas"]
            clock.timed(name, write_geojson, polygons, folder / name)
    if "png" in formats:
        clock.timed(files["figure"], draw_phenomena_map, ds, folder / files["figure"])


def _write_rasters(ds: xr.Dataset, scheme: ClassScheme, folder: Path, clock: _Clock) -> None:
    from frazil.maps import geotiff, qgis_rasters

    grid = MapGrid.of(ds)
    tags = {name: str(ds.attrs[name]) for name in _TAGS if ds.attrs.get(name)}
    tags |= {name: str(value) for name, value in prior_attrs(ds.attrs).items()}
    for layer in layers_of(ds, scheme.kind):
        values, how = ds[layer.variable].values, geotiff.settings_of(layer, scheme, ds[layer.variable].attrs)
        clock.timed(
            layer.file,
            geotiff.write_cog,
            folder / layer.file,
            values if values.ndim == 3 else values[None],
            grid,
            **{**how, "tags": tags | how["tags"]},
        )
        if layer.holds == "code":
            geotiff.write_category_names(folder / layer.file, scheme)
        qgis_rasters.write_style(folder / layer.file, qgis_rasters.views_of(layer, ds, scheme)[0].renderer)


def _write_geopackage(path: Path, layers: dict[str, gpd.GeoDataFrame], scheme: ClassScheme) -> None:
    """Polygons as multipolygons, and lines as they are, a layer after the other, and how QGIS is to draw them.

    The time is a date and time, not text: programs that step through time ask for it.
    """
    import pandas as pd
    from pyogrio import set_gdal_config_options

    from frazil.maps.qgis_vectors import map_styles, write_layer_styles

    fixed = fixed_date()
    if fixed:  # else GDAL writes the time of day into the file
        set_gdal_config_options({"OGR_CURRENT_DATE": f"{fixed:%Y-%m-%dT%H:%M:%S.000Z}"})
    for name, table in layers.items():
        frame = table.assign(start_time=pd.DatetimeIndex([moment_of(text) for text in table["start_time"]], tz="UTC"))
        lines = (
            {"geometry_type": "LineString"}
            if name == "ice_edge"
            else {"geometry_type": "MultiPolygon", "promote_to_multi": True}
        )
        frame.to_file(path, layer=name, driver="GPKG", engine="pyogrio", mode="a" if path.exists() else "w", **lines)
    write_layer_styles(path, map_styles(scheme))


class _Clock:
    """Seconds by step, and a word to the caller after each."""

    def __init__(self, seconds: Mapping[str, float] | None, progress: Callable[[str], None] | None) -> None:
        self.seconds: dict[str, float] = dict(seconds or {})
        self._progress = progress

    def timed(self, name: str, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """The result of ``work(*args, **kwargs)``; the seconds it took are noted under ``name``."""
        start = time.perf_counter()
        out = work(*args, **kwargs)
        self.seconds[name] = time.perf_counter() - start
        if self._progress:
            self._progress(name)
        return out


@contextmanager
def as_output_error(target: Path) -> Iterator[None]:
    """Turn what files and GDAL raise when they cannot write into one `OutputError` of one line."""
    from pyogrio.errors import DataLayerError, DataSourceError
    from rasterio.errors import RasterioError

    try:
        yield
    except (OSError, RasterioError, DataSourceError, DataLayerError) as error:
        cause = error.__cause__ if isinstance(error, OutputError) and error.__cause__ else error
        if shutil.disk_usage(target.parent).free < _FULL_BYTES:
            reason = "no space left on the disk"  # SQLite, for one, tells of missing tables instead
        else:
            reason = getattr(cause, "strerror", None) or (str(cause).splitlines() or [type(cause).__name__])[0]
        raise OutputError(f"Cannot write {target}: {reason}. Free the space or choose another folder.") from error


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n", encoding="utf-8")
