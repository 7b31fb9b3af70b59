"""NetCDF files whose insides do not fit together are refused before HDF5 follows them for ever."""

from __future__ import annotations

from pathlib import Path

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
