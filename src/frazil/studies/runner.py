"""One way to run a study: cases in, rows out, and every row kept with all that it depends on.

A study's rows are one file of JSON lines, a line a case. A case that is there is not made again; one that was made with
other settings or other data is refused by name, before hours of training; the rest is made, by several processes where
wanted, and each line is added whole. Processes on one file take turns at adding.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar

from frazil.errors import OptionError
from frazil.untrusted import parse_json, read_bytes

Row = TypeVar("Row")  #: of a study's own, a dictionary as JSON has it
_FILE_BYTES = 2**30


class Line(TypedDict):
    """A line of a study's file; its rows are of the study's own type."""

    case: str
    digest: str
    depends_on: dict[str, object]
    rows: list[Any]


@dataclass(frozen=True, kw_only=True)
class Case(Generic[Row]):
    """One piece of a study's work.

    Attributes:
        name: its own in the study, fit for a file: ``"lp-60-0-1"``.
        depends_on: all that its rows depend on, as JSON has it: settings, seeds, `data_stamp` of what is read.
        make: makes its rows. It may keep what it needs for going on after an interruption at the path that it is given,
            which is removed afterwards. Where several processes work it must be picklable.
        repeat: cases of lower numbers are made first, so that an interrupted study can tell of every case.
        complete: what an earlier line says that it depends on, with settings filled in that did not exist then. What it
            says is null it did not keep, and that is not compared.
    """

    name: str
    depends_on: Mapping[str, object]
    make: Callable[[Path], list[Row]]
    repeat: int = 0
    complete: Callable[[dict[str, object]], Mapping[str, object]] = dict

    @property
    def digest(self) -> str:
        """A name for all that its rows depend on."""
        return digest(**self.depends_on)


def digest(**settings: Any) -> str:
    """Sixteen digits of the SHA-256 of settings as sorted JSON; 200 and 200.0 are one number."""
    plain = _plain(json.loads(json.dumps(settings, default=str)))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def data_stamp(path: str | os.PathLike[str]) -> str:
    """What tells one set of data from another, wherever it lies: names and sizes of its files; ``""`` without any."""
    place = Path(path)
    if place.is_file():
        found = [(place.name, place.stat().st_size)]
    else:
        found = sorted(
            (file.relative_to(place).as_posix(), file.stat().st_size) for file in place.rglob("*") if file.is_file()
        )
    return digest(files=found) if found else ""


def slug(name: str) -> str:
    """A name in lower-case letters, digits and hyphens."""
    return "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in name.lower()).split())


def run_cases(
    cases: Sequence[Case[Row]],
    file: str | os.PathLike[str],
    *,
    workers: int = 1,
    finished: bool = False,
    report: Callable[[float, str], None] | None = None,
) -> list[Row]:
    """The rows of all cases, in their order; what is not there yet is made.

    Args:
        cases: of the study.
        file: ``STUDY.jsonl``; made with its folder. Lines of other cases stay.
        workers: processes; each computes with its share of the cores.
        finished: make nothing; the rows of the cases that are there.
        report: called with the fraction done and what was done last.

    Raises:
        OptionError: a row of a case was made with other settings or other data, or the file holds something else.
    """
    target, tell = Path(file), report or (lambda _fraction, _what: None)
    names = [case.name for case in cases]
    if len(set(names)) != len(names):
        raise OptionError(f"Two cases of the study are called {next(n for n in names if names.count(n) > 1)!r}.")
    there = read_rows(target) if target.exists() else {}
    earlier = next(target.with_suffix("").glob("*.json"), None)
    if earlier is not None and not target.exists():
        raise OptionError(
            f"{earlier} is of an earlier version of frazil, which kept a file for each row: not read any more. "
            "Name another folder."
        )
    for case in cases:
        if case.name in there:
            _refuse_another(target, case, there[case.name])
    missing = sorted((case for case in cases if case.name not in there), key=lambda case: case.repeat)
    if finished:
        return [row for case in cases if case.name in there for row in there[case.name]["rows"]]
    target.parent.mkdir(parents=True, exist_ok=True)
    done = len(cases) - len(missing)
    tell(done / max(len(cases), 1), target.stem)
    for case, rows in _made(missing, target, workers):
        line = {"case": case.name, "digest": case.digest, "depends_on": case.depends_on, "rows": rows}
        there[case.name] = json.loads(json.dumps(line))
        _add(target, there[case.name])
        _clear(_scratch(target, case))
        done += 1
        tell(done / len(cases), case.name)
    return [row for case in cases for row in there[case.name]["rows"]]


def read_rows(file: str | os.PathLike[str]) -> dict[str, Line]:
    """What a study's file holds: name of the case -> its line. A last line that was cut off is passed over.

    Raises:
        OptionError: something else than rows of a study, or a case twice.
    """
    path, found = Path(file), dict[str, Line]()
    try:
        *lines, _ = read_bytes(path, _FILE_BYTES).split(b"\n")  # behind the last line end: what a killed process left
    except OSError as error:
        raise OptionError(f"{path} cannot be read ({error}). Name another folder.") from error
    for number, line in enumerate(lines, start=1):
        try:
            told = parse_json(line)
            name, _, _, rows = told["case"], told["digest"], told["depends_on"], told["rows"]
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise TypeError("rows")
        except (ValueError, KeyError, TypeError) as error:
            raise OptionError(f"Line {number} of {path} is no row of a study. Name another folder.") from error
        if name in found:
            raise OptionError(f"{path} holds the case {name!r} twice. Remove one of the lines.")
        found[name] = told
    return found


def _refuse_another(path: Path, case: Case[Row], there: Line) -> None:
    """Raise OptionError where a line was made with something else, and say what."""
    if there["digest"] == case.digest:
        return
    try:
        known = case.complete(there["depends_on"])
    except (OptionError, KeyError, TypeError):
        known = there["depends_on"]
    unknown = {key for key, value in known.items() if value is None}  # of rows made before it was kept
    was, now = (
        {key: value for key, value in values.items() if key not in unknown}
        for values in (known, json.loads(json.dumps(case.depends_on)))
    )
    if digest(**was) == digest(**now):
        return
    was, now = (dict(_flat(values)) for values in (was, now))
    differing = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
    what = (
        f"{differing[0]}={json.dumps(was.get(differing[0]))}, and {json.dumps(now.get(differing[0]))} is asked for now"
        if differing
        else "something else"
    )
    raise OptionError(
        f"{case.name} in {path} was made with {what}. Name another folder, or remove that line to make it again."
    )


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _made(missing: list[Case[Row]], target: Path, workers: int) -> Iterator[tuple[Case[Row], list[Row]]]:
    if workers == 1:
        for case in missing:
            yield case, case.make(_scratch(target, case))
        return
    threads = max((os.cpu_count() or 1) // workers, 1)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_one, case, _scratch(target, case), threads): case for case in missing}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _one(case: Case[Row], scratch: Path, threads: int) -> list[Row]:
    import torch

    torch.set_num_threads(threads)
    return case.make(scratch)


def _scratch(target: Path, case: Case[Row]) -> Path:
    """Where a case keeps what it needs to go on; its digest stands in the name, so that no other goes on with it."""
    return target.parent / f".{target.stem}-{case.name}-{case.digest}"


def _clear(scratch: Path) -> None:
    if scratch.is_dir():
        shutil.rmtree(scratch, ignore_errors=True)
    else:
        scratch.unlink(missing_ok=True)


def _add(path: Path, line: Line) -> None:
    """Add a line whole, behind the last whole one."""
    text = json.dumps(line, ensure_ascii=False) + "\n"
    with _held(path) as file:
        file.seek(0)
        size = file.read().rfind(b"\n") + 1  # what a killed process left behind the last line goes
        file.truncate(size)
        file.seek(size)
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _held(path: Path) -> Iterator[Any]:
    """The file, open for reading and adding, while no other process has it."""
    import fcntl

    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
