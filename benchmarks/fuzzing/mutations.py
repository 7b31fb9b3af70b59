"""What is done to an input: to its bytes, and to what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

Mutation = Callable[[Path, np.random.Generator], str]

NUMBER = re.compile(rb"(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w])")
STRANGE_NUMBERS = (
    b"nan",
    b"inf",
    b"-inf",
    b"1e308",
    b"-1e308",
    b"1e-308",
    b"0",
    b"-0.0",
    b"-1",
    b"9" * 40,
    b"1,5",
    b"",
    b"x",
    b"0x10",
    b"18446744073709551616",
    b"1_0",
)
TEXT = (".xml", ".safe", ".json", ".geojson", ".prj", ".txt", ".csv", ".aux", ".md")


def files(root: Path) -> list[Path]:
    """Every file of an input."""
    return [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink())


def one(root: Path, rng: np.random.Generator, *suffixes: str) -> Path | None:
    """Some file; the small ones as often as the large ones."""
    found = [p for p in files(root) if not suffixes or p.suffix.lower() in suffixes]
    return found[int(rng.integers(len(found)))] if found else None


def _edit(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def flip(root: Path, rng: np.random.Generator) -> str:
    """A few bits."""
    path = one(root, rng)
    data = bytearray(path.read_bytes()) if path else bytearray()
    if not path or not data:
        return ""
    for _ in range(int(rng.integers(1, 9))):
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    _edit(path, bytes(data))
    return path.name


def flip_head(root: Path, rng: np.random.Generator) -> str:
    """Bytes of the first kilobyte, where formats keep their sizes and offsets."""
    path = one(root, rng)
    data = bytearray(path.read_bytes()) if path else bytearray()
    if not path or not data:
        return ""
    for _ in range(int(rng.integers(1, 5))):
        data[int(rng.integers(min(len(data), 1024)))] = int(rng.integers(256))
    _edit(path, bytes(data))
    return path.name


def overwrite_run(root: Path, rng: np.random.Generator) -> str:
    """A run of zeros, ones or noise."""
    path = one(root, rng)
    data = bytearray(path.read_bytes()) if path else bytearray()
    if not path or not data:
        return ""
    start = int(rng.integers(len(data)))
    n = min(int(rng.integers(1, 4096)), len(data) - start)
    data[start : start + n] = (bytes(n), b"\xff" * n, rng.bytes(n))[int(rng.integers(3))]
    _edit(path, bytes(data))
    return path.name


def cut(root: Path, rng: np.random.Generator) -> str:
    """The end is missing."""
    path = one(root, rng)
    if not path:
        return ""
    with path.open("r+b") as file:
        file.truncate(int(rng.integers(path.stat().st_size + 1)))
    return path.name


def extend(root: Path, rng: np.random.Generator) -> str:
    """Something follows the end."""
    path = one(root, rng)
    if not path:
        return ""
    with path.open("ab") as file:
        file.write(rng.bytes(int(rng.integers(1, 5000))))
    return path.name


def swap_blocks(root: Path, rng: np.random.Generator) -> str:
    """Two blocks change places."""
    path = one(root, rng)
    data = path.read_bytes() if path else b""
    if not path or len(data) < 64:
        return ""
    n = int(rng.integers(8, max(len(data) // 4, 9)))
    a, b = sorted(int(v) for v in rng.integers(0, len(data) - n, 2))
    if b < a + n:
        return ""
    _edit(path, data[:a] + data[b : b + n] + data[a + n : b] + data[a : a + n] + data[b + n :])
    return path.name


def drop_file(root: Path, rng: np.random.Generator) -> str:
    """A file is missing."""
    path = one(root, rng)
    if path:
        path.unlink()
    return path.name if path else ""


def empty_file(root: Path, rng: np.random.Generator) -> str:
    """A file of zero bytes."""
    path = one(root, rng)
    if path:
        _edit(path, b"")
    return path.name if path else ""


def swap_files(root: Path, rng: np.random.Generator) -> str:
    """Two files of one kind change places."""
    path = one(root, rng)
    others = [p for p in files(root) if path and p.suffix == path.suffix and p != path]
    if not path or not others:
        return ""
    other = others[int(rng.integers(len(others)))]
    a, b = path.read_bytes(), other.read_bytes()
    _edit(path, b)
    _edit(other, a)
    return f"{path.name} and {other.name}"


def copy_file(root: Path, rng: np.random.Generator) -> str:
    """A file is in the place of another."""
    path = one(root, rng)
    others = [p for p in files(root) if path and p.suffix == path.suffix and p != path]
    if not path or not others:
        return ""
    other = others[int(rng.integers(len(others)))]
    _edit(other, path.read_bytes())
    return f"{path.name} over {other.name}"


def odd_file(root: Path, rng: np.random.Generator) -> str:
    """A pipe, a folder, a device, or a link outside in the place of a file."""
    path = one(root, rng)
    if not path:
        return ""
    path.unlink()
    kind = int(rng.integers(5))
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    elif kind == 2:
        path.symlink_to("/dev/zero")
    elif kind == 3:
        path.symlink_to(os.environ["FUZZ_PRECIOUS"])
    else:
        path.symlink_to(path.name)
    return f"{path.name}, kind {kind}"


def number(root: Path, rng: np.random.Generator) -> str:
    """A number of a text becomes another, or none."""
    path = one(root, rng, *TEXT)
    data = path.read_bytes() if path else b""
    found = list(NUMBER.finditer(data))
    if not path or not found:
        return ""
    at = found[int(rng.integers(len(found)))]
    if rng.random() < 0.5:
        new = STRANGE_NUMBERS[int(rng.integers(len(STRANGE_NUMBERS)))]
    else:
        new = repr(float(at.group()) * float(10 ** rng.uniform(-3, 3)) * (1 if rng.random() < 0.8 else -1)).encode()
        if b"." not in at.group():
            new = str(round(float(new))).encode() if abs(float(new)) < 1e300 else b"9" * 300
    _edit(path, data[: at.start()] + new + data[at.end() :])
    return f"{path.name}: {at.group()[:40].decode()} → {new[:40].decode()}"


def many_numbers(root: Path, rng: np.random.Generator) -> str:
    """Every tenth number of a text, stretched alike."""
    path = one(root, rng, *TEXT)
    if not path:
        return ""
    factor, count = float(10 ** rng.uniform(-2, 2)), 0

    def change(match: re.Match[bytes]) -> bytes:
        nonlocal count
        count += 1
        return repr(float(match.group()) * factor).encode() if count % 10 == 0 else match.group()

    _edit(path, NUMBER.sub(change, path.read_bytes()))
    return f"{path.name} × {factor:.3g}"


def lines(root: Path, rng: np.random.Generator) -> str:
    """Lines of a text are dropped, doubled or out of order."""
    path = one(root, rng, *TEXT)
    parts = path.read_bytes().split(b"\n") if path else []
    if not path or len(parts) < 4:
        return ""
    i, j = (int(v) for v in rng.integers(len(parts), size=2))
    kind = int(rng.integers(3))
    if kind == 0:
        del parts[i]
    elif kind == 1:
        parts.insert(j, parts[i])
    else:
        parts[i], parts[j] = parts[j], parts[i]
    _edit(path, b"\n".join(parts))
    return f"{path.name}, kind {kind}"


def elements(root: Path, rng: np.random.Generator) -> str:
    """An element of an XML file is dropped, doubled or emptied."""
    path = one(root, rng, ".xml", ".safe")
    data = path.read_bytes() if path else b""
    found = list(re.finditer(rb"<([A-Za-z:]+)(?:\s[^<>]*)?>[^<>]*</\1>", data))
    if not path or not found:
        return ""
    at = found[int(rng.integers(len(found)))]
    kind = int(rng.integers(3))
    tag = at.group(1)
    new = (b"", at.group() * 2, b"<" + tag + b"></" + tag + b">")[kind]
    _edit(path, data[: at.start()] + new + data[at.end() :])
    return f"{path.name}: {tag.decode()}, kind {kind}"


def words(root: Path, rng: np.random.Generator) -> str:
    """A string of a JSON or XML file becomes a hostile one."""
    path = one(root, rng, ".json", ".xml", ".safe", ".geojson")
    data = path.read_bytes() if path else b""
    found = list(re.finditer(rb'"([^"\\]{1,60})"|>([^<>\s]{1,60})<', data))
    if not path or not found:
        return ""
    at = found[int(rng.integers(len(found)))]
    group = 1 if at.group(1) is not None else 2
    url = os.environ.get("FUZZ_URL", "http://127.0.0.1:9/").encode()
    hostile = (
        url,
        b"file://" + os.environ["FUZZ_PRECIOUS"].encode(),
        b"../../../../etc/passwd",
        b"/vsicurl/" + url,
        b"\\u001b[2J",
        b"",
        b"A" * 20_000,
        b"&#0;",
        b"\xff\xfe",
        b"%s%n",
        b"NaN",
        b"null",
    )
    new = hostile[int(rng.integers(len(hostile)))]
    _edit(path, data[: at.start(group)] + new + data[at.end(group) :])
    return f"{path.name}: {at.group(group)[:30].decode('utf-8', 'replace')} → {new[:30]!r}"


def json_value(root: Path, rng: np.random.Generator) -> str:
    """A value somewhere in a JSON file becomes one of another type or size."""
    path = one(root, rng, ".json", ".geojson")
    if not path:
        return ""
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError):  # another mutation came first
        return ""
    places: list[tuple[dict | list, str | int]] = []

    def walk(node: object, depth: int = 0) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in list(items)[:500]:
            places.append((node, key))  # type: ignore[arg-type]
            if depth < 12:
                walk(value, depth + 1)

    walk(values)
    if not places:
        return ""
    node, key = places[int(rng.integers(len(places)))]
    deep: object = 1
    for _ in range(500):
        deep = [deep]
    strange = (
        None,
        True,
        0,
        -1,
        1e308,
        float("nan"),
        10**30,
        "",
        "x",
        [],
        {},
        [1, 2, 3],
        {"a": 1},
        deep,
        "é\x00\x1b[2J",
    )
    new = strange[int(rng.integers(len(strange)))]
    if rng.random() < 0.2:
        del node[key]  # type: ignore[arg-type]
    else:
        node[key] = new  # type: ignore[index, call-overload]
    path.write_text(json.dumps(values))
    return f"{path.name}: {key} → {str(new)[:30]}"


BYTES: tuple[Mutation, ...] = (flip, flip_head, overwrite_run, cut, extend, swap_blocks, empty_file)
TREES: tuple[Mutation, ...] = (drop_file, swap_files, copy_file, odd_file)
MEANING: tuple[Mutation, ...] = (number, number, many_numbers, lines, elements, words, json_value)


def copy_input(source: Path, target: Path) -> Path:
    """A fresh copy of a pristine input."""
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target)
    return target
