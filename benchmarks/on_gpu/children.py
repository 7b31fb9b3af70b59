"""Processes that wait for work and keep what they have loaded, NVIDIA's MPS between them and the GPU, and rows."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

_NULL = subprocess.DEVNULL
_TRY = "import torch; torch.ones(4, device='cuda').sum().item()"


def add_row(file: Path, **values: Any) -> None:
    """Add a line to a file of JSON lines, whole and at once, whoever else adds to it."""
    with file.open("ab") as out:
        fcntl.flock(out, fcntl.LOCK_EX)
        out.write((json.dumps(values, ensure_ascii=False, default=str) + "\n").encode())
        out.flush()


def read_rows(files: list[Path]) -> list[dict[str, Any]]:
    """All rows of some files; a last line that was cut off is passed over."""
    lines = [line for file in files for line in file.read_text(encoding="utf-8").split("\n")[:-1]]
    return [json.loads(line) for line in lines if line]


class Child:
    """A process that does one thing after another, on one thread of PyTorch."""

    def __init__(self, name: str) -> None:
        self.name = name
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def start(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Ask for a result, which `gather` takes; a process that has ended it finds out about."""
        with suppress(OSError):
            self.pipe.send((function, arguments))

    def end(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.join(5)


def gather(children: list[Child], until: float, tell: Callable[[str, str], None]) -> dict[str, Any]:
    """What children found, by name; those that failed, or have not answered by a time (of `time.time`), lack.

    The latter are ended. ``tell`` gets the name of each, and why.
    """
    found: dict[str, Any] = {}
    left = {child.pipe: child for child in children}
    while left and time.time() < until:
        for pipe in wait(list(left), timeout=max(until - time.time(), 0.01)):
            assert isinstance(pipe, Connection)
            child = left.pop(pipe)
            try:
                good, value = pipe.recv()
            except (EOFError, OSError):
                good, value = False, f"the process ended with status {child.process.exitcode}"
            if good:
                found[child.name] = value
            else:
                tell(child.name, f"failed: {value}")
    for child in left.values():
        tell(child.name, "did not answer in time and is ended")
        child.end()
    return found


def _serve(pipe: Connection) -> None:
    import torch

    torch.set_num_threads(1)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # seven passes a step
    warnings.simplefilter("ignore")  # of operations without a deterministic form on CUDA
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((True, function(*arguments)))
        except Exception:  # the others go on; the parent writes it down
            pipe.send((False, traceback.format_exc()[-1500:]))


@contextmanager
def shared_gpu(wanted: bool) -> Iterator[str]:
    """NVIDIA's Multi-Process Service, where it is installed and works: kernels of several processes then run together.

    Its pipes lie in a folder of their own, so that nobody else's service is touched. Yields a word on it.
    """
    control = shutil.which("nvidia-cuda-mps-control") or next(
        (
            p
            for p in ("/usr/local/nvidia/bin/nvidia-cuda-mps-control", "/usr/bin/nvidia-cuda-mps-control")
            if Path(p).is_file()
        ),
        None,
    )
    if not wanted or control is None:
        yield "not installed" if wanted else "not asked for"
        return
    with tempfile.TemporaryDirectory(prefix="mps-") as folder:
        names = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
        os.environ.update(dict.fromkeys(names, folder))
        state, running = "on", False
        try:
            subprocess.run([control, "-d"], check=True, timeout=20, stdout=_NULL, stderr=_NULL)  # it keeps them
            running = True
            subprocess.run([sys.executable, "-c", _TRY], check=True, timeout=60, stdout=_NULL, stderr=_NULL)
        except (OSError, subprocess.SubprocessError) as error:
            state = f"does not work ({type(error).__name__})"
            if running:
                _quit(control)
                running = False
            for name in names:
                os.environ.pop(name, None)
        try:
            yield state
        finally:
            if running:
                _quit(control)
            for name in names:
                os.environ.pop(name, None)


def _quit(control: str) -> None:
    try:
        subprocess.run([control], input=b"quit\n", timeout=20, check=False, stdout=_NULL, stderr=_NULL)
    except (OSError, subprocess.SubprocessError):
        return
