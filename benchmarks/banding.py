"""Residual banding before and after `denoise="balanced"`, on simulated products with known wrong noise.

    python benchmarks/banding.py --output docs/results

Writes banding.md and banding.png. Each seed is simulated twice, with wrong noise and with right noise under the same
speckle, so that the error of σ0 is known pixel by pixel.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from frazil import open_scene, simulate_product
from frazil.scene.measurement import Measurement
from frazil.scene.scaling import to_db
from frazil.sentinel1.balance import apply_corrections, banding, fit, read_profiles
from frazil.sentinel1.product import Band, open_product
from frazil.sentinel1.radiometry import make_radiometry
from frazil.simulate import NoiseError

TEXT = """# Residual sub-swath banding

{date}, commit {commit}.

Caveats first: simulated products. The wrong noise is known because we made it: a scale error of up to ±20 % per
sub-swath and polarisation, and 3 % from burst to burst. Real residual noise may differ in shape too, and what is common
to all sub-swaths cannot be seen from within the scene.

Steps are those of σ0 at the four sub-swath borders (EW1/EW2 … EW4/EW5), extrapolated from both sides: in dB the median
over burst cycles; in units of NESZ the root mean square over borders and cycles. *Right noise* is the same scene and
speckle without noise errors: what remains there is the scene itself (ice edges cross borders, too) and is the floor.
The σ0 error is against that scene, over the 20-pixel bins of the profiles; it is the figure that counts.

Command: `{command}`

{head}
{rows}

![HV before and after](banding.png)
"""
SWATHS = ("EW1", "EW2", "EW3", "EW4", "EW5")


def wrong_noise(seed: int) -> NoiseError:
    """Scale errors of up to 20 % a sub-swath, and 3 % from burst to burst."""
    rng = np.random.default_rng([seed, 99])
    scale = {(pol, s): float(1 + rng.uniform(-0.2, 0.2)) for pol in ("HH", "HV") for s in SWATHS}
    return NoiseError(scale=scale, burst=0.03)


def profiles_of(band: Band):
    """Range profiles of one image, nominal noise removed."""
    radiometry = make_radiometry(
        band.annotation, band.calibration, band.noise, denoise=True, ipf=band.product.ipf_version
    )
    return read_profiles(radiometry, Measurement(band.measurement, radiometry.shape, band.stem))


def study(seed: int, folder: Path) -> tuple[list[str], Path]:
    """Rows of the table for one seed, and the product with wrong noise."""
    error = wrong_noise(seed)
    wrong = simulate_product(folder / f"wrong-{seed}", seed=seed, noise_error=error)
    right = simulate_product(folder / f"right-{seed}", seed=seed, noise_error=NoiseError())
    rows = []
    for k, pol in enumerate(("HH", "HV")):
        before = profiles_of(open_product(wrong).bands[k])
        truth = profiles_of(open_product(right).bands[k])
        corrections = fit(before)
        after = apply_corrections(before, corrections)
        b, a, t = banding(before), banding(after, before), banding(truth)
        rms = [float(np.sqrt(np.nanmean(((p.sigma0 - truth.sigma0) / truth.nesz) ** 2))) for p in (before, after)]
        off = [abs(c.scale - error.scale[(pol, c.swath)]) for c in corrections]
        steps = ["/".join(f"{v:+.2f}" for v in x.step_db) for x in (b, a, t)]
        rows.append(
            f"| {seed} {pol} | {steps[0]} | {steps[1]} | {steps[2]} | {b.rms_nesz:.3f} | {a.rms_nesz:.3f} "
            f"| {t.rms_nesz:.3f} | {rms[0]:.3f} | {rms[1]:.3f} | {np.mean(off):.3f} |"
        )
        print(rows[-1], file=sys.stderr)
    return rows, wrong


def picture(product: Path, path: Path) -> None:
    """HV of one product with the product's noise removed, and balanced; below, the mean over azimuth of both."""
    figure = Figure(figsize=(11, 7.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplot_mosaic([["esa", "balanced"], ["profile", "profile"]], height_ratios=[2.4, 1])
    titles = {"esa": "Noise removed as the product says", "balanced": "Balanced on the scene itself"}
    for (denoise, title), colour in zip(titles.items(), ("tab:red", "tab:blue"), strict=True):
        power = open_scene(product, polarizations=("HV",), looks=12, denoise=denoise).sigma0[0].values
        axis = panels[denoise]
        image = axis.imshow(to_db(power), cmap="gray", vmin=-38, vmax=-22, interpolation="nearest")
        axis.set(title=title, xlabel="range  →", ylabel="←  azimuth", xticks=[], yticks=[])
        panels["profile"].plot(1e3 * np.nanmedian(power, axis=0), color=colour, linewidth=1, label=title)
    figure.colorbar(image, ax=[panels["esa"], panels["balanced"]], label="σ0 HV, dB", shrink=0.8)
    panels["profile"].set(xlabel="range, 480 m pixels", ylabel="median σ0 HV × 1000", xlim=(0, power.shape[1]))
    panels["profile"].legend(frameon=False)
    figure.suptitle("Simulated EW scene with known wrong noise scales", fontweight="bold")
    figure.savefig(path, dpi=90)


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13, 14])
    parser.add_argument("--picture", type=int, default=13, help="the seed to draw")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        for seed in arguments.seeds:
            found, product = study(seed, Path(name))
            rows += found
            if seed == arguments.picture:
                picture(product, arguments.output / "banding.png")
    from frazil.learn.checkpoint import git_commit

    head = (
        "| seed | step before, dB | after | right noise | rms step before, NESZ | after | right noise "
        "| rms σ0 error before, NESZ | after | mean error of the scale |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    command = f"python benchmarks/banding.py --output docs/results --seeds {' '.join(map(str, arguments.seeds))}"
    text = TEXT.format(
        date=f"{datetime.now(UTC):%d %B %Y}", commit=git_commit(), command=command, head=head, rows="\n".join(rows)
    )
    (arguments.output / "banding.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
