"""Rows of benchmarks/gpu.py as a page: how big it was, tables, curves."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.on_gpu.cases import FEW, PAPER_EPOCHS, WORKERS, Sizes, cases

from frazil.errors import OptionError
from frazil.studies.page import write_page

Row = dict[str, Any]
_LESS = 0.01  # below Allreduce's last accuracy
_NEVER = "–"
_HEAD = """\
# Studies on one GPU

How big this is: {workers}
{few}
One seed and one draw of labels each: differences of a point are within what another seed changes. Nothing was chosen
by looking at the test images, which give every number and curve here; the last weights count.

Times were taken while {processes} trainings shared the GPU; they say what the whole cost, not how fast a method is."""


def write_gpu_page(rows: list[Row], path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write ``path`` (ending in ``.md``) and a picture of the curves beside it.

    Args:
        rows: of ``gpu.jsonl``, of one run or of several; of a training that was run twice the later one counts.
        path: ending in ``.md``.
        overwrite: replace what is there.

    Raises:
        OptionError: rows without a machine.
    """
    if not any(row["row"] == "machine" for row in rows):
        raise OptionError("The rows name no machine: they are not of benchmarks/gpu.py, or it was broken off at once.")
    runs = trainings(rows)
    return write_page(
        path, lambda part: _curves(runs, part), lambda picture: _markdown(rows, runs, picture), overwrite=overwrite
    )


def trainings(rows: list[Row]) -> list[Row]:
    """A row a training: its result, or what its looks tell where it was broken off (``cut``)."""
    found: dict[tuple[str, int], Row] = {}
    for row in rows:
        key = row.get("case", ""), row.get("seed", 0)
        if row["row"] == "result":
            found[key] = {"cut": False, **row}
        elif row["row"] == "look":
            old = found.get(key)
            if old is None or old["row"] == "result":
                old = found[key] = {**row, "curve": [], "cut": True}
            old["curve"].append(row)
            old["seconds"] = row["seconds"]
    order = {case.name: n for n, case in enumerate(cases(Sizes()))}
    return sorted((row for row in found.values() if row["curve"]), key=lambda row: order.get(row["case"], len(order)))


def reached(curve: list[Row], target: float, what: str) -> float | None:
    """The first epoch at which a mean network (``"each"``) or the ensemble has an accuracy; None if it never has."""
    return next((look["epoch"] for look in curve if float(np.mean(look[what])) >= target), None)


def _markdown(rows: list[Row], runs: list[Row], picture: str) -> str:
    machines = [row for row in rows if row["row"] == "machine"]
    workers, few = ([row for row in runs if row["part"] == part] for part in (WORKERS, FEW))
    scenes = [row for row in rows if row["row"] == "scene"]
    parts = [
        _HEAD.format(
            workers=_size_of_workers(workers),
            few=_size_of_few(few),
            processes=" and ".join(str(m["processes"]) for m in machines),
        )
    ]
    if workers:
        parts += ["## Two workers on the whole of CIFAR-10", _ABOUT_WORKERS, _workers_table(workers)]
    if few:
        parts += ["## Few labels on CIFAR-10", _ABOUT_FEW, _few_table(few)]
    if runs:
        parts.append(f"![Accuracy on the test images by epoch]({picture})")
    if scenes:
        parts += ["## A scene", _ABOUT_SCENES, _scene_table(scenes)]
    left = {row["case"]: row.get("why", "it failed") for row in rows if row["row"] in ("left out", "failed")}
    if left:
        parts += ["## Left out", "\n".join(f"- {case}: {why}." for case, why in left.items())]
    return "\n\n".join([*parts, "## How it was made", _made(machines)]) + "\n"


_ABOUT_WORKERS = f"""\
An epoch is as many steps as one worker needs to see the 45,000 training images once; two workers, each with batches of
its own. Allreduce and local SGD end in one network, the others in two: *a network* is the mean of both, *ensemble*
averages their probabilities. *Reaches* is the first epoch within {100 * _LESS:.0f} point of Allreduce's last accuracy.
Independent networks exchange nothing: they are the control. The others learn nothing from each other in the warm-up."""
_ABOUT_FEW = """\
An epoch is a pass through the unlabelled images with 50 of them in a batch of 100, and for labels alone as many steps.
Label propagation learns from labels alone in the first quarter. *Pseudo-labels right* is what the last propagation gave
the unlabelled images, against their hidden labels."""
_ABOUT_SCENES = """\
The bundled model on made-up pixels, in memory, through the loop over tiles that maps are made with: scaling, network,
probabilities, flags; without reading, land and warp. *The network* is its share, with the input in place."""


def _size_of_workers(runs: list[Row]) -> str:
    if not runs:
        return "No workers were trained."
    epochs, test = sorted({row["epochs"] for row in runs}), max(row.get("test", 0) for row in runs)
    judged = f", judged on {test:,} test images" if test else ""
    return (
        f"Workers learn for {' and '.join(map(str, epochs))} epochs each where the paper has {PAPER_EPOCHS}, with its\n"
        f"batch, rates, warm-up and drops of the rate at the same shares of the run{judged}."
    )


def _size_of_few(runs: list[Row]) -> str:
    if not runs:
        return "Few labels were not studied."
    epochs = " and ".join(str(n) for n in sorted({row["epochs"] for row in runs}))
    return f"Few labels get {epochs} passes through the unlabelled images, where published runs have 180."


def _last(row: Row, what: str) -> float:
    return 100 * float(np.mean(row["curve"][-1][what]))


def _state(row: Row) -> str:
    done = row["curve"][-1]["epoch"]
    return f"broken off at {done:.0f} of {row['epochs']}" if row["cut"] else f"{row['epochs']}"


def _head(names: tuple[str, ...]) -> list[str]:
    return ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]


def _workers_table(runs: list[Row]) -> str:
    base = next((row for row in runs if row["case"] == "Allreduce" and not row["cut"]), None)
    lines = _head(
        (
            "method",
            "a network, %",
            "ensemble, %",
            "a network reaches",
            "ensemble reaches",
            "exchanges",
            "epochs",
            "seconds",
        )
    )
    for row in runs:
        cells = [row["case"], f"{_last(row, 'each'):.2f}", f"{_last(row, 'ensemble'):.2f}"]
        for what in ("each", "ensemble"):
            epoch = reached(row["curve"], _last(base, "each") / 100 - _LESS, what) if base else None
            cells.append(_NEVER if epoch is None else f"{epoch:.0f}")
        cells += [str(row.get("exchanges", _NEVER)), _state(row), f"{row['seconds']:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _few_table(runs: list[Row]) -> str:
    lines = [
        "| case | accuracy, % | pseudo-labels right, % | reached by labels, % | epochs | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for row in sorted(runs, key=lambda r: -r.get("labels", 0)):
        last = row["curve"][-1]
        told = [100 * last.get(name, math.nan) for name in ("pseudo_accuracy", "pseudo_coverage")]
        cells = [row["case"], f"{_last(row, 'accuracy'):.2f}", *(_NEVER if math.isnan(t) else f"{t:.1f}" for t in told)]
        lines.append("| " + " | ".join([*cells, _state(row), f"{row['seconds']:.0f}"]) + " |")
    return "\n".join(lines)


def _scene_table(rows: list[Row]) -> str:
    lines = _head(("pixels", "where", "precision", "seconds", "the network, s", "peak GPU memory, GB"))
    for row in rows:
        where = row["device"] if row["on"] == "cuda" else f"CPU, {row['cores']} cores"
        peak = f"{row['peak_bytes'] / 1e9:.2f}" if row["peak_bytes"] else _NEVER
        network = _NEVER if row["network_seconds"] is None else f"{row['network_seconds']:.2f}"
        cells = [f"{row['side']} × {row['side']}", where, row["precision"], f"{row['seconds']:.2f}", network, peak]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _made(machines: list[Row]) -> str:
    out = []
    for row in machines:
        tf32 = " and ".join(k.replace("_", " ") for k, on in row["tf32"].items() if on) or "nothing"
        out.append(
            f"{row['device']}, {row['cores']} CPU cores, torch {row['torch']}, CUDA {row['cuda']}, commit "
            f"{row['commit']}; TF32 for {tf32}, bfloat16 for few labels; {row['processes']} processes, NVIDIA's "
            f"Multi-Process Service: {row['mps']}; seeds {row['seeds']}. Command: `make gpu`, {row['minutes']:g} min."
        )
    return "\n\n".join(out)


def _curves(runs: list[Row], path: Path) -> None:
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.8), layout="constrained", dpi=130)
    for axes, (part, what) in zip(figure.subplots(1, 2), ((WORKERS, "each"), (FEW, "accuracy")), strict=True):
        for number, row in enumerate(r for r in runs if r["part"] == part):
            colour = colormaps["tab10"](number % 10)
            epochs = [look["epoch"] for look in row["curve"]]
            axes.plot(epochs, [100 * np.mean(look[what]) for look in row["curve"]], color=colour, label=row["case"])
            if part == WORKERS:
                axes.plot(epochs, [100 * look["ensemble"] for look in row["curve"]], ":", color=colour)
        axes.set_title(part, fontsize=9)
        axes.set_xlabel("epoch")
        axes.set_ylabel("test accuracy, %" + (": a network (full), ensemble (dotted)" if part == WORKERS else ""))
        axes.grid(color="#dddddd")
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            axes.legend(frameon=False, fontsize=7)
    figure.savefig(path, format="png")
