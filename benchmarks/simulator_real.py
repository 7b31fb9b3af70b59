"""Simulated closed pack beside real closed pack: what needs no labels, before any network is judged.

    python benchmarks/simulator_real.py [--scenes 24] [--data FOLDER] [-o out/simulator-real] [--page]

Three real quick-looks of Antarctic pack, every pixel of which is ice (`real_ice`), and simulated scenes that are all
ice, at about 650 m, thermal noise subtracted: backscatter by incidence angle, its spread, how much of it is left in
means over 3 and 15 km, how fast it changes from pixel to pixel, and its slope over the swath and over 130 km.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.real_ice.scenes import lacking, nesz, pictures, read
from scipy import ndimage

from frazil.files import replaced_file
from frazil.scene.scaling import to_db
from frazil.simulate.scene import simulate_scene
from frazil.simulate.world import WorldConfig

ROOT = Path(__file__).resolve().parents[1]
EDGES = np.arange(20.0, 45.1, 2.5)
_SPACING_M, _WINDOW_M = 640.0, 130e3
_SEASONS = ("freeze_up", "winter", "spring")
Statistics = dict[str, Any]


def statistics(sigma0: np.ndarray, angle: np.ndarray, valid: np.ndarray) -> Statistics:
    """What a scene of one surface looks like.

    Args:
        sigma0: (2, line, pixel), HH and HV, linear power without noise.
        angle: degrees.
        valid: bool.

    Returns:
        name -> value; ``"HH by angle"`` and the like hold a median for each interval of `EDGES`, dB.
    """
    out: Statistics = {}
    hh, hv = (np.where(valid, to_db(plane), np.nan) for plane in sigma0)
    where = np.digitize(angle, EDGES) - 1
    bins = [valid & (where == k) for k in range(EDGES.size - 1)]
    for name, values in (("HH", hh), ("HV", hv), ("HH-HV", hh - hv)):
        out[f"{name} by angle"] = np.array([np.nanmedian(values[b]) if b.sum() > 200 else np.nan for b in bins])
    middle = (EDGES[1:] + EDGES[:-1]) / 2
    for name, values in (("HH", hh), ("HV", hv)):
        medians = out[f"{name} by angle"]
        known = np.isfinite(medians)
        flat = values - np.interp(angle, middle[known], medians[known])
        out[f"{name} spread, dB"] = _spread(flat)
        for km in (3, 15):
            side = round(km * 1000 / _SPACING_M)
            out[f"{name} spread of {km} km means, dB"] = _spread(_mean(flat, valid, side))
        out[f"{name} correlation of neighbours"] = _correlation(flat)
    known = np.isfinite(out["HH by angle"])
    out["HH slope over the swath, dB/°"] = float(np.polyfit(middle[known], out["HH by angle"][known], 1)[0])
    slopes = window_slopes(hh, angle, round(_WINDOW_M / _SPACING_M))
    for share in (5, 50, 95):
        out[f"HH slope in 130 km, {share} %, dB/°"] = float(np.percentile(slopes, share)) if slopes.size else np.nan
    return out


def _spread(values: np.ndarray) -> float:
    """Half of the interval that holds the middle 68 %: a standard deviation that outliers do not move."""
    low, high = np.nanpercentile(values, [16, 84])
    return float((high - low) / 2)


def _mean(values: np.ndarray, valid: np.ndarray, side: int) -> np.ndarray:
    weight = ndimage.uniform_filter(valid.astype(float), side)
    total = ndimage.uniform_filter(np.where(valid, np.nan_to_num(values), 0.0), side)
    return np.where(valid & (weight > 0.8), total / np.maximum(weight, 1e-6), np.nan)


def _correlation(values: np.ndarray) -> float:
    one, other = values[:, :-1].ravel(), values[:, 1:].ravel()
    known = np.isfinite(one) & np.isfinite(other)
    return float(np.corrcoef(one[known], other[known])[0, 1])


def window_slopes(hh: np.ndarray, angle: np.ndarray, side: int) -> np.ndarray:
    """Slopes of HH (dB) against angle in half overlapping windows of ``side`` pixels, where 80 % are observed."""
    found = []
    for i in range(0, hh.shape[0] - side + 1, side // 2):
        for j in range(0, hh.shape[1] - side + 1, side // 2):
            part = slice(i, i + side), slice(j, j + side)
            known = np.isfinite(hh[part])
            if known.mean() > 0.8 and np.ptp(angle[part][known]) > 2:
                found.append(np.polyfit(angle[part][known], hh[part][known], 1)[0])
    return np.array(found)


def real(data: Path) -> list[Statistics]:
    """Of the real closed pack."""
    looks = [look for look in map(read, pictures(data)) if look.kind == "pack"]
    return [statistics(look.power - nesz(look.angle), look.angle, look.valid) for look in looks]


def simulated(signatures: str, scenes: int) -> list[Statistics]:
    """Of simulated closed pack, seeds 5000 and on; cold seasons in turn."""
    out = []
    for seed in range(5000, 5000 + scenes):
        world = WorldConfig(seed=seed, signatures=signatures, ice_fraction=1.0, season=_SEASONS[seed % 3])
        scene = simulate_scene("ew", seed=seed, spacing_m=_SPACING_M, world=world)
        out.append(statistics(scene["sigma0"].values, scene["incidence_angle"].values, scene["valid"].values))
    return out


def _range(rows: list[Statistics], name: str, middle: float = 100.0) -> str:
    values = [row[name] for row in rows]
    low, high = np.nanpercentile(values, [50 - middle / 2, 50 + middle / 2])
    return f"{low:.2f} … {high:.2f}"


def table(found: dict[str, list[Statistics]]) -> str:
    """Markdown: of each statistic the real scenes, and the middle 90 % of the simulated ones."""
    numbers = [k for k, v in found["real"][0].items() if not isinstance(v, np.ndarray)]
    lines = ["| | real, 3 scenes | measured | literature |", "|---|---|---|---|"]
    for k in (0, 4, 8):
        for name in ("HH", "HV", "HH-HV"):
            at = {who: [{name: row[f"{name} by angle"][k]} for row in rows] for who, rows in found.items()}
            cells = [_range(at[who], name, 100.0 if who == "real" else 90.0) for who in found]
            lines.append(f"| {name} at {EDGES[k]:g}–{EDGES[k + 1]:g}°, median, dB | " + " | ".join(cells) + " |")
    for name in numbers:
        cells = [_range(found[who], name, 100.0 if who == "real" else 90.0) for who in found]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(found: dict[str, list[Statistics]], path: Path) -> None:
    """HH, HV and their difference by angle: real scenes as lines, the middle 90 % of simulated ones as bands."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
    middle = (EDGES[1:] + EDGES[:-1]) / 2
    for axis, name in zip(axes, ("HH", "HV", "HH-HV"), strict=True):
        for who, colour in (("literature", "#d08c3a"), ("measured", "#3a76b0")):
            low, mid, high = np.nanpercentile([r[f"{name} by angle"] for r in found[who]], [5, 50, 95], axis=0)
            axis.fill_between(middle, low, high, color=colour, alpha=0.25, label=f"simulated, {who}: middle 90 %")
            axis.plot(middle, mid, color=colour)
        for k, row in enumerate(found["real"]):
            axis.plot(middle, row[f"{name} by angle"], color="black", lw=1.3, label="real pack" if k == 0 else None)
        axis.set(title=name.replace("-", " − "), xlabel="incidence angle, °", ylabel="median, dB")
    axes[0].legend(fontsize=8)
    with replaced_file(path) as part:
        figure.savefig(part, dpi=130)
    plt.close(figure)


PAGE = """# Simulated pack beside real pack

How big this is: three real Sentinel-1A EW scenes of closed Antarctic pack (60–75° E, October 2024; 8-bit quick-looks of
650 m, every pixel taken for ice) and {scenes} simulated scenes of each kind that are all ice, cold seasons in turn, at
640 m. The stated noise is subtracted; what is left of it is in the numbers, HV above all. No labels are used, no
network. Three scenes of one week and one sea are few: the Arctic, melt and open water are not compared here.
*Measured* scenes mix three regions and the Antarctic pack (`frazil.simulate.signatures`), and the median of eight of
these very quick-looks is among what they were made from: for that region's level this is no independent test.

{table}

![Backscatter by incidence angle](../images/simulator-real.png)

{shown}

Command: `python benchmarks/simulator_real.py --scenes {scenes} --page`
"""
SHOWN = "## What it shows"


def main() -> int:
    """Compare, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=24)
    usual = Path(os.environ.get("FRAZIL_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=usual, help="the folder that holds real-ice/")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/simulator-real"))
    parser.add_argument("--page", action="store_true", help="write the page and picture of the documents")
    given = parser.parse_args()
    if missing := lacking(given.data):
        print(f"Skipped: {missing}. Set FRAZIL_TEST_DATA or --data to a folder that holds real-ice/.")
        return 0
    warnings.filterwarnings("ignore", message="All-NaN slice")
    found = {"real": real(given.data)} | {s: simulated(s, given.scenes) for s in ("measured", "literature")}
    rows = table(found)
    print(rows)
    given.output.mkdir(parents=True, exist_ok=True)
    draw(found, given.output / "simulator-real.png")
    if given.page:
        page = ROOT / "docs" / "results" / "simulator-real.md"
        old = page.read_text(encoding="utf-8") if page.is_file() else ""
        shown = SHOWN + old.partition(SHOWN)[2].partition("\nCommand:")[0].rstrip() if SHOWN in old else SHOWN
        with replaced_file(page) as part:
            part.write_text(PAGE.format(scenes=given.scenes, table=rows, shown=shown), encoding="utf-8")
        draw(found, ROOT / "docs" / "images" / "simulator-real.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
