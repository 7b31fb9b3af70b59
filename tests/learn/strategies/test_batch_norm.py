"""Batch norm that normalises by its batch and remembers nothing of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from frazil.learn.strategies.batch_norm import statistics_kept

pytestmark = pytest.mark.usefixtures("one_thread")


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3),
        nn.BatchNorm2d(3, momentum=0.3),
        nn.Flatten(),
        nn.Linear(12, 4),
        nn.BatchNorm1d(4),
    ).train()


def statistics(made: nn.Module) -> dict[str, bytes]:
    return {k: v.numpy().tobytes() for k, v in made.named_buffers() if "running" in k}


def test_output_is_that_of_training_and_the_statistics_are_those_before() -> None:
    made, x = network(), torch.randn(5, 2, 4, 4)
    made(torch.randn(5, 2, 4, 4))
    before = statistics(made)
    with statistics_kept(made):
        inside = made(x)
    assert statistics(made) == before
    assert torch.equal(inside, made(x))
    assert statistics(made) != before


def test_outputs_are_normalised_by_their_own_batch() -> None:
    layer = nn.BatchNorm1d(3).train()
    x = torch.from_numpy(np.random.default_rng(0).normal(5, 3, (50, 3)))
    with statistics_kept(layer.double()):
        out = layer(x).detach().numpy()
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(out.std(axis=0), 1, rtol=1e-5)


def test_momenta_come_back_after_an_error_too() -> None:
    made = network()
    with pytest.raises(RuntimeError), statistics_kept(made):
        made(torch.randn(1, 7))
    assert [m.momentum for m in made if hasattr(m, "momentum")] == [0.3, 0.1]


def test_a_batch_that_is_not_finite_spoils_nothing() -> None:
    """Zero times infinity is no number."""
    made = network()
    before = statistics(made)
    with statistics_kept(made):
        made(torch.full((5, 2, 4, 4), torch.inf))
    assert statistics(made) == before


def test_gradients_flow_as_in_training() -> None:
    made, x = network(), torch.randn(5, 2, 4, 4)
    made(x).square().sum().backward()
    want = [p.grad.clone() for p in made.parameters() if p.grad is not None]
    made.zero_grad()
    with statistics_kept(made):
        made(x).square().sum().backward()
    assert all(torch.equal(p.grad, g) for p, g in zip(made.parameters(), want, strict=True) if p.grad is not None)
