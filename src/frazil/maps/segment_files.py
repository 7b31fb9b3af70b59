"""Segmented imagettes as files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frazil.conventions import (
    PHENOMENA_SCHEMES,
)
from frazil.errors import ContractError, OptionError
from frazil.files import whole_output
from frazil.maps.export import as_output_error
from frazil.maps.netcdf import write_dataset
from frazil.marks import WRITTEN_BY
from frazil.zarr_writing import quiet_zarr, writable_store

if TYPE_CHECKING:
    import xarray as xr


def save_segments(found: xr.Dataset, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write what `frazil segment` found: ``.zarr``, ``.nc``, or a folder ``.tif`` of a GeoTIFF for each imagette.

    The TIFFs lie in the geometry of the images (no CRS): a band a class, scores in percent, 255 without.

    Raises:
        OptionError: another suffix. ContractError: something else than segments.
    """
    _check_segments(found)
    target = Path(path)
    if target.suffix not in (".zarr", ".nc", ".tif"):
        raise OptionError(f"Segments are written as .zarr, .nc or a .tif folder, not {target.name!r}.")
    with whole_output(target, overwrite=overwrite) as part, as_output_error(target):
        if target.suffix == ".zarr":
            with quiet_zarr(), writable_store(part) as store:
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


def _check_segments(found: xr.Dataset) -> None:
    missing = [n for n in ("score", "found", "dominant") if n not in found]
    if missing or found.attrs.get("class_scheme") not in PHENOMENA_SCHEMES:
        raise ContractError(f"This Dataset holds no segments of imagettes: {missing or ['class_scheme']} missing.")
