"""The page on few labels: its commands run in order, in a small form; what it names exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from frazil.cli import cli
from frazil.recipes import recipe_names
from tests.docs.test_training import ROOT, commands, known_settings
from tests.learn.data.test_labels import patch_set

PAGE = ROOT / "docs" / "how-to" / "few-labels.md"
SMALL = {
    "model.architecture": "adhoc",
    "model.settings": '{"widths":[4],"hidden":[]}',
    "optim.epochs": "2",
    "optim.batch": "40",
}
OF_TSLP = {"strategy.first_epochs": "2", "strategy.propagation.k": "10"}


def small(arguments: list[str]) -> list[str]:
    if arguments[0] != "train":
        return arguments
    changes = SMALL | (OF_TSLP if arguments[1] == "few_labels:tslp" else {})
    return [*arguments, *(word for k, v in changes.items() for word in ("--set", f"{k}={v}"))]


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    patch_set(tmp_path / "train.zarr", n=240, scenes=8)
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL):
        for arguments in commands(block):
            cli.main(small(arguments), standalone_mode=False)
    printed = capsys.readouterr().out
    assert "60 labels of " in printed
    assert "coverage" in printed
    for name in ("drawn.png", "features.png", "report/index.html", "runs/tslp/model/card.json"):
        assert (tmp_path / name).is_file(), name
    assert len(pd.read_csv(tmp_path / "pseudo.csv")) == 240
    assert re.search(r"samples +240, 60 with a label", printed)
    log = [json.loads(line) for line in (tmp_path / "runs" / "tslp" / "log.jsonl").read_text().splitlines()]
    named = set(re.findall(r"`(pseudo_\w+|refresh_seconds)`", text))
    assert len(named) == 4
    assert named <= set().union(*log)


def test_the_python_on_the_page_runs() -> None:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert code is not None
    names: dict[str, object] = {}
    exec(compile(code.group(1), PAGE.name, "exec"), names)
    assert names["found"].label[100] == 0  # type: ignore[attr-defined]
    assert names["found"].label[101] == 1  # type: ignore[attr-defined]


def test_recipes_and_settings_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert {name for name in recipe_names() if name.startswith("few_labels:")} == set(
        re.findall(r"few_labels:\w+", text)
    )
    settings = set(re.findall(r"(?<!-)\b((?:data|optim|strategy|model|labels)\.(?!md)[a-z_]+)\b(?!\()", text))
    assert len(settings) > 7
    assert settings <= known_settings()
