"""Places: round trips, the pole, the antimeridian, and left-out tie points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer

from frazil.errors import OptionError
from frazil.scene.geolocation import Geolocation
from frazil.sentinel1.product import Product

NORTH, SOUTH = CRS.from_epsg(3413), CRS.from_epsg(3031)


@pytest.fixture(scope="module")
def real(ew_metadata: Product) -> Geolocation:
    return Geolocation.of_ties(ew_metadata.bands[0].annotation.ties)


def around(latitude: float, longitude: float, heading_deg: float = 30.0) -> Geolocation:
    """A 400 × 400 km swath centred anywhere: straight lines on an azimuthal map of that place."""
    local = CRS.from_proj4(f"+proj=aeqd +lat_0={latitude} +lon_0={longitude} +datum=WGS84")
    line, pixel = np.linspace(0, 10000, 21), np.linspace(0, 10000, 21)
    v, u = np.meshgrid((line - 5000) * 40.0, (pixel - 5000) * 40.0, indexing="ij")
    c, s = np.cos(np.radians(heading_deg)), np.sin(np.radians(heading_deg))
    lon, lat = Transformer.from_crs(local, CRS.from_epsg(4326), always_xy=True).transform(u * c - v * s, u * s + v * c)
    return Geolocation(line, pixel, np.asarray(lat), np.asarray(lon), np.zeros_like(u))


PLACES = {
    "mid": (75.0, 20.0, NORTH),
    "pole": (90.0, 0.0, NORTH),
    "near the pole": (88.9, 120.0, NORTH),
    "antimeridian": (72.0, 180.0, NORTH),
    "antimeridian, off centre": (72.0, -178.5, NORTH),
    "south": (-70.0, 170.0, SOUTH),
    "south pole": (-90.0, 0.0, SOUTH),
}


@settings(max_examples=60, deadline=None)
@given(
    place=st.sampled_from(sorted(PLACES)),
    line=st.floats(0, 10000),
    pixel=st.floats(0, 10000),
    heading=st.sampled_from([0.0, 30.0, 170.0]),
)
def test_round_trip_anywhere(place: str, line: float, pixel: float, heading: float) -> None:
    latitude, longitude, crs = PLACES[place]
    geo = around(latitude, longitude, heading)
    back = geo.line_pixel(*geo.xy(line, pixel, crs), crs)
    assert abs(back[0] - line) < 1e-3
    assert abs(back[1] - pixel) < 1e-3


@pytest.mark.parametrize("place", sorted(PLACES))
def test_interpolation_between_tie_points_is_right_to_a_metre_or_so(place: str) -> None:
    """Independent truth: the azimuthal map in which the swath is straight."""
    latitude, longitude, _ = PLACES[place]
    geo = around(latitude, longitude)
    line, pixel = np.meshgrid(np.arange(130, 10000, 707.0), np.arange(55, 10000, 811.0), indexing="ij")
    lon, lat = geo.lonlat(line, pixel)
    dense = around(latitude, longitude)
    local = CRS.from_proj4(f"+proj=aeqd +lat_0={latitude} +lon_0={longitude} +datum=WGS84")
    v, u = (line - 5000) * 40.0, (pixel - 5000) * 40.0
    c, s = np.cos(np.radians(30)), np.sin(np.radians(30))
    to = Transformer.from_crs(local, CRS.from_epsg(4326), always_xy=True)
    true_lon, true_lat = to.transform(u * c - v * s, u * s + v * c)
    _, _, distance = Geod(ellps="WGS84").inv(lon, lat, true_lon, true_lat)
    assert np.max(distance) < 2.0
    assert dense.polar_crs() == ("EPSG:3413" if latitude > 0 else "EPSG:3031")


def test_real_tie_points_over_sea_are_met_exactly(ew_metadata: Product, real: Geolocation) -> None:
    ties = ew_metadata.bands[0].annotation.ties
    sea = np.abs(ties.height) < 0.5
    lon, lat = real.lonlat(ties.line[:, None], ties.pixel[None, :])
    _, _, distance = Geod(ellps="WGS84").inv(lon, lat, ties.longitude, ties.latitude)
    assert sea.sum() > 400
    assert np.max(distance[sea]) < 2.0  # half a metre of height, at 19 degrees, moves a point by 1.5 m


def test_left_out_tie_points_of_the_real_product(real: Geolocation) -> None:
    every_second = Geolocation(
        *(a[::2] for a in (real.line, real.pixel)), *(a[::2, ::2] for a in (real.latitude, real.longitude, real.height))
    )
    line, pixel = np.meshgrid(real.line[1::2], real.pixel[1::2], indexing="ij")
    (x0, y0), (x1, y1) = real.xy(line, pixel, NORTH), every_second.xy(line, pixel, NORTH)
    assert np.sqrt(np.mean((x1 - x0) ** 2 + (y1 - y0) ** 2)) < 40.0  # one pixel


def test_land_height_does_not_pull_the_sea_along(ew_metadata: Product) -> None:
    """Reduced to sea level, the surface is smooth where raw tie points carry half a kilometre of ice cap."""
    ties = ew_metadata.bands[0].annotation.ties
    raw = Geolocation(ties.line, ties.pixel, ties.latitude, ties.longitude, ties.height)
    level = Geolocation.of_ties(ties)

    def roughness(geo: Geolocation) -> float:
        x, y = geo.xy(geo.line[:, None], geo.pixel[None, :], NORTH)
        return float(np.abs(np.diff(x, n=3, axis=1)).max() + np.abs(np.diff(y, n=3, axis=1)).max())

    assert roughness(level) < 0.35 * roughness(raw)


def test_outside_is_nan(real: Geolocation) -> None:
    x, y = real.xy(np.array([5000.0]), np.array([5000.0]), NORTH)
    line, pixel = real.line_pixel(x + 2e6, y, NORTH)
    assert np.isnan(line).all()
    assert np.isnan(pixel).all()


def test_projection_that_tears_the_scene_is_refused() -> None:
    with pytest.raises(OptionError, match=r"seam.*EPSG:3413"):
        around(72.0, 180.0).line_pixel(np.zeros(1), np.zeros(1), CRS.from_epsg(3395))


def test_footprint_is_closed_and_counts_round(real: Geolocation) -> None:
    ring = real.footprint()
    assert ring[0] == ring[-1]
    assert len(ring) > 30
