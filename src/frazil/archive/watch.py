"""A folder that products arrive in, mapped as they come: near-real-time service.

A product is taken when it has not changed for a while, so that one that is still being copied is not. The heartbeat, a
small JSON file, tells whoever looks after the service that it is alive, and what it did.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path

from frazil.archive.batch import BatchSettings, Workers, run_batch, write_overview
from frazil.archive.folder import Archive, now
from frazil.archive.sources import MapTask, find_products
from frazil.errors import ArchiveError, OptionError, ProductNotFoundError
from frazil.files import replaced_file
from frazil.marks import WRITTEN_BY

HEARTBEAT = "watch.json"
_REST = 20


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """How a folder is watched.

    Attributes:
        every_s: from one look to the next.
        settle_s: that a product has to be unchanged.
    """

    every_s: float = 60.0
    settle_s: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.every_s <= 86400 or not 0 <= self.settle_s <= 86400:
            raise OptionError(f"every_s {self.every_s} and settle_s {self.settle_s} must be positive, a day at most.")


class Watch:
    """Looks at sources again and again.

    Args:
        archive: begun.
        look_for: tells which products there are now; those on the disk are taken when they have settled.
        workers: where products are mapped.
        how: see `WatchSettings`.
        batch: see `BatchSettings`.
        clock: seconds that rise.
    """

    def __init__(
        self,
        archive: Archive,
        look_for: Callable[[], Sequence[MapTask]],
        workers: Workers,
        how: WatchSettings | None = None,
        batch: BatchSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.archive, self.look_for, self.workers = archive, look_for, workers
        self.how, self._clock = how or WatchSettings(), clock
        self.batch = replace(batch or BatchSettings(), overview=False)
        self._overview_at, self._untold = -inf, False
        self._seen: dict[str, tuple[tuple[int, int, int], float]] = {}
        self.mapped = 0
        self.aside: set[str] = set()

    def look(
        self, progress: Callable[[float, str], None] | None = None, stop: Callable[[], bool] = lambda: False
    ) -> int:
        """Map what has settled since; how many maps were made.

        Raises:
            FrazilError: as `frazil.archive.batch.run_batch`.
        """
        ready, unsettled = self._ready()
        made = 0
        self._beat(len(ready), unsettled)
        if ready:

            def ended() -> bool:
                self._beat(len(ready), unsettled)
                return stop()

            done = run_batch(self.archive, ready, self.workers, self.batch, progress=progress, stop=ended)
            made = len(done.made)
            self.mapped += made
            self.aside |= set(done.quarantined)
            self._untold = self._untold or made > 0
        if self._untold and self._clock() >= self._overview_at:
            self.tell()
        self._beat(0, unsettled)
        return made

    def tell(self) -> None:
        """Write the table and the collection of all maps; again no sooner than twenty times what that took."""
        started = self._clock()
        write_overview(self.archive)
        self._untold = False
        self._overview_at = self._clock() + _REST * (self._clock() - started)

    def run(self, stop: Callable[[], bool], *, progress: Callable[[float, str], None] | None = None) -> None:
        """Look until told to stop."""
        try:
            while not stop():
                self.look(progress, stop)
                end = self._clock() + self.how.every_s
                while self._clock() < end and not stop():
                    time.sleep(min(0.5, max(end - self._clock(), 0.01)))
        finally:
            if self._untold:
                self.tell()

    def _ready(self) -> tuple[list[MapTask], int]:
        """Products to map, and how many are still changing."""
        ready, unsettled = [], 0
        for task in self.look_for():
            if task.id in self.aside or self.archive.holds(task.id):
                continue
            if task.search is not None:  # fetched whole, or not at all
                ready.append(task)
                continue
            state, at = state_of(task.source), self._clock()
            before = self._seen.get(task.id)
            if before is None or before[0] != state:
                self._seen[task.id] = (state, at)
                before = self._seen[task.id]
            if at - before[1] >= self.how.settle_s or _old(state, self.how.settle_s):
                ready.append(task)
                self._seen.pop(task.id, None)
            else:
                unsettled += 1
        return ready, unsettled

    def _beat(self, waiting: int, unsettled: int) -> None:
        told = {
            "written_by": WRITTEN_BY,
            "time": now(),
            "host": socket.gethostname(),
            "process": os.getpid(),
            "every_s": self.how.every_s,
            "mapped": self.mapped,
            "quarantined": len(self.aside),
            "waiting": waiting,
            "arriving": unsettled,
        }
        with replaced_file(self.archive.root / HEARTBEAT) as part:
            part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def in_folders(sources: Sequence[str]) -> Callable[[], Sequence[MapTask]]:
    """What lies in folders, lists and searches, whenever asked; nothing while a folder is empty or gone."""

    def look() -> Sequence[MapTask]:
        try:
            return find_products(sources)[0]
        except ProductNotFoundError:
            return ()

    return look


def in_an_area(
    archive: Archive,
    area: str,
    *,
    days: float,
    mode: str = "EW",
    polarization: str | None = None,
    source: str = "cdse",
    connections: int = 1,
    keep: bool = False,
    say: Callable[[str], None] = lambda _line: None,
) -> Callable[[], Sequence[MapTask]]:
    """What an archive of products has of an area and the last days, asked anew at every look.

    The answer is kept as ``search.json`` in the archive, from which workers fetch. Where the service does not answer,
    the last answer stands, and `say` gets a line.

    Args:
        archive: of maps.
        area: see `frazil.find`.
        days: back from now, by the clock of this machine.
        mode: likewise.
        polarization: likewise.
        source: likewise.
        connections: at a time, of each worker.
        keep: keep what was fetched.
        say: gets a line where the service does not answer.
    """
    from frazil.providers.search import find
    from frazil.providers.times import Span

    file = archive.root / "search.json"

    def look() -> Sequence[MapTask]:
        stop = datetime.now(UTC) + timedelta(hours=1)  # clocks differ
        try:
            found = find(
                area,
                Span(stop - timedelta(days=days, hours=1), stop),
                mode=mode,  # type: ignore[arg-type]
                polarization=polarization,
                source=source,  # type: ignore[arg-type]
            )
        except ArchiveError as error:
            say(f"{now()}: {error}")
        else:
            with replaced_file(file) as part:
                part.write_text(json.dumps(found.to_json(), indent=1) + "\n", encoding="utf-8")
        if not file.is_file():
            return ()
        return find_products([file], connections=connections, keep=keep)[0] if _lists_any(file) else ()

    return look


def _lists_any(file: Path) -> bool:
    from frazil.providers.search import load_search

    return bool(load_search(file))


def state_of(source: str) -> tuple[int, int, int]:
    """Files, bytes and latest change (ns) of a product; zeros of what is not a local file."""
    path = Path(source)
    if path.is_file():
        stat = path.stat()
        return 1, stat.st_size, stat.st_mtime_ns
    files = size = latest = 0
    for place, _, names in os.walk(path):
        for name in names:
            try:
                stat = os.lstat(os.path.join(place, name))  # noqa: PTH118 - fast
            except OSError:
                continue
            files, size, latest = files + 1, size + stat.st_size, max(latest, stat.st_mtime_ns)
    return files, size, latest


def _old(state: tuple[int, int, int], settle_s: float) -> bool:
    """Whether the last change is so long ago that nobody need wait: products that lay there before."""
    return 0 < state[2] < (time.time() - max(10 * settle_s, 600.0)) * 1e9
