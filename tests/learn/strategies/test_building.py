"""What strategies are built from, and the two that propagate: batches, rates and losses written down anew."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from frazil.errors import LabelError, OptionError
from frazil.learn.config import (
    CategorisationConfig,
    Im2PxStrategyConfig,
    LabelPropagationConfig,
    OptimConfig,
    PropagationConfig,
    SegmentationConfig,
    SupervisedConfig,
    TeacherStudentConfig,
)
from frazil.learn.strategies import STRATEGIES, make_plan
from frazil.learn.strategies.building import Parts, class_weights
from frazil.learn.strategies.label_propagation import LabelPropagation
from frazil.learn.strategies.phenomena import ImageLabels, Segmentation, build_image_labels, build_segmentation
from frazil.learn.strategies.phenomena_losses import weighted_bce
from frazil.learn.strategies.teacher_student import TeacherStudent
from frazil.learn.train import scheduled
from tests.studies.few_labels_toy import CPU, SIZE, toy_data, toy_run, toy_strategy

pytestmark = pytest.mark.usefixtures("one_thread")
NEAR = PropagationConfig(k=5)


class Counted:
    """A sampler of which the share of each class is known."""

    def __init__(self, share: np.ndarray) -> None:
        self.share = share

    def class_frequency(self, n_classes: int) -> np.ndarray:
        assert n_classes == len(self.share)
        return self.share


@settings(max_examples=80, deadline=None)
@given(counts=st.lists(st.integers(1, 10_000), min_size=2, max_size=8), balance=st.floats(0, 1))
def test_weights_of_classes_are_one_on_average_and_favour_the_rare(counts: list[int], balance: float) -> None:
    share = np.array(counts) / sum(counts)
    weight = class_weights(Counted(share), len(counts), balance).double().numpy()  # type: ignore[arg-type]
    assert (weight * share).sum() == pytest.approx(1, rel=1e-5)
    order = np.argsort(share, kind="stable")
    assert (np.diff(weight[order]) <= 1e-6).all()
    if balance == 0:
        np.testing.assert_allclose(weight, 1, rtol=1e-6)
    if balance == 1 and share.min() > 1e-3:
        np.testing.assert_allclose(weight * share, 1 / len(counts), rtol=1e-5)


def test_a_class_that_does_not_occur_has_a_finite_weight() -> None:
    weight = class_weights(Counted(np.array([0.0, 1.0])), 2, 1.0)  # type: ignore[arg-type]
    assert torch.isfinite(weight).all()
    assert weight[1] == pytest.approx(1)


def parts(strategy: Any, **optim: Any) -> Parts:
    _, config, data = toy_strategy(toy_run(strategy, **optim))
    torch.manual_seed(1)
    network: Any = nn.Linear(1, 1)
    return Parts(config=config, network=network, data=data, device=CPU)


def test_a_student_is_like_its_teacher_and_knows_nothing_of_it() -> None:
    made, config, data = toy_strategy(toy_run(TeacherStudentConfig(labelled=8, propagation=NEAR)))
    own = Parts(config=config, network=made.networks["teacher"], data=data, device=CPU)
    one, other = own.another_network(), own.another_network()
    shapes = [{k: v.shape for k, v in n.state_dict().items()} for n in (own.network, one, other)]
    assert shapes[0] == shapes[1] == shapes[2]
    weight = [n.state_dict()["features.0.weight"] for n in (own.network, one, other)]
    assert not torch.equal(weight[0], weight[1])
    assert not torch.equal(weight[1], weight[2])
    assert one.patch == SIZE
    pretrained = replace(own, config=replace(config, model=replace(config.model, pretrained="torchvision")))
    copied = pretrained.another_network()
    assert torch.equal(copied.state_dict()["features.0.weight"], weight[0])
    assert copied is not own.network


def test_the_first_stage_draws_labelled_patches_alone() -> None:
    """And the second every unlabelled patch once an epoch."""
    given_ = parts(LabelPropagationConfig(labelled=8, first_steps=5, propagation=NEAR), batch=24, epochs=3)
    batches = given_.views(8, ("rotate",), ())
    n = len(given_.data.train.patches)  # type: ignore[attr-defined]
    plan = given_.plan
    assert plan.first == 5
    for step in range(5):
        images, places = batches(step)
        assert len(places) == 8
        assert (places < n).all()
        assert [i.shape[0] for i in images] == [8, 8]
    for epoch in range(2):
        seen = []
        for step in range(plan.epoch):
            _, places = batches(5 + epoch * plan.epoch + step)
            assert (places[:8] < n).all()
            seen += places[8:].tolist()
            assert len(places) == 24
        assert set(seen) == set(range(n, n + 240))
        assert len(seen) - 240 < 16, "filled up to a whole batch, and no more"


def test_a_view_without_changes_is_the_patch_itself() -> None:
    given_ = parts(LabelPropagationConfig(labelled=8, first_steps=0, propagation=NEAR), batch=24)
    (turned, plain), places = given_.views(8, ("rotate",), ())(3)
    n = len(given_.data.train.patches)  # type: ignore[attr-defined]
    for i, place in enumerate(places.tolist()):
        source: Any = given_.data.train.patches if place < n else given_.data.unlabelled  # type: ignore[attr-defined]
        image = torch.from_numpy(source.image[place if place < n else place - n].astype(np.float32))
        assert torch.equal(plain[i], image)
        turns = [torch.rot90(image, k, (1, 2)) for k in range(4)]
        assert any(torch.equal(turned[i], t) or torch.equal(turned[i], t.flip(2)) for t in turns)


def rates_by_hand(peak: float, step: int, steps: int, config: OptimConfig) -> float:
    """Half a cosine down to nothing, behind a straight line up."""
    if step < config.warmup:
        return peak * (step + 1) / config.warmup
    return peak * (1 + math.cos(math.pi * (step - config.warmup) / (steps - config.warmup))) / 2


@pytest.mark.parametrize("warmup", [0, 3])
def test_each_stage_has_a_schedule_of_its_own(warmup: int) -> None:
    first: dict[str, Any] = {"labelled": 8, "first_steps": 10, "first_lr": 0.5, "propagation": NEAR}
    optim: dict[str, Any] = {"lr": 0.02, "warmup": warmup, "epochs": 2}
    lp, config, _ = toy_strategy(toy_run(LabelPropagationConfig(**first), **optim))
    ts, *_ = toy_strategy(toy_run(TeacherStudentConfig(**first, teacher_lr=0.001), **optim))
    equal, *_ = toy_strategy(toy_run(TeacherStudentConfig(**first, teacher_lr=0.001, equal_rates=True), **optim))
    assert isinstance(lp, LabelPropagation)
    assert isinstance(ts, TeacherStudent)
    o = config.optim
    for step in range(10):
        expected = rates_by_hand(0.5, step, 10, o)
        assert lp.rates(step, o) == {"network": pytest.approx(expected)}
        assert ts.rates(step, o) == {"teacher": pytest.approx(expected), "student": 0.0}
    for step in range(10, o.steps):
        expected, slow = (rates_by_hand(peak, step - 10, o.steps - 10, o) for peak in (0.02, 0.001))
        assert lp.rates(step, o) == {"network": pytest.approx(expected)}
        assert ts.rates(step, o) == {"teacher": pytest.approx(slow), "student": pytest.approx(expected)}
        assert equal.rates(step, o) == {"teacher": pytest.approx(expected), "student": pytest.approx(expected)}
    assert lp.rates(o.steps - 1, o)["network"] < lp.rates(10 + warmup, o)["network"] / 10


@settings(max_examples=100, deadline=None)
@given(step=st.integers(0, 999), steps=st.integers(1, 1000), warmup=st.integers(0, 200), peak=st.floats(1e-5, 1))
def test_a_rate_never_exceeds_its_peak_nor_falls_below_nothing(step: int, steps: int, warmup: int, peak: float) -> None:
    step = min(step, steps - 1)
    for schedule in ("cosine", "constant", "steps"):
        config = OptimConfig(warmup=warmup, schedule=schedule)  # type: ignore[arg-type]
        assert 0 <= scheduled(config, peak, step, steps) <= peak * (1 + 1e-12)


@pytest.mark.parametrize("name", ["label_propagation", "teacher_student"])
def test_the_loss_is_weighted_cross_entropy_in_float64(name: str) -> None:
    """Of each network by itself; the sum is what the loop descends."""
    kind: Any = {"label_propagation": LabelPropagationConfig, "teacher_student": TeacherStudentConfig}[name]
    made: Any = toy_strategy(toy_run(kind(labelled=8, first_steps=2, first_lr=1e-3, propagation=NEAR)))[0]
    loss, logs = made.step(2)
    assert logs["pseudo_coverage"] > 0, "labels were spread at the first step of the second stage"
    (image,), places = made.batches(2)
    total = 0.0
    for network in made.networks.values():
        z = network(image).detach().double().numpy()
        z -= z.max(1, keepdims=True)
        logp = z - np.log(np.exp(z).sum(1, keepdims=True))
        label, weight = made.pseudo.label[places].numpy(), made.pseudo.weight[places].double().numpy()
        each = [-w * lp[k] if k >= 0 else 0.0 for w, lp, k in zip(weight, logp, label, strict=True)]
        total += float(np.mean(each))
    assert float(loss.detach()) == pytest.approx(total, rel=1e-5)
    assert logs["loss"] == pytest.approx(total, rel=1e-5)
    n = 8
    right = (made.result if name == "label_propagation" else made.networks["student"])(image)[:n].argmax(1)
    assert logs["accuracy"] == pytest.approx(float((right == made.pseudo.label[places[:n]]).float().mean()))


def test_the_student_is_not_touched_in_the_first_stage() -> None:
    made: Any = toy_strategy(toy_run(TeacherStudentConfig(labelled=8, first_steps=2, propagation=NEAR)))[0]
    loss, logs = made.step(0)
    loss.backward()
    assert "loss_student" not in logs
    assert all(p.grad is None for p in made.networks["student"].parameters())
    assert any(p.grad is not None and p.grad.any() for p in made.networks["teacher"].parameters())
    assert made.result is made.networks["student"]


def test_every_strategy_of_the_settings_is_built_by_one() -> None:
    from typing import get_args

    from frazil.learn.config import StrategyConfig

    assert {kind.name for kind in get_args(get_args(StrategyConfig)[0])} == set(STRATEGIES)


def test_a_plan_of_labels_alone_counts_passes() -> None:
    config, data = toy_run(SupervisedConfig(), epochs=7, batch=3), toy_data(labels=10)
    plan = make_plan(config, data)
    assert plan.epoch == 4
    assert plan.steps == round(7 * 10 / 3)
    assert plan.first == 0


class Cells(nn.Module):
    """Logits of its own on cells, the same for every image."""

    takes, output, cell = "imagette", "sigmoid", 4

    def __init__(self, logits: torch.Tensor, output: str = "sigmoid") -> None:
        super().__init__()
        self.logits, self.output = nn.Parameter(logits), output

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(x), *self.logits.shape[1:])


def test_dice_of_a_step_counts_cells() -> None:
    logits = torch.tensor([[[[3.0, -3.0], [3.0, -3.0]], [[-1.0, -1.0], [-1.0, -1.0]]]])
    mask = torch.tensor([[[[1, 1], [0, 0]], [[0, 0], [0, 0]]]])
    network, rarity = Cells(logits), torch.ones(2)
    made = Segmentation(network, lambda _: (torch.zeros(1, 1, 8, 8), mask), rarity, "none")
    loss, logs = made.step(0)
    assert logs["dice"] == pytest.approx(2 * 1 / (2 + 2))
    assert float(loss.detach()) == pytest.approx(float(weighted_bce(logits, mask, rarity, "none")))
    p = 1 / (1 + np.exp(-logits.double().numpy()))
    y = mask.numpy()
    assert float(loss.detach()) == pytest.approx(float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()), rel=1e-6)
    loss.backward()
    assert network.logits.grad is not None
    assert network.logits.grad.abs().sum() > 0
    empty = Segmentation(Cells(-logits.abs()), lambda _: (torch.zeros(1, 1, 8, 8), mask * 0), rarity, "none")
    assert empty.step(0)[1]["dice"] == 0.0


@pytest.mark.parametrize("places", [False, True])
def test_images_are_named_by_their_largest_mean(places: bool) -> None:
    """At one place or at all of them; unknown labels are no hits."""
    logits = torch.tensor([[0.0, 2.0, 1.0]])
    if places:
        logits = torch.stack([logits, logits + torch.tensor([0.0, -1.0, 0.5])], -1)[..., None]
    label = torch.tensor([[0, 1, 0], [1, 0, 0], [255, 255, 255]])
    made = ImageLabels(Cells(logits), lambda _: (torch.zeros(3, 1, 8, 8), label), "sigmoid")
    named = int((logits if logits.ndim == 2 else logits.mean((2, 3))).argmax())
    assert made.step(0)[1]["accuracy"] == pytest.approx(float((label[:, named] == 1).float().mean()))


class Held:
    """As much of imagettes as the builders look at."""

    def __init__(self, cell: int = 4, unnamed: int = 0) -> None:
        self.cell, self.unnamed = cell, unnamed
        self.scheme = type("Scheme", (), {"classes": (0, 1)})
        self.train = Counted(np.array([0.5, 0.002]))


def built(network: nn.Module, held: Held, strategy: Any) -> Any:
    own = Parts(config=toy_run(strategy), network=network, data=held, device=CPU)  # type: ignore[arg-type]
    object.__setattr__(own, "batches", lambda: None)
    build: Any = build_segmentation if isinstance(strategy, SegmentationConfig) else build_image_labels
    return build(strategy, own)


def test_rarity_is_what_is_said_or_the_inverse_of_the_share() -> None:
    network = Cells(torch.zeros(1, 2, 2, 2))
    assert built(network, Held(), SegmentationConfig()).rarity.tolist() == pytest.approx([2.0, 250.0])
    assert built(network, Held(), SegmentationConfig(rarest=100)).rarity.tolist() == pytest.approx([2.0, 100.0])
    assert built(network, Held(), SegmentationConfig(rarity=(3.0, 4.0))).rarity.tolist() == [3.0, 4.0]


@pytest.mark.parametrize(
    ("held", "strategy", "output", "error", "words"),
    [
        (Held(cell=8), SegmentationConfig(), "sigmoid", OptionError, "cells of 4 pixels, the masks of 8"),
        (Held(), SegmentationConfig(rarity=(1.0,)), "sigmoid", OptionError, "rarity has 1 numbers for 2 classes"),
        (Held(unnamed=3), CategorisationConfig(), "softmax", LabelError, "3 images have no category"),
        (Held(unnamed=3), Im2PxStrategyConfig(), "softmax", LabelError, "output=sigmoid"),
    ],
)
def test_settings_and_images_that_do_not_fit(
    held: Held, strategy: Any, output: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        built(Cells(torch.zeros(1, 2, 2, 2), output), held, strategy)
    assert "\n" not in str(caught.value)
    if isinstance(strategy, CategorisationConfig):
        assert isinstance(built(Cells(torch.zeros(1, 2), "sigmoid"), held, strategy), ImageLabels)
