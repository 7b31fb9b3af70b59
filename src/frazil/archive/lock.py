"""One writer of a journal at a time, on this machine and on others.

The system's lock ends with the process that holds it, however it ends. Where a file system has no locks, or does not
share them between machines, the file's time tells: its holder touches it as it works.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from frazil.archive.folder import now
from frazil.errors import OutputError, OutputExistsError

FRESH_S = 180.0  #: a lock of another machine that was touched so lately is held


class Lock:
    """A held lock; `beat` says that its holder is alive."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor
        self._beaten = time.monotonic()

    def beat(self, every_s: float = FRESH_S / 6) -> None:
        """Touch the file, if it is time to."""
        if time.monotonic() - self._beaten >= every_s:
            self._beaten = time.monotonic()
            with suppress(OSError):
                os.utime(self._path)


@contextmanager
def held(path: Path, what: str) -> Iterator[Lock]:
    """Hold a lock, or say who does.

    Args:
        path: of the lock's file.
        what: is done under it, for the message: ``"A batch works on"``.

    Raises:
        OutputExistsError: somebody else holds it.
        OutputError: the file cannot be made.
    """
    import fcntl

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}.") from error
    try:
        holder = os.pread(descriptor, 400, 0).decode("utf-8", "replace").strip()
        locked = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _taken(path, what, holder) from None
        except OSError:  # no locks here
            locked = False
        elsewhere = bool(holder) and holder.split()[0] != socket.gethostname()
        fresh = time.time() - os.fstat(descriptor).st_mtime < FRESH_S
        if holder and fresh and (elsewhere or not locked):
            raise _taken(path, what, holder)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{socket.gethostname()} {os.getpid()} {now()}\n".encode(), 0)
        try:
            yield Lock(path, descriptor)
        finally:
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _taken(path: Path, what: str, holder: str) -> OutputExistsError:
    words = holder.split()
    who = f" on {words[0]}, process {words[1]}, since {words[2]}" if len(words) == 3 else ""
    return OutputExistsError(
        f"{what} {path.parent.parent} already{who}. Wait for it, end it, or work on another shard."
    )


def is_held(path: Path) -> bool:
    """Whether somebody holds a lock: its file names a holder, which the system or the file's time confirms."""
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        holder = os.pread(descriptor, 400, 0).decode("utf-8", "replace").split()
        if not holder:
            return False
        if holder[0] != socket.gethostname():
            return time.time() - os.fstat(descriptor).st_mtime < FRESH_S
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return time.time() - os.fstat(descriptor).st_mtime < FRESH_S
        return False
    finally:
        os.close(descriptor)
