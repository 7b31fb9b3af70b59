"""Border noise of products before IPF 2.9 is masked on four sides, at any depth, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from frazil.sentinel1.annotation import Noise, NoiseRange
from frazil.sentinel1.product import Band, Product, open_product
from frazil.sentinel1.radiometry import Radiometry, has_border_noise, make_radiometry

SHAPE = (400, 3000)


@pytest.fixture(scope="module")
def old(metadata_products: dict[str, Path]) -> Band:
    return open_product(metadata_products["iw-2015-ipf236"]).bands[0]


def radiometry_of(band: Band, noise: Noise | None = None, ipf: str | None = "2.36") -> Radiometry:
    """Of the first lines and pixels of the real product of 2015, whose noise table is all zeros."""
    a = replace(band.annotation, n_lines=SHAPE[0], n_pixels=SHAPE[1], swath_bounds=())
    return make_radiometry(a, band.calibration, noise or band.noise, denoise=True, ipf=ipf)


def observed(radiometry: Radiometry, sigma0_db: float, seed: int = 0) -> np.ndarray:
    """Digital numbers of a homogeneous surface, with the speckle of IW GRDH (4.4 looks)."""
    rng = np.random.default_rng(seed)
    gain = radiometry.amplitude_gain(np.arange(SHAPE[0]), np.arange(SHAPE[1]))
    power = 10 ** (sigma0_db / 10) * rng.gamma(4.4, 1 / 4.4, SHAPE)
    return np.rint(np.sqrt(power) * gain).astype(np.uint16)


def border_noise(shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 9, shape).astype(np.uint16)


def sigma0_of(radiometry: Radiometry, dn: np.ndarray) -> np.ndarray:
    return radiometry.with_border(lambda first, stop: dn[first:stop]).sigma0(dn, 0)


@pytest.mark.parametrize("sigma0_db", [-14.0, -27.0, -29.0])
def test_a_scene_without_border_noise_loses_nothing(old: Band, sigma0_db: float) -> None:
    radiometry = radiometry_of(old)
    lost = np.isnan(sigma0_of(radiometry, observed(radiometry, sigma0_db)))
    assert lost.sum() <= 10  # a few of 800 border pixels, whose speckle alone lies below the threshold


@pytest.mark.parametrize("sigma0_db", [-14.0, -27.0])
def test_four_sides_at_any_depth(old: Band, sigma0_db: float) -> None:
    radiometry = radiometry_of(old)
    dn = observed(radiometry, sigma0_db)
    border = np.zeros(SHAPE, bool)
    border[:150] = True  # whole lines: the data take begins here
    border[-30:] = True
    border[:, :900] = True
    border[:, -77:] = True
    border[150:230, 1500:2000] = True  # a sub-swath that begins later than its two neighbours
    dn[border] = border_noise(SHAPE)[border]
    dn[300:310, 1700:1800] = 2  # dark inside the image: no border
    lost = np.isnan(sigma0_of(radiometry, dn))
    assert lost[border].mean() > 0.998  # 8 pixels at either edge of the late sub-swath are left
    assert lost[:150].all()
    assert lost[:, :900].all()
    assert lost[~border].sum() < 400
    assert np.isfinite(sigma0_of(radiometry, dn)[300:310, 1700:1800]).all()


def test_strips_and_windows_agree_with_the_whole(old: Band) -> None:
    radiometry = radiometry_of(old)
    dn = observed(radiometry, -20.0)
    dn[:100] = border_noise((100, SHAPE[1]))
    dn[:, :70] = border_noise((SHAPE[0], 70))
    whole = radiometry.with_border(lambda first, stop: dn[first:stop])
    parts = [whole.sigma0(dn[y : y + 37], y) for y in range(0, SHAPE[0], 37)]
    np.testing.assert_array_equal(np.concatenate(parts), whole.sigma0(dn, 0))


def test_where_noise_is_known_it_is_the_measure(old: Band) -> None:
    """Dark sea that hardly rises above the noise stays; half of the noise and less is no observation."""
    gain = radiometry_of(old).gain[0]
    pixel = np.arange(0.0, SHAPE[1], 40)
    eta = 10 ** (-22 / 10) * gain[pixel.astype(int)] ** 2
    vector = NoiseRange(time=old.annotation.first_line_time, pixel=pixel, lut=eta)
    noise = Noise(range=(vector,), azimuth=(), legacy=True)
    radiometry = radiometry_of(old, noise)
    assert np.isnan(sigma0_of(radiometry, observed(radiometry, -21.9))).sum() <= 10
    dn = observed(radiometry, -14.0)
    dn[:, :200] = observed(radiometry, -29.0)[:, :200]
    lost = np.isnan(sigma0_of(radiometry, dn))
    assert lost[:, :190].mean() > 0.99
    assert lost[:, 200:].sum() < 10


def test_the_age_of_a_product_without_a_manifest(
    old: Band, ew_metadata: Product, metadata_products: dict[str, Path]
) -> None:
    assert has_border_noise(old.annotation, old.noise, None)  # by the layout of its noise
    assert has_border_noise(old.annotation, None, None)  # by its date
    assert not has_border_noise(old.annotation, old.noise, "2.91")
    for band in (ew_metadata.bands[0], open_product(metadata_products["s4-2025-ipf390"]).bands[0]):
        assert not has_border_noise(band.annotation, band.noise, None)
        assert not has_border_noise(band.annotation, None, None)
    assert radiometry_of(old, ipf=None).border is not None
