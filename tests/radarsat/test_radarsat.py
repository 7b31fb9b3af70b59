"""RADARSAT products of our own in the published layouts, against the specification in float64 and against GDAL."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from pyproj import Geod

import frazil
from frazil import products
from frazil.conventions import QUALITY_FLAGS, check_scene
from frazil.errors import (
    FrazilError,
    ModelError,
    OptionError,
    ProductError,
    ProductNotFoundError,
    UnsupportedProductError,
)
from frazil.scene.geolocation import Geolocation
from tests.radarsat.radarsat_files import FIRST, LAST, Made, made_up

Write = Callable[[Made, Path], Path]
LAYOUTS: dict[str, Write] = {"radarsat2": Made.write_radarsat2, "constellation": Made.write_constellation}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "offset": {"offset": 321.5},
    "far range first": {"far_first": True},
    "lines against time": {"late_first": True, "far_first": True},
}


def written(layout: str, tmp_path: Path, made: Made) -> Path:
    return LAYOUTS[layout](made, tmp_path)


def close(found: np.ndarray, expected: np.ndarray, rtol: float = 1e-6) -> None:
    """Equal where both are numbers, and NaN at the same places; σ0 of noise differs by what float32 keeps of DN²."""
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-8)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [np.uint16, np.uint8])
def test_sigma0_is_what_the_specification_says(layout: str, variant: str, dtype: type, tmp_path: Path) -> None:
    made = made_up(dtype=dtype, **VARIANTS[variant])
    scene = frazil.open_scene(written(layout, tmp_path, made), denoise="none")
    check_scene(scene)
    for p in ("HH", "HV"):
        close(scene["sigma0"].sel(polarization=p).values, made.sigma0(p, denoise=False))
    assert scene["valid"].values.sum() == np.isfinite(scene["sigma0"].values).all(0).sum()
    assert not scene["valid"].values[-1].any()
    assert scene["valid"].values[30, 46], "black pixels among others are dark targets"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_noise_is_subtracted_and_told(layout: str, variant: str, tmp_path: Path) -> None:
    made = made_up(**VARIANTS[variant])
    scene = frazil.open_scene(written(layout, tmp_path, made))
    np.testing.assert_allclose(scene["nesz"].values[:, 7], [made.nesz] * 2, rtol=1e-6)
    found, expected = scene["sigma0"].values[0], made.sigma0("HH", denoise=True)
    close(found, expected, rtol=2e-6)
    assert (found[np.isfinite(found)] < 0).any(), "negatives are kept"
    assert scene.attrs["denoise"] == "esa"
    assert scene.attrs["noise"].count("the product's reference noise level along range, removed") == 2
    assert not scene["noise_missing"].values.any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_noise_that_the_processor_took_is_not_taken_twice(layout: str, tmp_path: Path) -> None:
    made = made_up(noise_removed=True)
    scene = frazil.open_scene(written(layout, tmp_path, made))
    close(scene["sigma0"].values[0], made.sigma0("HH", denoise=False))
    assert scene.attrs["noise"] == "HH: removed by the processor, HV: removed by the processor"
    assert np.isfinite(scene["nesz"].values).all()


def test_noise_that_is_not_told_stays_in(tmp_path: Path) -> None:
    made = made_up(replaced={'incidenceAngleCorrection="Sigma Nought"><pixelFirst': 'x="y"><pixelFirst'})
    scene = frazil.open_scene(made.write_radarsat2(tmp_path))
    close(scene["sigma0"].values[0], made.sigma0("HH", denoise=False))
    assert "unknown in the product, not removed" in scene.attrs["noise"]
    assert scene["noise_missing"].values.all()
    assert np.isnan(scene["nesz"].values).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_incidence_angles_are_those_of_the_geometry(layout: str, variant: str, tmp_path: Path) -> None:
    made = made_up(**VARIANTS[variant])
    scene = frazil.open_scene(written(layout, tmp_path, made))
    np.testing.assert_allclose(scene["incidence_angle"].values[5], made.incidence, atol=1e-4)
    grid = scene["tie_incidence_angle"].values
    assert (np.diff(grid, axis=1) < 0).all() == bool(VARIANTS[variant].get("far_first"))


@pytest.mark.parametrize("step", [7, 11])
@pytest.mark.parametrize("far_first", [False, True])
def test_tables_with_steps_are_read_between_their_values(step: int, far_first: bool, tmp_path: Path) -> None:
    made = made_up(step=step, far_first=far_first)
    scene = frazil.open_scene(made.write_constellation(tmp_path), denoise="none")
    close(scene["sigma0"].values[0], made.sigma0("HH", denoise=False), rtol=2e-5)
    np.testing.assert_allclose(scene["incidence_angle"].values[0], made.incidence, atol=2e-4)


def test_tables_that_count_with_time_are_turned(tmp_path: Path) -> None:
    made = made_up(far_first=True, time_order=True)
    scene = frazil.open_scene(made.write_radarsat2(tmp_path))
    np.testing.assert_allclose(scene["incidence_angle"].values[0], made.incidence, atol=1e-4)
    np.testing.assert_allclose(scene["nesz"].values[0, 7], made.nesz, rtol=1e-6)
    close(scene["sigma0"].values[0], made.sigma0("HH", denoise=True), rtol=2e-6)


def _gdal(name: str) -> tuple[np.ndarray, list[tuple[float, ...]]]:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with rasterio.Env() as env:
        if "RS2" not in env.drivers():
            pytest.skip("this GDAL has no RS2 driver")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(name) as file:
                return file.read(), [(g.row, g.col, g.x, g.y, g.z) for g in file.gcps[0]]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [np.uint16, np.uint8])
def test_gdal_calibrates_radarsat2_alike(variant: str, dtype: type, tmp_path: Path) -> None:
    made = made_up(dtype=dtype, **VARIANTS[variant])
    folder = made.write_radarsat2(tmp_path)
    scene = frazil.open_scene(folder, denoise="none")
    theirs, gcps = _gdal(f"RADARSAT_2_CALIB:SIGMA0:{folder / 'product.xml'}")
    ours = scene["sigma0"].values
    seen = np.isfinite(ours)
    np.testing.assert_allclose(ours[seen], theirs[seen], rtol=1e-6)
    np.testing.assert_array_equal(_gdal(str(folder / "product.xml"))[0], np.stack(list(made.dn.values())))
    lines, pixels = scene["tie_line"].values, scene["tie_pixel"].values
    for row, column, lon, lat, _ in gcps:  # GDAL counts from the corner of a pixel
        at = np.abs(lines + 0.5 - row).argmin(), np.abs(pixels + 0.5 - column).argmin()
        assert abs(lines[at[0]] + 0.5 - row) < 1e-3
        assert scene["tie_latitude"].values[at] == pytest.approx(lat, abs=1e-9)
        assert scene["tie_longitude"].values[at] == pytest.approx(lon, abs=1e-9)
    assert len(gcps) == scene["tie_latitude"].size


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("variant", ["plain", "far range first"])
@pytest.mark.parametrize("height", [0.0, 900.0])
def test_places_are_those_of_the_sea(layout: str, variant: str, height: float, tmp_path: Path) -> None:
    """At the positions between tie points; tie points on mountains are brought down to the sea."""
    made = made_up((200, 300), height_m=height, **VARIANTS[variant])
    geo = Geolocation.of(frazil.open_scene(written(layout, tmp_path, made)))
    made.height_m = 0.0
    for line, pixel in ((0, 0), (71.5, 133.3), (199, 299)):
        lon, lat = geo.lonlat(line, pixel)
        expected = made.lonlat(line, pixel)
        assert Geod(ellps="WGS84").inv(float(lon), float(lat), *expected)[2] < 25.0  # half a pixel


@pytest.mark.parametrize("layout", LAYOUTS)
def test_times_and_names(layout: str, tmp_path: Path) -> None:
    scene = frazil.open_scene(written(layout, tmp_path, made_up(late_first=True)))
    time = scene["azimuth_time"].values
    assert time[0] == np.datetime64(LAST.rstrip("Z"))
    assert time[-1] == np.datetime64(FIRST.rstrip("Z"))
    assert np.datetime64(scene.attrs["start_time"]) == time[-1]
    assert np.datetime64(scene.attrs["stop_time"]) == time[0]
    second = layout == "radarsat2"
    assert scene.attrs["mission"] == ("RS2" if second else "RCM2")
    assert scene.attrs["sensor"] == ("RADARSAT-2" if second else "RADARSAT Constellation")
    assert scene.attrs["mode"] == ("SCWA" if second else "SC50MB")
    assert scene.attrs["orbit_pass"] == ("Ascending" if second else "Descending")
    assert ("MDA" if second else "Government of Canada (2022)") in scene.attrs["attribution"]
    assert "RADARSAT is an official mark of the Canadian Space Agency" in scene.attrs["attribution"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_windows_and_averages_agree_with_the_whole(layout: str, tmp_path: Path) -> None:
    folder = written(layout, tmp_path, made_up((300, 140)))
    whole = frazil.open_scene(folder)
    full = whole["sigma0"].values
    part = whole.isel(line=slice(100, 290, 7), pixel=slice(3, 90))["sigma0"].values
    np.testing.assert_array_equal(part, full[:, 100:290:7, 3:90])
    coarse = frazil.open_scene(folder, looks=4)
    blocks = full[:, :300, :140].reshape(2, 75, 4, 35, 4).transpose(0, 1, 3, 2, 4).reshape(2, 75, 35, 16)
    seen = np.isfinite(blocks).sum(-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = np.where(seen >= 8, np.nanmean(blocks.astype(np.float64), -1), np.nan)
    close(coarse["sigma0"].values, expected, rtol=1e-5)
    assert coarse["pixel"].values[:2].tolist() == [1.5, 5.5]
    smooth = frazil.open_scene(folder, boxcar=True)["sigma0"].values
    assert smooth[0, 150, 60] == pytest.approx(full[0, 149:152, 59:62].astype(np.float64).mean(), rel=1e-5)
    np.testing.assert_array_equal(np.isfinite(smooth), np.isfinite(full))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_zips_files_and_parents_are_read_too(layout: str, tmp_path: Path) -> None:
    folder = written(layout, tmp_path, made_up())
    whole = frazil.open_scene(folder)["sigma0"].values
    archive = tmp_path / "out" / f"{folder.name}.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, f"{folder.name}/{path.relative_to(folder)}")
    image = next(folder.rglob("*HH.tif"))
    xml = next(folder.rglob("product.xml"))
    for path in (archive, image, xml, tmp_path):
        product = frazil.open_product(path)
        assert product.name == folder.name
        np.testing.assert_array_equal(product.open_scene()["sigma0"].values, whole)


def test_one_polarisation_is_a_scene_but_no_map_of_two(tmp_path: Path) -> None:
    folder = made_up(polarizations=("HH",)).write_radarsat2(tmp_path)
    scene = frazil.open_scene(folder)
    assert scene["polarization"].values.tolist() == ["HH"]
    with pytest.raises(ModelError, match=r"needs \['HH', 'HV'\]"):
        frazil.predict(folder, "ice-measured")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_from_radarsat_to_a_map_that_says_what_it_is(layout: str, tmp_path: Path) -> None:
    spacing = 50.0 if layout == "radarsat2" else 20.0
    made = made_up((700, 900), spacing_m=spacing, far_first=True)
    ice = frazil.predict(written(layout, tmp_path, made), "ice-measured")
    sensor = "RADARSAT-2" if layout == "radarsat2" else "RADARSAT Constellation"
    assert ice.attrs["title"] == f"Sea-ice map from {sensor}"
    assert f"products of {sensor} (it learnt from Sentinel-1)" in ice.attrs["note"]
    flags = ice["quality_flags"].values
    assert (flags[flags & 3 == 0] & QUALITY_FLAGS["outside_training"][0] > 0).all()
    files = frazil.export(ice, tmp_path / "map")
    with xr.open_dataset(files["netcdf"], engine="h5netcdf") as file:
        assert "RADARSAT is an official mark" in file.attrs["attribution"]


BROKEN: dict[str, tuple[str, Callable[[Path], object], type[FrazilError], str]] = {
    "no gains": (
        "radarsat2",
        lambda f: (f / "lutSigma.xml").unlink(),
        ProductError,
        r"has no lutSigma\.xml",
    ),
    "no table of angles": (
        "constellation",
        lambda f: (f / "metadata/calibration/incidenceAngles.xml").unlink(),
        ProductError,
        r"has no metadata/calibration/incidenceAngles\.xml",
    ),
    "no image": ("radarsat2", lambda f: (f / "imagery_HV.tif").unlink(), ProductError, r"has no imagery_HV\.tif"),
    "empty image": (
        "constellation",
        lambda f: (f / "imagery/1_1_HH.tif").write_bytes(b""),
        ProductError,
        r"has an empty imagery/1_1_HH\.tif",
    ),
    "truncated image": (
        "radarsat2",
        lambda f: (f / "imagery_HH.tif").write_bytes((f / "imagery_HH.tif").read_bytes()[:300]),
        ProductError,
        "cannot be read|truncated",
    ),
}


@pytest.mark.parametrize("key", BROKEN)
def test_what_is_missing_is_named(key: str, tmp_path: Path) -> None:
    layout, breaking, error, words = BROKEN[key]
    folder = written(layout, tmp_path, made_up())
    breaking(folder)
    with pytest.raises(error, match=words) as caught:
        frazil.open_scene(folder)["sigma0"].values.sum()
    assert "\n" not in str(caught.value)


def edited(folder: Path, name: str, old: str, new: str) -> Path:
    text = (folder / name).read_text()
    assert old in text, old
    (folder / name).write_text(text.replace(old, new, 1))
    return folder


HOSTILE: dict[str, tuple[str, str, str, str, type[FrazilError], str]] = {
    "entities": (
        "radarsat2",
        "product.xml",
        "<product ",
        "<!DOCTYPE p [<!ENTITY a 'b'>]><product ",
        ProductError,
        "document type definition",
    ),
    "no XML": ("radarsat2", "lutSigma.xml", "<lut>", "<lut", ProductError, "not well-formed"),
    "file elsewhere": (
        "radarsat2",
        "product.xml",
        ">imagery_HH.tif<",
        ">../../etc/passwd<",
        ProductError,
        "lies elsewhere",
    ),
    "image elsewhere": (
        "constellation",
        "metadata/product.xml",
        ">../imagery/1_1_HH.tif<",
        ">../imagery/../../x.tif<",
        ProductError,
        "lies elsewhere",
    ),
    "few gains": ("radarsat2", "lutSigma.xml", "<gains>", "<gains>1.0e6 ", ProductError, "141 gains, but the image"),
    "gain of zero": ("radarsat2", "lutSigma.xml", "<gains>", "<gains>0 ", ProductError, "element <gains> leaves"),
    "gain of nan": ("radarsat2", "lutBeta.xml", "<gains>", "<gains>nan ", ProductError, "not finite"),
    "shifted table": (
        "constellation",
        "metadata/calibration/lutSigma_HH.xml",
        "<pixelFirstLutValue>0<",
        "<pixelFirstLutValue>90<",
        ProductError,
        "but the image has pixels 0 to 139",
    ),
    "steps of zero": (
        "constellation",
        "metadata/calibration/lutSigma_HH.xml",
        "<stepSize>1<",
        "<stepSize>0<",
        ProductError,
        "<stepSize> 0",
    ),
    "endless steps": (
        "constellation",
        "metadata/calibration/incidenceAngles.xml",
        "<stepSize>1<",
        "<stepSize>99999999<",
        ProductError,
        "lead out of every image",
    ),
    "angles of another beam": (
        "radarsat2",
        "product.xml",
        "<incidenceAngleFarRange units='deg'>",
        "<incidenceAngleFarRange units='deg'>6",
        ProductError,
        "incidenceAngleFarRange|mixed",
    ),
    "huge image": (
        "radarsat2",
        "product.xml",
        "<numberOfLines>90<",
        "<numberOfLines>999999999<",
        ProductError,
        "<numberOfLines>",
    ),
    "other shape": (
        "radarsat2",
        "product.xml",
        "<numberOfLines>90<",
        "<numberOfLines>80<",
        ProductError,
        "90 × 140 pixels, but",
    ),
    "tie points missing": (
        "radarsat2",
        "product.xml",
        "<imageTiePoint>",
        "<x>",
        ProductError,
        "not well-formed",
    ),
    "tie points astray": (
        "radarsat2",
        "product.xml",
        "<pixel>0.0000000e+00</pixel>",
        "<pixel>3.5</pixel>",
        ProductError,
        "are no grid",
    ),
    "another age": ("radarsat2", "product.xml", ">2022-04-07T18:21:27", ">1999-04-07T18:21:27", ProductError, ""),
    "another satellite": (
        "constellation",
        "metadata/product.xml",
        "RCM-2",
        "RCM-X",
        ProductError,
        "<satellite> is 'RCM-X'",
    ),
    "complex": (
        "radarsat2",
        "product.xml",
        "<dataType>Magnitude Detected",
        "<dataType>Complex",
        UnsupportedProductError,
        "complex samples in slant range",
    ),
    "compact": (
        "constellation",
        "metadata/product.xml",
        '<ipdf pole="HH">',
        '<ipdf pole="CH">',
        UnsupportedProductError,
        "compact polarimetry",
    ),
    "map": (
        "radarsat2",
        "product.xml",
        "<geographicInformation>",
        "<geographicInformation><mapProjection/>",
        UnsupportedProductError,
        "projected to a map",
    ),
    "map of the Constellation": (
        "constellation",
        "metadata/product.xml",
        ">GRD<",
        ">GCD<",
        UnsupportedProductError,
        "projected to a map",
    ),
    "bursts": (
        "constellation",
        "metadata/product.xml",
        "</imageAttributes>",
        "</imageAttributes><imageAttributes/>",
        UnsupportedProductError,
        "holds 2 images",
    ),
    "no table named": (
        "radarsat2",
        "product.xml",
        '<lookupTable incidenceAngleCorrection="Sigma Nought">lutSigma.xml</lookupTable>',
        "",
        ProductError,
        "names no look-up table of Sigma Nought",
    ),
}


@pytest.mark.parametrize("key", HOSTILE)
def test_hostile_and_damaged_metadata_gets_one_line(key: str, tmp_path: Path) -> None:
    layout, name, old, new, error, words = HOSTILE[key]
    folder = edited(written(layout, tmp_path, made_up()), name, old, new)
    if key == "another age":
        folder = edited(folder, name, "zeroDopplerTimeFirstLine>2022", "zeroDopplerTimeFirstLine>1999")
        words = "outside the life"
    with pytest.raises(error, match=words) as caught:
        frazil.open_scene(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_links_out_of_the_product_are_not_followed(tmp_path: Path) -> None:
    folder = made_up().write_radarsat2(tmp_path)
    outside = tmp_path / "outside.tif"
    (folder / "imagery_HH.tif").rename(outside)
    (folder / "imagery_HH.tif").symlink_to(outside)
    with pytest.raises(ProductError, match="leaves the product"):
        frazil.open_scene(folder)


def test_options_that_radarsat_does_not_know(tmp_path: Path) -> None:
    folder = made_up().write_radarsat2(tmp_path)
    with pytest.raises(OptionError, match=r"'balanced' is for Sentinel-1.*Choose"):
        frazil.open_scene(folder, denoise="balanced")
    with pytest.raises(OptionError, match="Leave image out"):
        frazil.open_scene(folder, image="IW1")
    with pytest.raises(OptionError, match="looks must be"):
        frazil.open_scene(folder, looks=2, boxcar=True)
    with pytest.raises(OptionError, match="exceeds the image"):
        frazil.open_scene(folder, looks=100)


def test_other_product_xml_is_not_radarsat2(tmp_path: Path) -> None:
    (tmp_path / "product.xml").write_text("<product xmlns='urn:other'/>")
    with pytest.raises(ProductNotFoundError, match="nothing that frazil reads"):
        products.open_product(tmp_path)


def test_a_description_needs_no_pixels(tmp_path: Path) -> None:
    folder = made_up().write_radarsat2(tmp_path)
    (folder / "imagery_HH.tif").unlink()
    (folder / "imagery_HV.tif").write_bytes(b"")
    said = products.describe(folder)
    assert [image["measurement"] for image in said["images"]] == ["missing", "empty (0 bytes)"]
    assert said["copyright"].startswith("RADARSAT-2 Data and Products (c)")
    assert said["centre"]["latitude"] == pytest.approx(74, abs=0.2)


def test_a_black_image_is_told(tmp_path: Path) -> None:
    made = made_up()
    made.dn["HV"][:] = 0
    scene = frazil.open_scene(made.write_constellation(tmp_path))
    assert scene.attrs["note"] == "No pixel of HV holds an observation."
    assert not scene["valid"].values.any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_damaged_bytes_give_a_scene_or_one_line(layout: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    folder = written(layout, tmp_path, made_up((12, 20)))
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    whole = {path: path.read_bytes() for path in files}
    said = []
    for _ in range(150):
        path = files[int(rng.integers(len(files)))]
        data = bytearray(whole[path])
        at = int(rng.integers(len(data)))
        kind = rng.integers(3)
        if kind == 0:
            data[at] = int(rng.integers(256))
        elif kind == 1:
            del data[at : at + int(rng.integers(1, 40))]
        else:
            data[at:at] = bytes(data[: int(rng.integers(1, 40))])
        path.write_bytes(data)
        try:
            scene = frazil.open_scene(folder, looks=2)
            assert scene["sigma0"].values.shape == (2, 6, 10)
            products.describe(folder)
        except FrazilError as error:
            said.append(str(error))
        path.write_bytes(whole[path])
    assert len(said) > 20
    assert not any("\n" in words for words in said)
