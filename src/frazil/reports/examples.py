"""Examples for a report: what the model of a run makes of its held-out side, the worst of it first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from frazil.errors import ContractError, FrazilError, LabelError, ModelError, OptionError
from frazil.labels.contact_sheet import patch_pictures
from frazil.labels.imagettes import join_imagettes, open_imagettes
from frazil.labels.patch_set import join_patches, open_patches
from frazil.labels.sample_set import UNKNOWN
from frazil.learn.checkpoint import Model, load_model
from frazil.learn.config import RunConfig, run_config
from frazil.learn.data.imagettes import crop, masked, outputs
from frazil.learn.data.load import split_sides
from frazil.learn.data.patches import Patches
from frazil.learn.infer.device import usable_device
from frazil.learn.infer.softmax import softmax
from frazil.learn.models.patch import takes_patches
from frazil.learn.predict.imagettes import fitted, segment
from frazil.learn.run_folder import MODEL
from frazil.reports.record import ImagettesShown, Mistake, Mistakes, RunRecord, part

_LOOKED_AT = 400  #: imagettes among which the worst are looked for
_AS_THEY_COME = 16
Rows = tuple[np.ndarray, np.ndarray]  #: what images are taken for, and their set Dice


def examples_of(
    found: RunRecord, run: dict[str, object], place: Path, *, worst: int = 24, device: str | None = None
) -> RunRecord:
    """Add to what is known of a finished run what its model gets wrong, or why there is nothing to show.

    Args:
        found: of the run.
        run: its ``run.json``.
        place: its folder.
        worst: how many of the worst.
        device: ``"cpu"`` or ``"cuda"``.
    """
    side = found.judged
    if side is None:
        return replace(found, no_examples="Nothing was held out.")
    try:
        config = run_config(run["config"])
    except OptionError as error:
        return replace(found, no_examples=f"The settings of the run are of another version of frazil: {error}")
    show = _SHOW.get(config.data.kind)
    if show is None:
        why = "This run learnt from scenes pixel by pixel, not from patches. Look at its maps."
        return replace(found, no_examples=why)
    try:
        return show(found, config, part(part(run, "data"), side), place, side, worst, device)
    except FrazilError as error:
        return replace(found, no_examples=str(error))


def _patches(
    found: RunRecord,
    config: RunConfig,
    known: dict[str, object],
    place: Path,
    side: str,
    worst: int,
    device: str | None,
) -> RunRecord:
    """The patches mistaken most confidently."""
    data: Any = config.data
    try:
        model = load_model(place / MODEL)
        patches = split_sides(data)[0][side]
    except (LabelError, ContractError, ModelError, OptionError, FileNotFoundError) as error:
        raise LabelError(f"The patches or the model are not there any more: {error}") from error
    if {k: known.get(k) for k in ("scenes", "checksum")} != {k: patches.describe()[k] for k in ("scenes", "checksum")}:
        raise LabelError("The patch set has changed since the run.")
    probability = softmax(patches.logits(model.network, device) / np.float32(model.card.temperature))
    said = probability.argmax(axis=0)
    wrong = np.flatnonzero(said != patches.label)
    confidence = probability.max(axis=0)
    first = wrong[np.argsort(-confidence[wrong], kind="stable")][:worst]
    pictures, legend, lines, pixels = _look_at(data.patches, patches, first)
    mistakes = tuple(
        Mistake(
            picture=pictures[i],
            truth=int(patches.label[p]),
            said=int(said[p]),
            confidence=float(confidence[p]),
            scene=str(patches.scene[p]),
            line=float(lines[i]),
            pixel=float(pixels[i]),
        )
        for i, p in enumerate(first)
    )
    of = Mistakes(side=side, judged=len(patches), wrong=int(wrong.size), legend=legend, worst=mistakes)
    return replace(found, mistakes=of)


def _look_at(
    stores: tuple[str, ...], patches: Patches, which: np.ndarray
) -> tuple[np.ndarray, str, np.ndarray, np.ndarray]:
    """Pictures uint8 (patch, height, width, 3), what they show, and first line and pixel of some patches."""
    wanted = patches.index[which]
    parts, order, before = [], [], 0
    for store in stores:
        opened = open_patches(store)
        mine = np.flatnonzero((wanted >= before) & (wanted < before + opened.sizes["patch"]))
        rows = wanted[mine] - before
        ascending = np.argsort(rows)  # a store is read in its order
        parts.append(opened.isel(patch=rows[ascending]).load())
        order.append(mine[ascending])
        before += opened.sizes["patch"]
    shown = join_patches(parts)
    back = np.argsort(np.concatenate(order))
    pictures, legend = patch_pictures(shown.isel(patch=back))
    if pictures.ndim == 3:
        pictures = np.repeat(pictures[..., None], 3, axis=-1)
    return (
        np.round(255 * np.clip(pictures, 0, 1)).astype(np.uint8),
        legend,
        shown["line"].values[back],
        shown["pixel"].values[back],
    )


def _imagettes(
    found: RunRecord,
    config: RunConfig,
    known: dict[str, object],
    place: Path,
    side: str,
    worst: int,
    device: str | None,
) -> RunRecord:
    """The imagettes with the worst masks, or names, and some as they come."""
    data: Any = config.data
    try:
        model = load_model(place / MODEL)
        ds = fitted(join_imagettes([open_imagettes(path) for path in getattr(data, side)]), model)
        if known.get("images") != ds.sizes["imagette"]:
            raise LabelError(f"the {side} side had {known.get('images')} images, now it has {ds.sizes['imagette']}.")
        ds = ds if data.size is None else crop(ds, data.size)
    except FrazilError as error:
        raise LabelError(f"The images or the model are not there any more: {error}") from error
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
    return replace(found, imagettes=shown)


def _each(model: Model, ds: xr.Dataset, found: xr.Dataset, device: str) -> tuple[np.ndarray, np.ndarray]:
    """Of every image the class it is taken for, and its set Dice over classes (NaN without masks, or drawing none)."""
    if takes_patches(model.network):
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


_Show = Callable[[RunRecord, RunConfig, dict[str, object], Path, str, int, str | None], RunRecord]
_SHOW: dict[str, _Show] = {"patches": _patches, "imagettes": _imagettes}  # by the kind of the data
