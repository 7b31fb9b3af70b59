"""How long the bundled model takes for a scene: the product's own loop over tiles, without reading and warping."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import torch
import xarray as xr
from benchmarks.on_gpu.cases import machine

from frazil.learn.checkpoint import DEFAULT_MODEL, load_model
from frazil.learn.infer.choose import engine_for
from frazil.learn.infer.torch_engine import TorchEngine
from frazil.learn.models.wide_unet import Views, crop
from frazil.learn.predict.ice import IceAnswers
from frazil.learn.predict.scene import classify


def made_up_scene(side: int, spacing_m: float, seed: int = 0) -> xr.Dataset:
    """A square scene in memory: speckle around a smooth field, linear power; it looks like no sea."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(-16.0, 4.0, (2, side // 64 + 2, side // 64 + 2)).astype(np.float32)
    smooth = coarse.repeat(64, axis=1).repeat(64, axis=2)[:, :side, :side]
    smooth[1] -= 8.0
    sigma0 = 10 ** (smooth / 10) * rng.standard_gamma(20.0, smooth.shape, dtype=np.float32) / 20
    angle = np.broadcast_to(np.linspace(19.0, 46.0, side, dtype=np.float32), (side, side))
    dims = ("polarization", "line", "pixel")
    return xr.Dataset(
        {
            "sigma0": (dims, sigma0.astype(np.float32)),
            "nesz": (dims, np.broadcast_to(np.float32(10**-2.7), sigma0.shape)),
            "incidence_angle": (dims[1:], angle),
        },
        {"polarization": ["HH", "HV"], "line": np.arange(side), "pixel": np.arange(side)},
        {"spacing_m": spacing_m},
    )


def scene_rows(side: int, device: str, precision: str, repeats: int = 2) -> dict[str, Any]:
    """Seconds of a scene of ``side`` × ``side`` pixels, the best of some runs after a small one, and peak memory.

    Args:
        side: pixels.
        device: ``"cpu"`` (all cores) or ``"cuda"``.
        precision: see `engine_for`.
        repeats: runs.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        model = load_model(DEFAULT_MODEL)
        scene = made_up_scene(side, model.card.spacing_m)
        engine = engine_for(model, engine="torch", device=device, precision=precision)
        classify(scene.isel(line=slice(0, 512), pixel=slice(0, 512)), engine, model.card, IceAnswers())
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        seconds = []
        for _ in range(repeats):
            started = time.perf_counter()
            classify(scene, engine, model.card, IceAnswers())
            seconds.append(round(time.perf_counter() - started, 3))
        peak = torch.cuda.max_memory_allocated() if device == "cuda" else 0
        assert isinstance(engine, TorchEngine)
        network = _network_seconds(engine, len(model.card.channels), side)
    finally:
        torch.set_num_threads(threads)
    return {
        **machine(device),
        "model": model.card.id,
        "side": side,
        "precision": precision,
        "seconds": min(seconds),
        "all_seconds": seconds,
        "peak_bytes": peak,
        "network_seconds": network,
        "cores": os.cpu_count(),
        "spacing_m": model.card.spacing_m,
    }


def _network_seconds(engine: TorchEngine, channels: int, side: int) -> float:
    """Seconds of the network alone on tiles that cover the scene, its input already where it computes."""
    tile = min(2048, side // 64 * 64)
    rounds = 5 if engine.device.type == "cuda" else 1
    x = torch.rand(1, channels, tile, tile, device=engine.device)
    x = x.to(engine.dtype, memory_format=torch.channels_last)
    with torch.inference_mode():
        engine.look(np.zeros((channels, tile // engine.view, tile // engine.view), np.float32))
        assert engine._features is not None
        wide = crop(engine._features, Views(x, x, torch.tensor([(0, 0)])), engine.view)
        started = 0.0
        for number in range(rounds + 1):
            if number == 1:  # the first one chooses algorithms
                _wait(engine.device)
                started = time.perf_counter()
            engine.network.with_features(x, wide)  # type: ignore[operator]
        _wait(engine.device)
    return round((time.perf_counter() - started) / rounds * (side / tile) ** 2, 3)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
