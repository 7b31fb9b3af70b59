"""`frazil peers`: who trains through an exchange folder, and which model to use in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from frazil.cli.options import output, shared
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_json

if TYPE_CHECKING:
    from frazil.learn.distributed.watch import Choice, SeenJson


@click.command(short_help="Say who trains through an exchange folder.")
@click.argument("path", metavar="FOLDER|URL")
@click.option("--run", "name", help="Name of one run, where the folder holds several.")
@click.option(
    "--choose",
    "run_folder",
    type=click.Path(),
    metavar="RUN",
    help="Judge the last network of every worker, and their ensemble, on the validation data of this ended run.",
)
@output("With --choose: folder for the chosen model.", required=False)
@click.option(
    "--figure",
    type=click.Path(),
    metavar="FILE.png",
    help="Draw accuracy against samples, time and bytes, from the logs of --log.",
)
@click.option("--log", "logs", multiple=True, type=click.Path(), help="Run folder of a worker; repeat for several.")
@shared("device", "overwrite", "json")
def peers(
    path: str,
    name: str | None,
    run_folder: str | None,
    output: str | None,
    figure: str | None,
    logs: tuple[str, ...],
    device: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Say who exchanges weights through FOLDER or URL: alive or not, how far, how fresh, how many bytes."""
    if figure:
        from frazil.studies.peers_page import draw_logs

        if not logs:
            raise click.UsageError("--figure draws the logs of --log RUN. Name some.")
        draw_logs(logs, figure, overwrite=overwrite)
        say(f"figure  {figure}", err=as_json)
        if not run_folder:
            return
    if run_folder:
        from frazil.learn.distributed.watch import choose

        with progress_bar("judging") as progress:
            chosen = choose(path, run_folder, output=output, device=device, overwrite=overwrite, progress=progress)
        _print_choice(chosen, as_json)
        return
    from frazil.learn.distributed.watch import workers

    found = [seen.to_json() for seen in workers(path, name)]
    if as_json:
        say_json(found)
        return
    head = (
        "run",
        "worker",
        "state",
        "method",
        "step",
        "score",
        "heard",
        "interval",
        "start",
        "written",
        "read",
        "failures",
    )
    table = [head, *(_row(seen) for seen in found)]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    for row in table:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for seen in found:
        if seen["state"] == "done" and seen["publications"] == 1 and seen["method"] != "independent":
            say(
                f"Note: {seen['worker']} of {seen['run']} published nothing before its end, so nobody learnt from it: "
                "its --every was larger than its run.",
                err=True,
            )


def _row(seen: SeenJson) -> tuple[str, ...]:
    age = seen["age_s"]
    heard = f"{_time(age)} ago" if age > -60 else f"clock {_time(-age)} ahead"
    step = f"{seen['step']} of {seen['steps']}" if seen["steps"] else str(seen["step"])
    return (
        seen["run"],
        seen["worker"],
        seen["state"],
        seen["method"] or "–",
        step,
        "–" if seen["score"] is None else f"{seen['score']:.4f}",
        heard,
        _time(seen["interval_s"]),
        str(seen["start"]),
        _bytes(seen["bytes_written"]),
        _bytes(seen["bytes_read"]),
        str(seen["failures"]),
    )


def _time(seconds: float) -> str:
    seconds = max(0.0, seconds)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _bytes(number: float) -> str:
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:.0f} B"


def _print_choice(chosen: Choice, as_json: bool) -> None:
    if as_json:
        say_json(chosen)
        return
    for one in chosen["candidates"]:
        mark = "*" if one["model"] == chosen["chosen"] else " "
        say(f"{mark} {one['model']:<20} validation: macro-F1 {one['macro_f1']:.4f}, accuracy {one['accuracy']:.4f}")
    if "test" in chosen:
        say(
            f"chosen {chosen['chosen']}: test accuracy {chosen['test']['accuracy']:.4f}, macro-F1 "
            f"{chosen['test']['macro_f1']:.4f}"
        )
    if chosen["cost"] > 1:
        say(f"An ensemble of {chosen['cost']} takes {chosen['cost']} times as long to apply.")
    if "output" in chosen:
        say(f"model  {chosen['output']}")
