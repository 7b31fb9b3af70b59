"""Tiles: what a browser would decode, against the arrays they are painted from."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from frazil.conventions import CLASS_LAND, CLASS_NODATA, FIVE_CLASSES, LAND_COLOUR, UNDECIDED, UNDECIDED_COLOUR
from frazil.desk.scenes import DeskScene
from frazil.desk.tiles import TILE, Pyramid, levels_of, paint_of_codes, paint_of_ramp, png
from frazil.errors import OptionError


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


@pytest.mark.parametrize(("longest", "n"), [(1, 1), (256, 1), (257, 2), (512, 2), (513, 3), (5500, 6)])
def test_the_coarsest_level_fits_into_a_tile(longest: int, n: int) -> None:
    assert levels_of((longest, 10)) == n
    pyramid = Pyramid.of(np.ones((longest, 10), np.uint8), n, average=False)
    assert max(pyramid.levels[-1].shape) <= TILE


def test_averages_leave_out_what_was_not_seen() -> None:
    plane = np.array([[10, 0, 4], [20, 0, 0], [7, 7, 0]], np.uint8)
    (_, half) = Pyramid.of(plane, 2, average=True).levels
    np.testing.assert_array_equal(half, [[15, 4], [7, 0]])


def test_tiles_beyond_the_plane_are_none_and_those_at_its_end_are_filled() -> None:
    plane = np.random.default_rng(0).integers(1, 255, (300, 520)).astype(np.uint8)
    pyramid = Pyramid.of(plane, levels_of(plane.shape), average=False)
    zoom = len(pyramid.levels) - 1
    block = pyramid.block(zoom, 2, 1)
    assert block is not None
    np.testing.assert_array_equal(block[:44, :8], plane[256:, 512:])
    assert not block[44:].any()
    assert not block[:, 8:].any()
    for at in ((zoom, 3, 0), (zoom, 0, 2), (zoom + 1, 0, 0), (-1, 0, 0), (zoom, -1, 0)):
        assert pyramid.block(*at) is None


def test_codes_have_their_colours_and_nodata_is_clear() -> None:
    codes = np.array([[0, 3, UNDECIDED], [CLASS_LAND, CLASS_NODATA, 4]], np.uint8)
    colours = {c.code: c.colour for c in FIVE_CLASSES.classes}
    paint = paint_of_codes({**colours, UNDECIDED: UNDECIDED_COLOUR, CLASS_LAND: LAND_COLOUR})
    picture = decoded(png(codes + np.uint8(1), paint))
    for place, colour in {
        (0, 0): colours[0],
        (0, 1): colours[3],
        (0, 2): UNDECIDED_COLOUR,
        (1, 0): LAND_COLOUR,
        (1, 2): colours[4],
    }.items():
        assert tuple(picture[place]) == (*colour, 255)
    assert picture[1, 1, 3] == 0


def test_a_ramp_runs_between_its_limits() -> None:
    picture = decoded(png(np.arange(256, dtype=np.uint8)[None], paint_of_ramp(((0, 0, 0), (255, 255, 255)), 51, 151)))
    assert picture[0, 0, 3] == 0
    np.testing.assert_array_equal(picture[0, 1:52, 0], 0)
    np.testing.assert_array_equal(picture[0, 151:, 0], 255)
    assert picture[0, 101, 0] == 128


def test_every_layer_of_a_scene_is_shown_as_the_map_has_it(scene: DeskScene) -> None:
    zoom, ice_map = scene.levels - 1, scene.now
    colours = {c.code: c.colour for c in scene.scheme.classes} | {UNDECIDED: UNDECIDED_COLOUR, CLASS_LAND: LAND_COLOUR}
    for layer in scene.layers:
        data = scene.tile(layer, zoom, 0, 0)
        assert data is not None
        assert decoded(data).shape == (TILE, TILE, 4)
    picture = decoded(scene.tile("class", zoom, 1, 1) or b"")
    codes = ice_map["ice_class"].values[256:512, 256:512]
    for y, x in [(0, 0), (5, 90), *np.argwhere(codes != CLASS_NODATA)[:: max(codes.size // 30, 1)]]:
        code = int(codes[y, x])
        if code == CLASS_NODATA:
            assert picture[y, x, 3] == 0
        else:
            assert tuple(picture[y, x]) == (*colours[code], 255)
    grey = decoded(scene.tile("HH", zoom, 0, 0, [(-20.0, -10.0)]) or b"")
    byte = ice_map["quicklook"].values[0, :TILE, :TILE].astype(float)
    expected = np.clip(((byte - 1) * 30 / 254 - 30 + 20) / 10, 0, 1) * 255
    seen = byte > 0
    np.testing.assert_allclose(grey[: seen.shape[0], : seen.shape[1], 0][seen], expected[seen], atol=1)
    with pytest.raises(OptionError, match="not one of"):
        scene.tile("../etc", zoom, 0, 0)


def test_colour_is_cross_and_like_polarised(scene: DeskScene) -> None:
    zoom = scene.levels - 1
    picture = decoded(scene.tile("rgb", zoom, 0, 0, [(-30.0, 0.0), (-35.0, -10.0)]) or b"").astype(float)
    hh, hv = (scene.now["quicklook"].values[k, :TILE, :TILE].astype(float) for k in (0, 1))
    seen = hv > 0
    part = picture[: seen.shape[0], : seen.shape[1]][seen]
    np.testing.assert_allclose(part[:, 0], (hv[seen] - 1) / 254 * 255, atol=1.01)
    np.testing.assert_allclose(part[:, 1], (hh[seen] - 1) / 254 * 255, atol=1.01)
    np.testing.assert_array_equal(part[:, 1], part[:, 2])
