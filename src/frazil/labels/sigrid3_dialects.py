"""Dialects of SIGRID-3: which edition a chart is written in, and its codes in the one table that frazil knows.

The editions number the same things differently. Edition 3.1 writes ice free as concentration 98 and stage 01, shifts
the forms by one (fast ice is 09, which was growlers), moves brash ice to 79 and uses 02 to 73 for thicknesses (70 was
brash ice, and is 200 cm). S-411 has the forms of 3.1 and the stages of 2010. Charts say their edition in their metadata
(``formvern``) or not at all; then their columns and codes do, as far as they can.

References:
    JCOMM Technical Report No. 23, SIGRID-3: 2004; revision 2, 2010; version 3.1, 2017. S-411, version 1.1.0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from frazil.errors import LabelError, OptionError
from frazil.labels.sigrid3 import COLUMNS, code_text, table

DIALECTS = ("2004", "2010", "3.1", "S-411")
#: Ice objects of S-411, which edition 3.1 may use too, and the columns whose values they hold.
ICE_OBJECTS = {
    "ICEACT": ("CT",),
    "ICEAPC": ("CA", "CB", "CC"),
    "ICESOD": ("SA", "SB", "SC"),
    "ICEFLZ": ("FA", "FB", "FC"),
}
_NEW_STAGES = {f"{n:02d}" for n in [*range(2, 55), *range(56, 70), *range(71, 80), 94]}
_OLD = {"concentration": {"00", "55"}, "form": {"00", "21", "22"}, "stage": {"00"}}


def check_dialect(dialect: str | None) -> None:
    """Raise OptionError unless a dialect is one of `DIALECTS`, or None."""
    if dialect is not None and dialect not in DIALECTS:
        raise OptionError(f"dialect {dialect!r} is not one of {list(DIALECTS)}.")


def split_ice_objects(row: Mapping[str, Any]) -> dict[str, str]:
    """The columns CT, CA … FC that the ice objects of a row say: values with commas between, or of two digits each.

    Of five stages the first (a trace of thicker ice) and the last (the rest) are left out. Text that cannot be split
    stays as it is, and is then no known code.
    """
    out: dict[str, str] = {}
    for name, columns in ICE_OBJECTS.items():
        text = str(row.get(name, "")).strip()
        text = "" if code_text(text) == "" else text
        if re.fullmatch(r"\d+(\.0+)?", text) and len(text.split(".")[0]) <= 2:
            values = [code_text(text)]
        elif re.fullmatch(r"(\d\d)+", text):
            values = re.findall(r"\d\d", text)
        else:
            values = [code_text(part) for part in text.split(",")]
        if name == "ICESOD" and len(values) == 5:
            values = values[1:4]
        if len(values) > len(columns):
            values = [text]
        out |= dict(zip(columns, [*values, "", ""], strict=False))
    return out


def find_dialect(rows: Sequence[Mapping[str, str]], columns: Iterable[str], formvern: str | None, source: str) -> str:
    """The dialect of a chart.

    Args:
        rows: POLY_TYPE and the columns of `COLUMNS` of each polygon, as `code_text` writes codes.
        columns: of the file, upper case.
        formvern: what its metadata says, None where there are none.
        source: for messages.

    Raises:
        LabelError: its codes are of two editions, or of another one than its metadata say.
    """
    new, old = _evidence(rows)
    said = _edition(formvern)
    here = set(columns)
    objects = "CT" not in here and "ICEACT" in here
    if said == "3.1" or (said is None and new and not objects):
        found, against = "3.1", old
    elif said is not None:
        found, against = said, [code for code in new if not code.endswith((" 98", " 01"))]
    elif objects:
        hard = [code for code in new if not code.endswith((" 98", " 01", " 94"))]
        found, against = ("3.1", old) if hard else ("S-411", old)
    elif "CF" in here and not here & {"FP", "FS"}:
        found, against = "2004", []
    else:
        found, against = "2010", []
    if against:
        why = f"its metadata say {formvern!r}" if said else f"it uses {', '.join(new[:3])}"
        raise LabelError(
            f"{source}: {why}, and {', '.join(against[:3])}, which SIGRID-3 {found} does not have. Say which edition "
            f"its codes are of: dialect=... (--dialect), one of {', '.join(DIALECTS)}."
        )
    return found


def translate(column: str, code: str, dialect: str, row: Mapping[str, str]) -> str | None:
    """A code of a dialect as the table writes it; None where the dialect does not have it.

    Args:
        column: of `COLUMNS`.
        code: as `code_text` writes it.
        dialect: of `DIALECTS`.
        row: the others of the polygon.
    """
    if code == "":
        return ""
    section = COLUMNS[column]
    words = table()["dialect"][dialect]
    if column == "CT" and code == "98" and row.get("SA") == "98":
        return code  # ice of land origin, not ice free
    if column != "CT" and section == "concentration":
        return code if code in table()[section] else None
    if code in words.get(section, ()):
        return str(words[section][code])
    if dialect == "3.1" and section == "stage" and (thickness := thickness_cm(code)) is not None:
        return next(stage for limit, stage in table()["thickness"].items() if thickness < float(limit))
    if code in words["lacks"].get(section, ()):
        return None
    return code if code in table()[section] else None


def thickness_cm(code: str) -> float | None:
    """The thickness that a stage of edition 3.1 stands for, 02 to 73, in centimetres; None for other stages."""
    n = int(code) if code.isdecimal() else 0
    for first, last, start, step in ((2, 50, 2, 1), (51, 59, 55, 5), (60, 69, 100, 10), (70, 73, 200, 50)):
        if first <= n <= last:
            return float(start + (n - first) * step)
    return None


def chart_rows(
    rows: Iterable[Mapping[str, Any]], columns: Iterable[str], *, dialect: str | None, formvern: str | None, source: str
) -> tuple[list[dict[str, str]], str, dict[str, int]]:
    """Polygons of a chart with codes of the table.

    Args:
        rows: what the file says of each polygon, by upper-case columns.
        columns: of the file, upper case.
        dialect: of `DIALECTS`; None to find out.
        formvern: see `find_dialect`.
        source: for messages.

    Returns:
        POLY_TYPE and `COLUMNS` of each polygon, ``""`` and type N for what the dialect does not have; the dialect; and
        what it does not have: ``"SA 90" -> polygons``.
    """
    check_dialect(dialect)
    here = list(columns)
    objects = "CT" not in here and "ICEACT" in here
    given: list[dict[str, str]] = []
    for row in rows:
        codes = split_ice_objects(row) if objects else {c: code_text(row.get(c, "")) for c in COLUMNS}
        kind = str(row.get("POLY_TYPE", "I")).strip().upper() if "POLY_TYPE" in here else "I"
        given.append({"POLY_TYPE": kind, **codes})
    found = dialect or find_dialect(given, here, formvern, source)
    strange: dict[str, int] = {}

    def unknown(what: str) -> None:
        strange[what] = strange.get(what, 0) + 1

    kinds = table()["polygon_type"]
    out = []
    for row in given:
        known = {column: translate(column, row[column], found, row) for column in COLUMNS}
        for column, code in known.items():
            if code is None:
                unknown(f"{column} {row[column]}")
        if row["POLY_TYPE"] not in kinds:
            unknown(f"POLY_TYPE {row['POLY_TYPE']}")
        elif kinds[row["POLY_TYPE"]][1] == "water" and _is_ice(known["CT"]):
            unknown(f"POLY_TYPE {row['POLY_TYPE']} of CT {row['CT']}")
            row = row | {"POLY_TYPE": "N"}
        kind = row["POLY_TYPE"] if row["POLY_TYPE"] in kinds else "N"
        out.append({"POLY_TYPE": kind, **{column: code or "" for column, code in known.items()}})
    return out, found, strange


def _is_ice(code: str | None) -> bool:
    sic = table()["concentration"].get(code or "", ("", math.nan, 0))[1]
    return sic >= 0.1  # False for NaN: undetermined


def _evidence(rows: Sequence[Mapping[str, str]]) -> tuple[list[str], list[str]]:
    """Codes that only edition 3.1 has, and codes that only earlier ones have."""
    new: dict[str, None] = {}
    old: dict[str, None] = {}
    water = {code for code, (_, meaning) in table()["polygon_type"].items() if meaning == "water"}
    for row in rows:
        for column, section in COLUMNS.items():
            code = row[column]
            if section == "stage" and (code in _NEW_STAGES or (code == "01" and row["POLY_TYPE"] in {"I", *water})):
                new[f"{column} {code}"] = None
            elif (section != "concentration" or column == "CT") and code in _OLD[section]:
                old[f"{column} {code}"] = None
        if row["CT"] == "98" and row["SA"] != "98":
            new["CT 98"] = None
    return list(new), list(old)


def _edition(formvern: str | None) -> str | None:
    """What metadata say: "3", "3.0" and "3.1" are numbered alike; None where it is no edition that is known."""
    text = (formvern or "").strip().lower()
    if re.search(r"\b(v|version|ver\.?)?\s*3(\.\d+)*\b|2014|2017", text):
        return "3.1"
    if re.search(r"2010|2012|\b(rev\w*\.?|v|version)?\s*2(\.\d+)*\b", text):
        return "2010"
    return "2004" if re.search(r"2004|\b(v|version)?\s*1(\.\d+)*\b", text) else None
