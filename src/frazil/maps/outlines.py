"""Outlines of the patches of a class raster, and sums over the pixels inside them.

GDAL finds the outlines (rasterio.features.shapes); here they become a coverage in the sense of GEOS:
polygons that neither overlap nor leave gaps, with a vertex wherever a neighbour has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np


class Outlines:
    """Outlines of the patches of equal code, as flat arrays of pixel corners.

    Attributes:
        corners: column, row of pixel corners along all closed rings, one ring after the other, ``(n, 2)``.
        rings: where each ring starts in ``corners``, and the end.
        parts: where each polygon starts in ``rings`` (its outer ring comes first), and the end.
        codes: the class of each polygon.
    """

    def __init__(self, corners: np.ndarray, rings: np.ndarray, parts: np.ndarray, codes: np.ndarray) -> None:
        self.corners, self.rings, self.parts, self.codes = corners, rings, parts, codes

    @classmethod
    def of(cls, codes: np.ndarray, sea: np.ndarray) -> Outlines:
        """Outlines of a class raster ``(y, x)`` where ``sea`` is True; patches hang together by pixel sides."""
        from rasterio.features import shapes

        rings, parts, values = [], [0], []
        if sea.any():
            for geometry, value in shapes(codes, mask=sea, connectivity=4):
                rings += [np.array(ring, dtype=np.int32) for ring in geometry["coordinates"]]
                parts.append(len(rings))
                values.append(int(value))
        corners = np.concatenate(rings) if rings else np.zeros((0, 2), np.int32)
        starts = np.cumsum([0, *(len(ring) for ring in rings)])
        return cls(corners, starts, np.array(parts), np.array(values, dtype=int))._noded(codes.shape)

    def _noded(self, shape: tuple[int, int]) -> Outlines:
        """With every corner of a neighbour also in the sides that pass it, as GEOS demands of a coverage.

        GDAL leaves out the corners on a straight side, also where two other patches meet.
        """
        if not len(self.codes):
            return self
        is_corner = np.zeros((shape[0] + 1, shape[1] + 1), bool)
        is_corner[self.corners[:, 1], self.corners[:, 0]] = True
        last = np.zeros(len(self.corners), bool)
        last[self.rings[1:] - 1] = True
        sides = np.flatnonzero(~last)
        step = self.corners[sides + 1] - self.corners[sides]
        length = np.abs(step).sum(axis=1)
        side = np.repeat(np.arange(len(sides)), length)
        along = np.arange(len(side)) - np.repeat(np.cumsum(length) - length, length)
        points = self.corners[sides][side] + along[:, None].astype(np.int32) * np.sign(step)[side]
        keep = is_corner[points[:, 1], points[:, 0]]
        ring_of_side = np.searchsorted(self.rings, sides, side="right") - 1
        size = np.bincount(ring_of_side[side[keep]], minlength=len(self.rings) - 1)
        starts = np.cumsum([0, *(size + 1)])
        corners = np.empty((starts[-1], 2), np.int32)
        closing = np.zeros(starts[-1], bool)
        closing[starts[1:] - 1] = True
        corners[~closing] = points[keep]
        corners[closing] = corners[starts[:-1]]
        return Outlines(corners, starts, self.parts, self.codes)

    def polygons(self) -> np.ndarray:
        """The outlines as shapely polygons in pixel coordinates (column, row)."""
        import shapely

        if not len(self.codes):
            return np.zeros(0, dtype=object)
        return np.asarray(
            shapely.from_ragged_array(
                shapely.GeometryType.POLYGON, self.corners.astype(float), (self.rings, self.parts)
            )
        )

    def sums(self, rasters: Callable[[slice], tuple[np.ndarray, ...]], shape: tuple[int, int]) -> np.ndarray:
        """Exact sums of rasters without negative values over the pixels of each polygon, ``(raster, polygon)``.

        Green's theorem on the pixel grid: with the sums over all pixels above and left of each corner, the sum inside a
        closed ring needs only its upright sides. No raster of polygon numbers is made, and no sum over a whole raster
        is held: the rows pass once.

        Args:
            rasters: gives the rasters ``(y, x)`` of a slice of rows.
            shape: rows, columns.
        """
        order = np.argsort(self.corners[:, 1], kind="stable")
        sorted_rows = self.corners[order, 1]
        above = at = np.zeros(0)
        for rows in bands(shape[0]):
            values = np.stack([np.cumsum(band, axis=1, dtype=float) for band in rasters(rows)])
            if not at.size:
                at = np.zeros((len(values), len(self.corners)))  # zero along the upper and left border
                above = np.zeros((len(values), 1, shape[1]))
            np.cumsum(values, axis=1, out=values)
            values += above
            above = values[:, -1:].copy()
            here = order[slice(*np.searchsorted(sorted_rows, (rows.start + 1, rows.stop + 1)))]
            here = here[self.corners[here, 0] > 0]
            at[:, here] = values[:, self.corners[here, 1] - 1 - rows.start, self.corners[here, 0] - 1]
        if not len(self.codes):
            return at
        upright = np.zeros(at.shape)
        upright[:, :-1] = np.where(self.corners[1:, 0] == self.corners[:-1, 0], np.diff(at), 0.0)
        upright[:, self.rings[1:] - 1] = 0.0
        ring = np.abs(np.add.reduceat(upright, self.rings[:-1], axis=1))
        ring[:, np.isin(np.arange(ring.shape[1]), self.parts[:-1], invert=True)] *= -1  # holes
        return np.asarray(np.add.reduceat(ring, self.parts[:-1], axis=1))


def bands(rows: int) -> Iterator[slice]:
    """The rows of a raster in bands that fit the cache of a processor."""
    for start in range(0, rows, 128):
        yield slice(start, min(start + 128, rows))
