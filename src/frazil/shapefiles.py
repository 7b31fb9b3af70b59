"""Whether the parts of a shapefile belong together: GDAL reads what is there, and passes over what is not.

References:
    ESRI (1998), ESRI Shapefile Technical Description: main file header, record headers, index records.
    dBASE III: header (number of records, bytes of header and record).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from frazil.errors import LabelError
from frazil.untrusted import open_regular, read_bytes

Part = bytes | mmap.mmap
_INDEX_BYTES = 2**30


def check_shapefile(path: Path) -> None:
    """Raise for a shapefile that is cut off, or whose records do not lie where its index says.

    Args:
        path: of the ``.shp``; the other parts lie beside it.

    Raises:
        LabelError: naming the part.
    """
    beside = {s: next((f for f in map(path.with_suffix, (s, s.upper())) if f.exists()), None) for s in (".shx", ".dbf")}
    shx, dbf = (None if f is None else read_bytes(f, _INDEX_BYTES) for f in beside.values())
    with _mapped(path) as shp:
        check_parts(str(path), shp, shx, dbf)


@contextmanager
def _mapped(path: Path) -> Iterator[Part]:
    with open_regular(path) as file:
        if not os.fstat(file.fileno()).st_size:
            yield b""  # which cannot be mapped
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def check_parts(name: str, shp: Part, shx: bytes | None, dbf: bytes | None) -> None:
    """As `check_shapefile`, of the bytes of the parts; None where there is none, which GDAL says.

    Raises:
        LabelError: naming the shapefile.
    """
    told = 2 * int.from_bytes(shp[24:28], "big")
    if len(shp) < max(told, 100):
        raise LabelError(f"{name} has {len(shp)} bytes, but its head tells of {told}: it is cut off. Get it again.")
    if dbf is not None:
        told = int.from_bytes(dbf[8:10], "little")
        told += int.from_bytes(dbf[4:8], "little") * int.from_bytes(dbf[10:12], "little")
        told = max(told, 32)  # bytes that every head has
        if len(dbf) < told:
            raise LabelError(
                f"The .dbf of {name} has {len(dbf)} bytes, but its head tells of {told}: it is cut off. Get it again."
            )
    if shx is not None:
        _check_index(name, shp, shx)


def _check_index(name: str, shp: Part, shx: bytes) -> None:
    told = np.frombuffer(shx[100 : len(shx) - (len(shx) - 100) % 8], ">u4") if len(shx) > 100 else np.zeros(0, ">u4")
    table = told.reshape(-1, 2).astype(np.int64)  # place and length of each record, in words of two bytes
    fits = (table[:, 0] >= 50) & (table[:, 1] >= 2) & (2 * table.sum(axis=1) + 8 <= len(shp))
    everything = np.frombuffer(shp, np.uint8)
    there = everything[2 * table[fits, 0][:, None] + np.arange(4, 12)].copy()
    kind = int.from_bytes(shp[32:36], "little")
    del everything  # a map cannot be closed while somebody looks at it
    length, shape = there[:, :4].view(">u4")[:, 0], there[:, 4:].view("<u4")[:, 0]
    wrong = ~fits
    wrong[fits] = (length != table[fits, 1]) | ((shape != 0) & (shape != kind))
    if wrong.any():
        raise LabelError(
            f"{name} does not hold record {int(np.argmax(wrong)) + 1} where its index (.shx) says: one is damaged or "
            "of another file. Get both again."
        )
