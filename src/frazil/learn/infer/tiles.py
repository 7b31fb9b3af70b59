"""The one loop over tiles: an engine's results on a whole scene, a row of tiles in memory at a time.

References:
    Ronneberger, O., Fischer, P., Brox, T. (2015), U-Net. MICCAI 2015, section 2: overlapping tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from frazil.learn.infer.engine import Engine
from frazil.scene.tiles import TileGrid, Window, even_core

Read = TypeVar("Read")


@dataclass(frozen=True, eq=False)
class Part(Generic[Read]):
    """What an engine makes of the core of a tile.

    Attributes:
        core: its pixels.
        cells: rows and columns of its results among those of the scene; a last one may stick out of the scene.
        logits: float32 (class, row, column).
        read: what was read with the input, of full-width lines.
        lines: the lines of `core` in it.
    """

    core: Window
    cells: tuple[slice, slice]
    logits: np.ndarray
    read: Read
    lines: slice


def tiles_for(
    engine: Engine, shape: tuple[int, int], tile: int, *, core: int | None = None, margin: int | None = None
) -> TileGrid:
    """Tiles whose results do not depend on how a scene is cut into them.

    Args:
        engine: its margin covers what decides about a result.
        shape: lines and pixels of the scene.
        tile: largest side of a core, pixels.
        core: side of a core, in place of `tile`.
        margin: in place of the engine's; seams may show.
    """
    return TileGrid(
        shape=shape,
        core=even_core(shape, tile, engine.stride) if core is None else (core, core),
        margin=engine.margin if margin is None else margin,
        multiple=engine.stride,
    )


def tile_logits(
    engine: Engine,
    tiles: TileGrid,
    read: Callable[[slice], tuple[np.ndarray, Read]],
    progress: Callable[[float], None] | None = None,
    corner: tuple[int, int] = (0, 0),
) -> Iterator[Part[Read]]:
    """Run an engine over a scene, tile by tile; the next row of tiles is read while one is worked on.

    Args:
        engine: after `Engine.look`, where it has a wide view.
        tiles: see `tiles_for`.
        read: input float32 (channel, line, pixel) of full-width lines, and what else is wanted of them.
        progress: called with the fraction done.
        corner: first line and pixel, in the scene that the engine looked at, of what is read and cut into tiles.
    """
    rows, cell, done = list(tiles.rows()), engine.cell, 0
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(read, rows[0][0][1].slices[0])
        for number, row in enumerate(rows):
            inputs, also = ahead.result()
            if number + 1 < len(rows):
                ahead = pool.submit(read, rows[number + 1][0][1].slices[0])
            for core, reach in row:
                lines, pixels = reach.slices
                logits = engine(inputs[:, :, pixels], (corner[0] + lines.start, corner[1] + pixels.start))
                within = tuple(_cells(part, cell) for part in core.inside(reach))
                here = tuple(_cells(part, cell) for part in core.slices)
                yield Part(core, (here[0], here[1]), logits[(slice(None), *within)], also, core.inside(reach)[0])
                done += 1
                if progress:
                    progress(done / len(tiles))


def _cells(pixels: slice, cell: int) -> slice:
    """The cells that hold some pixels, of which the first starts a cell."""
    return slice(pixels.start // cell, -(-pixels.stop // cell))
