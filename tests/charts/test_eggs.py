"""Eggs: limits of the tables, tenths that sum, stages that descend, and what a reader makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.charts.eggs import EGG_COLUMNS, LAND, NO_DATA, STAGES, egg_of, largest_remainders
from frazil.conventions import AI4ARCTIC, BINARY, FIVE_CLASSES, METOCEAN, ClassScheme
from frazil.errors import ContractError
from frazil.labels.sigrid3 import ChartSettings, classify, table

SCHEMES = (BINARY, FIVE_CLASSES, AI4ARCTIC)
THICKNESS = ("81", "83", "87", "86", "95")  #: from thin to thick, as far as frazil writes them


def mixed(n: int) -> st.SearchStrategy[list[float]]:
    """Shares of n classes that sum to one, zeros and traces among them."""
    amounts = st.lists(st.one_of(st.just(0.0), st.floats(0, 0.02), st.floats(0, 1)), min_size=n, max_size=n)
    return amounts.filter(lambda v: sum(v) > 1e-6).map(lambda v: [x / sum(v) for x in v])


def test_the_worked_example() -> None:
    """Water 4 %, deformed 10 %, level 56 %, young 29 %, brash 1 %: 9+ over 1 6 3 over old, first-year, young; new."""
    found = egg_of([0.04, 0.01, 0.29, 0.56, 0.10], FIVE_CLASSES).columns()
    want = {"CT": "91", "CA": "10", "SA": "95", "FA": "99", "CB": "60", "SB": "86", "FB": "99", "CC": "30"}
    want |= {"SC": "83", "FC": "99", "CN": "", "CD": "81", "POLY_TYPE": "I"}
    assert found == want
    assert tuple(k for k in found if k != "POLY_TYPE") == EGG_COLUMNS


@pytest.mark.parametrize(
    ("ice", "kind", "total"),
    [
        (0.0, "W", "55"),
        (0.0099, "W", "55"),
        (0.0101, "I", "01"),
        (0.0999, "I", "01"),
        (0.1001, "I", "10"),
        (0.149, "I", "10"),
        (0.151, "I", "20"),
        (0.849, "I", "80"),
        (0.949, "I", "90"),
        (0.951, "I", "91"),
        (0.9949, "I", "91"),
        (0.9951, "I", "92"),
        (1.0, "I", "92"),
    ],
)
def test_total_concentration_changes_where_the_tables_say(ice: float, kind: str, total: str) -> None:
    found = egg_of([1 - ice, ice], BINARY)
    assert (found.poly_type, found.total) == (kind, total)
    assert found.partial == ("", "", "")
    assert found.stage[0] == ("" if kind == "W" else "99")


@settings(deadline=None)
@given(st.sampled_from(SCHEMES).flatmap(lambda s: st.tuples(st.just(s), mixed(len(s.classes)))))
def test_what_must_hold_of_any_egg(case: tuple[ClassScheme, list[float]]) -> None:
    scheme, shares = case
    egg = egg_of(shares, scheme)
    row = egg.columns()
    assert all(code in table()["concentration"] for code in (egg.total, *filter(None, egg.partial)))
    assert all(code in table()["stage"] for code in filter(None, (*egg.stage, egg.thicker, egg.thinner)))
    stages = [s for s in egg.stage if s]
    if egg.total in ("55", "01") or stages == ["99"]:
        assert not any(egg.partial)
        return
    ranks = [THICKNESS.index(s) for s in stages]
    assert ranks == sorted(ranks, reverse=True)
    assert len(set(ranks)) == len(ranks)
    tenths = [10 if c == "92" else int(c) // 10 for c in egg.partial if c]
    assert sum(tenths) == (0 if len(stages) == 1 else 10 if egg.total in ("91", "92") else int(egg.total) // 10)
    assert 0 not in tenths
    if egg.thicker:
        assert THICKNESS.index(egg.thicker) > ranks[0]
    if egg.thinner:
        assert THICKNESS.index(egg.thinner) < ranks[-1]
    assert [f for f in egg.form if f] == ["99"] * len(stages)
    ice = 1 - shares[0]
    assert abs(table()["concentration"][egg.total][1] - ice) <= 0.05 + 1e-9
    if len(stages) == len([s for s in shares[1:] if s >= 0.05]) > 1:  # nothing was put together
        of = {STAGES[c.name]: s for c, s in zip(scheme.classes, shares, strict=True) if s >= 0.05 and c.code}
        scale = sum(tenths) / sum(of.values())
        assert all(abs(n - of[s] * scale) < 1 for n, s in zip(tenths, stages, strict=True))
    assert row["SA"] == egg.stage[0]


@settings(deadline=None)
@given(mixed(5))
def test_a_reader_takes_an_egg_for_what_was_mixed(shares: list[float]) -> None:
    """The classes of `frazil.rasterize_chart`, which read charts of services, from what was written."""
    found = classify(egg_of(shares, FIVE_CLASSES).columns(), FIVE_CLASSES, ChartSettings())
    assert abs(found.sic - (1 - shares[0])) <= 0.05 + 1e-9
    if max(shares[1:]) > 0.93 * (1 - shares[0]) and 1 - shares[0] > 0.86:
        assert found.ice_class == 1 + int(np.argmax(shares[1:]))
    if shares[0] > 0.91:
        assert found.ice_class == 0


def test_the_least_of_four_kinds_is_counted_with_a_neighbour() -> None:
    found = egg_of([0.0, 0.50, 0.09, 0.21, 0.20], FIVE_CLASSES)
    assert (found.stage, found.partial) == (("95", "86", "81"), ("20", "20", "60"))
    found = egg_of([0.0, 0.06, 0.30, 0.34, 0.30], FIVE_CLASSES)
    assert (found.stage, found.partial) == (("95", "86", "83"), ("30", "30", "40"))
    assert found.thinner == "81"


def test_land_and_what_cannot_be_told() -> None:
    assert LAND.columns() == {"POLY_TYPE": "L", **dict.fromkeys(EGG_COLUMNS, "")}
    assert egg_of([0, 0, 0, 0, 0], FIVE_CLASSES) == NO_DATA
    found = egg_of([0.5, 0, 0, 0, 0.5], FIVE_CLASSES, undecided=0.5)
    assert (found.poly_type, found.total, found.stage[0], found.form[0]) == ("I", "99", "99", "99")
    assert egg_of([0.5, 0, 0, 0, 0.5], FIVE_CLASSES, undecided=0.49).total == "50"
    with pytest.raises(ContractError, match="has no stage of development"):
        egg_of(np.full(len(METOCEAN.classes), 0.1), METOCEAN)


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=6), st.integers(1, 10))
def test_largest_remainders_keep_the_total(shares: list[float], total: int) -> None:
    found = largest_remainders(np.array(shares), total)
    assert sum(found) == total
    quota = np.array(shares) / sum(shares) * total
    assert (np.abs(np.array(found) - quota) < 1 + 1e-6).all()
