"""Downloads against a server that cuts, lies, throttles, redirects; bytes are counted where they leave it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import frazil
from frazil.errors import (
    ArchiveError,
    CredentialsError,
    FrazilError,
    OptionError,
    OutputError,
    OutputExistsError,
    ProductError,
)
from frazil.net.http import Client
from frazil.providers.get import Fetched, get
from frazil.providers.receipts import NAME as RECEIPTS
from frazil.providers.receipts import Receipts
from tests.local_server import Asked, Reply, part_of, serving
from tests.providers.conftest import NAME, FakeArchive, Waits, contents, files_of

CUT = 65_536
HH = "measurement/s1a-ew-grd-hh.tiff"


def needed(files: dict[str, bytes]) -> dict[str, bytes]:
    return {k: v for k, v in files.items() if not k.startswith(("support", "annotation/rfi"))}


def fetch(archive: FakeArchive, folder: Path, client: Client, **more: Any) -> Fetched:
    return get(archive.found(**more), folder, client=client)[0]


def test_what_a_map_needs_comes_once(archive: FakeArchive, tmp_path: Path, client: Client) -> None:
    done = fetch(archive, tmp_path, client)
    assert contents(done.path) == needed(archive.files)
    assert done.path == tmp_path / f"{NAME}.SAFE"
    assert archive.sent() == {k: len(v) for k, v in needed(archive.files).items()}
    assert done.fetched == done.bytes == sum(len(v) for v in needed(archive.files).values())
    assert done.verified == "MD5"
    assert len(archive.tokens) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [RECEIPTS, f"{NAME}.SAFE"]
    assert Receipts(tmp_path).fetched(NAME) == done.fetched
    again = fetch(archive, tmp_path, client)
    assert (again.fetched, again.path) == (0, done.path)


def test_cut_every_64_kb_nothing_comes_twice(
    archive: FakeArchive, tmp_path: Path, client: Client, waits: Waits
) -> None:
    archive.misbehave = lambda inside, asked: (
        part_of(asked, archive.files[inside], cut=CUT) if inside and "Authorization" in asked.headers else None
    )
    done = fetch(archive, tmp_path, client)
    assert contents(done.path) == needed(archive.files)
    assert archive.sent() == {k: len(v) for k, v in needed(archive.files).items()}
    assert waits.seconds == []  # where it goes on, there is nothing to wait for
    asked = [one for one in archive.server.asked if HH in one.path.replace(")/Nodes(", "/")]
    assert len(asked) == -(-1_000_000 // CUT)


def test_a_server_that_gives_no_parts(archive: FakeArchive, tmp_path: Path, client: Client) -> None:
    """One cut, then the whole; later it never gets beyond the cut, and is given up with what is there."""
    cuts = [CUT]

    def answer(inside: str, asked: Asked) -> Reply | None:
        if inside == HH:
            return Reply(200, archive.files[inside], cut=cuts.pop() if cuts else None)
        return None

    archive.misbehave = answer
    assert contents(fetch(archive, tmp_path / "a", client).path) == needed(archive.files)
    archive.misbehave = lambda inside, asked: Reply(200, archive.files[HH], cut=CUT) if inside == HH else None
    with pytest.raises(ArchiveError, match=r"gets no further than byte 65536 after 4 attempts.*run the command again"):
        fetch(archive, tmp_path / "b", client)
    partial = tmp_path / "b" / f"{NAME}.SAFE.part" / f"{HH}.partial"
    assert partial.read_bytes() == archive.files[HH][:CUT]
    archive.misbehave = lambda inside, asked: None
    before = archive.sent()[HH]
    assert contents(fetch(archive, tmp_path / "b", client).path) == needed(archive.files)
    assert archive.sent()[HH] - before == 1_000_000 - CUT


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_busy_servers_are_asked_again(
    status: int, archive: FakeArchive, tmp_path: Path, client: Client, waits: Waits
) -> None:
    left = [{"Retry-After": "7"}, {}, {"Date": "Sat, 01 Feb 2020 00:00:00 GMT",
                                       "Retry-After": "Sat, 01 Feb 2020 00:00:11 GMT"}]  # fmt: skip
    archive.misbehave = lambda inside, asked: Reply(status, b"busy", left.pop(0)) if inside == HH and left else None
    assert contents(fetch(archive, tmp_path, client).path) == needed(archive.files)
    assert waits.seconds == [7, 1, 11]  # by the server's clock, whatever ours says


def test_a_quota_is_one_line(archive: FakeArchive, tmp_path: Path, client: Client, waits: Waits) -> None:
    archive.misbehave = lambda inside, asked: Reply(429, b"", {"Retry-After": "86400"}) if inside == HH else None
    with pytest.raises(ArchiveError, match=r"come back in 24\.0 h: a quota is used up") as caught:
        fetch(archive, tmp_path, client)
    assert "\n" not in str(caught.value)
    archive.misbehave = lambda inside, asked: (
        Reply(403, b'{"detail": "Transfer quota exceeded"}') if inside == HH else None
    )
    with pytest.raises(CredentialsError, match="Transfer quota exceeded"):
        fetch(archive, tmp_path, client)
    archive.misbehave = lambda inside, asked: (
        Reply(429, b'{"detail": "Max session number 4 exceeded"}') if inside == HH else None
    )
    with pytest.raises(ArchiveError, match="Max session number 4 exceeded"):
        fetch(archive, tmp_path, client)
    archive.misbehave = lambda inside, asked: None
    assert contents(fetch(archive, tmp_path, client).path) == needed(archive.files)
    assert Receipts(tmp_path).fetched(NAME) == sum(map(len, needed(archive.files).values()))


def test_an_expired_token_is_renewed_once_for_all_threads(archive: FakeArchive, tmp_path: Path, client: Client) -> None:
    def revoke(inside: str, asked: Asked) -> None:
        if inside == "annotation/s1a-ew-grd-hh.xml" and archive.token == "token1":
            archive.token = "revoked"

    archive.misbehave = revoke
    assert contents(fetch(archive, tmp_path, client).path) == needed(archive.files)
    assert len(archive.tokens) == 2
    assert "grant_type=password" in archive.tokens[0]
    assert "grant_type=refresh_token" in archive.tokens[1]  # no new session


def test_credentials_that_are_wrong_or_missing(
    archive: FakeArchive, tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAZIL_CDSE_PASSWORD", "hunter2")
    with pytest.raises(CredentialsError, match="does not take the name and password.*Invalid user") as caught:
        fetch(archive, tmp_path, client)
    assert "hunter2" not in str(caught.value)
    monkeypatch.delenv("FRAZIL_CDSE_PASSWORD")
    with pytest.raises(CredentialsError, match="FRAZIL_CDSE_USER"):
        fetch(archive, tmp_path, client)
    assert not list(tmp_path.glob("*.SAFE"))


def test_a_redirect_elsewhere_carries_no_token(archive: FakeArchive, tmp_path: Path, client: Client) -> None:
    with serving(lambda asked: part_of(asked, archive.files[HH], cut=400_000), host="127.0.0.2") as other:
        archive.misbehave = lambda inside, asked: (
            Reply(302, b"", {"Location": f"{other.address}/signed?X-Signature=abc"}) if inside == HH else None
        )
        assert contents(fetch(archive, tmp_path, client).path) == needed(archive.files)
        assert len(other.asked) == 3
        assert other.sent.total() == 1_000_000
        assert not [one for one in other.asked if "Authorization" in one.headers]
        assert "X-Signature" not in (tmp_path / RECEIPTS).read_text()


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("http://example.invalid/x", "only https:// is"),
        ("file:///etc/passwd", "no address|only https"),
        ("https://u:p@example.invalid/x", "name or password"),
        (None, "redirects without end"),
    ],
)
def test_redirects_that_are_not_followed(
    to: str | None, words: str, archive: FakeArchive, tmp_path: Path, client: Client
) -> None:
    archive.misbehave = lambda inside, asked: (
        Reply(302, b"", {"Location": to or f"{archive.server.address}{asked.path}"}) if inside == HH else None
    )
    with pytest.raises(ArchiveError, match=words):
        fetch(archive, tmp_path, client)


def test_a_wrong_checksum_is_fetched_once_more(archive: FakeArchive, tmp_path: Path, client: Client) -> None:
    wrong = [b"x" * 1_000_000]
    archive.misbehave = lambda inside, asked: part_of(asked, wrong.pop()) if inside == HH and wrong else None
    assert contents(fetch(archive, tmp_path / "a", client).path) == needed(archive.files)
    why = [one.get("why") for one in Receipts(tmp_path / "a").lines(NAME)]
    assert "another MD5 than the manifest says" in why
    archive.misbehave = lambda inside, asked: part_of(asked, b"x" * 1_000_000) if inside == HH else None
    with pytest.raises(ArchiveError, match="came 2 times with another MD5.*Take the product from another archive"):
        fetch(archive, tmp_path / "b", client)
    assert not (tmp_path / "b" / f"{NAME}.SAFE").exists()


def test_a_file_that_is_replaced_meanwhile_is_begun_anew(archive: FakeArchive, tmp_path: Path, client: Client) -> None:
    """The first half of another file, and no checksum needed to see it."""

    def answer(inside: str, asked: Asked) -> Reply | None:
        if inside == HH and archive.etag == '"one"':
            archive.etag = '"two"'
            return part_of(asked, b"y" * 1_000_000, etag='"one"', cut=CUT)
        return None

    archive.misbehave = answer
    assert contents(fetch(archive, tmp_path, client).path) == needed(archive.files)
    assert archive.sent()[HH] == 1_000_000 + CUT


def test_an_etag_is_kept_from_run_to_run_and_unheeded_if_range_is_seen(
    archive: FakeArchive, tmp_path: Path, client: Client
) -> None:
    archive.misbehave = lambda inside, asked: (
        Reply(403, b"") if asked.headers.get("Range") else part_of(asked, b"y" * 1_000_000, cut=CUT)
    ) if inside == HH else None  # fmt: skip
    with pytest.raises(CredentialsError):
        fetch(archive, tmp_path, client)

    def heedless(inside: str, asked: Asked) -> Reply | None:
        headers = {k: v for k, v in asked.headers.items() if k != "If-Range"}
        asked = Asked(asked.method, asked.path, asked.query, headers, asked.body)
        return part_of(asked, archive.files[HH], etag='"two"') if inside == HH else None

    archive.misbehave = heedless
    assert contents(fetch(archive, tmp_path, client).path) == needed(archive.files)
    assert "replaced on the server" in (tmp_path / RECEIPTS).read_text()


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (lambda asked, data: Reply(200, data + b"more"), "has 1000004 bytes at the archive, but 1000000"),
        (lambda asked, data: Reply(200, data, {"Content-Length": "999"}), "has 999 bytes at the archive"),
        (lambda asked, data: Reply(206, data, {"Content-Range": "bytes 5-9/1000000"}), "gets no further"),
        (lambda asked, data: Reply(206, data, {"Content-Range": "nonsense"}), "without saying which"),
        (lambda asked, data: Reply(404, b"<html>gone</html>"), r"is not there \(404\)"),
        (lambda asked, data: Reply(418, b"\x1b[2Jteapot"), r"answers 418: \\x1b\[2Jteapot"),
        (lambda asked, data: Reply(200, b"", {"Content-Length": "1000000"}), "gets no further than byte 0"),
        (lambda asked, data: Reply(500, b""), "after 4 attempts"),
    ],
)
def test_lies_end_in_one_line_and_the_rest_stays(
    lie: Any, words: str, archive: FakeArchive, tmp_path: Path, client: Client
) -> None:
    archive.misbehave = lambda inside, asked: lie(asked, archive.files[HH]) if inside == HH else None
    with pytest.raises(FrazilError, match=words) as caught:
        fetch(archive, tmp_path, client)
    assert "\n" not in str(caught.value)
    archive.misbehave = lambda inside, asked: None
    done = fetch(archive, tmp_path, client)
    assert contents(done.path) == needed(archive.files)
    assert list(Receipts(tmp_path).lines(NAME))[-1]["event"] == "product whole"


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (
            files_of({"annotation/../../../evil.xml": b"x", HH: b"y"})["manifest.safe"],
            "names 'annotation/../../../evil",
        ),
        (files_of({"/etc/passwd": b"x", HH: b"y"})["manifest.safe"], "names '/etc/passwd'"),
        (files_of({"https://example.invalid/x": b"x", HH: b"y"})["manifest.safe"], "names 'https:"),
        (files_of({"annotation/a.xml": b"x"})["manifest.safe"], "lists no measurement"),
        (b"<html>Please log in</html>", "not a Sentinel-1"),
        (b"", "not well-formed"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><XFDU/>', "document type definition"),
        (files_of({HH: b"y"})["manifest.safe"].replace(b'size="1"', b'size="99999999999999"'), "more than any product"),
    ],
)
def test_manifests_of_strangers(
    manifest: bytes, words: str, archive: FakeArchive, tmp_path: Path, client: Client
) -> None:
    right, archive.files["manifest.safe"] = archive.files["manifest.safe"], manifest
    with pytest.raises(ProductError, match=words):
        fetch(archive, tmp_path / "a", client)
    assert {p.name for p in tmp_path.rglob("*")} <= {"a", f"{NAME}.SAFE.part", RECEIPTS}
    archive.files["manifest.safe"] = right
    assert contents(fetch(archive, tmp_path / "a", client).path) == needed(archive.files)


def test_half_a_product_at_the_archive(archive: FakeArchive, tmp_path: Path, client: Client) -> None:
    del archive.files[HH]
    with pytest.raises(ArchiveError, match=r"hh\.tiff.*is not there \(404\)"):
        fetch(archive, tmp_path, client)
    assert not (tmp_path / f"{NAME}.SAFE").exists()


def test_offline_products_are_told_before_anything_is_asked(
    archive: FakeArchive, tmp_path: Path, client: Client
) -> None:
    with pytest.raises(ArchiveError, match="is offline.*--source asf"):
        fetch(archive, tmp_path, client, online=False)
    assert archive.server.asked == []


def test_foreign_files_stay_as_they_are(archive: FakeArchive, tmp_path: Path, client: Client) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    half = tmp_path / f"{NAME}.SAFE"
    half.mkdir()
    (half / "manifest.safe").write_bytes(archive.files["manifest.safe"])
    with pytest.raises(OutputExistsError, match="lacks .* it is half a product"):
        fetch(archive, tmp_path, client)
    shutil.rmtree(half)
    half.mkdir()
    with pytest.raises(OutputExistsError, match="is there, but is not this product"):
        fetch(archive, tmp_path, client)
    half.rmdir()
    part = tmp_path / f"{NAME}.SAFE.part"
    (part / "annotation").mkdir(parents=True)
    (part / "annotation" / "mine.xml").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"mine.xml is not of frazil get"):
        fetch(archive, tmp_path, client)
    (part / "annotation" / "mine.xml").unlink()
    (part / "measurement").mkdir()
    (part / f"{HH}.partial").symlink_to(tmp_path / "thesis.txt")
    with pytest.raises(OutputExistsError, match="is not of frazil get"):
        fetch(archive, tmp_path, client)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_full_disk_keeps_what_came(
    archive: FakeArchive, tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, real = [0], os.write

    def write(descriptor: int, data: Any) -> int:
        if len(data) > 5000:  # a receipt is shorter
            written[0] += len(data)
            if written[0] > 700_000:
                raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OutputError, match="No space left on device.*goes on with it"):
        fetch(archive, tmp_path, client)
    monkeypatch.setattr(os, "write", real)
    done = fetch(archive, tmp_path, client)
    assert contents(done.path) == needed(archive.files)
    assert done.fetched < done.bytes
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 5, 5))  # type: ignore[attr-defined]
    with pytest.raises(OutputError, match="needs 0.00 GB more"):
        fetch(archive, tmp_path / "b", client)


def test_two_runs_in_one_folder(archive: FakeArchive, tmp_path: Path, client: Client) -> None:
    held, go = threading.Event(), threading.Event()

    def slow(inside: str, asked: Asked) -> None:
        if inside == HH:
            held.set()
            go.wait(10)

    archive.misbehave = slow
    results: list[Fetched] = []
    thread = threading.Thread(target=lambda: results.append(fetch(archive, tmp_path, client)))
    thread.start()
    assert held.wait(10)
    with pytest.raises(OutputExistsError, match="is being fetched .* by another run"):
        fetch(archive, tmp_path, client)
    go.set()
    thread.join()
    assert contents(results[0].path) == needed(archive.files)


def test_a_killed_run_is_gone_on_with(archive: FakeArchive, tmp_path: Path, client: Client) -> None:
    """A real process, killed while it has two large files in hand."""
    stall, seen = threading.Event(), threading.Event()

    def cut_then_stall(inside: str, asked: Asked) -> Reply | None:
        if inside.startswith("measurement") and not stall.is_set() and "Authorization" in asked.headers:
            if asked.headers.get("Range"):
                seen.set()
                stall.wait(20)
            return part_of(asked, archive.files[inside], cut=CUT)
        return None

    archive.misbehave = cut_then_stall
    (tmp_path / "search.json").write_text(json.dumps({"products": [archive.found().to_json()]}))
    words = [sys.executable, "-m", "frazil", "get", str(tmp_path / "search.json"), "-o", str(tmp_path / "a")]
    process = subprocess.Popen(words, stderr=subprocess.PIPE)
    assert seen.wait(30), process.communicate()
    time.sleep(0.3)  # both files have begun
    process.send_signal(signal.SIGKILL)
    process.communicate()
    stall.set()
    assert not (tmp_path / "a" / f"{NAME}.SAFE").exists()
    archive.misbehave = lambda inside, asked: None
    kept = sum(map(len, contents(tmp_path / "a" / f"{NAME}.SAFE.part").values()))
    done = fetch(archive, tmp_path / "a", client)
    assert contents(done.path) == needed(archive.files)
    assert kept >= 2 * CUT
    assert done.fetched == done.bytes - kept


def test_what_was_fetched_can_be_opened(small_safe: Path, archive: FakeArchive, tmp_path: Path, client: Client) -> None:
    archive.files = contents(small_safe)
    name = small_safe.name.removesuffix(".SAFE")
    archive.product = name
    done = get(archive.found(), tmp_path, client=client)[0]
    scene = frazil.open_scene(done.path)
    assert scene.equals(frazil.open_scene(small_safe))
    assert "headers and MD5" in scene.attrs["checks"]


def test_no_secret_is_written_or_shown(
    archive: FakeArchive, tmp_path: Path, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    fetch(archive, tmp_path, client)
    from frazil.net.credentials import login

    shown = repr(login("cdse", host_of="identity", how="")) + caplog.text + (tmp_path / RECEIPTS).read_text()
    for secret in ("right", *(f"token{n}" for n in range(1, 9)), "Bearer"):
        assert secret not in shown


@pytest.mark.parametrize("connections", [0, 5])
def test_four_connections_at_most(connections: int, archive: FakeArchive, tmp_path: Path, client: Client) -> None:
    with pytest.raises(OptionError, match="1 to 4"):
        get(archive.found(), tmp_path, client=client, connections=connections)


def test_never_more_than_four_at_a_time(archive: FakeArchive, tmp_path: Path, client: Client) -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def count(inside: str, asked: Asked) -> Reply | None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        return None

    archive.misbehave = count
    fetch(archive, tmp_path, client)
    assert 2 <= most[0] <= 4
