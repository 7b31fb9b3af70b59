"""Areas against points thrown at random: on the sphere it needs no projection to say who lies in a box."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.errors import OptionError
from frazil.providers.areas import NAMED, area
from frazil.scene.box import Box
from tests.providers.catalogue import box

WEST = st.integers(-180, 180).map(float)


def sized(west: float, south: float, width: float, height: float) -> Box:
    return Box(west, south, west + width, min(south + height, 90.0))


CAPS = st.builds(Box, WEST, st.integers(-90, 80).map(float), WEST, st.just(90.0))
BOXES = CAPS | st.builds(sized, WEST, st.integers(-89, 80).map(float), st.floats(0.5, 179), st.floats(1, 60))

#: As catalogues write a footprint across 180°: uncut, cut in two, and beyond 180.
UNCUT = {"type": "Polygon", "coordinates": [[[178, 71], [-178, 71], [-177, 73], [177, 73], [178, 71]]]}
CUT = {
    "type": "MultiPolygon",
    "coordinates": [box(177, 71, 180, 73)["coordinates"], box(-180, 71, -178, 73)["coordinates"]],
}
ROUND_THE_POLE = {"type": "Polygon", "coordinates": [[[0, 86], [90, 86], [180, 86], [-90, 86], [0, 86]]]}
BEYOND = box(177, 71, 183, 73)


def small(lon: float, lat: float, d: float = 0.05) -> dict[str, Any]:
    """A patch of some kilometres around a place, uncut where it crosses 180°."""
    e = d / max(np.cos(np.radians(lat)), 0.02)
    ring = [[lon - e, lat - d], [lon + e, lat - d], [lon + e, lat + d], [lon - e, lat + d], [lon - e, lat - d]]
    return {"type": "Polygon", "coordinates": [[[(x + 180) % 360 - 180, y] for x, y in ring]]}


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_place_well_inside_meets_and_one_well_outside_does_not(data: st.DataObject) -> None:
    try:
        where = data.draw(BOXES)
    except OptionError:
        return
    found = area(where)
    for lon, lat in np.random.default_rng(3).uniform((-180, -85), (180, 85), (12, 2)):
        inside = where.holds(np.array(lon), np.array(lat))
        d = 0.4 / np.cos(np.radians(lat))
        sure = {
            bool(where.holds(np.array(lon + x * d), np.array(lat + y * 0.4))) for x in (-1, 0, 1) for y in (-1, 0, 1)
        }
        if len(sure) == 1:
            assert found.meets(small(lon, lat)) == bool(inside), (where, lon, lat)


@pytest.mark.parametrize("name", NAMED)
def test_parts_cover_the_area_and_are_small_polygons(name: str) -> None:
    found = area(f"@{name}")
    together = shapely.union_all(found.parts)
    assert shapely.covers(shapely.buffer(together, 1e-3), found.shape)
    assert together.area < found.shape.area * 1.1 + 20
    for part in found.parts:
        west, south, east, north = part.bounds
        assert part.is_valid
        assert -180 <= west < east <= 180
        assert east - west <= 90.5
        assert -90 <= south < north <= 90
        assert len(part.exterior.coords) <= 81
        assert np.abs(np.diff(shapely.get_coordinates(part), axis=0)).max() <= 5.01


@pytest.mark.parametrize(
    ("where", "footprint", "meets"),
    [
        ("170,70,-170,75", box(175, 71, 179, 73), True),
        ("170,70,-170,75", box(-179, 71, -175, 73), True),
        ("170,70,-170,75", box(0, 71, 20, 73), False),
        ("175,70,179,75", UNCUT, True),
        ("-20,70,20,75", UNCUT, False),
        ("-179,70,-175,75", CUT, True),
        ("-179,70,-175,75", BEYOND, True),
        ("-20,70,20,75", BEYOND, False),
        # round the pole: the scene holds it, and no corner of it lies in the area
        ("-180,89,180,90", ROUND_THE_POLE, True),
        ("10,76,34,81", {"type": "Polygon", "coordinates": [[[0, 60], [40, 60], [40, 85], [0, 85], [0, 60]]]}, True),
        ("10,76,34,81", box(10, -81, 34, -76), False),
        ("10,76,34,81", None, True),
        ("10,76,34,81", {"type": "Polygon", "coordinates": "nonsense"}, True),
        ("10,76,34,81", {"type": "Polygon", "coordinates": [[[float("nan"), 1], [2, 1], [3, 1], [3, 2]]]}, True),
    ],
)  # fmt: skip
def test_footprints_of_catalogues(where: str, footprint: dict[str, Any] | None, meets: bool) -> None:
    assert area(where).meets(footprint) is meets


def geojson(path: Path, geometry: Any) -> str:
    path.write_text(json.dumps(geometry))
    return str(path)


def test_areas_of_files(tmp_path: Path) -> None:
    path = geojson(tmp_path / "a.geojson", {"type": "FeatureCollection", "features": [
        {"type": "Feature", "properties": {}, "geometry": box(10, 76, 34, 81)},
        {"type": "Feature", "properties": {}, "geometry": box(170, 70, 190, 75)}]})  # fmt: skip
    found = area(path)
    assert found.meets(box(12, 77, 13, 78))
    assert found.meets(box(-175, 71, -172, 72))
    assert not found.meets(box(100, 71, 110, 72))
    assert len(found.parts) == 3
    cap = geojson(tmp_path / "cap.geojson", box(-180, 60, 180, 90))
    assert area(cap).meets(box(-100, 80, -90, 82))


def test_a_coastline_of_many_corners_becomes_a_short_question(tmp_path: Path) -> None:
    t = np.linspace(0, 2 * np.pi, 5000)
    radius = 5 + np.random.default_rng(1).normal(0, 0.3, t.size)
    ring = np.column_stack([20 + 2 * radius * np.cos(t), 75 + radius * np.sin(t)])
    ring[-1] = ring[0]
    found = area(geojson(tmp_path / "a.json", {"type": "Polygon", "coordinates": [ring.tolist()]}))
    assert all(len(part.exterior.coords) <= 81 for part in found.parts)
    largest = max(shapely.get_parts(found.shape), key=shapely.area)
    assert shapely.covers(shapely.union_all(found.parts).buffer(1e-3), shapely.Polygon(largest.exterior))


@pytest.mark.parametrize(
    ("given_area", "words"),
    [
        ("@atlantis", "Names are @arctic"),
        ("10,76,34", "is not WEST,SOUTH"),
        ("34,81,10,x", "is not WEST"),
        ("10,81,34,76", "south must lie below north"),
        ("nowhere.geojson", "cannot be read as GeoJSON"),
        ({"type": "Point", "coordinates": [1, 2]}, "holds no polygon"),
        (box(170, 70, -170, 75), "has a side of 340°"),
        (box(500000, 70, 600000, 75), "side of|not in degrees"),
        ([[[[[]]]]], "holds no polygon"),
    ],
)
def test_areas_that_are_none(given_area: Any, words: str, tmp_path: Path) -> None:
    text = given_area if isinstance(given_area, str) else geojson(tmp_path / "a.geojson", given_area)
    with pytest.raises(OptionError, match=words):
        area(text)
