"""Training learns, is deterministic, and the recipe of the bundled model runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from frazil.conventions import BINARY, FIVE_CLASSES
from frazil.errors import LabelError, ModelError, OptionError
from frazil.learn.checkpoint import load_model
from frazil.learn.config import OptimConfig, SimulatedData
from frazil.learn.data.class_scores import fit_temperature
from frazil.learn.data.load import Batches
from frazil.learn.data.scenes import IGNORE, CropSampler, HeldOutScenes, LabelledScene, scene_logits
from frazil.learn.infer.torch_engine import TorchEngine
from frazil.learn.models import create_model
from frazil.learn.run import train
from frazil.learn.strategies.supervised import Supervised
from frazil.learn.train import learning_rate, make_optimiser, seed_everything, train_loop
from frazil.recipes import ice_simulated


def toy_scene(seed: int) -> LabelledScene:
    """Two classes told apart by the second channel, in blocks of 16 pixels; a strip without labels."""
    rng = np.random.default_rng(seed)
    label = np.kron(rng.integers(0, 2, (8, 8)), np.ones((16, 16))).astype(np.uint8)
    image = rng.random((3, 128, 128)).astype(np.float16)
    image[1] = 0.3 * image[1] + 0.5 * label
    label[:, :10] = IGNORE
    return LabelledScene(f"toy-{seed}", image, label, np.zeros_like(image))


OPTIM = OptimConfig(steps=40, batch=2, lr=5e-3, warmup=5)


def toy_sampler(seed: int, *scenes: int) -> CropSampler:
    return CropSampler([toy_scene(s) for s in scenes], ("hh", "hv", "incidence_angle"), crop=64, coarse=0.0, seed=seed)


def train_toy(seed: int, optim: OptimConfig = OPTIM, **options: Any) -> torch.nn.Module:
    seed_everything(seed)
    network = create_model("unet", n_channels=3, n_classes=2, settings={"widths": (8, 12), "patch": 1})
    batches = Batches(toy_sampler(seed, 1, 2), 2, torch.device("cpu"))
    train_loop(Supervised(network, batches), optim, **options)
    assert not network.training
    return network


def test_learns_the_toy_on_a_scene_it_has_not_seen() -> None:
    network = train_toy(0)
    result = HeldOutScenes([toy_scene(9)], BINARY).score(network)
    assert np.trace(result.counts) / result.counts.sum() > 0.95
    assert result.counts.sum() == 128 * 118


def test_same_seed_same_weights_other_seed_other_weights() -> None:
    one, two, three = (train_toy(s).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not all(torch.equal(one[k], three[k]) for k in one)


def test_batches_depend_on_seed_and_step_alone() -> None:
    sampler = toy_sampler(3, 1)
    sampler.batch(0, 4)
    a, b = sampler.batch(7, 4), toy_sampler(3, 1).batch(7, 4)
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[1], b[1])
    assert not np.array_equal(a[0], sampler.batch(8, 4)[0])


def test_unlabelled_pixels_never_touch_the_loss() -> None:
    network = create_model("unet", n_channels=3, n_classes=2, settings={"widths": (4, 6), "patch": 1}).eval()
    image, label = torch.rand(1, 3, 32, 32), torch.randint(0, 2, (1, 32, 32))
    label[:, :, 16:] = IGNORE
    loss, _ = Supervised(network, lambda step: (image, label)).step(0)
    logits = network(image).permute(0, 2, 3, 1)[:, :, :16].reshape(-1, 2)
    expected = torch.nn.functional.cross_entropy(logits, label[:, :, :16].reshape(-1))
    torch.testing.assert_close(loss, expected)


def test_learning_rate_rises_and_falls() -> None:
    config = OptimConfig(steps=100, warmup=10, lr=1.0)
    rates = [learning_rate(config, s) for s in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] < 0.01
    assert np.all(np.diff(rates[10:]) < 0)


def test_temperature_is_recovered() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (3, 60_000)).astype(np.float32)
    p = np.exp(logits) / np.exp(logits).sum(axis=0)
    truth = (rng.random(60_000) > p.cumsum(axis=0)).sum(axis=0)
    assert fit_temperature([2.5 * logits], [truth]) == pytest.approx(2.5, rel=0.05)


def test_temperature_of_ice_against_water_is_that_of_a_logistic_regression() -> None:
    rng = np.random.default_rng(1)
    margin = rng.normal(0.5, 3, 50_000)
    ice = rng.random(50_000) < 1 / (1 + np.exp(-margin / 1.7))
    slope = LogisticRegression(fit_intercept=False, C=1e9).fit(margin[:, None], ice).coef_[0, 0]
    logits = np.stack([np.zeros(50_000), margin])
    assert fit_temperature([logits], [ice], ice_or_water=True) == pytest.approx(1 / slope, rel=1e-3)


def test_networks_unsure_of_the_kind_of_ice_may_be_sure_of_ice() -> None:
    rng = np.random.default_rng(2)
    n = 40_000
    ice = rng.random(n) < 0.6
    kind = np.where(ice, rng.integers(1, 5, n), 0)  # which kind, the logits below know nothing of
    logits = rng.normal(0, 3, (5, n))
    logits[0] += np.where(ice, -4.0, 4.0)
    each = (logits[0] < logits[1:].max(axis=0)) != ice
    flipped = rng.random(n) < 0.1  # errors of ice against water, so that there is something to be unsure of
    logits[0] = np.where(flipped & ~each, -logits[0], logits[0])

    def nll(t: float) -> float:  # float64, as plainly as can be
        z = np.exp((logits - logits.max(axis=0)) / t)
        water = z[0] / z.sum(axis=0)
        return -float(np.mean(np.log(np.where(ice, 1 - water, water).clip(1e-12))))

    grid = np.exp(np.linspace(-2, 2, 2001))
    best = grid[np.argmin([nll(t) for t in grid])]
    told = fit_temperature([logits], [kind], ice_or_water=True)
    assert told == pytest.approx(best, rel=5e-3)
    assert fit_temperature([logits], [kind]) > 1.3 * told


def test_a_run_on_ice_is_calibrated_on_ice_against_water() -> None:
    torch.manual_seed(0)
    network = create_model("unet", n_channels=3, n_classes=5, settings={"widths": (4, 6), "patch": 1}).eval()
    held_out = HeldOutScenes([toy_scene(5)], FIVE_CLASSES)
    _, logits, label = next(iter(held_out.outputs(network)))
    assert held_out.temperature(network) == fit_temperature([logits], [label], ice_or_water=True)
    assert held_out.temperature(network) != pytest.approx(fit_temperature([logits], [label]), rel=0.01)


def test_scene_logits_do_not_depend_on_tiles() -> None:
    network = train_toy(0)
    engine = TorchEngine(network)
    a, b = (scene_logits(engine, toy_scene(5), tile=t) for t in (32, 512))
    np.testing.assert_allclose(a.astype(np.float32), b.astype(np.float32), atol=0.02)  # float16 storage


def test_scenes_must_not_be_shared_between_splits() -> None:
    with pytest.raises(OptionError, match="stands twice"):
        SimulatedData(train_seeds=(1, 2), test_seeds=(2,))
    with pytest.raises(OptionError, match="unknown"):
        SimulatedData(channels=("hh", "ndvi"))


def test_recipe_of_the_bundled_model_runs(tmp_path: Path) -> None:
    model = train(ice_simulated.tiny(), tmp_path / "tiny")
    assert model.card.scores["data"] == "1 test scene, split by scene"
    assert load_model(tmp_path / "tiny" / "model").card.id.startswith("tiny-")
    data = ice_simulated.baseline().data
    assert isinstance(data, SimulatedData)
    assert data.train_seeds


def test_crops_follow_sparse_labels() -> None:
    scene = toy_scene(1)
    scene.label[:] = IGNORE
    scene.label[100:104, 30:34] = 1
    sampler = CropSampler([scene], ("hh", "hv", "incidence_angle"), crop=32, coarse=0.0, seed=0)
    _, labels = sampler.batch(0, 50)
    assert ((labels != IGNORE).sum(axis=(1, 2)) > 0).all()
    assert np.unique((labels != IGNORE).argmax(axis=1).argmax(axis=1)).size > 5  # at many places of the crop
    with pytest.raises(LabelError, match="fewer than the crops of 200"):
        CropSampler([scene], ("hh", "hv", "incidence_angle"), crop=200, coarse=0.0, seed=0)


def test_schedules() -> None:
    steps = OptimConfig(steps=100, warmup=0, lr=1.0, schedule="steps", milestones=(0.5, 0.8))
    assert [round(learning_rate(steps, s), 6) for s in (0, 49, 50, 79, 80)] == [1.0, 1.0, 0.1, 0.1, 0.01]
    constant = OptimConfig(steps=100, warmup=10, lr=1.0, schedule="constant")
    assert learning_rate(constant, 99) == 1.0


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_a_killed_run_goes_on_bit_by_bit(kind: Any, tmp_path: Path) -> None:
    optim = OptimConfig(steps=12, batch=2, lr=1e-3, warmup=2, optimiser=kind)
    whole = train_toy(0, optim).state_dict()

    class Killed(Exception):  # noqa: N818 - stands for SIGKILL
        pass

    def kill(step: int, logs: dict[str, float]) -> None:
        if step == 8:
            raise Killed

    seen: list[int] = []
    options = {"state": tmp_path / "state.safetensors", "validate": lambda n: {"macro_f1": 0.0}, "validate_every": 5}
    with pytest.raises(Killed):
        train_toy(0, optim, log=kill, **options)
    torch.manual_seed(99)
    again = train_toy(0, optim, resumed=lambda p: seen.append(p.step), **options).state_dict()
    assert seen == [5]
    assert all(torch.equal(whole[k], again[k]) for k in whole)


def test_best_look_is_kept_and_patience_ends_the_run() -> None:
    scores, weights = iter([0.1, 0.5, 0.4, 0.3, 0.9]), []

    def validate(network: torch.nn.Module) -> dict[str, float]:
        weights.append({k: v.clone() for k, v in network.state_dict().items()})
        return {"macro_f1": next(scores)}

    optim = OptimConfig(steps=50, batch=2, warmup=0, patience=2, keep="best")
    network = train_toy(0, optim, validate=validate, validate_every=3)
    assert len(weights) == 4
    assert all(torch.equal(v, weights[1][k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize(("score", "looks"), [("accuracy", 3), ("macro_f1", 4)])
@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_run_ends_where_it_reaches_its_target_and_keeps_that_network(score: Any, looks: int, keep: Any) -> None:
    found = iter([(0.1, 0.1), (0.5, 0.7), (0.8, 0.6), (0.7, 0.8), (0.9, 0.9)])
    weights, noted = [], []

    def validate(network: torch.nn.Module) -> dict[str, float]:
        weights.append({k: v.clone() for k, v in network.state_dict().items()})
        return dict(zip(("accuracy", "macro_f1"), next(found), strict=True))

    optim = OptimConfig(steps=50, batch=2, warmup=0, target=0.8, target_score=score, keep=keep)
    network = train_toy(0, optim, validate=validate, validate_every=3, log=lambda step, _: noted.append(step))
    assert len(weights) == looks
    assert max(noted) == 3 * looks - 1
    assert all(torch.equal(v, weights[-1][k]) for k, v in network.state_dict().items())


def test_a_network_may_learn_at_a_rate_of_its_own() -> None:
    slow: Any = torch.nn.Linear(2, 2)
    fast = torch.nn.Linear(2, 2)
    slow.lr_scale = 0.125
    assert [g["scale"] for g in make_optimiser({"slow": slow, "fast": fast}, OPTIM).param_groups] == [0.125, 1.0]


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    state.write_bytes(b"\x10" * 100)
    with pytest.raises(ModelError, match="damaged or of another run"):
        train_toy(0, OPTIM, state=state)


@pytest.mark.parametrize("spoilt", ["loss", "gradient"])
def test_a_loss_that_is_no_number_stops_at_once_and_keeps_the_weights_before_it(tmp_path: Path, spoilt: str) -> None:
    from frazil.errors import TrainingError
    from frazil.learn.state import load_state

    seen: list[dict[str, torch.Tensor]] = []

    class Spoilt(Supervised):
        def step(self, step: int) -> tuple[torch.Tensor, dict[str, float]]:
            seen.append({k: v.clone() for k, v in self.networks["network"].named_parameters()})
            loss, logs = super().step(step)
            if step == 7:
                weight = next(self.networks["network"].parameters())
                loss = loss * torch.nan if spoilt == "loss" else loss + (weight[0] * 0).sqrt().sum()  # d√x at 0
            return loss, logs

    seed_everything(0)
    network = create_model("unet", n_channels=3, n_classes=2, settings={"widths": (8, 12), "patch": 1})
    strategy = Spoilt(network, Batches(toy_sampler(0, 1, 2), 2, torch.device("cpu")))
    with pytest.raises(
        TrainingError, match=r"not finite at step 8 of 40; .*kept in .*Try a lower optim.lr \(now 0.005\)"
    ):
        train_loop(strategy, OPTIM, state=tmp_path / "state.safetensors")
    assert len(seen) == 8
    fresh = create_model("unet", n_channels=3, n_classes=2, settings={"widths": (8, 12), "patch": 1})
    progress, _ = load_state(
        tmp_path / "state.safetensors", {"network": fresh}, make_optimiser({"network": fresh}, OPTIM)
    )
    assert progress.step == 7
    assert all(torch.equal(v, dict(fresh.named_parameters())[k]) for k, v in seen[-1].items())
    assert all(torch.isfinite(v).all() for v in fresh.state_dict().values())
