"""Scores against plain counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from frazil.errors import OptionError
from frazil.metrics import IceWater, Reliability, confusion_counts, scores

CODES = arrays(np.uint8, st.integers(1, 40), elements=st.sampled_from([0, 1, 2, 254, 255]))


@given(truth=CODES, data=st.data())
def test_counts_by_hand_and_masked_pixels_never_count(truth: np.ndarray, data: st.DataObject) -> None:
    predicted = data.draw(arrays(np.uint8, truth.shape, elements=st.sampled_from([0, 1, 2, 255])))
    counts = confusion_counts(truth, predicted, 3)
    for t in range(3):
        for p in range(3):
            assert counts[t, p] == sum(1 for a, b in zip(truth, predicted, strict=True) if a == t and b == p)


def test_scores_of_a_known_table() -> None:
    result = scores(np.array([[8, 2, 0], [1, 4, 0], [0, 0, 0]]))
    assert result["accuracy"] == pytest.approx(12 / 15)
    assert result["recall"][:2] == pytest.approx([0.8, 0.8])
    assert result["precision"][:2] == pytest.approx([8 / 9, 4 / 6])
    assert result["f1"][0] == pytest.approx(2 * 8 / (9 + 10))
    assert np.isnan(result["f1"][2])
    assert result["macro_f1"] == pytest.approx(np.mean(result["f1"][:2]))


def test_shapes_must_agree() -> None:
    with pytest.raises(OptionError, match=r"\(3,\), predicted \(4,\)"):
        confusion_counts(np.zeros(3, int), np.zeros(4, int), 2)


def test_calibrated_coin_has_no_error_and_an_overconfident_one_has() -> None:
    rng = np.random.default_rng(0)
    p1 = rng.random(200_000)
    truth = (rng.random(200_000) < p1).astype(int)
    probability = np.stack([1 - p1, p1])
    good, bad = Reliability(), Reliability()
    good.add(truth, probability)
    sure = np.where(probability > 0.5, 0.99, 0.01)
    bad.add(truth, sure)
    assert good.ece < 0.01
    assert bad.ece == pytest.approx(0.99 - 0.75, abs=0.01)
    assert good.nll < bad.nll
    halves = Reliability()
    halves.add(truth[:70_000], probability[:, :70_000])
    halves.add(truth[70_000:], probability[:, 70_000:])
    assert halves.ece == pytest.approx(good.ece)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 50, 66, 80, 100]))
def test_ice_and_water_by_plain_loops(seed: int, asked: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    ice, percent = rng.random(n) < 0.5, rng.integers(0, 101, n)
    tally = IceWater()
    tally.add(ice[: n // 2], percent[: n // 2])
    other = IceWater()
    other.add(ice[n // 2 :], percent[n // 2 :])
    whole = tally + other
    said, sure = percent >= 50, np.maximum(percent, 100 - percent)
    wrong, told = said != ice, sure >= asked
    likelier, decided = whole.likelier(), whole.decided(asked)
    assert likelier["wrong"] == pytest.approx(wrong.mean())
    for name, those in (("confidence_wrong", wrong), ("confidence_right", ~wrong)):
        expected = pytest.approx(sure[those].mean() / 100) if those.any() else None
        assert likelier[name] == expected
    assert decided["undecided"] == pytest.approx(1 - told.mean())
    assert decided["wrong"] == (pytest.approx(wrong[told].mean()) if told.any() else None)
    pack, sea = told & ice, told & ~ice
    assert decided["ice_called_water"] == (pytest.approx((~said)[pack].mean()) if pack.any() else None)
    assert decided["water_called_ice"] == (pytest.approx(said[sea].mean()) if sea.any() else None)


def test_a_probability_that_comes_true_is_calibrated() -> None:
    tally = IceWater()
    for percent in (10, 30, 50, 90):
        tally.add(np.arange(100) < percent, np.full(100, percent))
    assert tally.likelier()["ece"] == pytest.approx(0, abs=1e-12)
    off = IceWater()
    off.add(np.arange(100) < 60, np.full(100, 90))
    assert off.likelier()["ece"] == pytest.approx(0.3)
    assert IceWater().likelier()["ece"] is None
