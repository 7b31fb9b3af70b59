"""A mosaic as a folder: Cloud-Optimised GeoTIFFs, a picture, a STAC item, a summary.

Rasters are written block by block into a plain GeoTIFF beside them, and copied into the cloud-optimised one: no raster
is ever held whole.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from frazil import __version__
from frazil.answer import CONFIDENCE_PERCENT
from frazil.archive.folder import MAPS
from frazil.archive.layers import MapFiles, common_grid, maps_in
from frazil.archive.mosaic import NO_AGE, NO_SOURCE, Rule, check_maps, mosaic_blocks
from frazil.conventions import CLASS_LAND, PERCENT_NODATA, UNDECIDED, ClassScheme
from frazil.dates import date_made
from frazil.errors import OptionError
from frazil.files import refuse_existing, whole_output
from frazil.maps.areas import PixelAreas
from frazil.maps.export import as_output_error
from frazil.maps.geotiff import THREADS, class_colours, write_category_names
from frazil.maps.layers import Kind
from frazil.providers.times import span
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    from rasterio.io import DatasetWriter

Progress = Callable[[float, str], None]
_ITEM_ID = {"exclusive": "sea_ice_mosaic", "multilabel": "phenomena_mosaic"}


class _Raster(NamedTuple):
    """One file of a mosaic: attribute of `MosaicBlock`, name, data type, nodata, overviews, title."""

    field: str
    file: str
    dtype: str
    nodata: float | None
    overviews: str
    title: str


_OF_KIND: dict[Kind, tuple[_Raster, ...]] = {
    "exclusive": (
        _Raster("code", "class.tif", "uint8", 255, "MODE", "Ice classes"),
        _Raster("percent", "ice_probability.tif", "uint8", 255, "AVERAGE", "Probability of ice, percent"),
        _Raster("confidence", "confidence.tif", "uint8", 255, "AVERAGE", "Confidence, percent"),
    ),
    "multilabel": (
        _Raster("code", "dominant.tif", "uint8", 255, "MODE", "Dominant phenomenon"),
        _Raster("bits", "phenomena.tif", "uint16", None, "MODE", "Phenomena found, a bit each"),
        _Raster("percent", "highest_score.tif", "uint8", 255, "AVERAGE", "Highest score, percent"),
    ),
}
_OF_BOTH = (
    _Raster("source", "source_index.tif", "uint16", NO_SOURCE, "NEAREST", "Number of the map, see summary.json"),
    _Raster("age_hours", "age_hours.tif", "float32", NO_AGE, "NEAREST", "Age, hours"),
    _Raster("count", "count.tif", "uint8", 0, "NEAREST", "Maps that saw the place"),
    _Raster("agreement", "agreement.tif", "uint8", 255, "AVERAGE", "Maps that say the same, percent"),
)


def mosaic(
    maps: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    time: str | None = None,
    rule: Rule = "latest",
    crs: str | None = None,
    spacing_m: float | None = None,
    bbox: str | Sequence[float] | None = None,
    confidence_percent: float = CONFIDENCE_PERCENT,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Combine maps into one, and tell where each pixel is from.

    Of sea ice: ``class.tif``, ``ice_probability.tif``, ``confidence.tif``; of phenomena ``dominant.tif``,
    ``phenomena.tif``, ``highest_score.tif``. Of both: ``source_index.tif`` (the number of the map in ``summary.json``),
    ``age_hours.tif``, ``count.tif`` and ``agreement.tif`` (see `frazil.archive.mosaic.MosaicBlock`), ``mosaic.png``,
    ``stac_item.json``, ``summary.json`` with areas on the ellipsoid.

    Args:
        maps: an archive, or folders of maps.
        output: folder; appears whole.
        time: day, month or span of scenes to take, UTC (see `frazil.providers.times.span`); ages count from its
            end. Without one all maps are taken, and ages count from the newest.
        rule: ``"latest"``, ``"confident"`` or ``"fused"``, see `frazil.archive.mosaic`.
        crs: by default that of most maps.
        spacing_m: likewise.
        bbox: west, south, east, north, degrees: only this.
        confidence_percent: of ``"fused"``: undecided where neither ice nor water is so probable.
        overwrite: replace a mosaic that frazil wrote.
        progress: called as work proceeds.

    Returns:
        Path of each file, by its name without ending.

    Raises:
        ProductNotFoundError, ProductError: no maps, or damaged ones.
        OptionError: no map of that time or place, maps that do not go together, or a rule that does not fit.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    report = progress or (lambda _fraction, _what: None)
    target = refuse_existing(output, overwrite=overwrite, inputs=maps)
    found = maps_in(maps)
    parent = target.absolute().parent
    if parent in {folder for given in maps for folder in (Path(given).absolute(), Path(given).absolute() / MAPS)}:
        raise OptionError(f"Output {target} would lie among the maps. Name a folder elsewhere.")
    if time is not None:
        asked = span(time)
        found = [m for m in found if asked.start <= m.time < asked.stop]
        if not found:
            raise OptionError(
                f"No map of {', '.join(map(str, maps))} is of {time}. `frazil catalogue` tells what there is."
            )
    kind = check_maps(found, rule)
    moment = span(time).stop if time is not None else found[-1].time
    grid = common_grid(found, crs=crs, spacing_m=spacing_m, bbox=bbox)
    told = _Told(found, grid, rule, moment)
    with whole_output(target, overwrite=overwrite) as part, as_output_error(target):
        part.mkdir()
        rasters = (*_OF_KIND[kind], *_OF_BOTH)
        with ExitStack() as stack:
            plain = {r.field: stack.enter_context(_plain(part / f"{r.file}.plain", r, grid)) for r in rasters}
            for block in mosaic_blocks(found, grid, rule, moment, confidence_percent=confidence_percent):
                window = ((block.rows.start, block.rows.stop), (block.columns.start, block.columns.stop))
                for raster in rasters:
                    plain[raster.field].write(getattr(block, raster.field).astype(raster.dtype), 1, window=window)
                told.add(block)
                report(0.7 * block.rows.stop / grid.shape[0], "combining")
        tags = {
            "class_scheme": found[0].scheme.name,
            "rule": rule,
            "maps": str(len(found)),
            "start_time": f"{found[0].time:%Y-%m-%dT%H:%M:%SZ}",
            "stop_time": f"{found[-1].time:%Y-%m-%dT%H:%M:%SZ}",
            "ages_from": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        }
        for n, raster in enumerate(rasters):
            report(0.7 + 0.25 * n / len(rasters), raster.file)
            _optimise(part / f"{raster.file}.plain", part / raster.file, raster, tags, found[0].scheme)
        files = {Path(r.file).stem: r.file for r in rasters}
        summary = told.summary()
        _write(part / "summary.json", summary)
        report(0.96, "drawing")
        from frazil.archive.mosaic_figure import draw_mosaic

        draw_mosaic(part, part / "mosaic.png", found, rule, moment, summary)
        files |= {"mosaic": "mosaic.png", "summary": "summary.json"}
        _write(part / "stac_item.json", _item(told, files, rasters, moment))
    report(1.0, "done")
    return {name: target / file for name, file in {**files, "stac": "stac_item.json"}.items()}


class _Told:
    """What blocks amount to."""

    def __init__(self, maps: Sequence[MapFiles], grid: MapGrid, rule: Rule, moment: datetime) -> None:
        self.maps, self.grid, self.rule, self.moment = maps, grid, rule, moment
        self.scheme: ClassScheme = maps[0].scheme
        self.area = np.zeros(256)
        self.found = np.zeros(len(self.scheme.classes))
        self.pixels: Counter[int] = Counter()
        self.twice = self.agreed = 0.0

    def add(self, block: Any) -> None:
        areas = PixelAreas(self.grid.part(block.rows, block.columns))
        self.area += areas.by_code(block.code)
        if block.bits is not None:
            self.found += areas.by_bit(block.bits, len(self.found))
        numbers, counts = np.unique(block.source, return_counts=True)
        self.pixels.update({int(k): int(v) for k, v in zip(numbers, counts, strict=True) if k != NO_SOURCE})
        known = block.agreement != PERCENT_NODATA
        if known.any():
            size = areas.rows(0, block.code.shape[0])[known]
            self.twice += float(size.sum())
            self.agreed += float((size * block.agreement[known]).sum() / 100)

    def summary(self) -> dict[str, Any]:
        sea = float(self.area[:CLASS_LAND].sum())
        codes = {c.name: round(float(self.area[c.code]), 3) for c in self.scheme.classes}
        ice = float(self.area[1 : len(self.scheme.classes)].sum())
        of_kind: dict[str, Any] = (
            {"ice_extent_km2": round(ice, 3), "classes_km2": codes}
            if self.scheme.kind == "exclusive"
            else {
                "found_km2": {n: round(float(a), 3) for n, a in zip(self.scheme.names, self.found, strict=True)},
                "dominant_km2": codes,
            }
        )
        grid = self.grid
        return {
            "rule": self.rule,
            "class_scheme": self.scheme.name,
            "ages_from": f"{self.moment:%Y-%m-%dT%H:%M:%SZ}",
            "mapped_sea_km2": round(sea, 3),
            **of_kind,
            "undecided_km2": round(float(self.area[UNDECIDED]), 3),
            "land_km2": round(float(self.area[CLASS_LAND]), 3),
            "seen_by_several_km2": round(self.twice, 3),
            "agreement_percent": round(100 * self.agreed / self.twice, 2) if self.twice else None,
            "areas_are": "ground areas on the ellipsoid",
            "maps": [
                {
                    "number": k + 1,
                    "product": m.name,
                    "folder": m.folder.name,
                    "time": f"{m.time:%Y-%m-%dT%H:%M:%SZ}",
                    "model": m.model,
                    "pixels": self.pixels.get(k + 1, 0),
                }
                for k, m in enumerate(self.maps)
            ],
            "grid": {
                "crs": grid.crs,
                "spacing_m": grid.spacing_m,
                "shape": list(grid.shape),
                "bounds_m": list(grid.bounds),
            },
            "frazil": __version__,
        }


def _plain(path: Path, raster: _Raster, grid: MapGrid) -> DatasetWriter:
    import rasterio

    made: DatasetWriter = rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        height=grid.shape[0],
        width=grid.shape[1],
        dtype=raster.dtype,
        crs=grid.crs,
        transform=grid.transform,
        nodata=raster.nodata,
        tiled=True,
        blockxsize=512,
        blockysize=512,
        compress="DEFLATE",
        zlevel=1,
        sparse_ok=True,
        BIGTIFF="IF_SAFER",
    )
    return made


def _optimise(plain: Path, path: Path, raster: _Raster, tags: Mapping[str, str], scheme: ClassScheme) -> None:
    import rasterio
    import rasterio.shutil

    with rasterio.open(plain, "r+") as dataset:
        dataset.update_tags(**tags)
        dataset.set_band_description(1, raster.title)
        if raster.field == "code":
            dataset.write_colormap(1, class_colours(scheme))
            dataset.update_tags(nodata_is="not observed")
        elif raster.field == "bits":
            dataset.update_tags(**{f"bit_{1 << code}": name for code, name in enumerate(scheme.names)})
    rasterio.shutil.copy(
        plain,
        path,
        driver="COG",
        COMPRESS="DEFLATE",
        BLOCKSIZE="512",
        OVERVIEW_RESAMPLING=raster.overviews,
        SPARSE_OK="TRUE",
        BIGTIFF="IF_SAFER",
        NUM_THREADS=str(THREADS),
    )
    plain.unlink()
    if raster.field == "code":
        write_category_names(path, scheme)


def _item(told: _Told, files: Mapping[str, str], rasters: Sequence[_Raster], moment: datetime) -> dict[str, Any]:
    """The STAC item of a mosaic."""
    import shapely
    from shapely.geometry import mapping

    from frazil.geojson import to_lonlat
    from frazil.maps.stac import PROJECTION, bounding_box

    grid = told.grid
    outline = to_lonlat(np.array([shapely.segmentize(shapely.box(*grid.bounds), 50_000)], dtype=object), grid.crs)[0]
    outline = shapely.simplify(outline, 1e-3)
    t = grid.transform
    authority = grid.pyproj_crs.to_authority()
    shape = {"proj:shape": list(grid.shape), "proj:transform": [t.a, t.b, t.c, t.d, t.e, t.f]}
    code = {"proj:code": ":".join(authority) if authority else None}
    last = moment - timedelta(seconds=1)
    assets: dict[str, dict[str, Any]] = {}
    for raster in rasters:
        assets[Path(raster.file).stem] = {
            "href": f"./{raster.file}",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "title": raster.title,
            "roles": ["data"],
            **code,
            **shape,
        }
    assets["mosaic"] = {"href": f"./{files['mosaic']}", "type": "image/png", "roles": ["overview"]}
    assets["summary"] = {"href": f"./{files['summary']}", "type": "application/json", "roles": ["metadata"]}
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [PROJECTION],
        "id": f"{_ITEM_ID[told.scheme.kind]}_{told.maps[0].time:%Y%m%d}_{last:%Y%m%d}_{told.rule}",
        "geometry": mapping(outline),
        "bbox": bounding_box(outline),
        "properties": {
            "datetime": f"{told.maps[-1].time:%Y-%m-%dT%H:%M:%SZ}",
            "start_datetime": f"{told.maps[0].time:%Y-%m-%dT%H:%M:%SZ}",
            "end_datetime": f"{told.maps[-1].time:%Y-%m-%dT%H:%M:%SZ}",
            "created": f"{date_made():%Y-%m-%dT%H:%M:%SZ}",
            "gsd": grid.spacing_m,
            "processing:lineage": f"{len(told.maps)} maps, rule {told.rule}",
            **code,
            "proj:bbox": list(grid.bounds),
        },
        "links": [],
        "assets": assets,
    }


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n", encoding="utf-8")
