"""NetCDF files whose insides do not fit together are refused before HDF5 follows them for ever."""

from __future__ import annotations

import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from frazil.errors import LabelError
from frazil.hdf5_files import netcdf_engine
from tests.reference_files import osisaf_polar


@pytest.mark.parametrize("damage", ["endless object", "heap beyond the file", "object too large", "no free space"])
def test_heaps_that_do_not_hold_what_they_claim(tmp_path: Path, damage: str) -> None:
    path = osisaf_polar(tmp_path / "ice_conc.nc", land=True)
    assert netcdf_engine(path) == "h5netcdf"
    data = bytearray(path.read_bytes())
    heap = data.find(b"GCOL\x01\0\0\0")
    assert heap > 0
    first = heap + 16
    if damage == "heap beyond the file":
        data[heap + 8 : heap + 16] = (len(data) + 1).to_bytes(8, "little")
    elif damage == "no free space":
        data[first : first + 16] = bytes(16)
    else:
        size = 2**64 - 1 if damage == "endless object" else 5000
        data[first + 8 : first + 16] = size.to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(LabelError, match="does not hold what it claims"):
        netcdf_engine(path)


@pytest.mark.parametrize("how", [{}, {"chunks": (4,)}, {"chunks": (4,), "compression": "gzip", "shuffle": True}])
def test_a_word_that_claims_gigabytes_is_refused_before_memory_is_taken(tmp_path: Path, how: dict) -> None:
    """HDF5 took 3 GB for a file of 90 kB, and then found that there was no such word."""
    path = tmp_path / "a.nc"
    with h5py.File(path, "w") as file:
        words = np.array(["ice", "water", "land", "fast"], object)
        file.create_dataset("codes", data=words, dtype=h5py.string_dtype(), **how)
    assert netcdf_engine(path) == "h5netcdf"
    with h5py.File(path, "r+") as file:
        words = file["codes"]
        if not how:
            place = words.id.get_offset()
        elif "compression" in how:
            skipped, raw = words.id.read_direct_chunk((0,))
            assert skipped == 1  # of such values HDF5 leaves shuffle out
            table = np.frombuffer(zlib.decompress(raw), np.uint8).reshape(-1, 16).copy()
            table[1, :4] = 255
            words.id.write_direct_chunk((0,), zlib.compress(table.tobytes()), filter_mask=skipped)
            place = None
        else:
            place = words.id.get_chunk_info(0).byte_offset
    if place is not None:
        data = bytearray(path.read_bytes())
        data[place + 16 : place + 20] = b"\xff" * 4
        path.write_bytes(data)
    with pytest.raises(LabelError, match="a value of '/codes' claims 4294967295 letters"):
        netcdf_engine(path)
