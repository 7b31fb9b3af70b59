"""Every writer of frazil under kills, rivals, full disks and signals: nothing torn, nothing lost, nothing left.

    python benchmarks/torture.py [--kills 1000] [--pairs 500] [--full 200] [--signals 300] [--seed 0] [--minutes 40]

Each case is a forked child that writes one output beside files of somebody else, over nothing or over an older output:

- *kills*: SIGKILL at a random moment of the write;
- *pairs*: two writers of one name at once, both as process number 1, with and without --overwrite;
- *full*: a file system of a random size or number of files, too small for the output (needs the right to mount);
- *signals*: SIGTERM, SIGHUP or SIGINT at a random moment.

Afterwards the target must be what it was or what was written, read back by a reader; without --overwrite exactly one of
two writers may succeed; a full disk must be one line; files of others must be as they were; and after the next write in
the same folder nothing else may be there. What is not so is printed, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from frazil.cli import _stop
from frazil.errors import FrazilError, OutputError, OutputExistsError

SIGNALS = ("SIGTERM", "SIGHUP", "SIGINT")


@dataclass(frozen=True)
class Writer:
    """A writer of one kind of output.

    Attributes:
        name: of the target.
        write: writes variant 0 or 1 to a path.
        read: a digest of what is there; raises where it is torn.
    """

    name: str
    write: Callable[[Path, int, bool], object]
    read: Callable[[Path], str]


def digest(*parts: Any) -> str:
    """Of arrays and words."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return sha.hexdigest()[:12]


def writers() -> list[Writer]:
    """All of them, on small inputs that are made here once."""
    import geopandas as gpd
    import h5netcdf  # noqa: F401 - loaded before children are forked
    import pyogrio
    import rasterio
    import torch
    import xarray as xr
    import zarr  # noqa: F401
    from PIL import Image

    from frazil.labels.imagettes import open_imagettes, save_imagettes
    from frazil.labels.patch_set import open_patches, save_patches
    from frazil.labels.patches import cut_patches
    from frazil.labels.splits import Split
    from frazil.learn.checkpoint import ModelCard, load_model, save_model
    from frazil.learn.models import create_model
    from frazil.learn.propagation.files import propagate_files
    from frazil.learn.state import Progress, load_state, save_state
    from frazil.maps.edges import ice_edge
    from frazil.maps.export import export, open_map
    from frazil.maps.figures import draw_map
    from frazil.maps.vectors import write_vector
    from frazil.scene.save import save_scene
    from frazil.scene.scaling import CHANNELS
    from frazil.simulate.imagettes import simulated_imagettes
    from frazil.simulate.scene import simulate_scene
    from frazil.studies.runner import Case, read_rows, run_cases
    from frazil.testing import make_map

    torch.set_num_threads(1)
    scenes = [
        simulate_scene("ew", seed=seed, spacing_m=240.0, lines=(4000, 5200), pixels=(3000, 4800)).load()
        for seed in (1, 2)
    ]
    maps = [make_map(shape=(300, 300), seed=seed) for seed in (1, 2)]
    lines = [ice_edge(one) for one in maps]
    patches = [cut_patches(s, s["ice_class"].values, size=8, stride=8) for s in scenes]
    phenomena = [simulated_imagettes(3, seed=seed, resolution_m=200.0) for seed in (1, 2)]
    networks = [create_model("adhoc", n_channels=3, n_classes=5, settings={"patch": 20}) for _ in (1, 2)]
    card = ModelCard(
        id="torture",
        architecture="adhoc",
        settings={"patch": 20},
        class_scheme="five_classes",
        channels=tuple(CHANNELS[n] for n in ("hh", "hv", "incidence_angle")),
        spacing_m=40.0,
        denoise="esa",
        incidence_range=(19.0, 46.0),
    )
    features = Path(tempfile.mkdtemp(prefix="torture-features-"))
    for k in (0, 1):
        rng = np.random.default_rng(k)
        np.save(features / f"{k}.npy", rng.random((400, 8)))
        np.save(features / f"labels-{k}.npy", np.where(np.arange(400) < 40, np.arange(400) % 2, -1))

    def read_scene(path: Path) -> str:
        opened = (
            xr.open_zarr(path, consolidated=False)
            if path.suffix == ".zarr"
            else xr.open_dataset(path, engine="h5netcdf")
        )
        with opened as ds:
            return digest(ds["sigma0"].values, ds["valid"].values, ds["incidence_angle"].values)

    def read_tif(path: Path) -> str:
        with rasterio.open(path) as file:
            return digest(file.read(), file.transform)

    def read_vector(path: Path) -> str:
        frame = pyogrio.read_dataframe(path)
        return digest(sorted(frame.geometry.to_wkb()), len(frame))

    def read_map(path: Path) -> str:
        for name in ("class.tif", "probability.tif", "ice_probability.tif", "confidence.tif", "flags.tif"):
            read_tif(path / name)
        with Image.open(path / "map.png") as picture:
            picture.verify()
        layers = [read_vector(path / "ice_edge.geojson"), read_vector(path / "ice_classes.geojson")]
        json.loads((path / "stac_item.json").read_text())
        json.loads((path / "summary.json").read_text())
        return digest(open_map(path)["ice_class"].values, *layers, len(gpd.list_layers(path / "ice.gpkg")))

    def read_model(path: Path) -> str:
        return digest(*(v.numpy() for v in load_model(path).network.state_dict().values()))

    def read_picture(path: Path) -> str:
        with Image.open(path) as picture:
            return digest(np.asarray(picture))

    def write_state(path: Path, k: int, _overwrite: bool) -> None:
        optimiser = torch.optim.SGD(networks[k].parameters(), 0.1)
        save_state(path, {"network": networks[k]}, optimiser, Progress(step=k), {})

    def read_state(path: Path) -> str:
        fresh = create_model("adhoc", n_channels=3, n_classes=5, settings={"patch": 20})
        progress, _ = load_state(path, {"network": fresh}, torch.optim.SGD(fresh.parameters(), 0.1))
        return digest(progress.step, *(v.numpy() for v in fresh.state_dict().values()))

    def split(k: int) -> Split:
        return Split(by="scene", seed=k, shares=(0.2, 0.2), train=(f"a{k}",), validation=("b",), test=("c",))

    return [
        Writer("scene.nc", lambda p, k, o: save_scene(scenes[k], p, overwrite=o), read_scene),
        Writer("scene.zarr", lambda p, k, o: save_scene(scenes[k], p, overwrite=o), read_scene),
        Writer("scene.tif", lambda p, k, o: save_scene(scenes[k], p, overwrite=o), read_tif),
        Writer("map", lambda p, k, o: export(maps[k], p, overwrite=o), read_map),
        Writer("edge.gpkg", lambda p, k, o: write_vector(lines[k], p, overwrite=o), read_vector),
        Writer("edge.geojson", lambda p, k, o: write_vector(lines[k], p, overwrite=o), read_vector),
        Writer("edge.fgb", lambda p, k, o: write_vector(lines[k], p, overwrite=o), read_vector),
        Writer("map.png", lambda p, k, o: draw_map(maps[k], p, overwrite=o), read_picture),
        Writer(
            "patches.zarr",
            lambda p, k, o: save_patches(patches[k], p, overwrite=o),
            lambda p: digest(open_patches(p)["image"].values, open_patches(p)["label"].values),
        ),
        Writer(
            "imagettes.zarr",
            lambda p, k, o: save_imagettes(phenomena[k], p, overwrite=o),
            lambda p: digest(open_imagettes(p)["image"].values, open_imagettes(p)["mask"].values),
        ),
        Writer("model", lambda p, k, o: save_model(networks[k], card, p, overwrite=o), read_model),
        Writer("split.json", lambda p, k, o: split(k).save(p, overwrite=o), lambda p: digest(Split.load(p))),
        Writer(
            "labels.npz",
            lambda p, k, o: propagate_files(features / f"{k}.npy", p, labels=features / f"labels-{k}.npy", overwrite=o),
            lambda p: digest(np.load(p)["label"], np.load(p)["weight"]),
        ),
        Writer("state.safetensors", write_state, read_state),
        Writer(
            "rows.jsonl",
            lambda p, k, _: run_cases(
                [Case(name="a", depends_on={}, make=lambda _: [{"n": list(range(1000 + k))}])], p
            ),
            lambda p: digest(read_rows(p)),
        ),
    ]


#: Writers of files inside frazil's own folders, which replace whatever is there.
ALWAYS_REPLACE = ("state.safetensors", "row.json")


class Folder:
    """A folder with somebody's files, and what must hold of it afterwards."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "somebody").mkdir(parents=True, exist_ok=True)
        (root / "somebody" / "thesis.txt").write_text("years of work")
        (root / ".hidden").write_text("also")
        self.before = self._others()

    def _others(self) -> dict[str, bytes]:
        found = {}
        for name in ("somebody/thesis.txt", ".hidden"):
            path = self.root / name
            found[name] = path.read_bytes() if path.is_file() else b"LOST"
        return found

    def wrong(self, targets: set[str]) -> list[str]:
        """What should not be: changed files of others, and anything else than the targets."""
        said = [] if self._others() == self.before else ["files of others were changed"]
        here = {p.name for p in self.root.iterdir()} - {"somebody", ".hidden", "next.json"} - targets
        return said + [f"left: {name}" for name in sorted(here)]


def child(work: Callable[[], object], *, as_number_one: bool = False, wait_for: int | None = None) -> int:
    """Fork a child that does its work. It exits with 0, 3 (is there), 4 (disk), 5 (interrupted), 6 or 1 (bug)."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        for name in SIGNALS:
            signal.signal(getattr(signal, name), _stop)
        if as_number_one:
            os.getpid = lambda: 1  # type: ignore[assignment] # as in two containers on one volume
        if wait_for is not None:
            os.read(wait_for, 1)
        work()
        status = 0
    except OutputExistsError:
        status = 3
    except OutputError as error:
        status = 4 if "\n" not in str(error) else 1
    except KeyboardInterrupt:
        status = 5
    except FrazilError:
        status = 6
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stderr.flush()
        os._exit(status)


def ended(pid: int) -> int:
    """The exit status of a child; minus the signal that killed it."""
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


class Torture:
    """Counts, and what went wrong."""

    def __init__(self, seed: int, minutes: float) -> None:
        self.rng, self.end = np.random.default_rng(seed), time.monotonic() + 60 * minutes
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.writers = writers()
        self.seconds, self.expected = {}, {}
        place = Path(tempfile.mkdtemp(prefix="torture-"))
        for writer in self.writers:
            for k in (0, 1):
                path = place / str(k) / writer.name
                started = time.monotonic()
                status = ended(child(lambda w=writer, p=path, n=k: w.write(p, n, False)))
                self.seconds[writer.name] = time.monotonic() - started
                if status:
                    raise SystemExit(f"{writer.name} cannot be written at all (status {status}).")
                self.expected[writer.name, k] = writer.read(path)
            if self.expected[writer.name, 0] == self.expected[writer.name, 1]:
                raise SystemExit(f"the two variants of {writer.name} are equal")
        shutil.rmtree(place)

    def cases(self, what: str, n: int) -> Iterator[tuple[Writer, bool, str]]:
        """Writers in turn, whether there is an old output, and a name of the case."""
        for i in range(n):
            if time.monotonic() > self.end:
                return
            self.counts[what] += 1
            writer = self.writers[i % len(self.writers)]
            yield writer, bool(self.rng.integers(2)), f"{what} {i} {writer.name}"

    def fault(self, case: str, why: str) -> None:
        """Note what must not be."""
        self.faults.append(f"{case}: {why}")
        print("FAULT", self.faults[-1], flush=True)

    def state(self, writer: Writer, path: Path, case: str) -> str:
        """``"absent"``, ``"old"`` (variant 0), ``"new"`` (variant 1), or ``"torn"``."""
        if not path.exists():
            return "absent"
        try:
            found = writer.read(path)
        except Exception as error:
            self.fault(case, f"torn: {type(error).__name__}: {error}")
            return "torn"
        names = {self.expected[writer.name, 0]: "old", self.expected[writer.name, 1]: "new"}
        if found not in names:
            self.fault(case, "neither the old nor the new output")
        return names.get(found, "torn")

    def swept(self, folder: Folder, writer: Writer, case: str) -> None:
        """After the next write in the folder, nothing is left."""
        from frazil.files import whole_output

        with whole_output(folder.root / "next.json", overwrite=True) as part:
            part.write_text('{"a": 1}')
        for why in folder.wrong({writer.name}):
            self.fault(case, why)

    def kill(self, n: int, what: str, draw: Callable[[], int]) -> None:
        """Kills and signals."""
        for writer, old, case in self.cases(what, n):
            with tempfile.TemporaryDirectory(prefix="torture-") as place:
                folder = Folder(Path(place) / "shared")
                path = folder.root / writer.name
                if old:
                    ended(child(lambda w=writer, p=path: w.write(p, 0, False)))
                pid = child(lambda w=writer, p=path, o=old: w.write(p, 1, o))
                time.sleep(float(self.rng.uniform(0, 1.2 * self.seconds[writer.name])))
                number = draw()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                status = ended(pid)
                self.counts[f"{what}: {'in time' if status in (-signal.SIGKILL, 5) else 'too late'}"] += 1
                # A signal that comes before the child has its handlers ends it at once, and it has written nothing.
                if status not in (0, 5, -number):
                    self.fault(case, f"exit status {status}")
                found = self.state(writer, path, case)
                if (old and found == "absent") or (status == 0 and found != "new") or (not old and found == "old"):
                    self.fault(case, f"{found} after status {status}, old output {old}")
                if what == "signals":
                    for why in folder.wrong({writer.name}):
                        self.fault(case, f"after {signal.Signals(number).name} {why}")
                self.swept(folder, writer, case)

    def pair(self, n: int) -> None:
        """Two writers of one name at once."""
        for writer, old, case in self.cases("pairs", n):
            overwrite = old or writer.name in ALWAYS_REPLACE
            with tempfile.TemporaryDirectory(prefix="torture-") as place:
                folder = Folder(Path(place) / "shared")
                path = folder.root / writer.name
                if old:
                    ended(child(lambda w=writer, p=path: w.write(p, 0, False)))
                hold, start = os.pipe()
                pids = [
                    child(lambda w=writer, p=path, m=k, o=old: w.write(p, m, o), as_number_one=True, wait_for=hold)
                    for k in (0, 1)
                ]
                os.write(start, b"go")
                statuses = sorted(ended(pid) for pid in pids)
                os.close(hold)
                os.close(start)
                # With --overwrite one may find the other's output just gone: told as well.
                fine = ([0, 0], [0, 3]) if overwrite else ([0, 3],)
                if statuses not in fine:
                    self.fault(case, f"exit statuses {statuses}, overwrite {overwrite}")
                if self.state(writer, path, case) == "absent":
                    self.fault(case, "both are gone")
                self.swept(folder, writer, case)

    def full(self, n: int) -> None:
        """File systems that are too small, in bytes or in files."""
        if not _may_mount():
            print("full disks are left out: this user may not mount a file system")
            return
        for writer, old, case in self.cases("full", n):
            with tempfile.TemporaryDirectory(prefix="torture-") as place:
                root = Path(place) / "disk"
                root.mkdir()
                _mount(root, "size=64m")
                try:
                    folder = Folder(root)
                    path = root / writer.name
                    if old:
                        ended(child(lambda w=writer, p=path: w.write(p, 0, False)))
                    used = _used(root)
                    ended(child(lambda w=writer, p=root / "other" / writer.name: w.write(p, 1, False)))
                    needed = {k: _used(root)[k] - used[k] for k in used}
                    shutil.rmtree(root / "other")
                    share = float(self.rng.uniform(0.02, 0.9))
                    if self.rng.integers(2):
                        # With an old output the new one comes beside it before they change places.
                        limit = f"size={max(used['bytes'] + int(share * needed['bytes']), 4096)}"
                    else:
                        limit = f"nr_inodes={max(used['inodes'] + int(share * needed['inodes']), 2)}"
                    _mount(root, f"remount,{limit}")
                    status = ended(child(lambda w=writer, p=path, o=old: w.write(p, 1, o)))
                    found = self.state(writer, path, case)
                    if status not in (0, 4):
                        self.fault(case, f"exit status {status} with {limit}")
                    if (status == 0) != (found == "new") or (old and found == "absent"):
                        self.fault(case, f"{found} after status {status} with {limit}, old output {old}")
                    for why in folder.wrong({writer.name}):
                        self.fault(case, f"{why} with {limit}")
                    self.counts[f"full: {'refused' if status else 'fitted'}"] += 1
                finally:
                    subprocess.run(["umount", str(root)], check=False)


def _mount(root: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(root)], check=True, capture_output=True)


def _may_mount() -> bool:
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=False, capture_output=True)
        return done.returncode == 0 and subprocess.run(["umount", place], check=False).returncode == 0


def _used(root: Path) -> dict[str, int]:
    found = os.statvfs(root)
    return {"bytes": (found.f_blocks - found.f_bfree) * found.f_frsize, "inodes": found.f_files - found.f_ffree}


def main() -> None:
    """Run all four and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--full", type=int, default=200)
    parser.add_argument("--signals", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=40.0)
    given = parser.parse_args()
    torture = Torture(given.seed, given.minutes)
    torture.kill(given.kills, "kills", lambda: signal.SIGKILL)
    torture.pair(given.pairs)
    torture.full(given.full)
    torture.kill(given.signals, "signals", lambda: getattr(signal, SIGNALS[torture.rng.integers(3)]))
    print(json.dumps({"writers": len(torture.writers), **torture.counts, "faults": len(torture.faults)}, indent=1))
    sys.exit(bool(torture.faults))


if __name__ == "__main__":
    main()
