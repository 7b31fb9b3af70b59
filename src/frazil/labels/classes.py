"""What values of labels mean: options of reading, and names, codes and numbers as classes of a scheme."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from frazil.conventions import CLASS_LAND, CLASS_NODATA, CLASS_SCHEMES, UNDECIDED_NAME, ClassScheme
from frazil.labels.chart import Unknown
from frazil.labels.sigrid3 import ChartSettings, code_text


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """How a file of labels is read.

    Attributes:
        class_column: column of a vector file that holds classes: names, titles or codes of the scheme, or SIGRID-3
            codes (``"02"``, ``83``). None: the columns of a SIGRID-3 chart.
        classes: what a value of the class column, or of a class raster, means: value (as text) -> class name,
            ``"land"``, or ``""`` for no label. Numbers are compared as numbers. If any is given, a value that is not
            among them is an error, so that nothing is taken for a code that it is not.
        scene_column: column that names the product a polygon was drawn on; polygons of other products are left out.
        layer: of a vector file of several layers.
        assume_crs: of a file that does not say its own.
        unknown: codes of a chart that SIGRID-3 does not have: ``"refuse"`` or ``"ignore"``.
        chart: thresholds for charts.
        dialect: edition of SIGRID-3 that a chart is written in; None to find out (see `frazil.labels.read_chart`).
    """

    class_column: str | None = None
    classes: Mapping[str, str] = field(default_factory=dict)
    scene_column: str | None = None
    layer: str | None = None
    assume_crs: str | None = None
    unknown: Unknown = "refuse"
    chart: ChartSettings = ChartSettings()  # noqa: RUF009 - frozen
    dialect: str | None = None


class LabelsOnScene(Protocol):
    """Labels on the pixels of one scene."""

    @property
    def class_of(self) -> np.ndarray:
        """Class code of each region; 254 land, 255 none."""

    @property
    def polygon_of(self) -> np.ndarray:
        """Row in the label file of each region; −1 for regions of a class raster."""

    def regions(self, rows: slice) -> np.ndarray:
        """Region of each pixel of some rows of the scene: int32, −1 without a single label."""


class ClassRegions:
    """Labels whose regions are classes, as in rasters; see `LabelsOnScene`."""

    @property
    def class_of(self) -> np.ndarray:
        """The code itself."""
        return np.arange(256, dtype=np.uint8)

    @property
    def polygon_of(self) -> np.ndarray:
        """No polygons."""
        return np.full(256, -1, np.int32)


def meaning_of(value: Any, scheme: ClassScheme, classes: Mapping[str, str]) -> int | None:
    """The class code that a value means (see `class_code`); with ``classes`` given only what they say, else None."""
    if not classes or class_code(value, scheme, {}) == CLASS_NODATA:
        return class_code(value, scheme, classes)
    name = name_of(value, classes)
    return None if name is None else class_code(name, scheme, {})


def name_of(value: Any, classes: Mapping[str, str]) -> str | None:
    """What ``classes`` say of a value, by its text or else by its number: ``1``, ``1.0`` and ``"01"`` are one."""
    text = str(value).strip()
    if text in classes:
        return classes[text]
    number = _number(text)
    same = {name for key, name in classes.items() if number is not None and _number(key) == number}
    return same.pop() if len(same) == 1 else None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def class_code(value: Any, scheme: ClassScheme, classes: Mapping[str, str]) -> int | None:
    """The class code that a value of a label file means: 254 land, 255 no label, None if it means nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return CLASS_NODATA
    text = str(value).strip()
    if isinstance(value, float) and value.is_integer():
        text = str(int(value))
    text = classes.get(text, text)
    if text.lower() in ("", UNDECIDED_NAME):
        return CLASS_NODATA
    if text.lower() == "land":
        return CLASS_LAND
    for other in (scheme, *CLASS_SCHEMES.values()):
        for c in other.classes:
            if text.lower() in (c.name, c.title.lower()):
                return into_scheme(c.code, other, scheme)
    if text.isdecimal():
        if str(int(text)) == text and int(text) < len(scheme.classes):  # "02" is a SIGRID-3 code, "2" is not
            return int(text)
        for other in (scheme, *CLASS_SCHEMES.values()):
            for c in other.classes:
                if code_text(text) in c.sigrid3:
                    return into_scheme(c.code, other, scheme)
    return None


def into_scheme(code: int, source: ClassScheme, target: ClassScheme) -> int | None:
    """A class of one scheme in another: equal names, or ice against water."""
    if source.name == target.name:
        return code
    if len(target.classes) == 2:
        return min(code, 1)
    name = source.classes[code].name
    return target.names.index(name) if name in target.names else None


def strange_values(where: str, values: list[str], scheme: ClassScheme) -> str:
    """The message for values that mean no class."""
    listed = ", ".join(map(repr, values[:40])) + (f" and {len(values) - 40} more" if len(values) > 40 else "")
    return (
        f"{where} holds {listed}, which is no class of {scheme.name} {list(scheme.names)}. "
        "Say what it means: classes={'VALUE': 'name'} (--class VALUE=NAME; an empty name leaves it out)."
    )
