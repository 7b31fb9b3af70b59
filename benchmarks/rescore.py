"""Score a model anew on simulated scenes of today's simulator, and write the scores into its card.

    python benchmarks/rescore.py FOLDER [--seeds 30000:30010]

A card keeps the scores of the day it was made; where the simulator or what is scored has changed since, they tell too
little. Scenes are made as the model's own were, with the seeds given, which it must not have learnt from.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields, replace
from pathlib import Path

from frazil.learn.checkpoint import git_commit, load_model, save_model
from frazil.learn.config import SimulatedData
from frazil.learn.data.load import HeldOutScenes
from frazil.learn.data.scenes import simulate_labelled
from frazil.learn.models import view_of


def main() -> int:
    """Simulate, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", default="30000:30010", help="FIRST:LAST, the last one left out")
    given = parser.parse_args()
    model = load_model(given.folder)
    card, own = model.card, model.card.training["config"]["data"]
    seeds = tuple(range(*map(int, given.seeds.split(":"))))
    learnt = {*own["train_seeds"], *own["validation_seeds"]} & set(seeds)
    if learnt:
        print(f"Error: the model has learnt from seeds {sorted(learnt)}. Give others.", file=sys.stderr)
        return 1
    known = {f.name for f in fields(SimulatedData)}
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in own.items() if k in known}
    config = SimulatedData(**settings | {"train_seeds": (), "validation_seeds": (), "test_seeds": seeds})
    scenes = simulate_labelled(seeds, config, view=view_of(card.architecture, card.settings))
    scores = HeldOutScenes(scenes, card.scheme).score(model.network, temperature=card.temperature).to_json()
    left_out = ("confusion_per_scene", "reliability")
    told = {k: v for k, v in scores.items() if k not in left_out}
    which = f"seeds {seeds[0]} to {seeds[-1]}, {config.signatures} signatures, simulator at {git_commit()[:7]}"
    told["data"] = f"{len(seeds)} held-out simulated scenes ({which})"
    if "real" in card.scores:
        told["real"] = card.scores["real"]
    save_model(model.network, replace(card, scores=told), given.folder, in_run=True)
    print(told["data"], told["accuracy"], told["ice_water"]["decided"], "ECE", told["ice_water"]["ece"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
