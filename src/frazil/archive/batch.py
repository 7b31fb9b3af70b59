"""Many products to an archive of maps: handed out, watched, tried again, and quarantined where nothing helps.

A scene is one task. What a task may meet, and what follows: a product that frazil refuses is put in quarantine at
once, for it would be refused again; any other fault is tried again, three times in all; a worker that dies has its
task given to another by the scheduler, and five deaths are one fault; a task that takes too long is ended with its
worker and counts as a fault; a disk that takes nothing more ends the batch, with every scene that was under way free
to be tried again. A map's folder appears whole, so that scenes which are there are never made twice, whoever asks,
and whatever was killed meanwhile.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from frazil.archive.catalogue import write_catalogue
from frazil.archive.folder import JOURNAL, Archive
from frazil.archive.journal import Journal, entries, read_events
from frazil.archive.lock import held
from frazil.archive.sources import MapTask, Shard
from frazil.archive.status import Totals, status_of, write_status_page
from frazil.archive.task import Outcome
from frazil.errors import MissingDependencyError, OptionError, OutputError, OutputExistsError, ProductNotFoundError
from frazil.maps.collection import write_collection

_PAGE_S = 10.0  # from one status page to the next, and
_REST = 20  # times what the last one took: journals of hundreds of thousands of events are long
_WAIT_S = 1.0
Progress = Callable[[float, str], None]


class Workers(Protocol):
    """Where tasks run, see `frazil.archive.engine.Engine`."""

    def room(self) -> int:
        """How many more tasks may be handed out."""
        ...

    def submit(self, task: MapTask, turn: int) -> None:
        """Hand one out."""
        ...

    def wait(self, seconds: float) -> list[Outcome]:
        """Those that ended."""
        ...

    def begun(self) -> list[dict[str, Any]]:
        """Those that workers began."""
        ...

    def kill(self, name: str) -> None:
        """End one that hangs."""
        ...

    def let_go(self, name: str) -> None:
        """Forget one; whether it goes on does not matter."""
        ...


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """How a batch treats its scenes.

    Attributes:
        tries: of a scene that fails.
        timeout_s: that a scene may take.
        retry: try again what was put in quarantine before.
        shard: which part of the products.
        overview: write the table and the collection of all maps in the end.
    """

    tries: int = 3
    timeout_s: float = 3600.0
    retry: bool = False
    shard: Shard = field(default_factory=Shard)
    overview: bool = True

    def __post_init__(self) -> None:
        if self.tries < 1 or not self.timeout_s > 0:
            raise OptionError(f"tries {self.tries} and timeout_s {self.timeout_s} must be positive.")


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """What a batch came to.

    Attributes:
        made: scenes that were mapped now.
        there: those that had been before.
        quarantined: id -> why, of those of this batch.
        left: scenes that nothing is known of: the batch was ended.
        seconds: from the first to the last.
    """

    made: tuple[str, ...]
    there: tuple[str, ...]
    quarantined: dict[str, str]
    left: int
    seconds: float


def run_batch(
    archive: Archive,
    tasks: Sequence[MapTask],
    workers: Workers,
    settings: BatchSettings | None = None,
    *,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> BatchResult:
    """Map all products that have no map yet.

    Args:
        archive: begun, see `frazil.archive.folder.begin_archive`.
        tasks: the products, see `frazil.archive.sources.find_products`.
        workers: where they are mapped.
        settings: see there.
        progress: called as scenes end.
        stop: asked now and then whether to end; what is under way is then given up.

    Raises:
        OutputExistsError: another batch works on this archive, or on this shard of it.
        OutputError: nothing more can be written.
        ServerError: the scheduler is gone.
    """
    how = settings or BatchSettings()
    own = [task for task in tasks if how.shard.has(task.id)]
    folder = archive.root / JOURNAL
    with held(folder / f"{how.shard.name}.lock", "A batch works on") as lock:
        journal = Journal(folder / f"{how.shard.name}.jsonl")
        try:
            batch = _Batch(archive, own, workers, how, journal, progress)

            def ended() -> bool:
                lock.beat()
                return stop()

            return batch.run(ended)
        finally:
            journal.close()


class _Batch:
    def __init__(
        self,
        archive: Archive,
        tasks: Sequence[MapTask],
        workers: Workers,
        how: BatchSettings,
        journal: Journal,
        progress: Progress | None,
    ) -> None:
        self.archive, self.workers, self.how, self.journal = archive, workers, how, journal
        self.report = progress or (lambda _fraction, _what: None)
        self.tasks = {task.id: task for task in tasks}
        self.made: list[str] = []
        self.there: list[str] = []
        self.quarantined: dict[str, str] = {}
        self.faults: dict[str, int] = {}
        self.turns: dict[str, int] = {}
        self.since: dict[str, float] = {}  # of those under way: when a worker began, or the task was handed out
        self.waiting: deque[str] = deque()
        self.page_at = 0.0

    def run(self, stop: Callable[[], bool]) -> BatchResult:
        started = time.monotonic()
        self._plan()
        self.journal.write("session", scenes=len(self.tasks), waiting=len(self.waiting))
        try:
            while self.waiting or self.since:
                if stop():
                    break
                self._hand_out()
                for outcome in self.workers.wait(_WAIT_S):
                    self._heard()
                    self._take(outcome)
                self._heard()
                self._end_those_that_hang()
                self._show()
        finally:
            for name in list(self.since):
                self.workers.let_go(name)
                self._note("released", name)
            left = len(self.waiting) + len(self.since)
            self.since.clear()
            self._note("ended", None, made=len(self.made), left=left)
        self._finish()
        return BatchResult(
            made=tuple(self.made),
            there=tuple(self.there),
            quarantined=self.quarantined,
            left=left,
            seconds=round(time.monotonic() - started, 3),
        )

    def _plan(self) -> None:
        before = entries(read_events(self.archive.root / JOURNAL))
        for name in self.tasks:
            known = before.get(name)
            if self.archive.holds(name):
                self.there.append(name)
            elif known is not None and known.state == "quarantined" and not self.how.retry:
                self.quarantined[name] = known.error
            else:
                if known is not None and self.how.retry:
                    self.journal.write("released", id=name, anew=True)
                elif known is not None:
                    self.faults[name] = known.faults
                self.turns[name] = known.tries if known is not None else 0
                self.waiting.append(name)

    def _hand_out(self) -> None:
        for _ in range(min(self.workers.room(), len(self.waiting))):
            name = self.waiting.popleft()
            self.workers.submit(self.tasks[name], self.turns.get(name, 0))
            self.turns[name] = self.turns.get(name, 0) + 1
            self.since[name] = time.monotonic()

    def _heard(self) -> None:
        for event in self.workers.begun():
            if event["id"] in self.since:
                self.since[event["id"]] = event["time"]
            if event["id"] in self.tasks:
                self.journal.write(
                    "begun", id=event["id"], worker=event["worker"], source=self.tasks[event["id"]].source
                )

    def _take(self, outcome: Outcome) -> None:
        name = outcome.id
        self.since.pop(name, None)
        told = {"seconds": outcome.seconds, "peak_mb": outcome.peak_mb, "worker": outcome.worker}
        if outcome.ending == "done":
            self.journal.write("done", id=name, made=outcome.made, **told)
            (self.made if outcome.made else self.there).append(name)
        elif outcome.ending == "unwritable":
            self.waiting.append(name)
            raise OutputError(
                f"{outcome.error} {len(self.made)} scenes were mapped, {len(self.waiting) + len(self.since)} are left; "
                "the same command goes on."
            )
        elif outcome.ending == "refused":
            self._quarantine(name, outcome.error, outcome.details, told)
        else:
            self._fault(name, outcome.error, outcome.details, told)

    def _fault(self, name: str, error: str, details: str, told: dict[str, Any]) -> None:
        self.faults[name] = self.faults.get(name, 0) + 1
        if self.faults[name] >= self.how.tries:
            self._quarantine(name, error, details, told)
        else:
            self.journal.write("failed", id=name, error=error, details=details, **told)
            self.waiting.append(name)

    def _quarantine(self, name: str, error: str, details: str, told: dict[str, Any]) -> None:
        source = self.tasks[name].source
        self.journal.write("quarantined", id=name, error=error, details=details, source=source, **told)
        self.quarantined[name] = error

    def _end_those_that_hang(self) -> None:
        late = [name for name, since in self.since.items() if time.monotonic() - since > self.how.timeout_s]
        for name in late:
            self.workers.kill(name)
            del self.since[name]
            self._fault(name, f"It took longer than {self.how.timeout_s:g} s (--timeout).", "", {})

    def _show(self) -> None:
        ended = len(self.made) + len(self.there) + len(self.quarantined)
        aside = f", {len(self.quarantined)} quarantined" if self.quarantined else ""
        self.report(ended / max(len(self.tasks), 1), f"{ended} of {len(self.tasks)} scenes{aside}")
        started = time.monotonic()
        if started >= self.page_at:
            self._page(running=True)
            self.page_at = started + max(_PAGE_S, _REST * (time.monotonic() - started))

    def _page(self, *, running: bool) -> None:
        status = status_of(self.archive, Totals(scenes=len(self.tasks), shard=self.how.shard.name), running=running)
        write_status_page(status, self.archive.root)

    def _note(self, event: str, name: str | None, **more: Any) -> None:
        """An event of the end, where the disk may be full: what it says can be done without."""
        try:
            self.journal.write(event, **({"id": name} if name else {}), **more)
        except OutputError:
            return

    def _finish(self) -> None:
        self._page(running=False)
        if self.how.overview:
            write_overview(self.archive)


def write_overview(archive: Archive) -> None:
    """The STAC collection above all maps and the table of them; nothing where no map is, or the packages are not."""
    for write in (
        lambda: write_collection(archive.maps, archive.kind, overwrite=True),
        lambda: write_catalogue(archive),
    ):
        with suppress(ProductNotFoundError, OutputExistsError, MissingDependencyError):
            write()


def quarantined(archive: Archive, names: Iterable[str] | None = None) -> dict[str, str]:
    """Scenes that were quarantined and why, by id."""
    known = entries(read_events(archive.root / JOURNAL))
    wanted = known if names is None else [name for name in names if name in known]
    return {name: known[name].error for name in wanted if known[name].state == "quarantined"}
