"""Shapefiles that GDAL wrote are let through, and those that were cut off or put together from two are not."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pyogrio.errors
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.errors import LabelError
from frazil.shapefiles import check_parts, check_shapefile

PARTS = (".shp", ".shx", ".dbf")


def shapes(kind: str, n: int, seed: int = 0) -> gpd.GeoDataFrame:
    rng = np.random.default_rng(seed)
    make = {
        "Polygon": lambda: shapely.Point(rng.uniform(0, 9, 2)).buffer(rng.uniform(0.1, 1), int(rng.integers(1, 6))),
        "Point": lambda: shapely.Point(rng.uniform(0, 9, 2)),
        "LineString": lambda: shapely.LineString(rng.uniform(0, 9, (int(rng.integers(2, 9)), 2))),
        "MultiPoint": lambda: shapely.MultiPoint(rng.uniform(0, 9, (int(rng.integers(1, 9)), 2))),
        "Polygon Z": lambda: shapely.force_3d(shapely.Point(rng.uniform(0, 9, 2)).buffer(1, 3), 5.0),
    }[kind]
    return gpd.GeoDataFrame({"CT": np.arange(n)}, geometry=[make() for _ in range(n)], crs=4326)


def written(path: Path, kind: str = "Polygon", n: int = 12, seed: int = 0) -> Path:
    shapes(kind, n, seed).to_file(path, engine="pyogrio", driver="ESRI Shapefile")
    return path


def parts(path: Path) -> tuple[bytes, bytes, bytes]:
    shp, shx, dbf = (path.with_suffix(s).read_bytes() for s in PARTS)
    return shp, shx, dbf


@pytest.mark.parametrize("kind", ["Polygon", "Point", "LineString", "MultiPoint", "Polygon Z"])
@pytest.mark.parametrize("n", [1, 2, 57])
def test_what_gdal_wrote_is_let_through(kind: str, n: int, tmp_path: Path) -> None:
    path = written(tmp_path / "a.shp", kind, n)
    check_shapefile(path)
    check_parts("a", *parts(path))


def test_shapes_that_are_missing_are_let_through(tmp_path: Path) -> None:
    """A null shape is of type 0 in a file of another type."""
    frame = shapes("Polygon", 5)
    frame.loc[2, "geometry"] = None
    frame.to_file(tmp_path / "a.shp", engine="pyogrio", driver="ESRI Shapefile")
    check_shapefile(tmp_path / "a.shp")


def test_parts_that_are_missing_are_gdals_to_tell(tmp_path: Path) -> None:
    shp, shx, dbf = parts(written(tmp_path / "a.shp"))
    check_parts("a", shp, None, dbf)
    check_parts("a", shp, shx, None)


def test_parts_in_capitals_are_looked_at_too(tmp_path: Path) -> None:
    path = written(tmp_path / "a.shp")
    for suffix in (".shx", ".dbf"):
        path.with_suffix(suffix).rename(path.with_suffix(suffix.upper()))
    check_shapefile(path)
    dbf = path.with_suffix(".DBF")
    dbf.write_bytes(dbf.read_bytes()[:-20])
    with pytest.raises(LabelError, match=r"\.dbf"):
        check_shapefile(path)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(PARTS), st.floats(0, 1), st.sampled_from(["Polygon", "Point", "LineString"]))
def test_every_cut_that_loses_a_record_is_refused(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, share: float, kind: str
) -> None:
    """What GDAL reads of the cut file decides whether something was lost."""
    folder = tmp_path_factory.mktemp("s")
    path = written(folder / "a.shp", kind)
    whole = len(pyogrio.read_dataframe(path))
    part = path.with_suffix(suffix)
    data = part.read_bytes()
    part.write_bytes(data[: int(share * (len(data) - 1))])
    try:
        check_shapefile(path)
    except LabelError as error:
        assert "\n" not in str(error)  # noqa: PT017 - which of the two happens is the question
        return
    try:
        found = pyogrio.read_dataframe(path)
    except pyogrio.errors.DataSourceError:
        return  # GDAL tells it itself
    assert len(found) == whole
    assert not found.geometry.isna().any()
    if suffix == ".dbf":
        assert found["CT"].tolist() == list(range(whole))


@pytest.mark.parametrize("suffix", PARTS)
def test_parts_of_another_file_are_refused(suffix: str, tmp_path: Path) -> None:
    """Of fewer or other records; a table of as many rows cannot be told apart."""
    mine, other = written(tmp_path / "a.shp"), written(tmp_path / "b.shp", seed=5)
    if suffix == ".dbf":
        return
    mine.with_suffix(suffix).write_bytes(other.with_suffix(suffix).read_bytes())
    with pytest.raises(LabelError, match="index"):
        check_shapefile(mine)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.none() | st.binary(max_size=300), st.none() | st.binary(max_size=100))
def test_any_bytes_are_let_through_or_refused_in_words(shp: bytes, shx: bytes | None, dbf: bytes | None) -> None:
    try:
        check_parts("a.shp", shp, shx, dbf)
    except LabelError as error:
        assert "\n" not in str(error)  # noqa: PT017 - which of the two happens is the question


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_flipped_bits_are_let_through_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    made = [bytearray(p) for p in parts(written(tmp_path_factory.mktemp("s") / "a.shp", n=3))]
    for _ in range(data.draw(st.integers(1, 4))):
        part = made[data.draw(st.integers(0, 2))]
        part[data.draw(st.integers(0, len(part) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        check_parts("a.shp", *map(bytes, made))
    except LabelError as error:
        assert "\n" not in str(error)  # noqa: PT017 - which of the two happens is the question


@pytest.mark.parametrize("length", [0, 1, 99])
def test_files_shorter_than_a_head_are_refused_in_one_line(length: int, tmp_path: Path) -> None:
    path = written(tmp_path / "a.shp")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(LabelError) as error:
        check_shapefile(path)
    assert "\n" not in str(error.value)
