"""Samples in another order: the same graph, the same solution, and neighbours nearer to each other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order

from frazil.learn.config import PropagationConfig
from frazil.learn.propagation import graph as graphs
from frazil.learn.propagation.graph import affinity_graph, solve
from frazil.learn.propagation.order import breadth_first, permuted
from tests.learn.propagation.test_graph import blobs, few


def distance(graph: sparse.csr_array) -> float:
    """Mean distance of neighbours in memory."""
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    return float(np.abs(rows - graph.indices).mean())


def test_all_samples_are_met_once_part_by_part() -> None:
    x, _ = blobs(400, classes=4, spread=0.05)
    graph = affinity_graph(x, PropagationConfig(k=5))
    order = breadth_first(graph)
    assert sorted(order.tolist()) == list(range(400))
    part = breadth_first_order(graph, 0, directed=False, return_predecessors=False)  # SciPy's own, of one part
    np.testing.assert_array_equal(np.sort(order[: part.size]), np.sort(part))
    assert distance(permuted(graph, order)) < 0.5 * distance(graph)


def test_an_ordered_graph_is_the_graph() -> None:
    x, _ = blobs(90)
    graph = affinity_graph(x, PropagationConfig(k=7))
    order = np.random.default_rng(0).permutation(90)
    np.testing.assert_array_equal(permuted(graph, order).toarray(), graph.toarray()[np.ix_(order, order)])


def test_samples_without_neighbours_are_met_too() -> None:
    graph = sparse.csr_array((5, 5), dtype=np.float32)
    np.testing.assert_array_equal(breadth_first(graph), np.arange(5))
    assert permuted(graph, np.arange(5)[::-1].copy()).nnz == 0


def test_the_solution_comes_back_in_the_order_of_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    x, truth = blobs(300, classes=5)
    labels, config = few(truth, 3), PropagationConfig(k=8, iterations=200)
    seeds = np.zeros((300, 5), np.float32)
    seeds[np.flatnonzero(labels >= 0), labels[labels >= 0]] = 1
    graph = affinity_graph(x, config)
    expected = np.linalg.solve(np.eye(300) - config.alpha * graph.toarray().astype(np.float64), seeds)
    monkeypatch.setattr(graphs, "_ORDERED_SAMPLES", 100)
    score, _, _, converged = solve(graph, seeds, config)
    assert converged
    np.testing.assert_allclose(score, expected, atol=1e-4 * expected.max())
