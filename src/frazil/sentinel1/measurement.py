"""The pixels of one image, decoded by GDAL and nothing else (its Sentinel-1 calibration is wrong for GRD)."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from frazil.errors import ProductError


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
        if self._file.count != 1 or self._file.dtypes[0] not in ("uint16", "complex_int16", "complex64"):
            raise ProductError(
                f"{self.name} holds {self._file.count} band(s) of {self._file.dtypes[0]}, but Sentinel-1 Level-1 "
                "images are one band of uint16 (GRD) or complex int16 (SLC). Download the product again."
            )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        from rasterio.errors import RasterioError

        try:
            yield
        except (RasterioError, OSError) as error:
            cause = str(error.__cause__ or error).split("\n")[0]
            raise ProductError(
                f"{self.name} cannot be read ({cause}). The file is truncated or damaged: download the product again."
            ) from error

    def lines(self, first: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        """Full-width lines [first, stop): uint16 digital numbers, or the float32 amplitude of a complex image.

        Args:
            first: the first line.
            stop: one past the last line.
            out: uint16 memory to use, of at least as many lines (touching new memory costs as much as reading); of a
                complex image it is left alone.

        Raises:
            ProductError: the file is truncated or damaged.
        """
        with self._lock, self._reading():
            window = ((first, stop), (0, self.shape[1]))
            into = None if out is None or self._file.dtypes[0] != "uint16" else out[: stop - first]
            dn: np.ndarray = self._file.read(1, window=window, out=into)
        return np.abs(dn).astype(np.float32) if np.iscomplexobj(dn) else dn

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
