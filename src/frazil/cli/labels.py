"""`frazil patches`: labelled patches from scenes and labels, or from a published set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from frazil.cli.guard import Grouped
from frazil.cli.options import Command, label_options, label_reading, output, pairs, shared
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_json

_LABELS = (
    "Chart, polygons or class raster: one for all scenes, or repeated, one for each. {scene} stands for the product "
    "name, {folder} for the folder it lies in."
)
_channels = click.option(
    "--channels",
    default="hh,hv,incidence_angle",
    show_default=True,
    help="Channels: hh hv vv vh nesz_hh … incidence_angle; nesz for those of all polarisations listed.",
)
_size = click.option("--size", type=int, default=32, show_default=True, help="Height and width, pixels.")
_stride = click.option("--stride", type=int, default=10, show_default=True, help="Pixels between neighbours.")
_limit = click.option("--limit", type=int, help="At most so many patches of a class from a scene.")
_manifest = click.option("--manifest", type=click.Path(), help="CSV of images and classes.")
_ranges = click.option(
    "--range",
    "ranges",
    multiple=True,
    metavar="CHANNEL=LOW,HIGH",
    help="What the ends of stored values stand for, dB or degrees: -1 and 1 in AI4Arctic's ready-to-train files, 0 and "
    "255 in 8-bit images, 0 and 65535 in 16-bit ones (which need it).",
)


def _scheme(default: str) -> Any:
    return click.option(
        "--scheme", default=default, show_default=True, help="Classes: five_classes, binary or ai4arctic."
    )


def _formerly(args: list[str]) -> str | None:
    """The kind that was asked for as ``frazil patches … --from KIND``."""
    return args[args.index("--from") + 1] if "--from" in args[:-1] else "cut"


@click.group(cls=Grouped, formerly=_formerly, short_help="Make a set of labelled patches.")
def patches() -> None:
    """Make a set of labelled patches, with statistics and a picture: cut them from scenes, or read a published set."""


def _writes(command: Command) -> Command:
    """What every kind of set takes about its output."""
    for option in reversed(
        (
            output("Patch set to write: .zarr."),
            click.option("--sheet", type=click.Path(), help="Contact sheet to write.  [default: OUTPUT as .png]"),
            click.option("--seed", type=int, default=0, show_default=True, help="Of all that is drawn at random."),
            shared("overwrite", "json"),
        )
    ):
        command = option(command)
    return command


@patches.command()
@click.argument("scenes", nargs=-1, required=True, type=click.Path())
@click.option("--labels", multiple=True, required=True, type=click.Path(), help=_LABELS)
@_size
@_stride
@_channels
@_scheme("five_classes")
@shared("looks", "boxcar", "denoise")
@label_options
@shared("keep-land")
@_limit
@_writes
def cut(scenes: tuple[str, ...], labels: tuple[str, ...], **given: Any) -> None:
    """Cut patches of SCENES inside polygons, chart or class raster."""
    from frazil.labels.patches import cut_patches

    settings, of_output = _cutting(given)
    _write(lambda progress, path: cut_patches(scenes, labels, progress=progress, **settings, **path), **of_output)


@patches.command()
@click.argument("scenes", nargs=-1, required=True, type=click.Path())
@click.option("--labels", required=True, type=click.Path(), help="Folder of the set's polygons.")
@_size
@_stride
@_channels
@_scheme("five_classes")
@shared("looks", "boxcar", "denoise", "class-column", "class", "layer", "assume-crs", "unknown-codes", "dominance")
@shared("dialect", "keep-land")
@_limit
@_writes
def extremeearth(scenes: tuple[str, ...], labels: str, **given: Any) -> None:
    """Cut patches of the products of ExtremeEarth inside its polygons."""
    from frazil.labels.datasets.extremeearth import read_extremeearth

    settings, of_output = _cutting(given)
    _write(lambda progress, path: read_extremeearth(labels, scenes, progress=progress, **settings, **path), **of_output)


@patches.command()
@click.argument("files", nargs=-1, required=True, type=click.Path())
@_size
@_stride
@_channels
@_scheme("ai4arctic")
@_ranges
@shared("unknown-codes", "dominance", "dialect")
@_limit
@_writes
def ai4arctic(
    files: tuple[str, ...],
    size: int,
    stride: int,
    channels: str,
    scheme: str,
    ranges: tuple[str, ...],
    limit: int | None,
    unknown_codes: Any,
    dominance: float,
    dialect: str | None,
    **given: Any,
) -> None:
    """Cut patches of the NetCDF FILES of AI4Arctic, whose charts lie in them."""
    from frazil.labels.datasets.ai4arctic import read_ai4arctic
    from frazil.labels.sigrid3 import ChartSettings

    scaling = _parsed(ranges)
    _write(
        lambda _progress, path: read_ai4arctic(
            files[0] if len(files) == 1 else files,
            size=size,
            stride=stride,
            scheme=scheme,
            scaling=scaling,
            settings=ChartSettings(dominance=dominance),
            unknown=unknown_codes,
            dialect=dialect,
            limit=limit,
            channels=channels.split(","),
            seed=given["seed"],
            **path,
        ),
        **given,
    )


@patches.command()
@click.argument("folder", type=click.Path())
@_channels
@_scheme("five_classes")
@shared("class")
@_manifest
@_writes
def uit(folder: str, channels: str, scheme: str, classes: tuple[str, ...], manifest: str | None, **given: Any) -> None:
    """Read the patches of UiT, in class folders or with a manifest."""
    from frazil.labels.datasets.uit import read_uit

    meaning = pairs(classes, "--class", "VALUE=NAME")
    _write(
        lambda _progress, path: read_uit(
            folder, manifest=manifest, classes=meaning, scheme=scheme, channels=channels.split(","), **path
        ),
        **given,
    )


@patches.command()
@click.argument("folder", type=click.Path())
@_channels
@_scheme("five_classes")
@shared("class")
@_manifest
@_ranges
@_writes
def folders(
    folder: str,
    channels: str,
    scheme: str,
    classes: tuple[str, ...],
    manifest: str | None,
    ranges: tuple[str, ...],
    **given: Any,
) -> None:
    """Read images in a folder for each class, or with a manifest."""
    from frazil.labels.datasets.folders import read_folders

    meaning, decode = pairs(classes, "--class", "VALUE=NAME"), _parsed(ranges)
    _write(
        lambda _progress, path: read_folders(
            folder,
            manifest=manifest,
            classes=meaning,
            scheme=scheme,
            channels=channels.split(","),
            decode=decode,
            **path,
        ),
        **given,
    )


def _cutting(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of `frazil.cut_patches`, and what `_write` wants."""
    of_output = {name: given.pop(name) for name in ("output", "sheet", "overwrite", "as_json")}
    options = label_reading(given)
    keep_land, channels = given.pop("keep_land"), given.pop("channels")
    settings = {**given, "options": options, "channels": channels.split(","), "mask_land": not keep_land}
    return settings, of_output | {"seed": given["seed"]}


def _parsed(items: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    form = "CHANNEL=LOW,HIGH"
    out = {}
    for name, text in pairs(items, "--range", form).items():
        try:
            low, high = (float(value) for value in text.split(","))
        except ValueError:
            raise click.BadParameter(f"{name + '=' + text!r} is not {form}.", param_hint="--range") from None
        out[name] = (low, high)
    return out


def _write(
    make: Callable[[Any, dict[str, Any]], Any],
    *,
    output: str,
    sheet: str | None,
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Make a set at its path, with a contact sheet, and say what is in it.

    Args:
        make: given progress and where to write.
        output: of the set.
        sheet: see the options.
        seed: likewise.
        overwrite: likewise.
        as_json: likewise.
    """
    from frazil.files import refuse_existing
    from frazil.labels.contact_sheet import contact_sheet
    from frazil.labels.patch_set import patch_statistics

    picture = Path(sheet) if sheet else Path(output).with_suffix(".png")
    refuse_existing(picture, overwrite=overwrite)
    with progress_bar("patches") as progress:
        made = make(progress, {"path": output, "overwrite": overwrite})
    contact_sheet(made, picture, seed=seed, overwrite=overwrite)
    _print_result(made, patch_statistics(made), output, picture, as_json)


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
    say(
        count.rename_axis(index=None, columns=None).T.to_string(header=False)
        if len(count) == 1
        else count.rename_axis(index=None, columns=None).to_string()
    )
    if "dialects" in result:
        say(f"chart    codes of SIGRID-3 {', '.join(result['dialects'])}")
    for name in result["scenes_without_patches"]:
        say(f"{name}  no patch")
    for name, c in result["channels"].items():
        say(f"{name}  mean {c['mean']} {c['units']}, standard deviation {c['std']}")
