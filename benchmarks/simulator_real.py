"""Simulated closed pack beside real closed pack: what needs no labels, before any network is judged.

    python benchmarks/simulator_real.py [--scenes 24] [--data FOLDER] [-o out/simulator-real] [--page]

Three real quick-looks of Antarctic pack, every pixel of which is ice (`real_ice`), and simulated scenes that are all
ice, thinned to 600 m as the pictures are, thermal noise subtracted: backscatter by incidence angle, its spread, how
much of it is left in means over 3 and 15 km, how fast it changes from pixel to pixel, and its slope over the swath and
over 130 km. And four real crops of HV of pack, 40 km wide, noise in them, beside crops of the simulated scenes: texture
at 120 m, in means over 600 m, and of every fifth pixel.
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

from benchmarks.real_ice.scenes import SPACING_M, lacking, nesz, pictures, read
from scipy import ndimage

from frazil.files import replaced_file
from frazil.scene.scaling import to_db
from frazil.simulate.scene import simulate_scene
from frazil.simulate.world import WorldConfig

ROOT = Path(__file__).resolve().parents[1]
EDGES = np.arange(20.0, 45.1, 2.5)
_FINE_M, _EVERY, _WINDOW_M = 120.0, 5, 130e3
_CROP = 333  # pixels of 120 m: the width of the real crops
_SEASONS = ("freeze_up", "winter", "spring")
Statistics = dict[str, Any]


def statistics(sigma0: np.ndarray, angle: np.ndarray, valid: np.ndarray, spacing_m: float) -> Statistics:
    """What a scene of one surface looks like.

    Args:
        sigma0: (2, line, pixel), HH and HV, linear power without noise.
        angle: degrees.
        valid: bool.
        spacing_m: of the pixels.

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
            side = round(km * 1000 / spacing_m)
            out[f"{name} spread of {km} km means, dB"] = _spread(_mean(flat, valid, side))
        out[f"{name} correlation of neighbours"] = _correlation(flat)
    known = np.isfinite(out["HH by angle"])
    out["HH slope over the swath, dB/°"] = float(np.polyfit(middle[known], out["HH by angle"][known], 1)[0])
    slopes = window_slopes(hh, angle, round(_WINDOW_M / spacing_m))
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


def texture(power: np.ndarray) -> Statistics:
    """Spread and correlation of neighbours in a crop (line, pixel) of 120 m, linear power, NaN where not observed."""
    rows, columns = (n // _EVERY * _EVERY for n in power.shape)
    blocks = power[:rows, :columns].reshape(rows // _EVERY, _EVERY, columns // _EVERY, _EVERY)
    out: Statistics = {}
    for name, values in (
        ("at 120 m", power),
        ("means over 600 m", np.nanmean(blocks, axis=(1, 3))),
        ("every fifth", power[::5, ::5]),
    ):
        db = np.where(np.isfinite(values), to_db(values), np.nan)
        out[f"HV spread, {name}, dB"] = _spread(db)
        out[f"HV correlation of neighbours, {name}"] = _correlation(db)
    return out


def real(data: Path) -> list[Statistics]:
    """Of the real closed pack."""
    looks = [look for look in map(read, pictures(data)) if look.kind == "pack"]
    return [statistics(look.power - nesz(look.angle), look.angle, look.valid, SPACING_M) for look in looks]


def real_crops(data: Path) -> list[Statistics]:
    """Of the real crops of HV, brought from 40 to 120 m by 3 × 3 means."""
    import rasterio

    out = []
    for path in sorted((data / "real-ice" / "drift-pairs-hv").glob("*.tif")):
        with rasterio.open(path) as file:
            fine = file.read(1).astype(float)
        fine[fine <= 0] = np.nan
        n = min(fine.shape) // 3 * 3
        out.append(texture(np.nanmean(fine[:n, :n].reshape(n // 3, 3, n // 3, 3), axis=(1, 3))))
    return out


def simulated(signatures: str, scenes: int) -> tuple[list[Statistics], list[Statistics]]:
    """Of simulated closed pack thinned to 600 m, and of two crops of each scene; seeds 5000 and on, cold seasons."""
    thinned, crops = [], []
    for seed in range(5000, 5000 + scenes):
        world = WorldConfig(seed=seed, signatures=signatures, ice_fraction=1.0, season=_SEASONS[seed % 3])
        scene = simulate_scene("ew", seed=seed, spacing_m=_FINE_M, world=world)
        total = (scene["sigma0"][1] + scene["nesz"][1]).values
        for line, pixel in ((1200, 1000), (2000, 2400)):
            crops.append(texture(total[line : line + _CROP, pixel : pixel + _CROP]))
        thin = scene.isel(line=slice(2, None, _EVERY), pixel=slice(2, None, _EVERY))
        sigma0, angle, valid = (thin[name].values for name in ("sigma0", "incidence_angle", "valid"))
        thinned.append(statistics(sigma0, angle, valid, _EVERY * _FINE_M))
    return thinned, crops


def _range(rows: list[Statistics], name: str, middle: float = 100.0) -> str:
    values = [row[name] for row in rows]
    low, high = np.nanpercentile(values, [50 - middle / 2, 50 + middle / 2])
    return f"{low:.2f} … {high:.2f}"


def table(found: dict[str, list[Statistics]], real: str) -> str:
    """Markdown: of each statistic all of the real ones, and the middle 90 % of the simulated ones."""
    numbers = [k for k, v in found["real"][0].items() if not isinstance(v, np.ndarray)]
    lines = [f"| | {real} | measured | literature |", "|---|---|---|---|"]
    angles = [name for name in ("HH", "HV", "HH-HV") if f"{name} by angle" in found["real"][0]]
    for k in (0, 4, 8):
        for name in angles:
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
650 m, every pixel taken for ice), four real crops of HV of Arctic pack (40 km wide, October 2016 and January 2020), and
{scenes} simulated scenes of each kind that are all ice, cold seasons in turn, at 120 m. No labels are used, no network.
Three scenes of one week and one sea, and four crops of two places, are few: melt and open water are not compared here.
*Measured* scenes mix three regions and the Antarctic pack (`frazil.simulate.signatures`), and the median of eight of
these very quick-looks is among what they were made from: for that region's level this is no independent test.

## Closed pack at 600 m

Of the simulated scenes every fifth pixel is taken, for the pictures are thinned (below). The stated noise is
subtracted; what is left of it is in the numbers, HV above all.

{table}

## Texture of HV

Total power, the noise in it, in dB: crops of 40 km, two of each simulated scene. The real pixels are 3 × 3 means.

{texture}

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
    found, crops = {"real": real(given.data)}, {"real": real_crops(given.data)}
    for kind in ("measured", "literature"):
        found[kind], crops[kind] = simulated(kind, given.scenes)
    rows = table(found, "real, 3 scenes")
    texts = table(crops, "real, 4 crops") if crops["real"] else "The real crops were not at hand."
    print(rows, texts, sep="\n\n")
    given.output.mkdir(parents=True, exist_ok=True)
    draw(found, given.output / "simulator-real.png")
    if given.page:
        page = ROOT / "docs" / "results" / "simulator-real.md"
        old = page.read_text(encoding="utf-8") if page.is_file() else ""
        shown = SHOWN + old.partition(SHOWN)[2].partition("\nCommand:")[0].rstrip() if SHOWN in old else SHOWN
        with replaced_file(page) as part:
            part.write_text(PAGE.format(scenes=given.scenes, table=rows, texture=texts, shown=shown), encoding="utf-8")
        draw(found, ROOT / "docs" / "images" / "simulator-real.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
