"""Write docs/reference/api from the list of public names. A test fails when the pages are out of date.

The pages list names with the first sentence of what they do, for readers on a forge; `conf.py` puts the whole
docstrings behind when the site is built.
"""

import ast
import inspect
import re
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pathlib import Path

import frazil

FOLDER = Path(__file__).parent / "reference" / "api"
INDEX = FOLDER.with_suffix(".md")
ERRORS = "errors"
#: Page -> its title, a sentence, and the modules or rooms whose public names stand on it; the longest prefix wins.
GROUPS = {
    "products": (
        "Products and scenes",
        "From an archive to calibrated backscatter, simulated or real.",
        ["frazil.products", "frazil.providers", "frazil.simulate", "frazil.conventions"],
    ),
    "ice": (
        "Maps of sea ice",
        "From a scene to a map, and from a map to edges, polygons, concentrations and files.",
        ["frazil.learn.predict.ice", "frazil.learn.checkpoint", "frazil.maps", "frazil.motion"],
    ),
    "phenomena": (
        "Phenomena of sea and air",
        "Maps and masks of what is no ice, the imagettes that teach them, and where they occur.",
        [
            "frazil.learn.predict.phenomena",
            "frazil.learn.predict.imagettes",
            "frazil.labels.imagettes",
            "frazil.labels.imagettes_products",
            "frazil.maps.occurrences",
            "frazil.maps.phenomena_figures",
            "frazil.maps.segment_files",
            "frazil.simulate.imagettes",
        ],
    ),
    "charts": (
        "Charts and risk",
        "Regions with egg codes, read, made, drawn and exchanged, and what a ship risks in them.",
        ["frazil.charts", "frazil.labels.chart"],
    ),
    "learning": (
        "Learning",
        "From labels to a network, its scores and its report.",
        ["frazil.labels", "frazil.learn", "frazil.reports"],
    ),
    "archive": (
        "Archives",
        "Many products to many maps; what they hold, what they amount to, and how ice moved between them.",
        ["frazil.archive"],
    ),
    "desk": (
        "The desk's learning",
        "A scene in cells, taught by a few labels, as `frazil desk` does it.",
        ["frazil.learn.cells"],
    ),
}
#: Public names whose first home says little of their group.
PLACED = {"phenomena_polygons": "phenomena", "compare": "ice"}


@cache
def names() -> dict[str, list[str]]:
    """Public names of every page, in order of the alphabet.

    Raises:
        LookupError: a public name whose home belongs to no page.
    """
    found: dict[str, list[str]] = {page: [] for page in GROUPS}
    for name in frazil.__all__:
        if name.startswith("_"):
            continue
        home = frazil._HOME[name]
        fits = [
            (len(prefix), page)
            for page, (_, _, prefixes) in GROUPS.items()
            for prefix in prefixes
            if home == prefix or home.startswith(f"{prefix}.")
        ]
        if not fits:
            raise LookupError(f"frazil.{name} of {home} belongs to no page: add its room to GROUPS of {__file__}.")
        found[PLACED.get(name, max(fits)[1])].append(name)
    return found


@cache
def companions() -> dict[str, list[str]]:
    """Classes of frazil that signatures on a page name, as MODULE.NAME; each on the first page that needs it."""
    seen: set[str] = set()
    found: dict[str, list[str]] = {}
    for page, public in names().items():
        mine = {home for name in public for home in _named_in_signature(name)} - seen
        seen |= mine
        found[page] = sorted(mine, key=lambda home: home.rpartition(".")[2])
    return found


def _named_in_signature(name: str) -> Iterable[str]:
    home = import_module(frazil._HOME[name])
    signature = inspect.signature(getattr(frazil, name))
    notes = [p.annotation for p in signature.parameters.values()] + [signature.return_annotation]
    words = {word for note in notes for word in re.findall(r"\w+", str(note))}
    tree = ast.parse(inspect.getsource(home))
    imported = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("frazil.")
        for alias in node.names
    }
    own = {node.name: f"{home.__name__}.{node.name}" for node in tree.body if isinstance(node, ast.ClassDef)}
    for word in words & {*imported, *own}:
        where = (own | imported)[word]
        module, _, inner = where.rpartition(".")
        thing = getattr(import_module(module), inner, None)
        if inspect.isclass(thing):
            yield f"{thing.__module__}.{thing.__qualname__}"  # where it was made, not where it was had from


def first_sentence(thing: object) -> str:
    """What a docstring says first, in one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def group_of(page: str) -> str | None:
    """The group whose page this is, by its path without ending; None of other pages."""
    folder, _, name = page.rpartition("/")
    return name if folder == "reference/api" and name in {*GROUPS, ERRORS} else None


def described(group: str, page: str) -> str:
    """A page as Sphinx shall read it: the whole docstrings behind, and names that lead to them."""
    if group == ERRORS:
        return page + _rst(".. automodule:: frazil.errors\n   :members:\n   :show-inheritance:")
    parts = [re.sub(r"^\| `(frazil\.\w+)` \|", r"| {py:func}`\1` |", page, flags=re.MULTILINE), "\n## Functions\n"]
    parts += [_rst(f".. autofunction:: frazil.{name}") for name in names()[group]]
    if companions()[group]:
        parts.append("\n## Settings and results\n")
        parts += [_rst(f".. autoclass:: {home}\n   :members:") for home in companions()[group]]
    return "".join(parts)


def _rst(text: str) -> str:
    return f"\n```{{eval-rst}}\n{text}\n```\n"


def pages() -> dict[Path, str]:
    """Every page with its text as Markdown."""
    made = {}
    rows = ["| page | names |", "|---|---|"]
    for page, (title, sentence, _) in GROUPS.items():
        table = ["| name | gives | stands in |", "|---|---|---|"]
        for name in names()[page]:
            home = frazil._HOME[name]
            file = f"src/{home.replace('.', '/')}.py"
            if not (FOLDER.parents[2] / file).is_file():
                file = f"src/{home.replace('.', '/')}/__init__.py"
            what = first_sentence(getattr(frazil, name)).replace("|", "\\|")
            table.append(f"| `frazil.{name}` | {what} | [{home}](../../../{file}) |")
        made[FOLDER / f"{page}.md"] = f"# {title}\n\n{sentence}\n\n" + "\n".join(table) + "\n"
        rows.append(f"| [{title}](api/{page}.md) | {', '.join(f'`{name}`' for name in names()[page])} |")
    made[FOLDER / f"{ERRORS}.md"] = (
        "# Errors\n\nEverything that frazil raises on purpose derives from `FrazilError` and says in one line what was "
        "given, what was expected, and what to do. The tree stands in [errors.py](../../../src/frazil/errors.py).\n"
    )
    rows.append(f"| [Errors](api/{ERRORS}.md) | `frazil.errors` |")
    made[INDEX] = "# Python\n\n" + INTRODUCTION + "\n" + "\n".join(rows) + "\n"
    return made


INTRODUCTION = """Written by `make docs` from the public names. They load when first used: `import frazil` takes
milliseconds, and PyTorch comes with the first verb that needs it. `make site` puts the docstrings behind: arguments,
dimensions, units, what happens at missing values, and errors.

`frazil.__version__` is the version, a text. What these pages do not name may change without notice.
"""

if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
