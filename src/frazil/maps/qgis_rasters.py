"""How QGIS is to draw the rasters of a map: renderers, as files beside the rasters and for projects.

QGIS applies ``<stem>.qml`` when it opens ``<stem>.tif``. Bits are drawn by a palette of the numbers that occur in the
map: QGIS knows no bits, its raster calculator neither, and a palette draws what it names and nothing else, in every
version.

References:
    QGIS documentation, "QML, the QGIS Style File Format"; written as QGIS 3.22 writes and reads it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frazil.conventions import (
    CLASS_LAND,
    LAND_COLOUR,
    QUALITY_FLAGS,
    UNDECIDED,
    UNDECIDED_COLOUR,
    UNDECIDED_TITLE,
    ClassScheme,
)
from frazil.maps.panels import DOUBTS, RAMPS
from frazil.scene.quicklook import bands_told

if TYPE_CHECKING:
    import xarray as xr

    from frazil.maps.layers import MapLayer

VERSION = "3.22.0"
_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_ROWS = 256  # counted at a time: bincount wants 8 bytes a pixel
RGB = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """One way to draw a raster.

    Attributes:
        title: of the layer in a project.
        renderer: the element ``rasterrenderer``.
    """

    title: str
    renderer: ET.Element


def views_of(layer: MapLayer, ds: xr.Dataset, scheme: ClassScheme) -> tuple[View, ...]:
    """The ways to draw a raster of a map; the first is the one that its ``.qml`` holds.

    Classes in their colours; percentages on a ramp, a view a class where there are several bands, the ice first; flags
    by the most serious one of each pixel, and a view each; phenomena all at once, and a view each; radar as a colour
    composite, and each band in grey.

    Args:
        layer: which raster.
        ds: the map, see `frazil.conventions.check_map`.
        scheme: its classes.
    """
    if layer.holds == "code":
        return (View(title=layer.title, renderer=classes(scheme)),)
    if layer.holds == "radar":
        return _radar([band.name for band in bands_told(ds[layer.variable].attrs)])
    if layer.holds == "bits":
        return _flags(ds, layer) if layer.variable == "quality_flags" else _phenomena(ds, layer, scheme)
    if "category" not in ds[layer.variable].dims:
        name = "ice" if layer.variable == "ice_probability" else "confidence"
        return (View(title=layer.title, renderer=ramp(RAMPS[name])),)
    what = layer.variable.capitalize()
    views = [View(title=f"{what}: {c.title}", renderer=ramp(RAMPS["confidence"], c.code + 1)) for c in scheme.classes]
    return (*views[1:], views[0]) if scheme.kind == "exclusive" else tuple(views)


def write_style(tiff: Path, renderer: ET.Element) -> Path:
    """The style that QGIS applies when it opens a raster: ``<stem>.qml`` beside it."""
    root = ET.Element("qgis", version=VERSION, styleCategories="Symbology")
    ET.SubElement(root, "pipe").append(renderer)
    ET.SubElement(root, "blendMode").text = "0"
    ET.indent(root)
    path = tiff.with_suffix(".qml")
    path.write_text(_DOCTYPE + ET.tostring(root, encoding="unicode") + "\n", encoding="utf-8")
    return path


def classes(scheme: ClassScheme) -> ET.Element:
    """Codes in the colours of their classes, land grey; no data has no place in the legend."""
    entries = [(c.code, c.title, c.colour) for c in scheme.classes]
    return palette([*entries, (UNDECIDED, UNDECIDED_TITLE, UNDECIDED_COLOUR), (CLASS_LAND, "Land", LAND_COLOUR)])


def palette(entries: Iterable[tuple[int, str, RGB]]) -> ET.Element:
    """Values in colours of their own; values that have none are transparent.

    Args:
        entries: value, what the legend says, colour.
    """
    renderer = ET.Element("rasterrenderer", _common("paletted", band="1"))
    colours = ET.SubElement(renderer, "colorPalette")
    for value, title, colour in entries:
        ET.SubElement(colours, "paletteEntry", value=str(value), label=title, color=hexed(colour), alpha="255")
    return renderer


def ramp(stops: tuple[RGB, ...], band: int = 1) -> ET.Element:
    """Percent on a ramp of colours, the stops evenly from 0 to 100."""
    limits = {"classificationMin": "0", "classificationMax": "100"}
    renderer = ET.Element("rasterrenderer", _common("singlebandpseudocolor", band=str(band)) | limits)
    shader = ET.SubElement(
        ET.SubElement(renderer, "rastershader"),
        "colorrampshader",
        {"colorRampType": "INTERPOLATED", "classificationMode": "1", "clip": "0", "labelPrecision": "0"}
        | {"minimumValue": "0", "maximumValue": "100"},
    )
    for number, colour in enumerate(stops):
        value = f"{100 * number / (len(stops) - 1):.4g}"
        ET.SubElement(shader, "item", value=value, label=f"{float(value):.0f} %", color=hexed(colour), alpha="255")
    return renderer


def grey(band: int) -> ET.Element:
    """A band of the radar image in grey, as its bytes are."""
    renderer = ET.Element("rasterrenderer", _common("singlebandgray", grayBand=str(band), gradient="BlackToWhite"))
    _stretch(renderer, "contrastEnhancement")
    return renderer


def composite(red: int, green: int, blue: int) -> ET.Element:
    """Three bands of the radar image as colours, as their bytes are."""
    bands = {"redBand": str(red), "greenBand": str(green), "blueBand": str(blue)}
    renderer = ET.Element("rasterrenderer", _common("multibandcolor", **bands))
    for name in ("red", "green", "blue"):
        _stretch(renderer, f"{name}ContrastEnhancement")
    return renderer


def hexed(colour: Iterable[int]) -> str:
    """``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _radar(bands: list[str]) -> tuple[View, ...]:
    """Cross polarisation in red, like polarisation in green and blue: ice comes out warm, rough water in cyan."""
    single = [View(title=f"{name}, radar", renderer=grey(number)) for number, name in enumerate(bands, 1)]
    if len(bands) < 3:
        return tuple(single)
    return (View(title=f"{bands[1]}, {bands[0]}, {bands[0]} as colours", renderer=composite(2, 1, 1)), *single)


def _flags(ds: xr.Dataset, layer: MapLayer) -> tuple[View, ...]:
    """By the most serious flag (the last of `DOUBTS`), then a view for each flag that occurs."""
    mask = {name: bits for name, (bits, _) in QUALITY_FLAGS.items()}
    found = [v for v in occurring(ds[layer.variable].values) if not v & mask["nodata"]]
    told = {v: [name for name in reversed(DOUBTS) if v & mask[name]] for v in found if not v & mask["land"]}
    land = [(v, "Land", LAND_COLOUR) for v in found if v & mask["land"]]
    entries = [
        (v, _words([DOUBTS[name][0] for name in names]), DOUBTS[names[0]][1]) for v, names in told.items() if names
    ]
    views = [View(title="All doubts", renderer=palette([*entries, *land]))]
    for name in reversed(DOUBTS):
        title, colour = DOUBTS[name]
        own = [(v, words, colour) for v, words, _ in entries if name in told[v]]
        if own:
            views.append(View(title=title, renderer=palette(own)))
    return tuple(views)


def _phenomena(ds: xr.Dataset, layer: MapLayer, scheme: ClassScheme) -> tuple[View, ...]:
    """Where several were found the mean of their colours, then a view for each that occurs."""
    told = {v: [c for c in scheme.classes if v >> c.code & 1] for v in occurring(ds[layer.variable].values)}
    entries = [
        (v, _words([c.title for c in found]), _mean([c.colour for c in found])) for v, found in told.items() if found
    ]
    views = [View(title=layer.title, renderer=palette(entries))]
    for c in scheme.classes:
        own = [(v, words, c.colour) for v, words, _ in entries if c in told[v]]
        if own:
            views.append(View(title=c.title, renderer=palette(own)))
    return tuple(views)


def occurring(values: np.ndarray) -> list[int]:
    """The numbers that occur in an array of uint16, in order."""
    counts = np.zeros(2**16, np.int64)
    for start in range(0, len(values), _ROWS):
        counts += np.bincount(values[start : start + _ROWS].ravel(), minlength=2**16)
    return [int(v) for v in np.flatnonzero(counts)]


def _words(titles: list[str]) -> str:
    return ", ".join([titles[0], *(title[0].lower() + title[1:] for title in titles[1:])])


def _mean(colours: list[RGB]) -> RGB:
    red, green, blue = (round(sum(band) / len(colours)) for band in zip(*colours, strict=True))
    return red, green, blue


def _common(kind: str, **more: str) -> dict[str, str]:
    return {"type": kind, "opacity": "1", "alphaBand": "-1", "nodataColor": ""} | more


def _stretch(renderer: ET.Element, name: str) -> None:
    element = ET.SubElement(renderer, name)
    for tag, text in (("minValue", "1"), ("maxValue", "255"), ("algorithm", "StretchToMinimumMaximum")):
        ET.SubElement(element, tag).text = text
