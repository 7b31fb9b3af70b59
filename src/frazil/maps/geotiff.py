"""The bands of a map as Cloud-Optimised GeoTIFFs.

Written by GDAL's COG driver: tiles of 512 pixels, overviews, deflate. The colour table and the nodata value live in the
file; category names do not fit into a TIFF, so GDAL keeps them beside it (``class.tif.aux.xml``).

References:
    OGC 21-026 (2023), Cloud Optimized GeoTIFF Standard.
    GDAL documentation: COG driver; Persistent Auxiliary Metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict
from xml.sax.saxutils import escape

import numpy as np

from frazil.conventions import (
    CLASS_LAND,
    CLASS_NODATA,
    LAND_COLOUR,
    PERCENT_NODATA,
    QUALITY_FLAGS,
    UNDECIDED,
    UNDECIDED_COLOUR,
    UNDECIDED_TITLE,
    ClassScheme,
)
from frazil.scene.quicklook import NODATA as NOT_SEEN
from frazil.scene.quicklook import bands_told

if TYPE_CHECKING:
    from frazil.maps.layers import MapLayer
    from frazil.scene.grid import MapGrid

THREADS = 2


def write_cog(
    path: Path,
    bands: np.ndarray,
    grid: MapGrid,
    *,
    descriptions: tuple[str, ...],
    tags: Mapping[str, str],
    nodata: float | None = None,
    overviews: str = "NEAREST",
    colours: Mapping[int, tuple[int, int, int, int]] | None = None,
    units: str = "",
) -> Path:
    """Write bands ``(band, y, x)`` of unsigned integers or float32 as one Cloud-Optimised GeoTIFF.

    Args:
        path: the file; must not exist.
        bands: the values.
        grid: where they lie.
        descriptions: what each band is.
        tags: metadata of the whole file, as text.
        nodata: the value of pixels without one.
        overviews: how GDAL makes them: ``NEAREST`` or ``MODE`` for codes and bits, ``AVERAGE`` for quantities.
        colours: red, green, blue, alpha of each value, for a single band.
        units: of all bands.

    Raises:
        OSError: the file could not be written.
    """
    import rasterio.shutil
    from rasterio.io import MemoryFile

    quantity = overviews == "AVERAGE"
    count, height, width = bands.shape
    # From memory to memory: rasterio's copy lets other threads run, which its COG writer does not, and a full disk then
    # is an OSError of Python and not a dozen lines that GDAL's threads print.
    with MemoryFile(ext=".tif") as plain, MemoryFile(ext=".tif") as cog:
        with plain.open(
            driver="GTiff",
            count=count,
            height=height,
            width=width,
            dtype=bands.dtype,
            crs=grid.crs,
            transform=grid.transform,
            nodata=nodata,
            INTERLEAVE="BAND",
            BIGTIFF="IF_SAFER",
        ) as dataset:
            dataset.write(bands)
            dataset.update_tags(**tags)
            for number, text in enumerate(descriptions, start=1):
                dataset.set_band_description(number, text)
                if units:
                    dataset.set_band_unit(number, units)
            if colours:
                dataset.write_colormap(1, dict(colours))
        rasterio.shutil.copy(
            plain.name,
            cog.name,
            driver="COG",
            COMPRESS="DEFLATE",
            LEVEL="1" if quantity else "6",  # noise does not compress, and codes compress well
            PREDICTOR="YES" if quantity else "NO",
            BLOCKSIZE="512",
            OVERVIEW_RESAMPLING=overviews,
            BIGTIFF="IF_SAFER",
            NUM_THREADS=str(THREADS),
        )
        path.write_bytes(cog.getbuffer())
    return path


class LayerSettings(TypedDict):
    """Of `write_cog`, for a layer of a map."""

    descriptions: tuple[str, ...]
    overviews: str
    tags: dict[str, str]
    nodata: NotRequired[int]
    units: NotRequired[str]
    colours: NotRequired[dict[int, tuple[int, int, int, int]]]


def settings_of(layer: MapLayer, scheme: ClassScheme, attrs: Mapping[Any, Any]) -> LayerSettings:
    """How `write_cog` writes a layer of a map: band descriptions, nodata, overviews, colours, units and further tags.

    Args:
        layer: which.
        scheme: of the map.
        attrs: of the variable; of codes, bits and radar they say what the values mean.
    """
    how: LayerSettings = {"descriptions": (layer.variable.replace("_", " "),), "overviews": layer.overviews, "tags": {}}
    if layer.holds == "percent":
        how["nodata"], how["units"] = PERCENT_NODATA, "percent"
        if layer.variable in ("probability", "score"):
            how["descriptions"] = scheme.names
    elif layer.holds == "code":
        how["nodata"], how["colours"] = CLASS_NODATA, class_colours(scheme)
        how["tags"] = {
            "flag_values": " ".join(map(str, attrs["flag_values"])),
            "flag_meanings": str(attrs["flag_meanings"]),
        }
    elif layer.holds == "radar":
        bands = bands_told(attrs)
        how["nodata"], how["descriptions"] = NOT_SEEN, tuple(band.name for band in bands)
        how["tags"] = {f"{band.name}_db": f"1 is {band.low_db:g} dB, 255 is {band.high_db:g} dB" for band in bands}
    elif layer.variable == "quality_flags":
        how["nodata"], how["tags"] = QUALITY_FLAGS["nodata"][0], flag_tags()
    else:
        how["tags"] = {f"bit_{1 << code}": name for code, name in enumerate(scheme.names)}
    return how


def class_colours(scheme: ClassScheme) -> dict[int, tuple[int, int, int, int]]:
    """Colour of every code of ``ice_class``: the classes, land grey, nodata transparent."""
    return {
        **{c.code: (*c.colour, 255) for c in scheme.classes},
        UNDECIDED: (*UNDECIDED_COLOUR, 255),
        CLASS_LAND: (*LAND_COLOUR, 255),
        CLASS_NODATA: (0, 0, 0, 0),
    }


def write_category_names(tiff: Path, scheme: ClassScheme) -> Path:
    """Names of the codes of ``ice_class`` where GDAL looks for them: ``<tiff>.aux.xml``."""
    special = {UNDECIDED: UNDECIDED_TITLE, CLASS_LAND: "Land", CLASS_NODATA: "No data"}
    names = {c.code: c.title for c in scheme.classes} | special
    lines = [f"      <Category>{escape(names.get(code, ''))}</Category>" for code in range(256)]
    path = tiff.with_name(tiff.name + ".aux.xml")
    path.write_text(
        '<PAMDataset>\n  <PAMRasterBand band="1">\n    <CategoryNames>\n'
        + "\n".join(lines)
        + "\n    </CategoryNames>\n  </PAMRasterBand>\n</PAMDataset>\n",
        encoding="utf-8",
    )
    return path


def flag_tags() -> dict[str, str]:
    """Meaning of each bit of ``quality_flags`` as tags of the file (``bit_1`` is ``nodata: no observation``)."""
    return {f"bit_{mask}": f"{name}: {meaning}" for name, (mask, meaning) in QUALITY_FLAGS.items()}
