"""A report on training runs as a folder of web pages that open without a network, and print.

``index.html`` holds one run whole, or the runs side by side with a page for each; ``figures/`` the pictures. There is
no script in it, every text of others is escaped, and a content-security policy keeps the pages from asking for anything
that is not in the folder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from frazil import __version__
from frazil.conventions import ClassScheme
from frazil.errors import OptionError
from frazil.files import refuse_existing, whole_output
from frazil.labels.sources import product_key
from frazil.maps.export import as_output_error
from frazil.reports import figures
from frazil.reports.findings import RunFindings
from frazil.reports.html import write_html
from frazil.reports.maps import FIGURES, MapWithTruth, read_map, scenes_of
from frazil.reports.tables import (
    MIN_SCENES,
    class_table,
    comparison_table,
    confusion_rows,
    differing_settings,
    flatten,
    number,
    percent,
    same_samples,
    scene_rows,
    score_errors,
)

PAGE, TEMPLATE = "index.html", "report.html.j2"
_SCENES_SHOWN = 200
SIDES = ("train", "validation", "test")


def write_report(
    runs: Sequence[RunFindings],
    directory: str | os.PathLike[str],
    *,
    maps: Sequence[MapWithTruth] = (),
    overwrite: bool = False,
) -> dict[str, Path]:
    """Write the report; the folder appears whole or not at all.

    Args:
        runs: one run, or several side by side.
        directory: the folder; made with its parents.
        maps: to show with their truth.
        overwrite: replace the folder if it exists.

    Returns:
        The pages: ``"report"``, and with several runs ``"run_1"``, ``"run_2"`` …

    Raises:
        OptionError: no run.
        ProductNotFoundError, ContractError, LabelError and others: maps or truths that cannot be read.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    if not runs:
        raise OptionError("There is no run to report on. Pass the folder of one.")
    target = refuse_existing(directory, overwrite=overwrite)
    shown = [read_map(one, n, runs) for n, one in enumerate(maps, start=1)]
    pages = {"report": PAGE}
    several = len(runs) > 1
    if several:
        pages |= {f"run_{n}": f"run-{n}.html" for n in range(1, len(runs) + 1)}
    with whole_output(target, overwrite=overwrite) as part, as_output_error(target):
        (part / FIGURES).mkdir(parents=True)
        common = {
            "version": __version__,
            "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            "maps": [one.draw(part) for one in shown],
        }
        described = [_run(run, n, part) for n, run in enumerate(runs, start=1)]
        overview = _overview(runs, described, part) if several else None
        first: dict[str, Any] = {"overview": overview, "run": None if several else described[0]}
        write_html(part / PAGE, TEMPLATE, title=title_of(runs), back=False, **first, **common)
        if several:
            for n, one in enumerate(described, start=1):
                title = f"Run {n}: {one['name']}"
                write_html(
                    part / f"run-{n}.html",
                    TEMPLATE,
                    title=title,
                    back=True,
                    overview=None,
                    run=one,
                    **common | {"maps": []},
                )
    return {name: target / page for name, page in pages.items()}


def title_of(runs: Sequence[RunFindings]) -> str:
    """Of the first page."""
    return f"Training run {runs[0].name}" if len(runs) == 1 else f"{len(runs)} training runs side by side"


def _run(run: RunFindings, n: int, folder: Path) -> dict[str, Any]:
    """What the page says of a run; its figures are written."""
    data = run.run.get("data") if isinstance(run.run.get("data"), dict) else {}
    assert isinstance(data, dict)
    curves = f"{FIGURES}/run-{n}-curves.png"
    sides: list[dict[str, Any]] = []
    for side in ("test", "validation"):
        if side in run.sides:
            sides.append(_side(run, side, None if sides else f"{FIGURES}/run-{n}-reliability.png", folder))
    return {
        "number": n,
        "name": run.name,
        "folder": run.folder,
        "unit": run.unit,
        "finished": run.finished,
        "state": state_of(run),
        "statement": str(run.card.get("statement") or ""),
        "facts": facts_of(run),
        "split": _split(data),
        "data": _data_table(run, data),
        "curves": curves if figures.draw_curves([run], folder / curves) else None,
        "kept_step": run.kept_step,
        "has_validation": any("validation_macro_f1" in row for row in run.log),
        "sides": sides,
        "mistakes": _mistakes(run, n, folder),
        "no_mistakes": run.no_mistakes,
        "settings": flatten(config if isinstance(config := run.run.get("config"), dict) else {}),
        "min_scenes": MIN_SCENES,
    }


def state_of(run: RunFindings) -> str:
    """Whether the run has ended, and how, in words."""
    of = "" if run.planned is None else f" of {number(run.planned)}"
    if not run.finished:
        return (
            f"This run has not ended: {number(run.steps)}{of} steps are in its log. It was killed or is still going "
            "on. The same command goes on where it stopped. There are no scores yet."
        )
    if run.stopped_early:
        return f"This run stopped early after {number(run.steps)}{of} steps: it no longer got better."
    return f"This run ended after {number(run.steps)} steps."


def facts_of(run: RunFindings) -> list[tuple[str, str]]:
    """What the run is, a line a fact."""
    config = flatten(c if isinstance(c := run.run.get("config"), dict) else {})
    versions = v if isinstance(v := run.run.get("versions"), dict) else {}
    card = run.card
    facts = [
        ("Network", config.get("model.architecture", "–")),
        ("Weights at the start", config.get("model.pretrained", "null").replace("null", "drawn at random")),
        ("Way of learning", config.get("strategy.name", "–")),
        ("Seed", config.get("seed", "–")),
        ("Classes", ", ".join(run.scheme.titles) if run.scheme else "not told"),
        (
            "Data",
            _named(config, "patches")
            or _named(config, "labels")
            or _named(config, "train")
            or config.get("data.kind", "–"),
        ),
    ]
    if card:
        channels = [str(c.get("name", "?")) for c in card.get("channels", []) if isinstance(c, dict)]
        facts.append(("Channels", ", ".join(channels) or "–"))
        facts.append(("Pixel spacing", f"{card.get('spacing_m', '–')} m"))
        facts.append(("Noise removal", str(card.get("denoise", "–"))))
        facts.append(("Temperature", str(card.get("temperature", "–"))))
    facts += [
        ("Time spent on training", "not told" if run.seconds is None else duration(run.seconds)),
        ("Commit of frazil", str(run.run.get("commit", "unknown"))),
        ("Versions", ", ".join(f"{k} {v}" for k, v in versions.items()) or "not told"),
        ("Command", str(run.run.get("command", "not told"))),
        ("Run folder", run.folder),
    ]
    return facts


def _named(config: dict[str, str], key: str) -> str:
    """A setting of the data without the marks of JSON."""
    return config.get(f"data.{key}", "").strip("[]").replace('"', "")


def duration(seconds: float) -> str:
    """In seconds, minutes or hours."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h {whole % 3600 // 60} min"


def _split(data: dict[str, Any]) -> dict[str, Any]:
    """How the sides were made, and whether scores on them can be trusted."""
    sides = [{product_key(name) for name in scenes_of(data, side)} for side in SIDES]
    shared = sorted(sides[0] & (sides[1] | sides[2]))
    return {
        "by": str(data.get("split", "not told")),
        "leaks": bool(data.get("leaks")) or bool(shared),
        "shared": shared,
    }


def _data_table(run: RunFindings, data: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a side: scenes, and samples of each class."""
    rows = []
    for side in SIDES:
        part = data.get(side) if isinstance(data.get(side), dict) else {}
        assert isinstance(part, dict)
        counts = next((v for v in part.values() if isinstance(v, dict)), {})
        names = run.scheme.names if run.scheme else tuple(counts)
        values = [v if isinstance(v := counts.get(name, 0), int) else 0 for name in names]
        rows.append(
            {
                "side": side,
                "scenes": scenes_of(data, side),
                "titles": run.scheme.titles if run.scheme else names,
                "counts": [number(v) for v in values],
                "total": number(sum(values)),
                "missing": [
                    t for t, v in zip(run.scheme.titles if run.scheme else names, values, strict=True) if not v
                ],
            }
        )
    return rows


def _side(run: RunFindings, side: str, reliability: str | None, folder: Path) -> dict[str, Any]:
    """Scores on one side; its reliability diagram is drawn where it has a name."""
    scores, scheme = run.sides[side], run.scheme
    assert scheme is not None
    counts = scores.counts
    said, true = counts.sum(axis=0), counts.sum(axis=1)
    bins = scores.reliability
    over = sum(bins.confidence) - sum(bins.correct)
    total = max(sum(bins.total), 1)
    rows = scene_rows(scores)
    drawn = reliability and figures.draw_reliability(bins, folder / reliability, run.unit) and reliability
    return {
        "side": side,
        "samples": number(int(counts.sum())),
        "scenes": len(rows),
        "scores": {
            "accuracy": percent(scores.accuracy),
            "balanced_accuracy": percent(scores.balanced_accuracy),
            "macro_f1": percent(scores.macro_f1),
            "binary": percent(scores.binary.accuracy) if scores.binary else "",
        },
        "errors": score_errors(scores),
        "binary": [
            {"title": title, **{k: percent(getattr(scores.binary, k)[i]) for k in ("precision", "recall", "f1")}}
            for i, title in enumerate(("Water", "Ice") if scores.binary else ())
        ],
        "classes": [
            {
                "title": c.title, "colour": "#{:02x}{:02x}{:02x}".format(*c.colour),
                "true": number(int(true[c.code])), "said": number(int(said[c.code])),
                **{k: percent(getattr(scores, k)[c.code]) for k in ("precision", "recall", "f1")},
            }
            for c in scheme.classes
        ],
        "never": [c.title.lower() for c in scheme.classes if not true[c.code]],
        "confusion": confusion_rows(counts),
        "worst_confusion": _worst_confusion(counts, scheme),
        "rows": rows[:_SCENES_SHOWN],
        "rows_left_out": len(rows[_SCENES_SHOWN:]),
        "ece": percent(scores.ece),
        "ece_before": percent(scores.ece_before_temperature),
        "over": f"{100 * abs(over) / total:.1f}",
        "over_confident": over > 0,
        "reliability": drawn,
    }  # fmt: skip


def _worst_confusion(counts: np.ndarray, scheme: ClassScheme) -> dict[str, str] | None:
    off = counts * (1 - np.eye(len(counts), dtype=np.int64))
    if not off.any():
        return None
    i, j = (int(k) for k in np.unravel_index(int(off.argmax()), off.shape))
    return {
        "truth": scheme.titles[i].lower(), "said": scheme.titles[j].lower(), "count": number(int(off[i, j])),
        "of": number(int(counts[i].sum())), "share": f"{100 * off[i, j] / counts[i].sum():.0f} %",
    }  # fmt: skip


def _mistakes(run: RunFindings, n: int, folder: Path) -> dict[str, Any] | None:
    found = run.mistakes
    if found is None or run.scheme is None:
        return None
    shown = []
    for k, mistake in enumerate(found.worst, start=1):
        picture = f"{FIGURES}/run-{n}-mistake-{k:02d}.png"
        figures.write_picture(mistake, folder / picture)
        known = np.isfinite(mistake.line) and np.isfinite(mistake.pixel)
        shown.append(
            {
                "picture": picture,
                "truth": run.scheme.titles[mistake.truth],
                "said": run.scheme.titles[mistake.said],
                "confidence": f"{100 * mistake.confidence:.1f} %",
                "scene": mistake.scene,
                "where": f"line {mistake.line:.0f}, pixel {mistake.pixel:.0f}" if known else "place not told",
            }
        )
    return {
        "side": found.side, "judged": number(found.judged), "wrong": number(found.wrong), "shown": shown,
        "legend": found.legend,
    }  # fmt: skip


def _overview(runs: Sequence[RunFindings], described: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Runs side by side."""
    headings, cells = comparison_table(runs)
    rows = []
    for run, one, row in zip(runs, described, cells, strict=True):
        judged = run.judged
        rows.append(
            {
                "number": one["number"],
                "name": run.name,
                "folder": run.folder,
                "state": "ended" if run.finished else "not ended",
                "judged": "not judged" if judged is None else f"{number(int(judged[1].counts.sum()))} {run.unit} of "
                f"{len(judged[1].scene_counts)} {judged[0]} scenes",
                "validation_only": judged is not None and judged[0] == "validation",
                "leaks": one["split"]["leaks"],
                "time": "–" if run.seconds is None else duration(run.seconds),
                "cells": row,
            }
        )  # fmt: skip
    judged_sides = [run.judged[1] for run in runs if run.judged]
    curves = f"{FIGURES}/curves.png"
    return {
        "headings": headings,
        "rows": rows,
        "classes": dict(zip(("headings", "cells"), class_table(runs), strict=True)),
        "unit": runs[0].unit if len({run.unit for run in runs}) == 1 else "samples",
        "same": all(same_samples(judged_sides[0], other) for other in judged_sides[1:]),
        "few": any(len(side.scene_counts) < MIN_SCENES for side in judged_sides),
        "min_scenes": MIN_SCENES,
        "any_leak": any(row["leaks"] for row in rows),
        "all_leak": all(row["leaks"] for row in rows),
        "differences": differing_settings(runs),
        "curves": curves if figures.draw_curves(runs, folder / curves) else None,
    }
