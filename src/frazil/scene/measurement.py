"""The pixels of one image, decoded by GDAL and nothing else (its calibration of Sentinel-1 is wrong for GRD).

GRD as ESA ships them are uncompressed: one run of lines that needs no decoding. Such files, once GDAL has opened them
and their directory has been checked against the file's size, are read by the operating system straight into the
caller's memory, from any number of threads at once. (Not through a memory map: a file that shrinks would end the
process.)

References:
    Adobe (1992), TIFF Revision 6.0, sections 2 and 8: header, directory, and the fields named below.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from frazil.errors import FrazilError, ProductError
from frazil.net.folder import reading, without_query

_UINT16_LINES = {258: 16, 259: 1, 262: 1, 266: 1, 277: 1, 317: 1, 339: 1}
"""What the directory must say of plain lines: bits, no compression, black is zero, bit order, samples, no predictor,
unsigned. All but the bits may be left out."""
_WIDTH, _LENGTH, _BITS, _STRIP_OFFSETS, _ROWS_PER_STRIP, _STRIP_BYTES = 256, 257, 258, 273, 278, 279
_DTYPES = "uint16", "uint8", "complex_int16", "complex64"
_MAX_BLOCK = 2**28  # pixels, of a compressed block
_SAMPLES = 64  # lines from which the mean of an image is told
_ITEM_BYTES = {3: 2, 4: 4}  # of the field types SHORT and LONG


class Measurement:
    """A measurement file, opened on first use and kept open; safe to share between threads and to pickle.

    Args:
        path: as GDAL opens it.
        shape: lines, pixels that the annotation promises.
        name: of the file, for messages.
    """

    def __init__(self, path: str, shape: tuple[int, int], name: str) -> None:
        self.path, self.shape, self.name = path, shape, name
        self._open()

    def __getstate__(self) -> tuple[str, tuple[int, int], str]:
        return self.path, self.shape, self.name

    def __setstate__(self, state: tuple[str, tuple[int, int], str]) -> None:
        self.path, self.shape, self.name = state
        self._open()

    def _open(self) -> None:
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning

        self._lock = threading.Lock()
        with self._reading(), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # GRD carry ground control points instead
            self._file: Any = rasterio.open(self.path, driver="GTiff")
        found = (self._file.height, self._file.width)
        if found != self.shape:
            raise ProductError(
                f"{self.name} has {found[0]} × {found[1]} pixels, but its annotation says "
                f"{self.shape[0]} × {self.shape[1]}: files of different products are mixed. Download the product again."
            )
        if self._file.count != 1 or self._file.dtypes[0] not in _DTYPES:
            raise ProductError(
                f"{self.name} holds {self._file.count} band(s) of {self._file.dtypes[0]}, but Level-1 images "
                "are one band of uint16 or uint8 (detected) or complex int16 (SLC). Download the product again."
            )
        block = self._file.block_shapes[0]
        if block[0] * block[1] > _MAX_BLOCK and self._file.compression is not None:
            raise ProductError(
                f"{self.name} is compressed in blocks of {block[0]} × {block[1]} pixels, to be unpacked whole; no "
                "product is. Get the product from a source you trust."
            )
        self._plain: tuple[int, int] | None = None  # file descriptor and offset of plain lines
        offset = plain_lines(self.path, self.shape)
        if offset is not None and hasattr(os, "preadv"):
            descriptor = os.open(self.path, os.O_RDONLY)
            weakref.finalize(self, os.close, descriptor)
            self._plain = descriptor, offset

    @contextmanager
    def _reading(self) -> Iterator[None]:
        from rasterio.errors import RasterioError

        try:
            with reading(self.path):
                yield
        except (RasterioError, OSError) as error:
            if isinstance(error, FrazilError):
                raise
            cause = without_query(str(error.__cause__ or error).split("\n")[0])
            raise ProductError(
                f"{self.name} cannot be read ({cause}). The file is truncated or damaged: download the product again."
            ) from error

    def lines(self, first: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        """Full-width lines [first, stop): digital numbers, or the float32 amplitude of a complex image.

        Args:
            first: the first line.
            stop: one past the last line.
            out: uint16 memory to use, of at least as many lines (touching new memory costs as much as reading); of a
                complex image it is left alone.

        Raises:
            ProductError: the file is truncated or damaged.
        """
        if self._plain is not None:
            descriptor, offset = self._plain
            lines = np.empty((stop - first, self.shape[1]), np.uint16) if out is None else out[: stop - first]
            if os.preadv(descriptor, [lines.data], offset + first * self.shape[1] * 2) == lines.nbytes:
                return lines  # otherwise the file has changed since it was opened: GDAL says what is wrong
        with self._lock, self._reading():
            window = ((first, stop), (0, self.shape[1]))
            into = None if out is None or self._file.dtypes[0] != "uint16" else out[: stop - first]
            dn: np.ndarray = self._file.read(1, window=window, out=into)
        return np.abs(dn).astype(np.float32) if np.iscomplexobj(dn) else dn

    def mean(self) -> tuple[float, float] | None:
        """The mean digital number of some lines spread over a detected image, with zeros and without.

        Of files with overviews that of the coarsest one; None for complex images.
        """
        n_lines = self.shape[0]
        if self._file.dtypes[0] != "uint16":
            return None
        at = np.unique(np.linspace(0, n_lines - 1, min(_SAMPLES, n_lines)).astype(int))
        if self._plain is not None:
            dn = np.zeros((at.size, self.shape[1]), np.uint16)
            for row, line in zip(dn, at, strict=True):
                os.preadv(self._plain[0], [row.data], self._plain[1] + int(line) * row.nbytes)
        else:
            with self._lock, self._reading():
                if overviews := self._file.overviews(1):
                    dn = self._file.read(1, out_shape=tuple(max(n // max(overviews), 1) for n in self.shape))
                else:
                    lines = [self._file.read(1, window=((int(y), int(y) + 1), (0, self.shape[1]))) for y in at]
                    dn = np.concatenate(lines)
        lit = dn[dn > 0]
        return float(dn.mean()), float(lit.mean()) if lit.size else 0.0

    def is_black(self) -> bool:
        """Whether every pixel is zero; reads from the first line as far as there is nothing else."""
        n_lines = self.shape[0]
        if self._plain is not None:  # the middle first, where images have no borders
            with self._lock, self._reading():
                if self._file.read(1, window=((n_lines // 2, n_lines // 2 + 1), (0, self.shape[1]))).any():
                    return False
        return not any(self.lines(y, min(y + 256, n_lines)).any() for y in range(0, n_lines, 256))

    def strips(self, bounds: list[tuple[int, int]]) -> Iterator[np.ndarray]:
        """`lines` for each (first, stop), the next one read while the caller works on this one."""
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self.lines, *bounds[0]) if bounds else None
            for following in [*bounds[1:], None]:
                assert ahead is not None
                now = ahead
                if following is not None:
                    ahead = pool.submit(self.lines, *following)
                yield now.result()


def plain_lines(path: str, shape: tuple[int, int]) -> int | None:
    """Where the pixels of a TIFF begin if they are one run of uint16 lines as memory holds them; None for all others.

    Every field that matters is checked, and all pixels lie inside the file: what passes can be read blindly, and what
    does not is for GDAL to read or refuse.

    Args:
        path: of a file; paths that only GDAL understands have no plain lines.
        shape: lines, pixels.
    """
    n_lines, n_pixels = shape
    try:
        with Path(path).open("rb") as file:
            if file.read(4) != b"II*\0" or sys.byteorder != "little":
                return None
            file.seek(int.from_bytes(file.read(4), "little"))
            count = int.from_bytes(file.read(2), "little")
            entry = np.dtype([("tag", "<u2"), ("type", "<u2"), ("count", "<u4"), ("value", "<u4")])
            entries = {int(e["tag"]): e for e in np.frombuffer(file.read(count * entry.itemsize), entry)}

            def field(tag: int, size: int) -> np.ndarray:
                """The whole numbers of a field; none where it is not of this size."""
                e = entries.get(tag)
                if e is None or e["count"] != size or int(e["type"]) not in _ITEM_BYTES:
                    return np.zeros(0, np.int64)
                item = _ITEM_BYTES[int(e["type"])]
                data = e["value"].tobytes()
                if size * item > 4:
                    file.seek(int(e["value"]))
                    data = file.read(size * item)
                return np.frombuffer(data[: size * item], f"<u{item}").astype(np.int64)

            def is_exactly(tag: int, value: int) -> bool:
                return field(tag, 1).tolist() == [value]

            plain = all(is_exactly(tag, v) for tag, v in _UINT16_LINES.items() if tag in entries or tag == _BITS)
            if len(entries) != count or not (plain and is_exactly(_WIDTH, n_pixels) and is_exactly(_LENGTH, n_lines)):
                return None
            rows = int(field(_ROWS_PER_STRIP, 1).sum())
            if not 0 < rows <= n_lines:
                return None
            first = np.arange(0, n_lines, rows)
            offsets, sizes = field(_STRIP_OFFSETS, first.size), field(_STRIP_BYTES, first.size)
            expected = np.minimum(n_lines - first, rows) * n_pixels * 2
            if offsets.size != first.size or not np.array_equal(sizes, expected):
                return None
            begin = int(offsets[0])
            contiguous = np.array_equal(offsets, begin + first * n_pixels * 2)
            inside = 8 <= begin <= os.fstat(file.fileno()).st_size - n_lines * n_pixels * 2
            return begin if contiguous and inside else None
    except (OSError, ValueError):
        return None
