"""What a run learns from and is judged by, read as its settings say."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from frazil.conventions import CLASS_SCHEMES
from frazil.errors import LabelError, OptionError
from frazil.labels.splits import Split, split_patches
from frazil.learn.check import check_strategy
from frazil.learn.config import (
    LabelsConfig,
    PatchData,
    RunConfig,
    SceneData,
    SimulatedData,
)
from frazil.learn.data.cifar10 import load_cifar10
from frazil.learn.data.imagettes import load_imagettes
from frazil.learn.data.labels import Draw, choose_labels, unlabelled_pool
from frazil.learn.data.learning_data import LearningData, Sampler
from frazil.learn.data.patches import UNLABELLED, Patches, PatchSampler, read_patches
from frazil.learn.data.scenes import (
    CropSampler,
    HeldOutScenes,
    Images,
    LabelledScene,
    describe_scenes,
    label_scenes,
    simulate_labelled,
)
from frazil.learn.models import view_of
from frazil.learn.models.wide_unet import Views
from frazil.products import open_product
from frazil.scene.scaling import CHANNELS

#: Called with the fraction done, 0…1, and what is being done.
Progress = Callable[[float, str], None]
#: How patches are read: `read_sides`, or the like.
Reader = Callable[[PatchData], tuple[dict[str, Patches], Split, Patches, xr.Dataset]]


def load_data(config: RunConfig, progress: Progress | None = None, read: Reader | None = None) -> LearningData:
    """Read or simulate what a run needs.

    Args:
        config: the run.
        progress: called with the fraction done and what is being done.
        read: in place of `read_sides`, for callers that keep what they have read for further runs.

    Raises:
        LabelError and others: data that is missing, broken, or does not suffice, saying what to do.
    """
    check_strategy(config)
    report = progress or (lambda _fraction, _what: None)
    data: Any = config.data
    match data.kind:
        case "patches":
            return _patches(data, config, report, read or read_sides)
        case "imagettes":
            report(0.0, "reading imagettes")
            return load_imagettes(data, config.strategy, config.seed)  # type: ignore[arg-type] # see `check_strategy`
        case "cifar10":
            report(0.0, "reading CIFAR-10")
            return load_cifar10(data, config.seed, config.labels, pool=config.strategy.learns_from == "pool")
        case "simulated":
            return _simulated(data, config.seed, _view(config), report)
        case _:
            return _scenes(data, config.seed, _view(config), report)


def _view(config: RunConfig) -> int:
    return view_of(config.model.architecture, config.model.settings)


def split_sides(config: PatchData) -> tuple[dict[str, Patches], Split]:
    """The labelled patches of each side of a run's split: ``"train"``, ``"validation"``, ``"test"``."""
    sides, split, _, _ = read_sides(config)
    return sides, split


def read_sides(config: PatchData) -> tuple[dict[str, Patches], Split, Patches, xr.Dataset]:
    """As `split_sides`; and the patches of training scenes without a label, and all that stands beside the images."""
    patches, bare = read_patches(config.patches, channels=config.channels, scheme=config.class_scheme)
    if config.size is not None:
        patches = patches.centre(config.size)
    if config.split.endswith(".json"):
        split = Split.load(Path(config.split))
    elif config.split in ("scene", "region", "season", "patch"):
        split = split_patches(
            bare,
            by=config.split,  # type: ignore[arg-type]
            test=config.test,
            validation=config.validation,
            seed=config.split_seed,  # type: ignore[arg-type]
            allow_missing=config.allow_missing,
        )
    else:
        raise OptionError(
            f"data.split {config.split!r} is not scene, region, season, patch or the .json file of a split."
        )
    side, labelled = split.side_of(bare), patches.label != UNLABELLED
    sides = {
        name: patches.take(np.flatnonzero((side == i) & labelled))
        for i, name in enumerate(("train", "validation", "test"))
    }
    return sides, split, patches.take(np.flatnonzero((side == 0) & ~labelled)), bare


def draw(
    config: PatchData, labels: LabelsConfig, sides: dict[str, Patches], table: xr.Dataset
) -> tuple[Patches, np.ndarray, Draw]:
    """Training patches within the limit, positions of those that keep their labels, and what is to be said of them."""
    train = sides["train"]
    if config.limit is not None:
        train = train.take(evenly(train, config.limit, config.split_seed))
    polygon = table["polygon"].values[train.index]
    return train, *choose_labels(train, labels, polygon, allow_missing=config.allow_missing)


def _patches(config: PatchData, run: RunConfig, report: Progress, read: Reader) -> LearningData:
    report(0.0, "reading patches")
    sides, split, without, table = read(config)
    train, chosen, said = draw(config, run.labels, sides, table)
    drawn, rest = train.take(chosen), np.setdiff1d(np.arange(len(train)), chosen)
    sampler = PatchSampler(drawn, seed=run.seed, augment=config.augment, resample=config.resample)
    description: dict[str, object] = {
        "split": split.by,
        "leaks": split.leaks,
        **{name: (drawn if name == "train" else side).describe() for name, side in sides.items()},
        **({"labels": said} if said else {}),
    }
    pool = None
    if run.strategy.learns_from == "pool":
        held_out = set() if split.leaks else {*sides["validation"].names, *sides["test"].names}
        own = [train.take(rest), without] if config.pool == "all" else []
        pool, description["unlabelled"] = unlabelled_pool(own, config.unlabelled, drawn, config.size, held_out)
    known = train.conditions
    return LearningData(
        train=sampler,
        validation=sides["validation"] if len(sides["validation"]) else None,
        test=sides["test"] if len(sides["test"]) else None,
        channels=tuple(CHANNELS[name] for name in train.channels),
        scheme=train.scheme,
        spacing_m=float(known.get("spacing_m", 40.0)),
        denoise=str(known.get("denoise", "esa")),
        boxcar=bool(known.get("boxcar", False)),
        incidence_range=known["incidence_range"],
        description=description,
        unlabelled=pool,
        scored_on=f"{{n}} {{side}} scene{{s}}, split by {split.by}",
    )


def evenly(patches: Patches, limit: int, seed: int) -> np.ndarray:
    """Positions of at most `limit` patches of each class, as evenly over scenes as their numbers allow."""
    rng = np.random.default_rng([seed, 7])
    kept = []
    for code in np.unique(patches.label):
        mine = np.flatnonzero(patches.label == code)
        mine = mine[rng.permutation(mine.size)]
        # The n-th patch of every scene comes before the (n+1)-th of any.
        _, scene = np.unique(patches.scene[mine], return_inverse=True)
        order = np.argsort(scene, kind="stable")
        starts = np.flatnonzero(np.diff(scene[order], prepend=-1))
        rank = np.empty(mine.size, int)
        rank[order] = np.arange(mine.size) - np.repeat(starts, np.diff([*starts, mine.size]))
        kept.append(mine[np.argsort(rank, kind="stable")[:limit]])
    return np.sort(np.concatenate(kept))


def _simulated(config: SimulatedData, seed: int, view: int, report: Progress) -> LearningData:
    sides = {"train": config.train_seeds, "validation": config.validation_seeds, "test": config.test_seeds}
    scenes: dict[str, list[LabelledScene]] = {}
    for name, seeds in sides.items():
        land = config.land_every if name == "train" else 0
        what = f"simulating {name} scenes"
        scenes[name] = simulate_labelled(
            seeds,
            config,
            view=view,
            land_every=land,
            mixed=name == "train",
            progress=functools.partial(_report, report, what),
        )
    return _of_scenes(scenes, config, seed, config.spacing_m, "esa", boxcar=False, view=view)


def _report(report: Progress, what: str, fraction: float) -> None:
    report(fraction, what)


def _scenes(config: SceneData, seed: int, view: int, report: Progress) -> LearningData:
    sides = {"train": config.train, "validation": config.validation, "test": config.test}
    scenes = {
        name: label_scenes(products, config, functools.partial(_report, report, f"reading {name} scenes"), view=view)
        for name, products in sides.items()
    }
    if not config.train:
        raise LabelError("No product to learn from was named. Pass --set data.train=PRODUCT,… and data.labels=…")
    spacing = open_product(config.train[0]).spacing_m * config.looks
    return _of_scenes(scenes, config, seed, spacing, config.denoise, boxcar=config.boxcar, view=view)


def _of_scenes(
    scenes: dict[str, list[LabelledScene]],
    config: SimulatedData | SceneData,
    seed: int,
    spacing_m: float,
    denoise: str,
    *,
    boxcar: bool,
    view: int,
) -> LearningData:
    scheme = CLASS_SCHEMES[config.class_scheme]
    train = scenes["train"]
    if not train:
        raise LabelError("There is no training scene. Name some in data.train or data.train_seeds.")
    sampler = CropSampler(train, config.channels, crop=config.crop, coarse=config.coarsen, seed=seed, view=view)
    if (sampler.class_frequency(len(scheme.classes)) > 0).sum() < 2:
        raise LabelError("The training scenes show fewer than two classes. Add scenes or labels.")
    low, high = zip(*(s.incidence_range for s in train), strict=True)
    return LearningData(
        train=sampler,
        validation=HeldOutScenes(scenes["validation"], scheme) if scenes["validation"] else None,
        test=HeldOutScenes(scenes["test"], scheme) if scenes["test"] else None,
        channels=tuple(CHANNELS[name] for name in config.channels),
        scheme=scheme,
        spacing_m=spacing_m,
        denoise=denoise,
        boxcar=boxcar,
        incidence_range=(round(min(low), 2), round(max(high), 2)),
        description={
            "split": "scene",
            "leaks": False,
            **{name: describe_scenes(side, scheme.names) for name, side in scenes.items()},
        },
        scored_on="{n} {side} scene{s}, split by scene",
    )


class Batches:
    """Batches on a device; the next ones are made while the network works on this one.

    Args:
        sampler: of batches.
        size: samples in each.
        device: where they go.
    """

    def __init__(self, sampler: Sampler, size: int, device: torch.device) -> None:
        self.sampler, self.size, self.device = sampler, size, device
        self._ahead = max(min((os.cpu_count() or 2) // 2, 8), 1)
        self._pool = ThreadPoolExecutor(self._ahead)
        self._next: dict[int, Future[tuple[Images, np.ndarray]]] = {}

    def __call__(self, step: int) -> tuple[Any, Tensor]:
        """Images float32, with wide views where the network has one, and labels int64 of a step."""
        made = self._next.pop(step, None)
        image, label = self.sampler.batch(step, self.size) if made is None else made.result()
        wanted = range(step + 1, step + 1 + self._ahead)
        self._next = {k: self._next.get(k) or self._pool.submit(self.sampler.batch, k, self.size) for k in wanted}
        images: Any
        if isinstance(image, tuple):
            images = Views(self._placed(image[0]), self._placed(image[1]), torch.from_numpy(image[2]))
        else:
            images = self._placed(image)
        return images, torch.from_numpy(label.astype(np.int64)).to(self.device)

    def _placed(self, image: np.ndarray) -> Tensor:
        return torch.from_numpy(image).to(self.device, memory_format=torch.channels_last)
