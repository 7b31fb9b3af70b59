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
from dataclasses import dataclass
from pathlib import Path

from frazil.archive.batch import BatchSettings, Workers, run_batch
from frazil.archive.folder import Archive, now
from frazil.archive.sources import MapTask, find_products
from frazil.errors import OptionError, ProductNotFoundError
from frazil.files import replaced_file
from frazil.marks import WRITTEN_BY

HEARTBEAT = "watch.json"


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
        sources: folders, lists or products, see `frazil.archive.sources.find_products`.
        workers: where products are mapped.
        how: see `WatchSettings`.
        batch: see `BatchSettings`.
        clock: seconds that rise.
    """

    def __init__(
        self,
        archive: Archive,
        sources: Sequence[str],
        workers: Workers,
        how: WatchSettings | None = None,
        batch: BatchSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.archive, self.sources, self.workers = archive, tuple(sources), workers
        self.how, self.batch, self._clock = how or WatchSettings(), batch or BatchSettings(), clock
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
        self._beat(0, unsettled)
        return made

    def run(self, stop: Callable[[], bool], *, progress: Callable[[float, str], None] | None = None) -> None:
        """Look until told to stop."""
        while not stop():
            self.look(progress, stop)
            end = self._clock() + self.how.every_s
            while self._clock() < end and not stop():
                time.sleep(min(0.5, max(end - self._clock(), 0.01)))

    def _ready(self) -> tuple[list[MapTask], int]:
        """Products to map, and how many are still changing."""
        try:
            tasks, _ = find_products(self.sources)
        except ProductNotFoundError:  # a folder that is still empty, or gone for the moment
            return [], 0
        ready, unsettled = [], 0
        for task in tasks:
            if task.id in self.aside or self.archive.holds(task.id):
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
            "put_aside": len(self.aside),
            "waiting": waiting,
            "arriving": unsettled,
        }
        with replaced_file(self.archive.root / HEARTBEAT) as part:
            part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


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
