"""`frazil desk`: a page on which to see a scene, label it, map it anew and take away what came of it."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from frazil.cli.options import output, shared
from frazil.cli.progress import progress_bar
from frazil.cli.say import say

if TYPE_CHECKING:
    from frazil.conventions import Check


@click.command(short_help="See, label and map scenes anew on a page.")
@click.argument("sources", metavar="SCENE|MAP...", nargs=-1, required=True, type=click.Path())
@output("Folder of the desk: labels and all else.", required=False, default="desk")
@click.option("--labels", type=click.Path(), help="Polygons with a column 'class' or 'code', to begin with.")
@click.option("--chart", type=click.Path(), help="Chart or concentration map to review the map against.")
@click.option("--model", default="ice-measured", show_default=True, help="Model folder, or name of a bundled model.")
@click.option(
    "--spacing", "spacing_m", type=float, help="Pixel size of maps of products, metres.  [default: the model's]"
)
@click.option("--author", help="Name on labels.  [default: of the user who is logged in]")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="On this machine; 0: any free."
)
@click.option("--no-browser", is_flag=True, help="Print the address alone.")
@shared("layer", "assume-crs", "check")
def desk(
    sources: tuple[str, ...],
    output: str,
    labels: str | None,
    chart: str | None,
    model: str,
    spacing_m: float | None,
    author: str | None,
    port: int,
    no_browser: bool,
    layer: str | None,
    assume_crs: str | None,
    check: Check,
) -> None:
    """See SCENE|MAP... (products, or folders made by `frazil map`), label places, and have the scene mapped anew.

    Nobody but the browser that opens the printed address can use the page, and nothing leaves this machine. What is
    drawn is kept at once, and as labels.gpkg in the folder; the same command goes on with it.
    """
    from frazil.desk.folder import check_desk
    from frazil.desk.run import DeskSettings, serve_desk
    from frazil.desk.scenes import open_scene_of_desk
    from frazil.desk.session import Session
    from frazil.labels.polygons import read_polygons
    from frazil.learn.checkpoint import load_model
    from frazil.maps.references import open_reference

    target = Path(output)
    check_desk(target, sources)
    if chart is not None:
        open_reference(chart)
    given = None if labels is None else read_polygons(labels, layer=layer, assume_crs=assume_crs)
    loaded, scenes = load_model(model), []
    for number, source in enumerate(sources):
        with progress_bar(f"preparing {number + 1} of {len(sources)}") as progress:
            scenes.append(
                open_scene_of_desk(source, target, loaded, spacing_m=spacing_m, check=check, progress=progress)
            )
    session = Session(target, scenes, author=author or _user(), chart=chart)
    if given is not None:
        say(f"Labels of {labels}: {session.add_labels(given)} new.", err=True)
    for note in session.labels.notes:
        say(f"Note: {note}", err=True)
    serve_desk(session, DeskSettings(port=port, browser=not no_browser), say=say)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
