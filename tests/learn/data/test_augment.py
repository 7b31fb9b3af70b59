"""Augmentation keeps the mean backscatter, takes texture away and puts speckle back."""

from __future__ import annotations

import numpy as np

from frazil.learn.data.augment import LOOKS, coarsen
from frazil.scene.scaling import CHANNELS, to_db

NAMES = ("hh", "hv", "incidence_angle")


def scaled(power: np.ndarray, name: str) -> np.ndarray:
    return CHANNELS[name].scale(to_db(power))


def power_of(image: np.ndarray, name: str) -> np.ndarray:
    channel = CHANNELS[name]
    return 10 ** ((channel.low + image * (channel.high - channel.low)) / 10)


def test_coarsen_keeps_means_and_replaces_texture_by_speckle() -> None:
    rng = np.random.default_rng(0)
    texture = np.exp(0.8 * rng.normal(size=(256, 256)))
    hh, hv = 0.03 * texture / texture.mean(), np.full((256, 256), 0.003)
    image = np.stack([scaled(hh, "hh"), scaled(hv, "hv"), np.full((256, 256), 0.5)]).astype(np.float32)
    noise = np.stack([np.full_like(hh, 1e-3), np.full_like(hh, 2e-3), np.zeros_like(hh)])
    out = coarsen(image, noise, NAMES, rng)
    np.testing.assert_array_equal(out[2], image[2])
    for i, name in ((0, "hh"), (1, "hv")):
        before, after = power_of(image[i], name), power_of(out[i], name)
        assert abs(10 * np.log10(after.mean() / before.mean())) < 0.2
    hv_out = power_of(out[1], "hv")
    # Speckle of signal and noise together: standard deviation (0.003 + 0.002) / sqrt(looks).
    assert np.isclose(hv_out.std(), 0.005 / np.sqrt(LOOKS), rtol=0.1)
    hh_out = power_of(out[0], "hh")
    assert hh_out.std() / hh_out.mean() < 0.6 * hh.std() / hh.mean()


def test_unobserved_pixels_stay_unobserved() -> None:
    image = np.full((3, 64, 64), 0.4, np.float32)
    image[:, :10] = 0
    out = coarsen(image, np.zeros_like(image), NAMES, np.random.default_rng(1))
    assert (out[:, :10] == 0).all()


def test_total_power_gets_the_speckle_of_its_backscatter() -> None:
    """σ0 + noise and σ0 are two views of one measurement, after the change as before it."""
    rng = np.random.default_rng(4)
    hv, nesz = 0.004 * rng.gamma(20, 1 / 20, (64, 64)), 0.001
    image = np.stack([scaled(hv, "hv"), scaled(hv + nesz, "total_hv")]).astype(np.float32)
    noise = np.stack([np.full_like(hv, nesz), np.zeros_like(hv)])
    out = coarsen(image, noise, ("hv", "total_hv"), rng)
    assert not np.allclose(out, image, atol=1e-3)
    np.testing.assert_allclose(power_of(out[1], "total_hv"), power_of(out[0], "hv") + nesz, rtol=1e-3)
