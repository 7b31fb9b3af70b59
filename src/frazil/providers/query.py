"""What is asked of a catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from frazil.errors import OptionError
from frazil.providers.areas import Area
from frazil.providers.found import LETTERS, Found
from frazil.providers.times import Span

Mode = Literal["EW", "IW", "SM", "WV"]
Source = Literal["cdse", "asf", "planetary"]


@dataclass(frozen=True, kw_only=True)
class Query:
    """A question to a catalogue.

    Attributes:
        area: where, or None for everywhere.
        span: when acquisitions begin.
        mode: of the radar; SM is stripmap.
        polarization: ``"HH+HV"``, ``"HH"`` and so on, or None for any.
        newest_first: the order.
    """

    area: Area | None
    span: Span
    mode: Mode = "EW"
    polarization: str | None = None
    newest_first: bool = True

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise OptionError(f"mode {self.mode!r} is not one of {list(get_args(Mode))}.")
        if self.polarization is not None and self.polarization not in LETTERS:
            raise OptionError(f"polarisation {self.polarization!r} is not one of {list(LETTERS)}.")

    @property
    def letters(self) -> tuple[str, ...]:
        """Of names that hold the polarisation; none where any does."""
        return () if self.polarization is None else LETTERS[self.polarization]

    @property
    def parts(self) -> list[Any]:
        """Polygons to ask for, or a None."""
        return [None] if self.area is None else self.area.parts

    def wants(self, one: Found) -> bool:
        """Whether a product is what was asked for: catalogues give more, and some less exactly."""
        mode = "SM" if one.mode not in ("EW", "IW", "WV") else one.mode
        kind = "SLC" if self.mode == "WV" else "GRD"
        return (
            mode == self.mode
            and f"_{kind}" in one.name
            and (not self.letters or one.letters in self.letters)
            and self.span.start <= one.start < self.span.stop
            and (self.area is None or self.area.meets(one.footprint))
        )

    def __str__(self) -> str:
        what = f"{self.mode} {self.polarization or 'of any polarisation'}"
        return f"{what}, begun in {self.span}, {'anywhere' if self.area is None else 'over ' + self.area.name}"
