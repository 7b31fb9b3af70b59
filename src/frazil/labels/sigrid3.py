"""What the codes of one SIGRID-3 polygon mean: concentration, stage of development, floe size, and an ice class.

The codes themselves are data: ``frazil/data/sigrid3.toml`` and the ``sigrid3`` lists of the class schemes in
`frazil.conventions`.

References:
    JCOMM Technical Report No. 23, SIGRID-3, 2004, 2010 and 2017 (version 3.1): columns and code tables.
    Canadian Ice Service, SIGRID-3 implementation (2006): a kind of ice that is alone has no partial concentration.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from frazil.conventions import AI4ARCTIC, CLASS_LAND, CLASS_NODATA, ClassScheme
from frazil.errors import OptionError

#: Columns of a chart and the section of the table that explains their codes.
COLUMNS = {
    "CT": "concentration",
    "CA": "concentration",
    "CB": "concentration",
    "CC": "concentration",
    "SA": "stage",
    "SB": "stage",
    "SC": "stage",
    "FA": "form",
    "FB": "form",
    "FC": "form",
}
_EMPTY = ("", "-9", "-99", "nan", "none", "null", "<na>")


@dataclass(frozen=True, kw_only=True)
class ChartSettings:
    """When a polygon counts as one kind of ice.

    Attributes:
        dominance: a polygon has a stage of development (and a floe size) if the ice of that class is at least this
            share of all its ice.
        ice_from: concentration from which a polygon is sea ice in ``ice_class``.
        water_to: concentration up to which it is open water there; between the two it has no class, since a pixel of
            it may be either.
    """

    dominance: float = 0.65
    ice_from: float = 0.8
    water_to: float = 0.1

    def __post_init__(self) -> None:
        if not 0.5 < self.dominance <= 1:
            raise OptionError(f"dominance must lie above 0.5 and at most at 1; got {self.dominance}.")
        if not 0 <= self.water_to < self.ice_from <= 1:
            raise OptionError(f"0 <= water_to < ice_from <= 1 is needed; got {self.water_to} and {self.ice_from}.")


@dataclass(frozen=True)
class PolygonClasses:
    """What one polygon says.

    Attributes:
        sic: concentration, 0 to 1; NaN where unknown and on land.
        sic_class: tenths, 0 to 10; 255 where unknown and on land.
        sod_class: code of the AI4ARCTIC scheme; 255 where mixed, unknown and on land.
        floe_class: 0 water, 1 cake ice … 5 vast floe, 6 bergs; 255 where mixed, unknown and on land.
        ice_class: code of the scheme asked for; 254 on land and ice shelf; 255 where mixed and unknown.
    """

    sic: float
    sic_class: int
    sod_class: int
    floe_class: int
    ice_class: int


@lru_cache(maxsize=1)
def table() -> dict[str, dict[str, Any]]:
    """The code table: section -> code -> what it means."""
    with (files("frazil") / "data" / "sigrid3.toml").open("rb") as file:
        return tomllib.load(file)


def floe_names() -> tuple[str, ...]:
    """Names of the floe classes, by code."""
    return tuple(table()["floe_class"]["names"])


def code_text(value: Any) -> str:
    """A code as the table writes it: two digits (``1``, ``1.0`` and ``"01"`` are ``"01"``), ``""`` for none."""
    text = str(value).strip()
    if text.lower() in _EMPTY:
        return ""
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number) or number < 0:
        return ""
    return f"{int(number):02d}" if number == int(number) else text


def classify(row: Mapping[str, str], scheme: ClassScheme, settings: ChartSettings) -> PolygonClasses:
    """What a polygon says.

    Args:
        row: POLY_TYPE and the columns of `COLUMNS`, codes of the table (see `frazil.labels.sigrid3_dialects`); unknown
            ones count as none.
        scheme: of ``ice_class``. A scheme of two classes goes by concentration alone, others also by stage of
            development, whose codes stand in the ``sigrid3`` lists of the scheme.
        settings: thresholds.
    """
    kind = table()["polygon_type"].get(row["POLY_TYPE"], ("", "unknown"))[1]
    if kind == "land":
        return PolygonClasses(math.nan, CLASS_NODATA, CLASS_NODATA, CLASS_NODATA, CLASS_LAND)
    if kind == "unknown":
        return PolygonClasses(math.nan, CLASS_NODATA, CLASS_NODATA, CLASS_NODATA, CLASS_NODATA)
    if kind == "water":  # whatever its concentration is written as: unused fields hold anything
        open_water = row["CT"] == "01"
        return PolygonClasses(0.05 if open_water else 0.0, 0, 0, 0, 0)
    _, sic, sic_class = table()["concentration"].get(row["CT"], ("", math.nan, CLASS_NODATA))
    if sic_class == 0:
        return PolygonClasses(sic, 0, 0, 0, 0)
    shares = _shares(row, sic)
    sod = _dominant(shares, {code: c.code for c in AI4ARCTIC.classes for code in c.sigrid3}, 1, settings.dominance)
    forms = {code: entry[1] for code, entry in table()["form"].items()}
    floe = _dominant(shares, forms, 2, settings.dominance)
    ice_class = CLASS_NODATA
    if sic <= settings.water_to:
        ice_class = 0
    elif sic >= settings.ice_from:
        if len(scheme.classes) == 2:
            ice_class = 1
        else:
            stages = {code: c.code for c in scheme.classes[1:] for code in c.sigrid3}
            ice_class = _dominant(shares, stages, 1, settings.dominance)
    return PolygonClasses(sic, sic_class, sod, floe, ice_class)


def _shares(row: Mapping[str, str], sic: float) -> list[tuple[float, str, str]]:
    """(share of the ice, stage, form) of each kind of ice in a polygon; NaN where the chart does not say."""
    kinds = [(row["C" + x], row["S" + x], row["F" + x]) for x in "ABC" if row["C" + x] or row["S" + x]]
    partial = [float(table()["concentration"].get(c, ("", math.nan))[1]) for c, _, _ in kinds]
    silent = [i for i, value in enumerate(partial) if math.isnan(value)]
    if len(silent) == 1:  # one kind without a number has what the others leave
        partial[silent[0]] = max(sic - sum(p for p in partial if not math.isnan(p)), 0.0)
    # Partial concentrations of a 9+ polygon add up to ten tenths.
    total = max(sic, sum(p for p in partial if not math.isnan(p)))
    return [(p / total if total > 0 else math.nan, s, f) for p, (_, s, f) in zip(partial, kinds, strict=True)]


def _dominant(shares: list[tuple[float, str, str]], classes: dict[str, int], column: int, dominance: float) -> int:
    """The class with at least the share `dominance` of the ice, or 255."""
    sums: dict[int, float] = {}
    found = [classes.get(str(kind[column]), CLASS_NODATA) for kind in shares]
    for (share, *_), code in zip(shares, found, strict=True):
        sums[code] = sums.get(code, 0.0) + share
    if len(sums) == 1 and shares:  # all of one class, whatever the shares
        return found[0]
    best = max(sums, key=lambda code: -1.0 if math.isnan(sums[code]) else sums[code], default=CLASS_NODATA)
    return best if sums.get(best, 0.0) >= dominance - 1e-9 else CLASS_NODATA
