"""What texture statistics say of images whose spectrum is known, and that they tell such images apart."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from frazil.errors import LabelError, MissingDependencyError
from frazil.labels.imagettes import Imagette, make_imagettes
from frazil.learn.data.imagettes import mirrored
from frazil.studies.texture import require_sklearn, texture_accuracy, texture_statistics


def waves(cycles: float, angle_deg: float, side: int = 96, seed: int = 0) -> np.ndarray:
    y, x = np.mgrid[:side, :side] / side
    along = np.cos(np.radians(angle_deg)) * x + np.sin(np.radians(angle_deg)) * y
    noise = np.random.default_rng(seed).normal(size=(side, side))
    return np.asarray(0.5 + 0.05 * np.sin(2 * np.pi * cycles * along) + 0.01 * noise, np.float32)


def test_statistics_find_the_wave() -> None:
    swell, other = texture_statistics(waves(8, 30)), texture_statistics(np.full((96, 96), 0.5))
    assert swell[:2] == pytest.approx([0.5, np.hypot(0.05 / np.sqrt(2), 0.01)], rel=0.05)
    power, direction = swell[9:-5].reshape(2, -1)
    assert power.argmax() == 2  # 6 to 12 waves an image
    assert direction[2] > 0.9
    assert np.isfinite(other).all()


def test_direction_of_waves_does_not_matter() -> None:
    one, other = texture_statistics(waves(8, 0)), texture_statistics(waves(8, 90))
    np.testing.assert_allclose(one[9:-5], other[9:-5], atol=0.6)


def images(n: int, seed: int) -> xr.Dataset:
    made = [
        Imagette(name=f"{k} {seed + i}", image=waves((4, 9)[k], 25 * i, seed=seed + i), category=k)
        for k in (0, 1)
        for i in range(n)
    ]
    return make_imagettes(made, size=96, cell=4, spacing_m=100.0, source="waves", scaling="roughness")


def test_textures_tell_waves_apart() -> None:
    assert texture_accuracy(images(6, 0), images(4, 100), each=4) == 1


def test_textures_of_one_category_or_other_sizes() -> None:
    both = images(2, 0)
    for train, test in ((both.isel(imagette=[0, 1]), both), (both, both.isel(line=slice(0, 80), pixel=slice(0, 80)))):
        with pytest.raises(LabelError, match="one size"):
            texture_accuracy(train, test)


def test_small_images_are_mirrored_to_what_a_network_needs() -> None:
    ds = images(1, 0)
    large = mirrored(ds, 101)
    assert large["image"].shape == (2, 101, 101)
    np.testing.assert_array_equal(large["image"].values[:, 2:98, 2:98], ds["image"].values)
    np.testing.assert_array_equal(large["image"].values[:, 1], large["image"].values[:, 2])
    assert mirrored(ds, 96) is ds


def test_what_the_message_advises_to_install_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also before a study begins; the extra that the message names brings the package that was missing."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'frazil\[texture\]'"):
        require_sklearn()
    assert [word.split(">")[0] for word in project["optional-dependencies"]["texture"]] == ["scikit-learn"]
