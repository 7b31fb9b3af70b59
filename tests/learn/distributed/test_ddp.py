"""Processes that train in step, started by torchrun: they equal one process with a larger batch, and a plain loop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from frazil.errors import OptionError
from frazil.learn.config import (
    DDPConfig,
    ModelConfig,
    OptimConfig,
    PatchData,
    PeersConfig,
    RunConfig,
    SupervisedConfig,
    override,
)
from frazil.learn.data.load import load_data
from frazil.learn.distributed.allreduce import Sharded, scaled
from frazil.learn.distributed.team import Team
from frazil.learn.distributed.worker import shared_out
from frazil.learn.log import read_log
from frazil.learn.run import train
from frazil.studies.workers_reference import simulated_allreduce, simulated_local_sgd
from tests.learn.distributed.test_peers import PATIENCE_S, still_running, wait_for
from tests.learn.test_run import toy_set


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_set(tmp_path_factory.mktemp("set") / "toy.zarr", n=120, size=16)


def plain_run(patches: Path) -> RunConfig:
    """Nothing random but the first weights and the order: no dropout, no augmentation."""
    return RunConfig(
        name="small",
        model=ModelConfig(architecture="adhoc", settings={"widths": [4, 8], "hidden": [8], "dropout": 0}),
        data=PatchData(patches=(str(patches),), augment=()),
        strategy=SupervisedConfig(class_balance=0.0),
        optim=OptimConfig(optimiser="sgd", steps=10, batch=8, lr=0.01, warmup=3, validate_every=10),
    )


def torchrun(config: RunConfig, folder: Path) -> subprocess.Popen[str]:
    """Two processes of a run."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    recipe = folder.with_suffix(".json")
    recipe.write_text(json.dumps(config.to_json()))
    words = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        "localhost:0",
        "-m",
        "frazil",
        "train",
        str(recipe),
        "-o",
        str(folder),
    ]
    quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def agree(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor], atol: float = 1e-5) -> None:
    for key in want:
        torch.testing.assert_close(got[key], want[key], atol=atol, rtol=1e-4)


def test_two_processes_equal_one_with_twice_the_batch_and_the_plain_loop(patches: Path, tmp_path: Path) -> None:
    config = plain_run(patches)
    process = torchrun(config, tmp_path / "two")
    one = override(config, {"optim.batch": "16", "optim.lr": "0.02"})
    train(one, tmp_path / "one")
    out, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, error
    assert out.count("accuracy") == 1 or out.count("model ") == 1  # one of them talks
    agree(weights(tmp_path / "two"), weights(tmp_path / "one"))
    *_, (_, (worker,)) = simulated_allreduce(override(config, {"optim.lr": "0.02"}), 2, load_data(config))
    agree(weights(tmp_path / "two"), worker.network.state_dict())
    assert len([r for r in read_log(tmp_path / "two") if "loss" in r]) == 10


def test_local_sgd_equals_the_plain_loop(patches: Path, tmp_path: Path) -> None:
    config = override(plain_run(patches), {"ddp.average_every": "4", "ddp.scale_lr": "false"})
    process = torchrun(config, tmp_path / "two")
    _, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, error
    *_, (_, (worker, _)) = simulated_local_sgd(config, 2, load_data(config))
    agree(weights(tmp_path / "two"), worker.network.state_dict())


@pytest.mark.parametrize("hook", [pytest.param("powersgd", marks=pytest.mark.slow), "levels"])
@pytest.mark.slow
def test_compressed_gradients_learn_nearly_the_same(hook: str, patches: Path, tmp_path: Path) -> None:
    config = override(plain_run(patches), {"ddp.hook": hook, "ddp.powersgd_start": "3"})
    process = torchrun(config, tmp_path / "two")
    train(override(config, {"optim.batch": "16", "optim.lr": "0.02", "ddp.hook": "none"}), tmp_path / "one")
    _, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, error
    got, want = weights(tmp_path / "two"), weights(tmp_path / "one")
    apart = max(float((got[k] - want[k]).abs().max()) for k in want)
    assert 0 < apart < {"levels": 1e-2, "powersgd": 0.1}[hook]


@pytest.mark.slow
def test_a_hybrid_learns_from_another_server(patches: Path, tmp_path: Path) -> None:
    """Two processes in step are one worker; another has been there."""
    peers = PeersConfig(path=str(tmp_path / "x"), worker="a", every=5, log_every=1, lockstep=1)
    train(replace(plain_run(patches), peers=peers), tmp_path / "a")
    still_running(tmp_path / "x/small", 5)
    process = torchrun(replace(plain_run(patches), peers=replace(peers, worker="b")), tmp_path / "b")
    _, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, error
    rows = [row for row in read_log(tmp_path / "b") if "loss_feature" in row]
    assert [row["step"] for row in rows] == [5, 6, 7, 8, 9]
    last = sorted((tmp_path / "x/small/workers/b").iterdir())[-1]
    assert json.loads(last.read_text())["samples"] == 10 * 8 * 2


@pytest.mark.slow
def test_a_killed_process_ends_the_run_of_all_and_the_same_command_goes_on(patches: Path, tmp_path: Path) -> None:
    """What does not happen between servers that exchange files."""
    config = override(plain_run(patches), {"optim.steps": "400", "optim.validate_every": "20"})
    process = torchrun(config, tmp_path / "run")
    wait_for(lambda: (tmp_path / "run" / "state.safetensors").exists())
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    os.kill(int(children.stdout.split()[-1]), signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)  # the engine's own patience is six times as long
    assert process.returncode != 0
    done = len(read_log(tmp_path / "run"))
    assert 0 < done < 420
    again = torchrun(config, tmp_path / "run")
    _, error = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 0, error
    assert [r["step"] for r in read_log(tmp_path / "run") if "loss" in r] == list(range(400))


def test_shards_are_the_halves_of_the_larger_batch(patches: Path) -> None:
    data = load_data(plain_run(patches))
    image, label = data.train.batch(5, 16)
    halves = [Sharded(data.train, Team(rank, 2)).batch(5, 8) for rank in (0, 1)]
    np.testing.assert_array_equal(np.concatenate([h[0] for h in halves]), image)
    np.testing.assert_array_equal(np.concatenate([h[1] for h in halves]), label)


def test_the_learning_rate_is_scaled_linearly() -> None:
    optim = OptimConfig(lr=0.1, warmup=10)
    assert scaled(optim, DDPConfig(), 1) == optim
    assert (scaled(optim, DDPConfig(), 4).lr, scaled(optim, DDPConfig(), 4).warmup) == (0.4, 10)
    assert scaled(replace(optim, epochs=3), DDPConfig(), 4).warmup == 3
    assert scaled(optim, DDPConfig(scale_lr=False), 4) == optim


def test_what_cannot_work_is_refused(patches: Path) -> None:
    cpu = torch.device("cpu")
    with pytest.raises(OptionError, match="ddp.backend nccl needs CUDA devices"):
        Team(0, 2).join(DDPConfig(backend="nccl"), cpu)
    with pytest.raises(OptionError, match="ddp.hook bf16 needs CUDA devices and NCCL"):
        Team(0, 2).join(DDPConfig(hook="bf16"), cpu)
    with pytest.raises(OptionError, match="must be numbers"):
        Team.of({"RANK": "first", "MASTER_ADDR": "x", "WORLD_SIZE": "2"})
    assert Team.of({"WORLD_SIZE": "8"}) == Team()  # Slurm and others set some of these without torchrun
    config = override(plain_run(patches), {"strategy.name": "fixmatch", "strategy.labelled": "4"})
    with pytest.raises(OptionError, match="'fixmatch' does not run under torchrun"):
        shared_out(config, load_data(plain_run(patches)), Team(0, 2))
