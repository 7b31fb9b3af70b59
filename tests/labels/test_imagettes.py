"""Sets of imagettes: cutting, resampling, published folders, tables, and what is refused."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from frazil.conventions import METOCEAN, SLICKS
from frazil.errors import ContractError, FrazilError, LabelError, LabelNotFoundError, OptionError, OutputExistsError
from frazil.labels.datasets.masks import decode_mask, read_colin, read_masks
from frazil.labels.datasets.multilabel import read_multilabel
from frazil.labels.datasets.tengeop import read_tengeop
from frazil.labels.imagettes import (
    HIGH_DB,
    LOW_DB,
    Imagette,
    centred,
    coarser,
    join_imagettes,
    make_imagettes,
    open_imagettes,
    resample,
    save_imagettes,
    scaled,
    sizes_for,
    split_imagettes,
)
from frazil.labels.imagettes_products import cut_imagettes
from frazil.labels.sample_set import UNKNOWN
from frazil.simulate.imagettes import simulated_imagettes
from frazil.simulate.product import simulate_product
from frazil.simulate.wave_mode import WaveModeConfig


def picture(path: Path, size: tuple[int, int] = (400, 400), seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(1, 255, size).astype(np.uint8)
    Image.fromarray(values).save(path)
    return values


def one(image: np.ndarray, **more: object) -> Imagette:
    return Imagette(name="a", image=image, **more)  # type: ignore[arg-type]


def test_resampling_is_an_area_mean() -> None:
    values = np.random.default_rng(0).random((12, 20))
    brute = values.reshape(6, 2, 5, 4).mean((1, 3))
    np.testing.assert_allclose(resample(values, (6, 5)), brute, rtol=1e-5)
    values[0, 0] = np.nan
    assert resample(values, (6, 5))[0, 0] == pytest.approx(np.nanmean(values[:2, :4]), rel=1e-5)
    values[:2, :4] = np.nan
    assert np.isnan(resample(values, (6, 5))[0, 0])


@pytest.mark.parametrize(("resolution", "size", "cell"), [(50, 400, 8), (100, 200, 4), (200, 100, 2), (340, 59, 1)])
def test_sizes_of_the_four_resolutions(resolution: float, size: int, cell: int) -> None:
    assert sizes_for(resolution) == (size, cell)


@pytest.mark.parametrize("resolution", [0, -1, 5000])
def test_impossible_resolutions(resolution: float) -> None:
    with pytest.raises(OptionError, match="resolution"):
        sizes_for(resolution)


def test_scaling_ends() -> None:
    rough = 10 ** (np.array([LOW_DB - 3, LOW_DB, (LOW_DB + HIGH_DB) / 2, HIGH_DB, HIGH_DB + 3]) / 10)
    np.testing.assert_allclose(scaled(rough), [0, 0, 0.5, 1, 1], atol=1e-6)
    assert scaled(np.array([0.0, -0.1])).max() == 0
    assert np.isnan(scaled(np.array([np.nan])))[0]


def test_centring_keeps_the_middle() -> None:
    values = np.arange(25.0).reshape(5, 5)
    np.testing.assert_array_equal(centred(values, 3, 0), values[1:4, 1:4])
    wide = centred(values, 7, -1)
    np.testing.assert_array_equal(wide[1:6, 1:6], values)
    assert (wide[0] == -1).all()


def test_masks_become_cells_and_presence() -> None:
    mask = np.zeros((10, 8, 8), bool)
    mask[2, :4, :4] = True
    image = np.random.default_rng(0).random((8, 8))
    ds = make_imagettes([one(image, mask=mask, category=2)], size=8, cell=4, spacing_m=100, source="x", scaling="8-bit")
    assert ds["mask"].values[0, 2].tolist() == [[1, 0], [0, 0]]
    assert ds["present"].values[0].tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]


def test_empty_images_are_left_out_and_counted() -> None:
    good = np.random.default_rng(0).random((8, 8))
    items = [one(np.zeros((8, 8))), one(np.full((8, 8), np.nan)), one(good)]
    ds = make_imagettes(items, size=8, cell=4, spacing_m=100, source="x", scaling="8-bit")
    assert ds.sizes["imagette"] == 1
    assert ds.attrs["left_out_empty"] == 2
    assert "mask" not in ds
    with pytest.raises(LabelError, match="signal"):
        make_imagettes(items[:2], size=8, cell=4, spacing_m=100, source="x", scaling="8-bit")


def test_mask_of_other_classes_is_refused() -> None:
    item = one(np.random.default_rng(0).random((8, 8)), mask=np.zeros((3, 8, 8), bool))
    with pytest.raises(LabelError, match="3 classes"):
        make_imagettes([item], size=8, cell=4, spacing_m=100, source="x", scaling="8-bit")


def test_store_and_back(tmp_path: Path) -> None:
    ds = simulated_imagettes({"sea_ice": 1, "rain_cells": 1}, config=WaveModeConfig(side_m=3200))
    save_imagettes(ds, tmp_path / "a.zarr")
    back = open_imagettes(tmp_path / "a.zarr")
    np.testing.assert_array_equal(back["image"].values, ds["image"].values)
    np.testing.assert_array_equal(back["mask"].values, ds["mask"].values)
    assert back["name"].values.tolist() == ds["name"].values.tolist()
    with pytest.raises(OutputExistsError):
        save_imagettes(ds, tmp_path / "a.zarr")
    with pytest.raises(OptionError, match="zarr"):
        save_imagettes(ds, tmp_path / "a.nc")
    with pytest.raises(LabelNotFoundError, match="frazil imagettes"):
        open_imagettes(tmp_path / "none.zarr")
    xr.Dataset({"a": ("x", [1])}).to_zarr(tmp_path / "b.zarr", consolidated=False, zarr_format=3)
    with pytest.raises(LabelError, match="holds 'a'"):
        open_imagettes(tmp_path / "b.zarr")
    ds.drop_vars(["image"]).to_zarr(tmp_path / "c.zarr", consolidated=False, zarr_format=3)
    with pytest.raises(ContractError, match="image"):
        open_imagettes(tmp_path / "c.zarr")


def test_joining() -> None:
    small = WaveModeConfig(side_m=3200)
    a = simulated_imagettes({"sea_ice": 2}, config=small)
    b = simulated_imagettes({"iceberg": 1}, config=small).drop_vars("mask")
    both = join_imagettes([a, b])
    assert both.sizes["imagette"] == 3
    assert (both["mask"].values[2] == UNKNOWN).all()
    assert (both["mask"].values[:2] != UNKNOWN).all()
    with pytest.raises(LabelError, match="differ in spacing"):
        join_imagettes([a, coarser(a, 200)])
    with pytest.raises(LabelError, match="No set"):
        join_imagettes([])


def test_coarser_averages_power() -> None:
    fine = simulated_imagettes({"pure_ocean_waves": 1}, resolution_m=50, config=WaveModeConfig(side_m=3200))
    coarse = coarser(fine, 100)
    db = LOW_DB + fine["image"].values[0].astype(float) * (HIGH_DB - LOW_DB)
    power = (10 ** (db / 10)).reshape(32, 2, 32, 2).mean((1, 3))
    np.testing.assert_allclose(coarse["image"].values[0], scaled(power), atol=2e-3)
    assert (coarse.attrs["spacing_m"], coarse.attrs["cell"]) == (100, 4)
    np.testing.assert_array_equal(coarse["mask"].values, fine["mask"].values)
    with pytest.raises(OptionError, match="finer"):
        coarser(coarse, 50)


def test_balance_of_simulated_sets_is_settable() -> None:
    ds = simulated_imagettes({"iceberg": 3, "sea_ice": 1}, config=WaveModeConfig(side_m=1600))
    assert np.bincount(ds["category"].values, minlength=10)[[2, 8]].tolist() == [3, 1]
    with pytest.raises(OptionError, match="ships"):
        simulated_imagettes({"ships": 1})


def test_tengeop_letters_and_names(tmp_path: Path) -> None:
    for folder in ("F", "H", "IC", "wind_streaks"):
        picture(tmp_path / folder / f"s1a-wv1-slc-vv-{folder}.png", (400, 420))
    ds = read_tengeop(tmp_path)
    assert ds["image"].shape == (4, 200, 200)
    assert [METOCEAN.names[c] for c in ds["category"].values] == [
        "pure_ocean_waves",
        "micro_convective_cells",
        "iceberg",
        "wind_streaks",
    ]
    assert np.nan_to_num(ds["image"].values.astype(float)).max() <= 1
    picture(tmp_path / "Z" / "b.png")
    with pytest.raises(LabelError, match="folder"):
        read_tengeop(tmp_path)
    with pytest.raises(LabelNotFoundError):
        read_tengeop(tmp_path / "nowhere")


def test_colin_npy_and_png(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "input" / "a.png", (256, 256))
    (tmp_path / "train" / "output").mkdir()
    drawn = np.zeros((64, 64, 10), np.float32)
    drawn[:8, :8, 7] = 1
    np.save(tmp_path / "train" / "output" / "a.npy", drawn)
    picture(tmp_path / "val" / "input" / "b.png", (256, 256), seed=1)
    codes = np.zeros((64, 64), np.uint8)
    codes[10:] = 9
    (tmp_path / "val" / "output").mkdir()
    Image.fromarray(codes).save(tmp_path / "val" / "output" / "b.png")
    ds = read_colin(tmp_path)
    assert ds["mask"].shape == (2, 10, 64, 64)
    np.testing.assert_array_equal(ds["mask"].values[0, 7], drawn[..., 7])
    np.testing.assert_array_equal(ds["mask"].values[1, 8], codes == 9)
    assert ds["category"].values.tolist() == [7, 8]
    assert read_colin(tmp_path, part="val").sizes["imagette"] == 1
    (tmp_path / "val" / "output" / "b.png").unlink()
    with pytest.raises(LabelError, match="no mask"):
        read_colin(tmp_path)


@pytest.mark.parametrize("top", [1, 2, 4, 100, 128, 255])
@pytest.mark.parametrize("kind", ["L", "P", "black palette", "RGB", "RGBA", "LA", "npy", "I;16"])
def test_masks_of_one_class_are_everything_but_0(top: int, kind: str, tmp_path: Path) -> None:
    """Whatever the number in it is, and whatever colour a palette gives it."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    Image.fromarray(np.random.default_rng(0).integers(1, 255, (64, 64), dtype=np.uint8)).save(tmp_path / "images/a.png")
    codes = np.zeros((64, 64), np.uint8)
    codes[:32] = np.arange(64) % top + 1  # 1 to top
    mask = Image.fromarray(codes)
    if "P" in kind[:1] or "palette" in kind:
        mask = Image.frombytes("P", (64, 64), codes.tobytes())
        mask.putpalette(bytes(768) if "black" in kind else bytes([0, 0, 0, 0, 0, 1] + [7, 0, 0] * 254))
    elif kind in ("RGB", "RGBA"):
        blue = np.zeros((64, 64, 3), np.uint8)
        blue[..., 2] = codes
        mask = Image.fromarray(blue).convert(kind)
    elif kind == "LA":
        mask = mask.convert("LA")
    elif kind == "I;16":
        mask = Image.fromarray(codes.astype(np.uint16))
    if kind == "npy":
        np.save(tmp_path / "masks/a.npy", codes)
    else:
        mask.save(tmp_path / "masks/a.png")
    ds = read_masks(tmp_path)
    assert ds["present"].values.tolist() == [[1]]
    np.testing.assert_array_equal(ds["mask"].values[0, 0], np.repeat([1, 0], 8)[:, None] * np.ones(16))


def test_palettes_of_several_classes_are_their_numbers(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    Image.fromarray(np.random.default_rng(0).integers(1, 255, (64, 64), dtype=np.uint8)).save(tmp_path / "images/a.png")
    codes = np.zeros((64, 64), np.uint8)
    codes[:32], codes[32:48] = 3, 10
    mask = Image.frombytes("P", (64, 64), codes.tobytes())
    mask.putpalette(np.random.default_rng(1).integers(256, size=768, dtype=np.uint8).tobytes())
    mask.save(tmp_path / "masks/a.png")
    assert np.flatnonzero(read_masks(tmp_path, scheme="metocean")["present"].values[0]).tolist() == [2, 9]
    mask.convert("RGB").save(tmp_path / "masks/a.png")
    with pytest.raises(LabelError, match="in colours"):
        read_masks(tmp_path, scheme="metocean")


def test_pairs_from_a_tar(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for i in range(4):
            for kind, values in (
                ("sat.jpg", np.random.default_rng(i).integers(1, 255, (64, 64))),
                ("mask.png", np.where(np.arange(64)[:, None] < 32, 255 * (i % 2), 0) * np.ones((64, 64))),
            ):
                file = io.BytesIO()
                Image.fromarray(values.astype(np.uint8)).save(file, kind[-3:].replace("jpg", "jpeg"))
                info = tarfile.TarInfo(f"{i}_{kind}")
                info.size = file.tell()
                file.seek(0)
                archive.addfile(info, file)
    ds = read_masks(tmp_path / "a.tar", image_suffix="_sat", mask_suffix="_mask", group_size=2)
    assert ds.attrs["class_scheme"] == SLICKS.name
    assert ds["present"].values[:, 0].tolist() == [0, 1, 0, 1]
    assert ds["mask"].values[1, 0].mean() == pytest.approx(0.5)
    assert ds["group"].values.tolist() == ["block 0000", "block 0000", "block 0001", "block 0001"]


SIDES = ("train", "validation", "test")


def grouped(categories: list[int], groups: list[str]) -> xr.Dataset:
    rng = np.random.default_rng(0)
    items = [
        Imagette(name=str(i), image=rng.random((8, 8)), group=group, category=category)
        for i, (category, group) in enumerate(zip(categories, groups, strict=True))
    ]
    return make_imagettes(items, size=8, cell=4, spacing_m=100, source="x", scaling="8-bit")


@given(
    st.lists(st.integers(0, 9), min_size=3, max_size=40),
    st.integers(0, 5),
    st.integers(0, 5),
    st.none() | st.integers(0, 9),
)
def test_a_split_keeps_every_image_once_and_groups_whole(
    groups: list[int], validation: int, test: int, seed: int | None
) -> None:
    ds = grouped([0] * len(groups), [f"g{g}" for g in groups])
    wanted = {side: part for side, part in zip(SIDES, (3, validation, test), strict=True) if part}
    fair = {side: len(set(groups)) * part / sum(wanted.values()) for side, part in wanted.items()}
    if min(fair.values()) < 1:  # such sides may be empty, and then are refused
        try:
            split_imagettes(ds, (3, validation, test), seed)
        except LabelError:
            return
    sides = split_imagettes(ds, (3, validation, test), seed)
    assert set(sides) == set(wanted)
    names = [n for side in sides.values() for n in side["name"].values.tolist()]
    assert sorted(names) == sorted(ds["name"].values.tolist())
    held = {name: set(side["group"].values.tolist()) for name, side in sides.items()}
    assert sum(map(len, held.values())) == len(set(groups))
    assert all(mine and abs(len(mine) - fair[name]) <= 1 for name, mine in held.items())


def test_a_split_in_order_keeps_neighbours_and_one_at_random_does_not() -> None:
    ds = grouped([0] * 22, [f"block {i // 2:02d}" for i in range(22)])
    sides = split_imagettes(ds, (7, 1, 3))
    assert sides["train"]["name"].values.tolist() == [str(i) for i in range(14)]
    assert [s.sizes["imagette"] for s in sides.values()] == [14, 2, 6]
    drawn = split_imagettes(ds, (7, 1, 3), seed=0)
    assert drawn["train"]["name"].values.tolist() != sides["train"]["name"].values.tolist()
    assert drawn["test"].identical(split_imagettes(ds, (7, 1, 3), seed=0)["test"])


def test_splits_that_cannot_be() -> None:
    ds = grouped([2, 2, 7, 7], list("abcd"))
    with pytest.raises(LabelError, match="train would have no image of category .*--split-seed 0"):
        split_imagettes(ds, (1, 0, 1))
    assert set(split_imagettes(ds, (1, 0, 1), seed=0)) == {"train", "test"}
    with pytest.raises(LabelError, match="4 groups are too few .* validation would be empty"):
        split_imagettes(grouped([2] * 4, list("abcd")), (30, 1, 30))
    for parts in ((0, 1, 1), (1, 2), (1, -1, 2), (1, float("inf"), 1)):
        with pytest.raises(OptionError, match="such as 7,1,3"):
            split_imagettes(ds, parts)


def test_three_sets_from_the_command_line(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from frazil.cli import cli

    for i in range(6):
        picture(tmp_path / "images" / f"{i}.png", (64, 64))
        picture(tmp_path / "masks" / f"{i}.png", (64, 64))
    words = ["imagettes", "masks", str(tmp_path), "-o", str(tmp_path / "a.zarr"), "--split", "4,0,2"]
    done = CliRunner().invoke(cli, [*words, "--json"], catch_exceptions=False)
    assert json.loads(done.stdout)["test_images"] == 2
    assert sorted(p.name for p in tmp_path.glob("*.zarr")) == ["a-test.zarr", "a-train.zarr"]
    again = CliRunner().invoke(cli, words)
    assert isinstance(again.exception, OutputExistsError)
    for wrong in ("4,0", "x,1,1", "0,1,1", "nan,1,1"):
        done = CliRunner().invoke(cli, [*words[:-1], wrong])
        assert "such as 7,1,3" in done.output + str(done.exception)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((4, 4), 11, np.uint8), "value 11"),
        (np.zeros((4, 4, 7)), "axis of 10"),
        (np.zeros(4), "lines and pixels"),
    ],
)
def test_masks_that_mean_nothing(values: np.ndarray, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        decode_mask("m.png", values, METOCEAN)


def test_unequal_pairs_are_refused(tmp_path: Path) -> None:
    for i, size in enumerate(((64, 64), (64, 72))):
        picture(tmp_path / "images" / f"{i}.png", size)
        picture(tmp_path / "masks" / f"{i}.png", size)
    with pytest.raises(LabelError, match="Cut them alike"):
        read_masks(tmp_path)


def test_multilabel_table(tmp_path: Path) -> None:
    picture(tmp_path / "s1a-wv2-x.png", (480, 450))
    (tmp_path / "t.csv").write_text("filename,UN,RC,WS\ns1a-wv2-x.png,1,1,0\n")
    ds = read_multilabel(tmp_path / "t.csv")
    present = dict(zip(METOCEAN.names, ds["present"].values[0].tolist(), strict=True))
    assert (present["rain_cells"], present["wind_streaks"], present["iceberg"]) == (1, 0, UNKNOWN)
    assert METOCEAN.names[int(ds["category"].values[0])] == "rain_cells"
    assert float(ds["incidence_angle"].values[0]) == 36.8
    for text, message in (
        ("filename,RC\nnone.png,1\n", "no image"),
        ("filename,RC\ns1a-wv2-x.png,2\n", "expected 0 or 1"),
        ("filename,QQ\ns1a-wv2-x.png,1\n", "means a class"),
        ("filename,RC\n", "no rows"),
    ):
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(FrazilError, match=message):
            read_multilabel(tmp_path / "t.csv")


@pytest.mark.data
def test_real_wave_mode_examples(real_data: Path) -> None:
    table = real_data / "wave-mode" / "sample_data.csv"
    if not table.is_file():
        pytest.skip(f"no {table}")
    ds = read_multilabel(table)
    assert ds["image"].shape == (15, 200, 200)
    assert int((ds["present"].values == 1).sum()) > 8
    assert np.isfinite(ds["incidence_angle"].values).all()


def test_broken_image(tmp_path: Path) -> None:
    (tmp_path / "F").mkdir()
    (tmp_path / "F" / "a.png").write_bytes(b"no image")
    with pytest.raises(LabelError, match=r"a\.png"):
        read_tengeop(tmp_path)


def test_an_imagette_whose_image_is_missing_is_named(tmp_path: Path) -> None:
    """The set was short by one, without a word. Wave mode is made of a wide product: its images carry two numbers."""
    made = simulate_product(tmp_path, seed=1, template="iw", lines=(0, 900), pixels=(10000, 11000))
    (made / "manifest.safe").unlink()
    for file in [f for f in made.rglob("*-vv-*") if f.is_file()]:
        data = file.read_bytes()
        for number in ("001", "002"):
            if file.suffix == ".xml":
                changed = data.replace(b"<mode>IW<", b"<mode>WV<").replace(b"<swath>IW<", b"<swath>WV1<")
                data = re.sub(rb"<imageNumber>\d+<", b"<imageNumber>%s<" % number.encode(), changed)
            name = file.name.replace("s1a-iw-", "s1a-wv1-").replace("-001.", f"-{number}.")
            file.with_name(name).write_bytes(data)
        file.unlink()
    whole = cut_imagettes(made, max_land=1.0)
    assert (whole.sizes["imagette"], whole.attrs["left_out_broken"]) == (2, [])
    next(made.glob("measurement/*-002.tiff")).unlink()
    short = cut_imagettes(made, max_land=1.0)
    assert short.sizes["imagette"] == 1
    assert re.search(r"-002: .* has no measurement/s1a-wv1-.*-002\.tiff", short.attrs["left_out_broken"][0])


def test_a_mask_whose_image_is_missing_is_told(tmp_path: Path) -> None:
    """The set was short by one, without a word."""
    for i, name in enumerate("abc"):
        picture(tmp_path / "images" / f"{name}.png", (40, 40), seed=i)
        picture(tmp_path / "masks" / f"{name}.png", (40, 40), seed=i + 9)
    assert read_masks(tmp_path).sizes["imagette"] == 3
    (tmp_path / "images" / "b.png").unlink()
    with pytest.raises(LabelError, match=r"masks.b is a mask without an image"):
        read_masks(tmp_path)
