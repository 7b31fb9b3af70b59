"""A chart as an S-411 dataset, version 1.1.0: what electronic chart systems show as ice.

Areas of sea ice with total concentration, and partial concentration, stage of development and form of the predominant
kind: the schema allows one value each, although the text defines those of all kinds. Lines of the ice edge. Land and
what was not observed have no feature. Longitude comes before latitude, with the reference to EPSG:4326 that the files
of services bear; GDAL and QGIS read both right. A dataset may not cross the antimeridian: such a chart is two.

The dataset is not signed: it is no product of a hydrographic office.

References:
    JCOMM (2014), Ice Information Product Specification, S-411 version 1.1.0, and its schema; IHO S-100, part 10b: rings
    of level 3a run clockwise outside, counter-clockwise inside.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.charts.colours import predominant
from frazil.charts.fgdc import Issuer
from frazil.charts.sigrid3 import written
from frazil.charts.sigrid3_files import checked_names, placed, time_of
from frazil.errors import OutputError
from frazil.labels.polygons import find_crs
from frazil.labels.sigrid3 import code_text
from frazil.marks import WRITTEN_BY

if TYPE_CHECKING:
    import geopandas as gpd

VERSION = "1.1.0"
_ICE, _GML = "http://www.jcomm.info/ice", "http://www.opengis.net/gml/3.2"
_SRS = "http://www.opengis.net/gml/srs/epsg.xml#4326"
_DIGITS = 6
_HALF = 180.0


def write_s411(
    chart: gpd.GeoDataFrame,
    folder: Path,
    *,
    edge: gpd.GeoDataFrame | None = None,
    region: str = "scene",
    issuer: Issuer | None = None,
) -> list[Path]:
    """Write a chart into a folder that is there: one dataset, or two where it crosses the antimeridian.

    Args:
        chart: of `frazil.make_chart` or `frazil.read_chart`, in any CRS.
        folder: is filled.
        edge: lines of the ice edge.
        region: for the name: letters, digits and hyphens.
        issuer: likewise, its code.

    Returns:
        The ``.gml`` files.

    Raises:
        OptionError, LabelError: as `frazil.charts.sigrid3_files.write_sigrid3`.
        OutputError: no polygon of the chart is sea, so that there is nothing to write.
    """
    import shapely

    issuer = issuer or Issuer()
    checked_names(region, issuer)
    crs = find_crs("EPSG:4326")
    shapes, owner = placed(chart, crs)
    rows = chart.to_dict("records")
    areas = [(shape, rows[k]) for shape, k in zip(shapes, owner, strict=True) if rows[k]["POLY_TYPE"] in ("I", "W")]
    if not areas:
        raise OutputError("The chart has no polygons of the sea, and S-411 holds no others. Nothing is written.")
    lines = [] if edge is None or not len(edge) else list(placed(edge, crs)[0])
    west = np.array([shapely.bounds(shape)[0] for shape, _ in areas])
    east = np.array([shapely.bounds(shape)[2] for shape, _ in areas])
    crosses = (west == -_HALF).any() and (east == _HALF).any() and not ((west < 0) & (east > 0)).any()
    stem = f"S411_{issuer.code}_{region}-{time_of(chart.attrs.get('start_time')):%Y%m%d}"
    made = []
    for name, holds in ((f"{stem}-E", True), (f"{stem}-W", False)) if crosses else ((stem, None),):
        mine = [pair for pair in areas if holds is None or (shapely.bounds(pair[0])[2] > 0) == holds]
        drawn = [line for line in lines if holds is None or (shapely.bounds(line)[2] > 0) == holds]
        path = folder / f"{name}.gml"
        path.write_bytes(_dataset(mine, drawn))
        made.append(path)
    return made


def attributes(row: Mapping[str, Any]) -> dict[str, int]:
    """What an area of sea ice says, in the order of the schema.

    Args:
        row: POLY_TYPE and the columns of the egg, codes of `frazil.read_chart`.

    Raises:
        LabelError: a code that S-411 does not have.
    """
    total = code_text(row["CT"]) or ("55" if row["POLY_TYPE"] == "W" else "99")
    found = {"iceact": int(written("CT", total, "S-411"))}
    if total in ("00", "55", "01", "02", "99"):
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


def _dataset(areas: list[tuple[Any, Mapping[str, Any]]], lines: list[Any]) -> bytes:
    import shapely

    ET.register_namespace("ice", _ICE)
    ET.register_namespace("gml", _GML)
    root = ET.Element(f"{{{_ICE}}}IceDataSet")
    root.append(ET.Comment(f" {WRITTEN_BY}. Not signed. Not for navigation. "))
    for number, (shape, row) in enumerate(areas, start=1):
        member = ET.SubElement(root, f"{{{_ICE}}}IceFeatureMember")
        feature = ET.SubElement(member, f"{{{_ICE}}}seaice", {f"{{{_GML}}}id": f"seaice.{number}"})
        for name, value in attributes(row).items():
            ET.SubElement(feature, f"{{{_ICE}}}{name}").text = str(value)
        polygon = _geometry(feature, "Polygon", f"seaice.{number}g")
        outer, *holes = shapely.get_rings(shapely.orient_polygons(shape, exterior_cw=True))
        for where, ring in (("exterior", outer), *(("interior", hole) for hole in holes)):
            around = ET.SubElement(ET.SubElement(polygon, f"{{{_GML}}}{where}"), f"{{{_GML}}}LinearRing")
            ET.SubElement(around, f"{{{_GML}}}posList").text = _positions(ring)
    for number, line in enumerate(lines, start=1):
        member = ET.SubElement(root, f"{{{_ICE}}}IceFeatureMember")
        feature = ET.SubElement(member, f"{{{_ICE}}}icelne", {f"{{{_GML}}}id": f"icelne.{number}"})
        ET.SubElement(_geometry(feature, "LineString", f"icelne.{number}g"), f"{{{_GML}}}posList").text = _positions(
            line
        )
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _geometry(feature: ET.Element, kind: str, name: str) -> ET.Element:
    return ET.SubElement(feature, f"{{{_GML}}}{kind}", {f"{{{_GML}}}id": name, "srsName": _SRS})


def _positions(shape: Any) -> str:
    import shapely

    return " ".join(f"{value:.{_DIGITS}f}" for value in shapely.get_coordinates(shape).ravel())
