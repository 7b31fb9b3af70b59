"""Printable charts: the right colours at the right places, on the paper that was asked for."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from PIL import Image

from frazil.charts.colours import entry_of
from frazil.charts.page import draw_chart
from frazil.errors import OptionError, OutputExistsError
from frazil.labels.chart import read_chart
from frazil.maps.edges import ice_edge
from frazil.testing import make_map
from tests.charts.test_sigrid3 import chart_of


@pytest.fixture(scope="module")
def chart() -> gpd.GeoDataFrame:
    return chart_of(1, shape=(300, 360))


@pytest.mark.parametrize("code", ["concentration", "stage"])
@pytest.mark.parametrize("crs", [None, "EPSG:3995"])
def test_polygons_have_their_colours_where_they_lie(
    code: str, crs: str | None, chart: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    path = draw_chart(chart, tmp_path / "a.png", colour_code=code, crs=crs)  # type: ignore[arg-type]
    image = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert image.shape[:2] == (1654, 2338)
    placed = chart if crs is None else chart.to_crs(crs)
    left, bottom, right, top = placed.total_bounds
    wide, tall = 11.69 - 3 * 0.45 - 3.0 - 0.35, 8.27 - 0.85 - 0.55 - 0.25
    scale = min(wide / (right - left), tall / (top - bottom))
    x0 = 0.45 + 0.35 + (wide - (right - left) * scale) / 2
    y0 = 0.55 + 0.2 + (tall - (top - bottom) * scale) / 2
    right_ones = asked = 0
    rng = np.random.default_rng(0)
    for row in placed.to_dict("records"):
        if row["POLY_TYPE"] == "N" or row["CT"] == "99" or (code == "stage" and row["SA"] == "99"):
            continue
        inside = row["geometry"].buffer(-0.02 / scale)
        for x, y in rng.uniform((left, bottom), (right, top), (300, 2)):
            if inside.contains(shapely.Point(x, y)):
                pixel = image[
                    round((8.27 - y0 - (y - bottom) * scale) * 200) - 1, round((x0 + (x - left) * scale) * 200)
                ]
                asked += 1
                right_ones += int(np.abs(pixel - entry_of(row, code).colour).max() <= 3)  # type: ignore[arg-type]
    assert asked > 50
    assert right_ones / asked > 0.8  # the rest lies under eggs, letters, lines and the scale


def test_a_page_may_show_a_part_with_north_up(chart: gpd.GeoDataFrame, tmp_path: Path) -> None:
    west, south, east, north = chart.to_crs("EPSG:4326").total_bounds
    middle = ((west + east) / 2, (south + north) / 2)
    part = (middle[0] - 0.4, middle[1] - 0.05, middle[0] + 0.4, middle[1] + 0.05)
    path = draw_chart(chart, tmp_path / "a.png", crs="north-up", extent=part)
    image = np.asarray(Image.open(path).convert("RGB")).astype(int)
    row = next(r for r in chart.to_crs("EPSG:4326").to_dict("records") if r["geometry"].contains(shapely.Point(middle)))
    colour = entry_of(row, "concentration").colour
    there = np.abs(image[:, :1660] - colour).max(axis=2) <= 3
    rows, columns = np.nonzero(there)
    assert there.sum() > 20_000  # the part is drawn large: its middle lies in the middle of the page
    assert abs(np.median(columns) - 830) < 500
    assert abs(np.median(rows) - 840) < 400
    for wrong in ((0, 10, 1, 11), (5, 80, 4, 81), (0, 81, 1, 80), (0, 80, float("nan"), 81), (-180, 80, 181, 85)):
        with pytest.raises(OptionError, match="extent"):
            draw_chart(chart, tmp_path / "b.png", extent=wrong)
    assert not (tmp_path / "b.png").exists()


def test_a_backdrop_shows_through(chart: gpd.GeoDataFrame, tmp_path: Path) -> None:
    import rasterio
    from rasterio.transform import from_bounds

    left, bottom, right, top = chart.total_bounds
    values = np.zeros((200, 240), np.uint8)
    values[:, :120], values[:, 120:] = 1, 255
    values[:, 118:122] = 0
    where = {
        "width": 240,
        "height": 200,
        "transform": from_bounds(left, bottom, right, top, 240, 200),
        "crs": chart.crs,
    }
    for name, nodata in (("a.tif", 0), ("b.tif", None)):
        with rasterio.open(
            tmp_path / name, "w", driver="GTiff", count=1, dtype="uint8", nodata=nodata, **where
        ) as file:
            file.write(values, 1)
    plain = np.asarray(Image.open(draw_chart(chart, tmp_path / "plain.png")).convert("L")).astype(int)
    for name in ("a.tif", "b.tif"):
        path = draw_chart(chart, tmp_path / f"{name}.png", backdrop=tmp_path / name)
        image = np.asarray(Image.open(path).convert("L")).astype(int)
        change = image - plain
        dark, light = change[300:1300, 300:700], change[300:1300, 1000:1400]
        assert np.percentile(dark, 10) < -20
        assert np.percentile(light, 90) > np.percentile(dark, 90)
    (tmp_path / "c.tif").write_text("no raster")
    with pytest.raises(OptionError, match="is no GeoTIFF with a place"):
        draw_chart(chart, tmp_path / "c.png", backdrop=tmp_path / "c.tif")
    with pytest.raises(OptionError, match="does not touch the page"):
        draw_chart(chart_of(1, centre=(100.0, 80.0)), tmp_path / "c.png", backdrop=tmp_path / "a.tif")
    assert not (tmp_path / "c.png").exists()


def test_holes_are_not_filled(tmp_path: Path) -> None:
    """A ring of open water around an island of ice, rings in any order."""
    outer = shapely.box(0, 0, 90_000, 90_000)
    inner = shapely.box(30_000, 30_000, 60_000, 60_000)
    for turned in (False, True):
        ring = shapely.Polygon(outer.exterior.coords, [inner.exterior.coords[:: -1 if turned else 1]])
        frame = gpd.GeoDataFrame(
            {"POLY_TYPE": ["I", "I"], "CT": ["92", "01"], "SA": ["86", "99"], "FA": ["99", "99"]},
            geometry=[inner, ring],
            crs="EPSG:3413",
        )
        path = draw_chart(frame, tmp_path / f"{turned}.png")
        image = np.asarray(Image.open(path).convert("RGB"))
        red = (image == (145, 0, 0)).all(axis=2).sum()
        blue = (image == (150, 200, 255)).all(axis=2).sum()
        assert red > blue / 12


@pytest.mark.parametrize("suffix", [".pdf", ".svg", ".png"])
@pytest.mark.parametrize("paper", ["A4", "A3"])
def test_every_format_and_paper(suffix: str, paper: str, chart: gpd.GeoDataFrame, tmp_path: Path) -> None:
    options = {"title": "Ice <of> the $x$ & sea", "issuer": "Büro", "warning": "not for navigation"}
    edge = ice_edge(make_map(seed=1, shape=(300, 360)))
    path = draw_chart(chart, tmp_path / f"a{suffix}", paper=paper, edge=edge, **options)  # type: ignore[arg-type]
    data = path.read_bytes()
    inches = {"A4": (11.69, 8.27), "A3": (16.54, 11.69)}[paper]
    if suffix == ".pdf":
        assert data.startswith(b"%PDF")
        assert f"/MediaBox [ 0 0 {inches[0] * 72:g} {inches[1] * 72:g} ]".encode() in data
    if suffix == ".svg":
        text = data.decode()
        assert f'width="{inches[0] * 72:g}pt"' in text
    again = draw_chart(chart, path, paper=paper, edge=edge, overwrite=True, **options)  # type: ignore[arg-type]
    assert again.read_bytes() == data or suffix == ".svg"  # names inside SVG are drawn at random
    with pytest.raises(OutputExistsError):
        draw_chart(chart, path)


def test_a_real_chart_is_drawn(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "ice-charts" / "cis_SGRDREA_20201102T.gpkg"
    if not source.is_file():
        pytest.skip(f"no real chart at {source.name}")
    path = draw_chart(read_chart(source), tmp_path / "a.png", colour_code="stage")
    image = np.asarray(Image.open(path).convert("RGB"))
    assert (image == (240, 210, 250)).all(axis=2).sum() > 10_000  # new ice
    assert (image == (150, 150, 150)).all(axis=2).sum() > 1000  # fast ice


def test_impossible_pages(chart: gpd.GeoDataFrame, tmp_path: Path) -> None:
    for options, message in (
        ({"path": "a.jpg"}, "should end in .pdf, .svg or .png"),
        ({"colour_code": "egg"}, "colour_code 'egg' is not one of"),
        ({"paper": "A5"}, "paper 'A5' is not one of"),
        ({"crs": "EPSG:4326"}, "drawn in a projection in metres"),
    ):
        given = {"path": "a.png", **options}
        with pytest.raises(OptionError, match=message):
            draw_chart(chart, tmp_path / str(given.pop("path")), **given)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
