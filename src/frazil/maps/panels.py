"""Parts of the picture of a map: panels, graticule, scale bar, north arrow, legends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from frazil.conventions import (
    CLASS_LAND,
    CLASS_NODATA,
    LAND_COLOUR,
    PERCENT_NODATA,
    QUALITY_FLAGS,
    UNDECIDED,
    UNDECIDED_COLOUR,
    UNDECIDED_TITLE,
    ClassScheme,
)
from frazil.maps.areas import areal_scale
from frazil.maps.graticule import GraticuleLine, graticule
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr
    from matplotlib.axes import Axes

Style = Literal["classes", "ice", "confidence"]
TITLES: dict[str, str] = {
    "classes": "Sea-ice classes",
    "ice": "Probability of sea ice",
    "confidence": "Confidence of the sea-ice map",
}
INK, FAINT, EDGE = "#1d2b36", "#5b6b77", "#c2004f"
#: Flag -> title and colour; the later ones are drawn over the earlier ones.
DOUBTS: dict[str, tuple[str, tuple[int, int, int]]] = {
    "outside_training": ("Unlike the training", (250, 120, 160)),
    "border": ("Scene border", (138, 138, 205)),
    "coast": ("Close to land", (92, 74, 60)),
    "noise_missing": ("Noise not removed", (201, 162, 39)),
    "incidence_out_of_range": ("Incidence angle out of range", (176, 79, 179)),
    "undecided": ("Undecided", UNDECIDED_COLOUR),
    "prior_changed": ("Changed by the prior", (122, 196, 36)),
}
RAMPS: dict[str, tuple[tuple[int, int, int], ...]] = {  # of percent: 0, then evenly up to 100
    "ice": ((16, 74, 140), (94, 158, 214), (190, 219, 240), (255, 255, 255)),
    "confidence": ((246, 246, 238), (190, 224, 214), (98, 170, 174), (24, 92, 118)),
}
_NICE = (1, 2, 5)


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What every part of the picture needs.

    Attributes:
        ice_map: the map; panels of its percentages and doubts read ``ice_probability``, ``confidence`` and
            ``quality_flags``.
        codes: uint8 (y, x), the classes.
        colours: red, green and blue of every code but land and no data; `UNDECIDED` is among them.
        scheme: the classes.
        grid: of the map.
        area: ground area by code, km².
        edge: the ice edge.
    """

    ice_map: xr.Dataset
    codes: np.ndarray
    colours: dict[int, tuple[int, int, int]]
    scheme: ClassScheme
    grid: MapGrid
    area: np.ndarray
    edge: gpd.GeoDataFrame | None = None


def draw_panel(axes: Axes, drawing: Drawing, style: Style, width_pixels: float, background: np.ndarray | None) -> None:
    """The map itself, reduced to about the pixels it is drawn on."""
    from matplotlib.collections import LineCollection

    grid = drawing.grid
    left, bottom, right, top = grid.bounds
    step = max(1, int(grid.shape[1] / max(width_pixels, 1)))
    hatch_nodata(axes, grid.bounds)
    picture = _picture(drawing, style, step, background)
    block = step * grid.spacing_m  # the last blocks may reach beyond the frame, which cuts them
    axes.imshow(
        picture,
        extent=(left, left + picture.shape[1] * block, top - picture.shape[0] * block, top),
        interpolation="nearest" if step == 1 else "antialiased",
        zorder=2,
    )
    if drawing.edge is not None and style != "confidence" and len(drawing.edge):
        import shapely

        lines = shapely.simplify(drawing.edge.geometry.values, step * grid.spacing_m / 2)
        paths = [shapely.get_coordinates(line) for line in shapely.get_parts(lines)]
        axes.add_collection(LineCollection(paths, colors=EDGE, linewidths=0.9, zorder=3))
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], aspect="equal")
    for spine in axes.spines.values():
        spine.set(edgecolor=INK, linewidth=0.8)


def hatch_nodata(axes: Axes, bounds: tuple[float, float, float, float]) -> None:
    """Ground that shows wherever a map has no data: left, bottom, right and top in metres."""
    from matplotlib.patches import Rectangle

    left, bottom, right, top = bounds
    axes.set_facecolor("#f4f5f6")
    ground = Rectangle((left, bottom), right - left, top - bottom, hatch="////", facecolor="none", edgecolor="#d5d9dc")
    ground.set_linewidth(0)
    axes.add_patch(ground)


def draw_graticule(axes: Axes, grid: MapGrid, *, width_inches: float | None = None) -> None:
    """Parallels and meridians; with labels outside the frame if the width of the panel in inches is given."""
    from matplotlib.collections import LineCollection

    lines = graticule(grid, lines=6 if width_inches else 3)
    axes.add_collection(
        LineCollection([line.xy for line in lines], colors="#22323d", linewidths=0.5, alpha=0.45, zorder=4)
    )
    if width_inches:
        _label_graticule(axes, grid, lines, width_inches)


def draw_scale(axes: Axes, grid: MapGrid, width_inches: float) -> None:
    """A scale bar of a round length, true at the centre of the map (conformal projections: along both axes)."""
    from matplotlib.patches import Rectangle

    left, bottom, right, top = grid.bounds
    scale = float(np.sqrt(areal_scale(grid, np.array([(left + right) / 2]), np.array([(bottom + top) / 2]))[0]))
    inch = (right - left) / width_inches
    length_km = round_length((right - left) / scale / 1000 * 0.28)
    bar = length_km * 1000 * scale
    x, y, tall = left + 0.3 * inch, bottom + 0.26 * inch, 0.07 * inch
    plate = Rectangle(
        (x - 0.17 * inch, y - 0.12 * inch), bar + 0.5 * inch, 0.48 * inch, facecolor="white", alpha=0.85, zorder=5
    )
    axes.add_patch(plate)
    for number, colour in enumerate((INK, "white")):
        axes.add_patch(
            Rectangle(
                (x + number * bar / 2, y), bar / 2, tall, facecolor=colour, edgecolor=INK, linewidth=0.7, zorder=6
            )
        )
    text = f"{length_km:g}" if length_km >= 1 else f"{length_km * 1000:g}"
    unit = "km" if length_km >= 1 else "m"
    style: dict[str, Any] = {"fontsize": 8, "color": INK, "va": "bottom", "zorder": 6}
    axes.text(x, y + 0.1 * inch, "0", ha="center", **style)
    axes.text(x + bar, y + 0.1 * inch, f"{text} {unit}", ha="center", **style)


def draw_north(axes: Axes, grid: MapGrid, width_inches: float) -> None:
    """An arrow to true north at the centre of the map; none if a pole lies on the map, where north is everywhere."""
    from pyproj import Transformer

    left, bottom, right, top = grid.bounds
    to_map = Transformer.from_crs("OGC:CRS84", grid.pyproj_crs, always_xy=True)
    x, y = to_map.transform([0.0, 0.0], [90.0, -90.0])
    if any(left <= x[i] <= right and bottom <= y[i] <= top for i in (0, 1)):
        return
    longitude, latitude = to_map.transform((left + right) / 2, (bottom + top) / 2, direction="INVERSE")
    x, y = to_map.transform([longitude] * 2, [latitude, latitude + 0.01])
    length = float(np.hypot(x[1] - x[0], y[1] - y[0]))
    if not np.isfinite(length) or length == 0:
        return
    inch = (right - left) / width_inches
    dx, dy = (x[1] - x[0]) / length * 0.22 * inch, (y[1] - y[0]) / length * 0.22 * inch
    cx, cy = right - 0.5 * inch, top - 0.5 * inch
    axes.plot([cx], [cy], "o", markersize=44, color="white", alpha=0.85, markeredgewidth=0, zorder=5)
    axes.annotate(
        "",
        xy=(cx + 0.75 * dx, cy + 0.75 * dy),
        xytext=(cx - dx, cy - dy),
        arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0},
        zorder=6,
    )
    axes.text(
        cx + 1.05 * dx,
        cy + 1.05 * dy,
        "N",
        fontsize=8,
        fontweight="bold",
        color=INK,
        ha="center",
        va="center",
        zorder=6,
    )


def key_height(scheme: ClassScheme, style: Style) -> float:
    """Inches that the legend takes."""
    return 0.25 * (len(scheme.classes) + (5 if style == "ice" else 4)) + 0.1


def draw_key(axes: Axes, drawing: Drawing, style: Style) -> None:
    """The legend: a row a class with its ground area, the totals, land, no data, the edge."""
    row = 0.25
    width, height = key_axes(axes)
    scheme, area = drawing.scheme, drawing.area
    n = len(scheme.classes)
    sea = float(area[:CLASS_LAND].sum())
    y = height - 0.1
    axes.text(0, y, "Classes", fontsize=10.5, fontweight="bold", color=INK, va="center")
    axes.text(width - 0.62, y, "km²", fontsize=8, color=FAINT, ha="right", va="center")
    axes.text(width, y, "% of sea", fontsize=8, color=FAINT, ha="right", va="center")
    if style == "ice":
        y -= row
        _draw_ramp(axes, y, "ice", "Sea ice, 0 to 100 %")
    for c in scheme.classes:
        y -= row
        if style != "ice":
            swatch(axes, y, c.colour)
        _key_row(axes, width, y, c.title, area[c.code], sea, indent=0.0 if style == "ice" else 0.38)
    y -= row
    if style != "ice":
        swatch(axes, y, UNDECIDED_COLOUR)
    _key_row(axes, width, y, UNDECIDED_TITLE, area[UNDECIDED], sea, indent=0.0 if style == "ice" else 0.38)
    y -= row
    axes.plot([0, width], [y + row / 2 - 0.005] * 2, color="#b9c2c9", linewidth=0.7)
    _key_row(axes, width, y, "Sea ice, all classes", area[1:n].sum(), sea, bold=True)
    y -= row
    swatch(axes, y, LAND_COLOUR)
    axes.text(0.38, y, "Land", fontsize=9, color=INK, va="center")
    swatch(axes, y, None, x=1.05)
    axes.text(1.43, y, "No data", fontsize=9, color=INK, va="center")
    if drawing.edge is not None and style != "confidence":
        axes.plot([2.2, 2.5], [y, y], color=EDGE, linewidth=1.2)
        axes.text(2.58, y, "Ice edge", fontsize=9, color=INK, va="center")
    axes.set(xlim=(0, width), ylim=(0, height), aspect="auto")


def draw_doubt_key(axes: Axes, doubts: list[tuple[str, float]], ramp: str) -> None:
    """The legend of the small panel: what its ramp means, and the share of each doubt in the sea, percent."""
    row = 0.2
    width, height = key_axes(axes)
    y = height - 0.16
    _draw_ramp(axes, y, "confidence", ramp)
    for name, share in doubts:
        y -= row
        title, colour = DOUBTS[name]
        swatch(axes, y, colour)
        axes.text(0.38, y, title, fontsize=8.5, color=INK, va="center")
        axes.text(width, y, f"{share:.1f} % of sea", fontsize=8.5, color=INK, ha="right", va="center")
    if not doubts:
        axes.text(0, y - row, "No doubts flagged", fontsize=8.5, color=INK, va="center")
    axes.set(xlim=(0, width), ylim=(0, height), aspect="auto")


def doubts_of(ice_map: xr.Dataset) -> list[tuple[str, float]]:
    """Flags that occur, in drawing order from the top, and their share of the sea, percent."""
    from frazil.maps.summary import flag_counts

    sea_pixels, counts = flag_counts(ice_map["quality_flags"].values)
    return [(name, 100 * counts[name] / sea_pixels) for name in reversed(DOUBTS) if counts[name]]


def round_length(limit: float) -> float:
    """The largest of 1, 2, 5, 10, 20 … that is not above a limit, of any power of ten."""
    power = 10.0 ** np.floor(np.log10(limit))
    return float(max(n * power for n in _NICE if n * power <= limit * (1 + 1e-9)))


def _picture(drawing: Drawing, style: Style, step: int, background: np.ndarray | None) -> np.ndarray:
    """Red, green, blue, alpha of a reduced map, uint8 ``(y, x, 4)``."""
    ice_map = drawing.ice_map
    codes = commonest(drawing.codes, step)
    if style == "classes":
        table = np.zeros((256, 4), np.uint8)
        for code, colour in drawing.colours.items():
            table[code] = (*colour, 255)
        out = table[codes]
    else:
        name = "ice_probability" if style == "ice" else "confidence"
        out = _ramp(style)[_middle(ice_map[name].values, step)]
        out[..., 3] = np.where(codes < CLASS_LAND, 255, 0)
    if style == "confidence":
        flags = _middle(ice_map["quality_flags"].values, step)
        for flag, (_, colour) in DOUBTS.items():
            out[(flags & QUALITY_FLAGS[flag][0] > 0) & (codes < CLASS_LAND), :3] = colour
    if background is not None:
        out[..., :3] = (out[..., :3] * _shade(_middle(np.asarray(background), step))[..., None]).astype(np.uint8)
    out[codes == CLASS_LAND] = (*LAND_COLOUR, 255)
    out[codes == CLASS_NODATA] = 0
    return np.asarray(out)


def commonest(codes: np.ndarray, step: int) -> np.ndarray:
    """The commonest of nine codes in each block of ``step × step`` pixels (of equals, the lowest)."""
    if step == 1:
        return codes
    offsets = np.unique(np.linspace(0, step - 1, 3).astype(int))
    samples = [_sampled(codes, step, i, j) for i in offsets for j in offsets]
    best, votes = samples[0].copy(), np.zeros(samples[0].shape, np.uint8)
    for code in np.unique(np.stack(samples)):
        count = np.sum([sample == code for sample in samples], axis=0, dtype=np.uint8)
        best[count > votes] = code
        np.maximum(votes, count, out=votes)
    return best


def _middle(values: np.ndarray, step: int) -> np.ndarray:
    """The middle pixel of each block of ``step × step`` pixels."""
    return values if step == 1 else _sampled(values, step, step // 2, step // 2)


def _sampled(values: np.ndarray, step: int, row: int, column: int) -> np.ndarray:
    """The pixel at an offset in each block of ``step × step`` pixels; blocks at the far borders may be cut."""
    rows, columns = values.shape
    picked = np.ix_(
        np.minimum(np.arange(0, rows, step) + row, rows - 1),
        np.minimum(np.arange(0, columns, step) + column, columns - 1),
    )
    return np.asarray(values[picked])


def _ramp(name: str) -> np.ndarray:
    """Colours of 0 to 100 percent, and nothing above: uint8 ``(256, 4)``."""
    stops = np.array(RAMPS[name], float)
    at = np.linspace(0, 100, len(stops))
    table = np.zeros((256, 4), np.uint8)
    for band in range(3):
        table[:101, band] = np.interp(np.arange(101), at, stops[:, band])
    table[:101, 3] = 255
    table[PERCENT_NODATA] = 0
    return table


def _shade(values: np.ndarray) -> np.ndarray:
    """Brightness 0.45 to 1 of a radar image, stretched between its 2nd and 98th percentile; 1 where not finite."""
    finite = np.isfinite(values)
    if not finite.any():
        return np.ones(values.shape)
    low, high = np.percentile(values[finite], (2, 98))
    share = np.clip((values - low) / max(float(high - low), 1e-12), 0, 1)
    return np.where(finite, 0.45 + 0.55 * share, 1.0)


def _label_graticule(axes: Axes, grid: MapGrid, lines: list[GraticuleLine], width_inches: float) -> None:
    """Labels around the frame; one that would touch another is left out."""
    inch = (grid.bounds[2] - grid.bounds[0]) / width_inches
    anchors = {
        "left": ((-5, 0), "right", "center"),
        "right": ((5, 0), "left", "center"),
        "bottom": ((0, -5), "center", "top"),
        "top": ((0, 5), "center", "bottom"),
    }
    taken: dict[str, list[float]] = {side: [] for side in anchors}
    for line in lines:
        for label in line.labels:
            upright = label.side in ("left", "right")
            position, room = (label.y, 0.2 * inch) if upright else (label.x, 0.55 * inch)
            if any(abs(position - other) < room for other in taken[label.side]):
                continue
            taken[label.side].append(position)
            offset, ha, va = anchors[label.side]
            axes.annotate(
                label.text,
                xy=(label.x, label.y),
                xytext=offset,
                textcoords="offset points",
                ha=ha,
                va=va,
                fontsize=8,
                color=FAINT,
                annotation_clip=False,
            )


def key_axes(axes: Axes) -> tuple[float, float]:
    """Make axes count in inches, without a frame: width, height."""
    axes.axis("off")
    figure = axes.get_figure()
    assert figure is not None
    wide, tall = figure.get_size_inches()  # type: ignore[union-attr]
    box = axes.get_position()
    width, height = float(box.width * wide), float(box.height * tall)
    axes.set(xlim=(0, width), ylim=(0, height))
    return width, height


def _key_row(
    axes: Axes, width: float, y: float, title: str, area: float, sea: float, *, indent: float = 0.0, bold: bool = False
) -> None:
    style: dict[str, Any] = {"fontsize": 9, "color": INK, "va": "center", "fontweight": "bold" if bold else "normal"}
    axes.text(indent, y, title, **style)
    axes.text(width - 0.62, y, area_text(area, sea), ha="right", **style)
    axes.text(width, y, f"{100 * area / sea:.1f}" if sea else "–", ha="right", **style)


def area_text(area_km2: float, total_km2: float) -> str:
    """Whole km² with thin spaces, or decimals where the whole map is small."""
    digits = 0 if total_km2 >= 1000 else 1 if total_km2 >= 100 else 2 if total_km2 >= 10 else 3
    return f"{area_km2:,.{digits}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _draw_ramp(axes: Axes, y: float, name: str, text: str) -> None:
    axes.imshow(_ramp(name)[:101][None], extent=(0, 1.6, y - 0.07, y + 0.07), aspect="auto", zorder=2)
    axes.text(1.7, y, text, fontsize=8.5, color=INK, va="center")


def swatch(axes: Axes, y: float, colour: tuple[int, int, int] | None, *, x: float = 0.0) -> None:
    """A patch of colour in a legend; hatched for None."""
    from matplotlib.patches import Rectangle

    if colour is None:
        style: dict[str, Any] = {"facecolor": "#f4f5f6", "hatch": "//////", "edgecolor": "#c3c9ce"}
    else:
        style = {"facecolor": [band / 255 for band in colour], "edgecolor": "#8a949b"}
    axes.add_patch(Rectangle((x, y - 0.07), 0.28, 0.14, linewidth=0.6, **style))
