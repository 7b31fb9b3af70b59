"""`frazil desk`: what is refused before anything is computed, and one line for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
from click.testing import CliRunner
from shapely import box

from frazil.cli import cli
from frazil.desk.run import DeskSettings
from frazil.desk.session import Session
from frazil.errors import FrazilError, MissingDependencyError


def frazil_desk(*words: object) -> Any:
    return CliRunner().invoke(cli, ["desk", *map(str, words), "--no-browser"])


def refused(*words: object) -> str:
    done = frazil_desk(*words)
    assert isinstance(done.exception, FrazilError), done.output
    return str(done.exception)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("words")
    assert "is there and no desk" in refused("X.SAFE", "-o", tmp_path / "mine")
    assert "Not a directory" in refused("X.SAFE", "-o", tmp_path / "mine" / "thesis.txt")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_the_desk_is_not_the_product(small_safe: Path) -> None:
    before = sorted(p.name for p in small_safe.iterdir())
    assert "a folder of its own" in refused(small_safe, "-o", small_safe)
    assert sorted(p.name for p in small_safe.iterdir()) == before


def test_no_product_is_told(tmp_path: Path) -> None:
    assert "nothing.SAFE" in refused(tmp_path / "nothing.SAFE", "-o", tmp_path / "desk")
    assert not (tmp_path / "desk").exists()


def test_what_cannot_be_mapped_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "S1A.SAFE").mkdir()
    (tmp_path / "S1A.SAFE" / "manifest.safe").write_text("<no/>")
    refused(tmp_path / "S1A.SAFE", "-o", tmp_path / "desk")
    assert not (tmp_path / "desk").exists()


def test_without_its_packages_the_desk_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frazil.desk.folder.installed", lambda name: name != "uvicorn")
    done = frazil_desk("X.SAFE", "-o", tmp_path / "desk")
    assert isinstance(done.exception, MissingDependencyError)
    assert "needs uvicorn, which is not installed: pip install 'frazil[desk,learn]'" in str(done.exception)
    assert not (tmp_path / "desk").exists()


def test_labels_chart_and_author_reach_the_session(
    small_safe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[Session, DeskSettings]] = []
    monkeypatch.setattr("frazil.desk.run.serve_desk", lambda s, settings, **_: served.append((s, settings)))
    shapes = gpd.GeoDataFrame({"class": ["young_ice"]}, geometry=[box(0, 0, 9, 9)], crs=3413)
    shapes.to_file(tmp_path / "mine.gpkg")
    before = (tmp_path / "mine.gpkg").read_bytes()
    words = (small_safe, "-o", tmp_path / "desk", "--labels", tmp_path / "mine.gpkg", "--author", "Ada", "--port", 8123)
    done = frazil_desk(*words)
    assert done.exit_code == 0, done.output
    ((session, settings),) = served
    assert [(one.code, one.author, one.origin) for one in session.labels.labels] == [(2, "Ada", "file")]
    assert (settings.port, settings.browser) == (8123, False)
    session.close()
    assert frazil_desk(*words).exit_code == 0  # again: the same label is not there twice
    assert len(served[1][0].labels.labels) == 1
    assert (tmp_path / "mine.gpkg").read_bytes() == before
    served[1][0].close()
    shapes.assign(**{"class": "slush"}).to_file(tmp_path / "wrong.gpkg")
    assert "'slush' is not one of" in refused(*words[:3], "--labels", tmp_path / "wrong.gpkg")
