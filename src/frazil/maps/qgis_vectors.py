"""How QGIS is to draw polygons and lines: styles, and the table of a GeoPackage that holds them.

The table ``layer_styles`` is QGIS's own: the style that is marked as default is applied when the layer is opened.

References:
    OGC 12-128r18, GeoPackage 1.3. QGIS documentation, "Storing styles in a database": layer_styles; "QML".
"""

from __future__ import annotations

import sqlite3
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from frazil.conventions import UNDECIDED_COLOUR, UNDECIDED_NAME, UNDECIDED_TITLE, ClassScheme
from frazil.dates import date_made
from frazil.maps.panels import EDGE
from frazil.maps.qgis_rasters import VERSION

RGB = tuple[int, int, int]
_OUTLINE = {"outline_color": "34,34,34,255", "outline_style": "solid", "outline_width": "0.15", "style": "solid"}


@dataclass(frozen=True, kw_only=True)
class LayerStyle:
    """A row of ``layer_styles``.

    Attributes:
        layer: the table it is for.
        name: of the style.
        description: for people.
        renderer: the element ``renderer-v2``.
        default: whether QGIS is to apply it by itself.
    """

    layer: str
    name: str
    description: str
    renderer: ET.Element
    default: bool = True


def write_layer_styles(path: Path, styles: Iterable[LayerStyle]) -> None:
    """Add the table ``layer_styles`` to a GeoPackage that has none.

    Raises:
        OSError: the file could not be written.
    """
    try:
        with closing(sqlite3.connect(path)) as database, database:
            _write(database, styles)
    except sqlite3.OperationalError as error:
        raise OSError(f"styles of {path.name}: {error}") from error


def map_styles(scheme: ClassScheme) -> list[LayerStyle]:
    """The styles of the layers of a map's GeoPackage, from the top: polygons in the colours of the scheme, the edge."""
    entries = [(c.name, c.title, c.colour) for c in scheme.classes]
    if scheme.kind == "multilabel":
        seen_through = categories("name", entries, opacity=0.6)  # polygons of several phenomena may overlap
        return [LayerStyle(layer="phenomena", name="Phenomena", description="Phenomena found", renderer=seen_through)]
    entries.append((UNDECIDED_NAME, UNDECIDED_TITLE, UNDECIDED_COLOUR))
    edge = (int(EDGE[1:3], 16), int(EDGE[3:5], 16), int(EDGE[5:7], 16))
    return [
        LayerStyle(layer="ice_edge", name="Ice edge", description="Ice edge", renderer=heavy_line(edge)),
        LayerStyle(
            layer="ice_classes", name="Ice classes", description="Class polygons", renderer=categories("name", entries)
        ),
    ]


def coloured_by(column: str) -> ET.Element:
    """Polygons that are filled with the colour that a column names (``#rrggbb``)."""
    renderer, symbols = _renderer("singleSymbol")
    layer = _symbol(symbols, "fill", "0", {"color": "255,255,255,255"} | _OUTLINE)
    own = ET.SubElement(ET.SubElement(layer, "data_defined_properties"), "Option", type="Map")
    ET.SubElement(own, "Option", type="QString", name="name", value="")
    properties = ET.SubElement(own, "Option", type="Map", name="properties")
    fill = ET.SubElement(properties, "Option", type="Map", name="fillColor")
    ET.SubElement(fill, "Option", type="bool", name="active", value="true")
    ET.SubElement(fill, "Option", type="QString", name="field", value=column)
    ET.SubElement(fill, "Option", type="int", name="type", value="2")
    ET.SubElement(own, "Option", type="QString", name="type", value="collection")
    return renderer


def categories(column: str, entries: Iterable[tuple[str, str, RGB]], opacity: float = 1.0) -> ET.Element:
    """Polygons in the colour of what a column says.

    Args:
        column: of text.
        entries: what it says, words of the legend, colour.
        opacity: of all of them, 0 to 1.
    """
    renderer, symbols = _renderer("categorizedSymbol")
    renderer.set("attr", column)
    listed = ET.Element("categories")
    renderer.insert(0, listed)
    for number, (value, title, colour) in enumerate(entries):
        ET.SubElement(listed, "category", value=value, label=title, symbol=str(number), render="true", type="string")
        fill = {"color": ",".join(map(str, (*colour, 255)))} | _OUTLINE
        _symbol(symbols, "fill", str(number), fill, opacity)
    return renderer


def heavy_line(colour: RGB = (0, 0, 0)) -> ET.Element:
    """A heavy line, black by default."""
    renderer, symbols = _renderer("singleSymbol")
    rgb = ",".join(map(str, colour))
    _symbol(symbols, "line", "0", {"line_color": f"{rgb},255", "line_width": "0.6", "line_style": "solid"})
    return renderer


def _renderer(kind: str) -> tuple[ET.Element, ET.Element]:
    renderer = ET.Element("renderer-v2", type=kind, enableorderby="0", forceraster="0")
    return renderer, ET.SubElement(renderer, "symbols")


def _symbol(symbols: ET.Element, kind: str, name: str, options: dict[str, str], opacity: float = 1.0) -> ET.Element:
    """The layer of a new symbol, ``fill`` or ``line``."""
    symbol = ET.SubElement(symbols, "symbol", type=kind, name=name, alpha=f"{opacity:g}", clip_to_extent="1")
    simple = {"fill": "SimpleFill", "line": "SimpleLine"}[kind]
    layer = ET.SubElement(symbol, "layer", {"class": simple, "enabled": "1", "pass": "0", "locked": "0"})
    told = ET.SubElement(layer, "Option", type="Map")
    for key, value in options.items():
        ET.SubElement(told, "Option", type="QString", name=key, value=value)
        ET.SubElement(layer, "prop", k=key, v=value)  # QGIS before 3.26
    return layer


def _qml(renderer: ET.Element) -> str:
    root = ET.Element("qgis", version=VERSION, styleCategories="Symbology")
    root.append(renderer)
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ET.tostring(root, encoding="unicode")


def _write(database: sqlite3.Connection, styles: Iterable[LayerStyle]) -> None:
    now = f"{date_made():%Y-%m-%dT%H:%M:%S.000Z}"
    database.execute(
        "CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT, f_table_catalog TEXT, f_table_schema TEXT,"
        " f_table_name TEXT, f_geometry_column TEXT, styleName TEXT, styleQML TEXT, styleSLD TEXT,"
        " useAsDefault BOOLEAN, description TEXT, owner TEXT, ui TEXT,"
        " update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"
    )
    for style in styles:
        database.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,"
            " styleQML, styleSLD, useAsDefault, description, owner, update_time)"
            " VALUES ('', '', ?, 'geom', ?, ?, '', ?, ?, '', ?)",
            (style.layer, style.name, _qml(style.renderer), style.default, style.description, now),
        )
    database.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change)"
        " VALUES ('layer_styles', 'attributes', 'layer_styles', '', ?)",
        (now,),
    )
