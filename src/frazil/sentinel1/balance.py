"""Residual sub-swath banding: noise rescaled so that σ0 is continuous across sub-swath borders, fitted on the scene.

The product's noise is right in shape but not always in size: what is left of it shows as bands, brighter or darker than
their neighbours, and as a step at every sub-swath border. The model of one burst cycle j (about 3 s of azimuth) is

    σ0(x, j) = S_j(x) + δ_s · NESZ(x, j) + o_sj + error,

with S_j a smooth surface that knows nothing of sub-swaths (a cubic spline in range, bending penalised), δ_s the scale
error of sub-swath s and o_sj its additive error in that burst. δ is held near 0 by what is known of such errors (some
tens of percent), o_sj near their neighbours in azimuth and near 0. All of it is one penalised least-squares problem,
solved robustly (Huber weights), with S_j eliminated. An offset common to all sub-swaths is not seen and stays 0.

The idea of scale and offset per sub-swath is that of Park et al.; the formulation and the code are our own.

References:
    Park, J.-W., Korosov, A. A., Babiker, M., Sandven, S., Won, J.-S. (2018), Efficient thermal noise removal for
    Sentinel-1 TOPSAR cross-polarization channel. IEEE TGRS 56(3), 1555-1565. doi:10.1109/TGRS.2017.2765248.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline

from frazil.sentinel1.measurement import Measurement
from frazil.sentinel1.radiometry import NoiseCorrection, Radiometry

_BIN = 20  # pixels: of the range profiles, 800 m in EW
_CYCLE_S = 3.04  # azimuth time of one burst cycle of EW
_KNOT_BINS = 16  # range bins between knots of the smooth part: 13 km
_SCALE_SPREAD = 0.3  # prior standard deviation of δ
_OFFSET_SPREAD = 0.15  # prior standard deviation of o, in units of the sub-swath's mean NESZ
_STEP_SPREAD = 0.05  # of its change from one burst to the next, likewise
_BEND_SPREAD = 0.25  # prior standard deviation of the second difference of S at knots, in units of the scene's σ0
_HUBER = 1.5
_ROUNDS = 5
_REACH = 6  # bins on either side of a border from which its step is measured


@dataclass(frozen=True, eq=False)
class Profiles:
    """Range profiles of one image, one a burst cycle.

    Attributes:
        line: centre line of each profile (cycle,).
        pixel: centre pixel of each bin (bin,).
        sigma0: linear power, noise removed as nominal (cycle, bin); NaN where unusable.
        nesz: nominal NESZ, same dims.
        swath: number of the sub-swath, same dims; −1 across borders and outside.
        names: of the sub-swaths, in order of range.
    """

    line: np.ndarray
    pixel: np.ndarray
    sigma0: np.ndarray
    nesz: np.ndarray
    swath: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Banding:
    """Steps of σ0 at sub-swath borders, extrapolated linearly from both sides, averaged over the scene.

    Attributes:
        borders: ``"EW1/EW2"`` …
        step_db: mean of near-range over far-range side, dB, per border.
        step_nesz: mean difference in units of the NESZ at the border, per border.
        rms_nesz: root mean square over borders and burst cycles of that difference.
    """

    borders: tuple[str, ...]
    step_db: tuple[float, ...]
    step_nesz: tuple[float, ...]
    rms_nesz: float


@dataclass(frozen=True, kw_only=True)
class Balance:
    """What `balance` found: the corrections, and the banding before and after."""

    corrections: tuple[NoiseCorrection, ...]
    before: Banding | None
    after: Banding | None

    def summary(self) -> str:
        """One line of JSON for the attributes of a scene."""
        if self.before is None or self.after is None:
            return json.dumps({"corrections": {}})
        return json.dumps(
            {
                "scale": {c.swath: round(c.scale, 4) for c in self.corrections},
                "offset": {c.swath: float(f"{np.mean(c.offset):.3g}") for c in self.corrections},
                "step_db_before": [round(v, 3) for v in self.before.step_db],
                "step_db_after": [round(v, 3) for v in self.after.step_db],
                "rms_nesz_before": round(self.before.rms_nesz, 4),
                "rms_nesz_after": round(self.after.rms_nesz, 4),
            }
        )


def balance(radiometry: Radiometry, measurement: Measurement) -> Balance:
    """The noise correction that makes σ0 of one image continuous across its sub-swaths.

    Reads the image once. Images of a single sub-swath, or with less than two usable ones, need no correction.
    """
    profiles = read_profiles(radiometry, measurement)
    if len(profiles.names) < 2 or np.isfinite(profiles.sigma0).sum() < 100:
        return Balance(corrections=(), before=None, after=None)
    corrections = fit(profiles)
    return Balance(
        corrections=corrections, before=banding(profiles), after=banding(apply_corrections(profiles, corrections))
    )


def read_profiles(radiometry: Radiometry, measurement: Measurement) -> Profiles:
    """The range profiles of an image: per burst cycle and bin, the median over azimuth of 20 × 20-pixel means.

    The median keeps out leads, ridges and ships; each mean has hundreds of looks, so that it hardly differs from the
    mean of a homogeneous surface.
    """
    n_lines, n_pixels = radiometry.shape
    cycle = max(int(_CYCLE_S / radiometry.interval_s) // _BIN, 1) * _BIN
    bounds = [(s, min(s + cycle, n_lines)) for s in range(0, n_lines, cycle)]
    bounds = [(s, e) for s, e in bounds if e - s >= max(cycle // 2, _BIN)] or [(0, n_lines)]
    pixel = np.arange(n_pixels // _BIN) * _BIN + (_BIN - 1) / 2
    names = tuple(dict.fromkeys(b.bounds.swath for b in sorted(radiometry.blocks, key=lambda b: b.bounds.first_pixel)))
    shape = (len(bounds), pixel.size)
    sigma0, nesz, swath = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, -1)
    for j, (dn, (first, stop)) in enumerate(zip(measurement.strips(bounds), bounds, strict=True)):
        swath[j] = _swath_of(radiometry, first, stop, pixel, names)
        means = radiometry.sigma0_blocks(dn, first, _BIN)
        seen = np.isfinite(means).mean(axis=0) > 0.7
        middle = np.full(pixel.size, np.nan)
        middle[seen] = np.nanmedian(means[:, seen], axis=0)
        noise = radiometry.nesz(np.arange(first + _BIN // 2, stop, _BIN), pixel)
        sigma0[j] = np.where(swath[j] >= 0, middle, np.nan)
        nesz[j] = np.where(swath[j] >= 0, noise.mean(axis=0), np.nan)
    sigma0[~np.isfinite(nesz)] = np.nan
    line = np.array([(s + e - 1) / 2 for s, e in bounds])
    return Profiles(line, pixel, sigma0, nesz, swath, names)


def _swath_of(radiometry: Radiometry, first: int, stop: int, pixel: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """The sub-swath that fills a bin in every line of a strip, or −1."""
    swath = np.full(pixel.size, -1)
    touched = np.zeros(pixel.size, int)
    low, high = pixel - _BIN / 2, pixel + _BIN / 2
    cover = {name: np.zeros(pixel.size) for name in names}
    for block in radiometry.blocks:
        b = block.bounds
        lines = min(b.last_line + 1, stop) - max(b.first_line, first)
        if lines <= 0:
            continue
        inside = (low >= b.first_pixel - 0.5) & (high <= b.last_pixel + 1.5)
        part = (high > b.first_pixel - 0.5) & (low < b.last_pixel + 1.5) & ~inside
        cover[b.swath][inside] += lines
        touched[part] += 1
    for number, name in enumerate(names):
        swath[(cover[name] >= 0.7 * (stop - first)) & (touched == 0)] = number
    return swath


def fit(profiles: Profiles) -> tuple[NoiseCorrection, ...]:
    """The corrections of all sub-swaths: scale 1 + δ_s and offset o_sj at the centre line of each burst cycle."""
    p = profiles
    n_cycles, n_swaths = len(p.line), len(p.names)
    size = np.array([np.nanmean(np.where(p.swath == s, p.nesz, np.nan)) for s in range(n_swaths)])
    level = float(np.nanmedian(np.abs(p.sigma0))) + float(np.nanmedian(p.nesz))
    smooth, bending = _spline_basis(p.pixel)
    penalty = bending / (_BEND_SPREAD * level) ** 2
    prior = _prior(n_cycles, n_swaths, size)
    used = np.isfinite(p.sigma0)
    # The spread of a bin's median: texture and speckle in proportion to the signal before noise was removed.
    spread = 0.05 * (np.abs(np.nan_to_num(p.sigma0)) + np.nan_to_num(p.nesz))
    spread = np.maximum(spread, 0.02 * level)
    weight = used / spread**2
    theta = np.zeros(n_swaths * (1 + n_cycles))
    for _ in range(_ROUNDS):
        normal, right = prior.copy(), np.zeros_like(theta)
        parts = []
        for j in range(n_cycles):
            if not used[j].any():
                continue
            u = used[j]
            columns, design = _design(p, j, u)
            w = weight[j, u]
            y = p.sigma0[j, u]
            basis = smooth[u]
            inner = np.linalg.inv(basis.T @ (w[:, None] * basis) + penalty)
            # With S_j eliminated, the least-squares problem in θ alone.
            project = inner @ (basis.T * w)
            free = design - basis @ (project @ design)
            normal[np.ix_(columns, columns)] += (design * w[:, None]).T @ free
            right[columns] += (free * w[:, None]).T @ y
            parts.append((j, columns, design, project))
        theta = np.linalg.solve(normal, right)
        for j, columns, design, project in parts:
            u = used[j]
            rest = p.sigma0[j, u] - design @ theta[columns]
            rest -= smooth[u] @ (project @ rest)
            scaled = np.abs(rest) / spread[j, u]
            scaled /= max(1.4826 * float(np.median(scaled)), 1e-3)
            weight[j, u] = np.minimum(1.0, _HUBER / np.maximum(scaled, 1e-9)) / spread[j, u] ** 2
    scale = theta[:n_swaths]
    offset = theta[n_swaths:].reshape(n_cycles, n_swaths)
    # An offset that all sub-swaths share is surface as well as noise: it is not ours to take.
    offset = offset - offset.mean(axis=1, keepdims=True)
    return tuple(
        NoiseCorrection(
            swath=name, scale=float(1 + scale[s]), line=tuple(p.line.tolist()), offset=tuple(offset[:, s].tolist())
        )
        for s, name in enumerate(p.names)
    )


def _design(p: Profiles, j: int, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which unknowns a cycle touches, and the matrix from them to its bins."""
    n_swaths = len(p.names)
    member = p.swath[j, used][:, None] == np.arange(n_swaths)
    columns = np.concatenate([np.arange(n_swaths), n_swaths * (1 + j) + np.arange(n_swaths)])
    return columns, np.hstack([member * p.nesz[j, used][:, None], member.astype(float)])


def _spline_basis(pixel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cubic B-splines at the bins, and the penalty matrix of their second differences."""
    n_knots = max(len(pixel) // _KNOT_BINS, 4)
    inner = np.linspace(pixel[0], pixel[-1], n_knots)
    knots = np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])
    basis = BSpline.design_matrix(pixel, knots, 3).toarray()
    second = np.diff(np.eye(basis.shape[1]), n=2, axis=0)
    return basis, second.T @ second + 1e-9 * np.eye(basis.shape[1])


def _prior(n_cycles: int, n_swaths: int, size: np.ndarray) -> np.ndarray:
    """The penalty on δ, on o, and on the change of o between bursts."""
    n = n_swaths * (1 + n_cycles)
    prior = np.zeros((n, n))
    prior[np.arange(n_swaths), np.arange(n_swaths)] = _SCALE_SPREAD**-2
    for s in range(n_swaths):
        at = n_swaths * (1 + np.arange(n_cycles)) + s
        # The mean of o over the scene has the wide prior, its changes the narrow one.
        prior[np.ix_(at, at)] += 1.0 / (n_cycles * _OFFSET_SPREAD * size[s]) ** 2
        change = np.diff(np.eye(n_cycles), axis=0)
        if n_cycles > 1:
            prior[np.ix_(at, at)] += change.T @ change / (_STEP_SPREAD * size[s]) ** 2
    return prior


def apply_corrections(profiles: Profiles, corrections: tuple[NoiseCorrection, ...]) -> Profiles:
    """The profiles as they are after the corrections."""
    p = profiles
    sigma0, nesz = p.sigma0.copy(), p.nesz.copy()
    for number, c in enumerate(corrections):
        corrected = c.scale * p.nesz + np.interp(p.line, c.line, c.offset)[:, None]
        inside = p.swath == number
        sigma0[inside] += (p.nesz - corrected)[inside]
        nesz[inside] = corrected[inside]
    return Profiles(p.line, p.pixel, sigma0, nesz, p.swath, p.names)


def banding(profiles: Profiles, reference: Profiles | None = None) -> Banding:
    """The steps of σ0 at sub-swath borders.

    Args:
        profiles: what to measure.
        reference: profiles whose NESZ is the unit; the measured ones by default.
    """
    p = profiles
    unit = (reference or profiles).nesz
    borders: list[str] = []
    step_db: list[float] = []
    step_nesz: list[float] = []
    every: list[float] = []
    for s in range(len(p.names) - 1):
        steps, units, near, far = [], [], [], []
        for j in range(len(p.line)):
            left, right = _edge(p, j, s, -1), _edge(p, j, s + 1, 0)
            if left is None or right is None:
                continue
            steps.append(left[0] - right[0])
            units.append((unit[j, left[1]] + unit[j, right[1]]) / 2)
            near.append(left[0])
            far.append(right[0])
        if not steps:
            continue
        borders.append(f"{p.names[s]}/{p.names[s + 1]}")
        ratio = max(float(np.median(near)), 1e-6) / max(float(np.median(far)), 1e-6)
        step_db.append(float(10 * np.log10(ratio)))
        relative = np.array(steps) / np.array(units)
        step_nesz.append(float(np.median(relative)))
        every.extend(relative)
    rms = float(np.sqrt(np.mean(np.square(every)))) if every else 0.0
    return Banding(borders=tuple(borders), step_db=tuple(step_db), step_nesz=tuple(step_nesz), rms_nesz=rms)


def _edge(p: Profiles, j: int, s: int, end: int) -> tuple[float, int] | None:
    """σ0 of a sub-swath at its near (end 0) or far (end −1) border, by a line through its outermost bins."""
    at = np.flatnonzero((p.swath[j] == s) & np.isfinite(p.sigma0[j]))
    if at.size < _REACH:
        return None
    outer = at[:_REACH] if end == 0 else at[-_REACH:]
    slope, value = np.polyfit(p.pixel[outer] - p.pixel[outer].mean(), p.sigma0[j, outer], 1)
    border = p.pixel[outer[end]] + (_BIN if end else -_BIN)
    return float(value + slope * (border - p.pixel[outer].mean())), int(outer[end])
