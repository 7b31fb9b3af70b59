"""The benchmark of archives: small runs of its parts, and its page."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("distributed")


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("archive")


def test_tasks_are_timed(archive: Any, tmp_path: Path) -> None:
    row = archive.overhead(tmp_path, n=6)
    assert row["tasks"] == 6
    assert 0 < row["ms_a_task"] < 60_000


def test_workers_are_told_from_others(archive: Any) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in archive.children(os.getpid())
        assert not archive.is_worker(child.pid)
        child.kill()


def test_every_file_of_every_map_is_compared(archive: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "maps" / "m").mkdir(parents=True)
        (tmp_path / name / "maps" / "m" / "class.tif").write_bytes(name.encode())
    one, other = archive.digests(tmp_path / "a"), archive.digests(tmp_path / "b")
    assert list(one) == ["m/class.tif"]
    assert one != other


def test_the_page_says_what_rows_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    page = importlib.import_module("archive_page")
    monkeypatch.setattr(page, "ROOT", tmp_path)
    (tmp_path / "docs" / "results").mkdir(parents=True)
    times = {"s": 12.0, "peak_gb": 1.5}
    rows = [
        {"part": "kills", "scenes": 64, "kills": 200, "of_the_whole_batch": 17, "maps": 64, "files": 1472,
         "files_that_differ": 0, "files_too_many": 0, "quarantined": 0, "leftovers": 0, "torn_lines": 0,
         "undisturbed_s": 140.0, "killed_s": 900.0},
        {"part": "workers", "per_hour": {"1": 900, "2": 1700, "one by one": 400}, "efficiency": 0.94, "gain": 1.6},
        {"part": "overhead", "ms_a_task": 14.6},
        {"part": "memory", "peak_mb_after": {"1": 900.0, "100": 1000.0}},
        {"part": "catalogue", "s": {"all": 0.5, "a day": 0.1, "a month and place": 0.2}, "mb": 30.0},
        {"part": "mosaic", "maps": 40, "latest": times, "confident": times, "fused": times, "series": times},
    ]  # fmt: skip
    page.write_page(json.loads(json.dumps(rows)))
    text = (tmp_path / "docs" / "results" / "archive.md").read_text()
    for words in ("| 0.94 |", "15 ms", "killed 200 times", "a year has 14,600", "12 s, 1.50 GB", "0.98 GiB"):
        assert words in text, words
