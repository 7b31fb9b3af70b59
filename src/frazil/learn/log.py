"""The log of a run: one JSON line a step, and the same numbers for TensorBoard."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, TextIO

from frazil.errors import OptionError, OutputError
from frazil.files import replaced_file
from frazil.learn.state import Progress
from frazil.untrusted import parse_json

LOG, EVENTS = "log.jsonl", "events"
_TENSORBOARD_LINES = 2000  # a run shows about so many points


class RunLog:
    """Writes ``log.jsonl`` and ``events/`` of a run folder; a resumed run continues after its last saved step.

    Args:
        folder: of the run.
        steps: of the run, by which TensorBoard's lines are thinned.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        self.folder, self.every = folder, max(steps // _TENSORBOARD_LINES, 1)
        self._file: TextIO | None = None
        self._events: Any = None

    def resume(self, progress: Progress) -> None:
        """Drop what a killed run logged after it last saved its state; a run may go back more than once."""
        self.__exit__()
        path = self.folder / LOG
        kept = [row for row in read_log(self.folder) if row["step"] < progress.step]
        with replaced_file(path) as part:
            part.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        self._file = path.open("a", buffering=1, encoding="utf-8")  # whole lines, before the state is saved
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            return
        self._events = SummaryWriter(str(self.folder / EVENTS), purge_step=progress.step or None)

    def __call__(self, step: int, logs: dict[str, float]) -> None:
        """Note numbers of a step."""
        assert self._file is not None
        try:
            self._file.write(json.dumps({"step": step, **logs}) + "\n")
        except OSError as error:
            path, why = self.folder / LOG, error.strerror or error
            raise OutputError(f"Cannot write {path}: {why}. Free the space; the same command goes on.") from error
        looked = any(name.startswith("validation_") for name in logs)
        if self._events is not None and (looked or step % self.every == 0):
            for name, value in logs.items():
                side, _, what = name.rpartition("validation_")
                self._events.add_scalar(f"{'validation' if name != what else side or 'training'}/{what}", value, step)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        if self._events is not None:
            self._events.close()


def read_log(folder: str | os.PathLike[str]) -> list[dict[str, float]]:
    """The lines of a run's log; a last line that was cut off by a kill is left out.

    Raises:
        OptionError: another line is damaged.
    """
    path = Path(folder) / LOG
    if not path.is_file():
        return []
    rows = []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, 1):
        try:
            row = parse_json(line)
        except ValueError:
            row = None
        if isinstance(row, dict) and "step" in row:
            rows.append(row)
        elif number < len(lines) or not '{"step": '.startswith(line[:9].rstrip("\0")):  # the last one was being written
            raise OptionError(f"Line {number} of {path} is damaged. Remove it, and what it told is missing in reports.")
    return rows
