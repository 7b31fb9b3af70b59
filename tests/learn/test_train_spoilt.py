"""The training loop, where a batch goes wrong: what is kept is the run before it, to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from frazil.errors import TrainingError
from frazil.learn.config import OptimConfig
from frazil.learn.state import load_state
from frazil.learn.train import Strategy, make_optimiser, train_loop

pytestmark = pytest.mark.usefixtures("one_thread")
OPTIM = OptimConfig(steps=10, warmup=0, schedule="constant", lr=1e-2)


class Spoilt(Strategy):
    """A network with batch norm, and a batch that is not finite at one step."""

    def __init__(self, at: int = 6) -> None:
        torch.manual_seed(1)
        self.network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        self.networks, self.result, self.at = {"network": self.network}, self.network, at

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        if step == self.at:
            x[2, 1] = torch.nan
        return self.network(x).square().mean(), {}


def test_a_batch_that_is_not_finite_leaves_no_trace_in_what_is_kept(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="not finite at step 7"):
        train_loop(Spoilt(), OPTIM, state=tmp_path / "state")
    kept = Spoilt()
    progress, _ = load_state(tmp_path / "state", kept.networks, make_optimiser(kept.networks, OPTIM))
    assert progress.step == 6
    good = Spoilt(at=-1)
    train_loop(good, OptimConfig(steps=6, warmup=0, schedule="constant", lr=1e-2))
    for name, value in good.network.state_dict().items():
        assert torch.equal(value, kept.network.state_dict()[name]), name
