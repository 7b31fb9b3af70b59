"""Flags and undecided pixels stand where the bundled model errs, on simulated scenes that it has not learnt from."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.adapt import adapt
from benchmarks.flags import measure, page, truth_of
from benchmarks.real_ice.scenes import ICE, UNKNOWN, WATER
from benchmarks.real_ice.scores import Tally

from frazil.learn.checkpoint import load_model
from frazil.simulate.scene import simulate_scene

WINDOW = {"lines": (3000, 7500), "pixels": (2000, 8000)}  # a part of the swath with the coast of the template in it


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    model = load_model()
    return [measure(model, seed, **WINDOW) for seed in (30001, 30004)]


def test_no_flag_is_reversed(rows: list[dict]) -> None:
    scores = sum((row["tally"] for row in rows), Tally()).scores()
    told = {name: f for name, f in scores["flags"].items() if f["share"] > 0.002}
    assert "undecided" in told
    for name, f in told.items():
        assert f["wrong_inside"] > f["wrong_outside"], name
    assert scores["flags"]["undecided"]["wrong_inside"] > 3 * scores["flags"]["undecided"]["wrong_outside"]


def test_asking_for_more_confidence_leaves_fewer_errors(rows: list[dict]) -> None:
    trade = sum((row["tally"] for row in rows), Tally()).scores()["trade"]
    wrong, undecided = ([t[k] for t in trade] for k in ("wrong", "undecided"))
    assert undecided == sorted(undecided)
    assert wrong[0] > wrong[3] > 0  # of all that has an answer, at 50 % and at 80 %


def test_truth_of_a_simulated_scene_knows_land_and_nodata() -> None:
    scene = simulate_scene(seed=1, spacing_m=960.0, land="gshhg")
    truth, codes = truth_of(scene), scene["ice_class"].values
    assert set(np.unique(truth[codes >= 254])) == {UNKNOWN}
    assert (truth[codes == 0] == WATER).all()
    assert (truth[(codes > 0) & (codes < 5)] == ICE).all()


def test_the_page_tells_of_every_scene(rows: list[dict]) -> None:
    text = page(rows, "m", "command", "## What it shows\n\nBy hand.")
    assert "| 30001 |" in text
    assert "| undecided |" in text
    assert "By hand." in text


def test_a_scene_teaches_signatures_that_the_network_has_wrong() -> None:
    """Two classes whose Gaussians are apart: cells that the network doubts go where their backscatter belongs."""
    rng = np.random.default_rng(0)
    n = 4000
    angle = rng.uniform(20, 46, n)
    ice = rng.random(n) < 0.5
    level = np.where(ice, -14.0, -22.0)
    x = np.stack([level - 0.25 * (angle - 33), level - 14 - 0.1 * (angle - 33)]) + rng.standard_normal((2, n))
    p_ice = np.where(ice, 0.9, 0.1)
    doubted = rng.random(n) < 0.3
    p_ice[doubted] = 0.5
    p = np.stack([1 - p_ice, p_ice])
    found, could = adapt(p, x, angle, 1.0)
    assert could
    assert ((found[1] > 0.5) == ice)[doubted].mean() > 0.98
    few, could = adapt(p[:, :50], x[:, :50], angle[:50], 1.0)
    assert not could
    np.testing.assert_array_equal(few, p[:, :50])
