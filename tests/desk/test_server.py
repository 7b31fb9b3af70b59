"""What the page is told: labels, revisions, jobs, tiles, places."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely

import frazil
from frazil.desk.scenes import DeskScene
from frazil.desk.session import Session
from frazil.errors import OptionError
from tests.desk.conftest import square
from tests.desk.test_safety import Attacker


@pytest.fixture
def ask(session: Session) -> Attacker:
    return Attacker(session)


def put(ask: Attacker, revision: int, name: str, code: int = 0, **more: Any) -> Any:
    scene = next(iter(ask.session.scenes.values()))
    cell = more.pop("cell", 100)
    x, y = (float(v[cell]) for v in scene.cells.places())
    label = {"id": name, "scene": scene.name, "code": code, "rings": square(x, y, 300), **more}
    return ask("POST", "/commands", json={"revision": revision, "commands": [{"put": label}]})


def finished(ask: Attacker, number: int) -> dict[str, Any]:
    for _ in range(600):
        result = ask("GET", f"/job/{number}").json()["result"]
        if result is not None:
            return dict(result)
        time.sleep(0.1)
    raise AssertionError("the job did not end")


def test_the_state_says_what_is_on_the_desk(ask: Attacker) -> None:
    told = ask("GET", "/state").json()
    assert told["crs"] == "EPSG:3413"
    assert [c["name"] for c in told["classes"]][:2] == ["open_water", "brash_pancake"]
    (scene,) = told["scenes"]
    assert (scene["spacing"], scene["version"], scene["taught"]) == (120.0, 0, 0)
    assert scene["layers"][:4] == ["HH", "HV", "HV/HH", "rgb"]
    assert told["author"] == "Ada"


def test_labels_go_in_and_come_out_and_a_second_tab_is_told(ask: Attacker) -> None:
    assert put(ask, 0, "one", 2).json() == {"revision": 1}
    late = put(ask, 0, "two")
    assert late.status_code == 409
    assert "changed elsewhere" in late.json()["error"]
    told = ask("GET", "/labels").json()
    assert told["revision"] == 1
    assert [(one["id"], one["code"], one["author"]) for one in told["labels"]] == [("one", 2, "Ada")]


def test_learning_changes_the_map_and_its_tiles(ask: Attacker) -> None:
    name = next(iter(ask.session.scenes))
    before = ask("GET", f"/tile/{name}/class/1/0/0").content
    for k, cell in enumerate((100, 900, 2000, 3000)):
        put(ask, k, f"l{k}", 4, cell=cell)
    result = finished(ask, ask("POST", "/learn", json={"scene": name}).json()["job"])
    assert (result["ok"], result["cells"], result["version"]) == (True, 4, 1)
    after = ask("GET", f"/tile/{name}/class/1/0/0")
    assert after.headers["content-type"] == "image/png"
    assert after.content != before
    assert ask("GET", f"/tile/{name}/network/1/0/0").content == before
    assert ask("GET", f"/tile/{name}/HV~HH/1/0/0?s=-20,-5").status_code == 200
    assert ask("GET", f"/tile/{name}/class/1/9/9").status_code == 204


def test_a_full_disk_is_told_so_that_the_page_tries_again(ask: Attacker, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        answered = put(ask, 0, "one")
    assert answered.status_code == 507
    assert "No space left" in answered.json()["error"]
    assert put(ask, 0, "one").json() == {"revision": 1}


def test_what_is_asked_wrongly_is_one_line(ask: Attacker) -> None:
    name = next(iter(ask.session.scenes))
    for path, word in (
        ("/tile/other/HH/0/0/0", "not on this desk"),
        (f"/tile/{name}/VV/0/0/0", "not one of"),
        (f"/tile/{name}/HH/0/0/0?s=a", "stretch"),
        (f"/tile/{name}/HH/0/0/0?s=nan,1", "stretch"),
        (f"/value/{name}?x=a&y=0", "metres"),
        (f"/value/{name}?x=inf&y=0", "metres"),
        (f"/lines/{name}/roads", "Lines are of"),
        (f"/lines/{name}/chart", "with a chart"),
        (f"/disagreements/{name}", "not compared"),
    ):
        answered = ask("GET", path)
        assert answered.status_code == 400, path
        assert word in answered.json()["error"]
    assert ask("POST", "/review", json={"scene": name}).json()["error"].startswith("This desk has no chart")
    assert ask("POST", "/learn", json={"scene": "x"}).status_code == 400


def test_lines_and_segments_are_in_the_map_s_crs(ask: Attacker) -> None:
    scene = next(iter(ask.session.scenes.values()))
    frame = shapely.box(*scene.grid.bounds)
    for kind in ("edge", "outlines", "graticule"):
        told = ask("GET", f"/lines/{scene.name}/{kind}").json()
        for feature in told["features"]:
            assert frame.buffer(1000).covers(shapely.geometry.shape(feature["geometry"]))
    x, y = (float(v[500]) for v in scene.cells.places())
    (rings,) = ask("GET", f"/segment/{scene.name}?x={x}&y={y}").json().values()
    assert shapely.Polygon(rings[0]).is_valid
    made = ask("POST", "/shape", json={"kind": "buffer", "line": [[0, 0], [1, 1]], "radius": 5}).json()
    assert len(made["outlines"]) == 1


def test_taking_away_leaves_a_map_a_chart_and_labels(ask: Attacker, tmp_path: Path) -> None:
    name = next(iter(ask.session.scenes))
    put(ask, 0, "one", 3)
    assert finished(ask, ask("POST", "/learn", json={"scene": name}).json()["job"])["ok"]
    result = finished(ask, ask("POST", "/export", json={"scene": name}).json()["job"])
    assert result["ok"], result
    back = frazil.open_map(result["map"])
    assert back.attrs["taught"] == 1
    (chart,) = Path(result["chart"]).glob("sigrid3/*_pl_*.shp")
    assert len(frazil.read_chart(chart))
    assert gpd.read_file(result["labels"], layer="labels")["class"].tolist() == ["level_first_year_ice"]
    again = finished(ask, ask("POST", "/export", json={"scene": name}).json()["job"])
    assert again["ok"], again


def test_a_review_against_a_chart(scene: DeskScene, tmp_path: Path) -> None:
    left, bottom, right, top = scene.grid.bounds
    chart = gpd.GeoDataFrame(
        {"POLY_TYPE": ["I"], "CT": ["92"], "SA": ["86"], "FA": ["05"]},
        geometry=[shapely.box(left, bottom, right, top)],
        crs=scene.grid.crs,
    )
    chart.to_file(tmp_path / "chart.gpkg")
    session = Session(tmp_path, [scene], chart=str(tmp_path / "chart.gpkg"))
    ask = Attacker(session)
    assert finished(ask, ask("POST", "/review", json={"scene": scene.name}).json()["job"])["disagreements"] > 0
    told = ask("GET", f"/disagreements/{scene.name}").json()
    assert {f["properties"]["kind"] for f in told["features"]} == {"under"}
    assert ask("GET", f"/lines/{scene.name}/chart").json()["features"]

    def judged(number: Any, verdict: Any, comment: Any = "") -> Any:
        told = {"scene": scene.name, "number": number, "verdict": verdict, "comment": comment}
        return ask("POST", "/verdict", json=told)

    assert judged(0, "chart", "fog?").json() == {"verdicts": {"the chart is right": 1}}
    assert judged(0, "unsure").json() == {"verdicts": {"it cannot be told": 1}}  # the last one counts
    for wrong in ((99, "map"), (True, "map"), (0, "both"), (0, "map", 3), (0, "map", "x" * 2001)):
        assert judged(*wrong).status_code == 400
    kept = gpd.read_file(tmp_path / scene.name / "review.gpkg", layer="review")
    assert kept["verdict"].tolist() == ["it cannot be told"]
    assert kept["kind"].tolist() == ["under"]
    assert kept.crs.to_epsg() == 3413
    session.close()


def test_a_fault_in_a_job_is_told_and_the_desk_goes_on(ask: Attacker, monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(iter(ask.session.scenes))
    monkeypatch.setattr(DeskScene, "learn", lambda *_: 1 / 0)
    result = finished(ask, ask("POST", "/learn", json={"scene": name}).json()["job"])
    assert result["ok"] is False
    assert "ZeroDivisionError" in result["error"]
    assert ask("GET", "/state").json()["job"] == {}


def test_labels_are_saved_at_the_end(scene: DeskScene, tmp_path: Path) -> None:
    session = Session(tmp_path, [scene])
    put(Attacker(session), 0, "one")
    assert not (tmp_path / "labels.gpkg").exists()
    session.close()
    assert gpd.read_file(tmp_path / "labels.gpkg", layer="labels")["id"].tolist() == ["one"]


def test_scenes_of_two_projections_have_no_common_desk(scene: DeskScene, tmp_path: Path) -> None:
    from dataclasses import replace

    other = DeskScene("other", scene.first, scene.cells, "")
    other.grid = replace(scene.grid, crs="EPSG:3031")
    with pytest.raises(OptionError, match="Open a desk for each"):
        Session(tmp_path, [scene, other])


def test_a_scene_that_was_given_twice_is_refused(scene: DeskScene, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="given twice"):
        Session(tmp_path, [scene, scene])


def test_the_page_asks_the_desk_to_end(ask: Attacker) -> None:
    assert ask("POST", "/shutdown", json={}).status_code == 200
