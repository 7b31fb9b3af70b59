"""Studies: the same training under settings that differ in one thing, over several seeds, each judged twice.

A network learns from four fifths of the patches of the training scenes. It is judged on the other fifth (``patch``: the
papers' split, which leaks, since neighbours of the judged patches were learnt) and on scenes that it has never seen
(``scene``). Both figures come from one and the same network. There is no early stopping and no choice among epochs, so
no held-out patch has decided anything.

Every finished run is a line of one file: an interrupted study is resumed, and processes may share the work.

References:
    Khaleghian (2022), paper 1, tables 3 to 6 and figures 4 to 6.
"""

from __future__ import annotations

import functools
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, NotRequired, TypedDict

import numpy as np
import torch
from torch import nn

from frazil.errors import OptionError
from frazil.labels.splits import Split, split_patches
from frazil.learn.checkpoint import git_commit, library_versions
from frazil.learn.config import PAPER_AUGMENTATIONS, OptimConfig, SupervisedConfig
from frazil.learn.data.class_scores import ScoresJson
from frazil.learn.data.load import Batches
from frazil.learn.data.patches import UNLABELLED, Patches, PatchSampler, read_patches
from frazil.learn.models import create_model
from frazil.learn.models.patch import takes_patches
from frazil.learn.strategies import class_weights
from frazil.learn.strategies.supervised import Supervised
from frazil.learn.train import seed_everything, train_loop
from frazil.learn.transfer import load_pretrained
from frazil.metrics import student_interval
from frazil.studies.runner import Case, data_stamp, digest, run_cases, slug

_JUDGED: Final = ("patch", "scene")
_KEPT = 0.8  #: share of the patches of the training scenes that is learnt from


def _small() -> OptimConfig:
    return OptimConfig(optimiser="adam", epochs=8, batch=50, lr=1e-3, warmup=50, weight_decay=0.0)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One way to train, of those that a study compares.

    Attributes:
        name: as it stands in tables.
        architecture, settings, pretrained: see `frazil.learn.config.ModelConfig`.
        channels: of the patches.
        size: side of the centre of the patches that is used, pixels.
        scheme: of the labels.
        augment: see `frazil.learn.config.PatchData`.
        resample: likewise.
        class_balance: see `frazil.learn.config.SupervisedConfig`.
        optim: optimiser settings; ``epochs`` counts.
        seeds: how many.
        curve: judge after every epoch too.
        published: what the paper reports, percent.
    """

    name: str
    architecture: str = "adhoc"
    settings: tuple[tuple[str, Any], ...] = ()
    pretrained: str | None = None
    channels: tuple[str, ...] = ("hh", "hv", "incidence_angle")
    size: int = 32
    scheme: str = "binary"
    augment: tuple[str, ...] = ()
    resample: bool = False
    class_balance: float = 0.0
    optim: OptimConfig = field(default_factory=_small)
    seeds: int = 5
    curve: bool = False
    published: float | None = None


_LARGE = OptimConfig(optimiser="adam", epochs=4, batch=20, lr=2e-4, warmup=100, weight_decay=0.0, precision="bfloat16")
_NORMED = replace(_LARGE, lr=1e-3, precision="float32")
_CONSTANT: dict[str, Any] = {"epochs": 40, "schedule": "constant"}  # a rate that falls would hide over-fitting
_LONG: dict[str, Any] = {"size": 20, "curve": True, "optim": replace(_small(), **_CONSTANT)}
_LONG_LARGE: dict[str, Any] = {**_LONG, "optim": replace(_LARGE, **_CONSTANT)}
_HH, _DUAL, _ANGLE = ("hh",), ("hh", "hv"), ("hh", "hv", "incidence_angle")
_NOISE = (*_ANGLE, "nesz_hh", "nesz_hv")


def studies(pretrained: str | None = None) -> dict[str, tuple[Trial, ...]]:
    """The studies by name.

    Args:
        pretrained: a weight file of EfficientNet-Lite0 for the transfer case of ``"training"``, left out without one.
    """
    five: dict[str, Any] = {"scheme": "five_classes", "channels": _ANGLE}
    transfer = (
        Trial(name="EfficientNet-Lite0, from scratch", architecture="efficientnet_lite0", optim=_NORMED, seeds=2),
        Trial(
            name="EfficientNet-Lite0, from ImageNet",
            architecture="efficientnet_lite0",
            pretrained=pretrained,
            optim=_NORMED,
            seeds=2,
        ),
    )
    vgg: dict[str, Any] = {"optim": _LARGE, "seeds": 2}
    return {
        "channels": (
            Trial(name="HH", channels=_HH, published=88.4),
            Trial(name="HH, HV", channels=_DUAL, published=98.2),
            Trial(name="HH, HV, incidence angle", channels=_ANGLE, published=98.4),
            Trial(name="HH, HV, incidence angle, NESZ", channels=_NOISE),
        ),
        "patch-size": tuple(
            Trial(name=f"{size} pixels", size=size, published=published)
            for size, published in ((10, 95.54), (20, 97.49), (32, 98.53), (36, 98.75), (46, 99.09))
        ),
        "training": (
            Trial(name="ad hoc network", published=98.4),
            Trial(name="VGG-16, from scratch", architecture="vgg16", published=99.5, **vgg),
            Trial(name="VGG-16, augmented", architecture="vgg16", augment=PAPER_AUGMENTATIONS, published=99.79, **vgg),
            Trial(
                name="modified VGG-16, augmented",
                architecture="modified_vgg16",
                augment=PAPER_AUGMENTATIONS,
                published=99.89,
                **vgg,
            ),
            Trial(
                name="modified VGG-16, augmented, 20 pixels",
                architecture="modified_vgg16",
                size=20,
                augment=PAPER_AUGMENTATIONS,
                published=99.30,
                **vgg,
            ),
            Trial(
                name="modified VGG-16, augmentation that keeps physics",
                architecture="modified_vgg16",
                augment=("flip", "rotate", "speckle", "noise_floor"),
                **vgg,
            ),
            *(transfer if pretrained else transfer[:1]),
        ),
        "over-fitting": (
            Trial(name="ad hoc network", seeds=3, **_LONG),
            Trial(name="ad hoc network, augmented", augment=PAPER_AUGMENTATIONS, seeds=3, **_LONG),
            Trial(name="modified VGG-16", architecture="modified_vgg16", seeds=1, **_LONG_LARGE),
            Trial(
                name="modified VGG-16, augmented",
                architecture="modified_vgg16",
                augment=PAPER_AUGMENTATIONS,
                seeds=1,
                **_LONG_LARGE,
            ),
        ),
        "models": tuple(
            Trial(name=name, architecture=architecture, augment=PAPER_AUGMENTATIONS, optim=optim, seeds=2, curve=True)
            for name, architecture, optim in (
                ("modified VGG-16", "modified_vgg16", _LARGE),
                ("MobileNetV2", "mobilenet_v2", _NORMED),
                ("ResNet-50", "resnet50", _NORMED),
                ("DenseNet-121", "densenet121", _NORMED),
            )
        ),
        "classes": (
            Trial(name="ad hoc network", **five),
            Trial(name="ad hoc network, class weights", class_balance=0.5, **five),
            Trial(name="ad hoc network, resampled", resample=True, **five),
            Trial(
                name="modified VGG-16, augmented, class weights",
                architecture="modified_vgg16",
                class_balance=0.5,
                augment=PAPER_AUGMENTATIONS,
                optim=_LARGE,
                seeds=2,
                **five,
            ),
        ),
    }


def scene_split(stores: tuple[str, ...], seed: int = 0) -> Split:
    """Scenes to learn from and to judge by: about a third of the patches, in whole scenes, are held out."""
    _, bare = read_patches(stores, channels=("hh",))
    return split_patches(bare, by="scene", test=0.3, validation=0.1, seed=seed, allow_missing=True)


class TrialRow(TypedDict):
    """What a row says of its `Trial`; the settings that tables do not show stand there too."""

    name: str
    size: int
    optim: dict[str, Any]
    pretrained: str | None
    seeds: NotRequired[int]
    published: NotRequired[float | None]


class Row(TypedDict):
    """Scores of a network by patch and by scene, and how it was trained."""

    patch: ScoresJson
    scene: ScoresJson
    case: TrialRow
    seed: int
    final_loss: float
    curve: list[dict[str, float]]
    patches: dict[str, dict[str, int]]
    scenes: dict[str, list[str]]
    parameters: int
    seconds: float
    threads: int
    commit: str
    versions: dict[str, str]


class Estimate(NamedTuple):
    """A mean over seeds, and half the width of its 95 % interval."""

    mean: float
    interval: float


@dataclass(frozen=True, kw_only=True)
class CaseLine:
    """A case in a table, see `summarise`; percent but for `ece`, `seconds` and `parameters`."""

    case: str
    seeds: int
    published: float | None
    patch: Estimate
    scene: Estimate
    macro_f1: float
    balanced: float
    ece: float
    scene_spread: float
    seconds: float
    parameters: int


@dataclass(frozen=True, eq=False)
class Sides:
    """Patches to learn from, and the two sets that judge."""

    train: Patches
    patch: Patches
    scene: Patches


def sides_of(patches: Patches, split: Split, seed: int) -> Sides:
    """The sides of one seed: which patches of the training scenes are held out is drawn anew with every seed."""
    labelled = patches.label != UNLABELLED
    of_train = np.flatnonzero(np.isin(patches.scene, split.train) & labelled)
    of_test = np.flatnonzero(np.isin(patches.scene, split.test) & labelled)
    drawn = np.random.default_rng([seed, 11]).permutation(of_train)
    n = round(_KEPT * drawn.size)
    if not (n and drawn.size > n and of_test.size):
        raise OptionError("The patch set has too few scenes for a study. Add scenes.")
    return Sides(patches.take(np.sort(drawn[:n])), patches.take(np.sort(drawn[n:])), patches.take(of_test))


def run_case(case: Trial, patches: Patches, split: Split, seed: int) -> Row:
    """Train one network and judge it.

    Args:
        case: how.
        patches: with the channels and classes of the case, at least as large.
        split: scenes.
        seed: of weights, batches, and of the patches held out.

    Returns:
        Scores ``patch`` and ``scene`` as `Evaluation.to_json` gives them, and how it went.
    """
    started = time.perf_counter()
    seed_everything(seed)
    sides = sides_of(patches.centre(case.size), split, seed)
    n_classes = len(patches.scheme.classes)
    settings = {**dict(case.settings), "patch": case.size}
    network = create_model(case.architecture, n_channels=len(case.channels), n_classes=n_classes, settings=settings)
    if case.pretrained is not None:
        assert takes_patches(network)
        load_pretrained(network, case.pretrained)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sampler = PatchSampler(sides.train, seed=seed, augment=case.augment, resample=case.resample)
    epoch = math.ceil(len(sides.train) / case.optim.batch)
    optim = replace(case.optim, steps=max(round((case.optim.epochs or 1) * epoch), 1))
    weights = class_weights(sampler, n_classes, SupervisedConfig(class_balance=case.class_balance).class_balance)
    strategy = Supervised(network, Batches(sampler, optim.batch, torch.device("cpu")), weights)
    losses: list[float] = []
    curve: list[dict[str, float]] = []

    def look(network: nn.Module) -> dict[str, float]:
        row = {"loss": float(np.mean(losses[-epoch:]))}
        for name in _JUDGED:
            found = getattr(sides, name).score(network).figures()
            row |= {name: found["accuracy"], f"{name}_nll": found["nll"]}
        curve.append(row)
        return {"macro_f1": 0.0}

    train_loop(
        strategy,
        optim,
        log=lambda _, logs: losses.append(logs["loss"]) if "loss" in logs else None,
        validate=look if case.curve else None,
        validate_every=epoch,
    )
    trained = time.perf_counter() - started
    return {
        "patch": sides.patch.score(network).to_json(),
        "scene": sides.scene.score(network).to_json(),
        "case": _plain(case),
        "seed": seed,
        "final_loss": float(np.mean(losses[-epoch:])),
        "curve": curve,
        "patches": {name: getattr(sides, name).counts() for name in ("train", "patch", "scene")},
        "scenes": {name: getattr(sides, name).names for name in ("train", "scene")},
        "parameters": sum(p.numel() for p in network.parameters()),
        "seconds": round(trained, 1),
        "threads": torch.get_num_threads(),
        "commit": git_commit(),
        "versions": library_versions(),
    }


def run_study(
    name: str,
    stores: tuple[str, ...],
    folder: str | os.PathLike[str],
    *,
    split: Split | None = None,
    cases: tuple[Trial, ...] | None = None,
    workers: int = 1,
    progress: Callable[[float, str], None] | None = None,
) -> list[Row]:
    """Run what a study still lacks.

    Args:
        name: of `studies`.
        stores: patch sets.
        folder: where ``NAME.jsonl`` is kept.
        split: scenes; drawn with `scene_split` by default.
        cases: in place of the study's own.
        workers: processes; each computes with its share of the cores.
        progress: called with the fraction done and what was done last.

    Returns:
        The rows of all runs, in the order of the cases and seeds.
    """
    known = studies()
    if cases is None and name not in known:
        raise OptionError(f"There is no study {name!r}. Choose one of {sorted(known)}.")
    chosen = cases if cases is not None else known[name]
    scenes = split or scene_split(stores)
    chosen_split = digest(split=asdict(scenes))
    data = {"stores": [Path(store).name for store in stores], "stamps": [data_stamp(store) for store in stores]}
    work = [
        Case(
            name=f"{slug(trial.name)}-{seed}",
            depends_on={
                "case": _plain(trial, kept=True),
                "seed": seed,
                "data": data,
                "split": chosen_split,
            },
            make=functools.partial(_rows_of, stores, scenes, trial, seed),
            repeat=seed,
            complete=_complete,
        )
        for trial in chosen
        for seed in range(trial.seeds)
    ]
    return run_cases(work, Path(folder) / f"{name}.jsonl", workers=workers, report=progress)


def _rows_of(stores: tuple[str, ...], split: Split, trial: Trial, seed: int, _scratch: Path) -> list[Row]:
    patches, _ = read_patches(stores, channels=trial.channels, scheme=trial.scheme)
    return [run_case(trial, patches, split, seed)]


def _complete(depends_on: dict[str, Any]) -> dict[str, Any]:
    """What an earlier row depends on, with the optimiser's settings that did not exist then."""
    case = depends_on["case"]
    optim = json.loads(json.dumps(asdict(OptimConfig())))
    return {**depends_on, "case": {**case, "optim": {**optim, **case["optim"]}}}


def _plain(trial: Trial, *, kept: bool = False) -> TrialRow:
    """As it stands in a row: the weight file by its name alone; ``kept``: without what no row depends on."""
    values: TrialRow = json.loads(json.dumps(asdict(trial)))
    if kept:
        del values["seeds"], values["published"]
    values["pretrained"] = Path(trial.pretrained).name if trial.pretrained else None
    return values


def summarise(rows: list[Row]) -> list[CaseLine]:
    """A line for each case: accuracy in percent by patch and by scene, mean and 95 % interval over seeds.

    The interval is Student's, over seeds; it says how the figure would vary with other weights, batches and held-out
    patches, and nothing about other scenes. ``scene_spread`` is the standard deviation over the held-out scenes. With
    one seed intervals are NaN.
    """
    out = []
    for name in dict.fromkeys(row["case"]["name"] for row in rows):
        mine = [row for row in rows if row["case"]["name"] == name]
        by_patch, by_scene = (100 * np.array([row[side]["accuracy"] for row in mine]) for side in _JUDGED)
        scenes = [list(row["scene"]["accuracy_per_scene"].values()) for row in mine]
        out.append(
            CaseLine(
                case=name,
                seeds=len(mine),
                published=mine[0]["case"]["published"],
                patch=Estimate(float(by_patch.mean()), student_interval(by_patch)),
                scene=Estimate(float(by_scene.mean()), student_interval(by_scene)),
                macro_f1=100 * _mean([row["scene"]["macro_f1"] for row in mine]),
                balanced=100 * _mean([row["scene"]["balanced_accuracy"] for row in mine]),
                ece=_mean([row["scene"]["ece"] for row in mine]),
                scene_spread=100 * float(np.mean(scenes, axis=0).std(ddof=1)) if len(scenes[0]) > 1 else math.nan,
                seconds=_mean([row["seconds"] for row in mine]),
                parameters=mine[0]["parameters"],
            )
        )
    return out


def _mean(values: Sequence[float | None]) -> float:
    return float(np.mean(np.array(values, float)))
