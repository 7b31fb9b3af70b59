"""`frazil concentration`: how much of the sea is covered by ice, on a coarse grid, from a map."""

from __future__ import annotations

from dataclasses import asdict

import click

from frazil.cli.options import output, shared
from frazil.cli.say import say, say_json, say_result


@click.command(short_help="Sea-ice concentration of a map on a coarse grid.")
@click.argument("map_folder", metavar="MAP", type=click.Path())
@output("File to write: .nc or .tif.")
@click.option("--spacing", type=float, default=10_000.0, show_default=True, help="Side of a cell, metres.")
@click.option("--crs", help="Projection of the cells, in metres.  [default: that of MAP]")
@click.option(
    "--min-observed",
    type=float,
    default=0.5,
    show_default=True,
    help="Share of the sea of a cell that must have been observed.",
)
@click.option("--picture", type=click.Path(), help="PNG to write.")
@click.option(
    "--against",
    "references",
    multiple=True,
    metavar="FILE",
    type=click.Path(),
    help="Concentration map, chart or other map to compare with, on its own cells; repeat for several.",
)
@click.option("--variable", help="Of --against in NetCDF, the variable of the concentration.  [default: found out]")
@shared("overwrite", "json")
def concentration(
    map_folder: str,
    output: str,
    spacing: float,
    crs: str | None,
    min_observed: float,
    picture: str | None,
    references: tuple[str, ...],
    variable: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Sea-ice concentration of MAP (a folder made by `frazil map`): expected share of ice in the sea of each cell.

    With it come its standard error, bounds that take all undecided sea for water and for ice, and the shares of the sea
    that were undecided and observed.
    """
    from frazil.errors import OptionError
    from frazil.files import refuse_existing
    from frazil.maps.concentration import ice_concentration
    from frazil.maps.concentration_files import draw_concentration, save_concentration
    from frazil.maps.concentration_scores import score_concentration
    from frazil.maps.netcdf import open_map
    from frazil.maps.references import ReferenceOptions

    if variable is not None and not references:
        raise OptionError("--variable is of --against. Leave it out, or name a file to compare with.")
    for path in (output, picture):
        if path is not None:
            refuse_existing(path, overwrite=overwrite)
    ice_map = open_map(map_folder)
    made = ice_concentration(ice_map, spacing_m=spacing, crs=crs, min_observed=min_observed)
    options = ReferenceOptions(variable=variable)
    scores = [score_concentration(ice_map, path, spacing_m=spacing, options=options) for path in references]
    save_concentration(made, output, overwrite=overwrite)
    if picture is not None:
        draw_concentration(made, picture, overwrite=overwrite)
    values = made["sea_ice_area_fraction"].values
    told = values[values == values]
    result: dict[str, object] = {
        "concentration": str(output),
        **({"picture": str(picture)} if picture is not None else {}),
        "cells": int(told.size),
        "mean_percent": round(100 * float(told.mean()), 1) if told.size else None,
        "mean_undecided_percent": round(100 * float(made["undecided_fraction"].mean()), 1) if told.size else None,
    }
    if as_json:
        say_json(result | {"against": [asdict(one) for one in scores]})
        return
    say_result(result, as_json=False)
    if scores:
        say("\nMap minus reference, points of a hundred: mean, root mean square, cells")
    for one in scores:
        when = "" if one.hours is None else f", {one.hours:+.1f} h"
        say(f"{one.reference} (cells of {one.cell_km:g} km{when})")
        say(f"  {'all':<12}{one.bias:>+7.1f}{one.rmse:>7.1f}{one.cells:>8}")
        for name, (cells, bias, rmse) in one.by_reference.items():
            say(f"  {name:<12}{bias:>+7.1f}{rmse:>7.1f}{cells:>8}")
