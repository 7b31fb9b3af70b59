"""A small problem that unlabelled patches decide.

In HH a faint spot is bright in one class and dark in the other; all else is noise, much stronger than the spot. A few
labels cannot tell the spot from the noise around it, many patches without labels can: they fall into two clusters.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from frazil.conventions import BINARY
from frazil.learn.config import LabelsConfig, ModelConfig, OptimConfig, PatchData, RunConfig
from frazil.learn.data.learning_data import LearningData
from frazil.learn.data.patches import Patches, PatchSampler
from frazil.learn.models import create_model
from frazil.learn.strategies import make_plan, make_strategy
from frazil.learn.train import Strategy, seed_everything, train_loop
from frazil.scene.scaling import CHANNELS

NAMES = ("hh", "hv")
SIZE = 8
CPU = torch.device("cpu")


def toy_patches(n: int, seed: int, spot: float = 0.043) -> Patches:
    """Patches of two classes."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    shape = np.exp(-(x**2 + y**2) / 4)
    image = rng.normal(0.5, 0.12, (n, 2, SIZE, SIZE))
    image[:, 0] += (2 * label - 1)[:, None, None] * spot * (shape - shape.mean()) / shape.std()
    image = np.clip(image, 0, 1).astype(np.float16)
    scene = np.array([f"scene-{i // 2 % 4}" for i in range(n)])
    return Patches(image, label.astype(np.uint8), scene, np.arange(n), NAMES, BINARY, {"incidence_range": (20.0, 45.0)})


def toy_data(seed: int = 0, labels: int = 4, unlabelled: int = 240, spot: float = 0.043) -> LearningData:
    """A few misleading labels, many patches without, and fair ones that judge."""
    return LearningData(
        train=PatchSampler(toy_patches(labels, 100 + seed, spot), seed=seed),
        validation=None,
        test=toy_patches(400, 200 + seed, spot),
        channels=tuple(CHANNELS[name] for name in NAMES),
        scheme=BINARY,
        spacing_m=40.0,
        denoise="esa",
        unlabelled=toy_patches(unlabelled, 300 + seed, spot),
    )


def toy_run(strategy: Any, *, seed: int = 0, **optim: Any) -> RunConfig:
    """A run of a tiny network."""
    return RunConfig(
        name="toy",
        seed=seed,
        strategy=strategy,
        labels=LabelsConfig(),
        data=PatchData(augment=("rotate",)),
        model=ModelConfig(architecture="adhoc", settings={"widths": [8], "hidden": [], "dropout": 0.0, "patch": SIZE}),
        optim=OptimConfig(
            **{
                "optimiser": "adam",
                "epochs": 10,
                "batch": 24,
                "lr": 4e-3,
                "warmup": 0,
                "clip": 0.0,
                "weight_decay": 0.0,
                **optim,
            }
        ),
    )


def toy_strategy(config: RunConfig, data: LearningData | None = None) -> tuple[Strategy, RunConfig, LearningData]:
    """Everything that a loop needs."""
    seed_everything(config.seed)
    data = data or toy_data(config.seed)
    network = create_model(config.model.architecture, n_channels=2, n_classes=2, settings=config.model.settings)
    config = replace(config, optim=replace(config.optim, steps=make_plan(config, data).steps, epochs=None))
    return make_strategy(config, network, data, CPU), config, data


def toy_train(config: RunConfig, data: LearningData | None = None, **options: Any) -> Strategy:
    """A trained strategy."""
    strategy, config, _ = toy_strategy(config, data)
    train_loop(strategy, config.optim, **options)
    return strategy


def accuracy(strategy: Strategy, data: LearningData) -> float:
    """On patches where HV says nothing."""
    assert isinstance(data.test, Patches)
    return float((data.test.logits(strategy.result).argmax(axis=0) == data.test.label).mean())
