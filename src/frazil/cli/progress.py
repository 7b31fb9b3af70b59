"""Progress on stderr: a bar on a terminal, and in a log file a line a minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import click

from frazil.cli.say import say

#: Seconds from one line to the next where stderr is no terminal, by `verbosity`.
EVERY_S = {-1: float("inf"), 0: 60.0, 1: 5.0}
_LEAST_KNOWN = 0.02  # of the work, before it is told how long the rest will take


def verbosity() -> int:
    """-1 where ``frazil -q`` was called, 1 where ``frazil -v`` was, else 0."""
    context = click.get_current_context(silent=True)
    return int((context.find_root().obj or {}).get("verbosity", 0)) if context else 0


@contextmanager
def progress_bar(title: str, *, known: bool = True) -> Iterator[Callable[..., None]]:
    """A function (fraction, what) that moves a bar on a terminal, and elsewhere prints a line now and then.

    The bar obeys NO_COLOR. Where nothing is known of the progress (``known=False``) it swings and the time runs. Lines
    come a minute apart, so that quick commands stay silent; ``frazil -q`` prints none, ``frazil -v`` one in 5 s.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console, said = Console(stderr=True), verbosity()
    percent = (TextColumn("{task.percentage:3.0f} %"),) if known else ()
    columns = (TextColumn("{task.description}"), BarColumn(), *percent, TimeElapsedColumn())
    lines = None if console.is_terminal or not known else Lines(title, EVERY_S[said])
    shown = console.is_terminal and said >= 0
    with Progress(*columns, console=console, disable=not shown, transient=True) as bar:
        task = bar.add_task(title, total=1.0 if known else None)

        def move(fraction: float, what: str | None = None) -> None:
            bar.update(task, completed=fraction, description=what or title)
            if lines is not None:
                lines(fraction, what)

        yield move


class Lines:
    """Lines of progress for a log file: time of day, percent, what is being done, and how long the rest may take.

    Args:
        title: of the work.
        every_s: seconds from one line to the next; the first comes after as many.
        clock: seconds that rise.
    """

    def __init__(self, title: str, every_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.title, self.every_s, self.clock = title, every_s, clock
        self.began = self.said = clock()

    def __call__(self, fraction: float, what: str | None = None) -> None:
        """Print a line if it is time for one."""
        now = self.clock()
        if now - self.said < self.every_s:
            return
        self.said = now
        say(f"{datetime.now():%H:%M:%S}  {self.line(fraction, what)}", err=True)

    def line(self, fraction: float, what: str | None = None) -> str:
        """``18 %  training, step 1260 of 7000, about 75 min left``."""
        spent = self.clock() - self.began
        left = f", about {_duration(spent / fraction * (1 - fraction))} left" if fraction >= _LEAST_KNOWN else ""
        return f"{100 * min(fraction, 1):3.0f} %  {what or self.title}{left}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"
