"""What commands print never reaches a terminal as orders, and never ends in a traceback for a strange name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

import frazil.cli
from frazil.cli import cli
from frazil.cli.say import say, say_json
from frazil.cli.scores import print_scores
from frazil.maps.export import export
from frazil.testing import make_map

STRANGE = "a\x1b[2J\x9b31m\u202e\udcff é 海"


def test_orders_to_terminals_are_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    say(STRANGE)
    assert capsys.readouterr().out == "a\\x1b[2J\\x9b31m\\u202e\\udcff é 海\n"
    say(STRANGE, err=True)
    assert "\x1b" not in capsys.readouterr().err


def test_json_gives_a_reader_the_same_words(capsys: pytest.CaptureFixture[str]) -> None:
    say_json({STRANGE: [STRANGE, 1, None, "\U000e0041"]})
    text = capsys.readouterr().out
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "é 海" in text
    assert json.loads(text) == {STRANGE: [STRANGE, 1, None, "\U000e0041"]}


def test_commands_print_through_these_alone() -> None:
    folder = Path(frazil.cli.__file__).parent
    own = {"say.py", "__init__.py"}  # the latter has words of its own for errors
    assert [p.name for p in folder.glob("*.py") if p.name not in own and "click.echo(" in p.read_text()] == []


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_names_of_files_are_words(options: list[str], tmp_path: Path) -> None:
    export(make_map(shape=(60, 60)), tmp_path / "map", formats=["netcdf"])
    export(make_map(shape=(60, 60)), tmp_path / "other\x1b[2J", formats=["netcdf"])
    raw = os.fsdecode(os.fsencode(tmp_path) + b"/more\xff")
    (tmp_path / "other\x1b[2J").rename(raw)
    export(make_map(shape=(60, 60)), tmp_path / "other\x1b[2J", formats=["netcdf"])
    words = ["compare", str(tmp_path / "map"), str(tmp_path / "other\x1b[2J"), raw, *options]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.exception
    assert b"\x1b" not in done.stdout_bytes
    assert b"\xff" not in done.stdout_bytes


def test_scores_of_a_model_that_decides_nothing_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = {"confidence_percent": 80.0, "undecided": 1.0, "wrong": None}
    scores = {
        "accuracy": 0.5,
        "macro_f1": 0.4,
        "balanced_accuracy": 0.5,
        "ece": 0.1,
        "classes": ["open_water"],
        "precision": [0.5],
        "recall": [1.0],
        "f1": [0.66],
        "ice_water": {"wrong": 0.25, "ece": 0.2, "decided": nothing},
    }
    print_scores(scores)
    printed = capsys.readouterr().out
    assert "ice/water 75.00 % right; 100.00 % undecided below 80 %, – right of the rest; ECE 0.2" in printed
