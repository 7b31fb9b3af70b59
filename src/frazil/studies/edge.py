"""How well maps place the ice edge, on simulated scenes whose true edge is known.

Each scene is mapped with each model and compared with what an ice service would have at hand: the truth itself (which
nobody has), a chart drawn from it in cells of 5 km, and a concentration map of 10 km pixels, as good as passive
microwave could at best be.

References:
    Khaleghian (2022), paper 1, table 6 and figure 9.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from frazil.conventions import CLASS_LAND, class_attrs
from frazil.learn.checkpoint import Model, load_model
from frazil.learn.dense import agreement
from frazil.learn.evaluate import evaluate
from frazil.learn.models.patch import PatchClassifier
from frazil.learn.predict import predict
from frazil.learn.scenes import HeldOutScenes, labelled_scene, to_scheme
from frazil.learn.study_data import moving_average
from frazil.maps.compare import compare
from frazil.scene.grid import MapGrid, plan_warp
from frazil.sentinel1.geolocation import Geolocation
from frazil.simulate.scene import simulate_scene
from frazil.simulate.truth import regions

_CELL_KM = 10.0
_THRESHOLD = 0.15
FIGURES = ("over_km2", "under_km2", "iiee_km2", "agreement_percent", "compared_km2")


def held_out_scene(seed: int, lines: tuple[int, int]) -> xr.Dataset:
    """A simulated scene at 40 m as the models of the studies want it, with ``ice_class``."""
    scene = simulate_scene("ew", seed=seed, spacing_m=40.0, lines=lines)
    scene["sigma0"].values[:] = [moving_average(plane) for plane in scene["sigma0"].values]
    return scene.assign_attrs(product=f"simulated-{seed}", boxcar=1)


def run_edge(
    models: Mapping[str, str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    seeds: tuple[int, ...],
    *,
    lines: tuple[int, int] = (0, 2400),
    precision: str = "bfloat16",
    progress: Callable[[float, str], None] | None = None,
) -> list[dict[str, Any]]:
    """A row for each scene, model and reference; scenes that were done before are not done again.

    Args:
        models: name -> model folder.
        folder: where ``SEED-MODEL.json`` is kept.
        seeds: of scenes that no model has learnt from.
        lines: of the template to simulate.
        precision: of the networks.
        progress: called with the fraction done and what was done last.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    loaded = {name: load_model(path) for name, path in models.items()}
    out: list[dict[str, Any]] = []
    for i, seed in enumerate(seeds):
        paths = {name: target / f"{seed}-{name.replace(' ', '-')}.json" for name in models}
        missing = [name for name, path in paths.items() if not path.is_file()]
        scene = held_out_scene(seed, lines) if missing else None
        for name in missing:
            assert scene is not None
            rows = _compare_all(predict(scene, loaded[name], precision=precision), scene, name, seed)
            paths[name].write_text(json.dumps(rows) + "\n", encoding="utf-8")
        for path in paths.values():
            out += json.loads(path.read_text(encoding="utf-8"))
        if progress:
            progress((i + 1) / len(seeds), f"scene {seed}")
    return out


def _compare_all(ice_map: xr.Dataset, scene: xr.Dataset, model: str, seed: int) -> list[dict[str, Any]]:
    rows = []
    for name, reference in references(ice_map, scene).items():
        kind = "chart" if name == "chart" else None
        scores = compare(ice_map, reference, kind=kind).scores
        moved = scores["displacement"]
        rows.append(
            {"model": model, "seed": seed, "reference": name, **{k: scores[k] for k in FIGURES},
             "median_km": moved["symmetric"]["median_km"] if moved else None}
        )  # fmt: skip
    return rows


def references(ice_map: xr.Dataset, scene: xr.Dataset) -> dict[str, Any]:
    """What a map is compared with: ``"truth"`` and ``"10 km"`` on its grid, ``"chart"`` as polygons."""
    import geopandas as gpd

    truth = plan_warp(scene, MapGrid.of(ice_map)).nearest(scene["ice_class"].values, 255)
    binary = to_scheme(truth, "binary")
    size = round(_CELL_KM * 1000 / MapGrid.of(ice_map).spacing_m)
    ice = _cell_means(np.where(binary < CLASS_LAND, binary, np.nan).astype(float), size)
    coarse = np.where(binary < CLASS_LAND, ice >= _THRESHOLD, binary).astype(np.uint8)
    spacing = float(scene.attrs["spacing_m"])
    shapes, rows = regions(
        scene["ice_class"].values, scene["line"].values, scene["pixel"].values, Geolocation.of(scene), spacing
    )
    chart = gpd.GeoDataFrame(
        {column: [row[column] for row in rows] for column in rows[0]}, geometry=shapes, crs="EPSG:4326"
    )
    return {"truth": _as_map(ice_map, binary), "chart": chart, "10 km": _as_map(ice_map, coarse)}


def _cell_means(values: np.ndarray, size: int) -> np.ndarray:
    """The mean of each square of pixels, at each of its pixels; NaN is left out."""
    rows, columns = (-(-n // size) for n in values.shape)
    padded = np.full((rows * size, columns * size), np.nan)
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(rows, size, columns, size)
    count = np.isfinite(blocks).sum(axis=(1, 3))
    mean = np.nansum(blocks, axis=(1, 3)) / np.maximum(count, 1)
    return mean.repeat(size, axis=0).repeat(size, axis=1)[: values.shape[0], : values.shape[1]]


def _as_map(like: xr.Dataset, codes: np.ndarray) -> xr.Dataset:
    """A map with other classes, water and ice."""
    from frazil.conventions import BINARY
    from frazil.learn.predict import to_binary

    out = to_binary(like) if like.attrs["class_scheme"] != "binary" else like.copy()
    out["ice_class"] = (("y", "x"), codes, {**out["ice_class"].attrs, **class_attrs(BINARY)})
    return out


def dense_or_patchwise(
    model: Model, seeds: tuple[int, ...], *, lines: tuple[int, int], pixels: int, stride: int = 8
) -> dict[str, Any]:
    """The two functions of a patch classifier on the same scenes: how alike they are, and how each scores on truth.

    Args:
        model: of a patch classifier.
        seeds: of scenes that it has not learnt from.
        lines: of the template to simulate.
        pixels: first so many pixels of these lines.
        stride: between results.
    """
    network, card = model.network, model.card
    assert isinstance(network, PatchClassifier)
    names = tuple(c.name for c in card.channels)
    scenes = []
    for seed in seeds:
        scene = held_out_scene(seed, lines).isel(pixel=slice(-pixels, None))
        scenes.append(labelled_scene(scene, to_scheme(scene["ice_class"].values, card.class_scheme), names))
    alike = [agreement(network, _whole(scene.image, stride), stride=stride) for scene in scenes]
    n = len(card.scheme.classes)
    scores = {
        function: evaluate(network, HeldOutScenes(scenes, function, stride), n, card.temperature).to_json(
            card.scheme.names
        )
        for function in ("dense", "patchwise")
    }
    return {
        "seeds": list(seeds),
        "stride": stride,
        "same_class": float(np.mean([a.same_class for a in alike])),
        "mean_difference": float(np.mean([a.mean_difference for a in alike])),
        "max_difference": float(np.max([a.max_difference for a in alike])),
        "patches": int(np.sum([a.patches for a in alike])),
        **{
            function: {k: s[k] for k in ("accuracy", "macro_f1", "ece", "accuracy_per_scene")}
            for function, s in scores.items()
        },
    }


def _whole(image: np.ndarray, stride: int) -> np.ndarray:
    height, width = (n // stride * stride for n in image.shape[1:])
    return np.ascontiguousarray(image[:, :height, :width].astype(np.float32))
