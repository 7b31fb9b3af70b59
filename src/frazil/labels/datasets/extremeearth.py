"""The ExtremeEarth polar labels: vector polygons for twelve Sentinel-1 acquisitions off Danmarkshavn, 2018.

Files are named by the acquisition (``seaice_s1_20180116t075430-NE.shp``) and hold the columns of SIGRID-3. The products
themselves are not part of the set: the user has them.

References:
    Hughes, N., Amdal, F. (2021), ExtremeEarth Polar Use Case Training Data, Zenodo, doi:10.5281/zenodo.3695276.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.errors import LabelError, LabelNotFoundError, OptionError
from frazil.labels.datasets.folders import time_in
from frazil.labels.patches import cut_patches
from frazil.labels.sources import product_key

if TYPE_CHECKING:
    import xarray as xr

SUFFIXES = (".shp", ".gpkg", ".geojson", ".json", ".zip", ".fgb", ".kml")
_NEAR_S = 120.0  # an acquisition is named by its start; its parts are products of a minute each


def read_extremeearth(
    folder: str | os.PathLike[str], scenes: Sequence[str | os.PathLike[str]], **options: Any
) -> xr.Dataset:
    """Patches of products inside the ExtremeEarth polygons of their time.

    Args:
        folder: of the vector files.
        scenes: Sentinel-1 products; each is cut with every file whose time is within two minutes of its start.
        **options: of `frazil.labels.patches.cut_patches`.

    Raises:
        LabelNotFoundError: no such folder.
        LabelError: no vector file with a time in its name; no product of the time of any file.
        OptionError: a product whose name has no time.
    """
    pairs = pair_by_time(folder, scenes)
    return cut_patches([scene for scene, _ in pairs], [labels for _, labels in pairs], **options)


def pair_by_time(folder: str | os.PathLike[str], scenes: Sequence[str | os.PathLike[str]]) -> list[tuple[Path, Path]]:
    """Products and vector files of the same time; see `read_extremeearth`."""
    root = Path(folder)
    if not root.is_dir():
        raise LabelNotFoundError(f"No folder at {root}. Pass the folder of the ExtremeEarth polygons.")
    files = {p: _time(p.name) for p in sorted(root.rglob("*")) if p.suffix.lower() in SUFFIXES}
    files = {p: t for p, t in files.items() if t is not None}
    if not files:
        raise LabelError(f"{root} holds no vector file with a time in its name, such as seaice_s1_20180116t075430.shp.")
    pairs = []
    for scene in map(Path, scenes):
        start = _time(product_key(str(scene)))
        if start is None:
            raise OptionError(f"The name of {scene} has no time. Pass products under ESA's names.")
        pairs += [(scene, p) for p, t in files.items() if abs((t - start) / np.timedelta64(1, "s")) <= _NEAR_S]
    if not pairs:
        times = ", ".join(sorted(str(t) for t in files.values())[:3])
        raise LabelError(f"None of the {len(scenes)} products is of the time of the polygons ({times} …).")
    return pairs


def _time(name: str) -> np.datetime64 | None:
    text = time_in(name)
    return np.datetime64(text, "s") if text else None
