"""Pictures of imagettes with masks beside them (undecided is black), and of maps of phenomena."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.conventions import (
    CLASS_LAND,
    LAND_COLOUR,
    PERCENT_NODATA,
    PHENOMENA_SCHEMES,
    UNDECIDED,
    UNDECIDED_COLOUR,
    UNDECIDED_TITLE,
    ClassScheme,
)
from frazil.files import whole_output
from frazil.maps.areas import PixelAreas
from frazil.maps.page import Page, draw_page
from frazil.maps.panels import FAINT, INK, Drawing, area_text, key_axes, swatch
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_UNKNOWN = 255
_ROW = 0.25  # inches between lines of the legend


def draw_imagettes(
    ds: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    found: Sequence[xr.Dataset] = (),
    titles: Sequence[str] = (),
    most: int = 12,
    overwrite: bool = False,
) -> Path:
    """Write a PNG: a column an imagette; below each its drawn masks, where known, and what each method found.

    Args:
        ds: a set of imagettes.
        path: of the PNG.
        found: segments of the same set.
        titles: of each of them; by default the method.
        most: imagettes at most, spread evenly over the set.
        overwrite: replace what is there.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    scheme = PHENOMENA_SCHEMES[ds.attrs["class_scheme"]]
    n = min(most, ds.sizes["imagette"])
    chosen = np.unique(np.linspace(0, ds.sizes["imagette"] - 1, n).round().astype(int))
    drawn = "mask" in ds
    names = [*(["drawn"] if drawn else []), *(titles or [f.attrs["method"] for f in found])]
    rows = 1 + len(names)
    with mpl.rc_context({"font.size": 8, "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(max(1.35 * len(chosen) + 0.8, 7.5), 1.35 * rows + 0.8), dpi=110)
        axes = figure.subplots(rows, len(chosen), squeeze=False)
        for column, i in enumerate(chosen):
            image = np.nan_to_num(ds["image"].values[i].astype(np.float32))
            low, high = np.quantile(image, (0.005, 0.995))
            axes[0, column].imshow(image, cmap="gray", vmin=min(low, high - 0.12), vmax=high, interpolation="nearest")
            planes = []
            if drawn:
                mask = ds["mask"].values[i]
                known = (mask != _UNKNOWN).all()
                planes.append(_smallest(mask == 1) if known else np.full(mask.shape[1:], _UNKNOWN, np.uint8))
            planes += [f["dominant"].values[i] for f in found]
            for row, plane in enumerate(planes, 1):
                axes[row, column].imshow(painted(plane, scheme), interpolation="nearest")
        for row, name in enumerate(["image", *names]):
            axes[row, 0].set_ylabel(name, fontsize=8)
        for axis in axes.ravel():
            axis.set_xticks([])
            axis.set_yticks([])
        patches = [_patch(c.colour, c.title) for c in scheme.classes]
        patches.append(_patch(UNDECIDED_COLOUR, UNDECIDED_TITLE))
        figure.legend(handles=patches, loc="lower center", ncols=min(6, len(patches)), frameon=False, fontsize=8)
        figure.subplots_adjust(
            left=0.05, right=0.99, top=0.98, bottom=0.62 / (1.35 * rows + 0.8), wspace=0.04, hspace=0.04
        )
        with whole_output(path, overwrite=overwrite) as part:
            figure.savefig(part, format="png")
    return Path(path)


def _smallest(mask: np.ndarray) -> np.ndarray:
    """Codes of drawn masks; where several hold, that of the smallest area, so that it is seen."""
    out = np.full(mask.shape[1:], _UNKNOWN, np.uint8)
    for code in np.argsort(-mask.sum((1, 2)), kind="stable"):
        out[mask[code]] = code
    return out


def _patch(colour: tuple[int, int, int], label: str) -> Any:
    from matplotlib.patches import Patch

    red, green, blue = (v / 255 for v in colour)
    return Patch(facecolor=(red, green, blue), edgecolor="0.6", label=label)


def painted(dominant: np.ndarray, scheme: ClassScheme) -> np.ndarray:
    """Red, green, blue (…, 3) uint8 of codes; anything that is no class is black."""
    table = np.zeros((256, 3), np.uint8)
    for c in scheme.classes:
        table[c.code] = c.colour
    table[CLASS_LAND] = LAND_COLOUR
    return table[dominant]


def draw_phenomena_map(
    ds: xr.Dataset, path: str | os.PathLike[str], *, dpi: float = 130, overwrite: bool = False
) -> Path:
    """Draw a map of phenomena as a PNG: the dominant one, how high its score is, and where not to trust it.

    The legend gives the ground area where each phenomenon is dominant, and where it is found at all.

    Args:
        ds: a map of phenomena on a projected grid, see `frazil.learn.predict.phenomena`.
        path: the PNG.
        dpi: dots per inch; the page is 12.6 inches wide.
        overwrite: replace the file if it exists.

    Raises:
        ContractError: not on a projected grid. OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    scheme, grid = PHENOMENA_SCHEMES[ds.attrs["class_scheme"]], MapGrid.of(ds)
    areas = PixelAreas(grid)
    codes = ds["dominant"].values
    score = ds["score"].values
    best = np.where(score == PERCENT_NODATA, 0, score).max(axis=0).astype(np.uint8)
    doubts = ds[["quality_flags"]].assign(confidence=(("y", "x"), best))
    colours = {c.code: c.colour for c in scheme.classes} | {UNDECIDED: UNDECIDED_COLOUR}
    drawing = Drawing(ice_map=doubts, codes=codes, colours=colours, scheme=scheme, grid=grid, area=areas.by_code(codes))
    found = areas.by_bit(ds["phenomena"].values, len(scheme.classes))
    page = Page(
        title="Phenomena of sea and air",
        key=lambda axes: _draw_key(axes, drawing, found),
        key_height=_ROW * (len(scheme.classes) + 4) + 0.1,
        small_title="Where not to trust it",
        ramp="Highest score, 0 to 100 %",
    )
    with whole_output(path, overwrite=overwrite) as part:
        draw_page(drawing, page, "classes", "confidence", None, dpi).savefig(part, dpi=dpi, format="png")
    return Path(path)


def _draw_key(axes: Axes, drawing: Drawing, found: np.ndarray) -> None:
    """The legend: a row a class with the areas where it is dominant and where it is found; undecided, land, no data."""
    width, height = key_axes(axes)
    classes, area = drawing.scheme.classes, drawing.area
    sea = float(area[:CLASS_LAND].sum())
    columns = (width - 1.0, width - 0.5, width)
    y = height - 0.1
    axes.text(0, y, "Dominant", fontsize=10.5, fontweight="bold", color=INK, va="center")
    for x, text in zip(columns, ("km²", "% of sea", "found, %"), strict=True):
        axes.text(x, y, text, fontsize=7, color=FAINT, ha="right", va="center")
    rows = [(c.title, c.colour, area[c.code], found[c.code]) for c in classes]
    for title, colour, where, anywhere in [*rows, (UNDECIDED_TITLE, UNDECIDED_COLOUR, area[UNDECIDED], None)]:
        y -= _ROW
        swatch(axes, y, colour)
        axes.text(0.38, y, title, fontsize=9, color=INK, va="center")
        shares = [f"{100 * part / sea:.1f}" if sea else "–" for part in (where, anywhere) if part is not None]
        for x, text in zip(columns, [area_text(where, sea), *shares], strict=False):
            axes.text(x, y, text, fontsize=9, color=INK, ha="right", va="center")
    y -= _ROW
    swatch(axes, y, LAND_COLOUR)
    axes.text(0.38, y, "Land", fontsize=9, color=INK, va="center")
    swatch(axes, y, None, x=1.05)
    axes.text(1.43, y, "No data", fontsize=9, color=INK, va="center")
    axes.text(
        0, y - _ROW, "Found: score at or above its threshold; several may be.", fontsize=7.5, color=FAINT, va="center"
    )
    axes.set(xlim=(0, width), ylim=(0, height), aspect="auto")
