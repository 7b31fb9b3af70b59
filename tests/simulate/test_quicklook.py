from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from frazil.errors import OutputExistsError, UnsupportedProductError
from frazil.sentinel1.product import Product, open_product
from frazil.sentinel1.scene import open_scene
from frazil.simulate.instrument import band_radiometry, template_product
from frazil.simulate.product import simulate_product
from frazil.simulate.quicklook import digital_numbers, observed, output_mean, read_quicklook, sample_product, upsample

SHAPE = (10708, 10487)


@pytest.fixture(scope="module")
def product() -> Product:
    return template_product("ew")


def test_the_quick_look_shows_the_noise_of_the_annotation(product: Product) -> None:
    """What proves that green is the amplitude of HV in radar geometry: it follows √η, pixel by pixel."""
    green = read_quicklook(product)[..., 1]
    lines = (np.arange(green.shape[0]) + 0.5) * SHAPE[0] / green.shape[0]
    pixels = (np.arange(green.shape[1]) + 0.5) * SHAPE[1] / green.shape[1]
    radiometry = band_radiometry(product.bands[1])
    eta = radiometry.nesz(lines, pixels) * radiometry.amplitude_gain(lines, pixels) ** 2
    south = np.s_[230:, 10:]  # no land
    assert np.corrcoef(np.sqrt(eta)[south].ravel(), green[south].ravel())[0, 1] > 0.8
    dn, _ = digital_numbers(green, output_mean(product, 1))
    above = dn[south] ** 2 - eta[south]
    assert (above > -0.1 * eta[south]).mean() > 0.97  # and nothing is darker than the noise


def test_blue_is_the_ratio_of_the_other_two(product: Product) -> None:
    red, green, blue = np.moveaxis(read_quicklook(product)[250:, 20:], -1, 0)
    constant = blue * red / green
    assert np.std(constant[blue < 250]) / np.mean(constant[blue < 250]) < 0.05


def test_the_mean_is_the_one_that_the_annotation_states(product: Product) -> None:
    for k, stated in ((0, 364.6), (1, 105.8)):
        channel = read_quicklook(product)[..., k]
        dn, seen = digital_numbers(channel, output_mean(product, k))
        assert (dn * seen).mean() == pytest.approx(stated, abs=0.1)


def test_upsampling_does_not_mix_sub_swaths() -> None:
    class Bounds:
        first_line, last_line = 0, 99

        def __init__(self, first: int, last: int) -> None:
            self.first_pixel, self.last_pixel = first, last

    low = np.ones((5, 10), np.float32)
    low[:, 5:] = 9
    low[:, 4] = 5  # a quick-look pixel astride the border
    bounds: Any = (Bounds(0, 46), Bounds(47, 99))
    out = upsample(low, 0, 100, (100, 100), bounds)
    assert (out[:, :47] == 1).all()
    assert (out[:, 47:] == 9).all()


def test_black_columns_and_the_staircase_are_not_observed(product: Product) -> None:
    picture = read_quicklook(product)
    _, seen = digital_numbers(picture[..., 0], 364.6)
    keep = observed(seen, 0, 300, SHAPE, product.bands[0].annotation.swath_bounds)
    assert not keep[:, :100].any()  # black in the quick-look
    assert not keep[:128, 3140:].any()  # before EW2 starts
    assert keep[130:220, 3200:5000].all()


def test_a_small_product_is_rebuilt_from_its_quick_look(tmp_path: Path) -> None:
    original = simulate_product(tmp_path / "a", seed=2, lines=(2000, 2600), pixels=(4000, 4700))
    rebuilt = sample_product(tmp_path / "b", template=str(original))
    assert rebuilt.name == original.name
    assert "rebuilt" in (rebuilt / "note.txt").read_text()
    with rasterio.open(sorted(rebuilt.glob("measurement/*"))[0]) as file:
        assert "rebuilt" in file.tags()["TIFFTAG_IMAGEDESCRIPTION"]
    one, two = (open_scene(p, looks=20).sigma0.values for p in (original, rebuilt))
    assert np.nanmean(two) == pytest.approx(np.nanmean(one), rel=0.15)
    both = np.isfinite(one[0]) & np.isfinite(two[0])
    assert np.corrcoef(one[0][both], two[0][both])[0, 1] > 0.6
    with pytest.raises(OutputExistsError):
        sample_product(tmp_path / "b", template=str(original))


def test_a_product_without_colour_is_refused(tmp_path: Path) -> None:
    path = simulate_product(tmp_path, seed=2, lines=(2000, 2100), pixels=(4000, 4100), polarizations=("HH",))
    with pytest.raises(UnsupportedProductError, match="template='ew'"):
        sample_product(tmp_path / "b", template=str(path))


@pytest.mark.slow
def test_the_sample_has_the_statistics_of_its_annotation(tmp_path: Path, product: Product) -> None:
    path = sample_product(tmp_path)
    for k, band in enumerate(open_product(path).bands):
        with rasterio.open(band.measurement) as file:
            dn = file.read(1)
        assert dn.shape == SHAPE
        assert dn.mean() == pytest.approx(output_mean(product, k), rel=0.005)
    # Noise removed, the sub-swaths fit together: no step in the ice south of the islands.
    hv = open_scene(path, polarizations=("HV",), looks=21).sigma0.values[0][300:]
    for border in (3112, 5013, 7084, 8959):
        column = border // 21
        left, right = np.nanmedian(hv[:, column - 8 : column - 1]), np.nanmedian(hv[:, column + 2 : column + 9])
        assert abs(10 * np.log10(left / right)) < 1.5
