"""Dense maps against patch by patch: the same network, the same image, in turns within one run.

    python benchmarks/dense_vs_patchwise.py --network vgg16 --side 256 --repeats 3

Patch by patch runs at the papers' stride of 10 and at the dense spacing. Factors compare equal work: seconds for an
image, dense at its spacing against patch by patch at the same spacing, and at stride 10, which gives fewer results.
Weights are random: they do not change the time.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time

import numpy as np
import torch

from frazil.learn.infer.dense import FUNCTIONS
from frazil.learn.models import create_model


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", default="vgg16", help="an architecture (default: %(default)s)")
    parser.add_argument("--patch", type=int, default=32, help="side of the patches (default: %(default)s)")
    parser.add_argument("--spacing", type=int, default=8, help="of the dense results, pixels (default: %(default)s)")
    parser.add_argument("--side", type=int, default=640, help="of the image, pixels (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="each; the median counts (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="(default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    network = create_model(options.network, n_channels=3, n_classes=2, settings={"patch": options.patch})
    runs = {
        (function, stride, precision): FUNCTIONS[function](
            network, stride=stride, precision=precision, device=options.device
        )
        for precision in ("float32", "bfloat16")
        for function, stride in dict.fromkeys(
            [("dense", options.spacing), ("patchwise", options.spacing), ("patchwise", 10)]
        )
    }
    rng = np.random.default_rng(0)
    images = {
        stride: rng.random((3, *(max(options.side // stride, 1) * stride,) * 2), dtype=np.float32)
        for _, stride, _ in runs
    }
    seconds: dict[tuple[str, int, str], list[float]] = {key: [] for key in runs}
    for repeat in range(options.repeats + 1):  # the first time warms up
        for key, engine in runs.items():
            start = time.perf_counter()
            engine(images[key[1]])  # brings its result to memory, so a GPU has finished
            if repeat:
                seconds[key].append(time.perf_counter() - start)
    per_mpx = {key: statistics.median(s) / images[key[1]][0].size * 1e6 for key, s in seconds.items()}

    where = platform.processor() or platform.machine()
    if options.device != "cpu":
        where = torch.cuda.get_device_name(options.device)
    print(f"{options.network}, patches of {options.patch}, about {options.side} × {options.side} pixels, {where}")
    print(f"torch {torch.__version__}, {options.threads} threads, median of {options.repeats}\n")
    print("function    spacing  precision   s/Mpx   results/s   × same spacing   × stride 10   × stride 10, float32")
    slow = {p: (per_mpx["patchwise", options.spacing, p], per_mpx["patchwise", 10, p]) for p in ("float32", "bfloat16")}
    for (function, stride, precision), value in per_mpx.items():
        same, ten = slow[precision]
        same_text = f"{same / value:.1f}" if stride == options.spacing else "–"
        print(
            f"{function:<11} {stride:>7}  {precision:<9} {value:>7.2f} {1e6 / stride**2 / value:>11.0f} "
            f"{same_text:>16} {ten / value:>13.1f} {slow['float32'][1] / value:>22.1f}"
        )


if __name__ == "__main__":
    main()
