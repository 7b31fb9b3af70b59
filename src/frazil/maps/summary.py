"""What a map says, in numbers: areas, extent, edge length, confidence, flags.

Areas are ground areas on the ellipsoid (nominal pixel area over the areal scale of the projection), see
`frazil.maps.areas`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.conventions import (
    CLASS_LAND,
    PERCENT_NODATA,
    QUALITY_FLAGS,
    UNDECIDED,
    ClassScheme,
    check_map,
    prior_attrs,
)
from frazil.maps.areas import PixelAreas
from frazil.maps.edges import ice_edge
from frazil.scene.grid import MapGrid
from frazil.scene.quicklook import bands_told

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr


def summarise(
    ds: xr.Dataset,
    *,
    edge: gpd.GeoDataFrame | None = None,
    timings: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """What a map says in numbers, ready for JSON: areas, flags, where it is from; of sea ice extent and edge, too.

    Shares of flags are percent of the *sea pixels*: those of the grid that are flagged neither ``nodata`` nor ``land``.
    The ice extent is the ground area of all classes of ice; with the undecided area it would be the upper end of
    ``ice_extent_range_km2``. Shares refer to the mapped sea: all that was observed of it, undecided or not. Means over
    no pixels are None. Of phenomena, ``found_km2`` is the area where each was found, ``dominant_km2`` that where its
    score was the highest. ``quicklook_db`` are the bands of the radar image and the decibels of its 1 and 255.

    Args:
        ds: a map, see `frazil.conventions.check_map`, on a projected grid.
        edge: of sea ice: the lines of `frazil.ice_edge`, if they are there already; else they are made.
        timings: seconds by step, kept as they are.

    Raises:
        ContractError: not a map, or not on a projected grid.
    """
    scheme = check_map(ds)
    grid, attrs = MapGrid.of(ds), ds.attrs
    sea_pixels, flagged = flag_counts(ds["quality_flags"].values)
    told = _of_ice(ds, scheme, grid, edge) if scheme.kind == "exclusive" else _of_phenomena(ds, scheme, grid)
    return {
        "product": str(attrs["product"]),
        "start_time": str(attrs["start_time"]),
        "stop_time": str(attrs.get("stop_time", attrs["start_time"])),
        "model": str(attrs["model"]),
        "model_card": _text(attrs.get("model_card")),
        "denoise": _text(attrs.get("denoise")),
        "bbox": _text(attrs.get("bbox")),
        "note": _text(attrs.get("note")),
        "outside_training": _text(attrs.get("outside_training")),
        "class_scheme": scheme.name,
        **_prior(attrs),
        **told,
        "flags_percent_of_sea": {name: _percent(flagged[name], sea_pixels) for name in flagged},
        "sea_pixels": sea_pixels,
        "quicklook_db": _quicklook(ds),
        "areas_are": "ground areas on the ellipsoid",
        "grid": {
            "crs": grid.crs,
            "spacing_m": grid.spacing_m,
            "shape": list(grid.shape),
            "bounds_m": list(grid.bounds),
        },
        "timings": {name: round(float(seconds), 3) for name, seconds in (timings or {}).items()},
        "versions": versions(),
    }


def _of_ice(ds: xr.Dataset, scheme: ClassScheme, grid: MapGrid, edge: gpd.GeoDataFrame | None) -> dict[str, object]:
    edge = ice_edge(ds) if edge is None else edge
    codes = ds["ice_class"].values
    area = PixelAreas(grid).by_code(codes)
    count, confidence = _confidence_by_code(codes, ds["confidence"].values)
    n = len(scheme.classes)
    sea, ice, undecided = float(area[:CLASS_LAND].sum()), float(area[1:n].sum()), float(area[UNDECIDED])
    return {
        "ice_extent_km2": round(ice, 3),
        "ice_extent_percent_of_mapped_sea": _percent(ice, sea),
        "ice_extent_range_km2": [round(ice, 3), round(ice + undecided, 3)],
        "undecided_km2": round(undecided, 3),
        "undecided_percent_of_mapped_sea": _percent(undecided, sea),
        "mapped_sea_km2": round(sea, 3),
        "land_km2": round(float(area[CLASS_LAND]), 3),
        "ice_edge_km": round(float(edge["length_km"].sum()), 3),
        "mean_confidence_percent": _ratio(confidence[:CLASS_LAND].sum(), count[:CLASS_LAND].sum()),
        "classes": [
            {
                "code": c.code,
                "name": c.name,
                "title": c.title,
                "sigrid3": list(c.sigrid3),
                "area_km2": round(float(area[c.code]), 3),
                "percent_of_mapped_sea": _percent(area[c.code], sea),
                "mean_confidence_percent": _ratio(confidence[c.code], count[c.code]),
            }
            for c in scheme.classes
        ],
    }


def _of_phenomena(ds: xr.Dataset, scheme: ClassScheme, grid: MapGrid) -> dict[str, object]:
    areas, flags = PixelAreas(grid), ds["quality_flags"].values
    area = areas.by_code(ds["dominant"].values)
    observed = ds["dominant"].values < CLASS_LAND
    found = areas.by_bit(ds["phenomena"].values, len(scheme.names))
    return {
        "mapped_sea_km2": round(float(area[:CLASS_LAND].sum()), 3),
        "land_km2": round(float(area[CLASS_LAND]), 3),
        "undecided_km2": round(float(area[UNDECIDED]), 3),
        "found_km2": {name: round(float(found[code]), 3) for code, name in enumerate(scheme.names)},
        "dominant_km2": {name: round(float(area[code]), 3) for code, name in enumerate(scheme.names)},
        "flagged_km2": {
            name: round(float(areas.by_code((((flags & mask) > 0) & observed).astype(np.uint8))[1]), 3)
            for name, (mask, _) in QUALITY_FLAGS.items()
            if name not in ("nodata", "land")
        },
    }


def versions() -> dict[str, str]:
    """Versions of frazil and of the libraries that made the files."""
    from importlib.metadata import version

    import pyproj
    import rasterio
    import shapely

    from frazil import __version__

    names = ("numpy", "xarray", "rasterio", "pyproj", "shapely", "geopandas", "pyogrio", "h5netcdf")
    return {
        "frazil": __version__,
        **{name: version(name) for name in names},
        "GDAL": rasterio.__gdal_version__,
        "PROJ": pyproj.proj_version_str,
        "GEOS": shapely.geos_version_string,
    }


def _confidence_by_code(codes: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels with a confidence, and the sum of it, by code: 256 values each."""
    both = np.zeros((256, 256), dtype=np.int64)
    for start in range(0, len(codes), 256):  # a band at a time: bincount wants 8 bytes a pixel
        rows = slice(start, start + 256)
        index = codes[rows].astype(np.int64).ravel() << 8
        index |= confidence[rows].ravel()
        both += np.bincount(index, minlength=65536).reshape(256, 256)
    both[:, PERCENT_NODATA] = 0
    return both.sum(axis=1), both @ np.arange(256)


def flag_counts(flags: np.ndarray) -> tuple[int, dict[str, int]]:
    """Pixels of the sea that were observed, and how many of them bear each flag but ``nodata`` and ``land``."""
    combinations = np.zeros(65536, dtype=np.int64)
    for start in range(0, len(flags), 256):
        combinations += np.bincount(flags[start : start + 256].ravel(), minlength=65536)
    value = np.arange(65536)
    combinations[value & (QUALITY_FLAGS["nodata"][0] | QUALITY_FLAGS["land"][0]) > 0] = 0
    counts = {
        name: int(combinations[value & mask > 0].sum())
        for name, (mask, _) in QUALITY_FLAGS.items()
        if name not in ("nodata", "land")
    }
    return int(combinations.sum()), counts


def _prior(attrs: Mapping[Any, Any]) -> dict[str, object]:
    """What a map says of its prior, as one entry; none of a map that rests on none."""
    told = {name.removeprefix("prior_"): _value(value) for name, value in prior_attrs(attrs).items()}
    if not told:
        return {}
    changed = {name.removesuffix("_km2"): told.pop(name) for name in list(told) if name.endswith("_km2")}
    return {"prior": {"name": told.pop("prior", None), **told, "changed_km2": changed}}


def _quicklook(ds: xr.Dataset) -> dict[str, list[float]] | None:
    """Band of the radar image -> the decibels that 1 and 255 stand for; None of a map that was made from no scene."""
    if "quicklook" not in ds:
        return None
    return {band.name: [band.low_db, band.high_db] for band in bands_told(ds["quicklook"].attrs)}


def _value(value: Any) -> float | str | None:
    """An attribute as JSON takes it: a finite number, or text; None for a number that is not finite."""
    if isinstance(value, (int, float, np.number)):
        return round(float(value), 3) if np.isfinite(value) else None
    return str(value)


def _ratio(part: float, whole: float) -> float | None:
    return round(float(part) / float(whole), 3) if whole else None


def _percent(part: float, whole: float) -> float | None:
    return _ratio(100 * float(part), whole)


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)
