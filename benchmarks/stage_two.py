"""What propagating labels adds to an epoch of the second stage, against its training passes alone.

    python benchmarks/stage_two.py [--steps 8] [--precision float32] [--page docs/results/stage-two.md]

The loop itself is timed: one refresh of the pseudo-labels (descriptors of all patches, neighbours, graph, conjugate
gradients), and the steps that follow it. An epoch has as many steps as it takes to pass through the unlabelled patches.
Patches hold random numbers, which cost the same as real ones.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from frazil.conventions import BINARY
from frazil.learn.checkpoint import git_commit
from frazil.learn.config import LabelPropagationConfig, RunConfig, TeacherStudentConfig
from frazil.learn.data.learning_data import LearningData
from frazil.learn.data.patches import Patches, PatchSampler
from frazil.learn.models import create_model
from frazil.learn.strategies import make_strategy
from frazil.learn.train import seed_everything, train_loop
from frazil.recipes import find_recipe
from frazil.scene.scaling import CHANNELS

NAMES = ("hh", "hv", "incidence_angle")
LABELS = 60


def random_patches(n: int, size: int, seed: int) -> Patches:
    """Patches of random numbers."""
    rng = np.random.default_rng(seed)
    image = rng.random((n, len(NAMES), size, size), np.float32).astype(np.float16)
    return Patches(image, (np.arange(n) % 2).astype(np.uint8), np.full(n, "s"), np.arange(n), NAMES, BINARY, {})


def epoch(config: RunConfig, n: int, size: int, steps: int) -> tuple[float, float, float, int]:
    """Seconds of descriptors, of a whole refresh and of a step (median), and the steps of an epoch."""
    seed_everything(0)
    data = LearningData(
        train=PatchSampler(random_patches(LABELS, size, 1), seed=0),
        validation=None,
        test=None,
        channels=tuple(CHANNELS[name] for name in NAMES),
        scheme=BINARY,
        spacing_m=40.0,
        denoise="esa",
        unlabelled=random_patches(n, size, 2),
    )
    settings = {**config.model.settings, "patch": size}
    network = create_model(config.model.architecture, n_channels=len(NAMES), n_classes=2, settings=settings)
    network = network.to(memory_format=torch.channels_last)
    strategy = make_strategy(config, network, data, torch.device("cpu"))
    ticks: list[float] = []
    seen: dict[str, float] = {}

    def note(_step: int, logs: dict[str, float]) -> None:
        ticks.append(time.perf_counter())
        seen.update({k: v for k, v in logs.items() if k.endswith("_seconds")})

    train_loop(strategy, config.optim, log=note)
    each = statistics.median(np.diff(ticks[-steps:]))
    room = config.optim.batch - config.strategy.labelled  # type: ignore[union-attr]
    return seen["descriptor_seconds"], seen["refresh_seconds"], float(each), math.ceil(n / room)


def shortened(recipe: str, steps: int, **optim: Any) -> RunConfig:
    """A recipe with a first stage of one step and a second of a few."""
    config = find_recipe(f"few_labels:{recipe}")
    assert isinstance(config.strategy, LabelPropagationConfig | TeacherStudentConfig)
    strategy = replace(config.strategy, first_steps=1)
    return replace(config, strategy=strategy, optim=replace(config.optim, epochs=None, steps=steps + 2, **optim))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    lines = [
        "| recipe | training passes, s | descriptors, s | neighbours to solution, s | epoch | every 5th epoch |",
        "|---|---|---|---|---|---|",
    ]
    print(*lines, sep="\n")
    for recipe in ("lp", "tslp"):
        config = shortened(recipe, arguments.steps, precision=arguments.precision)
        described, refreshed, each, steps = epoch(config, arguments.patches, arguments.size, arguments.steps)
        passes = each * steps
        lines.append(
            f"| `few_labels:{recipe}` | {passes:.0f} | {described:.1f} | {refreshed - described:.1f} | "
            f"{1 + refreshed / passes:.2f} × | {1 + refreshed / passes / 5:.2f} × |"
        )
        print(lines[-1], flush=True)
    if arguments.page:
        arguments.page.write_text(
            "# What propagating labels adds to training\n\nAn epoch of the second stage with its refresh of the "
            f"pseudo-labels, as a multiple of its training passes alone: {arguments.patches} unlabelled patches of "
            f"{arguments.size} pixels, {LABELS} labels, the 13-layer network, batches of 100, {arguments.precision}. "
            "`strategy.refresh_epochs` sets how often labels are propagated; 1 is the default.\n\n"
            + "\n".join(lines)
            + "\n\n"
            f"{datetime.now(UTC):%d %B %Y}, commit {git_commit()}, {platform.machine()}, {os.cpu_count()} cores, "
            f"shared; torch {torch.__version__}. Command: `python benchmarks/stage_two.py --patches "
            f"{arguments.patches} --steps {arguments.steps} --precision {arguments.precision} --page "
            f"{arguments.page}`.\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
