"""A map against a reference: where it shows too much ice, where too little, and how far apart the ice edges lie.

Over-estimation O is the area where the map says ice and the reference water, under-estimation U the reverse; their sum
is the integrated ice-edge error (IIEE). It splits into the absolute extent error AEE = abs(O − U) and the misplacement
error ME = 2 min(O, U). All areas are ground areas on the ellipsoid, within the sea that both map and reference tell of.

References:
    Goessling, H. F., Tietsche, S., Day, J. J., Hawkins, E., Jung, T. (2016), Predictability of the Arctic sea ice edge,
    Geophysical Research Letters 43, 1642–1650. doi:10.1002/2015GL067232.
    Khaleghian, S. (2022), Scalable computing for Earth observation, PhD thesis, UiT, paper 1, figure 9 and table 6.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from frazil.conventions import (
    CLASS_LAND,
    CLASS_NODATA,
    QUALITY_FLAGS,
    UNDECIDED,
    ClassScheme,
    MapClass,
    check_ice_map,
)
from frazil.errors import LabelError, OptionError
from frazil.maps.areas import PixelAreas
from frazil.maps.displacement import EdgeLines, displacement, placed_lines
from frazil.maps.edges import EDGE_MIN_AREA_KM2, edge_between, edge_sides
from frazil.maps.netcdf import open_map
from frazil.maps.rasters import RasterReference, Resampling
from frazil.maps.references import (
    ICE_CODE,
    WATER_CODE,
    Reference,
    ReferenceOptions,
    ice_codes,
    map_time,
    open_reference,
    shown_name,
)
from frazil.maps.times import TimeSpan
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

    from frazil.labels.classes import LabelOptions

#: What the pixels of a comparison are: codes 0 to 3; 254 land of the map, 255 not compared.
CATEGORIES = ClassScheme(
    name="difference",
    classes=(
        MapClass(code=0, name="agree_water", title="Both: water", sigrid3=(), colour=(183, 212, 236)),
        MapClass(code=1, name="agree_ice", title="Both: ice", sigrid3=(), colour=(247, 248, 250)),
        MapClass(code=2, name="over", title="Over-estimation", sigrid3=(), colour=(229, 92, 48)),
        MapClass(code=3, name="under", title="Under-estimation", sigrid3=(), colour=(112, 71, 168)),
    ),
)
OVER, UNDER = 2, 3
_FAR_APART_H = 24.0
_LONG_MEAN_H = 48.0


class _Times(TypedDict):
    map_time: str | None
    reference_time: str | None
    reference_span_h: float | None
    reference_minus_map_h: float | None


class _Figures(TypedDict):
    over_km2: float
    under_km2: float
    iiee_km2: float
    absolute_extent_error_km2: float
    misplacement_error_km2: float
    agreement_percent: float
    compared_km2: float
    ice_map_km2: float
    ice_reference_km2: float
    edge_map_km: float
    edge_reference_km: float
    displacement: dict[str, dict[str, float]] | None


class ComparisonScores(_Times, _Figures):
    """Figures of a comparison and what they rest on; areas in km², distances in km, times in hours."""

    reference: str
    kind: str
    ice_in_map: str
    ice_in_reference: str
    excluded_flags: list[str]
    edge_min_area_km2: float
    left_out_km2: dict[str, float]
    compared_percent_of_mapped_sea: float
    notes: list[str]


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """A map compared with one reference.

    Attributes:
        scores: figures and what they rest on, ready for JSON; areas in km², distances in km.
        categories: uint8 ``(y, x)``, codes of `CATEGORIES`, 254 land, 255 not compared.
        grid: of the map.
        map_edge, reference_edge: lines of the two ice edges within the area compared.
    """

    scores: ComparisonScores
    categories: np.ndarray
    grid: MapGrid
    map_edge: EdgeLines
    reference_edge: EdgeLines


def compare(
    ice_map: xr.Dataset | str | os.PathLike[str],
    reference: str | os.PathLike[str] | xr.Dataset | gpd.GeoDataFrame,
    *,
    kind: str | None = None,
    threshold_percent: float = 15.0,
    chart_edge: bool = False,
    ice_probability_percent: float | None = None,
    exclude_flags: Sequence[str] = (),
    resampling: Resampling = "bilinear",
    min_area_km2: float = EDGE_MIN_AREA_KM2,
    labels: LabelOptions | None = None,
    variable: str | None = None,
) -> Comparison:
    """Compare a map with analyst polygons, a chart, a concentration map, a class raster or another map.

    The reference is brought onto the grid of the map: polygons by pixel centres, classes by the nearest cell,
    concentration by bilinear interpolation before the threshold (`frazil.maps.rasters` says why). Compared are the
    pixels that are sea in both and observed in both, and where the map says ice or water. Edges (those of
    `frazil.ice_edge`, and of the reference) run where both tell of one, so that neither the coast nor the border of
    the area counts as an edge; an edge that leaves the area on one side may be far from all of the other inside it.

    Args:
        ice_map: a map, its folder or its NetCDF file.
        reference: see `frazil.maps.references.open_reference`.
        kind: what the reference is, one of `frazil.maps.references.KINDS`; None to find out.
        threshold_percent: concentration from which the reference is ice.
        chart_edge: take the ice edge of a chart as drawn, from 1/10, and not the threshold.
        ice_probability_percent: probability from which a map is ice, and water below; None: what it says, and where
            it is undecided it is not compared.
        exclude_flags: leave out pixels with any of these quality flags.
        resampling: of concentration: ``"bilinear"``, or ``"nearest"`` to count whole cells.
        min_area_km2: patches of ice or water smaller than this have no edge; areas count them.
        labels: class column, meanings, layer and CRS of polygons and class rasters.
        variable: of a NetCDF file with several concentrations, the one to take.

    Returns:
        A `Comparison`. Its ``scores`` hold ``over_km2``, ``under_km2``, ``iiee_km2``, ``absolute_extent_error_km2``,
        ``misplacement_error_km2``, ``agreement_percent``, ``compared_km2``, the ice extent of both, the edge lengths,
        ``displacement`` (None where one of them has no edge; ``notes`` then says so) and the times.

    Raises:
        ProductNotFoundError, ProductError, ContractError: no map there, or not on a projected grid.
        LabelNotFoundError, LabelError: the reference is missing, not readable, or shares no sea with the map.
        OptionError: an unknown kind or flag, or a threshold outside its range.

    Example:
        >>> from frazil.testing import make_map
        >>> ice_map = make_map(seed=1)
        >>> compare(ice_map, ice_map).scores["iiee_km2"]
        0.0
    """
    from frazil.labels.classes import LabelOptions

    _check_flags(exclude_flags)
    if not min_area_km2 >= 0:
        raise OptionError(f"min_area_km2 is {min_area_km2}; it must be 0 or more.")
    options = ReferenceOptions(
        threshold_percent=threshold_percent,
        chart_edge=chart_edge,
        ice_probability_percent=ice_probability_percent,
        resampling=resampling,
        labels=labels or LabelOptions(),
        variable=variable,
    )
    if isinstance(ice_map, (str, os.PathLike)):
        ice_map = open_map(ice_map)
    check_ice_map(ice_map)
    grid = MapGrid.of(ice_map)
    when = map_time(ice_map)
    opened = open_reference(reference, kind=kind, options=replace(options, near=when.middle if when else None))

    ours, theirs = ice_codes(ice_map, ice_probability_percent), opened.on(ice_map)
    excluded = _excluded(ice_map, exclude_flags)
    sea = ours < CLASS_LAND
    compared = (ours <= ICE_CODE) & (theirs <= ICE_CODE) & ~excluded
    left_out = _left_out(PixelAreas(grid), ours, theirs, excluded)
    if not compared.any():
        raise LabelError(_nothing_in_common(ice_map, opened, left_out))
    categories = np.full(grid.shape, CLASS_NODATA, np.uint8)
    categories[ours == CLASS_LAND] = CLASS_LAND
    pairs = np.array([[WATER_CODE, UNDER], [OVER, ICE_CODE]], np.uint8)  # [map, reference]
    categories[compared] = pairs[ours[compared], theirs[compared]]
    edges = _edges(ice_map, opened, theirs, ~excluded & sea, ice_probability_percent, min_area_km2)
    figures = _scores(PixelAreas(grid).by_code(categories), edges)
    times = _times(when, opened.time)
    scores: ComparisonScores = {
        "reference": opened.name,
        "kind": opened.kind,
        "ice_in_map": _ice_in_map(ice_probability_percent),
        "ice_in_reference": opened.says,
        "excluded_flags": list(exclude_flags),
        "edge_min_area_km2": min_area_km2,
        **times,
        **figures,
        "left_out_km2": {name: round(area, 3) for name, area in left_out.items() if name != "sea"},
        "compared_percent_of_mapped_sea": round(100 * figures["compared_km2"] / left_out["sea"], 3),
        "notes": [*_time_notes(times, opened), *_edge_notes(edges, opened), *_prior_notes(ice_map, opened)],
    }
    return Comparison(
        scores=scores,
        categories=categories,
        grid=grid,
        map_edge=edges[0],
        reference_edge=edges[1],
    )


def _edges(
    ice_map: xr.Dataset,
    reference: Reference,
    theirs: np.ndarray,
    use: np.ndarray,
    percent: float | None,
    min_area_km2: float,
) -> list[EdgeLines]:
    """The edges of a map and a reference, on the sea in use where both tell of one."""
    grid = MapGrid.of(ice_map)
    if isinstance(reference, RasterReference) and reference.edge is not None:
        theirs = replace(reference, raster=reference.edge).on(ice_map)
    sides = [edge_sides(ice_map, percent), theirs]
    use = use & (sides[0] <= ICE_CODE) & (sides[1] <= ICE_CODE)
    return [placed_lines(edge_between(side, use, grid, min_area_km2), grid) for side in sides]


def _scores(area: np.ndarray, edges: Sequence[EdgeLines]) -> _Figures:
    """Figures from the ground area of each category, km², and the edges of map and reference."""
    water, ice, over, under = (float(v) for v in area[:4])
    compared = water + ice + over + under
    return {
        "over_km2": round(over, 3),
        "under_km2": round(under, 3),
        "iiee_km2": round(over + under, 3),
        "absolute_extent_error_km2": round(abs(over - under), 3),
        "misplacement_error_km2": round(2 * min(over, under), 3),
        "agreement_percent": round(100 * (water + ice) / compared, 3),
        "compared_km2": round(compared, 3),
        "ice_map_km2": round(ice + over, 3),
        "ice_reference_km2": round(ice + under, 3),
        "edge_map_km": round(edges[0].length_km, 3),
        "edge_reference_km": round(edges[1].length_km, 3),
        "displacement": displacement(*edges),
    }


def _left_out(areas: PixelAreas, ours: np.ndarray, theirs: np.ndarray, excluded: np.ndarray) -> dict[str, float]:
    """Sea of the map, and what of it is not compared, by reason, km²."""
    why = np.full(ours.shape, 5, np.uint8)
    sea = ours < CLASS_LAND
    why[sea] = 0
    why[sea & (theirs > ICE_CODE)] = 1
    why[sea & (theirs == CLASS_LAND)] = 2
    told = sea & (theirs <= ICE_CODE)
    why[told & (ours == UNDECIDED)] = 4
    why[told & excluded] = 3
    area = areas.by_code(why)
    return {
        "sea": float(area[:5].sum()),
        "reference_silent": float(area[1]),
        "reference_land": float(area[2]),
        "excluded_flags": float(area[3]),
        "map_undecided": float(area[4]),
    }


def _nothing_in_common(ice_map: xr.Dataset, reference: Reference, area: dict[str, float]) -> str:
    product = ice_map.attrs["product"]
    if not area["sea"]:
        return f"The map of {product} holds no sea: nothing but land or no data. There is nothing to compare."
    parts = [
        text
        for name, text in (
            ("reference_silent", "{} km² where the reference lies elsewhere or tells nothing"),
            ("reference_land", "{} km² where it has land"),
            ("excluded_flags", "{} km² excluded by flags"),
            ("map_undecided", "{} km² where the map is undecided"),
        )
        if area[name]
        for text in [text.format(f"{area[name]:.0f}")]
    ]
    return (
        f"{reference.name} and the map of {product} have no sea in common: of the {area['sea']:.0f} km² of sea in the "
        f"map, {', '.join(parts)}. Pass a reference of its place."
    )


def _check_flags(names: Sequence[str]) -> None:
    if isinstance(names, str):
        raise OptionError(f"exclude_flags is the text {names!r}; pass a list of flags.")
    unknown = [name for name in names if name not in QUALITY_FLAGS]
    if unknown:
        raise OptionError(f"Quality flags {unknown} are unknown; choose from {list(QUALITY_FLAGS)}.")


def _excluded(ice_map: xr.Dataset, names: Sequence[str]) -> np.ndarray:
    bits = np.uint16(sum({QUALITY_FLAGS[name][0] for name in names}))
    return np.asarray((ice_map["quality_flags"].values & bits) != 0)


def _ice_in_map(percent: float | None) -> str:
    return "every class of ice" if percent is None else f"a probability of ice of {percent:g} % or more"


def _times(ours: TimeSpan | None, theirs: TimeSpan | None) -> _Times:
    hours = None if ours is None or theirs is None else (theirs.middle - ours.middle) / timedelta(hours=1)
    return {
        "map_time": None if ours is None else str(ours),
        "reference_time": None if theirs is None else str(theirs),
        "reference_span_h": None if theirs is None else round(theirs.hours, 3),
        "reference_minus_map_h": None if hours is None else round(hours, 2) + 0.0,
    }


def _time_notes(times: _Times, reference: Reference) -> list[str]:
    hours, span = times["reference_minus_map_h"], times["reference_span_h"]
    if hours is None or span is None:
        return [f"{reference.name}: the time of {'the reference' if span is None else 'the map'} is not known."]
    notes = []
    if abs(hours) > _FAR_APART_H:
        side = "later" if hours > 0 else "earlier"
        notes.append(f"{reference.name} is {abs(hours):.0f} h {side} than the map: drift and freezing count as errors.")
    if span > _LONG_MEAN_H:
        notes.append(f"{reference.name} is a mean over {span / 24:.0f} days, the map a moment.")
    return notes


def _edge_notes(edges: Sequence[EdgeLines], reference: Reference) -> list[str]:
    without = [who for who, edge in zip(("the map", "the reference"), edges, strict=True) if not len(edge.xy)]
    if not without:
        return []
    return [f"{reference.name}: no ice edge in {' or '.join(without)} within the area compared; no displacement."]


def _prior_notes(ice_map: xr.Dataset, reference: Reference) -> list[str]:
    if ice_map.attrs.get("prior") != shown_name(reference):
        return []
    return [f"{reference.name} is the prior that the map rests on: that they agree is no evidence for either."]
