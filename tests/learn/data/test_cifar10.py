"""CIFAR-10 in every layout it is found in; pickles of strangers run nothing; runs learn from it as from patches."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frazil.errors import LabelError, LabelNotFoundError, OptionError
from frazil.labels.datasets.cifar10 import CIFAR10, NAMES, Part, read_cifar10
from frazil.learn.config import Cifar10Data, LabelsConfig, override
from frazil.learn.data.cifar10 import load_cifar10
from frazil.learn.data.load import load_data
from frazil.learn.data.patches import Patches, PatchSampler
from frazil.learn.models import create_model
from frazil.learn.run import train
from frazil.recipes import find_recipe
from tests.conftest import ROOT


def pictures(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images whose brightness is their class."""
    rng = np.random.default_rng(seed)
    label = (np.arange(n) % 10).astype(np.uint8)
    image = rng.integers(0, 20, (n, 3, 32, 32)) + 23 * label[:, None, None, None]
    return image.astype(np.uint8), label


def as_pickle(image: np.ndarray, label: np.ndarray) -> bytes:
    batch = {
        b"batch_label": b"x",
        b"labels": label.tolist(),
        b"data": image.reshape(len(image), -1),
        b"filenames": [b"a.png"] * len(label),
    }
    return pickle.dumps(batch, protocol=2)


def write(folder: Path, layout: str) -> Path:
    """The same 60 training and 20 test images in a layout; those of folders are lossless."""
    (image, label), (test, test_label) = pictures(60, 0), pictures(20, 1)
    folder.mkdir()
    parts = {"train": (image, label), "test": (test, test_label)}
    if layout in ("pickle", "pickle.tar.gz", "binary"):
        inside = folder / "cifar-10-batches"
        inside.mkdir()
        files = {f"data_batch_{i + 1}": (image[30 * i : 30 * i + 30], label[30 * i : 30 * i + 30]) for i in range(2)}
        for name, (x, y) in (files | {"test_batch": parts["test"]}).items():
            if layout == "binary":
                rows = np.concatenate([y[:, None], x.reshape(len(x), -1)], axis=1)
                (inside / f"{name}.bin").write_bytes(rows.astype(np.uint8).tobytes())
            else:
                (inside / name).write_bytes(as_pickle(x, y))
        (inside / "batches.meta").write_bytes(pickle.dumps({b"label_names": list(NAMES)}))
    else:
        for part, (x, y) in parts.items():
            for i, (one, code) in enumerate(zip(x, y, strict=True)):
                path = folder / part / NAMES[code] / f"{i:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(one.transpose(1, 2, 0)).save(path)
    if layout == "tars":
        for part in parts:
            with tarfile.open(folder / f"{part}.tar", "w") as archive:
                archive.add(folder / part, part)
    if layout == "pickle.tar.gz":
        with tarfile.open(folder / "cifar.tar.gz", "w:gz") as archive:
            archive.add(folder / "cifar-10-batches", "cifar-10-batches-py")
        return folder / "cifar.tar.gz"
    return folder


@pytest.mark.parametrize("layout", ["pickle", "pickle.tar.gz", "binary", "images", "tars"])
def test_every_layout_gives_the_same_images(layout: str, tmp_path: Path) -> None:
    path = write(tmp_path / "set", layout)
    parts: list[tuple[Part, int, int]] = [("train", 0, 60), ("test", 1, 20)]
    for part, seed, n in parts:
        image, label = read_cifar10(path, part)
        want, codes = pictures(n, seed)
        assert image.dtype == label.dtype == np.uint8
        assert sorted(zip(label.tolist(), (x.tobytes() for x in image), strict=True)) == sorted(
            zip(codes.tolist(), (x.tobytes() for x in want), strict=True)
        )
    few, codes = read_cifar10(path, "train", per_class=2, seed=3)
    assert np.bincount(codes).tolist() == [2] * 10
    assert few.shape == (20, 3, 32, 32)


def test_python_2_pickles_are_read(tmp_path: Path) -> None:
    """The published files were written by Python 2: protocol 2, arrays by numpy.core, text as bytes."""
    image, label = pictures(10, 0)
    raw = as_pickle(image, label).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    assert b"numpy.core.multiarray" in raw
    (tmp_path / "data_batch_1").write_bytes(raw)
    np.testing.assert_array_equal(read_cifar10(tmp_path, "train")[0], image)


class Evil:
    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


@pytest.mark.parametrize("seed", range(3))
def test_no_code_of_a_pickle_runs(seed: int, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    evil = [
        Evil(os.system, f"touch {proof}"),
        Evil(eval, f"open({str(proof)!r}, 'w')"),
        Evil(np.fromfile, "/etc/passwd"),
    ][seed]
    image, label = pictures(10, 0)
    for values in ({b"data": evil, b"labels": label.tolist()}, {b"data": image.reshape(10, -1), b"labels": [evil]}):
        (tmp_path / "data_batch_1").write_bytes(pickle.dumps(values, protocol=2))
        with pytest.raises(LabelError, match="which no batch needs"):
            read_cifar10(tmp_path, "train")
    assert not proof.exists()


def test_damaged_batches_are_refused_by_name(tmp_path: Path) -> None:
    image, label = pictures(10, 0)
    good, rng = as_pickle(image, label), np.random.default_rng(0)
    cases = [b"", b"nonsense", good[:-40], pickle.dumps([1, 2], 2), pickle.dumps({b"data": 1}, 2)]
    cases += [
        pickle.dumps({b"data": image.reshape(10, -1).astype(dtype), b"labels": label.tolist()}, 2)
        for dtype in (np.float32, object)
    ]
    cases += [as_pickle(image[:9], label), as_pickle(image, label + 7), as_pickle(image[:, :2], label)]
    for data in cases:
        (tmp_path / "data_batch_1").write_bytes(data)
        with pytest.raises(LabelError, match="data_batch_1"):
            read_cifar10(tmp_path, "train")
    head = len(good) - 3072 * 10 - 400
    for _ in range(200):  # noise in the commands of the pickle, not in its pixels
        torn = bytearray(good)
        torn[int(rng.integers(head))] = int(rng.integers(256))
        (tmp_path / "data_batch_1").write_bytes(bytes(torn))
        with suppress(LabelError):  # and nothing else
            read_cifar10(tmp_path, "train")
    (tmp_path / "data_batch_1").unlink()
    (tmp_path / "data_batch_1.bin").write_bytes(b"x" * 3074)
    with pytest.raises(LabelError, match="not a multiple of 3073"):
        read_cifar10(tmp_path, "train")


def test_places_without_cifar_are_named(tmp_path: Path) -> None:
    with pytest.raises(LabelNotFoundError, match="No CIFAR-10 at"):
        read_cifar10(tmp_path / "nowhere", "train")
    with pytest.raises(LabelNotFoundError, match="holds no test part of CIFAR-10"):
        read_cifar10(tmp_path, "test")
    (tmp_path / "x.tar").write_bytes(b"no archive")
    with pytest.raises(LabelError, match="no archive that can be read"):
        read_cifar10(tmp_path / "x.tar", "train")
    with pytest.raises(OptionError, match="No CIFAR-10 was named"):
        load_cifar10(Cifar10Data(), 0)
    folder = tmp_path / "set" / "train" / "cat"
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(b"no picture")
    with pytest.raises(LabelError, match="cannot be read as an image"):
        read_cifar10(tmp_path / "set", "train")
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20)).save(buffer, "png")
    (folder / "1.png").write_bytes(buffer.getvalue())
    with pytest.raises(LabelError, match=r"has \(20, 20\) pixels"):
        read_cifar10(tmp_path / "set", "train")


def test_crops_and_flips_by_brute_force(tmp_path: Path) -> None:
    """Every augmented image is one of the 81 × 2 shifts and mirrorings of its original."""
    data = load_cifar10(Cifar10Data(path=str(write(tmp_path / "set", "binary"))), 5)
    sampler = data.train
    assert isinstance(sampler, PatchSampler)
    images, labels = sampler.batch(3, 12)
    places = sampler.places(3, 12)
    np.testing.assert_array_equal(labels, sampler.patches.label[places])
    seen = set()
    for image, place in zip(images, places, strict=True):
        wide = np.pad(sampler.patches.image[place].astype(np.float32), ((0, 0), (4, 4), (4, 4)))
        found = [
            (r, c, turned)
            for r in range(9)
            for c in range(9)
            for turned in (False, True)
            if np.array_equal(wide[:, r : r + 32, c : c + 32][:, :, :: -1 if turned else 1], image)
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) > 6
    np.testing.assert_array_equal(sampler.batch(3, 12)[0], images)


def test_few_labels_leave_the_others_to_learn_from_without(tmp_path: Path) -> None:
    config = Cifar10Data(path=str(write(tmp_path / "set", "binary")), validation=0.0)
    data = load_cifar10(config, 5, LabelsConfig(count=20, seed=1), pool=True)
    assert isinstance(data.train, PatchSampler)
    few, rest = data.train.patches, data.unlabelled
    assert rest is not None
    assert list(few.counts().values()) == [2] * 10
    assert len(rest) == 40
    assert len({x.tobytes() for x in np.concatenate([few.image, rest.image])}) == 60
    each = load_cifar10(config, 5, LabelsConfig(per_class=2, seed=1), pool=True)
    np.testing.assert_array_equal(each.train.patches.index, few.index)  # type: ignore[attr-defined]
    with pytest.raises(LabelError, match=r"labels.per_class is 7, but 6 training patches of '\w+' have a label"):
        load_cifar10(config, 5, LabelsConfig(per_class=7), pool=True)
    with pytest.raises(LabelError, match=r"none is left to learn from without. Set labels.count"):
        load_cifar10(config, 5, pool=True)
    with pytest.raises(OptionError, match=r"'speckle' changes backscatter.*Set strategy.strong=flip,rotate"):
        load_data(replace(find_recipe("few_labels:fixmatch"), data=config))
    changes = {
        "optim.epochs": "2",
        "strategy.first_steps": "2",
        "optim.batch": "24",
        "labels.count": "20",
        "model.settings.width": "4",
    }
    run = replace(override(find_recipe("few_labels:lp"), changes), data=config)
    model = train(run, tmp_path / "run")
    assert model.card.class_scheme == CIFAR10.name


def test_sides_share_no_image_and_shrinking_averages(tmp_path: Path) -> None:
    path = str(write(tmp_path / "set", "binary"))
    data = load_cifar10(Cifar10Data(path=path, validation=0.25), 0)
    assert isinstance(data.train, PatchSampler)
    assert isinstance(data.validation, Patches)
    assert isinstance(data.test, Patches)
    train, held_out = data.train.patches, data.validation
    assert (len(train), len(held_out), len(data.test)) == (45, 15, 20)
    images = [x.tobytes() for x in np.concatenate([train.image, held_out.image])]
    assert len(set(images)) == 60
    small = load_cifar10(Cifar10Data(path=path, shrink=2, validation=0.25), 0).test
    assert isinstance(small, Patches)
    full = data.test.image.astype(np.float32)
    want = (full[..., ::2, ::2] + full[..., 1::2, ::2] + full[..., ::2, 1::2] + full[..., 1::2, 1::2]) / 4
    np.testing.assert_allclose(small.image, want, atol=1e-3)


@pytest.mark.parametrize(("name", "parameters"), [("resnet20", 269_722), ("resnet32", 464_154)])
def test_the_networks_have_the_papers_parameters(name: str, parameters: int) -> None:
    assert find_recipe(f"cifar10:{name}").model.architecture == name
    network = create_model(name, n_channels=3, n_classes=10)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_a_run_learns_evaluates_and_reports(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from frazil.cli import cli

    path = write(tmp_path / "set", "binary")
    changes = {
        "data.path": str(path),
        "data.shrink": "4",
        "optim.epochs": "20",
        "optim.batch": "18",
        "optim.warmup": "5",
        "optim.lr": "0.05",
        "optim.validate_every": "20",
    }
    model = train(override(find_recipe("cifar10:resnet20"), changes), tmp_path / "run")
    assert model.card.class_scheme == CIFAR10.name
    assert model.card.scores["accuracy"] > 0.3  # brightness alone tells the classes
    assert "binary" not in model.card.scores  # neither ice nor water
    again = [*(w for k, v in changes.items() for w in ("--set", f"{k}={v}")), "-o", str(tmp_path / "run")]
    said = CliRunner().invoke(cli, ["train", "cifar10:resnet20", *again], catch_exceptions=False)
    assert "accuracy  " in said.output
    assert "ice" not in said.output
    done = CliRunner().invoke(cli, ["report", str(tmp_path / "run"), "-o", str(tmp_path / "report")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "Accuracy: share that is right" in page
    assert "ice against water" not in page
    assert "called water" not in page


@pytest.mark.data
def test_the_real_set(tmp_path: Path) -> None:
    folder = Path(os.environ.get("FRAZIL_TEST_DATA", ROOT.parent / "shared" / "data")) / "cifar10"
    if not folder.is_dir():
        pytest.skip(f"no CIFAR-10 in {folder}; set FRAZIL_TEST_DATA to a folder with cifar10/")
    image, label = read_cifar10(folder, "test", per_class=20)
    assert image.shape == (200, 3, 32, 32)
    assert np.bincount(label).tolist() == [20] * 10
    assert 100 < image.mean() < 140
