"""The study of clicks: its truth, its scores, and its page, on cells that are made up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from benchmarks import clicks, clicks_page
from frazil.learn.cells.cells import Cells
from frazil.scene.grid import MapGrid


@pytest.fixture(scope="module")
def scene() -> clicks.Scene:
    rng = np.random.default_rng(0)
    rows, columns = 60, 70
    n = rows * columns
    truth = np.kron(rng.integers(0, 4, (6, 7)), np.ones((10, 10), int)).ravel()
    names = tuple(dict.fromkeys([*clicks.PLAIN, "ratio", "log p0", "seen 0"]))
    features = rng.normal(size=(n, len(names))).astype(np.float32)
    features[:, :4] += 3 * np.eye(4)[truth]
    log = rng.normal(size=(n, 5)).astype(np.float32)
    cells = Cells(
        grid=MapGrid(crs="EPSG:3413", left=0, top=0, spacing_m=600, shape=(rows, columns)),
        side=5,
        number=np.arange(n, dtype=np.int32).reshape(rows, columns),
        features=features,
        names=names,
        log_probability=log - log.mean(axis=1, keepdims=True),
        class_scheme="five_classes",
        rim=np.zeros(n, bool),
    )
    return clicks.Scene("1", cells, truth, rng.uniform(0.5, 1, n))


def test_thinned_cells_are_every_so_many(scene: clicks.Scene) -> None:
    few, old = clicks.thin(scene.cells, 3)
    assert len(few) == 20 * 24
    np.testing.assert_array_equal(few.features, scene.cells.features[old])
    x, y = few.places()
    np.testing.assert_array_equal(scene.cells.at(x, y), old)


def test_the_truth_of_a_cell_is_its_commonest_class(scene: clicks.Scene) -> None:
    codes = np.full((300, 350), 255, np.uint8)
    codes[:5, :5] = np.array([3] * 15 + [1] * 10).reshape(5, 5)
    codes[:5, 5:10] = np.array([2] * 12 + [255] * 13).reshape(5, 5)  # less than half is known
    code, pure = clicks.truth_of_cells(codes, scene.cells, 5)
    assert (code[0], pure[0], code[1], code[2]) == (3, 0.6, -1, -1)


def test_scores_are_those_of_another_library(scene: clicks.Scene) -> None:
    rng = np.random.default_rng(1)
    found = rng.integers(0, 5, len(scene.truth))
    expected = f1_score(scene.truth, found, average="macro", labels=np.unique(scene.truth))
    assert clicks.macro_f1(found, scene.truth) == pytest.approx(expected)
    logits = 20 * np.eye(5)[scene.truth]
    assert clicks.scores(scene, logits, np.array([0]))["f1"] == 1
    assert clicks.balanced_ice(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 3])) == pytest.approx((1 + 2 / 3) / 2)


def test_clicks_are_clear_places_of_each_class_in_turn(scene: clicks.Scene) -> None:
    where = clicks.in_turn(scene, 10, 0)
    assert scene.truth[where].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert (scene.pure[where] >= clicks.PURE).all()
    np.testing.assert_array_equal(where[:5], clicks.in_turn(scene, 5, 0))


@pytest.mark.parametrize("name", [h for h in clicks.HEADS if h != "label propagation"])
def test_every_way_learns_what_is_easy(scene: clicks.Scene, name: str) -> None:
    where = clicks.in_turn(scene, 60, 0)
    made = clicks.HEADS[name](scene.cells, where, scene.truth[where], 0)
    f1 = clicks.scores(scene, made, where)["f1"]
    assert np.isfinite(f1)
    if name not in ("network", "sloped Gaussians"):
        assert f1 > 0.45
        assert f1 > clicks.scores(scene, scene.cells.log_probability, where)["f1"]


def test_queues_take_what_can_be_answered(scene: clicks.Scene) -> None:
    half = replace(scene, truth=np.where(np.arange(len(scene.truth)) % 2, scene.truth, -1))
    for n, where in clicks.by_queue(half, "mixed", 0)[:4]:
        assert len(where) <= n
        assert (half.truth[where] >= 0).all()


def test_the_page_says_what_the_rows_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clicks_page, "ROOT", tmp_path)
    (tmp_path / "docs" / "results" / "studies").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows, gains = [], {}
    for scene in ("30000", "30001", "30002", "30010", "real-a"):
        value = "balanced_ice" if scene.startswith("real") else "f1"
        for name in ("network", "kernel"):
            for n in clicks.CLICKS:
                for seed in (0, 1):
                    score = float(rng.uniform(0.3, 0.5)) + 0.2 * (name == "kernel")
                    gains[scene, name, n, seed] = score
                    head = {"scene": scene, "part": "head", "name": name, "seed": seed, "clicks": n}
                    rows.append(head | {value: score, "ece": 0.1})
        for name in ("random", "mixed"):
            for n in clicks.CLICKS:
                rows.append({"scene": scene, "part": "queue", "name": name, "seed": 0, "clicks": n, value: 0.5})
        for n in (15, 60):
            for name in ("network", "kernel"):
                rows.append({"scene": scene, "part": "pixels", "name": name, "seed": 0, "clicks": n, value: 0.4})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    clicks_page.write_page(tmp_path, range(30000, 30003))
    text = (tmp_path / "docs" / "results" / "clicks.md").read_text()
    scenes = ("30000", "30001", "30002")
    a, b = ([np.mean([gains[s, name, 15, k] for k in (0, 1)]) for s in scenes] for name in ("kernel", "network"))
    d = 100 * (np.array(a) - np.array(b))
    half = stats.t.interval(0.95, 2, loc=d.mean(), scale=stats.sem(d))[1] - d.mean()
    assert f"{100 * np.mean(a):.1f} ({d.mean():+.1f} ± {half:.1f}, {int((d > 0).sum())})" in text
    assert "3 simulated Extra Wide scenes" in text
    assert "(30010)" in text
    assert (tmp_path / "docs" / "results" / "clicks.png").exists()
    assert "## What it shows" in text
