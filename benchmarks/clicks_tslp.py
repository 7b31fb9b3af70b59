"""Few labels on one scene: the desk's kernel against TSLP-SSL and labels alone, all taught by the same clicks.

    python benchmarks/clicks_tslp.py [--scenes 30000:30004] [--clicks 15,60] [--seeds 1] [-o out/clicks] [--table]

TSLP-SSL learns a network of patches from scratch: from the patches around the clicked cells with their classes, and
from patches around cells drawn by lot without. Every method is scored on the cells of `benchmarks/clicks.py`, as
there: all of the study whose truth is known and that were not clicked. Labels alone take as many steps as TSLP.

Rows are kept as they come, so that a run that was broken off goes on. With `--table` nothing is computed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from pyproj import CRS
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.clicks import PLAIN, Row, Scene, columns, in_turn, kernel, network, prepared, scores, simulated

import frazil
from frazil.conventions import FIVE_CLASSES
from frazil.labels.patch_set import make_patches, open_patches, save_patches
from frazil.labels.splits import Split
from frazil.learn.cells.cells import Cells
from frazil.learn.cells.teach import TeachSettings, teach
from frazil.learn.config import RunConfig, override
from frazil.learn.data.patches import UNLABELLED, read_patches
from frazil.recipes import find_recipe
from frazil.scene.geolocation import Geolocation
from frazil.scene.scaling import CHANNELS, to_db

SIZE = 20  # pixels along a side of a patch, as in the study of few labels: 2.4 km at 120 m, four cells
POOL = 1000  # patches without labels, drawn by lot
OF_EACH = (
    200  # of an even pool, of each class of the map that the same clicks make: as the desk's own trainings have it
)
NAMES = ("hh", "hv", "incidence_angle")
KEY = ("scene", "method", "settings", "seed", "clicks")
COMMON = {"model.settings": '{"width":8,"dropout":0.0}', "labels.count": "null"}
_STUDY = {"strategy.first_steps": "300", "optim.epochs": "24"}  # as many steps as 8 epochs of the study's larger pool
_STUDY |= {"optim.lr": "0.02", "strategy.first_lr": "0.008", "strategy.teacher_lr": "0.001"}
#: Settings of TSLP: those of the study of few labels; the same with what favours it here, a pool that has as many
#: patches of each class as of any other, and neighbours chosen by the labels; and the recipe's own rates with the
#: first stage that the how-to page has for few labels (100 passes through this small pool are 1300 steps).
SETTINGS = {
    "study": _STUDY,
    "study, even pool": _STUDY | {"strategy.choice.by": "best"},
    "how-to": {"strategy.first_steps": "1000", "optim.epochs": "100"},
}
EVEN = ("study, even pool",)
ALONE = {"study": {"optim.lr": "0.008"}, "how-to": {}}  # of labels alone, as many steps as TSLP takes in both stages
TRAINED = [(m, s) for s in SETTINGS for m in ("tslp", "supervised") if m == "tslp" or s in ALONE]


def kernel_plain(cells: Cells, where: np.ndarray, codes: np.ndarray, _seed: int) -> np.ndarray:
    """The kernel on backscatter, its surroundings and incidence angle alone: it knows no network, as TSLP does not."""
    plain = replace(cells, features=columns(cells, PLAIN), names=PLAIN)
    return teach(plain, where, codes, settings=TeachSettings(network=0)).logits


DESK: dict[str, Callable[[Cells, np.ndarray, np.ndarray, int], np.ndarray]] = {
    "kernel": kernel,
    "kernel, plain features": kernel_plain,
    "network": network,
}


# ---- patches ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Image:
    """What patches are cut from.

    Attributes:
        scene: that it is of.
        planes: float32 (channel, line, pixel), dB and degrees, the low end of the scale where nothing was observed;
            mirrored at its borders, half a patch wide, so that every cell has a patch with the cell in its middle.
    """

    scene: xr.Dataset
    planes: np.ndarray

    @classmethod
    def of(cls, scene: xr.Dataset) -> Image:
        planes = []
        for name in NAMES:
            band, low = CHANNELS[name].polarization, np.float32(CHANNELS[name].low)
            values = to_db(scene["sigma0"].sel(polarization=band).values) if band else scene[name].values
            planes.append(np.where(scene["valid"].values & np.isfinite(values), values, low))
        half = SIZE // 2
        return cls(scene, np.pad(np.stack(planes), ((0, 0), (half, half), (half, half)), mode="reflect"))


def pixels_of(scene: xr.Dataset, cells: Cells, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a scene's image, fractional, in which the middles of cells lie."""
    x, y = (values[where] for values in cells.places())
    line, pixel = Geolocation.of(scene).line_pixel(x, y, CRS(cells.grid.crs))
    row, column = (
        (at - scene[name].values[0]) / (scene[name].values[1] - scene[name].values[0])
        for name, at in (("line", line), ("pixel", pixel))
    )
    return row, column


def patches_at(image: Image, cells: Cells, where: np.ndarray, codes: np.ndarray) -> xr.Dataset:
    """A patch set of one patch for each cell, its middle within half a pixel of the cell's, of the classes given."""
    scene, half = image.scene, SIZE // 2
    row, column = pixels_of(scene, cells, where)
    first = [np.rint(at - (SIZE - 1) / 2).astype(int) for at in (row, column)]
    size = scene.sizes["line"], scene.sizes["pixel"]
    top, left = (np.clip(at, -half, n + half - SIZE) for at, n in zip(first, size, strict=True))
    cut = sliding_window_view(image.planes, (SIZE, SIZE), axis=(1, 2))[:, top + half, left + half]
    inside = (top >= 0) & (left >= 0) & (top + SIZE <= size[0]) & (left + SIZE <= size[1])
    at = {
        name: np.where(inside, scene[name].values[np.where(inside, start, 0)], np.nan)
        for name, start in (("line", top), ("pixel", left))
    }
    return make_patches(
        cut.swapaxes(0, 1),
        codes,
        channels=NAMES,
        units=tuple(CHANNELS[name].units for name in NAMES),
        scheme=FIVE_CLASSES,
        scene=np.full(len(where), scene.attrs["product"]),
        attrs={"spacing_m": 120.0, "boxcar": False, "denoise": "esa"},
        **at,
    )


def drawn_without(scene: Scene, clicked: np.ndarray, seed: int, *, even: bool = False) -> np.ndarray:
    """Cells whose patches are learnt from without labels, by lot; or, `even`, at most so many of each mapped class."""
    free = np.setdiff1d(np.arange(len(scene.cells)), clicked)
    drawn = np.random.default_rng([seed, 11]).permutation(free)
    if not even:
        return drawn[:POOL]
    told = kernel(scene.cells, clicked, scene.truth[clicked], seed)[drawn].argmax(axis=1)
    return np.concatenate([drawn[told == code][:OF_EACH] for code in np.unique(told)])


# ---- learning --------------------------------------------------------------------------------------------------------


def settings_of(method: str, name: str, steps: int) -> RunConfig:
    """A run but for its data; labels alone are learnt from for so many steps."""
    own = SETTINGS[name] if method == "tslp" else ALONE[name] | {"optim.epochs": "null", "optim.steps": str(steps)}
    return override(find_recipe(f"few_labels:{method}"), COMMON | own)


def trained(scene: Scene, folder: Path, config: RunConfig, where: np.ndarray, pool: Path | None = None) -> Row:
    """Train a network on the sets of a folder, and score it on the cells of the study."""
    sets = {"data.patches": str(folder / "labelled.zarr"), "data.split": str(folder / "split.json")}
    if pool is not None:
        sets["data.unlabelled"] = str(pool)
    with tempfile.TemporaryDirectory() as run:
        began = time.perf_counter()
        model = frazil.train(override(config, sets), Path(run) / "run", device="cpu")
        seconds = time.perf_counter() - began
    every, _ = read_patches((str(folder / "every.zarr"),))
    found = scores(scene, every.logits(model.network, "cpu").T, where)
    return found | {
        "seconds": round(seconds, 1),
        "steps": model.card.training["steps"],
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "patch": SIZE,
        "unlabelled": 0 if pool is None else open_patches(pool).sizes["patch"],
    }


def run(
    scene: Scene,
    number: int,
    seed: int,
    counts: list[int],
    ways: list[tuple[str, str]],
    rows: dict[tuple, Row],
    keep: Callable[[Row], None],
) -> None:
    """All that is missing of a scene, simulated from the seed `number`, and one draw of its clicks."""

    def lacks(method: str, settings: str, clicks: int) -> bool:
        return (scene.name, method, settings, seed, clicks) not in rows

    def add(method: str, settings: str, clicks: int, found: Row) -> None:
        keep(dict(zip(KEY, (scene.name, method, settings, seed, clicks), strict=True)) | found)

    for clicks in counts:
        where = in_turn(scene, clicks, seed)
        for name, head in DESK.items():
            if lacks(name, "desk", clicks):
                began = time.perf_counter()
                logits = head(scene.cells, where, scene.truth[where], seed)
                seconds = round(time.perf_counter() - began, 2)
                tested = int((scene.truth >= 0).sum()) - len(where)
                add(name, "desk", clicks, scores(scene, logits, where) | {"seconds": seconds, "tested": tested})
    if not any(lacks(*which, clicks) for which in ways for clicks in counts):
        return
    image = Image.of(simulated(number)[0])
    with tempfile.TemporaryDirectory() as made:
        folder, cells, codes = Path(made), scene.cells, np.where(scene.truth < 0, UNLABELLED, scene.truth)
        save_patches(patches_at(image, cells, np.arange(len(cells)), codes), folder / "every.zarr")
        Split(by="scene", train=(image.scene.attrs["product"],)).save(folder / "split.json")
        for clicks in counts:
            where = in_turn(scene, clicks, seed)
            save_patches(patches_at(image, cells, where, codes[where]), folder / "labelled.zarr", overwrite=True)
            for method, settings in ways:  # TSLP comes first, and says how many steps there are
                if not lacks(method, settings, clicks):
                    continue
                before = rows.get((scene.name, "tslp", settings, seed, clicks), {})
                config = replace(settings_of(method, settings, before.get("steps", 0)), seed=seed)
                pool = None
                if method == "tslp":
                    others = drawn_without(scene, where, seed, even=settings in EVEN)
                    bare = np.full(len(others), UNLABELLED)
                    pool = save_patches(
                        patches_at(image, cells, others, bare), folder / "unlabelled.zarr", overwrite=True
                    )
                add(method, settings, clicks, trained(scene, folder, config, where, pool))


# ---- the table -------------------------------------------------------------------------------------------------------


def interval(values: np.ndarray) -> str:
    """Mean and the half of its 95 % interval, Student's t over scenes."""
    if len(values) < 2:
        return f"{values.mean():+.3f}"
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():+.3f} ± {half:.3f}"


def table(rows: list[Row]) -> str:
    """Macro-F1 by scene and method, seeds averaged; what the kernel has over each; seconds."""
    out = []
    ways = [(name, "desk") for name in DESK] + TRAINED
    for clicks in sorted({r["clicks"] for r in rows}):
        names = sorted({r["scene"] for r in rows if r["clicks"] == clicks})
        out += [
            "",
            f"{clicks} clicks, macro-F1",
            "",
            "| method | " + " | ".join(names) + " | mean | share right | kernel's lead | scenes ahead | seconds |",
            "|---" * (len(names) + 6) + "|",
        ]
        found: dict[tuple[str, str], dict[str, float]] = {}
        for way in ways:
            mine = [r for r in rows if (r["method"], r["settings"], r["clicks"]) == (*way, clicks)]
            if not mine:
                continue
            by = {n: [r["f1"] for r in mine if r["scene"] == n] for n in names}
            found[way] = {n: float(np.mean(v)) for n, v in by.items() if v}
            best = found[ways[0]]
            lead = np.array([best[n] - v for n, v in found[way].items()])
            cells = [f"{found[way][n]:.3f}" if n in found[way] else "" for n in names]
            label = way[0] if way[1] == "desk" else f"{way[0]}, {way[1]}"
            cells += [
                f"{np.mean(list(found[way].values())):.3f}",
                f"{np.mean([r['right'] for r in mine]):.3f}",
                "" if way == ways[0] else interval(lead),
                "" if way == ways[0] else f"{int((lead > 0).sum())} of {len(lead)}",
                f"{np.mean([r['seconds'] for r in mine]):.1f}",
            ]
            out.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", default="30000:30004", help="first and last of their seeds, the last left out")
    parser.add_argument("--clicks", default="15,60")
    parser.add_argument("--seeds", default=1, type=int, help="draws of clicks")
    parser.add_argument("--settings", choices=list(SETTINGS), action="append", help="of trainings; default: all")
    parser.add_argument("-o", "--output", default="out/clicks", type=Path)
    parser.add_argument("--table", action="store_true", help="print the table of the rows that are there")
    args = parser.parse_args()
    file = args.output / "tslp.jsonl"
    told = map(json.loads, file.read_text().splitlines() if file.exists() else [])
    rows = {tuple(r[k] for k in KEY): r for r in told}

    def keep(row: Row) -> None:
        rows[tuple(row[k] for k in KEY)] = row
        with file.open("a") as out:
            out.write(json.dumps(row) + "\n")

    first, last = map(int, args.scenes.split(":"))
    ways = [way for way in TRAINED if way[1] in (args.settings or SETTINGS)]
    counts = [int(n) for n in args.clicks.split(",")]
    for seed in range(args.seeds if not args.table else 0):
        for number in range(first, last):
            scene = prepared(str(number), args.output, partial(simulated, number))
            run(scene, number, seed, counts, ways, rows, keep)
            print(f"{number}, clicks of seed {seed}: done", file=sys.stderr, flush=True)
    print(table(list(rows.values())))


if __name__ == "__main__":
    main()
