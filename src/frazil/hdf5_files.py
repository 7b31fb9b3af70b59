"""NetCDF files of strangers: looked through before they are read.

An HDF5 file may hold links to other files, and datasets whose bytes lie in other files: what looks like a concentration
is then whatever the user may read. Such files are refused, and so is a dataset that claims far more data than a file of
its size can hold.

References:
    HDF5 file format specification 3.0: external links, external data files, virtual datasets, global heaps (III.E).
"""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from frazil.errors import LabelError
from frazil.gdal_files import refuse_address
from frazil.untrusted import open_regular

DAMAGED = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    MemoryError,
    AttributeError,
    OverflowError,
)
"""What h5py, h5netcdf and xarray raise for damaged files."""
_PLAIN, _RATIO = 2**29, 2000  # bytes of a dataset that need no reason; no more than this for a byte on disk
_REFERENCE = 16  # bytes of a value of variable length: its length (4), address of its heap (8), number in it (4)
_HEAP = b"GCOL\x01\0\0\0"
_MAGIC = b"\x89HDF\r\n\x1a\n"


def netcdf_engine(path: str | os.PathLike[str]) -> str:
    """The xarray engine of a NetCDF file, ``"h5netcdf"`` or ``"scipy"``, after a look at what is in it.

    Raises:
        LabelError: HDF4 or another format; a link to another file, or data in one; more data than it can hold.
        OSError and others of `DAMAGED`: it is damaged.
    """
    refuse_address(path)
    with open_regular(path) as file:
        head = file.read(8)
    if head.startswith(b"\x0e\x03\x13\x01"):
        raise LabelError(
            f"{path} is HDF4, which this installation cannot read (GDAL without its driver) and which does not say "
            "where it lies. Pass the NetCDF or GeoTIFF file of the same day."
        )
    if head.startswith(b"CDF"):
        return "scipy"
    if head == _MAGIC:
        _check_hdf5(Path(path))
    return "h5netcdf"


def _check_hdf5(path: Path) -> None:
    import h5py

    _check_heaps(path)
    most = _PLAIN + _RATIO * path.stat().st_size
    with h5py.File(path, "r") as file:
        waiting: list[Any] = [file]
        seen: set[Any] = set()
        while waiting:
            group = waiting.pop()
            if group.id.__hash__() in seen:
                continue
            seen.add(group.id.__hash__())
            for name in group:
                link = group.get(name, getlink=True)
                if not isinstance(link, h5py.HardLink):
                    raise LabelError(f"{path}: {name!r} is a link to another place or file, which is not followed.")
                found = group[name]
                if isinstance(found, h5py.Group):
                    waiting.append(found)
                elif isinstance(found, h5py.Dataset):
                    if found.external or found.is_virtual:
                        raise LabelError(f"{path}: the data of {name!r} lie in other files, which are not read.")
                    if found.size is not None and found.size * found.dtype.itemsize > most:
                        raise LabelError(
                            f"{path}: {name!r} claims {found.shape} values, more than a file of its size can hold."
                        )
                    if h5py.check_vlen_dtype(found.dtype) or h5py.check_string_dtype(found.dtype):
                        _check_lengths(found, path)
                    chunk = found.chunks
                    if chunk and found.dtype.itemsize * _product(chunk) > most:
                        raise LabelError(f"{path}: a chunk of {name!r} claims {chunk} values. Is the file whole?")


def hdf5_lock() -> AbstractContextManager[Any]:
    """The lock that h5py holds around every call of HDF5; to be held around chunks that are read or written directly.

    HDF5 itself bears one thread at a time, and h5py before 3.16 left these two calls out (its change 2764): another
    thread that opens, closes or merely forgets a file then tore the one being written.
    """
    try:
        from h5py._objects import phil
    except ImportError:  # no public name: a later h5py may have moved it, and takes it by itself
        return nullcontext()
    lock: AbstractContextManager[Any] = phil
    return lock


def _check_lengths(dataset: Any, path: Path) -> None:
    """Refuse values of variable length that claim more than the file holds: HDF5 takes the memory, then looks.

    Raises:
        LabelError: as it says.
    """
    address = dataset.file.id.get_create_plist().get_sizes()[0]
    if dataset.dtype.kind != "O" or not dataset.size or address != 8:
        return
    most = path.stat().st_size
    for data in _stored(dataset, path):
        lengths = np.frombuffer(data[: len(data) // _REFERENCE * _REFERENCE], "<u4").reshape(-1, _REFERENCE // 4)[:, 0]
        if lengths.size and int(lengths.max()) > most:
            raise LabelError(f"{path} is damaged: a value of {dataset.name!r} claims {lengths.max()} letters.")


def _stored(dataset: Any, path: Path) -> Iterator[bytes]:
    """The bytes of a dataset as they lie in the file; of chunks that were compressed, what deflate and shuffle hid."""
    offset = dataset.id.get_offset()
    if dataset.chunks is None:
        if offset is not None:
            with path.open("rb") as file:
                file.seek(offset)
                yield file.read(dataset.id.get_storage_size())
        return
    size, plan = _product(dataset.chunks) * _REFERENCE, dataset.id.get_create_plist()
    for i in range(dataset.id.get_num_chunks()):
        with hdf5_lock():
            skipped, data = dataset.id.read_direct_chunk(dataset.id.get_chunk_info(i).chunk_offset)
        for k in reversed(range(plan.get_nfilters())):
            kind, _, settings, _ = plan.get_filter(k)
            if skipped >> k & 1:
                continue
            data = _unfiltered(data, kind, settings, size, f"{path} is damaged: {dataset.name!r}")
        yield data


def _unfiltered(data: bytes, kind: int, settings: tuple[int, ...], size: int, name: str) -> bytes:
    """What a filter of HDF5 was given; nothing for one that is not known here."""
    if kind == 1:  # deflate
        try:
            return zlib.decompressobj().decompress(data, size + 4)
        except zlib.error as error:
            raise LabelError(f"{name} cannot be unpacked ({error}).") from error
    if kind == 2 and settings and settings[0] > 1:  # shuffle: first bytes of all elements, then second ones …
        whole = len(data) // settings[0] * settings[0]
        return np.frombuffer(data[:whole], np.uint8).reshape(settings[0], -1).T.tobytes() + data[whole:]
    return data[:-4] if kind == 3 else b"" if kind != 2 else data  # 3: a checksum at the end


def _check_heaps(path: Path) -> None:
    """Refuse global heaps whose objects do not fit into them: HDF5 follows such sizes for ever, deaf to signals.

    Raises:
        LabelError: an object that runs past its heap, or a heap that runs past the file.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if len(data) < 16 or data[14 if data[8] < 2 else 10] != 8:  # bytes of a length; all but old files have 8
            return
        at = data.find(_HEAP)
        while at >= 0:
            end = at + int.from_bytes(data[at + 8 : at + 16], "little")
            sound, place = end <= len(data), at + 16
            while sound and place + 16 <= end:
                index = int.from_bytes(data[place : place + 2], "little")
                size = int.from_bytes(data[place + 8 : place + 16], "little")
                if index == 0:  # free space, which ends the heap; its size counts these sixteen bytes
                    sound = 16 <= size <= end - place
                    break
                place += 16 + (size + 7) // 8 * 8
                sound = place <= end
            if not sound:
                raise LabelError(f"{path} is damaged: a heap at byte {at} does not hold what it claims.")
            at = data.find(_HEAP, at + 8)


def _product(numbers: tuple[int, ...]) -> int:
    out = 1
    for n in numbers:
        out *= int(n)
    return out
