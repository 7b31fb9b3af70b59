"""Tables and pictures of training on several workers."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.errors import OptionError
from frazil.files import refuse_existing, whole_output
from frazil.metrics import student_interval
from frazil.studies.page import write_page

if TYPE_CHECKING:
    from frazil.studies.workers import Row

TITLES = {
    "cifar10": "ResNet20 on a small part of CIFAR-10",
    "ice": "The ad hoc network on simulated sea-ice patches, five classes, split by scene",
    "ice-cnn13": "The 13-layer network, narrow, on the same patches",
}
_HEAD = """\
# What learning from others buys

Two workers, the same samples and optimiser steps for every method. Independent networks, and their ensemble, are **the
control**: they exchange nothing. *A network* is the mean of both workers' networks (Allreduce and local SGD have one);
*ensemble* averages the probabilities of both.

{size} The paper's ResNet20 learnt from all of CIFAR-10, 32 × 32 pixels, batches of 128, for up to 120 epochs.

## Before you read the numbers

- Small runs: they show the order of things at this scale, and neither the paper's accuracies nor its hundred epochs.
- The simulated ice has the signatures of the literature, from which real pack departs
  (`docs/results/simulator-real.md`).
- Workers are simulated in one process; that this equals real processes in lockstep is tested.
- ± is the 95 % interval (Student) over seeds; differences are paired by seed. Where an interval holds zero, nothing was
  shown.
- Settings were fixed beforehand, α = 1 where it is not named; the last weights count. Allreduce learns at twice the
  rate, as it sees two batches in a step, and "rate not doubled" at that of the others; all warm up over a tenth
  of their steps.
- Samples are those of all workers, optimiser steps those of each. MB are what a worker sends and gets in its run: ring
  Allreduce, or files written and read. Processor seconds are those of all workers, teachers' passes with them."""
_PACKED_HEAD = """\
# What packed gradients cost

Two workers that train one network in step, by whole gradients (**the control**) and by packed ones
(`ddp.hook`): the same samples, optimiser steps, rate and first weights.

{size} The thesis surveys such ways (chapter 4) and measures none.

## Before you read the numbers

- Small runs: they show whether packing costs accuracy at this size.
- Workers are simulated in one process, and pack the whole gradient at once; `DistributedDataParallel` packs bucket by
  bucket. That real processes do what the equations say is tested.
- ± is the 95 % interval (Student) over seeds; differences are paired by seed. Where an interval holds zero, nothing was
  shown. Settings were fixed beforehand; the last weights count.
- MB are what a worker sends and gets in its run: ring Allreduce of the whole gradient, or its message to the other one
  and the other's to it. Processor seconds are those of both workers, packing and unpacking with them."""
_COLOURS = ("#555555", "#0b5fa5", "#d1730f", "#2a7f4f", "#8e4585", "#b03a2e", "#17a2a2", "#8a8f98")


@dataclass(frozen=True, kw_only=True)
class WayLine:
    """A method in a table, see `summarise`; percent, with half the widths of intervals."""

    way: str
    seeds: int
    accuracy: float
    accuracy_interval: float
    ensemble: float
    ensemble_interval: float
    difference: float
    difference_interval: float
    ensemble_difference: float
    ensemble_difference_interval: float
    distilled: tuple[float, float]
    bytes_per_1000_steps: int
    workers: int
    steps: int
    exchanges: int
    samples: int
    processor_seconds: float


def summarise(rows: list[Row]) -> list[WayLine]:
    """A line a method: last accuracy of a network and of the ensemble, percent, with 95 % intervals over seeds.

    ``difference`` is that of its networks to those of the first method, the control, of the same seed,
    ``ensemble_difference`` that of its ensemble to theirs; intervals are Student's, of the paired differences.
    """
    control = {row["seed"]: row["curve"][-1] for row in rows if row["way"] == rows[0]["way"]}
    out = []
    for way in dict.fromkeys(row["way"] for row in rows):
        mine = [row for row in rows if row["way"] == way]
        one = np.array([100 * np.mean(row["curve"][-1]["each"]) for row in mine])
        together = np.array([100 * row["curve"][-1]["ensemble"] for row in mine])
        base = np.array([100 * np.mean(control[row["seed"]]["each"]) for row in mine])
        base_together = np.array([100 * control[row["seed"]]["ensemble"] for row in mine])
        first, last = (float(np.mean([row["distilled"][i] for row in mine])) for i in (0, -1))
        known = [row["processor_seconds"] for row in mine if "processor_seconds" in row]
        out.append(
            WayLine(
                way=way,
                seeds=len(mine),
                accuracy=float(one.mean()),
                accuracy_interval=student_interval(one),
                ensemble=float(together.mean()),
                ensemble_interval=student_interval(together),
                difference=float((one - base).mean()),
                difference_interval=student_interval(one - base),
                ensemble_difference=float((together - base_together).mean()),
                ensemble_difference_interval=student_interval(together - base_together),
                distilled=(first, last),
                bytes_per_1000_steps=mine[0]["bytes_per_1000_steps"],
                workers=mine[0]["workers"],
                steps=mine[0]["steps"],
                exchanges=mine[0]["exchanges"],
                samples=mine[0]["curve"][-1]["samples"],
                processor_seconds=float(np.mean(known)) if known else math.nan,
            )
        )
    return out


def write_peers_page(
    rows: dict[str, list[Row]], path: str | os.PathLike[str], *, command: str, overwrite: bool = False
) -> Path:
    """Write ``path`` (ending in ``.md``) and a picture of the same name beside it.

    Args:
        rows: of `frazil.studies.workers.run_peers_study`, by what was studied.
        path: ending in ``.md``.
        command: that made the rows.
        overwrite: replace what is there, see `frazil.studies.page.write_page`.
    """
    return write_page(
        path, lambda part: _curves(rows, part), lambda picture: _markdown(rows, picture, command), overwrite=overwrite
    )


def _markdown(rows: dict[str, list[Row]], picture: str, command: str) -> str:
    first = next(iter(rows.values()))[0]
    commits = ", ".join(dict.fromkeys(row["commit"] for part_rows in rows.values() for row in part_rows))
    packed = any(row["changes"].get("ddp.hook") for row in next(iter(rows.values())))
    parts = [(_PACKED_HEAD if packed else _HEAD).format(size=size_in_words(rows))]
    for name, part_rows in rows.items():
        config = part_rows[0]["config"]
        optim = config["optim"]
        each = optim["steps"] * optim["batch"]
        parts += [
            f"## {TITLES.get(name, name)}",
            (
                f"{part_rows[0]['parameters']:,} parameters; {optim['steps']} steps of {optim['batch']} for each "
                f"worker ({each:,} samples each); judged on {part_rows[0]['test']:,} test samples."
            ),
            _table(summarise(part_rows)),
        ]
    parts += [
        f"![Accuracy against samples seen]({picture})",
        "## How it was made",
        (
            f"{datetime.now(UTC):%d %B %Y}, commit {commits}, {platform.machine()}, {os.cpu_count()} cores, "
            f"shared with other work; torch {first['versions']['torch']}, one thread a run. Seeds 0 to "
            f"{max(row['seed'] for part_rows in rows.values() for row in part_rows)}. Command: `{command}`"
        ),
    ]
    return "\n\n".join(parts) + "\n"


def size_in_words(rows: dict[str, list[Row]]) -> str:
    """How large each part of a study was: network, images, steps, seeds."""
    parts = []
    for name, mine in rows.items():
        config, first = mine[0]["config"], mine[0]
        data, optim, seeds = config["data"], config["optim"], len({row["seed"] for row in mine})
        if data["kind"] == "cifar10":
            side, n = 32 // data["shrink"], data["per_class"]
            what = f"{'all' if n is None else f'{10 * n:,}'} training images of CIFAR-10 at {side} × {side} pixels"
        else:
            what = f"patches of {data['size']} × {data['size']} pixels" if data.get("size") else "patches"
        parts.append(
            f"{TITLES.get(name, name).split(',')[0]}: {first['parameters']:,} parameters, {what}, {optim['steps']} "
            f"steps of {optim['batch']} for each worker, {seeds} seed{'s' if seeds > 1 else ''}"
        )
    return f"How big this is: {'; '.join(parts)}."


def _table(lines: list[WayLine]) -> str:
    head = (
        "method",
        "a network, %",
        "ensemble, %",
        f"a network − {lines[0].way}",
        "ensemble − their ensemble",
        "distillation loss, last quarter",
        "samples",
        "optimiser steps",
        "exchanges",
        "MB a worker",
        "processor seconds",
        "seeds",
    )
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for line in lines:
        control = line is lines[0]
        cells = [
            line.way,
            _pm(line.accuracy, line.accuracy_interval),
            _pm(line.ensemble, line.ensemble_interval),
            "control" if control else _pm(line.difference, line.difference_interval, signed=True),
            "control" if control else _pm(line.ensemble_difference, line.ensemble_difference_interval, signed=True),
            f"{line.distilled[-1]:.3f}" if any(line.distilled) else "–",
            f"{line.samples:,}",
            str(line.steps),
            str(line.exchanges),
            "0" if line.way == "independent" else f"{line.bytes_per_1000_steps * line.steps / 1e9:,.1f}",
            "–" if math.isnan(line.processor_seconds) else f"{line.processor_seconds:.0f}",
            str(line.seeds),
        ]
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out)


def _pm(mean: float, half: float, *, signed: bool = False) -> str:
    text = f"{mean:+.1f}" if signed else f"{mean:.1f}"
    return text if math.isnan(half) else f"{text} ± {half:.1f}"


def _curves(rows: dict[str, list[Row]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(rows), 4.6), layout="constrained", dpi=130)
    names = dict.fromkeys(row["way"] for part in rows.values() for row in part)
    colours = dict(zip(names, _COLOURS, strict=False))
    handles = {}
    for axes, (name, part) in zip(figure.subplots(1, len(rows), squeeze=False)[0], rows.items(), strict=True):
        for way in dict.fromkeys(row["way"] for row in part):
            curves = [row["curve"] for row in part if row["way"] == way]
            samples = [look["samples"] for look in curves[0]]
            each = 100 * np.mean([[np.mean(look["each"]) for look in curve] for curve in curves], axis=0)
            together = 100 * np.mean([[look["ensemble"] for look in curve] for curve in curves], axis=0)
            (handles[way],) = axes.plot(samples, each, "-", color=colours[way])
            axes.plot(samples, together, ":", color=colours[way])
        axes.set_title(TITLES.get(name, name).split(",")[0], fontsize=9)
        axes.set_xlabel("samples seen by both workers")
        axes.set_ylabel("test accuracy, %: a network (full), ensemble (dotted)", fontsize=8)
        axes.tick_params(labelsize=8)
        _plain(axes)
    columns = 2 * min(len(rows), 2)
    lines, titles = list(handles.values()), list(handles)
    figure.legend(lines, titles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
    figure.savefig(path, format="png")


def draw_logs(runs: Sequence[str | os.PathLike[str]], path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Validation accuracy of workers against samples, wall time and bytes exchanged, from their run folders.

    Args:
        runs: run folders of `frazil train --peers`; a line each.
        path: ending in ``.png``.
        overwrite: replace what is there.

    Raises:
        OptionError: another suffix, or a folder without such a log.
    """
    from matplotlib.figure import Figure

    target = refuse_existing(path, overwrite=overwrite)
    if target.suffix.lower() != ".png":
        raise OptionError(f"Output {target} should end in .png.")
    figure = Figure(figsize=(12, 4), layout="constrained", dpi=130)
    panels = figure.subplots(1, 3, sharey=True)
    for run, colour in zip(runs, _COLOURS * (len(runs) // len(_COLOURS) + 1), strict=False):
        looks, facts = _log(Path(run))
        steps = [row["step"] for row in facts]
        for axes, (what, size) in zip(
            panels, (("samples", 1.0), ("seconds", 60.0), ("exchange_bytes", 1e6)), strict=True
        ):
            x = np.interp([row["step"] for row in looks], steps, [row.get(what, 0.0) / size for row in facts])
            y = [100 * row["validation_accuracy"] for row in looks]
            axes.plot(x, y, "o-", color=colour, markersize=3, label=Path(run).name)
    for axes, title in zip(panels, ("samples", "minutes", "MB written and read"), strict=True):
        axes.set_xlabel(title)
        _plain(axes)
    panels[0].set_ylabel("validation accuracy, %")
    panels[0].legend(frameon=False, fontsize=8)
    with whole_output(target, overwrite=overwrite) as part:
        figure.savefig(part, format="png")
    return target


def _log(run: Path) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    try:
        rows = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines() if line]
    except (OSError, json.JSONDecodeError) as error:
        raise OptionError(f"{run} holds no log of a run ({error}).") from error
    looks = [row for row in rows if "validation_accuracy" in row]
    facts = [row for row in rows if "samples" in row]
    if not looks or not facts:
        raise OptionError(f"The run in {run} has not logged an exchange and a look at validation data yet.")
    return looks, facts


def _plain(axes: Any) -> None:
    axes.grid(color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
