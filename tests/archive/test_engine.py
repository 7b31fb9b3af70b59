"""Batches with real workers: processes that are killed, a scheduler elsewhere, scripts of Slurm, the whole program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from frazil.archive.batch import BatchSettings, run_batch
from frazil.archive.engine import GIB, ClusterSettings, Engine, job_script
from frazil.archive.folder import Archive, begin_archive
from frazil.archive.sources import MapTask
from frazil.archive.watch import HEARTBEAT, Watch, WatchSettings, in_folders
from frazil.cli import cli
from frazil.errors import FrazilError, MissingDependencyError, OptionError, ServerError
from frazil.learn.checkpoint import load_model
from frazil.learn.predict.mapping import MapOptions
from frazil.simulate.product import simulate_product

pytest.importorskip("distributed")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three products of 600 × 600 pixels."""
    folder = tmp_path_factory.mktemp("in")
    for seed in (1, 2, 3):
        simulate_product(folder, seed=seed, lines=(5200, 5800), pixels=(2400, 3000))
    return folder


def archive_at(root: Path) -> Archive:
    card = load_model("ice-measured").card
    return begin_archive(
        Archive(
            root=root,
            kind="exclusive",
            model="ice-measured",
            model_id=card.id,
            weights_sha256=card.weights_sha256,
            options=MapOptions(engine="torch"),
            check="quick",
        )
    )


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return archive_at(tmp_path / "archive")


@pytest.fixture
def engine(archive: Archive) -> Iterator[Engine]:
    made = Engine(ClusterSettings(workers=1), str(archive.root), archive.token)
    yield made
    made.close()


def tasks_of(folder: Path) -> tuple[MapTask, ...]:
    return tuple(MapTask(id=path.stem, source=str(path)) for path in sorted(folder.glob("*.SAFE")))


def test_a_killed_worker_costs_nothing_and_refused_products_are_quarantined(
    archive: Archive, engine: Engine, products: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "S1A_BAD.SAFE"
    bad.mkdir()
    (bad / "manifest.safe").write_text("<xml/>")
    killed: list[int] = []

    def kill() -> None:
        from frazil.archive.journal import entries, read_events

        while not killed:
            time.sleep(0.05)
            for entry in entries(read_events(archive.root / "journal")).values():
                if entry.state == "running" and not killed:
                    pid = int(entry.worker.rpartition(":")[2])
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    tasks = (*tasks_of(products), MapTask(id="S1A_BAD", source=str(bad)))
    done = run_batch(archive, tasks, engine, BatchSettings())
    thread.join()
    assert sorted(done.made) == [t.id for t in tasks[:3]]
    assert list(done.quarantined) == ["S1A_BAD"]
    for task in tasks[:3]:
        assert (archive.folder_of(task.id) / ".frazil.json").is_file()
    assert json.loads((archive.maps / "collection_sea_ice.json").read_text())["links"]
    again = run_batch(archive, tasks[:3], engine)
    assert len(again.there) == 3


@pytest.mark.slow
def test_a_scene_that_hangs_costs_its_worker_alone(
    archive: Archive, engine: Engine, products: Path, tmp_path: Path
) -> None:
    pipe = tmp_path / "S1A_HANGS.SAFE"
    pipe.mkdir()
    one = tasks_of(products)[0]
    hanging = MapTask(id="S1A_HANGS", source="hang")
    original = engine.submit

    def submit(task: MapTask, turn: int) -> None:
        if task.source != "hang":
            original(task, turn)
            return
        future = engine._client.submit(time.sleep, 600, key=f"hang-{turn}", pure=False)
        engine._flying[task.id] = future

    engine.submit = submit  # type: ignore[method-assign]
    done = run_batch(archive, (hanging,), engine, BatchSettings(timeout_s=2, tries=1))
    assert "longer than 2 s" in done.quarantined["S1A_HANGS"]
    assert run_batch(archive, (one,), engine).made == (one.id,)


def test_a_scheduler_that_is_not_there(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frazil.archive.engine._ANSWER_S", 1)
    with pytest.raises(ServerError, match="scheduler tcp://127.0.0.1:9 does not answer"):
        Engine(ClusterSettings(dask="tcp://127.0.0.1:9"), str(archive.root), archive.token)


def test_workers_of_a_scheduler_elsewhere(archive: Archive, products: Path, tmp_path: Path) -> None:
    """A scheduler and a worker as they are started on a cluster; the worker sees the archive by its path."""
    file = tmp_path / "scheduler.json"
    python = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    started = [
        subprocess.Popen(
            [*python, "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)], **quiet
        )
    ]
    try:
        while not file.exists():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
        started.append(subprocess.Popen(worker, **quiet))
        engine = Engine(ClusterSettings(dask=address), str(archive.root), archive.token)
        try:
            done = run_batch(archive, tasks_of(products)[:1], engine)
            stranger = archive_at(tmp_path / "other")
            engine._token = stranger.token
            wrong = run_batch(archive, tasks_of(products)[1:2], engine, BatchSettings(tries=1))
        finally:
            engine.close()
        assert len(done.made) == 1
        assert "sees another" in next(iter(wrong.quarantined.values()))
        assert started[1].poll() is None  # workers of a scheduler go on
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


def test_the_script_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask_jobqueue")
    place = ClusterSettings(
        dask="slurm", workers=5, cores=4, memory_bytes=6 * GIB, queue="short", account="ice", walltime="02:00:00",
        shell=("module load python",),
    )  # fmt: skip
    script = job_script(place)
    for line in ("#SBATCH -p short", "#SBATCH -A ice", "#SBATCH --cpus-per-task=4", "#SBATCH -t 02:00:00"):
        assert line in script
    assert "#SBATCH --mem=6G" in script
    assert "module load python" in script
    assert "--lifetime 6900s --lifetime-stagger 120s" in script
    assert "--nthreads 1" in script
    monkeypatch.setattr("frazil.archive.engine.installed", lambda name: name != "dask_jobqueue")
    with pytest.raises(MissingDependencyError, match=r"needs dask_jobqueue.*frazil\[archive,fast"):
        Engine(place, "x", "y")


@pytest.mark.parametrize(
    "wrong",
    [{"dask": "kubernetes"}, {"workers": 0}, {"memory_bytes": 1000}, {"dask": "slurm", "walltime": "soon"}],
)
def test_places_that_are_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        job_script(ClusterSettings(**wrong))


def test_the_program_goes_on_after_a_kill(products: Path, tmp_path: Path) -> None:
    """Killed with its workers under way; the same command makes what is missing, and nothing twice."""
    words = [sys.executable, "-m", "frazil", "batch", str(products), "-o", str(tmp_path / "a"), "--engine", "torch"]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    first = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    maps = tmp_path / "a" / "maps"
    while not (maps.is_dir() and any(maps.glob("*/summary.json"))):
        assert first.poll() is None
        time.sleep(0.05)
    first.kill()
    first.wait()
    there = {p.parent.name: p.stat().st_mtime_ns for p in maps.glob("*/summary.json")}
    done = subprocess.run(
        [*words[:4], "--resume", "-o", str(tmp_path / "a"), "--json"], env=env, capture_output=True, text=True
    )
    told = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert told["mapped"] + told["were_there"] == 3
    assert {name: (maps / name / "summary.json").stat().st_mtime_ns for name in there} == there
    assert not list((tmp_path / "a").glob("**/.frazil-*.part"))
    shown = CliRunner().invoke(cli, ["batch", "--status", "-o", str(tmp_path / "a")])
    assert "mapped       3 of 3 scenes" in shown.output
    other = CliRunner().invoke(cli, ["batch", str(products), "-o", str(tmp_path / "a"), "--coast", "500"])
    assert isinstance(other.exception, FrazilError)
    assert "engine 'torch', not 'auto'" in str(other.exception) or "coast_m" in str(other.exception)


def test_a_watch_takes_what_has_settled(archive: Archive, engine: Engine, products: Path, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    now = [0.0]
    watching = Watch(
        archive, in_folders([str(inbox)]), engine, WatchSettings(every_s=10, settle_s=30), clock=lambda: now[0]
    )
    assert watching.look() == 0
    product = tasks_of(products)[0]
    part = inbox / f"{product.id}.SAFE"
    part.mkdir()
    files = [p for p in sorted(Path(product.source).rglob("*")) if p.is_file()]
    for n, file in enumerate(files):
        target = part / file.relative_to(product.source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
        if n == 2:
            assert watching.look() == 0  # it grows
            now[0] += 20
            assert json.loads((archive.root / HEARTBEAT).read_text())["arriving"] == 1
    assert watching.look() == 0
    now[0] += 31
    assert watching.look() == 1
    told = json.loads((archive.root / HEARTBEAT).read_text())
    assert (told["mapped"], told["arriving"], told["quarantined"]) == (1, 0, 0)
    assert watching.look() == 0


@pytest.mark.slow
def test_from_python_in_one_call(products: Path, tmp_path: Path) -> None:
    import frazil

    done = frazil.batch([products], tmp_path / "a", options=MapOptions(engine="torch"), check="quick")
    assert len(done.made) == 3
    assert list(frazil.open_catalogue(tmp_path / "a")["folder"]) == sorted(done.made, key=lambda name: name[17:])
    assert not list((tmp_path / "a").rglob(".frazil-*.part"))
