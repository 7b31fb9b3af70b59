"""Products are found in every layout, and nothing foreign, damaged or climbing gets through."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from frazil.errors import ProductError, ProductNotFoundError
from frazil.scene.geolocation import TiePoints
from frazil.sentinel1.annotation import Annotation
from frazil.sentinel1.info import _footprint, describe
from frazil.sentinel1.product import Product, open_product


def test_folder_manifest_zip_and_parent_give_the_same_product(small_safe: Path, small_zip: Path) -> None:
    names = {open_product(p).name for p in (small_safe, small_safe / "manifest.safe", small_zip, str(small_safe))}
    assert names == {small_safe.stem}
    assert open_product(small_zip).polarizations == ("HH", "HV")


def test_cloud_layout_with_short_names(small_safe: Path, tmp_path: Path) -> None:
    cloud = tmp_path / small_safe.stem
    for file in small_safe.rglob("*"):
        if not file.is_file():
            continue
        name = file.relative_to(small_safe).as_posix()
        for pol in ("hh", "hv"):
            if f"-{pol}-" in file.name:
                prefix = next((p for p in ("calibration-", "noise-") if file.name.startswith(p)), "")
                name = str(Path(name).parent / f"{prefix}ew-{pol}{file.suffix}")
        (cloud / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, cloud / name)
    product = open_product(cloud)
    assert [b.stem for b in product.bands] == ["ew-hh", "ew-hv"]
    assert Path(product.bands[0].measurement).name == "ew-hh.tiff"
    assert product.bands[0].noise.azimuth


def test_cog_safe_measurements_are_found(small_safe: Path, tmp_path: Path) -> None:
    cog = tmp_path / (small_safe.stem + "_COG.SAFE")
    shutil.copytree(small_safe, cog)
    for tiff in (cog / "measurement").iterdir():
        tiff.rename(tiff.with_name(tiff.stem + "-cog.tiff"))
    assert all(b.measurement.endswith("-cog.tiff") for b in open_product(cog).bands)


@pytest.mark.data
def test_real_products_without_pixels_describe_themselves(real_data: Path) -> None:
    found = {p.name: describe(open_product(p)) for p in sorted((real_data / "sentinel1").glob("S1*"))}
    assert len(found) == 5
    modes = {(d["mode"], d["ipf_version"], d["mission"], d["resolution"]) for d in found.values()}
    assert ("EW", "3.52", "S1A", "medium") in modes
    assert ("S4", "3.90", "S1C", "high") in modes
    bb15 = next(d for name, d in found.items() if name.endswith("BB15"))
    assert {i["measurement"] for i in bb15["images"]} == {"empty (0 bytes)"}
    assert bb15["centre"] == pytest.approx({"longitude": 87.89, "latitude": 79.47}, abs=0.01)


def test_zero_byte_measurement_says_what_is_missing(small_safe: Path, tmp_path: Path) -> None:
    broken = tmp_path / small_safe.name
    shutil.copytree(small_safe, broken)
    tiff = next((broken / "measurement").glob("*-hv-*"))
    tiff.write_bytes(b"")
    product = open_product(broken)
    assert product.bands[0].measurement
    with pytest.raises(ProductError, match=r"hv.*zero bytes.*frazil info"):
        _ = product.bands[1].measurement
    tiff.unlink()
    with pytest.raises(ProductError, match=r"no measurement/.*hv.*Download the whole product"):
        _ = open_product(broken).bands[1].measurement


@pytest.mark.parametrize("name", ["nothing-here", "nothing.zip"])
def test_missing_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProductNotFoundError, match="No product at"):
        open_product(tmp_path / name)


def test_foreign_folder_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(ProductNotFoundError, match="not a Sentinel-1 Level-1 product"):
        open_product(tmp_path)
    text = tmp_path / "notes.txt"
    text.write_text("no zip")
    with pytest.raises(ProductError, match="not a readable zip"):
        open_product(text)
    empty = tmp_path / "empty.zip"
    with zipfile.ZipFile(empty, "w"):
        pass
    with pytest.raises(ProductNotFoundError, match="not a Sentinel-1"):
        open_product(empty)


@pytest.mark.parametrize("member", ["../../evil.xml", "/etc/evil", "a/../../evil", "..\\evil", "C:\\evil"])
def test_climbing_zip_members_are_refused(tmp_path: Path, member: str) -> None:
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.SAFE/annotation/a.xml", "<product/>")
        archive.writestr(member, "x")
    with pytest.raises(ProductError, match="leave the archive"):
        open_product(path)


def test_truncated_zip(small_zip: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.zip"
    broken.write_bytes(small_zip.read_bytes()[:-5000])
    with pytest.raises(ProductError, match="not a readable zip"):
        open_product(broken)


def test_two_products_in_one_archive(tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("A.SAFE/annotation/a.xml", "<product/>")
        archive.writestr("B.SAFE/annotation/b.xml", "<product/>")
    with pytest.raises(ProductError, match="2 products"):
        open_product(path)


def test_sample_metadata_is_the_real_product(ew_metadata: Product) -> None:
    assert ew_metadata.name == "S1A_EW_GRDM_1SDH_20221130T014342_20221130T014446_046117_058549_BB15"
    assert describe(ew_metadata)["noise"] == "67 range vectors, 17 azimuth blocks"


def test_the_footprint_is_cut_at_the_antimeridian_and_closed_over_the_pole(ew_metadata: Product) -> None:
    sample = ew_metadata.bands[0].annotation

    def annotation(longitude: np.ndarray, latitude: np.ndarray) -> Annotation:
        line = pixel = np.arange(0.0, 5001.0, 500.0)
        zero = np.zeros(latitude.shape)
        ties = TiePoints(
            line=line,
            pixel=pixel,
            latitude=latitude,
            longitude=longitude,
            height=zero,
            incidence_angle=zero + 30,
            elevation_angle=zero + 25,
        )
        return replace(sample, ties=ties, n_lines=5001, n_pixels=5001)

    lat, lon = np.meshgrid(np.linspace(70, 72, 11), np.linspace(176, 184, 11), indexing="ij")
    shape, middle = _footprint([annotation((lon + 180) % 360 - 180, lat)])
    assert shape["type"] == "MultiPolygon"
    geometry = shapely.from_geojson(json.dumps(shape))
    assert geometry.is_valid
    assert geometry.covers(shapely.points([178, -178], [71, 71])).all()
    assert not geometry.covers(shapely.Point(0, 71))
    assert abs(middle[0]) == pytest.approx(180, abs=0.1)
    x, y = np.meshgrid(np.linspace(-2e5, 2e5, 11), np.linspace(2e5, -2e5, 11))
    across = annotation(*Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True).transform(x, y))
    shape, middle = _footprint([across])
    geometry = shapely.from_geojson(json.dumps(shape))
    assert geometry.is_valid
    assert geometry.covers(shapely.points([0, 90, 180, -90], [89.9] * 4)).all()
    two, _ = _footprint([across, annotation((lon + 180) % 360 - 180, lat)])
    assert shapely.from_geojson(json.dumps(two)).area > geometry.area
