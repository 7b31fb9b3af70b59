"""Attributes by which catalogues find a file: extents of rings anywhere on Earth, and what stands in files."""

from __future__ import annotations

from pathlib import Path

import h5netcdf
import numpy as np
import pytest
from pyproj import Geod

from frazil import export, open_map, open_scene
from frazil.scene.discovery import DISCOVERY, border, discovery_attrs
from frazil.scene.save import save_scene
from frazil.testing import make_map, make_phenomena_map

ATTRS = {"product": "P", "start_time": "2024-01-01T23:59:30Z", "stop_time": "2024-01-02T00:00:30Z"}


def found(longitude: np.ndarray, latitude: np.ndarray) -> dict[str, object]:
    return discovery_attrs(ATTRS, (longitude, latitude), summary="s", keywords="k", level="l")


@pytest.mark.parametrize(
    ("centre", "km"), [((15.0, 70.0), 200), ((179.5, 72.0), 300), ((-179.0, -75.0), 300), ((30.0, 0.0), 100)]
)
@pytest.mark.parametrize("turn", [1, -1])
def test_the_extent_of_a_circle(centre: tuple[float, float], km: float, turn: int) -> None:
    """Against the places due north, south, and those of sharpest bearing east and west."""
    azimuth = turn * np.arange(0, 360, 0.5)
    n = azimuth.size
    start = [np.full(n, v) for v in centre]
    lon, lat, _ = Geod(ellps="WGS84").fwd(start[0], start[1], azimuth, np.full(n, km * 1000.0))
    told = found(np.asarray(lon), np.asarray(lat))
    off = (np.asarray(lon) - centre[0] + 180) % 360 - 180
    for name, wanted in (("min", off.min()), ("max", off.max())):
        value = told[f"geospatial_lon_{name}"]
        assert isinstance(value, float)
        assert abs((value - (centre[0] + wanted) + 180) % 360 - 180) < 1e-5
        assert -180 <= value <= 180
    assert told["geospatial_lat_min"] == pytest.approx(min(lat), abs=1e-5)
    assert told["geospatial_lat_max"] == pytest.approx(max(lat), abs=1e-5)


def test_a_ring_round_a_pole() -> None:
    lon = np.arange(-180, 180, 5.0)
    names = ("geospatial_lon_min", "geospatial_lon_max", "geospatial_lat_min", "geospatial_lat_max")
    north, south = (found(lon, np.full(lon.size, lat)) for lat in (80.0, -70.0))
    assert [north[n] for n in names] == [-180, 180, 80, 90]
    assert [south[n] for n in names] == [-180, 180, -90, -70]


def test_the_border_goes_once_round() -> None:
    values = np.arange(12).reshape(3, 4)
    assert border(values).tolist() == [0, 1, 2, 3, 7, 11, 10, 9, 8, 4]


def test_time() -> None:
    assert found(np.arange(4.0), np.arange(4.0))["time_coverage_duration"] == "PT60S"
    ring = np.arange(4.0), np.arange(4.0)
    for start, stop in (("yesterday", "today"), (ATTRS["stop_time"], ATTRS["start_time"])):
        attrs = {"product": "P", "start_time": start, "stop_time": stop}
        assert "time_coverage_duration" not in discovery_attrs(attrs, ring, summary="s", keywords="k", level="l")
    mixed = {"product": "P", "start_time": "2024-01-01T00:00:00.123456", "stop_time": "2024-01-01T01:00:10+01:00"}
    assert discovery_attrs(mixed, ring, summary="s", keywords="k", level="l")["time_coverage_duration"] == "PT10S"


@pytest.mark.parametrize("make", [make_map, make_phenomena_map])
def test_maps(make: object, tmp_path: Path) -> None:
    made = make(shape=(60, 50))  # type: ignore[operator] # one of two functions
    export(made, tmp_path / "m", formats=["netcdf"])
    with h5netcdf.File(tmp_path / "m" / "map.nc") as file:
        told = dict(file.attrs)
        contents = {n: v.attrs.get("coverage_content_type") for n, v in file.variables.items()}
    assert told["id"] == made.attrs["product"]
    assert "ACDD-1.3" in told["Conventions"]
    assert set(DISCOVERY) - set(told) <= {"acknowledgement"}
    assert all(contents[str(name)] for name in made.data_vars)
    assert contents["quality_flags"] == "qualityInformation"
    again = open_map(tmp_path / "m")
    assert not set(DISCOVERY) & set(again.attrs)
    assert not any("coverage_content_type" in v.attrs for v in again.variables.values())


def test_scenes(small_safe: Path, tmp_path: Path) -> None:
    scene = open_scene(small_safe, looks=6)
    save_scene(scene, tmp_path / "s.nc")
    with h5netcdf.File(tmp_path / "s.nc") as file:
        told = dict(file.attrs)
        assert file.variables["sigma0"].attrs["coverage_content_type"] == "physicalMeasurement"
    assert told["geospatial_lat_max"] == pytest.approx(float(scene["tie_latitude"].max()), abs=1e-5)
    assert told["acknowledgement"] == scene.attrs["attribution"]
