"""A wide stretch of open sea under one weather, with phenomena of sea and air at several places, and where they are.

The sea is that of imagettes (`frazil.simulate.wave_mode`): CMOD5.N of a wind that varies from place to place, a little
grain, and swell. On it stand squares of 24 km at random places of a lattice. Each is painted with one phenomenon and
what accompanies it by the functions that paint imagettes, onto the wind of that place and seen at its incidence angle,
and fades into the plain sea along its rim. So scales are true, and a phenomenon ends where its square does: fronts are
24 km long, and nothing is wider.

References:
    Those of `frazil.simulate.wave_mode`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from frazil.conventions import METOCEAN
from frazil.errors import OptionError
from frazil.simulate.noise import power_law_noise, resample
from frazil.simulate.swell import Swell, swell_modulation
from frazil.simulate.wave_mode import GRAIN, WIND_MS, WaveModeConfig, brightness, compose, sea_power
from frazil.simulate.wave_mode_fields import Sea

SQUARE_M = 24_000.0  #: side of the squares that phenomena are painted on
APART_M = 27_000.0  #: between the centres of neighbouring squares
_RIM_M = 3_000.0  # over which a square fades
_WIND_SPACING_M = 250.0  # of the lattice that the wind is drawn on
_TILE = 1024  # pixels after which grain and background swell repeat
_STRIP = 512  # lines
#: Latitudes, degrees, equatorward of which a class is not drawn unless it is named.
POLEWARD_OF = {"sea_ice": 50.0, "iceberg": 40.0}


@dataclass(frozen=True, kw_only=True)
class PhenomenaConfig:
    """What a wide sea is like.

    Attributes:
        names: classes of `frazil.conventions.METOCEAN` to draw, in turn; by default all that can be at the latitude.
        share: of the squares of the lattice that hold one, 0 (plain sea) to 1; at least one square unless it is 0.
        companions, faint: as of `frazil.simulate.wave_mode.WaveModeConfig`.
    """

    names: tuple[str, ...] = ()
    share: float = 0.5
    companions: float = 0.5
    faint: float = 0.6

    def __post_init__(self) -> None:
        unknown = [name for name in self.names if name not in METOCEAN.names]
        if unknown:
            raise OptionError(f"phenomenon {unknown[0]!r} is not one of {list(METOCEAN.names)}.")
        if not 0 <= self.share <= 1:
            raise OptionError(f"share {self.share} must lie in [0, 1].")


@dataclass(frozen=True, kw_only=True)
class Place:
    """One square: its class, first line and pixel on the grid, and what was drawn for it."""

    name: str
    line: int
    pixel: int
    wind_ms: float
    swell_m: float


@dataclass(frozen=True, kw_only=True, eq=False)
class WideSea:
    """What a wide scene shows; arrays are (line, pixel).

    Attributes:
        power: σ0 of VV without speckle, linear, float32.
        bits: uint16, bit k set where class k of `frazil.conventions.METOCEAN` is.
        u, v: wind away from the radar and along the track, m/s, float32, before phenomena changed it.
        places: the squares.
        swell: of the plain sea.
    """

    power: np.ndarray
    bits: np.ndarray
    u: np.ndarray
    v: np.ndarray
    places: tuple[Place, ...]
    swell: Swell

    def parameters(self) -> dict[str, object]:
        """All that was drawn, as plain JSON values."""
        return {
            "wind_ms": round(float(np.hypot(self.u, self.v).mean()), 2),
            "wind_towards_deg_from_range": round(float(np.degrees(np.arctan2(self.v.mean(), self.u.mean()))), 1),
            "swell": asdict(self.swell),
            "places": [asdict(place) for place in self.places],
        }


def names_at(latitude: float) -> tuple[str, ...]:
    """Classes that can be at a latitude, degrees: no ice equatorward of 50, no icebergs equatorward of 40."""
    return tuple(name for name in METOCEAN.names if abs(latitude) >= POLEWARD_OF.get(name, 0.0))


def make_wide_sea(
    incidence_angle: np.ndarray,
    spacing_m: float,
    *,
    seed: int,
    latitude: float,
    config: PhenomenaConfig | None = None,
    progress: Callable[[float], None] | None = None,
) -> WideSea:
    """Draw a wide sea.

    Args:
        incidence_angle: degrees, float32 (line, pixel), rising along pixels.
        spacing_m: pixel size; 30 to 110 m.
        seed: of everything.
        latitude: of the middle, degrees, for `names_at`.
        config: see `PhenomenaConfig`.
        progress: called with the fraction done.

    Raises:
        OptionError: a spacing that phenomena cannot be drawn at, or a side below 24 km.
    """
    settings, shape = config or PhenomenaConfig(), (incidence_angle.shape[0], incidence_angle.shape[1])
    if not 30 <= spacing_m <= 110:
        raise OptionError(f"Phenomena are drawn on pixels of 30 to 110 m, not of {spacing_m:g} m.")
    if min(shape) * spacing_m < SQUARE_M:
        raise OptionError(
            f"{shape[0] * spacing_m / 1000:.0f} × {shape[1] * spacing_m / 1000:.0f} km are too small for phenomena: "
            f"{SQUARE_M / 1000:.0f} km a side are needed. Take more lines and pixels."
        )
    rng = np.random.default_rng([seed, 8])
    u, v = _wind(rng, shape, spacing_m)
    calm = Swell(
        height_m=rng.uniform(0.3, 1.5),
        wavelength_m=float(np.clip(rng.normal(300, 90), 160, 550)),
        direction_rad=rng.uniform(0, 2 * np.pi),
    )
    power = _plain(rng, u, v, incidence_angle, spacing_m, calm)
    bits = np.zeros(shape, np.uint16)
    places = []
    chosen = _choose(rng, u, v, spacing_m, settings.names or names_at(latitude), settings.share)
    for number, (name, line, pixel) in enumerate(chosen):
        side = round(SQUARE_M / spacing_m)
        here = slice(line, line + side), slice(pixel, pixel + side)
        # A seed of its own: the square is the same whatever else is drawn.
        one = np.random.default_rng([seed, 9, number])
        place, sigma0, masks, weight = _paint(one, name, here, u, v, incidence_angle[here], spacing_m, settings)
        power[here] += weight * (sigma0 - power[here])
        for code, known in enumerate(METOCEAN.names):
            if known in masks:
                bits[here] |= (masks[known] & (weight > 0.5)).astype(np.uint16) << np.uint16(code)
        places.append(place)
        if progress:
            progress((number + 1) / len(chosen))
    return WideSea(power=power, bits=bits, u=u, v=v, places=tuple(places), swell=calm)


def _wind(rng: np.random.Generator, shape: tuple[int, int], spacing_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Wind of 3.5 to 11 m/s that varies and turns over the scene, m/s; float32."""
    step = max(round(_WIND_SPACING_M / spacing_m), 1)
    coarse = (shape[0] // step + 2, shape[1] // step + 2)
    across_m = max(shape) * spacing_m
    uneven, turning = (
        power_law_noise(rng, coarse, spacing_m=step * spacing_m, longest_m=across_m, shortest_m=500.0, exponent=3.4)
        for _ in range(2)
    )
    speed = np.clip(rng.uniform(5.5, 7.5) * np.exp(0.22 * uneven), 3.5, 11.0)
    towards = rng.uniform(0, 2 * np.pi) + 0.2 * turning
    made = []
    for part in (speed * np.cos(towards), speed * np.sin(towards)):
        full = np.empty(shape, np.float32)
        resample(part, np.arange(shape[0]) / step, np.arange(shape[1]) / step, full)
        made.append(full)
    return made[0], made[1]


def _plain(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, angle: np.ndarray, spacing_m: float, swell: Swell
) -> np.ndarray:
    """σ0 of the sea without phenomena, float32; in strips, since CMOD5.N wants many arrays of its own."""
    longest, shortest, exponent = GRAIN
    grain = power_law_noise(
        rng,
        (_TILE, _TILE),
        spacing_m=spacing_m,
        longest_m=longest,
        shortest_m=max(shortest, 2 * spacing_m),
        exponent=exponent,
        periodic=True,
    )
    wind_ms = float(np.hypot(u, v).mean())
    # A field of a power of two is periodic as it comes from the transform, so it can be repeated without a seam.
    waves = swell_modulation(rng, (_TILE, _TILE), spacing_m, swell, incidence_deg=float(angle.mean()), wind_ms=wind_ms)
    out = np.empty(u.shape, np.float32)
    columns = np.arange(u.shape[1]) % _TILE
    for first in range(0, u.shape[0], _STRIP):
        part = slice(first, min(first + _STRIP, u.shape[0]))
        sea = Sea.calm(rng, u[part].shape, spacing_m, 1.0, 0.0)
        sea.u, sea.v = u[part], v[part]
        rows = np.arange(part.start, part.stop) % _TILE
        tile = np.ix_(rows, columns)
        out[part] = sea_power(sea, angle[part], grain[tile], waves[tile])
    return out


def _choose(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, spacing_m: float, names: tuple[str, ...], share: float
) -> list[tuple[str, int, int]]:
    """Class, first line and pixel of each square: on a lattice, shifted at random, where the wind suits the class."""
    side, apart = round(SQUARE_M / spacing_m), round(APART_M / spacing_m)
    squares = []
    counts = [max((n - side) // apart + 1, 1) for n in u.shape]
    for i in range(counts[0]):
        for j in range(counts[1]):
            at = []
            for k, n, count in zip((i, j), u.shape, counts, strict=True):
                room = n / count
                at.append(int(k * room + rng.uniform(0, max(min(room, n) - side, 0))))
            speed = float(np.hypot(u, v)[at[0] : at[0] + side : 8, at[1] : at[1] + side : 8].mean())
            squares.append((at[0], at[1], speed))
    wanted = 0 if share == 0 else max(round(share * len(squares)), 1)
    order = rng.permutation(len(names))
    chosen = []
    for number in range(min(wanted, len(squares))):
        name = names[order[number % len(names)]]
        low, high = WIND_MS[name]
        off = [max(low - s, s - high, 0.0) + rng.uniform(0, 0.5) for _, _, s in squares]
        line, pixel, _ = squares.pop(int(np.argmin(off)))
        chosen.append((name, line, pixel))
    return chosen


def _paint(
    rng: np.random.Generator,
    name: str,
    here: tuple[slice, slice],
    u: np.ndarray,
    v: np.ndarray,
    angle: np.ndarray,
    spacing_m: float,
    settings: PhenomenaConfig,
) -> tuple[Place, np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """One square: what was drawn, its σ0, its masks, and how much of it shows (0 at the rim to 1)."""
    centre = float(angle.mean())
    sea = Sea.calm(rng, (angle.shape[0], angle.shape[1]), spacing_m, 1.0, 0.0)
    speed = float(np.hypot(u[here], v[here]).mean())
    # Where the weather does not suit the phenomenon the wind of the square is brought to the end of its range.
    suits = float(np.clip(speed, *WIND_MS[name])) / speed
    sea.u, sea.v = u[here] * np.float32(suits), v[here] * np.float32(suits)
    sea.gusts(1 + rng.uniform(0.02, 0.09) * sea.noise(20_000, 500, 3.0))
    style = WaveModeConfig(spacing_m=spacing_m, companions=settings.companions, faint=settings.faint)
    waves = compose(sea, name, centre, style)
    sigma0 = brightness(sea, angle, waves, centre)
    place = Place(
        name=name,
        line=here[0].start,
        pixel=here[1].start,
        wind_ms=round(speed * suits, 2),
        swell_m=round(waves.height_m, 2),
    )
    return place, sigma0.astype(np.float32), sea.masks, _weight(sea)


def _weight(sea: Sea) -> np.ndarray:
    """1 inside, falling to 0 along a rounded, uneven rim; float32."""
    half = SQUARE_M / 2
    off = (np.abs(sea.y / half - 1) ** 3 + np.abs(sea.x / half - 1) ** 3) ** (1 / 3)
    distance = half * np.maximum(1 - off, 0)
    uneven = 1500 * sea.noise(12_000, 1500, 3.2) * np.minimum(distance / 2000, 1)
    t = np.clip((distance - 300 + uneven) / _RIM_M, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)
