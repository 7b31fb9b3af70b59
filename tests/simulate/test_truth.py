from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.conventions import FIVE_CLASSES
from frazil.scene.geolocation import Geolocation, TiePoints
from frazil.simulate.instrument import template_product
from frazil.simulate.truth import cell_counts, ground_control_points, regions, write_class_raster, write_polygons
from frazil.simulate.world import World, WorldConfig, make_world

SHAPE = (600, 560)


@pytest.fixture(scope="module")
def ties() -> TiePoints:
    return template_product("ew").bands[0].annotation.ties


@pytest.fixture(scope="module")
def chart(
    tmp_path_factory: pytest.TempPathFactory, ties: TiePoints
) -> tuple[World, np.ndarray, np.ndarray, gpd.GeoDataFrame, int]:
    world = make_world(WorldConfig(seed=8, ice_fraction=0.6, land_fraction=0.1), SHAPE, 600.0)
    lines, pixels = np.arange(SHAPE[0]) * 15.0 + 7, np.arange(SHAPE[1]) * 15.0 + 7
    path = tmp_path_factory.mktemp("truth") / "polygons.gpkg"
    n = write_polygons(path, world.ice_class, lines, pixels, Geolocation.of_ties(ties), 600.0)
    return world, lines, pixels, gpd.read_file(path), n


def test_polygons_cover_the_scene_once(
    chart: tuple[World, np.ndarray, np.ndarray, gpd.GeoDataFrame, int], ties: TiePoints
) -> None:
    _, lines, pixels, table, n = chart
    assert len(table) == n > 5
    assert table.geometry.is_valid.all()
    metres = table.to_crs("EPSG:3413")
    overlap = metres.geometry.area.sum() / metres.geometry.union_all().area
    assert overlap == pytest.approx(1, abs=0.01)
    x, y = Geolocation.of_ties(ties).xy(lines[[0, 0, -1, -1]], pixels[[0, -1, -1, 0]], metres.crs)
    square = 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    assert metres.geometry.area.sum() == pytest.approx(square, rel=0.04)


def test_codes_are_sigrid_3(chart: tuple[World, np.ndarray, np.ndarray, gpd.GeoDataFrame, int]) -> None:
    table = chart[3]
    assert set(table.POLY_TYPE) <= {"I", "W", "L"}
    ice = table[table.POLY_TYPE == "I"]
    assert set(ice.CT) <= {"10", "20", "30", "40", "50", "60", "70", "80", "90", "91", "92"}
    assert set(table.SA) <= {"", "81", "83", "86", "95"}
    assert set(table[table.POLY_TYPE == "W"].CT) <= {"01"}
    assert (ice.SA != "").all()


def test_fractions_are_those_of_the_pixels_inside(
    chart: tuple[World, np.ndarray, np.ndarray, gpd.GeoDataFrame, int], ties: TiePoints
) -> None:
    """Truth pixels that fall into a polygon, counted anew, give its columns back."""
    world, lines, pixels, table, _ = chart
    rows, columns = np.meshgrid(np.arange(0, SHAPE[0], 4), np.arange(0, SHAPE[1], 4), indexing="ij")
    lon, lat = Geolocation.of_ties(ties).lonlat(lines[rows], pixels[columns])
    points = gpd.GeoDataFrame(
        {"code": world.ice_class[rows, columns].ravel()},
        geometry=gpd.points_from_xy(lon.ravel(), lat.ravel()),
        crs="EPSG:4326",
    )
    inside = gpd.sjoin(points, table[["geometry"]], predicate="within")
    checked = 0
    for index, group in inside.groupby("index_right"):
        sea = group[group.code < 5]
        row = table.loc[index]
        if row.POLY_TYPE != "L" and len(sea) > 150:
            for c in FIVE_CLASSES.classes:
                stated = row["water" if c.code == 0 else c.name]
                assert (sea.code == c.code).mean() == pytest.approx(stated, abs=0.15)
            checked += 1
    assert checked >= 3


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(6, 40), columns=st.integers(6, 40), size=st.integers(1, 6), seed=st.integers(0, 99))
def test_cells_count_every_observed_pixel_once(rows: int, columns: int, size: int, seed: int) -> None:
    codes = np.random.default_rng(seed).choice([0, 1, 2, 3, 4, 254, 255], (rows, columns)).astype(np.uint8)
    counts = cell_counts(codes, size)
    assert counts.sum() == (codes != 255).sum()
    assert counts[5].sum() == (codes == 254).sum()


def test_a_uniform_sea_is_one_polygon(ties: TiePoints) -> None:
    shapes, rows = regions(
        np.zeros((90, 90), np.uint8), np.arange(90) * 3.0, np.arange(90) * 3.0, Geolocation.of_ties(ties), 1200.0
    )
    assert len(shapes) == 1
    assert rows[0]["POLY_TYPE"] == "W"
    assert rows[0]["water"] == 1.0


def test_the_class_raster_keeps_codes_and_place(tmp_path: Path, ties: TiePoints) -> None:
    codes = np.random.default_rng(0).integers(0, 5, (60, 50)).astype(np.uint8)
    write_class_raster(tmp_path / "c.tif", codes, ties, 3)
    with rasterio.open(tmp_path / "c.tif") as file:
        np.testing.assert_array_equal(file.read(1), codes)
        points, crs = file.gcps
        assert file.nodata == 255
        assert crs.to_epsg() == 4326
    assert len(points) == ties.line.size * ties.pixel.size
    full = ground_control_points(ties)
    # The centre of block (0, 0) is the centre of pixel (1, 1).
    assert points[0].row * 3 + 1 == pytest.approx(full[0].row)
