"""Products from an archive to the disk, whole or not at all under their own name.

A product is fetched into ``NAME.SAFE.part``, locked while it is worked on: the manifest first, then the files that
a map needs, up to four at a time. When all are there and compared with the manifest, the folder gets its name. A run
that is killed leaves the ``.part`` folder, and the next one goes on with it. ASF holds zips: those come as one file,
compared with the checksum of its catalogue.

References:
    S1-RS-MDA-52-7441, section 3.1 (layout). Copernicus Data Space documentation, Quotas (four connections).
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from frazil.errors import ArchiveError, FrazilError, OptionError, OutputError, OutputExistsError, printable
from frazil.net.http import Client
from frazil.providers.found import NAME, Found
from frazil.providers.manifest import Wanted, needed
from frazil.providers.receipts import Receipts
from frazil.providers.search import load_search, look_up
from frazil.providers.shipments import MANIFEST, PART, Archive, Assets, Shipment, Via, Zip
from frazil.providers.transfer import PARTIAL, StoppedError, Transfer, fetch
from frazil.xml_files import MAX_BYTES

MOST_CONNECTIONS = 4  #: that the Copernicus Data Space grants a user
_SPARE = 64 * 2**20  # bytes that stay free


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A product that is on the disk now.

    Attributes:
        name: of the product.
        path: its folder or zip.
        bytes: of its files.
        fetched: of these, what came over the network in this run.
        verified: what its files were compared with: ``"MD5"``, or ``"size"`` where the archive tells no more.
    """

    name: str
    path: Path
    bytes: int
    fetched: int
    verified: str


def get(
    products: Found | str | Iterable[Found | str],
    output: str | os.PathLike[str],
    *,
    source: str = "cdse",
    via: Via = "auto",
    connections: int = MOST_CONNECTIONS,
    client: Client | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> list[Fetched]:
    """Fetch products into a folder: of each what a map needs, ranged, resumed, compared with its checksums.

    Args:
        products: of `frazil.find`, or ids, names, or files of searches.
        output: folder, made where it is missing; every product gets a folder ``NAME.SAFE`` (of ASF ``NAME.zip``) in it.
        source: the archive of ids and names.
        via: of the Copernicus Data Space: ``"s3"`` from its bucket, ``"https"`` from its servers; ``"auto"`` the bucket
            where keys are set and obstore is installed.
        connections: at a time, 1 to 4.
        client: how to ask.
        progress: told the share that is done, and what is being fetched.

    Raises:
        ArchiveError, CredentialsError: the first product that does not come; what came of it stays, to be gone on with.
        OutputExistsError: something else of its name is there.
        OutputError: the disk is full, or the folder cannot be written.
    """
    archive = Archive(client or Client(), via)
    chosen = resolve([products] if isinstance(products, (Found, str)) else products, source, archive.client)
    told = progress or _untold
    return [
        get_product(
            one,
            output,
            archive=archive,
            connections=connections,
            progress=lambda share, what, n=n: told((n + share) / len(chosen), what),  # type: ignore[misc]
        )
        for n, one in enumerate(chosen)
    ]


def _untold(share: float, what: str) -> None:
    del share, what


def resolve(products: Iterable[Found | str], source: str, client: Client) -> list[Found]:
    """Products by what they were called, each once.

    Raises:
        OptionError: a word that is no id, no name and no search.
        ArchiveError, CredentialsError: the archive does not know one, or does not answer.
    """
    found: list[Found] = []
    for one in products:
        if isinstance(one, Found):
            found.append(one)
        elif one.endswith(".json") or Path(one).is_file():
            found += load_search(one)
        elif NAME.fullmatch(one.removesuffix(".SAFE")) or re.fullmatch(r"[0-9a-fA-F-]{36}", one):
            found.append(look_up(one, source, client))
        else:
            raise OptionError(
                f"{printable(one)[:200]!r} is no name of a Sentinel-1 product, no id, and no file of a search (.json)."
            )
    return list({(one.source, one.id): one for one in found}.values())


def get_product(
    one: Found,
    output: str | os.PathLike[str],
    *,
    archive: Archive,
    connections: int = MOST_CONNECTIONS,
    progress: Callable[[float, str], None] | None = None,
) -> Fetched:
    """Fetch one product, see `get`."""
    if not 1 <= connections <= MOST_CONNECTIONS:
        raise OptionError(f"connections is {connections}; archives allow 1 to {MOST_CONNECTIONS}.")
    root = Path(output)
    shipment = archive.shipment(one)
    target = root / shipment.folder
    if os.path.lexists(target):
        return _there_already(target, one, shipment)
    if not one.online:
        raise ArchiveError(
            f"{one.name} is offline: it lies on tape, and this service takes no orders for it. Look for it in another "
            "archive: frazil find --source asf."
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot write {root}: {error.strerror or error}. Choose another folder.") from error
    part = root / (shipment.folder + PART)
    with _locked(part, one):
        if os.path.lexists(target):
            return _there_already(target, one, shipment)
        return _Fetching(one, shipment, part, target, archive.client, connections, progress).run()


@dataclass(eq=False)
class _Fetching:
    """The work on one product, in a folder that is locked."""

    one: Found
    shipment: Shipment
    part: Path
    target: Path
    client: Client
    connections: int
    progress: Callable[[float, str], None] | None

    def __post_init__(self) -> None:
        self.receipts = Receipts(self.part.parent)
        self.stop = threading.Event()
        patience = replace(self.client.patience, pause=self._pause)
        self.transfer = Transfer(
            product=self.one.name, receipts=self.receipts, patience=patience, stop=self.stop, moved=self._moved
        )
        self.etags = self.receipts.etags(self.one.name)
        self.lock, self.done, self.total = threading.Lock(), 0, 0

    def _pause(self, seconds: float) -> None:
        """Wait as the client does, but no longer than until the work is stopped."""
        if self.client.patience.pause is Client().patience.pause:
            self.stop.wait(seconds)
        else:
            self.client.patience.pause(seconds)

    def _moved(self, count: int) -> None:
        with self.lock:
            self.done += count
            if self.progress is not None and self.total:
                self.progress(min(max(self.done / self.total, 0.0), 1.0), self.one.name[:32])

    def run(self) -> Fetched:
        fetched = sum(self._one(Wanted(name, None, "")) for name in self.shipment.first)
        wanted = self.shipment.wanted(self.part)
        self._refuse_foreign(wanted)
        left = [w for w in wanted if not self._is_there(w)]
        self._refuse_full(left)
        self.total = sum(w.size or 0 for w in wanted)
        self.done = sum(w.size or 0 for w in wanted if w not in left) + sum(_bytes(self._partial(w)) for w in left)
        fetched += self._all(left)
        self._refuse_foreign(wanted)
        size = sum(_bytes(self.part / w.name) for w in wanted)
        self._put()
        self.receipts.add(product=self.one.name, event="product whole", size=size)
        verified = "MD5" if all(w.md5 for w in wanted if w.name not in self.shipment.first) else "size"
        return Fetched(name=self.one.name, path=self.target, bytes=size, fetched=fetched, verified=verified)

    def _all(self, wanted: Sequence[Wanted]) -> int:
        with ThreadPoolExecutor(self.connections) as pool:
            futures = [pool.submit(self._one, w) for w in wanted]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                if any(f.exception() for f in done):
                    self.stop.set()
            except BaseException:  # interrupted: threads end at their next byte
                self.stop.set()
                pool.shutdown(cancel_futures=True)
                raise
            pool.shutdown(cancel_futures=True)
        errors = [e for f in futures if not f.cancelled() and (e := f.exception()) is not None]
        for error in sorted(errors, key=lambda e: isinstance(e, StoppedError)):
            raise error
        return sum(f.result() for f in futures)

    def _one(self, wanted: Wanted) -> int:
        if self.stop.is_set():
            raise StoppedError(f"{self.one.name}: stopped.")
        target = self.part / wanted.name
        if self._is_there(wanted):
            return 0
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot write {target.parent}: {error.strerror or error}. Free the space.") from error
        origin = self.shipment.origin(wanted.name)
        return fetch(origin, wanted, target, self.transfer, etag=self.etags.get(wanted.name, ""))

    def _is_there(self, wanted: Wanted) -> bool:
        """Whether a file has its name, and so was compared with the manifest before."""
        path = self.part / wanted.name
        return path.is_file() and not path.is_symlink() and wanted.size in (None, _bytes(path))

    def _partial(self, wanted: Wanted) -> Path:
        return self.part / (wanted.name + PARTIAL)

    def _refuse_foreign(self, wanted: Sequence[Wanted]) -> None:
        ours = {w.name for w in wanted} | {w.name + PARTIAL for w in wanted}
        for place, folders, files in os.walk(self.part):
            links = [n for n in folders if Path(place, n).is_symlink()]
            for name in [*files, *links]:
                path = Path(place, name)
                if path.relative_to(self.part).as_posix() not in ours or path.is_symlink():
                    raise OutputExistsError(
                        f"{path} is not of frazil get, and would become a file of the product. Move it away."
                    )

    def _refuse_full(self, left: Sequence[Wanted]) -> None:
        missing = sum(max((w.size or 0) - _bytes(self._partial(w)), 0) for w in left)
        free = shutil.disk_usage(self.part).free
        if missing + _SPARE > free:
            raise OutputError(
                f"{self.one.name} needs {missing / 1e9:.2f} GB more in {self.part.parent}, where {free / 1e9:.2f} GB "
                "are free. Free the space or choose another folder."
            )

    def _put(self) -> None:
        """Give the product its name."""
        single = isinstance(self.shipment, Zip)
        try:
            for folder in {self.part, *(p for p in self.part.rglob("*") if p.is_dir())}:
                _flush(folder)
            if single:
                os.link(self.part / self.shipment.folder, self.target)
                shutil.rmtree(self.part)
            else:
                self.part.rename(self.target)
            _flush(self.target.parent)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise OutputExistsError(f"{self.target} appeared meanwhile; {self.part} stays.") from error
            raise OutputError(f"Cannot write {self.target}: {error.strerror or error}.") from error


def _there_already(target: Path, one: Found, shipment: Shipment) -> Fetched:
    """A product that was fetched before.

    Raises:
        OutputExistsError: something of its name is there, but not all of it.
    """
    advice = "Move it away, or choose another folder; it is left as it is."
    try:
        if isinstance(shipment, Zip):
            wanted, base = shipment.wanted(target), target.parent
        elif isinstance(shipment, Assets):
            wanted, base = shipment.wanted(target), target
        else:
            with (target / MANIFEST).open("rb") as file:
                data = file.read(MAX_BYTES)
            wanted, base = needed(data, one.name), target
        lacking = [w.name for w in wanted if not (base / w.name).is_file()]
        wrong = [w.name for w in wanted if w.name not in lacking and w.size not in (None, _bytes(base / w.name))]
    except (OSError, FrazilError) as error:
        raise OutputExistsError(f"{target} is there, but is not this product ({error}). {advice}") from error
    if lacking or wrong:
        what = f"lacks {lacking[0]}" if lacking else f"has another size of {wrong[0]}"
        raise OutputExistsError(f"{target} is there, but {what}: it is half a product. {advice}")
    size = sum(_bytes(base / w.name) for w in wanted)
    return Fetched(name=one.name, path=target, bytes=size, fetched=0, verified="size")


@contextmanager
def _locked(part: Path, one: Found) -> Iterator[None]:
    """The folder that a product is fetched into, for this process alone.

    Raises:
        OutputExistsError: another one works on it.
        OutputError: it cannot be made.
    """
    import fcntl

    try:
        part.mkdir(exist_ok=True)
        lock = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise OutputError(f"Cannot write {part}: {error.strerror or error}. Choose another folder.") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputExistsError(f"{one.name} is being fetched into {part} by another run. Wait for it.") from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        with suppress(OSError):
            part.rmdir()  # if nothing came
        os.close(lock)


def _bytes(path: Path) -> int:
    try:
        return path.stat(follow_symlinks=False).st_size
    except OSError:
        return 0


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # file systems that do not flush folders
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
