"""Outputs that appear whole or not at all, and take the place of nothing that frazil did not write.

Every writer works in a folder of its own beside the target, ``.frazil-TOKEN.part`` with a random token, which it holds
a lock on. When it is done, the result is marked (`frazil.marks`), flushed to the disk with the folders that name it,
and put in its place in one step. What a killed writer left is known by its lock being free; the next writer in the same
place sweeps it. So a run that is interrupted, fails, or fills the disk leaves nothing behind, two writers of one name
do not mix, and one of them is told.

What is promised: after a kill, the old output or the new one, whole. After power loss the same, where file system and
disk keep their word on fsync. On file systems without locks (some network shares) leftovers stay a week.

References:
    POSIX.1-2017, rename(), link(), fsync(). Linux: renameat2(2), flock(2), syncfs(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import shutil
import signal
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from frazil.errors import FrazilError, OutputError, OutputExistsError
from frazil.marks import mark, why_not_output

_WORK = ".frazil-{}.part"
_IS_WORK = "[0-9a-f]" * 16  # as a glob and as a regular expression
_STALE_S = 7 * 86400.0  # where there are no locks to ask
_MANY_FILES = 64  # from here on one flush of the file system is cheaper than one of each file
_EXCHANGE = 2  # of renameat2


def refuse_existing(
    target: str | os.PathLike[str], *, overwrite: bool = False, inputs: Iterable[str | os.PathLike[str]] = ()
) -> Path:
    """The target as a path; raise if something is there that must not be replaced.

    Verbs call this before the work starts, so that nobody waits for a result that cannot be saved. Without
    ``overwrite`` nothing is replaced (an empty folder does not count). With it only what frazil wrote is, whole and
    without anything that somebody put into it: see `frazil.marks`.

    Args:
        target: what is to be written.
        overwrite: replace an output of frazil.
        inputs: what is read; none may be the target or lie in it.

    Raises:
        OutputExistsError: the target exists and may not be replaced; it is or holds an input, the working directory
            or the home folder.
    """
    path, place = Path(target), _place(target)
    if not place.exists():
        return path
    if place.is_dir():
        for what, folder in (("the working directory", _cwd()), ("your home folder", _home())):
            if folder is not None and folder.is_relative_to(place):
                holds = "is" if folder == place else "holds"
                raise OutputExistsError(f"Output {path} {holds} {what}. Name a new folder inside it.")
    for given in inputs:
        if Path(given).exists() and Path(given).resolve().is_relative_to(place):
            holds = "is" if Path(given).resolve() == place else "holds"
            raise OutputExistsError(f"Output {path} {holds} {given}, which is read. Choose another name.")
    if place.is_dir() and not any(place.iterdir()):
        return path
    reason = why_not_output(place)
    if reason is not None:
        raise OutputExistsError(f"Output {path} exists already and is left alone: {reason}. Choose another name.")
    if not overwrite:
        raise OutputExistsError(
            f"Output {path} exists already. Choose another name or pass --overwrite (overwrite=True)."
        )
    return path


def refuse_unwritable(target: str | os.PathLike[str], *, inside: bool = False) -> None:
    """Raise if nothing can be written at a place, which is tried: permissions do not tell of /proc or full quotas.

    Args:
        target: what is to be written; folders above it that are missing would be made.
        inside: a folder that is there already is filled, not replaced.

    Raises:
        OutputError: the nearest folder that is there takes no new ones.
    """
    folder = _place(target) if inside else _place(target).parent
    while not folder.exists():
        folder = folder.parent
    try:
        Path(tempfile.mkdtemp(prefix=".frazil-", suffix=".tried", dir=folder)).rmdir()
    except OSError as error:
        raise OutputError(f"Cannot write {target}: {error.strerror or error}. Choose another folder.") from error


@contextmanager
def whole_output(target: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary path that becomes ``target`` when the block ends without an error.

    Write a file at the yielded path, or make a folder there. It has the target's own name, in a folder that is removed
    afterwards with all that is in it.

    Raises:
        OutputExistsError: something is there that must not be replaced, see `refuse_existing`; or another writer was
            faster.
        OutputError: the disk is full, the folder cannot be written, or its parent cannot be made.
    """
    refuse_existing(target, overwrite=overwrite)
    with _written(target) as (part, place):
        yield part
        with undisturbed():
            _must_be_there(part)
            mark(part)
            _flush(part)
            if overwrite:
                refuse_existing(target, overwrite=True)  # it may have become somebody else's meanwhile
            _put(part, place, replace=overwrite)


@contextmanager
def replaced_file(target: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path that takes the place of a file when the block ends without an error, whatever was there.

    For the files inside a folder that frazil keeps: state, log and model of a run.

    Raises:
        OutputError: as `whole_output`.
    """
    with _written(target) as (part, place):
        yield part
        with undisturbed():
            _must_be_there(part)
            if part.is_dir():
                mark(part)
            _flush(part)
            _put(part, place, replace=True)


@contextmanager
def _written(target: str | os.PathLike[str]) -> Iterator[tuple[Path, Path]]:
    """A path to write at, in a locked folder beside the target, and the place it is for; OSErrors in words."""
    path, place = Path(target), _place(target)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        sweep(place.parent)
        made: list[tuple[Path, int]] = []
        try:
            with undisturbed():  # a signal that comes here is delivered where what was made is removed again
                made.append(_work_folder(place.parent))
            yield made[0][0] / place.name, place
        finally:
            try:
                with undisturbed():
                    _end_work(made)
            finally:
                with undisturbed():  # a signal may have come before the first attempt was undisturbed
                    _end_work(made)
    except OSError as error:
        if isinstance(error, FrazilError) or not _is_about(error, place):
            raise
        raise OutputError(
            f"Cannot write {path}: {error.strerror or error}. Free the space or choose another folder."
        ) from error


def _end_work(made: list[tuple[Path, int]]) -> None:
    while made:
        work, lock = made.pop()
        _remove(work)
        os.close(lock)


def sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder; an output that one had set aside is put back.

    Only this user's folders are looked at, links are not followed, and what a living writer holds is left alone.
    """
    now = time.time()
    for work in folder.glob(_WORK.format(_IS_WORK)):
        try:
            lock = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # a link, or swept by somebody else
        try:
            found = os.fstat(lock)
            if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
                continue
            held = _try_lock(lock)
            if held is False or (held is None and now - found.st_mtime < _STALE_S):
                continue
            for old in (work / "old").glob("*"):
                if not os.path.lexists(folder / old.name):
                    old.rename(folder / old.name)
            _remove(work)
        except OSError:
            continue
        finally:
            os.close(lock)


def _work_folder(parent: Path) -> tuple[Path, int]:
    """A new folder to work in, and its lock."""
    while True:
        work = parent / _WORK.format(secrets.token_hex(8))
        try:
            work.mkdir()  # a place that takes no folders, such as /proc, says "no such file": that is raised
        except FileExistsError:
            continue  # drawn before
        try:
            lock = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # swept before it was locked
        held = _try_lock(lock)
        try:
            if held is not False and os.path.samestat(work.stat(), os.fstat(lock)):
                return work, lock
        except FileNotFoundError:
            pass  # swept before it was locked
        os.close(lock)


def _try_lock(descriptor: int) -> bool | None:
    """Whether an open folder could be locked; None where the file system knows no locks."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _put(part: Path, place: Path, *, replace: bool) -> None:
    """Give a written file or folder its name, in one step.

    Raises:
        OutputExistsError: something is there; or a folder where a file is written, and the reverse.
    """
    if part.is_dir():
        if place.exists() and not place.is_dir():
            raise OutputExistsError(f"Output {place} is a file; a folder was to be written there. Choose another name.")
        try:
            part.rename(place)  # also over an empty folder
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if not replace:
                raise _outrun(place) from error
            _exchange(part, place)
    else:
        if place.is_dir():
            raise OutputExistsError(f"Output {place} is a folder; a file was to be written there. Choose another name.")
        if replace:
            part.replace(place)
        else:
            try:
                os.link(part, place)  # unlike a rename it never replaces
            except FileExistsError as error:
                raise _outrun(place) from error
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS):
                    raise
                if place.exists():
                    raise _outrun(place) from error
                part.rename(place)  # a file system without hard links
    _flush_one(place.parent)


def _outrun(place: Path) -> OutputExistsError:
    return OutputExistsError(
        f"Output {place} was written by another process meanwhile; it is kept, and this result is dropped. "
        "Choose another name."
    )


def _exchange(part: Path, place: Path) -> None:
    """Swap two folders; where the system cannot in one step, the old one is set aside, where `sweep` finds it."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if rename is not None:
        here = -100  # AT_FDCWD
        if rename(here, os.fsencode(part), here, os.fsencode(place), _EXCHANGE) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise OSError(number, os.strerror(number), str(place))
    aside = part.parent / "old" / place.name
    aside.parent.mkdir()
    place.rename(aside)
    try:
        part.rename(place)
    except OSError:
        aside.rename(place)
        raise


def _flush(path: Path) -> None:
    """Bring a file, or a folder and all that it holds, down to the disk; raises OSError where it does not take them."""
    if not path.is_dir():
        _flush_one(path)
        return
    found = [Path(place, name) for place, _, files in os.walk(path) for name in files]
    if len(found) > _MANY_FILES and sys.platform == "linux":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
        finally:
            os.close(descriptor)
        return
    for file in found:
        _flush_one(file)
    for place, _, _ in os.walk(path):
        _flush_one(Path(place))


def _flush_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):  # file systems that do not flush folders
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def _must_be_there(part: Path) -> None:
    if not part.exists():
        raise OSError(errno.EIO, "nothing was written", str(part))


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold back the signals that end a program until the block is done; they are delivered then."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, Any]] = []
    names = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM") if hasattr(signal, n)]
    before = {s: signal.getsignal(s) for s in names}
    ours = {s: handler for s, handler in before.items() if callable(handler)}
    for s in ours:
        signal.signal(s, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        for s, handler in ours.items():
            signal.signal(s, handler)
        if came:
            number, frame = came[0]
            ours[signal.Signals(number)](number, frame)


def _place(target: str | os.PathLike[str]) -> Path:
    """Where a target lies, links followed: a link to a folder on another disk stays what it is."""
    return Path(os.path.realpath(target))


def _cwd() -> Path | None:
    with suppress(OSError):
        return Path.cwd().resolve()
    return None


def _home() -> Path | None:
    with suppress(RuntimeError, OSError):
        return Path.home().resolve()
    return None


def _is_about(error: OSError, place: Path) -> bool:
    """Whether an OSError concerns the output (and not some input read inside the block, perhaps beside it)."""
    if error.filename is None:
        return True
    name = Path(os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else str(error.filename))
    is_work = any(re.fullmatch(_WORK.format(_IS_WORK), part) for part in name.parts)
    return is_work or name == place or place.parent.is_relative_to(name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for _ in range(20):  # writers with threads of their own may add files while the folder is being removed
            shutil.rmtree(path, ignore_errors=True)
            if not path.exists():
                return
            _make_removable(path)
            time.sleep(0.1)
    else:
        path.unlink(missing_ok=True)


def _make_removable(folder: Path) -> None:
    """Folders that were copied from a read-only place cannot be emptied as they are."""
    for place, folders, _ in os.walk(folder):
        for name in [".", *folders]:
            with suppress(OSError):
                path = Path(place, name)
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode | stat.S_IRWXU)
