"""Time metocean segmentation, side by side in one run: a wide scene by U-Net, dense against tile by tile, masking.

    python benchmarks/metocean.py [--rounds 3] [--threads 2] [--page docs/results/metocean-speed.md]

Arithmetic after radiometry, on random images and weights. Variants of a comparison run in turns (A B A B …); the
median counts, and the time that the processor worked stands beside the time on the wall, since other work may run.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from frazil.files import whole_output
from frazil.learn.models import create_model
from frazil.learn.models.unet import fold_batch_norm
from frazil.learn.weak import cam_scores, mask_scores, part_scores
from frazil.learn.weak.grid import as_tensor, scores_of
from frazil.learn.weak.partial import agreement
from frazil.scene.tiles import TileGrid

WIDE = (1670, 2500)  # 16700 × 25000 pixels of 10 m at 100 m


def timed(variants: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Median seconds on the wall and of the processor, by name."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, work in variants.items():
            wall, worked = time.perf_counter(), time.process_time()
            work()
            seen[name].append((time.perf_counter() - wall, time.process_time() - worked))
    return {name: tuple(statistics.median(v) for v in zip(*times, strict=True)) for name, times in seen.items()}  # type: ignore[misc]


def wide_scene(network: torch.nn.Module, image: np.ndarray, dtype: torch.dtype, core: int, margin: int) -> None:
    """Every tile through the network; the central parts are what `frazil map` keeps."""
    grid = TileGrid(shape=image.shape[1:], core=(core, core), margin=margin, multiple=network.stride)
    with torch.inference_mode():
        for _, reach in grid:
            part = torch.from_numpy(np.ascontiguousarray(image[(slice(None), *reach.slices)]))[None]
            torch.sigmoid(network(part.to(dtype, memory_format=torch.channels_last)).float())


def unet(rounds: int) -> list[str]:
    image = np.random.default_rng(0).random((1, *WIDE), np.float32)
    rows = ["| network | tiles | arithmetic | s on the wall | s of the processors |", "|---|---|---|---|---|"]
    variants: dict[str, Callable[[], object]] = {}
    for label, settings in (
        ("widths 16 32 64 128 256 (recipe)", {"widths": (16, 32, 64, 128, 256)}),
        ("widths 16 32 64 96, patch 2", {"widths": (16, 32, 64, 96), "patch": 2, "output": 1}),
    ):
        for kind, tilings in ((torch.float32, ("seamless 1024", "256 by half")), (torch.bfloat16, ("seamless 1024",))):
            network = create_model("metocean_unet", n_channels=1, n_classes=10, settings=settings).eval()
            margin = int(network.margin)
            ready = fold_batch_norm(network).to(kind, memory_format=torch.channels_last)
            for tiles in tilings:
                core, rim = (1024, margin) if tiles.startswith("seamless") else (128, 64)
                name = f"| {label} | {tiles} | {str(kind).removeprefix('torch.')} |"
                variants[name] = lambda n=ready, k=kind, c=core, m=rim: wide_scene(n, image, k, c, m)
    for name, (wall, worked) in timed(variants, rounds).items():
        rows.append(f"{name} {wall:.1f} | {worked:.1f} |")
    return rows


def weak(rounds: int) -> list[str]:
    rng = np.random.default_rng(1)
    network = create_model("inception_v3", n_channels=1, n_classes=10, settings={"width": 0.25}).eval()
    network = network.to(memory_format=torch.channels_last)
    large, small = rng.random((1, 1024, 1024), np.float32), rng.random((1, 400, 400), np.float32)
    rows = ["| what | image | s on the wall | s of the processors | times as fast |", "|---|---|---|---|---|"]
    for tile in (75, 129):
        made = timed(
            {
                f"PART {tile}, tile by tile, stride {tile // 3}": lambda t=tile: part_scores(network, large, tile=t),
                f"PART {tile}, tile by tile, stride 32": lambda t=tile: part_scores(network, large, tile=t, stride=32),
                f"PART {tile}, dense, stride 32": lambda t=tile: part_scores(network, large, tile=t, dense=True),
            },
            rounds,
        )
        fast = list(made.values())[-1][1]
        rows += [f"| {k} | 1024² | {a:.2f} | {b:.2f} | {b / fast:.1f} |" for k, (a, b) in made.items()]
        effect = agreement(network, large, tile)
        rows.append(f"| border effect of PART {tile}: mean difference of scores | 1024² | {effect:.4f} | | |")

    def tiles() -> None:
        for a in range(0, 1024 - 200 + 1, 100):
            for b in range(0, 1024 - 200 + 1, 100):
                cam_scores(network, large[:, a : a + 200, b : b + 200])

    made = timed({"CAM, tiles of 200 by half": tiles, "CAM, dense": lambda: cam_scores(network, large)}, rounds)
    fast = list(made.values())[-1][1]
    rows += [f"| {k} | 1024² | {a:.2f} | {b:.2f} | {b / fast:.1f} |" for k, (a, b) in made.items()]
    x = as_tensor(network, small)

    def one_run() -> None:
        with torch.inference_mode():
            scores_of(network, x, 1)

    made = timed({"one run": one_run, "MASK, 257 runs, batches of 16": lambda: mask_scores(network, small)}, rounds)
    fast = made["one run"][1]
    rows += [f"| {k} | 400² | {a:.3f} | {b:.3f} | {b / fast:.0f} runs' time |" for k, (a, b) in made.items()]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--page")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    head = (
        f"{datetime.now(UTC):%d %B %Y}, {platform.machine()}, {os.cpu_count()} cores, {options.threads} threads, torch "
        f"{torch.__version__}, {options.rounds} rounds, median. Load before the run: {load:.1f}: other work ran beside "
        "it where this is not near 0, and then the processors' seconds say more than those on the wall."
    )
    lines = [
        "# Speed of metocean segmentation", "",
        head, "",
        "Random weights and images: arithmetic after radiometry and nothing else.", "",
        f"## A wide scene: {WIDE[0]} × {WIDE[1]} pixels of 100 m", "", *unet(options.rounds), "",
        "## Weak methods, InceptionV3 at a quarter of its width", "", *weak(options.rounds), "",
        "Command: `python benchmarks/metocean.py --page docs/results/metocean-speed.md`", "",
    ]  # fmt: skip
    print("\n".join(lines))
    if options.page:
        with whole_output(Path(options.page), overwrite=True) as part:
            part.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
