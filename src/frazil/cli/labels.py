"""`frazil patches`: labelled patches from scenes and labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from frazil.cli.progress import progress_bar


@click.command()
@click.argument("scenes", nargs=-1, required=True, type=click.Path())
@click.option(
    "--labels", multiple=True, required=True, type=click.Path(),
    help="Chart, polygons or class raster: one for all scenes, or repeated, one for each. {scene} stands for the "
    "product name, {folder} for the folder it lies in.",
)  # fmt: skip
@click.option("-o", "--output", required=True, type=click.Path(), help="Patch set to write: .zarr.")
@click.option("--size", type=int, default=32, show_default=True, help="Height and width, pixels.")
@click.option("--stride", type=int, default=10, show_default=True, help="Pixels between neighbours.")
@click.option(
    "--channels", default="hh,hv,incidence_angle", show_default=True,
    help="Channels: hh hv vv vh nesz_hh … incidence_angle; nesz for those of all polarisations listed.",
)  # fmt: skip
@click.option("--scheme", default="five_classes", show_default=True, help="Classes: five_classes, binary or ai4arctic.")
@click.option("--looks", type=int, default=1, show_default=True, help="Average looks x looks blocks in power.")
@click.option("--boxcar", is_flag=True, help="3 x 3 moving average at full resolution.")
@click.option(
    "--denoise", type=click.Choice(["esa", "balanced", "none"]), default="esa", show_default=True,
    help="How thermal noise is removed.",
)  # fmt: skip
@click.option("--class-column", help="Column of a vector file that holds classes.  [default: SIGRID-3 columns]")
@click.option(
    "--class", "classes", multiple=True, metavar="VALUE=NAME",
    help="What a value of that column, or of a class raster, means; an empty name leaves it out.",
)  # fmt: skip
@click.option("--scene-column", help="Column that names the product a polygon was drawn on.")
@click.option("--layer", help="Layer of a vector file of several layers.")
@click.option("--assume-crs", help="CRS of a vector file that does not say its own.")
@click.option(
    "--unknown-codes", type=click.Choice(["refuse", "ignore"]), default="refuse", show_default=True,
    help="Codes of a chart that SIGRID-3 does not have.",
)  # fmt: skip
@click.option(
    "--dominance", type=float, default=0.65, show_default=True,
    help="A chart polygon is of a type of ice if that is at least this share of its ice.",
)  # fmt: skip
@click.option("--keep-land", is_flag=True, help="Trust the labels about land; do not apply the shoreline mask.")
@click.option("--limit", type=int, help="At most so many patches of a class from a scene.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of that draw, and of the contact sheet.")
@click.option("--sheet", type=click.Path(), help="Contact sheet to write.  [default: OUTPUT with the suffix .png]")
@click.option("--overwrite", is_flag=True, help="Replace an output that is there already.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def patches(
    scenes: tuple[str, ...], labels: tuple[str, ...], output: str, sheet: str | None, classes: tuple[str, ...],
    class_column: str | None, scene_column: str | None, layer: str | None, assume_crs: str | None, unknown_codes: Any,
    dominance: float, keep_land: bool, overwrite: bool, as_json: bool, channels: str, seed: int, **settings: Any,
) -> None:  # fmt: skip
    """Cut labelled patches of SCENES inside polygons, chart or class raster, with statistics and a picture."""
    from frazil.files import refuse_existing
    from frazil.labels.contact_sheet import contact_sheet
    from frazil.labels.patch_set import patch_statistics
    from frazil.labels.patches import cut_patches
    from frazil.labels.sigrid3 import ChartSettings
    from frazil.labels.sources import LabelOptions

    wrong = [item for item in classes if "=" not in item]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not VALUE=NAME.", param_hint="--class")
    picture = Path(sheet) if sheet else Path(output).with_suffix(".png")
    refuse_existing(picture, overwrite=overwrite)
    options = LabelOptions(
        class_column=class_column, scene_column=scene_column, layer=layer, assume_crs=assume_crs,
        unknown=unknown_codes, chart=ChartSettings(dominance=dominance),
        classes=dict(item.split("=", 1) for item in classes),
    )  # fmt: skip
    with progress_bar("cutting") as progress:
        made = cut_patches(
            scenes, labels, path=output, options=options, channels=channels.split(","), mask_land=not keep_land,
            seed=seed, overwrite=overwrite, progress=progress, **settings,
        )  # fmt: skip
    contact_sheet(made, picture, seed=seed, overwrite=overwrite)
    _print_result(made, patch_statistics(made), output, picture, as_json)


def _print_result(made: Any, statistics: Any, output: str, picture: Path, as_json: bool) -> None:
    count = statistics["count"].to_pandas()
    result: dict[str, Any] = {
        "patches": output,
        "sheet": str(picture),
        "counts": made.attrs["counts"],
        "classes": {name: int(n) for name, n in count.sum().items()},
        "scenes": {scene: {k: int(n) for k, n in row.items() if n} for scene, row in count.iterrows()},
        "scenes_without_patches": made.attrs["scenes_without_patches"],
        "channels": {
            str(name): {"mean": round(float(m), 3), "std": round(float(s), 3), "units": str(u)}
            for name, m, s, u in zip(
                *(statistics[k].values for k in ("channel", "mean", "std", "channel_units")), strict=True
            )
        },
    }
    if as_json:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
        return
    click.echo(f"patches  {output}\nsheet    {picture}")
    click.echo(f"cut      {result['counts']['patches']} of {result['counts']['inside']} places inside one region")
    for why in ("limit", "missing", "land"):
        if n := result["counts"][f"left_out_{why}"]:
            click.echo(f"         {n} left out: {why}")
    click.echo(count.rename_axis(index=None, columns=None).T.to_string(header=False) if len(count) == 1
               else count.rename_axis(index=None, columns=None).to_string())  # fmt: skip
    for name in result["scenes_without_patches"]:
        click.echo(f"{name}  no patch")
    for name, c in result["channels"].items():
        click.echo(f"{name}  mean {c['mean']} {c['units']}, standard deviation {c['std']}")
