"""Pages on runs of metocean segmentation: their numbers are those of the run, and the worst images are the worst."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from frazil.cli import cli
from frazil.conventions import SLICKS
from frazil.errors import OptionError, OutputExistsError
from frazil.labels.imagettes import Imagette, make_imagettes, open_imagettes, save_imagettes
from frazil.learn.checkpoint import load_model
from frazil.learn.predict.imagettes import segment
from frazil.learn.run import train
from frazil.maps.export import export
from frazil.reports.build import report
from frazil.reports.gather import read_record
from frazil.reports.tables import percent
from frazil.testing import make_phenomena_map
from tests.learn.data.test_imagettes import run, sets  # noqa: F401 (a fixture)
from tests.learn.test_run import toy_set
from tests.reports.test_pages import HOSTILE, Page

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = ("low_wind_area", "sea_ice", "wind_streaks")


@pytest.fixture(scope="module")
def unet(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    folder = tmp_path_factory.mktemp("runs") / "unet"
    changes = {"data__validation": "[]", "optim__steps": "30", "optim__lr": "0.01", "optim__validate_every": "10"}
    train(run("metocean:unet", sets, **changes), folder)
    return folder


@pytest.fixture(scope="module")
def categoriser(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    folder = tmp_path_factory.mktemp("runs") / "categoriser"
    train(run("metocean:categoriser", sets), folder)
    return folder


def test_the_page_says_what_the_run_says(unet: Path, tmp_path: Path) -> None:
    page = Page(report(unet, tmp_path / "report")["report"])
    scores = json.loads((unet / "evaluation.json").read_text())["test"]
    assert page.row("test-overall", "Set Dice")[0] == percent(scores["mean_set_dice"])
    assert page.row("test-overall", "Per-pixel Dice")[0] == percent(scores["mean_pixel_dice"])
    assert page.row("test-overall", "Images whose")[0] == percent(scores["accuracy"])
    for i, name in enumerate(scores["classes"]):
        cells = page.row("test-classes", name.replace("_", " ").capitalize().replace("Micro conv", "Micro-conv"))
        wanted = [scores[k][i] for k in ("set_dice", "pixel_dice", "precision", "recall", "iou", "f1_by_category")]
        assert cells == [percent(v) for v in wanted]
    assert page.row("data-table", "All") == ["9", "–", "9"]
    assert page.row("data-table", "Sea ice") == ["3", "–", "3"]
    assert "it has seen no real ones" in page.text
    assert not page.open
    for source in page.sources:
        assert Image.open(tmp_path / "report" / source).size[0] > 300
    with pytest.raises(OutputExistsError):
        report(unet, tmp_path / "report")


def test_the_worst_images_come_first(unet: Path, sets: dict[str, Path]) -> None:  # noqa: F811
    found = read_record(unet, worst=9)
    worst, spread = found.imagettes
    assert len(worst.rows) == len(spread.rows) == 9
    dice = [row[3] for row in worst.rows]
    assert dice == sorted(dice)
    ds = open_imagettes(sets["test"])
    made = segment(ds, load_model(unet / "model"))
    for name, _, _, value in spread.rows:
        i = ds["name"].values.tolist().index(name)
        x, y = made["score"].values[i] >= 0.5, ds["mask"].values[i] == 1
        assert value == pytest.approx(2 * (x & y).sum() / (x.sum() + y.sum()), rel=1e-6)


def test_a_categoriser_and_two_side_by_side(unet: Path, categoriser: Path, tmp_path: Path) -> None:
    page = Page(report(categoriser, tmp_path / "one")["report"])
    scores = json.loads((categoriser / "evaluation.json").read_text())["test"]
    assert page.row("test-overall", "Images whose")[0] == percent(scores["accuracy"])
    assert page.row("test-classes", "Sea ice") == [percent(scores["f1_by_category"][8])]
    assert "Set Dice, mean" not in page.text
    pages = report([unet, categoriser], tmp_path / "two")
    both = Page(pages["report"])
    assert both.row("comparison-table", "2.")[1] == "–"
    assert both.row("comparison-table", "2.")[3] == percent(scores["accuracy"])
    assert "strategy.name" in both.text
    assert Page(pages["run_2"]).row("test-overall", "Images whose")[0] == percent(scores["accuracy"])


def test_what_is_missing_is_said(unet: Path, sets: dict[str, Path], tmp_path: Path) -> None:  # noqa: F811
    killed = tmp_path / "killed"
    shutil.copytree(unet, killed)
    (killed / "evaluation.json").unlink()
    text = Page(report(killed, tmp_path / "a")["report"]).text
    assert "This run has not ended" in text
    assert "None are shown. The run has not ended" in text
    moved = tmp_path / "moved"
    shutil.copytree(unet, moved)
    values = json.loads((moved / "run.json").read_text())
    values["config"]["data"]["test"] = [str(tmp_path / "gone.zarr")]
    (moved / "run.json").write_text(json.dumps(values))
    assert "are not there any more" in Page(report(moved, tmp_path / "b")["report"]).text
    save_imagettes(open_imagettes(sets["test"]).isel(imagette=np.arange(4)), tmp_path / "gone.zarr")
    assert "had 9 images, now it has 4" in Page(report(moved, tmp_path / "c")["report"]).text
    (moved / "evaluation.json").write_text('{"test": {"classes": ["a"], "images": 1}}')
    with pytest.raises(OptionError, match="holds no scores of a run"):
        report(moved, tmp_path / "d")


def test_of_one_class_no_names_are_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stores = {}
    mask = np.zeros((80, 80), bool)
    mask[10:40, 10:40] = True
    for side in ("train", "test"):
        items = [
            Imagette(
                name=f"{side}{n}",
                group=f"{side}{n}",
                image=rng.random((80, 80)) - 0.5 * mask,
                category=0,
                mask=mask[None],
            )
            for n in range(4)
        ]
        ds = make_imagettes(items, scheme=SLICKS, size=80, cell=4, spacing_m=100, scaling="roughness", source="drawn")
        stores[side] = save_imagettes(ds, tmp_path / f"{side}.zarr")
    train(run("metocean:unet", stores, optim__steps="2"), tmp_path / "run")
    page = Page(report(tmp_path / "run", tmp_path / "report")["report"])
    assert "named right" not in page.text
    assert "F1 of names" not in page.text
    assert len(page.row("test-classes", "Slick")) == 5
    done = CliRunner().invoke(cli, ["evaluate", str(tmp_path / "run" / "model"), str(stores["test"])])
    assert "named right" not in done.output
    assert "set Dice" in done.output


def test_words_of_others_stay_words(unet: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(unet, folder)
    values = json.loads((folder / "run.json").read_text())
    values["config"]["name"] = values["command"] = HOSTILE
    values["data"]["train"]["sources"] = [HOSTILE]
    (folder / "run.json").write_text(json.dumps(values))
    page = Page(report(folder, tmp_path / "report")["report"])
    assert "script" not in page.tags
    assert page.text.count("<script>alert(1)</script>") >= 3
    assert not page.open


def test_runs_on_ice_stand_in_the_same_report(unet: Path, tmp_path: Path) -> None:
    toy_set(tmp_path / "toy.zarr", n=60)
    words = ["train", "patches:adhoc", "--set", f"data.patches={tmp_path / 'toy.zarr'}", "--set", "optim.steps=1"]
    words += [
        "--set",
        "model.settings.widths=[2,2,2]",
        "--set",
        "model.settings.hidden=[2]",
        "-o",
        str(tmp_path / "ice"),
    ]
    assert CliRunner().invoke(cli, words, catch_exceptions=False).exit_code == 0
    pages = report([unet, tmp_path / "ice"], tmp_path / "report")
    both = Page(pages["report"])
    assert not both.open
    rows = {row[0].split(".")[0].strip(): row for row in both.tables["comparison-table"] if len(row) > 2}
    assert "Phenomena, each for itself" in both.text
    assert "One class each" in both.text
    scores = json.loads((unet / "evaluation.json").read_text())["test"]
    assert percent(scores["mean_set_dice"]) in both.text
    judged = json.loads((tmp_path / "ice" / "evaluation.json").read_text())["test"]
    assert percent(judged["macro_f1"]) in both.text
    assert rows
    assert Page(pages["run_1"]).row("test-overall", "Set Dice")[0] == percent(scores["mean_set_dice"])
    assert "Macro-F1" in Page(pages["run_2"]).text


def test_maps_of_phenomena_stand_in_it_too(unet: Path, tmp_path: Path) -> None:
    """Drawn as by `draw_phenomena_map`; a truth, which tells of sea ice, is refused in one line."""
    export(make_phenomena_map(), tmp_path / "map", formats=("netcdf",))
    made = report(unet, tmp_path / "report", maps=tmp_path / "map", worst=0)
    page = Page(made["report"])
    assert not page.open
    assert "figures/map-1.png" in page.sources
    assert "No truth was given" not in page.text
    with pytest.raises(OptionError, match=r"is a map of phenomena \(metocean\), and truths tell of sea ice"):
        report(unet, tmp_path / "again", maps=tmp_path / "map", truths=tmp_path / "truth.gpkg", worst=0)
    assert not (tmp_path / "again").exists()
