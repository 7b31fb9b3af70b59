"""M1 + M2: bounds against SciPy and Monte Carlo, who learns when, and that unlabelled patches help."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp
from torch import nn

from frazil.errors import OptionError
from frazil.learn.config import M1M2Config, ModelConfig, PeersConfig, SupervisedConfig
from frazil.learn.models import create_model
from frazil.learn.strategies.m1_m2 import M1, M1M2, M2, divergence, log_normal
from frazil.learn.train import train_loop
from tests.studies.few_labels_toy import SIZE, accuracy, toy_data, toy_run, toy_strategy, toy_train

pytestmark = pytest.mark.usefixtures("one_thread")
N_Z1, N_Z2, N_CLASSES = 4, 3, 3
ENCODER = ModelConfig(architecture="encoder", settings={"widths": [8], "latent": N_Z1, "hidden": [16], "patch": SIZE})


def run_of(strategy: Any, **optim: Any) -> Any:
    return replace(toy_run(strategy, **optim), model=ENCODER)


def made(**more: Any) -> tuple[M1M2, Any, Any]:
    """On the toy: two classes, 4 of 244 patches with a label."""
    told = {"labelled": 8, "latent": 2, "hidden": 16, "width": 8, **more}
    strategy, run, data = toy_strategy(run_of(M1M2Config(**told), epochs=4))
    assert isinstance(strategy, M1M2)
    return strategy, run, data


def numpy_perceptron(layers: nn.Sequential, x: np.ndarray) -> np.ndarray:
    """A linear layer, softplus, and another, in float64."""
    (w1, b1), (w2, b2) = ([p.detach().double().numpy() for p in layers[i].parameters()] for i in (0, 2))
    return np.asarray(np.logaddexp(0, x @ w1.T + b1) @ w2.T + b2)


def model_two() -> tuple[M2, torch.Tensor, torch.Tensor]:
    """M2 of small but lively random weights, latents and labels."""
    torch.manual_seed(2)
    m2 = M2(N_Z1, N_CLASSES, M1M2Config(latent=N_Z2, hidden=6))
    return m2, torch.randn(5, N_Z1), torch.tensor([0, 1, 2, 0, 2])


def terms(m2: M2, z1: np.ndarray, label: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log p(z₁ | y, z₂) + log p(y), log p(z₂) and log q(z₂ | z₁, y) of drawn z₂."""
    y = np.eye(N_CLASSES)[label]
    mean, log_variance = np.split(numpy_perceptron(m2.encoder, np.concatenate([z1, y], axis=1)), 2, axis=1)
    z2 = mean + np.exp(log_variance / 2) * noise
    again, spread = np.split(numpy_perceptron(m2.decoder, np.concatenate([z2, y], axis=1)), 2, axis=1)
    seen = stats.norm.logpdf(z1, again, np.exp(spread / 2)).sum(axis=1) - np.log(N_CLASSES)
    prior = stats.norm.logpdf(z2).sum(axis=1)
    return seen, prior, stats.norm.logpdf(z2, mean, np.exp(log_variance / 2)).sum(axis=1)


def many(m2: M2, z1: torch.Tensor, label: int, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Log weights log p(z₁, y, z₂) − log q(z₂ | z₁, y) of many draws, and the bound with the same noise."""
    noise = np.random.default_rng(1).standard_normal((n, N_Z2))
    seen, prior, of_q = terms(m2, np.tile(z1.double().numpy(), (n, 1)), np.full(n, label), noise)
    with torch.no_grad():
        bound = m2.bound(z1.expand(n, -1), torch.full((n,), label), torch.from_numpy(noise.astype(np.float32)))
    return seen + prior - of_q, bound.double().numpy()


def test_densities_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    x, mean, log_variance = rng.normal(size=(3, 6, 5))
    got = log_normal(*(torch.from_numpy(v) for v in (x, mean, log_variance))).numpy()
    np.testing.assert_allclose(got, stats.norm.logpdf(x, mean, np.exp(log_variance / 2)).sum(axis=1))
    z = mean + np.exp(log_variance / 2) * rng.standard_normal((200_000, 6, 5))
    apart = (stats.norm.logpdf(z, mean, np.exp(log_variance / 2)) - stats.norm.logpdf(z)).sum(axis=2)
    kl = divergence(torch.from_numpy(mean), torch.from_numpy(log_variance)).numpy()
    np.testing.assert_allclose(kl, apart.mean(axis=0), atol=5 * apart.std(axis=0).max() / np.sqrt(len(z)))
    assert (divergence(torch.zeros(2, 3), torch.zeros(2, 3)) == 0).all()


def test_the_bound_with_a_label_is_equation_6_and_below_the_evidence() -> None:
    m2, z1, label = model_two()
    noise = torch.randn(5, N_Z2)
    found = m2.bound(z1, label, noise).detach().numpy()
    seen, _, _ = terms(m2, z1.double().numpy(), label.numpy(), noise.double().numpy())
    y = np.eye(N_CLASSES)[label.numpy()]
    both = numpy_perceptron(m2.encoder, np.concatenate([z1.double().numpy(), y], axis=1))
    mean, log_variance = np.split(both, 2, axis=1)
    kl = 0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(axis=1)
    np.testing.assert_allclose(found, seen - kl, rtol=1e-5)
    for i in range(3):
        weight, bound = many(m2, z1[i], int(label[i]))
        error = 4 * (weight.std() + bound.std()) / np.sqrt(len(weight))
        assert bound.mean() == pytest.approx(weight.mean(), abs=error), "the mean of the bound, KL drawn or computed"
        evidence = logsumexp(weight) - np.log(len(weight))
        assert bound.mean() < evidence


def test_the_bound_without_a_label_is_equation_7_and_below_the_evidence() -> None:
    m2, z1, _ = model_two()
    logits, noise = torch.randn(5, N_CLASSES), torch.randn(5, N_CLASSES, N_Z2)
    found = m2.bound_without_label(z1, logits, noise).detach().numpy()
    q = np.exp(logits.numpy() - logsumexp(logits.numpy(), axis=1, keepdims=True))
    for i in range(5):
        each = [m2.bound(z1[i : i + 1], torch.tensor([c]), noise[i : i + 1, c]).item() for c in range(N_CLASSES)]
        assert found[i] == pytest.approx(sum(q[i] * each) - sum(q[i] * np.log(q[i])), rel=1e-5)
    evidence = logsumexp([logsumexp(w) - np.log(len(w)) for w in (many(m2, z1[0], c)[0] for c in range(N_CLASSES))])
    draws = torch.randn(4000, N_CLASSES, N_Z2)
    mean = m2.bound_without_label(z1[:1].expand(4000, -1), logits[:1].expand(4000, -1), draws).mean().item()
    assert mean < evidence


def test_the_bound_of_patches_is_equation_5() -> None:
    network: Any = create_model("encoder", n_channels=2, n_classes=2, settings=ENCODER.settings)
    torch.manual_seed(1)
    m1 = M1(network, 2, 4).eval()
    with torch.no_grad():
        m1.log_variance.copy_(torch.tensor([-3.0, -1.0]))
    image, noise = torch.rand(3, 2, SIZE, SIZE), torch.randn(3, N_Z1)
    mean = network.describe(image).detach()
    log_variance = numpy_perceptron(m1.spread, mean.double().numpy())
    z = mean.double().numpy() + np.exp(log_variance / 2) * noise.double().numpy()
    made_ = m1.decoder(torch.from_numpy(z.astype(np.float32))).detach().double().numpy()
    deviation = np.exp(np.array([-1.5, -0.5]))[:, None, None]
    seen = stats.norm.logpdf(image.double().numpy(), made_, deviation).sum(axis=(1, 2, 3))
    kl = 0.5 * (np.exp(log_variance) + mean.double().numpy() ** 2 - 1 - log_variance).sum(axis=1)
    np.testing.assert_allclose(m1.bound(image, mean, noise).detach().numpy(), seen - kl, rtol=1e-4)


def test_the_objective_counts_each_patch_once_and_alpha_is_a_tenth_of_their_number() -> None:
    """Times N it is J of equation 9: Σ L over 4 patches, Σ U over 240, and 0.1 · 244 times the mean cross-entropy."""
    strategy, *_ = made()
    step = strategy.begins
    loss, logs = strategy.step(step)
    n, m = 244, 4
    by_hand = -m * logs["bound_labelled"] - (n - m) * logs["bound_unlabelled"] + 0.1 * n * logs["loss_labelled"]
    assert loss.item() * n == pytest.approx(by_hand, rel=1e-5)
    (image,), places = strategy.batches(step)
    z1 = strategy.latents(image, np.random.default_rng([strategy.seed, 53, step]))
    label = strategy.label[places[:8]]
    logits = strategy.network.head(z1)[:8].detach().double().numpy()
    right = logits[np.arange(8), label.numpy()] - logsumexp(logits, axis=1)
    assert logs["loss_labelled"] == pytest.approx(-right.mean(), rel=1e-5)


def test_latents_are_drawn_about_the_descriptors_without_noise_of_the_network() -> None:
    strategy, *_ = made()
    (image,), _ = strategy.batches(0)
    strategy.network.train()
    drawn = torch.stack([strategy.latents(image, np.random.default_rng(i)) for i in range(4000)])
    assert strategy.network.training
    mean = strategy.network.describe(image).detach()
    deviation = torch.exp(0.5 * strategy.m1.spread(mean)).detach()
    assert ((drawn.mean(0) - mean).abs() < 5 * deviation / math.sqrt(4000)).all()
    np.testing.assert_allclose(drawn.std(0).numpy(), deviation.numpy(), rtol=0.08)
    assert not drawn.requires_grad


def test_latents_do_not_hang_on_the_batch_and_leave_batch_norm_alone() -> None:
    run = toy_run(M1M2Config(labelled=8, latent=2, hidden=16, width=8))
    config = ModelConfig(architecture="resnet20", settings={"patch": SIZE})
    strategy: Any = toy_strategy(replace(run, model=config))[0]
    network = strategy.network.train()
    (image,), places = strategy.batches(0)
    before = {k: v.clone() for k, v in network.named_buffers()}
    together = strategy.latents(image, np.random.default_rng(0))
    alone = strategy.latents(image[:2], np.random.default_rng(0))
    torch.testing.assert_close(together[:2], alone)
    strategy._losses(image, places, np.random.default_rng(0))
    assert all(torch.equal(v, before[k]) for k, v in network.named_buffers())


def test_m1_learns_first_and_then_stands_still() -> None:
    strategy, run, _ = made()
    assert strategy.begins == run.optim.steps // 2 == 30
    network: Any = strategy.network
    parts = {"trunk": network.features, "m1": strategy.m1, "head": network.head, "m2": strategy.m2}
    states: list[dict[str, torch.Tensor]] = []

    def note(step: int = 0, _row: Any = None) -> None:
        if step in (0, 29, 59):
            held = {name: [v.flatten().double() for v in p.state_dict().values()] for name, p in parts.items()}
            states.append({name: torch.cat(values) for name, values in held.items()})

    note()
    train_loop(strategy, replace(run.optim, weight_decay=0.1), log=lambda s, r: note(s, r) if s else None)
    start, halfway, end = states
    assert [n for n in parts if not torch.equal(start[n], halfway[n])] == ["trunk", "m1"]
    assert [n for n in parts if not torch.equal(halfway[n], end[n])] == ["head", "m2"]
    for part in parts.values():
        part.zero_grad(set_to_none=True)
    strategy.step(40)[0].backward()
    assert [n for n, p in parts.items() if any(w.grad is not None for w in p.parameters())] == ["head", "m2"]
    rates = [set(strategy.rates(s, run.optim).values()) for s in (0, 29, 30, 59)]
    assert rates[0] == rates[2] == {run.optim.lr}
    assert max(rates[1] | rates[3]) < run.optim.lr / 50


@pytest.mark.slow
def test_unlabelled_patches_help() -> None:
    """Where the classes are two clusters that an autoencoder finds; labels alone are misled by noise."""
    strategy = M1M2Config(labelled=8, latent=2, hidden=16, width=8)
    alone, together = [], []
    for seed in range(3):
        data = toy_data(seed, spot=0.08)
        run = replace(run_of(SupervisedConfig(), batch=8, epochs=150), seed=seed)
        alone.append(accuracy(toy_train(run, data), data))
        run = replace(run_of(strategy, epochs=40), seed=seed)
        together.append(accuracy(toy_train(run, data), data))
    assert np.mean(together) > 0.95
    assert np.mean(together) > np.mean(alone) + 0.01, (together, alone)


def test_what_cannot_work_is_said_in_a_line() -> None:
    for first in (0.0, 1.0, -0.5):
        with pytest.raises(OptionError, match=f"first {first} must lie between 0 and 1"):
            M1M2Config(first=first)
    run = run_of(M1M2Config(labelled=8))
    with pytest.raises(OptionError, match="patience would end the run while M1 learns"):
        toy_strategy(replace(run, optim=replace(run.optim, patience=2)))
    with pytest.raises(OptionError, match="'m1_m2' does not learn with others"):
        toy_strategy(replace(run, peers=PeersConfig(path="x")))
    with pytest.raises(OptionError, match="needs 2 steps or more"):
        toy_strategy(replace(run, optim=replace(run.optim, epochs=None, steps=1)))
