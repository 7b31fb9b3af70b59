"""Dense inference: the tiling must not show, nodata is never classified, flags say what they should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from frazil import open_scene
from frazil.conventions import CLASS_LAND, CLASS_NODATA, PERCENT_NODATA, QUALITY_FLAGS, UNDECIDED, check_map
from frazil.errors import ModelError, OptionError
from frazil.learn.checkpoint import Model, ModelCard
from frazil.learn.infer.softmax import half_percents, softmax
from frazil.learn.infer.torch_engine import TorchEngine
from frazil.learn.models import create_model
from frazil.learn.predict.flags import FlagSettings
from frazil.learn.predict.ice import IceAnswers, predict, to_binary
from frazil.learn.predict.scene import classify
from frazil.scene.grid import MapGrid, plan_warp
from frazil.scene.lazy import lazy_variable
from frazil.scene.scaling import CHANNELS
from tests.learn.infer.cell_logits import cell_logits

BIT = {name: mask for name, (mask, _) in QUALITY_FLAGS.items()}


def random_model(seed: int = 0, widths: tuple[int, ...] = (6, 8, 10), patch: int = 2, **card: Any) -> Model:
    """An untrained network whose batch norm has seen data, so that every pixel differs."""
    torch.manual_seed(seed)
    settings = {"widths": widths, "patch": patch}
    network = create_model("unet", n_channels=3, n_classes=5, settings=settings)
    network.train()
    for _ in range(3):
        network(torch.rand(2, 3, 64, 64))
    fields: dict[str, Any] = {
        "id": "random-1",
        "architecture": "unet",
        "settings": settings,
        "class_scheme": "five_classes",
        "channels": tuple(CHANNELS[c] for c in ("hh", "hv", "incidence_angle")),
        "spacing_m": 120.0,
        "denoise": "esa",
        "incidence_range": (19.0, 46.0),
    } | card
    return Model(network.eval(), ModelCard(**fields))


@pytest.fixture(scope="module")
def model() -> Model:
    return random_model()


@pytest.fixture(scope="module")
def scene(small_safe: Path) -> xr.Dataset:
    return open_scene(small_safe, looks=3).load()


@pytest.mark.parametrize("shape", [(300, 500), (211, 307), (64, 499), (129, 130)])
@pytest.mark.parametrize("patch", [1, 2])
def test_tiled_equals_whole_for_odd_sizes_and_any_tile(scene: xr.Dataset, shape: tuple[int, int], patch: int) -> None:
    model = random_model(seed=1, patch=patch)
    part = scene.isel(line=slice(0, shape[0]), pixel=slice(0, shape[1]))
    engine = TorchEngine(model.network)
    whole = cell_logits(part, engine, model.card, 4096)
    assert np.isfinite(whole).all()
    for tile in (64, 104):
        np.testing.assert_allclose(cell_logits(part, engine, model.card, tile), whole, rtol=1e-4, atol=2e-5)


def test_receptive_field_ends_within_the_margin() -> None:
    """By brute force: change one pixel and see how far the change goes."""
    for widths, patch in (((6, 8, 10), 2), ((4, 6, 8, 8), 2), ((4, 5), 1), ((4, 5, 6), 4)):
        model = random_model(seed=2, widths=widths, patch=patch)
        engine = TorchEngine(model.network)
        side = 4 * engine.margin + 8 * engine.stride
        image = np.random.default_rng(0).random((3, side, side)).astype(np.float32)
        base = engine(image)
        for offset in (0, 1, engine.stride - 1):
            at = side // 2 + offset
            moved = image.copy()
            moved[:, at, at] += 50.0
            changed = np.argwhere(np.abs(engine(moved) - base).max(axis=0) > 1e-6)
            assert len(changed)
            assert np.abs(changed - at).max() <= engine.margin


def test_folding_batch_norm_keeps_the_function(model: Model) -> None:
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        plain = model.network(image)[0].numpy()
    np.testing.assert_allclose(TorchEngine(model.network)(image[0].numpy()), plain, rtol=1e-3, atol=1e-4)


def test_map_follows_the_contract_in_both_geometries(scene: xr.Dataset, model: Model) -> None:
    for crs in ("auto", None, "EPSG:32645"):
        ice_map = predict(scene, model, crs=crs)
        assert check_map(ice_map).name == "five_classes"
        check_map(to_binary(ice_map))
    grid = MapGrid.of(predict(scene, model, spacing_m=200.0))
    assert grid.crs == "EPSG:3413"
    assert grid.spacing_m == 200.0


def test_nodata_is_never_classified(scene: xr.Dataset, model: Model) -> None:
    holes = scene.copy(deep=True)
    rng = np.random.default_rng(0)
    missing = rng.random((scene.sizes["line"], scene.sizes["pixel"])) < 0.2
    missing[:, :40] = True
    holes["sigma0"].values[1][missing] = np.nan  # one polarisation is enough
    ice_map = predict(holes, model, crs=None)
    blank = ice_map.ice_class.values == CLASS_NODATA
    assert (blank == ~np.isfinite(holes.sigma0.values).all(axis=0)).all()
    for name in ("ice_probability", "confidence"):
        assert (ice_map[name].values[blank] == PERCENT_NODATA).all()
    assert (ice_map.probability.values[:, blank] == PERCENT_NODATA).all()
    assert (ice_map.quality_flags.values[blank] == BIT["nodata"]).all()
    assert ((ice_map.quality_flags.values & BIT["nodata"] > 0) == blank).all()


def test_probabilities_are_percent_and_agree_with_the_class(scene: xr.Dataset, model: Model) -> None:
    ice_map = predict(scene, model, crs=None)
    sea = ice_map.ice_class.values < CLASS_LAND
    assert sea.mean() > 0.9
    code, ice, confidence = (ice_map[n].values[sea] for n in ("ice_class", "ice_probability", "confidence"))
    p = ice_map.probability.values[:, sea].astype(int)
    assert (p.sum(axis=0) == 100).all()
    assert (ice == 100 - p[0]).all()
    assert (confidence == np.maximum(ice, 100 - ice)).all()
    assert ((code == UNDECIDED) == (confidence < 80)).all()
    assert ((code == 0) == (ice <= 20)).all()
    kinds = p[1:, (code > 0) & (code < 5)]
    assert kinds.size
    chosen = np.take_along_axis(kinds, code[(code > 0) & (code < 5)][None].astype(int) - 1, axis=0)[0]
    assert (chosen == kinds.max(axis=0)).all()
    assert ((ice_map.quality_flags.values[sea] & BIT["undecided"] > 0) == (code == UNDECIDED)).all()
    told = predict(scene, model, crs=None, flags=FlagSettings(confidence_percent=0)).ice_class.values[sea]
    assert ((told > 0) == (ice >= 50)).all()  # nobody asks for confidence: the likelier of ice and water
    assert (told[code != UNDECIDED] == code[code != UNDECIDED]).all()


def test_whole_image_of_one_class_stays_it_after_the_warp(scene: xr.Dataset) -> None:
    model = random_model()
    head: Any = model.network.head
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        head.bias[3 * 4 : 4 * 4] = 8.0  # class 3, all four pixels of a patch
    ice_map = predict(scene, model)
    assert set(np.unique(ice_map.ice_class)) <= {3, CLASS_LAND, CLASS_NODATA}
    seen = ice_map.ice_class.values == 3
    assert (ice_map.confidence.values[seen] >= 99).all()
    area = seen.sum() * 0.12**2
    assert area == pytest.approx(scene.valid.sum().item() * 0.12**2, rel=0.08)  # polar stereographic scale at 80° N


def test_temperature_flattens_confidence(scene: xr.Dataset, model: Model) -> None:
    hot = Model(model.network, replace(model.card, temperature=5.0))
    flat, sharp = predict(scene, hot, crs=None), predict(scene, model, crs=None)
    used = sharp.ice_class.values < CLASS_LAND
    top = [m.probability.values[:, used].max(axis=0).mean() for m in (flat, sharp)]
    assert top[0] < top[1]
    same = flat.probability.values[:, used].argmax(axis=0) == sharp.probability.values[:, used].argmax(axis=0)
    assert same.mean() > 0.97  # half-percent ties aside


@pytest.mark.parametrize("spacing_m", [120.0, 360.0])
def test_the_radar_image_of_a_map_is_the_scene(scene: xr.Dataset, model: Model, spacing_m: float) -> None:
    """Against the scene averaged by xarray and warped at once, in decibels; whatever the tiles."""
    made = predict(scene, model, spacing_m=spacing_m, tile=104)
    looks = round(spacing_m / 120)
    power = scene["sigma0"].coarsen(line=looks, pixel=looks, boundary="trim").mean().values.astype(float)
    coarse = scene.coarsen(line=looks, pixel=looks, boundary="trim").mean()
    coarse = coarse.assign({n: scene[n] for n in scene.variables if str(n).startswith("tie_")}).assign_attrs(
        scene.attrs
    )
    warp = plan_warp(coarse, MapGrid.of(made))
    hh, hv = (10 * np.log10(np.maximum(plane, 1e-5)) for plane in power)
    assert made["quicklook"].attrs["stretch_db"] == "HH -30 0, HV -35 -10, HV/HH -25 0"
    limits = ((-30, 0), (-35, -10), (-25, 0))
    for plane, db, (low, high) in zip(made["quicklook"].values, (hh, hv, hv - hh), limits, strict=True):
        expected = warp.bilinear(np.clip(db, low, high))
        np.testing.assert_array_equal(plane > 0, np.isfinite(expected))
        found = (plane.astype(float) - 1) / 254 * (high - low) + low
        assert np.nanmax(np.abs(found - expected)[plane > 0]) < 0.15  # dB: a step is 0.1
        assert np.nanstd(expected) > 1


def test_the_radar_grid_has_no_need_of_an_image(scene: xr.Dataset, model: Model) -> None:
    assert "quicklook" not in predict(scene, model, crs=None)


def test_flags(scene: xr.Dataset) -> None:
    model = random_model(incidence_range=(28.0, 29.0))
    changed = scene.copy(deep=True)
    changed["noise_missing"] = changed["noise_missing"] | (changed.line > 600)
    radar = classify(changed, TorchEngine(model.network), model.card, IceAnswers(flags=FlagSettings(border_m=600.0)))
    flags = radar.flags
    angle = scene.incidence_angle.values
    outside = (angle < 28.0) | (angle > 29.0)
    np.testing.assert_array_equal(flags & BIT["incidence_out_of_range"] > 0, outside)
    np.testing.assert_array_equal((flags & BIT["noise_missing"] > 0).all(axis=1), (changed.line > 600).values)
    border = flags & BIT["border"] > 0
    assert border[:5].all()
    assert border[:, :5].all()
    assert not border[6:-6, 6:-6].any()  # 600 m are five pixels


def test_coast_and_land_flags(model: Model) -> None:
    """The real coast of Severnaya Zemlya, under simulated pixels."""
    from frazil.simulate.scene import simulate_scene

    scene = simulate_scene(seed=1, spacing_m=960.0)
    ice_map = predict(scene, random_model(spacing_m=960.0), flags=FlagSettings(coast_m=5000.0))
    flags = ice_map.quality_flags.values
    land = ice_map.ice_class.values == CLASS_LAND
    assert land.any()
    np.testing.assert_array_equal(flags & BIT["land"] > 0, land)
    assert (ice_map.probability.values[:, land] == PERCENT_NODATA).all()
    coast = flags & BIT["coast"] > 0
    assert coast.any()
    assert not (coast & land).any()
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(~land) * 960.0
    assert distance[coast].max() < 5000.0 + 2 * 960.0


def test_wrong_scene_for_the_model(scene: xr.Dataset, model: Model, small_safe: Path) -> None:
    with pytest.raises(ModelError, match=r"needs \['HH', 'HV'\], but the scene holds \['HH'\]"):
        predict(scene.sel(polarization=["HH"]), model)
    with pytest.raises(ModelError, match=r"120 m, but the scene has 40 m. Open the scene with looks=3"):
        predict(open_scene(small_safe), model)
    vv = random_model(channels=(CHANNELS["vv"], CHANNELS["vh"], CHANNELS["incidence_angle"]))
    with pytest.raises(ModelError, match=r"needs \['VV', 'VH'\], but S1.* holds \['HH', 'HV'\]"):
        predict(small_safe, vv)


def test_product_path_is_opened_as_the_model_wants(small_safe: Path, scene: xr.Dataset, model: Model) -> None:
    xr.testing.assert_equal(
        predict(small_safe, model, crs=None).drop_vars("history", errors="ignore"), predict(scene, model, crs=None)
    )


def test_same_run_same_bits(scene: xr.Dataset, model: Model) -> None:
    xr.testing.assert_equal(predict(scene, model, tile=128), predict(scene, model, tile=128))


def test_bfloat16_and_unknown_devices(scene: xr.Dataset, model: Model) -> None:
    full, half = (predict(scene, model, crs=None, precision=p) for p in ("float32", "bfloat16"))
    assert (full.ice_class.values == half.ice_class.values).mean() > 0.9
    with pytest.raises(OptionError, match="float16"):
        predict(scene, model, precision="float16")
    if not torch.cuda.is_available():
        with pytest.raises(OptionError, match="device='cpu'"):
            predict(scene, model, device="cuda")


def test_softmax_sums_to_one() -> None:
    p = softmax(np.random.default_rng(0).normal(0, 30, (5, 40)).astype(np.float32))
    np.testing.assert_allclose(p.sum(axis=0), 1, rtol=1e-5)


def test_a_model_of_another_noise_removal_is_refused_in_words(small_safe: Path) -> None:
    with pytest.raises(ModelError, match="was removed by 'nersc', which frazil cannot repeat"):
        predict(small_safe, random_model(denoise="nersc"))


# What must not pass in silence (see also test_fit.py)


def test_percents_sum_to_a_hundred_and_keep_the_order() -> None:
    from frazil.percent import whole_percents

    rng = np.random.default_rng(3)
    p = rng.dirichlet(np.full(5, 0.5), (60, 70)).transpose(2, 0, 1)
    half = np.rint(200 * p).astype(np.uint8)
    half[:, :3] = 0
    half[:, 3, 0] = (40, 40, 40, 40, 40)
    half[:, 3, 1] = (67, 67, 66, 0, 0)
    got = whole_percents(half).astype(int)
    assert (got[:, 3:].sum(0) == 100).all()
    assert (got[:, :3] == 0).all()
    exact = 100.0 * half[:, 3:] / half[:, 3:].sum(0)
    assert (np.abs(got[:, 3:] - exact) < 1).all()
    assert (got[:, 3:].max(0) == np.take_along_axis(got, half.argmax(0)[None], 0)[0, 3:]).all()
    assert got[:, 3, 1].tolist() == [34, 33, 33, 0, 0]


def test_half_percents_are_those_of_softmax_in_float64() -> None:
    rng = np.random.default_rng(5)
    logits = (8 * rng.standard_normal((5, 300, 407))).astype(np.float32)
    out = np.empty(logits.shape, np.uint8)
    half_percents(logits, 1.7, out)
    z = logits.astype(np.float64) / 1.7
    p = np.exp(z - z.max(axis=0))
    assert np.abs(out - 200 * p / p.sum(axis=0)).max() < 0.5 + 1e-3


def test_a_scene_is_read_once_by_networks_that_look_at_all_of_it(scene: xr.Dataset) -> None:
    read: list[int] = []
    stored = scene["sigma0"].values

    def compute(planes: range, line: slice, pixel: slice, out: np.ndarray) -> None:
        read.append((line.stop - line.start) * (pixel.stop - pixel.start) * len(planes))
        out[:] = stored[planes.start : planes.stop, line, pixel]

    lazy = lazy_variable(("polarization", "line", "pixel"), compute, stored.shape, np.float32, scene["sigma0"].attrs)
    wide = create_model("wide_unet", n_channels=3, n_classes=5, settings={"widths": (6, 8, 12, 16)}).eval()
    made = Model(wide, random_model().card)
    found = predict(scene.assign(sigma0=lazy), made, crs=None, tile=128)
    assert sum(read) == stored.size
    again = predict(scene, made, crs=None, tile=128)
    np.testing.assert_array_equal(found["probability"], again["probability"])
