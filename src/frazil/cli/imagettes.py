"""`frazil imagettes` and `frazil segment`: the sea in squares of 20 km."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from frazil.cli.guard import Grouped
from frazil.cli.options import Command, numbers, output, shared
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_json, say_result
from frazil.cli.scores import print_masks

if TYPE_CHECKING:
    import xarray as xr


def _formerly(args: list[str]) -> str | None:
    """The kind of set that was asked for as ``frazil imagettes SOURCE --from KIND``."""
    if "--from" in args[:-1]:
        return args[args.index("--from") + 1]
    return "multilabel" if any(word.endswith(".csv") for word in args) else "product"


@click.group(cls=Grouped, formerly=_formerly, short_help="Make a set of imagettes.")
def imagettes() -> None:
    """Make a set of imagettes: of a product, of a published set, of images with masks, or simulated.

    σ0 of VV is de-trended in incidence angle, averaged, and scaled to [0, 1] in dB; published images keep their grey.
    """


def _writes(command: Command) -> Command:
    """What every kind of set takes about its output."""
    for option in reversed(
        (
            output("Set to write, .zarr."),
            click.option(
                "--split", "parts", help="Write three sets, OUTPUT-train, -validation, -test, of so many parts: 7,1,3."
            ),
            click.option(
                "--split-seed", type=int, help="Of --split: draw groups at random.  [default: in the order of the set]"
            ),
            click.option("--picture", type=click.Path(), help="PNG to write: the images with their masks."),
            shared("overwrite", "json"),
        )
    ):
        command = option(command)
    return command


def _metres(default: float = 100.0) -> Any:
    return click.option(
        "--resolution", type=float, default=default, show_default=True, help="Metres a pixel: 50, 100, 200 or 340."
    )


_source = click.argument("source", type=click.Path())


@imagettes.command()
@_source
@_metres()
@click.option("--max-land", type=float, default=0.1, show_default=True, help="Largest share of land.")
@_writes
def product(source: str, resolution: float, max_land: float, **given: Any) -> None:
    """Wave-mode images of a product, or squares of 20 km of a wide scene."""
    from frazil.labels.imagettes_products import cut_imagettes

    _write(lambda p: cut_imagettes(source, resolution_m=resolution, max_land=max_land, progress=p), **given)


@imagettes.command()
@_source
@_metres()
@_writes
def tengeop(source: str, resolution: float, **given: Any) -> None:
    """TenGeoP-SARwv: GeoTIFFs in folders F to O."""
    from frazil.labels.datasets.tengeop import read_tengeop

    _write(lambda _: read_tengeop(source, resolution_m=resolution), **given)


@imagettes.command()
@_source
@_metres()
@click.option("--part", default="", help="train or val.  [default: both]")
@_writes
def colin(source: str, resolution: float, part: str, **given: Any) -> None:
    """The masks of Colin et al.: folders input and output, PNG or npy."""
    from frazil.labels.datasets.masks import read_colin

    _write(lambda _: read_colin(source, part=part, resolution_m=resolution), **given)


@imagettes.command()
@_source
@_metres(10.0)
@click.option("--scheme", default="slicks", show_default=True, help="Classes: slicks or metocean.")
@click.option("--image-suffix", default="", help="In one folder or tar: end of the names of images.")
@click.option("--mask-suffix", default="", help="In one folder or tar: end of the names of masks.")
@click.option(
    "--group-size", type=click.IntRange(min=0), default=0, help="Put so many neighbours in one group for splits."
)
@click.option("--quarters", is_flag=True, help="Cut every image in four.")
@_writes
def masks(
    source: str,
    resolution: float,
    scheme: str,
    image_suffix: str,
    mask_suffix: str,
    group_size: int,
    quarters: bool,
    **given: Any,
) -> None:
    """Images with masks of oil slicks or phenomena: folders, or a tar."""
    from frazil.labels.datasets.masks import read_masks
    from frazil.labels.imagettes import quarters as cut

    def read(_progress: Any) -> xr.Dataset:
        ds = read_masks(
            source,
            scheme=scheme,
            image_suffix=image_suffix,
            mask_suffix=mask_suffix,
            group_size=group_size,
            resolution_m=resolution,
        )
        return cut(ds) if quarters else ds

    _write(read, **given)


@imagettes.command()
@_source
@_metres()
@_writes
def multilabel(source: str, resolution: float, **given: Any) -> None:
    """A table (.csv) of files, and a column of 0 and 1 for each class."""
    from frazil.labels.datasets.multilabel import read_multilabel

    _write(lambda _: read_multilabel(source, resolution_m=resolution), **given)


@imagettes.command()
@_metres()
@click.option("--count", type=int, default=10, show_default=True, help="Images of each category.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the first image.")
@click.option("--looks", type=float, help="Of speckle, at 50 m: 13 for IW GRDH at 100 m.  [default: 60, of wave mode]")
@_writes
def simulated(resolution: float, count: int, seed: int, looks: float | None, **given: Any) -> None:
    """Ten categories with exact masks, simulated."""
    from frazil.simulate.imagettes import simulated_imagettes
    from frazil.simulate.wave_mode import WaveModeConfig

    config = WaveModeConfig(looks=looks)
    _write(lambda p: simulated_imagettes(count, seed=seed, resolution_m=resolution, config=config, progress=p), **given)


def _write(
    read: Callable[[Any], xr.Dataset],
    *,
    output: str,
    parts: str | None,
    split_seed: int | None,
    picture: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Read or make a set, and write it whole or in three."""
    from frazil.files import refuse_existing
    from frazil.labels.imagettes import parts_of_split, save_imagettes, split_imagettes

    shares, place = _numbers(parts), Path(output)
    wanted = {"": output}
    if shares:
        wanted = {side: str(place.with_name(f"{place.stem}-{side}{place.suffix}")) for side in parts_of_split(shares)}
    for path in [*wanted.values(), *([picture] if picture else [])]:
        refuse_existing(path, overwrite=overwrite)
    with progress_bar("imagettes") as progress:
        ds = read(progress)
        made = split_imagettes(ds, shares, split_seed) if shares else {"": ds}
        for side, path in wanted.items():
            save_imagettes(made[side], path, overwrite=overwrite)
    if picture:
        from frazil.maps.phenomena_figures import draw_imagettes

        draw_imagettes(ds, picture, overwrite=overwrite)
    broken = [str(words) for words in ds.attrs.get("left_out_broken", [])]
    say_result(
        {
            **{f"{side or 'imagettes'}": Path(path) for side, path in wanted.items()},
            "images": ds.sizes["imagette"],
            **{f"{side}_images": made[side].sizes["imagette"] for side in wanted if side},
            "pixels": ds.sizes["line"],
            "spacing_m": ds.attrs["spacing_m"],
            "with_masks": "yes" if "mask" in ds else "no",
            "left_out_empty": ds.attrs.get("left_out_empty", 0),
            "left_out_land": ds.attrs.get("left_out_land", 0),
            "left_out_broken": len(broken),
        },
        as_json,
    )
    for words in broken:
        say(f"Note: left out, since it cannot be read: {words}", err=True)


def _numbers(words: str | None) -> list[float]:
    """Numbers with commas between; none without words."""
    try:
        return [float(word) for word in words.split(",")] if words is not None else []
    except ValueError:
        raise click.BadParameter("three numbers, such as 7,1,3", param_hint="--split") from None


@click.command(short_help="Find phenomena in imagettes by one of five methods.")
@click.argument("source", metavar="IMAGETTES", type=click.Path())
@click.option("--model", required=True, type=click.Path(), help="Model folder, made by `frazil train metocean:…`.")
@click.option(
    "--method",
    type=click.Choice(["unet", "mask", "part", "cam", "im2px"]),
    help="How.  [default: unet or im2px by the model; cam for categorisers]",
)
@output("Scores and masks to write: .zarr, .nc, or a .tif folder.")
@click.option("--threshold", type=float, default=0.5, show_default=True, help="Score from which a class is found.")
@click.option("--mask-side", type=int, default=75, show_default=True, help="Of mask: side of the mask, pixels.")
@click.option("--mask-stride", type=int, default=25, show_default=True, help="Of mask: pixels between masks.")
@click.option("--mask-count", type=int, help="Of mask: masks along a side.  [default: as many as cover the image]")
@click.option(
    "--mask-fill", type=click.Choice(["zero", "mean"]), default="zero", show_default=True, help="Of mask: under it."
)
@click.option("--tile", type=int, default=129, show_default=True, help="Of part: side of the tiles, pixels (75, 129).")
@click.option("--tile-stride", type=int, help="Of part: pixels between tiles.  [default: a third of a tile]")
@click.option("--dense", is_flag=True, help="Of part: one pass over the image; faster, and equal but for the border.")
@click.option("--picture", type=click.Path(), help="PNG to write: images, drawn masks where known, and what was found.")
@shared("scales", "precision", "device", "overwrite", "json")
def segment(
    source: str,
    model: str,
    method: str | None,
    output: str,
    picture: str | None,
    device: str | None,
    overwrite: bool,
    as_json: bool,
    scales: str,
    **settings: Any,
) -> None:
    """Find phenomena in IMAGETTES (a set made by `frazil imagettes`) by one of five methods.

    Where masks were drawn, scores are printed: set Dice, and the per-pixel Dice of Colin et al. under its own name.
    """
    from frazil.conventions import PHENOMENA_SCHEMES
    from frazil.files import refuse_existing
    from frazil.labels.imagettes import open_imagettes
    from frazil.labels.imagettes_without import in_classes
    from frazil.learn.predict.imagettes import SegmentOptions, score_segments
    from frazil.learn.predict.imagettes import segment as run
    from frazil.maps.segment_files import save_segments

    for path in (output, picture):
        if path:
            refuse_existing(path, overwrite=overwrite)
    options = SegmentOptions(scales=numbers(scales, "--scales"), **settings)
    with progress_bar("segmenting") as progress:
        ds = open_imagettes(source)
        found = run(ds, model, method=method, options=options, device=device, progress=progress)
        save_segments(found, output, overwrite=overwrite)
    if picture:
        from frazil.maps.phenomena_figures import draw_imagettes

        known = in_classes(ds, PHENOMENA_SCHEMES[found.attrs["class_scheme"]], keep_images=True)
        draw_imagettes(known, picture, found=[found], overwrite=overwrite)
    scores = score_segments(found, ds)
    result = {"segments": Path(output), "method": found.attrs["method"], "images": ds.sizes["imagette"]}
    if as_json:
        say_json({**result, "segments": output, "scores": scores})
        return
    say_result(result, as_json=False)
    if scores:
        print_masks(scores)
