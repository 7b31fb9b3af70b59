"""Where to look next: against brute force, and the interval of the score against SciPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from frazil.errors import OptionError
from frazil.learn.cells.cells import Cells
from frazil.learn.cells.places import CHOICES, Choice, next_places, places_by_lot, share_right
from frazil.learn.cells.teach import softmax


def squares_of(cells: Cells, numbers: np.ndarray, km: float) -> list[tuple[int, int]]:
    rows, columns = np.nonzero(cells.number >= 0)
    step = max(round(km * 1000 / cells.grid.spacing_m), 1)
    return [(int(rows[n]) // step, int(columns[n]) // step) for n in numbers]


@pytest.mark.parametrize("choice", CHOICES)
def test_places_lie_apart_from_each_other_and_from_labels(cells: Cells, choice: Choice) -> None:
    p = softmax(cells.log_probability)
    taken = np.array([10, len(cells) // 2])
    found = next_places(cells, p, taken, 12, choice=choice, place_km=3.0)
    inside = squares_of(cells, found, 3.0)
    assert len(found) == len(set(inside)) == 12
    assert not set(inside) & set(squares_of(cells, taken, 3.0))
    assert not cells.rim[found].any()
    np.testing.assert_array_equal(found, next_places(cells, p, taken, 12, choice=choice, place_km=3.0))


def test_the_least_sure_come_first(cells: Cells) -> None:
    p = softmax(cells.log_probability)
    found = next_places(cells, p, np.zeros(0, int), 5, choice="unsure", place_km=3.0)
    two = np.sort(p, axis=1)
    margin = np.where(cells.rim, np.inf, two[:, -1] - two[:, -2])
    best: dict[tuple[int, int], float] = {}
    for square, m in zip(squares_of(cells, np.arange(len(cells)), 3.0), margin, strict=True):
        best[square] = min(best.get(square, np.inf), float(m))
    np.testing.assert_allclose(margin[found], sorted(best.values())[:5], atol=1e-6)


def test_unlike_ones_are_farthest_from_all_that_is_known(cells: Cells) -> None:
    p, taken = softmax(cells.log_probability), np.array([5])
    found = next_places(cells, p, taken, 3, choice="mixed", place_km=3.0)
    pool = next_places(cells, p, taken, 400, choice="unsure", place_km=3.0)
    x, known = cells.features.astype(float), [5]
    for one in found:
        distance = np.min([((x[pool] - x[k]) ** 2).sum(axis=1) for k in known], axis=0)
        assert ((x[one] - x[known]) ** 2).sum(axis=1).min() == pytest.approx(distance.max(), rel=1e-4)
        known.append(int(one))


def test_lots_are_the_same_ever_again_and_anywhere(cells: Cells) -> None:
    many = places_by_lot(cells, 300, seed=4)
    np.testing.assert_array_equal(many[:50], places_by_lot(cells, 50, seed=4))
    assert len(set(many.tolist())) == 300
    x, y = cells.places()
    assert x[many].std() == pytest.approx(x[~cells.rim].std(), rel=0.15)
    assert y[many].std() == pytest.approx(y[~cells.rim].std(), rel=0.15)


def test_nothing_left_gives_nothing(cells: Cells) -> None:
    everything = np.arange(len(cells))
    p = softmax(cells.log_probability)
    for choice in CHOICES:
        assert len(next_places(cells, p, everything, 5, choice=choice)) == 0
    assert len(next_places(replace(cells, rim=np.ones(len(cells), bool)), p, np.zeros(0, int), 5)) == 0
    with pytest.raises(OptionError, match="not one of"):
        next_places(cells, p, everything, 5, choice="best")  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.integers(1, 300), st.data())
def test_intervals_are_wilson_s(of: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, of))
    share, low, high = share_right(right, of)
    wanted = binomtest(right, of).proportion_ci(0.95, method="wilson")
    assert share == right / of
    assert (low, high) == pytest.approx((wanted.low, wanted.high), abs=1e-4)


def test_of_no_test_nothing_is_known() -> None:
    assert share_right(0, 0) == (0.0, 0.0, 1.0)
