"""Residual sub-swath banding: noise rescaled so that σ0 is continuous across sub-swath borders, fitted on the scene.

The product's noise is right in shape but not always in size: what is left of it shows as bands, brighter or darker than
their neighbours, and as a step at every sub-swath border. The model of one burst cycle j (about 3 s of azimuth) is

    σ0(x, j) = S_j(x) + δ_s · NESZ(x, j) + error,

with S_j a smooth surface that knows nothing of sub-swaths (a cubic spline in range, bending penalised) and δ_s the
scale error of sub-swath s, some tens of percent at most. It is one penalised least-squares problem with S_j eliminated.
Bright surfaces vary more and weigh less; what no smooth surface explains (ice edges, leads, ships) gets no weight at
all (Tukey). How far the burst cycles disagree about δ says how well the scene determines it, and δ is drawn towards 0
accordingly: where ice edges hide the noise, little is changed.

An offset per sub-swath or per burst was tried and dropped: on simulated ice scenes it followed the ice, and made σ0 two
to three times worse. What is common to all sub-swaths is not seen and stays.

The idea of rescaling noise per sub-swath is that of Park et al.; the formulation and the code are our own.

References:
    Park, J.-W., Korosov, A. A., Babiker, M., Sandven, S., Won, J.-S. (2018), Efficient thermal noise removal for
    Sentinel-1 TOPSAR cross-polarization channel. IEEE TGRS 56(3), 1555-1565. doi:10.1109/TGRS.2017.2765248.
    Liang, K.-Y., Zeger, S. L. (1986), Longitudinal data analysis using generalized linear models. Biometrika 73, 13-22
    (covariance from the disagreement of clusters).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline

from frazil.scene.measurement import Measurement
from frazil.sentinel1.radiometry import NoiseCorrection, Radiometry

_BIN = 20  # pixels: of the range profiles, 800 m in EW
_CYCLE_S = 3.04  # azimuth time of one burst cycle of EW
_KNOT_BINS = 10  # range bins between knots of the smooth part: 8 km
_BEND = 2.0  # prior standard deviation of the second difference of S at knots, in units of the median NESZ
_SCALE_SPREAD = 0.15  # prior standard deviation of δ
_TEXTURE, _RESIDUE = 0.3, 0.05  # spread of a bin: of σ0 (texture of ice) and of NESZ
_CAUTION = 6.0  # factor on the variance that disagreeing bursts show: ice features last longer than a burst
_TUKEY = 4.0
_ROUNDS = 6
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
    """The scale of the noise of every sub-swath."""
    p = profiles
    n_cycles, n_swaths = len(p.line), len(p.names)
    smooth, bending = _spline_basis(p.pixel)
    penalty = bending / (_BEND * float(np.nanmedian(p.nesz))) ** 2
    used = np.isfinite(p.sigma0)
    spread = _TEXTURE * np.maximum(np.nan_to_num(p.sigma0), 0) + _RESIDUE * np.nan_to_num(p.nesz)
    weight = np.where(used, np.maximum(spread, 1e-12) ** -2.0, 0.0)
    prior = np.eye(n_swaths) / _SCALE_SPREAD**2
    cycles = [j for j in range(n_cycles) if used[j].sum() > 2 * smooth.shape[1]]
    delta, covariance = np.zeros(n_swaths), np.eye(n_swaths)
    for _ in range(_ROUNDS if cycles else 0):
        normal, right, rests = [], [], {}
        for j in cycles:
            u = used[j]
            design = (p.swath[j, u][:, None] == np.arange(n_swaths)) * p.nesz[j, u][:, None]
            basis, w, y = smooth[u], weight[j, u][:, None], p.sigma0[j, u]
            # The least-squares surface under given weights is a projection; what it leaves is a problem in δ alone.
            project = np.linalg.solve(basis.T @ (w * basis) + penalty, (w * basis).T)
            free = design - basis @ (project @ design)
            normal.append((w * design).T @ free)
            right.append((w * free).T @ y)
            rests[j] = (y, design, basis, project)
        total = sum(normal) + prior
        delta = np.linalg.solve(total, sum(right))
        score = np.array([r - n @ delta for n, r in zip(normal, right, strict=True)])
        inverse = np.linalg.inv(total)
        covariance = inverse @ (score.T @ score) @ inverse * len(cycles) / max(len(cycles) - 1, 1)
        for j, (y, design, basis, project) in rests.items():
            rest = y - design @ delta
            rests[j] = (rest - basis @ (project @ rest)) / spread[j, used[j]]
        scale = max(1.4826 * float(np.median(np.abs(np.concatenate(list(rests.values()))))), 0.05)
        for j, rest in rests.items():
            trust = (1 - np.clip(np.abs(rest) / (_TUKEY * scale), 0, 1) ** 2) ** 2
            weight[j, used[j]] = trust / (spread[j, used[j]] * scale) ** 2
    spread_of_scale = np.eye(n_swaths) * _SCALE_SPREAD**2
    delta = spread_of_scale @ np.linalg.solve(spread_of_scale + _CAUTION * covariance, delta)
    return tuple(NoiseCorrection(swath=name, scale=float(1 + d)) for name, d in zip(p.names, delta, strict=True))


def _spline_basis(pixel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cubic B-splines at the bins, and the penalty matrix of their second differences."""
    n_knots = max(len(pixel) // _KNOT_BINS, 4)
    inner = np.linspace(pixel[0], pixel[-1], n_knots)
    knots = np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])
    basis = BSpline.design_matrix(pixel, knots, 3).toarray()
    second = np.diff(np.eye(basis.shape[1]), n=2, axis=0)
    return basis, second.T @ second + 1e-9 * np.eye(basis.shape[1])


def apply_corrections(profiles: Profiles, corrections: tuple[NoiseCorrection, ...]) -> Profiles:
    """The profiles as they are after the corrections."""
    p = profiles
    sigma0, nesz = p.sigma0.copy(), p.nesz.copy()
    for number, c in enumerate(corrections):
        corrected = c.scale * p.nesz
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
