"""Does a scene teach the model? Class signatures re-estimated in the scene itself, against the network alone.

    python benchmarks/adapt.py [--model NAME|FOLDER] [--seeds 30000:30006] [--weight 0.25 0.5 1] [-o out/adapt]

`frazil.predict` does this with ``adapt=``; `frazil.learn.predict.adapt` says how. Here each scene goes through the
network once, and what it teaches is weighed differently. Truth is that of the simulator, and on real pictures at 120 m
what is certain (benchmarks/real_ice).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
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
from frazil.conventions import CLASS_LAND
from frazil.learn.checkpoint import DEFAULT_MODEL, Model, load_model
from frazil.learn.predict.adapt import adapt
from frazil.percent import whole_percents
from frazil.simulate.scene import simulate_scene
from frazil.simulate.world import WorldConfig

ROOT = Path(__file__).resolve().parents[1]


def adapted(made: xr.Dataset, scene: xr.Dataset, weight: float) -> tuple[xr.Dataset, bool]:
    """A map on the radar grid as `frazil.predict` would have made it with this weight, and whether the guard let it."""
    sea = made["ice_class"].values < CLASS_LAND
    half = np.where(sea, 2 * made["probability"].values, 255).astype(np.uint8)
    could = adapt(half, scene, sea, weight)
    code, confidence, ice = answers(whole_percents(np.where(sea, half, 0).astype(np.uint8)), CONFIDENCE_PERCENT)
    out = made.copy()
    for name, values in (("ice_class", code), ("confidence", confidence), ("ice_probability", ice)):
        out[name] = (made[name].dims, np.where(sea, values, made[name].values).astype(np.uint8))
    return out, could


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
