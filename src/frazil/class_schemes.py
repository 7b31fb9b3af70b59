"""What classes are, in order, and schemes with some of their phenomena left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from frazil.errors import OptionError

_WITHOUT = "-without-"


@dataclass(frozen=True, kw_only=True)
class MapClass:
    """One class of a scheme: its code in ``ice_class``, its name, the SIGRID-3 codes it covers, and its colour."""

    code: int
    name: str
    title: str
    sigrid3: tuple[str, ...]
    colour: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class ClassScheme:
    """An ordered set of classes.

    Attributes:
        name: of the scheme.
        classes: by code. Of sea ice the first one is open water.
        kind: ``"exclusive"``: one class a pixel; ``"multilabel"``: each holds for itself, several or none at one place.
    """

    name: str
    classes: tuple[MapClass, ...]
    kind: Literal["exclusive", "multilabel"] = "exclusive"

    def __post_init__(self) -> None:
        if [c.code for c in self.classes] != list(range(len(self.classes))):
            raise OptionError(f"Class scheme {self.name!r}: codes must be 0, 1, 2 … in order.")

    @property
    def names(self) -> tuple[str, ...]:
        """Machine names, by code."""
        return tuple(c.name for c in self.classes)

    @property
    def titles(self) -> tuple[str, ...]:
        """Names for people, by code."""
        return tuple(c.title for c in self.classes)

    @property
    def whole(self) -> str:
        """Name of the scheme from which classes were left out; its own if none were."""
        return self.name.partition(_WITHOUT)[0]

    def without(self, names: Iterable[str]) -> ClassScheme:
        """This scheme with classes left out; its name says which: ``metocean-without-iceberg+sea_ice``.

        Of phenomena alone. Classes of sea ice exclude each other and cover the sea between them: with one left out,
        its ice would be called something else.

        Raises:
            OptionError: an unknown name, one that stands twice, no class left, or a scheme of sea ice.
        """
        left_out = list(names)
        if not left_out:
            return self
        unknown = [name for name in left_out if name not in self.names]
        if unknown:
            raise OptionError(f"class {unknown[0]!r} is not one of {list(self.names)}, so it cannot be left out.")
        if len(set(left_out)) < len(left_out):
            raise OptionError(f"A class stands twice among those to leave out: {', '.join(left_out)}.")
        if self.kind != "multilabel":
            raise OptionError(f"Classes of {self.name!r} exclude each other: none can be left out.")
        kept = [c for c in self.classes if c.name not in left_out]
        if not kept:
            raise OptionError(f"All classes of {self.name!r} are left out. Keep one.")
        gone = sorted({*left_out, *_left_out(self.name)})
        return ClassScheme(
            name=f"{self.whole}{_WITHOUT}{'+'.join(gone)}",
            classes=tuple(replace(c, code=code) for code, c in enumerate(kept)),
            kind=self.kind,
        )


def _left_out(name: str) -> tuple[str, ...]:
    gone = name.partition(_WITHOUT)[2]
    return tuple(gone.split("+")) if gone else ()


class Schemes(dict[str, ClassScheme]):
    """Schemes by name; those of phenomena with classes left out are found by their own names, too."""

    @classmethod
    def of(cls, schemes: Iterable[ClassScheme]) -> Schemes:
        """Each under its name."""
        return cls({scheme.name: scheme for scheme in schemes})

    def __missing__(self, name: str) -> ClassScheme:
        whole, without, _ = name.partition(_WITHOUT) if isinstance(name, str) else (name, "", "")
        if not without or not super().__contains__(whole):
            raise KeyError(name)
        try:
            made = super().__getitem__(whole).without(_left_out(name))
        except OptionError as error:
            raise KeyError(name) from error
        if made.name != name:  # one name for one scheme
            raise KeyError(name)
        return made

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and self.get(name) is not None)

    def get(self, name: str, default: Any = None, /) -> Any:
        """The scheme of a name, or the default."""
        try:
            return self[name]
        except (KeyError, TypeError):
            return default
