"""Segmentation networks on products with labels: ``--set data.train=A.SAFE,B.SAFE --set data.labels=labels.gpkg``."""

from __future__ import annotations

from frazil.learn.config import ModelConfig, OptimConfig, RunConfig, SceneData


def unet() -> RunConfig:
    """The bundled model's network, on 120 m pixels; labels are rasters, polygons or charts."""
    return RunConfig(
        name="unet",
        model=ModelConfig(architecture="unet", settings={"widths": (24, 48, 96, 128), "patch": 2}),
        data=SceneData(),
        optim=OptimConfig(steps=3000, batch=8, lr=2e-3, keep="best"),
    )
