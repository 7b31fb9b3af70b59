"""What the thesis's tables of few labels say of the patches that they were judged on.

    python benchmarks/thesis_tables.py

Table III (accuracy) and Table IV (means of precision, recall and F1 over ice and water) of the second paper describe
the same confusion of two classes, which has three free numbers: the share of one class and the two recalls. Four
figures for three numbers: the share can be told from any three of them, and the fourth says whether it is right. For
every entry the share is found whose recalls reproduce accuracy and mean recall exactly and precision and F1 best.

References:
    Khaleghian (2022), paper 2, section IV, tables III and IV.
"""

from __future__ import annotations

import sys

import numpy as np

LABELS = (15, 30, 40, 60, 100, 500, 1000)
STATED = 1516 / (1516 + 1324)  #: of water, section IV-A
#: method -> number of labels -> accuracy, mean precision, mean recall, mean F1
TABLES: dict[str, dict[int, tuple[float, float, float, float]]] = {
    "labels alone": {
        15: (0.3960, 0.5623, 0.5981, 0.3645),
        30: (0.52, 0.6064, 0.7100, 0.4948),
        40: (0.5567, 0.5991, 0.7016, 0.5123),
        60: (0.7035, 0.6259, 0.7452, 0.6163),
        100: (0.8872, 0.7812, 0.6977, 0.7283),
        500: (0.9150, 0.8860, 0.8036, 0.8336),
        1000: (0.9206, 0.8955, 0.8154, 0.8480),
    },
    "semi-GAN": {
        40: (0.7196, 0.4278, 0.4295, 0.4286),
        60: (0.8814, 0.7951, 0.6709, 0.7086),
        100: (0.8923, 0.7914, 0.7192, 0.7474),
        500: (0.905, 0.8957, 0.7602, 0.8059),
        1000: (0.9004, 0.8506, 0.7825, 0.8103),
    },
    "MixMatch": {
        60: (0.8628, 0.9160, 0.5263, 0.5041),
        100: (0.8588, 0.9137, 0.5108, 0.4740),
        500: (0.8819, 0.8804, 0.6848, 0.7319),
        1000: (0.9102, 0.9089, 0.7665, 0.8143),
    },
    "LP-SSL": {
        15: (0.5562, 0.5963, 0.6922, 0.4921),
        30: (0.7534, 0.6392, 0.7474, 0.6493),
        40: (0.7523, 0.6611, 0.8038, 0.6674),
        60: (0.8997, 0.7971, 0.7738, 0.7847),
        100: (0.9042, 0.8041, 0.7949, 0.7990),
        500: (0.9173, 0.9154, 0.7866, 0.8324),
        1000: (0.9124, 0.9074, 0.7751, 0.8211),
    },
    "TSLP-SSL": {
        15: (0.8803, 0.7591, 0.7927, 0.7741),
        30: (0.8696, 0.7314, 0.7345, 0.7329),
        40: (0.9087, 0.8299, 0.7640, 0.7914),
        60: (0.9047, 0.8599, 0.7546, 0.7925),
        100: (0.9121, 0.8452, 0.7609, 0.7990),
        500: (0.9107, 0.8674, 0.8070, 0.8326),
        1000: (0.9194, 0.9007, 0.8062, 0.8432),
    },
}


def means(share: np.ndarray, accuracy: float, recall: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean precision and F1 of two classes of a share that is not a half, and whether such recalls can be.

    From accuracy = s r₁ + (1 − s) r₀ and 2 · recall = r₁ + r₀.
    """
    first = (accuracy - 2 * recall * (1 - share)) / (2 * share - 1)
    second = 2 * recall - first
    right, missed = share * first, share * (1 - first)
    other_right, taken = (1 - share) * second, (1 - share) * (1 - second)
    possible = (first >= -1e-3) & (first <= 1.001) & (second >= -1e-3) & (second <= 1.001)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = (right / (right + taken) + other_right / (other_right + missed)) / 2
        f1 = (2 * right / (2 * right + taken + missed) + 2 * other_right / (2 * other_right + taken + missed)) / 2
    return precision, f1, possible


def share_of(entry: tuple[float, float, float, float]) -> tuple[float, float]:
    """The share of the larger class that fits an entry best, and how far precision or F1 are off then."""
    accuracy, precision, recall, f1 = entry
    share = np.arange(0.505, 0.9995, 0.0001)
    found = means(share, accuracy, recall)
    off = np.where(found[2], np.maximum(np.abs(found[0] - precision), np.abs(found[1] - f1)), np.inf)
    off = np.nan_to_num(off, nan=np.inf)
    best = int(off.argmin())
    return float(share[best]), float(off[best])


def at_share(entry: tuple[float, float, float, float], share: float) -> float:
    """How far precision or F1 are off if the larger class has a share; infinite where no recalls give it."""
    found = means(np.array([share]), entry[0], entry[2])
    if not found[2][0]:
        return float("inf")
    return float(max(abs(found[0][0] - entry[1]), abs(found[1][0] - entry[3])))


def main() -> int:
    """Print the tables."""
    print("| labels | method | share of the larger class | off by | off by at the stated share |")
    print("|---|---|---|---|---|")
    for count in LABELS:
        for method, entries in TABLES.items():
            if count in entries:
                share, off = share_of(entries[count])
                stated = at_share(entries[count], STATED)
                words = "no such recalls" if stated == float("inf") else f"{stated:.3f}"
                print(f"| {count} | {method} | {100 * share:.1f} % | {off:.4f} | {words} |")
    print("\n| labels | accuracy: TSLP − labels alone | mean recall: TSLP − labels alone |\n|---|---|---|")
    for count in LABELS:
        alone, tslp = TABLES["labels alone"][count], TABLES["TSLP-SSL"][count]
        print(f"| {count} | {100 * (tslp[0] - alone[0]):+.1f} | {100 * (tslp[2] - alone[2]):+.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
