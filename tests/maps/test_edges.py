"""Ice edge and class polygons, against brute force over pixels and geodesic polygons."""

import numpy as np
import pytest
import rasterio.features
import shapely
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyproj import Geod, Transformer

from frazil.conventions import BINARY, CLASS_LAND, CLASS_NODATA, FIVE_CLASSES, UNDECIDED
from frazil.errors import ContractError, OptionError
from frazil.maps.areas import PixelAreas
from frazil.maps.edges import ice_edge
from frazil.maps.polygons import ice_polygons
from frazil.scene.grid import MapGrid
from frazil.testing import make_map

GEOD = Geod(ellps="WGS84")
CODES = arrays(
    np.uint8,
    st.tuples(st.integers(2, 14), st.integers(2, 14)),
    elements=st.sampled_from([0, 1, 2, 3, 4, CLASS_LAND, CLASS_NODATA]),
    fill=st.nothing(),
)
PLACES = [("EPSG:3413", (0, 90)), ("EPSG:3413", (-10, 60)), ("EPSG:3413", (180, 75)), ("EPSG:3976", (30, -65))]
PLACES += [("EPSG:32633", (16, 78)), ("EPSG:3575", (-40, 80))]


def pixel_area_km2(grid: MapGrid, row: int, column: int) -> float:
    """Area of one pixel from its four corners on the ellipsoid."""
    x = grid.left + np.array([column, column + 1, column + 1, column]) * grid.spacing_m
    y = grid.top - np.array([row, row, row + 1, row + 1]) * grid.spacing_m
    longitude, latitude = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(x, y)
    return abs(GEOD.polygon_area_perimeter(longitude, latitude)[0]) / 1e6


def brute_areas(grid: MapGrid, codes: np.ndarray) -> dict[int, float]:
    out: dict[int, float] = {}
    for (row, column), code in np.ndenumerate(codes):
        out[int(code)] = out.get(int(code), 0.0) + pixel_area_km2(grid, row, column)
    return out


def pixels_inside(polygon: shapely.Polygon, grid: MapGrid) -> np.ndarray:
    return rasterio.features.rasterize([polygon], grid.shape, transform=grid.transform).astype(bool)


@pytest.mark.parametrize(("crs", "centre"), PLACES)
def test_pixel_areas_are_those_of_geodesic_polygons(crs: str, centre: tuple[float, float]) -> None:
    grid = MapGrid.of(make_map(shape=(300, 200), crs=crs, centre=centre, spacing_m=500))
    areas = PixelAreas(grid)
    for row, column in [(0, 0), (150, 100), (149, 99), (299, 199), (64, 63), (200, 5)]:
        expected = pixel_area_km2(grid, row, column)
        # a geodesic is not a straight line of the map: 1e-4 of a 500 m pixel is 25 m²
        assert areas.rows(row, row + 1)[0, column] == pytest.approx(expected, rel=1e-4)
    whole = np.vstack([area for _, area in areas.blocks()])
    assert whole.shape == grid.shape
    np.testing.assert_array_equal(whole[290:300], areas.rows(290, 300))


def test_distortion_counts() -> None:
    """A map at 60° N of a projection true at 70° N is off by 7 percent, which is what the areas correct."""
    grid = MapGrid.of(make_map(shape=(4, 4), centre=(-45, 60)))
    assert PixelAreas(grid).rows(0, 1)[0, 0] / 0.12**2 == pytest.approx(0.9255, abs=2e-4)


@pytest.mark.parametrize(("crs", "centre"), PLACES)
def test_polygons_without_sieve_have_the_areas_of_the_pixels(crs: str, centre: tuple[float, float]) -> None:
    ice_map = make_map(shape=(40, 50), crs=crs, centre=centre, spacing_m=2000)
    grid = MapGrid.of(ice_map)
    polygons = ice_polygons(ice_map, min_area_km2=0, simplify_m=0)
    expected = brute_areas(grid, ice_map["ice_class"].values)
    found = polygons.groupby("code")["area_km2"].sum()
    for code in found.index:
        assert found[code] == pytest.approx(expected[code], rel=2e-4)
    assert polygons.area.sum() == pytest.approx(polygons.union_all().area, rel=1e-12)  # no overlap
    assert shapely.is_valid(polygons.geometry.values).all()
    assert polygons.crs.to_epsg() == int(crs.split(":")[1])


def test_polygons_hold_the_pixels_of_their_class() -> None:
    ice_map = make_map(shape=(60, 70), noise=0.3)
    grid = MapGrid.of(ice_map)
    polygons = ice_polygons(ice_map, min_area_km2=0, simplify_m=0)
    codes, confidence = ice_map["ice_class"].values, ice_map["confidence"].values.astype(float)
    for row in polygons.itertuples():
        inside = pixels_inside(row.geometry, grid)
        assert set(codes[inside]) == {row.code}
        assert row.mean_confidence == pytest.approx(confidence[inside].mean(), abs=0.051)  # rounded to 0.1
    assert list(polygons["area_km2"]) == sorted(polygons["area_km2"], reverse=True)
    first = polygons.iloc[0]
    assert first["name"] == FIVE_CLASSES.classes[first["code"]].name
    assert first["sigrid3"] == ",".join(FIVE_CLASSES.classes[first["code"]].sigrid3)
    assert first["product"] == ice_map.attrs["product"]


@pytest.mark.parametrize("noise", [0.3, 1.5])
def test_sieved_and_simplified_polygons(noise: float) -> None:
    ice_map = make_map(shape=(300, 280), noise=noise)
    grid = MapGrid.of(ice_map)
    polygons = ice_polygons(ice_map)
    assert (polygons["area_km2"] >= 1).all()
    assert shapely.coverage_is_valid(polygons.geometry.values)  # neighbours share their corners: no slivers
    assert shapely.is_valid(polygons.geometry.values).all()
    assert polygons.area.sum() == pytest.approx(polygons.union_all().area, rel=1e-9)
    sea = sum(PixelAreas(grid).by_code(ice_map["ice_class"].values)[:CLASS_LAND])
    assert 0.97 * sea < polygons["area_km2"].sum() <= sea * (1 + 1e-6)  # the rest: specks enclosed by land
    assert polygons.area.sum() / 1e6 * sea / (len_sea(ice_map) * 0.0144) == pytest.approx(
        polygons["area_km2"].sum(), rel=5e-3
    )


def len_sea(ice_map: xr.Dataset) -> int:
    return int((ice_map["ice_class"].values < CLASS_LAND).sum())


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(codes=CODES, min_area_km2=st.sampled_from([0.0, 0.03, 0.1, 1.0]))
def test_polygons_cover_the_sea_but_for_specks(codes: np.ndarray, min_area_km2: float) -> None:
    ice_map = make_map(codes=codes)
    grid = MapGrid.of(ice_map)
    polygons = ice_polygons(ice_map, min_area_km2=min_area_km2, simplify_m=0)
    sea = codes < 5
    covered = np.zeros(codes.shape, int)
    for row in polygons.itertuples():
        covered += pixels_inside(row.geometry, grid)
    assert covered.max(initial=0) <= 1
    assert not covered[~sea].any()
    area = np.vstack([block for _, block in PixelAreas(grid).blocks()])
    assert polygons["area_km2"].sum() == pytest.approx(area[covered > 0].sum(), abs=1e-4)
    assert (polygons["area_km2"] >= min_area_km2 - 1e-4).all()
    if min_area_km2 == 0:
        assert (covered > 0).sum() == sea.sum()
    assert shapely.is_valid(polygons.geometry.values).all()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(codes=CODES, smooth_m=st.sampled_from([0.0, 400.0]), min_area_km2=st.sampled_from([0.0, 0.05]))
def test_the_edge_keeps_off_land_nodata_and_the_border(codes: np.ndarray, smooth_m: float, min_area_km2: float) -> None:
    ice_map = make_map(codes=codes)
    grid = MapGrid.of(ice_map)
    edge = ice_edge(ice_map, smooth_m=smooth_m, min_area_km2=min_area_km2)
    sea = codes < 5
    for line in edge.geometry:
        points = shapely.get_coordinates(shapely.segmentize(line, grid.spacing_m / 7))
        column = (points[:, 0] - grid.x[0]) / grid.spacing_m
        row = (grid.y[0] - points[:, 1]) / grid.spacing_m
        assert column.min() >= -1e-6
        assert row.min() >= -1e-6
        for i in (np.floor(row + 1e-4), np.ceil(row - 1e-4)):
            for j in (np.floor(column + 1e-4), np.ceil(column - 1e-4)):
                assert sea[i.astype(int), j.astype(int)].all()
    assert (edge["length_km"] > 0).all() or not len(edge)


def test_a_straight_edge() -> None:
    codes = np.zeros((300, 100), np.uint8)  # higher than two bands, so that pieces must be joined
    codes[:, :40] = 1
    ice_map = make_map(codes=codes, scheme=BINARY, centre=(-45, 62))
    grid = MapGrid.of(ice_map)
    edge = ice_edge(ice_map, smooth_m=0)
    assert len(edge) == 1
    x = shapely.get_coordinates(edge.geometry[0])[:, 0]
    np.testing.assert_allclose(x, grid.x[39] + 60, atol=1e-3)  # half a pixel after the last column of ice
    longitude, latitude = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(
        [x[0]] * 2, [grid.y[0], grid.y[-1]]
    )
    assert edge["length_km"][0] == pytest.approx(
        GEOD.inv(longitude[0], latitude[0], longitude[1], latitude[1])[2] / 1000, abs=1e-3
    )
    assert edge["length_km"][0] < 0.98 * 299 * 0.12  # the map stretches at 62° N
    assert edge["mean_confidence"][0] == 80


def test_a_circle_is_one_closed_line() -> None:
    y, x = np.mgrid[:400, :400]
    codes = (np.hypot(x - 199.5, y - 199.5) < 150).astype(np.uint8)
    edge = ice_edge(make_map(codes=codes, scheme=BINARY, centre=(-45, 71)), smooth_m=600)
    assert len(edge) == 1
    assert edge.geometry[0].is_ring
    assert edge["length_km"][0] == pytest.approx(2 * np.pi * 150 * 0.12, rel=0.03)


def test_specks_have_no_edge_of_their_own() -> None:
    codes = np.zeros((60, 60), np.uint8)
    codes[:, 30:] = 1
    codes[10, 10] = codes[40:43, 10:13] = 1  # specks of ice in water
    codes[20:22, 50:53] = 0  # of water in ice
    ice_map = make_map(codes=codes, scheme=BINARY)
    assert len(ice_edge(ice_map, smooth_m=0)) == 1
    assert len(ice_edge(ice_map, smooth_m=0, min_area_km2=0.1)) == 2
    assert len(ice_edge(ice_map, smooth_m=0, min_area_km2=0)) == 4


def test_the_threshold_moves_the_edge() -> None:
    ice_map = make_map(codes=np.zeros((30, 101), np.uint8), scheme=BINARY)
    ice_map["ice_probability"].values[:] = np.arange(101)
    ice_map["ice_class"].values[:] = np.arange(101) >= 50
    for threshold in (15, 50, 99):
        edge = ice_edge(ice_map, threshold_percent=threshold, smooth_m=0, min_area_km2=0)
        x = shapely.get_coordinates(edge.geometry[0])[:, 0]
        np.testing.assert_allclose(x, ice_map["x"].values[threshold] - 60, atol=1e-3)


@pytest.mark.parametrize("code", [0, 1, CLASS_LAND, CLASS_NODATA])
def test_uniform_maps(code: int) -> None:
    ice_map = make_map(codes=np.full((30, 20), code, np.uint8))
    edge, polygons = ice_edge(ice_map), ice_polygons(ice_map)
    assert len(edge) == 0
    assert edge.crs == polygons.crs == "EPSG:3413"
    assert {"length_km", "mean_confidence", "product"} <= set(edge.columns)
    assert {"code", "title", "sigrid3", "area_km2", "mean_confidence"} <= set(polygons.columns)
    if code in (0, 1):
        assert list(polygons["code"]) == [code]
        assert polygons.area[0] == pytest.approx(600 * 120**2)
    else:
        assert len(polygons) == 0


def test_wrong_arguments() -> None:
    ice_map = make_map(shape=(20, 20))
    with pytest.raises(OptionError, match="threshold_percent is 0"):
        ice_edge(ice_map, threshold_percent=0)
    with pytest.raises(OptionError, match="min_area_km2 is -1"):
        ice_polygons(ice_map, min_area_km2=-1)
    with pytest.raises(OptionError, match="smooth_m is nan"):
        ice_edge(ice_map, smooth_m=float("nan"))
    with pytest.raises(ContractError, match="projected grid"):
        ice_edge(ice_map.rename(y="line", x="pixel").drop_vars("spatial_ref"))
    with pytest.raises(ContractError, match="not a map"):
        ice_polygons(ice_map.drop_vars("confidence"))


def test_the_edge_keeps_to_the_pixels_of_the_classes() -> None:
    """On a map with pixel noise lines cross between two pixels if, and only if, one is called ice and one water."""
    ice_map = make_map(shape=(90, 110), noise=0.4, land=0, border=False, confidence_percent=0)
    ice = ice_map["ice_class"].values > 0
    grid = MapGrid.of(ice_map)
    xy = shapely.get_coordinates(ice_edge(ice_map, min_area_km2=0).geometry.values)
    column, row = (xy[:, 0] - grid.x[0]) / grid.spacing_m, (grid.y[0] - xy[:, 1]) / grid.spacing_m
    down = np.abs(column - np.rint(column)) < 1e-3
    crossed = np.zeros((2, *ice.shape), bool)  # between a pixel and the next one down, and the next one to the right
    crossed[0, np.floor(row[down]).astype(int), np.rint(column[down]).astype(int)] = True
    crossed[1, np.rint(row[~down]).astype(int), np.floor(column[~down]).astype(int)] = True
    np.testing.assert_array_equal(crossed[0, :-1], ice[1:] != ice[:-1])
    np.testing.assert_array_equal(crossed[1, :, :-1], ice[:, 1:] != ice[:, :-1])


def test_the_edge_ends_where_the_map_is_widely_undecided() -> None:
    codes = np.zeros((100, 100), np.uint8)
    codes[:, 50:] = 3
    codes[40:60, 40:60] = UNDECIDED  # 2.4 km wide
    codes[80:, 49:51] = UNDECIDED  # a seam
    ice_map = make_map(codes=codes)
    rows = (MapGrid.of(ice_map).y[0] - shapely.get_coordinates(ice_edge(ice_map).geometry.values)[:, 1]) / 120
    assert rows.min() == pytest.approx(0, abs=1e-6)
    assert rows.max() == pytest.approx(99, abs=1e-6)
    assert not ((rows > 41) & (rows < 58)).any()
    assert ((rows > 80) & (rows < 99)).any()
    assert len(ice_edge(ice_map)) == 2
    around = ice_edge(ice_map, threshold_percent=80)
    assert len(around) == 1


def test_undecided_areas_are_polygons() -> None:
    codes = np.zeros((60, 60), np.uint8)
    codes[20:40, 20:40] = UNDECIDED
    polygons = ice_polygons(make_map(codes=codes), simplify_m=0)
    assert list(polygons["code"]) == [0, UNDECIDED]
    assert list(polygons["name"]) == ["open_water", "undecided"]
    assert list(polygons["sigrid3"]) == ["02", ""]
    assert polygons.area[1] == pytest.approx(400 * 120**2)
    assert polygons["mean_confidence"][1] == 50
