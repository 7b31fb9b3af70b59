"""Shapes of a projection in longitude and latitude, cut where RFC 7946 wants them cut.

On the sphere a polygon may cross the antimeridian or hold a pole; in the plane of longitude and latitude it may not.
The rings are transformed, unwrapped so that no step exceeds 180 degrees, closed over the pole if they run around it,
and clipped to -180 … 180.

References:
    RFC 7946 (2016), The GeoJSON Format, sections 3.1.6 (orientation), 3.1.9 (antimeridian), 4 (CRS), 5.3 (poles).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import geopandas as gpd

_STEP_M = 5000.0  # longest side before the transformation: straight on the map is curved in longitude and latitude
_NEAR_POLE_M = 100_000.0  # nearer than this, sides are cut to a twentieth of their distance from the pole,
_LEAST_STEP_M = 20.0  # but no shorter than this
_DIGITS = 6  # of a degree: 0.1 m


def to_lonlat(shapes: np.ndarray, crs: Any) -> np.ndarray:
    """Shapely lines and polygons of a projected CRS in WGS 84 longitude and latitude, degrees.

    What crosses the antimeridian becomes a multi-part shape; what holds a pole is closed along ±90 degrees. Outer rings
    run counter-clockwise. Coordinates are rounded to a millionth of a degree.

    Args:
        shapes: valid lines or polygons (or multi-part), any number, metres.
        crs: their CRS, as PROJ understands it.
    """
    import shapely
    from pyproj import Transformer

    shapes = np.asarray(shapes, dtype=object)
    if not len(shapes):
        return shapes
    transformer = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    shapes = shapely.segmentize(shapes, _STEP_M)
    for pole in _poles(shapes, crs):
        for index in np.flatnonzero(shapely.dwithin(shapes, shapely.points(pole), _NEAR_POLE_M)):
            shapes[index] = _with_short_sides(shapes[index], pole)
    lonlat = shapely.transform(shapes, lambda xy: np.column_stack(transformer.transform(*xy.T)))
    points, owner = shapely.get_coordinates(lonlat, return_index=True)
    jumps = (np.abs(np.diff(points[:, 0])) > 180) & (owner[1:] == owner[:-1])
    for index in np.unique(owner[1:][jumps]):
        lonlat[index] = _cut(lonlat[index])
    rounded = shapely.set_precision(lonlat, 10.0**-_DIGITS)
    return np.asarray(shapely.orient_polygons(rounded, exterior_cw=False), dtype=object)


def write_geojson(frame: gpd.GeoDataFrame, path: Path) -> None:
    """A GeoDataFrame as an RFC 7946 file: WGS 84, cut at the antimeridian, numbers as short as they may be."""
    import shapely

    geometry = shapely.to_geojson(to_lonlat(frame.geometry.values, frame.crs))
    table = frame.drop(columns=frame.geometry.name)
    rows = json.loads(table.to_json(orient="records", double_precision=6))
    with path.open("w", encoding="utf-8") as file:
        file.write('{"type":"FeatureCollection","features":[\n')
        for number, (shape, properties) in enumerate(zip(geometry, rows, strict=True)):
            comma = ",\n" if number else ""
            text = json.dumps(properties, ensure_ascii=False)
            file.write(f'{comma}{{"type":"Feature","properties":{text},"geometry":{shape}}}')
        file.write("\n]}\n")


def _poles(shapes: np.ndarray, crs: Any) -> list[np.ndarray]:
    """Map coordinates of the poles in or near the bounds of the shapes, metres."""
    import shapely
    from pyproj import Transformer

    poles = np.column_stack(Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform([0.0, 0.0], [90.0, -90.0]))
    left, bottom, right, top = shapely.total_bounds(shapes) + np.array([-1, -1, 1, 1]) * _NEAR_POLE_M
    return [xy for xy in poles if left <= xy[0] <= right and bottom <= xy[1] <= top]


def _with_short_sides(shape: Any, pole: np.ndarray) -> Any:
    """One line or polygon (or multi-part) with more points along the sides near the pole.

    Longitude means nothing on the pole itself, where pixel corners like to lie: whichever PROJ gives, the detour to it
    starts and ends within the shortest side.
    """
    import shapely

    def divided(points: np.ndarray) -> np.ndarray:
        start, side = points[:-1], np.diff(points, axis=0)
        length = np.hypot(*side.T)
        distance = shapely.distance(shapely.linestrings(np.stack([start, points[1:]], axis=1)), shapely.points(pole))
        count = np.ceil(length / np.clip(distance / 20, _LEAST_STEP_M, _STEP_M)).astype(int).clip(1)
        step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        inner = np.repeat(start, count, axis=0) + (step / np.repeat(count, count))[:, None] * np.repeat(
            side, count, axis=0
        )
        return np.vstack([inner, points[-1:]])

    parts: list[Any] = []
    for part in shapely.get_parts(shape):
        if shapely.get_type_id(part) == shapely.GeometryType.POLYGON:
            outer, *holes = (divided(shapely.get_coordinates(ring)) for ring in shapely.get_rings(part))
            parts.append(shapely.Polygon(outer, holes))
        else:
            parts.append(shapely.linestrings(divided(shapely.get_coordinates(part))))
    return _together(np.array(parts, dtype=object), shapely.get_dimensions(shape))


def _cut(shape: Any) -> Any:
    """One line or polygon (or multi-part), its longitudes in -180 … 180 but jumping, cut at the antimeridian."""
    import shapely

    parts = []
    for part in shapely.get_parts(shape):
        if shapely.get_type_id(part) == shapely.GeometryType.POLYGON:
            outer = _region(shapely.get_coordinates(shapely.get_exterior_ring(part)))
            holes = [_region(shapely.get_coordinates(ring)) for ring in part.interiors]
            parts.append(shapely.difference(outer, shapely.union_all(holes)) if holes else outer)
        else:
            points = _unwrapped(shapely.get_coordinates(part))
            parts.append(_wrapped(shapely.linestrings(points)))
    return _together(np.array(parts, dtype=object), shapely.get_dimensions(shape))


def _together(parts: np.ndarray, dimension: int) -> Any:
    """One shape of all parts of a dimension: what only touches the antimeridian leaves points and lines behind."""
    import shapely

    flat = shapely.get_parts(shapely.get_parts(parts))
    flat = flat[shapely.get_dimensions(flat) == dimension]
    build = shapely.multipolygons if dimension == 2 else shapely.multilinestrings
    return flat[0] if len(flat) == 1 else build(flat)


def _region(ring: np.ndarray) -> Any:
    """The region inside a closed ring of longitudes and latitudes that may jump, within -180 … 180."""
    import shapely

    points = _unwrapped(ring)
    if abs(points[-1, 0] - points[0, 0]) > 180:  # once around the pole
        # from the corner nearest to the pole, so that the way to the pole and back does not cross the ring
        nearest = int(np.abs(ring[:-1, 1]).argmax())
        points = _unwrapped(np.vstack([ring[nearest:-1], ring[: nearest + 1]]))
        pole = float(np.copysign(90, ring[nearest, 1]))
        points = np.vstack([points, (points[-1, 0], pole), (points[0, 0], pole)])
    return _wrapped(shapely.make_valid(shapely.polygons(points)))


def _unwrapped(points: np.ndarray) -> np.ndarray:
    return np.column_stack([np.unwrap(points[:, 0], period=360), points[:, 1]])


def _wrapped(shape: Any) -> Any:
    """A planar shape whose longitudes leave -180 … 180, clipped to each turn and brought back."""
    import shapely

    west, _, east, _ = shapely.bounds(shape)
    pieces = []
    for turn in range(int(np.floor((west + 180) / 360)), int(np.ceil((east + 180) / 360))):
        window = shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90)
        pieces.append(shapely.transform(shapely.intersection(shape, window), lambda xy, t=turn: xy - (360 * t, 0)))
    return shapely.union_all(pieces) if len(pieces) > 1 else pieces[0]
