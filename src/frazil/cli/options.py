"""Options that several commands share, declared once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

_SHARED = {
    "json": click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    "overwrite": click.option("--overwrite", is_flag=True, help="Replace an output that is there already."),
    "device": click.option(
        "--device", type=click.Choice(["cpu", "cuda"]), help="Where to compute.  [default: cuda where there is one]"
    ),
    "precision": click.option(
        "--precision",
        type=click.Choice(["float32", "bfloat16"]),
        default="float32",
        show_default=True,
        help="Arithmetic of the network.",
    ),
    "scales": click.option(
        "--scales",
        default="1",
        show_default=True,
        help="Of models of phenomena: look at several scales and average the scores: 1,0.5.",
    ),
    "crs": click.option(
        "--crs",
        help="Projection of the output, in metres.  [default: EPSG:3413 or EPSG:3031; below 60° a UTM zone]",
    ),
    "check": click.option(
        "--check",
        type=click.Choice(["full", "quick", "none"]),
        default="full",
        show_default=True,
        help="Whether files of PRODUCT belong together: with checksums of all measurement files, of small ones, or "
        "not at all.",
    ),
    "image": click.option("--image", help="Which image of a wave-mode or SLC product, for instance 003 or IW1."),
    "denoise": click.option(
        "--denoise",
        type=click.Choice(["esa", "balanced", "none"]),
        default="esa",
        show_default=True,
        help="How thermal noise is removed; balanced: of Sentinel-1 alone.",
    ),
    "boxcar": click.option("--boxcar", is_flag=True, help="3 x 3 moving average at full resolution."),
    "looks": click.option(
        "--looks", type=int, default=1, show_default=True, help="Average looks x looks blocks in power."
    ),
    "attribute": click.option(
        "--attribute",
        "attributes",
        multiple=True,
        metavar="NAME=VALUE",
        help="Who makes or publishes it, for its files: institution, creator_name, license, project and others of "
        "ACDD 1.3; repeat for several.",
    ),
    "set": click.option(
        "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a setting; repeat for several."
    ),
    "keep-land": click.option(
        "--keep-land", is_flag=True, help="Trust the labels about land; do not apply the shoreline mask."
    ),
    "class-column": click.option(
        "--class-column", help="Column of a vector file that holds classes.  [default: SIGRID-3 columns]"
    ),
    "class": click.option(
        "--class",
        "classes",
        multiple=True,
        metavar="VALUE=NAME",
        help="What a value of that column, or of a class raster, means; an empty name leaves it out.",
    ),
    "scene-column": click.option("--scene-column", help="Column that names the product a polygon was drawn on."),
    "layer": click.option("--layer", help="Layer of a vector file of several layers."),
    "assume-crs": click.option("--assume-crs", help="CRS of a file of labels that does not say its own."),
    "unknown-codes": click.option(
        "--unknown-codes",
        type=click.Choice(["refuse", "ignore"]),
        default="refuse",
        show_default=True,
        help="Codes of a chart that SIGRID-3 does not have.",
    ),
    "dominance": click.option(
        "--dominance",
        type=float,
        default=0.65,
        show_default=True,
        help="A chart polygon is of a type of ice if that is at least this share of its ice.",
    ),
    "dialect": click.option(
        "--dialect",
        type=click.Choice(["2004", "2010", "3.1", "S-411"]),
        help="Edition of SIGRID-3 that a chart is written in.  [default: found out]",
    ),
}
_LABELS = ("class-column", "class", "scene-column", "layer", "assume-crs", "unknown-codes", "dominance", "dialect")
#: Parameters of `label_options`, as commands get them.
LABEL_NAMES = (
    "class_column",
    "classes",
    "scene_column",
    "layer",
    "assume_crs",
    "unknown_codes",
    "dominance",
    "dialect",
)


def shared(*names: str) -> Decorator:
    """Options by name, in this order: ``@shared("device", "overwrite", "json")``."""
    return _all([_SHARED[name] for name in names])


def output(what: str, *, required: bool = True, default: str | None = None) -> Decorator:
    """``-o``, ``--output``: what is written."""
    usual: dict[str, Any] = {} if default is None else {"default": default, "show_default": True}
    return click.option("-o", "--output", required=required, type=click.Path(), help=what, **usual)


def label_options(command: Command) -> Command:
    """How files of labels are read: class column, meanings, layer, CRS, unknown codes, edition and dominance."""
    return shared(*_LABELS)(command)


def label_reading(given: dict[str, Any]) -> Any:
    """What `label_options` were given, as `frazil.labels.classes.LabelOptions`; they are taken out of ``given``."""
    from frazil.labels.classes import LabelOptions
    from frazil.labels.sigrid3 import ChartSettings

    read = {name: given.pop(name) for name in LABEL_NAMES if name in given}
    options: dict[str, Any] = {k: read[k] for k in ("class_column", "scene_column", "layer", "assume_crs") if k in read}
    return LabelOptions(
        **options,
        unknown=read.get("unknown_codes", "refuse"),
        dialect=read.get("dialect"),
        classes=pairs(read.get("classes", ()), "--class", "VALUE=NAME"),
        chart=ChartSettings(dominance=read["dominance"]) if "dominance" in read else ChartSettings(),
    )


def pairs(items: tuple[str, ...], option: str, form: str) -> dict[str, str]:
    """``NAME=VALUE`` words of a repeated option; raises click.BadParameter naming the first that is none."""
    wrong = [item for item in items if "=" not in item]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not {form}.", param_hint=option)
    return dict(item.split("=", 1) for item in items)


def numbers(words: str, option: str) -> tuple[float, ...]:
    """Numbers with commas between; raises click.BadParameter."""
    try:
        return tuple(float(word) for word in words.split(","))
    except ValueError:
        raise click.BadParameter(f"{words!r} is no list of numbers such as 1,0.5.", param_hint=option) from None


def study_options(data: str) -> Decorator:
    """What all studies take: --data (described by the argument), -o, --page, --overwrite, --json."""
    return _all(
        [
            click.option("--data", "stores", multiple=True, required=True, help=data),
            output("Folder; a study begun there is resumed."),
            click.option("--page", type=click.Path(), help="Markdown page to write, with its picture beside it."),
            click.option("--overwrite", is_flag=True, help='Replace a page; its title and "What it shows" stay.'),
            click.option("--json", "as_json", is_flag=True, help="Print all rows as JSON."),
        ]
    )


def _all(options: list[Any]) -> Decorator:
    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add
