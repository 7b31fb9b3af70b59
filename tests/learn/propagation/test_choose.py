"""k and α are chosen by labels that judge: against propagation done anew for every label, and a case with an answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from frazil.errors import OptionError
from frazil.learn.config import ChoiceConfig, LabelPropagationConfig, PropagationConfig, TeacherStudentConfig
from frazil.learn.data.pool import Pool
from frazil.learn.propagation.choose import choose_propagation, leave_out, mean_recall
from frazil.learn.propagation.graph import affinity_graph, propagate_labels
from frazil.learn.propagation.pseudo import PseudoLabels
from tests.learn.propagation.test_graph import blobs, few
from tests.studies.few_labels_toy import CPU, toy_data, toy_patches, toy_run, toy_strategy, toy_train


def islands(n: int = 240, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Many small clusters, in turn of either class: near neighbours agree, far ones do not."""
    rng = np.random.default_rng(seed)
    cluster = np.arange(n) % 12
    centre = rng.normal(0, 1, (12, 6))
    return (centre[cluster] + rng.normal(0, 0.15, (n, 6))).astype(np.float32), cluster % 2


@pytest.mark.parametrize("seeds", ["per_class", "one_hot"])
@pytest.mark.parametrize("alpha", [0.5, 0.99])
def test_leaving_out_is_propagation_without_that_label(seeds: Any, alpha: float) -> None:
    x, truth = blobs(90)
    labels = few(truth, 4)
    config = PropagationConfig(k=6, alpha=alpha, seeds=seeds, iterations=300, tolerance=1e-8)
    graph, judges = affinity_graph(x, config), np.flatnonzero(labels >= 0)
    score = leave_out(graph, labels, judges, 3, config)
    for row, i in enumerate(judges):
        without = labels.copy()
        without[i] = -1
        expected = propagate_labels(x, without, n_classes=3, config=config, graph=graph).score[i]
        np.testing.assert_allclose(score[row], expected, rtol=1e-3, atol=1e-5 * expected.max())


def test_masses_are_those_of_all_labels() -> None:
    x, truth = blobs(90, spread=0.6)
    labels = few(truth, 4)
    labels[np.flatnonzero(labels == 0)[1:]] = -1
    plain = PropagationConfig(k=6, iterations=300)
    even = replace(plain, mass="uniform")
    graph, judges = affinity_graph(x, plain), np.flatnonzero(labels > 0)
    ratio = leave_out(graph, labels, judges, 3, even) / leave_out(graph, labels, judges, 3, plain)
    every = propagate_labels(x, labels, config=even, graph=graph).score
    without = propagate_labels(x, labels, config=plain, graph=graph).score
    at = np.flatnonzero((without > 1e-6).all(axis=1))[0]
    np.testing.assert_allclose(ratio[:, 1:], np.broadcast_to((every / without)[at, 1:], ratio[:, 1:].shape), rtol=1e-3)


@pytest.mark.parametrize("by", ["labels", "validation"])
def test_what_the_hidden_truth_would_choose_is_chosen(by: Any) -> None:
    """Neighbourhoods wider than an island mix the classes: every judge must see it."""
    x, truth = islands()
    labels = few(truth, 20)
    held_out = np.where((labels < 0) & (np.arange(len(x)) % 3 == 0), truth, -1)
    choice = ChoiceConfig(by=by, k=(4, 150), alpha=(0.9,))
    config = PropagationConfig()
    hidden = labels < 0
    right = {k: (propagate_labels(x, labels, k=k, alpha=0.9).label == truth)[hidden].mean() for k in choice.k}
    assert right[4] > right[150] + 0.05, "else there is nothing to choose"
    found = choose_propagation(x, labels, choice, config, held_out=held_out)
    assert (found.k, found.alpha, found.by) == (4, 0.9, by)
    assert found.judges == (40 if by == "labels" else (held_out >= 0).sum())
    assert [(one.k, one.alpha) for one in found.tried] == [(4, 0.9), (150, 0.9)]
    assert found.apply(config) == replace(config, k=4, alpha=0.9)


def test_validation_labels_judge_and_are_not_propagated() -> None:
    x, truth = islands()
    labels = few(truth, 6)
    held_out = np.where(labels < 0, truth, -1)
    choice = ChoiceConfig(by="best", k=(5, 20), alpha=(0.5, 0.9))
    found = choose_propagation(x, labels, choice, PropagationConfig(), held_out=held_out)
    assert found.by == "validation"
    for one in found.tried:
        alone = propagate_labels(x, labels, k=one.k, alpha=one.alpha)
        judged = held_out >= 0
        expected = mean_recall(truth[judged], alone.score[judged])
        assert one.recall == pytest.approx(expected)
    both = choose_propagation(x, truth, choice, PropagationConfig(), held_out=held_out)
    assert both == found, "a label of a sample that judges is hidden"
    assert choose_propagation(x, labels, choice, PropagationConfig()).by == "labels"


def test_mean_recall_counts_silence_as_wrong_and_classes_alike() -> None:
    truth = np.array([0, 0, 0, 1])
    score = np.array([[1, 0], [1, 0], [0, 0], [0, 1.0]])
    assert mean_recall(truth, score) == pytest.approx((2 / 3 + 1) / 2)


def test_at_most_two_hundred_labels_are_left_out_class_by_class() -> None:
    x, truth = blobs(900)
    labels = np.where(truth == 2, np.where(np.arange(900) < 60, truth, -1), truth)
    found = choose_propagation(x, labels, ChoiceConfig(by="labels", k=(5,), alpha=(0.5,)), PropagationConfig())
    assert found.judges == 200


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"by": "magic"}, "choice.by 'magic' is not one of"),
        ({"k": ()}, "choice.k [] must hold one value or more"),
        ({"alpha": (0.5, 0.5)}, "none twice"),
        ({"k": (0, 5)}, "whole numbers of 1 or more"),
        ({"alpha": (0.5, 1.0)}, "numbers between 0 and 1"),
        ({"k": tuple(range(1, 60)), "alpha": (0.5, 0.9)}, "make 118 pairs"),
    ],
)
def test_bad_grids_are_refused(settings: Any, said: str) -> None:
    with pytest.raises(OptionError) as refused:
        ChoiceConfig(**settings)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_nothing_that_could_judge_is_said() -> None:
    x, truth = blobs(30)
    with pytest.raises(OptionError, match="No class has two labels"):
        choose_propagation(x, few(truth, 1), ChoiceConfig(by="labels"), PropagationConfig())
    with pytest.raises(OptionError, match="no validation samples"):
        choose_propagation(x, few(truth, 2), ChoiceConfig(by="validation"), PropagationConfig())
    with pytest.raises(OptionError, match="no label to propagate"):
        choose_propagation(x, np.full(30, -1), ChoiceConfig(by="labels"), PropagationConfig())


@pytest.mark.parametrize("kind", ["label_propagation", "teacher_student"])
def test_a_run_chooses_once_logs_it_and_notes_it(kind: str) -> None:
    kinds: dict[str, Any] = {"label_propagation": LabelPropagationConfig, "teacher_student": TeacherStudentConfig}
    choice = ChoiceConfig(by="best", k=(3, 9), alpha=(0.5, 0.9))
    config = toy_run(kinds[kind](labelled=4, first_steps=4, choice=choice), epochs=2)
    data = replace(toy_data(labels=8), validation=toy_patches(40, 500))
    lines: list[dict[str, float]] = []
    strategy = toy_train(config, data, log=lambda _step, logs: lines.append(logs))
    chosen = [line for line in lines if "chosen_k" in line]
    assert len(chosen) == 1, "later epochs keep the choice"
    assert {f"chosen_among_k{k}_alpha{a}" for k in (3, 9) for a in (0.5, 0.9)} <= set(chosen[0])
    told = strategy.notes()["propagation"]
    assert isinstance(told, dict)
    assert (told["by"], told["judges"]) == ("validation", 40)
    assert (told["k"], told["alpha"]) == (chosen[0]["chosen_k"], chosen[0]["chosen_alpha"])
    again, _, _ = toy_strategy(config, data)
    assert again.notes() == {}
    again.load_tensors(strategy.tensors())
    assert again.notes() == strategy.notes(), "a run that goes on chooses nothing anew"


def test_a_run_without_validation_patches_says_so() -> None:
    data = toy_data()
    pool = Pool(data.train.patches, data.unlabelled, seed=0)  # type: ignore[attr-defined, arg-type]
    settings = LabelPropagationConfig(choice=ChoiceConfig(by="validation"))
    with pytest.raises(OptionError, match="there are no validation patches"):
        PseudoLabels(pool, 2, settings, CPU)
    by_labels = PseudoLabels(pool, 2, replace(settings, choice=ChoiceConfig(by="best", k=(3,), alpha=(0.5,))), CPU)
    strategy, _, _ = toy_strategy(toy_run(LabelPropagationConfig(labelled=4, first_steps=2)))
    assert by_labels.refresh(strategy.result)["chosen_judges"] == 4
    assert by_labels.propagation == PropagationConfig(k=3, alpha=0.5)
