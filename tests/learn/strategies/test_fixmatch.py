"""FixMatch against equations 3 to 5 of its paper, in float64, gradients included."""

from __future__ import annotations

import numpy as np
import pytest

from frazil.learn.config import FixMatchConfig
from frazil.learn.strategies.fixmatch import FixMatch
from tests.learn.strategies.linear import N_CLASSES, Batches, Linear, cross_entropy, gradient, make, softmax

pytestmark = pytest.mark.usefixtures("one_thread")
N = 4


def by_hand(
    network: Linear, batches: Batches, label: np.ndarray, threshold: float
) -> tuple[float, float, np.ndarray, float]:
    """Both losses, the gradient of the second, and the share of sure patches."""
    weak, strong = (v.astype(np.float64).reshape(len(v), -1) for v in batches.views)
    one_hot = np.eye(N_CLASSES)
    labelled = cross_entropy(network.logits(weak[:N]), one_hot[label[batches.places[:N]]])
    guess = softmax(network.logits(weak[N:]))
    sure = guess.max(axis=1) >= threshold
    target, p = one_hot[guess.argmax(axis=1)], softmax(network.logits(strong[N:]))
    each = -(target * np.log(p)).sum(axis=1)
    of_weights = ((p - target) * sure[:, None]).T @ strong[N:] / len(p)
    return labelled, float((each * sure).mean()), of_weights, float(sure.mean())


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.8, 0.9, 1.0])
def test_losses_are_those_of_the_paper(threshold: float) -> None:
    """The mean is over all unlabelled patches, not over those alone that are sure."""
    strategy, network, batches, label = make(FixMatch, FixMatchConfig(labelled=N, threshold=threshold))
    labelled, unlabelled, logs = strategy.losses(0)
    want = by_hand(network, batches, label.numpy(), threshold)
    assert labelled.item() == pytest.approx(want[0], rel=1e-5)
    assert unlabelled.item() == pytest.approx(want[1], rel=1e-5, abs=1e-7)
    assert logs["pseudo_coverage"] == pytest.approx(want[3])


def test_nothing_is_learnt_through_the_guess_itself() -> None:
    """The gradient is that of fixed targets: none runs back through the weak view."""
    strategy, network, batches, label = make(FixMatch, FixMatchConfig(labelled=N, threshold=0.9))
    _, unlabelled, logs = strategy.losses(0)
    assert 0 < logs["pseudo_coverage"] < 1
    unlabelled.backward()
    np.testing.assert_allclose(gradient(network), by_hand(network, batches, label.numpy(), 0.9)[2], atol=1e-6)


@pytest.mark.parametrize(("step", "ramp", "share"), [(0, 0.0, 1.0), (0, 0.5, 0.0), (25, 0.5, 0.5), (90, 0.5, 1.0)])
def test_the_step_weighs_both_losses_as_it_says(step: int, ramp: float, share: float) -> None:
    strategy, network, batches, label = make(FixMatch, FixMatchConfig(labelled=N, threshold=0.5, weight=3.0, ramp=ramp))
    loss, logs = strategy.step(step)
    labelled, unlabelled, _, _ = by_hand(network, batches, label.numpy(), 0.5)
    assert loss.item() == pytest.approx(labelled + 3 * share * unlabelled, rel=1e-5)
    assert logs["weight_unlabelled"] == pytest.approx(3 * share)
    assert logs["loss_unlabelled"] == pytest.approx(unlabelled, rel=1e-5)


def test_labels_of_unlabelled_places_are_never_looked_at() -> None:
    strategy, _, batches, label = make(FixMatch, FixMatchConfig(labelled=N, threshold=0.5))
    before = strategy.step(0)[0].item()
    label[batches.places[N:]] = -1
    assert strategy.step(0)[0].item() == before
    label[batches.places[0]] = (label[batches.places[0]] + 1) % N_CLASSES
    assert strategy.step(0)[0].item() != before
