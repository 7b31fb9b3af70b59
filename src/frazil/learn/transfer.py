"""Starting from weights that were trained on photographs (ImageNet) instead of from random ones.

Three things differ between photographs and radar patches, and each is settled by a rule:

* **channels.** A network for other than 3 channels gets, in each of its n channels, the sum of the first layer's
  weights over red, green and blue divided by n: an image that is the same in all channels gives the activations that it
  gives as a grey photograph, whatever n. With 3 channels the weights stay as they are, in the order given.
* **scale.** Published weights want photographs normalised by mean and standard deviation; frazil's inputs lie in
  [0, 1]. The normalisation is folded into the first layer (and into the bias or batch norm behind it): inputs in [0, 1]
  then give the activations of normalised ones, except where the first layer pads with zeros.
* **classes.** The last layer stays new; with it all fully connected layers where a network has its own.

Small patches are far from photographs of 224 pixels: a network that divides by 32 has one element left of 32 pixels,
most of what it sees is padding, and most of its features stay at zero until it is trained (EfficientNet-Lite0: 2 % of
them above zero on parts of a photograph of 32 pixels, 42 % on parts of 64). Larger patches transfer better.
"""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frazil.errors import MissingDependencyError, ModelError, OptionError
from frazil.learn.checkpoint import plain_names
from frazil.learn.models.patch import PatchClassifier, takes_patches
from frazil.untrusted import open_regular

_WRAPPERS = ("state_dict", "model")  # under which some files hold their weights


@dataclass(frozen=True, kw_only=True)
class Transferred:
    """What came from the file.

    Attributes:
        loaded: names of the parameters and statistics that did.
        new: names of those that stay as they were, the head among them.
    """

    loaded: tuple[str, ...]
    new: tuple[str, ...]


def load_pretrained(
    network: PatchClassifier,
    weights: str | os.PathLike[str] | dict[str, Tensor],
    *,
    unit_inputs: bool = True,
    keep_head: bool = False,
) -> Transferred:
    """Put published weights into a network, in place.

    Args:
        network: whose weights to replace; `PatchClassifier.untransferred` names what stays new.
        weights: a file as `read_weights` takes it, or its content.
        unit_inputs: inputs will lie in [0, 1], as frazil's do; False: they will be normalised like the photographs.
        keep_head: take the head as well; it must have as many classes.

    Raises:
        ModelError: a file that cannot be read, or weights of another network.
    """
    source = weights if isinstance(weights, dict) else read_weights(weights)
    named = {network.published_name(key): value for key, value in source.items()}
    source = {key: value for key, value in named.items() if key is not None}
    state = network.state_dict()
    skipped = () if keep_head else network.untransferred
    wanted = [key for key in state if not key.startswith(skipped)]
    missing = [key for key in wanted if key not in source and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in source if key not in state and not key.startswith(skipped)]
    if missing or unexpected:
        raise ModelError(
            f"The weights are not those of {type(network).__name__}: "
            f"{_first(missing)} missing, {_first(unexpected)} not expected. Choose the file of this architecture."
        )
    loaded = {key: source[key] for key in wanted if key in source}
    layer, norm = network.first
    first = f"{layer}.weight"
    if loaded[first].ndim == 4 and loaded[first].shape[1] == 3:
        scale = (network.input_mean, network.input_std) if unit_inputs else None
        loaded[first], offset = adapt_first_layer(loaded[first], state[first].shape[1], scale)
        if norm is None:
            loaded[f"{layer}.bias"] = loaded[f"{layer}.bias"] + offset
        else:
            loaded[f"{norm}.running_mean"] = loaded[f"{norm}.running_mean"] - offset
    for key, value in loaded.items():
        if value.shape != state[key].shape:
            raise ModelError(
                f"{key} has shape {tuple(value.shape)} in the weights and {tuple(state[key].shape)} in "
                f"{type(network).__name__}. Choose the file of this architecture"
                + (", or keep_head=False for other classes." if keep_head else " and settings.")
            )
    network.load_state_dict(loaded, strict=False)
    return Transferred(loaded=tuple(loaded), new=tuple(key for key in state if key not in loaded))


def start_from(network: nn.Module, architecture: str, weights: str) -> None:
    """Put the weights that a run's settings name into its network, in place.

    Args:
        network: of the run.
        architecture: its name.
        weights: ``"torchvision"``, ``"timm"``, or a file; see `ModelConfig.pretrained`.

    Raises:
        OptionError: a network without published weights. MissingDependencyError, ModelError: as `library_weights`
            and `load_pretrained`.
    """
    if not takes_patches(network):
        raise OptionError(f"There are no published weights for {architecture!r}. Leave model.pretrained out.")
    load_pretrained(network, library_weights(architecture, weights) if weights in ("torchvision", "timm") else weights)


def adapt_first_layer(
    weight: Tensor, n_channels: int, scale: tuple[tuple[float, ...], tuple[float, ...]] | None = None
) -> tuple[Tensor, Tensor]:
    """The first layer's weights for other channels, and for inputs that are not normalised.

    Args:
        weight: (filter, 3, height, width), for red, green and blue.
        n_channels: of the new input.
        scale: mean and standard deviation that the weights expect to be taken out of inputs in [0, 1].

    Returns:
        weight (filter, n_channels, height, width), and what is to be added behind it (filter).
    """
    offset = weight.new_zeros(len(weight))
    if scale is not None:
        mean, std = (weight.new_tensor(s)[None, :, None, None] for s in scale)
        weight = weight / std
        offset = -(weight * mean).sum((1, 2, 3))
    if n_channels != 3:
        weight = weight.sum(1, keepdim=True).expand(-1, n_channels, -1, -1) / n_channels
    return weight.contiguous(), offset


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Named tensors of a weight file: safetensors, or torch's ``.pth`` as far as it holds tensors alone.

    Raises:
        ModelError: no such file, a damaged one, or one that holds other objects (which could run code).
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        with open_regular(path):
            pass
        if Path(path).suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} is damaged, or holds more than tensors and could run code ({str(error).splitlines()[0]}). "
            "Save its state_dict as safetensors where you trust it."
        ) from error
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"The weights {path} cannot be read ({reason}). Get the file again.") from error
    while isinstance(content, dict) and any(isinstance(content.get(key), dict) for key in _WRAPPERS):
        content = next(content[key] for key in _WRAPPERS if isinstance(content.get(key), dict))
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelError(f"{path} is not a file of named tensors (a state_dict). Save one where it was made.")
    strange = [str(key) for key, value in content.items() if value.is_floating_point() and not value.isfinite().all()]
    if strange:
        raise ModelError(f"{path}: {strange[0]} holds numbers that are not finite. Get the file again.")
    return plain_names({str(key): value for key, value in content.items()})


_TORCHVISION = ("vgg16", "modified_vgg16", "mobilenet_v2", "resnet50", "densenet121", "inception_v3")
_TIMM = {"resnet50": "resnet50.tv_in1k", "densenet121": "densenet121.tv_in1k"}  # those named as in torchvision


def library_weights(architecture: str, library: str = "torchvision") -> dict[str, Tensor]:
    """ImageNet weights from torchvision or timm where they are installed; they may be downloaded.

    Args:
        architecture: one of `frazil.learn.models.ARCHITECTURES`.
        library: ``"torchvision"`` or ``"timm"``.

    Raises:
        OptionError: a library that has no weights of this architecture.
        MissingDependencyError: it is not installed, or does not work with the installed torch.
        ModelError: the weights could not be fetched.
    """
    known = {"torchvision": _TORCHVISION, "timm": tuple(_TIMM)}
    if library not in known:
        raise OptionError(f"library {library!r} is not one of {sorted(known)}.")
    if architecture not in known[library]:
        raise OptionError(f"{library} has no weights that fit {architecture!r}, only {list(known[library])}.")
    try:
        module = import_module("torchvision.models" if library == "torchvision" else library)
    except (ImportError, RuntimeError) as error:  # torchvision raises RuntimeError beside a torch that it does not fit
        raise MissingDependencyError(
            f"{library} cannot be imported ({str(error).splitlines()[0]}). Install the release that fits torch "
            f"{torch.__version__}, or pass a weight file."
        ) from error
    try:
        if library == "timm":
            return dict(module.create_model(_TIMM[architecture], pretrained=True).state_dict())
        weights = module.get_model_weights(architecture.removeprefix("modified_"))
        return dict(weights.DEFAULT.get_state_dict(progress=False, check_hash=True))
    except OSError as error:
        raise ModelError(
            f"{library} could not fetch the weights of {architecture} ({error}). Download them elsewhere and pass the "
            "file."
        ) from error


def _first(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]!r}{more}" if names else "nothing"
