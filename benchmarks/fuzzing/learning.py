"""Sets, models, exchange stores, splits and runs: what trains, and what has been trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.fuzzing.geography import simulated_scene
from benchmarks.fuzzing.target import Numbers, digest, some


def make_patches(folder: Path) -> Path:
    """A patch set."""
    from frazil.labels.patch_set import save_patches
    from frazil.labels.patches import cut_patches

    scene = simulated_scene()
    return save_patches(cut_patches(scene, scene["ice_class"].values, size=8, stride=8), folder / "set.zarr")


def read_patch_set(path: Path) -> Numbers:
    """Images and labels as a training reads them."""
    from frazil.learn.data.patches import read_patches

    patches, _ = read_patches((str(path),), channels=(), scheme="five_classes")
    return {
        "image": some(patches.image, 400),
        "label": np.bincount(patches.label, minlength=256),
        "all": digest(patches.image),
    }


def make_ai4arctic(folder: Path) -> Path:
    """A raw scene of the AI4Arctic set."""
    from tests.labels.test_datasets import NAME, raw_file

    folder.mkdir(parents=True)
    rows = ["3;01;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;I", "7;92;-9;91; 8;-9;-9;-9;-9;-9;-9;-9;-9;-9;I"]
    return raw_file(folder / f"{NAME}_icechart_dmi_201801241950_SouthEast_RIC.nc", rows)


def read_ai4arctic(path: Path) -> Numbers:
    """Patches and labels."""
    from frazil.labels.datasets.ai4arctic import read_ai4arctic as read

    patches = read(path, size=10, stride=5)
    return {
        "image": some(patches["image"].values, 300),
        "label": np.bincount(patches["label"].values, minlength=256),
        "where": some([patches["latitude"].values, patches["longitude"].values]),
    }


def make_masks(folder: Path) -> Path:
    """Pictures and masks of others."""
    from PIL import Image

    draw = np.random.default_rng(0)
    for i, name in enumerate("abc"):
        for kind, values in (
            ("images", draw.integers(1, 255, (40, 40))),
            ("masks", draw.integers(0, 2, (40, 40)) * 255),
        ):
            (folder / "set" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint8)).save(folder / "set" / kind / f"{name}.{('png', 'tif', 'jpg')[i]}")
    return folder / "set"


def read_masks(path: Path) -> Numbers:
    """Images and masks."""
    from frazil.labels.datasets.masks import read_masks as read

    ds = read(path)
    return {"image": some(ds["image"].values, 300), "mask": some(ds["mask"].values, 300)}


def make_imagettes(folder: Path) -> Path:
    """A set of imagettes."""
    from frazil.labels.imagettes import save_imagettes
    from frazil.simulate.imagettes import simulated_imagettes

    return save_imagettes(simulated_imagettes(3, seed=1, resolution_m=200.0), folder / "set.zarr")


def read_imagettes(path: Path) -> Numbers:
    """Images and masks."""
    from frazil.labels.imagettes import open_imagettes

    ds = open_imagettes(path)
    return {"image": some(ds["image"].values, 400), "mask": some(ds["mask"].values), "all": digest(ds["image"].values)}


def make_model(folder: Path) -> Path:
    """A small U-Net and its card."""
    import torch

    from frazil.learn.checkpoint import ModelCard, save_model
    from frazil.learn.models import create_model
    from frazil.learn.seen import Seen
    from frazil.scene.scaling import CHANNELS

    torch.manual_seed(0)
    settings = {"widths": (4, 8), "patch": 1}
    network = create_model("unet", n_channels=3, n_classes=5, settings=settings)
    card = ModelCard(
        id="fuzz",
        architecture="unet",
        settings={"widths": [4, 8], "patch": 1},
        class_scheme="five_classes",
        channels=tuple(CHANNELS[n] for n in ("hh", "hv", "incidence_angle")),
        spacing_m=480.0,
        denoise="esa",
        incidence_range=(19.0, 46.0),
        seen=Seen(scenes=9, medians={"hh": (-25.0, -10.0)}, modes=("EW",)),
    )
    save_model(network, card, folder / "model")
    return folder / "model"


def read_model(path: Path) -> Numbers:
    """What the model says of a scene, all of it sea: the map of land takes longer than everything else."""
    from frazil.learn.checkpoint import load_model
    from frazil.learn.predict import fit
    from frazil.learn.predict.ice import predict

    fit.land_mask = lambda lon, _: np.zeros(lon.shape, bool)  # type: ignore[attr-defined]
    made = predict(simulated_scene().isel(line=slice(0, 64), pixel=slice(0, 64)), load_model(path), crs=None)
    return {"probability": some(made["probability"].values, 300), "flags": some(made["quality_flags"].values, 100)}


def make_store(folder: Path) -> Path:
    """An exchange folder with two workers."""
    from frazil.learn.distributed.exchange import Exchange
    from frazil.learn.distributed.store import Store

    (folder / "store").mkdir(parents=True)
    for name in ("good", "bad"):
        peer = Exchange(Store(folder / "store"), run="run", worker=name, like=_like(), model_text="net")
        for step in range(3):
            peer.publish({k: v + step for k, v in _like().items()}, step=step, samples=step)
    return folder / "store"


def _like() -> Any:
    import torch

    return {"w": torch.ones(8, 8), "n": torch.tensor(3)}


def read_store(path: Path) -> Numbers:
    """What a third worker learns from the good one, whatever became of the bad one."""
    from frazil.learn.distributed.exchange import Exchange
    from frazil.learn.distributed.store import Store
    from frazil.learn.distributed.watch import workers

    me = Exchange(Store(path), run="run", worker="me", like=_like(), model_text="net")
    found = me.fetch()
    assert me.publish(_like(), step=1, samples=1)
    assert "me" in {seen.manifest.worker for seen in workers(path, "run")}
    return {"good": some(found["good"].weights["w"]), "step": [found["good"].manifest.step]}


def make_split(folder: Path) -> Path:
    """A split."""
    from frazil.labels.splits import Split

    return Split(by="scene", seed=1, shares=(0.2, 0.2), train=("a", "b"), validation=("c",), test=("d",)).save(
        folder / "split.json"
    )


def read_split(path: Path) -> Numbers:
    """Its sides."""
    from frazil.labels.splits import Split

    return {"split": digest(Split.load(path))}


def make_run(folder: Path) -> Path:
    """The folder of a run that has just begun."""
    from frazil.learn.run_folder import begin
    from frazil.recipes import find_recipe

    (folder / "run").mkdir(parents=True)
    begin(folder / "run", find_recipe("patches:adhoc"), {"split": "scene"}, 10, "frazil train", overwrite=False)
    (folder / "run" / "log.jsonl").write_text(
        "".join(json.dumps({"step": i, "loss": 1 / (i + 1)}) + "\n" for i in range(9))
    )
    return folder / "run"


def read_run_folder(path: Path) -> Numbers:
    """What a report says of it."""
    from frazil.learn.config import run_config
    from frazil.learn.run_folder import read_run
    from frazil.reports.gather import read_record

    found = read_record(path, worst=0)
    return {"config": digest(run_config(read_run(path)["config"]).to_json()), "curve": digest(found.log)}


def make_features(folder: Path) -> Path:
    """A table of descriptors."""
    folder.mkdir(parents=True)
    np.savez(folder / "features.npz", features=np.random.default_rng(0).random((200, 6)).astype(np.float32))
    return folder / "features.npz"


def read_features(path: Path) -> Numbers:
    """As `propagate` reads it."""
    from frazil.learn.propagation.files import read_samples

    return {"features": some(read_samples(path, None).features, 300)}
