"""The egg: what stands in its rows, and its drawing.

References:
    WMO No. 574, Sea-ice information services in the world; Environment and Climate Change Canada, MANICE (2005),
    chapter 3: symbols of concentration, stage of development and form, and where they stand in the oval.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from frazil.labels.sigrid3 import code_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CONCENTRATION = {"91": "9+", "92": "10", "01": "<1", "02": "<1", "00": "0", "55": "0", "99": "X", "81": "8-10"}
#: Of SIGRID-3, less 80; a dot raises those beyond 9.
_STAGE = {"91": "1•", "93": "4•", "95": "7•", "96": "8•", "97": "9•", "98": "▲•", "99": "X", "70": "–", "80": "0"}
_FORM = {"22": "0", "00": "0", "99": "X", "10": "9"}


class Symbols(NamedTuple):
    """The rows of an egg, from above; what stands outside it in the row of stages.

    Attributes:
        total: Ct.
        partial: Ca Cb Cc; empty where there is one kind of ice.
        stage: Sa Sb Sc.
        form: Fa Fb Fc.
        thicker: So, outside on the left.
        thinner: Sd, outside on the right.
    """

    total: str
    partial: tuple[str, ...]
    stage: tuple[str, ...]
    form: tuple[str, ...]
    thicker: str
    thinner: str


def symbols_of(row: Mapping[str, Any]) -> Symbols:
    """The symbols of a polygon with the columns of `frazil.read_chart`."""
    kinds = [x for x in "ABC" if code_text(row.get(f"S{x}", "")) or code_text(row.get(f"C{x}", ""))]
    partial = [concentration_symbol(code_text(row.get(f"C{x}", ""))) for x in kinds]
    return Symbols(
        concentration_symbol(code_text(row["CT"])),
        tuple(partial) if len(kinds) > 1 else (),
        tuple(stage_symbol(code_text(row.get(f"S{x}", ""))) for x in kinds),
        tuple(form_symbol(code_text(row.get(f"F{x}", ""))) for x in kinds),
        stage_symbol(code_text(row.get("CN", ""))),
        stage_symbol(code_text(row.get("CD", ""))),
    )


def concentration_symbol(code: str) -> str:
    """``"40"`` is 4, ``"91"`` 9+, ``"46"`` 4-6; ``""`` for none."""
    if not code or code in _CONCENTRATION:
        return _CONCENTRATION.get(code, "")
    return code[0] if code[1] == "0" else f"{code[0]}-{code[1]}"


def stage_symbol(code: str) -> str:
    """``"86"`` is 6, ``"95"`` 7•; ``""`` for none."""
    return _STAGE[code] if code in _STAGE else str(int(code) - 80) if code else ""


def form_symbol(code: str) -> str:
    """``"05"`` is 5, ``"12"`` ~2 (strips and patches), ``"99"`` X; ``""`` for none."""
    if not code or code in _FORM:
        return _FORM.get(code, "")
    n = int(code)
    return str(n) if n < 10 else f"~{n - 10}" if n <= 20 else "~9+" if n == 91 else "–"


def draw_egg(axes: Axes, x: float, y: float, width: float, height: float, symbols: Symbols, size: float) -> None:
    """An oval around a point of the axes, in its units, with its rows.

    Args:
        axes: to draw on.
        x: of the middle.
        y: likewise.
        width: of the oval.
        height: likewise.
        symbols: what stands in it.
        size: of the letters, points.
    """
    from matplotlib.patches import Ellipse

    oval = Ellipse((x, y), width, height, facecolor="white", edgecolor="black", linewidth=0.7, zorder=6)
    axes.add_patch(oval)
    rows = [(symbols.total,), symbols.partial, symbols.stage, symbols.form]
    step = height / 4.6
    heights = [y + (1.5 - k) * step for k in range(4)]
    for k in range(3):
        level = (heights[k] + heights[k + 1]) / 2
        half = width / 2 * max(1 - (2 * (level - y) / height) ** 2, 0) ** 0.5
        axes.plot([x - half, x + half], [level, level], color="black", linewidth=0.35, zorder=7)
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": size, "color": "black", "zorder": 8}
    for at, row in zip(heights, rows, strict=True):
        places = [x] if len(row) == 1 else [x + (k - (len(row) - 1) / 2) * width * 0.27 for k in range(len(row))]
        for place, text in zip(places, row, strict=True):
            axes.text(place, at, text, parse_math=False, clip_on=True, **style)
    for side, text in ((-1, symbols.thicker), (1, symbols.thinner)):
        if text:
            axes.text(x + side * width * 0.62, heights[2], text, parse_math=False, clip_on=True, **style)
