"""Workers that learn from each other: the loss is the equation's, the run is the plain one's, kills cost nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from frazil.errors import OptionError
from frazil.learn.config import ModelConfig, OptimConfig, PatchData, PeersConfig, RunConfig, SimulatedData, override
from frazil.learn.data.learning_data import LearningData
from frazil.learn.data.load import load_data
from frazil.learn.distributed.courier import Courier
from frazil.learn.distributed.ear import Ear, ask
from frazil.learn.distributed.exchange import Exchange, Peer, Traffic
from frazil.learn.distributed.losses import layers_distillation
from frazil.learn.distributed.peers import WithPeers
from frazil.learn.distributed.store import Store
from frazil.learn.distributed.worker import worker_seed
from frazil.learn.log import read_log
from frazil.learn.models import create_model
from frazil.learn.run import train
from frazil.learn.strategies.supervised import Supervised
from frazil.studies.workers_reference import simulated_peers
from tests.learn.test_run import toy_set

PATIENCE_S = 300.0  # for what takes seconds on an idle machine
SMALL = {"widths": [4, 8], "hidden": [8], "dropout": 0.2}


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_set(tmp_path_factory.mktemp("set") / "toy.zarr", n=120, size=16)


def small_run(patches: Path, peers: PeersConfig | None = None, **optim: Any) -> RunConfig:
    return RunConfig(
        name="small",
        model=ModelConfig(architecture="adhoc", settings=SMALL),
        data=PatchData(patches=(str(patches),), augment=("flip",)),
        optim=OptimConfig(**{"steps": 12, "batch": 8, "lr": 2e-3, "warmup": 3, "validate_every": 12, **optim}),
        peers=peers or PeersConfig(),
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def command(patches: Path, folder: Path, worker: str, exchange: Path | str, *changes: str, every: int = 5) -> list[str]:
    sets = {
        "data.patches": str(patches),
        "model.settings": json.dumps(SMALL),
        "data.augment": "flip",
        "optim.epochs": "null",
        "optim.batch": "8",
        "optim.patience": "0",
        "optim.keep": "last",
        "optim.warmup": "3",
        "optim.validate_every": "1000000",
    }
    words = [f"{k}={v}" for k, v in sets.items()] + list(changes)
    return [
        sys.executable,
        "-m",
        "frazil",
        "train",
        "patches:adhoc",
        *(w for word in words for w in ("--set", word)),
        "--peers",
        str(exchange),
        "--worker",
        worker,
        "--every",
        str(every),
        "-o",
        str(folder),
    ]


def start(*words: str) -> subprocess.Popen[str]:
    quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet)


def still_running(folder: Path, step: int) -> None:
    """Make the last word of ended workers one of a step, as if they still ran."""
    for path in folder.glob("workers/*/*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"done": False, "step": step}))


# One step: the loss


UNREAD: Any = None  # the manifest of a peer that nobody asks for it


class Told:
    """A courier that brings what it is told."""

    def __init__(self, *networks: torch.nn.Module) -> None:
        self.found: dict[str, Peer] | None = {
            f"peer{i}": Peer(UNREAD, 0.0, n.state_dict()) for i, n in enumerate(networks)
        }
        self.sent: list[tuple[int, bool]] = []
        self.exchange, self.left_out = SimpleNamespace(traffic=Traffic()), 0

    def go(self, step: int, weights: object, **_: Any) -> None:
        self.sent.append((step, weights is not None))

    def news(self) -> dict[str, Peer] | None:
        found, self.found = self.found, None
        return found


def one_step(
    settings: PeersConfig, n_peers: int = 2, step: int = 0
) -> tuple[WithPeers, Any, list[Any], tuple[torch.Tensor, torch.Tensor]]:
    """A strategy before its step, its network, the others, and the batch."""
    torch.manual_seed(0)
    networks: list[Any] = [
        create_model("adhoc", n_channels=2, n_classes=3, settings={**SMALL, "patch": 8}) for _ in range(3)
    ]
    batch = torch.rand(6, 2, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    me, others = networks[0].train(), [n.eval() for n in networks[1:]][:n_peers]
    courier: Any = Told(*others)
    strategy = WithPeers(Supervised(me, lambda _: batch), settings, courier, seed=1, samples=6)
    torch.manual_seed(5)
    return strategy, me, others, batch


@pytest.mark.parametrize("method", ["afsd", "codistillation", "independent"])
@pytest.mark.parametrize("loss", ["normalised", "raw"])
def test_the_loss_is_that_of_the_equations(method: Any, loss: Any) -> None:
    strategy, me, others, (image, label) = one_step(PeersConfig(method=method, loss=loss, alpha=0.3))
    got, logs = strategy.step(0)
    torch.manual_seed(5)
    features = me.describe(image)
    logits = me.head(features)
    own = torch.nn.functional.cross_entropy(logits, label)

    def distances(f: torch.Tensor) -> torch.Tensor:
        d = torch.stack([torch.stack([(a - b).square().sum().sqrt() for b in f]) for a in f.double()])
        return d / (d.sum() / 30) if loss == "normalised" else d

    E = distances(features)
    afsd = sum((E - distances(o.describe(image))).abs().sum() / (30 if loss == "normalised" else 6) for o in others) / 2
    p = torch.stack([o(image).softmax(1) for o in others]).mean(0)
    codistillation = -(p * logits.log_softmax(1)).sum(1).mean()
    assert logs["loss_feature"] == pytest.approx(float(torch.as_tensor(afsd).detach()), rel=1e-4)
    assert logs["loss_output"] == pytest.approx(float(codistillation.detach()), rel=1e-5)
    assert logs["loss"] == pytest.approx(float(own.detach()), rel=1e-5)
    more = {"afsd": afsd, "codistillation": codistillation, "independent": 0.0}[method]
    assert float(got.detach()) == pytest.approx(float((own + 0.3 * more).detach()), rel=1e-4)
    got.backward()
    assert all(p.grad is None for teacher in strategy.teachers.values() for p in teacher.parameters())


def test_features_of_several_layers_count_alike() -> None:
    torch.manual_seed(0)
    networks: list[Any] = [create_model("resnet20", n_channels=2, n_classes=3, settings={"patch": 8}) for _ in range(3)]
    me, *others = networks
    image, label = torch.rand(5, 2, 8, 8), torch.tensor([0, 1, 2, 0, 1])
    settings = PeersConfig(features=("layer1", "layer2.0", "head"), alpha=1.0)
    courier: Any = Told(*(n.eval() for n in others))
    strategy = WithPeers(Supervised(me.train(), lambda _: (image, label)), settings, courier, seed=0, samples=5)
    got, logs = strategy.step(0)

    def described(network: Any) -> list[torch.Tensor]:
        x = network.relu(network.bn1(network.conv1(image)))
        one = network.layer1(x)
        two = network.layer2[0](one)
        rest = network.layer3(network.layer2[2](network.layer2[1](two)))
        return [m.mean((2, 3)).double() for m in (one, two, rest)]

    def distances(f: torch.Tensor) -> torch.Tensor:
        d = (f[:, None] - f[None]).square().sum(2).sqrt()
        return d / (d.sum() / 20)

    own, theirs = described(me), [described(o) for o in others]
    want = sum((distances(own[i]) - distances(t[i])).abs().sum() / 20 for t in theirs for i in range(3)) / 6
    assert logs["loss_feature"] == pytest.approx(float(torch.as_tensor(want).detach()), rel=1e-4)
    assert float(got.detach()) == pytest.approx(logs["loss"] + logs["loss_feature"], rel=1e-6)


def test_one_layer_s_features_move_nothing_behind_it() -> None:
    torch.manual_seed(0)
    one, other = (create_model("resnet20", n_channels=2, n_classes=3, settings={"patch": 8}) for _ in range(2))
    image = torch.rand(5, 2, 8, 8)
    ear = Ear(one.train(), ("layer1",))
    with ear.listening():
        one(image)
    layers_distillation(ear.features, [ask(other.eval(), image, ("layer1",))[0]]).backward()
    moved = {name.split(".")[0] for name, p in one.named_parameters() if p.grad is not None}
    assert moved == {"conv1", "bn1", "layer1"}


def test_teachers_stay_in_evaluation_mode_with_their_own_statistics() -> None:
    torch.manual_seed(0)
    networks: list[Any] = [create_model("resnet20", n_channels=2, n_classes=3, settings={"patch": 8}) for _ in range(2)]
    one, other = networks
    other.bn1.running_mean += 3.0
    batch = torch.rand(4, 2, 8, 8), torch.tensor([0, 1, 2, 0])
    courier: Any = Told(other)
    strategy = WithPeers(Supervised(one.train(), lambda _: batch), PeersConfig(), courier, seed=0, samples=4)
    strategy.step(0)
    teacher: Any
    (teacher,) = strategy.teachers.values()
    assert not any(m.training for m in teacher.modules())
    assert torch.equal(teacher.bn1.running_mean, other.bn1.running_mean)
    assert torch.equal(ask(teacher, batch[0])[1], other.eval()(batch[0]))


def test_teachers_are_capped_and_the_control_does_not_pay() -> None:
    def asked(settings: PeersConfig, steps: int = 12) -> list[int]:
        strategy, _, _, _ = one_step(settings)
        calls = [0]
        counts = []
        strategy.step(0)
        for teacher in strategy.teachers.values():
            teacher.register_forward_hook(lambda *_: calls.__setitem__(0, calls[0] + 1))
        for step in range(1, steps + 1):
            before = calls[0]
            strategy.step(step)
            counts.append(calls[0] - before)
        return counts

    assert asked(PeersConfig(log_every=0)) == [2] * 12
    assert asked(PeersConfig(log_every=0, teachers=1)) == [1] * 12
    assert asked(PeersConfig(log_every=0, teachers=1, loss_every=3)) == [0, 0, 1] * 4
    assert asked(PeersConfig(log_every=0, begin=5)) == [0] * 4 + [2] * 8
    assert asked(PeersConfig(method="independent", log_every=6)) == ([0] * 5 + [2]) * 2
    assert asked(PeersConfig(method="independent", log_every=0)) == [0] * 12


@pytest.mark.parametrize("method", ["afsd", "codistillation"])
def test_a_teacher_whose_numbers_overflow_is_left_out_and_named(method: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Finite weights times 1e30 pass every check of the file; only the answers tell."""
    strategy, me, _others, _ = one_step(PeersConfig(method=method))
    alone, _, _, _ = one_step(PeersConfig(method=method))
    strategy.step(0)
    alone.step(0)
    bad, _good = sorted(strategy.teachers)
    with torch.no_grad():
        for p in strategy.teachers[bad].parameters():
            p.mul_(1e30)
    del alone.teachers[bad]
    for step in range(1, 4):
        torch.manual_seed(step)
        loss, _logs = strategy.step(step)
        torch.manual_seed(step)
        expected, _ = alone.step(step)
        assert torch.equal(loss, expected)
        assert torch.isfinite(loss)
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in me.parameters() if p.grad is not None)
    assert caplog.text.count(f"Worker {bad} is left out") == 1


def test_a_network_that_has_learnt_nothing_is_not_published() -> None:
    strategy, _, _, _ = one_step(PeersConfig(every=1))
    courier: Any = strategy.courier
    strategy.after_step(0)
    strategy.step(1)
    strategy.after_step(1)
    assert courier.sent == [(1, False), (0, False), (2, True)] or courier.sent == [(1, False), (1, False), (2, True)]


def test_a_segmentation_network_learns_from_others_too(tmp_path: Path) -> None:
    run = RunConfig(
        name="crops",
        model=ModelConfig(architecture="unet", settings={"widths": (4, 8)}),
        data=SimulatedData(train_seeds=(1,), validation_seeds=(2,), crop=64, spacing_m=960.0),
        optim=OptimConfig(steps=3, batch=4, warmup=0),
    )
    for name in ("a", "b"):
        peers = PeersConfig(path=str(tmp_path / "x"), worker=name, every=1, log_every=1, lockstep=1)
        train(replace(run, peers=peers), tmp_path / name)
        still_running(tmp_path / "x/crops", 2)
    rows = [row for row in read_log(tmp_path / "b") if "loss_feature" in row]
    assert [row["step"] for row in rows] == [2]
    assert rows[0]["loss_feature"] > 0
    assert rows[0]["loss_output"] > 0


# Whole runs against the plain one


def test_processes_agree_with_the_reference_in_one_process(patches: Path, tmp_path: Path) -> None:
    """Three real processes in lockstep, and a plain loop: the same weights to the last bit."""
    more = {"peers.distance": "cosine"}  # distances are tested by themselves
    given = [f"{key}={value}" for key, value in more.items()]
    names, changes = ("a", "b", "c"), ("peers.lockstep=3", "optim.steps=12", "peers.teachers=1", *given)
    running = [start(*command(patches, tmp_path / n, n, tmp_path / "x", *changes)) for n in names]
    for process in running:
        assert process.wait() == 0, process.communicate()
    config = override(
        small_run(patches),
        {
            "optim.optimiser": "adam",
            "optim.lr": "1e-3",
            "optim.weight_decay": "0",
            "peers.every": "5",
            "peers.teachers": "1",
            **more,
        },
    )
    *_, (steps, workers) = simulated_peers(config, names, load_data(config))
    assert steps == 12
    for worker in workers:
        got, want = weights(tmp_path / worker.name), worker.network.state_dict()
        for key in want:
            torch.testing.assert_close(got[key], want[key], atol=1e-6, rtol=1e-5)
    alone = override(config, {"peers.method": "independent"})
    *_, (_, others) = simulated_peers(alone, names, load_data(alone))
    alone_network: Any = others[0].network
    together: Any = workers[0].network
    assert not torch.allclose(alone_network.head[0].weight, together.head[0].weight, atol=1e-5)


@pytest.mark.parametrize("same", [True, False])
def test_workers_see_the_same_batches_where_they_are_asked_to(
    same: bool, patches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def watched(config: RunConfig, *given: Any) -> LearningData:
        data = load_data(config, *given)
        seen.append(data.train.batch(1, 6)[0])
        return data

    monkeypatch.setattr("frazil.learn.run.load_data", watched)
    for name in ("a", "b"):
        peers = PeersConfig(path=str(tmp_path / "x"), worker=name, every=50, same_batches=same)
        train(small_run(patches, peers, steps=2), tmp_path / name)
    assert np.array_equal(seen[0], seen[1]) == same
    assert not torch.equal(*(weights(tmp_path / n)["features.0.weight"] for n in "ab"))


def test_workers_begin_differently_and_the_same_worker_alike(patches: Path, tmp_path: Path) -> None:
    assert worker_seed(0, "a") != worker_seed(0, "b")
    assert worker_seed(0, "a") != worker_seed(1, "a")
    for folder, name in (("1", "a"), ("2", "a"), ("3", "b")):
        peers = PeersConfig(path=str(tmp_path / folder / "x"), worker=name, every=50)
        train(small_run(patches, peers, steps=2), tmp_path / folder / "run")
    one, same, other = (weights(tmp_path / f / "run") for f in "123")
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert not torch.equal(one["features.0.weight"], other["features.0.weight"])


@pytest.mark.parametrize(
    "strategy",
    [
        "label_propagation",
        "teacher_student",
        "fixmatch",
        "mixmatch",
        "mean_teacher",
        "semi_gan",
        "pi_model",
        "remixmatch",
    ],
)
def test_every_strategy_learns_with_others(strategy: str, patches: Path, tmp_path: Path) -> None:
    """AFSD with label propagation, among others: each worker has its own unlabelled patches at hand."""
    changes = {"strategy.name": strategy, "labels.count": "20", "optim.batch": "16", "strategy.labelled": "8"}
    if strategy in ("label_propagation", "teacher_student"):
        changes |= {"strategy.first_steps": "4", "strategy.propagation.k": "5"}
    run = override(small_run(patches, steps=10), changes)
    for name in ("a", "b"):
        peers = PeersConfig(path=str(tmp_path / "x"), worker=name, every=5, log_every=1, lockstep=1)
        train(replace(run, peers=peers), tmp_path / name)
        still_running(tmp_path / "x/small", 5)
    rows = read_log(tmp_path / "b")
    assert len([row for row in rows if "loss_feature" in row]) >= 4
    assert all(row["peers"] == 1 for row in rows if "loss_feature" in row)
    assert newest(tmp_path / "x", "b", "small")["samples"] == 160


# What cannot work


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "peers.features=features.9"], "AdHocCNN has no layer 'features.9'. It has features"),
        (["--set", "peers.features=features,features"], "names no layer, or one of them twice"),
        (["--every", "0"], "every 0 must be 1 or more"),
        (["--worker", "a b"], "worker 'a b' is no name"),
        (["--set", "peers.alpha=-1"], "alpha -1.0 must be 0 or more"),
        (["--set", "optim.compile=true"], "optim.compile hides the features"),
        (["--peers", "gopher://x"], "is no place to exchange at"),
        (["--peers", __file__], "is a file. Name a folder that all workers can write to"),
    ],
)
def test_what_cannot_work_is_refused_in_a_line(words: list[str], message: str, patches: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from frazil.cli import cli

    basis = [
        "train",
        "patches:adhoc",
        "--set",
        f"data.patches={patches}",
        "--peers",
        str(tmp_path / "x"),
        "--worker",
        "a",
    ]
    done = CliRunner().invoke(cli, [*basis, *words, "-o", str(tmp_path / "run")])
    assert isinstance(done.exception, OptionError)
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (tmp_path / "run").exists()  # nothing half-begun


def test_a_worker_needs_a_name_and_a_place(patches: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from frazil.cli import cli

    with pytest.raises(OptionError, match="needs a name of its own. Pass --worker NAME"):
        train(small_run(patches, PeersConfig(path=str(tmp_path))), tmp_path / "run")
    done = CliRunner().invoke(cli, ["train", "patches:adhoc", "--worker", "a", "-o", str(tmp_path / "run")])
    assert done.exit_code == 2
    assert "--worker is for workers. Pass --peers FOLDER" in done.output


def test_mixed_models_are_refused_by_name(patches: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(small_run(patches, PeersConfig(path=str(tmp_path / "x"), worker="a", every=5, expiry_s=9e9)), tmp_path / "a")
    still_running(tmp_path / "x/small", 5)
    other = override(small_run(patches), {"model.settings.hidden": "[9]"})
    peers = PeersConfig(path=str(tmp_path / "x"), worker="b", every=5)
    train(replace(other, peers=peers), tmp_path / "b")  # somebody else's file must not keep a run from starting
    assert "Worker a is left out: it trains another model" in caplog.text
    fewer = override(small_run(patches), {"data.class_scheme": "binary"})
    train(replace(fewer, peers=replace(peers, worker="c")), tmp_path / "c")
    assert re.search(r"another model \(.*, here adhoc of .* for open_water,sea_ice\)", caplog.text)
    train(replace(other, peers=replace(peers, run="second")), tmp_path / "d")  # one folder, two runs


# Store trouble


def toy(value: float = 0.0) -> dict[str, torch.Tensor]:
    return {"w": torch.full((5,), float(value))}


def fetched(peer: Peer) -> dict[str, torch.Tensor]:
    assert peer.weights is not None
    return peer.weights


def exchange(place: Path, worker: str, **options: Any) -> Exchange:
    return Exchange(Store(place), run="r", worker=worker, like=toy(), model_text="toy", **options)


def test_what_another_run_left_does_not_teach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    with monkeypatch.context() as m:
        m.setattr(time, "time", lambda: now - 86_400)
        exchange(tmp_path, "old").publish(toy(1), step=5, samples=5)
    exchange(tmp_path, "ended").publish(toy(2), step=5, samples=5, done=True)
    alive = exchange(tmp_path, "alive")
    alive.publish(toy(3), step=5, samples=5)
    me = exchange(tmp_path, "me")
    assert list(me.fetch()) == ["alive"]
    back = exchange(tmp_path, "old")
    back.publish(toy(4), step=1, samples=1)  # it came back
    assert sorted(me.fetch()) == ["alive", "old"]


def test_a_live_worker_whose_clock_is_wrong_counts_from_its_next_publication(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skewed = exchange(tmp_path, "skewed")
    now = time.time()
    with monkeypatch.context() as m:
        m.setattr(time, "time", lambda: now - 1e6)
        skewed.publish(toy(1), step=1, samples=1)
    me = exchange(tmp_path, "me")
    assert me.fetch() == {}
    with monkeypatch.context() as m:
        m.setattr(time, "time", lambda: now - 1e6 + 60)
        skewed.publish(toy(2), step=2, samples=2)
    assert me.fetch()["skewed"].manifest.step == 2


def test_a_worker_that_starts_while_the_store_is_away_still_outranks_its_former_self(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        exchange(tmp_path, "a").publish(toy(1), step=9, samples=9)

    def away(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as m:
        m.setattr(Store, "names", away)
        again = exchange(tmp_path, "a")
        assert not again.publish(toy(2), step=0, samples=0)
    assert again.publish(toy(3), step=0, samples=0)
    assert again.incarnation == 3
    assert fetched(exchange(tmp_path, "b").fetch()["a"])["w"][0] == 3


def test_bytes_are_counted_over_restarts(tmp_path: Path) -> None:
    first = exchange(tmp_path, "a")
    for step in range(3):
        first.publish(toy(step), step=step, samples=0)
    assert exchange(tmp_path, "a").traffic.written > 0


def test_a_store_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    one = exchange(tmp_path, "a")
    courier = Courier(one, patience_s=60)
    real = Store.write

    def hangs(self: Store, name: str, data: bytes) -> None:
        free.wait(60)
        real(self, name, data)

    with monkeypatch.context() as m:
        m.setattr(Store, "write", hangs)
        began = time.monotonic()
        for step in range(1, 6):
            courier.go(step, toy(step), samples=0)
            assert courier.news() is None
        assert time.monotonic() - began < 20  # the store hangs for longer
        assert courier.left_out == 4
        free.set()
        courier.last(6, toy(6), samples=0)
    assert exchange(tmp_path, "b").fetch() == {}  # it has ended
    assert fetched(exchange(tmp_path, "b").fetch(at_step=6)["a"])["w"][0] == 6


@pytest.mark.slow
def test_two_workers_with_one_name(patches: Path, tmp_path: Path) -> None:
    """Both are told and go on: whoever writes into the folder must not be able to end a run."""
    one = start(*command(patches, tmp_path / "1", "a", tmp_path / "x", "optim.steps=1000000", every=3))
    try:
        wait_for(lambda: list((tmp_path / "x").rglob("*.json")))
        two = start(*command(patches, tmp_path / "2", "a", tmp_path / "x", "optim.steps=1000000", every=3))
        try:
            wait_for(lambda: newest(tmp_path / "x", "a").get("incarnation", 0) > 1)
            time.sleep(1.0)
            assert one.poll() is None
            assert two.poll() is None
        finally:
            two.kill()
            two.communicate()
    finally:
        one.kill()
        error = one.communicate()[1]
    assert "another process publishes under this worker's name" in error
    assert "Traceback" not in error


def wait_for(what: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def newest(exchange_folder: Path, worker: str, run: str = "adhoc") -> dict:
    names = sorted((exchange_folder / run / "workers" / worker).glob("*.json"))
    return json.loads(names[-1].read_text()) if names else {}


@pytest.mark.slow
def test_kills_restarts_and_late_comers(patches: Path, tmp_path: Path) -> None:
    """Half of the workers die by SIGKILL; the others go on; one comes back above its dead self; a late one is heard."""
    x = tmp_path / "x"
    changes = ("optim.steps=1000000", "peers.log_every=5")
    running = {n: start(*command(patches, tmp_path / n, n, x, *changes, every=10)) for n in ("a", "b")}
    try:
        wait_for(lambda: all(newest(x, n).get("step", 0) >= 20 for n in ("a", "b")))
        running["b"].send_signal(signal.SIGKILL)
        running["b"].communicate()
        dead, before = newest(x, "b"), newest(x, "a")["step"]
        wait_for(lambda: newest(x, "a")["step"] >= before + 50)  # the survivor goes on
        running["b"] = start(*command(patches, tmp_path / "b", "b", x, *changes, every=10))
        running["c"] = start(*command(patches, tmp_path / "c", "c", x, *changes, every=10))
        wait_for(lambda: newest(x, "b")["incarnation"] == 2)
        assert newest(x, "b")["incarnation"] > dead["incarnation"]
        wait_for(lambda: newest(x, "c").get("step", 0) >= 10)
        heard = lambda: [r for r in read_log(tmp_path / "c") if r.get("peers", 0) >= 1]  # noqa: E731
        wait_for(heard)
        # Within two intervals of its own; where an exchange takes longer, the next ones are left out, and counted.
        assert heard()[0]["step"] <= 20 + 10 * heard()[0]["exchange_failures"]
        wait_for(lambda: [r for r in read_log(tmp_path / "a") if r.get("peers") == 2])
        assert all(p.poll() is None for p in running.values())
    finally:
        for process in running.values():
            process.kill()
            process.communicate()
    log = [r for r in read_log(tmp_path / "a") if "exchange_failures" in r]
    assert log[-1]["exchange_failures"] == 0 or log[-1]["exchange_failures"] < len(log)


@pytest.mark.slow
def test_a_lost_mount_on_one_side_costs_only_that_exchange(patches: Path, tmp_path: Path) -> None:
    """One worker's store points nowhere (a file in its way); both end, and the other has published."""
    (tmp_path / "gone").write_text("not a folder")
    running = [
        start(*command(patches, tmp_path / "a", "a", tmp_path / "x", "optim.steps=60", every=10)),
        start(*command(patches, tmp_path / "b", "b", tmp_path / "gone" / "x", "optim.steps=60", every=10)),
    ]
    for process in running:
        _, error = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, error
        assert "Traceback" not in error
    assert newest(tmp_path / "x", "a")["done"]
    failures = [r["exchange_failures"] for r in read_log(tmp_path / "b") if "exchange_failures" in r]
    assert failures[-1] >= 1
