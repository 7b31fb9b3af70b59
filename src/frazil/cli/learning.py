"""`frazil train` and `frazil evaluate`."""

from __future__ import annotations

import json
from typing import Any

import click

from frazil.cli.options import label_options, output, pairs, shared
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_json
from frazil.cli.scores import print_scores


@click.command(short_help="Train a network by a recipe.")
@click.argument("recipe")
@output("Run folder; one that was begun is resumed.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting of the recipe, for instance data.patches=mine.zarr or optim.epochs=10; repeat for several.",
)
@shared("device")
@click.option("--peers", metavar="FOLDER|URL", help="Learn with other workers through this shared folder or bucket.")
@click.option("--worker", help="Name of this worker, of its own; needed with --peers.")
@click.option(
    "--method",
    type=click.Choice(["afsd", "codistillation", "independent"]),
    help="What is learnt from the others.  [default: afsd]",
)
@click.option("--every", help="Steps from one exchange to the next.  [default: 9000]")
@click.option("--show", is_flag=True, help="Print the settings as JSON and stop.")
@click.option(
    "--explain",
    type=click.Path(),
    metavar="FILE.png",
    help="Draw which patches keep their labels, and stop.",
)
@click.option("--overwrite", is_flag=True, help="Throw away another run in the folder.")
@shared("json")
def train(
    recipe: str,
    output: str,
    changes: tuple[str, ...],
    device: str | None,
    show: bool,
    explain: str | None,
    overwrite: bool,
    as_json: bool,
    **exchange: str | None,
) -> None:
    """Train the network of RECIPE: module:function, file.py:function, or the run.json of an earlier run.

    The run may be killed at any moment; the same command goes on and ends in the same weights. With --peers, workers
    started anywhere, at any time, learn from each other. Under torchrun, its processes train one network in step.
    """
    from frazil.learn.config import override
    from frazil.recipes import find_recipe

    named = {"peers.path": exchange.pop("peers"), **{f"peers.{name}": value for name, value in exchange.items()}}
    given = {name: json.dumps(value) if name == "peers.path" else value for name, value in named.items() if value}
    settings = pairs(changes, "--set", "KEY=VALUE") | given
    config = override(find_recipe(recipe), settings)
    if config.peers.path is None and given:
        raise click.UsageError(f"--{next(iter(given)).removeprefix('peers.')} is for workers. Pass --peers FOLDER.")
    if show:
        say_json(config.to_json())
        return
    if explain:
        from frazil.learn.explain import explain_labels

        said = explain_labels(config, explain, overwrite=overwrite)
        if as_json:
            say_json(said)
        else:
            say(said["text"])
        return
    # PyTorch is loaded when the settings are known to be some.
    from frazil.learn.distributed.team import Team
    from frazil.learn.run import train as run

    with progress_bar("training") as progress:
        model = run(config, output, device=device, overwrite=overwrite, progress=progress)
    if not Team.of().first:
        return
    card = model.card
    for note in card.training["data"].get("labels", {}).get("notes", []):
        say(note, err=True)
    if as_json:
        say_json({"model": f"{output}/model", "scores": card.scores})
        return
    say(f"model     {output}/model\nsteps     {card.training['steps']} in {card.training['seconds']} s")
    print_scores(card.scores)


@click.command(short_help="Score a model on labels that it has not learnt from.")
@click.argument("model")
@click.argument("data", nargs=-1, required=True, type=click.Path())
@click.option("--labels", help="Labels of products, as for `frazil patches`.")
@label_options
@shared("keep-land")
@click.option(
    "--function",
    type=click.Choice(["auto", "dense", "patchwise"]),
    default="auto",
    show_default=True,
    help="Of patch classifiers on products, as for `frazil map`.",
)
@click.option("--stride", type=int, help="Of patch classifiers on products: pixels between results.")
@output("JSON file to write.", required=False)
@shared("device", "overwrite", "json")
def evaluate(
    model: str,
    data: tuple[str, ...],
    classes: tuple[str, ...],
    keep_land: bool,
    class_column: str | None,
    scene_column: str | None,
    layer: str | None,
    assume_crs: str | None,
    unknown_codes: Any,
    dialect: Any,
    dominance: float,
    as_json: bool,
    **options: Any,
) -> None:
    """Score MODEL on DATA: labelled patches or imagettes (.zarr), or products with --labels, pixel by pixel.

    Scenes that the model has learnt from are left out.
    """
    from frazil.learn.config import SceneData
    from frazil.learn.evaluate import evaluate as score_model

    meaning = pairs(classes, "--class", "VALUE=NAME")
    reading = SceneData(
        classes=meaning,
        mask_land=not keep_land,
        class_column=class_column,
        scene_column=scene_column,
        layer=layer,
        assume_crs=assume_crs,
        unknown_codes=unknown_codes,
        dialect=dialect,
        dominance=dominance,
    )
    result = score_model(model, data, options=reading, **options)
    if as_json:
        say_json(result)
        return
    print_scores(result)
