"""Areas to search in: boxes across 180° and around a pole, GeoJSON, and names.

Catalogues take polygons in longitude and latitude, and differ in what they do at 180°, at a pole, and between two
corners on a parallel. So an area is cut into parts of at most 90° of longitude, a little wider than asked, with corners
every 5°; what comes back is held against the true area here, in polar stereographic projection, where neither 180° nor
the pole is special.

References:
    RFC 7946, sections 3.1.6 to 3.1.9 and 5. EPSG:3413, EPSG:3031.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from frazil.errors import OptionError, printable
from frazil.scene.box import Box
from frazil.untrusted import read_json

#: West, south, east, north of named areas, degrees: generous boxes around what maps call so.
NAMED = {
    "arctic": (-180, 60, 180, 90),
    "antarctic": (-180, -90, 180, -55),
    "amundsen": (-130, -76, -98, -66),
    "baffin-bay": (-80, 65, -48, 79),
    "baltic": (9, 53, 31, 66),
    "barents": (16, 68, 60, 82),
    "beaufort": (-160, 68, -120, 78),
    "bellingshausen": (-100, -74, -65, -63),
    "bering": (162, 54, -157, 66.5),
    "chukchi": (175, 66, -155, 76),
    "east-siberian": (140, 68, 180, 79),
    "fram-strait": (-20, 76, 12, 83),
    "greenland-sea": (-30, 68, 10, 80),
    "hudson-bay": (-96, 51, -76, 66),
    "kara": (52, 67, 105, 82),
    "labrador": (-66, 46, -42, 62),
    "laptev": (100, 70, 145, 82),
    "okhotsk": (135, 44, 165, 62),
    "ross": (160, -79, -150, -60),
    "svalbard": (10, 76, 34, 81),
    "weddell": (-65, -79, -10, -60),
}
_FORM = "WEST,SOUTH,EAST,NORTH in degrees, a GeoJSON file, or @NAME"
_FILE_BYTES = 2**24
_CORNERS = 80  # of a part: more make addresses that servers refuse
_WIDER = 0.1  # degrees: more than a great circle and a parallel differ between corners 5° apart
_STEP, _FINE = 5.0, 0.5
_MOST_POINTS = 200_000


@dataclass(frozen=True, eq=False)
class Area:
    """An area on the globe.

    Attributes:
        name: as it was asked for.
        shape: polygons of longitude and latitude, −180…180, cut at 180°.
    """

    name: str
    shape: Any

    @cached_property
    def parts(self) -> list[Any]:
        """Polygons that cover the area, each of at most 90° and about 80 corners, for catalogues."""
        return [_short(part) for part in _cut(self.shape)]

    def meets(self, footprint: dict[str, Any] | None) -> bool:
        """Whether the outline of a product (GeoJSON) touches the area; True where it has none that can be read."""
        import shapely

        rings = list(_rings(footprint))
        if not rings:
            return True
        north = float(np.mean([ring[:, 1].mean() for ring in rings])) >= 0
        plane = self._north if north else self._south
        for ring in rings:
            xy = _projected(ring, north)
            if len(xy) >= 3 and shapely.intersects(shapely.make_valid(shapely.Polygon(xy)), plane):
                return True
        return False

    @cached_property
    def _north(self) -> Any:
        return _on_plane(self.shape, north=True)

    @cached_property
    def _south(self) -> Any:
        return _on_plane(self.shape, north=False)


def area(given: str | Box | Area) -> Area:
    """The area that is meant: a box, a GeoJSON file, ``@NAME``.

    Raises:
        OptionError: none of these; a file without polygons, or with longitudes that jump across 180°.
    """
    if isinstance(given, Area):
        return given
    if isinstance(given, str) and given.startswith("@"):
        name = given[1:].lower().replace("_", "-")
        if name not in NAMED:
            raise OptionError(f"area {printable(given)!r} is not known. Names are @{', @'.join(NAMED)}.")
        return Area(given, _of_box(Box(*NAMED[name])))
    if isinstance(given, str) and (given.lower().endswith((".geojson", ".json")) or Path(given).is_file()):
        return Area(given, _of_file(Path(given)))
    if isinstance(given, str) and given.count(",") != 3:
        raise OptionError(f"area {printable(given)[:200]!r} is not {_FORM}.")
    box = Box.of(given)
    return Area(str(box), _of_box(box))


def _of_box(box: Box) -> Any:
    import shapely

    return _wrapped(shapely.box(box.west, box.south, box.west + box.width, box.north))


def _of_file(path: Path) -> Any:
    import shapely

    try:
        found = read_json(path, _FILE_BYTES)
    except (OSError, ValueError) as error:
        raise OptionError(f"area {path} cannot be read as GeoJSON: {error}.") from error
    polygons = []
    for geometry in _geometries(found):
        for outer, *holes in _polygons(geometry):
            for ring in (outer, *holes):
                jump = np.abs(np.diff(ring[:, 0]))
                if ((jump > 180) & (jump < 359.9)).any():
                    raise OptionError(
                        f"area {path} has a side of {jump.max():.0f}° of longitude. Where it crosses 180°, cut it "
                        "there (RFC 7946), or write longitudes beyond 180."
                    )
            if np.abs(outer[:, 0]).max() > 540 or np.abs(outer[:, 1]).max() > 90:
                raise OptionError(f"area {path} is not in degrees of longitude and latitude (WGS 84). Convert it.")
            polygons.append(_wrapped(shapely.make_valid(shapely.Polygon(outer, holes))))
    if not polygons:
        raise OptionError(f"area {path} holds no polygon. Draw one around the area, in longitude and latitude.")
    return shapely.union_all(polygons)


def _geometries(found: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    if not isinstance(found, dict) or depth > 4:
        return
    for inner in (*_list(found, "features"), *_list(found, "geometries")):
        yield from _geometries(inner, depth + 1)
    if isinstance(found.get("geometry"), dict):
        yield from _geometries(found["geometry"], depth + 1)
    if found.get("type") in ("Polygon", "MultiPolygon"):
        yield found


def _list(found: dict[str, Any], key: str) -> list[Any]:
    value = found.get(key)
    return value if isinstance(value, list) else []


def _polygons(geometry: dict[str, Any]) -> Iterator[list[np.ndarray]]:
    """Rings of each polygon of a GeoJSON geometry, (point, 2); what is no ring of numbers is left out."""
    coordinates = geometry.get("coordinates")
    many = coordinates if geometry.get("type") == "MultiPolygon" else [coordinates]
    for one in many if isinstance(many, list) else []:
        rings = [ring for r in (one if isinstance(one, list) else []) if (ring := _ring(r)) is not None]
        if rings:
            yield rings


def _ring(points: Any) -> np.ndarray | None:
    try:
        ring = np.array([[float(p[0]), float(p[1])] for p in points[:_MOST_POINTS]])
    except (TypeError, ValueError, IndexError, KeyError, OverflowError):
        return None
    return ring if len(ring) >= 4 and np.isfinite(ring).all() else None


def _rings(footprint: dict[str, Any] | None) -> Iterator[np.ndarray]:
    if isinstance(footprint, dict) and footprint.get("type") in ("Polygon", "MultiPolygon"):
        for outer, *_ in _polygons(footprint):
            if np.abs(outer[:, 1]).max() <= 90:
                yield outer


def _wrapped(shape: Any) -> Any:
    """A shape whose longitudes may leave −180…180, cut there and brought back."""
    import shapely

    west, _, east, _ = shapely.bounds(shape)
    pieces = []
    for turn in range(int(np.floor((west + 180) / 360)), int(np.ceil((east + 180) / 360))):
        inside = shapely.intersection(shape, shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90))
        pieces.append(shapely.transform(inside, lambda xy, t=turn: xy - (360 * t, 0)))
    return _flat(shapely.union_all(pieces))


def _flat(shape: Any) -> Any:
    import shapely

    parts = shapely.get_parts(shapely.get_parts(shape))
    return shapely.union_all(parts[shapely.get_dimensions(parts) == 2])


def _cut(shape: Any, width: float = 90.0) -> list[Any]:
    """The polygons of a shape, each within a window of longitude."""
    import shapely

    pieces = []
    for west in np.arange(-180, 180, width):
        inside = _flat(shapely.intersection(shape, shapely.box(west, -90, west + width, 90)))
        pieces += [p for p in shapely.get_parts(inside) if not shapely.is_empty(p) and p.area > 0]
    return pieces


def _short(part: Any) -> Any:
    """A polygon around a part, of few corners, which follows parallels."""
    import shapely

    bounds = shapely.box(-180, -90, 180, 90)
    tolerance = _WIDER
    outer = shapely.Polygon(part.exterior)
    while True:
        near = outer.simplify(tolerance / 4)  # before it is widened, so that few corners are
        wide = shapely.buffer(near, tolerance, join_style="mitre").simplify(tolerance / 2)
        wide = shapely.segmentize(shapely.intersection(wide, bounds), _STEP)
        if wide.geom_type == "Polygon" and len(wide.exterior.coords) <= _CORNERS:
            return shapely.Polygon(shapely.set_precision(shapely.orient_polygons(wide), 1e-4).exterior)
        tolerance *= 2
        if tolerance > 5:
            outer = shapely.box(*part.bounds)
            if tolerance > 50:
                return shapely.segmentize(outer, 10.0)


def _projected(points: np.ndarray, north: bool) -> np.ndarray:
    from pyproj import Transformer

    to_xy = Transformer.from_crs("OGC:CRS84", "EPSG:3413" if north else "EPSG:3031", always_xy=True)
    xy = np.column_stack(to_xy.transform(points[:, 0], points[:, 1]))
    return np.asarray(xy[np.isfinite(xy).all(axis=1)])


def _on_plane(shape: Any, *, north: bool) -> Any:
    """A shape in metres of the polar projection of a hemisphere, as far as 45° beyond the equator."""
    import shapely

    half = shapely.box(-180, -45, 180, 90) if north else shapely.box(-180, -90, 180, 45)
    wedges = []
    for piece in _cut(_flat(shapely.intersection(shape, half)), 45.0):
        fine = shapely.segmentize(piece, _FINE)
        wedges.append(shapely.make_valid(shapely.transform(fine, lambda xy: _projected(xy, north))))
    return shapely.union_all(wedges) if wedges else shapely.Polygon()
