"""CIFAR-10 in one small file, and unpacked once for all processes.

The pictures of the JPEG archives begin with the same 623 bytes, which LZMA keeps once: 55 MB become 18, and not a pixel
changes. Unpacked they are the published binary batches, which are read fast.
"""

from __future__ import annotations

import lzma
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np

from frazil.errors import LabelNotFoundError
from frazil.labels.datasets.cifar10 import NAMES, Part, read_cifar10
from frazil.pictures import read_picture

PARTS: dict[Part, str] = {"train": "data_batch_1.bin", "test": "test_batch.bin"}


def pack(folder: Path, target: Path) -> int:
    """Write the pictures of ``train.tar`` and ``test.tar`` into one file, in the order in which they are read.

    Returns:
        Its size, bytes.
    """
    with lzma.open(target, "wb", preset=6) as out:
        for part in PARTS:
            archive = folder / f"{part}.tar"
            if not archive.is_file():
                raise LabelNotFoundError(f"{archive} is not there; expected the folder of train.tar and test.tar.")
            with tarfile.open(archive) as tar:
                members = sorted((m for m in tar if m.isreg() and m.name.endswith(".jpg")), key=lambda m: m.name)
                data = [tar.extractfile(m).read() for m in members]  # type: ignore[union-attr]
            label = np.array([NAMES.index(PurePosixPath(m.name).parent.name) for m in members], np.uint8)
            for values in (label, np.array([len(d) for d in data], np.int32), np.frombuffer(b"".join(data), np.uint8)):
                np.lib.format.write_array(out, values, allow_pickle=False)
    return target.stat().st_size


def unpack(source: Path, folder: Path) -> Path:
    """The folder, with binary batches of what a packed file, or any place that `read_cifar10` knows, holds."""
    if all((folder / name).is_file() for name in PARTS.values()):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        with lzma.open(source) as packed:
            arrays = [np.lib.format.read_array(packed, allow_pickle=False) for _ in range(3 * len(PARTS))]
        read = [_decoded(*arrays[3 * i : 3 * i + 3]) for i in range(len(PARTS))]
    else:
        read = [read_cifar10(source, part) for part in PARTS]
    for (image, label), name in zip(read, PARTS.values(), strict=True):
        write_batch(folder / name, image, label)
    return folder


def write_batch(path: Path, image: np.ndarray, label: np.ndarray) -> None:
    """Images uint8 (image, 3, 32, 32) and labels uint8 (image,) as a published binary batch."""
    part = path.with_suffix(".part")
    part.write_bytes(np.concatenate([label[:, None], image.reshape(len(image), -1)], axis=1).tobytes())
    part.rename(path)


def _decoded(label: np.ndarray, length: np.ndarray, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ends = np.cumsum(length, dtype=np.int64)
    image = np.empty((label.size, 3, 32, 32), np.uint8)

    def work(number: int) -> None:
        jpeg = data[ends[number] - length[number] : ends[number]].tobytes()
        image[number] = read_picture(f"picture {number}", jpeg, mode="RGB").transpose(2, 0, 1)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        list(pool.map(work, range(label.size), chunksize=256))
    return image, label


def prepared(source: Path | None, folder: Path) -> str:
    """The folder of `unpack`; without a source with 200 and 60 images whose brightness is their class."""
    if source is not None:
        return str(unpack(source, folder))
    folder.mkdir(parents=True)
    for number, (name, n) in enumerate(zip(PARTS.values(), (200, 60), strict=True)):
        rng = np.random.default_rng(number)
        label = (np.arange(n) % len(NAMES)).astype(np.uint8)
        image = rng.integers(0, 20, (n, 3, 32, 32)) + 23 * label[:, None, None, None]
        write_batch(folder / name, image.astype(np.uint8), label)
    return str(folder)
