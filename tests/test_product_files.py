"""Products as people and machines hand them on: archives of all makes, links, large and lone files."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil import product_files
from frazil.errors import ProductError, ProductNotFoundError, printable
from frazil.product_files import Layout, ProductFiles, find_files, holds, refuse_place
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


@pytest.mark.parametrize("name", ["ftp://a/x.SAFE", "/vsicurl/https://x", "gs://a/b"])
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


LAYOUT = Layout(
    folders=("", "annotation", "measurement"),
    home="annotation",
    sign=r"annotation/[^/]+\.xml",
    outer="*.SAFE",
    contents="annotation/ and measurement/",
)
MEMBERS = {
    "P.SAFE/annotation/a.xml": b"<a/>",
    "P.SAFE/measurement/a.tiff": b"II*\0",
    "P.SAFE/manifest.safe": b"<m/>" * 50,
}


def packed(path: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """An archive whose members have exactly these names."""
    with zipfile.ZipFile(path, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, data in members.items():
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, data, compression)
    return path


def one_line(caught: pytest.ExceptionInfo[BaseException]) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


PARTS_OF_NAMES = st.sampled_from(
    ["annotation", "measurement", "P.SAFE", "a.xml", "a.tiff", "..", ".", "", "C:", "__MACOSX", "._a.xml", "~", "ä b"]
)


@settings(max_examples=150, deadline=None)
@given(
    names=st.lists(
        st.lists(PARTS_OF_NAMES, min_size=1, max_size=4).flatmap(
            lambda parts: st.sampled_from(["/", "\\"]).map(lambda s: s.join(parts))
        ),
        min_size=1,
        max_size=5,
        unique=True,
    )
)
def test_no_member_of_an_archive_leads_outside(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever members are called: those that are listed lie below the archive, and give their own bytes."""
    folder = tmp_path_factory.mktemp("names")
    members = {name: repr(name).encode() for name in names if not name.endswith(("/", "\\")) and name}
    archive = packed(folder / "P.zip", members)
    try:
        found = find_files(archive, LAYOUT)
    except ProductError as error:
        assert "\n" not in str(error)  # noqa: PT017 - which of the two happens is the question
        return
    for name in found.sizes:
        target = os.path.normpath(f"/anywhere/{found.prefix}{name}")
        assert f"{target}/".startswith("/anywhere/")
        assert not name.startswith("/")
        assert "\\" not in name
        assert ".." not in name.split("/")
        assert found.read(name) == members[found.members[name]]
        assert not any(part.startswith("._") or part == "__MACOSX" for part in name.split("/"))


@pytest.mark.parametrize(
    "name", ["../a.xml", "/etc/a.xml", "\\a.xml", "a/../../b.xml", "..\\b.xml", "C:\\b.xml", "C:/b"]
)
def test_names_that_climb(name: str, tmp_path: Path) -> None:
    archive = packed(tmp_path / "P.zip", {**MEMBERS, name: b"x"})
    with pytest.raises(ProductError, match="paths leave the archive") as caught:
        find_files(archive, LAYOUT)
    one_line(caught)


def directory(members: int) -> bytes:
    """Members of no bytes in the words of section 4.3.12, all of one name."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 3, 20, *[0] * 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    return (entry + b"x") * members


def ended(size: int, offset: int, comment: bytes = b"") -> bytes:
    return struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 40, 40, size, offset, len(comment)) + comment


def ended_large(size: int, offset: int, place: int) -> bytes:
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 40, 40, size, offset)
    return record + struct.pack("<4sLQL", b"PK\x06\x07", 0, place, 1)


END, LARGE = (int.from_bytes(s, "little") for s in (b"PK\x05\x06", b"PK\x06\x06"))
DECOYS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda d: d + ended(len(d), 0),
    "with a comment": lambda d: d + ended(len(d), 0, b"no product"),
    "signature in the offset": lambda d: d + ended(len(d), END),
    "signature of a large archive in the offset": lambda d: d + ended(len(d), LARGE),
    "large": lambda d: d + ended_large(len(d), 0, len(d)) + ended(2**32 - 1, 2**32 - 1),
    "large, with a small number beside": lambda d: d + ended_large(len(d), 0, len(d)) + ended(7, 0),
    "large, signature in the locator": lambda d: d + ended_large(len(d), 0, LARGE) + ended(2**32 - 1, 2**32 - 1),
}


@pytest.mark.parametrize("key", DECOYS)
def test_endless_directories_are_found_behind_decoys(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever Python's own reader finds a directory, its size is known before it is read."""
    path = tmp_path / "P.zip"
    path.write_bytes(DECOYS[key](directory(40)))
    try:
        with zipfile.ZipFile(path) as archive:
            assert len(archive.namelist()) == 40, "a decoy that Python does not read is none"
    except zipfile.BadZipFile:
        assert key == "large, signature in the locator", "later versions of Python look at the locator"
    monkeypatch.setattr(product_files, "_MAX_DIRECTORY", 1000)
    assert not holds(path, LAYOUT)
    words = f"has a directory of {len(directory(40))} bytes"
    with pytest.raises(ProductError, match=words):
        find_files(path, LAYOUT)
    with pytest.raises(ProductError, match=words):
        refuse_place(path)


def test_large_archives_of_products_are_read(tmp_path: Path) -> None:
    """Of the format for more than 4 GB."""
    path = packed(tmp_path / "P.zip", MEMBERS)
    data = path.read_bytes()
    at = data.rindex(b"PK\x05\x06")
    n, size, offset = struct.unpack("<H2L", data[at + 10 : at + 20])
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, n, n, size, offset)
    tail = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, 0)
    path.write_bytes(data[:at] + record + tail + end)
    files = find_files(path, LAYOUT)
    assert {name: files.read(name) for name in files.sizes} == {
        name.removeprefix("P.SAFE/"): content for name, content in MEMBERS.items()
    }


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_damaged_archive_gives_its_bytes_or_one_line(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Never other bytes: each member has its checksum."""
    path = packed(tmp_path_factory.mktemp("damaged") / "P.zip", MEMBERS)
    whole = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole[: data.draw(st.sampled_from([len(whole), at]))])
    assert holds(path, LAYOUT) in (True, False)
    try:
        files = find_files(path, LAYOUT)
        for name in files.sizes:
            original = MEMBERS.get(f"P.SAFE/{name}")
            assert original is None or files.read(name) == original
    except ProductError as error:
        assert "\n" not in str(error)  # noqa: PT017


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_hold_no_product_and_raise_nothing(
    data: bytes,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.zip", "a.bin", "a.xml"):
            path = Path(folder) / name
            path.write_bytes(data)
            assert not holds(path, LAYOUT)


@pytest.mark.parametrize(
    ("path", "prefix", "name"),
    [
        ("S1A_X.SAFE", "", "S1A_X"),
        ("S1A_X.safe", "", "S1A_X"),
        ("S1A_X.zip", "", "S1A_X"),
        ("S1A_X.ZIP", "", "S1A_X"),
        ("download.zip", "S1A_X.SAFE/", "S1A_X"),
        ("download.zip", "a/b/S1A_X.SAFE/", "S1A_X"),
        ("download.zip", "a/S1A_X/", "S1A_X"),
        ("S1A_X.SAFE.zip", "", "S1A_X.SAFE"),
        ("S1A_X", "", "S1A_X"),
        ("S1A.zipper", "", "S1A.zipper"),
    ],
)
def test_the_name_is_that_of_the_folder_of_the_product(path: str, prefix: str, name: str) -> None:
    assert ProductFiles(Path("/somewhere") / path, prefix, {}).name == name


def laid_out(folder: Path) -> Path:
    for name, data in MEMBERS.items():
        target = folder / name.removeprefix("P.SAFE/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


def test_folder_archive_and_parent_list_the_same(tmp_path: Path) -> None:
    product = laid_out(tmp_path / "one" / "P.SAFE")
    archive = packed(tmp_path / "P.zip", MEMBERS)
    deep = packed(tmp_path / "deep.zip", {f"a/b/{name}": data for name, data in MEMBERS.items()})
    bare = packed(tmp_path / "bare.zip", {name.removeprefix("P.SAFE/"): data for name, data in MEMBERS.items()})
    windows = packed(tmp_path / "windows.zip", {name.replace("/", "\\"): data for name, data in MEMBERS.items()})
    inside = product / "measurement" / "a.tiff"
    for place in (product, product.parent, archive, deep, bare, windows, inside, product / "manifest.safe"):
        assert holds(place, LAYOUT), place
        files = find_files(place, LAYOUT)
        assert dict(sorted(files.sizes.items())) == {
            "annotation/a.xml": 4,
            "manifest.safe": 200,
            "measurement/a.tiff": 4,
        }
        assert files.read("manifest.safe") == b"<m/>" * 50
        assert files.archived == (place.suffix == ".zip")


def test_two_products_in_a_folder_are_none_and_two_in_an_archive_are_named(tmp_path: Path) -> None:
    for name in ("A.SAFE", "B.SAFE"):
        laid_out(tmp_path / "two" / name)
    assert not holds(tmp_path / "two", LAYOUT)
    assert find_files(tmp_path / "two", LAYOUT).sizes == {}
    both = {f"{p}/{name.partition('/')[2]}": data for p in ("A.SAFE", "B.SAFE") for name, data in MEMBERS.items()}
    with pytest.raises(ProductError, match=r"holds 2 products: \['A.SAFE/', 'B.SAFE/'\]. Give one product"):
        find_files(packed(tmp_path / "two.zip", both), LAYOUT)


@pytest.mark.parametrize("folder", ["plain", "a b", "50%", "a&b;c", "ä ö", "#x?y=1", "a{b", "a,b", "'q'", '"q"', "(x)"])
@pytest.mark.parametrize("archived", [False, True])
def test_gdal_finds_what_it_is_told_wherever_it_lies(folder: str, archived: bool, tmp_path: Path) -> None:
    """A real image, in folders of names that shells and URLs trip over."""
    place = tmp_path / folder
    image = place / "P.SAFE" / "measurement" / f"{folder}.tiff"
    image.parent.mkdir(parents=True)
    values = np.arange(12, dtype=np.uint16).reshape(3, 4)
    with rasterio.open(image, "w", driver="GTiff", height=3, width=4, count=1, dtype="uint16") as file:
        file.write(values, 1)
    where = place / "P.SAFE"
    if archived:
        members = {f"P.SAFE/measurement/{folder}.tiff": image.read_bytes(), "P.SAFE/annotation/a.xml": b"<a/>"}
        where = packed(place / "P.zip", members)
    with rasterio.open(find_files(where, LAYOUT).gdal_path(f"measurement/{folder}.tiff")) as file:
        np.testing.assert_array_equal(file.read(1), values)


def test_sizes_that_no_archive_can_hold(tmp_path: Path) -> None:
    """A member that says it unpacks to more than deflate can make, and one whose directory entry is encrypted."""
    for field, value, words in ((24, struct.pack("<L", 10**6), "claims 1000000 bytes from"), (8, b"\1\0", "encrypted")):
        path = packed(tmp_path / "P.zip", MEMBERS)
        data = bytearray(path.read_bytes())
        at = data.index(b"PK\x01\x02")
        data[at + field : at + field + len(value)] = value
        path.write_bytes(data)
        with pytest.raises(ProductError, match=words) as caught:
            find_files(path, LAYOUT)
        assert "annotation/a.xml" in one_line(caught)


def test_metadata_of_many_megabytes_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product_files, "MAX_BYTES", 199)
    product = laid_out(tmp_path / "P.SAFE")
    for place in (product, packed(tmp_path / "P.zip", MEMBERS)):
        files = find_files(place, LAYOUT)
        assert files.read("annotation/a.xml") == b"<a/>"
        with pytest.raises(ProductError, match=r"manifest.safe of P has 200 bytes; metadata never does"):
            files.read("manifest.safe")
    grown = find_files(product, LAYOUT)
    (product / "annotation" / "a.xml").write_bytes(b" " * 300)
    with pytest.raises(ProductError, match="has more than 199 bytes"):
        grown.read("annotation/a.xml")


def test_files_that_are_missing_or_have_gone_since(tmp_path: Path) -> None:
    product = laid_out(tmp_path / "P.SAFE")
    files = find_files(product, LAYOUT)
    with pytest.raises(ProductError, match=r"P has no b.xml. Download the whole product again."):
        files.read("b.xml")
    (product / "manifest.safe").unlink()
    with pytest.raises(ProductError, match="manifest.safe of .* cannot be read") as caught:
        files.read("manifest.safe")
    one_line(caught)
    archive = packed(tmp_path / "P.zip", MEMBERS)
    files = find_files(archive, LAYOUT)
    archive.unlink()
    with pytest.raises(ProductError, match="manifest.safe of .* cannot be read"):
        files.read("manifest.safe")


def test_places_where_nothing_is_read(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("x")
    assert refuse_place(tmp_path / "note.txt") == str(tmp_path / "note.txt")
    assert refuse_place(packed(tmp_path / "P.zip", MEMBERS)) == str(tmp_path / "P.zip")
    (tmp_path / "a.tif").write_bytes(b"")
    with pytest.raises(ProductNotFoundError, match="alone is no product"):
        refuse_place(tmp_path / "a.tif")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ProductError, match="is not a readable zip archive") as caught:
        refuse_place(tmp_path / "broken.zip")
    one_line(caught)
    with pytest.raises(ProductNotFoundError, match="No product at"):
        refuse_place(tmp_path / "nowhere")
    for name in (tmp_path / "note.txt", tmp_path / "nowhere", "s3://B/x", tmp_path / "a.tif"):
        assert not holds(name, LAYOUT)


def test_a_file_belongs_to_the_nearest_product_above_it(tmp_path: Path) -> None:
    product = laid_out(tmp_path / "P.SAFE")
    deep = product / "annotation" / "calibration" / "x" / "y" / "noise.xml"
    deep.parent.mkdir(parents=True)
    deep.write_bytes(b"")
    assert LAYOUT.folder_around(deep.parents[1] / "noise.xml") == product
    assert LAYOUT.folder_around(deep) is None, "four folders at most"
    assert LAYOUT.folder_around(product / "measurement" / "a.png") is None
    assert LAYOUT.folder_in(tmp_path) == product
    (tmp_path / "._P.SAFE").mkdir()
    assert LAYOUT.folder_in(tmp_path) == product
