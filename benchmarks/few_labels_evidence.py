"""What the second paper shows in pictures: descriptors before and after the second stage of TSLP, and maps.

    python benchmarks/few_labels_evidence.py simulated.zarr --split split.json -o docs/results/few-labels

TSLP and the supervised network are trained once, with the settings of the study of few labels, on draw 0. Written are
``…-features.png``: the teacher's descriptors of the pool at the end of the first stage and of the second, and the
student's, in principal components with true classes (as figure 4 of the paper), for 15, 60 and 1000 labels; and
``…-maps.png``: a held-out simulated scene, its truth, and the maps of both networks with 60 labels (as figure 5).

References:
    Khaleghian (2022), paper 2, figures 4 and 5.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from frazil.conventions import BINARY
from frazil.learn.checkpoint import Model
from frazil.learn.config import RunConfig, override
from frazil.learn.data.learning_data import LearningData
from frazil.learn.data.load import load_data
from frazil.learn.data.patches import UNLABELLED
from frazil.learn.data.pool import Pool
from frazil.learn.predict.ice import predict
from frazil.learn.propagation.neighbours import nearest_neighbours
from frazil.learn.propagation.picture import draw_descriptors
from frazil.learn.run import finish, first_network
from frazil.learn.strategies import make_plan, make_strategy
from frazil.learn.train import seed_everything, train_loop
from frazil.metrics import confusion_counts, scores
from frazil.recipes import find_recipe
from frazil.studies.edge import held_out_scene

CPU = torch.device("cpu")
SCENE, LINES = 5203, (1200, 2800)
COMMON = {
    "data.channels": "hh,hv,incidence_angle",
    "data.class_scheme": "binary",
    "data.size": "20",
    "data.limit": "1500",
    "model.settings": '{"width":8,"dropout":0.0}',
}
SETTINGS = {
    "supervised": {"optim.steps": "300", "optim.lr": "0.008"},
    "tslp": {
        "optim.epochs": "8",
        "strategy.first_steps": "300",
        "optim.lr": "0.02",
        "strategy.first_lr": "0.008",
        "strategy.teacher_lr": "0.001",
    },
}
Panels = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """A model, and descriptors of the pool with their hidden labels."""

    model: Model
    panels: Panels


def train(method: str, count: int, store: Path, split: Path) -> Trained:
    """Train as the study does, and look at the teacher where its stages end."""
    changes = {**COMMON, **SETTINGS[method], "data.patches": str(store), "data.split": str(split)}
    config = override(find_recipe(f"few_labels:{method}"), {**changes, "labels.count": str(count)})
    seed_everything(config.seed)
    data = load_data(config)
    network = first_network(config, data).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    plan = make_plan(config, data)
    config = replace(config, optim=replace(config.optim, steps=plan.steps))
    strategy = make_strategy(config, network, data, CPU)
    panels: Panels = {}

    def look(step: int, _logs: dict[str, float]) -> None:
        if plan.first and step == plan.first - 1:
            panels["teacher, end of stage 1"] = described(strategy.networks["teacher"], data, config)

    done = train_loop(strategy, config.optim, log=look)
    if plan.first:
        panels["teacher, end of stage 2"] = described(strategy.networks["teacher"], data, config)
        panels["student, end of stage 2"] = described(strategy.networks["student"], data, config)
    with tempfile.TemporaryDirectory() as folder:
        return Trained(model=finish(strategy.result, config, data, done, Path(folder), CPU), panels=panels)


def described(network: torch.nn.Module, data: LearningData, config: RunConfig) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors and hidden labels of the pool."""
    assert data.unlabelled is not None
    pool = Pool(data.train.patches, data.unlabelled, seed=config.seed)  # type: ignore[attr-defined]
    label = np.concatenate([pool.labelled.label, pool.unlabelled.label]).astype(int)
    return pool.descriptors(network, CPU), np.where(label == UNLABELLED, -1, label)


def apart(panels: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """How well classes stand apart: share of patches whose nearest other patch is of their class."""
    told = []
    for name, (features, labels) in panels.items():
        place, _ = nearest_neighbours(features, 1)
        told.append(f"{name} {100 * (labels[place[:, 0]] == labels).mean():.1f} %")
    return ", ".join(told)


def draw_maps(models: Mapping[str, Model], path: Path) -> None:
    """A scene, its truth, and the likelier class everywhere by each model, with the share of pixels that are right."""
    scene = held_out_scene(SCENE, LINES)
    code = scene["ice_class"].values
    truth = np.where(code < 5, np.minimum(code, 1), 255)
    every = 4
    height, width = (n // every for n in truth.shape)
    power = scene["sigma0"].values[1][: height * every, : width * every].reshape(height, every, width, every)
    hv = 10 * np.log10(np.maximum(power.mean(axis=(1, 3)), 1e-5))
    panels = {"truth": truth[::every, ::every]}
    for name, model in models.items():
        made = predict(scene.drop_vars("ice_class"), model, crs=None, function="dense", stride=8)
        found = likelier(made, truth.shape)
        mine = (truth < 2) & (found < 2)
        panels["truth"] = np.where(found < 2, truth, 255)[::every, ::every]  # land is not mapped
        got = scores(confusion_counts(truth[mine].astype(np.uint8), found[mine], 2))
        panels[f"{name}: {100 * got['accuracy']:.1f} % right, mean recall {100 * got['balanced_accuracy']:.1f} %"] = (
            found[::every, ::every]
        )
        print(list(panels)[-1], flush=True)
    colours = ListedColormap(np.array([c.colour for c in BINARY.classes]) / 255)
    figure = Figure(figsize=(9, 0.4 + (len(panels) + 1) * (0.25 + 8.6 * height / width)), dpi=100, layout="constrained")
    grid = figure.subplots(len(panels) + 1, 1)
    grid[0].imshow(hv, cmap="gray", vmin=-32, vmax=-16, interpolation="nearest")
    grid[0].set_title(f"HV, simulated scene {SCENE}, held out", fontsize=9)
    for axes, (title, classes) in zip(grid[1:], panels.items(), strict=True):
        shown = np.ma.masked_where(classes > 1, classes)
        axes.imshow(shown, cmap=colours, vmin=0, vmax=1, interpolation="nearest")
        axes.set_facecolor("#999999")
        axes.set_title(title, fontsize=9)
    for axes in grid:
        axes.set_xticks([])
        axes.set_yticks([])
    handles = [Patch(facecolor=np.array(c.colour) / 255, edgecolor="0.5", label=c.title) for c in BINARY.classes]
    handles.append(Patch(facecolor="#999999", label="Land"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.savefig(path, format="png")


def likelier(made: xr.Dataset, shape: tuple[int, int]) -> np.ndarray:
    """The likelier class uint8 of a map on the grid of the scene, 255 where there is none."""
    percent = made["ice_probability"].values
    code = np.where(percent > 100, 255, percent >= 50).astype(np.uint8)
    rows, columns = (np.minimum(np.arange(n) * m // n, m - 1) for n, m in zip(shape, code.shape, strict=True))
    return code[np.ix_(rows, columns)]


def main() -> int:
    """Train, draw, and print how well classes stand apart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True, help="beginning of the pictures' names")
    parser.add_argument("--labels", default="15,60,1000", help="of descriptors; maps are drawn with 60")
    given = parser.parse_args()
    counts = [int(word) for word in given.labels.split(",")]
    rows: dict[str, Panels] = {}
    for count in counts:
        made = train("tslp", count, given.store, given.split)
        rows[f"{count} labels"] = made.panels
        print(count, "labels:", apart(made.panels), flush=True)
        if count == 60:
            alone = train("supervised", count, given.store, given.split)
            models = {"supervised, 60 labels": alone.model, "TSLP, 60 labels": made.model}
            draw_maps(models, Path(f"{given.output}-maps.png"))
    if len(counts) > 1:
        draw_descriptors(rows, f"{given.output}-features.png", scheme=BINARY, overwrite=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
