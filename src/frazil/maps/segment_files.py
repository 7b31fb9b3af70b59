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
from frazil.labels.sample_set import damaged, open_store
from frazil.maps.export import as_output_error
from frazil.maps.netcdf import write_dataset
from frazil.marks import WRITTEN_BY
from frazil.zarr_stores import DAMAGED_STORE, sealed_codec
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
                sealed = {str(k): {"compressors": (sealed_codec(),)} for k in found.variables}
                chunk = (min(64, found.sizes["imagette"]), *found["score"].shape[1:])
                for name in ("score", "found"):
                    sealed[name] |= {"chunks": chunk}  # type: ignore[dict-item]
                found.to_zarr(
                    store, mode="w", encoding=sealed, consolidated=False, zarr_format=3, write_empty_chunks=True
                )
        elif target.suffix == ".nc":
            wide = found.assign(score=found["score"].astype(np.float32))  # NetCDF has no half precision
            write_dataset(wide.assign_attrs(written_by=WRITTEN_BY), part, {"score": {"zlib": True}})
        else:
            part.mkdir()
            _tiffs(found, part)
    return target


def open_segments(path: str | os.PathLike[str]) -> xr.Dataset:
    """Segments that `save_segments` wrote as ``.zarr``, in memory.

    Raises:
        LabelNotFoundError: nothing there. LabelError, ContractError: something else is there, see
            `frazil.zarr_stores`.
    """
    kind = "a set of segments"
    words, numbers = {"class", "name", "group"}, {"score", "found", "dominant"}
    places = {"incidence_angle", "longitude", "latitude"}
    raw = open_store(path, kind, "frazil segment", arrays=words | numbers | places, words=words, whole="score")
    try:
        found = raw.load()
    except DAMAGED_STORE as error:
        raise damaged(path, kind, "frazil segment", error) from error
    _check_segments(found)
    return found


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
