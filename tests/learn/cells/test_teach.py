"""Labels taught to a scene: the mode of the posterior, what it does far from labels, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from frazil.errors import LabelError, OptionError
from frazil.learn.cells.cells import Cells
from frazil.learn.cells.teach import MOST, TeachSettings, softmax, teach
from frazil.scene.grid import MapGrid


def made_up(n: int, n_features: int, n_classes: int, seed: int) -> Cells:
    rng = np.random.default_rng(seed)
    log = rng.normal(size=(n, n_classes)).astype(np.float32)
    return Cells(
        grid=MapGrid(crs="EPSG:3413", left=0, top=0, spacing_m=600, shape=(1, n)),
        side=5,
        number=np.arange(n, dtype=np.int32)[None],
        features=rng.normal(size=(n, n_features)).astype(np.float32),
        names=tuple(f"f{k}" for k in range(n_features)),
        log_probability=log - log.mean(axis=1, keepdims=True),
        class_scheme="five_classes",
        rim=np.zeros(n, bool),
    )


def posterior_mode(cells: Cells, where: np.ndarray, codes: np.ndarray, chosen: TeachSettings) -> np.ndarray:
    """Logits of all cells in float64 by another way: Newton's method on f itself, then the GP's conditional mean."""
    x = cells.features.astype(float)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        square = ((a[:, None] - b[None]) ** 2).sum(axis=-1)
        return np.asarray(chosen.amplitude * np.exp(-square / (2 * chosen.reach**2 * x.shape[1])))

    prior = kernel(x[where], x[where]) + 1e-4 * np.eye(len(where))
    inverse = np.linalg.inv(prior)
    own, target = chosen.network * cells.log_probability[where].astype(float), np.eye(own_classes(cells))[codes]

    def gradient(flat: np.ndarray) -> np.ndarray:
        f = flat.reshape(own.shape)
        return np.asarray((softmax(f + own) - target + inverse @ f).ravel())

    found = optimize.root(gradient, np.zeros(own.size), tol=1e-12)
    assert found.success
    logits = chosen.network * cells.log_probability + kernel(x, x[where]) @ inverse @ found.x.reshape(own.shape)
    return np.asarray(logits - logits.mean(axis=1, keepdims=True))


def own_classes(cells: Cells) -> int:
    return cells.log_probability.shape[1]


@pytest.mark.parametrize("n", [1, 4, 12])
def test_it_is_the_mode_of_the_posterior(n: int) -> None:
    cells = made_up(200, 6, 5, n)
    rng = np.random.default_rng(n)
    where, codes = rng.choice(200, n, replace=False), rng.integers(0, 5, n)
    plain = {"sharpen": 1, "shares": 0}
    for chosen in (TeachSettings(**plain), TeachSettings(network=1, reach=0.5, amplitude=2, **plain)):
        found = teach(cells, where, codes, settings=chosen)
        np.testing.assert_allclose(found.logits, posterior_mode(cells, where, codes, chosen), atol=5e-3)


def test_labels_are_followed_and_far_from_them_the_network_answers() -> None:
    cells = made_up(300, 4, 5, 0)
    features = cells.features.copy()
    features[200:] += 1000  # far away
    cells = replace(cells, features=features)
    found = teach(cells, np.arange(10), np.full(10, 2), settings=TeachSettings(shares=0))
    assert (found.logits[:10].argmax(axis=1) == 2).all()
    expected = TeachSettings().sharpen * TeachSettings().network * cells.log_probability[200:]
    np.testing.assert_allclose(found.logits[200:], expected, atol=1e-5)


def test_labels_that_are_not_as_the_scene_is_are_corrected_for() -> None:
    cells = made_up(400, 4, 5, 3)
    where, codes = np.arange(40), np.arange(40) % 5
    plain = teach(cells, where, codes, settings=TeachSettings(shares=0))
    made = teach(cells, where, codes, settings=TeachSettings(shares=0.8))
    added = made.logits - plain.logits
    np.testing.assert_allclose(added, np.broadcast_to(added[0], added.shape), atol=1e-4)
    share = plain.probability.mean(axis=0)  # labels are of all classes alike: what the scene has more of gains
    expected = 0.8 * 40 / 70 * np.log(share * 5)
    np.testing.assert_allclose(added[0], expected - expected.mean(), atol=1e-3)


def test_a_weight_counts_as_labels_do() -> None:
    cells = made_up(100, 5, 5, 1)
    twice = teach(cells, np.array([3, 3, 8]), np.array([1, 1, 4])).logits
    weighed = teach(cells, np.array([3, 8]), np.array([1, 4]), np.array([2.0, 1.0])).logits
    np.testing.assert_allclose(twice, weighed, atol=2e-2)
    nothing = teach(cells, np.array([3, 8]), np.array([1, 4]), np.array([0.0, 1.0])).logits
    alone = teach(cells, np.array([8]), np.array([4])).logits
    np.testing.assert_allclose(nothing, alone, atol=2e-3)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.integers(1, 30))
def test_probabilities_sum_to_one_and_order_does_not_matter(seed: int, n: int) -> None:
    cells = made_up(60, 3, 5, seed % 1000)
    rng = np.random.default_rng(seed)
    where, codes = rng.integers(0, 60, n), rng.integers(0, 5, n)
    found = teach(cells, where, codes)
    np.testing.assert_allclose(found.probability.sum(axis=1), 1, atol=1e-5)
    assert ((found.certainty >= -1e-6) & (found.certainty <= 1 + 1e-6)).all()
    order = rng.permutation(n)
    np.testing.assert_allclose(teach(cells, where[order], codes[order]).logits, found.logits, atol=2e-2)


def test_certainty_is_that_of_the_thesis() -> None:
    found = teach(made_up(40, 3, 5, 0), np.array([0]), np.array([0]))
    p = found.probability[7].astype(float)
    assert found.certainty[7] == pytest.approx(1 + (p * np.log(p)).sum() / np.log(5), abs=1e-5)


def test_of_very_many_labels_some_are_taken_evenly() -> None:
    cells = made_up(2 * MOST, 3, 5, 0)
    found = teach(cells, np.arange(2 * MOST), np.zeros(2 * MOST, int))
    assert len(found.labelled) == MOST
    assert found.labelled[0] == 0
    assert found.labelled[-1] == 2 * MOST - 1


def test_labels_that_are_none_are_refused() -> None:
    cells = made_up(10, 3, 5, 0)
    for where, codes, weights, word in (
        ([], [], None, "no label"),
        ([10], [0], None, "0…9"),
        ([-1], [0], None, "0…9"),
        ([1], [5], None, "0…4"),
        ([1], [0, 1], None, "belong together"),
        ([1], [0], [-1.0], "not negative"),
        ([1], [0], [np.nan], "finite"),
    ):
        with pytest.raises(LabelError, match=word):
            teach(cells, np.array(where, int), np.array(codes, int), None if weights is None else np.array(weights))
    for wrong in ({"network": 1.5}, {"reach": 0}, {"amplitude": -1}):
        with pytest.raises(OptionError, match="must lie"):
            TeachSettings(**wrong)
