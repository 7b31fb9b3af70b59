"""Class probabilities as whole percents that sum to 100."""

from __future__ import annotations

import numpy as np

_ROWS = 128  # at a time: they stay in the cache


def whole_percents(weights: np.ndarray, share: np.ndarray | None = None) -> np.ndarray:
    """Percents uint8 (class, y, x) of non-negative weights uint8 (class, y, x), by largest remainder.

    At every pixel they sum to 100, none is off by 1 or more, and the order of the classes stays. Rounded each by
    itself they would sum to anything from 98 to 102 with four classes. Pixels whose weights are all 0 get 0.

    Args:
        weights: of each class.
        share: uint8 (y, x), 0 to 100: what the percents sum to in place of 100, where these classes are not all.
    """
    out = np.empty_like(weights)
    for start in range(0, weights.shape[1], _ROWS):
        rows = slice(start, start + _ROWS)
        part = weights[:, rows].astype(np.uint16)
        total = part.sum(axis=0, dtype=np.uint16)
        whole = np.uint16(100) if share is None else share[rows].astype(np.uint16)
        scaled = part * whole  # 255 × 100 fits
        base = scaled // np.maximum(total, 1)
        rest = scaled - base * total
        missing = np.where(total > 0, whole, 0).astype(np.uint16) - base.sum(axis=0, dtype=np.uint16)
        for code in range(len(part)):
            ahead = np.zeros(total.shape, np.uint16)
            for other in range(len(part)):
                if other != code:
                    ahead += _goes_before(rest[other], rest[code], part[other], part[code], first=other < code)
            out[code, rows] = base[code] + (ahead < missing)
    return out


def _goes_before(
    rest: np.ndarray, mine: np.ndarray, weight: np.ndarray, my_weight: np.ndarray, *, first: bool
) -> np.ndarray:
    """Where another class is rounded up before mine: larger remainder; of equal ones the heavier, then the first."""
    equal = (weight >= my_weight) if first else (weight > my_weight)
    before: np.ndarray = (rest > mine) | ((rest == mine) & equal)
    return before
