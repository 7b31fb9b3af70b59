"""Products of a search: fetched from a server of this machine, mapped, and removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from frazil.archive.folder import Archive, begin_archive
from frazil.archive.sources import MapTask, find_products
from frazil.archive.task import map_task
from frazil.archive.watch import in_an_area
from frazil.errors import ArchiveError
from frazil.learn.checkpoint import load_model
from frazil.learn.predict.mapping import MapOptions
from frazil.providers.query import Query
from frazil.providers.search import Findings, save_search
from frazil.providers.times import span
from tests.local_server import serving
from tests.providers.conftest import FakeArchive, _alone  # noqa: F401 - a fixture that is always used


@pytest.fixture
def provider(small_safe: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeArchive]:
    files = {p.relative_to(small_safe).as_posix(): p.read_bytes() for p in sorted(small_safe.rglob("*")) if p.is_file()}
    fake = FakeArchive(files, product=small_safe.stem)
    with serving(fake) as server:
        fake.server = server
        monkeypatch.setenv("FRAZIL_CDSE_DOWNLOAD", f"{server.address}/odata/v1")
        monkeypatch.setenv("FRAZIL_CDSE_IDENTITY", f"{server.address}/token")
        monkeypatch.setenv("FRAZIL_CDSE_USER", "me@example.org")
        monkeypatch.setenv("FRAZIL_CDSE_PASSWORD", "right")
        yield fake


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    card = load_model("ice-measured").card
    return begin_archive(
        Archive(
            root=tmp_path / "archive",
            kind="exclusive",
            model="ice-measured",
            model_id=card.id,
            weights_sha256=card.weights_sha256,
            options=MapOptions(engine="torch"),
            check="quick",
        )
    )


def found_by(provider: FakeArchive, **more: Any) -> Findings:
    one = provider.found(**more)
    query = Query(area=None, span=span("2024"), mode="EW", polarization=None, newest_first=True)
    return Findings(query=query, source="cdse", products=(one,), more=False)


def work(task: MapTask, archive: Archive) -> Any:
    from frazil import __version__

    return map_task(task, str(archive.root), archive.token, __version__)


def test_a_product_is_fetched_mapped_and_removed(provider: FakeArchive, archive: Archive, tmp_path: Path) -> None:
    file = save_search(found_by(provider), tmp_path / "search.json")
    (task,), notes = find_products([file], connections=2)
    assert (task.id, task.search, notes) == (provider.product, (str(file), provider.product), ())
    done = work(task, archive)
    assert (done.ending, done.error) == ("done", "")
    assert archive.holds(provider.product)
    assert list((archive.root / "products").glob("S1A*")) == []
    assert "support" not in " ".join(provider.sent())  # what no map needs was not fetched
    assert work(task, archive).made is False


@pytest.mark.slow
def test_a_product_that_is_kept(provider: FakeArchive, archive: Archive, tmp_path: Path) -> None:
    file = save_search(found_by(provider), tmp_path / "search.json")
    (task,), _ = find_products([file], keep=True)
    assert work(task, archive).ending == "done"
    assert [p.name for p in (archive.root / "products").glob("S1A*")] == [f"{provider.product}.SAFE"]


def test_what_goes_wrong(
    provider: FakeArchive, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save_search(found_by(provider), tmp_path / "search.json")
    (task,), _ = find_products([file])
    gone = work(replace(task, source=f"{file}#S1A_OTHER"), archive)
    assert (gone.ending, "does not list S1A_OTHER" in gone.error) == ("refused", True)
    offline = save_search(found_by(provider, online=False), tmp_path / "offline.json")
    (later,), _ = find_products([offline])
    told = work(later, archive)
    assert (told.ending, "offline" in told.error) == ("failed", True)
    monkeypatch.setenv("FRAZIL_CDSE_PASSWORD", "wrong-secret")
    refused = work(task, archive)
    assert refused.ending == "unwritable"  # ends the batch: no product would come
    assert "wrong-secret" not in refused.error
    assert not archive.maps.exists() or not any(archive.maps.iterdir())


def test_a_watch_asks_anew_and_takes_the_last_answer_where_nobody_answers(
    provider: FakeArchive, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    asked: list[str] = []

    def find(area: str, _span: object, **_more: Any) -> Findings:
        asked.append(area)
        if len(asked) == 2:
            raise ArchiveError("The archive does not answer.")
        return found_by(provider)

    monkeypatch.setattr("frazil.providers.search.find", find)
    look = in_an_area(archive, "@kara", days=2, say=said.append)
    first, second = look(), look()
    assert [t.id for t in first] == [t.id for t in second] == [provider.product]
    assert len(said) == 1
    assert "does not answer" in said[0]
    assert json.loads((archive.root / "search.json").read_text())["products"]


def test_nothing_found_is_nothing_to_do(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    query = Query(area=None, span=span("2024"), mode="EW", polarization=None, newest_first=True)
    empty = Findings(query=query, source="cdse", products=(), more=False)
    monkeypatch.setattr("frazil.providers.search.find", lambda *_a, **_k: empty)
    assert in_an_area(archive, "@kara", days=2)() == ()
