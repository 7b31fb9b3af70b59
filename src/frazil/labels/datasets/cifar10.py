"""CIFAR-10, on which the paper compares ways of distributed training, in the layouts it is found in.

A folder or archive (tar, tar.gz) holds one of: the published python batches, the published binary batches, or images in
class folders below ``train`` and ``test``. A folder may also hold the archives ``train.tar`` and ``test.tar``. Python
batches are pickles: they are read by an unpickler that knows byte arrays, lists and dicts, and refuses everything else,
so that no code of a stranger runs.

References:
    Krizhevsky, A. (2009), Learning multiple layers of features from tiny images.
    https://www.cs.toronto.edu/~kriz/cifar.html (layouts).
"""

from __future__ import annotations

import io
import os
import pickle
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from frazil.conventions import ClassScheme, MapClass
from frazil.errors import LabelError, LabelNotFoundError
from frazil.pictures import read_picture
from frazil.untrusted import read_bytes

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10 = ClassScheme(
    name="cifar10",
    classes=tuple(
        MapClass(code=i, name=name, title=name.capitalize(), sigrid3=(), colour=(25 * i, 90 + 16 * i, 255 - 25 * i))
        for i, name in enumerate(NAMES)
    ),
)
SIDE = 32
_ROW = 3 * SIDE * SIDE
_LIMIT = 200_000_000  # bytes of a file; the largest published one has 31 MB
_WHOLE = 1_000_000_000  # bytes of an archive
_BATCHES = {"train": re.compile(r"data_batch_\d+"), "test": re.compile(r"test_batch")}
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp")

Part = Literal["train", "test"]
Read = Callable[[], bytes]


def read_cifar10(
    path: str | os.PathLike[str], part: Part, *, per_class: int | None = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (image, channel, 32, 32), channels red, green and blue, and labels uint8 (image,).

    Args:
        path: folder or archive.
        part: ``"train"`` or ``"test"``.
        per_class: take at most so many of each class, drawn at random.
        seed: of the draw.

    Raises:
        LabelNotFoundError: nothing there, or none of the layouts.
        LabelError: a file that is damaged, or a pickle that holds anything but arrays.
    """
    source = Path(path)
    if not source.exists():
        raise LabelNotFoundError(f"No CIFAR-10 at {source}. Name the folder or archive that holds it.")
    if source.is_dir() and (source / f"{part}.tar").is_file():
        source = source / f"{part}.tar"
    files = dict(sorted(_files(source)))
    for suffix, decode in (("", _from_pickle), (".bin", _from_binary)):
        chosen = [n for n in files if n.endswith(suffix) and _BATCHES[part].fullmatch(_stem(n, suffix))]
        if chosen:
            decoded = [decode(_whole(files[n], n), n) for n in chosen]
            image, label = (np.concatenate(x) for x in zip(*decoded, strict=True))
            keep = _draw(label, per_class, seed)
            return image[keep], label[keep]
    named = [(n, NAMES.index(PurePosixPath(n).parent.name)) for n in files if _is_image_of(n, part, source)]
    if not named:
        raise LabelNotFoundError(
            f"{source} holds no {part} part of CIFAR-10: no {_BATCHES[part].pattern} (pickles, .bin) and no images in "
            f"folders {part}/{NAMES[0]} … {part}/{NAMES[-1]}."
        )
    label = np.array([code for _, code in named], np.uint8)
    keep = _draw(label, per_class, seed)
    image = np.stack([_picture(_whole(files[named[i][0]], named[i][0]), named[i][0]) for i in keep])
    return image, label[keep]


def _files(source: Path) -> Iterator[tuple[str, Read]]:
    """Names of files with / between, and how to read each."""
    if source.is_dir():
        for path in source.rglob("*"):
            if path.is_file():
                yield path.relative_to(source).as_posix(), partial(read_bytes, path, _LIMIT)
        return
    try:
        archive = tarfile.open(source)  # noqa: SIM115 - read until its last file was taken
        members, whole = [], 0
        for member in archive:
            whole += member.size
            if whole > _WHOLE:
                raise LabelError(f"{source} unpacks to {whole} bytes or more; CIFAR-10 has less than 200 MB.")
            members += [member] if member.isreg() and member.size <= _LIMIT else []
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise LabelError(f"{source} is no folder and no archive that can be read ({error}). Get it again.") from error
    for member in members:
        yield member.name, lambda m=member: archive.extractfile(m).read()  # type: ignore[misc, union-attr]


def _stem(name: str, suffix: str) -> str:
    return PurePosixPath(name).name.removesuffix(suffix)


def _whole(read: Read, name: str) -> bytes:
    try:
        data = read()
    except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
        raise LabelError(f"{name} cannot be read ({error}). Get it again.") from error
    if len(data) > _LIMIT:
        raise LabelError(f"{name} has {len(data)} bytes, expected at most {_LIMIT}.")
    return data


def _is_image_of(name: str, part: Part, source: Path) -> bool:
    path = PurePosixPath(name)
    if path.suffix.lower() not in _IMAGES or path.parent.name not in NAMES:
        return False
    return part in path.parts[:-2] or (len(path.parts) == 2 and source.name.split(".")[0] == part)


def _draw(label: np.ndarray, per_class: int | None, seed: int) -> np.ndarray:
    if per_class is None:
        return np.arange(label.size)
    rng = np.random.default_rng([seed, 90])
    kept = [rng.permutation(np.flatnonzero(label == code))[:per_class] for code in range(len(NAMES))]
    return np.sort(np.concatenate(kept))


def _from_binary(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    if not data or len(data) % (_ROW + 1):
        raise LabelError(f"{name} has {len(data)} bytes, not a multiple of {_ROW + 1}. Get it again.")
    rows = np.frombuffer(data, np.uint8).reshape(-1, _ROW + 1)
    return _checked(rows[:, 1:], rows[:, 0], name)


def _from_pickle(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        values = _Unpickler(io.BytesIO(data), encoding="bytes").load()
        by_name = {k.decode() if isinstance(k, bytes) else k: v for k, v in values.items()}
        image, label = by_name["data"], np.asarray(by_name["labels"])
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or label.dtype.kind not in "iu":
            raise ValueError("its data are no bytes, or its labels no numbers")
        return _checked(image, label, name)
    except LabelError:
        raise
    except (  # whatever a broken pickle may end in; nothing of it has run
        pickle.UnpicklingError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        EOFError,
        IndexError,
        MemoryError,
        UnicodeDecodeError,
        OverflowError,
    ) as error:
        raise LabelError(f"{name} is no batch of CIFAR-10 ({str(error) or type(error).__name__}).") from error


def _checked(image: np.ndarray, label: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    if image.ndim != 2 or image.shape[1] != _ROW or label.shape != (len(image),):
        raise LabelError(f"{name} holds data {image.shape} and labels {label.shape}, expected (n, {_ROW}) and (n,).")
    if label.size and not 0 <= label.min() <= label.max() < len(NAMES):
        raise LabelError(f"{name} holds labels up to {label.max()}, expected 0 to {len(NAMES) - 1}.")
    return image.reshape(-1, 3, SIDE, SIDE).copy(), label.astype(np.uint8)


class _Unpickler(pickle.Unpickler):
    """Knows plain values and arrays of bytes, nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): _ARRAY,
            ("numpy", "dtype"): _bytes_type,
            ("_codecs", "encode"): _encode,
            **{(f"numpy.{core}.multiarray", "_reconstruct"): _empty for core in ("core", "_core")},
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch needs")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError(f"it asks for the object {pid!r}")


_ARRAY = object()  # stands for the array type; cannot be called


def _empty(kind: Any, shape: Any, _code: Any) -> np.ndarray:
    if kind is not _ARRAY or shape != (0,):
        raise pickle.UnpicklingError("it makes an array in an unusual way")
    return np.empty(0, np.int8)


def _bytes_type(code: Any, *_: Any) -> np.dtype:
    if code not in ("u1", b"u1"):
        raise pickle.UnpicklingError(f"it holds an array of type {code!r}, not of bytes")
    made: np.dtype = np.dtype("u1", False, True)  # type: ignore[call-overload]
    return made


def _encode(text: Any, how: Any) -> bytes:
    if not isinstance(text, str) or how not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError("it encodes text in an unusual way")
    return text.encode("latin1")


def _picture(data: bytes, name: str) -> np.ndarray:
    picture = read_picture(name, data, mode="RGB")
    if picture.shape[:2] != (SIDE, SIDE):
        raise LabelError(f"{name} has {picture.shape[:2]} pixels, expected {SIDE} × {SIDE}.")
    return picture.transpose(2, 0, 1)
