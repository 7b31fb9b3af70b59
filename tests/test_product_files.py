"""Products as people and machines hand them on: archives of all makes, links, large and lone files."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from frazil.errors import ProductError, ProductNotFoundError, printable
from frazil.sentinel1.info import describe
from frazil.sentinel1.product import Product, open_product
from frazil.sentinel1.scene import open_scene

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def pixels(product: Path | str | Product) -> np.ndarray:
    return open_scene(product, polarizations=("HV",)).sigma0[0, 100:110, ::50].values


@pytest.fixture(scope="module")
def expected(small_safe: Path) -> np.ndarray:
    return pixels(small_safe)


@pytest.fixture
def copy(small_safe: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_safe, tmp_path / small_safe.name))


def zipped(
    folder: Path,
    target: Path,
    rename: Callable[[str], str] = lambda name: name,
    extra: Iterable[str] = (),
    **options: Any,
) -> Path:
    """An archive whose members have other names than Python would give them (its own turns backslashes around)."""
    with zipfile.ZipFile(target, "w", **options) as archive:
        for name in extra:
            archive.writestr(name, b"\x00\x05\x16\x07 Mac OS X")
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                info = zipfile.ZipInfo("x")
                info.filename = rename(f"{folder.name}/{file.relative_to(folder).as_posix()}")
                archive.writestr(info, file.read_bytes(), options.get("compression"))
    return target


def test_zip_and_folder_that_passed_through_a_mac(
    small_safe: Path, copy: Path, tmp_path: Path, expected: np.ndarray
) -> None:
    stem = open_product(small_safe).bands[0].stem
    apple = [f"__MACOSX/{small_safe.name}/annotation/._{stem}.xml", f"{small_safe.name}/annotation/._{stem}.xml"]
    archive = zipped(small_safe, tmp_path / "mac.zip", extra=[*apple, "__MACOSX/._x.SAFE", ".DS_Store"])
    np.testing.assert_array_equal(pixels(archive), expected)
    for name in (f"annotation/._{stem}.xml", f"measurement/._{stem}.tiff", "._manifest.safe"):
        (copy / name).write_bytes(b"\x00\x05\x16\x07")
    (copy.parent / f"._{copy.name}").mkdir()
    np.testing.assert_array_equal(pixels(copy.parent), expected)


def test_backslashes_and_braces(small_safe: Path, tmp_path: Path, expected: np.ndarray) -> None:
    windows = zipped(small_safe, tmp_path / "windows.zip", rename=lambda name: name.replace("/", "\\"))
    assert b"annotation\\" in windows.read_bytes()
    np.testing.assert_array_equal(pixels(windows), expected)
    odd = tmp_path / "a}b{c"
    odd.mkdir()
    np.testing.assert_array_equal(pixels(zipped(small_safe, odd / "p}.zip")), expected)
    nameless = shutil.copy(odd / "p}.zip", odd / "p.bin")
    with pytest.raises(ProductError, match=r"braces in its path and no .zip"):
        pixels(nameless)


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", "-cog.tif", "-COG.TIF", "-cog.tiff"])
def test_names_of_measurement_files(copy: Path, suffix: str, expected: np.ndarray) -> None:
    for tiff in (copy / "measurement").iterdir():
        tiff.rename(tiff.with_name(tiff.stem + suffix))
    np.testing.assert_array_equal(pixels(copy), expected)


def test_a_file_of_the_product_in_its_place(copy: Path, tmp_path: Path, expected: np.ndarray) -> None:
    for pattern in ("measurement/*-hh-*", "annotation/*-hv-*", "annotation/calibration/noise-*-hv-*", "manifest.safe"):
        np.testing.assert_array_equal(pixels(next(copy.glob(pattern))), expected)
    alone = tmp_path / "alone"
    alone.mkdir()
    for pattern in ("measurement/*-hh-*", "annotation/*-hv-*"):
        with pytest.raises(ProductNotFoundError, match=r"alone is no product.*folder that holds annotation/"):
            open_product(shutil.copy(next(copy.glob(pattern)), alone))


@pytest.mark.parametrize(
    "name", ["s3://bucket/x.SAFE", "https://example.invalid/x.zip", "/vsicurl/https://x", "gs://a/b"]
)
def test_names_of_the_internet(name: str) -> None:
    with pytest.raises(ProductNotFoundError, match=r"not on a local disk.*Download it") as caught:
        open_product(name)
    assert name in str(caught.value)


def test_compression_that_cannot_be_read(small_safe: Path, tmp_path: Path) -> None:
    archive = zipped(small_safe, tmp_path / "d.zip", compression=zipfile.ZIP_DEFLATED)
    data = bytearray(archive.read_bytes())
    at = data.index(b"PK\x01\x02")
    while at >= 0:  # every member of the central directory claims Deflate64
        struct.pack_into("<H", data, at + 10, 9)
        at = data.find(b"PK\x01\x02", at + 4)
    archive.write_bytes(data)
    with pytest.raises(ProductError, match=r"Deflate64.*Unpack the archive and give the folder"):
        open_product(archive)
    zipped(small_safe, archive, compression=zipfile.ZIP_LZMA)
    with pytest.raises(ProductError, match=r"method 14.*Unpack the archive"):
        open_product(archive)


@pytest.mark.parametrize("target", ["note.txt", "manifest.safe", "annotation", "measurement", "annotation/calibration"])
def test_links_that_leave_the_product(copy: Path, tmp_path: Path, target: str) -> None:
    secret = tmp_path / "outside"
    original = copy / target
    original.rename(secret)
    original.symlink_to(secret)
    with pytest.raises(ProductError, match=r"is a link that leaves the product; it is not followed"):
        open_scene(copy).sigma0[0, :10, :10].values  # noqa: B018


def test_links_inside_a_product_and_to_it(copy: Path, tmp_path: Path, expected: np.ndarray) -> None:
    tiff = next((copy / "measurement").glob("*-hv-*"))
    tiff.rename(copy / "preview" / "pixels.tiff")
    tiff.symlink_to("../preview/pixels.tiff")
    link = tmp_path / "link to a product"
    link.symlink_to(copy)
    np.testing.assert_array_equal(pixels(link), expected)


def test_a_pipe_is_no_file(copy: Path) -> None:
    (copy / "note.txt").unlink()
    os.mkfifo(copy / "note.txt")
    assert open_product(copy).note == ""


def test_names_that_are_no_text(small_safe: Path, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/S1A_\xff\xfe\x1b[31m.SAFE"
    shutil.copytree(small_safe, os.fsdecode(folder))
    product = open_product(os.fsdecode(folder))
    assert product.name == r"S1A_\udcff\udcfe\x1b[31m"
    json.dumps(describe(product)).encode()
    with pytest.raises(ProductError, match=r"is not UTF-8.*Rename the product") as caught:
        open_scene(product)
    str(caught.value).encode()
    assert printable("a\nb\x07ç𝄞") == "a\nb\\x07ç𝄞"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from /proc/self/status")
def test_metadata_bombs_take_little_memory(small_safe: Path, tmp_path: Path) -> None:
    """A zip of a few megabytes with an annotation of 240 MB, and one that stays just below the limits."""
    stem = open_product(small_safe).bands[0].stem
    head = (small_safe / "annotation" / f"{stem}.xml").read_bytes().partition(b"</adsHeader>")[0]
    for inner, expected in ((b" " * 242_000_000, "metadata never does"), (b"<a>3</a>" * 590_000, "specified")):
        archive = tmp_path / "bomb.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            file.writestr(f"{small_safe.name}/annotation/{stem}.xml", head + b"</adsHeader>" + inner + b"</product>")
        code = (
            "import re, sys\nfrom frazil.sentinel1.info import describe\n"
            "from frazil.sentinel1.product import open_product\n"
            "try: describe(open_product(sys.argv[1]))\nexcept Exception as error: print(error)\n"
            "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
        )
        done = subprocess.run([sys.executable, "-c", code, archive], capture_output=True, text=True, check=True)
        assert expected in done.stdout
        assert int(done.stdout.split()[-1]) < 500_000  # kB


def test_blocks_of_gigabytes_are_refused(copy: Path) -> None:
    """One compressed strip that GDAL would unpack whole for every line."""
    from frazil.scene.measurement import Measurement

    path = copy / "bomb.tiff"
    profile = {"driver": "GTiff", "height": 60_000, "width": 6000, "count": 1, "dtype": "uint16"}
    with rasterio.open(path, "w", compress="deflate", blockysize=60_000, SPARSE_OK="TRUE", **profile):
        pass
    with pytest.raises(ProductError, match=r"compressed in blocks of 60000 × 6000"):
        Measurement(str(path), (60_000, 6000), "bomb")


def test_terminal_escapes_of_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\x1b]0;owned\x07\xff"
    done = subprocess.run([sys.executable, "-m", "frazil", "info", name], capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"frazil: No product at ")
    assert b"\x1b" not in done.stderr
    assert b"Traceback" not in done.stderr


def test_archives_with_endless_directories_or_doubled_members(small_safe: Path, tmp_path: Path) -> None:
    endless = tmp_path / "endless.zip"
    with zipfile.ZipFile(endless, "w") as archive:
        for i in range(120_000):
            archive.writestr(f"{i:040d}", b"")
    with pytest.raises(ProductError, match=r"has a directory of \d+ bytes, which no product has"):
        open_product(endless)
    doubled = zipped(small_safe, tmp_path / "doubled.zip")
    member = f"{small_safe.name}/manifest.safe"
    with zipfile.ZipFile(doubled, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(member, b"<other/>")
    with pytest.raises(ProductError, match=r"holds .*manifest.safe twice"):
        open_product(doubled)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_measurements_swapped_in_an_archive_without_a_manifest(copy: Path, tmp_path: Path, compression: int) -> None:
    (copy / "manifest.safe").unlink()
    hh, hv = sorted((copy / "measurement").iterdir())
    hh.rename(tmp_path / "x")
    hv.rename(hh)
    (tmp_path / "x").rename(hv)
    with pytest.raises(ProductError, match=r"HH and HV are swapped|pixels of"):
        open_scene(zipped(copy, tmp_path / "swapped.zip", compression=compression))
