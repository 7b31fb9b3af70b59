"""Arrays that are computed when indexed, window by window: xarray's own backend protocol, no dask needed or loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing
from xarray.indexes import PandasIndex

#: Fills ``out`` (plane, line, pixel) for half-open ranges of planes, lines and pixels. (Filled, not returned: a copy
#: into memory never touched before costs as much as reading the image.)
Compute = Callable[[range, slice, slice, np.ndarray], None]


class _Planes(BackendArray):
    """A (plane, line, pixel) or (line, pixel) array behind a function of one window."""

    def __init__(self, compute: Compute, shape: tuple[int, ...], dtype: type) -> None:
        self.compute, self.shape, self.dtype = compute, shape, np.dtype(dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._window)

    def _window(self, key: tuple[int | slice, ...]) -> np.ndarray:
        # Every axis becomes a forward range that covers what is wanted; what is wanted is then taken from it.
        ranges: list[slice] = []
        inner: list[slice | int] = []
        for k, n in zip(key, self.shape, strict=True):
            index = range(n)[k] if isinstance(k, slice) else range(int(k) % n, int(k) % n + 1)
            low, high = (min(index[0], index[-1]), max(index[0], index[-1]) + 1) if len(index) else (0, 0)
            ranges.append(slice(low, high))
            inner.append(slice(index[0] - low if len(index) else 0, None, index.step) if isinstance(k, slice) else 0)
        if len(ranges) == 2:
            ranges.insert(0, slice(0, 1))
            inner.insert(0, 0)
        planes, line, pixel = ranges
        out = np.empty([r.stop - r.start for r in ranges], self.dtype)
        if out.size:
            self.compute(range(planes.start, planes.stop), line, pixel, out)
        wanted = out[tuple(inner)]
        return wanted if wanted.flags.c_contiguous else wanted.copy()  # a view would keep all of `out`


def lazy_variable(
    dims: tuple[str, ...], compute: Compute, shape: tuple[int, ...], dtype: type, attrs: Mapping[str, object]
) -> xr.Variable:
    """A variable whose windows are computed when they are asked for."""
    data = indexing.LazilyIndexedArray(_Planes(compute, shape, dtype))
    return xr.Variable(dims, data, attrs)


def dataset(data: dict[str, Any], coords: dict[str, Any], attrs: Mapping[str, object]) -> xr.Dataset:
    """``xr.Dataset(data, coords, attrs)`` of variables and tuples (dims, array, attrs), made without dask.

    xarray loads dask, which takes as long as reading a band, to learn whether a bare array is one of dask's. Variables
    and indexes that are made already are taken as they are.
    """
    variables = {name: _variable(*value) for name, value in coords.items()}
    indexes = {
        name: PandasIndex(pd.Index(variable.values), name, coord_dtype=variable.dtype)
        for name, variable in variables.items()
        if variable.dims == (name,)
    }
    for name, index in indexes.items():
        variables |= index.create_variables({name: variables[name]})
    content = {name: v if isinstance(v, xr.Variable) else _variable(*v) for name, v in data.items()}
    return xr.Dataset(content, xr.Coordinates(variables, indexes), attrs)


def is_lazy(array: xr.DataArray) -> bool:
    """Whether the values of an array of `lazy_variable` have not been asked for, nor changed by anybody, yet."""
    return isinstance(array.variable._data, indexing.ExplicitlyIndexed)


def _variable(dims: str | tuple[str, ...], values: Any, attrs: Mapping[str, object] | None = None) -> xr.Variable:
    return xr.Variable(dims, np.asarray(values), attrs, fastpath=True)
