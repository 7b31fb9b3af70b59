"""Maps in a report: the classes beside those of the truth, and where the two differ."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frazil.conventions import CLASS_NODATA, ClassScheme, check_map
from frazil.errors import LabelError, OptionError
from frazil.labels.classes import LabelOptions
from frazil.labels.sources import PolygonLabels, product_key
from frazil.maps.compare import Comparison, compare
from frazil.maps.comparison_figure import draw_comparison
from frazil.maps.figures import draw_map
from frazil.maps.netcdf import open_map
from frazil.maps.phenomena_figures import draw_phenomena_map
from frazil.maps.references import PolygonReference, ReferenceOptions, open_reference
from frazil.reports import figures
from frazil.reports.html import FIGURES
from frazil.reports.record import RunRecord

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, kw_only=True)
class MapWithTruth:
    """A map to show, and what is known of its place.

    Attributes:
        folder: of the map.
        truth: a reference of `frazil.compare`; None to show the map alone.
        kind: of the truth, one of `frazil.maps.references.KINDS`; None to find out.
        labels: how the truth is read.
    """

    folder: str | os.PathLike[str]
    truth: str | os.PathLike[str] | None = None
    kind: str | None = None
    labels: LabelOptions = LabelOptions()  # noqa: RUF009 - frozen


@dataclass(frozen=True, eq=False, kw_only=True)
class OpenMap:
    """A map that was read, to be drawn into the folder of a report.

    Attributes:
        n: its number.
        made, scheme: the map and its classes.
        of: where it came from.
        learnt_by: runs with the name of its model that have learnt from its scene.
        other_runs: how many runs of that name have not; names of models are not unique.
        comparison: with its truth; None without one.
        truth_codes: see `frazil.reports.figures.draw_map_and_truth`.
    """

    n: int
    made: xr.Dataset
    scheme: ClassScheme
    of: MapWithTruth
    learnt_by: list[str]
    other_runs: int
    comparison: Comparison | None
    truth_codes: np.ndarray | None

    def draw(self, folder: Path) -> dict[str, object]:
        """What the page says of the map; its figures are written."""
        attrs = self.made.attrs
        out: dict[str, object] = {
            "number": self.n,
            "folder": str(self.of.folder),
            "product": str(attrs["product"]),
            "model": str(attrs["model"]),
            "note": str(attrs.get("note") or ""),
            "learnt_by": self.learnt_by,
            "other_runs": self.other_runs,
            "phenomena": self.scheme.kind == "multilabel",
            "truth": None if self.of.truth is None else str(self.of.truth),
            "comparison": None,
        }
        stem = f"{FIGURES}/map-{self.n}"
        made, codes = self.comparison, self.truth_codes
        if made is None:
            draw = draw_map if self.scheme.kind == "exclusive" else draw_phenomena_map
            draw(self.made, folder / f"{stem}.png")
            return out | {"picture": f"{stem}.png"}
        legend = figures.draw_map_and_truth(self.made, self.scheme, made, codes, folder / f"{stem}-truth.png")
        draw_comparison([made], attrs, folder / f"{stem}-difference.png")
        moved = (made.scores["displacement"] or {}).get("symmetric")
        return out | {
            "beside": f"{stem}-truth.png",
            "difference": f"{stem}-difference.png",
            "legend": [(title, "#{:02x}{:02x}{:02x}".format(*colour)) for title, colour in legend],
            "kinds_told": codes is not None,
            "reference": str(made.scores["reference"]),
            "notes": [str(note) for note in made.scores["notes"]],
            "comparison": {
                "Over-estimation: ice in the map only": f"{made.scores['over_km2']:.1f} km²",
                "Under-estimation: ice in the truth only": f"{made.scores['under_km2']:.1f} km²",
                "Integrated ice-edge error (IIEE)": f"{made.scores['iiee_km2']:.1f} km²",
                "Agreement about ice or water": f"{made.scores['agreement_percent']:.1f} %",
                "Area compared": f"{made.scores['compared_km2']:.1f} km²",
                "Distance of the ice edges, median": "no edge in one of them"
                if moved is None
                else f"{moved['median_km']:.1f} km",
            },
        }


def read_map(one: MapWithTruth, n: int, runs: Sequence[RunRecord]) -> OpenMap:
    """A map, compared with its truth; and which of the runs have learnt from its scene.

    Raises:
        OptionError: a truth, which tells of sea ice, for a map of phenomena.
        ProductNotFoundError, ContractError, LabelNotFoundError, LabelError: as `frazil.compare`.
    """
    read = open_map(one.folder)
    scheme = check_map(read)
    if one.truth is not None and scheme.kind != "exclusive":
        raise OptionError(
            f"{one.folder} is a map of phenomena ({scheme.name}), and truths tell of sea ice. Leave its truth out."
        )
    product, model = product_key(str(read.attrs["product"])), str(read.attrs["model"])
    learnt, others = [], 0
    for k, run in enumerate(runs, start=1):
        if run.card is None or run.card.id != model:
            continue
        if product in {product_key(name) for name in run.side("train").scenes}:
            learnt.append(f"run {k}, {run.name}")
        else:
            others += 1
    made, codes = None, None
    if one.truth is not None:
        made = compare(read, one.truth, kind=one.kind, labels=one.labels)
        codes = _truth_codes(read, scheme, one)
    return OpenMap(
        n=n,
        made=read,
        scheme=scheme,
        of=one,
        learnt_by=learnt,
        other_runs=others,
        comparison=made,
        truth_codes=codes,
    )


def _truth_codes(ice_map: xr.Dataset, scheme: ClassScheme, of: MapWithTruth) -> np.ndarray | None:
    """Classes of polygons and charts on the grid of a map, 255 without a single one; None for other truths."""
    assert of.truth is not None
    reference = open_reference(of.truth, kind=of.kind, options=ReferenceOptions(labels=of.labels))
    if not isinstance(reference, PolygonReference):
        return None
    try:
        labels = PolygonLabels(reference.frame, scheme, of.labels).on(ice_map)
    except LabelError:  # classes of another scheme: ice and water are told all the same
        return None
    rows = slice(0, ice_map.sizes["y"])
    region = labels.regions(rows)
    return np.where(region >= 0, labels.class_of[region], CLASS_NODATA).astype(np.uint8)


def pair_maps(
    maps: Sequence[str | os.PathLike[str]],
    truths: Sequence[str | os.PathLike[str]],
    *,
    kind: str | None = None,
    labels: LabelOptions | None = None,
) -> list[MapWithTruth]:
    """Maps with their truths, one for all or one each; ``{scene}`` in a truth stands for the product of the map.

    Raises:
        OptionError: truths without maps, or of another number.
        ProductNotFoundError, ContractError: a map that is not there.
    """
    if truths and len(truths) not in (1, len(maps)):
        raise OptionError(f"There are {len(maps)} maps and {len(truths)} truths. Pass one truth for all, or one each.")
    if truths and not maps:
        raise OptionError("There is a truth but no map. Pass the folder of a map too (--map).")
    each: list[str | os.PathLike[str] | None] = [None] * len(maps)
    if truths:
        each = [*truths] * (len(maps) if len(truths) == 1 else 1)
    out = []
    for folder, truth in zip(maps, each, strict=True):
        if truth is not None and "{scene}" in str(truth):
            truth = str(truth).replace("{scene}", product_key(str(open_map(folder).attrs["product"])))
        out.append(MapWithTruth(folder=folder, truth=truth, kind=kind, labels=labels or LabelOptions()))
    return out
