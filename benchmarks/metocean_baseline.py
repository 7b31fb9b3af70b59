"""What set Dice is worth on a set of imagettes: scores of three answers that need no network.

    python benchmarks/metocean_baseline.py TEST.zarr [--judged 100]

- everything everywhere;
- nothing but the truth about whole images, painted all over them: every class that is there (``present``), or the one
  class that the image is called (``category``). No method that only names images can do better.

Set Dice of each class in percent, and their mean. ``--judged`` takes as many images of each category as the studies do.
"""

from __future__ import annotations

import argparse

import numpy as np

from frazil.labels.imagettes import open_imagettes
from frazil.labels.sample_set import UNKNOWN
from frazil.learn.data.imagettes import drawn


def set_dice(said: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Of each class, of masks (image, class, rows, columns)."""
    both = (said & truth).sum((0, 2, 3))
    return 2 * both / np.maximum(said.sum((0, 2, 3)) + truth.sum((0, 2, 3)), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("imagettes")
    parser.add_argument("--judged", type=int)
    arguments = parser.parse_args()
    ds = open_imagettes(arguments.imagettes)
    if arguments.judged:
        ds = ds.isel(imagette=drawn(ds["category"].values, arguments.judged, 0))
    truth = ds["mask"].values == 1
    category = ds["category"].values
    named = category != UNKNOWN
    called = np.zeros(truth.shape[:2], bool)
    called[np.flatnonzero(named), category[named]] = True
    answers = {
        "everything everywhere": np.ones_like(called),
        "present, painted whole": ds["present"].values == 1,
        "category, painted whole": called,
    }
    print("| answer | mean | " + " | ".join(ds["class"].values) + " |", "|" + "---|" * (2 + truth.shape[1]), sep="\n")
    for name, said in answers.items():
        dice = 100 * set_dice(np.broadcast_to(said[:, :, None, None], truth.shape), truth)
        print(f"| {name} | {dice.mean():.1f} | " + " | ".join(f"{d:.0f}" for d in dice) + " |")


if __name__ == "__main__":
    main()
