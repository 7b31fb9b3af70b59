"""Logits to probabilities and scores."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.special import expit

_CACHED = 2**18  # float32 numbers that stay in the cache of a core between two passes


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (class, …) of logits (class, …)."""
    p = np.exp(logits - logits.max(axis=0))
    p /= p.sum(axis=0)
    return p


def half_percents(logits: np.ndarray, temperature: float, out: np.ndarray) -> None:
    """Probabilities (class, line, pixel) of logits in half percents, 0…200, into uint8; in parts that fit the cache."""
    rows = max(_CACHED // max(logits.shape[0] * logits.shape[2], 1), 1)
    scale = np.float32(1 / temperature)

    def work(first: int) -> None:
        part = slice(first, first + rows)
        z = logits[:, part] * scale
        z -= z.max(axis=0)
        np.exp(z, out=z)
        z *= 200 / z.sum(axis=0)
        np.rint(z, out=z)
        out[:, part] = z

    with ThreadPoolExecutor(2) as pool:
        deque(pool.map(work, range(0, logits.shape[1], rows)), maxlen=0)


def percents(logits: np.ndarray, temperature: float, output: str, out: np.ndarray) -> None:
    """Scores (class, row, column) of logits in percent, 0…100, into uint8.

    Args:
        logits: float32.
        temperature: by which they are divided.
        output: ``"softmax"`` where classes exclude each other, ``"sigmoid"`` where each holds for itself.
        out: where to.
    """
    z = logits / np.float32(temperature)
    score = softmax(z) if output == "softmax" else expit(z)
    np.rint(100 * score, out=out, casting="unsafe")
