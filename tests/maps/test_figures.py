"""The picture of a map: right colours in the right places, and it draws wherever a map may lie."""

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyproj import Transformer

from frazil.conventions import BINARY, CLASS_LAND, CLASS_NODATA, FIVE_CLASSES, LAND_COLOUR
from frazil.errors import ContractError, OptionError, OutputExistsError
from frazil.maps.edges import ice_edge
from frazil.maps.figures import draw_map
from frazil.maps.graticule import graticule
from frazil.maps.panels import Style, round_length
from frazil.scene.grid import MapGrid
from frazil.testing import make_map


def pixels(path: Path) -> np.ndarray:
    with Image.open(BytesIO(path.read_bytes())) as image:
        return np.asarray(image.convert("RGB"))


def share(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((picture == colour).all(axis=-1).mean())


def test_classes_have_the_colours_of_the_scheme(tmp_path: Path) -> None:
    codes = np.zeros((90, 90), np.uint8)
    codes[:, 30:60], codes[:, 60:] = 3, CLASS_LAND
    path = draw_map(make_map(codes=codes), tmp_path / "map.png")
    picture = pixels(path)
    for colour in (FIVE_CLASSES.classes[0].colour, FIVE_CLASSES.classes[3].colour, LAND_COLOUR):
        assert 0.08 < share(picture, colour) < 0.3
    assert share(picture, FIVE_CLASSES.classes[2].colour) < 0.002  # in the legend only
    # left to right: water, ice, land
    columns = [np.nonzero((picture == c).all(axis=-1))[1].mean() for c in (FIVE_CLASSES.classes[0].colour, LAND_COLOUR)]
    assert columns[0] < columns[1]


def test_north_of_the_grid_is_up(tmp_path: Path) -> None:
    codes = np.zeros((60, 60), np.uint8)
    codes[:20] = 3
    picture = pixels(draw_map(make_map(codes=codes), tmp_path / "map.png"))
    ice = np.nonzero((picture == FIVE_CLASSES.classes[3].colour).all(axis=-1))[0]
    water = np.nonzero((picture == FIVE_CLASSES.classes[0].colour).all(axis=-1))[0]
    assert np.median(ice) < np.median(water)


@pytest.mark.parametrize("style", ["classes", "ice", "confidence"])
@pytest.mark.parametrize(
    ("centre", "crs"),
    [((0, 90), "EPSG:3413"), ((180, 72), "EPSG:3413"), ((10, 79), "EPSG:32633"), ((40, -70), "EPSG:3976")],
)
def test_it_draws_everywhere(style: Style, centre: tuple[int, int], crs: str, tmp_path: Path) -> None:
    ice_map = make_map(shape=(80, 100), spacing_m=2000, centre=centre, crs=crs, noise=0.2)
    path = draw_map(ice_map, tmp_path / "map.png", style=style, edge=ice_edge(ice_map), dpi=60)
    assert pixels(path).std() > 20


@pytest.mark.parametrize("shape", [(2, 2), (3, 400), (400, 3), (1500, 1400)])
def test_it_draws_any_shape(shape: tuple[int, int], tmp_path: Path) -> None:
    assert draw_map(make_map(shape=shape), tmp_path / "map.png", dpi=50).stat().st_size > 1000


@pytest.mark.parametrize("code", [0, 1, CLASS_LAND, CLASS_NODATA])
def test_uniform_maps(code: int, tmp_path: Path) -> None:
    ice_map = make_map(codes=np.full((30, 30), code, np.uint8), scheme=BINARY)
    for style in ("classes", "ice", "confidence"):
        draw_map(ice_map, tmp_path / f"{style}.png", style=style, edge=ice_edge(ice_map), dpi=50)


def test_the_note_is_seen(tmp_path: Path) -> None:
    band = (255, 243, 205)
    plain = pixels(draw_map(make_map(shape=(50, 50)), tmp_path / "plain.png"))
    noted = pixels(
        draw_map(
            make_map(shape=(50, 50), note=r"made up $\nope{ 50 % $x " * 60, model="a$b$_^"), tmp_path / "noted.png"
        )
    )
    assert share(plain, band) == 0
    assert share(noted, band) > 0.01
    assert noted.shape[0] > plain.shape[0]


def test_a_background_shades(tmp_path: Path) -> None:
    ice_map = make_map(codes=np.zeros((60, 60), np.uint8))
    dark = np.zeros((60, 60))
    dark[:, 30:] = 1
    dark[0, 0] = np.nan
    plain = share(pixels(draw_map(ice_map, tmp_path / "a.png")), FIVE_CLASSES.classes[0].colour)
    shaded = share(pixels(draw_map(ice_map, tmp_path / "b.png", background=dark)), FIVE_CLASSES.classes[0].colour)
    assert 0.4 * plain < shaded < 0.6 * plain


def test_drawing_leaves_no_trace(tmp_path: Path) -> None:
    draw_map(make_map(shape=(30, 30)), tmp_path / "map.png")
    assert "matplotlib.pyplot" not in sys.modules
    assert [p.name for p in tmp_path.iterdir()] == ["map.png"]


def test_wrong_arguments(tmp_path: Path) -> None:
    ice_map = make_map(shape=(20, 20))
    with pytest.raises(OptionError, match="choose from"):
        draw_map(ice_map, tmp_path / "map.png", style="pretty")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="dpi"):
        draw_map(ice_map, tmp_path / "map.png", dpi=1e5)
    with pytest.raises(ContractError, match="background has shape"):
        draw_map(ice_map, tmp_path / "map.png", background=np.zeros((3, 3)))
    draw_map(ice_map, tmp_path / "map.png")
    with pytest.raises(OutputExistsError):
        draw_map(ice_map, tmp_path / "map.png")


@pytest.mark.parametrize("centre", [(0, 90), (180, 72), (-30, 76), (100, 88.5)])
def test_graticule_lines_lie_where_their_labels_say(centre: tuple[float, float]) -> None:
    grid = MapGrid.of(make_map(shape=(50, 60), spacing_m=8000, centre=centre))
    to_lonlat = Transformer.from_crs(grid.crs, "OGC:CRS84", always_xy=True)
    lines = graticule(grid)
    left, bottom, right, top = grid.bounds
    texts = set()
    for line in lines:
        longitude, latitude = to_lonlat.transform(*line.xy.T)
        for label in line.labels:
            texts.add(label.text)
            value = float(label.text.split("°")[0]) + float((label.text.split("°")[1].split("′")[:-1] or ["0"])[0]) / 60
            value *= -1 if label.text[-1] in "WS" else 1
            along = latitude if label.text[-1] in "NS" else longitude
            # a chord of the frame's cut, not the curve: a hundredth of a degree near the pole, less elsewhere
            difference = (along - value + 180) % 360 - 180
            assert np.abs(difference[np.abs(latitude) < 89.9]).max(initial=0) < 0.05
            edges = {"left": label.x - left, "right": label.x - right, "top": label.y - top, "bottom": label.y - bottom}
            assert edges[label.side] == pytest.approx(0, abs=1)
    assert any(text[-1] == "N" for text in texts)
    assert any(text[-1] in "EW" or text in ("0°", "180°") for text in texts)
    assert 4 <= len(lines) <= 60
    if centre == (180, 72):
        assert "180°" in texts


def test_round_lengths() -> None:
    assert [round_length(v) for v in (0.3, 1, 1.9, 2, 49, 50, 99, 100, 730)] == [0.2, 1, 1, 2, 20, 50, 50, 100, 500]
