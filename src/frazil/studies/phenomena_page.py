"""The page of a metocean study: its size and caveats first, then tables, a picture, and how to run it again."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from frazil.studies.page import write_page
from frazil.studies.phenomena_tables import (
    Network,
    Row,
    annotation_table,
    class_table,
    draw_annotations,
    draw_methods,
    draw_resolution,
    method_table,
    of_labels,
    of_masks,
    resolution_table,
    weak_curve_table,
)

#: What a study asks, in a title and a paragraph.
QUESTIONS = {
    "weak-vs-full": (
        "Masks or labels of images: five methods",
        (
            "Table 2 of Colin et al. (2022): a U-Net that learns from drawn masks against four methods that learn only "
            "what an image shows."
        ),
    ),
    "annotations": (
        "How many annotated images? Dice against masks a category",
        (
            "Figure 3 of Colin et al. (2022): the same U-Net from few and from many images with masks, and the law "
            "1 − Dice = a n^(−b) through its scores."
        ),
    ),
    "resolution": (
        "How coarse may pixels be? Accuracy against resolution",
        (
            "Table 1 of Colin et al. (2022): how many test images the categoriser names right, and how many a linear "
            "classifier on brightness, contrast and spectrum of each image."
        ),
    ),
}
#: What the source had.
_SOURCE = {
    "weak-vs-full": "The source trained ten times, on real wave-mode images of 50 m, with InceptionV3 in full.",
    "annotations": "The source trained ten times for every number, on real wave-mode images of 50 m.",
    "resolution": "The source named real wave-mode images with InceptionV3 in full.",
}
_SIMULATED = "**Simulated** images: they rank methods where the truth is known, and say nothing about real images."


def write_phenomena_page(
    name: str,
    rows: Sequence[Row],
    path: str | os.PathLike[str],
    *,
    command: str,
    simulated: bool,
    overwrite: bool = False,
) -> Path:
    """Write ``path`` and a picture of the same name beside it.

    Args:
        name: of the study.
        rows: of `frazil.studies.phenomena.run_study`.
        path: ending in ``.md``.
        command: that made the rows.
        simulated: whether the images were simulated.
        overwrite: replace what is there, see `frazil.studies.page.write_page`.
    """
    draw: dict[str, Callable[[Path], object]] = {
        "weak-vs-full": lambda part: draw_methods(rows, part),
        "annotations": lambda part: draw_annotations(rows, part),
        "resolution": lambda part: draw_resolution(rows, part),
    }
    title, question = QUESTIONS[name]
    size, *settings = _settings_in_words(name, rows[0], curves=bool(of_labels(rows)))
    n = max(sum(row["case"] == other["case"] for row in rows) for other in rows)
    size = (
        f"How big this is: {'simulated' if simulated else 'real'} images. {size} {n} training{'s' if n > 1 else ''} "
        f"each. {_SOURCE[name]}"
    )
    caveats = [*([_SIMULATED] if simulated else []), *settings]
    caveats.append("± is the 95 % interval (Student) over trainings; it does not hold the spread over images.")
    if name == "resolution" or (name == "weak-vs-full" and len(rows[0]["classes"]) > 1):
        caveats.append("Published figures are of other images and other networks, and stand here for orientation.")
    commits = ", ".join(dict.fromkeys(row["commit"] for row in rows))
    made = (
        f"{datetime.now(UTC):%d %B %Y}, commit {commits}, {platform.machine()}, {os.cpu_count()} cores, shared; "
        f"{sum(row['seconds'] for row in rows) / 60:.0f} minutes on the wall for all trainings, one after the other."
    )

    def text(picture: str) -> str:
        parts = [f"# {title}", question, size, "## Before you read the numbers", "\n".join(f"- {c}" for c in caveats)]
        parts += ["## Result", *tables(name, rows), f"![{title}]({picture})"]
        return "\n\n".join([*parts, "## How it was made", made, f"```sh\n{command}\n```"]) + "\n"

    return write_page(path, draw[name], text, overwrite=overwrite)


def tables(name: str, rows: Sequence[Row]) -> list[str]:
    """Markdown of a study's figures."""
    if name == "resolution":
        named = sorted((row for row in rows if row["accuracy"] is not None), key=lambda row: row["metres"])
        by_category = [
            "F1 of each category named by the categoriser, %:",
            class_table(named, "f1_by_category", "pixel"),
        ]
        return [resolution_table(rows), *(by_category if named else [])]
    several, masks = len(rows[0]["classes"]) > 1, of_masks(rows)
    by_class = ["Set Dice by class, %, thresholds from validation images:", class_table(masks)] if several else []
    if name == "annotations":
        by_labels = [
            "Methods that learn from labels of images alone: set Dice, %, by labelled images of each category:",
            weak_curve_table(rows),
        ]
        return [annotation_table(masks), *by_class, *(by_labels if of_labels(rows) else [])]
    return [method_table(rows, published=several), *by_class]


def _settings_in_words(name: str, row: Row, *, curves: bool = False) -> list[str]:
    """What was trained and judged, by the settings that a row keeps."""
    kept = row["settings"]
    unet, categoriser, im2px = (f"{n} steps of {kept['batch']}" for n in kept["steps"])
    precision = f"All trainings in {kept['precision']}."
    inception = f"InceptionV3 at {kept['categoriser'].get('width', 1):g} of its width: {categoriser}"
    labels = f"labels of {_number(kept['labelled'])} images of each category"
    if name == "resolution":
        return [f"{inception}, {labels}; small images are mirrored at the rim.", precision]
    widths = f"U-Net of widths {_words(kept['unet'])}: {unet}"
    centres = "" if kept["size"] is None else f", centres of {kept['size']} pixels"
    who = "All test images" if kept["judged"] is None else f"{kept['judged']} test images of each category"
    judged = (
        f"{who} judge{centres}; thresholds of each class are the best of the validation images, which decide nothing "
        "else."
    )
    if name == "annotations":
        weak = f"{inception}, behind MASK, PART and CAM, for every number of labelled images; draws are nested, too."
        words = f"{widths}, for every number of images; draws of a seed are nested."
        return [words, *([weak] if curves else []), judged, precision]
    return [
        (
            f"Small networks: {widths}, masks of {_number(kept['annotated'])} images of each category. "
            f"{inception}, IM2PX of widths {_words(kept['im2px'])}: {im2px}, {labels}."
        ),
        (
            f"MASK with squares of {kept['mask_side']} pixels every {kept['mask_stride']}; PART with tiles of "
            f"{' and '.join(map(str, kept['tiles']))} pixels, tile by tile or densely, in one pass over the image."
        ),
        judged,
        precision,
    ]


def _number(count: int | None) -> str:
    return "all" if count is None else str(count)


def _words(network: Network) -> str:
    return " ".join(map(str, network.get("widths", ())))
