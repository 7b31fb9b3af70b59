"""A trained model as files: ``model.safetensors`` (weights) and ``card.json`` (everything else a map needs).

Weights are read by safetensors, never by pickle: a model from a stranger cannot run code. Cards and weights are read
without PyTorch, which is imported where somebody asks for the network.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from frazil.class_schemes import ClassScheme, Schemes
from frazil.conventions import SCHEMES
from frazil.errors import FrazilError, MissingDependencyError, ModelError, printable
from frazil.extras import FAST, LEARN, installed
from frazil.files import replaced_file, whole_output
from frazil.labels.datasets.cifar10 import CIFAR10
from frazil.learn.map_shapes import MAP_SHAPES, Outline, map_shape, outline
from frazil.learn.seen import Seen
from frazil.scene.scaling import Channel
from frazil.untrusted import open_regular, read_json

if TYPE_CHECKING:
    from torch import Tensor, nn

_SCHEMES = Schemes.of((*SCHEMES.values(), CIFAR10))
WEIGHTS, CARD = "model.safetensors", "card.json"
DEFAULT_MODEL = "ice-measured"
_FORMAT = 1
_TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "BOOL": "bool"}
_T = TypeVar("_T")
_CARD_BYTES = 16 * 2**20
_MOST_LETTERS = 10_000
#: What networks raise that are asked to be of an impossible size.
_CARD_ERRORS = (ModelError, ValueError, TypeError, RuntimeError, ArithmeticError, LookupError, MemoryError)


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a model is, what it wants, and what is known of it.

    Attributes:
        id: name and version; the name of the folder by default.
        architecture, settings: as `create_model` takes them, or as `create_ensemble` does.
        class_scheme: one of `CLASS_SCHEMES` or `PHENOMENA_SCHEMES`.
        channels: inputs in order, with their scaling.
        spacing_m: of the pixels it was trained on.
        denoise: how their noise was removed.
        boxcar: whether they were averaged by a 3 × 3 moving window at full resolution, as in the papers.
        incidence_range: degrees, seen in training.
        temperature: logits are divided by it before the softmax, for calibrated confidence.
        seen: the range of its training inputs, against which scenes are held; None of models that do not tell.
        statement: plain words on what it has and has not seen.
        training: recipe, seeds, data, versions.
        scores: on held-out data, and which data.
        weights_sha256: of the weights, see `weights_digest`; empty in cards that do not tell.
    """

    id: str
    architecture: str
    settings: dict[str, Any]
    class_scheme: str
    channels: tuple[Channel, ...]
    spacing_m: float
    denoise: str
    incidence_range: tuple[float, float]
    boxcar: bool = False
    temperature: float = 1.0
    seen: Seen | None = None
    statement: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""

    def __post_init__(self) -> None:
        if self.class_scheme not in _SCHEMES:
            raise ModelError(f"class_scheme {self.class_scheme!r} is not one of {sorted(_SCHEMES)}.")
        if not self.channels or len({c.name for c in self.channels}) < len(self.channels):
            raise ModelError(f"a card needs channels, each once, and has {[c.name for c in self.channels]}")
        low, high = self.incidence_range
        for what, value, least, most in (
            ("temperature", self.temperature, 1e-3, 1e3),
            ("spacing_m", self.spacing_m, 0.1, 1e5),
            ("incidence_range", low, 0.0, 90.0),
            ("incidence_range", high, low, 90.0),
        ):
            if type(value) not in (int, float) or not least <= value <= most:  # NaN is not between anything
                raise ModelError(f"{what} {value!r} of a card must lie in {least:g} … {most:g}")
        words = (self.id, self.architecture, self.denoise, self.statement, self.weights_sha256)
        if any(not isinstance(word, str) or printable(word) != word or len(word) > _MOST_LETTERS for word in words):
            raise ModelError("id, architecture, denoise, statement and weights_sha256 of a card must be plain words")
        if not isinstance(self.boxcar, bool) or not all(isinstance(v, dict) for v in (self.settings, self.training)):
            raise ModelError("boxcar must be true or false, settings and training objects")

    @property
    def scheme(self) -> ClassScheme:
        """The classes."""
        return _SCHEMES[self.class_scheme]

    @property
    def polarizations(self) -> tuple[str, ...]:
        """The polarisations that the channels need, in the order of first use."""
        return tuple(dict.fromkeys(c.polarization for c in self.channels if c.polarization))

    @property
    def figures(self) -> str:
        """How well it tells ice from open water, on what it was scored on and on real scenes, in words; "" if untold.

        Cards made before maps had a third answer do not tell; cards are files, so what is no number is left out.
        """
        told = []
        for what, key, names in (
            ("On held-out scenes", "ice_water", ("",)),
            ("On real ones", "real", ("closed pack ", "ice edge ")),
        ):
            found = self.scores.get(key)
            found = found if isinstance(found, dict) else {}
            rows = [found] if key == "ice_water" else [found.get(n) for n in ("pack", "edge")]
            parts = [text for n, row in zip(names, rows, strict=False) if (text := _figure(n, row))]
            told += [f"{what}: {'; '.join(parts)}."] if parts else []
        return " ".join(told)

    def to_json(self) -> dict[str, object]:
        """As written to ``card.json``."""
        return {
            "format": _FORMAT,
            **{k: getattr(self, k) for k in self.__dataclass_fields__ if k not in ("channels", "seen")},
            **({"seen": self.seen.to_json()} if self.seen else {}),
            "channels": [{"name": c.name, "low": c.low, "high": c.high, "units": c.units} for c in self.channels],
            "classes": list(self.scheme.names),
        }

    def _check_claims(self, data: dict[str, Any]) -> None:
        """What a card says twice must agree: another order of classes, or degrees for decibels, would go unseen."""
        if "classes" in data and list(data["classes"]) != list(self.scheme.names):
            raise ModelError(
                f"its classes {data['classes']} are not those of {self.class_scheme}: {list(self.scheme.names)}"
            )
        for channel, told in zip(self.channels, data["channels"], strict=True):
            if told.get("units", channel.units) != channel.units:
                raise ModelError(f"channel {channel.name!r} is in {told['units']!r}, expected {channel.units!r}")

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ModelCard:
        """From the content of ``card.json``; raises ModelError where it does not fit."""
        try:
            if data["format"] != _FORMAT:
                raise ModelError(f"format {data['format']!r} is not {_FORMAT}: the model is of another frazil version")
            fields = {k: data[k] for k in cls.__dataclass_fields__ if k in data}
            fields["channels"] = tuple(
                Channel(name=c["name"], low=float(c["low"]), high=float(c["high"])) for c in data["channels"]
            )
            low, high = data["incidence_range"]
            fields["incidence_range"] = (float(low), float(high))
            fields["seen"] = None if data.get("seen") is None else Seen.from_json(data["seen"])
            card = cls(**fields)
            card._check_claims(data)
            return card
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            if isinstance(error, FrazilError) and not isinstance(error, ModelError):
                raise ModelError(str(error)) from error
            if isinstance(error, ModelError):
                raise
            raise ModelError(f"a field is missing or wrong: {error!r}") from error


class Model:
    """A network in evaluation mode, and its card.

    What is read from files is weights alone, until somebody asks for the network.

    Args:
        network: of PyTorch; None where weights are given.
        card: what it is.
        weights: by name, as in the network's state, of a network of that card.
    """

    def __init__(
        self, network: nn.Module | None, card: ModelCard, *, weights: Mapping[str, np.ndarray] | None = None
    ) -> None:
        if (network is None) == (weights is None):
            raise ModelError("A model is a network or weights, and one of them.")
        self._network, self._card, self._weights = network, card, weights

    @property
    def card(self) -> ModelCard:
        """What the network is."""
        return self._card

    @property
    def network(self) -> nn.Module:
        """The network, built on first use.

        Raises:
            MissingDependencyError: PyTorch is not installed.
        """
        if self._network is None:
            assert self._weights is not None
            require_torch("This network")
            import torch

            network = _network(self._card)
            network.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in self._weights.items()})
            self._network, self._weights = network.eval(), None  # what is done to the network holds from now on
        return self._network

    @property
    def weights(self) -> Mapping[str, np.ndarray]:
        """The network's parameters and buffers by name."""
        if self._network is None:
            assert self._weights is not None
            return self._weights
        return {k: v.detach().cpu().numpy() for k, v in self._network.state_dict().items()}

    @property
    def is_built(self) -> bool:
        """Whether there is a network of PyTorch: it may be of another kind than the card says, and be changed."""
        return self._network is not None


def require_torch(what: str) -> None:
    """Refuse what cannot be done without PyTorch.

    Raises:
        MissingDependencyError: it is not installed.
    """
    if not installed("torch"):
        raise MissingDependencyError(
            f"{what} needs PyTorch, which is not installed. Install it as you want it, then frazil with its extra: "
            f"{LEARN}."
        )


def bundled_models() -> list[str]:
    """Names of the models inside the package."""
    folder = files("frazil") / "data" / "models"
    return sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []


def weights_digest(state: Mapping[str, Tensor] | Mapping[str, np.ndarray]) -> str:
    """SHA-256 of weights: of their names and bytes, by name."""
    digest = hashlib.sha256()
    for key, tensor in sorted(state.items()):
        digest.update(key.encode())
        digest.update(_raw(tensor))
    return digest.hexdigest()


def _raw(tensor: Any) -> bytes:
    if isinstance(tensor, np.ndarray):
        return tensor.tobytes()
    import torch

    raw: bytes = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return raw


def model_id(name: str, network: nn.Module) -> str:
    """The name of a model: that of its run, and eight digits of its weights' hash, so that maps tell models apart."""
    return f"{name}-{weights_digest(network.state_dict())[:8]}"


def save_model(
    network: nn.Module,
    card: ModelCard,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    in_run: bool = False,
) -> None:
    """Write a model folder, whole or not at all.

    Args:
        network: its weights are written.
        card: what it is.
        folder: to write.
        overwrite: replace a model that frazil wrote.
        in_run: the folder lies in a run folder, which is frazil's: replace whatever is there.
    """
    from frazil.learn.state import write_tensors

    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    card = replace(card, weights_sha256=weights_digest(state))
    with replaced_file(folder) if in_run else whole_output(folder, overwrite=overwrite) as part:
        part.mkdir()
        write_tensors(state, part / WEIGHTS)
        (part / CARD).write_text(json.dumps(card.to_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_model(name: str | os.PathLike[str] = DEFAULT_MODEL) -> Model:
    """A model by folder, or by the name of a bundled one.

    Raises:
        ModelError: nothing there, a damaged card or weights, or weights of another architecture.
        MissingDependencyError: safetensors is not installed; or PyTorch is not, and the model is of another
            architecture than those of `frazil.learn.map_shapes`.
    """
    folder = Path(name)
    if not folder.is_dir() and str(name) in bundled_models():
        folder = Path(str(files("frazil") / "data" / "models" / str(name)))
    if not (folder / CARD).is_file() or not (folder / WEIGHTS).is_file():
        raise ModelError(
            f"No model at {name}: expected a folder with {WEIGHTS} and {CARD}, or one of the bundled models "
            f"{bundled_models()}."
        )
    if not installed("safetensors"):
        raise MissingDependencyError(
            f"Models need safetensors, which is not installed: {FAST} to make maps, {LEARN} for all networks."
        )
    try:
        data = read_json(folder / CARD, _CARD_BYTES)
        if not isinstance(data, dict):
            raise ModelError("it is not a JSON object")
        card = ModelCard.from_json(data)
        expected = _outline(card)
    except (*_CARD_ERRORS, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"The model card {folder / CARD} cannot be used: {reason}. Get the model again.") from error
    state = _read_weights(folder, card, expected)
    for key, values in state.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise _bad_weights(folder, card, f"{key} holds numbers that are not finite")
        if key.endswith("running_var") and (values < 0).any():
            raise _bad_weights(folder, card, f"{key} holds a variance below 0")
    if card.weights_sha256 and weights_digest(state) != card.weights_sha256:
        raise _bad_weights(folder, card, "their SHA-256 is not the one of the card")
    return Model(None, card, weights=state)


def _outline(card: ModelCard) -> Outline:
    """The weights that a card describes, without making them: a stranger may ask for more than there is memory."""
    if card.architecture in MAP_SHAPES:
        shape = map_shape(card.architecture, card.settings)
        return outline(shape, len(card.channels), len(card.scheme.classes))
    require_torch(f"A network of architecture {card.architecture}")
    import torch

    with torch.device("meta"):
        state = _network(card).state_dict()
    return {k: (tuple(v.shape), str(v.dtype).removeprefix("torch.")) for k, v in state.items()}


def _read_weights(folder: Path, card: ModelCard, expected: Outline) -> dict[str, np.ndarray]:
    """Weights of the names, shapes and types expected; the file's header is held against them before its numbers."""
    from safetensors import SafetensorError, safe_open

    try:
        with open_regular(folder / WEIGHTS):
            pass
        with safe_open(folder / WEIGHTS, framework="np") as file:
            names = plain_names({name: name for name in file.keys()})  # noqa: SIM118 - not a mapping
            if set(names) != set(expected):
                raise _bad_weights(folder, card, f"{min(set(names) ^ set(expected))} is not in both")
            for name, stored in names.items():
                part = file.get_slice(stored)
                found = tuple(part.get_shape()), _TYPES.get(part.get_dtype(), part.get_dtype())
                if found != expected[name]:
                    raise _bad_weights(folder, card, f"{name} is {found}, expected {expected[name]}")
            return {name: np.array(file.get_tensor(stored)) for name, stored in names.items()}
    except ModelError:
        raise
    except (SafetensorError, RuntimeError, OSError, ValueError, TypeError, LookupError) as error:
        raise _bad_weights(folder, card, (str(error).splitlines() or [type(error).__name__])[0]) from error


def _network(card: ModelCard) -> nn.Module:
    from frazil.learn.models import create_model
    from frazil.learn.models.ensemble import ENSEMBLE, create_ensemble

    n_channels, n_classes = len(card.channels), len(card.scheme.classes)
    if card.architecture == ENSEMBLE:
        return create_ensemble(n_channels, n_classes, card.settings)
    return create_model(card.architecture, n_channels=n_channels, n_classes=n_classes, settings=card.settings)


def plain_names(state: dict[str, _T]) -> dict[str, _T]:
    """Weights without the ``module.`` that PyTorch's wrappers for several devices put before every name."""
    wrapped = bool(state) and all(name.startswith("module.") for name in state)
    return {name.removeprefix("module."): value for name, value in state.items()} if wrapped else state


def _bad_weights(folder: Path, card: ModelCard, why: str) -> ModelError:
    return ModelError(
        f"The weights {folder / WEIGHTS} are damaged or of another network than {card.architecture} ({why}). "
        "Get the model again."
    )


def git_commit() -> str:
    """The commit of the source tree, or ``"unknown"`` for an installed package."""
    import subprocess

    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return "unknown"
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def library_versions() -> dict[str, str]:
    """Versions that decide about numbers."""
    import torch

    from frazil import __version__

    return {"frazil": __version__, "torch": torch.__version__, "numpy": np.__version__}


def _figure(name: str, row: Any) -> str:
    """One of `ModelCard.figures`."""
    decided = row.get("decided") if isinstance(row, dict) else None
    if not isinstance(decided, dict):
        return ""
    errors = {"ice called water": "ice_called_water", "water called ice": "water_called_ice", "undecided": "undecided"}
    told = {word: decided.get(key) for word, key in errors.items()}
    parts = [f"{v:.0%} {word}" for word, v in told.items() if isinstance(v, int | float) and 0 <= v <= 1]
    return f"{name}{', '.join(parts)}".replace("%", " %") if "undecided" in (parts[-1:] or [""])[0] else ""
