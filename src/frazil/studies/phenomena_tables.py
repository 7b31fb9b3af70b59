"""Tables and pictures of the metocean studies, from their rows."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, Required, TypedDict

import numpy as np

from frazil.errors import OptionError
from frazil.files import whole_output
from frazil.metrics import student_interval

ByClass = Literal["tuned_dice", "f1_by_category"]
MeanDice = Literal["mean_set_dice", "mean_tuned_dice", "mean_pixel_dice"]


class Network(TypedDict, total=False):
    """What tables tell of a network's settings: `widths` of U-Net and IM2PX, `width` of the categoriser."""

    widths: list[int]
    width: float


class Settings(TypedDict):
    """What is kept of a `frazil.studies.phenomena.PhenomenaStudy`, of what tables tell."""

    size: int | None
    judged: int | None
    unet: Network
    im2px: Network
    categoriser: Network
    steps: list[int]
    batch: int
    precision: str
    annotated: int | None
    labelled: int | None
    mask_side: int
    mask_stride: int
    tiles: list[int]


class Row(TypedDict, total=False):
    """A training, or a method that rests on one; which of the fields there are depends on the study.

    Scores by class, and ``mean_…`` over them, are those of `frazil.mask_counts.MaskCounts.result`; ``tuned_dice`` is
    the set Dice at ``thresholds`` from the validation images.
    """

    case: Required[str]
    seed: Required[int]
    settings: Settings
    commit: str
    seconds: float
    training_s: float
    classes: list[str]
    images: int
    accuracy: float | None  # not of images finer than what the categoriser is trained on
    set_dice: list[float]
    mean_set_dice: float
    tuned_dice: list[float]
    mean_tuned_dice: float
    thresholds: list[float]
    pixel_dice: list[float]
    mean_pixel_dice: float
    precision: list[float]
    recall: list[float]
    iou: list[float]
    mean_iou: float
    categoriser_accuracy: float
    annotated: int
    a_category: int | None  # None: all that there are
    metres: float
    pixels: int
    texture_accuracy: float
    labelled: int | None
    method: str  # of a weak method's learning curve, which has `labelled` images of each category
    f1_by_category: list[float | None]
    steps: int
    batch: int


#: Mean Dice of C, table 2, percent, by our name of the method.
PUBLISHED = {
    "U-Net, equation 1": 40.5,
    "MASK, v = mean": 15.2,
    "MASK, v = 0": 17.4,
    "PART, 75 px": 30.6,
    "PART, 129 px": 34.5,
    "CAM": 19.3,
    "IM2PX": 28.2,
}
#: Accuracy of C, table 1, percent: metres -> (validation, independent test).
PUBLISHED_ACCURACY = {50: (99, 77), 100: (98, 75), 200: (93, 66), 340: (88, 59)}


_MEANS: Final = ("mean_set_dice", "mean_tuned_dice", "mean_pixel_dice", "mean_iou")
_ACCURACIES: tuple[tuple[Literal["accuracy", "texture_accuracy"], str, str], ...] = (
    ("accuracy", "categoriser", "#0b4f8a"),
    ("texture_accuracy", "texture statistics", "#3d7a35"),
)


def _annotated(row: Row) -> int:
    """Annotated images of a category, of a row of the study of their numbers."""
    number = row["a_category"]
    assert number is not None
    return number


def interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval (Student); NaN for fewer than two values."""
    x = np.asarray(values, float)
    return float(x.mean()) if x.size else math.nan, student_interval(x)


def shown(values: Sequence[float | None] | np.ndarray, factor: float = 100.0) -> str:
    """Mean ± interval, one decimal; the mean alone without an interval."""
    mean, half = interval(np.asarray(values, float) * factor)
    return f"{mean:.1f}" + ("" if math.isnan(half) else f" ± {half:.1f}")


def of_masks(rows: Sequence[Row]) -> list[Row]:
    """Those of the study of annotations that learnt from drawn masks."""
    return [row for row in rows if "method" not in row]


def of_labels(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Those of the study of annotations that learnt from labels of images, by method."""
    out: dict[str, list[Row]] = {}
    for row in rows:
        if "method" in row:
            out.setdefault(row["method"], []).append(row)
    return out


def weak_curve_table(rows: Sequence[Row], key: MeanDice = "mean_tuned_dice") -> str:
    """Markdown of the Dice of each weak method by number of labelled images of each category, and how often its
    categoriser names test images right.
    """  # noqa: D205 - the columns are one list
    methods = of_labels(rows)
    every = [row for mine in methods.values() for row in mine]
    lines = [
        f"| labelled a category | images named right, % | {' | '.join(methods)} | trainings |",
        "|" + "---|" * (len(methods) + 3),
    ]
    for n in sorted({row["labelled"] or 0 for row in every}):
        there = [row for row in every if row["labelled"] == n]
        named = {row["seed"]: row["categoriser_accuracy"] for row in there}
        cells = [shown([row[key] for row in mine if row["labelled"] == n]) for mine in methods.values()]
        lines.append(f"| {n} | {shown(list(named.values()))} | {' | '.join(cells)} | {len(named)} |")
    return "\n".join(lines)


def by_case(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of each case, in the order of first appearance."""
    out: dict[str, list[Row]] = {}
    for row in rows:
        out.setdefault(row["case"], []).append(row)
    return out


def method_table(rows: Sequence[Row], *, published: bool = True) -> str:
    """Markdown: a line a method, mean over trainings with 95 % intervals, percent."""
    head = [
        "method",
        "set Dice at 0.5",
        "set Dice, threshold from validation",
        "per-pixel Dice (C eq. 8)",
        "IoU at 0.5",
        *(["image accuracy"] if len(rows[0]["classes"]) > 1 else []),
        "trainings",
    ]
    head += ["published mean Dice"] if published else []
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for case, mine in by_case(rows).items():
        cells = [case, *(shown([r[k] for r in mine]) for k in _MEANS)]
        cells += [shown([r["accuracy"] for r in mine])] if len(rows[0]["classes"]) > 1 else []
        cells += [str(len(mine))]
        cells += [str(PUBLISHED.get(case, ""))] if published else []
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def class_table(rows: Sequence[Row], key: ByClass = "tuned_dice", first: str = "method") -> str:
    """Markdown: mean of a score over trainings by case and class, percent; a dash where no training has one."""
    names = rows[0]["classes"]
    lines = [f"| {first} | " + " | ".join(n.replace("_", " ") for n in names) + " |", "|" + "---|" * (len(names) + 1)]
    for case, mine in by_case(rows).items():
        columns = zip(*([math.nan if v is None else v for v in r[key]] for r in mine), strict=True)
        known = [[v for v in column if not math.isnan(v)] for column in columns]
        lines.append(f"| {case} | " + " | ".join(f"{100 * np.mean(v):.0f}" if v else "–" for v in known) + " |")
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


def power_laws(
    rows: Sequence[Row], at: Sequence[float], key: MeanDice = "mean_tuned_dice", up_to: float = math.inf
) -> tuple[np.ndarray, np.ndarray]:
    """A power law for each seed: (a, b), shape (seed, 2), and the Dice that each says for numbers `at` (seed, number).

    Trainings of one seed draw nested images, so the spread of laws over seeds holds that of draws and of networks.

    Args:
        rows: of the study of annotations.
        at: numbers of annotated images of a category.
        key: of the Dice.
        up_to: fit to rows of at most so many images.
    """
    laws = []
    for seed in sorted({r["seed"] for r in rows}):
        mine = [r for r in rows if r["seed"] == seed and _annotated(r) <= up_to]
        laws.append(power_law([_annotated(r) for r in mine], [r[key] for r in mine]))
    fitted = np.array(laws)
    return fitted, 1 - fitted[:, :1] * np.asarray(at, float)[None] ** -fitted[:, 1:]


def annotation_table(rows: Sequence[Row], key: MeanDice = "mean_tuned_dice") -> str:
    """Markdown of Dice by number of annotated images of a category: measured, by the power law through all, and by the
    law through smaller numbers alone; then what the law says beyond the data.
    """  # noqa: D205 - the columns are one list
    numbers = sorted({_annotated(r) for r in rows})
    beyond = [3 * numbers[-1], 10 * numbers[-1]]
    laws, said = power_laws(rows, [*numbers, *beyond], key)
    lines = [
        "| annotated a category | images | set Dice, % | trainings | by the law, % | by that of smaller numbers, % |",
        "|---|---|---|---|---|---|",
    ]
    for i, n in enumerate(numbers):
        mine = [r for r in rows if _annotated(r) == n]
        before = shown(power_laws(rows, [n], key, numbers[i - 1])[1][:, 0]) if i > 1 else ""
        lines.append(
            f"| {n} | {mine[0]['annotated']} | {shown([r[key] for r in mine])} | {len(mine)} | {shown(said[:, i])} "
            f"| {before} |"
        )
    for i, n in enumerate(beyond, len(numbers)):
        lines.append(f"| {n} | | not measured | | {shown(said[:, i])} | |")
    lines += ["", f"1 − Dice = a n^(−b): a = {_fine(laws[:, 0])}, b = {_fine(laws[:, 1])}."]
    return "\n".join(lines)


def _fine(values: Sequence[float] | np.ndarray) -> str:
    mean, half = interval(values)
    return f"{mean:.3f}" + ("" if math.isnan(half) else f" ± {half:.3f}")


def resolution_table(rows: Sequence[Row]) -> str:
    """Markdown of the categoriser's accuracy by resolution, beside that of a linear classifier on textures."""
    lines = [
        "| metres | pixels | categoriser, % | texture statistics, % | draws | published: validation, test |",
        "|---|---|---|---|---|---|",
    ]
    for mine in by_case(sorted(rows, key=lambda r: r["metres"])).values():
        pair = PUBLISHED_ACCURACY.get(round(mine[0]["metres"]))
        said = f"{pair[0]}, {pair[1]}" if pair else ""
        found, plain = (
            shown([a for r in mine if (a := r[key]) is not None] or [math.nan]) for key, _, _ in _ACCURACIES
        )
        found = "not run" if found == "nan" else found
        lines.append(f"| {mine[0]['metres']:.0f} | {mine[0]['pixels']} | {found} | {plain} | {len(mine)} | {said} |")
    return "\n".join(lines)


def draw_methods(rows: Sequence[Row], path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """A PNG: every training a dot, the mean a bar; Dice at the threshold from validation."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    cases, published = by_case(rows), len(rows[0]["classes"]) == 10
    with mpl.rc_context({"font.size": 9, "font.family": "DejaVu Sans"}):
        height = 0.42 * len(cases) + 0.75
        figure = Figure(figsize=(7.2, height), dpi=110)
        axis = figure.add_axes((0.28, 0.6 / height, 0.69, 1 - 0.75 / height))
        for i, (case, mine) in enumerate(cases.items()):
            values = [100 * r["mean_tuned_dice"] for r in mine]
            axis.barh(i, np.mean(values), color="#9db9d8", height=0.62)
            axis.plot(values, [i] * len(values), "o", color="#0b4f8a", markersize=4)
            if case in PUBLISHED and published:
                axis.plot(PUBLISHED[case], i, "d", color="#b0472f", markersize=5)
        axis.set_yticks(range(len(cases)), list(cases))
        axis.invert_yaxis()
        beside = " (red: published, other data)" if published else ""
        axis.set_xlabel(f"set Dice, %, threshold from validation images{beside}")
        axis.spines[["top", "right"]].set_visible(False)
        with whole_output(path, overwrite=overwrite) as part:
            figure.savefig(part, format="png")
    return Path(path)


def draw_annotations(
    rows: Sequence[Row], path: str | os.PathLike[str], *, weak: float | None = None, overwrite: bool = False
) -> Path:
    """A PNG: Dice against annotated images with the power laws of seeds, and the best weak method as a line (0…1).

    Learning curves of weak methods, where there are any, are means over trainings.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    curves, rows = of_labels(rows), of_masks(rows)
    n = np.array([_annotated(r) for r in rows], float)
    dice = np.array([r["mean_tuned_dice"] for r in rows], float)
    along = np.geomspace(n.min(), 10 * n.max(), 60)
    laws, said = power_laws(rows, along.tolist())
    middle, spread = np.array([interval(v.tolist()) for v in said.T]).T * 100
    label = f"1 − {laws[:, 0].mean():.2f} n^(−{laws[:, 1].mean():.3f}), mean of {len(laws)} seeds"
    inside = along <= n.max()
    with mpl.rc_context({"font.size": 9, "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(6.4, 3.4), dpi=110)
        axis = figure.add_axes((0.11, 0.15, 0.86, 0.80))
        axis.fill_between(
            along, middle - spread, middle + spread, color="#3d7a35", alpha=0.15, linewidth=0, label="95 % interval"
        )
        axis.plot(along[inside], middle[inside], color="#3d7a35", label=label)
        axis.plot(along[~inside], middle[~inside], ":", color="#3d7a35", label="beyond the data")
        axis.plot(n, 100 * dice, "o", color="#0b4f8a", markersize=4, label="one training")
        for number, (method, mine) in enumerate(curves.items()):
            counts = sorted({r["labelled"] or 0 for r in mine})
            means = [100 * np.mean([r["mean_tuned_dice"] for r in mine if r["labelled"] == c]) for c in counts]
            axis.plot(counts, means, "s--", color=f"C{number}", markersize=3, linewidth=0.9, label=f"{method} (labels)")
        if weak is not None:
            axis.axhline(100 * weak, color="#b0472f", linewidth=1, label="best weak method")
        axis.set_xscale("log")
        ticks = [*sorted(set(n.tolist())), 10 * n.max()]
        axis.set_xticks(ticks, [f"{v:g}" for v in ticks])
        axis.set_xticks([], minor=True)
        axis.set_ylim(0, max(60, 10 * np.ceil(10 * dice.max() + 1)))
        axis.set_xlabel("annotated images of each category")
        axis.set_ylabel("set Dice, %")
        axis.legend(frameon=False, loc="lower right", ncols=2)
        axis.spines[["top", "right"]].set_visible(False)
        with whole_output(path, overwrite=overwrite) as part:
            figure.savefig(part, format="png")
    return Path(path)


def draw_resolution(rows: Sequence[Row], path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """A PNG: accuracy against resolution of the categoriser, of texture statistics, and as published."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    metres = sorted({r["metres"] for r in rows})
    with mpl.rc_context({"font.size": 9, "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(6.4, 3.2), dpi=110)
        axis = figure.add_axes((0.11, 0.16, 0.86, 0.80))
        for key, label, colour in _ACCURACIES:
            mine = [[100 * a for r in rows if r["metres"] == m and (a := r[key]) is not None] for m in metres]
            spread = np.array([interval(v) for v in mine])
            axis.errorbar(metres, spread[:, 0], spread[:, 1], color=colour, marker="o", capsize=3, label=label)
        for place, label in enumerate(("published, validation", "published, independent test")):
            values = [pair[place] for pair in PUBLISHED_ACCURACY.values()]
            axis.plot(
                list(PUBLISHED_ACCURACY), values, ("d--", "d:")[place], color="#b0472f", markersize=4, label=label
            )
        axis.set_ylim(0, 100)
        axis.set_xlabel("pixel spacing, m")
        axis.set_ylabel("images named right, %")
        axis.legend(frameon=False, loc="lower left", ncols=2)
        axis.spines[["top", "right"]].set_visible(False)
        with whole_output(path, overwrite=overwrite) as part:
            figure.savefig(part, format="png")
    return Path(path)
