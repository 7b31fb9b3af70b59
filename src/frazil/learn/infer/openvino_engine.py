"""The two networks that map scenes, run by OpenVINO on the CPU, straight from their weights: PyTorch is not needed.

The graph has images of any height and width. Every batch norm is folded into the convolution before it, in double
precision. The wide view is its own graph, run once a scene. Compiling both takes a fraction of a second, so nothing is
kept on disk between maps.

References:
    Ioffe, S., Szegedy, C. (2015), Batch normalization: accelerating deep network training by reducing internal
    covariate shift. ICML 2015: at inference a batch norm is one scale and one shift a channel.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from frazil.errors import MissingDependencyError, ModelError, OptionError
from frazil.extras import FAST
from frazil.learn.checkpoint import Model
from frazil.learn.infer.engine import filled
from frazil.learn.map_shapes import MAP_SHAPES, UNetConfig, has_wide_view, map_shape, outline

_EPS = 1e-5  # that every batch norm of these networks adds to a variance
_PRECISION = {"float32": "f32", "bfloat16": "bf16"}
# A slope of 0 below 0, but for numbers that are not finite: OpenVINO's ReLU makes NaN 0, and weights that overflow
# would give a map like any other. Added to numbers of ordinary size, float32 does not see it.
_SLOPE = np.array([1e-30], np.float32)
# A step after the last convolution that changes nothing: what follows convolutions stays float32 where they are
# bfloat16, and OpenVINO joins this step to the convolution, whose logits are then not rounded to three digits.
_NO_SLOPE = np.array([np.nextafter(np.float32(1), np.float32(0))])
_QUIET = "openvino.tools.ovc"  # the converter of models


class OpenVINOEngine:
    """OpenVINO on the CPU, batch norm folded. An `Engine`.

    Args:
        model: of an architecture of `frazil.learn.map_shapes`.
        precision: of the arithmetic, ``"float32"`` or ``"bfloat16"``; the wide view is float32 in both.

    Raises:
        OptionError: bfloat16 on a processor without it.
        ModelError: an architecture that it does not know, or a network that is not what its card says.
        MissingDependencyError: OpenVINO cannot be imported.
    """

    def __init__(self, model: Model, *, precision: str = "float32") -> None:
        shape, weights = _checked(model)
        if precision == "bfloat16" and not knows_bfloat16():
            raise OptionError("This processor has no bfloat16. Take precision 'float32'.")
        self.stride, self.margin, self.cell, self.view = shape.stride, shape.margin, 1, shape.view
        self.output = "softmax"
        self._stages = len(shape.wide_widths) if has_wide_view(shape) else 0
        self._features: np.ndarray | None = None
        graph = _Graph(weights)
        self._run = _compiled(graph.fine(shape, len(model.card.channels)), precision)
        # The wide view in float32 always: it is cheap, and every pixel of a cell would share its error.
        self._look = _compiled(graph.wide(shape, len(model.card.channels)), "float32") if self._stages else None

    def look(self, wide: np.ndarray) -> None:
        """See `Engine`."""
        if self._look is None:
            return
        rows, columns = wide.shape[1:]
        multiple = 2 ** (self._stages - 1)
        padded = np.pad(wide, ((0, 0), (0, -rows % multiple), (0, -columns % multiple)))
        self._features = self._look(padded)[:, :rows, :columns]

    def __call__(self, image: np.ndarray, corner: tuple[int, int] = (0, 0), /) -> np.ndarray:
        """See `Engine`."""
        lines, pixels = image.shape[1:]
        image = filled(image, self.stride)
        if self._look is None:
            return self._run(image)[:, :lines, :pixels]
        assert self._features is not None, "look() comes first"
        return self._run(image, self._under(image, corner))[:, :lines, :pixels]

    def _under(self, image: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
        """The features of the wide view that lie under an image; zero beyond the scene."""
        assert self._features is not None
        height, width = (n // self.view for n in image.shape[1:])
        line, pixel = (n // self.view for n in corner)
        part = self._features[:, line : line + height, pixel : pixel + width]
        return np.pad(part, ((0, 0), (0, height - part.shape[1]), (0, width - part.shape[2])))


def _checked(model: Model) -> tuple[UNetConfig, Mapping[str, np.ndarray]]:
    """Shape and weights of a model; a network that somebody made must be what the card says."""
    card = model.card
    if card.architecture not in MAP_SHAPES:
        raise ModelError(
            f"The engine openvino knows networks of {sorted(MAP_SHAPES)}, and model {card.id} is of "
            f"{card.architecture!r}. Take engine 'torch'."
        )
    shape, weights = map_shape(card.architecture, card.settings), model.weights
    expected = {name: size for name, (size, _) in outline(shape, len(card.channels), len(card.scheme.classes)).items()}
    same = {name: value.shape for name, value in weights.items()} == expected
    if same and model.is_built:
        of_network = (getattr(model.network, name, 1) for name in ("stride", "margin", "view"))
        same = tuple(of_network) == (shape.stride, shape.margin, shape.view)
    if not same:
        raise ModelError(f"The network of model {card.id} is not what its card says. Take engine 'torch'.")
    return shape, weights


@cache
def _openvino() -> Any:
    """The package, imported without its converter of models, which reports to its makers that it was imported."""
    there = _QUIET in sys.modules
    sys.modules.setdefault(_QUIET, None)  # type: ignore[arg-type] # an import of it now fails, which openvino expects
    try:
        import openvino
        from openvino import opset13
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            f"OpenVINO cannot be imported ({error}): {FAST}, or take engine 'torch'."
        ) from error
    finally:
        if not there:
            del sys.modules[_QUIET]
    assert opset13 is openvino.opset13
    return openvino


@cache
def _core() -> Any:
    return _openvino().Core()


def knows_bfloat16() -> bool:
    """Whether this processor computes in bfloat16."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class _Compiled:
    """A graph that takes arrays (channel, height, width) and gives one."""

    def __init__(self, request: Any) -> None:
        self.request = request

    def __call__(self, *images: np.ndarray) -> np.ndarray:
        given = [np.ascontiguousarray(image[None], np.float32) for image in images]
        found: np.ndarray = self.request.infer(given, share_inputs=True)[0][0]
        return found


def _compiled(graph: Any, precision: str) -> _Compiled:
    settings: dict[str, object] = {
        "INFERENCE_PRECISION_HINT": _PRECISION[precision],  # its own choice would be bfloat16 where there is any
        "EXECUTION_MODE_HINT": "ACCURACY" if precision == "float32" else "PERFORMANCE",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # scenes are read and maps prepared beside it
    }
    threads = os.environ.get("OMP_NUM_THREADS", "")  # as PyTorch and numba
    if threads.isdecimal() and int(threads) > 0:
        settings["INFERENCE_NUM_THREADS"] = int(threads)
    return _Compiled(_core().compile_model(graph, "CPU", settings).create_infer_request())


class _Graph:
    """The networks as graphs of OpenVINO; nodes are (1, channel, height, width).

    Args:
        weights: as `frazil.learn.map_shapes.outline` names them.
    """

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self.weights, self.ops = weights, _openvino().opset13

    def fine(self, shape: UNetConfig, n_channels: int) -> Any:
        """Logits of an image, given the features of the wide view where there is one."""
        ops = self.ops
        image = ops.parameter([1, n_channels, -1, -1], np.float32)
        also, given = {}, [image]
        if has_wide_view(shape):
            also[shape.wide_stage] = ops.parameter([1, shape.widths[shape.wide_stage], -1, -1], np.float32)
            given += also.values()
        # "depth_first" is the order of channels of PyTorch's pixel_unshuffle and pixel_shuffle.
        x = ops.space_to_depth(image, "depth_first", shape.patch) if shape.patch > 1 else image
        x = self._convolution(self._down_and_up(x, "", len(shape.widths), also), "head")
        x = ops.prelu(x, _NO_SLOPE)
        if shape.patch > 1:
            x = ops.depth_to_space(x, "depth_first", shape.patch)
        return _openvino().Model([x], given, "fine")

    def wide(self, shape: UNetConfig, n_channels: int) -> Any:
        """Features of the wide view of a scene."""
        assert has_wide_view(shape)
        view = self.ops.parameter([1, n_channels, -1, -1], np.float32)
        x = self._convolution(self._down_and_up(view, "wide_", len(shape.wide_widths), {}), "merge")
        return _openvino().Model([x], [view], "wide")

    def _down_and_up(self, x: Any, prefix: str, stages: int, also: Mapping[int, Any]) -> Any:
        ops, skips = self.ops, []
        for i in range(stages):
            if i:
                x = ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
            x = self._double_convolution(x, f"{prefix}encoder.{i}")
            x = ops.add(x, also[i]) if i in also else x
            skips.append(x)
        x = skips.pop()
        for i in reversed(range(stages - 1)):
            x = self._twice(self._convolution(x, f"{prefix}reduce.{i}"))
            x = self._double_convolution(ops.add(x, skips[i]), f"{prefix}decoder.{i}")
        return x

    def _twice(self, x: Any) -> Any:
        """Every pixel as four."""
        return self.ops.interpolate(
            x,
            np.array([2, 2], np.float32),
            "nearest",
            "scales",
            axes=np.array([2, 3], np.int64),
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def _double_convolution(self, x: Any, name: str) -> Any:
        for conv, norm in ((0, 1), (3, 4)):
            kernel, shift = _folded(self.weights, f"{name}.{conv}", f"{name}.{norm}")
            x = self.ops.prelu(self._with(x, kernel, shift, pad=1), _SLOPE)
        return x

    def _convolution(self, x: Any, name: str) -> Any:
        return self._with(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], pad=0)

    def _with(self, x: Any, kernel: np.ndarray, shift: np.ndarray, *, pad: int) -> Any:
        made = self.ops.convolution(x, kernel, [1, 1], [pad, pad], [pad, pad], [1, 1])
        return self.ops.add(made, shift[None, :, None, None])


def _folded(weights: Mapping[str, np.ndarray], conv: str, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and shift of a convolution without bias and the batch norm after it, as one convolution, float32."""
    kernel, gain, beta, mean, variance = (
        weights[name].astype(np.float64)
        for name in (f"{conv}.weight", *(f"{norm}.{w}" for w in ("weight", "bias", "running_mean", "running_var")))
    )
    scale = gain / np.sqrt(variance + _EPS)
    with np.errstate(over="ignore"):  # weights beyond float32 speak as infinite logits, which are refused
        return (kernel * scale[:, None, None, None]).astype(np.float32), (beta - mean * scale).astype(np.float32)
