"""What holds for every command, seen to in one place before it begins: no output takes the place of an input."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

OUTPUTS = ("output", "sheet", "picture", "figure", "page", "explain")
"""Parameters that name what a command writes."""
_FOLDERS_TO_FILL = ("simulate", "study", "train")  # their output is a folder that they add to, by rules of its own


def guarded(command: click.Command) -> click.Command:
    """A command that first refuses outputs which are or hold something that it reads, also with ``--overwrite``."""
    inner = command.callback
    assert inner is not None

    @functools.wraps(inner)
    def call(*args: Any, **values: Any) -> Any:
        if values.get("overwrite"):
            _refuse_inputs(command, values)
        return inner(*args, **values)

    command.callback = call
    return command


def _refuse_inputs(command: click.Command, values: dict[str, Any]) -> None:
    from frazil.files import refuse_existing

    inputs = [path for name, value in values.items() if name not in OUTPUTS for path in _paths(value)]
    for name in OUTPUTS:
        if isinstance(values.get(name), str) and not (name == "output" and command.name in _FOLDERS_TO_FILL):
            refuse_existing(values[name], overwrite=True, inputs=inputs)


def _paths(value: Any) -> Iterator[str]:
    """The existing paths among a parameter's values, ``NAME=PATH`` and lists with commas included."""
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from _paths(item)
    elif isinstance(value, str):
        for text in {value, value.partition("=")[2], *value.partition("=")[2].split(",")}:
            if text and len(text) < 4096 and "\0" not in text and Path(text).exists():
                yield text
