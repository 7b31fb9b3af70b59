"""Numbers of patches that cannot be: physics says which can."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frazil.errors import LabelError
from frazil.labels.possible import refuse_impossible, refuse_outside

NAMES, UNITS = ("hh", "incidence_angle", "other"), ("dB", "degree", "1")


def image(hh: float = -12.0, angle: float = 35.0, other: float = 1e9) -> np.ndarray:
    made = np.empty((4, 3, 5, 6), np.float32)
    made[:, 0], made[:, 1], made[:, 2] = hh, angle, other
    return made


def test_what_radar_measures_is_taken() -> None:
    """From the noise of the quietest instrument to a corner reflector: σ0 of 10⁻⁵ to 10⁶, everywhere on Earth."""
    for db in (-50.0, -30.0, 0.0, 60.0):
        refuse_impossible(
            image(db), NAMES, UNITS, {"latitude": np.array([-90.0, 90.0]), "longitude": np.array([-180.0, 360.0])}
        )


@pytest.mark.parametrize(
    ("hh", "angle"), [(-151.0, 35.0), (101.0, 35.0), (255.0, 35.0), (-12.0, -1.0), (-12.0, 91.0), (-12.0, 255.0)]
)
def test_one_pixel_that_cannot_be_is_enough(hh: float, angle: float) -> None:
    made = image()
    made[3, 0, 4, 5], made[3, 1, 4, 5] = hh, angle
    with pytest.raises(LabelError, match="hh|incidence_angle") as error:
        refuse_impossible(made, NAMES, UNITS, {})
    assert "\n" not in str(error.value)
    assert f"{hh if hh != -12 else angle:.4g}" in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"), [("latitude", 90.5), ("latitude", -91.0), ("longitude", 361.0), ("longitude", -400.0)]
)
def test_places_that_are_not_on_earth_are_refused(name: str, value: float) -> None:
    for values in (np.array([0.0, value, np.nan]), np.float64(value), [value]):
        with pytest.raises(LabelError, match=name):
            refuse_impossible(image(), NAMES, UNITS, {name: values})  # type: ignore[dict-item]


def test_what_is_not_known_is_not_judged() -> None:
    made = image()
    made[0, :2] = np.nan
    made[1, :2] = np.inf
    refuse_impossible(made, NAMES, UNITS, {"latitude": np.full(4, np.nan)})
    refuse_impossible(made[:0], NAMES, UNITS, {"latitude": np.zeros(0)})


@given(st.lists(st.floats(width=32), max_size=20), st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_values_are_refused_exactly_where_a_finite_one_lies_outside(
    values: list[float], least: float, width: float
) -> None:
    most = least + width
    inside = all(least <= v <= most for v in values if math.isfinite(v))
    try:
        refuse_outside("x", np.array(values, np.float64), "dB", least, most)
    except LabelError as error:
        assert not inside
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert inside
