"""MixMatch against its paper in float64; how patches were mixed is found out from what the network was given."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from frazil.learn.config import MixMatchConfig
from frazil.learn.strategies.mixmatch import MixMatch
from tests.learn.strategies.linear import N_CLASSES, Batches, Linear, make, softmax

pytestmark = pytest.mark.usefixtures("one_thread")
N = 4


def strategy_of(n_views: int = 2, **settings: float) -> tuple[MixMatch, Linear, Batches, np.ndarray]:
    told = MixMatchConfig(labelled=N, guesses=n_views, **settings)  # type: ignore[arg-type]
    made, network, batches, label = make(MixMatch, told, n_views=n_views, classes=(N_CLASSES,), seed=3)
    return made, network, batches, label.numpy()


def stacked(batches: Batches) -> np.ndarray:
    """Labelled patches of the first view, then the unlabelled ones of every view."""
    flat = [v.astype(np.float64).reshape(len(v), -1) for v in batches.views]
    return np.concatenate([flat[0][:N], *(v[N:] for v in flat)])


def unmixed(mixed: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, float]:
    """Each row's partner and the share of the row itself, by least squares over all pairs."""
    partners, shares = [], []
    for row, (given, own) in enumerate(zip(mixed, images, strict=True)):
        across = own - images
        size = (across**2).sum(axis=1)
        share = 1 - np.divide(((own - given) * across).sum(axis=1), size, out=np.zeros(len(images)), where=size > 0)
        left = ((share[:, None] * own + (1 - share)[:, None] * images - given) ** 2).sum(axis=1)
        itself = ((own - given) ** 2).sum() < 1e-10
        partner = row if itself else int(left.argmin())
        partners.append(partner)
        if partner != row:
            shares.append(share[partner])
        assert itself or left[partner] < 1e-8
    assert np.ptp(shares) < 1e-4
    return np.array(partners), float(np.mean(shares))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 0.1])
@pytest.mark.parametrize("n_views", [1, 2, 3])
def test_losses_are_those_of_the_paper(temperature: float, n_views: int) -> None:
    strategy, network, batches, label = strategy_of(n_views, temperature=temperature)
    labelled, unlabelled, _ = strategy.losses(5)
    guess = np.mean([softmax(network.logits(v[N:].astype(np.float64))) for v in batches.views], axis=0)
    guess = guess ** (1 / temperature)
    guess /= guess.sum(axis=1, keepdims=True)
    target = np.concatenate([np.eye(N_CLASSES)[label[batches.places[:N]]], *[guess] * n_views])
    partner, share = unmixed(network.given[-1], stacked(batches))
    assert sorted(partner) == list(range(len(target)))
    assert 0.5 <= share <= 1
    mixed = share * stacked(batches) + (1 - share) * stacked(batches)[partner]
    target = share * target + (1 - share) * target[partner]
    p = softmax(network.logits(mixed))
    assert labelled.item() == pytest.approx(float(-(target[:N] * np.log(p[:N])).sum(axis=1).mean()), rel=1e-4)
    assert unlabelled.item() == pytest.approx(float(((p[N:] - target[N:]) ** 2).mean()), rel=1e-4)


def test_shares_are_of_the_beta_distribution_and_every_step_mixes_anew() -> None:
    """Folded at one half, as equation 9; Kolmogorov and Smirnov's test."""
    strategy, network, batches, _ = strategy_of(alpha=0.75)
    images, found, orders = stacked(batches), [], set()
    for step in range(150):
        strategy.losses(step)
        partner, share = unmixed(network.given[-1], images)
        found.append(share)
        orders.add(tuple(partner))
    beta = stats.beta(0.75, 0.75)
    assert stats.kstest(found, lambda x: np.clip(2 * beta.cdf(x) - 1, 0, 1)).pvalue > 1e-3
    assert len(orders) > 140


def test_a_step_is_a_function_of_its_number_and_the_seed() -> None:
    strategy, *_ = strategy_of()
    first = [strategy.step(s)[0].item() for s in (3, 4, 3)]
    assert first[0] == first[2] != first[1]
    other, *_ = strategy_of()
    other.seed = 4
    assert other.step(3)[0].item() != first[0]


def test_nothing_is_learnt_through_the_guesses() -> None:
    """The gradient of the squared difference is that of targets that stand fast: by small steps in float64."""
    strategy, network, batches, label = strategy_of()
    _, unlabelled, _ = strategy.losses(5)
    unlabelled.backward()
    guess = np.mean([softmax(network.logits(v[N:].astype(np.float64))) for v in batches.views], axis=0) ** 2
    guess /= guess.sum(axis=1, keepdims=True)
    target = np.concatenate([np.eye(N_CLASSES)[label[batches.places[:N]]], guess, guess])
    partner, share = unmixed(network.given[-1], stacked(batches))
    mixed = share * stacked(batches) + (1 - share) * stacked(batches)[partner]
    target = (share * target + (1 - share) * target[partner])[N:]
    p = softmax(network.logits(mixed))[N:]
    slope = 2 * (p - target) / p.size
    of_logits = p * (slope - (slope * p).sum(axis=1, keepdims=True))
    assert network.layer.weight.grad is not None
    np.testing.assert_allclose(network.layer.weight.grad.numpy(), of_logits.T @ mixed[N:], atol=1e-6)
