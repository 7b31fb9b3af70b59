"""Temporal ensembling against algorithm 2 of its paper, in float64, over epochs of a network that changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from frazil.learn.config import TemporalEnsemblingConfig
from frazil.learn.strategies.plan import Plan
from frazil.learn.strategies.temporal_ensembling import Memory, TemporalEnsembling
from tests.learn.strategies.linear import N_CLASSES, SIZE, Linear, gradient, softmax

pytestmark = pytest.mark.usefixtures("one_thread")
N, N_ALL, EPOCH, ALPHA = 2, 8, 3, 0.6


class Rounds:
    """Two of three labelled patches a step, and two of five others; the sixth place of an epoch is its first again."""

    def __init__(self) -> None:
        self.image = np.random.default_rng(4).normal(size=(N_ALL, 2, SIZE, SIZE)).astype(np.float32)

    def places(self, step: int) -> np.ndarray:
        few = np.arange(2 * step, 2 * step + 2) % 3
        many = 3 + (2 * (step % EPOCH) + np.arange(2)) % 5
        return np.concatenate([few, many])

    def __call__(self, step: int) -> tuple[list[Tensor], Tensor]:
        places = self.places(step)
        return [torch.from_numpy(self.image[places])], torch.from_numpy(places)


def made() -> tuple[TemporalEnsembling, Linear, Rounds, np.ndarray]:
    network, batches = Linear(), Rounds()
    label = torch.tensor([0, 2, 1])
    settings = TemporalEnsemblingConfig(labelled=N, alpha=ALPHA, weight=5.0, ramp=0.5)
    memory = Memory(N_ALL, N_CLASSES, ALPHA)
    source: Any = batches
    plan = Plan(steps=24, epoch=EPOCH)
    strategy = TemporalEnsembling(network, source, label, plan, settings, memory=memory, share=0.25)
    return strategy, network, batches, label.numpy()


def move(network: Linear, step: int) -> None:
    """As an optimiser might."""
    rng = np.random.default_rng(step)
    with torch.no_grad():
        network.layer.weight.add_(torch.from_numpy(0.3 * rng.normal(size=network.layer.weight.shape)))


def test_losses_of_five_epochs_are_those_of_the_paper() -> None:
    strategy, network, batches, label = made()
    z, t, said = np.zeros((N_ALL, N_CLASSES)), np.zeros(N_ALL), dict[int, np.ndarray]()
    weights = []
    for step in range(5 * EPOCH):
        if step % EPOCH == 0:
            for place, p in said.items():
                z[place] = ALPHA * z[place] + (1 - ALPHA) * p
                t[place] += 1
            said = {}
        places = batches.places(step)
        x = batches.image[places].astype(np.float64)
        p = softmax(network.logits(x))
        target = np.array([z[i] / (1 - ALPHA ** t[i]) if t[i] else row for i, row in zip(places, p, strict=True)])
        of_labels = float(-np.log(p[np.arange(N), label[places[:N]]]).sum() / len(p))
        apart = float(((p - target) ** 2).sum() / (N_CLASSES * len(p)))
        if t.min() > 0:
            np.testing.assert_allclose(target.sum(axis=1), 1, rtol=1e-6)
        loss, logs = strategy.step(step)
        assert logs["loss_labelled"] == pytest.approx(of_labels, rel=1e-5)
        assert logs["loss_unlabelled"] == pytest.approx(apart, rel=1e-4, abs=1e-9)
        weights.append(logs["weight_unlabelled"])
        assert loss.item() == pytest.approx(of_labels + weights[-1] * apart, rel=1e-5)
        for place, row in zip(places, p, strict=True):
            said[int(place)] = row
        move(network, step)
    assert weights[:EPOCH] == [0.0] * EPOCH, "there is no memory in the first epoch"
    want = [5 * 0.25 * np.exp(-5 * (1 - min(s / 12, 1)) ** 2) for s in range(EPOCH, 5 * EPOCH)]
    np.testing.assert_allclose(weights[EPOCH:], want)


def test_after_one_epoch_the_target_is_what_was_said_and_later_an_average() -> None:
    memory = Memory(3, 2, 0.6)
    first, second = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.1, 0.9]])
    memory.note(torch.tensor([1]), first)
    assert not memory.targets(torch.tensor([1]))[1]
    memory.end_epoch()
    target, known = memory.targets(torch.tensor([1, 2]))
    torch.testing.assert_close(target, torch.tensor([[0.9, 0.1], [0.0, 0.0]]))
    assert known.tolist() == [True, False]
    memory.note(torch.tensor([1, 1]), torch.cat([first, second]))
    memory.end_epoch()
    want = (0.6 * 0.4 * first + 0.4 * second) / (1 - 0.6**2)
    torch.testing.assert_close(memory.targets(torch.tensor([1]))[0], want)
    memory.end_epoch()  # without the patch, which changes nothing
    torch.testing.assert_close(memory.targets(torch.tensor([1]))[0], want)


def test_the_gradient_is_that_of_fixed_targets() -> None:
    strategy, network, batches, _ = made()
    for step in range(EPOCH):
        strategy.step(step)
        move(network, step)
    _, apart, _ = strategy.losses(EPOCH)
    apart.backward()
    places = batches.places(EPOCH)
    x = batches.image[places].astype(np.float64)
    p = softmax(network.logits(x))
    target, known = (v.double().numpy() for v in strategy.memory.targets(torch.from_numpy(places)))
    slope = 2 * (p - target) * known[:, None] / p.size
    of_logits = p * (slope - (slope * p).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(gradient(network), of_logits.T @ x.reshape(len(x), -1), atol=1e-7)


def test_a_killed_run_keeps_its_memory_amid_an_epoch() -> None:
    strategy, network, *_ = made()
    for step in range(EPOCH + 2):
        strategy.step(step)
        move(network, step)
    other, again, *_ = made()
    again.load_state_dict(network.state_dict())
    kept = {k: v.clone() for k, v in strategy.tensors().items()}
    other.load_tensors(kept)
    for step in range(EPOCH + 2, 3 * EPOCH):
        assert other.step(step)[0].item() == strategy.step(step)[0].item()
        move(network, step)
        move(again, step)
    forgetful, weights, *_ = made()
    weights.load_state_dict(network.state_dict())
    assert forgetful.step(3 * EPOCH)[0].item() != strategy.step(3 * EPOCH)[0].item()
    with pytest.raises(ValueError, match="it remembers 8 patches, not 9"):
        Memory(9, N_CLASSES, ALPHA).load_tensors(kept)
