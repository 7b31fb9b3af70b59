"""Options that several commands share, declared once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_LABEL_OPTIONS = (
    click.option("--class-column", help="Column of a vector file that holds classes.  [default: SIGRID-3 columns]"),
    click.option(
        "--class", "classes", multiple=True, metavar="VALUE=NAME",
        help="What a value of that column, or of a class raster, means; an empty name leaves it out.",
    ),
    click.option("--scene-column", help="Column that names the product a polygon was drawn on."),
    click.option("--layer", help="Layer of a vector file of several layers."),
    click.option("--assume-crs", help="CRS of a file of labels that does not say its own."),
    click.option(
        "--unknown-codes", type=click.Choice(["refuse", "ignore"]), default="refuse", show_default=True,
        help="Codes of a chart that SIGRID-3 does not have.",
    ),
    click.option(
        "--dominance", type=float, default=0.65, show_default=True,
        help="A chart polygon is of a type of ice if that is at least this share of its ice.",
    ),
    click.option(
        "--dialect", type=click.Choice(["2004", "2010", "3.1", "S-411"]),
        help="Edition of SIGRID-3 that a chart is written in.  [default: found out]",
    ),
)  # fmt: skip


def label_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How files of labels are read: class column, meanings, layer, CRS, unknown codes, edition and dominance."""
    for option in reversed(_LABEL_OPTIONS):
        command = option(command)
    return command


def pairs(items: tuple[str, ...], option: str, form: str) -> dict[str, str]:
    """``NAME=VALUE`` words of a repeated option; raises click.BadParameter naming the first that is none."""
    wrong = [item for item in items if "=" not in item]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not {form}.", param_hint=option)
    return dict(item.split("=", 1) for item in items)


def study_options(data: str) -> Decorator:
    """What all studies take: --data (described by the argument), -o, --page, --overwrite, --json."""
    options = (
        click.option("--data", "stores", multiple=True, required=True, help=data),
        click.option(
            "-o", "--output", required=True, type=click.Path(), help="Folder; a study begun there is resumed."
        ),
        click.option("--page", type=click.Path(), help="Markdown page to write, with its picture beside it."),
        click.option("--overwrite", is_flag=True, help='Replace a page; its title and "What it shows" stay.'),
        click.option("--json", "as_json", is_flag=True, help="Print all rows as JSON."),
    )

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add
