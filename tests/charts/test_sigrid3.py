"""SIGRID-3 files: columns to the byte, codes and polygons read back equal by frazil and GDAL."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from pathlib import Path

import geopandas as gpd
import pyogrio
import pytest
import shapely
from pyproj import CRS

from frazil.charts.chart import make_chart
from frazil.charts.eggs import EGG_COLUMNS
from frazil.charts.fgdc import Issuer
from frazil.charts.sigrid3 import columns_of, row_of, written
from frazil.charts.sigrid3_files import write_sigrid3
from frazil.errors import LabelError, OptionError
from frazil.labels.chart import read_chart
from frazil.labels.sigrid3 import COLUMNS, table
from frazil.labels.sigrid3_dialects import translate
from frazil.maps.edges import ice_edge
from frazil.testing import make_map

#: Leaves that the standard asks for.
MANDATORY = """origin pubdate title caldate time westbc eastbc northbc southbc themekey themekt placekey cntorg cntaddr
cntvoice cntfax cntemail logic complete horizdn ellips semiaxis denflat attrlabl attrdef attrdefs codesetn codesets
formname formvern formverd metd metstdn metstdv"""
ORDER_2010 = "AREA PERIMETER CT CA SA FA CB SB FB CC SC FC CN CD FP FS POLY_TYPE"
ORDER_31 = "AREA PERIMETER POLY_TYPE CT CA CB CC CN SA SB SC CD FA FB FC FP FS OP T1"


def chart_of(seed: int = 1, **options: object) -> gpd.GeoDataFrame:
    return make_chart(make_map(seed=seed, **options), min_area_km2=3, cell_m=500, polygons=25)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def chart() -> gpd.GeoDataFrame:
    return chart_of()


def dbf_columns(path: Path) -> list[tuple[str, str, int, int]]:
    """Name, type, width and decimals of each column, from the bytes of the header."""
    data = path.read_bytes()
    (header,) = struct.unpack("<H", data[8:10])
    fields = [data[k : k + 32] for k in range(32, header - 1, 32)]
    return [(f[:11].split(b"\0")[0].decode(), chr(f[11]), f[16], f[17]) for f in fields]


@pytest.mark.parametrize("edition", ["3.1", "2010"])
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3413"])
def test_what_is_written_is_read_back_equal(edition: str, crs: str, chart: gpd.GeoDataFrame, tmp_path: Path) -> None:
    (path,) = write_sigrid3(chart, tmp_path, edition=edition, crs=crs, region="Fram-Strait")
    found = read_chart(path)
    assert found.attrs["dialect"] == edition
    assert found.attrs["unknown_codes"] == {}
    for name in ("POLY_TYPE", *COLUMNS):
        assert found[name].tolist() == expected(chart, name, edition)
    assert shapely.coverage_is_valid(found.geometry.values)
    assert found.crs == CRS(crs)
    again = found.to_crs(chart.crs).geometry.values
    assert shapely.hausdorff_distance(again, chart.geometry.values).max() < 150  # sides are straight in the file's CRS
    raw = pyogrio.read_dataframe(path)
    geod = CRS(crs).get_geod()
    assert geod is not None
    area = [abs(geod.geometry_area_perimeter(shape)[0]) for shape in found.to_crs("EPSG:4326").geometry]
    assert raw["AREA"].to_numpy() == pytest.approx(area, rel=1e-6)
    assert raw["AREA"].sum() / 1e6 == pytest.approx(chart["area_km2"].sum(), rel=2e-3)
    assert {p.name for p in tmp_path.iterdir()} == {
        path.with_suffix(s).name for s in (".shp", ".shx", ".dbf", ".prj", ".xml")
    }


def expected(chart: gpd.GeoDataFrame, name: str, edition: str) -> list[str]:
    """What a reader finds: ice free of 3.1 is read as 00, and has a stage."""
    codes = chart[name].tolist()
    if edition == "2010" or name not in ("CT", "SA"):
        return codes
    return ["00" if kind == "W" else code for kind, code in zip(chart["POLY_TYPE"], codes, strict=True)]


def test_columns_to_the_byte(chart: gpd.GeoDataFrame, tmp_path: Path) -> None:
    for edition, order in (("2010", ORDER_2010), ("3.1", ORDER_31)):
        folder = tmp_path / edition
        folder.mkdir()
        (path,) = write_sigrid3(chart, folder, edition=edition)
        found = dbf_columns(path.with_suffix(".dbf"))
        assert " ".join(name for name, *_ in found).startswith(order)
        for name, kind, width, decimals in found:
            want = ("N", 20, 3) if name in ("AREA", "PERIMETER") else ("N", 6, 1) if name.endswith("_PCT") else None
            want = want or ("C", {"POLY_TYPE": 1, "OP": 1, "T1": 20}.get(name, 2), 0)
            assert (kind, width, decimals) == want, name
        raw = pyogrio.read_dataframe(path, read_geometry=False)
        at_sea, land = raw[raw["POLY_TYPE"] == "I"], raw[raw["POLY_TYPE"] == "L"]
        unused = {"2010": "-9", "3.1": ""}[edition]
        at_sea = at_sea.fillna("")
        assert len(land)
        assert land[list(EGG_COLUMNS)].isna().all().all()
        one_kind = at_sea[at_sea["SB"] == unused]
        assert set(one_kind["CA"]) <= {unused}
        assert "na" not in raw.astype(str).to_numpy()
    assert path.with_suffix(".prj").read_text().startswith('GEOGCS["GCS_WGS_1984"')


def test_rings_run_as_esri_asks(chart: gpd.GeoDataFrame, tmp_path: Path) -> None:
    import shapefile

    (path,) = write_sigrid3(chart, tmp_path)
    with shapefile.Reader(str(path)) as found:
        for shape in found.iterShapes():
            first, *holes = [shape.points[a:b] for a, b in zip(shape.parts, [*shape.parts[1:], None], strict=True)]
            assert shapefile.signed_area(first) < 0  # clockwise
            assert all(shapefile.signed_area(hole) > 0 for hole in holes)


@pytest.mark.parametrize("centre", [(180.0, 75.0), (0.0, 90.0), (-179.5, -71.0)])
def test_the_antimeridian_and_the_pole(centre: tuple[float, float], tmp_path: Path) -> None:
    chart = chart_of(3, centre=centre, crs="EPSG:3413" if centre[1] > 0 else "EPSG:3031")
    (path,) = write_sigrid3(chart, tmp_path)
    found = read_chart(path)
    assert shapely.coverage_is_valid(found.geometry.values)
    assert set(found.geom_type) == {"Polygon"}
    west, south, east, north = found.total_bounds
    assert -180 <= west <= east <= 180
    assert -90 <= south <= north <= 90
    geod = CRS("EPSG:4326").get_geod()
    assert geod is not None
    area = sum(abs(geod.geometry_area_perimeter(shape)[0]) for shape in found.geometry) / 1e6
    assert area == pytest.approx(chart["area_km2"].sum(), rel=5e-3)


def test_metadata_say_what_a_reader_needs(chart: gpd.GeoDataFrame, tmp_path: Path) -> None:
    issuer = Issuer(code="xyz", organisation="Ice & <Sea>", email="ice@example.org")
    edge = ice_edge(make_map(seed=1))
    chart = chart.copy()
    chart.attrs["note"] = "Pixels are\n simulated."
    paths = write_sigrid3(
        chart, tmp_path, edition="3.1", region="kara", issuer=issuer, edge=edge, use="Not to navigate."
    )
    observed = chart.attrs["start_time"][:19].replace("-", "").replace(":", "")
    assert [p.name for p in paths] == [f"xyz_kara_{observed}_{kind}_a.shp" for kind in ("pl", "ln")]
    root = ET.fromstring(paths[0].with_suffix(".xml").read_bytes())
    leaves = {e.tag: (e.text or "").strip() for e in root.iter() if not len(e)}
    for name in MANDATORY.split():
        assert leaves.get(name) or any(len(e) for e in root.iter(name)), name
    assert leaves["formvern"] == "3.1"
    assert "Pixels are simulated." in leaves["abstract"]
    assert leaves["cntorg"] == "Ice & <Sea>"
    assert [e.text for e in root.iter("attrlabl")] == [name for name, *_ in dbf_columns(paths[0].with_suffix(".dbf"))]
    assert chart["product"][0] in [e.text for e in root.iter("title")]
    bounds = read_chart(paths[0]).total_bounds
    assert [float(leaves[n]) for n in ("westbc", "southbc", "eastbc", "northbc")] == pytest.approx(
        bounds.tolist(), abs=1e-5
    )
    lines = pyogrio.read_dataframe(paths[1])
    assert set(lines["LINE_TYPE"]) == {"ICELNE"}
    assert lines["LENGTH"].sum() / 1000 == pytest.approx(edge["length_km"].sum(), rel=1e-3)


@pytest.mark.parametrize("edition", ["2010", "3.1", "S-411"])
@pytest.mark.parametrize("column", [*COLUMNS, "CN", "CD"])
def test_every_code_comes_back_or_is_refused(edition: str, column: str) -> None:
    """The writer's table against the reader's: two tables, written apart."""
    section = COLUMNS.get(column, "stage")
    came = 0
    for code in table()[section]:
        try:
            out = written(column, code, edition)
        except LabelError:
            continue
        asked = "SA" if column in ("CN", "CD") else "CT" if section == "concentration" else column
        back = translate(asked, out, edition, {})
        assert back is not None
        entries = [table()[section][k] for k in (code, back)]
        assert entries[0] == entries[1] or entries[0][0] == entries[1][0]
        came += 1
    assert came >= {"concentration": 30, "stage": 17, "form": 10}[section]


def test_a_real_chart_in_the_edition_of_2010(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "ice-charts" / "cis_SGRDREA_20201102T.gpkg"
    if not path.is_file():
        pytest.skip(f"no real chart at {path.name}")
    source, raw = read_chart(path), pyogrio.read_dataframe(path)
    (made,) = write_sigrid3(source, tmp_path, edition="2010", crs=source.crs.to_wkt())
    found, back = pyogrio.read_dataframe(made), read_chart(made)
    assert len(found) == len(raw) == 432
    assert shapely.equals_exact(found.geometry.values, raw.geometry.values, normalize=True).all()
    for name in ("POLY_TYPE", *COLUMNS):
        assert back[name].tolist() == source[name].tolist()
    ice = raw["POLY_TYPE"] == "I"
    for name in EGG_COLUMNS[:10]:
        assert found.loc[ice, name].tolist() == raw.loc[ice, name].tolist(), name


def test_what_cannot_be_written(chart: gpd.GeoDataFrame, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="edition '2004' is not one of"):
        columns_of("2004")
    for name in ("", "a/b", "../x", "ä", "x" * 31, "a b"):
        with pytest.raises(OptionError, match="cannot stand in a file name"):
            write_sigrid3(chart, tmp_path, region=name)
        with pytest.raises(OptionError, match="cannot stand in a file name"):
            write_sigrid3(chart, tmp_path, issuer=Issuer(code=name))
    with pytest.raises(LabelError, match="SA 42 has no code in SIGRID-3 3.1"):
        row_of({"POLY_TYPE": "I", "CT": "92", "SA": "42"}, "3.1", "")
    with pytest.raises(LabelError, match="FA 21 has no code in SIGRID-3 3.1"):
        row_of({"POLY_TYPE": "I", "CT": "92", "FA": "21"}, "3.1", "")
    assert not list(tmp_path.iterdir())
