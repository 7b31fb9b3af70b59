"""The network with a wide view: the same answer whatever the tiles, and one that the whole scene decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from frazil.errors import OptionError
from frazil.learn.checkpoint import Model, ModelCard, load_model, save_model
from frazil.learn.data.scenes import CropSampler, labelled_scene, scene_logits
from frazil.learn.infer.torch_engine import TorchEngine
from frazil.learn.infer.wide import wide_view
from frazil.learn.models import create_model, view_of
from frazil.learn.models.wide_unet import Views, WideUNetConfig
from frazil.learn.predict.ice import predict
from frazil.learn.run import train
from frazil.recipes.ice_simulated import tiny
from frazil.scene.scaling import CHANNELS, network_input
from frazil.simulate.scene import simulate_scene

NAMES = ("hh", "hv", "incidence_angle")
SETTINGS = {"widths": (4, 6, 8), "wide_widths": (4, 6), "patch": 2}


@pytest.fixture(scope="module")
def scene() -> xr.Dataset:
    return simulate_scene("ew", seed=1, spacing_m=480.0, lines=(1000, 4300), pixels=(1000, 5000)).load()


def network(n_classes: int = 5) -> torch.nn.Module:
    torch.manual_seed(0)
    made = create_model("wide_unet", n_channels=3, n_classes=n_classes, settings=SETTINGS)
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return made.eval()


def test_cells_are_means_of_what_was_observed() -> None:
    """By brute force, with a ragged end and pixels that are missing."""
    rng = np.random.default_rng(0)
    arrays = {
        "sigma0": rng.uniform(0.001, 0.1, (2, 21, 30)).astype(np.float32),
        "nesz": rng.uniform(0.001, 0.002, (2, 21, 30)).astype(np.float32),
        "incidence_angle": np.linspace(20, 45, 30, dtype=np.float32)[None].repeat(21, 0),
        "valid": rng.random((21, 30)) > 0.4,
    }
    arrays["valid"][8:16, 8:16] = False
    channels = tuple(CHANNELS[n] for n in (*NAMES, "nesz_hv"))
    parts = [{k: v[..., i : i + 16, :] for k, v in arrays.items()} for i in (0, 16)]
    found = wide_view(parts, ["HH", "HV"], channels, 8)
    assert found.shape == (4, 3, 4)
    for r in range(3):
        for c in range(4):
            part = (slice(8 * r, 8 * r + 8), slice(8 * c, 8 * c + 8))
            known = arrays["valid"][part]
            if not known.any():
                assert (found[:, r, c] == 0).all()
                continue
            one = {k: arrays[k][(..., *part)][..., known].mean(-1)[..., None, None] for k in ("sigma0", "nesz")}
            one |= {"incidence_angle": arrays["incidence_angle"][part][known].mean()[None, None]}
            one["valid"] = np.ones((1, 1), bool)
            np.testing.assert_allclose(found[:, r, c], network_input(one, ["HH", "HV"], channels)[:, 0, 0], atol=1e-4)


def test_tiles_do_not_change_the_answer(scene: xr.Dataset) -> None:
    labelled = labelled_scene(scene, scene["ice_class"].values, NAMES, view_of("wide_unet", SETTINGS))
    engine = TorchEngine(network())
    whole, small = (scene_logits(engine, labelled, tile=t).astype(np.float32) for t in (4096, 64))
    np.testing.assert_allclose(whole, small, atol=2e-2, rtol=1e-2)


def test_training_and_prediction_see_the_same(scene: xr.Dataset) -> None:
    """A crop of a batch, flipped or not, gives what the engine gives there."""
    model = network()
    labelled = labelled_scene(scene, scene["ice_class"].values, NAMES, 8)
    sampler = CropSampler([labelled], NAMES, crop=64, coarse=0.0, seed=3, view=8)
    for step in range(4):
        (image, wide, corner), _ = sampler.batch(step, 8)
        assert wide.shape[0] == 2
        with torch.inference_mode():
            logits = model(Views(torch.from_numpy(image), torch.from_numpy(wide), torch.from_numpy(corner))).numpy()
        engine = TorchEngine(model)
        for k in range(8):
            view = wide[k % 2]
            engine.look(view)
            got = engine(image[k], tuple(corner[k].tolist()))
            np.testing.assert_allclose(got, logits[k], atol=1e-3)
            row, column = corner[k] // 8
            under = view[:, row : row + 8, column : column + 8]
            cells = image[k].reshape(3, 8, 8, 8, 8).mean((2, 4))  # dB of means and means of dB are near each other
            assert np.abs(under - cells)[2].max() < 0.01  # the angle: the crop lies where its corner says
            assert np.corrcoef(under[0].ravel(), cells[0].ravel())[0, 1] > 0.9


def test_what_is_far_away_decides() -> None:
    """The answer in a corner depends on what lies more than 50 cells, 50 km at 120 m, away."""
    torch.manual_seed(0)
    settings = {"wide_widths": (8, 8, 16, 16, 16)}
    model = create_model("wide_unet", n_channels=3, n_classes=2, settings=settings).eval()
    wide = torch.rand(1, 3, 160, 160, requires_grad=True)
    model(Views(torch.rand(1, 3, 64, 64), wide, torch.tensor([[0, 0]]))).square().sum().backward()
    assert wide.grad is not None
    moved = wide.grad[0].abs().sum(0)
    reach = int(torch.nonzero(moved).amax())
    assert 50 < reach < 160


@pytest.mark.parametrize(("stage", "view"), [(0, 2), (1, 4), (3, 16)])
def test_the_wide_view_enters_at_a_stage_of_choice(stage: int, view: int) -> None:
    settings = {"wide_widths": (8, 8), "wide_stage": stage}
    assert view_of("wide_unet", settings) == view
    model = create_model("wide_unet", n_channels=3, n_classes=2, settings=settings).eval()
    wide = torch.zeros(1, 3, 8, 8)
    views = Views(torch.zeros(1, 3, 32, 32), wide, torch.tensor([[view, 2 * view]]))
    with torch.inference_mode():
        before = model(views)
        wide[0, :, 1, 2] = 1  # the cell under the image's first corner
        moved = (model(views) - before).abs().sum(1)[0]
    assert moved[0, 0] > 0


def test_a_run_its_folder_and_a_map(tmp_path: Path, scene: xr.Dataset) -> None:
    run = tiny()
    run = replace(run, model=replace(run.model, architecture="wide_unet", settings=SETTINGS))
    model = train(run, tmp_path / "run")
    loaded = load_model(tmp_path / "run" / "model")
    assert loaded.card.architecture == "wide_unet"
    card = replace(loaded.card, spacing_m=480.0)
    first = predict(scene, Model(model.network, card), crs=None)
    save_model(loaded.network, card, tmp_path / "copy")
    again = predict(scene, tmp_path / "copy", crs=None, tile=96)
    assert np.abs(first["probability"].values.astype(int) - again["probability"].values.astype(int)).max() <= 1
    assert isinstance(card, ModelCard)


def test_impossible_shapes() -> None:
    assert view_of("unet") == 1
    with pytest.raises(OptionError, match="one of the 2 stages"):
        WideUNetConfig(widths=(4, 8))
    with pytest.raises(OptionError, match="wide_widths"):
        WideUNetConfig(wide_widths=(4,))
    with pytest.raises(OptionError, match="cells of 1 pixel"):
        WideUNetConfig(patch=1, wide_stage=0)
