"""Time and memory of each command on one Extra Wide product, from the command line to the finished output.

    python benchmarks/costs.py [--rounds 3] [--page docs/results/costs.md]

The product is the bundled sample at full size. Every run is a process of its own, imports included, in rounds; the
least time and the largest memory count, for other work on the machine only makes runs longer.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: What is printed -> arguments of frazil; PRODUCT and names in capitals stand for what earlier rows wrote.
STEPS = {
    "simulate --sample": ["simulate", "--sample", "SAMPLE"],
    "info": ["info", "PRODUCT"],
    "scene -o scene.nc --looks 3": ["scene", "PRODUCT", "-o", "SCENE.nc", "--looks", "3"],
    "map": ["map", "PRODUCT", "-o", "MAP"],
    "map --check quick": ["map", "PRODUCT", "-o", "QUICK", "--check", "quick"],
    "map --adapt": ["map", "PRODUCT", "-o", "ADAPTED", "--adapt"],
    "edge": ["edge", "MAP", "-o", "EDGE.geojson"],
    "concentration": ["concentration", "MAP", "-o", "CONCENTRATION.nc"],
    "chart": ["chart", "MAP", "-o", "CHART"],
    "risk of the map": ["risk", "MAP", "--ship", "PC7", "-o", "RISK"],
    "risk of the chart": ["risk", "CHART/chart.gpkg", "--ship", "PC7", "-o", "CHARTRISK"],
    "compare with the chart": ["compare", "MAP", "CHART/chart.gpkg", "-o", "COMPARED"],
    "mosaic of two maps": ["mosaic", "MAP", "ADAPTED", "-o", "MOSAIC"],
}


def run(arguments: list[str], folder: Path) -> tuple[float, float, float]:
    """Seconds by the clock, processor seconds, and peak memory in GB of a command."""
    if arguments[0] != "simulate":
        product = str(next((folder / "SAMPLE").glob("*.SAFE")))
        arguments = [product if a == "PRODUCT" else a for a in arguments]
    started = time.perf_counter()
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "frazil", *arguments], cwd=folder, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"frazil {' '.join(arguments)} failed:\n{(folder / 'log').read_text()[-2000:]}")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e9


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", type=Path)
    asked = parser.parse_args()
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in STEPS}
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for name, arguments in STEPS.items():
                found[name].append(run(arguments, Path(folder)))
                print(name, *(f"{value:.2f}" for value in found[name][-1]), flush=True)
    rows = ["| `frazil` | seconds by the clock | processor seconds | peak memory, GB |", "|---|---|---|---|"]
    for name, results in found.items():
        clock, processor, memory = zip(*results, strict=True)
        rows.append(f"| {name} | {min(clock):.1f} | {min(processor):.1f} | {max(memory):.2f} |")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    text = f"""# What each command costs

The bundled sample at full size: an Extra Wide product of 10708 × 10487 pixels in HH and HV, mapped at 120 m (4324 ×
4408 pixels). From the command line to the finished output, imports included; the least times of {asked.rounds} rounds
and the largest memory. {os.cpu_count()} cores ({platform.machine()}) that other work used, too, and files in the page
cache, so that all of it is more than a machine at rest needs: there the map took
[14 to 16 s and 21 to 27 processor seconds](stages-engines.md).

{chr(10).join(rows)}

Command: `python benchmarks/costs.py --rounds {asked.rounds} --page`, commit {commit.strip()}
"""
    print(text)
    if asked.page:
        asked.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
