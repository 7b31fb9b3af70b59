"""Rows of studies are used again by the very study that made them, and by no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from frazil.errors import OptionError
from frazil.studies.rows import data_stamp, digest, read_row, write_row


def test_a_row_comes_back_to_its_own_study(tmp_path: Path) -> None:
    mine = digest(lr=0.1, seed=0, data="a")
    write_row(tmp_path / "a.json", {"accuracy": 0.5}, mine)
    assert read_row(tmp_path / "a.json", mine) == {"accuracy": 0.5}
    with pytest.raises(OptionError, match=r"a\.json was made with other settings or other data"):
        read_row(tmp_path / "a.json", digest(lr=0.2, seed=0, data="a"))


@pytest.mark.parametrize("text", ["", "[]", "3", '{"accuracy": 1}', '{"digest": 1}', "\x00", "[" * 50_000])
def test_rows_of_earlier_versions_and_strangers_are_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "old.json").write_text(text)
    with pytest.raises(OptionError, match=r"old\.json is no row of this version"):
        read_row(tmp_path / "old.json", digest(a=1))


def test_every_setting_counts_and_no_order_does() -> None:
    assert digest(a=1, b=(1, 2)) == digest(b=[1, 2], a=1)
    assert len({digest(a=1), digest(a=2), digest(b=1), digest(a="1"), digest(a=None)}) == 5


def test_data_is_known_by_its_files_wherever_it_lies(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "c").mkdir(parents=True)
        (tmp_path / name / "c" / "0").write_bytes(b"abc")
        (tmp_path / name / "zarr.json").write_text(json.dumps({"a": 1}))
    assert data_stamp(tmp_path / "one") == data_stamp(tmp_path / "two") != ""
    (tmp_path / "two" / "c" / "1").write_bytes(b"")
    assert data_stamp(tmp_path / "one") != data_stamp(tmp_path / "two")
    assert data_stamp(tmp_path / "one" / "c" / "0") != data_stamp(tmp_path / "one")
    assert data_stamp(tmp_path / "nothing") == ""
