"""Maps of sea ice: classes, their probabilities, and where neither ice nor water is told."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from frazil.answer import answers
from frazil.conventions import (
    BINARY,
    CLASS_LAND,
    CLASS_NODATA,
    PERCENT_NODATA,
    UNDECIDED,
    VARIABLES,
    Denoise,
    class_attrs,
    flag_attrs,
)
from frazil.errors import OptionError
from frazil.learn.checkpoint import DEFAULT_MODEL, Model, ModelCard
from frazil.learn.infer.choose import EngineSettings, engine_for
from frazil.learn.infer.engine import Engine
from frazil.learn.infer.softmax import half_percents
from frazil.learn.infer.tiles import tiles_for
from frazil.learn.predict.adapt import adapt_to_scene, check_weight
from frazil.learn.predict.flags import BIT, FlagSettings, Holds, flags_on_map
from frazil.learn.predict.scene import SCORE_NODATA, BoxLike, PathOrScene, Progress, RadarMap, map_scene
from frazil.percent import whole_percents
from frazil.scene.land import add_land
from frazil.scene.tiles import TileGrid

_COARSEST_M = 120.0  # map spacing that nobody asked for; results of patch classifiers are interpolated to it
_UNTOLD = (
    "The model's card does not tell how well it knows ice from open water (it was made before maps could be undecided, "
    "or scored on neither): do not rely on how much is undecided."
)


def predict(
    scene: PathOrScene,
    model: Model | str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    crs: str | None = "auto",
    spacing_m: float | None = None,
    bbox: BoxLike | None = None,
    denoise: Denoise | None = None,
    flags: FlagSettings | None = None,
    adapt: float | bool = False,
    tile: int | None = None,
    precision: str = "float32",
    device: str | None = None,
    function: str = "auto",
    stride: int | None = None,
    engine: str = "auto",
    progress: Progress | None = None,
) -> xr.Dataset:
    """The ice map of a scene, as `frazil.conventions.check_map` describes it.

    Args:
        scene: a scene at the model's pixel spacing, or the path of a product, which is then opened as the model wants
            it (polarisations, block averaging, denoising).
        model: a loaded model, its folder, or the name of a bundled one.
        crs: of the map, projected in metres; ``"auto"``: see `frazil.scene.grid.grid_for`; None keeps
            the radar grid (line, pixel).
        spacing_m: pixel size of the map; by default that of the model, and for patch classifiers that of their
            results, but not above 120 m.
        bbox: west, south, east, north in degrees (west above east across 180°): map what of the scene lies there, on
            those pixels of the whole scene's grid that hold the box. Only what they need is mapped; it is what the map
            of the whole scene has there, but for rounding where networks compute with other tiles. Networks with a wide
            view, and denoise="balanced", read all of the scene once.
        denoise: how noise is removed, see `frazil.open_scene`; by default as in the scenes that the model learnt from.
            Another is refused but ``"balanced"`` for models that learnt from ``"esa"``, which differ in residual noise
            alone. A scene that is open must have been opened so.
        flags: thresholds of the quality flags.
        adapt: let the scene teach the model its signatures (`frazil.learn.predict.adapt`): True, or the weight of what
            it teaches against the network, above 0 and at most 1. For models that classify every pixel.
        tile: largest core size of the tiles, pixels; the result does not depend on it. By default 1536, and 1024 for
            patch classifiers.
        precision: ``"float32"`` or ``"bfloat16"``.
        device: ``"cpu"`` or ``"cuda"``; by default CUDA where there is one.
        function: of a patch classifier: ``"dense"``, ``"patchwise"``, or ``"auto"``: what fits the network.
        stride: of a patch classifier: pixels between results.
        engine: ``"torch"``, ``"openvino"`` or ``"auto"``, see `frazil.learn.infer.choose.engine_for`.
        progress: called as work proceeds.

    Returns:
        Dataset. Pixels without an observation are never classified: 255 everywhere, flag ``nodata``. Land has class
        254 and no probability.

    Raises:
        ModelError: the scene lacks a polarisation of the model, or its spacing does not fit.
        OptionError: a bbox that is none, does not touch the scene, or with `adapt`, which the whole scene teaches.
        ProductError and others: as `frazil.open_scene`.
    """
    if bbox is not None and adapt:
        raise OptionError("adapt does not go with a bbox: it is the whole scene that teaches. Leave out one of them.")
    run = EngineSettings(engine=engine, function=function, stride=stride, device=device, precision=precision)
    made = IceAnswers(flags=flags or FlagSettings(), adapt=adapt, tile=tile, run=run)
    return map_scene(
        scene,
        model,
        made,
        crs=crs,
        spacing_m=spacing_m,
        bbox=bbox,
        denoise=denoise,
        twice=bool(adapt),
        progress=progress,
    )


@dataclass(frozen=True, kw_only=True)
class IceAnswers:
    """What a map of sea ice makes of logits: probabilities, in half percents (0 to 200) on the radar grid.

    See `frazil.learn.predict.scene.Answers`; arguments as of `predict`.
    """

    title: ClassVar[str] = "Sea-ice map"
    doing: ClassVar[str] = "classifying"
    holds: ClassVar[Holds] = "middle"

    flags: FlagSettings = field(default_factory=FlagSettings)
    adapt: float | bool = False
    tile: int | None = None
    run: EngineSettings = field(default_factory=EngineSettings)  #: how the engine is to run, see `engine_for`

    def spacing_m(self, card: ModelCard, cell: int) -> float:
        """That of the model; of results in cells theirs, but not above 120 m."""
        return max(card.spacing_m, min(card.spacing_m * cell, _COARSEST_M))

    def engine(self, model: Model) -> Engine:
        """Refuses a weight of `adapt` that is none, or for patches."""
        made = engine_for(model, **self.run)
        check_weight(self.adapt, made.cell, model.card.id)
        return made

    def tiles(self, engine: Engine, shape: tuple[int, int]) -> TileGrid:
        """Of 1536 pixels, and 1024 for patch classifiers, whose margins are narrow."""
        return tiles_for(engine, shape, self.tile or (1536 if engine.cell == 1 else 1024))

    def keep(self, logits: np.ndarray, engine: Engine, card: ModelCard, out: np.ndarray) -> None:  # noqa: ARG002
        """Probabilities in half percents."""
        half_percents(logits, card.temperature, out)

    def refine(self, radar: RadarMap, scene: xr.Dataset, on: xr.Dataset, card: ModelCard) -> dict[str, object]:  # noqa: ARG002
        """Let the scene teach its signatures, if it was asked to."""
        if not self.adapt:
            return {}
        sea = (radar.scores[0] != SCORE_NODATA) & ~add_land(scene)["land_mask"].values
        return adapt_to_scene(radar.scores, scene, sea, check_weight(self.adapt, 1, card.id))

    def finish(
        self,
        scores: np.ndarray,
        flags: np.ndarray,
        land: np.ndarray,
        distance: np.ndarray,
        coords: dict[str, object],  # noqa: ARG002
        dims: tuple[str, str],
        card: ModelCard,
    ) -> dict[str, tuple[Any, ...]]:
        """Probability and class of every pixel, the probability of ice, confidence, and flags."""
        nodata = (scores[0] == SCORE_NODATA) | ((flags & BIT["nodata"]) > 0)
        blank = nodata | land
        percent = whole_percents(np.where(nodata, np.uint8(0), scores))
        code, confidence, ice = answers(percent, self.flags.confidence_percent)
        no_percent = np.where(blank, np.uint8(PERCENT_NODATA), np.uint8(0))
        for plane in (*percent, confidence, ice):
            np.bitwise_or(plane, no_percent, out=plane)  # all bits set: 255
        code[land] = CLASS_LAND
        code[nodata] = CLASS_NODATA
        flags = flags_on_map(flags, nodata, land, distance, self.flags)
        flags[code == UNDECIDED] |= BIT["undecided"]
        return {
            "probability": (("category", *dims), percent, VARIABLES["probability"]),
            "ice_probability": (dims, ice, VARIABLES["ice_probability"]),
            "ice_class": (dims, code, class_attrs(card.scheme, undecided=True)),
            "confidence": (dims, confidence, VARIABLES["confidence"]),
            "quality_flags": (dims, flags, flag_attrs()),
        }

    def attrs(self, card: ModelCard) -> dict[str, object]:
        """What was asked for, and what is known of the model."""
        note = " ".join(filter(None, [card.statement, card.figures or _UNTOLD]))
        return {"note": note, "confidence_percent": self.flags.confidence_percent}


def to_binary(ice_map: xr.Dataset) -> xr.Dataset:
    """A map in the binary scheme (water, sea ice) from a map in any other: the ice classes' probabilities added.

    Where ice and water are, and where neither is decided, stays as it is.
    """
    ice = ice_map["ice_probability"]
    blank = ice == PERCENT_NODATA
    both = xr.concat([100 - ice.astype(np.int16), ice], dim="category").where(~blank, PERCENT_NODATA).astype(np.uint8)
    out = ice_map.drop_dims("category")
    out["probability"] = both.assign_coords(category=list(BINARY.names)).assign_attrs(ice_map["probability"].attrs)
    code = ice_map["ice_class"]
    out["ice_class"] = xr.where(code < ice_map.sizes["category"], np.minimum(code, 1), code).astype(np.uint8)
    out["ice_class"].attrs = class_attrs(BINARY, undecided=True)
    for name in ("probability", "ice_class"):
        if "grid_mapping" in ice_map["ice_class"].attrs:
            out[name].attrs["grid_mapping"] = ice_map["ice_class"].attrs["grid_mapping"]
    return out.assign_attrs(ice_map.attrs, class_scheme="binary")
