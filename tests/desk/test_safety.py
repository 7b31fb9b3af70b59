"""Attacks on the desk: other machines, other pages, other programs, and bodies that are too large or no JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from frazil.desk.labels import MOST_VERTICES
from frazil.desk.safety import COOKIE, MOST_BYTES, Guard
from frazil.desk.server import STATIC, application
from frazil.desk.session import Session

PORT = 8765
HOST = f"http://127.0.0.1:{PORT}"
GETS = ["/state", "/labels", "/places/a", "/value/a?x=0&y=0", "/tile/a/HH/0/0/0", "/lines/a/edge", "/job/1"]
POSTS = ["/commands", "/learn", "/export", "/review", "/verdict", "/train", "/stop", "/save", "/shutdown", "/shape"]


class Attacker:
    """Sends requests to a guarded desk, without a network between."""

    def __init__(self, session: Session) -> None:
        self.ended: list[bool] = []
        self.guard = Guard(application(session, lambda: self.ended.append(True)), PORT, token="secret")
        self.session = session

    def __call__(
        self, method: str, path: str, *, cookie: str | None = "right", host: str | None = None, **options: Any
    ) -> httpx.Response:
        headers: dict[str, Any] = dict(options.pop("headers", {}))
        if method == "POST":
            headers = {"origin": HOST, "content-type": "application/json"} | headers
        if cookie is not None:
            headers["cookie"] = f"{COOKIE}={self.guard.cookie if cookie == 'right' else cookie}".encode("latin-1")
        if host is not None:
            headers["host"] = host
        headers = {k: v for k, v in headers.items() if v is not None}

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.guard)
            async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
                return await client.request(method, path, headers=headers, **options)

        return anyio.run(ask)


@pytest.fixture
def attack(session: Session) -> Attacker:
    return Attacker(session)


def scene_of(attack: Attacker, path: str) -> str:
    return path.replace("/a", f"/{next(iter(attack.session.scenes))}", 1) if "/a" in path else path


@pytest.mark.parametrize("path", GETS + POSTS)
@pytest.mark.parametrize("cookie", [None, "wrong", "", "right\x80"])
def test_without_the_cookie_nothing_is_told_or_done(attack: Attacker, path: str, cookie: str | None) -> None:
    method = "POST" if path in POSTS else "GET"
    before = attack.session.labels.snapshot()
    answered = attack(method, scene_of(attack, path), cookie=cookie, content=b"{}" if method == "POST" else None)
    assert answered.status_code == 401
    assert "frazil" not in answered.text.lower() or "desk" in answered.text
    assert attack.session.labels.snapshot() == before
    assert attack.ended == []


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1:80", "127.0.0.1", "192.168.1.5:8765", ""]
)
@pytest.mark.parametrize("path", ["/", "/state", "/static/desk.js"])
def test_a_name_that_points_here_is_not_answered(attack: Attacker, host: str, path: str) -> None:
    assert attack("GET", path, host=host).status_code == 400


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "https://127.0.0.1:8765", "http://127.0.0.1:1", "http://127.0.0.1"]
)
@pytest.mark.parametrize("path", [*POSTS, "/session"])
def test_another_page_cannot_write(attack: Attacker, path: str, origin: str | None) -> None:
    answered = attack("POST", path, headers={"origin": origin}, content=b"{}")
    assert answered.status_code == 403
    assert attack.ended == []


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_cannot_read(attack: Attacker, site: str) -> None:
    for path in ("/state", "/"):
        assert attack("GET", path, headers={"sec-fetch-site": site}).status_code == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_forms_are_not_read(attack: Attacker, kind: str) -> None:
    """What a page of another site could send without being asked first."""
    assert attack("POST", "/commands", headers={"content-type": kind}, content=b"{}").status_code == 415


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_other_methods_are_not_answered(attack: Attacker, method: str) -> None:
    assert attack(method, "/commands").status_code == 405


def test_nothing_that_is_read_changes_anything(attack: Attacker) -> None:
    before = json.dumps(attack.session.state())
    for path in POSTS:
        assert attack("GET", path).status_code == 405
    for path in GETS:
        assert attack("GET", scene_of(attack, path)).status_code in (200, 204)
    assert json.dumps(attack.session.state()) == before
    assert attack.ended == []


@pytest.mark.parametrize(
    "path",
    [
        "/static/../safety.py",
        "/static/%2e%2e/safety.py",
        "/static/..%2fsafety.py",
        "/static//etc/passwd",
        "/static/%2Fetc%2Fpasswd",
        "/static/desk.js/../../../__init__.py",
        "/static/desk.js%00.css",
        "/tile/..%2f..%2fetc/HH/0/0/0",
        "/lines/..%2f..%2fetc/edge",
        "/files/labels.gpkg",
        "/labels.gpkg",
        "/journal.jsonl",
    ],
)
def test_paths_lead_nowhere_else(attack: Attacker, path: str) -> None:
    answered = attack("GET", path)
    assert answered.status_code in (400, 404)
    assert "import" not in answered.text
    assert "root:" not in answered.text


def test_the_token_works_once(attack: Attacker) -> None:
    given = attack("POST", "/session", cookie=None, content=b'{"token": "secret"}')
    assert given.status_code == 200
    cookie = given.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "secret" not in cookie
    value = cookie.partition("=")[2].partition(";")[0]
    assert attack("GET", "/state", cookie=value).status_code == 200
    again = attack("POST", "/session", cookie=None, content=b'{"token": "secret"}')
    assert again.status_code == 401
    assert "set-cookie" not in again.headers


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"token": 3}', b'{"token": null}', b'{"token": "secre"}', b"\xff"]
)
def test_guesses_get_no_cookie(attack: Attacker, body: bytes) -> None:
    answered = attack("POST", "/session", cookie=None, content=body)
    assert answered.status_code == 401
    assert "set-cookie" not in answered.headers


def test_every_answer_bears_the_policy_and_none_allows_another_origin(attack: Attacker) -> None:
    for method, path in [("GET", "/"), ("GET", "/state"), ("GET", "/static/ol.js"), ("GET", "/nothing"), ("PUT", "/")]:
        headers = attack(method, path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert not [name for name in headers if name.startswith("access-control")]
        assert headers.get_list("content-security-policy") == [policy]


BODIES: dict[str, Callable[[], bytes]] = {
    "no json": lambda: b"{",
    "a list": lambda: b"[]",
    "deep": lambda: b"[" * 100_000,
    "no numbers": lambda: b'{"revision": "0", "commands": []}',
    "not a list": lambda: b'{"revision": 0, "commands": {}}',
    "no command": lambda: b'{"revision": 0, "commands": [3]}',
    "two at once": lambda: b'{"revision": 0, "commands": [{"put": {}, "remove": "x"}]}',
    "unknown": lambda: b'{"revision": 0, "commands": [{"run": "rm -rf /"}]}',
    "many corners": lambda: json.dumps(
        {"revision": 0, "commands": [{"put": {"id": "x", "rings": [[[0, 0]] * (MOST_VERTICES + 1)]}}]}
    ).encode(),
}


@pytest.mark.parametrize("body", BODIES)
def test_bodies_that_are_none_change_nothing(attack: Attacker, body: str) -> None:
    answered = attack("POST", "/commands", content=BODIES[body]())
    assert answered.status_code == 400
    assert answered.json()["error"]
    assert attack.session.labels.snapshot() == (0, [])


def test_bodies_that_are_too_large_are_not_taken_in(attack: Attacker) -> None:
    assert attack("POST", "/commands", content=b" " * (MOST_BYTES + 1)).status_code == 413

    async def endless() -> Any:
        for _ in range(MOST_BYTES // 2**20 + 2):
            yield b" " * 2**20

    answered = attack("POST", "/commands", content=endless(), headers={"content-length": None})
    assert answered.status_code == 413


def test_words_of_labels_come_back_as_words(attack: Attacker) -> None:
    """The page shows them with textContent; the desk gives them back as JSON, never as HTML."""
    name = next(iter(attack.session.scenes))
    ring = [[0, 0], [1, 0], [1, 1], [0, 0]]
    bad = "<img src=x onerror=alert(1)>"
    put = {"id": "x", "scene": name, "code": 0, "rings": [ring], "note": bad}
    assert attack("POST", "/commands", json={"revision": 0, "commands": [{"put": put}]}).status_code == 200
    answered = attack("GET", "/labels")
    assert answered.headers["content-type"] == "application/json"
    assert answered.json()["labels"][0]["note"] == bad


def test_the_page_has_no_script_of_its_own_and_asks_nobody_else() -> None:
    from importlib.resources import files

    folder = files("frazil") / "data" / "desk"
    page = (folder / "index.html").read_text()
    assert "<script>" not in page
    assert "style=" not in page
    assert "http" not in page.replace("http-equiv", "")
    for name in ("desk.js", "view.js", "draw.js", "talk.js", "desk.css"):
        text = (folder / name).read_text()
        assert "innerHTML" not in text
        assert "eval(" not in text
        assert "http://" not in text
        assert "https://" not in text
    assert set(STATIC) <= {entry.name for entry in folder.iterdir()}
