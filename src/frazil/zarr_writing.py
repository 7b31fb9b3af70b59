"""Zarr stores that are written: nothing comes after the end.

Zarr writes chunks in threads, which go on when the code that asked for them is interrupted, and make the folders that
they need: a store that was being removed came back. Here the end of a store is waited for.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from frazil.files import undisturbed

_OWN_FORMAT = ".*(Zarr format 3|Zarr V3|consolidated).*"  # what Zarr says about its own format
_PATIENCE_S = 60.0  # for one chunk; a disk that takes longer has gone


@contextmanager
def quiet_zarr() -> Iterator[None]:
    """Without the warnings that Zarr gives about its own format and about words of a fixed length."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_OWN_FORMAT)
        yield


@contextmanager
def writable_store(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A store (`zarr.storage.LocalStore`) to write at a path; once the block ends, however it does, it is quiet.

    Raises:
        OSError: a chunk was to be written after the end, in the thread that tried.
    """
    from zarr.storage import LocalStore

    lock, writing, ended = threading.Lock(), 0, False

    class Store(LocalStore):
        async def _counted(self, write: Any, *what: Any) -> None:
            nonlocal writing
            with lock:
                if ended:
                    raise OSError(f"{self.root} is not written any more")
                writing += 1
            try:
                await write(*what)
            finally:
                with lock:
                    writing -= 1

        async def set(self, key: str, value: Any) -> None:
            await self._counted(super().set, key, value)

        async def set_if_not_exists(self, key: str, value: Any) -> None:
            await self._counted(super().set_if_not_exists, key, value)

    try:
        yield Store(os.fspath(path))
    finally:
        with undisturbed():
            with lock:
                ended = True
            give_up = time.monotonic() + _PATIENCE_S
            while writing and time.monotonic() < give_up:
                time.sleep(0.002)
