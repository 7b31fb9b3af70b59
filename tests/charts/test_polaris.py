"""POLARIS: hand sums, tables that are monotone, intervals that hold, and maps and charts that agree."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import box

from frazil.charts.chart import make_chart
from frazil.charts.eggs import egg_of
from frazil.charts.polaris import LEVELS, NO_RIO, NOTE, Ship, kinds_of_ice, rio_of_egg, rio_of_shares, ships
from frazil.charts.risk import risk_of_chart, risk_of_map, risk_summary, save_risk
from frazil.cli import cli
from frazil.conventions import BINARY, CLASS_LAND, CLASS_NODATA, FIVE_CLASSES, UNDECIDED
from frazil.errors import ContractError, FrazilError, OptionError
from frazil.labels.sigrid3 import table
from frazil.maps.export import export
from frazil.testing import make_map

EXAMPLE = [0.04, 0.01, 0.29, 0.56, 0.10]  # water, brash, young, level first-year, deformed


def test_the_worked_example() -> None:
    """PC7: 0.4·3 + 0.1·2 + 2.9·2 + 5.6·(−2 … 1) + 1·(−3 … 0)."""
    low, high = rio_of_shares(np.array(EXAMPLE), FIVE_CLASSES, Ship(ice_class="PC7"))
    assert [float(low), float(high)] == pytest.approx([-7.0, 12.8])
    assert LEVELS[int(Ship(ice_class="PC7").levels(low[None])[0])] == "elevated risk"
    assert LEVELS[int(Ship(ice_class="PC7").levels(high[None])[0])] == "normal operation"


@pytest.mark.parametrize(
    ("ship", "row", "rio"),
    [
        ("PC6", {"CT": "92", "SA": "93"}, -10.0),  # ten tenths of thick first-year ice
        ("IC", {"CT": "60", "SA": "84"}, 18.0),  # 4 · 3 + 6 · 1
        ("PC3", {"CT": "92", "CA": "50", "CB": "50", "SA": "97", "SB": "93"}, None),
        ("none", {"CT": "80", "CA": "30", "CB": "50", "SA": "91", "SB": "84"}, 3 * -5 + 5 * 0 + 2 * 3),
        ("PC1", {"CT": "00"}, 30.0),
        ("IAS", {"CT": "40", "SA": "81"}, 4 * 2 + 6 * 3),
    ],
)
def test_hand_sums(ship: str, row: dict[str, str], rio: float | None) -> None:
    low, high = rio_of_egg({"POLY_TYPE": "I", **row}, Ship(ice_class=ship))
    if rio is None:
        assert (low, high) == (5 * -1 + 5 * 2, 5 * 0 + 5 * 2)
    else:
        assert low == high == rio


def test_values_fall_with_the_ship_and_with_thickness() -> None:
    assert len(kinds_of_ice()) == 12
    standard = np.array([Ship(ice_class=s).values for s in ships()])
    decayed = np.array([Ship(ice_class=s, decayed=True).values for s in ships()])
    assert standard.shape == (12, 12)
    assert (np.diff(standard, axis=1) <= 0).all()
    polar, baltic = standard[:7], standard[7:]
    assert (np.diff(polar, axis=0) <= 0).all()
    assert (np.diff(baltic, axis=0) <= 0).all()
    assert (standard[:, 0] == 3).all()
    # Decayed first-year ice is easier; second-year ice of the weaker ships is not in this transcription.
    assert (decayed[:, :9] >= standard[:, :9]).all()


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=5, max_size=5).filter(lambda v: sum(v) > 0.01), st.sampled_from(ships()))
def test_what_a_user_knows_narrows_the_interval(amounts: list[float], name: str) -> None:
    shares = np.array(amounts) / sum(amounts)
    low, high = rio_of_shares(shares, FIVE_CLASSES, Ship(ice_class=name))
    assert low <= high + 1e-4
    for level, old in itertools.product((None, "thin", "medium", "thick"), (None, "none", "second-year", "multi-year")):
        ship = Ship(ice_class=name, level_ice=level, old_ice=old)  # type: ignore[arg-type]
        a, b = rio_of_shares(shares, FIVE_CLASSES, ship)
        assert low - 1e-4 <= a <= b + 1e-4 <= high + 2e-4
    c, d = rio_of_shares(shares, FIVE_CLASSES, Ship(ice_class=name, escort=True))
    assert [float(c - low), float(d - high)] == pytest.approx([10, 10], abs=1e-3)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=5, max_size=5).filter(lambda v: sum(v) > 0.01))
def test_a_chart_s_interval_is_near_that_of_its_mixture(amounts: list[float]) -> None:
    shares = np.array(amounts) / sum(amounts)
    ship = Ship(ice_class="PC5")
    low, high = rio_of_shares(shares, FIVE_CLASSES, ship)
    from_egg = rio_of_egg(egg_of(shares, FIVE_CLASSES).columns(), ship)
    if not np.isnan(from_egg[0]):
        assert from_egg[0] <= float(high) + 8
        assert from_egg[1] >= float(low) - 8


@pytest.mark.parametrize(
    "row",
    [
        {"POLY_TYPE": "L", "CT": ""},
        {"POLY_TYPE": "N", "CT": ""},
        {"POLY_TYPE": "S", "CT": ""},
        {"POLY_TYPE": "I", "CT": "99", "SA": "99"},
        {"POLY_TYPE": "I", "CT": "92", "SA": "99"},
        {"POLY_TYPE": "I", "CT": "92", "SA": ""},
        {"POLY_TYPE": "I", "CT": "92", "SA": "98", "FA": "10"},
        {"POLY_TYPE": "I", "CT": "92", "CA": "60", "CB": "30", "SA": "98", "SB": "86"},
        {"POLY_TYPE": "I", "CT": "92", "CA": "99", "CB": "30", "SA": "95", "SB": "86"},
    ],
)
def test_what_has_no_value_has_no_rio(row: dict[str, str]) -> None:
    assert np.isnan(rio_of_egg(row, Ship(ice_class="PC1"))).all()


def test_ranges_and_open_water() -> None:
    ship = Ship(ice_class="IC")
    assert rio_of_egg({"POLY_TYPE": "I", "CT": "46", "SA": "93"}, ship) == (6 * -5 + 4 * 3, 4 * -5 + 6 * 3)
    assert rio_of_egg({"POLY_TYPE": "I", "CT": "91", "SA": "93"}, ship) == (-50, 9 * -5 + 3)
    assert rio_of_egg({"POLY_TYPE": "I", "CT": "01", "SA": "99"}, ship) == (30, 30)
    assert rio_of_egg({"POLY_TYPE": "W", "CT": "-9"}, ship) == (30, 30)
    for code in table()["concentration"]:
        low, high = rio_of_egg({"POLY_TYPE": "I", "CT": code, "SA": "95"}, ship)
        assert np.isnan(low) or low <= high


@pytest.mark.parametrize(
    ("rio", "polar", "other"),
    [(0.0, 0, 0), (-0.1, 1, 2), (-10.0, 1, 2), (-10.1, 2, 2), (30.0, 0, 0), (np.nan, 255, 255)],
)
def test_levels_of_the_circular(rio: float, polar: int, other: int) -> None:
    assert Ship(ice_class="PC7").levels(np.array([rio]))[0] == polar
    assert Ship(ice_class="IAS").levels(np.array([rio]))[0] == other
    assert [Ship(ice_class=s).speed_knots for s in ("PC1", "PC2", "PC4", "PC7", "IA")] == [11, 8, 5, 3, None]


def test_a_map_is_averaged_over_windows() -> None:
    m = make_map(seed=4, shape=(90, 100), land=0.1)
    ship = Ship(ice_class="PC7")
    found = risk_of_map(m, ship, window_m=1000.0)
    codes, flags = m["ice_class"].values, m["quality_flags"].values
    tells = (codes < CLASS_LAND) & ((flags & 24) == 0)
    asked = 0
    for y, x in itertools.product(range(5, 85, 7), range(5, 95, 7)):
        block = np.s_[y - 4 : y + 5, x - 4 : x + 5]  # nine pixels: the odd number next to 1000 / 120
        here, level = tells[block], found["level"].values[y, x]
        if codes[y, x] >= CLASS_LAND:
            assert level == CLASS_NODATA
            continue
        sea = (codes[block] != CLASS_LAND).sum()
        if here.sum() < 0.5 * sea - 1 or (here & (codes[block] == UNDECIDED)).sum() > 0.5 * here.sum() + 1:
            assert level == NO_RIO
            assert np.isnan(found["rio_low"].values[y, x])
        elif here.sum() > 0.5 * sea + 1 and (here & (codes[block] == UNDECIDED)).sum() < 0.5 * here.sum() - 1:
            shares = np.array([p[block][here].mean() for p in m["probability"].values]) / 100
            low, high = rio_of_shares(shares, FIVE_CLASSES, ship)
            assert found["rio_low"].values[y, x] == pytest.approx(float(low), abs=0.02)
            assert found["rio_high"].values[y, x] == pytest.approx(float(high), abs=0.02)
            asked += 1
    assert asked > 30
    assert found.attrs["note"] == NOTE


def test_files_and_summary(tmp_path: Path) -> None:
    m = make_map(seed=1)
    export(m, tmp_path / "map")
    done = CliRunner().invoke(
        cli, ["risk", str(tmp_path / "map"), "--ship", "PC7", "-o", str(tmp_path / "r"), "--json"]
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    words = ["risk", str(tmp_path / "map" / "map.nc"), "--ship", "PC7", "-o", str(tmp_path / "n"), "--json"]
    assert json.loads(CliRunner().invoke(cli, words).stdout)["area_km2"] == told["area_km2"]
    assert "unverified transcription" in told["note"]
    with rasterio.open(tmp_path / "r" / "level.tif") as file:
        level = file.read(1)
        assert file.nodata == CLASS_NODATA
        assert file.crs.to_epsg() == 3413
        assert "unverified" in file.tags()["note"]
    found = risk_of_map(m, Ship(ice_class="PC7"))
    np.testing.assert_array_equal(level, found["level"].values)
    at_sea = (m["ice_class"].values < CLASS_LAND).sum() * 0.0144
    assert sum(told["area_km2"].values()) == pytest.approx(at_sea, rel=0.1)
    with rasterio.open(tmp_path / "r" / "rio_low.tif") as file:
        np.testing.assert_allclose(file.read(1), found["rio_low"].values, equal_nan=True)
    chart = make_chart(m, min_area_km2=3, cell_m=500)
    of_chart = risk_of_chart(chart, Ship(ice_class="PC7"))
    save_risk(of_chart, tmp_path / "c")
    back = gpd.read_file(tmp_path / "c" / "risk.gpkg", engine="pyogrio")
    assert back["level"].fillna("").tolist() == of_chart["level"].tolist()
    assert (back["speed_knots"].dropna() == 3).all()
    assert set(of_chart.loc[of_chart["POLY_TYPE"] == "L", "level"]) == {""}
    by_chart, by_map = risk_summary(of_chart)["area_km2"], told["area_km2"]
    assert sum(by_chart.values()) == pytest.approx(sum(by_map.values()), rel=0.1)


def test_a_real_chart(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "ice-charts" / "cis_SGRDREA_20201102T.gpkg"
    if not source.is_file():
        pytest.skip(f"no real chart at {source.name}")
    done = CliRunner().invoke(cli, ["risk", str(source), "--ship", "IA", "-o", str(tmp_path / "r"), "--json"])
    assert done.exit_code == 0, done.output
    areas = json.loads(done.stdout)["area_km2"]
    assert areas["normal operation"] > 500_000  # open water of Baffin Bay
    assert areas["special consideration"] > 100_000  # multi-year ice
    assert areas["elevated risk"] == 0  # which ships below the polar classes do not have


def test_impossible_ships_and_sources(tmp_path: Path) -> None:
    for options, message in (
        ({"ice_class": "PC8"}, "ship 'PC8' is not one of PC1, PC2"),
        ({"ice_class": "PC7", "level_ice": "thin-ish"}, "level_ice 'thin-ish' is not one of"),
        ({"ice_class": "PC7", "old_ice": "some"}, "old_ice 'some' is not one of"),
    ):
        with pytest.raises(OptionError, match=message):
            Ship(**options)  # type: ignore[arg-type]
    with pytest.raises(ContractError, match="does not say what kind of ice it is"):
        risk_of_map(make_map(scheme=BINARY, shape=(40, 40)), Ship(ice_class="PC7"))
    with pytest.raises(OptionError, match="Take a larger window"):
        risk_of_map(make_map(shape=(40, 40)), Ship(ice_class="PC7"), window_m=10)
    chart = gpd.GeoDataFrame(
        {"POLY_TYPE": ["I"], "CT": ["-9"], "SA": ["99"]}, geometry=[box(0, 70, 1, 71)], crs="EPSG:4326"
    )
    assert risk_of_chart(chart, Ship(ice_class="PC7"))["level"].tolist() == [""]
    chart.to_file(tmp_path / "c.gpkg", engine="pyogrio")
    for words in (["c.gpkg", "--ship", "PC9"], ["c.gpkg", "--ship", "PC7", "--window", "9000"], ["x", "--ship", "PC7"]):
        bad = CliRunner().invoke(cli, ["risk", str(tmp_path / words[0]), *words[1:], "-o", str(tmp_path / "r")])
        assert isinstance(bad.exception, FrazilError)
        assert "\n" not in str(bad.exception)
        assert not (tmp_path / "r").exists()
