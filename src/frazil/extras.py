"""Packages that frazil does not need for everything: whether they are there, and what to say where they are not."""

from __future__ import annotations

from importlib.util import find_spec

from frazil.errors import MissingDependencyError

FAST, LEARN = "pip install 'frazil[fast]'", "pip install 'frazil[learn]'"
_LEARN = ("torch", "safetensors", "pydantic", "tensorboardX")  # the extra `learn` of pyproject.toml


def installed(name: str) -> bool:
    """Whether a package can be imported, without importing it."""
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def missing(error: ImportError) -> MissingDependencyError | None:
    """What to say of a module that could not be imported, where it is of the extra ``learn``; None where it is not."""
    lacking = str(error.name).partition(".")[0]
    if isinstance(error, MissingDependencyError) or lacking not in _LEARN:
        return None
    names = [name for name in _LEARN if name == lacking or not installed(name)]
    return MissingDependencyError(
        f"This needs {', '.join(names)}, which {'is' if len(names) == 1 else 'are'} not installed. "
        f"Install PyTorch as you want it, then frazil with its extra: {LEARN}."
    )
