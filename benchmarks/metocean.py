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

import mask_layers
import numpy as np
import torch

from frazil.files import whole_output
from frazil.learn.infer.weak import cam_scores, mask_scores, part_scores
from frazil.learn.infer.weak.grid import as_tensor, prepared, scores_of
from frazil.learn.infer.weak.partial import agreement
from frazil.learn.models import create_model
from frazil.learn.models.unet import fold_batch_norm
from frazil.scene.tiles import TileGrid

NOTES = """\
- **Times fewer multiplications** is what one pass can gain in equal arithmetic: tiles at a third of their side overlap
  nine times, but InceptionV3's last blocks hold more elements in a whole image than in its tiles.
- **MASK costs what its runs cost.** From block `Mixed_6b` on a mask changes most of the map, and then all of it:
  [below](#what-a-mask-changes). Reuse of all that it does not change would at best halve the time.
- In bfloat16 batches gain more than a single small image. What becomes of Dice:
  [half precision](metocean.md#half-precision).""".splitlines()

MASK_NOTES = """\
Of InceptionV3 on 400 × 400 pixels (`python benchmarks/mask_layers.py`, the processor's time in batches of 16, means
over 16 masks of 75 pixels): the places of each layer that differ from those of the unmasked image, in any
channel.""".splitlines()

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


def multiplications(network: torch.nn.Module, side: int) -> int:
    """Of all convolutions, for one square image."""
    total = 0

    def count(module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal total
        total += output.shape[-2] * output.shape[-1] * module.weight.numel()  # type: ignore[operator, union-attr]

    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    hooks = [m.register_forward_hook(count) for m in convolutions]
    with torch.inference_mode():
        network.trunk(torch.zeros(1, 1, side, side))  # type: ignore[operator]
    for hook in hooks:
        hook.remove()
    return total


def side_by_side(title: str, variants: dict[str, Callable[[], object]], counts: list[float], rounds: int) -> list[str]:
    """Rows of a comparison; the first variant is what the others are measured by."""
    made = timed(variants, rounds)
    first = next(iter(made.values()))[1]
    return [
        f"| {title}{name} | {wall:.2f} | {worked:.2f} | {first / worked:.1f} | {counts[0] / count:.1f} |"
        for (name, (wall, worked)), count in zip(made.items(), counts, strict=True)
    ]


def weak(rounds: int) -> list[str]:
    rng = np.random.default_rng(1)
    network = create_model("inception_v3", n_channels=1, n_classes=10, settings={"width": 0.25}).eval()
    network = network.to(memory_format=torch.channels_last)
    exact, half = prepared(network), prepared(network, "bfloat16")
    n = 1024
    large, small = rng.random((1, n, n), np.float32), rng.random((1, 400, 400), np.float32)
    whole = multiplications(network, n)
    rows = [
        f"| on {n} × {n} pixels | s on the wall | s of the processors | times as fast | times fewer multiplications |",
        "|---|---|---|---|---|",
    ]
    notes = []
    for tile in (75, 129):
        tiles = [len({*range(0, n - tile + 1, step), n - tile}) ** 2 for step in (tile // 3, 32)]
        each = multiplications(network, tile)
        rows += side_by_side(
            f"PART {tile}, ",
            {
                "tile by tile at a third": lambda t=tile: part_scores(exact, large, tile=t),
                "tile by tile at a third, bfloat16": lambda t=tile: part_scores(half, large, tile=t),
                "tile by tile at 32 pixels": lambda t=tile: part_scores(exact, large, tile=t, stride=32),
                "dense, at 32 pixels": lambda t=tile: part_scores(exact, large, tile=t, dense=True),
                "dense, at 32 pixels, bfloat16": lambda t=tile: part_scores(half, large, tile=t, dense=True),
            },
            [tiles[0] * each, tiles[0] * each, tiles[1] * each, whole, whole],
            rounds,
        )
        notes.append(f"PART {tile} {agreement(exact, large, tile):.4f}")

    def tiles_of(ready: torch.nn.Module, side: int) -> None:
        for a in range(0, n - side + 1, side // 2):
            for b in range(0, n - side + 1, side // 2):
                cam_scores(ready, large[:, a : a + side, b : b + side])

    count = len(range(0, n - 256 + 1, 128)) ** 2 * multiplications(network, 256)
    rows += side_by_side(
        "CAM, ",
        {
            "tiles of 256 by half": lambda: tiles_of(exact, 256),
            "dense": lambda: cam_scores(exact, large),
            "dense, bfloat16": lambda: cam_scores(half, large),
        },
        [count, whole, whole],
        rounds,
    )
    x, x_half = as_tensor(exact, small), as_tensor(half, small)
    made = timed(
        {
            "one run": lambda: scores_of(exact, x, 1),
            "one run, bfloat16": lambda: scores_of(half, x_half, 1),
            "MASK, 257 runs": lambda: mask_scores(exact, small),
            "MASK, 257 runs, bfloat16": lambda: mask_scores(half, small),
            "MASK, 65 runs (every 50 pixels), bfloat16": lambda: mask_scores(half, small, stride=50),
        },
        rounds,
    )
    run = made["one run"][1]
    rows += [
        "",
        "| on 400 × 400 pixels | s on the wall | s of the processors | runs' time |",
        "|---|---|---|---|",
        *(f"| {k} | {a:.3f} | {b:.3f} | {b / run:.1f} |" for k, (a, b) in made.items()),
        "",
        f"Border effect of dense maps, mean difference of scores of random weights: {', '.join(notes)}.",
        "",
        *NOTES,
    ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--page")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    load = os.getloadavg()[0]
    head = (
        f"{datetime.now(UTC):%d %B %Y}, {platform.machine()}, {os.cpu_count()} cores, {options.threads} torch threads, "
        f"torch {torch.__version__}, {options.rounds} rounds, median. Load before the run: {load:.1f}: other work ran "
        "beside it where this is not near 0, and then the processors' seconds say more than those on the wall."
    )
    lines = [
        "# Speed of metocean segmentation",
        "",
        head,
        "",
        "Random weights and images: arithmetic after radiometry and nothing else.",
        "",
        f"## A wide scene: {WIDE[0]} × {WIDE[1]} pixels of 100 m",
        "",
        *unet(options.rounds),
        "",
        "## Weak methods, InceptionV3 at a quarter of its width",
        "",
        *weak(options.rounds),
        "",
        "## What a mask changes",
        "",
        *MASK_NOTES,
        "",
        *mask_layers.rows(400, options.rounds),
        "",
        f"Command: `python benchmarks/metocean.py --rounds {options.rounds} --threads {options.threads} --page …`",
        "",
    ]
    print("\n".join(lines))
    if options.page:
        with whole_output(Path(options.page), overwrite=True) as part:
            part.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
