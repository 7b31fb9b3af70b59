"""Images with a table that says which phenomena each shows.

References:
    Glaser, Y., Stopa, J. E., et al. (2024), WV-Net, github.com/hawaii-ai/WV-Net: 15 examples and their table.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frazil.conventions import METOCEAN
from frazil.errors import LabelError, LabelNotFoundError
from frazil.labels.datasets.imagette_files import SUFFIXES, grey, meanings, read_array
from frazil.labels.imagettes import SIDE_M, Imagette, make_imagettes, resample, sizes_for
from frazil.labels.sample_set import UNKNOWN
from frazil.pictures import MOST_BYTES
from frazil.untrusted import read_bytes

if TYPE_CHECKING:
    import xarray as xr


def read_multilabel(
    table: str | os.PathLike[str],
    *,
    columns: Mapping[str, str] | None = None,
    resolution_m: float = 100.0,
    side_m: float = SIDE_M,
) -> xr.Dataset:
    """A set of the images that a CSV lists, with what it says of each.

    Args:
        table: CSV with a first column of file names and columns of 0 and 1; images stand beside it.
        columns: what a column means: name -> class; by default the columns of WV-Net that mean one of the ten, and
            columns named as the classes or by their short names. Classes without a column are unknown in every image.
        resolution_m: of the set.
        side_m: that the images cover, along their lines.

    Raises:
        LabelNotFoundError: no table, or an image that it lists is missing. LabelError: a table that cannot be read.
    """
    path = Path(table)
    if not path.is_file():
        raise LabelNotFoundError(f"No table at {path}.")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{path} cannot be read as CSV ({error}).") from error
    if not rows or len(rows[0]) < 2:
        raise LabelError(f"{path} holds no rows of labels.")
    key, *names = list(rows[0])
    short, known = meanings()["short"], columns or meanings()["wvnet"]["columns"]
    meant = {n: known.get(n) or short.get(n) or n for n in names}
    used = {n: c for n, c in meant.items() if c in METOCEAN.names}
    if not used:
        raise LabelError(f"No column of {path} means a class ({', '.join(names)}). Pass columns.")
    size, cell = sizes_for(resolution_m, side_m)

    def items() -> Iterator[Imagette]:
        for row in rows:
            name = str(row[key])
            file = path.parent / name
            if not file.is_file() or file.suffix.lower() not in SUFFIXES:
                raise LabelNotFoundError(f"{path} lists {name}, which is no image beside it.")
            present = np.full(len(METOCEAN.classes), UNKNOWN, np.uint8)
            for column, class_name in used.items():
                if row[column] not in ("0", "1"):
                    raise LabelError(f"{path}: column {column} of {name} holds {row[column]!r}, expected 0 or 1.")
                present[METOCEAN.names.index(class_name)] = int(row[column])
            image = grey(name, read_array(name, read_bytes(file, MOST_BYTES)))
            shape = tuple(round(n / image.shape[0] * side_m / resolution_m) for n in image.shape)
            yield Imagette(
                name=Path(name).stem,
                image=resample(image, shape),
                present=present,
                group=Path(name).stem,  # type: ignore[arg-type]
                category=int(np.flatnonzero(present == 1)[0]) if (present == 1).sum() == 1 else None,
                incidence_angle=23.8 if "-wv1-" in name else 36.8 if "-wv2-" in name else float("nan"),
            )

    return make_imagettes(items(), size=size, cell=cell, spacing_m=resolution_m, source=path.name, scaling="8-bit")
