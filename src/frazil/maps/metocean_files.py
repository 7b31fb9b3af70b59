"""Maps of phenomena and segmented imagettes as files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.conventions import (
    CLASS_LAND,
    CLASS_NODATA,
    LAND_COLOUR,
    OCEAN_SCHEMES,
    QUALITY_FLAGS,
    UNDECIDED,
    UNDECIDED_COLOUR,
    ClassScheme,
)
from frazil.errors import ContractError, OptionError
from frazil.files import refuse_existing, whole_output
from frazil.maps.areas import PixelAreas
from frazil.maps.export import as_output_error
from frazil.maps.geotiff import PERCENT, flag_tags, write_cog
from frazil.maps.netcdf import write_dataset
from frazil.marks import WRITTEN_BY
from frazil.scene.grid import MapGrid
from frazil.zarr_writing import writable_store

if TYPE_CHECKING:
    import xarray as xr

FILES = {
    "dominant": "dominant.tif", "score": "score.tif", "phenomena": "phenomena.tif", "flags": "flags.tif",
    "netcdf": "map.nc", "figure": "map.png", "summary": "summary.json",
}  # fmt: skip


def ocean_colours(scheme: ClassScheme) -> dict[int, tuple[int, int, int, int]]:
    """Red, green, blue, alpha of every value of ``dominant``: undecided is black, as in the source."""
    colours = {c.code: (*c.colour, 255) for c in scheme.classes}
    return colours | {UNDECIDED: (*UNDECIDED_COLOUR, 255), CLASS_LAND: (*LAND_COLOUR, 255), CLASS_NODATA: (0, 0, 0, 0)}


def export_metocean(ds: xr.Dataset, directory: str | os.PathLike[str], *, overwrite: bool = False) -> dict[str, Path]:
    """Write a map of phenomena as a folder; it appears whole or not at all.

    ``dominant.tif`` (colour table), ``score.tif`` (a band a class, percent), ``phenomena.tif`` (a bit a class),
    ``flags.tif``: Cloud-Optimised GeoTIFF; ``map.nc``: CF NetCDF-4; ``map.png``; ``summary.json`` with areas.

    Raises:
        ContractError: not such a map. OutputExistsError, OutputError: see `frazil.files`.
    """
    from frazil.maps.metocean_figures import draw_metocean

    scheme = _scheme(ds, ("score", "phenomena", "dominant", "quality_flags"))
    target = refuse_existing(directory, overwrite=overwrite)
    grid = MapGrid.of(ds)
    kept = ("product", "start_time", "stop_time", "model", "note", "outside_training", "class_scheme")
    tags = {name: str(ds.attrs[name]) for name in kept if ds.attrs.get(name)}
    with whole_output(target, overwrite=overwrite) as part, as_output_error(target):
        part.mkdir()
        write_cog(
            part / FILES["dominant"], ds["dominant"].values[None], grid, descriptions=("dominant phenomenon",),
            tags=tags, nodata=CLASS_NODATA, overviews="MODE", colours=ocean_colours(scheme),
        )  # fmt: skip
        write_cog(part / FILES["score"], ds["score"].values, grid, descriptions=scheme.names, tags=tags, **PERCENT)
        bits = {f"bit_{code}": name for code, name in enumerate(scheme.names)}
        write_cog(
            part / FILES["phenomena"], ds["phenomena"].values[None], grid, descriptions=("phenomena, a bit each",),
            tags=tags | bits, overviews="MODE",
        )  # fmt: skip
        write_cog(
            part / FILES["flags"], ds["quality_flags"].values[None], grid, descriptions=("quality flags",),
            tags=tags | flag_tags(), overviews="MODE", nodata=QUALITY_FLAGS["nodata"][0],
        )  # fmt: skip
        packed = {name: {"zlib": True, "complevel": 4} for name in ds.data_vars}
        words = [str(name) for name in ds["category"].values]
        coded = ds.assign_coords(category=np.arange(len(words), dtype=np.int32), category_name=("category", words))
        write_dataset(coded, part / FILES["netcdf"], packed)
        draw_metocean(ds, part / FILES["figure"])
        text = json.dumps(summarise_metocean(ds), indent=1, ensure_ascii=False, allow_nan=False)
        (part / FILES["summary"]).write_text(text + "\n", encoding="utf-8")
    return {name: target / file for name, file in FILES.items()}


def summarise_metocean(ds: xr.Dataset) -> dict[str, Any]:
    """Ground areas of the phenomena, km², flags, and where the map is from; JSON-ready."""
    scheme = _scheme(ds, ("score", "phenomena", "dominant", "quality_flags"))
    areas = PixelAreas(MapGrid.of(ds))
    dominant, flags = ds["dominant"].values, ds["quality_flags"].values
    sea = (dominant != CLASS_LAND) & (dominant != CLASS_NODATA)
    by_code = [round(float(area), 1) for area in areas.by_code(dominant)]
    found = areas.by_bit(ds["phenomena"].values, len(scheme.names))
    return {
        **{
            k: str(ds.attrs.get(k, ""))
            for k in ("product", "start_time", "stop_time", "model", "note", "outside_training")
        },
        "observed_sea_km2": round(float(areas.by_code(sea.astype(np.uint8))[1]), 1),
        "undecided_km2": by_code[UNDECIDED],
        "found_km2": {n: round(float(found[c]), 1) for c, n in enumerate(scheme.names)},
        "dominant_km2": {n: by_code[c] for c, n in enumerate(scheme.names)},
        "flagged_km2": {
            name: round(float(areas.by_code((((flags & mask) > 0) & sea).astype(np.uint8))[1]), 1)
            for name, (mask, _) in QUALITY_FLAGS.items() if name not in ("nodata", "land")
        },
    }  # fmt: skip


def save_segments(found: xr.Dataset, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write what `frazil segment` found: ``.zarr``, ``.nc``, or a folder ``.tif`` of a GeoTIFF for each imagette.

    The TIFFs lie in the geometry of the images (no CRS): a band a class, scores in percent, 255 without.

    Raises:
        OptionError: another suffix. ContractError: something else than segments.
    """
    _scheme(found, ("score", "found", "dominant"))
    target = Path(path)
    if target.suffix not in (".zarr", ".nc", ".tif"):
        raise OptionError(f"Segments are written as .zarr, .nc or a .tif folder, not {target.name!r}.")
    with whole_output(target, overwrite=overwrite) as part, as_output_error(target):
        if target.suffix == ".zarr":
            import warnings

            with warnings.catch_warnings(), writable_store(part) as store:
                warnings.filterwarnings("ignore", message=".*does not have a Zarr V3 specification")
                found.to_zarr(store, mode="w", consolidated=False, zarr_format=3)
        elif target.suffix == ".nc":
            wide = found.assign(score=found["score"].astype(np.float32))  # NetCDF has no half precision
            write_dataset(wide.assign_attrs(written_by=WRITTEN_BY), part, {"score": {"zlib": True}})
        else:
            part.mkdir()
            _tiffs(found, part)
    return target


def _tiffs(found: xr.Dataset, folder: Path) -> None:
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    score = found["score"].values.astype(np.float32)
    percent = np.where(np.isfinite(score), np.rint(100 * np.nan_to_num(score)), 255).astype(np.uint8)
    for i, planes in enumerate(percent):
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in str(found["name"].values[i]))
        shape = {"count": planes.shape[0], "height": planes.shape[1], "width": planes.shape[2]}
        how = {"driver": "GTiff", "dtype": "uint8", "nodata": 255, "compress": "deflate"}
        place = {k: str(float(found[k].values[i])) for k in ("longitude", "latitude")}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(folder / f"{i:05d}_{name}.tif", "w", **how, **shape) as tiff:
                tiff.write(planes)
                tiff.descriptions = tuple(map(str, found["class"].values))
                tiff.update_tags(method=str(found.attrs["method"]), model=str(found.attrs["model"]), **place)


def _scheme(ds: xr.Dataset, names: tuple[str, ...]) -> ClassScheme:
    missing = [n for n in names if n not in ds]
    if missing or ds.attrs.get("class_scheme") not in OCEAN_SCHEMES:
        raise ContractError(f"This Dataset is no map of phenomena: {missing or ['class_scheme']} missing.")
    return OCEAN_SCHEMES[ds.attrs["class_scheme"]]
