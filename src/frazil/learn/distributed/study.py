"""Study: what learning from others buys, against independent networks and their ensemble, at equal samples.

Workers are simulated in one process (`frazil.learn.distributed.reference`), so that every method sees the same number
of samples in the same number of optimiser steps. Nothing is chosen by looking at the test set: settings are fixed
beforehand, and the last weights count.

References:
    Khaleghian (2022), paper 3, tables 1 and 2, figure 4.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from frazil.learn.checkpoint import git_commit, library_versions
from frazil.learn.cifar10_config import Cifar10Data
from frazil.learn.config import ModelConfig, OptimConfig, PatchData, RunConfig, SupervisedConfig, override, run_config
from frazil.learn.data import LearningData, load_data
from frazil.learn.distributed.allreduce import scaled
from frazil.learn.distributed.reference import (
    Worker,
    ensemble,
    simulated_allreduce,
    simulated_local_sgd,
    simulated_peers,
)
from frazil.learn.patches import Patches

WORKERS = ("a", "b")
LOOKS = 4  #: at the test set, evenly over the run; only the last one counts


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to train on several workers.

    Attributes:
        name: as it stands in tables.
        kind: ``"peers"``, ``"allreduce"`` or ``"local_sgd"``.
        changes: settings, as `override` takes them.
    """

    name: str
    kind: str
    changes: tuple[tuple[str, str], ...] = ()


def ways(every: int) -> tuple[Way, ...]:
    """All that are compared, with so many steps between exchanges."""
    e = ("peers.every", str(every))
    return (
        Way(name="independent", kind="peers", changes=(e, ("peers.method", "independent"))),
        Way(name="Allreduce", kind="allreduce"),
        Way(name=f"codistillation, N = {every}", kind="peers", changes=(e, ("peers.method", "codistillation"))),
        Way(name=f"AFSD, N = {every}", kind="peers", changes=(e,)),
        Way(name=f"AFSD raw, α = 0.01, N = {every}", kind="peers",
            changes=(e, ("peers.loss", "raw"), ("peers.alpha", "0.01"))),
        Way(name=f"local SGD, N = {every}", kind="local_sgd", changes=(("ddp.average_every", str(every)),)),
    )  # fmt: skip


def studied(name: str, data: str, split: str | None = None) -> RunConfig:
    """The run that a study varies: ``"cifar10"`` or ``"ice"``, on data at a path."""
    optim = OptimConfig(optimiser="sgd", steps=300, batch=64, lr=0.05, warmup=30, weight_decay=1e-4, clip=0.0,
                        schedule="steps", milestones=(0.7, 0.9))  # fmt: skip
    if name == "cifar10":
        return RunConfig(
            name=name, model=ModelConfig(architecture="resnet20"), strategy=SupervisedConfig(class_balance=0.0),
            data=Cifar10Data(path=data, per_class=300, test_per_class=200, shrink=4), optim=optim,
        )  # fmt: skip
    return RunConfig(
        name=name, model=ModelConfig(architecture="adhoc"), strategy=SupervisedConfig(class_balance=0.0),
        data=PatchData(patches=(data,), channels=("hh", "hv", "incidence_angle"), size=20, split=split or "scene",
                       augment=("flip", "rotate"), limit=400),
        optim=replace(optim, lr=0.02, batch=50),
    )  # fmt: skip


def run_way(config: RunConfig, way: Way, seed: int, data: LearningData | None = None) -> dict[str, Any]:
    """One row: accuracy of each network and of their ensemble on the test set, as they learn."""
    data = data or load_data(config)
    config = replace(override(config, dict(way.changes)), seed=seed)
    world, started, watched = len(WORKERS), time.perf_counter(), 0.0
    run: Iterator[tuple[int, list[Worker]]]
    if way.kind == "peers":
        run = simulated_peers(config, WORKERS, data)
    else:
        config = replace(config, optim=scaled(config.optim, config.ddp, world if way.kind == "allreduce" else 1))
        run = (simulated_allreduce if way.kind == "allreduce" else simulated_local_sgd)(config, world, data)
    test = data.test
    assert isinstance(test, Patches)
    steps, curve, losses = config.optim.steps, [], []
    for step, workers in run:
        losses.append([worker.logs.get("loss_distilled", math.nan) for worker in workers])
        if step % max(steps // LOOKS, 1) and step != steps:
            continue
        looked = time.perf_counter()
        each = [float((test.logits(w.network).argmax(0) == test.label).mean()) for w in workers]
        together = float((ensemble([w.network for w in workers], test).argmax(0) == test.label).mean())
        curve.append({"samples": step * config.optim.batch * world, "each": each, "ensemble": together})
        for worker in workers:
            worker.network.train()
        watched += time.perf_counter() - looked
    network = workers[0].network
    return {
        "way": way.name, "kind": way.kind, "seed": seed, "curve": curve, "changes": dict(way.changes),
        "distilled": [_mean(part) for part in np.array_split(np.array(losses), LOOKS)],
        "bytes_per_1000_steps": bytes_per_1000_steps(config, way.kind, network, world),
        "config": {**config.to_json(), "data": {**config.to_json()["data"], "path": "", "patches": [], "split": ""}},
        "seconds": round(time.perf_counter() - started - watched, 1), "test": len(test),
        "parameters": sum(p.numel() for p in network.parameters()), "commit": git_commit(),
        "versions": library_versions(),
    }  # fmt: skip


def bytes_per_1000_steps(config: RunConfig, kind: str, network: torch.nn.Module, world: int) -> int:
    """Bytes that a worker sends and gets: by ring Allreduce, or as files that it writes and reads."""
    if kind == "peers":
        size = len(save({k: v.contiguous() for k, v in network.state_dict().items()}))
        return round(size * world * 1000 / config.peers.every)
    numbers = sum(p.numel() for p in network.parameters())
    every = config.ddp.average_every or 1
    return round(2 * 2 * (world - 1) / world * 4 * numbers * 1000 / every)


def run_peers_study(
    config: RunConfig, chosen: tuple[Way, ...], seeds: int, folder: str | os.PathLike[str], *, processes: int = 1,
    progress: Callable[[float, str], None] | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Run what the study still lacks; every row is a file of its own.

    Args:
        config: see `studied`.
        chosen: see `ways`.
        seeds: how many runs of each.
        folder: where rows are kept.
        processes: side by side, each on one thread.
        progress: called with the fraction done and what was done last.
    """
    target, report = Path(folder), progress or (lambda _fraction, _what: None)
    target.mkdir(parents=True, exist_ok=True)
    runs = [(way, seed, target / f"{_slug(way.name)}-{seed}.json") for seed in range(seeds) for way in chosen]
    missing = [run for run in runs if not run[2].is_file()]
    done = len(runs) - len(missing)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_one, config, *run): run for run in missing}
        for future in as_completed(futures):
            future.result()
            done += 1
            report(done / len(runs), f"{futures[future][0].name}, seed {futures[future][1]}")
    return [json.loads(path.read_text(encoding="utf-8")) for _, _, path in runs]


def _one(config: RunConfig, way: Way, seed: int, path: Path) -> None:
    torch.set_num_threads(1)
    row = run_way(config, way, seed, _data(json.dumps(config.to_json())))
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(row) + "\n", encoding="utf-8")
    part.replace(path)


def _mean(part: np.ndarray) -> float:
    known = part[~np.isnan(part)]
    return float(known.mean()) if known.size else 0.0


@lru_cache(maxsize=1)
def _data(config: str) -> LearningData:
    return load_data(run_config(json.loads(config)))


def _slug(name: str) -> str:
    return "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in name.lower()).split())
