"""The radar image that lies beside a map: a byte a pixel, in fixed limits of decibels, so that scenes compare.

A stretch between percentiles shows every scene at its best and no two alike. With fixed limits a grey value is a
backscatter, whatever the scene: 1 to 255 run evenly from the lower to the upper limit, and what lies beyond is shown as
the limit. A step is 0.1 dB, far below speckle. 0 is where nothing was observed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.scene.scaling import to_db

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from frazil.scene.grid import Warp
    from frazil.scene.tiles import Window

NODATA = 0
#: Limits of the stretch, dB: sea and ice of any kind lie between them, the noise floor of HV at the lower end.
LIMITS_DB = {"HH": (-30.0, 0.0), "HV": (-35.0, -10.0), "VV": (-30.0, 0.0), "VH": (-35.0, -10.0)}
RATIO_DB = (-25.0, 0.0)
_STRIP = 128  # lines that are turned into decibels at a time
_RATIOS = (("HV", "HH"), ("VH", "VV"))


@dataclass(frozen=True, kw_only=True)
class Band:
    """One band of a quick-look: ``"HH"``, ``"HV"``, ``"HV/HH"`` …, and the decibels that are 1 and 255."""

    name: str
    low_db: float
    high_db: float


class QuickLook:
    """The radar image of a scene, made line by line while the lines are in memory for something else.

    Args:
        scene: see `frazil.conventions.check_scene`; no pixel of it is read.
        spacing_m: of the map that it is for. Where that is coarser than the scene, blocks of pixels are averaged in
            linear power, or speckle would be sampled and not smoothed.
        window: of the scene, to which `add` will be given lines; the whole scene by default. Blocks are those of the
            whole scene; what the window holds of others is left out.
    """

    def __init__(self, scene: xr.Dataset, spacing_m: float, window: Window | None = None) -> None:
        self._polarizations = [str(p) for p in scene["polarization"].values]
        self.bands = bands_of(self._polarizations)
        self.looks = k = looks_of(scene, spacing_m)
        corner, size = (0, 0), (scene.sizes["line"], scene.sizes["pixel"])
        if window is not None:
            corner, size = (window.line, window.pixel), (window.n_lines, window.n_pixels)
        #: Number of the first line and column of blocks in the whole scene.
        self.first = tuple(-(-at // k) for at in corner)
        shape = tuple(max((at + n) // k - first, 0) for at, n, first in zip(corner, size, self.first, strict=True))
        self._skip = tuple(first * k - at for at, first in zip(corner, self.first, strict=True))
        self.values = np.full((len(self.bands), *shape), NODATA, np.uint8)
        self._seen = self._row = 0
        self._rest: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, first: int, sigma0: np.ndarray, valid: np.ndarray) -> None:
        """Take in lines of full width, from the top down; lines that were seen before may come again.

        Args:
            first: number of the first line, counted from the top of the window.
            sigma0: (polarization, line, pixel), linear power.
            valid: (line, pixel), True where all of them were observed.
        """
        first, left = first - self._skip[0], self._skip[1]
        new = max(self._seen - first, 0)
        sigma0, valid = sigma0[:, new:, left:], valid[new:, left:]
        if not len(valid):
            return
        self._seen = first + new + len(valid)
        if self._rest is not None:
            sigma0, valid = np.concatenate([self._rest[0], sigma0], 1), np.concatenate([self._rest[1], valid])
        step = -(-_STRIP // self.looks) * self.looks
        whole = len(valid) // self.looks * self.looks
        for start in range(0, whole, step):
            part = slice(start, min(start + step, whole))
            image = self._image(sigma0[:, part], valid[part])
            self.values[:, self._row : self._row + image.shape[1]] = image
            self._row += image.shape[1]
        self._rest = (sigma0[:, whole:].copy(), valid[whole:].copy()) if whole < len(valid) else None

    def on(self, warp: Warp, corner: tuple[int, int] = (0, 0)) -> np.ndarray:
        """The image on the grid of a map: uint8 (band, y, x), 0 outside the scene or the window.

        Args:
            warp: of `frazil.scene.grid.plan_warp`, from the pixels of the scene.
            corner: line and pixel of the scene that the warp counts from.
        """
        row, column = (
            (at + start + 0.5) / self.looks - 0.5 - first
            for at, start, first in zip((warp.row, warp.column), corner, self.first, strict=True)
        )
        coarse = replace(warp, row=row, column=column, shape=(self.values.shape[1], self.values.shape[2]))
        return coarse.bilinear_planes(self.values, missing=NODATA)

    def attrs(self) -> dict[str, object]:
        """Attributes of the variable ``quicklook`` of a map."""
        return attrs_of(self.bands)

    def _image(self, sigma0: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Bytes of some lines, a multiple of the looks."""
        k, columns = self.looks, self.values.shape[2]
        if k > 1:
            rows = len(valid) // k
            seen = valid[:, : columns * k].reshape(rows, k, columns, k)
            power = np.where(seen, sigma0[..., : columns * k].reshape(-1, rows, k, columns, k), np.float32(0))
            count = seen.sum((1, 3))
            sigma0, valid = power.sum((2, 4)) / np.maximum(count, 1), count > 0
        db = dict(zip(self._polarizations, to_db(np.where(valid, sigma0, np.float32(1))), strict=True))
        for cross, co in _RATIOS:
            if cross in db and co in db:
                db[f"{cross}/{co}"] = db[cross] - db[co]
        out = np.empty((len(self.bands), *valid.shape), np.uint8)
        for plane, band in zip(out, self.bands, strict=True):
            share = (db[band.name] - band.low_db) / (band.high_db - band.low_db)
            plane[:] = np.where(valid, np.rint(1 + 254 * np.clip(share, 0, 1)), NODATA)
        return out


def looks_of(scene: xr.Dataset, spacing_m: float) -> int:
    """Pixels along a side of the blocks that are averaged for a map of a spacing."""
    shortest = min(scene.sizes["line"], scene.sizes["pixel"])
    return min(max(round(spacing_m / float(scene.attrs["spacing_m"])), 1), shortest)


def bands_of(polarizations: list[str]) -> tuple[Band, ...]:
    """The bands that polarisations give: each of them, like polarisation first, then the ratio of cross to like."""
    bands = [(p, *LIMITS_DB[p]) for p in LIMITS_DB if p in polarizations]
    bands += [(f"{cross}/{co}", *RATIO_DB) for cross, co in _RATIOS if cross in polarizations and co in polarizations]
    return tuple(Band(name=name, low_db=low, high_db=high) for name, low, high in bands)


def attrs_of(bands: tuple[Band, ...]) -> dict[str, object]:
    """Attributes of the variable ``quicklook`` of a map, which `bands_told` reads."""
    stretch = ", ".join(f"{band.name} {band.low_db:g} {band.high_db:g}" for band in bands)
    return {"units": "1", "long_name": "radar image, 1 to 255 between limits in dB", "stretch_db": stretch}


def bands_told(attrs: Mapping[Any, Any]) -> tuple[Band, ...]:
    """The bands of the variable ``quicklook`` of a map, from its attributes."""
    told = (words.split() for words in str(attrs["stretch_db"]).split(", "))
    return tuple(Band(name=name, low_db=float(low), high_db=float(high)) for name, low, high in told)
