"""An image at several resolutions, ready to be matched: trends removed, gaps filled, local norms at hand."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

_LEAST = 1e-6  # sum of squares of a window without any contrast, dB²


@dataclass(frozen=True, eq=False)
class Level:
    """One resolution of an image.

    Attributes:
        values: dB without trends wider than a template, 0 where missing; float32 (polarization, y, x).
        norm: 1 / √(Σ(v − mean)²) over the template-sized window around each pixel, 0 where too little of it was
            observed or it has no contrast; likewise.
        factor: side of its pixels, in pixels of the finest level.
    """

    values: np.ndarray
    norm: np.ndarray
    factor: int


def make_level(image: np.ndarray, factor: int, template: int, min_observed: float) -> Level:
    """A level of an image.

    Args:
        image: dB, NaN where missing, float32 (polarization, y, x).
        factor: side of its pixels.
        template: side of a template, pixels of this level, odd.
        min_observed: share of a template's window that must have been observed.
    """
    coarse = coarsened(image, factor)
    values, norm = np.zeros_like(coarse), np.zeros_like(coarse)

    def work(k: int) -> None:
        seen = np.isfinite(coarse[k])
        values[k] = without_trend(coarse[k], seen, template)
        norm[k] = window_norm(values[k], seen, template, min_observed)

    with ThreadPoolExecutor(2) as pool:
        deque(pool.map(work, range(len(coarse))), maxlen=0)
    return Level(values=values, norm=norm, factor=factor)


def without_trend(band: np.ndarray, seen: np.ndarray, template: int) -> np.ndarray:
    """A band less its mean over windows of twice the template, 0 where not seen; float32 (y, x)."""
    values = np.where(seen, band, np.float32(0))
    total, weight = (_mean(v, 2 * template + 1) for v in (values, seen.astype(np.float32)))
    np.maximum(weight, np.float32(1e-6), out=weight)
    total /= weight
    values -= total
    values[~seen] = 0
    return values


def window_norm(values: np.ndarray, seen: np.ndarray, template: int, min_observed: float) -> np.ndarray:
    """1 / √(Σ(v − mean)²) over the window of side `template` around each pixel, see `Level`; float32 (y, x)."""
    mean, out = _mean(values, template), _mean(values * values, template)
    out -= mean * mean
    out *= np.float32(template**2)
    share = _mean(seen.astype(np.float32), template)
    fine = (share >= min_observed - 1e-4) & (out > _LEAST)
    np.maximum(out, np.float32(_LEAST), out=out)
    np.sqrt(out, out=out)
    return np.where(fine, 1 / out, np.float32(0))


def _mean(values: np.ndarray, side: int) -> np.ndarray:
    """Means over square windows, 0 beyond the border."""
    return np.asarray(ndimage.uniform_filter(values, size=side, mode="constant"))


def coarsened(image: np.ndarray, factor: int) -> np.ndarray:
    """Means of factor × factor pixels, of those that were observed, at least half; float32 (polarization, y, x).

    Pixels beyond the last whole block fill one up, as missing.
    """
    if factor == 1:
        return image
    pad = [(0, 0), *((0, -n % factor) for n in image.shape[1:])]
    whole = np.pad(image, pad, constant_values=np.nan)
    blocks = whole.reshape(len(whole), whole.shape[1] // factor, factor, whole.shape[2] // factor, factor)
    seen = np.isfinite(blocks)
    count = seen.sum(axis=(2, 4))
    total = np.where(seen, blocks, np.float32(0)).sum(axis=(2, 4), dtype=np.float64)
    enough = count >= factor * factor / 2
    return np.where(enough, total / np.maximum(count, 1), np.nan).astype(np.float32)
