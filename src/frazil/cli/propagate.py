"""`frazil propagate`."""

from __future__ import annotations

from typing import Any

import click

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
@click.option("--k", type=int, default=50, show_default=True, help="Neighbours of a sample.")
@click.option("--gamma", type=float, default=3.0, show_default=True, help="Exponent of the affinity.")
@click.option("--alpha", type=float, default=0.99, show_default=True, help="Share taken from neighbours, below 1.")
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
    **settings: Any,
) -> None:
    """Spread a few labels over FEATURES: a table of descriptors, or a patch set with --model.

    FEATURES is .npy, .npz, .csv or .parquet with a row a sample, or a patch set (.zarr), whose own labels are taken
    where --labels is not given: those that the model's run has drawn, if it learnt from some alone.
    """
    from frazil.learn.config import PropagationConfig
    from frazil.learn.propagation.files import propagate_files

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
        )
    if as_json:
        say_json(result)
        return
    how = "converged" if result["converged"] else "not converged; raise --iterations"
    say(f"samples      {result['samples']}, {result['labels']} with a label")
    say(f"coverage     {100 * result['coverage']:.2f} % of the others, mean weight {result['weight']}")
    say(f"convergence  {result['iterations']} iterations, residual {result['residual']:g}: {how}")
    for name, n in result["classes"].items():
        say(f"  {name:<24} {n}")
    say(f"  {'(no label reaches)':<24} {result['unreached']}")
