"""Which products a batch is to map: products, folders of them, and lists."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from frazil.errors import OptionError, ProductNotFoundError
from frazil.files import replaced_file
from frazil.products import READERS
from frazil.untrusted import read_bytes

SOURCES_FILE = "sources.txt"
_OF_SEARCH = ".json#"
_LIST_BYTES = 64 * 2**20
_ENDS = (".SAFE", ".safe", ".zip", ".ZIP")
#: Files that a folder of a product holds itself.
_SIGNS = ("manifest.safe", "product.xml", "metadata/product.xml")
#: Names of products; what bears one is taken for one, so that a damaged one is told and not passed over.
_NAMED = re.compile(r"S1[A-Z]_|RS2_|RCM\d_", re.IGNORECASE)
_PART = (".part", ".tmp", ".incomplete")
_REMOTE = re.compile(r"(https?|s3)://", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class MapTask:
    """One product to map.

    Attributes:
        id: the product's name, which its map's folder gets.
        source: its path or address; of a search ``FILE#NAME``, which is fetched first.
        connections: of those that are fetched, at a time: archives allow four in all.
        keep: whether what was fetched stays when it is mapped.
    """

    id: str
    source: str
    connections: int = 1
    keep: bool = False

    @property
    def search(self) -> tuple[str, str] | None:
        """The file of the search and the name of the product in it; None of others."""
        file, mark, name = self.source.rpartition(_OF_SEARCH)
        return (file + ".json", name) if mark and not _REMOTE.match(self.source) else None


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A part of all products, the same on every machine: 1/4 and 2/4 share none.

    Attributes:
        number: 1 to ``of``.
        of: how many parts there are.
    """

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise OptionError(f"Shard {self.number}/{self.of} is none: the first number runs from 1 to the second.")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``"2/8"``; raises OptionError."""
        number, slash, of = text.partition("/")
        if not (slash and number.isascii() and of.isascii() and number.isdigit() and of.isdigit()):
            raise OptionError(f"Shard {text!r} is not NUMBER/OF, such as 2/8.")
        return cls(number=int(number[:9]), of=int(of[:9]))

    def has(self, name: str) -> bool:
        """Whether a product is of this part; by a checksum of its name, so that nobody need know the others."""
        return zlib.crc32(name.encode("utf-8", "surrogateescape")) % self.of == self.number - 1

    @property
    def name(self) -> str:
        """Of its journal."""
        return "all" if self.of == 1 else f"shard-{self.number}-of-{self.of}"


def find_products(
    sources: Sequence[str | os.PathLike[str]], *, connections: int = 1, keep: bool = False
) -> tuple[tuple[MapTask, ...], tuple[str, ...]]:
    """The products that sources name, by id, and what is to be said of them.

    A source is a product (folder, zip, address), a folder in which products lie at any depth, a search of
    `frazil find` (.json), or a text file with a source a line, relative to it. What lies in folders and is no product
    is passed over without a word; so are folders in the making (``.part``). Of products of one name the first is taken,
    and of a Sentinel-1 product and its cloud-optimised twin, which differ in the last four letters, the one without
    ``_COG``.

    Args:
        sources: see above.
        connections: at a time, of each worker that fetches products of a search.
        keep: keep what was fetched.

    Raises:
        ProductNotFoundError: a source that is not there, or holds no product.
    """
    found: dict[str, MapTask] = {}
    notes: list[str] = []
    for source in sources:
        before = len(found)
        seen = 0
        for path in _products_of(source):
            task = MapTask(id=product_name(path), source=path, connections=connections, keep=keep)
            seen += 1
            if task.id in found and _same(found[task.id].source, path):
                continue
            if task.id in found:
                notes.append(f"{path} has the name of {found[task.id].source}; left out.")
            else:
                found[task.id] = task
        if not seen and len(found) == before:
            raise ProductNotFoundError(
                f"{source} holds no product. Give products, a folder of them, or a text file with a path a line."
            )
    twins = _twins(found)
    for twin, kept in twins:
        notes.append(f"{found.pop(twin).source} is the cloud-optimised twin of {found[kept].source}; left out.")
    return tuple(found[name] for name in sorted(found)), tuple(notes)


def remember_sources(root: Path, sources: Sequence[str | os.PathLike[str]]) -> None:
    """Keep what a batch was given in its archive, for ``--resume``; paths become absolute."""
    words = [str(s) if _REMOTE.match(str(s)) else str(Path(s).absolute()) for s in sources]
    with replaced_file(root / SOURCES_FILE) as part:
        part.write_text("".join(f"{word}\n" for word in words), encoding="utf-8", errors="surrogateescape")


def remembered_sources(root: Path) -> tuple[str, ...]:
    """What a batch was given last.

    Raises:
        ProductNotFoundError: nothing is remembered.
    """
    try:
        text = read_bytes(root / SOURCES_FILE, _LIST_BYTES).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise ProductNotFoundError(
            f"{root} does not tell which products it is of ({SOURCES_FILE}). Give them."
        ) from error
    return tuple(line for line in text.splitlines() if line)


def product_name(source: str | os.PathLike[str]) -> str:
    """What a product's map is called: the product's name, without endings and what file systems do not take."""
    if _OF_SEARCH in str(source) and not _REMOTE.match(str(source)):
        source = str(source).rpartition("#")[2]
    name = str(source).rstrip("/").rpartition("/")[2] if _REMOTE.match(str(source)) else _absolute(source).name
    if name.lower() in ("manifest.safe", "product.xml"):
        name = _absolute(source).parent.name
    for _ in range(2):  # NAME.SAFE.zip
        for end in _ENDS:
            name = name.removesuffix(end)
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:150].lstrip(".") or "product"


def _absolute(source: str | os.PathLike[str]) -> Path:
    """Without ``..``, and with links as they are called."""
    return Path(os.path.abspath(source))  # noqa: PTH100 - resolve() would follow links


def _products_of(source: str | os.PathLike[str]) -> Iterator[str]:
    if _REMOTE.match(str(source)):
        yield str(source)
        return
    path = Path(source)
    if not path.exists():
        raise ProductNotFoundError(f"{source} is not there. Give products, a folder of them, or a list (.txt).")
    if path.is_file() and path.suffix.lower() == ".txt":
        yield from _listed(path)
    elif path.is_file() and path.suffix.lower() == ".json":
        from frazil.providers.search import load_search

        yield from (f"{_absolute(path)}#{one.name}" for one in load_search(path))
    elif path.is_dir():
        yield from _in_folder(path)
    elif is_product(path):
        yield str(path.absolute())


def _listed(path: Path) -> Iterator[str]:
    try:
        lines = read_bytes(path, _LIST_BYTES).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ProductNotFoundError(f"{path} is no list of products, UTF-8 with a path a line ({error}).") from error
    for line in lines:
        words = line.strip()
        if words and not words.startswith("#"):
            if words.lower().endswith(".txt"):
                raise ProductNotFoundError(f"{path} lists {words}, which is a list itself. List products and folders.")
            yield from _products_of(words if _REMOTE.match(words) else path.parent / words)


def _walked(folder: Path) -> Iterator[str]:
    """Products below a folder, in the order of their names; it is not looked into products."""
    try:
        inside = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in inside:
        if entry.name.startswith(".") or entry.name.endswith(_PART):
            continue
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False) or (entry.is_dir() and any((path / sign).exists() for sign in _SIGNS)):
            yield from _in_folder(path)
        elif entry.is_file() and path.suffix.lower() == ".zip" and (_NAMED.match(entry.name) or is_product(path)):
            yield str(path.absolute())


def _in_folder(path: Path) -> Iterator[str]:
    """A folder that is a product, or the products in it."""
    if path.suffix.upper() == ".SAFE" or (any((path / sign).exists() for sign in _SIGNS) and is_product(path)):
        yield str(path.absolute())
        return
    inside = list(_walked(path))
    if not inside and is_product(path):  # of a layout that only its reader knows
        inside = [str(path.absolute())]
    yield from inside


def is_product(path: Path) -> bool:
    """Whether a product lies there, sound or not."""
    return any(reader.opens(path) for reader in READERS)


def _same(one: str, other: str) -> bool:
    if _OF_SEARCH in one:
        return _OF_SEARCH in other  # two searches that found the same product
    return Path(one).resolve() == Path(other).resolve() if not _REMOTE.match(one) else one == other


def _twins(found: dict[str, MapTask]) -> list[tuple[str, str]]:
    """Cloud-optimised products whose original is there, too: their ids."""
    originals = {name[:-5]: name for name in found if re.fullmatch(r"S1.*_[0-9A-F]{4}", name)}
    cogs = [name for name in found if re.fullmatch(r"S1.*_[0-9A-F]{4}_COG", name)]
    return [(name, originals[name[:-9]]) for name in cogs if name[:-9] in originals]
