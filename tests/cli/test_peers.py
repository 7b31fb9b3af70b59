"""`frazil peers`: what it prints of a folder, which model it chooses, and the study's tables."""

from __future__ import annotations

import json
import re
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from frazil.cli import cli
from frazil.errors import OptionError
from frazil.learn.checkpoint import load_model
from frazil.learn.config import DDPConfig, PeersConfig, ServerConfig, override, run_config
from frazil.learn.data.load import load_data
from frazil.learn.data.patches import Patches
from frazil.learn.distributed.watch import choose, workers
from frazil.learn.run import train
from frazil.learn.run_folder import read_run
from frazil.studies.peers_page import summarise, write_peers_page
from frazil.studies.workers import caps, run_peers_study, studied, ways
from tests.conftest import ROOT
from tests.learn.distributed.test_peers import exchange, small_run, toy
from tests.learn.test_run import toy_set


def run(*words: object) -> str:
    done = CliRunner().invoke(cli, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_states_as_a_clock_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    for name, age, done in (
        ("alive", 10, False),
        ("late", 900, False),
        ("gone", 86_400, False),
        ("done", 9e5, True),
        ("ahead", -7200, False),
    ):
        with monkeypatch.context() as m:
            m.setattr(time, "time", lambda a=age: now - a)
            exchange(tmp_path, name, method="afsd", steps=500).publish(
                toy(1), step=40, samples=320, score=0.5, done=done
            )
    found = {seen.manifest.worker: seen.state for seen in workers(tmp_path)}
    assert found == {"alive": "alive", "late": "late", "gone": "gone", "done": "done", "ahead": "alive"}
    text = run("peers", tmp_path)
    assert "40 of 500" in text
    assert "clock 2 h ahead" in text or "clock 120 min ahead" in text
    rows = json.loads(run("peers", tmp_path, "--json"))
    assert {row["worker"]: row["samples"] for row in rows} == dict.fromkeys(found, 320)
    with pytest.raises(OptionError, match="No worker has published for run 'x' in"):
        workers(tmp_path, "x")
    with pytest.raises(OptionError, match="No worker has published in"):
        workers(tmp_path / "nowhere")
    (tmp_path / "r/workers/alive/0000000009-0000000000.json").write_text("{broken")
    assert {seen.manifest.worker for seen in workers(tmp_path)} == set(found)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two workers that have ended."""
    folder = tmp_path_factory.mktemp("two")
    patches = toy_set(folder / "toy.zarr", n=120, size=16)
    for name, steps in (("a", 40), ("b", 20)):
        peers = PeersConfig(path=str(folder / "x"), worker=name, every=10, log_every=5)
        train(small_run(patches, peers, steps=steps, lr=5e-3, validate_every=10), folder / name)
    return folder


def test_the_best_or_the_ensemble_is_chosen(two: Path, tmp_path: Path) -> None:
    result = choose(two / "x", two / "b", output=tmp_path / "model")
    data = load_data(run_config(read_run(two / "a")["config"]))
    assert isinstance(data.validation, Patches)
    for one in result["candidates"]:
        if one["model"] == "ensemble":
            logits = [data.validation.logits(load_model(two / n / "model").network) for n in "ab"]
            p = np.mean([torch.from_numpy(z).softmax(0).numpy() for z in logits], axis=0)
            want = (p.argmax(0) == data.validation.label).mean()
        else:
            network = load_model(two / one["model"] / "model").network
            want = (data.validation.logits(network).argmax(0) == data.validation.label).mean()
        assert one["accuracy"] == pytest.approx(float(want), abs=1e-4)
    best = max(c["macro_f1"] for c in result["candidates"])
    assert next(c for c in result["candidates"] if c["model"] == result["chosen"])["macro_f1"] == best
    written: Any = load_model(tmp_path / "model").network
    networks = list(written.members) if result["cost"] > 1 else [written]
    for name, network in zip(result["members"], networks, strict=True):
        same = load_model(two / name / "model").network.state_dict()
        assert all(torch.equal(v, same[k]) for k, v in network.state_dict().items())
    text = run(
        "peers",
        two / "x",
        "--choose",
        two / "a",
        "--figure",
        tmp_path / "f.png",
        "--log",
        two / "a",
        "--log",
        two / "b",
    )
    assert f"chosen {result['chosen']}" in text
    assert (tmp_path / "f.png").stat().st_size > 10_000


def test_the_study_is_resumed_and_told(two: Path, tmp_path: Path) -> None:
    changes = {
        "optim.steps": "4",
        "optim.batch": "8",
        "optim.warmup": "1",
        "data.size": "16",
        "model.settings": '{"widths": [4], "hidden": [8]}',
    }
    config = override(studied("ice", str(two / "toy.zarr")), changes)
    rows = run_peers_study(config, ways(2), 2, tmp_path / "rows")
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "rows").iterdir()}
    assert run_peers_study(config, ways(2), 2, tmp_path / "rows") == rows
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "rows").iterdir()} == stamps
    for other in (override(config, {"optim.lr": "0.5"}), override(config, {"data.limit": "3"})):
        with pytest.raises(OptionError, match="independent-0 in .*ice.jsonl was made with config"):
            run_peers_study(other, ways(2), 2, tmp_path / "rows", finished=True)
    assert len(rows) == 14
    assert all(row["curve"][-1]["samples"] == 64 for row in rows)
    by_name = {line.way: line for line in summarise(rows)}
    assert by_name["independent"].difference == 0
    assert by_name["Allreduce"].accuracy == by_name["Allreduce"].ensemble
    assert by_name["AFSD, N = 2"].distilled[-1] > 0
    bytes_ = {name: line.bytes_per_1000_steps for name, line in by_name.items()}
    assert bytes_["Allreduce"] == pytest.approx(2 * bytes_["local SGD, N = 2"])
    counts = {name: (line.samples, line.steps, line.exchanges) for name, line in by_name.items()}
    assert counts["independent"] == (64, 4, 0)
    assert counts["Allreduce"] == (64, 4, 4)
    assert counts["AFSD, N = 2"] == counts["local SGD, N = 2"] == (64, 4, 2)
    capped = summarise(run_peers_study(config, caps(2, 3), 1, tmp_path / "capped"))
    assert [line.workers for line in capped] == [3] * 4
    assert capped[0].samples == 96
    write_peers_page({"ice": rows}, tmp_path / "page.md", command="x")
    text = (tmp_path / "page.md").read_text()
    assert "control" in text
    (tmp_path / "page.md").write_text(text.replace("## Before", "## What it shows\n\nNothing.\n\n## Before"))
    file = tmp_path / "rows" / "ice.jsonl"
    lines = [line for line in file.read_text().splitlines(keepends=True) if json.loads(line)["case"] != "allreduce-1"]
    file.write_text("".join(lines))
    less = run_peers_study(config, ways(2), 2, tmp_path / "rows", finished=True)
    assert len(less) == 13
    write_peers_page({"ice": less}, tmp_path / "page.md", command="x", overwrite=True)
    again = (tmp_path / "page.md").read_text()
    assert again.count("\n## ") == text.count("\n## ") + 1
    assert "## What it shows\n\nNothing.\n\n## The ad hoc network" in again  # behind the caveats


def test_the_page_names_settings_that_exist() -> None:
    text = (ROOT / "docs" / "how-to" / "several-servers.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b((?:peers|ddp|server)\.(?!md|png|py)[a-z_]+)\b", text))
    groups = {"peers": PeersConfig, "ddp": DDPConfig, "server": ServerConfig}
    known = {f"{place}.{f.name}" for place, group in groups.items() for f in fields(group)}
    assert len(named) > 10
    assert named <= known
