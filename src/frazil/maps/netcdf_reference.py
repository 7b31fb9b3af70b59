"""Sea-ice concentration in NetCDF files: OSI SAF, the AMSR2 maps of Bremen, and what follows CF.

Which variable holds the concentration: ``ice_conc`` (OSI SAF: OSI-401, OSI-408, OSI-430, OSI-450), ``z`` (Bremen ASI),
or the one with the standard name ``sea_ice_area_fraction``. The grid comes from the one-dimensional coordinates of its
last two dimensions (in metres, kilometres or degrees, in any order) and from its grid mapping: WKT, a PROJ string, or
CF attributes. Where ``status_flag`` says land or lake there is land; missing cells are compared with nothing.

References:
    OSI SAF, Global sea ice concentration product user manuals, OSI-401 and OSI-450: names, flags, grids.
    CF conventions 1.11, sections 3.5 (flags), 5.6 (grid mappings), 8.1 (packed data).
    Spreen, G., Kaleschke, L., Heygster, G. (2008), J. Geophys. Res. 113, C02S03. doi:10.1029/2005JC003384.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError

from frazil.errors import FrazilError, LabelError
from frazil.hdf5_files import DAMAGED, netcdf_engine
from frazil.labels.polygons import find_crs
from frazil.maps.geotiff_reference import checked_percent
from frazil.maps.rasters import Raster
from frazil.maps.times import TimeSpan, span_of_texts

if TYPE_CHECKING:
    import xarray as xr

_STANDARD_NAME = "sea_ice_area_fraction"
_METRES = {"m": 1.0, "metre": 1.0, "meter": 1.0, "metres": 1.0, "meters": 1.0, "km": 1000.0, "kilometre": 1000.0}
_METRES |= {"kilometer": 1000.0, "kilometres": 1000.0, "kilometers": 1000.0, "1000 meter": 1000.0}
_DEGREES = ("degree", "degrees", "degrees_north", "degrees_east", "degree_north", "degree_east")
_LAND_WORDS = {"land", "lake", "coast", "coastline"}


def read_netcdf(path: Path, near: datetime | None, assume_crs: str | None) -> tuple[str, Raster, TimeSpan | None]:
    """The kind of a NetCDF file (``"osisaf"``, ``"amsr2"`` or ``"concentration"``), its grid, and its time.

    Args:
        path: NetCDF-4, or NetCDF-3.
        near: of a file of several times, the one nearest to this is read.
        assume_crs: of a file that does not say its own.

    Raises:
        LabelError: not readable, no variable of concentration, no usable grid or CRS, values that are none.
    """
    dataset, name = _load(path, near)
    field = dataset[name]
    rows, columns = field.dims
    y, x = (_axis(dataset, str(dim), path) for dim in (rows, columns))
    crs = _crs(dataset, field, assume_crs, degrees=x[2], path=path)
    if crs.is_geographic != x[2]:
        raise LabelError(f"{path}: the coordinates {columns}, {rows} do not have the units of the CRS {crs.name}.")
    unit = 1.0 if x[2] else float(crs.axis_info[0].unit_conversion_factor or 1.0)
    (x0, dx, _), (y0, dy, _) = x, y
    transform = Affine(dx / unit, 0.0, (x0 - dx / 2) / unit, 0.0, dy / unit, (y0 - dy / 2) / unit)
    percent = _percent(field, path)
    land = _land(dataset, field)
    if land is not None:
        percent[land] = np.nan
    kind = {"ice_conc": "osisaf", "z": "amsr2"}.get(name, "concentration")
    return kind, Raster(crs=crs, transform=transform, values=percent, land=land), _time(dataset)


def open_any(path: Path) -> xr.Dataset:
    """A NetCDF-4 or NetCDF-3 file, lazily, nothing decoded.

    Raises:
        LabelError: HDF4, or a file that refers to others, see `frazil.hdf5_files`.
    """
    import xarray as xr

    engine = netcdf_engine(path)
    return xr.open_dataset(path, engine=engine, mask_and_scale=False, decode_times=False, decode_coords=False)


def _load(path: Path, near: datetime | None) -> tuple[xr.Dataset, str]:
    """What is needed of a file, in memory, two-dimensional: the concentration, flags, coordinates, and its name."""
    try:
        with open_any(path) as lazy:
            name = _variable(lazy, path)
            keep = [v for v in lazy.variables if lazy[v].ndim <= 1 or v in (name, "status_flag", "time_bnds")]
            dataset = lazy[keep]
            spare = [dim for dim in dataset[name].dims[:-2] if dataset.sizes[dim] > 1]
            if spare and (spare != ["time"] or near is None):
                raise LabelError(f"{path} holds several maps along {spare}. Cut out the one to compare with.")
            if spare:
                middles = [_span(dataset.isel(time=i)) for i in range(dataset.sizes["time"])]
                away = [abs((m.middle - near).total_seconds()) if m and near else np.inf for m in middles]
                dataset = dataset.isel(time=int(np.argmin(away)))
            dataset = dataset.isel(dict.fromkeys(dataset[name].dims[:-2], 0))
            return dataset.load(), name
    except FrazilError:
        raise
    except DAMAGED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise LabelError(f"{path} cannot be read as NetCDF ({reason}): truncated, or another format.") from error


def _variable(dataset: xr.Dataset, path: Path) -> str:
    fields = [str(v) for v in dataset.variables if dataset[v].ndim >= 2]
    for name in ("ice_conc", "z"):
        if name in fields:
            return name
    named = [v for v in fields if str(dataset[v].attrs.get("standard_name", "")).strip() == _STANDARD_NAME]
    if len(named) == 1:
        return named[0]
    if named:
        raise LabelError(f"{path} holds several concentrations: {named}. Keep one of them in the file.")
    raise LabelError(
        f"{path} holds no sea-ice concentration: none of its fields {fields} is ice_conc (OSI SAF), z (Bremen) or has "
        f"the standard name {_STANDARD_NAME}."
    )


def _axis(dataset: xr.Dataset, dim: str, path: Path) -> tuple[float, float, bool]:
    """First coordinate and step along a dimension, metres or degrees, and whether it is degrees."""
    if dim not in dataset.variables or dataset[dim].ndim != 1 or dataset[dim].size < 2:
        raise LabelError(f"{path}: dimension {dim!r} has no coordinate in metres, kilometres or degrees.")
    values = dataset[dim].values.astype(float)
    units = str(dataset[dim].attrs.get("units", "m")).strip().lower()
    degrees = units in _DEGREES
    if not degrees and units not in _METRES:
        raise LabelError(f"{path}: coordinate {dim!r} is in {units!r}; expected m, km or degrees.")
    values = values * _METRES.get(units, 1.0)
    step = (values[-1] - values[0]) / (values.size - 1)
    if step == 0 or not np.allclose(np.diff(values), step, rtol=0.01, atol=0):
        raise LabelError(f"{path}: coordinate {dim!r} is not evenly spaced.")
    return float(values[0]), float(step), degrees


def _crs(dataset: xr.Dataset, field: xr.DataArray, assume_crs: str | None, *, degrees: bool, path: Path) -> CRS:
    """The CRS that the grid mapping of a field names."""
    mapping = str(field.attrs.get("grid_mapping", ""))
    names = [mapping] if mapping in dataset.variables else []
    names += [str(v) for v in dataset.variables if "grid_mapping_name" in dataset[v].attrs]
    for name in names:
        attrs = dataset[name].attrs
        texts = [attrs[key] for key in ("crs_wkt", "spatial_ref", "proj4_string", "proj4") if attrs.get(key)]
        try:
            return CRS.from_user_input(str(texts[0])) if texts else CRS.from_cf(dict(attrs))
        except (CRSError, KeyError) as error:
            raise LabelError(f"{path}: the grid mapping {name!r} is not understood: {error}.") from error
    if assume_crs:
        return find_crs(assume_crs)
    if degrees:
        return CRS.from_epsg(4326)
    raise LabelError(f"{path} does not say its CRS. Pass it: assume_crs='EPSG:...' (--assume-crs).")


def _percent(field: xr.DataArray, path: Path) -> np.ndarray:
    """Unpacked concentration, percent, NaN where missing or flagged."""
    attrs, raw = field.attrs, field.values
    values = raw.astype(np.float64)
    missing = ~np.isfinite(values)
    for key in ("_FillValue", "missing_value"):
        if key in attrs:
            missing |= np.isin(raw, np.atleast_1d(attrs[key]))
    if "flag_values" in attrs:
        missing |= np.isin(raw, np.atleast_1d(attrs["flag_values"]))
    values = values * float(attrs.get("scale_factor", 1.0)) + float(attrs.get("add_offset", 0.0))
    units = str(attrs.get("units", "%" if field.name in ("ice_conc", "z") else "")).strip().lower()
    values[missing] = np.nan
    fraction = units in ("1", "fraction") or (units == "" and str(field.name) not in ("ice_conc", "z"))
    percent = (values * 100 if fraction else values).astype(np.float32)
    told = percent[np.isfinite(percent)]
    if fraction and told.size and 0 < told.max() <= 1:
        return percent  # hardly any ice; the units have said that these are fractions
    return checked_percent(percent, path)


def _land(dataset: xr.Dataset, field: xr.DataArray) -> np.ndarray | None:
    """Where the status flag, or a flag value of the field itself, says land or lake."""
    land = np.zeros(field.shape, bool)
    for source in (field, dataset.get("status_flag")):
        if source is None or source.shape != field.shape:
            continue
        words = str(source.attrs.get("flag_meanings", "")).lower().split()
        for key, bits in (("flag_masks", True), ("flag_values", False)):
            codes = np.atleast_1d(source.attrs.get(key, ()))
            for code, word in zip(codes, words, strict=False):
                if word in _LAND_WORDS:
                    raw = source.values
                    land |= (raw.astype(np.int64) & int(code)) != 0 if bits else raw == code
    return land if land.any() else None


def _time(dataset: xr.Dataset) -> TimeSpan | None:
    """When: bounds of the time coordinate, the coordinate, or attributes of the file."""
    if span := _span(dataset):
        return span
    attrs = dataset.attrs
    for first, last in (("time_coverage_start", "time_coverage_end"), ("start_date", "stop_date")):
        if span := span_of_texts(attrs.get(first), attrs.get(last)):
            return span
    return None


def _span(dataset: xr.Dataset) -> TimeSpan | None:
    import xarray as xr

    if "time" not in dataset.variables or "since" not in str(dataset["time"].attrs.get("units", "")):
        return None
    numbers = dataset["time"].values.ravel()
    if str(dataset["time"].attrs.get("bounds", "time_bnds")) == "time_bnds" and "time_bnds" in dataset.variables:
        numbers = dataset["time_bnds"].values.ravel()
    attrs = {key: dataset["time"].attrs[key] for key in ("units", "calendar") if key in dataset["time"].attrs}
    try:
        times = xr.conventions.decode_cf_variable("time", xr.Variable("t", numbers[[0, -1]], attrs)).values
    except (ValueError, OverflowError, ImportError):
        return None
    if times.dtype.kind != "M" or np.isnat(times).any():
        return None
    seconds: list[Any] = times.astype("datetime64[s]").tolist()
    start, stop = (moment.replace(tzinfo=UTC) for moment in seconds)
    return TimeSpan(start, stop) if start <= stop else None
