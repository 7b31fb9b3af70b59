"""Simulated scenes through `frazil.predict`: ice against water by scene, and whether flags stand where maps are wrong.

    python benchmarks/flags.py [--model NAME|FOLDER] [--seeds 30000:30010] [-o out/flags] [--page]

Scenes that no model of the package has learnt from, with measured signatures and the real coast of the template's
place, are mapped on their own grid at 120 m and held against their truth. A flag that is no warning has to go: errors
inside it must exceed those outside.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.real_ice.scenes import UNKNOWN
from benchmarks.real_ice.scores import Tally

from frazil import predict
from frazil.conventions import CLASS_LAND
from frazil.files import replaced_file
from frazil.learn.checkpoint import DEFAULT_MODEL, Model, git_commit, load_model
from frazil.simulate.scene import simulate_scene
from frazil.simulate.world import WorldConfig

ROOT = Path(__file__).resolve().parents[1]
PAGE = """# Flags and undecided pixels on simulated scenes

How big this is: {n} simulated Extra Wide scenes of 120 m (seeds {first} to {last}; measured signatures, the coast of
Severnaya Zemlya, season, wind, ice and noise errors drawn) that model `{model}` has not learnt from, mapped as products
are. They are simulated: what is true of them need not be of real ice (see [there](real-ice.md)). Truth is ice
of any class against open water, pixel by pixel.

## By scene

| seed | season | ice | likelier right | undecided | right of the rest | five classes right |
| --- | --- | --- | --- | --- | --- | --- |
{scenes}
| all | | {all_ice} | {all_likelier} | {all_undecided} | {all_decided} | |

Expected calibration error of P(ice): {ece:.3f}. Mean confidence where the likelier answer is wrong: {confidence:.2f}.

## More or less undecided

| asked | undecided | ice called water | water called ice |
| --- | --- | --- | --- |
{trade}

## Flags

How often the likelier answer is wrong inside a flag, and outside it.

| flag | share of the sea | wrong inside | wrong outside |
| --- | --- | --- | --- |
{flags}

{shown}

Command: `{command}`, commit {commit}
"""
SHOWN = "## What it shows"


def truth_of(scene: xr.Dataset) -> np.ndarray:
    """Ice 1, water 0, `UNKNOWN` on land and where nothing was observed: int8 (line, pixel)."""
    codes = scene["ice_class"].values
    return np.where(codes < CLASS_LAND, np.minimum(codes, 1).astype(np.int8), np.int8(UNKNOWN))


def measure(model: Model, seed: int, **scene_options: Any) -> dict[str, Any]:
    """One scene, mapped: its tally, season, share of ice, and how many of the five classes are right where it is."""
    world = WorldConfig(seed=seed, signatures="measured")
    options: dict[str, Any] = {"spacing_m": model.card.spacing_m, "land": "gshhg"} | scene_options
    scene = simulate_scene("ew", seed=seed, world=world, **options)
    made = predict(scene, model, crs=None)
    truth, codes = scene["ice_class"].values, made["probability"].values.argmax(axis=0)
    known = (truth < CLASS_LAND) & (made["ice_class"].values < CLASS_LAND)
    tally = Tally.of_map(made, scene.assign(truth=(("line", "pixel"), truth_of(scene))))
    right = float((codes[known] == truth[known]).mean()) if known.any() else float("nan")
    return {"seed": seed, "season": scene.attrs["season"], "tally": tally, "classes_right": right, **tally.scores()}


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def page(rows: Sequence[dict[str, Any]], model: str, command: str, shown: str) -> str:
    """The page from the rows of `measure`."""
    pool = sum((row["tally"] for row in rows), Tally()).scores()

    def ice(row: dict[str, Any]) -> str:
        return _percent(row["known_ice"] / max(row["known_ice"] + row["known_water"], 1))

    def decided(row: dict[str, Any]) -> dict[str, float | None]:
        return next(t for t in row["trade"] if t["confidence_percent"] == 80)

    def rest(row: dict[str, Any]) -> str:
        wrong = decided(row)["wrong"]
        return _percent(None if wrong is None else 1 - wrong)

    scenes = [
        f"| {r['seed']} | {r['season']} | {ice(r)} | {_percent(1 - r['likelier_wrong'])} | "
        f"{_percent(decided(r)['undecided'])} | {rest(r)} | {_percent(r['classes_right'])} |"
        for r in rows
    ]
    trade = [
        f"| {t['confidence_percent']} % | {_percent(t['undecided'])} | {_percent(t['ice_called_water'])} | "
        f"{_percent(t['water_called_ice'])} |"
        for t in pool["trade"]
    ]
    flags = [
        f"| {name} | " + " | ".join(_percent(f[k]) for k in ("share", "wrong_inside", "wrong_outside")) + " |"
        for name, f in pool["flags"].items()
    ]
    return PAGE.format(
        n=len(rows),
        first=rows[0]["seed"],
        last=rows[-1]["seed"],
        model=model,
        scenes="\n".join(scenes),
        all_ice=ice(pool),
        all_likelier=_percent(1 - pool["likelier_wrong"]),
        all_undecided=_percent(decided(pool)["undecided"]),
        all_decided=rest(pool),
        ece=pool["likelier_ece"],
        confidence=pool["likelier_confidence_wrong"] or float("nan"),
        trade="\n".join(trade),
        flags="\n".join(flags),
        shown=shown,
        command=command,
        commit=git_commit(),
    )


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--seeds", default="30000:30010", help="FIRST:LAST, the last one left out")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/flags"))
    parser.add_argument("--page", action="store_true", help="write docs/results/flags.md, too")
    given = parser.parse_args()
    model = load_model(given.model)
    rows = []
    for seed in range(*map(int, given.seeds.split(":"))):
        rows.append(measure(model, seed))
        told = {k: rows[-1][k] for k in ("seed", "season", "likelier_wrong", "undecided")}
        print(json.dumps(told), file=sys.stderr, flush=True)
    target = ROOT / "docs" / "results" / "flags.md"
    old = target.read_text(encoding="utf-8") if target.is_file() else ""
    shown = SHOWN + old.partition(SHOWN)[2].partition("\nCommand:")[0].rstrip() if SHOWN in old else SHOWN
    command = f"python benchmarks/flags.py --model {given.model} --seeds {given.seeds} --page"
    text = page(rows, model.card.id, command, shown)
    given.output.mkdir(parents=True, exist_ok=True)
    for path in [given.output / "flags.md"] + [target] * given.page:
        with replaced_file(path) as part:
            part.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
