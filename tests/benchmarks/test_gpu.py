"""`benchmarks/gpu.py` on made-up images and the CPU: what it runs, what it writes, and the page of its rows."""

from __future__ import annotations

import io
import lzma
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from frazil.labels.datasets.cifar10 import Part

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.on_gpu.cases import FEW, TOY, WORKERS, Sizes, cases, epochs_for
from benchmarks.on_gpu.children import Child, add_row, gather, read_rows
from benchmarks.on_gpu.packed import pack, prepared, unpack
from benchmarks.on_gpu.page import reached, trainings, write_gpu_page

from frazil.errors import LabelNotFoundError, OptionError
from frazil.labels.datasets.cifar10 import NAMES, read_cifar10
from frazil.learn.config import Cifar10Data
from frazil.learn.data.cifar10 import CropsOnDevice, load_cifar10
from frazil.learn.data.patches import PatchSampler
from frazil.studies.workers_reference import reseeded

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_command_trains_writes_and_tells(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/gpu.py", "--toy", "-o", str(tmp_path), "--minutes", "4", "--commit", "abc"]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = read_rows([tmp_path / "gpu.jsonl"])
    assert all(row["commit"] == "abc" and row["torch"] == torch.__version__ for row in rows)
    (machine,) = (row for row in rows if row["row"] == "machine")
    assert machine["device"] == "CPU"
    assert machine["seeds"] == [0]
    scenes = [row for row in rows if row["row"] == "scene"]
    assert [row["precision"] for row in scenes] == ["float32", "bfloat16"]
    results = {row["case"]: row for row in rows if row["row"] == "result"}
    assert set(results) == {"independent", "AFSD, N = 2", "label propagation, 40 labels"}
    for row in results.values():
        few = row["part"] == FEW
        assert [look["epoch"] for look in row["curve"]] == ([0.5, 1, 1.5, 2] if few else [1, 2])
        assert row["config"]["data"]["path"] == ""
        assert row["seed"] == row["config"]["seed"] == 0
    assert results["AFSD, N = 2"]["distilled"][-1] > 0
    assert results["AFSD, N = 2"]["config"]["optim"]["steps"] == 6
    assert results["label propagation, 40 labels"]["curve"][-1]["pseudo_coverage"] > 0
    page = write_gpu_page(rows, tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert page.index("How big this is: Workers learn for 2 epochs each where the paper has 65") < page.index("## ")
    assert "| 256 × 256 | CPU, " in page
    assert "broken off" not in page
    assert (tmp_path / "gpu.png").stat().st_size > 10_000


def test_a_run_that_was_broken_off_still_tells(tmp_path: Path) -> None:
    file, shared = tmp_path / "gpu.jsonl", {"part": WORKERS, "case": "Allreduce", "seed": 0, "epochs": 30, "torch": "2"}
    add_row(
        file,
        row="machine",
        device="CPU",
        cores=2,
        torch="2",
        cuda=None,
        commit="abc",
        tf32={},
        processes=2,
        mps="not asked for",
        seeds=[0],
        minutes=9,
    )
    for epoch, accuracy in enumerate((0.5, 0.7, 0.8), start=1):
        add_row(file, row="look", **shared, epoch=epoch, each=[accuracy], ensemble=accuracy, seconds=epoch)
    add_row(file, row="left out", part=FEW, case="mean teacher", why="no time")
    with file.open("a") as out:
        out.write('{"row": "look", ')  # a killed process
    rows = read_rows([file])
    (run,) = trainings(rows)
    assert run["cut"]
    assert reached(run["curve"], 0.7, "each") == 2
    assert reached(run["curve"], 0.9, "each") is None
    page = write_gpu_page(rows, tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert "| Allreduce | 80.00 | 80.00 | – | – | – | broken off at 3 of 30 | 3 |" in page
    assert "- mean teacher: no time." in page
    with pytest.raises(OptionError, match="name no machine"):
        write_gpu_page(rows[1:], tmp_path / "gpu.md", overwrite=True)


def test_epochs_are_those_that_the_slowest_has_time_for() -> None:
    sizes = Sizes(epoch=100, few_epoch=50)
    quick, slow = ({"rate": rate, "look": 1.0, "refresh": 0.0} for rate in (100.0, 25.0))
    assert epochs_for(WORKERS, [quick, slow], sizes, 100.0, 65) == 18  # 90 s of 4 + 1 s each
    assert epochs_for(FEW, [quick | {"refresh": 2.0}], sizes, 100.0, 65) == 20  # 0.5 + 2 looks + 2
    assert epochs_for(WORKERS, [quick], sizes, 1000.0, 65) == 65
    assert epochs_for(WORKERS, [], sizes, 100.0, 65) == 0
    names = [case.name for case in cases(Sizes())]
    assert len(set(names)) == len(names) == 18
    assert names[:4] == ["independent", "Allreduce", "Allreduce, rate not doubled", "codistillation, N = 50"]
    assert len(cases(TOY)) == 10


def test_a_packed_file_holds_the_same_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part, n in (("train", 12), ("test", 5)):
        with tarfile.open(tmp_path / f"{part}.tar", "w") as tar:
            for i in range(n):
                buffer = io.BytesIO()
                Image.fromarray(rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)).save(buffer, "jpeg")
                member = tarfile.TarInfo(f"{part}/{NAMES[(7 * i) % 10]}/{i:04d}.jpg")
                member.size = buffer.tell()
                tar.addfile(member, io.BytesIO(buffer.getvalue()))
    packed = tmp_path / "cifar10.bin"
    assert pack(tmp_path, packed) == packed.stat().st_size
    folder = unpack(packed, tmp_path / "out")
    parts: tuple[Part, ...] = ("train", "test")
    for part in parts:
        for got, want in zip(read_cifar10(folder, part), read_cifar10(tmp_path, part), strict=True):
            np.testing.assert_array_equal(got, want)
    with pytest.raises(LabelNotFoundError, match=r"train.tar is not there"):
        pack(tmp_path / "out", packed)
    with pytest.raises((lzma.LZMAError, ValueError, EOFError)):
        unpack(tmp_path / "train.tar", tmp_path / "other")


def test_batches_made_on_a_device_hold_the_same_pixels(tmp_path: Path) -> None:
    data = load_cifar10(Cifar10Data(path=prepared(None, tmp_path / "set"), validation=0.1), 5)
    assert isinstance(data.train, PatchSampler)
    crops: Any = CropsOnDevice(data.train, torch.device("cpu"))
    there = replace(data, train=crops)
    for seed, step, size in ((5, 0, 16), (5, 70, 16), (6, 3, 50), (5, 71, 16)):
        one, other = reseeded(data, seed).train, reseeded(there, seed).train
        assert isinstance(one, PatchSampler)
        (image, label), (got, code) = one.batch(step, size), other.batch(step, size)
        np.testing.assert_array_equal(got, image)
        np.testing.assert_array_equal(code, label)
        assert got.is_contiguous(memory_format=torch.channels_last)


def _fail(_what: str) -> None:
    raise ValueError("so it is")


def test_a_child_that_fails_is_named_and_one_that_hangs_is_ended() -> None:
    import time

    children = [Child("a"), Child("b"), Child("c")]
    errands: list[tuple[Callable[..., Any], Any]] = [(_fail, "x"), (time.sleep, 600), (len, "abc")]
    for child, (function, argument) in zip(children, errands, strict=True):
        child.start(function, argument)
    said: dict[str, str] = {}
    assert gather([children[0], children[2]], time.time() + 100, said.__setitem__) == {"c": 3}
    assert gather([children[1]], time.time() + 0.1, said.__setitem__) == {}
    assert said["b"] == "did not answer in time and is ended"
    children[1].start(len, "abc")
    assert gather([children[1]], time.time() + 10, said.__setitem__) == {}
    assert "so it is" in said["a"]
    assert said["b"].startswith("failed: the process ended")
    assert not children[1].process.is_alive()
