"""The large displacements, found without knowing anything: whole search ranges at a coarse resolution.

Every template is correlated with all of its search range by the fast Fourier transform, for a fan of rotations.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from frazil.jit import njit
from frazil.motion.matching import Match, cut_template, evidence, together
from frazil.motion.pyramid import Level


def search(
    first: Level,
    second: Level,
    row: np.ndarray,
    column: np.ndarray,
    turns_deg: np.ndarray,
    *,
    template: int,
    radius: int,
) -> Match:
    """Find templates of the first level anywhere within a radius in the second, see `frazil.motion.matching.match`.

    Args:
        first: level that templates are cut from.
        second: level of the same factor.
        row: of the nodes, pixels of the level, integers (node).
        column: likewise.
        turns_deg: rotations to try.
        template: side, pixels, odd.
        radius: pixels along each axis.
    """
    half = template // 2
    side = 2 * radius + 1
    size = [fft.next_fast_len(side + 2 * half, real=True)] * 2
    ring = np.pad(second.values, ((0, 0), *[(radius + half,) * 2] * 2))
    norms = np.pad(second.norm, ((0, 0), *[(radius,) * 2] * 2))
    distance = np.arange(-radius, radius + 1) ** 2
    within = distance[:, None] + distance <= radius**2
    out = np.full((len(row), 5), np.nan)
    n_pol = len(first.values)
    patterns = np.empty((n_pol, len(turns_deg), template, template), np.float32)
    for k, (r, c) in enumerate(zip(row.tolist(), column.tolist(), strict=True)):
        have = [p for p in range(n_pol) if _cut(first, p, r, c, turns_deg, half, patterns[p])]
        if not have:
            continue
        total = np.zeros((len(turns_deg), side, side), np.float32)
        seen = np.zeros((side, side), bool)
        for p in have:
            window = ring[p, r : r + side + 2 * half, c : c + side + 2 * half]
            norm = norms[p, r : r + side, c : c + side]
            spectrum = fft.rfft2(window, size) * np.conj(fft.rfft2(patterns[p], size, workers=2))
            _add(fft.irfft2(spectrum, size, workers=2)[:, :side, :side], norm, total)
            seen |= norm > 0
        total[:, ~(seen & within)] = -np.inf
        best = np.unravel_index(int(np.argmax(total)), total.shape)
        if np.isfinite(total[best]):
            turn, i, j = (int(v) for v in best)
            out[k, :4] = i - radius, j - radius, turns_deg[turn], together(float(total[best]))
    return Match(*out.T)


def _cut(level: Level, p: int, r: int, c: int, turns_deg: np.ndarray, half: int, out: np.ndarray) -> bool:
    """Fill `out` (turn, y, x) with the turned templates of one polarisation; whether there is one."""
    if level.norm[p, r, c] <= 0:
        return False
    return all(cut_template(level.values[p], r, c, float(t), half, out[a]) for a, t in enumerate(turns_deg))


@njit(nogil=True)
def _add(product, norm, total):  # type: ignore[no-untyped-def]
    for a in range(total.shape[0]):
        for i in range(total.shape[1]):
            for j in range(total.shape[2]):
                total[a, i, j] += evidence(product[a, i, j] * norm[i, j])
