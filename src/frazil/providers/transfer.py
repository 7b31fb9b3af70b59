"""One file from an archive to the disk: in as many pieces as the network makes of it, each byte once.

What came stays in ``NAME.partial`` and is gone on with: within a run, and by the next one. The whole file is compared
with its size and MD5 where those are told, and only then gets its name. A server that does not give parts, that changes
the file meanwhile, that sends more, less or something else than it says, is found out by one of these.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from frazil.errors import ArchiveError, OutputError
from frazil.net.http import InterruptedAnswerError
from frazil.net.patience import Patience
from frazil.providers.manifest import Wanted
from frazil.providers.origins import BusyError, ChangedError, Origin, Piece
from frazil.providers.receipts import Receipts
from frazil.xml_files import MAX_BYTES

PARTIAL = ".partial"  #: what names of files end in that are not whole
_MOST_BYTES = 2**36  # of a file; the largest zips have 8 GB
_MOST_SPOILT = 2  # times that a whole file with a wrong MD5 is accepted before it is given up


class StoppedError(ArchiveError):
    """Another file failed, or the user interrupted."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What all files of a product have in common.

    Attributes:
        product: its name, for receipts and messages.
        receipts: where every piece is noted.
        patience: between attempts without progress.
        stop: set when the work is to end.
        moved: told of every number of bytes that came; below 0 where some were thrown away.
    """

    product: str
    receipts: Receipts
    patience: Patience
    stop: threading.Event
    moved: Callable[[int], None]


def fetch(origin: Origin, wanted: Wanted, target: Path, run: Transfer, *, etag: str = "") -> int:
    """Bring a file to its place, going on with what came before; bytes that came over the network.

    Args:
        origin: where from.
        wanted: name, size and MD5.
        target: where to; nothing is there.
        run: what the files of a product have in common.
        etag: of the file when the bytes came that are there already, or ``""``.

    Raises:
        ArchiveError, CredentialsError: it does not come, or not as it should be; what came stays.
        OutputError: it cannot be written; what came stays.
    """
    partial = target.with_name(target.name + PARTIAL)
    fetched = idle = spoilt = 0
    farthest = _size(partial)
    while True:
        start = _size(partial)
        if wanted.size is not None and start > wanted.size:
            _discard(partial, run, wanted, "longer than the manifest says")
            start, farthest = 0, 0
        if wanted.size is not None and start == wanted.size and (start or partial.exists()):
            if _verified(partial, wanted):
                break
            spoilt += 1
            _discard(partial, run, wanted, "another MD5 than the manifest says")
            farthest = 0
            if spoilt >= _MOST_SPOILT:
                raise ArchiveError(
                    f"{wanted.name} of {run.product} came {spoilt} times with another MD5 than in its manifest: the "
                    f"archive's copy is damaged. Take the product from another archive ({origin.who} sent this one)."
                )
            continue
        headers = None
        try:
            with origin.open(start, etag) as piece:
                if piece.start and etag and piece.etag and piece.etag != etag:
                    raise ChangedError("another ETag")
                came, whole = _take(piece, partial, start, wanted, run)
                etag = piece.etag
            fetched += came
            if whole and wanted.size is None:
                break
        except ChangedError:
            _discard(partial, run, wanted, "replaced on the server")
            etag, farthest, idle = "", 0, idle + 1
            if idle >= run.patience.tries:
                raise ArchiveError(f"{wanted.name} of {run.product} changes on {origin.who} all the time.") from None
            continue
        except BusyError as error:
            headers, reason = error.headers, str(error)
        except InterruptedAnswerError as error:
            reason = str(error)
        else:
            reason = f"{origin.who} broke off"
        here = _size(partial)
        if here > farthest:
            farthest, idle = here, 0
            if headers is None:
                continue
        elif wanted.size is not None and here == wanted.size:
            continue
        idle += 1
        if idle >= run.patience.tries:
            raise ArchiveError(
                f"{wanted.name} of {run.product} gets no further than byte {farthest} after {idle} attempts: {reason} "
                "What came so far stays; run the command again later."
            )
        run.patience.wait(idle - 1, origin.who, headers)
        if run.stop.is_set():
            raise StoppedError(f"{run.product}: stopped.")
    _finish(partial, target)
    run.receipts.add(product=run.product, file=wanted.name, event="whole", size=_size(target), md5=wanted.md5 or None)
    return fetched


def _take(piece: Piece, partial: Path, start: int, wanted: Wanted, run: Transfer) -> tuple[int, bool]:
    """Write what comes; how much came, and whether it was all that the archive promised."""
    if piece.total is not None and wanted.size is not None and piece.total != wanted.size:
        raise ArchiveError(
            f"{wanted.name} of {run.product} has {piece.total} bytes at the archive, but {wanted.size} in its "
            "manifest: the product there is damaged or mixed. Take it from another archive."
        )
    if piece.start not in (start, 0):
        raise InterruptedAnswerError(f"The archive was asked for byte {start} on and sends from {piece.start}.")
    if start and piece.start == 0:  # it gives no parts, or the file is another one now
        _discard(partial, run, wanted, "sent from its begin")
        start = 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | (0 if start else os.O_TRUNC)
    most = _most(wanted, piece)
    came = 0
    with _writing(partial):
        descriptor = os.open(partial, flags, 0o644)
    try:
        os.lseek(descriptor, start, os.SEEK_SET)
        for data in piece.chunks:
            if start + came + len(data) > most:
                raise ArchiveError(f"The archive sends more of {wanted.name} of {run.product} than its {most} bytes.")
            with _writing(partial):
                _write(descriptor, data)
            came += len(data)
            run.moved(len(data))
            if run.stop.is_set():
                raise StoppedError(f"{run.product}: stopped.")
    finally:
        os.close(descriptor)
        if came:
            run.receipts.add(
                flush=False,  # the bytes are not, either: until a file is whole its MD5 has the last word
                product=run.product,
                file=wanted.name,
                event="came",
                first=start,
                stop=start + came,
                bytes=came,
                etag=piece.etag or None,
            )
    return came, piece.promised is None or came == piece.promised


def _most(wanted: Wanted, piece: Piece) -> int:
    """Bytes that a file may have; what is told by nobody has a bound, too."""
    bound = MAX_BYTES if wanted.name == "manifest.safe" else _MOST_BYTES
    told = wanted.size if wanted.size is not None else piece.total if piece.total is not None else bound
    if told > bound:
        raise ArchiveError(f"{wanted.name} would have {told} bytes, which no such file has; it is not fetched.")
    return told


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class _writing:  # noqa: N801 - reads as a word in `with`
    """OSErrors of the disk in words: those of the network look the same."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise OutputError(
                f"Cannot write {self.path}: {error.strerror or error}. Free the space or choose another folder; what "
                "came so far stays, and the same command goes on with it."
            ) from error


def _verified(path: Path, wanted: Wanted) -> bool:
    if not wanted.md5:
        return True
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return digest == wanted.md5


def _discard(partial: Path, run: Transfer, wanted: Wanted, why: str) -> None:
    run.moved(-_size(partial))
    run.receipts.add(product=run.product, file=wanted.name, event="thrown away", why=why, size=_size(partial))
    with _writing(partial), suppress(FileNotFoundError):
        partial.unlink()


def _finish(partial: Path, target: Path) -> None:
    with _writing(target):
        descriptor = os.open(partial, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.replace(target)


def _size(path: Path) -> int:
    try:
        return path.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0
