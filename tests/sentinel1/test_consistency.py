"""Products whose files do not belong together are refused; renamed, mirrored and changed ones on purpose are read."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from frazil.errors import OptionError, ProductError
from frazil.sentinel1.consistency import check_means
from frazil.sentinel1.info import describe
from frazil.sentinel1.product import Product, open_product
from frazil.sentinel1.scene import open_scene


@pytest.fixture(params=["manifest", "no manifest"])
def copy(small_safe: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder = Path(shutil.copytree(small_safe, tmp_path / small_safe.name))
    if request.param == "no manifest":
        (folder / "manifest.safe").unlink()
    return folder


def open_all(folder: Path | Product, **options: Any) -> None:
    scene = open_scene(folder, **options)
    assert np.isfinite(scene.sigma0[:, ::300, ::300].values).any()


def swap(one: Path, other: Path) -> None:
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


KINDS = ["annotation/*", "annotation/calibration/calibration-*", "annotation/calibration/noise-*", "measurement/*"]


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_two_polarisations_swapped(copy: Path, kind: str) -> None:
    swap(*(p for p in sorted(copy.glob(kind)) if p.is_file()))
    with pytest.raises(ProductError, match=r"mixed|MD5|swapped|same pixels|bytes"):
        open_all(copy)


@pytest.mark.parametrize("kind", KINDS)
def test_one_file_in_the_place_of_the_other(copy: Path, kind: str) -> None:
    hh, hv = (p for p in sorted(copy.glob(kind)) if p.is_file())
    hv.write_bytes(hh.read_bytes())
    with pytest.raises(ProductError, match=r"mixed|MD5|swapped|same pixels|bytes"):
        open_all(copy)


@pytest.mark.parametrize("key", ["iw-2021-ipf331", "s4-2025-ipf390"])
@pytest.mark.parametrize("kind", ["calibration", "noise", "annotation"])
def test_metadata_of_another_product(copy: Path, metadata_products: dict[str, Path], key: str, kind: str) -> None:
    other = open_product(metadata_products[key])
    folder = "annotation" if kind == "annotation" else "annotation/calibration"
    prefix = "" if kind == "annotation" else f"{kind}-"
    foreign = other.read(f"{folder}/{prefix}{other.bands[0].stem}.xml")
    next((copy / folder).glob(f"{prefix or 's1a'}*-hh-*")).write_bytes(foreign)
    with pytest.raises(ProductError, match=r"mixed|bytes instead|MD5|manifest"):
        open_all(copy)


@pytest.mark.parametrize(
    "pattern",
    ["annotation/s1a*-hv-*", "annotation/calibration/calibration-*-hv-*", "annotation/calibration/noise-*-hv-*"],
)
@pytest.mark.parametrize("odd", [False, True], ids=["missing", "a folder"])
def test_metadata_of_an_image_that_is_missing(small_safe: Path, tmp_path: Path, pattern: str, odd: bool) -> None:
    """Without its noise an image was read with the noise left in; without its annotation, not at all."""
    folder = Path(shutil.copytree(small_safe, tmp_path / small_safe.name))
    file = next(folder.glob(pattern))
    file.unlink()
    if odd:
        file.mkdir()
    with pytest.raises(ProductError, match=re.escape(file.name) + r" is missing .*--check none"):
        open_all(folder)
    if "noise" in pattern:
        assert open_scene(folder, check="none").attrs["noise"].startswith("HH: removed, HV: unknown")


def test_one_polarisation_alone_is_whole(small_safe: Path, tmp_path: Path) -> None:
    """Who needs no more downloads one image and the manifest of both."""
    folder = Path(shutil.copytree(small_safe, tmp_path / small_safe.name))
    for file in [*folder.glob("*/*-hv-*"), *folder.glob("*/*/*-hv-*")]:
        file.unlink()
    assert open_product(folder).polarizations == ("HH",)
    open_all(folder)


def test_manifest_of_another_product(small_safe: Path, tmp_path: Path, metadata_products: dict[str, Path]) -> None:
    folder = Path(shutil.copytree(small_safe, tmp_path / small_safe.name))
    (folder / "manifest.safe").write_bytes(open_product(metadata_products["iw-2015-ipf236"]).read("manifest.safe"))
    with pytest.raises(ProductError, match=r"manifest.safe is of orbit 4739"):
        open_all(folder)


def test_two_images_that_claim_the_same(copy: Path) -> None:
    for file in list(copy.rglob("*-hh-*-001*")):
        shutil.copy(file, file.with_name(file.name.replace("-001", "-003")))
    with pytest.raises(ProductError, match=r"mixed"):
        open_all(copy)
    for file in copy.glob("annotation/*-003.xml"):  # and says so itself
        file.write_bytes(file.read_bytes().replace(b"<imageNumber>001<", b"<imageNumber>003<"))
    with pytest.raises(ProductError, match=r"Two images claim to be EW HH"):
        open_all(copy)


def test_pixels_of_another_scene(copy: Path) -> None:
    """With a manifest by its MD5; without one where their mean shows it."""
    tiff = next((copy / "measurement").glob("*-hh-*"))
    with rasterio.open(tiff, "r+") as file:
        file.write(np.minimum(file.read(1) * 3.0, 65535).astype(np.uint16), 1)
    with pytest.raises(ProductError, match=r"MD5|mean of"):
        open_all(copy)


def test_changed_on_purpose(small_safe: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small_safe, tmp_path / small_safe.name))
    noise = next(folder.glob("annotation/calibration/noise-*-hv-*"))
    noise.write_bytes(re.sub(rb"(<azimuthTime>.*\d)\d<", rb"\g<1>0<", noise.read_bytes(), count=1))
    with pytest.raises(ProductError, match=r"noise-.* MD5 .*--check none"):
        open_all(folder)
    open_all(folder, check="none")
    open_all(open_product(folder, check="none"))
    assert open_scene(folder, check="none").attrs["checks"] == "none"
    with pytest.raises(OptionError, match=r"check 'some' is not one of"):
        open_product(folder, check="some")  # type: ignore[arg-type]


def test_what_was_compared_is_said(small_safe: Path, small_zip: Path, tmp_path: Path) -> None:
    whole = "metadata: headers and MD5, HH: MD5 and mean of pixels, HV: MD5 and mean of pixels"
    assert open_scene(small_safe).attrs["checks"] == whole
    assert open_scene(small_zip).attrs["checks"] == whole
    renamed = Path(shutil.copytree(small_safe, tmp_path / "my favourite scene"))
    assert open_scene(renamed).attrs["checks"] == whole
    (renamed / "manifest.safe").unlink()
    only = "metadata: headers, HH: mean of pixels, HV: mean of pixels"
    assert open_scene(renamed).attrs["checks"] == only


def test_large_measurements_are_digested_when_asked(
    small_safe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(small_safe, tmp_path / small_safe.name))
    tiff = next((folder / "measurement").glob("*-hh-*"))
    data = bytearray(tiff.read_bytes())
    data[-1] ^= 1
    tiff.write_bytes(data)
    monkeypatch.setattr("frazil.sentinel1.consistency.QUICK_BYTES", 1000)
    assert open_scene(folder).attrs["checks"].endswith("HH: mean of pixels, HV: mean of pixels")
    with pytest.raises(ProductError, match="MD5"):
        open_scene(folder, check="full")


@pytest.mark.parametrize("factor", [60.0, 1 / 60])
def test_tie_points_too_far_apart_or_too_close(small_safe: Path, tmp_path: Path, factor: float) -> None:
    folder = Path(shutil.copytree(small_safe, tmp_path / small_safe.name))
    (folder / "manifest.safe").unlink()
    for file in folder.glob("annotation/*.xml"):
        text = file.read_bytes()
        for tag in (b"latitude", b"longitude"):
            values = [float(v) for v in re.findall(rb"<%s>([^<]+)<" % tag, text)]
            middle, most = float(np.mean(values)), {b"latitude": 89.9, b"longitude": 180.0}[tag]

            def moved(match: re.Match[bytes], tag: bytes = tag, middle: float = middle, most: float = most) -> bytes:
                value = middle + factor * (float(match.group(1)) - middle)
                return b"<%s>%r<" % (tag, float(np.clip(value, -most, most)))

            text = re.sub(rb"<%s>([^<]+)<" % tag, moved, text)
        file.write_bytes(text)
    with pytest.raises(ProductError, match="times as far apart as their pixels"):
        open_scene(folder)


def test_means_tell_swapped_images_and_foreign_ones() -> None:
    stated = {"HH": 360.0, "HV": 105.0}
    check_means({"HH": 340.0, "HV": 110.0}, stated)
    check_means({"HH": 270.0, "HV": 135.0}, stated)  # of a few lines it may differ
    with pytest.raises(ProductError, match="HH and HV are swapped"):
        check_means({"HH": 105.0, "HV": 360.0}, stated)
    with pytest.raises(ProductError, match=r"pixels of HV have a mean of 300"):
        check_means({"HH": 360.0, "HV": 300.0}, stated)
    with pytest.raises(ProductError, match="HH and HV hold the same pixels"):
        check_means({"HH": 130.0, "HV": 130.0}, stated)
    check_means({}, {})


@pytest.mark.data
def test_real_products_are_consistent(real_data: Path) -> None:
    for path in sorted((real_data / "sentinel1").glob("S1*")):
        product = open_product(path)
        assert describe(product)["product"]
        for band in product.bands:
            assert band.annotation.header == band.header
            assert band.calibration.sigma_nought.size
            assert band.noise.damaged == 0
        if product.bands[0].stem.startswith("s1"):  # cloud mirrors rename files
            assert len(product.manifest.files.keys() & product.files.keys()) >= 8


def test_bundled_metadata_is_consistent(metadata_products: dict[str, Path]) -> None:
    for path in metadata_products.values():
        for band in open_product(path).bands:
            assert band.annotation.header == band.header
            assert band.calibration.sigma_nought.size
            assert band.noise.range


def changed(folder: Path, pattern: str, before: bytes, after: bytes, count: int = 0) -> Path:
    """A product without a manifest, with something replaced in some of its files."""
    (folder / "manifest.safe").unlink(missing_ok=True)
    for file in folder.glob(pattern):
        text = file.read_bytes()
        file.write_bytes(re.sub(before, after, text, count=count))
        assert file.read_bytes() != text
    return folder


@pytest.mark.parametrize("after", [rb"e+04", rb"e+01"])
def test_gain_that_gives_impossible_images(copy: Path, after: bytes) -> None:
    folder = changed(copy, "annotation/calibration/calibration-*", rb"e\+03", after)
    with pytest.raises(ProductError, match=r"mean sigma nought of .*dB, which no image has"):
        open_all(folder)


def test_incidence_angles_that_do_not_rise(copy: Path) -> None:
    folder = changed(copy, "annotation/*.xml", rb"<incidenceAngle>[^<]+", b"<incidenceAngle>44", count=1)
    with pytest.raises(ProductError, match="incidence angles do not rise with range"):
        open_all(folder)


def test_odd_noise_of_one_image_is_said_and_left_in(copy: Path) -> None:
    folder = changed(copy, "annotation/calibration/noise-*-hv-*", rb"<noiseRangeLut[^>]*>[^<]*", b"<noiseRangeLut>nan")
    assert describe(open_product(folder))["images"][1]["noise"].startswith("no range vector that can be read")
    assert open_scene(folder).attrs["noise"] == "HH: removed, HV: unknown in the product, not removed"
    assert open_scene(folder).noise_missing.values.all()


@pytest.mark.parametrize("kind", ["calibration", "noise"])
def test_vectors_of_another_time_or_width(small_safe: Path, tmp_path: Path, kind: str) -> None:
    """A file of another product under the header of this one, as nothing but its vectors shows."""
    match = rb"<azimuthTime>\d{4}-\d\d-\d\dT\d\d"
    later = changed(
        Path(shutil.copytree(small_safe, tmp_path / "a" / small_safe.name)),
        f"annotation/calibration/{kind}-*-hv-*",
        match,
        b"<azimuthTime>2024-03-29T23",
    )
    with pytest.raises(ProductError, match=rf"{kind}-.*-hv-.*its vectors are of \d+ to \d+ s from the begin"):
        open_all(later)
    wide = changed(
        Path(shutil.copytree(small_safe, tmp_path / "b" / small_safe.name)),
        f"annotation/calibration/{kind}-*-hv-*",
        rb"\d(</pixel>)",
        rb"99\1",
    )
    with pytest.raises(ProductError, match=rf"{kind}-.*-hv-.*its vectors end at pixel"):
        open_all(wide)


def test_one_kind_of_metadata_in_the_place_of_another(small_safe: Path, tmp_path: Path) -> None:
    """An annotation as a noise file has the right header, and no vector: the noise was left in."""
    for i, kind in enumerate(("calibration", "noise")):
        folder = Path(shutil.copytree(small_safe, tmp_path / str(i) / small_safe.name))
        (folder / "manifest.safe").unlink()
        hv = next(folder.glob("annotation/*-hv-*.xml"))
        shutil.copy(hv, next(folder.glob(f"annotation/calibration/{kind}-*-hv-*")))
        with pytest.raises(ProductError, match=f"<product>, expected <{kind}>"):
            open_all(folder)


def test_a_manifest_that_is_no_file(small_safe: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small_safe, tmp_path / small_safe.name))
    (folder / "manifest.safe").unlink()
    for make in (Path.mkdir, os.mkfifo):
        make(folder / "manifest.safe")
        with pytest.raises(ProductError, match=r"manifest.safe of .* is no regular file"):
            describe(open_product(folder))
        (folder / "manifest.safe").rmdir() if make is Path.mkdir else (folder / "manifest.safe").unlink()


@pytest.mark.parametrize("text", [b"<WCS_GDAL><ServiceURL>x</ServiceURL></WCS_GDAL>", b"", b"PK\x05\x06"])
def test_a_manifest_that_is_none(small_safe: Path, tmp_path: Path, text: bytes) -> None:
    folder = Path(shutil.copytree(small_safe, tmp_path / small_safe.name))
    (folder / "manifest.safe").write_bytes(text)
    with pytest.raises(ProductError, match=r"manifest\.safe"):
        open_all(folder)


def test_info_tells_of_a_truncated_image(small_safe: Path, tmp_path: Path) -> None:
    """It reads no pixels, and so stays usable; the size is known from the manifest."""
    folder = Path(shutil.copytree(small_safe, tmp_path / small_safe.name))
    tiff = next((folder / "measurement").glob("*-hv-*"))
    size = tiff.stat().st_size
    tiff.write_bytes(tiff.read_bytes()[: size // 2])
    hh, hv = (image["measurement"] for image in describe(open_product(folder))["images"])
    assert hh.endswith("MB")
    assert hv == f"{size // 2} bytes, but {size} in manifest.safe: truncated, damaged or exchanged"
    tiff.write_bytes(b"")
    assert describe(open_product(folder))["images"][1]["measurement"] == "empty (0 bytes)"
