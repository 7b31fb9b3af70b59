"""Runs on imagettes that leave classes out: the card, scores, segments and maps have the classes that are left."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from frazil.cli import cli
from frazil.conventions import METOCEAN
from frazil.errors import ModelError, OptionError
from frazil.labels.imagettes import open_imagettes
from frazil.learn.checkpoint import load_model
from frazil.learn.predict.imagettes import score_segments, segment
from frazil.learn.predict.phenomena import DropRule, PhenomenaAnswers, PhenomenaMapOptions
from frazil.learn.run import train
from frazil.maps.export import export
from frazil.maps.netcdf import open_map
from frazil.testing import make_map, make_phenomena_map
from tests.learn.data.test_imagettes import run, sets

__all__ = ["sets"]  # a fixture
pytestmark = pytest.mark.usefixtures("one_thread")
NINE = 9


@pytest.mark.parametrize("recipe", ["metocean:unet", "metocean:categoriser", "metocean:im2px"])
def test_a_model_without_a_class(recipe: str, sets: dict[str, Path], tmp_path: Path) -> None:
    train(run(recipe, sets, data__without='["sea_ice"]'), tmp_path / "run")
    model = load_model(tmp_path / "run" / "model")
    assert model.card.class_scheme == "metocean-without-sea_ice"
    assert "sea_ice" not in model.card.scheme.names
    assert len(model.card.scheme.names) == NINE
    said = model.card.training["data"]["train"]
    assert (said["images"], sum(said["categories"].values())) == (6, 6)  # three of nine are called sea ice
    assert model.card.scores["images"] == 6
    found = segment(sets["test"], model)
    assert found["score"].shape[:2] == (9, NINE)  # whoever asks for a segment of an image gets it
    assert found.attrs["class_scheme"] == model.card.class_scheme
    scores = score_segments(found, open_imagettes(sets["test"]))
    assert scores["images"] == 6
    assert len(scores["set_dice"]) == NINE
    answered = CliRunner().invoke(cli, ["evaluate", str(tmp_path / "run" / "model"), str(sets["test"]), "--json"])
    assert answered.exit_code == 0, answered.output
    assert json.loads(answered.stdout)["images"] == 6
    out = tmp_path / "found.zarr"
    picture = ["--picture", str(tmp_path / "found.png")]
    model_options = ["--model", str(tmp_path / "run" / "model"), "-o", str(out), *picture]
    drawn = CliRunner().invoke(cli, ["segment", str(sets["test"]), *model_options])
    assert drawn.exit_code == 0, drawn.output
    assert (tmp_path / "found.png").stat().st_size > 1000


def test_a_map_knows_what_its_model_knows(sets: dict[str, Path], tmp_path: Path) -> None:
    train(run("metocean:unet", sets, data__without='["sea_ice","iceberg"]'), tmp_path / "run")
    model = load_model(tmp_path / "run" / "model")
    dropped = PhenomenaMapOptions(drop=(DropRule(name="sea_ice"),))
    with pytest.raises(OptionError, match="drop 'sea_ice' is not one of"):
        PhenomenaAnswers(options=dropped).engine(model)
    with pytest.raises(OptionError, match="trained without sea ice"):
        PhenomenaAnswers(ice=make_map()).engine(model)
    finished = PhenomenaAnswers().finish(
        np.full((8, 2, 2), 60, np.uint8),
        np.zeros((2, 2), np.uint16),
        np.zeros((2, 2), bool),
        np.full((2, 2), np.inf),
        {},
        ("line", "pixel"),
        model.card,
    )
    assert "sea_ice" not in str(finished["phenomena"][2]["flag_meanings"])
    assert len(str(finished["phenomena"][2]["flag_meanings"]).split()) == 8


@pytest.mark.parametrize(
    ("without", "words"),
    [('["storm"]', "'storm' is not one of"), ('["sea_ice","sea_ice"]', "stands twice")],
)
def test_classes_that_cannot_be_left_out(
    without: str,
    words: str,
    sets: dict[str, Path],
    tmp_path: Path,
) -> None:
    with pytest.raises(OptionError, match=words):
        train(run("metocean:unet", sets, data__without=without), tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists()


def test_a_model_of_all_classes_refuses_a_set_of_some(sets: dict[str, Path], tmp_path: Path) -> None:
    from frazil.labels.imagettes_without import in_classes

    train(run("metocean:unet", sets), tmp_path / "run")
    ds = open_imagettes(sets["test"])
    fewer = in_classes(ds, load_model(tmp_path / "run" / "model").card.scheme.without(["sea_ice"]))
    with pytest.raises(ModelError, match="knows the classes"):
        segment(fewer, tmp_path / "run" / "model")


def test_maps_without_a_class_are_written_and_read_back(tmp_path: Path) -> None:
    scheme = METOCEAN.without(["sea_ice"])
    made = make_phenomena_map(scheme=scheme)
    made["dominant"].attrs |= {"flag_values": [*range(NINE), 253, 254], "flag_meanings": " ".join(scheme.names)}
    made["phenomena"].attrs |= {"flag_masks": [1 << k for k in range(NINE)], "flag_meanings": " ".join(scheme.names)}
    export(made, tmp_path / "map")
    again = open_map(tmp_path / "map")
    assert again.attrs["class_scheme"] == "metocean-without-sea_ice"
    np.testing.assert_array_equal(again["dominant"].values, made["dominant"].values)
    said = (tmp_path / "map" / "summary.json").read_text() + (tmp_path / "map" / "phenomena.geojson").read_text()
    assert "rain_cells" in said
    assert "sea_ice" not in said.replace("without-sea_ice", "")
