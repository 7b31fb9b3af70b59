"""Pictures of phenomena, looked at: the colours that should be there are there, and in the right places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from PIL import Image

from frazil.conventions import CLASS_LAND, LAND_COLOUR, METOCEAN, SLICKS, UNDECIDED_COLOUR
from frazil.errors import OutputExistsError
from frazil.maps.phenomena_figures import draw_imagettes, draw_phenomena_map, painted
from frazil.testing import make_phenomena_map


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def amount(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((picture == np.array(colour)).all(-1).sum())


def imagettes(n: int = 4, side: int = 32, *, masks: bool = True) -> xr.Dataset:
    """Images whose mask k is one of the classes: imagette i shows class i in its upper half."""
    rng = np.random.default_rng(0)
    mask = np.zeros((n, len(METOCEAN.classes), side // 4, side // 4), np.uint8)
    for i in range(n):
        mask[i, i % len(METOCEAN.classes), : side // 8] = 1
    data = {"image": (("imagette", "line", "pixel"), rng.random((n, side, side)).astype(np.float16))}
    if masks:
        data["mask"] = (("imagette", "class", "mask_line", "mask_pixel"), mask)  # type: ignore[assignment]
    return xr.Dataset(data, attrs={"class_scheme": "metocean"})


def found_as(code: int, n: int = 4, side: int = 8) -> xr.Dataset:
    plane = np.full((n, side, side), code, np.uint8)
    return xr.Dataset({"dominant": (("imagette", "mask_line", "mask_pixel"), plane)}, attrs={"method": "unet"})


def test_codes_are_painted_by_the_scheme_and_anything_else_is_black() -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    picture = painted(codes, METOCEAN)
    assert picture.shape == (16, 16, 3)
    assert picture.dtype == np.uint8
    known = {c.code: c.colour for c in METOCEAN.classes} | {CLASS_LAND: LAND_COLOUR}
    for code in range(256):
        assert tuple(picture[code // 16, code % 16]) == known.get(code, (0, 0, 0))


def test_masks_are_drawn_below_their_images(tmp_path: Path) -> None:
    """A column an imagette; the mask of class i is in column i and nowhere else, above what is black."""
    path = draw_imagettes(imagettes(), tmp_path / "a.png")
    picture = pixels(path)
    body = picture[: int(picture.shape[0] * 0.8)]  # without the legend
    quarter = np.linspace(0.05, 0.99, 5) * picture.shape[1]
    for i in range(4):
        colour = METOCEAN.classes[i].colour
        rows, columns = np.nonzero((body == np.array(colour)).all(-1))
        if i == 2:
            continue  # icebergs are white, as is the paper
        assert rows.size > 500
        assert quarter[i] - 5 <= columns.min()
        assert columns.max() <= quarter[i + 1] + 5
        assert rows.min() > 0.3 * picture.shape[0], "below the images"


def test_what_methods_found_stands_below(tmp_path: Path) -> None:
    """One row more for each method, and the colour of what it found."""
    none = pixels(draw_imagettes(imagettes(masks=False), tmp_path / "0.png"))
    one = pixels(draw_imagettes(imagettes(masks=False), tmp_path / "1.png", found=[found_as(7)]))
    both = [found_as(7), found_as(255)]
    two = pixels(draw_imagettes(imagettes(masks=False), tmp_path / "2.png", found=both, titles=["a", "b"]))
    step = [p.shape[0] for p in (none, one, two)]
    assert step[1] - step[0] == pytest.approx(step[2] - step[1], abs=1)
    assert step[1] - step[0] > 100
    rain = METOCEAN.classes[7].colour
    assert amount(one, rain) > 10 * amount(none, rain) > 0, "the legend alone, and the legend with a row"
    assert amount(two, (0, 0, 0)) > amount(one, (0, 0, 0)) + 10_000, "undecided is black"


def test_so_many_and_no_more_spread_over_the_set(tmp_path: Path) -> None:
    """First and last are among them."""
    ds = imagettes(10)
    small, large = (pixels(draw_imagettes(ds, tmp_path / f"{n}.png", most=n)) for n in (2, 10))
    assert small.shape[1] < large.shape[1]
    first, last = (METOCEAN.classes[i].colour for i in (0, 9))
    rest = METOCEAN.classes[4].colour
    body = small[: int(small.shape[0] * 0.75)]
    assert amount(body, first) > 1000
    assert amount(body, last) > 1000
    assert amount(body, rest) < 10


def test_of_several_masks_at_a_place_the_smallest_is_seen(tmp_path: Path) -> None:
    ds = imagettes(1)
    mask = np.zeros((1, 10, 8, 8), np.uint8)
    mask[0, 0] = 1  # all of the image
    mask[0, 7, 2:4, 2:4] = 1
    picture = pixels(draw_imagettes(ds.assign(mask=(ds["mask"].dims, mask)), tmp_path / "a.png"))
    body = picture[: int(picture.shape[0] * 0.8)]
    small, large = amount(body, METOCEAN.classes[7].colour), amount(body, METOCEAN.classes[0].colour)
    assert small / (small + large) == pytest.approx(4 / 64, rel=0.1)


def test_unknown_masks_and_images_without_data_are_drawn_too(tmp_path: Path) -> None:
    ds = imagettes(2)
    ds["mask"][0] = 255
    ds["image"][1] = np.nan
    picture = pixels(draw_imagettes(ds, tmp_path / "a.png"))
    assert amount(picture, METOCEAN.classes[1].colour) > 500


def test_a_map_shows_each_phenomenon_where_it_dominates(tmp_path: Path) -> None:
    ds = make_phenomena_map()
    picture = pixels(draw_phenomena_map(ds, tmp_path / "a.png", dpi=60))
    codes = ds["dominant"].values
    shares = {c.code: (codes == c.code).sum() for c in METOCEAN.classes}
    drawn = {c.code: amount(picture, c.colour) for c in METOCEAN.classes if c.name != "iceberg"}
    largest = sorted(drawn, key=lambda c: -shares[c])[:3]
    assert all(drawn[c] > 100 for c in largest)
    per_pixel = [drawn[c] / shares[c] for c in largest]
    assert max(per_pixel) / min(per_pixel) < 1.5, "as large as its area"
    assert amount(picture, LAND_COLOUR) > 50
    assert amount(picture, UNDECIDED_COLOUR) > 50


def test_the_legend_adds_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares of the sea are those of pixels on a grid whose pixels are nearly of one size."""
    words: list[str] = []
    real = Axes.text

    def noted(self: Axes, x: float, y: float, s: str, **how: Any) -> Any:
        words.append(s)
        return real(self, x, y, s, **how)

    monkeypatch.setattr(Axes, "text", noted)
    ds = make_phenomena_map(seed=3)
    draw_phenomena_map(ds, tmp_path / "a.png", dpi=40)
    codes, bits = ds["dominant"].values, ds["phenomena"].values
    sea = (codes < CLASS_LAND).sum()
    for c in METOCEAN.classes:
        at = words.index(c.title)
        dominant, found = float(words[at + 2]), float(words[at + 3])
        assert dominant == pytest.approx(100 * (codes == c.code).sum() / sea, abs=0.11)
        assert found == pytest.approx(100 * ((bits >> c.code) & 1).sum() / sea, abs=0.11)
        assert found >= dominant
    assert "Undecided" in words
    assert "Land" in words


def test_a_map_without_sea_has_no_shares(tmp_path: Path) -> None:
    ds = make_phenomena_map(scheme=SLICKS)
    ds["dominant"][:] = CLASS_LAND
    ds["phenomena"][:] = 0
    ds["score"][:] = 255
    assert draw_phenomena_map(ds, tmp_path / "a.png", dpi=40).stat().st_size > 1000


def test_nothing_of_others_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"mine")
    with pytest.raises(OutputExistsError):
        draw_imagettes(imagettes(1), tmp_path / "a.png", overwrite=True)
    assert (tmp_path / "a.png").read_bytes() == b"mine"
    draw_imagettes(imagettes(1), tmp_path / "b.png")
    with pytest.raises(OutputExistsError):
        draw_imagettes(imagettes(1), tmp_path / "b.png")
    draw_imagettes(imagettes(4), tmp_path / "b.png", overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]
