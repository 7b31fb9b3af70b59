"""Plain TIFFs are read without GDAL and give what GDAL gives; everything else is left to GDAL."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.errors import ProductError
from frazil.scene.measurement import Measurement, plain_lines

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
SHAPE = (70, 33)


def pixels() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 65536, SHAPE).astype(np.uint16)


def write(path: Path, dn: np.ndarray, **options: Any) -> Path:
    profile = {"driver": "GTiff", "height": dn.shape[0], "width": dn.shape[1], "count": 1, "dtype": dn.dtype}
    with rasterio.open(path, "w", **profile | options) as file:
        file.write(dn, 1)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("plain") / "a.tiff", pixels(), blockysize=8)


def entry_of(data: bytes | bytearray, tag: int) -> int:
    """Where the 12 bytes of a field begin in a little-endian TIFF."""
    directory = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, directory)[0]
    starts = range(directory + 2, directory + 2 + 12 * count, 12)
    return next(at for at in starts if struct.unpack_from("<H", data, at)[0] == tag)


@settings(max_examples=40, deadline=None)
@given(bounds=st.tuples(st.integers(0, 70), st.integers(0, 70)).map(sorted).filter(lambda b: b[0] < b[1]))
def test_any_lines_are_those_of_rasterio(plain: Path, bounds: list[int]) -> None:
    assert plain_lines(str(plain), SHAPE) is not None
    measurement = Measurement(str(plain), SHAPE, "a")
    first, stop = bounds
    with rasterio.open(plain) as file:
        expected = file.read(1, window=((bounds[0], bounds[1]), (0, 33)))
    np.testing.assert_array_equal(measurement.lines(first, stop), expected)
    memory = np.zeros((71, 33), np.uint16)
    given_back = measurement.lines(first, stop, memory)
    assert np.shares_memory(given_back, memory)
    np.testing.assert_array_equal(given_back, expected)
    assert not memory[bounds[1] - bounds[0] :].any()


def test_a_pickled_measurement_reads_on(plain: Path) -> None:
    copy = pickle.loads(pickle.dumps(Measurement(str(plain), SHAPE, "a")))
    np.testing.assert_array_equal(copy.lines(0, 70), pixels())


@pytest.mark.parametrize(
    "options",
    [
        {"compress": "deflate"},
        {"compress": "deflate", "predictor": 2},
        {"tiled": True, "blockxsize": 16, "blockysize": 16},
        {"ENDIANNESS": "BIG"},
        {"BIGTIFF": "YES"},
        {"photometric": "MINISWHITE"},
        {"SPARSE_OK": "TRUE"},
        {"dtype": "complex_int16"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_other_files_are_left_to_gdal(tmp_path: Path, options: dict) -> None:
    dn = pixels()
    if "SPARSE_OK" in options:
        dn[8:40] = 0  # strips of zeros are left out of a sparse file
    if "dtype" in options:
        dn = dn.astype(np.complex64)
    path = write(tmp_path / "a.tiff", dn, **{"blockysize": 8} | options)
    assert plain_lines(str(path), SHAPE) is None
    with rasterio.open(path) as file:
        expected = np.abs(file.read(1))
    np.testing.assert_array_equal(Measurement(str(path), SHAPE, "a").lines(0, 70), expected)


@pytest.mark.parametrize("rows", [1, 7, 70])
def test_strips_of_any_height(tmp_path: Path, rows: int) -> None:
    path = write(tmp_path / "a.tiff", pixels(), blockysize=rows)
    assert plain_lines(str(path), SHAPE) is not None
    np.testing.assert_array_equal(Measurement(str(path), SHAPE, "a").lines(13, 70), pixels()[13:])


@pytest.mark.parametrize("tag", [256, 257, 258, 259, 262, 273, 277, 278, 279, 339])
@pytest.mark.parametrize("value", [0, 3, 2**31, 2**32 - 1])
@pytest.mark.parametrize("part", ["type", "count", "value"])
def test_a_lying_directory_is_left_to_gdal(plain: Path, tmp_path: Path, tag: int, value: int, part: str) -> None:
    data = bytearray(plain.read_bytes())
    at = entry_of(data, tag)
    before = bytes(data)
    if part == "type":
        struct.pack_into("<H", data, at + 2, value & 0xFFFF)
    else:
        struct.pack_into("<I", data, at + (4 if part == "count" else 8), value)
    if part == "type" and value == 3 and data == before:  # SHORT it was
        return
    path = tmp_path / "a.tiff"
    path.write_bytes(data)
    assert plain_lines(str(path), SHAPE) is None


def test_offsets_must_be_one_run_inside_the_file(plain: Path, tmp_path: Path) -> None:
    data = bytearray(plain.read_bytes())
    table = struct.unpack_from("<I", data, entry_of(data, 273) + 8)[0]
    offsets = np.frombuffer(data, "<u4", 9, table).copy()
    path = tmp_path / "a.tiff"
    for changed in (
        offsets[::-1],  # strips in another order
        offsets - offsets[0],  # the header as pixels
        offsets + 600,  # the last strip beyond the end
        offsets + np.uint32(2**32 - 1000),  # wraps around
        np.where(np.arange(9) == 4, 0, offsets),  # a missing strip
    ):
        data[table : table + 36] = changed.astype("<u4").tobytes()
        path.write_bytes(data)
        assert plain_lines(str(path), SHAPE) is None
    data[table : table + 36] = offsets.tobytes()
    path.write_bytes(data)
    assert plain_lines(str(path), SHAPE) is not None
    path.write_bytes(data[:-1])
    assert plain_lines(str(path), SHAPE) is None
    for length in (0, 3, 8, 9, 60, 150):
        path.write_bytes(data[:length])
        assert plain_lines(str(path), SHAPE) is None


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 300), value=st.binary(min_size=1, max_size=8))
def test_whatever_passes_reads_as_gdal_reads_it(plain: Path, at: int, value: bytes) -> None:
    """A fuzz test: a damaged directory either goes to GDAL, or gives the pixels that GDAL gives."""
    good = plain.read_bytes()
    path = plain.with_name("damaged.tiff")
    path.write_bytes(good[:at] + value + good[at + len(value) :])
    if plain_lines(str(path), SHAPE) is None:
        return
    try:
        measurement = Measurement(str(path), SHAPE, "a")
    except ProductError:
        return
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(measurement.lines(0, 70), file.read(1))


def test_a_file_cut_short_after_opening_is_refused(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    path.write_bytes(plain.read_bytes())
    measurement = Measurement(str(path), SHAPE, "measurement a")
    with path.open("r+b") as file:
        file.truncate(1500)
    with pytest.raises(ProductError, match=r"measurement a cannot be read .*truncated or damaged"):
        measurement.lines(0, 70)


def test_missing_files_and_paths_of_gdal_have_no_plain_lines(tmp_path: Path) -> None:
    for path in ("/vsizip/{a.zip}/b.tiff", str(tmp_path), str(tmp_path / "none.tiff"), "\0"):
        assert plain_lines(path, SHAPE) is None
