"""Averages of power on the radar grid, compiled by numba: they release the interpreter and use one core each."""

from __future__ import annotations

import numpy as np

from frazil.jit import njit


@njit(nogil=True, error_model="numpy")
def boxcar(power, first, out):
    """3 × 3 moving average, for every line of ``out``, of which the first is line ``first`` of ``power``.

    Of observed pixels; NaN stays NaN; the ends of ``power`` average what is there.
    """
    n_lines, n_pixels = power.shape
    nothing = np.full(n_pixels, np.float32(np.nan))
    total, count = np.zeros(n_pixels + 2), np.zeros(n_pixels + 2)  # of three lines; a zero at either end
    for y in range(first, first + out.shape[0]):
        above = power[y - 1] if y > 0 else nothing
        here = power[y]
        below = power[y + 1] if y + 1 < n_lines else nothing
        for x in range(n_pixels):
            a, b, c = np.float64(above[x]), np.float64(here[x]), np.float64(below[x])
            total[x + 1] = (a if a == a else 0.0) + (b if b == b else 0.0) + (c if c == c else 0.0)
            count[x + 1] = (1.0 if a == a else 0.0) + (1.0 if b == b else 0.0) + (1.0 if c == c else 0.0)
        for x in range(n_pixels):
            mean = (total[x + 1] + total[x] + total[x + 2]) / (count[x + 1] + count[x] + count[x + 2])
            out[y - first, x] = mean if here[x] == here[x] else np.nan


@njit(nogil=True, error_model="numpy")
def block_mean(power, looks):
    """Mean over square blocks of observed pixels; NaN where less than half a block was observed."""
    out = np.empty((power.shape[0] // looks, power.shape[1] // looks), np.float32)
    for by in range(out.shape[0]):
        for bx in range(out.shape[1]):
            total = 0.0
            count = 0.0
            for y in range(by * looks, (by + 1) * looks):
                for x in range(bx * looks, (bx + 1) * looks):
                    v = power[y, x]
                    if v == v:
                        total += v
                        count += 1.0
            out[by, bx] = total / count if 2.0 * count >= looks * looks else np.nan
    return out
