"""Where a file comes from: over https, or out of a bucket; from any byte on.

References:
    RFC 9110, sections 13.1.5 (If-Range) and 14 (ranges).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from frazil.errors import ArchiveError, FrazilError
from frazil.net.buckets import Bucket, open_store, told
from frazil.net.http import Client, InterruptedAnswerError, Token, refused
from frazil.net.patience import AGAIN


@dataclass(frozen=True, eq=False)
class Piece:
    """What an archive sends of a file.

    Attributes:
        start: the first byte that comes; 0 where the archive does not begin where it was asked to.
        total: bytes of the whole file, or None where it is not told.
        promised: bytes that come, or None where it is not told.
        etag: of the file as it is now, or ``""``.
        chunks: the bytes.
    """

    start: int
    total: int | None
    promised: int | None
    etag: str
    chunks: Iterator[bytes]


class BusyError(ArchiveError):
    """The archive wants to be asked later.

    Attributes:
        headers: of its answer.
    """

    def __init__(self, message: str, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.headers = headers


class ChangedError(ArchiveError):
    """The file at the archive is another one than before."""


class Origin(Protocol):
    """A file of an archive."""

    @property
    def who(self) -> str:
        """The server, for messages."""
        ...

    def open(self, start: int, etag: str) -> AbstractContextManager[Piece]:
        """The file from a byte on.

        Args:
            start: the first byte.
            etag: that the file had when its first bytes came, or ``""``.

        Raises:
            BusyError, InterruptedAnswerError: later it may come.
            ChangedError: it is another one now.
            ArchiveError, CredentialsError: it does not come.
        """
        ...


@dataclass(frozen=True, eq=False)
class HttpFile:
    """A file at an address.

    Attributes:
        address: of the file.
        client: asks.
        token: for the house of the address, or None.
    """

    address: str
    client: Client
    token: Token | None = None

    @property
    def who(self) -> str:
        """The host."""
        return str(urlsplit(self.address).hostname)

    @contextmanager
    def open(self, start: int, etag: str) -> Iterator[Piece]:
        """As `Origin.open`."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and etag and not etag.startswith("W/"):
            headers["If-Range"] = etag
        with self.client.open(self.address, headers=headers, token=self.token) as answer:
            length = answer.headers.get("Content-Length", "")
            promised = int(length) if length.isdigit() and len(length) < 16 else None
            now = answer.headers.get("ETag", "")[:200]
            if answer.status == 200:
                yield Piece(0, promised, promised, now, answer.chunks())
            elif answer.status == 206:
                told_range = re.fullmatch(
                    r"bytes (\d{1,15})-\d{1,15}/(\d{1,15}|\*)", answer.headers.get("Content-Range", "")
                )
                if told_range is None:
                    raise ArchiveError(f"{self.who} sends a part of a file without saying which.")
                total = None if told_range[2] == "*" else int(told_range[2])
                yield Piece(int(told_range[1]), total, promised, now, answer.chunks())
            elif answer.status == 416:
                raise ChangedError(f"{self.who} has less of the file than has come already.")
            elif answer.status in AGAIN:
                error = refused(answer)
                raise BusyError(str(error), answer.headers)
            else:
                raise refused(answer)


@dataclass(frozen=True, eq=False)
class BucketFile:
    """A file in a bucket.

    Attributes:
        where: the bucket.
        key: of the file.
    """

    where: Bucket
    key: str

    @property
    def who(self) -> str:
        """The host."""
        return self.where.host

    @contextmanager
    def open(self, start: int, etag: str) -> Iterator[Piece]:
        """As `Origin.open`."""
        store = open_store(self.where)  # says what is not installed
        import obstore
        from obstore.exceptions import BaseError, PreconditionError

        options: dict[str, object] = {}
        if start:
            options["range"] = {"offset": start}
            if etag:
                options["if_match"] = etag
        try:
            got = obstore.get(store, self.key, options=options)  # type: ignore[arg-type]
            first, last = got.range
            meta = got.meta
            chunks = (bytes(part) for part in got.stream(min_chunk_size=2**18))
            yield Piece(int(first), int(meta["size"]), int(last) - int(first), str(meta["e_tag"] or ""), chunks)
        except PreconditionError as error:
            raise ChangedError(f"s3://{self.where.name}/{self.key} was replaced on the server.") from error
        except (BaseError, OSError) as error:
            if isinstance(error, FrazilError):
                raise
            reason = " ".join(str(error).split())
            if start and "416" in reason:
                raise ChangedError(f"{self.who} has less of the file than has come already.") from error
            raise told(error, self.where, self.key) or InterruptedAnswerError(
                f"{self.who} broke off ({reason[:150]})."
            ) from error
