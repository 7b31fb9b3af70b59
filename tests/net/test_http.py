"""Who sees a token, which addresses are asked, and how long is waited."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.errors import ArchiveError, CredentialsError, OptionError
from frazil.net.addresses import check_address, same_house, shown
from frazil.net.http import Client, InterruptedAnswerError, Token, form
from frazil.net.patience import Patience, asked_s
from tests.local_server import Asked, Reply, serving


class Fixed(Token):
    def current(self) -> str:
        return "SECRET"

    def renewed(self, refused: str) -> str:
        return refused


CLIENT = Client(timeout_s=5, patience=Patience(tries=2, pause=lambda s: None))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://download.dataspace.copernicus.eu/a", "https://zipper.dataspace.copernicus.eu/b", True),
        ("https://datapool.asf.alaska.edu/a", "https://urs.earthdata.nasa.gov/b", False),
        ("https://a.earthdata.nasa.gov", "https://b.earthdata.nasa.gov", True),
        ("https://download.dataspace.copernicus.eu/", "https://dataspace.copernicus.eu.evil.invalid/", False),
        ("https://download.dataspace.copernicus.eu/", "https://evildataspace.copernicus.eu/", False),
        ("https://download.dataspace.copernicus.eu/", "http://download.dataspace.copernicus.eu/", False),
        ("https://example.invalid/", "https://example.invalid:8443/", False),
        ("https://a.example.invalid/", "https://b.example.invalid/", False),
    ],
)
def test_houses(one: str, other: str, same: bool) -> None:
    assert same_house(one, other) is same
    assert same_house(other, one) is same


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused_in_a_line(text: str) -> None:
    words = text
    try:
        words = check_address(text)
    except OptionError as error:
        words = str(error)
    assert "\n" not in words


def test_what_is_shown_of_an_address() -> None:
    assert shown("https://u:SECRET@host:8/a/b?sig=SECRET#SECRET") == "https://host:8/a/b"


def test_a_token_stays_in_its_house() -> None:
    with serving(lambda asked: Reply(200, b"x"), host="127.0.0.3") as other:

        def answer(asked: Asked) -> Reply:
            return Reply(307, b"", {"Location": "/here" if asked.path == "/a" else f"{other.address}/there"})

        with (
            serving(answer) as server,
            CLIENT.open(f"{server.address}/a", token=Fixed(), headers={"X-Mine": "1"}) as got,
        ):
            assert got.read(10) == b"x"
        assert [a.headers.get("Authorization") for a in server.asked] == ["Bearer SECRET"] * 2
        assert [(a.headers.get("Authorization"), a.headers.get("X-Mine")) for a in other.asked] == [(None, None)]
        assert "SECRET" not in repr(got)


def test_a_login_is_not_sent_on() -> None:
    with (
        serving(lambda asked: Reply(200, b"{}"), host="127.0.0.3") as other,
        serving(lambda asked: Reply(307, b"", {"Location": other.address})) as server,
    ):
        with pytest.raises(ArchiveError, match="sends a login on"):
            form(server.address, CLIENT, {"password": "SECRET"})
        assert other.asked == []


def test_answers_have_a_limit_and_an_end() -> None:
    with serving(lambda asked: Reply(200, b"x" * 1000)) as server:
        with pytest.raises(ArchiveError, match="more than 999 bytes"):
            CLIENT.read(server.address, limit=999)
        assert len(CLIENT.read(server.address, limit=1000)) == 1000
    with serving(lambda asked: Reply(200, b"x" * 1000, cut=500)) as server:
        with pytest.raises(InterruptedAnswerError, match="broke off"):
            CLIENT.read(server.address, limit=2000)
        assert len(server.asked) == 2


def test_a_refusal_is_not_asked_again() -> None:
    with serving(lambda asked: Reply(403, b'{"detail": "no \\u001b[2J right"}')) as server:
        with pytest.raises(CredentialsError, match=r"no \\x1b\[2J right"):
            CLIENT.read(server.address, limit=10)
        assert len(server.asked) == 1


def test_proxies_are_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with serving(lambda asked: Reply(200, b"x")) as server:
        assert CLIENT.read(server.address, limit=10) == b"x"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "12"}, 12),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "9" * 400}, 10**8),
        ({"Retry-After": "Sat, 01 Feb 2020 00:01:00 GMT", "Date": "Sat, 01 Feb 2020 00:00:00 GMT"}, 60),
        ({"Retry-After": "Sat, 01 Feb 2020 00:00:00 GMT", "Date": "Sat, 01 Feb 2020 00:01:00 GMT"}, 0),
        ({"Retry-After": "Sat, 01 Feb 2020 00:01:00 GMT"}, 0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_s(headers) == seconds


def test_waits_double_have_chance_in_them_and_an_end() -> None:
    waits: list[float] = []
    patience = Patience(pause=waits.append, chance=lambda: 1.0)
    for attempt in range(8):
        patience.wait(attempt, "host")
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    for chance in (0.0, 0.5):
        Patience(pause=waits.append, chance=lambda c=chance: c).wait(2, "host")  # type: ignore[misc]
    assert waits[-2:] == [2, 3]
