"""Wave-mode images of the sea with exact masks of ten phenomena, alone and together.

An imagette is 20 × 20 km in VV at one of the two wave-mode angles. Its brightness is that of CMOD5.N for a wind that
varies from place to place, changed by swell, slicks, rain and ice, with speckle and thermal noise. What an image is
*called* (its category) is one phenomenon; its masks say where this and any other labelled one is. Weak streaks, cells
and swell that nobody would label stand in the background of many images, so that a network must weigh them.

This is not the sea: shapes are drawn, not computed from dynamics, and real images hold more than ten phenomena. See
``docs/explanation/wave-mode-simulator.md``.

References:
    Those of `frazil.simulate.wave_mode_fields` and `frazil.simulate.swell`.
    Wang, C., et al. (2019), Geosci. Data J. 6, 105. doi:10.1002/gdj3.73: the ten categories, and how often each is seen
        at which angle (93 % of pure ocean waves at 23.8°, 92 % of micro-convective cells at 36.8°, as Colin et al.
        2022 quote them).
    Torres, R., et al. (2012), GMES Sentinel-1 mission. Remote Sens. Environ. 120, 9. doi:10.1016/j.rse.2011.05.028:
        wave mode, 5 m × 5 m, noise-equivalent σ0 of −22 dB or better.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from frazil.conventions import METOCEAN, VARIABLES
from frazil.errors import OptionError
from frazil.scene.ocean import cmod5n
from frazil.seeds import check_seed
from frazil.simulate import wave_mode_fields as paint
from frazil.simulate.swell import Swell, swell_modulation
from frazil.simulate.wave_mode_fields import Sea

INCIDENCE_DEG = {"WV1": 23.8, "WV2": 36.8}  #: of the centres
_ACROSS_DEG = {"WV1": 1.45, "WV2": 1.1}  # change over 20 km of ground range
#: Share of images of a category at 23.8°; those that the source names, and our guess of even shares for the others.
NEAR_SHARE = {"pure_ocean_waves": 0.93, "micro_convective_cells": 0.08}
#: Range of wind over the sea of each category, m/s.
WIND_MS = {
    "atmospheric_front": (4, 9),
    "biological_slick": (2.5, 6),
    "iceberg": (2.5, 8),
    "low_wind_area": (3, 6),
    "micro_convective_cells": (4, 9),
    "oceanic_front": (3, 7),
    "pure_ocean_waves": (3, 9),
    "rain_cells": (3, 9),
    "sea_ice": (3, 10),
    "wind_streaks": (6, 14),
}
GRAIN = (800.0, 100.0, 2.0)  #: longest and shortest wave, m, and exponent of the texture of plain sea
_TEXTURES = ("pure_ocean_waves", "wind_streaks", "micro_convective_cells")
_CODE_OF = {name: code for code, name in enumerate(METOCEAN.names)}


@dataclass(frozen=True, kw_only=True)
class WaveModeConfig:
    """What imagettes are like.

    Attributes:
        side_m: of the square.
        spacing_m: pixel size, the full resolution of image and masks.
        looks: equivalent number of independent looks of a pixel; by default 0.6 of the 5-m samples in it.
        nesz_db: noise-equivalent σ0.
        companions: chance that a second phenomenon is there, and labelled.
        faint: chance that an unlabelled, weak one is.
        incidence: ``"published"`` as the categories are seen at, ``"even"``, ``"WV1"`` or ``"WV2"``.
        strength: range of the strength of streaks and cells; 1 is what the literature's middle values give.
    """

    side_m: float = 20_000.0
    spacing_m: float = 50.0
    looks: float | None = None
    nesz_db: float = -26.0
    companions: float = 0.5
    faint: float = 0.6
    incidence: str = "published"
    strength: tuple[float, float] = field(default=(0.55, 1.25))

    def __post_init__(self) -> None:
        if not self.side_m >= 16 * self.spacing_m > 0 or (self.looks is not None and self.looks <= 0):
            raise OptionError(f"An imagette needs 16 pixels a side or more, and looks above 0; got {self}.")
        if not (0 <= self.companions <= 1 and 0 <= self.faint <= 1 and 0 < self.strength[0] <= self.strength[1]):
            raise OptionError(
                "companions and faint must lie in [0, 1], and strength must be two rising numbers above 0."
            )
        if self.incidence not in ("published", "even", *INCIDENCE_DEG):
            raise OptionError(f"incidence {self.incidence!r} is not published, even, WV1 or WV2.")

    @property
    def n_looks(self) -> float:
        """Of a pixel."""
        return self.looks or 0.6 * (self.spacing_m / 5.0) ** 2


def simulate_imagette(category: str, *, seed: int, config: WaveModeConfig | None = None) -> xr.Dataset:
    """One imagette and where its phenomena are.

    Args:
        category: class name of `frazil.conventions.METOCEAN`.
        seed: of everything; equal seeds and settings give equal imagettes.
        config: see `WaveModeConfig`.

    Returns:
        Dataset on (line, pixel), line along the track and pixel away from the radar: ``sigma0`` (float32, linear, noise
        subtracted, so that it may be negative), ``incidence_angle`` (float32, degrees), and ``mask`` (class, line,
        pixel; bool). attrs: category, swath, wind_ms, spacing_m, nesz_db, looks.

    Raises:
        OptionError: an unknown category.
    """
    if category not in METOCEAN.names:
        raise OptionError(f"category {category!r} is not one of {list(METOCEAN.names)}.")
    settings = config or WaveModeConfig()
    rng = np.random.default_rng([check_seed(seed), 41, _CODE_OF[category]])
    near = {"WV1": 1.0, "WV2": 0.0, "even": 0.5}.get(settings.incidence, NEAR_SHARE.get(category, 0.5))
    swath = "WV1" if rng.random() < near else "WV2"
    n = round(settings.side_m / settings.spacing_m)
    wind, towards = rng.uniform(*WIND_MS[category]), rng.uniform(0, 2 * np.pi)
    sea = Sea.calm(rng, (n, n), settings.spacing_m, wind, towards)
    sea.gusts(1 + rng.uniform(0.02, 0.09) * sea.noise(settings.side_m, 500, 3.0))
    angle = INCIDENCE_DEG[swath] + _ACROSS_DEG[swath] * (sea.x / 20_000 - settings.side_m / 40_000)
    waves = compose(sea, category, INCIDENCE_DEG[swath], settings)
    power = brightness(sea, angle, waves, INCIDENCE_DEG[swath])
    noise = 10 ** (settings.nesz_db / 10)
    speckle = rng.gamma(settings.n_looks, 1 / settings.n_looks, power.shape)
    sigma0 = (power + noise) * speckle - noise
    masks = np.stack([sea.masks.get(name, np.zeros((n, n), bool)) for name in METOCEAN.names])
    grid = ("line", "pixel")
    return xr.Dataset(
        {
            "sigma0": (grid, sigma0.astype(np.float32), VARIABLES["sigma0"]),
            "incidence_angle": (grid, angle.astype(np.float32), VARIABLES["incidence_angle"]),
            "mask": (("class", *grid), masks, {"long_name": "where each phenomenon is"}),
        },
        coords={"class": list(METOCEAN.names)},
        attrs={
            "category": category,
            "swath": swath,
            "wind_ms": round(float(wind), 2),
            "spacing_m": settings.spacing_m,
            "nesz_db": settings.nesz_db,
            "looks": settings.n_looks,
            "seed": seed,
        },
    )


def compose(sea: Sea, category: str, incidence_deg: float, settings: WaveModeConfig) -> Swell:
    """Paint a category and what accompanies it onto a sea, and mark where they are.

    Args:
        sea: under a wind; it changes.
        category: class name of `frazil.conventions.METOCEAN`.
        incidence_deg: of the centre.
        settings: chances of companions and of faint textures, and the strength of textures.

    Returns:
        The swell, which `brightness` wants.
    """
    rng = sea.rng
    everywhere: np.ndarray = np.ones(sea.shape, np.float32)
    where: np.ndarray
    company = rng.random() < settings.companions
    second = str(rng.choice([t for t in _TEXTURES if t != category])) if company else ""
    faint = str(rng.choice(_TEXTURES[1:])) if rng.random() < settings.faint else ""
    strength = rng.uniform(*settings.strength)
    if category in _TEXTURES:
        where = everywhere
        if company:
            distance = paint.line_distance(sea, wander=0.15, detail_m=400, through=rng.uniform(0.3, 0.7))
            where = 0.5 * (1 + np.tanh(distance / rng.uniform(300, 1500)))
            where = where if where.mean() >= 0.45 else 1 - where
            _texture(sea, second, 1 - where, rng.uniform(*settings.strength))
        _texture(sea, category, where, strength)
        if not company and faint and faint != category:
            _texture(sea, faint, everywhere, 0.25, label=False)
    elif category == "atmospheric_front":
        side = 0.5 * (1 + np.tanh(paint.atmospheric_front(sea) / 500))
        if second:
            _texture(sea, second, side, strength)
        elif faint:
            _texture(sea, faint, everywhere, 0.3, label=False)
    elif category == "sea_ice":
        where = everywhere
        if rng.random() < 0.35:
            edge = paint.line_distance(sea, wander=0.12, detail_m=500, through=rng.uniform(0.35, 0.65))
            where = 1 / (1 + np.exp(np.clip(-edge / 60, -50, 50)))
            where = where if where.mean() >= 0.5 else 1 - where
            if company:
                paint.icebergs(sea, int(rng.integers(1, 4)), -12.0, incidence_deg)
        paint.sea_ice(sea, np.asarray(where, np.float32))
    else:
        if second and category != "low_wind_area":
            _texture(sea, second, everywhere, strength)
        elif faint:
            _texture(sea, faint, everywhere, 0.3, label=False)
        if category == "low_wind_area":
            paint.low_wind(sea, rng.uniform(0.25, 0.9))
        elif category == "biological_slick":
            paint.slicks(sea)
        elif category == "oceanic_front":
            paint.oceanic_front(sea)
        elif category == "rain_cells":
            paint.rain(sea, int(rng.integers(1, 6)))
        else:
            water = cmod5n(np.hypot(sea.u, sea.v).mean(keepdims=True), 45.0, np.full((1, 1), incidence_deg))
            db = float(10 * np.log10(water.item()))
            paint.icebergs(sea, int(rng.integers(1, 14)), db, incidence_deg)
    visible = "pure_ocean_waves" in sea.masks
    if visible:  # waves are labelled where nothing else is
        for name, mask in sea.masks.items():
            if name != "pure_ocean_waves":
                sea.masks["pure_ocean_waves"] &= ~mask
    low, high = (2.0, 5.0) if visible else (0.3, 1.5)
    return Swell(
        height_m=rng.uniform(low, high),
        wavelength_m=float(np.clip(rng.normal(300, 90), 160, 550)),
        direction_rad=rng.uniform(0, 2 * np.pi),
        spread_rad=rng.uniform(0.12, 0.35),
        bandwidth=rng.uniform(0.14, 0.3),
    )


def _texture(sea: Sea, name: str, where: np.ndarray, strength: float, *, label: bool = True) -> None:
    kept = dict(sea.masks)
    if name == "wind_streaks":
        paint.wind_streaks(sea, where, strength)
    elif name == "micro_convective_cells":
        paint.convection(sea, where, strength)
    else:
        sea.swell *= (0.3 + 0.7 * where).astype(np.float32)
        sea.mark("pure_ocean_waves", where > 0.5)
    if not label:
        sea.masks = kept


def brightness(sea: Sea, angle: np.ndarray, waves: Swell, centre_deg: float) -> np.ndarray:
    """σ0 of a painted sea without speckle, linear power (line, pixel).

    Args:
        sea: see `compose`.
        angle: incidence angle, degrees (line, pixel).
        waves: the swell.
        centre_deg: incidence angle by which the swell is seen.
    """
    grain = sea.noise(*GRAIN)
    wind_ms = float(np.hypot(sea.u, sea.v).mean())
    modulation = swell_modulation(sea.rng, sea.shape, sea.spacing_m, waves, incidence_deg=centre_deg, wind_ms=wind_ms)
    return sea_power(sea, angle, grain, modulation)


def sea_power(sea: Sea, angle: np.ndarray, grain: np.ndarray, modulation: np.ndarray) -> np.ndarray:
    """σ0 of a painted sea without speckle, linear power (line, pixel): CMOD5.N of its wind, films, ice, swell.

    Args:
        sea: its wind, damping, ice, and how much of the swell is left.
        angle: incidence angle, degrees (line, pixel).
        grain: texture of variance 1 (line, pixel).
        modulation: relative change by swell (line, pixel), see `frazil.simulate.swell`.
    """
    speed = np.hypot(sea.u, sea.v)
    # The antenna looks along +x: a wind towards −x blows towards the radar.
    look = np.degrees(np.arctan2(sea.v, -sea.u))
    water_db = 10 * np.log10(cmod5n(np.clip(speed, 0.3, 35.0), look, angle)) - sea.damping_db
    # CMOD5.N is not made for the lightest winds: below the threshold of Bragg waves the sea turns dark quickly.
    water_db -= 3.0 * np.maximum(2.0 - speed, 0)
    water_db += sea.texture_db * grain
    water = 10 ** (water_db / 10) + sea.extra
    swell = np.clip(modulation * sea.swell, -0.8, 3.0)
    ice = 10 ** (sea.ice_db / 10)
    power: np.ndarray = (water * (1 - sea.ice) + ice * sea.ice) * np.maximum(1 + swell, 0.05)
    return power


def block_masks(mask: np.ndarray, factor: int, share: float = 0.35) -> np.ndarray:
    """Masks on a coarser grid: True where at least a share of the pixels is; bool (class, line, pixel).

    Raises:
        OptionError: a factor that does not divide the sides.
    """
    n, h, w = mask.shape
    if h % factor or w % factor:
        raise OptionError(f"Masks of {h} × {w} pixels cannot be blocked by {factor}.")
    blocks = mask.reshape(n, h // factor, factor, w // factor, factor).mean(axis=(2, 4))
    return np.asarray(blocks >= share)
