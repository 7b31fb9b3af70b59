"""Charts of maps: a partition of what was seen, whose eggs are those of the pixels inside."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import shapely
import xarray as xr
from rasterio.features import rasterize
from rasterio.transform import from_origin
from scipy import ndimage

from frazil.charts.chart import make_chart
from frazil.charts.eggs import EGG_COLUMNS, egg_of
from frazil.charts.mixtures import mixtures
from frazil.conventions import BINARY, CLASS_LAND, CLASS_NODATA, FIVE_CLASSES, QUALITY_FLAGS, UNDECIDED, ClassScheme
from frazil.errors import ContractError, OptionError
from frazil.labels.chart import rasterize_chart
from frazil.maps.areas import PixelAreas
from frazil.scene.grid import MapGrid
from frazil.testing import make_map

SMALL: dict[str, Any] = {"min_area_km2": 2.0, "polygons": 12, "cell_m": 500.0}


def owners(chart: object, ice_map: xr.Dataset) -> np.ndarray:
    """Row of the chart whose polygon holds the middle of each pixel, −1 outside."""
    grid = MapGrid.of(ice_map)
    place = from_origin(grid.left, grid.top, grid.spacing_m, grid.spacing_m)
    shapes = ((shape, k) for k, shape in enumerate(chart.geometry))  # type: ignore[attr-defined]
    return np.asarray(rasterize(shapes, out_shape=grid.shape, transform=place, fill=-1, dtype="int32"))


@pytest.mark.parametrize(
    ("seed", "crs", "scheme", "simplify"),
    [
        (0, "EPSG:3413", FIVE_CLASSES, 0.0),
        (1, "EPSG:3031", FIVE_CLASSES, 0.0),
        (2, "EPSG:32633", BINARY, 0.0),
        (3, "EPSG:3413", FIVE_CLASSES, None),
        (4, "EPSG:3413", FIVE_CLASSES, 600.0),
        (5, "EPSG:3413", FIVE_CLASSES, None),
    ],
)
def test_a_chart_is_a_partition_with_the_eggs_of_its_pixels(
    seed: int, crs: str, scheme: ClassScheme, simplify: float | None
) -> None:
    centre = (15.0, 80.0) if crs != "EPSG:3031" else (60.0, -66.0)
    m = make_map(seed=seed, crs=crs, scheme=scheme, centre=centre, land=0.15)
    chart = make_chart(m, simplify_m=simplify, **SMALL)
    shapes = chart.geometry.values
    assert chart.is_valid.all()
    assert set(chart.geom_type) == {"Polygon"}
    assert shapely.coverage_is_valid(shapes)
    assert shapely.union_all(shapes).area == pytest.approx(shapely.area(shapes).sum(), rel=1e-9)
    codes, owner = m["ice_class"].values, owners(chart, m)
    areas = PixelAreas(MapGrid.of(m)).rows(0, len(codes))
    if simplify == 0.0:
        assert ((owner >= 0) == (codes != CLASS_NODATA)).all()  # nodata of a scene lies outside it
        np.testing.assert_allclose(np.bincount(owner[owner >= 0], areas[owner >= 0]), chart["area_km2"], rtol=1e-6)
        kind = np.append(chart["POLY_TYPE"].to_numpy(str), "")[owner]
        changed = (kind == "L") != (codes == CLASS_LAND)
        specks, n = ndimage.label(changed)
        assert ndimage.sum_labels(areas, specks, range(1, n + 1)).max(initial=0) < 1.5  # islands and ponds of 1 km²
        region = np.append(chart["region"].to_numpy(int), -1)[owner]
        silent = np.uint16(QUALITY_FLAGS["border"][0] | QUALITY_FLAGS["noise_missing"][0])
        for k, rows in chart[chart["region"] >= 0].groupby("region"):
            inside = (region == k) & (codes < CLASS_LAND) & ((m["quality_flags"].values & silent) == 0)
            shares = [np.average(p[inside], weights=areas[inside]) / 100 for p in m["probability"].values]
            undecided = np.average(codes[inside] == UNDECIDED, weights=areas[inside])
            egg = egg_of(shares, scheme, undecided).columns()
            assert [rows.iloc[0][c] for c in EGG_COLUMNS] == [egg[c] for c in EGG_COLUMNS]
            assert rows.iloc[0]["ice_percent"] == pytest.approx(100 - 100 * shares[0], abs=0.1)
            assert rows[list(EGG_COLUMNS)].drop_duplicates().shape[0] == 1
    at_sea = chart[chart["region"] >= 0]
    assert at_sea["region"].nunique() <= SMALL["polygons"]
    for (_, a), (_, b) in itertools.combinations(at_sea.iterrows(), 2):
        if a.geometry.intersection(b.geometry).length > 0:
            assert [a[c] for c in EGG_COLUMNS] != [b[c] for c in EGG_COLUMNS]
    assert chart["area_km2"].is_monotonic_decreasing


def test_small_regions_are_joined_and_large_ones_kept() -> None:
    codes = np.full((300, 300), 3, np.uint8)
    codes[:, :100] = 0
    codes[140:150, 200:210] = 0  # 1.4 km²: below the least area
    codes[200:260, 200:260] = 1  # 52 km²
    chart = make_chart(make_map(codes=codes), min_area_km2=25.0)
    assert len(chart) == 3
    shares = chart[[f"share_{c.name}" for c in FIVE_CLASSES.classes]].to_numpy()
    assert shares.argmax(axis=1).tolist() == [3, 0, 1]
    assert shares.max(axis=1).min() > 70  # of 80: little of a neighbour
    assert chart["area_km2"].min() == pytest.approx(52, rel=0.2)  # half a cell around it


def test_borders_lie_where_the_mixture_changes() -> None:
    codes = np.full((240, 240), 4, np.uint8)
    y, x = np.mgrid[:240, :240]
    water = (y - 120) ** 2 + (x - 120) ** 2 < 60**2
    codes[water] = 0
    m = make_map(codes=codes)
    chart = make_chart(m, min_area_km2=5.0)
    owner = owners(chart, m)
    assert len(chart) == 2
    wrong = (owner == 1) != water
    assert wrong.sum() < 2 * 2 * np.pi * 60  # two pixels along the border, where a cell has eight
    hole = chart.geometry.iloc[1]
    roundness = 4 * np.pi * hole.area / hole.length**2
    assert roundness > 0.8  # of stairs it would be 0.62


def test_undecided_areas_silent_pixels_and_holes() -> None:
    codes = np.full((240, 240), 3, np.uint8)
    codes[:, 160:] = UNDECIDED
    codes[40:120, 20:100] = CLASS_NODATA
    m = make_map(codes=codes)
    m["quality_flags"].values[:, 120:160] |= np.uint16(QUALITY_FLAGS["noise_missing"][0])
    m["probability"].values[:, :, 120:160] = np.array([100, 0, 0, 0, 0], np.uint8)[:, None, None]
    chart = make_chart(m, min_area_km2=10.0)
    by_type = chart.set_index("POLY_TYPE")
    assert sorted(chart["POLY_TYPE"]) == ["I", "I", "N"]
    assert by_type.loc["N", "area_km2"] == pytest.approx(80 * 80 * 0.0144, rel=0.1)
    assert sorted(by_type.loc["I", "CT"]) == ["91", "99"]  # the silent water counts for nothing
    assert np.isnan(by_type.loc["N", "ice_percent"])


def test_cells_are_means_of_their_pixels() -> None:
    m = make_map(seed=3, shape=(70, 95))
    cells = mixtures(m, 1000.0)
    assert cells.side == 8
    assert cells.shares.shape == (5, 9, 12)
    codes, flags = m["ice_class"].values, m["quality_flags"].values
    tells = (codes < CLASS_LAND) & ((flags & (QUALITY_FLAGS["border"][0] | QUALITY_FLAGS["noise_missing"][0])) == 0)
    for r, c in np.ndindex(9, 12):
        block = np.s_[8 * r : 8 * r + 8, 8 * c : 8 * c + 8]
        here = tells[block]
        want = [p[block][here].mean() / 100 if here.any() else 0 for p in m["probability"].values]
        np.testing.assert_allclose(cells.shares[:, r, c], want, atol=1e-3)
        assert cells.sea_km2[r, c] == pytest.approx((codes[block] < CLASS_LAND).sum() * 0.0144, rel=0.1)
        if here.any():
            assert cells.undecided[r, c] == pytest.approx((codes[block][here] == UNDECIDED).mean(), abs=1e-3)


def test_a_chart_is_read_as_one() -> None:
    """`frazil.rasterize_chart` and its users take what `make_chart` gives."""
    m = make_map(seed=6)
    chart = make_chart(m, simplify_m=0.0, **SMALL)
    found = rasterize_chart(chart, like=m)
    owner = owners(chart, m)
    want = np.append(chart["ice_percent"].to_numpy(float) / 100, np.nan)[owner]
    undecided = np.append(chart["CT"].to_numpy(str), "")[owner] == "99"
    told = found["sic"].values
    assert np.isnan(told[undecided | np.isnan(want)]).all()
    assert np.nanmax(np.abs(told - np.where(undecided, np.nan, want))) <= 0.051
    assert (
        found["ice_class"].values[np.append(chart["POLY_TYPE"].to_numpy(str), "")[owner] == "L"] == CLASS_LAND
    ).all()


def test_maps_without_sea_and_impossible_sizes() -> None:
    land = make_map(codes=np.full((40, 40), CLASS_LAND, np.uint8))
    with pytest.raises(ContractError, match="holds no observed sea"):
        make_chart(land)
    m = make_map(shape=(60, 60))
    with pytest.raises(OptionError, match=r"min_area_km2 is 5000, and the map holds \d+ km² of sea"):
        make_chart(m, min_area_km2=5000)
    with pytest.raises(OptionError, match="polygons is 0"):
        make_chart(m, polygons=0)
    with pytest.raises(OptionError, match="smaller than the map's pixels"):
        make_chart(m, cell_m=20, min_area_km2=1)
    with pytest.raises(OptionError, match="min_area_km2 is -1"):
        make_chart(m, min_area_km2=-1)


def test_one_class_everywhere_is_one_polygon() -> None:
    chart = make_chart(make_map(codes=np.full((80, 90), 2, np.uint8)), min_area_km2=5)
    assert len(chart) == 1
    assert chart["ice_percent"][0] == pytest.approx(95, abs=1)
