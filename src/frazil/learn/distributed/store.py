"""The few file operations that an exchange needs, alike on a local disk, NFS and object stores.

A file appears whole or not at all: local ones by a temporary name, fsync and rename; objects because a bucket takes
them whole. Everything else that may go wrong is an OSError, which callers survive.

References:
    fsspec, https://filesystem-spec.readthedocs.io.
"""

from __future__ import annotations

import errno
import os
import time
import uuid
from pathlib import Path
from typing import Any

from frazil.errors import MissingDependencyError, OptionError

_TRIES = 3  # on a stale NFS handle


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
        path = Path(self.root, name)
        part = path.with_name(f".{uuid.uuid4().hex}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

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
        for attempt in range(_TRIES):
            try:
                with Path(self.root, name).open("rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    if size > limit:
                        raise OSError(errno.EFBIG, f"{size} bytes, expected at most {limit}", name)
                    return file.read(limit + 1)
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
            return sorted(path.name for path in Path(self.root, folder).iterdir() if not path.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def remove(self, name: str) -> None:
        """Remove a file; one that is gone already is fine."""
        try:
            if self.local:
                Path(self.root, name).unlink()
            else:
                _as_os_error(self.fs.rm_file, f"{self.root}/{name}")
        except FileNotFoundError:
            pass


def _as_os_error(call: Any, *arguments: Any, **options: Any) -> Any:
    """Call; what a bucket's own library raises becomes an OSError, as on a disk."""
    try:
        return call(*arguments, **options)
    except OSError:
        raise
    except Exception as error:
        raise OSError(errno.EIO, f"{type(error).__name__}: {error}") from error
