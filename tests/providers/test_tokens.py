"""Tokens: one login a run, refreshed before they end, by a clock of their own."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from frazil.errors import ArchiveError, CredentialsError
from frazil.net.credentials import Login, Secret
from frazil.net.http import Client
from frazil.providers.tokens import CdseToken, EarthdataToken
from tests.local_server import Asked, Reply, serving
from tests.providers.conftest import FakeArchive, Waits

ME = Login(user="me", password=Secret("right"))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_one_token_for_all_threads(archive: FakeArchive, client: Client) -> None:
    token = CdseToken(client, ME)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: token.current(), range(40))) == {"token1"}
    assert len(archive.tokens) == 1
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: token.renewed("token1"), range(40))) == {"token2"}
    assert len(archive.tokens) == 2
    assert "token2" not in repr(token)


def test_refreshed_before_the_end_and_logged_in_again_after_the_session(archive: FakeArchive, client: Client) -> None:
    clock = Clock()
    token = CdseToken(client, ME, clock)
    seen = []
    for minute in range(0, 130, 5):  # a download of two hours
        clock.now = 1000.0 + 60 * minute
        seen.append(token.current())
        assert clock.now < token._until
    grants = ["password" if "grant_type=password" in t else "refresh" for t in archive.tokens]
    assert grants.count("password") == 1
    assert seen[-1] == f"token{len(grants)}"
    clock.now += 2 * 3600  # asleep beyond the session
    token.current()
    assert "grant_type=password" in archive.tokens[-1]


def test_the_clock_of_this_machine_does_not_matter(
    archive: FakeArchive, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    token = CdseToken(client, ME)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert token.current() == token.current() == "token1"


def test_a_refresh_token_that_ended_at_the_service(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def answer(one: Asked) -> Reply:
        asked.append(one.body)
        if b"grant_type=refresh" in one.body:
            return Reply(400, b'{"error_description": "Token is not active"}')
        return Reply(200, json.dumps({"access_token": f"t{len(asked)}", "refresh_token": "r"}).encode())

    with serving(answer) as server:
        monkeypatch.setenv("FRAZIL_CDSE_IDENTITY", server.address)
        token = CdseToken(client, Login(user="me", password=Secret("p w&x"), once=Secret("123456")))
        assert token.renewed(token.current()) == "t3"
    assert b"password=p+w%26x&totp=123456" in asked[0]


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (
            Reply(401, b'{"error_description": "Invalid user credentials"}'),
            CredentialsError,
            "Invalid user credentials",
        ),
        (Reply(400, b'{"error_description": "Account is not fully set up"}'), CredentialsError, "not fully set up"),
        (Reply(429, b'{"detail": "Max session number exceeded"}'), ArchiveError, "Max session number"),
        (Reply(200, b"{}"), ArchiveError, "without a token"),
        (Reply(200, b"[]"), ArchiveError, "without a token"),
        (Reply(200, b'{"access_token": "a\\r\\nX-Evil: 1"}'), ArchiveError, "without a token"),
        (Reply(200, b"<html>"), ArchiveError, "something else than JSON"),
        (Reply(503, b""), ArchiveError, "503"),
    ],
)
def test_logins_that_fail(
    reply: Reply, kind: type[Exception], words: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(lambda asked: reply) as server:
        monkeypatch.setenv("FRAZIL_CDSE_IDENTITY", server.address)
        with pytest.raises(kind, match=words) as caught:
            CdseToken(client, Login(user="me", password=Secret("hunter2"))).current()
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("lasts", [None, "x", -5, 0, 1e300, "NaN"])
def test_lives_that_are_none_count_as_ten_minutes(lasts: Any, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    with serving(lambda asked: Reply(200, json.dumps({"access_token": "a", "expires_in": lasts}).encode())) as server:
        monkeypatch.setenv("FRAZIL_CDSE_IDENTITY", server.address)
        token = CdseToken(client, ME, clock)
        token.current()
        assert token._until == clock.now + 480


def test_earthdata(client: Client, monkeypatch: pytest.MonkeyPatch, waits: Waits) -> None:
    def answer(asked: Asked) -> Reply:
        right = asked.headers.get("Authorization") == "Basic bWU6cmlnaHQ="
        return Reply(200, b'{"access_token": "nasa"}') if right and asked.method == "POST" else Reply(401, b"")

    with serving(answer) as server:
        monkeypatch.setenv("FRAZIL_ASF_LOGIN", server.address)
        monkeypatch.setenv("FRAZIL_ASF_USER", "me")
        monkeypatch.setenv("FRAZIL_ASF_PASSWORD", "right")
        token = EarthdataToken(client)
        assert (token.current(), token.current()) == ("nasa", "nasa")
        assert len(server.asked) == 1
        monkeypatch.setenv("FRAZIL_ASF_TOKEN", "mine")
        assert EarthdataToken(client).current() == "mine"
        monkeypatch.delenv("FRAZIL_ASF_TOKEN")
        monkeypatch.setenv("FRAZIL_ASF_PASSWORD", "wrong")
        with pytest.raises(CredentialsError, match="does not take the name and password"):
            EarthdataToken(client).current()
