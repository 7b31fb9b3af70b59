"""S-411: valid against the real schema where it is at hand, by rules of our own always, and read right by GDAL."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyogrio
import pytest
import shapely
from pyproj import CRS

from frazil.charts.chart import make_chart
from frazil.charts.s411 import write_s411
from frazil.charts.s411_operational import attributes
from frazil.errors import LabelError, OptionError, OutputError
from frazil.labels.chart import read_chart
from frazil.maps.edges import ice_edge
from frazil.testing import make_map
from tests.charts.test_sigrid3 import chart_of

ICE, GML = "{http://www.jcomm.info/ice}", "{http://www.opengis.net/gml/3.2}"
#: Attributes in the order of the schema, with the numbers that its enumerations have.
TENTHS = {
    1,
    2,
    3,
    10,
    12,
    13,
    20,
    23,
    24,
    30,
    34,
    35,
    40,
    45,
    46,
    50,
    56,
    57,
    60,
    67,
    68,
    70,
    78,
    79,
    80,
    81,
    89,
    90,
    91,
}
KNOWN = {
    "iceact": TENTHS | {92, 99},
    "iceapc": TENTHS | {92, 99},
    "icesod": {1, 70, *range(80, 100)},
    "iceflz": {*range(1, 12), 99},
}
XLINK = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="http://www.w3.org/1999/xlink"
xmlns="http://www.w3.org/1999/xlink"><xs:attribute name="href" type="xs:anyURI"/><xs:attribute name="role"
type="xs:string"/><xs:attribute name="arcrole" type="xs:string"/><xs:attribute name="title" type="xs:string"/>
<xs:attribute name="show" type="xs:string"/><xs:attribute name="actuate" type="xs:string"/><xs:attributeGroup
name="simpleAttrs"><xs:attribute name="type" type="xs:string" fixed="simple"/><xs:attribute ref="href"/><xs:attribute
ref="role"/><xs:attribute ref="arcrole"/><xs:attribute ref="title"/><xs:attribute ref="show"/><xs:attribute
ref="actuate"/></xs:attributeGroup></xs:schema>"""


def by_our_rules(path: Path) -> None:
    """What the schema and S-100 ask of a dataset, as far as frazil writes it."""
    root = ET.fromstring(path.read_bytes())
    assert root.tag == f"{ICE}IceDataSet"
    names = [e.attrib[f"{GML}id"] for e in root.iter() if f"{GML}id" in e.attrib]
    assert len(set(names)) == len(names)
    for member in root:
        assert member.tag == f"{ICE}IceFeatureMember"
        (feature,) = member
        *said, geometry = feature
        assert geometry.attrib["srsName"] == "http://www.opengis.net/gml/srs/epsg.xml#4326"
        if feature.tag == f"{ICE}icelne":
            assert not said
            assert geometry.tag == f"{GML}LineString"
            continue
        assert feature.tag == f"{ICE}seaice"
        order = [e.tag.removeprefix(ICE) for e in said]
        assert order == [name for name in KNOWN if name in order]
        assert order[0] == "iceact"
        assert all(int(e.text or "") in KNOWN[e.tag.removeprefix(ICE)] for e in said)
        rings = [(e.text or "").split() for e in geometry.iter(f"{GML}posList")]
        for number, ring in enumerate(rings):
            points = [(float(a), float(b)) for a, b in zip(ring[::2], ring[1::2], strict=True)]
            assert points[0] == points[-1]
            assert all(-180 <= a <= 180 and -90 <= b <= 90 for a, b in points)
            assert shapely.LinearRing(points).is_ccw == (number > 0)


def validate(path: Path, schema_folder: Path) -> None:
    etree: Any = pytest.importorskip("lxml.etree")
    schema = schema_folder / "s411" / "Schemas" / "S411.xsd"
    if not schema.is_file():
        pytest.skip(f"no schema of S-411 at {schema.name}")

    class Local(etree.Resolver):  # type: ignore[misc]
        def resolve(self, url: str, _id: str, context: Any) -> Any:
            return self.resolve_string(XLINK, context) if url == "http://www.w3.org/1999/xlink.xsd" else None

    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(Local())
    checked = etree.XMLSchema(etree.parse(str(schema), parser))
    assert checked.validate(etree.parse(str(path))), checked.error_log


@pytest.fixture(scope="module")
def chart() -> gpd.GeoDataFrame:
    return chart_of()


def test_a_dataset_is_valid_and_read_back(chart: gpd.GeoDataFrame, tmp_path: Path) -> None:
    edge = ice_edge(make_map(seed=1))
    (path,) = write_s411(chart, tmp_path, edge=edge, region="fram")
    assert path.name == f"S411_frazil_fram-{chart.attrs['start_time'][:10].replace('-', '')}.gml"
    by_our_rules(path)
    sea = chart[chart["POLY_TYPE"].isin(["I", "W"])]
    found = pyogrio.read_dataframe(path, layer="seaice")
    assert found.crs == CRS("EPSG:4326")
    assert len(found) == len(sea)
    assert found["iceact"].tolist() == [attributes(row)["iceact"] for row in sea.to_dict("records")]
    again = found.to_crs(chart.crs)
    apart = shapely.hausdorff_distance(again.geometry.values, sea.geometry.values)
    assert apart.max() < 150  # sides are straight in longitude and latitude: the axes are right
    lines = pyogrio.read_dataframe(path, layer="icelne").to_crs(chart.crs)
    assert lines.length.sum() == pytest.approx(edge.length.sum(), rel=1e-3)


def test_a_dataset_is_valid_against_the_schema(chart: gpd.GeoDataFrame, real_data: Path, tmp_path: Path) -> None:
    (path,) = write_s411(chart, tmp_path, edge=ice_edge(make_map(seed=1)))
    validate(path, real_data)


def test_a_real_chart_is_valid_too(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "ice-charts" / "cis_SGRDREA_20201102T.gpkg"
    if not source.is_file():
        pytest.skip(f"no real chart at {source.name}")
    real = read_chart(source)
    (path,) = write_s411(real, tmp_path)
    by_our_rules(path)
    found = pyogrio.read_dataframe(path, layer="seaice")
    assert len(found) == real["POLY_TYPE"].isin(["I", "W"]).sum()
    validate(path, real_data)


@pytest.mark.parametrize(("centre", "files"), [((180.0, 75.0), 2), ((179.9, -70.0), 2), ((0.0, 90.0), 1)])
def test_no_dataset_crosses_the_antimeridian(centre: tuple[float, float], files: int, tmp_path: Path) -> None:
    chart = chart_of(3, centre=centre, crs="EPSG:3413" if centre[1] > 0 else "EPSG:3031", land=0.0, border=False)
    made = write_s411(chart, tmp_path)
    assert len(made) == files
    area = 0.0
    geod = CRS("EPSG:4326").get_geod()
    assert geod is not None
    for path in made:
        by_our_rules(path)
        found = pyogrio.read_dataframe(path, layer="seaice")
        west, _, east, _ = found.total_bounds
        assert files == 1 or east - west < 180
        area += sum(abs(geod.geometry_area_perimeter(shape)[0]) for shape in found.geometry) / 1e6
    assert area == pytest.approx(chart["area_km2"].sum(), rel=5e-3)


@pytest.mark.parametrize(
    ("row", "want"),
    [
        (
            {"CT": "91", "CA": "10", "CB": "60", "CC": "30", "SA": "95", "SB": "86", "SC": "83", "FB": "99"},
            (91, 60, 86, 99),
        ),
        ({"CT": "92", "SA": "83", "FA": "08"}, (92, None, 83, 9)),
        ({"CT": "00", "POLY_TYPE": "W"}, (1, None, None, None)),
        ({"CT": "", "POLY_TYPE": "W"}, (1, None, None, None)),
        ({"CT": "01", "SA": "99", "FA": "99"}, (2, None, None, None)),
        ({"CT": "02", "SA": "98", "FA": "10"}, (3, None, None, None)),
        ({"CT": "99", "SA": "99"}, (99, None, None, None)),
        ({"CT": "46", "SA": "70", "FA": "01"}, (46, None, 70, 2)),
    ],
)
def test_attributes_of_the_predominant_kind(row: dict[str, str], want: tuple[int | None, ...]) -> None:
    found = attributes({"POLY_TYPE": "I", **row})
    assert tuple(found.get(name) for name in KNOWN) == want


def test_what_cannot_be_written(chart: gpd.GeoDataFrame, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no polygons of the sea"):
        write_s411(chart[chart["POLY_TYPE"] == "L"], tmp_path)
    with pytest.raises(OptionError, match="cannot stand in a file name"):
        write_s411(chart, tmp_path, region="../x")
    with pytest.raises(LabelError, match="FA 12 has no code"):
        attributes({"POLY_TYPE": "I", "CT": "92", "SA": "86", "FA": "12"})
    assert not list(tmp_path.iterdir())


def test_one_class_of_ice(tmp_path: Path) -> None:
    import numpy as np

    chart = make_chart(make_map(codes=np.full((80, 90), 2, np.uint8)), min_area_km2=5)
    (path,) = write_s411(chart, tmp_path)
    by_our_rules(path)
    assert len(pyogrio.read_dataframe(path)) == 1
