"""The draft of S-411 1.2.1: by rules of our own, since its base schemas were not to be had, and read right by GDAL."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import pyogrio
import pytest
import shapely
from pyproj import CRS

from frazil.charts.export import ChartFiles, export_chart
from frazil.charts.s411 import write_s411
from frazil.charts.s411_draft import SCALES, attributes, file_name
from frazil.errors import LabelError, OptionError
from frazil.labels.chart import read_chart
from frazil.maps.edges import ice_edge
from frazil.testing import make_map
from tests.charts.test_s411 import TENTHS
from tests.charts.test_sigrid3 import chart_of

S100, GML = "{http://www.iho.int/s100gml/5.0}", "{http://www.opengis.net/gml/3.2}"
#: Attributes of sea ice in their order: numbers that they may have, and how many of them there may be.
KNOWN = {
    "totalConcentration": (TENTHS | {92, 99}, 1),
    "partialConcentration": (TENTHS | {92, 99}, 3),
    "iceStageofDevelopment": ({1, 70, *range(80, 90), 91, 93, 94, *range(95, 100)}, 5),
    "floeSizes": ({*range(1, 12), 99}, 3),
    "levelIce": ({1, 2, 99}, 1),
}
IDENTIFICATION = """encodingSpecification encodingSpecificationEdition productIdentifier productEdition
applicationProfile datasetFileIdentifier datasetTitle datasetReferenceDate datasetLanguage datasetTopicCategory
datasetPurpose updateNumber"""
NEAR = 2e-6  # degrees: coordinates are rounded to a millionth


def positions(element: ET.Element) -> list[tuple[float, float]]:
    """Longitude and latitude of a posList, which has the latitude first."""
    numbers = [float(word) for word in (element.text or "").split()]
    assert all(-90 <= v <= 90 for v in numbers[::2])
    assert all(-180 <= v <= 180 for v in numbers[1::2])
    return list(zip(numbers[1::2], numbers[::2], strict=True))


def surface_of(feature: ET.Element) -> shapely.Polygon:
    """Its one polygon: one patch, the outer ring clockwise, the inner ones counter-clockwise, none of which crosses."""
    (surface,) = feature.findall(f"geometry/{S100}surfaceProperty/{S100}Surface")
    assert surface.attrib["srsName"] == "http://www.opengis.net/def/crs/EPSG/0/4326"
    (patch,) = surface.findall(f"{GML}patches/{GML}PolygonPatch")
    assert [e.tag for e in patch][:1] == [f"{GML}exterior"]
    rings = []
    for number, side in enumerate(patch):
        assert side.tag == (f"{GML}interior" if number else f"{GML}exterior")
        (found,) = side.findall(f"{GML}LinearRing/{GML}posList")
        ring = shapely.LinearRing(positions(found))
        assert positions(found)[0] == positions(found)[-1]
        assert ring.is_simple
        assert ring.is_ccw == (number > 0)
        rings.append(ring)
    polygon = shapely.Polygon(rings[0], rings[1:])
    assert polygon.is_valid
    return polygon


def curve_of(feature: ET.Element) -> shapely.LineString:
    (found,) = feature.findall(
        f"geometry/{S100}curveProperty/{S100}Curve/{GML}segments/{GML}LineStringSegment/{GML}posList"
    )
    line = shapely.LineString(positions(found))
    assert line.is_simple
    return line


def by_our_rules(path: Path) -> dict[str, list[ET.Element]]:
    """What the draft asks of a dataset, as far as frazil writes it; its features by their names."""
    assert re.fullmatch(r"411[A-Z0-9]{4}[A-Z0-9_]{0,12}\.GML", path.name)
    root = ET.fromstring(path.read_bytes())
    assert root.tag == "Dataset"
    about, members = root
    assert about.tag == f"{S100}DatasetIdentificationInformation"
    assert [e.tag for e in about] == [f"{S100}{name}" for name in IDENTIFICATION.split()]
    assert about.findtext(f"{S100}datasetFileIdentifier") == path.name
    assert about.findtext(f"{S100}productEdition") == "1.2.1"
    names = [e.attrib[f"{GML}id"] for e in root.iter() if f"{GML}id" in e.attrib]
    assert len(set(names)) == len(names)
    assert members.tag == "members"
    found: dict[str, list[ET.Element]] = {"DataCoverage": [], "SeaIce": [], "IceEdge": []}
    for feature in members:
        found[feature.tag].append(feature)
    coverage = [surface_of(feature) for feature in found["DataCoverage"]]
    for feature in found["DataCoverage"]:
        scales = {e.tag: int(e.text or "") for e in feature if e.tag != "geometry"}
        assert scales == SCALES
        assert scales["maximumDisplayScale"] <= scales["optimumDisplayScale"] <= scales["minimumDisplayScale"]
    assert len(shapely.STRtree(coverage).query(coverage, predicate="overlaps")[0]) == 0
    observed = shapely.union_all(coverage).buffer(NEAR)
    shapely.prepare(observed)
    areas = []
    for feature in found["SeaIce"]:
        tags = [e.tag for e in feature]
        assert tags == sorted(tags, key=[*KNOWN, "geometry"].index)
        for value in feature:
            if value.tag != "geometry":
                codes, most = KNOWN[value.tag]
                assert tags.count(value.tag) <= most
                assert int(value.attrib["code"]) in codes
                assert value.text == (None if value.attrib["code"] == "45" else f"{int(value.attrib['code']):02d}")
        areas.append(surface_of(feature))
    assert observed.contains(shapely.GeometryCollection(areas))
    for feature in found["IceEdge"]:
        assert [e.tag for e in feature] == ["geometry"]
        assert observed.contains(curve_of(feature))
    return found


@pytest.fixture(scope="module")
def chart() -> gpd.GeoDataFrame:
    return chart_of()


def test_a_dataset_is_by_the_rules_and_read_back(chart: gpd.GeoDataFrame, tmp_path: Path) -> None:
    edge = ice_edge(make_map(seed=1))
    (path,) = write_s411(chart, tmp_path, version="1.2.1", edge=edge, region="fram")
    stamp = re.sub("[^0-9]", "", chart.attrs["start_time"])[2:12]
    assert path.name == f"411FRAZFR{stamp}.GML"
    assert len(by_our_rules(path)["DataCoverage"]) == 1
    sea = chart[chart["POLY_TYPE"].isin(["I", "W"])]
    found = pyogrio.read_dataframe(path, layer="SeaIce")
    assert found.crs == CRS("EPSG:4326")
    assert len(found) == len(sea)
    told = {"00": "01", "55": "01", "01": "02"}
    assert found["totalConcentration"].tolist() == [told.get(code, code) for code in sea["CT"]]
    full = (sea["CT"] > "09") & (sea["CT"] != "55") & (sea["CT"] != "99")
    assert full.sum() > 3
    for name, columns in (
        ("partialConcentration", ["CA", "CB", "CC"]),
        ("iceStageofDevelopment", ["SA", "SB", "SC"]),
        ("floeSizes", ["FA", "FB", "FC"]),
    ):
        want = [[int(code) for code in row if code] for row in sea.loc[full, columns].to_numpy()]
        got = found.loc[full.to_numpy(), name]
        assert [[] if codes is None else [int(code) for code in codes] for codes in got] == want
        assert found.loc[~full.to_numpy(), name].isna().all()
    again = found.to_crs(chart.crs)
    apart = shapely.hausdorff_distance(again.geometry.values, sea.geometry.values)
    assert apart.max() < 150  # sides are straight in longitude and latitude: the axes are right
    lines = pyogrio.read_dataframe(path, layer="IceEdge").to_crs(chart.crs)
    assert lines.length.sum() == pytest.approx(edge.length.sum(), rel=1e-2)
    cover = pyogrio.read_dataframe(path, layer="DataCoverage").to_crs(chart.crs)
    seen = chart[chart["POLY_TYPE"] != "N"]
    assert cover.area.sum() == pytest.approx(seen.area.sum(), rel=1e-3)


@pytest.mark.parametrize(("centre", "files"), [((180.0, 75.0), 2), ((179.9, -70.0), 2), ((0.0, 90.0), 1)])
def test_no_dataset_crosses_the_antimeridian(centre: tuple[float, float], files: int, tmp_path: Path) -> None:
    options = {"centre": centre, "crs": "EPSG:3413" if centre[1] > 0 else "EPSG:3031", "land": 0.0, "border": False}
    chart = chart_of(3, **options)
    edge = ice_edge(make_map(seed=3, **options))  # type: ignore[arg-type]
    made = write_s411(chart, tmp_path, version="1.2.1", edge=edge, region="wrangel-1")
    assert [path.stem[-1] for path in made] == (["E", "W"] if files == 2 else [made[0].stem[-1]])
    edges, area = 0, 0.0
    geod = CRS("EPSG:4326").get_geod()
    assert geod is not None
    for path in made:
        edges += len(by_our_rules(path)["IceEdge"])
        found = pyogrio.read_dataframe(path, layer="SeaIce")
        west, _, east, _ = found.total_bounds
        assert files == 1 or east - west < 180
        area += sum(abs(geod.geometry_area_perimeter(shape)[0]) for shape in found.geometry) / 1e6
    assert edges >= len(edge) > 0
    assert area == pytest.approx(chart["area_km2"].sum(), rel=5e-3)


def test_a_real_chart_is_by_the_rules_too(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "ice-charts" / "cis_SGRDREA_20201102T.gpkg"
    if not source.is_file():
        pytest.skip(f"no real chart at {source.name}")
    real = read_chart(source)
    (path,) = write_s411(real, tmp_path, version="1.2.1")
    by_our_rules(path)
    assert len(pyogrio.read_dataframe(path, layer="SeaIce")) == real["POLY_TYPE"].isin(["I", "W"]).sum()


T, P, S, F, L = "totalConcentration", "partialConcentration", "iceStageofDevelopment", "floeSizes", "levelIce"


@pytest.mark.parametrize(
    ("row", "want"),
    [
        (
            {"CT": "91", "CA": "10", "CB": "60", "CC": "30", "SA": "95", "SB": "86", "SC": "83", "FB": "06"},
            [(T, 91), (P, 10), (P, 60), (P, 30), (S, 95), (S, 86), (S, 83), (F, 99), (F, 7), (F, 99)],
        ),
        ({"CT": "92", "SA": "86", "FA": "08"}, [(T, 92), (S, 86), (F, 9)]),
        ({"CT": "92", "SA": "86", "share_level_first_year_ice": 90.0}, [(T, 92), (S, 86), (L, 1)]),
        ({"CT": "92", "SA": "95", "share_deformed_ice": 97.5}, [(T, 92), (S, 95), (L, 2)]),
        ({"CT": "92", "SA": "95", "share_deformed_ice": 89.9}, [(T, 92), (S, 95)]),
        ({"CT": "92", "SA": "95", "share_deformed_ice": float("nan")}, [(T, 92), (S, 95)]),
        ({"CT": "92", "SA": "95", "share_old_ice": 100.0}, [(T, 92), (S, 95)]),
        ({"CT": "00", "POLY_TYPE": "W"}, [(T, 1)]),
        ({"CT": "01", "SA": "99", "FA": "99"}, [(T, 2)]),
        ({"CT": "99", "SA": "99"}, [(T, 99)]),
    ],
)
def test_attributes_are_lists_that_go_in_parallel(row: dict[str, str], want: list[tuple[str, int]]) -> None:
    assert attributes({"POLY_TYPE": "I", **row}) == want


def test_names_of_files() -> None:
    day = datetime(2025, 3, 13, 7, 5, tzinfo=UTC)
    assert file_name("frazil", "scene", day) == "411FRAZSC2503130705.GML"
    assert file_name("a-1", "x", day, "W") == "411A100X2503130705W.GML"
    assert file_name("cis", "Eastern-Arctic", day, "E") == "411CIS0E2503130705E.GML"


def test_the_version_is_chosen_and_told(chart: gpd.GeoDataFrame, tmp_path: Path) -> None:
    folder = export_chart(chart, tmp_path / "c", files=ChartFiles(formats=("s411",), s411="1.2.1"))
    assert '"s411_version": "1.2.1, draft, not signed"' in (folder / "summary.json").read_text()
    (path,) = (folder / "s411").iterdir()
    text = path.read_text()
    assert "Draft of S-411 1.2.1. Not signed. Not for navigation." in text
    with pytest.raises(OptionError, match=r"S-411 version '1\.2' is not one of"):
        ChartFiles(s411="1.2")
    with pytest.raises(OptionError, match=r"S-411 version '2' is not one of"):
        write_s411(chart, tmp_path, version="2")
    with pytest.raises(LabelError, match="FA 12 has no code"):
        attributes({"POLY_TYPE": "I", "CT": "92", "SA": "86", "FA": "12"})
