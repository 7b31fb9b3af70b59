"""`frazil study workers`: what learning from others buys, at equal samples, against independent networks."""

from __future__ import annotations

from dataclasses import asdict

import click

from frazil.cli.options import pairs
from frazil.cli.progress import progress_bar
from frazil.cli.say import say_json


@click.command("workers")
@click.option(
    "--data",
    "named",
    multiple=True,
    required=True,
    metavar="cifar10=PATH|ice=SET.zarr|ice-cnn13=SET.zarr",
    help="Repeat for more.",
)
@click.option("--split", type=click.Path(), help="Of ice: JSON file of a saved split by scene.  [default: drawn]")
@click.option("--every", type=int, default=50, show_default=True, help="Steps from one exchange to the next.")
@click.option("--seeds", type=int, default=3, show_default=True, help="Runs of each method.")
@click.option("--capped", is_flag=True, help="Four workers, and fewer teachers asked, in place of all methods.")
@click.option("--packed", is_flag=True, help="Ways to pack the gradients of Allreduce, in place of all methods.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a setting of all runs.")
@click.option("-o", "--output", required=True, type=click.Path(), help="Folder for rows.")
@click.option("--processes", type=int, default=1, show_default=True, help="Side by side, each on one thread.")
@click.option("--finished", is_flag=True, help="Run nothing; tell what is finished.")
@click.option("--page", type=click.Path(), help="Markdown page to write, with its picture beside it.")
@click.option("--overwrite", is_flag=True, help="Replace a page that is there already.")
def workers(
    named: tuple[str, ...],
    split: str | None,
    every: int,
    seeds: int,
    capped: bool,
    packed: bool,
    changes: tuple[str, ...],
    output: str,
    processes: int,
    finished: bool,
    page: str | None,
    overwrite: bool,
) -> None:
    """Compare independent networks, Allreduce, codistillation, AFSD and local SGD on two simulated workers."""
    from frazil.learn.config import override
    from frazil.studies.peers_page import summarise, write_peers_page
    from frazil.studies.workers import STUDIED, caps, packings, run_peers_study, studied, ways

    if capped and packed:
        raise click.UsageError("--capped and --packed exclude each other.")
    chosen = caps(every) if capped else packings() if packed else ways(every)
    rows = {}
    for name, path in pairs(named, "--data", "NAME=PATH").items():
        if name not in STUDIED:
            raise click.BadParameter(f"{name!r} is not one of {', '.join(STUDIED)}.", param_hint="--data")
        config = override(studied(name, path, split), pairs(changes, "--set", "KEY=VALUE"))
        with progress_bar(name) as progress:
            rows[name] = run_peers_study(
                config,
                chosen,
                seeds,
                output,
                processes=processes,
                finished=finished,
                progress=progress,
            )
    say_json({name: [asdict(line) for line in summarise(part)] for name, part in rows.items()})
    if page:
        words = " ".join(f"--data {item.split('=')[0]}=…" for item in named)
        command = f"frazil study workers {words}{' --split …' if split else ''} --seeds {seeds}"
        command += " --capped" * capped + " --packed" * packed + "".join(f" --set {c}" for c in changes) + " -o …"
        write_peers_page(rows, page, command=command, overwrite=overwrite)
