"""How bright a surface is: sigma nought by class, polarisation, incidence angle, wind and season.

Ice follows `frazil.simulate.signatures`: in decibels the mean falls linearly with incidence angle, with a slope of its
own for every class; floes and provinces deviate from it, and texture is log-normal. Water follows its wind: CMOD5.N for
VV, a polarisation ratio for HH, and a wind-speed law for cross-polarisation.

References:
    Hersbach (2010), doi:10.1175/2009JTECHO698.1: CMOD5.N. Thompson, Elfouhaily & Chapron (1998), IGARSS, and Vachon &
        Dobson (2000), Can. J. Remote Sens. 26(4): ratio of VV to HH.
    Vachon & Wolfe (2011), doi:10.1109/LGRS.2010.2085417: cross-polarised backscatter against wind speed.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from frazil.conventions import CLASS_LAND, FIVE_CLASSES
from frazil.errors import OptionError
from frazil.jit import njit
from frazil.scene.ocean import cmod5n
from frazil.simulate.noise import noise_tile
from frazil.simulate.signatures import FROST_DB, POLARIZATIONS, REFERENCE_DEG, SIGNATURES, Signature, draw_table
from frazil.simulate.world import World

_CROSS = ("HV", "VH")


def polarization_ratio(incidence_angle: ArrayLike) -> np.ndarray:
    """VV over HH of the sea, linear: Thompson et al. (1998) with coefficient 1 (Vachon & Dobson 2000, RADARSAT)."""
    t = np.tan(np.radians(incidence_angle)) ** 2
    return np.asarray(((1 + 2 * t) / (1 + t)) ** 2)


def water_sigma0(
    wind_ms: ArrayLike, incidence_angle: ArrayLike, polarization: str, *, look_deg: float = 45.0, calm_db: float = 0.0
) -> np.ndarray:
    """Backscatter of open water, linear power (arguments broadcast as in `cmod5n`).

    Cross-polarised: 0.592 U - 35.652 dB (Vachon & Wolfe 2011), who find no dependence on incidence; the weak slope of
    -0.05 dB/° about 30° that Sentinel-1 EW shows is added. Below 3 m/s the law is left for a steeper fall. The data
    behind it end at their radar's noise, -36.5 dB: `calm_db` (dB for each m/s below 10) lets calm water be darker:
    by 2 to 4 dB at 7 m/s where Sentinel-1 saw it off the Antarctic ice edge (`docs/results/simulator-real.md`).
    """
    if polarization in _CROSS:
        wind = np.asarray(wind_ms, float)
        db = (
            0.592 * wind - 35.652 - 1.5 * np.maximum(3 - wind, 0) - 0.05 * (np.asarray(incidence_angle) - REFERENCE_DEG)
        ) - calm_db * np.maximum(10 - wind, 0)
        return np.asarray(10 ** (db / 10))
    vv = cmod5n(np.maximum(wind_ms, 0.3), look_deg, incidence_angle)
    return vv if polarization == "VV" else vv / polarization_ratio(incidence_angle)


@dataclass(frozen=True, kw_only=True)
class Climate:
    """What differs from scene to scene: offsets of the class means, dB, by (class, polarisation).

    Attributes:
        offset_db: added to the mean of the signature.
        slope_db: added to its slope, dB/°.
        table: the signatures that they are added to.
        frost_db: dB between dark nilas and bright grey ice, by polarisation.
        look_deg: direction between wind and look, degrees.
        wet: surface melt, 0 to 1: how far means move from dry to wet.
        calm_db: how much darker calm water is in cross-polarisation, see `water_sigma0`.
    """

    offset_db: dict[tuple[str, str], float] = field(default_factory=dict)
    slope_db: dict[tuple[str, str], float] = field(default_factory=dict)
    table: dict[tuple[str, str], Signature] = field(default_factory=lambda: SIGNATURES, repr=False)
    frost_db: dict[str, float] = field(default_factory=lambda: FROST_DB, repr=False)
    look_deg: float = 45.0
    wet: float = 0.0
    calm_db: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.wet <= 1:
            raise OptionError(f"wet={self.wet} is outside 0 … 1.")


def draw_climate(
    rng: np.random.Generator,
    *,
    look_deg: float,
    wet: float,
    spread: float = 1.0,
    region_rng: np.random.Generator | None = None,
) -> Climate:
    """A scene's own offsets. Polarisations of a class go together (correlation 0.7), so do all ice classes (0.3).

    Args:
        rng: source of the deviates.
        look_deg: wind direction, see `Climate`.
        wet: surface melt, 0 to 1.
        spread: factor on every spread; 0 gives the table itself.
        region_rng: draws the table from the regions of `frazil.simulate.signatures`; None takes the one of the
            literature.
    """
    table, frost_db = (SIGNATURES, FROST_DB) if region_rng is None else draw_table(region_rng)
    calm_db = 0.0 if region_rng is None else float(region_rng.uniform(0.1, 1.2))
    together = rng.standard_normal()
    offset: dict[tuple[str, str], float] = {}
    slope: dict[tuple[str, str], float] = {}
    for name in (*FIVE_CLASSES.names, "land"):
        own, bend = rng.standard_normal(2)
        for pol in POLARIZATIONS:
            z = rng.standard_normal() if pol in ("HH", "HV") else 0.0
            # VV follows HH, VH is HV under its reciprocal name.
            if pol == "VV":
                offset[name, pol] = offset[name, "HH"]
                slope[name, pol] = slope[name, "HH"]
                continue
            if pol == "VH":
                offset[name, pol] = offset[name, "HV"]
                slope[name, pol] = slope[name, "HV"]
                continue
            if name in ("open_water", "land"):
                z = np.sqrt(0.7) * own + np.sqrt(0.3) * z
            else:
                z = np.sqrt(0.3) * together + np.sqrt(0.4) * own + np.sqrt(0.3) * z
            offset[name, pol] = float(spread * table[name, pol].scene_db * z)
            slope[name, pol] = float(spread * 0.03 * bend)
    return Climate(
        offset_db=offset,
        slope_db=slope,
        table=table,
        frost_db=frost_db,
        look_deg=look_deg,
        wet=wet,
        calm_db=calm_db,
    )


def expected_sigma0(
    world: World,
    incidence_angle: ArrayLike,
    polarization: str,
    *,
    climate: Climate | None = None,
    spacing_m: float,
    texture_seed: int = 0,
) -> np.ndarray:
    """Sigma nought before speckle and noise, linear power, float32 (line, pixel).

    Args:
        world: the truth.
        incidence_angle: degrees; one, (pixel,) or (line, pixel).
        polarization: ``"HH"``, ``"HV"``, ``"VV"`` or ``"VH"``.
        climate: the scene's offsets; None means the table itself.
        spacing_m: pixel size, metres.
        texture_seed: texture is the same for the same seed; that of two polarisations correlates by 0.7.

    Raises:
        OptionError: an unknown polarisation.
    """
    if polarization not in FROST_DB:
        raise OptionError(f"polarization={polarization!r} is unknown. Choose one of {sorted(FROST_DB)}.")
    climate = climate or Climate(wet=world.wet)
    shape = world.ice_class.shape
    angle = np.broadcast_to(np.asarray(incidence_angle, np.float32), shape)
    size = 2048 if max(shape) > 1024 else 512
    shared = _shared_texture(texture_seed, size)
    own = noise_tile(
        np.random.default_rng([texture_seed, 1 + list(FROST_DB).index(polarization)]),
        size,
        longest=6.0,
        shortest=2.0,
        exponent=2.0,
    )
    table = _class_table(polarization, climate, spacing_m)
    speeds = np.arange(0.25, 30.5, 0.25)
    angles = np.arange(15.0, 50.5, 0.5)
    water = 10 * np.log10(
        water_sigma0(speeds[:, None], angles[None, :], polarization, look_deg=climate.look_deg, calm_db=climate.calm_db)
    )
    out = np.empty(shape, np.float32)

    def strip(first: int) -> None:
        part = slice(first, first + 512)
        _sigma0_lines(
            first,
            world.ice_class[part],
            world.wind_ms[part],
            world.anomaly[part],
            world.frost[part],
            angle[part],
            table,
            water.astype(np.float32),
            shared,
            own,
            float(climate.frost_db[polarization]),
            out[part],
        )

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(strip, range(0, shape[0], 512)))
    return out


@lru_cache(maxsize=1)  # the polarisations of a scene come one after the other
def _shared_texture(texture_seed: int, size: int) -> np.ndarray:
    return noise_tile(np.random.default_rng([texture_seed, 0]), size, longest=16.0, shortest=2.0, exponent=2.2)


def _class_table(polarization: str, climate: Climate, spacing_m: float) -> np.ndarray:
    """(class, 5) of mean, slope, texture, share of fine texture, variation; class 5 is land. dB; float32."""
    rows = []
    for name in (*FIVE_CLASSES.names, "land"):
        s = climate.table[name, polarization]
        mean = 0.0 if name == "open_water" else (1 - climate.wet) * s.mean_db + climate.wet * s.wet_db
        slope = 0.0 if name == "open_water" else s.slope_db
        fine = float(np.clip(1.2 - s.texture_m / 600.0, 0.2, 0.9)) if spacing_m < s.texture_m else 0.9
        rows.append(
            [
                mean + climate.offset_db.get((name, polarization), 0.0),
                slope + climate.slope_db.get((name, polarization), 0.0) * (name != "open_water"),
                s.texture_db,
                fine,
                s.variation_db * (1 - 0.4 * climate.wet),
            ]
        )
    return np.array(rows, dtype=np.float32)


@njit(nogil=True, fastmath=True)
def _sigma0_lines(
    first: int,
    ice_class: np.ndarray,
    wind: np.ndarray,
    anomaly: np.ndarray,
    frost: np.ndarray,
    angle: np.ndarray,
    table: np.ndarray,
    water: np.ndarray,
    shared: np.ndarray,
    own: np.ndarray,
    frost_db: float,
    out: np.ndarray,
) -> None:
    m = shared.shape[0] - 1
    to_power = np.float32(np.log(10.0) / 10.0)
    for i in range(ice_class.shape[0]):
        for j in range(ice_class.shape[1]):
            cls = ice_class[i, j]
            k = 5 if cls == CLASS_LAND else min(cls, 5)
            theta = angle[i, j]
            db = table[k, 0] + table[k, 1] * (theta - np.float32(REFERENCE_DEG))
            if k == 0:
                y = min(
                    max((wind[i, j] - np.float32(0.25)) * np.float32(4.0), np.float32(0.0)),
                    np.float32(water.shape[0] - 1.001),
                )
                x = min(
                    max((theta - np.float32(15.0)) * np.float32(2.0), np.float32(0.0)),
                    np.float32(water.shape[1] - 1.001),
                )
                a = int(y)
                b = int(x)
                fy = y - a
                fx = x - b
                db += (1 - fy) * (water[a, b] * (1 - fx) + water[a, b + 1] * fx) + fy * (
                    water[a + 1, b] * (1 - fx) + water[a + 1, b + 1] * fx
                )
            elif k == 2:
                db += frost_db * (frost[i, j] - np.float32(0.5))
            fine = table[k, 3]
            t = np.sqrt(1 - fine * fine) * shared[(i + first) & m, j & m] + fine * (
                np.float32(0.7) * shared[(j + 517) & m, (i + first + 91) & m]
                + np.float32(0.714) * own[(i + first) & m, j & m]
            )
            s = table[k, 2]
            db += s * t + table[k, 4] * anomaly[i, j]
            # The mean of a log-normal texture in power is higher than that of its decibels.
            power = db * to_power - np.float32(0.5) * (s * to_power) ** 2
            out[i, j] = np.exp(power)
