"""A picture of a patch set: some patches of each class side by side, to look at before training on them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.conventions import CLASS_NODATA
from frazil.errors import OptionError, OutputError
from frazil.files import whole_output
from frazil.labels.patch_set import check_patches
from frazil.scene.scaling import CHANNELS
from frazil.seeds import check_seed

if TYPE_CHECKING:
    import xarray as xr

_PERCENTILES = (2.0, 98.0)


def contact_sheet(
    patches: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    columns: int = 16,
    rows: int = 2,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Write a PNG with a random draw of patches of each class, scenes taken in turn.

    With two polarisations the picture is in false colour (red cross-, blue co-polarised, green their mean), with one
    in grey, stretched alike for all patches between the 2nd and 98th percentile of those shown, within the range of
    `frazil.scene.scaling.CHANNELS`.

    Args:
        patches: a patch set.
        path: ending in ``.png``.
        columns: patches side by side.
        rows: rows of patches for each class.
        seed: of the draw.
        overwrite: replace what is there.

    Raises:
        OptionError: another suffix, or no room for a patch.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scheme = check_patches(patches)
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise OptionError(f"Output {target} should end in .png.")
    if min(columns, rows) < 1:
        raise OptionError(f"columns and rows must be 1 or more; got {columns} and {rows}.")
    label = patches["label"].values
    groups = [(c.code, c.title, c.colour) for c in scheme.classes]
    if (label == CLASS_NODATA).any():
        groups.append((CLASS_NODATA, "Without a label", (200, 200, 200)))
    chosen = [_draw(patches, code, columns * rows, seed) for code, *_ in groups]
    shown = np.concatenate(chosen)
    images, legend = patch_pictures(patches.isel(patch=np.sort(shown)))
    place = {int(p): i for i, p in enumerate(np.sort(shown))}

    width, cell = 11.0, (11.0 - 2.3) / columns
    heights = [max(-(-len(some) // columns), 1) * cell + 0.14 for some in chosen]
    height = sum(heights) + 1.0
    figure = Figure(figsize=(width, height), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    n_scenes = len(np.unique(patches["scene"].values))
    figure.text(
        0.2 / width,
        1 - 0.28 / height,
        f"{patches.sizes['patch']:,} patches of {patches.sizes['height']} × {patches.sizes['width']} pixels from "
        f"{n_scenes} scene{'s' if n_scenes > 1 else ''}".replace(",", "\u202f"),
        fontsize=12,
        weight="bold",
        va="center",
    )
    top = height - 0.55
    for (code, title, colour), some, tall in zip(groups, chosen, heights, strict=True):
        count = int((label == code).sum())
        _chip(figure, colour, 0.2 / width, (top - 0.26) / height, 0.2 / width, 0.2 / height)
        figure.text(0.5 / width, (top - 0.16) / height, title, fontsize=9, va="center", weight="bold", wrap=True)
        figure.text(0.5 / width, (top - 0.36) / height, f"{count:,}".replace(",", "\u202f"), fontsize=9, va="center")
        for k, patch in enumerate(some):
            x = 2.2 + (k % columns) * cell
            y = top - (k // columns + 1) * cell
            axes = figure.add_axes((x / width, y / height, cell * 0.95 / width, cell * 0.95 / height))
            axes.imshow(images[place[int(patch)]], interpolation="nearest", cmap="gray", vmin=0, vmax=1)
            axes.set_axis_off()
        if not len(some):
            figure.text(2.2 / width, (top - cell / 2) / height, "none", fontsize=9, va="center", color="0.45")
        top -= tall
    figure.text(0.2 / width, 0.22 / height, legend, fontsize=8, color="0.35", va="center")
    with whole_output(target, overwrite=overwrite) as part:
        try:
            figure.savefig(part, format="png")
        except (OSError, ValueError) as error:
            raise OutputError(f"Cannot write {target}: {error}. Free the space or choose another folder.") from error
    return target


def _draw(patches: xr.Dataset, code: int, n: int, seed: int) -> np.ndarray:
    """Up to n patches of a class, scenes in turn."""
    mine = np.random.default_rng([check_seed(seed), code]).permutation(np.flatnonzero(patches["label"].values == code))
    scene = patches["scene"].values[mine]
    turn = np.zeros(mine.size, int)
    for name in np.unique(scene):
        turn[scene == name] = np.arange((scene == name).sum())
    chosen: np.ndarray = mine[np.argsort(turn, kind="stable")][:n]
    return chosen


def patch_pictures(patches: xr.Dataset) -> tuple[np.ndarray, str]:
    """Pictures in [0, 1], (patch, height, width, 3) or (patch, height, width), and what they show."""
    names = patches["channel"].values.tolist()
    units = dict(zip(names, patches["channel_units"].values.tolist(), strict=True))
    image = dict(zip(names, np.moveaxis(patches["image"].values, 1, 0), strict=True))
    co = next((n for n in ("hh", "vv") if n in image), None)
    cross = next((n for n in ("hv", "vh") if n in image), None)
    if co and cross:
        (blue, low_b, high_b), (red, low_r, high_r) = (_stretch(image[n], n, units[n]) for n in (co, cross))
        legend = (
            f"False colour: red {cross.upper()} {low_r:.0f} to {high_r:.0f} {units[cross]}, "
            f"blue {co.upper()} {low_b:.0f} to {high_b:.0f} {units[co]}, green their mean."
        )
        return np.stack([red, (red + blue) / 2, blue], axis=-1), legend
    name = co or cross or names[0]
    grey, low, high = _stretch(image[name], name, units[name])
    return grey, f"{name.replace('_', ' ').upper()} from {low:.3g} (black) to {high:.3g} {units[name]} (white)."


def _stretch(values: np.ndarray, name: str, units: str) -> tuple[np.ndarray, float, float]:
    if not values.size:
        return values, 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, _PERCENTILES))
    if name in CHANNELS and units == CHANNELS[name].units:  # what the network will not see need not be shown
        low, high = max(low, CHANNELS[name].low), min(high, CHANNELS[name].high)
    return np.clip((values - low) / max(high - low, 1e-6), 0, 1), low, high


def _chip(figure: Any, colour: tuple[int, int, int], *box: float) -> None:
    from matplotlib.patches import Rectangle

    x, y, width, height = box
    face = tuple(c / 255 for c in colour)
    figure.add_artist(Rectangle((x, y), width, height, facecolor=face, edgecolor="0.4", linewidth=0.6))
