"""`segment`: maps of phenomena in imagettes by any of the five methods, from one kind of model or another."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from frazil import __version__
from frazil.conventions import PHENOMENA_SCHEMES
from frazil.errors import ModelError, OptionError
from frazil.labels.imagettes import check_imagettes, open_imagettes
from frazil.labels.imagettes_without import in_classes
from frazil.labels.sample_set import UNKNOWN
from frazil.learn.checkpoint import Model, load_model
from frazil.learn.data.imagettes import masked, on_side
from frazil.learn.infer.device import usable_device
from frazil.learn.infer.scales import blocks_of, check_scales, mean_over_scales
from frazil.learn.infer.weak import cam_scores, mask_scores, part_scores
from frazil.learn.infer.weak.grid import as_tensor, prepared
from frazil.learn.models.im2px import IM2PX
from frazil.learn.models.metocean_unet import MetoceanUNet
from frazil.learn.models.output import activated, output_of
from frazil.learn.models.patch import PatchClassifier
from frazil.mask_counts import MaskCounts

METHODS = ("unet", "mask", "part", "cam", "im2px")
_NETWORKS: dict[str, type[nn.Module]] = {"unet": MetoceanUNet, "im2px": IM2PX}


@dataclass(frozen=True, kw_only=True)
class SegmentOptions:
    """Settings of the methods; defaults are those of the source.

    Attributes:
        threshold: from which a score is a mask.
        mask_side, mask_stride: of MASK, pixels.
        mask_count: of MASK: masks along a side; as many as cover the image by default.
        mask_fill: of MASK: ``"zero"`` or ``"mean"``.
        tile: of PART, pixels: 75 or 129.
        tile_stride: of PART; a third of the tile by default.
        dense: PART in one pass over the image.
        precision: of the arithmetic, ``"float32"`` or ``"bfloat16"``.
        scales: at which images are looked at; scores are averaged, see `frazil.learn.infer.scales`.
    """

    threshold: float = 0.5
    mask_side: int = 75
    mask_stride: int = 25
    mask_count: int | None = None
    mask_fill: str = "zero"
    tile: int = 129
    tile_stride: int | None = None
    dense: bool = False
    precision: str = "float32"
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise OptionError(f"threshold {self.threshold} must lie between 0 and 1.")
        for name in ("mask_side", "mask_stride", "mask_count", "tile", "tile_stride"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} {value} must be 1 or more.")
        check_scales(self.scales)

    def check_side(self, side: int, cell: int) -> None:
        """Raise OptionError where images of so many pixels a side have no whole number of cells at some scale."""
        for scale in self.scales:
            if side % (cell * blocks_of(scale)):
                raise OptionError(
                    f"scale {scale:g} does not divide images of {side} pixels with cells of {cell}: they have "
                    f"{side * scale / cell:g} cells a side there. Leave it out."
                )


def segment(
    imagettes: xr.Dataset | str | os.PathLike[str],
    model: Model | str | os.PathLike[str],
    *,
    method: str | None = None,
    options: SegmentOptions | None = None,
    device: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> xr.Dataset:
    """Scores and masks of phenomena on the cells of a set's masks (400 m).

    Args:
        imagettes: a set, or the path of one.
        model: a loaded model, or its folder.
        method: of `METHODS`; by default ``"unet"`` or ``"im2px"`` by the kind of network, ``"cam"`` for categorisers.
        options: of the method.
        device: ``"cpu"`` or ``"cuda"``.
        progress: called with the fraction done.

    Returns:
        Dataset on (imagette, class, mask_line, mask_pixel): ``score`` (float16, 0 to 1; NaN where a cell is not
        observed), ``found`` (bool, score at or above the threshold), and ``dominant`` (uint8 class code of the highest
        score found, 255 undecided); coordinates of the set; attrs ``method``, ``model``, ``threshold``.

    Raises:
        ModelError: a model of another kind, other classes, other pixel spacing or other scaling. OptionError: an
            unknown method or precision. LabelError: no set at the path.
    """
    ds = imagettes if isinstance(imagettes, xr.Dataset) else open_imagettes(imagettes)
    loaded = model if isinstance(model, Model) else load_model(model)
    settings = options or SegmentOptions()
    ds = fitted(ds, loaded, keep_images=True)
    way = method or _usual(loaded.network)
    if way not in METHODS:
        raise OptionError(f"method {way!r} is not one of {list(METHODS)}.")
    settings.check_side(ds.sizes["line"], int(ds.attrs["cell"]))
    network = prepared(loaded.network, settings.precision, usable_device(device))
    cell, side = int(ds.attrs["cell"]), ds.sizes["line"] // int(ds.attrs["cell"])
    images = ds["image"].values
    scores = np.empty((len(images), len(loaded.card.scheme.classes), side, side), np.float16)
    for i, image in enumerate(images):
        scores[i] = mean_over_scales(
            image[None],
            settings.scales,
            (side, side),
            lambda seen: one_image(network, seen, way, settings, cell, loaded.card.temperature),
        )
        unseen = ~np.isfinite(image).reshape(side, cell, side, cell)
        scores[i][:, unseen.mean((1, 3)) > 0.5] = np.nan
        if progress:
            progress((i + 1) / len(images))
    return _dataset(ds, scores, loaded, way, settings)


def one_image(
    network: nn.Module, image: np.ndarray, method: str, options: SegmentOptions, cell: int, temperature: float = 1.0
) -> np.ndarray:
    """Scores float32 (class, rows, columns) of an image (1, height, width) on cells of some pixels.

    Logits of networks that answer cell by cell are divided by a temperature; masks at a threshold of 0.5 do not depend
    on it.

    Raises:
        ModelError: a network that the method is not for.
    """
    shape = image.shape[1] // cell, image.shape[2] // cell
    wanted = _NETWORKS.get(method, PatchClassifier)
    if not isinstance(network, wanted):
        kind = {"unet": "metocean:unet", "im2px": "metocean:im2px"}.get(method, "metocean:categoriser")
        raise ModelError(
            f"Method {method!r} cannot use a {type(network).__name__}. Train one with `frazil train {kind}`, or choose "
            "another --method."
        )
    if method == "mask":
        made = mask_scores(
            network,
            image,
            side=options.mask_side,
            stride=options.mask_stride,
            count=options.mask_count,
            fill=options.mask_fill,
        )
        return made.on_cells(shape, cell)
    if method == "part":
        made = part_scores(network, image, tile=options.tile, stride=options.tile_stride, dense=options.dense)
        return made.on_cells(shape, cell)
    if method == "cam":
        return cam_scores(network, image).on_cells(shape, cell, linear=True)
    with torch.inference_mode():
        logits = network(as_tensor(network, image)).float() / temperature
        score = activated(logits, output_of(network))[0].cpu().numpy()
    return on_side(score, shape[0])


def fitted(ds: xr.Dataset, model: Model, *, keep_images: bool = False) -> xr.Dataset:
    """The set in the classes of a model, which may have been trained without some, see `in_classes`.

    Raises:
        ModelError: the model did not learn from images like these.
    """
    scheme, card = check_imagettes(ds), model.card
    if set(card.scheme.names) - set(scheme.names) or card.scheme.whole != scheme.whole:
        raise ModelError(f"Model {card.id} knows the classes {card.class_scheme!r}, the imagettes are {scheme.name!r}.")
    if abs(float(ds.attrs["spacing_m"]) / card.spacing_m - 1) > 0.2:
        raise ModelError(
            f"Model {card.id} learnt from pixels of {card.spacing_m:g} m, these have {ds.attrs['spacing_m']:g} m. "
            f"Make them with --resolution {card.spacing_m:g}."
        )
    scaling = card.training.get("data", {}).get("scaling")
    if scaling is not None and scaling != ds.attrs["scaling"]:
        raise ModelError(
            f"Model {card.id} learnt from {scaling} images, these hold {ds.attrs['scaling']} values. Use others."
        )
    return in_classes(ds, card.scheme, keep_images=keep_images)


def _usual(network: nn.Module) -> str:
    return next((name for name, kind in _NETWORKS.items() if isinstance(network, kind)), "cam")


def dominant(score: np.ndarray, threshold: float) -> np.ndarray:
    """Code of the class with the highest score, uint8 (…, rows, columns); 255 where none reaches the threshold."""
    filled = np.nan_to_num(np.asarray(score, np.float32))
    best = filled.argmax(-3).astype(np.uint8)
    return np.where(filled.max(-3) >= threshold, best, UNKNOWN).astype(np.uint8)


def _dataset(ds: xr.Dataset, scores: np.ndarray, model: Model, method: str, options: SegmentOptions) -> xr.Dataset:
    dims = ("imagette", "class", "mask_line", "mask_pixel")
    found = np.nan_to_num(scores) >= options.threshold
    data: dict[str, Any] = {
        "score": (dims, scores, {"long_name": f"score by {method}", "units": "1"}),
        "found": (dims, found),
        "dominant": ((dims[0], *dims[2:]), dominant(scores, options.threshold)),
    }
    kept = {k: ds.coords[k] for k in ("class", "name", "group", "incidence_angle", "longitude", "latitude")}
    return xr.Dataset(
        data,
        kept,
        {
            "title": "Phenomena in imagettes",
            "method": method,
            "model": model.card.id,
            "threshold": options.threshold,
            **({} if options.scales == (1.0,) else {"scales": list(options.scales)}),
            "class_scheme": ds.attrs["class_scheme"],
            "spacing_m": float(ds.attrs["spacing_m"]) * int(ds.attrs["cell"]),
            "model_statement": model.card.statement,
            "frazil_version": __version__,
        },
    )


def score_segments(found: xr.Dataset, ds: xr.Dataset) -> dict[str, Any]:
    """Scores of what was found against the masks of a set, JSON-ready (None for NaN); empty where none were drawn.

    Images called by a class that the model was trained without do not count.
    """
    scheme = PHENOMENA_SCHEMES[found.attrs["class_scheme"]]
    called, ds = ds["category"].values, in_classes(ds, scheme, keep_images=True)
    known = masked(ds) & ((called == UNKNOWN) | (ds["category"].values != UNKNOWN))
    if not known.any():
        return {}
    scores = MaskCounts(ds.sizes["class"], float(found.attrs["threshold"]))
    for i in np.flatnonzero(known):
        category = int(ds["category"].values[i])
        scores.add(found["score"].values[i], ds["mask"].values[i] == 1, None if category == UNKNOWN else category)
    made = {**scores.result(), "classes": ds["class"].values.tolist()}
    return {k: [None if x != x else x for x in v] if isinstance(v, list) else v for k, v in made.items()}
