"""What all settings of a run share."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from frazil.errors import OptionError


class Settings:
    """Read from JSON strictly: a field that is not known is an error."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}


class StrategySettings(Settings):
    """Settings of a way to learn.

    Attributes:
        learns_from: ``"labels"`` of any samples, ``"pool"`` (of patches, most of them without a label), or
            ``"imagettes"``.
        takes: of those that learn from imagettes: networks for an ``"imagette"``, which answer cell by cell, or for a
            ``"patch"``, which name it.
    """

    learns_from: ClassVar[Literal["labels", "pool", "imagettes"]] = "labels"
    takes: ClassVar[str] = ""

    def first_steps_of(self, n_labelled: int) -> int:  # noqa: ARG002 - for those that have a first stage
        """Steps of a first stage on labels alone, given how many samples have one; 0 without such a stage."""
        return 0


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
