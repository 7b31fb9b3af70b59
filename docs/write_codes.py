"""Write docs/reference/chart-codes.md from the tables of the package. A test fails when the page is out of date."""

import tomllib
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from frazil.charts.colours import CONCENTRATION, FAST, FREE, LAND, OPEN, SHELF, STAGE, UNKNOWN, upper_tenth
from frazil.charts.eggs import STAGES
from frazil.charts.sigrid3 import written
from frazil.conventions import CLASS_SCHEMES
from frazil.errors import LabelError
from frazil.labels.sigrid3 import table

TARGET = Path(__file__).parent / "reference" / "chart-codes.md"
HEAD = """# Codes of charts

Written by `make docs` from the tables that frazil reads and writes charts by: `frazil.read_chart` gives the codes of
the first column, whatever edition the file is of; the next columns are what `frazil chart` writes. A dash: the edition
has no such code, and a chart that needs it is refused. S-411 numbers hold for 1.1.0 and for the draft of 1.2.1.

References: JCOMM Technical Report No. 23 (SIGRID-3; 2010, and 3.1 of 2017); JCOMM Ice Information Product Specification
S-411 1.1.0; WMO/TD-No. 1215 (colours); IMO MSC.1/Circ.1519 (POLARIS).
"""
EDITIONS = ("2010", "3.1", "S-411")
Cell = object


def page() -> str:
    """The page as Markdown."""
    codes = table()
    parts = [HEAD, "## Total and partial concentration (CT, CA, CB, CC)\n"]
    parts.append(
        _table(
            ("code", *EDITIONS, "meaning", "colour"),
            (
                (c, *_in("CT", c), meaning, _colour(_of_concentration(c)))
                for c, (meaning, *_) in codes["concentration"].items()
            ),
        )
    )
    parts.append("## Stage of development (SA, SB, SC, CN, CD)\n")
    parts.append(
        _table(
            ("code", *EDITIONS, "meaning", "colour"),
            ((c, *_in("SA", c), meaning, _colour(STAGE.get(c))) for c, meaning in codes["stage"].items()),
        )
    )
    parts.append("## Form of ice (FA, FB, FC)\n\n`frazil chart` measures no floes: it writes 99.\n")
    parts.append(
        _table(
            ("code", *EDITIONS, "meaning"), ((c, *_in("FA", c), meaning) for c, (meaning, *_) in codes["form"].items())
        )
    )
    parts.append("## Polygon types and their colours\n")
    kinds = {"I": "", "W": _colour(FREE), "L": _colour(LAND), "S": _colour(SHELF), "N": ""}
    rows = ((c, codes["polygon_type"][c][0], colour) for c, colour in kinds.items())
    parts.append(_table(("POLY_TYPE", "meaning", "colour"), rows))
    parts.append(
        f"Fast ice (form 08) is {_colour(FAST)} in both colour codes; where ice and water could not be told, "
        f"{_colour(UNKNOWN)} with dots.\n"
    )
    parts.append("## What a class of a map is written as\n")
    titles = {c.name: c.title for s in CLASS_SCHEMES.values() for c in s.classes}
    stages = ((titles[name], code, codes["stage"][code]) for name, code in STAGES.items())
    parts.append(_table(("class", "stage", "meaning"), stages))
    parts.append("## POLARIS: risk index values by ice type\n\nAn unverified transcription of tables 1.3 and 1.4.\n")
    polaris = tomllib.loads((files("frazil") / "data" / "polaris.toml").read_text(encoding="utf-8"))
    for name, words in (("standard", "Ice as it is"), ("decayed", "Ice that was seen to be decayed")):
        parts.append(f"### {words}\n")
        parts.append(_table(("ship", *polaris["columns"]), ((ship, *v) for ship, v in polaris[name].items())))
    return "\n".join(parts)


def _table(head: Iterable[str], rows: Iterable[Iterable[Cell]]) -> str:
    head = tuple(head)

    def line(cells: Iterable[Cell]) -> str:
        return "| " + " | ".join(str(c) or " " for c in cells) + " |"

    return "\n".join([line(head), line("---" for _ in head), *map(line, rows), ""])


def _in(column: str, code: str) -> tuple[str, ...]:
    """What each edition writes for a code."""

    def one(edition: str) -> str:
        try:
            return written(column, code, edition)
        except LabelError:
            return "–"

    return tuple(map(one, EDITIONS))


def _of_concentration(code: str) -> object:
    if code in ("00", "55"):
        return FREE
    if code in ("01", "02"):
        return OPEN
    tenths = upper_tenth(code)
    return None if tenths is None else next(entry for most, entry in CONCENTRATION.items() if tenths <= most)


def _colour(entry: object) -> str:
    return "" if entry is None else "{} {} {}".format(*entry.colour)  # type: ignore[attr-defined]


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
