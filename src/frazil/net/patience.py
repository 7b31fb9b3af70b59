"""How long to wait before a server is asked again.

References:
    RFC 9110, section 10.2.3 (Retry-After): seconds, or a date of the server's clock, which is compared with the Date of
    the same answer and not with the clock here.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from frazil.errors import ArchiveError

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})  #: of status codes after which the same request may succeed


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Waits that double, with chance in them so that many clients do not come back together.

    Attributes:
        tries: without any progress, before it is given up.
        first_s, longest_s: of waits of our own choice.
        longest_asked_s: that a server may ask for; beyond it, it is given up.
        pause: waits.
        chance: gives a number in [0, 1).
    """

    tries: int = 8
    first_s: float = 1.0
    longest_s: float = 60.0
    longest_asked_s: float = 900.0
    pause: Callable[[float], object] = time.sleep
    chance: Callable[[], float] = random.random

    def wait(self, attempt: int, who: str, headers: Mapping[str, str] | None = None) -> None:
        """Wait before the next attempt.

        Args:
            attempt: 0 after the first one failed.
            who: the server, for messages.
            headers: of its answer, if there was one.

        Raises:
            ArchiveError: the server wants more patience than there is.
        """
        asked = None if headers is None else asked_s(headers)
        if asked is not None and asked > self.longest_asked_s:
            raise ArchiveError(
                f"{who} asks to come back in {_words(asked)}: a quota is used up, or it is being maintained. "
                "What came so far stays; run the command again then."
            )
        own = min(self.longest_s, self.first_s * 2.0 ** min(attempt, 20)) * (0.5 + 0.5 * self.chance())
        self.pause(own if asked is None else asked + 0.1 * self.first_s * self.chance())


def asked_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that a ``Retry-After`` asks for, 0 and up; None where there is none that can be read."""
    words = (headers.get("Retry-After") or "").strip()
    if words.isascii() and words.isdigit():
        return float(min(int(words[:9]), 10**8))
    when = _date(words)
    if when is None:
        return None
    now = _date(headers.get("Date") or "") or datetime.now(UTC)
    return max(0.0, (when - now).total_seconds())


def _date(words: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(words)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _words(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
