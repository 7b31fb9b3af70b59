import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.errors import OptionError
from frazil.simulate.noise import autocorrelation_kernel, noise_tile, power_law_noise, resample


def radial_slope(field: np.ndarray, low: float, high: float) -> float:
    """Slope of log power against log wavenumber (cycles per pixel) between two limits."""
    power = np.abs(np.fft.fft2(field)) ** 2
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(field.shape[0]), np.fft.fftfreq(field.shape[1]), indexing="ij"))
    edges = np.geomspace(low, high, 12)
    centre = np.sqrt(edges[1:] * edges[:-1])
    mean = [power[(k >= a) & (k < b)].mean() for a, b in itertools.pairwise(edges)]
    return np.polyfit(np.log(centre), np.log(mean), 1)[0]


@pytest.mark.parametrize("exponent", [2.0, 3.0])
def test_spectrum_falls_with_the_exponent(exponent: float) -> None:
    field = power_law_noise(
        np.random.default_rng(1), (512, 512), spacing_m=1, longest_m=500, shortest_m=2, exponent=exponent, periodic=True
    )
    assert radial_slope(field, 0.01, 0.1) == pytest.approx(-exponent, abs=0.25)


def test_field_has_zero_mean_and_unit_variance() -> None:
    field = power_law_noise(np.random.default_rng(2), (300, 257), spacing_m=100, longest_m=5000, shortest_m=300)
    assert field.dtype == np.float32
    assert field.mean() == pytest.approx(0, abs=1e-3)
    assert field.std() == pytest.approx(1, abs=1e-3)


def test_stretched_field_is_longer_along_its_direction() -> None:
    field = power_law_noise(
        np.random.default_rng(3), (400, 400), spacing_m=1, longest_m=40, shortest_m=4, stretch=5, direction_rad=0.0
    )
    across_lines = np.mean(field[5:] * field[:-5])
    along_pixels = np.mean(field[:, 5:] * field[:, :-5])
    assert along_pixels > across_lines + 0.2


def test_tile_is_periodic() -> None:
    tile = noise_tile(np.random.default_rng(4), 128, longest=40, shortest=8, exponent=3)
    step = np.abs(np.diff(tile, axis=1)).mean()
    assert np.abs(tile[:, 0] - tile[:, -1]).mean() == pytest.approx(step, rel=0.5)


def test_impossible_scales_are_refused() -> None:
    with pytest.raises(OptionError, match="shortest_m <= longest_m"):
        power_law_noise(np.random.default_rng(0), (32, 32), spacing_m=1, longest_m=2, shortest_m=5)
    with pytest.raises(OptionError, match="power of two"):
        noise_tile(np.random.default_rng(0), 100, longest=10, shortest=2, exponent=2)


@settings(max_examples=25, deadline=None)
@given(a=st.floats(-3, 3), b=st.floats(-3, 3), c=st.floats(-3, 3), rows=st.integers(2, 9), columns=st.integers(2, 9))
def test_resampling_keeps_planes(a: float, b: float, c: float, rows: int, columns: int) -> None:
    y, x = np.meshgrid(np.arange(rows, dtype=float), np.arange(columns, dtype=float), indexing="ij")
    fine_y, fine_x = np.linspace(0, rows - 1, 13), np.linspace(0, columns - 1, 17)
    out = np.empty((13, 17))
    resample(a * y + b * x + c, fine_y, fine_x, out)
    np.testing.assert_allclose(out, a * fine_y[:, None] + b * fine_x[None, :] + c, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(width=st.floats(0.6, 4.0))
def test_kernel_gives_the_wanted_correlation(width: float) -> None:
    wanted = np.exp(-((np.arange(16) / width) ** 2))
    kernel = autocorrelation_kernel(wanted)
    assert np.sum(kernel**2) == pytest.approx(1, abs=1e-5)
    white = np.random.default_rng(5).standard_normal(200_000)
    coloured = np.convolve(white, kernel, mode="valid")
    found = [np.mean(coloured[lag:] * coloured[: coloured.size - lag]) for lag in (1, 2, 3)]
    np.testing.assert_allclose(found, wanted[1:4], atol=0.03)
