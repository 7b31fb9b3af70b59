"""Training from the desk: what is run, that it goes on after a stop, and the honest score."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import frazil
from frazil.conventions import FIVE_CLASSES
from frazil.desk.labels import Label, read_label
from frazil.desk.scenes import DeskScene
from frazil.desk.session import Session
from frazil.desk.training import METHODS, new_folder, plan, right_at_lots
from frazil.errors import LabelError, OptionError
from frazil.maps.export import export
from tests.desk.conftest import square
from tests.desk.test_safety import Attacker


def labels_on(scene: DeskScene, n: int, *, purpose: str = "learn", first: int = 0) -> list[Label]:
    """Squares of 3 km in the middle of the sea, of two classes in turn."""
    x, y = scene.cells.places()
    inner = np.flatnonzero(~scene.cells.rim)
    chosen = inner[(np.linspace(0.2, 0.8, n) * len(inner)).astype(int)]
    return [
        read_label(
            {
                "id": f"{purpose}{first + k}",
                "scene": scene.name,
                "code": 3 * (k % 2),
                "rings": square(float(x[c]), float(y[c]), 1500.0 if purpose == "learn" else 200.0),
                "purpose": purpose,
                "product": str(scene.first.attrs["product"]),
            },
            FIVE_CLASSES,
            [scene.name],
        )
        for k, c in enumerate(chosen)
    ]


def ended(ask: Attacker) -> dict[str, Any]:
    for _ in range(1500):
        told = dict(ask("GET", "/training").json())
        if not told["running"]:
            return told
        time.sleep(0.2)
    raise AssertionError(f"the training did not end: {told}")


def put(ask: Attacker, labels: list[Label]) -> None:
    commands = [{"put": asdict(one)} for one in labels]
    assert ask("POST", "/commands", json={"revision": 0, "commands": commands}).status_code == 200


@pytest.mark.slow
def test_a_network_is_trained_mapped_with_and_scored(scene: DeskScene, session: Session) -> None:
    ask = Attacker(session)
    put(ask, [*labels_on(scene, 6), *labels_on(scene, 4, purpose="test")])
    assert ask("POST", "/train", json={"method": "supervised", "epochs": 2}).json() == {"ok": True}
    assert "already" in ask("POST", "/train", json={"method": "supervised", "epochs": 2}).json()["error"]
    told = ended(ask)
    assert told["done"], (Path(told["folder"]) / "log.txt").read_text()
    card = frazil.load_model(Path(told["folder"]) / "run" / "model").card
    assert card.class_scheme == "five_classes"
    assert told["scores"][scene.name]["tests"] == 4
    assert frazil.open_map(told["maps"][scene.name]).attrs["model"] == card.id
    assert ask("POST", "/train", json={"method": "supervised", "epochs": 2}).status_code == 200
    again = ended(ask)  # everything is there already
    assert (again["done"], again["folder"]) == (True, told["folder"])


@pytest.mark.slow
def test_label_propagation_is_begun_stopped_and_gone_on_with(scene: DeskScene, session: Session) -> None:
    ask = Attacker(session)
    put(ask, labels_on(scene, 6))
    for _ in range(2):  # stopped, it goes on with the same folder
        assert ask("POST", "/train", json={"method": "label propagation", "epochs": 1}).status_code == 200
        for _ in range(900):
            told = ask("GET", "/training").json()
            if "step" in told["line"] or not told["running"]:
                break
            time.sleep(0.2)
        assert told["doing"] == "training", (Path(told["folder"]) / "log.txt").read_text()[-3000:]
        assert "step" in told["line"]
        assert ask("POST", "/stop", json={}).status_code == 200
        told = ended(ask)
        assert (told["stopped"], told["done"], told["error"]) == (True, False, "")
    assert [p.name for p in (session.folder / "train").iterdir()] == ["001"]


def test_what_is_run_can_be_typed_and_tests_are_left_out(scene: DeskScene, tmp_path: Path) -> None:
    import geopandas as gpd

    labels = [*labels_on(scene, 4), *labels_on(scene, 3, purpose="test")]
    for method, (recipe, pool) in METHODS.items():
        folder = new_folder(tmp_path, method, labels, 3)
        steps = plan(folder, [scene], labels, FIVE_CLASSES, method, 3)
        assert [s.title for s in steps][-2:] == ["training", f"mapping {scene.name}"]
        train = next(s for s in steps if s.title == "training")
        assert train.words[:2] == ("train", recipe)
        assert "optim.epochs=3" in train.words
        assert any("others.zarr" in word for word in train.words) == pool
        found = gpd.read_file(folder / "labels.gpkg", layer="labels")
        assert set(found["purpose"]) == {"learn"}
        assert len(found) == 4


def test_a_folder_belongs_to_its_labels(scene: DeskScene, tmp_path: Path) -> None:
    labels = labels_on(scene, 4)
    first = new_folder(tmp_path, "supervised", labels, 3)
    (first / "labels.gpkg").write_text("begun")
    assert new_folder(tmp_path, "supervised", labels, 3) == first
    others = [new_folder(tmp_path, "supervised", labels, 4), new_folder(tmp_path, "supervised", labels[:3], 3)]
    assert len({first, *others}) == 3


def test_what_cannot_be_trained_is_refused(scene: DeskScene, tmp_path: Path) -> None:
    labels = labels_on(scene, 4)
    with pytest.raises(OptionError, match="not one of"):
        plan(tmp_path, [scene], labels, FIVE_CLASSES, "magic", 3)
    with pytest.raises(OptionError, match="between 1 and"):
        plan(tmp_path, [scene], labels, FIVE_CLASSES, "supervised", 0)
    with pytest.raises(LabelError, match="two classes"):
        plan(tmp_path, [scene], labels[:1], FIVE_CLASSES, "supervised", 3)
    with pytest.raises(LabelError, match="two classes"):
        plan(tmp_path, [scene], [replace(one, purpose="test") for one in labels], FIVE_CLASSES, "supervised", 3)
    (tmp_path / "map").mkdir()
    (tmp_path / "map" / "map.nc").touch()
    of_map = DeskScene(scene.name, scene.first, scene.cells, str(tmp_path / "map"))
    with pytest.raises(OptionError, match="is a map"):
        plan(tmp_path, [of_map], labels, FIVE_CLASSES, "supervised", 3)


def test_a_training_that_fails_says_why(scene: DeskScene, session: Session) -> None:
    ask = Attacker(session)
    put(ask, labels_on(scene, 4))
    scene.source = "/nowhere.SAFE"
    assert ask("POST", "/train", json={"method": "supervised", "epochs": 1}).status_code == 200
    told = ended(ask)
    assert "nowhere.SAFE" in told["error"]
    assert not told["done"]


def test_the_honest_score_of_a_map(scene: DeskScene, tmp_path: Path) -> None:
    export(scene.first, tmp_path / "map", formats=("netcdf",))
    tests = labels_on(scene, 8, purpose="test")
    truth = scene.first["probability"].values.argmax(axis=0)
    right = 0
    for one in tests:
        point = one.shape.centroid
        row = int((scene.grid.top - point.y) // scene.grid.spacing_m)
        column = int((point.x - scene.grid.left) // scene.grid.spacing_m)
        right += int(truth[row, column] == one.code)
    told = right_at_lots(tmp_path / "map", scene, tests)
    assert (told["tests"], told["right"]) == (8, round(right / 8, 3))
    assert right_at_lots(tmp_path / "map", scene, []) == {"tests": 0}
