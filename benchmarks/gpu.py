"""What the studies could not do on two cores, on one GPU in some minutes: workers, few labels, a whole scene.

    python benchmarks/gpu.py --cifar10 FOLDER|FILE -o OUT [--minutes 9]
    python benchmarks/gpu.py --pack FOLDER FILE                 # CIFAR-10 as JPEG archives into one small file
    python benchmarks/gpu.py --page OUT/gpu.jsonl … -o docs/results/gpu.md

Workers: ResNet20 on the whole of CIFAR-10 at full size, two workers, as `frazil study peers` compares them. Few labels:
the 13-layer network at full width with 1000 and 4000 labels. Scene: the bundled model on squares of 120 m pixels.

Small networks leave most of a GPU idle, so all trainings run side by side, each in a process of its own. First all are
tried together for some seconds; from what they do in that time it follows for how many epochs there is time. Where
workers would not get `--least` epochs, the trainings of least worth are left out, and a row says so. OUT/gpu.jsonl
gets a line for every look at the test images, so that a run that is cut off still tells something.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.on_gpu.cases import (
    FEW,
    PAPER_EPOCHS,
    TOY,
    WORKERS,
    Case,
    Sizes,
    cases,
    epochs_for,
    machine,
    probe,
    train,
)
from benchmarks.on_gpu.children import Child, add_row, gather, read_rows, shared_gpu
from benchmarks.on_gpu.packed import pack, prepared
from benchmarks.on_gpu.page import write_gpu_page
from benchmarks.on_gpu.scene import scene_rows

from frazil.learn.checkpoint import git_commit, library_versions

_RESERVE_S = 8.0  # at the end: the last looks, and the children's end
FILE = "gpu.jsonl"


def main() -> int:
    """Run, pack, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("out/gpu"), help="folder, or the page")
    parser.add_argument("--cifar10", type=Path, help="folder as frazil reads it, or a packed file")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--epochs", type=int, default=PAPER_EPOCHS, help="of workers, at most")
    parser.add_argument("--few-epochs", type=int, default=60, help="of few labels, at most")
    parser.add_argument("--least", type=int, default=20, help="epochs of workers, or trainings are left out")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORDS", help="trainings that begin so, and no scene")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="cuda, and with --toy cpu")
    parser.add_argument("--no-mps", action="store_true", help="without NVIDIA's Multi-Process Service")
    parser.add_argument("--scratch", type=Path, help="where images are unpacked, to be found there next time")
    parser.add_argument("--commit", help="of this code, where there is no git")
    parser.add_argument("--toy", action="store_true", help="everything tiny; on made-up images without --cifar10")
    parser.add_argument("--pack", type=Path, nargs=2, metavar=("FOLDER", "FILE"))
    parser.add_argument("--page", type=Path, nargs="+", metavar="ROWS")
    given = parser.parse_args()
    if given.pack:
        print(f"{given.pack[1]}: {pack(*given.pack):,} bytes")
        return 0
    if given.page:
        print(write_gpu_page(read_rows(given.page), given.output, overwrite=True))
        return 0
    if not given.toy and given.cifar10 is None:
        parser.error("--cifar10 FOLDER|FILE is needed")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on CUDA
    with tempfile.TemporaryDirectory() as scratch:
        return Work(given, given.scratch or Path(scratch)).run()


class Work:
    """One run of everything.

    Args:
        given: of the command line.
        scratch: folder for unpacked images.
    """

    def __init__(self, given: argparse.Namespace, scratch: Path) -> None:
        self.given, self.started, self.why = given, time.time(), dict[str, str]()
        self.until = self.started + 60 * given.minutes - _RESERVE_S
        self.sizes = TOY if given.toy else Sizes()
        self.device: str = given.device or ("cpu" if given.toy else "cuda")
        self.images = scratch / "cifar10"
        given.output.mkdir(parents=True, exist_ok=True)
        self.file: Path = given.output / FILE
        versions = library_versions()
        self.facts = {"commit": given.commit or git_commit(), "torch": versions["torch"], "toy": given.toy}

    def say(self, text: str) -> None:
        """Print, with the seconds since the start."""
        print(f"{time.time() - self.started:6.1f} s  {text}", flush=True)

    def tell(self, name: str, why: str) -> None:
        """Print, and keep, why a process found nothing."""
        self.why[name] = why
        self.say(f"{name} {why}")

    def reason(self, name: str) -> str:
        """The last line of why a process found nothing."""
        return (self.why.get(name, "").strip().splitlines() or ["no answer"])[-1].rstrip(".")

    def row(self, kind: str, **values: Any) -> None:
        """Add a row."""
        add_row(self.file, row=kind, **self.facts, **values)

    def left_out(self, case: Case, why: str) -> None:
        """Print and write that a case is not run."""
        self.say(f"left out: {case.name} ({why})")
        self.row("left out", part=case.part, case=case.name, why=why)

    def run(self) -> int:
        """Everything; the exit status is 1 where a training failed."""
        only = tuple(self.given.only)
        todo = [case for case in cases(self.sizes) if not only or case.name.startswith(only)]
        if self.given.toy and self.device == "cpu":  # enough for a test
            todo = [c for c in todo if c.name.startswith(("independent", "AFSD", "label propagation"))]
        if len(todo) < 2:
            raise SystemExit(f"Error: --only {' '.join(only)} leaves {len(todo)} trainings; two or more are needed.")
        with shared_gpu(self.device == "cuda" and not self.given.no_mps) as mps:
            children = {case.name: Child(case.name) for case in todo}
            self.say(f"{len(children)} processes are started; Multi-Process Service: {mps}")
            try:
                good = self.begin(todo, children, mps) and self.train(self.choose(todo, children), children)
            finally:
                for child in children.values():
                    child.end()
        self.say(f"rows are in {self.file}")
        return 0 if good else 1

    def begin(self, todo: list[Case], children: dict[str, Child], mps: str) -> bool:
        """Unpack, say on what machine, and time scenes; whether that went well."""
        first, second, *others = children.values()
        for child in (second, *others):
            child.start(machine, "cpu")  # imports everything before anything is timed
        first.start(prepared, self.given.cifar10, self.images)
        ready = gather(list(children.values()), min(self.started + 120, self.until), self.tell)
        if first.name not in ready or second.name not in ready:
            return False
        self.say("images are unpacked, processes ready")
        second.start(machine, self.device)
        found = gather([second], self.until, self.tell).get(second.name)
        if found is None:
            return False
        self.row(
            "machine",
            **found,
            cores=os.cpu_count(),
            minutes=self.given.minutes,
            mps=mps,
            sizes=asdict(self.sizes),
            processes=len(children),
            versions=library_versions(),
            seeds=sorted({c.seed for c in todo}),
        )
        self.say(f"{found['device']}, torch {self.facts['torch']}")
        if not self.given.only:
            self.scenes(second)
        return True

    def scenes(self, child: Child) -> None:
        """Time scenes, while nothing else runs."""
        asked = [(side, self.device, p) for side in self.sizes.scene for p in ("float32", "bfloat16")]
        if self.device == "cuda":
            asked.insert(2, (self.sizes.scene[0], "cpu", "float32"))
        most = time.time() + max(0.12 * 60 * self.given.minutes, 20)
        for side, device, precision in asked:
            name = f"{side} × {side} pixels, {device}, {precision}"
            if time.time() > most - 10 or not child.process.is_alive():
                self.say(f"left out: a scene of {name} (no time)")
                self.row("left out", part="scene", case=name, why="no time")
                continue
            child.start(scene_rows, side, device, precision, 2 if side < 5000 else 1)
            row = gather([child], most + 20, self.tell).get(child.name)
            if row is None:
                self.row("left out", part="scene", case=name, why="it failed, or took too long")
                continue
            self.row("scene", **row | {"on": device})
            self.say(f"a scene of {name}: {row['seconds']:.2f} s, the network {row['network_seconds']} s")

    def choose(self, todo: list[Case], children: dict[str, Child]) -> list[tuple[Case, int]]:
        """Try all at once, and say which are trained, and for how many epochs."""
        short = self.given.toy or self.given.minutes < 3
        window = (5.0, 2.0) if self.device == "cpu" else (14.0, 5.0) if short else (22.0, 12.0)
        found = self.tried(todo, children, *window)
        there = [case for case in todo if case.name in found]
        rest = list(there)
        two_parts = len({case.part for case in there}) > 1
        while two_parts and rest[-1].part != WORKERS and not self.given.toy:
            faster = len(there) / len(rest)  # those that remain share what the others had
            quick = [found[c.name] | {"rate": found[c.name]["rate"] * faster} for c in rest if c.part == WORKERS]
            if epochs_for(WORKERS, quick, self.sizes, self.left(), self.given.epochs) >= self.given.least:
                break
            rest.pop()
        for case in there[len(rest) :]:
            self.left_out(case, f"workers would get fewer than {self.given.least} epochs")
        if len(rest) < len(there):
            found = self.tried(rest, children, 5.0, 8.0)
            rest = [case for case in rest if case.name in found]
        epochs = {
            part: epochs_for(part, [found[c.name] for c in rest if c.part == part], self.sizes, self.left(), most)
            for part, most in ((WORKERS, self.given.epochs), (FEW, self.given.few_epochs))
        }
        if self.given.toy:
            epochs = dict.fromkeys(epochs, 2)
        self.say(f"{len(rest)} trainings in {self.left():.0f} s, epochs: {epochs}")
        for case in [case for case in rest if not epochs[case.part]]:
            self.left_out(case, "not one epoch fits")
        return [(case, epochs[case.part]) for case in rest if epochs[case.part]]

    def left(self) -> float:
        """Seconds."""
        return self.until - time.time()

    def tried(
        self, todo: list[Case], children: dict[str, Child], wait_s: float, seconds: float
    ) -> dict[str, dict[str, float]]:
        """What `probe` finds of cases, all at once: counted for some seconds after some time to begin."""
        begin = time.time() + wait_s
        window = begin, begin + seconds
        for case in todo:
            children[case.name].start(probe, case, self.sizes, str(self.images), self.device, window)
        found = gather([children[case.name] for case in todo], min(window[1] + 40, self.until), self.tell)
        for case in todo:
            told = found.get(case.name)
            if told is None:
                self.left_out(case, f"it failed when it was tried: {self.reason(case.name)}")
            else:
                self.row("tried", part=case.part, case=case.name, beside=len(todo) - 1, **told)
                self.say(f"{case.name}: " + ", ".join(f"{k} {v:.3g}" for k, v in told.items()))
        return found

    def train(self, chosen: list[tuple[Case, int]], children: dict[str, Child]) -> bool:
        """Train all at once; whether all came to an end."""
        for case, epochs in chosen:
            arguments = self.sizes, str(self.images), self.device, epochs, self.until, self.file, self.facts
            children[case.name].start(train, case, *arguments)
        names = {case.name for case, _ in chosen}
        done = gather([children[name] for name in names], self.until + _RESERVE_S, self.tell)
        for name in sorted(names - set(done)):
            self.row("failed", case=name, why=f"it failed: {self.reason(name)}")
        return set(done) == names


if __name__ == "__main__":
    sys.exit(main())
