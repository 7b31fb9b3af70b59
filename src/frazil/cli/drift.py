"""`frazil drift`: how sea ice moved between two radar scenes."""

from __future__ import annotations

import click

from frazil.cli.options import output, shared
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_result


@click.command(short_help="Displacement of sea ice between two scenes.")
@click.argument("first", metavar="A", type=click.Path())
@click.argument("second", metavar="B", type=click.Path())
@output("Folder to write.")
@click.option("--step", type=float, default=4000.0, show_default=True, help="Between vectors, metres.")
@click.option("--spacing", type=float, default=80.0, show_default=True, help="Of the pixels that are matched, metres.")
@click.option(
    "--max-speed", type=float, default=0.5, show_default=True, help="Displacements are looked for up to this, m/s."
)
@click.option(
    "--max-turn", type=float, default=18.0, show_default=True, help="Rotations are looked for up to this, degrees."
)
@click.option("--polarization", "polarizations", multiple=True, help="Which polarisation; repeat for several.")
@click.option("--time-a", metavar="TIME", help="Of a GeoTIFF that does not tell its own: 2020-01-23T12:06:18 (UTC).")
@click.option("--time-b", metavar="TIME", help="Likewise.")
@click.option("--keep-doubtful", is_flag=True, help="Keep vectors that are not good in the NetCDF, with their flag.")
@shared("denoise", "check", "attribute", "overwrite", "json")
def drift(
    first: str,
    second: str,
    output: str,
    step: float,
    spacing: float,
    max_speed: float,
    max_turn: float,
    polarizations: tuple[str, ...],
    time_a: str | None,
    time_b: str | None,
    keep_doubtful: bool,
    attributes: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
    denoise: str,
    check: str,
) -> None:
    """Displacement of sea ice from A to B: two scenes of the same place, the earlier one first.

    A and B are products (folder or zip; Sentinel-1 or RADARSAT) or calibrated GeoTIFFs of sigma nought. Patterns are
    matched from coarse to fine, with rotation, in all polarisations together, and back again. Writes vectors with
    their quality and the deformation between them: NetCDF, GeoPackage, S-411, a picture and a summary.
    """
    from frazil.files import refuse_existing
    from frazil.motion.field import drift as drift_of
    from frazil.motion.files import save_drift, summary
    from frazil.motion.tracking import TrackingConfig
    from frazil.scene.discovery import own_attrs, with_own

    own = own_attrs(attributes)
    refuse_existing(output, overwrite=overwrite, inputs=(first, second))
    with progress_bar("drift") as progress:
        field = drift_of(
            first,
            second,
            step_m=step,
            spacing_m=spacing,
            max_speed_ms=max_speed,
            polarizations=tuple(p.upper() if len(p) == 2 else p for p in polarizations) or None,
            times=(time_a, time_b),
            tracking=TrackingConfig(max_turn_deg=max_turn),
            keep_doubtful=keep_doubtful,
            denoise=denoise,  # type: ignore[arg-type]
            check=check,  # type: ignore[arg-type]
            progress=progress,
        )
        field.attrs = with_own(field.attrs, own)
        save_drift(field, output, overwrite=overwrite)
    told = summary(field)
    if told["share_good"] is None or told["share_good"] < 0.1:
        say("Note: hardly any vector is good. Is it open water, or ice that changed too much?", err=True)
    if as_json:
        say_result({"drift": str(output), **told}, as_json=True)
        return
    tried = sum(told["nodes"][name] for name in ("good", "weak", "not_found_back", "neighbours_differ"))
    say_result(
        {
            "drift": str(output),
            "days": told["days"],
            "vectors": f"{told['nodes']['good']} good of {tried}",
            "median_speed": "none" if told["median_speed_ms"] is None else f"{told['median_speed_ms']} m/s",
            "standard_error": "none" if told["median_speed_ms"] is None else f"{told['median_standard_error_m']} m",
            "seconds": told["seconds"],
        },
        as_json=False,
    )
