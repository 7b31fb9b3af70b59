"""The benchmark of charts counts what it says, on a scene of known mixtures."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.charts import page, scored, structure

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
    scene = {
        "chart": one,
        "patches": one | {"error": [5.0, 5.0]},
        "seconds": 3.0,
        "valid": True,
        "read_back_valid": False,
    }
    scene |= {"gap": 1e-12, "areas": [10.0, 20.0, 30.0], "types": {"I": 3, "L": 1}, "vertices": 100}
    text = page({1: scene, 2: scene}, model="m", seeds="1:3", real="", command="x")
    assert "| regions of like mixture | 10 | +0.25 | 1.25 | 2.0 | 75 % | 20 % |" in text
    assert "| patches of a class | 10 | +5.00 | 5.00 | 5.0 | 75 % | 20 % |" in text
    assert "2 of 2 charts are valid coverages" in text
    assert "0 after they were written" in text
    assert "4 polygons (" not in text
    assert "valid coverage: yes" in structure(make_chart(make_map(seed=1), min_area_km2=3, cell_m=500))
