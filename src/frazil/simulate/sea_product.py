"""A wide VV product of the open sea with phenomena, and where they are: `frazil.simulate.phenomena` as a SAFE folder.

Metadata, calibration and noise are those of a real product; the nearest longitude at which its place is open sea takes
the place of its own, see `frazil.simulate.metadata`. Noise and speckle are those of `simulate_product`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from frazil.conventions import METOCEAN
from frazil.errors import OptionError
from frazil.scene.geolocation import Geolocation
from frazil.scene.land import land_mask
from frazil.seeds import check_seed
from frazil.sentinel1.annotation import Annotation
from frazil.sentinel1.product import Band, Product
from frazil.simulate.instrument import NoiseError, draw_noise_error, template_product
from frazil.simulate.metadata import Cut
from frazil.simulate.phenomena import PhenomenaConfig, WideSea, make_wide_sea
from frazil.simulate.product import write_both
from frazil.simulate.scene import code_of, day_of, incidence_angle, window
from frazil.simulate.truth import write_phenomena_raster

_SPACING_M = 50.0  # of the truth, as of imagettes
_LOOKED_AT_M = 1000.0  # between the places where land is looked for
_OFF_SHORE_DEG = 0.25  # no land nearer than this


@dataclass(frozen=True, kw_only=True, eq=False)
class SeaSimulation:
    """Everything that a product shows; see `frazil.simulate.simulated.Simulated`.

    Attributes:
        product: the template.
        bands: its image in VV.
        block: pixels of the product per pixel of the truth, along each side.
        sea: the truth.
        noise_error: the true noise against the stated one.
        seed: of it all.
        cut: window, date and place.
    """

    shows: ClassVar[str] = "sea, phenomena"

    product: Product
    bands: tuple[Band, ...]
    block: int
    sea: WideSea
    noise_error: NoiseError
    seed: int
    cut: Cut

    def sigma0(self, polarization: str) -> np.ndarray:  # noqa: ARG002
        """That of the sea; there is VV alone."""
        return self.sea.power

    def parameters(self) -> dict[str, object]:
        """All that was drawn or set, as plain JSON values."""
        return {
            "seed": self.seed,
            "template": self.product.name,
            "days": self.cut.days,
            "turned_deg": self.cut.turn_deg,
            "spacing_m": self.bands[0].annotation.range_spacing_m * self.block,
            **self.sea.parameters(),
        }


def simulate_sea_product(
    out_dir: str | os.PathLike[str],
    *,
    seed: int,
    template: str | os.PathLike[str] = "iw",
    config: PhenomenaConfig | None = None,
    noise_error: NoiseError | None = None,
    lines: tuple[int, int] | None = None,
    pixels: tuple[int, int] | None = None,
    compress: bool = False,
    date: str | None = None,
    overwrite: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Path:
    """Write a simulated VV product of the open sea with phenomena, and its truth; the path of the SAFE folder.

    Beside ``NAME.SAFE`` stands ``NAME_truth`` with ``phenomena.tif`` (uint16: bit k is set where class k of
    `frazil.conventions.METOCEAN` is; radar geometry, one pixel per block of about 50 m) and ``simulation.json`` (every
    number drawn or set, with first line and pixel of each square on the grid of the truth).

    Args:
        out_dir: folder to write into; made if it is missing.
        seed: decides everything that is not set.
        template: ``"iw"`` (bundled), or the path of a GRD product with VV.
        config: which phenomena, and how many.
        noise_error: the true noise against the stated one; None draws errors, ``NoiseError()`` means none.
        lines: first and one past the last line to take of the template's image; 24 km or more.
        pixels: likewise across.
        compress: deflate the measurement file.
        date: ``"2025-02-01"``; drawn by default.
        overwrite: replace a product of the same name.
        progress: called with the fraction of squares painted.

    Raises:
        OutputExistsError: there is such a product already.
        OptionError: an impossible setting, a template without VV, or one at whose latitudes is no open sea.
    """
    sim = prepare_sea(
        template,
        seed=seed,
        config=config,
        noise_error=noise_error,
        lines=lines,
        pixels=pixels,
        date=date,
        progress=progress,
    )

    def write_truth(folder: Path, annotation: Annotation) -> None:
        write_phenomena_raster(folder / "phenomena.tif", sim.sea.bits, METOCEAN.names, annotation.ties, sim.block)

    return write_both(out_dir, sim, sim.cut, write_truth, compress=compress, overwrite=overwrite)


def prepare_sea(
    template: str | os.PathLike[str],
    *,
    seed: int,
    config: PhenomenaConfig | None = None,
    noise_error: NoiseError | None = None,
    lines: tuple[int, int] | None = None,
    pixels: tuple[int, int] | None = None,
    date: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> SeaSimulation:
    """Draw everything but speckle; arguments as `simulate_sea_product`."""
    check_seed(seed)
    product = template_product(os.fspath(template))
    bands = tuple(b for b in product.bands if b.polarization == "VV")
    if not bands:
        raise OptionError(
            f"Template {product.name} has {', '.join(product.polarizations)}; phenomena are of VV. Use template 'iw'."
        )
    a = bands[0].annotation
    block = max(round(_SPACING_M / a.range_spacing_m), 1)
    (first, last), (left, right) = window(lines, a.n_lines, "lines"), window(pixels, a.n_pixels, "pixels")
    rows, columns = (
        start + np.arange((stop - start) // block) * block + (block - 1) / 2
        for start, stop in ((first, last), (left, right))
    )
    if min(rows.size, columns.size) < 16:
        raise OptionError(f"lines {first} … {last} and pixels {left} … {right} are too few. Take more.")
    turn_deg, latitude = open_sea(a, rows, columns, product.name)
    sea = make_wide_sea(
        incidence_angle(a, rows, columns),
        a.range_spacing_m * block,
        seed=seed,
        latitude=latitude,
        config=config,
        progress=progress,
    )
    rng = np.random.default_rng([seed, 10])
    drawn = draw_noise_error(rng, a)
    drawn_day = np.datetime64(f"{int(rng.integers(2015, 2025))}-01-01") + int(rng.integers(365))
    cut = Cut(
        first_line=first,
        first_pixel=left,
        n_lines=last - first,
        n_pixels=right - left,
        days=int(((day_of(date) or drawn_day) - a.first_line_time.astype("datetime64[D]")).astype(int)),
        code=code_of(seed),
        turn_deg=turn_deg,
    )
    return SeaSimulation(
        product=product,
        bands=bands,
        block=block,
        sea=sea,
        noise_error=drawn if noise_error is None else noise_error,
        seed=seed,
        cut=cut,
    )


def open_sea(annotation: Annotation, lines: np.ndarray, pixels: np.ndarray, name: str) -> tuple[float, float]:
    """By how many whole degrees of longitude to move a window so that it is all sea; its middle latitude.

    Args:
        annotation: for tie points.
        lines: of the window, rising.
        pixels: likewise across.
        name: of the template, for the message.

    Returns:
        Degrees, −179 to 180, the smallest possible turn; and degrees.

    Raises:
        OptionError: there is land at every longitude.
    """
    step = max(round(_LOOKED_AT_M / (annotation.range_spacing_m * (pixels[1] - pixels[0]))), 1)
    rows, columns = (np.append(values[::step], values[-1]) for values in (lines, pixels))
    lon, lat = Geolocation.of_ties(annotation.ties).lonlat(rows[:, None], columns[None, :])
    latitude = float(lat.mean())
    wider = _OFF_SHORE_DEG / max(float(np.cos(np.radians(np.abs(lat).max()))), 0.02)
    around = [(0.0, 0.0), *((dx * wider, dy * _OFF_SHORE_DEG) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy)]
    for turn in sorted(range(-179, 181), key=abs):
        if not any(land_mask(lon + turn + dx, np.clip(lat + dy, -90, 90)).any() for dx, dy in around):
            return float(turn), latitude
    raise OptionError(
        f"At the latitudes of {name} there is land at every longitude. Take fewer lines and pixels, or another one."
    )
