"""The whole map as one CF NetCDF-4 file, and back.

The file is laid out by h5netcdf; the chunks are compressed by several threads (zlib releases the interpreter, HDF5 does
not) and handed to HDF5 ready made.

References:
    CF conventions 1.11, sections 3.5 (flags), 5.6 (grid mappings), 5.7 (scalar coordinates), 7.1 (bounds).
    ACDD 1.3 (time_coverage_start …).
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pyproj import Transformer

from frazil.conventions import CLASS_NODATA, PERCENT_NODATA, check_map, sensor_of
from frazil.errors import ContractError, ProductError, ProductNotFoundError
from frazil.hdf5_files import DAMAGED, hdf5_lock, netcdf_engine
from frazil.maps.layers import TITLES, MapLayer, layers_of
from frazil.maps.times import TIME, seconds_of, span_of_texts
from frazil.marks import WRITTEN_BY
from frazil.scene.discovery import DISCOVERY, border, discovery_attrs
from frazil.scene.grid import MapGrid
from frazil.scene.quicklook import NODATA as NOT_SEEN

if TYPE_CHECKING:
    import xarray as xr

MAP_FILE = "map.nc"
_CHUNK = 512  # pixels
_CHARACTERS = 2**15  # HDF5 refuses attributes of 64 KiB, but for text of variable length
_LEVEL = 1  # of deflate: higher levels save a tenth and take three times as long
_FILL = {"code": CLASS_NODATA, "percent": PERCENT_NODATA, "radar": NOT_SEEN}
_TIMES = ("time", "time_bnds")  # the file's own; a map says its time in attributes
NAMES = "category_name"  # of the class names beside the codes
_OF_THE_FILE = ("Conventions", "title", "source", "history", *DISCOVERY)
#: ISO 19115-1's word for what a variable holds, by `MapLayer.holds`.
_CONTENT = {"code": "thematicClassification", "percent": "modelResult", "bits": "qualityInformation", "radar": "image"}


def write_netcdf(ds: xr.Dataset, path: Path, *, threads: int = 2) -> Path:
    """Write a map on a projected grid as CF-1.11 NetCDF-4.

    Args:
        ds: a map, see `frazil.conventions.check_map`, with coordinates ``y``, ``x`` and ``spatial_ref``.
        path: the file; must not exist.
        threads: how many threads compress.

    Raises:
        OSError: the file could not be written.
    """
    import h5netcdf
    import h5py

    layers = {layer.variable: layer for layer in layers_of(ds, check_map(ds).kind)}
    image = io.BytesIO()  # HDF5 may crash the process when the disk is full while it closes a file
    with h5netcdf.File(image, "w", decode_vlen_strings=True) as file:
        file.dimensions = {name: ds.sizes[name] for name in ("category", "look", "y", "x") if name in ds.sizes}
        for axis in ("y", "x"):
            file.create_variable(axis, (axis,), "f8", data=ds[axis].values).attrs.update(_plain(ds[axis].attrs))
        # Codes as the coordinate and names beside them (CF 6.1): CDO refuses files whose coordinate is of words.
        codes = np.arange(ds.sizes["category"], dtype=np.int32)
        category = file.create_variable("category", ("category",), "i4", data=codes)
        category.attrs.update(_plain({**ds["category"].attrs, "long_name": "class code", "units": "1"}))
        words = np.array([str(name).encode() for name in ds["category"].values])
        letters = words.view("S1").reshape(len(words), -1)
        file.dimensions["name_length"] = letters.shape[1]
        named = file.create_variable(NAMES, ("category", "name_length"), "S1", data=letters)
        named.attrs.update(_plain({"long_name": "class name", "_Encoding": "utf-8"}))
        crs = file.create_variable("spatial_ref", (), "i4", data=np.int32(0))
        crs.attrs.update(_plain(ds["spatial_ref"].attrs))
        beside = _write_time(file, ds.attrs)
        for name in layers:
            array = ds[name]
            variable = file.create_variable(
                name,
                array.dims,
                array.dtype,
                chunks=_chunks(array.shape),
                compression="gzip",
                compression_opts=_LEVEL,
                fillvalue=_FILL.get(layers[name].holds),
            )
            told = {"grid_mapping": "spatial_ref", "coverage_content_type": _content(layers[name])}
            coordinates = [*([NAMES] if "category" in array.dims else []), *beside]
            if coordinates:
                told["coordinates"] = " ".join(coordinates)
            variable.attrs.update(_plain({**array.attrs, **told}))
        file.attrs.update(_plain({**ds.attrs, **_file_attrs(ds)}))
    with h5py.File(image, "r+") as raw, ThreadPoolExecutor(threads) as pool:
        for name in layers:
            _write_chunks(raw[name], ds[name].values, pool)
    path.write_bytes(image.getbuffer())
    return path


def _write_time(file: Any, attrs: Mapping[Any, Any]) -> tuple[str, ...]:
    """The time of a map as a scalar coordinate with bounds (CF 5.7, 7.1), if it is known; its name.

    The middle of the observation; attributes of the file name its start and end.
    """
    span = span_of_texts(attrs.get("start_time"), attrs.get("stop_time"))
    if span is None:
        return ()
    first, middle, last = seconds_of(span)
    file.create_variable(_TIMES[0], (), "f8", data=np.float64(middle)).attrs.update(_plain(TIME))
    file.dimensions["nv"] = 2
    file.create_variable(_TIMES[1], ("nv",), "f8", data=np.array([first, last]))
    return _TIMES[:1]


def write_dataset(ds: xr.Dataset, path: Path, encoding: dict[Any, dict[str, Any]] | None = None) -> Path:
    """Write a Dataset as NetCDF-4, from memory: a full disk then is an OSError, and not the end of the process.

    Coordinates get no missing value, which CF does not allow them, and words become characters, which every reader
    knows.

    Raises:
        OSError: the file could not be written.
    """
    how: dict[Any, dict[str, Any]] = {n: {"_FillValue": None} for n in ds.coords if ds[n].dtype.kind in "fM"} | {
        n: {"dtype": "S1"} for n, v in ds.variables.items() if v.dtype.kind in "UO"
    }
    for name, more in (encoding or {}).items():
        how[name] = how.get(name, {}) | more
    path.write_bytes(ds.to_netcdf(engine="h5netcdf", encoding=how))
    return path


def open_map(path: str | os.PathLike[str]) -> xr.Dataset:
    """The map that `frazil.export` wrote, as it was given: whole in memory, integers kept, nothing masked.

    Args:
        path: the folder of the map, or the ``map.nc`` in it.

    Returns:
        A Dataset that passes `frazil.conventions.check_map`.

    Raises:
        ProductNotFoundError: nothing there, or a folder without ``map.nc``.
        ProductError: not a NetCDF file, or a truncated one.
        ContractError: a NetCDF file that is not a map.
    """
    import xarray as xr

    given = Path(path)
    file = given / MAP_FILE if given.is_dir() else given
    if not file.exists():
        what = f"Folder {given} holds no {MAP_FILE}" if given.is_dir() else f"There is no map at {given}"
        raise ProductNotFoundError(f"{what}. Pass the folder that `frazil map` wrote, or the {MAP_FILE} in it.")
    try:
        netcdf_engine(file)
        with xr.open_dataset(
            file, engine="h5netcdf", mask_and_scale=False, decode_times=False, decode_coords="all"
        ) as lazy:
            ice_map = lazy.load()
        ice_map = ice_map.drop_vars([name for name in _TIMES if name in ice_map.variables])
        if NAMES in ice_map:
            words = ice_map[NAMES].values.astype(str)
            ice_map = ice_map.drop_vars(NAMES).assign_coords(category=("category", words))
    except DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ProductError(
            f"{file} cannot be read as a NetCDF-4 map ({reason}): truncated, or another format. Make the map anew."
        ) from error
    try:
        check_map(ice_map)
    except ContractError as error:
        raise ContractError(f"{file}: {error}") from error
    for name in [*ice_map.variables]:
        ice_map[name].encoding.clear()
        for attr in ("_FillValue", "grid_mapping", "coverage_content_type"):
            ice_map[name].attrs.pop(attr, None)
    for attr in _OF_THE_FILE:
        ice_map.attrs.pop(attr, None)
    return ice_map


def _content(layer: MapLayer) -> str:
    """As `_CONTENT`; what phenomena are found is bits, and no quality."""
    return _CONTENT["code"] if layer.variable == "phenomena" else _CONTENT[layer.holds]


def _border(grid: MapGrid) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude along the border of a grid."""
    left, bottom, right, top = grid.bounds
    x, y = np.meshgrid(np.linspace(left, right, 101), np.linspace(top, bottom, 101))
    to_lonlat = Transformer.from_crs(grid.pyproj_crs, 4326, always_xy=True)
    longitude, latitude = to_lonlat.transform(border(x), border(y))
    return longitude, latitude


def _file_attrs(ds: xr.Dataset) -> dict[str, object]:
    from frazil import __version__

    attrs, kind = ds.attrs, check_map(ds).kind
    what = "sea ice" if kind == "exclusive" else "phenomena of sea and air"
    sentence = f"Map of {what} made from {attrs['product']} by model {attrs['model']}. {attrs.get('note') or ''}"
    found = discovery_attrs(
        attrs,
        _border(MapGrid.of(ds)),
        summary=sentence.strip(),
        keywords=f"{what}, synthetic aperture radar, {', '.join(map(str, ds['category'].values))}".replace("_", " "),
        level="Level-3: classified, on a projected grid",
    )
    return found | {
        "Conventions": "CF-1.11, ACDD-1.3",
        "title": TITLES[kind].format(product=attrs["product"]),
        "history": attrs.get("history") or WRITTEN_BY,
        "source": f"{sensor_of(attrs)} SAR, classified by frazil {__version__}, model {attrs['model']}".lstrip(),
    }


def _plain(attrs: dict[Any, Any]) -> dict[str, object]:
    """Attributes that HDF5 can hold: numbers and arrays as they are, the rest as text, None left out.

    Text of ASCII as characters, as the NetCDF library writes it: NCO and others overlook names in text of other types.
    """
    keep = (str, int, float, np.ndarray, np.generic, list, tuple)
    kept = {
        str(k): int(v) if isinstance(v, bool) else v if isinstance(v, keep) else str(v)
        for k, v in attrs.items()
        if v is not None
    }
    return {
        k: np.bytes_(v) if isinstance(v, str) and 0 < len(v) <= _CHARACTERS and v.isascii() else v
        for k, v in kept.items()
    }


def _chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*(1 for _ in shape[:-2]), min(_CHUNK, shape[-2]), min(_CHUNK, shape[-1]))


def _write_chunks(target: Any, values: np.ndarray, pool: ThreadPoolExecutor) -> None:
    corners = list(_corners(values.shape, target.chunks))
    packed = pool.map(lambda corner: _packed(values, corner, target.chunks, target.fillvalue), corners)
    for corner, data in zip(corners, packed, strict=True):
        with hdf5_lock():
            target.id.write_direct_chunk(corner, data)


def _corners(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    grids = [range(0, size, step) for size, step in zip(shape, chunks, strict=True)]
    for flat in np.ndindex(*(len(g) for g in grids)):
        yield tuple(g[i] for g, i in zip(grids, flat, strict=True))


def _packed(values: np.ndarray, corner: tuple[int, ...], chunks: tuple[int, ...], fill: Any) -> bytes:
    """One chunk, filled up to its full size at the far borders, deflated; little-endian as HDF5 declares it."""
    part = values[tuple(slice(c, c + size) for c, size in zip(corner, chunks, strict=True))]
    if part.shape != chunks:
        whole = np.full(chunks, fill, dtype=values.dtype)
        whole[tuple(slice(0, size) for size in part.shape)] = part
        part = whole
    return zlib.compress(np.ascontiguousarray(part).tobytes(), _LEVEL)
