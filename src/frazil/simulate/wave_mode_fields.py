"""The ten phenomena of wave-mode images, one function each, painted onto a sea.

Each changes the wind, dampens or adds backscatter, and marks where it is. Scales and contrasts are drawn evenly from
ranges around those of the literature below; shapes (meanders, lobes, patchiness) are choices of ours.

References:
    Alpers, W., Brümmer, B. (1994), Atmospheric boundary layer rolls observed by the synthetic aperture radar aboard the
        ERS-1 satellite. J. Geophys. Res. 99, 12613. doi:10.1029/94JC00421. Wang, C., et al. (2020), Remote Sens.
        Environ. 250, 112031 (rolls in wave mode): along the wind, 0.8 to 3 km apart.
    Atkinson, B. W., Zhang, J. W. (1996), Mesoscale shallow convection in the atmosphere. Rev. Geophys. 34, 403.
        doi:10.1029/96RG02623. Sikora, T. D., et al. (1995), Use of spaceborne SAR imagery of the sea surface in
        detecting the presence and structure of the convective marine atmospheric boundary layer. Mon. Weather Rev.
        123, 3623: kilometre-scale mottles.
    Atlas, D. (1994), Footprints of storms on the sea: a view from spaceborne synthetic aperture radar. J. Geophys.
        Res. 99, 7961. doi:10.1029/94JC00250; Alpers, W., et al. (2016), Rain footprints on C-band SAR images of the
        ocean revisited. Remote Sens. Environ. 187, 169: gust front, outflow, dark or bright core.
    Gade, M., et al. (1998), Imaging of biogenic and anthropogenic ocean surface films by the multifrequency/
        multipolarization SIR-C/X-SAR. J. Geophys. Res. 103, 18851. doi:10.1029/97JC01915: 5 to 10 dB at C band, below 7
        m/s.
    Donelan, M. A., Pierson, W. J. (1987), Radar scattering and equilibrium ranges in wind-generated waves. J. Geophys.
        Res. 92, 4971: no Bragg waves below 2 to 3 m/s.
    Young, G. S., et al. (2005), SAR signatures of atmospheric fronts. Weather Forecast. 20; Johannessen, J. A., et al.
        (1996), J. Geophys. Res. 101, 6651, and Kudryavtsev, V., et al. (2005), doi:10.1029/2004JC002505: lines of
        surface convergence, 100 m wide, some dB.
    Wesche, C., Dierking, W. (2012), Iceberg signatures and detection in SAR images in two test regions of the Weddell
        Sea. J. Glaciol. 58, 325: contrast to open water.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.fft
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import cKDTree

from frazil.simulate.noise import power_law_noise

_NO_BRAGG_MS = 2.3  # below it the sea loses its ripples


@dataclass
class Sea:
    """A square of sea that phenomena are painted on; arrays are (line, pixel), metres and m/s.

    Attributes:
        rng: of all draws.
        spacing_m: pixel size.
        y, x: places along the track and across.
        u, v: wind along x and y.
        damping_db: taken off the backscatter of water.
        swell: share of the swell modulation that is seen.
        texture_db: standard deviation of what is between speckle and phenomena.
        extra: backscatter added, linear.
        ice_db, ice: backscatter of sea ice, and its share.
        masks: where each phenomenon is, by class name.
    """

    rng: np.random.Generator
    spacing_m: float
    y: np.ndarray
    x: np.ndarray
    u: np.ndarray
    v: np.ndarray
    damping_db: np.ndarray
    swell: np.ndarray
    extra: np.ndarray
    ice_db: np.ndarray
    ice: np.ndarray
    texture_db: float = 0.3
    masks: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def calm(
        cls, rng: np.random.Generator, shape: tuple[int, int], spacing_m: float, wind_ms: float, towards_rad: float
    ) -> Sea:
        """A sea under one wind."""
        y, x = np.meshgrid(*(spacing_m * (np.arange(n, dtype=np.float32) + 0.5) for n in shape), indexing="ij")
        u, v = (np.full(shape, wind_ms * f(towards_rad), np.float32) for f in (np.cos, np.sin))
        none = np.zeros(shape, np.float32)
        return cls(
            rng=rng,
            spacing_m=spacing_m,
            y=y,
            x=x,
            u=u,
            v=v,
            swell=np.ones(shape, np.float32),
            damping_db=none.copy(),
            extra=none.copy(),
            ice_db=none.copy(),
            ice=none.copy(),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Lines, pixels."""
        return self.x.shape[0], self.x.shape[1]

    @property
    def side_m(self) -> float:
        """The longer side."""
        return max(self.shape) * self.spacing_m

    def gusts(self, factor: np.ndarray) -> None:
        """Multiply the wind speed."""
        factor = np.maximum(factor, 0.05)
        self.u *= factor
        self.v *= factor

    def mark(self, name: str, where: np.ndarray) -> None:
        """Note where a phenomenon is; several of a kind add up."""
        before = self.masks.get(name)
        self.masks[name] = where if before is None else before | where

    def noise(self, longest_m: float, shortest_m: float, exponent: float = 3.0, **more: Any) -> np.ndarray:
        """A field of mean 0 and variance 1, see `power_law_noise`."""
        return power_law_noise(
            self.rng,
            self.shape,
            spacing_m=self.spacing_m,
            longest_m=longest_m,
            shortest_m=max(shortest_m, 2 * self.spacing_m),
            exponent=exponent,
            **more,
        )

    def along_wind_rad(self) -> float:
        """Mean direction that the wind blows to, from the pixel axis towards the line axis."""
        return float(np.arctan2(self.v.mean(), self.u.mean()))


def line_distance(sea: Sea, *, wander: float, detail_m: float, through: float = 0.5) -> np.ndarray:
    """Signed distance, m, from a meandering line across the image.

    Args:
        sea: whose random numbers are used.
        wander: how far the line strays from a straight one, as a share of the image.
        detail_m: amplitude of its small lobes.
        through: 0.5 leads it near the centre, other values shift it by shares of the image.
    """
    angle, side = sea.rng.uniform(0, 2 * np.pi), sea.side_m
    straight = (sea.x - side / 2) * np.cos(angle) + (sea.y - side / 2) * np.sin(angle)
    shift = (through - 0.5) * side + sea.rng.normal(0, 0.08 * side)
    bent = straight - shift + wander * side * sea.noise(side, side / 6, 4.0)
    bent = bent + detail_m * sea.noise(3500, 500, 3.0)
    gy, gx = np.gradient(gaussian_filter(bent, 2), sea.spacing_m)
    steep = np.maximum(np.hypot(gy, gx), 0.35)
    return np.asarray(bent / steep, np.float32)


def wind_streaks(sea: Sea, where: np.ndarray, strength: float) -> None:
    """Rolls along the wind, 0.8 to 2.6 km apart, ±6 to 12 % of its speed; broken and of uneven spacing."""
    apart = sea.rng.uniform(800, 2600)
    turn = sea.along_wind_rad() + sea.rng.normal(0, 0.12)
    rolls = _narrow_band(sea, apart, turn, bandwidth=sea.rng.uniform(0.25, 0.5), length=sea.rng.uniform(4, 9) * apart)
    fine = sea.noise(apart, 150, 2.6, stretch=sea.rng.uniform(4, 7), direction_rad=turn)
    sea.gusts(1 + strength * where * (sea.rng.uniform(0.07, 0.13) * rolls + 0.06 * fine))
    sea.mark("wind_streaks", where > 0.5)


def convection(sea: Sea, where: np.ndarray, strength: float) -> None:
    """Cells of 0.9 to 2.6 km, each with a wind of its own and calmer seams, drawn out a little along the wind."""
    size, turn, stretch = sea.rng.uniform(900, 2600), sea.along_wind_rad(), sea.rng.uniform(1.0, 1.7)
    first, second, cell = _cells(sea, size, turn, stretch, warp=0.35)
    own = sea.rng.normal(0, 1, int(cell.max()) + 1)[cell]
    seam = 1 - np.exp(-(((second - first) / (0.35 * size)) ** 2))
    pattern = 0.75 * gaussian_filter(own * seam, 0.12 * size / sea.spacing_m) + 0.9 * (seam - seam.mean())
    pattern = pattern + 0.35 * sea.noise(size, 150, 2.4)
    sea.gusts(1 + strength * where * sea.rng.uniform(0.26, 0.42) * pattern)
    sea.mark("micro_convective_cells", where > 0.5)


def low_wind(sea: Sea, cover: float) -> np.ndarray:
    """Wind below what raises ripples over about a share `cover` of the image; wisps of more wind inside."""
    side = sea.side_m
    shape = sea.noise(side, 400, sea.rng.uniform(3.2, 4.2))
    level = np.quantile(shape, cover)
    calm = 1 / (1 + np.exp((shape - level) / sea.rng.uniform(0.05, 0.22)))
    speed = np.hypot(sea.u, sea.v)
    lull = sea.rng.uniform(0.5, 1.7) * np.exp(0.35 * sea.noise(5000, 200, 2.6))
    sea.gusts(1 + calm * (np.minimum(lull / speed, 1) - 1))
    sea.mark("low_wind_area", np.hypot(sea.u, sea.v) < _NO_BRAGG_MS)
    return np.asarray(calm, np.float32)


def atmospheric_front(sea: Sea) -> np.ndarray:
    """A line where the wind steps by a third to threefold within 150 to 500 m and turns; returns the distance to it."""
    distance = line_distance(sea, wander=sea.rng.uniform(0.03, 0.12), detail_m=sea.rng.uniform(150, 700))
    width, step = sea.rng.uniform(150, 500), sea.rng.uniform(1.35, 2.3)
    side = 0.5 * (1 + np.tanh(distance / width))
    head = np.exp(-(((distance - 1.5 * width) / (2.5 * width)) ** 2))
    # The strongest gusts stand right behind the front; it is ragged along its length.
    ragged = 1 + 0.25 * sea.noise(6000, 600, 3.0)
    speed = 1 / np.sqrt(step) + (np.sqrt(step) - 1 / np.sqrt(step)) * side
    sea.gusts(speed + sea.rng.uniform(0, 0.3) * head * ragged)
    _turn(sea, side * sea.rng.uniform(-0.7, 0.7))
    sea.mark("atmospheric_front", np.abs(distance) < 700)
    return distance


def oceanic_front(sea: Sea) -> np.ndarray:
    """A meandering line 60 to 200 m wide, ±2 to 5 dB, with weaker lines beside it and a small step of wind."""
    distance = line_distance(sea, wander=sea.rng.uniform(0.05, 0.16), detail_m=sea.rng.uniform(0, 120))
    width, sign = sea.rng.uniform(60, 200), sea.rng.choice([-1.0, 1.0], p=[0.35, 0.65])
    along = np.clip(0.8 + 0.6 * sea.noise(5000, 800, 3.0), 0.0, 2)
    profile = np.exp(-((distance / width) ** 2))
    # Water piles up on one side of a convergence: the rough line has a smooth one next to it.
    profile = profile - sea.rng.uniform(0, 0.7) * np.exp(-(((distance - 2.5 * width) / (2 * width)) ** 2))
    sea.damping_db -= (sign * sea.rng.uniform(2.0, 5.0) * along * profile).astype(np.float32)
    sea.gusts(1 + sea.rng.uniform(-0.08, 0.08) * np.tanh(distance / 400))
    if sea.rng.random() < 0.4:
        beside = np.exp(-(((distance - sea.rng.uniform(1500, 4000)) / width) ** 2))
        sea.damping_db -= (0.6 * sign * sea.rng.uniform(2.0, 4.0) * along * beside).astype(np.float32)
        sea.mark("oceanic_front", beside > 0.2)
    sea.mark("oceanic_front", np.abs(distance) < 450)
    return distance


def slicks(sea: Sea) -> None:
    """Filaments 50 to 200 m wide, wound up by eddies, that dampen by 5 to 10 dB where they are thick."""
    side = sea.side_m
    y, x = sea.y.copy(), sea.x.copy()
    for _ in range(int(sea.rng.integers(1, 5))):  # eddies turn what they hold, least at their rim
        cy, cx = sea.rng.uniform(0, side, 2)
        radius, turns = sea.rng.uniform(2500, 8000), sea.rng.choice([-1, 1]) * sea.rng.uniform(1.0, 4.5)
        dy, dx = y - cy, x - cx
        angle = turns * np.exp(-((np.hypot(dy, dx) / radius) ** 2))
        y, x = cy + dy * np.cos(angle) - dx * np.sin(angle), cx + dy * np.sin(angle) + dx * np.cos(angle)
    heading = sea.rng.uniform(0, np.pi)
    stream = (x * np.cos(heading) + y * np.sin(heading)) / 3500 + 0.7 * _sampled(sea, sea.noise(12000, 2500, 4.0), y, x)
    gy, gx = np.gradient(gaussian_filter(stream, 1.5), sea.spacing_m)
    steep = np.maximum(np.hypot(gy, gx), 2e-5)
    patchy = sea.noise(side / 2, 1200, 3.0)
    film = np.zeros(sea.shape, np.float32)
    for level in np.quantile(stream, np.sort(sea.rng.uniform(0.05, 0.95, int(sea.rng.integers(4, 12))))):
        width = sea.rng.uniform(50, 200) * np.exp(0.4 * sea.noise(4000, 600, 3.0))
        thick = 1 / (1 + np.exp(-(patchy + sea.rng.normal(-0.1, 0.8)) / 0.3))
        film = np.maximum(film, thick * np.exp(-(((stream - level) / steep / width) ** 2)))
    sea.damping_db += (sea.rng.uniform(5, 10) * film).astype(np.float32)
    sea.swell *= 1 - 0.5 * film
    near = gaussian_filter((film > 0.3).astype(np.float32), 250 / sea.spacing_m)
    sea.mark("biological_slick", near > 0.12)


def rain(sea: Sea, number: int) -> None:
    """Downdrafts that spread: a disc of 1.5 to 5 km with a sharp bright gust front, and a core that rain changes."""
    for _ in range(number):
        cy, cx = sea.rng.uniform(0.08, 0.92, 2) * sea.side_m
        dy, dx = sea.y - cy, sea.x - cx
        r, around = np.hypot(dy, dx) + 1, np.arctan2(dy, dx)
        radius = sea.rng.uniform(1500, 5000)
        lobes = sum(sea.rng.normal(0, 0.16 / n) * np.cos(n * around + sea.rng.uniform(0, 6.3)) for n in range(1, 8))
        ragged = radius * (1 + lobes) * (1 + 0.05 * sea.noise(1500, 300, 2.6))
        q = r / ragged
        front = 1 / (1 + np.exp((q - 1) / sea.rng.uniform(0.02, 0.06)))
        outflow = sea.rng.uniform(2.5, 6.5) * q * np.exp(0.5 * (1 - q**2)) * front
        outflow = outflow * (1 + 0.2 * sea.noise(1200, 200, 2.4))
        sea.u += (outflow * dx / r).astype(np.float32)
        sea.v += (outflow * dy / r).astype(np.float32)
        # In the core heavy rain dampens the ripples; splashes of the heaviest add scatter of their own.
        core = np.exp(-((q / sea.rng.uniform(0.25, 0.55)) ** 2)) * np.clip(1 + 0.6 * sea.noise(2000, 250, 2.6), 0, 2)
        sea.damping_db += (sea.rng.uniform(1, 7) * core).astype(np.float32)
        if sea.rng.random() < 0.6:
            splash = np.clip(core * sea.noise(1500, 200, 2.6) - 0.3, 0, 1.5)
            sea.damping_db -= (sea.rng.uniform(4, 9) * splash).astype(np.float32)
        sea.mark("rain_cells", q < 1.05)


def icebergs(sea: Sea, number: int, sea_db: float, incidence_deg: float) -> None:
    """Bright bodies of 80 to 900 m, 8 to 18 dB above the sea, with shadow behind and a lee of calmer water."""
    along = sea.along_wind_rad()
    for _ in range(number):
        cy, cx = sea.rng.uniform(0.03, 0.97, 2) * sea.side_m
        long = float(np.clip(np.exp(sea.rng.normal(np.log(230), 0.6)), 80, 900))
        wide, turn = long * sea.rng.uniform(0.4, 0.9), sea.rng.uniform(0, np.pi)
        dy, dx = sea.y - cy, sea.x - cx
        a, b = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        q = np.hypot(a / (long / 2), b / (wide / 2))
        soft = sea.spacing_m / long
        body = 1 / (1 + np.exp(np.clip((q - 1) / max(soft, 0.08), -50, 50)))
        bright = 10 ** ((sea_db + sea.rng.uniform(8, 18)) / 10)
        sea.extra += (bright * body * np.exp(0.4 * sea.noise(400, 100, 2.0))).astype(np.float32)
        height = 0.15 * long + 10
        shadow = np.exp(-((dy / (wide / 2 + 30)) ** 2)) * (
            (dx > 0) & (dx < long / 2 + height * np.tan(np.radians(incidence_deg)) + 60)
        )
        sea.damping_db += (5 * shadow * (1 - body)).astype(np.float32)
        down, off = dx * np.cos(along) + dy * np.sin(along), dy * np.cos(along) - dx * np.sin(along)
        lee = (down > 0) * np.exp(-down / (6 * long)) * np.exp(-((off / (0.6 * long + 0.1 * np.abs(down))) ** 2))
        sea.gusts(1 - sea.rng.uniform(0.05, 0.3) * lee)
        sea.mark("iceberg", q < 1 + 250 / (long / 2))


def sea_ice(sea: Sea, where: np.ndarray) -> None:
    """Ice over part of the image: floes with bright rims, ridges and leads; the swell dies out in it.

    Three kinds: floes of 0.6 to 3 km in brash; level ice with a net of ridges, bright on dark; and the streaky edge.
    """
    kind = sea.rng.choice(["floes", "ridges", "streaks"], p=[0.45, 0.35, 0.2])
    mean = sea.rng.uniform(-17, -10)
    texture = 0.9 * sea.noise(600, 100, 2.0) + 1.2 * sea.noise(6000, 400, 3.0)
    if kind == "ridges":
        net = np.zeros(sea.shape, np.float32)
        for size, weight in ((sea.rng.uniform(3500, 6500), 1.0), (sea.rng.uniform(1200, 2500), 0.7)):
            first, second, _ = _cells(sea, size, 0.0, 1.0, warp=0.3)
            patchy = np.clip(0.7 + 0.7 * sea.noise(6000, 500, 3.0), 0, 2)
            net = np.maximum(net, weight * patchy * np.exp(-(((second - first) / sea.rng.uniform(120, 300)) ** 2)))
        ice = mean - 3 + 9 * net + texture + 1.5 * sea.noise(2500, 200, 2.4)
    elif kind == "floes":
        size = sea.rng.uniform(600, 3000)
        first, second, cell = _cells(sea, size, 0.0, 1.0, warp=0.12)
        gap = sea.rng.uniform(0.06, 0.2) * size
        inside = 1 / (1 + np.exp(np.clip(-((second - first) - gap) / (0.15 * gap + 20), -50, 50)))
        rim = np.exp(-((((second - first) - 1.3 * gap) / (0.5 * gap)) ** 2))
        own = sea.rng.normal(0, 2.0, int(cell.max()) + 1)[cell]
        between = mean + sea.rng.choice([-7.0, 3.0]) + 1.5 * sea.noise(1500, 150, 2.4)
        ice = between + inside * (mean + own + texture - between) + sea.rng.uniform(0, 3) * rim
    else:
        ice = mean + 2.5 * sea.noise(2500, 150, 2.6, stretch=sea.rng.uniform(3, 7), direction_rad=sea.rng.uniform(0, 3))
        ice = ice + texture
    for _ in range(int(sea.rng.integers(0, 4))):  # leads: dark with smooth water or new ice, bright where wind reaches
        distance = line_distance(sea, wander=0.04, detail_m=120, through=sea.rng.uniform(0.1, 0.9))
        lead = np.exp(-((distance / sea.rng.uniform(60, 350)) ** 4))
        ice = ice + lead * sea.rng.choice([-8.0, -5.0, 4.0])
    sea.ice_db[:], sea.ice[:] = ice, where
    sea.swell *= 1 - (0.85 * where).astype(np.float32)
    sea.mark("sea_ice", where > 0.5)


def _narrow_band(
    sea: Sea, apart_m: float, along_rad: float, *, bandwidth: float, length_m: float = 0.0, length: float = 0.0
) -> np.ndarray:
    """Stripes of a spacing along a direction, variance 1: white noise through a ring of wavenumbers."""
    size = tuple(scipy.fft.next_fast_len(n + int(apart_m / sea.spacing_m), real=True) for n in sea.shape)
    ky = scipy.fft.fftfreq(size[0], sea.spacing_m)[:, None]
    kx = scipy.fft.rfftfreq(size[1], sea.spacing_m)[None, :]
    along = kx * np.cos(along_rad) + ky * np.sin(along_rad)
    across = np.abs(ky * np.cos(along_rad) - kx * np.sin(along_rad))
    gain = np.exp(-0.5 * ((across * apart_m - 1) / bandwidth) ** 2) * np.exp(-0.5 * (along * (length or length_m)) ** 2)
    made = scipy.fft.irfft2(scipy.fft.rfft2(sea.rng.standard_normal(size)) * gain, s=size)
    return np.asarray(made[: sea.shape[0], : sea.shape[1]] / max(float(made.std()), 1e-12), np.float32)


def _cells(
    sea: Sea, size_m: float, along_rad: float, stretch: float, *, warp: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances (m) to the nearest and second-nearest of scattered points, and the number of the nearest."""
    bend = (warp * size_m * sea.noise(2.5 * size_m, 0.3 * size_m, 3.0) for _ in range(2))
    y, x = sea.y + next(bend), sea.x + next(bend)
    a = (x * np.cos(along_rad) + y * np.sin(along_rad)) / stretch
    b = y * np.cos(along_rad) - x * np.sin(along_rad)
    low, high = np.array([a.min(), b.min()]) - 2 * size_m, np.array([a.max(), b.max()]) + 2 * size_m
    n = [int(np.ceil(w / size_m)) for w in high - low]
    grid = np.stack(np.meshgrid(np.arange(n[0]), np.arange(n[1]), indexing="ij"), -1).reshape(-1, 2)
    points = low + (grid + sea.rng.uniform(0, 1, grid.shape)) * size_m
    near, which = cKDTree(points).query(np.stack([a.ravel(), b.ravel()], 1), k=2)
    first, second = near.T.reshape(2, *sea.shape)
    return first, second, which[:, 0].reshape(sea.shape)


def _sampled(sea: Sea, image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A field at other places, m; reflected beyond the image."""
    at = np.stack([y, x]) / sea.spacing_m - 0.5
    return np.asarray(map_coordinates(image, at, order=1, mode="mirror"), np.float32)


def _turn(sea: Sea, angle: np.ndarray) -> None:
    cos, sin = np.cos(angle), np.sin(angle)
    sea.u, sea.v = (sea.u * cos - sea.v * sin).astype(np.float32), (sea.u * sin + sea.v * cos).astype(np.float32)
