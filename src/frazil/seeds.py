"""What a seed of random numbers may be."""

from __future__ import annotations

from frazil.errors import OptionError


def check_seed(seed: int, name: str = "seed") -> int:
    """The seed, if random numbers can begin from it.

    Raises:
        OptionError: below 0.
    """
    if seed < 0:
        raise OptionError(f"{name} {seed} must be 0 or more.")
    return seed
