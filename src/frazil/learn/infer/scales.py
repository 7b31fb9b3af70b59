"""One network at several scales: it looks at an image, at the image made coarser or finer, and its scores are averaged.

A network knows phenomena of the size that it has learnt; at half the scale it sees twice the ground, and finds what is
twice as large. Scales are whole numbers or one over a whole number, so that cells fit into each other: means over
blocks, or linear between pixels, on the way in; the same score at each finer cell, or the mean of them, on the way out.

References:
    Chen, L.-C., Yang, Y., Wang, J., Xu, W., Yuille, A. L. (2016), Attention to scale: scale-aware semantic image
        segmentation. CVPR 2016. doi:10.1109/CVPR.2016.396: averages of scores over scales are its baseline.
    Colin, A., et al. (2022), Remote Sens. 14, 851, section 6: several scales as future work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import lcm

import numpy as np
from scipy.special import expit, logit

from frazil.errors import OptionError
from frazil.labels.imagettes import resample
from frazil.learn.infer.engine import Engine
from frazil.learn.infer.softmax import softmax

_MOST = 16
_SURE = 1e-6  # scores are kept this far from 0 and 1 on their way back to logits


def check_scales(scales: Sequence[float]) -> tuple[float, ...]:
    """The scales, if they are such as images can be looked at.

    Raises:
        OptionError: none, one twice, or one that is neither a whole number nor one over a whole number, up to 16.
    """
    for scale in scales:
        near = scale if scale >= 1 else 1 / scale if scale > 0 else 0.0
        if not 1 <= near <= _MOST or abs(near - round(near)) > 1e-6:
            raise OptionError(
                f"scale {scale:g} is neither a whole number nor one over a whole number, up to {_MOST}: cells would "
                "not fit into each other. Take scales such as 1, 0.5, 0.25 or 2."
            )
    if not scales or len(set(scales)) < len(scales):
        raise OptionError(f"scales {', '.join(f'{s:g}' for s in scales) or 'none'}: name one or more, each once.")
    return tuple(float(scale) for scale in scales)


def blocks_of(scale: float) -> int:
    """Pixels of the image along a side of one at this scale; 1 at scale 1 and above."""
    return max(round(1 / scale), 1)


def at_scale(image: np.ndarray, scale: float) -> np.ndarray:
    """An image (channel, height, width) at a scale, float32; a block that sticks out is filled by its last pixels."""
    if scale == 1:
        return image
    block = blocks_of(scale)
    whole = np.pad(image, [(0, 0), *((0, -n % block) for n in image.shape[1:])], mode="edge")
    shape = round(whole.shape[1] * scale), round(whole.shape[2] * scale)
    return np.stack([resample(plane, shape) for plane in whole])


def onto_cells(score: np.ndarray, scale: float, shape: tuple[int, int]) -> np.ndarray:
    """Scores (class, row, column) of an image at a scale on the cells of the image itself, so many rows and columns."""
    if scale < 1:
        block = blocks_of(scale)
        return np.repeat(np.repeat(score, block, axis=1), block, axis=2)[:, : shape[0], : shape[1]]
    k = round(scale)
    if k == 1:
        return score
    parts = score[:, : shape[0] * k, : shape[1] * k].reshape(len(score), shape[0], k, shape[1], k)
    return np.asarray(parts.mean(axis=(2, 4)))


def mean_over_scales(
    image: np.ndarray,
    scales: Sequence[float],
    shape: tuple[int, int],
    scores: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Mean score (class, row, column) of an image over scales.

    Args:
        image: float32 (channel, height, width).
        scales: see `check_scales`.
        shape: rows and columns of cells of the image.
        scores: of an image at a scale, on its own cells of as many pixels.
    """
    if tuple(scales) == (1.0,):  # as it comes, to the last bit
        return scores(image)
    found = [onto_cells(scores(at_scale(image, s)), s, shape) for s in scales]
    return np.asarray(np.mean(found, axis=0), np.float32)


class ManyScales:
    """An engine that looks at several scales; see `frazil.learn.infer.engine.Engine`.

    Its logits are those of the mean score at the model's temperature, so that who divides by it and applies softmax or
    sigmoid gets the mean score.

    Args:
        engine: of one scale, without a wide view.
        scales: see `check_scales`.
        temperature: of the model.

    Raises:
        OptionError: impossible scales, or a network with a wide view, which has a scale of its own.
    """

    def __init__(self, engine: Engine, scales: Sequence[float], temperature: float) -> None:
        if engine.view > 1:
            raise OptionError("A network with a wide view looks at two scales already. Leave out --scales.")
        self.engine, self.scales, self.temperature = engine, check_scales(scales), temperature
        blocks = [blocks_of(s) for s in self.scales]
        self.stride = engine.stride * lcm(*blocks)
        # One block more than the network sees: what is linear between pixels looks at its neighbours.
        self.margin = -(-(engine.margin * max(blocks) + max(blocks)) // self.stride) * self.stride
        self.cell, self.output, self.view = engine.cell, engine.output, 1

    def look(self, wide: np.ndarray) -> None:
        """There is no wide view."""

    def __call__(self, image: np.ndarray, corner: tuple[int, int] = (0, 0), /) -> np.ndarray:  # noqa: ARG002
        """See `Engine`."""
        shape = -(-image.shape[1] // self.cell), -(-image.shape[2] // self.cell)
        mean = mean_over_scales(image, self.scales, shape, self._scores)
        known = np.clip(mean, _SURE, 1 - _SURE)
        z = np.log(known) if self.output == "softmax" else logit(known)
        return np.asarray(z * self.temperature, np.float32)

    def _scores(self, image: np.ndarray) -> np.ndarray:
        z = self.engine(np.ascontiguousarray(image)) / np.float32(self.temperature)
        return softmax(z) if self.output == "softmax" else np.asarray(expit(z))
