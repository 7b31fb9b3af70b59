"""The colours of the WMO, and the symbols in an egg, against the tables as they are printed."""

from __future__ import annotations

import pytest

from frazil.charts import colours
from frazil.charts.colours import CONCENTRATION, STAGE, entry_of, predominant, upper_tenth
from frazil.charts.symbols import concentration_symbol, form_symbol, stage_symbol, symbols_of
from frazil.labels.sigrid3 import table

#: WMO/TD-No. 1215, both tables.
BY_CONCENTRATION = {
    "ice free": (0, 100, 255),
    "open water": (150, 200, 255),
    "1-3": (140, 255, 160),
    "4-6": (255, 255, 0),
    "7-8": (255, 125, 7),
    "9": (255, 0, 0),
    "10": (145, 0, 0),
    "fast": (150, 150, 150),
    "shelf": (210, 210, 210),
}
BY_STAGE = {
    "81": (240, 210, 250),
    "82": (255, 100, 255),
    "83": (170, 40, 240),
    "84": (135, 60, 215),
    "85": (220, 80, 235),
    "86": (255, 255, 0),
    "87": (155, 210, 0),
    "88": (215, 250, 130),
    "89": (175, 250, 0),
    "91": (0, 200, 20),
    "93": (0, 120, 0),
    "95": (180, 100, 50),
    "96": (255, 120, 10),
    "97": (200, 0, 0),
}


def test_both_tables_are_exact() -> None:
    found = {
        "ice free": colours.FREE.colour,
        "open water": colours.OPEN.colour,
        "fast": colours.FAST.colour,
        "shelf": colours.SHELF.colour,
        **dict(zip(("1-3", "4-6", "7-8", "9", "10"), (e.colour for e in CONCENTRATION.values()), strict=True)),
    }
    assert found == BY_CONCENTRATION
    assert {code: entry.colour for code, entry in STAGE.items()} == BY_STAGE
    for grey in (colours.FAST.colour, colours.SHELF.colour):
        assert max(colours.LAND.colour) - min(colours.LAND.colour) > 30  # land is no grey
        assert max(abs(a - b) for a, b in zip(colours.LAND.colour, grey, strict=True)) > 25


@pytest.mark.parametrize(
    ("total", "entry"),
    [
        *((f"{n}0", "1-3") for n in (1, 2, 3)),
        *((f"{n}0", "4-6") for n in (4, 5, 6)),
        *((f"{n}0", "7-8") for n in (7, 8)),
        ("90", "9"),
        ("91", "9"),
        ("92", "10"),
        ("12", "1-3"),
        ("13", "1-3"),
        ("24", "4-6"),
        ("34", "4-6"),
        ("35", "4-6"),
        ("46", "4-6"),
        ("57", "7-8"),
        ("67", "7-8"),
        ("79", "9"),
        ("89", "9"),
        ("00", "ice free"),
        ("55", "ice free"),
        ("01", "open water"),
        ("02", "open water"),
    ],
)
def test_a_range_has_the_colour_of_its_upper_part(total: str, entry: str) -> None:
    row = {"POLY_TYPE": "I", "CT": total, "SA": "86", "FA": "99"}
    assert entry_of(row, "concentration").colour == BY_CONCENTRATION[entry]


def test_eight_to_ten_tenths_is_the_highest_that_is_not_full() -> None:
    assert entry_of({"POLY_TYPE": "I", "CT": "81", "SA": "86"}, "concentration").colour in (
        BY_CONCENTRATION["9"],
        BY_CONCENTRATION["10"],
    )


def test_stage_is_that_of_the_predominant_kind() -> None:
    row = {"POLY_TYPE": "I", "CT": "91", "CA": "10", "CB": "60", "CC": "30", "SA": "95", "SB": "86", "SC": "83"}
    assert predominant(row) == "86"
    assert entry_of(row, "stage").colour == BY_STAGE["86"]
    row |= {"CA": "45", "CB": "40", "CC": "10"}
    assert predominant(row) == "95"  # the upper limits: five tenths and four
    assert predominant({"SA": "97", "SB": "81"}) == "97"
    assert entry_of({"POLY_TYPE": "I", "CT": "92", "SA": "99"}, "stage") is colours.NO_STAGE
    assert entry_of({"POLY_TYPE": "I", "CT": "01", "SA": "86"}, "stage") is colours.OPEN
    assert entry_of({"POLY_TYPE": "I", "CT": "92", "SA": "86", "FA": "08"}, "stage") is colours.FAST
    assert entry_of({"POLY_TYPE": "I", "CT": "99"}, "concentration") is colours.UNKNOWN
    for kind, entry in (("L", colours.LAND), ("S", colours.SHELF), ("N", colours.NO_DATA), ("W", colours.FREE)):
        assert entry_of({"POLY_TYPE": kind, "CT": ""}, "stage") is entry


def test_upper_tenths_agree_with_the_table_of_codes() -> None:
    for code, (_, share, _) in table()["concentration"].items():
        found = upper_tenth(code)
        if not share >= 0 or code == "99":
            assert found is None
        else:
            assert found is not None
            assert found / 10 >= share - 0.051
            assert found / 10 <= share + 0.36


def test_the_worked_egg() -> None:
    row = {"CT": "91", "CA": "10", "CB": "60", "CC": "30", "SA": "95", "SB": "86", "SC": "83", "FA": "99", "FB": "99"}
    found = symbols_of({**row, "FC": "99", "CN": "", "CD": "81"})
    assert found == ("9+", ("1", "6", "3"), ("7•", "6", "3"), ("X", "X", "X"), "", "1")
    alone = symbols_of({"CT": "92", "CA": "", "SA": "93", "FA": "06", "CN": "97"})
    assert alone == ("10", (), ("4•",), ("6",), "9•", "")


@pytest.mark.parametrize(
    ("code", "symbol"),
    [
        ("81", "1"),
        ("85", "5"),
        ("89", "9"),
        ("91", "1•"),
        ("93", "4•"),
        ("95", "7•"),
        ("96", "8•"),
        ("97", "9•"),
        ("99", "X"),
    ],
)
def test_symbols_of_stages(code: str, symbol: str) -> None:
    assert stage_symbol(code) == symbol


def test_symbols_of_concentrations_and_forms() -> None:
    found = [concentration_symbol(c) for c in ("", "10", "90", "91", "92", "46", "81", "99", "01", "55")]
    assert found == ["", "1", "9", "9+", "10", "4-6", "8-10", "X", "<1", "0"]
    assert [form_symbol(c) for c in ("", "22", "01", "07", "08", "10", "12", "20", "91", "99")] == [
        *("", "0", "1", "7", "8", "9", "~2", "~10", "~9+", "X")
    ]
