"""Rows of a chart as an edition of SIGRID-3 has them: which columns, of which type and width, and with which codes.

References:
    JCOMM Technical Report No. 23, SIGRID-3: a vector archive format for sea ice georeferenced information and data.
    Revision 2 (2010): seventeen mandatory columns in a fixed order, unused ice columns are -9. Version 3.1 (2017),
    table A-2: three mandatory columns, unused ones are blank; ice free, brash and forms are numbered anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from frazil.charts.eggs import EGG_COLUMNS
from frazil.errors import LabelError, OptionError
from frazil.labels.sigrid3 import code_text, table
from frazil.labels.sigrid3_dialects import translate

EDITIONS = ("3.1", "2010")
_SECTIONS = {"C": "concentration", "S": "stage", "F": "form"}
_ALIKE = {"concentration": "CT", "stage": "SA", "form": "FA"}  # a column of each section
_SAR = "6"  # of table 12, source: satellite synthetic aperture radar


@dataclass(frozen=True)
class Column:
    """A column of the .dbf file.

    Attributes:
        name: ten characters at most.
        kind: ``"C"`` text or ``"N"`` number, as dBASE has them.
        width: characters.
        decimals: of numbers.
        meaning: for the metadata.
    """

    name: str
    kind: Literal["C", "N"]
    width: int
    decimals: int
    meaning: str


_AREA = [
    Column("AREA", "N", 20, 3, "area of the polygon on the ellipsoid, square metres"),
    Column("PERIMETER", "N", 20, 3, "length of its rings on the ellipsoid, metres"),
]
_POLY_TYPE = [Column("POLY_TYPE", "C", 1, 0, "type of polygon: I ice, W ice free, L land, S ice shelf, N no data")]
_MEANINGS = {
    "CT": "total concentration",
    "CA": "partial concentration of the thickest ice",
    "CB": "partial concentration of the second thickest ice",
    "CC": "partial concentration of the third thickest ice",
    "SA": "stage of development of the thickest ice",
    "SB": "stage of development of the second thickest ice",
    "SC": "stage of development of the third thickest ice",
    "FA": "form of the thickest ice",
    "FB": "form of the second thickest ice",
    "FC": "form of the third thickest ice",
    "CN": "stage of development of ice thicker than SA, less than 1/10",
    "CD": "stage of development of any remaining class of ice",
    "FP": "predominant form of ice",
    "FS": "secondary form of ice",
}


def _egg(names: str) -> list[Column]:
    return [Column(name, "C", 2, 0, _MEANINGS[name]) for name in names.split()]


#: Of what frazil measures and SIGRID-3 does not have: column -> (of `frazil.make_chart`, meaning).
EXTRA = {
    "ICE_PCT": ("ice_percent", "mean probability of sea ice of any kind, percent"),
    "UNDEC_PCT": ("undecided_percent", "share of the polygon where ice cannot be told from water, percent"),
    "CONF_PCT": ("confidence_percent", "mean probability of the likelier of ice and water, percent"),
}


def columns_of(edition: str) -> list[Column]:
    """The columns of the polygons of an edition, in its order.

    Raises:
        OptionError: another edition than `EDITIONS`.
    """
    if edition not in EDITIONS:
        raise OptionError(f"edition {edition!r} is not one of {list(EDITIONS)}.")
    extra = [Column(name, "N", 6, 1, meaning) for name, (_, meaning) in EXTRA.items()]
    if edition == "2010":
        return [*_AREA, *_egg(" ".join([*EGG_COLUMNS, "FP", "FS"])), *_POLY_TYPE, *extra]
    return [
        *_AREA,
        *_POLY_TYPE,
        *_egg("CT CA CB CC CN SA SB SC CD FA FB FC FP FS"),
        Column("OP", "C", 1, 0, "primary source of the polygon: 6 satellite synthetic aperture radar"),
        Column("T1", "C", 20, 0, "time of observation, UTC, ISO 8601"),
        *extra,
    ]


#: Of the lines beside the polygons.
LINE_COLUMNS = [
    Column("LENGTH", "N", 20, 3, "length on the ellipsoid, metres"),
    Column("LINE_TYPE", "C", 6, 0, "type of line: ICELNE ice edge"),
    Column("ICE_LOC", "C", 2, 0, "side of the line on which the ice lies: 99 not told"),
]


def row_of(polygon: Mapping[str, Any], edition: str, observed: str) -> dict[str, Any]:
    """What stands in the columns of an edition for a polygon, AREA and PERIMETER apart.

    Args:
        polygon: POLY_TYPE and the columns of the egg with codes of `frazil.read_chart`; columns of `EXTRA`, if any.
        edition: of `EDITIONS`.
        observed: time, ISO 8601.

    Raises:
        LabelError: a code that the edition does not have.
    """
    kind = str(polygon["POLY_TYPE"])
    codes = {name: written(name, code_text(polygon.get(name, "")), edition) for name in EGG_COLUMNS}
    forms = [codes[f"F{x}"] for x in "ABC" if codes[f"F{x}"]]
    codes["FP"] = forms[0] if forms and len(set(forms)) == 1 else "99" if forms else ""
    codes["FS"] = ""
    if codes["CT"] and kind == "W" and not codes["SA"] and edition != "2010":
        codes["SA"] = written("SA", "55", edition)  # from 3.1 on ice free is a stage, too
    if edition == "2010":
        unused = "-9" if kind in ("I", "W") else ""
        codes = {name: code or unused for name, code in codes.items()}
    extra = {name: polygon.get(of) for name, (of, _) in EXTRA.items()}
    return {"POLY_TYPE": kind, **codes, "OP": _SAR if kind in ("I", "W") else "", "T1": observed, **extra}


def written(column: str, code: str, edition: str) -> str:
    """A code as an edition writes it.

    Args:
        column: CT, CA, SA, FA …, CN, CD.
        code: of `frazil.read_chart`; ``""`` for none.
        edition: ``"2010"``, ``"3.1"`` or ``"S-411"``.

    Raises:
        LabelError: the edition has no such code.
    """
    if not code:
        return ""
    section = "stage" if column in ("CN", "CD") else _SECTIONS[column[0]]
    words = table()[section]
    tells = table()["written"][edition]
    found = str(tells.get(section, {}).get(code, code))
    read = translate(_ALIKE[section], found, edition, {})
    if (
        code in tells.get("lacks", {}).get(section, ())
        or code not in words
        or read not in words
        or _meaning(words[read]) != _meaning(words[code])
    ):
        raise LabelError(
            f"{column} {code} has no code in SIGRID-3 {edition}. Correct the chart, or write another edition."
        )
    return found


def _meaning(entry: Any) -> str:
    return str(entry if isinstance(entry, str) else entry[0])
