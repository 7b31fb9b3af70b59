"""`frazil study`: the papers' tables, on the user's patches or on simulated scenes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from frazil.cli.guard import refuse_given
from frazil.cli.options import pairs
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_json
from frazil.cli.study_phenomena import NAMES, phenomena_study


@click.command()
@click.argument("name")
@click.option(
    "--data", "stores", multiple=True, required=True,
    help="Patch set (.zarr) of ten scenes or more; 'simulated' makes one of simulated scenes in the output folder.",
)  # fmt: skip
@click.option(
    "-o", "--output", required=True, type=click.Path(), help="Folder; a study that was begun is gone on with."
)
@click.option("--split", type=click.Path(), help="JSON file of a saved split by scene.  [default: drawn]")
@click.option("--labels", default="15,30,40,60,100,500,1000", show_default=True, help="Of few-labels: how many.")
@click.option("--methods", default="all", show_default=True, help="Of few-labels: names, commas between.")
@click.option(
    "--draws", type=click.IntRange(min=1), default=5, show_default=True, help="Of few-labels: draws of labels."
)
@click.option(
    "--seeds", type=click.IntRange(min=1), default=2, show_default=True, help="Of few-labels: runs of each draw."
)
@click.option(
    "--set", "changes", multiple=True, metavar="[METHOD:]KEY=VALUE",
    help="Of few-labels: change a setting of all methods that have it, or of one; of imagettes: change one of the "
    "study. Repeat for several.",
)  # fmt: skip
@click.option("--pretrained", type=click.Path(), help="Weight file of EfficientNet-Lite0, for the study 'training'.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes side by side.")
@click.option("--page", type=click.Path(), help="Markdown page to write, with its picture beside it.")
@click.option("--overwrite", is_flag=True, help='Replace a page; its title and "What it shows" stay.')
@click.option("--json", "as_json", is_flag=True, help="Print all rows as JSON.")
def study(
    name: str, stores: tuple[str, ...], output: str, split: str | None, pretrained: str | None, workers: int,
    page: str | None, overwrite: bool, as_json: bool, **few: Any,
) -> None:  # fmt: skip
    """Run a study: channels, patch-size, training, models, classes, edge or few-labels.

    Of imagettes: weak-vs-full, annotations or resolution, on --data of three sets (train, validation, test).

    Every finished run is kept; the same command goes on after an interruption.
    """
    _refuse_options(name)
    if name in NAMES:
        phenomena_study(
            name, stores, output, seeds=few["seeds"], changes=few["changes"], page=page, overwrite=overwrite,
            as_json=as_json,
        )  # fmt: skip
        return
    from frazil.labels.splits import Split
    from frazil.studies.data import simulated_patches, simulated_split
    from frazil.studies.patches import run_study, studies, summarise

    scenes = Split.load(split) if split else None
    simulated = stores == ("simulated",)
    command = f"frazil study {name} {' '.join(f'--data {store}' for store in stores)} -o {output}"
    if simulated:
        made = Path(output) / "simulated.zarr"
        if not made.exists():
            with progress_bar("simulating") as progress:
                simulated_patches(made, progress=progress)
        stores, scenes = (str(made),), scenes or simulated_split()
    if name == "few-labels":
        if simulated and not split:
            split = str(Path(output) / "split.json")
            simulated_split().save(split, overwrite=True)
        _few_labels(stores, output, split, workers, page, command, simulated=simulated, overwrite=overwrite,
                    as_json=as_json, **few)  # fmt: skip
        return
    if name == "edge":
        _edge(stores, scenes, Path(output), page, command, overwrite=overwrite, as_json=as_json)
        return
    cases = studies(pretrained).get(name) if pretrained else None
    with progress_bar(name) as progress:
        rows = run_study(name, stores, output, split=scenes, cases=cases, workers=workers, progress=progress)
    table = summarise(rows)
    if page:
        from frazil.studies.page import write_study_page

        write_study_page(name, rows, table, page, command=command, simulated=simulated, overwrite=overwrite)
    if as_json:
        say_json(rows)
        return
    for line in table:
        say(
            f"{line['case']:<52} by patch (leaks) {line['patch']:6.2f} ± {line['patch_interval']:.2f}   "
            f"by scene {line['scene']:6.2f} ± {line['scene_interval']:.2f} %   n = {line['seeds']}"
        )


#: Options that only some studies have.
_ONLY_OF = {
    "labels": ("few-labels",), "methods": ("few-labels",), "draws": ("few-labels",),
    "seeds": ("few-labels", *NAMES), "changes": ("few-labels", *NAMES), "pretrained": ("training",),
    "workers": ("channels", "patch-size", "training", "models", "classes", "few-labels"),
    "split": ("channels", "patch-size", "training", "models", "classes", "few-labels", "edge"),
}  # fmt: skip


def _refuse_options(name: str) -> None:
    """Refuse options that a study would pass over."""
    refuse_given([option for option, studies in _ONLY_OF.items() if name not in studies], f"to the study {name!r}")


def _edge(
    stores: tuple[str, ...], split: Any, output: Path, page: str | None, command: str, *, overwrite: bool, as_json: bool
) -> None:
    from frazil.files import refuse_existing
    from frazil.learn.checkpoint import load_model
    from frazil.studies.data import TEST
    from frazil.studies.edge import dense_or_patchwise, run_edge, train_edge_models, write_edge_page
    from frazil.studies.patches import scene_split

    if page:
        refuse_existing(page, overwrite=overwrite)
    say(
        "Note: models learn from --data; they are judged on simulated scenes, whose ice edge is known to the pixel.",
        err=True,
    )
    with progress_bar("training") as progress:
        models = train_edge_models(stores, split or scene_split(stores), output / "edge", progress)
    with progress_bar("mapping") as progress:
        rows = run_edge(models, output / "edge" / "rows", TEST[:8], progress=progress)
    with progress_bar("dense and patch by patch", known=False):
        functions = dense_or_patchwise(load_model(list(models.values())[-1]), TEST[:3], lines=(4000, 4640), pixels=1280)
    if page:
        write_edge_page(rows, functions, page, command=command, overwrite=overwrite)
    if as_json:
        say_json({"rows": rows, "functions": functions})
        return
    for row in rows:
        say(f"{row['seed']}  {row['model']:<30} {row['reference']:<6} IIEE {row['iiee_km2']:8.0f} km²")


def _few_labels(
    stores: tuple[str, ...], output: str, split: str | None, workers: int, page: str | None, command: str, *,
    simulated: bool, overwrite: bool, as_json: bool, labels: str, methods: str, draws: int, seeds: int,
    changes: tuple[str, ...],
) -> None:  # fmt: skip
    from frazil.files import refuse_existing
    from frazil.recipes import find_recipe, recipe_names
    from frazil.studies.few_labels import run_few_labels, study_methods, summarise_few_labels, trials
    from frazil.studies.few_labels_page import write_few_labels_page

    if page:
        refuse_existing(page, overwrite=overwrite)
    if not all(word.strip().isdigit() for word in labels.split(",")):
        raise click.BadParameter(f"{labels!r} is not a list of numbers.", param_hint="--labels")
    names = [name for name in recipe_names() if name.startswith("few_labels:")]
    known = study_methods({name.split(":")[1]: find_recipe(name) for name in names})
    asked = list(known) if methods == "all" else [word.strip() for word in methods.split(",")]
    strange = [word for word in asked if word not in known]
    if strange:
        raise click.BadParameter(f"{strange[0]!r} is not one of {sorted(known)}.", param_hint="--methods")
    settings = {"data.split": split} if split else {}
    todo = trials(
        {word: known[word] for word in asked}, patches=stores, labels=[int(word) for word in labels.split(",")],
        draws=draws, seeds=seeds, changes=settings | pairs(changes, "--set", "KEY=VALUE"),
    )  # fmt: skip
    with progress_bar("few-labels") as progress:
        rows = run_few_labels(todo, output, workers=workers, progress=progress)
    table = summarise_few_labels(rows)
    more = f" --labels {labels} --methods '{methods}' --draws {draws} --seeds {seeds}"
    more += "".join(f" --set '{item}'" for item in changes)
    if page:
        write_few_labels_page(rows, table, page, command=command + more, simulated=simulated, overwrite=overwrite)
    if as_json:
        say_json(rows)
        return
    for line in table:
        accuracy = f"{line['accuracy']:6.2f}{_half(line['interval'])} %"
        difference = f"{line['difference']:+6.2f}{_half(line['difference_interval'])}"
        say(f"{line['labels']:>5} labels  {line['method']:<20} {accuracy}   against supervised {difference}   "
                   f"n = {line['draws']}")  # fmt: skip


def _half(interval: float) -> str:
    """Nothing where a single draw has no interval."""
    return "" if math.isnan(interval) else f" ± {interval:.2f}"
