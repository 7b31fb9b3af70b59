"""Batches with workers that follow a script: what becomes of scenes that fail, hang, or cannot be written."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.archive.batch import BatchSettings, quarantined, run_batch
from frazil.archive.folder import Archive, begin_archive, open_archive
from frazil.archive.journal import Journal, entries, read_events
from frazil.archive.lock import held, is_held
from frazil.archive.sources import MapTask, Shard
from frazil.archive.status import lines_of, status_of, write_status_page
from frazil.archive.task import Ending, Outcome
from frazil.errors import OptionError, OutputError, OutputExistsError, ProductNotFoundError
from frazil.learn.predict.mapping import MapOptions


class Scripted:
    """Workers that do what a script says: name -> endings, one a turn; ``hang`` for ever, then ``done``."""

    def __init__(self, archive: Archive, script: dict[str, list[str]] | None = None, n: int = 2) -> None:
        self.archive, self.n = archive, n
        self.script = defaultdict(list, {k: list(v) for k, v in (script or {}).items()})
        self.flying: list[str] = []
        self.handed: list[str] = []
        self.killed: list[str] = []
        self.told: list[dict[str, Any]] = []

    def room(self) -> int:
        return self.n - len(self.flying)

    def submit(self, task: MapTask, turn: int) -> None:
        assert task.id not in self.flying
        assert turn >= 0
        self.flying.append(task.id)
        self.handed.append(task.id)
        self.told.append({"id": task.id, "worker": "here:1", "time": time.monotonic()})

    def wait(self, seconds: float) -> list[Outcome]:
        assert seconds > 0
        for name in self.flying:
            ending = self.script[name].pop(0) if self.script[name] else "done"
            if ending == "hang":
                continue
            self.flying.remove(name)
            made = ending == "done" and not self.archive.holds(name)
            if made:
                folder = self.archive.folder_of(name)
                folder.mkdir()
                (folder / "summary.json").write_text("{}")
            why: Ending = ending  # type: ignore[assignment]
            return [
                Outcome(
                    id=name, ending=why, error="" if ending == "done" else f"{name} {ending}", made=made, seconds=2.0
                )
            ]
        return []

    def begun(self) -> list[dict[str, Any]]:
        told, self.told = self.told, []
        return told

    def kill(self, name: str) -> None:
        self.killed.append(name)
        self.flying.remove(name)

    def let_go(self, name: str) -> None:
        self.flying.remove(name)


def archive_at(root: Path, **more: Any) -> Archive:
    values: dict[str, Any] = {"kind": "exclusive", "model": "m", "model_id": "m-1", "weights_sha256": "ab"}
    return begin_archive(Archive(root=root, options=MapOptions(), **{**values, **more}))


def tasks(*names: str) -> tuple[MapTask, ...]:
    return tuple(MapTask(id=name, source=f"/in/{name}.SAFE") for name in names)


def test_every_scene_once_and_again_none(tmp_path: Path) -> None:
    archive = archive_at(tmp_path / "a")
    workers = Scripted(archive)
    done = run_batch(archive, tasks(*"abcde"), workers)
    assert sorted(done.made) == sorted(workers.handed) == list("abcde")
    again = run_batch(archive, tasks(*"abcdef"), workers)
    assert (sorted(again.there), again.made) == (list("abcde"), ("f",))


def test_faults_are_tried_again_and_refusals_are_not(tmp_path: Path) -> None:
    archive = archive_at(tmp_path / "a")
    script = {"a": ["failed", "failed"], "b": ["failed"] * 3, "c": ["refused"]}
    workers = Scripted(archive, script)
    done = run_batch(archive, tasks(*"abcd"), workers)
    assert sorted(done.made) == ["a", "d"]
    assert done.quarantined == {"b": "b failed", "c": "c refused"}
    assert [workers.handed.count(name) for name in "abcd"] == [3, 3, 1, 1]
    later = Scripted(archive)
    assert run_batch(archive, tasks(*"abcd"), later).quarantined == done.quarantined
    assert later.handed == []
    freed = run_batch(archive, tasks(*"abcd"), later, BatchSettings(retry=True))
    assert (sorted(freed.made), freed.quarantined, quarantined(archive)) == (["b", "c"], {}, {})


def test_faults_count_on_over_several_calls(tmp_path: Path) -> None:
    archive = archive_at(tmp_path / "a")
    run_batch(archive, tasks("a"), Scripted(archive, {"a": ["failed"] + ["hang"] * 99}), stop=after(3))
    done = run_batch(archive, tasks("a"), Scripted(archive, {"a": ["failed"] * 9}))
    assert done.quarantined == {"a": "a failed"}
    assert sum(e["event"] == "begun" for e in read_events(archive.root / "journal")) == 4  # the one let go, too


def after(n: int) -> Callable[[], bool]:
    left = iter(range(n))
    return lambda: next(left, None) is None


def test_a_scene_that_hangs_is_ended_with_its_worker(tmp_path: Path) -> None:
    archive = archive_at(tmp_path / "a")
    workers = Scripted(archive, {"a": ["hang"] * 100_000})
    done = run_batch(archive, tasks("a", "b"), workers, BatchSettings(timeout_s=0.05, tries=2))
    assert workers.killed == ["a", "a"]
    assert done.made == ("b",)
    assert "longer than 0.05 s (--timeout)" in done.quarantined["a"]


def test_a_full_disk_ends_the_batch_and_blames_no_scene(tmp_path: Path) -> None:
    archive = archive_at(tmp_path / "a")
    with pytest.raises(OutputError, match="1 scenes were mapped, 3 are left; the same command goes on"):
        run_batch(archive, tasks(*"abcd"), Scripted(archive, {"b": ["unwritable"]}, n=1))
    assert quarantined(archive) == {}
    done = run_batch(archive, tasks(*"abcd"), Scripted(archive))
    assert (sorted(done.made), done.there) == (list("bcd"), ("a",))


def test_shards_share_nothing_and_leave_nothing(tmp_path: Path) -> None:
    archive = archive_at(tmp_path / "a")
    names = [f"S1A_{k:05d}" for k in range(60)]
    made: list[str] = []
    for k in range(1, 5):
        done = run_batch(archive, tasks(*names), Scripted(archive), BatchSettings(shard=Shard.parse(f"{k}/4")))
        assert 5 <= len(done.made) <= 25
        made += done.made
    assert sorted(made) == names
    assert len(list((archive.root / "journal").glob("shard-*.jsonl"))) == 4
    assert status_of(archive).mapped == 60


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/4/5", "", "½/2"])
def test_shards_that_are_none(text: str) -> None:
    with pytest.raises(OptionError, match="Shard"):
        Shard.parse(text)


def test_two_batches_on_one_archive(tmp_path: Path) -> None:
    archive = archive_at(tmp_path / "a")
    lock = archive.root / "journal" / "all.lock"
    with held(lock, "A batch works on"):
        assert is_held(lock)
        with pytest.raises(OutputExistsError, match=r"A batch works on .* already on \S+, process \d+, since 20"):
            run_batch(archive, tasks("a"), Scripted(archive))
    assert not is_held(lock)
    assert run_batch(archive, tasks("a"), Scripted(archive)).made == ("a",)


def test_a_lock_of_another_machine_is_held_while_it_beats(tmp_path: Path) -> None:
    import os

    path = tmp_path / "journal" / "all.lock"
    path.parent.mkdir()
    path.write_text("elsewhere 17 2026-01-01T00:00:00Z\n")
    assert is_held(path)
    with pytest.raises(OutputExistsError, match="on elsewhere, process 17"), held(path, "A batch works on"):
        pass
    os.utime(path, (time.time() - 1000,) * 2)
    assert not is_held(path)
    with held(path, "A batch works on"):
        pass


def test_an_archive_holds_maps_that_compare(tmp_path: Path) -> None:
    first = archive_at(tmp_path / "a")
    assert archive_at(tmp_path / "a").token == first.token
    assert open_archive(tmp_path / "a") == first
    (first.maps / "x").mkdir()
    (first.maps / "x" / "summary.json").write_text("{}")
    with pytest.raises(OptionError, match=r"model_id 'm-1', not 'm-2'.*another folder"):
        archive_at(tmp_path / "a", model_id="m-2")
    with pytest.raises(OptionError, match=r"coast_m 2000.0, not 500.0"):
        begin_archive(
            Archive(
                root=tmp_path / "a",
                options=MapOptions(coast_m=500.0),
                kind="exclusive",
                model="m",
                model_id="m-1",
                weights_sha256="ab",
            )
        )
    begin_archive(
        Archive(
            root=tmp_path / "a",
            options=MapOptions(device="cuda"),
            kind="exclusive",
            model="m",
            model_id="m-1",
            weights_sha256="ab",
        )
    )  # does not change a map


def test_an_archive_without_maps_takes_other_options(tmp_path: Path) -> None:
    archive_at(tmp_path / "a")
    assert archive_at(tmp_path / "a", model_id="m-2").model_id == open_archive(tmp_path / "a").model_id == "m-2"


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("words")
    with pytest.raises(OutputExistsError, match="is there and no archive"):
        archive_at(tmp_path / "mine")
    with pytest.raises(ProductNotFoundError, match="no archive of maps"):
        open_archive(tmp_path / "mine")
    for text in ("", "[]", "{", '{"frazil": "archive"}', '{"frazil": "desk", "kind": "exclusive"}'):
        (tmp_path / "mine" / "archive.json").write_text(text)
        with pytest.raises(ProductNotFoundError, match="cannot be read"):
            open_archive(tmp_path / "mine")


def test_journals_survive_a_kill_at_any_byte(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "all.jsonl")
    for k in range(6):
        journal.write("begun", id=f"s{k}", worker="w")
        journal.write("done", id=f"s{k}", made=True, seconds=1.5)
    journal.close()
    whole = (tmp_path / "all.jsonl").read_bytes()
    for cut in range(0, len(whole), 7):
        (tmp_path / "all.jsonl").write_bytes(whole[:cut])
        before = read_events(tmp_path)
        again = Journal(tmp_path / "all.jsonl")
        again.write("begun", id="later")
        again.close()
        after_it = read_events(tmp_path)
        assert after_it[:-1] == before
        assert after_it[-1]["id"] == "later"


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.binary(max_size=80) | st.sampled_from([b'{"event": "done"}', b'{"time": 3, "event": "done"}', b"[]"]))
)
def test_lines_of_strangers_are_passed_over(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("j")
    (folder / "all.jsonl").write_bytes(
        b"\n".join([*lines, b'{"time": "2026-01-01T00:00:00Z", "event": "done", "id": "x"}'])
    )
    found = entries(read_events(folder))
    assert found["x"].state == "done"


def test_words_of_strangers_do_not_break_the_page(tmp_path: Path) -> None:
    archive = archive_at(tmp_path / "a")
    words = "<script>alert(1)</script>\x1b[2J\udcff" + "x" * 200_000
    journal = Journal(archive.root / "journal" / "all.jsonl")
    journal.write("quarantined", id="evil", error=words)
    journal.close()
    status = status_of(archive)
    assert [e.id for e in status.quarantined] == ["evil"]
    page = write_status_page(status, archive.root).read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_status_counts_what_is_there(tmp_path: Path) -> None:
    archive = archive_at(tmp_path / "a")
    workers = Scripted(archive, {"c": ["refused"], "d": ["hang"] * 99})
    run_batch(archive, tasks(*"abcde"), workers, stop=after(12))
    status = status_of(archive)
    assert (status.mapped, status.scenes, len(status.quarantined), status.waiting) == (3, 5, 1, 1)
    assert status.median_s == 2.0
    assert status.scenes_per_hour is None or status.scenes_per_hour > 0
    assert "quarantined  1" in lines_of(status)
    assert json.loads(json.dumps(archive.told()))["frazil"] == "archive"


@settings(deadline=None, max_examples=40)
@given(
    script=st.dictionaries(
        st.sampled_from("abcdef"), st.lists(st.sampled_from(["failed", "refused", "done"]), max_size=4), max_size=6
    ),
    workers=st.integers(1, 4),
    stop=st.integers(1, 20),
)
def test_whatever_happens_every_scene_ends_once(
    tmp_path_factory: pytest.TempPathFactory, script: dict[str, list[str]], workers: int, stop: int
) -> None:
    """Stopped anywhere and gone on with: a map, or quarantined, and what is expected of the script's words."""
    archive = archive_at(tmp_path_factory.mktemp("batch") / "a")
    run_batch(archive, tasks(*"abcdef"), Scripted(archive, {}, workers), stop=after(0))
    team = Scripted(archive, script, workers)
    run_batch(archive, tasks(*"abcdef"), team, stop=after(stop))
    done = run_batch(archive, tasks(*"abcdef"), team)
    maps = {path.parent.name for path in archive.maps.glob("*/summary.json")}
    assert maps | set(done.quarantined) == set("abcdef")
    assert not maps & set(done.quarantined)
    for name in "abcdef":
        words = script.get(name, [])
        first = next((w for w in words if w != "failed"), "done" if words.count("failed") < 3 else "failed")
        expected = "failed" if words[:3] == ["failed"] * 3 else first
        assert (name in maps) == (expected == "done"), (name, words)
