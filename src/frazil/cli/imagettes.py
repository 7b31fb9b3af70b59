"""`frazil imagettes` and `frazil segment`: the sea in squares of 20 km."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from frazil.cli.notes import say_crs, say_notes
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_json
from frazil.cli.scores import print_masks

if TYPE_CHECKING:
    import xarray as xr

SOURCES = ["product", "tengeop", "colin", "masks", "multilabel", "simulated"]


@click.command()
@click.argument("source", type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), help="Set to write, .zarr.")
@click.option(
    "--from", "kind", type=click.Choice(SOURCES), default=None,
    help="What SOURCE is.  [default: multilabel for .csv, simulated for that word, else product]",
)  # fmt: skip
@click.option("--resolution", type=float, help="Metres a pixel: 50, 100, 200 or 340.  [default: 100; of masks: 10]")
@click.option("--max-land", type=float, default=0.1, show_default=True, help="Of products: largest share of land.")
@click.option("--part", default="", help="Of colin: train or val.  [default: both]")
@click.option("--scheme", default="slicks", show_default=True, help="Of masks: slicks or metocean.")
@click.option("--image-suffix", default="", help="Of masks in one folder or tar: end of the names of images.")
@click.option("--mask-suffix", default="", help="Of masks in one folder or tar: end of the names of masks.")
@click.option(
    "--group-size",
    type=click.IntRange(min=0),
    default=0,
    help="Of masks: put so many neighbours in one group for splits.",
)
@click.option("--quarters", is_flag=True, help="Of masks: cut every image in four.")
@click.option("--count", type=int, default=10, show_default=True, help="Of simulated: images of each category.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of simulated: of the first image.")
@click.option("--split", "parts", help="Write three sets, OUTPUT-train, -validation, -test, of so many parts: 7,1,3.")
@click.option("--split-seed", type=int, help="Of --split: draw groups at random.  [default: in the order of the set]")
@click.option("--picture", type=click.Path(), help="PNG to write: the images with their masks.")
@click.option("--overwrite", is_flag=True, help="Replace an output that is there already.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def imagettes(
    source: str, output: str, kind: str | None, resolution: float | None, parts: str | None, split_seed: int | None,
    picture: str | None, overwrite: bool, as_json: bool, **more: Any,
) -> None:  # fmt: skip
    """Make a set of imagettes of SOURCE: a product, a published folder, a tar, a table, or the word 'simulated'.

    σ0 of VV is de-trended in incidence angle, averaged, and scaled to [0, 1] in dB; published images keep their grey.
    """
    from frazil.files import refuse_existing
    from frazil.labels.imagettes import parts_of_split, save_imagettes, split_imagettes

    shares, place = _numbers(parts), Path(output)
    wanted = {"": output}
    if shares:
        wanted = {side: str(place.with_name(f"{place.stem}-{side}{place.suffix}")) for side in parts_of_split(shares)}
    for path in [*wanted.values(), *([picture] if picture else [])]:
        refuse_existing(path, overwrite=overwrite)
    chosen = kind or ("multilabel" if source.endswith(".csv") else "simulated" if source == "simulated" else "product")
    with progress_bar("imagettes") as progress:
        ds = _read(chosen, source, resolution, progress, **more)
        made = split_imagettes(ds, shares, split_seed) if shares else {"": ds}
        for side, path in wanted.items():
            save_imagettes(made[side], path, overwrite=overwrite)
    if picture:
        from frazil.maps.phenomena_figures import draw_imagettes

        draw_imagettes(ds, picture, overwrite=overwrite)
    broken = [str(words) for words in ds.attrs.get("left_out_broken", [])]
    _say(
        {
            **{f"{side or 'imagettes'}": path for side, path in wanted.items()},
            "images": ds.sizes["imagette"],
            **{f"{side}_images": made[side].sizes["imagette"] for side in wanted if side}, "pixels": ds.sizes["line"],
            "spacing_m": ds.attrs["spacing_m"], "with_masks": "yes" if "mask" in ds else "no",
            "left_out_empty": ds.attrs.get("left_out_empty", 0), "left_out_land": ds.attrs.get("left_out_land", 0),
            "left_out_broken": len(broken),
        },
        as_json,
    )  # fmt: skip
    for words in broken:
        say(f"Note: left out, since it cannot be read: {words}", err=True)


def _numbers(words: str | None) -> list[float]:
    """Numbers with commas between; none without words."""
    try:
        return [float(word) for word in words.split(",")] if words is not None else []
    except ValueError:
        raise click.BadParameter("three numbers, such as 7,1,3", param_hint="--split") from None


def _read(
    kind: str, source: str, resolution: float | None, progress: Any, *, max_land: float, part: str, scheme: str,
    image_suffix: str, mask_suffix: str, group_size: int, quarters: bool, count: int, seed: int,
) -> xr.Dataset:  # fmt: skip
    metres = 100.0 if resolution is None else resolution
    if kind == "product":
        from frazil.labels.imagettes_products import cut_imagettes

        return cut_imagettes(source, resolution_m=metres, max_land=max_land, progress=progress)
    if kind == "tengeop":
        from frazil.labels.datasets.tengeop import read_tengeop

        return read_tengeop(source, resolution_m=metres)
    if kind == "multilabel":
        from frazil.labels.datasets.multilabel import read_multilabel

        return read_multilabel(source, resolution_m=metres)
    if kind == "simulated":
        from frazil.simulate.imagettes import simulated_imagettes

        return simulated_imagettes(count, seed=seed, resolution_m=metres, progress=progress)
    from frazil.labels.datasets.masks import read_colin, read_masks
    from frazil.labels.imagettes import quarters as cut

    if kind == "colin":
        return read_colin(source, part=part, resolution_m=metres)
    ds = read_masks(
        source, scheme=scheme, image_suffix=image_suffix, mask_suffix=mask_suffix, group_size=group_size,
        resolution_m=10.0 if resolution is None else resolution,
    )  # fmt: skip
    return cut(ds) if quarters else ds


@click.command()
@click.argument("source", metavar="IMAGETTES", type=click.Path())
@click.option("--model", required=True, type=click.Path(), help="Model folder, made by `frazil train metocean:…`.")
@click.option(
    "--method", type=click.Choice(["unet", "mask", "part", "cam", "im2px"]),
    help="How.  [default: unet or im2px by the model; cam for categorisers]",
)  # fmt: skip
@click.option(
    "-o", "--output", required=True, type=click.Path(), help="Scores and masks to write: .zarr, .nc, or a .tif folder."
)
@click.option("--threshold", type=float, default=0.5, show_default=True, help="Score from which a class is found.")
@click.option("--mask-side", type=int, default=75, show_default=True, help="Of mask: side of the mask, pixels.")
@click.option("--mask-stride", type=int, default=25, show_default=True, help="Of mask: pixels between masks.")
@click.option(
    "--mask-fill", type=click.Choice(["zero", "mean"]), default="zero", show_default=True, help="Of mask: under it."
)
@click.option("--tile", type=int, default=129, show_default=True, help="Of part: side of the tiles, pixels (75, 129).")
@click.option("--tile-stride", type=int, help="Of part: pixels between tiles.  [default: a third of a tile]")
@click.option("--dense", is_flag=True, help="Of part: one pass over the image; faster, and equal but for the border.")
@click.option(
    "--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True,
    help="Arithmetic of the network.",
)  # fmt: skip
@click.option("--picture", type=click.Path(), help="PNG to write: images, drawn masks where known, and what was found.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="Where to compute.")
@click.option("--overwrite", is_flag=True, help="Replace an output that is there already.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def segment(
    source: str, model: str, method: str | None, output: str, picture: str | None, device: str | None,
    overwrite: bool, as_json: bool, **settings: Any,
) -> None:  # fmt: skip
    """Find phenomena in IMAGETTES (a set made by `frazil imagettes`) by one of five methods.

    Where masks were drawn, scores are printed: set Dice, and the per-pixel Dice of Colin et al. under its own name.
    """
    from frazil.files import refuse_existing
    from frazil.labels.imagettes import open_imagettes
    from frazil.learn.predict.imagettes import SegmentOptions, score_segments
    from frazil.learn.predict.imagettes import segment as run
    from frazil.maps.segment_files import save_segments

    for path in (output, picture):
        if path:
            refuse_existing(path, overwrite=overwrite)
    options = SegmentOptions(**settings)
    with progress_bar("segmenting") as progress:
        ds = open_imagettes(source)
        found = run(ds, model, method=method, options=options, device=device, progress=progress)
        save_segments(found, output, overwrite=overwrite)
    if picture:
        from frazil.maps.phenomena_figures import draw_imagettes

        draw_imagettes(ds, picture, found=[found], overwrite=overwrite)
    scores = score_segments(found, ds)
    result: dict[str, Any] = {"segments": output, "method": found.attrs["method"], "images": ds.sizes["imagette"]}
    if as_json:
        say_json(result | {"scores": scores})
        return
    _say(result, as_json=False)
    if scores:
        print_masks(scores)


def _say(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(result)
        return
    width = max(map(len, result))
    for key, value in result.items():
        say(f"{key:<{width}}  {Path(value) if key in ('imagettes', 'segments') else value}")


def phenomena_options(command: Any) -> Any:
    """Options of `frazil map` for models of phenomena of sea and air."""
    options = (
        click.option(
            "--tiling", type=click.Choice(["seamless", "half-overlap"]), default="seamless", show_default=True,
            help="Of models of phenomena: tiles that do not show, or those of the source, 256 pixels by half.",
        ),
        click.option(
            "--drop", multiple=True, metavar="NAME[:LATITUDE[:MONTHS]]",
            help="Of models of phenomena: a class that cannot be there; equatorward of a latitude, in months 6,7,8.",
        ),
        click.option(
            "--ice-model", help="Of models of phenomena: a sea-ice model, whose result wins where it finds ice."
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def map_phenomena(
    product: Any, model: Any, output: str, *, spacing: float | None, precision: str, crs: str | None, coast_m: float,
    tiling: str, drop: tuple[str, ...], ice_model: str | None, overwrite: bool, as_json: bool,
) -> None:  # fmt: skip
    """`frazil map` with a model of phenomena."""
    from frazil.files import refuse_existing
    from frazil.learn.predict.flags import FlagSettings
    from frazil.learn.predict.ice import predict
    from frazil.learn.predict.phenomena import PhenomenaMapOptions, predict_phenomena
    from frazil.maps.export import export

    refuse_existing(output, overwrite=overwrite)
    options = PhenomenaMapOptions(
        tiling=tiling, drop=tuple(map(drop_rule, drop)), precision=precision, flags=FlagSettings(coast_m=coast_m)
    )
    chosen = crs is None
    with progress_bar("mapping") as progress:
        ice = predict(product, ice_model, crs=crs or "auto") if ice_model else None
        if ice is not None:
            crs = crs or str(ice["spatial_ref"].attrs.get("crs_wkt", ""))
        ds = predict_phenomena(product, model, crs=crs or "auto", spacing_m=spacing, options=options, ice=ice,
                              progress=progress)  # fmt: skip
        files = export(ds, output, overwrite=overwrite)
    say_notes(ds.attrs, ds["dominant"].values)
    if chosen:
        say_crs(ds)
    _say({name: str(path) for name, path in files.items()}, as_json)


def drop_rule(text: str) -> Any:
    """``NAME[:LATITUDE[:MONTHS]]``; raises click.BadParameter."""
    from frazil.learn.predict.phenomena import DropRule

    name, _, rest = text.partition(":")
    latitude, _, months = rest.partition(":")
    try:
        return DropRule(
            name=name, equatorward_of=float(latitude or 90), months=tuple(int(m) for m in months.split(",") if m)
        )
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not NAME[:LATITUDE[:MONTHS]] ({error}).", param_hint="--drop") from error
