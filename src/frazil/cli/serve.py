"""`frazil serve`: a parameter server for workers that are `frazil train` with ``server.address``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from frazil.cli.options import output, pairs, shared
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_json
from frazil.cli.scores import print_scores

if TYPE_CHECKING:
    from frazil.learn.serve import Traffic


@click.command(short_help="Hold the weights that workers train.")
@click.argument("recipe")
@output("Run folder; one that was begun is resumed.")
@click.option("--address", metavar="HOST:PORT", help="Where workers find it; port 0 takes a free one.")
@click.option("--workers", help="How many begin together, and share the samples.  [default: 1]")
@click.option(
    "--mode",
    type=click.Choice(["synchronous", "stale", "asynchronous"]),
    help="Who waits for whom: all for all, the fast for the slow now and then, or nobody.  [default: synchronous]",
)
@click.option("--staleness", help="With --mode stale: steps that a worker may be ahead.  [default: 4]")
@click.option("--token-file", metavar="FILE", help="Secret that workers must know, too; for other machines.")
@shared("set", "device")
@click.option("--overwrite", is_flag=True, help="Throw away another run in the folder.")
@shared("json")
def serve(
    recipe: str,
    output: str,
    changes: tuple[str, ...],
    device: str | None,
    overwrite: bool,
    as_json: bool,
    **settings: str | None,
) -> None:
    """Hold weights and optimiser of RECIPE while workers train them; then write the run folder.

    A worker is `frazil train RECIPE --set server.address=HOST:PORT --set server.worker=NAME -o FOLDER`, on the same
    data. Server and workers may be killed at any moment; the same command goes on.
    """
    from frazil.learn.config import override
    from frazil.recipes import find_recipe

    words = ("address", "token_file")  # and no numbers, whatever they look like
    given = {
        f"server.{name}": json.dumps(value) if name in words else value
        for name, value in settings.items()
        if value is not None
    }
    config = override(find_recipe(recipe), pairs(changes, "--set", "KEY=VALUE") | given)
    if config.server.address is None:
        raise click.UsageError("A server needs an address. Pass --address HOST:PORT, for instance 127.0.0.1:5000.")
    if "server.staleness" in given and config.server.mode != "stale":
        raise click.UsageError("--staleness is for --mode stale.")
    # PyTorch is loaded when the settings are known to be some.
    from frazil.learn.serve import serve as run

    def listening(address: str) -> None:
        say(f"Listening at {address} for {config.server.workers} worker(s).", err=True)

    traffic: list[Traffic] = []
    with progress_bar("serving") as progress:
        model = run(
            config,
            output,
            device=device,
            overwrite=overwrite,
            progress=progress,
            listening=listening,
            traffic=traffic,
        )
    card = model.card
    if as_json:
        say_json({"model": f"{output}/model", "scores": card.scores, "workers": traffic})
        return
    for one in traffic:
        say(
            f"worker    {one['worker']}: {one['steps']} steps, {one['received'] / 1e6:.2f} MB received, "
            f"{one['sent'] / 1e6:.2f} MB sent"
        )
    say(f"model     {output}/model\nsteps     {card.training['steps']} in {card.training['seconds']} s")
    print_scores(card.scores)
