"""Scores against areas and distances that are known: half-planes, discs, brute force, and what must always hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyproj import Geod

from frazil.conventions import CLASS_LAND, CLASS_NODATA, QUALITY_FLAGS, UNDECIDED
from frazil.errors import ContractError, LabelError, OptionError, ProductNotFoundError
from frazil.maps.areas import PixelAreas
from frazil.maps.compare import CATEGORIES, Comparison, compare
from frazil.maps.displacement import EdgeLines, displacement, placed_lines
from frazil.maps.edges import edge_between, ice_edge
from frazil.maps.polygons import ice_polygons
from frazil.maps.summary import summarise
from frazil.scene.grid import MapGrid
from frazil.testing import make_map
from tests import reference_files as make

EQUAL_AREA: dict[str, Any] = {"crs": "EPSG:6931", "centre": (20.0, 80.0)}
CODES = arrays(
    np.uint8,
    (9, 12),
    elements=st.sampled_from([0, 0, 1, 3, 4, CLASS_LAND, CLASS_NODATA]),
    fill=st.nothing(),
)
BASE = make_map(codes=np.zeros((9, 12), np.uint8), spacing_m=200, **EQUAL_AREA)
RELAXED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def disc(shape: tuple[int, int], radius: float, shift: float = 0.0) -> np.ndarray:
    """Ice inside a circle, in pixels, moved to the right."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    centre = (np.array(shape) - 1) / 2
    return ((x - centre[1] - shift) ** 2 + (y - centre[0]) ** 2 <= radius**2).astype(np.uint8)


def with_codes(codes: np.ndarray) -> xr.Dataset:
    """The map `BASE` with other classes."""
    return BASE.assign(ice_class=(("y", "x"), codes, BASE["ice_class"].attrs))


def half_plane(column: int, shape: tuple[int, int] = (60, 100)) -> np.ndarray:
    """Ice left of a column."""
    return np.tile((np.arange(shape[1]) < column).astype(np.uint8), (shape[0], 1))


def against(ours: np.ndarray, theirs: np.ndarray, spacing_m: float = 200.0, **options: Any) -> Comparison:
    maps = [make_map(codes=codes, spacing_m=spacing_m, **EQUAL_AREA) for codes in (ours, theirs)]
    return compare(*maps, **options)


def test_half_planes() -> None:
    """Ten columns of 60 pixels of 200 m too many: 24 km², and edges 2 km apart everywhere."""
    scores = against(half_plane(60), half_plane(50)).scores
    assert scores["over_km2"] == pytest.approx(24, rel=1e-6)
    assert scores["under_km2"] == 0
    assert scores["iiee_km2"] == scores["absolute_extent_error_km2"] == scores["over_km2"]
    assert scores["misplacement_error_km2"] == 0
    assert scores["compared_km2"] == pytest.approx(240, rel=1e-6)
    assert scores["agreement_percent"] == pytest.approx(90, abs=1e-3)
    assert scores["ice_map_km2"] - scores["ice_reference_km2"] == pytest.approx(24, abs=2e-3)
    assert scores["displacement"]
    for side in scores["displacement"].values():
        for figure in side.values():
            assert figure == pytest.approx(2, rel=0.01)  # an equal-area grid stretches lengths a little at 80° N
    assert scores["edge_map_km"] == pytest.approx(59 * 0.2, rel=0.01)


@pytest.mark.parametrize("shift", [4, 10, 30])
def test_shifted_discs(shift: int) -> None:
    """Two equal circles: over- and under-estimation are lunes, distances those of a point to a circle."""
    radius = 60.0
    scores = against(disc((180, 220), radius), disc((180, 220), radius, shift)).scores
    half = shift / 2
    overlap = 2 * radius**2 * np.arccos(half / radius) - shift * np.sqrt(radius**2 - half**2)
    lune = (np.pi * radius**2 - overlap) * 0.04
    assert scores["over_km2"] == pytest.approx(lune, rel=0.03)
    assert scores["under_km2"] == pytest.approx(lune, rel=0.03)
    assert scores["misplacement_error_km2"] == pytest.approx(scores["iiee_km2"], rel=0.03)
    turn = np.linspace(0, 2 * np.pi, 3600, endpoint=False)
    away = np.abs(np.hypot(radius * np.cos(turn) - shift, radius * np.sin(turn)) - radius) * 0.2
    assert scores["displacement"]
    for side in scores["displacement"].values():
        assert side["mean_km"] == pytest.approx(away.mean(), abs=0.08)
        assert side["median_km"] == pytest.approx(np.median(away), abs=0.1)
        assert side["p95_km"] == pytest.approx(np.percentile(away, 95), abs=0.1)


def test_lengths_and_areas_are_those_on_the_ground() -> None:
    """The same picture at 60° N of a projection true at 70° N: a metre on the ground is 1.039 on the map."""
    maps = [make_map(codes=half_plane(c), spacing_m=200, centre=(-45, 60)) for c in (60, 50)]
    scores = compare(*maps).scores
    stretch = float(np.sqrt(0.04 / PixelAreas(MapGrid.of(maps[0])).rows(30, 31)[0, 50]))
    assert stretch == pytest.approx(1.0394, abs=2e-4)
    assert scores["over_km2"] == pytest.approx(24 / stretch**2, rel=1e-3)
    assert scores["displacement"]
    assert scores["displacement"]["symmetric"]["median_km"] == pytest.approx(2 / stretch, rel=1e-3)


@RELAXED
@given(ours=CODES, seed=st.integers(0, 1000))
def test_what_always_holds(ours: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    theirs = rng.choice(np.array([0, 0, 1, 3, CLASS_LAND, CLASS_NODATA], np.uint8), ours.shape)
    both = (ours < 5) & (theirs < 5)
    if not both.any():
        with pytest.raises(LabelError, match="nothing to compare|no sea in common"):
            compare(with_codes(ours), with_codes(theirs))
        return
    one, two, same = (
        compare(with_codes(a), with_codes(b), min_area_km2=0).scores
        for a, b in ((ours, theirs), (theirs, ours), (ours, ours))
    )
    area = 0.04
    assert one["over_km2"] == pytest.approx(area * (both & (ours > 0) & (theirs == 0)).sum(), abs=0.002)
    assert one["under_km2"] == pytest.approx(area * (both & (ours == 0) & (theirs > 0)).sum(), abs=0.002)
    assert one["compared_km2"] == pytest.approx(area * both.sum(), abs=0.002)
    assert one["iiee_km2"] >= one["absolute_extent_error_km2"] >= 0
    total = one["absolute_extent_error_km2"] + one["misplacement_error_km2"]
    assert one["iiee_km2"] == pytest.approx(total, abs=0.003)
    assert (one["over_km2"], one["under_km2"]) == pytest.approx((two["under_km2"], two["over_km2"]), abs=0.002)
    assert (one["displacement"] is None) == (two["displacement"] is None)
    if one["displacement"]:
        assert two["displacement"]
        assert one["displacement"]["map_to_reference"] == pytest.approx(two["displacement"]["reference_to_map"])
        assert one["displacement"]["symmetric"] == pytest.approx(two["displacement"]["symmetric"], abs=2e-4)
    assert same["iiee_km2"] == 0
    assert same["agreement_percent"] == 100
    assert same["displacement"] is None or same["displacement"]["symmetric"]["p95_km"] == 0


@RELAXED
@given(
    ours=arrays(np.uint8, (9, 11), elements=st.integers(0, 1)),
    theirs=arrays(np.uint8, (9, 11), elements=st.integers(0, 1)),
)
def test_displacement_against_brute_force(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Every vertex against every other, with geodesics; means weighed by the length each vertex stands for."""
    grid = MapGrid.of(make_map(codes=ours, spacing_m=3000, centre=(179.9, 70)))
    use = np.ones(ours.shape, bool)
    edges = [placed_lines(edge_between(codes, use, grid, 0), grid) for codes in (ours, theirs)]
    found = displacement(*edges)
    if found is None:
        assert min(len(edge.xy) for edge in edges) == 0
        return
    geod = Geod(ellps="WGS84")

    def distances(a: EdgeLines, b: EdgeLines) -> np.ndarray:
        return np.array(
            [
                min(geod.inv(p, q, u, v)[2] for u, v in zip(b.longitude, b.latitude, strict=True)) / 1000
                for p, q in zip(a.longitude, a.latitude, strict=True)
            ]
        )

    means = []
    for name, (a, b) in {"map_to_reference": edges, "reference_to_map": edges[::-1]}.items():
        expected = distances(a, b)
        means.append(np.average(expected, weights=a.weight_km))
        assert found[name]["mean_km"] == pytest.approx(means[-1], abs=1e-3)
        assert expected.min() - 1e-3 <= found[name]["median_km"] <= found[name]["p95_km"] <= expected.max() + 1e-3
    assert found["symmetric"]["mean_km"] == pytest.approx(np.mean(means), abs=1e-3)


def test_edges_end_at_coast_and_border_and_specks_have_none() -> None:
    ours = half_plane(50)
    ours[:, 70:80] = CLASS_LAND  # water meets land: no edge
    ours[:10] = CLASS_NODATA
    ours[30, 20] = 0  # one pixel of water in the ice
    made = against(ours, half_plane(50))
    assert made.scores["iiee_km2"] == pytest.approx(0.04, abs=1e-3)  # areas count it
    assert made.scores["displacement"]
    assert made.scores["displacement"]["symmetric"]["p95_km"] == 0  # edges do not
    assert made.scores["edge_map_km"] == pytest.approx(45 * 0.2, rel=0.01)  # four rows are flagged border
    fine = against(ours, half_plane(50), min_area_km2=0).scores
    assert fine["displacement"]
    assert fine["displacement"]["map_to_reference"]["p95_km"] > 1
    assert fine["displacement"]["reference_to_map"]["p95_km"] == 0


def test_categories_and_what_is_left_out() -> None:
    ours = np.array([[0, 0, 3, 3], [0, 4, CLASS_LAND, CLASS_NODATA], [0, 0, 0, 0], [1, 1, 1, 1]], np.uint8)
    theirs = np.array([[0, 1, 0, 1], [CLASS_LAND, CLASS_NODATA, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]], np.uint8)
    made = against(ours, theirs, spacing_m=1000)
    assert made.categories[:2].tolist() == [[0, 3, 2, 1], [255, 255, CLASS_LAND, CLASS_NODATA]]
    assert [c.name for c in CATEGORIES.classes] == ["agree_water", "agree_ice", "over", "under"]
    assert made.scores["left_out_km2"] == pytest.approx(
        {"reference_silent": 1, "reference_land": 1, "excluded_flags": 0, "map_undecided": 0}, abs=2e-3
    )
    assert made.scores["compared_percent_of_mapped_sea"] == pytest.approx(100 * 12 / 14, abs=0.01)


def test_flags_leave_pixels_out() -> None:
    ice_map = make_map(seed=5, noise=2)
    unsure = (ice_map["quality_flags"].values & QUALITY_FLAGS["coast"][0]) > 0
    sea = ice_map["ice_class"].values < 5
    assert (unsure & sea).any()
    made = compare(ice_map, make_map(seed=6), exclude_flags=["coast", "border"])
    assert (made.categories[unsure & sea] == CLASS_NODATA).all()
    assert made.scores["left_out_km2"]["excluded_flags"] > 0
    with pytest.raises(OptionError, match="'cloud'"):
        compare(ice_map, ice_map, exclude_flags=["cloud"])
    with pytest.raises(OptionError, match="list of flags"):
        compare(ice_map, ice_map, exclude_flags="coast")


def test_probability_in_place_of_classes() -> None:
    ice_map = make_map(seed=4)
    everything = compare(ice_map, ice_map, ice_probability_percent=1).scores
    certain = compare(ice_map, ice_map, ice_probability_percent=95).scores
    assert everything["iiee_km2"] == certain["iiee_km2"] == 0
    assert everything["ice_map_km2"] > certain["ice_map_km2"]


def test_no_edge_is_told_and_gives_no_distance() -> None:
    made = against(half_plane(50), np.zeros((60, 100), np.uint8))
    assert made.scores["displacement"] is None
    assert made.scores["edge_reference_km"] == 0
    assert any("no ice edge in the reference" in note for note in made.scores["notes"])
    both = against(np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8)).scores
    assert both["agreement_percent"] == 100
    assert any("the map or the reference" in note for note in both["notes"])


def test_times(tmp_path: Path) -> None:
    near = compare(make.true_map(), make.osisaf_polar(tmp_path / "a.nc")).scores
    assert near["reference_minus_map_h"] == pytest.approx(4.08, abs=0.01)  # noon against 07:55
    assert near["notes"] == []
    far = compare(make.true_map(), make.osisaf_polar(tmp_path / "b.nc", hours=60)).scores
    assert far["reference_minus_map_h"] == pytest.approx(52.08, abs=0.01)
    assert "52 h later" in far["notes"][0]
    unknown = compare(make.true_map(), make.raster(tmp_path / "c.tif", "nsidc16")).scores
    assert unknown["reference_minus_map_h"] is None
    assert "time of the reference is not known" in unknown["notes"][0]
    month = compare(make.true_map(), make.raster(tmp_path / "N_201801_c.tif", "nsidc16")).scores
    assert "mean over 31 days" in month["notes"][-1]


def test_nothing_in_common_is_said_in_one_line(tmp_path: Path) -> None:
    path = make.osisaf_polar(tmp_path / "a.nc")
    with pytest.raises(LabelError, match="no sea in common.*lies elsewhere") as caught:
        compare(make_map(centre=(170, 72)), path)
    assert "\n" not in str(caught.value)
    with pytest.raises(LabelError, match="no sea in common"):
        compare(make_map(crs="EPSG:3031", centre=(0, -70)), path)  # the other hemisphere
    with pytest.raises(LabelError, match="holds no sea"):
        compare(make_map(codes=np.full((9, 9), CLASS_LAND, np.uint8), centre=make.CENTRE), path)
    water = np.zeros((9, 9), np.uint8)
    with pytest.raises(LabelError, match="where it has land"):
        against(water, np.full((9, 9), CLASS_LAND, np.uint8))


def test_what_is_no_map_or_no_option(tmp_path: Path) -> None:
    ice_map = make_map()
    with pytest.raises(ProductNotFoundError):
        compare(tmp_path / "none", ice_map)
    with pytest.raises(ContractError):
        compare(ice_map.drop_vars("ice_class"), ice_map)
    impossible: dict[str, Any] = {
        "threshold_percent": 0,
        "ice_probability_percent": 101,
        "min_area_km2": -1,
        "resampling": "cubic",
    }
    for name, value in impossible.items():
        with pytest.raises(OptionError, match=name):
            compare(ice_map, ice_map, **{name: value})


def test_undecided_is_not_compared_unless_a_probability_is_asked_for() -> None:
    ours = half_plane(50)
    ours[30:60, 40:60] = UNDECIDED
    made = against(ours, half_plane(45), spacing_m=200)
    assert (made.categories[30:60, 40:60] == CLASS_NODATA).all()
    assert made.scores["left_out_km2"]["map_undecided"] == pytest.approx(600 * 0.04, rel=1e-3)
    assert made.scores["iiee_km2"] == pytest.approx(30 * 5 * 0.04, rel=1e-3)
    told = against(ours, half_plane(45), spacing_m=200, ice_probability_percent=50)
    assert told.scores["left_out_km2"]["map_undecided"] == 0
    assert told.scores["compared_km2"] == pytest.approx(60 * 100 * 0.04, rel=1e-3)


def test_a_map_has_one_extent_and_one_edge() -> None:
    """Class map, summary, vectors and comparison, on a map with noise, undecided places, land and a border."""
    ice_map = make_map(shape=(300, 280), noise=0.6)
    codes = ice_map["ice_class"].values
    area = PixelAreas(MapGrid.of(ice_map)).by_code(codes)
    summary = summarise(ice_map)
    scores = compare(ice_map, ice_map).scores
    polygons = ice_polygons(ice_map, min_area_km2=0, simplify_m=0)
    ice = polygons[polygons["code"].between(1, 4)]["area_km2"].sum()
    for extent in (summary["ice_extent_km2"], scores["ice_map_km2"], scores["ice_reference_km2"], ice):
        assert extent == pytest.approx(area[1:5].sum(), abs=0.01)
    edge = ice_edge(ice_map)["length_km"].sum()
    assert edge > 10
    for length in (summary["ice_edge_km"], scores["edge_map_km"], scores["edge_reference_km"]):
        assert length == pytest.approx(edge, abs=0.02)
    assert scores["displacement"]
    assert scores["displacement"]["symmetric"]["p95_km"] == 0


def test_the_edge_of_a_reference_is_that_of_its_classes() -> None:
    """A truth laid onto the grid of a map may keep the map's probabilities: its classes are what it says."""
    ours = make_map(codes=half_plane(60), spacing_m=200, **EQUAL_AREA)
    truth = ours.copy(deep=True)
    truth["ice_class"].values[:] = half_plane(50)
    scores = compare(ours, truth).scores
    assert scores["displacement"]
    assert scores["displacement"]["symmetric"]["median_km"] == pytest.approx(2.0, abs=0.01)
    corrected = compare(truth, ours).scores
    assert corrected["displacement"]
    assert corrected["displacement"]["symmetric"]["median_km"] == pytest.approx(2.0, abs=0.01)


def test_a_probability_that_is_asked_for_leaves_nothing_without_an_edge() -> None:
    ours = half_plane(50)
    ours[:, 40:60] = UNDECIDED  # four kilometres: there may be an edge in there, or none
    assert against(ours, half_plane(50)).scores["edge_map_km"] == 0
    told = against(ours, half_plane(50), ice_probability_percent=50).scores
    assert told["edge_map_km"] == pytest.approx(59 * 0.2, rel=0.01)
