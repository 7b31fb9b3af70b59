"""What is trained: workers on the whole of CIFAR-10, and the 13-layer network on a few of its labels.

References:
    Khaleghian (2022), paper 3 (workers; its schedule is kept in shares of the run) and paper 2 (teacher and student).
    Iscen, A. et al. (2019), Label propagation for deep semi-supervised learning. CVPR 2019.
    doi:10.48550/arXiv.1904.04717 (rates and batches of the 13-layer network on CIFAR-10).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from benchmarks.on_gpu.children import add_row

from frazil.learn.config import (
    Cifar10Data,
    LabelPropagationConfig,
    LabelsConfig,
    RunConfig,
    TeacherStudentConfig,
    override,
)
from frazil.learn.data.cifar10 import CropsOnDevice, load_cifar10
from frazil.learn.data.learning_data import LearningData
from frazil.learn.data.patches import Patches, PatchSampler
from frazil.learn.distributed.allreduce import scaled
from frazil.recipes import cifar10, few_labels
from frazil.studies.few_labels import Trial, run_trial
from frazil.studies.workers import Look, Row, Way, run_way, ways
from frazil.studies.workers_reference import simulated_allreduce, simulated_local_sgd, simulated_peers

WORKERS, FEW = "workers", "few labels"
PAPER_EPOCHS = 65
_WARM = 4 / PAPER_EPOCHS  # of the run
_FEW_LOOKS = 2  # in an epoch
_FIRST = 0.25  # of the steps of label propagation, on labels alone
_RECIPES = {
    "supervised": few_labels.supervised,
    "label propagation": few_labels.lp,
    "teacher and student": few_labels.tslp,
    "mean teacher": few_labels.mean_teacher,
}


_LEAST_STEPS, _LATE_S = 20, 15.0  # of those that began late


class OutOfTimeError(Exception):
    """The time for a run is over."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large everything is.

    Attributes:
        epoch: steps of an epoch of a worker.
        batch: images of a step of a worker.
        few_epoch: steps of a pass through the unlabelled images, of which a batch of 100 has 50.
        shrink: of the images, see `Cifar10Data`.
        width: of the 13-layer network.
        labels: numbers of labels.
        intervals: steps from one exchange to the next.
        scene: side of the square scenes that are mapped, pixels.
    """

    epoch: int = 352
    batch: int = 128
    few_epoch: int = 880
    shrink: int = 1
    width: int = 128
    labels: tuple[int, ...] = (4000, 1000)
    intervals: tuple[int, ...] = (50, 500, 5000)
    scene: tuple[int, ...] = (3334, 10_000)


TOY = Sizes(epoch=3, batch=16, few_epoch=4, shrink=2, width=4, labels=(40,), intervals=(2,), scene=(256,))


@dataclass(frozen=True, kw_only=True)
class Case:
    """One training.

    Attributes:
        part: `WORKERS` or `FEW`.
        name: its own.
        method: of few labels; of workers `way` says it.
        labels: how many, where they are few.
        way: of workers.
        seed: of weights, batches and labels.
    """

    part: str
    name: str
    method: str = ""
    labels: int = 0
    way: Way | None = None
    seed: int = 0


def cases(sizes: Sizes) -> list[Case]:
    """All, in the order of their worth."""
    first, *others = sizes.intervals
    chosen = [way for way in ways(first) if "raw" not in way.name]
    chosen += [way for n in others for way in ways(n) if way.name.startswith(("codistillation", "AFSD,"))]
    out = [Case(part=WORKERS, name=way.name, way=way) for way in chosen]
    return out + [
        Case(part=FEW, name=f"{method}, {labels} labels", method=method, labels=labels)
        for method in _RECIPES
        for labels in sizes.labels
    ]


def config_of(case: Case, sizes: Sizes, path: str, epochs: int, device: str) -> RunConfig:
    """The run of a case over so many epochs."""
    data = Cifar10Data(path=path, shrink=sizes.shrink)
    if case.part == WORKERS:
        run, steps = cifar10.resnet20(), epochs * sizes.epoch
        warm = max(round(_WARM * steps), 1)
        optim = replace(run.optim, epochs=None, steps=steps, warmup=warm, batch=sizes.batch)
        peers = replace(run.peers, begin=warm)  # in the paper nothing is learnt from others before
        return replace(run, data=data, optim=optim, peers=peers, seed=case.seed)
    run, steps = _RECIPES[case.method](), epochs * sizes.few_epoch
    strategy = run.strategy
    if isinstance(strategy, LabelPropagationConfig | TeacherStudentConfig):
        strategy = replace(strategy, labelled=50, first_steps=round(_FIRST * steps), first_lr=0.05)
    if isinstance(strategy, TeacherStudentConfig):
        strategy = replace(strategy, teacher_lr=0.0025)  # a twentieth of the student's, as in the paper
    if case.method == "mean teacher":
        strategy = replace(strategy, labelled=50)  # type: ignore[arg-type]
    precision = "bfloat16" if device == "cuda" else "float32"
    optim = replace(run.optim, epochs=None, steps=steps, batch=100, lr=0.05, precision=precision)  # type: ignore[arg-type]
    model = replace(run.model, settings={**run.model.settings, "width": sizes.width})
    labels = LabelsConfig(count=case.labels, seed=case.seed)
    return replace(run, data=data, optim=optim, strategy=strategy, model=model, labels=labels, seed=case.seed)


@lru_cache(maxsize=1)
def _images(data: Cifar10Data, seed: int, device: str) -> LearningData:
    """The data of workers, read once by each process; their batches are made on a GPU, where there is one."""
    found = load_cifar10(data, seed)
    assert isinstance(found.train, PatchSampler)
    if device != "cuda":
        return found
    crops: Any = CropsOnDevice(found.train, torch.device(device))  # a sampler whose labels too are tensors
    return replace(found, train=crops)


def probe(case: Case, sizes: Sizes, path: str, device: str, window: tuple[float, float]) -> dict[str, float]:
    """How fast a case is while all the others run beside it.

    Args:
        case: which.
        sizes: of everything.
        path: of the unpacked images.
        device: ``"cpu"`` or ``"cuda"``.
        window: times (of `time.time`) between which steps are counted.

    Returns:
        ``rate``: steps a second; ``look``: seconds of a look at the test images; ``refresh``: of a propagation;
        ``batch_ms``: to make a batch, of workers.
    """
    found = {"rate": 0.0, "look": 0.0 if case.part == WORKERS else 1.0, "refresh": 0.0}  # the latter is a guess
    seen: list[float] = []

    def count(*_: Any) -> None:
        now = time.time()
        if now >= window[0]:
            seen.append(now)
        if now >= window[1] and (len(seen) > _LEAST_STEPS or now >= window[1] + _LATE_S):
            raise OutOfTimeError

    config = config_of(case, sizes, path, 1000, device)
    try:
        if case.part == WORKERS:
            assert case.way is not None
            data = _images(config.data, case.seed, device)  # type: ignore[arg-type]
            config = override(config, dict(case.way.changes) | {"peers.begin": "0"})
            started = time.perf_counter()
            for step in range(20):
                data.train.batch(step, sizes.batch)
            found["batch_ms"] = 50 * (time.perf_counter() - started)
            for step, workers in _steps(config, case.way, data, device):
                if step == 1:
                    assert isinstance(data.test, Patches)
                    started = time.perf_counter()
                    for worker in workers:
                        data.test.logits(worker.network)
                    found["look"] = time.perf_counter() - started
                count()
        else:
            if isinstance(config.strategy, LabelPropagationConfig | TeacherStudentConfig):
                config = replace(config, strategy=replace(config.strategy, first_steps=0))

            def note(step: int, logs: dict[str, float]) -> None:
                found["refresh"] = max(found["refresh"], logs.get("refresh_seconds", 0.0))
                count(step)

            run_trial(Trial(method=case.method, config=config), note=note)
    except OutOfTimeError:
        pass
    if len(seen) > 1:
        found["rate"] = (len(seen) - 1) / (seen[-1] - seen[0])
    return found


def _steps(config: RunConfig, way: Way, data: LearningData, device: str) -> Any:
    if way.kind == "peers":
        return simulated_peers(config, ("a", "b"), data, device)
    config = replace(config, optim=scaled(config.optim, config.ddp, 2 if way.kind == "allreduce" else 1))
    return (simulated_allreduce if way.kind == "allreduce" else simulated_local_sgd)(config, 2, data, device)


def train(
    case: Case, sizes: Sizes, path: str, device: str, epochs: int, until: float, file: Path, facts: dict[str, Any]
) -> None:
    """Train a case, with a row at every look and one at the end, or where its time is over.

    Args:
        case: which.
        sizes: of everything.
        path: of the unpacked images.
        device: ``"cpu"`` or ``"cuda"``.
        epochs: of each worker; of few labels passes through the unlabelled images.
        until: when to stop, time of `time.time`.
        file: for rows.
        facts: for every row.
    """
    config = config_of(case, sizes, path, epochs, device)
    shared = facts | {"part": case.part, "case": case.name, "seed": case.seed, "epochs": epochs}
    curve: list[dict[str, object]] = []
    started = time.time()

    def looked(point: dict[str, object]) -> None:
        curve.append({"seconds": round(time.time() - started, 1), **point})
        add_row(file, row="look", **shared, **curve[-1])
        if time.time() > until:
            raise OutOfTimeError

    found: Mapping[str, object]
    try:
        found = (
            _train_workers(case, sizes, config, device, looked)
            if case.part == WORKERS
            else _train_few(case, sizes, config, until, looked)
        )
    except OutOfTimeError:
        found = {"config": _placeless(config), "cut": True}
    more = {"curve": curve, "seconds": round(time.time() - started, 1), "device": _device_name(device)}
    add_row(file, row="result", **{**found, **shared, **more, "method": case.method, "labels": case.labels})


def _train_workers(
    case: Case, sizes: Sizes, config: RunConfig, device: str, looked: Callable[[dict[str, object]], None]
) -> Row:
    assert case.way is not None
    data = _images(config.data, case.seed, device)  # type: ignore[arg-type]
    looks = config.optim.steps // sizes.epoch

    def note(look: Look) -> None:
        epoch = look["samples"] / (config.optim.batch * 2 * sizes.epoch)
        looked({"epoch": round(epoch, 3), "each": look["each"], "ensemble": look["ensemble"]})

    return run_way(config, case.way, case.seed, data, device=device, looks=looks, note=note)


def _train_few(
    case: Case, sizes: Sizes, config: RunConfig, until: float, looked: Callable[[dict[str, object]], None]
) -> dict[str, object]:
    pseudo: dict[str, float] = {}

    def note(step: int, logs: dict[str, float]) -> None:
        pseudo.update({k: v for k, v in logs.items() if k.startswith("pseudo_") or k == "refresh_seconds"})
        if time.time() > until:
            raise OutOfTimeError
        if "validation_accuracy" in logs:
            looked({"epoch": (step + 1) / sizes.few_epoch, "accuracy": logs["validation_accuracy"], **pseudo})

    row = run_trial(Trial(method=case.method, config=config), every=max(sizes.few_epoch // _FEW_LOOKS, 1), note=note)
    kept = {k: v for k, v in row.items() if k != "curve"}
    return {**kept, "drawn": row["labels"], "config": _placeless(config)}


def _placeless(config: RunConfig) -> dict[str, Any]:
    values = config.to_json()
    return {**values, "data": {**values["data"], "path": ""}}


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "CPU"


def machine(device: str) -> dict[str, Any]:
    """What a row on the machine tells."""
    memory = torch.cuda.get_device_properties(0).total_memory if device == "cuda" else 0
    return {
        "device": _device_name(device),
        "gpu_memory": memory,
        "cuda": torch.version.cuda,
        "tf32": {
            "convolutions": torch.backends.cudnn.allow_tf32,
            "matrix_products": torch.backends.cuda.matmul.allow_tf32,
        },
    }


def epochs_for(part: str, found: list[dict[str, float]], sizes: Sizes, seconds: float, most: int) -> int:
    """Epochs that the slowest of some cases can do in a time, with a tenth of it in reserve; `most` at most.

    Args:
        part: of the cases.
        found: by `probe`.
        sizes: of everything.
        seconds: that there are.
        most: epochs.
    """
    steps, looks = (sizes.epoch, 1) if part == WORKERS else (sizes.few_epoch, _FEW_LOOKS)
    need = [steps / p["rate"] + looks * p["look"] + p["refresh"] for p in found if p["rate"] > 0]
    return min(most, math.floor(0.9 * seconds / max(need))) if need else 0
