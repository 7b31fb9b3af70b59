"""Noise tables that are doubled, sparse, falling or absurd: nothing is subtracted that the instrument cannot have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from frazil.sentinel1.annotation import Noise, NoiseRange
from frazil.sentinel1.noise import between, continued
from frazil.sentinel1.product import Band, Product
from frazil.sentinel1.radiometry import Radiometry, make_radiometry


@pytest.fixture(scope="module")
def hv(ew_metadata: Product) -> Band:
    return ew_metadata.bands[1]


def with_noise(band: Band, vectors: list[NoiseRange], *, azimuth: bool = False, **options: Any) -> Radiometry:
    noise = replace(band.noise, range=tuple(vectors), azimuth=band.noise.azimuth if azimuth else ())
    usual: dict[str, Any] = {"annotation": band.annotation, "ipf": "3.52"}
    return make_radiometry(calibration=band.calibration, noise=noise, denoise=True, **usual | options)


def vector(band: Band, line: int, value: float | np.ndarray) -> NoiseRange:
    pixel = np.arange(0.0, 10_487, 40)
    microseconds = round(line * band.annotation.azimuth_time_interval_s * 1e6)
    time = band.annotation.first_line_time + np.timedelta64(microseconds, "us")
    return NoiseRange(time=time, pixel=pixel, lut=np.broadcast_to(np.asarray(value, float), pixel.shape).copy())


def eta(radiometry: Radiometry, lines: list[int], pixel: int = 5000) -> np.ndarray:
    at = np.array(lines), np.array([pixel])
    return (radiometry.nesz(*at) * radiometry.amplitude_gain(*at) ** 2)[:, 0]


@pytest.mark.parametrize("azimuth", [False, True])
@pytest.mark.parametrize("doubled", ["all", "one", "zeros first"])
def test_vectors_of_one_time_count_once(hv: Band, azimuth: bool, doubled: str) -> None:
    vectors = list(hv.noise.range)
    copies = {"all": vectors, "one": [vectors[20]], "zeros first": [replace(v, lut=0 * v.lut) for v in vectors]}[
        doubled
    ]
    both = sorted([*copies, *vectors], key=lambda v: v.time)
    at = np.arange(0, 10_708, 331), np.arange(0, 10_487, 331)
    once, twice = (with_noise(hv, v, azimuth=azimuth).nesz(*at) for v in (vectors, both))
    np.testing.assert_array_equal(np.isfinite(twice), np.isfinite(once))
    np.testing.assert_allclose(twice, once, rtol=1e-6)


def test_beyond_the_last_vector_noise_is_limited(hv: Band) -> None:
    close = with_noise(hv, [vector(hv, 0, 1000.0), vector(hv, 2, 1005.0)])
    assert eta(close, [2, 5000, 10_707])[1:] == pytest.approx(1015.0, abs=1)
    early = with_noise(hv, [vector(hv, 9000, 1000.0), vector(hv, 9002, 995.0)])
    assert eta(early, [0]) == pytest.approx(1010.0, abs=1)
    falling = with_noise(hv, [vector(hv, 0, 4000.0), vector(hv, 4000, 100.0)])
    assert (eta(falling, [4001, 6000, 10_707]) >= 89).all()
    assert (eta(falling, [4001, 6000, 10_707]) <= 101).all()


def test_a_series_goes_on_along_its_ends_then_stays() -> None:
    time, values = continued(np.array([10.0, 20.0, 30.0]), np.array([100.0, 101.0, 103.0]), 5.0, 100.0)
    low, weight = between(time, np.array([0.0, 5.0, 15.0, 40.0, 50.0, 90.0]))
    at = (1 - weight) * values[low] + weight * values[np.minimum(low + 1, len(values) - 1)]
    np.testing.assert_allclose(at, [99.5, 99.5, 100.5, 105.0, 107.0, 107.0])


def test_noise_above_a_sigma0_of_one_is_not_subtracted(hv: Band) -> None:
    gain = hv.calibration.sigma_nought[0]
    absurd = with_noise(hv, [vector(hv, line, 1.5 * gain.max() ** 2) for line in (0, 5000, 10_700)])
    assert absurd.blocks == ()
    assert absurd.noise.implausible
    dn = np.full((1, 10_487), 100, np.uint16)
    plain = make_radiometry(hv.annotation, hv.calibration, None, denoise=True, ipf="3.52")
    np.testing.assert_array_equal(absurd.sigma0(dn, 4000), plain.sigma0(dn, 4000))
    part = np.full(263, 900.0)
    part[100:110] = 1e9  # a piece of the table
    partly = with_noise(hv, [vector(hv, line, part) for line in (0, 5000, 10_700)])
    assert eta(partly, [3000], 4200) == pytest.approx(900.0, rel=1e-3)
    assert partly.noise_missing(np.array([3000]), np.array([4200])).all()
    assert partly.noise.implausible


@pytest.mark.parametrize(("ipf", "expected"), [(None, -37.44), ("2.90", -37.44), ("2.91", -37.44), ("3.52", 0.0)])
def test_wave_mode_noise_without_a_manifest(hv: Band, ipf: str | None, expected: float) -> None:
    """Of IPF 2.90 it is 37 dB too high, which nobody needs a version to see."""
    header = replace(hv.annotation.header, mode="WV", swath="WV2", mission="S1B")
    wave = replace(hv.annotation, header=header)
    level = 2e-3 * hv.calibration.sigma_nought[0].mean() ** 2 * 10**3.744
    radiometry = with_noise(hv, [vector(hv, line, level) for line in (0, 10_700)], annotation=wave, ipf=ipf)
    assert radiometry.noise.rescaled_db == expected
    if expected:
        assert eta(radiometry, [5000]) == pytest.approx(level * 10 ** (expected / 10), rel=1e-5)
    else:
        assert radiometry.blocks == ()  # not subtracted: above 1


def test_negative_azimuth_factors_are_left_out(hv: Band) -> None:
    azimuth = tuple(replace(v, lut=np.where(np.arange(v.lut.size) == 3, -5.0, v.lut)) for v in hv.noise.azimuth)
    noise: Noise = replace(hv.noise, azimuth=azimuth)
    radiometry = make_radiometry(hv.annotation, hv.calibration, noise, denoise=True)
    nesz = radiometry.nesz(np.arange(0, 10_708, 10), np.arange(0, 10_487, 500))
    assert np.nanmin(nesz) > 0
