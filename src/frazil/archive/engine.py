"""Where tasks run: processes of this machine, jobs of a Slurm cluster, or whatever a dask scheduler has.

dask.distributed starts workers, notices dead ones, and gives their tasks to others. The batch hands out no more tasks
than there are workers, so that the scheduler's queue stays short however many scenes there are.

References:
    dask.distributed, https://distributed.dask.org: nanny, worker memory, events. dask-jobqueue, SLURMCluster.
"""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from frazil import __version__
from frazil.archive.sources import MapTask
from frazil.archive.task import Outcome, map_task
from frazil.errors import MissingDependencyError, OptionError, ServerError
from frazil.extras import installed

ARCHIVE = "pip install 'frazil[archive,fast]' (or [archive,learn])"
_TOPIC = "frazil"
_DEATHS = 5  # of workers under one task, before it counts as a fault of the scene
_ANSWER_S = 15  # a scheduler has to answer
GIB = 2**30
NEEDED_BYTES = 3 * GIB  #: of a worker that maps whole Extra Wide scenes


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """Where workers run.

    Attributes:
        dask: ``"local"``, ``"slurm"``, or the address of a scheduler (``"tcp://HOST:PORT"``).
        workers: processes here, or jobs of Slurm; a scheduler has its own.
        memory_bytes: of each; one that takes more is ended, and its scene tried again.
        cores: of each job of Slurm; here the machine's are shared out.
        queue, account, walltime: of Slurm.
        shell: commands that each job of Slurm runs first, to find frazil: ``"module load python"``.
    """

    dask: str = "local"
    workers: int = 1
    memory_bytes: int = 4 * GIB
    cores: int = 2
    queue: str | None = None
    account: str | None = None
    walltime: str = "04:00:00"
    shell: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.dask not in ("local", "slurm") and "://" not in self.dask:
            raise OptionError(
                f"--dask {self.dask!r} is not local, slurm or the address of a scheduler (tcp://HOST:PORT)."
            )
        if not 1 <= self.workers <= 10_000:
            raise OptionError(f"workers {self.workers} must lie between 1 and 10000.")
        if self.memory_bytes < GIB // 2:
            raise OptionError(f"A worker with {self.memory_bytes / GIB:.2f} GiB maps nothing; give 4 GiB or so.")


class Engine:
    """Workers of dask, and what they do now.

    Raises:
        MissingDependencyError: the packages are not there.
        ServerError: a scheduler that does not answer, or of another version.
    """

    def __init__(self, place: ClusterSettings, root: str, token: str) -> None:
        lacking = [name for name in ("distributed", "cryptography") if not installed(name)]
        if place.dask == "slurm" and not installed("dask_jobqueue"):
            lacking.append("dask_jobqueue")
        if lacking:
            raise MissingDependencyError(f"A batch needs {', '.join(lacking)}, not installed: {ARCHIVE}.")
        from distributed import Client

        self.place, self._root, self._token = place, root, token
        self._begun: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._flying: dict[str, Any] = {}
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        _configure(place)
        self._cluster = _started(place)
        try:
            address = place.dask if self._cluster is None else self._cluster
            self._client = Client(address, timeout=_ANSWER_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            self._close_cluster()
            raise ServerError(
                f"The scheduler {place.dask} does not answer ({type(error).__name__}). Start it, or give its address."
            ) from error
        try:
            self._refuse_other_versions()
            self._client.subscribe_topic(_TOPIC, self._hear)
        except BaseException:
            self.close()
            raise

    def room(self) -> int:
        """How many more tasks may be handed out: one for each worker that is there."""
        return max(sum(self._client.nthreads().values()) - len(self._flying), 0)

    @property
    def workers(self) -> int:
        """That are there now."""
        return len(self._client.nthreads())

    def submit(self, task: MapTask, turn: int) -> None:
        """Hand out a task.

        Args:
            task: see `frazil.archive.task.map_task`.
            turn: how often it was handed out before.
        """
        future = self._client.submit(
            _run, task, self._root, self._token, __version__, key=f"map-{task.id}-{turn}", pure=False, retries=0
        )
        self._flying[task.id] = future
        future.add_done_callback(lambda done, name=task.id: self._ended.put((name, done)))

    def wait(self, seconds: float) -> list[Outcome]:
        """Tasks that ended, as soon as one has; none after some seconds.

        Raises:
            ServerError: the scheduler is gone.
        """
        found: list[Outcome] = []
        end = time.monotonic() + seconds
        while not found:
            left = end - time.monotonic()
            try:
                first = [self._ended.get(timeout=max(left, 0.001))]
            except queue.Empty:
                if self._client.status not in ("running", "connecting"):
                    raise ServerError("The scheduler is gone. Start it again; the same command goes on.") from None
                return found
            while not self._ended.empty():
                first.append(self._ended.get())
            for name, future in first:
                if self._flying.get(name) is future:
                    del self._flying[name]
                    found.append(_outcome(name, future))
        return found

    def begun(self) -> list[dict[str, Any]]:
        """What workers said since the last call when they began: ``id``, ``worker``, ``time`` (of this machine)."""
        found = []
        with suppress(queue.Empty):
            while True:
                found.append(self._begun.get_nowait())
        return found

    def kill(self, name: str) -> None:
        """End a task that hangs: its worker is started anew."""
        future = self._flying.pop(name, None)
        if future is None:
            return
        on = [address for address, keys in self._client.processing().items() if future.key in keys]
        future.cancel()
        if on:
            with suppress(Exception):  # a worker that dies meanwhile is what is wanted
                self._client.restart_workers(on, timeout=60, raise_for_error=False)

    def let_go(self, name: str) -> None:
        """Forget a task: one that waits is not begun, one that runs goes on for nothing, or ends with its worker."""
        future = self._flying.pop(name, None)
        if future is not None:
            with suppress(Exception):
                future.cancel()

    def close(self) -> None:
        """End the workers that were started here; those of a scheduler go on."""
        with suppress(Exception):
            self._client.close(timeout=5)
        self._close_cluster()

    def _close_cluster(self) -> None:
        if self._cluster is not None:
            with suppress(Exception):
                self._cluster.close(timeout=20)

    def _hear(self, event: Any) -> None:
        told = event[1] if isinstance(event, tuple) else event
        if isinstance(told, dict) and told.get("root") == self._root:
            self._begun.put({"id": str(told.get("id")), "worker": str(told.get("by")), "time": time.monotonic()})

    def _refuse_other_versions(self) -> None:
        found: Any = self._client.get_versions()
        mine = found["client"]["packages"]
        others = {"the scheduler": found["scheduler"], **{f"worker {a}": v for a, v in found["workers"].items()}}
        for who, told in others.items():
            for name in ("python", "distributed", "dask"):
                theirs = (told or {}).get("packages", {}).get(name)
                same = theirs == mine[name] or (name == "python" and str(theirs)[:4] == str(mine[name])[:4])
                if not same:
                    raise ServerError(
                        f"{who} has {name} {theirs}, this machine {mine[name]}. Install the same versions on all."
                    )


def job_script(place: ClusterSettings) -> str:
    """The script that a job of Slurm runs, as `sbatch` gets it; for looking at."""
    _configure(place)
    cluster = _cluster(place, scale=False)
    try:
        return str(cluster.job_script())
    finally:
        cluster.close()


def _run(task: MapTask, root: str, token: str, version: str) -> Outcome:
    """On a worker: say that it began, then map."""
    import socket

    from distributed import get_worker

    with suppress(ValueError):
        get_worker().log_event(_TOPIC, {"id": task.id, "root": root, "by": f"{socket.gethostname()}:{os.getpid()}"})
    return map_task(task, root, token, version)


def _outcome(name: str, future: Any) -> Outcome:
    if future.status == "finished":
        try:
            made = future.result()
        except Exception as error:
            return Outcome(id=name, ending="failed", error=f"The result was lost ({type(error).__name__}).")
        finally:
            future.release()
        return made if isinstance(made, Outcome) else Outcome(id=name, ending="failed", error="No result came back.")
    if future.status == "cancelled":
        return Outcome(id=name, ending="failed", error="It was cancelled, by the scheduler or with it.")
    fault = future.exception()
    future.release()
    if type(fault).__name__ == "KilledWorker":
        return Outcome(id=name, ending="failed", error=f"{_DEATHS} workers died of it; of memory, most likely.")
    return Outcome(id=name, ending="failed", error=f"{type(fault).__name__}: {' '.join(str(fault).split())[:500]}")


def _configure(place: ClusterSettings) -> None:
    """Settings of dask that this process's schedulers and workers start with."""
    import dask

    threads = str(max((os.cpu_count() or 1) // place.workers, 1)) if place.dask == "local" else str(place.cores)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    dask.config.set(
        {
            "distributed.scheduler.allowed-failures": _DEATHS,
            "distributed.comm.timeouts.connect": "60s",  # of workers that begin on a busy machine
            "distributed.worker.memory.target": False,
            "distributed.worker.memory.spill": False,
            "distributed.worker.memory.pause": False,
            "distributed.worker.memory.terminate": 0.95,
            "distributed.nanny.pre-spawn-environ": dict.fromkeys(names, threads) | {"MALLOC_TRIM_THRESHOLD_": "65536"},
            "distributed.admin.log-format": "%(name)s: %(message)s",
        }
    )


def _started(place: ClusterSettings) -> Any:
    """The cluster of a place, started; None where a scheduler has its own.

    Raises:
        ServerError: it does not start, tried twice.
    """
    try:
        return _cluster(place)
    except RuntimeError:  # processes that are slow to begin are taken for dead
        pass
    try:
        return _cluster(place)
    except (RuntimeError, OSError) as error:
        words = " ".join(str(error.__cause__ or error).split())[:300]
        raise ServerError(
            f"The workers do not start ({words}). Close other programs, or ask for fewer (--workers)."
        ) from error


def _cluster(place: ClusterSettings, *, scale: bool = True) -> Any:
    if place.dask == "local":
        from distributed import LocalCluster

        return LocalCluster(
            n_workers=place.workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=place.memory_bytes,
            dashboard_address="127.0.0.1:0",
            security=True,  # encrypted, with keys of this run: a scheduler runs whatever is sent to it
            silence_logs=50,
        )
    if place.dask == "slurm":
        from dask_jobqueue.slurm import SLURMCluster

        cluster = SLURMCluster(
            queue=place.queue,
            account=place.account,
            cores=place.cores,
            processes=1,
            worker_extra_args=["--nthreads", "1", *_lifetime(place.walltime)],
            memory=f"{place.memory_bytes / GIB:.3g}GiB",
            walltime=place.walltime,
            job_name="frazil",
            job_script_prologue=[*place.shell, f"export OMP_NUM_THREADS={place.cores}"],
        )
        if scale:
            cluster.scale(jobs=place.workers)
        return cluster
    return None


def _lifetime(walltime: str) -> Sequence[str]:
    """A worker ends before Slurm ends it, so that no scene is lost under way; not all at once."""
    try:
        hours, minutes, seconds = (int(part) for part in walltime.split(":"))
    except ValueError:
        raise OptionError(f"--walltime {walltime!r} is not HH:MM:SS.") from None
    left = hours * 3600 + minutes * 60 + seconds - 300
    return () if left < 600 else ("--lifetime", f"{left}s", "--lifetime-stagger", "120s")
