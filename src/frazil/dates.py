"""When a file was made; the same whenever asked, for those who want the same bytes again.

References:
    Reproducible Builds, SOURCE_DATE_EPOCH specification: seconds since 1970, in the environment.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

_NAME = "SOURCE_DATE_EPOCH"


def fixed_date() -> datetime | None:
    """The date that the environment variable ``SOURCE_DATE_EPOCH`` gives, UTC; None where it is not set, or is none."""
    text = os.environ.get(_NAME, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 11):
        return None
    return datetime.fromtimestamp(int(text), UTC)


def date_made() -> datetime:
    """What files bear as their date, UTC: now, or `fixed_date`."""
    return fixed_date() or datetime.now(UTC)
