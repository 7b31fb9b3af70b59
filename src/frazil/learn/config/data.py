"""Settings of what a run learns from: simulated scenes, products, patches, imagettes, CIFAR-10.

Besides its settings, each kind says which networks learn from it (``learnt_by``: those that take a ``"patch"``, a
``"scene"`` crop by crop, or an ``"imagette"``), and how often a run is validated where its settings do not say
(``n_validations``; None: once an epoch).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, TypeGuard

from pydantic import Discriminator

from frazil.conventions import CLASS_SCHEMES
from frazil.errors import OptionError
from frazil.labels.sigrid3 import ChartSettings
from frazil.learn.config.base import Settings, check_choice, check_least, check_share
from frazil.scene.scaling import CHANNELS

#: Changes of training patches, see `frazil.learn.data.augment`.
AUGMENTATIONS = ("flip", "rotate", "blur", "brightness_contrast", "speckle", "noise_floor")
#: Those of the first paper, and those that keep the physics of a radar image.
PAPER_AUGMENTATIONS = ("flip", "rotate", "blur", "brightness_contrast")
PHYSICAL_AUGMENTATIONS = ("flip", "rotate", "speckle", "noise_floor")


@dataclass(frozen=True, kw_only=True)
class SimulatedData(Settings):
    """Simulated Extra Wide scenes to learn from, crop by crop.

    Attributes:
        channels: network inputs, names of `CHANNELS`.
        class_scheme: one of `CLASS_SCHEMES`.
        spacing_m: pixel spacing.
        train_seeds, validation_seeds, test_seeds: one scene each; no seed twice.
        land_every: every n-th training scene has a fictitious coast (0: none).
        crop: side of the training crops, pixels.
        coarsen: share of the training crops that `frazil.learn.data.augment.coarsen` robs of their fine texture.
        also_spacing_m: spacings that training scenes have in turn after three of `spacing_m`, so that the network knows
            coarser pixels too.
        also_quicklook: after those in turn: every n-th pixel of scenes of `spacing_m`, as 8-bit quick-looks hold
            it, see `frazil.simulate.thinning.as_quicklook`.
        signatures: ``"literature"`` or ``"measured"``, see `frazil.simulate.WorldConfig`.
    """

    kind: Literal["simulated"] = "simulated"
    learnt_by: ClassVar[str] = "scene"
    n_validations: ClassVar[int | None] = 20
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
    learnt_by: ClassVar[str] = "scene"
    n_validations: ClassVar[int | None] = 20
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
    learnt_by: ClassVar[str] = "patch"
    n_validations: ClassVar[int | None] = None  # once an epoch
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
        count: how many labels in all (None: all).
        per_class: how many of each class, as papers count them, in place of `count`; classes that the training patches
            do not have are left out.
        by: ``"class"``: as many of each class as the numbers allow, at random; ``"scene"`` or ``"polygon"``: all of
            one, then all of another, as an expert labels.
        seed: of the order.
    """

    count: int | None = None
    per_class: int | None = None
    by: Literal["class", "scene", "polygon"] = "class"
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("by", self.by, ("class", "scene", "polygon"))
        for name, value in (("count", self.count), ("per_class", self.per_class)):
            if value is not None and value < 1:
                raise OptionError(f"{name} {value} must be 1 or more.")
        if self.count is not None and self.per_class is not None:
            raise OptionError(
                f"labels.count {self.count} and labels.per_class {self.per_class} both say how many labels are kept. "
                "Set one of them to null."
            )
        if self.per_class is not None and self.by != "class":
            raise OptionError(f"labels.per_class draws class by class, not by {self.by}. Set labels.by=class.")

    @property
    def few(self) -> bool:
        """Whether some labels are hidden."""
        return self.count is not None or self.per_class is not None


@dataclass(frozen=True, kw_only=True)
class ImagetteData(Settings):
    """Sets of imagettes to learn from, made by ``frazil imagettes``.

    Attributes:
        train: sets (``.zarr``), joined.
        validation: sets for looks during training; none twice among the three.
        test: sets for the scores.
        channels: of the networks; imagettes have this one.
        without: classes that the network does not know, for a sea that never has them: images called by them are left
            out of all three, see `frazil.labels.imagettes_without`.
        annotated: learn from at most so many images of a category, for the U-Net of those with masks (None: all).
        draw_seed: of that draw; fewer are among more of the same seed.
        augment: turn and mirror training images, eight ways.
        size: cut so many pixels about the centre (None: whole images).
    """

    kind: Literal["imagettes"] = "imagettes"
    learnt_by: ClassVar[str] = "imagette"
    n_validations: ClassVar[int | None] = 10
    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    channels: tuple[str, ...] = ("roughness_vv",)
    without: tuple[str, ...] = ()
    annotated: int | None = None
    draw_seed: int = 0
    augment: bool = True
    size: int | None = None

    def __post_init__(self) -> None:
        if self.channels != ("roughness_vv",):
            raise OptionError(f"channels {list(self.channels)}: imagettes hold 'roughness_vv' alone.")
        listed = (*self.train, *self.validation, *self.test)
        if len(set(listed)) != len(listed):
            raise OptionError("A set of imagettes stands twice: training, validation and test must not share images.")
        check_least(1, annotated=self.annotated or 1, size=self.size or 1)


@dataclass(frozen=True, kw_only=True)
class Cifar10Data(Settings):
    """CIFAR-10, to compare ways of training on what the paper compared them on.

    Attributes:
        path: folder or archive, see `frazil.labels.datasets.cifar10`.
        per_class: training images of each class, those for validation among them (None: all 5000).
        test_per_class: test images of each class (None: all 1000).
        validation: share of the training images that is held out for calibration.
        split_seed: of what is drawn.
        shrink: average so many pixels by as many: 2 makes images of 16 pixels, four times as fast to learn from.
        augment: ``"crop"`` (of the image with 4 pixels of zeros around it) and ``"flip"`` (left to right).
        channels: what the images hold.
    """

    kind: Literal["cifar10"] = "cifar10"
    learnt_by: ClassVar[str] = "patch"
    n_validations: ClassVar[int | None] = 20
    path: str = ""
    per_class: int | None = None
    test_per_class: int | None = None
    validation: float = 0.1
    split_seed: int = 0
    shrink: int = 1
    augment: tuple[str, ...] = ("crop", "flip")
    channels: tuple[str, ...] = ("red", "green", "blue")

    def __post_init__(self) -> None:
        check_share("validation", self.validation)
        check_least(1, per_class=self.per_class or 1, test_per_class=self.test_per_class or 1)
        check_choice("shrink", str(self.shrink), ("1", "2", "4"))
        check_choice("channels", ",".join(self.channels), ("red,green,blue",))
        for name in self.augment:
            check_choice("augment", name, ("crop", "flip"))


Data = Annotated[SimulatedData | SceneData | PatchData | ImagetteData | Cifar10Data, Discriminator("kind")]


def _check_channels(channels: tuple[str, ...], scheme: str) -> None:
    unknown = [c for c in channels if c not in CHANNELS]
    if unknown or not channels:
        raise OptionError(f"channels {unknown or list(channels)} unknown; choose from {sorted(CHANNELS)}.")
    if scheme not in CLASS_SCHEMES:
        raise OptionError(f"class_scheme {scheme!r} is not one of {sorted(CLASS_SCHEMES)}.")


def of_patches(data: Data) -> TypeGuard[PatchData]:
    """Whether a run learns from patch sets."""
    return data.kind == "patches"
