"""A parameter server and its workers, as processes: one worker is a plain run, and kills cost nothing."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from frazil.cli import cli, main
from frazil.errors import OptionError, ServerError
from frazil.learn.config import ModelConfig, OptimConfig, RunConfig, override
from frazil.learn.data.load import load_data
from frazil.learn.distributed.frames import HEADER_BYTES
from frazil.learn.log import read_log
from frazil.studies.workers_reference import simulated_allreduce
from tests.learn.distributed.test_ddp import agree, plain_run, weights
from tests.learn.distributed.test_peers import PATIENCE_S, wait_for
from tests.learn.test_run import toy_set

# Processes of their own, which can be killed, but forked from one that has loaded PyTorch: seconds are saved by each.
_FORK = multiprocessing.get_context("forkserver")
_LATE = ["torch._inductor", "zarr", "dask.array", "tensorboardX", "xarray.backends.zarr"]  # imported in functions
_FORK.set_forkserver_preload(["frazil.learn.serve", "tests.learn.test_serve", *_LATE])


def _command(words: list[str], told: str) -> None:
    torch.set_num_threads(1)
    with Path(told).open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["frazil", *words]
    main()


class Running:
    """A `frazil` command in a process; `told` is the file that holds what it says."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder, self.told = folder, folder.with_suffix(".told")
        self.process = _FORK.Process(target=_command, args=([*words, "-o", str(folder)], str(self.told)), daemon=True)
        self.process.start()

    @property
    def said(self) -> str:
        return self.told.read_text() if self.told.exists() else ""

    def ends(self, status: int = 0) -> str:
        self.process.join(PATIENCE_S)
        assert self.process.exitcode == status, self.said
        return self.said

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.process.join(PATIENCE_S)


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_set(tmp_path_factory.mktemp("set") / "toy.zarr", n=120, size=16)


@pytest.fixture
def address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


class Runs:
    """Starts servers and workers of one recipe."""

    def __init__(self, config: RunConfig, address: str, folder: Path) -> None:
        self.address, self.folder, self.recipe = address, folder, folder / "recipe.json"
        self.recipe.write_text(json.dumps(config.to_json()))

    def serve(self, *words: str) -> Running:
        return Running(self.folder / "server", "-q", "serve", str(self.recipe), "--address", self.address, *words)

    def work(self, name: str, *changes: str) -> Running:
        sets = [f"server.address={self.address}", f"server.worker={name}", *changes]
        words = [w for change in sets for w in ("--set", change)]
        return Running(self.folder / name, "-q", "train", str(self.recipe), *words)

    def alone(self, *changes: str) -> Running:
        words = [w for change in changes for w in ("--set", change)]
        return Running(self.folder / "alone", "-q", "train", str(self.recipe), *words)


def steps(folder: Path) -> list[int]:
    return [int(row["step"]) for row in read_log(folder) if "loss" in row]


# Whole runs


def test_two_synchronous_workers_equal_one_process_with_twice_the_batch(
    patches: Path, address: str, tmp_path: Path
) -> None:
    config = plain_run(patches)
    runs = Runs(config, address, tmp_path)
    server, workers = runs.serve("--workers", "2"), [runs.work("b"), runs.work("a")]
    runs.alone("optim.batch=16", "optim.lr=0.02").ends()
    said = server.ends()
    for worker in workers:
        worker.ends()
    agree(weights(tmp_path / "server"), weights(tmp_path / "alone"))
    *_, (_, (reference,)) = simulated_allreduce(override(config, {"optim.lr": "0.02"}), 2, load_data(config))
    agree(weights(tmp_path / "server"), reference.network.state_dict())
    for name in "ab":
        got, want = weights(tmp_path / name), weights(tmp_path / "server")
        assert all(torch.equal(got[key], want[key]) for key in want)
        assert steps(tmp_path / name) == list(range(10))
    scores = [json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("server", "alone")]
    assert scores[0]["test"]["accuracy"] == scores[1]["test"]["accuracy"]

    # And what went over the wire: gradients there and weights back, with a small header each.
    n = 4 * sum(t.numel() for t in weights(tmp_path / "server").values())
    rows = [row["server_bytes"] for row in read_log(tmp_path / "a") if "loss" in row]
    for before, after in itertools.pairwise(rows):
        assert 2 * n < after - before < 2 * n + 2 * HEADER_BYTES + 64
    received = float(said.split("worker    a: 10 steps, ")[1].split(" MB received")[0]) * 1e6
    assert received == pytest.approx(10 * n, rel=0.2)


@pytest.mark.parametrize("mode", ["synchronous", "stale", "asynchronous"])
def test_one_worker_is_a_plain_run_to_the_last_bit(mode: str, patches: Path, address: str, tmp_path: Path) -> None:
    """With batch norm, dropout, augmentation, Adam, clipping, and the best of several looks."""
    model = ModelConfig(architecture="mobilenet_v2") if mode == "stale" else plain_run(patches).model
    config = replace(
        plain_run(patches),
        model=replace(model, settings={**model.settings, "dropout": 0.3}),
        optim=OptimConfig(steps=8, batch=8, lr=3e-3, warmup=2, clip=0.5, keep="best", validate_every=3, patience=9),
    )
    config = override(config, {"data.augment": "flip,rotate"})
    runs = Runs(config, address, tmp_path)
    server, worker = runs.serve("--mode", mode, "--set", "server.staleness=0"), runs.work("a")
    runs.alone().ends()
    server.ends()
    worker.ends()
    got, want = weights(tmp_path / "server"), weights(tmp_path / "alone")
    assert all(torch.equal(got[key], want[key]) for key in want)
    looks = [[r for r in read_log(tmp_path / name) if "loss" not in r] for name in ("server", "alone")]
    assert looks[0] == looks[1]
    cards = [json.loads((tmp_path / name / "model" / "card.json").read_text()) for name in ("server", "alone", "a")]
    assert len({(c["temperature"], c["training"]["kept_step"], c["training"]["steps"]) for c in cards}) == 1


def test_patience_ends_all_workers(patches: Path, address: str, tmp_path: Path) -> None:
    changes = {"optim.keep": "best", "optim.patience": "2", "optim.validate_every": "2", "optim.lr": "1e-9"}
    runs = Runs(override(plain_run(patches), changes | {"optim.steps": "100"}), address, tmp_path)
    server, workers = runs.serve("--workers", "2"), [runs.work("a"), runs.work("b")]
    server.ends()
    for worker in workers:
        worker.ends()
    training = json.loads((tmp_path / "a" / "model" / "card.json").read_text())["training"]
    assert (training["steps"], training["stopped_early"], training["kept_step"]) == (6, True, 2)
    assert steps(tmp_path / "a") == steps(tmp_path / "b") == list(range(6))


def slowly(patches: Path, **changes: str) -> RunConfig:
    """Steps enough to be killed among."""
    return override(plain_run(patches), {"optim.steps": "400", "optim.validate_every": "1000", **changes})


def test_asynchronous_workers_learn(patches: Path, address: str, tmp_path: Path) -> None:
    runs = Runs(slowly(patches, **{"optim.lr": "0.02", "optim.steps": "150"}), address, tmp_path)
    server = runs.serve("--workers", "2", "--mode", "asynchronous")
    workers = [runs.work("a", "server.shard=1"), runs.work("b", "server.shard=0")]
    server.ends()
    for worker in workers:
        worker.ends()
    scores = json.loads((tmp_path / "server" / "evaluation.json").read_text())
    assert scores["test"]["accuracy"] > 0.9
    assert steps(tmp_path / "a") == steps(tmp_path / "b") == list(range(150))


def test_a_server_that_does_not_come_back_costs_a_worker_its_run_and_one_line(
    patches: Path, address: str, tmp_path: Path
) -> None:
    runs = Runs(slowly(patches, **{"optim.steps": "100000"}), address, tmp_path)
    server, worker = runs.serve(), runs.work("a", "server.patience_s=0.5")
    wait_for(lambda: len(read_log(tmp_path / "a")) > 10)
    server.kill()
    lost, last = worker.ends(1).splitlines()
    assert lost.startswith(f"The server at {address} is lost: ")
    assert last.startswith(f"frazil: No server lets this worker in at {address} for 0.5 s (Connection refused).")


def test_stale_workers_keep_the_bound_and_one_that_is_killed_comes_back(
    patches: Path, address: str, tmp_path: Path
) -> None:
    runs = Runs(slowly(patches, **{"optim.lr": "0.02"}), address, tmp_path)
    server, b = runs.serve("--workers", "2", "--mode", "stale", "--staleness", "3"), runs.work("b")
    a = runs.work("a")
    wait_for(lambda: len(read_log(tmp_path / "b")) > 30)
    b.kill()
    wait_for(lambda: "Worker b is gone at step" in server.said)
    before = len(read_log(tmp_path / "a"))
    wait_for(lambda: len(read_log(tmp_path / "a")) > before + 10)  # by more than the bound: nobody is held
    os.kill(a.pid, signal.SIGSTOP)
    b, seen = runs.work("b"), len(read_log(tmp_path / "b"))
    wait_for(lambda: len(read_log(tmp_path / "b")) > seen)
    os.kill(a.pid, signal.SIGCONT)
    server.ends(), a.ends(), b.ends()
    assert steps(tmp_path / "a") == list(range(400))
    assert steps(tmp_path / "b")[-1] == 399
    assert len(steps(tmp_path / "b")) < 400  # it went on where the others were
    for name in "ab":
        lags = [row["staleness"] for row in read_log(tmp_path / name) if "loss" in row]
        assert max(lags) <= 3
    scores = json.loads((tmp_path / "server" / "evaluation.json").read_text())
    assert scores["test"]["accuracy"] > 0.9


def test_a_killed_server_goes_on_from_its_saved_state_and_ends_in_the_same_weights(
    patches: Path, address: str, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    config = slowly(patches, **{"optim.steps": "150", "server.save_every": "20", "optim.optimiser": "adam"})
    runs = Runs(config, address, tmp_path)
    server, workers = runs.serve("--workers", "2"), [runs.work("a"), runs.work("b")]
    wait_for(lambda: (tmp_path / "server" / "state.safetensors").exists() and len(read_log(tmp_path / "a")) > 50)
    server.kill()
    assert not (tmp_path / "server" / "model").exists()
    assert all(worker.process.is_alive() for worker in workers)
    refused = runs.serve("--workers", "3").ends(1)
    assert "holds another run: server.workers differs" in refused
    server = runs.serve("--workers", "2", "--set", "server.save_s=5")
    server.ends()
    for worker in workers:
        assert "goes on at step" in worker.ends()
    whole = Runs(config, address, tmp_path / "other")
    again = [whole.serve("--workers", "2"), whole.work("a"), whole.work("b")]
    for running in again:
        running.ends()
    got, want = weights(tmp_path / "server"), weights(tmp_path / "other" / "server")
    assert all(torch.equal(got[key], want[key]) for key in want)
    assert steps(tmp_path / "a") == steps(tmp_path / "b") == list(range(150))


def test_a_server_that_is_asked_to_end_does_so_quietly_and_can_go_on(
    patches: Path, address: str, tmp_path: Path
) -> None:
    runs = Runs(slowly(patches, **{"optim.steps": "100000", "server.save_every": "5"}), address, tmp_path)
    server, workers = runs.serve("--workers", "2"), [runs.work("a"), runs.work("b")]
    wait_for(lambda: (tmp_path / "server" / "state.safetensors").exists())
    os.kill(server.pid, signal.SIGTERM)
    assert server.ends(130).split("\n")[-2] == "frazil: interrupted; nothing was left half-written."
    assert "Worker" not in server.said
    for worker in workers:
        assert worker.process.is_alive()
        worker.kill()


# Settings


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["server.address=here"], "address 'here' is not HOST:PORT"),
        (["server.address=127.0.0.1:70000"], "is not HOST:PORT"),
        (["server.address=::1:50"], "is not HOST:PORT"),
        (["server.address=127.0.0.1:1"], "needs a name of its own. Pass --set server.worker=NAME"),
        (["server.address=127.0.0.1:1", "server.worker=a b"], "worker 'a b' is no name"),
        (["server.address=192.0.2.1:1", "server.worker=a"], "is another machine. Pass --set server.token_file=FILE"),
        (["server.address=127.0.0.1:1", "server.worker=a", "server.patience_s=0.3"], "Start `frazil serve`"),
        (["server.address=127.0.0.1:1", "peers.path=x"], "Leave one of them out"),
        (["server.address=127.0.0.1:1", "strategy.name=fixmatch"], "'fixmatch' does not learn through a server"),
        (["server.mode=fast"], "server.mode"),
        (["server.staleness=-1"], "staleness -1 must be 0 or more"),
        (["server.shard=-1"], "shard -1 must be 0 or more"),
        (["server.workers=0"], "workers 0 must be 1 or more"),
    ],
)
def test_what_cannot_work_is_refused_in_a_line(words: list[str], message: str, patches: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps(plain_run(patches).to_json()))
    sets = [w for word in words for w in ("--set", word)]
    done = CliRunner().invoke(cli, ["train", str(tmp_path / "recipe.json"), *sets, "-o", str(tmp_path / "run")])
    assert isinstance(done.exception, (OptionError, ServerError)), done.output
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (tmp_path / "run").exists()


def test_a_server_needs_an_address_and_no_staleness_where_it_means_nothing(patches: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps(plain_run(patches).to_json()))
    basis = ["serve", str(tmp_path / "recipe.json"), "-o", str(tmp_path / "run")]
    for words, message in (
        ([], "A server needs an address. Pass --address"),
        (["--address", "127.0.0.1:0", "--staleness", "3"], "--staleness is for --mode stale"),
    ):
        done = CliRunner().invoke(cli, [*basis, *words])
        assert done.exit_code == 2
        assert message in done.output
    for words, message in (
        (["--address", "0.0.0.0:0"], "Other machines reach"),
        (["--address", "127.0.0.1:0", "--set", "strategy.name=fixmatch"], "does not learn through a server"),
    ):
        done = CliRunner().invoke(cli, [*basis, *words])
        assert isinstance(done.exception, OptionError)
        assert message in str(done.exception)
    assert not (tmp_path / "run").exists()
