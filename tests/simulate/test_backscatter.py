import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.errors import OptionError
from frazil.scene.ocean import cmod5n
from frazil.simulate.backscatter import (
    Climate,
    draw_climate,
    expected_sigma0,
    polarization_ratio,
    water_sigma0,
)
from frazil.simulate.forms import Parameters
from frazil.simulate.signatures import FROST_DB, SIGNATURES
from frazil.simulate.world import World, WorldConfig, make_world


def db(power: Any) -> np.ndarray:
    return 10 * np.log10(power)


def uniform_world(code: int, shape: tuple[int, int] = (256, 256), *, wind: float = 8.0, frost: float = 0.5) -> World:
    return World(
        ice_class=np.full(shape, code, np.uint8),
        wind_ms=np.full(shape, wind, np.float32),
        anomaly=np.zeros(shape, np.float32),
        frost=np.full(shape, frost, np.float32),
        wet=0.0,
        parameters=drawn(),
    )


@functools.cache
def drawn() -> Parameters:
    return make_world(WorldConfig(seed=0), (16, 16), 120.0).parameters


wind = st.floats(1.0, 25.0)
angle = st.floats(20.0, 46.0)


@settings(deadline=None)
@given(u=wind, theta=angle)
def test_co_polarised_water_brightens_with_wind_and_darkens_with_angle(u: float, theta: float) -> None:
    here = cmod5n(u, 45.0, theta)
    assert cmod5n(u + 1, 45.0, theta) > here
    assert cmod5n(u, 45.0, theta + 0.5) < here


@settings(deadline=None)
@given(u=st.floats(4, 20), theta=st.floats(28, 46))
def test_upwind_is_brighter_than_downwind_than_crosswind(u: float, theta: float) -> None:
    up, across, down = (cmod5n(u, phi, theta) for phi in (0.0, 90.0, 180.0))
    assert up >= down > across


@pytest.mark.parametrize(
    ("u", "theta", "low", "high"),
    # VV of the open sea as scatterometers and ASAR show it, averaged over direction.
    [(5, 25, -10, -6), (10, 25, -8, -4), (5, 40, -22, -17), (10, 40, -16, -12), (20, 40, -11, -7)],
)
def test_cmod5n_lies_where_the_sea_lies(u: float, theta: float, low: int, high: int) -> None:
    mean = np.mean([cmod5n(u, phi, theta) for phi in range(0, 360, 15)])
    assert low < db(mean) < high


def test_polarization_ratio_grows_from_one() -> None:
    assert polarization_ratio(0.0) == pytest.approx(1)
    assert 2.0 < db(polarization_ratio(35.0)) < 4.0
    assert np.all(np.diff(polarization_ratio(np.arange(0, 60.0))) > 0)


def test_cross_polarised_water_follows_the_wind_and_hardly_the_angle() -> None:
    assert db(water_sigma0(10.0, 30.0, "HV")) == pytest.approx(0.592 * 10 - 35.652, abs=1e-6)
    assert abs(db(water_sigma0(10.0, 45.0, "HV")) - db(water_sigma0(10.0, 20.0, "HV"))) < 1.5
    assert water_sigma0(2.0, 30.0, "HV") < water_sigma0(4.0, 30.0, "HV")


def test_wind_makes_water_as_bright_as_level_ice_in_hh_and_not_in_hv() -> None:
    """The confusion every paper on ice and water names."""
    level = SIGNATURES["level_first_year_ice", "HH"].mean_db
    winds = np.arange(1.0, 15.0, 0.25)
    crossing = np.abs(db(water_sigma0(winds, 30.0, "HH")) - level)
    assert crossing.min() < 0.3
    u = winds[crossing.argmin()]
    assert db(water_sigma0(u, 30.0, "HV")) < SIGNATURES["level_first_year_ice", "HV"].mean_db - 2


@pytest.mark.parametrize("polarization", ["HH", "HV", "VV", "VH"])
@pytest.mark.parametrize(("code", "name"), [(1, "brash_pancake"), (3, "level_first_year_ice"), (4, "deformed_ice")])
def test_means_and_slopes_are_those_of_the_table(code: int, name: str, polarization: str) -> None:
    s = SIGNATURES[name, polarization]
    theta = np.linspace(20, 46, 256, dtype=np.float32)
    field = expected_sigma0(uniform_world(code), theta, polarization, spacing_m=120.0)
    slope, mean = np.polyfit(theta - 30, db(field.mean(axis=0)), 1)
    assert slope == pytest.approx(s.slope_db, abs=0.02)
    assert mean == pytest.approx(s.mean_db, abs=0.25)
    texture = np.std(db(field) - (mean + slope * (theta - 30)))
    assert texture == pytest.approx(s.texture_db, rel=0.15)


def test_frost_flowers_brighten_young_ice() -> None:
    dark, bright = (
        db(expected_sigma0(uniform_world(2, frost=f), np.float32(30), "HH", spacing_m=120.0).mean()) for f in (0.0, 1.0)
    )
    assert bright - dark == pytest.approx(FROST_DB["HH"], abs=0.1)
    level = SIGNATURES["level_first_year_ice", "HH"].mean_db
    assert dark < level < bright


def test_melt_lowers_the_contrast() -> None:
    def contrast(wet: float, pol: str) -> float:
        climate = Climate(wet=wet)
        level, old = (
            expected_sigma0(uniform_world(c), np.float32(30), pol, climate=climate, spacing_m=120.0).mean()
            for c in (3, 4)
        )
        return db(old) - db(level)

    for pol in ("HH", "HV"):
        assert contrast(1.0, pol) < 0.6 * contrast(0.0, pol)


def test_textures_of_two_polarisations_belong_together() -> None:
    hh, hv = (
        db(expected_sigma0(uniform_world(4), np.float32(30), pol, spacing_m=120.0, texture_seed=3))
        for pol in ("HH", "HV")
    )
    assert 0.5 < np.corrcoef(hh.ravel(), hv.ravel())[0, 1] < 0.95


def test_scenes_spread_as_the_table_says() -> None:
    climates = [draw_climate(np.random.default_rng(s), look_deg=0, wet=0) for s in range(400)]
    for key in (("level_first_year_ice", "HH"), ("deformed_ice", "HV"), ("open_water", "HH")):
        offsets = [c.offset_db[key] for c in climates]
        assert np.std(offsets) == pytest.approx(SIGNATURES[key].scene_db, rel=0.15)
    both = [[c.offset_db["young_ice", p] for p in ("HH", "HV")] for c in climates]
    assert np.corrcoef(np.transpose(both))[0, 1] == pytest.approx(0.7, abs=0.1)
    none = draw_climate(np.random.default_rng(1), look_deg=0, wet=0, spread=0)
    assert set(none.offset_db.values()) == {0.0}


def test_unknown_polarisations_are_refused() -> None:
    with pytest.raises(OptionError, match="'XX'"):
        expected_sigma0(uniform_world(0), np.float32(30), "XX", spacing_m=120.0)
    with pytest.raises(OptionError, match="wet=2"):
        Climate(wet=2)
