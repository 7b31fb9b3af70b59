"""Pictures of strangers take no more memory than pictures need, and run nothing."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frazil.errors import LabelError
from frazil.labels.datasets.folders import read_image
from frazil.labels.datasets.imagette_files import read_array, walk
from frazil.pictures import read_picture


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of some bytes with a header of that size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def npy(shape: tuple[int, ...], dtype: str, data: bytes) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": dtype, "fortran_order": False, "shape": shape})
    return out.getvalue() + data


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.png", png_claiming(60_000, 60_000)),
        ("a.png", png_claiming(12_000, 12_000)),
        ("a.png", png_claiming(2**31 - 1, 2**31 - 1)),
        ("a.jpg", b"GIF89a" + bytes(100)),
        ("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        ("a.npy", npy((10**6, 10**6), "<f4", bytes(100))),
        ("a.npy", npy((-5,), "<f4", bytes(100))),
        ("a.npy", npy((3,), "|O", b"cos\nsystem\n(S'true'\ntR.")),
        ("a.npy", b"\x93NUMPY\x09\x00"),
        ("a.npy", b""),
        ("a.png", b""),
    ],
)
def test_bombs_and_strangers_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (
        lambda: read_picture(name, content),
        lambda: read_array(name, content),
        lambda: read_image(tmp_path / name, ("hh",), {"hh": (0.0, 1.0)}),
    ):
        with pytest.raises(LabelError, match=name) as caught:
            read()
        assert len(str(caught.value).splitlines()) == 1


def test_pictures_and_arrays_as_pillow_and_numpy_read_them() -> None:
    rng = np.random.default_rng(0)
    for shape in ((5, 7), (5, 7, 3), (5, 7, 4)):
        values = rng.integers(256, size=shape, dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(values).save(out, "PNG")
        np.testing.assert_array_equal(read_picture("a.png", out.getvalue()), values)
        for order in ("C", "F"):
            out = io.BytesIO()
            np.save(out, np.asarray(values, order=order))
            np.testing.assert_array_equal(read_picture("a.npy", out.getvalue()), values)


def test_a_tar_of_one_large_file_is_not_read_whole(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", compresslevel=1) as tar:
        member = tarfile.TarInfo("F/a.png")
        member.size = 1100 * 2**20

        class Zeros(io.RawIOBase):
            def read(self, size: int = -1) -> bytes:
                return bytes(size)

        tar.addfile(member, Zeros())
    with pytest.raises(LabelError, match="would unpack to"):
        list(walk(tmp_path / "a.tar.gz"))
    (tmp_path / "b.tar").write_bytes((tmp_path / "a.tar.gz").read_bytes()[:60])
    with pytest.raises(LabelError, match="cannot be read as a tar"):
        list(walk(tmp_path / "b.tar"))
