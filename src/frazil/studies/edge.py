"""How well maps place the ice edge, on simulated scenes whose true edge is known.

Each scene is mapped with each model and compared with what an ice service would have at hand: the truth itself (which
nobody has), a chart drawn from it in cells of 5 km, and a concentration map of 10 km pixels, as good as passive
microwave could at best be.

References:
    Khaleghian (2022), paper 1, table 6 and figure 9.
"""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

import numpy as np
import xarray as xr

from frazil.conventions import CLASS_LAND, class_attrs
from frazil.files import whole_output
from frazil.labels.splits import Split
from frazil.learn.checkpoint import Model, git_commit, load_model
from frazil.learn.config import PAPER_AUGMENTATIONS, PatchData
from frazil.learn.data.scenes import HeldOutScenes, labelled_scene, to_scheme
from frazil.learn.infer.dense import agreement
from frazil.learn.models.patch import takes_patches
from frazil.learn.predict.flags import FlagSettings
from frazil.learn.predict.ice import predict
from frazil.learn.run import train
from frazil.maps.compare import compare
from frazil.recipes import find_recipe
from frazil.scene.geolocation import Geolocation
from frazil.scene.grid import MapGrid, plan_warp
from frazil.simulate.scene import simulate_scene
from frazil.simulate.truth import regions
from frazil.studies.data import moving_average
from frazil.studies.page import SIMULATED
from frazil.studies.runner import Case, run_cases

if TYPE_CHECKING:
    import geopandas as gpd

_CELL_KM = 10.0
_THRESHOLD = 0.15
_EVERYWHERE = FlagSettings(confidence_percent=0)  # methods that leave out what they find hard cannot be compared


class Row(TypedDict):
    """A map against a reference, see `frazil.maps.compare`."""

    model: str
    seed: int
    reference: str
    over_km2: float
    under_km2: float
    iiee_km2: float
    agreement_percent: float
    compared_km2: float
    median_km: float | None


class FunctionScores(TypedDict):
    """Of one function of a patch classifier, see `frazil.learn.data.class_scores.ScoresJson`."""

    accuracy: float
    macro_f1: float
    ece: float
    accuracy_per_scene: dict[str, float]


class Functions(TypedDict):
    """See `dense_or_patchwise`."""

    seeds: list[int]
    stride: int
    same_class: float
    mean_difference: float
    max_difference: float
    patches: int
    dense: FunctionScores
    patchwise: FunctionScores


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
    lines: tuple[int, int] = (0, 1600),
    precision: str = "bfloat16",
    function: str = "dense",
    progress: Callable[[float, str], None] | None = None,
) -> list[Row]:
    """A row for each scene, model and reference; scenes that were done before are not done again.

    Args:
        models: name -> model folder.
        folder: where ``edge.jsonl`` is kept.
        seeds: of scenes that no model has learnt from.
        lines: of the template to simulate.
        precision: of the networks.
        function: of the patch classifiers, see `frazil.learn.infer.dense`; patch by patch takes an hour a scene.
        progress: called with the fraction done and what was done last.
    """
    cards = {name: load_model(path).card.id for name, path in models.items()}
    how = {"lines": list(lines), "precision": precision, "function": function}
    cases = [
        Case(
            name=f"scene-{seed}",
            depends_on={"models": cards, "seed": seed, **how},
            make=functools.partial(_rows_of, models, seed, lines, precision, function),
        )
        for seed in seeds
    ]
    return run_cases(cases, Path(folder) / "edge.jsonl", report=progress)


def _rows_of(
    models: Mapping[str, str | os.PathLike[str]],
    seed: int,
    lines: tuple[int, int],
    precision: str,
    function: str,
    _scratch: Path,
) -> list[Row]:
    scene = held_out_scene(seed, lines)
    rows: list[Row] = []
    for name, path in models.items():
        made = predict(scene, load_model(path), precision=precision, function=function, flags=_EVERYWHERE)
        rows += _compare_all(made, scene, name, seed)
    return rows


def _compare_all(ice_map: xr.Dataset, scene: xr.Dataset, model: str, seed: int) -> list[Row]:
    rows: list[Row] = []
    for name, reference in references(ice_map, scene).items():
        kind = "chart" if name == "chart" else None
        scores = compare(ice_map, reference, kind=kind).scores
        moved = scores["displacement"]
        rows.append(
            {
                "model": model,
                "seed": seed,
                "reference": name,
                "over_km2": scores["over_km2"],
                "under_km2": scores["under_km2"],
                "iiee_km2": scores["iiee_km2"],
                "agreement_percent": scores["agreement_percent"],
                "compared_km2": scores["compared_km2"],
                "median_km": moved["symmetric"]["median_km"] if moved else None,
            }
        )
    return rows


def references(ice_map: xr.Dataset, scene: xr.Dataset) -> dict[str, xr.Dataset | gpd.GeoDataFrame]:
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
    from frazil.learn.predict.ice import to_binary

    out = to_binary(like) if like.attrs["class_scheme"] != "binary" else like.copy()
    out["ice_class"] = (("y", "x"), codes, {**out["ice_class"].attrs, **class_attrs(BINARY)})
    return out


def dense_or_patchwise(
    model: Model, seeds: tuple[int, ...], *, lines: tuple[int, int], pixels: int, stride: int = 8
) -> Functions:
    """The two functions of a patch classifier on the same scenes: how alike they are, and how each scores on truth.

    Args:
        model: of a patch classifier.
        seeds: of scenes that it has not learnt from.
        lines: of the template to simulate.
        pixels: first so many pixels of these lines.
        stride: between results.
    """
    network, card = model.network, model.card
    assert takes_patches(network)
    names = tuple(c.name for c in card.channels)
    scenes = []
    for seed in seeds:
        scene = held_out_scene(seed, lines).isel(pixel=slice(-pixels, None))
        scenes.append(labelled_scene(scene, to_scheme(scene["ice_class"].values, card.class_scheme), names))
    alike = [agreement(network, _whole(scene.image, stride), stride=stride) for scene in scenes]

    def scored(function: str) -> FunctionScores:
        held_out = HeldOutScenes(scenes, card.scheme, function, stride)
        found = held_out.score(network, temperature=card.temperature).to_json()
        accuracy, macro_f1 = found["accuracy"], found["macro_f1"]
        assert accuracy is not None
        assert macro_f1 is not None
        return {
            "accuracy": accuracy,
            "macro_f1": macro_f1,
            "ece": found["ece"],
            "accuracy_per_scene": found["accuracy_per_scene"],
        }

    return {
        "seeds": list(seeds),
        "stride": stride,
        "same_class": float(np.mean([a.same_class for a in alike])),
        "mean_difference": float(np.mean([a.mean_difference for a in alike])),
        "max_difference": float(np.max([a.max_difference for a in alike])),
        "patches": int(np.sum([a.patches for a in alike])),
        "dense": scored("dense"),
        "patchwise": scored("patchwise"),
    }


def _whole(image: np.ndarray, stride: int) -> np.ndarray:
    height, width = (n // stride * stride for n in image.shape[1:])
    return np.ascontiguousarray(image[:, :height, :width].astype(np.float32))


def train_edge_models(
    stores: tuple[str, ...], split: Split, folder: str | os.PathLike[str], progress: Callable[[float, str], None]
) -> dict[str, Path]:
    """The models of the study, name -> folder; those that were trained before are taken as they are."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    file = target / "split.json"
    split.save(file, overwrite=True)
    out = {}
    for i, (name, recipe, channels) in enumerate(MODELS):
        run = find_recipe(recipe)
        large = recipe != "patches:adhoc"
        data = PatchData(
            patches=stores,
            class_scheme="binary",
            size=32,
            split=str(file),
            channels=channels,
            augment=PAPER_AUGMENTATIONS,
        )
        optim = replace(run.optim, epochs=4 if large else 8, patience=0, precision="bfloat16" if large else "float32")
        place = target / name.replace(",", "").replace(" ", "-")
        train(replace(run, name=place.name.lower(), data=data, optim=optim), place, command="frazil study edge")
        out[name] = place / "model"
        progress((i + 1) / len(MODELS), f"training {name}")
    return out


#: What the study maps with: name, recipe, channels.
MODELS = (
    ("ad hoc, HH", "patches:adhoc", ("hh",)),
    ("ad hoc, HH HV angle", "patches:adhoc", ("hh", "hv", "incidence_angle")),
    ("modified VGG-16, HH HV angle", "patches:modified_vgg16", ("hh", "hv", "incidence_angle")),
)


_HOW_BIG = (
    "How big this is: one training each (one seed), at full width, on patches of 32 × 32 pixels of 40 m: eight epochs "
    "of the ad hoc network, four of the modified VGG-16. With `--data simulated` they learn from 6,433 patches of 22 "
    "simulated scenes, where the paper had 19,029 patches of that size, of real scenes. Eight scenes are mapped."
)


def write_edge_page(
    rows: list[Row],
    functions: Functions,
    path: str | os.PathLike[str],
    *,
    command: str,
    overwrite: bool = False,
) -> Path:
    """The page of the study.

    Args:
        rows: of `run_edge`.
        functions: of `dense_or_patchwise`.
        path: ending in ``.md``.
        command: that made the rows.
        overwrite: replace what is there.
    """
    lines = [
        "| model | reference | over, km² | under, km² | IIEE, km² | agreement, % | median edge displacement, km |",
        "|---|---|---|---|---|---|---|",
    ]
    seeds = sorted({row["seed"] for row in rows})
    km2 = float(np.mean([row["compared_km2"] for row in rows])) / 1000
    for model in dict.fromkeys(row["model"] for row in rows):
        for reference in ("truth", "chart", "10 km"):
            mine = [row for row in rows if (row["model"], row["reference"]) == (model, reference)]
            cells = [_mean([row[name] for row in mine], 0) for name in _AREAS]
            cells += [_mean([row["agreement_percent"] for row in mine], 1)]
            cells += [_mean([row["median_km"] for row in mine if row["median_km"] is not None], 1)]
            lines.append(f"| {model} | {_REFERENCES[reference]} | " + " | ".join(cells) + " |")
    dense, patchwise = functions["dense"], functions["patchwise"]
    text = "\n\n".join(
        [
            "# How well maps place the ice edge",
            (
                "Simulated scenes that no model has learnt from, mapped with three patch classifiers (dense, a "
                "result every "
                "8 pixels of 40 m) and compared as `frazil compare` does (Table 6 and Figure 9 of the first paper)."
            ),
            _HOW_BIG,
            "## Before you read the numbers",
            SIMULATED,
            (
                "- *Truth* is the simulator's own class of every pixel; no service has that. The *chart* is drawn "
                "from it in "
                "cells of 5 km, ice from 15 % concentration; *10 km* is the true concentration in squares of 10 km, "
                "the best "
                "that passive microwave could do. Errors against these two hold the roughness of the reference too.\n"
                "- Means over scenes ± standard error; scenes differ far more than models do.\n"
                f"- About {km2:.0f} thousand km² of sea are compared in a scene. Leads and floes count: "
                "open water inside the pack that a patch of 1.3 km cannot show is error against the truth."
            ),
            "## Result",
            "\n".join(lines),
            "## Dense or patch by patch",
            (
                "The maps above were made densely. VGG pads with zeros inside every patch, so running it over "
                "the whole scene at once is another "
                "function than "
                f"cutting patches out. On {len(functions['seeds'])} windows, {functions['patches']} patches, stride "
                f"{functions['stride']}: same class in {100 * functions['same_class']:.2f} %, mean difference of "
                f"probabilities {functions['mean_difference']:.4f}, largest {functions['max_difference']:.3f}. "
                f"Against the truth, pixel by pixel: dense {100 * dense['accuracy']:.2f} %, patch by patch "
                f"{100 * patchwise['accuracy']:.2f} %; macro-F1 {100 * dense['macro_f1']:.2f} and "
                f"{100 * patchwise['macro_f1']:.2f}; ECE {dense['ece']:.3f} and {patchwise['ece']:.3f}."
            ),
            "## How it was made",
            (
                f"{datetime.now(UTC):%d %B %Y}, commit {git_commit()}, {platform.machine()}, {os.cpu_count()} "
                f"cores. Scenes "
                f"simulated from seeds {seeds[0]} to {seeds[-1]}; models trained once each (seed 0)."
            ),
            f"Command: `{command}`",
        ]
    )
    with whole_output(path, overwrite=overwrite) as part:
        part.write_text(text + "\n", encoding="utf-8")
    return Path(path)


_AREAS: Final = ("over_km2", "under_km2", "iiee_km2")
_REFERENCES = {"truth": "truth", "chart": "chart of 5 km cells", "10 km": "concentration, 10 km"}


def _mean(values: list[float], digits: int) -> str:
    if not values:
        return "no edge"
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return f"{np.mean(values):.{digits}f}" + ("" if np.isnan(error) else f" ± {error:.{digits}f}")
