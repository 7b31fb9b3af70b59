"""The Π-model against algorithm 1 of its paper, in float64, gradients included."""

from __future__ import annotations

import math

import numpy as np
import pytest

from frazil.errors import OptionError
from frazil.learn.config import PiModelConfig, RunConfig, TemporalEnsemblingConfig
from frazil.learn.strategies.average import risen_smoothly
from frazil.learn.strategies.pi_model import PiModel
from tests.learn.strategies.linear import N_CLASSES, Batches, Linear, gradient, make, softmax
from tests.studies.few_labels_toy import toy_run, toy_strategy

pytestmark = pytest.mark.usefixtures("one_thread")
N = 4


def by_hand(network: Linear, batches: Batches, label: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Both losses, each over the whole batch, and the gradient of the second through both views."""
    one, other = (v.astype(np.float64).reshape(len(v), -1) for v in batches.views)
    p, q = softmax(network.logits(one)), softmax(network.logits(other))
    right = p[np.arange(N), label[batches.places[:N]]]
    slope = 2 * (p - q) / p.size
    through_p = p * (slope - (slope * p).sum(axis=1, keepdims=True))
    through_q = q * (-slope + (slope * q).sum(axis=1, keepdims=True))
    of_weights = through_p.T @ one + through_q.T @ other
    return float(-np.log(right).sum() / len(p)), float(((p - q) ** 2).sum() / (N_CLASSES * len(p))), of_weights


def test_losses_and_gradients_are_those_of_the_paper() -> None:
    strategy, network, batches, label = make(PiModel, PiModelConfig(labelled=N), share=0.5)
    labelled, apart, _ = strategy.losses(0)
    want = by_hand(network, batches, label.numpy())
    assert labelled.item() == pytest.approx(want[0], rel=1e-5)
    assert apart.item() == pytest.approx(want[1], rel=1e-5)
    apart.backward()
    np.testing.assert_allclose(gradient(network), want[2], atol=1e-7)


@pytest.mark.parametrize(("t", "rise"), [(0.0, 0.006738), (0.2, 0.040762), (0.5, 0.286505), (0.8, 0.818731), (1, 1)])
def test_the_weight_rises_as_the_paper_says(t: float, rise: float) -> None:
    """Numbers of exp(−5 (1 − t)²); past the ramp it stays at 1."""
    assert risen_smoothly(round(t * 50), 100, 0.5) == pytest.approx(rise, rel=1e-4)
    assert risen_smoothly(50 + round(t * 50), 100, 0.5) == 1
    assert risen_smoothly(round(t * 50), 100, 0.0) == 1


@pytest.mark.parametrize(("step", "t"), [(0, 0.0), (10, 0.25), (40, 1.0), (99, 1.0)])
def test_the_step_weighs_by_ramp_and_labelled_share(step: int, t: float) -> None:
    settings = PiModelConfig(labelled=N, weight=30.0, ramp=0.4)
    strategy, network, batches, label = make(PiModel, settings, share=0.2)
    loss, logs = strategy.step(step)
    labelled, apart, _ = by_hand(network, batches, label.numpy())
    weight = 30 * 0.2 * math.exp(-5 * (1 - t) ** 2)
    assert logs["weight_unlabelled"] == pytest.approx(weight)
    assert loss.item() == pytest.approx(labelled + weight * apart, rel=1e-5)


def test_the_share_is_of_all_patches_or_of_a_batch() -> None:
    """4 of 244 patches have a label, and 6 of a batch of 24."""
    for kind in (PiModelConfig, TemporalEnsemblingConfig):
        whole, *_ = toy_strategy(toy_run(kind(labelled=6)))
        part, *_ = toy_strategy(toy_run(kind(labelled=6, share="batch")))
        assert whole.share == pytest.approx(4 / 244)  # type: ignore[attr-defined]
        assert part.share == pytest.approx(6 / 24)  # type: ignore[attr-defined]


def test_settings_that_cannot_be() -> None:
    with pytest.raises(OptionError, match="share 'all' is not one of"):
        RunConfig(name="a", strategy=PiModelConfig(share="all"))  # type: ignore[arg-type]
    for alpha in (1.0, -0.1):
        with pytest.raises(OptionError, match=f"alpha {alpha} must be 0 or more and below 1"):
            TemporalEnsemblingConfig(alpha=alpha)
    with pytest.raises(OptionError, match="ramp 1.5 must lie in"):
        TemporalEnsemblingConfig(ramp=1.5)
