"""The large forms of a world of ice: shares that were asked for, distances that are distances, wind that is wind."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.simulate.forms import COARSE, LargeForms, Parameters

SHAPE, SPACING_M = (240, 320), 400.0
EDGE, CONCENTRATION, WIND, POLYNYA, COAST = 0, 1, 4, 6, 7


def parameters(**changes: Any) -> Parameters:
    """Those that large forms look at; all others are 1."""
    looked_at: dict[str, Any] = {
        "ice_fraction": 0.5,
        "edge_rad": 0.7,
        "edge_meander": 0.5,
        "eddies_m": 20e3,
        "crack_heading_rad": 0.3,
        "wind_towards_rad": 1.1,
        "wind_ms": 8.0,
        "land_fraction": 0.0,
        "polynya": False,
    }
    others = {field.name: 1.0 for field in fields(Parameters)}
    return Parameters(**others | looked_at | changes)


def forms(seed: int = 0, land: np.ndarray | None = None, shape: tuple[int, int] = SHAPE, **changes: Any) -> LargeForms:
    return LargeForms(np.random.default_rng(seed), parameters(**changes), shape, SPACING_M, land)


@settings(max_examples=15, deadline=None)
@given(fraction=st.floats(0.05, 0.95), seed=st.integers(0, 10**6), heading=st.floats(0, 2 * np.pi))
def test_ice_covers_what_was_asked_for(fraction: float, seed: int, heading: float) -> None:
    edge = forms(seed, ice_fraction=fraction, edge_rad=heading).fields[EDGE]
    # Eddies that turn the edge keep no area, on so small a world up to a thirtieth of it.
    assert (edge > 0).mean() == pytest.approx(fraction, abs=0.06)


@pytest.mark.parametrize(("fraction", "sign"), [(0.0, -1), (1.0, 1), (-0.5, -1), (1.5, 1)])
def test_all_ice_or_none_has_no_edge(fraction: float, sign: int) -> None:
    edge = forms(ice_fraction=fraction).fields[EDGE]
    assert (np.sign(edge) == sign).all()
    assert np.abs(edge).min() > 1e5


def distance_by_hand(inside: np.ndarray, step_m: float, row: int, column: int) -> float:
    """To the nearest pixel of the other kind, by looking at all of them."""
    other = np.argwhere(inside != inside[row, column])
    metres = float(np.sqrt(((other - (row, column)) ** 2).sum(1)).min()) * step_m
    return metres if inside[row, column] else -metres


def test_the_edge_is_as_far_as_its_nearest_pixel() -> None:
    made = forms(3)
    edge = made.fields[EDGE]
    rng = np.random.default_rng(0)
    for _ in range(40):
        row, column = rng.integers(edge.shape[0]), rng.integers(edge.shape[1])
        assert edge[row, column] == pytest.approx(distance_by_hand(edge > 0, made.step_m, row, column), rel=1e-5)


def test_the_coast_is_that_of_the_land_that_is_given() -> None:
    """Land is seen at every fourth pixel; beyond the world there is none."""
    land = np.zeros(SHAPE, bool)
    land[:80, 100:200] = True
    made = forms(land=land)
    coast = made.fields[COAST]
    small = coast < 0
    np.testing.assert_array_equal(small[:60, :80], land[::COARSE, ::COARSE])
    assert not small[60:].any()
    for row, column in ((10, 30), (50, 50), (0, 0), (19, 26)):
        assert coast[row, column] == pytest.approx(-distance_by_hand(small, made.step_m, row, column), rel=1e-5)


@pytest.mark.parametrize("fraction", [0.1, 0.4])
def test_made_up_land_covers_its_share(fraction: float) -> None:
    coast = forms(land_fraction=fraction).fields[COAST]
    assert (coast < 0).mean() == pytest.approx(fraction, abs=0.01)
    none = forms(land_fraction=0.0).fields[COAST]
    assert (none == 1e6).all()
    empty = forms(land=np.zeros(SHAPE, bool), land_fraction=0.5).fields[COAST]
    assert (empty == 1e6).all(), "a map of the sea is believed"


@settings(max_examples=10, deadline=None)
@given(speed=st.floats(0.1, 40), seed=st.integers(0, 10**6))
def test_wind_is_one_that_blows(speed: float, seed: int) -> None:
    wind = forms(seed, wind_ms=speed, ice_fraction=0.0).fields[WIND]
    assert wind.min() >= np.float32(0.3)
    assert wind.max() <= 30
    if 8 <= speed <= 20:
        assert np.median(wind) == pytest.approx(speed, rel=0.25)


def test_wind_is_weaker_in_the_lee_of_the_ice() -> None:
    """By a quarter at the edge, as far as the noise of a single world lets one see."""
    near, far = [], []
    for seed in range(6):
        made = forms(seed, wind_ms=12.0, ice_fraction=0.3)
        edge, wind = made.fields[EDGE], made.fields[WIND]
        near.append(wind[(edge < 0) & (edge > -4e3)].mean())
        far.append(wind[edge < -40e3].mean())
    assert np.mean(near) / np.mean(far) == pytest.approx(0.8, abs=0.08)


def test_a_polynya_opens_inside_the_ice_and_nowhere_else() -> None:
    found = 0
    for seed in range(6):
        made = forms(seed, polynya=True, ice_fraction=0.8)
        polynya, edge = made.fields[POLYNYA], made.fields[EDGE]
        assert ((polynya >= 0) & (polynya <= 1)).all()
        assert not polynya[edge <= 0].any()
        found += bool(polynya.max() > 0.5)
    assert found >= 4
    assert not forms(polynya=False).fields[POLYNYA].any()
    assert not forms(polynya=True, ice_fraction=0.0).fields[POLYNYA].any()


def test_equal_seeds_make_equal_worlds() -> None:
    one, again, other = forms(5), forms(5), forms(6)
    np.testing.assert_array_equal(one.fields, again.fields)
    assert not np.array_equal(one.fields[EDGE], other.fields[EDGE])


@pytest.mark.parametrize("shape", [(8, 8), (40, 400), (401, 33)])
def test_worlds_of_any_shape(shape: tuple[int, int]) -> None:
    """The coarse grid reaches beyond the world on both sides, so that it can be interpolated."""
    made = forms(shape=shape, polynya=True, land_fraction=0.2)
    assert made.fields.shape[1:] == made.grid
    assert all((n - 1) * COARSE >= s - 1 for n, s in zip(made.grid, shape, strict=True))
    assert made.fields.dtype == np.float32
    assert np.isfinite(made.fields).all()
    assert 0.04 <= made.scale <= 1


def test_noise_fields_have_unit_spread() -> None:
    """Their amplitudes are set where they are used."""
    fields = forms(1).fields
    for i in (CONCENTRATION, 2, 5, 9):
        assert abs(float(fields[i].mean())) < 0.3
        assert float(fields[i].std()) == pytest.approx(1, abs=0.25)
