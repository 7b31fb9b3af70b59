"""The same ice twice: a simulated scene, and the scene after its ice has moved by a field that is known.

The expected backscatter of one world is bent by the field at the full resolution of the product (cubic splines);
speckle and thermal noise of the two are independent. What comes in from outside is what a larger world shows there.
Marked regions of the second scene show another world: ice without a partner.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from scipy import ndimage

from frazil.errors import OptionError
from frazil.sentinel1.product import Band, Product
from frazil.simulate.instrument import (
    NoiseError,
    SpeckleStream,
    band_radiometry,
    resolution_letter,
    speckle_model,
)
from frazil.simulate.scene import Simulation, prepare
from frazil.simulate.world import WorldConfig

_STEPS = 40  # of the fixed point


@dataclass(frozen=True, kw_only=True)
class Motion:
    """A displacement field in the plane of an image: d(p) = shift + (M − 1)(p − centre) + wave, p = (row, column).

    M turns by `turn_deg` (clockwise where rows run down), stretches by `divergence` and shears by `shear`, fractions.
    Rows run down, columns to the right, lengths in metres.

    Attributes:
        shift_m: at the centre, (down, right).
        turn_deg: rotation.
        divergence: relative growth of an area, small.
        shear: displacement to the right per distance down.
        wave_m: amplitude of a smooth wave that runs along both axes, of `wave_length_m`.
        wave_length_m: of that wave.
    """

    shift_m: tuple[float, float] = (0.0, 0.0)
    turn_deg: float = 0.0
    divergence: float = 0.0
    shear: float = 0.0
    wave_m: float = 0.0
    wave_length_m: float = 40_000.0

    def displacement(self, row_m: np.ndarray, column_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Down and right, metres, of ice at positions from the centre, metres (broadcast together)."""
        cos, sin = np.cos(np.radians(self.turn_deg)), np.sin(np.radians(self.turn_deg))
        grow = np.sqrt(1 + self.divergence)
        k = 2 * np.pi / self.wave_length_m
        down = (grow * cos - 1) * row_m + grow * sin * column_m + self.wave_m * np.sin(k * column_m)
        right = (grow * cos - 1) * column_m + (self.shear - grow * sin) * row_m + self.wave_m * np.cos(k * row_m)
        return self.shift_m[0] + down, self.shift_m[1] + right

    def origin(self, row_m: np.ndarray, column_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the ice came from that is at positions after the motion, metres from the centre.

        Raises:
            OptionError: the field folds: it has no inverse.
        """
        row, column = (np.array(v, np.float64) for v in np.broadcast_arrays(row_m, column_m))
        cos, sin = np.cos(np.radians(self.turn_deg)), np.sin(np.radians(self.turn_deg))
        grow = np.sqrt(1 + self.divergence)
        matrix = np.array([[grow * cos, grow * sin], [self.shear - grow * sin, grow * cos]])
        inverse = np.linalg.inv(matrix)
        for _ in range(_STEPS):
            down, right = self.displacement(row, column)
            off_row, off_column = row_m - row - down, column_m - column - right
            row += inverse[0, 0] * off_row + inverse[0, 1] * off_column
            column += inverse[1, 0] * off_row + inverse[1, 1] * off_column
            if max(np.abs(off_row).max(), np.abs(off_column).max()) < 1e-3:
                return row, column
        raise OptionError("This motion folds the ice onto itself. Choose a smaller wave, shear or divergence.")


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A simulation after its ice has moved, as `frazil.simulate.product.write_both` wants it; metres of the image.

    Attributes:
        before: the world as it was.
        motion: of its ice, from the centre of the world.
        seed: of speckle and noise.
    """

    before: Simulation
    motion: Motion
    seed: int

    @property
    def product(self) -> Product:
        """The template."""
        return self.before.product

    @property
    def bands(self) -> tuple[Band, ...]:
        """Its images that are written."""
        return self.before.bands

    @property
    def shows(self) -> str:
        """What was made, in words."""
        return "ice that moved, sea"

    @property
    def block(self) -> int:
        """Pixels of the product per pixel of the world."""
        return self.before.block

    @property
    def noise_error(self) -> NoiseError:
        """The true noise against the stated one."""
        return self.before.noise_error

    def sigma0(self, polarization: str) -> np.ndarray:
        """Expected sigma nought, linear power, float32 (line, pixel); the border of the world goes on as it is."""
        spacing = self.before.bands[0].annotation.range_spacing_m * self.before.block
        return bent(self.before.sigma0(polarization), self.motion, spacing)

    def parameters(self) -> dict[str, object]:
        """All that was drawn or set."""
        return {**self.before.parameters(), "seed": self.seed, "motion": vars(self.motion)}


def bent(field: np.ndarray, motion: Motion, spacing_m: float) -> np.ndarray:
    """A field after a motion from its centre, float32 (row, column)."""
    rows, columns = field.shape
    row = (np.arange(rows) - (rows - 1) / 2)[:, None] * spacing_m
    column = (np.arange(columns) - (columns - 1) / 2)[None, :] * spacing_m
    from_row, from_column = motion.origin(row, column)
    at = np.stack([from_row / spacing_m + (rows - 1) / 2, from_column / spacing_m + (columns - 1) / 2])
    log = np.log(np.maximum(field, 1e-6))  # splines of powers would overshoot below zero
    return np.exp(ndimage.map_coordinates(log, at, order=3, mode="nearest")).astype(np.float32)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair:
    """Two images of the same ice.

    Attributes:
        first, second: observed sigma nought, noise subtracted, linear; float32 (polarization, row, column).
        polarizations: their names.
        spacing_m: between pixels.
        lost: True where the second image shows other ice, bool (row, column).
    """

    first: np.ndarray
    second: np.ndarray
    polarizations: tuple[str, ...]
    spacing_m: float
    lost: np.ndarray


def simulate_pair(
    motion: Motion,
    *,
    seed: int,
    size: int = 1024,
    margin: int = 256,
    world: WorldConfig | None = None,
    polarizations: tuple[str, ...] = ("HH", "HV"),
    lost: np.ndarray | None = None,
) -> Pair:
    """Two images at the full resolution of an Extra Wide product, in its own plane.

    Args:
        motion: of the ice, from the centre of the images.
        seed: decides everything else.
        size: rows and columns, pixels of 40 m.
        margin: pixels of the world around the images, from which ice may come in.
        world: settings.
        polarizations: which ones.
        lost: bool (row, column): where the second image shows another world.
    """
    whole = size + 2 * margin
    lines, pixels = (3000, 3000 + whole), (3500, 3500 + whole)
    sim = prepare(
        "ew",
        seed=seed,
        spacing_m=None,
        block=1,
        lines=lines,
        pixels=pixels,
        world=world,
        polarizations=polarizations,
        noise_error=NoiseError(),
    )
    other = None
    if lost is not None and lost.any():
        strange = seed + 900_001
        other = prepare("ew", seed=strange, spacing_m=None, block=1, lines=lines, pixels=pixels, world=world)
    a = sim.bands[0].annotation
    model = speckle_model(a, resolution_letter(sim.product), 1)
    inner = slice(margin, margin + size)
    images = np.empty((2, len(sim.bands), size, size), np.float32)
    for k, band in enumerate(sim.bands):
        nesz = np.nan_to_num(band_radiometry(band).nesz(sim.lines[inner], sim.pixels[inner]))
        before = sim.sigma0(band.polarization)
        after = bent(before, motion, a.range_spacing_m)[inner, inner]
        if other is not None and lost is not None:
            after = np.where(lost, other.sigma0(band.polarization)[inner, inner], after)
        for n, expected in enumerate((before[inner, inner], after)):
            speckle = SpeckleStream(model, size, (seed, 91, k, n)).take(size)
            images[n, k] = (expected + nesz) * speckle - nesz
    return Pair(
        first=images[0],
        second=images[1],
        polarizations=tuple(b.polarization for b in sim.bands),
        spacing_m=float(a.range_spacing_m),
        lost=np.zeros((size, size), bool) if lost is None else lost,
    )


@dataclass(frozen=True, kw_only=True)
class PlacedPair:
    """Two images on disk, laid out in the plane of a projection.

    Attributes:
        first: GeoTIFF of σ0, linear, one band a polarisation.
        second: likewise.
        motion: of the ice.
        centre: x and y of the middle of the images, metres.
        lost: see `Pair`.
        spacing_m: between pixels.
    """

    first: Path
    second: Path
    motion: Motion
    centre: tuple[float, float]
    lost: np.ndarray
    spacing_m: float

    def displacement(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """True displacement along x and y, metres, of ice at x and y of the projection."""
        down, right = self.motion.displacement(self.centre[1] - np.asarray(y), np.asarray(x) - self.centre[0])
        return right, -down

    def position(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row and column, fractional, of places."""
        rows, columns = self.lost.shape
        row = (self.centre[1] - np.asarray(y)) / self.spacing_m + (rows - 1) / 2
        return row, (np.asarray(x) - self.centre[0]) / self.spacing_m + (columns - 1) / 2


def write_pair(
    pair: Pair,
    motion: Motion,
    folder: str | os.PathLike[str],
    *,
    hours: float = 24.0,
    crs: str = "EPSG:3413",
    centre: tuple[float, float] = (200_000.0, 200_000.0),
) -> PlacedPair:
    """Write two images as calibrated GeoTIFFs, ``first.tif`` and ``second.tif``, that `frazil.drift` reads.

    Args:
        pair: of `simulate_pair`.
        motion: that it was made with.
        folder: made if it is missing.
        hours: from the first to the second, which is of 3 January 2020, noon.
        crs: of the plane; EPSG:3413 has no land within 600 km of the pole.
        centre: x and y of the middle, metres.
    """
    import rasterio
    from affine import Affine

    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    rows, columns = pair.lost.shape
    s = pair.spacing_m
    transform = Affine(s, 0, centre[0] - columns / 2 * s, 0, -s, centre[1] + rows / 2 * s)
    last = datetime(2020, 1, 3, 12, tzinfo=UTC)
    times = last - timedelta(hours=hours), last
    paths = [target / "first.tif", target / "second.tif"]
    for path, image, time in zip(paths, (pair.first, pair.second), times, strict=True):
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=columns,
            height=rows,
            count=len(image),
            dtype="float32",
            crs=crs,
            transform=transform,
        ) as file:
            file.write(image)
            file.descriptions = pair.polarizations
            file.update_tags(start_time=f"{time:%Y-%m-%dT%H:%M:%SZ}", note="simulated by frazil")
    return PlacedPair(
        first=paths[0], second=paths[1], motion=motion, centre=centre, lost=pair.lost, spacing_m=pair.spacing_m
    )
