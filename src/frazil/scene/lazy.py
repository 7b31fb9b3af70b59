"""Arrays that are computed when indexed, window by window: xarray's own backend protocol, no dask needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

#: Computes ``[plane, line, pixel]`` for one plane and half-open line and pixel ranges.
Compute = Callable[[int, slice, slice], np.ndarray]


class _Planes(BackendArray):
    """A (plane, line, pixel) or (line, pixel) array behind a function of one window."""

    def __init__(self, compute: Compute, shape: tuple[int, ...], dtype: type) -> None:
        self.compute, self.shape, self.dtype = compute, shape, np.dtype(dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._window)

    def _window(self, key: tuple[int | slice, ...]) -> np.ndarray:
        # Every axis becomes a forward range that covers what is wanted; what is wanted is then taken from it.
        ranges: list[slice] = []
        inner: list[np.ndarray | int] = []
        for k, n in zip(key, self.shape, strict=True):
            index = range(n)[k] if isinstance(k, slice) else range(int(k) % n, int(k) % n + 1)
            low, high = (min(index[0], index[-1]), max(index[0], index[-1]) + 1) if len(index) else (0, 0)
            ranges.append(slice(low, high))
            inner.append(np.array(index) - low if isinstance(k, slice) else 0)
        line, pixel = ranges[-2:]
        planes = range(ranges[0].start, ranges[0].stop) if len(ranges) == 3 else range(1)
        out = np.empty((len(planes), line.stop - line.start, pixel.stop - pixel.start), self.dtype)
        if out.size:
            for i, plane in enumerate(planes):
                out[i] = self.compute(plane, line, pixel)
        whole = out if len(ranges) == 3 else out[0]
        for axis in reversed(range(whole.ndim)):
            wanted = inner[axis]
            if not isinstance(wanted, np.ndarray):
                whole = np.take(whole, 0, axis=axis)
            elif not np.array_equal(wanted, np.arange(whole.shape[axis])):
                whole = np.take(whole, wanted, axis=axis)
        return whole


def lazy_variable(
    dims: tuple[str, ...], compute: Compute, shape: tuple[int, ...], dtype: type, attrs: dict[str, Any]
) -> xr.Variable:
    """A variable whose windows are computed when they are asked for."""
    data = indexing.LazilyIndexedArray(_Planes(compute, shape, dtype))
    return xr.Variable(dims, data, attrs)
