"""The tutorials of archives run as they are written, on smaller scenes."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from frazil.cli import cli
from frazil.simulate.product import simulate_product
from tests.docs.test_training import commands

pytest.importorskip("distributed")
ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = ROOT / "docs" / "tutorial"


def blocks(page: str) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", (TUTORIALS / page).read_text(encoding="utf-8"), flags=re.DOTALL)


def small(arguments: list[str]) -> list[str]:
    """Scenes of 500 × 500 pixels; of each day two."""
    if arguments[0] != "simulate":
        return arguments
    at = arguments.index("--lines")
    arguments[at + 2] = str(int(arguments[at + 1]) + 500)
    at = arguments.index("--pixels")
    arguments[at + 2] = str(int(arguments[at + 1]) + 500)
    return arguments


def test_a_day_of_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    verbs = []
    for block in blocks("day-of-maps.md"):
        for arguments in commands(block):
            if arguments[0] == "simulate" and int(arguments[arguments.index("--seed") + 1]) % 10 > 1:
                continue
            verbs.append(arguments[0])
            cli.main(small(arguments), standalone_mode=False)
    assert verbs == ["simulate"] * 4 + ["batch", "batch", "catalogue", "mosaic", "mosaic", "series"]
    printed = capsys.readouterr().out
    assert "mapped       4 of 4 scenes" in printed
    table = pd.read_csv(tmp_path / "series.csv")
    assert list(table["date"]) == ["2025-02-01", "2025-02-02"]
    assert (table["maps"] == 2).all()
    for name in ("first/mosaic.png", "second/agreement.tif", "series.png", "archive/status.html"):
        assert (tmp_path / name).is_file(), name


@pytest.mark.slow
def test_a_cluster_run(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        simulate_product(tmp_path / "inbox", seed=seed, lines=(5200, 5600), pixels=(2400, 2800))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shards, scheduled, script = blocks("cluster-run.md")
    python = sys.executable
    bash = f'frazil() {{ "{python}" -m frazil "$@"; }}\ndask() {{ exec "{python}" -m dask "$@"; }}\nset -m\n'
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    words = bash + "set -e\n" + shards + scheduled.replace("8786", str(port)) + script
    done = subprocess.run(["bash", "-c", words], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    for archive in ("archive", "scheduled"):
        assert len(list((tmp_path / archive / "maps").glob("*/summary.json"))) == 3
        assert len((tmp_path / archive / "items.parquet").read_bytes()) > 1000
    events = [json.loads(line) for line in (tmp_path / "scheduled" / "journal" / "all.jsonl").read_text().splitlines()]
    assert sum(e["event"] == "done" for e in events) == 3
    assert "#SBATCH -p short" in done.stdout
