"""Occurrences against counting by hand, at poles and the antimeridian, of sets and of segments."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from frazil.cli import cli
from frazil.conventions import METOCEAN
from frazil.errors import ContractError, LabelError, OptionError
from frazil.labels.imagettes import Imagette, make_imagettes, save_imagettes
from frazil.maps.occurrences import occurrences, open_counted, save_occurrences, wilson
from frazil.maps.segment_files import open_segments, save_segments

CLASSES = len(METOCEAN.classes)


def a_set(places: Sequence[tuple[float, float]], codes: Sequence[int | None], **how: Any) -> xr.Dataset:
    random = np.random.default_rng(0)
    items = [
        Imagette(name=f"i{n}", image=random.random((8, 8)), category=code, longitude=lon, latitude=lat)
        for n, ((lon, lat), code) in enumerate(zip(places, codes, strict=True))
    ]
    return make_imagettes(items, size=8, cell=4, spacing_m=100.0, source="a test", scaling="8-bit", **how)


def segments(ds: xr.Dataset, found: np.ndarray) -> xr.Dataset:
    """Segments in which classes are found on cells; found (imagette, class, 2, 2)."""
    score = np.where(found, 0.9, 0.1).astype(np.float16)
    dominant = np.full((ds.sizes["imagette"], 2, 2), 255, np.uint8)
    dims = ("imagette", "class", "mask_line", "mask_pixel")
    kept = {k: ds.coords[k] for k in ("class", "name", "group", "incidence_angle", "longitude", "latitude")}
    data = {"score": (dims, score), "found": (dims, found), "dominant": ((dims[0], *dims[2:]), dominant)}
    attrs = {"class_scheme": "metocean", "method": "unet", "model": "m", "threshold": 0.5, "spacing_m": 400.0}
    return xr.Dataset(data, kept, attrs)


@given(
    places=st.lists(st.tuples(st.floats(-400, 400), st.floats(-90, 90)), min_size=1, max_size=60),
    cell=st.sampled_from([2.5, 5.0, 10.0, 30.0, 90.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_every_imagette_is_counted_once_in_its_cell(places: list[tuple[float, float]], cell: float, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, CLASSES, len(places)).tolist()
    counted = occurrences(a_set(places, codes), cell_deg=cell, by="category")
    assert counted["count"].shape == (CLASSES, round(180 / cell), round(360 / cell))
    np.testing.assert_array_equal(counted["count"].values.sum((1, 2)), np.bincount(codes, minlength=CLASSES))
    assert (counted["judged"].values.sum((1, 2)) == len(places)).all()
    for (lon, lat), code in zip(places, codes, strict=True):
        here = counted["count"].sel(latitude=lat, longitude=(lon + 180) % 360 - 180, method="nearest")
        edge = min(abs(v % cell) for v in (lat, -lat, lon, -lon)) < 1e-6  # on a border either cell is right
        assert edge or int(here[code]) >= 1


def test_shares_and_intervals_are_those_of_a_binomial() -> None:
    places = [(5.0, 45.0)] * 30 + [(-170.0, -80.0)] * 4
    codes = [3] * 12 + [4] * 18 + [3] * 4
    counted = occurrences(a_set(places, codes), by="category")
    cell = counted.sel(latitude=45, longitude=5, method="nearest")
    assert (int(cell["count"][3]), int(cell["judged"][3])) == (12, 30)
    assert float(cell["share"][3]) == pytest.approx(0.4)
    ci = binomtest(12, 30).proportion_ci(0.95, method="wilson")
    assert float(cell["share_low"][3]) == pytest.approx(ci.low, abs=1e-6)
    assert float(cell["share_high"][3]) == pytest.approx(ci.high, abs=1e-6)
    assert np.isnan(counted["share"].values).sum() == CLASSES * (18 * 36 - 2)
    assert np.isnan(wilson(np.array([0]), np.array([0]))[0]).all()


def test_presence_is_judged_class_by_class_and_places_that_are_not_known_are_counted_apart() -> None:
    ds = a_set([(0.0, 0.0), (0.0, 0.0), (float("nan"), 0.0)], [0, 1, 2])
    present = np.full((3, CLASSES), 255, np.uint8)
    present[0] = 0
    present[0, 2] = 1
    present[1, 2] = 0
    counted = occurrences(ds.assign(present=(("imagette", "class"), present)))
    assert counted.attrs["counted_by"] == "present"
    assert counted.attrs["without_place"] == 0
    assert counted["judged"].values.sum((1, 2)).tolist() == [2 if c == 2 else 1 for c in range(CLASSES)]
    assert counted["count"].values.sum((1, 2)).tolist() == [int(c == 2) for c in range(CLASSES)]
    assert occurrences(ds, by="category").attrs["without_place"] == 1


def test_segments_are_counted_where_they_cover_enough(tmp_path: Path) -> None:
    ds = a_set([(10.0, 60.0), (10.0, 60.0)], [0, 0])
    found = np.zeros((2, CLASSES, 2, 2), bool)
    found[0, 5] = True
    found[1, 5, 0, 0] = True
    made = segments(ds, found)
    path = save_segments(made, tmp_path / "s.zarr")
    xr.testing.assert_equal(open_segments(path)["found"], made["found"])
    assert int(occurrences(open_counted(path))["count"].values[5].sum()) == 2
    assert int(occurrences(open_counted(path), least_share=0.5)["count"].values[5].sum()) == 1
    with pytest.raises(LabelError, match="category cannot be counted in segments"):
        occurrences(made, by="category")


def test_images_stay_on_the_disk(tmp_path: Path) -> None:
    path = save_imagettes(a_set([(1.0, 2.0)], [3]), tmp_path / "s.zarr")
    opened = open_counted(path)
    assert "image" not in opened
    assert int(occurrences(opened, by="category")["count"].sum()) == 1


def test_several_sets_add_up_and_others_are_refused(tmp_path: Path) -> None:
    one, two = a_set([(0.5, 0.5)], [1]), a_set([(0.5, 0.5), (99.0, -44.0)], [2, 2])
    counted = occurrences(iter([one, two]), by="category")
    assert counted["count"].values.sum((1, 2)).tolist() == [0, 1, 2] + [0] * (CLASSES - 3)
    for wrong in ({"cell_deg": 7.0}, {"cell_deg": 0.0}, {"by": "colour"}, {"least_share": 2.0}):
        with pytest.raises(OptionError):
            occurrences(one, **wrong)  # type: ignore[arg-type]
    with pytest.raises(LabelError, match="Sets differ in classes"):
        occurrences([one, two.assign_attrs(class_scheme="slicks")])
    with pytest.raises(LabelError, match="no imagette to count"):
        occurrences(a_set([(float("nan"), float("nan"))], [1]), by="category")
    with pytest.raises(ContractError, match="no occurrences"):
        save_occurrences(one, tmp_path / "o.nc")
    with pytest.raises(OptionError, match=r"written as \.nc"):
        save_occurrences(counted, tmp_path / "o.tif")


def test_command_writes_what_xarray_and_gdal_place_rightly(tmp_path: Path) -> None:
    import rasterio

    random = np.random.default_rng(1)
    lons, lats = random.uniform(-180, 180, 80).tolist(), random.uniform(-70, 70, 80).tolist()
    places = list(zip(lons, lats, strict=True))
    path = save_imagettes(a_set(places, random.integers(0, CLASSES, 80).tolist()), tmp_path / "s.zarr")
    words = ["occurrences", str(path), "-o", str(tmp_path / "o.nc"), "--picture", str(tmp_path / "o.png")]
    done = CliRunner().invoke(cli, [*words, "--json", "--by", "category"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["imagettes"], told["counted_by"]) == (80, "category")
    assert (tmp_path / "o.png").read_bytes()[:4] == b"\x89PNG"
    with xr.open_dataset(tmp_path / "o.nc") as ds, rasterio.open(f'NETCDF:"{tmp_path / "o.nc"}":count') as raster:
        assert ds["class_name"].values.astype(str).tolist() == list(METOCEAN.names)
        assert raster.count == CLASSES
        assert tuple(raster.bounds) == (-180, -90, 180, 90)
        lon, lat = places[7]
        row, column = raster.index(lon, lat)
        here = ds["count"].sel(latitude=lat, longitude=lon, method="nearest").values
        np.testing.assert_array_equal(raster.read()[:, row, column], here)
        assert here.sum() >= 1
