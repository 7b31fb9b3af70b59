"""Flags and undecided pixels stand where the bundled model errs, on simulated scenes that it has not learnt from."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

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
