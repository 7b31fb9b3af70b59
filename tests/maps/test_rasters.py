"""References on grids of their own, brought onto maps: against exact positions, one pixel after the other in float64.

The field of most tests is its own coordinate, so that a wrong place shows as a wrong number.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from pyproj import CRS, Transformer

from frazil.maps.rasters import Raster, RasterReference, Resampling
from frazil.scene.grid import MapGrid
from frazil.testing import make_map

WATER, ICE, LAND, UNTOLD = 0, 1, 254, 255


def reference(raster: Raster, resampling: Resampling = "bilinear", threshold: float = 15.0) -> RasterReference:
    return RasterReference(
        name="made up",
        kind="concentration",
        time=None,
        says="",
        raster=raster,
        threshold_percent=threshold,
        resampling=resampling,
    )


def places(raster: Raster, like: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every pixel of a map in a raster, 0 at the centre of its first cell: PROJ alone, float64."""
    grid = MapGrid.of(like)
    x, y = np.meshgrid(like.x.values, like.y.values)
    u, v = Transformer.from_crs(grid.pyproj_crs, raster.crs, always_xy=True).transform(x, y)
    corners = [raster.transform @ (c, 0) for c in (0, raster.values.shape[1])]
    if raster.crs.is_geographic:
        west = min(c[0] for c in corners)
        u = np.where(u < west, u + 360 * np.ceil((west - u) / 360), u)
        u = np.where(u >= west + 360, u - 360, u)
    inverse = ~raster.transform
    at = [inverse @ (a, b) for a, b in zip(u.ravel(), v.ravel(), strict=True)]
    column, row = np.array(at).T.reshape(2, *x.shape)
    return row - 0.5, column - 0.5


def bilinear(values: np.ndarray, row: float, column: float) -> float:
    """One value: the four neighbours that are there, by their weights; NaN where the nearest one is missing."""
    n, m = values.shape
    i, j = int(np.floor(row + 0.5)), int(np.floor(column + 0.5))
    if not (0 <= i < n and 0 <= j < m) or np.isnan(values[i, j]):
        return np.nan
    total = weight = 0.0
    for a in (int(np.floor(row)), int(np.floor(row)) + 1):
        for b in (int(np.floor(column)), int(np.floor(column)) + 1):
            w = (1 - abs(row - a)) * (1 - abs(column - b))
            if 0 <= a < n and 0 <= b < m and not np.isnan(values[a, b]):
                total, weight = total + w * float(values[a, b]), weight + w
    return total / weight


def exact(raster: Raster, like: xr.Dataset) -> np.ndarray:
    row, column = places(raster, like)
    return np.array(
        [[bilinear(raster.values, r, c) for r, c in zip(*rc, strict=True)] for rc in zip(row, column, strict=True)]
    )


def near_a_border(raster: Raster, like: xr.Dataset, cells: float = 0.01) -> np.ndarray:
    """Pixels about as near to one cell as to the next, whose nearest cell is a matter of millimetres."""
    row, column = places(raster, like)
    return (np.abs((row + 0.5) % 1 - 0.5) > 0.5 - cells) | (np.abs((column + 0.5) % 1 - 0.5) > 0.5 - cells)


def around(like: xr.Dataset, crs: str, cell: float, *, kind: str = "ramp") -> Raster:
    """A raster that covers a map well, in another CRS: a slope along both axes between 0 and 100 percent."""
    grid = MapGrid.of(like)
    x, y = np.meshgrid(like.x.values, like.y.values)
    u, v = Transformer.from_crs(grid.pyproj_crs, crs, always_xy=True).transform(x, y)
    n, m = int((v.max() - v.min()) / cell) + 7, int((u.max() - u.min()) / cell) + 7
    transform = Affine(cell, 0, u.min() - 3 * cell, 0, -cell, v.max() + 3 * cell)
    i, j = np.mgrid[:n, :m]
    values = 100 * (i / (n - 1) + 2 * j / (m - 1)) / 3
    if kind == "holes":
        values[np.random.default_rng(1).random(values.shape) < 0.3] = np.nan
    return Raster(crs=CRS.from_user_input(crs), transform=transform, values=values.astype(np.float32))


SCENES = {
    "far north": {"crs": "EPSG:3413", "centre": (-10.0, 82.0)},
    "utm": {"crs": "EPSG:32633", "centre": (15.0, 78.0)},
    "south": {"crs": "EPSG:3031", "centre": (170.0, -75.0)},
    "the pole": {"crs": "EPSG:3413", "centre": (0.0, 90.0)},
    "antimeridian": {"crs": "EPSG:3413", "centre": (180.0, 72.0)},
}


def made(scene: str, *, shape: tuple[int, int] = (60, 70), spacing_m: float = 1000.0) -> xr.Dataset:
    return make_map(shape=shape, spacing_m=spacing_m, border=False, land=0.0, **SCENES[scene])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scene", "crs", "cell"),
    [
        ("far north", "EPSG:6931", 10_000.0),
        ("far north", "EPSG:32633", 3125.0),
        ("utm", "EPSG:3413", 6250.0),
        ("south", "EPSG:6932", 12_500.0),
        ("the pole", "EPSG:6931", 10_000.0),
        ("antimeridian", "EPSG:3571", 25_000.0),
        ("utm", "EPSG:4326", 0.1),
        ("south", "EPSG:4326", 0.25),
    ],
)
@pytest.mark.parametrize("kind", ["ramp", "holes"])
def test_concentration_is_that_of_the_exact_place(scene: str, crs: str, cell: float, kind: str) -> None:
    like = made(scene)
    raster = around(like, crs, cell, kind=kind)
    got, want = reference(raster).concentration_on(like), exact(raster, like)
    sure = ~near_a_border(raster, like)
    assert sure.mean() > 0.9
    assert (np.isnan(got) == np.isnan(want))[sure].all()
    assert np.isnan(got).any() == (kind == "holes")
    np.testing.assert_allclose(got[sure], want[sure], rtol=0, atol=0.02)


@pytest.mark.parametrize("spacing_m", [40.0, 120.0, 1000.0])
@pytest.mark.parametrize("scene", ["far north", "utm", "the pole"])
def test_no_pixel_is_more_than_two_metres_out_of_place(scene: str, spacing_m: float) -> None:
    """Columns of the raster as its values: their differences from the exact ones are metres. Cells of 1 km."""
    like = made(scene, shape=(130, 150), spacing_m=spacing_m)
    raster = around(like, "EPSG:6931", 1000.0)
    m = raster.values.shape[1]
    slope = np.broadcast_to(np.linspace(0, 100, m, dtype=np.float32), raster.values.shape)
    got = reference(replace(raster, values=np.ascontiguousarray(slope))).concentration_on(like).astype(float)
    apart = got * (m - 1) / 100 - places(raster, like)[1]
    assert np.abs(apart).max() * 1000.0 < 2.0


@pytest.mark.parametrize("west", [-180.0, 0.0, -30.0])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", [(60, 70), (61, 71)])
def test_longitudes_are_found_however_they_are_counted(west: float, reverse: bool, shape: tuple[int, int]) -> None:
    """Round the pole, which lies on a pixel or between four: whatever the first longitude is, none is left out, not
    even the first one itself, and where the last column meets the first there is no step.
    """
    like = made("the pole", shape=shape, spacing_m=20_000.0)
    step = 0.5
    lon = west + step * (np.arange(720) + 0.5)
    values = np.broadcast_to(50 + 50 * np.cos(np.deg2rad(lon - 20)), (140, 720)).astype(np.float32)
    transform = Affine(step, 0, west, 0, -step, 90)
    if reverse:
        values, transform = values[:, ::-1].copy(), Affine(-step, 0, west + 360, 0, -step, 90)
    raster = Raster(crs=CRS.from_epsg(4326), transform=transform, values=values)
    x, y = np.meshgrid(like.x.values, like.y.values)
    there, _ = Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True).transform(x, y)
    want = 50 + 50 * np.cos(np.deg2rad(there - 20))
    for resampling in ("bilinear", "nearest"):
        got = reference(raster, resampling).concentration_on(like)  # type: ignore[arg-type]
        assert np.isfinite(got).all()
        away = np.hypot(x, y) > 1000.0  # the pole has no longitude
        assert np.abs(got - want)[away].max() < (0.01 if resampling == "bilinear" else 50 * np.deg2rad(step) / 2)
        land = np.zeros(values.shape, bool)
        assert (reference(replace(raster, land=land), resampling).on(like) != UNTOLD).all()  # type: ignore[arg-type]


def test_a_tall_map_has_no_seam_where_one_band_of_rows_ends() -> None:
    like = made("utm", shape=(1100, 12), spacing_m=100.0)
    raster = around(like, "EPSG:4326", 0.05)
    got = reference(raster).concentration_on(like)
    np.testing.assert_allclose(got, exact(raster, like), rtol=0, atol=0.02)


def flipped(raster: Raster) -> Raster:
    """The first row in the south."""
    n = raster.values.shape[0]
    return replace(raster, values=raster.values[::-1].copy(), transform=raster.transform @ Affine(1, 0, 0, 0, -1, n))


def turned(raster: Raster, degrees: float) -> Raster:
    """Cells that stand askew."""
    middle = raster.transform @ (raster.values.shape[1] / 2, raster.values.shape[0] / 2)
    return replace(raster, transform=Affine.rotation(degrees, pivot=middle) @ raster.transform)


@pytest.mark.parametrize(
    "change",
    [
        flipped,
        lambda r: turned(r, 30.0),
        lambda r: turned(r, 200.0),
    ],
    ids=["south up", "askew", "upside down"],
)
def test_rasters_in_any_orientation_are_read_alike(change) -> None:  # type: ignore[no-untyped-def]
    like = made("far north")
    raster = change(around(like, "EPSG:6931", 5000.0))
    got, want = reference(raster).concentration_on(like), exact(raster, like)
    sure = ~near_a_border(raster, like)
    assert (np.isnan(got) == np.isnan(want))[sure].all()
    assert np.isfinite(got).mean() > 0.5
    np.testing.assert_allclose(got[sure], want[sure], rtol=0, atol=0.03)


@pytest.mark.parametrize("crs", ["EPSG:6931", "EPSG:4326"])
def test_codes_are_those_of_the_nearest_cell_and_never_between(crs: str) -> None:
    like = made("far north")
    raster = around(like, crs, 10_000.0 if crs == "EPSG:6931" else 0.1)
    rng = np.random.default_rng(3)
    codes = rng.choice(np.array([WATER, ICE, LAND, UNTOLD], np.uint8), raster.values.shape)
    raster = replace(raster, values=codes)
    row, column = places(raster, like)
    sure = ~near_a_border(raster, like)
    want = codes[np.rint(row).astype(int), np.rint(column).astype(int)]
    got = reference(raster).on(like)
    assert (got == want)[sure].all()
    percent = reference(raster).concentration_on(like)
    table = {WATER: 0.0, ICE: 100.0, LAND: np.nan, UNTOLD: np.nan}
    np.testing.assert_array_equal(percent[sure], np.vectorize(table.get)(want[sure]))


@pytest.mark.parametrize("resampling", ["bilinear", "nearest"])
def test_ice_begins_at_the_threshold_itself(resampling: Resampling) -> None:
    """A field of exactly 15 percent is ice at a threshold of 15, in spite of weights that add up to nearly 1."""
    like = made("far north")
    raster = around(like, "EPSG:6931", 7000.0)
    for value, code in ((15.0, ICE), (14.99, WATER)):
        flat = replace(raster, values=np.full(raster.values.shape, value, np.float32))
        assert (reference(flat, resampling).on(like) == code).all()


@pytest.mark.parametrize("resampling", ["bilinear", "nearest"])
def test_classes_are_the_concentration_against_the_threshold(resampling: Resampling) -> None:
    like = made("utm")
    raster = around(like, "EPSG:3413", 6250.0, kind="holes")
    found = reference(raster, resampling, threshold=40.0)
    percent, codes = found.concentration_on(like), found.on(like)
    clear = np.abs(percent - 40) > 1e-3
    assert set(np.unique(codes)) == {WATER, ICE, UNTOLD}
    assert ((codes == UNTOLD) == np.isnan(percent)).all()
    assert ((codes == ICE) == (percent > 40))[clear & np.isfinite(percent)].all()


def test_land_of_the_reference_wins_over_its_concentration() -> None:
    like = made("far north")
    raster = around(like, "EPSG:6931", 10_000.0)
    land = np.random.default_rng(2).random(raster.values.shape) < 0.4
    raster = replace(raster, land=land)
    row, column = places(raster, like)
    sure = ~near_a_border(raster, like)
    want = land[np.rint(row).astype(int), np.rint(column).astype(int)]
    assert ((reference(raster).on(like) == LAND) == want)[sure].all()
    assert (np.isnan(reference(raster).concentration_on(like)) == want)[sure].all()


def test_what_lies_beyond_the_raster_is_not_told() -> None:
    like = made("far north")
    raster = around(like, "EPSG:6931", 5000.0)
    n, m = raster.values.shape
    part = replace(raster, values=raster.values[: n // 2, : m // 2].copy())
    row, column = places(part, like)
    inside = (row > -0.5) & (row < n // 2 - 0.5) & (column > -0.5) & (column < m // 2 - 0.5)
    sure = ~near_a_border(part, like)
    assert 0.05 < inside.mean() < 0.6
    assert ((reference(part).on(like) != UNTOLD) == inside)[sure].all()
    assert (np.isfinite(reference(part).concentration_on(like)) == inside)[sure].all()


def test_a_raster_of_the_other_hemisphere_tells_nothing() -> None:
    south = around(made("south"), "EPSG:6932", 10_000.0)
    like = made("far north")
    assert (reference(south).on(like) == UNTOLD).all()
    assert np.isnan(reference(south).concentration_on(like)).all()


def test_a_map_as_reference_onto_itself_is_itself() -> None:
    like = make_map(shape=(50, 60))
    grid = MapGrid.of(like)
    percent = Raster(crs=grid.pyproj_crs, transform=grid.transform, values=like["ice_probability"].values)
    codes = Raster(
        crs=grid.pyproj_crs, transform=grid.transform, values=(like["ice_class"].values == 0).astype(np.uint8)
    )
    found = replace(reference(codes), percent=percent)
    stored = like["ice_probability"].values.astype(float)
    np.testing.assert_allclose(found.concentration_on(like), np.where(stored == 255, np.nan, stored), atol=1e-3)
    assert (found.on(like) == codes.values).all()
