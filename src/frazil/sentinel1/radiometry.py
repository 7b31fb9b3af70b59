"""Digital numbers to sigma nought and noise-equivalent sigma zero.

σ0 = (DN² − η) / A² with A bilinear in the calibration vectors (interpolated first, squared after) and η the thermal
noise. σ0 stays in linear power and keeps its negative values: averaging comes first, decibels last.

Beyond the first and last calibration vector A goes on linearly within limits (`frazil.sentinel1.noise.continued`).

References:
    S1-RS-MDA-52-7441 (Sentinel-1 Product Specification), section 3.3. Of noise see `frazil.sentinel1.noise`, of what
    products before IPF 2.9 hold where nothing was observed `frazil.sentinel1.border`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from frazil.scene import averages
from frazil.sentinel1 import kernels
from frazil.sentinel1.annotation import Annotation, Calibration, Noise, SwathBounds
from frazil.sentinel1.border import Border, find_border, threshold
from frazil.sentinel1.noise import NoiseBlock, NoiseTable, between, continued, noise_table

_IPF_290 = np.datetime64("2018-03-13")  #: since when products come without border noise


@dataclass(frozen=True, kw_only=True)
class NoiseCorrection:
    """A correction of the nominal noise of one sub-swath: NESZ′ = scale · NESZ; 1 is as the product says."""

    swath: str
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Radiometry:
    """Everything that turns the digital numbers of one image into σ0.

    Attributes:
        shape: lines, pixels of the image.
        gain_time, gain: A of the calibration vectors, expanded to every column (vector, pixel), float64.
        interval_s: azimuth time interval.
        noise: what the product says of noise.
        bounds: where the image was observed; empty means everywhere.
        denoise: whether the noise is subtracted.
        corrections: by sub-swath, for ``denoise="balanced"``.
        border: what has to be masked in products before IPF 2.9; None for others.
    """

    shape: tuple[int, int]
    gain_time: np.ndarray
    gain: np.ndarray
    interval_s: float
    noise: NoiseTable
    bounds: tuple[SwathBounds, ...]
    denoise: bool
    corrections: tuple[NoiseCorrection, ...] = ()
    border: Border | None = None

    @property
    def blocks(self) -> tuple[NoiseBlock, ...]:
        """The noise, box by box; empty where the product knows none."""
        return self.noise.blocks

    def sigma0(self, dn: np.ndarray, first_line: int, out: np.ndarray | None = None) -> np.ndarray:
        """σ0 of full-width image lines: float32 (line, pixel), NaN where not observed; negatives are kept.

        Args:
            dn: uint16 digital numbers (line, pixel), or float32 amplitudes |DN| of a complex image.
            first_line: the image line of ``dn[0]``.
            out: memory for the result, C-contiguous.
        """
        out = np.empty(dn.shape, np.float32) if out is None else out
        kernels.sigma0_lines(dn, *self._lines(first_line, dn.shape[0]), out)
        if self.border is not None:
            self.border.mask(dn, first_line, out)
        return out

    def sigma0_blocks(self, dn: np.ndarray, first_line: int, looks: int, out: np.ndarray | None = None) -> np.ndarray:
        """σ0 averaged in power over looks × looks blocks: float32 (line / looks, pixel / looks).

        The first line must be a multiple of `looks`; incomplete blocks are dropped. A block less than half observed is
        NaN. Same as `sigma0` and a block mean, without the full-resolution array.
        """
        n = dn.shape[0] - dn.shape[0] % looks
        out = np.empty((n // looks, dn.shape[1] // looks), np.float32) if out is None else out
        if self.border is not None:
            out[:] = averages.block_mean(self.sigma0(dn[:n], first_line), looks)
        else:
            kernels.sigma0_block_lines(dn, *self._lines(first_line, n), out)
        return out

    def nesz(self, lines: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """NESZ on a grid of image lines and pixels (integers or fractions): float32, NaN where unknown.

        Corrected if the radiometry is; independent of `denoise`. Fractions are rounded to the pixel they fall on.
        """
        out = np.empty((len(lines), len(pixels)), np.float32)
        lines = np.clip(np.rint(lines), 0, self.shape[0] - 1).astype(np.int64)
        columns = np.clip(np.rint(pixels), 0, self.shape[1] - 1).astype(np.int64)
        low, weight = between(self.gain_time, lines * self.interval_s)
        kernels.nesz_lines(self.gain, low, weight, columns, *self._segments_at(lines, subtract=True), out)
        return out

    def noise_missing(self, lines: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """Where the product's noise table has no value: bool on a grid of image lines and pixels."""
        out = np.ones((len(lines), len(pixels)), bool)
        lines = np.clip(np.rint(lines), 0, self.shape[0] - 1)
        pixels = np.clip(np.rint(pixels), 0, self.shape[1] - 1).astype(int)
        for block in self.blocks:
            b = block.bounds
            rows = np.flatnonzero((lines >= b.first_line) & (lines <= b.last_line))
            columns = np.flatnonzero((pixels >= b.first_pixel) & (pixels <= b.last_pixel))
            if rows.size and columns.size:
                low, weight = between(block.time, lines[rows] * self.interval_s)
                high = np.minimum(low + 1, len(block.time) - 1)
                at = pixels[columns] - b.first_pixel
                gap = block.missing[:, at]
                out[np.ix_(rows, columns)] = gap[low] | (gap[high] & (weight != 0)[:, None])
        return out

    def amplitude_gain(self, lines: ArrayLike, pixels: ArrayLike) -> np.ndarray:
        """A (of σ0 = DN²/A²) on a grid of image lines and pixels: float64."""
        low, weight = between(self.gain_time, np.asarray(lines) * self.interval_s)
        high = np.minimum(low + 1, len(self.gain_time) - 1)
        at = np.asarray(pixels, int)
        w = weight[:, None]
        return (1 - w) * self.gain[low][:, at] + w * self.gain[high][:, at]

    def observed(self, lines: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """Whether pixels lie inside a sub-swath: bool on a grid of image lines and pixels."""
        out = np.full((len(lines), len(pixels)), not self.bounds)
        lines, pixels = np.rint(lines), np.rint(pixels)
        for b in self.bounds:
            out |= ((lines >= b.first_line) & (lines <= b.last_line))[:, None] & (
                (pixels >= b.first_pixel) & (pixels <= b.last_pixel)
            )
        return out

    def corrected(self, corrections: tuple[NoiseCorrection, ...]) -> Radiometry:
        """The same with corrected noise."""
        return replace(self, corrections=corrections)

    def with_border(self, lines: Callable[[int, int], np.ndarray]) -> Radiometry:
        """The same, for old products, with the border noise found that lies above and below the image.

        Args:
            lines: gives the digital numbers of full-width image lines [first, stop).
        """
        if self.border is None:
            return self
        return replace(self, border=find_border(lines, self.shape, self.border.threshold))

    @cached_property
    def _every_line(self) -> tuple[np.ndarray, ...]:
        """What the kernels must know of every image line: see `kernels`. A few megabytes, made once."""
        lines = np.arange(self.shape[0])
        spans = np.zeros((lines.size, max(len(self.bounds), 1), 2), np.int64)
        spans[..., 1] = -1 if self.bounds else self.shape[1] - 1
        for i, b in enumerate(self.bounds):
            spans[max(b.first_line, 0) : max(b.last_line + 1, 0), i] = b.first_pixel, b.last_pixel
        return spans, *between(self.gain_time, lines * self.interval_s), *self._segments_at(lines, self.denoise)

    def _lines(self, first_line: int, n: int) -> tuple[np.ndarray, ...]:
        """The arguments of the kernels between the digital numbers and the output."""
        spans, low, weight, flat, pointer, whole, fraction = self._every_line
        at = slice(first_line, first_line + n)
        return spans[at], self.gain, low[at], weight[at], flat, pointer[first_line : at.stop + 1], whole, fraction

    def _segments_at(self, lines: np.ndarray, subtract: bool) -> tuple[np.ndarray, ...]:
        """The noise of each line as segments for the kernels.

        Returns the flat profiles (float64), the first segment of each line (int64, one more than lines), and per
        segment: whole numbers (first pixel, last pixel, offset of the two profiles) and fractions (weight of the second
        profile, azimuth factor × scale).
        """
        blocks = self.blocks if subtract else ()
        flat = np.concatenate([b.profile.ravel() for b in blocks]) if blocks else np.zeros(1)
        start = np.cumsum([0, *(b.profile.size for b in blocks)])
        correction = {c.swath: c for c in self.corrections}
        rows, whole, fraction = [], [], []
        for block, base in zip(blocks, start, strict=False):
            b = block.bounds
            row = np.flatnonzero((lines >= b.first_line) & (lines <= b.last_line))
            if not row.size:
                continue
            inside = lines[row]
            low, weight = between(block.time, inside * self.interval_s)
            high = np.minimum(low + 1, len(block.time) - 1)
            width = block.profile.shape[1]
            c = correction.get(b.swath, NoiseCorrection(swath=b.swath))
            rows.append(row)
            whole.append(
                np.stack(
                    [
                        np.full_like(row, b.first_pixel),
                        np.full_like(row, b.first_pixel + width - 1),
                        base + low * width,
                        base + high * width,
                    ],
                    axis=1,
                )
            )
            factor = block.factor(inside) * c.scale
            fraction.append(np.stack([weight, factor], axis=1))
        if not rows:
            return flat, np.zeros(len(lines) + 1, np.int64), np.zeros((0, 4), np.int64), np.zeros((0, 2))
        line_of = np.concatenate(rows)
        order = np.argsort(line_of, kind="stable")
        pointer = np.searchsorted(line_of[order], np.arange(len(lines) + 1)).astype(np.int64)
        return flat, pointer, np.concatenate(whole)[order].astype(np.int64), np.concatenate(fraction)[order]


def make_radiometry(
    annotation: Annotation, calibration: Calibration, noise: Noise | None, *, denoise: bool, ipf: str | None = None
) -> Radiometry:
    """The radiometry of one image.

    Args:
        annotation: its annotation record.
        calibration: its calibration record.
        noise: its noise record, or None where the product has none.
        denoise: subtract the noise, unless the processor did so already or the product does not know it.
        ipf: processor version, None where no manifest tells; decides about border noise and the wave-mode constant.
            Without it, the layout of the noise file tells products before IPF 2.9.
    """
    a = annotation
    pixels = np.arange(a.n_pixels, dtype=np.float64)
    time, first, last = a.seconds(calibration.time), 0.0, (a.n_lines - 1) * a.azimuth_time_interval_s
    vectors = list(zip(calibration.pixel, calibration.sigma_nought, strict=True))
    if all(np.array_equal(vectors[0], v) for v in vectors[1:]):  # as in every product seen: A is constant in azimuth
        vectors, time = vectors[:1], time[:1]
    time, gain = continued(time, np.stack([np.interp(pixels, p, g) for p, g in vectors]), first, last)
    radiometry = Radiometry(
        shape=(a.n_lines, a.n_pixels),
        gain_time=time,
        gain=gain,
        interval_s=a.azimuth_time_interval_s,
        noise=noise_table(a, noise, gain[0], ipf),
        bounds=a.swath_bounds,
        denoise=denoise and not a.noise_removed,
    )
    if a.pixel_value != "Detected" or not has_border_noise(a, noise, ipf):
        return radiometry
    nothing = np.zeros(a.n_pixels, np.int64)
    least = threshold(radiometry.nesz, radiometry.amplitude_gain, radiometry.shape)
    return replace(radiometry, border=Border(least, nothing, nothing, a.n_lines))


def has_border_noise(annotation: Annotation, noise: Noise | None, ipf: str | None) -> bool:
    """Whether an image was made before IPF 2.9: by its version, else by the layout of its noise, else by its date."""
    if ipf is not None:
        return tuple(int(v) for v in ipf.split(".")) < (2, 90)
    if noise is not None:
        return noise.legacy
    return bool(annotation.first_line_time < _IPF_290)
