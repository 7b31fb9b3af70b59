"""Descriptors as a picture: their principal components, or UMAP, coloured by class.

References:
    Khaleghian (2022), paper 2, figure 4.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from frazil.conventions import ClassScheme
from frazil.errors import MissingDependencyError, OptionError
from frazil.files import whole_output
from frazil.learn.propagation.neighbours import normalised

_SHOWN = 6000  # points; more only hide each other
_COLOURS = ("#0b5fa5", "#d1730f", "#2a7f4f", "#8e4585", "#b8a000", "#b03a2e", "#4f8a8b", "#7a6f5d")


def principal_components(features: np.ndarray, n: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates float32 (sample, n) of descriptors on the unit sphere, and the share of variance of each.

    Signs are such that the largest loading of a component is positive. Where there are fewer components, zeros.
    """
    x = normalised(features)
    x = x - x.mean(axis=0)
    value, vector = np.linalg.eigh(x.T.astype(np.float64) @ x)
    value, vector = np.maximum(value[::-1][:n], 0), vector[:, ::-1][:, :n]
    vector = vector * np.sign(vector[np.abs(vector).argmax(axis=0), np.arange(vector.shape[1])])
    share = value / max(float(np.square(x, dtype=np.float64).sum()), 1e-30)
    short = n - vector.shape[1]
    coordinates = np.pad(x @ vector.astype(np.float32), ((0, 0), (0, short)))
    return coordinates.astype(np.float32), np.pad(share, (0, short))


def umap_coordinates(features: np.ndarray) -> np.ndarray:
    """Two coordinates of each sample by UMAP.

    Raises:
        MissingDependencyError: umap-learn is not installed.
    """
    try:
        import umap
    except ImportError as error:
        raise MissingDependencyError("UMAP needs umap-learn: pip install umap-learn. Or choose pca.") from error
    found: np.ndarray = umap.UMAP(random_state=0, n_jobs=1).fit_transform(normalised(features))
    return found


def draw_features(
    features: np.ndarray,
    columns: dict[str, np.ndarray],
    path: str | os.PathLike[str],
    *,
    scheme: ClassScheme | None = None,
    method: str = "pca",
    overwrite: bool = False,
) -> Path:
    """Write a PNG with a column for each set of labels, for instance before and after propagation.

    Args:
        features: (sample, feature).
        columns: title -> labels (sample,), −1 without one, drawn in grey.
        path: ending in ``.png``.
        scheme: names and colours of the classes.
        method: ``"pca"`` shows the first component against the second and the third; ``"umap"`` its two coordinates.
        overwrite: replace what is there.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    target = Path(path)
    if target.suffix.lower() != ".png":
        raise OptionError(f"Output {target} should end in .png.")
    if method not in ("pca", "umap"):
        raise OptionError(f"method {method!r} is not 'pca' or 'umap'.")
    some = np.sort(np.random.default_rng(0).permutation(len(features))[:_SHOWN])
    if method == "pca":
        points, share = principal_components(features)
        pairs = [(0, 1), (0, 2)]
        names = [f"component {i + 1} ({100 * s:.0f} %)" for i, s in enumerate(share)]
    else:
        points, pairs, names = umap_coordinates(features), [(0, 1)], ["UMAP 1", "UMAP 2"]
    figure = Figure(figsize=(0.6 + 4 * len(columns), 0.9 + 3.6 * len(pairs)), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(pairs), len(columns), squeeze=False, sharex="row", sharey="row")
    codes = sorted({int(c) for labels in columns.values() for c in np.unique(labels) if c >= 0})
    for k, (title, labels) in enumerate(columns.items()):
        for row, (i, j) in enumerate(pairs):
            axes = grid[row, k]
            _scatter(axes, points[some][:, [i, j]], labels[some], codes, scheme)
            axes.set_xlabel(names[i], fontsize=8)
            axes.set_ylabel(names[j] if k == 0 else "", fontsize=8)
            axes.tick_params(labelsize=7)
        grid[0, k].set_title(f"{title}: {(labels >= 0).sum()} of {len(labels)}", fontsize=9)
    handles, words = grid[0, -1].get_legend_handles_labels()
    if handles:
        figure.legend(handles, words, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    with whole_output(target, overwrite=overwrite) as part:
        figure.savefig(part, format="png")
    return target


def draw_descriptors(
    rows: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]],
    path: str | os.PathLike[str],
    *,
    scheme: ClassScheme | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a PNG with a panel for each of several sets of descriptors, each in its own first two components.

    Args:
        rows: title -> title of the column -> descriptors (sample, feature) and labels (sample,), −1 without one. All
            rows have the same columns.
        path: ending in ``.png``.
        scheme: names of the classes.
        overwrite: replace what is there.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    target = Path(path)
    if target.suffix.lower() != ".png":
        raise OptionError(f"Output {target} should end in .png.")
    columns = list(next(iter(rows.values())))
    figure = Figure(figsize=(0.6 + 3.2 * len(columns), 0.7 + 2.7 * len(rows)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    for i, (title, panels) in enumerate(rows.items()):
        for k, name in enumerate(columns):
            features, labels = panels[name]
            points, share = principal_components(features, 2)
            some = np.sort(np.random.default_rng(0).permutation(len(features))[:_SHOWN])
            codes = sorted({int(code) for code in np.unique(labels) if code >= 0})
            axes = grid[i, k]
            _scatter(axes, points[some], labels[some], codes, scheme)
            axes.set_title(name if i == 0 else "", fontsize=9)
            axes.set_xlabel(f"component 1 ({100 * share[0]:.0f} %)", fontsize=8)
            axes.set_ylabel(
                f"{title}\ncomponent 2 ({100 * share[1]:.0f} %)" if k == 0 else f"component 2 ({100 * share[1]:.0f} %)",
                fontsize=8,
            )
            axes.tick_params(labelsize=7)
    handles, words = grid[0, -1].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    with whole_output(target, overwrite=overwrite) as part:
        figure.savefig(part, format="png")
    return target


def _scatter(axes: Any, points: np.ndarray, labels: np.ndarray, codes: list[int], scheme: ClassScheme | None) -> None:
    without = labels < 0
    axes.scatter(*points[without].T, s=3, color="0.8", linewidths=0)
    # Few labels among many samples are to be seen.
    size = 4 if (~without).mean() > 0.1 else 22
    for code in codes:
        mine = labels == code
        known = scheme is not None and code < len(scheme.classes)
        name = scheme.classes[code].title if known and scheme else f"class {code}"
        axes.scatter(
            *points[mine].T,
            s=size,
            color=_COLOURS[code % len(_COLOURS)],
            linewidths=0.3,
            edgecolors="black" if size > 4 else "none",
            label=name,
        )
