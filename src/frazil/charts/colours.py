"""The WMO colour codes of ice charts: by total concentration, or by stage of development.

The two exclude each other: a chart says in its legend which one it uses.

References:
    WMO/TD-No. 1215 (JCOMM Technical Report No. 24), Ice Chart Colour Code Standard. Values as the S-411 portrayal has
    them; 10/10 of its own from S-411 1.1 on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from frazil.labels.sigrid3 import code_text, table

ColourCode = Literal["concentration", "stage"]
COLOUR_CODES: tuple[ColourCode, ...] = ("concentration", "stage")
RGB = tuple[int, int, int]


class Entry(NamedTuple):
    """A line of a legend."""

    colour: RGB
    text: str


FREE = Entry((0, 100, 255), "Ice free")
OPEN = Entry((150, 200, 255), "Open water, less than 1/10")
FAST = Entry((150, 150, 150), "Fast ice")
SHELF = Entry((210, 210, 210), "Ice shelf")
UNKNOWN = Entry((255, 255, 255), "Ice or water, could not be told")
NO_STAGE = Entry((255, 255, 255), "Stage of development unknown")
NO_DATA = Entry((255, 255, 255), "Not observed")
#: Warm, and lighter than ice shelf: no grey, which is fast ice.
LAND = Entry((238, 226, 196), "Land")
#: By the upper limit in tenths.
CONCENTRATION = {
    3: Entry((140, 255, 160), "1 to 3 tenths"),
    6: Entry((255, 255, 0), "4 to 6 tenths"),
    8: Entry((255, 125, 7), "7 to 8 tenths"),
    9: Entry((255, 0, 0), "9 tenths, and more than 9"),
    10: Entry((145, 0, 0), "10 tenths"),
}
#: By stage of development, as `frazil.read_chart` writes it.
STAGE = {
    "81": Entry((240, 210, 250), "New ice"),
    "82": Entry((255, 100, 255), "Nilas, ice rind"),
    "83": Entry((170, 40, 240), "Young ice"),
    "84": Entry((135, 60, 215), "Grey ice"),
    "85": Entry((220, 80, 235), "Grey-white ice"),
    "86": Entry((255, 255, 0), "First-year ice"),
    "87": Entry((155, 210, 0), "Thin first-year ice"),
    "88": Entry((215, 250, 130), "Thin first-year ice, first stage"),
    "89": Entry((175, 250, 0), "Thin first-year ice, second stage"),
    "91": Entry((0, 200, 20), "Medium first-year ice"),
    "93": Entry((0, 120, 0), "Thick first-year ice"),
    "95": Entry((180, 100, 50), "Old ice"),
    "96": Entry((255, 120, 10), "Second-year ice"),
    "97": Entry((200, 0, 0), "Multi-year ice"),
}


def entry_of(row: Mapping[str, Any], code: ColourCode) -> Entry:
    """The colour of a polygon and its line in the legend.

    By concentration the upper limit of a range counts. By stage the ice of the largest partial concentration does, of
    equal ones the thicker; below one tenth the stage is not shown.

    Args:
        row: POLY_TYPE, CT, CA … FC of `frazil.make_chart` or `frazil.read_chart`.
        code: which of the two.
    """
    kind = str(row["POLY_TYPE"])
    land = {"L": LAND, "S": SHELF, "N": NO_DATA, "W": FREE}
    if kind in land:
        return land[kind]
    total = code_text(row["CT"])
    if total in ("00", "55"):
        return FREE
    if total in ("01", "02"):
        return OPEN
    if "08" in {code_text(row.get(name, "")) for name in ("FA", "FP")}:
        return FAST
    if code == "stage":
        return STAGE.get(predominant(row), NO_STAGE)
    tenths = upper_tenth(total)
    return UNKNOWN if tenths is None else next(entry for most, entry in CONCENTRATION.items() if tenths <= most)


def upper_tenth(total: str) -> int | None:
    """The upper limit of a concentration, tenths; 9 of more than nine tenths; None where it is unknown."""
    if total not in table()["concentration"] or total in ("98", "99"):
        return None
    if total in ("00", "55", "02"):
        return 0
    if total in ("91", "92"):
        return 9 if total == "91" else 10
    if total == "81":
        return 10
    return int(total[0]) if total[1] == "0" else int(total[1])


def predominant(row: Mapping[str, Any]) -> str:
    """The stage of development of the largest partial concentration; ``""`` without any."""
    stages = [code_text(row.get(f"S{x}", "")) for x in "ABC"]
    tenths = [upper_tenth(code_text(row.get(f"C{x}", ""))) or 0 for x in "ABC"]
    found = [k for k in range(3) if stages[k]]
    return stages[max(found, key=lambda k: (tenths[k], -k))] if found else ""
