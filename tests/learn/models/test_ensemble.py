"""Several networks as one model: its probabilities are the members' mean, and every command takes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from click.testing import CliRunner
from torch import nn

from frazil.cli import cli
from frazil.errors import ModelError
from frazil.learn.checkpoint import Model, load_model, save_model
from frazil.learn.config import PeersConfig, run_config
from frazil.learn.data.load import load_data
from frazil.learn.data.patches import Patches
from frazil.learn.distributed import watch
from frazil.learn.infer.dense import make_engine
from frazil.learn.models import create_model
from frazil.learn.models.ensemble import Ensemble, create_ensemble
from frazil.learn.run import train
from frazil.learn.run_folder import read_run
from frazil.simulate.product import simulate_product
from tests.learn.distributed.test_peers import small_run
from tests.learn.predict.test_scene import random_model
from tests.learn.test_run import toy_set


def probability(engine_or_network: Callable[..., Any], image: np.ndarray) -> np.ndarray:
    if isinstance(engine_or_network, nn.Module):
        with torch.inference_mode():
            return engine_or_network(torch.from_numpy(image)[None])[0].softmax(0).numpy()
    return torch.from_numpy(engine_or_network(image)).softmax(0).numpy()


def saved(folder: Path, models: list[Model], **changes: Any) -> Path:
    """An ensemble of models as `choose` writes it."""
    card = models[0].card
    settings = {"members": len(models), "architecture": card.architecture, "settings": card.settings}
    kept = {k: getattr(card, k) for k in card.__dataclass_fields__}
    of_all = type(card)(**kept | {"architecture": "ensemble", "settings": settings} | changes)
    save_model(Ensemble([m.network for m in models]), of_all, folder)
    return folder


@pytest.mark.parametrize(
    ("architecture", "settings", "function"),
    [
        ("unet", {"widths": (4, 8)}, "auto"),
        ("adhoc", {"widths": (4, 8), "hidden": (8,), "patch": 16}, "patchwise"),
        ("adhoc", {"widths": (4, 8), "hidden": (8,), "patch": 16, "padding": "valid"}, "dense"),
    ],
)
def test_probabilities_are_the_mean_of_the_members(architecture: str, settings: dict, function: str) -> None:
    torch.manual_seed(0)
    members = [create_model(architecture, n_channels=2, n_classes=3, settings=settings).eval() for _ in range(3)]
    for member in members:  # untrained heads start small, nearly alike
        last: Any = [m for m in member.modules() if hasattr(m, "weight")][-1]
        nn.init.normal_(last.weight, std=2.0)
    image = np.random.default_rng(0).random((2, 64, 64), np.float32)
    options: dict[str, Any] = {} if function == "auto" else {"function": function, "stride": 8}
    engines = [make_engine(member, device="cpu", **options) for member in members]
    one = make_engine(Ensemble(members), device="cpu", **options)
    want = np.mean([probability(engine, image) for engine in engines], axis=0)
    np.testing.assert_allclose(probability(one, image), want, atol=1e-6)
    assert (one.stride, one.margin, one.cell) == (engines[0].stride, engines[0].margin, engines[0].cell)
    assert np.abs(probability(engines[0], image) - want).max() > 0.01
    small = image[:, :16, :16]
    want = np.mean([probability(member, small) for member in members], axis=0)
    np.testing.assert_allclose(probability(Ensemble(members), small), want, atol=1e-6)


def test_certain_members_stay_finite() -> None:
    members: list[nn.Module] = [nn.Identity(), nn.Identity()]
    assert bool(torch.isfinite(Ensemble(members)(torch.tensor([[1e4, -1e4, 0.0]]))).all())


def test_it_is_one_model_folder_read_by_safetensors(tmp_path: Path) -> None:
    models = [random_model(seed, (4, 8)) for seed in range(2)]
    folder = saved(tmp_path / "m", models)
    assert sorted(p.name for p in folder.iterdir()) == [".frazil.json", "card.json", "model.safetensors"]
    again = load_model(folder)
    assert not again.network.training
    x = torch.rand(1, 3, 32, 32)
    want = torch.stack([m.network(x).softmax(1) for m in models]).mean(0)
    torch.testing.assert_close(again.network(x).softmax(1), want)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"members": 0, "architecture": "adhoc", "settings": {}},
        {"members": 1e9, "architecture": "adhoc"},
        {"members": 10**9, "architecture": "adhoc", "settings": {}},
        {"members": 2, "architecture": "ensemble", "settings": {}},
        {"members": 2, "architecture": "adhoc", "settings": {"depth": 3}},
    ],
)
def test_a_forged_card_is_refused_in_a_line(settings: dict, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        create_ensemble(2, 3, settings)
    folder = saved(tmp_path / "m", [random_model(0, (4, 8))], settings=settings)
    with pytest.raises(ModelError, match="The model card .* cannot be used") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_workers_ensemble_is_chosen_scored_and_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From `frazil peers --choose` through `frazil evaluate` to `frazil map`."""
    patches = toy_set(tmp_path / "toy.zarr", n=120, size=16)
    for name in ("a", "b"):
        train(small_run(patches, PeersConfig(path=str(tmp_path / "x"), worker=name, every=5)), tmp_path / name)
    real = watch._figures

    def members_count(network: torch.nn.Module, held_out: Any, device: str) -> dict[str, object]:
        """An ensemble is chosen, whatever such small networks have learnt."""
        return {**real(network, held_out, device), "macro_f1": float(len(getattr(network, "members", [network])))}

    monkeypatch.setattr(watch, "_figures", members_count)

    def run(*words: object) -> dict:
        done = CliRunner().invoke(cli, [*map(str, words), "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    model = tmp_path / "model"
    chosen = run("peers", tmp_path / "x", "--choose", tmp_path / "a", "-o", model)
    assert (chosen["chosen"], chosen["members"], chosen["output"]) == ("ensemble", ["a", "b"], str(model))
    card = load_model(model).card
    assert card.id.startswith("small-a-b-")
    assert card.training["workers"] == ["a", "b"]
    scores = run("evaluate", model, patches)
    data = load_data(run_config(read_run(tmp_path / "a")["config"]))
    members = [load_model(tmp_path / name / "model").network for name in ("a", "b")]
    right = []
    for side in (data.validation, data.test):
        assert isinstance(side, Patches)
        p = np.mean([torch.from_numpy(side.logits(network)).softmax(0).numpy() for network in members], axis=0)
        right += list(p.argmax(0) == side.label)
    assert scores["accuracy"] == pytest.approx(np.mean(right), abs=1e-4)
    tiny = simulate_product(tmp_path, seed=7, lines=(5200, 5500), pixels=(2400, 2820))
    paths = run("map", tiny, "--model", model, "--stride", 16, "--spacing", 640, "-o", tmp_path / "map")
    with xr.open_dataset(paths["netcdf"]) as mapped:
        assert mapped.attrs["model"] == card.id
