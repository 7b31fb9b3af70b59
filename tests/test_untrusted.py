"""Files of strangers are opened one way."""

import errno
import os
from pathlib import Path

import pytest

from frazil.untrusted import is_inside, open_regular, read_bytes


def test_a_regular_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="5 bytes, expected at most 4") as caught:
        read_bytes(tmp_path / "a", 4)
    assert caught.value.errno == errno.EFBIG


def test_pipes_and_devices_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(OSError, match="regular file|directory"):
            read_bytes(path, 10)


def test_links_are_followed_only_where_they_may_be(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    assert read_bytes(tmp_path / "link", 10) == b"x"
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        read_bytes(tmp_path / "link", 10, follow=False)


def test_paths_inside_a_folder(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "out").symlink_to("..")
    assert is_inside(tmp_path / "box" / "new", tmp_path / "box")
    assert not is_inside(tmp_path / "box" / "out" / "x", tmp_path / "box")
    assert not is_inside(tmp_path / "boxes", tmp_path / "box")


def test_folder_descriptors_pin_where_a_name_is_looked_up(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with open_regular("a", folder=folder) as file:
            assert file.read() == b"1"
    finally:
        os.close(folder)
