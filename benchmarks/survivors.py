"""What the death of half of the workers costs the others: through files, and in step.

    python benchmarks/survivors.py [--rounds 8] [--window 100] [--workers 4]

Real processes (`frazil train`) learn from random images in the layout of CIFAR-10. In every round half of them, drawn
anew, are killed by SIGKILL at a random moment; the processor time of a step of each survivor is compared with its own
before. Processor time, since on one machine the dead leave their cores to the others. The dead are started again, in
empty run folders, for the next round. Then the same is done to processes that torchrun keeps in step.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from frazil.learn.log import read_log
from frazil.metrics import student_interval

TICK = os.sysconf("SC_CLK_TCK")


def make_data(folder: Path) -> Path:
    """Random images in the layout of CIFAR-10's binary version."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        batch = rng.integers(0, 256, (400, 3073), np.uint8)
        batch[:, 0] = np.arange(400) % 10
        batch.tofile(folder / f"{name}.bin")
    return folder


def words(data: Path, run: Path, *more: str) -> list[str]:
    """A run of ResNet20 that does not end by itself."""
    sets = (
        f"data.path={data}",
        "data.shrink=4",
        "optim.epochs=null",
        "optim.steps=1000000",
        "optim.batch=32",
        "optim.warmup=0",
        "optim.validate_every=1000000",
    )
    return [
        "-m",
        "frazil",
        "train",
        "cifar10:resnet20",
        *(w for s in sets for w in ("--set", s)),
        *more,
        "-o",
        str(run),
    ]


def start(*command: str) -> subprocess.Popen[bytes]:
    """Quietly, on one thread, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """With all that it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def step_of(run: Path) -> int:
    """The last step that a run has logged."""
    try:
        with (run / "log.jsonl").open("rb") as file:
            file.seek(max(file.seek(0, 2) - 4096, 0))
            return int(json.loads(file.read().rsplit(b"\n", 2)[-2])["step"])
    except (OSError, IndexError, ValueError, KeyError):
        return -1


def processor_s(pid: int) -> float:
    """Processor seconds of a process, all its threads with it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def wait_for_steps(runs: dict[str, Path], steps: dict[str, int]) -> None:
    """Until each has come so far."""
    while any(step_of(runs[name]) < step for name, step in steps.items()):
        time.sleep(0.02)


def cost(pids: dict[str, int], runs: dict[str, Path], window: int) -> dict[str, tuple[float, float]]:
    """Processor and wall seconds of a step of each, over at least so many steps from now on."""
    first = {name: (processor_s(pid), step_of(runs[name]), time.monotonic()) for name, pid in pids.items()}
    out: dict[str, tuple[float, float]] = {}
    while len(out) < len(pids):
        time.sleep(0.02)
        for name in pids.keys() - out.keys():
            used, step, now = processor_s(pids[name]), step_of(runs[name]), time.monotonic()
            if step - first[name][1] >= window:
                cpu, began, clock = first[name]
                out[name] = (used - cpu) / (step - began), (now - clock) / (step - began)
    return out


def through_files(data: Path, folder: Path, rounds: int, window: int, workers: int) -> None:
    """Kill half of the workers, again and again."""
    rng, names = np.random.default_rng(0), [f"w{i}" for i in range(workers)]
    runs, running = {name: folder / name for name in names}, {}
    peers = ("--peers", str(folder / "x"), "--every", "10", "--set", "peers.log_every=10")
    ratios, walls = [], []
    try:
        for turn in range(rounds):
            for name in names:
                if name not in running:
                    shutil.rmtree(runs[name], ignore_errors=True)
                    running[name] = start(*words(data, runs[name], *peers, "--worker", name))
            wait_for_steps(runs, dict.fromkeys(names, 30))
            before = cost({name: p.pid for name, p in running.items()}, runs, window)
            time.sleep(float(rng.uniform(0, 2)))
            for name in rng.choice(names, workers // 2, replace=False):
                end(running.pop(str(name)))
            left = {name: p.pid for name, p in running.items()}
            after = cost(left, runs, window)
            assert all(p.poll() is None for p in running.values())
            ratios += [before[name][0] / after[name][0] for name in left]
            walls += [before[name][1] / after[name][1] for name in left]
            print(
                f"round {turn + 1}: throughput after / before " + ", ".join(f"{r:.3f}" for r in ratios[-len(left) :]),
                flush=True,
            )
        logs = [[row for row in read_log(runs[name]) if "exchange_failures" in row][-1] for name in running]
        print(f"exchanges that failed, last start of each survivor: {[int(row['exchange_failures']) for row in logs]}")
    finally:
        for process in running.values():
            end(process)
    r, n = np.array(ratios), len(ratios)
    print(
        f"files: {rounds * (workers // 2)} killed in {rounds} rounds; steps a processor second, after / before, "
        f"paired, n = {n}: mean {r.mean():.3f} ± {student_interval(r):.3f} (95 %), median {np.median(r):.3f}, "
        f"least {r.min():.3f}; by wall time {np.median(walls):.2f}",
        flush=True,
    )


def in_step(data: Path, folder: Path, workers: int) -> None:
    """Kill half of the processes that torchrun has started."""
    run = folder / "ddp"
    process = start(
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        str(workers),
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        "localhost:0",
        *words(data, run),
    )
    try:
        wait_for_steps({"ddp": run}, {"ddp": 30})
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
        before, began = step_of(run), time.monotonic()
        for pid in children.stdout.split()[workers - workers // 2 :]:
            os.kill(int(pid), signal.SIGKILL)
        code = process.wait(timeout=300)
        print(
            f"in step (torchrun, gloo): {workers // 2} of {workers} killed at step {before}; the rest made "
            f"{step_of(run) - before} more steps and ended after {time.monotonic() - began:.0f} s, status {code}",
            flush=True,
        )
    finally:
        end(process)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--window", type=int, default=100, help="steps over which a worker's time is taken")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--only", choices=("files", "in-step"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = make_data(folder / "data")
        if arguments.only != "in-step":
            through_files(data, folder, arguments.rounds, arguments.window, arguments.workers)
        if arguments.only != "files":
            in_step(data, folder, arguments.workers)


if __name__ == "__main__":
    main()
