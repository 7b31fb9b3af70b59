"""Running a network over images: the interface that every engine has."""

from __future__ import annotations

from typing import Protocol

import numpy as np

ENGINES = ("auto", "torch", "openvino")
PRECISION_NAMES = ("float32", "bfloat16")


class Engine(Protocol):
    """Logits of images.

    Attributes:
        stride: images start at multiples of it; what is missing to a multiple is filled as the network has learnt it.
        margin: pixels around a result that decide about it; a multiple of the stride.
        cell: results come in squares of so many pixels.
        output: what logits mean, see `frazil.learn.models.output.output_of`.
        view: pixels along a side of a cell of the network's wide view; 1 where it has none. Otherwise `look` comes
            first, once a scene.
    """

    stride: int
    margin: int
    cell: int
    output: str
    view: int

    def look(self, wide: np.ndarray) -> None:
        """Take the wide view of a scene, float32 (channel, row, column), for the images that follow."""
        ...

    def __call__(self, image: np.ndarray, corner: tuple[int, int] = (0, 0), /) -> np.ndarray:
        """Logits float32 (class, row, column) of one image, one for each cell; a last one may stick out of the image.

        Args:
            image: float32 (channel, height, width), cut from a scene.
            corner: its first line and pixel there, multiples of the stride.
        """
        ...


def filled(image: np.ndarray, multiple: int) -> np.ndarray:
    """An image (channel, height, width) with zeros after its last lines and pixels, to a multiple of so many."""
    return np.pad(image, [(0, 0), *((0, -n % multiple) for n in image.shape[1:])])
