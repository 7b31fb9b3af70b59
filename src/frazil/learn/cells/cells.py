"""A map in square cells, and what is known of each: backscatter, its surroundings, what the network says and sees.

Features of a cell: HH and HV in dB, their ratio, incidence angle; the spread within the cell; mean and standard
deviation of HH and HV over 3, 9 and 27 cells; the logarithms of the network's class probabilities, and the
probabilities averaged over 9 cells; and the features before the network's last layer, where they were watched. Each is
brought to mean 0 and standard deviation 1 over the sea of the scene.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import xarray as xr
from scipy import ndimage

from frazil.conventions import CLASS_LAND, QUALITY_FLAGS, SCHEMES, ClassScheme
from frazil.errors import ContractError
from frazil.files import replaced_file
from frazil.learn.cells.watched import POOL
from frazil.scene.grid import MapGrid, plan_warp
from frazil.scene.quicklook import bands_told
from frazil.scene.scaling import FLOOR_DB, to_db

SIDE = 5  #: pixels of the map along a side of a cell
WINDOWS = (3, 9, 27)  #: cells along a side of the surroundings that are averaged
_LEAST = 0.005  # probabilities are bounded: whole percents know no less
_FORMAT = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Cells:
    """The sea of a map in cells, numbered row by row; cells of which less than half is observed sea have no number.

    Attributes:
        grid: of the cells.
        side: pixels of the map along a side of one.
        number: int32 (row, column), −1 where there is none.
        features: float32 (cell, feature), of mean 0 and standard deviation 1.
        names: of the features.
        log_probability: float32 (cell, class), of the network, after centring; see the module.
        class_scheme: name of the scheme of the classes.
        rim: bool (cell,), at the border of the scene or close to land, or where the noise is not known: nobody should
            be asked about it.
        angle: float32 (row, column), incidence, degrees; NaN outside of the scene. None without a scene.
        nesz_db: float32 (polarization, row, column), likewise, dB, in the order of the radar image's bands.
    """

    grid: MapGrid
    side: int
    number: np.ndarray
    features: np.ndarray
    names: tuple[str, ...]
    log_probability: np.ndarray
    class_scheme: str
    rim: np.ndarray
    angle: np.ndarray | None = None
    nesz_db: np.ndarray | None = None

    @property
    def scheme(self) -> ClassScheme:
        """Of the classes."""
        return SCHEMES[self.class_scheme]

    def __len__(self) -> int:
        return len(self.features)

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Numbers of the cells at places of the map's CRS, metres; −1 where there is none."""
        column = np.floor((np.asarray(x) - self.grid.left) / self.grid.spacing_m).astype(np.int64)
        row = np.floor((self.grid.top - np.asarray(y)) / self.grid.spacing_m).astype(np.int64)
        rows, columns = self.grid.shape
        inside = (row >= 0) & (column >= 0) & (row < rows) & (column < columns)
        return np.where(inside, self.number[np.where(inside, row, 0), np.where(inside, column, 0)], -1)

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """X and y of the middles of the cells, metres, float64 (cell,)."""
        row, column = np.nonzero(self.number >= 0)
        return self.grid.x[column], self.grid.y[row]

    def on_grid(self, values: np.ndarray, fill: float = np.nan) -> np.ndarray:
        """Values of cells, (cell, …), on the grid of cells: (row, column, …), `fill` where there is none."""
        out = np.full((*self.grid.shape, *values.shape[1:]), fill, np.result_type(values, np.float32(fill)))
        out[self.number >= 0] = values
        return out


def cells_of(
    ice_map: xr.Dataset, scene: xr.Dataset | None = None, seen: np.ndarray | None = None, *, side: int = SIDE
) -> Cells:
    """The cells of a map.

    Args:
        ice_map: on a projected grid, with ``quicklook``; see `frazil.predict`.
        scene: that the map was made from; without it incidence angles are unknown, and left out.
        seen: features of `frazil.learn.cells.watched.Watched`, of that scene.
        side: pixels of the map along a side of a cell.

    Raises:
        ContractError: a map without a radar image, or none of the sea.
    """
    if "quicklook" not in ice_map:
        raise ContractError("This map has no radar image, so that nothing can be learnt from it. Map the scene anew.")
    fine = MapGrid.of(ice_map)
    rows, columns = (n // side for n in fine.shape)
    if min(rows, columns) < 1:
        raise ContractError(f"This map of {fine.shape[0]} × {fine.shape[1]} pixels holds no cell of {side}.")
    grid = replace(fine, spacing_m=fine.spacing_m * side, shape=(rows, columns))
    look = ice_map["quicklook"]
    sea = _blocks((ice_map["ice_class"].values < CLASS_LAND) & (look.values[0] > 0), side)
    count = sea.sum(axis=(1, 3))
    use = count >= (side * side + 1) // 2
    if not use.any():
        raise ContractError("This map has no sea that was observed, so that nothing can be learnt from it.")

    def mean(values: np.ndarray) -> np.ndarray:
        return np.where(sea, _blocks(values, side), 0).sum(axis=(1, 3), dtype=np.float32) / np.maximum(count, 1)

    found: dict[str, np.ndarray] = {}
    bands = [(k, band) for k, band in enumerate(bands_told(look.attrs)) if "/" not in band.name]
    for k, band in bands:
        step = (band.high_db - band.low_db) / 254
        db = np.float32(band.low_db - step) + np.float32(step) * look.values[k].astype(np.float32)
        average = mean(db)
        found[band.name] = 10 * np.log10(np.maximum(mean(10 ** (db / 10)), 10 ** (FLOOR_DB / 10)))
        found[f"{band.name} spread"] = np.sqrt(np.maximum(mean(db * db) - average**2, 0))
    bits = sum(QUALITY_FLAGS[name][0] for name in ("border", "coast", "noise_missing"))
    rim = np.asarray(_blocks((ice_map["quality_flags"].values & bits) > 0, side).any(axis=(1, 3)))
    names = [band.name for _, band in bands]
    if len(names) == 2:
        found["ratio"] = found[names[1]] - found[names[0]]
    for width in WINDOWS:
        for name in names:
            found[f"{name} mean {width}"], found[f"{name} spread {width}"] = _around(found[name], use, width)
    percent = np.stack([mean(plane.astype(np.float32)) for plane in ice_map["probability"].values])
    share = percent / np.maximum(percent.sum(axis=0), np.float32(1e-6))
    log = np.log(np.maximum(share, np.float32(_LEAST)))
    log -= log.mean(axis=0)
    for k, plane in enumerate(share):
        found[f"log p{k}"], found[f"p{k} mean 9"] = log[k], _around(plane, use, 9)[0]
    noise_db = None
    if scene is not None:
        warp = plan_warp(scene, grid)
        stated = scene["nesz"].sel(polarization=names).values
        noise_db = to_db(np.stack([warp.bilinear(plane) for plane in stated]))
        found["angle"] = warp.bilinear(np.asarray(scene["incidence_angle"].values, np.float32))
        use &= np.isfinite(found["angle"])
        if seen is not None and len(seen):
            row, column = ((at + 0.5) / POOL - 0.5 for at in (warp.row, warp.column))
            coarse = replace(warp, row=row, column=column, shape=seen.shape[1:])
            for k, plane in enumerate(seen):
                found[f"seen {k}"] = np.nan_to_num(coarse.bilinear(plane.astype(np.float32)))
    number = np.full(grid.shape, -1, np.int32)
    number[use] = np.arange(int(use.sum()), dtype=np.int32)
    features = np.stack([values[use] for values in found.values()], axis=1, dtype=np.float32)
    spread = features.std(axis=0)
    return Cells(
        grid=grid,
        side=side,
        number=number,
        features=(features - features.mean(axis=0)) / np.where(spread > 1e-6, spread, 1),
        names=tuple(found),
        log_probability=np.stack([plane[use] for plane in log], axis=1, dtype=np.float32),
        class_scheme=str(ice_map.attrs["class_scheme"]),
        rim=rim[use],
        angle=found.get("angle"),
        nesz_db=noise_db,
    )


def _blocks(values: np.ndarray, side: int) -> np.ndarray:
    """(row, in a cell, column, in a cell) of (y, x); what does not fill a cell is left out."""
    rows, columns = (n // side for n in values.shape)
    return values[: rows * side, : columns * side].reshape(rows, side, columns, side)


def _around(values: np.ndarray, use: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over squares of cells, of those in use; what they are elsewhere means nothing."""

    def smooth(plane: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(plane.astype(np.float64), width, mode="constant")

    there = np.maximum(smooth(use), 1e-9)
    middle = float(values[use].mean())  # or squares would cancel
    rest = np.where(use, values - middle, 0)
    mean = smooth(rest) / there
    spread = np.sqrt(np.maximum(smooth(rest * rest) / there - mean**2, 0))
    return (mean + middle).astype(np.float32), spread.astype(np.float32)


def save_cells(cells: Cells, path: str | os.PathLike[str]) -> None:
    """Write cells as one file, which `load_cells` reads; it appears whole or not at all."""
    grid, nothing = cells.grid, np.zeros(0, np.float32)
    with replaced_file(path) as part, part.open("wb") as file:
        np.savez(
            file,
            format=_FORMAT,
            crs=grid.crs,
            place=np.array([grid.left, grid.top, grid.spacing_m]),
            side=cells.side,
            number=cells.number,
            features=cells.features,
            names=np.array(cells.names),
            log_probability=cells.log_probability,
            class_scheme=cells.class_scheme,
            rim=cells.rim,
            angle=nothing if cells.angle is None else cells.angle,
            nesz_db=nothing if cells.nesz_db is None else cells.nesz_db,
        )


def load_cells(path: str | os.PathLike[str]) -> Cells:
    """Cells from a file of `save_cells`.

    Raises:
        ContractError: another file, or a damaged one.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if int(file["format"]) != _FORMAT:
                raise ValueError("of another version")
            left, top, spacing = (float(v) for v in file["place"])
            number = file["number"]
            grid = MapGrid(crs=str(file["crs"]), left=left, top=top, spacing_m=spacing, shape=number.shape)
            names: Sequence[str] = file["names"].tolist()
            return Cells(
                grid=grid,
                side=int(file["side"]),
                number=number,
                features=file["features"],
                names=tuple(names),
                log_probability=file["log_probability"],
                class_scheme=str(file["class_scheme"]),
                rim=file["rim"],
                angle=file["angle"] if file["angle"].size else None,
                nesz_db=file["nesz_db"] if file["nesz_db"].size else None,
            )
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ContractError(
            f"{Path(path)} holds no cells of this version of frazil. Delete it; it is made anew."
        ) from error
