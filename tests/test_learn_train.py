"""Training learns, is deterministic, and the recipe of the bundled model runs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from frazil.errors import OptionError
from frazil.learn.checkpoint import load_model
from frazil.learn.config import DataConfig, OptimConfig
from frazil.learn.data import IGNORE, CropSampler, LabelledScene
from frazil.learn.engine import TorchEngine
from frazil.learn.evaluate import evaluate, fit_temperature, scene_logits
from frazil.learn.models import create_model
from frazil.learn.strategies.supervised import Supervised
from frazil.learn.train import learning_rate, seed_everything, train_loop

ROOT = Path(__file__).resolve().parents[1]


def toy_scene(seed: int) -> LabelledScene:
    """Two classes told apart by the second channel, in blocks of 16 pixels; a strip without labels."""
    rng = np.random.default_rng(seed)
    label = np.kron(rng.integers(0, 2, (8, 8)), np.ones((16, 16))).astype(np.uint8)
    image = rng.random((3, 128, 128)).astype(np.float16)
    image[1] = 0.3 * image[1] + 0.5 * label
    label[:, :10] = IGNORE
    return LabelledScene(f"toy-{seed}", image, label, np.zeros_like(image))


CROPS = DataConfig(crop=64, coarsen=0.0)
OPTIM = OptimConfig(steps=40, batch=2, lr=5e-3, warmup=5)


def train_toy(seed: int) -> torch.nn.Module:
    seed_everything(seed)
    network = create_model("unet", n_channels=3, n_classes=2, settings={"widths": (8, 12), "patch": 1})
    sampler = CropSampler([toy_scene(1), toy_scene(2)], CROPS, seed)
    return train_loop(network, Supervised(), lambda step: sampler.batch(step, 2), OPTIM)


def test_learns_the_toy_on_a_scene_it_has_not_seen() -> None:
    network = train_toy(0)
    result = evaluate(TorchEngine(network), [toy_scene(9)], 2)
    assert np.trace(result.counts) / result.counts.sum() > 0.95
    assert result.counts.sum() == 128 * 118


def test_same_seed_same_weights_other_seed_other_weights() -> None:
    one, two, three = (train_toy(s).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not all(torch.equal(one[k], three[k]) for k in one)


def test_batches_depend_on_seed_and_step_alone() -> None:
    sampler = CropSampler([toy_scene(1)], CROPS, 3)
    sampler.batch(0, 4)
    a, b = sampler.batch(7, 4), CropSampler([toy_scene(1)], CROPS, 3).batch(7, 4)
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[1], b[1])
    assert not np.array_equal(a[0], sampler.batch(8, 4)[0])


def test_unlabelled_pixels_never_touch_the_loss() -> None:
    network = create_model("unet", n_channels=3, n_classes=2, settings={"widths": (4, 6), "patch": 1}).eval()
    image, label = torch.rand(1, 3, 32, 32), torch.randint(0, 2, (1, 32, 32))
    label[:, :, 16:] = IGNORE
    loss, _ = Supervised().step(network, (image, label), 0)
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


def test_scene_logits_do_not_depend_on_tiles() -> None:
    network = train_toy(0)
    engine = TorchEngine(network)
    a, b = (scene_logits(engine, toy_scene(5), tile=t) for t in (32, 512))
    np.testing.assert_allclose(a.astype(np.float32), b.astype(np.float32), atol=0.02)  # float16 storage


def test_scenes_must_not_be_shared_between_splits() -> None:
    with pytest.raises(OptionError, match="stands twice"):
        DataConfig(train_seeds=(1, 2), test_seeds=(2,))
    with pytest.raises(OptionError, match="unknown"):
        DataConfig(channels=("hh", "ndvi"))


def test_recipe_of_the_bundled_model_runs(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "recipes"))
    try:
        import ice_simulated
    finally:
        sys.path.pop(0)
    run = ice_simulated.tiny()
    card = ice_simulated.build(run, tmp_path / "tiny")
    assert card.scores["data"] == "1 held-out simulated scenes (seeds [3])"
    assert load_model(tmp_path / "tiny").card.id == "tiny-1"
    assert ice_simulated.baseline().data.train_seeds
