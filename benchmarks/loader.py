"""What reading and augmenting batches costs: the training loop against the same network fed from memory.

    python benchmarks/loader.py [--patches SET.zarr] [--rounds 5] [--page docs/results/loader.md]

Both run the same number of steps of the same network in turns; the second one gets batches that were made beforehand.
Without a patch set, patches of random numbers are used, which cost the same.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from frazil.conventions import BINARY
from frazil.learn.checkpoint import git_commit
from frazil.learn.config import PAPER_AUGMENTATIONS, PHYSICAL_AUGMENTATIONS, OptimConfig
from frazil.learn.data.load import Batches
from frazil.learn.data.patches import Patches, PatchSampler, read_patches
from frazil.learn.models import create_model
from frazil.learn.strategies.supervised import Supervised
from frazil.learn.train import seed_everything, train_loop

CHANNELS = ("hh", "hv", "incidence_angle")
CASES = (("adhoc", 50, 40), ("modified_vgg16", 20, 6))


def random_patches(n: int = 4000, size: int = 32) -> Patches:
    """Patches of random numbers."""
    rng = np.random.default_rng(0)
    image = rng.random((n, len(CHANNELS), size, size), np.float32).astype(np.float16)
    return Patches(image, (np.arange(n) % 2).astype(np.uint8), np.full(n, "s"), np.arange(n), CHANNELS, BINARY, {})


def seconds(architecture: str, batches, batch: int, steps: int) -> float:
    """Of a training loop."""
    seed_everything(0)
    network = create_model(architecture, n_channels=3, n_classes=2, settings={"patch": 32})
    network = network.to(memory_format=torch.channels_last)
    optim = OptimConfig(optimiser="adam", steps=steps, batch=batch, lr=1e-4, warmup=0)
    started = time.perf_counter()
    train_loop(Supervised(network, batches), optim)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", help="patch set; its centres of 32 pixels are used")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    patches = read_patches((arguments.patches,), channels=CHANNELS)[0].centre(32) if arguments.patches else None
    patches = patches or random_patches()
    lines = [
        "| network | augmentation | from memory, ms a step | training loop, ms a step | overhead |",
        "|---|---|---|---|---|",
    ]
    for architecture, batch, steps in CASES:
        for title, names in (("none", ()), ("of the paper", PAPER_AUGMENTATIONS), ("physical", PHYSICAL_AUGMENTATIONS)):
            sampler = PatchSampler(patches, seed=0, augment=names)
            ready = [
                (
                    torch.from_numpy(x).contiguous(memory_format=torch.channels_last),
                    torch.from_numpy(y.astype(np.int64)),
                )
                for x, y in (sampler.batch(step, batch) for step in range(steps))
            ]
            memory, loop = [], []
            for _ in range(arguments.rounds):
                memory.append(seconds(architecture, lambda step, r=ready: r[step], batch, steps))
                loop.append(seconds(architecture, Batches(sampler, batch, torch.device("cpu")), batch, steps))
            ratio = statistics.median(b / a for a, b in zip(memory, loop, strict=True))
            a, b = (1000 * statistics.median(v) / steps for v in (memory, loop))
            lines.append(f"| {architecture} | {title} | {a:.1f} | {b:.1f} | {100 * (ratio - 1):+.1f} % |")
            print(lines[-1], flush=True)
    table = "\n".join(lines)
    if arguments.page:
        arguments.page.write_text(
            "# What the loader costs\n\nThe same network and number of steps, in turns: batches read and "
            "augmented by the "
            f"training loop, against batches made beforehand. Median of {arguments.rounds} rounds; the overhead is the "
            f"median of the ratios of a round. Batches of 50 (ad hoc) and 20 (VGG) patches of 3 × 32 × "
            f"32.\n\n{table}\n\n"
            f"{datetime.now(UTC):%d %B %Y}, commit {git_commit()}, {platform.machine()}, {os.cpu_count()} "
            f"cores, shared; "
            f"torch {torch.__version__}. Command: `python benchmarks/loader.py --page {arguments.page}`.\n",
            encoding="utf-8",
        )
    print(table)


if __name__ == "__main__":
    main()
