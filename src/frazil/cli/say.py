"""How commands print: names of files and columns are a stranger's words, and a terminal obeys some of them."""

from __future__ import annotations

import json
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
