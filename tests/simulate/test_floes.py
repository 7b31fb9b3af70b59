import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.simulate.floes import crack_network, floe_diameters, floe_outlines, place_floes


def cumulative_slope(diameters: np.ndarray, low: float, high: float) -> float:
    """Slope of log N(>D) against log D between two limits."""
    at = np.geomspace(low, high, 12)
    number = [(diameters > d).sum() for d in at]
    return np.polyfit(np.log(at), np.log(number), 1)[0]


@settings(max_examples=15, deadline=None)
@given(exponent=st.floats(1.2, 3.0), seed=st.integers(0, 1000))
def test_diameters_follow_the_power_law(exponent: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    d = floe_diameters(rng, area_m2=3e11, cover=0.5, smallest_m=500, largest_m=30e3, exponent=exponent)
    assert (np.diff(d) <= 0).all()
    assert d.min() >= 500
    assert d.max() <= 30e3
    assert cumulative_slope(d, 600, 3000) == pytest.approx(-exponent, abs=0.2)


def test_floes_are_as_many_as_cover_the_area() -> None:
    d = floe_diameters(np.random.default_rng(1), area_m2=1e11, cover=0.4, smallest_m=500, largest_m=5e3, exponent=1.8)
    assert np.sum(np.pi / 4 * d**2) == pytest.approx(0.4e11, rel=0.05)


def test_outlines_have_the_area_of_their_diameter() -> None:
    d = np.full(500, 20.0)
    outline = floe_outlines(np.random.default_rng(2), d)
    y, x = outline[..., 0], outline[..., 1]
    area = 0.5 * np.abs(np.sum(x * np.roll(y, -1, 1) - y * np.roll(x, -1, 1), axis=1))
    np.testing.assert_allclose(area, np.pi / 4 * 400, rtol=1e-3)


def test_drawn_floes_keep_the_size_distribution() -> None:
    """What counts is the raster: areas of labels, by regression, give the exponent back."""
    rng = np.random.default_rng(3)
    d = floe_diameters(rng, area_m2=1500**2, cover=0.25, smallest_m=5, largest_m=150, exponent=1.8)
    labels = np.zeros((1500, 1500), np.int32)
    tries = rng.random((d.size, 12, 3), dtype=np.float32)
    n = place_floes(labels, floe_outlines(rng, d), tries, np.ones((10, 10), np.float32), 150.0, 0.0)
    area = np.bincount(labels.ravel())[1:]
    assert area.size == n
    measured = 2 * np.sqrt(area / np.pi)
    assert cumulative_slope(measured, 7, 40) == pytest.approx(-1.8, abs=0.3)
    assert (labels > 0).mean() == pytest.approx(0.25, abs=0.06)


def test_floes_stay_where_they_are_accepted() -> None:
    rng = np.random.default_rng(4)
    labels = np.zeros((400, 400), np.int32)
    accept = np.zeros((4, 4), np.float32)
    accept[:, :2] = 1
    d = np.full(200, 8.0)
    place_floes(labels, floe_outlines(rng, d), rng.random((200, 8, 3), dtype=np.float32), accept, 100.0, 0.1)
    assert (labels[:, :200] > 0).any()
    assert not (labels[:, 216:] > 0).any()


def test_cracks_are_thin_and_long() -> None:
    labels = np.zeros((600, 600), np.int32)
    last = crack_network(np.random.default_rng(5), labels, count=20, longest=500, widest=3, heading_rad=0.5)
    assert last > 20  # branches
    drawn = labels > 0
    assert 0.002 < drawn.mean() < 0.15
    # A thin line loses nearly all its pixels to one erosion; a blob would not.
    from scipy import ndimage

    assert ndimage.binary_erosion(drawn, iterations=2).sum() < 0.1 * drawn.sum()
    first = np.argwhere(labels == np.bincount(labels[drawn]).argmax())
    extent = np.hypot(*(first.max(0) - first.min(0)))
    assert extent > 10 * len(first) / extent  # length against mean width
