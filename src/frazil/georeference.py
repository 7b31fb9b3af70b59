"""Where rasters and vector files of strangers say that they lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from frazil.errors import LabelError
from frazil.untrusted import read_bytes

if TYPE_CHECKING:
    from affine import Affine

_CELL_AREA = (1e-14, 1e14)  # in units of the CRS: from 10⁻⁷ degrees to 10,000 km a side


def is_placed(crs: Any) -> bool:
    """Whether a CRS says where on the Earth coordinates are."""
    if crs is None:
        return False
    try:
        known = CRS.from_user_input(crs)
        Transformer.from_crs(known, "EPSG:4326")
    except (CRSError, ProjError):
        return False
    return bool(known.is_geographic or known.is_projected)


def refuse_unplaced(path: str | os.PathLike[str], crs: CRS, transform: Affine) -> None:
    """Raise for a raster whose CRS, or whose transform, puts its cells nowhere.

    Raises:
        LabelError: naming what is wrong.
    """
    if not is_placed(crs):
        raise LabelError(f"The CRS {crs.name[:80]!r} of {path} has no place on the Earth. Save it in another one.")
    numbers = np.array(transform[:6])
    if not (np.isfinite(numbers).all() and _CELL_AREA[0] <= abs(transform.determinant) <= _CELL_AREA[1]):
        raise LabelError(f"The transform {tuple(numbers.tolist())} of {path} puts its cells nowhere. Get it again.")


def world_file(path: str | os.PathLike[str]) -> Affine | None:
    """The transform in a world file beside a raster (``.tfw``, ``.pgw``, ``.wld`` …), None without one.

    Raises:
        LabelError: it does not hold six numbers.
    """
    from affine import Affine

    file = Path(path)
    suffix = file.suffix.lower()
    names = {f"{suffix[:2]}{suffix[-1]}w", f"{suffix}w", ".wld"}
    for name in sorted(names | {n.upper() for n in names}):
        beside = file.with_suffix(name)
        if not beside.is_file():
            continue
        try:
            a, d, b, e, x, y = (float(word) for word in read_bytes(beside, 4096).decode("ascii").split())
        except (OSError, ValueError) as error:
            raise LabelError(f"{beside} is no world file of six numbers ({error}).") from error
        return Affine(a, b, x - (a + b) / 2, d, e, y - (d + e) / 2)  # it tells the centre of the first pixel
    return None
