"""How a displacement field stretches, shears and turns the ice.

Each cell has four nodes as corners. By Green's theorem the mean of a derivative over it is an integral along its
border, which is exact for displacements that change linearly:

    ∂u/∂x = 1/A ∮ u dy,   ∂u/∂y = −1/A ∮ u dx

References:
    Lindsay, R. W., Stern, H. L. (2003), The RADARSAT Geophysical Processor System: quality of sea ice trajectory and
        deformation estimates, J. Atmos. Oceanic Technol. 20, 1333–1347.
    Hutchings, J. K. et al. (2011), Spatial and temporal characterization of sea-ice deformation, Annals of Glaciology
        52(57), 360–368.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Deformation:
    """Rates of the cells between nodes, of the unit of the velocities over that of the places; NaN without four nodes.

    Attributes:
        divergence: ∂u/∂x + ∂v/∂y.
        shear: √((∂u/∂x − ∂v/∂y)² + (∂u/∂y + ∂v/∂x)²).
        vorticity: ∂v/∂x − ∂u/∂y, positive anticlockwise.
    """

    divergence: np.ndarray
    shear: np.ndarray
    vorticity: np.ndarray


def deformation(x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray) -> Deformation:
    """Of a grid of nodes.

    Args:
        x: places of the nodes (row, column); rows run down.
        y: likewise.
        u: velocities along x, NaN where unknown, likewise.
        v: velocities along y.
    """
    xs, ys, us, vs = (_corners(a) for a in (x, y, u, v))

    def around(values: np.ndarray, along: np.ndarray) -> np.ndarray:
        after, step = np.roll(values, -1, axis=0), np.roll(along, -1, axis=0) - along
        return np.asarray(((values + after) / 2 * step).sum(axis=0))

    area = around(xs, ys)
    ux, uy = around(us, ys) / area, -around(us, xs) / area
    vx, vy = around(vs, ys) / area, -around(vs, xs) / area
    return Deformation(ux + vy, np.hypot(ux - vy, uy + vx), vx - uy)


def _corners(a: np.ndarray) -> np.ndarray:
    """Values at the four corners of each cell, anticlockwise (corner, row, column)."""
    return np.stack([a[1:, :-1], a[1:, 1:], a[:-1, 1:], a[:-1, :-1]]).astype(np.float64)
