"""Map grids and the warp: places, coordinates and values survive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS

from frazil.errors import ContractError, OptionError
from frazil.memory import available_bytes, require_memory
from frazil.scene.geolocation import Geolocation
from frazil.scene.grid import MapGrid, grid_for, plan_warp
from frazil.simulate.scene import simulate_scene
from tests.scene.test_geolocation import PLACES, around


def scene_at(geo: Geolocation, step: int = 20) -> xr.Dataset:
    """A scene whose sigma0 planes are its own line and pixel numbers."""
    line, pixel = np.arange(step / 2, 10000, step), np.arange(step / 2, 10000, step)
    values = np.stack(np.meshgrid(line, pixel, indexing="ij")).astype(np.float32)
    ties = ("tie_line", "tie_pixel")
    return xr.Dataset(
        {
            "sigma0": (("polarization", "line", "pixel"), values),
            "tie_latitude": (ties, geo.latitude),
            "tie_longitude": (ties, geo.longitude),
            "tie_height": (ties, geo.height),
        },
        {"line": line, "pixel": pixel, "tie_line": geo.line, "tie_pixel": geo.pixel},
        {"spacing_m": 40.0 * step},
    )


@pytest.mark.parametrize("place", sorted(PLACES))
def test_warped_values_stand_where_they_belong(place: str) -> None:
    """Line and pixel numbers, warped, must equal Newton's answer at each map pixel: under half a pixel everywhere."""
    latitude, longitude, _ = PLACES[place]
    geo = around(latitude, longitude)
    scene = scene_at(geo)
    grid = grid_for(scene, spacing_m=2000.0)
    warp = plan_warp(scene, grid)
    line_map, pixel_map = warp.bilinear(scene.sigma0.values[0]), warp.bilinear(scene.sigma0.values[1])
    x, y = np.meshgrid(grid.x, grid.y)
    line, pixel = geo.line_pixel(x, y, grid.pyproj_crs)
    inside = np.isfinite(line_map) & (line > 10) & (line < 9990) & (pixel > 10) & (pixel < 9990)
    assert inside.mean() > 0.4
    assert np.max(np.abs(line_map - line)[inside]) < 0.5
    assert np.max(np.abs(pixel_map - pixel)[inside]) < 0.5
    nearest = warp.nearest(scene.sigma0.values[0], fill=-1)
    assert np.max(np.abs(nearest - line)[inside]) <= 10.5  # half of the 20-pixel step, and half a pixel
    assert np.all(nearest[~np.isfinite(line_map)] == -1)
    # Every scene pixel lies inside the grid.
    bx, by = geo.outline(grid.pyproj_crs)
    left, bottom, right, top = grid.bounds
    assert left <= bx.min()
    assert bx.max() <= right
    assert bottom <= by.min()
    assert by.max() <= top


@pytest.mark.parametrize("place", sorted(PLACES))
@pytest.mark.parametrize("spacing_m", [2000.0, 9000.0, 40_000.0])
def test_no_pixel_of_the_scene_is_lost(place: str, spacing_m: float) -> None:
    """Maps of few pixels, too, show all of the scene: Newton's method at each pixel says which."""
    latitude, longitude, _ = PLACES[place]
    scene = scene_at(around(latitude, longitude), step=100)
    grid = grid_for(scene, spacing_m=spacing_m)
    x, y = np.meshgrid(grid.x, grid.y)
    line, pixel = Geolocation.of(scene).line_pixel(x, y, grid.pyproj_crs)
    there = (line > 10) & (line < 9990) & (pixel > 10) & (pixel < 9990)
    assert there.any()
    assert np.isfinite(plan_warp(scene, grid).bilinear(scene.sigma0.values[0]))[there].all()


def test_missing_pixels_do_not_spread() -> None:
    scene = scene_at(around(75.0, 20.0))
    values = np.ones((500, 500), np.float32)
    values[100:110, 100:110] = np.nan
    warp = plan_warp(scene, grid_for(scene, spacing_m=400.0))
    warped = warp.bilinear(values)
    assert np.nanmin(warped) == np.nanmax(warped) == 1.0
    counted = warp.bilinear(np.where(np.isnan(values), 255, 1).astype(np.uint8), missing=255)
    np.testing.assert_array_equal(np.isnan(counted), np.isnan(warped))


@settings(max_examples=30, deadline=None)
@given(
    left=st.integers(-40, 40),
    top=st.integers(-40, 40),
    spacing=st.sampled_from([40.0, 100.0, 120.0, 333.3]),
    rows=st.integers(2, 9),
    columns=st.integers(2, 9),
    crs=st.sampled_from(["EPSG:3413", "EPSG:3031", "EPSG:32633"]),
)
def test_coordinates_give_the_grid_back(left: int, top: int, spacing: float, rows: int, columns: int, crs: str) -> None:
    grid = MapGrid(crs=crs, left=left * spacing, top=top * spacing, spacing_m=spacing, shape=(rows, columns))
    back = MapGrid.of(xr.Dataset(coords=grid.coords()))
    assert back.crs == crs
    assert back.shape == grid.shape
    np.testing.assert_allclose(back.bounds, grid.bounds, atol=1e-6)
    x, y = grid.transform * (0.5, 0.5)
    assert (x, y) == pytest.approx((grid.x[0], grid.y[0]))


@pytest.mark.parametrize(
    ("crs", "words"),
    [("EPSG:4326", "not projected in metres"), ("EPSG:999999", "unknown to PROJ"), ("EPSG:3395", "seam")],
)
def test_unfit_projections_are_refused(crs: str, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        grid_for(scene_at(around(72.0, 180.0)), crs=crs, spacing_m=1000.0)


def test_neighbouring_scenes_share_pixel_edges() -> None:
    one = grid_for(scene_at(around(75.0, 20.0)), spacing_m=120.0)
    two = grid_for(scene_at(around(76.1, 23.7)), spacing_m=120.0)
    assert (one.left - two.left) % 120.0 == 0
    assert (one.top - two.top) % 120.0 == 0


@pytest.mark.parametrize("spacing", [0.0, -5.0, 1e6])
def test_absurd_spacing(spacing: float) -> None:
    with pytest.raises(OptionError, match="spacing_m"):
        grid_for(scene_at(around(75.0, 20.0)), spacing_m=spacing)


def test_uneven_or_missing_coordinates_are_no_grid() -> None:
    with pytest.raises(ContractError, match="spatial_ref"):
        MapGrid.of(xr.Dataset(coords={"x": [0.0, 1.0], "y": [1.0, 0.0]}))
    grid = MapGrid(crs="EPSG:3413", left=0, top=0, spacing_m=10, shape=(3, 3))
    bent = xr.Dataset(coords=grid.coords()).assign_coords(y=[0.0, -1.0, -5.0])
    with pytest.raises(ContractError, match="evenly spaced"):
        MapGrid.of(bent)
    assert CRS.from_user_input(grid.crs).is_projected


@pytest.mark.parametrize(
    ("place", "crs", "words"),
    [
        ("mid", "EPSG:3031", "outside the area where"),
        ("mid", "EPSG:32601", "outside the area where"),
        ("mid", "EPSG:3857", "stretches lengths of this scene by a factor of"),
        ("south", "EPSG:3413", "outside the area where"),
        ("mid", "+proj=laea +lat_0=-40 +lon_0=20 +datum=WGS84", "stretches lengths"),
        ("mid", "+proj=stere +lat_0=-90 +lat_ts=-70 +datum=WGS84", "stretches lengths"),
    ],
)
def test_a_crs_that_is_not_made_for_the_place_is_refused(place: str, crs: str, words: str) -> None:
    latitude, longitude, _ = PLACES[place]
    with pytest.raises(OptionError, match=words) as caught:
        grid_for(scene_at(around(latitude, longitude)), crs=crs, spacing_m=800.0)
    assert ("EPSG:3413" in str(caught.value)) or latitude < 0


@pytest.mark.parametrize(
    ("latitude", "longitude", "crs"),
    [
        (75.0, 20.0, "EPSG:32633"),
        (75.0, 20.0, "EPSG:32634"),
        (75.0, 20.0, "EPSG:3575"),
        (55.0, 20.0, "EPSG:3413"),
        (-55.0, 20.0, "EPSG:3031"),
        (40.0, 20.0, "EPSG:3857"),
        (72.0, 180.0, "EPSG:3571"),
        (72.0, 180.0, "EPSG:32601"),
    ],
)
def test_a_crs_that_fits_well_enough_is_taken(latitude: float, longitude: float, crs: str) -> None:
    assert min(grid_for(scene_at(around(latitude, longitude)), crs=crs, spacing_m=4000.0).shape) > 90


@pytest.mark.parametrize(
    ("latitude", "longitude", "crs"),
    [
        (75, 20, "EPSG:3413"),
        (-64, 20, "EPSG:3031"),
        (-18, -70, "EPSG:32719"),
        (0.5, 179.9, "EPSG:32660"),
        (55, 137, "EPSG:32653"),
        (59, -180, "EPSG:32601"),
    ],
)
def test_the_crs_of_a_place(latitude: float, longitude: float, crs: str) -> None:
    """Polar stereographic at 18° S would stretch lengths nearly threefold."""
    geo = around(float(latitude), float(longitude))
    grid = grid_for(scene_at(geo), spacing_m=800.0)
    assert grid.crs == crs
    area = grid.shape[0] * grid.shape[1] * 800.0**2
    assert area < 2.1 * 400_000.0**2


def test_absurd_sizes_are_refused_before_work_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_at(around(75.0, 20.0))
    with pytest.raises(OptionError, match=r"at 2 m has \d+ × \d+ pixels, more than 2e\+09"):
        grid_for(scene, spacing_m=2.0)
    monkeypatch.setattr("frazil.memory.available_bytes", lambda: 10**9)
    with pytest.raises(OptionError, match=r"A map needs about 2.0 GB of memory, but 1.0 GB are free. Think again."):
        require_memory(2e9, "A map", "Think again.")
    require_memory(5e8, "A map", "")


def test_memory_that_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frazil.memory._MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr("frazil.memory._GROUP", tmp_path)
    assert available_bytes() is None
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:     2000 kB\n")
    assert available_bytes() == 2_048_000
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert available_bytes() == 600_000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes() == 2_048_000


def test_planes_at_once_are_planes_one_by_one() -> None:
    scene = simulate_scene(seed=2, spacing_m=960.0)
    warp = plan_warp(scene, grid_for(scene, spacing_m=1000.0))
    rng = np.random.default_rng(0)
    planes = rng.integers(0, 201, (4, scene.sizes["line"], scene.sizes["pixel"])).astype(np.uint8)
    planes[:, rng.random(planes.shape[1:]) < 0.2] = 255
    found = warp.bilinear_planes(planes, 255)
    for plane, values in zip(planes, found, strict=True):
        expected = warp.bilinear(plane, missing=255)
        np.testing.assert_array_equal(values == 255, np.isnan(expected))
        seen = values != 255
        assert np.abs(values[seen] - expected[seen]).max() <= 0.5 + 1e-4
    assert 0.2 < (found[0] != 255).mean() < 0.9
