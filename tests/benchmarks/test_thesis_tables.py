"""Shares of classes from published figures: found again where they are known."""

import numpy as np
import pytest
from benchmarks.thesis_tables import STATED, TABLES, at_share, share_of
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_fscore_support


def figures(truth: np.ndarray, said: np.ndarray) -> tuple[float, float, float, float]:
    precision, recall, f1, _ = precision_recall_fscore_support(truth, said, average="macro", zero_division=0)
    return accuracy_score(truth, said), precision, recall, f1


@settings(max_examples=30, deadline=None)
@given(
    share=st.floats(0.6, 0.95), right=st.tuples(st.floats(0.55, 0.99), st.floats(0.3, 0.99)), seed=st.integers(0, 99)
)
def test_the_share_of_a_made_up_confusion_is_found(share: float, right: tuple[float, float], seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = (np.arange(20_000) < share * 20_000).astype(int)
    hit = random.random(truth.size) < np.where(truth == 1, *right)
    entry = figures(truth, np.where(hit, truth, 1 - truth))
    found, off = share_of(entry)
    assert off < 1e-3  # shares are tried in steps of 0.0001
    assert at_share(entry, truth.mean()) < 1e-6
    assert found == pytest.approx(truth.mean(), abs=0.01) or at_share(entry, found) < 1e-3


def test_the_published_tables_do_not_fit_what_is_said_of_them() -> None:
    found = [(count, *share_of(e), at_share(e, STATED)) for t in TABLES.values() for count, e in t.items()]
    exact = [(count, share) for count, share, off, _ in found if off <= 1e-4]
    assert len(exact) >= 17
    assert {round(100 * s) for count, s in exact if count <= 100} <= {85, 86}
    assert {round(100 * s) for count, s in exact if count >= 500} == {82}
    assert all(stated > 0.1 for *_, stated in found)
