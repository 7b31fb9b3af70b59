"""A scene as a file: NetCDF and Zarr on the radar grid, or a geocoded GeoTIFF in decibels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from frazil.conventions import check_scene
from frazil.errors import OptionError, OutputError
from frazil.files import refuse_existing, whole_output
from frazil.scene.grid import grid_for, plan_warp
from frazil.scene.scaling import to_db

SUFFIXES = (".nc", ".zarr", ".tif")
_LINES = 512  # computed and written at a time


def save_scene(
    scene: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    crs: str | None = None,
    spacing_m: float | None = None,
    overwrite: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Path:
    """Write a scene; the file appears whole or not at all.

    ``.nc`` and ``.zarr`` hold every variable on the radar grid, with tie points for geolocation. ``.tif`` holds σ0 in
    dB, one float32 band per polarisation, geocoded as a Cloud-Optimised GeoTIFF; nodata is NaN.

    Args:
        scene: as `frazil.open_scene` gives it.
        path: ending in ``.nc``, ``.zarr`` or ``.tif``.
        crs: of the GeoTIFF; polar stereographic by default.
        spacing_m: of the GeoTIFF; the scene's by default.
        overwrite: replace what is there.
        progress: called with the fraction done.

    Raises:
        OptionError: another suffix; crs or spacing for a file on the radar grid.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    target = Path(path)
    if target.suffix not in SUFFIXES:
        raise OptionError(f"Output {target} should end in one of {list(SUFFIXES)}, which choose the format.")
    if target.suffix != ".tif" and (crs is not None or spacing_m is not None):
        raise OptionError(f"{target.suffix} keeps the radar grid; crs and spacing are for .tif. Leave them out.")
    refuse_existing(target, overwrite=overwrite)
    check_scene(scene)
    report = progress or (lambda _fraction: None)
    with whole_output(target, overwrite=overwrite) as part:
        if target.suffix == ".tif":
            _write_geotiff(scene, part, crs, spacing_m, report)
        elif target.suffix == ".zarr":
            _write_zarr(scene, part, report)
        else:
            _write_netcdf(scene, part, report)
    return target


def _strips(scene: xr.Dataset) -> list[slice]:
    return [slice(i, min(i + _LINES, scene.sizes["line"])) for i in range(0, scene.sizes["line"], _LINES)]


def _write_netcdf(scene: xr.Dataset, path: Path, report: Callable[[float], None]) -> None:
    """Small variables by xarray, then the large ones strip by strip: memory stays at one strip."""
    import h5netcdf

    large = [str(n) for n in scene.data_vars if {"line", "pixel"} <= set(scene[n].dims)]
    try:
        scene.drop_vars(large).to_netcdf(path, engine="h5netcdf")
        with h5netcdf.File(path, "a") as file:
            for name in large:
                variable = scene[name]
                dtype = np.dtype(np.int8) if variable.dtype == bool else variable.dtype
                chunks = tuple(min(_LINES, n) if d in ("line", "pixel") else 1 for d, n in variable.sizes.items())
                fill = np.nan if dtype.kind == "f" else None
                out = file.create_variable(
                    name, variable.dims, dtype, chunks=chunks, fillvalue=fill, compression="gzip", compression_opts=1,
                    shuffle=True,
                )  # fmt: skip
                for key, value in variable.attrs.items():
                    out.attrs[key] = value
                if variable.dtype == bool:
                    out.attrs["dtype"] = "bool"  # how xarray marks booleans
                out.attrs["coordinates"] = "azimuth_time ground_range"
            _stream(scene, large, lambda name, index, values: file[name].__setitem__(index, values), report)
    except (OSError, RuntimeError) as error:
        raise OutputError(f"Cannot write {path.name}: {error}. Free the space or choose another folder.") from error


def _write_zarr(scene: xr.Dataset, path: Path, report: Callable[[float], None]) -> None:
    import zarr

    large = [str(n) for n in scene.data_vars if {"line", "pixel"} <= set(scene[n].dims)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(Zarr format 3|Zarr V3|consolidated).*")
        scene.drop_vars(large).to_zarr(path, consolidated=False)
        group = zarr.open_group(path, mode="a")
        for name in large:
            variable = scene[name]
            chunks = tuple(min(_LINES, n) if d in ("line", "pixel") else 1 for d, n in variable.sizes.items())
            array = group.create_array(
                name,
                shape=variable.shape,
                dtype=variable.dtype,
                chunks=chunks,
                dimension_names=[str(d) for d in variable.dims],
            )
            array.attrs.update({**variable.attrs, "coordinates": "azimuth_time ground_range"})
        _stream(scene, large, lambda name, index, values: group[name].__setitem__(index, values), report)
        zarr.consolidate_metadata(path)


def _stream(
    scene: xr.Dataset, names: list[Any], put: Callable[[Any, Any, np.ndarray], None], report: Callable[[float], None]
) -> None:
    strips = _strips(scene)
    for i, lines in enumerate(strips):
        part = scene.isel(line=lines)
        sigma0 = part["sigma0"].values
        for name in names:
            if name == "sigma0":
                values = sigma0
            elif name == "valid":  # by its definition, and without reading the image again
                values = np.isfinite(sigma0).all(axis=0)
            else:
                values = part[name].values
            if values.dtype == bool:
                values = values.astype(np.int8)
            put(name, (slice(None),) * (values.ndim - 2) + (lines, slice(None)), values)
        report((i + 1) / len(strips))


def _write_geotiff(
    scene: xr.Dataset, path: Path, crs: str | None, spacing_m: float | None, report: Callable[[float], None]
) -> None:
    import rasterio
    from rasterio.shutil import copy

    grid = grid_for(scene, crs=crs, spacing_m=spacing_m or float(scene.attrs["spacing_m"]))
    warp = plan_warp(scene, grid)
    names = scene["polarization"].values.tolist()
    plain = path.with_name(path.stem + ".plain.tif")
    profile = {
        "driver": "GTiff", "width": grid.shape[1], "height": grid.shape[0], "count": len(names), "dtype": "float32",
        "crs": grid.pyproj_crs.to_wkt(), "transform": grid.transform, "nodata": np.nan, "tiled": True,
        "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    try:
        with rasterio.open(plain, "w", **profile) as file:
            for i, name in enumerate(names):
                file.write(to_db(warp.bilinear(scene["sigma0"][i].values)), i + 1)
                file.set_band_description(i + 1, f"sigma0_db {name}")
                report((i + 0.7) / len(names))
            file.update_tags(**{k: str(v) for k, v in scene.attrs.items()}, units="dB")
        copy(
            plain, path, driver="COG", compress="ZSTD", predictor="FLOATING_POINT", level=1, num_threads="ALL_CPUS",
            overview_resampling="AVERAGE", bigtiff="IF_SAFER",
        )  # fmt: skip
        report(1.0)
    except rasterio.errors.RasterioError as error:
        cause = str(error.__cause__ or error).splitlines()[0]
        raise OutputError(f"Cannot write {path.name}: {cause}. Free the space or choose another folder.") from error
    finally:
        plain.unlink(missing_ok=True)
