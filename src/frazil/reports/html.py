"""From a template to a page: every text of others is escaped, and nothing is asked for from outside the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FIGURES = "figures"  #: folder of the pictures, inside that of the report


def write_html(path: Path, template: str, **values: Any) -> None:
    """Fill in one of the templates of ``frazil/data``; a value that it wants and does not get is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("frazil", "data"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    path.write_text(pages.get_template(template).render(**values), encoding="utf-8")
