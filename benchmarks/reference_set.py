"""The reference set: what must not change when the code is moved, bit for bit on one machine.

    python benchmarks/reference_set.py record          # before: writes benchmarks/reference_set.json
    python benchmarks/reference_set.py check           # after: says what differs from it
    python benchmarks/reference_set.py check --quick   # the float32 recipe and the maps only

Every recipe learns for two steps on small data; losses, scores and a digest of the weights are kept. An ice map, a map
of phenomena and the masks of imagettes: a digest of every raster, and of the numbers of every vector file. A report on
runs: a digest of its words, without seconds, dates and versions. On another processor or another PyTorch sums are added
in another order: then `check` compares losses and scores to one part in a thousand, and no digests of weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "benchmarks" / "reference_set.json"
TINY_SEGMENTER = {"model.settings.widths": "[4,8]", "model.settings.patch": "1"}
#: Recipe, or all of its module -> what makes it small. A recipe's own line comes on top of its module's.
SMALL: dict[str, dict[str, str]] = {
    "ice_simulated": {
        "data.train_seeds": "[1]",
        "data.validation_seeds": "[2]",
        "data.test_seeds": "[3]",
        "data.crop": "64",
        "data.spacing_m": "960",
        "optim.steps": "2",
        "optim.batch": "2",
        "optim.validate_every": "1",
        "model.settings.widths": "[4,8]",
    },
    "ice_simulated:measured": {
        "data.also_spacing_m": "[1920]",
        "data.also_quicklook": "[]",
        "model.settings.wide_widths": "[4,8]",
        "model.settings.wide_stage": "1",
    },
    "few_labels": {
        "data.patches": "set.zarr",
        "labels.count": "15",
        "optim.epochs": "null",
        "optim.steps": "2",
        "optim.batch": "16",
        "model.settings.patch": "32",
    },
    **{
        f"few_labels:{name}": {"strategy.labelled": "8"}
        for name in (
            *("mixmatch", "semi_gan", "fixmatch", "mean_teacher"),
            *("pi_model", "temporal_ensembling", "remixmatch", "m1_m2"),
        )
    },
    **{
        f"few_labels:{name}": {"strategy.labelled": "8", "strategy.first_steps": "1"}
        for name in ("lp", "lp_wrn", "tslp")
    },
    "few_labels:noisy_student": {"strategy.labelled": "8", "strategy.first_steps": "1", "strategy.rounds": "1"},
    "patches": {"data.patches": "set.zarr", "optim.epochs": "null", "optim.steps": "2", "optim.batch": "8"},
    "patches:distilled": {"strategy.teacher": "runs/patches-adhoc/model"},
    "cifar10": {"data.path": "cifar", "optim.epochs": "null", "optim.steps": "2", "optim.batch": "16"},
    "metocean": {
        "data.train": "train.zarr",
        "data.validation": "validation.zarr",
        "data.test": "test.zarr",
        "optim.epochs": "null",
        "optim.steps": "2",
        "optim.batch": "4",
    },
    "metocean:unet": {"model.settings.widths": "[4,8,8,8]"},
    "metocean:categoriser": {"model.settings.width": "0.125"},
    "scenes": {
        "data.crop": "64",
        "optim.steps": "2",
        "optim.batch": "2",
        "model.settings.widths": "[4,8]",
        "data.labels": "{folder}/{scene}_truth/ice_class.tif",
    },
}
_UNSTEADY = re.compile(
    r"\d+(\.\d+)? ?(s|min|h|GB|MB|seconds|minutes)\b|\d{1,2} \w+ 20\d\d|20\d\d-\d\d-\d\d\S*"
    r"|\d\d:\d\d(:\d\d)?|[0-9a-f]{7,40}"
)


class Lab:
    """A folder in which frazil's commands run, with the sources of one revision."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "2", "COLUMNS": "100"}

    def frazil(self, *words: str) -> str:
        """What a command printed; its own words where it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "frazil", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"frazil {' '.join(words)}\n{done.stderr[-2000:]}")
        return done.stdout


def make_data(lab: Lab) -> None:
    """Small scenes, patches, imagettes and photographs, the same every time."""
    for seed in range(1, 7):
        lab.frazil("simulate", "scenes", "--seed", str(seed), "--lines", "5200", "5700", "--pixels", "2400", "3000")
    scenes = sorted(str(p.relative_to(lab.folder)) for p in (lab.folder / "scenes").glob("*.SAFE"))
    lab.frazil(
        "patches",
        "cut",
        *scenes,
        "--labels",
        "{folder}/{scene}_truth/polygons.gpkg",
        "--boxcar",
        "--limit",
        "20",
        "-o",
        "set.zarr",
    )
    for name, seed in (("train", 0), ("validation", 1000), ("test", 2000)):
        lab.frazil("imagettes", "simulated", "--count", "2", "--seed", str(seed), "-o", f"{name}.zarr")
    lab.frazil("simulate", "--sample", "sample")
    lab.frazil(
        "simulate",
        "wide",
        "--template",
        "iw",
        "--seed",
        "1",
        "--lines",
        "0",
        "3000",
        "--pixels",
        "0",
        "4000",
        "--open-sea",
    )
    inside = lab.folder / "cifar" / "cifar-10-batches-bin"
    inside.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, n in (("data_batch_1", 60), ("data_batch_2", 60), ("test_batch", 30)):
        label = np.arange(n) % 10
        image = rng.integers(0, 20, (n, 3072)) + 23 * label[:, None]
        (inside / f"{name}.bin").write_bytes(np.concatenate([label[:, None], image], 1).astype(np.uint8).tobytes())


def recipe(lab: Lab, name: str) -> dict[str, Any]:
    """Losses, scores and the digest of the weights of two steps."""
    module = name.split(":")[0]
    changes = {**SMALL.get(module, {}), **SMALL.get(name, {})}
    if module == "scenes":
        scenes = sorted(str(p.relative_to(lab.folder)) for p in (lab.folder / "scenes").glob("*.SAFE"))
        changes |= {"data.train": ",".join(scenes[:4]), "data.validation": scenes[4], "data.test": scenes[5]}
    run = f"runs/{name.replace(':', '-')}"
    lab.frazil("train", name, "-o", run, *(w for k, v in changes.items() for w in ("--set", f"{k}={v}")))
    lines = (lab.folder / run / "log.jsonl").read_text().splitlines()
    rows = [{k: v for k, v in json.loads(line).items() if "seconds" not in k} for line in lines]
    model = lab.folder / run / "model"
    card = json.loads((model / "card.json").read_text())
    return {"log": rows, "scores": card["scores"], "weights": weights_digest(next(model.glob("*.safetensors")))}


def weights_digest(path: Path) -> str:
    """Of the tensors by name, whatever else the file says."""
    from safetensors.numpy import load_file

    total = hashlib.sha256()
    for name, tensor in sorted(load_file(path).items()):
        total.update(f"{name} {tensor.dtype} {tensor.shape}".encode() + np.ascontiguousarray(tensor).tobytes())
    return total.hexdigest()[:16]


def map_folder(folder: Path) -> dict[str, str]:
    """A digest of every raster, of every vector file's numbers, and of the variables of the NetCDF."""
    import geopandas
    import rasterio
    import xarray as xr

    out = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".tif":
            with rasterio.open(path) as dataset:
                where = f"{dataset.crs} {tuple(dataset.transform)} {dataset.nodata} {dataset.descriptions}"
                out[path.name] = _digest(where.encode(), dataset.read().tobytes())
        elif path.suffix in (".geojson", ".gpkg"):
            layers = geopandas.list_layers(path)
            for layer in layers.name[layers.geometry_type.notna()]:  # without the table of styles
                frame = geopandas.read_file(path, layer=layer)
                table = frame.drop(columns="geometry").to_csv(index=False)
                out[f"{path.name}/{layer}"] = _digest(table.encode(), b"".join(frame.geometry.to_wkb()))
        elif path.suffix == ".nc":
            with xr.open_dataset(path, decode_cf=False) as dataset:
                for name, variable in sorted(dataset.variables.items()):
                    out[f"{path.name}/{name}"] = _digest(np.ascontiguousarray(variable.values).tobytes())
        elif path.suffix == ".qml":
            out[path.name] = _digest(path.read_bytes())
    return out


def ice_map(lab: Lab, *more: str) -> dict[str, str]:
    product = next((lab.folder / "sample").glob("*.SAFE")).relative_to(lab.folder)
    lab.frazil("map", str(product), "-o", "ice", "--overwrite", *more)
    return map_folder(lab.folder / "ice")


def phenomena_map(lab: Lab) -> dict[str, str]:
    product = next((lab.folder / "wide").glob("*.SAFE")).relative_to(lab.folder)
    lab.frazil("map", str(product), "--model", "runs/metocean-unet/model", "-o", "phenomena", "--overwrite")
    return map_folder(lab.folder / "phenomena")


def report(lab: Lab) -> str:
    """The digest of the words of the pages, without what changes from run to run."""
    runs = [f"runs/{name}" for name in ("patches-adhoc", "ice_simulated-tiny")]
    lab.frazil("report", *runs, "-o", "report", "--overwrite")
    words = [page_words(path) for path in sorted((lab.folder / "report").rglob("*.html"))]
    return _digest("\n".join(words).encode())


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._skip = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._skip = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._skip = False

    def handle_data(self, data: str) -> None:
        if data.strip() and not self._skip:
            self.words.append(data.strip())


def page_words(path: Path) -> str:
    """The visible words of an HTML page, without times, sizes, dates and digests."""
    parser = _Words()
    parser.feed(path.read_text(encoding="utf-8"))
    words = re.sub(r"\S*/__main__\.py", "frazil", " ".join(parser.words))  # a command says where frazil lies
    words = re.sub(r"Commit of frazil \S+", "", words)
    return _UNSTEADY.sub("~", words)


def _digest(*parts: bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()[:16]


def make(source: Path, say: Callable[[str], None], *, quick: bool = False) -> dict[str, Any]:
    """The whole set, as a table of entries."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder), source)
        say("data")
        if quick:
            lab.frazil("simulate", "--sample", "sample")
            names = ["ice_simulated:tiny"]
        else:
            make_data(lab)
            listed = subprocess.run(
                [sys.executable, "-c", "from frazil.recipes import recipe_names; print(*recipe_names())"],
                env=lab.environment,
                capture_output=True,
                text=True,
                check=True,
            )
            names = listed.stdout.split()
        out: dict[str, Any] = {}
        for name in names:
            say(name)
            out[f"recipe {name}"] = recipe(lab, name)
        say("maps")
        out["ice map"] = ice_map(lab)
        if not quick:
            out["phenomena map"] = phenomena_map(lab)
            say("report")
            out["report"] = report(lab)
        return out


def environment() -> dict[str, str]:
    """What the last bits depend on."""
    import torch

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {"processor": model, "torch": torch.__version__, "numpy": np.__version__}


def differences(before: Any, after: Any, name: str = "", *, exact: bool = True) -> list[str]:
    """Where two entries differ, a line each; numbers to one part in a thousand unless `exact`."""
    if isinstance(before, dict) and isinstance(after, dict):
        lines = [f"{name}{key}: only before" for key in before.keys() - after.keys()]
        lines += [f"{name}{key}: only after" for key in after.keys() - before.keys()]
        for key in before.keys() & after.keys():
            lines += differences(before[key], after[key], f"{name}{key} / ", exact=exact)
        return sorted(lines)
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            line
            for i, (a, b) in enumerate(zip(before, after, strict=True))
            for line in differences(a, b, f"{name}{i} / ", exact=exact)
        ]
    if not exact and isinstance(before, float) and isinstance(after, float):
        same = math.isclose(before, after, rel_tol=1e-3, abs_tol=1e-3)
    else:
        same = before == after or (before != before and after != after)
    return [] if same else [f"{name.removesuffix(' / ')}: {before} -> {after}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["record", "check"])
    parser.add_argument("--file", type=Path, default=FILE)
    parser.add_argument("--source", type=Path, default=ROOT / "src", help="sources of the version to run")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    made = make(given.source, lambda what: print(what, flush=True), quick=given.quick)
    here = environment()
    if given.verb == "record":
        given.file.write_text(json.dumps({"environment": here, "entries": made}, indent=1) + "\n", encoding="utf-8")
        return
    stored = json.loads(given.file.read_text(encoding="utf-8"))
    exact = stored["environment"] == here
    entries = stored["entries"]
    if not exact:
        print(f"Recorded elsewhere ({stored['environment']}): numbers are compared to one part in a thousand.")
        entries = {k: {**v, "weights": ""} if "weights" in v else v for k, v in entries.items() if "map" not in k}
        made = {k: {**v, "weights": ""} if "weights" in v else v for k, v in made.items() if "map" not in k}
    if given.quick:
        entries = {k: v for k, v in entries.items() if k in made}
    lines = differences(entries, json.loads(json.dumps(made)), exact=exact)
    print(*lines or ["The same."], sep="\n")
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
