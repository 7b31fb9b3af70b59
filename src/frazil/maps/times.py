"""When something was observed: read from attributes or from the name of a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from frazil.errors import ContractError

_DAY = re.compile(r"(?<!\d)((?:19|20)\d\d)(\d\d)(\d\d)(?:[T_-]?(\d\d)(\d\d)(\d\d)?)?(?!\d)")
_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
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


#: Attributes of a time coordinate that counts seconds as `seconds_of` gives them (CF 1.11, section 4.4).
TIME = {
    "standard_name": "time",
    "long_name": "time of observation",
    "units": "seconds since 1970-01-01",
    "calendar": "standard",
    "units_metadata": "leap_seconds: none",
    "axis": "T",
    "bounds": "time_bnds",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def seconds_of(span: TimeSpan) -> tuple[float, float, float]:
    """Start, middle and stop of a span in the units of `TIME`."""
    first, middle, last = ((moment - _EPOCH).total_seconds() for moment in (span.start, span.middle, span.stop))
    return first, middle, last


def span_of_texts(start: object, stop: object = None) -> TimeSpan | None:
    """A span from ISO texts; None where they are no times."""
    times = [_moment(text) for text in (start, start if stop is None else stop)]
    if times[0] is None or times[1] is None or times[1] < times[0]:
        return None
    return TimeSpan(times[0], times[1])


def moment_of(text: object) -> datetime:
    """The moment, UTC, that the ISO text of a map's attribute means.

    Raises:
        ContractError: it is no time.
    """
    try:
        time = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError as error:
        raise ContractError(f"Time {text!r} of the map is not ISO 8601, as 2018-01-16T07:54:30Z.") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def moment_since(number: float, units: str, calendar: str = "standard") -> datetime | None:
    """The moment that a number means in CF units (``days since 1601-01-01 00:00:00``), None where it means none.

    In the standard calendar reference times before 15 October 1582 are of another count of days, and give None.
    """
    match = re.fullmatch(r"\s*(\w+)\s+since\s+(.+?)\s*", units, re.IGNORECASE)
    if not match or calendar not in ("standard", "gregorian", "proleptic_gregorian"):
        return None
    seconds = _SECONDS.get(match[1].lower())
    text = re.sub(r"\s*(UTC|Z)$", "", match[2], flags=re.IGNORECASE)
    date = re.match(r"(\d{1,4})-(\d{1,2})-(\d{1,2})(.*)", text)
    if seconds is None or not date:
        return None
    start = _moment(f"{int(date[1]):04d}-{int(date[2]):02d}-{int(date[3]):02d}{_clock(date[4])}")
    if start is None or (calendar != "proleptic_gregorian" and start < datetime(1582, 10, 15, tzinfo=UTC)):
        return None
    try:
        moment = start + timedelta(seconds=number * seconds)
    except (OverflowError, ValueError):
        return None
    return (moment + timedelta(milliseconds=500)).replace(microsecond=0)  # CF numbers are floats


def _clock(text: str) -> str:
    """The time of day of a reference time, written with two digits."""
    match = re.fullmatch(r"[T ]\s*(\d{1,2})(?::(\d{1,2}))?(?::(\d{1,2})(?:\.\d*)?)?\s*([+-]\d{1,2}:?\d{2})?", text)
    if not match:
        return text
    return "T{:02d}:{:02d}:{:02d}".format(*(int(v or 0) for v in match.groups()[:3])) + (match[4] or "")


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
