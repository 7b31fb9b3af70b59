"""What a mask of MASK changes in each layer of InceptionV3, and what recomputing nothing else would save.

    python benchmarks/mask_layers.py [--side 400] [--rounds 3]

A layer's places that differ from those of the whole image, in any channel, are compared mask by mask on random weights
and images; the smallest rectangle around them must be recomputed. Its share of the layer, times the layer's share of
the time, summed over layers, is what a run would cost that reused all else, if copying cost nothing.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from torch import Tensor, nn

from frazil.learn.infer.weak.grid import as_tensor, prepared
from frazil.learn.infer.weak.masking import covered, places
from frazil.learn.models import create_model

BATCH, SIDE, STRIDE = 16, 75, 25


def layers_of(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Those of the trunk, in order."""
    return [(name, layer) for name, layer in network.named_children() if name not in ("pool", "dropout", "fc")]


def through(network: nn.Module, x: Tensor) -> list[Tensor]:
    """What each layer gives."""
    found = []
    for _, layer in layers_of(network):
        x = layer(x)
        found.append(x)
    return found


def seconds(network: nn.Module, x: Tensor, rounds: int) -> list[float]:
    """Of the processor, in each layer, median."""
    seen: list[list[float]] = []
    for _ in range(rounds):
        y, one = x, []
        for _, layer in layers_of(network):
            began = time.process_time()
            y = layer(y)
            one.append(time.process_time() - began)
        seen.append(one)
    return [statistics.median(v) for v in zip(*seen, strict=True)]


def changed(whole: Tensor, hidden: Tensor) -> tuple[float, float]:
    """Share of the places that differ, and of the smallest rectangle around them; means over masks."""
    shares, boxes = [], []
    for one in hidden:
        differs = (one != whole[0]).any(0)
        rows, columns = differs.any(1).nonzero(), differs.any(0).nonzero()
        shares.append(float(differs.float().mean()))
        box = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1) if len(rows) else torch.tensor(0)
        boxes.append(float(box) / differs.numel())
    return float(np.mean(shares)), float(np.mean(boxes))


def rows(side: int, rounds: int) -> list[str]:
    """A table, and what it comes to."""
    torch.manual_seed(0)
    made = create_model("inception_v3", n_channels=1, n_classes=10, settings={"width": 0.25}).eval()
    network = prepared(made)
    image = np.random.default_rng(0).random((1, side, side), np.float32)
    x = as_tensor(network, image)
    at = places(side, STRIDE)
    all_ = [(a, b) for a in at for b in at]
    chosen = [all_[i] for i in np.linspace(0, len(all_) - 1, BATCH).astype(int)]
    hidden = x.expand(BATCH, -1, -1, -1).clone(memory_format=torch.channels_last)
    for one, (a, b) in zip(hidden, chosen, strict=True):
        one[:, covered(a, SIDE, side), covered(b, SIDE, side)] = 0.0
    with torch.inference_mode():
        cost = seconds(network, hidden, rounds)
        # A batch as large: kernels for another one sum in another order, which changes last bits everywhere.
        plain = x.expand(BATCH, -1, -1, -1).clone(memory_format=torch.channels_last)
        pairs = [changed(w, h) for w, h in zip(through(network, plain), through(network, hidden), strict=True)]
    lines = ["| layer | share of the time | places that a mask changes | rectangle around them |", "|---|---|---|---|"]
    total = sum(cost)
    for (name, _), spent, (share, box) in zip(layers_of(network), cost, pairs, strict=True):
        lines.append(f"| {name} | {100 * spent / total:.0f} % | {100 * share:.0f} % | {100 * box:.0f} % |")
    least = sum(spent / total * box for spent, (_, box) in zip(cost, pairs, strict=True))
    sure = sum(spent / total for spent, (share, _) in zip(cost, pairs, strict=True) if share > 0.999)
    n = len(all_)
    words = (
        f"Together {100 * least:.0f} % of a run: {n + 1} runs on {side} × {side} pixels still cost "
        f"{least * n + 1:.0f}. Layers in which every mask changes every place take {100 * sure:.0f} % of the time, "
        f"{sure * n + 1:.0f} runs: no reuse that keeps the result goes below."
    )
    return [*lines, "", words]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(rows(options.side, options.rounds)))


if __name__ == "__main__":
    main()
