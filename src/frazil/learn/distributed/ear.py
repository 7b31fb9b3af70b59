"""What goes through a network while it answers: features of chosen layers, and logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from frazil.errors import OptionError

HEAD = (
    "head"  # what goes into the head, the features of the paper; other names are of layers, and mean what leaves them
)


class Ear:
    """Listens to one pass of a network.

    Features of a layer are (batch, feature); a map (batch, feature, y, x) counts by its means over positions, so that
    the distances between samples know what is in them and not where. Of a segmentation network the head's features are
    the means of the map before its last layer.

    Args:
        network: to listen to.
        layers: names of modules of the network, and ``"head"`` for what goes into its head.

    Raises:
        OptionError: the network has no such layer, or no head.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str] = (HEAD,)) -> None:
        self.network, self.layers = network, tuple(layers)
        self.modules = [_layer(network, name) for name in self.layers]
        self.image: Tensor | None = None
        self.logits: Tensor | None = None
        self._heard: dict[str, Tensor] = {}

    @property
    def features(self) -> list[Tensor]:
        """Of each layer, (batch, feature), in the order of `layers`."""
        return [self._heard[name] for name in self.layers]

    @contextmanager
    def listening(self, *, learning: bool = True) -> Iterator[None]:
        """Forget what was heard, and listen to the first pass inside the block that is learnt from.

        Args:
            learning: pass over what the network says in evaluation mode or without gradients; False: take any pass.
        """
        self.image = self.logits = None
        self._heard = {}

        def begins(network: nn.Module, inputs: tuple[Any, ...]) -> None:
            if self.image is None and (not learning or (network.training and torch.is_grad_enabled())):
                self.image = inputs[0]

        def ends(_network: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
            if self.image is not None and self.logits is None:
                self.logits = output

        with ExitStack() as hooks:
            hooks.callback(self.network.register_forward_pre_hook(begins).remove)
            for name, module in zip(self.layers, self.modules, strict=True):
                hooks.callback(self._hook(name, module).remove)
            hooks.callback(self.network.register_forward_hook(ends).remove)
            yield

    def _hook(self, name: str, module: nn.Module) -> Any:
        def hears(x: Any) -> None:
            if self.image is not None and self.logits is None and name not in self._heard:
                if not isinstance(x, Tensor):
                    raise OptionError(f"Layer {name!r} does not give one tensor. Name another in peers.features.")
                self._heard[name] = features_of(x).float()

        if name == HEAD:
            return module.register_forward_pre_hook(lambda _, inputs: hears(inputs[0]))
        return module.register_forward_hook(lambda _, _inputs, output: hears(output))


def features_of(x: Tensor) -> Tensor:
    """Features (batch, feature) of what leaves a layer: (batch, feature), or a map (batch, feature, y, x)."""
    return x.mean((2, 3)) if x.ndim == 4 else x


def ask(teacher: nn.Module, image: Tensor, layers: Sequence[str] = (HEAD,)) -> tuple[list[Tensor], Tensor]:
    """Features of each layer, and logits, of a teacher that nobody learns from; no gradient is taken."""
    ear = Ear(teacher, layers)
    with ear.listening(learning=False):
        logits = teacher(image)
    return ear.features, logits


def _layer(network: nn.Module, name: str) -> nn.Module:
    kind = type(network).__name__
    if name == HEAD:
        head = getattr(network, "head", None)
        if not isinstance(head, nn.Module):
            raise OptionError(f"{kind} has no head whose features peers could compare.")
        return head
    named = dict(network.named_modules())
    if not name or name not in named:
        known = [n for n, _ in network.named_children()]
        raise OptionError(
            f"peers.features: {kind} has no layer {name!r}. It has {', '.join(known)}, those inside them "
            f"({known[0]}.0, if there are), and {HEAD!r}."
        )
    return named[name]
