"""Few labels on one scene: learning curves over clicks, of ways to learn from them and ways to choose them.

    python benchmarks/clicks.py [--seeds 30000:30008] [--choice 30010:30014] [-o out/clicks] [--page]

Simulated Extra Wide scenes that no model of the package has learnt from, whose truth answers every click; and, where
they are at hand, two real Antarctic ice edges, of which certain water and certain pack alone are clicked and scored.
Rows are kept as they come, so that a run that was broken off goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.real_ice.scenes import lacking, pictures, read, scene_of

from frazil.conventions import CLASS_LAND
from frazil.learn.cells.cells import Cells, load_cells, save_cells
from frazil.learn.cells.look import look_at
from frazil.learn.cells.pixels import taught_map
from frazil.learn.cells.places import CHOICES, Choice, next_places
from frazil.learn.cells.teach import TeachSettings, softmax, teach
from frazil.learn.checkpoint import DEFAULT_MODEL, load_model
from frazil.scene.grid import MapGrid, plan_warp
from frazil.simulate.scene import simulate_scene
from frazil.simulate.world import WorldConfig

CLICKS = (5, 10, 15, 25, 40, 60, 100, 200)
STEPS = (5, 7, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 125, 150, 200)  # of queues: the map is learnt anew at each
SEEDS = 5
PURE = 0.8  # of a cell that is clicked, so much is of one class: analysts label what they can tell
THIN = 3  # every so many cells along a side are in the study
FEW = (5, 15, 60, 200)  # clicks of the ways that are slow
SLOW = ("logistic", "forest", "sloped", "label propagation")
PLAIN = ("HH", "HV", "angle", *(f"{b} {w} {n}" for n in (3, 9, 27) for b in ("HH", "HV") for w in ("mean", "spread")))
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Scene:
    """Cells of a scene with their truth: int64 (cell,), −1 where it is not known, and how pure each is."""

    name: str
    cells: Cells
    truth: np.ndarray
    pure: np.ndarray

    @property
    def real(self) -> bool:
        return self.name.startswith("real")


def thin(cells: Cells, step: int) -> tuple[Cells, np.ndarray]:
    """Cells of every so many rows and columns, and their numbers among all; the grid stays."""
    number = np.full(cells.number.shape, -1, np.int32)
    kept = cells.number[::step, ::step]
    old = kept[kept >= 0]
    number[::step, ::step][kept >= 0] = np.arange(len(old))
    return (
        replace(
            cells,
            number=number,
            features=cells.features[old],
            log_probability=cells.log_probability[old],
            rim=cells.rim[old],
        ),
        old,
    )


def truth_of_cells(codes: np.ndarray, cells: Cells, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The commonest class of the pixels of each cell (−1 where less than half is known), and its share of the known."""
    side, (rows, columns) = cells.side, cells.grid.shape
    blocks = codes[: rows * side, : columns * side].reshape(rows, side, columns, side)
    counts = np.stack([(blocks == k).sum(axis=(1, 3)) for k in range(n_classes)])[:, cells.number >= 0]
    known = counts.sum(axis=0)
    enough = known >= side * side / 2
    return np.where(enough, counts.argmax(axis=0), -1), counts.max(axis=0) / np.maximum(known, 1)


def prepared(name: str, folder: Path, make: Callable[[], tuple[xr.Dataset, np.ndarray]]) -> Scene:
    """A scene looked at, from the folder or made: map, cells and truth."""
    cells_file, truth_file = folder / f"{name}-cells.npz", folder / f"{name}-truth.npz"
    if not truth_file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        scene, codes = make()
        ice_map, cells = look_at(scene, load_model(DEFAULT_MODEL))
        grid = MapGrid.of(ice_map)
        truth = plan_warp(scene, grid).nearest(codes, 255)
        truth = np.where(ice_map["ice_class"].values < CLASS_LAND, truth, np.uint8(255))
        save_cells(cells, cells_file)
        kept = ice_map[["probability", "ice_class", "ice_probability", "confidence", "quality_flags"]]
        with (folder / f"{name}-map.npz").open("wb") as file:
            planes: dict[str, Any] = {str(k): v.values for k, v in kept.items()}
            np.savez_compressed(file, truth=truth, **planes)
        code, pure = truth_of_cells(truth, cells, len(cells.scheme.classes))
        with truth_file.open("wb") as file:
            np.savez(file, code=code, pure=pure)
        print(f"{name}: looked at, {len(cells)} cells", file=sys.stderr, flush=True)
    with np.load(truth_file) as told:
        code, pure = told["code"], told["pure"]
    cells, old = thin(load_cells(cells_file), THIN)
    return Scene(name, cells, code[old], pure[old])


def simulated(seed: int) -> tuple[xr.Dataset, np.ndarray]:
    world = WorldConfig(seed=seed, signatures="measured")
    scene = simulate_scene("ew", seed=seed, world=world, spacing_m=120.0, land="gshhg")
    return scene, scene["ice_class"].values


def real_edge(picture: Path) -> tuple[xr.Dataset, np.ndarray]:
    """A real ice edge; certain pack is called level ice here, for the class of ice is not known and not scored."""
    scene = scene_of(read(picture), spacing_m=120.0)
    truth = scene["truth"].values
    return scene, np.where(truth < 0, 255, np.where(truth > 0, 3, 0)).astype(np.uint8)


# ---- ways to learn ---------------------------------------------------------------------------------------------------


def columns(cells: Cells, names: tuple[str, ...]) -> np.ndarray:
    return cells.features[:, [cells.names.index(n) for n in names]]


def network(cells: Cells, _where: np.ndarray, _codes: np.ndarray, _seed: int) -> np.ndarray:
    return cells.log_probability


def kernel(cells: Cells, where: np.ndarray, codes: np.ndarray, _seed: int) -> np.ndarray:
    return teach(cells, where, codes).logits


def kernel_alone(cells: Cells, where: np.ndarray, codes: np.ndarray, _seed: int) -> np.ndarray:
    return teach(cells, where, codes, settings=TeachSettings(network=0)).logits


def kernel_unwatched(cells: Cells, where: np.ndarray, codes: np.ndarray, _seed: int) -> np.ndarray:
    """Without what the network sees before its last layer."""
    names = tuple(n for n in cells.names if not n.startswith("seen"))
    return teach(replace(cells, features=columns(cells, names), names=names), where, codes).logits


def _sklearn(model: Any, x: np.ndarray, where: np.ndarray, codes: np.ndarray, n_classes: int) -> np.ndarray:
    out = np.full((len(x), n_classes), -30.0)
    if len(np.unique(codes)) == 1:
        out[:, codes[0]] = 0
        return out
    model.fit(x[where], codes)
    out[:, model.classes_] = np.log(np.maximum(model.predict_proba(x), 1e-9))
    return out


def logistic_plain(cells: Cells, where: np.ndarray, codes: np.ndarray, _seed: int) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    x = columns(cells, PLAIN)
    return _sklearn(LogisticRegression(max_iter=500), x, where, codes, cells.log_probability.shape[1])


def logistic_all(cells: Cells, where: np.ndarray, codes: np.ndarray, _seed: int) -> np.ndarray:
    """Ridge: multinomial logistic regression with a quadratic penalty, on all features."""
    from sklearn.linear_model import LogisticRegression

    return _sklearn(LogisticRegression(max_iter=500), cells.features, where, codes, cells.log_probability.shape[1])


def forest_plain(cells: Cells, where: np.ndarray, codes: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.ensemble import RandomForestClassifier

    x = columns(cells, PLAIN)
    model = RandomForestClassifier(100, random_state=seed)
    return _sklearn(model, x, where, codes, cells.log_probability.shape[1])


def gaussian(cells: Cells, where: np.ndarray, codes: np.ndarray, _seed: int) -> np.ndarray:
    """Gaussians of HH and HV with one covariance and the slopes of the scene, times the network's odds."""
    x = columns(cells, ("HH", "HV")).astype(float)
    angle = columns(cells, ("angle",))[:, 0].astype(float)
    slope = np.linalg.lstsq(np.stack([angle, np.ones_like(angle)], 1), x, rcond=None)[0][0]
    x = x - angle[:, None] * slope  # of the scene as a whole: units are standard deviations here
    means = {k: x[where[codes == k]].mean(axis=0) for k in np.unique(codes)}
    rest = np.concatenate([x[where[codes == k]] - m for k, m in means.items()])
    inverse = np.linalg.inv((rest.T @ rest + 5 * 0.15 * np.eye(2)) / (len(rest) + 5))
    out = np.full((len(x), cells.log_probability.shape[1]), -30.0)
    for k, m in means.items():
        d = x - m
        out[:, k] = -0.5 * ((d @ inverse) * d).sum(axis=1)
    return out + 0.3 * cells.log_probability


def propagation(cells: Cells, where: np.ndarray, codes: np.ndarray, seed: int) -> np.ndarray:
    """The thesis's label propagation on a graph of 20,000 cells; other cells take after their nearest."""
    from scipy.spatial import cKDTree

    from frazil.learn.propagation.graph import propagate_labels

    rng = np.random.default_rng(seed)
    nodes = np.unique(np.concatenate([where, rng.choice(len(cells), min(20_000, len(cells)), replace=False)]))
    labels = np.full(len(nodes), -1)
    labels[np.searchsorted(nodes, where)] = codes
    found = propagate_labels(cells.features[nodes], labels, n_classes=cells.log_probability.shape[1], mass="uniform")
    score = np.log(np.maximum(found.score / np.maximum(found.score.sum(axis=1, keepdims=True), 1e-30), 1e-6))
    unit = cells.features[:, :15]
    return score[cKDTree(unit[nodes]).query(unit, workers=1)[1]]


HEADS: dict[str, Callable[[Cells, np.ndarray, np.ndarray, int], np.ndarray]] = {
    "network": network,
    "kernel": kernel,
    "kernel, network's answer left out": kernel_alone,
    "kernel, network not watched": kernel_unwatched,
    "logistic, all features": logistic_all,
    "logistic, plain features": logistic_plain,
    "forest, plain features": forest_plain,
    "sloped Gaussians": gaussian,
    "label propagation": propagation,
}


# ---- scores ----------------------------------------------------------------------------------------------------------


def macro_f1(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean F1 of the classes that are there in truth."""
    scores = []
    for k in np.unique(truth):
        both = np.sum((found == k) & (truth == k))
        scores.append(2 * both / max(np.sum(found == k) + np.sum(truth == k), 1))
    return float(np.mean(scores))


def balanced_ice(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean of the shares of ice and of water that are found."""
    return float(np.mean([np.mean((found > 0)[(truth > 0) == ice] == ice) for ice in (False, True)]))


def scores(scene: Scene, logits: np.ndarray, clicked: np.ndarray) -> Row:
    """On all cells of known truth that were not clicked."""
    use = scene.truth >= 0
    use[clicked] = False
    p, truth = softmax(logits[use].astype(float)), scene.truth[use]
    found = p.argmax(axis=1)
    right = (found > 0) == (truth > 0) if scene.real else found == truth
    sure = np.maximum(p[:, 0], 1 - p[:, 0]) if scene.real else p.max(axis=1)
    bins = np.minimum((sure * 15).astype(int), 14)
    n, hit, said = (np.bincount(bins, weights=w, minlength=15) for w in (np.ones(len(bins)), right, sure))
    row = {"right": float(right.mean()), "ece": float(np.abs(hit - said).sum() / n.sum())}
    if scene.real:
        return row | {"balanced_ice": balanced_ice(found, truth)}
    return row | {"f1": macro_f1(found, truth)}


def in_turn(scene: Scene, n: int, seed: int) -> np.ndarray:
    """Clicks of somebody who marks a clear place of each class in turn, anywhere."""
    rng = np.random.default_rng(seed)
    clear = (scene.truth >= 0) & (scene.pure >= PURE)
    by_class = [rng.permutation(np.flatnonzero(clear & (scene.truth == k))) for k in np.unique(scene.truth[clear])]
    order = [c[i] for i in range(max(map(len, by_class))) for c in by_class if i < len(c)]
    return np.array(order[:n])


def by_queue(scene: Scene, choice: Choice, seed: int) -> list[tuple[int, np.ndarray]]:
    """Clicks that a queue proposes after five in turn, learning between: number of clicks, cells."""
    clicked = in_turn(scene, STEPS[0], seed)
    out = [(len(clicked), clicked)]
    askable = scene.truth >= 0
    for n in STEPS[1:]:
        logits = teach(scene.cells, clicked, scene.truth[clicked]).logits
        p = softmax(logits)
        p[~askable] = np.eye(p.shape[1])[0]  # of what nobody can answer, the queue is sure
        found = next_places(scene.cells, p, clicked, 4 * n, choice=choice, seed=seed * 1000 + n, place_km=4.0)
        clicked = np.concatenate([clicked, found[askable[found]][: n - len(clicked)]])
        out.append((len(clicked), clicked))
    return out


# ---- the study -------------------------------------------------------------------------------------------------------


def run(scene: Scene, rows: dict[tuple, Row], keep: Callable[[Row], None], heads: bool, queues: bool) -> None:
    """All that is missing of a scene."""
    for seed in range(SEEDS):
        for clicks in CLICKS if heads else ():
            where = in_turn(scene, clicks, seed)
            for name, head in HEADS.items():
                key = (scene.name, "head", name, seed, clicks)
                if key not in rows and (clicks in FEW or not name.startswith(SLOW)):
                    made = head(scene.cells, where, scene.truth[where], seed)
                    keep(dict(zip(KEY, key, strict=True)) | scores(scene, made, where))
        for choice in CHOICES if queues else ():
            if (scene.name, "queue", choice, seed, CLICKS[-1]) in rows:
                continue
            for n, where in by_queue(scene, choice, seed):
                if n in CLICKS:
                    made = teach(scene.cells, where, scene.truth[where]).logits
                    keep(
                        dict(zip(KEY, (scene.name, "queue", choice, seed, n), strict=True)) | scores(scene, made, where)
                    )


KEY = ("scene", "part", "name", "seed", "clicks")


def on_pixels(scene: Scene, folder: Path, keep: Callable[[Row], None], rows: dict[tuple, Row]) -> None:
    """The map of pixels, as the desk gives it, against the network's, at 15 and 60 clicks of one seed."""
    wanted = [n for n in (15, 60) if (scene.name, "pixels", "kernel", 0, n) not in rows]
    if not wanted:
        return
    cells = load_cells(folder / f"{scene.name}-cells.npz")
    with np.load(folder / f"{scene.name}-map.npz") as told:
        planes = {k: told[k] for k in told.files}
    truth = planes.pop("truth")
    dims = {k: ("category", "y", "x") if v.ndim == 3 else ("y", "x") for k, v in planes.items()}
    y, x = (np.arange(n) for n in truth.shape)
    grid = replace(cells.grid, spacing_m=cells.grid.spacing_m / cells.side, shape=truth.shape)
    ice_map = xr.Dataset({k: (dims[k], v) for k, v in planes.items()}, grid.coords(), {"class_scheme": "five_classes"})
    assert len(y) == truth.shape[0]
    assert len(x) == truth.shape[1]
    known = (truth != 255) & (planes["ice_class"] < CLASS_LAND)
    old = thin(cells, THIN)[1]
    for n in wanted:
        where = in_turn(scene, n, 0)
        made = taught_map(ice_map, cells, teach(cells, old[where], scene.truth[where]))
        for name, probability in (("network", planes["probability"]), ("kernel", made["probability"].values)):
            found = probability.argmax(axis=0)[known]
            score = macro_f1(found, truth[known]) if not scene.real else balanced_ice(found, truth[known])
            row = {"balanced_ice" if scene.real else "f1": score, "right": float((found == truth[known]).mean())}
            keep(dict(zip(KEY, (scene.name, "pixels", name, 0, n), strict=True)) | row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="30000:30008")
    parser.add_argument("--choice", default="30010:30014", help="scenes on which the way to learn was chosen")
    parser.add_argument("-o", "--output", default="out/clicks", type=Path)
    parser.add_argument("--data", default=os.environ.get("FRAZIL_TEST_DATA", "../shared/data"), type=Path)
    parser.add_argument("--only", choices=["heads", "queues", "pixels"], action="append")
    parser.add_argument("--page", action="store_true", help="write docs/results/clicks.md from the rows that are there")
    args = parser.parse_args()
    if args.page:
        from benchmarks.clicks_page import write_page

        write_page(args.output)
        return
    scenes: list[tuple[str, Callable[[], tuple[xr.Dataset, np.ndarray]]]] = []
    for text in (args.choice, args.seeds):
        first, last = map(int, text.split(":"))
        scenes += [(str(seed), partial(simulated, seed)) for seed in range(first, last)]
    why = lacking(args.data)
    if why:
        print(f"No real scenes: {why}.", file=sys.stderr)
    else:
        edges = [p for p in pictures(args.data) if read(p).kind == "edge"]
        scenes += [(f"real-{read(p).name}", partial(real_edge, p)) for p in edges]
    args.output.mkdir(parents=True, exist_ok=True)
    file = args.output / "rows.jsonl"
    rows = {
        tuple(r[k] for k in KEY): r for r in map(json.loads, file.read_text().splitlines() if file.exists() else [])
    }

    def keep(row: Row) -> None:
        rows[tuple(row[k] for k in KEY)] = row
        with file.open("a") as out:
            out.write(json.dumps(row) + "\n")

    parts = args.only or ["heads", "queues", "pixels"]
    for name, make in scenes:
        scene = prepared(name, args.output, make)
        run(scene, rows, keep, "heads" in parts, "queues" in parts)
        if "pixels" in parts:
            on_pixels(scene, args.output, keep, rows)
        print(f"{name}: done", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
