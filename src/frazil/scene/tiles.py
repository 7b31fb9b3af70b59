"""Cutting an array into tiles and putting results together again: integers only.

A tile has a *core*, the part whose result is kept, and a *reach*, the core widened by a margin and clipped to the
array. Cores partition the array. If the margin covers the receptive field and cores start at multiples of the
network's stride, what is kept does not depend on the tiling.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from frazil.errors import OptionError


@dataclass(frozen=True)
class Window:
    """A half-open box of lines and pixels."""

    line: int
    pixel: int
    n_lines: int
    n_pixels: int

    def __post_init__(self) -> None:
        if min(self.line, self.pixel) < 0 or min(self.n_lines, self.n_pixels) < 1:
            raise OptionError(f"A window starts at 0 or later and holds at least one pixel; got {self}.")

    @property
    def slices(self) -> tuple[slice, slice]:
        """For indexing a (line, pixel) array."""
        return (
            slice(self.line, self.line + self.n_lines),
            slice(self.pixel, self.pixel + self.n_pixels),
        )

    def inside(self, outer: Window) -> tuple[slice, slice]:
        """For indexing, in an array that holds `outer`, the part that is this window."""
        line, pixel = self.line - outer.line, self.pixel - outer.pixel
        return slice(line, line + self.n_lines), slice(pixel, pixel + self.n_pixels)


def even_core(shape: tuple[int, int], limit: int, multiple: int) -> tuple[int, int]:
    """The core size, at most about `limit`, that cuts an array into tiles of nearly equal size.

    A last tile of a few lines would still need its whole margin: equal tiles waste least.
    """
    core = []
    for n in shape:
        tiles = -(-n // max(limit, multiple))
        core.append(-(-n // (tiles * multiple)) * multiple)
    return core[0], core[1]


@dataclass(frozen=True, kw_only=True)
class TileGrid:
    """A partition of an array into tiles.

    Attributes:
        shape: of the array.
        core: lines, pixels of a core; the last ones may be smaller.
        margin: by which a reach exceeds its core on every side, clipped to the array.
        multiple: cores and reaches start at multiples of this (the network's total stride).
    """

    shape: tuple[int, int]
    core: tuple[int, int]
    margin: int = 0
    multiple: int = 1

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or min(self.core) < 1 or self.margin < 0 or self.multiple < 1:
            raise OptionError(f"Impossible tile grid: {self}.")
        if any(c % self.multiple and c < n for c, n in zip(self.core, self.shape, strict=True)):
            raise OptionError(f"Tile core {self.core} must be a multiple of {self.multiple}, the network's stride.")
        if self.margin % self.multiple:
            raise OptionError(f"Tile margin {self.margin} must be a multiple of {self.multiple}, the network's stride.")

    def rows(self) -> Iterator[list[tuple[Window, Window]]]:
        """(core, reach) of every tile, row by row of tiles: a row shares its lines, so they are read once."""
        for line in range(0, self.shape[0], self.core[0]):
            row = []
            for pixel in range(0, self.shape[1], self.core[1]):
                n_lines = min(self.core[0], self.shape[0] - line)
                n_pixels = min(self.core[1], self.shape[1] - pixel)
                core = Window(line, pixel, n_lines, n_pixels)
                row.append((core, self._reach(core)))
            yield row

    def __iter__(self) -> Iterator[tuple[Window, Window]]:
        for row in self.rows():
            yield from row

    def __len__(self) -> int:
        lines, pixels = (-(-n // c) for n, c in zip(self.shape, self.core, strict=True))
        return lines * pixels

    def _reach(self, core: Window) -> Window:
        line, pixel = max(core.line - self.margin, 0), max(core.pixel - self.margin, 0)
        stop = min(core.line + core.n_lines + self.margin, self.shape[0])
        end = min(core.pixel + core.n_pixels + self.margin, self.shape[1])
        return Window(line, pixel, stop - line, end - pixel)
