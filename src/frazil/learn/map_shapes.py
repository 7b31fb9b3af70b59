"""The shapes of the two networks that map scenes, without PyTorch: what they see, and which weights they hold.

Any engine can run such a network from its card and its weights; `frazil.learn.models` builds it for PyTorch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeGuard

from frazil.errors import ModelError, OptionError

#: name -> (shape, type) of every tensor of a network
Outline = dict[str, tuple[tuple[int, ...], str]]


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """The shape of the network.

    Attributes:
        widths: channels of each stage, finest first; each stage halves the resolution of the one before.
        patch: side of the pixel groups that enter as channels and leave as pixels again: the finest stage works at a
            patch-th of the resolution, which costs a quarter at 2.
        dropout: on the coarsest stage, in training.
    """

    widths: tuple[int, ...] = (32, 64, 96)
    patch: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise OptionError(f"widths {self.widths} must name at least two stages of at least one channel.")
        if self.patch < 1:
            raise OptionError(f"patch {self.patch} must be 1 or more.")
        if not 0 <= self.dropout < 1:
            raise OptionError(f"dropout {self.dropout} must lie in [0, 1).")

    @property
    def stride(self) -> int:
        """Heights and widths of images must be multiples of it, pixels."""
        return self.patch * int(2 ** (len(self.widths) - 1))

    @property
    def margin(self) -> int:
        """Pixels around a result that decide about it; a multiple of the stride."""
        # Two 3 × 3 convolutions a stage on the way down and up, plus up to one coarse pixel of misalignment a stage.
        stages = len(self.widths)
        reach = sum(2 * 2**k for k in range(stages)) + sum(3 * 2**k for k in range(stages - 1))
        reach = (reach + 1) * self.patch
        return -(-(reach + self.stride) // self.stride) * self.stride

    @property
    def view(self) -> int:
        """Pixels along a side of a cell of the wide view; 1 where there is none."""
        return 1


@dataclass(frozen=True, kw_only=True)
class WideUNetConfig(UNetConfig):
    """The shape of the network.

    Attributes:
        widths, patch, dropout: see `UNetConfig`.
        wide_widths: channels of each stage of the wide view, finest first.
        wide_stage: of the fine network, that the wide view's features enter: its cells have so many halvings of
            `patch` pixels. Each stage more makes the wide view four times cheaper, which is most of a training's time.
    """

    widths: tuple[int, ...] = (24, 48, 96, 128)
    wide_widths: tuple[int, ...] = (24, 48, 64, 96, 96)
    wide_stage: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.wide_stage < len(self.widths) or len(self.wide_widths) < 2 or min(self.wide_widths) < 1:
            raise OptionError(
                f"wide_stage {self.wide_stage} must be one of the {len(self.widths)} stages of widths {self.widths}, "
                f"and wide_widths {self.wide_widths} must name two stages or more."
            )
        if self.view < 2:
            raise OptionError("A wide view in cells of 1 pixel is none: take a patch of 2 or a wide_stage of 1.")

    @property
    def view(self) -> int:
        """Pixels along a side of a cell of the wide view."""
        return self.patch * int(2**self.wide_stage)


def has_wide_view(shape: UNetConfig) -> TypeGuard[WideUNetConfig]:
    """Whether a network sees the scene around its image, too."""
    return shape.view > 1


#: architecture -> its settings
MAP_SHAPES: dict[str, type[UNetConfig]] = {"unet": UNetConfig, "wide_unet": WideUNetConfig}


def configured(name: str, config: type, settings: Mapping[str, object] | None) -> Any:
    """The settings of an architecture, as dicts of cards and recipes give them.

    Args:
        name: of the architecture.
        config: dataclass of its settings.
        settings: some of its fields; lists are taken for tuples.

    Raises:
        ModelError: a setting that it does not have.
    """
    chosen = {k: tuple(v) if isinstance(v, list) else v for k, v in (settings or {}).items()}
    unknown = set(chosen) - set(asdict(config()))
    if unknown:
        raise ModelError(f"Settings {sorted(unknown)} are unknown to {name!r}, which has {sorted(asdict(config()))}.")
    return config(**chosen)


def map_shape(name: str, settings: Mapping[str, object] | None) -> UNetConfig:
    """The shape of a network of `MAP_SHAPES` with settings of a card.

    Raises:
        ModelError: unknown settings, or sizes that are no whole numbers.
        OptionError: sizes that cannot be.
    """
    shape: UNetConfig = configured(name, MAP_SHAPES[name], settings)
    sizes = [shape.patch, *shape.widths]
    if has_wide_view(shape):
        sizes += [shape.wide_stage, *shape.wide_widths]
    if any(type(n) is not int for n in sizes):
        raise ModelError(f"patch, widths and stages of {name!r} must be whole numbers, and are {sizes}")
    return shape


def outline(shape: UNetConfig, n_channels: int, n_classes: int) -> Outline:
    """Names, shapes and types (``"float32"``, ``"int64"``) of the weights, in the order of the network.

    Args:
        shape: of the network.
        n_channels: of its input.
        n_classes: of its output.
    """
    return dict(_tensors(shape, n_channels, n_classes))


def _tensors(shape: UNetConfig, n_channels: int, n_classes: int) -> Iterator[tuple[str, tuple[tuple[int, ...], str]]]:
    widths, group = shape.widths, shape.patch**2
    yield from _both_ways("", n_channels * group, widths)
    yield from _convolution("head", widths[0], n_classes * group)
    if has_wide_view(shape):
        yield from _both_ways("wide_", n_channels, shape.wide_widths)
        yield from _convolution("merge", shape.wide_widths[0], widths[shape.wide_stage])


def _both_ways(prefix: str, n_in: int, widths: tuple[int, ...]) -> Iterator[tuple[str, tuple[tuple[int, ...], str]]]:
    """Down and up again: encoder, 1 × 1 convolutions between stages, decoder."""
    for i, (a, b) in enumerate(itertools.pairwise((n_in, *widths))):
        yield from _double_convolution(f"{prefix}encoder.{i}", a, b)
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        yield from _convolution(f"{prefix}reduce.{i}", b, a)
    for i, a in enumerate(widths[:-1]):
        yield from _double_convolution(f"{prefix}decoder.{i}", a, a)


def _double_convolution(name: str, n_in: int, n_out: int) -> Iterator[tuple[str, tuple[tuple[int, ...], str]]]:
    """Two convolutions of 3 × 3, each with batch norm, as modules 0, 1 and 3, 4 (2 and 5 have no weights)."""
    for first, n in ((0, n_in), (3, n_out)):
        yield f"{name}.{first}.weight", ((n_out, n, 3, 3), "float32")
        for what in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.{first + 1}.{what}", ((n_out,), "float32")
        yield f"{name}.{first + 1}.num_batches_tracked", ((), "int64")


def _convolution(name: str, n_in: int, n_out: int) -> Iterator[tuple[str, tuple[tuple[int, ...], str]]]:
    yield f"{name}.weight", ((n_out, n_in, 1, 1), "float32")
    yield f"{name}.bias", ((n_out,), "float32")
