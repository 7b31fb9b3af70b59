"""Label propagation against a dense solution, scikit-learn, and what must always hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.errors import OptionError
from frazil.learn.config import PropagationConfig
from frazil.learn.propagation.graph import (
    LabelPropagator,
    affinity_graph,
    certainty,
    class_weight,
    mass_factors,
    propagate_labels,
    solve,
)
from frazil.learn.propagation.neighbours import nearest_neighbours, normalised


def blobs(n: int, classes: int = 3, seed: int = 0, spread: float = 0.35, d: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % classes
    return (rng.normal(0, spread, (n, d)) + np.eye(d)[truth]).astype(np.float32), truth


def few(truth: np.ndarray, per_class: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    labels = np.full(truth.size, -1)
    for code in np.unique(truth):
        chosen = rng.permutation(np.flatnonzero(truth == code))[:per_class]
        labels[chosen] = code
    return labels


def reference(
    features: np.ndarray, labels: np.ndarray, k: int, gamma: float, alpha: float, one_hot: bool
) -> np.ndarray:
    """ψ by the letter, float64 and dense."""
    x = features.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    n = len(x)
    delta = np.zeros((n, n))
    for i in range(n):
        similar = x @ x[i]
        similar[i] = -np.inf
        for j in np.argsort(-similar)[:k]:
            delta[i, j] = max(similar[j], 0) ** gamma
    theta = delta + delta.T
    degree = theta.sum(axis=1)
    root = np.where(degree > 0, 1 / np.sqrt(np.maximum(degree, 1e-300)), 0)
    xi = root[:, None] * theta * root[None, :]
    y = np.zeros((n, labels.max() + 1))
    for i, code in enumerate(labels):
        if code >= 0:
            y[i, code] = 1 if one_hot else 1 / (labels == code).sum()
    return np.linalg.solve(np.eye(n) - alpha * xi, y)


@pytest.mark.parametrize("seeds", ["per_class", "one_hot"])
@pytest.mark.parametrize(("n", "k", "gamma"), [(60, 5, 3.0), (300, 20, 1.0), (40, 50, 3.0)])
def test_agrees_with_a_dense_solution(n: int, k: int, gamma: float, seeds: str) -> None:
    x, truth = blobs(n)
    labels = few(truth, 3)
    found = propagate_labels(x, labels, k=k, gamma=gamma, alpha=0.9, iterations=200, seeds=seeds)
    expected = reference(x, labels, k, gamma, 0.9, seeds == "one_hot")
    np.testing.assert_allclose(found.score, expected, atol=2e-5 * expected.max())
    assert found.converged
    np.testing.assert_array_equal(found.label[labels < 0], expected.argmax(axis=1)[labels < 0])


def test_agrees_with_scikit_learn_at_the_same_affinity() -> None:
    semi = pytest.importorskip("sklearn.semi_supervised")
    x, truth = blobs(240)
    labels = few(truth, 4)
    theirs = semi.LabelSpreading(kernel=lambda a, b: _kernel(x, 12), alpha=0.99, max_iter=20000, tol=1e-12)
    theirs.fit(x, labels)
    ours = propagate_labels(x, labels, k=12, alpha=0.99, iterations=2000, tolerance=1e-7, seeds="one_hot")
    total = ours.score.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours.score / total, theirs.label_distributions_, atol=2e-4)
    np.testing.assert_array_equal(ours.label[labels < 0], theirs.transduction_[labels < 0])


def _kernel(x: np.ndarray, k: int) -> np.ndarray:
    """The symmetric affinity before normalisation."""
    place, cosine = nearest_neighbours(x, k)
    delta = np.zeros((len(x), len(x)))
    np.put_along_axis(delta, place.astype(int), np.maximum(cosine, 0).astype(np.float64) ** 3, axis=1)
    return delta + delta.T


def test_the_graph_is_what_the_paper_says() -> None:
    x, _ = blobs(200)
    x[7] = 0  # no direction, no neighbours
    graph = affinity_graph(x, PropagationConfig(k=9)).toarray()
    np.testing.assert_array_equal(graph, graph.T)
    assert (np.diag(graph) == 0).all()
    assert (graph >= 0).all()
    assert np.abs(np.linalg.eigvalsh(graph.astype(np.float64))).max() <= 1 + 1e-6
    assert (graph[7] == 0).all()


def test_two_islands_take_the_label_of_their_own() -> None:
    rng = np.random.default_rng(1)
    x = np.zeros((60, 4), np.float32)
    x[:30, 0], x[30:, 1] = 1, 1
    x[:, 2:] = rng.uniform(0, 0.1, (60, 2)) * np.repeat([[1, 0], [0, 1]], 30, axis=0)
    labels = np.full(60, -1)
    labels[3], labels[40] = 0, 1
    found = propagate_labels(x, labels, k=15, iterations=200)
    np.testing.assert_array_equal(found.label, np.repeat([0, 1], 30))
    np.testing.assert_allclose(found.weight[found.reached], 1, atol=1e-6)


def test_an_island_without_a_label_stays_without() -> None:
    """Where no label reaches: -1 and weight 0, never class 0."""
    x = np.zeros((40, 3), np.float32)
    x[:20, 0], x[20:30, 1], x[30:, 2] = 1, 1, 0
    labels = np.full(40, -1)
    labels[:3] = 1
    found = propagate_labels(x, labels, n_classes=3, k=4)
    assert (found.label[:20] == 1).all()
    assert (found.label[20:] == -1).all()
    assert not found.reached[20:].any()
    assert (found.weight[20:] == 0).all()
    assert (found.score[:, [0, 2]] == 0).all()  # classes without a label
    np.testing.assert_array_equal(found.class_weight, np.array([0, 1, 0], np.float32))
    assert np.isfinite(found.score).all()


def test_a_labelled_sample_without_neighbours_keeps_its_label() -> None:
    x, truth = blobs(30, classes=2)
    labels = few(truth, 2)
    x[0], labels[0] = 0, 1
    found = propagate_labels(x, labels, k=4)
    assert (found.label[0], found.weight[0]) == (1, 1)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2, 40),
    st.integers(1, 60),
    st.integers(1, 5),
    st.integers(0, 10_000),
    st.sampled_from(["per_class", "one_hot"]),
    st.sampled_from(["entropy", "relative"]),
)
def test_always(n: int, k: int, classes: int, seed: int, seeds: str, weights: str) -> None:
    """k at least n, duplicates, zero rows, one class: scores finite and not negative, given labels kept."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype(np.float32)[rng.integers(0, n, n)]
    x[rng.random(n) < 0.2] = 0
    labels = np.where(rng.random(n) < 0.3, rng.integers(0, classes, n), -1)
    labels[0] = 0
    found = propagate_labels(x, labels, n_classes=classes, k=k, seeds=seeds, weights=weights)
    assert np.isfinite(found.score).all()
    assert (found.score >= 0).all()
    assert ((found.weight >= 0) & (found.weight <= 1)).all()
    np.testing.assert_array_equal(found.label[labels >= 0], labels[labels >= 0])
    np.testing.assert_array_equal(found.label == -1, ~found.reached)
    assert (found.weight[~found.reached] == 0).all()
    order = rng.permutation(n)
    again = propagate_labels(x[order], labels[order], n_classes=classes, k=n, seeds=seeds, weights=weights)
    whole = propagate_labels(x, labels, n_classes=classes, k=n, seeds=seeds, weights=weights)
    np.testing.assert_allclose(again.score, whole.score[order], atol=1e-4 * max(whole.score.max(), 1e-9))


def test_same_input_same_output() -> None:
    x, truth = blobs(500)
    one, two = (propagate_labels(x, few(truth, 2), k=10) for _ in range(2))
    np.testing.assert_array_equal(one.score, two.score)


def test_twenty_iterations_are_not_enough_and_that_is_said() -> None:
    x, truth = blobs(400)
    early = propagate_labels(x, few(truth, 2), k=10, iterations=5)
    assert not early.converged
    assert early.residual > 1e-3
    late = propagate_labels(x, few(truth, 2), k=10, iterations=200)
    assert late.converged
    assert late.residual < 1e-5


def test_seeds_by_class_withstand_uneven_labels() -> None:
    """20 labels of one class against 2 of the other: by the letter the first floods the graph."""
    x, truth = blobs(400, classes=2, spread=0.5)
    labels = few(truth, 20)
    labels[np.flatnonzero(labels == 1)[2:]] = -1
    right = {
        seeds: np.mean(propagate_labels(x, labels, k=20, iterations=100, seeds=seeds).label == truth)
        for seeds in ("per_class", "one_hot")
    }
    assert right["per_class"] > right["one_hot"] + 0.1
    assert right["per_class"] > 0.85


def test_certainty_and_class_weights() -> None:
    score = np.array([[1, 0, 0], [1, 1, 1], [0, 0, 0], [2, 2, 0]], np.float32)
    np.testing.assert_allclose(certainty(score), [1, 0, 0, 1 - np.log(2) / np.log(3)], atol=1e-6)
    np.testing.assert_allclose(class_weight(np.array([0, 0, 0, 1, -1]), 3), [4 / 6, 2, 0], atol=1e-6)


def test_every_class_converges_by_itself() -> None:
    """Classes side by side are what they are one by one."""
    x, truth = blobs(300)
    graph = affinity_graph(x, PropagationConfig(k=10))
    y = np.eye(3, dtype=np.float32)[truth] * (np.random.default_rng(0).random((300, 1)) < 0.1)
    config = PropagationConfig(iterations=300, alpha=0.9)
    block, _, _, _ = solve(graph, y, config)
    for code in range(3):
        alone, _, residual, _ = solve(graph, y[:, code : code + 1], config)
        np.testing.assert_allclose(block[:, code], alone[:, 0], atol=2e-6)
        assert residual < 1e-5


def test_neighbours_against_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    import frazil.learn.propagation.neighbours as module

    x = np.random.default_rng(3).normal(size=(150, 5)).astype(np.float32)
    x[20] = x[10]
    expected, _ = nearest_neighbours(x, 7)
    monkeypatch.setattr(module, "_COLUMNS", 32)  # many tiles
    monkeypatch.setattr(module, "_BLOCK", 32 * 40)
    place, cosine = nearest_neighbours(x, 7)
    unit = normalised(x)
    similar = unit @ unit.T
    np.fill_diagonal(similar, -np.inf)
    np.testing.assert_allclose(cosine, -np.sort(-similar, axis=1)[:, :7], atol=1e-6)
    assert (place != np.arange(150)[:, None]).all()
    assert place[20, 0] == 10
    twin = np.where(place == 20, 10, place), np.where(expected == 20, 10, expected)  # which of two equal ones is chance
    np.testing.assert_array_equal(np.sort(twin[0], 1), np.sort(twin[1], 1))


def test_the_estimator_behaves_like_those_of_scikit_learn() -> None:
    x, truth = blobs(300, spread=0.2)
    names = np.array([10, 20, 50])
    labels = few(truth, 3)
    y = np.where(labels >= 0, names[labels], -1)
    model = LabelPropagator(k=12).set_params(alpha=0.95)
    assert model.get_params()["alpha"] == 0.95
    model.fit(x, y)
    assert np.mean(model.transduction_ == names[truth]) > 0.97
    new, new_truth = blobs(90, seed=5, spread=0.2)
    assert np.mean(model.predict(new) == names[new_truth]) > 0.97
    np.testing.assert_allclose(model.predict_proba(new).sum(axis=1), 1, atol=1e-5)
    with pytest.raises(OptionError, match="'depth' is not a setting"):
        model.set_params(depth=3)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones((3, 2)), np.array([0, -1]), "labels must be 3 integers"),
        (np.ones((3, 2)), np.array([0.0, 1.0, -1.0]), "labels must be 3 integers"),
        (np.ones((3, 2)), np.array([-1, -1, -1]), "There is no label to propagate"),
        (np.ones((3, 2)), np.array([-2, 0, 1]), "labels must lie between -1 and 1"),
        (np.array([[1, np.nan], [1, 2]]), np.array([0, -1]), "features of sample 0 are not finite"),
        (np.ones((1, 2)), np.array([0]), "1 sample cannot have neighbours"),
        (np.ones(3), np.array([0, 1, -1]), "must be numbers .sample, feature."),
    ],
)
def test_what_cannot_work_is_refused(features: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        propagate_labels(features, labels)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 30), classes=st.integers(2, 4), seed=st.integers(0, 10_000))
def test_masses_of_classes_become_what_they_should_be(n: int, classes: int, seed: int) -> None:
    """Zhu et al.: for two classes, the first where q f / Σf > (1 − q) (1 − f) / Σ(1 − f)."""
    rng = np.random.default_rng(seed)
    score = rng.gamma(0.3, size=(n, classes)) + 1e-6
    prior = rng.dirichlet(np.ones(classes))
    factor = mass_factors(score, 7 * prior)
    f = score / score.sum(axis=1, keepdims=True)
    np.testing.assert_allclose((f * factor).sum(axis=0), n * prior, rtol=1e-5)
    if classes == 2:
        one, other = prior[0] * f[:, 0] / f[:, 0].sum(), prior[1] * f[:, 1] / f[:, 1].sum()
        clear = np.abs(one - other) > 1e-6 * np.maximum(one, other)
        assert ((score * factor).argmax(axis=1) == (other > one))[clear].all()
    with_zeros = np.concatenate([score, np.zeros((3, classes))])
    np.testing.assert_allclose(mass_factors(with_zeros, prior), factor, rtol=1e-6)
    np.testing.assert_allclose(mass_factors(score, f.sum(axis=0)), 1, rtol=1e-6)


def test_masses_hold_back_a_class_that_floods_the_graph() -> None:
    """Equation 7 to the letter and twenty labels against two; without masses nothing changes."""
    x, truth = blobs(400, classes=2, spread=0.6)
    labels = few(truth, 20)
    labels[np.flatnonzero(labels == 1)[2:]] = -1
    options: dict[str, Any] = {"k": 20, "iterations": 100, "seeds": "one_hot"}
    found = {mass: propagate_labels(x, labels, mass=mass, **options) for mass in ("none", "uniform", "labels")}
    others = labels < 0
    right = {mass: float((f.label == truth)[others].mean()) for mass, f in found.items()}
    assert right["uniform"] > right["none"] + 0.2, right
    shares = {mass: float((f.label[others] == 1).mean()) for mass, f in found.items()}
    assert abs(shares["uniform"] - 0.5) < 0.1
    assert shares["labels"] < 0.3, "2 of 22 labels"
    np.testing.assert_array_equal(found["none"].score, propagate_labels(x, labels, **options).score)
    expected = found["none"].score * mass_factors(found["none"].score[others], np.array([1, 1]))
    np.testing.assert_allclose(found["uniform"].score, expected)
    for f in found.values():
        np.testing.assert_array_equal(f.label[~others], labels[~others])
        assert ((f.weight >= 0) & (f.weight <= 1)).all()


def test_a_class_without_labels_and_samples_out_of_reach_have_no_mass() -> None:
    x, truth = blobs(60, classes=3)
    labels = few(truth, 2)
    labels[labels == 2] = -1
    x[:3] = 0
    labels[:3] = -1
    for mass in ("labels", "uniform"):
        found = propagate_labels(x, labels, n_classes=3, k=5, mass=mass)
        assert np.isfinite(found.score).all()
        assert not (found.label == 2).any()
        assert (found.label[:3] == -1).all()
        everywhere = propagate_labels(x[3:], truth[3:], n_classes=3, k=5, mass=mass)
        assert (everywhere.label == truth[3:]).all()


@pytest.mark.parametrize(
    "wrong", [{"k": 0}, {"mass": "equal"}, {"alpha": 1.0}, {"gamma": -1.0}, {"seeds": "many"}, {"search": "fast"}]
)
def test_wrong_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        PropagationConfig(**wrong)  # type: ignore[arg-type]


def test_classes_without_a_label_do_not_change_the_weights() -> None:
    """Two of five classes: an even choice between the two is no certainty at all."""
    x, truth = blobs(80, classes=2, spread=0.8)
    labels = few(truth, 3)
    two, five = (propagate_labels(x, labels, n_classes=n, k=10) for n in (2, 5))
    np.testing.assert_allclose(two.weight, five.weight, atol=1e-5)
    np.testing.assert_array_equal(two.label, five.label)
    assert five.weight[labels < 0].min() < 0.3


def test_half_precision_of_a_training_step_does_not_reach_the_solution() -> None:
    x = np.random.default_rng(3).normal(size=(80, 6)).astype(np.float32)
    labels = np.where(np.arange(80) < 6, np.arange(80) % 2, -1)
    plain = propagate_labels(x, labels, k=5)
    with torch.autocast("cpu", torch.bfloat16):
        within = propagate_labels(x, labels, k=5)
    np.testing.assert_array_equal(within.score, plain.score)
