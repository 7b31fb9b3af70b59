"""The compiled loops against plain ones, written pixel by pixel from their definitions in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.scene.averages import block_mean
from frazil.sentinel1 import kernels

RUN = 16  # zeros side by side that are no observation


class Image:
    """A random image with all that the kernels want to know of it: several noise boxes, gains that change with time."""

    def __init__(self, seed: int, n_lines: int = 12, n_pixels: int = 75, *, dtype: type = np.uint16) -> None:
        rng = np.random.default_rng(seed)
        dn = rng.integers(0, 200, (n_lines, n_pixels))
        for y in range(n_lines):  # runs of zeros of all lengths about the limit
            for _ in range(rng.integers(0, 4)):
                start = rng.integers(-5, n_pixels)
                dn[y, max(start, 0) : start + rng.integers(1, 2 * RUN)] = 0
        self.dn: np.ndarray = dn.astype(dtype)
        self.spans = np.zeros((n_lines, 2, 2), np.int64)
        cut = rng.integers(1, n_pixels - 1, n_lines)
        self.spans[:, 0] = np.stack([rng.integers(0, 5, n_lines), cut - rng.integers(0, 2, n_lines)], 1)
        self.spans[:, 1] = np.stack([cut + 1, n_pixels - 1 - rng.integers(0, 5, n_lines)], 1)
        vectors = int(rng.integers(1, 4))
        self.gain = rng.uniform(300, 600, (vectors, n_pixels))
        self.low = np.sort(rng.integers(0, vectors, n_lines))
        self.weight = np.where(self.low + 1 < vectors, rng.random(n_lines), 0.0)
        self.flat = rng.uniform(50, 5000, 3 * n_pixels)
        pointer, whole, fraction = [0], [], []
        for y in range(n_lines):
            for first, last in ((0, int(cut[y]) - 1), (int(cut[y]), n_pixels - 1))[: rng.integers(0, 3)]:
                whole.append((first, last, *rng.integers(0, 2 * n_pixels, 2)))
                fraction.append((rng.random(), rng.uniform(0.5, 1.5)))
            pointer.append(len(whole))
        self.pointer = np.array(pointer, np.int64)
        self.whole = np.array(whole, np.int64).reshape(-1, 4)
        self.fraction = np.array(fraction, np.float64).reshape(-1, 2)

    @property
    def gains(self) -> tuple[np.ndarray, ...]:
        return self.gain, self.low, self.weight

    @property
    def noises(self) -> tuple[np.ndarray, ...]:
        return self.flat, self.pointer, self.whole, self.fraction

    def amplitude_gain(self, y: int, x: int) -> float:
        """Interpolated first, squared after."""
        high = min(self.low[y] + 1, len(self.gain) - 1)
        return float((1 - self.weight[y]) * self.gain[self.low[y], x] + self.weight[y] * self.gain[high, x])

    def noise(self, y: int, x: int) -> float | None:
        """η of a pixel; None where no box has it."""
        for s in range(self.pointer[y], self.pointer[y + 1]):
            first, last, one, other = self.whole[s]
            if first <= x <= last:
                u, factor = self.fraction[s]
                return float(factor * ((1 - u) * self.flat[one + x - first] + u * self.flat[other + x - first]))
        return None

    def observed(self, y: int, x: int) -> bool:
        """A zero is an observation where it lies in a sub-swath and has fewer than 16 in a row about it."""
        row = self.dn[y]
        if row[x] != 0:
            return True
        a = b = x
        while a > 0 and row[a - 1] == 0:
            a -= 1
        while b + 1 < row.size and row[b + 1] == 0:
            b += 1
        return b - a + 1 < RUN and any(first <= x <= last for first, last in self.spans[y])

    def sigma0(self) -> np.ndarray:
        out = np.full(self.dn.shape, np.nan)
        for y, x in np.ndindex(self.dn.shape):
            if self.observed(y, x):
                out[y, x] = (float(self.dn[y, x]) ** 2 - (self.noise(y, x) or 0.0)) / self.amplitude_gain(y, x) ** 2
        return out


def same(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("seed", range(6))
def test_sigma0_is_what_it_is_defined_as(seed: int, dtype: type) -> None:
    image = Image(seed, dtype=dtype)
    out = np.empty(image.dn.shape, np.float32)
    kernels.sigma0_lines(image.dn, image.spans, *image.gains, *image.noises, out)
    expected = image.sigma0()
    assert np.isnan(expected).any()
    assert (expected < 0).any(), "noise above the signal stays, and stays negative"
    same(out, expected)


def test_the_largest_digital_number_does_not_overflow() -> None:
    """65535² is beyond what 32 bits hold with a sign."""
    image = Image(0)
    image.dn[:] = 65535
    out = np.empty(image.dn.shape, np.float32)
    kernels.sigma0_lines(image.dn, image.spans, *image.gains, *image.noises, out)
    same(out, image.sigma0())
    assert (out > 1000).all()


@pytest.mark.parametrize("length", range(14, 19))
@pytest.mark.parametrize("place", ["start", "middle", "end"])
def test_sixteen_zeros_are_no_observation_and_fifteen_are_dark(length: int, place: str) -> None:
    image = Image(0, 1, 60)
    image.spans[:] = [[0, 59], [0, -1]]
    image.dn[:] = 100
    start = {"start": 0, "middle": 20, "end": 60 - length}[place]
    image.dn[0, start : start + length] = 0
    out = np.empty((1, 60), np.float32)
    kernels.sigma0_lines(image.dn, image.spans, *image.gains, *image.noises, out)
    assert np.isnan(out).sum() == (length if length >= 16 else 0)


@pytest.mark.parametrize("looks", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_blocks_are_means_of_what_was_observed(seed: int, looks: int) -> None:
    """Half a block is enough; 75 pixels are no multiple of two, and the last column is no block."""
    image = Image(seed, 12 - 12 % looks)
    full = image.sigma0()
    shape = image.dn.shape[0] // looks, image.dn.shape[1] // looks
    expected = np.full(shape, np.nan)
    for y, x in np.ndindex(shape):
        part = full[y * looks : (y + 1) * looks, x * looks : (x + 1) * looks]
        if np.isfinite(part).sum() * 2 >= looks**2:
            expected[y, x] = np.nanmean(part)
    out = np.empty(shape, np.float32)
    kernels.sigma0_block_lines(image.dn, image.spans, *image.gains, *image.noises, out)
    same(out, expected)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), looks=st.integers(1, 6))
def test_two_ways_to_a_mean(seed: int, looks: int) -> None:
    """The fused loop against the full resolution and a mean of its blocks."""
    image = Image(seed, 12 - 12 % looks)
    whole = np.empty(image.dn.shape, np.float32)
    kernels.sigma0_lines(image.dn, image.spans, *image.gains, *image.noises, whole)
    out = np.empty((image.dn.shape[0] // looks, image.dn.shape[1] // looks), np.float32)
    kernels.sigma0_block_lines(image.dn, image.spans, *image.gains, *image.noises, out)
    np.testing.assert_allclose(out, block_mean(whole, looks), rtol=2e-5, atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), cut=st.integers(1, 11))
def test_strips_of_lines_are_lines_of_the_whole(seed: int, cut: int) -> None:
    """Gains are kept from line to line: a strip must not begin with those of a line that it has not seen."""
    image = Image(seed)
    whole = np.empty(image.dn.shape, np.float32)
    kernels.sigma0_lines(image.dn, image.spans, *image.gains, *image.noises, whole)
    parts = []
    for at in (slice(0, cut), slice(cut, 12)):
        out = np.empty(image.dn[at].shape, np.float32)
        pointer = image.pointer[at.start : at.stop + 1]
        noises = (image.flat, pointer, image.whole, image.fraction)
        gains = (image.gain, image.low[at], image.weight[at])
        kernels.sigma0_lines(image.dn[at], image.spans[at], *gains, *noises, out)
        parts.append(out)
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("seed", range(4))
def test_nesz_is_noise_over_gain_and_nan_outside_of_boxes(seed: int) -> None:
    image = Image(seed)
    columns = np.array([74, 0, 33, 33, 5])
    out = np.empty((12, 5), np.float32)
    kernels.nesz_lines(*image.gains, columns, *image.noises, out)
    for y in range(12):
        for i, x in enumerate(columns):
            eta = image.noise(y, int(x))
            if eta is None:
                assert np.isnan(out[y, i])
            else:
                assert out[y, i] == pytest.approx(eta / image.amplitude_gain(y, int(x)) ** 2, rel=1e-6)
    assert np.isnan(out).any()
    assert np.isfinite(out).any()


def test_what_is_subtracted_is_the_nesz() -> None:
    """σ0 with and without noise differ by it, wherever there is one."""
    image = Image(3)
    image.dn[:] = 150
    none = (np.zeros(1), np.zeros(13, np.int64), np.zeros((0, 4), np.int64), np.zeros((0, 2)))
    loud, quiet, nesz = (np.empty(image.dn.shape, np.float32) for _ in range(3))
    kernels.sigma0_lines(image.dn, image.spans, *image.gains, *none, loud)
    kernels.sigma0_lines(image.dn, image.spans, *image.gains, *image.noises, quiet)
    kernels.nesz_lines(*image.gains, np.arange(75), *image.noises, nesz)
    np.testing.assert_allclose(loud - quiet, np.nan_to_num(nesz), rtol=1e-3, atol=1e-6)


def reach(row: np.ndarray, least: np.ndarray) -> int:
    """How far border noise comes in from the left, by the mean of 16 pixels in a window that moves on by one."""
    power = row.astype(np.float64) ** 2
    run = min(RUN, row.size)
    for i in range(row.size - run + 1):
        if power[i : i + run].sum() >= least[i : i + run].sum():
            end = i
            while end < row.size and power[end] < least[end]:
                end += 1
            return end if end >= 4 else 0
    return row.size


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), width=st.integers(3, 60), left=st.integers(0, 30), right=st.integers(0, 30))
def test_border_noise_is_masked_from_both_sides(seed: int, width: int, left: int, right: int) -> None:
    """Dark sides of any width, also where they meet, and of images narrower than the window."""
    rng = np.random.default_rng(seed)
    dn = rng.integers(40, 120, (3, width))
    dn[:, :left] = rng.integers(0, 30, dn[:, :left].shape)
    dn[:, width - min(right, width) :] = rng.integers(0, 30, (3, min(right, width)))
    dn = dn.astype(np.uint16)
    least = rng.uniform(900, 1600, (2, width))
    nothing = np.zeros(width, np.int64)
    out = np.zeros((3, width), np.float32)
    kernels.mask_border(dn, 4, 20, least, 5, nothing, nothing, out)
    for y in range(3):
        limit = least[(4 + y) // 5]
        a = reach(dn[y], limit)
        b = reach(dn[y, ::-1], limit[::-1])
        expected = np.zeros(width, bool)
        expected[:a] = True
        expected[width - b :] = True
        if a == width:
            expected[:] = True
        np.testing.assert_array_equal(np.isnan(out[y]), expected)


def test_border_above_and_below_counts_from_the_ends_of_the_image() -> None:
    """Whatever strip of it is asked for."""
    above, below = np.array([0, 3, 5] * 8), np.array([2, 0, 9] * 8)
    least = np.full((1, 24), 100.0)
    dn = np.full((20, 24), 50, np.uint16)
    whole = np.zeros((20, 24), np.float32)
    kernels.mask_border(dn, 0, 20, least, 20, above, below, whole)
    for x in range(24):
        dark = np.flatnonzero(np.isnan(whole[:, x]))
        assert dark.tolist() == [*range(above[x]), *range(20 - below[x], 20)]
    strip = np.zeros((7, 24), np.float32)
    kernels.mask_border(dn[9:16], 9, 20, least, 20, above, below, strip)
    np.testing.assert_array_equal(strip, whole[9:16])


def depth_of(dn: np.ndarray, least: float, *, downwards: bool, strips: list[int]) -> np.ndarray:
    depth, is_open = np.zeros(dn.shape[1], np.int64), np.ones(dn.shape[1], bool)
    limit = np.full((1, dn.shape[1]), least)
    lines, start = np.arange(dn.shape[0]), 0
    for n in strips:
        mine = lines[start : start + n] if downwards else lines[::-1][start : start + n][::-1]
        goes_on = kernels.border_depth(dn[mine], int(mine[0]), downwards, limit, 10**6, start, depth, is_open)
        start += n
        if not goes_on:
            break
    return depth


@pytest.mark.parametrize("downwards", [True, False])
def test_the_depth_of_a_border_is_what_was_painted(downwards: bool) -> None:
    """Lines of noise above the image or below it, deeper on one side than on the other, followed strip by strip."""
    rng = np.random.default_rng(1)
    dn = rng.integers(80, 120, (40, 96)).astype(np.uint16)
    truth = np.where(np.arange(96) < 48, 6, 13)
    for x in range(96):
        dn[: truth[x], x] = rng.integers(1, 20, truth[x])
    dn = dn if downwards else np.ascontiguousarray(dn[::-1])
    one = depth_of(dn, 30.0**2, downwards=downwards, strips=[40])
    several = depth_of(dn, 30.0**2, downwards=downwards, strips=[5, 9, 26])
    np.testing.assert_array_equal(one, several)
    dark = np.zeros(dn.shape, np.float32)
    none = np.zeros(96, np.int64)
    down, up = (one, none) if downwards else (none, one)
    kernels.mask_border(dn, 0, 40, np.full((1, 96), 900.0), 10**6, down, up, dark)
    painted = dn < 30
    np.testing.assert_array_equal(np.isnan(dark) & painted, painted)
    assert (np.isnan(dark) & ~painted).mean() < 0.03


def test_an_image_without_a_border_has_none() -> None:
    dn = np.full((10, 64), 90, np.uint16)
    for downwards in (True, False):
        depth = np.zeros(64, np.int64)
        is_open = np.ones(64, bool)
        goes_on = kernels.border_depth(dn, 0, downwards, np.full((1, 64), 900.0), 100, 0, depth, is_open)
        assert not goes_on
        assert not depth.any()
        assert not is_open.any()
