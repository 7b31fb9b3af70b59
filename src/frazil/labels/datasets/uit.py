"""The sea-ice patches of UiT: 8-bit images in class folders.

Layout: ``train+val/<class>/``, ``train+val/unlabeled*/``, ``test/<class>/``; HH and HV scaled to 0…255, the incidence
angle in degrees. Training patches come from north of Svalbard, test patches from Danmarkshavn.

References:
    Khaleghian, S. et al. (2020), DataverseNO, doi:10.18710/QAYI4O.
    Khaleghian (2022), papers 1 and 2.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from frazil.conventions import FIVE_CLASSES, ClassScheme
from frazil.errors import LabelError, LabelNotFoundError
from frazil.labels.datasets import table
from frazil.labels.datasets.folders import Item, image_files, read_folders, read_items, scene_in, time_in

if TYPE_CHECKING:
    import xarray as xr

_PARTS = ("train+val", "test")


def read_uit(
    folder: str | os.PathLike[str],
    *,
    scheme: ClassScheme | str = FIVE_CLASSES,
    channels: Sequence[str] = ("hh", "hv", "incidence_angle"),
    classes: Mapping[str, str] | None = None,
    manifest: str | os.PathLike[str] | None = None,
    path: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> xr.Dataset:
    """The UiT patches as a patch set.

    Args:
        folder: that holds ``train+val`` and ``test``.
        scheme: ``"five_classes"``, or ``"binary"`` where the folders are ice and water.
        channels: of the images, in order.
        classes: folder name -> class, in place of the table in ``frazil/data/datasets.toml``.
        manifest: for a copy in another layout, as `frazil.labels.datasets.folders.read_folders`.
        path: write to this ``.zarr`` while reading.
        overwrite: replace what is there.

    Returns:
        The patch set, with a coordinate ``part(patch)``: ``"train+val"``, ``"unlabelled"``, ``"test"``. The set does
        not say which scene a patch is from: unless a file's name tells, ``scene`` is the part, so that a split by
        scene keeps the two regions apart. Patches without a label have the label 255.

    Raises:
        LabelNotFoundError, LabelError: as `frazil.labels.datasets.folders.read_folders`.
    """
    if manifest is not None:
        return read_folders(
            folder,
            manifest=manifest,
            channels=channels,
            scheme=scheme,
            classes=classes,
            path=path,
            overwrite=overwrite,
        )
    root = Path(folder)
    if not root.is_dir():
        raise LabelNotFoundError(f"No folder at {root}. Pass the folder that holds train+val and test.")
    items = list(_items(root))
    if not items:
        raise LabelError(f"{root} holds neither {' nor '.join(_PARTS)} with class folders in it. Pass a manifest.")
    known = dict(table()["uit"]["classes"])
    meaning = {i.label: known[_plain(i.label)] for i in items if i.label is not None and _plain(i.label) in known}
    return read_items(
        items,
        str(root),
        channels=channels,
        scheme=scheme,
        classes={**meaning, **(classes or {})},
        decode=None,
        path=path,
        overwrite=overwrite,
    )


def _items(root: Path) -> Iterator[Item]:
    for part in _PARTS:
        for path in image_files(root / part):
            inside = path.relative_to(root / part)
            if len(inside.parts) < 2:
                continue
            scene = scene_in(path.name)
            item = Item(path, inside.parts[0], part if scene == "unknown" else scene, part, time_in(path.name))
            if inside.parts[0].lower().startswith(("unlabeled", "unlabelled")):
                item = replace(item, label=None, part="unlabelled")
            yield item


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
