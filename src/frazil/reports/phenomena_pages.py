"""Pages on training runs of metocean segmentation: what `frazil.reports.pages` is to sea ice."""

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
from frazil.maps.export import as_output_error
from frazil.maps.phenomena_figures import draw_imagettes
from frazil.reports import figures
from frazil.reports.findings import ImagettesShown, PhenomenaFindings, PhenomenaScores
from frazil.reports.html import write_html
from frazil.reports.maps import FIGURES
from frazil.reports.pages import PAGE, SIDES, duration, facts_of, state_of, title_of
from frazil.reports.tables import confusion_rows, differing_settings, flatten, number, percent

_TEMPLATE = "metocean_report.html.j2"
_ALONE = (
    ("Loss", ("loss",)),
    ("Set Dice", ("dice", "validation_mean_set_dice")),
    ("Images named right", ("accuracy", "validation_accuracy")),
)
_SIDE_BY_SIDE = (
    ("Training loss", ("loss",)),
    ("Set Dice, validation", ("validation_mean_set_dice",)),
    ("Named right, validation", ("validation_accuracy",)),
)
_A_ROW = 8  # imagettes in a picture
_OF_ONE_CLASS = ("Class there, or not, told", ("validation_presence_accuracy",))  # every image has its name then
_OF_MASKS = ("set_dice", "pixel_dice", "precision", "recall", "iou")


def write_phenomena_report(
    runs: Sequence[PhenomenaFindings], directory: str | os.PathLike[str], *, overwrite: bool = False
) -> dict[str, Path]:
    """Write the report; the folder appears whole or not at all. See `frazil.reports.pages.write_report`.

    Raises:
        OptionError: no run, or runs of different classes. OutputExistsError, OutputError: as `whole_output`.
    """
    if not runs or len({run.scheme for run in runs}) > 1:
        raise OptionError("Runs stand side by side where they have the same classes. Report on these separately.")
    target = refuse_existing(directory, overwrite=overwrite)
    several, pages = len(runs) > 1, {"report": PAGE}
    common = {"version": __version__, "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
    with whole_output(target, overwrite=overwrite) as part, as_output_error(target):
        (part / FIGURES).mkdir(parents=True)
        described = [_run(run, n, part) for n, run in enumerate(runs, start=1)]
        overview = _overview(runs, described, part) if several else None
        alone = None if several else described[0]
        write_html(part / PAGE, _TEMPLATE, title=title_of(runs), back=False, overview=overview, run=alone, **common)
        for n, one in enumerate(described if several else [], start=1):
            pages[f"run_{n}"] = f"run-{n}.html"
            title = f"Run {n}: {one['name']}"
            write_html(part / f"run-{n}.html", _TEMPLATE, title=title, back=True, overview=None, run=one, **common)
    return {name: target / page for name, page in pages.items()}


def _run(run: PhenomenaFindings, n: int, folder: Path) -> dict[str, Any]:
    """What the page says of a run; its figures are written."""
    data = d if isinstance(d := run.run.get("data"), dict) else {}
    config = c if isinstance(c := run.run.get("config"), dict) else {}
    curves = f"{FIGURES}/run-{n}-curves.png"
    return {
        "number": n, "name": run.name, "folder": run.folder, "finished": run.finished, "state": state_of(run),
        "statement": str(run.card.get("statement") or ""), "facts": facts_of(run), "data": _data_table(run, data),
        "curves": curves if figures.draw_curves([run], folder / curves, _panels(_ALONE, run)) else None,
        "kept_step": run.kept_step,
        "sides": [_side(run.metocean[s], run.scheme, s) for s in ("test", "validation") if s in run.metocean],
        "chooses": config.get("optim", {}).get("keep") == "best",
        "sheets": [_sheet(sheet, f"{FIGURES}/run-{n}-images-{k}", folder) for k, sheet in enumerate(run.shown, 1)],
        "no_sheets": run.no_mistakes, "settings": flatten(config),
    }  # fmt: skip


def _several(run: PhenomenaFindings) -> bool:
    return run.scheme is None or len(run.scheme.classes) > 1


def _panels(panels: figures.Panels, run: PhenomenaFindings) -> figures.Panels:
    return panels if _several(run) else (*panels[:2], _OF_ONE_CLASS)


def _data_table(run: PhenomenaFindings, data: dict[str, Any]) -> dict[str, Any]:
    """A column a side: images, those with masks, and images of each category."""
    parts = [p if isinstance(p := data.get(side), dict) else {} for side in SIDES]
    counts = [c if isinstance(c := part.get("categories"), dict) else {} for part in parts]
    rows = [("All", [part.get("images") for part in parts]), ("With masks", [part.get("with_masks") for part in parts])]
    for c in run.scheme.classes if run.scheme else ():
        rows.append((c.title, [of.get(c.name) for of in counts]))
    return {
        "sides": SIDES,
        "rows": [(title, [number(v) if isinstance(v, int) else "–" for v in values]) for title, values in rows],
        "sources": [(side, [str(s) for s in part.get("sources", [])]) for side, part in zip(SIDES, parts, strict=True)],
    }


def _side(scores: PhenomenaScores, scheme: ClassScheme | None, side: str) -> dict[str, Any]:
    assert scheme is not None
    counts, several = np.array(scores.confusion, np.int64), len(scheme.classes) > 1
    return {
        "side": side, "several": several, "images": number(scores.images), "masks": bool(scores.set_dice),
        "overall": [
            (title, percent(value)) for title, value in (
                ("Set Dice, mean of the classes: 2 Σxy / (Σx + Σy) of masks", scores.mean_set_dice),
                ("Per-pixel Dice (Colin et al., equation 8, of scores)", scores.mean_pixel_dice),
                ("Images whose category is named right", scores.accuracy if several else None),
                ("Right answers to whether a class is in an image", scores.presence_accuracy),
            ) if value is not None
        ],
        "classes": [
            {
                "title": c.title, "colour": "#{:02x}{:02x}{:02x}".format(*c.colour),
                "f1": _at(scores.f1_by_category, i), **{name: _at(getattr(scores, name), i) for name in _OF_MASKS},
            }
            for i, c in enumerate(scheme.classes)
        ],
        "confusion": confusion_rows(counts) if counts.any() and several else [],
    }  # fmt: skip


def _at(values: tuple[float | None, ...], i: int) -> str:
    return percent(values[i]) if values else "–"


def _sheet(sheet: ImagettesShown, name: str, folder: Path) -> dict[str, Any]:
    pictures = []
    for n, some in enumerate(np.array_split(np.arange(len(sheet.rows)), -(-len(sheet.rows) // _A_ROW)), start=1):
        pictures.append(f"{name}-{n}.png")
        found = [sheet.found.isel(imagette=some)]
        draw_imagettes(sheet.images.isel(imagette=some), folder / pictures[-1], found=found, most=_A_ROW)
    rows = [
        {"number": n, "name": name, "category": category or "not told", "named": named,
         "wrong": category not in ("", named), "dice": percent(dice)}
        for n, (name, category, named, dice) in enumerate(sheet.rows, start=1)
    ]  # fmt: skip
    return {"title": sheet.title, "pictures": pictures, "rows": rows, "masks": "mask" in sheet.images,
            "method": str(sheet.found.attrs["method"])}  # fmt: skip


def _overview(runs: Sequence[PhenomenaFindings], described: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Runs side by side: scores on the test side, or on the validation side where there is no other."""
    judged = [next(((s, r.metocean[s]) for s in ("test", "validation") if s in r.metocean), None) for r in runs]
    curves = f"{FIGURES}/curves.png"
    scheme = runs[0].scheme
    rows = []
    for run, one, of in zip(runs, described, judged, strict=True):
        scores = of[1] if of else None
        dice = scores.set_dice if scores and scores.set_dice else scores.f1_by_category if scores else ()
        keys = ("mean_set_dice", "mean_pixel_dice", "accuracy" if _several(run) else "", "presence_accuracy")
        rows.append({
            "number": one["number"], "name": run.name, "folder": run.folder,
            "state": "" if run.finished else "not ended",
            "judged": f"{number(of[1].images)} images, {of[0]}" if of else "not judged",
            "cells": [percent(getattr(scores, key)) if scores and key else "–" for key in keys],
            "classes": [_at(dice, i) for i in range(len(scheme.classes) if scheme else 0)],
            "of_masks": bool(scores and scores.set_dice), "time": "–" if run.seconds is None else duration(run.seconds),
        })  # fmt: skip
    return {
        "rows": rows, "titles": scheme.titles if scheme else (), "same": len({row["judged"] for row in rows}) == 1,
        "differences": differing_settings(runs),
        "curves": curves if figures.draw_curves(runs, folder / curves, _panels(_SIDE_BY_SIDE, runs[0])) else None,
    }  # fmt: skip
