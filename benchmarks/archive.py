"""What an archive costs: batches undisturbed and under kills, overhead, memory, the table of maps, a mosaic of a day.

    python benchmarks/archive.py kills --scenes 64 --kills 200
    python benchmarks/archive.py workers --scenes 24
    python benchmarks/archive.py overhead
    python benchmarks/archive.py memory --scenes 100
    python benchmarks/archive.py catalogue
    python benchmarks/archive.py mosaic

Each prints a line of JSON, and adds it to out/archive/rows.jsonl; ``--page`` writes docs/results/archive.md from those.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
FIXED = {"SOURCE_DATE_EPOCH": "1700000000"}  # so that two runs can be compared byte by byte
Row = dict[str, Any]
FRAZIL = [sys.executable, "-m", "frazil", "-q"]


def products(folder: Path, n: int, lines: int = 800) -> Path:
    """A list of small simulated products of the open Kara Sea, as many as asked for."""
    from frazil.simulate.product import simulate_product

    folder.mkdir(parents=True, exist_ok=True)
    there = len(list(folder.glob("*.SAFE")))
    for seed in range(there, n):
        simulate_product(folder, seed=40_000 + seed, lines=(5200, 5200 + lines), pixels=(2400, 2400 + lines))
    names = sorted(path.name for path in folder.glob("*.SAFE"))[:n]
    listed = folder / f"{n}.txt"
    listed.write_text("".join(f"{name}\n" for name in names))
    return listed


def batch_command(source: Path, archive: Path, workers: int) -> list[str]:
    return [
        sys.executable, "-m", "frazil", "-q", "batch", str(source), "-o", str(archive), "--workers", str(workers),
        "--check", "quick", "--json",
    ]  # fmt: skip


def run(words: list[str]) -> tuple[float, dict[str, Any]]:
    started = time.perf_counter()
    done = subprocess.run(words, env=os.environ | FIXED, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode not in (0, 1) or not done.stdout.strip():
        raise SystemExit(done.stderr)
    return time.perf_counter() - started, json.loads(done.stdout)


def digests(archive: Path) -> dict[str, str]:
    """SHA-256 of every file of every map."""
    return {
        str(path.relative_to(archive / "maps")): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((archive / "maps").rglob("*"))
        if path.is_file()
    }


def kills(out: Path, n_scenes: int, n_kills: int, seed: int = 0) -> Row:
    """A batch whose workers and itself are killed at random, until it is done, beside an undisturbed one."""
    source = products(out / "in", n_scenes)
    for name in ("calm", "killed"):
        shutil.rmtree(out / name, ignore_errors=True)
    calm_s, calm = run(batch_command(source, out / "calm", 2))
    rng, killed, whole = random.Random(seed), 0, 0
    words = batch_command(source, out / "killed", 2)
    started = time.perf_counter()
    process = subprocess.Popen(
        words, env=os.environ | FIXED, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    while True:
        try:
            process.wait(rng.uniform(1.0, 9.0))
        except subprocess.TimeoutExpired:
            victims = [p for p in children(process.pid) if is_worker(p)]
            if killed >= n_kills:
                continue
            if rng.random() < 0.1 or not victims:
                process.kill()
                process.wait()
                whole += 1
                killed += 1
                process = subprocess.Popen(
                    words, env=os.environ | FIXED, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
                )
            else:
                os.kill(rng.choice(victims), signal.SIGKILL)
                killed += 1
            continue
        if killed >= n_kills:
            break
        # done before all kills: begin anew on the scenes that a kill is still owed to
        for path in rng.sample(sorted((out / "killed" / "maps").glob("*/summary.json")), k=max(n_scenes // 4, 1)):
            shutil.rmtree(path.parent)
        process = subprocess.Popen(
            words, env=os.environ | FIXED, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
        )
    again_s, again = run(words)
    one, other = digests(out / "calm"), digests(out / "killed")
    maps = sorted(name for name in one if not name.startswith("collection"))
    events = [json.loads(line) for line in (out / "killed" / "journal" / "all.jsonl").read_text().splitlines() if line]
    return {
        "part": "kills",
        "scenes": n_scenes,
        "kills": killed,
        "of_the_whole_batch": whole,
        "maps": len({name.split("/")[0] for name in maps}),
        "files": len(maps),
        "files_that_differ": sum(one[name] != other.get(name) for name in maps),
        "files_too_many": len([n for n in other if n not in one]),
        "quarantined": len(again.get("quarantined", {})),
        "leftovers": len(list((out / "killed").rglob(".frazil-*.part"))),
        "torn_lines": sum(1 for e in events if "event" not in e),
        "begun": sum(e["event"] == "begun" for e in events),
        "undisturbed_s": round(calm_s, 1),
        "killed_s": round(time.perf_counter() - started, 1),
        "undisturbed_mapped": calm["mapped"],
        "again_s": round(again_s, 1),
    }


def children(pid: int) -> list[int]:
    """All processes below one."""
    found: list[int] = []
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
            parents.setdefault(int(words[1]), []).append(int(path.parent.name))
        except (OSError, IndexError, ValueError):
            continue
    todo = [pid]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found


def is_worker(pid: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def workers(out: Path, n_scenes: int) -> Row:
    """Scenes an hour with one worker and with two, and one by one as `frazil map` does."""
    source = products(out / "in", n_scenes)
    found: Row = {"part": "workers", "scenes": n_scenes, "cores": os.cpu_count()}
    for n in (1, 2):
        shutil.rmtree(out / f"w{n}", ignore_errors=True)
        seconds, told = run(batch_command(source, out / f"w{n}", n))
        assert told["mapped"] == n_scenes
        found[f"seconds_{n}"] = round(told["seconds"], 1)
        found[f"with_start_{n}"] = round(seconds, 1)
    shutil.rmtree(out / "w1", ignore_errors=True)
    _, told = run(["taskset", "-c", "0", *batch_command(source, out / "w1", 1)])
    found["seconds_1_on_one_core"] = round(told["seconds"], 1)
    few = sorted(source.parent.glob("*.SAFE"))[:6]
    shutil.rmtree(out / "one", ignore_errors=True)
    started = time.perf_counter()
    for k, path in enumerate(few):
        subprocess.run(
            [*FRAZIL, "map", str(path), "-o", str(out / "one" / str(k)), "--check", "quick"],
            check=True, capture_output=True, cwd=ROOT,
        )  # fmt: skip
    each = (time.perf_counter() - started) / len(few)
    found["one_by_one_s"] = round(each, 2)
    found["per_hour"] = {
        "1": round(3600 * n_scenes / found["seconds_1"]),
        "2": round(3600 * n_scenes / found["seconds_2"]),
    }
    found["per_hour"]["one by one"] = round(3600 / each)
    found["efficiency"] = round(found["seconds_1_on_one_core"] / (2 * found["seconds_2"]), 3)
    found["gain"] = round(found["seconds_1"] / found["seconds_2"], 2)
    return found


def overhead(out: Path, n: int = 400) -> Row:
    """Milliseconds a task costs beside its work: tasks whose map is there already, through workers all the same."""
    from frazil.archive.batch import run_batch
    from frazil.archive.engine import ClusterSettings, Engine
    from frazil.archive.folder import Archive, begin_archive
    from frazil.archive.sources import MapTask
    from frazil.learn.predict.mapping import MapOptions

    root = out / "overhead"
    shutil.rmtree(root, ignore_errors=True)
    archive = begin_archive(
        Archive(root=root, kind="exclusive", model="m", model_id="m", weights_sha256="", options=MapOptions())
    )
    tasks = [MapTask(id=f"s{k:04d}", source="nowhere") for k in range(n)]
    for task in tasks:
        archive.folder_of(task.id).mkdir()
        (archive.folder_of(task.id) / "summary.json").write_text("{}")

    class Blind(Archive):
        """Does not see its maps, so that every task goes to a worker, which sees them."""

        def holds(self, name: str) -> bool:
            return not name

    blind = Blind(**{name: getattr(archive, name) for name in Archive.__dataclass_fields__})
    engine = Engine(ClusterSettings(workers=2), str(root), archive.token)
    try:
        run_batch(blind, tasks[:20], engine)  # workers have loaded what they need
        started = time.perf_counter()
        done = run_batch(blind, tasks, engine)
        seconds = time.perf_counter() - started
    finally:
        engine.close()
    assert len(done.there) == n
    return {"part": "overhead", "tasks": n, "ms_a_task": round(1000 * seconds / n, 2)}


def memory(out: Path, n_scenes: int) -> Row:
    """Most memory of one worker after each scene."""
    source = products(out / "in", n_scenes)
    shutil.rmtree(out / "memory", ignore_errors=True)
    _, told = run(batch_command(source, out / "memory", 1))
    events = [json.loads(line) for line in (out / "memory" / "journal" / "all.jsonl").read_text().splitlines()]
    peaks = [e["peak_mb"] for e in events if e["event"] == "done"]
    at = sorted({0, 1, 4, 9, 24, 49, len(peaks) - 1} & set(range(len(peaks))))
    return {
        "part": "memory",
        "scenes": told["mapped"],
        "workers_used": len({e["worker"] for e in events if e["event"] == "done"}),
        "peak_mb_after": {str(k + 1): peaks[k] for k in at},
    }


def catalogue(out: Path, n: int = 100_000) -> Row:
    """A table of many made-up items: written, opened, filtered."""
    import stac_geoparquet.arrow as stac

    from frazil.archive.catalogue import open_catalogue

    place = out / "catalogue"
    place.mkdir(parents=True, exist_ok=True)
    template = json.loads(next((out / "calm" / "maps").glob("*/stac_item.json")).read_text())
    rng = np.random.default_rng(0)
    first = datetime(2020, 1, 1, tzinfo=UTC)

    def item(k: int) -> Row:
        west, south = float(rng.uniform(-180, 170)), float(rng.uniform(60, 85))
        ring = [[west, south], [west + 9, south], [west + 9, south + 4], [west, south + 4], [west, south]]
        when = (first + timedelta(minutes=26 * k)).strftime("%Y-%m-%dT%H:%M:%SZ")
        more = {
            "datetime": when,
            "start_datetime": when,
            "end_datetime": when,
            "folder": f"m{k}",
            "map:ice_extent_km2": 1.0,
        }
        corners = dict.fromkeys(("map:left", "map:bottom", "map:right", "map:top"), 0.0)
        return template | {
            "id": f"m{k}",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "bbox": [west, south, west + 9, south + 4],
            "properties": template["properties"] | more | corners,
        }

    started = time.perf_counter()
    stac.to_parquet(stac.parse_stac_items_to_arrow(item(k) for k in range(n)), place / "items.parquet")
    wrote = time.perf_counter() - started
    took: dict[str, float] = {}
    found: dict[str, int] = {}
    for name, question in (
        ("all", {}),
        ("a day", {"time": "2022-03-04"}),
        ("a month and place", {"time": "2022-03", "bbox": "10,76,34,81"}),
        ("a place", {"bbox": "170,65,-170,75"}),
    ):
        times = []
        for _ in range(3):
            started = time.perf_counter()
            found[name] = len(open_catalogue(place, **question))  # type: ignore[arg-type]
            times.append(time.perf_counter() - started)
        took[name] = round(min(times), 3)
    size = (place / "items.parquet").stat().st_size
    return {
        "part": "catalogue",
        "items": n,
        "mb": round(size / 1e6, 1),
        "write_s": round(wrote, 1),
        "s": took,
        "found": found,
    }


def mosaic_day(out: Path, n_maps: int = 40) -> Row:
    """Forty maps of Extra Wide size at 120 m over the Arctic, made up, combined into a mosaic of a day."""
    from frazil.maps.export import export
    from frazil.testing import make_map

    place = out / "day"
    rng = np.random.default_rng(0)
    for k in range(n_maps):
        folder = place / f"m{k:02d}"
        if (folder / "summary.json").is_file():
            continue
        centre = float(rng.uniform(-180, 180)), float(rng.uniform(72, 88))
        when = f"2025-02-01T{k // 2:02d}:{30 * (k % 2):02d}:00Z"
        made = make_map(
            shape=(3400, 3600), seed=k, centre=centre, product=f"S1A_EW_{k:02d}", start_time=when, stop_time=when
        )
        step = 120.0
        left, top = (float(np.round(v / step) * step) for v in (made["x"][0] - step / 2, made["y"][0] + step / 2))
        made = made.assign_coords(
            x=left + (np.arange(3600) + 0.5) * step, y=top - (np.arange(3400) + 0.5) * step
        ).assign_coords(spatial_ref=made["spatial_ref"])
        export(made, folder, formats=("geotiff", "stac", "summary"))
    found: Row = {"part": "mosaic", "maps": n_maps}
    for rule in ("latest", "confident", "fused"):
        shutil.rmtree(out / "mosaic", ignore_errors=True)
        words = [
            sys.executable,
            "-m",
            "frazil",
            "-q",
            "mosaic",
            str(place),
            "-o",
            str(out / "mosaic"),
            "--day",
            "2025-02-01",
        ]
        seconds, peak = measured([*words, "--rule", rule])
        found[rule] = {"s": round(seconds, 1), "peak_gb": round(peak / 1e9, 2)}
    told = json.loads((out / "mosaic" / "summary.json").read_text())
    found["shape"] = told["grid"]["shape"]
    found["gb_on_disk"] = round(sum(p.stat().st_size for p in (out / "mosaic").iterdir()) / 1e9, 3)
    seconds, peak = measured(
        [sys.executable, "-m", "frazil", "-q", "series", str(place), "-o", str(out / "s.csv"), "--overwrite"]
    )
    found["series"] = {"s": round(seconds, 1), "peak_gb": round(peak / 1e9, 2)}
    return found


def measured(words: list[str]) -> tuple[float, float]:
    """Seconds and most bytes of a command."""
    started = time.perf_counter()
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)} ended with {status}.")
    return time.perf_counter() - started, used.ru_maxrss * 1024.0


def main() -> None:
    """Run a part, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=["kills", "workers", "overhead", "memory", "catalogue", "mosaic"])
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "archive")
    parser.add_argument("--scenes", type=int, default=64)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    rows = given.output / "rows.jsonl"
    if given.page:
        from archive_page import write_page

        write_page([json.loads(line) for line in rows.read_text().splitlines()])
        return
    parts: dict[str, Callable[[], Row]] = {
        "kills": lambda: kills(given.output, given.scenes, given.kills),
        "workers": lambda: workers(given.output, given.scenes),
        "overhead": lambda: overhead(given.output),
        "memory": lambda: memory(given.output, given.scenes),
        "catalogue": lambda: catalogue(given.output),
        "mosaic": lambda: mosaic_day(given.output),
    }
    if given.part is None:
        parser.error("name a part, or --page")
    from frazil.learn.checkpoint import git_commit

    row = parts[given.part]() | {"commit": git_commit(), "load": round(os.getloadavg()[0], 1)}
    line = json.dumps(row)
    print(line)
    with rows.open("a") as file:
        file.write(line + "\n")


if __name__ == "__main__":
    main()
