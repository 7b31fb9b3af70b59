"""What a run on imagettes tells, for `frazil report`: what `frazil.reports.gather` is to sea ice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from frazil.errors import FrazilError, LabelError, OptionError
from frazil.labels.imagettes import UNKNOWN, join_imagettes, open_imagettes
from frazil.learn.checkpoint import Model, load_model
from frazil.learn.config import ImagetteData, run_config
from frazil.learn.data.imagettes import crop, masked, outputs
from frazil.learn.infer.device import usable_device
from frazil.learn.models.patch import PatchClassifier
from frazil.learn.predict.imagettes import check_fit, segment
from frazil.reports.findings import ImagettesShown, PhenomenaFindings

_LOOKED_AT = 400  #: imagettes among which the worst are looked for
_AS_THEY_COME = 16
Rows = tuple[np.ndarray, np.ndarray]  #: what images are taken for, and their set Dice


def phenomena_findings(
    found: PhenomenaFindings, place: Path, *, worst: int = 12, device: str | None = None
) -> PhenomenaFindings:
    """Add imagettes of the test side to what is known of a finished run: the worst ones, and some as they come.

    Args:
        found: of the run.
        place: its folder.
        worst: how many of the worst; 0 leaves all pictures out, and needs no data and no network.
        device: ``"cpu"`` or ``"cuda"``.
    """
    side = next((side for side in ("test", "validation") if side in found.metocean), None)
    if not found.finished or side is None or worst == 0:
        why = "It was asked for none." if worst == 0 else "Nothing was judged."
        return replace(found, no_mistakes=why if found.finished else "The run has not ended; there is no model yet.")
    try:
        model, ds = load_model(place / "model"), _held_out(found.run, side)
        check_fit(ds, model)
    except FrazilError as error:
        return replace(found, no_mistakes=f"The images or the model are not there any more: {error}")
    every = np.unique(np.linspace(0, ds.sizes["imagette"] - 1, _LOOKED_AT).round().astype(int))
    some = ds.isel(imagette=every)
    segments = segment(some, model, device=device)
    named, dice = _each(model, some, segments, usable_device(device).type)
    category = some["category"].values
    wrong = (named != category) & (category != UNKNOWN)
    badness = np.where(np.isfinite(dice), 1 - dice, wrong)
    last = np.argsort(-badness, kind="stable")[: min(worst, some.sizes["imagette"])]
    spread = np.unique(np.linspace(0, some.sizes["imagette"] - 1, _AS_THEY_COME).round().astype(int))
    how = "" if len(every) == ds.sizes["imagette"] else f", of {len(every)} looked at"
    sheets = ((f"The worst of the {side} side{how}", last), (f"Of the {side} side, as they come", spread))
    shown = tuple(
        _sheet(title, segments.isel(imagette=w), some.isel(imagette=w), model, (named[w], dice[w]))
        for title, w in sheets
    )
    return replace(found, shown=shown)


def _held_out(run: dict[str, Any], side: str) -> xr.Dataset:
    data = run_config(run["config"]).data
    if not isinstance(data, ImagetteData):
        raise OptionError("the run did not learn from imagettes.")
    ds = join_imagettes([open_imagettes(path) for path in getattr(data, side)])
    known = run.get("data", {}).get(side, {}).get("images")
    if known != ds.sizes["imagette"]:
        raise LabelError(f"the {side} side had {known} images, now it has {ds.sizes['imagette']}.")
    return ds if data.size is None else crop(ds, data.size)


def _each(model: Model, ds: xr.Dataset, found: xr.Dataset, device: str) -> tuple[np.ndarray, np.ndarray]:
    """Of every image the class it is taken for, and its set Dice over classes (NaN without masks, or drawing none)."""
    if isinstance(model.network, PatchClassifier):
        scores = np.array([score for _, score in outputs(model.network.to(device), ds, device)])
        return scores.argmax(1), np.full(len(scores), np.nan)
    mean = found["score"].astype(np.float32).mean(("mask_line", "mask_pixel"), skipna=True).values
    dice = np.full(len(mean), np.nan)
    for i in np.flatnonzero(masked(ds)):
        there, said = ds["mask"].values[i] == 1, found["found"].values[i]
        both = there.sum() + said.sum()
        dice[i] = 2 * (there & said).sum() / both if both else 1.0
    return np.nan_to_num(mean).argmax(1), dice


def _sheet(title: str, found: xr.Dataset, ds: xr.Dataset, model: Model, rows: Rows) -> ImagettesShown:
    titles, category, named, dice = model.card.scheme.titles, ds["category"].values, *rows
    told = ["" if c == UNKNOWN else titles[c] for c in category]
    lines = zip(ds["name"].values.tolist(), told, (titles[n] for n in named), dice.tolist(), strict=True)
    return ImagettesShown(title=title, images=ds, found=found, rows=tuple(lines))
