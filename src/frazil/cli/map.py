"""`frazil map` and `frazil edge`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from frazil.cli.guard import refuse_given
from frazil.cli.map_options import map_options, options_of_map
from frazil.cli.notes import say_crs, say_notes
from frazil.cli.options import output, shared
from frazil.cli.prior import DETAILS, check_prior, prior_options
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_result
from frazil.cli.several import one_by_one
from frazil.errors import OptionError
from frazil.net.addresses import is_address

if TYPE_CHECKING:
    from frazil.conventions import Check


@click.command("map", short_help="Map sea ice, or phenomena of sea and air.")
@click.argument("products", metavar="PRODUCT...", nargs=-1, required=True, type=click.Path())
@click.option("--model", default="ice-measured", show_default=True, help="Model folder, or name of a bundled model.")
@output("Folder to write; of several products, one that gets a folder for each.")
@map_options
@prior_options
@shared("check", "attribute", "overwrite", "json")
def map_command(
    products: tuple[str, ...],
    check: Check,
    model: str,
    output: str,
    crs: str | None,
    overwrite: bool,
    as_json: bool,
    prior: str | None,
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
    from frazil.learn.predict.mapping import map_product
    from frazil.maps.collection import write_collection
    from frazil.maps.export import export
    from frazil.maps.prior import fuse_prior
    from frazil.products import open_product
    from frazil.scene.discovery import own_attrs, with_own

    own = own_attrs(attributes)
    details = {name: given.pop(name) for name in DETAILS}
    if prior is None:
        refuse_given(DETAILS, "without --prior")
    targets = _targets(products, output)
    for target in targets:
        refuse_existing(target, overwrite=overwrite, inputs=products)
    loaded = load_model(model)
    if loaded.card.scheme.kind == "multilabel":
        refuse_given(("prior", *DETAILS), "with a model of phenomena: a prior is of sea ice")
    options = options_of_map({**given, "crs": crs}, loaded.card.scheme.kind)
    ice_model = load_model(options.ice_model) if options.ice_model else None

    def work(product: str, target: Path) -> dict[str, str]:
        opened = open_product(product, check=check)
        known = None if prior is None else check_prior(prior, opened, details)
        started = time.perf_counter()
        with progress_bar("mapping") as progress:
            made = map_product(
                opened, loaded, options, ice_model=ice_model, progress=lambda f, what: progress(0.7 * f, what)
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
