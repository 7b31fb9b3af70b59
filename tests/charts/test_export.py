"""The folder of a chart: every file opens in its own reader, says the same, and appears whole or not at all."""

from __future__ import annotations

import json
import sqlite3
import xml.etree.ElementTree as ET
from pathlib import Path

import geopandas as gpd
import pyogrio
import pytest
import shapely
from click.testing import CliRunner

from frazil.charts.chart import make_chart
from frazil.charts.colours import entry_of
from frazil.charts.export import ChartFiles, export_chart
from frazil.cli import cli
from frazil.errors import FrazilError, OptionError, OutputExistsError
from frazil.labels.chart import read_chart
from frazil.maps.edges import ice_edge
from frazil.maps.export import export
from frazil.testing import make_map
from tests.charts.test_sigrid3 import chart_of

KML = "{http://www.opengis.net/kml/2.2}"


@pytest.fixture(scope="module")
def chart() -> gpd.GeoDataFrame:
    return chart_of()


@pytest.fixture(scope="module")
def folder(chart: gpd.GeoDataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_chart(chart, tmp_path_factory.mktemp("chart") / "c", edge=ice_edge(make_map(seed=1)))


def test_all_files_say_the_same(chart: gpd.GeoDataFrame, folder: Path) -> None:
    sigrid3 = read_chart(next((folder / "sigrid3").glob("*_pl_a.shp")))
    geopackage = read_chart(folder / "chart.gpkg")
    for found in (sigrid3, geopackage):
        assert found["CT"].str.replace("55", "00").tolist() == chart["CT"].str.replace("55", "00").tolist()
        assert found["SB"].tolist() == chart["SB"].tolist()
    gml = pyogrio.read_dataframe(next((folder / "s411").glob("*.gml")), layer="seaice")
    assert len(gml) == chart["POLY_TYPE"].isin(["I", "W"]).sum()
    told = json.loads((folder / "summary.json").read_text())
    assert told["polygons"] == len(chart)
    assert sum(told["area_km2_by_type"].values()) == pytest.approx(chart["area_km2"].sum(), abs=0.01)
    assert told["product"] == chart.attrs["product"]
    assert told["warning"] == "Not for navigation"
    names = {p.name for p in folder.iterdir()} - {".frazil.json"}
    assert names == {
        *("sigrid3", "s411", "chart.gpkg", "chart.kml", "summary.json"),
        *(f"{code}.{suffix}" for code in ("concentration", "stage") for suffix in ("pdf", "png")),
    }
    assert "Not for navigation" in next((folder / "sigrid3").glob("*_pl_a.xml")).read_text()


def test_risk_reads_the_chart_beside_its_edge(folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["risk", str(folder / "chart.gpkg"), "--ship", "IA", "-o", str(tmp_path / "r")])
    assert done.exit_code == 0, done.exception
    words = ["risk", str(folder / "chart.gpkg"), "--ship", "IA", "-o", str(tmp_path / "s"), "--layer", "ice_edge"]
    wrong = CliRunner().invoke(cli, words)
    assert isinstance(wrong.exception, FrazilError)


def test_qgis_finds_its_styles(chart: gpd.GeoDataFrame, folder: Path) -> None:
    database = sqlite3.connect(folder / "chart.gpkg")
    rows = database.execute(
        "SELECT f_table_name, f_geometry_column, styleName, styleQML, useAsDefault FROM layer_styles"
    )
    found = rows.fetchall()
    database.close()
    assert [(r[0], r[2], bool(r[4])) for r in found] == [
        ("ice_chart", "WMO concentration", True),
        ("ice_chart", "WMO stage", False),
        ("ice_edge", "Ice edge", True),
    ]
    for row in found:
        root = ET.fromstring(row[3])
        assert root.tag == "qgis"
    layers = dict(pyogrio.list_layers(folder / "chart.gpkg"))
    assert set(layers) >= {"ice_chart", "ice_edge"}
    read = pyogrio.read_dataframe(folder / "chart.gpkg", layer="ice_chart")
    want = ["#{:02x}{:02x}{:02x}".format(*entry_of(row, "stage").colour) for row in chart.to_dict("records")]
    assert read["colour_sod"].tolist() == want


def test_kml_has_the_same_shapes_and_colours(chart: gpd.GeoDataFrame, folder: Path) -> None:
    root = ET.fromstring((folder / "chart.kml").read_bytes())
    folders = root.findall(f".//{KML}Folder")
    assert [f.findtext(f"{KML}visibility") for f in folders] == ["1", "0"]
    marks = folders[0].findall(f"{KML}Placemark")
    assert len(marks) == len(chart)
    red, green, blue = entry_of(chart.iloc[0].to_dict(), "concentration").colour
    assert marks[0].findtext(f".//{KML}PolyStyle/{KML}color") == f"b0{blue:02x}{green:02x}{red:02x}"
    read = pyogrio.read_dataframe(folder / "chart.kml", layer=0).to_crs(chart.crs)
    apart = shapely.hausdorff_distance(shapely.force_2d(read.geometry.values), chart.geometry.values)
    assert apart.max() < 150


def test_what_is_wrong_leaves_nothing(chart: gpd.GeoDataFrame, tmp_path: Path) -> None:
    for options, message in (
        ({"formats": ("dxf",)}, "formats 'dxf'; choose from"),
        ({"formats": ()}, "formats are none"),
        ({"region": "a b"}, "cannot stand in a file name"),
        ({"edition": "2004"}, "edition '2004' is not one of"),
        ({"page_crs": "EPSG:4326", "formats": ("pdf",)}, "in a projection in metres"),
        ({"crs": "EPSG:99999"}, "EPSG:99999"),
    ):
        with pytest.raises(FrazilError, match=message):
            export_chart(chart, tmp_path / "c", files=ChartFiles(**options))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "mine.txt").write_text("x")
    with pytest.raises(OutputExistsError):
        export_chart(chart, tmp_path / "c", overwrite=True)


def test_the_command(tmp_path: Path) -> None:
    for number in (1, 2):
        export(make_map(seed=number, radar=("HH", "HV")), tmp_path / f"map{number}")
    words = [
        "chart",
        *(str(tmp_path / f"map{n}") for n in (1, 2)),
        "-o",
        str(tmp_path / "charts"),
        "--min-area",
        "3 km²",
    ]
    done = CliRunner().invoke(cli, [*words, "--formats", "sigrid3,gpkg", "--edition", "2010", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [one["sigrid3_edition"] for one in told] == ["2010", "2010"]
    for number in (1, 2):
        made = tmp_path / "charts" / f"map{number}"
        assert read_chart(next((made / "sigrid3").glob("*_pl_a.shp"))).attrs["dialect"] == "2010"
        assert sorted(p.name for p in made.iterdir()) == [".frazil.json", "chart.gpkg", "sigrid3", "summary.json"]
    one = CliRunner().invoke(
        cli,
        [
            "chart",
            str(tmp_path / "map1"),
            "-o",
            str(tmp_path / "one"),
            "--approved",
            "--min-area",
            "3",
            "--backdrop",
            "radar",
        ],
    )
    assert one.exit_code == 0, one.output
    assert "Not for navigation" not in (tmp_path / "one" / "summary.json").read_text()
    for wrong, code in (
        ([str(tmp_path / "map1"), "--min-area", "25 acres"], 2),
        ([str(tmp_path / "map1"), "--min-area", "nan"], 2),
        ([str(tmp_path / "map1"), "--min-area", "1e9"], 1),
        ([str(tmp_path / "map1"), str(tmp_path / "x" / "map1")], 1),
        ([str(tmp_path / "nothing")], 1),
    ):
        bad = CliRunner().invoke(cli, ["chart", *wrong, "-o", str(tmp_path / "bad")])
        assert (bad.exit_code or 1) in (code, 1)
        assert isinstance(bad.exception, FrazilError | SystemExit), bad.output
        assert not (tmp_path / "bad").exists()


def test_a_map_that_is_refused_does_not_stop_the_others(tmp_path: Path) -> None:
    """One line each at the end, exit status 1; as for maps of several products."""
    export(make_map(seed=1), tmp_path / "a")
    export(make_map(seed=2), tmp_path / "c")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "map.nc").write_bytes(b"no map")
    folders = [str(tmp_path / name) for name in ("b", "a", "none", "c")]
    words = ["chart", *folders, "-o", str(tmp_path / "charts"), "--min-area", "3", "--formats", "gpkg"]
    done = CliRunner().invoke(cli, [*words, "--json"])
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert [one["map"] for one in told] == folders
    assert ["error" in one for one in told] == [True, False, True, False]
    assert sorted(p.name for p in (tmp_path / "charts").iterdir()) == ["a", "c"]
    last = done.stderr.strip().splitlines()[-2:]
    assert [line.startswith(f"frazil: {folder}: ") for line, folder in zip(last, folders[::2], strict=True)] == [
        True
    ] * 2
    plain = CliRunner().invoke(cli, [*words, "--overwrite"])
    assert plain.exit_code == 1
    assert plain.stdout.count("chart ") == 2
    inside = CliRunner().invoke(cli, ["chart", *folders[1::2], "-o", str(tmp_path), "--overwrite"])
    assert "which is read" in str(inside.exception)


def test_a_map_with_one_class_and_one_without_edge(tmp_path: Path) -> None:
    import numpy as np

    m = make_map(codes=np.full((90, 90), 3, np.uint8))
    folder = export_chart(make_chart(m, min_area_km2=5), tmp_path / "c", edge=ice_edge(m))
    assert len(read_chart(next((folder / "sigrid3").glob("*_pl_a.shp")))) == 1
    assert not list((folder / "sigrid3").glob("*_ln_*"))


def test_a_map_that_tells_nothing_is_a_chart_of_unknown_concentration(tmp_path: Path) -> None:
    import numpy as np

    from frazil.conventions import UNDECIDED

    chart = make_chart(make_map(codes=np.full((90, 90), UNDECIDED, np.uint8)), min_area_km2=5)
    assert chart[["POLY_TYPE", "CT", "SA", "FA"]].to_numpy().tolist() == [["I", "99", "99", "99"]]
    folder = export_chart(chart, tmp_path / "c")
    back = read_chart(next((folder / "sigrid3").glob("*_pl_a.shp")))
    assert back["CT"].tolist() == ["99"]
    gml = next((folder / "s411").glob("*.gml")).read_text()
    assert "<ice:iceact>99</ice:iceact>" in gml


def test_a_chart_without_sea_is_refused(chart: gpd.GeoDataFrame, tmp_path: Path) -> None:
    land = chart[chart["POLY_TYPE"] == "L"]
    with pytest.raises(FrazilError, match="no polygons of the sea"):
        export_chart(land, tmp_path / "c")
    assert not (tmp_path / "c").exists()
    with pytest.raises(OptionError, match="formats"):
        ChartFiles(formats=("s41",))
