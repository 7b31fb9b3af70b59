"""Learning from a trained model: the loss against float64, what is learnt from, and from whom nothing can be learnt."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from frazil.errors import OptionError
from frazil.learn.checkpoint import load_model, save_model
from frazil.learn.config import DistillationConfig
from frazil.learn.data.scenes import IGNORE
from frazil.learn.models.ensemble import ENSEMBLE, Ensemble
from frazil.learn.run import train
from frazil.learn.strategies.distillation import Distillation, softened_divergence
from frazil.recipes import find_recipe
from tests.learn.test_run import tiny_run, toy_set

pytestmark = pytest.mark.usefixtures("one_thread")


def logits(seed: int, shape: tuple[int, ...] = (6, 4)) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 5, 7)])
def test_divergence_is_that_of_float64(temperature: float, shape: tuple[int, ...]) -> None:
    mine, theirs = logits(0, shape), logits(1, shape)

    def probabilities(x: Tensor) -> np.ndarray:
        e = np.exp(x.double().numpy() / temperature)
        return np.asarray(e / e.sum(1, keepdims=True))

    p, q = probabilities(theirs), probabilities(mine)
    expected = temperature**2 * (p * np.log(p / q)).sum(1).mean()
    assert float(softened_divergence(mine, theirs, temperature)) == pytest.approx(expected, rel=1e-4)
    assert float(softened_divergence(theirs, theirs, temperature)) == pytest.approx(0, abs=1e-5)


def test_the_gradient_at_high_temperatures_is_that_of_matched_logits() -> None:
    """Hinton et al., equation 4: (z − v) / C of centred logits, here times T² / T²."""
    mine, theirs = logits(0).double().requires_grad_(), logits(1).double()
    softened_divergence(mine, theirs, 1e4).backward()  # type: ignore[no-untyped-call]
    assert mine.grad is not None
    apart = mine.detach() - theirs
    expected = (apart - apart.mean(1, keepdim=True)) / mine.shape[1] / mine.shape[0]
    torch.testing.assert_close(mine.grad, expected, rtol=1e-3, atol=1e-6)


def strategy(settings: DistillationConfig, label: Tensor) -> tuple[Distillation, nn.Module]:
    torch.manual_seed(0)
    student, teacher = nn.Linear(5, 3), nn.Linear(5, 3).requires_grad_(False)
    image = torch.rand(8, 5)
    return Distillation(student, lambda _: (image, label), teacher, torch.ones(3), settings), teacher


def test_labels_do_not_count_where_all_weight_is_the_teachers() -> None:
    label = torch.arange(8) % 3
    whole, teacher = strategy(DistillationConfig(weight=1.0), label)
    blind, _ = strategy(DistillationConfig(weight=1.0), torch.full((8,), IGNORE))
    one, other = whole.step(0), blind.step(0)
    assert one[0].item() == other[0].item()
    assert other[1]["loss_labels"] == 0
    one[0].backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in teacher.parameters())
    none, _ = strategy(DistillationConfig(weight=0.0), label)
    image, _ = none.batches(0)
    expected = nn.functional.cross_entropy(none.result(image), label).item()
    assert none.step(0)[0].item() == pytest.approx(expected)


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_set(tmp_path_factory.mktemp("set") / "toy.zarr")


def test_an_ensemble_becomes_one_network_that_agrees_with_it(patches: Path, tmp_path: Path) -> None:
    members = [train(replace(tiny_run(patches), seed=seed), tmp_path / str(seed)) for seed in (1, 2)]
    card = members[0].card
    inner = {"architecture": card.architecture, "settings": card.settings, "members": 2}
    both = replace(card, id="both", architecture=ENSEMBLE, settings=inner, temperature=1.5)
    save_model(Ensemble([m.network for m in members]), both, tmp_path / "both")
    base = tiny_run(patches)
    config = replace(
        base,
        strategy=DistillationConfig(teacher=str(tmp_path / "both"), weight=1.0, temperature=2.0),
        optim=replace(base.optim, steps=120, epochs=None),
    )
    made = train(config, tmp_path / "one")
    teacher = load_model(tmp_path / "both").network.eval()
    assert type(made.network) is type(members[0].network)
    side = int(made.network.patch)  # type: ignore[arg-type]
    random = torch.rand(64, len(card.channels), side, side)
    with torch.no_grad():
        agree = float((made.network.eval()(random).argmax(1) == teacher(random).argmax(1)).float().mean())
    assert agree > 0.75


def test_a_teacher_of_something_else_is_refused_in_one_line(patches: Path, tmp_path: Path) -> None:
    base = tiny_run(patches)
    model = train(base, tmp_path / "teacher")
    for name, card, words in (
        ("none", None, "needs a teacher"),
        ("channels", replace(model.card, channels=model.card.channels[::-1]), "was trained on the channels"),
    ):
        folder = ""
        if card is not None:
            folder = str(tmp_path / name)
            save_model(model.network, replace(card, id=name), folder)
        config = replace(base, strategy=DistillationConfig(teacher=folder))
        with pytest.raises(OptionError, match=words) as caught:
            train(config, tmp_path / f"run-{name}")
        assert "\n" not in str(caught.value)
    for wrong in ({"weight": 1.5}, {"temperature": 0.0}, {"class_balance": -1.0}):
        with pytest.raises(OptionError):
            DistillationConfig(**wrong)  # type: ignore[arg-type]
    assert find_recipe("patches:distilled").strategy.name == "distillation"
