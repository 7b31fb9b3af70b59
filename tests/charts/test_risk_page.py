"""The picture of a risk: the colours of the levels are where the levels are, areas are those of the summary."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from PIL import Image

from frazil.charts.chart import make_chart
from frazil.charts.colours import LAND
from frazil.charts.polaris import LEVEL_COLOURS, LEVELS, NO_LEVEL, NO_RIO, Ship
from frazil.charts.risk import risk_of_chart, risk_of_map, risk_summary, save_risk
from frazil.charts.risk_page import _of_chart, _of_map, draw_risk
from frazil.conventions import CLASS_LAND, CLASS_NODATA, UNDECIDED
from frazil.errors import OptionError, OutputExistsError
from frazil.testing import make_map


def shares(path: Path) -> dict[tuple[int, ...], float]:
    """Of the colours of levels and land in a picture: the share of the page that each takes up."""
    picture = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    return {colour: float((picture == colour).all(axis=1).mean()) for colour in (*LEVEL_COLOURS, LAND.colour)}


def quarters() -> np.ndarray:
    """Water, old or deformed ice, what could not be told, and a fourth quarter that is half land, half no data."""
    codes = np.zeros((240, 240), np.uint8)
    codes[:120, 120:] = 4
    codes[120:, :120] = UNDECIDED
    codes[120:, 120:180] = CLASS_LAND
    codes[120:, 180:] = CLASS_NODATA
    return codes


@pytest.mark.parametrize("of", ["map", "chart"])
def test_a_level_has_its_colour_where_it_is(of: str, tmp_path: Path) -> None:
    made = make_map(codes=quarters())
    ship = Ship(ice_class="IC", old_ice="multi-year")  # water is normal operation, old ice special consideration
    found = risk_of_map(made, ship) if of == "map" else risk_of_chart(make_chart(made, min_area_km2=5), ship)
    path = draw_risk(found, tmp_path / "risk.png", dpi=60)
    green, amber, red, grey, land = shares(path).values()
    assert green > 0.06
    assert red > 0.05
    assert grey > 0.05
    assert land > 0.03
    assert amber < 0.01  # of RIO alone: a ship without a polar class has no elevated risk
    view = _of_map(found) if of == "map" else _of_chart(found)  # type: ignore[arg-type] # one or the other
    rows, columns = view.level.shape
    middle = [
        view.level[int(rows * y), int(columns * x)] for y, x in ((0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.9))
    ]
    assert middle == [0, 2, NO_RIO, NO_LEVEL]
    assert view.level[int(rows * 0.75), int(columns * 0.6)] not in (0, 1, 2, NO_RIO, NO_LEVEL)
    told = risk_summary(found)["area_km2"]
    assert dict(zip((*LEVELS, "no RIO"), view.area[0], strict=True)) == pytest.approx(told, abs=0.1)


def test_where_the_better_case_is_milder() -> None:
    """Level first-year ice may be thin or thick: PC7 has an interval that spans levels, until its user knows."""
    made = make_map(codes=np.full((200, 200), 3, np.uint8))
    for level_ice, milder in ((None, True), ("thick", False)):
        ship = Ship(ice_class="PC7", level_ice=level_ice)  # type: ignore[arg-type] # of both
        for view in (_of_map(risk_of_map(made, ship)), _of_chart(risk_of_chart(make_chart(made), ship))):
            assert view.milder.mean() == pytest.approx(float(milder), abs=0.01)
            worse, better, doubtful = view.area
            assert doubtful == pytest.approx(milder * worse.sum())
            assert (better[:1].sum() > 0) == milder


def test_large_maps_are_reduced_and_keep_their_areas() -> None:
    found = risk_of_map(make_map(shape=(1300, 2300), seed=2), Ship(ice_class="PC6"))
    view = _of_map(found)
    assert view.level.shape == (434, 767)
    assert view.grid.spacing_m == 360
    assert view.worse.shape == view.level.shape
    at_sea = np.isin(view.level, (0, 1, 2))
    assert np.isfinite(view.worse[at_sea]).mean() > 0.99
    assert np.nanmean(view.worse) == pytest.approx(float(np.nanmean(found["rio_low"].values)), abs=0.2)
    assert np.isnan(view.worse[view.level == NO_LEVEL]).mean() > 0.95


def test_the_folder_has_the_picture_and_the_note_of_the_map(tmp_path: Path) -> None:
    made = make_map(seed=1, note="pixels are $made up$")
    for name, found in (
        ("map", risk_of_map(made, Ship(ice_class="none", escort=True, decayed=True))),
        ("chart", risk_of_chart(make_chart(made, min_area_km2=3), Ship(ice_class="PC1"))),
    ):
        folder = save_risk(found, tmp_path / name)
        assert Image.open(folder / "risk.png").width == 1638
        assert json.loads((folder / "summary.json").read_text())["source_note"] == "pixels are $made up$"
    same = draw_risk(found, tmp_path / "again.png")
    assert same.read_bytes() == (folder / "risk.png").read_bytes()
    with pytest.raises(OutputExistsError):
        draw_risk(found, same)
    with pytest.raises(OptionError, match="dpi is 5"):
        draw_risk(found, same, dpi=5, overwrite=True)


def test_charts_in_degrees_and_without_areas(tmp_path: Path) -> None:
    chart = make_chart(make_map(seed=1), min_area_km2=3)
    flat = chart.to_crs("EPSG:4326").drop(columns="area_km2")
    assert isinstance(flat, gpd.GeoDataFrame)
    flat.attrs = {}
    view = _of_chart(risk_of_chart(flat, Ship(ice_class="PC3")))
    assert view.area[0].sum() == pytest.approx(
        chart.loc[chart["POLY_TYPE"].isin(["I", "W"]), "area_km2"].sum(), rel=0.05
    )
    assert draw_risk(risk_of_chart(flat, Ship(ice_class="PC3")), tmp_path / "r.png", dpi=30).exists()
