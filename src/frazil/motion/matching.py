"""Patterns of one image found in another: normalised cross-correlation of rotated templates.

The template is cut from the first image around a node, turned by an angle, and compared with the windows of the second
image around candidate places. The correlation of one polarisation at displacement d and turn θ is

    ρ(d, θ) = Σ t(R(−θ) o) w(d + o) / √(Σ t² Σ w²),   o over the template, t and w less their means

Polarisations are combined as evidence that does not depend on each other: of pixels with normal errors the likelihood
of a place is (1 − ρ²) to the power −n/2, so that 1 − ρ² = Π (1 − ρ²) over those in which both windows were observed.
One that holds nothing but noise then takes hardly anything away. The best place is refined to a fraction of a pixel by
a parabola through its neighbours.

References:
    Lewis, J. P. (1995), Fast normalized cross-correlation, Vision Interface 95, 120–123.
    Korosov, A. A., Rampal, P. (2017), A combination of feature tracking and pattern matching with optimal
        parametrization for sea ice drift retrieval from SAR data, Remote Sensing 9(3), 258. doi:10.3390/rs9030258:
        templates of about 35 pixels of 80 m, rotated, around a first guess.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import prange

from frazil.jit import njit
from frazil.motion.pyramid import Level

_FULL = 0.9999  # correlation whose evidence is not infinite yet


@dataclass(frozen=True, eq=False)
class Match:
    """The best place of each template; every array (node).

    Attributes:
        d_row, d_column: displacement, pixels of the level, fractional; NaN where none was found.
        turn_deg: rotation of the pattern, degrees, positive from columns to rows: clockwise on a north-up grid.
        peak: correlation there, −1 to 1; NaN where none was found.
        curvature: how sharp the peak is along its flattest direction, −∂²ρ/∂d², per pixel²; NaN where not told.
    """

    d_row: np.ndarray
    d_column: np.ndarray
    turn_deg: np.ndarray
    peak: np.ndarray
    curvature: np.ndarray


def match(
    first: Level,
    second: Level,
    row: np.ndarray,
    column: np.ndarray,
    candidates: np.ndarray,
    turns: np.ndarray,
    *,
    template: int,
    reach: int,
    around_deg: tuple[float, ...] = (),
) -> Match:
    """Find templates of the first level in the second.

    Args:
        first: level that templates are cut from.
        second: level of the same factor.
        row: of the nodes, pixels of the level, integers (node).
        column: likewise.
        candidates: displacements (row, column) to search around, pixels, float (node, candidate, 2); NaN for none.
        turns: rotation at each candidate, degrees (node, candidate).
        template: side, pixels, odd.
        reach: pixels around a candidate, along each axis.
        around_deg: other rotations to try around the best place, relative to that of its candidate: a template turns
            around its middle, so that a few degrees too few or too many do not displace it.
    """
    n = len(row)
    out = np.full((n, 5), np.nan)
    _match_all(
        first.values,
        second.values,
        first.norm,
        second.norm,
        np.ascontiguousarray(row, np.int64),
        np.ascontiguousarray(column, np.int64),
        np.ascontiguousarray(candidates, np.float64),
        np.ascontiguousarray(turns, np.float64),
        np.asarray(around_deg, np.float64),
        template // 2,
        reach,
        out,
    )
    return Match(*out.T)


@njit(inline="always")
def _bilinear(values, r, c):  # type: ignore[no-untyped-def]
    n, m = values.shape
    r = min(max(r, 0.0), n - 1.001)
    c = min(max(c, 0.0), m - 1.001)
    a, b = int(r), int(c)
    u, v = np.float32(r - a), np.float32(c - b)
    one = np.float32(1)
    upper = (one - v) * values[a, b] + v * values[a, b + 1]
    lower = (one - v) * values[a + 1, b] + v * values[a + 1, b + 1]
    return (one - u) * upper + u * lower


@njit(nogil=True)
def cut_template(values, r0, c0, turn_deg, half, out):  # type: ignore[no-untyped-def]
    """Fill `out` with a turned template around (r0, c0), of mean 0 and norm 1; whether it has any contrast."""
    cos, sin = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    total = 0.0
    for i in range(-half, half + 1):
        for j in range(-half, half + 1):
            value = _bilinear(values, r0 - sin * j + cos * i, c0 + cos * j + sin * i)
            out[i + half, j + half] = value
            total += value
    mean = np.float32(total / out.size)
    square = 0.0
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] -= mean
            square += out[i, j] * out[i, j]
    if square < 1e-6:
        return False
    scale = np.float32(1 / np.sqrt(square))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] *= scale
    return True


@njit(nogil=True, fastmath=True)
def _product(template, values, top, left):  # type: ignore[no-untyped-def]
    side = template.shape[0]
    total = np.float32(0)
    for i in range(side):
        mine, theirs = template[i], values[top + i, left : left + side]  # rows: the compiler then uses vectors
        row = np.float32(0)
        for j in range(side):
            row += mine[j] * theirs[j]
        total += row
    return total


@njit(nogil=True)
def evidence(rho):  # type: ignore[no-untyped-def]
    """−ln(1 − ρ²), negative for negative correlations."""
    size = min(abs(rho), _FULL)
    return np.sign(rho) * -np.log(1.0 - size * size)


@njit(nogil=True)
def together(total):  # type: ignore[no-untyped-def]
    """The correlation that has this much evidence."""
    return np.sign(total) * np.sqrt(1.0 - np.exp(-abs(total)))


@njit(nogil=True)
def _correlation(templates, has, values, norm, r, c, half):  # type: ignore[no-untyped-def]
    """Correlation at a place, all polarisations together; −2 where it cannot be told."""
    n, m = values.shape[1:]
    if r < half or c < half or r >= n - half or c >= m - half:
        return -2.0
    total, count = 0.0, 0
    for p in range(len(values)):
        if has[p] and norm[p, r, c] > 0:
            total += evidence(_product(templates[p], values[p], r - half, c - half) * norm[p, r, c])
            count += 1
    return together(total) if count else -2.0


@njit(nogil=True)
def _cut_all(levels, norm, r0, c0, turn, half, templates, has):  # type: ignore[no-untyped-def]
    for p in range(len(levels)):
        has[p] = norm[p, r0, c0] > 0 and cut_template(levels[p], r0, c0, turn, half, templates[p])


@njit(parallel=True)
def _match_all(first, second, norm1, norm2, row, column, candidates, turns, around, half, reach, out):  # type: ignore[no-untyped-def]
    n_pol, side = len(first), 2 * half + 1
    for k in prange(len(row)):
        r0, c0 = row[k], column[k]
        if r0 < half or c0 < half or r0 >= first.shape[1] - half or c0 >= first.shape[2] - half:
            continue
        templates = np.empty((n_pol, side, side), np.float32)
        has = np.zeros(n_pol, np.bool_)
        rho, down, right, turn = -2.0, 0, 0, 0.0
        for q in range(candidates.shape[1]):
            if candidates[k, q, 0] != candidates[k, q, 0]:
                continue
            dr, dc = int(np.rint(candidates[k, q, 0])), int(np.rint(candidates[k, q, 1]))
            _cut_all(first, norm1, r0, c0, turns[k, q], half, templates, has)
            for i in range(dr - reach, dr + reach + 1):
                for j in range(dc - reach, dc + reach + 1):
                    here = _correlation(templates, has, second, norm2, r0 + i, c0 + j, half)
                    if here > rho:
                        rho, down, right, turn = here, i, j, turns[k, q]
        if rho <= -2.0:
            continue
        at_row, at_column, unturned = down, right, turn
        for a in range(len(around)):
            _cut_all(first, norm1, r0, c0, unturned + around[a], half, templates, has)
            for i in range(at_row - 1, at_row + 2):
                for j in range(at_column - 1, at_column + 2):
                    here = _correlation(templates, has, second, norm2, r0 + i, c0 + j, half)
                    if here > rho:
                        rho, down, right, turn = here, i, j, unturned + around[a]
        _cut_all(first, norm1, r0, c0, turn, half, templates, has)
        near = np.empty((3, 3))  # around the peak, which may lie at the border of what was searched
        for i in range(3):
            for j in range(3):
                near[i, j] = _correlation(templates, has, second, norm2, r0 + down + i - 1, c0 + right + j - 1, half)
        out[k, 0] = down + _vertex(near[0, 1], near[1, 1], near[2, 1])
        out[k, 1] = right + _vertex(near[1, 0], near[1, 1], near[1, 2])
        out[k, 2] = turn
        out[k, 3] = rho
        if near.min() > -2.0:
            out[k, 4] = _flattest(near)


@njit(nogil=True)
def _vertex(before, here, after):  # type: ignore[no-untyped-def]
    """Where a parabola through three values has its top, −0.5 to 0.5 from the middle one; 0 where it has none."""
    bend = before - 2 * here + after
    if before <= -2.0 or after <= -2.0 or bend >= -1e-9:
        return 0.0
    return min(max(0.5 * (before - after) / bend, -0.5), 0.5)


@njit(nogil=True)
def _flattest(near):  # type: ignore[no-untyped-def]
    """The smaller eigenvalue of minus the second derivatives in the middle of 3 × 3 values."""
    rr = 2 * near[1, 1] - near[0, 1] - near[2, 1]
    cc = 2 * near[1, 1] - near[1, 0] - near[1, 2]
    rc = -(near[0, 0] + near[2, 2] - near[0, 2] - near[2, 0]) / 4
    return (rr + cc) / 2 - np.sqrt(((rr - cc) / 2) ** 2 + rc**2)
