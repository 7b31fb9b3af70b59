"""Settings of the site that `make site` builds with Sphinx from these pages, without the network.

Pages stay plain Markdown, as a forge shows them. What Sphinx wants beside is made here while it reads: the table of
contents from the links between pages, and the descriptions of public names from their docstrings.
"""

import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT / "src"), str(DOCS)]

import write_api  # noqa: E402

import frazil  # noqa: E402

project = "frazil"
author = "The frazil developers"
release = version = frazil.__version__
copyright = "The frazil developers, Apache-2.0"  # noqa: A001
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["results/studies/**"]
default_role = "py:obj"  # single backticks of docstrings: a link where there is something to link to
myst_heading_anchors = 4

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
maximum_signature_line_length = 80
add_module_names = False
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]  # a list; as entries of their own, `bytes` would be several

html_theme = "furo"
html_title = f"frazil {release}"
html_copy_source = False
html_show_search_summary = False  # the page fetches them, which browsers refuse from file://
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": False}

with (ROOT / "pyproject.toml").open("rb") as _file:
    REPOSITORY = tomllib.load(_file)["project"].get("urls", {}).get("Source", "")

#: How the table of contents calls the folders, in this order.
PARTS = {
    "tutorial": "Learn by doing",
    "how-to": "Get a job done",
    "reference": "Look something up",
    "explanation": "Understand",
    "results": "See figures",
}
LINK = re.compile(r"\]\(([^)#\s]+\.md)(?:#[^)]*)?\)")


def links_of(page: str) -> list[str]:
    """Pages of the documentation that a page links to, in order, without their endings."""
    path = DOCS / f"{page}.md"
    found: dict[str, None] = {}
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        if target.startswith(("http:", "https:")):
            continue
        there = Path(os.path.normpath(path.parent / target))
        if there.is_relative_to(DOCS) and there.is_file():
            found[there.relative_to(DOCS).with_suffix("").as_posix()] = None
    return list(found)


def contents(start: str = "index") -> dict[str, list[str]]:
    """Children of every page: those that no page nearer to the start links to."""
    known, row, children = {start}, [start], {}
    while row:
        below: list[str] = []
        for page in row:
            mine = [link for link in links_of(page) if link not in known]
            children[page] = mine
            known.update(mine)
            below += mine
        row = below
    return children


CHILDREN = contents()


def toctree(pages: list[str], caption: str = "") -> str:
    """A table of contents that shows in the side bar alone."""
    head = f":caption: {caption}\n" if caption else ""
    return "\n".join(["", "```{toctree}", f":hidden:\n{head}", *(f"/{page}" for page in pages), "```", ""])


def complete(_app: Sphinx, page: str, source: list[str]) -> None:
    """Put behind a page what its readers on a forge do not see."""
    if group := write_api.group_of(page):
        source[0] = write_api.described(group, source[0])
    children = CHILDREN.get(page, [])
    if page != "index":
        source[0] += toctree(children) if children else ""
        return
    for folder, caption in PARTS.items():
        inside = [child for child in children if child.split("/")[0] == folder]
        source[0] += toctree(inside, caption) if inside else ""
    rest = [child for child in children if child.split("/")[0] not in PARTS]
    source[0] += toctree(rest, "More") if rest else ""


def readable(_app: Sphinx, _what: str, _name: str, _thing: object, _options: object, *texts: str | None) -> tuple:
    """Signatures that can be read, and taken apart by Sphinx: without what Python has no syntax for."""
    return tuple(text and first_of_annotated(text.replace("<factory>", "...")) for text in texts)


def as_written(_app: Sphinx, what: str, _name: str, _thing: object, _options: object, lines: list[str]) -> None:
    """Properties whose first line holds a colon: napoleon takes what stands before it for a type."""
    if what == "property":
        lines[:0] = ["..", ""]  # an empty comment


def first_of_annotated(text: str) -> str:
    """The types of a signature without what `typing.Annotated` says of them."""
    while found := re.search(r"~?(?:\w+\.)*Annotated\[", text):
        depth, comma, end = 1, 0, found.end()
        while depth:
            depth += (text[end] in "[(") - (text[end] in "])")
            comma = comma or end * (depth == 1 and text[end] == ",")
            end += 1
        text = text[: found.start()] + text[found.end() : comma] + text[end:]
    return text


class Elsewhere(SphinxTransform):
    """Links to files of the repository outside these pages lead there, or where it has no address are words alone."""

    default_priority = 5

    def apply(self, **_kwargs: Any) -> None:
        """Replace them."""
        here = (DOCS / self.env.docname).parent
        for kind in (addnodes.pending_xref, addnodes.download_reference):
            for link in list(self.document.findall(kind)):
                if link.get("refdomain") == "py":
                    continue
                there = Path(os.path.normpath(here / link["reftarget"].split("#")[0]))
                if link.get("refdomain") == "doc":  # MyST leaves out the ending of Markdown
                    there = there.with_name(f"{there.name}.md")
                page = there.is_relative_to(DOCS) and not there.is_dir()
                if there.is_relative_to(ROOT) and there.exists() and not page:
                    new: nodes.Element = nodes.inline()
                    if REPOSITORY:
                        new = nodes.reference(refuri=f"{REPOSITORY}/blob/main/{there.relative_to(ROOT).as_posix()}")
                    new += [child.deepcopy() for inner in link.children for child in inner.children]
                    link.replace_self(new)


def setup(app: Sphinx) -> dict[str, Any]:
    """Join Sphinx."""
    app.connect("source-read", complete)
    app.connect("autodoc-process-signature", readable)
    app.connect("autodoc-process-docstring", as_written, priority=400)  # napoleon's is 500
    app.add_transform(Elsewhere)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
