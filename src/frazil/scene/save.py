"""A scene as a file: NetCDF and Zarr on the radar grid, or a geocoded GeoTIFF in decibels."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from frazil.conventions import check_scene
from frazil.errors import FrazilError, OptionError, OutputError
from frazil.files import refuse_existing, undisturbed, whole_output
from frazil.marks import WRITTEN_BY
from frazil.scene.discovery import border, discovery_attrs
from frazil.scene.geotiff import write_geotiff
from frazil.scene.lazy import is_lazy
from frazil.zarr_writing import quiet_zarr, writable_store

SUFFIXES = (".nc", ".zarr", ".tif")
#: ISO 19115-1's word for what a variable holds; of others ``auxiliaryInformation``.
_CONTENT = {
    "sigma0": "physicalMeasurement",
    "nesz": "qualityInformation",
    "valid": "qualityInformation",
    "noise_missing": "qualityInformation",
}
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
    with whole_output(target, overwrite=overwrite) as part, _as_output_error(target):
        if target.suffix == ".tif":
            write_geotiff(scene, part, crs, spacing_m, report)
        elif target.suffix == ".zarr":
            _write_zarr(scene, part, report)
        else:
            _write_netcdf(scene, part, report)
    return target


@contextmanager
def _as_output_error(target: Path) -> Iterator[None]:
    """Turn what the operating system and GDAL raise when they cannot write into one `OutputError` of one line."""
    from rasterio._err import CPLE_BaseError  # GDAL's own errors reach the caller of rasterio.shutil.copy as these
    from rasterio.errors import RasterioError

    try:
        yield
    except (OSError, RasterioError, CPLE_BaseError) as error:
        if isinstance(error, FrazilError):
            raise
        reason = getattr(error, "strerror", None) or str(error.__cause__ or error).splitlines()[0]
        raise OutputError(f"Cannot write {target}: {reason}. Free the space or choose another folder.") from error


class _CarefulFile(io.FileIO):
    """A file that remembers the first failed write and lets HDF5 go on: HDF5 crashes the process otherwise."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write, or after a failure pretend to."""
        size = memoryview(data).nbytes
        if self.failure is None:
            try:
                written = 0
                while written < size:
                    written += super().write(memoryview(data).cast("B")[written:])
            except OSError as error:
                self.failure = error
        if self.failure is not None:
            self.seek(size, os.SEEK_CUR)
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the size; what the disk refuses counts as a failed write."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0


def _strips(scene: xr.Dataset) -> list[slice]:
    return [slice(i, min(i + _LINES, scene.sizes["line"])) for i in range(0, scene.sizes["line"], _LINES)]


def _write_netcdf(scene: xr.Dataset, path: Path, report: Callable[[float], None]) -> None:
    """Small variables by xarray, then the large ones strip by strip: memory stays at one strip."""
    import h5netcdf

    large = [str(n) for n in scene.data_vars if {"line", "pixel"} <= set(scene[n].dims)]
    rest = scene.drop_vars(large).assign_attrs(history=WRITTEN_BY, **_discovery(scene))
    for key, table in rest.variables.items():
        if set(table.dims) == {"tie_line", "tie_pixel"}:
            rest[key] = rest[key].assign_attrs(coverage_content_type="auxiliaryInformation")
    for axis in ("tie_line", "tie_pixel"):
        rest[axis] = rest[axis].assign_attrs(long_name=f"{axis.removeprefix('tie_')} of the tie points", units="1")
    placed = "tie_latitude", "tie_longitude"
    for key, table in rest.variables.items():  # CF 5.2: where on the Earth they are
        if set(table.dims) == {"tie_line", "tie_pixel"} and key not in placed:
            table.encoding["coordinates"] = " ".join(placed)
    # CF 2.5.1 has no missing values in coordinates; strings as characters, which every reader knows.
    encoding: dict[Any, Any] = {n: {"_FillValue": None} for n, v in rest.variables.items() if v.dtype.kind in "fM"}
    encoding |= {n: {"dtype": "S1"} for n, v in rest.variables.items() if v.dtype.kind in "UO"}
    if "azimuth_time" in rest.variables and rest["azimuth_time"].dtype.kind == "M":
        rest["azimuth_time"] = rest["azimuth_time"].assign_attrs(units_metadata="leap_seconds: none")
        encoding["azimuth_time"] = {**encoding.get("azimuth_time", {}), "calendar": "standard"}
    small = rest.to_netcdf(engine="h5netcdf", encoding=encoding)
    with _CarefulFile(path, "w+") as raw:
        # What is raised inside a call that HDF5 makes is lost, a signal's KeyboardInterrupt too, and with it what was
        # to be written: signals wait between strips.
        with undisturbed():
            raw.write(bytes(small))
            raw.seek(0)
            file = h5netcdf.File(raw, "r+")
        try:
            with undisturbed():
                for name in large:
                    _add_variable(file, name, scene[name])

            def put(name: str, index: Any, values: np.ndarray) -> None:
                with undisturbed():
                    file[name][index] = values
                if raw.failure is not None:
                    raise raw.failure

            _stream(scene, large, put, report)
        finally:
            with undisturbed():
                file.close()
        if raw.failure is not None:
            raise raw.failure


def _add_variable(file: Any, name: str, variable: xr.DataArray) -> None:
    dtype = np.dtype(np.int8) if variable.dtype == bool else variable.dtype
    chunks = tuple(min(_LINES, n) if d in ("line", "pixel") else 1 for d, n in variable.sizes.items())
    out = file.create_variable(
        name,
        variable.dims,
        dtype,
        chunks=chunks,
        fillvalue=np.nan if dtype.kind == "f" else None,
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )
    for key, value in variable.attrs.items():
        out.attrs[key] = value
    if variable.dtype == bool:
        out.attrs["dtype"] = "bool"  # how xarray marks booleans
        out.attrs["units"] = "1"
    out.attrs["coordinates"] = "azimuth_time ground_range"
    out.attrs["coverage_content_type"] = _CONTENT.get(name, "auxiliaryInformation")


def _discovery(scene: xr.Dataset) -> dict[str, object]:
    attrs = scene.attrs
    place = border(scene["tie_longitude"].values), border(scene["tie_latitude"].values)
    found = discovery_attrs(
        attrs,
        place,
        summary=f"Calibrated backscatter of {attrs['product']} on its radar grid, noise removal {attrs['denoise']}.",
        keywords=f"backscatter, sigma nought, synthetic aperture radar, {attrs.get('mission', 'sea ice')}",
        level="Level-1: calibrated, on the radar grid",
    )
    return {"Conventions": "CF-1.11, ACDD-1.3", **found}


def _write_zarr(scene: xr.Dataset, path: Path, report: Callable[[float], None]) -> None:
    import zarr

    large = [str(n) for n in scene.data_vars if {"line", "pixel"} <= set(scene[n].dims)]
    with quiet_zarr(), writable_store(path) as store:
        scene.drop_vars(large).to_zarr(store, consolidated=False)
        group = zarr.open_group(store, mode="a")
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
            plain = {k: v.tolist() if isinstance(v, (np.ndarray, np.generic)) else v for k, v in variable.attrs.items()}
            array.attrs.update({**plain, "coordinates": "azimuth_time ground_range"})
        _stream(scene, large, lambda name, index, values: group[name].__setitem__(index, values), report)
        zarr.consolidate_metadata(store)


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
            elif name == "valid" and is_lazy(scene["valid"]):  # by its definition, and without reading the image again
                values = np.isfinite(sigma0).all(axis=0)
            else:
                values = part[name].values
            if values.dtype == bool:
                values = values.astype(np.int8)
            put(name, (slice(None),) * (values.ndim - 2) + (lines, slice(None)), values)
        report((i + 1) / len(strips))
