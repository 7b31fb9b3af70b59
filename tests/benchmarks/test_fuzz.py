"""A slice of the standing attack, and the inputs by which it has found faults."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from frazil.conventions import FIVE_CLASSES
from frazil.errors import LabelError, OptionError
from frazil.gdal_files import vector_source
from frazil.labels.patch_set import make_patches, open_patches, save_patches
from frazil.labels.splits import Split
from frazil.learn.log import read_log

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_slice_of_the_attack(tmp_path: Path) -> None:
    """No crash, hang, traceback, request, or file outside; the exit status says so."""
    targets = ("product", "labels-geojson", "chart-shp", "patch-set", "exchange-manifests", "split", "features")
    chosen = [word for name in targets for word in ("--target", name)]
    command = [sys.executable, "benchmarks/fuzz.py", *chosen, "--cases", "30", "--minutes", "0.5", "-o", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(map(sum, (found.values() for found in json.loads(done.stdout).values()))) > 20


@pytest.mark.parametrize("feature", [None, {}, {"type": [1]}, {"type": "Feature", "geometry": {"type": "Polygon"}}])
def test_a_damaged_feature_is_not_passed_over(tmp_path: Path, feature: object) -> None:
    file = tmp_path / "a.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    with pytest.raises(LabelError, match="Feature 1 of .* is damaged"), vector_source(file):
        pass


def test_missing_and_changed_chunks_of_a_patch_set(tmp_path: Path) -> None:
    """A missing chunk of labels was read as zeros, a flipped bit of an image as another image."""
    patches = make_patches(
        np.random.default_rng(0).normal(-20, 5, (20, 1, 8, 8)),
        np.arange(20) % 5,
        channels=("hh",),
        units=("dB",),
        scheme=FIVE_CLASSES,
        scene=np.array(["a"] * 20),
    )
    for name, damage in (("label", False), ("image", True)):
        store = save_patches(patches, tmp_path / f"{name}.zarr")
        chunk = next(p for p in (store / name / "c").rglob("*") if p.is_file())
        data = bytearray(chunk.read_bytes())
        chunk.unlink()
        if damage:
            data[-9] ^= 1
            chunk.write_bytes(data)
        with pytest.raises((LabelError, RuntimeError)):
            _ = open_patches(store)["image"].values


@pytest.mark.parametrize("values", [{"shares": [70, 0]}, {"shares": [-0.1, 0]}, {"seed": 1.5}, {"train": [1, 2]}])
def test_impossible_splits(tmp_path: Path, values: dict) -> None:
    file = tmp_path / "split.json"
    file.write_text(json.dumps({"by": "scene", "train": ["a"], "seed": 1, "shares": [0, 0]} | values))
    with pytest.raises((LabelError, OptionError)):
        Split.load(file)


def test_a_damaged_line_of_a_log_is_named_and_a_cut_one_is_not(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 0}\n{"step": 1}\n{"st')
    assert len(read_log(tmp_path)) == 2
    log.write_text('{"step": 0}\n{"st\n{"step": 2}\n')
    with pytest.raises(OptionError, match="Line 2 of"):
        read_log(tmp_path)
    log.write_text('{"step": 0}\n{"step": ' + "9" * 5000 + "}\n")
    with pytest.raises(OptionError, match="Line 2 of"):
        read_log(tmp_path)
    log.write_text("<not>a log</not>")
    with pytest.raises(OptionError, match="Line 1 of"):
        read_log(tmp_path)


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 3000 + "]" * 3000, '{"seed": ' + "9" * 5000 + "}", "\xff", ""])
def test_json_that_python_does_not_read(tmp_path: Path, text: str) -> None:
    file = tmp_path / "split.json"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(LabelError, match="is not a split"):
        Split.load(file)
