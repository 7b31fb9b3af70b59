"""XML of strangers: numbers and times as Python and numpy read them, and attacks in every encoding."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from frazil.errors import ProductError
from frazil.xml_files import MAX_BYTES, number, numbers, read_record, text, time, whole_number


def element(inner: str) -> ET.Element:
    root, child = ET.Element("root"), ET.Element("a")
    child.text = inner
    root.append(child)
    return root


def refused(data: bytes) -> str:
    with pytest.raises(ProductError) as error:
        read_record(lambda root: text(root, "a"), data, "annotation/x.xml")
    assert "\n" not in str(error.value)
    assert "annotation/x.xml" in str(error.value)
    return str(error.value)


TEN = [f"&b{i};" * 10 for i in range(8)]
LAUGHS = "".join(f'<!ENTITY b{i + 1} "{ten}">' for i, ten in enumerate(TEN))
LAUGHS = f'<!DOCTYPE r [<!ENTITY b0 "ha">{LAUGHS}]><r><a>&b8;</a></r>'
ATTACKS = {
    "entities in entities": LAUGHS,
    "a file of this machine": '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r><a>&x;</a></r>',
    "a page of the internet": '<!DOCTYPE r SYSTEM "http://127.0.0.1:9/x.dtd"><r><a>1</a></r>',
    "a parameter entity": '<!DOCTYPE r [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]><r><a>1</a></r>',
    "an empty definition": "<!DOCTYPE r><r><a>1</a></r>",
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "iso-8859-1", "us-ascii"]
)
@pytest.mark.parametrize("declared", [True, False])
def test_definitions_and_entities_are_refused_in_every_encoding(attack: str, encoding: str, declared: bool) -> None:
    name = "utf-8" if encoding == "utf-8-sig" else encoding
    head = f'<?xml version="1.0" encoding="{name}"?>' if declared else ""
    refused((head + ATTACKS[attack]).encode(encoding))


@pytest.mark.parametrize("name", ["utf-7", "utf-32", "ebcdic-cp-us", "cp037", "no-such", "UTF-8\x00", "hz"])
def test_a_definition_hides_behind_no_name_of_an_encoding(name: str, tmp_path: Path) -> None:
    """Whatever a file calls its encoding, nothing of this machine comes out of it."""
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    body = f'<!DOCTYPE r [<!ENTITY x SYSTEM "file://{secret}">]><r><a>&x;</a></r>'
    head = f'<?xml version="1.0" encoding="{name}"?>'
    for codec in ("utf-8", "utf-7", "utf-32", "cp037", "utf-16"):
        assert "hunter2" not in refused((head + body).encode(codec))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_honest_files_are_read_in_every_encoding(encoding: str) -> None:
    name = "utf-8" if encoding == "utf-8-sig" else encoding
    data = f'<?xml version="1.0" encoding="{name}"?><r><a>Ærø</a></r>'.encode(encoding)
    assert read_record(lambda root: text(root, "a"), data, "x") == "Ærø"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<",
        b"<r>",
        b"<r></s>",
        b"\x00" * 100,
        b"<r><a>1</a></r><r/>",
        b"<r>\xff</r>",
        b"no xml",
        b"<r a=1/>",
        b"<r><b/></r>",
    ],
    ids=repr,
)
def test_broken_files_are_refused_in_one_line(data: bytes) -> None:
    refused(data)


def test_files_beyond_any_product_are_refused_before_they_are_parsed() -> None:
    assert "larger" in refused(b"<r><a>" + b" " * MAX_BYTES + b"</a></r>")
    assert "larger" in refused(b"<r>" + b"<a/>" * 1_300_000 + b"</r>")
    assert "larger" in refused(b"<r><a " + b" ".join(b'x%d="1"' % i for i in range(110_000)) + b"/></r>")


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_words(data: bytes) -> None:
    try:
        read_record(lambda root: text(root, "."), data, "x")
    except ProductError as error:
        assert "\n" not in str(error)  # noqa: PT017 - which of the two happens is the question


@given(st.floats(-1e300, 1e300), st.text(" \t\n", max_size=3))
def test_numbers_come_back_to_the_last_digit(value: float, space: str) -> None:
    assert number(element(space + repr(value) + space), "a") == value
    assert number(element(f"{value:.15e}"), "a") == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "1e999", "", " ", "1,5", "0x10", "1 2", "one"])
def test_words_that_are_no_numbers_are_refused(word: str) -> None:
    with pytest.raises(ValueError, match="<a> "):
        number(element(word), "a")


@given(st.floats(-100, 100), st.floats(-100, 100), st.floats(-100, 100))
def test_numbers_beyond_their_bounds_are_refused(value: float, one: float, other: float) -> None:
    least, most = sorted((one, other))
    if least <= value <= most:
        assert number(element(repr(value)), "a", least, most) == value
    else:
        with pytest.raises(ValueError, match="impossible"):
            number(element(repr(value)), "a", least, most)


@given(st.integers(-(10**17), 10**17))
def test_whole_numbers_come_back(value: int) -> None:
    assert whole_number(element(f" {value}\n"), "a") == value


@pytest.mark.parametrize("word", ["1.0", "1e3", "9" * 5000, "", "１x", "--1"])
def test_words_that_are_no_whole_numbers_are_refused_at_once(word: str) -> None:
    with pytest.raises(ValueError, match="<a> "):
        whole_number(element(word), "a")


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
@example([1.7976931348623157e308, -9.9792015476736e291])  # their difference is infinite
@example([-1.7e308, 1.7e308])
def test_tables_come_back_to_the_last_digit(values: list[float]) -> None:
    made = numbers(element("\n ".join(map(repr, values))), "a")
    assert made.dtype == np.float64
    assert made.tolist() == values
    rising = all(b > a for a, b in itertools.pairwise(values))
    if rising:
        numbers(element(" ".join(map(repr, values))), "a", rising=True)
    else:
        with pytest.raises(ValueError, match="does not rise"):
            numbers(element(" ".join(map(repr, values))), "a", rising=True)


@pytest.mark.parametrize("words", ["1 nan 3", "inf", "1 two", "1,2"])
def test_tables_with_a_word_that_is_no_number_are_refused(words: str) -> None:
    with pytest.raises(ValueError, match="<a> "):
        numbers(element(words), "a")


def test_tables_may_hold_what_is_not_finite_where_it_is_asked_for() -> None:
    assert math.isnan(numbers(element("1 nan"), "a", finite=False)[1])


@given(st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2090, 1, 1)))
def test_times_are_those_of_the_calendar(moment: dt.datetime) -> None:
    assert time(element(f" {moment.isoformat()} "), "a") == np.datetime64(moment, "us")


@pytest.mark.parametrize(
    ("word", "want"),
    [
        ("2016-12-31T23:59:60", "2017-01-01T00:00:00"),
        ("2016-12-31T23:59:60.250000", "2017-01-01T00:00:00.25"),
        ("2015-06-30T23:59:60.999999", "2015-07-01T00:00:00.999999"),
        ("2016-12-31T23:59:59.999999", "2016-12-31T23:59:59.999999"),
    ],
)
def test_a_leap_second_is_the_first_of_the_next_minute(word: str, want: str) -> None:
    assert time(element(word), "a") == np.datetime64(want, "us")


@pytest.mark.parametrize(
    "word", ["", "NaT", "2018-13-01T00:00:00", "yesterday", "2018-01-01T25:00:00", "2018-01-01T00:00:61"]
)
def test_words_that_are_no_times_are_refused(word: str) -> None:
    with pytest.raises(ValueError, match=r"a>|datetime|range"):
        time(element(word), "a")


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="<b/c> of <root> is missing"):
        text(element("1"), "b/c")
