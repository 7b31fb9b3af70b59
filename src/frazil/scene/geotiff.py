"""A scene as a geocoded Cloud-Optimised GeoTIFF in decibels, tile by tile: memory does not grow with the scene.

σ0 of one polarisation lies on disk meanwhile, beside the output, since a map tile of a rotated scene needs pieces of
many lines. Overviews are means of power, like everything that frazil averages: means of decibels are up to 1 dB lower.
"""

from __future__ import annotations

import errno
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from frazil.marks import WRITTEN_BY
from frazil.scene.grid import MapGrid, Warp, grid_for, plan_warp
from frazil.scene.scaling import to_db

_TILE = 1024  # map pixels computed at a time, about
_LINES = 256  # radar lines likewise
_TILED_LEVELS = 3  # overviews made with the tiles; of the third one the others are made at once
_SMALLEST = 512  # the last overview is no larger
_CACHE_MB = 64  # of GDAL


def write_geotiff(
    scene: xr.Dataset, path: Path, crs: str | None, spacing_m: float | None, report: Callable[[float], None]
) -> None:
    """Write σ0 in dB, one float32 band per polarisation; nodata is NaN.

    Args:
        scene: a scene.
        path: of the file; scratch files lie beside it and are removed.
        crs: projected, in metres; None: see `frazil.scene.grid.grid_for`.
        spacing_m: pixel size; None: that of the scene.
        report: called with the fraction done.

    Raises:
        OSError: too little space on the disk, or what was written cannot be read back.
    """
    import rasterio
    from rasterio.shutil import copy

    grid = grid_for(scene, crs=crs, spacing_m=float(scene.attrs["spacing_m"]) if spacing_m is None else spacing_m)
    warp = plan_warp(scene, grid)
    names = scene["polarization"].values.tolist()
    radar = scene.sizes["line"] * scene.sizes["pixel"] * 4
    needed = 1.2 * grid.shape[0] * grid.shape[1] * 4 * len(names) + radar
    free = shutil.disk_usage(path.parent).free
    if free < needed:  # GDAL would say so too, after minutes and in many lines
        raise OSError(errno.ENOSPC, f"{needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free")
    plain, scratch = path.with_name(path.stem + ".plain.tif"), path.with_name(path.stem + ".sigma0")
    levels = [plain.with_name(plain.name + ".ovr" * k) for k in range(_levels(grid.shape) + 1)]
    try:
        with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB):
            sums = _write_plain(scene, grid, warp, levels, scratch, report)
            copy(
                plain,
                path,
                driver="COG",
                compress="ZSTD",
                predictor="FLOATING_POINT",
                level=1,
                num_threads="ALL_CPUS",
                overviews="FORCE_USE_EXISTING",
                bigtiff="IF_SAFER",
            )
            report(0.95)
            with rasterio.open(path) as file:  # GDAL flushes late, and keeps some failures to itself
                if any(zlib.crc32(file.read(i, window=w).tobytes()) != s for (i, w), s in sums):
                    raise OSError(errno.EIO, "what was written cannot be read back")
        report(1.0)
    finally:
        for file in (*levels, scratch):
            file.unlink(missing_ok=True)


def _levels(shape: tuple[int, int]) -> int:
    """The number of overviews."""
    return max(int(np.ceil(np.log2(max(shape) / _SMALLEST))), 0)


def _write_plain(
    scene: xr.Dataset, grid: MapGrid, warp: Warp, levels: list[Path], scratch: Path, report: Callable[[float], None]
) -> list[tuple[tuple[int, Any], int]]:
    """Write the image and its overviews, each as the external overview of the one before; checksums of the tiles."""
    import rasterio
    from affine import Affine

    names = scene["polarization"].values.tolist()
    with ExitStack() as stack:  # closed here also where the disk is full: later GDAL would print what it thinks of it
        files = []
        for k, level in enumerate(levels):
            rows, columns = (-(-n // 2**k) for n in grid.shape)
            file = rasterio.open(
                level,
                "w",
                driver="GTiff",
                width=columns,
                height=rows,
                count=len(names),
                dtype="float32",
                crs=grid.pyproj_crs.to_wkt(),
                transform=grid.transform @ Affine.scale(2**k),
                nodata=np.nan,
                tiled=True,
                BIGTIFF="IF_SAFER",
            )
            files.append(stack.enter_context(file))
        return _fill(scene, grid, warp, files, scratch, report)


def _fill(
    scene: xr.Dataset, grid: MapGrid, warp: Warp, files: list[Any], scratch: Path, report: Callable[[float], None]
) -> list[tuple[tuple[int, Any], int]]:
    """Fill the image and its overviews, tile by tile; checksums of the tiles."""
    names = scene["polarization"].values.tolist()
    sums: list[tuple[tuple[int, Any], int]] = []
    for i, name in enumerate(names):
        _to_disk(scene["sigma0"][i], scratch)
        rest: np.ndarray | None = None
        if len(files) > _TILED_LEVELS:
            rest = np.full([-(-n // 2**_TILED_LEVELS) for n in grid.shape], np.nan, np.float32)
        tiles = list(_tiles(grid.shape, warp.step))
        for done, (rows, columns) in enumerate(tiles):
            power = _tile(warp, scratch, rows, columns)
            for k, file in enumerate(files[: _TILED_LEVELS + 1]):
                window = _window(file, rows.start >> k, columns.start >> k, power.shape)
                db = to_db(power)
                file.write(db, i + 1, window=window)
                if k == 0:
                    sums.append(((i + 1, window), zlib.crc32(db.tobytes())))
                if k == _TILED_LEVELS and rest is not None:
                    at = rows.start >> k, columns.start >> k
                    rest[at[0] : at[0] + power.shape[0], at[1] : at[1] + power.shape[1]] = power
                power = halved(power)
            report((i + 0.9 * (done + 1) / len(tiles)) / len(names) * 0.9)
        for file in files[_TILED_LEVELS + 1 :]:
            assert rest is not None
            rest = halved(rest)
            file.write(to_db(rest), i + 1)
        files[0].set_band_description(i + 1, f"sigma0_db {name}")
    tags = {k: str(v) for k, v in scene.attrs.items()} | {"units": "dB", "TIFFTAG_SOFTWARE": WRITTEN_BY}
    files[0].update_tags(**tags)
    return sums


def halved(power: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 pixels, of those that are not NaN; an odd last row or column stands for itself."""
    rows, columns = (-(-n // 2) for n in power.shape)
    padded = np.full((2 * rows, 2 * columns), np.nan, np.float32)
    padded[: power.shape[0], : power.shape[1]] = power
    four = np.stack([padded[a::2, b::2] for a in (0, 1) for b in (0, 1)])
    seen = np.isfinite(four)
    count = seen.sum(axis=0)
    total = np.where(seen, four, np.float32(0)).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.float32(np.nan)).astype(np.float32)


def _window(file: Any, row: int, column: int, shape: tuple[int, ...]) -> Any:
    from rasterio.windows import Window

    return Window(column, row, min(shape[1], file.width - column), min(shape[0], file.height - row))


def _tiles(shape: tuple[int, int], step: int) -> Iterator[tuple[slice, slice]]:
    """Tiles whose corners lie on nodes of the warp and on pixels of the tiled overviews."""
    unit = int(np.lcm(step, 2**_TILED_LEVELS))
    size = unit * max(_TILE // unit, 1)
    for top in range(0, shape[0], size):
        for left in range(0, shape[1], size):
            yield slice(top, min(top + size, shape[0])), slice(left, min(left + size, shape[1]))


def _to_disk(plane: xr.DataArray, scratch: Path) -> None:
    with scratch.open("wb") as file:
        for start in range(0, plane.sizes["line"], _LINES):
            values = plane.isel(line=slice(start, start + _LINES)).values
            file.write(np.ascontiguousarray(values, np.float32).data)


def _tile(warp: Warp, scratch: Path, rows: slice, columns: slice) -> np.ndarray:
    """Power on one tile of the map, from that part of the radar image which it shows."""
    part, lines, pixels = warp.part(rows, columns)
    if part is None:
        return np.full((rows.stop - rows.start, columns.stop - columns.start), np.nan, np.float32)
    # Mapped anew for every tile: pages once touched count as memory of the process until the map is gone.
    image = np.memmap(scratch, np.float32, "r", shape=warp.shape)
    values = np.array(image[lines, pixels])
    del image
    return part.bilinear(values)
