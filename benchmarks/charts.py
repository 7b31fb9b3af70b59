"""Charts of simulated scenes: do they tile, do files keep that, and how far are their eggs from the truth?

    python benchmarks/charts.py [--seeds 30000:30010] [-o out/charts] [--real CHART] [--picture SEED] [--page]

Scenes that the model has not learnt from are mapped, charted by `frazil.make_chart`, and beside it naively: each patch
of a class is a polygon of that class alone. Truth is the simulator's class of every pixel. What was found of a scene is
kept in the output folder, so that a run that was broken off goes on. --real: a real chart, for its structure.
--picture: the chart of one scene beside that of its truth. --page: docs/results/charts.md, its picture and its rows.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.charts_beside import picture, structure, structure_table, truth_of

from frazil import ice_polygons, make_chart, predict, read_chart
from frazil.charts.colours import predominant
from frazil.charts.eggs import STAGES
from frazil.charts.sigrid3_files import write_sigrid3
from frazil.conventions import CLASS_LAND, FIVE_CLASSES, UNDECIDED
from frazil.files import replaced_file
from frazil.learn.checkpoint import DEFAULT_MODEL, Model, git_commit, load_model
from frazil.scene.grid import MapGrid, plan_warp
from frazil.simulate.scene import simulate_scene
from frazil.simulate.world import WorldConfig
from frazil.studies.page import SHOWN

ROOT = Path(__file__).resolve().parents[1]
PAGE = """# Charts of simulated scenes

How big this is: {n} simulated Extra Wide scenes of 120 m (seeds {seeds}; measured signatures, the coast of Severnaya
Zemlya, season, wind, ice and noise errors drawn) that model `{model}` has not learnt from. Errors are those of
the map and of the chart together; simulated: on real ice the map may well be [further off](real-ice.md).

## Against the truth

How far the true share of ice in a polygon lies outside of what its total concentration stands for (9+: 95 to 99.5 %;
below a tenth: 1 to 10 %; others half a tenth to both sides), in tenths, weighed by area; stage of
development: the share of the area whose polygon names the class that is truly most of its ice. *Patches of a class*:
every patch of one class in the map is a polygon of that class alone, as `frazil.ice_polygons` gives them, from the same
least area on. Polygons that say "could not be told" are left out of both; their share of the sea stands beside.

| chart | polygons | mean error | mean absolute error | a tenth is worse than | right stage | not told |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

{differences}

## One of them

![The chart of a simulated scene beside the chart of its truth](charts.png)

{picture}

## Do they tile?

{tiles}

## Beside a real chart

{real}

Rows of all scenes: [charts.jsonl](studies/charts.jsonl). Command: `{command}`, commit {commit}
"""


#: Shares of ice that a total concentration stands for.
LIMITS = {"55": (0, 0.01), "01": (0.01, 0.1), "91": (0.95, 0.995), "92": (0.995, 1)} | {
    f"{n}0": (n / 10 - 0.05, n / 10 + 0.05) for n in range(1, 10)
}


def scored(polygons: Any, total: list[str], stage: list[str], truth: np.ndarray, grid: MapGrid) -> dict[str, Any]:
    """Of polygons with total concentrations (codes) and predominant stages: errors and areas of each.

    The error is how far the true share of ice lies outside of what the code stands for, in tenths.
    """
    from rasterio.features import rasterize
    from rasterio.transform import from_origin

    place = from_origin(grid.left, grid.top, grid.spacing_m, grid.spacing_m)
    shapes = ((shape, k + 1) for k, shape in enumerate(polygons.geometry))
    owner = np.asarray(rasterize(shapes, out_shape=grid.shape, transform=place, fill=0, dtype="int32"))
    known = truth < CLASS_LAND
    n = len(polygons) + 1
    counts = np.array([np.bincount(owner[known & (truth == k)], minlength=n) for k in range(len(FIVE_CLASSES.classes))])
    area = counts.sum(axis=0)[1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        ice = (counts[1:].sum(axis=0) / counts.sum(axis=0))[1:]
    true_stage = [STAGES[FIVE_CLASSES.classes[1 + k].name] for k in counts[1:, 1:].argmax(axis=0)]
    low, high = np.array([LIMITS.get(code, (np.nan, np.nan)) for code in total]).reshape(-1, 2).T
    told = np.isfinite(low) & (area > 0)
    named = told & (low >= 0.05) & (ice >= 0.1)
    return {
        "polygons": len(polygons),
        "error": (10 * (np.clip(ice, low, high) - ice))[told].round(4).tolist(),
        "area": area[told].tolist(),
        "right": [bool(stage[k] == true_stage[k]) for k in np.flatnonzero(named)],
        "named": area[named].tolist(),
        "unknown": int(area[~np.isfinite(low)].sum()),
    }


def mapped(model: Model, seed: int) -> tuple[Any, np.ndarray]:
    """The map of a scene, and its true classes on the grid of the map, 255 where the map shows no sea."""
    world = WorldConfig(seed=seed, signatures="measured")
    scene = simulate_scene("ew", seed=seed, world=world, spacing_m=120.0, land="gshhg")
    ice_map = predict(scene, model)
    grid = MapGrid.of(ice_map)
    truth = plan_warp(scene, grid).nearest(scene["ice_class"].values, 255)
    return ice_map, np.where(ice_map["ice_class"].values < CLASS_LAND, truth, 255)


def one_scene(model: Model, seed: int) -> dict[str, Any]:
    """A scene mapped, charted in both ways, scored; and whether the chart tiles before and after it was written."""
    ice_map, truth = mapped(model, seed)
    grid = MapGrid.of(ice_map)
    began = time.process_time()
    chart = make_chart(ice_map)
    seconds = time.process_time() - began
    sea = chart[chart["POLY_TYPE"].isin(["I", "W"])]
    found = scored(sea, sea["CT"].tolist(), [predominant(row) for row in sea.to_dict("records")], truth, grid)
    naive = ice_polygons(ice_map, min_area_km2=25.0)
    code = naive["code"].to_numpy()
    plain = scored(
        naive,
        ["99" if c == UNDECIDED else "92" if c else "55" for c in code],
        ["" if c in (0, UNDECIDED) else STAGES[FIVE_CLASSES.classes[c].name] for c in code],
        truth,
        grid,
    )
    with tempfile.TemporaryDirectory() as folder:
        (path,) = write_sigrid3(chart, Path(folder))
        back = read_chart(path)
    shapes = chart.geometry.values
    return {
        "chart": found,
        "patches": plain,
        "seconds": round(seconds, 2),
        "tiling": tiling(shapes),
        "read_back": tiling(back.geometry.values),
        **structure(chart),
    }


def tiling(shapes: np.ndarray) -> dict[str, Any]:
    """Whether polygons tile what they cover: valid by GEOS, which finds overlaps; gaps, which are holes of the union.

    Returns:
        ``valid``; ``gaps``, their number; ``overlap``, how far the sum of areas lies from that of the union, of 1.
    """
    import shapely

    union = shapely.union_all(shapes)
    return {
        "valid": bool(shapely.coverage_is_valid(shapes) and shapely.is_valid(shapes).all()),
        "gaps": int(shapely.get_num_interior_rings(shapely.get_parts(union)).sum()),
        "overlap": float(abs(shapely.area(shapes).sum() / union.area - 1)),
    }


def _row(name: str, scenes: list[dict[str, Any]], key: str) -> str:
    mine = [scene[key] for scene in scenes]
    error, area = (np.concatenate([np.asarray(one[k], float) for one in mine]) for k in ("error", "area"))
    right, named = (np.concatenate([np.asarray(one[k], float) for one in mine]) for k in ("right", "named"))
    unknown = sum(one["unknown"] for one in mine)
    order = np.argsort(np.abs(error))
    reached = np.cumsum(area[order]) / area.sum()
    worst = np.abs(error)[order][min(int(np.searchsorted(reached, 0.9)), error.size - 1)]
    cells = [
        name,
        f"{np.mean([one['polygons'] for one in mine]):.0f}",
        f"{np.average(error, weights=area):+.2f}",
        f"{np.average(np.abs(error), weights=area):.2f}",
        f"{worst:.1f}",
        f"{100 * np.average(right, weights=named):.0f} %" if named.sum() else "–",
        f"{100 * unknown / (unknown + area.sum()):.0f} %",
    ]
    return "| " + " | ".join(cells) + " |"


def differences(scenes: list[dict[str, Any]]) -> str:
    """How much nearer to the truth regions are than patches: mean over scenes, 95 % interval (Student)."""
    from scipy import stats

    told = []
    for words, of, unit, digits in (
        ("mean absolute error", _error, "tenths", 2),
        ("right stage", _right, "points", 0),
    ):
        found = np.array([of(one["chart"]) - of(one["patches"]) for one in scenes])
        half = float(stats.t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found)))
        told.append(f"{words} {found.mean():+.{digits}f} ± {half:.{digits}f} {unit}")
    return f"Regions less patches, a scene, 95 % interval over scenes (Student): {'; '.join(told)}."


def _error(one: dict[str, Any]) -> float:
    return float(np.average(np.abs(one["error"]), weights=one["area"]))


def _right(one: dict[str, Any]) -> float:
    return 100 * float(np.average(one["right"], weights=one["named"]))


def page(
    scenes: dict[int, dict[str, Any]],
    *,
    model: str,
    seeds: str,
    others: dict[str, dict[str, Any]],
    pictured: str,
    command: str,
) -> str:
    """The page from what was found; ``others`` are charts whose structure stands beside those of the scenes."""
    found = list(scenes.values())
    seconds = [one["seconds"] for one in found]
    tiled, again = ([one[key] for one in found] for key in ("tiling", "read_back"))
    both = [*tiled, *again]
    table = structure_table(
        {f"{len(found)} of simulated scenes, a scene": found} | {name: [one] for name, one in others.items()}
    )
    return PAGE.format(
        n=len(found),
        seeds=seeds,
        model=model,
        rows=_row("regions of like mixture", found, "chart") + "\n" + _row("patches of a class", found, "patches"),
        differences=differences(found),
        picture=pictured,
        tiles=(
            f"{sum(one['valid'] for one in tiled)} of {len(found)} charts are valid coverages (GEOS: no overlap, edges "
            f"that match), {sum(one['valid'] for one in again)} after they were written as SIGRID-3 in longitude and "
            f"latitude and read back. Gaps, which are holes of the union: {sum(one['gaps'] for one in tiled)} before, "
            f"{sum(one['gaps'] for one in again)} after. The sum of areas differs from the area of the union by "
            f"{max(one['overlap'] for one in both):.0e} of it at most, before and after. `make_chart` took "
            f"{np.median(seconds):.1f} s of one processor (median; {max(seconds):.1f} at most)."
        ),
        real=table,
        command=command,
        commit=git_commit(),
    )


def brief(seed: int, scene: dict[str, Any]) -> dict[str, Any]:
    """A row of the file of all scenes: what was found, without lists of polygons."""
    kept = {key: scene[key] for key in ("types", "vertices", "codes", "tiling", "read_back", "seconds")}
    scores = {
        key: {
            "polygons": one["polygons"],
            "mean_absolute_error": round(_error(one), 4),
            "right_percent": round(_right(one), 2),
        }
        for key, one in ((key, scene[key]) for key in ("chart", "patches"))
    }
    return {"seed": seed, "median_km2": round(float(np.median(scene["areas"])), 1), **kept, **scores}


def main() -> int:
    """Map and chart what is not there yet, then print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--seeds", default="30000:30010", help="FIRST:LAST, the last one left out")
    parser.add_argument("--real", type=Path, help="a real chart")
    parser.add_argument("--picture", type=int, metavar="SEED", help="a scene to draw beside its truth")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/charts"))
    parser.add_argument("--page", action="store_true", help="write docs/results/charts.md and what it shows")
    given = parser.parse_args()
    first, last = map(int, given.seeds.split(":"))
    model = load_model(given.model)
    given.output.mkdir(parents=True, exist_ok=True)
    scenes = {}
    for seed in range(first, last):
        kept = given.output / f"{model.card.id}-{seed}.json"
        if not kept.exists():
            made = one_scene(model, seed)
            with replaced_file(kept) as part:
                part.write_text(json.dumps(made), encoding="utf-8")
            print(f"{seed}: {made['seconds']} s, {made['tiling']}, {made['read_back']}", flush=True)
        scenes[seed] = json.loads(kept.read_text(encoding="utf-8"))
    others: dict[str, dict[str, Any]] = {}
    pictured = ""
    if given.picture is not None:
        ice_map, truth = mapped(model, given.picture)
        ours, true = make_chart(ice_map), make_chart(truth_of(ice_map, truth))
        picture(ours, true, given.output / "charts.png")
        pictured = (
            f"Scene {given.picture}, by total concentration and by stage of development. Right: the chart that "
            "`frazil.make_chart` makes of a map that is sure of the simulator's classes. White with dots: ice could "
            "not be told from water; the truth has none of that."
        )
        others |= {f"scene {given.picture}": structure(ours), f"truth of scene {given.picture}": structure(true)}
    if given.real is not None:
        others[given.real.stem] = structure(read_chart(given.real))
    command = f"python benchmarks/charts.py --seeds {given.seeds}"
    command += (" --real CHART" if given.real else "") + (f" --picture {given.picture}" if pictured else "")
    text = page(
        scenes, model=model.card.id, seeds=given.seeds, others=others, pictured=pictured, command=f"{command} --page"
    )
    print(text)
    if given.page:
        path = ROOT / "docs/results/charts.md"
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        said = re.search(rf"^## {SHOWN}\n.*?(?=^## )", old, re.DOTALL | re.MULTILINE)  # written by hand
        path.write_text(text.replace("## One of them", (said[0] if said else "") + "## One of them"), encoding="utf-8")
        rows = [json.dumps(brief(seed, scene)) for seed, scene in scenes.items()]
        (path.parent / "studies/charts.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
        if pictured:
            shutil.copyfile(given.output / "charts.png", path.with_suffix(".png"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
