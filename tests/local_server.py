"""A server on this machine that cuts, lies, throttles and redirects as a test tells it, and counts what it sent."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """An answer; `cut` bytes of the body are sent, then the connection is closed."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass
class LocalServer:
    """Where it is, what was asked of it, and the bytes of bodies that left it, by path."""

    address: str
    asked: list[Asked] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)

    def paths(self) -> list[str]:
        return [one.path for one in self.asked]


@contextmanager
def serving(answer: Callable[[Asked], Reply], host: str = "127.0.0.1") -> Iterator[LocalServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def _do(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(self.command, unquote(parts.path), unquote(parts.query), dict(self.headers.items()), body)
            server.asked.append(asked)
            reply = answer(asked)
            data = reply.body if reply.cut is None else reply.body[: reply.cut]
            self.send_response_only(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)
                server.sent[asked.path] += len(data)
            self.close_connection = True

        do_GET = do_POST = do_HEAD = _do  # noqa: N815

    http = ThreadingHTTPServer((host, 0), Handler)
    http.daemon_threads = True
    server = LocalServer(f"http://{host}:{http.server_address[1]}")
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


def part_of(asked: Asked, data: bytes, *, etag: str = '"one"', cut: int | None = None) -> Reply:
    """The answer of a proper server to a request for a file or a range of it."""
    headers = {"ETag": etag, "Accept-Ranges": "bytes"}
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("Range", ""))
    if wanted is None or asked.headers.get("If-Range", etag) != etag:
        return Reply(200, data, headers, cut)
    first, last = int(wanted[1]), int(wanted[2] or len(data) - 1)
    if first >= len(data):
        return Reply(416, b"", {**headers, "Content-Range": f"bytes */{len(data)}"})
    part = data[first : last + 1]
    return Reply(206, part, {**headers, "Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(data)}"}, cut)


def folder_of(root: Path) -> Callable[[Asked], Reply]:
    """A server of the files below a folder."""

    def answer(asked: Asked) -> Reply:
        path = root / asked.path.lstrip("/")
        return part_of(asked, path.read_bytes()) if path.is_file() else Reply(404, b"no such file")

    return answer
