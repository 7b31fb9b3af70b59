"""A scene on the desk: labels to cells, learning, honest tests, and what was prepared before."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from frazil.conventions import FIVE_CLASSES, check_map
from frazil.desk.labels import Label, read_label
from frazil.desk.scenes import DeskScene, open_scene_of_desk
from frazil.desk.shapes import disagreements, graticule_lines, reshaped, segment_around
from frazil.errors import LabelError, ModelError
from frazil.learn.checkpoint import Model, load_model
from tests.desk.conftest import square


def made(scene: DeskScene, cell: int, code: int, **more: Any) -> Label:
    x, y = (float(v[cell]) for v in scene.cells.places())
    half = more.pop("half", scene.cells.grid.spacing_m / 2)
    told = {"id": f"c{cell}", "scene": scene.name, "code": code, "rings": square(x, y, half), **more}
    return read_label(told, FIVE_CLASSES, [scene.name])


def test_a_click_is_its_cell_and_a_polygon_all_cells_inside(scene: DeskScene) -> None:
    middle = len(scene.cells) // 2
    assert scene.cells_in(made(scene, middle, 0)).tolist() == [middle]
    wide = made(scene, middle, 0, half=2000.0)
    x, y = scene.cells.places()
    inside = shapely.contains_xy(wide.shape, x, y)
    np.testing.assert_array_equal(np.sort(scene.cells_in(wide)), np.flatnonzero(inside))
    assert scene.cells_in(replace(wide, origin="click")).tolist() == [middle]
    tiny = made(scene, middle, 0, half=20.0)
    off = replace(tiny, rings=tuple(tuple((a + 200, b + 200) for a, b in ring) for ring in tiny.rings))
    assert scene.cells_in(off).tolist() == [middle]  # no middle of a cell inside, but it lies in that one
    far = replace(tiny, rings=tuple(tuple((a + 1e7, b) for a, b in ring) for ring in tiny.rings))
    assert not len(scene.cells_in(far))


def test_a_large_label_counts_as_the_root_of_its_cells(scene: DeskScene) -> None:
    middle = len(scene.cells) // 2
    where, codes, weights = scene.learnt_from([made(scene, middle, 3, half=2000.0)])
    assert set(codes.tolist()) == {3}
    assert weights.sum() == pytest.approx(len(where) ** 0.5)
    where, codes, _ = scene.learnt_from([made(scene, middle, 3, half=2000.0), made(scene, middle, 1)])
    assert codes[where == middle].tolist() == [1]  # the last one wins


def test_places_to_test_on_are_never_learnt_from(scene: DeskScene) -> None:
    first, second = (int(c) for c in scene.tests[:2])
    labels = [
        made(scene, first, 2, purpose="test"),
        made(scene, second, 2, half=1500.0),
        made(scene, first, 2, id="over", half=1500.0),
    ]
    where, _, _ = scene.learnt_from(labels)
    assert second in where
    assert first not in where


def test_learning_maps_anew_and_without_labels_it_is_the_network_s(scene: DeskScene) -> None:
    cells = np.linspace(0, len(scene.cells) - 1, 12).astype(int)
    found = scene.learn([made(scene, int(c), 4) for c in cells])
    assert (found["cells"], found["unused"], found["tests"]) == (12, 0, 0)
    assert scene.version == 1
    assert (scene.now["ice_class"].values == 4).sum() > (scene.first["ice_class"].values == 4).sum()
    check_map(scene.now)
    scene.learn([])
    np.testing.assert_array_equal(scene.now["ice_class"].values, scene.first["ice_class"].values)


def test_the_score_is_the_share_of_lots_that_are_right(scene: DeskScene) -> None:
    network = scene.cells.log_probability.argmax(axis=1)
    labels = []
    for k, cell in enumerate(scene.tests[:20]):
        answer = int(network[cell]) if k % 4 else (int(network[cell]) + 1) % 5
        labels.append(made(scene, int(cell), answer, purpose="test"))
    told = scene.score(labels)
    assert (told["tests"], told["right"], told["network_right"]) == (20, 0.75, 0.75)
    assert told["interval"][0] < 0.75 < told["interval"][1]
    again = made(scene, int(scene.tests[1]), int(network[scene.tests[1]]))
    scene.learn([again])
    assert scene.score([again, *labels])["tests"] == 19  # its answer was learnt from: it tells nothing
    scene.learn([])


def test_every_fourth_place_is_drawn_by_lot(scene: DeskScene) -> None:
    found = scene.places([])
    assert [p["purpose"] for p in found] == ["learn", "learn", "learn", "test", "learn", "learn", "learn", "test"]
    lots = [p["cell"] for p in found if p["purpose"] == "test"]
    assert lots == [int(c) for c in scene.tests[:2]]
    answered = [made(scene, lots[0], 0, purpose="test")]
    again = scene.places(answered)
    assert [p["cell"] for p in again if p["purpose"] == "test"] == [int(c) for c in scene.tests[1:3]]
    x, y = scene.cells.places()
    for place in found:
        assert (place["x"], place["y"]) == pytest.approx((x[place["cell"]], y[place["cell"]]), abs=0.1)


def test_what_is_known_of_a_place(scene: DeskScene) -> None:
    x, y = (v[len(scene.cells) // 2] for v in scene.cells.places())
    told = scene.at(float(x), float(y))
    here = scene.now.sel(x=x, y=y, method="nearest")
    assert told["code"] == int(here["ice_class"])
    assert told["percent"] == [int(p) for p in here["probability"].values]
    assert told["db"]["HH"] == pytest.approx(-30 + (int(here["quicklook"].values[0]) - 1) * 30 / 254, abs=0.06)
    assert 18 < told["angle"] < 47
    assert len(told["nesz_db"]) == 2
    assert 70 < told["lonlat"][1] < 90
    assert scene.at(1e9, 0.0) == {}


def test_a_scene_that_was_prepared_is_not_looked_at_again(
    prepared: tuple[Path, DeskScene], small_safe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(prepared[0], tmp_path / "desk")
    model = load_model("ice-measured")
    monkeypatch.setattr("frazil.learn.cells.look.look_at", lambda *_a, **_k: pytest.fail("looked again"))
    began = time.monotonic()
    again = open_scene_of_desk(small_safe, tmp_path / "desk", model)
    assert time.monotonic() - began < 20
    np.testing.assert_array_equal(again.now["ice_class"].values, prepared[1].first["ice_class"].values)
    np.testing.assert_array_equal(again.cells.features, prepared[1].cells.features)


def test_cells_of_another_map_are_made_anew(prepared: tuple[Path, DeskScene], tmp_path: Path) -> None:
    name = prepared[1].name
    shutil.copytree(prepared[0], tmp_path / "desk")
    (tmp_path / "desk" / "map").mkdir()
    source = tmp_path / "desk" / name / "map"
    first = open_scene_of_desk(source, tmp_path / "desk", load_model("ice-measured"))
    (tmp_path / "desk" / first.name / "cells.npz").write_bytes(b"nonsense")
    again = open_scene_of_desk(source, tmp_path / "desk", load_model("ice-measured"))
    shutil.copytree(source, tmp_path / "other" / "map")
    other = open_scene_of_desk(tmp_path / "other" / "map", tmp_path / "desk", load_model("ice-measured"))
    assert other.name != again.name  # many folders are called map
    assert again.cells.angle is None  # a map does not tell it
    assert len(again.cells) == len(prepared[1].cells)


def test_a_model_of_phenomena_has_no_desk(small_safe: Path, tmp_path: Path) -> None:
    model = load_model("ice-measured")
    other = Model(model.network, replace(model.card, class_scheme="metocean"))
    with pytest.raises(ModelError, match="phenomena"):
        open_scene_of_desk(small_safe, tmp_path, other)


def test_a_segment_is_the_patch_around_a_place(scene: DeskScene) -> None:
    x, y = (float(v[len(scene.cells) // 3]) for v in scene.cells.places())
    rings = segment_around(scene.now, scene.grid, x, y)
    shape = shapely.Polygon(rings[0], rings[1:])
    assert shape.is_valid
    code = int(scene.now["ice_class"].sel(x=x, y=y, method="nearest"))
    rng = np.random.default_rng(0)
    west, south, east, north = shape.bounds
    points = rng.uniform((west, south), (east, north), (4000, 2))
    inside = points[shapely.contains_xy(shape, points[:, 0], points[:, 1])]
    codes = [int(scene.now["ice_class"].sel(x=a, y=b, method="nearest")) for a, b in inside[:300]]
    assert np.mean(np.array(codes) == code) > 0.8
    assert segment_around(scene.now, scene.grid, 1e9, 0.0) == []


def test_shapes_are_buffered_split_and_holed() -> None:
    (disc,) = reshaped({"kind": "buffer", "line": [[0, 0], [1000, 0]], "radius": 100})
    assert shapely.Polygon(disc[0]).area == pytest.approx(1000 * 200 + np.pi * 100**2, rel=0.02)
    parts = reshaped({"kind": "split", "rings": square(half=100), "line": [[-200, 10], [200, 10]]})
    assert sorted(shapely.Polygon(p[0]).area for p in parts) == pytest.approx([200 * 90, 200 * 110])
    (ring,) = reshaped({"kind": "hole", "rings": square(half=100), "hole": square(half=10)[0]})
    assert shapely.Polygon(ring[0], ring[1:]).area == pytest.approx(200**2 - 20**2)
    for wrong in (
        {},
        {"kind": "buffer", "line": [[0, 0]], "radius": 1},
        {"kind": "buffer", "line": [[0, 0], [1, 1]], "radius": -1},
        {"kind": "split", "rings": square(), "line": [[1e5, 0], [1e5, 9]]},
        {"kind": "hole", "rings": square(half=10), "hole": square(half=100)[0]},
        {"kind": "hole", "rings": square(), "hole": None},
    ):
        with pytest.raises(LabelError):
            reshaped(wrong)


def test_the_graticule_has_lines_and_words(scene: DeskScene) -> None:
    told = graticule_lines(scene.grid)
    kinds = {f["geometry"]["type"] for f in told["features"]}
    assert kinds == {"LineString", "Point"}
    assert any("°N" in f["properties"].get("text", "") for f in told["features"])


def test_disagreements_are_where_chart_and_map_differ(scene: DeskScene, tmp_path: Path) -> None:
    import geopandas as gpd

    left, bottom, right, top = scene.grid.bounds
    middle = (left + right) / 2
    chart = gpd.GeoDataFrame(
        {"POLY_TYPE": ["W", "I"], "CT": ["02", "92"], "SA": ["", "86"], "FA": ["", "05"]},
        geometry=[shapely.box(left, bottom, middle, top), shapely.box(middle, bottom, right, top)],
        crs=scene.grid.crs,
    )
    chart.to_file(tmp_path / "chart.gpkg")
    found, notes = disagreements(scene.first, str(tmp_path / "chart.gpkg"))
    assert any("time" in note for note in notes)  # this chart does not tell its own
    assert len(found)
    assert found["weight"].is_monotonic_decreasing
    assert found.crs.to_epsg() == 3413
    for row in found.to_dict("records"):
        x = row["geometry"].representative_point().x
        assert (x < middle) == (row["kind"] == "over")
        assert row["area_km2"] == pytest.approx(row["geometry"].area / 1e6, abs=0.1)
        assert 0 <= row["confidence"] <= 100


def test_the_first_stretch_holds_nearly_all_of_the_sea(scene: DeskScene) -> None:
    for k, band in enumerate(scene.bands):
        low, high = scene.contrast(band)
        plane = scene.first["quicklook"].values[k].astype(float)
        sea = (scene.first["ice_class"].values < 254) & (plane > 0)
        db = band.low_db + (plane[sea] - 1) / 254 * (band.high_db - band.low_db)
        assert band.low_db <= low < high <= band.high_db
        assert ((db >= low) & (db <= high)).mean() > 0.97
