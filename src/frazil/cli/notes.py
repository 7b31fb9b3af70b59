"""What a user must know of a map, on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import numpy as np


def say_notes(attrs: dict[Any, Any], codes: np.ndarray) -> None:
    """Say a map's own note, and whether it is empty.

    Args:
        attrs: of the map.
        codes: classes or dominant phenomena, uint8; `CLASS_LAND` and above are no sea.
    """
    from frazil.conventions import CLASS_LAND

    if attrs.get("note"):
        click.echo(f"Note: {attrs['note']}", err=True)
    if not (codes < CLASS_LAND).any():
        click.echo("Note: no sea was observed in this product, only land or nothing: the map is empty.", err=True)
