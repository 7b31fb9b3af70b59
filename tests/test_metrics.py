"""Scores against plain counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from frazil.errors import OptionError
from frazil.metrics import Reliability, confusion_counts, scores

CODES = arrays(np.uint8, st.integers(1, 40), elements=st.sampled_from([0, 1, 2, 254, 255]))


@given(truth=CODES, data=st.data())
def test_counts_by_hand_and_masked_pixels_never_count(truth, data) -> None:
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
