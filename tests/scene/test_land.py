"""Land: known places, distances against brute force, and the real coast in a real quick-look."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from pyproj import Transformer
from scipy.spatial import cKDTree

from frazil.scene.geolocation import Geolocation
from frazil.scene.grid import MapGrid
from frazil.scene.land import _lonlat, coast_distance, land_mask, land_on
from frazil.sentinel1.product import Product

KNOWN = [  # longitude, latitude, land?
    (15.6, 78.2, True),  # Longyearbyen
    (-40.0, 75.0, True),  # Greenland
    (0.0, -85.0, True),  # Antarctica
    (179.5, 71.1, True),  # Wrangel Island
    (-180.5, 71.1, True),  # the same, longitude below −180
    (0.0, 90.0, False),  # North Pole
    (0.0, 80.0, False),
    (-150.0, 75.0, False),  # Beaufort Sea
    (85.0, 78.3, False),  # Kara Sea
]


@pytest.mark.parametrize(("longitude", "latitude", "land"), KNOWN)
def test_known_places(longitude: float, latitude: float, land: bool) -> None:
    assert bool(land_mask(np.array(longitude), np.array(latitude))) is land


def test_longitudes_wrap_and_nan_is_sea() -> None:
    lon = np.array([-190.0, 170.0, 530.0, np.nan])
    lat = np.array([66.5, 66.5, 66.5, 66.5])  # Chukotka
    assert land_mask(lon, lat).tolist() == [True, True, True, False]


def test_distance_against_brute_force() -> None:
    rng = np.random.default_rng(0)
    land = rng.random((60, 70)) < 0.01
    distance = coast_distance(land, 240.0)
    at = np.argwhere(land)
    every = np.argwhere(np.ones_like(land))
    expected, _ = cKDTree(at).query(every)
    np.testing.assert_allclose(distance.ravel(), expected * 240.0, rtol=1e-5)
    assert np.isinf(coast_distance(np.zeros((5, 5), bool), 1.0)).all()


def test_grid_around_svalbard_keeps_land_outside_in_mind() -> None:
    """A window of open water: its distance to the coast comes from land that is not in it."""
    grid = MapGrid(crs="EPSG:32633", left=500_000, top=8_700_000, spacing_m=120.0, shape=(500, 500))
    land, distance = land_on(grid)
    assert land.shape == distance.shape == grid.shape
    assert (distance[land] == 0).all()
    assert 0.3 < land.mean() < 1.0
    rows, columns = np.nonzero(~land)
    sea = grid.crs, rows[0], columns[0]
    small = MapGrid(crs=sea[0], left=grid.x[sea[2]] - 60, top=grid.y[sea[1]] + 60, spacing_m=120.0, shape=(2, 2))
    _, near = land_on(small)
    assert near[0, 0] == pytest.approx(distance[sea[1], sea[2]], abs=500.0)


def test_coast_meets_the_bright_ice_caps_of_the_real_quick_look(ew_metadata: Product) -> None:
    """Severnaya Zemlya's glaciers saturate both channels of ESA's quick-look: nearly all of that is land here."""
    from PIL import Image

    image = np.asarray(Image.open(BytesIO(ew_metadata.read("preview/quick-look.png")))).astype(int)
    glacier = (image[..., 0] > 200) & (image[..., 1] > 240)
    annotation = ew_metadata.bands[0].annotation
    line = (np.arange(image.shape[0]) + 0.5) / image.shape[0] * annotation.n_lines
    pixel = (np.arange(image.shape[1]) + 0.5) / image.shape[1] * annotation.n_pixels
    lon, lat = Geolocation.of_ties(annotation.ties).lonlat(line[:, None], pixel[None, :])
    land = land_mask(lon, lat)
    # Ushakov Island, on the far side, stands 10 km off in GSHHG.
    west = slice(0, 450)
    assert glacier[:, west].sum() > 5000
    assert land[:, west][glacier[:, west]].mean() > 0.98
    shifted = np.roll(land, 25, axis=0)
    assert shifted[:, west][glacier[:, west]].mean() < 0.93  # the test can tell 20 km


@pytest.mark.parametrize(
    ("crs", "left", "top", "spacing_m"),
    [
        ("EPSG:3413", -15e3, 12e3, 120.0),  # over the pole
        ("EPSG:3413", 5e5, -8e5, 240.0),
        ("EPSG:3031", 1.7e6, 1.7e6, 120.0),
        ("EPSG:32601", 2.5e5, 7.9e6, 100.0),  # over the antimeridian
        ("EPSG:3413", -3e6, 3e6, 5000.0),
    ],
)
def test_positions_between_nodes_are_those_of_proj(crs: str, left: float, top: float, spacing_m: float) -> None:
    grid = MapGrid(crs=crs, left=left, top=top, spacing_m=spacing_m, shape=(301, 247))
    found = np.radians(_lonlat(grid, grid.x, grid.y))
    to_lonlat = Transformer.from_crs(grid.pyproj_crs, "EPSG:4326", always_xy=True)
    true = np.radians(to_lonlat.transform(*np.meshgrid(grid.x, grid.y)))

    def directions(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
        return np.stack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)])

    apart = 6.371e6 * np.linalg.norm(directions(*found) - directions(*true), axis=0)
    assert apart.max() < 0.1  # metres
