"""`frazil compare`: a map against polygons, charts, concentration maps or other maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from frazil.cli.guard import refuse_given
from frazil.cli.options import label_options, label_reading, output, shared
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_json
from frazil.cli.scores import print_masks

if TYPE_CHECKING:
    import xarray as xr

    from frazil.maps.compare import ComparisonScores

KINDS = ["map", "polygons", "chart", "osisaf", "amsr2", "nsidc", "concentration", "classes"]


@click.command(short_help="Compare a map with charts, concentration or other maps.")
@click.argument("map_folder", metavar="MAP", type=click.Path())
@click.argument("references", metavar="REFERENCES...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(KINDS),
    help="What a reference is: once for all, or once for each.  [default: found out]",
)
@click.option(
    "--variable",
    "variables",
    multiple=True,
    metavar="NAME",
    help="Of NetCDF files, the variable of the concentration: once for all, or once for each reference ('' to find it)."
    "  [default: found out]",
)
@click.option(
    "--threshold",
    "threshold_percent",
    type=float,
    default=15.0,
    show_default=True,
    help="Concentration from which a chart or a concentration map is ice, %.",
)
@click.option("--chart-edge", is_flag=True, help="Take the edge of a chart as drawn (ice from 1/10), no threshold.")
@click.option(
    "--ice-probability",
    "ice_probability_percent",
    type=float,
    help="Probability from which a map is ice, %.  [default: every class but open water is]",
)
@click.option("--exclude-flags", default="", metavar="FLAGS", help="Leave out pixels with these flags: coast,border,…")
@click.option(
    "--resampling",
    type=click.Choice(["bilinear", "nearest"]),
    default="bilinear",
    show_default=True,
    help="How concentration comes onto the grid of the map.",
)
@click.option(
    "--min-area",
    "min_area_km2",
    type=float,
    default=10.0,
    show_default=True,
    help="Patches of ice or water smaller than this have no edge, km²; areas count them.",
)
@label_options
@output("Folder to write: figures, GeoTIFF, edges, picture.", required=False)
@shared("overwrite", "json")
def compare(
    map_folder: str,
    references: tuple[str, ...],
    kinds: tuple[str, ...],
    variables: tuple[str, ...],
    exclude_flags: str,
    output: str | None,
    overwrite: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Compare MAP (made by `frazil map`) with REFERENCES: over- and under-estimation, IIEE, distance of the ice edges.

    A reference is a file of polygons or a SIGRID-3 chart, a concentration map (OSI SAF, AMSR2 of Bremen, NSIDC), a
    class raster, or another map. A map of phenomena is compared with the masks of a simulated scene (phenomena.tif).
    """
    from frazil.files import refuse_existing
    from frazil.maps.compare import compare as compare_map
    from frazil.maps.comparison_files import save_comparison
    from frazil.maps.netcdf import open_map

    each_kind, each_variable = (
        _for_each(given, len(references), name) for given, name in ((kinds, "--kind"), (variables, "--variable"))
    )
    if output is not None:
        refuse_existing(output, overwrite=overwrite)
    labels = label_reading(settings)
    flags = [name.strip() for name in exclude_flags.split(",") if name.strip()]
    files: dict[str, str] = {}
    with progress_bar("comparing") as progress:
        ice_map = open_map(map_folder)
        if "score" in ice_map and all(name.endswith((".tif", ".tiff")) for name in references):
            _compare_phenomena(ice_map, references, as_json)
            return
        comparisons = []
        for number, (reference, kind, variable) in enumerate(zip(references, each_kind, each_variable, strict=True)):
            progress(number / (len(references) + 1), f"comparing {number + 1} of {len(references)}")
            comparisons.append(
                compare_map(
                    ice_map,
                    reference,
                    kind=kind,
                    variable=variable or None,
                    exclude_flags=flags,
                    labels=labels,
                    **settings,
                )
            )
        if output is not None:
            progress(len(references) / (len(references) + 1), "writing")
            made = save_comparison(comparisons, ice_map, output, overwrite=overwrite)
            files = {name: str(path) for name, path in made.items()}
    scores = [comparison.scores for comparison in comparisons]
    for note in (note for one in scores for note in one["notes"]):
        say(f"Note: {note}", err=True)
    if as_json:
        result = {"product": str(ice_map.attrs["product"]), "comparisons": scores} | ({"files": files} if files else {})
        say_json(result)
        return
    say(f"map  {ice_map.attrs['product']}, {scores[0]['map_time'] or 'time not known'}\n")
    say(_table(scores))
    for name, path in files.items():
        say(f"{name:<14}{path}")


def _compare_phenomena(made: xr.Dataset, references: tuple[str, ...], as_json: bool) -> None:
    """Print the scores of a map of phenomena against the masks of a simulated scene."""
    from frazil.maps.phenomena_truth import score_phenomena

    context = click.get_current_context()
    given = [str(p.name) for p in context.command.params if p.name not in ("map_folder", "references", "as_json")]
    refuse_given(given, "to a map of phenomena")
    scores = [{"reference": reference, **score_phenomena(made, reference)} for reference in references]
    if as_json:
        say_json({"product": str(made.attrs["product"]), "comparisons": scores})
        return
    for one in scores:
        say(f"on        {one['reference']}, {one['compared_km2']:.0f} km²")
        print_masks(one)


def _for_each(given: tuple[str, ...], n: int, option: str) -> Sequence[str | None]:
    """A repeated option, once for all references or once for each."""
    if len(given) not in (0, 1, n):
        raise click.BadParameter(
            f"given {len(given)} times for {n} references; give it once, or once for each.", param_hint=option
        )
    return given * n if len(given) == 1 else given or [None] * n


_AREAS: Final = ("over_km2", "under_km2", "iiee_km2", "absolute_extent_error_km2", "misplacement_error_km2")


def _table(scores: Sequence[ComparisonScores]) -> str:
    """A row for each reference: areas in km², the distance of the edges in km, hours."""
    head = (
        "reference",
        "over",
        "under",
        "IIEE",
        "AEE",
        "ME",
        "agree",
        "compared",
        "edges: median",
        "mean",
        "95 %",
        "time",
    )
    units = ("", *["km²"] * 5, "%", "km²", "km", "km", "km", "h")
    rows = [head, units]
    for one in scores:
        moved = (one["displacement"] or {}).get("symmetric", {})
        hours = one["reference_minus_map_h"]
        rows.append(
            (
                str(one["reference"]),
                *(_area(one[name], one["compared_km2"]) for name in _AREAS),
                f"{one['agreement_percent']:.1f}",
                _area(one["compared_km2"], one["compared_km2"]),
                *(f"{moved[name]:.1f}" if moved else "–" for name in ("median_km", "mean_km", "p95_km")),
                "–" if hours is None else _signed(hours),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = []
    for name, *values in rows:
        cells = [f"{text:>{width}}" for text, width in zip(values, widths[1:], strict=True)]
        lines.append("  ".join([f"{name:<{widths[0]}}", *cells]).rstrip())
    return "\n".join(lines) + "\n"


def _area(area_km2: float, total_km2: float) -> str:
    """Whole km², or with decimals where the whole area is small."""
    return f"{area_km2:.{0 if total_km2 >= 1000 else 1 if total_km2 >= 100 else 3}f}"


def _signed(hours: float) -> str:
    """With its sign, but for a zero."""
    text = f"{hours:+.1f}"
    return "0.0" if float(text) == 0 else text
