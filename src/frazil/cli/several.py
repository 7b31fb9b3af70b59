"""Commands that do the same with one input after the other, and go on after one that is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from frazil.cli.say import say, say_json
from frazil.errors import FrazilError
from frazil.net.addresses import is_address, shown


def one_by_one(
    sources: Sequence[str],
    targets: Sequence[Path],
    work: Callable[[str, Path], dict[str, Any]],
    *,
    what: str,
    tell: Callable[[dict[str, Any]], None],
    as_json: bool,
    finish: Callable[[], object] = lambda: None,
) -> None:
    """Work on each input; what was refused is told at the end, a line each, with exit status 1.

    Args:
        sources: inputs.
        targets: where each result goes.
        work: gives what is told of a result.
        what: an input is called in JSON.
        tell: prints a result where JSON was not asked for.
        as_json: print all, those that were refused with their ``error``.
        finish: called in the end, if there is a result.
    """
    told: list[dict[str, Any]] = []
    failed = []
    for source, target in zip(sources, targets, strict=True):
        say(f"{target.name}:", err=True)
        name = shown(source) if is_address(source) else source  # the query of an address may be a signature
        try:
            told.append({what: name, **work(source, target)})
        except FrazilError as error:
            told.append({what: name, "error": str(error)})
            failed.append(f"{name}: {' '.join(str(error).split())}")
    if len(failed) < len(sources):
        finish()
    if as_json:
        say_json(told)
    else:
        for one in told:
            if "error" not in one:
                tell(one)
    for line in failed:
        say(f"frazil: {line}", err=True)
    if failed:
        click.get_current_context().exit(1)
