"""Whether network, data and way to learn belong together: asked before anything is read."""

from __future__ import annotations

import torch
from torch import nn

from frazil.errors import OptionError
from frazil.learn.config import RunConfig
from frazil.learn.models import ARCHITECTURES, create_model

_OF_ANY_IMAGE = ("flip", "rotate")  # changes that need no backscatter


def check_run(config: RunConfig) -> nn.Module:
    """A network as a run's settings say, with weights of its own; the run's random numbers are not touched.

    Raises:
        ModelError: an unknown architecture or setting of it.
        OptionError: a way to learn, a kind of data or a network that do not go together.
    """
    with torch.random.fork_rng(devices=[]):
        network = create_model(
            config.model.architecture,
            n_channels=len(config.data.channels) or 3,
            n_classes=2,
            settings=config.model.settings,
        )
    check_strategy(config)
    if config.optim.target and config.data.learnt_by == "imagette" and config.optim.target_score != "macro_f1":
        raise OptionError(
            "Phenomena have no accuracy, as several may hold at a place. Set optim.target_score=macro_f1."
        )
    _check_network(config, str(getattr(network, "takes", "")))
    return network


def check_strategy(config: RunConfig) -> None:
    """Raise OptionError where a way to learn, or few labels, are not for a run's kind of data."""
    strategy, learnt_by, few = config.strategy, config.data.learnt_by, config.labels.few
    if learnt_by == "imagette":
        if strategy.learns_from != "imagettes":
            raise OptionError(
                f"strategy {strategy.name!r} does not learn from imagettes. Choose segmentation, categorisation or "
                "im2px."
            )
        if few:
            raise OptionError(
                f"labels.{_few(config)} draws labels of patches. Set data.annotated: so many images of each category "
                "are learnt from."
            )
    elif strategy.learns_from == "imagettes":
        raise OptionError(f"Strategy {strategy.name!r} learns from imagettes, not from patches or scenes.")
    elif config.data.kind not in ("patches", "cifar10") and (few or strategy.learns_from == "pool"):
        raise OptionError(
            f"labels.{_few(config)} and strategy {strategy.name!r} are for patches. Cut some with `frazil patches`."
        )
    elif config.data.kind == "cifar10":
        strong: tuple[str, ...] = getattr(strategy, "strong", ())
        radar = [name for name in strong if name not in _OF_ANY_IMAGE]
        if radar:
            raise OptionError(
                f"strategy.strong {radar[0]!r} changes backscatter, and photographs have none. Set strategy.strong="
                f"{','.join(name for name in strong if name in _OF_ANY_IMAGE) or _OF_ANY_IMAGE[0]}."
            )


def _few(config: RunConfig) -> str:
    """The setting that says how many labels are kept."""
    return "count" if config.labels.per_class is None else "per_class"


def _check_network(config: RunConfig, takes: str) -> None:
    name, strategy, learnt_by = config.model.architecture, config.strategy, config.data.learnt_by
    if learnt_by == "imagette":
        if takes != strategy.takes:
            raise OptionError(
                f"Architecture {name!r} does not learn by {strategy.name!r} from imagettes. Recipes that fit: "
                "metocean:unet, metocean:categoriser, metocean:im2px."
            )
    elif learnt_by == "patch" and takes != "patch":
        fitting = [n for n, (kind, _) in ARCHITECTURES.items() if getattr(kind, "takes", "") == "patch"]
        raise OptionError(
            f"Architecture {name!r} learns from labelled scenes, not from patches. Choose one of {fitting}."
        )
    elif learnt_by == "scene" and takes == "patch":
        raise OptionError(
            f"Architecture {name!r} learns from patches, not from labelled scenes. Cut some with `frazil patches`, or "
            "choose 'unet'."
        )
    elif learnt_by == "scene" and takes != "scene":
        raise OptionError(f"Architecture {name!r} learns from imagettes, not from labelled scenes. Choose 'unet'.")
