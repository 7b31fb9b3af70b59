"""`frazil map` and `frazil edge`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from frazil.cli.guard import refuse_given
from frazil.cli.notes import say_crs, say_notes
from frazil.cli.options import numbers, output, shared
from frazil.cli.prior import DETAILS, check_prior, prior_options
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_result
from frazil.cli.several import one_by_one
from frazil.errors import OptionError
from frazil.net.addresses import is_address

if TYPE_CHECKING:
    import xarray as xr

    from frazil.conventions import Check
    from frazil.learn.checkpoint import Model
    from frazil.learn.predict.phenomena import DropRule
    from frazil.scene.box import Box

_OF_ICE = ("function", "stride", "engine", "confidence_percent", "adapt")
_AROUND_KM = 5.0  # around a box where sea ice is mapped, too: pixels of the two maps end at different places
_OF_PHENOMENA = ("tiling", "drop", "ice_model", "scales")


@click.command("map", short_help="Map sea ice, or phenomena of sea and air.")
@click.argument("products", metavar="PRODUCT...", nargs=-1, required=True, type=click.Path())
@click.option("--model", default="ice-measured", show_default=True, help="Model folder, or name of a bundled model.")
@output("Folder to write; of several products, one that gets a folder for each.")
@click.option("--spacing", "spacing_m", type=float, help="Pixel size of the map, metres.  [default: the model's]")
@click.option(
    "--bbox",
    metavar="WEST,SOUTH,EAST,NORTH",
    help="Map what of the scene lies between these longitudes and latitudes, degrees; WEST above EAST crosses 180°.",
)
@click.option(
    "--denoise",
    type=click.Choice(["esa", "balanced", "none"]),
    help="How thermal noise is removed; balanced: of Sentinel-1 alone.  [default: as the model learnt]",
)
@click.option(
    "--coast", "coast_m", type=float, default=2000.0, show_default=True, help="Flag sea this close to land, m."
)
@shared("precision", "device")
@click.option(
    "--engine",
    type=click.Choice(["auto", "torch", "openvino"]),
    default="auto",
    show_default=True,
    help="Of models of ice: what runs the network; auto: OpenVINO on the CPU where it is installed and knows it.",
)
@click.option(
    "--min-confidence",
    "confidence_percent",
    type=float,
    default=80.0,
    show_default=True,
    help="Of models of ice: undecided where neither ice nor water is so probable, %.",
)
@prior_options
@click.option("--adapt", is_flag=True, help="Of models of every pixel: let the scene teach the model its signatures.")
@click.option(
    "--function",
    type=click.Choice(["auto", "dense", "patchwise"]),
    default="auto",
    show_default=True,
    help="Of patch classifiers: the whole scene at once, or patch by patch; auto: at once where that is the same.",
)
@click.option("--stride", type=int, help="Of patch classifiers: pixels between results.  [default: 8, patchwise 10]")
@click.option(
    "--tiling",
    type=click.Choice(["seamless", "half-overlap"]),
    default="seamless",
    show_default=True,
    help="Of models of phenomena: tiles that do not show, or those of the source, 256 pixels by half.",
)
@click.option(
    "--drop",
    multiple=True,
    metavar="NAME[:LATITUDE[:MONTHS]]",
    help="Of models of phenomena: a class that cannot be there; equatorward of a latitude, in months 6,7,8.",
)
@click.option("--ice-model", help="Of models of phenomena: a sea-ice model, whose result wins where it finds ice.")
@shared("scales", "check", "crs", "attribute", "overwrite", "json")
def map_command(
    products: tuple[str, ...],
    check: Check,
    model: str,
    output: str,
    crs: str | None,
    overwrite: bool,
    as_json: bool,
    prior: str | None,
    bbox: str | None,
    ice_model: str | None,
    attributes: tuple[str, ...],
    **given: Any,
) -> None:
    """Map the sea ice of PRODUCT..., or with a model of phenomena those of sea and air, into a folder for each.

    PRODUCT is a folder or a zip, or the address of a folder on the network, which is read in place:
    https://…/NAME.SAFE or s3://bucket/…/NAME.SAFE.

    GeoTIFFs, NetCDF, vectors, picture, STAC item and summary; of several products a STAC collection of all maps in the
    output, too. Products that are refused are told at the end, when the others are mapped.
    """
    from frazil.files import refuse_existing
    from frazil.learn.checkpoint import load_model
    from frazil.maps.collection import write_collection
    from frazil.maps.export import export
    from frazil.maps.prior import fuse_prior
    from frazil.products import open_product
    from frazil.scene.box import Box
    from frazil.scene.discovery import own_attrs, with_own

    own = own_attrs(attributes)
    details = {name: given.pop(name) for name in DETAILS}
    if prior is None:
        refuse_given(DETAILS, "without --prior")
    box = None if bbox is None else Box.of(bbox)
    targets = _targets(products, output)
    for target in targets:
        refuse_existing(target, overwrite=overwrite, inputs=products)
    loaded = load_model(model)
    if loaded.card.scheme.kind == "multilabel":
        refuse_given(("prior", *DETAILS), "with a model of phenomena: a prior is of sea ice")
        refuse_given(_OF_ICE, "with a model of phenomena")
        make: Callable[..., xr.Dataset] = _phenomena
        given["drop"] = tuple(map(drop_rule, given["drop"]))
        given["ice_model"] = load_model(ice_model) if ice_model else None
    else:
        refuse_given(_OF_PHENOMENA, "with a model of sea ice")
        make = _ice

    def work(product: str, target: Path) -> dict[str, str]:
        opened = open_product(product, check=check)
        known = None if prior is None else check_prior(prior, opened, details)
        started = time.perf_counter()
        with progress_bar("mapping") as progress:
            made = make(
                opened, loaded, crs=crs or "auto", bbox=box, progress=lambda f, what: progress(0.7 * f, what), **given
            )
            timings = {"predict_s": round(time.perf_counter() - started, 2)}
            if known is not None:
                started = time.perf_counter()
                progress(0.7, "adding the prior")
                made = fuse_prior(made, known[0], **known[1])
                timings["prior_s"] = round(time.perf_counter() - started, 2)
            progress(0.7, "writing")
            made.attrs = with_own(made.attrs, own)
            files = export(made, target, overwrite=overwrite, timings=timings, progress=lambda w: progress(0.8, w))
        say_notes(made.attrs, made["dominant" if "dominant" in made else "ice_class"].values)
        if crs is None:
            say_crs(made)
        return {name: str(path) for name, path in files.items()}

    if len(products) == 1:
        say_result(dict(work(products[0], targets[0])), as_json)
    else:
        one_by_one(
            products,
            targets,
            lambda product, target: {"map": str(target), "files": work(product, target)},
            what="product",
            tell=lambda told: say(told["map"]),
            finish=lambda: write_collection(output, loaded.card.scheme.kind, overwrite=True),
            as_json=as_json,
        )


def _targets(products: tuple[str, ...], output: str) -> list[Path]:
    """The folder of each map: of one product the output itself, of several one in it by the name of the product.

    Raises:
        OptionError: two products of one name.
    """
    if len(products) == 1:
        return [Path(output)]
    names = []
    for product in products:
        path = Path(urlsplit(product).path if is_address(product) else product).resolve()
        if is_address(product) and path.name == "manifest.safe":
            path = path.parent
        path = path.parent if path.is_file() and path.suffix.lower() != ".zip" else path  # a manifest in its product
        names.append(path.stem if path.suffix.lower() in (".safe", ".zip") else path.name)
    names = [n[: -len(".SAFE")] if n.upper().endswith(".SAFE") else n for n in names]  # of NAME.SAFE.zip
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OptionError(
            f"Several products are called {twice[0]!r}, and their maps would be. Rename one, or map each by itself."
        )
    return [Path(output) / name for name in names]


def _ice(product: Any, model: Any, *, coast_m: float, confidence_percent: float, **given: Any) -> xr.Dataset:
    from frazil.learn.predict.flags import FlagSettings
    from frazil.learn.predict.ice import predict

    options = {name: value for name, value in given.items() if name not in _OF_PHENOMENA}
    flags = FlagSettings(coast_m=coast_m, confidence_percent=confidence_percent)
    return predict(product, model, flags=flags, **options)


def _phenomena(
    product: Any,
    model: Any,
    *,
    coast_m: float,
    precision: str,
    tiling: str,
    drop: tuple[DropRule, ...],
    ice_model: Model | None,
    scales: str,
    crs: str,
    bbox: Box | None,
    **given: Any,
) -> xr.Dataset:
    from frazil.learn.predict.flags import FlagSettings
    from frazil.learn.predict.ice import predict
    from frazil.learn.predict.phenomena import PhenomenaMapOptions, predict_phenomena

    options = {name: value for name, value in given.items() if name not in _OF_ICE}
    settings = PhenomenaMapOptions(
        tiling=tiling,
        drop=drop,
        precision=precision,
        flags=FlagSettings(coast_m=coast_m),
        scales=numbers(scales, "--scales"),
    )
    around = None if bbox is None else bbox.wider(_AROUND_KM)
    ice = (
        predict(product, ice_model, crs=crs, bbox=around, denoise=given["denoise"], device=given["device"])
        if ice_model
        else None
    )
    if ice is not None and crs == "auto":
        crs = str(ice["spatial_ref"].attrs.get("crs_wkt", "")) or crs
    return predict_phenomena(product, model, crs=crs, bbox=bbox, options=settings, ice=ice, **options)


def drop_rule(text: str) -> DropRule:
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


@click.command(short_help="Draw the ice edge of a map at another threshold.")
@click.argument("map_folder", metavar="MAP", type=click.Path())
@output("File to write: .gpkg, .geojson or .fgb.")
@click.option("--threshold", type=float, default=50.0, show_default=True, help="Ice probability at the edge, %.")
@click.option("--min-area", type=float, default=None, help="Drop ice and water patches smaller than this, km².")
@shared("overwrite", "json")
def edge(
    map_folder: str, output: str, threshold: float, min_area: float | None, overwrite: bool, as_json: bool
) -> None:
    """Draw the ice edge of MAP (a folder made by `frazil map`) at another threshold."""
    from frazil.files import refuse_existing
    from frazil.maps.edges import ice_edge
    from frazil.maps.netcdf import open_map
    from frazil.maps.vectors import write_vector

    refuse_existing(output, overwrite=overwrite)
    options = {} if min_area is None else {"min_area_km2": min_area}
    lines = ice_edge(open_map(map_folder), threshold_percent=threshold, **options)
    path = write_vector(lines, output, overwrite=overwrite)
    length = round(float(lines["length_km"].sum()), 1)
    say_result({"edge": str(path), "lines": len(lines), "length_km": length}, as_json)
