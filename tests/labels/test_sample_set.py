"""What sets of patches and of imagettes share: opened, checked and gone through alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.conventions import BINARY
from frazil.errors import LabelError, LabelNotFoundError
from frazil.labels.imagettes import Imagette, join_imagettes, make_imagettes, open_imagettes, save_imagettes
from frazil.labels.patch_set import join_patches, make_patches, open_patches, save_patches
from frazil.labels.sample_set import blocks, sample_dim

Kind = tuple[Callable[..., xr.Dataset], Callable[..., Path], Callable[..., xr.Dataset], str]


def ice(n: int, size: int = 8) -> xr.Dataset:
    image = np.random.default_rng(n).normal(-20, 1, (n, 1, size, size))
    label = np.arange(n, dtype=np.uint8) % 2
    return make_patches(
        image, label, channels=("hh",), units=("dB",), scheme=BINARY, scene=np.array([f"S{i // 3}" for i in range(n)])
    )


def sea(n: int, size: int = 8) -> xr.Dataset:
    random = np.random.default_rng(n)
    items = [Imagette(name=f"a {i}", image=random.random((size, size)), category=i % 10) for i in range(n)]
    return make_imagettes(items, size=size, cell=4, spacing_m=100.0, source="a test", scaling="8-bit")


ICE: Kind = (ice, save_patches, open_patches, "label")
SEA: Kind = (sea, save_imagettes, open_imagettes, "category")
both = pytest.mark.parametrize("kind", [ICE, SEA], ids=["patches", "imagettes"])


@both
@given(n=st.integers(1, 40), size=st.integers(1, 50))
@settings(max_examples=20, deadline=None)
def test_blocks_are_the_set_in_order(kind: Kind, n: int, size: int) -> None:
    ds = kind[0](n)
    parts = list(blocks(ds, size))
    assert [p.sizes[sample_dim(ds)] for p in parts[:-1]] == [size] * (len(parts) - 1)
    np.testing.assert_array_equal(np.concatenate([p["image"].values for p in parts]), ds["image"].values)


@both
def test_a_store_that_is_not_there_names_the_command_that_makes_one(kind: Kind, tmp_path: Path) -> None:
    with pytest.raises(LabelNotFoundError, match=r"^There is no .* at .*none\.zarr\. Make one with `frazil \w+`\.$"):
        kind[2](tmp_path / "none.zarr")


@both
@pytest.mark.parametrize("code", [2, 10, 11, 200, 254])
def test_codes_outside_the_classes_are_refused(kind: Kind, code: int, tmp_path: Path) -> None:
    make, save, load, name = kind
    ds = make(12)
    classes = len(ds.attrs["class_names"]) if "class_names" in ds.attrs else ds.sizes["class"]
    values = ds[name].values.copy()
    values[5], values[6] = code, 255
    path = save(ds.assign({name: ds[name].copy(data=values)}), tmp_path / "set.zarr")
    if code < classes:
        assert load(path)[name].values[5] == code
    else:
        with pytest.raises(LabelError, match=rf"holds the {name} {code}; .* 0 to {classes - 1}, and 255 for unknown"):
            load(path)


@both
def test_a_store_that_lost_its_attributes_is_one_line(kind: Kind, tmp_path: Path) -> None:
    path = kind[1](kind[0](4), tmp_path / "set.zarr")
    (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    with pytest.raises(Exception) as caught:  # noqa: PT011 - LabelError or ContractError, as the kind looks first
        kind[2](path)
    assert type(caught.value).__module__ == "frazil.errors"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("join", "make"), [(join_patches, ice), (join_imagettes, sea)])
def test_sets_of_other_sizes_are_not_joined(join: Callable[..., Any], make: Callable[..., xr.Dataset]) -> None:
    with pytest.raises(LabelError, match=r"^Sets differ in \w+: 8 and 16\. Cut them alike\.$"):
        join([make(3), make(3, 16)])
