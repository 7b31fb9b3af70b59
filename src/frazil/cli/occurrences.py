"""`frazil occurrences`: where phenomena occur, counted from sets of imagettes on a grid of the globe."""

from __future__ import annotations

import click

from frazil.cli.options import output, shared
from frazil.cli.progress import progress_bar
from frazil.cli.say import say_result


@click.command(short_help="Count phenomena of many imagettes on a grid of the globe.")
@click.argument("sets", metavar="SETS...", nargs=-1, required=True, type=click.Path())
@output("File to write: .nc.")
@click.option("--cell", "cell_deg", type=float, default=10.0, show_default=True, help="Side of a cell, degrees.")
@click.option(
    "--by",
    type=click.Choice(["category", "present", "found"]),
    help="What is counted.  [default: found of segments; of sets present where it was said, else the category]",
)
@click.option(
    "--least-share",
    type=float,
    default=0.0,
    show_default=True,
    help="Of what is found: share of an image that it must cover.",
)
@click.option("--picture", type=click.Path(), help="PNG to write.")
@shared("overwrite", "json")
def occurrences(
    sets: tuple[str, ...],
    output: str,
    cell_deg: float,
    by: str | None,
    least_share: float,
    picture: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Count phenomena on a grid of the globe, from SETS: imagettes (`frazil imagettes`) or what was found in them.

    What `frazil segment` wrote as .zarr is counted by what was found; sets by what an expert said of them. One set
    after the other is read, so that an archive need not fit into memory at once.
    """
    from frazil.files import refuse_existing
    from frazil.maps.occurrences import draw_occurrences, open_counted, save_occurrences
    from frazil.maps.occurrences import occurrences as count

    for path in (output, picture):
        if path is not None:
            refuse_existing(path, overwrite=overwrite)
    with progress_bar("counting") as progress:

        def each() -> object:
            for number, path in enumerate(sets):
                progress(number / len(sets))
                yield open_counted(path)

        counted = count(each(), cell_deg=cell_deg, by=by, least_share=least_share)  # type: ignore[arg-type]
    save_occurrences(counted, output, overwrite=overwrite)
    if picture is not None:
        draw_occurrences(counted, picture, overwrite=overwrite)
    judged = counted["judged"].values
    result = {
        "occurrences": str(output),
        **({"picture": str(picture)} if picture is not None else {}),
        "counted_by": counted.attrs["counted_by"],
        "imagettes": int(judged.sum((1, 2)).max()),
        "cells": int((judged.max(0) > 0).sum()),
        "without_place": int(counted.attrs["without_place"]),
    }
    say_result(result, as_json)
