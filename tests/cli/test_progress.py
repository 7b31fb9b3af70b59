"""Progress: a bar for people, lines for log files, nothing for those who want none."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from frazil.cli import cli, progress
from frazil.cli.progress import Lines, progress_bar


def test_a_line_says_how_far_and_how_long() -> None:
    now = [100.0]
    lines = Lines("training", 60.0, lambda: now[0])
    now[0] = 160.0
    assert lines.line(0.25, "step 5 of 20") == " 25 %  step 5 of 20, about 3 min left"
    assert lines.line(0.01) == "  1 %  training"  # too early to tell
    assert lines.line(0.5) == " 50 %  training, about 60 s left"
    now[0] = 100.0 + 3600
    assert lines.line(0.1) == " 10 %  training, about 9.0 h left"
    assert lines.line(1.0) == "100 %  training, about 0 s left"


def test_lines_come_a_minute_apart(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = Lines("mapping", 60.0, lambda: now[0])
    for second in range(200):
        now[0] = float(second)
        lines(second / 200)
    told = capsys.readouterr()
    assert told.out == ""
    assert [line.split("  ")[1].strip() for line in told.err.splitlines()] == ["30 %", "60 %", "90 %"]


@pytest.mark.parametrize(("words", "printed"), [([], False), (["-q"], False), (["-v"], True)])
def test_quiet_and_verbose(words: list[str], printed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With lines allowed at once when asked for."""
    monkeypatch.setitem(progress.EVERY_S, 1, 0.0)

    @click.command("work")
    def work() -> None:
        with progress_bar("working") as move:
            move(0.5, "half")

    monkeypatch.setitem(cli.commands, "work", work)
    done = CliRunner().invoke(cli, [*words, "work"])
    assert done.exit_code == 0, done.output
    assert ("50 %  half" in done.stderr) is printed


def test_both_at_once_is_refused() -> None:
    done = CliRunner().invoke(cli, ["-q", "-v", "info", "x"])
    assert done.exit_code == 2
    assert "exclude each other" in done.output


def test_a_log_file_gets_lines_and_no_bar() -> None:
    code = (
        "from frazil.cli import progress\nprogress.EVERY_S[0] = 0\n"
        "with progress.progress_bar('x') as move:\n    move(0.5)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.endswith(" 50 %  x, about 0 s left\n")
    assert "\x1b" not in done.stderr
