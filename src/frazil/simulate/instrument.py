"""The radar: speckle with the right looks and correlation, and thermal noise that is not what the product says.

References:
    S1-RS-MDA-52-7440 (Sentinel-1 Product Definition), tables 5-5 to 5-9: resolution and looks of GRD.
    Park et al. (2018), doi:10.1109/TGRS.2017.2765248, and Park et al. (2019), doi:10.1109/TGRS.2018.2889381: the noise
        of Sentinel-1 EW cross-polarisation differs from its annotation by sub-swath.
    Goodman (1975), Statistical properties of laser speckle patterns: intensity of L looks is gamma distributed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from frazil.errors import OptionError
from frazil.jit import njit
from frazil.sentinel1.annotation import Annotation
from frazil.sentinel1.product import Band, Product, open_product
from frazil.sentinel1.radiometry import Radiometry, make_radiometry
from frazil.simulate.noise import autocorrelation_kernel

_SAMPLES = Path(__file__).parents[1] / "data" / "sample"
_BUNDLED = {"ew": _SAMPLES / "S1A_EW_GRDM_BB15_metadata.zip", "iw": _SAMPLES / "S1A_IW_GRDH_8255_metadata.zip"}
_BURST_S = 3.04  # time between bursts of one EW sub-swath
#: (mode, resolution class) -> resolution in range and azimuth, metres, and equivalent number of looks.
_RESOLUTION = {
    ("EW", "H"): (50.0, 50.0, 2.7),
    ("EW", "M"): (93.0, 87.0, 10.7),
    ("IW", "H"): (20.4, 22.5, 4.4),
    ("IW", "M"): (88.0, 87.0, 81.8),
    ("SM", "F"): (9.0, 9.0, 3.7),
    ("SM", "H"): (23.0, 23.0, 29.7),
    ("SM", "M"): (84.0, 84.0, 398.4),
}


@dataclass(frozen=True, kw_only=True)
class SpeckleModel:
    """Speckle of an image whose pixels are averages of looks × looks original pixels.

    Attributes:
        looks: equivalent number of looks of one pixel.
        kernel_line, kernel_pixel: filters that give white noise its correlation along line and pixel.
    """

    looks: float
    kernel_line: np.ndarray
    kernel_pixel: np.ndarray


def speckle_model(annotation: Annotation, resolution: str, block: int = 1) -> SpeckleModel:
    """The speckle of a GRD product, or of its block averages.

    Neighbouring pixels see overlapping resolution cells. With a Gaussian impulse response of half-power width r the
    intensity correlates as exp(-2 ln 2 (d/r)²) at distance d: 0.76 between neighbours of EW GRDM (40 m, r = 93 m). A
    3 × 3 average then has about 19 looks, not 9 × 10.7.

    Args:
        annotation: for mode and pixel spacing.
        resolution: ``"F"``, ``"H"`` or ``"M"``, the letter in the product name.
        block: pixels averaged along each side.
    """
    mode = annotation.header.mode if annotation.header.mode in ("EW", "IW") else "SM"
    if (mode, resolution) not in _RESOLUTION:
        raise OptionError(f"No speckle model for {mode} GRD{resolution}; there is one for {sorted(_RESOLUTION)}.")
    in_range, in_azimuth, looks = _RESOLUTION[mode, resolution]
    line, loss_line = _block_correlation(annotation.azimuth_spacing_m, in_azimuth, block)
    pixel, loss_pixel = _block_correlation(annotation.range_spacing_m, in_range, block)
    return SpeckleModel(
        looks=looks / (loss_line * loss_pixel),
        kernel_line=autocorrelation_kernel(line),
        kernel_pixel=autocorrelation_kernel(pixel),
    )


def _block_correlation(spacing_m: float, resolution_m: float, block: int) -> tuple[np.ndarray, float]:
    """Correlation of block means at lags 0, 1, 2 … blocks, and their variance as a fraction of the pixels' variance."""
    offset = np.arange(-block + 1, block)
    weight = (block - np.abs(offset)) / block**2
    lag = np.arange(16)[:, None] * block + offset
    covariance = np.sum(weight * np.exp(-2 * np.log(2) * (lag * spacing_m / resolution_m) ** 2), axis=1)
    return covariance / covariance[0], float(covariance[0])


class SpeckleStream:
    """Speckle, strip by strip, seamless: line after line of a field of mean 1, float32.

    The gamma distribution is drawn as the cube of a shifted normal deviate (Wilson & Hilferty 1931), whose first three
    moments are right to 1 % for 3 looks or more.
    """

    def __init__(self, model: SpeckleModel, n_pixels: int, seed: tuple[int, ...]) -> None:
        self.model, self.rng = model, np.random.default_rng(seed)
        self.reach = model.kernel_line.size // 2, model.kernel_pixel.size // 2
        self.width = n_pixels + 2 * self.reach[1]
        self.tail = self._rows(2 * self.reach[0])

    def _rows(self, n: int) -> np.ndarray:
        white = self.rng.standard_normal((n, self.width), dtype=np.float32)
        out = np.empty((n, self.width - 2 * self.reach[1]), np.float32)
        _filter_pixels(white, self.model.kernel_pixel, out)
        return out

    def take(self, n_lines: int) -> np.ndarray:
        """The next lines (line, pixel)."""
        rows = np.concatenate([self.tail, self._rows(n_lines)])
        self.tail = rows[n_lines:].copy()
        out = np.empty((n_lines, rows.shape[1]), np.float32)
        _filter_lines(rows, self.model.kernel_line, float(self.model.looks), out)
        return out


@njit(nogil=True, fastmath=True)
def _filter_pixels(white: np.ndarray, kernel: np.ndarray, out: np.ndarray) -> None:
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            total = np.float32(0.0)
            for k in range(kernel.size):
                total += kernel[k] * white[i, j + k]
            out[i, j] = total


@njit(nogil=True, fastmath=True)
def _filter_lines(rows: np.ndarray, kernel: np.ndarray, looks: float, out: np.ndarray) -> None:
    """Filter along lines, then normal to gamma of mean 1."""
    shift = np.float32(1 - 1 / (9 * looks))
    spread = np.float32(1 / (3 * np.sqrt(looks)))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = np.float32(0.0)
        for k in range(kernel.size):
            w = kernel[k]
            for j in range(out.shape[1]):
                out[i, j] += w * rows[i + k, j]
        for j in range(out.shape[1]):
            root = max(shift + spread * out[i, j], np.float32(0.0))
            out[i, j] = root * root * root


@dataclass(frozen=True, kw_only=True)
class NoiseError:
    """How the true thermal noise differs from what the product says: true = scale × (1 + burst) × nominal + offset.

    Attributes:
        scale: factor by (polarisation, sub-swath), 1 where not named.
        offset: added NESZ by (polarisation, sub-swath), linear power, 0 where not named.
        burst: standard deviation of a factor that changes from burst to burst.
        gain: factor on the backscatter by (polarisation, sub-swath), 1 where not named: seams on bright surfaces.
    """

    scale: dict[tuple[str, str], float] = field(default_factory=dict)
    offset: dict[tuple[str, str], float] = field(default_factory=dict)
    burst: float = 0.0
    gain: dict[tuple[str, str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if any(not 0 < value < 10 for value in self.scale.values()) or not 0 <= self.burst < 1:
            raise OptionError(f"Noise scales must lie in 0 … 10 and burst in 0 … 1; got {self.scale}, {self.burst}.")


def draw_noise_error(
    rng: np.random.Generator, annotation: Annotation, *, measured: np.random.Generator | None = None
) -> NoiseError:
    """Errors such as Park et al. (2018) fit: some per cent by sub-swath in HV, and an offset near -40 dB.

    Args:
        rng: source of the deviates.
        annotation: names the sub-swaths.
        measured: draws what real scenes have beyond that: up to 1 dB of noise by sub-swath, and seams of 0.5 to 0.9 dB
            on bright ice.
    """
    swaths = list(dict.fromkeys(b.swath for b in annotation.swath_bounds)) or [annotation.header.swath]
    severity = rng.uniform(0.4, 1.6)
    scale, offset = {}, {}
    for pol, spread in (("HH", 0.04), ("HV", 0.08), ("VV", 0.04), ("VH", 0.08)):
        for swath in swaths:
            scale[pol, swath] = float(np.exp(severity * spread * rng.standard_normal()))
            offset[pol, swath] = float(1e-4 * severity * rng.standard_normal())
    gain = {}
    if measured is not None:
        common = 0.05 * measured.standard_normal()  # 0.5 dB
        for key in scale:
            scale[key] *= float(10 ** (common + 0.04 * measured.standard_normal()))
            gain[key] = float(10 ** (0.03 * measured.standard_normal()))
    return NoiseError(scale=scale, offset=offset, burst=float(0.02 * severity), gain=gain)


@dataclass(frozen=True, kw_only=True)
class TrueNoise:
    """A `NoiseError` laid out on the lines of an image.

    Attributes:
        swath: index of the sub-swath of each pixel, -1 outside; int8 (line, pixel).
        scale: factor (sub-swath, line), float32.
        offset: NESZ offset (sub-swath,), float32.
        gain: factor on the backscatter (sub-swath,), float32.
    """

    swath: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    gain: np.ndarray


def true_noise(
    error: NoiseError, annotation: Annotation, polarization: str, lines: np.ndarray, pixels: np.ndarray, seed: int
) -> TrueNoise:
    """The noise error of one image at image lines and pixels (fractions fall to the nearest)."""
    names = list(dict.fromkeys(b.swath for b in annotation.swath_bounds)) or [annotation.header.swath]
    index = np.full((lines.size, pixels.size), -1 if annotation.swath_bounds else 0, np.int8)
    row, column = np.rint(lines), np.rint(pixels)
    for b in annotation.swath_bounds:
        i = np.searchsorted(row, [b.first_line, b.last_line + 1])
        j = np.searchsorted(column, [b.first_pixel, b.last_pixel + 1])
        index[i[0] : i[1], j[0] : j[1]] = names.index(b.swath)
    time = annotation.time_of(lines) / _BURST_S
    scale = np.ones((len(names), lines.size), np.float32)
    offset = np.zeros(len(names), np.float32)
    gain = np.array([error.gain.get((polarization, name), 1.0) for name in names], np.float32)
    n_bursts = int(annotation.n_lines * annotation.azimuth_time_interval_s / _BURST_S) + 2
    for k, name in enumerate(names):
        rng = np.random.default_rng([seed, 77, k, ord(polarization[0]), ord(polarization[1])])
        factor = 1 + error.burst * rng.standard_normal(n_bursts)
        shift = rng.random()  # sub-swaths take turns
        at = np.clip(np.floor(time + shift), 0, n_bursts - 1).astype(int)
        scale[k] = error.scale.get((polarization, name), 1.0) * factor[at]
        offset[k] = error.offset.get((polarization, name), 0.0)
    return TrueNoise(swath=index, scale=scale, offset=offset, gain=gain)


@lru_cache(maxsize=4)
def template_product(template: str) -> Product:
    """The product whose metadata a simulation takes: ``"ew"`` or ``"iw"`` (bundled), or the path of any GRD product.

    Raises:
        ProductNotFoundError: no such product.
        OptionError: the product is not detected (GRD).
    """
    product = open_product(_BUNDLED.get(template, template))
    if product.bands[0].annotation.pixel_value != "Detected":
        raise OptionError(f"Template {product.name} is not a GRD product. Choose one, or template 'ew' or 'iw'.")
    return product


def band_radiometry(band: Band) -> Radiometry:
    """The radiometry of an image with its noise known, for simulation (never masks border noise)."""
    return make_radiometry(band.annotation, band.calibration, band.noise, denoise=True)


def resolution_letter(product: Product) -> str:
    """``"F"``, ``"H"`` or ``"M"`` from the product name; ``"M"`` for EW and ``"H"`` otherwise if the name has none."""
    parts = product.name.split("_")
    kind = parts[2] if len(parts) > 2 else ""
    if kind.startswith("GRD") and len(kind) == 4:
        return kind[3]
    return "M" if product.bands[0].header.mode == "EW" else "H"
