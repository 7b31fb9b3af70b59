"""Segments of imagettes in files: every format gives back what was found, and rasterio reads the TIFFs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

import frazil.testing
from frazil.conventions import METOCEAN
from frazil.errors import ContractError, FrazilError, OptionError, OutputExistsError
from frazil.maps.segment_files import save_segments

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def segments(n: int = 3, side: int = 8, *, seed: int = 0, names: list[str] | None = None) -> xr.Dataset:
    """As `frazil.learn.predict.imagettes` makes them: random scores with gaps."""
    rng = np.random.default_rng(seed)
    score = rng.random((n, len(METOCEAN.classes), side, side)).astype(np.float16)
    score[0, :, :2] = np.nan
    filled = np.nan_to_num(score.astype(np.float32))
    found = filled >= 0.5
    best = np.where(found.any(1), filled.argmax(1), 255).astype(np.uint8)
    dims = ("imagette", "class", "mask_line", "mask_pixel")
    return xr.Dataset(
        {
            "score": (dims, score, {"units": "1"}),
            "found": (dims, found),
            "dominant": ((dims[0], *dims[2:]), best),
        },
        {
            "class": list(METOCEAN.names),
            "name": ("imagette", names or [f"wv-{i}" for i in range(n)]),
            "longitude": ("imagette", np.linspace(-30, 170, n)),
            "latitude": ("imagette", np.linspace(-60, 70, n)),
        },
        {"method": "unet", "model": "m-1", "threshold": 0.5, "class_scheme": "metocean", "spacing_m": 400.0},
    )


@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_datasets_come_back_as_they_were(suffix: str, tmp_path: Path) -> None:
    made = segments()
    before = made.copy(deep=True)
    path = save_segments(made, tmp_path / f"found{suffix}")
    opened = xr.open_zarr(path, consolidated=False) if suffix == ".zarr" else xr.open_dataset(path, engine="h5netcdf")
    with opened as again:
        np.testing.assert_array_equal(again["score"].values, made["score"].values.astype(np.float32))
        np.testing.assert_array_equal(again["found"].values.astype(bool), made["found"].values)
        np.testing.assert_array_equal(again["dominant"].values, made["dominant"].values)
        assert again["name"].values.tolist() == made["name"].values.tolist()
        assert again.attrs["method"] == "unet"
        assert again.attrs["threshold"] == 0.5
    xr.testing.assert_identical(made, before)


def test_tiffs_are_percent_with_a_band_a_class(tmp_path: Path) -> None:
    made = segments()
    folder = save_segments(made, tmp_path / "found.tif")
    files = sorted(folder.iterdir())
    assert [f.name for f in files if f.suffix == ".tif"] == [f"{i:05d}_wv-{i}.tif" for i in range(3)]
    for i, path in enumerate(f for f in files if f.suffix == ".tif"):
        with rasterio.open(path) as file:
            assert file.descriptions == METOCEAN.names
            assert file.nodata == 255
            assert file.crs is None
            planes = file.read()
            tags = file.tags()
        score = made["score"].values[i].astype(np.float64)
        np.testing.assert_array_equal(planes == 255, np.isnan(score))
        known = np.isfinite(score)
        assert np.abs(planes[known] - 100 * score[known]).max() <= 0.5 + 1e-6
        assert float(tags["longitude"]) == made["longitude"].values[i]
        assert float(tags["latitude"]) == made["latitude"].values[i]
        assert (tags["method"], tags["model"]) == ("unet", "m-1")


@pytest.mark.parametrize(
    "name", ["../../etc/x", "/abs", "a b:c*?", "..", "", "x" * 180, "ice – Kara", "a\nb", "CON", "\x1b[31m"]
)
def test_names_of_imagettes_are_no_paths(name: str, tmp_path: Path) -> None:
    """They come from files of strangers."""
    folder = save_segments(segments(2, names=[name, name]), tmp_path / "deep" / "found.tif")
    tiffs = [p for p in folder.rglob("*") if p.suffix == ".tif"]
    assert len(tiffs) == 2
    assert all(p.parent == folder for p in tiffs)
    assert not any(c in p.name for p in tiffs for c in "\n\x1b/:*?")
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["found.tif"]


def test_what_exists_is_replaced_only_when_asked(tmp_path: Path) -> None:
    for suffix in (".zarr", ".nc", ".tif"):
        path = tmp_path / f"found{suffix}"
        save_segments(segments(), path)
        with pytest.raises(OutputExistsError):
            save_segments(segments(), path)
        save_segments(segments(1), path, overwrite=True)
    assert len(list((tmp_path / "found.tif").glob("*.tif"))) == 1, "nothing of the former one is left"


def test_a_name_too_long_for_a_file_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(FrazilError) as caught:
        save_segments(segments(1, names=["x" * 400]), tmp_path / "found.tif")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["found", "found.png", "found.NC", "found.tiff", ".nc"])
def test_other_formats(name: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"written as \.zarr, \.nc or a \.tif folder"):
        save_segments(segments(), tmp_path / name)


def test_other_datasets(tmp_path: Path) -> None:
    made = segments()
    for wrong, words in (
        (made.drop_vars("found"), "found"),
        (made.drop_vars(["score", "dominant"]), "score"),
        (made.assign_attrs(class_scheme="binary"), "class_scheme"),
        (frazil.testing.make_map(codes=np.zeros((4, 4), np.uint8)), "score"),
    ):
        with pytest.raises(ContractError, match=f"no segments of imagettes: .*{words}"):
            save_segments(wrong, tmp_path / "x.nc")
    assert list(tmp_path.iterdir()) == []
