"""The picture of a sea-ice map: classes, ice or confidence, a legend with areas, where not to trust it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frazil.conventions import UNDECIDED, UNDECIDED_COLOUR, check_ice_map
from frazil.errors import ContractError, OptionError
from frazil.files import whole_output
from frazil.maps.areas import PixelAreas
from frazil.maps.page import Page, draw_page
from frazil.maps.panels import TITLES, Drawing, Style, draw_key, key_height
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr


def draw_map(
    ice_map: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    style: Style = "classes",
    background: np.ndarray | None = None,
    edge: gpd.GeoDataFrame | None = None,
    dpi: float = 130,
    overwrite: bool = False,
) -> Path:
    """Draw a map as a PNG.

    The large panel shows the classes in the colours of the scheme, the probability of ice, or the confidence; undecided
    sea is dark, land grey, no data hatched. The small panel shows where not to trust the map (for
    ``style="confidence"``: the classes). The legend gives the ground area of each class and its share of the sea; the
    scale bar is true at the centre of the map. ``attrs["note"]`` is printed in a band under the title.

    Args:
        ice_map: a map, see `frazil.conventions.check_ice_map`, on a projected grid.
        path: the PNG.
        style: what the large panel shows.
        background: radar image on the grid of the map, ``(y, x)``, any units; shades the colours of the large panel.
        edge: lines of `frazil.ice_edge`, drawn on the large panel.
        dpi: dots per inch; the page is 12.6 inches wide.
        overwrite: replace the file if it exists.

    Raises:
        ContractError: not a map, not on a projected grid, or a background of another shape.
        OptionError: an unknown style, or a resolution outside 20 to 1200 dpi.
        OutputExistsError: the file exists and ``overwrite`` is not set.
        OutputError: the file could not be written.
    """
    if style not in TITLES:
        raise OptionError(f"style {style!r} is unknown; choose from {list(TITLES)}.")
    if not 20 <= dpi <= 1200:
        raise OptionError(f"dpi is {dpi}; it must lie between 20 and 1200.")
    scheme = check_ice_map(ice_map)
    grid = MapGrid.of(ice_map)
    if background is not None and np.shape(background) != grid.shape:
        raise ContractError(f"background has shape {np.shape(background)}, the map {grid.shape}; pass one on its grid.")
    area = PixelAreas(grid).by_code(ice_map["ice_class"].values)
    drawing = Drawing(
        ice_map=ice_map,
        codes=ice_map["ice_class"].values,
        colours={c.code: c.colour for c in scheme.classes} | {UNDECIDED: UNDECIDED_COLOUR},
        scheme=scheme,
        grid=grid,
        area=area,
        edge=edge,
    )
    other: Style = "classes" if style == "confidence" else "confidence"
    page = Page(
        title=TITLES[style],
        key=lambda axes: draw_key(axes, drawing, style),
        key_height=key_height(scheme, style),
        small_title="Where not to trust it" if other == "confidence" else TITLES[other],
    )
    with whole_output(path, overwrite=overwrite) as part:
        draw_page(drawing, page, style, other, background, dpi).savefig(part, dpi=dpi, format="png")
    return Path(path)
