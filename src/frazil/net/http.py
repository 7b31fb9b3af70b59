"""HTTP with the standard library: every status is an answer, and redirects are followed here, one by one.

A token goes to the house it is of, and is left out where a redirect leads elsewhere; so is every other header of ours.
No redirect leads from https to http. Compression is not asked for: bytes are counted.

References:
    RFC 9110 (HTTP semantics): 9.3.1, 13.1.5 (If-Range), 14 (ranges), 15.4 (redirects).
"""

from __future__ import annotations

import http.client
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol
from urllib.error import URLError
from urllib.parse import urljoin, urlsplit

from frazil import __version__
from frazil.errors import ArchiveError, CredentialsError, OptionError, printable
from frazil.net.addresses import check_address, is_loopback, same_house, shown
from frazil.net.patience import AGAIN, Patience
from frazil.untrusted import parse_json

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 8
_WORDS = 300  # of an error page that is quoted
#: What connections break with: also with the data of answers that end early.
BROKEN = (OSError, http.client.HTTPException)


class InterruptedAnswerError(ArchiveError):
    """The network failed; the same request may succeed later."""


class Token(Protocol):
    """What a server knows a user by; nobody sees it who does not ask `current`."""

    def current(self) -> str:
        """The token, valid for a while."""
        ...

    def renewed(self, refused: str) -> str:
        """Another token, because the server refused that one."""
        ...


@dataclass(frozen=True, eq=False)
class Answer:
    """What a server answered.

    Attributes:
        status: 200 and others.
        headers: by name in any case.
        address: where it came from, after redirects.
    """

    status: int
    headers: Mapping[str, str]
    address: str
    _body: Any = field(repr=False)

    def chunks(self, size: int = 2**18) -> Iterator[bytes]:
        """The body piece by piece, as long as it comes.

        Raises:
            InterruptedAnswerError: the connection broke; an end that comes too early is seen by the caller alone.
        """
        try:
            while data := self._body.read1(size):
                yield data
        except BROKEN as error:
            raise InterruptedAnswerError(f"{_host(self.address)} broke off ({_reason(error)}).") from error

    def read(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            ArchiveError: it is larger; or the connection broke (then the child `InterruptedAnswerError`).
        """
        data = bytearray()
        for part in self.chunks():
            data += part
            if len(data) > limit:
                raise ArchiveError(f"{shown(self.address)} sends more than {limit} bytes; that is not what was asked.")
        expected = self.headers.get("Content-Length", "")
        if expected.isdigit() and int(expected) != len(data):
            raise InterruptedAnswerError(f"{_host(self.address)} broke off after {len(data)} of {expected} bytes.")
        return bytes(data)

    def words(self) -> str:
        """What an error page says, short, in one line that a terminal can show."""
        try:
            text = next(self.chunks(4096), b"").decode("utf-8", "replace")
        except ArchiveError:
            text = ""
        try:
            found = parse_json(text)
            for key in ("error_description", "detail", "message", "Message", "description", "error"):
                if isinstance(found, dict) and isinstance(found.get(key), str):
                    text = found[key]
                    break
        except ValueError:
            pass
        if text.lstrip().startswith("<"):
            text = ""
        return printable(" ".join(text.split()))[:_WORDS]


@dataclass(frozen=True, kw_only=True)
class Client:
    """Who asks.

    Attributes:
        timeout_s: without a byte, before a connection counts as broken.
        patience: between attempts of `read` and `json`.
    """

    timeout_s: float = 60.0
    patience: Patience = field(default_factory=Patience)

    @contextmanager
    def open(
        self,
        address: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        token: Token | None = None,
    ) -> Iterator[Answer]:
        """Ask once; redirects are followed, a token that is refused (401) is renewed once.

        Raises:
            InterruptedAnswerError: no connection.
            ArchiveError: redirects without end, or to where nothing is asked.
            OptionError: an address that is not asked.
        """
        bearer = None if token is None else token.current()
        for last in (False, True):
            body, answer = self._follow(address, headers or {}, data, bearer)
            if answer.status == 401 and token is not None and bearer is not None and not last:
                body.close()
                bearer = token.renewed(bearer)
                continue
            try:
                yield answer
            finally:
                body.close()
            return

    def _follow(
        self, address: str, headers: Mapping[str, str], data: bytes | None, bearer: str | None
    ) -> tuple[Any, Answer]:
        here = check_address(address)
        for _ in range(_MOST_REDIRECTS):
            ours = same_house(address, here)
            sent = {"User-Agent": f"frazil/{__version__}", "Accept-Encoding": "identity", "Connection": "close"}
            # Range and If-Range go along: they tell nothing of the user, and the file is at the end of the redirects.
            sent |= {k: v for k, v in headers.items() if ours or k in ("Range", "If-Range", "Accept")}
            if bearer is not None and ours:
                sent["Authorization"] = f"Bearer {bearer}"
            request = urllib.request.Request(here, data=data, headers=sent)
            body = self._ask(request)
            answer = Answer(body.status, body.headers, here, body)
            if answer.status not in _REDIRECTS or not body.headers.get("Location"):
                return body, answer
            body.close()
            there = urljoin(here, body.headers["Location"])
            try:
                check_address(there)
            except OptionError as error:
                raise ArchiveError(f"{_host(here)} sends us elsewhere: {error}") from error
            if urlsplit(here).scheme == "https" and urlsplit(there).scheme != "https":
                raise ArchiveError(f"{_host(here)} sends us to {shown(there)}, which is not encrypted; not followed.")
            if data is not None and (not same_house(address, there) or answer.status not in (307, 308)):
                raise ArchiveError(f"{_host(here)} sends a login on to {shown(there)}; it is not sent there.")
            here = there
        raise ArchiveError(f"{_host(address)} redirects without end.")

    def _ask(self, request: urllib.request.Request) -> Any:
        host = urlsplit(request.full_url).hostname
        opener = urllib.request.OpenerDirector()
        proxies: dict[str, str] | None = {} if is_loopback(host) else None
        for handler in (
            urllib.request.ProxyHandler(proxies),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(context=_trust()),
        ):
            opener.add_handler(handler)
        try:
            body = opener.open(request, timeout=self.timeout_s)
        except BROKEN as error:
            raise InterruptedAnswerError(f"{host} cannot be reached ({_reason(error)}).") from error
        if body is None:
            raise ArchiveError(f"{shown(request.full_url)} cannot be asked.")
        return body

    def read(self, address: str, *, limit: int, **asking: Any) -> bytes:
        """The body of a successful answer; asked again where that may help.

        Raises:
            ArchiveError: it does not come, or is larger than `limit` bytes.
            CredentialsError: refused (401, 403).
        """
        host = _host(address)
        for attempt in range(self.patience.tries):
            final = attempt + 1 == self.patience.tries
            try:
                with self.open(address, **asking) as answer:
                    if answer.status in (200, 206):
                        return answer.read(limit)
                    if answer.status not in AGAIN or final:
                        raise refused(answer)
                    headers: Mapping[str, str] | None = answer.headers
            except InterruptedAnswerError:
                if final:
                    raise
                headers = None
            self.patience.wait(attempt, host, headers)
        raise AssertionError

    def json(self, address: str, *, limit: int = 2**26, **asking: Any) -> Any:
        """What the JSON at an address says, see `read`."""
        data = self.read(address, limit=limit, **{"headers": {"Accept": "application/json"}, **asking})
        try:
            return parse_json(data)
        except ValueError as error:
            raise ArchiveError(
                f"{shown(address)} answers something else than JSON ({printable(str(error))[:100]}). "
                "Is it the address of the service?"
            ) from error


class StatusError(ArchiveError):
    """A server answered with a status that is no success.

    Attributes:
        status: the number.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def refused(answer: Answer) -> ArchiveError | CredentialsError:
    """The error of an answer that is no success, with what the server says."""
    said = answer.words()
    quoted = f": {said}" if said else ""
    where = shown(answer.address)
    if answer.status == 401:
        return CredentialsError(f"{where} does not take the credentials (401){quoted}. Check name and password.")
    if answer.status == 403:
        return CredentialsError(
            f"{where} refuses (403){quoted}. The account may lack this right, or its quota is used up."
        )
    if answer.status == 404:
        return StatusError(f"{where} is not there (404){quoted}.", 404)
    if answer.status == 429:
        return StatusError(f"{where} has had too many requests or sessions of this account (429){quoted}.", 429)
    return StatusError(f"{where} answers {answer.status}{quoted}.", answer.status)


def form(address: str, client: Client, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Any:
    """What a server answers in JSON to a form that is posted."""
    from urllib.parse import urlencode

    kind = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    return client.json(address, data=urlencode(fields).encode(), headers={**kind, **(headers or {})}, limit=2**20)


@cache
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()


def _host(address: str) -> str:
    return printable(str(urlsplit(address).hostname))


def _reason(error: BaseException) -> str:
    inner = error.reason if isinstance(error, URLError) else error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {inner.verify_message}"
    if isinstance(inner, TimeoutError):
        return "no answer in time"
    text = printable(str(inner) or type(inner).__name__)
    return " ".join(text.split())[:150]
