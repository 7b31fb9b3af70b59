"""docs/results/clicks.md and its picture, from the rows of `benchmarks/clicks.py`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from frazil.files import replaced_file
from frazil.learn.checkpoint import git_commit

ROOT = Path(__file__).resolve().parents[1]
SHOWN = "## What it shows"
SHOWN_CLICKS = (5, 15, 60, 200)
Row = dict[str, Any]
PAGE = """# Few labels on one scene

How big this is: {n} simulated Extra Wide scenes of 120 m (seeds {first} to {last}; measured signatures, the coast of
Severnaya Zemlya, season, wind, ice and noise errors drawn) that model `ice-measured` has not learnt from, {seeds} draws
of clicks each. A *click* is the class of one cell of 600 m, of which at least 80 % is of that class: people mark what
they can tell. Scored is every third cell in both directions that was not clicked, clear or mixed. The way to learn and
its numbers were chosen on {n_choice} other scenes ({choice}), which are not in the tables. And two real Sentinel-1
quick-looks of Antarctic ice edges (see [there](real-ice.md)): clicked and scored is only what HH tells for certain
beyond 34°, dark water and bright pack, so that any method that looks at HH does well.

The source of the idea (Khaleghian 2022, paper 2) had 14,750 patches of 32 × 32 pixels of real scenes north of
Svalbard, 15 to 1000 of them labelled, and scored 2840 patches of another region: its labels teach a network for all
scenes, those here the map of one.

They are simulated: the bundled model is at home on them. On real ice it is not, and clicks may help more, or otherwise.

Intervals: ± is the half width of the 95 % interval of the mean over scenes (Student's t), of the difference on the same
scenes and clicks.

## Ways to learn

Macro-F1 over the classes of a scene, percent; a place of each class marked in turn. Beside it the difference to the
bundled model's own answer, and on how many scenes of {n} it is better.

| way | {heads_head} |
| --- | {heads_line} |
{heads}

*kernel* is what the desk does: a Gaussian process with a squared-exponential kernel over all features (backscatter, its
surroundings, what the network says and sees), whose mean is 0.3 of the network's logits. *plain features*: HH, HV,
angle, and mean and deviation of HH and HV over 3, 9 and 27 cells.

![Learning curves](clicks.png)

## How sure it is

Expected calibration error of the likeliest class, 15 bins, percent.

| way | {ece_head} |
| --- | {ece_line} |
{ece}

## On pixels

The map of 120 m as the desk makes it, one draw of clicks: macro-F1, percent, against the bundled model's map.

| clicks | bundled model | desk | difference | better on |
| --- | --- | --- | --- | --- |
{pixels}

## Which places to label

Five places of each class in turn, then what a queue proposes, learning between; macro-F1, percent, and the difference
to random places. *unsure*: the smallest margin between the two likeliest classes; *unlike*: farthest from all labelled
(k-centre); *mixed*: the second among the 400 best of the first, which is what the desk does. Queues may propose mixed
cells; their class is then the commoner one.

| queue | {queue_head} |
| --- | {queue_line} |
{queues}

## Real ice edges

Mean of the shares of certain water and certain pack that are found, percent, mean of both scenes and {seeds} draws.

| way | {real_head} |
| --- | {real_line} |
{real}

{tslp}{shown}

Command: `python benchmarks/clicks.py`, then `--page`; commit {commit}
"""


def read_rows(folder: Path) -> list[Row]:
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def scenes_of(rows: Iterable[Row], seeds: range) -> list[str]:
    wanted = {str(s) for s in seeds}
    return sorted({r["scene"] for r in rows} & wanted)


def by_scene(rows: Iterable[Row], part: str, name: str, clicks: int, value: str, scenes: list[str]) -> np.ndarray:
    """Means over draws, one for each scene; NaN where a scene has none."""
    found: dict[str, list[float]] = defaultdict(list)
    for r in rows:
        if (r["part"], r["name"], r["clicks"]) == (part, name, clicks) and value in r:
            found[r["scene"]].append(r[value])
    return np.array([np.mean(found[s]) if s in found else np.nan for s in scenes])


def half_width(differences: np.ndarray) -> float:
    """Of the 95 % interval of the mean."""
    n = len(differences)
    return float(stats.t.ppf(0.975, n - 1) * differences.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")


def table(names: Iterable[str], cell: Callable[[str, int], str], clicks: Iterable[int] = SHOWN_CLICKS) -> str:
    lines = []
    for name in names:
        cells = [cell(name, n) for n in clicks]
        if any(c != "–" for c in cells):
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def compared(a: np.ndarray, b: np.ndarray, *, wins: bool = True) -> str:
    """Mean of a, and how far it is above b: ``58.9 (+12.1 ± 4.0, 8)``."""
    if np.isnan(a).any():
        return "–"
    mean, d = 100 * a.mean(), 100 * (a - b)
    if not d.any():
        return f"{mean:.1f}"
    better = f", {int((d > 0).sum())}" if wins else ""
    return f"{mean:.1f} ({d.mean():+.1f} ± {half_width(d):.1f}{better})"


def write_page(folder: Path, seeds: range = range(30000, 30008)) -> None:
    rows = read_rows(folder)
    scenes = scenes_of(rows, seeds)
    choice = sorted({r["scene"] for r in rows if r["scene"].isdigit()} - set(scenes))
    real = sorted({r["scene"] for r in rows if r["scene"].startswith("real")})
    heads = list(dict.fromkeys(r["name"] for r in rows if r["part"] == "head"))
    queues = [q for q in ("random", "unsure", "unlike", "mixed") if any(r["name"] == q for r in rows)]

    def f1(name: str, n: int) -> np.ndarray:
        return by_scene(rows, "head", name, n, "f1", scenes)

    def head_cell(name: str, n: int) -> str:
        return compared(f1(name, n), f1("network", n))

    def ece_cell(name: str, n: int) -> str:
        found = by_scene(rows, "head", name, n, "ece", scenes)
        return "–" if np.isnan(found).any() else f"{100 * found.mean():.1f}"

    def queue_cell(name: str, n: int) -> str:
        a, b = (by_scene(rows, "queue", q, n, "f1", scenes) for q in (name, "random"))
        return compared(a, b)

    def real_cell(name: str, n: int) -> str:
        found = by_scene(rows, "head", name, n, "balanced_ice", real)
        return "–" if not len(found) or np.isnan(found).any() else f"{100 * found.mean():.1f}"

    pixels = []
    for n in (15, 60):
        a, b = (by_scene(rows, "pixels", name, n, "f1", scenes) for name in ("kernel", "network"))
        d = 100 * (a - b)
        pixels.append(
            f"| {n} | {100 * b.mean():.1f} | {100 * a.mean():.1f} | {d.mean():+.1f} ± {half_width(d):.1f} | "
            f"{int((d > 0).sum())} of {len(d)} |"
        )
    target = ROOT / "docs" / "results" / "clicks.md"
    old = target.read_text() if target.exists() else ""
    shown = SHOWN + old.partition(SHOWN)[2].partition("\nCommand:")[0].rstrip() if SHOWN in old else SHOWN
    head = " | ".join(f"{n} clicks" for n in SHOWN_CLICKS)
    line = " | ".join("---" for _ in SHOWN_CLICKS)
    text = PAGE.format(
        n=len(scenes),
        first=scenes[0],
        last=scenes[-1],
        seeds=len({r["seed"] for r in rows}),
        n_choice=len(choice),
        choice=", ".join(choice),
        heads_head=head,
        heads_line=line,
        heads=table(heads, head_cell),
        ece_head=head,
        ece_line=line,
        ece=table(heads, ece_cell),
        pixels="\n".join(pixels),
        queue_head=head,
        queue_line=line,
        queues=table(queues, queue_cell),
        real_head=head,
        real_line=line,
        real=table(heads, real_cell),
        tslp=tslp_part(ROOT / "docs" / "results" / "studies" / "clicks-tslp.jsonl"),
        shown=shown,
        commit=git_commit(),
    )
    draw(rows, scenes, heads, queues, target.with_suffix(".png"))
    kept = ROOT / "docs" / "results" / "studies" / "clicks.jsonl"
    with replaced_file(kept) as part:
        part.write_text("".join(json.dumps(_short(r)) + "\n" for r in rows))
    with replaced_file(target) as part:
        part.write_text(text)


def tslp_part(file: Path) -> str:
    """The table of the thesis's method on the same labels, from its own rows."""
    if not file.exists():
        return ""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for r in rows:
        if r["settings"] != "desk":
            r["method"] += f", {r['settings']}"
    methods = list(dict.fromkeys(r["method"] for r in rows))
    lines = []
    for clicks in sorted({r["clicks"] for r in rows}):
        for method in methods:
            found: dict[str, list[float]] = defaultdict(list)
            for r in rows:
                if (r["method"], r["clicks"]) == (method, clicks):
                    found[r["scene"]].append(r["f1"])
            if found:
                mean = 100 * np.mean([np.mean(found[s]) for s in found])
                seconds = np.mean([r["seconds"] for r in rows if (r["method"], r["clicks"]) == (method, clicks)])
                lines.append(f"| {clicks} | {method} | {len(found)} | {mean:.1f} | {seconds:.2g} s |")
    head = "| clicks | method | scenes | macro-F1 | seconds |\n| --- | --- | --- | --- | --- |\n"
    return (
        "## Against the thesis's method on the same labels\n\n"
        "TSLP-SSL and a network on the labels alone, both narrow (12,677 parameters) on patches of 20 × 20 pixels of\n"
        "120 m around the clicked cells; one draw, one seed (`python benchmarks/clicks_tslp.py`). *study*: rates and\n"
        "steps of the [study of few labels](few-labels.md), 1000 random patches without labels; *even pool*: at most\n"
        "200 of each class of the kernel's own map, a help from the bundled network; *how-to*: the paper's rates and\n"
        "four times the steps.\n\n"
        f"{head}" + "\n".join(lines) + "\n\n"
    )


def _short(row: Row) -> Row:
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}


def draw(rows: list[Row], scenes: list[str], heads: list[str], queues: list[str], path: Path) -> None:
    """Learning curves, with the spread over scenes of the desk's own way."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, part, names, title in (
        (left, "head", heads, "Ways to learn, each class in turn"),
        (right, "queue", queues, "Which places to label"),
    ):
        for k, name in enumerate(names):
            counts = sorted({r["clicks"] for r in rows if (r["part"], r["name"]) == (part, name)})
            values = np.array([by_scene(rows, part, name, n, "f1", scenes) for n in counts])
            if np.isnan(values).any():
                continue
            own = name in ("kernel", "mixed")
            style = {"linewidth": 2.6 if own else 1.3, "color": "black" if name == "network" else f"C{k}"}
            axes.plot(counts, 100 * values.mean(axis=1), marker="o", markersize=3, label=name, **style)
            if own:
                spread = 100 * values.std(axis=1, ddof=1) / np.sqrt(len(scenes))
                mean = 100 * values.mean(axis=1)
                axes.fill_between(counts, mean - spread, mean + spread, color=f"C{k}", alpha=0.15, linewidth=0)
        axes.set_xscale("log")
        axes.set_xticks([5, 10, 25, 60, 100, 200], ["5", "10", "25", "60", "100", "200"])
        axes.minorticks_off()
        axes.set_xlabel("clicks")
        axes.set_title(title, fontsize=11)
        axes.grid(alpha=0.3)
    handles, names = left.get_legend_handles_labels()
    right.legend(loc="lower right", fontsize=8, frameon=False)
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    left.set_ylabel("macro-F1, %")
    figure.savefig(path, dpi=110)
