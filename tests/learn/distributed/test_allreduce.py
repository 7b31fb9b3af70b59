"""Processes in step: each drops out other descriptors, and all go on after a kill as they would have without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn

from frazil.learn.config import DDPConfig, OptimConfig
from frazil.learn.distributed.allreduce import InStep
from frazil.learn.distributed.team import Team
from frazil.learn.train import Strategy, train_loop

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def group_of_one(tmp_path: Path) -> Iterator[None]:
    """PyTorch's own engine in this process alone."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


class Dropping(Strategy):
    """Notes what dropout let through."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        self.network = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5))
        self.networks, self.result = {"network": self.network}, self.network
        self.passed: dict[int, list[bool]] = {}

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        out = self.network(torch.ones(4, 8))
        self.passed[step] = (out != 0).flatten().tolist()
        return out.square().mean(), {}


def run(rank: int, state: Path | None, steps: int, of: int = 6) -> Dropping:
    """A process of two, as far as so many steps; all read the state, the first writes it."""
    inner = Dropping()
    together = InStep(inner, DDPConfig(), Team(rank, 2, rank), of, seed=5)
    train_loop(together, OptimConfig(steps=steps, warmup=0, schedule="constant"), state=state, writes=rank == 0)
    return inner


@pytest.mark.usefixtures("group_of_one")
def test_a_killed_team_drops_out_what_it_would_have_dropped_without(tmp_path: Path) -> None:
    whole = [run(rank, None, 6) for rank in (0, 1)]
    run(0, tmp_path / "state", 3)
    resumed = [run(rank, tmp_path / "state", 6) for rank in (1, 0)][::-1]
    for before, after in zip(whole, resumed, strict=True):
        assert sorted(after.passed) == [3, 4, 5]
        assert all(after.passed[step] == before.passed[step] for step in after.passed)
    assert all(resumed[0].passed[step] != resumed[1].passed[step] for step in (3, 4, 5))
    assert len({tuple(v) for one in whole for v in one.passed.values()}) == 12
