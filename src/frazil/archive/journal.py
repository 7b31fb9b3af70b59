"""What a batch did, event by event: JSON lines that are only ever added to.

One process writes a file, each shard its own, so that a network share serves as well as a disk: nothing is locked, and
nothing that was written is changed. A line that a kill cut off is passed over. What a database would add, many writers
of one file, is not needed: workers answer to the one that journals.

Events: ``begun`` (a worker started on a scene), ``done``, ``failed`` (tried again), ``quarantined`` (not tried again),
``released`` (given up unharmed, or freed from quarantine by ``--retry``: ``anew``); ``session`` and ``ended`` around
those of one call.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from frazil.archive.folder import now
from frazil.errors import OutputError
from frazil.untrusted import open_regular, parse_json

State = Literal["running", "done", "failed", "quarantined", "released"]
_LINE = 64 * 2**10
_BYTES = 2**31
_STATES: dict[str, State] = {
    "begun": "running",
    "done": "done",
    "failed": "failed",
    "quarantined": "quarantined",
    "released": "released",
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of one scene.

    Attributes:
        id: of the scene: its map's folder.
        state: the last event's.
        time: of it, UTC.
        source: product that it is made from.
        tries: how often a worker began.
        faults: how often it failed since it was last freed.
        error: the last one; empty where none was.
        seconds: that the map took; NaN before it is done.
        peak_mb: most memory of the worker so far.
        worker: ``host:process``.
    """

    id: str
    state: State
    time: str
    source: str = ""
    tries: int = 0
    faults: int = 0
    error: str = ""
    seconds: float = float("nan")
    peak_mb: float = float("nan")
    worker: str = ""


class Journal:
    """A file of events to add to; every event is on the disk when `write` returns.

    Args:
        path: of the file; made with its folder.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
            if self._file.tell() and not _ends_with_newline(path):
                self._file.write(b"\n")  # a kill cut the last line off
        except OSError as error:
            raise OutputError(f"Cannot write {path}: {error.strerror or error}.") from error

    def write(self, event: str, **more: Any) -> None:
        """Add an event; raises OutputError where the disk is full."""
        line = json.dumps({"time": now(), "event": event, **more}, ensure_ascii=False, allow_nan=False)
        data = line.encode("utf-8", "backslashreplace")
        if len(data) >= _LINE:  # words of strangers may be long
            more["error"] = str(more.get("error", ""))[:2000]
            data = json.dumps({"time": now(), "event": event, **more}).encode()[: _LINE - 1]
        try:
            self._file.write(data + b"\n")
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(
                f"Cannot write {self.path}: {error.strerror or error}. Free the space and go on."
            ) from error

    def close(self) -> None:
        """End writing."""
        self._file.close()


def read_events(folder: Path) -> list[dict[str, Any]]:
    """Events of all journals of a folder, in the order of their times; lines that are none are passed over."""
    events: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.jsonl")):
        events.extend(_lines(path))
    return sorted(events, key=lambda e: str(e["time"]))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with open_regular(path, limit=_BYTES) as file:
            for line in iter(lambda: file.readline(_LINE), b""):
                try:
                    event = parse_json(line)
                except ValueError:
                    continue
                if isinstance(event, dict) and isinstance(event.get("event"), str) and _is_time(event.get("time")):
                    yield event
    except OSError:
        return


def entries(events: Iterable[dict[str, Any]]) -> dict[str, Entry]:
    """What events say of each scene, by its id."""
    found: dict[str, Entry] = {}
    for event in events:
        state, key = _STATES.get(event["event"]), event.get("id")
        if state is None or not isinstance(key, str):
            continue
        before = found.get(key, Entry(id=key, state=state, time=event["time"]))
        after = replace(before, state=state, time=event["time"])
        if state == "running":
            after = replace(after, tries=before.tries + 1)
        elif state == "failed":
            after = replace(after, faults=before.faults + 1)
        elif state == "released" and event.get("anew") is True:
            after = replace(after, faults=0)
        words = {name: str(event[name]) for name in ("source", "error", "worker") if name in event}
        sizes = {name: float(event[name]) for name in ("seconds", "peak_mb") if _is_number(event.get(name))}
        found[key] = replace(after, **words, **sizes)  # type: ignore[arg-type]
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
