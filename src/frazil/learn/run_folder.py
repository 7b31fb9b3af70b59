"""The folder of a training run: what lies in it, who may write to it, and what may be thrown away.

``run.json`` (settings, versions, data), ``log.jsonl`` and ``events/`` (`frazil.learn.log`), ``state.safetensors`` while
a run is going on, and at the end ``model/`` and ``evaluation.json``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from frazil.errors import OptionError, OutputError, OutputExistsError
from frazil.files import replaced_file, sweep
from frazil.learn.checkpoint import Model, git_commit, library_versions, load_model
from frazil.learn.config import RunConfig, differences, run_config
from frazil.untrusted import read_json

RUN, LOG, STATE, MODEL, SCORES = "run.json", "log.jsonl", "state.safetensors", "model", "evaluation.json"
_RUN_BYTES = 16 * 2**20
_OURS = re.compile(
    r"run\.json|log\.jsonl|state\.safetensors|evaluation\.json|model/(model\.safetensors|card\.json|\.frazil\.json)"
    r"|events/events\.out\.tfevents\.[^/]*|run\.part|log\.part|\.evaluation\.json\.part"
    r"|(.*/)?\.frazil-[0-9a-f]{16}\.part/.*|(.*/)?(\.DS_Store|Thumbs\.db)"
)
"""Names below a run folder that frazil writes, or that earlier versions left when they were killed."""

_OF_SERVERS = tuple(f"server.{s}" for s in ("address", "token_file", "timeout_s", "patience_s", "save_s", "save_every"))


def read_run(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What ``run.json`` of a run folder says.

    Raises:
        OptionError: no run there, or a damaged one.
    """
    path = Path(folder) / RUN
    try:
        values = read_json(path, _RUN_BYTES)
        if not isinstance(values, dict) or "config" not in values:
            raise ValueError("it has no settings")
    except (OSError, ValueError) as error:
        raise OptionError(f"No training run at {folder} ({error}). Make one with `frazil train`.") from error
    return values


def look_into(target: Path, config: RunConfig, overwrite: bool) -> Model | None:
    """The model of a folder where this very run ended; None where it is to begin or to go on.

    Nothing is removed here: with ``overwrite``, `begin` throws the old run away once the data of the new one is read.

    Raises:
        OutputExistsError: the folder holds another run, or something else.
    """
    there = _holds(target)
    if not there:
        return None
    if not (target / RUN).is_file():
        if all(_OURS.fullmatch(name) for name in there):
            return None  # killed before it had begun
        what = "is not a run folder; it is left alone" if overwrite else "exists already and holds no training run"
        raise OutputExistsError(f"Output {target} {what}. Choose another folder.")
    asked, held = config.to_json(), _complete(read_run(target)["config"])
    changed = [name for name in differences(asked, held) if name not in _may_change(asked, held)]
    if changed and not overwrite:
        raise OutputExistsError(
            f"{target} holds another run: {', '.join(changed[:5])} differ{'s' if len(changed) == 1 else ''}. "
            "Choose another folder, or pass --overwrite to throw that run away."
        )
    if overwrite:
        _only_a_run(target, there)
        return None
    if (target / MODEL).is_dir() and (target / SCORES).is_file():
        return load_model(target / MODEL)
    return None


def begin(
    target: Path,
    config: RunConfig,
    description: Mapping[str, object],
    steps: int,
    command: str | None,
    *,
    overwrite: bool,
) -> None:
    """Write ``run.json``, or check that a resumed run still sees the same data; with ``overwrite`` begin anew.

    Raises:
        OutputExistsError: the data has changed. OutputError: the folder cannot be written.
    """
    path = target / RUN
    if overwrite and target.exists():
        _only_a_run(target, _holds(target))
        for child in sorted(target.iterdir(), key=lambda p: p.name == RUN):  # its name last: a kill leaves a run
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            else:
                child.unlink()
    if path.is_file():
        if read_run(target).get("data") != json.loads(json.dumps(description)):
            raise OutputExistsError(
                f"The data of the run in {target} has changed since it began. Choose another folder, or pass "
                "--overwrite to begin anew."
            )
        return
    write_json(
        path,
        {
            "config": config.to_json(),
            "steps": steps,
            "command": command or " ".join(sys.argv),
            "commit": git_commit(),
            "versions": library_versions(),
            "threads": torch.get_num_threads(),
            "data": description,
        },
    )


def write_json(path: Path, values: Mapping[str, object]) -> None:
    """Write a file of a run folder, over what was there."""
    with replaced_file(path) as part:
        part.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def held(target: Path) -> Iterator[None]:
    """Hold a run folder while a run writes to it.

    Raises:
        OutputExistsError: another process does. OutputError: the folder cannot be made.
    """
    import fcntl

    if target.exists() and not target.is_dir():
        raise OutputExistsError(f"Output {target} is a file; a run is a folder. Choose another name.")
    new = not target.exists()
    try:
        target.mkdir(parents=True, exist_ok=True)
        sweep(target)
        lock = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise OutputError(f"Cannot write {target}: {error.strerror or error}. Choose another folder.") from error
    try:
        with suppress(OSError):  # file systems without locks: nobody is told
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputExistsError(
                    f"Another process is training in {target}. Wait for it, or choose another folder."
                ) from error
        yield
    finally:
        os.close(lock)
        if new:
            with suppress(OSError):
                target.rmdir()  # where nothing came of it


def _holds(target: Path) -> list[str]:
    """Every file and link below a folder, relative to it."""
    found = []
    for place, folders, files in os.walk(target):
        links = [name for name in folders if Path(place, name).is_symlink()]
        found += [Path(place, name).relative_to(target).as_posix() for name in [*files, *links]]
    return sorted(found)


def _only_a_run(target: Path, there: list[str]) -> None:
    foreign = [name for name in there if not _OURS.fullmatch(name)]
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise OutputExistsError(
            f"{target} holds {', '.join(foreign[:3])}{more} beside its run; it is left alone. Choose another folder, "
            "or move them away."
        )


def _may_change(asked: dict[str, Any], held: dict[str, Any]) -> tuple[str, ...]:
    """Settings that say where and how long, and nothing of the numbers: a server may go on at another address."""
    addresses = [values.get("server", {}).get("address") for values in (asked, held)]
    return () if None in addresses else _OF_SERVERS


def _complete(values: dict[str, Any]) -> dict[str, Any]:
    """Saved settings, with those filled in that came later than they."""
    try:
        return run_config(values).to_json()
    except OptionError:
        return values
