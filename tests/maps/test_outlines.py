"""Outlines of class rasters: against connected components of scipy, coverages of GEOS, and sums pixel by pixel."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from frazil.maps.outlines import Outlines, bands

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))
#: Few codes on few pixels: patches inside patches, and corners where four of them meet.
RASTERS = SHAPES.flatmap(
    lambda shape: st.tuples(arrays(np.uint8, shape, elements=st.integers(0, 2)), arrays(bool, shape))
)


def components(codes: np.ndarray, sea: np.ndarray) -> set[tuple[int, frozenset[tuple[int, int]]]]:
    """Patches that hang together by pixel sides: code and pixels of each, by scipy."""
    found = set()
    for code in np.unique(codes[sea]):
        label, n = ndimage.label(sea & (codes == code))
        for k in range(1, n + 1):
            found.add((int(code), frozenset(zip(*map(np.ndarray.tolist, np.nonzero(label == k)), strict=True))))
    return found


def pixels_in(polygon: shapely.Polygon, shape: tuple[int, int]) -> frozenset[tuple[int, int]]:
    """Pixels whose centre lies inside, by GEOS."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    inside = shapely.contains_xy(polygon, columns.ravel() + 0.5, rows.ravel() + 0.5).reshape(shape)
    return frozenset(zip(*map(np.ndarray.tolist, np.nonzero(inside)), strict=True))


def summed(polygon: shapely.Polygon, raster: np.ndarray) -> Fraction:
    """The sum over the pixels inside, exact."""
    return sum((Fraction(float(raster[p])) for p in pixels_in(polygon, raster.shape)), Fraction(0))


@settings(max_examples=150, deadline=None)
@given(RASTERS)
def test_every_patch_has_one_polygon_that_holds_its_pixels_and_no_others(made: tuple[np.ndarray, np.ndarray]) -> None:
    codes, sea = made
    outlines = Outlines.of(codes, sea)
    polygons = outlines.polygons()
    found = {(int(c), pixels_in(p, codes.shape)) for c, p in zip(outlines.codes, polygons, strict=True)}
    assert len(polygons) == len(found)
    assert found == components(codes, sea)


@settings(max_examples=150, deadline=None)
@given(RASTERS)
def test_polygons_are_valid_and_a_coverage_without_gaps_or_overlaps(made: tuple[np.ndarray, np.ndarray]) -> None:
    codes, sea = made
    polygons = Outlines.of(codes, sea).polygons()
    assert shapely.is_valid(polygons).all()
    assert shapely.coverage_is_valid(polygons)
    assert shapely.area(polygons).sum() == sea.sum()
    assert shapely.area(shapely.union_all(polygons)) == sea.sum()


@settings(max_examples=60, deadline=None)
@given(RASTERS)
def test_rings_are_closed_of_upright_and_level_sides_and_outer_ones_come_first(
    made: tuple[np.ndarray, np.ndarray],
) -> None:
    outlines = Outlines.of(*made)
    assert outlines.rings[0] == outlines.parts[0] == 0
    assert outlines.rings[-1] == len(outlines.corners)
    assert outlines.parts[-1] == len(outlines.rings) - 1
    for first, last in zip(outlines.parts[:-1], outlines.parts[1:], strict=True):
        area = []
        for k in range(first, last):
            ring = outlines.corners[outlines.rings[k] : outlines.rings[k + 1]]
            assert (ring[0] == ring[-1]).all()
            assert ((np.diff(ring, axis=0) == 0).sum(axis=1) == 1).all()
            area.append(shapely.area(shapely.Polygon(ring)))
        assert area[0] == max(area)
        assert area[0] > sum(area[1:])


@settings(max_examples=80, deadline=None)
@given(RASTERS, st.integers(0, 2**32 - 1))
def test_sums_are_those_of_the_pixels_inside(made: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    codes, sea = made
    rng = np.random.default_rng(seed)
    whole, real = rng.integers(0, 256, codes.shape).astype(np.uint8), rng.gamma(0.3, 50.0, codes.shape)
    outlines = Outlines.of(codes, sea)
    polygons = outlines.polygons()
    sums = outlines.sums(lambda rows: (whole[rows], real[rows]), codes.shape)
    assert sums.shape == (2, len(polygons)) or not sea.any()
    for k, polygon in enumerate(polygons):
        assert sums[0, k] == summed(polygon, whole)
        # Sums from the corner of the raster are subtracted from each other: the error is that of the whole sum.
        assert sums[1, k] == pytest.approx(float(summed(polygon, real)), abs=1e-12 * real.sum())


def test_sums_pass_from_one_band_of_rows_to_the_next() -> None:
    """Taller than two bands, with patches across the seams, against a raster of polygon numbers."""
    rng = np.random.default_rng(3)
    codes = (ndimage.gaussian_filter(rng.normal(size=(300, 70)), 3) > 0).astype(np.uint8)
    sea = ndimage.gaussian_filter(rng.normal(size=codes.shape), 6) > -0.02
    values = rng.integers(0, 101, codes.shape).astype(np.uint8)
    outlines = Outlines.of(codes, sea)
    read: list[slice] = []

    def rows_of(rows: slice) -> tuple[np.ndarray, ...]:
        read.append(rows)
        return values[rows], np.ones(values[rows].shape, bool)

    total, count = outlines.sums(rows_of, codes.shape)
    wanted = []
    for code in (0, 1):
        label, n = ndimage.label(sea & (codes == code))
        at = np.arange(1, n + 1)
        wanted += list(zip([code] * n, ndimage.sum(values, label, at), ndimage.sum(label > 0, label, at), strict=True))
    assert sorted(zip(outlines.codes, total, count, strict=True)) == sorted(wanted)
    assert [(r.start, r.stop) for r in read] == [(r.start, r.stop) for r in bands(300)]


@settings(deadline=None)
@given(st.integers(0, 2000))
def test_bands_hold_every_row_once(rows: int) -> None:
    assert [r for band in bands(rows) for r in range(rows)[band]] == list(range(rows))


@pytest.mark.parametrize(
    ("picture", "holes"),
    [
        ("111 101 111", [1, 0]),  # a lake
        ("1111 1011 1101 1111", [0, 0, 2]),  # two lakes that touch at a corner
        ("0111 1011 1111", [0, 0, 1]),  # a lake that touches the outer ring at a corner
        ("11111 10001 10101 10001 11111", [0, 1, 1]),  # an island in a lake
        ("10 01", [0, 0, 0, 0]),  # four patches around one corner
    ],
)
def test_corners_where_patches_touch_are_told_apart(picture: str, holes: list[int]) -> None:
    codes = np.array([list(map(int, row)) for row in picture.split()], np.uint8)
    polygons = Outlines.of(codes, np.ones(codes.shape, bool)).polygons()
    assert shapely.is_valid(polygons).all()
    assert sorted(len(p.interiors) for p in polygons) == sorted(holes)
    assert shapely.coverage_is_valid(polygons)


def test_a_corner_of_a_neighbour_is_a_corner_of_a_long_side() -> None:
    codes = np.array([[0, 0, 0, 0], [1, 1, 2, 2]], np.uint8)
    outlines = Outlines.of(codes, np.ones(codes.shape, bool))
    long = outlines.corners[outlines.rings[0] : outlines.rings[1]].tolist()
    assert outlines.codes[0] == 0
    assert [2, 1] in long


def test_nothing_at_sea_has_no_outline() -> None:
    outlines = Outlines.of(np.zeros((4, 5), np.uint8), np.zeros((4, 5), bool))
    assert len(outlines.codes) == len(outlines.polygons()) == 0
    assert outlines.sums(lambda rows: (np.ones((4, 5))[rows],), (4, 5)).shape[1] == 0


def test_codes_of_land_and_nodata_have_outlines_like_any_other() -> None:
    codes = np.array([[254, 255], [253, 0]], np.uint8)
    outlines = Outlines.of(codes, np.ones(codes.shape, bool))
    assert sorted(outlines.codes.tolist()) == [0, 253, 254, 255]


def test_a_wide_raster_loses_no_pixel_to_rounding() -> None:
    """Sums of bytes over 40 million pixels exceed what float32 counts, and corners what 16 bits do."""
    shape = (200, 70_000)
    codes = np.zeros(shape, np.uint8)
    codes[:, 69_999] = 1
    codes[100, 1:69_000] = 2
    outlines = Outlines.of(codes, np.ones(shape, bool))
    (sums,) = outlines.sums(lambda rows: (np.full((rows.stop - rows.start, shape[1]), 255, np.uint8),), shape)
    found = dict(zip(outlines.codes.tolist(), sums.tolist(), strict=True))
    assert found == {0: 255 * (200 * 69_999 - 68_999), 1: 255 * 200, 2: 255 * 68_999}
