"""`frazil catalogue`, `frazil mosaic` and `frazil series`: what an archive of maps holds, and what it amounts to."""

from __future__ import annotations

import click

from frazil.cli.options import output, shared
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_json, say_result
from frazil.errors import OptionError

_MAPS = "ARCHIVE|MAP..."
_TIME = "UTC: 2025-02-01, 2025-02-01/03 (the last day included), 2025-02, or two times in ISO 8601."
_RULE = click.option(
    "--rule",
    type=click.Choice(["latest", "confident", "fused"]),
    default="latest",
    show_default=True,
    help="Where maps overlap: the newest, the surest, or all together (of ice).",
)
_BBOX = click.option(
    "--bbox", metavar="WEST,SOUTH,EAST,NORTH", help="Degrees; WEST above EAST crosses 180°.  [default: everything]"
)


@click.command(short_help="List the maps of an archive, and keep the table of them.")
@click.argument("archive", type=click.Path())
@click.option("--time", "when", metavar="TIME", help=_TIME)
@_BBOX
@click.option("--no-update", is_flag=True, help="Take the table as it is; of an archive that may only be read.")
@shared("json")
def catalogue(archive: str, when: str | None, bbox: str | None, no_update: bool, as_json: bool) -> None:
    """List the maps of ARCHIVE, all or those of a time and place, and write its table, items.parquet.

    The table is GeoParquet with a STAC item a row: geopandas, DuckDB, GDAL and QGIS read it.
    """
    from frazil.archive.catalogue import open_catalogue, write_catalogue
    from frazil.archive.folder import open_archive
    from frazil.providers.times import span
    from frazil.scene.box import Box

    if when is not None:
        span(when)
    if bbox is not None:
        Box.of(bbox)
    if not no_update:
        write_catalogue(open_archive(archive))
    frame = open_catalogue(archive, time=when, bbox=bbox)
    rows = [
        {
            "folder": row["folder"],
            "time": f"{row['datetime']:%Y-%m-%dT%H:%M:%SZ}",
            "sea_km2": _whole(row.get("map:mapped_sea_km2")),
            "ice_km2": _whole(row.get("map:ice_extent_km2")),
            "undecided_km2": _whole(row.get("map:undecided_km2")),
        }
        for row in frame.drop(columns="geometry").to_dict("records")
    ]
    if as_json:
        say_json(rows)
        return
    for row in rows:
        numbers = "  ".join(f"{'–' if row[n] is None else row[n]:>9}" for n in ("sea_km2", "ice_km2", "undecided_km2"))
        say(f"{row['time']}  {numbers}  {row['folder']}")
    say(f"{len(rows)} maps (time, km² of mapped sea, of ice, undecided, folder)", err=True)


@click.command(short_help="Combine an archive's maps of a day into one.")
@click.argument("maps", metavar=_MAPS, nargs=-1, required=True, type=click.Path())
@output("Folder to write.")
@click.option("--day", "when", metavar="TIME", help=f"{_TIME}  [default: all maps]")
@_RULE
@click.option("--spacing", "spacing_m", type=float, help="Pixel size, metres.  [default: that of most maps]")
@_BBOX
@click.option(
    "--min-confidence",
    "confidence_percent",
    type=float,
    default=80.0,
    show_default=True,
    help="Of --rule fused: undecided where neither ice nor water is so probable, %.",
)
@shared("crs", "overwrite", "json")
def mosaic(
    maps: tuple[str, ...],
    output: str,
    when: str | None,
    rule: str,
    spacing_m: float | None,
    bbox: str | None,
    confidence_percent: float,
    crs: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Combine the maps of ARCHIVE|MAP... (of ice or of phenomena) into one, and tell where each pixel is from.

    GeoTIFFs of the classes and their probability, of the number and age of the map that each pixel is from, and of how
    many maps saw the place and agree; a picture, a STAC item, and a summary with areas. By default in the projection
    and pixels of most maps: those on the same grid are taken as they are.
    """
    from frazil.archive.mosaic_files import mosaic as combine

    if not 0 <= confidence_percent <= 100:
        raise OptionError(f"--min-confidence {confidence_percent} must lie between 0 and 100.")
    with progress_bar("combining") as progress:
        files = combine(
            maps,
            output,
            time=when,
            rule=rule,  # type: ignore[arg-type]
            crs=crs,
            spacing_m=spacing_m,
            bbox=bbox,
            confidence_percent=confidence_percent,
            overwrite=overwrite,
            progress=progress,
        )
    say_result({name: str(path) for name, path in files.items()}, as_json)


@click.command(short_help="Areas, concentration and edge by day and region.")
@click.argument("maps", metavar=_MAPS, nargs=-1, required=True, type=click.Path())
@output("Table: .csv or .parquet.")
@click.option("--time", "when", metavar="TIME", help=f"{_TIME}  [default: all maps]")
@click.option("--regions", type=click.Path(), help="Polygons, a vector file.  [default: all that was mapped]")
@click.option("--name-column", help="Of the regions' names.  [default: name, or their number]")
@_RULE
@click.option("--picture", type=click.Path(), help="PNG to write.")
@shared("crs", "overwrite", "json")
def series(
    maps: tuple[str, ...],
    output: str,
    when: str | None,
    regions: str | None,
    name_column: str | None,
    rule: str,
    picture: str | None,
    crs: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Tell by day and region what the maps of ARCHIVE|MAP... amount to: areas, concentration, ice edge; or phenomena.

    Each day's maps are combined first, so that what two scenes saw counts once. Compare days by what was observed of
    the region: what nobody saw counts as nothing.
    """
    from pathlib import Path

    from frazil.archive.series import save_series
    from frazil.archive.series import series as tell
    from frazil.files import refuse_existing

    if Path(output).suffix not in (".csv", ".parquet"):
        raise OptionError(f"{output} ends neither in .csv nor in .parquet.")
    if picture is not None and Path(picture).suffix != ".png":
        raise OptionError(f"--picture {picture} does not end in .png.")
    for path in filter(None, (output, picture)):
        refuse_existing(path, overwrite=overwrite, inputs=maps)
    with progress_bar("adding up") as progress:
        table = tell(
            maps,
            time=when,
            regions=regions,
            name_column=name_column,
            rule=rule,  # type: ignore[arg-type]
            crs=crs,
            progress=progress,
        )
    written = {"series": str(save_series(table, output, overwrite=overwrite))}
    if picture is not None:
        written["picture"] = str(save_series(table, picture, overwrite=overwrite))
    told: dict[str, object] = {
        **written,
        "days": int(table["date"].nunique()),
        "regions": int(table["region"].nunique()),
    }
    if as_json:
        rows = [{k: None if v != v else v for k, v in row.items()} for row in table.to_dict("records")]
        told["rows"] = rows
    say_result(told, as_json)


def _whole(value: object) -> int | None:
    return round(value) if isinstance(value, float) and value == value else None
