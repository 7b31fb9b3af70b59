"""`frazil find` and `frazil get`, as a user calls them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pystac
import pytest
from click.testing import CliRunner, Result

from frazil.cli import cli
from frazil.errors import ArchiveError, OptionError, OutputExistsError
from tests.local_server import LocalServer, serving
from tests.providers.catalogue import name, odata, record
from tests.providers.conftest import FakeArchive, _alone, archive, contents, product

__all__ = ["_alone", "archive", "product"]  # fixtures
DAY = datetime(2025, 2, 1, 6, tzinfo=UTC)


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(w) for w in words])


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    records = [record(name(DAY + timedelta(seconds=60 * n))) for n in range(3)]
    records.append(record(name(DAY, crc="9F00") + "_COG"))
    records.append(record(name(DAY + timedelta(hours=3)), Online=False, ContentLength=0))
    with serving(odata(records)) as server:
        monkeypatch.setenv("FRAZIL_CDSE_CATALOGUE", f"{server.address}/odata/v1")
        yield server


def test_a_table(catalogue: LocalServer, tmp_path: Path) -> None:
    done = run("find", "--area", "@svalbard", "--time", "2025-02-01", "--pol", "hh+hv", "--sort", "oldest",
               "-o", tmp_path / "s.json", "--stac", tmp_path / "i.json")  # fmt: skip
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert lines[1].split() == ["2025-02-01", "06:00:00", "HH+HV", "037D", "0.25", "1/3", "has", "cog", name(DAY)]
    assert "offline" in lines[4]
    assert lines[-1] == "4 products, 0.8 GB, 1 of unknown size, 1 offline"
    assert len(json.loads((tmp_path / "s.json").read_text())["products"]) == 4
    assert len(list(pystac.ItemCollection.from_file(str(tmp_path / "i.json")))) == 4
    assert isinstance(run("find", "--time", "2025", "-o", tmp_path / "s.json").exception, OutputExistsError)
    assert run("find", "--time", "2025", "-o", tmp_path / "s.json", "--overwrite").exit_code == 0
    assert "there are more: raise --limit" in run("find", "--time", "2025", "--limit", "2").stdout
    assert len(json.loads(run("find", "--time", "2025", "--json").stdout)["products"]) == 4


def test_nothing_found_says_what_was_asked(catalogue: LocalServer) -> None:
    done = run("find", "--area", "@svalbard", "--time", "2026-01-01/02", "--pol", "VV")
    assert done.exit_code == 0
    assert (
        "Nothing found at cdse: EW VV, begun in 2026-01-01T00:00:00Z/2026-01-03T00:00:00Z, over @svalbard"
        in done.output
    )


def test_wrong_words(catalogue: LocalServer) -> None:
    assert isinstance(run("find", "--time", "2025", "--pol", "HV+HH").exception, OptionError)
    assert isinstance(run("find", "--time", "2025", "--area", "@x").exception, OptionError)
    assert run("find", "--area", "@svalbard").exit_code == 2
    assert run("find", "--time", "2025", "--mode", "XX").exit_code == 2


def test_from_a_search_to_products(catalogue: LocalServer, archive: FakeArchive, tmp_path: Path) -> None:
    search = tmp_path / "s.json"
    assert run("find", "--time", "2025-02-01T06:00/2025-02-01T06:00:30", "-o", search).exit_code == 0
    done = run("get", search, "-o", tmp_path / "a")
    assert done.exit_code == 0, done.output
    path = tmp_path / "a" / f"{name(DAY)}.SAFE"
    assert done.stdout.split() == [str(path)]
    assert "1 of 1 products there" in done.stderr
    assert "manifest.safe" in contents(path)
    for word in (name(DAY), f"{name(DAY)}.SAFE", json.loads(search.read_text())["products"][0]["id"]):
        told = json.loads(run("get", word, "-o", tmp_path / "a", "--json").stdout)
        assert told == [
            {"product": name(DAY), "path": str(path), "bytes": told[0]["bytes"], "fetched": 0, "verified": "size"}
        ]


def test_what_fails_is_told_at_the_end_and_the_rest_comes(
    catalogue: LocalServer, archive: FakeArchive, tmp_path: Path
) -> None:
    offline = name(DAY + timedelta(hours=3))
    done = run("get", offline, name(DAY), "-o", tmp_path / "a")
    assert done.exit_code == 1
    assert f"frazil: {offline} is offline" in done.stderr
    assert (tmp_path / "a" / f"{name(DAY)}.SAFE").is_dir()
    assert isinstance(run("get", name(DAY, crc="0000"), "-o", tmp_path / "a").exception, ArchiveError)
    for word in ("nonsense", "../../etc", "S1A.SAFE"):
        assert isinstance(run("get", word, "-o", tmp_path / "a").exception, OptionError)
