"""A wide scene and a metocean network to a map of phenomena: a score for each, on cells of 400 m.

The scene goes through the network in tiles whose central parts are kept. With the network's own margin the result does
not depend on the tiles; with tiles of 256 pixels and half of each overlapping, as the source has it, it depends a
little on them, since such a network sees further than 64 pixels.

References:
    Colin, A., et al. (2022), Remote Sens. 14, 851, section 5 and figure 5.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from frazil.answer import ICE_PERCENT
from frazil.conventions import CLASS_LAND, CLASS_NODATA, PERCENT_NODATA, UNDECIDED, Denoise, flag_attrs
from frazil.errors import ModelError, OptionError
from frazil.learn.checkpoint import Model, ModelCard
from frazil.learn.infer.choose import engine_for
from frazil.learn.infer.engine import Engine
from frazil.learn.infer.scales import ManyScales, check_scales
from frazil.learn.infer.softmax import percents
from frazil.learn.infer.tiles import tiles_for
from frazil.learn.predict.flags import BIT, FlagSettings, Holds, flags_on_map
from frazil.learn.predict.scene import SCORE_NODATA, BoxLike, PathOrScene, Progress, RadarMap, map_scene
from frazil.scene.geolocation import Geolocation
from frazil.scene.tiles import TileGrid

HALF_OVERLAP = (128, 64)  #: core and margin, pixels, of tiles of 256 with half of each overlapping


@dataclass(frozen=True, kw_only=True)
class DropRule:
    """A class that cannot be there.

    Attributes:
        name: of the class.
        equatorward_of: latitude, degrees, on both hemispheres, below which it is dropped; 90 drops it everywhere.
        months: in which it is dropped (1 to 12); all where empty.
    """

    name: str
    equatorward_of: float = 90.0
    months: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.equatorward_of <= 90 or any(not 1 <= m <= 12 for m in self.months):
            raise OptionError(f"drop {self.name!r}: latitude must lie in 0 … 90 and months in 1 … 12.")


@dataclass(frozen=True, kw_only=True)
class PhenomenaMapOptions:
    """How a scene is mapped.

    Attributes:
        threshold: from which a score counts as found.
        tiling: ``"seamless"`` or ``"half-overlap"``, see the module.
        tile: core of seamless tiles, pixels.
        drop: classes that cannot be there.
        precision: ``"float32"`` or ``"bfloat16"``.
        flags: thresholds of the quality flags.
        scales: at which the network looks at the scene; scores are averaged, see `frazil.learn.infer.scales`.
    """

    threshold: float = 0.5
    tiling: str = "seamless"
    tile: int = 1024
    drop: tuple[DropRule, ...] = ()
    precision: str = "float32"
    flags: FlagSettings = field(default_factory=FlagSettings)
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise OptionError(f"threshold {self.threshold} must lie between 0 and 1.")
        if self.tile < 1:
            raise OptionError(f"tile {self.tile} must be 1 or more.")
        if self.tiling not in ("seamless", "half-overlap"):
            raise OptionError(f"tiling {self.tiling!r} is not 'seamless' or 'half-overlap'.")
        if self.precision not in ("float32", "bfloat16"):
            raise OptionError(f"precision {self.precision!r} is not 'float32' or 'bfloat16'.")
        check_scales(self.scales)


def predict_phenomena(
    scene: PathOrScene,
    model: Model | str | os.PathLike[str],
    *,
    crs: str | None = "auto",
    spacing_m: float | None = None,
    bbox: BoxLike | None = None,
    denoise: Denoise | None = None,
    options: PhenomenaMapOptions | None = None,
    ice: xr.Dataset | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """The map of phenomena of a scene.

    Args:
        scene: at the model's spacing, with VV; or the path of a product.
        model: a segmentation model (U-Net or IM2PX) that learnt from de-trended σ0, or its folder.
        crs: of the map, in metres; ``"auto"``: a UTM zone, or polar stereographic beyond 60° of latitude; None keeps
            the radar grid (line, pixel), as in `frazil.predict`.
        spacing_m: of the map; by default that of the cells, 400 m at 100 m.
        bbox: see `frazil.predict`.
        denoise: likewise.
        options: see `PhenomenaMapOptions`.
        ice: a sea-ice map of the same scene and CRS (`frazil.predict`): where it finds ice, that wins.
        device: ``"cpu"`` or ``"cuda"``; by default CUDA where there is one.
        progress: called as work proceeds.

    Returns:
        Dataset on (y, x), or (line, pixel): ``score(category)`` (uint8 percent; 255 without), ``phenomena`` (uint16,
        bit k set where class k is found), ``dominant`` (uint8: class code, 253 undecided, 254 land, 255 nodata),
        ``quality_flags``.

    Raises:
        ModelError: a model of another kind, or one that does not fit the scene.
        OptionError: a spacing, or a map of sea ice, for the radar grid; a bbox, see `frazil.predict`.
    """
    if crs is None and (spacing_m is not None or ice is not None):
        raise OptionError("The radar grid (crs=None) has its own spacing, and takes no map of sea ice. Name a CRS.")
    settings = options or PhenomenaMapOptions()
    made = PhenomenaAnswers(options=settings, ice=ice, device=device)
    return map_scene(scene, model, made, crs=crs, spacing_m=spacing_m, bbox=bbox, denoise=denoise, progress=progress)


@dataclass(frozen=True, kw_only=True, eq=False)
class PhenomenaAnswers:
    """What a map of phenomena makes of logits: a score for each of them, in percent.

    See `frazil.learn.predict.scene.Answers`; arguments as of `predict_phenomena`.
    """

    title: ClassVar[str] = "Phenomena of sea and air"
    doing: ClassVar[str] = "segmenting"
    holds: ClassVar[Holds] = "whole"

    options: PhenomenaMapOptions = field(default_factory=PhenomenaMapOptions)
    ice: xr.Dataset | None = None
    device: str | None = None

    @property
    def flags(self) -> FlagSettings:
        """Thresholds of the quality flags."""
        return self.options.flags

    def spacing_m(self, card: ModelCard, cell: int) -> float:
        """That of the cells."""
        return card.spacing_m * cell

    def engine(self, model: Model) -> Engine:
        """Refuses networks that name whole images, models of grey images, and rules on classes that are none."""
        card = model.card
        if not hasattr(model.network, "cell"):
            raise ModelError(
                f"Model {card.id} ({card.architecture}) gives no map of phenomena. Train one with `frazil train "
                "metocean:unet`, or use `frazil segment` for categorisers."
            )
        if card.training.get("data", {}).get("scaling", "roughness") != "roughness":
            raise ModelError(f"Model {card.id} learnt from grey images, not from σ0; it cannot map a product.")
        strange = [rule.name for rule in self.options.drop if rule.name not in card.scheme.names]
        if strange:
            raise OptionError(f"drop {strange[0]!r} is not one of {list(card.scheme.names)}.")
        if self.ice is not None and "sea_ice" not in card.scheme.names:
            raise OptionError(f"Model {card.id} was trained without sea ice: it takes no map of it.")
        engine = engine_for(model, device=self.device, precision=self.options.precision)
        scales = self.options.scales
        return engine if scales == (1.0,) else ManyScales(engine, scales, card.temperature)

    def tiles(self, engine: Engine, shape: tuple[int, int]) -> TileGrid:
        """As `PhenomenaMapOptions.tiling` says."""
        core, margin = HALF_OVERLAP if self.options.tiling == "half-overlap" else (None, None)
        return tiles_for(engine, shape, self.options.tile, core=core, margin=margin)

    def keep(self, logits: np.ndarray, engine: Engine, card: ModelCard, out: np.ndarray) -> None:
        """Scores in percent."""
        percents(logits, card.temperature, engine.output, out)

    def refine(self, radar: RadarMap, scene: xr.Dataset, on: xr.Dataset, card: ModelCard) -> dict[str, object]:  # noqa: ARG002
        """Set scores of classes that cannot be there to 0."""
        if not self.options.drop:
            return {}
        latitude = np.asarray(Geolocation.of(on).lonlat(on["line"].values[:, None], on["pixel"].values[None, :])[1])
        month = int(str(on.attrs["start_time"])[5:7])
        for rule in self.options.drop:
            if rule.months and month not in rule.months:
                continue
            plane = radar.scores[card.scheme.names.index(rule.name)]
            plane[(np.abs(latitude) <= rule.equatorward_of) & (plane != SCORE_NODATA)] = 0
        return {}

    def finish(
        self,
        scores: np.ndarray,
        flags: np.ndarray,
        land: np.ndarray,
        distance: np.ndarray,
        coords: dict[str, object],
        dims: tuple[str, str],
        card: ModelCard,
    ) -> dict[str, tuple[Any, ...]]:
        """Scores, what is found, the phenomenon of the highest score, and flags."""
        names, percent = list(card.scheme.names), scores
        nodata = (percent[0] == PERCENT_NODATA) | ((flags & BIT["nodata"]) > 0)
        found = (percent >= round(100 * self.options.threshold)) & (percent != PERCENT_NODATA)
        dominant = np.where(found.any(0), percent.argmax(0).astype(np.uint8), UNDECIDED).astype(np.uint8)
        if self.ice is not None and "sea_ice" in names:
            code, near = names.index("sea_ice"), _ice_probability(self.ice, coords)
            iced = (near >= ICE_PERCENT) & (near <= 100) & ~nodata
            percent[code][iced] = near[iced]
            found[code] |= iced
            dominant[iced] = code
        blank = nodata | land
        percent[:, blank] = PERCENT_NODATA
        found[:, blank] = False
        dominant[land] = CLASS_LAND
        dominant[nodata] = CLASS_NODATA
        bits = np.zeros(dominant.shape, np.uint16)
        for code, plane in enumerate(found):
            bits |= plane.astype(np.uint16) << np.uint16(code)
        of_found = {
            "long_name": "phenomena found",
            "flag_masks": np.array([1 << i for i in range(len(names))], np.uint16),
            "flag_meanings": " ".join(names),
        }
        of_dominant = {
            "long_name": "phenomenon of the highest score found",
            "flag_values": np.array([*range(len(names)), UNDECIDED, CLASS_LAND], np.uint8),
            "flag_meanings": " ".join([*names, "undecided", "land"]),
        }
        return {
            "score": (("category", *dims), percent, {"units": "percent", "long_name": "score of each phenomenon"}),
            "phenomena": (dims, bits, of_found),
            "dominant": (dims, dominant, of_dominant),
            "quality_flags": (dims, flags_on_map(flags, nodata, land, distance, self.flags), flag_attrs()),
        }

    def attrs(self, card: ModelCard) -> dict[str, object]:
        """What was asked for."""
        options = self.options
        return {
            "note": card.statement,
            "threshold": options.threshold,
            "tiling": options.tiling,
            **({} if options.scales == (1.0,) else {"scales": list(options.scales)}),
            "dropped": [f"{r.name}:{r.equatorward_of:g}:{','.join(map(str, r.months))}" for r in options.drop],
            "sea_ice_from": "" if self.ice is None else str(self.ice.attrs.get("model", "")),
        }


def _ice_probability(ice: xr.Dataset, coords: dict[str, object]) -> np.ndarray:
    """That of the nearest pixel of a map of sea ice, percent (y, x); 255 where there is none."""
    values = {k: v[1] if isinstance(v := coords[k], tuple) else v for k in "yx"}
    at = {k: xr.DataArray(np.asarray(v), dims=k) for k, v in values.items()}
    step = abs(float(ice["x"].values[1] - ice["x"].values[0]))
    near = ice["ice_probability"].reindex(
        y=at["y"], x=at["x"], method="nearest", tolerance=step, fill_value=PERCENT_NODATA
    )
    return np.asarray(near.values)
