"""Charts beside each other: their structure as tables, and a picture of two. For `benchmarks/charts.py`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from frazil.charts.colours import (
    COLOUR_CODES,
    CONCENTRATION,
    LAND,
    NO_STAGE,
    STAGE,
    UNKNOWN,
    Entry,
    entry_of,
    predominant,
    upper_tenth,
)
from frazil.charts.page import draw_polygons
from frazil.conventions import CLASS_LAND
from frazil.files import replaced_file
from frazil.maps.panels import hatch_nodata

#: What codes are counted together: largest concentration in tenths, or stages, and their words.
TENTHS = {0: "below 1/10", 3: "1 to 3", 6: "4 to 6", 8: "7, 8", 9: "9, 9+", 10: "10"}
KINDS = {
    "new": ("81", "82"),
    "young": ("83", "84", "85"),
    "first-year": ("86", "87", "88", "89", "91", "93"),
    "old": ("95", "96", "97"),
}


def structure(chart: Any) -> dict[str, Any]:
    """Polygons by type, vertices; of ice polygons areas, km², and numbers of each total concentration and stage.

    Args:
        chart: with ``area_km2``, or in a CRS of true areas or nearly so.
    """
    import shapely

    ice = chart[chart["POLY_TYPE"] == "I"]
    areas = ice["area_km2"] if "area_km2" in chart else ice.geometry.area / 1e6
    stages = [predominant(row) for row in ice.to_dict("records")]
    return {
        "areas": areas.round(3).tolist(),
        "types": {str(k): int(v) for k, v in chart["POLY_TYPE"].value_counts().items()},
        "vertices": int(shapely.get_num_coordinates(chart.geometry.values).sum()),
        "codes": {"CT": dict(sorted(Counter(ice["CT"]).items())), "stage": dict(sorted(Counter(stages).items()))},
    }


def _grouped(codes: dict[str, dict[str, int]]) -> tuple[list[float], list[float]]:
    """Percent of ice polygons by `TENTHS` and unknown, and by `KINDS` and others."""
    tenths, kinds = dict.fromkeys([*TENTHS, None], 0), dict.fromkeys([*KINDS, None], 0)
    for code, n in codes["CT"].items():
        upper = 0 if code in ("01", "02") else upper_tenth(code)
        tenths[None if upper is None else next(most for most in TENTHS if upper <= most)] += n
    for code, n in codes["stage"].items():
        kinds[next((kind for kind, of in KINDS.items() if code in of), None)] += n
    both = [100 * np.array(list(found.values())) / max(sum(found.values()), 1) for found in (tenths, kinds)]
    return both[0].tolist(), both[1].tolist()


def structure_table(charts: dict[str, list[dict[str, Any]]]) -> str:
    """Polygons, vertices, areas and codes of charts: of several of a name their mean, percentages over all of them.

    Args:
        charts: of `structure`, with the areas of the ice polygons, km².
    """
    lines = [
        "| chart | polygons | of ice | vertices | km² of an ice polygon: 5 % | median | 95 % |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    words = [*(f"{word}, %" for word in TENTHS.values()), "unknown, %"]
    tenths = [f"| ice polygons of tenths | {' | '.join(words)} |", "| --- " * (len(words) + 1) + "|"]
    kinds = [f"| mostly of | {' | '.join(f'{k}, %' for k in [*KINDS, 'unknown or other'])} |"]
    kinds += ["| --- " * (len(KINDS) + 2) + "|"]
    for name, found in charts.items():
        few, middle, many = np.percentile(np.concatenate([one["areas"] for one in found]), [5, 50, 95])
        polygons, ice, vertices = (
            np.mean(values)
            for values in (
                [sum(one["types"].values()) for one in found],
                [one["types"]["I"] for one in found],
                [one["vertices"] for one in found],
            )
        )
        lines.append(
            f"| {name} | {polygons:.0f} | {ice:.0f} | {vertices:,.0f} | {few:.0f} | {middle:,.0f} | {many:,.0f} |"
        )
        total: dict[str, Counter[str]] = {"CT": Counter(), "stage": Counter()}
        for one in found:
            for what, counter in total.items():
                counter.update(one["codes"][what])
        for table, percent in zip((tenths, kinds), _grouped({k: dict(v) for k, v in total.items()}), strict=True):
            table.append(f"| {name} | {' | '.join(f'{v:.0f}' for v in percent)} |")
    return "\n".join([*lines, "", *tenths, "", *kinds])


def truth_of(ice_map: Any, truth: np.ndarray) -> Any:
    """A map that is sure of the true classes, of the same grid, land and nodata."""
    made = ice_map.copy(deep=True)
    sea = truth < CLASS_LAND
    made["ice_class"].values[sea] = truth[sea]
    for code, plane in enumerate(made["probability"].values):
        plane[sea] = np.where(truth[sea] == code, 100, 0)
    made["confidence"].values[sea] = 100
    made["quality_flags"].values[sea] = 0
    return made


def picture(ours: Any, true: Any, path: Path) -> None:
    """Two charts beside each other, by total concentration and by stage of development, as a PNG."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(12.4, 10.2), facecolor="white")
    left, bottom, right, top = true.total_bounds
    for row, code in enumerate(COLOUR_CODES):
        legend: dict[str, Entry] = {}
        for column, (name, chart) in enumerate((("frazil's chart", ours), ("Chart of the truth", true))):
            axes = figure.add_axes((0.01 + 0.4 * column, 0.5 - 0.49 * row, 0.385, 0.45))
            entries = [entry_of(one, code) for one in chart.to_dict("records")]
            hatch_nodata(axes, (left, bottom, right, top))
            draw_polygons(axes, chart, entries, opaque=True)
            axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], aspect="equal")
            ice = int((chart["POLY_TYPE"] == "I").sum())
            axes.set_title(f"{name}: {len(chart)} polygons, {ice} of ice", fontsize=11, loc="left")
            legend |= {entry.text: entry for entry in entries}
        order = [*CONCENTRATION.values(), *STAGE.values()]
        shown = sorted(legend.values(), key=lambda e: order.index(e) if e in order else -1 if e != LAND else 99)
        handles = [
            Patch(
                facecolor=(e.colour[0] / 255, e.colour[1] / 255, e.colour[2] / 255),
                edgecolor="#222222",
                linewidth=0.5,
                hatch=".." if e in (UNKNOWN, NO_STAGE) else None,
                label=e.text,
            )
            for e in shown
        ]
        figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(0.8, 0.955 - 0.49 * row),
            frameon=False,
            fontsize=8.5,
            title=f"WMO colour code: {code}",
            alignment="left",
        )
    with replaced_file(path) as part:
        figure.savefig(part, format="png", dpi=75)
