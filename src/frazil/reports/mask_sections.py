"""What a report says of runs on imagettes, whose classes each hold for themselves: masks of phenomena, and names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from frazil.conventions import ClassScheme
from frazil.maps.phenomena_figures import draw_imagettes
from frazil.reports import figures
from frazil.reports.html import FIGURES
from frazil.reports.record import SIDES, ImagettesShown, RunRecord
from frazil.reports.scores import MaskScores
from frazil.reports.tables import confusion_rows, duration, number, percent

_ALONE = (
    ("Loss", ("loss",)),
    ("Set Dice", ("dice", "validation_mean_set_dice")),
    ("Images named right", ("accuracy", "validation_accuracy")),
)
_TOGETHER = (
    ("Training loss", ("loss",)),
    ("Set Dice, validation", ("validation_mean_set_dice",)),
    ("Named right, validation", ("validation_accuracy",)),
)
_A_ROW = 8  # imagettes in a picture
_OF_ONE_CLASS = ("Class there, or not, told", ("validation_presence_accuracy",))  # every image has its name then
_OF_MASKS = ("set_dice", "pixel_dice", "precision", "recall", "iou")


def panels(run: RunRecord) -> figures.Panels:
    """What of the log is drawn."""
    return _panels(_ALONE, run)


def described(run: RunRecord, n: int, folder: Path) -> dict[str, object]:
    """What only pages of this kind say of a run; its figures are written."""
    scores = run.mask_scores
    return {
        "data": _data_table(run),
        "chooses": run.settings.get("optim.keep") == "best",
        "sides": [_side(scores[s], run.scheme, s) for s in ("test", "validation") if s in scores],
        "sheets": [_sheet(sheet, f"{FIGURES}/run-{n}-images-{k}", folder) for k, sheet in enumerate(run.imagettes, 1)],
        "split": {"leaks": False},
    }


def _several(run: RunRecord) -> bool:
    return run.scheme is None or len(run.scheme.classes) > 1


def _panels(panels: figures.Panels, run: RunRecord) -> figures.Panels:
    return panels if _several(run) else (*panels[:2], _OF_ONE_CLASS)


def _data_table(run: RunRecord) -> dict[str, object]:
    """A column a side: images, those with masks, and images of each category."""
    held = [run.side(side) for side in SIDES]
    rows = [("All", [side.images for side in held]), ("With masks", [side.with_masks for side in held])]
    for c in run.scheme.classes if run.scheme else ():
        rows.append((c.title, [side.counts.get(c.name) for side in held]))
    return {
        "sides": SIDES,
        "rows": [(title, ["–" if v is None else number(v) for v in values]) for title, values in rows],
        "sources": [(side, of.sources) for side, of in zip(SIDES, held, strict=True)],
    }


def _side(scores: MaskScores, scheme: ClassScheme | None, side: str) -> dict[str, object]:
    assert scheme is not None
    counts, several = np.array(scores.confusion, np.int64), len(scheme.classes) > 1
    return {
        "side": side,
        "several": several,
        "images": number(scores.images),
        "masks": bool(scores.set_dice),
        "overall": [
            (title, percent(value))
            for title, value in (
                ("Set Dice, mean of the classes: 2 Σxy / (Σx + Σy) of masks", scores.mean_set_dice),
                ("Per-pixel Dice (Colin et al., equation 8, of scores)", scores.mean_pixel_dice),
                ("Images whose category is named right", scores.accuracy if several else None),
                ("Right answers to whether a class is in an image", scores.presence_accuracy),
            )
            if value is not None
        ],
        "classes": [
            {
                "title": c.title,
                "colour": "#{:02x}{:02x}{:02x}".format(*c.colour),
                "f1": _at(scores.f1_by_category, i),
                **{name: _at(getattr(scores, name), i) for name in _OF_MASKS},
            }
            for i, c in enumerate(scheme.classes)
        ],
        "confusion": confusion_rows(counts) if counts.any() and several else [],
    }


def _at(values: tuple[float | None, ...], i: int) -> str:
    return percent(values[i]) if values else "–"


def _sheet(sheet: ImagettesShown, name: str, folder: Path) -> dict[str, object]:
    pictures = []
    for n, some in enumerate(np.array_split(np.arange(len(sheet.rows)), -(-len(sheet.rows) // _A_ROW)), start=1):
        pictures.append(f"{name}-{n}.png")
        found = [sheet.found.isel(imagette=some)]
        draw_imagettes(sheet.images.isel(imagette=some), folder / pictures[-1], found=found, most=_A_ROW)
    rows = [
        {
            "number": n,
            "name": name,
            "category": category or "not told",
            "named": named,
            "wrong": category not in ("", named),
            "dice": percent(dice),
        }
        for n, (name, category, named, dice) in enumerate(sheet.rows, start=1)
    ]
    return {
        "title": sheet.title,
        "pictures": pictures,
        "rows": rows,
        "masks": "mask" in sheet.images,
        "method": str(sheet.found.attrs["method"]),
    }


def overview(runs: Sequence[RunRecord], numbers: Sequence[int], folder: Path) -> dict[str, object]:
    """Runs side by side: scores on the test side, or on the validation side where there is no other."""
    curves = f"{FIGURES}/curves-masks.png"
    schemes = {run.scheme for run in runs}
    scheme = runs[0].scheme if len(schemes) == 1 else None
    rows = []
    for run, n in zip(runs, numbers, strict=True):
        scores = run.mask_scores.get(run.judged or "")
        dice = scores.set_dice if scores and scores.set_dice else scores.f1_by_category if scores else ()
        keys = ("mean_set_dice", "mean_pixel_dice", "accuracy" if _several(run) else "", "presence_accuracy")
        rows.append(
            {
                "number": n,
                "name": run.name,
                "folder": run.folder,
                "state": "" if run.finished else "not ended",
                "judged": f"{number(scores.images)} images, {run.judged}" if scores else "not judged",
                "cells": [percent(getattr(scores, key)) if scores and key else "–" for key in keys],
                "classes": [_at(dice, i) for i in range(len(scheme.classes) if scheme else 0)],
                "of_masks": bool(scores and scores.set_dice),
                "time": "–" if run.seconds is None else duration(run.seconds),
            }
        )
    drawn = figures.draw_curves(runs, folder / curves, _panels(_TOGETHER, runs[0]), numbers)
    return {
        "rows": rows,
        "titles": scheme.titles if scheme else (),
        "same": len({row["judged"] for row in rows}) == 1,
        "curves": curves if drawn else None,
    }
