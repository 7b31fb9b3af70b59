"""Serving the desk on this machine: folder, address, browser, and an orderly end."""

from __future__ import annotations

import json
import os
import socket
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frazil.errors import MissingDependencyError, OutputError, OutputExistsError
from frazil.extras import installed
from frazil.files import refuse_unwritable
from frazil.marks import WRITTEN_BY

DESK = "pip install 'frazil[desk,learn]'"
_MARK_FILE = "desk.json"


@dataclass(frozen=True, kw_only=True)
class DeskSettings:
    """How the desk is served.

    Attributes:
        port: 0 for any that is free.
        browser: whether to open one.
    """

    port: int = 0
    browser: bool = True


def check_desk(folder: Path, sources: Sequence[str | os.PathLike[str]]) -> None:
    """Make the folder of a desk, or find that it is one, before anything is computed.

    Raises:
        MissingDependencyError: the packages that serve a page are not there.
        OutputExistsError: the folder is another's, or holds what is to be opened.
        OutputError: it cannot be made.
    """
    lacking = [name for name in ("starlette", "uvicorn", "torch") if not installed(name)]
    if lacking:
        are = "is" if len(lacking) == 1 else "are"
        raise MissingDependencyError(f"The desk needs {', '.join(lacking)}, which {are} not installed: {DESK}.")
    for source in sources:
        if folder.exists() and folder.resolve() == Path(source).resolve():
            raise OutputExistsError(f"{folder} is what is to be opened; the desk needs a folder of its own (-o).")
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARK_FILE).is_file():
        raise OutputExistsError(f"{folder} is there and no desk. Name another folder with -o.")
    refuse_unwritable(folder, inside=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / _MARK_FILE).is_file():
            (folder / _MARK_FILE).write_text(json.dumps({"written_by": WRITTEN_BY, "frazil": "desk"}) + "\n")
    except OSError as error:
        raise OutputError(f"Cannot make the desk {folder}: {error.strerror}. Choose another folder (-o).") from error


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
