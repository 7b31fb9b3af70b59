"""The pages of a report: their numbers are those of the run, hostile words stay words, nothing asks for the network."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from frazil.cli import cli
from frazil.conventions import FIVE_CLASSES
from frazil.errors import LabelError, LabelNotFoundError, OptionError, OutputError, OutputExistsError
from frazil.learn.run import train
from frazil.maps.export import export
from frazil.marks import LIST
from frazil.reports.build import report
from frazil.reports.maps import pair_maps
from frazil.reports.pages import write_report
from frazil.reports.record import CardRecord, DataSide, Mistake, Mistakes, RunRecord, record_of
from frazil.testing import make_map
from tests.learn.test_run import toy_set
from tests.reports.test_gather import hasty
from tests.reports.test_tables import run_of, table

HOSTILE = "<script>alert(1)</script>../../x&y\"'{{7*7}}$\\frac$"
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Tables by id as rows of texts, ids, links and pictures, the text, and whether all tags close."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.ids: list[str] = []
        self.sources: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.best: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self._table = ""
        self.html = path.read_text(encoding="utf-8")
        self.feed(self.html)
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if name := values.get("id"):
            self.ids.append(name)
        if tag in ("table", "tbody") and name:
            self._table = name
            self.tables[name] = []
        elif tag == "table":
            self._table = ""
        if tag == "tr" and self._table:
            self.tables[self._table].append([])
        if tag in ("td", "th") and self._table:
            self.tables[self._table][-1].append("")
        if tag == "td" and values.get("class") == "best":
            self.best.append(self._table)
        self.sources += [v for k, v in attrs if k == "src" and v]
        self.links += [v for k, v in attrs if k == "href" and v]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "tbody" and self._table.endswith("-binary"):
            self._table = ""

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            return
        self.words.append(data + " ")
        if self._table and any(tag in self.open for tag in ("td", "th")):
            self.tables[self._table][-1][-1] += f" {data.strip()}"

    def row(self, name: str, start: str) -> list[str]:
        return next(
            [c.strip() for c in row[1:]] for row in self.tables[name] if row and row[0].strip().startswith(start)
        )


def percent(text: str) -> float | None:
    return None if text.strip() == "–" else round(float(text.split("%")[0]) / 100, 4)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with mistakes, whose scheme has two classes that never occur."""
    folder = tmp_path_factory.mktemp("report")
    store = toy_set(folder / "set.zarr", n=150, scenes=8, classes=3)
    train(hasty(store), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def made(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "report"
    pages = report(run, folder, worst=6)
    assert pages == {"report": folder / "index.html"}
    return folder


def test_numbers_are_those_of_the_evaluation(run: Path, made: Path) -> None:
    page, written = Page(made / "index.html"), json.loads((run / "evaluation.json").read_text())
    for side in ("test", "validation"):
        scores = written[side]
        for start, key in (("Accuracy: ", "accuracy"), ("Balanced", "balanced_accuracy"), ("Macro-F1", "macro_f1")):
            assert percent(page.row(f"{side}-overall", start)[0]) == scores[key]
        assert percent(page.row(f"{side}-overall", "Accuracy, ice")[0]) == scores["binary"]["accuracy"]
        true, said = np.sum(scores["confusion"], axis=1), np.sum(scores["confusion"], axis=0)
        for i, title in enumerate(FIVE_CLASSES.titles):
            cells = page.row(f"{side}-classes", title)
            assert [percent(c) for c in cells[:3]] == [scores[k][i] for k in ("precision", "recall", "f1")]
            assert [int(c) for c in cells[3:]] == [true[i], said[i]]
            counts = [int(c.split()[0]) for c in page.row(f"{side}-confusion", title)]
            assert counts == scores["confusion"][i]
        for i, title in enumerate(("Water", "Ice")):
            cells = page.row(f"{side}-binary", title)
            assert [percent(c) for c in cells[:3]] == [scores["binary"][k][i] for k in ("precision", "recall", "f1")]
    shown = {row[0].strip(): percent(row[2]) for row in page.tables["test-scenes"][1:]}
    assert shown == written["test"]["accuracy_per_scene"]
    assert list(shown.values()) == sorted(shown.values())  # type: ignore[type-var]
    assert f"(ECE): {100 * written['test']['ece']:.2f} %" in page.text
    assert f"before the temperature {100 * written['test']['ece_before_temperature']:.2f} %" in page.text


def test_the_page_says_what_the_run_is(run: Path, made: Path) -> None:
    page, noted = Page(made / "index.html"), json.loads((run / "run.json").read_text())
    for text in (
        noted["commit"],
        noted["versions"]["torch"],
        "it does not leak",
        "This run ended after 6 steps.",
        "The training side holds no patches of level first-year ice, old or deformed ice",
    ):
        assert text in page.text
    for scene in noted["data"]["train"]["scenes"]:
        assert scene in page.text
    assert "optim.lr" in page.text
    assert "6 of which the network was surest" in page.text


def test_pages_stand_alone_and_their_links_lead_somewhere(made: Path) -> None:
    page = Page(made / "index.html")
    assert not page.open
    assert "script" not in page.tags
    assert not page.tags & {"link", "iframe", "object", "embed", "base"}
    assert "http:" not in page.html
    assert "https:" not in page.html
    assert "default-src 'none'" in page.html
    assert len(set(page.ids)) == len(page.ids)
    for source in page.sources:
        with Image.open(made / source) as picture:
            picture.verify()
    assert {p.name for p in (made / "figures").iterdir()} == {Path(s).name for s in page.sources}
    for link in page.links:
        assert link.removeprefix("#") in page.ids


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    tables = {f"{HOSTILE}{i}": table(r) for i, r in enumerate((50, 60, 70))}
    scores = run_of(tables).scores
    run = {
        "config": {"name": HOSTILE, "data": {HOSTILE: HOSTILE}},
        "command": HOSTILE,
        "commit": HOSTILE,
        "versions": {HOSTILE: HOSTILE},
        "data": {
            "split": HOSTILE,
            "train": {"scenes": [HOSTILE], "patches": {"open_water": HOSTILE}},
            "test": {"scenes": [HOSTILE], "patches": "none"},
        },
    }
    mistake = Mistake(
        picture=np.zeros((4, 4, 3), np.uint8), truth=0, said=1, confidence=0.9, scene=HOSTILE, line=np.nan, pixel=1.0
    )
    found = Mistakes(side="test", judged=3, wrong=1, legend=HOSTILE, worst=(mistake,))
    card = {"statement": HOSTILE, "channels": [HOSTILE, {"name": HOSTILE}], "class_scheme": "binary"}
    one = record_of(HOSTILE, HOSTILE, run, [], finished=True, scores=scores, card=card)
    pages = write_report([replace(one, mistakes=found), one], tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "index.html",
        "run-1.html",
        "run-2.html",
        "figures",
        LIST,
    }
    assert {p.name for p in tmp_path.iterdir()} == {"out"}
    for path in pages.values():
        page = Page(path)
        assert not page.open
        assert "script" not in page.tags
        assert "<script" not in page.html
        assert "alert(1)" in page.text
        assert "{{7*7}}" in page.text
        assert all(re.fullmatch(r"figures/[a-z0-9-]+\.png", s) for s in page.sources)
    assert "place not told" in Page(tmp_path / "out" / "run-1.html").text


def test_a_leak_is_said_plainly(tmp_path: Path) -> None:
    fair = run_of({f"s{i}": table(60 + i) for i in range(4)})
    learnt = {"train": DataSide(scenes=("s0",))}
    named = replace(fair, split="patch", leaks=True, data=learnt)
    shared = replace(fair, split="scene", data={**learnt, "test": DataSide(scenes=("s0.SAFE",))})
    for leaking in (named, shared):
        write_report([leaking], tmp_path / "leak", overwrite=True)
        assert "This split leaks." in Page(tmp_path / "leak" / "index.html").text
    write_report([fair, named], tmp_path / "both")
    assert "Some of these runs leak, others do not." in Page(tmp_path / "both" / "index.html").text
    write_report([fair], tmp_path / "silent")
    assert "nobody can tell whether they leak" in Page(tmp_path / "silent" / "index.html").text


def test_several_runs_stand_side_by_side(run: Path, tmp_path: Path) -> None:
    copies = []
    for name in ("one", "two", "killed"):
        shutil.copytree(run, tmp_path / name)
        copies.append(tmp_path / name)
    (copies[2] / "evaluation.json").unlink()
    values = json.loads((copies[1] / "run.json").read_text())
    values["config"]["optim"]["lr"] = 0.5
    (copies[1] / "run.json").write_text(json.dumps(values))
    pages = report(copies, tmp_path / "out", worst=0)
    assert list(pages) == ["report", "run_1", "run_2", "run_3"]
    page = Page(pages["report"])
    rows = page.tables["comparison-table"]
    accuracy = json.loads((run / "evaluation.json").read_text())["test"]["accuracy"]
    assert [percent(row[2]) for row in rows[1:3]] == [accuracy, accuracy]
    assert rows[3][2].strip() == "–"
    assert "not ended" in rows[3][0]
    assert page.best == []  # they are the same
    assert "optim.lr" in page.text
    assert "delete-one jackknife" in page.text
    assert all((tmp_path / "out" / link).exists() for link in page.links if not link.startswith("#"))
    killed = Page(pages["run_3"])
    assert "This run has not ended: 6 of 6 steps are in its log." in killed.text
    assert "There are no scores yet." in killed.text


def test_the_best_of_a_column_is_marked(tmp_path: Path) -> None:
    base = [50, 60, 70, 80, 98]
    runs = [run_of({f"s{i}": table(r - d) for i, r in enumerate(base)}, f"d{d}") for d in (0, 6)]
    write_report(runs, tmp_path / "out")
    page = Page(tmp_path / "out" / "index.html")
    assert page.best.count("comparison-table") == 4
    assert page.best.count("classes-table") == 2


def test_an_empty_run_is_reported_too(tmp_path: Path) -> None:
    bare = RunRecord(folder="r", name="r")
    write_report([bare], tmp_path / "out")
    page = Page(tmp_path / "out" / "index.html")
    assert "has not ended" in page.text
    assert "Nothing was logged." in page.text
    write_report([replace(bare, log=[{"step": 0, "loss": float("nan")}, {"step": 1}])], tmp_path / "nan")
    with pytest.raises(OptionError, match="no run to report on"):
        write_report([], tmp_path / "none")


def test_a_run_on_scenes_without_held_out_ones(tmp_path: Path) -> None:
    """From a real run: pixels, nothing judged, and said so."""
    from frazil.learn.config import ModelConfig, OptimConfig, RunConfig, SimulatedData

    config = RunConfig(
        name="bare",
        model=ModelConfig(architecture="unet", settings={"widths": (4, 8)}),
        data=SimulatedData(train_seeds=(1,), crop=32, spacing_m=1920.0),
        optim=OptimConfig(steps=2, batch=2),
    )
    train(config, tmp_path / "run")
    page = Page(report(tmp_path / "run", tmp_path / "out")["report"])
    assert "Nothing was held out to judge this run." in page.text
    assert "All pixels" in page.text
    assert "Nothing was held out." in page.text


def test_a_report_never_takes_the_place_of_what_it_is_about(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "runs" / "one")
    for target in (tmp_path / "runs" / "one", tmp_path / "runs", tmp_path / "runs" / ".." / "runs"):
        with pytest.raises(OutputExistsError, match="which is read"):
            report(tmp_path / "runs" / "one", target, overwrite=True)
    assert (tmp_path / "runs" / "one" / "run.json").exists()
    report(tmp_path / "runs" / "one", tmp_path / "runs" / "one" / "report", worst=0)


@pytest.fixture(scope="module")
def map_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps") / "map"
    export(make_map(seed=3, note=HOSTILE), folder, formats=("netcdf",))
    return folder


def truth_of(path: Path) -> Path:
    """Two polygons over the map: water and young ice in the west, something unclear in the east."""
    import geopandas as gpd
    from shapely.geometry import box

    shapes = [box(-12, 77, -10.3, 79), box(-10.3, 77, -10, 79), box(-10, 77, -8, 79)]
    frame = gpd.GeoDataFrame({"kind": ["young_ice", "", "open_water"]}, geometry=shapes, crs="EPSG:4326")
    frame.to_file(path, driver="GPKG")
    return path


def test_maps_stand_beside_their_truth(map_folder: Path, tmp_path: Path) -> None:
    from frazil.labels.classes import LabelOptions

    truth, labels = truth_of(tmp_path / "truth.gpkg"), LabelOptions(class_column="kind")
    one = run_of({"s": table(60)})
    made = write_report([one], tmp_path / "out", maps=pair_maps([map_folder], [truth], labels=labels))
    page = Page(made["report"])
    from frazil.maps.compare import compare

    scores = compare(map_folder, truth, labels=labels).scores
    assert f"{scores['iiee_km2']:.1f} km²" in page.text
    assert f"{scores['agreement_percent']:.1f} %" in page.text
    assert "Young ice" in page.text
    assert {"figures/map-1-truth.png", "figures/map-1-difference.png"} <= set(page.sources)
    assert "<script" not in page.html
    alone = Page(write_report([one], tmp_path / "alone", maps=pair_maps([map_folder], []))["report"])
    assert "figures/map-1.png" in alone.sources
    product = str(make_map(seed=3).attrs["product"])
    learnt = replace(one, card=CardRecord(id="made-up"), data={"train": DataSide(scenes=(f"{product}.SAFE",))})
    for runs, words in (
        ([learnt], "The network has learnt from this scene"),
        ([learnt, replace(learnt, data={})], "Some of these networks have learnt"),
    ):
        page = Page(write_report(runs, tmp_path / "learnt", maps=pair_maps([map_folder], []), overwrite=True)["report"])
        assert words in page.text


def test_truths_and_maps_are_paired(map_folder: Path) -> None:
    product = str(make_map(seed=3).attrs["product"])
    (pair,) = pair_maps([map_folder], ["x/{scene}.gpkg"])
    assert pair.truth == f"x/{product}.gpkg"
    assert [p.truth for p in pair_maps(["a", "b"], ["t"])] == ["t", "t"]
    with pytest.raises(OptionError, match="2 maps and 3 truths"):
        pair_maps(["a", "b"], ["t"] * 3)
    with pytest.raises(OptionError, match="no map"):
        pair_maps([], ["t"])


def test_nothing_is_left_half_written(run: Path, map_folder: Path, tmp_path: Path) -> None:
    one = run_of({"s": table(60)})
    with pytest.raises(LabelNotFoundError, match="No reference"):
        write_report([one], tmp_path / "out", maps=pair_maps([map_folder], [tmp_path / "none.gpkg"]))
    with pytest.raises(LabelError, match="class_column"):
        write_report([one], tmp_path / "out", maps=pair_maps([map_folder], [truth_of(tmp_path / "t.gpkg")]))
    assert {p.name for p in tmp_path.iterdir()} == {"t.gpkg"}
    write_report([one], tmp_path / "out")
    before = (tmp_path / "out" / "index.html").read_text()
    with pytest.raises(OutputExistsError):
        report(run, tmp_path / "out")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="Cannot write"):
        write_report([one], tmp_path / "file" / "out")
    assert (tmp_path / "out" / "index.html").read_text() == before
    write_report([replace(one, name="another")], tmp_path / "out", overwrite=True)
    assert "another" in (tmp_path / "out" / "index.html").read_text()
    assert not list(tmp_path.glob(".*"))


def test_a_failure_while_drawing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("frazil.reports.pages.figures.draw_reliability", full)
    with pytest.raises(OutputError, match="Cannot write"):
        write_report([run_of({"s": table(60)})], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_command(run: Path, tmp_path: Path) -> None:
    def call(*arguments: object) -> Any:
        return CliRunner().invoke(cli, ["report", *map(str, arguments)])

    done = call(run, "-o", tmp_path / "out", "--worst", 2, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"report": str(tmp_path / "out" / "index.html")}
    assert len(list((tmp_path / "out" / "figures").glob("*mistake*"))) == 2
    with pytest.raises(OutputExistsError):
        CliRunner().invoke(
            cli, ["report", str(run), "-o", str(tmp_path / "out")], catch_exceptions=False, standalone_mode=False
        )
    assert call(run, "-o", tmp_path / "new", "--class", "x").exit_code == 2
    with pytest.raises(OptionError, match="No training run"):
        report(tmp_path / "none", tmp_path / "new")
    assert not (tmp_path / "new").exists()
