"""ReMixMatch against algorithm 1 of its paper, in float64; how patches were mixed is seen in what the network got."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from frazil.errors import OptionError
from frazil.learn.config import Cifar10Data, ReMixMatchConfig, RunConfig
from frazil.learn.data.load import load_data
from frazil.learn.strategies.remixmatch import ReMixMatch, aligned, rotated, sharpened
from tests.learn.strategies.linear import N_CLASSES, PLAN, SIZE, Batches, Linear, softmax
from tests.studies.few_labels_toy import toy_run, toy_strategy

pytestmark = pytest.mark.usefixtures("one_thread")
N, N_ALL, VIEWS = 4, 11, 3


class Described(Linear):
    """Its descriptors are the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.described: list[np.ndarray] = []

    def describe(self, x: Tensor) -> Tensor:
        self.described.append(x.detach().double().numpy())
        return x.flatten(1)


def made(**more: Any) -> tuple[ReMixMatch, Described, Batches, np.ndarray]:
    network, batches = Described(), Batches(N_ALL, VIEWS + 1)
    label = torch.tensor([0, 0, 0, 1, 1, 2, 0, 1, 0, 0])
    batches.places = np.concatenate([[5, 2, 3, 9], 10 + np.arange(N_ALL - N)])
    torch.manual_seed(3)
    rotation = nn.Linear(2 * SIZE * SIZE, 4)
    told, source, trunk = ReMixMatchConfig(labelled=N, views=VIEWS, **more), batches, network
    args: Any = (trunk, rotation, source, label, N_CLASSES, PLAN, told)
    return ReMixMatch(*args, seed=3), network, batches, label.numpy()


def guesses(weak: np.ndarray, network: Linear, label: np.ndarray, before: list[np.ndarray]) -> np.ndarray:
    """Aligned and sharpened at T = 0.5; `before`: mean guesses of earlier batches."""
    p = softmax(network.logits(weak))
    own = np.mean([*before, p.mean(axis=0)], axis=0)
    q = p * (np.bincount(label, minlength=N_CLASSES) / len(label) + 1e-6) / (own + 1e-6)
    q /= q.sum(axis=1, keepdims=True)
    q = q**2
    return np.asarray(q / q.sum(axis=1, keepdims=True))


def cross_entropy(p: np.ndarray, target: np.ndarray) -> float:
    return float(-(target * np.log(p)).sum(axis=1).mean())


def mixing(mixed: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row's partner and its own share, by trying every pair."""
    partners, shares = [], []
    for row, (given_, own) in enumerate(zip(mixed, images, strict=True)):
        across = own - images
        size = (across**2).sum(axis=1)
        share = 1 - np.divide(((own - given_) * across).sum(axis=1), size, out=np.zeros(len(images)), where=size > 0)
        left = ((share[:, None] * own + (1 - share)[:, None] * images - given_) ** 2).sum(axis=1)
        itself = ((own - given_) ** 2).sum() < 1e-10
        partners.append(row if itself else int(left.argmin()))
        shares.append(1.0 if itself else share[partners[-1]])
        assert itself or left[partners[-1]] < 1e-8
    return np.array(partners), np.array(shares)


def by_hand(
    strategy: ReMixMatch, network: Described, batches: Batches, label: np.ndarray, before: list[np.ndarray]
) -> tuple[float, float, float, float, np.ndarray]:
    """The four losses of the step that the network has just seen, and the guesses."""
    flat = [v.astype(np.float64).reshape(len(v), -1) for v in batches.views]
    weak, strong = flat[0], flat[1:]
    guess = guesses(weak[N:], network, label, before)
    images = np.concatenate([strong[0][:N], *(v[N:] for v in strong), weak[N:]])
    target = np.concatenate([np.eye(N_CLASSES)[label[batches.places[:N]]], *[guess] * (VIEWS + 1)])
    partner, share = mixing(network.given[-1], images)
    assert sorted(partner) == list(range(len(images)))
    assert ((share >= 0.5) & (share <= 1 + 1e-6)).all()
    assert np.ptp(share) > 0.05, "drawn pair by pair"
    mixed = share[:, None] * images + (1 - share)[:, None] * images[partner]
    target = share[:, None] * target + (1 - share)[:, None] * target[partner]
    p = softmax(network.logits(mixed))
    unmixed = cross_entropy(softmax(network.logits(strong[0][N:])), guess)
    turns = []
    for given_, image in zip(network.described[-1], batches.views[1][N:], strict=True):
        (turn,) = [k for k in range(4) if np.allclose(np.rot90(image, k, (1, 2)), given_)]
        turns.append(turn)
    w, b = (x.detach().double().numpy() for x in strategy.rotation.parameters())
    told = softmax(network.described[-1].reshape(len(turns), -1) @ w.T + b)
    turned = cross_entropy(told, np.eye(4)[turns])
    return cross_entropy(p[:N], target[:N]), cross_entropy(p[N:], target[N:]), unmixed, turned, guess


def test_losses_are_those_of_the_paper_over_several_batches() -> None:
    """The window of the guesses is two batches."""
    strategy, network, batches, label = made(window=2)
    before: list[np.ndarray] = []
    for step in range(4):
        found = strategy.losses(step)
        want = by_hand(strategy, network, batches, label, before[-1:])
        for one, other in zip(found[:4], want[:4], strict=True):
            assert one.item() == pytest.approx(other, rel=1e-4)
        weak = batches.views[0][N:].astype(np.float64)
        before.append(softmax(network.logits(weak.reshape(len(weak), -1))).mean(axis=0))
        strategy.after_step(step)
        with torch.no_grad():
            network.layer.weight.add_(0.1 * step)
            network.layer.bias.mul_(0.7)


@pytest.mark.parametrize(("step", "rise"), [(0, 0.0), (10, 0.5), (50, 1.0)])
def test_the_step_weighs_four_losses(step: int, rise: float) -> None:
    strategy, network, batches, label = made(weight=3.0, strong_weight=0.25, rotation_weight=2.0, ramp=0.2)
    loss, logs = strategy.step(step)
    one, two, three, four, _ = by_hand(strategy, network, batches, label, [])
    assert loss.item() == pytest.approx(one + rise * 3 * two + 0.25 * three + 2 * four, rel=1e-4)
    assert logs["loss_rotation"] == pytest.approx(four, rel=1e-4)
    assert logs["weight_unlabelled"] == pytest.approx(3 * rise)


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 6), st.integers(0, 10_000))
def test_aligned_guesses_sum_to_one_and_come_as_often_as_the_labels(n_classes: int, seed: int) -> None:
    """Where all patches are named alike, the aligned guess is p(y) itself; where p̃ = p, nothing changes."""
    rng = np.random.default_rng(seed)
    p = torch.from_numpy(rng.dirichlet(np.ones(n_classes), 20))
    of_labels = torch.from_numpy(rng.dirichlet(np.ones(n_classes)))
    q = aligned(p, of_labels, p.mean(0))
    assert q.sum(1).numpy() == pytest.approx(1)
    want = p.numpy() * (of_labels.numpy() + 1e-6) / (p.numpy().mean(axis=0) + 1e-6)
    np.testing.assert_allclose(q.numpy(), want / want.sum(axis=1, keepdims=True))
    same = p[:1].expand(20, -1)
    np.testing.assert_allclose(aligned(same, of_labels, same.mean(0)).numpy(), of_labels.expand(20, -1), atol=1e-3)
    np.testing.assert_allclose(aligned(p, p.mean(0), p.mean(0)).numpy(), p.numpy(), atol=1e-12)
    sharp = sharpened(q, 0.5)
    assert sharp.sum(1).numpy() == pytest.approx(1)
    assert (sharp.max(1).values >= q.max(1).values - 1e-12).all()


def test_turns_are_what_they_are_called() -> None:
    image = torch.arange(4 * 9.0).reshape(4, 1, 3, 3)
    out = rotated(image, np.array([0, 1, 2, 3]))
    assert torch.equal(out[0], image[0])
    assert torch.equal(out[1, 0, 0], image[1, 0, :, 2]), "against the clock: the last column becomes the first row"
    assert torch.equal(out[2], image[2].flip(1, 2))
    assert torch.equal(out[3, 0, 0], image[3, 0, :, 0].flip(0))


def test_nothing_is_learnt_through_the_guess_and_turning_teaches_both_networks() -> None:
    strategy, network, batches, label = made()
    _, _, unmixed, turned, _ = strategy.losses(5)
    (got,) = torch.autograd.grad(unmixed, network.layer.weight)
    *_, guess = by_hand(strategy, network, batches, label, [])
    x = batches.views[1][N:].astype(np.float64).reshape(N_ALL - N, -1)
    want = (softmax(network.logits(x)) - guess).T @ x / len(x)
    np.testing.assert_allclose(got.numpy(), want, atol=1e-6)
    turned.backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in strategy.rotation.parameters() if p.grad is not None)
    toy, *_ = toy_strategy(toy_run(ReMixMatchConfig(labelled=8, views=1)))
    toy.losses(0)[3].backward()  # type: ignore[attr-defined]
    trunk = toy.networks["network"]
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in trunk.features.parameters())  # type: ignore[union-attr,operator]
    assert all(p.grad is None for p in trunk.classifier.parameters())  # type: ignore[union-attr,operator]
    assert set(toy.result.state_dict()) == set(trunk.state_dict()), "the layer that tells turns is not part of it"


def test_turning_can_be_left_out() -> None:
    strategy, network, *_ = made(rotation_weight=0.0, strong=("rotate",))
    loss, logs = strategy.step(0)
    assert logs["loss_rotation"] == 0
    assert not network.described
    loss.backward()
    assert all(p.grad is None for p in strategy.rotation.parameters())


def test_settings_that_cannot_be() -> None:
    with pytest.raises(OptionError, match="strong 'rotate' hides which way a patch was turned. Leave it out, or set"):
        ReMixMatchConfig(strong=("flip", "rotate"))
    with pytest.raises(OptionError, match="strong 'colour' is not one of"):
        ReMixMatchConfig(strong=("colour",))
    with pytest.raises(OptionError, match="views 0 must be 1 or more"):
        ReMixMatchConfig(views=0)
    with pytest.raises(OptionError, match=r"'speckle' changes backscatter.*Set strategy.strong=flip\."):
        load_data(RunConfig(name="a", strategy=ReMixMatchConfig(), data=Cifar10Data()))
    strategy, *_ = made()
    other, *_ = made(window=5)
    with pytest.raises(ValueError, match="it remembers guesses of 128 batches, not 5"):
        other.load_tensors(strategy.tensors())
