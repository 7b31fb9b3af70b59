"""What a report says of runs whose classes exclude each other: sea ice, photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from frazil.conventions import ClassScheme
from frazil.labels.sources import product_key
from frazil.reports import figures
from frazil.reports.html import FIGURES
from frazil.reports.record import SIDES, RunRecord
from frazil.reports.tables import (
    MIN_SCENES,
    class_table,
    comparison_table,
    confusion_rows,
    duration,
    number,
    percent,
    same_samples,
    scene_rows,
    score_errors,
)

_SCENES_SHOWN = 200
ALONE: figures.Panels = (
    ("Loss", ("loss", "validation_nll")),
    ("Accuracy", ("accuracy", "validation_accuracy")),
    ("Macro-F1", ("validation_macro_f1",)),
)
_TOGETHER: figures.Panels = (
    ("Training loss", ("loss",)),
    ("Accuracy on the validation side", ("validation_accuracy",)),
    ("Macro-F1 on the validation side", ("validation_macro_f1",)),
)


def panels(_run: RunRecord) -> figures.Panels:
    """What of the log is drawn."""
    return ALONE


def described(run: RunRecord, n: int, folder: Path) -> dict[str, object]:
    """What only pages of this kind say of a run; its figures are written."""
    sides: list[dict[str, object]] = []
    for side in ("test", "validation"):
        if side in run.class_scores:
            sides.append(_side(run, side, None if sides else f"{FIGURES}/run-{n}-reliability.png", folder))
    return {
        "split": {"by": run.split, "leaks": _leaks(run), "shared": _shared(run)},
        "data": _data_table(run),
        "sides": sides,
        "mistakes": _mistakes(run, n, folder),
        "has_validation": any("validation_macro_f1" in row for row in run.log),
        "min_scenes": MIN_SCENES,
    }


def _shared(run: RunRecord) -> list[str]:
    """Products that stand on the training side and on another."""
    train, *others = ({product_key(name) for name in run.side(side).scenes} for side in SIDES)
    return sorted(train & set[str]().union(*others))


def _leaks(run: RunRecord) -> bool:
    """Whether scores on the other sides cannot be trusted."""
    return run.leaks or bool(_shared(run))


def _data_table(run: RunRecord) -> list[dict[str, object]]:
    """A row a side: scenes, and samples of each class."""
    rows: list[dict[str, object]] = []
    for side in SIDES:
        held = run.side(side)
        names = run.scheme.names if run.scheme else tuple(held.counts)
        titles = run.scheme.titles if run.scheme else names
        values = [held.counts.get(name, 0) for name in names]
        rows.append(
            {
                "side": side,
                "scenes": held.scenes,
                "titles": titles,
                "counts": [number(v) for v in values],
                "total": number(sum(values)),
                "missing": [t for t, v in zip(titles, values, strict=True) if not v],
            }
        )
    return rows


def _side(run: RunRecord, side: str, reliability: str | None, folder: Path) -> dict[str, object]:
    """Scores on one side; its reliability diagram is drawn where it has a name."""
    scores, scheme = run.class_scores[side], run.scheme
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
                "title": c.title,
                "colour": "#{:02x}{:02x}{:02x}".format(*c.colour),
                "true": number(int(true[c.code])),
                "said": number(int(said[c.code])),
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
    }


def _worst_confusion(counts: np.ndarray, scheme: ClassScheme) -> dict[str, str] | None:
    off = counts * (1 - np.eye(len(counts), dtype=np.int64))
    if not off.any():
        return None
    i, j = (int(k) for k in np.unravel_index(int(off.argmax()), off.shape))
    return {
        "truth": scheme.titles[i].lower(),
        "said": scheme.titles[j].lower(),
        "count": number(int(off[i, j])),
        "of": number(int(counts[i].sum())),
        "share": f"{100 * off[i, j] / counts[i].sum():.0f} %",
    }


def _mistakes(run: RunRecord, n: int, folder: Path) -> dict[str, object] | None:
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
        "side": found.side,
        "judged": number(found.judged),
        "wrong": number(found.wrong),
        "shown": shown,
        "legend": found.legend,
    }


def overview(runs: Sequence[RunRecord], numbers: Sequence[int], folder: Path) -> dict[str, object]:
    """Runs side by side."""
    headings, cells = comparison_table(runs)
    rows = []
    for run, n, row in zip(runs, numbers, cells, strict=True):
        side = run.judged
        judged = None if side is None else (side, run.class_scores[side])
        rows.append(
            {
                "number": n,
                "name": run.name,
                "folder": run.folder,
                "state": "ended" if run.finished else "not ended",
                "judged": "not judged"
                if judged is None
                else f"{number(int(judged[1].counts.sum()))} {run.unit} of "
                f"{len(judged[1].scene_counts)} {judged[0]} scenes",
                "validation_only": judged is not None and judged[0] == "validation",
                "leaks": _leaks(run),
                "time": "–" if run.seconds is None else duration(run.seconds),
                "cells": row,
            }
        )
    judged_sides = [run.class_scores[run.judged] for run in runs if run.judged]
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
        "curves": curves if figures.draw_curves(runs, folder / curves, _TOGETHER, numbers) else None,
    }
