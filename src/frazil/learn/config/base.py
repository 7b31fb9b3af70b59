"""What all settings of a run share."""

from __future__ import annotations

from typing import Any, ClassVar

from frazil.errors import OptionError


class Settings:
    """Read from JSON strictly: a field that is not known is an error."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}


def check_share(name: str, value: float) -> None:
    """Raise OptionError outside [0, 1]."""
    if not 0 <= value <= 1:
        raise OptionError(f"{name} {value} must lie in [0, 1].")


def check_least(least: float, **values: float) -> None:
    """Raise OptionError where a setting is below what it must be."""
    for name, value in values.items():
        if not value >= least:
            raise OptionError(f"{name} {value} must be {least} or more.")


def check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    """Raise OptionError for a word that is not one of those known."""
    if value not in known:
        raise OptionError(f"{name} {value!r} is not one of {list(known)}.")
