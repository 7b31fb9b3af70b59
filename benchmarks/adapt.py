"""Does a scene teach the model? Class signatures re-estimated in the scene itself, against the network alone.

    python benchmarks/adapt.py [--model NAME|FOLDER] [--seeds 30000:30006] [--weight 0.25 0.5 1] [-o out/adapt]

The network's probabilities are averaged over cells of 960 m. Expectation and maximisation in turn then fit, for each
class, a mean of HH and of HV that falls linearly with incidence angle, and their covariance, from the cells weighted by
how probable the class is there; and weigh the network's probabilities anew by these Gaussians, to a power (the
weight). A guard leaves the scene alone if a class has too few cells or its mean walks off. Pixels take over the change
of the odds of their cell. Truth is that of the simulator, and on real pictures what is certain (benchmarks/real_ice).

References:
    Dempster, Laird & Rubin (1977), J. R. Stat. Soc. B 39: EM. Lohse, Doulgeris & Dierking (2020),
    doi:10.1017/aog.2020.45: Gaussians whose mean falls with incidence angle.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.flags import truth_of
from benchmarks.real_ice.scenes import lacking, pictures, read, scene_of
from benchmarks.real_ice.scores import Tally

from frazil import predict
from frazil.answer import CONFIDENCE_PERCENT, answers
from frazil.conventions import CLASS_LAND, UNDECIDED
from frazil.learn.checkpoint import DEFAULT_MODEL, Model, load_model
from frazil.percent import whole_percents
from frazil.scene.scaling import to_db
from frazil.simulate.scene import simulate_scene
from frazil.simulate.world import WorldConfig

ROOT = Path(__file__).resolve().parents[1]
CELL = 8  # pixels
_ROUNDS, _LEAST_CELLS, _FARTHEST_DB = 8, 200.0, 3.0
_FLOOR_DB2 = 0.5  # added to variances: no class is narrower than texture and noise make it


def cells(values: np.ndarray) -> np.ndarray:
    """Means over cells, NaN left out: (…, row, column)."""
    rows, columns = (n // CELL for n in values.shape[-2:])
    cut = values[..., : rows * CELL, : columns * CELL]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice")
        return np.nanmean(cut.reshape(*values.shape[:-2], rows, CELL, columns, CELL), axis=(-3, -1))


def adapt(p: np.ndarray, x: np.ndarray, angle: np.ndarray, weight: float) -> tuple[np.ndarray, bool]:
    """Probabilities after the scene has taught its signatures, and whether it could.

    Args:
        p: (class, cell), the network's.
        x: (2, cell), HH and HV, dB.
        angle: (cell,), degrees.
        weight: power of the Gaussians against the network, 0…1.
    """
    now, first = p, None
    design = np.stack([np.ones_like(angle), angle - 33.0])
    for _ in range(_ROUNDS):
        log = np.zeros_like(p)
        means = []
        for k, r in enumerate(now):
            sure = np.where(r > 0.5, r, 0.0)
            if sure.sum() < _LEAST_CELLS:  # a class that is hardly there keeps what the network says
                means.append(None)
                continue
            line = np.linalg.lstsq((design * np.sqrt(sure)).T, (x * np.sqrt(sure)).T, rcond=None)[0]
            rest = x - line.T @ design
            cov = (rest * sure) @ rest.T / sure.sum() + _FLOOR_DB2 * np.eye(2)
            means.append(line[0])
            solved = np.linalg.solve(cov, rest)
            log[k] = -0.5 * ((rest * solved).sum(0) + np.linalg.slogdet(cov)[1])
        known = [k for k, m in enumerate(means) if m is not None]
        if len(known) < 2:
            return p, False
        lost = [k for k in range(len(p)) if k not in known]
        log[lost] = log[known].mean(0)  # neither for nor against
        first = first or means
        moved = [np.abs(m - f).max() for m, f in zip(means, first, strict=True) if m is not None and f is not None]
        if max(moved) > _FARTHEST_DB:
            return p, False
        z = np.log(np.maximum(p, 1e-4)) + weight * log
        now = np.exp(z - z.max(0))
        now /= now.sum(0)
    return now, True


def adapted(made: xr.Dataset, scene: xr.Dataset, weight: float) -> tuple[xr.Dataset, bool]:
    """A map on the radar grid whose odds of ice have changed as those of its cells did."""
    sea = made["ice_class"].values < CLASS_LAND
    p = cells(np.where(sea, made["probability"].values / 100.0, np.nan))
    sigma0 = cells(np.where(sea, scene["sigma0"].values, np.nan))
    noise = cells(np.where(sea, scene["nesz"].values, np.nan))
    x = to_db(np.maximum(sigma0, 0.1 * noise).astype(np.float32)).astype(float)
    angle = cells(np.where(sea, scene["incidence_angle"].values, np.nan))
    use = np.isfinite(x).all(0) & np.isfinite(p).all(0)
    if not use.any():
        return made, False
    found, could = adapt(p[:, use], x[:, use], angle[use], weight)
    if not could:
        return made, False
    shift = np.zeros(use.shape)
    ice = [np.clip(1 - v[0], 0.005, 0.995) for v in (found, p[:, use])]
    shift[use] = np.log(ice[0] / (1 - ice[0])) - np.log(ice[1] / (1 - ice[1]))
    fine = np.zeros(sea.shape)
    up = shift.repeat(CELL, 0).repeat(CELL, 1)
    fine[: up.shape[0], : up.shape[1]] = up
    before = np.clip(made["ice_probability"].values / 100.0, 0.005, 0.995)
    after = 1 / (1 + (1 - before) / before * np.exp(-fine))
    percent = np.rint(np.stack([200 * (1 - after), 200 * after])).astype(np.uint8)
    code, confidence, ice_percent = answers(whole_percents(percent), CONFIDENCE_PERCENT)
    code = np.where(sea, np.where(code == UNDECIDED, UNDECIDED, np.minimum(code, 1)), made["ice_class"].values)
    out = made.copy()
    for name, values in (("ice_class", code), ("confidence", confidence), ("ice_probability", ice_percent)):
        out[name] = (made[name].dims, np.where(sea, values, made[name].values).astype(np.uint8))
    return out, True


def scenes(seeds: range, data: Path, model: Model) -> Iterator[tuple[str, str, xr.Dataset]]:
    """Kind, name and scene with ``truth``: simulated ones, then real pictures at 120 m where they are at hand."""
    for seed in seeds:
        world = WorldConfig(seed=seed, signatures="measured")
        scene = simulate_scene("ew", seed=seed, spacing_m=model.card.spacing_m, world=world)
        yield "simulated", str(seed), scene.assign(truth=(("line", "pixel"), truth_of(scene)))
    if missing := lacking(data):
        print(f"No real scenes: {missing}.", file=sys.stderr)
        return
    for look in map(read, pictures(data)):
        if look.kind != "unknown":
            yield f"real {look.kind}", look.name, scene_of(look, spacing_m=120.0)


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--seeds", default="30000:30006", help="FIRST:LAST, the last one left out")
    parser.add_argument("--weight", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    usual = Path(os.environ.get("FRAZIL_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=usual, help="the folder that holds real-ice/")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/adapt"))
    given = parser.parse_args()
    model = load_model(given.model)
    tallies: dict[tuple[str, str], Tally] = {}
    refused: dict[str, int] = {}
    for kind, name, scene in scenes(range(*map(int, given.seeds.split(":"))), given.data, model):
        made = predict(scene, model, crs=None)
        variants = {"network": made}
        for weight in given.weight:
            variants[f"adapted, weight {weight:g}"], could = adapted(made, scene, weight)
            refused[kind] = refused.get(kind, 0) + (not could)
        for variant, one in variants.items():
            tally = Tally.of_map(one, scene)
            tallies[kind, variant] = tallies.get((kind, variant), Tally()) + tally
        print(kind, name, file=sys.stderr, flush=True)
    rows: list[dict[str, Any]] = []
    print("| scenes | | likelier wrong | undecided | ice called water | water called ice | ECE |\n" + "|---" * 7 + "|")
    for (kind, variant), tally in sorted(tallies.items()):
        s = tally.scores()
        rows.append({"kind": kind, "variant": variant, **s})
        keys = ("likelier_wrong", "undecided", "ice_called_water_of_decided", "water_called_ice_of_decided")
        told = ["–" if s[k] is None else f"{100 * s[k]:.1f} %" for k in keys]
        print(f"| {kind} | {variant} | " + " | ".join([*told, f"{s['likelier_ece']:.3f}"]) + " |")
    print("left alone by the guard:", refused)
    given.output.mkdir(parents=True, exist_ok=True)
    (given.output / "adapt.json").write_text(json.dumps({"rows": rows, "refused": refused}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
