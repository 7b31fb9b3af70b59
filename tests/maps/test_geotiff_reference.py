"""Reference maps in GeoTIFFs: what each layout says, value by value, and what could be two of them is asked for."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.conventions import CLASS_LAND, CLASS_NODATA, FIVE_CLASSES
from frazil.errors import LabelError
from frazil.labels.classes import LabelOptions
from frazil.maps.geotiff_reference import checked_percent, is_fraction, read_geotiff
from frazil.maps.rasters import Raster

PLACE = Affine(25_000.0, 0, -3_850_000.0, 0, -25_000.0, 5_850_000.0)


def tiff(path: Path, values: np.ndarray, **how: Any) -> Path:
    """A GeoTIFF of one band, or of several; `scale`, `offset`, `units` and `tags` as they are stored."""
    bands = values if values.ndim == 3 else values[None]
    extra = {k: how.pop(k) for k in ("scale", "offset", "units", "tags") if k in how}
    profile = {"crs": "EPSG:3411", "transform": PLACE} | how
    with rasterio.open(
        path, "w", driver="GTiff", count=len(bands), height=bands.shape[1], width=bands.shape[2], dtype=bands.dtype,
        **profile,
    ) as file:  # fmt: skip
        file.write(bands)
        if "scale" in extra or "offset" in extra:
            file.scales, file.offsets = (
                (extra.get("scale", 1.0),) * len(bands),
                (extra.get("offset", 0.0),) * len(bands),
            )
        if "units" in extra:
            file.set_band_unit(1, extra["units"])
        file.update_tags(**extra.get("tags", {}))
    return path


def read(path: Path, kind: str | None = None, **options: Any) -> tuple[str, Raster]:
    return read_geotiff(path, kind, LabelOptions(**options))


def refused(path: Path, words: str, kind: str | None = None, **options: Any) -> None:
    with pytest.raises(LabelError, match=words) as caught:
        read(path, kind, **options)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


NAN = math.nan
#: Layout -> how its values are written, which may occur, and percent and land of a value, from the user guides.
LAYOUTS: dict[str, tuple[str, str | None, type, list[int], Callable[[int], tuple[float, bool]]]] = {
    "tenths of percent": (
        "nsidc",
        None,
        np.uint16,
        [*range(0, 1001, 7), 1000, 2510, 2530, 2540, 2550],
        lambda v: (v / 10 if v <= 1000 else NAN, v in (2530, 2540)),
    ),
    "0.4 percent": (
        "nsidc",
        "nsidc",
        np.uint8,
        [*range(251), 251, 252, 253, 254, 255],
        lambda v: (v * 0.4 if v <= 250 else NAN, v in (253, 254)),
    ),
    "Bremen": (
        "amsr2",
        None,
        np.uint8,
        [*range(101), 120],
        lambda v: (float(v) if v <= 100 else NAN, False),
    ),
    "climate data record": (
        "concentration",
        "concentration",
        np.uint8,
        [*range(101), 251, 252, 253, 254, 255],
        lambda v: (float(v) if v <= 100 else NAN, v in (253, 254)),
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_value_of_a_layout_means_what_its_guide_says(layout: str, tmp_path: Path) -> None:
    kind, given_kind, dtype, values, meaning = LAYOUTS[layout]
    rows: np.ndarray = np.resize(np.array(values, dtype), (8, -(-len(values) // 8)))
    found_kind, raster = read(tiff(tmp_path / "a.tif", rows), given_kind)
    assert found_kind == kind
    expected = [[meaning(int(v)) for v in row] for row in rows]
    np.testing.assert_allclose(raster.values, [[p for p, _ in row] for row in expected], atol=1e-5)
    land = raster.land if raster.land is not None else np.zeros(rows.shape, bool)
    np.testing.assert_array_equal(land, [[is_land for _, is_land in row] for row in expected])
    assert raster.transform == PLACE
    assert raster.crs.to_epsg() == 3411


def test_an_extent_is_water_ice_land_and_nothing(tmp_path: Path) -> None:
    kind, raster = read(tiff(tmp_path / "a.tif", np.array([[0, 1, 253], [254, 210, 255]], np.uint8)))
    assert kind == "nsidc"
    assert raster.values.tolist() == [[0, 1, CLASS_LAND], [CLASS_LAND, CLASS_NODATA, CLASS_NODATA]]


AMBIGUOUS: dict[str, tuple[np.ndarray, tuple[str, ...]]] = {
    "percent or steps of 0.4": (np.array([[0, 60, 100, 254]], np.uint8), ("concentration", "nsidc")),
    "percent or tenths": (np.array([[0, 60, 100]], np.uint16), ("concentration", "nsidc", "classes")),
    "classes or an extent": (np.array([[0, 1, 2]], np.uint8), ("classes", "nsidc", "concentration", "amsr2")),
}


@pytest.mark.parametrize("key", AMBIGUOUS)
def test_what_could_be_two_layouts_is_asked_for(key: str, tmp_path: Path) -> None:
    """And what the question offers is taken as an answer."""
    values, kinds = AMBIGUOUS[key]
    path = tiff(tmp_path / "a.tif", values)
    with pytest.raises(LabelError, match=r"Say which: kind=.*\(--kind\)") as caught:
        read(path)
    for kind in kinds:
        assert repr(kind) in str(caught.value)
        if kind == "classes" and key == "percent or tenths":
            continue  # these values are none of a scheme
        answer: dict[str, Any] = {"classes": {"0": "open_water", "1": "sea_ice", "2": ""}} if kind == "classes" else {}
        assert read(path, kind, **answer)[0] == kind


@settings(max_examples=8, deadline=None)
@given(
    values=st.lists(st.integers(0, 255), min_size=4, max_size=12),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int16]),
)
def test_any_integers_are_percent_or_refused_in_a_line(
    values: list[int], dtype: type, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Never a number outside of 0 to 100, and no land that is not a code of land."""
    path = tiff(tmp_path_factory.mktemp("any") / "a.tif", np.array([values], dtype))
    for kind in (None, "nsidc", "concentration", "amsr2"):
        try:
            said, raster = read(path, kind)
        except LabelError as error:
            assert "\n" not in str(error)  # noqa: PT017 - which of the two happens is the question
            continue
        assert kind in (None, said)
        if raster.values.dtype == np.uint8:
            assert set(np.unique(raster.values)) <= {0, 1, CLASS_LAND, CLASS_NODATA}
            continue
        told = raster.values[np.isfinite(raster.values)]
        assert ((told >= 0) & (told <= 100)).all()
        if raster.land is not None:
            assert set(np.array([values])[raster.land].tolist()) <= {253, 254, 2530, 2540}


@pytest.mark.parametrize("nodata", ["nan", "inf", "1e9", "-99"])
@pytest.mark.parametrize("kind", ["concentration", "nsidc", "amsr2", "classes"])
def test_nodata_that_no_byte_can_hold(nodata: str, kind: str, tmp_path: Path) -> None:
    """The value is a text in the file; other programs write what they like there."""
    path = tiff(tmp_path / "a.tif", np.array([[0, 1, 1, 0]], np.uint8), nodata=121)
    whole = path.read_bytes()
    tag = struct.pack("<HHL", 42113, 2, 4)  # GDAL_NODATA, a text of four bytes
    assert tag + b"121\0" in whole
    path.write_bytes(whole.replace(tag + b"121\0", tag + nodata.encode().ljust(4, b"\0")))
    try:
        values = read(path, kind)[1].values
    except LabelError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert np.isfinite(values).all()


def test_nodata_is_left_out_whatever_it_is(tmp_path: Path) -> None:
    """A value that would be ice is none where the file says so."""
    values = np.array([[0, 50, 99, 100]], np.uint8)
    for kind in ("amsr2", "concentration"):
        percent = read(tiff(tmp_path / "a.tif", values, nodata=99), kind)[1].values
        np.testing.assert_array_equal(percent, [[0, 50, NAN, 100]])
    floats = read(tiff(tmp_path / "f.tif", values.astype(np.float32), nodata=-9999))[1].values
    np.testing.assert_array_equal(floats, [[0, 50, 99, 100]])
    floats = read(tiff(tmp_path / "g.tif", values.astype(np.float32), nodata=50))[1].values
    np.testing.assert_array_equal(floats, [[0, NAN, 99, 100]])


@settings(max_examples=15, deadline=None)
@given(
    scale=st.sampled_from([0.01, 0.4, 0.1, 0.004, 0.0001]),
    offset=st.sampled_from([0.0, 0.0, 5.0]),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int16]),
    share=st.lists(st.floats(0, 1), min_size=3, max_size=6),
)
def test_scaled_integers_come_back_as_percent(
    scale: float, offset: float, dtype: type, share: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is written with scale, offset and units comes back within half a step."""
    for units, full in (("1", 1.0), ("%", 100.0)):
        top = min((full - offset) / scale, float(np.iinfo(dtype).max))
        if top < 1:
            continue
        stored: np.ndarray = np.rint(np.array([share]) * top).astype(dtype)
        if set(stored.ravel().tolist()) & {251, 252, 253, 254, 255, 2510, 2530, 2540, 2550}:
            continue
        path = tiff(tmp_path_factory.mktemp("s") / "a.tif", stored, scale=scale, offset=offset, units=units)
        kind, raster = read(path)
        assert kind == "concentration"
        expected = (stored * scale + offset) * 100 / full
        np.testing.assert_allclose(raster.values, np.minimum(expected, 100.1), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("units", "meaning"),
    [
        ("1", True), (" 1 ", True), ("(1)", True), ("Fraction", True), ("0 - 1", True), ("[0..1]", True),
        ("%", False), ("Percent", False), ("[%]", False), ("0 to 100", False), ("percentage", False),
        ("", None), ("K", None), ("tenths", None), ("10", None), ("mm", None),
    ],
)  # fmt: skip
def test_units_of_fractions_and_of_percent(units: str, meaning: bool | None) -> None:
    assert is_fraction(units) is meaning


def test_fractions_are_never_guessed(tmp_path: Path) -> None:
    values = np.array([[0, 0.25, 0.9, 1.0]], np.float32)
    refused(tiff(tmp_path / "a.tif", values), "fractions, where percent was expected")
    percent = read(tiff(tmp_path / "b.tif", values, units="1"))[1].values
    np.testing.assert_allclose(percent, values * 100)
    little = read(tiff(tmp_path / "c.tif", values, units="%"))[1].values
    np.testing.assert_allclose(little, values)
    with_codes = np.array([[0, 0.25, 0.3, 0.6, 0.9, 1.0, 2.54]], np.float32)
    refused(tiff(tmp_path / "d.tif", with_codes), "fractions, and 2.54 beside them")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.floats(-300, 300, width=32) | st.just(math.nan), min_size=1, max_size=12), st.booleans())
def test_checked_percent_lets_nothing_else_through(values: list[float], sure: bool) -> None:
    given_values = np.array(values, np.float32)
    try:
        found = checked_percent(given_values.copy(), Path("a.tif"), sure=sure)
    except LabelError as error:
        assert "\n" not in str(error)  # noqa: PT017
        told = given_values[np.isfinite(given_values)]
        assert told.size, "nothing but gaps is no fault"
        assert not sure or told.min() < -0.5 or told.max() > 100.5
    else:
        np.testing.assert_array_equal(found, given_values)
        assert not (found < -0.5).any()
        assert not (found > 100.5).any()
        assert sure or not np.isfinite(found).any() or np.nanmax(found) <= 0 or np.nanmax(found) > 1


def test_what_is_no_map(tmp_path: Path) -> None:
    values = np.array([[0, 50, 100, 100]] * 4, np.uint8)
    (tmp_path / "text.tif").write_text("no raster")
    refused(tmp_path / "text.tif", "text.tif")
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        plain = tiff(tmp_path / "plain.tif", values, transform=Affine.identity(), crs=None)
    refused(plain, "not georeferenced: it has no transform")
    refused(tiff(tmp_path / "nowhere.tif", values, crs=None), r"does not say its CRS. Pass it: assume_crs")
    assert read(tmp_path / "nowhere.tif", assume_crs="EPSG:3413")[1].crs.to_epsg() == 3413
    refused(tiff(tmp_path / "rgb.tif", np.stack([values] * 3)), "has 3 bands: a picture")
    refused(tiff(tmp_path / "two.tif", np.stack([values] * 2)), "has 2 bands, of which one would be read")
    refused(tiff(tmp_path / "flat.tif", values, transform=Affine(0, 0, 5, 0, 0, 5)), "transform")


def test_a_world_file_places_a_raster(tmp_path: Path) -> None:
    """It tells the centre of the first pixel, a GeoTIFF its corner."""
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        path = tiff(tmp_path / "a.tif", np.array([[0, 50, 100]], np.uint8), transform=Affine.identity(), crs=None)
    (tmp_path / "a.tfw").write_text("1000\n0\n0\n-1000\n500500\n-300500\n")
    kind, raster = read(path, assume_crs="EPSG:3413")
    assert kind == "amsr2"
    assert raster.transform == Affine(1000, 0, 500_000, 0, -1000, -300_000)


def test_class_rasters_by_their_own_words_and_by_ours(tmp_path: Path) -> None:
    """Tags of a map of frazil, the meaning that is given, and codes of land and nothing."""
    values = np.array([[0, 1, 2, 3, 4, 254, 255]], np.uint8)
    own = {
        "class_scheme": FIVE_CLASSES.name,
        "flag_values": " ".join(map(str, range(5))),
        "flag_meanings": " ".join(FIVE_CLASSES.names),
    }
    kind, raster = read(tiff(tmp_path / "a.tif", values, tags=own))
    assert kind == "classes"
    assert raster.values.tolist() == [[0, 1, 1, 1, 1, CLASS_LAND, CLASS_NODATA]]
    meaning = {"7": "open_water", "9": "sea_ice", "3": "land", "4": ""}
    path = tiff(tmp_path / "b.tif", np.array([[7, 9, 3, 4, 255]], np.uint8))
    assert read(path, classes=meaning)[1].values.tolist() == [[0, 1, CLASS_LAND, CLASS_NODATA, CLASS_NODATA]]
    refused(path, "holds 3, 4, 7, which is no class", "classes", classes={"9": "sea_ice"})
    refused(tiff(tmp_path / "c.tif", values.astype(np.float32)), "class raster holds integers", "classes")


def test_many_strange_values_are_not_all_told(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.arange(101, 2501, 7, dtype=np.uint16)[None])
    with pytest.raises(LabelError, match="…") as caught:
        read(path, "concentration")
    assert len(str(caught.value)) < 600
