"""What every set of samples has in common, patches of ice and imagettes of the sea alike.

A set is a Dataset with ``image`` on a dim of samples first (``patch`` or ``imagette``), codes of a class scheme on the
same dim, coordinates that say where each sample comes from, and attributes that hold for all. As a Zarr store it is
looked through before it is opened, refuses what frazil does not write, and ends every complaint with what to do.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frazil.conventions import ClassScheme
from frazil.errors import LabelError, LabelNotFoundError
from frazil.zarr_stores import DAMAGED_STORE, check_store
from frazil.zarr_writing import quiet_zarr

if TYPE_CHECKING:
    import xarray as xr

UNKNOWN = 255  #: a label, category, presence or mask that nobody gave
_BLOCK = 4096  # samples at a time where a whole set is gone through


def sample_dim(samples: xr.Dataset) -> str:
    """The dim that counts the samples of a set, ``"patch"`` or ``"imagette"``."""
    return str(samples["image"].dims[0])


def blocks(samples: xr.Dataset, size: int = _BLOCK) -> Iterator[xr.Dataset]:
    """A set in pieces of `size` samples, in order; the last may be smaller."""
    dim = sample_dim(samples)
    for first in range(0, samples.sizes[dim], size):
        yield samples.isel({dim: slice(first, first + size)})


def open_store(
    path: str | os.PathLike[str],
    kind: str,
    command: str,
    *,
    arrays: Collection[str],
    words: Collection[str] = (),
    whole: str = "image",
) -> xr.Dataset:
    """A Zarr store of samples as it lies on disk, not read yet; its large array is known to be whole.

    Args:
        path: of the store.
        kind: of set, ``"a patch set"``; goes into the complaints.
        command: that makes such a set.
        arrays: names that may stand in it.
        words: those of them that hold text.
        whole: the one of which no chunk may be missing.

    Raises:
        LabelNotFoundError: there is no store.
        LabelError: it cannot be read, or holds what frazil does not write (see `frazil.zarr_stores`).
    """
    import xarray as xr

    store = Path(path)
    if not store.is_dir():
        raise LabelNotFoundError(f"There is no {kind.partition(' ')[2]} at {store}. Make one with `{command}`.")
    check_store(store, kind, arrays=arrays, words=words, whole={whole})
    try:
        with quiet_zarr():
            return xr.open_zarr(store, chunks=None, consolidated=False)
    except DAMAGED_STORE as error:
        raise damaged(store, kind, command, error) from error


def damaged(path: str | os.PathLike[str], kind: str, command: str, error: BaseException) -> LabelError:
    """The complaint about a store that broke while it was read."""
    reason = (str(error).splitlines() or [""])[0]
    return LabelError(
        f"{path} is not {kind} or is damaged ({type(error).__name__}: {reason}). Make it anew with `{command}`."
    )


def refuse_other_codes(
    samples: xr.Dataset,
    path: str | os.PathLike[str],
    scheme: ClassScheme,
    command: str,
    *,
    classes: str,
    presences: Collection[str] = (),
) -> None:
    """Refuse codes that mean nothing.

    Args:
        samples: a set.
        path: it came from.
        scheme: its classes.
        command: that makes such a set.
        classes: the variable of one class code a sample.
        presences: variables of 0 and 1, and 255 for unknown.

    Raises:
        LabelError: a code outside.
    """
    known = {classes: set(range(len(scheme.classes))), **{name: {0, 1} for name in presences}}
    for name, codes in known.items():
        there = set(np.unique(samples[name].values).tolist()) if name in samples else set()
        strange = sorted(there - codes - {UNKNOWN})
        if strange:
            allowed = f"0 to {max(codes)}" if name == classes else "0 and 1"
            raise LabelError(
                f"{path} holds the {name} {strange[0]}; of {scheme.name} it can be {allowed}, and {UNKNOWN} for "
                f"unknown. Make it anew with `{command}`."
            )


def refuse_other_kind(first: xr.Dataset, other: xr.Dataset, facts: Mapping[str, str]) -> None:
    """Refuse to join two sets that differ in the shape of their images or in an attribute.

    Args:
        first: a set.
        other: to be joined to it.
        facts: attribute -> what people call it.

    Raises:
        LabelError: naming the difference, and both sides of it.
    """
    for key, name in facts.items():
        if first.attrs[key] != other.attrs[key]:
            raise LabelError(f"Sets differ in {name}: {first.attrs[key]} and {other.attrs[key]}.")
    for dim, here, there in zip(first["image"].dims, first["image"].shape, other["image"].shape, strict=True):
        if dim != sample_dim(first) and here != there:
            raise LabelError(f"Sets differ in {dim}: {here} and {there}. Cut them alike.")
