"""Outputs appear whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from frazil.errors import OutputError, OutputExistsError
from frazil.files import refuse_existing, whole_output


def listing(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*"))


def test_file_and_folder_appear_at_the_end(tmp_path: Path) -> None:
    with whole_output(tmp_path / "a.txt") as part:
        part.write_text("x")
        assert not (tmp_path / "a.txt").exists()
        assert part.suffix == ".txt"
    with whole_output(tmp_path / "deep" / "b") as part:
        part.mkdir()
        (part / "inside").write_text("y")
    assert listing(tmp_path) == ["a.txt", "b", "deep", "inside"]


def test_failure_leaves_nothing_and_keeps_the_old(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), whole_output(target, overwrite=True) as part:
        part.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert listing(tmp_path) == ["a.txt"]


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    folder = tmp_path / "map"
    folder.mkdir()
    refuse_existing(folder)  # an empty folder is no loss
    (folder / "x").write_text("x")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        refuse_existing(folder)
    with whole_output(folder, overwrite=True) as part:
        part.mkdir()
        (part / "y").write_text("y")
    assert listing(tmp_path) == ["map", "y"]
    with pytest.raises(OutputExistsError, match="is a folder"), whole_output(folder, overwrite=True) as part:
        part.write_text("a file")


def test_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"Cannot write .*No space left.*Free the space"),
        whole_output(tmp_path / "a.nc"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="Cannot write"), whole_output(tmp_path / "file" / "out.nc") as part:
        part.write_text("x")


def test_errors_about_inputs_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, whole_output(tmp_path / "a.nc"):
        Path("/nonexistent/input").read_bytes()
    assert not isinstance(caught.value, OutputError)


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT"])
def test_interrupted_run_leaves_nothing(tmp_path: Path, signal: str) -> None:
    code = (
        "import signal, os, time, sys\n"
        "from frazil.cli import _stop\n"
        "from frazil.files import whole_output\n"
        "signal.signal(signal.SIGTERM, _stop)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"with whole_output({str(tmp_path / 'out')!r}) as part:\n"
        "    part.mkdir(); (part / 'half').write_text('x')\n"
        f"    os.kill(os.getpid(), signal.{signal}); time.sleep(5)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "KeyboardInterrupt" in done.stderr
    assert listing(tmp_path) == []
