"""What versions of S-411 have in common: the features of a dataset, and their codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from frazil.charts.sigrid3 import written
from frazil.labels.sigrid3 import code_text

GML = "http://www.opengis.net/gml/3.2"
DIGITS = 6  #: of a degree


@dataclass(frozen=True)
class Part:
    """What one dataset holds, in longitude and latitude, degrees.

    Attributes:
        side: ``"E"`` or ``"W"`` of the antimeridian, where a chart is two datasets.
        areas: polygons at sea, each with its row of the chart.
        lines: of the ice edge.
        observed: polygons of what was observed, land included.
    """

    side: str
    areas: Sequence[tuple[Any, Mapping[str, Any]]]
    lines: Sequence[Any]
    observed: np.ndarray


def total_of(row: Mapping[str, Any]) -> tuple[int, bool]:
    """Total concentration of an area as S-411 writes it, and whether its kinds of ice are told, too.

    Args:
        row: POLY_TYPE and CT, a code of `frazil.read_chart`.

    Raises:
        LabelError: a code that S-411 does not have.
    """
    total = code_text(row["CT"]) or ("55" if row["POLY_TYPE"] == "W" else "99")
    return int(written("CT", total, "S-411")), total not in ("00", "55", "01", "02", "99")


def oriented_rings(polygon: Any) -> tuple[Any, Sequence[Any]]:
    """The outer ring, clockwise, and the holes, counter-clockwise, as level 3a of S-100 has them."""
    import shapely

    outer, *holes = shapely.get_rings(shapely.orient_polygons(polygon, exterior_cw=True))
    return outer, holes
