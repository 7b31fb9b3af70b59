"""Border noise, against the rule written down pixel by pixel, and symmetries that hold whatever the rule is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.sentinel1.border import LEAST_SIGMA0, NOISE_SHARE, SPACING, Border, find_border, threshold

RUN, THIN = 16, 4


def least_of(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Thresholds that vary along and across."""
    steps = -(-shape[0] // SPACING)
    return np.random.default_rng([seed, 1]).uniform(80, 120, (steps, shape[1])).astype(np.float32)


def image_of(shape: tuple[int, int], seed: int, *, dark: float = 0.3) -> np.ndarray:
    """Observed pixels about twice the threshold, and dark borders of any depth, with odd pixels in both."""
    rng = np.random.default_rng(seed)
    dn = rng.integers(9, 20, shape)
    top, bottom = (rng.integers(0, max(int(dark * shape[0]), 1), shape[1]) // 7 * 7 for _ in range(2))
    left, right = (rng.integers(0, max(int(dark * shape[1]), 1), shape[0]) // 9 * 9 for _ in range(2))
    line, pixel = np.mgrid[: shape[0], : shape[1]]
    border = (line < top) | (line >= shape[0] - bottom)
    border |= (pixel < left[:, None]) | (pixel >= shape[1] - right[:, None])
    dn[border] = rng.integers(0, 8, border.sum())
    odd = rng.random(shape) < 0.02
    dn[odd] = rng.integers(0, 25, odd.sum())
    return dn.astype(np.uint16)


def reach(power: list[int], least: list[float]) -> int:
    """From one end: up to the first observed pixel of the first 16 that are bright enough in the mean."""
    n = len(power)
    run = min(RUN, n)
    for i in range(n - run + 1):
        if sum(power[i : i + run]) >= sum(least[i : i + run]):
            end = next((j for j in range(i, n) if power[j] >= least[j]), n)
            return end if end >= THIN else 0
    return n


def sides(dn: np.ndarray, least: np.ndarray) -> np.ndarray:
    """True where a line has border noise at either side."""
    out = np.zeros(dn.shape, bool)
    for y, row in enumerate(dn):
        power, limit = [int(d) ** 2 for d in row], [float(v) for v in least[y // SPACING]]
        left, right = reach(power, limit), reach(power[::-1], limit[::-1])
        out[y, :left] = True
        out[y, len(power) - right :] = True
    return out


def masked(border: Border, dn: np.ndarray, first: int = 0) -> np.ndarray:
    sigma0 = np.ones(dn.shape, np.float32)
    border.mask(dn, first, sigma0)
    return np.isnan(sigma0)


def nothing_above(dn: np.ndarray, least: np.ndarray) -> Border:
    none = np.zeros(dn.shape[1], np.int64)
    return Border(least, none, none, dn.shape[0])


SHAPES = st.tuples(st.integers(1, 140), st.integers(1, 90))


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.integers(0, 2**32 - 1))
def test_the_sides_are_those_of_the_rule(shape: tuple[int, int], seed: int) -> None:
    dn, least = image_of(shape, seed), least_of(shape, seed)
    assert (masked(nothing_above(dn, least), dn) == sides(dn, least)).all()


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.integers(0, 2**32 - 1))
def test_a_mirrored_image_has_mirrored_sides(shape: tuple[int, int], seed: int) -> None:
    dn, least = image_of(shape, seed), least_of(shape, seed)
    there = masked(nothing_above(dn, least), dn)
    mirrored = np.ascontiguousarray(dn[:, ::-1]), np.ascontiguousarray(least[:, ::-1])
    assert (masked(nothing_above(*mirrored), mirrored[0]) == there[:, ::-1]).all()


def found(dn: np.ndarray, least: np.ndarray) -> Border:
    return find_border(lambda first, stop: dn[first:stop], dn.shape, least)


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.integers(0, 2**32 - 1))
def test_an_image_upside_down_has_above_what_was_below(shape: tuple[int, int], seed: int) -> None:
    dn = image_of(shape, seed)
    least = np.repeat(least_of((1, shape[1]), seed), -(-shape[0] // SPACING), axis=0)
    upright, turned = found(dn, least), found(np.ascontiguousarray(dn[::-1]), least)
    assert (upright.above == turned.below).all()
    assert (upright.below == turned.above).all()


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.integers(0, 2**32 - 1), st.data())
def test_windows_of_lines_are_masked_as_the_whole_image_is(
    shape: tuple[int, int], seed: int, data: st.DataObject
) -> None:
    dn, least = image_of(shape, seed), least_of(shape, seed)
    border = found(dn, least)
    first = data.draw(st.integers(0, shape[0] - 1))
    stop = data.draw(st.integers(first + 1, shape[0]))
    assert (masked(border, dn[first:stop], first) == masked(border, dn)[first:stop]).all()


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.integers(0, 2**32 - 1), st.data())
def test_brighter_pixels_never_widen_the_sides(shape: tuple[int, int], seed: int, data: st.DataObject) -> None:
    dn, least = image_of(shape, seed), least_of(shape, seed)
    brighter = dn.copy()
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))
        brighter[place] += data.draw(st.integers(1, 50))
    before = masked(nothing_above(dn, least), dn)
    assert not (masked(nothing_above(brighter, least), brighter) & ~before).any()


@pytest.mark.parametrize("above", [0, 30, 96, 97, 250])
@pytest.mark.parametrize("below", [0, 1, 100])
def test_whole_dark_lines_are_found_however_deep_and_no_line_more(above: int, below: int) -> None:
    """Deeper than what is read at a time."""
    dn = np.full((400, 120), 15, np.uint16)
    dn[:above], dn[400 - below :] = 3, 3
    border = found(dn, np.full((7, 120), 100, np.float32))
    mask = masked(border, dn)
    assert (mask == (dn == 3)).all()
    assert (border.above == above).all() or above == 0 or mask[:above].all()


@pytest.mark.parametrize("dark", [0, 3])
def test_an_image_without_any_observation_is_border_all_over(dark: int) -> None:
    dn = np.full((150, 60), dark, np.uint16)
    assert masked(found(dn, np.full((3, 60), 100, np.float32)), dn).all()


def test_no_more_lines_are_read_than_there_is_border() -> None:
    dn = np.full((5000, 60), 15, np.uint16)
    dn[:100] = 3
    read: list[tuple[int, int]] = []

    def lines(first: int, stop: int) -> np.ndarray:
        read.append((first, stop))
        return dn[first:stop]

    find_border(lines, dn.shape, np.full((79, 60), 100, np.float32))
    assert sum(stop - first for first, stop in read) < 500


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_thresholds_are_half_the_noise_that_is_stated_and_minus_33_db_where_none_is(
    n_lines: int, n_pixels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    stated = rng.choice([0.0, 1e-6, 10**-3.1, 10**-2.2], (n_lines, n_pixels))
    gain = rng.uniform(100, 900, (n_lines, n_pixels))
    got = threshold(lambda y, x: stated[np.ix_(y, x)], lambda y, x: gain[np.ix_(y, x)], (n_lines, n_pixels))
    assert got.shape == (-(-n_lines // SPACING), n_pixels)
    for step in range(len(got)):
        line = min(step * SPACING + SPACING // 2, n_lines - 1)
        for x in range(n_pixels):
            noise = stated[line, x]
            least = NOISE_SHARE * noise if noise > LEAST_SIGMA0 / 10 else 10**-3.3
            assert got[step, x] == pytest.approx(least * gain[line, x] ** 2, rel=1e-6)
