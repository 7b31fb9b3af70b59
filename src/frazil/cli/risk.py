"""`frazil risk`: what a ship risks on a map or in the polygons of a chart (POLARIS)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from frazil.cli.guard import refuse_given
from frazil.cli.options import output, shared
from frazil.cli.say import say, say_json


@click.command(short_help="POLARIS risk of a ship on a map or a chart.")
@click.argument("source", metavar="MAP|CHART", type=click.Path())
@click.option("--ship", required=True, help="Ice class: PC1 … PC7, IAS, IA, IB, IC or none.")
@output("Folder to write.")
@click.option("--level-ice", type=click.Choice(["thin", "medium", "thick"]), help="What level first-year ice is.")
@click.option(
    "--old-ice",
    type=click.Choice(["none", "second-year", "multi-year"]),
    help="What old or deformed ice is; none: there is no old ice.",
)
@click.option("--decayed", is_flag=True, help="The ice was seen to be decayed.")
@click.option("--escort", is_flag=True, help="Behind an icebreaker.")
@click.option("--window", type=float, default=5000.0, show_default=True, help="Of MAP: side of the window, metres.")
@shared("layer", "dialect", "unknown-codes", "overwrite", "json")
def risk(
    source: str,
    ship: str,
    output: str,
    level_ice: str | None,
    old_ice: str | None,
    decayed: bool,
    escort: bool,
    window: float,
    layer: str | None,
    dialect: str | None,
    unknown_codes: Literal["refuse", "ignore"],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Risk index outcome (RIO) of a ship on MAP (a folder made by `frazil map`) or in the polygons of CHART.

    A picture, rasters of a map or polygons of a chart, and a summary. RIO is an interval, since maps and charts do not
    tell thickness: --level-ice and --old-ice narrow it. The values are an unverified transcription of IMO
    MSC.1/Circ.1519.
    """
    from frazil.charts.polaris import LEVELS, NOTE, Ship
    from frazil.charts.risk import WINDOW_M, risk_of_chart, risk_of_map, risk_summary, save_risk
    from frazil.errors import OptionError
    from frazil.files import refuse_existing
    from frazil.labels.chart import read_chart
    from frazil.maps.netcdf import open_map

    told: Any = {"level_ice": level_ice, "old_ice": old_ice, "decayed": decayed, "escort": escort}
    asked = Ship(ice_class=ship, **told)
    refuse_existing(output, overwrite=overwrite, inputs=[source])
    if (Path(source) / "map.nc").is_file() or Path(source).suffix == ".nc":
        refuse_given(("layer", "dialect", "unknown_codes"), "with a map")
        found: Any = risk_of_map(open_map(source), asked, window_m=window)
    elif window != WINDOW_M:
        raise OptionError("--window is of maps. Leave it out for a chart, whose polygons are the areas.")
    else:
        found = risk_of_chart(read_chart(source, layer=layer, dialect=dialect, unknown=unknown_codes), asked)
    save_risk(found, output, overwrite=overwrite)
    result = {"risk": str(output), **risk_summary(found)}
    if as_json:
        say_json(result)
        return
    say(f"risk     {output}")
    total = sum(result["area_km2"].values())
    for name in (*LEVELS, "no RIO"):
        area = result["area_km2"][name]
        say(f"{name:<22}{area:>12,.0f} km²{100 * area / total if total else 0:>6.0f} %")
    say(NOTE, err=True)
