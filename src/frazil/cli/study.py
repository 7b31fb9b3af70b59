"""`frazil study`: the papers' tables, on the user's data or on simulated ones; a command for each study."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from frazil.cli.guard import Grouped
from frazil.cli.options import pairs, study_options
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_json
from frazil.cli.study_phenomena import phenomena_study
from frazil.cli.study_workers import workers

_PATCH_SET = (
    "Patch set (.zarr) of ten scenes or more; 'simulated' makes one of simulated scenes in the output folder. Repeat "
    "for several."
)
_split = click.option("--split", type=click.Path(), help="JSON file of a saved split by scene.  [default: drawn]")
_workers = click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes side by side."
)


@click.group(cls=Grouped, short_help="Run a study: one thing varied, several times over.")
def study() -> None:
    """Run a study: the same training under settings that differ in one thing, several times over.

    Every finished run is kept; the same command is resumed after an interruption.
    """


def _patch_study(name: str, help: str) -> click.Command:  # noqa: A002 - as click calls it
    """A study of the first paper, on patches."""

    @study_options(_PATCH_SET)
    @_split
    @_workers
    def run(
        stores: tuple[str, ...],
        output: str,
        split: str | None,
        workers: int,
        page: str | None,
        overwrite: bool,
        as_json: bool,
        pretrained: str | None = None,
    ) -> None:
        from frazil.studies.patches import run_study, studies, summarise

        stores, scenes, simulated = _sets(stores, output, split)
        command = f"frazil study {name} {_data(stores, simulated)} -o {output}"
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
                f"{line.case:<52} by patch (leaks) {line.patch.mean:6.2f} ± {line.patch.interval:.2f}   "
                f"by scene {line.scene.mean:6.2f} ± {line.scene.interval:.2f} %   n = {line.seeds}"
            )

    callback: Callable[..., Any] = run
    if name == "training":
        what = "Weight file of EfficientNet-Lite0."
        callback = click.option("--pretrained", type=click.Path(), help=what)(run)
    return click.command(name, help=help)(callback)


for _name, _help in {
    "channels": "HH, HV and the incidence angle: what each adds.",
    "patch-size": "Patches of 10 to 40 pixels.",
    "training": "From random weights, from photographs, with and without augmentation.",
    "over-fitting": "Losses over many epochs, with and without augmentation.",
    "models": "The networks of the first paper side by side.",
    "classes": "Two classes or five, with and without class weights.",
}.items():
    study.add_command(_patch_study(_name, _help))


def _sets(stores: tuple[str, ...], output: str, split: str | None) -> tuple[tuple[str, ...], Any, bool]:
    """The patch sets of a study, made where they are to be simulated; the split; whether they are simulated."""
    from frazil.labels.splits import Split
    from frazil.studies.data import simulated_patches, simulated_split

    scenes = Split.load(split) if split else None
    if stores != ("simulated",):
        return stores, scenes, False
    made = Path(output) / "simulated.zarr"
    if not made.exists():
        with progress_bar("simulating") as progress:
            simulated_patches(made, progress=progress)
    return (str(made),), scenes or simulated_split(), True


def _data(stores: tuple[str, ...], simulated: bool) -> str:
    return "--data simulated" if simulated else " ".join(f"--data {store}" for store in stores)


@study.command("edge")
@study_options(_PATCH_SET)
@_split
def edge(
    stores: tuple[str, ...], output: str, split: str | None, page: str | None, overwrite: bool, as_json: bool
) -> None:
    """The ice edge of patch classifiers beside that of a segmentation network."""
    from frazil.files import refuse_existing
    from frazil.learn.checkpoint import load_model
    from frazil.studies.data import TEST
    from frazil.studies.edge import dense_or_patchwise, run_edge, train_edge_models, write_edge_page
    from frazil.studies.patches import scene_split

    if page:
        refuse_existing(page, overwrite=overwrite)
    stores, scenes, simulated = _sets(stores, output, split)
    command = f"frazil study edge {_data(stores, simulated)} -o {output}"
    say(
        "Note: models learn from --data; they are scored on simulated scenes, whose ice edge is known to the pixel.",
        err=True,
    )
    folder = Path(output) / "edge"
    with progress_bar("training") as progress:
        models = train_edge_models(stores, scenes or scene_split(stores), folder, progress)
    with progress_bar("mapping") as progress:
        rows = run_edge(models, folder / "rows", TEST[:8], progress=progress)
    with progress_bar("dense and patch by patch", known=False):
        functions = dense_or_patchwise(load_model(list(models.values())[-1]), TEST[:3], lines=(4000, 4640), pixels=1280)
    if page:
        write_edge_page(rows, functions, page, command=command, overwrite=overwrite)
    if as_json:
        say_json({"rows": rows, "functions": functions})
        return
    for row in rows:
        say(f"{row['seed']}  {row['model']:<30} {row['reference']:<6} IIEE {row['iiee_km2']:8.0f} km²")


@study.command("few-labels")
@study_options(_PATCH_SET)
@_split
@_workers
@click.option("--labels", default="15,30,40,60,100,500,1000", show_default=True, help="Numbers of labels.")
@click.option("--methods", default="all", show_default=True, help="Names, commas between.")
@click.option("--draws", type=click.IntRange(min=1), default=5, show_default=True, help="How often labels are drawn.")
@click.option("--seeds", type=click.IntRange(min=1), default=2, show_default=True, help="Runs of each draw.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="[METHOD:]KEY=VALUE",
    help="Change a setting of all methods that have it, or of one. Repeat for several.",
)
def few_labels(
    stores: tuple[str, ...],
    output: str,
    split: str | None,
    workers: int,
    page: str | None,
    overwrite: bool,
    as_json: bool,
    labels: str,
    methods: str,
    draws: int,
    seeds: int,
    changes: tuple[str, ...],
) -> None:
    """Methods that learn from a few labels and many patches without, in pairs."""
    from frazil.files import refuse_existing
    from frazil.recipes import find_recipe, recipe_names
    from frazil.studies.data import simulated_split
    from frazil.studies.few_labels import run_few_labels, study_methods, trials
    from frazil.studies.few_labels_page import write_few_labels_page
    from frazil.studies.few_labels_table import summarise_few_labels

    if page:
        refuse_existing(page, overwrite=overwrite)
    if not all(word.strip().isdecimal() for word in labels.split(",")):
        raise click.BadParameter(f"{labels!r} is not a list of numbers.", param_hint="--labels")
    names = [name for name in recipe_names() if name.startswith("few_labels:")]
    known = study_methods({name.split(":")[1]: find_recipe(name) for name in names})
    asked = list(known) if methods == "all" else [word.strip() for word in methods.split(",")]
    strange = [word for word in asked if word not in known]
    if strange:
        raise click.BadParameter(f"{strange[0]!r} is not one of {sorted(known)}.", param_hint="--methods")
    stores, _, simulated = _sets(stores, output, split)
    command = f"frazil study few-labels {_data(stores, simulated)} -o {output}"
    if simulated and not split:
        split = str(Path(output) / "split.json")
        simulated_split().save(split, overwrite=True)
    settings = {"data.split": split} if split else {}
    todo = trials(
        {word: known[word] for word in asked},
        patches=stores,
        labels=[int(word) for word in labels.split(",")],
        draws=draws,
        seeds=seeds,
        changes=settings | pairs(changes, "--set", "KEY=VALUE"),
    )
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
        accuracy = f"{line.accuracy:6.2f}{_half(line.interval)} %"
        difference = f"{line.difference:+6.2f}{_half(line.difference_interval)}"
        say(
            f"{line.labels:>5} labels  {line.method:<20} {accuracy}   against supervised {difference}   "
            f"n = {line.draws}"
        )


def _half(interval: float) -> str:
    """Nothing where a single draw has no interval."""
    return "" if math.isnan(interval) else f" ± {interval:.2f}"


def _phenomena_command(name: str, help: str) -> click.Command:  # noqa: A002
    """A study of the metocean paper, on three sets of imagettes."""

    @study_options("Three sets of imagettes: train, validation, test; or 'simulated'.")
    @click.option("--seeds", type=click.IntRange(min=1), default=2, show_default=True, help="Trainings of each case.")
    @click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a setting of the study. Repeat.")
    def run(stores: tuple[str, ...], output: str, **options: Any) -> None:
        phenomena_study(name, stores, output, **options)

    return click.command(name, help=help)(run)


for _name, _help in {
    "weak-vs-full": "Methods that learn from masks beside those that learn from labels of images.",
    "annotations": "How many drawn masks the U-Net needs.",
    "resolution": "How coarse images may be for their category to be told.",
}.items():
    study.add_command(_phenomena_command(_name, _help))

study.add_command(workers)
