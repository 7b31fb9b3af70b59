"""What a run is: frozen settings, one group per component, checked when built and saved with the model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, TypeAdapter, ValidationError

from frazil.conventions import CLASS_SCHEMES
from frazil.errors import OptionError
from frazil.labels.sigrid3 import ChartSettings
from frazil.learn.cifar10_config import Cifar10Data
from frazil.learn.distributed.settings import DDPConfig, PeersConfig
from frazil.learn.metocean_config import ImagetteData
from frazil.learn.settings import Settings, check_choice, check_share
from frazil.learn.strategy_config import AUGMENTATIONS, StrategyConfig, SupervisedConfig
from frazil.scene.scaling import CHANNELS
from frazil.seeds import check_seed

__all__ = [
    "AUGMENTATIONS", "PAPER_AUGMENTATIONS", "PHYSICAL_AUGMENTATIONS", "ImagetteData", "LabelsConfig", "ModelConfig",
    "OptimConfig", "PatchData", "RunConfig", "SceneData", "Settings", "SimulatedData", "SupervisedConfig",
    "differences", "override", "run_config",
]  # fmt: skip

#: Those of the first paper, and those that keep the physics of a radar image.
PAPER_AUGMENTATIONS = ("flip", "rotate", "blur", "brightness_contrast")
PHYSICAL_AUGMENTATIONS = ("flip", "rotate", "speckle", "noise_floor")


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Settings):
    """The network.

    Attributes:
        architecture: one of `frazil.learn.models.ARCHITECTURES`.
        settings: of the architecture.
        pretrained: weights trained on photographs to start from: a file in torchvision's published layout, or
            ``"torchvision"`` or ``"timm"`` where these are installed.
    """

    architecture: str = "unet"
    settings: dict[str, Any] = field(default_factory=dict)
    pretrained: str | None = None


@dataclass(frozen=True, kw_only=True)
class SimulatedData(Settings):
    """Simulated Extra Wide scenes to learn from, crop by crop.

    Attributes:
        channels: network inputs, names of `CHANNELS`.
        class_scheme: one of `CLASS_SCHEMES`.
        spacing_m: pixel spacing.
        train_seeds, validation_seeds, test_seeds: one scene each; no seed twice.
        land_every: every so-many-th training scene has a fictitious coast (0: none).
        crop: side of the training crops, pixels.
        coarsen: share of the training crops that `frazil.learn.data.augment.coarsen` robs of their fine texture.
        also_spacing_m: spacings that training scenes have in turn after three of `spacing_m`, so that the network knows
            coarser pixels too.
        also_quicklook: after those in turn: every so-many-th pixel of scenes of `spacing_m`, as 8-bit quick-looks hold
            it, see `frazil.simulate.thinning.as_quicklook`.
        signatures: ``"literature"`` or ``"measured"``, see `frazil.simulate.WorldConfig`.
    """

    kind: Literal["simulated"] = "simulated"
    channels: tuple[str, ...] = ("hh", "hv", "incidence_angle")
    class_scheme: str = "five_classes"
    spacing_m: float = 120.0
    train_seeds: tuple[int, ...] = ()
    validation_seeds: tuple[int, ...] = ()
    test_seeds: tuple[int, ...] = ()
    land_every: int = 4
    crop: int = 256
    coarsen: float = 0.35
    also_spacing_m: tuple[float, ...] = ()
    also_quicklook: tuple[int, ...] = ()
    signatures: Literal["literature", "measured"] = "literature"

    def __post_init__(self) -> None:
        _check_channels(self.channels, self.class_scheme)
        check_share("coarsen", self.coarsen)
        seeds = (*self.train_seeds, *self.validation_seeds, *self.test_seeds)
        if len(set(seeds)) != len(seeds):
            raise OptionError("A scene seed stands twice: training, validation and test must not share scenes.")


@dataclass(frozen=True, kw_only=True)
class SceneData(Settings):
    """Products with label rasters, polygons or charts to learn from, crop by crop.

    Attributes:
        train, validation, test: products; none twice.
        labels: as `frazil.cut_patches` takes them; ``{scene}`` and ``{folder}`` stand for a product's name and folder.
        channels, class_scheme: as in `SimulatedData`.
        looks, boxcar, denoise: how products are opened, see `frazil.open_scene`.
        mask_land: leave out GSHHG land, whatever the labels say.
        class_column: of a vector file that is no SIGRID-3 chart.
        classes: what its values mean: value -> class name.
        scene_column, layer, assume_crs, dialect: as in `frazil.labels.sources.LabelOptions`.
        unknown_codes: codes of a chart that its edition of SIGRID-3 does not have: ``"refuse"`` or ``"ignore"``.
        dominance: a chart polygon is of a type of ice if that is at least this share of its ice.
        crop: side of the training crops, pixels.
        coarsen: as in `SimulatedData`.
    """

    kind: Literal["scenes"] = "scenes"
    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    labels: str = ""
    channels: tuple[str, ...] = ("hh", "hv", "incidence_angle")
    class_scheme: str = "five_classes"
    looks: int = 3
    boxcar: bool = False
    denoise: Literal["esa", "balanced", "none"] = "esa"
    mask_land: bool = True
    class_column: str | None = None
    classes: dict[str, str] = field(default_factory=dict)
    scene_column: str | None = None
    layer: str | None = None
    assume_crs: str | None = None
    dialect: Literal["2004", "2010", "3.1", "S-411"] | None = None
    unknown_codes: Literal["refuse", "ignore"] = "refuse"
    dominance: float = 0.65
    crop: int = 256
    coarsen: float = 0.0

    def __post_init__(self) -> None:
        _check_channels(self.channels, self.class_scheme)
        ChartSettings(dominance=self.dominance)
        check_share("coarsen", self.coarsen)
        listed = (*self.train, *self.validation, *self.test)
        if len(set(listed)) != len(listed):
            raise OptionError("A product stands twice: training, validation and test must not share scenes.")


@dataclass(frozen=True, kw_only=True)
class PatchData(Settings):
    """Patch sets to learn from.

    Attributes:
        patches: patch sets (``.zarr``) of the same kind, joined.
        channels: of those in the sets, in the order the network gets them; all by default.
        class_scheme: into which the labels are turned, for instance ``"binary"``; that of the sets by default.
        size: side of the centre of the patches that is used, pixels; by default all of them.
        split: ``"scene"``, ``"region"``, ``"season"`` or ``"patch"`` (leaks), or the file of a saved split.
        validation: share of the patches for early stopping and calibration.
        test: share for the scores.
        split_seed: of the draw.
        allow_missing: accept a split in which a class is missing on one side.
        augment: of `AUGMENTATIONS`, applied to training patches.
        resample: draw training patches so that classes come equally often.
        limit: take at most so many training patches of a class, drawn evenly over scenes (None: all).
        unlabelled: further patch sets to learn from without their labels, for instance of other regions.
        pool: what is learnt from without labels: ``"all"``, the training patches that keep none and those of
            `unlabelled`; or ``"elsewhere"``, the latter alone, to see what patches of other regions are worth.
    """

    kind: Literal["patches"] = "patches"
    patches: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    class_scheme: str | None = None
    size: int | None = None
    split: str = "scene"
    validation: float = 0.15
    test: float = 0.2
    split_seed: int = 0
    allow_missing: bool = False
    augment: tuple[str, ...] = PHYSICAL_AUGMENTATIONS
    resample: bool = False
    limit: int | None = None
    unlabelled: tuple[str, ...] = ()
    pool: Literal["all", "elsewhere"] = "all"

    def __post_init__(self) -> None:
        check_choice("pool", self.pool, ("all", "elsewhere"))
        if self.pool == "elsewhere" and not self.unlabelled:
            raise OptionError("data.pool is 'elsewhere', but data.unlabelled names no patch set. Name one.")
        if self.channels:
            _check_channels(self.channels, self.class_scheme or "binary")
        check_share("validation", self.validation)
        check_share("test", self.test)
        strange = [a for a in self.augment if a not in AUGMENTATIONS]
        if strange:
            raise OptionError(f"Augmentation {strange[0]!r} is not one of {list(AUGMENTATIONS)}.")
        if self.limit is not None and self.limit < 1:
            raise OptionError(f"limit {self.limit} must be 1 or more.")


@dataclass(frozen=True, kw_only=True)
class LabelsConfig(Settings):
    """Which of the training patches keep their labels.

    A draw is the beginning of a fixed order, so that 15 labels are among the 30 of the same seed, and these among 40.

    Attributes:
        count: how many labels in all (None: all; the paper counts them per class).
        by: ``"class"``: as many of each class as the numbers allow, at random; ``"scene"`` or ``"polygon"``: all of
            one, then all of another, as an expert labels.
        seed: of the order.
    """

    count: int | None = None
    by: Literal["class", "scene", "polygon"] = "class"
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("by", self.by, ("class", "scene", "polygon"))
        if self.count is not None and self.count < 1:
            raise OptionError(f"count {self.count} must be 1 or more.")


@dataclass(frozen=True, kw_only=True)
class OptimConfig(Settings):
    """Optimiser, learning rate, and when to look at the validation scenes.

    Attributes:
        optimiser: ``"adamw"``, ``"adam"`` or ``"sgd"``.
        steps: optimiser steps.
        epochs: passes over the training patches, in place of `steps`.
        batch: patches or crops per step.
        lr: peak learning rate.
        schedule: ``"cosine"`` down to zero, ``"constant"``, or ``"steps"``: a tenth at each of `milestones`.
        milestones: shares of the run.
        warmup: steps of linear warm-up.
        momentum: of SGD.
        weight_decay: decoupled with AdamW.
        clip: largest norm of the gradient; 0 does not clip.
        precision: of the forward pass, ``"float32"`` or ``"bfloat16"`` (autocast).
        validate_every: steps from one look at the validation scenes to the next; by default an epoch, or a twentieth
            of the run.
        patience: stop after so many looks without a better macro-F1; 0 never stops.
        keep: the network of the ``"best"`` look or the ``"last"`` one.
        compile: let ``torch.compile`` fuse the network.
    """

    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    steps: int = 2000
    epochs: float | None = None
    batch: int = 8
    lr: float = 2e-3
    schedule: Literal["cosine", "constant", "steps"] = "cosine"
    milestones: tuple[float, ...] = (0.75, 0.92)
    warmup: int = 100
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip: float = 5.0
    precision: Literal["float32", "bfloat16"] = "float32"
    validate_every: int | None = None
    patience: int = 0
    keep: Literal["best", "last"] = "last"
    compile: bool = False

    def __post_init__(self) -> None:
        numbers = {"steps": self.steps, "batch": self.batch, "lr": self.lr, "validate_every": self.validate_every or 1}
        numbers["epochs"] = 1.0 if self.epochs is None else self.epochs
        for name, value in numbers.items():
            if not value > 0:
                raise OptionError(f"{name} {value} must be above 0.")
        for name in ("warmup", "weight_decay", "clip", "patience"):
            if getattr(self, name) < 0:
                raise OptionError(f"{name} {getattr(self, name)} must not be negative.")
        if self.precision not in ("float32", "bfloat16"):
            raise OptionError(f"precision {self.precision!r} is not 'float32' or 'bfloat16'.")


Data = Annotated[SimulatedData | SceneData | PatchData | ImagetteData | Cifar10Data, Discriminator("kind")]


@dataclass(frozen=True, kw_only=True)
class RunConfig(Settings):
    """One training run.

    Attributes:
        name: of the model it makes.
        seed: of weights, batches and augmentation; equal seeds give equal models on one machine's CPU.
        statement: plain words for the model card on what the model has seen.
    """

    name: str
    seed: int = 0
    statement: str = ""
    model: ModelConfig = field(default_factory=ModelConfig)
    data: Data = field(default_factory=PatchData)
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    strategy: StrategyConfig = field(default_factory=SupervisedConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    peers: PeersConfig = field(default_factory=PeersConfig)
    ddp: DDPConfig = field(default_factory=DDPConfig)

    def __post_init__(self) -> None:
        if self.peers.path is not None and self.optim.compile:
            raise OptionError("optim.compile hides the features that peers compare. Leave one of them out.")
        _check_numbers(self.to_json(), "")

    def to_json(self) -> dict[str, Any]:
        """As saved in a run folder and a model card."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _check_numbers(value: Any, name: str) -> None:
    """Raise OptionError for a setting that is not finite (comparisons with it go astray), or a seed below 0."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_numbers(inner, f"{name}.{key}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _check_numbers(inner, name)
    elif isinstance(value, float) and not math.isfinite(value):
        raise OptionError(f"{name} {value} is not a number to work with.")
    elif isinstance(value, int) and name.endswith(("seed", "seeds")):
        check_seed(value, name)


_STRATEGIES: dict[str, type] = {kind.name: kind for kind in get_args(get_args(StrategyConfig)[0])}
_UNIONS = ("data", "strategy")  # behind these, pydantic's places name the kind that was chosen


def run_config(values: dict[str, Any]) -> RunConfig:
    """A run from what `RunConfig.to_json` gave.

    Raises:
        OptionError: a field that is unknown or cannot hold its value, by name.
    """
    try:
        return TypeAdapter(RunConfig).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = [str(part) for part in first["loc"]]
        where = ".".join(place[:1] + place[2:] if place and place[0] in _UNIONS else place)
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            raise OptionError(f"{where} is not a setting. {_known(values, where)}") from error
        text = str(first["msg"]).removeprefix("Value error, ")
        given = "" if isinstance(first["input"], dict) else f" (given: {first['input']!r:.80})"
        raise OptionError(f"{where or 'run'}: {text}{given}") from error


def override(config: RunConfig, changes: dict[str, str]) -> RunConfig:
    """A run with some settings changed.

    Args:
        config: the run.
        changes: dotted name -> value as written on a command line: JSON, a bare word, or words with commas between.
            ``optim.steps`` counts in place of the run's own ``optim.epochs``.

    Raises:
        OptionError: as `run_config`; both steps and epochs given.
    """
    values = config.to_json()
    if "optim.steps" in changes:
        if changes.get("optim.epochs", "null") != "null":
            raise OptionError("optim.steps and optim.epochs both say how long a run is. Give one of them.")
        values["optim"]["epochs"] = None
    chosen = changes.get("strategy.name")
    if chosen in _STRATEGIES and chosen != config.strategy.name:
        values["strategy"] = _plain(asdict(_STRATEGIES[chosen]()))  # settings of the other strategy go
    for name, text in changes.items():
        place: dict[str, Any] = values
        *groups, last = name.split(".")
        for group in groups:
            inner = place.get(group)
            if not isinstance(inner, dict):
                raise OptionError(f"{name} is not a setting. {_known(values, name)}")
            place = inner
        place[last] = _parsed(text, place.get(last))
    return run_config(values)


def differences(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the settings in which two configs differ."""
    out: list[str] = []
    for key in sorted({*one, *other}):
        a, b = one.get(key), other.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            out += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            out.append(f"{prefix}{key}")
    return out


def _known(values: dict[str, Any], name: str) -> str:
    from difflib import get_close_matches

    place: Any = values
    path = []
    *groups, last = name.split(".")
    for group in groups:
        if not isinstance(place.get(group), dict):
            break
        place = place[group]
        path.append(group)
    names = [known for known in _dotted(values) if known != name]
    near = [known for known in names if known.split(".")[-1] == last] or get_close_matches(name, names, 1, 0.8)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{'.'.join(path) or 'A run'} has {sorted(set(place) - {last})}.{hint}"


def _dotted(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def _parsed(text: str, now: Any) -> Any:
    import json

    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    if isinstance(now, list) and not isinstance(value, list):
        words = [w.strip() for w in text.split(",") if w.strip()]
        return [_parsed(w, None) for w in words]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value


def _check_channels(channels: tuple[str, ...], scheme: str) -> None:
    unknown = [c for c in channels if c not in CHANNELS]
    if unknown or not channels:
        raise OptionError(f"channels {unknown or list(channels)} unknown; choose from {sorted(CHANNELS)}.")
    if scheme not in CLASS_SCHEMES:
        raise OptionError(f"class_scheme {scheme!r} is not one of {sorted(CLASS_SCHEMES)}.")
