"""The egg code of a mixture: total and partial concentrations, stages of development, forms.

Codes are those of the table behind `frazil.labels.read_chart` (``frazil/data/sigrid3.toml``); the files of an edition
write some of them otherwise, see `frazil.charts.sigrid3`.

References:
    JCOMM Technical Report No. 23, SIGRID-3, version 3.1 (2017), and revision 2 (2010): columns and code tables.
    WMO No. 259, Sea Ice Nomenclature; Environment and Climate Change Canada, MANICE (2005), chapter 3: the egg.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from frazil.conventions import ClassScheme
from frazil.errors import ContractError

#: Columns of a chart beside POLY_TYPE, in the order of the editions up to 2010.
EGG_COLUMNS = ("CT", "CA", "SA", "FA", "CB", "SB", "FB", "CC", "SC", "FC", "CN", "CD")
#: The stage that stands for a class of ice. A class covers several; none is written that says more than the class does.
STAGES = {
    "sea_ice": "99",
    "brash_pancake": "81",
    "new_ice": "81",
    "young_ice": "83",
    "level_first_year_ice": "86",
    "thin_first_year_ice": "87",
    "thick_first_year_ice": "86",
    "deformed_ice": "95",
    "old_ice": "95",
}
UNDECIDED_SHARE = 0.5  #: from which a region is of unknown concentration
_FREE, _OPEN, _NEARLY, _FULL = 0.01, 0.10, 0.95, 0.995
_LEAST_KIND, _LEAST_TRACE = 0.05, 0.01


@dataclass(frozen=True, kw_only=True)
class Egg:
    """What one polygon of a chart says, each field two digits or ``""``.

    Attributes:
        poly_type: ``"I"`` ice of any concentration, ``"W"`` ice free, ``"L"`` land, ``"N"`` not observed.
        total: CT.
        partial: CA, CB, CC; empty where there is one kind of ice alone.
        stage: SA, SB, SC, the thickest first.
        form: FA, FB, FC.
        thicker: CN, a trace of thicker ice than A.
        thinner: CD, thinner ice than C.
    """

    poly_type: str
    total: str = ""
    partial: tuple[str, str, str] = ("", "", "")
    stage: tuple[str, str, str] = ("", "", "")
    form: tuple[str, str, str] = ("", "", "")
    thicker: str = ""
    thinner: str = ""

    def columns(self) -> dict[str, str]:
        """By POLY_TYPE and `EGG_COLUMNS`."""
        kinds = zip("ABC", self.partial, self.stage, self.form, strict=True)
        parts = {f"{what}{x}": code for x, *codes in kinds for what, code in zip("CSF", codes, strict=True)}
        return {"POLY_TYPE": self.poly_type, "CT": self.total, **parts, "CN": self.thicker, "CD": self.thinner}


LAND, NO_DATA = Egg(poly_type="L"), Egg(poly_type="N")


def egg_of(shares: Sequence[float] | np.ndarray, scheme: ClassScheme, undecided: float = 0.0) -> Egg:
    """The egg of a mixture.

    Total concentration is 1 less the share of open water: below 1 % ice free, below a tenth open water, then whole
    tenths; from 95 % 9+, from 99.5 % ten tenths. Kinds of ice from half a tenth are written, the thickest first, in
    whole tenths that sum to the total (ten of 9+), by largest remainders. Of more than three kinds the least is counted
    with the next thinner one. What is not written, down to 1 %, is a trace: CN if thicker than A, CD if thinner than
    the last. Forms are 99: no floe was measured.

    Args:
        shares: of each class of the scheme, 0 to 1, that sum to 1; the first class is open water, then thicker and
            thicker ice.
        scheme: names the classes.
        undecided: share of which nobody can tell ice from water; from `UNDECIDED_SHARE` the total is 99, unknown.

    Raises:
        ContractError: a class of ice without a stage of development.
    """
    given = np.asarray(shares, dtype=float)
    strange = [c.name for c in scheme.classes[1:] if c.name not in STAGES]
    if strange:
        raise ContractError(f"Class {strange[0]!r} of {scheme.name} has no stage of development in charts.")
    if not given.sum() > 0:
        return NO_DATA
    unknown = ("99", "", "")
    if undecided >= UNDECIDED_SHARE:
        return Egg(poly_type="I", total="99", stage=unknown, form=unknown)
    ice = 1 - given[0]
    if ice < _FREE:
        return Egg(poly_type="W", total="55")
    if ice < _OPEN:
        return Egg(poly_type="I", total="01", stage=unknown, form=unknown)
    total = "92" if ice >= _FULL else "91" if ice >= _NEARLY else f"{max(_tenths(ice), 1)}0"
    tenths = 10 if total in ("91", "92") else int(total) // 10
    stages = ["", *(STAGES[c.name] for c in scheme.classes[1:])]
    kinds = _kinds(given, tenths)
    thickest, thinnest = max(kinds), min(kinds)
    traces = [k for k in range(1, len(given)) if k not in kinds and given[k] >= _LEAST_TRACE]
    above = [k for k in traces if k > thickest]
    below = [k for k in traces if k < thinnest]
    blank = [""] * (3 - len(kinds))
    one, two, three = [*(_partial(n) for n in kinds.values()), *blank] if len(kinds) > 1 else [""] * 3
    first, second, third = [*(stages[k] for k in kinds), *blank]
    form = [*("99" for _ in kinds), *blank]
    return Egg(
        poly_type="I",
        total=total,
        partial=(one, two, three),
        stage=(first, second, third),
        form=(form[0], form[1], form[2]),
        thicker=stages[max(above, key=lambda k: given[k])] if above else "",
        thinner=stages[max(below, key=lambda k: given[k])] if below else "",
    )


def _kinds(shares: np.ndarray, tenths: int) -> dict[int, int]:
    """Classes of ice and their tenths, the thickest first, three at most."""
    amounts = {k: float(shares[k]) for k in range(len(shares) - 1, 0, -1) if shares[k] >= _LEAST_KIND}
    if not amounts:
        amounts = {1 + int(np.argmax(shares[1:])): 1.0}
    while len(amounts) > 3:  # the least is counted with the next thinner one, the thinnest with the next thicker one
        heirs = list(amounts)
        at = heirs.index(min(heirs, key=lambda k: amounts[k]))
        amounts[heirs[at + 1] if at + 1 < len(heirs) else heirs[at - 1]] += amounts.pop(heirs[at])
    while 0 in (parts := largest_remainders(np.array(list(amounts.values())), tenths)):
        del amounts[list(amounts)[len(parts) - 1 - parts[::-1].index(0)]]  # too little for a tenth after all
    return dict(zip(amounts, parts, strict=True))


def _partial(tenths: int) -> str:
    return "92" if tenths == 10 else f"{tenths}0"


def largest_remainders(shares: np.ndarray, total: int) -> list[int]:
    """Whole numbers in proportion to shares that sum to a total; of equal remainders the first gets more."""
    quota = shares / shares.sum() * total
    whole = np.floor(quota + 1e-9).astype(int)
    order = np.argsort(-(quota - whole), kind="stable")
    whole[order[: total - whole.sum()]] += 1
    return [int(n) for n in whole]


def _tenths(share: float) -> int:
    return int(np.floor(10 * share + 0.5))
