"""Spans of time as people write them: ``2025-02-01``, ``2025-02-01/03``, ``2025-02-01T06:00/2025-02-01T18:00``.

What is written as a day, a month or a year is meant whole, also as an end. Times of day are UTC unless they say
otherwise.

References:
    ISO 8601-1:2019, sections 5.5.2 (intervals) and 5.5.2.5 (an end that leaves out what the start says).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from frazil.errors import OptionError, printable

_FORM = "a day (2025-02-01), days (2025-02-01/03, 2025-02-27/2025-03-02), a month (2025-02) or two times in ISO 8601"
_CALENDAR = re.compile(r"(\d{4})(?:-(\d\d?)(?:-(\d\d?))?)?")


@dataclass(frozen=True)
class Span:
    """From a time up to another, which is not part of it; both UTC."""

    start: datetime
    stop: datetime

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%dT%H:%M:%SZ}/{self.stop:%Y-%m-%dT%H:%M:%SZ}"

    def halves(self) -> tuple[Span, Span]:
        """The earlier and the later half."""
        middle = self.start + (self.stop - self.start) / 2
        return Span(self.start, middle), Span(middle, self.stop)


def span(text: str) -> Span:
    """The span that a text means.

    Raises:
        OptionError: it means none, or ends before it begins.
    """
    first, slash, last = (part.strip() for part in text.strip().partition("/"))
    try:
        start, stop = _unit(first)
        if slash:
            stop = _unit(_completed(first, last))[1]
    except (ValueError, OverflowError):
        raise OptionError(f"time {printable(text)[:100]!r} is not {_FORM}.") from None
    if stop <= start:
        raise OptionError(f"time {printable(text)[:100]!r} ends before it begins. Write the earlier time first.")
    return Span(start, stop)


def _completed(first: str, last: str) -> str:
    """The end with the year and month of the start, where it leaves them out."""
    calendar = re.fullmatch(r"(\d{4}-\d\d?-)\d\d?", first)
    if calendar and re.fullmatch(r"\d\d?", last):
        return calendar[1] + last
    if calendar and re.fullmatch(r"\d\d?-\d\d?", last):
        return calendar[1][:5] + last
    return last


def _unit(text: str) -> tuple[datetime, datetime]:
    """The first moment of what a text names, and the first one after it."""
    match = _CALENDAR.fullmatch(text)
    if match is not None:
        year, month, day = (None if part is None else int(part) for part in match.groups())
        start = datetime(int(match[1]), month or 1, day or 1, tzinfo=UTC)
        if day is not None:
            return start, start + timedelta(days=1)
        if month is not None:
            return start, start.replace(year=start.year + month // 12, month=month % 12 + 1)
        return start, start.replace(year=(year or 0) + 1)
    if "T" not in text.upper() and " " not in text:
        raise ValueError(text)
    when = datetime.fromisoformat(text)
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return when, when


def moment(text: str) -> datetime:
    """A time as servers write it, UTC.

    Raises:
        ValueError: it is none.
    """
    if len(text) > 40:
        raise ValueError("no time")
    text = re.sub(r"(\.\d{6})\d+", r"\1", text)
    when = datetime.fromisoformat(text)
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
