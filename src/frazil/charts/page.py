"""A chart to print: colours of the WMO, eggs, coast, graticule, scale, legend, sources, on A4 or A3."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from frazil.charts import colours
from frazil.charts.colours import COLOUR_CODES, ColourCode, Entry, entry_of
from frazil.charts.symbols import draw_egg, symbols_of
from frazil.errors import OptionError
from frazil.files import whole_output
from frazil.labels.polygons import find_crs
from frazil.maps.page import period_text, sensor_name
from frazil.maps.panels import draw_graticule, draw_north, draw_scale, hatch_nodata
from frazil.marks import WRITTEN_BY
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Paper = Literal["A4", "A3"]
_PAPER = {"A4": (11.69, 8.27), "A3": (16.54, 11.69)}  # inches, landscape
_MARGIN, _COLUMN, _HEAD, _FOOT = 0.45, 3.0, 0.85, 0.55  # inches
_EGG = (0.46, 0.56)  # inches: width and height of an oval
NORTH_UP = "north-up"
Extent = tuple[float, float, float, float]
_THROUGH = 0.45  # opacity of colours over a radar image
_NAMES = {"concentration": "total concentration", "stage": "stage of development"}
_LETTERS = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ"]


def draw_chart(
    chart: gpd.GeoDataFrame,
    path: str | os.PathLike[str],
    *,
    colour_code: ColourCode = "concentration",
    paper: Paper = "A4",
    crs: str | None = None,
    extent: Extent | None = None,
    backdrop: str | os.PathLike[str] | None = None,
    title: str = "Sea-ice chart",
    issuer: str = "",
    warning: str = "",
    edge: gpd.GeoDataFrame | None = None,
    overwrite: bool = False,
) -> Path:
    """Draw a chart as PDF, SVG or PNG.

    Polygons have the colours of one WMO code, which the legend names. Where an egg fits into a polygon it stands there;
    other polygons have a letter, and their egg stands beside the map as far as there is room, the largest first. What
    was not observed is hatched; ice of unknown concentration is white with question marks.

    Args:
        chart: of `frazil.make_chart` or `frazil.read_chart`.
        path: ending in ``.pdf``, ``.svg`` or ``.png`` (200 dpi).
        colour_code: ``"concentration"`` or ``"stage"``.
        paper: ``"A4"`` or ``"A3"``, landscape.
        crs: projection, in metres, or ``"north-up"``: stereographic around the middle of the chart; by default that of
            the chart, or for charts in longitude and latitude the polar stereographic one of their hemisphere.
        extent: west, south, east, north, degrees: what the page shows; east may lie beyond 180°. Default: the chart.
        backdrop: a GeoTIFF whose first band (a radar image) shows through the colours, from black to white.
        title: of the page.
        issuer: who issues it.
        warning: printed in red, for instance that it is not for navigation.
        edge: lines of the ice edge.
        overwrite: replace the file if it exists.

    Raises:
        OptionError: another suffix, colour code, paper or CRS; an extent that the chart does not touch; a backdrop that
            is no GeoTIFF.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    target = Path(path)
    if target.suffix.lower() not in (".pdf", ".svg", ".png"):
        raise OptionError(f"Output {target} should end in .pdf, .svg or .png.")
    if colour_code not in COLOUR_CODES:
        raise OptionError(f"colour_code {colour_code!r} is not one of {list(COLOUR_CODES)}.")
    if paper not in _PAPER:
        raise OptionError(f"paper {paper!r} is not one of {sorted(_PAPER)}.")
    view = _view(chart, crs, extent)
    image = None if backdrop is None else read_backdrop(backdrop, view.crs, view.bounds)
    figure = _page(chart, view, colour_code, paper, image, edge)
    _write(figure, chart, title, issuer, warning, view.crs)
    suffix = target.suffix.lower()
    said: dict[str, Any] = {
        ".pdf": {"CreationDate": None, "Creator": WRITTEN_BY},
        ".svg": {"Date": None, "Creator": WRITTEN_BY},
    }
    with whole_output(target, overwrite=overwrite) as part:
        figure.savefig(part, format=suffix[1:], dpi=200, metadata=said.get(suffix))
    return target


@dataclass(frozen=True)
class _View:
    """What a page shows: a projection (pyproj), and left, bottom, right, top in it, metres."""

    crs: Any
    bounds: tuple[float, float, float, float]


def _view(chart: gpd.GeoDataFrame, crs: str | None, extent: Extent | None) -> _View:
    import shapely
    from pyproj import Transformer

    found = projection_of(chart, crs)
    whole = tuple(float(v) for v in chart.to_crs(found).total_bounds)
    if extent is None:
        return _View(found, whole)  # type: ignore[arg-type] # four of them
    west, south, east, north = extent
    if not (np.isfinite(extent).all() and -90 <= south < north <= 90 and west < east <= west + 360):
        raise OptionError(f"extent {extent} is no west, south, east, north in degrees, the smaller ones first.")
    # A box on the sphere: points along and across it, as it may hold a pole of the projection.
    x, y = np.meshgrid(np.linspace(west, east, 101), np.linspace(south, north, 101))
    x, y = Transformer.from_crs("OGC:CRS84", found, always_xy=True).transform(x, y)
    bounds = float(np.min(x)), float(np.min(y)), float(np.max(x)), float(np.max(y))
    if not (np.isfinite(bounds).all() and shapely.intersects(shapely.box(*bounds), shapely.box(*whole))):
        raise OptionError(f"The chart does not touch the extent {extent}. Choose another one, or leave it out.")
    return _View(found, bounds)


def projection_of(chart: gpd.GeoDataFrame, crs: str | None) -> Any:
    """The projection that a chart is drawn in (pyproj), see `draw_chart`.

    Raises:
        OptionError: a CRS that is no projection in metres.
    """
    from pyproj import Transformer

    if crs == NORTH_UP:
        left, bottom, right, top = chart.total_bounds
        to_lonlat = Transformer.from_crs(chart.crs, "OGC:CRS84", always_xy=True)
        longitude, latitude = to_lonlat.transform((left + right) / 2, (bottom + top) / 2)
        return find_crs(f"+proj=stere +lat_0={latitude:.4f} +lon_0={longitude:.4f} +datum=WGS84 +units=m +type=crs")
    if crs is not None:
        found = find_crs(crs)
        if not found.is_projected:
            raise OptionError(f"A chart is drawn in a projection in metres, and {crs} is none. Take EPSG:3413 or 3031.")
        return found
    if chart.crs.is_projected:
        return chart.crs
    return find_crs("EPSG:3413" if chart.total_bounds[[1, 3]].mean() > 0 else "EPSG:3031")


def read_backdrop(
    path: str | os.PathLike[str], crs: Any, bounds: tuple[float, float, float, float], pixels: int = 1600
) -> np.ndarray:
    """The first band of a GeoTIFF in a projection, float (y, x), 0 to 1 between its 1st and 99th percentile.

    Args:
        path: of the file.
        crs: of the page (pyproj).
        bounds: left, bottom, right, top there, metres.
        pixels: of the longer side.

    Returns:
        The image; NaN where the file has no data.

    Raises:
        OptionError: no GeoTIFF with a place, or nothing of it within the bounds.
    """
    import rasterio
    from rasterio.transform import from_bounds
    from rasterio.vrt import WarpedVRT

    wide, tall = bounds[2] - bounds[0], bounds[3] - bounds[1]
    step = max(wide, tall) / pixels
    shape = max(round(tall / step), 1), max(round(wide / step), 1)
    place = from_bounds(*bounds, shape[1], shape[0])
    try:
        with rasterio.open(path, driver="GTiff") as file:
            where = {"crs": crs.to_wkt(), "transform": place, "width": shape[1], "height": shape[0]}
            with WarpedVRT(
                file, **where, resampling=rasterio.enums.Resampling.average, add_alpha=file.nodata is None
            ) as vrt:
                values = vrt.read(1, masked=True).astype(float).filled(np.nan)
    except (rasterio.errors.RasterioError, ValueError) as error:
        raise OptionError(f"The backdrop {path} is no GeoTIFF with a place ({str(error).splitlines()[0]}).") from error
    known = values[np.isfinite(values)]
    if not known.size:
        raise OptionError(f"The backdrop {path} does not touch the page. Leave it out, or choose that of the chart.")
    low, high = np.percentile(known, [1, 99])
    return np.asarray(np.clip((values - low) / max(high - low, 1e-9), 0, 1))


def _page(
    chart: gpd.GeoDataFrame,
    view: _View,
    code: ColourCode,
    paper: Paper,
    backdrop: np.ndarray | None,
    edge: gpd.GeoDataFrame | None,
) -> Figure:
    import shapely
    from matplotlib.figure import Figure

    wide, tall = _PAPER[paper]
    left, bottom, right, top = view.bounds
    placed = chart.to_crs(view.crs)
    placed.geometry = shapely.clip_by_rect(placed.geometry.values, *view.bounds)
    placed = placed[~placed.geometry.is_empty]
    room = wide - 3 * _MARGIN - _COLUMN - 0.35, tall - _HEAD - _FOOT - 0.25
    scale = min(room[0] / (right - left), room[1] / (top - bottom))  # inches a metre
    size = (right - left) * scale, (top - bottom) * scale
    figure = Figure(figsize=(wide, tall), facecolor="white")
    x = _MARGIN + 0.35 + (room[0] - size[0]) / 2
    y = _FOOT + 0.2 + (room[1] - size[1]) / 2
    axes = figure.add_axes((x / wide, y / tall, size[0] / wide, size[1] / tall))
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_xticks([])
    axes.set_yticks([])
    hatch_nodata(axes, view.bounds)
    if backdrop is not None:
        grey = np.ma.masked_invalid(backdrop)
        axes.imshow(grey, cmap="gray", vmin=0, vmax=1, extent=(left, right, bottom, top), zorder=1.5, aspect="auto")
    entries = [entry_of(row, code) for row in placed.to_dict("records")]
    draw_polygons(axes, placed, entries, opaque=backdrop is None)
    if edge is not None and len(edge):
        for line in edge.to_crs(view.crs).geometry.explode():
            axes.plot(*np.asarray(line.coords).T, color="black", linewidth=1.6, zorder=4, solid_capstyle="round")
    spacing = (right - left) / 1000
    rows = max(round((top - bottom) / spacing), 1)
    grid = MapGrid(crs=view.crs.to_wkt(), left=left, top=top, spacing_m=spacing, shape=(rows, 1000))
    draw_graticule(axes, grid, width_inches=size[0])
    draw_scale(axes, grid, size[0])
    draw_north(axes, grid, size[0])
    beside = _label(axes, placed, scale)
    column = figure.add_axes(
        ((wide - _MARGIN - _COLUMN) / wide, _FOOT / tall, _COLUMN / wide, (tall - _HEAD - _FOOT) / tall)
    )
    _draw_column(column, entries, code, beside, tall - _HEAD - _FOOT)
    return figure


def draw_polygons(axes: Axes, placed: gpd.GeoDataFrame, entries: list[Entry], *, opaque: bool) -> None:
    """Polygons in the colours of their lines in the legend; what nobody could tell has dots or hatches.

    Args:
        axes: in the CRS of the polygons.
        placed: the chart.
        entries: of `frazil.charts.colours.entry_of`, one a polygon.
        opaque: no radar image shows through.
    """
    import shapely
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    shapes = shapely.orient_polygons(placed.geometry.values)  # or holes would be filled
    for shape, entry in zip(shapes, entries, strict=True):
        for part in shapely.get_parts(shape):
            outline = Outline.make_compound_path(*(Outline(np.asarray(r.coords)) for r in shapely.get_rings(part)))
            hatch = {colours.UNKNOWN: "..", colours.NO_STAGE: "..", colours.NO_DATA: "////"}.get(entry)
            face = (*(v / 255 for v in entry.colour), 1.0 if opaque or entry is colours.LAND else _THROUGH)
            line = 0.6 if entry is colours.LAND else 0.45
            axes.add_patch(
                PathPatch(
                    outline,
                    facecolor=face,
                    edgecolor="#999999" if hatch else "none",
                    hatch=hatch,
                    linewidth=0,
                    zorder=2,
                )
            )
            axes.add_patch(PathPatch(outline, facecolor="none", edgecolor="#222222", linewidth=line, zorder=3))


def _label(axes: Axes, placed: gpd.GeoDataFrame, scale: float) -> list[tuple[str, Mapping[str, Any]]]:
    """Eggs where they fit, letters or question marks elsewhere; returns what stands beside the map."""
    import shapely

    width, height = _EGG[0] / scale, _EGG[1] / scale
    beside: list[tuple[str, Mapping[str, Any]]] = []
    letters: dict[tuple[str, ...], str] = {}
    rows = placed.to_dict("records")
    shapes = placed.geometry.values
    for k in np.argsort(-shapely.area(shapes), kind="stable"):
        row = rows[int(k)]
        if row["POLY_TYPE"] != "I" or row["CT"] in ("00", "55", "01", "02"):
            continue
        circle = shapely.maximum_inscribed_circle(shapes[k])
        (x, y), radius = circle.coords[0], circle.length
        if radius * scale < 0.07:
            continue
        if row["CT"] == "99":
            axes.text(x, y, "?", ha="center", va="center", fontsize=10, fontweight="bold", zorder=8)
        elif radius > 0.55 * max(width * 1.35, height):
            draw_egg(axes, x, y, width, height, symbols_of(row), 6.0)
        else:
            egg = tuple(str(v) for v in symbols_of(row))
            if egg not in letters:
                letters[egg] = _letter(len(letters))
                beside.append((letters[egg], row))
            box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
            axes.text(x, y, letters[egg], ha="center", va="center", fontsize=6, bbox=box, zorder=8)
    return beside


def _letter(n: int) -> str:
    return _LETTERS[n % 26] + (str(n // 26 + 1) if n >= 26 else "")


def _draw_column(
    axes: Axes, entries: list[Entry], code: ColourCode, beside: list[tuple[str, Mapping[str, Any]]], tall: float
) -> None:
    """The legend and the eggs that found no room on the map; units of the axes are inches from its upper left."""
    from matplotlib.patches import Rectangle

    axes.set_xlim(0, _COLUMN)
    axes.set_ylim(-tall, 0)
    axes.axis("off")
    axes.text(0, -0.12, f"WMO colour code: {_NAMES[code]}", fontsize=9, fontweight="bold", va="center")
    every = [
        colours.FREE,
        colours.OPEN,
        *(colours.CONCENTRATION if code == "concentration" else colours.STAGE).values(),
    ]
    every += [colours.FAST, colours.UNKNOWN, colours.NO_STAGE, colours.SHELF, colours.LAND, colours.NO_DATA]
    y = -0.4
    for entry in every:
        if entry not in entries:
            continue
        hatch = {colours.UNKNOWN: "..", colours.NO_STAGE: "..", colours.NO_DATA: "////"}.get(entry)
        box = Rectangle(
            (0.02, y - 0.07),
            0.3,
            0.15,
            facecolor=[v / 255 for v in entry.colour],
            edgecolor="#222222",
            linewidth=0.5,
            hatch=hatch,
        )
        axes.add_patch(box)
        axes.text(0.42, y, entry.text, fontsize=7.5, va="center")
        y -= 0.21
    y -= 0.12
    text = (
        "Egg: total concentration in tenths, that of each kind of ice, its stage of development, its form; X is not "
        "known. Outside: traces."
    )
    for line in textwrap.wrap(text, 58):
        axes.text(0, y, line, fontsize=6.5, va="center", color="#444444")
        y -= 0.13
    y -= 0.32
    across = 4
    step_x, step_y = _COLUMN / across, _EGG[1] + 0.2
    for k, (letter, row) in enumerate(beside):
        at_y = y - (k // across) * step_y
        if at_y - step_y / 2 < -tall:
            axes.text(
                0, -tall + 0.03, f"and {len(beside) - k} more in the files", fontsize=6.5, va="bottom", color="#444444"
            )
            break
        at_x = (k % across + 0.55) * step_x
        draw_egg(axes, at_x, at_y, _EGG[0], _EGG[1], symbols_of(row), 6.0)
        axes.text(at_x - _EGG[0] * 0.85, at_y + 0.2, letter, fontsize=7, fontweight="bold", ha="center", va="center")


def _write(figure: Figure, chart: gpd.GeoDataFrame, title: str, issuer: str, warning: str, crs: Any) -> None:
    from frazil import __version__

    wide, tall = figure.get_size_inches()
    attrs = chart.attrs
    x = _MARGIN / wide

    def write(inches: float, text: str, **style: Any) -> None:
        figure.text(x, inches / tall, text, va="baseline", parse_math=False, **style)

    start = str(attrs.get("start_time", ""))
    when = period_text(start, str(attrs.get("stop_time", start))) if start else ""
    sensor = sensor_name(attrs) if "product" in attrs else ""
    write(tall - 0.42, title, fontsize=16, fontweight="bold")
    write(tall - 0.66, " · ".join(filter(None, (f"Valid {when}" if when else "", sensor, issuer))), fontsize=9.5)
    if warning:
        figure.text(
            1 - x,
            (tall - 0.34) / tall,
            warning.upper(),
            color="#c00000",
            fontsize=11,
            fontweight="bold",
            ha="right",
            va="baseline",
            parse_math=False,
        )
    name = crs.to_string() if len(crs.to_string()) < 30 else crs.name
    name = "stereographic around the middle" if name == "unknown" else name
    note = " ".join(str(attrs.get("note") or "").split())
    for number, line in enumerate(textwrap.wrap(note, 128, max_lines=3, placeholder=" …")):
        style: Any = {"fontsize": 5.8, "color": "#5c4300", "ha": "right", "va": "baseline", "parse_math": False}
        figure.text(1 - x, (tall - 0.48 - 0.095 * number) / tall, line, **style)
    sources = [
        f"Product {attrs['product']}" if "product" in attrs else "",
        f"Model {attrs['model']}" if "model" in attrs else "",
    ]
    write(0.3, " · ".join(filter(None, [*sources, name, f"frazil {__version__}"])), fontsize=6.5, color="#444444")
    if attrs.get("attribution"):
        write(0.14, str(attrs["attribution"]), fontsize=6, color="#444444")
