"""The folder of a map, read back by rasterio, netCDF4, xarray, pyogrio and by hand."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import jsonschema
import netCDF4
import numpy as np
import pystac
import pytest
import rasterio
import rasterio.shutil
import shapely
import xarray as xr
from pyproj import Geod, Transformer
from rio_cogeo.cogeo import cog_validate

from frazil.conventions import BINARY, CLASS_LAND, CLASS_NODATA, FIVE_CLASSES, QUALITY_FLAGS, check_map
from frazil.errors import (
    ContractError,
    FrazilError,
    OptionError,
    OutputError,
    OutputExistsError,
    ProductError,
    ProductNotFoundError,
)
from frazil.geojson import to_lonlat
from frazil.maps.edges import ice_edge
from frazil.maps.export import export, open_map
from frazil.maps.layers import files_of
from frazil.maps.netcdf import write_netcdf
from frazil.maps.polygons import ice_polygons
from frazil.marks import LIST
from frazil.scene.grid import MapGrid
from frazil.testing import make_map, make_phenomena_map

NOTE = "Pixels rebuilt from the quick-look; trained on simulated scenes only."
ATTRIBUTION = "Contains modified Copernicus data"
PLACES = {"fram": (-10, 78), "pole": (0, 90), "near the pole": (175, 89.9), "antimeridian": (180, 72)}

#: Core of the STAC 1.1.0 item schema, and what the extensions used here demand of the fields they define.
CLASSES = {
    "type": "array",
    "minItems": 1,
    "items": {
        "required": ["value", "name"],
        "properties": {
            "value": {"type": "integer"},
            "name": {"type": "string", "pattern": "^[0-9A-Za-z-_]+$"},
            "color_hint": {"type": "string", "pattern": "^([0-9A-Fa-f]{6})$"},
        },
    },
}
ITEM_SCHEMA = {
    "type": "object",
    "required": ["stac_version", "type", "id", "geometry", "bbox", "properties", "links", "assets", "stac_extensions"],
    "properties": {
        "stac_version": {"const": "1.1.0"},
        "type": {"const": "Feature"},
        "id": {"type": "string", "minLength": 1, "pattern": "^[A-Za-z0-9_.-]+$"},
        "stac_extensions": {"type": "array", "uniqueItems": True, "items": {"type": "string", "format": "uri"}},
        "bbox": {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number"}},
        "geometry": {
            "required": ["type", "coordinates"],
            "properties": {"type": {"enum": ["Polygon", "MultiPolygon"]}},
        },
        "properties": {
            "required": ["datetime", "start_datetime", "end_datetime", "proj:code"],
            "properties": {
                "datetime": {"type": "string", "pattern": r"(\+00:00|Z)$"},
                "start_datetime": {"type": "string", "pattern": "Z$"},
                "end_datetime": {"type": "string", "pattern": "Z$"},
                "gsd": {"type": "number", "exclusiveMinimum": 0},
                "proj:code": {"type": ["string", "null"]},
                "proj:shape": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "integer"}},
                "proj:transform": {"type": "array", "minItems": 6, "maxItems": 9, "items": {"type": "number"}},
                "proj:bbox": {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number"}},
                "sar:frequency_band": {"enum": ["P", "L", "S", "C", "X", "Ku", "K", "Ka"]},
                "sar:polarizations": {"type": "array", "items": {"enum": ["HH", "VV", "HV", "VH"]}},
                "sat:absolute_orbit": {"type": "integer", "minimum": 1},
            },
        },
        "assets": {
            "additionalProperties": {
                "required": ["href", "type", "roles"],
                "properties": {
                    "href": {"type": "string", "pattern": r"^\./[^/]+$"},
                    "roles": {"type": "array", "minItems": 1, "items": {"type": "string"}},
                    "classification:classes": CLASSES,
                    "classification:bitfields": {
                        "type": "array",
                        "items": {
                            "required": ["offset", "length", "classes"],
                            "properties": {"length": {"minimum": 1}, "classes": CLASSES},
                        },
                    },
                },
            }
        },
    },
}


@pytest.fixture(scope="module")
def ice_map() -> xr.Dataset:
    return make_map(
        shape=(700, 620),
        spacing_m=120,
        note=NOTE,
        noise=0.4,
        model_card="card-7",
        radar=("HH", "HV"),
        attribution=ATTRIBUTION,
    )


@pytest.fixture(scope="module")
def folder(ice_map: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "map"
    export(ice_map, path, timings={"predict": 1.25})
    return path


def test_every_file_is_there_and_nothing_else(ice_map: xr.Dataset, tmp_path: Path) -> None:
    done: list[str] = []
    files = export(ice_map, tmp_path / "deep" / "map", progress=done.append)
    assert all(path.is_file() for path in files.values())
    assert list(files) == [name for choice in files_of(ice_map, "exclusive").values() for name in choice]
    companions = {
        "class.tif.aux.xml",
        LIST,
        *(p.with_suffix(".qml").name for p in files.values() if p.suffix == ".tif"),
    }
    assert {p.name for p in (tmp_path / "deep" / "map").iterdir()} == {p.name for p in files.values()} | companions
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["map"]
    assert {"class.tif", "map.nc", "ice edge", "map.png"} <= set(done)


@pytest.mark.parametrize(
    ("file", "variable", "nodata", "dtype"),
    [
        ("class.tif", "ice_class", 255, "uint8"),
        ("probability.tif", "probability", 255, "uint8"),
        ("ice_probability.tif", "ice_probability", 255, "uint8"),
        ("confidence.tif", "confidence", 255, "uint8"),
        ("flags.tif", "quality_flags", 1, "uint16"),
        ("quicklook.tif", "quicklook", 0, "uint8"),
    ],
)
def test_geotiffs(ice_map: xr.Dataset, folder: Path, file: str, variable: str, nodata: int, dtype: str) -> None:
    valid, errors, warnings = cog_validate(folder / file, strict=True)
    assert valid, (errors, warnings)
    values = ice_map[variable].values
    with rasterio.open(folder / file) as dataset:
        np.testing.assert_array_equal(dataset.read().squeeze(), values)
        assert dataset.crs.to_epsg() == 3413
        assert dataset.transform == MapGrid.of(ice_map).transform
        assert dataset.nodata == nodata
        assert set(dataset.dtypes) == {dtype}
        tags = dataset.tags()
        assert tags["product"] == ice_map.attrs["product"]
        assert tags["note"] == NOTE
        assert tags["model"] == "made-up"
        assert dataset.overviews(1) == [2]
        if variable == "probability":
            assert dataset.descriptions == FIVE_CLASSES.names
            assert set(dataset.units) == {"percent"}
        if variable == "quality_flags":
            assert tags["bit_512"].startswith("undecided: ")
        if variable == "quicklook":
            assert dataset.descriptions == ("HH", "HV", "HV/HH")
            assert tags["HV_db"] == "1 is -35 dB, 255 is -10 dB"
            assert tags["attribution"] == ATTRIBUTION


@pytest.mark.parametrize("make", [make_map, make_phenomena_map])
def test_the_radar_image_is_there_where_a_scene_was(make: Callable[..., xr.Dataset], tmp_path: Path) -> None:
    """In file, item, summary and NetCDF alike; of a map that was made from no scene in none of them."""
    for radar, there in ((("HH", "HV"), True), ((), False)):
        ds, folder = make(shape=(40, 50), radar=radar), tmp_path / f"map-{there}"
        files = export(ds, folder)
        assert ("quicklook" in files) == (folder / "quicklook.tif").exists() == there
        assert ("quicklook" in json.loads(files["stac"].read_text())["assets"]) == there
        told = json.loads(files["summary"].read_text())["quicklook_db"]
        assert told == ({"HH": [-30, 0], "HV": [-35, -10], "HV/HH": [-25, 0]} if there else None)
        back = open_map(folder)
        assert ("quicklook" in back) == there
        if there:
            np.testing.assert_array_equal(back["quicklook"].values, ds["quicklook"].values)
            assert back["quicklook"].attrs["stretch_db"] == ds["quicklook"].attrs["stretch_db"]


def test_overviews_do_not_invent(ice_map: xr.Dataset, folder: Path) -> None:
    """Averages of codes would be other codes; averages with nodata would be other percentages."""
    codes = set(np.unique(ice_map["ice_class"].values))
    flags = set(np.unique(ice_map["quality_flags"].values))
    with rasterio.open(folder / "class.tif", overview_level=0) as dataset:
        assert set(np.unique(dataset.read(1))) <= codes
    with rasterio.open(folder / "flags.tif", overview_level=0) as dataset:
        assert set(np.unique(dataset.read(1))) <= flags
    with rasterio.open(folder / "confidence.tif", overview_level=0) as dataset:
        reduced = dataset.read(1)
    assert set(np.unique(reduced)) <= {*range(101), 255}
    whole = ice_map["confidence"].values[:700, :620].reshape(350, 2, 310, 2).astype(float)
    valid = whole != 255
    mean = np.where(valid, whole, 0).sum(axis=(1, 3)) / np.maximum(valid.sum(axis=(1, 3)), 1)
    known = valid.any(axis=(1, 3))
    np.testing.assert_array_equal(known, reduced != 255)
    assert np.abs(mean[known] - reduced[known]).max() <= 0.5001


def test_colours_and_category_names(ice_map: xr.Dataset, folder: Path, tmp_path: Path) -> None:
    with rasterio.open(folder / "class.tif") as dataset:
        palette = dataset.colormap(1)
        assert dataset.colorinterp[0].name == "palette"
    for c in FIVE_CLASSES.classes:
        assert palette[c.code][:3] == c.colour
    assert palette[CLASS_LAND][:3] == (150, 150, 145)
    # GDAL itself must find the names: its VRT driver copies what it reads
    rasterio.shutil.copy(folder / "class.tif", tmp_path / "class.vrt", driver="VRT")
    names = [e.text for e in ET.parse(tmp_path / "class.vrt").iter("Category")]
    assert names[:5] == list(FIVE_CLASSES.titles)
    assert (names[CLASS_LAND], names[CLASS_NODATA]) == ("Land", "No data")
    style = ET.parse(folder / "class.qml").getroot()
    entries = {e.get("value"): (e.get("label"), e.get("color")) for e in style.iter("paletteEntry")}
    assert entries["3"] == ("Level first-year ice", "#ffff00")
    assert entries["253"] == ("Undecided", "#424c5c")
    assert palette[253][:3] == (66, 76, 92)
    assert names[253] == "Undecided"
    assert len(entries) == 7


def test_netcdf_by_other_readers(ice_map: xr.Dataset, folder: Path) -> None:
    with netCDF4.Dataset(folder / "map.nc") as file:
        file.set_auto_mask(False)
        assert file.Conventions.startswith("CF-1.11")
        assert file.note == NOTE
        for name in ("probability", "ice_probability", "ice_class", "confidence", "quality_flags"):
            variable = file[name]
            np.testing.assert_array_equal(variable[:], ice_map[name].values)
            assert variable.grid_mapping == "spatial_ref"
            assert variable.filters()["zlib"]
        assert file["ice_class"]._FillValue == 255
        assert file["ice_class"].flag_values.dtype == np.uint8
        assert file["ice_class"].flag_meanings.split() == [*FIVE_CLASSES.names, "undecided", "land"]
        assert list(file["quality_flags"].flag_masks) == [mask for mask, _ in QUALITY_FLAGS.values()]
        assert file["spatial_ref"].grid_mapping_name == "polar_stereographic"
        assert file["x"].standard_name == "projection_x_coordinate"
        assert list(file["category"][:]) == list(range(5))
        assert [str(word) for word in file["category_name"][:]] == list(FIVE_CLASSES.names)
    with xr.open_dataset(folder / "map.nc", engine="netcdf4") as other:  # decoded: percent as float, NaN outside
        assert np.isnan(other["confidence"].values[ice_map["confidence"].values == 255]).all()
    with rasterio.open(f"netcdf:{folder / 'map.nc'}:ice_class") as dataset:
        assert dataset.crs.to_epsg() == 3413
        assert dataset.transform.almost_equals(MapGrid.of(ice_map).transform)
        np.testing.assert_array_equal(dataset.read(1), ice_map["ice_class"].values)


@pytest.mark.parametrize("shape", [(2, 2), (512, 512), (513, 3), (5, 1025)])
def test_open_map_gives_the_map_back(shape: tuple[int, int], tmp_path: Path) -> None:
    ice_map = make_map(shape=shape, note=NOTE, scheme=BINARY)
    export(ice_map, tmp_path / "map", formats=["netcdf"])
    for path in (tmp_path / "map", str(tmp_path / "map" / "map.nc")):
        again = open_map(path)
        xr.testing.assert_identical(again, ice_map)
        assert check_map(again) is BINARY
        assert again["probability"].dtype == np.uint8
    export(again, tmp_path / "again", formats=["netcdf"])
    xr.testing.assert_identical(open_map(tmp_path / "again"), ice_map)


def test_maps_written_by_several_threads_at_once_are_whole(tmp_path: Path) -> None:
    """h5py 3.11 to 3.15 wrote chunks without its lock: the lowest version that is allowed failed here each time."""
    from concurrent.futures import ThreadPoolExecutor

    codes = np.random.default_rng(0).integers(0, 2, (1100, 1100)).astype(np.uint8)
    ice_map = make_map(codes=codes)
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda i: write_netcdf(ice_map, tmp_path / f"{i}.nc"), range(12)))
    for path in paths:
        np.testing.assert_array_equal(open_map(path)["ice_class"], codes)


def test_open_map_refuses_in_one_line(folder: Path, tmp_path: Path) -> None:
    data = (folder / "map.nc").read_bytes()
    (tmp_path / "cut.nc").write_bytes(data[: len(data) // 2])
    (tmp_path / "stub.nc").write_bytes(data[:200])
    (tmp_path / "empty.nc").write_bytes(b"")
    (tmp_path / "text.nc").write_text("not a map")
    xr.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "foreign.nc", engine="netcdf4")
    (tmp_path / "bare").mkdir()
    for name, kind, words in [
        ("nowhere", ProductNotFoundError, "There is no map at"),
        ("bare", ProductNotFoundError, "holds no map.nc"),
        ("cut.nc", ProductError, "truncated"),
        ("stub.nc", ProductError, "cannot be read"),
        ("empty.nc", ProductError, "cannot be read"),
        ("text.nc", ProductError, "cannot be read"),
        ("foreign.nc", ContractError, "'probability' is missing"),
    ]:
        with pytest.raises(kind, match=words) as caught:
            open_map(tmp_path / name)
        assert isinstance(caught.value, FrazilError)
        assert "\n" not in str(caught.value)


def test_a_map_with_damaged_chunks_is_refused(folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / "map.nc").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    (tmp_path / "map.nc").write_bytes(data)
    with pytest.raises(ProductError, match="cannot be read"):
        open_map(tmp_path)


def test_geopackage(ice_map: xr.Dataset, folder: Path) -> None:
    edge, polygons = ice_edge(ice_map), ice_polygons(ice_map)
    layers = gpd.list_layers(folder / "ice.gpkg")
    assert set(layers["name"][layers["geometry_type"].notna()]) == {"ice_edge", "ice_classes"}
    read = gpd.read_file(folder / "ice.gpkg", layer="ice_classes")
    assert read.crs.to_epsg() == 3413
    assert read.is_valid.all()
    assert list(read["area_km2"]) == list(polygons["area_km2"])
    assert list(read["title"]) == list(polygons["title"])
    read = gpd.read_file(folder / "ice.gpkg", layer="ice_edge")
    assert read["length_km"].sum() == pytest.approx(edge["length_km"].sum())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("simplify_m", [0, 1500])
def test_lonlat_shapes_keep_their_areas(place: str, simplify_m: int) -> None:
    """Wherever the pole or the antimeridian cuts: the parts are valid, inside the world, and as large as on the map."""
    ice_map = make_map(shape=(120, 130), spacing_m=1000, centre=PLACES[place], noise=0.3)
    polygons = ice_polygons(ice_map, simplify_m=simplify_m, min_area_km2=30)
    cut = to_lonlat(polygons.geometry.values, polygons.crs)
    assert shapely.is_valid(cut).all()
    west, _, east, north = shapely.total_bounds(cut)
    assert west >= -180
    assert east <= 180
    assert north <= 90
    equal_area = Transformer.from_crs("EPSG:3413", "EPSG:3571", always_xy=True)  # Lambert azimuthal around the pole
    flat = shapely.transform(
        shapely.segmentize(polygons.geometry.values, 200), lambda c: np.column_stack(equal_area.transform(*c.T))
    )
    cylindrical = Transformer.from_crs("OGC:CRS84", "+proj=cea +ellps=WGS84", always_xy=True)
    rolled = shapely.transform(shapely.segmentize(cut, 0.02), lambda c: np.column_stack(cylindrical.transform(*c.T)))
    assert shapely.area(rolled) == pytest.approx(shapely.area(flat), rel=2e-2 if "pole" in place else 1e-3)
    assert shapely.area(rolled).sum() == pytest.approx(shapely.area(flat).sum(), rel=1e-3)
    if place == "pole":
        assert north == 90
    for polygon in shapely.get_parts(cut):
        assert polygon.exterior.is_ccw


@pytest.mark.parametrize("place", PLACES)
def test_geojson(place: str, tmp_path: Path) -> None:
    ice_map = make_map(shape=(160, 150), spacing_m=500, centre=PLACES[place], noise=0.2)
    files = export(ice_map, tmp_path / "map", formats=["geojson"])
    for name, made in [("ice_edge", ice_edge(ice_map)), ("ice_classes", ice_polygons(ice_map))]:
        content = json.loads(files[name].read_text(encoding="utf-8"))
        assert content["type"] == "FeatureCollection"
        assert "crs" not in content  # RFC 7946, 4
        read = gpd.read_file(files[name])
        assert read.crs.to_epsg() == 4326
        assert len(read) == len(made)
        assert read.is_valid.all()
        for feature in content["features"]:
            for part in shapely.get_parts(shapely.geometry.shape(feature["geometry"])):
                steps = np.abs(np.diff(shapely.get_coordinates(part)[:, 0]))
                assert (steps < 180).all() or place != "antimeridian"
    lines = gpd.read_file(files["ice_edge"])
    geod = Geod(ellps="WGS84")
    lengths = [geod.geometry_length(line) / 1000 for line in lines.geometry]
    np.testing.assert_allclose(lengths, lines["length_km"], rtol=1e-3, atol=0.02)


def test_a_line_along_and_across_the_pole() -> None:
    line = shapely.LineString([(-50_000, 0), (50_000, 0)])
    ring = shapely.Point(0, 0).buffer(30_000)
    hole = ring.difference(shapely.Point(0, 0).buffer(10_000))
    cut = to_lonlat(np.array([line, ring, hole], dtype=object), "EPSG:3413")
    geod = Geod(ellps="WGS84")
    scale = 0.9698  # of EPSG:3413 at the pole
    assert geod.geometry_length(cut[0]) == pytest.approx(100_000 / scale, rel=1e-3)
    assert cut[1].bounds == (-180, pytest.approx(89.72, abs=0.02), 180, 90)
    assert cut[2].bounds[3] < 89.95
    assert abs(geod.geometry_area_perimeter(shapely.get_parts(cut[2])[0])[0]) > 0


def test_classes_that_meet_on_the_pole() -> None:
    """The pole on the corner of four polygons, where it has no longitude."""
    codes = np.zeros((40, 40), np.uint8)
    codes[:20, 20:], codes[20:, :20], codes[20:, 20:] = 1, 2, 3
    polygons = ice_polygons(make_map(codes=codes, centre=(0, 90), spacing_m=5000), simplify_m=0)
    assert len(polygons) == 4
    cut = to_lonlat(polygons.geometry.values, polygons.crs)
    assert shapely.is_valid(cut).all()
    cylindrical = Transformer.from_crs("OGC:CRS84", "+proj=cea +ellps=WGS84", always_xy=True)
    rolled = shapely.transform(shapely.segmentize(cut, 0.02), lambda c: np.column_stack(cylindrical.transform(*c.T)))
    assert shapely.area(rolled) / 1e6 == pytest.approx(polygons["area_km2"].values, rel=1e-3)
    assert shapely.area(shapely.intersection(cut[0], cut[1])) < 1e-3


def test_summary_file(ice_map: xr.Dataset, folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["timings"]["predict"] == 1.25
    assert summary["timings"]["ice polygons"] > 0
    assert summary["note"] == NOTE
    assert summary["model_card"] == "card-7"


@pytest.mark.parametrize("place", PLACES)
def test_stac_item(place: str, tmp_path: Path) -> None:
    ice_map = make_map(shape=(60, 80), spacing_m=3000, centre=PLACES[place], note=NOTE)
    folder = tmp_path / "map"
    files = export(ice_map, folder)
    content = json.loads((folder / "stac_item.json").read_text(encoding="utf-8"))
    jsonschema.validate(content, ITEM_SCHEMA)
    item = pystac.Item.from_file(str(folder / "stac_item.json"))
    assert set(item.assets) == set(files) - {"stac", "collection"}
    for asset in item.assets.values():
        href = asset.get_absolute_href()
        assert href is not None
        assert os.path.exists(href)  # noqa: PTH110 - an href is text
    assert [band["name"] for band in content["assets"]["probability"]["bands"]] == list(FIVE_CLASSES.names)
    assert content["properties"]["sar:polarizations"] == ["HH", "HV"]
    assert content["properties"]["platform"] == "sentinel-1a"
    assert content["properties"]["sat:absolute_orbit"] == 20177
    assert datetime.fromisoformat(content["properties"]["start_datetime"]) == item.datetime
    outline = shapely.geometry.shape(content["geometry"])
    assert outline.is_valid
    west, south, east, north = content["bbox"]
    assert -180 <= west <= 180
    assert south < north <= 90
    grid = MapGrid.of(ice_map)
    to_lonlat_ = Transformer.from_crs(grid.crs, "OGC:CRS84", always_xy=True)
    row, column = np.nonzero(ice_map["quality_flags"].values & 1 == 0)
    points = np.column_stack(to_lonlat_.transform(grid.x[column], grid.y[row]))
    away = points[np.abs(points[:, 1]) < 89.9]
    assert (shapely.distance(outline, shapely.points(away)) < 0.2).mean() > 0.999  # 0.2°: the hull is simplified
    inside = (
        (west <= points[:, 0]) & (points[:, 0] <= east)
        if west <= east
        else (points[:, 0] >= west) | (points[:, 0] <= east)
    )
    assert inside.mean() > 0.999
    if place == "pole":
        assert (west, east, north) == (-180, 180, 90)
    if place == "antimeridian":
        assert west > 0 > east


def test_declared_extensions_are_used(folder: Path) -> None:
    content = json.loads((folder / "stac_item.json").read_text(encoding="utf-8"))
    text = json.dumps([content["properties"], content["assets"]])
    prefixes = {"projection": "proj:", "classification": "classification:", "sar": "sar:", "sat": "sat:"}
    for uri in content["stac_extensions"]:
        name = uri.split("/")[3]
        assert f'"{prefixes.get(name, name + ":")}' in text
    used = {key.split(":")[0] for key in content["properties"] if ":" in key}
    assert used == {"proj", "sar", "sat", "processing"}


def test_a_product_of_another_name_has_no_radar_fields(tmp_path: Path) -> None:
    ice_map = make_map(shape=(20, 20), product="my scene / 1")
    files = export(ice_map, tmp_path / "map", formats=["stac"])
    content = json.loads(files["stac"].read_text(encoding="utf-8"))
    assert not any(key.startswith(("sar:", "sat:")) for key in content["properties"])
    assert content["id"] == "my_scene___1_sea_ice"
    jsonschema.validate(content, ITEM_SCHEMA)


@pytest.mark.parametrize("code", [0, 1, CLASS_LAND, CLASS_NODATA])
def test_uniform_maps_export_whole(code: int, tmp_path: Path) -> None:
    ice_map = make_map(codes=np.full((12, 9), code, np.uint8))
    files = export(ice_map, tmp_path / "map")
    assert len(gpd.read_file(files["vectors"], layer="ice_edge")) == 0
    assert len(gpd.read_file(files["ice_classes"])) <= 1
    xr.testing.assert_identical(open_map(tmp_path / "map"), ice_map)


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    ice_map = make_map(shape=(20, 20))
    export(ice_map, tmp_path / "map", formats=["summary"])
    with pytest.raises(OutputExistsError, match="--overwrite"):
        export(ice_map, tmp_path / "map", formats=["summary"])
    export(ice_map, tmp_path / "map", formats=["netcdf"], overwrite=True)
    assert {p.name for p in (tmp_path / "map").iterdir()} == {"map.nc", LIST}


def test_wrong_arguments(tmp_path: Path) -> None:
    ice_map = make_map(shape=(20, 20))
    with pytest.raises(OptionError, match="choose from"):
        export(ice_map, tmp_path / "map", formats=["shapefile"])
    with pytest.raises(ContractError, match="projected grid"):
        export(ice_map.rename(y="line", x="pixel"), tmp_path / "map")
    with pytest.raises(ContractError, match="ISO 8601"):
        export(ice_map.assign_attrs(start_time="yesterday"), tmp_path / "map")
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("frazil.maps.netcdf.write_netcdf", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        export(make_map(shape=(20, 20)), tmp_path / "map")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: object) -> None:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    for formats in (["geotiff"], ["netcdf"]):
        with pytest.raises(OutputError, match="No space left on device") as caught:
            export(make_map(shape=(20, 20)), tmp_path / "map", formats=formats)
        assert "\n" not in str(caught.value)
        assert str(tmp_path / "map") in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write"):
        export(make_map(shape=(20, 20)), tmp_path / "file" / "map", formats=["summary"])


def test_maps_load_neither_torch_nor_the_learning_half() -> None:
    code = (
        "import sys, frazil.maps.export, frazil.maps.edges, frazil.maps.summary\n"
        "heavy = {'torch', 'matplotlib', 'geopandas', 'pystac', 'rasterio', 'frazil.learn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_map_that_links_to_other_files_is_refused(ice_map: xr.Dataset, tmp_path: Path) -> None:
    """An HDF5 link would show whatever file the user may read as a map."""
    import h5py

    export(ice_map, tmp_path / "map", formats=["netcdf"])
    other = tmp_path / "other.nc"
    (tmp_path / "map" / "map.nc").rename(other)
    with h5py.File(tmp_path / "map" / "map.nc", "w") as file, h5py.File(other) as real:
        for name in real:
            file[name] = h5py.ExternalLink(str(other), f"/{name}")
    with pytest.raises(ProductError, match=r"map\.nc cannot be read"):
        open_map(tmp_path / "map")


def test_a_long_note_is_kept(tmp_path: Path) -> None:
    """HDF5 has no room for it beside the other attributes of a variable."""
    made = make_map(shape=(20, 20), note="word " * 30_000, comment="σ0")
    export(made, tmp_path / "map", formats=["netcdf"])
    again = open_map(tmp_path / "map")
    assert again.attrs["note"] == made.attrs["note"]
    assert again.attrs["comment"] == "σ0"
