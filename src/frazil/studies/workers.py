"""Study: what learning from others buys, against independent networks and their ensemble, at equal samples.

Workers are simulated in one process (`frazil.studies.workers_reference`), so that every method sees the same number
of samples in the same number of optimiser steps. Nothing is chosen by looking at the test set: settings are fixed
beforehand, and the last weights count.

References:
    Khaleghian (2022), paper 3, tables 1 and 2, figure 4.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from frazil.learn.checkpoint import git_commit, library_versions
from frazil.learn.config import (
    Cifar10Data,
    ModelConfig,
    OptimConfig,
    PatchData,
    RunConfig,
    SupervisedConfig,
    of_patches,
    override,
    run_config,
)
from frazil.learn.data.learning_data import LearningData
from frazil.learn.data.load import load_data
from frazil.learn.data.patches import Patches
from frazil.learn.distributed.allreduce import codec_of, scaled
from frazil.studies.runner import Case, data_stamp, run_cases, slug
from frazil.studies.workers_reference import (
    Worker,
    ensemble,
    simulated_allreduce,
    simulated_local_sgd,
    simulated_peers,
)

STUDIED = ("cifar10", "ice", "ice-cnn13")
_NARROW = {"width": 16, "dropout": 0.0}  # the full width of 128 learns for days on two cores
LOOKS = 4  #: at the test set, evenly over the run; only the last one counts


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to train on several workers.

    Attributes:
        name: as it stands in tables.
        kind: ``"peers"``, ``"allreduce"`` or ``"local_sgd"``.
        changes: settings, as `override` takes them.
        workers: how many.
    """

    name: str
    kind: str
    changes: tuple[tuple[str, str], ...] = ()
    workers: int = 2


class Look(TypedDict):
    """A look at the test set: accuracy of each network and of their ensemble, after so many samples of all workers."""

    samples: int
    each: list[float]
    ensemble: float


class Row(TypedDict):
    """A run of one way; rows of earlier versions know no processor seconds."""

    way: str
    kind: str
    seed: int
    curve: list[Look]
    changes: dict[str, str]
    distilled: list[float]
    bytes_per_1000_steps: int
    workers: int
    steps: int
    exchanges: int
    config: dict[str, Any]
    processor_seconds: NotRequired[float]
    test: int
    parameters: int
    commit: str
    versions: dict[str, str]


def ways(every: int) -> tuple[Way, ...]:
    """All that are compared, with so many steps between exchanges."""
    e = ("peers.every", str(every))
    return (
        Way(name="independent", kind="peers", changes=(e, ("peers.method", "independent"))),
        Way(name="Allreduce", kind="allreduce"),
        Way(name="Allreduce, rate not doubled", kind="allreduce", changes=(("ddp.scale_lr", "false"),)),
        Way(name=f"codistillation, N = {every}", kind="peers", changes=(e, ("peers.method", "codistillation"))),
        Way(name=f"AFSD, N = {every}", kind="peers", changes=(e,)),
        Way(
            name=f"AFSD raw, α = 0.01, N = {every}",
            kind="peers",
            changes=(e, ("peers.loss", "raw"), ("peers.alpha", "0.01")),
        ),
        Way(name=f"local SGD, N = {every}", kind="local_sgd", changes=(("ddp.average_every", str(every)),)),
    )


def caps(every: int, workers: int = 4) -> tuple[Way, ...]:
    """AFSD that asks all teachers, and less of them, beside independent networks."""
    e = ("peers.every", str(every))
    one, seldom = ("peers.teachers", "1"), ("peers.loss_every", "3")
    return (
        Way(name="independent", kind="peers", changes=(e, ("peers.method", "independent")), workers=workers),
        Way(name="all others, every step", kind="peers", changes=(e,), workers=workers),
        Way(name="one, drawn anew", kind="peers", changes=(e, one), workers=workers),
        Way(name="one, every third step", kind="peers", changes=(e, one, seldom), workers=workers),
    )


def packings() -> tuple[Way, ...]:
    """Allreduce with whole gradients, the control, and with packed ones, all at the rate of one worker."""
    same = ("ddp.scale_lr", "false")

    def way(name: str, *changes: tuple[str, str]) -> Way:
        return Way(name=name, kind="allreduce", changes=(same, *changes))

    hundredth = (("ddp.hook", "topk"), ("ddp.share", "0.01"))
    return (
        way("whole gradients"),
        way("8 bits", ("ddp.hook", "levels"), ("ddp.bits", "8")),
        way("4 bits", ("ddp.hook", "levels"), ("ddp.bits", "4")),
        way("8 bits at random (QSGD)", ("ddp.hook", "qsgd"), ("ddp.bits", "8")),
        way("sign, 1 bit", ("ddp.hook", "sign")),
        way("largest 1 %", *hundredth),
        way("largest 1 %, nothing remembered", *hundredth, ("ddp.error_feedback", "false")),
    )


def studied(name: str, data: str, split: str | None = None) -> RunConfig:
    """The run that a study varies: one of `STUDIED`, on data at a path."""
    optim = OptimConfig(
        optimiser="sgd",
        steps=300,
        batch=64,
        lr=0.05,
        warmup=30,
        weight_decay=1e-4,
        clip=0.0,
        schedule="steps",
        milestones=(0.7, 0.9),
    )
    if name == "cifar10":
        return RunConfig(
            name=name,
            model=ModelConfig(architecture="resnet20"),
            strategy=SupervisedConfig(class_balance=0.0),
            data=Cifar10Data(path=data, per_class=300, test_per_class=200, shrink=4),
            optim=optim,
        )
    adhoc, cnn13 = ModelConfig(architecture="adhoc"), ModelConfig(architecture="cnn13", settings=_NARROW)
    return RunConfig(
        name=name,
        model=adhoc if name == "ice" else cnn13,
        strategy=SupervisedConfig(class_balance=0.0),
        data=PatchData(
            patches=(data,),
            channels=("hh", "hv", "incidence_angle"),
            size=20,
            split=split or "scene",
            augment=("flip", "rotate"),
            limit=400,
        ),
        optim=replace(optim, lr=0.02 if name == "ice" else 0.05, batch=50),
    )


def run_way(
    config: RunConfig,
    way: Way,
    seed: int,
    data: LearningData | None = None,
    *,
    device: str = "cpu",
    looks: int = LOOKS,
    note: Callable[[Look], None] | None = None,
) -> Row:
    """One row: accuracy of each network and of their ensemble on the test set, as they learn.

    Args:
        config: see `studied`.
        way: to train.
        seed: of the run.
        data: of the run, where it is at hand.
        device: ``"cpu"`` or ``"cuda"``.
        looks: at the test set, evenly over the run.
        note: called with each of them.
    """
    data = data or load_data(config)
    config = replace(override(config, dict(way.changes)), seed=seed)
    world, started, watched = way.workers, time.process_time(), 0.0
    run: Iterator[tuple[int, list[Worker]]]
    if way.kind == "peers":
        run = simulated_peers(config, tuple("abcdefghij"[:world]), data, device)
    else:
        config = replace(config, optim=scaled(config.optim, config.ddp, world if way.kind == "allreduce" else 1))
        run = (simulated_allreduce if way.kind == "allreduce" else simulated_local_sgd)(config, world, data, device)
    test = data.test
    assert isinstance(test, Patches)
    curve: list[Look] = []
    steps, losses = config.optim.steps, dict[int, Tensor]()
    for step, workers in run:
        told = [worker.logs["loss_distilled"] for worker in workers if "loss_distilled" in worker.logs]
        if told:
            losses[step] = torch.stack(told)
        if step % max(steps // looks, 1) and step != steps:
            continue
        looked = time.process_time()
        logits = [test.logits(w.network) for w in workers]
        each = [float((one.argmax(0) == test.label).mean()) for one in logits]
        together = float((ensemble(logits).argmax(0) == test.label).mean())
        curve.append({"samples": step * config.optim.batch * world, "each": each, "ensemble": together})
        for worker in workers:
            worker.network.train()
        watched += time.process_time() - looked
        if note:
            note(curve[-1])
    network, moved = workers[0].network, bytes_per_1000_steps(config, way.kind, workers[0].network, world)
    return {
        "way": way.name,
        "kind": way.kind,
        "seed": seed,
        "curve": curve,
        "changes": dict(way.changes),
        "distilled": _distilled(losses, steps),
        "bytes_per_1000_steps": moved,
        "workers": world,
        "steps": steps,
        "exchanges": exchanges(config, way.kind),
        "config": {**config.to_json(), "data": {**config.to_json()["data"], "path": "", "patches": [], "split": ""}},
        "processor_seconds": round(time.process_time() - started - watched, 1),
        "test": len(test),
        "parameters": sum(p.numel() for p in network.parameters()),
        "commit": git_commit(),
        "versions": library_versions(),
    }


def exchanges(config: RunConfig, kind: str) -> int:
    """How many times a worker hears of others in a run."""
    if kind == "allreduce":
        return config.optim.steps or 0
    every = config.peers.every if kind == "peers" else config.ddp.average_every
    return 0 if kind == "peers" and config.peers.method == "independent" else (config.optim.steps or 0) // every


def bytes_per_1000_steps(config: RunConfig, kind: str, network: torch.nn.Module, world: int) -> int:
    """Bytes that a worker sends and gets: by ring Allreduce, in packed messages, or as files written and read."""
    if kind == "peers":
        size = len(save({k: v.contiguous() for k, v in network.state_dict().items()}))
        return round(size * world * 1000 / config.peers.every)
    numbers = sum(p.numel() for p in network.parameters())
    if config.ddp.hook != "none":  # each sends its message to all others, and gets theirs
        return 2 * (world - 1) * codec_of(config.ddp).pack(torch.zeros(numbers)).numel() * 1000
    every = config.ddp.average_every or 1
    return round(2 * 2 * (world - 1) / world * 4 * numbers * 1000 / every)


def run_peers_study(
    config: RunConfig,
    chosen: tuple[Way, ...],
    seeds: int,
    folder: str | os.PathLike[str],
    *,
    processes: int = 1,
    finished: bool = False,
    progress: Callable[[float, str], None] | None = None,
) -> list[Row]:
    """The rows of the study; what it lacks is run.

    Raises:
        OptionError: a row in the folder was made with other settings or other data.

    Args:
        config: see `studied`.
        chosen: see `ways`.
        seeds: how many runs of each.
        folder: where ``NAME.jsonl`` is kept, NAME being that of the run.
        processes: side by side, each on one thread.
        finished: run nothing, return what is there.
        progress: called with the fraction done and what was done last.
    """
    data = config.data
    places = data.patches if of_patches(data) else tuple(filter(None, [getattr(data, "path", "")]))
    stamps = [data_stamp(place) for place in places]
    cases = [
        Case(
            name=f"{slug(way.name)}-{seed}",
            depends_on={"config": _placeless(config), "data": stamps, "way": asdict(way), "seed": seed},
            make=partial(_rows_of, config, way, seed),
            complete=_complete,
            repeat=seed,
        )
        for seed in range(seeds)
        for way in chosen
    ]
    file = Path(folder) / f"{config.name}.jsonl"
    return run_cases(cases, file, workers=processes, finished=finished, report=progress)


def _complete(depends_on: dict[str, object]) -> dict[str, object]:
    """Settings that a row does not know yet stood at their defaults."""
    return {**depends_on, "config": _placeless(run_config(depends_on["config"]))}


def _placeless(config: RunConfig) -> dict[str, object]:
    """The settings of a run without where its data lies."""
    values = config.to_json()
    return {**values, "data": {k: v for k, v in values["data"].items() if k not in ("path", "patches", "split")}}


def _rows_of(config: RunConfig, way: Way, seed: int, _scratch: Path) -> list[Row]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a row is the same on every machine of a kind, however many share it
    try:
        return [run_way(config, way, seed, _data(json.dumps(config.to_json())))]
    finally:
        torch.set_num_threads(threads)


def _distilled(losses: dict[int, Tensor], steps: int) -> list[float]:
    """Mean distillation loss in each quarter of a run, 0 where there was none; losses are (worker,) by step, from 1."""
    known = {step: loss.double().cpu().numpy() for step, loss in losses.items()}
    parts = [np.array([known[s] for s in part if s in known]) for part in np.array_split(range(1, steps + 1), LOOKS)]
    return [float(part.mean()) if part.size else 0.0 for part in parts]


@lru_cache(maxsize=1)
def _data(config: str) -> LearningData:
    return load_data(run_config(json.loads(config)))
