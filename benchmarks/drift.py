"""Drift of simulated ice that moved by known fields, the time of a full Extra Wide pair, and real pairs.

    python benchmarks/drift.py [--seeds 1:9] [--real FOLDER] [--full] [-o out/drift] [--page]

Every motion is given to every seed; a quarter of the second image shows other ice. With --real, pairs of GeoTIFFs
(README of the folder: two pairs) are followed too, and compared with keypoints of OpenCV (ORB; ``pip install
opencv-python-headless``) where it is installed: a method of its own. --full writes and times two full products.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import frazil
from frazil.learn.checkpoint import git_commit
from frazil.motion.images import ImagePair, open_pair
from frazil.motion.quality import STATUS
from frazil.simulate.metadata import Cut
from frazil.simulate.moved import Motion, Moved, simulate_pair, write_pair
from frazil.simulate.product import write_both
from frazil.simulate.scene import prepare
from frazil.simulate.world import WorldConfig

ROOT = Path(__file__).resolve().parents[1]
SIZE, MARGIN, PIXEL_M, STEP_M = 1000, 250, 80.0, 1600.0
SEASONS = ("winter", "winter", "freeze_up", "spring", "melt")
MOTIONS = {
    "shift of 5 km": Motion(shift_m=(4100.0, -2730.0)),
    "turn of 5°": Motion(shift_m=(900.0, 700.0), turn_deg=5.0),
    "turn of 10°": Motion(shift_m=(900.0, 700.0), turn_deg=-10.0),
    "turn of 15°": Motion(shift_m=(500.0, -300.0), turn_deg=15.0),
    "shear of 8 %": Motion(shift_m=(500.0, 0.0), shear=0.08),
    "closing by 6 %": Motion(divergence=-0.06),
    "wave of 500 m": Motion(shift_m=(2000.0, 2000.0), wave_m=500.0, wave_length_m=30_000.0),
}
REAL = (
    ("S1B_EW_GRDM_1SDH_20161005T101835", "S1A_EW_GRDM_1SDH_20161005T142446"),
    ("S1B_EW_GRDM_1SDH_20200123T120618", "S1B_EW_GRDM_1SDH_20200125T114955"),
)
PAGE = """# Drift of sea ice, measured

How big this is: {n} simulated pairs of {km:.0f} × {km:.0f} km ({n_motions} motions, seeds {seeds}; measured signatures,
winter, freeze-up, spring and melt in turn, ice from border to border or with an edge), {vectors} vectors {step:g} km
apart; one full Extra Wide pair, simulated; two real pairs of 40 × 40 km, HV alone. Simulated: one world is bent by the
known field at 40 m and gets speckle (10.7 looks, correlated as in EW GRDM) and thermal noise twice, independently. The
ice itself does not change in between, as real ice does. A part of the second image, 8 × 20 km, shows another world:
ice without a partner. Neither the thesis nor the paper follows ice: there is no size of theirs to stand beside.

Errors are distances from the truth, metres, of good vectors; a pixel is 80 m. *Kept* ice is in both images, *lost* ice
is not. *Over stated*: rms of the error over √2 times the stated one, which is that of a component; 1 if that is right.

| motion | kept | good | median | 95 % | over 80 m | not good: median | lost, called good | over stated |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

By season of the simulated ice:

| season | kept | good | median error | 95 % |
| --- | --- | --- | --- | --- |
{by_season}

HH alone and HV alone against both, on three of the motions:

| polarisation | good | median error | 95 % |
| --- | --- | --- | --- |
{by_band}
{full}{real}
Command: `{command}`, commit {commit}
"""


REAL_PART = """
## Real pairs

Nobody knows the truth there. Medians of good vectors, metres; *neighbours*: difference between one node and the next,
1.6 km away; *keypoints*: distance from the median of at least three keypoints (ORB of OpenCV, 80 m) within 1.6 km,
median and 90 %, over so many vectors: another method, which has only the pixels in common with ours.

| pair | hours | good | cm/s | displacement | neighbours | stated error | way back | correlation | keypoints |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

![Drift beside the fast ice of Greenland](drift.png)

The first pair, at 86.5° N, shows one large floe that moves as a whole. What is not good there lies in the dark leads
around it, where HV is noise. Of the second, the ice along the coast of Greenland rests (vectors of some tens of
metres: what geolocation and matching err by together), and the pack beside it creeps along its border, 100 to 300 m
in two days; the line between them is sharp. Two pairs show that the fields are smooth and plausible; they prove no
error.
"""
FULL_PART = """
## A full pair

Two products of {pixels} pixels, HH and HV, a day apart, at 80 m with vectors every 4 km: **{seconds:.0f} s** on {cores}
cores that others used, too, {cpu:.0f} s of processor time, reading, calibrating and warping included; {writing:.0f} s
more for the files. {good} of {tried} vectors good. Memory at its peak {gb:.1f} GB.
"""


def simulated(name: str, seed: int, folder: Path, bands: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Errors of one pair: arrays over the nodes whose ice is in both images."""
    season = SEASONS[seed % len(SEASONS)]
    motion = MOTIONS[name]
    lost = np.zeros((SIZE, SIZE), bool)
    lost[200:400, 300:800] = True
    world = WorldConfig(seed=seed, signatures="measured", season=season, ice_fraction=(1.0, 0.8)[seed % 2])
    made = simulate_pair(motion, seed=seed, size=SIZE, margin=MARGIN, world=world, lost=lost)
    pair = write_pair(made, motion, folder)
    field = frazil.drift(pair.first, pair.second, step_m=STEP_M, keep_doubtful=True, polarizations=bands)
    xx, yy = np.meshgrid(field["x"].values, field["y"].values)
    dx, dy = pair.displacement(xx, yy)
    inside = np.ones(xx.shape, bool)
    for x, y in ((xx, yy), (xx + dx, yy + dy)):
        row, column = pair.position(x, y)
        inside &= (row > 34) & (row < SIZE - 35) & (column > 34) & (column < SIZE - 35)
    share = ndimage.uniform_filter(lost.astype(float), 67)
    gone = share[tuple(np.clip(np.rint(v).astype(int), 0, SIZE - 1) for v in pair.position(xx + dx, yy + dy))]
    off = np.hypot(field["sea_ice_x_displacement"].values - dx, field["sea_ice_y_displacement"].values - dy)
    tried = inside & (field["status_flag"].values < 4)
    return {
        "motion": name,
        "season": season,
        "error": off[tried],
        "good": field["status_flag"].values[tried] == 0,
        "stated": field["standard_error"].values[tried],
        "lost": gone[tried] > 0.99,
        "kept": gone[tried] < 0.01,
    }


def joined(found: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    return {k: np.concatenate([f[k] for f in found]) for k in ("error", "good", "stated", "lost", "kept")}


def row(found: list[dict[str, Any]], *, short: bool = False, head: bool = True) -> str:
    a = joined(found)
    good, kept = a["good"], a["kept"]
    e = a["error"][good & kept]
    cells = [f"{kept.sum()}"] if head else []
    cells += [f"{100 * good[kept].mean():.0f} %", f"{np.median(e):.0f}", f"{np.quantile(e, 0.95):.0f}"]
    if not short:
        doubtful = kept & ~good & np.isfinite(a["error"])
        ratio = e / np.minimum(a["stated"][good & kept], 1e6)
        cells += [
            f"{100 * np.mean(e > PIXEL_M):.1f} %",
            f"{np.median(a['error'][doubtful]):.0f}" if doubtful.any() else "–",
            f"{(good & a['lost']).sum()} of {a['lost'].sum()}",
            f"{np.sqrt(np.mean(np.minimum(ratio, 6) ** 2) / 2):.2f}",
        ]
    return " | ".join(cells)


def full_pair(folder: Path) -> dict[str, Any]:
    """Two full simulated products a day apart: seconds, and the share of good vectors."""
    world = WorldConfig(seed=5, signatures="measured", season="winter", ice_fraction=0.9)
    before = prepare("ew", seed=5, spacing_m=None, block=3, world=world)
    a = before.bands[0].annotation
    cut = Cut(first_line=0, first_pixel=0, n_lines=a.n_lines, n_pixels=a.n_pixels, days=before.days, code="AAAA")
    motion = Motion(shift_m=(9000.0, -6000.0), turn_deg=3.0, shear=0.02)
    first = write_both(folder, before, cut, lambda _b, _a: None, compress=False, overwrite=True)
    later = replace(cut, days=before.days + 1, code="BBBB")
    moved = Moved(before=before, motion=motion, seed=77)
    second = write_both(folder, moved, later, lambda _b, _a: None, compress=False, overwrite=True)
    began, busy = time.perf_counter(), time.process_time()
    field = frazil.drift(first, second)
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    began = time.perf_counter()
    frazil.save_drift(field, folder / "drift", overwrite=True)
    code = field["status_flag"].values
    return {
        "pixels": f"{a.n_lines} × {a.n_pixels}",
        "seconds": round(seconds, 1),
        "cpu": round(busy, 1),
        "gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "writing": round(time.perf_counter() - began, 1),
        "good": int((code == 0).sum()),
        "tried": int((code < 4).sum()),
        "cores": len(os.sched_getaffinity(0)),
    }


def keypoints(pair: ImagePair) -> tuple[np.ndarray, np.ndarray] | None:
    """Places and displacements, pixels (row, column), by ORB of OpenCV with a test of ratios; None without OpenCV."""
    try:
        import cv2
    except ImportError:
        return None
    pictures = []
    for image in (pair.first[0], pair.second[0]):
        low, high = np.nanpercentile(image, [1, 99])
        grey = np.nan_to_num(np.clip(1 + 254 * (image - low) / (high - low), 1, 255)).astype(np.uint8)
        pictures.append((grey, np.isfinite(image).astype(np.uint8) * 255))
    orb = cv2.ORB_create(nfeatures=20_000, edgeThreshold=17, patchSize=34, fastThreshold=5)
    (k1, d1), (k2, d2) = (orb.detectAndCompute(*p) for p in pictures)
    matches = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(d1, d2, k=2)
    kept = [m for m, n in matches if m.distance < 0.75 * n.distance]
    start = np.array([k1[m.queryIdx].pt for m in kept])[:, ::-1]
    return start, np.array([k2[m.trainIdx].pt for m in kept])[:, ::-1] - start


def real_pair(folder: Path, names: tuple[str, str], picture: Path | None) -> dict[str, Any]:
    paths = [folder / f"{name}.tif" for name in names]
    field = frazil.drift(*paths, step_m=STEP_M)
    code = field["status_flag"].values
    good = code == 0
    back = np.where(code < 4, field["back_distance"].values, np.nan)
    out = {
        "pair": f"{names[0][:3]} {names[0][-15:]}, {names[1][:3]} {names[1][-15:]}",
        "hours": 24 * field.attrs["days"],
        "tried": int((code < 4).sum()),
        "good": int(good.sum()),
        "flags": {STATUS[int(c)][0]: int((code == c).sum()) for c in np.unique(code)},
        "speed": float(field["sea_ice_speed"].median()),
        "displacement": float(np.median(np.hypot(*(field[f"sea_ice_{a}_displacement"].values[good] for a in "xy")))),
        "correlation": float(np.median(field["correlation"].values[good])),
        "stated": float(np.median(field["standard_error"].values[good])),
        "back": float(np.median(back[good])),
        "neighbour": float(
            np.nanmedian(np.hypot(*(np.diff(field[f"sea_ice_{a}_displacement"].values, axis=1) for a in "xy")))
        ),
        "keypoints": None,
    }
    pair = open_pair(*paths)
    found = keypoints(pair)
    if found is not None:
        row_of = (pair.grid.top - field["y"].values) / PIXEL_M - 0.5
        column_of = (field["x"].values - pair.grid.left) / PIXEL_M - 0.5
        rr, cc = np.meshgrid(row_of, column_of, indexing="ij")
        near = cKDTree(found[0]).query_ball_point(np.column_stack([rr[good], cc[good]]), 20)
        middle = np.array([np.median(found[1][i], axis=0) if len(i) >= 3 else [np.nan, np.nan] for i in near])
        dy, dx = (-field["sea_ice_y_displacement"].values[good], field["sea_ice_x_displacement"].values[good])
        gap = np.hypot(middle[:, 0] * PIXEL_M - dy, middle[:, 1] * PIXEL_M - dx)
        gap = gap[np.isfinite(gap)]
        out["keypoints"] = {
            "matches": len(found[0]),
            "compared": len(gap),
            "median": float(np.median(gap)),
            "p90": float(np.quantile(gap, 0.9)),
        }
    if picture is not None:
        from frazil.motion.figure import draw

        draw(field, picture, dpi=100)
    return out


def real_text(found: list[dict[str, Any]]) -> str:
    if not found:
        return ""
    lines = []
    for f in found:
        other = f["keypoints"]
        told = f"{other['median']:.0f}, {other['p90']:.0f} ({other['compared']})" if other else "–"
        cells = (
            f["pair"],
            f"{f['hours']:.1f}",
            f"{f['good']} of {f['tried']}",
            f"{100 * f['speed']:.2f}",
            *(f"{f[name]:.0f}" for name in ("displacement", "neighbour", "stated", "back")),
            f"{f['correlation']:.2f}",
            told,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return REAL_PART.format(rows="\n".join(lines))


def full_text(found: dict[str, Any] | None) -> str:
    return "" if found is None else FULL_PART.format(**found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1:9")
    parser.add_argument("--real", type=Path)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/drift"))
    parser.add_argument("--page", action="store_true")
    arguments = parser.parse_args()
    start, stop = (int(v) for v in arguments.seeds.split(":"))
    found: list[dict[str, Any]] = []
    single: dict[str, list[dict[str, Any]]] = {"HH": [], "HV": []}
    arguments.output.mkdir(parents=True, exist_ok=True)
    full = full_pair(arguments.output / "full") if arguments.full else None
    print(json.dumps(full))
    picture = ROOT / "docs" / "results" / "drift.png"
    pictures = [None, picture] if arguments.page else [None, None]
    pairs = zip(REAL, pictures, strict=True) if arguments.real else ()
    real = [real_pair(arguments.real, names, drawn) for names, drawn in pairs]
    for each in real:
        print(json.dumps(each))
    for seed in range(start, stop):
        for name in MOTIONS:
            with tempfile.TemporaryDirectory() as folder:
                found.append(simulated(name, seed, Path(folder)))
                for band in single:
                    if name in ("shift of 5 km", "turn of 10°", "shear of 8 %"):
                        single[band].append(simulated(name, seed, Path(folder), (band,)))
            print(seed, name, row(found[-1:]), flush=True)
    rows = [f"| {name} | {row([f for f in found if f['motion'] == name])} |" for name in MOTIONS]
    rows.append(f"| **all** | {row(found)} |")
    seasons = sorted({f["season"] for f in found})
    some = [f for f in found if f["motion"] in ("shift of 5 km", "turn of 10°", "shear of 8 %")]
    bands = [("HH and HV", some), *single.items()]
    text = PAGE.format(
        n=len(found),
        km=SIZE * 0.04,
        n_motions=len(MOTIONS),
        seeds=f"{start} to {stop - 1}",
        vectors=sum(len(f["error"]) for f in found),
        step=STEP_M / 1000,
        rows="\n".join(rows),
        by_season="\n".join(f"| {s} | {row([f for f in found if f['season'] == s], short=True)} |" for s in seasons),
        by_band="\n".join(f"| {b} | {row(f, short=True, head=False)} |" for b, f in bands),
        full=full_text(full),
        real=real_text(real),
        command="python benchmarks/drift.py " + " ".join(a for a in sys.argv[1:] if not a.startswith("/")),
        commit=git_commit(),
    )
    print(text)
    if arguments.page:
        (ROOT / "docs" / "results" / "drift.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
