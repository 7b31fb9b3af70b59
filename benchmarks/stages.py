"""What each stage of `frazil map` costs, product to finished folder, beside another version of the code.

    python benchmarks/stages.py [--against REVISION | --engines] [--rounds 3] [--model NAME|FOLDER] [--page FILE]

With `--engines` this version runs with every engine and precision. A full-size Extra Wide product (10708 × 10487,
HH + HV) is simulated once. Every run is a process of its own, in rounds A B A B …; medians count. Stages run beside
each other on two cores: their seconds add up to more than the whole.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Stage -> what is timed, as module:attribute; names that a version does not have are left out.
STAGES = {
    "calibrated pixels": ["frazil.scene.lazy:_Planes._window"],
    "wide view": [
        "frazil.learn.predict.scene:wide_view",
        "frazil.learn.infer.torch_engine:TorchEngine.look",
        "frazil.learn.infer.openvino_engine:OpenVINOEngine.look",
    ],
    "network": [
        "frazil.learn.infer.torch_engine:TorchEngine.__call__",
        "frazil.learn.infer.openvino_engine:OpenVINOEngine.__call__",
    ],
    "channels": ["frazil.learn.predict.scene:network_input"],
    "softmax": [
        "frazil.learn.predict.ice:half_percents",
        "frazil.learn.predict.scene:half_percents",
        "frazil.learn.predict.scene:softmax",
    ],
    "land": ["frazil.learn.predict.scene:land_on"],
    "warp": [
        "frazil.scene.grid:Warp.bilinear",
        "frazil.scene.grid:Warp.bilinear_planes",
        "frazil.scene.grid:Warp.nearest",
        "frazil.learn.predict.scene:plan_warp",
    ],
    "answers and flags": ["frazil.learn.predict.ice:IceAnswers.finish", "frazil.learn.predict.scene:_finish"],
}
#: Where modules were in versions to compare with.
EARLIER = {
    "frazil.learn.predict.scene": "frazil.learn.predict",
    "frazil.learn.infer.torch_engine": "frazil.learn.engine",
    "frazil.learn.infer.openvino_engine": "frazil.learn.openvino_engine",
}
for _names in STAGES.values():
    _names += [
        f"{EARLIER[name.split(':')[0]]}:{name.split(':')[1]}" for name in _names if name.split(":")[0] in EARLIER
    ]
ENGINES = tuple((e, p) for e in ("torch", "openvino") for p in ("float32", "bfloat16"))
SHOWS = "\n## What it shows\n"
PROBE = """
import functools, importlib, importlib.util, json, resource, sys, threading, time
start = time.perf_counter()
product, out, stages, model = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]
how = json.loads(sys.argv[5])
from frazil import export, predict
from frazil.learn.checkpoint import load_model
imported = time.perf_counter() - start
spent, lock = {}, threading.Lock()

def timed(stage, function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        begun = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            with lock:
                spent[stage] = spent.get(stage, 0.0) + time.perf_counter() - begun
    return call

used = how.get("engine") or ("openvino" if importlib.util.find_spec("openvino") else "torch")
other = {"openvino": "torch_engine", "torch": "openvino_engine"}[used]
began = time.perf_counter()
for stage, names in stages.items():
    for name in names:
        module, _, path = name.partition(":")
        if module.endswith(other):  # which would be imported, with its library, only to be timed
            continue
        try:
            owner = importlib.import_module(module)
            *inner, last = path.split(".")
            for part in inner:
                owner = getattr(owner, part)
            setattr(owner, last, timed(stage, getattr(owner, last)))
        except (ImportError, AttributeError):
            pass
start += time.perf_counter() - began  # what it takes to look at the stages is no part of the whole
begun = time.perf_counter()
loaded = load_model(model)
made = predict(product, loaded, **how)
predicted = time.perf_counter() - begun
begun = time.perf_counter()
export(made, out, overwrite=True)
written = time.perf_counter() - begun
whole = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_SELF)
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1e6
writers = json.load(open(out + "/summary.json"))["timings"]
print("RESULT " + json.dumps({
    "whole": whole, "imports": imported, "prediction": predicted, "files": written, **spent,
    **{f"file: {k}": v for k, v in writers.items()}, "processor seconds": used.ru_utime + used.ru_stime,
    "peak, GB": peak,
}))
"""
PAGE = """# What a map costs, stage by stage

Extra Wide product of 10708 × 10487 pixels, HH and HV, to a finished map folder at 120 m, imports included; model
`{model}`{precision}. {cpu}, {cores} cores. Medians of {rounds} runs in turn, each a process of its own, files in the
page cache. Stages run beside each other: their seconds add up to more than the whole.

| | {heads} |
|---|{rules}
{rows}

Command: `{command}`
"""


def run(source: Path, product: Path, out: Path, model: str, how: dict[str, str]) -> dict[str, float]:
    """One run of the code in a source folder, with options of `frazil.predict`."""
    env = os.environ | {"PYTHONPATH": str(source)}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(product), str(out), json.dumps(STAGES), model, json.dumps(how)],
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )
    line = next((x for x in done.stdout.splitlines() if x.startswith("RESULT ")), None)
    if line is None:
        raise SystemExit(f"Error: a run failed.\n{done.stderr[-2000:]}")
    return json.loads(line.removeprefix("RESULT "))


@contextmanager
def sources(against: str | None) -> Iterator[dict[str, Path]]:
    """Names and source folders: this code, and that of a revision in a worktree of its own."""
    if against is None:
        yield {"now": ROOT / "src"}
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(tree), against], cwd=ROOT, check=True)
        try:
            yield {against: tree / "src", "now": ROOT / "src"}
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="REVISION", help="another version of the code, of git")
    parser.add_argument("--engines", action="store_true", help="every engine and precision of this version")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="ice-simulated", help="one that both versions know")
    parser.add_argument("--product", type=Path, help="a product at hand, in place of a simulated one")
    parser.add_argument("--page", type=Path, help="Markdown to write; what stands under 'What it shows' stays")
    given = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, sources(given.against) as versions:
        product = given.product
        if product is None:
            from frazil.simulate.product import simulate_product

            product = simulate_product(folder, seed=1)
        for number in range(given.rounds + 1):
            cases = {name: (source, {}) for name, source in versions.items()}
            if given.engines:
                cases = {f"{e}, {p}": (versions["now"], {"engine": e, "precision": p}) for e, p in ENGINES}
            for i, (name, (source, how)) in enumerate(cases.items()):
                measured = run(source, product, Path(folder) / f"out-{i}-{number}", given.model, how)
                if number:  # the first round is for compiled code and the page cache
                    found.setdefault(name, []).append(measured)
    keys = list(dict.fromkeys(k for runs in found.values() for k in runs[-1]))

    def cell(name: str, key: str) -> str:
        values = [r[key] for r in found[name] if key in r]
        return f"{statistics.median(values):.2f}" if values else "–"

    rows = "\n".join(f"| {key} | " + " | ".join(cell(name, key) for name in found) + " |" for key in keys)
    options = f"--rounds {given.rounds} --model {given.model}" + (
        f" --against {given.against}" if given.against else " --engines" if given.engines else ""
    )
    cpu = next(
        (x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x),
        platform.machine(),
    )
    text = PAGE.format(
        model=given.model,
        precision="" if given.engines else ", float32",
        cpu=cpu,
        cores=os.cpu_count(),
        rounds=given.rounds,
        heads=" | ".join(found),
        rules="---|" * len(found),
        rows=rows,
        command=f"python benchmarks/stages.py {options}",
    )
    print(text)
    if given.page:
        before = given.page.read_text(encoding="utf-8") if given.page.exists() else ""
        given.page.write_text(text + "".join(before.partition(SHOWS)[1:]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
