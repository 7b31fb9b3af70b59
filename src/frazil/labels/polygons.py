"""Polygons on a grid: read from any vector file, placed on the radar or a map grid, and burnt into pixels.

An edge that is straight in the file is not straight on the radar grid, so edges are densified in the file's own CRS
before anything is transformed. A pixel belongs to a polygon if its centre lies inside.

Rests on GDAL (through pyogrio and rasterio), on shapely, and on `frazil.sentinel1.geolocation`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pyproj import CRS

from frazil.errors import ContractError, LabelError, LabelNotFoundError, OptionError
from frazil.scene.grid import MapGrid
from frazil.sentinel1.geolocation import Geolocation

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

_EDGE_M = 2000.0  # longest edge after densifying; on the radar grid it then bends by less than a metre
_EDGE_DEGREE = 0.02


def read_polygons(
    path: str | os.PathLike[str], *, layer: str | None = None, assume_crs: str | None = None
) -> gpd.GeoDataFrame:
    """The polygons of a vector file, geometries valid, rows numbered as in the file.

    Args:
        path: anything GDAL reads: GeoPackage, shapefile (also zipped), GeoJSON, FlatGeobuf …
        layer: of a file of several layers.
        assume_crs: of a file that does not say its own.

    Returns:
        GeoDataFrame; the index is the row in the file. ``attrs``: ``source`` (file name), ``repaired`` (how many
        self-intersecting or otherwise invalid polygons were mended), ``dropped`` (rows without any area).

    Raises:
        LabelNotFoundError: no such file.
        LabelError: not a vector file, no such layer, no polygons in it, or no CRS.
    """
    import geopandas as gpd
    import pyogrio
    import shapely

    file = Path(path)
    if not file.exists():
        raise LabelNotFoundError(f"No labels at {file}. Pass a vector file (GeoPackage, shapefile, GeoJSON …).")
    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(file) if kind is not None]
        if layer is not None and layer not in layers:
            raise LabelError(f"Layer {layer!r} is not in {file}, which holds {layers}. Pass one of these.")
        if layer is None and len(layers) > 1:
            raise LabelError(f"{file} holds {len(layers)} layers: {layers}. Choose one with layer=... (--layer).")
        frame = gpd.read_file(file, engine="pyogrio", layer=layer or (layers[0] if layers else None))
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise LabelError(f"{file} cannot be read as a vector file: {_first_line(error)}.") from error
    if not isinstance(frame, gpd.GeoDataFrame) or frame.empty:
        raise LabelError(f"{file} holds no polygons. Pass a file with polygon geometries.")
    if frame.crs is None:
        if assume_crs is None:
            raise LabelError(f"{file} does not say its CRS. Pass it: assume_crs='EPSG:...' (--assume-crs).")
        frame = frame.set_crs(find_crs(assume_crs))
    frame = frame.set_geometry(shapely.force_2d(frame.geometry.to_numpy()), crs=frame.crs)
    shapes = frame.geometry.to_numpy()
    there = np.array([shape is not None for shape in shapes])
    broken = there & ~shapely.is_valid(shapes)
    shapes[broken] = shapely.make_valid(shapes[broken])
    frame = frame.set_geometry(_areas_only(shapes), crs=frame.crs)
    area = there & ~shapely.is_empty(frame.geometry.to_numpy())
    if not area.any():
        raise LabelError(f"{file} holds {len(frame)} geometries but no polygon. Pass a file with polygon geometries.")
    kept = frame[area]
    kept.attrs.update(source=file.name, repaired=int(broken.sum()), dropped=int((~area).sum()))
    return kept


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
    shapes = shapely.segmentize(polygons.geometry.to_numpy(), _longest_edge(source))
    if "y" in like.dims and "x" in like.dims:
        grid = MapGrid.of(like)
        x0, y1, s = grid.left, grid.top, grid.spacing_m
        left, bottom, right, top = grid.bounds
        pad = 10 * s
        moved = _reproject(shapes, source, grid.pyproj_crs)
        clipped, row = _clip(moved, shapely.box(left - pad, bottom - pad, right + pad, top + pad))
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
    clipped, row = _clip(_reproject(shapes, source, crs), reach)
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


def _reproject(shapes: np.ndarray, source: CRS, target: CRS) -> np.ndarray:
    import shapely
    from pyproj import Transformer

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
    parts = _areas_only(shapely.intersection(shapes[row], reach))
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
    from pyproj.exceptions import CRSError

    try:
        return CRS.from_user_input(text)
    except CRSError as error:
        raise OptionError(f"CRS {text!r} is unknown to PROJ. Pass for instance EPSG:4326.") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")
