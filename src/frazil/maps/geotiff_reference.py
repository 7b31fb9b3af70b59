"""GeoTIFFs of sea ice: concentration as NSIDC and the University of Bremen publish it, and class rasters.

The layouts, told apart by type and values:

========================  =========================  ======================================================
what                      ice                        else
========================  =========================  ======================================================
NSIDC G02135, 16 bit      0–1000: tenths of percent  2510 pole hole, 2530 coast, 2540 land, 2550 missing
NSIDC G02135 extent       1                          0 water, 210 pole hole, 253 coast, 254 land, 255 missing
NSIDC 0051 scaling        0–250: 0.4 percent         251 pole hole, 252 unused, 253 coast, 254 land, 255 missing
Bremen ASI (AMSR2)        0–100: percent             120 land and missing
percent as integer (CDR)  0–100: percent             251 pole hole, 252 lake, 253 coast, 254 land, 255 missing
scaled integer            by scale and offset        codes above 100 percent: as those of percent
percent as float          0–100: percent             NaN and the nodata value missing
class raster              its classes                254 land, 255 missing
========================  =========================  ======================================================

A file that could be two of them is refused and the kind asked for: integers up to 100 beside the codes 251 to 254 are
percent or steps of 0.4 percent, those of 16 bits without a code are percent or tenths of percent. Fractions are taken
from scaled bands and from bands that say so in their units, and never guessed. Pole hole, coast cells and missing cells
are not compared with anything.

References:
    Fetterer, F., et al. (2017), Sea Ice Index, version 3, NSIDC G02135, user guide. doi:10.7265/N5K072F8.
    Meier, W. N., et al. (2021), NOAA/NSIDC climate data record of sea ice concentration, version 4, G02202.
    DiGirolamo, N. E., et al. (2022), sea ice concentrations from Nimbus-7 SMMR and DMSP, version 2, NSIDC 0051.
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
from frazil.gdal_files import open_raster
from frazil.georeference import refuse_unplaced, world_file
from frazil.labels.class_raster import raster_code
from frazil.labels.classes import LabelOptions
from frazil.labels.polygons import find_crs
from frazil.maps.rasters import Raster

_EXTENT = {0: 0, 1: 1, 253: CLASS_LAND, 254: CLASS_LAND, 210: CLASS_NODATA, 255: CLASS_NODATA}
#: Layout -> (divisor to percent, highest concentration, land codes, other codes without a concentration).
_LAYOUTS: dict[str, tuple[float, int, tuple[int, ...], tuple[int, ...]]] = {
    "nsidc16": (10.0, 1000, (2530, 2540), (2510, 2550)),
    "nsidc8": (2.5, 250, (253, 254), (251, 252, 255)),
    "percent": (1.0, 100, (), (120, 255)),
    "codes": (1.0, 100, (253, 254, 2530, 2540), (120, 251, 252, 255, 2510, 2550)),
}
_CODES = {251, 252, 253, 254, 255}
_CODES16 = {2510, 2530, 2540, 2550}
_FEW = 5  # values above 1 among fractions are codes, if there are so few of them


@dataclass(frozen=True, eq=False)
class _Tiff:
    path: Path
    values: np.ndarray
    tags: Mapping[str, str]
    nodata: float | None
    scale: float = 1.0
    offset: float = 0.0
    units: str = ""

    @property
    def scaled(self) -> bool:
        """Whether values stand for others."""
        return (self.scale, self.offset) != (1.0, 0.0)

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
            how = (float(file.scales[0]), float(file.offsets[0]), str(file.units[0] or ""))
            tiff = _Tiff(path, file.read(1), {**file.tags(1), **file.tags()}, file.nodata, *how)
    except (rasterio.errors.RasterioError, MemoryError) as error:
        raise LabelError(
            f"{path} cannot be read as a raster: {(str(error) or 'out of memory').splitlines()[0].rstrip('.')}."
        ) from error
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
    refuse_unplaced(path, where, transform)
    kind = kind or _kind(tiff, options)
    if bands > 1 and kind != "classes":
        raise LabelError(f"{path} has {bands} bands, of which one would be read. Pass a file of one map.")
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
    if tiff.values.dtype.kind == "f" or tiff.scaled:
        return "concentration"
    if options.classes or "class_scheme" in tiff.tags or "flag_meanings" in tiff.tags:
        return "classes"
    found = tiff.found
    if tiff.values.dtype.itemsize > 1:
        if found & _CODES16 or max(found - _CODES, default=0) > 100:
            return "nsidc"
        raise LabelError(
            f"{tiff.path} holds {_listed(found)} in {tiff.values.dtype}: percent, tenths of percent, or classes. Say "
            "which: kind='concentration', 'nsidc' or 'classes' (--kind)."
        )
    if 253 in found and found <= set(_EXTENT):
        return "nsidc"
    highest = max(found - _CODES - {120}, default=0)
    if highest > 100:
        return "nsidc"
    if found & {251, 252, 253, 254} and highest > 10:
        raise LabelError(
            f"{tiff.path} holds values up to {highest} and codes of NSIDC above 250: percent, as in climate data "
            "records, or steps of 0.4 percent. Say which: kind='concentration' or 'nsidc' (--kind)."
        )
    if 120 in found or highest > 10:
        return "amsr2"
    raise LabelError(
        f"{tiff.path} holds {_listed(found)}: classes, an extent, or concentrations. Say which: kind='classes', "
        "'nsidc', 'concentration' or 'amsr2' (--kind)."
    )


def _layout(tiff: _Tiff, kind: str) -> str:
    if tiff.values.dtype.kind == "f":
        return "float"
    if tiff.scaled:
        return "scaled"
    if kind in ("amsr2", "concentration"):
        return "percent" if kind == "amsr2" else "codes"
    if tiff.values.dtype.itemsize > 1:
        return "nsidc16"
    return "nsidc8"


def _percent(tiff: _Tiff, layout: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Concentration, NaN where there is none, and where land is."""
    values = tiff.values
    if layout == "float":
        percent = (values.astype(np.float64) * tiff.scale + tiff.offset).astype(np.float32)
        if tiff.nodata is not None:
            percent[values == tiff.nodata] = np.nan
        fraction = is_fraction(tiff.units)
        return checked_percent(percent * 100 if fraction else percent, tiff.path, sure=fraction is not None), None
    if layout == "scaled":
        return _scaled(tiff)
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


def _scaled(tiff: _Tiff) -> tuple[np.ndarray, np.ndarray | None]:
    """Concentration of integers with a scale and an offset, and land by the codes of NSIDC."""
    values = tiff.values
    says = values.astype(np.float64) * tiff.scale + tiff.offset
    missing = np.zeros(values.shape, bool) if tiff.nodata is None else values == tiff.nodata
    most = float(np.iinfo(values.dtype).max) * tiff.scale + tiff.offset
    fraction = is_fraction(tiff.units)
    if fraction is None and most < 100:  # in percent, the type could not say that all is ice
        fraction = True
    full = 1.0 if fraction else 100.0
    beyond = ~missing & (says > full * 1.001)
    codes = {int(v) for v in np.unique(values[beyond])}
    strange = codes - _CODES - _CODES16
    if strange:
        raise LabelError(
            f"{tiff.path} holds {_listed(strange)}, with its scale {tiff.scale:g} more than everything ice, and no "
            f"code of {sorted(_CODES | _CODES16)}. Correct its scale, or set these to its nodata value."
        )
    says[missing | beyond] = np.nan
    percent = checked_percent((says * 100 / full).astype(np.float32), tiff.path, sure=fraction is not None)
    land = np.isin(values, (253, 254, 2530, 2540)) & beyond
    return percent, land if land.any() else None


def is_fraction(units: str) -> bool | None:
    """Whether units are those of fractions (True) or of percent (False); None where they say neither."""
    text = units.strip().lower().strip("()[] ").replace(" ", "")
    if text in ("1", "fraction", "fractions", "0-1", "0..1", "0to1", "unitless", "dimensionless"):
        return True
    return False if text in ("%", "percent", "percents", "percentage", "0-100", "0to100") else None


def checked_percent(percent: np.ndarray, path: Path, *, sure: bool = False) -> np.ndarray:
    """Percent from 0 to 100 or NaN; raise where something else stands.

    Args:
        percent: the values.
        path: of the file, for messages.
        sure: units have said that it is percent, or was fractions; small numbers are little ice then.

    Raises:
        LabelError: values outside, or such as only fractions have.
    """
    told = percent[np.isfinite(percent)]
    outside = told[(told < -0.5) | (told > 100.5)]
    if outside.size:
        listed = ", ".join(f"{v:g}" for v in np.unique(outside)[:8])
        raise LabelError(f"{path} holds {listed}, which is no concentration (0 to 100 %) and no code known to frazil.")
    if sure or not told.size or told.max() <= 0:
        return percent
    if told.max() <= 1:
        raise LabelError(
            f"{path} holds values from 0 to {told.max():g}: fractions, where percent was expected. "
            "Multiply by 100, or give the variable its units."
        )
    above = np.unique(told[told > 1])
    if above.size <= _FEW and np.unique(told[(told > 0) & (told <= 1)]).size >= above.size:
        raise LabelError(
            f"{path} holds fractions, and {', '.join(f'{v:g}' for v in above)} beside them: codes, or little ice in "
            "percent. Set codes to the nodata value and multiply by 100, or give it its units."
        )
    return percent


def _classes(tiff: _Tiff, options: LabelOptions) -> np.ndarray:
    """Codes of water and ice of a class raster."""
    if tiff.values.dtype.kind not in "ui":
        raise LabelError(f"{tiff.path} holds {tiff.values.dtype} values; a class raster holds integers.")
    scheme = CLASS_SCHEMES.get(tiff.tags.get("class_scheme", ""), BINARY)
    names = zip(tiff.tags.get("flag_values", "").split(), tiff.tags.get("flag_meanings", "").split(), strict=False)
    meaning = dict(options.classes) or dict(names)
    found, inverse = np.unique(tiff.values, return_inverse=True)
    codes: list[int] = []
    strange = set()
    for value in found.tolist():
        code = raster_code(value, scheme, meaning, tiff.nodata)
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
    return ", ".join(map(str, some[:40])) + (" …" if len(some) > 40 else "")
