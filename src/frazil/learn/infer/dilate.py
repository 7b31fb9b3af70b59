"""A trunk of convolutions made to answer more often: strides become dilations ("à trous").

A network with a total stride of 32 describes an image on every 32nd pixel. To describe it on every 8th, its first
strides are kept up to 8; each later one is set to 1, and all layers behind it look at every second (fourth, …) element
of the finer map. What stands at the elements that the strided network would have computed is the same as before,
apart from zero padding at the edge of the image.

References:
    Holschneider, M., Kronland-Martinet, R., Morlet, J., Tchamitchian, P. (1990), A real-time algorithm for signal
    analysis with the help of the wavelet transform. doi:10.1007/978-3-642-75988-8_28.
    Giusti, A., Cireşan, D. C., Masci, J., Gambardella, L. M., Schmidhuber, J. (2013), Fast image scanning with deep
    max-pooling convolutional neural networks. ICIP 2013. doi:10.1109/ICIP.2013.6738831.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval

from frazil.errors import ModelError
from frazil.learn.models.efficientnet_lite import PaddedConv2d
from frazil.learn.models.patch import PatchClassifier

_M = TypeVar("_M", bound=nn.Module)
_P = TypeVar("_P", bound=PatchClassifier)
_STRIDED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


@dataclass(frozen=True)
class Lattice:
    """Where the elements of a map stand, and what they see; lengths in pixels of the image.

    Attributes:
        spacing: between neighbours as the strided network has them.
        step: between neighbours as computed; divides `spacing`.
        before, after: how far an element sees beyond its own first pixel, along lines and along pixels.
    """

    spacing: int = 1
    step: int = 1
    before: tuple[int, int] = (0, 0)
    after: tuple[int, int] = (0, 0)

    @property
    def dilation(self) -> int:
        """Elements from one that the strided network has to the next."""
        return self.spacing // self.step


def dilated_trunk(network: PatchClassifier, stride: int) -> tuple[fx.GraphModule, Lattice]:
    """A `folded_trunk` with elements at least on every `stride`-th pixel.

    Args:
        network: of any mode; it is not changed.
        stride: wanted; strides are kept as long as their product divides it.

    Returns:
        The trunk and the lattice of its map, whose `step` divides `stride`.

    Raises:
        ModelError: a layer that cannot be dilated.
    """
    traced = folded_trunk(network)
    lattices: dict[fx.Node, Lattice] = {}
    for node in traced.graph.nodes:
        seen = [lattices[n] for n in node.all_input_nodes]
        lattice = _merged(seen) if seen else Lattice()
        if node.op == "call_module":
            module = traced.get_submodule(str(node.target))
            if isinstance(module, _STRIDED):
                lattice = _dilate(traced, str(node.target), module, lattice, stride)
        lattices[node] = lattice
    return traced, lattices[next(n for n in traced.graph.nodes if n.op == "output")]


def folded_trunk(network: PatchClassifier) -> fx.GraphModule:
    """A copy of a network's trunk in evaluation mode, batch norm and weight norm folded into its convolutions."""
    trunk = _Trunk(plain_copy(network))
    traced = fx.GraphModule(trunk, _Tracer().trace(trunk))
    _fold_batch_norm(traced)
    return traced


def folded(network: _P) -> _P:
    """A copy of a network in evaluation mode, batch norm and weight norm of its trunk folded into its convolutions."""
    out = plain_copy(network)
    trunk = _Trunk(out)
    for conv, norm in _norms(_Tracer().trace(trunk), trunk):
        _replace(trunk, str(conv.target), _fused(trunk, conv, norm))
        _replace(trunk, str(norm.target), nn.Identity())
    return out


def plain_copy(module: _M) -> _M:
    """A copy in evaluation mode in which weight norm is computed once and for all."""
    out = copy.deepcopy(module).eval()
    for part in out.modules():
        if parametrize.is_parametrized(part):
            # Not torch's remove_parametrizations: it changes a class that the copy shares with the original.
            weight = part.weight.detach().clone()  # type: ignore[union-attr, operator]
            part.__class__ = parametrize.type_before_parametrizations(part)
            del part.parametrizations
            part.weight = nn.Parameter(weight)
    return out


class _Trunk(nn.Module):
    def __init__(self, network: PatchClassifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network.trunk(x)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _STRIDED) or super().is_leaf_module(m, module_qualified_name)


def _merged(seen: list[Lattice]) -> Lattice:
    """Of an element made from several maps, such as a sum with a shortcut."""
    first = seen[0]
    if any((s.spacing, s.step) != (first.spacing, first.step) for s in seen):
        raise ModelError(f"Maps of different resolution meet in this network ({seen}); run it patch by patch.")
    before = max(s.before[0] for s in seen), max(s.before[1] for s in seen)
    after = max(s.after[0] for s in seen), max(s.after[1] for s in seen)
    return replace(first, before=before, after=after)


def _dilate(traced: fx.GraphModule, name: str, module: nn.Module, lattice: Lattice, target: int) -> Lattice:
    """Change one layer in place and return the lattice behind it."""
    kernels, paddings = _pair(module.kernel_size), _pair(module.padding)
    if isinstance(module, PaddedConv2d):
        paddings = (module.pads[0],) * 2
    stride, dilation = _side(module.stride), lattice.dilation
    kept = dilation == 1 and target % (lattice.step * stride) == 0
    new_stride = stride if kept else 1
    if isinstance(module, PaddedConv2d):
        module.pads = (paddings[0] * dilation, (_side(kernels) - 1 - paddings[0]) * dilation)
        module.dilation, module.stride = (dilation, dilation), (new_stride, new_stride)
    elif isinstance(module, nn.Conv2d):
        if _side(module.dilation) != 1:
            raise ModelError(f"Layer {name} is dilated already; run this network patch by patch.")
        module.padding = (paddings[0] * dilation, paddings[1] * dilation)
        module.dilation, module.stride = (dilation, dilation), (new_stride, new_stride)
    elif isinstance(module, nn.MaxPool2d):
        module.padding, module.dilation, module.stride = 0, dilation, new_stride
        if any(paddings):  # torch allows half a kernel at most, however dilated
            _replace(traced, name, nn.Sequential(nn.ConstantPad2d(_side(paddings) * dilation, -torch.inf), module))
    elif dilation > 1 or not kept:  # torch has no dilated mean
        mean = DilatedMean(_side(kernels), dilation)
        _replace(traced, name, nn.Sequential(nn.ZeroPad2d(_side(paddings) * dilation), mean) if any(paddings) else mean)
    return Lattice(
        spacing=lattice.spacing * stride,
        step=lattice.step * new_stride,
        before=_sum(lattice.before, paddings, lattice.spacing),
        after=_sum(lattice.after, (kernels[0] - 1 - paddings[0], kernels[1] - 1 - paddings[1]), lattice.spacing),
    )


class DilatedMean(nn.Module):
    """Means over squares of `kernel` × `kernel` elements that stand `dilation` apart, at every element they fit."""

    def __init__(self, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.kernel, self.dilation = kernel, dilation

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        reach = (self.kernel - 1) * self.dilation
        height, width = x.shape[-2] - reach, x.shape[-1] - reach
        shifts = range(0, reach + 1, self.dilation)
        rows = functools.reduce(torch.add, (x[..., i : i + height, :] for i in shifts))
        return functools.reduce(torch.add, (rows[..., i : i + width] for i in shifts)) / self.kernel**2


def _norms(graph: fx.Graph, root: nn.Module) -> Iterator[tuple[fx.Node, fx.Node]]:
    """Convolutions, each with the batch norm that alone follows it."""
    for node in list(graph.nodes):
        if node.op != "call_module" or not isinstance(root.get_submodule(str(node.target)), nn.BatchNorm2d):
            continue
        before = node.args[0]
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        if isinstance(root.get_submodule(str(before.target)), nn.Conv2d):
            yield before, node


def _fused(root: nn.Module, conv: fx.Node, norm: fx.Node) -> nn.Module:
    pair: list[Any] = [root.get_submodule(str(node.target)) for node in (conv, norm)]
    return fuse_conv_bn_eval(*pair)


def _fold_batch_norm(traced: fx.GraphModule) -> None:
    """Fold every batch norm that alone follows a convolution into it, in place."""
    for conv, norm in _norms(traced.graph, traced):
        _replace(traced, str(conv.target), _fused(traced, conv, norm))
        norm.replace_all_uses_with(conv)
        traced.graph.erase_node(norm)
    traced.recompile()


def _replace(root: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(root.get_submodule(parent), child, module)


def _sum(reach: tuple[int, int], more: tuple[int, int], spacing: int) -> tuple[int, int]:
    return reach[0] + more[0] * spacing, reach[1] + more[1] * spacing


def _pair(value: Any) -> tuple[int, int]:
    """Of lines and of pixels, given as one number or two."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _side(value: Any) -> int:
    """The one number of a square kernel, stride or padding."""
    pair = _pair(value)
    if pair[0] != pair[1]:
        raise ModelError(f"A layer is not square ({value}); run this network patch by patch.")
    return pair[0]
