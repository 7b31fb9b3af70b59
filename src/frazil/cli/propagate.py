"""`frazil propagate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from frazil.cli.options import output, shared
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_json


@click.command(short_help="Spread a few labels over many samples.")
@click.argument("features", type=click.Path())
@click.option("--labels", type=click.Path(), help="File of class codes (.npy, .npz, .csv), -1 or empty for none.")
@click.option(
    "--all-labels",
    is_flag=True,
    help="Of a patch set: also the labels that the model's run has not drawn.",
)
@click.option("--model", help="Patch classifier whose descriptors of a patch set are taken.")
@output(".csv or .npz with label, weight and reached.")
@click.option("--k", default="50", show_default=True, help="Neighbours of a sample; with --choose several.")
@click.option("--gamma", type=float, default=3.0, show_default=True, help="Exponent of the affinity.")
@click.option("--alpha", default="0.99", show_default=True, help="Share taken from neighbours, below 1; likewise.")
@click.option(
    "--choose",
    type=click.Choice(["best", "validation", "labels"]),
    help="Choose k and alpha by validation samples, by leaving labels out in turn, or (best) by the first where there "
    "are any; of the values given, commas between, or of k 5,10,20,50 and alpha 0.5,0.9,0.99.",
)
@click.option("--validation", type=click.Path(), help="File like --labels with labels that only choose.")
@click.option("--iterations", type=int, default=50, show_default=True, help="Of conjugate gradients, at most.")
@click.option(
    "--seeds",
    type=click.Choice(["per_class", "one_hot"]),
    default="per_class",
    show_default=True,
    help="Whether classes or labels count alike.",
)
@click.option(
    "--mass",
    type=click.Choice(["none", "labels", "uniform"]),
    default="none",
    show_default=True,
    help="How much of all samples each class is to have: as labels have, as much as any other, or left open.",
)
@click.option(
    "--search",
    type=click.Choice(["exact", "approximate"]),
    default="exact",
    show_default=True,
    help="How neighbours are found; approximate search needs faiss.",
)
@click.option("--picture", type=click.Path(), help="PNG of the descriptors before and after.")
@click.option("--method", type=click.Choice(["pca", "umap"]), default="pca", show_default=True, help="Of the picture.")
@shared("device", "overwrite", "json")
def propagate(
    features: str,
    labels: str | None,
    model: str | None,
    output: str,
    picture: str | None,
    method: str,
    device: str | None,
    overwrite: bool,
    as_json: bool,
    all_labels: bool,
    k: str,
    alpha: str,
    choose: str | None,
    validation: str | None,
    **settings: Any,
) -> None:
    """Spread a few labels over FEATURES: a table of descriptors, or a patch set with --model.

    FEATURES is .npy, .npz, .csv or .parquet with a row a sample, or a patch set (.zarr), whose own labels are taken
    where --labels is not given: those that the model's run has drawn, if it learnt from some alone.
    """
    from frazil.learn.config import PropagationConfig
    from frazil.learn.propagation.files import propagate_files

    ks, alphas = _numbers("--k", k, int), _numbers("--alpha", alpha, float)
    choice = None if choose is None else _choice(choose, ks, alphas)
    if choice is None:
        for name, values in (("--k", ks), ("--alpha", alphas)):
            if len(values) > 1:
                raise click.BadParameter(f"{len(values)} values are for choosing. Pass --choose best.", param_hint=name)
        settings |= {"k": ks[0], "alpha": alphas[0]}
    with progress_bar("propagating", known=False):
        result = propagate_files(
            features,
            output,
            labels=labels,
            model=model,
            config=PropagationConfig(**settings),
            picture=picture,
            method=method,
            device=device,
            overwrite=overwrite,
            all_labels=all_labels,
            choice=choice,
            validation=validation,
        )
    if as_json:
        say_json(result)
        return
    if "chosen" in result:
        _say_chosen(result["chosen"])
    how = "converged" if result["converged"] else "not converged; raise --iterations"
    say(f"samples      {result['samples']}, {result['labels']} with a label")
    say(f"coverage     {100 * result['coverage']:.2f} % of the others, mean weight {result['weight']}")
    say(f"convergence  {result['iterations']} iterations, residual {result['residual']:g}: {how}")
    for name, n in result["classes"].items():
        say(f"  {name:<24} {n}")
    say(f"  {'(no label reaches)':<24} {result['unreached']}")


def _numbers(name: str, text: str, kind: Callable[[str], Any]) -> tuple[Any, ...]:
    try:
        return tuple(kind(word) for word in text.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is not a number, or several with commas between.", param_hint=name
        ) from error


def _choice(by: str, ks: tuple[int, ...], alphas: tuple[float, ...]) -> Any:
    """The grid: of what was not given on the command line, its default."""
    from frazil.learn.config import ChoiceConfig

    context = click.get_current_context()
    given = {
        name: values
        for name, values in (("k", ks), ("alpha", alphas))
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    return ChoiceConfig(by=by, **given)  # type: ignore[arg-type]


def _say_chosen(chosen: dict[str, Any]) -> None:
    by = "labels, each left out in turn" if chosen["by"] == "labels" else "validation samples"
    say(f"chosen       k = {chosen['k']}, alpha = {chosen['alpha']:g}, by {chosen['judges']} {by}")
    for one in chosen["tried"]:
        name = f"k = {one['k']}, alpha = {one['alpha']:g}"
        say(f"  {name:<24} {100 * one['recall']:.1f} % mean recall")
