"""The files of a product, in a folder, in a zip archive or on the network, opened so that none leads outside.

Archives are made by many hands: members may carry backslashes, Apple's `__MACOSX` and `._*` companions are no product
files, and methods of compression that nothing here can read are refused with advice.

References:
    PKWARE APPNOTE 6.3.9, sections 4.3.14 to 4.3.16 (end of the directory), 4.4.5 (compression methods) and 4.4.17
    (names use forward slashes).
"""

from __future__ import annotations

import io
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO

from frazil.errors import FrazilError, ProductError, ProductNotFoundError, printable
from frazil.net.addresses import is_address
from frazil.net.folder import RemoteFolder, remote_folder
from frazil.untrusted import is_inside, open_regular
from frazil.xml_files import MAX_BYTES

_PARTS = (".tif", ".tiff", ".xml", ".safe")  # what a file of a product may end in
_DEFLATE64 = 9
_MAX_DIRECTORY = 8 * 2**20  # bytes, of an archive; wave-mode products have some thousand members
_END, _END_BYTES, _LARGE_BYTES, _LOCATOR_BYTES = b"PK\x05\x06", 22, 56, 20  # what an archive ends with
_MAX_RATIO = 1100  # of deflate: 1032; more is no deflated file


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the files of a kind of product lie, and what tells that kind.

    Attributes:
        folders: below the product folder, where its files lie; ``""`` is that folder itself.
        home: a file or folder that every product folder of the kind has.
        sign: pattern of a file below the product folder that no archive of the kind lacks.
        outer: glob pattern of names of product folders: a folder that holds a single one stands for it.
        contents: of a product folder, in words.
    """

    folders: tuple[str, ...]
    home: str
    sign: str
    outer: str
    contents: str

    def is_product(self, folder: Path) -> bool:
        """Whether a folder is a product folder of this kind."""
        return (folder / self.home).exists()

    def folder_in(self, folder: Path) -> Path:
        """The product folder that a folder is or, a single one, holds; else the folder itself."""
        if not self.is_product(folder):
            inside = [p for p in sorted(folder.glob(self.outer)) if p.is_dir() and not _is_companion(p.name)]
            if len(inside) == 1:
                return inside[0]
        return folder

    def folder_around(self, file: Path) -> Path | None:
        """The product folder that a file is part of, or None."""
        if file.suffix.lower() not in _PARTS:
            return None
        above = file.absolute().parents
        return next((p for p in above[:4] if self.is_product(p)), None)


@dataclass(frozen=True)
class ProductFiles:
    """Where the files of one product lie.

    Attributes:
        path: the folder or archive.
        prefix: the folder inside the archive, ``""`` or ending in ``/``.
        sizes: path below the product folder -> size in bytes.
        members: path below the product folder -> name in the archive.
        remote: the folder on the network that the product is read from; `path` is no path then.
    """

    path: Path
    prefix: str
    sizes: dict[str, int]
    members: dict[str, str] = field(default_factory=dict)
    remote: RemoteFolder | None = None

    @property
    def archived(self) -> bool:
        """Whether the product is a zip archive."""
        return bool(self.members)

    @property
    def shown(self) -> str:
        """The path in characters that every terminal and file can hold."""
        return printable(str(self.path)) if self.remote is None else self.remote.shown

    @cached_property
    def name(self) -> str:
        """The product name, without ``.SAFE`` or ``.zip``."""
        inside = self.prefix.rstrip("/").rsplit("/", 1)[-1]
        return printable(re.sub(r"\.(SAFE|zip)$", "", inside or self.path.resolve().name, flags=re.IGNORECASE))

    def read(self, name: str) -> bytes:
        """The bytes of a metadata file.

        Raises:
            ProductError: it is missing, unreadable, leads outside, or absurdly large.
        """
        if self.sizes.get(name, 0) > MAX_BYTES:
            raise ProductError(f"{name} of {self.name} has {self.sizes[name]} bytes; metadata never does.")
        with self.open(name) as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ProductError(f"{name} of {self.name} has more than {MAX_BYTES} bytes; metadata never does.")
        return data

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A file, to read its bytes.

        Raises:
            ProductError: it is missing, unreadable, or leads outside.
        """
        if name not in self.sizes:
            raise ProductError(f"{self.name} has no {name}. Download the whole product again.")
        if self.remote is not None:
            yield io.BytesIO(self.remote.read(name, MAX_BYTES))
            return
        try:
            if self.archived:
                with zipfile.ZipFile(self.path) as archive, archive.open(self.members[name]) as member:
                    yield member
            else:
                _refuse_outside(self.path / name, self.path)
                with open_regular(self.path / name) as file:
                    yield file
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, zlib.error) as error:
            if isinstance(error, ProductError):
                raise
            raise ProductError(
                f"{name} of {self.shown} cannot be read: {error}. Download the product again."
            ) from error

    def gdal_path(self, name: str) -> str:
        """The path by which GDAL opens a file.

        Raises:
            ProductError: a link leads outside; GDAL cannot be told the path.
            ArchiveError, CredentialsError: of a product on the network, as `RemoteFolder.gdal_path`.
        """
        if self.remote is not None:
            return self.remote.gdal_path(name)
        if any("\ud800" <= c <= "\udfff" for c in str(self.path.resolve()) + name):
            raise ProductError(f"The path of {self.shown} is not UTF-8, and GDAL cannot open it. Rename the product.")
        if not self.archived:
            _refuse_outside(self.path / name, self.path)
            return str(self.path / name)
        archive, inner = str(self.path.resolve()), self.prefix + name  # GDAL turns backslashes into slashes, too
        if not re.search(r"[{}]", archive):
            return f"/vsizip/{{{archive}}}/{inner}"
        if self.path.suffix.lower() != ".zip":
            raise ProductError(f"{self.shown} has braces in its path and no .zip at its end. Rename it.")
        return f"/vsizip/{archive}/{inner}"


def find_files(path: str | os.PathLike[str], layout: Layout) -> ProductFiles:
    """The files of the product at a path.

    Raises:
        ProductNotFoundError: nothing there, or a name of the internet that is not read.
        ProductError: a damaged or hostile archive.
        ArchiveError, CredentialsError: of an address, as `remote_folder`.
    """
    if is_address(path):
        remote = remote_folder(os.fspath(path))
        return ProductFiles(Path(remote.address), "", _of_layout(remote.sizes, layout), remote=remote)
    place = _local(path)
    if place.is_dir():
        return _from_folder(place, layout)
    inside = place.parent if place.name == "manifest.safe" else layout.folder_around(place)
    if inside is None and place.suffix.lower() in _PARTS:
        raise _alone(place, f"the folder that holds {layout.contents}")
    return _from_zip(place, layout) if inside is None else _from_folder(inside, layout)


def holds(path: str | os.PathLike[str], layout: Layout) -> bool:
    """Whether a product of this kind lies at a path, sound or not; False where nothing can be read."""
    if is_address(path):
        try:
            return any(re.fullmatch(layout.sign, name) for name in remote_folder(os.fspath(path)).sizes)
        except FrazilError:
            return False
    try:
        place = _local(path)
        if place.is_dir():
            return layout.is_product(layout.folder_in(place))
        if place.suffix.lower() in _PARTS:
            return layout.folder_around(place) is not None
        _refuse_endless(place)
        with zipfile.ZipFile(place) as archive:
            names = [name.replace("\\", "/") for name in archive.namelist()]
        sign = re.compile(f"((?:[^/]+/)*){layout.sign}")
        return any(sign.fullmatch(n) and not any(_is_companion(part) for part in n.split("/")) for n in names)
    except (ProductNotFoundError, ProductError, zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def refuse_place(path: str | os.PathLike[str]) -> str:
    """The path in characters that every terminal can show, if something lies there that might have been a product.

    Raises:
        ProductNotFoundError: nothing there, a name of the internet that is not read, or a single file of a product.
        ProductError: a damaged or hostile archive.
        ArchiveError, CredentialsError: of an address, as `remote_folder`.
    """
    if is_address(path):
        return remote_folder(os.fspath(path)).shown
    place = _local(path)
    if place.is_file() and place.suffix.lower() in _PARTS:
        raise _alone(place, "its product's folder")
    if place.suffix.lower() == ".zip":
        _refuse_endless(place)
        with _as_archive(place), zipfile.ZipFile(place):
            pass
    return printable(str(place))


def _local(path: str | os.PathLike[str]) -> Path:
    given = os.fspath(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://|/vsi", given):
        raise ProductNotFoundError(
            f"{printable(given)} is not on a local disk, nor https:// or s3://, where frazil reads products. "
            "Download it and give its path."
        )
    place = Path(given)
    if not place.exists():
        raise ProductNotFoundError(f"No product at {printable(given)}. Give a SAFE folder or a zip of one.")
    return place


def _of_layout(sizes: dict[str, int], layout: Layout) -> dict[str, int]:
    """The files that a folder of this kind would give."""
    return {n: s for n, s in sizes.items() if n.rpartition("/")[0] in layout.folders and not _is_companion(n)}


def _alone(file: Path, what: str) -> ProductNotFoundError:
    return ProductNotFoundError(
        f"{printable(str(file))} alone is no product: calibration and geolocation lie beside it. Give {what}, or a zip "
        "of it."
    )


def _refuse_outside(path: Path, folder: Path) -> None:
    if not is_inside(path, folder):
        raise ProductError(
            f"{printable(str(path))} is a link that leaves the product; it is not followed. "
            "Put the file itself there, if you trust it."
        )


def _from_folder(folder: Path, layout: Layout) -> ProductFiles:
    folder = layout.folder_in(folder)
    sizes = {}
    for sub in layout.folders:
        place = folder / sub
        if place.is_dir():
            for p in sorted(place.iterdir()):
                if p.is_file() and not _is_companion(p.name):
                    sizes[p.relative_to(folder).as_posix()] = p.stat().st_size
    return ProductFiles(folder, "", sizes)


@contextmanager
def _as_archive(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        if isinstance(error, ProductError):
            raise
        raise ProductError(
            f"{printable(str(path))} is not a readable zip archive ({error}). Download the product again, or give its "
            "SAFE folder."
        ) from error


def _from_zip(path: Path, layout: Layout) -> ProductFiles:
    with _as_archive(path):
        _refuse_endless(path)
        with zipfile.ZipFile(path) as archive:
            infos = [i for i in archive.infolist() if not i.filename.endswith(("/", "\\"))]
    climbing = [i.filename for i in infos if _climbs(i.filename)]
    if climbing:
        raise ProductError(
            f"{printable(str(path))} holds members whose paths leave the archive ({climbing[0]!r}); it is not read. "
            "Get the product from a source you trust."
        )
    found = {i.filename.replace("\\", "/"): i for i in infos}
    found = {name: i for name, i in found.items() if not any(_is_companion(part) for part in name.split("/"))}
    prefixes = {
        match.group(1) for name in found if (match := re.fullmatch(f"((?:[^/]+/)*){layout.sign}", name)) is not None
    }
    if len(prefixes) > 1:
        raise ProductError(
            f"{printable(str(path))} holds {len(prefixes)} products: {sorted(prefixes)}. Give one product per archive."
        )
    prefix = prefixes.pop() if prefixes else ""
    names = [i.filename.replace("\\", "/") for i in infos if i.filename.replace("\\", "/").startswith(prefix)]
    if len(names) > len(set(names)):
        twice = next(n for n in names if names.count(n) > 1)
        raise ProductError(
            f"{printable(str(path))} holds {twice} twice, and readers differ in which one they take. "
            "Get the product from a source you trust."
        )
    found = {name[len(prefix) :]: i for name, i in found.items() if name.startswith(prefix)}
    for name, info in found.items():
        if name.rpartition("/")[0] in layout.folders:
            _refuse_unreadable(path, name, info)
    return ProductFiles(
        path, prefix, {n: i.file_size for n, i in found.items()}, {n: i.filename for n, i in found.items()}
    )


def _refuse_endless(path: Path) -> None:
    """Refuse an archive whose directory alone would fill the memory.

    Its size is looked up where `zipfile` does: a signature may stand among other numbers, too.
    """
    with open_regular(path) as file:
        end = file.seek(0, os.SEEK_END)
        begin = file.seek(max(end - 2**17, 0))
        tail = file.read()
        at = len(tail) - _END_BYTES
        if tail[at : at + 4] != _END or tail[-2:] != b"\0\0":  # behind it stands a comment
            at = tail.rfind(_END)
        if at < 0:
            return  # no archive: zipfile says so
        size = int.from_bytes(tail[at + 12 : at + 16], "little")
        locator = tail[max(at - _LOCATOR_BYTES, 0) : at]
        if locator[:4] == b"PK\x06\x07":
            said, before = int.from_bytes(locator[8:16], "little"), begin + at - _LOCATOR_BYTES - _LARGE_BYTES
            large = [_large_directory(file, place) for place in (said, before)]  # zipfile goes by either
            size = max([size if size < 2**32 - 1 else 0, *large])
    if size > _MAX_DIRECTORY:
        raise ProductError(
            f"{printable(str(path))} has a directory of {size} bytes, which no product has; it is not read. "
            "Get the product from a source you trust."
        )


def _large_directory(file: IO[bytes], place: int) -> int:
    """Bytes of the directory as the record of a large archive at a place says; 0 where there is none."""
    if not 0 <= place < 2**63:
        return 0
    file.seek(place)
    record = file.read(_LARGE_BYTES)
    return int.from_bytes(record[40:48], "little") if record[:4] == b"PK\x06\x06" else 0


def _refuse_unreadable(path: Path, name: str, info: zipfile.ZipInfo) -> None:
    what, advice = f"{name} of {printable(str(path))}", "Unpack the archive and give the folder."
    if info.flag_bits & 1:
        raise ProductError(f"{what} is encrypted. {advice}")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        method = "Deflate64" if info.compress_type == _DEFLATE64 else f"method {info.compress_type}"
        raise ProductError(f"{what} is compressed by {method}, which cannot be read. {advice}")
    if info.file_size > _MAX_RATIO * max(info.compress_size, 1):
        raise ProductError(
            f"{what} claims {info.file_size} bytes from {info.compress_size}, which no zip holds. "
            "Get the product from a source you trust."
        )


def _is_companion(name: str) -> bool:
    """Whether a name is one of those that Apple's Finder adds to folders and archives."""
    return name.startswith("._") or name in ("__MACOSX", ".DS_Store")


def _climbs(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return ".." in parts or name.startswith(("/", "\\")) or ":" in (parts[0] if parts else "")
