"""Zarr stores of strangers run no code, take no more memory than they may need, and are refused in one line."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs import Zstd

from frazil.conventions import FIVE_CLASSES
from frazil.errors import LabelError
from frazil.labels.imagettes import Imagette, make_imagettes, open_imagettes, save_imagettes
from frazil.labels.patch_set import make_patches, open_patches, save_patches
from frazil.zarr_stores import frame_content


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    rng = np.random.default_rng(0)
    many = [Imagette(name=f"a{i}", image=rng.random((40, 40)), category=i % 3) for i in range(9)]
    ds = make_imagettes(many, size=40, cell=4, spacing_m=100.0, source="x", scaling="roughness")
    save_imagettes(ds, folder / "imagettes.zarr")
    patches = make_patches(
        rng.normal(-20, 5, (600, 2, 8, 8)),
        np.arange(600) % 5,
        channels=("hh", "hv"),
        units=("dB", "dB"),
        scheme=FIVE_CLASSES,
        scene=np.array(["a", "b"] * 300),
    )
    save_patches(patches, folder / "patches.zarr")
    return folder


@pytest.fixture(params=["imagettes", "patches"])
def store(request: pytest.FixtureRequest, stores: Path, tmp_path: Path) -> tuple[Path, Callable[..., Any]]:
    """A copy to damage, and what opens it."""
    shutil.copytree(stores / f"{request.param}.zarr", tmp_path / "s.zarr")
    return tmp_path / "s.zarr", open_imagettes if request.param == "imagettes" else open_patches


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refused(opener: Callable[..., Any], path: Path, words: str) -> None:
    with pytest.raises(LabelError, match=words) as caught:
        opener(path)
    assert len(str(caught.value).splitlines()) == 1


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (self.path,))

    def __init__(self, path: Path) -> None:
        self.path = str(path)


@pytest.mark.parametrize("role", ["filters", "compressor"])
@pytest.mark.parametrize("opener", [open_imagettes, open_patches])
def test_no_pickle_of_zarr_2_is_loaded(role: str, opener: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "s.zarr"
    (folder / "image").mkdir(parents=True)
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    codecs: dict[str, Any] = {"filters": None, "compressor": None, role: {"id": "pickle", "protocol": 5}}
    if role == "filters":
        codecs["filters"] = [{"id": "vlen-utf8"}, {"id": "pickle", "protocol": 5}]
    array = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "fill_value": 0, "order": "C", **codecs}
    (folder / "image" / ".zarray").write_text(json.dumps(array))
    (folder / "image" / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["patch"]}')
    (folder / "image" / "0").write_bytes(pickle.dumps(Trap(tmp_path / "trapped")))
    refused(opener, folder, "Zarr 2, and only Zarr 3")
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    "codecs",
    [
        [{"name": "vlen-utf8"}, {"name": "numcodecs.pickle", "configuration": {"protocol": 5}}],
        [{"name": "vlen-bytes"}],
        [{"name": "bytes"}, {"name": "blosc", "configuration": {}}],
        [{"name": "sharding_indexed", "configuration": {}}],
        [],
    ],
)
def test_only_the_codecs_that_are_written_are_read(
    codecs: list[dict[str, Any]], store: tuple[Path, Callable[..., Any]]
) -> None:
    path, opener = store
    change(path / "image" / "zarr.json", codecs=codecs)
    refused(opener, path, "image is coded by")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"data_type": "string"}, "type 'string'"),
        ({"codecs": [{"name": "bytes", "configuration": 0}]}, "metadata of image is incomplete"),
        ({"data_type": {"name": "variable_length_bytes"}}, "expected numbers"),
        ({"storage_transformers": [{"name": "x"}]}, "does not write"),
        ({"chunk_grid": {"name": "rectilinear", "configuration": {"chunk_shape": [1]}}}, "does not write"),
        ({"shape": [10**9, 200, 200, 3]}, "does not write|more data than"),
        ({"shape": [-1]}, "incomplete"),
        ({"zarr_format": 2}, "not of Zarr 3"),
        ({"node_type": "group"}, "does not write"),
        ({"codecs": 7}, "incomplete"),
    ],
)
def test_strange_metadata(values: dict[str, Any], words: str, store: tuple[Path, Callable[..., Any]]) -> None:
    path, opener = store
    change(path / "image" / "zarr.json", **values)
    refused(opener, path, words)


def test_a_fill_value_without_bounds_is_one_line(store: tuple[Path, Callable[..., Any]]) -> None:
    path, opener = store
    change(path / ("label" if opener is open_patches else "category") / "zarr.json", fill_value=1e308)
    with suppress(LabelError):
        opener(path)


def test_foreign_arrays_links_and_pipes(store: tuple[Path, Callable[..., Any]], tmp_path: Path) -> None:
    path, opener = store
    with_stranger = tmp_path / "stranger.zarr"
    shutil.copytree(path, with_stranger)
    zarr.open_group(with_stranger, mode="a").create_array("spy", shape=(1,), dtype="u1")
    refused(opener, with_stranger, "holds 'spy'")
    (path / "latitude" / "c" / "0").unlink(missing_ok=True)
    (path / "latitude" / "c").mkdir(exist_ok=True)
    os.mkfifo(path / "latitude" / "c" / "0")
    refused(opener, path, "no regular file")
    (path / "latitude" / "c" / "0").unlink()
    (path / "latitude" / "c" / "0").symlink_to("/dev/zero")
    refused(opener, path, "no regular file")
    shutil.rmtree(path / "latitude")
    (path / "latitude").symlink_to("/")
    refused(opener, path, "no folder")


def test_a_small_chunk_that_becomes_gigabytes_is_not_opened(store: tuple[Path, Callable[..., Any]]) -> None:
    """Whether the metadata says so or only the chunk: neither takes the memory."""
    path, opener = store
    bomb = bytes(Zstd().encode(np.zeros(300_000_000, np.uint8)))
    assert len(bomb) < 100_000
    chunk = next(p for p in (path / "image" / "c").rglob("*") if p.is_file())
    chunk.write_bytes(bomb)
    del bomb
    tracemalloc.start()
    refused(opener, path, "chunk image/c/.* is truncated or not of the size")
    about = json.loads((path / "image" / "zarr.json").read_text())
    grown = [10_000_000, *about["shape"][1:]]
    change(path / "image" / "zarr.json", chunk_grid={"name": "regular", "configuration": {"chunk_shape": grown}})
    refused(opener, path, "a chunk of image would take")
    change(path / "image" / "zarr.json", shape=grown)
    refused(opener, path, "more data than its chunks can hold")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000


def test_truncated_and_missing_chunks(store: tuple[Path, Callable[..., Any]]) -> None:
    path, opener = store
    chunk = max((p for p in (path / "image" / "c").rglob("*") if p.is_file()), key=lambda p: str(p))
    whole = chunk.read_bytes()
    for keep in (0, 3, 7, len(whole) // 2, len(whole) - 1):
        chunk.write_bytes(whole[:keep])
        refused(opener, path, "truncated")
    chunk.unlink()
    refused(opener, path, "chunks of image are missing")


def test_codes_outside_the_classes_are_refused(stores: Path, tmp_path: Path) -> None:
    for name, array, opener in (("imagettes", "category", open_imagettes), ("patches", "label", open_patches)):
        shutil.copytree(stores / f"{name}.zarr", tmp_path / f"{name}.zarr")
        labels: Any = zarr.open_group(tmp_path / f"{name}.zarr", mode="a")[array]
        labels[3] = 77
        refused(opener, tmp_path / f"{name}.zarr", r"holds the (label|category) 77")
        labels[3] = 255
        opener(tmp_path / f"{name}.zarr")


@pytest.mark.parametrize("n", [1, 255, 256, 65_792, 300_000])
@pytest.mark.parametrize("kind", ["noise", "zeros"])
@pytest.mark.parametrize("checksum", [False, True])
def test_frames_by_the_codec_itself(n: int, kind: str, checksum: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(n)
    data = rng.integers(256, size=n, dtype=np.uint8) if kind == "noise" else np.zeros(n, np.uint8)
    frame = bytes(Zstd(checksum=checksum).encode(data))
    for content, expected in ((frame, n), (frame[:-1], -1), (frame + b"x", -1), (frame + frame, -1)):
        (tmp_path / "f").write_bytes(content)
        with (tmp_path / "f").open("rb") as file:
            assert frame_content(file, len(content)) == expected


def test_sets_of_one_value_and_of_large_patches_are_read(tmp_path: Path) -> None:
    """All open water, all unlabelled, at the place of zero: nothing of it is a chunk left out."""
    image = np.zeros((3, 1, 600, 600), np.float32)
    patches = make_patches(
        image, np.zeros(3), channels=("hh",), units=("dB",), scheme=FIVE_CLASSES, scene=np.array(["a"] * 3)
    )
    again = open_patches(save_patches(patches, tmp_path / "p.zarr"))
    np.testing.assert_array_equal(again["image"].values, image)
    assert (again["label"].values == 0).all()
