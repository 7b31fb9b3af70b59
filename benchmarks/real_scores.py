"""The bundled model, or others, on real sea ice: what the simulated scores do not tell.

    python benchmarks/real_scores.py [--model NAME|FOLDER …] [-o out/real-ice] [--page docs/results/real-ice.md]

Eight Sentinel-1 quick-looks of Antarctic pack and ice edge, which are not shipped, are turned into scenes (see
benchmarks/real_ice/scenes.py) and mapped by `frazil.predict`. Where they are not at hand, one line says so, and the
exit status is 0. Writes scores.json, real-ice.md and pictures. The pictures show the data: do not publish them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.real_ice.scenes import SPACING_M, WATER, QuickLook, lacking, pictures, read, scene_of
from benchmarks.real_ice.scores import SAYS_NEITHER, SAYS_NOTHING, Tally, decide

from frazil import predict
from frazil.answer import CONFIDENCE_PERCENT
from frazil.errors import FrazilError, ModelError
from frazil.learn.checkpoint import DEFAULT_MODEL, Model, git_commit, load_model, save_model

ROOT = Path(__file__).resolve().parents[1]
TEXT = """# The bundled model on real ice

How big this is: {n} Sentinel-1A EW scenes (HH and HV) of one sea (60–75° E, Antarctica) in one week of one October.
They are **quick-looks**: 8-bit pictures of about 650 m a pixel, in map geometry, processed elsewhere, not products.
Three are closed pack from border to border: every pixel is taken for ice, narrow leads too. Two hold an ice edge:
beyond 34° incidence the 5 × 5 mean of HH tells open water (dark, grey below 60 of 255) from pack (bright, above 110);
what lies between counts for neither. So the truth of the edge is read off HH, which the model sees, too. Of the
other three nothing is known. Nothing here is Arctic, melting, or young ice by name; the only water is dark and calm.

- *650 m*: the pixels as they are. The model learnt at 120 m and is told nothing of it: the same network, other scale.
- *120 m*: the same power brought to 120 m (bilinear, linear power), with the speckle of 3 × 3 averages of EW pixels. It
  has the pixels and the grain that the model knows, but no form finer than 650 m.
- *noise*: the pictures hold thermal noise. What is taken off, in HH and in HV, is the NESZ by incidence angle of the
  bundled product, times this. Nobody knows the right factor within 0.8 dB (0.83 to 1.2).
- *Undecided*: pixels of known truth that got no answer, for neither ice nor water was 80 % probable. *Called water* (or
  ice): share of the pack (or water), of pixels that got an answer. *Found*: share of all certain pixels.
- *Likelier wrong*: share of all certain pixels whose likelier answer is wrong, decided or not. *Confidence there*: mean
  probability of that answer. *ECE*: expected calibration error of P(ice), 15 bins.
- Pixels and scenes are added up, then divided. Neighbouring pixels are alike: the scenes are what counts, and there are
  three and two.
- The pictures hold γ0 of −22 … −8 dB in HH and −32 … −18 dB in HV; what lies beyond is clipped. In the two edge scenes
  {clipped} of the known water are clipped in HH: it looks brighter here than it was.

## By kind of scene

{table}

## More or less undecided, noise × 1

What is undecided, and what is wrong of the rest, if another confidence is asked for (`--min-confidence`).

{trade}

## Flags, noise × 1

How often the likelier answer is wrong inside a flag, and outside it.

{flags}

## Scene by scene, noise × 1

{scenes}

## Scenes of which nothing is known, noise × 1

{unknown}

{shows}## How it was made

{date}, commit {commit}. Command: `{command}`

<!-- Written by frazil {version} -->
"""
SHOWN = re.compile(r"^## What it shows\n.*?(?=^## )", flags=re.MULTILINE | re.DOTALL)
TITLES = {"pack": "closed pack", "edge": "ice edge, beyond 34°", "unknown": "unknown"}
COLUMNS = (
    ("undecided", "undecided"),
    ("pack called water", "ice_called_water_of_decided"),
    ("water called ice", "water_called_ice_of_decided"),
    ("pack found", "ice_found"),
    ("water found", "water_found"),
    ("likelier wrong", "likelier_wrong"),
    ("confidence there", "likelier_confidence_wrong"),
    ("where right", "likelier_confidence_right"),
    ("ECE", "likelier_ece"),
)
Row = dict[str, Any]


def at_spacing(model: Model, spacing_m: float) -> Model:
    """The model for scenes of a spacing: at 650 m one that says it learnt there, as `predict` would refuse it.

    Raises:
        ModelError: a model of other pixels than 120 m, at 120 m.
    """
    if spacing_m == SPACING_M:
        return Model(model.network, replace(model.card, spacing_m=spacing_m))
    if not abs(spacing_m / model.card.spacing_m - 1) <= 0.2:
        raise ModelError(
            f"Model {model.card.id} has pixels of {model.card.spacing_m:g} m. Give --spacing 650 alone for it."
        )
    return model


def measure(models: dict[str, Model], look: QuickLook, spacing_m: float, noise: float, out: Path | None) -> list[Row]:
    """A row for each model of one scene in one variant; pictures where a folder is given."""
    rows = []
    for name, model in models.items():
        told = at_spacing(model, spacing_m)
        scene = scene_of(look, spacing_m=spacing_m, noise=noise, denoise=told.card.denoise)
        made = predict(scene, told, crs=None)
        tally = Tally.of_map(made, scene)
        if out is not None:
            draw(made, look, out / f"{look.kind}-{look.name}-{spacing_m:g}m-{Path(name).name}.png")
        rows.append(
            {
                "model": name,
                "scene": look.name,
                "kind": look.kind,
                "spacing_m": spacing_m,
                "noise": noise,
                "tally": tally,
                "water_clipped": look.clipped(WATER),
                "outside_training": made.attrs.get("outside_training", ""),
                **tally.scores(),
            }
        )
        print(_line(rows[-1]), file=sys.stderr, flush=True)
    return rows


def pooled(rows: list[Row]) -> list[Row]:
    """One row for each model, kind of scene with a truth, spacing and noise; counts added up."""
    groups: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        if row["kind"] != "unknown":
            groups[row["model"], row["kind"], row["spacing_m"], row["noise"]].append(row)
    out = []
    for key in sorted(groups, key=lambda k: (k[0], k[1] != "pack", -k[2], k[3])):
        tally = sum((row["tally"] for row in groups[key]), Tally())
        head = dict(zip(("model", "kind", "spacing_m", "noise"), key, strict=True))
        out.append({**head, "scenes": len(groups[key]), **tally.scores()})
    return out


def tell_card(folder: Path, rows: list[Row]) -> None:
    """Write what a model did on real scenes (at 120 m, noise × 1) into its card, where `frazil map` finds it."""
    model = load_model(folder)
    told: dict[str, Any] = {"data": "Sentinel-1 EW quick-looks of Antarctic pack and ice edge, October 2024, at 120 m"}
    for row in pooled([r for r in rows if (r["spacing_m"], r["noise"]) == (120.0, 1.0)]):
        decided = next(t for t in row["trade"] if t["confidence_percent"] == CONFIDENCE_PERCENT)
        told[row["kind"]] = {"scenes": row["scenes"], "ece": row["likelier_ece"], "decided": decided}
    if len(told) == 1:
        raise ModelError(f"Nothing to tell {folder}: the figures at 120 m and noise × 1 are not among those asked for.")
    save_model(model.network, replace(model.card, scores=model.card.scores | {"real": told}), folder, in_run=True)


def draw(made: xr.Dataset, look: QuickLook, path: Path) -> None:
    """HH, HV and the answer side by side at the picture's own scale: classes in their colours, undecided grey."""
    from frazil.conventions import CLASS_SCHEMES, UNDECIDED_COLOUR

    colours = np.full((256, 3), 90, np.uint8)
    for c in CLASS_SCHEMES[made.attrs["class_scheme"]].classes:
        colours[c.code] = c.colour
    answer = decide(made)
    rgb = colours[made["ice_class"].values]
    rgb[answer == SAYS_NEITHER] = UNDECIDED_COLOUR
    rgb[answer == SAYS_NOTHING] = 0
    size = look.valid.shape
    rgb = np.asarray(Image.fromarray(rgb).resize(size[::-1], Image.Resampling.NEAREST))
    panels = [np.where(look.valid, g, 0).astype(np.uint8)[..., None].repeat(3, axis=2) for g in look.grey]
    gap = np.full((size[0], 12, 3), 255, np.uint8)
    Image.fromarray(np.concatenate([panels[0], gap, panels[1], gap, rgb], axis=1)).save(path)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _cells(row: Row) -> list[str]:
    """Of `COLUMNS`; what says nothing of a kind of scene is left empty."""
    cells = []
    for _, key in COLUMNS:
        value = row[key]
        plain = key.endswith("ece") or "confidence" in key
        cells.append("" if value is None else f"{value:.2f}" if plain else _percent(value))
    return cells


def _line(row: Row) -> str:
    where = f"{row['scene']} {row['kind']:7} {row['spacing_m']:g} m noise × {row['noise']:g} {row['model']}"
    if row["kind"] == "unknown":
        return f"{where}: water {_percent(row['mapped_water'])}, ice {_percent(row['mapped_ice'])}"
    return f"{where}: " + ", ".join(f"{c} {v}" for (c, _), v in zip(COLUMNS, _cells(row), strict=True) if v)


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def page(rows: list[Row], pools: list[Row], command: str, old: str) -> str:
    """The page; "What it shows" of the old one stays."""
    from frazil import __version__

    several = len({r["model"] for r in rows}) > 1
    titles = [title for title, _ in COLUMNS]

    def first(r: Row) -> list[str]:
        return [f"`{r['model']}`"] if several else []

    head = ["model"] if several else []
    table = [
        [
            *first(r),
            TITLES[r["kind"]],
            f"{r['spacing_m']:g} m",
            f"{r['noise']:g}",
            f"{r['known_ice']:,} / {r['known_water']:,}",
            *_cells(r),
        ]
        for r in pools
    ]
    once = sorted((r for r in rows if r["noise"] == 1.0), key=lambda r: (r["model"], -r["spacing_m"], r["kind"]))
    scenes = [
        [
            *first(r),
            r["scene"],
            TITLES[r["kind"]],
            f"{r['spacing_m']:g} m",
            f"{r['known_ice']:,} / {r['known_water']:,}",
            *_cells(r),
            r["outside_training"] or "no",
        ]
        for r in once
        if r["kind"] != "unknown"
    ]
    unknown = [
        [
            *first(r),
            r["scene"],
            f"{r['spacing_m']:g} m",
            *(_percent(r[f"mapped_{what}"]) for what in ("water", "ice", "undecided")),
            r["outside_training"] or "no",
        ]
        for r in once
        if r["kind"] == "unknown"
    ]
    trade = [
        [
            *first(r),
            TITLES[r["kind"]],
            f"{r['spacing_m']:g} m",
            f"{t['confidence_percent']} %",
            *(
                _percent(t[k]) if t[k] is not None else ""
                for k in ("undecided", "ice_called_water", "water_called_ice")
            ),
        ]
        for r in pools
        if r["noise"] == 1.0
        for t in r["trade"]
    ]
    flags = [
        [
            *first(r),
            TITLES[r["kind"]],
            f"{r['spacing_m']:g} m",
            f"`{name}`" if name != "any" else "any",
            *(_percent(f[k]) for k in ("share", "wrong_inside", "wrong_outside")),
        ]
        for r in pools
        if r["noise"] == 1.0
        for name, f in r["flags"].items()
    ]
    shown = SHOWN.search(old)
    clipped = {r["scene"]: _percent(r["water_clipped"]) for r in rows if r["kind"] == "edge"}
    return TEXT.format(
        n=len({r["scene"] for r in rows}),
        shows=shown.group(0) if shown else "",
        clipped=" and ".join(clipped.values()) or "some",
        table=_table([*head, "scenes", "pixels", "noise ×", "pack / water, pixels", *titles], table),
        trade=_table([*head, "scenes", "pixels", "asked", "undecided", "pack called water", "water called ice"], trade),
        flags=_table([*head, "scenes", "pixels", "flag", "share", "wrong inside", "wrong outside"], flags),
        scenes=_table([*head, "scene", "", "pixels", "pack / water, pixels", *titles, "outside training"], scenes),
        unknown=_table([*head, "scene", "pixels", "water", "ice", "undecided", "outside training"], unknown),
        date=f"{datetime.now(UTC):%d %B %Y}",
        commit=git_commit(),
        command=command,
        version=__version__,
    )


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", action="append", metavar="NAME|FOLDER", help="repeatable; by default the bundled one"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("out/real-ice"))
    parser.add_argument("--page", type=Path, help='write the page here, too; its "What it shows" stays')
    usual = Path(os.environ.get("FRAZIL_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument(
        "--card", type=Path, metavar="FOLDER", help="write the figures at 120 m, noise × 1, into the card of this model"
    )
    parser.add_argument("--data", type=Path, default=usual, help="the folder that holds real-ice/")
    parser.add_argument("--spacing", type=int, nargs="+", choices=(650, 120), default=[650, 120], help="metres")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.8, 1.0, 1.2], help="factors on the NESZ")
    given = parser.parse_args()
    if missing := lacking(given.data):
        print(f"Skipped: {missing}. Set FRAZIL_TEST_DATA or --data to a folder that holds real-ice/.")
        return 0
    names = given.model or [DEFAULT_MODEL]
    rows: list[Row] = []
    try:
        models = {name: load_model(name) for name in names}
        for spacing in given.spacing:
            for model in models.values():
                at_spacing(model, float(spacing))
        given.output.mkdir(parents=True, exist_ok=True)
        drawn: set[str] = set()
        for look in map(read, pictures(given.data)):
            new = look.kind in ("pack", "edge") and look.kind not in drawn
            drawn.add(look.kind)
            for spacing in given.spacing:
                for noise in given.noise:
                    out = given.output if new and noise == given.noise[len(given.noise) // 2] else None
                    rows += measure(models, look, float(spacing), noise, out)
    except FrazilError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    pools = pooled(rows)
    if given.card:
        tell_card(given.card, rows)
    plain = [{k: v for k, v in row.items() if k != "tally"} for row in rows]
    scores = {"commit": git_commit(), "pooled": pools, "scenes": plain}
    (given.output / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    target = given.page or given.output / "real-ice.md"
    old = target.read_text(encoding="utf-8") if target.is_file() else ""
    told = "".join(f" --model {name}" for name in given.model or [])
    told += f" --card {given.card}" if given.card else ""
    command = f"python benchmarks/real_scores.py{told}" + (f" --page {given.page}" if given.page else "")
    for option, values, usual_values in (
        ("spacing", given.spacing, [650, 120]),
        ("noise", given.noise, [0.8, 1.0, 1.2]),
    ):
        if values != usual_values:
            command += f" --{option} {' '.join(f'{v:g}' for v in values)}"
    text = page(rows, pools, command, old)
    for path in {target, given.output / "real-ice.md"}:
        path.write_text(text, encoding="utf-8")
    print(text[text.index("## By kind") : text.index("## Scenes of which")].strip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
