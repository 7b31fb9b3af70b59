"""Scores of a trained model on data of its user's choice, never on scenes that it has learnt from."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from frazil.conventions import PHENOMENA_SCHEMES
from frazil.errors import LabelError, ModelError, OptionError
from frazil.files import refuse_existing, whole_output
from frazil.labels.imagettes import join_imagettes, open_imagettes
from frazil.learn.checkpoint import Model, load_model
from frazil.learn.config import SceneData
from frazil.learn.data.imagettes import HeldOutImagettes
from frazil.learn.data.learning_data import HeldOut
from frazil.learn.data.patches import UNLABELLED, read_patches
from frazil.learn.data.scenes import HeldOutScenes, label_scenes
from frazil.learn.infer.device import usable_device
from frazil.learn.models.patch import takes_patches
from frazil.learn.predict.imagettes import fitted
from frazil.products import open_product


def evaluate(
    model: Model | str | os.PathLike[str],
    data: Sequence[str | os.PathLike[str]],
    *,
    labels: str | None = None,
    options: SceneData | None = None,
    function: str = "auto",
    stride: int | None = None,
    output: str | os.PathLike[str] | None = None,
    device: str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Score a model on patch sets, on sets of imagettes, or pixel by pixel on products with labels.

    Args:
        model: a loaded model, its folder, or the name of a bundled one.
        data: sets of patches or of imagettes (``.zarr``), or products.
        labels: of products, as `frazil.cut_patches` takes them.
        options: how labels are read (`SceneData.mask_land`, ``class_column``, ``classes``).
        function: of a patch classifier on products, see `frazil.learn.infer.dense`.
        stride: of a patch classifier on products.
        output: JSON file to write.
        device: ``"cpu"`` or ``"cuda"``.
        overwrite: replace what is at ``output``.

    Returns:
        Scores as in a model card, and what was scored. Patches of scenes, and imagettes of groups, that the model has
        learnt from are left out and counted in ``left_out``.

    Raises:
        LabelError: nothing is left, or the data does not fit the model.
        ModelError: a model of other channels, classes, patch size or pixel spacing than the data.
        OptionError: patch sets and products at once, products without labels, or a device that is not there.
    """
    device = usable_device(device).type
    loaded = model if isinstance(model, Model) else load_model(model)
    if output is not None:
        refuse_existing(output, overwrite=overwrite)
    paths = [str(path) for path in data]
    stores = [path for path in paths if path.rstrip("/").endswith(".zarr")]
    if stores and len(stores) < len(paths):
        raise OptionError("Pass either patch sets (.zarr) or products, not both.")
    seen = loaded.card.training.get("data", {})
    learnt = {scene for side in ("train", "unlabelled") for scene in seen.get(side, {}).get("scenes", [])}
    held_out: HeldOut
    card = loaded.card
    if card.class_scheme in PHENOMENA_SCHEMES:
        held_out, counts = _imagettes(loaded, stores)
    elif stores:
        held_out, counts = _patches(loaded, tuple(stores), learnt)
    else:
        held_out, counts = _products(loaded, paths, labels, options or SceneData(), learnt, function, stride)
    made = held_out.score(loaded.network.to(device), temperature=card.temperature, device=device).to_json()
    scores: dict[str, Any] = {"model": card.id, **counts, **made}
    if output is not None:
        with whole_output(output, overwrite=overwrite) as part:
            part.write_text(json.dumps(scores, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return scores


def _patches(model: Model, stores: tuple[str, ...], learnt: set[str]) -> tuple[HeldOut, dict[str, object]]:
    card, network = model.card, model.network
    if not takes_patches(network):
        raise ModelError(f"Model {card.id} is no patch classifier. Pass products and --labels to score it.")
    patches, _ = read_patches(stores, channels=tuple(c.name for c in card.channels), scheme=card.class_scheme)
    if patches.image.shape[-1] != network.patch:
        raise ModelError(
            f"Model {card.id} takes patches of {network.patch} pixels, but these have {patches.image.shape[-1]}. "
            "Cut them at its size."
        )
    known = np.isin(patches.scene, list(learnt))
    chosen = patches.take(np.flatnonzero(~known & (patches.label != UNLABELLED)))
    if not len(chosen):
        raise LabelError(
            f"All {len(patches)} patches are of scenes that {card.id} has learnt from, or have no label. "
            "Pass patches of other scenes."
        )
    n = len(chosen.names)
    return chosen, {
        "data": f"{len(chosen)} patches of {n} scene{'s' if n > 1 else ''}",
        "left_out": {"patches": int(known.sum()), "why": "of scenes that the model has learnt from"},
    }


def _imagettes(model: Model, stores: list[str]) -> tuple[HeldOut, dict[str, object]]:
    if not stores:
        raise OptionError(f"Model {model.card.id} is scored on imagettes. Pass a set (.zarr) of `frazil imagettes`.")
    ds = join_imagettes([open_imagettes(path) for path in stores])
    ds = fitted(ds, model)
    learnt = model.card.training.get("data", {}).get("learnt_groups", [])
    known = np.isin(ds["group"].values, learnt)
    if known.all():
        raise LabelError(f"All {known.size} imagettes are of groups that {model.card.id} has learnt from. Pass others.")
    held_out = HeldOutImagettes(ds.isel(imagette=np.flatnonzero(~known)), model.card.scheme)
    return held_out, {
        "data": f"{held_out.n_scored} imagettes",
        "left_out": {"imagettes": int(known.sum()), "why": "of groups that the model has learnt from"},
    }


def _products(
    model: Model,
    products: list[str],
    labels: str | None,
    options: SceneData,
    learnt: set[str],
    function: str,
    stride: int | None,
) -> tuple[HeldOut, dict[str, object]]:
    card = model.card
    if labels is None:
        raise OptionError("Products need labels to score against. Pass --labels FILE.")
    names = {path: open_product(path).name.removesuffix(".SAFE") for path in products}
    chosen = [path for path in products if names[path] not in {name.removesuffix(".SAFE") for name in learnt}]
    if not chosen:
        raise LabelError(f"All these products are among those that {card.id} has learnt from. Pass others.")
    looks = max(round(card.spacing_m / open_product(chosen[0]).spacing_m), 1)
    config = replace(
        options,
        labels=labels,
        channels=tuple(c.name for c in card.channels),
        class_scheme=card.class_scheme,
        looks=looks,
        boxcar=card.boxcar and looks == 1,
        denoise=card.denoise,  # type: ignore[arg-type]
    )
    scenes = HeldOutScenes(label_scenes(tuple(chosen), config), card.scheme, function, stride)
    n = len(chosen)
    return scenes, {
        "data": f"pixels of {n} scene{'s' if n > 1 else ''}",
        "left_out": {"products": len(products) - n, "why": "the model has learnt from them"},
    }
