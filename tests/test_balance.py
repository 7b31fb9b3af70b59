"""Residual banding: known wrong noise is found, and only what is wrong is changed."""

from __future__ import annotations

import numpy as np
import pytest

from frazil.sentinel1.balance import apply_corrections, balance, banding, fit, read_profiles
from frazil.sentinel1.product import Product
from frazil.sentinel1.radiometry import Radiometry, make_radiometry

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

    def strips(self, bounds):
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


@pytest.fixture(scope="module")
def short(ew_metadata: Product) -> Radiometry:
    """The real HV radiometry, the first 3600 lines only: seven burst cycles."""
    from dataclasses import replace

    band = ew_metadata.bands[1]
    whole = make_radiometry(band.annotation, band.calibration, band.noise, denoise=True, ipf="3.52")
    return replace(whole, shape=(3600, whole.shape[1]))


@pytest.fixture(scope="module")
def wrong(short: Radiometry):
    return read_profiles(short, SimulatedMeasurement(short, SCALES))


def test_known_scales_are_recovered(wrong) -> None:
    found = {c.swath: c.scale for c in fit(wrong)}
    for swath, scale in SCALES.items():
        assert found[swath] == pytest.approx(scale, abs=0.04)


def test_steps_at_borders_shrink_tenfold(wrong) -> None:
    before = banding(wrong)
    after = banding(apply_corrections(wrong, fit(wrong)), wrong)
    assert before.borders == ("EW1/EW2", "EW2/EW3", "EW3/EW4", "EW4/EW5")
    assert max(np.abs(before.step_db)) > 1.0
    assert max(np.abs(after.step_db)) < 0.1
    assert after.rms_nesz < before.rms_nesz / 5


def test_balanced_sigma0_is_nearer_to_the_truth(short: Radiometry, wrong) -> None:
    truth = SimulatedMeasurement(short, SCALES).truth(wrong.line)[:, np.rint(wrong.pixel).astype(int)]
    balanced = apply_corrections(wrong, fit(wrong))
    error = [float(np.sqrt(np.nanmean((p.sigma0 - truth) ** 2))) for p in (wrong, balanced)]
    assert error[1] < 0.35 * error[0]


def test_right_noise_is_left_alone(short: Radiometry) -> None:
    fine = read_profiles(short, SimulatedMeasurement(short, dict.fromkeys(SCALES, 1.0), seed=3))
    for c in fit(fine):
        assert c.scale == pytest.approx(1.0, abs=0.03)
        assert np.max(np.abs(c.offset)) < 5e-5


def test_burst_errors_are_followed(short: Radiometry) -> None:
    measurement = SimulatedMeasurement(short, SCALES, burst_error=1.0, seed=5)
    profiles = read_profiles(short, measurement)
    before, after = banding(profiles), banding(apply_corrections(profiles, fit(profiles)), profiles)
    assert after.rms_nesz < before.rms_nesz / 3


def test_nothing_to_balance_without_sub_swaths(metadata_products) -> None:
    from frazil.sentinel1.product import open_product

    band = open_product(metadata_products["s4-2025-ipf390"]).bands[0]
    radiometry = make_radiometry(band.annotation, band.calibration, band.noise, denoise=True)

    class Flat:
        def strips(self, bounds):
            for first, stop in bounds:
                yield np.full((stop - first, radiometry.shape[1]), 100, np.uint16)

    result = balance(radiometry, Flat())
    assert result.corrections == ()
    assert "corrections" in result.summary()
