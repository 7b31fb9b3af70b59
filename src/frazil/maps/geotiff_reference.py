"""GeoTIFFs of sea ice: concentration as NSIDC and the University of Bremen publish it, and class rasters.

The layouts, told apart by type and values:

========================  =========================  ======================================================
what                      ice                        else
========================  =========================  ======================================================
NSIDC G02135, 16 bit      0–1000: tenths of percent  2510 pole hole, 2530 coast, 2540 land, 2550 missing
NSIDC G02135 extent       1                          0 water, 210 pole hole, 253 coast, 254 land, 255 missing
NSIDC 0051 scaling        0–250: 0.4 percent         251 pole hole, 252 unused, 253 coast, 254 land, 255 missing
Bremen ASI (AMSR2)        0–100: percent             120 land and missing
percent as float          0–100: percent             NaN and the nodata value missing
class raster              its classes                254 land, 255 missing
========================  =========================  ======================================================

A file that could be two of them is refused and the kind asked for. Pole hole, coast cells and missing cells are not
compared with anything.

References:
    Fetterer, F., et al. (2017), Sea Ice Index, version 3, NSIDC G02135, user guide. doi:10.7265/N5K072F8.
    Melsheimer, C. (2019), ASI version 5 sea ice concentration user guide, University of Bremen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import CRS

from frazil.conventions import BINARY, CLASS_LAND, CLASS_NODATA, CLASS_SCHEMES
from frazil.errors import LabelError
from frazil.gdal_files import open_raster, world_file
from frazil.labels.polygons import find_crs
from frazil.labels.sources import LabelOptions, class_code
from frazil.maps.rasters import Raster

_EXTENT = {0: 0, 1: 1, 253: CLASS_LAND, 254: CLASS_LAND, 210: CLASS_NODATA, 255: CLASS_NODATA}
#: Layout -> (divisor to percent, highest concentration, land codes, other codes without a concentration).
_LAYOUTS: dict[str, tuple[float, int, tuple[int, ...], tuple[int, ...]]] = {
    "nsidc16": (10.0, 1000, (2530, 2540), (2510, 2550)),
    "nsidc8": (2.5, 250, (253, 254), (251, 252, 255)),
    "percent": (1.0, 100, (), (120, 255)),
}


@dataclass(frozen=True, eq=False)
class _Tiff:
    path: Path
    values: np.ndarray
    tags: Mapping[str, str]
    nodata: float | None

    @cached_property
    def found(self) -> set[Any]:
        """The values that occur, but for nodata."""
        return {v for v in np.unique(self.values).tolist() if v != self.nodata}


def read_geotiff(path: Path, kind: str | None, options: LabelOptions) -> tuple[str, Raster]:
    """The kind of a raster file (``"nsidc"``, ``"amsr2"``, ``"concentration"`` or ``"classes"``) and what it holds.

    Args:
        path: GeoTIFF, ERDAS Imagine or PNG (see `frazil.gdal_files`), with a transform and a CRS.
        kind: the kind, where it is known; None to find out.
        options: ``assume_crs`` of a file that does not say its own; ``classes`` of a class raster.

    Raises:
        LabelError: not readable, not georeferenced, several bands, values of no layout, or of several.
    """
    import rasterio

    try:
        with open_raster(path) as file:
            crs, transform, gcps = file.crs, file.transform, file.gcps[0]
            bands = file.count
            tiff = _Tiff(path, file.read(1), {**file.tags(1), **file.tags()}, file.nodata)
    except rasterio.errors.RasterioError as error:
        raise LabelError(f"{path} cannot be read as a raster: {str(error).splitlines()[0].rstrip('.')}.") from error
    if transform.is_identity and not gcps:
        transform = world_file(path) or transform
    if gcps and transform.is_identity:
        raise LabelError(f"{path} is in radar geometry. Pass a raster in a map projection (geocode it first).")
    if transform.is_identity:
        raise LabelError(f"{path} is not georeferenced: it has no transform. Pass a georeferenced GeoTIFF.")
    if bands in (3, 4) and tiff.values.dtype == np.uint8:
        raise LabelError(f"{path} has {bands} bands: a picture, not concentrations. Pass the file with the data.")
    if crs:
        where = CRS.from_user_input(crs)
    elif options.assume_crs:
        where = find_crs(options.assume_crs)
    else:
        raise LabelError(f"{path} does not say its CRS. Pass it: assume_crs='EPSG:...' (--assume-crs).")
    kind = kind or _kind(tiff, options)
    if kind == "classes":
        return kind, Raster(crs=where, transform=transform, values=_classes(tiff, options))
    if kind == "nsidc" and tiff.values.dtype == np.uint8 and tiff.found <= set(_EXTENT):
        codes = np.full(256, CLASS_NODATA, np.uint8)
        codes[list(_EXTENT)] = list(_EXTENT.values())
        return kind, Raster(crs=where, transform=transform, values=codes[tiff.values])
    percent, land = _percent(tiff, _layout(tiff, kind))
    return kind, Raster(crs=where, transform=transform, values=percent, land=land)


def _kind(tiff: _Tiff, options: LabelOptions) -> str:
    """What a raster is, from its type, its tags and the values in it."""
    if tiff.values.dtype.kind == "f":
        return "concentration"
    if options.classes or "class_scheme" in tiff.tags or "flag_meanings" in tiff.tags:
        return "classes"
    found = tiff.found
    if tiff.values.dtype.itemsize > 1:
        return "nsidc"
    if 253 in found and found <= set(_EXTENT):
        return "nsidc"
    if 120 in found or max(found - {251, 252, 253, 254, 255}, default=0) > 10:
        return "amsr2" if found <= {*range(101), 120, 255} else "nsidc"
    raise LabelError(
        f"{tiff.path} holds {_listed(found)}: classes, an extent, or concentrations. Say which: kind='classes', "
        "'nsidc' or 'amsr2' (--kind)."
    )


def _layout(tiff: _Tiff, kind: str) -> str:
    if tiff.values.dtype.kind == "f":
        return "float"
    if kind in ("amsr2", "concentration"):
        return "percent"
    if tiff.values.dtype.itemsize > 1:
        return "nsidc16"
    return "nsidc8"


def _percent(tiff: _Tiff, layout: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Concentration, NaN where there is none, and where land is."""
    values = tiff.values
    if layout == "float":
        percent = values.astype(np.float32)
        if tiff.nodata is not None:
            percent[values == tiff.nodata] = np.nan
        return checked_percent(percent, tiff.path), None
    divisor, highest, land_codes, other = _LAYOUTS[layout]
    without = [*land_codes, *other, *([] if tiff.nodata is None else [int(tiff.nodata)])]
    found = tiff.found
    strange = {v for v in found if not 0 <= v <= highest and v not in without}
    if strange:
        raise LabelError(
            f"{tiff.path} holds {_listed(strange)}, which is neither a concentration (0 to {highest}) nor one of the "
            f"codes {sorted(land_codes + other)}. Say what the file is with kind=... (--kind), or correct it."
        )
    percent = (values / np.float32(divisor)).astype(np.float32)
    percent[np.isin(values, without)] = np.nan
    return percent, np.isin(values, land_codes) if land_codes else None


def checked_percent(percent: np.ndarray, path: Path) -> np.ndarray:
    """Percent from 0 to 100 or NaN; raise where something else stands.

    Raises:
        LabelError: values outside, or such as only fractions have.
    """
    told = percent[np.isfinite(percent)]
    outside = told[(told < -0.5) | (told > 100.5)]
    if outside.size:
        listed = ", ".join(f"{v:g}" for v in np.unique(outside)[:8])
        raise LabelError(f"{path} holds {listed}, which is no concentration (0 to 100 %) and no code known to frazil.")
    if told.size and 0 < told.max() <= 1:
        raise LabelError(
            f"{path} holds values from 0 to {told.max():g}: fractions, where percent was expected. "
            "Multiply by 100, or give the variable its units."
        )
    return percent


def _classes(tiff: _Tiff, options: LabelOptions) -> np.ndarray:
    """Codes of water and ice of a class raster."""
    if tiff.values.dtype.kind not in "ui":
        raise LabelError(f"{tiff.path} holds {tiff.values.dtype} values; a class raster holds integers.")
    scheme = CLASS_SCHEMES.get(tiff.tags.get("class_scheme", ""), BINARY)
    names = zip(tiff.tags.get("flag_values", "").split(), tiff.tags.get("flag_meanings", "").split(), strict=False)
    meaning = dict(names) | dict(options.classes)
    found, inverse = np.unique(tiff.values, return_inverse=True)
    codes: list[int] = []
    strange = set()
    for value in found.tolist():
        said = meaning.get(str(value))
        if said is None and (value in (CLASS_LAND, CLASS_NODATA) or value == tiff.nodata):
            codes.append(CLASS_LAND if value == CLASS_LAND else CLASS_NODATA)
            continue
        code = class_code(value if said is None else said, scheme, {})
        if code is None:
            strange.add(value)
        codes.append(min(code or 0, 1) if (code or 0) < CLASS_LAND else int(code or 0))
    if strange:
        raise LabelError(
            f"{tiff.path} holds {_listed(strange)}, which is no class of {scheme.name} {list(scheme.names)}. "
            "Say what it means: classes={'VALUE': 'name'} (--class VALUE=NAME; an empty name leaves it out)."
        )
    return np.array(codes, np.uint8)[inverse].reshape(tiff.values.shape)


def _listed(values: set[Any]) -> str:
    some = sorted(values)
    return ", ".join(map(str, some[:8])) + (" …" if len(some) > 8 else "")
