"""torchvision as an independent opinion, also where its compiled operators do not fit the installed torch.

Its networks use none of these operators, but importing it registers gradients for them: where the compiled ones cannot
be loaded, operators of the same names without a body are declared first.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

_FORWARD = ("nms", "qnms", "qroi_align")
_BOTH = ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d")
_declared: list[torch.library.Library] = []  # a declaration lasts as long as its Library


def torchvision_models() -> ModuleType:
    """``torchvision.models``; the test skips where torchvision is not installed."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        pytest.skip("torchvision is not installed")
    if not _declared and not _operators_load(Path(spec.origin).parent):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in (*_FORWARD, *_BOTH, *(f"_{name}_backward" for name in _BOTH)):
            library.define(f"{name}(Tensor x) -> Tensor")
        _declared.append(library)
    return importlib.import_module("torchvision.models")


def _operators_load(folder: Path) -> bool:
    try:
        for path in folder.glob("_C*"):
            torch.ops.load_library(str(path))
            return True
    except (OSError, ImportError):
        pass
    return False
