"""TenGeoP-SARwv: wave-mode images in one folder for each of ten categories.

References:
    Wang, C., et al. (2018), Labeled SAR imagery dataset of ten geophysical phenomena from Sentinel-1 wave mode. SEANOE.
    doi:10.17882/56796.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from frazil.conventions import METOCEAN
from frazil.errors import LabelError
from frazil.labels.datasets.imagette_files import grey, meanings, read_array, walk
from frazil.labels.imagettes import Imagette, make_imagettes, resample, sizes_for

if TYPE_CHECKING:
    import xarray as xr

SPACING_M = 50.0  #: of the published images


def read_tengeop(
    folder: str | os.PathLike[str], *, resolution_m: float = 100.0, spacing_m: float = SPACING_M
) -> xr.Dataset:
    """A set of imagettes of class folders: letters F to O, short names (``MCC``) or full ones.

    Args:
        folder: that holds the class folders; images are of any size.
        resolution_m: of the set.
        spacing_m: of the images on disk.

    Raises:
        LabelNotFoundError: no folder. LabelError: a folder that means no class, or no image.
    """
    root = Path(folder)
    size, cell = sizes_for(resolution_m)

    def items() -> Iterator[Imagette]:
        for name, content in walk(root):
            image = grey(name, read_array(name, content))
            shape = tuple(max(round(n * spacing_m / resolution_m), 1) for n in image.shape)
            stem = Path(name).stem
            yield Imagette(
                name=stem,
                image=resample(image, shape),
                category=category_of(name),
                group=stem.split("-vv-")[-1][:15],  # type: ignore[arg-type]
            )

    return make_imagettes(
        items(), scheme=METOCEAN, size=size, cell=cell, spacing_m=resolution_m, source=str(root.name), scaling="8-bit"
    )


def category_of(name: str) -> int:
    """Code of the class of an image, from the names of the folders that it is in, the last one that means something.

    Raises:
        LabelError: none does.
    """
    table = meanings()
    for part in reversed(Path(name).parts[:-1]):
        word = part.strip()
        meant = table["tengeop"]["folders"].get(word) or table["short"].get(word.upper()) or word.lower()
        if meant in METOCEAN.names:
            return METOCEAN.names.index(meant)
    raise LabelError(
        f"{name} is in no folder that means a class. Name folders {', '.join(table['tengeop']['folders'])}, "
        f"{', '.join(METOCEAN.names[:2])}, …"
    )
