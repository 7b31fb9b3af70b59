"""Words of strangers, shown without being obeyed: names of files and fields may hold what moves a terminal's cursor."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text with everything that a terminal would obey written out.

    Control characters, characters that turn the direction of writing, and bytes that are no UTF-8 become escapes;
    letters of all scripts, and line ends, stay.

    >>> printable("a" + chr(27) + "[2J") == "a" + chr(92) + "x1b[2J"
    True
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)
