"""A simulated scene: what `frazil.open_scene` would give for a simulated product, without writing the product.

Sigma nought of a simulated world, plus the instrument's true noise, times speckle, minus the noise that the product
states. The statistics are those of reading the SAFE at the same spacing; the truth comes along as ``ice_class``.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import ClassVar, Literal

import numpy as np
import xarray as xr
from scipy.interpolate import RectBivariateSpline

from frazil import __version__
from frazil.conventions import CLASS_NODATA, FIVE_CLASSES, VARIABLES, class_attrs
from frazil.errors import OptionError
from frazil.jit import njit
from frazil.scene.geolocation import Geolocation
from frazil.scene.land import land_mask
from frazil.sentinel1.annotation import Annotation
from frazil.sentinel1.product import Band, Product
from frazil.sentinel1.scene import tie_variables
from frazil.simulate.backscatter import Climate, draw_climate, expected_sigma0
from frazil.simulate.instrument import (
    NoiseError,
    SpeckleStream,
    TrueNoise,
    band_radiometry,
    draw_noise_error,
    resolution_letter,
    speckle_model,
    template_product,
    true_noise,
)
from frazil.simulate.metadata import Cut, product_name
from frazil.simulate.noise import resample
from frazil.simulate.world import World, WorldConfig, make_world

#: First and last day of the year that scenes of a season are dated to.
_DAYS = {"freeze_up": (275, 335), "winter": (-20, 95), "spring": (105, 155), "melt": (165, 245)}


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Everything that a scene and a product of the same settings share.

    Attributes:
        product: the template.
        bands: its images, in the order of the scene's polarisations.
        block: pixels of the product per pixel of the world, along each side.
        lines, pixels: centres of the world's pixels in the image.
        world: the truth.
        incidence_angle: degrees, float32 (line, pixel) on the world's grid.
        climate: offsets of the class means.
        noise_error: the true noise against the stated one.
        seed: of it all.
        days: added to the template's date.
    """

    shows: ClassVar[str] = "ice, sea"

    product: Product
    bands: tuple[Band, ...]
    block: int
    lines: np.ndarray
    pixels: np.ndarray
    world: World
    incidence_angle: np.ndarray
    climate: Climate
    noise_error: NoiseError
    seed: int
    days: int

    @property
    def code(self) -> str:
        """Four hexadecimal digits for the product's name, from the seed."""
        return code_of(self.seed)

    def sigma0(self, polarization: str) -> np.ndarray:
        """Expected sigma nought on the world's grid, linear power, float32."""
        return expected_sigma0(
            self.world,
            self.incidence_angle,
            polarization,
            climate=self.climate,
            spacing_m=self.bands[0].annotation.range_spacing_m * self.block,
            texture_seed=self.seed,
        )

    def parameters(self) -> dict[str, object]:
        """All that was drawn or set, as plain JSON values."""
        flat = {
            key: {"/".join(k): v for k, v in value.items()} if isinstance(value, dict) else value
            for part in (asdict(self.climate), asdict(self.noise_error))
            for key, value in part.items()
            if key not in ("table", "frost_db")
        }
        signatures = {"/".join(k): [s.mean_db, s.slope_db] for k, s in self.climate.table.items()}
        offset = {"/".join(k): v for k, v in self.climate.offset_db.items()}
        flat |= {"offset_db": offset, "noise_offset": {"/".join(k): v for k, v in self.noise_error.offset.items()}}
        return {
            "seed": self.seed,
            "template": self.product.name,
            "days": self.days,
            **flat,
            "signatures": signatures,
            "frost_db": self.climate.frost_db,
            "world": asdict(self.world.parameters),
        }


def prepare(
    template: str | os.PathLike[str],
    *,
    seed: int,
    spacing_m: float | None,
    polarizations: tuple[str, ...] | None = None,
    world: WorldConfig | None = None,
    noise_error: NoiseError | None = None,
    spread: float = 1.0,
    land: np.ndarray | Literal["gshhg"] | None = None,
    lines: tuple[int, int] | None = None,
    pixels: tuple[int, int] | None = None,
    block: int = 3,
    date: str | None = None,
) -> Simulation:
    """Draw everything but speckle (arguments as `simulate_scene`; ``spacing_m=None`` takes ``block`` pixels)."""
    product = template_product(os.fspath(template))
    found = {b.polarization: b for b in product.bands}
    wanted = tuple(polarizations or product.polarizations)
    missing = [p for p in wanted if p not in found]
    if missing:
        raise OptionError(f"Polarization {missing[0]!r} is not in the template, which holds {list(found)}.")
    bands = tuple(found[p] for p in wanted)
    a = bands[0].annotation
    block = block if spacing_m is None else round(spacing_m / a.range_spacing_m)
    if block < 1 or (spacing_m is not None and abs(block * a.range_spacing_m - spacing_m) > 0.01 * spacing_m):
        raise OptionError(
            f"spacing_m={spacing_m} is not a multiple of the pixel spacing {a.range_spacing_m:.2f} m of {product.name}."
        )
    first, last = window(lines, a.n_lines, "lines")
    left, right = window(pixels, a.n_pixels, "pixels")
    shape = ((last - first) // block, (right - left) // block)
    if min(shape) < 16:
        raise OptionError(
            f"The window gives {shape[0]} × {shape[1]} pixels of {block} looks; at least 16 × 16 are needed."
        )
    centre_lines = first + np.arange(shape[0]) * block + (block - 1) / 2
    centre_pixels = left + np.arange(shape[1]) * block + (block - 1) / 2
    config = replace(world, seed=seed) if world is not None else WorldConfig(seed=seed)
    mask = coast_of(a, centre_lines, centre_pixels) if isinstance(land, str) else land
    truth = make_world(config, shape, a.range_spacing_m * block, land=mask)
    rng = np.random.default_rng([seed, 2])
    measured = config.signatures == "measured"
    region, swaths = (np.random.default_rng([seed, k]) if measured else None for k in (5, 6))
    look = truth.parameters.wind_look_deg
    climate = draw_climate(rng, look_deg=look, wet=truth.wet, spread=spread, region_rng=region)
    drawn = draw_noise_error(rng, a, measured=swaths)
    year = int(rng.integers(2015, 2025))
    day = int(rng.integers(*_DAYS[truth.parameters.season]))
    drawn_day = np.datetime64(f"{year}-01-01") + day
    return Simulation(
        product=product,
        bands=bands,
        block=block,
        lines=centre_lines,
        pixels=centre_pixels,
        world=truth,
        incidence_angle=incidence_angle(a, centre_lines, centre_pixels),
        climate=climate,
        noise_error=drawn if noise_error is None else noise_error,
        seed=seed,
        days=int(((day_of(date) or drawn_day) - a.first_line_time.astype("datetime64[D]")).astype(int)),
    )


def day_of(date: str | None) -> np.datetime64 | None:
    """The day that a scene is dated to, ``"2025-02-01"``; None where nobody says.

    Raises:
        OptionError: no day from 2014, when the first Sentinel-1 flew, to 2099.
    """
    if date is None:
        return None
    try:
        day = np.datetime64(datetime.strptime(date, "%Y-%m-%d").date())
    except ValueError:
        raise OptionError(f"Date {date!r} is not a day such as 2025-02-01.") from None
    if not np.datetime64("2014-04-03") <= day < np.datetime64("2100-01-01"):
        raise OptionError(f"Date {date} must lie between 2014-04-03, when the first Sentinel-1 flew, and 2099.")
    return day


def code_of(seed: int) -> str:
    """Four hexadecimal digits that tell the products of two seeds apart."""
    return f"{(seed * 40503 + seed // 65536 * 9973 + 0x51A) % 65536:04X}"


def window(given: tuple[int, int] | None, size: int, name: str) -> tuple[int, int]:
    """First and one past the last of the lines or pixels of an image; raises OptionError where there are no such."""
    first, last = given if given is not None else (0, size)
    if not 0 <= first < last <= size:
        raise OptionError(f"{name}={given} is not a window of 0 … {size}. Give first and one past the last.")
    return first, last


def coast_of(annotation: Annotation, lines: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Land by the GSHHG shorelines, True on land, (line, pixel); looked up at every fourth position."""
    rows, columns = lines[::4], pixels[::4]
    lon, lat = Geolocation.of_ties(annotation.ties).lonlat(rows[:, None], columns[None, :])
    mask = np.repeat(np.repeat(land_mask(lon, lat), 4, axis=0), 4, axis=1)
    return mask[: lines.size, : pixels.size]


def incidence_angle(annotation: Annotation, lines: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Degrees, float32 (line, pixel): splines through the tie points, taken every 16th position, linear between."""
    ties = annotation.ties
    spline = RectBivariateSpline(
        ties.line, ties.pixel, ties.incidence_angle, kx=min(3, ties.line.size - 1), ky=min(3, ties.pixel.size - 1)
    )
    sparse_lines = np.linspace(lines[0], lines[-1], max(lines.size // 16, 2))
    sparse_pixels = np.linspace(pixels[0], pixels[-1], max(pixels.size // 16, 2))
    out = np.empty((lines.size, pixels.size), np.float32)
    resample(
        spline(sparse_lines, sparse_pixels),
        np.linspace(0, sparse_lines.size - 1, lines.size),
        np.linspace(0, sparse_pixels.size - 1, pixels.size),
        out,
    )
    return out


def simulate_scene(
    template: str | os.PathLike[str] = "ew",
    *,
    seed: int,
    spacing_m: float | None = None,
    polarizations: tuple[str, ...] | None = None,
    world: WorldConfig | None = None,
    noise_error: NoiseError | None = None,
    spread: float = 1.0,
    denoise: Literal["esa", "none"] = "esa",
    land: np.ndarray | Literal["gshhg"] | None = None,
    lines: tuple[int, int] | None = None,
    pixels: tuple[int, int] | None = None,
) -> xr.Dataset:
    """A scene as `frazil.open_scene` would give it, with its truth.

    Args:
        template: ``"ew"`` (the bundled Extra Wide product), or the path of a GRD product, whose geometry, calibration
            and noise are taken.
        seed: decides everything that is not set.
        spacing_m: pixel size, a multiple of the template's; None = 3 pixels (120 m in EW GRDM).
        polarizations: of those in the template; all by default.
        world: settings of the world (its seed is replaced by ``seed``).
        noise_error: the true noise against the stated one; None draws errors, ``NoiseError()`` means none.
        spread: factor on the scene-to-scene spread of the class means; 0 gives the published means.
        denoise: ``"esa"`` subtracts the stated noise, ``"none"`` leaves the true one in.
        land: ``"gshhg"`` for the shorelines of the template's place, as the reader masks them; a mask on the scene's
            own grid, True on land; None for the open sea (or the coast that ``world.land_fraction`` asks for).
        lines: first and one past the last line to take of the template's image. A window shows a small world of its
            own, see `frazil.simulate.world`.
        pixels: likewise across.

    Returns:
        A scene (see `frazil.conventions.check_scene`) with ``ice_class`` (line, pixel): codes of FIVE_CLASSES, 254
        land, 255 not observed; and ``wind_speed`` (line, pixel), m/s. ``line`` and ``pixel`` count in the template's
        image. The same seed and window gives the same truth as `simulate_product` with the same block.

    Raises:
        OptionError: an impossible setting, naming the possible ones.
    """
    if denoise not in ("esa", "none"):
        raise OptionError(f"denoise={denoise!r} is unknown. Choose 'esa' or 'none'.")
    sim = prepare(
        template,
        seed=seed,
        spacing_m=spacing_m,
        polarizations=polarizations,
        world=world,
        noise_error=noise_error,
        spread=spread,
        land=land,
        lines=lines,
        pixels=pixels,
    )
    a = sim.bands[0].annotation
    model = speckle_model(a, resolution_letter(sim.product), sim.block)
    shape = sim.world.ice_class.shape
    sigma0 = np.empty((len(sim.bands), *shape), np.float32)
    nesz = np.empty_like(sigma0)
    for k, band in enumerate(sim.bands):
        nesz[k] = band_radiometry(band).nesz(sim.lines, sim.pixels)
        _blend(sim.sigma0(band.polarization), _neighbour_share(sim.block), sigma0[k])

    def observe(k: int) -> TrueNoise:
        polarization = sim.bands[k].polarization
        noise = true_noise(sim.noise_error, a, polarization, sim.lines, sim.pixels, seed)
        stream = SpeckleStream(model, shape[1], (seed, 3, k))
        for first in range(0, shape[0], 256):
            part = slice(first, min(first + 256, shape[0]))
            speckle = stream.take(part.stop - part.start)
            _observe(
                sigma0[k, part],
                nesz[k, part],
                noise.swath[part],
                noise.scale[:, part].copy(),
                noise.offset,
                noise.gain,
                speckle,
                denoise == "esa",
            )
        return noise

    with ThreadPoolExecutor(2) as pool:
        noises = list(pool.map(observe, range(len(sim.bands))))
    valid = np.asarray(np.isfinite(sigma0).all(axis=0))
    ice_class = np.where(noises[0].swath >= 0, sim.world.ice_class, np.uint8(CLASS_NODATA))
    cut = Cut(
        first_line=lines[0] if lines else 0,
        first_pixel=pixels[0] if pixels else 0,
        n_lines=lines[1] - lines[0] if lines else a.n_lines,
        n_pixels=pixels[1] - pixels[0] if pixels else a.n_pixels,
        days=sim.days,
        code=sim.code,
    )
    return _dataset(sim, sigma0, nesz, valid, ice_class, denoise, product_name(sim.product, cut))


def _neighbour_share(block: int) -> float:
    """What a block average takes from either neighbour if values go linearly from one block's centre to the next's."""
    offset = (np.arange(block) - (block - 1) / 2) / block
    return float(np.mean(np.abs(offset)) / 2)


@njit(nogil=True)
def _blend(field: np.ndarray, share: float, out: np.ndarray) -> None:
    """Blur along both axes as the product's pixels, finer than the world, do between the world's pixels."""
    rows, columns = field.shape
    own = np.float32(1 - 2 * share)
    side = np.float32(share)
    for i in range(rows):
        above = max(i - 1, 0)
        below = min(i + 1, rows - 1)
        left = own * field[i, 0] + side * (field[above, 0] + field[below, 0])
        here = left
        for j in range(columns):
            k = min(j + 1, columns - 1)
            right = own * field[i, k] + side * (field[above, k] + field[below, k])
            out[i, j] = own * here + side * (left + right)
            left = here
            here = right


@njit(nogil=True, fastmath=False)
def _observe(
    sigma0: np.ndarray,
    nesz: np.ndarray,
    swath: np.ndarray,
    scale: np.ndarray,
    offset: np.ndarray,
    gain: np.ndarray,
    speckle: np.ndarray,
    denoise: bool,
) -> None:
    """Turn expected into observed sigma nought, in place; NaN outside the sub-swaths."""
    for i in range(sigma0.shape[0]):
        for j in range(sigma0.shape[1]):
            k = swath[i, j]
            if k < 0:
                sigma0[i, j] = np.nan
                continue
            nominal = nesz[i, j]
            if nominal != nominal:  # the product states no noise
                nominal = np.float32(0.0)
            noise = max(nominal * scale[k, i] + offset[k], np.float32(0.0))
            value = (sigma0[i, j] * gain[k] + noise) * speckle[i, j]
            sigma0[i, j] = value - nominal if denoise else value


def _dataset(
    sim: Simulation,
    sigma0: np.ndarray,
    nesz: np.ndarray,
    valid: np.ndarray,
    ice_class: np.ndarray,
    denoise: str,
    name: str,
) -> xr.Dataset:
    a = sim.bands[0].annotation
    planes, grid = ("polarization", "line", "pixel"), ("line", "pixel")
    shift = np.timedelta64(sim.days, "D")
    time = (a.first_line_time + shift).astype("datetime64[ns]") + np.round(a.time_of(sim.lines) * 1e9).astype(
        "timedelta64[ns]"
    )
    wind = {"units": "m s-1", "long_name": "wind speed at the surface, simulated", "standard_name": "wind_speed"}
    return xr.Dataset(
        {
            "sigma0": (planes, sigma0, VARIABLES["sigma0"]),
            "nesz": (planes, nesz, VARIABLES["nesz"]),
            "incidence_angle": (grid, sim.incidence_angle, VARIABLES["incidence_angle"]),
            "valid": (grid, valid, VARIABLES["valid"]),
            "ice_class": (grid, ice_class, class_attrs(FIVE_CLASSES)),
            "wind_speed": (grid, sim.world.wind_ms, wind),
            **tie_variables(a.ties),
        },
        {
            "polarization": [b.polarization for b in sim.bands],
            "line": ("line", sim.lines, VARIABLES["line"]),
            "pixel": ("pixel", sim.pixels, VARIABLES["pixel"]),
            "azimuth_time": ("line", time, VARIABLES["azimuth_time"]),
            "ground_range": ("pixel", sim.pixels * a.range_spacing_m, VARIABLES["ground_range"]),
            "tie_line": a.ties.line,
            "tie_pixel": a.ties.pixel,
        },
        {
            "Conventions": "CF-1.11",
            "title": "Simulated Sentinel-1 scene",
            "source": f"simulated by frazil; metadata of {sim.product.name} (modified Copernicus Sentinel data)",
            "product": name,
            "mission": a.header.mission,
            "mode": a.header.mode,
            "product_type": a.header.product_type,
            "orbit_pass": a.orbit_pass,
            "orbit": a.header.orbit,
            "start_time": str(a.header.start_time + shift),
            "stop_time": str(a.header.stop_time + shift),
            "ipf_version": sim.product.ipf_version or "unknown",
            "spacing_m": float(a.range_spacing_m * sim.block),
            "looks": sim.block,
            "boxcar": 0,
            "denoise": denoise,
            "season": sim.world.parameters.season,
            "seed": sim.seed,
            "frazil_version": __version__,
        },
    )
