"""The part of a scene that a box needs, so that the map inside the box is that of the whole scene.

The map of the part lies on pixels of the whole's grid, and its warp on nodes of the whole's lattice. What decides about
its results is taken along: around the pixels those that tell the border of the data, around these the margin of the
network, from where tiles of the whole scene could begin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from frazil.errors import OptionError
from frazil.scene.box import Box, box_of
from frazil.scene.geolocation import Geolocation
from frazil.scene.grid import MapGrid, Warp, plan_warp
from frazil.scene.land import land_lattice, land_on
from frazil.scene.quicklook import NODATA as NOT_SEEN
from frazil.scene.quicklook import QuickLook
from frazil.scene.tiles import TileGrid, Window

_LOOKED_AT = 400  # cells along a side, of which it is asked whether they lie in the box


@dataclass(frozen=True, eq=False)
class MapPart:
    """A box on the map of a scene.

    Attributes:
        whole: grid of the map of the whole scene.
        rows, columns: of it, that hold the box.
        warp: onto a grid that holds them and begins on a node of the whole's lattice.
        lines, pixels: of the cells that results come in, those that `warp` samples.
    """

    whole: MapGrid
    rows: slice
    columns: slice
    warp: Warp
    lines: slice
    pixels: slice

    @property
    def grid(self) -> MapGrid:
        """Of the box."""
        return self.whole.part(self.rows, self.columns)

    def on_grid(self, values: np.ndarray) -> np.ndarray:
        """What lies on the grid of `warp` on that of the box."""
        return _inside(values, self.rows, self.columns, self.warp.step)

    def land(self, coast_m: float) -> tuple[np.ndarray, np.ndarray]:
        """Land, and the distance from it where that is less than so many metres; see `land_on`."""
        lattice, more = land_lattice(self.whole), int(np.ceil(coast_m / self.whole.spacing_m))
        parts, offsets = [], []
        for s, n in zip((self.rows, self.columns), self.whole.shape, strict=True):
            start = max(s.start - more, 0) // lattice * lattice
            parts.append(slice(start, min(s.stop + more, n)))
            offsets.append(slice(s.start - start, s.stop - start))
        land, distance = land_on(self.whole.part(parts[0], parts[1]))
        return land[tuple(offsets)], distance[tuple(offsets)]

    def cells(self, radar: np.ndarray, window: Window, cell: int) -> np.ndarray:
        """Of values (…, line, pixel) of the cells of a window of the scene those that `warp` samples."""
        line, pixel = window.line // cell, window.pixel // cell
        return radar[
            ..., self.lines.start - line : self.lines.stop - line, self.pixels.start - pixel : self.pixels.stop - pixel
        ]

    def image(self, look: QuickLook, scene: xr.Dataset) -> np.ndarray:
        """The radar image on the grid of the box, as that of the whole scene is there."""
        warp = plan_warp(scene, self.whole)
        wide = [slice(s.start // warp.step * warp.step, s.stop) for s in (self.rows, self.columns)]
        onto, lines, pixels = warp.part(wide[0], wide[1])
        if onto is None:
            return np.full((len(look.bands), *self.grid.shape), NOT_SEEN, np.uint8)
        return _inside(look.on(onto, (lines.start, pixels.start)), self.rows, self.columns, warp.step)

    def window(self, size: tuple[int, int], tiles: TileGrid, cell: int, margin: int, border: int) -> Window:
        """What to show the network: a window of the scene.

        Args:
            size: lines and pixels of the scene.
            tiles: into which the whole scene would be cut.
            cell: pixels along a side of a result.
            margin: of the engine. Where that of the tiles is narrower, results depend on tiles: there the window
                begins a tile before the first that is wanted, and ends where one does.
            border: cells around that are wanted, too: they tell which cells lie at the border of the data, and make
                the blocks of the radar image.
        """
        first, n = [], []
        for k, (s, total) in enumerate(zip((self.lines, self.pixels), size, strict=True)):
            step, before = (tiles.multiple, margin) if tiles.margin >= margin else (tiles.core[k], tiles.core[k])
            start = max((s.start - border) * cell, 0) // step * step - before
            stop = -(-(s.stop + border) * cell // step) * step + max(tiles.margin, margin)
            first.append(max(start, 0))
            n.append(min(stop, total) - first[-1])
        return Window(first[0], first[1], n[0], n[1])


def part_of(scene: xr.Dataset, whole: MapGrid, box: Box) -> MapPart:
    """The part of the map of a scene that a box needs.

    Args:
        scene: at the middles of the cells that results come in.
        whole: grid of the map of the whole scene.
        box: of longitude and latitude.

    Raises:
        OptionError: the scene does not touch the box, or the box holds fewer than 2 × 2 pixels of the map.
    """
    place = box.on(whole)
    if place is None:
        raise _apart(scene, box)
    rows, columns = place
    if rows.stop - rows.start < 2 or columns.stop - columns.start < 2:
        raise OptionError(
            f"bbox {box} holds {rows.stop - rows.start} × {columns.stop - columns.start} pixels of the map, of "
            f"{whole.spacing_m:g} m. Give one of at least 2 × 2."
        )
    warp = plan_warp(scene, whole)
    wide = [slice(s.start // warp.step * warp.step, s.stop) for s in (rows, columns)]
    onto, lines, pixels = warp.part(wide[0], wide[1])
    if onto is None:
        raise _apart(scene, box)
    seen = _inside(onto.nearest(np.ones(onto.shape, np.uint8), fill=0), rows, columns, warp.step)
    line, pixel = (
        scene[d].values[np.unique(np.linspace(s.start, s.stop - 1, _LOOKED_AT).astype(int))]
        for d, s in (("line", lines), ("pixel", pixels))
    )
    # The corners of what holds the box on the map lie outside it: a scene may be seen in them alone. By a cell's width,
    # since a small box may lie between the middles of cells.
    near = box.wider(float(scene.attrs["spacing_m"]) / 1000)
    held = near.holds(*Geolocation.of(scene).lonlat(line[:, None], pixel[None, :]))
    if not (seen.any() and held.any()):
        raise _apart(scene, box)
    return MapPart(whole, rows, columns, onto, lines, pixels)


def _inside(values: np.ndarray, rows: slice, columns: slice, step: int) -> np.ndarray:
    """Rows and columns of values (…, y, x) that begin on the last node before them."""
    row, column = rows.start % step, columns.start % step
    return np.ascontiguousarray(
        values[..., row : row + rows.stop - rows.start, column : column + columns.stop - columns.start]
    )


def _apart(scene: xr.Dataset, box: Box) -> OptionError:
    return OptionError(
        f"bbox {box} does not touch the scene, which lies within {box_of(Geolocation.of(scene))} "
        "(west, south, east, north)."
    )
