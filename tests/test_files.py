"""Outputs appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from frazil.errors import OutputError, OutputExistsError
from frazil.files import refuse_existing, replaced_file, sweep, whole_output
from frazil.marks import LIST, MARK, WRITTEN_BY, why_not_output


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
    assert listing(tmp_path) == [LIST, "a.txt", "b", "deep", "inside"]


def test_failure_leaves_nothing_and_keeps_the_old(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text(f"old, {MARK}")
    with pytest.raises(RuntimeError), whole_output(target, overwrite=True) as part:
        part.write_text("half")
        raise RuntimeError
    assert target.read_text() == f"old, {MARK}"
    assert listing(tmp_path) == ["a.txt"]


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    folder = tmp_path / "map"
    folder.mkdir()
    refuse_existing(folder)  # an empty folder is no loss
    with whole_output(folder) as part:
        part.mkdir()
        (part / "x").write_text("x")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        refuse_existing(folder)
    with whole_output(folder, overwrite=True) as part:
        part.mkdir()
        (part / "y").write_text("y")
    assert listing(tmp_path) == [LIST, "map", "y"]
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


def marked_folder(path: Path, **files: str) -> Path:
    with whole_output(path) as part:
        part.mkdir()
        for name, text in files.items():
            (part / name).write_text(text)
    return path


def test_folders_that_hold_anything_foreign_are_left_alone(tmp_path: Path) -> None:
    """The whole of CASES 1.1: a product beside, in, or as the output; QGIS's side-cars are no loss."""
    work = tmp_path / "work"
    (work / "X.SAFE" / "annotation").mkdir(parents=True)
    (work / "X.SAFE" / "annotation" / "a.xml").write_text("precious")
    for target in (work, work / "X.SAFE"):
        with pytest.raises(OutputExistsError, match="frazil did not write it"):
            refuse_existing(target, overwrite=True)
        with pytest.raises(OutputExistsError, match="left alone") as caught:
            refuse_existing(target)
        assert "--overwrite" not in str(caught.value)  # which would not help
    assert (work / "X.SAFE" / "annotation" / "a.xml").read_text() == "precious"
    ours = marked_folder(tmp_path / "map", a="1")
    (ours / "a.aux.xml").write_text("statistics")
    refuse_existing(ours, overwrite=True)
    (ours / "style.qml").write_text("mine")
    (ours / "deep").mkdir()
    (ours / "deep" / "note").write_text("mine")
    with pytest.raises(OutputExistsError, match="it holds deep/note, style.qml, which frazil did not write"):
        refuse_existing(ours, overwrite=True)


def test_links_inside_an_output_are_foreign(tmp_path: Path) -> None:
    ours = marked_folder(tmp_path / "map", a="1")
    (tmp_path / "precious").mkdir()
    (ours / "link").symlink_to(tmp_path / "precious")
    with pytest.raises(OutputExistsError, match="it holds link"):
        refuse_existing(ours, overwrite=True)


def test_files_that_frazil_did_not_write_are_left_alone(tmp_path: Path) -> None:
    chart = tmp_path / "chart.gpkg"
    chart.write_bytes(b"SQLite format 3\0 frazil ice, as charts call it")
    with pytest.raises(OutputExistsError, match="frazil did not write it"):
        refuse_existing(chart, overwrite=True)
    (tmp_path / "empty.nc").touch()
    with pytest.raises(OutputExistsError, match="frazil did not write it"):
        refuse_existing(tmp_path / "empty.nc", overwrite=True)


def test_working_directory_and_home_are_never_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = marked_folder(tmp_path / "map", a="1")
    monkeypatch.chdir(ours)
    for target in (".", "..", str(ours), "../map/"):
        with pytest.raises(OutputExistsError, match="the working directory. Name a new folder inside it"):
            refuse_existing(target, overwrite=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(ours))
    with pytest.raises(OutputExistsError, match="is your home folder"):
        refuse_existing(ours, overwrite=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    with pytest.raises(OutputExistsError, match="is the working directory"):
        refuse_existing(".")


def test_inputs_are_never_outputs(tmp_path: Path) -> None:
    ours = marked_folder(tmp_path / "map", a="1")
    (tmp_path / "link").symlink_to(ours)
    for given in (ours, ours / "a", tmp_path / "link", tmp_path / "link" / "a"):
        with pytest.raises(OutputExistsError, match="which is read"):
            refuse_existing(ours, overwrite=True, inputs=[given])
    refuse_existing(ours, overwrite=True, inputs=[tmp_path, "no such file"])


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    marked_folder(tmp_path / "out", a="1")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk" / "a").read_text() == "1"
    with whole_output(tmp_path / "out", overwrite=True) as part:
        part.mkdir()
        (part / "b").write_text("2")
    assert listing(tmp_path / "disk") == [LIST, "b"]


@pytest.mark.parametrize("name", ["a.png", "a.json", "a.md", "a.npz", "a.geojson"])
def test_marks_leave_files_readable(tmp_path: Path, name: str) -> None:
    import zipfile

    import numpy as np
    from PIL import Image

    content = {"type": "FeatureCollection", "features": [1, {"a": "ü"}]}
    with whole_output(tmp_path / name) as part:
        if name == "a.png":
            Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(part)
        elif name == "a.npz":
            np.savez_compressed(part, label=np.arange(5))
        elif name == "a.md":
            part.write_text("# Title\n")
        else:
            part.write_text(json.dumps(content, indent=2 if name == "a.json" else None, ensure_ascii=False))
    path = tmp_path / name
    assert why_not_output(path) is None
    if name == "a.png":
        with Image.open(path) as picture:
            picture.verify()
        with Image.open(path) as picture:
            assert picture.text["Software"] == WRITTEN_BY  # type: ignore[attr-defined]
            assert np.array_equal(np.asarray(picture), np.arange(12).reshape(3, 4))
    elif name == "a.npz":
        with np.load(path) as archive:
            assert archive.files == ["label"]
            assert np.array_equal(archive["label"], np.arange(5))
        assert zipfile.ZipFile(path).testzip() is None
    elif name != "a.md":
        assert {k: v for k, v in json.loads(path.read_text()).items() if k != "written_by"} == content
    with whole_output(path, overwrite=True) as part:
        part.write_bytes(path.read_bytes())


def test_stores_in_zarr_know_their_own_chunks(tmp_path: Path) -> None:
    import numpy as np
    import zarr

    with whole_output(tmp_path / "a.zarr") as part:
        group = zarr.open_group(part, mode="w")
        group.create_array("x", data=np.arange(10), chunks=(3,))
        group.create_array("deep/scalar", data=np.array(1.0))
    assert why_not_output(tmp_path / "a.zarr") is None
    values: Any = zarr.open_group(tmp_path / "a.zarr", mode="r")["x"]
    assert values[:].tolist() == list(range(10))
    (tmp_path / "a.zarr" / "x" / "c" / "readme").write_text("mine")
    with pytest.raises(OutputExistsError, match="x/c/readme"):
        refuse_existing(tmp_path / "a.zarr", overwrite=True)
    other = tmp_path / "b.zarr"
    zarr.open_group(other, mode="w").create_array("x", data=np.arange(3))
    with pytest.raises(OutputExistsError, match="frazil did not write it"):
        refuse_existing(other, overwrite=True)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_of_two_writers_one_is_told(tmp_path: Path, kind: str) -> None:
    def write(part: Path, text: str) -> None:
        if kind == "folder":
            part.mkdir()
            part = part / "a"
        part.write_text(text)

    with pytest.raises(OutputExistsError, match="another process meanwhile"):  # noqa: SIM117 - the order is the test
        with whole_output(tmp_path / "out") as slow:
            write(slow, "slow")
            with whole_output(tmp_path / "out") as fast:
                assert slow != fast
                write(fast, "fast")
    told = tmp_path / "out" / "a" if kind == "folder" else tmp_path / "out"
    assert told.read_text() == "fast"
    assert not list(tmp_path.glob(".frazil-*"))


def test_what_a_killed_writer_left_is_swept_and_a_living_one_is_not(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from frazil.files import whole_output\n"
        f"with whole_output({str(tmp_path / 'out')!r}) as part:\n"
        "    part.mkdir(); (part / 'half').write_text('x')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    left = list(tmp_path.iterdir())
    assert [p.name[:8] for p in left] == [".frazil-"]
    with whole_output(tmp_path / "other") as mine:
        mine.write_text("x")
        assert not left[0].exists()
        sweep(tmp_path)
        assert mine.exists()
    assert listing(tmp_path) == ["other"]


def test_an_output_that_was_set_aside_is_put_back(tmp_path: Path) -> None:
    """Between the two renames of file systems that cannot swap, a kill leaves the old output in the work folder."""
    old = tmp_path / ".frazil-0123456789abcdef.part" / "old" / "map"
    old.mkdir(parents=True)
    (old / "a").write_text("old")
    sweep(tmp_path)
    assert (tmp_path / "map" / "a").read_text() == "old"
    assert listing(tmp_path) == ["a", "map"]


def test_sweeping_follows_no_links(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "a").write_text("x")
    (tmp_path / ".frazil-0123456789abcdef.part").symlink_to(tmp_path / "precious")
    (tmp_path / ".frazil-0123456789abcdee.part").mkdir()
    (tmp_path / ".frazil-0123456789abcdee.part" / "link").symlink_to(tmp_path / "precious")
    sweep(tmp_path)
    assert (tmp_path / "precious" / "a").exists()
    assert not (tmp_path / ".frazil-0123456789abcdee.part").exists()


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signals_wait_until_an_output_is_in_place(tmp_path: Path, signal: str) -> None:
    code = (
        "import signal, os, sys\n"
        "import frazil.files as files\n"
        "from frazil.cli import _stop\n"
        "for name in ('SIGTERM', 'SIGHUP'): signal.signal(getattr(signal, name), _stop)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "flush = files._flush\n"
        f"files._flush = lambda path: (os.kill(os.getpid(), signal.{signal}), flush(path))\n"
        f"with files.whole_output({str(tmp_path / 'out')!r}) as part: part.write_text('whole')\n"
        "print('not reached')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "KeyboardInterrupt" in done.stderr
    assert done.stdout == ""
    assert listing(tmp_path) == ["out"]


def test_errors_about_an_input_beside_the_output_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, whole_output(tmp_path / "a.nc"):
        (tmp_path / "input.nc").read_bytes()
    assert not isinstance(caught.value, OutputError)


def test_files_inside_a_run_are_replaced_whatever_they_were(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not marked")
    with replaced_file(tmp_path / "state") as part:
        part.write_text("new")
    assert (tmp_path / "state").read_text() == "new"
    assert listing(tmp_path) == ["state"]


def test_a_signal_right_after_the_work_folder_was_made_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "import frazil.files as files\n"
        "from frazil.cli import _stop\n"
        "signal.signal(signal.SIGHUP, _stop)\n"
        "made = files._work_folder\n"
        "def disturbed(parent):\n"
        "    found = made(parent)\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    return found\n"
        "files._work_folder = disturbed\n"
        f"with files.whole_output({str(tmp_path / 'out')!r}) as part: part.write_text('x')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "KeyboardInterrupt" in done.stderr
    assert listing(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_place_that_takes_no_folders_is_one_line(tmp_path: Path) -> None:
    """There mkdir answers "no such file", which is also what a swept folder looks like: it was tried for ever."""
    with pytest.raises(OutputError, match="Cannot write /proc/m"), whole_output("/proc/m"):
        pass
