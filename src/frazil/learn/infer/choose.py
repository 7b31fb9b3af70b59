"""Which of the engines computes.

OpenVINO is a tenth of PyTorch's size and knows the two networks of `frazil.learn.map_shapes`; PyTorch runs them all.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TypedDict

from frazil.errors import MissingDependencyError, OptionError
from frazil.extras import FAST, LEARN, installed
from frazil.learn.checkpoint import Model, require_torch
from frazil.learn.infer.engine import ENGINES, PRECISION_NAMES, Engine
from frazil.learn.map_shapes import MAP_SHAPES


class EngineSettings(TypedDict, total=False):
    """What `engine_for` takes."""

    engine: str
    function: str
    stride: int | None
    device: str | None
    precision: str


def engine_for(
    model: Model,
    *,
    engine: str = "auto",
    function: str = "auto",
    stride: int | None = None,
    device: str | None = None,
    precision: str = "float32",
) -> Engine:
    """The engine that maps scenes with a model.

    Args:
        model: of a segmentation network, a patch classifier, or an ensemble of either.
        engine: ``"torch"``, ``"openvino"``, or ``"auto"``: OpenVINO on the CPU, where it is installed, knows the
            network, and the model is as it was read from its files; PyTorch otherwise.
        function: of a patch classifier, see `frazil.learn.infer.dense.make_engine`.
        stride: likewise.
        device: ``"cpu"``, ``"cuda"``; by default CUDA where there is one.
        precision: ``"float32"`` or ``"bfloat16"``.

    Raises:
        OptionError: an unknown engine or precision, or settings that the engine does not take.
        ModelError: the engine does not know the network.
        MissingDependencyError: the package of the engine is not installed; with ``"auto"``, that of none.
    """
    for what, given, known in (("engine", engine, ENGINES), ("precision", precision, PRECISION_NAMES)):
        if given not in known:
            raise OptionError(f"{what} {given!r} is not one of {sorted(known)}.")
    if engine == "auto":
        engine = _usual(model, device, precision)
    if engine == "torch":
        require_torch("The engine torch")
        from frazil.learn.infer.dense import make_engine

        return make_engine(model.network, function=function, stride=stride, device=device, precision=precision)
    if not installed("openvino"):
        raise MissingDependencyError(f"The engine openvino is not installed: {FAST}. Or take engine 'torch'.")
    from frazil.learn.infer.openvino_engine import OpenVINOEngine

    if device not in (None, "cpu"):
        raise OptionError(f"The engine openvino computes on the CPU, not on {device!r}. Take engine 'torch'.")
    if stride is not None or function != "auto":
        raise OptionError("The engine openvino classifies every pixel at once; stride and function are for patches.")
    return OpenVINOEngine(model, precision=precision)


def _usual(model: Model, device: str | None, precision: str) -> str:
    """The name of the engine that nobody chose."""
    known = model.card.architecture in MAP_SHAPES
    openvino, torch = known and installed("openvino"), installed("torch")
    if known and not openvino and not torch:
        raise MissingDependencyError(
            f"Maps need OpenVINO or PyTorch, and neither is installed: {FAST} for maps alone, {LEARN} for all networks."
        )
    if not openvino or model.is_built:
        return "torch"
    if not torch:
        return "openvino"
    on_cpu = device == "cpu" or (device is None and not _cuda_is_there())
    if on_cpu and precision == "bfloat16":
        from frazil.learn.infer.openvino_engine import knows_bfloat16

        return "openvino" if knows_bfloat16() else "torch"
    return "openvino" if on_cpu else "torch"


def _cuda_is_there() -> bool:
    """Whether PyTorch, where it is installed, has a CUDA device; not asked of a build without CUDA, for it is slow."""
    try:
        if version("torch").endswith("+cpu"):
            return False
    except PackageNotFoundError:
        pass
    import torch

    return bool(torch.cuda.is_available())
