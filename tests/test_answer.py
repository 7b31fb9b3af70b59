"""The one rule for what is ice: against a plain restatement, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from frazil.answer import answers, likely_ice, widely_undecided
from frazil.conventions import CLASS_LAND, UNDECIDED
from frazil.percent import whole_percents
from frazil.testing import make_map

WEIGHTS = arrays(np.uint8, st.tuples(st.integers(2, 6), st.just(3), st.just(4)), elements=st.integers(0, 200))


@given(WEIGHTS, st.integers(0, 100))
@settings(deadline=None)
def test_answers_restated(weights: np.ndarray, asked: int) -> None:
    weights[0] += np.uint8((weights.sum(axis=0) == 0).any())
    percent = whole_percents(weights)
    code, confidence, ice = answers(percent, asked)
    for at in np.ndindex(code.shape):
        p = [int(v) for v in percent[(slice(None), *at)]]
        if sum(p) != 100:
            continue
        assert ice[at] == sum(p[1:])
        assert confidence[at] == max(p[0], sum(p[1:])) >= 50
        if max(p[0], sum(p[1:])) < asked:
            assert code[at] == UNDECIDED
        elif sum(p[1:]) < 50:
            assert code[at] == 0
        else:
            assert code[at] == 1 + p[1:].index(max(p[1:]))


def test_more_confidence_asked_for_only_takes_answers_away() -> None:
    percent = make_map(shape=(80, 90), land=0, border=False)["probability"].values
    before = answers(percent, 0)[0]
    assert (before != UNDECIDED).all()
    for asked in (50, 60, 80, 95, 100):
        code = answers(percent, asked)[0]
        told = code != UNDECIDED
        assert (code[told] == before[told]).all()
        assert told.sum() <= (before != UNDECIDED).sum()
        before = code


def test_classes_corrected_by_hand_count_and_not_the_probabilities_under_them() -> None:
    ice_map = make_map(codes=np.full((20, 20), 3, np.uint8))
    ice_map["ice_class"].values[5:9] = 0  # an analyst has looked
    ice_map["ice_class"].values[12:14] = UNDECIDED
    likely = likely_ice(ice_map)
    assert not likely[5:9].any()
    assert likely[[0, 4, 9, 12, 13, 19]].all()  # undecided: the probabilities say ice


def test_likely_ice_holds_all_that_is_called_ice_and_nothing_called_water() -> None:
    ice_map = make_map(shape=(90, 100))
    codes, likely = ice_map["ice_class"].values, likely_ice(ice_map)
    assert likely[(codes > 0) & (codes < 5)].all()
    assert not likely[(codes == 0) | (codes >= CLASS_LAND)].any()


@pytest.mark.parametrize(("spacing_m", "least"), [(120.0, 9), (240.0, 5), (1000.0, 1)])
def test_wide_areas_are_those_that_hold_a_square_of_a_kilometre(spacing_m: float, least: int) -> None:
    for side in (least - 1, least, least + 3):
        codes = np.zeros((60, 60), np.uint8)
        codes[20 : 20 + side, 10:50] = UNDECIDED
        wide = widely_undecided(codes, spacing_m)
        assert wide.any() == (side >= least)
        if wide.any():
            np.testing.assert_array_equal(wide, codes == UNDECIDED)
    codes = np.zeros((40, 40), np.uint8)
    codes[:, :5] = UNDECIDED  # at the border of the map nobody knows how wide it is
    assert widely_undecided(codes, 120.0)[:, :5].all()
