"""How commands print: names of files and columns are a stranger's words, and a terminal obeys some of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from frazil.errors import printable


def say(text: str, *, err: bool = False) -> None:
    """Print a text with everything that a terminal would obey, and every byte that is no UTF-8, written out."""
    click.echo(printable(text), err=err)


def say_json(result: Any) -> None:
    """Print as JSON; what is not printable stands there as JSON's own escapes, so that a reader gets the same words."""
    text = json.dumps(result, indent=2, ensure_ascii=False)
    click.echo("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text))


def say_result(result: dict[str, object], as_json: bool) -> None:
    """Print a result: as JSON, or a line a key; what is many numbers (``footprint``) is for machines alone."""
    if as_json:
        say_json({k: str(v) if isinstance(v, Path) else v for k, v in result.items()})
        return
    width = max(map(len, result))
    for key, value in result.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for item in value:
                say(f"{key:<{width}}  " + ", ".join(f"{k} {v}" for k, v in item.items()))
        elif key != "footprint":
            many = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
            say(f"{key:<{width}}  {', '.join(map(str, many))}")
