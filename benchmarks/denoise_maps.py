"""Whether maps get better where a model that learnt from `denoise="esa"` is shown balanced scenes.

    python benchmarks/denoise_maps.py --seeds 11 12 13 14

Prints a table in Markdown. Each seed is simulated twice, with the wrong noise of `banding.py` and with right noise,
under the same speckle; maps stay on the radar grid, where the truth lies.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from banding import wrong_noise

from frazil import load_model, predict, simulate_product
from frazil.simulate import NoiseError

UNDECIDED, LAND = 253, 254


def scores(made: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Percent right of ice against water where it is decided, percent undecided, percent right of all classes."""
    sea = (truth < 5) & (made < LAND)
    decided = sea & (made != UNDECIDED)
    right = ((made > 0) == (truth > 0))[decided].mean()
    return 100 * right, 100 * (1 - decided.sum() / sea.sum()), 100 * (made == truth)[sea].mean()


def main() -> None:
    """Simulate, map, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13, 14])
    parser.add_argument("--lines", type=int, nargs=2, default=[2000, 6500])
    given = parser.parse_args()
    model = load_model("ice-measured")
    print("| seed | noise | denoise | ice against water, % right | undecided, % | five classes, % right |")
    print("|---|---|---|---|---|---|", flush=True)
    for seed in given.seeds:
        for noise, error in (("wrong", wrong_noise(seed)), ("right", NoiseError())):
            with tempfile.TemporaryDirectory() as folder:
                path = simulate_product(folder, seed=seed, noise_error=error, lines=tuple(given.lines))
                with rasterio.open(next(Path(folder).glob("*_truth/ice_class.tif"))) as source:
                    truth = source.read(1)
                for denoise in ("esa", "balanced"):
                    made = predict(path, model, denoise=denoise, crs=None)["ice_class"].values
                    shape = tuple(min(a, b) for a, b in zip(made.shape, truth.shape, strict=True))
                    part = np.s_[: shape[0], : shape[1]]
                    told = " | ".join(f"{v:.2f}" for v in scores(made[part], truth[part]))
                    print(f"| {seed} | {noise} | {denoise} | {told} |", flush=True)


if __name__ == "__main__":
    main()
