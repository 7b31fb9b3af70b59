"""The bundled default model: a small U-Net trained on simulated Extra Wide scenes, and on nothing else.

    python recipes/ice_simulated.py --output ice-simulated

The frozen list of seeds is the split: a scene is in one of training, validation (temperature) and test (scores).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from frazil.learn.checkpoint import ModelCard, git_commit, library_versions, save_model
from frazil.learn.config import DataConfig, ModelConfig, OptimConfig, RunConfig
from frazil.learn.data import CropSampler, simulate_labelled
from frazil.learn.engine import TorchEngine
from frazil.learn.evaluate import calibrate, evaluate
from frazil.learn.models import create_model
from frazil.learn.strategies.supervised import Supervised
from frazil.learn.train import seed_everything, train_loop
from frazil.scene.scaling import CHANNELS

STATEMENT = (
    "Trained and scored on simulated scenes only; it has seen no real labels. Its accuracy on real ice is not known. "
    "Use its maps to try out frazil, not to navigate."
)


def baseline() -> RunConfig:
    """The run behind the bundled model."""
    return RunConfig(
        name="ice-simulated",
        seed=1,
        model=ModelConfig(architecture="unet", settings={"widths": (24, 48, 96, 128), "patch": 2}),
        data=DataConfig(
            train_seeds=tuple(range(1000, 1040)),
            validation_seeds=tuple(range(2000, 2005)),
            test_seeds=tuple(range(3000, 3010)),
        ),
        optim=OptimConfig(steps=4500, batch=8, lr=2e-3, warmup=100, precision="bfloat16"),
    )


def tiny() -> RunConfig:
    """Two steps on one scene: shows that the recipe runs, nothing else."""
    run = baseline()
    return replace(
        run,
        name="tiny",
        model=ModelConfig(architecture="unet", settings={"widths": (4, 8)}),
        data=replace(run.data, train_seeds=(1,), validation_seeds=(2,), test_seeds=(3,), crop=64, spacing_m=960.0),
        optim=replace(run.optim, steps=2, batch=2, precision="float32"),
    )


def build(run: RunConfig, output: Path, *, overwrite: bool = False) -> ModelCard:
    """Simulate, train, calibrate, score, and write the model folder."""
    console = Console(stderr=True)
    started = time.perf_counter()
    seed_everything(run.seed)
    data = run.data
    n_classes = 5
    console.log(f"simulating {len(data.train_seeds)} training scenes")
    train = simulate_labelled(data.train_seeds, data, land_every=data.land_every)
    sampler = CropSampler(train, data, run.seed)
    frequency = sampler.class_frequency(n_classes)
    weight = np.maximum(frequency, 1e-3) ** -run.optim.class_balance
    weight /= (weight * frequency).sum()
    console.log(f"class shares {frequency.round(3).tolist()}, weights {weight.round(2).tolist()}")
    network = create_model(
        run.model.architecture, n_channels=len(data.channels), n_classes=n_classes, settings=run.model.settings
    ).to(memory_format=torch.channels_last)
    strategy = Supervised(torch.tensor(weight, dtype=torch.float32), run.optim.label_smoothing)
    recent: list[dict[str, float]] = []

    def log(step: int, logs: dict[str, float]) -> None:
        recent.append(logs)
        if (step + 1) % 50 == 0:
            mean = {k: round(float(np.mean([r[k] for r in recent])), 4) for k in logs}
            console.log(f"step {step + 1}/{run.optim.steps} {mean}")
            recent.clear()

    train_loop(network, strategy, lambda step: sampler.batch(step, run.optim.batch), run.optim, log=log)
    engine = TorchEngine(network)
    temperature = calibrate(engine, simulate_labelled(data.validation_seeds, data))
    console.log(f"temperature {temperature:.3f}")
    test = simulate_labelled(data.test_seeds, data)
    uncalibrated = evaluate(engine, test, n_classes)
    calibrated = evaluate(engine, test, n_classes, temperature)
    card = ModelCard(
        id=f"{run.name}-1",
        architecture=run.model.architecture,
        settings={k: list(v) if isinstance(v, tuple) else v for k, v in run.model.settings.items()},
        class_scheme=data.class_scheme,
        channels=tuple(CHANNELS[c] for c in data.channels),
        spacing_m=data.spacing_m,
        denoise="esa",
        incidence_range=(18.8, 46.5),  # of the template: every simulated scene spans all of it
        temperature=round(temperature, 4),
        statement=STATEMENT,
        training={
            "recipe": "recipes/ice_simulated.py:baseline",
            "config": run.to_json(),
            "commit": git_commit(),
            "versions": library_versions(),
            "seconds": round(time.perf_counter() - started),
        },
    )
    result = calibrated.to_json(card.scheme.names)
    result["data"] = f"{len(data.test_seeds)} held-out simulated scenes (seeds {list(data.test_seeds)})"
    result["ece_before_temperature"] = round(uncalibrated.reliability.ece, 4)
    card = replace(card, scores=result)
    save_model(network, card, output, overwrite=overwrite)
    console.log(f"{card.id}: accuracy {result['accuracy']}, binary {result['binary']['accuracy']}, ECE {result['ece']}")
    return card


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="model folder to write")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--steps", type=int, help="other number of optimiser steps")
    parser.add_argument("--scenes", type=int, help="only so many training scenes")
    arguments = parser.parse_args()
    chosen = baseline()
    if arguments.steps:
        chosen = replace(chosen, optim=replace(chosen.optim, steps=arguments.steps))
    if arguments.scenes:
        chosen = replace(chosen, data=replace(chosen.data, train_seeds=chosen.data.train_seeds[: arguments.scenes]))
    build(chosen, arguments.output, overwrite=arguments.overwrite)
