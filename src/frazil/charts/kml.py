"""A chart in KML, for programs that show globes.

References:
    OGC 12-007r2, OGC KML 2.3: Placemark, Style, MultiGeometry, Polygon; colours are aabbggrr.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frazil.charts.colours import COLOUR_CODES, ColourCode, entry_of
from frazil.charts.eggs import EGG_COLUMNS
from frazil.geojson import to_lonlat
from frazil.labels.sigrid3 import code_text
from frazil.marks import WRITTEN_BY

if TYPE_CHECKING:
    import geopandas as gpd

_OPAQUE = "b0"  # a globe should show through


def write_kml(chart: gpd.GeoDataFrame, path: Path) -> None:
    """Write a chart as one file, a folder for each colour code; the first is visible.

    Args:
        chart: of `frazil.make_chart` or `frazil.read_chart`, in any CRS; cut at the antimeridian.
        path: ending in ``.kml``.
    """
    import shapely

    shapes = to_lonlat(chart.geometry.values, chart.crs) if chart.crs.is_projected else chart.geometry.values
    root = ET.Element("kml", xmlns="http://www.opengis.net/kml/2.2")
    root.append(ET.Comment(f" {WRITTEN_BY} "))
    document = ET.SubElement(root, "Document")
    _text(document, "name", f"Sea-ice chart {chart.attrs.get('start_time', '')}".strip())
    rows = chart.to_dict("records")
    for number, code in enumerate(COLOUR_CODES):
        folder = ET.SubElement(document, "Folder")
        _text(folder, "name", f"WMO colour code: {code}")
        _text(folder, "visibility", str(int(number == 0)))
        for shape, row in zip(shapes, rows, strict=True):
            mark = _placemark(folder, row, code, visible=number == 0)
            parts = ET.SubElement(mark, "MultiGeometry")
            for part in shapely.get_parts(shape):
                polygon = ET.SubElement(parts, "Polygon")
                outer, *holes = shapely.get_rings(shapely.orient_polygons(part))
                for where, ring in (("outer", outer), *(("inner", hole) for hole in holes)):
                    around = ET.SubElement(ET.SubElement(polygon, f"{where}BoundaryIs"), "LinearRing")
                    points = shapely.get_coordinates(ring)
                    _text(around, "coordinates", " ".join(f"{x:.6f},{y:.6f}" for x, y in points))
    path.write_bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")


def _placemark(folder: ET.Element, row: Mapping[str, Any], code: ColourCode, *, visible: bool) -> ET.Element:
    entry = entry_of(row, code)
    said = [f"{name} {code_text(row.get(name, ''))}" for name in EGG_COLUMNS if code_text(row.get(name, ""))]
    mark = ET.SubElement(folder, "Placemark")
    _text(mark, "name", entry.text)
    _text(mark, "visibility", str(int(visible)))
    _text(mark, "description", ", ".join([str(row["POLY_TYPE"]), *said]))
    style = ET.SubElement(mark, "Style")
    red, green, blue = entry.colour
    _text(ET.SubElement(style, "LineStyle"), "color", "ff222222")
    _text(ET.SubElement(style, "PolyStyle"), "color", f"{_OPAQUE}{blue:02x}{green:02x}{red:02x}")
    return mark


def _text(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = text
