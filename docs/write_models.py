"""Write docs/reference/models from the cards of the bundled models. A test fails when the pages are out of date."""

import json
import math
from importlib.resources import files
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "reference" / "models"
INDEX = FOLDER.with_suffix(".md")
MODELS = Path(str(files("frazil"))) / "data" / "models"
DASH = "–"
UNDECIDED = (
    "Undecided is what is neither ice nor water at {:g} %. The simulated scenes have other seeds than those that were "
    "learnt from and those that the temperature was fitted on."
)
OUTSIDE = (
    "A scene whose own medians lie outside those above, or one of another mode or sensor, is flagged as a whole; what "
    "that finds, what the model gets wrong and why, and the candidates beside it: "
    "[The bundled model](../../explanation/model.md). What its percents mean, and how to quote them: "
    "[How sure is it?](../../explanation/uncertainty.md)."
)
NO_OTHERS = """
No model of phenomena of sea and air is bundled: [train one](../how-to/metocean.md). A model of your own has a card like
these in its folder, `card.json`, and its report shows it: [Train a network](../how-to/train.md).
"""
#: What a card does not say: what the model is there for.
USES = {
    "ice-measured": (
        "To try frazil out on Extra Wide scenes with HH and HV, and as what the [desk](../../how-to/desk.md) begins "
        "with and corrects by a few labels. Not to navigate by, not for a service, not for the kind of ice."
    ),
    "ice-simulated": "For comparison with `ice-measured` alone, which replaced it. For nothing else.",
}
ROWS = {
    "undecided": "undecided",
    "wrong": "wrong, of what is decided",
    "ice_called_water": "ice called water, of the decided ice",
    "water_called_ice": "water called ice, of the decided water",
}


def percent(value: float | None) -> str:
    """A share as a text."""
    if value is None:
        return DASH
    if value < 0.001:
        return "under 0.1 %"
    return f"{100 * value + 1e-9:.{1 if value < 0.1 else 0}f} %"  # halves upwards, as the other pages have them


def span(low: float, high: float, digits: str, units: str) -> str:
    """A range as a text."""
    return f"{low:{digits}} to {high:{digits}} {units}".replace("-", "−").replace("degree", "degrees")


def parameters(weights: Path) -> int:
    """How many numbers a safetensors file holds, read from its head."""
    with weights.open("rb") as file:
        head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(entry["shape"]) for name, entry in head.items() if name != "__metadata__")


def scores(card: dict[str, Any]) -> list[str]:
    """Simulated and real scores side by side."""
    scored = card["scores"]
    columns = [("simulated", scored["ice_water"])]
    real = scored.get("real", {})
    for kind, words in (("pack", "closed pack"), ("edge", "ice edge")):
        if kind in real:
            columns.append((f"real {words}, {real[kind]['scenes']} scenes", real[kind]))
    lines = ["| | " + " | ".join(name for name, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for key, words in ROWS.items():
        lines.append(f"| {words} | " + " | ".join(percent(of["decided"][key]) for _, of in columns) + " |")
    lines.append("| calibration error of P(ice) | " + " | ".join(f"{of['ece']:.3f}" for _, of in columns) + " |")
    return lines


def classes(card: dict[str, Any]) -> list[str]:
    """Precision and recall of each class, on simulated scenes."""
    scored = card["scores"]
    lines = ["| class | precision | recall |", "|---|---|---|"]
    for name, precision, recall in zip(scored["classes"], scored["precision"], scored["recall"], strict=True):
        lines.append(f"| `{name}` | {percent(precision)} | {percent(recall)} |")
    return lines


def seeds(numbers: list[int]) -> str:
    """Seeds without gaps, as a range."""
    if numbers != list(range(numbers[0], numbers[-1] + 1)):
        raise ValueError(f"seeds {numbers} have gaps; write them as they are.")
    return f"{numbers[0]} to {numbers[-1]}"


def page(name: str) -> str:
    """The page of a model as Markdown."""
    card = json.loads((MODELS / name / "card.json").read_text(encoding="utf-8"))
    weights = MODELS / name / "model.safetensors"
    training, seen = card["training"], card["seen"]
    data = training["config"]["data"]
    medians = {**seen["medians"], **seen["differences"]}
    spans = [f"{c.upper().replace('-', ' − ')} {span(*ends, '.1f', 'dB')}" for c, ends in medians.items()]
    channels = [f"`{c['name']}` {span(c['low'], c['high'], 'g', c['units'])}" for c in card["channels"]]
    facts = {
        "id": f"`{card['id']}`",
        "network": f"`{card['architecture']}`, {parameters(weights):,} numbers, {weights.stat().st_size / 1e6:.1f} MB",
        "takes": f"Sentinel-1, mode {', '.join(seen['modes'])}, pixels of {card['spacing_m']:g} m; scaled to [0, 1]: "
        + ", ".join(channels),
        "thermal noise": f"removed as `{card['denoise']}`",
        "incidence angles": "{:.1f}° to {:.1f}°".format(*card["incidence_range"]),
        "gives": f"a probability of each class of `{card['class_scheme']}`: "
        + ", ".join(f"`{c}`" for c in card["classes"]),
        "temperature": f"{card['temperature']:g}",
        "learnt from": f"{seen['scenes']} simulated scenes, seeds {seeds(data['train_seeds'])}; validated on seeds "
        f"{seeds(data['validation_seeds'])}",
        "medians of these": ", ".join(spans),
        "trained": f"{training['seconds'] / 60:.0f} minutes, {training['config']['optim']['steps']:,} steps of "
        f"{training['config']['optim']['batch']} crops; {training['recipe']}, commit {training['commit']}",
        "SHA-256 of the weights": f"`{card['weights_sha256']}`",
    }
    scored = card["scores"]
    if "real" in scored:
        real = (
            f"Simulated: {scored['data']}. Real: {scored['real']['data']}; the truth at the edge was read off HH, "
            "[see there](../../results/real-ice.md). No real scene was learnt from or calibrated on; which of the "
            "candidates is bundled was decided with the real scores in view."
        )
    else:
        real = (
            f"Simulated: {scored['data']}. The card holds no scores on real scenes; what it called there is in the "
            "statement above."
        )
    parts = [
        f"# {name}",
        f"Written by `make docs` from [its card](../../../src/frazil/data/models/{name}/card.json).",
        f"> {card['statement']}",
        "## What it is for",
        USES[name],
        "## What it is",
        "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts.items())]),
        "## How good it is",
        UNDECIDED.format(scored["ice_water"]["decided"]["confidence_percent"]),
        "\n".join(scores(card)),
        real,
        "Class by class, on the simulated scenes:",
        "\n".join(classes(card)),
        "## Where not to trust it",
        OUTSIDE,
    ]
    return "\n\n".join(parts) + "\n"


def names() -> list[str]:
    """Bundled models; the default first."""
    return sorted(path.parent.name for path in MODELS.glob("*/card.json"))


def pages() -> dict[Path, str]:
    """Every page with its text as Markdown."""
    made = {FOLDER / f"{name}.md": page(name) for name in names()}
    made[INDEX] = (
        "# Cards of the bundled models\n\nWritten by `make docs` from their cards. `--model NAME` takes them, "
        "`frazil.load_model(NAME)` opens them.\n\n"
        + "".join(
            f"- [{name}](models/{name}.md){': the default' if name == 'ice-measured' else ''}\n" for name in names()
        )
        + NO_OTHERS
    )
    return made


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
