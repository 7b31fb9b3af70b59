"""The page around a map: nothing lies on anything else or beyond the paper, whatever the shape of the map."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from frazil.conventions import UNDECIDED, UNDECIDED_COLOUR, check_ice_map
from frazil.maps.areas import PixelAreas
from frazil.maps.page import Page, draw_page, period_text, sensor_name
from frazil.maps.panels import Drawing, draw_key, key_height
from frazil.scene.grid import MapGrid
from frazil.testing import make_map

LONG = "Made-up ice, for tests alone: " + "no sea looks like this, and none ever will. " * 60
SHAPES = [(60, 60), (20, 200), (200, 20), (2, 300), (300, 2), (97, 131)]


def page_of(shape: tuple[int, int], **attrs: Any) -> tuple[Figure, Drawing]:
    ds = make_map(shape=shape, spacing_m=2000.0, **attrs)
    scheme, grid = check_ice_map(ds), MapGrid.of(ds)
    drawing = Drawing(
        ice_map=ds,
        codes=ds["ice_class"].values,
        scheme=scheme,
        grid=grid,
        colours={c.code: c.colour for c in scheme.classes} | {UNDECIDED: UNDECIDED_COLOUR},
        area=PixelAreas(grid).by_code(ds["ice_class"].values),
    )
    page = Page(
        title="Ice $of$ the sea",
        key=lambda axes: draw_key(axes, drawing, "classes"),
        key_height=key_height(scheme, "classes"),
        small_title="Where not to trust it",
    )
    return draw_page(drawing, page, "classes", "confidence", None, 60), drawing


def boxes(figure: Figure) -> list[shapely.Polygon]:
    """The axes of a page, inches."""
    wide, tall = figure.get_size_inches()
    return [
        shapely.box(p.x0 * wide, p.y0 * tall, p.x1 * wide, p.y1 * tall)
        for p in (axes.get_position(original=True) for axes in figure.axes)
    ]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("note", ["", "Made-up ice.", LONG])
def test_no_two_parts_of_a_page_overlap_and_none_leaves_it(shape: tuple[int, int], note: str) -> None:
    figure, _ = page_of(shape, note=note)
    wide, tall = figure.get_size_inches()
    parts = boxes(figure)
    assert len(parts) == 4
    for one, other in itertools.combinations(parts, 2):
        assert one.intersection(other).area < 1e-6
    paper = shapely.box(0, 0, wide, tall)
    for part in parts:
        assert part.area > 0.01
        assert part.difference(paper).area < 1e-9
    assert tall < 16


@pytest.mark.parametrize("note", ["", "Made-up ice.", LONG])
@pytest.mark.parametrize("shape", [(60, 60), (20, 200), (200, 20)])
def test_no_text_of_the_head_lies_on_the_map_on_another_or_beyond_the_page(shape: tuple[int, int], note: str) -> None:
    """As matplotlib draws it."""
    figure, _ = page_of(shape, note=note)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    figure.draw(renderer)
    paper = figure.bbox
    extents = [t.get_window_extent(renderer) for t in figure.texts if t.get_text()]
    for extent in extents:
        assert paper.x0 <= extent.x0 < extent.x1 <= paper.x1
        assert paper.y0 <= extent.y0 < extent.y1 <= paper.y1
    areas = [shapely.box(*e.extents).buffer(-1) for e in extents]
    for one, other in itertools.combinations(areas, 2):
        assert not one.intersects(other)
    axes = [shapely.box(*a.get_window_extent(renderer).extents) for a in figure.axes]
    assert not any(a.intersects(t) for a in axes for t in areas)


@pytest.mark.parametrize("shape", SHAPES)
def test_both_panels_show_the_map_undistorted(shape: tuple[int, int]) -> None:
    """A metre is as long upwards as sideways, and the frame is that of the grid."""
    figure, drawing = page_of(shape)
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) >= 2
    left, bottom, right, top = drawing.grid.bounds
    wide, tall = figure.get_size_inches()
    for axes in panels[:2]:
        assert axes.get_xlim() == (left, right)
        assert axes.get_ylim() == (bottom, top)
        place = axes.get_position(original=True)
        across, up = (right - left) / (place.width * wide), (top - bottom) / (place.height * tall)
        assert across == pytest.approx(up, rel=1e-6)


def test_what_the_map_says_of_itself_is_printed_and_no_mathematics_is_made_of_it() -> None:
    figure, drawing = page_of((30, 40), note="5 % of $ and _x_^2", model="m_$1$", product="no product $x$")
    said = {t.get_text(): t for t in figure.texts}
    assert "Ice $of$ the sea" in said
    assert any("no product $x$" in text and "m_$1$" in text for text in said)
    assert "5 % of $ and _x_^2" in said
    assert all(not t.get_parse_math() for text, t in said.items() if "$" in text)
    assert any(drawing.grid.crs in text and "2000 m pixels" in text for text in said)


def test_a_long_note_ends_in_an_ellipsis_and_keeps_its_beginning() -> None:
    figure, _ = page_of((30, 40), note=LONG)
    lines = [t.get_text() for t in figure.texts if t.get_color() == "#5c4300"]
    assert len(lines) == 7
    assert lines[-1].endswith("…")
    assert LONG.startswith(" ".join(lines).removesuffix(" …"))


@settings(deadline=None)
@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)), st.integers(0, 3600), st.sampled_from(["Z", "+00:00", ""])
)
def test_a_period_is_told_in_words_that_mean_it(start: datetime, seconds: int, zone: str) -> None:
    stop = start + timedelta(seconds=seconds)
    said = period_text(start.isoformat() + zone, stop.isoformat() + zone)
    first = said.removesuffix(" UTC").split("–")[0]
    assert datetime.strptime(first, "%d %B %Y, %H:%M:%S").replace(tzinfo=UTC) == start.replace(
        microsecond=0, tzinfo=UTC
    )
    assert said.endswith(" UTC")
    assert ("–" in said) == (seconds > 0)
    if seconds:
        assert said.split("–")[1] == f"{stop:%H:%M:%S} UTC"


def test_a_period_in_another_zone_is_told_in_utc() -> None:
    said = period_text("2018-01-16T23:30:00+02:00", "2018-01-17T00:30:00+02:00")
    assert said == "16 January 2018, 21:30:00–22:30:00 UTC"


@pytest.mark.parametrize("text", ["", "unknown", "2018-99-99"])
def test_a_period_that_is_no_time_is_told_as_it_is(text: str) -> None:
    assert period_text(text, text) == text


def test_the_sensor_is_read_from_names_of_products_and_from_attributes() -> None:
    assert sensor_name({"product": "S1C_IW_GRDH_1SDV_20250402T054321"}) == "Sentinel-1C IW"
    assert [sensor_name({"product": name}) for name in ("", "S2A_MSIL1C", "my S1A_EW_", "S1A_EWX_")] == [""] * 4
    assert sensor_name({"product": "X", "sensor": "RADARSAT-2", "mode": "SCWA"}) == "RADARSAT-2 SCWA"


def test_grids_without_a_short_name_are_told_by_the_name_of_their_projection() -> None:
    ds = make_map(shape=(20, 30), crs="+proj=laea +lat_0=80 +lon_0=30 +datum=WGS84 +units=m", centre=(30.0, 80.0))
    grid = MapGrid.of(ds)
    scheme = check_ice_map(ds)
    drawing = Drawing(
        ice_map=ds,
        codes=ds["ice_class"].values,
        scheme=scheme,
        grid=grid,
        area=np.zeros(256),
        colours={c.code: c.colour for c in scheme.classes} | {UNDECIDED: UNDECIDED_COLOUR},
    )
    page = Page(title="T", key=lambda _: None, key_height=1.0, small_title="S")
    figure = draw_page(drawing, page, "ice", "confidence", None, 60)
    foot = next(t.get_text() for t in figure.texts if "frazil" in t.get_text())
    assert len(foot) < 120
