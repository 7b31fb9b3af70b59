"""The kernel against brute force, rotations against a library's, and what polarisations say together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, signal

from frazil.motion.first_guess import search
from frazil.motion.matching import cut_template, evidence, match, together
from frazil.motion.pyramid import Level, coarsened, make_level, window_norm


def noise(seed: int, shape: tuple[int, int], smooth: float = 1.5) -> np.ndarray:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), smooth)
    return (field / field.std()).astype(np.float32)


def level_of(*images: np.ndarray, template: int = 11) -> Level:
    """As `make_level` at full resolution, without taking trends away."""
    values = np.stack(images)
    norm = np.stack([window_norm(v, np.isfinite(v), template, 0.75) for v in values])
    return Level(values=values, norm=norm, factor=1)


def ncc(a: np.ndarray, b: np.ndarray) -> float:
    """In float64 from its definition."""
    a, b = (v.astype(np.float64) - v.mean(dtype=np.float64) for v in (a, b))
    return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_the_peak_is_that_of_brute_force(seed: int) -> None:
    a, b = noise(seed, (60, 60)), noise(seed + 1, (60, 60))
    r, c, half, reach = 28, 31, 5, 4
    found = match(
        level_of(a),
        level_of(b),
        np.array([r]),
        np.array([c]),
        np.zeros((1, 1, 2)),
        np.zeros((1, 1)),
        template=11,
        reach=reach,
    )
    pattern = a[r - half : r + half + 1, c - half : c + half + 1]
    rho = np.array(
        [
            [ncc(pattern, b[r + i - half : r + i + half + 1, c + j - half : c + j + half + 1]) for j in range(-4, 5)]
            for i in range(-4, 5)
        ]
    )
    i, j = np.unravel_index(rho.argmax(), rho.shape)
    assert found.peak[0] == pytest.approx(rho.max(), abs=2e-4)
    assert abs(found.d_row[0] - (i - reach)) <= 0.5
    assert abs(found.d_column[0] - (j - reach)) <= 0.5


def test_the_search_by_fourier_transform_finds_what_the_direct_one_finds() -> None:
    a = noise(3, (120, 130))
    b = np.roll(a, (9, -14), axis=(0, 1)) + 0.5 * noise(4, (120, 130))
    levels = level_of(a), level_of(b)
    row, column = np.array([40, 60, 75]), np.array([50, 64, 80])
    wide = search(*levels, row, column, np.array([0.0]), template=11, radius=20)
    assert wide.d_row.tolist() == [9, 9, 9]
    assert wide.d_column.tolist() == [-14, -14, -14]
    near = match(
        *levels,
        row,
        column,
        np.tile([[[9.0, -14.0]]], (3, 1, 1)),
        np.zeros((3, 1)),
        template=11,
        reach=2,
    )
    np.testing.assert_allclose(near.peak, wide.peak, atol=1e-4)


def test_correlation_is_what_scipy_computes() -> None:
    """`scipy.signal.correlate` of normalised windows, an implementation that is not ours."""
    a, b = noise(5, (40, 40)), noise(6, (40, 40))
    pattern = a[10:21, 10:21] - a[10:21, 10:21].mean(dtype=np.float64)
    raw = signal.correlate(b.astype(np.float64), pattern, mode="valid") / np.sqrt((pattern**2).sum())
    rho = raw * level_of(b).norm[0][5:-5, 5:-5]
    found = search(level_of(a), level_of(b), np.array([15]), np.array([15]), np.array([0.0]), template=11, radius=8)
    inside = rho[2:19, 2:19].copy()  # places 7 … 23 of a radius of 8 around 15
    i, j = np.indices(inside.shape) - 8
    inside[i**2 + j**2 > 64] = -2
    assert found.peak[0] == pytest.approx(inside.max(), abs=2e-4)


@pytest.mark.parametrize("turn", [-25.0, -7.0, 4.0, 18.0])
def test_templates_are_turned_clockwise(turn: float) -> None:
    image = noise(8, (81, 81), 3.0)
    theirs = ndimage.rotate(image.astype(np.float64), -turn, reshape=False, order=1)  # theirs is anticlockwise
    ours = np.empty((21, 21), np.float32)
    assert cut_template(image, 40, 40, turn, 10, ours)
    assert ncc(ours, theirs[30:51, 30:51]) > 0.999


def test_a_polarisation_of_noise_does_not_disturb() -> None:
    """Where its own chance correlations lie, it would move the mean of both."""
    hits = 0
    for seed in range(20):
        a = noise(seed, (80, 80), 0.8)
        b = np.roll(a, (2, 1), axis=(0, 1)) + noise(100 + seed, (80, 80), 0.8)
        other = [noise(k + seed, (80, 80), 0.8) for k in (200, 300)]
        levels = level_of(a, other[0], template=21), level_of(b, other[1], template=21)
        node = np.array([40]), np.array([40]), np.zeros((1, 1, 2)), np.zeros((1, 1))
        both = match(*levels, *node, template=21, reach=4)
        hits += abs(both.d_row[0] - 2) < 1 and abs(both.d_column[0] - 1) < 1
    assert hits >= 19


@settings(deadline=None)
@given(st.lists(st.floats(-0.99, 0.99), min_size=1, max_size=3))
def test_evidence_adds_up(rhos: list[float]) -> None:
    """1 − ρ² is the product of those of the polarisations where all are positive; it never leaves −1 … 1."""
    total = together(sum(evidence(r) for r in rhos))
    assert -1 <= total <= 1
    if min(rhos) > 0:
        assert 1 - total**2 == pytest.approx(np.prod([1 - r**2 for r in rhos]), abs=1e-9)


def test_windows_that_were_not_observed_match_nothing() -> None:
    image = noise(14, (80, 80))
    image[:, 45:] = np.nan
    level = make_level(image[None], 1, 11, 0.75)
    row, column = np.array([40, 40, 40]), np.array([20, 60, 3])
    here = np.zeros((3, 1, 2)), np.zeros((3, 1))
    found = match(level, level, row, column, *here, template=11, reach=2)
    assert found.peak[0] == pytest.approx(1, abs=1e-4)
    assert np.isnan(found.peak[1:]).all()


def test_a_flat_image_matches_nothing() -> None:
    level = make_level(np.full((1, 60, 60), -12, np.float32), 1, 11, 0.75)
    node = np.array([30]), np.array([30])
    found = match(level, level, *node, np.zeros((1, 1, 2)), np.zeros((1, 1)), template=11, reach=2)
    assert np.isnan(found.peak[0])
    assert np.isnan(search(level, level, *node, np.array([0.0]), template=11, radius=5).peak[0])


def test_coarsening_is_the_mean_of_what_was_observed() -> None:
    image = np.arange(24, dtype=np.float32).reshape(1, 4, 6)
    image[0, 0, 0] = np.nan
    image[0, 2:, 2:4] = np.nan
    out = coarsened(image, 2)
    assert out.shape == (1, 2, 3)
    assert out[0, 0, 0] == pytest.approx(np.nanmean(image[0, :2, :2]))
    assert np.isnan(out[0, 1, 1])
    assert coarsened(image, 4).shape == (1, 1, 2)
