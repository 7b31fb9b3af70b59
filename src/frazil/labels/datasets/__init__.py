"""Published data sets, each read into the patch set that `frazil.labels.patch_set` describes."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files
from typing import Any


@lru_cache(maxsize=1)
def table() -> dict[str, Any]:
    """What names and numbers in published data sets mean: ``frazil/data/datasets.toml``."""
    with (files("frazil") / "data" / "datasets.toml").open("rb") as file:
        return tomllib.load(file)
