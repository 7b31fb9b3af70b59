"""When something was observed: read from attributes or from the name of a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_DAY = re.compile(r"(?<!\d)((?:19|20)\d\d)(\d\d)(\d\d)(?:[T_-]?(\d\d)(\d\d)(\d\d)?)?(?!\d)")
_MONTH = re.compile(r"(?<!\d)((?:19|20)\d\d)(\d\d)(?!\d)")


@dataclass(frozen=True)
class TimeSpan:
    """From when to when, UTC; an instant has both alike."""

    start: datetime
    stop: datetime

    @property
    def middle(self) -> datetime:
        """The middle of the span."""
        return self.start + (self.stop - self.start) / 2

    @property
    def hours(self) -> float:
        """How long it is."""
        return (self.stop - self.start) / timedelta(hours=1)

    def __str__(self) -> str:
        first, last = (f"{t:%Y-%m-%d %H:%M}" for t in (self.start, self.stop))
        if self.start == self.stop:
            return f"{first} UTC"
        if self.stop - self.start == timedelta(days=1) and f"{self.start:%H%M%S}" == "000000":
            return f"{self.start:%Y-%m-%d}"
        return f"{first} to {last} UTC" if first[:10] != last[:10] else f"{first}–{last[11:]} UTC"


def span_of_texts(start: object, stop: object = None) -> TimeSpan | None:
    """A span from ISO texts; None where they are no times."""
    times = [_moment(text) for text in (start, start if stop is None else stop)]
    if times[0] is None or times[1] is None or times[1] < times[0]:
        return None
    return TimeSpan(times[0], times[1])


def span_of_name(name: str) -> TimeSpan | None:
    """The date in the name of a file: a moment, a day or a month; None without one, or with several that differ."""
    found = {span for match in _DAY.finditer(name) if (span := _of_day(match.groups()))}
    if not found:
        found = {span for match in _MONTH.finditer(name) if (span := _of_month(*match.groups()))}
    return found.pop() if len(found) == 1 else None


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text).strip())
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _of_day(parts: tuple[str | None, ...]) -> TimeSpan | None:
    numbers = [int(part) for part in parts if part]
    try:
        start = datetime(*numbers, tzinfo=UTC)  # type: ignore[arg-type,misc]
    except ValueError:
        return None
    return TimeSpan(start, start + timedelta(days=1) if len(numbers) == 3 else start)


def _of_month(year: str, month: str) -> TimeSpan | None:
    if not 1 <= int(month) <= 12:
        return None
    start = datetime(int(year), int(month), 1, tzinfo=UTC)
    return TimeSpan(start, (start + timedelta(days=32)).replace(day=1))
