"""Running a network over images: the interface that every engine has."""

from __future__ import annotations

from typing import Protocol

import numpy as np

ENGINES = ("auto", "torch", "openvino")
PRECISION_NAMES = ("float32", "bfloat16")


class Engine(Protocol):
    """Logits of images.

    Attributes:
        stride: heights and widths must be multiples of it.
        margin: pixels around a result that decide about it; a multiple of the stride.
        cell: results come in squares of so many pixels.
        view: pixels along a side of a cell of the network's wide view; 1 where it has none. Otherwise `look` comes
            first, once a scene.
    """

    stride: int
    margin: int
    cell: int
    view: int

    def look(self, wide: np.ndarray) -> None:
        """Take the wide view of a scene, float32 (channel, row, column), for the images that follow."""
        ...

    def __call__(self, image: np.ndarray, corner: tuple[int, int] = (0, 0), /) -> np.ndarray:
        """Logits float32 (class, height, width) of one float32 image (channel, height, width).

        Args:
            image: cut from a scene.
            corner: its first line and pixel there, multiples of the stride.
        """
        ...
