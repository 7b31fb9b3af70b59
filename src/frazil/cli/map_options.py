"""How products are mapped, as options of the command line: `frazil map` and `frazil batch` share them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from frazil.cli.guard import refuse_given
from frazil.cli.options import numbers, shared

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--spacing", "spacing_m", type=float, help="Pixel size of the map, metres.  [default: the model's]"),
    click.option(
        "--bbox",
        metavar="WEST,SOUTH,EAST,NORTH",
        help="Map what of the scene lies between these longitudes and latitudes, degrees; WEST above EAST crosses "
        "180°.",
    ),
    click.option(
        "--denoise",
        type=click.Choice(["esa", "balanced", "none"]),
        help="How thermal noise is removed; balanced: of Sentinel-1 alone.  [default: as the model learnt]",
    ),
    click.option(
        "--coast", "coast_m", type=float, default=2000.0, show_default=True, help="Flag sea this close to land, m."
    ),
    shared("precision", "device"),
    click.option(
        "--engine",
        type=click.Choice(["auto", "torch", "openvino"]),
        default="auto",
        show_default=True,
        help="Of models of ice: what runs the network; auto: OpenVINO on the CPU where it is installed and knows it.",
    ),
    click.option(
        "--min-confidence",
        "confidence_percent",
        type=float,
        default=80.0,
        show_default=True,
        help="Of models of ice: undecided where neither ice nor water is so probable, %.",
    ),
    click.option(
        "--adapt", is_flag=True, help="Of models of every pixel: let the scene teach the model its signatures."
    ),
    click.option(
        "--function",
        type=click.Choice(["auto", "dense", "patchwise"]),
        default="auto",
        show_default=True,
        help="Of patch classifiers: the whole scene at once, or patch by patch; auto: at once where that is the same.",
    ),
    click.option(
        "--stride", type=int, help="Of patch classifiers: pixels between results.  [default: 8, patchwise 10]"
    ),
    click.option(
        "--tiling",
        type=click.Choice(["seamless", "half-overlap"]),
        default="seamless",
        show_default=True,
        help="Of models of phenomena: tiles that do not show, or those of the source, 256 pixels by half.",
    ),
    click.option(
        "--drop",
        multiple=True,
        metavar="NAME[:LATITUDE[:MONTHS]]",
        help="Of models of phenomena: a class that cannot be there; equatorward of a latitude, in months 6,7,8.",
    ),
    click.option("--ice-model", help="Of models of phenomena: a sea-ice model, whose result wins where it finds ice."),
    shared("scales", "crs"),
)


def map_options(command: Any) -> Any:
    """All options of `frazil.learn.predict.mapping.MapOptions`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def options_of_map(given: dict[str, Any], kind: str) -> Any:
    """What `map_options` were given, as `MapOptions`; they are taken out of ``given``.

    Args:
        given: parameters of the command.
        kind: of the model's class scheme; options of the other kind are errors where they were given.

    Raises:
        click.UsageError: an option does not apply.
    """
    from frazil.learn.predict.mapping import OF_ICE, OF_PHENOMENA, MapOptions

    if kind == "multilabel":
        refuse_given(OF_ICE, "with a model of phenomena")
    else:
        refuse_given(OF_PHENOMENA, "with a model of sea ice")
    names = MapOptions.__dataclass_fields__
    read = {name: given.pop(name) for name in names if name in given}
    read["scales"] = numbers(read["scales"], "--scales")
    read["crs"] = read["crs"] or "auto"
    made = MapOptions(**read)
    _ = made.rules, made.box  # what they say is looked at before anything is opened
    return made
