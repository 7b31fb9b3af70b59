"""Patch classifiers of the first paper, on patch sets of your own: ``--set data.patches=SET.zarr``.

Settings are the paper's where it gives them (Adam, cross-entropy, batch 50 for the ad hoc network and 20 for the large
ones, dropout 0.5); the split is by scene, which the paper's was not.

References:
    Khaleghian (2022), paper 1, sections 3 and 4.
"""

from __future__ import annotations

from dataclasses import replace

from frazil.learn.config import (
    PAPER_AUGMENTATIONS,
    DistillationConfig,
    ModelConfig,
    OptimConfig,
    PatchData,
    RunConfig,
)


def _run(architecture: str, *, batch: int = 20, lr: float = 1e-3, epochs: float = 20, name: str = "") -> RunConfig:
    return RunConfig(
        name=name or architecture,
        model=ModelConfig(architecture=architecture),
        data=PatchData(augment=PAPER_AUGMENTATIONS),
        optim=OptimConfig(
            optimiser="adam", epochs=epochs, batch=batch, lr=lr, warmup=100, weight_decay=0.0, keep="best", patience=8
        ),
    )


def adhoc() -> RunConfig:
    """The small network of the paper: minutes on a laptop."""
    return _run("adhoc", batch=50)


def distilled() -> RunConfig:
    """The small network, taught by a model or an ensemble: ``--set strategy.teacher=FOLDER``."""
    return replace(_run("adhoc", batch=50, name="distilled"), strategy=DistillationConfig())


def vgg16() -> RunConfig:
    """VGG-16 from scratch, with the head of the ad hoc network."""
    return _run("vgg16", lr=2e-4)


def modified_vgg16() -> RunConfig:
    """The paper's best: VGG-16 without its last max-pool."""
    return _run("modified_vgg16", lr=2e-4)


def mobilenet_v2() -> RunConfig:
    """MobileNetV2 from scratch."""
    return _run("mobilenet_v2")


def resnet50() -> RunConfig:
    """ResNet-50 from scratch."""
    return _run("resnet50")


def densenet121() -> RunConfig:
    """DenseNet-121 from scratch."""
    return _run("densenet121")


def efficientnet_lite0() -> RunConfig:
    """EfficientNet-Lite0 from scratch; with ``--set model.pretrained=FILE`` from weights trained on photographs."""
    return _run("efficientnet_lite0")
