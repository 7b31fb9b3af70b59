"""Progress on stderr: a bar on a terminal, nothing in a log file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str, *, known: bool = True) -> Iterator[Callable[..., None]]:
    """A function (fraction, what) that moves a bar; it appears only on a terminal and obeys NO_COLOR.

    Where nothing is known of the progress (``known=False``) the bar swings and the time runs.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    percent = (TextColumn("{task.percentage:3.0f} %"),) if known else ()
    columns = (TextColumn("{task.description}"), BarColumn(), *percent, TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=1.0 if known else None)

        def move(fraction: float, what: str | None = None) -> None:
            bar.update(task, completed=fraction, description=what or title)

        yield move
