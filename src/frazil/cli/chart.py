"""`frazil chart`: maps to ice charts, in the files that services exchange and on paper."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from frazil.cli.options import output, shared
from frazil.cli.say import say_json, say_result
from frazil.cli.several import one_by_one

_KM2 = "km2"
_RADAR = "radar"


@click.command(short_help="Ice charts of maps: SIGRID-3, S-411, pages to print.")
@click.argument("map_folders", metavar="MAP...", nargs=-1, required=True, type=click.Path())
@output("Folder to write; of several maps, one that gets a folder for each.")
@click.option(
    "--min-area", default="25km2", show_default=True, help="Least area of a region at sea: km², as 25 or 25km2."
)
@click.option("--polygons", type=int, default=150, show_default=True, help="Regions at sea, at most.")
@click.option("--edition", type=click.Choice(["3.1", "2010"]), default="3.1", show_default=True, help="Of SIGRID-3.")
@click.option(
    "--s411",
    "s411_version",
    type=click.Choice(["1.1.0", "1.2.1"]),
    default="1.1.0",
    show_default=True,
    help="Version of S-411; 1.2.1 is a draft.",
)
@click.option("--crs", default="EPSG:4326", show_default=True, help="Coordinates of SIGRID-3.")
@click.option("--region", default="scene", show_default=True, help="Name of the place, for names of files.")
@click.option(
    "--issuer", "code", default="frazil", show_default=True, help="Code of who issues it, for names of files."
)
@click.option("--organisation", help="Name of who issues it.")
@click.option("--email", help="Where readers may ask.")
@click.option("--title", default="Sea-ice chart", show_default=True, help="Of the pages.")
@click.option("--paper", type=click.Choice(["A4", "A3"]), default="A4", show_default=True, help="Of the pages.")
@click.option("--page-crs", help="Projection of the pages, in metres, or north-up.  [default: that of MAP]")
@click.option("--extent", help="What the pages show: west,south,east,north, degrees.  [default: all]")
@click.option(
    "--backdrop", type=click.Path(), help="Radar image behind the pages' colours: a GeoTIFF, or 'radar', that of MAP."
)
@click.option("--approved", is_flag=True, help='An analyst has approved it: do not say "not for navigation".')
@click.option("--formats", default="all", show_default=True, help="sigrid3, s411, gpkg, kml, pdf, png; commas between.")
@shared("overwrite", "json")
def chart(
    map_folders: tuple[str, ...],
    output: str,
    min_area: str,
    polygons: int,
    edition: str,
    s411_version: str,
    crs: str,
    region: str,
    code: str,
    organisation: str | None,
    email: str | None,
    title: str,
    paper: str,
    page_crs: str | None,
    extent: str | None,
    backdrop: str | None,
    approved: bool,
    formats: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Ice charts of MAP... (folders made by `frazil map`): regions of like mixture with their egg codes.

    The folder holds SIGRID-3 shapefiles, an S-411 dataset, a GeoPackage styled for QGIS, KML, and pages in both colour
    codes of the WMO. Where the map could not tell ice from water, the concentration is unknown. Of several maps, those
    that are refused are told at the end, when the others are charted.
    """
    from frazil.charts.chart import make_chart
    from frazil.charts.export import FORMATS, NOT_FOR_NAVIGATION, ChartFiles, export_chart, summary
    from frazil.charts.fgdc import Issuer
    from frazil.errors import OptionError
    from frazil.files import refuse_existing
    from frazil.maps.edges import ice_edge
    from frazil.maps.netcdf import open_map

    told = {name: value for name, value in (("organisation", organisation), ("email", email)) if value}
    files = ChartFiles(
        formats=FORMATS if formats == "all" else tuple(word.strip() for word in formats.split(",")),
        edition=edition,
        s411=s411_version,
        crs=crs,
        region=region,
        issuer=Issuer(code=code, **told),
        paper=paper,  # type: ignore[arg-type] # one of the choices
        page_crs=page_crs,
        extent=None if extent is None else _extent(extent),
        backdrop=None if backdrop == _RADAR else backdrop,
        title=title,
        warning="" if approved else NOT_FOR_NAVIGATION,
    )
    least = _square_kilometres(min_area)
    names = [Path(folder).resolve().name for folder in map_folders]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OptionError(
            f"Several maps are called {twice[0]!r}, and their charts would be. Rename one, or chart each."
        )
    targets = [Path(output)] if len(names) == 1 else [Path(output) / name for name in names]
    for target in targets:
        refuse_existing(target, overwrite=overwrite, inputs=map_folders)

    def work(folder: str, target: Path) -> dict[str, Any]:
        ice_map = open_map(folder)
        made = make_chart(ice_map, min_area_km2=least, polygons=polygons)
        target.parent.mkdir(parents=True, exist_ok=True)
        own = replace(files, backdrop=str(Path(folder) / "quicklook.tif")) if backdrop == _RADAR else files
        export_chart(made, target, files=own, edge=ice_edge(ice_map), overwrite=overwrite)
        return {"chart": str(target), **summary(made, files)}

    if len(targets) > 1:
        one_by_one(map_folders, targets, work, what="map", tell=_tell, as_json=as_json)
        return
    said = work(map_folders[0], targets[0])
    if as_json:
        say_json(said)
    else:
        _tell(said)


def _tell(said: dict[str, Any]) -> None:
    say_result({k: said[k] for k in ("chart", "polygons", "sigrid3_edition", "s411_version", "warning")}, as_json=False)


def _extent(text: str) -> tuple[float, float, float, float]:
    try:
        west, south, east, north = (float(word) for word in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not WEST,SOUTH,EAST,NORTH.", param_hint="--extent") from None
    return west, south, east, north


def _square_kilometres(text: str) -> float:
    """``25``, ``25km2`` or ``25 km²``."""
    number = text.strip().lower().replace("km²", _KM2).removesuffix(_KM2)
    try:
        area = float(number)
        if not math.isfinite(area):
            raise ValueError
        return area
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no area in km², for instance 25 or 25km2.", param_hint="--min-area"
        ) from None
