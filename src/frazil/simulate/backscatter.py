"""How bright a surface is: sigma nought by class, polarisation, incidence angle, wind and season.

Ice follows `SIGNATURES`: in decibels the mean falls linearly with incidence angle, with a slope of its own for every
class; floes and provinces deviate from it, and texture is log-normal. Water follows its wind: CMOD5.N for VV, a
polarisation ratio for HH, and a wind-speed law for cross-polarisation.

References:
    Mäkynen & Karvonen (2017), doi:10.1109/TGRS.2017.2721981: slopes of first-year ice, Sentinel-1, Kara Sea.
        Deformed ice -0.24 dB/° (HH) and -0.16 dB/° (HV), level ice -0.25 dB/° (HH); no reliable value for level
        ice in HV, where it is too close to the noise floor.
    Incidence Angle Dependencies for C-Band Backscatter From Sea Ice During Both the Winter and Melt Season (2023),
        doi:10.1109/TGRS.2023.3315056: first-year -0.235, second-year -0.208, multi-year ice -0.167 dB/° (HH, winter).
    Aldenhoff et al. (2020), doi:10.1109/JSTARS.2020.2977506: slopes of both polarisations, first sub-swath unusable.
    Lohse, Doulgeris & Dierking (2020), doi:10.1017/aog.2020.45: slope as a property of the class.
    Zakhvatkina et al. (2017), doi:10.5194/tc-11-33-2017: ice and water in dual-polarised scenes, confusion by wind.
    Onstott (1992), in Microwave Remote Sensing of Sea Ice, AGU Monogr. 68, ch. 5; Isleifson et al. (2010),
        doi:10.1109/TGRS.2010.2051808: new and young ice, frost flowers.
    Hersbach (2010), doi:10.1175/2009JTECHO698.1: CMOD5.N. Thompson, Elfouhaily & Chapron (1998), IGARSS, and Vachon &
        Dobson (2000), Can. J. Remote Sens. 26(4): ratio of VV to HH.
    Vachon & Wolfe (2011), doi:10.1109/LGRS.2010.2085417: cross-polarised backscatter against wind speed.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from frazil.conventions import CLASS_LAND, FIVE_CLASSES
from frazil.errors import OptionError
from frazil.jit import njit
from frazil.scene.ocean import cmod5n
from frazil.simulate.noise import noise_tile
from frazil.simulate.world import World

REFERENCE_DEG = 30.0  # incidence angle of the means in `SIGNATURES`
_CROSS = ("HV", "VH")


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The backscatter of one class in one polarisation, dry and cold.

    Attributes:
        mean_db: mean sigma nought at 30° incidence, dB.
        slope_db: change per degree of incidence, dB/°.
        texture_db: standard deviation of texture finer than 1 km, dB.
        texture_m: its correlation length, metres.
        variation_db: standard deviation between floes and provinces of one scene, dB.
        scene_db: standard deviation of the class mean between scenes, dB.
        wet_db: mean at 30° under wet snow, dB.
    """

    mean_db: float
    slope_db: float
    texture_db: float
    texture_m: float
    variation_db: float
    scene_db: float
    wet_db: float


def _s(*values: float) -> Signature:
    names = ("mean_db", "slope_db", "texture_db", "texture_m", "variation_db", "scene_db", "wet_db")
    return Signature(**dict(zip(names, values, strict=True)))


#: (class, polarisation) -> signature. HH and VV differ little over rough ice; smooth ice is brighter in VV.
SIGNATURES: dict[tuple[str, str], Signature] = {
    # Water: mean and slope come from the wind; the rest is swell, slicks and model error.
    ("open_water", "HH"): _s(np.nan, np.nan, 0.35, 250, 0.35, 0.8, np.nan),
    ("open_water", "HV"): _s(np.nan, np.nan, 0.25, 250, 0.25, 0.8, np.nan),
    ("open_water", "VV"): _s(np.nan, np.nan, 0.35, 250, 0.35, 0.7, np.nan),
    # Brash and pancake: raised rims, bright in HH and moderate in HV.
    ("brash_pancake", "HH"): _s(-11.5, -0.27, 1.0, 300, 0.9, 1.7, -13.0),
    ("brash_pancake", "HV"): _s(-23.5, -0.17, 0.8, 300, 0.9, 1.5, -24.5),
    ("brash_pancake", "VV"): _s(-11.0, -0.27, 1.0, 300, 0.9, 1.6, -12.5),
    # Young ice: the mean of dark nilas and bright grey ice with frost flowers, see FROST_DB.
    ("young_ice", "HH"): _s(-16.0, -0.28, 0.8, 400, 0.8, 1.6, -17.0),
    ("young_ice", "HV"): _s(-28.0, -0.18, 0.6, 400, 0.7, 1.3, -28.5),
    ("young_ice", "VV"): _s(-15.0, -0.28, 0.8, 400, 0.8, 1.6, -16.0),
    ("level_first_year_ice", "HH"): _s(-16.0, -0.25, 0.8, 600, 1.1, 1.4, -16.0),
    ("level_first_year_ice", "HV"): _s(-28.0, -0.14, 0.7, 600, 0.9, 1.3, -26.5),
    ("level_first_year_ice", "VV"): _s(-15.5, -0.25, 0.8, 600, 1.1, 1.4, -15.5),
    # Old or deformed: ridges and air bubbles scatter in all polarisations; water films quench the bubbles.
    ("deformed_ice", "HH"): _s(-11.0, -0.21, 1.4, 350, 1.2, 1.3, -14.5),
    ("deformed_ice", "HV"): _s(-20.0, -0.16, 1.4, 350, 1.3, 1.4, -24.0),
    ("deformed_ice", "VV"): _s(-11.0, -0.21, 1.4, 350, 1.2, 1.3, -14.5),
    ("land", "HH"): _s(-9.0, -0.14, 2.2, 500, 2.0, 1.5, -10.5),
    ("land", "HV"): _s(-16.5, -0.12, 2.0, 500, 2.0, 1.5, -18.5),
    ("land", "VV"): _s(-9.0, -0.14, 2.2, 500, 2.0, 1.5, -10.5),
}
SIGNATURES |= {(name, "VH"): value for (name, pol), value in SIGNATURES.items() if pol == "HV"}
#: Young ice: dB between dark nilas (frost 0) and grey ice full of frost flowers (frost 1), by polarisation.
FROST_DB = {"HH": 8.5, "VV": 8.5, "HV": 5.5, "VH": 5.5}


def polarization_ratio(incidence_angle: np.ndarray) -> np.ndarray:
    """VV over HH of the sea, linear: Thompson et al. (1998) with coefficient 1 (Vachon & Dobson 2000, RADARSAT)."""
    t = np.tan(np.radians(incidence_angle)) ** 2
    return np.asarray(((1 + 2 * t) / (1 + t)) ** 2)


def water_sigma0(
    wind_ms: np.ndarray, incidence_angle: np.ndarray, polarization: str, *, look_deg: float = 45.0
) -> np.ndarray:
    """Backscatter of open water, linear power (arguments broadcast as in `cmod5n`).

    Cross-polarised: 0.592 U - 35.652 dB (Vachon & Wolfe 2011), who find no dependence on incidence; the weak slope of
    -0.05 dB/° about 30° that Sentinel-1 EW shows is added. Below 3 m/s the law is left for a steeper fall.
    """
    if polarization in _CROSS:
        wind = np.asarray(wind_ms, float)
        db = (
            0.592 * wind - 35.652 - 1.5 * np.maximum(3 - wind, 0) - 0.05 * (np.asarray(incidence_angle) - REFERENCE_DEG)
        )
        return np.asarray(10 ** (db / 10))
    vv = cmod5n(np.maximum(wind_ms, 0.3), look_deg, incidence_angle)
    return vv if polarization == "VV" else vv / polarization_ratio(incidence_angle)


@dataclass(frozen=True, kw_only=True)
class Climate:
    """What differs from scene to scene: offsets of the class means, dB, by (class, polarisation).

    Attributes:
        offset_db: added to the mean of the signature.
        slope_db: added to its slope, dB/°.
        look_deg: direction between wind and look, degrees.
        wet: surface melt, 0 to 1: how far means move from dry to wet.
    """

    offset_db: dict[tuple[str, str], float] = field(default_factory=dict)
    slope_db: dict[tuple[str, str], float] = field(default_factory=dict)
    look_deg: float = 45.0
    wet: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.wet <= 1:
            raise OptionError(f"wet={self.wet} is outside 0 … 1.")


def draw_climate(rng: np.random.Generator, *, look_deg: float, wet: float, spread: float = 1.0) -> Climate:
    """A scene's own offsets. Polarisations of a class go together (correlation 0.7), so do all ice classes (0.3).

    Args:
        rng: source of the deviates.
        look_deg: wind direction, see `Climate`.
        wet: surface melt, 0 to 1.
        spread: factor on every spread; 0 gives the table itself.
    """
    together = rng.standard_normal()
    offset: dict[tuple[str, str], float] = {}
    slope: dict[tuple[str, str], float] = {}
    for name in (*FIVE_CLASSES.names, "land"):
        own, bend = rng.standard_normal(2)
        for pol in ("HH", "HV", "VV", "VH"):
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
            offset[name, pol] = float(spread * SIGNATURES[name, pol].scene_db * z)
            slope[name, pol] = float(spread * 0.03 * bend)
    return Climate(offset_db=offset, slope_db=slope, look_deg=look_deg, wet=wet)


def expected_sigma0(
    world: World,
    incidence_angle: np.ndarray,
    polarization: str,
    *,
    climate: Climate | None = None,
    spacing_m: float,
    texture_seed: int = 0,
) -> np.ndarray:
    """Sigma nought before speckle and noise, linear power, float32 (line, pixel).

    Args:
        world: the truth.
        incidence_angle: degrees, (pixel,) or (line, pixel).
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
        np.random.default_rng([texture_seed, 1 + list(FROST_DB).index(polarization)]), size, longest=6.0, shortest=2.0,
        exponent=2.0,
    )  # fmt: skip
    table = _class_table(polarization, climate, spacing_m)
    speeds = np.arange(0.25, 30.5, 0.25)
    angles = np.arange(15.0, 50.5, 0.5)
    water = 10 * np.log10(water_sigma0(speeds[:, None], angles[None, :], polarization, look_deg=climate.look_deg))
    out = np.empty(shape, np.float32)

    def strip(first: int) -> None:
        part = slice(first, first + 512)
        _sigma0_lines(
            first, world.ice_class[part], world.wind_ms[part], world.anomaly[part], world.frost[part], angle[part],
            table, water.astype(np.float32), shared, own, float(FROST_DB[polarization]), out[part],
        )  # fmt: skip

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
        s = SIGNATURES[name, polarization]
        mean = 0.0 if name == "open_water" else (1 - climate.wet) * s.mean_db + climate.wet * s.wet_db
        slope = 0.0 if name == "open_water" else s.slope_db
        fine = float(np.clip(1.2 - s.texture_m / 600.0, 0.2, 0.9)) if spacing_m < s.texture_m else 0.9
        rows.append([
            mean + climate.offset_db.get((name, polarization), 0.0),
            slope + climate.slope_db.get((name, polarization), 0.0) * (name != "open_water"),
            s.texture_db, fine, s.variation_db * (1 - 0.4 * climate.wet),
        ])  # fmt: skip
    return np.array(rows, dtype=np.float32)


@njit(nogil=True, fastmath=True)
def _sigma0_lines(
    first: int, ice_class: np.ndarray, wind: np.ndarray, anomaly: np.ndarray, frost: np.ndarray, angle: np.ndarray,
    table: np.ndarray, water: np.ndarray, shared: np.ndarray, own: np.ndarray, frost_db: float, out: np.ndarray,
) -> None:  # fmt: skip
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
