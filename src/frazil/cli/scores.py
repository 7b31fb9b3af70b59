"""Scores of models, as the commands print them."""

from __future__ import annotations

from typing import Any

from frazil.cli.say import say


def print_scores(scores: dict[str, Any]) -> None:
    """Say how a model did on held-out data: of sea ice, of photographs, of phenomena of sea and air."""
    if not scores:
        say("No scores: nothing was held out.")
        return
    say(f"on        {scores.get('data', 'held-out scenes')}")
    if "f1_by_category" in scores:
        _print_phenomena(scores)
        return
    say(f"accuracy  {100 * scores['accuracy']:.2f} %, of all classes")
    if told := scores.get("ice_water"):
        decided = told["decided"]
        right, rest = (None if v is None else 1 - v for v in (told["wrong"], decided["wrong"]))
        say(
            f"ice/water {_percent(right)} right; {_percent(decided['undecided'])} undecided below "
            f"{decided['confidence_percent']:g} %, {_percent(rest)} right of the rest; ECE {told['ece']}"
        )
    say(f"macro-F1  {scores['macro_f1']}, balanced accuracy {scores['balanced_accuracy']}, ECE {scores['ece']}")
    for name, precision, recall, f1 in zip(
        scores["classes"], scores["precision"], scores["recall"], scores["f1"], strict=True
    ):
        say(f"  {name:<24} precision {precision}  recall {recall}  F1 {f1}")


def _print_phenomena(scores: dict[str, Any]) -> None:
    several = len(scores["classes"]) > 1  # of one class every image has the right name
    if several:
        say(f"category  {_percent(scores['accuracy'])} of the images named right")
    say(f"presence  {_percent(scores['presence_accuracy'])} of what is there, or not, is told")
    if "set_dice" in scores:
        print_masks(scores)
        return
    for name, f1 in zip(scores["classes"], scores["f1_by_category"], strict=True) if several else ():
        say(f"  {name:<24} F1 {'–' if f1 is None else f'{f1:.3f}'}")


def print_masks(scores: dict[str, Any]) -> None:
    """Scores of masks, a line a class: set Dice, and the per-pixel Dice of Colin et al. under its own name."""
    say(f"  {'':<26}set Dice  per-pixel Dice  precision  recall")
    for i, name in enumerate(scores["classes"]):
        cells = (
            f"{_share(scores[key][i]):>{width}}"
            for key, width in (("set_dice", 8), ("pixel_dice", 14), ("precision", 9), ("recall", 6))
        )
        say(f"  {name:<26}" + "  ".join(cells))
    say(f"  {'mean':<26}{_share(scores['mean_set_dice']):>8}  {_share(scores['mean_pixel_dice']):>14}")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"
