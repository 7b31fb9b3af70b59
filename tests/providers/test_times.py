"""Times as people write them, against a calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.errors import OptionError
from frazil.providers.times import Span, span


def at(*words: int) -> datetime:
    return datetime(*words, tzinfo=UTC)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("text", "start", "stop"),
    [
        ("2025-02-01", at(2025, 2, 1), at(2025, 2, 2)),
        ("2025-02-01/03", at(2025, 2, 1), at(2025, 2, 4)),
        ("2025-02-27/03-02", at(2025, 2, 27), at(2025, 3, 3)),
        ("2024-12-31/2025-01-01", at(2024, 12, 31), at(2025, 1, 2)),
        ("2024-02", at(2024, 2, 1), at(2024, 3, 1)),
        ("2024-12", at(2024, 12, 1), at(2025, 1, 1)),
        ("2024", at(2024, 1, 1), at(2025, 1, 1)),
        ("2025-02-01T06:00/2025-02-01T18:30:15Z", at(2025, 2, 1, 6), at(2025, 2, 1, 18, 30, 15)),
        ("2025-02-01T06:00+02:00/2025-02-01", at(2025, 2, 1, 4), at(2025, 2, 2)),
    ],
)
def test_spans(text: str, start: datetime, stop: datetime) -> None:
    assert span(text) == Span(start, stop)


@pytest.mark.parametrize(
    "text", ["", "/", "2025-02-30", "yesterday", "2025-02-03/01", "2025-02-01T06:00", "25-2-1", "2025-02-01/",
             "20250201", "2025-02-01/2025-02-01T00:00", "9999-12-31/\x1b[2J"]
)  # fmt: skip
def test_what_is_no_span_is_one_line(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        span(text)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@settings(deadline=None)
@given(st.dates(datetime(1990, 1, 1).date(), datetime(2100, 1, 1).date()), st.integers(0, 400))
def test_days_are_whole(first: object, days: int) -> None:
    last = first + timedelta(days=days)  # type: ignore[operator]
    found = span(f"{first}/{last}")
    assert found.stop - found.start == timedelta(days=days + 1)
    early, late = found.halves()
    assert (early.start, early.stop, late.stop) == (found.start, late.start, found.stop)
