from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.errors import OptionError
from frazil.sentinel1.annotation import Annotation
from frazil.simulate.instrument import (
    NoiseError,
    SpeckleStream,
    band_radiometry,
    draw_noise_error,
    resolution_letter,
    speckle_model,
    template_product,
    true_noise,
)


@pytest.fixture(scope="module")
def annotation() -> Annotation:
    return template_product("ew").bands[0].annotation


def looks_of(field: np.ndarray) -> float:
    return field.mean() ** 2 / field.var()


def neighbour_correlation(field: np.ndarray, axis: int) -> float:
    field = np.moveaxis(field - field.mean(), axis, 0)
    return np.mean(field[1:] * field[:-1]) / np.mean(field**2)


@pytest.fixture(scope="module")
def speckle(annotation: Annotation) -> np.ndarray:
    return SpeckleStream(speckle_model(annotation, "M"), 900, (1,)).take(900)


def test_speckle_of_one_pixel_has_the_looks_of_the_product(speckle: np.ndarray) -> None:
    assert speckle.mean() == pytest.approx(1, abs=0.005)
    assert looks_of(speckle) == pytest.approx(10.7, rel=0.03)
    # The gamma distribution of L looks has skewness 2 / √L.
    skewness = np.mean((speckle - 1) ** 3) / speckle.var() ** 1.5
    assert skewness == pytest.approx(2 / np.sqrt(10.7), rel=0.1)


def test_neighbours_are_correlated_because_resolution_is_coarser_than_spacing(speckle: np.ndarray) -> None:
    # Intensity correlation 2^(-2 (40/r)²) for a Gaussian response of half-power width r = 87 and 93 m.
    assert neighbour_correlation(speckle, 0) == pytest.approx(0.746, abs=0.02)
    assert neighbour_correlation(speckle, 1) == pytest.approx(0.774, abs=0.02)


def test_averages_gain_far_fewer_looks_than_pixels(speckle: np.ndarray, annotation: Annotation) -> None:
    averaged = speckle.reshape(300, 3, 300, 3).mean(axis=(1, 3))
    assert looks_of(averaged) == pytest.approx(19.5, abs=1.2)  # and not 9 × 10.7 = 96
    direct_model = speckle_model(annotation, "M", 3)
    direct = SpeckleStream(direct_model, 900, (2,)).take(900)
    assert looks_of(direct) == pytest.approx(direct_model.looks, rel=0.03)
    assert looks_of(direct) == pytest.approx(looks_of(averaged), rel=0.06)
    for axis in (0, 1):
        assert neighbour_correlation(direct, axis) == pytest.approx(neighbour_correlation(averaged, axis), abs=0.03)


@settings(max_examples=10, deadline=None)
@given(first=st.integers(1, 60), width=st.integers(1, 40))
def test_strips_join_without_a_seam(first: int, width: int) -> None:
    model = speckle_model(template_product("ew").bands[0].annotation, "M")
    whole = SpeckleStream(model, width, (9,)).take(80)
    stream = SpeckleStream(model, width, (9,))
    np.testing.assert_array_equal(np.concatenate([stream.take(first), stream.take(80 - first)]), whole)


def test_unknown_resolutions_are_refused(annotation: Annotation) -> None:
    with pytest.raises(OptionError, match="EW GRDF"):
        speckle_model(annotation, "F")


def test_the_template_is_a_medium_resolution_product() -> None:
    assert resolution_letter(template_product("ew")) == "M"


def test_drawn_errors_differ_by_sub_swath_and_more_in_cross_polarisation(annotation: Annotation) -> None:
    errors = [draw_noise_error(np.random.default_rng(s), annotation) for s in range(200)]
    spread = {pol: np.std([e.scale[pol, "EW3"] for e in errors]) for pol in ("HH", "HV")}
    assert 0.05 < spread["HV"] < 0.15
    assert spread["HH"] < 0.7 * spread["HV"]
    assert len(set(errors[0].scale.values())) == 20


def test_true_noise_is_scaled_by_sub_swath_and_burst(annotation: Annotation) -> None:
    lines, pixels = np.arange(2000, 3000, 10.0), np.array([100.0, 4000.0, 9000.0])
    error = NoiseError(scale={("HV", "EW2"): 1.3}, offset={("HV", "EW5"): 1e-4}, burst=0.0)
    noise = true_noise(error, annotation, "HV", lines, pixels, seed=1)
    np.testing.assert_array_equal(noise.swath[5], [0, 1, 4])
    np.testing.assert_allclose(noise.scale[[0, 1, 4], 0], [1, 1.3, 1])
    np.testing.assert_allclose(noise.offset, [0, 0, 0, 0, 1e-4])
    shaky = true_noise(NoiseError(burst=0.05), annotation, "HV", np.arange(0, 10000, 5.0), pixels, seed=1)
    steps = np.flatnonzero(np.diff(shaky.scale[2]))
    seconds = np.diff(steps) * 5 * annotation.azimuth_time_interval_s
    np.testing.assert_allclose(seconds, 3.04, atol=0.05)
    assert 0.02 < shaky.scale.std() < 0.1


def test_outside_the_sub_swaths_there_is_no_noise_index(annotation: Annotation) -> None:
    noise = true_noise(NoiseError(), annotation, "HV", np.array([0.0, 1000.0]), np.array([5000.0]), seed=0)
    np.testing.assert_array_equal(noise.swath[:, 0], [-1, 1])


def test_radiometry_of_the_template_knows_its_noise() -> None:
    band = template_product("ew").bands[1]
    # Reference value of this product at (1345, 3112), where a single surface through all vectors fails.
    assert band_radiometry(band).nesz(np.array([1345]), np.array([3112]))[0, 0] == pytest.approx(
        1.44546704e-3, rel=1e-3
    )


@pytest.mark.parametrize("wrong", [{"scale": {("HV", "EW1"): -1.0}}, {"burst": 1.5}])
def test_impossible_errors_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="burst"):
        NoiseError(**wrong)
