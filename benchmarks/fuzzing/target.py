"""What an input is to the attack: how it is made, read, and known again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.fuzzing.mutations import Mutation

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """An input of frazil.

    Attributes:
        name: of the target.
        make: writes the pristine input into a folder, and says where it is; None where its data is not at hand.
        read: numbers of what is read.
        mutations: that it suffers.
        share: of the cases asked for.
        inside: what of the input is mutated.
        seal: what follows a mutation, to get behind the first check; says what it did.
    """

    name: str
    make: Callable[[Path], Path | None]
    read: Callable[[Path], Numbers]
    mutations: tuple[Mutation, ...]
    share: float = 0.2
    inside: Callable[[Path], Path] = lambda path: path
    seal: Callable[[Path, np.random.Generator], str] | None = None


def digest(values: Any) -> list[float]:
    """A few numbers that differ where arrays or words differ."""
    data = np.ascontiguousarray(values).tobytes() if isinstance(values, np.ndarray) else repr(values).encode()
    return [float(int.from_bytes(hashlib.sha256(data).digest()[:6], "big"))]


def some(values: Any, n: int = 40) -> np.ndarray:
    """Some numbers of an array, evenly."""
    flat = np.asarray(values, float).ravel()
    return flat[np.linspace(0, flat.size - 1, min(n, flat.size)).astype(int)] if flat.size else flat
