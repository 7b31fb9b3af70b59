"""Joining of cells: the same regions as an agglomeration by the letter, and what must hold of any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from frazil.charts.regions import join_cells, neighbours, without_strips


def cells(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 12, 2))
    use = rng.random(shape) < 0.85
    return rng.random((3, *shape)), rng.uniform(0.01, 1, shape), rng.uniform(0.5, 1, shape), use


def by_the_letter(
    values: np.ndarray, weight: np.ndarray, area: np.ndarray, use: np.ndarray, most: int, least: float
) -> np.ndarray:
    """Ward's criterion from sums of squares: what the spread around means grows by."""
    number = np.where(use, np.cumsum(use.ravel()).reshape(use.shape) - 1, -1)
    v, w, a = values[:, use].T, weight[use], area[use]
    members = {i: [i] for i in range(len(w))}
    touching = {tuple(pair) for pair in neighbours(number).tolist()}

    def spread(of: list[int]) -> float:
        mean = np.average(v[of], axis=0, weights=w[of])
        return float((w[of][:, None] * (v[of] - mean) ** 2).sum())

    while touching:

        def order(pair: tuple[int, int]) -> tuple[bool, float]:
            one, other = members[pair[0]], members[pair[1]]
            large = min(a[one].sum(), a[other].sum()) >= least
            return large, spread(one + other) - spread(one) - spread(other)

        (large, _), (i, j) = min((order(pair), pair) for pair in touching)
        if large and len(members) <= most:
            break
        members[i] += members.pop(j)
        renamed = (sorted(i if k == j else k for k in pair) for pair in touching - {(i, j)})
        touching = {(x, y) for x, y in renamed}
    out = np.zeros(len(w), int)
    for i, of in members.items():
        out[of] = i
    return out


@pytest.mark.parametrize("seed", range(40))
def test_regions_are_those_of_the_criterion(seed: int) -> None:
    values, weight, area, use = cells(seed)
    most, least = 1 + seed % 7, (0.0, 2.0, 5.0)[seed % 3]
    got = join_cells(values, weight, area, use, most=most, least_area=least)
    want = by_the_letter(values, weight, area, use, most, least)
    assert (got[~use] == -1).all()
    one = got[use]
    assert ((one[:, None] == one[None]) == (want[:, None] == want[None])).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 9), st.floats(0, 12), st.floats(0, 1))
def test_what_must_hold_of_any_regions(seed: int, most: int, least: float, silent: float) -> None:
    values, weight, area, use = cells(seed)
    weight = np.where(np.random.default_rng(seed).random(use.shape) < silent, 0.0, weight)
    if not use.any():
        assert (join_cells(values, weight, area, use, most=most, least_area=least) == -1).all()
        return
    got = join_cells(values, weight, area, use, most=most, least_area=least)
    numbers = np.unique(got[use])
    assert numbers.tolist() == list(range(len(numbers)))
    first = [np.flatnonzero(got.ravel() == k)[0] for k in numbers]
    assert first == sorted(first)
    pairs = neighbours(got)
    size = ndimage.sum_labels(area, got, numbers)
    for k in numbers:
        assert ndimage.label(got == k)[1] == 1  # hangs together by sides
        assert size[k] >= least or not (pairs == k).any()
    apart = ndimage.label(use)[1]
    assert len(numbers) <= max(most, apart)


def test_strips_join_the_side_that_they_are_most_like() -> None:
    labels = np.zeros((8, 12), np.int32)
    labels[:, 4:6] = 1  # two cells wide
    labels[:, 6:] = 2
    labels[0:2, 9:12] = 3  # at the rim, which counts as inside: two rows and a corner
    values = np.choose(labels, [0.0, 0.4, 1.0, 0.9])[None]
    got = without_strips(labels, values, np.ones(labels.shape))
    assert set(np.unique(got)) == {0, 2, 3}
    assert (got[:, 4:6] == 0).all()
    hole = np.full((5, 5), -1, np.int32)
    hole[2] = 0
    assert (without_strips(hole, hole[None] * 1.0, np.ones(hole.shape)) == hole).all()
    hole[2, 2:] = 1
    assert (without_strips(hole, hole[None] * 1.0, np.ones(hole.shape))[2] == [0, 0, 1, 1, 1]).all()


def test_neighbours_are_pairs_of_sides() -> None:
    labels = np.array([[0, 0, 2], [1, -1, 2], [1, 3, -1]])
    assert neighbours(labels).tolist() == [[0, 1], [0, 2], [1, 3]]
    assert neighbours(np.zeros((3, 3), int)).shape == (0, 2)
