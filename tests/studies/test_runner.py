"""Rows of studies: made once, used again by the very study that made them and by no other, whatever is killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from frazil.errors import OptionError
from frazil.studies.runner import Case, data_stamp, digest, read_rows, run_cases, slug


def make_row(value: int, calls: Path, scratch: Path) -> list[dict[str, Any]]:
    """A row, and a mark that it was made."""
    (calls / f"{value}-{os.getpid()}-{os.urandom(3).hex()}").write_text(scratch.name)
    return [{"value": value, "of": "a"}, {"value": value, "of": "b"}]


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    (tmp_path / "calls").mkdir()
    return tmp_path / "calls"


def cases(calls: Path, n: int = 3, **settings: Any) -> list[Case]:
    return [
        Case(name=f"case-{i}", depends_on={"i": i, "optim": {"lr": 0.1, **settings}}, make=partial(make_row, i, calls))
        for i in range(n)
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_there_is_not_made_again(workers: int, calls: Path, tmp_path: Path) -> None:
    file, told = tmp_path / "new" / "toy.jsonl", []
    rows = run_cases(cases(calls, 2), file, workers=workers, report=lambda f, what: told.append((round(f, 2), what)))
    assert [row["value"] for row in rows] == [0, 0, 1, 1]
    assert told[0] == (0.0, "toy")
    assert told[-1][0] == 1.0
    assert len(list(calls.iterdir())) == 2
    more = run_cases(list(reversed(cases(calls, 3))), file, workers=workers)
    assert [row["value"] for row in more] == [2, 2, 1, 1, 0, 0]  # in the order asked for
    assert len(list(calls.iterdir())) == 3
    assert [json.loads(line)["case"] for line in file.read_text().splitlines()][-1] == "case-2"
    assert [p.name for p in file.parent.iterdir()] == ["toy.jsonl"]


def test_finished_makes_nothing(calls: Path, tmp_path: Path) -> None:
    file = tmp_path / "toy.jsonl"
    assert run_cases(cases(calls), file, finished=True) == []
    assert not file.exists()
    run_cases(cases(calls, 1), file)
    assert [row["value"] for row in run_cases(cases(calls), file, finished=True)] == [0, 0]


def test_rows_of_other_settings_are_refused_by_name_and_by_what_differs(calls: Path, tmp_path: Path) -> None:
    file = tmp_path / "toy.jsonl"
    run_cases(cases(calls, 2), file)
    before = file.read_bytes()
    with pytest.raises(OptionError, match=r"case-0 in .*toy.jsonl was made with optim.lr=0.1, and 0.2 is asked for"):
        run_cases(cases(calls, 3, lr=0.2), file)
    assert file.read_bytes() == before
    assert len(list(calls.iterdir())) == 2  # before anything was made
    file.write_text("".join(file.read_text().splitlines(keepends=True)[1:]))  # as the message says: remove that line
    assert len(run_cases(cases(calls, 2), file)) == 4


def test_repeats_come_later(calls: Path, tmp_path: Path) -> None:
    work = [
        Case(name=f"{name}-{seed}", depends_on={"n": name, "s": seed}, make=partial(make_row, seed, calls), repeat=seed)
        for name in "ab"
        for seed in range(2)
    ]
    told: list[str] = []
    run_cases(work, tmp_path / "toy.jsonl", report=lambda _, what: told.append(what))
    assert told[1:] == ["a-0", "b-0", "a-1", "b-1"]


def test_a_line_that_was_cut_off_is_made_again(calls: Path, tmp_path: Path) -> None:
    file = tmp_path / "toy.jsonl"
    run_cases(cases(calls, 2), file)
    whole = file.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for cut in (last + 1, last + 20, len(whole) - 1):
        file.write_bytes(whole[:cut])
        assert set(read_rows(file)) == {"case-0"}
        run_cases(cases(calls, 2), file)
        assert file.read_bytes() == whole


@pytest.mark.parametrize(
    "text",
    [
        "[]\n",
        "3\n",
        "{}\n",
        "\n",
        "\x00\n",
        '{"case": "a"}\n',
        "[" * 50_000 + "\n",
        '{"case": "a", "digest": "", "depends_on": {}, "rows": 3}\n',
        '{"case": "a", "digest": "", "depends_on": {}, "rows": [3]}\n',
    ],
)
def test_what_is_no_row_is_refused_and_kept(text: str, calls: Path, tmp_path: Path) -> None:
    file = tmp_path / "toy.jsonl"
    file.write_text(text)
    with pytest.raises(OptionError, match=r"Line 1 of .*toy.jsonl is no row of a study"):
        run_cases(cases(calls), file)
    assert file.read_text() == text
    assert not list(calls.iterdir())


def test_rows_of_an_earlier_version_are_not_passed_over(calls: Path, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "case-0.json").write_text("{}")
    with pytest.raises(OptionError, match=r"case-0.json is of an earlier version of frazil"):
        run_cases(cases(calls), tmp_path / "toy.jsonl")
    assert not list(calls.iterdir())


def test_a_case_twice_is_refused(calls: Path, tmp_path: Path) -> None:
    file = tmp_path / "toy.jsonl"
    with pytest.raises(OptionError, match="Two cases of the study are called 'case-0'"):
        run_cases(cases(calls, 1) * 2, file)
    run_cases(cases(calls, 1), file)
    file.write_text(2 * file.read_text())
    with pytest.raises(OptionError, match="holds the case 'case-0' twice"):
        read_rows(file)


def add_many(folder: Path, first: int) -> None:
    for i in range(first, first + 20):
        one = Case(name=f"case-{i}", depends_on={"i": i}, make=partial(make_row, i, folder / "calls"))
        run_cases([one], folder / "toy.jsonl")


def test_processes_share_a_file(calls: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=add_many, args=(tmp_path, first)) for first in (0, 20)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert set(read_rows(tmp_path / "toy.jsonl")) == {f"case-{i}" for i in range(40)}


def keep_and_die(scratch: Path) -> list[dict[str, Any]]:
    """Dies the first time, and goes on from what it kept the second time."""
    if not scratch.exists():
        scratch.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    return [{"from": scratch.read_text()}]


def test_a_killed_case_goes_on_from_what_it_kept(tmp_path: Path) -> None:
    case = Case(name="long", depends_on={"a": 1}, make=keep_and_die)
    process = multiprocessing.get_context("fork").Process(target=run_cases, args=([case], tmp_path / "toy.jsonl"))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    other = Case(name="long", depends_on={"a": 2}, make=lambda scratch: [{"from": str(scratch.exists())}])
    assert run_cases([other], tmp_path / "other.jsonl") == [{"from": "False"}]
    assert run_cases([case], tmp_path / "toy.jsonl") == [{"from": "half"}]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.jsonl", "toy.jsonl"]


def test_every_setting_counts_and_no_order_does() -> None:
    assert digest(a=1, b=(1, 2)) == digest(b=[1, 2], a=1)
    assert digest(a={"b": [200, 0.5]}) == digest(a={"b": [200.0, 0.5]})  # settings read back from JSON
    assert len({digest(a=1), digest(a=2), digest(b=1), digest(a="1"), digest(a=None)}) == 5


def test_data_is_known_by_its_files_wherever_it_lies(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "c").mkdir(parents=True)
        (tmp_path / name / "c" / "0").write_bytes(b"abc")
        (tmp_path / name / "zarr.json").write_text(json.dumps({"a": 1}))
    assert data_stamp(tmp_path / "one") == data_stamp(tmp_path / "two") != ""
    (tmp_path / "two" / "c" / "1").write_bytes(b"")
    assert data_stamp(tmp_path / "one") != data_stamp(tmp_path / "two")
    assert data_stamp(tmp_path / "one" / "c" / "0") != data_stamp(tmp_path / "one")
    assert data_stamp(tmp_path / "nothing") == ""


def test_names_for_files() -> None:
    assert slug("AFSD raw, α = 0.01, N = 50") == "afsd-raw-0-01-n-50"
