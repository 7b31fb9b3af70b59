"""The pages on training: the tutorial's commands run in order, in a small form; settings and recipes exist."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from frazil.cli import cli
from frazil.learn.config import AUGMENTATIONS
from frazil.recipes import find_recipe, recipe_names

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "tutorial" / "first-model.md"
HOW_TO = ROOT / "docs" / "how-to" / "train.md"
#: What makes a run small enough for a test.
SMALL = {
    "patches:adhoc": {"model.settings.widths": "[4,4,8]", "model.settings.hidden": "[16]", "optim.epochs": "1"},
    "scenes:unet": {"model.settings.widths": "[4,8]", "optim.steps": "2", "optim.batch": "2"},
}


def commands(block: str) -> list[list[str]]:
    """The calls of frazil in a shell block, as bash expands them; nothing is run."""
    script = f"frazil() {{ printf '%s\\0' \"$@\"; printf '\\1\\0'; }}\n{block}"
    done = subprocess.run(["bash", "-eu", "-c", script], capture_output=True, check=True)
    calls = done.stdout.decode().split("\1\0")
    return [call.rstrip("\0").split("\0") for call in calls if call]


def small(arguments: list[str]) -> list[str]:
    if arguments[0] != "train":
        return arguments
    return [*arguments, *(word for k, v in SMALL[arguments[1]].items() for word in ("--set", f"{k}={v}"))]


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    verbs = []
    for block in re.findall(r"```sh\n(.*?)```", TUTORIAL.read_text(encoding="utf-8"), flags=re.DOTALL):
        for arguments in commands(block):
            verbs.append(arguments[0])
            cli.main(small(arguments), standalone_mode=False)
    assert verbs == ["simulate"] * 11 + ["patches", "train", "train", "evaluate", "map", "report", "compare", "train"]
    printed = capsys.readouterr().out
    assert "level_first_year_ice" in printed
    for name in ("set.png", "scores.json", "report/index.html", "compared/comparison.png", "runs/unet/model/card.json"):
        assert (tmp_path / name).is_file(), name
    first = (tmp_path / "report" / "index.html").read_text()
    assert "Some of these runs leak, others do not." in first
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["data"] == "pixels of 1 scene"
    unet = json.loads((tmp_path / "runs" / "unet" / "run.json").read_text())["data"]
    assert [len(unet[side]["scenes"]) for side in ("train", "validation", "test")] == [10, 1, 0]


def known_settings() -> set[str]:
    def names(values: dict[str, Any], prefix: str = "") -> set[str]:
        found = {prefix + key for key in values}
        for key, value in values.items():
            if isinstance(value, dict):
                found |= names(value, f"{prefix}{key}.")
        return found

    return set().union(*(names(find_recipe(name).to_json()) for name in recipe_names()))


@pytest.mark.parametrize("page", [TUTORIAL, HOW_TO], ids=lambda p: p.stem)
def test_settings_recipes_and_augmentations_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    settings = set(re.findall(r"(?<!-)\b((?:data|optim|strategy|model)\.(?!md)[a-z_]+)\b(?!\()", text))
    assert len(settings) > 5
    assert settings <= known_settings()
    named = set(re.findall(r"\b((?:patches|scenes|ice_simulated):[a-z_0-9]+)\b", text))
    assert named <= set(recipe_names())
    for listed in re.findall(r"`((?:\w+,)+\w+)`", text):
        if listed.startswith("flip"):
            assert set(listed.split(",")) <= set(AUGMENTATIONS)


def test_the_page_names_every_recipe() -> None:
    text = HOW_TO.read_text(encoding="utf-8")
    usual = {name for name in recipe_names() if not name.endswith(":tiny") and not name.startswith("few_labels:")}
    assert [name for name in sorted(usual) if f"`{name}`" not in text] == []
