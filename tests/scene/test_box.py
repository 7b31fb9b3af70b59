"""Boxes of longitude and latitude on map grids, against every pixel asked one by one."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import Transformer

from frazil.errors import OptionError
from frazil.scene.box import Box
from frazil.scene.grid import MapGrid

ROUND_THE_POLE = MapGrid(crs="EPSG:3413", left=-600_000, top=500_000, spacing_m=10_000, shape=(90, 130))
AT_180 = MapGrid(crs="EPSG:3413", left=-2_000_000, top=1_600_000, spacing_m=5_000, shape=(150, 120))
ANTARCTIC = MapGrid(crs="EPSG:3031", left=-800_000, top=1_500_000, spacing_m=10_000, shape=(80, 70))
BALTIC = MapGrid(crs="EPSG:32634", left=250_000, top=7_300_000, spacing_m=2_000, shape=(150, 110))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("1,2,3", "WEST,SOUTH,EAST,NORTH"),
        ("a,b,c,d", "'a,b,c,d' is not WEST,SOUTH"),
        ("", "WEST,SOUTH"),
        ("10,75,20,nan", "WEST,SOUTH"),
        ("10,75,20,inf", "WEST,SOUTH"),
        ("10,75,20,70", "south must lie below north"),
        ("10,75,20,75", "south must lie below north"),
        ("10,75,10,80", "no width"),
        ("10,75,20,91", "latitudes"),
        ("400,75,410,80", "WEST,SOUTH"),
        ("-200,75,200,80", "WEST,SOUTH"),
        ((1, 2), "WEST,SOUTH"),
        ((1, 2, None, 3), "WEST,SOUTH"),
        (5, "WEST,SOUTH"),
    ],
)
def test_what_is_no_box(given: object, words: str) -> None:
    with pytest.raises(OptionError, match=words) as raised:
        Box.of(given)  # type: ignore[arg-type] # that is the point
    assert "\n" not in str(raised.value)


def test_across_180() -> None:
    box = Box.of("170,70,-170,75")
    assert box.width == 20
    np.testing.assert_array_equal(
        box.holds(np.array([175, -175, 185, 0, 160, np.nan]), np.full(6, 72.0)), [True, True, True, False, False, False]
    )
    assert Box.of((-180, 60, 180, 90)).holds(np.array([0, 180, -180, 77]), np.full(4, 80.0)).all()
    assert Box.of((170, 70, 190, 75)).holds(np.array([-175.0]), np.array([72.0])).all()


def test_wider() -> None:
    box = Box(179.0, 79.0, -179.0, 80.0).wider(100)
    assert box.south < 78.2
    assert box.north > 80.8
    assert box.holds(np.array([174.0, -174.0]), np.array([79.5, 79.5])).all()
    assert not box.holds(np.array([160.0]), np.array([79.5])).any()
    assert Box(0, 85, 10, 89.5).wider(100).width == 360


@pytest.mark.parametrize("grid", [ROUND_THE_POLE, AT_180, ANTARCTIC, BALTIC])
def test_a_part_holds_the_box_and_no_row_too_many(grid: MapGrid) -> None:
    """Against brute force: the box holds places of the first and last row and column, and none beyond them."""
    rng, met = np.random.default_rng(3), 0
    fine = 8  # places along a side of a pixel
    x, y = (
        start + np.arange(n * fine + 1) * step / fine
        for start, n, step in (
            (grid.left, grid.shape[1], grid.spacing_m),
            (grid.top, grid.shape[0], -grid.spacing_m),
        )
    )
    lon, lat = Transformer.from_crs(grid.crs, 4326, always_xy=True).transform(*np.meshgrid(x, y))
    for _ in range(40):
        k = tuple(rng.integers(n) for n in lon.shape)
        size = 10 ** rng.uniform(-0.3, 1.7)
        west, south = lon[k] - rng.uniform(0, 1) * size, max(lat[k] - rng.uniform(0, 0.3) * size, -90)
        box = Box(west, south, (west + size + 180) % 360 - 180, min(south + 0.4 * size, 90.0))
        found, held = box.on(grid), box.holds(lon, lat)
        if found is None:
            assert not held.any()
            continue
        met += 1
        for s, axis in zip(found, (1, 0), strict=True):
            any_held = np.flatnonzero(held.any(axis=axis))
            if not any_held.size:
                continue
            first, last = any_held[0], any_held[-1]  # nothing outside …
            assert s.start * fine <= first
            assert last <= s.stop * fine
            # … and no pixel more than the box touches, as far as places an eighth of a pixel apart can tell
            assert s.start * fine > first - fine - 2
            assert s.stop * fine < last + fine + 2
    assert met > 20


def test_the_whole_world_is_the_whole_grid() -> None:
    for grid in (ROUND_THE_POLE, AT_180, ANTARCTIC, BALTIC):
        assert Box(-180, -90, 180, 90).on(grid) == (slice(0, grid.shape[0]), slice(0, grid.shape[1]))
        assert Box(-180, -1, 180, 1).on(grid) is None
    assert Box(-159.0, -70.0, -157.0, -60.0).on(BALTIC) is None  # the other side of the Earth


def test_pieces_fit_together() -> None:
    rows, columns = Box(15, 62, 20, 64).on(BALTIC) or (None, None)
    assert rows is not None
    assert columns is not None
    part = BALTIC.part(rows, columns)
    np.testing.assert_array_equal(part.x, BALTIC.x[columns])
    np.testing.assert_array_equal(part.y, BALTIC.y[rows])
