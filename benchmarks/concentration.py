"""Concentration from maps of simulated scenes against their truth, and how far errors of pixels go together.

    python benchmarks/concentration.py [--fit 30100:30112] [--test 30000:30010] [-o out/concentration] [--page]

Scenes that the model has not learnt from are mapped on their own grid at 120 m, and cut into squares of about 1, 10 and
25 km. How far errors go together (`frazil.maps.concentration`) is fitted so that standard errors are, over the scenes
of --fit, as large as the errors; the scenes of --test then say how good that is. Squares of a scene are kept in the
output folder, so that a run that was broken off goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from frazil import predict
from frazil.conventions import CLASS_LAND, UNDECIDED
from frazil.files import replaced_file
from frazil.learn.checkpoint import DEFAULT_MODEL, Model, git_commit, load_model
from frazil.maps.concentration import COMMON_ERROR, ERROR_LENGTH_M, CellSums, shares
from frazil.simulate.scene import simulate_scene
from frazil.simulate.world import WorldConfig

ROOT = Path(__file__).resolve().parents[1]
CELLS_KM = (1, 10, 25)
PAGE = """# Concentration on simulated scenes

How big this is: {n_test} simulated Extra Wide scenes of 120 m (seeds {test}; measured signatures, the coast of
Severnaya Zemlya, season, wind, ice and noise errors drawn) that model `{model}` has not learnt
from, cut into squares of at least {least:.0%} observed sea; standard errors were fitted on {n_fit} others (seeds
{fit}). Simulated: on real ice the model may well be [further off](real-ice.md).

Errors of pixels have a share of **{common:.2f}** of their variance in common, and the rest goes together over
**{length:.1f} km**; `frazil concentration` uses {used_common:g} and {used_length:g} km.

| squares | number | mean error | rms error | rms of σ | within 1 σ | within 2 σ | by 5 points between the bounds |
| --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

Errors are concentration minus truth, in points of a hundred; rms: root mean square; σ: the standard error. A normal
error would lie within 1 σ in 68 % and within 2 σ in 95 % of the squares. The bounds take all undecided
sea for water and for ice.

By what the truth says, squares of 10 km:

| truth | number | mean error | rms error | rms of σ |
| --- | --- | --- | --- | --- |
{by_truth}

By scene, squares of 10 km, errors in points:

{by_scene}

Command: `{command}`, commit {commit}
"""


def squares(model: Model, seed: int, spacing_m: float) -> dict[str, np.ndarray]:
    """Sums of the pixels of one scene in squares of each size: ``{km}_{sea|ice|doubt|low|undecided|truth|all}``."""
    world = WorldConfig(seed=seed, signatures="measured")
    scene = simulate_scene("ew", seed=seed, world=world, spacing_m=spacing_m, land="gshhg")
    made = predict(scene, model, crs=None)
    truth, code = scene["ice_class"].values, made["ice_class"].values
    p = np.minimum(made["ice_probability"].values, 100) / 100
    sea = (truth < CLASS_LAND) & (code < CLASS_LAND)
    layers = {
        "all": np.ones(sea.shape),
        "sea": sea,
        "ice": p * sea,
        "doubt": p * (1 - p) * sea,
        "low": p * (sea & (code != UNDECIDED)),
        "undecided": sea & (code == UNDECIDED),
        "truth": sea & (truth > 0),
    }
    out = {}
    for km in CELLS_KM:
        side = round(km * 1000 / spacing_m)
        rows, columns = (n // side for n in sea.shape)
        for name, values in layers.items():
            whole = np.asarray(values, float)[: rows * side, : columns * side]
            out[f"{km}_{name}"] = whole.reshape(rows, side, columns, side).sum(axis=(1, 3)).ravel()
    return out


def errors(scenes: Sequence[dict[str, np.ndarray]], km: int, spacing_m: float, least: float) -> dict[str, np.ndarray]:
    """Of all squares with enough sea: concentration, truth, bounds; area and mean p (1 − p)."""
    joined = {
        name: np.concatenate([s[f"{km}_{name}"] for s in scenes])
        for name in ("all", "sea", "ice", "doubt", "low", "undecided", "truth")
    }
    keep = joined["sea"] >= least * joined["all"]
    pixel = (spacing_m / 1000) ** 2
    area = {name: values[keep] * pixel for name, values in joined.items()}
    number = np.concatenate([np.full(s[f"{km}_sea"].shape, i) for i, s in enumerate(scenes)])[keep]
    return {**area, "scene": number}


def sums_of(squares: dict[str, np.ndarray]) -> CellSums:
    """The squares as `frazil.maps.concentration` counts cells."""
    return CellSums(
        sea=squares["sea"],
        land=np.zeros_like(squares["sea"]),
        ice=squares["ice"],
        doubt=squares["doubt"],
        decided_ice=squares["low"],
        undecided=squares["undecided"],
    )


def fitted(scenes: Sequence[dict[str, np.ndarray]], spacing_m: float, least: float) -> tuple[float, float]:
    """Error length in metres and common share with which standard errors are, of every size of squares, the errors."""
    found = [errors(scenes, km, spacing_m, least) for km in CELLS_KM]
    off = [np.mean((one["ice"] - one["truth"]) ** 2 / one["sea"] ** 2) for one in found]

    def misfit(x: np.ndarray) -> float:
        told = [shares(sums_of(one), float(np.exp(x[0])), float(1 / (1 + np.exp(-x[1])))) for one in found]
        ratio = [o / np.mean(t["standard_error"] ** 2) for o, t in zip(off, told, strict=True)]
        return float(np.sum(np.log(ratio) ** 2))

    x = minimize(misfit, [np.log(1000.0), -1.5], method="Nelder-Mead").x
    return float(np.exp(x[0])), float(1 / (1 + np.exp(-x[1])))


def _row(squares: dict[str, np.ndarray], where: np.ndarray | None = None) -> list[str]:
    where = np.ones(squares["sea"].shape, bool) if where is None else where
    some = {name: values[where] for name, values in squares.items()}
    told = shares(sums_of(some))
    truth = some["truth"] / some["sea"]
    error = told["sea_ice_area_fraction"] - truth
    sigma = np.maximum(told["standard_error"], 1e-9)
    held = (truth >= told["fraction_low"] - 0.05) & (truth <= told["fraction_high"] + 0.05)
    if not error.size:
        return ["0", *["–"] * 6]
    return [
        str(error.size),
        f"{100 * error.mean():+.1f}",
        f"{100 * np.sqrt(np.mean(error**2)):.1f}",
        f"{100 * np.sqrt(np.mean(sigma**2)):.1f}",
        f"{100 * np.mean(np.abs(error) <= sigma):.0f} %",
        f"{100 * np.mean(np.abs(error) <= 2 * sigma):.0f} %",
        f"{100 * held.mean():.0f} %",
    ]


def page(
    fit: Sequence[dict[str, np.ndarray]],
    test: dict[int, dict[str, np.ndarray]],
    *,
    model: str,
    spacing_m: float,
    seeds: tuple[str, str],
    command: str,
    least: float = 0.5,
) -> str:
    """The page from the squares of the scenes."""
    length_m, common = fitted(fit, spacing_m, least)
    scenes = list(test.values())
    ten = errors(scenes, 10, spacing_m, least)
    truth = ten["truth"] / ten["sea"]
    kinds = {"below 15 %": truth < 0.15, "15 to 80 %": (truth >= 0.15) & (truth < 0.8), "80 % or more": truth >= 0.8}
    rows = [f"| {km} km | " + " | ".join(_row(errors(scenes, km, spacing_m, least))) + " |" for km in CELLS_KM]
    by_truth = [f"| {name} | " + " | ".join(_row(ten, where)[:4]) + " |" for name, where in kinds.items()]
    by_scene = ["| seed | squares | mean error | rms error | rms of σ |", "| --- | --- | --- | --- | --- |"]
    for i, seed in enumerate(test):
        by_scene.append(f"| {seed} | " + " | ".join(_row(ten, ten["scene"] == i)[:4]) + " |")
    return PAGE.format(
        n_test=len(test),
        test=seeds[1],
        n_fit=len(fit),
        fit=seeds[0],
        model=model,
        least=least,
        length=length_m / 1000,
        common=common,
        used_length=ERROR_LENGTH_M / 1000,
        used_common=COMMON_ERROR,
        rows="\n".join(rows),
        by_truth="\n".join(by_truth),
        by_scene="\n".join(by_scene),
        command=command,
        commit=git_commit(),
    )


def main() -> int:
    """Map what is not there yet, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--fit", default="30100:30112", help="FIRST:LAST, the last one left out")
    parser.add_argument("--test", default="30000:30010", help="likewise")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/concentration"))
    parser.add_argument("--page", action="store_true", help="write docs/results/concentration.md, too")
    given = parser.parse_args()
    model = load_model(given.model)
    given.output.mkdir(parents=True, exist_ok=True)
    groups: list[dict[int, dict[str, np.ndarray]]] = []
    for seeds in (given.fit, given.test):
        groups.append({})
        for seed in range(*map(int, seeds.split(":"))):
            file = given.output / f"{model.card.id}-{seed}.npz"
            if not file.is_file():
                with replaced_file(file) as part:
                    np.savez(part, allow_pickle=False, **squares(model, seed, model.card.spacing_m))
            with np.load(file) as kept:
                groups[-1][seed] = {name: kept[name] for name in kept.files}
            print(seed, file=sys.stderr, flush=True)
    command = f"python benchmarks/concentration.py --model {given.model} --fit {given.fit} --test {given.test} --page"
    text = page(
        list(groups[0].values()),
        groups[1],
        model=model.card.id,
        spacing_m=model.card.spacing_m,
        seeds=(given.fit, given.test),
        command=command,
    )
    for path in [given.output / "concentration.md"] + [ROOT / "docs" / "results" / "concentration.md"] * given.page:
        with replaced_file(path) as part:
            part.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
