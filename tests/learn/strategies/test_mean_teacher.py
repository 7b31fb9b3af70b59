"""Mean Teacher against float64: agreement with the average, which is never taught by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frazil.learn.config import MeanTeacherConfig
from frazil.learn.strategies.mean_teacher import MeanTeacher
from tests.learn.strategies.linear import N_CLASSES, cross_entropy, gradient, make, softmax

pytestmark = pytest.mark.usefixtures("one_thread")
N = 4


def apart_from_the_average(strategy: MeanTeacher) -> None:
    """As it is in the middle of a run: the average has other weights."""
    with torch.no_grad():
        for parameter in strategy.average.network.parameters():
            parameter.mul_(-0.3).add_(0.1)


def test_losses_and_gradients_are_those_of_fixed_targets() -> None:
    strategy, network, batches, label = make(MeanTeacher, MeanTeacherConfig(labelled=N))
    apart_from_the_average(strategy)
    labelled, apart, _ = strategy.losses(0)
    mine, its = (v.astype(np.float64).reshape(len(v), -1) for v in batches.views)
    p, q = softmax(network.logits(mine)), softmax(strategy.average.network.logits(its))
    target = np.eye(N_CLASSES)[label.numpy()[batches.places[:N]]]
    assert labelled.item() == pytest.approx(cross_entropy(network.logits(mine[:N]), target), rel=1e-5)
    assert apart.item() == pytest.approx(float(((p - q) ** 2).mean()), rel=1e-5)
    apart.backward()
    slope = 2 * (p - q) / p.size
    of_logits = p * (slope - (slope * p).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(gradient(network), of_logits.T @ mine, atol=1e-7)
    assert all(parameter.grad is None for parameter in strategy.average.network.parameters())


def test_the_two_views_are_not_exchanged() -> None:
    strategy, network, batches, _ = make(MeanTeacher, MeanTeacherConfig(labelled=N))
    strategy.losses(0)
    for given, view in ((network.given, batches.views[0]), (strategy.average.network.given, batches.views[1])):
        assert len(given) == 1
        np.testing.assert_allclose(given[0], view.reshape(len(view), -1), atol=1e-7)


@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (5, 0.5), (10, 1.0), (99, 1.0)])
def test_agreement_counts_more_and_more(step: int, share: float) -> None:
    strategy, *_ = make(MeanTeacher, MeanTeacherConfig(labelled=N, weight=7.0, ramp=0.1))
    apart_from_the_average(strategy)
    labelled, apart, _ = strategy.losses(step)
    loss, logs = strategy.step(step)
    assert loss.item() == pytest.approx(labelled.item() + 7 * share * apart.item(), rel=1e-6)
    assert logs["weight_unlabelled"] == pytest.approx(7 * share)


def test_the_average_follows_by_the_share_it_keeps() -> None:
    """After k steps, the weights of the run so far by hand: keep = min(ema, (1 + s) / (10 + s))."""
    strategy, network, _, _ = make(MeanTeacher, MeanTeacherConfig(labelled=N, ema=0.5))
    want = network.layer.weight.detach().double().clone()
    for step in range(12):
        with torch.no_grad():
            network.layer.weight.add_(0.1 * (step + 1))
        strategy.after_step(step)
        keep = min(0.5, (1 + step) / (10 + step))
        want = keep * want + (1 - keep) * network.layer.weight.detach().double()
    np.testing.assert_allclose(strategy.result.layer.weight.detach().numpy(), want.numpy(), rtol=1e-5)
