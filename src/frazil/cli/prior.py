"""The options of `frazil map` that are about prior knowledge."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from frazil.cli.maps import KINDS
from frazil.cli.options import pairs
from frazil.errors import FrazilError

if TYPE_CHECKING:
    import xarray as xr

    from frazil.maps.references import Reference
    from frazil.products import Product

_OPTIONS = (
    click.option(
        "--prior",
        type=click.Path(),
        help="Concentration map, ice chart, polygons or another map that the ice map shall rest on, too: any reference "
        "of `frazil compare`.",
    ),
    click.option(
        "--prior-weight",
        type=float,
        default=1.0,
        show_default=True,
        help="Power of the odds of the prior, 0 (it does not count) to 4.",
    ),
    click.option("--prior-any-age", is_flag=True, help="Take a prior that lies more than 7 days from the scene."),
    click.option("--prior-kind", type=click.Choice(KINDS), help="What the prior is.  [default: found out]"),
    click.option("--prior-variable", metavar="NAME", help="Of a NetCDF file, the variable of the concentration."),
    click.option("--prior-class-column", metavar="NAME", help="Column of a vector file that holds classes."),
    click.option(
        "--prior-class",
        "prior_classes",
        multiple=True,
        metavar="VALUE=NAME",
        help="What a value of that column, or of a class raster, means; an empty name leaves it out.",
    ),
    click.option("--prior-layer", metavar="NAME", help="Layer of a vector file of several layers."),
    click.option("--prior-assume-crs", metavar="CRS", help="CRS of a prior that does not say its own."),
    click.option(
        "--prior-unknown-codes",
        type=click.Choice(["refuse", "ignore"]),
        default="refuse",
        show_default=True,
        help="Codes of a chart that SIGRID-3 does not have.",
    ),
    click.option(
        "--prior-dialect",
        type=click.Choice(["2004", "2010", "3.1", "S-411"]),
        help="Edition of SIGRID-3 that a chart is written in.  [default: found out]",
    ),
)
DETAILS = (
    "prior_weight",
    "prior_any_age",
    "prior_kind",
    "prior_variable",
    "prior_class_column",
    "prior_classes",
    "prior_layer",
    "prior_assume_crs",
    "prior_unknown_codes",
    "prior_dialect",
)
_READERS = re.compile(r"(?<![\w-])--(?=(?:kind|variable|class-column|class|layer|assume-crs|unknown-codes|dialect)\b)")
_CELLS = 400  # of the coarse grid of a scene, along its longer side


def prior_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--prior`` and how its file is read."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_prior(prior: str, product: Product, given: dict[str, Any]) -> tuple[Reference, dict[str, Any]]:
    """A prior opened and checked before the network runs, and the settings of `frazil.fuse_prior`.

    Args:
        prior: the file.
        product: of the scene.
        given: the options of `DETAILS`.

    Raises:
        FrazilError: see `frazil.maps.prior_files.open_prior`.
    """
    from frazil.labels.classes import LabelOptions
    from frazil.maps.prior_files import MAX_AGE_DAYS, open_prior

    how = {"weight": given["prior_weight"], "max_age_days": None if given["prior_any_age"] else MAX_AGE_DAYS}
    labels = LabelOptions(
        class_column=given["prior_class_column"],
        layer=given["prior_layer"],
        assume_crs=given["prior_assume_crs"],
        unknown=given["prior_unknown_codes"],
        dialect=given["prior_dialect"],
        classes=pairs(given["prior_classes"], "--prior-class", "VALUE=NAME"),
    )
    with _own_options():
        reference = open_prior(
            prior, _place(product), kind=given["prior_kind"], variable=given["prior_variable"], labels=labels, **how
        )
    return reference, how


def _place(product: Product) -> xr.Dataset:
    """A coarse grid that holds the scene of a product, with its name and times."""
    import xarray as xr
    from pyproj import CRS

    from frazil.scene.geolocation import Geolocation
    from frazil.scene.grid import MapGrid

    image = product.images[0]
    geo = Geolocation.of_ties(image.ties)
    crs = geo.default_crs()
    x, y = geo.outline(CRS.from_user_input(crs))
    width, height = (float(v.max() - v.min()) for v in (x, y))
    cell = max(width, height) / _CELLS
    shape = (int(height / cell) + 2, int(width / cell) + 2)
    grid = MapGrid(crs=crs, left=float(x.min()), top=float(y.max()), spacing_m=cell, shape=shape)
    attrs = {
        "product": product.name,
        "start_time": str(image.start_time),
        "stop_time": str(image.stop_time),
    }
    return xr.Dataset(coords=grid.coords(), attrs=attrs)


@contextmanager
def _own_options() -> Iterator[None]:
    """Readers name the options of `frazil compare`: ``--kind`` is ``--prior-kind`` here."""
    try:
        yield
    except FrazilError as error:
        raise type(error)(_READERS.sub("--prior-", str(error))) from error
