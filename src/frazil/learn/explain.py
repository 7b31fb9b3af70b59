"""Which patches keep their labels, as a picture: the patches class by class, and where they lie in their scenes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import xarray as xr

from frazil.errors import OptionError
from frazil.files import refuse_existing, whole_output
from frazil.labels.contact_sheet import patch_pictures
from frazil.labels.patch_set import join_patches, open_patches
from frazil.learn.config import PatchData, RunConfig, of_patches
from frazil.learn.data.load import draw, read_sides
from frazil.learn.data.patches import Patches

_COLUMNS, _ROWS = 20, 2  # patches of a class that are shown
_SCENES = 12  # that are shown, those with most labels first


class Explained(TypedDict):
    """Labels of each class and of each scene, and what is to be said of them."""

    labels: dict[str, int]
    scenes: dict[str, int]
    notes: list[str]
    text: str


def explain_labels(config: RunConfig, path: str | os.PathLike[str], *, overwrite: bool = False) -> Explained:
    """Draw which patches a run would take the labels of.

    Args:
        config: of the run.
        path: ending in ``.png``.
        overwrite: replace what is there.

    Returns:
        Labels of each class and scene, and a ``text`` that says so.

    Raises:
        OptionError: another suffix, or a run that does not learn from patches.
        LabelError: as `frazil.learn.data.labels.choose_labels`.
    """
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise OptionError(f"Output {target} should end in .png.")
    refuse_existing(target, overwrite=overwrite)
    if not of_patches(config.data):
        raise OptionError("Labels are drawn from patch sets alone; this run learns from scenes.")
    sides, _, _, table = read_sides(config.data)
    train, chosen, said = draw(config.data, config.labels, sides, table)
    drawn = train.take(chosen)
    scenes = {name: int((drawn.scene == name).sum()) for name in train.names}
    _picture(config.data, train, drawn, table, scenes, target, overwrite=overwrite)
    counts = {k: n for k, n in drawn.counts().items() if n}
    text = f"{len(drawn)} labels of {len(train)}: " + ", ".join(f"{n} {name}" for name, n in counts.items())
    text += f"; in {sum(n > 0 for n in scenes.values())} of {len(scenes)} scenes"
    return {"labels": counts, "scenes": scenes, "notes": said.get("notes", []), "text": text}


def _picture(
    data: PatchData,
    train: Patches,
    drawn: Patches,
    table: xr.Dataset,
    scenes: dict[str, int],
    target: Path,
    *,
    overwrite: bool,
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    classes = [c for c in train.scheme.classes if (train.label == c.code).any()]
    shown = [c for c, _ in sorted(scenes.items(), key=lambda item: -item[1])][:_SCENES]
    lines = -(-len(shown) // 4)
    figure = Figure(figsize=(11, 0.5 + 1.25 * len(classes) + 2.4 * lines), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subfigures(  # type: ignore[misc]
        2, 1, height_ratios=[1.25 * len(classes), 2.4 * lines]
    )
    some = [np.flatnonzero(drawn.label == c.code)[: _COLUMNS * _ROWS] for c in classes]
    pictures = _pictures(data.patches, drawn.index[np.concatenate(some)])
    for axes, c, mine in zip(np.atleast_1d(top.subplots(len(classes), 1)), classes, some, strict=True):
        n = (drawn.label == c.code).sum()
        axes.set_title(f"{c.title}: {n} of {(train.label == c.code).sum()} labels", loc="left", fontsize=9)
        axes.set_axis_off()
        if mine.size:
            sheet = _sheet([pictures[i] for i in drawn.index[mine]])
            axes.imshow(sheet, interpolation="nearest", aspect="equal", cmap="gray", vmin=0, vmax=1)
    axes_grid = np.atleast_1d(bottom.subplots(lines, min(len(shown), 4), squeeze=False).ravel())
    for axes in axes_grid[len(shown) :]:
        axes.set_axis_off()
    line, pixel = table["line"].values, table["pixel"].values
    for axes, name in zip(axes_grid, shown, strict=False):
        _places(axes, name, train, drawn, line, pixel)
    with whole_output(target, overwrite=overwrite) as part:
        figure.savefig(part, format="png")


def _pictures(stores: tuple[str, ...], index: np.ndarray) -> dict[int, np.ndarray]:
    """Position -> picture, all stretched alike so that classes can be compared."""
    parts, before, wanted = [], 0, np.sort(index)
    for store in stores:
        opened = open_patches(store)
        mine = wanted[(wanted >= before) & (wanted < before + opened.sizes["patch"])] - before
        if mine.size:
            parts.append(opened.isel(patch=mine).load())
        before += opened.sizes["patch"]
    return dict(zip(wanted.tolist(), patch_pictures(join_patches(parts))[0], strict=True))


def _sheet(pictures: list[np.ndarray]) -> np.ndarray:
    """Patches side by side, in rows."""
    side, rows = pictures[0].shape[0], -(-len(pictures) // _COLUMNS)
    sheet = np.ones((rows * (side + 2), _COLUMNS * (side + 2), *pictures[0].shape[2:]), np.float32)
    for i, picture in enumerate(pictures):
        y, x = (i // _COLUMNS) * (side + 2), (i % _COLUMNS) * (side + 2)
        sheet[y : y + side, x : x + side] = picture
    return sheet


def _places(axes: Any, name: str, train: Patches, drawn: Patches, line: np.ndarray, pixel: np.ndarray) -> None:
    """All training patches of a scene in grey, the drawn ones in the colours of their classes."""
    mine, chosen = train.scene == name, drawn.scene == name
    axes.set_title(f"{name[:34]}{'…' if len(name) > 34 else ''}: {chosen.sum()} of {mine.sum()}", fontsize=7)
    axes.tick_params(labelsize=6)
    if not np.isfinite(line[train.index[mine]]).any():
        axes.text(0.5, 0.5, "positions unknown", ha="center", transform=axes.transAxes, fontsize=8, color="0.5")
        axes.set_axis_off()
        return
    axes.scatter(pixel[train.index[mine]], line[train.index[mine]], s=3, color="0.8", linewidths=0)
    for c in train.scheme.classes:
        some = drawn.index[chosen & (drawn.label == c.code)]
        colour = tuple(v / 255 for v in c.colour)
        axes.scatter(pixel[some], line[some], s=28, color=[colour], edgecolors="black", linewidths=0.6)
    axes.set_aspect("equal", adjustable="datalim")
    axes.invert_yaxis()
    axes.set_xlabel("pixel", fontsize=6)
    axes.set_ylabel("line", fontsize=6)
