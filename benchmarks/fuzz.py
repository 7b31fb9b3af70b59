"""A standing attack on every reader of frazil: mutated inputs, each in a child of its own, against the unmutated run.

    python benchmarks/fuzz.py [--cases 10000] [--target NAME ...] [--mutation NAME ...]
                              [--seed 0] [--minutes 30] [-o out/fuzz]

Bytes are flipped, cut, swapped; files are dropped, swapped, replaced by pipes and links; numbers, words, elements and
JSON values become foreign, not finite, huge, hostile. A case is decided by its number alone; a log makes a broken-off
attack go on. Verdicts:

- *refused*: one line of words; *same*: equal numbers; *other*: other numbers, with how far off, for a person to judge;
- faults: *crash* (a signal), *hang* (over 30 s), *traceback*, *memory* (over 2 GB), *outside* (a file of somebody else
  was changed, or something appeared outside), *request* (the network was asked), *lines* (words of many lines, or such
  as a terminal obeys). Their inputs are kept. The exit status is 1 if there is any.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.fuzzing.mutations import copy_input
from benchmarks.fuzzing.targets import Target, targets

from frazil.errors import FrazilError

HANG_S, MEMORY_MB = 30, 2048
FAULTS = ("crash", "hang", "traceback", "memory", "outside", "request", "lines")


class Listener:
    """A server on this machine that counts what is asked of it; nothing should be."""

    def __init__(self) -> None:
        listener = self
        self.requests = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listener.requests += 1
                self.send_error(404)

            do_HEAD = do_POST = do_PUT = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        os.environ["FUZZ_URL"] = f"http://127.0.0.1:{self.server.server_address[1]}/a.tif"


def made_in_child(target: Target, folder: Path) -> Path | None:
    """Make a pristine input in a child: some libraries' threads would not live on in the children to come."""
    answer, tell = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(answer)
        try:
            os.write(tell, os.fsencode(target.make(folder) or ""))
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
        os._exit(1)
    os.close(tell)
    with os.fdopen(answer, "rb") as file:
        said = file.read()
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise SystemExit(f"the pristine {target.name} cannot be made")
    return Path(os.fsdecode(said)) if said else None


def run_child(target: Target, path: Path, place: Path) -> dict[str, Any]:
    """Read an input in a forked child; its verdict as it sees it, or what the system says of its end."""
    answer, tell = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(answer)
        with contextlib.suppress(BaseException):
            _child(target, path, place, tell)
        os._exit(70)
    os.close(tell)
    started, ready = time.monotonic(), 0
    while time.monotonic() - started < HANG_S:
        ready, status, usage = os.wait4(pid, os.WNOHANG)
        if ready:
            break
        time.sleep(0.004)
    if not ready:
        os.kill(pid, signal.SIGKILL)
        os.wait4(pid, 0)
        os.close(answer)
        return {"verdict": "hang"}
    with os.fdopen(answer, "rb") as file:
        said = file.read()
    megabytes = usage.ru_maxrss / 1024
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return {"verdict": "crash", "detail": signal.Signals(-code).name, "mb": round(megabytes)}
    found = json.loads(said) if said else {"verdict": "crash", "detail": f"exit {code}"}
    if megabytes > MEMORY_MB:
        found = {"verdict": "memory", "detail": found.get("detail", "")}
    return {**found, "mb": round(megabytes), "s": round(time.monotonic() - started, 2)}


def _child(target: Target, path: Path, place: Path, tell: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, 12 * 2**30))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
    os.chdir(place / "cwd")
    os.environ.update(HOME=str(place / "home"), TMPDIR=str(place / "tmp"))
    tempfile.tempdir = None
    try:
        numbers = target.read(path)
        found = {"verdict": "read", "numbers": {k: np.asarray(v, float).ravel().tolist() for k, v in numbers.items()}}
    except FrazilError as error:
        text = str(error)
        sound = "\n" not in text.strip() and len(text) < 4000
        found = {"verdict": "refused" if sound else "lines", "detail": text[:600]}
    except BaseException as error:
        import traceback

        where = traceback.extract_tb(error.__traceback__)
        mine = [f for f in where if "frazil" in f.filename] or where
        detail = f"{type(error).__name__}: {str(error)[:200]} at {Path(mine[-1].filename).name}:{mine[-1].lineno}"
        found = {"verdict": "traceback", "detail": detail}
    os.write(tell, json.dumps(found).encode()[: 2**16 - 1] if found["verdict"] != "read" else b"")
    if found["verdict"] == "read":
        with os.fdopen(tell, "wb") as file:
            file.write(json.dumps(found).encode())
    os._exit(0)


def compared(numbers: dict[str, list[float]], pristine: dict[str, list[float]]) -> tuple[str, str]:
    """``"same"`` or ``"other"``, and the largest difference of each quantity that differs."""
    differ = []
    for name, old in pristine.items():
        new = numbers.get(name)
        a, b = np.array(old, float), np.array(new if new is not None else [], float)
        if a.shape != b.shape:
            differ.append(f"{name} has {b.size} numbers for {a.size}")
        elif not np.array_equal(a, b, equal_nan=True):
            gone = int((np.isnan(a) != np.isnan(b)).sum())
            with np.errstate(invalid="ignore"):
                far = np.nanmax(np.abs(a - b)) if np.isfinite(a - b).any() else float("nan")
            if far > 1e-9 or gone:
                differ.append(f"{name} {far:.3g}" + (f", {gone} missing" if gone else ""))
    return ("other", "; ".join(differ)) if differ else ("same", "")


def _only(target: Target, mutations: list[str]) -> Target:
    """A target that suffers these mutations only; none are all."""
    chosen = tuple(m for m in target.mutations if m.__name__ in mutations)
    return replace(target, mutations=chosen) if mutations else target


class Attack:
    """A folder of pristine inputs, a log, and what was found."""

    def __init__(self, out: Path, seed: int, minutes: float, wanted: list[str], mutations: list[str]) -> None:
        self.out, self.seed, self.end = out, seed, time.monotonic() + 60 * minutes
        out.mkdir(parents=True, exist_ok=True)
        self.place = Path(tempfile.mkdtemp(prefix="fuzz-"))
        for name in ("cwd", "home", "tmp", "precious", "pristine", "case"):
            (self.place / name).mkdir()
        self.precious = self.place / "precious" / "private.txt"
        self.precious.write_text("private")
        os.environ |= {"FUZZ_PRECIOUS": str(self.precious), "FUZZ_DONORS": str(self.place / "donors")}
        self.listener = Listener()
        self.log = out / "log.jsonl"
        self.done = {(r["target"], r["case"]) for r in self._rows() if r["seed"] == seed}
        self.targets = [_only(t, mutations) for t in targets() if not wanted or t.name in wanted]
        self.paths, self.pristine = {}, {}
        for target in self.targets:
            path = made_in_child(target, self.place / "pristine" / target.name)
            if path is None:
                print(f"{target.name} is left out: its data is not at hand")
                continue
            found = run_child(target, path, self.place)
            if found["verdict"] != "read":
                raise SystemExit(f"the pristine {target.name} cannot be read: {found}")
            self.paths[target.name], self.pristine[target.name] = path, found["numbers"]
        self.targets = [t for t in self.targets if t.name in self.paths and t.mutations]

    def _rows(self) -> list[dict[str, Any]]:
        if not self.log.is_file():
            return []
        rows = []
        for line in self.log.read_text().splitlines():
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
        return rows

    def run(self, cases: int) -> None:
        """Attack every target in turn until its cases, or the time, are spent."""
        with self.log.open("a", buffering=1) as log:
            for case in range(cases):
                for target in self.targets:
                    if time.monotonic() > self.end:
                        return
                    if case < target.share * cases and (target.name, case) not in self.done:
                        log.write(json.dumps(self.case(target, case)) + "\n")

    def case(self, target: Target, case: int) -> dict[str, Any]:
        """One mutated input, and its verdict."""
        rng = np.random.default_rng([self.seed, case, *target.name.encode()])
        folder = self.place / "case"
        shutil.rmtree(folder)
        folder.mkdir()
        path = copy_input(self.paths[target.name], folder / self.paths[target.name].name)
        said = []
        for _ in range(1 if rng.random() < 0.8 else int(rng.integers(2, 5))):
            mutation = target.mutations[int(rng.integers(len(target.mutations)))]
            said.append(f"{mutation.__name__} {mutation(target.inside(path), rng)}")
        sealing = target.seal(path, rng) if target.seal else ""
        asked = self.listener.requests
        found = run_child(target, path, self.place)
        if found["verdict"] == "read":
            verdict, detail = compared(found.pop("numbers"), self.pristine[target.name])
            found |= {"verdict": verdict, "detail": detail}
        if self.listener.requests > asked:
            found["verdict"] = "request"
        if self.precious.read_text() != "private" or any(any((self.place / n).iterdir()) for n in ("cwd", "home")):
            found["verdict"] = "outside"
            self.precious.write_text("private")
            for name in ("cwd", "home"):
                shutil.rmtree(self.place / name)
                (self.place / name).mkdir()
        if found["verdict"] in FAULTS:
            kept = self.out / "kept" / f"{target.name}-{self.seed}-{case}"
            shutil.rmtree(kept, ignore_errors=True)
            with contextlib.suppress(OSError, shutil.Error):
                shutil.copytree(folder, kept, symlinks=True)
            print(
                f"FAULT {target.name} {case}: {found['verdict']} {found.get('detail', '')} ({'; '.join(said)})",
                flush=True,
            )
        return {
            "target": target.name,
            "case": case,
            "seed": self.seed,
            "mutation": "; ".join(said),
            "sealed": sealing,
            **found,
        }

    def summary(self) -> dict[str, Any]:
        """Verdicts by target, over all that the log holds."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for row in self._rows():
            counts[row["target"]][row["verdict"]] += 1
        return {name: dict(sorted(found.items())) for name, found in sorted(counts.items())}


def main() -> None:
    """Attack, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, help="of products; of the others a fifth")
    parser.add_argument("--target", action="append", default=[])
    parser.add_argument("--mutation", action="append", default=[], help="only this one, such as disguise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("-o", "--output", type=Path, default=Path("out/fuzz"))
    given = parser.parse_args()
    attack = Attack(given.output, given.seed, given.minutes, given.target, given.mutation)
    try:
        attack.run(given.cases)
    finally:
        shutil.rmtree(attack.place, ignore_errors=True)
    found = attack.summary()
    (given.output / "summary.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    sys.exit(any(verdict in FAULTS for counts in found.values() for verdict in counts))


if __name__ == "__main__":
    main()
