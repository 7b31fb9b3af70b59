"""Files that only look like data open no other file and make no request; damaged ones are refused in one line."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import geopandas as gpd
import h5py
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer

from frazil.conventions import BINARY, FIVE_CLASSES
from frazil.errors import FrazilError, LabelError, LabelNotFoundError
from frazil.gdal_files import open_raster, vector_source
from frazil.georeference import world_file
from frazil.labels.chart import read_chart
from frazil.labels.class_raster import RasterLabels
from frazil.labels.classes import LabelOptions
from frazil.labels.datasets.ai4arctic import read_ai4arctic
from frazil.labels.datasets.folders import read_image
from frazil.labels.polygons import read_polygons
from frazil.labels.sources import open_labels
from frazil.maps.compare import compare
from frazil.maps.references import open_reference
from frazil.scene.geolocation import Geolocation
from frazil.simulate.scene import simulate_scene
from frazil.testing import make_map


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, list[str]]]:
    """The address of a server of this machine, and what was asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_HEAD = do_POST = do_GET  # noqa: N815 - the names of http.server

        def log_message(self, *args: object) -> None:
            pass

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}", asked
    httpd.shutdown()


def geojson(**extra: object) -> str:
    shape = {"type": "Polygon", "coordinates": [[[0, 70], [1, 70], [1, 71], [0, 71], [0, 70]]]}
    feature = {"type": "Feature", "properties": {"ice": "sea_ice"}, "geometry": shape}
    return json.dumps({"type": "FeatureCollection", **extra, "features": [feature]})


RECIPES: dict[str, Callable[[str, str], str]] = {
    "vrt": lambda url, secret: (
        f'<VRTDataset rasterXSize="4" rasterYSize="4"><SRS>EPSG:3413</SRS><GeoTransform>0,1,0,0,0,-1</GeoTransform>'
        f'<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand"><SourceFilename>{secret}</SourceFilename>'
        f"<ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset><LineOffset>4</LineOffset></VRTRasterBand></VRTDataset>"
    ),
    "vrt_of_address": lambda url, _: (
        f'<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>/vsicurl/{url}/a.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    ),
    "wms": lambda url, _: (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/${{z}}</ServerUrl></Service><DataWindow><UpperLeftX>0'
        "</UpperLeftX><UpperLeftY>90</UpperLeftY><LowerRightX>9</LowerRightX><LowerRightY>80</LowerRightY>"
        "<SizeX>64</SizeX><SizeY>64</SizeY></DataWindow><BandsCount>1</BandsCount></GDAL_WMS>"
    ),
    "wcs": lambda url, _: (
        f"<WCS_GDAL><ServiceURL>{url}/wcs?</ServiceURL><CoverageName>ice</CoverageName><Version>1.0.0</Version></WCS_GDAL>"
    ),
    "wmts": lambda url, _: f"<GDAL_WMTS><GetCapabilitiesUrl>{url}/wmts</GetCapabilitiesUrl></GDAL_WMTS>",
    "ogr_vrt": lambda url, _: (
        f'<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>/vsicurl/{url}/x.geojson</SrcDataSource>'
        "</OGRVRTLayer></OGRVRTDataSource>"
    ),
    "wfs": lambda url, _: f"<OGRWFSDataSource><URL>{url}/wfs</URL></OGRWFSDataSource>",
    "gml": lambda url, _: (
        '<wfs:FeatureCollection xmlns:wfs="http://www.opengis.net/wfs" xmlns:xsi="http://www.w3.org/2001/XMLSchema-'
        f'instance" xsi:schemaLocation="http://a {url}/schema.xsd"><gml:featureMember xmlns:gml="http://www.opengis.net'
        '/gml"/></wfs:FeatureCollection>'
    ),
    "kml": lambda url, _: (
        f'<kml xmlns="http://www.opengis.net/kml/2.2"><NetworkLink><Link><href>{url}</href></Link></NetworkLink></kml>'
    ),
    "linked_crs": lambda url, _: geojson(crs={"type": "link", "properties": {"href": f"{url}/crs", "type": "esriwkt"}}),
    "named_crs": lambda url, _: geojson(crs={"type": "name", "properties": {"name": f"{url}/crs"}}),
    "two_crs": lambda url, _: (
        '{"crs":{"type":"link","properties":{"href":"' + url + '/crs"}},' + geojson(crs={"type": "url"})[1:]
    ),
    "json_fg": lambda url, _: geojson(conformsTo=["[ogc-json-fg-1-0.1:core]"], coordRefSys=f"{url}/crs"),
    "gdalg": lambda url, _: json.dumps(
        {"type": "gdal_streamed_alg", "command_line": f"gdal vector pipeline ! read {url}/x.geojson"}
    ),
    "stac": lambda url, _: json.dumps({"stac_version": "1.0.0", "type": "Feature", "assets": {"a": {"href": url}}}),
}


@pytest.mark.parametrize(
    "suffix", [".tif", ".png", ".vrt", ".geojson", ".json", ".shp", ".gpkg", ".gml", ".nc", ".fgb"]
)
@pytest.mark.parametrize("recipe", RECIPES)
def test_no_request_arrives_and_no_other_file_is_read(
    recipe: str, suffix: str, server: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, asked = server
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes([1] * 16))
    path = tmp_path / f"labels{suffix}"
    path.write_text(RECIPES[recipe](url, str(secret)))
    harmless = recipe == "json_fg"  # its geometries are in degrees whatever it says
    for opener in (
        lambda: open_labels(path, BINARY, LabelOptions(class_column="ice", assume_crs="EPSG:3413")),
        lambda: open_reference(path, options=None),
        lambda: read_chart(path),
        lambda: read_image(path, ("hh",), {}),
    ):
        try:
            found = opener()
        except FrazilError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 - one of several openers
        else:
            assert harmless, found
    assert asked == []


def test_a_view_of_a_geopackage_is_not_computed(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    frame = gpd.GeoDataFrame({"ice": ["sea_ice"]}, geometry=[shapely.box(0, 70, 1, 71)], crs="EPSG:4326")
    frame.to_file(path, driver="GPKG")
    assert len(read_polygons(path)) == 1
    plain = path.read_bytes()
    for statement in (
        "CREATE VIEW v AS SELECT ogr_datasource_load_layers('/etc/passwd')",
        "CREATE VIRTUAL TABLE f USING fts3(x)",
        "CREATE TABLE g (a INTEGER, b TEXT GENERATED ALWAYS AS (upper(a)))",
        "UPDATE gpkg_spatial_ref_sys SET definition = 'http://127.0.0.1/crs'",
    ):
        path.write_bytes(plain)
        connection = sqlite3.connect(path)
        connection.create_function("ST_IsEmpty", 1, lambda _: 0)  # of the triggers of the index
        connection.execute(statement)
        connection.commit()
        connection.close()
        with pytest.raises(LabelError, match="computed when it is read|not said as WKT"):
            read_polygons(path)


@pytest.mark.parametrize("name", ["https://a.b/c.gpkg", "s3://a/b.tif", "/vsicurl/http://a/b.tif", "/vsizip/a.zip"])
def test_addresses_are_called_addresses(name: str) -> None:
    for opener in (lambda: open_labels(name, BINARY), lambda: open_reference(name), lambda: read_polygons(name)):
        with pytest.raises(LabelNotFoundError, match="is an address; only files on this machine"):
            opener()


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("what", ["shp", "geojson"])
def test_archives_with_folders(kind: str, what: str, tmp_path: Path) -> None:
    import tarfile

    frame = gpd.GeoDataFrame({"ice": ["sea_ice"]}, geometry=[shapely.box(0, 70, 1, 71)], crs="EPSG:4326")
    folder = tmp_path / "in" / "chart" / "2020"
    folder.mkdir(parents=True)
    frame.to_file(folder / f"c.{what}")
    (folder / "read.me").write_text("x")
    (folder / f"._c.{what}").write_text("of a Mac")
    path = tmp_path / f"c.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted((tmp_path / "in").rglob("*")):
                archive.write(file, file.relative_to(tmp_path / "in"))
    else:
        with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as tar:
            tar.add(tmp_path / "in" / "chart", "chart")
    found = read_polygons(path)
    assert found.crs.to_epsg() == 4326
    assert found["ice"].tolist() == ["sea_ice"]
    assert found.geometry.iloc[0].equals(shapely.box(0, 70, 1, 71))


def test_an_archive_that_becomes_gigabytes_is_not_unpacked(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.shp", "w", force_zip64=True) as member,
    ):
        for _ in range(1100):
            member.write(bytes(2**20))
    with pytest.raises(LabelError, match="would unpack to more than"):
        read_polygons(tmp_path / "a.zip")


def test_a_raster_that_claims_more_than_it_can_hold(tmp_path: Path) -> None:
    how = {"driver": "GTiff", "width": 60_000, "height": 60_000, "count": 1, "dtype": "uint8", "crs": "EPSG:3413"}
    with rasterio.open(
        tmp_path / "a.tif", "w", **how, transform=Affine(10, 0, 0, 0, -10, 0), tiled=True, SPARSE_OK=True
    ):
        pass
    for opener in (lambda p: open_labels(p, BINARY), open_reference):
        with pytest.raises(LabelError, match="60000 × 60000 pixels.*more than a file of its size"):
            opener(tmp_path / "a.tif")


def test_files_beside_a_raster_are_not_opened(server: tuple[str, list[str]], tmp_path: Path) -> None:
    """Overviews, masks and metadata beside a GeoTIFF may be files of any driver."""
    url, asked = server
    path = tmp_path / "a.tif"
    how = {"driver": "GTiff", "width": 400, "height": 400, "count": 1, "dtype": "uint8", "crs": "EPSG:3413"}
    with rasterio.open(path, "w", **how, transform=Affine(10, 0, 0, 0, -10, 0)) as file:
        file.write(np.ones((1, 400, 400), np.uint8))
    for beside in (".ovr", ".msk"):
        path.with_name(path.name + beside).write_text(RECIPES["wms"](url, ""))
    path.with_name("a.tif.aux.xml").write_text(
        f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/vsicurl/{url}/o.tif</MDI></Metadata>'
        "</PAMDataset>"
    )
    with open_raster(path) as file:
        assert (file.read(1, out_shape=(50, 50)) == 1).all()
        assert file.overviews(1) == []
        assert (file.read_masks(1) == 255).all()
        assert len(file.files) == 1
    assert asked == []


def test_world_files_are_read_by_frazil(tmp_path: Path) -> None:
    how = {"driver": "PNG", "width": 40, "height": 30, "count": 1, "dtype": "uint8"}
    transform = Affine(100, 0, 5000, 0, -100, 9000)
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(tmp_path / "a.png", "w", **how) as file:
        file.write(np.ones((1, 30, 40), np.uint8))
    (tmp_path / "a.pgw").write_text("100\n0\n0\n-100\n5050\n8950\n")
    found = world_file(tmp_path / "a.png")
    assert found is not None
    assert found.almost_equals(transform)
    labels = open_labels(tmp_path / "a.png", BINARY, LabelOptions(assume_crs="EPSG:3413"))
    assert isinstance(labels, RasterLabels)
    assert labels.transform.almost_equals(transform)
    (tmp_path / "a.pgw").write_text("walrus")
    with pytest.raises(LabelError, match="no world file"):
        open_labels(tmp_path / "a.png", BINARY, LabelOptions(assume_crs="EPSG:3413"))


def test_settings_of_gdal_are_as_before(tmp_path: Path) -> None:
    import pyogrio

    pyogrio.set_gdal_config_options({"GML_DOWNLOAD_SCHEMA": "YES"})
    (tmp_path / "a.geojson").write_text(geojson())
    with vector_source(tmp_path / "a.geojson"):
        assert pyogrio.get_gdal_config_option("GML_DOWNLOAD_SCHEMA") in ("NO", False)
    assert pyogrio.get_gdal_config_option("GML_DOWNLOAD_SCHEMA") in ("YES", True)
    assert pyogrio.get_gdal_config_option("CPL_VSIL_CURL_ALLOWED_FILENAME") is None
    pyogrio.set_gdal_config_options({"GML_DOWNLOAD_SCHEMA": None})


@pytest.mark.parametrize("kind", ["external_link", "soft_link", "external_data", "virtual", "huge"])
@pytest.mark.parametrize("opener", [open_reference, read_ai4arctic])
def test_netcdf_that_reads_other_files(kind: str, opener: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(range(100)))
    path = tmp_path / "a.nc"
    with h5py.File(path, "w") as file:
        group = file.create_group("inner")
        if kind == "external_link":
            group["z"] = h5py.ExternalLink(str(tmp_path / "other.nc"), "/z")
        elif kind == "soft_link":
            file["z"] = h5py.SoftLink("/inner/y")
        elif kind == "external_data":
            file.create_dataset("z", (10, 10), "u1", external=[(str(tmp_path / "secret"), 0, 100)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((10, 10), "u1")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.nc"), "z", (10, 10))
            group.create_virtual_dataset("z", layout)
        else:
            file.create_dataset("z", (10**6, 10**6), "f8", chunks=(1000, 1000))
    with pytest.raises(LabelError, match="is a link|lie in other files|more than a file of its size") as caught:
        opener(path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("driver", ["FlatGeobuf", "GPKG", "GeoJSON", "ESRI Shapefile"])
def test_damaged_bytes_end_in_one_line(driver: str, tmp_path: Path) -> None:
    suffix = {"FlatGeobuf": "fgb", "GPKG": "gpkg", "GeoJSON": "geojson", "ESRI Shapefile": "shp"}[driver]
    path = tmp_path / f"a.{suffix}"
    boxes = [shapely.box(i, 70, i + 1, 71) for i in range(6)]
    gpd.GeoDataFrame({"ice": ["sea_ice"] * 6, "n": range(6)}, geometry=boxes, crs="EPSG:4326").to_file(
        path, driver=driver
    )
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(12, len(data), 1 + rng.integers(4)):
            data[at] = rng.integers(256)
        path.write_bytes(bytes(data[: rng.integers(20, len(data))]) if rng.random() < 0.3 else bytes(data))
        try:
            read_polygons(path)
        except FrazilError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 - some mutations do no harm


def test_the_map_of_a_test_is_a_map() -> None:
    """The openers above would take real data: what refuses is the content."""
    assert open_reference(make_map(codes=np.zeros((4, 4), np.uint8), centre=(5.0, 79.0), spacing_m=500.0)).kind == "map"


@pytest.mark.parametrize("suffix", [".dbf", ".shx", ".prj", ".cpg", ".DBF"])
def test_a_pipe_beside_a_shapefile_is_not_waited_for(tmp_path: Path, suffix: str) -> None:
    """GDAL opens it by itself, and would wait for ever for somebody to write into it."""
    file = tmp_path / "ice.shp"
    gpd.GeoDataFrame({"ice": ["sea_ice"]}, geometry=[shapely.box(0, 70, 1, 71)], crs=4326).to_file(file)
    file.with_suffix(suffix).unlink(missing_ok=True)
    os.mkfifo(file.with_suffix(suffix))
    with pytest.raises(LabelError, match="is no regular file"):
        read_polygons(file)


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_a_pipe_beside_a_geopackage_is_not_waited_for(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / "ice.gpkg"
    gpd.GeoDataFrame({"ice": ["sea_ice"]}, geometry=[shapely.box(0, 70, 1, 71)], crs=4326).to_file(file)
    os.mkfifo(file.with_name(file.name + suffix))
    with pytest.raises(LabelError, match="is no regular file"):
        read_polygons(file)


LISTED = '{"type": "FeatureCollection", "features": [], "crs": {"type": "name", "properties": [1]}}'


@pytest.mark.parametrize("text", ["[]", "3", "null", '"x"', LISTED])
def test_json_that_is_no_geojson_is_a_line(tmp_path: Path, text: str) -> None:
    from frazil.labels.polygons import read_polygons

    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(LabelError):
        read_polygons(tmp_path / "a.geojson")


@pytest.mark.parametrize(
    "numbers",
    [
        (1000, 0, 0, 0, 0, 0),
        (np.nan, 0, 0, 0, -1000, 0),
        (1e308, 0, 0, 0, -1e308, 0),
        (1, 1, 0, 1, 1, 0),
        (1e-300, 0, 0, 0, -1e-300, 0),
    ],
)
def test_a_raster_that_lies_nowhere_is_refused(tmp_path: Path, numbers: tuple[float, ...]) -> None:
    """As labels and as a reference: a transform without an area was a traceback, or labels of nothing."""
    path = tmp_path / "a.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=9,
        height=9,
        count=1,
        dtype="uint8",
        crs="EPSG:3413",
        transform=Affine(*numbers),
    ) as file:
        file.write(np.ones((9, 9), np.uint8), 1)
    for read in (lambda: open_labels(path, FIVE_CLASSES), lambda: compare(make_map(), path, kind="concentration")):
        with pytest.raises(LabelError, match=r"The transform .* puts its cells nowhere"):
            read()


def test_a_turned_class_raster_is_read_as_finely_as_an_upright_one(tmp_path: Path) -> None:
    """Its cells were thought to be as wide as the easting of one column, which is nothing."""
    scene = simulate_scene("ew", seed=1, spacing_m=480.0, lines=(4000, 4400), pixels=(3000, 3400), land=None).load()
    lon, lat = Geolocation.of(scene).lonlat(scene["line"].values[:, None], scene["pixel"].values[None])
    x, y = Transformer.from_crs(4326, 3413, always_xy=True).transform(lon, lat)
    left, top, n = x.min() - 2000, y.max() + 2000, 120
    codes = np.random.default_rng(0).integers(0, 5, (n // 20, n // 20)).astype(np.uint8).repeat(20, 0).repeat(20, 1)
    side = max(np.ptp(x), np.ptp(y)) / n + 50
    found = []
    for turned, transform in (
        (codes, Affine(side, 0, left, 0, -side, top)),
        (codes.T, Affine(0, side, left, -side, 0, top)),
    ):
        with rasterio.open(
            tmp_path / "a.tif",
            "w",
            driver="GTiff",
            width=n,
            height=n,
            count=1,
            dtype="uint8",
            crs="EPSG:3413",
            transform=transform,
        ) as file:
            file.write(turned, 1)
        found.append(open_labels(tmp_path / "a.tif", FIVE_CLASSES).on(scene).regions(slice(None)))
    one, other = found
    np.testing.assert_array_equal(one, other)
    assert (found[0] >= 0).any()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_damaged_compressed_archives_are_one_line(tmp_path: Path, method: int) -> None:
    path, rng = tmp_path / "a.zip", np.random.default_rng(0)
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.geojson", json.dumps({"type": "FeatureCollection", "features": []}) + " " * 3000)
        archive.writestr("a.shp", rng.bytes(3000))
    whole = path.read_bytes()
    for _ in range(60):
        data = bytearray(whole)
        data[int(rng.integers(40, len(data) - 200))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        with suppress(LabelError), vector_source(path):  # some bits, of times for instance, do not matter
            pass


@pytest.mark.parametrize(("suffix", "at"), [(".shx", 103), (".shx", 107), (".shp", 100 + 7), (".shp", 100 + 8)])
def test_an_index_that_belongs_to_another_shapefile_is_told(tmp_path: Path, suffix: str, at: int) -> None:
    """GDAL leaves out the polygons whose records it does not find where the index says."""
    shapes = [shapely.box(i, 0, i + 1, 1) for i in range(5)]
    gpd.GeoDataFrame({"CT": ["92"] * 5}, geometry=shapes, crs=4326).to_file(tmp_path / "a.shp", engine="pyogrio")
    assert len(read_polygons(tmp_path / "a.shp")) == 5
    file = (tmp_path / "a.shp").with_suffix(suffix)
    data = bytearray(file.read_bytes())
    data[at] ^= 4
    file.write_bytes(data)
    zipped = tmp_path / "zipped.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        for part in tmp_path.glob("a.*"):
            archive.write(part, f"chart/{part.name}")
    for path in (tmp_path / "a.shp", zipped):
        with pytest.raises(LabelError, match=r"does not hold record 1 where its index"):
            read_polygons(path)


@pytest.mark.parametrize("suffix", [".shp", ".dbf"])
def test_a_shapefile_that_is_cut_off_is_refused_in_an_archive_too(tmp_path: Path, suffix: str) -> None:
    shapes = [shapely.box(i, 0, i + 1, 1) for i in range(5)]
    gpd.GeoDataFrame({"CT": ["92"] * 5}, geometry=shapes, crs=4326).to_file(tmp_path / "a.shp", engine="pyogrio")
    file = (tmp_path / "a.shp").with_suffix(suffix)
    file.write_bytes(file.read_bytes()[:-40])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for part in tmp_path.glob("a.*"):
            if part.suffix != ".zip":
                archive.write(part, part.name)
    for path in (tmp_path / "a.shp", tmp_path / "a.zip"):
        with pytest.raises(LabelError, match="is cut off"):
            read_polygons(path)


def test_a_flatgeobuf_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    """Whatever GDAL makes of it: an error, or fewer polygons without one."""
    shapes = [shapely.box(i, 0, i + 1, 1) for i in range(50)]
    frame = gpd.GeoDataFrame({"kind": ["W"] * 50}, geometry=shapes, crs=4326)
    frame.to_file(tmp_path / "a.fgb", engine="pyogrio")
    whole = (tmp_path / "a.fgb").read_bytes()
    for share in np.linspace(0.2, 0.999, 40):
        (tmp_path / "a.fgb").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(LabelError):
            read_polygons(tmp_path / "a.fgb")
