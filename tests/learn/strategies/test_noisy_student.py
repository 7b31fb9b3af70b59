"""Noisy Student: who learns when, from which patches, and against algorithm 1 in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.errors import ModelError, OptionError
from frazil.learn.config import ModelConfig, NoisyStudentConfig
from frazil.learn.strategies.noisy_student import ChosenPool, NoisyStudent, chosen_patches
from frazil.learn.train import train_loop
from tests.learn.strategies.linear import softmax
from tests.studies.few_labels_toy import SIZE, toy_data, toy_patches, toy_run, toy_strategy, toy_train

pytestmark = pytest.mark.usefixtures("one_thread")
FIRST = 10


def made(*, dropout: float = 0.0, epochs: float = 4, **more: Any) -> tuple[Any, Any, Any]:
    """Four passes of 15 steps after a first stage of 10, two students."""
    told = {"labelled": 8, "first_steps": FIRST, "first_lr": 4e-3, "rounds": 2, "strong": ("rotate",), **more}
    run = toy_run(NoisyStudentConfig(**told), epochs=epochs)
    shape = {"widths": [8], "hidden": [6] if dropout else [], "dropout": dropout, "patch": SIZE}
    return toy_strategy(replace(run, model=ModelConfig(architecture="adhoc", settings=shape)))


def test_each_network_has_its_turn_and_no_other_moves() -> None:
    strategy, run, _ = made()
    assert strategy.begins == [0, 10, 40, 70]
    assert list(strategy.networks) == ["teacher", "student_1", "student_2"]
    assert strategy.result is strategy.networks["student_2"]
    start = {name: {k: v.clone() for k, v in n.state_dict().items()} for name, n in strategy.networks.items()}
    assert len({float(s["features.0.weight"].sum()) for s in start.values()}) == 3, "other random weights each"
    moved = []

    def note(step: int, _row: dict[str, float]) -> None:
        now = {
            name: any(not torch.equal(v, start[name][k]) for k, v in n.state_dict().items())
            for name, n in strategy.networks.items()
        }
        moved.append((step, now))

    train_loop(strategy, replace(run.optim, weight_decay=0.1), log=note)
    for step, now in moved:
        assert now == {"teacher": True, "student_1": step >= 10, "student_2": step >= 40}, step


def test_rates_are_of_the_one_whose_turn_it_is_each_on_its_own_schedule() -> None:
    strategy, run, _ = made()
    o = run.optim
    for step, name, peak in ((0, "teacher", 4e-3), (10, "student_1", o.lr), (40, "student_2", o.lr)):
        rates = strategy.rates(step, o)
        assert rates.pop(name) == pytest.approx(peak)
        assert set(rates.values()) == {0.0}
    for last, name in ((9, "teacher"), (39, "student_1"), (69, "student_2")):
        assert 0 < strategy.rates(last, o)[name] < o.lr / 5


def test_losses_are_those_of_the_paper() -> None:
    """1/n Σ over labelled and 1/m Σ over unlabelled patches, against what the teacher said of them as they are."""
    for targets in ("soft", "hard"):
        strategy, _, data = made(targets=targets, weight=0.5)
        teacher, student = strategy.networks["teacher"], strategy.networks["student_1"]
        loss, logs = strategy.step(FIRST)
        said = softmax(data.unlabelled.logits(teacher).T.astype(np.float64))
        np.testing.assert_allclose(strategy.probability.numpy(), said, atol=1e-6)
        (image,), places = strategy.batches(FIRST)
        with torch.no_grad():
            logp = np.log(softmax(student(image).double().numpy()))
        target = said[places[8:].numpy() - 4]
        target = np.eye(2)[target.argmax(axis=1)] if targets == "hard" else target
        labelled = -logp[np.arange(8), strategy.pool.label[places[:8]].numpy()].mean()
        unlabelled = -(target * logp[8:]).sum(axis=1).mean()
        assert logs["loss_labelled"] == pytest.approx(labelled, rel=1e-5)
        assert logs["loss_unlabelled"] == pytest.approx(unlabelled, rel=1e-5)
        assert loss.item() == pytest.approx(labelled + 0.5 * unlabelled, rel=1e-5)
        loss.backward()
        assert all(p.grad is None for p in teacher.parameters())
        assert all(float(p.grad.abs().sum()) > 0 for p in student.parameters())


def test_the_teacher_labels_without_noise_and_learns_with_it() -> None:
    strategy, _, data = made(dropout=0.5)
    teacher = strategy.networks["teacher"].train()
    strategy.label_patches(1)
    assert teacher.training
    first = strategy.probability.clone()
    strategy.label_patches(1)
    assert torch.equal(strategy.probability, first)
    image = torch.from_numpy(data.unlabelled.image.astype(np.float32))
    assert not torch.equal(teacher(image), teacher(image))
    torch.testing.assert_close(teacher.eval()(image).softmax(1), first)
    assert strategy.batches.changes == (("rotate",),)


def test_the_student_of_a_round_is_taught_by_the_one_before() -> None:
    strategy, run, data = made()
    train_loop(strategy, replace(run.optim, steps=40))
    before = data.unlabelled.logits(strategy.networks["student_1"])
    strategy.step(40)
    np.testing.assert_allclose(strategy.probability.numpy(), softmax(before.T), atol=1e-5)


@settings(max_examples=80, deadline=None)
@given(
    n=st.integers(1, 40),
    n_classes=st.integers(2, 4),
    threshold=st.floats(0, 1),
    per_class=st.none() | st.integers(1, 20),
    seed=st.integers(0, 1000),
)
def test_as_many_patches_of_each_class_the_surest_first(
    n: int, n_classes: int, threshold: float, per_class: int | None, seed: int
) -> None:
    p = np.random.default_rng(seed).dirichlet(np.full(n_classes, 0.5), n)
    options: dict[str, Any] = {"threshold": threshold, "per_class": per_class}
    every = chosen_patches(p, balance=False, rng=np.random.default_rng(0), **options)
    assert every.tolist() == [i for i in range(n) if p[i].max() >= threshold]
    chosen = chosen_patches(p, balance=True, rng=np.random.default_rng(0), **options)
    assert set(chosen) <= set(every)
    found = [every[p[every].argmax(axis=1) == c] for c in range(n_classes)]
    classes = sum(f.size > 0 for f in found)
    each = per_class or (-(-every.size // classes) if classes else 0)
    for mine in found:
        taken = chosen[np.isin(chosen, mine)]
        assert taken.size == (each if mine.size else 0)
        kept = set(taken.tolist())
        if mine.size <= each:
            assert kept == set(mine.tolist()), "of a rare class all, some several times"
        else:
            assert len(kept) == each
            assert min(p[i].max() for i in kept) >= max(p[i].max() for i in set(mine.tolist()) - kept)


def test_an_epoch_holds_each_chosen_patch_as_often_as_it_was_chosen() -> None:
    pool = ChosenPool(toy_data(0).train.patches, toy_patches(30, 1), seed=3)  # type: ignore[attr-defined]
    assert len(pool.places(0, 6, 10)) == 6, "nothing is chosen yet"
    pool.choose(np.array([2, 2, 5, 9, 9, 9, 20, 29]))
    for epoch in range(2):
        drawn = np.concatenate([pool.places(2 * epoch + i, 6, 4)[6:] for i in range(2)])
        assert sorted(drawn - 4) == [2, 2, 5, 9, 9, 9, 20, 29]
    pool.choose(np.array([7]))
    assert (pool.places(4, 6, 4)[6:] == 11).all()


def test_no_batch_that_was_made_ahead_outlives_the_choice() -> None:
    """The step before a round has the next batch made, from the choice that there was: none, or the round's before."""
    strategy, *_ = made()
    for step in (FIRST - 1, 39):
        if step == 39:
            strategy.pool.choose(np.full(16, 7))
        strategy.step(step)
        ahead = strategy.batches._next[1].result()[1]  # the thread has finished
        assert set(ahead[8:].tolist()) == ({7 + 4} if step == 39 else set())
        assert strategy.step(step + 1)[1]["loss_unlabelled"] > 0
        assert len(set(strategy.batches(step + 1)[1][8:].tolist())) > 2


def test_where_the_teacher_is_sure_of_nothing_labels_are_learnt_from_alone() -> None:
    strategy, *_ = made(threshold=1.0)
    loss, logs = strategy.step(FIRST)
    assert logs["pseudo_coverage"] == logs["loss_unlabelled"] == 0
    assert torch.isfinite(loss)
    assert "pseudo_accuracy" not in logs


def test_a_student_may_be_larger_than_its_teacher() -> None:
    strategy, run, data = made(teacher={"widths": [3]})
    shapes = [n.state_dict()["features.0.weight"].shape[0] for n in strategy.networks.values()]
    assert shapes == [3, 8, 8]
    assert isinstance(strategy, NoisyStudent)
    with pytest.raises(ModelError, match="colour"):
        made(teacher={"colour": 3})
    with pytest.raises(OptionError, match=r"strategy.teacher .'widths': .3.. is another network than"):
        toy_strategy(replace(run, model=replace(run.model, pretrained="file")), data)


def test_what_cannot_work_is_said_in_a_line(tmp_path: Any) -> None:
    with pytest.raises(OptionError, match="first_steps 0: the first teacher must learn from labels"):
        made(first_steps=0)
    with pytest.raises(OptionError, match="strategy.rounds 20 do not fit into the 15 steps after the first stage"):
        made(rounds=20, epochs=1)
    with pytest.raises(OptionError, match="targets 'firm' is not one of"):
        NoisyStudentConfig(targets="firm")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="per_class 0 must be 1 or more"):
        NoisyStudentConfig(per_class=0)
    run, state = toy_run(NoisyStudentConfig(labelled=8, first_steps=4), epochs=1), tmp_path / "s.safetensors"
    toy_train(run, state=state)
    with pytest.raises(ModelError, match="it has pseudo-labels of 240 patches, not 100"):
        toy_train(run, toy_data(0, unlabelled=100), state=state)
