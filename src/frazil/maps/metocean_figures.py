"""Pictures of imagettes with masks beside them (undecided is black), and of maps of phenomena."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.conventions import CLASS_LAND, CLASS_NODATA, LAND_COLOUR, OCEAN_SCHEMES, ClassScheme
from frazil.files import whole_output

if TYPE_CHECKING:
    import xarray as xr

_UNKNOWN = 255


def draw_imagettes(
    ds: xr.Dataset, path: str | os.PathLike[str], *, found: Sequence[xr.Dataset] = (), titles: Sequence[str] = (),
    most: int = 12, overwrite: bool = False,
) -> Path:  # fmt: skip
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

    scheme = OCEAN_SCHEMES[ds.attrs["class_scheme"]]
    n = min(most, ds.sizes["imagette"])
    chosen = np.unique(np.linspace(0, ds.sizes["imagette"] - 1, n).round().astype(int))
    drawn = "mask" in ds
    names = [*(["drawn"] if drawn else []), *(titles or [f.attrs["method"] for f in found])]
    rows = 1 + len(names)
    with mpl.rc_context({"font.size": 8, "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(1.35 * len(chosen) + 0.8, 1.35 * rows + 0.8), dpi=110)
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
        patches.append(_patch((0, 0, 0), "undecided"))
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


def draw_metocean(ds: xr.Dataset, path: Path) -> None:
    """Write a map of phenomena as a PNG with a legend, and where it is out of the model's range of angles."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    scheme = OCEAN_SCHEMES[ds.attrs["class_scheme"]]
    dominant, flags = ds["dominant"].values, ds["quality_flags"].values
    rgb = painted(dominant, scheme).astype(float) / 255
    rgb[dominant == CLASS_NODATA] = 0.93
    step = max(max(dominant.shape) // 1200, 1)
    height, width = (n // step for n in dominant.shape)
    with mpl.rc_context({"font.size": 9, "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(8.2, max(8.2 * 0.72 * height / width, 3.0)), dpi=110)
        axis = figure.add_axes((0.01, 0.05, 0.70, 0.86))
        axis.imshow(rgb[::step, ::step], interpolation="nearest")
        outside: Any = ((flags[::step, ::step] & 64) > 0).astype(float)
        if outside.any():
            axis.contourf(outside, levels=[0.5, 1.5], colors="none", hatches=["///"], extent=None)
        axis.set_axis_off()
        seen = set(np.unique(dominant).tolist())
        patches = [_patch(c.colour, c.title) for c in scheme.classes if c.code in seen]
        patches.append(_patch((0, 0, 0), "Undecided"))
        patches.append(_patch(LAND_COLOUR, "Land"))
        if outside.any():
            patches.append(Patch(facecolor="white", edgecolor="0.3", hatch="///", label="Angle outside training"))
        figure.legend(handles=patches, loc="center left", bbox_to_anchor=(0.72, 0.5), frameon=False)
        figure.text(0.01, 0.95, f"{ds.attrs.get('product', '')[:67]}", fontsize=9, weight="bold")
        figure.text(0.01, 0.015, str(ds.attrs.get("note", ""))[:130], fontsize=7)
        figure.savefig(path, format="png")
