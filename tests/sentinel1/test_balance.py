"""Residual banding: known wrong noise is found, and only what is wrong is changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frazil.sentinel1.balance import Profiles, _swath_of, apply_corrections, balance, banding, fit, read_profiles
from frazil.sentinel1.product import Product
from frazil.sentinel1.radiometry import Radiometry, make_radiometry
from frazil.simulate import NoiseError, simulate_scene

SCALES = {"EW1": 1.15, "EW2": 0.90, "EW3": 1.05, "EW4": 0.95, "EW5": 1.10}


class SimulatedMeasurement:
    """Digital numbers of a smooth surface under noise of known wrong size, at every 4th line of the truth's speckle."""

    def __init__(
        self, radiometry: Radiometry, scales: dict[str, float], burst_error: float = 0.0, seed: int = 0
    ) -> None:
        self.radiometry, self.scales, self.seed = radiometry, scales, seed
        self.burst_error = burst_error

    def truth(self, lines: np.ndarray) -> np.ndarray:
        x = np.arange(self.radiometry.shape[1])
        wave = np.sin(x[None, :] / 1500 + lines[:, None] / 900)
        return 10 ** ((-24 - 4 * x[None, :] / x.size + 3 * wave) / 10)

    def strips(self, bounds: Iterable[tuple[int, int]]) -> Iterator[np.ndarray]:
        rng = np.random.default_rng(self.seed)
        x = np.arange(self.radiometry.shape[1])
        offsets = {swath: rng.normal(0, 1) for swath in self.scales}
        for first, stop in bounds:
            lines = np.arange(first, stop)
            nominal = self.radiometry.nesz(lines, x)
            actual = np.zeros_like(nominal)
            for block in self.radiometry.blocks:
                b = block.bounds
                rows = (lines >= b.first_line) & (lines <= b.last_line)
                columns = slice(b.first_pixel, b.last_pixel + 1)
                offsets[b.swath] += rng.normal(0, 0.2)
                extra = self.burst_error * offsets[b.swath] * 2e-4
                actual[rows, columns] = nominal[rows, columns] * self.scales[b.swath] + extra
            total = np.maximum(self.truth(lines) + np.nan_to_num(actual), 0)
            total *= rng.standard_gamma(10.7, total.shape, dtype=np.float32) / 10.7
            total[np.isnan(nominal)] = 0
            gain = self.radiometry.amplitude_gain(lines, x)
            yield np.rint(np.sqrt(total) * gain).astype(np.uint16)


def simulated(radiometry: Radiometry, scales: dict[str, float], seed: int = 0) -> Any:
    """In place of a `Measurement`."""
    return SimulatedMeasurement(radiometry, scales, seed=seed)


@pytest.fixture(scope="module")
def short(ew_metadata: Product) -> Radiometry:
    """The real HV radiometry, the first 3600 lines only: seven burst cycles."""
    from dataclasses import replace

    band = ew_metadata.bands[1]
    whole = make_radiometry(band.annotation, band.calibration, band.noise, denoise=True, ipf="3.52")
    return replace(whole, shape=(3600, whole.shape[1]))


@pytest.fixture(scope="module")
def wrong(short: Radiometry) -> Profiles:
    return read_profiles(short, simulated(short, SCALES))


def test_known_scales_are_recovered(wrong: Profiles) -> None:
    found = {c.swath: c.scale for c in fit(wrong)}
    for swath, scale in SCALES.items():
        assert found[swath] == pytest.approx(scale, abs=0.04)


def test_steps_at_borders_shrink_tenfold(wrong: Profiles) -> None:
    before = banding(wrong)
    after = banding(apply_corrections(wrong, fit(wrong)), wrong)
    assert before.borders == ("EW1/EW2", "EW2/EW3", "EW3/EW4", "EW4/EW5")
    assert max(np.abs(before.step_db)) > 1.0
    assert max(np.abs(after.step_db)) < 0.1
    assert after.rms_nesz < before.rms_nesz / 5


def test_balanced_sigma0_is_nearer_to_the_truth(short: Radiometry, wrong: Profiles) -> None:
    truth = SimulatedMeasurement(short, SCALES).truth(wrong.line)[:, np.rint(wrong.pixel).astype(int)]
    balanced = apply_corrections(wrong, fit(wrong))
    error = [float(np.sqrt(np.nanmean((p.sigma0 - truth) ** 2))) for p in (wrong, balanced)]
    assert error[1] < 0.35 * error[0]


def test_right_noise_is_left_alone(short: Radiometry) -> None:
    fine = read_profiles(short, simulated(short, dict.fromkeys(SCALES, 1.0), seed=3))
    for c in fit(fine):
        assert c.scale == pytest.approx(1.0, abs=0.03)


def scene_profiles(product: Product, seed: int, error: NoiseError) -> list[Profiles]:
    """Profiles of HH and HV of a simulated ice scene at 800 m, one bin a pixel, 25 lines a burst cycle."""
    scene = simulate_scene(seed=seed, spacing_m=800.0, noise_error=error)
    profiles = []
    for k, band in enumerate(product.bands):
        radiometry = make_radiometry(band.annotation, band.calibration, band.noise, denoise=True, ipf="3.52")
        names = tuple(SCALES)
        rows = [slice(i, i + 25) for i in range(0, scene.sizes["line"] - 25, 25)]
        sigma0, nesz = scene.sigma0.values[k].astype(float), scene.nesz.values[k].astype(float)
        pixel = scene.pixel.values
        swath = np.array([_swath_of(radiometry, r.start * 20, r.stop * 20, pixel, names) for r in rows])
        seen = np.array([np.isfinite(sigma0[r]).all(axis=0) for r in rows]) & (swath >= 0)
        middle = np.where(seen, np.array([np.median(np.nan_to_num(sigma0[r]), axis=0) for r in rows]), np.nan)
        noise = np.where(swath >= 0, np.array([np.mean(np.nan_to_num(nesz[r]), axis=0) for r in rows]), np.nan)
        line = np.array([r.start * 20 + 249.5 for r in rows])
        profiles.append(Profiles(line, pixel, middle, noise, swath, names))
    return profiles


@pytest.mark.slow
def test_on_ice_scenes_hv_gains_and_hh_is_not_harmed(ew_metadata: Product) -> None:
    """Ice edges, floes and leads instead of a smooth sea; the truth is the same scene with right noise."""
    errors: dict[str, list[tuple[float, float]]] = {"HH": [], "HV": []}
    for seed in (11, 12, 13, 14, 15):
        rng = np.random.default_rng(seed)
        wrong = NoiseError(scale={(p, s): rng.uniform(0.8, 1.2) for p in ("HH", "HV") for s in SCALES}, burst=0.03)
        measured = scene_profiles(ew_metadata, seed, wrong)
        truth = scene_profiles(ew_metadata, seed, NoiseError())
        for pol, m, t in zip(("HH", "HV"), measured, truth, strict=True):
            balanced = apply_corrections(m, fit(m))
            errors[pol].append(
                tuple(float(np.sqrt(np.nanmean(((x.sigma0 - t.sigma0) / t.nesz) ** 2))) for x in (m, balanced))  # type: ignore[arg-type]
            )
    hv, hh = np.array(errors["HV"]), np.array(errors["HH"])
    assert (hv[:, 1] < hv[:, 0]).all()
    assert np.sqrt((hv[:, 1] ** 2).mean()) < 0.6 * np.sqrt((hv[:, 0] ** 2).mean())
    assert np.sqrt((hh[:, 1] ** 2).mean()) < 1.1 * np.sqrt((hh[:, 0] ** 2).mean())


def test_nothing_to_balance_without_sub_swaths(metadata_products: dict[str, Path]) -> None:
    from frazil.sentinel1.product import open_product

    band = open_product(metadata_products["s4-2025-ipf390"]).bands[0]
    radiometry = make_radiometry(band.annotation, band.calibration, band.noise, denoise=True)

    class Flat:
        def strips(self, bounds: Iterable[tuple[int, int]]) -> Iterator[np.ndarray]:
            for first, stop in bounds:
                yield np.full((stop - first, radiometry.shape[1]), 100, np.uint16)

    flat: Any = Flat()
    result = balance(radiometry, flat)
    assert result.corrections == ()
    assert "corrections" in result.summary()
