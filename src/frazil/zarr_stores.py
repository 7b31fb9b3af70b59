"""Zarr stores of strangers: looked through before Zarr opens them.

A Zarr array names the codecs that its chunks go through, and a codec may run code (``pickle``), or make gigabytes of
some kilobytes. So the metadata is read here first, as plain JSON: Zarr 3 alone, arrays of the names, plain types and
codecs that frazil writes, and chunks that are whole and of the size that the metadata says. What is left cannot hold
an object, refer to another file, or ask for more memory than a set of its size on disk can need.

References:
    Zarr core specification, version 3.0: metadata documents, chunk grids, default chunk keys.
    RFC 8878, Zstandard, section 3.1: frames, blocks.
"""

from __future__ import annotations

import itertools
import math
import os
import stat
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from frazil.errors import LabelError
from frazil.untrusted import open_regular, read_json

#: What Zarr, its codecs and xarray raise for damaged stores.
DAMAGED_STORE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    RuntimeError,
    MemoryError,
    ArithmeticError,
    struct.error,
)
_METADATA = 64_000_000  # bytes; the names of all scenes stand there
_SIZES = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "uint64": 8,
    "float16": 2,
    "float32": 4,
    "float64": 8,
}
_CHUNK = 2**28  # bytes of a chunk, and of a set, that need no reason
_RATIO = 200  # sets shrink to a third on disk; those of few different values to a hundredth
_MAGIC = 0xFD2FB528


class _StrangeError(Exception):
    """What is wrong with a store; becomes a LabelError that names it."""


@dataclass(frozen=True)
class _Array:
    name: str
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    item: int
    compressed: bool
    sealed: bool

    @property
    def chunk_bytes(self) -> int:
        return math.prod(self.chunk) * self.item

    @property
    def keys(self) -> Iterator[str]:
        """Paths of its chunks, from the folder of the array."""
        counts = (range(-(-n // c)) for n, c in zip(self.shape, self.chunk, strict=True))
        return ("/".join(("c", *map(str, at))) for at in itertools.product(*counts))


def sealed_codec() -> Any:
    """The compression of every array that frazil writes: Zstandard with checksums, which it compares when it reads.

    Arrays without are of older versions, which left out chunks of zeros.
    """
    from zarr.codecs import ZstdCodec

    return ZstdCodec(level=0, checksum=True)


def check_store(
    path: str | os.PathLike[str],
    what: str,
    *,
    arrays: Collection[str],
    words: Collection[str] = (),
    whole: Collection[str] = (),
) -> None:
    """Raise unless a folder is a Zarr 3 store that frazil may have written.

    Args:
        path: of the store.
        what: it should be, for messages: ``"a patch set"``.
        arrays: names that arrays may have.
        words: those of them that hold text of fixed length, others hold numbers.
        whole: those of which no chunk may be missing; a missing chunk of others is all fill value, as Zarr means it.
            Arrays with checksums (`sealed_codec`) never lack one.

    Raises:
        LabelError: another format or version, a foreign array, type or codec, a link or pipe, a chunk that is
            truncated or would be larger than it says, more data than a store of this size can hold.
    """
    root = Path(path)
    try:
        found = [_array(root, name, name in words) for name in _names(root, arrays)]
        stored = {a.name: _sizes(root / a.name) for a in found}
        allowance = _CHUNK + _RATIO * sum(map(sum, (s.values() for s in stored.values())))
        if sum(math.prod(a.shape) * a.item for a in found) > allowance:
            raise _StrangeError("its metadata tells of more data than its chunks can hold")
        for array in found:
            if array.chunk_bytes > allowance:
                raise _StrangeError(f"a chunk of {array.name} would take {array.chunk_bytes} bytes")
            _check_chunks(root, array, stored[array.name], array.sealed or array.name in whole)
    except _StrangeError as error:
        raise LabelError(f"{root} is not {what} or is damaged: {error}. Make it anew.") from None
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise LabelError(
            f"{root} is not {what} or is damaged: {error.strerror or error}{where}. Make it anew."
        ) from error


def _names(root: Path, arrays: Collection[str]) -> list[str]:
    """Arrays of a store; raise where something else is in it."""
    here = {entry.name for entry in os.scandir(root)}
    if here & {".zgroup", ".zarray", ".zmetadata", ".zattrs"}:
        raise _StrangeError("it is of Zarr 2, and only Zarr 3 is read")
    about = _metadata(root / "zarr.json")
    if about.get("node_type") != "group":
        raise _StrangeError("it is no group of arrays")
    if about.get("consolidated_metadata"):
        raise _StrangeError("it has consolidated metadata, which frazil does not write")
    names = sorted(name for name in here - {"zarr.json"} if not name.startswith("."))
    strange = [name for name in names if name not in arrays]
    if strange:
        raise _StrangeError(f"it holds {strange[0]!r}, which no such set has")
    return names


def _metadata(path: Path) -> dict[str, Any]:
    try:
        about = read_json(path, _METADATA, follow=False)
    except FileNotFoundError:
        raise _StrangeError(f"{path.name} of {path.parent.name} is missing") from None
    except ValueError as error:
        raise _StrangeError(f"{path.name} of {path.parent.name} is no JSON ({error})") from None
    if not isinstance(about, dict) or about.get("zarr_format") != 3:
        raise _StrangeError(f"{path.name} of {path.parent.name} is not of Zarr 3")
    return about


def _array(root: Path, name: str, text: bool) -> _Array:
    if not stat.S_ISDIR((root / name).lstat().st_mode):
        raise _StrangeError(f"{name} is no folder")
    about = _metadata(root / name / "zarr.json")
    try:
        grid, keys = about["chunk_grid"], about["chunk_key_encoding"]
        codecs = [codec["name"] for codec in about["codecs"]]
        shape, chunk = (_shape(v) for v in (about["shape"], grid["configuration"]["chunk_shape"]))
        item = _item_bytes(about["data_type"], text, name)
        plain = (
            about["node_type"] == "array"
            and grid["name"] == "regular"
            and keys["name"] == "default"
            and keys.get("configuration", {}).get("separator", "/") == "/"
            and not about.get("storage_transformers")
        )
        sealed = any(codec.get("configuration", {}).get("checksum") is True for codec in about["codecs"])
    except (KeyError, TypeError, AttributeError) as error:
        raise _StrangeError(f"the metadata of {name} is incomplete ({error})") from None
    if not plain or len(shape) != len(chunk) or 0 in chunk:
        raise _StrangeError(f"{name} is stored in a way that frazil does not write")
    if codecs not in (["bytes"], ["bytes", "zstd"]):
        raise _StrangeError(f"{name} is coded by {codecs}; only bytes and zstd are read")
    return _Array(name, shape, chunk, item, "zstd" in codecs, sealed)


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(n) is int and 0 <= n < 2**40 for n in value):
        raise TypeError(f"shape {value!r}")
    return tuple(value)


def _item_bytes(data_type: Any, text: bool, name: str) -> int:
    if isinstance(data_type, str) and data_type in _SIZES and not text:
        return _SIZES[data_type]
    if isinstance(data_type, dict) and data_type.get("name") == "fixed_length_utf32" and text:
        size = data_type["configuration"]["length_bytes"]
        if type(size) is int and 0 < size <= 2**16:
            return size
    raise _StrangeError(f"{name} is of type {data_type!r}, expected {'text of fixed length' if text else 'numbers'}")


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file of chunks below the folder of an array; raise for links and anything but files."""
    found: dict[str, int] = {}
    waiting = ["c"] if (folder / "c").exists() or (folder / "c").is_symlink() else []
    while waiting:
        inside = waiting.pop()
        about = (folder / inside).lstat()
        if stat.S_ISDIR(about.st_mode):
            waiting += [f"{inside}/{entry.name}" for entry in os.scandir(folder / inside)]
        elif stat.S_ISREG(about.st_mode):
            found[inside] = about.st_size
        else:
            raise _StrangeError(f"{folder.name}/{inside} is no regular file")
    return found


def _check_chunks(root: Path, array: _Array, stored: dict[str, int], whole: bool) -> None:
    if whole:
        count = math.prod(-(-n // c) for n, c in zip(array.shape, array.chunk, strict=True))
        if count > len(stored) or any(key not in stored for key in array.keys):
            raise _StrangeError(f"chunks of {array.name} are missing")
    for key, size in stored.items():
        if array.compressed:
            with open_regular(root / array.name / key, follow=False) as file:
                content = frame_content(file, size)
        else:
            content = size
        if content != array.chunk_bytes:
            raise _StrangeError(f"chunk {array.name}/{key} is truncated or not of the size that it should have")


def frame_content(file: BinaryIO, size: int) -> int:
    """Bytes that a file of one whole Zstandard frame becomes; −1 if it is none, is cut off, or does not say so.

    Args:
        file: open at its start.
        size: of the file.
    """
    head = file.read(18)
    if len(head) < 6 or int.from_bytes(head[:4], "little") != _MAGIC:
        return -1
    flags = head[4]
    single = flags >> 5 & 1
    width = (1 if single else 0, 2, 4, 8)[flags >> 6]
    if flags & 0b1011 or not width:  # a dictionary, a reserved bit, or a content of unknown size
        return -1
    start = 5 + (0 if single else 1)
    content = int.from_bytes(head[start : start + width], "little") + (256 if width == 2 else 0)
    at, last = start + width, 0
    while not last:
        file.seek(at)
        block = file.read(3)
        if len(block) < 3:
            return -1
        number = int.from_bytes(block, "little")
        last, kind = number & 1, number >> 1 & 3
        at += 3 + (1 if kind == 1 else number >> 3)
        if kind == 3 or at > size:
            return -1
    return content if at + (4 if flags & 4 else 0) == size else -1
