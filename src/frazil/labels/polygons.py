"""Polygons on a grid: read from any vector file, placed on the radar or a map grid, and burnt into pixels.

An edge that is straight in the file is not straight on the radar grid, so edges are densified in the file's own CRS
before anything is transformed. A pixel belongs to a polygon if its centre lies inside.

Rests on GDAL (through pyogrio and rasterio), on shapely, and on `frazil.scene.geolocation`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from frazil.errors import ContractError, FrazilError, LabelError, LabelNotFoundError, OptionError
from frazil.gdal_files import refuse_address, vector_source
from frazil.georeference import is_placed
from frazil.scene.geolocation import Geolocation
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

_EDGE_M = 2000.0  # longest edge after densifying; on the radar grid it then bends by less than a metre
_EDGE_DEGREE = 0.02
_NEAR_DEGREE = 5.0  # from a scene or map; what lies further in a polygon in degrees is cut away before it is projected


def read_polygons(
    path: str | os.PathLike[str], *, layer: str | None = None, assume_crs: str | None = None
) -> gpd.GeoDataFrame:
    """The polygons of a vector file, geometries valid, rows numbered as in the file.

    Args:
        path: GeoPackage, shapefile (also in a zip or tar, in whatever folder), GeoJSON, FlatGeobuf, KML, or a folder of
            a file geodatabase (see `frazil.gdal_files`).
        layer: of a file of several layers; may be left out where one of them alone holds polygons.
        assume_crs: of a file that does not say its own, or says one without a place on the Earth (LOCAL_CS).

    Returns:
        GeoDataFrame; the index is the row in the file. ``attrs``: ``source`` (file name), ``repaired`` (how many
        self-intersecting or otherwise invalid polygons were mended), ``dropped`` (rows without any area).

    Raises:
        LabelNotFoundError: no such file.
        LabelError: not a vector file or a damaged one, one that names other files or servers, no such layer, no
            polygons in it, no CRS, or vertices that are not on the Earth.
    """
    import shapely

    refuse_address(path)
    file = Path(path)
    if not file.exists():
        raise LabelNotFoundError(f"No labels at {file}. Pass a vector file (GeoPackage, shapefile, GeoJSON …).")
    frame = _read(file, layer)
    if not is_placed(frame.crs):
        if assume_crs is None:
            says = "does not say its CRS" if frame.crs is None else f"has a CRS without a place, {frame.crs.name!r}"
            raise LabelError(f"{file} {says}. Pass it: assume_crs='EPSG:...' (--assume-crs).")
        frame = frame.set_crs(find_crs(assume_crs), allow_override=True)
    try:
        shapes = np.asarray(shapely.force_2d(frame.geometry.to_numpy()), dtype=object)
        _check_vertices(shapes, CRS.from_user_input(frame.crs), file)
        there = np.array([shape is not None for shape in shapes])
        broken = there & ~shapely.is_valid(shapes)
        shapes[broken] = shapely.make_valid(shapes[broken])
        frame = frame.set_geometry(_areas_only(shapes), crs=frame.crs)
    except (shapely.errors.ShapelyError, MemoryError) as error:
        raise LabelError(f"{file} holds a geometry that is damaged: {_first_line(error)}.") from error
    area = there & ~shapely.is_empty(frame.geometry.to_numpy())
    if not area.any():
        raise LabelError(f"{file} holds {len(frame)} geometries but no polygon. Pass a file with polygon geometries.")
    kept = frame[area]
    kept.attrs.update(source=file.name, repaired=int(broken.sum()), dropped=int((~area).sum()))
    return kept


def _read(file: Path, layer: str | None) -> gpd.GeoDataFrame:
    """One layer as it is, whatever its CRS."""
    import geopandas as gpd
    import pyogrio
    import shapely

    try:
        with vector_source(file) as source, np.errstate(invalid="ignore"):  # vertices are checked below
            kinds = {
                str(n): (i, str(kind)) for i, (n, kind) in enumerate(pyogrio.list_layers(source)) if kind is not None
            }
            numbers, layers = {n: i for n, (i, _) in kinds.items()}, list(kinds)
            if layer is not None and layer not in layers:
                raise LabelError(f"Layer {layer!r} is not in {file}, which holds {layers}. Pass one of these.")
            areas = [n for n, (_, kind) in kinds.items() if "Line" not in kind and "Point" not in kind]
            if layer is None and len(layers) > 1 and len(areas) == 1:  # an ice edge or buoys lie beside
                layer = areas[0]
            if layer is None and len(layers) > 1:
                raise LabelError(f"{file} holds {len(layers)} layers: {layers}. Choose one with layer=... (--layer).")
            number = numbers[layer or layers[0]] if layers else None
            told = int(pyogrio.read_info(source, layer=number)["features"])
            frame = pyogrio.read_dataframe(source, layer=number)
    except (  # what damaged files end in: GDAL, GEOS and PROJ, and the tables made of what they return
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
        pyogrio.errors.FeatureError,
        pyogrio.errors.GeometryError,
        pyogrio.errors.FieldError,
        pyogrio.errors.CRSError,
        CRSError,
        ProjError,
        shapely.errors.ShapelyError,
        OSError,
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        RuntimeError,
        MemoryError,
        OverflowError,
    ) as error:
        if isinstance(error, FrazilError):
            raise
        raise LabelError(f"{file} cannot be read as a vector file: {_first_line(error)}.") from error
    except UnboundLocalError as error:  # pyogrio, of a CRS that holds letters which are no UTF-8
        raise LabelError(f"{file} has a CRS that is no text. Remove its .prj and pass --assume-crs.") from error
    if len(frame) < told:  # GDAL stops at damage without a word
        raise LabelError(f"{file} tells of {told} features, of which {len(frame)} can be read. Get it again.")
    if not isinstance(frame, gpd.GeoDataFrame) or frame.empty:
        raise LabelError(f"{file} holds no polygons. Pass a file with polygon geometries.")
    return frame


def _check_vertices(shapes: np.ndarray, crs: CRS, file: Path) -> None:
    """Raise for vertices that are not finite, or so far away that no place has them."""
    import shapely

    xy, row = shapely.get_coordinates(shapes, return_index=True)
    far = np.array([721.0, 90.01]) if crs.is_geographic else np.full(2, 1e9)
    wrong = ~(np.abs(xy) <= far).all(axis=1)
    if wrong.any():
        x, y = xy[wrong][0]
        raise LabelError(
            f"{file}: polygon {int(row[wrong][0])} has a vertex at ({x:g}, {y:g}), which is no place in {crs.name}. "
            "Correct it, or pass the CRS that it is in if the file says a wrong one."
        )


@dataclass(frozen=True, eq=False)
class PlacedPolygons:
    """Polygons in array coordinates of a grid: x is the column and y the row, both counted from the corner.

    Attributes:
        shapes: shapely polygons, one for each that touches the grid.
        row: for each, its position in the table that was placed.
        shape: rows and columns of the grid.
    """

    shapes: np.ndarray
    row: np.ndarray
    shape: tuple[int, int]

    def burn(self, rows: slice | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Which polygon each pixel belongs to, for all rows of the grid or some.

        Returns:
            owner: int32, position in the table, −1 outside every polygon; the last polygon wins.
            shared: bool, True where more than one polygon claims the pixel.
        """
        from affine import Affine
        from rasterio.enums import MergeAlg
        from rasterio.features import rasterize

        first, last = (0, self.shape[0]) if rows is None else (rows.start, rows.stop)
        size = (last - first, self.shape[1])
        owner, shared = np.full(size, -1, np.int32), np.zeros(size, bool)
        bounds = self._bounds
        near = np.flatnonzero((bounds[:, 1] <= last) & (bounds[:, 3] >= first))
        if near.size and min(size):
            transform = Affine.translation(0, first)
            rasterize([(self.shapes[i], int(self.row[i])) for i in near], out=owner, transform=transform, fill=-1)
            count = np.zeros(size, np.uint16)
            rasterize([(self.shapes[i], 1) for i in near], out=count, transform=transform, merge_alg=MergeAlg.add)
            shared = count > 1
        return owner, shared

    @property
    def _bounds(self) -> np.ndarray:
        import shapely

        return np.asarray(shapely.bounds(self.shapes)).reshape(-1, 4)


def place(polygons: gpd.GeoDataFrame, like: xr.Dataset) -> PlacedPolygons:
    """Polygons on the grid of a scene (line, pixel) or of a map (y, x).

    Args:
        polygons: with a CRS.
        like: a scene with tie points, or a Dataset with y, x and spatial_ref.

    Raises:
        ContractError: ``like`` has neither grid.
        OptionError: the table has no CRS.
    """
    import shapely

    if polygons.crs is None:
        raise OptionError("The polygons have no CRS. Set one with polygons.set_crs(...).")
    source = CRS.from_user_input(polygons.crs)
    if "y" in like.dims and "x" in like.dims:
        grid = MapGrid.of(like)
        x0, y1, s = grid.left, grid.top, grid.spacing_m
        left, bottom, right, top = grid.bounds
        pad = 10 * s
        reach = shapely.box(left - pad, bottom - pad, right + pad, top + pad)
        clipped, row = _within(polygons.geometry.to_numpy(), source, reach, grid.pyproj_crs)
        placed = shapely.transform(clipped, lambda xy: np.column_stack([(xy[:, 0] - x0) / s, (y1 - xy[:, 1]) / s]))
        return PlacedPolygons(placed, row, grid.shape)
    missing = [name for name in ("line", "pixel", "tie_latitude", "tie_longitude") if name not in like.variables]
    if missing:
        raise ContractError(
            f"like= is neither a scene nor a map on a projected grid: {missing} missing. Pass what open_scene or "
            "predict returns."
        )
    geo = Geolocation.of(like)
    crs = CRS.from_user_input(geo.polar_crs())
    footprint = shapely.Polygon(np.column_stack(geo.outline(crs)))
    reach = footprint.buffer(0.03 * np.sqrt(footprint.area))
    clipped, row = _within(polygons.geometry.to_numpy(), source, reach, crs)
    clipped = shapely.segmentize(clipped, _EDGE_M)  # clipping has made new edges
    (l0, dl), (p0, dp) = (_spacing(like, name) for name in ("line", "pixel"))

    def to_array(xy: np.ndarray) -> np.ndarray:
        line, pixel = geo.line_pixel(xy[:, 0], xy[:, 1], crs)
        return np.column_stack([(pixel - p0) / dp + 0.5, (line - l0) / dl + 0.5])

    placed = shapely.transform(clipped, to_array) if len(clipped) else clipped
    n = like.sizes["line"], like.sizes["pixel"]
    inside = shapely.intersects(placed, shapely.box(0, 0, n[1], n[0])) if len(placed) else np.zeros(0, bool)
    return PlacedPolygons(placed[inside], row[inside], n)


def _spacing(scene: xr.Dataset, name: str) -> tuple[float, float]:
    values = scene[name].values
    looks = float(scene.attrs.get("looks", 1))
    return float(values[0]), float(values[-1] - values[0]) / (values.size - 1) if values.size > 1 else looks


def _longest_edge(crs: CRS) -> float:
    if crs.is_geographic:
        return _EDGE_DEGREE
    return _EDGE_M / float(crs.axis_info[0].unit_conversion_factor or 1.0)


def _within(shapes: np.ndarray, source: CRS, reach: Any, target: CRS) -> tuple[np.ndarray, np.ndarray]:
    """The parts of shapes within reach, in the CRS of the reach, and the position of each in the array.

    A polygon that holds the point at which a projection has no image is turned inside out by it: one around the south
    pole covers the whole of a map of the north. What lies far from the reach is therefore cut away before, in the CRS
    of the shapes, and what came out wrong nevertheless is turned round.
    """
    import shapely

    near, at = _near(shapes, source, reach, target)
    moved = _reproject(shapely.segmentize(near, _longest_edge(source)), source, target)
    parts, row = _clip(moved, reach)
    x, y = _lattice(reach)
    back = Transformer.from_crs(target, source, always_xy=True).transform(x, y)
    shapely.prepare(near)
    shapely.prepare(parts)
    for one in range(len(parts)):
        truth = _contains(near[row[one]], *back, degrees=source.is_geographic)
        here = shapely.contains_xy(parts[one], x, y)
        if (truth != here).sum() > x.size // 2:
            parts[one] = _areas_only(np.array([shapely.difference(reach, parts[one])], object))[0]
    some = ~shapely.is_empty(parts)
    return parts[some], at[row[some]]


def _near(shapes: np.ndarray, source: CRS, reach: Any, target: CRS) -> tuple[np.ndarray, np.ndarray]:
    """Of shapes in degrees what lies within some degrees of the reach, and positions in the array; others whole."""
    import shapely

    if not source.is_geographic:
        return shapes, np.arange(len(shapes))
    inside = _lattice(reach.buffer(0.1 * np.sqrt(reach.area)))
    longitude, latitude = Transformer.from_crs(target, source, always_xy=True).transform(*inside)
    if not np.isfinite(longitude).all():
        return shapes, np.arange(len(shapes))
    west, width = _span_of_longitudes(longitude)
    low, high = latitude.min() - _NEAR_DEGREE, latitude.max() + _NEAR_DEGREE
    if width > 180 or high > 88 or low < -88:  # a pole is near: all longitudes
        boxes = [shapely.box(-721, max(low, -90.1), 721, min(high, 90.1))]
    else:
        boxes = [
            shapely.box(west - _NEAR_DEGREE + turn, low, west + width + _NEAR_DEGREE + turn, high)
            for turn in (-720, -360, 0, 360, 720)
        ]
    return _clip(shapes, shapely.union_all(boxes))


def _span_of_longitudes(longitude: np.ndarray) -> tuple[float, float]:
    """The western end and the width of the smallest arc that holds all longitudes."""
    around = np.sort(longitude % 360)
    gaps = np.diff(np.append(around, around[0] + 360))
    last = int(gaps.argmax())
    return float(around[(last + 1) % around.size]), float(360 - gaps[last])


def _lattice(reach: Any) -> tuple[np.ndarray, np.ndarray]:
    """Points spread over a shape: on a lattice of its bounds, those inside."""
    import shapely

    left, bottom, right, top = reach.bounds
    x, y = np.meshgrid(np.linspace(left, right, 17), np.linspace(bottom, top, 17))
    inside = shapely.contains_xy(reach.buffer(1e-9 * (right - left)), x, y)
    return x[inside], y[inside]


def _contains(shape: Any, x: np.ndarray, y: np.ndarray, *, degrees: bool) -> np.ndarray:
    """Which points a shape holds; longitudes may lie full turns away."""
    import shapely

    out = np.zeros(x.shape, bool)
    with np.errstate(invalid="ignore"):
        for turn in (-720, -360, 0, 360, 720) if degrees else (0,):
            out |= shapely.contains_xy(shape, x + turn, y)
    return out


def _reproject(shapes: np.ndarray, source: CRS, target: CRS) -> np.ndarray:
    import shapely

    change = Transformer.from_crs(source, target, always_xy=True)

    def to_target(xy: np.ndarray) -> np.ndarray:
        moved = np.column_stack(change.transform(xy[:, 0], xy[:, 1]))
        return np.where(np.isfinite(moved), moved, 1e8)  # places without an image lie far outside every scene

    moved = shapely.transform(shapes, to_target)
    valid = shapely.is_valid(moved)
    if not valid.all():
        moved[~valid] = _areas_only(shapely.make_valid(moved[~valid]))
    return moved


def _clip(shapes: np.ndarray, reach: Any) -> tuple[np.ndarray, np.ndarray]:
    """The parts of shapes within reach, and the position of each in the array."""
    import shapely

    shapely.prepare(reach)
    row = np.flatnonzero(shapely.intersects(shapes, reach))
    try:
        parts = shapely.intersection(shapes[row], reach)
    except shapely.errors.GEOSException:  # outlines that touch themselves within rounding
        parts = shapely.intersection(shapely.make_valid(shapes[row]), reach)
    parts = _areas_only(parts)
    some = ~shapely.is_empty(parts)
    return parts[some], row[some]


def _areas_only(shapes: np.ndarray) -> np.ndarray:
    """Polygons and multipolygons as they are; of collections the polygons; of anything else an empty polygon."""
    import shapely

    out = np.empty(len(shapes), dtype=object)
    for i, shape in enumerate(shapes):
        if shape is None or shape.geom_type in ("Polygon", "MultiPolygon"):
            out[i] = shape
        else:
            parts = [p for p in shapely.get_parts(shape) if p.geom_type in ("Polygon", "MultiPolygon")]
            out[i] = shapely.union_all(parts) if parts else shapely.Polygon()
    return out


def find_crs(text: str) -> CRS:
    """A CRS by its name; raise OptionError where PROJ does not know it."""
    try:
        return CRS.from_user_input(text)
    except CRSError as error:
        raise OptionError(f"CRS {text!r} is unknown to PROJ. Pass for instance EPSG:4326.") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
