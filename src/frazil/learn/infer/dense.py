"""Maps from patch classifiers: the class of every pixel is that of the patch around it.

**Which patch.** The class of a pixel is that of the patch that starts `patch // 2` lines above and pixels before it. In
a patch with an odd side this is its centre; in one with an even side, which has no centre pixel, it is the pixel
half a pixel after the centre. With an output stride s, squares of s × s pixels share the patch of their pixel (s // 2,
s // 2). What lies outside the scene is 0 in every channel, as where a scene has not observed.

**Two functions of one network.** ``"patchwise"`` cuts every patch out, as in training. ``"dense"`` runs the
convolutions once over the whole image and turns the fully connected layers into convolutions too (Sermanet et al.
2014): many times faster, since neighbouring patches share nearly everything. Where a network pads with zeros inside
the patch (all but the ad hoc network with ``padding="valid"``), the second sees the neighbourhood where the first sees
zeros, so they are two different functions; `agreement` measures how different.

References:
    Sermanet, P., Eigen, D., Zhang, X., Mathieu, M., Fergus, R., LeCun, Y. (2014), OverFeat: integrated recognition,
    localization and detection using convolutional networks. ICLR 2014. doi:10.48550/arXiv.1312.6229. Section 3.5.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from frazil.errors import ModelError, OptionError
from frazil.learn.infer.device import usable_device
from frazil.learn.infer.dilate import DilatedMean, dilated_trunk, folded_trunk, plain_copy
from frazil.learn.infer.engine import Engine, filled
from frazil.learn.infer.torch_engine import PRECISIONS, TorchEngine
from frazil.learn.models.ensemble import Ensemble, mean_logits
from frazil.learn.models.patch import PatchClassifier, takes_patches


class PatchEngine(ABC):
    """What both functions share: where patches lie, and one class for each square of `stride` pixels. An `Engine`.

    Attributes:
        stride: pixels between patches.
        margin: pixels around a result that decide about it; a multiple of the stride.
        cell: the stride.
        patch: side of the patches, pixels.
    """

    view, output = 1, "softmax"

    def __init__(self, network: PatchClassifier, stride: int, device: str | None, precision: str) -> None:
        if precision not in PRECISIONS:
            raise OptionError(f"precision {precision!r} is not one of {sorted(PRECISIONS)}.")
        if not 1 <= stride <= network.patch:
            raise OptionError(
                f"stride {stride} must lie between 1 and {network.patch}, the side of this network's patches, "
                "or pixels would be skipped."
            )
        self.device, self.dtype = usable_device(device), PRECISIONS[precision]
        self.patch, self.stride, self.cell = network.patch, stride, stride
        self.before = self.patch // 2 - stride // 2  # from a square's first pixel back to its patch's first pixel
        self.margin = self._margin(0, self.patch - 1)

    def look(self, wide: np.ndarray) -> None:  # noqa: B027 - patches are all that these networks see
        """See `Engine`."""

    @abstractmethod
    def __call__(self, image: np.ndarray, _corner: tuple[int, int] = (0, 0), /) -> np.ndarray:
        """See `Engine`."""

    def _margin(self, before: int, after: int) -> int:
        """For results that see so far before and after the first pixel of their patch."""
        reach = max(self.before + before, after - self.before - self.stride + 1)
        return -(-max(reach, 0) // self.stride) * self.stride

    def _padded(self, image: np.ndarray) -> Tensor:
        """The image (1, channel, height, width) with zeros around it, so that every patch lies inside."""
        pad = self.before, self.patch - self.stride - self.before
        x = torch.from_numpy(filled(image, self.stride))[None].to(self.device, self.dtype)
        return nn.functional.pad(x, pad * 2)

    def _cells(self, logits: Tensor, image: np.ndarray) -> np.ndarray:
        """Logits float32 (class, row, column) of the squares that hold the image, from those of all."""
        rows, columns = (-(-n // self.stride) for n in image.shape[-2:])
        squares: np.ndarray = logits[:, :rows, :columns].float().cpu().numpy()
        return squares


class PatchwiseEngine(PatchEngine):
    """Every patch cut out and classified by itself: what the network was trained to do, and slow.

    Args:
        network: a patch classifier; it is not changed.
        stride: pixels between patches.
        batch: patches at a time.
        device: ``"cpu"``, ``"cuda"``; by default CUDA where there is one.
        precision: ``"float32"`` or ``"bfloat16"``.

    Raises:
        OptionError: a stride beyond the patch, an unknown precision, or a device that is not there.
    """

    def __init__(
        self,
        network: PatchClassifier,
        *,
        stride: int = 10,
        batch: int = 256,
        device: str | None = None,
        precision: str = "float32",
    ) -> None:
        super().__init__(network, stride, device, precision)
        self.batch, self.pool = batch, network.pool
        head = plain_copy(network.head)
        self.trunk, self.head = (_placed(m, self.device, self.dtype) for m in (folded_trunk(network), head))

    @torch.inference_mode()
    def __call__(self, image: np.ndarray, _corner: tuple[int, int] = (0, 0), /) -> np.ndarray:
        """See `Engine`."""
        x = self._padded(image)[0]
        patches = x.unfold(1, self.patch, self.stride).unfold(2, self.patch, self.stride).permute(1, 2, 0, 3, 4)
        rows, columns = patches.shape[:2]
        logits = []
        for i in range(0, rows * columns, self.batch):
            chosen = torch.arange(i, min(i + self.batch, rows * columns), device=x.device)
            part = patches[chosen // columns, chosen % columns].contiguous(memory_format=torch.channels_last)
            logits.append(self.head(self.pool(self.trunk(part)).flatten(1)))
        return self._cells(torch.cat(logits).T.reshape(-1, rows, columns), image)


class DenseEngine(PatchEngine):
    """The whole image in one pass, with fully connected layers as convolutions.

    Cheap where the stride is a power of 2 up to the network's own (2, 4, 8, …): a trunk's strides are kept as long as
    their product divides it, and turned into dilation from there on.

    Args:
        network: a patch classifier; it is not changed.
        stride: pixels between results.
        margin: pixels; by default all that a result can see. Deep networks that pad see far (DenseNet121 over 1000
            pixels) but little of it counts: with a smaller margin tiles are cheaper and their seams may show.
        device: ``"cpu"``, ``"cuda"``; by default CUDA where there is one.
        precision: ``"float32"`` or ``"bfloat16"``.

    Raises:
        OptionError: a stride beyond the patch, an unknown precision, or a device that is not there.
        ModelError: a network with layers that cannot be turned.
    """

    def __init__(
        self,
        network: PatchClassifier,
        *,
        stride: int = 8,
        margin: int | None = None,
        device: str | None = None,
        precision: str = "float32",
    ) -> None:
        super().__init__(network, stride, device, precision)
        trunk, lattice = dilated_trunk(network, stride)
        with torch.inference_mode():
            parameter = next(network.parameters())
            patch = parameter.new_zeros(1, _n_channels(network), network.patch, network.patch)
            maps = folded_trunk(network)(patch)
        side = maps.shape[-1]
        head = convolutional_head(network, maps.shape[1], side, lattice.dilation, stride // lattice.step)
        after = max(lattice.after) + (side - 1) * lattice.spacing
        self.margin = self._margin(max(lattice.before), after) if margin is None else -(-margin // stride) * stride
        self.network = _placed(nn.Sequential(trunk, *head), self.device, self.dtype)

    @torch.inference_mode()
    def __call__(self, image: np.ndarray, _corner: tuple[int, int] = (0, 0), /) -> np.ndarray:
        """See `Engine`."""
        x = self._padded(image).contiguous(memory_format=torch.channels_last)
        return self._cells(self.network(x)[0], image)


def convolutional_head(
    network: PatchClassifier, n_maps: int, side: int, dilation: int, stride: int
) -> Iterable[nn.Module]:
    """Pooling and head of a network as convolutions.

    Args:
        network: whose head it is.
        n_maps: channels of the trunk's map.
        side: of the map of one patch, elements.
        dilation: elements of the dense map from one element of that map to the next.
        stride: elements of the dense map between results.

    Returns:
        Layers from the trunk's map to logits (batch, class, rows, columns).

    Raises:
        ModelError: a head of other layers than linear ones, activations and dropout.
    """
    head = plain_copy(network.head)
    layers = list(head) if isinstance(head, nn.Sequential) else [head]
    # Pooling is linear: its matrix, from elements of the patch's map to elements of what the head sees.
    with torch.inference_mode():
        basis = torch.eye(side**2, device=next(network.parameters()).device).reshape(-1, 1, side, side)
        pooling = network.pool(basis).reshape(side**2, -1)
    out: list[nn.Module] = []
    first = True
    for layer in layers:
        if not isinstance(layer, nn.Linear):
            if not isinstance(layer, nn.ReLU | nn.LeakyReLU | nn.Dropout | nn.Identity):
                raise ModelError(f"A head with {type(layer).__name__} cannot run densely; run it patch by patch.")
            out.append(layer)
            continue
        kernel, weight = 1, layer.weight.detach()[:, :, None]
        if first and pooling.shape[1] > 1:
            kernel, weight = side, weight.reshape(len(weight), n_maps, -1) @ pooling.T
        elif first and side > 1:  # a mean over the patch's map: cheaper by itself than inside a convolution
            out.append(DilatedMean(side, dilation))
        conv = nn.Conv2d(
            weight.shape[1],
            weight.shape[0],
            kernel,
            stride=stride if first else 1,
            dilation=dilation if kernel > 1 else 1,
            bias=layer.bias is not None,
        )
        conv.weight = nn.Parameter(weight.reshape(*weight.shape[:2], kernel, kernel))
        if layer.bias is not None:
            conv.bias = nn.Parameter(layer.bias.detach())
        out.append(conv)
        first = False
    return out


def _placed(module: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    return module.eval().to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]


def _n_channels(network: PatchClassifier) -> int:
    return int(network.get_submodule(network.first[0]).in_channels)  # type: ignore[arg-type]


class EnsembleEngine:
    """Logarithms of the mean probabilities of several networks. An `Engine`.

    Args:
        engines: of the members, alike.
    """

    def __init__(self, engines: list[Engine]) -> None:
        self.engines = engines
        first = engines[0]
        self.stride, self.margin, self.cell, self.view = first.stride, first.margin, first.cell, first.view
        self.output = first.output

    def look(self, wide: np.ndarray) -> None:
        """See `Engine`."""
        for engine in self.engines:
            engine.look(wide)

    def __call__(self, image: np.ndarray, corner: tuple[int, int] = (0, 0), /) -> np.ndarray:
        """See `Engine`."""
        each = [torch.from_numpy(engine(image, corner))[None] for engine in self.engines]
        logits: np.ndarray = mean_logits(each)[0].numpy()
        return logits


#: name -> engine of a patch classifier
FUNCTIONS: dict[str, Callable[..., PatchEngine]] = {"dense": DenseEngine, "patchwise": PatchwiseEngine}


def pads_inside(network: PatchClassifier) -> bool:
    """Whether a network pads its maps with zeros, so that dense inference is another function than patch by patch."""
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d)]
    return any(size > 0 for m in layers for size in np.ravel(m.padding) if not isinstance(size, str))


def make_engine(
    network: nn.Module,
    *,
    function: str = "auto",
    stride: int | None = None,
    device: str | None = None,
    precision: str = "float32",
) -> Engine:
    """The engine that maps scenes with a network.

    Args:
        network: a segmentation network, a patch classifier, or an ensemble of either.
        function: of a patch classifier: one of `FUNCTIONS`, or ``"auto"``: dense where that is the same function,
            patch by patch where the network pads with zeros inside its patches.
        stride: of a patch classifier: pixels between results; by default 8 for ``"dense"`` and 10 for ``"patchwise"``.
        device: ``"cpu"``, ``"cuda"``; by default CUDA where there is one.
        precision: ``"float32"`` or ``"bfloat16"``.

    Raises:
        OptionError: an unknown function, or settings that it does not take.
    """
    if function not in ("auto", *FUNCTIONS):
        raise OptionError(f"function {function!r} is not one of {['auto', *sorted(FUNCTIONS)]}.")
    if isinstance(network, Ensemble):
        of_each = {"function": function, "stride": stride, "device": device, "precision": precision}
        return EnsembleEngine([make_engine(member, **of_each) for member in network.members])  # type: ignore[arg-type]
    if takes_patches(network):
        given = {} if stride is None else {"stride": stride}
        if function == "auto":
            function = "patchwise" if pads_inside(network) else "dense"
        return FUNCTIONS[function](network, device=device, precision=precision, **given)
    if stride is not None or function != "auto":
        raise OptionError(
            f"{type(network).__name__} classifies every pixel at once; stride and function are for patches."
        )
    return TorchEngine(network, device=device, precision=precision)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How alike the two functions of a network are on an image, over its patches.

    Attributes:
        same_class: share of patches with the same class.
        mean_difference: mean difference of the probabilities, over classes and patches.
        max_difference: the largest one.
        patches: how many.
    """

    same_class: float
    mean_difference: float
    max_difference: float
    patches: int


def agreement(network: PatchClassifier, image: np.ndarray, *, stride: int = 8, device: str | None = None) -> Agreement:
    """How alike ``"dense"`` and ``"patchwise"`` are: the border effect of zero padding inside patches.

    Args:
        network: a patch classifier.
        image: float32 (channel, height, width), as the network sees it; a multiple of the stride. Patches that reach
            beyond it are left out.
        stride: pixels between patches.
        device: ``"cpu"``, ``"cuda"``; by default CUDA where there is one.

    Raises:
        OptionError: an image that does not hold a single patch, or is not a multiple of the stride.
    """
    if any(n % stride for n in image.shape[1:]):
        raise OptionError(
            f"An image of {image.shape[1]} × {image.shape[2]} pixels is not a multiple of the stride {stride}."
        )
    dense = DenseEngine(network, stride=stride, device=device)
    edge = -(-network.patch // stride)
    squares = [
        engine(image)[:, edge:-edge, edge:-edge]
        for engine in (dense, PatchwiseEngine(network, stride=stride, device=device))
    ]
    if squares[0].size == 0:
        raise OptionError(
            f"An image of {image.shape[1]} × {image.shape[2]} pixels is too small to compare patches of "
            f"{network.patch} pixels inside it; take {(2 * edge + 1) * stride} or more."
        )
    a, b = (torch.from_numpy(s).softmax(0).numpy() for s in squares)
    return Agreement(
        same_class=float((a.argmax(0) == b.argmax(0)).mean()),
        mean_difference=float(np.abs(a - b).mean()),
        max_difference=float(np.abs(a - b).max()),
        patches=int(a[0].size),
    )
