"""S-411 1.2.1, the draft of March 2025 that is based on S-100 edition 5.2.

Sea ice with total concentration, and for up to three kinds of ice, the thickest first, partial concentrations, stages
of development and floe sizes: lists that go in parallel. Traces (CN, CD) are left out, since nothing would tell them
from the kinds that have a partial concentration. Lines of the ice edge; the area that was observed, with the scales at
which it is meant to be shown. Latitude comes before longitude, as the reference to EPSG:4326 by its OGC URI asks.

An enumerated value has its number as attribute ``code`` and its label as text. Labels are the two digits that the
feature catalogue of 1.1 has and the samples of the draft show (``code="2"``, text 02); code 45 has none in the draft,
and gets none. Elements bear no namespace of S-411, as in those samples. The schemas that the draft builds on were not
to be had: datasets are checked by rules of our own and by GDAL, not by schema. The draft asks for a producer code of
the IHO's register, which nobody has given to frazil: the first four letters or digits of the issuer's code stand there.

References:
    IHO and WMO (2025), Ice Information Product Specification, S-411, draft 1.2.1 of 13 March 2025, sections 4.2 (data
    coverage), 5.2 (EPSG:4326) and 11.5.2 (names of files), and its samples. IHO S-100, parts 7 (rings of level 3a) and
    10b (GML). S-101, for the scales.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from frazil.charts.s411_features import DIGITS, GML, Part, oriented_rings, total_of
from frazil.charts.sigrid3 import written
from frazil.labels.sigrid3 import code_text
from frazil.marks import WRITTEN_BY

VERSION = "1.2.1"
_S100 = "http://www.iho.int/s100gml/5.0"
_SRS = "http://www.opengis.net/def/crs/EPSG/0/4326"
#: Of the scales that S-101 has: regions of 25 km² are 14 mm wide at the optimum, pixels of 80 m a quarter of one.
SCALES = {"maximumDisplayScale": 180_000, "minimumDisplayScale": 3_500_000, "optimumDisplayScale": 350_000}
#: Percent of an area that one class must reach, for level ice to be told; class -> code (1 level, 2 deformed).
LEVEL_PERCENT = 90.0
LEVEL = {"share_level_first_year_ice": 1, "share_deformed_ice": 2}
_WITHOUT_LABEL = (45,)
_LISTS = {"partialConcentration": "C", "iceStageofDevelopment": "S", "floeSizes": "F"}
_UNKNOWN = "99"


def file_name(issuer: str, region: str, observed: datetime, side: str = "") -> str:
    """``411``, a producer code of four characters, up to twelve more: of the region, the minute, the side.

    Scenes of one day and region have names of their own: producers are asked for unique ones.

    Args:
        issuer: its code; capitals and digits of it are taken, zeros fill up.
        region: name of the place; two characters of it are taken, one where there is a side.
        observed: time of the scene.
        side: ``"E"`` or ``"W"`` of the antimeridian, or ``""``.
    """
    producer = re.sub(r"[^A-Z0-9]", "", issuer.upper())[:4].ljust(4, "0")
    place = re.sub(r"[^A-Z0-9]", "", region.upper())[: 1 if side else 2]
    return f"411{producer}{place}{observed:%y%m%d%H%M}{side}.GML"


def attributes(row: Mapping[str, Any]) -> list[tuple[str, int]]:
    """What an area of sea ice says, names and codes in the order of the draft; a list has a line for each value.

    Of several kinds of ice, where one lacks a value that others have, 99 (unknown) stands for it. Level ice is told
    where one class takes up `LEVEL_PERCENT` of the area; the class "old or deformed" counts as deformed there.

    Args:
        row: POLY_TYPE and the columns of the egg, codes of `frazil.read_chart`; shares of classes in percent as
            `frazil.make_chart` gives them, if any.

    Raises:
        LabelError: a code that S-411 does not have.
    """
    total, tells = total_of(row)
    found = [("totalConcentration", total)]
    if not tells:
        return found
    kinds = [x for x in "ABC" if any(code_text(row.get(f"{what}{x}", "")) for what in _LISTS.values())]
    for name, what in _LISTS.items():
        codes = [code_text(row.get(f"{what}{x}", "")) for x in kinds]
        if any(codes):
            found += [(name, int(written(f"{what}A", code or _UNKNOWN, "S-411"))) for code in codes]
    level = [code for column, code in LEVEL.items() if float(row.get(column) or 0.0) >= LEVEL_PERCENT]
    return found + [("levelIce", code) for code in level]


def dataset(part: Part, *, name: str, title: str, day: str) -> bytes:
    """The GML file of a part of a chart.

    Args:
        part: of the chart.
        name: of the file.
        title: of the dataset.
        day: of the scene, ``YYYY-MM-DD``.

    Raises:
        LabelError: a code that S-411 does not have.
    """
    for prefix, space in (("S100", _S100), ("gml", GML)):
        ET.register_namespace(prefix, space)
    root = ET.Element("Dataset", {f"{{{GML}}}id": "frazil"})
    root.append(ET.Comment(f" {WRITTEN_BY}. Draft of S-411 {VERSION}. Not signed. Not for navigation. "))
    about = ET.SubElement(root, f"{{{_S100}}}DatasetIdentificationInformation")
    for key, value in _identification(name, title, day):
        ET.SubElement(about, f"{{{_S100}}}{key}").text = value
    members = ET.SubElement(root, "members")
    covered, shapes = _coverage(part)
    for number, shape in enumerate(shapes, start=1):
        feature = _feature(members, "DataCoverage", number)
        for key, scale in SCALES.items():
            ET.SubElement(feature, key).text = str(scale)
        _add_surface(feature, f"DataCoverage.{number}", shape)
    for number, (shape, row) in enumerate(part.areas, start=1):
        feature = _feature(members, "SeaIce", number)
        for key, code in attributes(row):
            label = None if code in _WITHOUT_LABEL else f"{code:02d}"
            ET.SubElement(feature, key, {"code": str(code)}).text = label
        _add_surface(feature, f"SeaIce.{number}", shape)
    for number, line in enumerate(_inside(part, covered), start=1):
        _add_curve(_feature(members, "IceEdge", number), f"IceEdge.{number}", line)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _identification(name: str, title: str, day: str) -> list[tuple[str, str]]:
    return [
        ("encodingSpecification", "S-100 Part 10b"),
        ("encodingSpecificationEdition", "1.0"),
        ("productIdentifier", "S-411"),
        ("productEdition", VERSION),
        ("applicationProfile", "1"),
        ("datasetFileIdentifier", name),
        ("datasetTitle", title),
        ("datasetReferenceDate", day),
        ("datasetLanguage", "eng"),
        ("datasetTopicCategory", "oceans"),
        ("datasetPurpose", "base"),
        ("updateNumber", "0"),
    ]


def _coverage(part: Part) -> tuple[Any, list[Any]]:
    """What was observed, whole and in single polygons; they do not overlap."""
    import shapely

    tiles = shapely.coverage_is_valid(part.observed)
    covered = shapely.coverage_union_all(part.observed) if tiles else shapely.union_all(part.observed)
    return covered, [shape for shape in shapely.get_parts(covered) if shape.geom_type == "Polygon"]


def _inside(part: Part, covered: Any) -> Iterator[Any]:
    """Lines of the ice edge within what was observed, none of which crosses itself."""
    import shapely

    for line in part.lines:
        kept = line if shapely.covers(covered, line) else shapely.intersection(line, covered)
        for piece in shapely.get_parts(kept):
            if piece.geom_type == "LineString":
                yield from [piece] if piece.is_simple else shapely.get_parts(shapely.node(piece))


def _feature(members: ET.Element, kind: str, number: int) -> ET.Element:
    return ET.SubElement(members, kind, {f"{{{GML}}}id": f"{kind}.{number}"})


def _add_surface(feature: ET.Element, name: str, polygon: Any) -> None:
    place = ET.SubElement(ET.SubElement(feature, "geometry"), f"{{{_S100}}}surfaceProperty")
    surface = ET.SubElement(place, f"{{{_S100}}}Surface", {f"{{{GML}}}id": f"{name}.s", "srsName": _SRS})
    patch = ET.SubElement(ET.SubElement(surface, f"{{{GML}}}patches"), f"{{{GML}}}PolygonPatch")
    outer, holes = oriented_rings(polygon)
    for where, ring in (("exterior", outer), *(("interior", hole) for hole in holes)):
        around = ET.SubElement(ET.SubElement(patch, f"{{{GML}}}{where}"), f"{{{GML}}}LinearRing")
        ET.SubElement(around, f"{{{GML}}}posList").text = _positions(ring)


def _add_curve(feature: ET.Element, name: str, line: Any) -> None:
    place = ET.SubElement(ET.SubElement(feature, "geometry"), f"{{{_S100}}}curveProperty")
    curve = ET.SubElement(place, f"{{{_S100}}}Curve", {f"{{{GML}}}id": f"{name}.c", "srsName": _SRS})
    segment = ET.SubElement(ET.SubElement(curve, f"{{{GML}}}segments"), f"{{{GML}}}LineStringSegment")
    ET.SubElement(segment, f"{{{GML}}}posList").text = _positions(line)


def _positions(shape: Any) -> str:
    """Latitude before longitude."""
    import shapely

    return " ".join(f"{value:.{DIGITS}f}" for value in shapely.get_coordinates(shape)[:, ::-1].ravel())
