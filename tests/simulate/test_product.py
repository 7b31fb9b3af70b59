import hashlib
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from scipy import ndimage

from frazil.errors import OptionError, OutputExistsError
from frazil.sentinel1.product import open_product
from frazil.sentinel1.scene import open_scene
from frazil.simulate.instrument import NoiseError, band_radiometry, template_product
from frazil.simulate.product import simulate_product
from frazil.simulate.scene import simulate_scene
from frazil.simulate.world import WorldConfig

LINES, PIXELS = (1150, 1650), (2800, 3400)  # across a sub-swath border that moves at line 1345
SETTINGS: dict[str, Any] = {
    "seed": 17,
    "world": WorldConfig(seed=0, ice_fraction=0.6, season="winter", land_fraction=0.05),
    "lines": LINES,
    "pixels": PIXELS,
}


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate_product(tmp_path_factory.mktemp("simulated"), **SETTINGS)


@pytest.fixture(scope="module")
def scene(safe: Path) -> xr.Dataset:
    return open_scene(safe, looks=3).load()


def truth_folder(safe: Path) -> Path:
    return safe.with_name(safe.name.replace(".SAFE", "_truth"))


def db(power: Any) -> np.ndarray:
    return 10 * np.log10(power)


def test_our_reader_opens_it(safe: Path, scene: xr.Dataset) -> None:
    product = open_product(safe)
    assert product.name == safe.stem
    assert product.polarizations == ("HH", "HV")
    assert product.ipf_version == "3.52"
    annotation = product.bands[0].annotation
    assert (annotation.n_lines, annotation.n_pixels) == (500, 600)
    assert scene.valid.values.all()
    assert scene.attrs["start_time"][:10].replace("-", "") in safe.name


def test_the_cut_metadata_fit_the_image(safe: Path) -> None:
    for band in open_product(safe).bands:
        a = band.annotation
        assert a.first_line_time == band.header.start_time
        assert a.ties.line[[0, -1]].tolist() == [0, 499]
        assert a.ties.pixel[[0, -1]].tolist() == [0, 599]
        covered = np.zeros((500, 600), int)
        for b in a.swath_bounds:
            covered[b.first_line : b.last_line + 1, b.first_pixel : b.last_pixel + 1] += 1
        assert (covered == 1).all()
        for vector in band.noise.range:
            assert (vector.pixel[0], vector.pixel[-1]) == (0, 599)
        assert a.seconds(band.calibration.time)[[0, -1]] == pytest.approx(
            [0, 499 * a.azimuth_time_interval_s], abs=1e-5
        )
        starts = {v.bounds.first_line for v in band.noise.azimuth}
        assert starts == {0, 195}  # the block border at line 1345 of the template


def test_noise_and_gain_are_those_of_the_template_at_the_same_place(safe: Path) -> None:
    lines, pixels = np.arange(0, 500, 7), np.arange(0, 600, 7)
    for cut, whole in zip(open_product(safe).bands, template_product("ew").bands, strict=True):
        ours, theirs = band_radiometry(cut), band_radiometry(whole)
        np.testing.assert_allclose(
            ours.amplitude_gain(lines, pixels), theirs.amplitude_gain(lines + LINES[0], pixels + PIXELS[0]), rtol=1e-4
        )
        ratio = ours.nesz(lines, pixels) / theirs.nesz(lines + LINES[0], pixels + PIXELS[0])
        assert np.abs(np.median(ratio) - 1) < 0.005
        assert np.abs(ratio - 1).max() < 0.08


def test_positions_are_those_of_the_template(safe: Path) -> None:
    from frazil.scene.geolocation import Geolocation

    cut = Geolocation.of_ties(open_product(safe).bands[0].annotation.ties)
    whole = Geolocation.of_ties(template_product("ew").bands[0].annotation.ties)
    line, pixel = np.array([3.0, 250.0, 480.0]), np.array([10.0, 333.0, 590.0])
    ours, theirs = cut.lonlat(line, pixel), whole.lonlat(line + LINES[0], pixel + PIXELS[0])
    np.testing.assert_allclose(ours[1], theirs[1], atol=2e-5)  # 2 m
    np.testing.assert_allclose(ours[0], theirs[0], atol=2e-4)


def test_product_and_scene_of_a_seed_tell_the_same_truth(safe: Path, scene: xr.Dataset) -> None:
    direct = simulate_scene(**SETTINGS)
    assert direct.attrs["product"] == scene.attrs["product"]
    with rasterio.open(truth_folder(safe) / "ice_class.tif") as file:
        np.testing.assert_array_equal(file.read(1), direct.ice_class.values)
    np.testing.assert_allclose(scene.incidence_angle, direct.incidence_angle, atol=0.02)
    for polarization in ("HH", "HV"):
        for code in (0, 3, 4):
            where = direct.ice_class.values == code
            from_file, from_memory = (
                ds.sigma0.sel(polarization=polarization).values[where].mean() for ds in (scene, direct)
            )
            # 0.15 dB of the brightness: what 10⁴ independent pixels of speckle and blended borders leave.
            assert from_file == pytest.approx(from_memory, rel=0.035, abs=2e-4)


def test_speckle_of_the_files_is_that_of_the_instrument(tmp_path: Path) -> None:
    sea = WorldConfig(seed=0, ice_fraction=0.0, wind_speed_ms=8.0)
    path = simulate_product(
        tmp_path, seed=3, world=sea, noise_error=NoiseError(), spread=0, lines=(3000, 3400), pixels=(4000, 4400)
    )
    full = open_scene(path, polarizations=("HH",), denoise="none").sigma0.values[0].astype(float)
    speckle = (full / ndimage.uniform_filter(full, 25) - 1)[25:-25, 25:-25]  # wind changes more slowly
    assert speckle.var() == pytest.approx(1 / 10.7, rel=0.15)
    assert np.mean(speckle[:, 1:] * speckle[:, :-1]) / speckle.var() == pytest.approx(0.77, abs=0.05)


def test_the_same_seed_gives_the_same_bytes(safe: Path, tmp_path: Path) -> None:
    again = simulate_product(tmp_path, **SETTINGS)
    for one, two in zip(sorted(safe.rglob("*.*ml")), sorted(again.rglob("*.*ml")), strict=True):
        assert one.read_bytes() == two.read_bytes()
    for one, two in zip(sorted(safe.glob("measurement/*")), sorted(again.glob("measurement/*")), strict=True):
        with rasterio.open(one) as a, rasterio.open(two) as b:
            np.testing.assert_array_equal(a.read(), b.read())


def test_the_manifest_lists_what_is_there(safe: Path) -> None:
    root = ET.parse(safe / "manifest.safe").getroot()
    listed = set()
    for item in root.iter("dataObject"):
        location, stream = item.find(".//fileLocation"), item.find("byteStream")
        assert location is not None
        assert stream is not None
        path = safe / location.attrib["href"]
        data = path.read_bytes()
        assert int(stream.attrib["size"]) == len(data)
        assert item.findtext("byteStream/checksum") == hashlib.md5(data).hexdigest()
        listed.add(path.resolve())
    present = {
        p.resolve()
        for p in safe.rglob("*")
        if p.is_file() and p.name not in ("manifest.safe", "note.txt", ".frazil.json")
    }
    assert listed == present
    ids = {e.get("ID") for e in root.iter("dataObject")}
    assert {e.get("dataObjectID") for e in root.iter("dataObjectPointer")} <= ids
    text = (safe / "manifest.safe").read_text()
    assert template_product("ew").bands[0].stem not in text
    assert "2022-11-30" not in text


def test_statistics_in_the_annotation_are_those_of_the_image(safe: Path) -> None:
    for band in open_product(safe).bands:
        root = ET.parse(safe / "annotation" / f"{band.stem}.xml").getroot()
        with rasterio.open(safe / "measurement" / f"{band.stem}.tiff") as file:
            dn = file.read(1)
            assert file.dtypes == ("uint16",)
            assert len(file.gcps[0]) == 16
        stated = root.findtext("imageAnnotation/imageInformation/imageStatistics/outputDataMean/re")
        assert stated is not None
        assert dn.mean() == pytest.approx(float(stated), rel=1e-5)


def test_outside_the_sub_swaths_digital_numbers_are_zero(tmp_path: Path) -> None:
    path = simulate_product(tmp_path, seed=1, lines=(0, 300), pixels=(2900, 3300), polarizations=("HV",))
    with rasterio.open(next(path.glob("measurement/*.tiff"))) as file:
        dn = file.read(1)
    assert (dn[:128, 240:] == 0).all()
    assert (dn[130:, :] > 0).mean() > 0.999
    assert "-hh-" not in (path / "manifest.safe").read_text()


def test_a_product_is_not_overwritten_unasked(safe: Path) -> None:
    with pytest.raises(OutputExistsError, match="overwrite"):
        simulate_product(safe.parent, **SETTINGS)
    stamp = (safe / "manifest.safe").stat().st_mtime_ns
    simulate_product(safe.parent, **SETTINGS, overwrite=True)
    assert (safe / "manifest.safe").stat().st_mtime_ns > stamp


def test_everything_drawn_is_written_down(safe: Path) -> None:
    record = json.loads((truth_folder(safe) / "simulation.json").read_text())
    assert record["seed"] == 17
    assert record["product"] == safe.stem
    assert record["world"]["season"] == "winter"
    assert 0.5 < record["scale"]["HV/EW2"] < 2
    assert "level_first_year_ice/HH" in record["offset_db"]


def test_xarray_sentinel_reads_it_alike(safe: Path, scene: xr.Dataset) -> None:
    xarray_sentinel = pytest.importorskip("xarray_sentinel", reason="independent reader, in the test group")
    measurement = xr.open_dataset(safe, engine="sentinel-1", group="EW/HV").measurement
    calibration = xr.open_dataset(safe, engine="sentinel-1", group="EW/HV/calibration")
    theirs = xarray_sentinel.calibrate_intensity(measurement, calibration.sigmaNought).values
    ours = open_scene(safe, polarizations=("HV",), denoise="none").sigma0.values[0]
    np.testing.assert_allclose(db(theirs), db(ours), atol=0.01)


def test_satpy_reads_it_alike(safe: Path) -> None:
    pytest.importorskip("geotiepoints", reason="satpy's SAR reader needs python-geotiepoints")
    pytest.importorskip("rioxarray", reason="satpy's SAR reader needs rioxarray")
    from satpy import DataQuery, Scene  # type: ignore[attr-defined] # made on demand by its __getattr__

    files = [str(p) for p in safe.rglob("*") if p.suffix in (".xml", ".tiff")]
    query = DataQuery(name="measurement", polarization="hh", calibration="sigma_nought", quantity="natural")
    scene = Scene(reader="sar-c_safe", filenames=files)
    scene.load([query])
    theirs = scene[query].values
    ours = open_scene(safe, polarizations=("HH",)).sigma0.values[0]
    inner = np.s_[50:150, 50:250]  # inside one noise block: elsewhere satpy triangulates across blocks
    assert db(theirs[inner].mean()) == pytest.approx(db(ours[inner].mean()), abs=0.1)


def test_compressed_products_read_the_same(tmp_path: Path, safe: Path) -> None:
    small = simulate_product(tmp_path, **SETTINGS, compress=True)
    for one, two in zip(sorted(safe.glob("measurement/*")), sorted(small.glob("measurement/*")), strict=True):
        assert two.stat().st_size < one.stat().st_size
        with rasterio.open(one) as a, rasterio.open(two) as b:
            np.testing.assert_array_equal(a.read(), b.read())


def test_a_simulated_product_can_be_a_template(safe: Path, tmp_path: Path) -> None:
    path = simulate_product(tmp_path, seed=5, template=str(safe), lines=(0, 200), pixels=(100, 400))
    assert open_scene(path, looks=3).valid.values.all()


def test_impossible_windows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"lines=\(0, 99999\)"):
        simulate_product(tmp_path, seed=1, lines=(0, 99999))
    assert not list(tmp_path.iterdir())


def test_stripmap_as_a_template(metadata_products: dict[str, Path], tmp_path: Path) -> None:
    """It has no sub-swaths: it is observed everywhere."""
    safe = simulate_product(
        tmp_path, seed=2, template=str(metadata_products["s4-2025-ipf390"]), lines=(3000, 3900), pixels=(1000, 1900)
    )
    scene = open_scene(safe)
    assert scene.attrs["mode"] == "S4"
    assert np.isfinite(scene.sigma0.values).mean() > 0.99
    with rasterio.open(next(tmp_path.glob("*_truth/ice_class.tif"))) as file:
        assert (file.read(1) != 255).all()


@pytest.mark.parametrize("date", ["2025-02-01", "2024-02-29"])
def test_a_product_of_a_day(tmp_path: Path, date: str) -> None:
    where = {"lines": (5200, 5400), "pixels": (2400, 2600)}
    drawn = simulate_product(tmp_path / "drawn", seed=3, **where)  # type: ignore[arg-type]
    dated = simulate_product(tmp_path / "dated", seed=3, date=date, **where)  # type: ignore[arg-type]
    assert date.replace("-", "") in dated.name
    one, other = open_scene(drawn), open_scene(dated)
    np.testing.assert_array_equal(one["sigma0"].values, other["sigma0"].values)  # the ice is the same
    assert str(other.attrs["start_time"]).startswith(date)


@pytest.mark.parametrize("date", ["2025-02-30", "1999-01-01", "soon", "2025-2-1T00:00"])
def test_dates_that_are_none(tmp_path: Path, date: str) -> None:
    with pytest.raises(OptionError, match="Date"):
        simulate_product(tmp_path, seed=3, date=date, lines=(5200, 5400), pixels=(2400, 2600))
    assert list(tmp_path.iterdir()) == []
