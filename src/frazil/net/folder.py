"""A product folder on the network, read where it lies: ``https://…/NAME.SAFE``, ``s3://bucket/…/NAME.SAFE``.

Over https nothing lists a folder but the product's own manifest; a bucket can be listed. Metadata is read here, pixels
by GDAL in ranges. No token and no password is sent over https: what needs one is fetched (`frazil get`). A signature in
the query of the address goes along with every file, and is never shown.

References:
    S1-RS-MDA-52-7441, section 3.1. RFC 9110, section 14 (ranges). GDAL: /vsicurl/, /vsis3/.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit

from frazil.errors import ArchiveError, FrazilError, ProductError, ProductNotFoundError
from frazil.net.addresses import check_address, shown
from frazil.net.buckets import Bucket, bucket, gdal_options, open_store, split, told
from frazil.net.http import Client, StatusError, refused
from frazil.net.patience import Patience
from frazil.xml_files import MAX_BYTES, read_record

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*){0,3}")
_MOST_FILES = 100_000
_CLIENT = Client(timeout_s=30.0, patience=Patience(tries=3, longest_asked_s=60.0))  # somebody waits for the map
_CHEAPEST = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_HTTP_NETRC": "NO",  # GDAL would send a password of ~/.netrc to whatever host is asked
    "GDAL_HTTP_MAX_RETRY": "5",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_CONNECTTIMEOUT": "30",
    "GDAL_HTTP_LOW_SPEED_TIME": "60",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "CPL_VSIL_CURL_CHUNK_SIZE": "1048576",
    "CPL_VSIL_CURL_CACHE_SIZE": "134217728",
}


@dataclass(frozen=True, kw_only=True)
class RemoteFolder:
    """The files of a product folder on the network.

    Attributes:
        address: of the folder, without query.
        query: a signature, or ``""``.
        sizes: path below the folder -> bytes.
        where: the bucket, or None over https.
    """

    address: str
    query: str = field(default="", repr=False)
    sizes: dict[str, int]
    where: Bucket | None = None

    @property
    def shown(self) -> str:
        """The address for messages."""
        return shown(self.address)

    def read(self, name: str, limit: int) -> bytes:
        """The bytes of a file.

        Raises:
            ArchiveError, CredentialsError: they do not come, or are more than `limit`.
        """
        if self.where is None:
            return _CLIENT.read(self._of(name), limit=limit)
        key = f"{split(self.address)[1]}/{name}"
        with _in_words(self.where, key):
            import obstore

            store = open_store(self.where)
            if obstore.head(store, key)["size"] > limit:
                raise ArchiveError(f"{name} of {self.shown} has more than {limit} bytes; metadata never does.")
            return bytes(obstore.get(store, key).bytes())

    def gdal_path(self, name: str) -> str:
        """The path by which GDAL opens a file; that its server gives parts of it is tried first.

        Raises:
            ArchiveError, CredentialsError: it does not, or refuses.
            ProductError: the file has another size there than the manifest says.
        """
        if self.where is not None:
            return f"/vsis3/{self.where.name}/{split(self.address)[1]}/{name}"
        address = self._of(name)
        with _CLIENT.open(address, headers={"Range": "bytes=0-0"}) as answer:
            if answer.status == 200:
                raise ArchiveError(
                    f"{urlsplit(address).hostname} does not give parts of files, so that {name} cannot be read in "
                    "place. Download the product, and give its folder."
                )
            if answer.status != 206:
                raise refused(answer)
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
        if total.isdigit() and self.sizes.get(name, -1) not in (-1, int(total)):
            raise ProductError(
                f"{name} of {self.shown} has {total} bytes on the server, but {self.sizes[name]} in manifest.safe: the "
                "product there is damaged or mixed. Take it from another place."
            )
        return f"/vsicurl/{address}"

    def _of(self, name: str) -> str:
        return f"{self.address}/{quote(name)}" + (f"?{self.query}" if self.query else "")


@lru_cache(maxsize=8)
def remote_folder(address: str) -> RemoteFolder:
    """The product folder at an address; what was found is kept as long as the program runs.

    Raises:
        ProductNotFoundError: nothing there, or a zip.
        ArchiveError, CredentialsError: the server does not answer, or refuses.
        ProductError: a manifest that is none.
    """
    if re.match(r"(?i)s3://", address):
        return _in_bucket(address)
    parts = urlsplit(check_address(address))
    path = re.sub(r"/(manifest\.safe)?/*$", "", parts.path)
    if path.lower().endswith((".zip", ".tar", ".gz", ".tgz")):
        raise ProductNotFoundError(
            f"{shown(address)} is an archive, which is not read over the network. Download it and give its path; of a "
            "catalogue, frazil get does."
        )
    base = f"{parts.scheme}://{parts.netloc}{path}"
    found = RemoteFolder(address=base, query=parts.query, sizes={})
    try:
        data = found.read("manifest.safe", MAX_BYTES)
    except StatusError as error:
        if error.status not in (404, 410):
            raise
        raise ProductNotFoundError(
            f"There is no manifest.safe in {found.shown}, and over https nothing else lists a product's files. Give "
            "the address of the folder NAME.SAFE."
        ) from error
    sizes = read_record(_sizes, data, f"manifest.safe of {found.shown}")
    return RemoteFolder(address=base, query=parts.query, sizes={**sizes, "manifest.safe": len(data)})


def _sizes(root: ET.Element) -> dict[str, int]:
    if root.tag.rpartition("}")[2] != "XFDU":
        raise ValueError(f"its root is <{root.tag[:80]}>")
    sizes = {}
    for element in root.iter("byteStream"):
        place = element.find("fileLocation")
        name = "" if place is None else place.get("href", "").removeprefix("./")
        size = element.get("size", "")
        if _NAME.fullmatch(name):  # what climbs or is an address is no file of the product
            sizes[name] = int(size) if size.isdigit() and len(size) < 16 else -1
    return sizes


def _in_bucket(address: str) -> RemoteFolder:
    name, key = split(address)
    key = key.removesuffix("/manifest.safe")
    where = bucket(name)
    sizes: dict[str, int] = {}
    with _in_words(where, key):
        import obstore

        for page in obstore.list(open_store(where), key + "/"):
            for one in page:
                inside = str(one["path"]).removeprefix(key + "/")
                if _NAME.fullmatch(inside):
                    sizes[inside] = int(one["size"])
            if len(sizes) > _MOST_FILES:
                raise ProductNotFoundError(f"{shown(address)} holds {len(sizes)} files: that is no product.")
    if not sizes:
        raise ProductNotFoundError(f"There is nothing at {shown(address)} (asked at {where.host}).")
    return RemoteFolder(address=f"s3://{name}/{key}", sizes=sizes, where=where)


@contextmanager
def _in_words(where: Bucket, key: str) -> Iterator[None]:
    open_store(where)  # says what is not installed
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError) as error:
        if isinstance(error, FrazilError):
            raise
        raise told(error, where, key) or ArchiveError(f"{where.host} cannot be read ({_first(error)}).") from error


def _first(error: BaseException) -> str:
    return " ".join(str(error).split())[:150]


def is_remote(path: str) -> bool:
    """Whether a path of GDAL is one of the network."""
    return path.startswith(("/vsicurl/", "/vsis3/"))


@contextmanager
def reading(path: str) -> Iterator[None]:
    """GDAL's settings to read a path of the network, with the keys of its bucket; of a local path nothing changes."""
    if not is_remote(path):
        yield
        return
    import rasterio
    from rasterio.session import Session

    class Keys(Session):
        """What rasterio hands to GDAL without looking at it."""

        credentials = gdal_options(bucket(path.split("/")[2])) if path.startswith("/vsis3/") else {}

        @classmethod
        def hascreds(cls, config: Any) -> bool:  # noqa: ARG003
            return True

        def get_credential_options(self) -> dict[str, str]:
            return dict(self.credentials)

    with rasterio.Env(session=Keys(), **_CHEAPEST):
        yield


def without_query(text: str) -> str:
    """A text without the queries of addresses: GDAL's messages quote them whole."""
    return re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]*", r"\1", text)
