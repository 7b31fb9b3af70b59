"""The fused loops of radiometry: one pass over the digital numbers, compiled by numba.

Arrays of all kernels: ``dn`` (line, pixel); ``spans`` int64 (line, box, 2) first and last observed pixel;
``gain`` float64 (vector, pixel) with ``low`` and ``weight`` per line; noise as `Radiometry._segments_at` makes it:
``flat`` profiles, ``pointer`` per line, ``whole`` and ``fraction`` per segment. float64 inside, float32 out.

They release the interpreter and use one core each; callers run strips side by side. (numba's own threads cost more to
start than a scene takes, and not every threading layer may be entered from two threads.)
"""

from __future__ import annotations

import numpy as np

from frazil.jit import njit

_RUN = 16  #: this many zeros side by side are no observation; fewer, inside a sub-swath, are a dark target


@njit(inline="always", error_model="numpy")
def _line_sigma0(dn, spans, inverse, flat, whole, fraction, s0, s1, out):
    """σ0 of one line into float64 ``out``; NaN where not observed. Returns whether there is any NaN."""
    out[:] = 0.0
    for s in range(s0, s1):  # out holds η first, then σ0
        n = whole[s, 1] - whole[s, 0] + 1
        # Slices, indexed from 0: numba vectorises these loops, and does not where an index might be negative.
        part = out[whole[s, 0] : whole[s, 0] + n]
        near, far = flat[whole[s, 2] : whole[s, 2] + n], flat[whole[s, 3] : whole[s, 3] + n]
        u, v = fraction[s, 1] * (1.0 - fraction[s, 0]), fraction[s, 1] * fraction[s, 0]
        for i in range(n):
            part[i] = u * near[i] + v * far[i]
    zeros = 0
    for x in range(dn.shape[0]):
        d = np.float64(dn[x])
        out[x] = (d * d - out[x]) * inverse[x]
        zeros += dn[x] == 0
    return zeros > 0 and _mask_line(dn, spans, out)


@njit(inline="always")
def _mask_line(dn, spans, out):
    """NaN where DN is zero, but for lone zeros inside a sub-swath. Returns whether there is any."""
    n = dn.shape[0]
    masked = False
    x = 0
    while x < n:
        if dn[x] != 0:
            x += 1
            continue
        end = x
        while end < n and dn[end] == 0:
            end += 1
        if end - x >= _RUN:
            out[x:end] = np.nan
            masked = True
        else:
            for i in range(x, end):
                inside = False
                for k in range(spans.shape[0]):
                    inside = inside or (spans[k, 0] <= i <= spans[k, 1])
                if not inside:
                    out[i] = np.nan
                    masked = True
        x = end
    return masked


@njit(inline="always", error_model="numpy")
def _inverse_gain(gain, low, weight, y, inverse):
    """1/A² of line ``y``: made anew only where A changes, which in most products it never does along azimuth."""
    if y == 0 or low[y] != low[y - 1] or weight[y] != weight[y - 1]:
        gain0, gain1 = gain[low[y]], gain[min(low[y] + 1, gain.shape[0] - 1)]
        for x in range(inverse.shape[0]):
            a = (1.0 - weight[y]) * gain0[x] + weight[y] * gain1[x]
            inverse[x] = 1.0 / (a * a)


@njit(nogil=True, error_model="numpy")
def sigma0_lines(dn, spans, gain, low, weight, flat, pointer, whole, fraction, out):
    """σ0 at full resolution."""
    n_lines, n_pixels = dn.shape
    inverse, row = np.empty(n_pixels), np.empty(n_pixels)
    for y in range(n_lines):
        _inverse_gain(gain, low, weight, y, inverse)
        _line_sigma0(dn[y], spans[y], inverse, flat, whole, fraction, pointer[y], pointer[y + 1], row)
        for x in range(n_pixels):
            out[y, x] = row[x]


@njit(nogil=True, error_model="numpy")
def sigma0_block_lines(dn, spans, gain, low, weight, flat, pointer, whole, fraction, out):
    """σ0 averaged over square blocks; NaN where less than half a block was observed."""
    n_pixels = dn.shape[1]
    looks = n_pixels // out.shape[1]
    inverse, row, total, count = np.empty(n_pixels), np.empty(n_pixels), np.empty(n_pixels), np.empty(n_pixels)
    totals, counts = np.empty(out.shape[1]), np.empty(out.shape[1])
    for block in range(out.shape[0]):
        total[:] = 0.0
        gaps = False
        for y in range(block * looks, (block + 1) * looks):  # down the columns first: neighbours add up side by side
            _inverse_gain(gain, low, weight, y, inverse)
            masked = _line_sigma0(dn[y], spans[y], inverse, flat, whole, fraction, pointer[y], pointer[y + 1], row)
            if not masked:
                for x in range(n_pixels):
                    total[x] += row[x]
                continue
            if not gaps:
                count[:] = looks
                gaps = True
            for x in range(n_pixels):
                seen = row[x] == row[x]
                total[x] += row[x] if seen else 0.0
                count[x] -= 0.0 if seen else 1.0
        _across(total, looks, totals)
        counts[:] = looks * looks
        if gaps:
            _across(count, looks, counts)
        for b in range(out.shape[1]):
            out[block, b] = totals[b] / counts[b] if 2.0 * counts[b] >= looks * looks else np.nan


@njit(inline="always")
def _across(values, looks, sums):
    """Sums of `looks` neighbours."""
    sums[:] = 0.0
    for k in range(looks):
        for b in range(sums.shape[0]):
            sums[b] += values[b * looks + k]


@njit(nogil=True, error_model="numpy")
def nesz_lines(gain, low, weight, columns, flat, pointer, whole, fraction, out):
    """NESZ at chosen lines and columns; NaN where no segment covers a pixel."""
    last = gain.shape[0] - 1
    for y in range(out.shape[0]):
        out[y, :] = np.nan
        high = min(low[y] + 1, last)
        w = weight[y]
        s0, s1 = pointer[y], pointer[y + 1]
        for i in range(columns.shape[0]):
            x = columns[i]
            for s in range(s0, s1):
                if whole[s, 0] <= x <= whole[s, 1]:
                    a = (1.0 - w) * gain[low[y], x] + w * gain[high, x]
                    at = x - whole[s, 0]
                    u = fraction[s, 0]
                    eta = fraction[s, 1] * ((1.0 - u) * flat[whole[s, 2] + at] + u * flat[whole[s, 3] + at])
                    out[y, i] = eta / (a * a)


_THIN = 4  #: fewer dark pixels at an end may be speckle


@njit(inline="always")
def _border_reach(dn, least, side):
    """How many pixels from one end of a line are border noise: until the mean power of 16 reaches the threshold."""
    n = dn.shape[0]
    run = min(_RUN, n)
    for i in range(n - run + 1):
        total, limit = 0.0, 0.0
        for k in range(run):
            x = i + k if side == 0 else n - 1 - i - k
            d = np.float64(dn[x])
            total += d * d
            limit += least[x]
        if total >= limit:
            end = i  # the window holds the first observed pixel: up to it all is border
            while end < n:
                x = end if side == 0 else n - 1 - end
                d = np.float64(dn[x])
                if d * d >= least[x]:
                    break
                end += 1
            return end if end >= _THIN else 0
    return n


@njit(nogil=True, error_model="numpy")
def mask_border(dn, first_line, image_lines, least, spacing, above, below, sigma0):
    """NaN in σ0 at border noise: inwards from both sides, and where it lies above or below an observed column."""
    n_lines, n_pixels = dn.shape
    for y in range(n_lines):
        line = first_line + y
        limit = least[line // spacing]
        left = _border_reach(dn[y], limit, 0)
        sigma0[y, :left] = np.nan
        if left < n_pixels:
            sigma0[y, n_pixels - _border_reach(dn[y], limit, 1) :] = np.nan
        for x in range(n_pixels):
            if line < above[x] or line >= image_lines - below[x]:
                sigma0[y, x] = np.nan


@njit(nogil=True, error_model="numpy")
def border_depth(dn, first_line, downwards, least, spacing, start, depth, open_columns):
    """Follow border noise along the columns through some lines; whether it goes on behind them.

    ``depth`` is its extent in each column so far, ``open_columns`` where it has not ended; both are changed. Lines are
    taken downwards from ``first_line``, or upwards from the last one; ``start`` is their number from the image's end.
    """
    n_lines, n_pixels = dn.shape
    half = _RUN // 2
    going_on = True
    total = np.zeros(n_pixels + 1)
    for k in range(n_lines):
        y = k if downwards else n_lines - 1 - k
        limit = least[(first_line + y) // spacing]
        left = _border_reach(dn[y], limit, 0)
        right = n_pixels
        if left < n_pixels:
            right -= _border_reach(dn[y], limit, 1)
        for x in range(n_pixels):
            d = np.float64(dn[y, x])
            total[x + 1] = total[x] + d * d - limit[x]
        # Wide sides may end while a sub-swath between them has not begun: its columns are followed until they do.
        going_on = left + n_pixels - right > n_pixels // 8
        for x in range(left, right):
            if open_columns[x]:
                a = max(min(x - half, n_pixels - _RUN), 0)
                b = min(a + _RUN, n_pixels)
                if total[b] < total[a]:
                    depth[x] = start + k + 1
                    going_on = True
                else:
                    open_columns[x] = False
    return going_on
