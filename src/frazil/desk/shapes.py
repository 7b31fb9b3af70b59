"""Outlines that the page asks for: the patch of a class around a place, the ice edge, polygons of disagreement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.conventions import CLASS_LAND
from frazil.desk.labels import read_rings
from frazil.errors import LabelError
from frazil.maps.compare import OVER, UNDER, compare
from frazil.maps.graticule import graticule
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

_FACTOR = 4  # pixels of the map along a side of those that a patch is outlined by
_LEAST_KM2 = 25.0  # of a disagreement
_MOST = 300  # disagreements that are shown


def segment_around(ice_map: xr.Dataset, grid: MapGrid, x: float, y: float) -> list[list[list[float]]]:
    """Rings of the patch of one class around a place, in blocks of 4 pixels; none on land or outside of the map."""
    import shapely
    from affine import Affine
    from rasterio.features import shapes
    from scipy import ndimage

    half = _FACTOR // 2
    codes = ice_map["ice_class"].values[half::_FACTOR, half::_FACTOR]
    size = grid.spacing_m * _FACTOR
    row, column = int((grid.top - y) // size), int((x - grid.left) // size)
    if not (0 <= row < codes.shape[0] and 0 <= column < codes.shape[1]) or codes[row, column] >= CLASS_LAND:
        return []
    part, _ = ndimage.label(codes == codes[row, column])
    inside = part == part[row, column]
    place = Affine(size, 0, grid.left, 0, -size, grid.top)
    outline, _ = max(
        shapes(inside.astype(np.uint8), inside, transform=place), key=lambda s: len(s[0]["coordinates"][0])
    )
    shape = shapely.simplify(shapely.geometry.shape(outline), size)
    if not isinstance(shape, shapely.Polygon) or not shape.is_valid:
        shape = shapely.geometry.shape(outline)
    return [[[float(a), float(b)] for a, b in ring.coords] for ring in (shape.exterior, *shape.interiors)]


def disagreements(ice_map: xr.Dataset, chart: str, **options: Any) -> tuple[gpd.GeoDataFrame, list[str]]:
    """Where a map and a chart differ about ice, the most important first: area times confidence of the map.

    Args:
        ice_map: a map.
        chart: anything that `frazil.compare` reads.
        **options: of `frazil.compare`.

    Returns:
        In the CRS of the map: ``kind`` (``"over"``: the map says ice and the chart water, ``"under"``), ``area_km2``,
        ``confidence`` (percent, mean), ``weight`` (their product / 100). And what is to be known of the comparison,
        for instance how far apart the two are in time.
    """
    import geopandas as gpd
    import shapely
    from rasterio.features import shapes, sieve

    found = compare(ice_map, chart, **options)
    grid = found.grid
    pixel_km2 = (grid.spacing_m / 1000) ** 2
    wanted = np.where(np.isin(found.categories, (OVER, UNDER)), found.categories, np.uint8(0))
    wanted = sieve(wanted, max(int(_LEAST_KM2 / pixel_km2), 1))
    confidence = ice_map["confidence"].values
    rows = []
    for outline, code in shapes(wanted, wanted > 0, transform=grid.transform):
        shape = shapely.simplify(shapely.geometry.shape(outline), 2 * grid.spacing_m)
        if shape.is_empty or not isinstance(shape, shapely.Polygon) or not shape.is_valid:
            shape = shapely.geometry.shape(outline)
        area = shape.area / 1e6
        if area < _LEAST_KM2:
            continue
        mean = _mean_inside(confidence, grid, shape)
        rows.append(
            {
                "kind": "over" if code == OVER else "under",
                "area_km2": round(area, 1),
                "confidence": round(mean, 1),
                "weight": round(area * mean / 100, 1),
                "geometry": shape,
            }
        )
    columns = ["kind", "area_km2", "confidence", "weight", "geometry"]
    frame = gpd.GeoDataFrame(rows, columns=columns, geometry="geometry", crs=grid.crs)
    return frame.sort_values("weight", ascending=False).head(_MOST).reset_index(drop=True), found.scores["notes"]


def _mean_inside(percent: np.ndarray, grid: MapGrid, shape: Any) -> float:
    """Mean of the percents of a map inside a polygon, without those that are not known."""
    from rasterio.features import geometry_window, rasterize

    class _Like:  # what rasterio asks of an open raster
        transform, height, width = grid.transform, *grid.shape
        crs = None

    window = geometry_window(_Like, [shape])
    rows, columns = window.toslices()
    part = percent[rows, columns]
    own = grid.part(rows, columns)
    inside = rasterize([shape], out_shape=part.shape, transform=own.transform, fill=0, dtype="uint8") > 0
    known = inside & (part <= 100)
    return float(part[known].mean()) if known.any() else 0.0


def reshaped(asked: Mapping[str, Any]) -> list[list[list[list[float]]]]:
    """Outlines, each as rings, that a tool of the page makes.

    Args:
        asked: ``{"kind": "buffer", "line": …, "radius": metres}``: all that is as near to a line;
            ``{"kind": "hole", "rings": …, "hole": ring}``: an outline without what lies in a ring;
            ``{"kind": "split", "rings": …, "line": …}``: the parts of an outline on both sides of a line.

    Raises:
        LabelError: something else, a line of less than two places, a cut that leaves nothing or changes nothing.
    """
    import shapely
    from shapely.ops import split

    kind = asked.get("kind")
    if kind == "buffer":
        radius = asked.get("radius")
        if not isinstance(radius, (int, float)) or isinstance(radius, bool) or not 0 < radius < 1e6:
            raise LabelError("A radius is a number of metres.")
        line = _line(asked.get("line"))
        made = shapely.simplify(line.buffer(radius, quad_segs=6), radius / 40)
    elif kind in ("hole", "split"):
        rings = read_rings(asked.get("rings"))
        shape = shapely.Polygon(rings[0], rings[1:])
        if not shape.is_valid:
            raise LabelError(f"The outline is no polygon: {shapely.is_valid_reason(shape)}.")
        if kind == "hole":
            hole = shapely.Polygon(read_rings([asked.get("hole")])[0])
            made = shape.difference(hole) if hole.is_valid else shape
            cut = not made.is_empty and not made.equals(shape)
        else:
            made = split(shape, _line(asked.get("line")))
            cut = len(shapely.get_parts(made)) > 1
        if not cut:
            raise LabelError("This leaves nothing, or changes nothing. Draw across the label.")
    else:
        raise LabelError("A shape is buffer, hole or split.")
    parts = [p for p in shapely.get_parts(made) if isinstance(p, shapely.Polygon) and p.area > 0]
    return [
        [[[round(x, 1), round(y, 1)] for x, y in ring.coords] for ring in (part.exterior, *part.interiors)]
        for part in parts
    ]


def _line(told: Any) -> Any:
    import shapely

    closed = [*told, told[0]] if isinstance(told, list) and len(told) > 1 else None
    if closed is None:
        raise LabelError("A line needs two places at least.")
    (ring,) = read_rings([closed if len(closed) > 3 else [closed[0], *closed]])
    return shapely.LineString(ring[:-1])


def graticule_lines(grid: MapGrid) -> dict[str, Any]:
    """Parallels and meridians as GeoJSON in the CRS of the map; points with ``text`` where one meets the frame."""
    found: list[dict[str, Any]] = []
    for line in graticule(grid):
        found.append(_feature("LineString", line.xy.tolist(), {}))
        found += [_feature("Point", [label.x, label.y], {"text": label.text}) for label in line.labels]
    return {"type": "FeatureCollection", "features": found}


def _feature(kind: str, coordinates: Any, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}
