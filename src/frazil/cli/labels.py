"""`frazil patches`: labelled patches from scenes and labels, or from a published set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from frazil.cli.options import label_options, pairs
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_json

_CUTTING = {"size", "stride", "channels", "scheme", "unknown_codes", "dialect", "dominance", "limit", "seed"}
#: Which options each published set takes, beside those about the output.
_TAKES = {
    "uit": {"channels", "scheme", "classes", "manifest"},
    "folders": {"channels", "scheme", "classes", "manifest", "ranges"},
    "ai4arctic": _CUTTING | {"ranges"},
    "extremeearth": _CUTTING
    | {"labels", "looks", "boxcar", "denoise", "classes", "class_column", "layer", "assume_crs", "keep_land"},
}
_OUTPUT = {"scenes", "source", "output", "sheet", "overwrite", "as_json", "seed"}


@click.command()
@click.argument("scenes", nargs=-1, required=True, type=click.Path())
@click.option(
    "--labels", multiple=True, type=click.Path(),
    help="Chart, polygons or class raster: one for all scenes, or repeated, one for each. {scene} stands for the "
    "product name, {folder} for the folder it lies in. With --from extremeearth: the folder of its polygons.",
)  # fmt: skip
@click.option(
    "--from", "source", type=click.Choice(sorted(_TAKES)),
    help="Read a published set in place of cutting: SCENES are then the folder of the UiT patches, or of class folders "
    "(or with a --manifest), the NetCDF files of AI4Arctic, or the products of ExtremeEarth.",
)  # fmt: skip
@click.option("-o", "--output", required=True, type=click.Path(), help="Patch set to write: .zarr.")
@click.option("--size", type=int, default=32, show_default=True, help="Height and width, pixels.")
@click.option("--stride", type=int, default=10, show_default=True, help="Pixels between neighbours.")
@click.option(
    "--channels", default="hh,hv,incidence_angle", show_default=True,
    help="Channels: hh hv vv vh nesz_hh … incidence_angle; nesz for those of all polarisations listed.",
)  # fmt: skip
@click.option(
    "--scheme", help="Classes: five_classes, binary or ai4arctic.  [default: five_classes; of AI4Arctic its own]"
)
@click.option("--manifest", type=click.Path(), help="CSV of images and classes, with --from uit or folders.")
@click.option(
    "--range", "ranges", multiple=True, metavar="CHANNEL=LOW,HIGH",
    help="What the ends of stored values stand for, dB or degrees: -1 and 1 in AI4Arctic's ready-to-train files, 0 and "
    "255 in 8-bit images, 0 and 65535 in 16-bit ones (which need it).",
)  # fmt: skip
@click.option("--looks", type=int, default=1, show_default=True, help="Average looks x looks blocks in power.")
@click.option("--boxcar", is_flag=True, help="3 x 3 moving average at full resolution.")
@click.option(
    "--denoise", type=click.Choice(["esa", "balanced", "none"]), default="esa", show_default=True,
    help="How thermal noise is removed.",
)  # fmt: skip
@label_options
@click.option("--keep-land", is_flag=True, help="Trust the labels about land; do not apply the shoreline mask.")
@click.option("--limit", type=int, help="At most so many patches of a class from a scene.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of that draw, and of the contact sheet.")
@click.option("--sheet", type=click.Path(), help="Contact sheet to write.  [default: OUTPUT with the suffix .png]")
@click.option("--overwrite", is_flag=True, help="Replace an output that is there already.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def patches(
    scenes: tuple[str, ...], labels: tuple[str, ...], output: str, sheet: str | None, source: str | None,
    overwrite: bool, as_json: bool, seed: int, **settings: Any,
) -> None:  # fmt: skip
    """Cut labelled patches of SCENES inside polygons, chart or class raster, with statistics and a picture.

    With --from, take the patches of a published set.
    """
    from frazil.files import refuse_existing
    from frazil.labels.contact_sheet import contact_sheet
    from frazil.labels.patch_set import patch_statistics

    _check_options(source)
    if not labels and source in (None, "extremeearth"):
        raise click.UsageError("Missing option '--labels'.")
    picture = Path(sheet) if sheet else Path(output).with_suffix(".png")
    refuse_existing(picture, overwrite=overwrite)
    with progress_bar("reading" if source else "cutting", known=source is None) as progress:
        options: dict[str, Any] = {"path": output, "overwrite": overwrite}
        if source in (None, "extremeearth"):
            made = _cut(scenes, labels, source, progress, seed=seed, **settings, **options)
        else:
            made = _read(scenes, source, seed=seed, **settings, **options)
    contact_sheet(made, picture, seed=seed, overwrite=overwrite)
    _print_result(made, patch_statistics(made), output, picture, as_json)


def _check_options(source: str | None) -> None:
    """Refuse an option that the source of the patches does not know, in place of passing over it."""
    from click.core import ParameterSource

    context = click.get_current_context()
    taken = _OUTPUT | _TAKES[source] if source else {p.name for p in context.command.params} - {"manifest", "ranges"}
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") == ParameterSource.COMMANDLINE
        if given and parameter.name not in taken:
            what = f"--from {source}" if source else "cutting scenes; it goes with --from"
            raise click.UsageError(f"Option '{parameter.opts[0]}' is not for {what}.")


def _ranges(items: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    form = "CHANNEL=LOW,HIGH"
    out = {}
    for name, text in pairs(items, "--range", form).items():
        try:
            low, high = (float(value) for value in text.split(","))
        except ValueError:
            raise click.BadParameter(f"{name + '=' + text!r} is not {form}.", param_hint="--range") from None
        out[name] = (low, high)
    return out


def _cut(
    scenes: tuple[str, ...], labels: tuple[str, ...], source: str | None, progress: Any, *, classes: tuple[str, ...],
    class_column: str | None, scene_column: str | None, layer: str | None, assume_crs: str | None, unknown_codes: Any,
    dialect: str | None, dominance: float,
    keep_land: bool, channels: str, scheme: str | None, manifest: None, ranges: tuple[()],  # noqa: ARG001 - refused before
    **settings: Any,
) -> Any:  # fmt: skip
    """Patches of scenes with labels."""
    from frazil.labels.classes import LabelOptions
    from frazil.labels.datasets.extremeearth import read_extremeearth
    from frazil.labels.patches import cut_patches
    from frazil.labels.sigrid3 import ChartSettings

    options = LabelOptions(
        class_column=class_column, scene_column=scene_column, layer=layer, assume_crs=assume_crs,
        unknown=unknown_codes, dialect=dialect, chart=ChartSettings(dominance=dominance),
        classes=pairs(classes, "--class", "VALUE=NAME"),
    )  # fmt: skip
    settings |= {
        "options": options, "channels": channels.split(","), "scheme": scheme or "five_classes",
        "mask_land": not keep_land, "progress": progress,
    }  # fmt: skip
    if source is None:
        return cut_patches(scenes, labels, **settings)
    if len(labels) > 1:
        raise click.BadParameter("name one folder of polygons.", param_hint="--labels")
    return read_extremeearth(labels[0], scenes, **settings)


def _read(
    scenes: tuple[str, ...], source: str, *, classes: tuple[str, ...], channels: str, scheme: str | None,
    manifest: str | None, ranges: tuple[str, ...], unknown_codes: Any, dialect: str | None,
    dominance: float, size: int, stride: int, limit: int | None, seed: int, path: str, overwrite: bool,
    **_not_taken: Any,
) -> Any:  # fmt: skip
    """Patches of a published set."""
    shared: dict[str, Any] = {"channels": channels.split(","), "path": path, "overwrite": overwrite}
    if source == "ai4arctic":
        from frazil.labels.datasets.ai4arctic import read_ai4arctic
        from frazil.labels.sigrid3 import ChartSettings

        files = scenes[0] if len(scenes) == 1 else scenes
        return read_ai4arctic(
            files, size=size, stride=stride, scheme=scheme or "ai4arctic", scaling=_ranges(ranges),
            settings=ChartSettings(dominance=dominance), unknown=unknown_codes, dialect=dialect,
            limit=limit, seed=seed, **shared,
        )  # fmt: skip
    if len(scenes) > 1:
        raise click.BadParameter("name one folder.", param_hint="SCENES...")
    shared |= {
        "manifest": manifest, "classes": pairs(classes, "--class", "VALUE=NAME"), "scheme": scheme or "five_classes"
    }  # fmt: skip
    if source == "uit":
        from frazil.labels.datasets.uit import read_uit

        return read_uit(scenes[0], **shared)
    from frazil.labels.datasets.folders import read_folders

    return read_folders(scenes[0], decode=_ranges(ranges), **shared)


def _print_result(made: Any, statistics: Any, output: str, picture: Path, as_json: bool) -> None:
    count = statistics["count"].to_pandas()
    result: dict[str, Any] = {
        "patches": output,
        "sheet": str(picture),
        "counts": made.attrs.get("counts", {}),
        "classes": {name: int(n) for name, n in count.sum().items()},
        "scenes": {scene: {k: int(n) for k, n in row.items() if n} for scene, row in count.iterrows()},
        **({"dialects": made.attrs["dialects"]} if made.attrs.get("dialects") else {}),
        "scenes_without_patches": made.attrs.get("scenes_without_patches", []),
        "channels": {
            str(name): {"mean": round(float(m), 3), "std": round(float(s), 3), "units": str(u)}
            for name, m, s, u in zip(
                *(statistics[k].values for k in ("channel", "mean", "std", "channel_units")), strict=True
            )
        },
    }
    if as_json:
        say_json(result)
        return
    say(f"patches  {output}\nsheet    {picture}")
    counts = result["counts"]
    if "inside" in counts:
        say(f"cut      {counts['patches']} of {counts['inside']} places inside one region")
    else:
        say(f"read     {made.sizes['patch']} patches")
    for why in ("limit", "missing", "land"):
        if n := counts.get(f"left_out_{why}"):
            say(f"         {n} left out: {why}")
    say(count.rename_axis(index=None, columns=None).T.to_string(header=False) if len(count) == 1
               else count.rename_axis(index=None, columns=None).to_string())  # fmt: skip
    if "dialects" in result:
        say(f"chart    codes of SIGRID-3 {', '.join(result['dialects'])}")
    for name in result["scenes_without_patches"]:
        say(f"{name}  no patch")
    for name, c in result["channels"].items():
        say(f"{name}  mean {c['mean']} {c['units']}, standard deviation {c['std']}")
