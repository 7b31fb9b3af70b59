"""Styles and projects as QGIS itself opens and draws them, colour by colour; and what must hold without it.

QGIS comes with the system's Python, not with ours: it is run as another process, and tests that need it skip where it
is not installed.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import xml.etree.ElementTree as ET
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import xarray as xr
from PIL import Image

from frazil.conventions import CLASS_NODATA, FIVE_CLASSES, METOCEAN, QUALITY_FLAGS
from frazil.errors import OptionError
from frazil.maps.export import export
from frazil.maps.geotiff import class_colours
from frazil.maps.panels import DOUBTS, EDGE, RAMPS
from frazil.maps.qgis_rasters import occurring
from frazil.testing import make_map, make_phenomena_map

OPENER = Path(__file__).with_name("open_in_qgis.py")
PYTHONS = ("/usr/bin/python3", "python3")
SIDE, PIXELS = 600, 200
BACKGROUND = (1, 2, 3)
BIT = {name: mask for name, (mask, _) in QUALITY_FLAGS.items()}


@cache
def python_of_qgis() -> str | None:
    """A Python that has QGIS; None where none of `PYTHONS` has."""
    for name in PYTHONS:
        found = shutil.which(name)
        if (
            found
            and subprocess.run([found, "-c", "import qgis.core"], capture_output=True, env=environment()).returncode
            == 0
        ):
            return found
    return None


def environment() -> dict[str, str]:
    ours = ("PYTHONPATH", "PROJ_DATA", "PROJ_LIB", "GDAL_DATA")  # of other versions than those of QGIS
    return {k: v for k, v in os.environ.items() if k not in ours} | {"QT_QPA_PLATFORM": "offscreen"}


def drawn(source: str | Path, folder: Path, *layers: str) -> tuple[dict[str, Any], np.ndarray]:
    """What QGIS says of a project or file, and its picture of it, uint8 (row, column, 3)."""
    python = python_of_qgis()
    if python is None:
        pytest.skip(f"QGIS is not installed: none of {', '.join(PYTHONS)} has the module qgis.core.")
    picture = folder / "picture.png"
    command = [python, str(OPENER), str(source), str(picture), *layers]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), np.array(Image.open(picture).convert("RGB"))


@pytest.fixture(scope="module")
def ice() -> xr.Dataset:
    return make_map(shape=(PIXELS, PIXELS), noise=0.3, radar=("HH", "HV"))


@pytest.fixture(scope="module")
def sea() -> xr.Dataset:
    return make_phenomena_map(shape=(PIXELS, PIXELS), radar=("VV",))


@pytest.fixture(scope="module")
def ice_folder(ice: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a map, moved after it was written."""
    first, then = (tmp_path_factory.mktemp("qgis") / name for name in ("first", "then"))
    export(ice, first)
    return first.rename(then)


@pytest.fixture(scope="module")
def sea_folder(sea: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qgis") / "map"
    export(sea, folder)
    return folder


def middles(picture: np.ndarray) -> np.ndarray:
    """A picture at the middles of the map's pixels, of which each is drawn three by three."""
    return picture[1::3, 1::3]


def in_colours(codes: np.ndarray, colours: dict[int, tuple[int, ...]]) -> np.ndarray:
    table = np.zeros((256, 3), np.uint8)
    for code, colour in colours.items():
        table[code] = colour[:3]
    table[CLASS_NODATA] = BACKGROUND
    return table[codes]


def test_the_project_opens_where_it_lies(ice_folder: Path, tmp_path: Path) -> None:
    """All layers are found after the folder was moved, in their groups; classes, edge and radar are shown."""
    told, picture = drawn(ice_folder / "map.qgz", tmp_path)
    assert told["read"]
    assert told["crs"] == "EPSG:3413"
    assert told["errors"] == []
    assert all(layer["valid"] for layer in told["layers"].values())
    assert list(told["groups"]) == ["Vectors", "Classes", "Doubts", "Probabilities", "Radar"]
    assert {i for ids in told["groups"].values() for i in ids} == set(told["layers"]), "a layer has lost its place"
    assert told["shown"] == ["vector_ice_edge", "raster_class_0", "raster_quicklook_0"]
    assert {layer["source"].split("|")[0] for layer in told["layers"].values()} <= {
        str(p) for p in ice_folder.iterdir()
    }
    edge = tuple(bytes.fromhex(EDGE[1:]))
    assert (picture == edge).all(-1).sum() > 100


def test_classes_are_drawn_in_the_colours_of_the_scheme(ice: xr.Dataset, ice_folder: Path, tmp_path: Path) -> None:
    """Pixel by pixel, in the project and where the raster is opened alone."""
    wanted = in_colours(ice["ice_class"].values, dict(class_colours(FIVE_CLASSES)))
    for source, layers in ((ice_folder / "map.qgz", ["raster_class_0"]), (ice_folder / "class.tif", [])):
        np.testing.assert_array_equal(middles(drawn(source, tmp_path, *layers)[1]), wanted)


def test_each_doubt_is_drawn_where_it_is_flagged(ice: xr.Dataset, ice_folder: Path, tmp_path: Path) -> None:
    flags = ice["quality_flags"].values
    told, _ = drawn(ice_folder / "map.qgz", tmp_path)
    by_name = {layer["name"]: i for i, layer in told["layers"].items()}
    seen = [name for name in DOUBTS if (flags & BIT[name]).any()]
    assert {"coast", "border", "undecided"} <= set(seen)
    for name in seen:
        title, colour = DOUBTS[name]
        picture = middles(drawn(ice_folder / "map.qgz", tmp_path, by_name[title])[1])
        np.testing.assert_array_equal((picture == colour).all(-1), flags & BIT[name] > 0)
        assert ((picture == colour) | (picture == BACKGROUND)).all()


def test_the_most_serious_doubt_wins(ice: xr.Dataset, ice_folder: Path, tmp_path: Path) -> None:
    """``flags.tif`` by itself, against painting one flag over the other, as the pictures of maps do."""
    flags = ice["quality_flags"].values
    wanted = np.empty((*flags.shape, 3), np.uint8)
    wanted[:] = BACKGROUND
    wanted[flags & BIT["land"] > 0] = (150, 150, 145)
    for name, (_, colour) in DOUBTS.items():
        wanted[(flags & BIT[name] > 0) & (flags & (BIT["land"] | BIT["nodata"]) == 0)] = colour
    np.testing.assert_array_equal(middles(drawn(ice_folder / "flags.tif", tmp_path)[1]), wanted)


def test_percentages_are_drawn_on_their_ramps(ice: xr.Dataset, ice_folder: Path, tmp_path: Path) -> None:
    """Alone, and class by class in the project; within two steps of 255 of the ramp."""
    told, _ = drawn(ice_folder / "map.qgz", tmp_path)
    by_name = {layer["name"]: i for i, layer in told["layers"].items()}
    young = by_name["Probability: Young ice"]
    cases = (
        (drawn(ice_folder / "ice_probability.tif", tmp_path)[1], ice["ice_probability"].values, "ice"),
        (drawn(ice_folder / "confidence.tif", tmp_path)[1], ice["confidence"].values, "confidence"),
        (drawn(ice_folder / "map.qgz", tmp_path, young)[1], ice["probability"].values[2], "confidence"),
        (drawn(ice_folder / "probability.tif", tmp_path)[1], ice["probability"].values[1], "confidence"),
    )
    for picture, percent, name in cases:
        stops = np.array(RAMPS[name], float)
        at = np.linspace(0, 100, len(stops))
        wanted = np.stack([np.interp(percent, at, stops[:, k]) for k in range(3)], -1)
        wanted[percent == 255] = BACKGROUND
        assert np.abs(middles(picture) - wanted).max() <= 2


def test_radar_is_drawn_as_its_bytes(ice: xr.Dataset, ice_folder: Path, tmp_path: Path) -> None:
    grey = ice["quicklook"].values.astype(float)
    grey = (grey - 1) / 254 * 255
    hidden = ice["quicklook"].values[0] == 0
    for source, layers, bands in (
        (ice_folder / "quicklook.tif", [], (1, 0, 0)),
        (ice_folder / "map.qgz", ["raster_quicklook_3"], (2, 2, 2)),
    ):
        wanted = np.stack([grey[band] for band in bands], -1)
        wanted[hidden] = BACKGROUND
        assert np.abs(middles(drawn(source, tmp_path, *layers)[1]) - wanted).max() <= 1.5


def test_polygons_are_drawn_in_the_colours_of_the_scheme(ice_folder: Path, sea_folder: Path, tmp_path: Path) -> None:
    """In the project, and as QGIS finds their style in the GeoPackage: each large polygon at a point inside it."""
    colours = {c.name: c.colour for c in FIVE_CLASSES.classes}
    told, picture = drawn(ice_folder / "map.qgz", tmp_path, "vector_ice_classes")
    frame = gpd.read_file(ice_folder / "ice.gpkg", layer="ice_classes")
    left, bottom, right, top = told["extent"]
    tested = set()
    for name, shape in zip(frame["name"], frame.geometry, strict=True):
        inner = shape.buffer(-3 * (right - left) / SIDE)  # away from its outline
        if name in colours and not inner.is_empty:
            point = inner.representative_point()
            row, column = (
                int(SIDE * share) for share in ((top - point.y) / (top - bottom), (point.x - left) / (right - left))
            )
            assert tuple(picture[row, column]) == colours[name]
            tested.add(name)
    assert tested == set(colours)
    for source, renderer in (
        (f"{ice_folder / 'ice.gpkg'}|layername=ice_classes", "categorizedSymbol"),
        (f"{ice_folder / 'ice.gpkg'}|layername=ice_edge", "singleSymbol"),
        (f"{sea_folder / 'phenomena.gpkg'}|layername=phenomena", "categorizedSymbol"),
    ):
        told, picture = drawn(source, tmp_path)
        assert told["layers"]["layer"]["renderer"] == renderer
        if renderer == "singleSymbol":
            assert (picture == tuple(bytes.fromhex(EDGE[1:]))).all(-1).sum() > 100


def test_a_map_of_phenomena_opens_as_well(sea: xr.Dataset, sea_folder: Path, tmp_path: Path) -> None:
    told, picture = drawn(sea_folder / "map.qgz", tmp_path, "raster_dominant_0")
    assert all(layer["valid"] for layer in told["layers"].values())
    assert told["shown"] == ["raster_dominant_0", "raster_quicklook_0"]
    np.testing.assert_array_equal(middles(picture), in_colours(sea["dominant"].values, dict(class_colours(METOCEAN))))
    by_name = {layer["name"]: i for i, layer in told["layers"].items()}
    rain = next(c for c in METOCEAN.classes if c.name == "rain_cells")
    picture = middles(drawn(sea_folder / "map.qgz", tmp_path, by_name[rain.title])[1])
    found = (sea["phenomena"].values >> rain.code & 1).astype(bool)
    np.testing.assert_array_equal((picture == rain.colour).all(-1), found)
    assert drawn(sea_folder / "score.tif", tmp_path)[0]["layers"]["layer"]["renderer"] == "singlebandpseudocolor"


@pytest.mark.parametrize("layer", ["raster_class_0", "vector_ice_edge", "vector_ice_classes"])
def test_time_can_be_stepped_through(layer: str, ice_folder: Path, tmp_path: Path) -> None:
    """A layer is drawn in the hour of its scene and in no other."""
    project = ice_folder / "map.qgz"
    for hour, there in ((6, False), (7, True), (8, False)):
        span = (f"2018-01-16T{hour:02}:00:00Z", f"2018-01-16T{hour:02}:59:59Z")
        told, picture = drawn(project, tmp_path, "--time", *span, layer)
        assert (picture != BACKGROUND).any() == there
    if layer.startswith("vector"):
        assert told["layers"][layer]["fields"]["start_time"] == "DateTime"


def test_the_time_of_shapes_is_a_time(ice: xr.Dataset, sea_folder: Path, ice_folder: Path) -> None:
    """As geopandas reads it: that of the map, in UTC."""
    for path, name in ((ice_folder / "ice.gpkg", "ice_edge"), (sea_folder / "phenomena.gpkg", "phenomena")):
        times = gpd.read_file(path, layer=name)["start_time"]
        assert len(times)
        assert (times.dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ") == ice.attrs["start_time"]).all()
        assert str(times.dt.tz) == "UTC"


@pytest.mark.parametrize("kind", ["ice", "sea"])
def test_the_project_names_files_that_are_there_and_no_place(kind: str, ice_folder: Path, sea_folder: Path) -> None:
    folder = ice_folder if kind == "ice" else sea_folder
    with zipfile.ZipFile(folder / "map.qgz") as archive:
        assert archive.namelist() == ["map.qgs"]
        text = archive.read("map.qgs").decode()
    root = ET.fromstring(text)
    assert str(folder.parent) not in text
    sources = [e.text or "" for e in root.iter("datasource")]
    assert all(s.startswith("./") and (folder / s.split("|")[0]).is_file() for s in sources)
    assert {s.split("|")[0][2:] for s in sources} == {p.name for p in folder.iterdir() if p.suffix in (".tif", ".gpkg")}
    ids = [e.text or "" for e in root.iter("id")]
    assert len(set(ids)) == len(ids) == len(sources)
    assert min(map(len, ids)) > 10, "QGIS would replace it"
    assert sorted(e.get("id", "") for e in root.iter("layer-tree-layer")) == sorted(ids)


def test_equal_maps_give_equal_projects(ice: xr.Dataset, ice_folder: Path, tmp_path: Path) -> None:
    again = export(ice, tmp_path / "again", formats=["geotiff", "geopackage", "qgis"])["project"]
    assert again.read_bytes() == (ice_folder / "map.qgz").read_bytes()


def test_a_project_of_what_was_written(ice: xr.Dataset, tmp_path: Path) -> None:
    """Rasters alone; and of nothing no project."""
    with zipfile.ZipFile(export(ice, tmp_path / "map", formats=["geotiff", "qgis"])["project"]) as archive:
        root = ET.fromstring(archive.read("map.qgs"))
    assert {e.text for e in root.iter("provider")} == {"gdal"}
    with pytest.raises(OptionError, match="nothing that a QGIS project could show"):
        export(ice, tmp_path / "none", formats=["netcdf", "qgis"])
    assert not (tmp_path / "none").exists()


def test_styles_of_vectors_are_found_by_their_table(ice_folder: Path, sea_folder: Path) -> None:
    for path, layers in (
        (ice_folder / "ice.gpkg", {"ice_edge", "ice_classes"}),
        (sea_folder / "phenomena.gpkg", {"phenomena"}),
    ):
        database = sqlite3.connect(path)
        rows = database.execute("SELECT f_table_name, styleQML, useAsDefault FROM layer_styles").fetchall()
        database.close()
        assert {name for name, _, default in rows if default} == layers
        assert all(ET.fromstring(text).find("renderer-v2") is not None for _, text, _ in rows)


def test_numbers_that_occur() -> None:
    rng = np.random.default_rng(0)
    values = rng.choice(np.array([0, 5, 513, 65535], np.uint16), (700, 30))
    assert occurring(values) == np.unique(values).tolist()
