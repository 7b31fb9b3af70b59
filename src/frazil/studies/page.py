"""The page of a study: its size and caveats first, then a table, a picture, and all that is needed to run it again."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frazil.files import refuse_existing, whole_output
from frazil.marks import without_mark

if TYPE_CHECKING:
    from frazil.studies.patches import CaseLine, Row

#: What a study asks, in a title and a paragraph.
QUESTIONS = {
    "channels": (
        "Which channels a patch classifier needs",
        (
            "The ad hoc network of the first paper on one, two and three channels (its Table 3), and with the noise "
            "profile as two more, which the thesis names as future work. Noise is subtracted as the product "
            "states it; the true "
            "noise of the simulated scenes differs from that by up to a fifth, sub-swath by sub-swath."
        ),
    ),
    "patch-size": (
        "How large patches should be",
        (
            "The ad hoc network on patches of 10 to 46 pixels of 40 m (Table 4). All sizes are centres of the "
            "same patches "
            "of 46 pixels, so that no size is given easier places."
        ),
    ),
    "training": (
        "Network, augmentation and transfer",
        (
            "VGG-16 with and without its last max-pool and the paper's augmentation (Table 5), an augmentation "
            "that keeps "
            "the physics, and EfficientNet-Lite0 from scratch and from weights trained on photographs (no "
            "package ships "
            "those of VGG-16)."
        ),
    ),
    "over-fitting": (
        "Over-fitting, with and without augmentation",
        (
            "Losses of the ad hoc network and of the modified VGG-16 over many epochs at a constant rate (Figures 4 "
            "and 5 of the first paper)."
        ),
    ),
    "models": ("Reference networks", "The modified VGG-16 beside MobileNetV2, ResNet-50 and DenseNet-121 (Figure 6)."),
    "classes": (
        "Five classes instead of two",
        "The imbalanced set of five classes. Accuracy hides the rare classes; macro-F1 and balanced accuracy do not.",
    ),
}
DATA, SHOWN = "The data", "What it shows"
SIMULATED = (
    "These are **simulated** scenes. They show how methods compare where the truth is known; they do not show how well "
    "anything does on real ice, and a published figure beside ours is there for orientation, not for a contest. "
    'The ice has the signatures of the literature (`signatures="literature"`), from which real pack departs '
    "(`docs/results/simulator-real.md`)."
)


def write_study_page(
    name: str,
    rows: list[Row],
    table: list[CaseLine],
    path: str | os.PathLike[str],
    *,
    command: str,
    simulated: bool,
    overwrite: bool = False,
) -> Path:
    """Write ``path`` and a picture of the same name beside it.

    Args:
        name: of the study.
        rows: of `frazil.studies.patches.run_study`.
        table: of `frazil.studies.patches.summarise`.
        path: ending in ``.md``.
        command: that made the rows.
        simulated: whether the scenes were simulated.
        overwrite: replace what is there, see `write_page`.
    """
    return write_page(
        path,
        lambda part: draw(rows, table, part),
        lambda picture: _markdown(name, rows, table, picture, command, simulated),
        overwrite=overwrite,
    )


def draw(rows: list[Row], table: list[CaseLine], path: Path) -> None:
    """The picture of a study: curves where rows have them, of losses where they were kept, else a dot a case."""
    curves = [row["curve"] for row in rows if row["curve"]]
    if not curves:
        _dots(table, path)
    elif all("scene_nll" in look for curve in curves for look in curve):
        _losses(rows, path)
    else:
        _curves(rows, path)


def write_page(
    path: str | os.PathLike[str],
    draw: Callable[[Path], object],
    text: Callable[[str], str],
    *,
    overwrite: bool,
    more: Mapping[str, Callable[[Path], object]] | None = None,
) -> Path:
    """Write a page, and beside it its pictures.

    Of a page that is there already three things stay, which are written by hand: the title, a section "The data" before
    the caveats, and a section "What it shows" behind them. So a study that goes on does not undo what somebody made of
    it.

    Args:
        path: of the page, ending in ``.md``; the picture has the same name.
        draw: writes the picture.
        text: the page, given the picture's file name.
        overwrite: replace what is there.
        more: further pictures: what their names end in (see `another`) -> what writes each.
    """
    page = refuse_existing(path, overwrite=overwrite)
    picture = refuse_existing(page.with_suffix(".png"), overwrite=overwrite)
    others = {refuse_existing(another(picture, end), overwrite=overwrite): how for end, how in (more or {}).items()}
    old = without_mark(page.read_text(encoding="utf-8")) if page.is_file() else ""
    for target, how in {picture: draw, **others}.items():
        with whole_output(target, overwrite=overwrite) as part:
            how(part)
    with whole_output(page, overwrite=overwrite) as part:
        part.write_text(_with_kept(old, text(picture.name)), encoding="utf-8")
    return page


def another(picture: Path, end: str) -> Path:
    """The path of a further picture beside a page: ``few-labels.png`` and ``pseudo`` give ``few-labels-pseudo.png``."""
    return picture.with_name(f"{picture.stem}-{end}{picture.suffix}")


def _with_kept(old: str, new: str) -> str:
    """A page with the title of the old one, its "The data" as the first section and its "What it shows" as the next."""
    (head, *sections), (old_head, *old_sections) = new.split("\n## "), old.split("\n## ")
    if old_head.startswith("# "):
        head = old_head.partition("\n")[0] + "\n" + head.partition("\n")[2]
    data, shown = (
        [section.rstrip() + "\n" for section in old_sections if section.startswith(f"{name}\n")]
        for name in (DATA, SHOWN)
    )
    return "\n## ".join([head, *data, *sections[:1], *shown, *sections[1:]])


def _markdown(name: str, rows: list[Row], table: list[CaseLine], picture: str, command: str, simulated: bool) -> str:
    title, question = QUESTIONS.get(name, (name, ""))
    first = rows[0]
    counts = {side: sum(first["patches"][side].values()) for side in ("train", "patch", "scene")}
    five = len(first["scene"]["classes"]) > 2
    head = ["case", "by patch (leaks), %", "by scene, %", "macro-F1 by scene, %", "± over scenes", "seeds", "minutes"]
    if any(line.published for line in table):
        head.append("published, by patch, %")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for line in table:
        cells = [
            line.case,
            _interval(*line.patch),
            _interval(*line.scene),
            f"{line.macro_f1:.1f}",
            f"{line.scene_spread:.1f}",
            str(line.seeds),
            f"{line.seconds / 60:.1f}",
        ]
        if any(other.published for other in table):
            cells.append(f"{line.published:.2f}" if line.published else "")
        lines.append("| " + " | ".join(cells) + " |")
    parts = [
        f"# {title}",
        question,
        size_in_words(rows),
        "## Before you read the numbers",
        *([SIMULATED] if simulated else []),
        (
            "- *By patch* judges on a fifth of the patches of the very scenes that were learnt from; neighbours of the "
            "judged patches were learnt, so it leaks. The published figures are of this kind. *By scene* judges "
            "the same "
            "networks on scenes that they have never seen.\n"
            "- ± is the 95 % interval (Student) over seeds: other weights, other batches, another fifth held "
            "out. It says "
            "nothing about other scenes; *± over scenes* is the standard deviation from one held-out scene to "
            "the next.\n"
            "- Nothing was chosen by looking at held-out patches: a fixed number of epochs, the last weights.\n"
            f"- Minutes are those of one process on {first['threads']} "
            f"thread{'s' if first['threads'] > 1 else ''} beside "
            "others, on a shared machine."
        ),
        "## Result",
        "\n".join(lines),
        f"![{title}]({picture})",
    ]
    if five:
        parts += ["Recall of each class by scene, %:", _recalls(rows)]
    parts += [
        "## How it was made",
        (
            f"{datetime.now(UTC):%d %B %Y}, commit {first['commit']}, {platform.machine()}, {os.cpu_count()} cores, "
            f"torch {first['versions']['torch']}. "
            f"{len(first['scenes']['train'])} training scenes with {counts['train']} patches learnt and "
            f"{counts['patch']} "
            f"held out; {len(first['scenes']['scene'])} held-out scenes with {counts['scene']} patches. Seeds 0 to "
            f"{max(row['seed'] for row in rows)}. Settings of every case stand in its rows."
        ),
        f"Command: `{command}`",
    ]
    return "\n\n".join(parts) + "\n"


def size_in_words(rows: list[Row]) -> str:
    """How large a study was, beside the paper: patches, scenes, networks, epochs, seeds."""
    first = rows[0]
    counts = {side: sum(first["patches"][side].values()) for side in ("train", "scene")}
    sides = [int(row["case"]["size"]) for row in rows]
    epochs = [float(row["case"]["optim"]["epochs"] or 1) for row in rows]
    seeds = [sum(row["case"]["name"] == other["case"]["name"] for row in rows) for other in rows]
    parameters = [row["parameters"] for row in rows]
    return (
        f"How big this is: {counts['train']:,} patches of {_range(sides)} pixels from {len(first['scenes']['train'])} "
        f"scenes to learn from, {counts['scene']:,} of {len(first['scenes']['scene'])} other scenes that judge; "
        f"{_range(epochs)} epoch{'s' if max(epochs) > 1 else ''} of networks of {_range(parameters)} parameters; "
        f"{_range(seeds)} seed{'s' if max(seeds) > 1 else ''} each. The paper cut its patches, of 10 to 46 pixels, "
        "from 31 real scenes, judged the networks of its tables by patch, and says neither epochs nor seeds."
    )


def _range(values: Sequence[float]) -> str:
    least, most = min(values), max(values)
    return f"{least:,.10g}" if least == most else f"{least:,.10g} to {most:,.10g}"


def _interval(mean: float, half: float) -> str:
    return f"{mean:.2f}" + ("" if math.isnan(half) else f" ± {half:.2f}")


def _recalls(rows: list[Row]) -> str:
    names = rows[0]["scene"]["classes"]
    lines = ["| case | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
    for case in dict.fromkeys(row["case"]["name"] for row in rows):
        confusion = sum(np.array(row["scene"]["confusion"], float) for row in rows if row["case"]["name"] == case)
        recall = np.diag(confusion) / np.maximum(confusion.sum(axis=1), 1)  # type: ignore[arg-type, union-attr]
        lines.append(f"| {case} | " + " | ".join(f"{100 * r:.0f}" for r in recall) + " |")
    n = np.array(rows[0]["scene"]["confusion"]).sum(axis=1)
    lines.append("| *patches in the held-out scenes* | " + " | ".join(str(k) for k in n) + " |")
    return "\n".join(lines)


_PATCH, _SCENE = "#8a8f98", "#0b5fa5"


def _dots(table: list[CaseLine], path: Path) -> None:
    """One row a case: accuracy by patch and by scene with intervals, and the published one as a tick."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 1.3 + 0.45 * len(table)), layout="constrained", dpi=130)
    axes = figure.add_subplot()
    y = np.arange(len(table))[::-1]
    for side, colour, label in (("patch", _PATCH, "by patch (leaks)"), ("scene", _SCENE, "by scene")):
        mean, half = np.array([getattr(line, side) for line in table]).T
        axes.errorbar(mean, y, xerr=np.nan_to_num(half), fmt="o", color=colour, capsize=3, label=label)
    known = [(line.published, k) for line, k in zip(table, y, strict=True) if line.published]
    if known:
        axes.plot(
            *zip(*known, strict=True),
            "|",
            color="#b03a2e",
            markersize=13,
            markeredgewidth=2,
            label="published, by patch, other data",
        )
    axes.set_yticks(y, [line.case for line in table])
    axes.set_ylim(-0.6, len(table) - 0.4)
    axes.set_xlabel("accuracy, %")
    axes.grid(axis="x", color="#dddddd")
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside upper right", ncols=3, frameon=False, fontsize=9)
    figure.savefig(path, format="png")


def _losses(rows: list[Row], path: Path) -> None:
    """A panel a case: loss in training, by patch and by scene after every epoch, the mean over seeds."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = list(dict.fromkeys(row["case"]["name"] for row in rows if row["curve"]))
    columns = min(len(names), 2)
    height = 2.9 * math.ceil(len(names) / columns) + 0.5
    figure = Figure(figsize=(8.5, height), layout="constrained", dpi=130)
    panels = figure.subplots(math.ceil(len(names) / columns), columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        mine = [row["curve"] for row in rows if row["case"]["name"] == name]
        for key, colour, label in (
            ("loss", "#d1730f", "training"),
            ("patch_nll", _PATCH, "by patch (leaks)"),
            ("scene_nll", _SCENE, "by scene"),
        ):
            mean = np.mean([[look[key] for look in curve] for curve in mine], axis=0)
            axes.plot(np.arange(1, mean.size + 1), mean, color=colour, label=label)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("epoch")
        axes.set_ylabel("cross-entropy")
        axes.label_outer()
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color="#dddddd")
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False, fontsize=9)
    figure.savefig(path, format="png")


def _curves(rows: list[Row], path: Path) -> None:
    """Accuracy after every epoch, a colour a case, by patch dashed and by scene full."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8.5, 4.5), layout="constrained", dpi=130)
    axes = figure.add_subplot()
    colours = ("#0b5fa5", "#d1730f", "#2a7f4f", "#8e4585", "#555555")
    for name, colour in zip(dict.fromkeys(row["case"]["name"] for row in rows), colours, strict=False):
        mine = [row["curve"] for row in rows if row["case"]["name"] == name]
        for side, style in (("scene", "-"), ("patch", "--")):
            mean = 100 * np.mean([[look[side] for look in curve] for curve in mine], axis=0)
            axes.plot(
                np.arange(1, mean.size + 1),
                mean,
                style,
                color=colour,
                marker="o",
                markersize=3,
                label=name if side == "scene" else None,
            )
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy, %: by scene (full), by patch (dashed)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, format="png")
