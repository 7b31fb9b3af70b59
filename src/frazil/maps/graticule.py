"""Parallels and meridians on a projected map, and where to label them.

Lines are computed with PROJ point by point and cut at the frame, so that maps that hold a pole or cross the
antimeridian need no special case but the choice of the longitudes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pyproj import Transformer

    from frazil.scene.grid import MapGrid

_STEPS_DEG = (1 / 60, 2 / 60, 5 / 60, 10 / 60, 0.25, 0.5, 1, 2, 5, 10, 15, 30)


@dataclass(frozen=True, kw_only=True)
class Label:
    """Where a line meets the frame: position in metres, the side, the text."""

    x: float
    y: float
    side: str
    text: str


@dataclass(frozen=True, kw_only=True)
class GraticuleLine:
    """One piece of a parallel or meridian inside the frame: points ``(n, 2)`` in metres, and labels of its ends."""

    xy: np.ndarray
    labels: tuple[Label, ...]


def graticule(grid: MapGrid, *, lines: int = 6) -> list[GraticuleLine]:
    """Parallels and meridians across a grid.

    Args:
        grid: its bounds are the frame.
        lines: about how many of each, at most.
    """
    import shapely
    from pyproj import Transformer

    frame = shapely.box(*grid.bounds)
    to_lonlat = Transformer.from_crs(grid.pyproj_crs, "OGC:CRS84", always_xy=True)
    to_map = Transformer.from_crs("OGC:CRS84", grid.pyproj_crs, always_xy=True)
    west, south, east, north = _limits(grid, to_lonlat, to_map)
    step_lat, step_lon = _step(north - south, lines), _step(east - west, lines if east - west < 360 else 12)
    out = []
    longitudes = np.linspace(west, east, 361)
    for latitude in _multiples(south, north, step_lat):
        if abs(latitude) < 90:
            x, y = to_map.transform(longitudes, np.full(longitudes.shape, latitude))
            out += list(_inside(x, y, frame, _text(latitude, "N", "S")))
    # Meridians end at the last parallel before a pole, where they would run into each other.
    latitudes = np.linspace(max(south, step_lat - 90), min(north, 90 - step_lat), 181)
    for longitude in _multiples(west, east, step_lon):
        if longitude - west < 360:
            x, y = to_map.transform(np.full(latitudes.shape, longitude), latitudes)
            out += list(_inside(x, y, frame, _text((longitude + 180) % 360 - 180, "E", "W")))
    return out


def _limits(grid: MapGrid, to_lonlat: Transformer, to_map: Transformer) -> tuple[float, float, float, float]:
    """West, south, east, north of a grid, degrees; east may exceed 180; all longitudes if a pole is inside."""
    left, bottom, right, top = grid.bounds
    x, y = np.meshgrid(np.linspace(left, right, 60), np.linspace(bottom, top, 60))
    longitude, latitude = to_lonlat.transform(x, y)
    known = np.isfinite(longitude) & np.isfinite(latitude)
    longitude, latitude = longitude[known], latitude[known]
    south, north = float(latitude.min()), float(latitude.max())
    px, py = to_map.transform([0.0, 0.0], [-90.0, 90.0])
    holds = [left <= px[i] <= right and bottom <= py[i] <= top for i in (0, 1)]
    if any(holds):
        return -180.0, -90.0 if holds[0] else south, 180.0, 90.0 if holds[1] else north
    angle = np.radians(longitude)
    middle = np.degrees(np.arctan2(np.sin(angle).mean(), np.cos(angle).mean()))
    offset = (longitude - middle + 180) % 360 - 180
    return float(middle + offset.min()), south, float(middle + offset.max()), north


def _step(span: float, lines: int) -> float:
    return next((step for step in _STEPS_DEG if span / step <= lines), _STEPS_DEG[-1])


def _multiples(low: float, high: float, step: float) -> np.ndarray:
    return np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step


def _inside(x: np.ndarray, y: np.ndarray, frame: object, text: str) -> Iterator[GraticuleLine]:
    """The pieces of a line inside the frame."""
    import shapely

    points = np.column_stack([x, y])
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < 2:
        return
    pieces = shapely.get_parts(shapely.intersection(shapely.linestrings(points), frame))
    merged = shapely.line_merge(shapely.multilinestrings(list(pieces[shapely.get_dimensions(pieces) == 1])))
    for piece in shapely.get_parts(merged):
        xy = shapely.get_coordinates(piece)
        ends = (_label(xy[0], xy[1], frame, text), _label(xy[-1], xy[-2], frame, text))
        yield GraticuleLine(xy=xy, labels=tuple(end for end in ends if end))


def _label(end: np.ndarray, before: np.ndarray, frame: object, text: str) -> Label | None:
    """The label of a line's end; None if it lies inside the frame or runs along it."""
    import shapely

    left, bottom, right, top = shapely.bounds(frame)
    close = 1e-6 * max(right - left, top - bottom)
    direction = np.abs(end - before) / max(float(np.hypot(*(end - before))), 1e-9)
    for side, distance, across in (
        ("left", end[0] - left, direction[0]),
        ("right", right - end[0], direction[0]),
        ("bottom", end[1] - bottom, direction[1]),
        ("top", top - end[1], direction[1]),
    ):
        if distance <= close and across > 0.3:
            return Label(x=float(end[0]), y=float(end[1]), side=side, text=text)
    return None


def _text(degrees: float, positive: str, negative: str) -> str:
    """77°30′N, 180°, 0°."""
    minutes = round(abs(degrees) * 60)
    letter = "" if minutes in (0, 180 * 60) else positive if degrees > 0 else negative
    return f"{minutes // 60}°" + (f"{minutes % 60:02d}′" if minutes % 60 else "") + letter
