"""Vector files of every format, read back by GDAL, and disks that take no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely

from frazil.errors import OptionError, OutputError, OutputExistsError
from frazil.maps.polygons import ice_polygons
from frazil.maps.vectors import DRIVERS, write_vector
from frazil.testing import make_map

FORMATS = sorted(DRIVERS)


def frame(n: int = 40, crs: str = "EPSG:3413") -> gpd.GeoDataFrame:
    """Polygons with holes, and columns of every type that maps have."""
    rng = np.random.default_rng(n)
    centre = rng.uniform(-400_000, 400_000, (n, 2)) + np.array([0, -1_200_000])
    shapes = [
        shapely.Point(c).buffer(r, 6).difference(shapely.Point(c).buffer(r / 3, 3))
        for c, r in zip(centre, rng.uniform(3000, 20_000, n), strict=True)
    ]
    columns = {
        "code": np.arange(n, dtype=np.int16),
        "area_km2": rng.gamma(1.0, 1e3, n),
        "name": [f"Junges Eis ≥ 30 cm, „{i}“" for i in range(n)],
        "good": rng.random(n) > 0.5,
    }
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=crs)


@pytest.mark.parametrize("suffix", FORMATS)
def test_gdal_reads_every_shape_and_number_back(suffix: str, tmp_path: Path) -> None:
    made = frame()
    found = pyogrio.read_dataframe(write_vector(made, tmp_path / f"edge of ice{suffix}")).sort_values("code")
    found = found.to_crs(made.crs)
    assert found["code"].tolist() == made["code"].tolist()
    assert found["name"].tolist() == made["name"].tolist()
    assert found["good"].astype(bool).tolist() == made["good"].tolist()
    np.testing.assert_allclose(found["area_km2"], made["area_km2"], rtol=1e-9, atol=1e-6)
    apart = shapely.hausdorff_distance(found.geometry.values, made.geometry.values)
    assert apart.max() < (1e-9 if suffix != ".geojson" else 20.0)  # of GeoJSON: sides are bent, and 0.1 m
    assert shapely.get_num_interior_rings(found.geometry.values).tolist() == [1] * len(made)


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb"])
@pytest.mark.parametrize("crs", ["EPSG:3413", "EPSG:3031", "EPSG:32760", "EPSG:4326"])
def test_the_crs_is_kept(suffix: str, crs: str, tmp_path: Path) -> None:
    shapes = gpd.GeoSeries([shapely.box(10, 20, 30, 40)], crs=crs)
    path = write_vector(gpd.GeoDataFrame({"a": [1]}, geometry=shapes), tmp_path / f"a{suffix}")
    assert pyogrio.read_info(path)["crs"] == crs


def test_geojson_is_in_longitude_and_latitude_and_names_no_crs(tmp_path: Path) -> None:
    """RFC 7946: WGS 84, outer rings counter-clockwise, no crs member."""
    told = json.loads(write_vector(frame(), tmp_path / "a.geojson").read_text(encoding="utf-8"))
    assert "crs" not in told
    for feature in told["features"]:
        shape = shapely.geometry.shape(feature["geometry"])
        assert shapely.is_ccw(shape.exterior)
        assert not any(shapely.is_ccw(ring) for ring in shape.interiors)
        west, south, east, north = shape.bounds
        assert -180 <= west < east <= 180
        assert 60 < south < north < 90


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_table_without_rows_is_a_file_without_features(suffix: str, tmp_path: Path) -> None:
    path = write_vector(frame()[:0], tmp_path / f"none{suffix}")
    found = pyogrio.read_dataframe(path)
    assert len(found) == 0
    assert set(found.columns) >= {"code", "name"} or suffix == ".geojson"


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_missing_stays_missing(suffix: str, tmp_path: Path) -> None:
    made = frame(4).assign(name=["a", None, "", "d"], area_km2=[1.0, np.nan, 3.0, 4.0])
    found = pyogrio.read_dataframe(write_vector(made, tmp_path / f"a{suffix}")).sort_values("code")
    assert pd.isna(found["name"]).tolist() == [False, True, False, False]
    assert np.isnan(found["area_km2"].astype(float)).tolist() == [False, True, False, False]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_maps_own_polygons_keep_their_areas(suffix: str, tmp_path: Path) -> None:
    """On an equal-area plane, the sides of each shape cut short."""
    made = ice_polygons(make_map(shape=(60, 70), spacing_m=1000.0), min_area_km2=20)
    found = pyogrio.read_dataframe(write_vector(made, tmp_path / f"a{suffix}"))
    areas = [
        shapely.area(
            gpd.GeoSeries(shapely.segmentize(f.to_crs(made.crs).geometry.values, 500.0), crs=made.crs)
            .to_crs("EPSG:6931")
            .values
        )
        for f in (made, found)
    ]
    np.testing.assert_allclose(np.sort(areas[1]), np.sort(areas[0]), rtol=1e-3)


@pytest.mark.parametrize("name", ["a.shp", "a", "a.GPKG", "a.gpkg.zip", ".gpkg"])
def test_another_suffix_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="should end in one of") as error:
        write_vector(frame(3), tmp_path / "new" / name)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", FORMATS)
def test_only_what_frazil_wrote_is_replaced(suffix: str, tmp_path: Path) -> None:
    path = write_vector(frame(3), tmp_path / f"a{suffix}")
    with pytest.raises(OutputExistsError):
        write_vector(frame(5), path)
    assert len(pyogrio.read_dataframe(path)) == 3
    write_vector(frame(5), path, overwrite=True)
    assert len(pyogrio.read_dataframe(path)) == 5
    mine = tmp_path / f"mine{suffix}"
    frame(2).to_crs(4326).to_file(mine, engine="pyogrio", driver=DRIVERS[suffix])
    with pytest.raises(OutputExistsError):
        write_vector(frame(5), mine, overwrite=True)
    assert len(pyogrio.read_dataframe(mine)) == 2


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("limit", [3000, 110_000])
def test_a_full_disk_is_told_and_leaves_nothing(suffix: str, limit: int, tmp_path: Path) -> None:
    """A limit on the size of files is what a full disk looks like to GDAL, which reports success on one."""
    program = f"""
        import resource, signal, sys
        from pathlib import Path
        from frazil.errors import OutputError
        from frazil.maps.vectors import write_vector
        from tests.maps.test_vectors import frame
        made = frame(900)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        try:
            write_vector(made, Path({str(tmp_path / f"a{suffix}")!r}))
        except OutputError as error:
            sys.exit(0 if str(error).startswith("Cannot write") and chr(10) not in str(error) else 2)
        sys.exit(3)
    """
    root = Path(__file__).resolve().parents[2]
    paths = os.pathsep.join([str(root), str(root / "src")])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(OutputError, match="Cannot write"):
        write_vector(frame(3), tmp_path / "a" / "b.gpkg")
