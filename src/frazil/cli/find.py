"""`frazil find`: which products an archive holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from frazil.cli.options import output, shared
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_json

if TYPE_CHECKING:
    from frazil.providers.search import Findings

_SOURCES = ("cdse", "asf", "planetary")
_MODES = ("EW", "IW", "SM", "WV")


@click.command(short_help="Find products in an archive.")
@click.option(
    "--area",
    metavar="W,S,E,N|FILE|@NAME",
    help="Box in degrees (W above E crosses 180°), GeoJSON file, or name: @svalbard, @barents, @kara, @fram-strait, "
    "@weddell and others.  [default: everywhere]",
)
@click.option(
    "--time",
    required=True,
    help="When acquisitions begin, UTC: 2025-02-01, 2025-02-01/03 (the last day included), 2025-02, or two times in "
    "ISO 8601 (the last one not included).",
)
@click.option("--mode", type=click.Choice(_MODES), default="EW", show_default=True, help="Of the radar; SM: stripmap.")
@click.option("--pol", metavar="HH+HV", help="Polarisations: HH+HV, VV+VH, or one that products hold.  [default: any]")
@click.option(
    "--source",
    type=click.Choice(_SOURCES),
    default="cdse",
    show_default=True,
    help="Archive: Copernicus Data Space, Alaska Satellite Facility, Planetary Computer.",
)
@click.option("--limit", type=click.IntRange(1), help="Products at most: the newest, or with --sort oldest the oldest.")
@click.option(
    "--sort", type=click.Choice(["newest", "oldest"]), default="newest", show_default=True, help="What first."
)
@click.option(
    "--cog", is_flag=True, help="Of products with a Cloud-Optimised copy the copy.  [default: the original alone]"
)
@output("JSON file to write, for frazil get.", required=False)
@click.option("--stac", type=click.Path(), help="STAC ItemCollection to write, .json.")
@shared("overwrite", "json")
def find(
    area: str | None,
    time: str,
    mode: str,
    pol: str | None,
    source: str,
    limit: int | None,
    sort: str,
    cog: bool,
    output: str | None,
    stac: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Find Sentinel-1 products in an archive; nothing is fetched, and no account is needed.

    A product that lies there twice, as its original and as a Cloud-Optimised copy, is shown once.
    """
    from frazil.files import refuse_existing
    from frazil.providers.search import find as ask
    from frazil.providers.search import save_search, save_stac

    for path in (output, stac):
        if path is not None:
            refuse_existing(path, overwrite=overwrite)
    with progress_bar("asking the catalogue", known=False):
        found = ask(
            area,
            time,
            mode=mode,  # type: ignore[arg-type]
            polarization=None if pol is None else pol.upper(),
            source=source,  # type: ignore[arg-type]
            limit=limit,
            newest_first=sort == "newest",
            cog=cog,
        )
    if output is not None:
        save_search(found, output, overwrite=overwrite)
    if stac is not None:
        save_stac(found, stac, overwrite=overwrite)
    if as_json:
        say_json(found.to_json())
    else:
        _table(found)
    for path in (output, stac):
        if path is not None:
            say(f"written: {path}", err=True)


def _table(found: Findings) -> None:
    """A line a product, and what they come to."""
    if not found.products:
        say(f"Nothing found at {found.source}: {found.query}. Try a longer time, a larger area, or another --source.")
        return
    runs = found.slices()
    say(f"{'begins (UTC)':<20}{'pol':<6}{'orbit':<7}{'GB':>6}  {'slice':<7}{'':<10}product")
    for one in found.products:
        where = "" if one.relative_orbit is None else f"{one.relative_orbit:03d}{one.direction[:1]}"
        size = "" if one.size is None else f"{one.size / 1e9:.2f}"
        number, count = runs.get(one.id, (0, 0))
        piece = f"{number}/{count}" if count else ""
        notes = "" if one.online else "offline"
        notes = notes or ("cog" if one.cog else "has cog" if one.twin else "")
        say(f"{one.start:%Y-%m-%d %H:%M:%S} {'+'.join(one.polarizations):<6}{where:<7}{size:>6}  {piece:<7}{notes:<10}"
            f"{one.name}")  # fmt: skip
    offline = sum(not one.online for one in found.products)
    unknown = sum(one.size is None for one in found.products)
    say(
        f"{len(found.products)} products, {found.bytes / 1e9:.1f} GB"
        + (f", {unknown} of unknown size" if unknown else "")
        + (f", {offline} offline" if offline else "")
        + ("; there are more: raise --limit" if found.more else "")
    )
