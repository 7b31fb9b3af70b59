"""`frazil report`: training runs as web pages."""

from __future__ import annotations

from typing import Any

import click

from frazil.cli.maps import KINDS
from frazil.cli.options import label_options, label_reading, shared
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_json


@click.command(short_help="Write a report on training runs, as web pages.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), help="Folder to write; open its index.html.")
@click.option("--map", "maps", multiple=True, type=click.Path(), help="Map folder to show; repeat for several.")
@click.option(
    "--truth",
    "truths",
    multiple=True,
    type=click.Path(),
    help="What the maps are compared with, as for `frazil compare`: one for all, or repeated, one for each. {scene} "
    "stands for the product of a map.",
)
@click.option("--kind", type=click.Choice(KINDS), help="What the truths are.  [default: found out]")
@label_options
@click.option(
    "--worst",
    type=click.IntRange(min=0),
    default=24,
    show_default=True,
    help="Show so many of the most confident mistakes.",
)
@shared("device", "overwrite", "json")
def report(runs: tuple[str, ...], output: str, overwrite: bool, as_json: bool, **options: Any) -> None:
    """Write a report on the training runs in RUN folders: pages that open offline and print.

    Curves, scores by class and scene, confusion, calibration, the most confident mistakes, maps beside their truth.
    Several runs are compared side by side. Runs that are still going on, or were killed, are shown as far as they got.
    """
    from frazil.reports.build import report as write

    labels = label_reading(options)
    with progress_bar("reporting") as progress:
        pages = write(runs, output, labels=labels, overwrite=overwrite, progress=progress, **options)
    if as_json:
        say_json({name: str(path) for name, path in pages.items()})
        return
    say(f"report  {pages['report']}")
