"""Ways to learn from unlabelled patches: they learn from them, never from hidden labels, and the same twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frazil.errors import ModelError, OptionError
from frazil.learn.config import (
    FixMatchConfig,
    LabelPropagationConfig,
    M1M2Config,
    MeanTeacherConfig,
    MixMatchConfig,
    ModelConfig,
    NoisyStudentConfig,
    PiModelConfig,
    PropagationConfig,
    ReMixMatchConfig,
    RunConfig,
    SemiGANConfig,
    SupervisedConfig,
    TeacherStudentConfig,
    TemporalEnsemblingConfig,
)
from frazil.learn.data.learning_data import LearningData
from frazil.learn.data.patches import Patches, PatchSampler
from frazil.learn.data.pool import Pool
from frazil.learn.models.patch import PatchClassifier
from frazil.learn.propagation.pseudo import PseudoLabels
from frazil.learn.strategies.average import Average, risen
from frazil.learn.strategies.plan import make_plan
from frazil.learn.strategies.semi_gan import Generator
from frazil.learn.train import train_loop
from tests.studies.few_labels_toy import CPU, SIZE, accuracy, toy_data, toy_patches, toy_run, toy_strategy, toy_train

NEAR = PropagationConfig(k=10)
FIRST: dict[str, Any] = {"labelled": 8, "first_steps": 30, "first_lr": 4e-3, "propagation": NEAR}
STRATEGIES: dict[str, Any] = {
    "label_propagation": LabelPropagationConfig(**FIRST),
    "teacher_student": TeacherStudentConfig(**FIRST, teacher_lr=1e-3),
    "mixmatch": MixMatchConfig(labelled=8, ema=0.9, weight=20.0),
    "fixmatch": FixMatchConfig(labelled=8, ema=0.9, threshold=0.8, ramp=0.2),
    "mean_teacher": MeanTeacherConfig(labelled=8, ema=0.95, weight=20.0),
    "semi_gan": SemiGANConfig(labelled=8, width=4, latent=8),
    "m1_m2": M1M2Config(labelled=8, width=4, latent=3, hidden=8),
    "noisy_student": NoisyStudentConfig(labelled=8, first_steps=30, first_lr=4e-3, rounds=2, strong=("rotate",)),
    "remixmatch": ReMixMatchConfig(labelled=8, ema=0.9, views=2),
    "pi_model": PiModelConfig(labelled=8, weight=60.0, share="batch"),
    "temporal_ensembling": TemporalEnsemblingConfig(labelled=8, weight=60.0, share="batch"),
}
every = pytest.mark.parametrize("name", sorted(STRATEGIES))
#: M1 + M2 wants a network of its own, see test_m1_m2.py.
with_any_network = pytest.mark.parametrize("name", sorted(set(STRATEGIES) - {"m1_m2"}))


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def from_labels_alone() -> list[float]:
    run = toy_run(SupervisedConfig(), batch=8, epochs=150)
    return [accuracy(toy_train(replace(run, seed=s), toy_data(s)), toy_data(s)) for s in range(3)]


@with_any_network
def test_beats_labels_alone_where_unlabelled_patches_decide(name: str, from_labels_alone: list[float]) -> None:
    run = toy_run(STRATEGIES[name], epochs=20)
    found = [accuracy(toy_train(replace(run, seed=s), toy_data(s)), toy_data(s)) for s in range(3)]
    assert np.mean(from_labels_alone) < 0.95
    assert np.mean(found) > np.mean(from_labels_alone) + 0.02, (found, from_labels_alone)


@with_any_network
def test_unlabelled_patches_have_a_loss_with_a_gradient(name: str) -> None:
    settings = replace(STRATEGIES[name], **({"threshold": 0.0} if name == "fixmatch" else {}))
    strategy, _, data = toy_strategy(toy_run(settings))
    network: Any = next(iter(strategy.networks.values()))
    if name == "noisy_student":
        network = strategy.networks["student_1"]
        strategy.step(30)
        unlabelled = strategy.losses(30)[1]  # type: ignore[attr-defined]
    elif hasattr(strategy, "pseudo"):
        strategy.pseudo.refresh(network)
        (image,), places = strategy.batches(strategy.plan.first)  # type: ignore[attr-defined]
        others = places >= len(data.train.patches)  # type: ignore[attr-defined]
        assert 0 < others.sum() < len(places)
        unlabelled = strategy.pseudo.loss(network(image[others]), places[others])
    else:
        remembers = range(strategy.plan.epoch if name == "temporal_ensembling" else 0)  # type: ignore[attr-defined]
        for step in remembers:
            strategy.step(step)
        unlabelled = strategy.losses(len(remembers) or 3)[1]  # type: ignore[attr-defined]
    assert unlabelled.item() > 0
    unlabelled.backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in network.parameters())


@every
def test_same_seed_same_weights_and_hidden_labels_never_count(name: str) -> None:
    run, data = toy_run(STRATEGIES[name], epochs=2), toy_data(0)
    assert data.unlabelled is not None
    wrong = replace(data.unlabelled, label=np.full(len(data.unlabelled), 1, np.uint8))
    unknown = replace(data.unlabelled, label=np.full(len(data.unlabelled), 255, np.uint8))
    poisoned = [replace(data, unlabelled=pool) for pool in (data.unlabelled, wrong, unknown)]
    first = toy_train(run, data).result.state_dict()
    for other in poisoned:
        again = toy_train(run, other).result.state_dict()
        assert all(torch.equal(first[k], again[k]) for k in first)
    stranger = toy_train(replace(run, seed=1), data).result.state_dict()
    assert not all(torch.equal(first[k], stranger[k]) for k in first)


@every
def test_half_precision_trains_too(name: str) -> None:
    losses: list[float] = []
    run = toy_run(STRATEGIES[name], epochs=4, precision="bfloat16")
    toy_train(run, log=lambda _, row: losses.append(row["loss"]))
    assert np.isfinite(losses).all()
    exact: list[float] = []
    toy_train(replace(run, optim=replace(run.optim, precision="float32")), log=lambda _, row: exact.append(row["loss"]))
    assert losses[0] == pytest.approx(exact[0], rel=0.02)
    assert losses != exact


class Killed(Exception):  # noqa: N818 - stands for SIGKILL
    pass


@every
@pytest.mark.parametrize("look", [13, 37])  # the state is saved at looks: in the first stage, and amid an epoch
def test_a_killed_run_goes_on_bit_by_bit(name: str, look: int, tmp_path: Path) -> None:
    run = toy_run(STRATEGIES[name], epochs=3)
    logs: list[dict[str, float]] = []
    whole = toy_train(run, log=lambda _, row: logs.append(row))

    def kill(step: int, row: dict[str, float]) -> None:
        if step == look + 4:
            raise Killed

    options: dict[str, Any] = {"state": tmp_path / "s.safetensors", "validate": lambda n: {"macro_f1": 0.0}}
    with pytest.raises(Killed):
        toy_train(run, log=kill, validate_every=look, **options)
    torch.manual_seed(99)
    after: list[dict[str, float]] = []
    again = toy_train(run, log=lambda _, row: after.append(row), **options)
    for key, network in whole.networks.items():
        theirs = again.networks[key].state_dict()
        assert all(torch.equal(v, theirs[k]) for k, v in network.state_dict().items())
    assert all(torch.equal(v, again.result.state_dict()[k]) for k, v in whole.result.state_dict().items())
    timeless = [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in logs[look:]]
    assert [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in after if "loss" in row] == timeless


def test_a_state_of_another_pool_is_refused(tmp_path: Path) -> None:
    run, state = toy_run(STRATEGIES["teacher_student"], epochs=1), tmp_path / "s.safetensors"
    toy_train(run, state=state)
    with pytest.raises(ModelError, match="of another run .it has pseudo-labels of 244 patches, not 104"):
        toy_train(run, toy_data(0, unlabelled=100), state=state)


def test_who_learns_when_and_how_fast() -> None:
    strategy, run, _ = toy_strategy(toy_run(STRATEGIES["teacher_student"], epochs=4, lr=2e-3))
    teacher, student = strategy.networks["teacher"], strategy.networks["student"]
    assert strategy.result is student
    assert not torch.equal(*(n.state_dict()["features.0.weight"] for n in (teacher, student)))
    assert run.optim.steps == 30 + 4 * 15  # 240 patches, 16 a step
    rates = [strategy.rates(step, run.optim) for step in (0, 30, 89)]
    assert rates[0] == {"teacher": 4e-3, "student": 0.0}
    assert rates[1] == {"teacher": 1e-3, "student": 2e-3}
    assert 0 < rates[2]["student"] < 1e-4
    before = {k: v.clone() for k, v in student.state_dict().items()}
    taught = {k: v.clone() for k, v in teacher.state_dict().items()}
    logs: list[dict[str, float]] = []
    train_loop(strategy, replace(run.optim, steps=30, weight_decay=0.1), log=lambda _, row: logs.append(row))
    assert all(torch.equal(v, student.state_dict()[k]) for k, v in before.items())
    assert not torch.equal(taught["features.0.weight"], teacher.state_dict()["features.0.weight"])
    assert all("loss_student" not in row for row in logs)
    equal, run, _ = toy_strategy(toy_run(replace(STRATEGIES["teacher_student"], equal_rates=True)))
    assert len(set(equal.rates(40, run.optim).values())) == 1


def gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad


def test_teacher_and_student_do_not_touch_each_other() -> None:
    """Side by side on one batch, each gets the gradient that it would get alone."""
    strategy, _, _ = toy_strategy(toy_run(STRATEGIES["teacher_student"]))
    loss, _ = strategy.step(30)
    loss.backward()
    (image,), places = strategy.batches(30)  # type: ignore[attr-defined]
    for network in strategy.networks.values():
        together = [gradient(p).clone() for p in network.parameters()]
        network.zero_grad()
        strategy.pseudo.loss(network(image), places).backward()  # type: ignore[attr-defined]
        for one, p in zip(together, network.parameters(), strict=True):
            torch.testing.assert_close(one, p.grad)


def test_labels_are_refreshed_as_often_as_asked_and_what_they_cost_is_logged() -> None:
    for every_n, at in ((1, [30, 45, 60, 75]), (2, [30, 60])):
        logs: list[dict[str, float]] = []
        settings = replace(STRATEGIES["label_propagation"], refresh_epochs=every_n)
        toy_train(toy_run(settings, epochs=4), log=lambda _, row, logs=logs: logs.append(row))
        assert [i for i, row in enumerate(logs) if "refresh_seconds" in row] == at
        assert {"pseudo_accuracy", "pseudo_coverage", "pseudo_weight", "propagation_residual"} <= set(logs[30])
    data = toy_data(0)
    unknown = replace(data, unlabelled=replace(data.unlabelled, label=np.full(240, 255, np.uint8)))  # type: ignore[type-var]
    toy_train(toy_run(STRATEGIES["label_propagation"], epochs=1), unknown, log=lambda _, row: logs.append(row))
    assert "pseudo_accuracy" not in logs[-15]
    assert "pseudo_coverage" in logs[-15]


def pseudo_of(data: LearningData, **settings: Any) -> PseudoLabels:
    assert data.unlabelled is not None
    pool = Pool(data.train.patches, data.unlabelled, seed=0)  # type: ignore[attr-defined]
    return PseudoLabels(pool, 2, LabelPropagationConfig(**{**FIRST, **settings}), CPU)


class Islands(PatchClassifier):
    """Descriptors of two groups that have nothing in common: the brightest patches, and all others."""

    def __init__(self) -> None:
        super().__init__(SIZE, 2)
        self.linear = torch.nn.Linear(2, 2)

    def describe(self, x: torch.Tensor) -> torch.Tensor:
        far = (x[:, 1].mean((1, 2)) > 0.9).float()
        return torch.stack([far, 1 - far], 1)

    @property
    def head(self) -> torch.nn.Module:
        return self.linear


def test_what_no_label_reaches_teaches_nothing_and_is_never_class_0() -> None:
    data = toy_data(0)
    assert data.unlabelled is not None
    image = data.unlabelled.image.copy()
    image[:20, 1] = 1.0
    pseudo = pseudo_of(replace(data, unlabelled=replace(data.unlabelled, image=image)))
    logs = pseudo.refresh(Islands())
    n = len(data.train.patches)  # type: ignore[attr-defined]
    assert logs["pseudo_coverage"] == pytest.approx(220 / 240)
    assert (pseudo.label[n : n + 20] == -1).all()
    assert (pseudo.weight[n : n + 20] == 0).all()
    assert (pseudo.label[n + 20 :] >= 0).all()
    logits = torch.zeros(40, 2, requires_grad=True)
    pseudo.loss(logits, torch.arange(n, n + 40)).backward()
    assert logits.grad is not None
    assert (logits.grad[:20] == 0).all()
    published = pseudo_of(replace(data, unlabelled=replace(data.unlabelled, image=image)), unreached=1.0)
    published.refresh(Islands())
    assert (published.label[n : n + 20] == 0).all()
    assert (published.weight[n : n + 20] > 0).all()


def test_the_loss_is_equation_14() -> None:
    pseudo = pseudo_of(toy_data(0))
    strategy, _, _ = toy_strategy(toy_run(STRATEGIES["label_propagation"]))
    pseudo.refresh(strategy.result)
    label, weight = pseudo.label.numpy(), pseudo.weight.numpy()
    reached = np.bincount(label[label >= 0], minlength=2)
    v = reached.sum() / (2 * reached)
    np.testing.assert_allclose(weight[:4], v[label[:4]], rtol=1e-6)  # labelled: ω = 1
    assert (weight <= v.max() * 1.000001).all()
    places = torch.tensor([0, 1, 7, 60, 200])
    logits = torch.randn(5, 2)
    by_hand = -(weight[places] * logits.log_softmax(1).numpy()[np.arange(5), label[places]]).sum() / 5
    assert pseudo.loss(logits, places).item() == pytest.approx(float(by_hand), rel=1e-5)
    even = pseudo_of(toy_data(0), class_balance=False)
    assert set(even.weight[:4].tolist()) == {1.0}


def test_batches_hold_as_many_labels_as_asked_and_an_epoch_every_unlabelled_patch() -> None:
    data = toy_data(0)
    pool = Pool(data.train.patches, toy_patches(50, 1), seed=3)  # type: ignore[attr-defined]
    drawn = [pool.places(step, 6, 16) for step in range(8)]
    for places in drawn:
        assert (places[:6] < 4).all()
        assert (places[6:] >= 4).all()
    for epoch in (drawn[:4], drawn[4:]):
        assert set(np.concatenate([p[6:] for p in epoch]).tolist()) == set(range(4, 54))
    assert np.bincount(np.concatenate([p[:6] for p in drawn[:2]]), minlength=4).tolist() == [3, 3, 3, 3]
    np.testing.assert_array_equal(Pool(pool.labelled, pool.unlabelled, seed=3).places(5, 6, 16), drawn[5])
    first, second = pool.views(drawn[0], 0, (("rotate",), ("rotate", "speckle")))
    assert first.shape == (22, 2, SIZE, SIZE)
    assert not np.array_equal(first, second)
    (plain,) = pool.views(drawn[0], 0, ((),))
    np.testing.assert_array_equal(plain[:6], pool.labelled.image[drawn[0][:6]].astype(np.float32))


def test_descriptors_come_from_patches_as_they_are_in_evaluation_mode() -> None:
    strategy, _, data = toy_strategy(toy_run(STRATEGIES["label_propagation"]))
    network: Any = strategy.result
    network.train()
    network.classifier.append(torch.nn.Dropout(0.5))
    assert isinstance(data.test, Patches)
    found = data.test.descriptors(network)
    assert network.training
    with torch.inference_mode():
        expected = network.eval().describe(torch.from_numpy(data.test.image.astype(np.float32)))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_the_average_follows() -> None:
    network = torch.nn.BatchNorm1d(1)
    average = Average(network, 0.9)
    follower: Any = average.network
    with torch.no_grad():
        network.weight.fill_(11.0)
        network.running_mean.fill_(11.0)  # type: ignore[union-attr]
    average.update(0)
    assert follower.weight.item() == pytest.approx(1 + 0.9 * 10)
    before = follower.weight.item()
    average.update(10_000)
    assert follower.weight.item() == pytest.approx(0.9 * before + 1.1)
    assert follower.running_mean.item() == pytest.approx(0.9 * 9.9 + 1.1, abs=0.2)
    assert not any(p.requires_grad for p in average.network.parameters())
    assert [risen(s, 100, 0.5) for s in (0, 25, 50, 99)] == [0, 0.5, 1, 1]


def test_classifier_and_generator_get_gradients_of_their_own() -> None:
    strategy, _, _ = toy_strategy(toy_run(STRATEGIES["semi_gan"]))
    network, generator = strategy.networks["network"], strategy.networks["generator"]
    labelled, unlabelled, of_generator, _ = strategy.losses(0)  # type: ignore[attr-defined]
    of_generator.backward()
    assert all(p.grad is None for p in network.parameters())
    assert any(float(gradient(p).abs().sum()) > 0 for p in generator.parameters())
    generator.zero_grad(set_to_none=True)
    (labelled + unlabelled).backward()
    assert all(p.grad is None for p in generator.parameters())
    for patch in (10, 20, 32, 36, 46):
        made = Generator(patch, 3, 5, 2)(torch.randn(2, 5))
        assert made.shape == (2, 3, patch, patch)


def with_batch_norm(name: str) -> RunConfig:
    settings = {"patch": SIZE}
    return replace(toy_run(STRATEGIES[name]), model=ModelConfig(architecture="resnet20", settings=settings))


@pytest.mark.parametrize("name", ["semi_gan", "mixmatch", "remixmatch"])
def test_batch_norm_remembers_a_step_as_if_it_had_seen_its_own_batch_alone(name: str) -> None:
    strategy, _, _ = toy_strategy(with_batch_norm(name))
    network = strategy.networks["network"].train()
    before = {k: v.clone() for k, v in network.named_buffers()}
    seen: list[torch.Tensor] = []
    hook = network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    strategy.step(0)
    hook.remove()
    after = {k: v.clone() for k, v in network.named_buffers()}
    # The one pass that may count: real patches, or the mixed ones; those made and those guessed about may not.
    network.load_state_dict(before, strict=False)
    with torch.no_grad():
        network(seen[0] if name == "semi_gan" else seen[-1])
    counted = [k for k in before if k.endswith(("running_mean", "running_var"))]
    assert counted
    assert all(torch.allclose(after[k], dict(network.named_buffers())[k], atol=1e-6) for k in counted)
    assert any((after[k] != before[k]).any() for k in counted)


def test_guesses_do_not_hang_on_statistics_that_lag_behind() -> None:
    strategy, _, data = toy_strategy(with_batch_norm("mixmatch"))
    network = strategy.networks["network"].train()
    views = [torch.from_numpy(data.train.patches.image[:8].astype(np.float32))] * 2  # type: ignore[attr-defined]
    first = strategy._guess(views)  # type: ignore[attr-defined]
    for key, value in network.named_buffers():
        if key.endswith("running_mean"):
            value += 100
    assert torch.equal(strategy._guess(views), first)  # type: ignore[attr-defined]


def test_plans_that_cannot_work_are_refused() -> None:
    data = toy_data(0)
    with pytest.raises(OptionError, match="strategy.labelled 24 leaves no room for unlabelled patches"):
        make_plan(toy_run(FixMatchConfig(labelled=24)), data)
    with pytest.raises(OptionError, match="optim.steps 20 end before the first stage does, at step 30"):
        make_plan(toy_run(STRATEGIES["teacher_student"], epochs=None, steps=20), data)
    with pytest.raises(OptionError, match="patience would end the run in its first stage"):
        make_plan(toy_run(STRATEGIES["label_propagation"], patience=3), data)
    plan = make_plan(toy_run(LabelPropagationConfig(labelled=2, first_epochs=10)), data)
    assert (plan.first, plan.epoch) == (20, 11)  # 4 labels, 2 a step; 240 patches, 22 a step
    with pytest.raises(OptionError, match="'sharpen' is not one of"):
        FixMatchConfig(strong=("sharpen",))


def test_few_labels_of_one_class_are_refused() -> None:
    few = toy_patches(6, 0)
    with pytest.raises(Exception, match="are of 1 class"):
        PatchSampler(few.take(np.flatnonzero(few.label == 1)), seed=0)
