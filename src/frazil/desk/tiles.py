"""What the page shows of a map, as tiles: 256 × 256 pixels of a pyramid whose finest level are the map's own pixels.

Tiles are pictures in the map's own projection, painted from arrays in memory: any browser shows them, and a new stretch
or a map learnt anew is there at once. In planes of codes and percents everything is one more than in the map, so that
0 is where nothing was observed in all of them (255 in the map).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

TILE = 256  #: pixels along a side


@dataclass(frozen=True, eq=False)
class Pyramid:
    """A plane, and the same in halves, quarters … until it fits into a tile.

    Attributes:
        levels: uint8 (y, x), the finest first.
    """

    levels: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, plane: np.ndarray, n_levels: int, *, average: bool) -> Pyramid:
        """The pyramid of a plane.

        Args:
            plane: uint8 (y, x).
            n_levels: see `levels_of`.
            average: means of four, of those that are not 0; otherwise one of the four.
        """
        levels = [np.ascontiguousarray(plane)]
        for _ in range(n_levels - 1):
            levels.append(_halved(levels[-1]) if average else np.ascontiguousarray(levels[-1][::2, ::2]))
        return cls(tuple(levels))

    def block(self, zoom: int, column: int, row: int) -> np.ndarray | None:
        """One tile, uint8 (`TILE`, `TILE`), 0 beyond the plane; None where there is no such tile.

        Args:
            zoom: 0 is the coarsest level.
            column: of the tile, from the left.
            row: of the tile, from above.
        """
        if not 0 <= zoom < len(self.levels):
            return None
        level = self.levels[len(self.levels) - 1 - zoom]
        y, x = row * TILE, column * TILE
        if min(row, column) < 0 or y >= level.shape[0] or x >= level.shape[1]:
            return None
        part = level[y : y + TILE, x : x + TILE]
        if part.shape == (TILE, TILE):
            return part
        out = np.zeros((TILE, TILE), np.uint8)
        out[: part.shape[0], : part.shape[1]] = part
        return out


def levels_of(shape: tuple[int, int]) -> int:
    """How many levels a pyramid needs for the coarsest to fit into one tile."""
    n, longest = 1, max(shape)
    while longest > TILE:
        n, longest = n + 1, -(-longest // 2)
    return n


def _halved(plane: np.ndarray) -> np.ndarray:
    rows, columns = plane.shape
    padded = np.pad(plane, ((0, rows % 2), (0, columns % 2)))
    four = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).transpose(1, 3, 0, 2)
    total = four.sum(axis=(0, 1), dtype=np.uint16)
    count = (four > 0).sum(axis=(0, 1), dtype=np.uint16)
    return np.asarray((total + count // 2) // np.maximum(count, 1), np.uint8)


@dataclass(frozen=True, eq=False)
class Paint:
    """Colours of the 256 values of a plane.

    Attributes:
        colours: uint8 (256, 3).
        opacity: uint8 (256,).
    """

    colours: np.ndarray
    opacity: np.ndarray


def paint_of_codes(colours: Mapping[int, Sequence[int]]) -> Paint:
    """Codes of a map in their colours, for a plane of one more; all others are not drawn."""
    table, opacity = np.zeros((256, 3), np.uint8), np.zeros(256, np.uint8)
    for code, colour in colours.items():
        table[code + 1], opacity[code + 1] = colour, 255
    return Paint(table, opacity)


def paint_of_ramp(stops: Sequence[Sequence[int]], low: float, high: float) -> Paint:
    """Values of a plane from low to high in colours that run evenly through some stops; 0 is clear."""
    value = np.arange(256.0)
    share = np.clip((value - low) / max(high - low, 1e-9), 0, 1) * (len(stops) - 1)
    table = np.stack([np.interp(share, np.arange(len(stops)), channel) for channel in np.array(stops).T], axis=1)
    opacity = np.where(value > 0, 255, 0)
    return Paint(np.rint(table).astype(np.uint8), opacity.astype(np.uint8))


def png(block: np.ndarray, paint: Paint) -> bytes:
    """A tile as a PNG with a palette."""
    image = Image.fromarray(block, "P")
    image.putpalette(paint.colours.tobytes())
    out = io.BytesIO()
    image.save(out, "PNG", transparency=paint.opacity.tobytes(), compress_level=1)
    return out.getvalue()


def png_of_colours(blocks: Sequence[np.ndarray], stretches: Sequence[tuple[float, float]]) -> bytes:
    """A tile whose red, green and blue are three planes, each between two values; clear where the first is 0."""
    planes = [
        np.clip((block.astype(np.float32) - low) * (255 / max(high - low, 1e-9)), 0, 255).astype(np.uint8)
        for block, (low, high) in zip(blocks, stretches, strict=True)
    ]
    seen = np.where(blocks[0] > 0, np.uint8(255), np.uint8(0))
    out = io.BytesIO()
    Image.fromarray(np.stack([*planes, seen], axis=-1)).save(out, "PNG", compress_level=1)
    return out.getvalue()
