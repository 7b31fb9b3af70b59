"""The benchmark of charts counts what it says, on a scene of known mixtures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from benchmarks.charts import brief, page, scored, tiling
from benchmarks.charts_beside import picture, structure, truth_of

from frazil.charts.chart import make_chart
from frazil.conventions import CLASS_LAND
from frazil.scene.grid import MapGrid
from frazil.testing import make_map


def test_errors_are_tenths_between_polygon_and_truth() -> None:
    codes = np.full((240, 240), 4, np.uint8)
    codes[:, :120] = 0
    m = make_map(codes=codes)
    chart = make_chart(m, min_area_km2=20.0)
    truth = codes.copy()
    truth[:60, 120:] = 0  # a quarter of the ice is water in truth
    truth[:, :10] = CLASS_LAND
    ice = (chart["SA"] == "95").to_numpy()
    total = ["90" if k else "99" for k in ice]
    found = scored(chart, total, ["95" if k else "" for k in ice], truth, MapGrid.of(m))
    assert found["polygons"] == 2
    assert found["error"] == pytest.approx([1.0], abs=0.2)
    assert found["area"] == pytest.approx([120 * 240], rel=0.05)
    assert found["unknown"] == pytest.approx(110 * 240, rel=0.05)
    assert found["right"] == [True]
    assert scored(chart, total, ["83", "83"], truth, MapGrid.of(m))["right"] == [False]


def test_the_page_adds_up() -> None:
    one = {
        "polygons": 10,
        "error": [1.0, -2.0],
        "area": [300, 100],
        "right": [True, False],
        "named": [300, 100],
        "unknown": 100,
    }
    tiled = {"valid": True, "gaps": 0, "overlap": 1e-15}
    scene = {
        "chart": one,
        "patches": one | {"error": [5.0, 5.0]},
        "seconds": 3.0,
        "tiling": tiled,
        "read_back": {"valid": False, "gaps": 3, "overlap": 2e-12},
        "areas": [10.0, 20.0, 30.0],
        "types": {"I": 3, "L": 1},
        "vertices": 100,
        "codes": {"CT": {"01": 1, "92": 2}, "stage": {"99": 1, "86": 2}},
    }
    other = {key: scene[key] for key in ("areas", "types", "vertices", "codes")} | {"vertices": 7000}
    text = page({1: scene, 2: scene}, model="m", seeds="1:3", others={"theirs": other}, pictured="", command="x")
    assert "| regions of like mixture | 10 | +0.25 | 1.25 | 2.0 | 75 % | 20 % |" in text
    assert "| patches of a class | 10 | +5.00 | 5.00 | 5.0 | 75 % | 20 % |" in text
    assert "mean absolute error -3.75 ± 0.00 tenths; right stage +0 ± 0 points" in text
    assert "2 of 2 charts are valid coverages" in text
    assert "0 after they were written" in text
    assert "0 before, 6 after" in text
    assert "by 2e-12 of it at most" in text
    assert "| theirs | 4 | 3 | 7,000 | 11 | 20 | 29 |" in text
    assert "| theirs | 33 | 0 | 0 | 0 | 0 | 67 | 0 |" in text
    assert "| 2 of simulated scenes, a scene | 0 | 0 | 67 | 0 | 33 |" in text
    assert brief(1, scene)["chart"] == {"polygons": 10, "mean_absolute_error": 1.25, "right_percent": 75.0}


def test_gaps_and_overlaps_are_found() -> None:
    """A hole between polygons is a gap that GEOS lets pass; an overlap is none that areas could hide."""
    west, east = (
        shapely.box(0, 0, 1, 2),
        shapely.Polygon([(1, 0), (2, 0), (2, 2), (1, 2), (1, 1.5), (1.2, 1), (1, 0.5)]),
    )
    assert tiling(np.array([west, shapely.box(1, 0, 2, 2)])) == {"valid": True, "gaps": 0, "overlap": 0.0}
    assert tiling(np.array([west, east]))["gaps"] == 1
    over = tiling(np.array([west, shapely.box(0.5, 0, 2, 2)]))
    assert not over["valid"]
    assert over["overlap"] == pytest.approx(0.25)


def test_a_truth_is_charted_as_it_is(tmp_path: Path) -> None:
    m = make_map(seed=1)
    truth = np.where(m["ice_class"].values < CLASS_LAND, np.uint8(3), np.uint8(255))
    true = make_chart(truth_of(m, truth), min_area_km2=3)
    assert set(true.loc[true["POLY_TYPE"] == "I", "CT"]) == {"92"}
    assert set(true.loc[true["POLY_TYPE"] == "I", "SA"]) == {"86"}
    assert m["confidence"].values.min() < 100
    found = structure(true)
    assert found["codes"] == {"CT": {"92": len(found["areas"])}, "stage": {"86": len(found["areas"])}}
    picture(make_chart(m, min_area_km2=3, cell_m=500), true, tmp_path / "two.png")
    assert (tmp_path / "two.png").stat().st_size > 10_000
