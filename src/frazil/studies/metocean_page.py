"""Tables and pictures of the metocean studies, from their rows."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from frazil.errors import OptionError
from frazil.files import whole_output

Row = dict[str, Any]

#: Mean Dice of C, table 2, percent, by our name of the method.
PUBLISHED = {
    "U-Net, equation 1": 40.5, "MASK, v = mean": 15.2, "MASK, v = 0": 17.4, "PART, 75 px": 30.6, "PART, 129 px": 34.5,
    "CAM": 19.3, "IM2PX": 28.2,
}  # fmt: skip
#: Accuracy of C, table 1, percent: metres -> (validation, independent test).
PUBLISHED_ACCURACY = {50: (99, 77), 100: (98, 75), 200: (93, 66), 340: (88, 59)}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval (Student); NaN for fewer than two values."""
    x = np.asarray(values, float)
    if x.size < 2:
        return float(x.mean()) if x.size else math.nan, math.nan
    return float(x.mean()), float(stats.t.ppf(0.975, x.size - 1) * x.std(ddof=1) / math.sqrt(x.size))


def shown(values: Sequence[float], factor: float = 100.0) -> str:
    """Mean ± interval, one decimal; the mean alone without an interval."""
    mean, half = interval([v * factor for v in values])
    return f"{mean:.1f}" + ("" if math.isnan(half) else f" ± {half:.1f}")


def by_case(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of each case, in the order of first appearance."""
    out: dict[str, list[Row]] = {}
    for row in rows:
        out.setdefault(row["case"], []).append(row)
    return out


def method_table(rows: Sequence[Row], *, published: bool = True) -> str:
    """Markdown: a line a method, mean over trainings with 95 % intervals, percent."""
    head = [
        "method", "set Dice at 0.5", "set Dice, threshold from validation", "per-pixel Dice (C eq. 8)", "IoU at 0.5",
        *(["image accuracy"] if len(rows[0]["classes"]) > 1 else []), "trainings",
    ]  # fmt: skip
    head += ["published mean Dice"] if published else []
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for case, mine in by_case(rows).items():
        keys = ["mean_set_dice", "mean_tuned_dice", "mean_pixel_dice", "mean_iou"]
        keys += ["accuracy"] if len(rows[0]["classes"]) > 1 else []
        cells = [case, *(shown([r[k] for r in mine]) for k in keys), str(len(mine))]
        cells += [str(PUBLISHED.get(case, ""))] if published else []
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def class_table(rows: Sequence[Row], key: str = "tuned_dice") -> str:
    """Markdown: mean of a score over trainings by method and class, percent."""
    names = rows[0]["classes"]
    lines = ["| method | " + " | ".join(n.replace("_", " ") for n in names) + " |", "|" + "---|" * (len(names) + 1)]
    for case, mine in by_case(rows).items():
        values = np.nanmean(np.array([[math.nan if v is None else v for v in r[key]] for r in mine], float), axis=0)
        lines.append(f"| {case} | " + " | ".join(f"{100 * v:.0f}" for v in values) + " |")
    return "\n".join(lines)


def power_law(numbers: Sequence[float], dice: Sequence[float]) -> tuple[float, float]:
    """(a, b) of 1 − Dice = a n^(−b), by least squares of logarithms.

    Raises:
        OptionError: fewer than two numbers, or a Dice outside (0, 1).
    """
    n, error = np.asarray(numbers, float), 1 - np.asarray(dice, float)
    if np.unique(n).size < 2 or (error <= 0).any() or (error > 1).any():
        raise OptionError("A power law needs two numbers of images or more, with Dice above 0 and below 1.")
    slope, level = np.polyfit(np.log(n), np.log(error), 1)
    return float(np.exp(level)), float(-slope)


def annotation_table(rows: Sequence[Row], key: str = "mean_tuned_dice") -> tuple[str, tuple[float, float]]:
    """Markdown of Dice by number of annotated images of a category, and the power law through all trainings."""
    lines = ["| annotated a category | images | set Dice, % | trainings |", "|---|---|---|---|"]
    ordered = sorted(rows, key=lambda r: r["a_category"])
    for mine in by_case(ordered).values():
        lines.append(
            f"| {mine[0]['a_category']} | {mine[0]['annotated']} | {shown([r[key] for r in mine])} | {len(mine)} |"
        )
    return "\n".join(lines), power_law([r["a_category"] for r in rows], [r[key] for r in rows])


def resolution_table(rows: Sequence[Row]) -> str:
    """Markdown of the categoriser's accuracy by resolution."""
    lines = ["| metres | accuracy, % | trainings | published: validation, independent test |", "|---|---|---|---|"]
    for mine in by_case(sorted(rows, key=lambda r: r["metres"])).values():
        pair = PUBLISHED_ACCURACY.get(round(mine[0]["metres"]))
        said = f"{pair[0]}, {pair[1]}" if pair else ""
        lines.append(f"| {mine[0]['metres']:g} | {shown([r['accuracy'] for r in mine])} | {len(mine)} | {said} |")
    return "\n".join(lines)


def draw_methods(rows: Sequence[Row], path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """A PNG: every training a dot, the mean a bar; Dice at the threshold from validation."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    cases = by_case(rows)
    with mpl.rc_context({"font.size": 9, "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(7.2, 0.42 * len(cases) + 1.1), dpi=110)
        axis = figure.add_axes((0.28, 0.22, 0.69, 0.74))
        for i, (case, mine) in enumerate(cases.items()):
            values = [100 * r["mean_tuned_dice"] for r in mine]
            axis.barh(i, np.mean(values), color="#9db9d8", height=0.62)
            axis.plot(values, [i] * len(values), "o", color="#0b4f8a", markersize=4)
            if case in PUBLISHED and len(mine[0]["classes"]) == 10:
                axis.plot(PUBLISHED[case], i, "d", color="#b0472f", markersize=5)
        axis.set_yticks(range(len(cases)), list(cases))
        axis.invert_yaxis()
        axis.set_xlabel("set Dice, %, threshold from validation images (red: published, other data)")
        axis.spines[["top", "right"]].set_visible(False)
        with whole_output(path, overwrite=overwrite) as part:
            figure.savefig(part, format="png")
    return Path(path)


def draw_annotations(
    rows: Sequence[Row], path: str | os.PathLike[str], *, weak: float, overwrite: bool = False
) -> Path:
    """A PNG: Dice against annotated images with the power law, and the best weak method as a line (0…1)."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    n = np.array([r["a_category"] for r in rows], float)
    dice = np.array([r["mean_tuned_dice"] for r in rows], float)
    a, b = power_law(n.tolist(), dice.tolist())
    along = np.geomspace(n.min(), 1000, 60)
    with mpl.rc_context({"font.size": 9, "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(6.4, 3.4), dpi=110)
        axis = figure.add_axes((0.11, 0.15, 0.86, 0.80))
        axis.semilogx(n, 100 * dice, "o", color="#0b4f8a", label="one training")
        inside = along <= n.max()
        axis.semilogx(
            along[inside], 100 * (1 - a * along[inside] ** -b), color="#3d7a35", label=f"1 − {a:.2f} n^−{b:.3f}"
        )
        axis.semilogx(
            along[~inside], 100 * (1 - a * along[~inside] ** -b), ":", color="#3d7a35", label="beyond the data"
        )
        axis.axhline(100 * weak, color="#b0472f", linewidth=1, label="best weak method")
        axis.set_xlabel("annotated images of each category")
        axis.set_ylabel("set Dice, %")
        axis.legend(frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
        with whole_output(path, overwrite=overwrite) as part:
            figure.savefig(part, format="png")
    return Path(path)
