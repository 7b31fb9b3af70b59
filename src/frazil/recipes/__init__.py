"""Named full runs: functions without arguments that return a `RunConfig`.

``frazil train patches:modified_vgg16`` finds one here; ``frazil train my_recipes.py:first`` in a file of your own; and
``frazil train runs/first/run.json`` takes the settings of an earlier run.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

from frazil.errors import OptionError
from frazil.learn.config import RunConfig, run_config
from frazil.untrusted import read_json


def recipe_names() -> list[str]:
    """All recipes of the package, as ``module:function``."""
    return sorted(f"{m.name}:{name}" for m in pkgutil.iter_modules(__path__) for name in _functions(_module(m.name)))


def find_recipe(name: str) -> RunConfig:
    """The run of a recipe, or of a saved ``run.json``.

    Args:
        name: ``module:function`` of this package, ``file.py:function``, or a ``.json`` file.

    Raises:
        OptionError: there is none of that name; the message lists those that there are.
    """
    if name.endswith(".json"):
        try:
            values = read_json(name)
        except (OSError, ValueError) as error:
            raise OptionError(f"{name} holds no settings of a run ({error}).") from error
        return run_config(values.get("config", values) if isinstance(values, dict) else {})
    place, _, function = name.rpartition(":")
    module = _file(Path(place)) if Path(place).is_file() else _named(Path(place).stem)
    if module is None or function not in _functions(module):
        known = recipe_names() if module is None else [f"{place}:{f}" for f in _functions(module)]
        raise OptionError(f"There is no recipe {name!r}. Choose one of {', '.join(known)}, or a file.py:function.")
    config = getattr(module, function)()
    if not isinstance(config, RunConfig):
        raise OptionError(f"Recipe {name} returns {type(config).__name__}; it should return a RunConfig.")
    return config


def _functions(module: ModuleType) -> list[str]:
    return [
        name
        for name, f in inspect.getmembers(module, inspect.isfunction)
        if f.__module__ == module.__name__ and not name.startswith("_") and not inspect.signature(f).parameters
    ]


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def _named(name: str) -> ModuleType | None:
    return _module(name) if name in [m.name for m in pkgutil.iter_modules(__path__)] else None


def _file(path: Path) -> ModuleType | None:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise OptionError(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
