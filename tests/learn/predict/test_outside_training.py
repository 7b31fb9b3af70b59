"""Models and scenes that do not fit each other are refused, and scenes unlike the training are flagged, not trusted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import load_file, save_file

from frazil.conventions import QUALITY_FLAGS
from frazil.errors import ModelError
from frazil.learn.checkpoint import DEFAULT_MODEL, Model, bundled_models, load_model, save_model
from frazil.learn.predict.ice import predict
from frazil.learn.seen import Seen, medians
from frazil.scene.scaling import CHANNELS
from frazil.simulate.scene import simulate_scene

OUTSIDE, MISSING = QUALITY_FLAGS["outside_training"][0], QUALITY_FLAGS["noise_missing"][0]


@pytest.fixture(scope="module")
def scene() -> xr.Dataset:
    return simulate_scene("ew", seed=3001, spacing_m=120.0, lines=(3000, 5400), pixels=(1500, 7500)).load()


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model()


@pytest.fixture
def folder(model: Model, tmp_path: Path) -> Path:
    save_model(model.network, model.card, tmp_path / "model")
    return tmp_path / "model"


def flagged(scene: xr.Dataset, model: Model) -> tuple[float, str]:
    """Share of the observed pixels that are flagged as unlike the training, and what is said."""
    made = predict(scene, model, crs=None)
    flags = made["quality_flags"].values
    seen = flags & 3 == 0
    return float((flags[seen] & OUTSIDE > 0).mean()), str(made.attrs.get("outside_training", ""))


def test_a_scene_like_the_training_is_not_flagged(scene: xr.Dataset, model: Model) -> None:
    assert flagged(scene, model) == (0.0, "")


@pytest.mark.parametrize("db", [-20.0, 10.0, 20.0])
def test_errors_of_calibration_are_flagged(scene: xr.Dataset, model: Model, db: float) -> None:
    share, said = flagged(scene.assign(sigma0=scene["sigma0"] * np.float32(10 ** (db / 10))), model)
    assert share == 1.0
    assert "hh" in said or "hv" in said


def test_swapped_polarisations_are_flagged(scene: xr.Dataset, model: Model) -> None:
    swapped = scene.assign(sigma0=(scene["sigma0"].dims, scene["sigma0"].values[::-1].copy()))
    share, said = flagged(swapped, model)
    assert share == 1.0
    assert "hh − hv" in said


def test_other_modes_are_flagged(scene: xr.Dataset, model: Model) -> None:
    share, said = flagged(scene.assign_attrs(mode="IW"), model)
    assert share == 1.0
    assert "products of mode IW (it learnt from EW)" in said


def test_a_scene_with_nothing_observed_is_no_map_and_no_error(scene: xr.Dataset, model: Model) -> None:
    made = predict(scene.assign(valid=xr.zeros_like(scene["valid"])), model, crs=None)
    assert (made["ice_class"] == 255).all()
    assert (made["quality_flags"] == 1).all()


def test_what_the_scene_says_is_not_valid_is_not_classified(scene: xr.Dataset, model: Model) -> None:
    masked = scene.copy()
    valid = masked["valid"].values.copy()
    valid[100:120, 200:220] = False
    made = predict(masked.assign(valid=(scene["valid"].dims, valid)), model, crs=None)
    assert (made["ice_class"].values[100:120, 200:220] == 255).all()
    assert (made["ice_class"].values[130:140, 200:220] != 255).any()


def test_unknown_angles_and_noise_are_not_passed_over(scene: xr.Dataset, model: Model) -> None:
    sea = predict(scene, model, crs=None)["ice_class"].values < 254
    line, pixel = next(
        (i, j) for i in range(0, 600, 20) for j in range(0, 1500, 20) if sea[i : i + 20, j : j + 40].all()
    )
    blind, noisy = np.s_[line : line + 10, pixel : pixel + 10], np.s_[line : line + 10, pixel + 20 : pixel + 30]
    angle, nesz = scene["incidence_angle"].values.copy(), scene["nesz"].values.copy()
    angle[blind] = np.nan
    nesz[(slice(None), *noisy)] = np.nan
    changed = scene.assign(incidence_angle=(scene["incidence_angle"].dims, angle), nesz=(scene["nesz"].dims, nesz))
    try:
        made = predict(changed, model, crs=None)
    except ValueError as error:  # refused before anything was computed is right, too
        assert "incidence" in str(error)  # noqa: PT017
        made = predict(scene.assign(nesz=(scene["nesz"].dims, nesz)), model, crs=None)
    else:
        assert (made["ice_class"].values[blind] == 255).all()
    assert (made["quality_flags"].values[noisy] & MISSING > 0).all()


@pytest.mark.parametrize("denoise", ["none", "balanced"])
def test_noise_removed_otherwise_is_refused(scene: xr.Dataset, model: Model, denoise: str) -> None:
    with pytest.raises(ModelError, match=f"denoise='esa', but this one was opened with denoise='{denoise}'"):
        predict(scene.assign_attrs(denoise=denoise), model, crs=None)


def change_weights(folder: Path, change: Any) -> None:
    path = folder / "model.safetensors"
    weights = {k: v.clone() for k, v in load_file(path).items()}
    changed = change(weights)
    save_file(weights if changed is None else changed, path)
    card = json.loads((folder / "card.json").read_text())  # one that does not tell, as its author would leave it
    (folder / "card.json").write_text(json.dumps(card | {"weights_sha256": ""}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_weight_that_is_not_finite_is_enough(folder: Path, value: float) -> None:
    def spoil(weights: dict[str, torch.Tensor]) -> None:
        next(w for w in weights.values() if w.is_floating_point()).view(-1)[7] = value

    change_weights(folder, spoil)
    with pytest.raises(ModelError, match="holds numbers that are not finite"):
        load_model(folder)


def test_weights_that_overflow_are_refused_when_they_speak(folder: Path, scene: xr.Dataset) -> None:
    change_weights(
        folder, lambda w: {k: v * 1e30 if v.is_floating_point() and v.ndim == 4 else v for k, v in w.items()}
    )
    with pytest.raises(ModelError, match="gave numbers that are not finite"):
        predict(scene, load_model(folder), crs=None)


def test_weights_saved_from_several_devices_are_read(folder: Path, model: Model) -> None:
    change_weights(folder, lambda w: {f"module.{k}": v for k, v in w.items()})
    again = load_model(folder).network.state_dict()
    assert all(torch.equal(v, again[k]) for k, v in model.network.state_dict().items())


CARDS: dict[str, Any] = {
    "temperature": [float("nan"), float("inf"), 0, -1, 1e30, "1", None, True, [1.0]],
    "spacing_m": [float("nan"), -120, 0, 1e9, "120", None],
    "incidence_range": [[float("nan"), 46], [46, 19], [19, 460], [-5, 46], [19], "19-46", None, [1, 2, 3]],
    "channels": [
        [],
        None,
        "hh",
        [{"name": "hh"}],
        [{"name": "wind_speed", "low": 0, "high": 1}] * 3,
        [{"name": "hh", "low": float("nan"), "high": 0}, {"name": "hv", "low": -35, "high": -5}],
        [{"name": "hh", "low": 0, "high": -30}],
        [{"name": "hh", "low": -30, "high": 0}] * 3,
        [
            {"name": "hh", "low": -30, "high": 0, "units": "degree"},
            {"name": "hv", "low": -35, "high": -5},
            {"name": "incidence_angle", "low": 19, "high": 46},
        ],
    ],
    "classes": [["open_water"], ["deformed_ice", "young_ice", "open_water", "brash_pancake", "level_first_year_ice"]],
    "class_scheme": ["binary", "nothing", 3, None, ["five_classes"]],
    "architecture": ["alexnet", None, 3, "resnet20", "ensemble", {}],
    "settings": [
        {"widths": [10**9, 10**9]},
        {"widths": [-1, 2]},
        {"widths": []},
        {"widths": "ab"},
        {"patch": 0},
        {"patch": 10**12},
        {"colour": 1},
        None,
        [],
        {"widths": [24, 48, 96, 128], "patch": 2.5},
        {"widths": [0, 0, 0, 0]},
        {"widths": [float("nan")] * 4},
        {"dropout": "much"},
    ],
    "denoise": [None, 3, "\x1b[2J"],
    "id": [None, 3, "\x1b]0;owned\x07", "x" * 100_000],
    "format": [0, 2, "1", None],
    "seen": [3, {"medians": {"hh": [1]}}, {"medians": {"hh": [0, float("nan")]}}, {"medians": {"hh": [5, -5]}}, [1, 2]],
    "boxcar": ["yes", 1],
}


@pytest.mark.parametrize(("field", "value"), [(k, v) for k, values in CARDS.items() for v in values])
def test_cards_that_claim_what_cannot_be_are_refused_in_a_line(folder: Path, field: str, value: Any) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {field: value}))
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    assert "Get the model again" in str(caught.value)
    assert len(str(caught.value)) < 3000


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff\xfe", b"{" * 100_000, b'{"format": 1}', b"null", b"[" * 100_000])
def test_cards_that_are_none(folder: Path, text: bytes) -> None:
    (folder / "card.json").write_bytes(text)
    with pytest.raises(ModelError, match="cannot be used"):
        load_model(folder)


@pytest.mark.parametrize("change", ["drop", "add", "shape", "dtype", "negative variance", "empty", "cut", "pipe"])
def test_weights_that_are_not_those_of_the_card(folder: Path, change: str) -> None:
    import os

    def spoil(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        name = next(k for k, v in weights.items() if v.is_floating_point())
        if change == "drop":
            del weights[name]
        elif change == "add":
            weights["more"] = torch.ones(3)
        elif change == "shape":
            weights[name] = weights[name].reshape(-1)[:-1].clone()
        elif change == "dtype":
            weights[name] = weights[name].double()
        elif change == "negative variance":
            weights[next(k for k in weights if k.endswith("running_var"))][0] = -1.0
        return {} if change == "empty" else weights

    path = folder / "model.safetensors"
    if change == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif change == "pipe":
        path.unlink()
        os.mkfifo(path)
    else:
        change_weights(folder, spoil)
    with pytest.raises(ModelError):
        load_model(folder)


def test_the_bundled_models_say_what_they_have_seen() -> None:
    for name in bundled_models():
        card = load_model(name).card
        seen = card.seen
        assert seen is not None
        assert seen.scenes == len(card.training["config"]["data"]["train_seeds"])
        assert seen.modes == ("EW",)
        assert set(seen.differences) == {"hh-hv"}


def test_a_model_that_does_not_tell_is_held_against_its_scaling(scene: xr.Dataset, folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    card.pop("seen", None)
    (folder / "card.json").write_text(json.dumps(card))
    silent = load_model(folder)
    assert silent.card.seen is None
    assert flagged(scene, silent) == (0.0, "")
    share, said = flagged(scene.assign(sigma0=scene["sigma0"] * np.float32(100)), silent)
    assert share == 1.0
    assert "hh above 0 dB" in said


def test_medians_are_in_the_units_of_their_channels() -> None:
    channels = [CHANNELS[n] for n in ("hh", "hv", "incidence_angle")]
    image = np.empty((3, 10, 10), np.float32)
    image[0], image[1], image[2] = 0.5, 0.4, 1.0
    image[:, :2] = 0.0  # not observed
    assert medians(image, channels) == pytest.approx({"hh": -15.0, "hv": -23.0, "hh-hv": 8.0}, abs=1e-4)
    assert medians(image[:, :2], channels) == {}


def test_what_was_seen_goes_there_and_back() -> None:
    images = np.random.default_rng(1).random((40, 2, 9, 9), np.float32)
    images[0] = 0.0  # nothing observed
    channels = (CHANNELS["hh"], CHANNELS["hv"])
    seen = Seen.of(images, channels, ["S1A_EW_GRDM_1SDH_2022", "S1B_IW_GRDH_1SDV_2021", "mine"])
    assert seen.scenes == 39
    assert seen.medians["hh"][0] < -15 < seen.medians["hh"][1]
    assert seen.modes == ("EW", "IW")
    assert Seen.from_json(json.loads(json.dumps(seen.to_json()))) == seen


def test_a_copy_of_the_bundled_model_is_the_bundled_model(tmp_path: Path) -> None:
    from importlib.resources import files

    shutil.copytree(str(files("frazil") / "data" / "models" / DEFAULT_MODEL), tmp_path / "copy")
    assert load_model(tmp_path / "copy").card == load_model().card
