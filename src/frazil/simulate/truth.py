"""The truth of a simulated product as an analyst would deliver it: a class raster and SIGRID-3 polygons.

References:
    JCOMM TR 23 (2014), SIGRID-3: columns and codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from frazil.conventions import CLASS_LAND, CLASS_NODATA, FIVE_CLASSES, class_attrs
from frazil.errors import OptionError
from frazil.scene.geolocation import Geolocation, TiePoints

_CELL_M = 4800.0  # side of the cells that polygons are built from
#: SIGRID-3 stage of development and form by class code; water has none. 99: floe size is not told.
_STAGE = {1: ("81", "01"), 2: ("83", "99"), 3: ("86", "99"), 4: ("95", "99")}
_THICKEST_FIRST = (4, 3, 2, 1)


def write_class_raster(path: Path, ice_class: np.ndarray, ties: TiePoints, block: int) -> None:
    """Write a GeoTIFF of class codes in radar geometry: one pixel per block × block pixels, GCPs at the tie points."""
    attrs = class_attrs(FIVE_CLASSES)
    tags = {"flag_values": " ".join(map(str, attrs["flag_values"])), "flag_meanings": attrs["flag_meanings"]}
    colours = {c.code: (*c.colour, 255) for c in FIVE_CLASSES.classes} | {CLASS_LAND: (150, 150, 145, 255)}
    _write_raster(path, ice_class, ties, block, tags, nodata=CLASS_NODATA, colours=colours)


def write_phenomena_raster(path: Path, bits: np.ndarray, names: tuple[str, ...], ties: TiePoints, block: int) -> None:
    """Write a GeoTIFF (uint16) whose bit k says where class k is, in radar geometry as `write_class_raster` has it."""
    masks = " ".join(str(1 << k) for k in range(len(names)))
    _write_raster(path, bits, ties, block, {"flag_masks": masks, "flag_meanings": " ".join(names)})


def _write_raster(
    path: Path,
    values: np.ndarray,
    ties: TiePoints,
    block: int,
    tags: dict[str, Any],
    *,
    nodata: int | None = None,
    colours: Mapping[int, tuple[int, ...]] | None = None,
) -> None:
    import rasterio

    profile = {
        "driver": "GTiff",
        "height": values.shape[0],
        "width": values.shape[1],
        "count": 1,
        "dtype": values.dtype.name,
        "compress": "deflate",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "nodata": nodata,
        "gcps": ground_control_points(ties, block),
        "crs": "EPSG:4326",
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(values, 1)
        if colours:
            file.write_colormap(1, colours)
        file.update_tags(1, **tags, looks=str(block))


def ground_control_points(ties: TiePoints, block: int = 1) -> list[Any]:
    """The tie points as ESA writes them into measurement files: pixel 0, line 0 is the first one of the image.

    For block averages they count in blocks.
    """
    from rasterio.control import GroundControlPoint

    shift = 0.0 if block == 1 else -(block - 1) / 2
    return [
        GroundControlPoint(
            row=(line + shift) / block,
            col=(pixel + shift) / block,
            x=float(ties.longitude[i, j]),
            y=float(ties.latitude[i, j]),
            z=float(ties.height[i, j]),
        )
        for i, line in enumerate(ties.line)
        for j, pixel in enumerate(ties.pixel)
    ]


def write_polygons(
    path: Path, ice_class: np.ndarray, lines: np.ndarray, pixels: np.ndarray, geolocation: Geolocation, spacing_m: float
) -> int:
    """Write SIGRID-3 polygons of homogeneous regions as a GeoPackage (EPSG:4326); how many there are.

    Cells of about 5 km with like ice (total concentration to a fifth, and prevailing class) are joined; the codes are
    the true fractions in the joined region. Columns, all text as in SIGRID-3: ``POLY_TYPE`` (I ice, W water, L land);
    ``CT`` total concentration (``01`` open water, ``10`` … ``90``, ``91``, ``92``); ``CA``, ``CB``, ``CC`` partial
    concentration, ``SA``, ``SB``, ``SC`` stage of development (81 brash or pancake, 83 young, 86 level first-year, 95
    old or deformed) and ``FA``, ``FB``, ``FC`` form (01 brash, 99 not told) of the three thickest kinds of ice, empty
    where there are fewer. Also ``water``, ``brash_pancake`` … : the true fractions, as numbers.

    Raises:
        OptionError: nothing was observed.
    """
    import geopandas as gpd

    shapes, rows = regions(ice_class, lines, pixels, geolocation, spacing_m)
    if not rows:
        raise OptionError("The window holds nothing that was observed. Choose other lines and pixels.")
    table = {name: [row[name] for row in rows] for name in rows[0]}
    gpd.GeoDataFrame(table, geometry=shapes, crs="EPSG:4326").to_file(path, driver="GPKG", layer="polygons")
    return len(rows)


def regions(
    ice_class: np.ndarray, lines: np.ndarray, pixels: np.ndarray, geolocation: Geolocation, spacing_m: float
) -> tuple[list[Any], list[dict[str, str | float]]]:
    """The polygons (longitude, latitude) and their columns, see `write_polygons`."""
    import shapely
    from rasterio import features

    size = int(np.clip(round(_CELL_M / spacing_m), 1, min(ice_class.shape) // 6))
    counts = cell_counts(ice_class, size)
    code = _codes(counts)
    label, n = np.zeros(code.shape, np.int32), 0
    for value in np.unique(code[code >= 0]):
        part, found = ndimage.label(code == value)
        label[part > 0] = part[part > 0] + n
        n += found
    # Regions of one or two cells go to the neighbour they touch most; an analyst would not draw them.
    label = _absorb(label, 3)
    found = list(features.shapes(label, mask=label > 0, connectivity=4))
    cells = [shapely.geometry.shape(geometry) for geometry, _ in found]
    smooth = shapely.coverage_simplify(shapely.segmentize(np.array(cells, dtype=object), 1.0), 0.8)
    shapes, rows = [], []
    for polygon, (_, value) in zip(smooth, found, strict=True):
        if polygon.is_empty:
            continue

        def to_lonlat(xy: np.ndarray) -> np.ndarray:
            line = np.interp(xy[:, 1] * size - 0.5, np.arange(lines.size), lines)
            pixel = np.interp(xy[:, 0] * size - 0.5, np.arange(pixels.size), pixels)
            return np.column_stack(geolocation.lonlat(line, pixel))

        shapes.append(shapely.transform(polygon, to_lonlat))
        rows.append(_attributes(counts[:, label == int(value)].sum(axis=1)))
    return shapes, rows


def cell_counts(ice_class: np.ndarray, size: int) -> np.ndarray:
    """Pixels of each of the five classes and of land (row 5) in cells of size × size: int (6, rows, columns)."""
    n = -(-ice_class.shape[0] // size), -(-ice_class.shape[1] // size)
    padded = np.full((n[0] * size, n[1] * size), CLASS_NODATA, np.uint8)
    padded[: ice_class.shape[0], : ice_class.shape[1]] = ice_class
    blocks = padded.reshape(n[0], size, n[1], size)
    return np.stack([(blocks == c).sum(axis=(1, 3)) for c in (0, 1, 2, 3, 4, CLASS_LAND)])


def _codes(counts: np.ndarray) -> np.ndarray:
    """One number per cell: -1 unobserved, 0 water, 100 land, else concentration fifth × 10 + prevailing class."""
    smooth = np.stack([ndimage.uniform_filter(c.astype(float), 3, mode="nearest") for c in counts])
    total = np.maximum(smooth.sum(axis=0), 1e-9)
    ice = smooth[1:5].sum(axis=0) / np.maximum(total - smooth[5], 1e-9)
    code = np.ceil(ice * 5) * 10 + smooth[1:5].argmax(axis=0) + 1
    code = np.where(ice < 0.05, 0, code)
    code = np.where(smooth[5] > 0.5 * total, 100, code)
    return np.where(counts.sum(axis=0) == 0, -1, code).astype(int)


def _absorb(label: np.ndarray, smallest: int) -> np.ndarray:
    out = label.copy()
    for _ in range(3):
        sizes = np.bincount(out.ravel())
        small = (sizes[out] < smallest) & (out > 0)
        if not small.any():
            break
        keep = (out > 0) & ~small
        if not keep.any():
            break
        nearest = ndimage.distance_transform_edt(~keep, return_distances=False, return_indices=True)
        out[small] = out[tuple(i[small] for i in nearest)]
    return out


def _attributes(counts: np.ndarray) -> dict[str, str | float]:
    sea = counts[:5].sum()
    row: dict[str, str | float] = {"POLY_TYPE": "W", "CT": "01"}
    row |= {name + letter: "" for letter in "ABC" for name in ("C", "S", "F")}
    fraction = counts[:5] / max(sea, 1)
    for ice_class in FIVE_CLASSES.classes:
        row["water" if ice_class.code == 0 else ice_class.name] = float(fraction[ice_class.code])
    if counts[5] > sea:
        return row | {"POLY_TYPE": "L", "CT": ""}
    ice = 1 - fraction[0]
    if ice < 0.1:
        return row
    row |= {"POLY_TYPE": "I", "CT": _tenths(ice)}
    kinds = sorted(_THICKEST_FIRST, key=lambda c: -fraction[c])[:3]
    kinds = [c for c in _THICKEST_FIRST if c in kinds and fraction[c] >= 0.05]
    for letter, c in zip("ABC", kinds, strict=False):
        row[f"C{letter}"], row[f"S{letter}"], row[f"F{letter}"] = _tenths(fraction[c]), *_STAGE[c]
    return row


def _tenths(fraction: float) -> str:
    """A SIGRID-3 concentration code."""
    if fraction >= 0.98:
        return "92"
    if fraction >= 0.95:
        return "91"
    return str(int(np.clip(round(fraction * 10), 1, 9)) * 10)
