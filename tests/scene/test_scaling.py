"""Decibels and [0, 1]."""

from __future__ import annotations

import numpy as np
import pytest

from frazil.errors import OptionError
from frazil.scene.scaling import CHANNELS, FLOOR_DB, Channel, network_input, to_db


def test_decibels_floor_negatives_and_keep_nan() -> None:
    db = to_db(np.array([1.0, 0.01, 0.0, -0.5, np.nan]))
    np.testing.assert_allclose(db, [0.0, -20.0, FLOOR_DB, FLOOR_DB, np.nan], atol=1e-5)
    assert db.dtype == np.float32


@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 1100, 1000)])
def test_decibels_of_any_size_are_those_of_the_formula(shape: tuple[int, ...]) -> None:
    power = np.random.default_rng(4).normal(0.01, 0.01, shape).astype(np.float32)
    expected = 10 * np.log10(np.maximum(power, np.float32(1e-5)))
    db = to_db(power)
    assert np.shape(db) == shape
    np.testing.assert_array_equal(db, expected)
    if len(shape) == 3:  # views of any order
        np.testing.assert_array_equal(to_db(power.T[::-2]), expected.T[::-2])


@pytest.mark.parametrize(("name", "low", "high"), [("hh", -30, 0), ("hv", -35, -5), ("incidence_angle", 19, 46)])
def test_scaling_of_the_thesis(name: str, low: float, high: float) -> None:
    channel = CHANNELS[name]
    values = np.array([low - 5, low, (low + high) / 2, high, high + 5, np.nan])
    np.testing.assert_allclose(channel.scale(values), [0, 0, 0.5, 1, 1, np.nan], atol=1e-6)


def test_channels_know_their_polarisation() -> None:
    assert CHANNELS["nesz_hv"].polarization == "HV"
    assert CHANNELS["incidence_angle"].polarization is None
    with pytest.raises(OptionError, match="below high"):
        Channel(name="hh", low=0.0, high=0.0)


def test_total_power_is_backscatter_and_noise_and_has_no_dark_end() -> None:
    sigma0, nesz = np.array([[[-1e-4, 1e-4, 5e-4]]], np.float32), np.array([[[1.5e-3, 1.5e-3, np.nan]]], np.float32)
    arrays = {"sigma0": sigma0, "nesz": nesz, "incidence_angle": np.full((1, 3), 30.0), "valid": np.ones((1, 3), bool)}
    total, alone = network_input(arrays, ["HV"], (CHANNELS["total_hv"], CHANNELS["hv"]))
    expected = 10 * np.log10([1.4e-3, 1.6e-3, 5e-4])  # where no noise is stated, none is added
    np.testing.assert_allclose(total[0], (expected + 35) / 30, atol=1e-5)
    assert (alone[0, :2] == 0).all()
    assert CHANNELS["total_hv"].polarization == "HV"
    assert [CHANNELS[n].source for n in ("total_hv", "nesz_hv", "hv", "roughness_vv", "incidence_angle")] == [
        "total",
        "nesz",
        "sigma0",
        "sigma0",
        "incidence_angle",
    ]
