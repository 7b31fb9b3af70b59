"""Serving the desk on this machine: address, browser, and an orderly end."""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from frazil.errors import OutputError


@dataclass(frozen=True, kw_only=True)
class DeskSettings:
    """How the desk is served.

    Attributes:
        port: 0 for any that is free.
        browser: whether to open one.
    """

    port: int = 0
    browser: bool = True


def serve_desk(session: Any, settings: DeskSettings, *, say: Callable[..., None] = print) -> None:
    """Serve a session until it is ended by the page, or by an interrupt; then save its labels.

    Args:
        session: see `frazil.desk.session.Session`.
        settings: see there.
        say: prints a line.

    Raises:
        OutputError: the port is taken.
    """
    import uvicorn

    from frazil.desk.safety import Guard
    from frazil.desk.server import application

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", settings.port))
        listener.listen(128)  # before the address is told: a browser may be faster than the server's start
    except OSError as error:
        listener.close()
        raise OutputError(f"Port {settings.port} cannot be had: {error.strerror}. Leave --port out.") from error
    port = listener.getsockname()[1]

    def end() -> None:
        server.should_exit = True

    guard = Guard(application(session, end), port)
    server = uvicorn.Server(
        uvicorn.Config(guard, log_level="warning", access_log=False, server_header=False, lifespan="off", ws="none")
    )
    address = f"http://127.0.0.1:{port}/#token={guard.token}"
    say(f"The desk is at {address}")
    say("Ctrl C ends it; labels are kept.", err=True)
    if settings.browser:
        webbrowser.open(address)
    try:
        with suppress(KeyboardInterrupt):  # its ordinary end
            server.run(sockets=[listener])
    finally:
        session.close()
        listener.close()
        say(f"Labels: {session.labels.file}", err=True)
