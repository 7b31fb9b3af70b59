"""numba's `njit` with compiled code kept on the disk, where there is a place to keep it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def njit(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """As `numba.njit`, with ``cache=True``; without it where neither the package nor the home folder can be written.

    In a container that runs as another user numba finds no folder for its cache and would refuse to compile at all. Set
    ``NUMBA_CACHE_DIR`` to keep the code, and save the seconds of every start, there too.
    """

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(cache=True, **options)(function)  # type: ignore[no-any-return]
        except RuntimeError:  # "no locator available"
            return numba.njit(**options)(function)  # type: ignore[no-any-return]

    return compiled
