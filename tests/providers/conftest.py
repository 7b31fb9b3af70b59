"""An archive on this machine: products with few files, their nodes, tokens, and a client that does not wait."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frazil.net.http import Client
from frazil.net.patience import Patience
from frazil.providers.found import Found, checked
from tests.local_server import Asked, LocalServer, Reply, part_of, serving
from tests.providers.catalogue import name, record

NAME = name(datetime(2025, 2, 1, 6, tzinfo=UTC))


def files_of(product: dict[str, bytes]) -> dict[str, bytes]:
    """A product's files with a manifest that lists them, and a file that no map needs."""
    parts = "".join(
        f'<dataObject><byteStream size="{len(data)}"><fileLocation href="./{inside}"/>'
        f'<checksum checksumName="MD5">{hashlib.md5(data).hexdigest()}</checksum></byteStream></dataObject>'
        for inside, data in product.items()
    )
    manifest = f"<XFDU><dataObjectSection>{parts}</dataObjectSection></XFDU>"
    return {**product, "manifest.safe": manifest.encode()}


@pytest.fixture(scope="session")
def product() -> dict[str, bytes]:
    """Files that are no images, of 1 MB: what is fetched is not looked into."""
    data = np.random.default_rng(1).bytes(1_000_000)
    return files_of(
        {
            "annotation/s1a-ew-grd-hh.xml": data[:20_000],
            "annotation/calibration/noise-s1a-ew-grd-hh.xml": data[20_000:50_000],
            "annotation/calibration/calibration-s1a-ew-grd-hh.xml": data[50_000:90_000],
            "annotation/rfi/rfi-s1a-ew-grd-hh.xml": b"not needed",
            "measurement/s1a-ew-grd-hh.tiff": data,
            "measurement/s1a-ew-grd-hv.tiff": data[::-1],
            "preview/quick-look.png": data[:500],
            "support/s1-level-1.xsd": b"not needed",
        }
    )


@dataclass
class Waits:
    """How long a client would have waited."""

    seconds: list[float] = field(default_factory=list)

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@dataclass
class FakeArchive:
    """What a test asks of the archive, and what it may change."""

    files: dict[str, bytes]
    product: str = NAME
    token: str = "first"
    tokens: list[str] = field(default_factory=list)
    lives: float = 600
    misbehave: Callable[[str, Asked], Reply | None] = lambda inside, asked: None
    etag: str = '"one"'
    server: LocalServer = None  # type: ignore[assignment]

    def __call__(self, asked: Asked) -> Reply:
        if asked.path == "/token":
            if b"password=right" not in asked.body and b"refresh_token=again" not in asked.body:
                return Reply(401, b'{"error_description": "Invalid user credentials"}')
            self.tokens.append(asked.body.decode())
            self.token = f"token{len(self.tokens)}"
            told = {"access_token": self.token, "expires_in": self.lives, "refresh_token": "again"}
            return Reply(200, json.dumps({**told, "refresh_expires_in": 3600}).encode())
        inside = "/".join(re.findall(r"/Nodes\(([^)]*)\)", asked.path)[1:])
        done = self.misbehave(inside, asked)
        if done is not None:
            return done
        if asked.headers.get("Authorization") != f"Bearer {self.token}":
            return Reply(401, b'{"detail": "Expired signature!"}')
        if inside not in self.files:
            return Reply(404, b"no such node")
        return part_of(asked, self.files[inside], etag=self.etag)

    def found(self, **more: Any) -> Found:
        """The product as a catalogue tells it."""
        told = record(self.product)
        return checked({"source": "cdse", "id": told["Id"], "name": self.product,
                        "start": told["ContentDate"]["Start"], "stop": told["ContentDate"]["End"], **more})  # fmt: skip

    def sent(self) -> dict[str, int]:
        """Bytes that left the server, by file of the product."""
        sent: dict[str, int] = {}
        for path, count in self.server.sent.items():
            inside = "/".join(re.findall(r"/Nodes\(([^)]*)\)", path)[1:])
            if inside:
                sent[inside] = sent.get(inside, 0) + count
        return sent


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No settings and no secrets of whoever runs the tests, and no address outside of this machine."""
    import os

    for word in [w for w in os.environ if w.startswith(("FRAZIL_", "AWS_")) and w not in ("FRAZIL_TEST_DATA",)]:
        monkeypatch.delenv(word)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    for word in ("CDSE_CATALOGUE", "CDSE_DOWNLOAD", "CDSE_IDENTITY", "CDSE_S3", "ASF_SEARCH", "ASF_LOGIN",
                 "PLANETARY_STAC", "PLANETARY_SAS"):  # fmt: skip
        monkeypatch.setenv(f"FRAZIL_{word}", "http://127.0.0.1:9")


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def client(waits: Waits) -> Client:
    return Client(timeout_s=5, patience=Patience(tries=4, pause=waits, chance=lambda: 0.0))


@pytest.fixture
def archive(product: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeArchive]:
    """Served, with a name and a password that are right."""
    fake = FakeArchive(dict(product))
    with serving(fake) as server:
        fake.server = server
        monkeypatch.setenv("FRAZIL_CDSE_DOWNLOAD", f"{server.address}/odata/v1")
        monkeypatch.setenv("FRAZIL_CDSE_IDENTITY", f"{server.address}/token")
        monkeypatch.setenv("FRAZIL_CDSE_USER", "me@example.org")
        monkeypatch.setenv("FRAZIL_CDSE_PASSWORD", "right")
        yield fake


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
