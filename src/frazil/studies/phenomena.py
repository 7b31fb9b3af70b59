"""Studies of metocean segmentation: five methods on equal images, numbers of annotated images, resolutions.

Every finished training is a small JSON file of rows; an interrupted study goes on, and processes may share the work by
doing different seeds. Networks are small, so that a study runs on a desktop: they compare methods, and are not the
published networks.

References:
    Colin, A., et al. (2022), Remote Sens. 14, 851, tables 1 and 2, figure 3.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr

from frazil.conventions import ClassScheme
from frazil.errors import OptionError
from frazil.labels.imagettes import check_imagettes, open_imagettes, save_imagettes
from frazil.labels.sample_set import UNKNOWN
from frazil.learn import run
from frazil.learn.checkpoint import Model, git_commit
from frazil.learn.config import (
    CategorisationConfig,
    Im2PxStrategyConfig,
    ImagetteData,
    ModelConfig,
    OptimConfig,
    RunConfig,
    SegmentationConfig,
)
from frazil.learn.data.imagettes import crop, drawn, masked, mirrored, refuse_shared, scored
from frazil.learn.infer.weak.grid import prepared
from frazil.learn.models.inception import LEAST
from frazil.learn.predict.imagettes import SegmentOptions, one_image
from frazil.mask_counts import THRESHOLDS, MaskCounts
from frazil.studies.phenomena_tables import Row, Settings
from frazil.studies.runner import Case, data_stamp, run_cases
from frazil.studies.texture import texture_accuracy

#: What the U-Net is called in tables, by the weighting of its loss.
UNET = {"paper": "U-Net, equation 1", "code": "U-Net, weights reversed", "none": "U-Net, K alone"}
STUDIES = ("weak-vs-full", "annotations", "resolution")


@dataclass(frozen=True, kw_only=True)
class PhenomenaStudy:
    """What a study trains and judges.

    Attributes:
        train, validation, test: sets of imagettes; validation decides about thresholds, and about nothing else.
        size: side of the centre of the images that is used, pixels (None: all).
        seeds: trainings of each case.
        first_seed: of them; processes that share a study begin at different ones.
        weightings: of the U-Net's loss, see `SegmentationConfig`; the first one stands in the other studies.
        judged: images of each category that judge (None: all), the same for all methods.
        unet, im2px, categoriser: settings of the networks.
        output: what logits of the networks for image labels mean.
        steps: of U-Net, categoriser and IM2PX.
        batch: images a step.
        precision: of trainings, ``"float32"`` or ``"bfloat16"``.
        annotated: of each category with masks, for the U-Net (None: all).
        labelled: of each category for the networks that learn from labels of images (None: all).
        numbers: of annotated images of each category, for the study of them.
        weak_numbers: of labelled images of each category, in the same study, for the categoriser behind MASK, PART and
            CAM; none by default, since a categoriser takes longer than a U-Net.
        resolutions: sets for the study of resolutions: metres -> (train, test).
        finest: metres; at finer resolutions only texture statistics are judged, since networks take long there.
        mask_side, mask_stride: of MASK, pixels.
        tiles: of PART, pixels, each tile by tile and in one pass.
    """

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    size: int | None = None
    seeds: int = 3
    first_seed: int = 0
    weightings: tuple[str, ...] = ("none", "paper", "code")
    judged: int | None = None
    unet: dict[str, object] = field(default_factory=lambda: {"widths": (8, 16, 32, 64, 96)})
    im2px: dict[str, object] = field(default_factory=lambda: {"widths": (8, 16, 24, 32)})
    categoriser: dict[str, object] = field(default_factory=lambda: {"width": 0.25})
    output: str = "softmax"
    steps: tuple[int, int, int] = (1500, 3000, 1000)
    batch: int = 16
    precision: Literal["float32", "bfloat16"] = "float32"
    annotated: int | None = None
    labelled: int | None = None
    numbers: tuple[int, ...] = (3, 10, 30, 100)
    weak_numbers: tuple[int, ...] = ()
    resolutions: dict[float, tuple[str, str]] = field(default_factory=dict)
    finest: float = 0.0
    mask_side: int = 75
    mask_stride: int = 25
    tiles: tuple[int, ...] = (75, 129)

    def __post_init__(self) -> None:
        if self.seeds < 1 or min(self.steps) < 1 or self.batch < 1:
            raise OptionError("seeds, steps and batch must be 1 or more.")
        if any(n < 1 for n in (*self.numbers, *self.weak_numbers)):
            raise OptionError("numbers and weak_numbers must be of 1 image or more.")


def changed(study: PhenomenaStudy, changes: dict[str, str]) -> PhenomenaStudy:
    """A study with some settings changed: name -> value as on a command line, JSON or a bare word.

    Raises:
        OptionError: no such setting, or a value that it cannot have.
    """
    from pydantic import TypeAdapter, ValidationError

    given = ("train", "validation", "test", "resolutions")
    now = {f.name: getattr(study, f.name) for f in fields(study)}
    known = sorted(set(now) - set(given))
    values: dict[str, object] = {}
    for name, text in changes.items():
        if name not in known:
            raise OptionError(f"{name} is not a setting of metocean studies. They have {known}.")
        try:
            values[name] = json.loads(text)
        except json.JSONDecodeError:
            values[name] = text
    try:
        return TypeAdapter(PhenomenaStudy).validate_python(now | values)
    except ValidationError as error:
        first = error.errors()[0]
        raise OptionError(
            f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"
        ) from error


def weak_methods(study: PhenomenaStudy) -> Iterator[tuple[str, str, SegmentOptions]]:
    """(name, method, options) of those of table 2 that need a categoriser; PART in one pass besides."""
    for v, fill in (("mean", "mean"), ("0", "zero")):
        options = SegmentOptions(mask_side=study.mask_side, mask_stride=study.mask_stride, mask_fill=fill)
        yield f"MASK, v = {v}", "mask", options
    for tile in study.tiles:
        yield f"PART, {tile} px", "part", SegmentOptions(tile=tile)
        yield f"PART, {tile} px, dense", "part", SegmentOptions(tile=tile, dense=True)
    yield "CAM", "cam", SegmentOptions()


def run_study(
    name: str,
    study: PhenomenaStudy,
    folder: str | os.PathLike[str],
    progress: Callable[[float, str], None] | None = None,
) -> list[Row]:
    """All rows of a study; trainings that were done before are read. Their models are kept in ``NAME/models``.

    Raises:
        OptionError: an unknown study, or a folder with trainings of other settings.
    """
    if name not in STUDIES:
        raise OptionError(f"There is no metocean study {name!r}. Choose one of {list(STUDIES)}.")
    jobs = list(
        {"weak-vs-full": _weak_jobs, "annotations": _annotation_jobs, "resolution": _resolution_jobs}[name](study)
    )
    refuse_shared({"train": study.train, "validation": study.validation, "test": study.test})
    settings, models = _settings(study, name), Path(folder) / name / "models"
    stamps = {side: [data_stamp(path) for path in getattr(study, side)] for side in ("train", "validation", "test")}
    cases = [
        Case(
            name=key,
            depends_on={"case": key, "settings": settings, "data": stamps},
            make=functools.partial(_rows_of, job, settings, models / key),
        )
        for key, job in jobs
    ]
    return run_cases(cases, Path(folder) / f"{name}.jsonl", report=progress)


def _rows_of(job: Job, settings: Settings, model: Path, scratch: Path) -> list[Row]:
    rows, commit = job(scratch), git_commit()
    for row in rows:
        row["settings"], row["commit"] = settings, commit
    _keep_model(scratch, model)
    return rows


#: Settings of a study that may change without any of its trainings becoming another.
_FREE = ("seeds", "first_seed", "numbers", "weak_numbers", "resolutions", "weightings", "finest")


def _settings(study: PhenomenaStudy, name: str) -> Settings:
    """What a row depends on, as JSON has it; sets by their names."""
    kept = {f.name: getattr(study, f.name) for f in fields(study) if f.name not in _FREE}
    kept |= {side: [Path(p).name for p in kept[side]] for side in ("train", "validation", "test")}
    if name == "annotations":
        kept["weighting"] = study.weightings[0]
    if name == "resolution":
        kept["finest"] = study.finest
    out: Settings = json.loads(json.dumps(kept))
    return out


def _keep_model(run: Path, target: Path) -> None:
    """The model of a training, without its log; the run's folder goes."""
    if (run / "model").is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        (run / "model").replace(target)
    shutil.rmtree(run, ignore_errors=True)


def _seeds(study: PhenomenaStudy) -> range:
    return range(study.first_seed, study.first_seed + study.seeds)


Job = Callable[[Path], list[Row]]


def _weak_jobs(study: PhenomenaStudy) -> Iterator[tuple[str, Job]]:
    for seed in _seeds(study):
        for weighting in study.weightings:
            yield (
                f"unet-{weighting}-{seed}",
                _unet(study, seed, weighting, study.annotated, UNET[weighting]),
            )
        yield f"im2px-{seed}", _im2px(study, seed)
        yield f"categoriser-{seed}", _categoriser(study, seed)


def _annotation_jobs(study: PhenomenaStudy) -> Iterator[tuple[str, Job]]:
    for seed in _seeds(study):
        for n in study.numbers:
            yield f"{n}-{seed}", _unet(study, seed, study.weightings[0], n, f"{n} a category")
        for n in study.weak_numbers:
            yield f"weak-{n}-{seed}", _weak_curve(study, seed, n)


def _weak_curve(study: PhenomenaStudy, seed: int, labelled: int) -> Job:
    """The weak methods with a categoriser of so many labelled images of each category."""
    judge = _categoriser(replace(study, labelled=labelled), seed)

    def job(folder: Path) -> list[Row]:
        rows = judge(folder)
        for row in rows:
            row["method"], row["labelled"] = row["case"], labelled
            row["case"] = f"{row['method']}, {labelled} labelled"
        return rows

    return job


def _resolution_jobs(study: PhenomenaStudy) -> Iterator[tuple[str, Job]]:
    for seed in _seeds(study):
        for metres, sets in study.resolutions.items():
            yield f"{metres:g}m-{seed}", _resolution(study, metres, sets, seed)


def _resolution(study: PhenomenaStudy, metres: float, sets: tuple[str, str], seed: int) -> Job:
    def job(folder: Path) -> list[Row]:
        started = time.monotonic()
        train, test = (open_imagettes(path) for path in sets)
        row: Row = {
            "case": f"{metres:g} m",
            "metres": metres,
            "pixels": train.sizes["line"],
            "seed": seed,
            "accuracy": None,
            "texture_accuracy": texture_accuracy(train, test, each=study.labelled, seed=seed),
            "images": test.sizes["imagette"],
            "labelled": study.labelled,
        }
        if metres >= study.finest:
            large = [mirrored(ds, LEAST) for ds in (train, test)]
            path = folder.with_suffix(".zarr")
            save_imagettes(large[0], path, overwrite=True)
            here = replace(study, train=(str(path),), size=None)
            model = _trained(_config(here, "categoriser", seed, study.labelled), folder)
            made = scored(model.network, large[1], check_imagettes(test))
            shutil.rmtree(path, ignore_errors=True)
            row["accuracy"] = made["accuracy"]
            row["f1_by_category"] = made["f1_by_category"]
            row["classes"] = made["classes"]
            row["steps"] = study.steps[1]
            row["batch"] = study.batch
        row["seconds"] = round(time.monotonic() - started, 1)
        return [row]

    return job


def _trained(config: RunConfig, folder: Path) -> Model:
    """The model of a run, its scores as the network gives them: the source knows no calibration."""
    model = run.train(config, folder)
    return Model(model.network, replace(model.card, temperature=1.0))


def _unet(study: PhenomenaStudy, seed: int, weighting: str, annotated: int | None, case: str) -> Job:
    def job(folder: Path) -> list[Row]:
        config = _config(study, "unet", seed, annotated)
        config = replace(config, strategy=SegmentationConfig(weighting=weighting))  # type: ignore[arg-type]
        started = time.monotonic()
        model = _trained(config, folder)
        row = _judge(study, model, case, "unet", SegmentOptions(), seed, started)
        row["annotated"] = model.card.training["data"]["train"]["with_masks"]
        row["a_category"] = annotated
        return [row]

    return job


def _im2px(study: PhenomenaStudy, seed: int) -> Job:
    def job(folder: Path) -> list[Row]:
        started = time.monotonic()
        model = _trained(_config(study, "im2px", seed, study.labelled), folder)
        return [_judge(study, model, "IM2PX", "im2px", SegmentOptions(), seed, started)]

    return job


def _categoriser(study: PhenomenaStudy, seed: int) -> Job:
    def job(folder: Path) -> list[Row]:
        started = time.monotonic()
        model = _trained(_config(study, "categoriser", seed, study.labelled), folder)
        ds, scheme = _set(study.test, study.size, study.judged)
        seen = scored(model.network, ds, scheme)
        accuracy = seen["accuracy" if len(scheme.classes) > 1 else "presence_accuracy"]
        rows = []
        for case, method, options in weak_methods(study):
            row = _judge(study, model, case, method, options, seed, started)
            row["categoriser_accuracy"] = accuracy
            rows.append(row)
            started = time.monotonic()
        return rows

    return job


def _config(study: PhenomenaStudy, kind: str, seed: int, each: int | None) -> RunConfig:
    which = ("unet", "categoriser", "im2px").index(kind)
    architecture = ("metocean_unet", "inception_v3", "im2px")[which]
    settings = dict(getattr(study, kind))
    if kind != "unet":
        settings["output"] = study.output
    strategy = (SegmentationConfig(), CategorisationConfig(), Im2PxStrategyConfig())[which]
    steps = study.steps[which]
    return RunConfig(
        name=f"study-{kind}",
        seed=seed,
        model=ModelConfig(architecture=architecture, settings=settings),
        data=ImagetteData(train=study.train, size=study.size, annotated=each, draw_seed=seed),
        strategy=strategy,
        optim=OptimConfig(
            optimiser="adam",
            steps=steps,
            batch=study.batch,
            lr=2e-3,
            warmup=min(50, steps // 5 + 1),
            weight_decay=0.0,
            validate_every=steps,
            precision=study.precision,
        ),
    )


def _set(paths: tuple[str, ...], size: int | None, each: int | None) -> tuple[xr.Dataset, ClassScheme]:
    from frazil.labels.imagettes import join_imagettes

    ds = join_imagettes([open_imagettes(p) for p in paths])
    scheme = check_imagettes(ds)
    if size is not None:
        ds = crop(ds, size)
    if each is not None:
        ds = ds.isel(imagette=drawn(ds["category"].values, each, 0))
    return ds, scheme


def _judge(
    study: PhenomenaStudy, model: Model, case: str, method: str, options: SegmentOptions, seed: int, started: float
) -> Row:
    """One row: scores on the test images at 0.5, and at the thresholds that were best on the validation images."""
    sums = {}
    trained = time.monotonic() - started
    network = prepared(model.network, options.precision)
    for side, paths in (("validation", study.validation), ("test", study.test)):
        ds, scheme = _set(paths, study.size, study.judged)
        scores = MaskCounts(len(scheme.classes))
        known, images, cell = masked(ds), ds["image"].values, int(ds.attrs["cell"])
        for i, image in enumerate(images):
            score = one_image(network, image[None], method, options, cell)
            category = int(ds["category"].values[i])
            mask = ds["mask"].values[i] == 1 if known[i] else None
            scores.add(score, mask, None if category == UNKNOWN else category)
        sums[side] = scores
    made, at = sums["test"].result(), sums["test"].dice_at()
    best = np.nan_to_num(sums["validation"].dice_at()).argmax(0)
    chosen = at[best, np.arange(at.shape[1])]
    there = np.isfinite(np.array(made["recall"]))
    return {
        "case": case,
        "seed": seed,
        "set_dice": made["set_dice"],
        "mean_set_dice": made["mean_set_dice"],
        "tuned_dice": chosen.tolist(),
        "mean_tuned_dice": float(np.nan_to_num(chosen[there]).mean()),
        "thresholds": THRESHOLDS[best].tolist(),
        "pixel_dice": made["pixel_dice"],
        "mean_pixel_dice": made["mean_pixel_dice"],
        "precision": made["precision"],
        "recall": made["recall"],
        "iou": made["iou"],
        "mean_iou": made["mean_iou"],
        "accuracy": made["accuracy"],
        "images": len(images),
        "classes": list(scheme.names),
        "training_s": round(trained, 1),
        "seconds": round(time.monotonic() - started, 1),
    }
