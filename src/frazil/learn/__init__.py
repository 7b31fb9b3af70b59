"""Networks: the only place where torch is imported."""

from importlib.util import find_spec

from frazil.errors import MissingDependencyError

_NEEDED = ("torch", "safetensors", "pydantic")  # the extra `learn` of pyproject.toml
_missing = [name for name in _NEEDED if find_spec(name) is None]
if _missing:
    raise MissingDependencyError(
        f"Networks need {', '.join(_missing)}, which {'is' if len(_missing) == 1 else 'are'} not installed. "
        "Install PyTorch as you want it, then frazil with its extra: pip install 'frazil[learn]'."
    )
