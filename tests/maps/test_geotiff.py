"""GeoTIFFs of maps: any bands come back bit for bit where they were put, and GDAL finds words and colours in them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyproj import Transformer

from frazil.conventions import (
    CLASS_LAND,
    CLASS_NODATA,
    FIVE_CLASSES,
    PERCENT_NODATA,
    QUALITY_FLAGS,
    SCHEMES,
    UNDECIDED,
    ClassScheme,
)
from frazil.maps.geotiff import (
    class_colours,
    flag_tags,
    settings_of,
    write_category_names,
    write_cog,
)
from frazil.maps.layers import LAYERS
from frazil.maps.qgis_rasters import classes, write_style
from frazil.scene.grid import MapGrid

GRID = MapGrid(crs="EPSG:3413", left=-100_000.0, top=-1_500_000.0, spacing_m=80.0, shape=(5, 7))


def written(path: Path, bands: np.ndarray, grid: MapGrid = GRID, **how: Any) -> Path:
    descriptions = how.pop("descriptions", tuple(f"band {i}" for i in range(len(bands))))
    return write_cog(path, bands, replace(grid, shape=bands.shape[1:]), descriptions=descriptions, **how)


@settings(max_examples=15, deadline=None)
@given(
    bands=st.sampled_from([np.uint8, np.uint16]).flatmap(
        lambda t: arrays(t, st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20)))
    ),
    overviews=st.sampled_from(["NEAREST", "MODE", "AVERAGE"]),
    nodata=st.none() | st.integers(0, 255),
)
def test_any_values_come_back(
    bands: np.ndarray, overviews: str, nodata: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cog") / "a.tif"
    assert written(path, bands, tags={}, overviews=overviews, nodata=nodata) == path
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(), bands)
        assert file.nodata == nodata
        assert file.dtypes == (bands.dtype.name,) * len(bands)
        assert file.profile["compress"] == "deflate"


def test_a_pixel_lies_where_the_grid_says(tmp_path: Path) -> None:
    """On the ellipsoid: the corner of the file, in degrees, is that of the grid by PROJ alone."""
    path = written(tmp_path / "a.tif", np.zeros((1, 5, 7), np.uint8), tags={})
    to_degrees = Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True)
    with rasterio.open(path) as file:
        for row, column in ((0, 0), (4, 6), (2, 3)):
            x, y = file.xy(row, column)
            assert (x, y) == (GRID.x[column], GRID.y[row])
            ours = Transformer.from_crs(file.crs, "EPSG:4326", always_xy=True).transform(x, y)
            assert ours == pytest.approx(to_degrees.transform(GRID.x[column], GRID.y[row]), abs=1e-12)
        assert file.res == (80.0, 80.0)
        assert file.bounds == (-100_000.0, -1_500_400.0, -99_440.0, -1_500_000.0)


def test_words_of_files_and_bands(tmp_path: Path) -> None:
    """Of any language, with characters that XML wants written otherwise."""
    tags = {"product": "S1A_…", "note": "a < b & c > d \"e\" 'f'", "empty": "", "line": "one\ntwo"}
    path = written(
        tmp_path / "a.tif", np.zeros((2, 5, 7), np.uint8), tags=tags, units="percent", descriptions=("Nilas, θ", "<&>")
    )
    with rasterio.open(path) as file:
        found = file.tags()
        assert {k: found.get(k, "") for k in tags} == tags
        assert file.descriptions == ("Nilas, θ", "<&>")
        assert file.units == ("percent", "percent")


def test_a_picture_larger_than_a_tile_has_overviews(tmp_path: Path) -> None:
    """Averages leave nodata out; codes stay codes; each is half the size of the one before."""
    rng = np.random.default_rng(0)
    codes = rng.choice(np.array([0, 3, 255], np.uint8), (1, 1100, 700))
    mode = written(tmp_path / "mode.tif", codes, tags={}, overviews="MODE", nodata=255)
    average = written(tmp_path / "average.tif", codes, tags={}, overviews="AVERAGE", nodata=255)
    with rasterio.open(mode) as file:
        assert file.overviews(1)[:2] == [2, 4]
        assert file.block_shapes == [(512, 512)]
    with rasterio.open(mode, overview_level=0) as file:
        assert file.shape == (550, 350)
        assert set(np.unique(file.read(1))) <= {0, 3, 255}
    with rasterio.open(average, overview_level=0) as file:
        found = file.read(1).astype(float)
    quads = codes[0].reshape(550, 2, 350, 2).transpose(0, 2, 1, 3).reshape(550, 350, 4)
    seen = quads != 255
    np.testing.assert_array_equal(found == 255, ~seen.any(-1))
    mean = np.where(seen, quads, 0).sum(-1) / np.maximum(seen.sum(-1), 1)
    assert np.abs(found - mean)[seen.any(-1)].max() <= 0.5001


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda s: s.name)
def test_colours_are_distinct_and_those_of_the_scheme(scheme: ClassScheme, tmp_path: Path) -> None:
    colours = class_colours(scheme)
    assert set(colours) == {c.code for c in scheme.classes} | {UNDECIDED, CLASS_LAND, CLASS_NODATA}
    assert len(set(colours.values())) == len(colours), "two classes that look alike"
    assert colours[CLASS_NODATA][3] == 0
    assert all(alpha == 255 for code, (*_, alpha) in colours.items() if code != CLASS_NODATA)
    path = written(tmp_path / "a.tif", np.zeros((1, 5, 7), np.uint8), tags={}, colours=colours, nodata=CLASS_NODATA)
    with rasterio.open(path) as file:
        palette = file.colormap(1)
    for code, (*rgb, _) in colours.items():
        if code != CLASS_NODATA:
            assert palette[code][:3] == tuple(rgb)


def odd_scheme() -> ClassScheme:
    """Titles that a file of XML must not be broken by."""
    first = replace(FIVE_CLASSES.classes[0], title="Ice <1 m & \"new\" 'thin'")
    return replace(FIVE_CLASSES, classes=(first, *FIVE_CLASSES.classes[1:]))


@pytest.mark.parametrize("scheme", [*SCHEMES.values(), odd_scheme()], ids=lambda s: s.name)
def test_gdal_and_qgis_find_the_names(scheme: ClassScheme, tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", np.zeros((1, 5, 7), np.uint8), tags={}, colours=class_colours(scheme))
    assert write_category_names(path, scheme) == tmp_path / "a.tif.aux.xml"
    style = write_style(path, classes(scheme))
    assert style == tmp_path / "a.qml"
    rasterio.shutil.copy(path, tmp_path / "a.vrt", driver="VRT")
    names = [e.text or "" for e in ET.parse(tmp_path / "a.vrt").iter("Category")]
    titles = {c.code: c.title for c in scheme.classes}
    for code, title in titles.items():
        assert names[code] == title
    assert (names[CLASS_LAND], names[CLASS_NODATA], names[UNDECIDED]) == ("Land", "No data", "Undecided")
    assert sum(bool(name) for name in names) == len(titles) + 3
    entries = {int(e.attrib["value"]): e.attrib for e in ET.parse(style).iter("paletteEntry")}
    assert set(entries) == {*titles, UNDECIDED, CLASS_LAND}, "no data has no place in the legend"
    for code, (*rgb, _) in class_colours(scheme).items():
        if code in entries:
            assert bytes.fromhex(entries[code]["color"].lstrip("#")) == bytes(rgb)
    assert all(entries[code]["label"] == title for code, title in titles.items())


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda s: s.name)
def test_each_layer_is_written_as_what_it_holds(scheme: ClassScheme) -> None:
    """A number that is a percentage never has the nodata value of a code, bits no colours, codes no averages."""
    attrs = {"flag_values": [0, 1], "flag_meanings": "a b", "stretch_db": "HH -30 0, HV -35 -10"}
    for layer in LAYERS[scheme.kind]:
        how = settings_of(layer, scheme, attrs)
        assert how["overviews"] == layer.overviews
        if layer.holds == "percent":
            assert how["nodata"] == PERCENT_NODATA > 100
            assert how["units"] == "percent"
            assert how["overviews"] == "AVERAGE"
            many = layer.variable in ("probability", "score")
            assert how["descriptions"] == (scheme.names if many else (layer.variable.replace("_", " "),))
            continue
        if layer.holds == "radar":
            assert how["nodata"] == 0
            assert how["descriptions"] == ("HH", "HV")
            assert how["tags"]["HV_db"] == "1 is -35 dB, 255 is -10 dB"
            continue
        assert how["overviews"] != "AVERAGE"
        assert "units" not in how
        if layer.holds == "code":
            assert how["tags"] == {"flag_values": "0 1", "flag_meanings": "a b"}
            assert how["colours"][how["nodata"]][3] == 0
        else:
            assert "colours" not in how
            assert all(key.startswith("bit_") for key in how["tags"])


def test_bits_of_flags_are_powers_of_two_and_fit_their_type() -> None:
    tags = flag_tags()
    bits = [int(key.removeprefix("bit_")) for key in tags]
    assert len(bits) == len(set(bits)) == len(QUALITY_FLAGS)
    assert all(b & (b - 1) == 0 and 0 < b < 2**16 for b in bits)
    assert all(": " in text for text in tags.values())


def test_bits_of_phenomena_are_told(tmp_path: Path) -> None:
    """A reader finds the class of each bit in the file alone."""
    scheme = SCHEMES["metocean"]
    layer = next(layer for layer in LAYERS[scheme.kind] if layer.variable == "phenomena")
    bands = np.array([[[1, 2, 512, 3]]], np.uint16)
    path = written(tmp_path / "a.tif", bands, **settings_of(layer, scheme, {}))
    with rasterio.open(path) as file:
        values, tags = file.read(1)[0], file.tags()
    found = [{tags[f"bit_{1 << i}"] for i in range(16) if v >> i & 1} for v in values.tolist()]
    names = scheme.names
    assert found == [{names[0]}, {names[1]}, {names[9]}, {names[0], names[1]}]


def test_a_file_that_cannot_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        written(tmp_path / "nowhere" / "a.tif", np.zeros((1, 5, 7), np.uint8), tags={})
