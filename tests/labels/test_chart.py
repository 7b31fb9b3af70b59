"""Charts against shapely, against the real chart, and against charts that are wrong in every way we know of."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from frazil.conventions import AI4ARCTIC, CLASS_SCHEMES, FIVE_CLASSES
from frazil.errors import ContractError, LabelError, LabelNotFoundError, OptionError
from frazil.labels.chart import chart_classes, rasterize_chart, read_chart
from frazil.labels.polygons import place, read_polygons
from frazil.labels.sigrid3 import COLUMNS, ChartSettings, classify, code_text, table
from frazil.labels.sigrid3_dialects import DIALECTS, thickness_cm, translate
from frazil.scene.geolocation import Geolocation
from frazil.scene.grid import MapGrid
from frazil.sentinel1.scene import open_scene
from frazil.testing import make_map


@pytest.fixture(scope="module")
def scene(small_safe: Path) -> xr.Dataset:
    return open_scene(small_safe, looks=6)


def polygon(
    line: tuple[float, float], pixel: tuple[float, float], geo: Geolocation, points: int = 2
) -> shapely.Polygon:
    """A box of the radar grid as a polygon in longitude and latitude."""
    (l0, l1), (p0, p1) = line, pixel
    t = np.linspace(0, 1, points)
    ll = np.concatenate([l0 + 0 * t, l0 + (l1 - l0) * t, l1 + 0 * t, l1 + (l0 - l1) * t])
    pp = np.concatenate([p0 + (p1 - p0) * t, p1 + 0 * t, p1 + (p0 - p1) * t, p0 + 0 * t])
    return shapely.Polygon(np.column_stack(geo.lonlat(ll, pp)))


def chart_of(shapes: list[shapely.Geometry], crs: str = "EPSG:4326", **columns: Any) -> gpd.GeoDataFrame:
    rows = {"POLY_TYPE": ["I"] * len(shapes), "CT": ["92"] * len(shapes), "SA": ["84"] * len(shapes)} | columns
    return gpd.GeoDataFrame(rows, geometry=shapes, crs=crs)


def saved(frame: gpd.GeoDataFrame, folder: Path, name: str = "chart.gpkg", **options: Any) -> Path:
    frame.to_file(folder / name, **options)
    return folder / name


def row(**codes: str) -> dict[str, str]:
    return {"POLY_TYPE": "I"} | dict.fromkeys(COLUMNS, "") | codes


@pytest.mark.parametrize(
    ("codes", "sic", "sic_class", "sod", "floe", "five", "binary"),
    [
        ({"POLY_TYPE": "W"}, 0.0, 0, 0, 0, 0, 0),
        ({"POLY_TYPE": "L", "CT": "92"}, np.nan, 255, 255, 255, 254, 254),
        ({"POLY_TYPE": "S"}, np.nan, 255, 255, 255, 254, 254),
        ({"POLY_TYPE": "N"}, np.nan, 255, 255, 255, 255, 255),
        ({}, np.nan, 255, 255, 255, 255, 255),
        ({"CT": "01", "SA": "95"}, 0.05, 0, 0, 0, 0, 0),
        ({"CT": "92", "SA": "84", "FA": "05"}, 1.0, 10, 2, 4, 2, 1),  # alone, without a partial concentration
        ({"CT": "91", "CA": "60", "SA": "87", "CB": "40", "SB": "84"}, 0.95, 10, 255, 255, 255, 1),
        ({"CT": "91", "CA": "70", "SA": "87", "CB": "30", "SB": "84"}, 0.95, 10, 3, 255, 3, 1),
        ({"CT": "90", "CA": "40", "SA": "84", "CB": "50", "SB": "85"}, 0.9, 9, 2, 255, 2, 1),  # both are young ice
        ({"CT": "50", "CA": "40", "SA": "95", "CB": "10", "SB": "81"}, 0.5, 5, 5, 255, 255, 255),
        ({"CT": "80", "CA": "20", "SA": "95", "SB": "81"}, 0.8, 8, 1, 255, 1, 1),  # the rest is the other kind
        ({"CT": "79", "SA": "93", "FA": "08"}, 0.8, 8, 4, 255, 4, 1),
        ({"CT": "92", "SA": "99"}, 1.0, 10, 255, 255, 255, 1),
        ({"CT": "10", "SA": "84"}, 0.1, 1, 2, 255, 0, 0),
    ],
)
def test_codes_by_hand(
    codes: dict[str, str], sic: float, sic_class: int, sod: int, floe: int, five: int, binary: int
) -> None:
    said = classify(row(**codes), FIVE_CLASSES, ChartSettings())
    assert said.sic == pytest.approx(sic, nan_ok=True)
    assert (said.sic_class, said.sod_class, said.floe_class, said.ice_class) == (sic_class, sod, floe, five)
    assert classify(row(**codes), CLASS_SCHEMES["binary"], ChartSettings()).ice_class == binary


@given(
    st.sampled_from(["01", "10", "50", "80", "91", "92"]),
    st.lists(st.sampled_from(["", "10", "30", "50", "70"]), min_size=3, max_size=3),
    st.lists(st.sampled_from(["", "81", "84", "86", "95", "99"]), min_size=3, max_size=3),
    st.floats(0.51, 1.0),
)
def test_a_higher_dominance_never_adds_a_class(
    total: str, partial: list[str], stages: list[str], dominance: float
) -> None:
    codes = row(CT=total, **dict(zip(["CA", "CB", "CC", "SA", "SB", "SC"], partial + stages, strict=True)))
    strict = classify(codes, AI4ARCTIC, ChartSettings(dominance=dominance))
    loose = classify(codes, AI4ARCTIC, ChartSettings(dominance=0.505))
    assert strict.sod_class in (255, loose.sod_class)
    assert strict.sod_class in {0, 1, 2, 4, 5, 255}


def test_the_table_says_what_the_autoice_look_up_says() -> None:
    sic = {code: entry[2] for code, entry in table()["concentration"].items()}
    assert {c for c, v in sic.items() if v == 0} == {"00", "01", "02", "55"}
    assert [sic[f"{10 * k}"] for k in range(1, 10)] == list(range(1, 10))
    assert sic["91"] == sic["92"] == 10
    stages = {code: c.code for c in AI4ARCTIC.classes for code in c.sigrid3}
    assert [stages.get(f"{k}") for k in (80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 91, 93, 95, 96, 97, 98, 99)] == [
        0,
        1,
        1,
        2,
        2,
        2,
        4,
        3,
        3,
        3,
        4,
        4,
        5,
        5,
        5,
        None,
        None,
    ]
    forms = {code: entry[1] for code, entry in table()["form"].items()}
    assert [forms[f"{k:02d}"] for k in (2, 3, 4, 5, 6, 7, 9, 10)] == [1, 2, 3, 4, 5, 5, 6, 6]
    assert {forms[f"{k:02d}"] for k in (1, 8, 21, 22)} == {255}
    known = set(table()["stage"])
    for scheme in CLASS_SCHEMES.values():
        codes = [c for k in scheme.classes for c in k.sigrid3]
        assert len(codes) == len(set(codes)), "a code stands for two classes"
    assert set(stages) <= known


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "01"),
        (1.0, "01"),
        ("1", "01"),
        ("92", "92"),
        (" 55 ", "55"),
        (-9, ""),
        ("-9", ""),
        ("-9.0", ""),
        (None, ""),
        (np.nan, ""),
        ("", ""),
        ("xx", "xx"),
    ],
)
def test_codes_of_all_spellings(value: object, text: str) -> None:
    assert code_text(value) == text


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_pixels_inside_by_shapely(data: st.DataObject, scene: xr.Dataset) -> None:
    """Random triangles, burnt on the radar grid, against point-in-polygon on longitude and latitude."""
    geo = Geolocation.of(scene)
    n = scene.sizes["line"], scene.sizes["pixel"]
    corners = [(data.draw(st.floats(-100, 1000)), data.draw(st.floats(-100, 1600))) for _ in range(3)]
    lon, lat = geo.lonlat(*np.array(corners).T)
    shape = shapely.Polygon(np.column_stack([lon, lat]))
    if shape.area < 1e-4:
        return
    owner, shared = place(chart_of([shape]), scene).burn()
    lon, lat = geo.lonlat(scene["line"].values[:, None], scene["pixel"].values[None, :])
    wanted = shapely.contains_xy(shape, lon, lat)
    wrong = (owner == 0) != wanted
    # Only pixels whose centre lies within 10 m of an edge may differ.
    metre = 1 / 111_000
    near = shapely.distance(shapely.points(lon[wrong], lat[wrong]), shape.boundary) < 10 * metre
    assert near.all()
    assert wrong.sum() < 20
    assert owner.shape == n
    assert not shared.any()


def test_long_edges_stay_where_the_chart_draws_them(scene: xr.Dataset) -> None:
    """A parallel of latitude as one edge of four vertices: on the radar grid it is a curve."""
    _, lat = Geolocation.of(scene).lonlat(450.0, 750.0)
    lon, _ = Geolocation.of(scene).lonlat(450.0, 750.0)
    box = shapely.box(float(lon) - 60, float(lat), float(lon) + 60, float(lat) + 5)
    labels = rasterize_chart(chart_of_file_like(box), like=scene)
    _, at = Geolocation.of(scene).lonlat(scene["line"].values[:, None], scene["pixel"].values[None, :])
    inside = labels["polygon"].values == 0
    assert inside.any()
    assert at[inside].min() > float(lat) - 1e-5
    assert at[~inside].max() < float(lat) + 1e-5


def chart_of_file_like(*shapes: shapely.Geometry, **columns: Any) -> gpd.GeoDataFrame:
    """A chart as read_chart returns it."""
    frame = chart_of(list(shapes), **columns)
    for name in COLUMNS:
        if name not in frame:
            frame[name] = ""
    return frame


def test_on_a_map_grid_and_in_another_crs(scene: xr.Dataset) -> None:
    shape = polygon((200, 700), (300, 1200), Geolocation.of(scene), points=40)
    chart = chart_of_file_like(shape)
    area = chart.to_crs("EPSG:3413").area.sum()
    left, bottom, right, top = chart.to_crs("EPSG:3413").total_bounds
    grid = MapGrid(
        crs="EPSG:3413",
        left=left - 500,
        top=top + 500,
        spacing_m=100,
        shape=(int((top - bottom) / 100) + 10, int((right - left) / 100) + 10),
    )
    like = xr.Dataset(coords=grid.coords())
    for crs in ("EPSG:4326", "EPSG:3413", "EPSG:32645", "EPSG:3857"):
        labels = rasterize_chart(chart.to_crs(crs), like=like)
        assert labels["sic"].dims == ("y", "x")
        assert int(labels["valid"].sum()) * 1e4 == pytest.approx(area, rel=0.005)
        assert set(np.unique(labels["ice_class"])) == {2, 255}
    assert "spatial_ref" in labels.coords


def test_layers_and_their_attributes(scene: xr.Dataset) -> None:
    geo = Geolocation.of(scene)
    chart = chart_of_file_like(
        polygon((0, 300), (0, 1499), geo),
        polygon((300, 600), (0, 1499), geo),
        polygon((600, 899), (0, 1499), geo),
        POLY_TYPE=["I", "W", "L"],
        CT=["90", "55", ""],
        SA=["95", "", ""],
        FA=["03", "", ""],
    )
    labels = rasterize_chart(chart, like=scene, scheme="binary")
    middle = labels.isel(pixel=120, line=[20, 75, 125])
    np.testing.assert_allclose(middle["sic"], [0.9, 0, np.nan], rtol=1e-6)
    assert middle["sic_class"].values.tolist() == [9, 0, 255]
    assert middle["sod_class"].values.tolist() == [5, 0, 255]
    assert middle["floe_class"].values.tolist() == [2, 0, 255]
    assert middle["ice_class"].values.tolist() == [1, 0, 254]
    assert middle["valid"].values.tolist() == [True, True, False]
    assert middle["polygon"].values.tolist() == [0, 1, 2]
    assert labels["sic"].attrs["standard_name"] == "sea_ice_area_fraction"
    assert labels["ice_class"].attrs["flag_meanings"] == "open_water sea_ice land"
    assert labels.attrs["dominance"] == 0.65
    for name in ("sic_class", "sod_class", "floe_class", "ice_class"):
        assert labels[name].dtype == np.uint8


def test_overlapping_polygons_must_agree(scene: xr.Dataset) -> None:
    geo = Geolocation.of(scene)
    one, two = polygon((0, 500), (0, 800), geo), polygon((300, 800), (400, 1400), geo)
    agree = rasterize_chart(chart_of_file_like(one, two), like=scene)
    assert agree.attrs["overlap"] == 0
    differ = rasterize_chart(chart_of_file_like(one, two, SA=["84", "95"]), like=scene)
    assert differ.attrs["overlap"] == pytest.approx(200 * 400 / 36, rel=0.05)
    both = (agree["polygon"] >= 0) & ~differ["valid"]
    assert int(both.sum()) == differ.attrs["overlap"]
    assert set(np.unique(differ["ice_class"].values[both.values])) == {255}


def test_a_bow_tie_is_mended_and_counted(scene: xr.Dataset, tmp_path: Path) -> None:
    lon, lat = Geolocation.of(scene).lonlat([100, 100, 800, 800], [100, 1400, 100, 1400])
    tie = shapely.Polygon(np.column_stack([lon, lat]))
    assert not tie.is_valid
    chart = read_chart(saved(chart_of([tie, tie.centroid.buffer(0.01)]), tmp_path))
    assert chart.attrs["repaired"] == 1
    assert chart.geometry.is_valid.all()
    assert int(rasterize_chart(chart.iloc[:1], like=scene)["valid"].sum()) > 1000


def test_rows_without_area_are_dropped_and_counted(tmp_path: Path) -> None:
    shapes = [shapely.box(0, 70, 1, 71), shapely.Polygon(), shapely.LineString([(0, 70), (1, 71)])]
    path = saved(chart_of(shapes), tmp_path, "chart.geojson")
    chart = read_chart(path)
    assert chart.attrs["dropped"] == 2
    assert chart.index.tolist() == [0]


def test_lower_case_columns_numbers_and_shapefiles(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(
        {"poly_type": ["I", "w"], "ct": [92, 1], "ca": [-9, -9], "sa": [84.0, np.nan], "name": ["a", "b"]},
        geometry=[shapely.box(0, 70, 1, 71), shapely.box(1, 70, 2, 71)],
        crs="EPSG:4326",
    )
    chart = read_chart(saved(frame, tmp_path, "chart.shp"), crs="EPSG:3413")
    assert chart.crs.to_epsg() == 3413
    assert chart.CT.tolist() == ["92", "01"]
    assert chart.SA.tolist() == ["84", ""]
    assert chart.POLY_TYPE.tolist() == ["I", "W"]
    assert chart.name.tolist() == ["a", "b"]
    assert [r.ice_class for r in chart_classes(chart)] == [2, 0]


def test_unknown_codes_are_refused_or_counted(tmp_path: Path) -> None:
    path = saved(chart_of([shapely.box(0, 70, 1, 71)] * 3, SA=["90", "90", "84"], POLY_TYPE=["I", "I", "Q"]), tmp_path)
    with pytest.raises(LabelError, match=r"chart.gpkg uses codes .*POLY_TYPE Q \(1 ×\), SA 90 \(2 ×\).*ignore"):
        read_chart(path)
    chart = read_chart(path, unknown="ignore")
    assert chart.attrs["unknown_codes"] == {"SA 90": 2, "POLY_TYPE Q": 1}
    assert [r.sod_class for r in chart_classes(chart)] == [255, 255, 255]


def test_wrong_files_in_one_line(tmp_path: Path, scene: xr.Dataset) -> None:
    with pytest.raises(LabelNotFoundError, match="No labels at"):
        read_chart(tmp_path / "none.gpkg")
    text = tmp_path / "notes.txt"
    text.write_text("no chart")
    with pytest.raises(LabelError, match="cannot be read as a vector file"):
        read_chart(text)
    plain = gpd.GeoDataFrame({"kind": ["a"]}, geometry=[shapely.box(0, 70, 1, 71)], crs="EPSG:4326")
    with pytest.raises(LabelError, match="column CT is missing.*'kind'"):
        read_chart(saved(plain, tmp_path, "plain.gpkg"))
    with pytest.raises(LabelError, match="no polygon"):
        read_chart(saved(plain.set_geometry([shapely.Point(0, 70)], crs="EPSG:4326"), tmp_path, "points.gpkg"))
    frame = chart_of([shapely.box(0, 70, 1, 71)])
    with pytest.raises(LabelError, match="does not touch S1"):
        rasterize_chart(chart_of_file_like(shapely.box(0, -71, 1, -70)), like=scene)
    with pytest.raises(ContractError, match="like= is neither"):
        rasterize_chart(chart_of_file_like(shapely.box(0, 70, 1, 71)), like=xr.Dataset())
    path = saved(frame, tmp_path, "two.gpkg", layer="one")
    frame.to_file(path, layer="two")
    with pytest.raises(LabelError, match=r"2 layers: \['one', 'two'\].*--layer"):
        read_chart(path)
    with pytest.raises(LabelError, match="'three' is not in"):
        read_chart(path, layer="three")
    assert len(read_chart(path, layer="two")) == 1
    with pytest.raises(OptionError, match="unknown to PROJ"):
        read_chart(path, layer="two", crs="EPSG:nonsense")
    with pytest.raises(OptionError, match="dominance"):
        ChartSettings(dominance=0.4)
    with pytest.raises(OptionError, match="'six' is not one of"):
        rasterize_chart(read_chart(path, layer="two"), like=scene, scheme="six")


def test_a_chart_without_crs(tmp_path: Path) -> None:
    path = saved(chart_of([shapely.box(0, 70, 1, 71)]), tmp_path, "chart.shp")
    path.with_suffix(".prj").unlink()
    with pytest.raises(LabelError, match="does not say its CRS.*--assume-crs"):
        read_chart(path)
    assert read_chart(path, assume_crs="EPSG:4326").crs.to_epsg() == 4326


@pytest.mark.data
def test_the_real_chart(real_data: Path) -> None:
    path = real_data / "ice-charts" / "cis_SGRDREA_20201102T.gpkg"
    if not path.exists():
        pytest.skip(f"no chart at {path}")
    chart = read_chart(path)
    assert len(chart) == 432
    assert Counter(chart.POLY_TYPE) == {"I": 296, "L": 128, "S": 7, "W": 1}
    assert chart.attrs["unknown_codes"] == {}
    rows = chart_classes(chart)
    assert sum(r.ice_class == 254 for r in rows) == 135
    # 91 and 92 are ten tenths; the ice-free polygon, two of open water and two of bergy water are none.
    assert Counter(r.sic_class for r in rows) == {10: 225, 9: 19, 8: 11, 7: 7, 5: 9, 2: 12, 1: 9, 0: 5, 255: 135}
    metres = chart.to_crs("EPSG:3413")
    left, bottom, right, top = metres.total_bounds
    grid = MapGrid(
        crs="EPSG:3413",
        left=left,
        top=top,
        spacing_m=5000,
        shape=(int((top - bottom) / 5000) + 1, int((right - left) / 5000) + 1),
    )
    labels = rasterize_chart(chart, like=xr.Dataset(coords=grid.coords()))
    pixels = labels["polygon"].values
    assert (pixels >= 0).sum() * 25e6 == pytest.approx(metres.area.sum(), rel=1e-3)
    for kind, wanted in (("I", True), ("L", False)):
        index = chart.index[chart.POLY_TYPE.eq(kind)]
        assert labels["valid"].values[np.isin(pixels, index)].all() == wanted
        assert np.isin(pixels, index).sum() * 25e6 == pytest.approx(metres.area[index].sum(), rel=0.01)
    assert labels.attrs["overlap"] == 0


@pytest.mark.parametrize("crs", ['LOCAL_CS["nowhere",UNIT["Meter",1.0]]', "walrus", ""])
def test_a_prj_without_a_place_is_replaced_by_the_crs_that_is_given(crs: str, tmp_path: Path) -> None:
    path = saved(chart_of([shapely.box(0, 70, 1, 71)]), tmp_path, "chart.shp")
    path.with_suffix(".prj").write_text(crs)
    with pytest.raises(LabelError, match="chart.shp (does not say its CRS|has a CRS without a place).*--assume-crs"):
        read_chart(path)
    assert read_chart(path, assume_crs="EPSG:4326").crs.to_epsg() == 4326


@pytest.mark.parametrize("x", [np.inf, -np.inf, np.nan, 1e4, 1e300])
def test_a_vertex_that_is_no_place_is_named(x: float, tmp_path: Path) -> None:
    with np.errstate(invalid="ignore"):
        good, bad = shapely.box(0, 70, 1, 71), shapely.Polygon([(0, 70), (x, 70), (1, 71), (0, 71)])
    path = saved(chart_of([good, bad]), tmp_path, "chart.fgb")
    with pytest.raises(LabelError, match="polygon 1 has a vertex at|damaged|cannot be read") as caught:
        read_chart(path)
    assert len(str(caught.value).splitlines()) == 1


# ---- dialects


def chart_says(
    tmp_path: Path, name: str = "chart.gpkg", scheme: str = "five_classes", **columns: Any
) -> gpd.GeoDataFrame:
    """A chart of these columns, written and read, with what frazil makes of each polygon beside it."""
    options = {key: columns.pop(key) for key in ("dialect", "unknown") if key in columns}
    n = len(next(iter(columns.values())))
    boxes = [shapely.box(i, 70, i + 1, 71) for i in range(n)]
    chart = read_chart(saved(gpd.GeoDataFrame(columns, geometry=boxes, crs="EPSG:4326"), tmp_path, name), **options)
    said = chart_classes(chart, scheme)
    for field in ("sic", "sod_class", "floe_class", "ice_class"):
        chart[field] = [getattr(s, field) for s in said]
    return chart


def test_edition_3_1_is_read_as_it_is_written(tmp_path: Path) -> None:
    """Ice free is 98, fast ice 09, brash ice 79, and 02 to 73 are thicknesses."""
    chart = chart_says(
        tmp_path,
        POLY_TYPE=["W", "I", "I", "I", "I", "I", "I"],
        CT=["98", "92", "92", "92", "92", "92", "91"],
        SA=["01", "87", "79", "70", "20", "94", "55"],
        FA=["", "09", "02", "05", "08", "10", "99"],
    )
    assert chart.attrs["dialect"] == "3.1"
    assert chart["sic"].tolist() == [0, 1, 1, 1, 1, 1, 0.95]
    assert chart["floe_class"].tolist() == [0, 255, 255, 3, 5, 6, 255]  # none, fast, brash, medium, giant, growlers
    assert chart["sod_class"].tolist() == [0, 3, 255, 4, 2, 255, 4]  # 200 cm is thick, 20 cm young, 75 cm medium
    assert chart["ice_class"].tolist() == [0, 3, 1, 4, 2, 255, 4]


@pytest.mark.parametrize(
    ("columns", "dialect"),
    [
        ({"CT": ["92"], "SA": ["84"]}, "2010"),
        ({"CT": ["92"], "SA": ["84"], "CF": ["08-9"]}, "2004"),
        ({"CT": ["92"], "SA": ["84"], "FP": ["08"], "FS": ["-9"]}, "2010"),
        ({"CT": ["92", "55"], "SA": ["84", "55"]}, "2010"),
        ({"CT": ["92", "98"], "SA": ["84", ""], "POLY_TYPE": ["I", "W"]}, "3.1"),
        ({"CT": ["92", "98"], "SA": ["84", "01"]}, "3.1"),
        ({"CT": ["92"], "SA": ["79"]}, "3.1"),
        ({"CT": ["92"], "SA": ["30"]}, "3.1"),
        ({"CT": ["92"], "SA": ["79"], "CF": ["08-9"]}, "3.1"),
        ({"CT": ["92"], "SA": ["70"]}, "2010"),
        ({"ICEACT": ["92"], "ICESOD": ["84"]}, "S-411"),
        ({"ICEACT": [92], "ICESOD": [79]}, "3.1"),
    ],
)
def test_dialects_by_columns_and_codes(columns: dict[str, Any], dialect: str, tmp_path: Path) -> None:
    assert chart_says(tmp_path, **columns).attrs["dialect"] == dialect


@pytest.mark.parametrize("where", ["chart.xml", "chart.shp.xml", "in the archive"])
@pytest.mark.parametrize(
    ("formvern", "dialect", "floe"),
    [
        ("3.1", "3.1", 255),
        ("SIGRID-3 Version 3.0", "3.1", 255),
        ("2.0", "2010", 6),
        ("2010", "2010", 6),
        ("1.0", "2004", 6),
        ("2004", "2004", 6),
        ("?", "2010", 6),
    ],
)
def test_metadata_say_the_edition(formvern: str, dialect: str, floe: int, where: str, tmp_path: Path) -> None:
    """Fast ice of 3.1 has the number that growlers had before."""
    path = saved(chart_of([shapely.box(0, 70, 1, 71)], FA=["09"]), tmp_path, "chart.shp")
    xml = f"<metadata><distinfo><formname>SIGRID-3</formname><formvern>{formvern}</formvern></distinfo>"
    path.with_name("chart.xml" if where == "in the archive" else where).write_text(xml + "</metadata>")
    if where == "in the archive":
        import zipfile

        with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
            for file in tmp_path.glob("chart.*"):
                archive.write(file, f"daily/{file.name}")
        path = tmp_path / "c.zip"
    chart = read_chart(path)
    assert chart.attrs["dialect"] == dialect
    assert [r.floe_class for r in chart_classes(chart)] == [floe]
    assert [r.floe_class for r in chart_classes(read_chart(path, dialect="3.1"))] == [255]


def test_codes_of_two_editions_are_asked_for(tmp_path: Path, scene: xr.Dataset) -> None:
    mixed: list[dict[str, Any]] = [
        {"CT": ["55", "92"], "SA": ["", "79"]},
        {"CT": ["92", "92"], "SA": ["79", "84"], "FA": ["", "22"]},
    ]
    for columns in mixed:
        with pytest.raises(LabelError, match="uses SA 79, and .*SIGRID-3 3.1 does not have.*--dialect"):
            chart_says(tmp_path, **columns)
    path = saved(chart_of([shapely.box(0, 70, 1, 71)], FA=["22"]), tmp_path, "chart.shp")
    path.with_suffix(".xml").write_text("<formvern>3.1</formvern>")
    with pytest.raises(LabelError, match="metadata say '3.1', and FA 22"):
        read_chart(path)
    assert read_chart(path, dialect="2010").attrs["dialect"] == "2010"
    with pytest.raises(OptionError, match=r"dialect '3' is not one of \['2004'"):
        read_chart(path, dialect="3")
    with pytest.raises(LabelError, match=r"does not have \(dialect 2010\): SA 79"):
        chart_says(tmp_path, CT=["92"], SA=["79"], dialect="2010")
    frame = chart_of_file_like(shapely.box(0, 60, 170, 85))
    assert rasterize_chart(frame, like=scene).attrs["dialect"] == "2010"


@pytest.mark.parametrize("total", ["", "00", "01", "02", "55", "98", "99", "-9"])
def test_water_is_water_whatever_its_unused_fields_hold(total: str, tmp_path: Path) -> None:
    chart = chart_says(tmp_path, POLY_TYPE=["W", "I"], CT=[total, "92"], SA=["", "84"])
    assert chart["sic"].iloc[0] == (0.05 if total == "01" else 0)
    assert (chart["ice_class"].iloc[0], chart["sod_class"].iloc[0], chart["floe_class"].iloc[0]) == (0, 0, 0)


def test_water_of_much_ice_is_a_contradiction(tmp_path: Path) -> None:
    columns: dict[str, Any] = {"POLY_TYPE": ["W", "I"], "CT": ["92", "92"], "SA": ["84", "84"]}
    with pytest.raises(LabelError, match="POLY_TYPE W of CT 92"):
        chart_says(tmp_path, **columns)
    assert chart_says(tmp_path, **columns, unknown="ignore")["ice_class"].tolist() == [255, 2]


def test_glacier_ice_is_not_ice_free(tmp_path: Path) -> None:
    chart = chart_says(tmp_path, POLY_TYPE=["I", "I"], CT=["98", "92"], SA=["98", "84"])
    assert chart.attrs["dialect"] == "2010"
    assert np.isnan(chart["sic"].iloc[0])
    assert chart["ice_class"].tolist() == [255, 2]


@pytest.mark.parametrize(
    ("act", "apc", "sod", "flz", "said"),
    [
        ("91", "10,60,30", "95,86,83", "99,99,99", ("91", "10", "60", "30", "95", "86", "83", "99", "99", "99")),
        ("91", "106030", "958683", "050403", ("91", "10", "60", "30", "95", "86", "83", "04", "03", "02")),
        ("91", "10,60,30", "97,95,86,83,81", "", ("91", "10", "60", "30", "95", "86", "83", "", "", "")),
        ("92", "", "85", "9", ("92", "", "", "", "85", "", "", "08", "", "")),
        ("1", "", "", "", ("00", "", "", "", "", "", "", "", "", "")),
        ("92", "-9", "70", "11", ("92", "", "", "", "70", "", "", "10", "", "")),
    ],
)
def test_ice_objects_of_s_411(
    act: str,
    apc: str,
    sod: str,
    flz: str,
    said: tuple[str, ...],
    tmp_path: Path,
) -> None:
    chart = chart_says(tmp_path, ICEACT=[act], iceapc=[apc], ICESOD=[sod], ICEFLZ=[flz])
    assert chart.attrs["dialect"] == "S-411"
    assert tuple(chart.iloc[0][list(COLUMNS)][["CT", "CA", "CB", "CC", "SA", "SB", "SC", "FA", "FB", "FC"]]) == said
    numbers = chart_says(tmp_path, "n.gpkg", ICEACT=[92, 91], ICESOD=[85, 88])
    assert numbers["ice_class"].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("code", "cm"),
    [
        ("02", 2),
        ("50", 50),
        ("51", 55),
        ("59", 95),
        ("60", 100),
        ("69", 190),
        ("70", 200),
        ("73", 350),
        ("74", None),
        ("01", None),
        ("81", None),
        ("", None),
    ],
)
def test_thicknesses_of_edition_3_1(code: str, cm: int | None) -> None:
    assert thickness_cm(code) == cm
    if cm is not None:
        wmo = (
            "81"
            if cm < 10
            else "84"
            if cm < 15
            else "85"
            if cm < 30
            else "87"
            if cm < 70
            else "91"
            if cm < 120
            else "93"
        )
        assert translate("SA", code, "3.1", {}) == wmo


def test_forms_of_all_editions_mean_the_same_things() -> None:
    """By the names of the things, from the tables of the editions."""
    forms = {
        "pancake": ("22", "22", "01", "01"),
        "brash": ("01", "01", "02", "02"),
        "cake": ("02", "02", "03", "03"),
        "small": ("03", "03", "04", "04"),
        "medium": ("04", "04", "05", "05"),
        "big": ("05", "05", "06", "06"),
        "vast": ("06", "06", "07", "07"),
        "giant": ("07", "07", "08", "08"),
        "fast": ("08", "08", "09", "09"),
        "growlers": ("09", "09", "10", "10"),
        "bergs": ("10", "10", None, "11"),
        "unknown": ("99",) * 4,
    }
    for codes in forms.values():
        same = {translate("FA", c, d, {}) for c, d in zip(codes, DIALECTS, strict=True) if c is not None}
        assert len(same) == 1
    assert translate("FA", "22", "3.1", {}) is None
    assert len({translate("FA", f"{n:02d}", "3.1", {}) for n in range(1, 11)}) == 10


# ---- polygons round a pole


CAPS = [
    shapely.box(-180, -90, 180, -50),
    shapely.box(-180, -90, 180, 79),
    shapely.box(-180, 79, 180, 90),
    shapely.box(0, -90, 360, 79.2),
    shapely.box(-180, -90, 180, 90),
    shapely.box(-180, -89.9, 180, -60),
    shapely.box(100, -90, 260, 90),
    shapely.box(-190, 70, -170, 85),
    shapely.box(0, 50, 20, 88),
]


@pytest.mark.parametrize("cap", CAPS, ids=lambda c: str(c.bounds))
@pytest.mark.parametrize(
    ("centre", "crs"),
    [
        ((5, 79), "EPSG:3413"),
        ((180, 79), "EPSG:3413"),
        ((0, 90), "EPSG:3413"),
        ((5, 79), "EPSG:32631"),
        ((5, 79), "EPSG:3035"),
        ((5, -75), "EPSG:3031"),
        ((120, -60.0), "EPSG:3031"),
    ],
)
def test_polygons_round_a_pole_cover_what_they_cover(
    cap: shapely.Polygon, centre: tuple[float, float], crs: str
) -> None:
    """By longitude and latitude of every pixel; the projections have no image of one pole."""
    like = make_map(codes=np.zeros((40, 50), np.uint8), crs=crs, centre=centre, spacing_m=3000)
    grid = MapGrid.of(like)
    longitude, latitude = Transformer.from_crs(crs, 4326, always_xy=True).transform(*np.meshgrid(grid.x, grid.y))
    west, south, east, north = cap.bounds
    truth = ((longitude - west) % 360 <= east - west) & (latitude >= south) & (latitude <= north)
    owner, _ = place(gpd.GeoDataFrame(geometry=[cap], crs=4326), like).burn()
    assert (owner == 0).mean() == pytest.approx(truth.mean(), abs=0.02)
    assert ((owner == 0) != truth).mean() < 0.02


@pytest.mark.parametrize("edge", [-50, 60, 79])
@pytest.mark.parametrize("crs", ["EPSG:3031", "EPSG:6932", "EPSG:3857"])
def test_a_chart_of_the_other_pole_covers_what_it_covers(edge: int, crs: str) -> None:
    """A disc round the south pole in a projection of the south, up to a latitude: seen from the north."""
    like = make_map(codes=np.zeros((40, 50), np.uint8), centre=(5, 79), spacing_m=3000)
    around = np.linspace(-180, 180, 721)
    ring = np.column_stack(Transformer.from_crs(4326, crs, always_xy=True).transform(around, np.full(721, float(edge))))
    if crs == "EPSG:3857":
        ring = np.concatenate([ring, [[ring[-1, 0], -2e7], [ring[0, 0], -2e7]]])
    frame = gpd.GeoDataFrame(geometry=[shapely.Polygon(ring)], crs=crs)
    grid = MapGrid.of(like)
    latitude = Transformer.from_crs("EPSG:3413", 4326, always_xy=True).transform(*np.meshgrid(grid.x, grid.y))[1]
    owner, _ = place(frame, like).burn()
    assert ((owner == 0) != (latitude <= edge)).mean() < 0.03


def test_no_patch_of_a_scene_of_the_north_is_called_after_the_south(scene: xr.Dataset) -> None:
    for shape in CAPS[:1] + [shapely.box(-180, -90, 180, south) for south in range(-85, 60, 12)]:
        assert not len(place(gpd.GeoDataFrame(geometry=[shape], crs=4326), scene).shapes)
    whole, _ = place(gpd.GeoDataFrame(geometry=[CAPS[4]], crs=4326), scene).burn()
    assert (whole == 0).all()


def test_a_projection_file_with_foreign_letters_is_one_line(tmp_path: Path) -> None:
    """pyogrio ended in an UnboundLocalError; without the file the chart is read."""
    frame = gpd.GeoDataFrame({"kind": ["W"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326)
    frame.to_file(tmp_path / "a.shp", engine="pyogrio")
    prj = tmp_path / "a.prj"
    prj.write_bytes(prj.read_bytes().replace(b'"Degree"', b'"Degr\xe9"').replace(b"GCS_WGS", b"X_WGS"))
    with pytest.raises(LabelError, match=r"a\.shp has a CRS that is no text.*--assume-crs"):
        read_polygons(tmp_path / "a.shp")
    prj.unlink()
    assert len(read_polygons(tmp_path / "a.shp", assume_crs="EPSG:4326")) == 1
