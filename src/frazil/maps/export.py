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

from frazil.conventions import CLASS_NODATA, QUALITY_FLAGS, check_map, class_attrs, prior_attrs
from frazil.errors import OptionError, OutputError
from frazil.files import refuse_existing, whole_output
from frazil.maps.netcdf import open_map
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

T = TypeVar("T")
_FULL_BYTES = 2**20

__all__ = ["FORMATS", "export", "open_map"]

#: What can be written: name of the choice -> files, each with its name among the STAC assets.
FORMATS: dict[str, dict[str, str]] = {
    "geotiff": {
        "class": "class.tif",
        "probability": "probability.tif",
        "ice_probability": "ice_probability.tif",
        "confidence": "confidence.tif",
        "flags": "flags.tif",
    },
    "netcdf": {"netcdf": "map.nc"},
    "geopackage": {"vectors": "ice.gpkg"},
    "geojson": {"ice_edge": "ice_edge.geojson", "ice_classes": "ice_classes.geojson"},
    "png": {"figure": "map.png"},
    "stac": {"stac": "stac_item.json"},
    "summary": {"summary": "summary.json"},
}


def export(
    ice_map: xr.Dataset,
    directory: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    timings: Mapping[str, float] | None = None,
    progress: Callable[[str], None] | None = None,
    formats: Collection[str] = tuple(FORMATS),
) -> dict[str, Path]:
    """Write a map as a folder of files; the folder appears whole or not at all.

    ``class.tif`` (codes, colour table, category names, QGIS style), ``probability.tif`` (a band a class),
    ``ice_probability.tif``, ``confidence.tif``, ``flags.tif``: Cloud-Optimised GeoTIFF. ``map.nc``: all of it as CF
    NetCDF-4, which `open_map` reads back. ``ice.gpkg`` (layers ``ice_edge`` and ``ice_classes``, CRS of the map),
    ``ice_edge.geojson`` and ``ice_classes.geojson`` (WGS 84). ``map.png``, ``stac_item.json``, ``summary.json``.

    Args:
        ice_map: a map, see `frazil.conventions.check_map`, on a projected grid.
        directory: the folder; made with its parents.
        overwrite: replace the folder if it exists.
        timings: seconds by step so far; they go into ``summary.json``, together with those of the export.
        progress: called with the name of each file when it is done, from several threads.
        formats: which of `FORMATS` to write.

    Returns:
        The path of each file by its asset name (``"class"``, ``"netcdf"``, ``"vectors"``, ``"figure"`` …).

    Raises:
        ContractError: not a map, or not on a projected grid.
        OptionError: an unknown format.
        OutputExistsError: the folder exists and ``overwrite`` is not set.
        OutputError: the disk is full or the folder cannot be written.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown or not formats:
        raise OptionError(f"formats {list(formats)} are not all known; choose from {list(FORMATS)}.")
    check_map(ice_map)
    MapGrid.of(ice_map)
    target = refuse_existing(directory, overwrite=overwrite)
    chosen = {name: file for choice in FORMATS if choice in formats for name, file in FORMATS[choice].items()}
    ice_map = ice_map.compute()
    clock = _Clock(timings, progress)
    with whole_output(target, overwrite=overwrite) as part, as_output_error(target):
        part.mkdir()
        _write_all(ice_map, part, set(formats), chosen, clock)
    return {name: target / file for name, file in chosen.items()}


def _write_all(ice_map: xr.Dataset, folder: Path, formats: set[str], files: dict[str, str], clock: _Clock) -> None:
    """Fill the folder. Compression runs beside the vectors and the picture, which are one thread's work."""
    from frazil.geojson import write_geojson
    from frazil.maps.edges import ice_edge, ice_polygons
    from frazil.maps.figures import draw_map
    from frazil.maps.netcdf import write_netcdf
    from frazil.maps.stac import make_item
    from frazil.maps.summary import summarise

    def path(name: str) -> Path:
        return folder / files[name]

    with ThreadPoolExecutor(1) as pool:
        compressed: list[Future[Any]] = []
        if "geotiff" in formats:
            compressed.append(pool.submit(lambda: _write_rasters(ice_map, folder, clock)))
        if "netcdf" in formats:
            compressed.append(pool.submit(lambda: clock.timed("map.nc", write_netcdf, ice_map, path("netcdf"))))
        edge = polygons = None
        if formats & {"geopackage", "geojson", "png", "summary"}:
            edge = clock.timed("ice edge", ice_edge, ice_map)
        if formats & {"geopackage", "geojson"}:
            polygons = clock.timed("ice polygons", ice_polygons, ice_map)
        if "geopackage" in formats:
            clock.timed(files["vectors"], _write_geopackage, path("vectors"), edge, polygons)
        if "geojson" in formats:
            clock.timed(files["ice_edge"], write_geojson, edge, path("ice_edge"))
            clock.timed(files["ice_classes"], write_geojson, polygons, path("ice_classes"))
        if "png" in formats:
            clock.timed(files["figure"], draw_map, ice_map, path("figure"), edge=edge)
        for job in compressed:
            job.result()
    if "stac" in formats:
        assets = {name: file for name, file in files.items() if name != "stac"}
        item = make_item(ice_map, assets)
        _write_json(path("stac"), item.to_dict(include_self_link=False, transform_hrefs=False))
    if "summary" in formats:
        _write_json(path("summary"), summarise(ice_map, edge=edge, timings=clock.seconds))


def _write_rasters(ice_map: xr.Dataset, folder: Path, clock: _Clock) -> None:
    from frazil.maps import geotiff

    scheme = check_map(ice_map)
    grid = MapGrid.of(ice_map)
    tags = {
        name: str(ice_map.attrs[name])
        for name in ("product", "start_time", "stop_time", "model", "model_card", "note", "class_scheme")
        if ice_map.attrs.get(name)
    } | {name: str(value) for name, value in prior_attrs(ice_map.attrs).items()}

    meanings = class_attrs(scheme, undecided=True)

    def write(
        file: str, variable: str, descriptions: tuple[str, ...], *, more_tags: dict[str, str] | None = None, **how: Any
    ) -> Path:
        values = ice_map[variable].values
        values = values if values.ndim == 3 else values[None]
        return clock.timed(
            file,
            geotiff.write_cog,
            folder / file,
            values,
            grid,
            descriptions=descriptions,
            tags=tags | (more_tags or {}),
            **how,
        )

    tiff = write(
        "class.tif",
        "ice_class",
        ("ice class",),
        nodata=CLASS_NODATA,
        overviews="MODE",
        colours=geotiff.class_colours(scheme),
        more_tags={
            "flag_values": " ".join(map(str, meanings["flag_values"])), "flag_meanings": meanings["flag_meanings"],
        },
    )  # fmt: skip
    geotiff.write_category_names(tiff, scheme)
    geotiff.write_qgis_style(tiff, scheme)
    write("probability.tif", "probability", scheme.names, **geotiff.PERCENT)
    write("ice_probability.tif", "ice_probability", ("ice probability",), **geotiff.PERCENT)
    write("confidence.tif", "confidence", ("confidence",), **geotiff.PERCENT)
    unseen = QUALITY_FLAGS["nodata"][0]
    write("flags.tif", "quality_flags", ("quality flags",), nodata=unseen, more_tags=geotiff.flag_tags())


def _write_geopackage(path: Path, edge: gpd.GeoDataFrame, polygons: gpd.GeoDataFrame) -> None:
    how = {"driver": "GPKG", "engine": "pyogrio"}
    polygons.to_file(path, layer="ice_classes", geometry_type="MultiPolygon", promote_to_multi=True, **how)
    edge.to_file(path, layer="ice_edge", geometry_type="LineString", mode="a", **how)


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
