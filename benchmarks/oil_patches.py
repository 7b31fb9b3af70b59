"""Patches of real oil slicks and of the clean sea beside them, for studies of few labels.

    python benchmarks/oil_patches.py sentinel1-train-1100.tar -o oil-patches.zarr [--split oil-split.json]

The crops of the Deep-SAR Oil Spill set (8-bit, not calibrated, without names of scenes) are cut into patches that lie
wholly on a slick, or wholly off every slick. A "scene" is a block of 50 neighbouring file numbers. The first 500 crops
and the last 600 differ in speckle, so that one half judged by the other would measure that; only the last 600 are
taken. Patches have the classes of ice and water, since those are what patch sets know: a slick, which is dark, stands
as open water, and the clean sea as sea ice.

References:
    Zhu, Q. et al. (2021), Oil spill contextual and boundary-supervised detection network based on marine SAR images.
    IEEE Trans. Geosci. Remote Sens. 60. doi:10.1109/TGRS.2021.3115492.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from frazil.conventions import BINARY
from frazil.labels.patch_set import make_patches, save_patches
from frazil.labels.splits import Split

FIRST, BLOCK = 500, 50
SLICK, SEA = 0, 1
DARKEST_DB, BRIGHTEST_DB = -30.0, 0.0  #: what 0 and 255 are taken for; the set tells no units


def crops(archive: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Image and mask of each crop, in the order of their file numbers."""
    with tarfile.open(archive) as tar:
        images: dict[int, tarfile.TarInfo] = {}
        masks: dict[int, tarfile.TarInfo] = {}
        for member in tar.getmembers():
            found = re.search(r"(\d+)_(sat|mask)\.\w+$", member.name)
            if found:
                (images if found[2] == "sat" else masks)[int(found[1])] = member
        for number in sorted(set(images) & set(masks)):
            yield _read(tar, images[number]), _read(tar, masks[number]) > 127


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> np.ndarray:
    file = tar.extractfile(member)
    assert file is not None
    with Image.open(io.BytesIO(file.read())) as picture:
        return np.asarray(picture.convert("L"))


def cut(
    image: np.ndarray, mask: np.ndarray, size: int, most: int, rng: np.random.Generator
) -> list[tuple[int, int, int]]:
    """Class, line and pixel of at most so many patches of each class that do not overlap, drawn at random."""
    out = []
    rows, columns = (n // size for n in image.shape)
    share = mask[: rows * size, : columns * size].reshape(rows, size, columns, size).mean(axis=(1, 3))
    for code, where in ((SLICK, share == 1), (SEA, share == 0)):
        at = np.argwhere(where)
        for row, column in at[rng.permutation(len(at))[:most]]:
            out.append((code, int(row) * size, int(column) * size))
    return out


def main() -> int:
    """Cut, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--split", type=Path, help="JSON to write: 6 blocks to learn from, 2 to validate, 4 to judge")
    parser.add_argument("--size", type=int, default=20)
    parser.add_argument("--most", type=int, default=6, help="patches of each class in a crop")
    given = parser.parse_args()
    images, labels, scenes = [], [], []
    rng = np.random.default_rng(0)
    for number, (image, mask) in enumerate(crops(given.archive)):
        if number < FIRST:
            continue
        for code, line, pixel in cut(image, mask, given.size, given.most, rng):
            images.append(image[line : line + given.size, pixel : pixel + given.size])
            labels.append(code)
            scenes.append(f"block-{number // BLOCK:02d}")
    stack = np.stack(images).astype(np.float32) / 255 * (BRIGHTEST_DB - DARKEST_DB) + DARKEST_DB
    patches = make_patches(
        stack[:, None],
        np.array(labels, np.uint8),
        channels=("vv",),
        units=("dB",),
        scheme=BINARY,
        scene=np.array(scenes),
        attrs={"source": "Deep-SAR Oil Spill set, 8-bit crops: a slick stands as open water, clean sea as sea ice"},
    )
    save_patches(patches, given.output, overwrite=True)
    names = sorted(set(scenes))
    if given.split:  # blocks in turn, so that each side has early and late ones
        sides = {
            "train": names[0::2],
            "validation": names[1::6],
            "test": [n for i, n in enumerate(names) if i % 6 in (3, 5)],
        }
        Split(by="scene", **{side: tuple(some) for side, some in sides.items()}).save(given.split, overwrite=True)
    print(len(labels), "patches,", int(np.mean(np.array(labels) == SLICK) * 100), "% slick,", len(names), "blocks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
