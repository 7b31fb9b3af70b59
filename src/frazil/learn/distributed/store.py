"""The few file operations that an exchange needs, alike on a local disk, NFS and object stores.

A file appears whole or not at all: local ones by a temporary name, fsync and rename; objects because a bucket takes
them whole. Everything else that may go wrong is an OSError, which callers survive.

Others write to the same place. On a disk every step from the root is therefore taken by descriptor and without
following links, so that a link which somebody lays there leads nobody out; only regular files are read, up to a limit,
and without waiting (a pipe would never end).

References:
    fsspec, https://filesystem-spec.readthedocs.io.
"""

from __future__ import annotations

import errno
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from frazil.errors import MissingDependencyError, OptionError
from frazil.untrusted import read_bytes

_TRIES = 3  # on a stale NFS handle
_MOST_NAMES = 100_000  # of one folder
_PART = re.compile(r"\.[0-9a-f]{32}\.part")
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)


class Store:
    """A folder of any file system that fsspec knows.

    Args:
        url: a path, or ``s3://bucket/folder``, ``gs://…``, ``memory://…``.

    Raises:
        OptionError: an unknown protocol, or a file where a folder should be.
        MissingDependencyError: a protocol whose package is not installed.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.url = str(url)
        self.local = "://" not in self.url or self.url.startswith("file://")
        self.fs: Any = None
        if self.local:
            self.root = str(Path(self.url.removeprefix("file://")).absolute())
            if Path(self.root).is_file():
                raise OptionError(f"{self.url} is a file. Name a folder that all workers can write to.")
            return
        import fsspec

        try:
            self.fs, self.root = fsspec.core.url_to_fs(self.url)
        except ImportError as error:
            raise MissingDependencyError(f"{self.url} needs a package: {error}.") from error
        except ValueError as error:
            raise OptionError(f"{self.url} is no place to exchange at: {error}.") from error

    def write(self, name: str, data: bytes) -> None:
        """Put a file, whole or not at all."""
        if not self.local:
            _as_os_error(self.fs.pipe_file, f"{self.root}/{name}", data)
            return
        place = PurePosixPath(name)
        part = f".{uuid.uuid4().hex}.part"
        with self._folder(place.parent, make=True) as folder:
            try:
                new = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder)
                with os.fdopen(new, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(part, place.name, src_dir_fd=folder, dst_dir_fd=folder)  # a link there is replaced itself
                os.fsync(folder)
            except BaseException:
                _unlink(part, folder)
                raise

    @contextmanager
    def _folder(self, below: PurePosixPath, *, make: bool = False) -> Iterator[int]:
        """A descriptor of a folder below the root, no link followed; the root itself may be one."""
        if make:
            Path(self.root).mkdir(parents=True, exist_ok=True)
        here = os.open(self.root, _FOLDER)
        try:
            for name in below.parts:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(name, dir_fd=here)
                there = os.open(name, _FOLDER | getattr(os, "O_NOFOLLOW", 0), dir_fd=here)
                os.close(here)
                here = there
            yield here
        finally:
            os.close(here)

    def read(self, name: str, limit: int) -> bytes:
        """The content of a file of at most `limit` bytes.

        Raises:
            OSError: it is not there, is larger, or cannot be read.
        """
        if not self.local:
            path = f"{self.root}/{name}"
            self.fs.invalidate_cache()
            size = _as_os_error(self.fs.size, path)
            if size is None or size > limit:
                raise OSError(errno.EFBIG, f"{size} bytes, expected at most {limit}", path)
            return bytes(_as_os_error(self.fs.cat_file, path))
        place = PurePosixPath(name)
        for attempt in range(_TRIES):
            try:
                with self._folder(place.parent) as folder:
                    return read_bytes(place.name, limit, follow=False, folder=folder)
            except OSError as error:
                if error.errno != errno.ESTALE or attempt == _TRIES - 1:
                    raise
                time.sleep(0.05)
        raise AssertionError

    def names(self, folder: str) -> list[str]:
        """Names inside a folder, sorted; none where there is no folder."""
        if not self.local:
            self.fs.invalidate_cache()
            try:
                found = _as_os_error(self.fs.ls, f"{self.root}/{folder}", detail=False)
            except FileNotFoundError:
                return []
            return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in found)
        try:
            with self._folder(PurePosixPath(folder)) as descriptor, os.scandir(descriptor) as entries:
                found = [entry.name for entry in islice(entries, _MOST_NAMES + 1)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        if len(found) > _MOST_NAMES:
            raise OSError(errno.EFBIG, f"more than {_MOST_NAMES} files", folder)
        return sorted(name for name in found if not name.startswith("."))

    def remove(self, name: str) -> None:
        """Remove a file, or the link that stands in its place; one that is gone already is fine."""
        place = PurePosixPath(name)
        try:
            if self.local:
                with self._folder(place.parent) as folder:
                    os.unlink(place.name, dir_fd=folder)
            else:
                _as_os_error(self.fs.rm_file, f"{self.root}/{name}")
        except FileNotFoundError:
            pass

    def sweep(self, folder: str) -> None:
        """Remove what writers that were killed left half-written in a folder of this worker's own."""
        if not self.local:
            return
        try:
            with self._folder(PurePosixPath(folder)) as descriptor, os.scandir(descriptor) as entries:
                for name in [e.name for e in islice(entries, _MOST_NAMES) if _PART.fullmatch(e.name)]:
                    _unlink(name, descriptor)
        except (FileNotFoundError, NotADirectoryError):
            pass


def _unlink(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _as_os_error(call: Any, *arguments: Any, **options: Any) -> Any:
    """Call; what a bucket's own library raises becomes an OSError, as on a disk."""
    try:
        return call(*arguments, **options)
    except OSError:
        raise
    except Exception as error:
        raise OSError(errno.EIO, f"{type(error).__name__}: {error}") from error
