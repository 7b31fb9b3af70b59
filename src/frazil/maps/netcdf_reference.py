"""Sea-ice concentration in NetCDF files: OSI SAF, the AMSR2 maps of Bremen, and what follows CF.

Which variable holds the concentration: the one that is named; else ``ice_conc`` (OSI SAF: OSI-401, OSI-408, OSI-430,
OSI-450), ``z`` (Bremen ASI), the climate data record's own where there are several (``cdr_seaice_conc``, or what the
file's attribute ``cdr_variable`` says), or the only one with the standard name ``sea_ice_area_fraction``.

Which of its dimensions is y and which x is said by the one-dimensional coordinates on them: by standard name, axis, or
units of latitude and longitude, else by names such as ``yc`` and ``lon``; where nothing says it, the file is refused.
Coordinates are in metres, kilometres or degrees; the CRS comes from the grid mapping: WKT, a PROJ string, or CF
attributes. Where ``status_flag`` or a flag of the variable says land or lake there is land; missing cells are compared
with nothing.

References:
    OSI SAF, Global sea ice concentration product user manuals, OSI-401 and OSI-450: names, flags, grids.
    CF conventions 1.11, sections 2.5.1 (valid range), 3.5 (flags), 4 (axes), 5.6 (grid mappings), 8.1 (packed data).
    NetCDF users guide, best practices: ``_Unsigned``.
    Meier, W. N., et al. (2021), NOAA/NSIDC climate data record of sea ice concentration, version 4, G02202.
    Spreen, G., Kaleschke, L., Heygster, G. (2008), J. Geophys. Res. 113, C02S03. doi:10.1029/2005JC003384.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError

from frazil.errors import FrazilError, LabelError
from frazil.georeference import refuse_unplaced
from frazil.hdf5_files import DAMAGED, netcdf_engine
from frazil.labels.polygons import find_crs
from frazil.maps.geotiff_reference import checked_percent, is_fraction
from frazil.maps.rasters import Raster
from frazil.maps.times import TimeSpan, moment_since, span_of_texts

if TYPE_CHECKING:
    import xarray as xr

_CRS_TEXTS = ("crs_wkt", "spatial_ref", "proj4_string", "proj4", "proj4text", "proj_string")
_STANDARD_NAME = "sea_ice_area_fraction"
_METRES = {"m": 1.0, "metre": 1.0, "meter": 1.0, "metres": 1.0, "meters": 1.0, "km": 1000.0, "kilometre": 1000.0}
_METRES |= {"kilometer": 1000.0, "kilometres": 1000.0, "kilometers": 1000.0, "1000 meter": 1000.0}
_DEGREES = re.compile(r"degrees?([_ ]?(n|north|e|east|t|true))?|deg|°")
_LAND_WORDS = {"land", "lake", "lakes", "coast", "coastal", "coastline", "land_mask"}
_AXES = {
    "y": (
        {"projection_y_coordinate", "latitude", "grid_latitude"},
        {"y", "yc", "ygrid", "lat", "latitude", "rlat", "nj"},
    ),
    "x": (
        {"projection_x_coordinate", "longitude", "grid_longitude"},
        {"x", "xc", "xgrid", "lon", "longitude", "rlon", "ni"},
    ),
}
"""Standard names and names of the coordinates of an axis."""


def read_netcdf(
    path: Path, near: datetime | None, assume_crs: str | None, variable: str | None = None
) -> tuple[str, Raster, TimeSpan | None, str]:
    """The kind of a NetCDF file (``"osisaf"``, ``"amsr2"``, ``"concentration"``), its grid, its time, and the variable.

    Args:
        path: NetCDF-4, or NetCDF-3.
        near: of a file of several times, the one nearest to this is read.
        assume_crs: of a file that does not say its own.
        variable: that holds the concentration; None to find it.

    Raises:
        LabelError: not readable, no variable of concentration or several, no usable grid or CRS, dimensions of unknown
            order, values that are none.
    """
    dataset, name = _load(path, near, variable)
    field = dataset[name]
    rows, columns = field.dims
    y, x = (_axis(dataset, str(dim), path) for dim in (rows, columns))
    crs = _crs(dataset, field, assume_crs, degrees=x[2], path=path)
    if crs.is_geographic != x[2]:
        raise LabelError(f"{path}: the coordinates {columns}, {rows} do not have the units of the CRS {crs.name}.")
    unit = 1.0 if x[2] else float(crs.axis_info[0].unit_conversion_factor or 1.0)
    (x0, dx, _), (y0, dy, _) = x, y
    transform = Affine(dx / unit, 0.0, (x0 - dx / 2) / unit, 0.0, dy / unit, (y0 - dy / 2) / unit)
    refuse_unplaced(path, crs, transform)
    percent = _percent(field, path)
    land = _land(dataset, field)
    if land is not None:
        percent[land] = np.nan
    kind = {"ice_conc": "osisaf", "z": "amsr2"}.get(name, "concentration")
    return kind, Raster(crs=crs, transform=transform, values=percent, land=land), _time(dataset), name


def open_any(path: Path) -> xr.Dataset:
    """A NetCDF-4 or NetCDF-3 file, lazily, nothing decoded.

    Raises:
        LabelError: HDF4, or a file that refers to others, see `frazil.hdf5_files`.
    """
    import xarray as xr

    engine = netcdf_engine(path)
    return xr.open_dataset(path, engine=engine, mask_and_scale=False, decode_times=False, decode_coords=False)


def _load(path: Path, near: datetime | None, variable: str | None) -> tuple[xr.Dataset, str]:
    """What is needed of a file, in memory: the concentration (y, x), flags, coordinates, and its name."""
    try:
        with open_any(path) as lazy:
            name = _variable(lazy, path, variable)
            keep = [v for v in lazy.variables if lazy[v].ndim <= 1 or v in (name, "status_flag", "time_bnds")]
            dataset = lazy[keep]
            y, x = _plane(dataset, name, path)
            others = [str(dim) for dim in dataset[name].dims if dim not in (y, x)]
            spare = [dim for dim in others if dataset.sizes[dim] > 1]
            time = dataset["time"].dims if "time" in dataset.variables else ()
            if spare and (tuple(spare) != time or near is None):
                raise LabelError(f"{path} holds several maps along {spare}. Cut out the one to compare with.")
            if spare:
                middles = [_span(dataset.isel({spare[0]: i})) for i in range(dataset.sizes[spare[0]])]
                away = [abs((m.middle - near).total_seconds()) if m and near else np.inf for m in middles]
                if not np.isfinite(away).any():
                    raise LabelError(f"{path} holds several maps and does not say their times. Cut out one of them.")
                dataset = dataset.isel({spare[0]: int(np.argmin(away))})
            dataset = dataset.isel({dim: 0 for dim in others if dim in dataset.dims})
            return dataset.transpose(..., y, x).load(), name
    except FrazilError:
        raise
    except DAMAGED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise LabelError(f"{path} cannot be read as NetCDF ({reason}): truncated, or another format.") from error


def _plane(dataset: xr.Dataset, name: str, path: Path) -> tuple[str, str]:
    """The dimensions of a field that are y and x."""
    dims = [str(dim) for dim in dataset[name].dims]
    says = {dim: _axis_of(dataset, dim) for dim in dims}
    found = {axis: [dim for dim in dims if says[dim] == axis] for axis in ("y", "x")}
    if [len(found[axis]) for axis in ("y", "x")] != [1, 1]:
        raise LabelError(
            f"{path}: of the dimensions {dims} of {name} it is not said which is y and which is x. Give their "
            "coordinates a standard_name (projection_y_coordinate, projection_x_coordinate) or an axis (Y, X)."
        )
    return found["y"][0], found["x"][0]


def _axis_of(dataset: xr.Dataset, dim: str) -> str | None:
    """Whether a dimension is "y" or "x", by its coordinates, else by its name."""
    along = [dataset[v] for v in _along(dataset, dim)]
    for axis, (standard, _) in _AXES.items():
        if any(str(v.attrs.get("standard_name", "")).strip().lower() in standard for v in along):
            return axis
    for axis in _AXES:
        if any(str(v.attrs.get("axis", "")).strip().lower() == axis for v in along):
            return axis
    for axis, ends in (("y", ("n", "north")), ("x", ("e", "east"))):
        matches = [_DEGREES.fullmatch(str(v.attrs.get("units", "")).strip().lower()) for v in along]
        if any(m and m.group(2) in ends for m in matches):
            return axis
    for axis, (_, names) in _AXES.items():
        if {dim.lower(), *(str(v.name).lower() for v in along)} & names:
            return axis
    return None


def _along(dataset: xr.Dataset, dim: str) -> list[str]:
    """One-dimensional variables on a dimension, that of its name first."""
    found = [str(v) for v in dataset.variables if dataset[v].dims == (dim,)]
    return sorted(found, key=lambda v: v != dim)


def _variable(dataset: xr.Dataset, path: Path, wanted: str | None) -> str:
    fields = [str(v) for v in dataset.variables if dataset[v].ndim >= 2]
    if wanted is not None:
        if wanted not in fields:
            raise LabelError(f"{path} has no field {wanted!r}; it has {fields}. Pass one of these.")
        return wanted
    for name in ("ice_conc", "z"):
        if name in fields:
            return name
    named = [v for v in fields if str(dataset[v].attrs.get("standard_name", "")).strip() == _STANDARD_NAME]
    own = [str(dataset.attrs.get("cdr_variable", "")), "cdr_seaice_conc"]
    own += [v for v in named if v.startswith("cdr_seaice_conc")]
    for name in own:
        if name in named:
            return name
    if len(named) == 1:
        return named[0]
    if named:
        raise LabelError(f"{path} holds several concentrations: {named}. Choose one: variable=... (--variable).")
    raise LabelError(
        f"{path} holds no sea-ice concentration: none of its fields {fields} is ice_conc (OSI SAF), z (Bremen) or has "
        f"the standard name {_STANDARD_NAME}. If one of them is, name it: variable=... (--variable)."
    )


def _axis(dataset: xr.Dataset, dim: str, path: Path) -> tuple[float, float, bool]:
    """First coordinate and step along a dimension, metres or degrees, and whether it is degrees."""
    along = [v for v in _along(dataset, dim) if dataset[v].size > 1 and dataset[v].dtype.kind in "iuf"]
    along = [v for v in along if "since" not in str(dataset[v].attrs.get("units", ""))]
    if not along:
        raise LabelError(f"{path}: dimension {dim!r} has no coordinate in metres, kilometres or degrees.")
    coordinate = dataset[along[0]]
    values = coordinate.values.astype(float)
    units = str(coordinate.attrs.get("units", "m")).strip().lower()
    degrees = _DEGREES.fullmatch(units) is not None
    length = re.fullmatch(r"(?:([0-9.]+)\s*\*?\s*)?([a-z]+)", units)
    if not degrees and (length is None or length.group(2) not in _METRES):
        raise LabelError(f"{path}: coordinate {along[0]!r} is in {units!r}; expected m, km or degrees.")
    if not degrees and length is not None:
        values = values * float(length.group(1) or 1) * _METRES[length.group(2)]
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
        attrs = dict(dataset[name].attrs)
        said = [str(attrs[key]) for key in _CRS_TEXTS if attrs.get(key) is not None]
        for text in [t for t in said if re.match(r"\s*([A-Z_]+\s*\[|\+|EPSG:\d+$)", t, re.IGNORECASE)]:
            try:
                return CRS.from_user_input(text)
            except CRSError:
                continue  # the same in another form may be understood
        try:
            return CRS.from_cf(attrs)
        except (CRSError, KeyError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise LabelError(f"{path}: the grid mapping {name!r} is not understood: {reason}.") from error
    if assume_crs:
        return find_crs(assume_crs)
    if degrees:
        return CRS.from_epsg(4326)
    raise LabelError(f"{path} does not say its CRS. Pass it: assume_crs='EPSG:...' (--assume-crs).")


def _percent(field: xr.DataArray, path: Path) -> np.ndarray:
    """Unpacked concentration, percent, NaN where missing or flagged."""
    attrs, raw = field.attrs, stored(field)
    values = raw.astype(np.float64)
    missing = ~np.isfinite(values)
    for key in ("_FillValue", "missing_value", "flag_values"):
        if key in attrs:
            missing |= np.isin(raw, _codes(field, attrs[key]))
    low, high = (_limit(field, key, i) for i, key in enumerate(("valid_min", "valid_max")))
    missing |= (values < low) | (values > high)
    values = values * _number(attrs.get("scale_factor", 1.0)) + _number(attrs.get("add_offset", 0.0))
    values[missing] = np.nan
    by_name = str(field.name) in ("ice_conc", "z")
    fraction = is_fraction(str(attrs.get("units", "%" if by_name else "1")))
    if fraction is None:
        raise LabelError(f"{path}: {field.name} is in {attrs['units']!r}; expected '1' or '%'. Correct its units.")
    return checked_percent((values * 100 if fraction else values).astype(np.float32), path, sure=fraction)


def stored(field: xr.DataArray) -> np.ndarray:
    """Values as the file means them: signed integers that it calls unsigned are."""
    raw = field.values
    unsigned = str(field.attrs.get("_Unsigned", "")).strip().lower() == "true"
    return raw.view(np.dtype(f"u{raw.dtype.itemsize}")) if unsigned and raw.dtype.kind == "i" else raw


def _codes(field: xr.DataArray, codes: Any) -> np.ndarray:
    """Codes of an attribute in the type of the values as `stored` gives them."""
    values = np.atleast_1d(codes)
    if values.dtype.kind in "iuf" and field.dtype.kind == "i" and stored(field).dtype.kind == "u":
        return np.where(values < 0, values + 256.0**field.dtype.itemsize, values)
    return values


def _limit(field: xr.DataArray, key: str, end: int) -> float:
    """The lowest (0) or highest (1) valid value, as stored; infinite where the file says none."""
    pair = np.atleast_1d(field.attrs.get("valid_range", ()))
    said = field.attrs.get(key, pair[end] if pair.size == 2 else None)
    try:
        return (-np.inf, np.inf)[end] if said is None else float(_codes(field, said)[0])
    except (TypeError, ValueError):
        return (-np.inf, np.inf)[end]


def _number(value: Any) -> float:
    return float(np.atleast_1d(value)[0])


def _land(dataset: xr.Dataset, field: xr.DataArray) -> np.ndarray | None:
    """Where the status flag, or a flag value of the field itself, says land or lake."""
    land = np.zeros(field.shape, bool)
    for source in (field, dataset.get("status_flag")):
        if source is None or source.shape != field.shape:
            continue
        words = str(source.attrs.get("flag_meanings", "")).lower().split()
        for key, bits in (("flag_masks", True), ("flag_values", False)):
            codes = _codes(source, source.attrs.get(key, ()))
            for code, word in zip(codes, words, strict=False):
                if word in _LAND_WORDS:
                    raw = stored(source)
                    land |= (raw.astype(np.int64) & int(code)) != 0 if bits else raw == code
    return land if land.any() else None


def _time(dataset: xr.Dataset) -> TimeSpan | None:
    """When: bounds of the time coordinate, the coordinate, or attributes of the file."""
    own, attrs = _span(dataset), dataset.attrs
    if own is not None and own.start < own.stop:
        return own
    for first, last in (("time_coverage_start", "time_coverage_end"), ("start_date", "stop_date")):
        span = span_of_texts(attrs.get(first), attrs.get(last))
        if span and (own is None or span.start <= own.start <= span.stop):
            return span
    return own


def _span(dataset: xr.Dataset) -> TimeSpan | None:
    if "time" not in dataset.variables or "since" not in str(dataset["time"].attrs.get("units", "")):
        return None
    numbers = dataset["time"].values.ravel()
    if str(dataset["time"].attrs.get("bounds", "time_bnds")) == "time_bnds" and "time_bnds" in dataset.variables:
        numbers = dataset["time_bnds"].values.ravel()
    attrs = dataset["time"].attrs
    calendar = str(attrs.get("calendar", "standard")).lower()
    start, stop = (moment_since(float(numbers[i]), str(attrs["units"]), calendar) for i in (0, -1))
    return TimeSpan(start, stop) if start and stop and start <= stop else None
