"""A chart as a GeoPackage that QGIS opens in the colours of the WMO, without a step by hand.

The table ``layer_styles`` is QGIS's own: the style that is marked as default is applied when the layer is opened.

References:
    OGC 12-128r18, GeoPackage 1.3. QGIS documentation, "Storing styles in a database": layer_styles.
"""

from __future__ import annotations

import sqlite3
import xml.etree.ElementTree as ET
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from frazil.charts.colours import COLOUR_CODES, entry_of
from frazil.marks import WRITTEN_BY

if TYPE_CHECKING:
    import geopandas as gpd

LAYER, EDGE = "ice_chart", "ice_edge"
_COLUMNS = {"concentration": "colour_ct", "stage": "colour_sod"}


def write_geopackage(chart: gpd.GeoDataFrame, path: Path, edge: gpd.GeoDataFrame | None = None) -> None:
    """Write the polygons, with the colours of both codes as columns, and the ice edge; a style for each code.

    Args:
        chart: of `frazil.make_chart` or `frazil.read_chart`.
        path: ending in ``.gpkg``.
        edge: lines of the ice edge.
    """
    frame = chart.copy()
    rows = chart.to_dict("records")
    for code in COLOUR_CODES:
        entries = [entry_of(row, code) for row in rows]
        frame[_COLUMNS[code]] = ["#{:02x}{:02x}{:02x}".format(*entry.colour) for entry in entries]
    frame["meaning"] = [entry_of(row, "concentration").text for row in rows]
    frame.to_file(path, layer=LAYER, engine="pyogrio", layer_metadata={"WRITTEN_BY": WRITTEN_BY})
    if edge is not None and len(edge):
        edge.to_file(path, layer=EDGE, engine="pyogrio", mode="a")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT, f_table_catalog TEXT,"
            " f_table_schema TEXT, f_table_name TEXT, f_geometry_column TEXT, styleName TEXT, styleQML TEXT,"
            " styleSLD TEXT,"
            " useAsDefault BOOLEAN, description TEXT, owner TEXT, ui TEXT,"
            " update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"
        )
        insert = (
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,"
            " styleQML, styleSLD, useAsDefault, description, owner) VALUES ('', '', ?, ?, ?, ?, '', ?, ?, '')"
        )
        for code in COLOUR_CODES:
            name, what = f"WMO {code}", f"WMO colour code: {code}"
            database.execute(
                insert, (LAYER, "geom", name, polygon_style(_COLUMNS[code]), code == "concentration", what)
            )
        if edge is not None and len(edge):
            database.execute(insert, (EDGE, "geom", "Ice edge", line_style(), True, "Ice edge"))
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change)"
            " VALUES ('layer_styles', 'attributes', 'layer_styles', '', strftime('%Y-%m-%dT%H:%M:%fZ','now'))"
        )


def polygon_style(column: str) -> str:
    """QML of polygons that are filled with the colour that a column names (``#rrggbb``)."""
    root, symbol = _style("fill")
    layer = ET.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0", "locked": "0"})
    options = ET.SubElement(layer, "Option", type="Map")
    for name, value in (
        ("color", "255,255,255,255"),
        ("outline_color", "34,34,34,255"),
        ("outline_style", "solid"),
        ("outline_width", "0.15"),
        ("style", "solid"),
    ):
        ET.SubElement(options, "Option", type="QString", name=name, value=value)
        ET.SubElement(layer, "prop", k=name, v=value)  # QGIS before 3.26
    own = ET.SubElement(ET.SubElement(layer, "data_defined_properties"), "Option", type="Map")
    ET.SubElement(own, "Option", type="QString", name="name", value="")
    properties = ET.SubElement(own, "Option", type="Map", name="properties")
    fill = ET.SubElement(properties, "Option", type="Map", name="fillColor")
    ET.SubElement(fill, "Option", type="bool", name="active", value="true")
    ET.SubElement(fill, "Option", type="QString", name="field", value=column)
    ET.SubElement(fill, "Option", type="int", name="type", value="2")
    ET.SubElement(own, "Option", type="QString", name="type", value="collection")
    return _written(root)


def line_style() -> str:
    """QML of a heavy black line."""
    root, symbol = _style("line")
    layer = ET.SubElement(symbol, "layer", {"class": "SimpleLine", "enabled": "1", "pass": "0", "locked": "0"})
    options = ET.SubElement(layer, "Option", type="Map")
    for name, value in (("line_color", "0,0,0,255"), ("line_width", "0.6"), ("line_style", "solid")):
        ET.SubElement(options, "Option", type="QString", name=name, value=value)
        ET.SubElement(layer, "prop", k=name, v=value)
    return _written(root)


def _style(kind: str) -> tuple[ET.Element, ET.Element]:
    root = ET.Element("qgis", version="3.22.0", styleCategories="Symbology")
    renderer = ET.SubElement(root, "renderer-v2", type="singleSymbol", enableorderby="0", forceraster="0")
    symbols = ET.SubElement(renderer, "symbols")
    return root, ET.SubElement(symbols, "symbol", type=kind, name="0", alpha="1", clip_to_extent="1")


def _written(root: ET.Element) -> str:
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ET.tostring(root, encoding="unicode")
