"""Real quick-looks as scenes: what is true in them, the noise taken off, and finer pixels with speckle of their own.

Each picture is total power (ice or sea, and thermal noise) at about 650 m, in map geometry. A scene at 650 m is that
power less the stated noise. A scene at 120 m is the power brought to 120 m bilinearly, in linear power, times the
speckle of 3 × 3 averages of EW GRDM, less the stated noise: (σ0 + NESZ) × speckle − NESZ, as the simulator observes.
Nothing finer than 650 m comes back that way but speckle.
"""

from __future__ import annotations

import importlib.util
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr
from scipy import ndimage

from frazil.conventions import VARIABLES
from frazil.simulate.instrument import (
    SpeckleStream,
    band_radiometry,
    resolution_letter,
    speckle_model,
    template_product,
)
from frazil.simulate.noise import resample
from frazil.simulate.scene import incidence_angle

READER, PICTURES = "quicklook.py", "antarctic-ew-2024"
POLARIZATIONS = ("HH", "HV")
SPACING_M = 650.0
#: Start time -> what is known of the scene; of the others nothing is.
KINDS = {
    "20241004T152948": "pack",
    "20241009T153800": "pack",
    "20241011T152143": "pack",
    "20241004T153048": "edge",
    "20241011T152243": "edge",
}
WATER, ICE, UNKNOWN = 0, 1, -1  # truth of a pixel
_FAR_DEG = 34.0  # incidence beyond which HH of an edge scene is bimodal
_DARK, _BRIGHT = 60.0, 110.0  # 5 × 5 means of the grey of HH, 0…255: water below, pack above


@dataclass(frozen=True, eq=False)
class QuickLook:
    """One picture, cut to what was observed. Arrays of dims (line, pixel), rows and columns of the picture.

    Attributes:
        name: start time of the product, ``"20241004T152948"``.
        kind: ``"pack"``, ``"edge"`` or ``"unknown"``.
        power: float32 (polarization, line, pixel), linear, thermal noise in it.
        angle: incidence, degrees.
        valid: True on sea that was observed.
        truth: int8, `WATER`, `ICE` or `UNKNOWN`.
        grey: (polarization, line, pixel), 0…255, to look at.
    """

    name: str
    kind: str
    power: np.ndarray
    angle: np.ndarray
    valid: np.ndarray
    truth: np.ndarray
    grey: np.ndarray

    def clipped(self, what: int) -> float | None:
        """Share of the pixels of a known class that HH shows black: they may be darker than the picture can tell."""
        known = self.truth == what
        return float((self.grey[0][known] <= 0).mean()) if known.any() else None


def lacking(data: Path) -> str:
    """What of the pictures is not in a data folder, in words; empty where they are there."""
    folder = data / "real-ice"
    if not (folder / READER).is_file():
        return f"no {folder / READER}"
    return "" if any((folder / PICTURES).glob("S1*.png")) else f"no S1*.png in {folder / PICTURES}"


def pictures(data: Path) -> list[Path]:
    """The pictures of a data folder, by time."""
    return sorted((data / "real-ice" / PICTURES).glob("S1*.png"), key=lambda path: path.name[17:32])


@cache
def _reader(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("quicklook", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(picture: Path) -> QuickLook:
    """A picture by the reader that lies beside its folder."""
    hh_db, hv_db, angle, valid, *grey = _reader(picture.parents[1] / READER).read(picture)
    name = picture.name[17:32]
    kind = KINDS.get(name, "unknown")
    truth = truth_of(kind, np.asarray(grey[0]), angle, valid)
    rows, columns = (np.flatnonzero(valid.any(axis=k)) for k in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    power = 10 ** (np.stack([hh_db, hv_db]) / 10)
    return QuickLook(
        name,
        kind,
        power[:, *box].astype(np.float32),
        angle[box].astype(np.float32),
        valid[box],
        truth[box],
        np.stack(grey)[:, *box],
    )


def truth_of(kind: str, grey_hh: np.ndarray, angle: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """What is certain: closed pack is all ice; in edge scenes beyond 34° dark HH is water and bright HH is pack.

    Returns:
        int8 (line, pixel): `WATER`, `ICE` or `UNKNOWN`.
    """
    truth = np.full(valid.shape, UNKNOWN, np.int8)
    if kind == "pack":
        truth[valid] = ICE
    elif kind == "edge":
        mean = ndimage.uniform_filter(grey_hh.astype(float), 5)
        far = valid & (angle > _FAR_DEG)
        truth[far & (mean < _DARK)] = WATER
        truth[far & (mean > _BRIGHT)] = ICE
    return truth


@cache
def _noise_table() -> tuple[np.ndarray, np.ndarray]:
    """Incidence angle (column,) and NESZ (polarization, column) of the bundled product, means over its lines."""
    product = template_product("ew")
    bands = {b.polarization: b for b in product.bands}
    a = bands["HH"].annotation
    lines, pixels = np.arange(0, a.n_lines, 40.0), np.arange(0, a.n_pixels, 4.0)
    stated = np.stack([band_radiometry(bands[p]).nesz(lines, pixels) for p in POLARIZATIONS])
    # A sub-swath may begin some lines late, and its columns have no NESZ there.
    seen = np.isfinite(stated).any(axis=1).all(axis=0)
    return (
        incidence_angle(a, lines, pixels).mean(axis=0)[seen],
        np.asarray(np.nanmean(stated[..., seen], axis=1, dtype=np.float64)),
    )


def nesz(angle: np.ndarray) -> np.ndarray:
    """NESZ of EW by incidence angle in degrees, float32 (polarization, …), linear power: HH, HV.

    That of the bundled product, averaged over its lines, linear between its columns, constant beyond its swath.
    """
    known, stated = _noise_table()
    return np.stack([np.interp(angle, known, values) for values in stated]).astype(np.float32)


def scene_of(look: QuickLook, *, spacing_m: float = SPACING_M, noise: float = 1.0, denoise: str = "esa") -> xr.Dataset:
    """A scene as `frazil.predict` wants it, with ``truth`` (line, pixel).

    Args:
        look: the picture.
        spacing_m: 650 for its pixels as they are; finer ones are interpolated and get speckle.
        noise: factor on the NESZ that is believed, and so taken off. The noise in the picture stays what it is.
        denoise: what the scene says of its noise.

    Its tie points lie in the open Southern Ocean, so that the shorelines hide nothing: the pictures' own mask does.
    """
    power, angle, valid, truth = look.power, look.angle, look.valid, look.truth
    if spacing_m != SPACING_M:
        shape = tuple(int(n * SPACING_M / spacing_m) for n in valid.shape)
        at = [(np.arange(n) + 0.5) * spacing_m / SPACING_M - 0.5 for n in shape]
        nearest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
        power = np.stack([_finer(plane[tuple(nearest)], at) for plane in power])
        for k, plane in enumerate(power):
            plane *= _speckle(look.name, k, plane.shape)
        angle = _finer(angle, at)
        own = np.ix_(*(np.rint(a).astype(int).clip(0, n - 1) for a, n in zip(at, valid.shape, strict=True)))
        valid, truth = valid[own], truth[own]
    stated = np.float32(noise) * nesz(angle)
    lines, columns = (np.arange(n, dtype=float) for n in valid.shape)
    planes, grid = ("polarization", "line", "pixel"), ("line", "pixel")
    return xr.Dataset(
        {
            "sigma0": (planes, np.where(valid, power - stated, np.float32(np.nan)), VARIABLES["sigma0"]),
            "nesz": (planes, stated, VARIABLES["nesz"]),
            "incidence_angle": (grid, angle, VARIABLES["incidence_angle"]),
            "valid": (grid, valid, VARIABLES["valid"]),
            "truth": (grid, truth),
            **_ties(),
        },
        {
            "polarization": list(POLARIZATIONS),
            "line": lines,
            "pixel": columns,
            "tie_line": np.linspace(0, lines[-1], 5),
            "tie_pixel": np.linspace(0, columns[-1], 5),
        },
        {
            "product": f"quick-look of {look.name}",
            "mission": "S1A",
            "mode": "EW",
            "product_type": "GRD",
            "start_time": look.name,
            "stop_time": look.name,
            "spacing_m": spacing_m,
            "denoise": denoise,
        },
    )


def _finer(plane: np.ndarray, at: list[np.ndarray]) -> np.ndarray:
    out = np.empty([a.size for a in at], np.float32)
    resample(plane, *at, out)
    return out


def _speckle(name: str, band: int, shape: tuple[int, ...]) -> np.ndarray:
    """Speckle of 3 × 3 averages of EW GRDM: the same in every run, and whatever noise is taken off."""
    product = template_product("ew")
    model = speckle_model(product.bands[0].annotation, resolution_letter(product), 3)
    return SpeckleStream(model, shape[1], (zlib.crc32(name.encode()), band)).take(shape[0])


def _ties() -> dict[str, Any]:
    lat, lon = np.meshgrid(np.linspace(-58.0, -62.0, 5), np.linspace(20.0, 27.0, 5), indexing="ij")
    dims = ("tie_line", "tie_pixel")
    return {
        "tie_latitude": (dims, lat),
        "tie_longitude": (dims, lon),
        "tie_height": (dims, np.zeros_like(lat)),
    }
