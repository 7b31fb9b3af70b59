"""Concentration in NetCDF, packed in every way, against the NetCDF library's own unpacking and against cftime."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyproj import CRS

from frazil.errors import LabelError
from frazil.maps.netcdf_reference import read_netcdf

X, Y = np.arange(7) * 25_000.0 - 100_000, 900_000 - np.arange(5) * 25_000.0


def write(
    path: Path,
    raw: np.ndarray,
    attrs: dict[str, Any],
    *,
    dims: tuple[str, ...] = ("time", "y", "x"),
    time: tuple[float, str, str] = (43_000.5, "days since 1900-01-01", "standard"),
    kind: Any = "NETCDF4",
    x: np.ndarray = X,
    y: np.ndarray = Y,
    bounds: tuple[float, float] | None = None,
) -> Path:
    """A file by the NetCDF library, nothing scaled on the way."""
    with netCDF4.Dataset(path, "w", format=kind) as file:
        file.set_auto_maskandscale(False)
        sizes = {"time": 1, "y": len(y), "x": len(x)}
        for dim in dims:
            file.createDimension(dim, sizes[dim])
        for name, values in (("y", y), ("x", x)):
            along = file.createVariable(name, "f8", (name,))
            along.setncatts({"units": "m", "standard_name": f"projection_{name}_coordinate"})
            along[:] = values
        mapping = file.createVariable("crs", "i4", ())
        mapping.setncatts(CRS.from_epsg(3413).to_cf())
        if "time" in dims:
            when = file.createVariable("time", "f8", ("time",))
            when.setncatts({"units": time[1], "calendar": time[2]})
            when[:] = time[0]
            if bounds is not None:
                when.bounds = "time_bnds"
                file.createDimension("two", 2)
                file.createVariable("time_bnds", "f8", ("time", "two"))[:] = [bounds]
        fill = {"fill_value": attrs["_FillValue"]} if "_FillValue" in attrs else {}
        field = file.createVariable("sic", raw.dtype, dims, **fill)
        field.set_auto_maskandscale(False)
        told = {k: v for k, v in attrs.items() if k != "_FillValue"}
        field.setncatts({"standard_name": "sea_ice_area_fraction", "grid_mapping": "crs", **told})
        field[:] = (
            raw.transpose([("time", "y", "x").index(d) for d in dims])
            if "time" in dims
            else raw[0].transpose([("y", "x").index(d) for d in dims])
        )
    return path


def unpacked(path: Path) -> np.ndarray:
    """What the NetCDF library makes of it: NaN where masked."""
    with netCDF4.Dataset(path) as file:
        field = file["sic"]
        values: np.ndarray = np.ma.filled(np.ma.asarray(field[:], dtype=float), np.nan)
        order = [field.dimensions.index(d) for d in ("y", "x")]
        if "time" in field.dimensions:
            values = values.take(0, axis=field.dimensions.index("time"))
            order = [o - (o > field.dimensions.index("time")) for o in order]
        return np.asarray(values.transpose(order))


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from(["i1", "u1", "i2", "u2", "i4"]),
    seed=st.integers(0, 2**32 - 1),
    packing=st.sampled_from([(0.4, 0.0), (1.0, 0.0), (0.01, 0.0), (0.5, 50.0), (0.002, 60.0)]),
    fill=st.booleans(),
    limits=st.sampled_from(["none", "min and max", "range", "max"]),
    unsigned=st.booleans(),
    dims=st.sampled_from([("time", "y", "x"), ("y", "x"), ("x", "y"), ("y", "time", "x"), ("x", "y", "time")]),
)
def test_packed_values_are_those_that_the_library_unpacks(
    tmp_path_factory: pytest.TempPathFactory,
    dtype: str,
    seed: int,
    packing: tuple[float, float],
    fill: bool,
    limits: str,
    unsigned: bool,
    dims: tuple[str, ...],
) -> None:
    rng = np.random.default_rng(seed)
    scale, offset = packing
    info = np.iinfo(f"u{dtype[1]}" if unsigned and dtype == "i1" else dtype)
    assume(info.max * scale + offset > 50)  # little ice alone may be fractions, and is asked for
    low, high = (int(np.clip(round((p - offset) / scale), info.min, info.max)) for p in (0, 100))
    raw = rng.integers(low, high + 1, (1, 5, 7)).astype(info.dtype)
    unwritten = netCDF4.default_fillvals[dtype]  # which the library masks unasked
    raw[raw == np.array(unwritten).astype(info.dtype)] = (low + high) // 2
    attrs: dict[str, Any] = {"units": "%", "scale_factor": scale, "add_offset": offset}
    eighth = (high - low) // 8
    if limits in ("min and max", "max"):
        attrs["valid_max"] = info.dtype.type(high - eighth)
    if limits == "min and max":
        attrs["valid_min"] = info.dtype.type(low + eighth)
    if limits == "range":
        attrs["valid_range"] = np.array([low + eighth, high], info.dtype)
    if fill:
        raw[0, rng.random((5, 7)) < 0.2] = raw[0, 0, 0]
        attrs["_FillValue"] = raw[0, 0, 0]
    if info.dtype != np.dtype(dtype):  # bytes that are called unsigned; the library cannot do so with their limits
        attrs = {k: v.view(dtype) if k == "_FillValue" else v for k, v in attrs.items() if not k.startswith("valid")}
        attrs["_Unsigned"], raw = "true", raw.view(dtype)
    path = write(tmp_path_factory.mktemp("nc") / "a.nc", raw, attrs, dims=dims)
    kind, raster, _, name = read_netcdf(path, None, None)
    assert (kind, name) == ("concentration", "sic")
    np.testing.assert_allclose(raster.values, unpacked(path), rtol=1e-6, atol=1e-4)


def test_the_test_reads_what_it_thinks_it_reads(tmp_path: Path) -> None:
    raw = np.arange(35, dtype=np.int16).reshape(1, 5, 7)
    path = write(tmp_path / "a.nc", raw, {"units": "%", "scale_factor": 2.0, "valid_max": np.int16(30)})
    want = 2.0 * raw[0]
    np.testing.assert_array_equal(unpacked(path), np.where(raw[0] > 30, np.nan, want))


@pytest.mark.parametrize("flip", ["", "x", "y", "xy"])
@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_CLASSIC"])
def test_every_cell_lies_where_its_coordinates_say(flip: str, kind: str, tmp_path: Path) -> None:
    x, y = (v[::-1].copy() if n in flip else v for n, v in (("x", X), ("y", Y)))
    raw = np.random.default_rng(1).uniform(0, 100, (1, 5, 7)).astype(np.float32)
    _, raster, _, _ = read_netcdf(write(tmp_path / "a.nc", raw, {"units": "%"}, x=x, y=y, kind=kind), None, None)
    for i in range(5):
        for j in range(7):
            assert raster.transform @ (j + 0.5, i + 0.5) == pytest.approx((x[j], y[i]))
    np.testing.assert_array_equal(raster.values, raw[0])
    assert raster.crs == CRS.from_epsg(3413) or raster.crs.to_epsg() == 3413


@settings(max_examples=40, deadline=None)
@given(
    unit=st.sampled_from(["days", "hours", "seconds", "minutes"]),
    after=st.integers(0, 200 * 365),
    since=st.datetimes(datetime(1601, 1, 1), datetime(2100, 1, 1)),
    seconds=st.integers(0, 86_399),
    calendar=st.sampled_from(["standard", "proleptic_gregorian"]),
)
def test_times_are_those_of_cftime(
    tmp_path_factory: pytest.TempPathFactory, unit: str, since: datetime, after: int, seconds: int, calendar: str
) -> None:
    since = since.replace(microsecond=0)
    moment = since + timedelta(days=after, seconds=seconds)
    units = f"{unit} since {since:%Y-%m-%d %H:%M:%S}"
    number = float(netCDF4.date2num(moment, units, calendar))
    raw = np.full((1, 5, 7), 50.0, np.float32)
    path = write(tmp_path_factory.mktemp("nc") / "a.nc", raw, {"units": "%"}, time=(number, units, calendar))
    span = read_netcdf(path, None, None)[2]
    assert span is not None
    assert abs(span.start - moment.replace(tzinfo=UTC)) <= timedelta(seconds=1)
    assert span.start == span.stop


def test_bounds_of_time_are_the_span(tmp_path: Path) -> None:
    raw = np.full((1, 5, 7), 50.0, np.float32)
    _, _, span, _ = read_netcdf(write(tmp_path / "a.nc", raw, {"units": "%"}, bounds=(43_000.0, 43_001.0)), None, None)
    assert span is not None
    assert span.hours == 24
    assert span.start == datetime(1900, 1, 1, tzinfo=UTC) + timedelta(days=43_000)


@pytest.mark.parametrize("step", [0, 1])
def test_coordinates_that_are_uneven_or_do_not_move_are_refused(step: int, tmp_path: Path) -> None:
    x = X.copy() if step else np.full(7, 5.0)
    x[3] += 9000 * step
    raw = np.full((1, 5, 7), 50.0, np.float32)
    with pytest.raises(LabelError, match="not evenly spaced") as error:
        read_netcdf(write(tmp_path / "a.nc", raw, {"units": "%"}, x=x), None, None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_CLASSIC"])
def test_a_file_that_was_cut_off_is_refused_in_one_line(share: float, kind: str, tmp_path: Path) -> None:
    raw = np.random.default_rng(1).uniform(0, 100, (1, 5, 7)).astype(np.float32)
    path = write(tmp_path / "a.nc", raw, {"units": "%"}, kind=kind)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(LabelError) as error:
        read_netcdf(path, None, None)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
