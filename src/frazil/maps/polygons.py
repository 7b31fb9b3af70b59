"""Polygons of the classes of a map: patches of sea ice that tile the sea, or of phenomena that may overlap.

Outlines and the removal of specks come from GDAL (rasterio.features), simplification that keeps neighbours together
from GEOS (``coverage_simplify``). Areas are those on the ground, see `frazil.maps.areas`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from frazil.conventions import (
    CLASS_LAND,
    UNDECIDED,
    UNDECIDED_NAME,
    UNDECIDED_TITLE,
    check_ice_map,
    check_map,
)
from frazil.errors import ContractError, OptionError
from frazil.maps.areas import PixelAreas
from frazil.maps.outlines import Outlines
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

POLYGON_MIN_AREA_KM2 = 1.0  #: smaller patches of a class join their largest neighbour


def ice_polygons(
    ice_map: xr.Dataset,
    *,
    min_area_km2: float = POLYGON_MIN_AREA_KM2,
    simplify_m: float | None = None,
) -> gpd.GeoDataFrame:
    """Polygons of the classes, water and undecided included, largest first; no overlaps, and no gaps at sea.

    Patches below the least area join their largest neighbour; those without one (enclosed by land) are left out.
    ``area_km2`` is the sum of the ground areas of the pixels inside (areal scale of the projection), exact before the
    outlines are simplified.

    Args:
        ice_map: a map, see `frazil.conventions.check_ice_map`.
        min_area_km2: the least area of a polygon; 0 keeps every pixel and gives exactly the areas of the classes.
        simplify_m: how far outlines may be simplified: the root of the area that dropping a vertex may move, metres.
            Default one and a half pixels, which turns the staircase of pixels into slopes; 0 keeps the pixel outlines.

    Returns:
        One row a polygon, in the CRS of the map, with ``code``, ``name``, ``title``, ``sigrid3`` (codes joined by
        commas), ``area_km2``, ``mean_confidence`` (percent, mean over the pixels), ``product``, ``start_time``,
        ``model``. No rows if there is no sea. Land and nodata have no polygons.

    Raises:
        ContractError: not a map, or not on a projected grid.
        OptionError: a negative size.
    """
    scheme = check_ice_map(ice_map)
    codes, confidence = ice_map["ice_class"].values, ice_map["confidence"].values
    made = _patches(ice_map, codes, codes < CLASS_LAND, confidence, min_area_km2, simplify_m)
    words = {c.code: (c.name, c.title, ",".join(c.sigrid3)) for c in scheme.classes} | {
        UNDECIDED: (UNDECIDED_NAME, UNDECIDED_TITLE, "")
    }
    name, title, sigrid3 = (np.array([words[int(c)][k] for c in made.code], dtype=object) for k in range(3))
    return framed(
        made.shapes,
        MapGrid.of(ice_map),
        ice_map,
        {
            "code": made.code.astype(np.int16),
            "name": name,
            "title": title,
            "sigrid3": sigrid3,
            "area_km2": np.round(made.area, 6),
            "mean_confidence": np.round(made.mean, 1),
        },
        sort_by="area_km2",
    )


def phenomena_polygons(
    ds: xr.Dataset,
    *,
    min_area_km2: float = POLYGON_MIN_AREA_KM2,
    simplify_m: float | None = None,
) -> gpd.GeoDataFrame:
    """Polygons wherever a phenomenon was found, largest first; those of several phenomena may overlap.

    Args:
        ds: a map of phenomena, see `frazil.conventions.check_map`.
        min_area_km2: smaller patches are left out, and smaller holes filled; 0 keeps every cell.
        simplify_m: as in `ice_polygons`.

    Returns:
        One row a polygon, in the CRS of the map, with ``code``, ``name``, ``title``, ``area_km2`` (ground area of its
        cells), ``mean_score`` (percent, mean over the cells), ``product``, ``start_time``, ``model``.

    Raises:
        ContractError: not a map of phenomena, or not on a projected grid.
        OptionError: a negative size.
    """
    scheme = check_map(ds)
    if scheme.kind != "multilabel":
        raise ContractError(f"This is a map of sea ice ({scheme.name}), and a map of phenomena is needed.")
    sea, bits, score = ds["dominant"].values < CLASS_LAND, ds["phenomena"].values, ds["score"].values
    parts = []
    for c in scheme.classes:
        found = ((bits >> np.uint16(c.code)) & 1).astype(np.uint8)
        made = _patches(ds, found, sea, score[c.code], min_area_km2, simplify_m).of(1)
        parts.append((made, np.full(len(made.code), c.code, np.int16)))
    code = np.concatenate([codes for _, codes in parts])
    words = {c.code: (c.name, c.title) for c in scheme.classes}
    return framed(
        np.concatenate([made.shapes for made, _ in parts]),
        MapGrid.of(ds),
        ds,
        {
            "code": code,
            "name": np.array([words[int(k)][0] for k in code], dtype=object),
            "title": np.array([words[int(k)][1] for k in code], dtype=object),
            "area_km2": np.round(np.concatenate([made.area for made, _ in parts]), 6),
            "mean_score": np.round(np.concatenate([made.mean for made, _ in parts]), 1),
        },
        sort_by="area_km2",
    )


@dataclass(frozen=True, eq=False)
class _Patches:
    """Polygons of a raster of codes.

    Attributes:
        shapes: in the CRS of the map.
        code, area, mean: of each: its code, ground area in km², and mean percent.
    """

    shapes: np.ndarray
    code: np.ndarray
    area: np.ndarray
    mean: np.ndarray

    def of(self, code: int) -> _Patches:
        """Those of one code."""
        mine = self.code == code
        return _Patches(self.shapes[mine], self.code[mine], self.area[mine], self.mean[mine])


def _patches(
    ds: xr.Dataset,
    codes: np.ndarray,
    sea: np.ndarray,
    percent: np.ndarray,
    min_area_km2: float,
    simplify_m: float | None,
) -> _Patches:
    """Patches of equal code where ``sea`` is True, without specks, with the mean of a percentage over each."""
    import shapely

    grid = MapGrid.of(ds)
    simplify_m = 1.5 * grid.spacing_m if simplify_m is None else simplify_m
    refuse_negative(min_area_km2=min_area_km2, simplify_m=simplify_m)
    codes = without_specks(codes, sea, _growing(pixels_covering(min_area_km2, grid)))
    outlines = Outlines.of(codes, sea)

    areas = PixelAreas(grid)
    area, mean = outlines.sums(
        lambda rows: (areas.rows(rows.start, rows.stop), np.where(sea[rows], percent[rows], 0)), codes.shape
    )
    shapes = outlines.polygons()
    mean /= shapely.area(shapes)

    keep = area >= min_area_km2 * (1 - 1e-9)
    shapes = shapes[keep]
    if simplify_m > 0 and len(shapes):
        shapes = shapely.coverage_simplify(shapes, simplify_m / grid.spacing_m)
    shapes = shapely.transform(
        shapes, lambda c: np.column_stack([grid.left + c[:, 0] * grid.spacing_m, grid.top - c[:, 1] * grid.spacing_m])
    )
    bad = ~shapely.is_valid(shapes)
    shapes[bad] = shapely.make_valid(shapes[bad], method="structure", keep_collapsed=False)
    return _Patches(shapes, outlines.codes[keep], area[keep], mean[keep])


def pixels_covering(area_km2: float, grid: MapGrid) -> int:
    """How many pixels anywhere on the grid surely cover an area."""
    areas = PixelAreas(grid)
    rows = grid.shape[0]
    least = min(float(areas.rows(row, row + 1).min()) for row in (0, rows // 2, rows - 1))
    return int(np.ceil(area_km2 / least * (1 - 1e-9)))


def _growing(pixels: int) -> tuple[int, ...]:
    """Sizes up to the one wanted: in noise among many classes a speck finds no large neighbour until smaller ones went.

    Four pixels first, for noise is of the size of pixels, then sixteen times as many, and so on.
    """
    sizes = [4]
    while sizes[-1] * 64 <= pixels:
        sizes.append(sizes[-1] * 16)
    return (*sizes, pixels) if pixels > 16 else (pixels,)


def without_specks(codes: np.ndarray, use: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """A raster (uint8, int32) whose patches below each size in turn joined their largest neighbours; the rest stays."""
    from rasterio.features import sieve

    if not use.any():
        return codes
    for size in sizes:
        least = min(size, codes.size)  # rasterio refuses more than there are
        if least > 1:
            codes = sieve(codes, least, mask=use, connectivity=4)
    return codes


def framed(
    shapes: np.ndarray, grid: MapGrid, ds: xr.Dataset, columns: dict[str, object], *, sort_by: str
) -> gpd.GeoDataFrame:
    """A table of shapes on a grid, with what a map says of itself in every row; the largest value comes first."""
    import geopandas as gpd

    where = {name: np.full(len(shapes), str(ds.attrs[name]), object) for name in ("product", "start_time", "model")}
    frame = gpd.GeoDataFrame({**columns, **where}, geometry=list(shapes), crs=grid.crs)
    return frame.sort_values(sort_by, ascending=False, kind="stable").reset_index(drop=True)


def refuse_negative(**sizes: float) -> None:
    """Raise OptionError for a size below 0, by name."""
    for name, size in sizes.items():
        if not size >= 0:
            raise OptionError(f"{name} is {size}; it must be 0 or more.")
