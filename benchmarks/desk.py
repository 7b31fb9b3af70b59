"""The desk on a full Extra Wide scene: seconds, frames, memory, and kills that may lose nothing.

    python benchmarks/desk.py [--product P.SAFE] [--kills 200] [-o out/bench-desk] [--page]

The product is the bundled sample (see `make desk`) if none is named. Needs Chromium (`make browser`); pictures are
drawn by software. --page writes docs/results/desk.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.desk.conftest import new_store
from tests.desk.test_browser import CHROMIUM, FLAGS, Desk, opened, settled, until

from frazil.files import replaced_file
from frazil.learn.checkpoint import git_commit

ROOT = Path(__file__).resolve().parents[1]
SHOWN = "## What it shows"
PAGE = """# The desk on a full Extra Wide scene

How big this is: {product} ({lines}), mapped at {spacing:g} m ({shape} pixels), {cells} cells; one run on
{cores} cores, Chromium without a graphics card (drawing by software), window of 1280 × 800.

| | measured | wanted |
| --- | --- | --- |
| from the command to the address, prepared for the first time | {prepare:.1f} s | 25 s |
| the same, prepared before | {again:.1f} s | |
| from the address to the first whole picture | {first:.1f} s | 3 s |
| L pressed, until the new map is on the screen, median of {n_learn} ({labels} labels) | {learn:.1f} s | 5 s |
| – of which learning | {taught:.1f} s | |
| moving the map, frames a second, median ({slow:.0f} in the slowest tenth) | {frames:.0f} | 20 |
| memory of the desk, largest | {server:.2f} GB | 3 GB |
| memory of the browser, all its processes (proportional share) | {browser:.2f} GB | 0.5 GB |
| desk killed (SIGKILL) while labels were put | {kills} times | 200 |
| labels acknowledged, and lost | {acknowledged}, {lost} | –, 0 |

{shown}

Command: `{command}`, commit {commit}
"""
WRITER = (
    "import sys\n"
    "from pathlib import Path\n"
    "from tests.desk.conftest import label, new_store\n"
    "store = new_store(Path(sys.argv[1]))\n"
    "for k in range(store.revision, 10**7):\n"
    "    store.apply([{'put': label(f'l{k % 3000}', note=str(k))}], k)\n"
    "    print(k, flush=True)\n"
    "    if k % 40 == 39: store.save()\n"
)
MOVE = """() => new Promise((done) => {
  const view = desk.view.map.getView(), from = view.getCenter(), r = view.getResolution(), times = [];
  view.setResolution(desk.view.scene.spacing);
  const begin = performance.now();
  const frame = (now) => {
    const t = (now - begin) / 4000;
    times.push(now);
    if (t >= 1) { view.setCenter(from); view.setResolution(r); done(times); return; }
    view.setCenter([from[0] + 60000 * Math.sin(6.283 * t), from[1] + 60000 * (Math.cos(6.283 * t) - 1)]);
    desk.view.map.renderSync();
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})"""


def peak_gb(pid: int) -> float:
    """Largest resident memory of a process so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 2**20
    return 0.0


def shared_out_gb(word: str) -> float:
    """Memory of all processes whose command holds a word, shared pages divided among them (PSS)."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if word in (folder / "cmdline").read_text():
                lines = (folder / "smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total / 2**20


def kills(n: int, folder: Path) -> tuple[int, int]:
    """Labels that were acknowledged, and how many of them are not there after a kill."""
    rng, told, lost = np.random.default_rng(0), 0, 0
    state: dict[str, int] = {}  # the last that was acknowledged of each label
    for k in range(n):
        words = [sys.executable, "-c", WRITER, str(folder)]
        env = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        said = [int(line) for line in (first + process.stdout.read()).split("\n")[:-1]]
        process.wait()
        told += len(said)
        state |= {f"l{number % 3000}": number for number in said}
        store = new_store(folder)
        there = {one.id: int(one.note) for one in store.labels}
        lost += sum(there.get(name, -1) < number for name, number in state.items())
        lost += len(store.notes)  # nobody has edited the file
        print(f"kill {k + 1} of {n}: {told} acknowledged, {lost} lost", end="\r", file=sys.stderr)
    print(file=sys.stderr)
    return told, lost


def measured(product: Path, folder: Path) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()
    desk = Desk(product, folder)
    prepare = time.monotonic() - began
    server = peak_gb(desk.process.pid)
    desk.end()
    began = time.monotonic()
    desk = Desk(product, folder)
    again = time.monotonic() - began
    with sync_playwright() as running, tempfile.TemporaryDirectory() as profile:
        context = running.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=FLAGS, viewport={"width": 1280, "height": 800}
        )
        began = time.monotonic()
        page = opened(None, desk.address, context=context)
        first = time.monotonic() - began
        about = page.evaluate("() => desk.view.scene")
        moved = []
        for _ in range(3):
            times = np.diff(page.evaluate(MOVE))
            moved.append((1000 / np.median(times), 1000 / np.quantile(times, 0.9)))
        learn, taught = [], []
        page.keyboard.press("c")
        for k in range(5):
            page.keyboard.press(str(k + 1))
            for j in range(3):
                page.mouse.click(380 + 60 * k, 330 + 60 * j)
                page.wait_for_timeout(300)
            settled(page)
            version = page.evaluate("() => desk.view.scene.version")
            began = time.monotonic()
            page.keyboard.press("l")
            until(page, f"desk.view.scene.version > {version}")
            settled(page)
            learn.append(time.monotonic() - began)
            taught.append(float(page.text_content("#learnt").rpartition(" in ")[2].split()[0]))
        browser = shared_out_gb(profile)
        context.close()
    server = max(server, peak_gb(desk.process.pid))
    desk.end()
    with np.load(next(folder.glob("*/cells.npz"))) as cells:
        n_cells = len(cells["features"])
    return {
        "product": f"a product of {about['title'][:3]}, {about['title'][4:16]}",
        "lines": f"start {about['time'][:10]}",
        "spacing": about["spacing"],
        "shape": " × ".join(map(str, about["shape"])),
        "cells": f"{n_cells:,}",
        "cores": os.cpu_count(),
        "prepare": prepare,
        "again": again,
        "first": first,
        "learn": statistics.median(learn),
        "n_learn": len(learn),
        "labels": "3 to 15",
        "taught": statistics.median(taught),
        "frames": statistics.median(m[0] for m in moved),
        "slow": statistics.median(m[1] for m in moved),
        "server": server,
        "browser": browser,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--product", type=Path, default=next(iter((ROOT / "out" / "sample").glob("*.SAFE")), None))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "out" / "bench-desk")
    parser.add_argument("--page", action="store_true")
    args = parser.parse_args()
    if CHROMIUM is None or args.product is None:
        parser.error("needs Chromium (make browser) and a product (make desk, or --product)")
    found = measured(args.product.resolve(), args.output)
    with tempfile.TemporaryDirectory() as folder:
        acknowledged, lost = kills(args.kills, Path(folder))
    found |= {"kills": args.kills, "acknowledged": acknowledged, "lost": lost}
    print(json.dumps(found, indent=2))
    print(f"this program: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB", file=sys.stderr)
    if args.page:
        target = ROOT / "docs" / "results" / "desk.md"
        old = target.read_text() if target.exists() else ""
        shown = SHOWN + old.partition(SHOWN)[2].partition("\nCommand:")[0].rstrip() if SHOWN in old else SHOWN
        command = "python benchmarks/desk.py --page"
        with replaced_file(target) as part:
            part.write_text(PAGE.format(**found, shown=shown, command=command, commit=git_commit()))


if __name__ == "__main__":
    main()
