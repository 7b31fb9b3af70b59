"""Phenomena of sea and air in imagettes: ``--set data.train=train.zarr --set data.test=test.zarr``.

Sets come from ``frazil imagettes``. The three networks of Colin et al. (2022); learning rates and lengths are ours,
since the source gives none.
"""

from __future__ import annotations

from frazil.learn.config import (
    CategorisationConfig,
    Im2PxStrategyConfig,
    ImagetteData,
    ModelConfig,
    OptimConfig,
    RunConfig,
    SegmentationConfig,
)

_ADAM = OptimConfig(optimiser="adam", epochs=30, batch=16, lr=1e-3, warmup=50, weight_decay=0.0)


def unet() -> RunConfig:
    """Method A: a U-Net on drawn masks.

    Its loss weighs classes by K (equation 2), and not, as equation 1 does, cells by how much of an image a class
    covers: that costs 20 points of Dice (docs/results/metocean.md). ``strategy.weighting=paper`` is equation 1.
    """
    return RunConfig(
        name="unet-metocean",
        model=ModelConfig(architecture="metocean_unet", settings={"widths": (16, 32, 64, 128, 256)}),
        data=ImagetteData(),
        strategy=SegmentationConfig(weighting="none"),
        optim=_ADAM,
    )


def categoriser() -> RunConfig:
    """The categoriser behind MASK, PART and CAM: InceptionV3 at full width."""
    return RunConfig(
        name="categoriser-metocean",
        model=ModelConfig(architecture="inception_v3", settings={"output": "softmax"}),
        data=ImagetteData(),
        strategy=CategorisationConfig(),
        optim=_ADAM,
    )


def im2px() -> RunConfig:
    """Method E: labels of images at every pixel of a network that sees 98 pixels."""
    return RunConfig(
        name="im2px-metocean",
        model=ModelConfig(architecture="im2px", settings={"output": "sigmoid"}),
        data=ImagetteData(),
        strategy=Im2PxStrategyConfig(),
        optim=_ADAM,
    )
