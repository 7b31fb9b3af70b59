"""How far two ice edges lie apart.

An edge is a set of vertices, less than a pixel apart, each standing for the length of line around it. The distance of a
vertex to the other edge is that to its nearest vertex, on the ellipsoid: nearest by straight line through the Earth,
then the geodesic between the two. Vertices instead of the line between them make a distance at most half a pixel too
long. Means, medians and percentiles weigh every vertex by its length.

References:
    Melsom, A., Palerme, C., Müller, M. (2019), Validation metrics for ice edge position forecasts, Ocean Science 15,
    615–630. doi:10.5194/os-15-615-2019 (average displacement of two edges).
    Karney (2013), Algorithms for geodesics, J. Geodesy 87. doi:10.1007/s00190-012-0578-z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pyproj import Geod, Transformer

from frazil.scene.grid import MapGrid


@dataclass(frozen=True, eq=False)
class EdgeLines:
    """The lines of an ice edge.

    Attributes:
        xy: vertices of all lines, one line after the other, metres in the CRS of the grid, ``(n, 2)``.
        first: index of the first vertex of each line, and the end.
        longitude, latitude: of the vertices, degrees, on the ellipsoid of the CRS.
        weight_km: length that each vertex stands for: half of the line to its neighbours.
        geod: the ellipsoid.
    """

    xy: np.ndarray
    first: np.ndarray
    longitude: np.ndarray
    latitude: np.ndarray
    weight_km: np.ndarray
    geod: Geod

    @property
    def length_km(self) -> float:
        """Of all lines, geodesic."""
        return float(self.weight_km.sum())

    def line_lengths_km(self) -> np.ndarray:
        """Of each line."""
        if len(self.first) < 2:
            return np.zeros(0)
        return np.asarray(np.add.reduceat(self.weight_km, self.first[:-1]))


def placed_lines(lines: list[np.ndarray], grid: MapGrid) -> EdgeLines:
    """Lines in columns and rows of pixel centres, ``(n, 2)`` each, on the ground."""
    first = np.cumsum([0, *(len(line) for line in lines)])
    index = np.concatenate(lines) if lines else np.zeros((0, 2))
    xy = np.column_stack([grid.x[0] + index[:, 0] * grid.spacing_m, grid.y[0] - index[:, 1] * grid.spacing_m])
    crs = grid.pyproj_crs
    geod, geodetic = crs.get_geod(), crs.geodetic_crs
    assert geod is not None
    assert geodetic is not None
    longitude, latitude = Transformer.from_crs(crs, geodetic, always_xy=True).transform(*xy.T)
    weight = np.zeros(len(xy))
    if len(xy) > 1:
        step = geod.inv(longitude[:-1], latitude[:-1], longitude[1:], latitude[1:])[2] / 1000
        step[first[1:-1] - 1] = 0.0  # from the end of one line to the start of the next
        weight[:-1] += step / 2
        weight[1:] += step / 2
    return EdgeLines(xy, first, longitude, latitude, weight, geod)


def displacement(ours: EdgeLines, theirs: EdgeLines) -> dict[str, dict[str, float]] | None:
    """Distances between two edges, km; None if one of them has no line.

    Returns:
        For ``map_to_reference``, ``reference_to_map`` and ``symmetric``: ``mean_km``, ``median_km``, ``p95_km``. The
        symmetric figures give both edges the same weight, however long they are: its mean is that of the two means.
    """
    if not len(ours.xy) or not len(theirs.xy):
        return None
    there, back = _distances_km(ours, theirs), _distances_km(theirs, ours)
    weights = [edge.weight_km / edge.length_km for edge in (ours, theirs)]
    return {
        "map_to_reference": _summary(there, weights[0]),
        "reference_to_map": _summary(back, weights[1]),
        "symmetric": _summary(np.concatenate([there, back]), np.concatenate(weights) / 2),
    }


def _distances_km(edge: EdgeLines, other: EdgeLines) -> np.ndarray:
    """Geodesic distance of each vertex of an edge to the nearest vertex of another."""
    from scipy.spatial import cKDTree

    _, near = cKDTree(_cartesian(other)).query(_cartesian(edge))
    metres = edge.geod.inv(edge.longitude, edge.latitude, other.longitude[near], other.latitude[near])[2]
    return np.asarray(metres) / 1000


def _cartesian(edge: EdgeLines) -> np.ndarray:
    """Earth-centred x, y, z of the vertices, metres."""
    lon, lat = np.radians(edge.longitude), np.radians(edge.latitude)
    normal = edge.geod.a / np.sqrt(1 - edge.geod.es * np.sin(lat) ** 2)
    flat = normal * np.cos(lat)
    return np.column_stack([flat * np.cos(lon), flat * np.sin(lon), normal * (1 - edge.geod.es) * np.sin(lat)])


def _summary(distance_km: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    """Mean, median and 95th percentile of weighted distances; weights add up to 1."""
    order = np.argsort(distance_km, kind="stable")
    values, share = distance_km[order], np.cumsum(weight[order])
    # the smallest distance that so much of the edge does not exceed: ties, of which there are many, do not disturb it
    median, high = (values[min(int(np.searchsorted(share, q - 1e-9)), values.size - 1)] for q in (0.5, 0.95))
    return {
        "mean_km": round(float(np.sum(distance_km * weight)), 4),
        "median_km": round(float(median), 4),
        "p95_km": round(float(high), 4),
    }
