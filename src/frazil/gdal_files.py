"""Rasters and vector files of strangers: opened by the drivers they need, and by no other.

GDAL chooses a driver by content, not by name. Among its drivers are some whose files are recipes: VRT names other
files, WMS, WCS, WMTS and WFS name servers, GDALG names commands, a view of SQLite may call functions that open either.
A label or a reference needs none of them. So the content decides first, here, whether a file is one of

- rasters: GeoTIFF, ERDAS Imagine, PNG; each opened by its own driver alone, without the files beside it;
- vectors: GeoPackage (without views), shapefile (also in a zip or tar), GeoJSON, FlatGeobuf, KML, and folders of
  file geodatabases.

Nothing else is opened; names that GDAL would take for addresses or virtual files are refused; what GDAL reads itself
it reads with downloads switched off.

References:
    GDAL 3.9 documentation: raster and vector drivers, configuration options, security considerations.
    OGC 12-128r18, GeoPackage 1.3. RFC 7946 (GeoJSON); GeoJSON 2008, section 3 (``crs``, named and linked).
"""

from __future__ import annotations

import contextlib
import io
import json
import lzma
import os
import re
import sqlite3
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from frazil.errors import LabelError, LabelNotFoundError, is_utf8
from frazil.shapefiles import check_parts, check_shapefile
from frazil.untrusted import open_regular, parse_json, read_bytes

RASTERS = ("GTiff", "HFA", "PNG")
_QUIET = {
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "/no/address/is/read",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GML_DOWNLOAD_SCHEMA": "NO",
    "GDAL_HTTP_MAX_RETRY": "0",
}
_ALONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": "NO"}
_ARCHIVE_ERRORS = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)
_UNPACKED = 2**30  # bytes of a vector file in memory
_PLAIN, _RATIO = 2**28, 1000  # bytes of a raster that need no reason; no more than this for a byte on disk
_METADATA = 4_000_000  # bytes of an XML file
_SHAPEFILE = (".shp", ".shx", ".dbf", ".prj", ".cpg")
_BESIDE = ("-wal", "-shm", "-journal"), (".shx", ".dbf", ".prj", ".cpg", ".qix", ".sbn", ".sbx", ".ind", ".idm", ".qpj")
_NAMED_CRS = re.compile(r"(urn:ogc:def:crs:|https?://www\.opengis\.net/def/crs/|EPSG:|OGC:)[\w:./-]+", re.IGNORECASE)
_NESTING = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
_GEOMETRIES = (*_NESTING, "GeometryCollection")
_READABLE = "GeoPackage, shapefile (also in a zip or tar), GeoJSON, FlatGeobuf, KML or a file geodatabase (.gdb)"


def refuse_address(path: str | os.PathLike[str]) -> None:
    """Raise for names that are addresses or virtual files.

    Raises:
        LabelNotFoundError: ``https://…``, ``s3://…``, ``/vsi…``.
    """
    text = os.fspath(path)
    if "://" in text or re.match(r"[a-z][a-z0-9+.-]+:/", text) or os.path.abspath(text).startswith("/vsi"):  # noqa: PTH100
        raise LabelNotFoundError(f"{text} is an address; only files on this machine are read. Download it and pass it.")


def _refuse_other_letters(path: str | os.PathLike[str]) -> None:
    """Raise LabelError for names that are not UTF-8, which GDAL cannot be told."""
    if not is_utf8(os.path.abspath(path)):  # noqa: PTH100
        raise LabelError(f"The name of {path} is not UTF-8, and GDAL opens no other. Rename the file or its folder.")


@contextmanager
def open_raster(path: str | os.PathLike[str], what: str = "a raster") -> Iterator[Any]:
    """A rasterio dataset of a raster file, opened by one of `RASTERS` and without any file beside it.

    Args:
        path: of the file.
        what: it should be, for messages.

    Raises:
        LabelError: a file of another kind, or of more pixels than a file of its size can need.
        rasterio.errors.RasterioError: it is damaged, where the caller reads.
    """
    import rasterio

    driver = raster_driver(path, what)
    with (
        rasterio.Env(**_QUIET, **_ALONE),
        _not_georeferenced_is_fine(),
        rasterio.open(os.path.abspath(path), driver=driver) as file,  # noqa: PTH100 - links stay
    ):
        item = max(_item_bytes(kind) for kind in file.dtypes)
        size = file.width * file.height * file.count * item
        if size > _PLAIN + _RATIO * Path(path).stat().st_size:
            raise LabelError(
                f"{path} claims {file.width} × {file.height} pixels, {size} bytes, more than a file of its size can "
                "hold. Is it whole?"
            )
        yield file


def raster_driver(path: str | os.PathLike[str], what: str = "a raster") -> str:
    """The driver of a raster file by its first bytes; raises LabelError for any other content."""
    refuse_address(path)
    _refuse_other_letters(path)
    head = _head(path)
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "GTiff"
    if head.startswith(b"EHFA_HEADER_TAG"):
        return "HFA"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    raise LabelError(
        f"{path} cannot be read as {what}: it {_what(head)}. Rasters are read from GeoTIFF, ERDAS Imagine and PNG: "
        "convert it."
    )


@contextmanager
def vector_source(path: str | os.PathLike[str]) -> Iterator[str | bytes]:
    """What pyogrio may open for a vector file: its path, or bytes of what is in it. Downloads are off meanwhile.

    Raises:
        LabelError: content of another kind, or one that names other files or servers.
        OSError: it cannot be read.
    """
    import pyogrio

    before = {name: pyogrio.get_gdal_config_option(name) for name in _QUIET}
    pyogrio.set_gdal_config_options(_QUIET)
    try:
        yield _checked_vector(Path(path))
    finally:
        pyogrio.set_gdal_config_options(before)


def _checked_vector(path: Path) -> str | bytes:
    refuse_address(path)
    _refuse_other_letters(path)
    whole = os.path.abspath(path)  # noqa: PTH100 - links stay
    if path.is_dir():
        if path.suffix.lower() != ".gdb":
            raise LabelError(f"{path} is a folder. Name the file in it: {_READABLE}.")
        _refuse_odd(path.iterdir())
        return whole
    head = _head(path)
    if head.startswith(b"SQLite format 3\0"):
        _refuse_odd(path.with_name(path.name + suffix) for suffix in _BESIDE[0])
        _check_geopackage(path)
        return whole
    if head[:4] == b"\0\0\x27\x0a" and path.suffix.lower() == ".shp":
        _refuse_odd(path.with_suffix(suffix) for lower in _BESIDE[1] for suffix in (lower, lower.upper()))
        check_shapefile(path)
        return whole
    if head[:4] == b"fgb\x03":
        return whole
    if head.startswith((b"PK\x03\x04", b"\x1f\x8b")) or _is_tar(head):
        return _unpacked(path)
    return _text(read_bytes(path, _UNPACKED), str(path))


def _refuse_odd(beside: Iterable[Path]) -> None:
    """Raise for a pipe, device or folder among the files that GDAL opens by itself: it would wait, or never end."""
    for path in beside:
        if path.exists() and not path.is_file():
            raise LabelError(f"{path} is no regular file. Get the file that belongs there, or remove it.")


def _text(content: bytes, name: str) -> bytes:
    """GeoJSON written anew, or KML as it is; raise LabelError for any other text."""
    start = content[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"{"):
        return _geojson(content, name)
    root = re.sub(rb"<\?.*?\?>|<!--.*?-->", b"", start, flags=re.DOTALL).lstrip()
    if re.match(rb"<kml[\s>]", root):
        if re.search(rb"<!DOCTYPE|<!ENTITY|<NetworkLink", content):
            raise LabelError(f"{name} is KML that refers to other files. Save it as a GeoPackage.")
        return content
    raise LabelError(
        f"{name} cannot be read as a vector file: it {_what(start)}. Vectors are read from {_READABLE}: convert it."
    )


def _geojson(content: bytes, name: str) -> bytes:
    """GeoJSON with nothing in it but features and a named CRS, so that no driver finds anything else in it."""
    try:
        found = parse_json(content.decode("utf-8-sig"))
    except (ValueError, MemoryError) as error:
        raise LabelError(f"{name} cannot be read as GeoJSON: {str(error).splitlines()[0] or type(error)}.") from error
    kind = found.get("type") if isinstance(found, dict) else type(found).__name__
    if kind not in ("FeatureCollection", "Feature", *_GEOMETRIES):
        raise LabelError(f"{name} is JSON of type {kind!r}, not GeoJSON. Save it as GeoJSON or a GeoPackage.")
    clean: dict[str, Any] = {"type": kind, "name": str(found.get("name") or PurePosixPath(name).stem)}
    crs = found.get("crs")
    if crs is not None:
        named = crs.get("properties") if isinstance(crs, dict) and crs.get("type") == "name" else None
        said = named.get("name") if isinstance(named, dict) else None
        if not isinstance(said, str) or not _NAMED_CRS.fullmatch(said.strip()):
            raise LabelError(
                f"{name} says its crs as {json.dumps(crs)[:120]}; expected a name such as urn:ogc:def:crs:EPSG::3413. "
                "Links are not followed: name it, or leave it out and pass assume_crs='EPSG:...' (--assume-crs)."
            )
        clean["crs"] = {"type": "name", "properties": {"name": said.strip()}}
    keys = ("features", "geometry", "properties", "coordinates", "geometries")
    clean |= {key: found[key] for key in keys if key in found}
    if isinstance(clean.get("features"), list):
        keep = ("type", "id", "geometry", "properties")
        for number, feature in enumerate(clean["features"], 1):
            if not _is_feature(feature):
                raise LabelError(f"Feature {number} of {name} is damaged, no GeoJSON feature. Save the file anew.")
        clean["features"] = [{k: f[k] for k in keep if k in f} for f in clean["features"]]
    return json.dumps(clean).encode()


def _is_feature(feature: Any) -> bool:
    """Whether JSON is a feature whose geometry GDAL reads, or none; damaged ones it passes over without a word."""
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        return False
    return feature.get("geometry") is None or _is_geometry(feature["geometry"])


def _is_geometry(geometry: Any) -> bool:
    if not isinstance(geometry, dict) or geometry.get("type") not in _GEOMETRIES:
        return False
    if geometry["type"] == "GeometryCollection":
        parts = geometry.get("geometries")
        return isinstance(parts, list) and all(_is_geometry(p) for p in parts)
    level: list[Any] = [geometry.get("coordinates")]
    for _ in range(_NESTING[geometry["type"]]):
        if not all(isinstance(part, list) for part in level):
            return False
        level = [inner for part in level for inner in part]
    return all(
        isinstance(at, list) and (len(at) > 1 or at == []) and all(type(v) in (int, float) for v in at) for at in level
    )


def _check_geopackage(path: Path) -> None:
    """Raise unless an SQLite file is a GeoPackage of plain tables."""
    waits = path.with_name(path.name + "-wal").exists()
    try:
        with open_regular(path):
            pass
        address = f"file:{quote(os.path.abspath(path))}?mode=ro" + ("" if waits else "&immutable=1")  # noqa: PTH100
        connection = sqlite3.connect(address, uri=True)
        try:
            objects = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master").fetchall()
            names = {name for _, name, _ in objects}
            systems = []
            if "gpkg_spatial_ref_sys" in names:
                systems = connection.execute("SELECT definition FROM gpkg_spatial_ref_sys").fetchall()
        finally:
            connection.close()
    except (sqlite3.Error, OSError) as error:
        raise LabelError(f"{path} cannot be read as a vector file: {error}.") from error
    if "gpkg_contents" not in names:
        raise LabelError(f"{path} is an SQLite file but no GeoPackage. Save its layer as a GeoPackage.")
    for kind, name, sql in objects:
        plain = re.sub(r"--[^\n]*|/\*.*?\*/|\"[^\"]*\"|'[^']*'|\[[^\]]*\]|`[^`]*`", " x ", str(sql), flags=re.DOTALL)
        virtual = re.match(r"\s*CREATE\s+VIRTUAL\s", plain, re.IGNORECASE)
        strange = (
            kind == "view"
            or (virtual and not re.search(r"\sUSING\s+rtree\b", plain, re.IGNORECASE))
            or (kind == "table" and not virtual and re.search(r"\bAS\s*\(|\bGENERATED\b", plain, re.IGNORECASE))
        )
        if strange:
            raise LabelError(
                f"{path} holds {name!r}, which is computed when it is read (a view or the like), and may open other "
                "files. Save the layer itself as a GeoPackage."
            )
    if any(not re.match(r"\s*($|undefined$|[A-Z]+\w*\s*\[)", str(text or ""), re.IGNORECASE) for (text,) in systems):
        raise LabelError(f"{path} has a CRS that is not said as WKT. Save it anew as a GeoPackage.")


def _unpacked(path: Path) -> bytes:
    """The one vector file of an archive, or its shapefiles in a new zip: from whatever folders, and nothing else."""
    members = _members(path)
    shapes = {name: data for name, data in members.items() if PurePosixPath(name).suffix.lower() in _SHAPEFILE}
    bases = {name for name in shapes if name.lower().endswith(".shp")}
    single = [n for n in members if PurePosixPath(n).suffix.lower() in (".geojson", ".json", ".kml")]
    if not bases and len(single) == 1:
        return _text(members[single[0]], f"{single[0]} of {path}")
    if not bases:
        raise LabelError(
            f"{path} holds {sorted(members)[:4] or 'no file that is read'}; of an archive its shapefiles (.shp, .shx, "
            ".dbf) or one GeoJSON or KML are read. Unpack it and pass the file."
        )
    stems = [PurePosixPath(name).stem for name in bases]
    if len(set(stems)) < len(stems):
        raise LabelError(f"{path} holds shapefiles of one name in several folders. Unpack it and pass one of them.")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for base in sorted(bases):
            stem = base[:-4]
            parts = {name[-4:].lower(): data for name, data in shapes.items() if name[:-4] == stem}
            check_parts(f"{base} of {path}", parts[".shp"], parts.get(".shx"), parts.get(".dbf"))
            for name, data in shapes.items():
                if name[:-4] == stem:
                    part = PurePosixPath(name)
                    archive.writestr(f"{part.stem}{part.suffix.lower()}", data)
    return out.getvalue()


def metadata_texts(path: str | os.PathLike[str]) -> list[str]:
    """Texts of the XML metadata beside a vector file (``x.xml``, ``x.shp.xml``) or in its archive, not parsed."""
    file = Path(path)
    found: list[bytes] = []
    if file.is_file() and (_head(file).startswith((b"PK\x03\x04", b"\x1f\x8b")) or _is_tar(_head(file))):
        found = list(_members(file, (".xml",)).values())
    else:
        for beside in (file.with_suffix(".xml"), file.with_name(file.name + ".xml")):
            with contextlib.suppress(OSError):  # none is there, or one that is no file to read
                found.append(read_bytes(beside, _METADATA))
    return [text[:_METADATA].decode("utf-8", "replace") for text in found]


def _members(path: Path, wanted: tuple[str, ...] = (*_SHAPEFILE, ".geojson", ".json", ".kml")) -> dict[str, bytes]:
    """Names and contents of the vector files in a zip or tar; what macOS adds is passed over."""
    found: dict[str, bytes] = {}
    left = _UNPACKED

    def take(name: str, size: int, data: Any) -> None:
        nonlocal left
        left -= size
        if left < 0:
            raise LabelError(f"{path} would unpack to more than {_UNPACKED} bytes. Unpack it and pass the file.")
        found[name] = data.read(size + 1)
        if len(found[name]) != size:
            raise LabelError(f"{path}: {name} is not of the size that the archive says. Get it again.")

    def skipped(name: str) -> bool:
        parts = PurePosixPath(name).parts
        return not parts or PurePosixPath(name).suffix.lower() not in wanted or any(p[:1] in "._" for p in parts[-1:])

    try:
        with open_regular(path) as file:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    for info in archive.infolist():
                        if not info.is_dir() and not skipped(info.filename):
                            with archive.open(info) as data:
                                take(info.filename, info.file_size, data)
            else:
                file.seek(0)
                with tarfile.open(fileobj=file) as tar:
                    seen = 0
                    for member in tar:
                        seen += member.size
                        if seen > 4 * _UNPACKED:
                            raise LabelError(f"{path} unpacks to more than {4 * _UNPACKED} bytes. Unpack it yourself.")
                        if member.isreg() and not skipped(member.name):
                            content = tar.extractfile(member)
                            assert content is not None
                            take(member.name, member.size, content)
    except (*_ARCHIVE_ERRORS, OSError, NotImplementedError, RuntimeError) as error:
        raise LabelError(f"{path} cannot be read as an archive: {error}. Get it again, or unpack it.") from error
    except (ValueError, MemoryError) as error:
        if isinstance(error, LabelError):
            raise
        raise LabelError(f"{path} cannot be read as an archive: {error or type(error).__name__}.") from error
    return found


def _head(path: str | os.PathLike[str]) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(4096)
    except OSError as error:
        raise LabelError(f"{path} cannot be read: {error.strerror or error}.") from error


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _what(head: bytes) -> str:
    """What content is, for messages."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<"):
        tags = re.findall(rb"<\s*([A-Za-z_][\w:.-]*)", start)
        name = tags[0].decode("ascii") if tags else "?"
        return f"is XML ({name}), which may name other files or servers and is not read"
    if start.startswith((b"{", b"[")):
        return "is JSON"
    if not start:
        return "is empty"
    return "is of another format"


def _item_bytes(kind: str) -> int:
    import numpy as np

    try:
        return int(np.dtype(kind).itemsize)
    except TypeError:
        return 16


@contextmanager
def _not_georeferenced_is_fine() -> Iterator[None]:
    import warnings

    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
