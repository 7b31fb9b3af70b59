"""S-411 1.1.0, which ice services and electronic charts use today.

Areas of sea ice with total concentration, and partial concentration, stage of development and form of the predominant
kind: the schema allows one value each, although the text defines those of all kinds. Lines of the ice edge. Longitude
comes before latitude, with the reference to EPSG:4326 that the files of services bear; GDAL and QGIS read both right.

References:
    JCOMM (2014), Ice Information Product Specification, S-411 version 1.1.0, and its schema; IHO S-100, part 10b: rings
    of level 3a run clockwise outside, counter-clockwise inside.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from frazil.charts.colours import predominant
from frazil.charts.s411_features import DIGITS, GML, Part, oriented_rings, total_of
from frazil.charts.sigrid3 import written
from frazil.labels.sigrid3 import code_text
from frazil.marks import WRITTEN_BY

VERSION = "1.1.0"
_ICE = "http://www.jcomm.info/ice"
_SRS = "http://www.opengis.net/gml/srs/epsg.xml#4326"


def attributes(row: Mapping[str, Any]) -> dict[str, int]:
    """What an area of sea ice says, in the order of the schema.

    Args:
        row: POLY_TYPE and the columns of the egg, codes of `frazil.read_chart`.

    Raises:
        LabelError: a code that S-411 does not have.
    """
    total, tells = total_of(row)
    found = {"iceact": total}
    if not tells:
        return found
    stage = predominant(row)
    kind = next((x for x in "ABC" if code_text(row.get(f"S{x}", "")) == stage), "A") if stage else "A"
    partial, form = code_text(row.get(f"C{kind}", "")), code_text(row.get(f"F{kind}", ""))
    if partial:
        found["iceapc"] = int(written("CA", partial, "S-411"))
    if stage:
        found["icesod"] = int(written("SA", stage, "S-411"))
    if form:
        found["iceflz"] = int(written("FA", form, "S-411"))
    return found


def dataset(part: Part) -> bytes:
    """The GML file of a part of a chart.

    Raises:
        LabelError: a code that S-411 does not have.
    """
    ET.register_namespace("ice", _ICE)
    ET.register_namespace("gml", GML)
    root = ET.Element(f"{{{_ICE}}}IceDataSet")
    root.append(ET.Comment(f" {WRITTEN_BY}. Not signed. Not for navigation. "))
    for number, (shape, row) in enumerate(part.areas, start=1):
        member = ET.SubElement(root, f"{{{_ICE}}}IceFeatureMember")
        feature = ET.SubElement(member, f"{{{_ICE}}}seaice", {f"{{{GML}}}id": f"seaice.{number}"})
        for name, value in attributes(row).items():
            ET.SubElement(feature, f"{{{_ICE}}}{name}").text = str(value)
        polygon = _geometry(feature, "Polygon", f"seaice.{number}g")
        outer, holes = oriented_rings(shape)
        for where, ring in (("exterior", outer), *(("interior", hole) for hole in holes)):
            around = ET.SubElement(ET.SubElement(polygon, f"{{{GML}}}{where}"), f"{{{GML}}}LinearRing")
            ET.SubElement(around, f"{{{GML}}}posList").text = _positions(ring)
    for number, line in enumerate(part.lines, start=1):
        member = ET.SubElement(root, f"{{{_ICE}}}IceFeatureMember")
        feature = ET.SubElement(member, f"{{{_ICE}}}icelne", {f"{{{GML}}}id": f"icelne.{number}"})
        ET.SubElement(_geometry(feature, "LineString", f"icelne.{number}g"), f"{{{GML}}}posList").text = _positions(
            line
        )
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _geometry(feature: ET.Element, kind: str, name: str) -> ET.Element:
    return ET.SubElement(feature, f"{{{GML}}}{kind}", {f"{{{GML}}}id": name, "srsName": _SRS})


def _positions(shape: Any) -> str:
    import shapely

    return " ".join(f"{value:.{DIGITS}f}" for value in shapely.get_coordinates(shape).ravel())
