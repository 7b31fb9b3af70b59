"""Ice drift as S-411 1.1.0: points with a speed in knots and one of eight directions.

A dataset may not cross the antimeridian: vectors on both sides of it make two.

References:
    JCOMM (2014), Ice Information Product Specification, S-411 version 1.1.0: feature ICEDFT (`icedft`), attributes
    icedsp (ice drift speed, knots) and iceddr (ice drift direction: 1 none, 2 north-east, clockwise to 9 north).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from frazil.charts.s411_features import DIGITS, GML
from frazil.marks import WRITTEN_BY

_ICE = "http://www.jcomm.info/ice"
_SRS = "http://www.opengis.net/gml/srs/epsg.xml#4326"
_KNOT = 0.514444  # m/s
_STILL_KNOTS = 0.005  # below, rounded to hundredths, there is no drift and no direction


def sector(direction_deg: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Codes of iceddr: 2 north-east, 3 east … 9 north, each 45° wide; 1 where the ice does not move."""
    eighth = np.round(np.asarray(direction_deg) / 45.0).astype(int) % 8
    return np.where(np.asarray(knots) < _STILL_KNOTS, 1, np.where(eighth == 0, 9, eighth + 1))


def write_drift(
    longitude: np.ndarray, latitude: np.ndarray, speed_ms: np.ndarray, direction_deg: np.ndarray, folder: Path
) -> list[Path]:
    """Write vectors as ``drift.gml``, or ``drift-E.gml`` and ``drift-W.gml`` on either side of the antimeridian.

    Args:
        longitude: where the ice was, degrees (vector).
        latitude: likewise.
        speed_ms: m/s.
        direction_deg: into which it moved, clockwise from north.
        folder: that is there.
    """
    crosses = (longitude > 90).any() and (longitude < -90).any()
    sides = {"-E": longitude >= 0, "-W": longitude < 0} if crosses else {"": np.ones(longitude.size, bool)}
    made = []
    for side, here in sides.items():
        path = folder / f"drift{side}.gml"
        knots = speed_ms[here] / _KNOT
        path.write_bytes(_dataset(longitude[here], latitude[here], knots, sector(direction_deg[here], knots)))
        made.append(path)
    return made


def _dataset(longitude: np.ndarray, latitude: np.ndarray, knots: np.ndarray, direction: np.ndarray) -> bytes:
    ET.register_namespace("ice", _ICE)
    ET.register_namespace("gml", GML)
    root = ET.Element(f"{{{_ICE}}}IceDataSet")
    root.append(ET.Comment(f" {WRITTEN_BY}. Not signed. Not for navigation. "))
    for number, (lon, lat, speed, code) in enumerate(zip(longitude, latitude, knots, direction, strict=True), start=1):
        member = ET.SubElement(root, f"{{{_ICE}}}IceFeatureMember")
        feature = ET.SubElement(member, f"{{{_ICE}}}icedft", {f"{{{GML}}}id": f"icedft.{number}"})
        ET.SubElement(feature, f"{{{_ICE}}}icedsp").text = f"{speed:.2f}"
        ET.SubElement(feature, f"{{{_ICE}}}iceddr").text = str(int(code))
        point = ET.SubElement(feature, f"{{{GML}}}Point", {f"{{{GML}}}id": f"icedft.{number}g", "srsName": _SRS})
        ET.SubElement(point, f"{{{GML}}}pos").text = f"{lon:.{DIGITS}f} {lat:.{DIGITS}f}"
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"
