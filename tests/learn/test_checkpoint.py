"""Models as files: what is saved comes back, what is damaged or hostile does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frazil.errors import ModelError, OutputExistsError
from frazil.learn.checkpoint import (
    CARD,
    WEIGHTS,
    Model,
    ModelCard,
    bundled_models,
    load_model,
    model_id,
    save_model,
    weights_digest,
)
from frazil.learn.map_shapes import map_shape, outline
from frazil.learn.models import create_model
from tests.learn.predict.test_scene import random_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = random_model(temperature=1.7, statement="untrained")
    save_model(model.network, model.card, tmp_path / "m")
    return tmp_path / "m"


def test_round_trip(folder: Path) -> None:
    saved, loaded = random_model(temperature=1.7, statement="untrained"), load_model(folder)
    assert len(loaded.card.weights_sha256) == 64
    assert json.dumps(loaded.card.to_json()) == json.dumps(
        replace(saved.card, weights_sha256=loaded.card.weights_sha256).to_json()
    )
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.network(image), saved.network(image))
    with pytest.raises(OutputExistsError):
        save_model(saved.network, saved.card, folder)


def test_bundled_model_loads_and_is_honest() -> None:
    assert "ice-measured" in bundled_models()
    model = load_model()
    assert "seen no real labels" in model.card.statement
    assert model.card.scores["data"].startswith("10 held-out simulated scenes")
    assert 0 < model.card.scores["ice_water"]["ece"] < 0.1
    config = model.card.training["config"]["data"]
    assert not {*config["train_seeds"], *config["validation_seeds"]} & set(range(30000, 30010))
    assert model.card.polarizations == ("HH", "HV")
    # What it did on real scenes stands beside that, in the card and in the words that maps print.
    assert set(model.card.scores["real"]) == {"data", "pack", "edge"}
    assert model.card.figures.startswith(
        "On held-out scenes: 2 % ice called water, 2 % water called ice, 12 % undecided."
    )
    assert "ice edge 1 % ice called water, 51 % water called ice, 12 % undecided." in model.card.figures


def test_every_bundled_model_says_where_it_comes_from() -> None:
    assert set(bundled_models()) == {"ice-simulated", "ice-measured"}
    for name in bundled_models():
        card = load_model(name).card
        assert "has seen no real labels" in card.statement
        assert "not to navigate" in card.statement
        assert "held-out simulated scenes" in card.scores["data"]
        assert card.training["commit"]


def edit(folder: Path, **changes: Any) -> None:
    card = json.loads((folder / CARD).read_text())
    card.update(changes)
    (folder / CARD).write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "resnet9000"}, "'resnet9000' is unknown"),
        ({"settings": {"width": [3]}}, r"\['width'\] are unknown"),
        ({"settings": {"widths": []}}, "widths"),
        ({"class_scheme": "nine"}, "'nine' is not one of"),
        ({"format": 99}, "format 99"),
        ({"channels": []}, "needs channels"),
        ({"channels": [{"name": "hh"}]}, "missing or wrong"),
        ({"temperature": 0}, "temperature"),
        ({"incidence_range": [1]}, "missing or wrong"),
    ],
)
def test_unfit_cards(folder: Path, changes: dict[str, Any], words: str) -> None:
    edit(folder, **changes)
    with pytest.raises(ModelError, match=words) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_damaged_files(folder: Path, tmp_path: Path) -> None:
    good = (folder / WEIGHTS).read_bytes()
    for bad in (b"", good[:100], good[: len(good) // 2], b"\xff" * 64):
        (folder / WEIGHTS).write_bytes(bad)
        with pytest.raises(ModelError, match="damaged or of another network"):
            load_model(folder)
    (folder / WEIGHTS).write_bytes(good)
    edit(folder, settings={"widths": [6, 8, 12], "patch": 2})
    with pytest.raises(ModelError, match="another network"):
        load_model(folder)
    (folder / CARD).write_text("[]")
    with pytest.raises(ModelError, match="not a JSON object"):
        load_model(folder)
    (folder / CARD).write_text("{")
    with pytest.raises(ModelError, match="cannot be used"):
        load_model(folder)
    with pytest.raises(ModelError, match=r"No model at .*nowhere.*ice-simulated"):
        load_model(tmp_path / "nowhere")


def test_pickled_weights_are_not_executed(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (mark.touch, ())

    torch.save({"x": Evil()}, folder / WEIGHTS)
    with pytest.raises(ModelError):
        load_model(folder)
    assert not mark.exists()


def test_card_checks_itself() -> None:
    card = random_model().card
    assert card.scheme.names[0] == "open_water"
    with pytest.raises(ModelError):
        ModelCard(**{k: getattr(card, k) for k in card.__dataclass_fields__} | {"spacing_m": 0.0})
    assert np.isclose(card.channels[0].low, -30)


def test_other_weights_have_another_name() -> None:
    network = random_model().network
    name = model_id("ice", network)
    assert name.startswith("ice-")
    assert name == model_id("ice", network) != model_id("ocean", network)
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] += 1e-3
    assert model_id("ice", network) != name


def test_weights_are_those_of_the_card(folder: Path) -> None:
    """One flipped bit of a weight was another map without a word; cards that do not tell are taken as they are."""
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-20] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(ModelError, match="their SHA-256 is not the one of the card"):
        load_model(folder)
    edit(folder, weights_sha256="")
    assert load_model(folder).card.weights_sha256 == ""


def test_figures_in_words_and_none_that_are_not_numbers() -> None:
    decided = {"ice_called_water": 0.034, "water_called_ice": None, "undecided": 0.1}
    told = random_model(scores={"ice_water": {"decided": decided}, "real": {"pack": {"decided": decided}, "edge": 7}})
    assert told.card.figures == (
        "On held-out scenes: 3 % ice called water, 10 % undecided. "
        "On real ones: closed pack 3 % ice called water, 10 % undecided."
    )
    strangely = ({"wrong": 0.1}, {"undecided": "0"}, {"undecided": float("nan")}, {"undecided": 7}, None)
    strange = ({}, {"ice_water": 3}, {"real": []}, *({"ice_water": {"decided": d}} for d in strangely))
    for scores in strange:
        assert random_model(scores=scores).card.figures == ""


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("unet", {}),
        ("unet", {"widths": (4, 5), "patch": 1}),
        ("unet", {"widths": [3, 4, 5, 6], "patch": 4}),
        ("wide_unet", {}),
        ("wide_unet", {"widths": (3, 4, 5), "wide_widths": (6, 7), "wide_stage": 1}),
    ],
)
def test_the_shapes_of_maps_networks_are_told_without_building_them(name: str, settings: dict[str, Any]) -> None:
    network: Any = create_model(name, n_channels=3, n_classes=5, settings=settings)
    shape = map_shape(name, settings)
    told = {k: (tuple(v.shape), str(v.dtype).removeprefix("torch.")) for k, v in network.state_dict().items()}
    assert outline(shape, 3, 5) == told
    assert (shape.stride, shape.margin) == (network.stride, network.margin)
    assert shape.view == getattr(network, "view", 1)


def test_a_network_is_built_when_it_is_asked_for(folder: Path) -> None:
    model, saved = load_model(folder), random_model().network.state_dict()
    assert not model.is_built
    assert weights_digest(model.weights) == model.card.weights_sha256 == weights_digest(saved)
    assert not model.is_built
    network = model.network
    assert model.is_built
    assert network is model.network
    assert not network.training
    with torch.no_grad():
        network.head.bias.zero_()
    assert not model.weights["head.bias"].any()
    with pytest.raises(ModelError, match="a network or weights"):
        Model(None, model.card)
