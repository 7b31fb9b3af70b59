"""Prior knowledge: against Bayes written down anew, what must always hold, every kind of file, every bad one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from affine import Affine
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

import frazil
from frazil.cli import cli
from frazil.conventions import (
    AI4ARCTIC,
    BINARY,
    CLASS_LAND,
    CLASS_NODATA,
    FIVE_CLASSES,
    METOCEAN,
    QUALITY_FLAGS,
    UNDECIDED,
    check_map,
    prior_attrs,
)
from frazil.errors import ContractError, FrazilError, LabelError, LabelNotFoundError, OptionError
from frazil.labels.classes import LabelOptions
from frazil.learn.checkpoint import save_model
from frazil.learn.predict.ice import to_binary
from frazil.maps.compare import compare
from frazil.maps.export import export, open_map
from frazil.maps.prior import _TRUST, fuse_prior
from frazil.maps.prior_files import as_reference
from frazil.maps.references import KINDS, map_time, open_reference
from frazil.maps.summary import summarise
from frazil.maps.times import TimeSpan
from frazil.percent import whole_percents
from frazil.scene.grid import MapGrid
from frazil.sentinel1.scene import open_scene
from frazil.testing import make_map
from tests import reference_files as make
from tests.learn.predict.test_scene import random_model

BIT = {name: mask for name, (mask, _) in QUALITY_FLAGS.items()}
VARIABLES = ("probability", "ice_probability", "ice_class", "confidence", "quality_flags")
WIDE = 5000.0  # metres: larger than the blur of fresh polygons, which then come as they are
BASES = {
    scheme.name: make_map(shape=(24, 30), scheme=scheme, seed=4, spacing_m=WIDE, noise=2.0)
    for scheme in (BINARY, FIVE_CLASSES, AI4ARCTIC)
}
BASE = BASES["five_classes"]
SHAPE = (24, 30)
WHEN = cast(TimeSpan, map_time(BASE))
SEA = np.logical_and.reduce([m["ice_probability"].values != 255 for m in BASES.values()])
ROW, COLUMN = np.argwhere(SEA)[0]
RELAXED = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FIELDS = arrays(np.float32, SHAPE, elements=st.one_of(st.floats(0, 100, width=32), st.just(float("nan"))))
WEIGHTS = st.one_of(st.floats(0, 4), st.sampled_from([0, 0.5, 1, 2, 4]))


@dataclass
class Field:
    """A reference that is fresh and tells what it is told to."""

    percent: np.ndarray | np.float32
    time: TimeSpan | None = WHEN
    kind: str = "polygons"
    name: str = "field"
    says: str = ""

    def concentration_on(self, like: xr.Dataset) -> np.ndarray:
        return np.broadcast_to(np.asarray(self.percent, np.float32), MapGrid.of(like).shape).copy()


def same(one: xr.Dataset, other: xr.Dataset, where: np.ndarray | None = None) -> None:
    for name in VARIABLES:
        a, b = one[name].values, other[name].values
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a if where is None else a[..., where], b if where is None else b[..., where])


def bayes(ice_percent: int, probability: float, weight: float) -> float:
    """The probability of ice, percent, by the theorem itself: likelihoods times priors, over their sum."""
    network = {0: 0.0025, 100: 0.9975}.get(ice_percent, ice_percent / 100)
    ice = network * probability**weight
    water = (1 - network) * (1 - probability) ** weight
    return 100 * ice / (ice + water)


# ---- the rule


@pytest.mark.parametrize("scheme", list(BASES))
@pytest.mark.parametrize("weight", [0.3, 1, 2.5, 4])
@pytest.mark.parametrize("concentration", [0.0, 15.0, 62.5, 100.0])
def test_against_the_theorem_pixel_by_pixel(scheme: str, weight: float, concentration: float) -> None:
    before = BASES[scheme]
    after = fuse_prior(before, Field(np.float32(concentration)), weight=weight)
    check_map(after)
    probability = 0.05 + 0.9 * concentration / 100
    asked = before.attrs["confidence_percent"]
    for at in np.ndindex(SHAPE):
        if before["ice_probability"].values[at] == 255:
            continue
        old, new = ([int(v) for v in m["probability"].values[(slice(None), *at)]] for m in (before, after))
        exact = bayes(sum(old[1:]), probability, weight)
        ice = sum(new[1:])
        assert new[0] + ice == 100
        assert abs(ice - exact) <= 0.5 + 1e-9
        kinds = old[1:] if sum(old[1:]) else [1] * (len(old) - 1)
        assert all(abs(n - ice * k / sum(kinds)) < 1 for n, k in zip(new[1:], kinds, strict=True))
        assert after["ice_probability"].values[at] == ice
        assert after["confidence"].values[at] == max(ice, 100 - ice)
        code = after["ice_class"].values[at]
        if max(ice, 100 - ice) < asked:
            assert code == UNDECIDED
        else:
            assert code == (0 if ice < 50 else 1 + new[1:].index(max(new[1:])))
        flags, was = (int(m["quality_flags"].values[at]) for m in (after, before))
        assert bool(flags & BIT["undecided"]) == (code == UNDECIDED)
        answer = [min(int(c), 1) if c < UNDECIDED else 2 for c in (before["ice_class"].values[at], code)]
        assert bool(flags & BIT["prior_changed"]) == (answer[0] != answer[1])
        assert (flags ^ was) & ~(BIT["undecided"] | BIT["prior_changed"]) == 0


@RELAXED
@given(FIELDS, WEIGHTS, st.sampled_from(list(BASES)))
def test_what_always_holds(percent: np.ndarray, weight: float, scheme: str) -> None:
    before = BASES[scheme]
    sea = before["ice_probability"].values != 255
    percent[ROW, COLUMN] = 40
    kept = before.copy(deep=True)
    after = fuse_prior(before, Field(percent), weight=weight)
    same(before, kept)  # what was given is not written to
    same(after, before, ~sea)
    same(after, before, sea & np.isnan(percent))
    new, old = after["probability"].values.astype(int), before["probability"].values.astype(int)
    assert (new[:, sea].sum(axis=0) == 100).all()
    ice = np.maximum(100 - new[0], 1)
    shares = old[1:] / np.maximum(old[1:].sum(axis=0), 1)
    some = sea & (old[1:].sum(axis=0) > 0)
    assert (np.abs(new[1:] - ice * shares)[:, some & (new[0] < 100)] < 1).all()
    heavier = old[1:-1] > old[2:]
    assert (new[1:-1] >= new[2:])[heavier & some[None]].all()


@RELAXED
@given(FIELDS, st.sampled_from([0, 0.0, np.float32(0)]), st.sampled_from(list(BASES)))
def test_weight_zero_is_the_map_itself(percent: np.ndarray, weight: float, scheme: str) -> None:
    percent[ROW, COLUMN] = 40  # some sea is told of
    after = fuse_prior(BASES[scheme], Field(percent), weight=weight)
    xr.testing.assert_identical(after, BASES[scheme])


@RELAXED
@given(FIELDS, FIELDS, st.floats(0.01, 4), st.sampled_from(list(BASES)))
def test_more_ice_in_the_prior_is_never_less_ice_in_the_map(
    one: np.ndarray, other: np.ndarray, weight: float, scheme: str
) -> None:
    low, high = np.fmin(one, other), np.fmax(one, other)
    low[ROW, COLUMN] = high[ROW, COLUMN] = 50
    less, more = (fuse_prior(BASES[scheme], Field(p), weight=weight)["ice_probability"].values for p in (low, high))
    assert (more >= less).all()


def test_an_even_prior_changes_nothing_but_says_that_it_was_there() -> None:
    for before in BASES.values():
        after = fuse_prior(before, Field(np.float32(50)), weight=4)
        same(after, before)
        assert after.attrs["prior"] == "field"
        assert all(v == 0 for k, v in prior_attrs(after.attrs).items() if k.endswith("_km2"))


def test_the_confidence_asked_for_is_that_of_the_map() -> None:
    for asked in (50.0, 60.0, 95.0):
        before = make_map(shape=SHAPE, seed=4, spacing_m=WIDE, confidence_percent=asked)
        after = fuse_prior(before, Field(np.float32(80)))
        sea = before["ice_probability"].values != 255
        doubtful = after["confidence"].values < asked
        np.testing.assert_array_equal(after["ice_class"].values[sea] == UNDECIDED, doubtful[sea])
        binary = to_binary(before)
        np.testing.assert_array_equal(
            fuse_prior(binary, Field(np.float32(80)))["ice_probability"], after["ice_probability"]
        )


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 5), st.just(3), st.just(4)), elements=st.integers(0, 100)),
    arrays(np.uint8, (3, 4), elements=st.integers(0, 100)),
)
def test_shares_add_up_to_what_is_asked_for(weights: np.ndarray, share: np.ndarray) -> None:
    got = whole_percents(weights, share).astype(int)
    total = weights.sum(axis=0, dtype=int)
    np.testing.assert_array_equal(got.sum(axis=0), np.where(total > 0, share, 0))
    exact = weights * share.astype(float) / np.maximum(total, 1)
    assert (np.abs(got - exact) < 1).all()


# ---- what a prior says: concentration, smoothing, age


def labelled(ice_map: xr.Dataset) -> gpd.GeoDataFrame:
    """The left half ice, the right half water, and nothing in a tenth between them."""
    left, bottom, right, top = MapGrid.of(ice_map).bounds
    a, b = left + 0.45 * (right - left), left + 0.55 * (right - left)
    boxes = [shapely.box(left, bottom, a, top), shapely.box(b, bottom, right, top)]
    return gpd.GeoDataFrame({"ice": ["young_ice", "open_water"]}, geometry=boxes, crs=MapGrid.of(ice_map).crs)


def chart(ice_map: xr.Dataset, path: Path) -> Path:
    """Four quarters: 10/10, 4/10, land, undetermined; and 1/10 drawn over a bit of the first."""
    left, bottom, right, top = MapGrid.of(ice_map).bounds
    x, y = (left + right) / 2, (bottom + top) / 2
    boxes = [
        shapely.box(left, y, x, top),
        shapely.box(x, y, right, top),
        shapely.box(left, bottom, x, y),
        shapely.box(x, bottom, right, y),
        shapely.box(left, top - (top - y) / 10, x, top),
    ]
    rows = {"POLY_TYPE": ["I", "I", "L", "I", "I"], "CT": ["92", "40", None, "99", "10"]}
    gpd.GeoDataFrame(rows, geometry=boxes, crs=MapGrid.of(ice_map).crs).to_file(path)
    return path


@pytest.mark.parametrize(
    ("name", "maker", "kind", "tolerance"),
    [
        ("ice_conc_nh_polstere-100_multi_201801161200.nc", make.osisaf_polar, "osisaf", 4),
        ("ice_conc_nh_ease2-250_cdr-v3p0_201801161200.nc", make.osisaf_ease, "osisaf", 10),
        ("asi-AMSR2-n6250-20180116-v5.4.nc", make.bremen_netcdf, "amsr2", 3),
        ("N_20180116_concentration_v3.0.tif", lambda p: make.raster(p, "nsidc16"), "nsidc", 4),
        ("asi-AMSR2-n6250-20180116-v5.4.tif", lambda p: make.raster(p, "bremen", "EPSG:3413"), "amsr2", 3),
        ("conc_20180116.tif", lambda p: make.raster(p, "float", "EPSG:6931"), "concentration", 4),
    ],
)
def test_concentration_of_every_layout_is_the_field(
    name: str, maker: Callable[[Path], Path], kind: str, tolerance: int, tmp_path: Path
) -> None:
    """Bilinear between cells of 6 to 25 km: off by a few percent where the field bends to 0 and 100."""
    ice_map = make.true_map()
    grid = MapGrid.of(ice_map)
    path = maker(tmp_path / name)
    reference = open_reference(path)
    got = reference.concentration_on(ice_map)
    assert got.dtype == np.float32
    assert reference.kind == kind
    assert np.abs(got - make.percent_on(grid.crs, grid.x, grid.y)).max() < tolerance
    fused = fuse_prior(ice_map, path)
    assert fused.attrs["prior_kind"] == kind
    assert fused.attrs["prior_time"].startswith("2018-01-16")
    assert fused.attrs["prior_age_h"] < 8
    before, after = (m["ice_probability"].values.astype(int) for m in (ice_map, fused))
    assert (after >= before)[got > 99].all()
    assert (after <= before)[got < 1].all()


@pytest.mark.parametrize("layout", ["classes", "extent"])
def test_classes_are_all_or_nothing(layout: str, tmp_path: Path) -> None:
    ice_map = make.true_map()
    reference = open_reference(make.raster(tmp_path / "N_20180116_extent_v3.0.tif", layout))
    got, codes = reference.concentration_on(ice_map), reference.on(ice_map)
    np.testing.assert_array_equal(got[codes <= 1], 100.0 * codes[codes <= 1])
    assert np.isnan(got[codes > 1]).all()
    assert set(np.unique(got[np.isfinite(got)])) == {0, 100}


def test_land_and_missing_cells_tell_nothing(tmp_path: Path) -> None:
    ice_map = make.true_map()
    path = make.osisaf_polar(tmp_path / "ice_conc_201801161200.nc", land=True)
    reference = open_reference(path)
    land = reference.on(ice_map) >= CLASS_LAND
    assert land.any()
    assert np.isnan(reference.concentration_on(ice_map)[land]).all()
    fused = fuse_prior(ice_map, path)
    same(fused, ice_map, land)
    assert (fused["probability"].values != ice_map["probability"].values)[:, ~land].any()


def test_concentration_of_charts(tmp_path: Path) -> None:
    ice_map = make_map(codes=np.zeros((80, 80), np.uint8))
    got = open_reference(chart(ice_map, tmp_path / "chart_20180116.gpkg")).concentration_on(ice_map)
    assert (got[6:39, :39] == 100).all()
    assert (got[:39, 41:] == 40).all()
    assert np.isnan(got[41:]).all()  # land, and not determined
    assert np.isnan(got[:3, :39]).all()  # two that differ


def test_concentration_of_polygons_and_of_those_of_this_scene() -> None:
    ice_map = make_map(codes=np.zeros((80, 80), np.uint8))
    frame = labelled(ice_map)
    labels = LabelOptions(class_column="ice")
    got = as_reference(frame, ice_map, None, labels, None).concentration_on(ice_map)
    assert (got[:, :36] == 100).all()
    assert np.isnan(got[:, 37:43]).all()
    assert (got[:, 44:] == 0).all()
    frame["scene"] = ["another_scene", ice_map.attrs["product"]]
    mine = as_reference(frame, ice_map, None, LabelOptions(class_column="ice", scene_column="scene"), None)
    got = mine.concentration_on(ice_map)
    assert np.isnan(got[:, :43]).all()
    assert (got[:, 44:] == 0).all()


def test_concentration_of_another_map_is_its_probability(tmp_path: Path) -> None:
    other = make_map(seed=3)
    got = open_reference(other).concentration_on(other)
    percent = other["ice_probability"].values
    np.testing.assert_array_equal(got[percent <= 100], percent[percent <= 100].astype(np.float32))
    assert np.isnan(got[percent > 100]).all()


@pytest.mark.parametrize(("hours", "cell_m"), [(0.0, 10_000.0), (24.0, 10_000.0), (48.0, 1000.0)])
def test_smoothing_is_a_gaussian_of_cell_and_drift(hours: float, cell_m: float, tmp_path: Path) -> None:
    """A front in a raster, against the Gaussian at every pixel: the blocks it is made on must not show."""
    ice_map = make_map(codes=np.zeros((160, 200), np.uint8), spacing_m=500.0)
    grid = MapGrid.of(ice_map)
    half = int(150_000 / cell_m)
    step = np.zeros((2 * half, 2 * half), np.float32)
    step[:, half:] = 90
    step[half:, :] += 10
    middle = float(np.mean(grid.x)), float(np.mean(grid.y))
    transform = Affine(cell_m, 0, middle[0] - half * cell_m, 0, -cell_m, middle[1] + half * cell_m)
    of_map = map_time(ice_map)
    assert of_map is not None
    when = of_map.middle - timedelta(hours=hours)
    path = make.write_tiff(tmp_path / f"conc_{when:%Y%m%dT%H%M%S}.tif", step, "EPSG:3413", transform)
    fused = fuse_prior(ice_map, path)
    assert fused.attrs["prior_age_h"] == pytest.approx(hours, abs=0.02)
    drift = 15_000 * hours / 24 / np.sqrt(2)
    sigma = np.hypot(cell_m / 2, drift)
    assert fused.attrs["prior_smoothing_km"] == pytest.approx(sigma / 1000, rel=1e-3)
    pad = int(4 * sigma / 500)
    wide = make_map(codes=np.zeros((160 + 2 * pad, 200 + 2 * pad), np.uint8), spacing_m=500.0)
    field = open_reference(path).concentration_on(wide).astype(float)
    assert np.isfinite(field).all()
    wanted = ndimage.gaussian_filter(field, sigma / 500, mode="constant", truncate=3.0)[pad:-pad, pad:-pad]
    e = fused.attrs["prior_uncertainty"]
    assert e == pytest.approx(0.5 - 0.35 * np.exp(-hours / 120), abs=1e-3)
    p = e + (1 - 2 * e) * wanted / 100
    exact = np.array([bayes(int(v), 0.5, 1) for v in range(101)])[ice_map["ice_probability"].values]
    exact = 100 * exact * p / (exact * p + (100 - exact) * (1 - p))
    assert np.abs(fused["ice_probability"].values - exact).max() < 1.5


def test_trust_in_every_kind_fades_with_age() -> None:
    assert set(_TRUST) == set(KINDS)
    start = WHEN.middle
    for kind in KINDS:
        found = []
        for hours in (0, 6, 36, 100, 168):
            when = TimeSpan(start + timedelta(hours=hours), start + timedelta(hours=hours))
            attrs = fuse_prior(BASE, Field(np.float32(100), time=when, kind=kind)).attrs
            found.append((attrs["prior_uncertainty"], attrs["prior_smoothing_km"]))
            assert attrs["prior_age_h"] == pytest.approx(hours, abs=0.01)
        assert found[0][0] == _TRUST[kind].uncertainty
        assert found == sorted(found)
        assert 0 < found[0][0] < found[-1][0] < 0.5


def test_of_a_mean_the_age_is_the_mean_distance() -> None:
    middle = WHEN.middle
    span = TimeSpan(middle - timedelta(hours=6), middle + timedelta(hours=18))
    age = fuse_prior(BASE, Field(np.float32(90), time=span)).attrs["prior_age_h"]
    moments = np.linspace(-6, 18, 100_001)
    assert age == pytest.approx(np.abs(moments).mean(), abs=0.01)
    month = TimeSpan(middle - timedelta(days=15), middle + timedelta(days=16))
    with pytest.raises(LabelError, match="days from the scene"):
        fuse_prior(BASE, Field(np.float32(90), time=month))


def test_it_helps_where_the_network_cannot_tell() -> None:
    """An undecided scene, half of it in the pack of a chart: the pack becomes ice, the rest water, nothing in between
    is worse."""
    truth = np.where(np.arange(200) < 100, 3, 0) * np.ones((160, 1), int)
    unsure = make_map(codes=np.full((160, 200), UNDECIDED, np.uint8), spacing_m=400.0)
    assert (unsure["ice_class"] == UNDECIDED).all()
    frame = labelled(unsure)
    fused = fuse_prior(unsure, frame, labels=LabelOptions(class_column="ice"), max_age_days=None)
    codes = fused["ice_class"].values
    decided = codes != UNDECIDED
    assert (np.minimum(codes, 1) == np.minimum(truth, 1))[decided].all()


# ---- what the map says of it


def test_attributes_note_and_areas() -> None:
    before = make_map(shape=(60, 80), seed=2, spacing_m=500.0, note="Made up.", history="once")
    after = fuse_prior(before, Field(np.float32(95), kind="osisaf", name="ice conc\n\x1b[2J.nc"), weight=2)
    attrs = after.attrs
    assert attrs["prior"] == "ice conc \\x1b[2J.nc"
    assert attrs["prior_weight"] == 2
    assert attrs["note"].startswith("The map rests also on prior knowledge from ice conc")
    assert attrs["note"].endswith("Made up.")
    assert attrs["history"].startswith("once\n")
    assert "fuse_prior" in attrs["history"]
    changed = after["quality_flags"].values & BIT["prior_changed"] > 0
    area = sum(v for k, v in attrs.items() if k.endswith("_km2"))
    from frazil.maps.areas import PixelAreas

    assert area == pytest.approx(PixelAreas(MapGrid.of(after)).by_code(changed.astype(np.uint8))[1], abs=0.01)
    assert attrs["prior_ice_to_water_km2"] == attrs["prior_undecided_to_water_km2"] == 0
    assert attrs["prior_undecided_to_ice_km2"] > 0
    before_km2, after_km2 = (summarise(m)["undecided_km2"] for m in (before, after))
    into = attrs["prior_water_to_undecided_km2"] + attrs["prior_ice_to_undecided_km2"]
    out = attrs["prior_undecided_to_ice_km2"] + attrs["prior_undecided_to_water_km2"]
    assert after_km2 - before_km2 == pytest.approx(into - out, abs=0.01)
    assert "prior" not in summarise(before)


def test_a_folder_and_back(tmp_path: Path) -> None:
    fused = fuse_prior(make_map(shape=(60, 80), seed=2, spacing_m=500.0), Field(np.float32(95)))
    export(fused, tmp_path / "map")
    again = open_map(tmp_path / "map")
    same(again, fused)
    assert prior_attrs(again.attrs) == prior_attrs(fused.attrs)
    assert "prior_changed" in again["quality_flags"].attrs["flag_meanings"]
    told = json.loads((tmp_path / "map" / "summary.json").read_text())
    assert told["prior"]["name"] == "field"
    assert told["prior"]["kind"] == "polygons"
    assert told["prior"]["weight"] == 1
    assert set(told["prior"]) == {
        "name",
        "kind",
        "time",
        "age_h",
        "weight",
        "smoothing_km",
        "uncertainty",
        "changed_km2",
    }
    assert len(told["prior"]["changed_km2"]) == 6
    assert told["flags_percent_of_sea"]["prior_changed"] > 0
    assert "rests also on prior knowledge" in told["note"]
    for name in ("class.tif", "flags.tif"):
        with rasterio.open(tmp_path / "map" / name) as file:
            assert file.tags()["prior"] == "field"
            assert file.tags()["prior_weight"] == "1.0"
    item = json.loads((tmp_path / "map" / "stac_item.json").read_text())
    assert item["properties"]["processing:lineage"].endswith("with prior knowledge from field")
    with pytest.raises(OptionError, match="rests on a prior already, field"):
        fuse_prior(tmp_path / "map", Field(np.float32(95)))


def test_strange_attributes_of_a_stranger_s_map_do_not_break_the_summary() -> None:
    odd = BASE.assign_attrs(prior="x", prior_a_km2="many", prior_weight=float("nan"), prior_b_km2=np.array([1, 2]))
    json.dumps(summarise(odd)["prior"], allow_nan=False)


def test_a_comparison_with_its_own_prior_says_so(tmp_path: Path) -> None:
    path = make.osisaf_polar(tmp_path / "ice_conc_201801161200.nc")
    ice_map = make.true_map()
    notes = compare(fuse_prior(ice_map, path), path).scores["notes"]
    assert any("no evidence" in note for note in notes)
    assert not any("no evidence" in note for note in compare(ice_map, path).scores["notes"])


# ---- bad input: one line each


def at(hours: float) -> TimeSpan:
    moment = WHEN.middle + timedelta(hours=hours)
    return TimeSpan(moment, moment)


@pytest.mark.parametrize("weight", [-0.1, 4.1, float("nan"), float("inf"), "2", None, True, [1]])
def test_impossible_weights(weight: object) -> None:
    with pytest.raises(OptionError, match="from 0") as error:
        fuse_prior(BASE, Field(np.float32(90)), weight=weight)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("days", [0, -1, float("nan"), "7"])
def test_impossible_ages(days: object) -> None:
    with pytest.raises(OptionError, match="max_age_days"):
        fuse_prior(BASE, Field(np.float32(90)), max_age_days=days)  # type: ignore[arg-type]


def test_old_priors_are_told_of_and_older_ones_refused() -> None:
    for hours in (-35, 35):
        assert "drifts" not in fuse_prior(BASE, Field(np.float32(90), time=at(hours))).attrs["note"]
    for hours in (-37, 37, 167):
        assert f"lies {abs(hours)} h from" in fuse_prior(BASE, Field(np.float32(90), time=at(hours))).attrs["note"]
    for hours in (-169, 169):
        with pytest.raises(LabelError, match=r"lies 7\.0 days from the scene .*--prior-any-age"):
            fuse_prior(BASE, Field(np.float32(90), time=at(hours)))
    old = fuse_prior(BASE, Field(np.float32(90), time=at(-24 * 365)), max_age_days=None)
    assert "lies 8760 h from" in old.attrs["note"]
    same(old, BASE)  # nothing is left of it


def test_priors_without_a_time_are_told_of() -> None:
    made = fuse_prior(BASE, Field(np.float32(90), time=None))
    assert "time of the prior is not known: the prior is taken as 36 h old" in made.attrs["note"]
    assert made.attrs["prior_time"] == "not known"
    assert "prior_age_h" not in made.attrs
    assert made.attrs["prior_uncertainty"] == pytest.approx(0.5 - 0.45 * np.exp(-0.3), abs=1e-4)
    timeless = BASE.assign_attrs(start_time="some day")
    assert "time of the scene is not known" in fuse_prior(timeless, Field(np.float32(90))).attrs["note"]


def test_the_same_scene_as_prior_is_told_of() -> None:
    other = make_map(shape=SHAPE, seed=5, spacing_m=WIDE)
    assert "same evidence" in fuse_prior(BASE, other).attrs["note"]


def test_priors_of_nowhere(tmp_path: Path) -> None:
    ice_map = make.true_map()
    for crs, centre in (("EPSG:3031", (10.0, -70.0)), ("EPSG:32733", (15.0, -60.0))):
        south = make_map(crs=crs, centre=centre)
        with pytest.raises(LabelError, match="southern hemisphere, S1A.* on the northern"):
            fuse_prior(ice_map, south)
        with pytest.raises(LabelError, match="northern hemisphere, S1A.* on the southern"):
            fuse_prior(south, ice_map)
    with pytest.raises(LabelError, match="tells nothing of the sea"):
        fuse_prior(ice_map, make_map(centre=(160.0, 75.0)))
    with pytest.raises(LabelError, match="southern hemisphere"):
        fuse_prior(ice_map, labelled(south).to_crs(4326), labels=LabelOptions(class_column="ice"))
    with pytest.raises(LabelError, match="no concentration anywhere"):
        fuse_prior(ice_map, make_map(codes=np.full((30, 30), CLASS_LAND, np.uint8), centre=make.CENTRE))
    transform = Affine(10_000, 0, 0, 0, -10_000, -900_000)
    missing = make.write_tiff(
        tmp_path / "conc_20180116.tif", np.full((30, 30), np.nan, np.float32), "EPSG:3413", transform
    )
    with pytest.raises(LabelError, match="no concentration anywhere"):
        fuse_prior(ice_map, missing)
    flags = make.write_tiff(tmp_path / "N_20180116.tif", np.full((30, 30), 2540, np.uint16), "EPSG:3411", transform)
    with pytest.raises(LabelError, match="no concentration anywhere"):
        fuse_prior(ice_map, flags, kind="nsidc")


def test_a_prior_of_land_alone_or_a_map_without_sea() -> None:
    ice_map = make_map(codes=np.where(np.arange(40) < 20, CLASS_LAND, 1).astype(np.uint8) * np.ones((30, 1), np.uint8))
    percent = np.where(np.arange(40) < 20, 50, np.nan) * np.ones((30, 1))
    with pytest.raises(LabelError, match="tells nothing of the sea"):
        fuse_prior(ice_map, Field(percent, kind="classes", time=map_time(ice_map)))
    empty = make_map(codes=np.full((30, 40), CLASS_NODATA, np.uint8))
    same(fuse_prior(empty, Field(np.float32(90))), empty)


def test_no_file_no_map_no_grid(tmp_path: Path) -> None:
    with pytest.raises(LabelNotFoundError):
        fuse_prior(BASE, tmp_path / "none.nc")
    (tmp_path / "broken.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(LabelError, match=r"broken\.nc"):
        fuse_prior(BASE, tmp_path / "broken.nc")
    with pytest.raises(OptionError, match="kind"):
        fuse_prior(BASE, tmp_path / "broken.nc", kind="chart")
    radar = BASE.drop_vars(["x", "y", "spatial_ref"]).rename(y="line", x="pixel")
    with pytest.raises(ContractError, match="projected grid"):
        fuse_prior(radar, Field(np.float32(90)))
    with pytest.raises(ContractError):
        fuse_prior(BASE.drop_vars("confidence"), Field(np.float32(90)))
    with pytest.raises(FrazilError, match="server|address|http"):
        fuse_prior(BASE, "https://example.org/ice_conc.nc")


# ---- the command


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "random"
    made = random_model()
    save_model(made.network, made.card, folder)
    return folder


@pytest.fixture(scope="module")
def prior_file(small_safe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An even sea of 90 %, from 100 km around the small product, a day before it."""
    from frazil.scene.grid import grid_for

    scene = open_scene(small_safe)
    left, _, _, top = grid_for(scene, spacing_m=1000).bounds
    values = np.full((40, 40), 90, np.float32)
    day = np.datetime64(scene.attrs["start_time"], "D") - np.timedelta64(1, "D")
    path = tmp_path_factory.mktemp("prior") / f"conc_{str(day).replace('-', '')}1200.tif"
    return make.write_tiff(path, values, "EPSG:3413", Affine(8000, 0, left - 100_000, 0, -8000, top + 100_000))


def run(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, [str(w) for w in words])
    ended = done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.stdout, done.stderr if ended else str(done.exception)


def test_map_with_a_prior_from_the_command_line(
    small_safe: Path, model: Path, prior_file: Path, tmp_path: Path
) -> None:
    common = ("map", small_safe, "--model", model, "--spacing", 500)
    codes = {}
    for name, more in (
        ("plain", ()),
        ("zero", ("--prior", prior_file, "--prior-weight", 0)),
        ("with", ("--prior", prior_file, "--prior-weight", 2)),
    ):
        code, _, words = run(*common, "-o", tmp_path / name, *more)
        assert code == 0, words
        assert (prior_file.name in words) == (name == "with")
        codes[name] = open_map(tmp_path / name)
    same(codes["plain"], codes["zero"])
    assert not prior_attrs(codes["plain"].attrs)
    expected = fuse_prior(codes["plain"], prior_file, weight=2)
    same(codes["with"], expected)
    told = json.loads((tmp_path / "with" / "summary.json").read_text())
    assert told["prior"]["name"] == prior_file.name
    assert "prior_s" in told["timings"]
    code, _, words = run(*common, "-o", prior_file, "--prior", prior_file, "--overwrite")
    assert code != 0
    assert prior_file.exists()


def test_bad_priors_are_told_before_the_network_runs(
    small_safe: Path, model: Path, prior_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the network ran")

    monkeypatch.setattr("frazil.learn.predict.ice.predict", never)
    assert run("map", small_safe, "--model", model, "-o", tmp_path / "m")[2] == "the network ran"
    old = tmp_path / "conc_20150101.tif"
    old.write_bytes(prior_file.read_bytes())
    export(make_map(crs="EPSG:3031", centre=(10, -70), **_times(small_safe)), tmp_path / "south")
    percent = make.write_tiff(
        tmp_path / "p.tif", np.tile(np.arange(50, dtype=np.uint16), (50, 1)), "EPSG:3413", Affine(9, 0, 9, 0, -9, 9)
    )
    for words, expected in (
        ((tmp_path / "none.nc",), "No reference at"),
        ((old,), "--prior-any-age"),
        ((tmp_path / "south",), "southern hemisphere"),
        ((percent,), "(--prior-kind)"),
        ((prior_file, "--prior-weight", 5), "from 0"),
        ((prior_file, "--prior-weight", "nan"), "not a number"),
        ((prior_file, "--prior-kind", "chart"), "kind 'chart' is none"),
        ((prior_file, "--prior-class", "7"), "VALUE=NAME"),
    ):
        code, stdout, said = run("map", small_safe, "--model", model, "-o", tmp_path / "m", "--prior", *words)
        assert code != 0
        assert stdout == ""
        assert expected in said
        assert "Traceback" not in said
    assert run("map", small_safe, "--model", model, "-o", tmp_path / "m", "--prior", old, "--prior-any-age")[2] == (
        "the network ran"
    )
    code, _, said = run("map", small_safe, "--model", model, "-o", tmp_path / "m", "--prior-weight", 2)
    assert code != 0
    assert "--prior-weight does not apply without --prior" in said
    assert not (tmp_path / "m").exists()


def _times(product: Path) -> dict[str, Any]:
    scene = open_scene(product)
    return {name: scene.attrs[name] for name in ("start_time", "stop_time")}


def test_maps_of_phenomena_take_no_prior(
    small_safe: Path, prior_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = SimpleNamespace(card=SimpleNamespace(scheme=METOCEAN))
    monkeypatch.setattr("frazil.learn.checkpoint.load_model", lambda _: loaded)
    code, _, said = run("map", small_safe, "-o", tmp_path / "m", "--prior", prior_file)
    assert code != 0
    assert "--prior does not apply with a model of phenomena: a prior is of sea ice" in said


# ---- real files


@pytest.mark.data
def test_real_sea_ice_index_as_a_prior(real_data: Path) -> None:
    """February 2010 around Antarctica is a mean over a month: refused; asked for nevertheless it counts for little."""
    path = real_data / "sic" / "S_201002_concentration_v3.0.tif"
    if not path.exists():
        pytest.skip(f"real reference not found at {path}")
    when: dict[str, Any] = {"start_time": "2010-02-14T00:00:00Z", "stop_time": "2010-02-14T00:01:00Z"}
    codes = np.full((40, 40), UNDECIDED, np.uint8)
    weddell, drake = (
        make_map(codes=codes, crs="EPSG:3031", centre=centre, spacing_m=1000, **when)
        for centre in ((-55, -70), (-62, -58.5))
    )
    with pytest.raises(LabelError, match=r"7\.\d days"):
        fuse_prior(weddell, path)
    ice, water = (fuse_prior(m, path, max_age_days=None)["ice_probability"].values.mean() for m in (weddell, drake))
    assert 52 < ice < 75
    assert 25 < water < 48


@pytest.mark.data
def test_real_chart_as_a_prior(real_data: Path) -> None:
    path = real_data / "ice-charts" / "cis_SGRDREA_20201102T.gpkg"
    if not path.exists():
        pytest.skip(f"real chart not found at {path}")
    when: dict[str, Any] = {"start_time": "2020-11-02T12:00:00Z", "stop_time": "2020-11-02T12:01:00Z"}
    unsure = make_map(codes=np.full((150, 165), UNDECIDED, np.uint8), centre=(-72, 73.5), spacing_m=2400, **when)
    reference = open_reference(path)
    concentration = reference.concentration_on(unsure)
    codes = reference.on(unsure)
    told = np.isfinite(concentration)
    np.testing.assert_array_equal(told, codes <= 1)
    np.testing.assert_array_equal(concentration[told] >= 15, codes[told] == 1)
    fused = fuse_prior(unsure, path)
    same(fused, unsure, ~told)
    decided = told & (fused["ice_class"].values != UNDECIDED)
    assert decided.mean() > 0.2
    agree = np.minimum(fused["ice_class"].values, 1) == codes
    assert agree[decided].mean() > 0.98


def test_public_name() -> None:
    assert frazil.fuse_prior is fuse_prior
