"""A set of imagettes in a scheme that has some classes fewer.

A model without a class is for a sea that never has it: Colin et al. (2022, figure 5) map a scene without sea ice so.
Images *called* by such a class are no part of that sea and are left out: kept as images of nothing, they would teach
that ice is plain water. Of images called otherwise, which hold it beside something else, only its masks go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from frazil.class_schemes import ClassScheme
from frazil.errors import LabelError
from frazil.labels.imagettes import check_imagettes
from frazil.labels.sample_set import UNKNOWN

if TYPE_CHECKING:
    import xarray as xr


def in_classes(ds: xr.Dataset, scheme: ClassScheme, *, keep_images: bool = False) -> xr.Dataset:
    """The set in a scheme which is its own, or its own without some classes.

    Args:
        ds: a set of imagettes.
        scheme: of the result.
        keep_images: keep those called by a class that the scheme leaves out, as images whose category is not known.

    Raises:
        LabelError: a scheme of other classes, or no image is left.
    """
    own = check_imagettes(ds)
    if own.name == scheme.name:
        return ds
    kept = [own.names.index(name) for name in scheme.names if name in own.names]
    if own.whole != scheme.whole or len(kept) < len(scheme.names):
        raise LabelError(f"A set of {own.name!r} has not the classes of {scheme.name!r}: {', '.join(scheme.names)}.")
    code = np.full(256, UNKNOWN, np.uint8)
    code[kept] = np.arange(len(kept))
    category = ds["category"].values
    made = ds.isel({"class": kept}).assign(category=("imagette", code[category], ds["category"].attrs))
    made = made.assign_attrs(class_scheme=scheme.name)
    if keep_images:
        return made
    stays = (category == UNKNOWN) | (code[category] != UNKNOWN)
    if not stays.any():
        raise LabelError(f"All images are called by classes that {scheme.name!r} leaves out.")
    return made.isel(imagette=np.flatnonzero(stays))
