"""The state of a training run: a killed run goes on as if nothing had happened, and no damaged state is gone on from.

The reference is a run that was never killed, in a loop of this file's own; weights must agree bit for bit.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from frazil.errors import ModelError, OutputError
from frazil.learn.state import Progress, load_state, save_state

pytestmark = pytest.mark.usefixtures("one_thread")

MakeOptimiser = Callable[[nn.Module], torch.optim.Optimizer]
OPTIMISERS: dict[str, MakeOptimiser] = {
    "adamw": lambda network: torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.1),
    "adam": lambda network: torch.optim.Adam(network.parameters(), lr=1e-2, weight_decay=0.1),
    "amsgrad": lambda network: torch.optim.Adam(network.parameters(), lr=1e-2, amsgrad=True),
    "sgd": lambda network: torch.optim.SGD(network.parameters(), lr=1e-2, momentum=0.9, nesterov=True),
    "plain sgd": lambda network: torch.optim.SGD(network.parameters(), lr=1e-2),
    "nadam": lambda network: torch.optim.NAdam(network.parameters(), lr=1e-2),
}


def make_network(seed: int, width: int = 5) -> nn.Module:
    """Everything that hides state: batch norm, dropout, an image layout that is not contiguous, a weight used twice."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(width, 2, 3)
    )
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def take_steps(network: nn.Module, optimiser: torch.optim.Optimizer, first: int, stop: int) -> None:
    """Data are a function of the step; dropout draws from torch's own generator, as in a run."""
    network.train()
    for step in range(first, stop):
        x = torch.from_numpy(np.random.default_rng(step).normal(size=(4, 3, 8, 8)).astype(np.float32))
        loss = network(x.to(memory_format=torch.channels_last)).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()


def bits(network: nn.Module) -> dict[str, bytes]:
    return {name: value.contiguous().numpy().tobytes() for name, value in network.state_dict().items()}


def saved(path: Path, name: str = "adamw", steps: int = 3) -> Path:
    network = make_network(1)
    optimiser = OPTIMISERS[name](network)
    take_steps(network, optimiser, 0, steps)
    save_state(path, {"network": network}, optimiser, Progress(step=steps, best=0.25, best_step=2), {})
    return path


def load_into(path: Path, name: str = "adamw", seed: int = 9, width: int = 5) -> tuple[Progress, dict[str, Tensor]]:
    network = make_network(seed, width)
    return load_state(path, {"network": network}, OPTIMISERS[name](network))


def rewritten(path: Path, change: Callable[[dict[str, Tensor], dict[str, str]], None]) -> Path:
    """The same file with something else in it, by safetensors itself."""
    with safe_open(path, framework="pt") as file:
        header = dict(file.metadata())
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    change(tensors, header)
    save_file(tensors, path, metadata=header)
    return path


@pytest.mark.parametrize("name", list(OPTIMISERS))
@pytest.mark.parametrize("killed_after", [1, 4])
def test_a_killed_run_ends_in_the_same_bits(name: str, killed_after: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = make_network(1)
    take_steps(whole, OPTIMISERS[name](whole), 0, 7)

    before = make_network(1)
    optimiser = OPTIMISERS[name](before)
    take_steps(before, optimiser, 0, killed_after)
    save_state(tmp_path / "state", {"network": before}, optimiser, Progress(step=killed_after), {})

    after = make_network(2)  # other weights, and other random numbers than where the first run stood
    torch.manual_seed(12345)
    optimiser = OPTIMISERS[name](after)
    progress, _ = load_state(tmp_path / "state", {"network": after}, optimiser)
    take_steps(after, optimiser, progress.step, 7)
    assert bits(after) == bits(whole)


def test_a_run_that_is_killed_every_step_is_no_worse_off(tmp_path: Path) -> None:
    whole = make_network(1)
    take_steps(whole, OPTIMISERS["adamw"](whole), 0, 5)
    network = make_network(1)
    optimiser = OPTIMISERS["adamw"](network)
    for step in range(5):
        take_steps(network, optimiser, step, step + 1)
        save_state(tmp_path / "state", {"network": network}, optimiser, Progress(step=step + 1), {})
        network = make_network(100 + step)
        optimiser = OPTIMISERS["adamw"](network)
        load_state(tmp_path / "state", {"network": network}, optimiser)
    assert bits(network) == bits(whole)


def test_saving_draws_no_random_number_and_moves_no_weight(tmp_path: Path) -> None:
    network = make_network(1)
    optimiser = OPTIMISERS["adamw"](network)
    take_steps(network, optimiser, 0, 2)
    weights, generator = bits(network), torch.get_rng_state()
    save_state(tmp_path / "state", {"network": network}, optimiser, Progress(step=2), {})
    assert bits(network) == weights
    assert torch.equal(torch.get_rng_state(), generator)


def test_another_process_goes_on_in_the_same_bits(tmp_path: Path) -> None:
    whole = make_network(1)
    take_steps(whole, OPTIMISERS["adamw"](whole), 0, 6)
    saved(tmp_path / "state")
    program = f"""
        import sys, torch
        torch.set_num_threads(1)
        from pathlib import Path
        from frazil.learn.state import load_state
        from tests.learn.test_state import OPTIMISERS, bits, make_network, take_steps
        network = make_network(77)
        optimiser = OPTIMISERS["adamw"](network)
        load_state(Path({str(tmp_path / "state")!r}), {{"network": network}}, optimiser)
        take_steps(network, optimiser, 3, 6)
        for value in bits(network).values():
            sys.stdout.buffer.write(value)
    """
    root = Path(__file__).resolve().parents[2]
    paths = os.pathsep.join([str(root), str(root / "src")])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.stdout == b"".join(bits(whole).values())


def test_two_networks_and_the_best_weights_do_not_mix(tmp_path: Path) -> None:
    one, two = make_network(1), make_network(2)
    optimiser = torch.optim.AdamW([*one.parameters(), *two.parameters()], lr=1e-2)
    take_steps(one, optimiser, 0, 2)
    best = {k: v.clone() + 1 for k, v in two.state_dict().items()}
    more = {"average/0.weight": torch.arange(3.0), "network/one/0.weight": torch.full((2,), 7.0)}
    save_state(tmp_path / "state", {"a": one, "b": two}, optimiser, Progress(step=2), best, more)

    into = {"b": make_network(3), "a": make_network(4)}  # by name, not by their order
    other = torch.optim.AdamW([*into["a"].parameters(), *into["b"].parameters()], lr=1e-2)
    restored: dict[str, Tensor] = {}
    _, found = load_state(tmp_path / "state", into, other, restored.update)
    assert bits(into["a"]) == bits(one)
    assert bits(into["b"]) == bits(two)
    assert found.keys() == best.keys()
    assert all(torch.equal(found[k], best[k]) for k in best)
    assert restored.keys() == more.keys()
    assert all(torch.equal(restored[k], more[k]) for k in more)


def test_weights_that_share_memory_are_kept_whole(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
            self.second.weight = self.first.weight
            self.register_buffer("corner", self.first.weight.detach()[:2, :2])  # a view into the same memory

    network, into = Tied(), Tied()
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    save_state(tmp_path / "state", {"n": network}, optimiser, Progress(), {})
    load_state(tmp_path / "state", {"n": into}, torch.optim.SGD(into.parameters(), 0.1))
    assert bits(into) == bits(network)
    assert into.second.weight is into.first.weight


def test_progress_comes_back_field_by_field(tmp_path: Path) -> None:
    told = Progress(
        step=17,
        seconds=1e-3 / 3,
        best=2 / 3,
        best_step=11,
        looks_since=4,
        stopped=True,
        validation=[{"step": 11, "macro_f1": 2 / 3}, {"step": 17, "macro_f1": 0.1}],
    )
    network = make_network(1)
    save_state(tmp_path / "state", {"network": network}, OPTIMISERS["sgd"](network), told, {})
    progress, best = load_into(tmp_path / "state", "sgd")
    assert progress == told
    assert best == {}


def test_weights_that_are_not_finite_come_back_as_they_were(tmp_path: Path) -> None:
    network = make_network(1)
    with torch.no_grad():
        network.get_parameter("0.bias")[:3] = torch.tensor([torch.nan, torch.inf, -0.0])
    save_state(tmp_path / "state", {"network": network}, OPTIMISERS["sgd"](network), Progress(), {})
    into = make_network(5)
    load_state(tmp_path / "state", {"network": into}, OPTIMISERS["sgd"](into))
    assert bits(into) == bits(network)


@pytest.mark.parametrize(("written", "read"), [("adamw", "sgd"), ("sgd", "adamw"), ("plain sgd", "adam")])
def test_the_state_of_another_optimiser_is_refused(written: str, read: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="of another run") as error:
        load_into(saved(tmp_path / "state", written), read)
    assert "\n" not in str(error.value)


def test_the_state_of_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="of another run") as error:
        load_into(saved(tmp_path / "state"), width=6)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["exp_avg", "exp_avg_sq"])
def test_moments_of_another_weight_are_refused(key: str, tmp_path: Path) -> None:
    """Of shapes that would broadcast, so that no step would ever fail."""

    def shuffle(tensors: dict[str, Tensor], _: dict[str, str]) -> None:
        assert tensors[f"optimiser/0/{key}"].shape == (5, 3, 3, 3)
        tensors[f"optimiser/0/{key}"] = torch.zeros(1, 3, 3, 3)

    with pytest.raises(ModelError, match="damaged"):
        load_into(rewritten(saved(tmp_path / "state"), shuffle))


def test_moments_of_a_weight_too_many_are_refused(tmp_path: Path) -> None:
    def add(tensors: dict[str, Tensor], _: dict[str, str]) -> None:
        tensors["optimiser/99/exp_avg"] = torch.zeros(5)

    with pytest.raises(ModelError, match="damaged"):
        load_into(rewritten(saved(tmp_path / "state"), add))


def test_a_state_that_does_not_tell_its_optimiser_is_still_gone_on_from(tmp_path: Path) -> None:
    def lose(_: dict[str, Tensor], header: dict[str, str]) -> None:
        del header["kind"]

    progress, _ = load_into(rewritten(saved(tmp_path / "state"), lose))
    assert progress.step == 3


@pytest.mark.parametrize(
    "said",
    [
        {"step": "3"},
        {"step": 2.5},
        {"step": -1},
        {"step": None},
        {"seconds": "long"},
        {"best": "good"},
        {"looks_since": None},
        {"stopped": "no"},
        {"validation": None},
        {"validation": [3]},
        {"epoch": 1},
    ],
    ids=str,
)
def test_progress_that_cannot_be_is_refused(said: dict[str, object], tmp_path: Path) -> None:
    def tell(_: dict[str, Tensor], header: dict[str, str]) -> None:
        header["progress"] = json.dumps({**json.loads(header["progress"]), **said})

    with pytest.raises(ModelError, match="damaged") as error:
        load_into(rewritten(saved(tmp_path / "state"), tell))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("lost", ["progress", "optimiser", "everything"])
def test_a_file_without_its_header_is_refused(lost: str, tmp_path: Path) -> None:
    def lose(_: dict[str, Tensor], header: dict[str, str]) -> None:
        for key in [lost] if lost in header else list(header):
            del header[key]

    with pytest.raises(ModelError, match="damaged"):
        load_into(rewritten(saved(tmp_path / "state"), lose))


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 300, -1000, -1])
def test_a_file_that_was_cut_off_is_refused(length: int, tmp_path: Path) -> None:
    path = saved(tmp_path / "state")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ModelError, match="damaged"):
        load_into(path)


def test_no_flipped_bit_of_the_header_gives_another_error(tmp_path: Path) -> None:
    path = saved(tmp_path / "state", "plain sgd", 1)
    whole, rng, outcomes = path.read_bytes(), np.random.default_rng(0), set()
    end = 8 + int.from_bytes(whole[:8], "little")
    for place in rng.choice(end, size=250, replace=False):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            progress, _ = load_into(path, "plain sgd")
        except ModelError as error:
            outcomes.add("refused" if "\n" not in str(error) else "refused in several lines")
        else:
            outcomes.add("read")
            assert type(progress.step) is int
            assert progress.step >= 0
    assert outcomes <= {"read", "refused"}
    assert "refused" in outcomes


def test_a_pickle_in_its_place_is_not_run(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
            return os.mkdir, (str(tmp_path / "run"),)

    (tmp_path / "state").write_bytes(pickle.dumps(Attack()))
    with pytest.raises(ModelError, match="damaged"):
        load_into(tmp_path / "state")
    torch.save({"a": Attack()}, tmp_path / "state")
    with pytest.raises(ModelError, match="damaged"):
        load_into(tmp_path / "state")
    assert not (tmp_path / "run").exists()


def test_a_write_that_fails_leaves_the_state_before_it(tmp_path: Path) -> None:
    """A limit on the size of files is what a full disk looks like to a program."""
    path = saved(tmp_path / "state")
    before = path.read_bytes()
    program = f"""
        import resource, signal, sys
        from pathlib import Path
        from frazil.errors import OutputError
        from tests.learn.test_state import saved
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            saved(Path({str(path)!r}), steps=5)
        except OutputError as error:
            sys.exit(0 if str(error).count(chr(10)) == 0 else 2)
        sys.exit(3)
    """
    root = Path(__file__).resolve().parents[2]
    paths = os.pathsep.join([str(root), str(root / "src")])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


def test_a_folder_that_takes_nothing_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match="Cannot write") as error:
        saved(tmp_path / "file" / "state")
    assert "\n" not in str(error.value)
