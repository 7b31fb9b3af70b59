"""Labels that are never lost: kills at any byte, two tabs, a file that QGIS has edited, disks that are full."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyogrio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import MultiPolygon, Polygon, box

from frazil import cut_patches
from frazil.conventions import FIVE_CLASSES
from frazil.desk.labels import LabelStore, StaleError, labels_from, read_label, write_labels
from frazil.errors import LabelError, OutputError
from frazil.labels.classes import LabelOptions
from tests.desk.conftest import label, new_store, square


def test_what_was_put_is_there_after_a_kill(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.apply([{"put": label("one")}, {"put": label("two", code=3, note="fast ice?")}], 0, author="Ada")
    store.apply([{"remove": "one"}], 1)
    again = new_store(tmp_path)  # nobody closed the first one
    assert again.revision == 2
    (left,) = again.labels
    assert (left.id, left.code, left.note, left.author) == ("two", 3, "fast ice?", "Ada")
    assert left.created == left.modified != ""


def test_a_journal_cut_at_any_byte_loses_at_most_what_was_not_acknowledged(tmp_path: Path) -> None:
    (tmp_path / "desk").mkdir()
    store = new_store(tmp_path / "desk")
    lengths, journal = [], tmp_path / "desk" / "journal.jsonl"
    for k in range(4):
        lengths.append(journal.stat().st_size)
        store.apply([{"put": label(f"l{k}")}], k)
    whole = journal.read_bytes()
    for size in range(lengths[0], len(whole) + 1, 7):
        folder = tmp_path / f"cut-{size}"
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(whole[:size])
        found = new_store(folder)
        acknowledged = sum(length <= size for length in lengths[1:]) + (size == len(whole))
        assert len(found.labels) == found.revision == acknowledged
        found.apply([{"put": label("after")}], found.revision)  # and it goes on
        assert len(new_store(folder).labels) == acknowledged + 1


def test_killed_at_random_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from tests.desk.conftest import label, new_store\n"
        "from pathlib import Path\n"
        "store = new_store(Path(sys.argv[1]))\n"
        "for k in range(store.revision, 10**6):\n"
        "    store.apply([{'put': label(f'l{k}')}], k)\n"
        "    print(k, flush=True)\n"
        "    if k % 5 == 4: store.save()\n"
    )
    root = Path(__file__).resolve().parents[2]
    told = -1
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env=os.environ | {"PYTHONPATH": f"{root / 'src'}:{root}"},
        )
        assert process.stdout is not None
        for _ in range(8):
            told = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        told = max([told, *(int(line) for line in process.stdout.read().split())])
        process.wait()
        found = new_store(tmp_path)
        assert {f"l{k}" for k in range(told + 1)} <= {one.id for one in found.labels}


def test_of_two_tabs_the_slower_one_is_told(store: LabelStore) -> None:
    store.apply([{"put": label("one")}], 0)
    with pytest.raises(StaleError, match="revision 1, yours 0"):
        store.apply([{"put": label("two")}], 0)
    assert [one.id for one in store.labels] == ["one"]


def test_commands_are_carried_out_all_or_none(store: LabelStore) -> None:
    with pytest.raises(LabelError, match="no label 'other'"):
        store.apply([{"put": label("one")}, {"remove": "other"}], 0)
    assert store.labels == []
    assert store.revision == 0


def test_a_full_disk_is_told_and_spoils_nothing(
    store: LabelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.apply([{"put": label("one")}], 0)
    real = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        store.apply([{"put": label("two")}], 1)
    monkeypatch.setattr(os, "fsync", real)
    store.apply([{"put": label("three")}], 1)
    assert [one.id for one in new_store(tmp_path).labels] == ["one", "three"]


def test_the_file_is_one_that_gis_and_frazil_read(tmp_path: Path, small_safe: Path) -> None:
    import frazil
    from frazil.scene.geolocation import Geolocation

    scene = frazil.open_scene(small_safe, looks=3)
    x, y = Geolocation.of(scene).outline(__import__("pyproj").CRS("EPSG:3413"))
    middle = float(x.mean()), float(y.mean())
    store = new_store(tmp_path)
    store.apply([{"put": label("big", code=3, rings=square(*middle, 8000))}], 0, author="Ada")
    path = store.save()
    assert dict(pyogrio.list_layers(path))["labels"] == "Polygon"
    frame = gpd.read_file(path, layer="labels")
    assert frame.crs.to_epsg() == 3413
    row = frame.iloc[0]
    assert (row["class"], row["code"], row["sigrid3"], row["author"]) == (
        "level_first_year_ice",
        3,
        "86,87,88,89",
        "Ada",
    )
    assert row.geometry.area == pytest.approx(16000.0**2)
    options = LabelOptions(layer="labels", class_column="class")
    patches = cut_patches([scene], path, options=options, size=16, stride=16)
    assert patches.sizes["patch"] > 20
    assert set(patches["label"].values.tolist()) == {3}


def test_labels_that_qgis_changed_are_taken(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.apply([{"put": label("one")}, {"put": label("two", rings=square(5000))}], 0)
    path = store.save()
    frame = gpd.read_file(path, layer="labels")
    frame.loc[frame["id"] == "two", "class"] = "young_ice"
    frame = frame[frame["id"] == "two"]
    frame.geometry = [box(0, 0, 10, 10)]
    frame.to_file(path, layer="labels", engine="pyogrio")
    (left,) = new_store(tmp_path).labels
    assert (left.id, left.code) == ("two", 2)
    assert left.shape.area == 100


def test_changed_in_both_places_both_are_kept(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.apply([{"put": label("one")}], 0)
    path = store.save()
    store.apply([{"put": label("mine")}], 1)  # not in the file yet
    frame = gpd.read_file(path, layer="labels")
    frame["note"] = "theirs"
    frame.to_file(path, layer="labels", engine="pyogrio")
    again = new_store(tmp_path)
    assert [one.note for one in again.labels] == ["theirs"]
    assert "kept in labels-journal-1.gpkg" in again.notes[0]
    assert set(gpd.read_file(tmp_path / "labels-journal-1.gpkg", layer="labels")["id"]) == {"one", "mine"}


def test_a_save_that_was_cut_off_is_no_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the new GeoPackage and the new journal: the file is newer than the journal says."""
    store = new_store(tmp_path)
    store.apply([{"put": label("one", note="öl, 'quoted'", rings=square(0.1, 1 / 3, 77.7))}], 0, author="Ada")
    store.apply([{"put": label("two")}], 1)
    monkeypatch.setattr(LabelStore, "_begin", lambda _: None)
    store.save()
    store.apply([{"put": label("three")}], 2)
    monkeypatch.undo()
    again = new_store(tmp_path)
    assert [one.id for one in again.labels] == ["one", "two", "three"]
    assert (again.revision, again.notes) == (3, [])
    again.save()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["journal.jsonl", "labels.gpkg"]


def test_edited_while_the_desk_is_open_both_are_kept(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.apply([{"put": label("one")}], 0)
    path = store.save()
    frame = gpd.read_file(path, layer="labels")
    frame["note"] = "theirs"
    frame.to_file(path, layer="labels", engine="pyogrio")
    store.apply([{"put": label("two")}], 1)
    store.save()
    assert set(gpd.read_file(path, layer="labels")["id"]) == {"one", "two"}
    assert gpd.read_file(tmp_path / "labels-edited-1.gpkg", layer="labels")["note"].tolist() == ["theirs"]
    assert "labels-edited-1.gpkg" in store.notes[0]


def test_a_strangers_file_is_kept_beside(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(
        {"class": ["young_ice"], "id": ["x"], "scene": ["a"]}, geometry=[box(0, 0, 9, 9)], crs=3413
    )
    frame.to_file(tmp_path / "labels.gpkg", layer="labels", engine="pyogrio")
    before = (tmp_path / "labels.gpkg").read_bytes()
    store = new_store(tmp_path)
    assert [one.code for one in store.labels] == [2]
    store.apply([{"put": label("one")}], 0)
    store.save()
    assert (tmp_path / "labels-edited-1.gpkg").read_bytes() == before
    assert set(gpd.read_file(tmp_path / "labels.gpkg", layer="labels")["id"]) == {"x", "one"}


def test_labels_of_a_file(tmp_path: Path) -> None:
    shapes = [box(0, 0, 9, 9), MultiPolygon([box(20, 0, 29, 9), box(40, 0, 49, 9)])]
    frame = gpd.GeoDataFrame({"class": ["young_ice", "open_water"]}, geometry=shapes, crs=3413).to_crs(4326)
    found = labels_from(frame, "EPSG:3413", FIVE_CLASSES, ["a"])
    assert [one.code for one in found] == [2, 0, 0]
    assert len({one.id for one in found}) == 3
    assert found[0].shape.area == pytest.approx(81, rel=1e-3)
    with pytest.raises(LabelError, match="Scene ''"):
        labels_from(frame, "EPSG:3413", FIVE_CLASSES, ["a", "b"])
    with pytest.raises(LabelError, match="no column 'class' or 'code'"):
        labels_from(frame.drop(columns="class"), "EPSG:3413", FIVE_CLASSES, ["a"])
    with pytest.raises(LabelError, match="'slush' is not one of"):
        labels_from(frame.assign(**{"class": "slush"}), "EPSG:3413", FIVE_CLASSES, ["a"])


WRONG: dict[str, tuple[Any, str]] = {
    "no object": ([], "must be an object"),
    "no id": (label(""), "needs an id"),
    "long id": (label("x" * 65), "needs an id"),
    "another scene": (label(scene="b"), "is not on this desk"),
    "no class": (label(code=None), "is not one of 0 to 4"),
    "true": (label(code=True), "is not one of 0 to 4"),
    "unknown class": (label(code=9), "is not one of 0 to 4"),
    "unknown word": (label(colour="red"), "has no 'colour'"),
    "number as note": (label(note=3), "must be text"),
    "long note": (label(note="x" * 2001), "must be text"),
    "purpose": (label(purpose="win"), "Purpose 'win'"),
    "no outline": (label(rings=[]), "needs an outline"),
    "open": (label(rings=[[[0, 0], [1, 0], [1, 1], [0, 1]]]), "end where it begins"),
    "two corners": (label(rings=[[[0, 0], [1, 0], [0, 0]]]), "three corners"),
    "text": (label(rings=[[["a", 0], [1, 0], [1, 1], ["a", 0]]]), "pair of numbers"),
    "nan": (label(rings=[[[float("nan"), 0], [1, 0], [1, 1], [float("nan"), 0]]]), "pair of numbers"),
    "far": (label(rings=[[[1e9, 0], [1, 0], [1, 1], [1e9, 0]]]), "pair of numbers"),
    "bow tie": (label(rings=[[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]), r"Self-intersection\[0.5 0.5\]"),
    "many corners": (label(rings=[[[k, 0] for k in range(20_001)]]), "20000 corners at most"),
}


@pytest.mark.parametrize("case", WRONG)
def test_labels_that_are_none_are_refused(case: str, store: LabelStore) -> None:
    told, why = WRONG[case]
    with pytest.raises(LabelError, match=why):
        read_label(told, FIVE_CLASSES, ["a"])
    with pytest.raises(LabelError, match=why):
        store.apply([{"put": told}], 0)
    assert store.revision == 0


JOURNALS: dict[str, Callable[[bytes], bytes]] = {
    "words": lambda _: b"hello\n",
    "another json": lambda _: b'{"a": 1}\n',
    "a line is missing": lambda whole: b"\n".join(whole.split(b"\n")[:1] + whole.split(b"\n")[2:]),
    "garbage in the middle": lambda whole: whole.replace(b'"revision":1', b"\x00\xff", 1),
}


@pytest.mark.parametrize("damage", JOURNALS)
def test_a_damaged_journal_is_told_and_not_begun_anew(tmp_path: Path, damage: str) -> None:
    store = new_store(tmp_path)
    for k in range(3):
        store.apply([{"put": label(f"l{k}")}], k)
    journal = tmp_path / "journal.jsonl"
    spoilt = JOURNALS[damage](journal.read_bytes())
    journal.write_bytes(spoilt)
    with pytest.raises(LabelError, match="no journal of labels"):
        new_store(tmp_path)
    assert journal.read_bytes() == spoilt


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.booleans()), max_size=25), st.integers(0, 25))
def test_whatever_is_done_the_journal_tells_the_same(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool]], saved_at: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    store = new_store(folder)
    expected: dict[str, int] = {}
    for k, (number, code, remove) in enumerate(steps):
        name = f"l{number}"
        if remove and name in expected:
            store.apply([{"remove": name}], store.revision)
            del expected[name]
        else:
            store.apply([{"put": label(name, code=code)}], store.revision)
            expected[name] = code
        if k == saved_at:
            store.save()
    again = new_store(folder)
    assert {one.id: one.code for one in again.labels} == expected
    assert again.revision == store.revision
    shutil.rmtree(folder)


def test_outlines_with_holes_come_back(tmp_path: Path) -> None:
    ring, hole = square(0, 0, 1000)[0], square(0, 0, 200)[0]
    one = read_label(label(rings=[ring, hole]), FIVE_CLASSES, ["a"])
    write_labels([one], tmp_path / "l.gpkg", "EPSG:3413", FIVE_CLASSES)
    (back,) = labels_from(gpd.read_file(tmp_path / "l.gpkg", layer="labels"), "EPSG:3413", FIVE_CLASSES, ["a"])
    assert back.shape.equals(Polygon(ring, [hole]))
    assert json.loads(json.dumps(back.rings))[0][0] == ring[0]
