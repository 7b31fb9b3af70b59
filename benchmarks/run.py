"""Time frazil against other readers, side by side in one run; writes a table to stdout and, if asked, a page.

    python benchmarks/run.py [--page docs/results/speed.md] [--rounds 3] [--tasks block,boxcar]

A full-size Extra Wide product (10708 × 10487, HH + HV, uncompressed) is simulated behind the bundled real metadata
once. Every measurement is a process of its own, with files in the page cache, in rounds A B C A B C …; the median
counts. xarray-sentinel and OpenVINO are measured where they are installed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

#: name -> (title, imports that are not timed, what is timed)
TASKS = {
    "read": (
        "rasterio, raw read of both bands",
        "import rasterio, glob",
        """
for path in sorted(glob.glob(product + "/measurement/*.tiff")):
    with rasterio.open(path) as f:
        f.read(1)
""",
    ),
    "block": (
        "frazil, denoised 3 × 3 block average in dB",
        "from frazil.sentinel1.scene import open_scene; from frazil.scene.scaling import to_db",
        "to_db(open_scene(product, looks=3).sigma0.values)",
    ),
    "boxcar": (
        "frazil, denoised 3 × 3 moving average in dB at full resolution, strip by strip",
        "from frazil.sentinel1.scene import open_scene; from frazil.scene.scaling import to_db",
        """
s = open_scene(product, boxcar=True)
for i in range(0, s.sizes["line"], 512):
    to_db(s.sigma0[:, i:i + 512].values)
""",
    ),
    "plain": (
        "frazil, σ0 at full resolution without noise removal, strip by strip",
        "from frazil.sentinel1.scene import open_scene",
        """
s = open_scene(product, denoise="none")
for i in range(0, s.sizes["line"], 512):
    s.sigma0[:, i:i + 512].values
""",
    ),
    "xarray-sentinel": (
        "xarray-sentinel, σ0 at full resolution (calibration only)",
        "import xarray_sentinel as xs",
        """
for pol in ("HH", "HV"):
    dn = xs.open_sentinel1_dataset(product, group="EW/" + pol)
    lut = xs.open_sentinel1_dataset(product, group=f"EW/{pol}/calibration")
    xs.calibrate_intensity(dn.measurement, lut.sigmaNought).values
""",
    ),
    **{
        f"map{label}": (
            f"frazil map{words}, product to finished folder, imports included",
            "",
            f"""
from frazil.learn.predict.ice import predict
from frazil.maps.export import export
export(predict(product, {options}), out)
""",
        )
        for label, words, options in (
            ("", " --engine torch", 'engine="torch"'),
            (" bf16", " --engine torch --precision bfloat16", 'engine="torch", precision="bfloat16"'),
            (" OpenVINO", " --engine openvino", 'engine="openvino"'),
            (" OpenVINO bf16", " --engine openvino --precision bfloat16", 'engine="openvino", precision="bfloat16"'),
        )
    },
    "chart": (
        "frazil chart, polygons alone, of a finished map at 120 m",
        """
import os, subprocess, sys
folder = os.path.join(os.path.dirname(out), "map-to-chart")
if not os.path.exists(folder):  # by another process, so that its memory is not counted
    command = [sys.executable, "-m", "frazil", "-q", "map", product, "-o", folder, "--spacing", "120"]
    subprocess.run(command, check=True, capture_output=True)
from frazil.charts.chart import make_chart
from frazil.maps.netcdf import open_map
""",
        "make_chart(open_map(folder))",
    ),
    "import": ("import frazil", "", "import frazil"),
    "help": (
        "frazil --help",
        "",
        """
import sys
sys.argv = ["frazil", "--help"]
from frazil.cli import main
try:
    main()
except SystemExit:
    pass
""",
    ),
}
SLOW = ("xarray-sentinel", *(task for task in TASKS if task.startswith("map")))
PROBE = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
product, out = sys.argv[1:3]
exec(sys.argv[3])
start = time.perf_counter()
exec(sys.argv[4])
seconds = time.perf_counter() - start
with open("/proc/self/status") as status:  # not ru_maxrss, which remembers the parent's size
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1e6
print("\\nRESULT " + json.dumps({"seconds": seconds, "peak_gb": peak}))
"""


def measure(task: str, product: Path, folder: Path) -> dict[str, float]:
    """Seconds and peak memory of a task in a process of its own."""
    out = folder / f"out-{task.replace(' ', '-')}"
    setup, code = TASKS[task][1:]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(product), str(out), setup, code], capture_output=True, text=True, check=False
    )
    subprocess.run(["rm", "-rf", str(out)], check=True)
    line = next((x for x in done.stdout.splitlines() if x.startswith("RESULT ")), None)
    if line is None:
        raise SystemExit(f"{task} failed:\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(line.removeprefix("RESULT "))
    return result


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: medians, and the ratio to the raw read of the same round."""
    rows = ["| what | seconds, median (min–max) | × raw read | peak GB |", "|---|---|---|---|"]
    for task, runs in results.items():
        seconds = [r["seconds"] for r in runs]
        ratio = statistics.median(r["seconds"] / b["seconds"] for r, b in zip(runs, results["read"], strict=False))
        peak = max(r["peak_gb"] for r in runs)
        rows.append(
            f"| {TASKS[task][0]} | {statistics.median(seconds):.2f} ({min(seconds):.2f}–{max(seconds):.2f}) "
            f"| {ratio:.2f} | {peak:.2f} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Simulate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow-rounds", type=int, default=1, help=f"rounds that include {', '.join(SLOW)}")
    parser.add_argument("--page", type=Path, help="write the table into this page")
    parser.add_argument("--product", type=Path, help="measure this product instead of a simulated one")
    parser.add_argument("--tasks", default=",".join(TASKS), help="only these, comma-separated (with read, the measure)")
    arguments = parser.parse_args()
    lacking = {package for package in ("xarray_sentinel", "openvino") if find_spec(package) is None}
    tasks = [
        t
        for t in TASKS
        if t in ("read", *arguments.tasks.split(",")) and not any(p in t.lower().replace("-", "_") for p in lacking)
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        product = arguments.product
        if product is None:
            from frazil import simulate_product

            product = simulate_product(folder, seed=1)
        for task in tasks:  # compile, fill the page cache
            if task != "xarray-sentinel":
                measure(task, product, folder)
        results: dict[str, list[dict[str, float]]] = {task: [] for task in tasks}
        for number in range(arguments.rounds):
            for task in tasks:
                if task in SLOW and number >= arguments.slow_rounds:
                    continue
                results[task].append(measure(task, product, folder))
                print(f"round {number + 1}: {task} {results[task][-1]}", file=sys.stderr)
    text = table(results)
    print(text)
    if arguments.page:
        from frazil.learn.checkpoint import git_commit

        machine = (
            f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        )
        page = (
            f"# Speed and memory\n\n{datetime.now(UTC):%d %B %Y}, commit {git_commit()}, {machine}.\n\n"
            "Caveats first: one machine, shared; ratios travel better than seconds. Files were in the page cache. The\n"
            "product is simulated behind real metadata (10708 × 10487, HH + HV, uncompressed TIFF). Peak memory is\n"
            "that of the whole process; a row's ratio is the median over rounds.\n\n"
            f"Command: `python benchmarks/run.py --rounds {arguments.rounds} --slow-rounds {arguments.slow_rounds} "
            f"--tasks {','.join(tasks)}`\n\n{text}\n"
        )
        if arguments.page.exists():  # what people wrote below the table stays
            page += "".join(arguments.page.read_text(encoding="utf-8").partition("\n## ")[1:])
        arguments.page.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
