"""Which products a batch finds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from frazil.archive.sources import find_products, product_name, remember_sources, remembered_sources
from frazil.archive.watch import state_of
from frazil.errors import ProductNotFoundError


def test_products_at_any_depth_once(small_safe: Path, small_zip: Path, tmp_path: Path) -> None:
    deep = tmp_path / "2020" / "01" / "02"
    deep.mkdir(parents=True)
    (deep / small_safe.name).symlink_to(small_safe)
    shutil.copy(small_zip, tmp_path / "other_name.zip")
    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / "broken.zip").write_bytes(b"PK")
    half = tmp_path / f"{small_safe.name}.part"
    half.mkdir()
    (half / "manifest.safe").write_text("<xml/>")
    found, notes = find_products([tmp_path])
    assert [t.id for t in found] == sorted([small_safe.stem, "other_name"])
    assert notes == ()
    both, notes = find_products([small_safe, small_zip, tmp_path / "2020"])
    assert [t.source for t in both] == [str(small_safe)]
    assert notes == (f"{small_zip} has the name of {small_safe}; left out.",)


def test_damaged_products_are_tasks_that_will_be_refused(tmp_path: Path) -> None:
    (tmp_path / "S1A_BAD.SAFE").mkdir()
    (tmp_path / "S1A_BAD.SAFE" / "manifest.safe").write_text("<xml/>")
    (tmp_path / "S1A_CUT.zip").write_bytes(b"PK")
    assert [t.id for t in find_products([tmp_path])[0]] == ["S1A_BAD", "S1A_CUT"]


def test_lists_are_relative_to_themselves(small_safe: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / small_safe.name).symlink_to(small_safe)
    (tmp_path / "list.txt").write_text(f"# of today\n\nin/{small_safe.name}\nhttps://x.org/a/S1A_X.SAFE\n")
    found, _ = find_products([tmp_path / "list.txt"])
    assert [t.id for t in found] == sorted([small_safe.stem, "S1A_X"])
    remember_sources(tmp_path, [tmp_path / "list.txt", "s3://b/S1A.SAFE"])
    assert remembered_sources(tmp_path) == (str(tmp_path / "list.txt"), "s3://b/S1A.SAFE")
    (tmp_path / "more.txt").write_text("list.txt\n")
    with pytest.raises(ProductNotFoundError, match="a list itself"):
        find_products([tmp_path / "more.txt"])
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ProductNotFoundError, match="no list of products"):
        find_products([tmp_path / "bad.txt"])


def test_what_is_not_there_or_empty_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProductNotFoundError, match="nothing is not there"):
        find_products([tmp_path / "nothing"])
    with pytest.raises(ProductNotFoundError, match="holds no product"):
        find_products([tmp_path])
    with pytest.raises(ProductNotFoundError, match="Give them"):
        remembered_sources(tmp_path)


def test_of_twins_the_original_is_taken(small_safe: Path, tmp_path: Path) -> None:
    (tmp_path / f"{small_safe.stem}.SAFE").symlink_to(small_safe)
    (tmp_path / f"{small_safe.stem[:-4]}0A1B_COG.SAFE").symlink_to(small_safe)
    found, notes = find_products([tmp_path])
    assert [t.id for t in found] == [small_safe.stem]
    assert "cloud-optimised twin" in notes[0]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/S1A_X.SAFE", "S1A_X"),
        ("a/S1A_X.SAFE.zip", "S1A_X"),
        ("a/S1A_X.SAFE/manifest.safe", "S1A_X"),
        ("s3://bucket/2025/S1A_X.SAFE/", "S1A_X"),
        ("a/RS2 odd näme", "RS2_odd_n_me"),
        ("a/...", "product"),
        ("a/" + "x" * 300, "x" * 150),
    ],
)
def test_names_of_maps(path: str, name: str) -> None:
    assert product_name(path) == name


def test_a_product_that_grows_changes_its_state(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    before = state_of(str(tmp_path / "p"))
    (tmp_path / "p" / "a").write_bytes(b"1")
    after = state_of(str(tmp_path / "p"))
    assert before != after
    assert state_of("s3://bucket/x") == (0, 0, 0)
