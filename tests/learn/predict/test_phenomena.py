"""Maps of phenomena from products: tiles that do not show, flags, dropped classes, sea ice of another model, files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas as gpd
import jsonschema
import numpy as np
import pytest
import rasterio
import torch
import xarray as xr
from click.testing import CliRunner
from rio_cogeo.cogeo import cog_validate

from frazil.cli import cli
from frazil.conventions import CLASS_LAND, CLASS_NODATA, METOCEAN, QUALITY_FLAGS, check_map
from frazil.errors import ContractError, FrazilError, LabelError, ModelError, OptionError, UnsupportedProductError
from frazil.labels.imagettes_products import cut_imagettes
from frazil.learn.checkpoint import Model, ModelCard, save_model
from frazil.learn.models import create_model
from frazil.learn.predict.phenomena import DropRule, PhenomenaAnswers, PhenomenaMapOptions, predict_phenomena
from frazil.learn.predict.scene import classify, open_for
from frazil.maps.export import export, open_map
from frazil.maps.polygons import phenomena_polygons
from frazil.maps.summary import summarise
from frazil.scene.geolocation import Geolocation
from frazil.scene.ocean import detrend
from frazil.scene.scaling import CHANNELS, network_input
from frazil.simulate.product import simulate_product
from frazil.testing import make_map
from tests.learn.predict.test_scene import random_model
from tests.maps.test_export import ITEM_SCHEMA


def model(architecture: str = "metocean_unet", **card: object) -> Model:
    torch.manual_seed(5)
    of_each: dict[str, dict[str, Any]] = {"metocean_unet": {"widths": [3, 4, 5, 6]}, "inception_v3": {"width": 0.05}}
    settings = of_each[architecture]
    network = create_model(architecture, n_channels=1, n_classes=10, settings=settings).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean.normal_(std=0.05)
    fields: dict[str, object] = {
        "id": "m-1",
        "architecture": architecture,
        "settings": settings,
        "class_scheme": "metocean",
        "channels": (CHANNELS["roughness_vv"],),
        "spacing_m": 100.0,
        "denoise": "esa",
        "incidence_range": (23.0, 37.5),
        "training": {"data": {"scaling": "roughness"}},
        "statement": "Of random weights.",
    }
    return Model(network, ModelCard(**{**fields, **card}))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def iw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated IW product of 30 × 40 km, VV and VH."""
    return simulate_product(
        tmp_path_factory.mktemp("iw"),
        template="iw",
        seed=1,
        lines=(0, 3000),
        pixels=(0, 4000),
        land=None,
    )


@pytest.fixture(scope="module", autouse=True)
def open_sea() -> Iterator[None]:
    """The real metadata lie over land, the simulated pixels are sea: take the land away."""
    with pytest.MonkeyPatch.context() as patch:
        nowhere = lambda grid: (np.zeros(grid.shape, bool), np.full(grid.shape, np.inf, np.float32))  # noqa: E731
        patch.setattr("frazil.learn.predict.scene.land_on", nowhere)
        yield


@pytest.fixture(scope="module")
def made(iw: Path) -> xr.Dataset:
    return predict_phenomena(iw, model())


def test_the_map(made: xr.Dataset) -> None:
    assert made["score"].dims == ("category", "y", "x")
    known = made["score"].values != 255
    assert known.any()
    assert made["score"].values[known].max() <= 100
    spacing = abs(float(made["x"][1] - made["x"][0]))
    assert spacing == 400
    level = made["score"].values >= 50
    bits = made["phenomena"].values
    for code in range(10):
        np.testing.assert_array_equal((bits >> code) & 1, level[code] & known[code])
    where = made["dominant"].values < 10
    np.testing.assert_array_equal(made["dominant"].values[where], made["score"].values.argmax(0)[where])
    assert set(np.unique(made["dominant"].values)) <= {*range(10), 253, 254, 255}


def radar_scores(scene: xr.Dataset, loaded: Model, options: PhenomenaMapOptions) -> tuple[np.ndarray, np.ndarray]:
    answers = PhenomenaAnswers(options=options)
    found = classify(scene, answers.engine(loaded), loaded.card, answers)
    return found.scores, found.flags


def test_tiles_do_not_show(iw: Path) -> None:
    loaded = model()
    scene = open_for(iw, loaded.card)
    whole, flags = radar_scores(scene, loaded, PhenomenaMapOptions(tile=4096))
    tiled, again = radar_scores(scene, loaded, PhenomenaMapOptions(tile=96))
    assert np.abs(whole.astype(int) - tiled).max() <= 1  # rounding to percent
    np.testing.assert_array_equal(flags, again)
    assert whole.shape == (10, 75, 100)
    half, _ = radar_scores(scene, loaded, PhenomenaMapOptions(tiling="half-overlap"))
    assert np.abs(whole.astype(int) - half).mean() < 5


def test_one_scale_is_what_it_was(iw: Path) -> None:
    loaded = model()
    scene = open_for(iw, loaded.card)
    plain, _ = radar_scores(scene, loaded, PhenomenaMapOptions())
    one, _ = radar_scores(scene, loaded, PhenomenaMapOptions(scales=(1.0,)))
    np.testing.assert_array_equal(plain, one)


def test_tiles_do_not_show_at_several_scales(iw: Path) -> None:
    loaded = model(temperature=1.7)
    scene = open_for(iw, loaded.card)
    whole, _ = radar_scores(scene, loaded, PhenomenaMapOptions(tile=4096, scales=(1.0, 0.5, 2.0)))
    tiled, _ = radar_scores(scene, loaded, PhenomenaMapOptions(tile=128, scales=(1.0, 0.5, 2.0)))
    assert np.abs(whole.astype(int) - tiled).max() <= 1  # rounding to percent
    made = predict_phenomena(iw, loaded, options=PhenomenaMapOptions(scales=(1.0, 0.5)))
    assert made.attrs["scales"] == [1.0, 0.5]


def test_scores_are_those_of_the_network(iw: Path) -> None:
    """From σ0 by hand: ratio to the reference sea, dB, scaled, one pass."""
    loaded = model()
    scene = open_for(iw, loaded.card).load()
    rough = detrend(scene["sigma0"].sel(polarization="VV").values, scene["incidence_angle"].values)
    image = np.clip((10 * np.log10(np.maximum(rough, 1e-9)) + 18) / 24, 0, 1)
    image = np.where(np.isfinite(rough), image, 0).astype(np.float32)
    with torch.inference_mode():
        logits = loaded.network(torch.from_numpy(image)[None, None])[0]
    expected = np.rint(100 * torch.sigmoid(logits).numpy())
    score, _ = radar_scores(scene, loaded, PhenomenaMapOptions())
    seen = score != 255
    assert np.abs(expected[:, :75, :100] - score)[seen].max() <= 1
    arrays = {k: scene[k].values for k in ("sigma0", "nesz", "incidence_angle")}
    arrays["valid"] = np.isfinite(arrays["sigma0"]).all(0)
    np.testing.assert_allclose(
        network_input(arrays, ["VV"], loaded.card.channels)[0], np.where(arrays["valid"], image, 0), atol=2e-3
    )


def test_angles_outside_training_are_flagged(iw: Path) -> None:
    low = predict_phenomena(iw, model(incidence_range=(10.0, 20.0)))
    bit = QUALITY_FLAGS["incidence_out_of_range"][0]
    seen = low["dominant"].values < 254
    assert ((low["quality_flags"].values[seen] & bit) > 0).all()
    wide = predict_phenomena(iw, model(incidence_range=(10.0, 60.0)))
    assert not (wide["quality_flags"].values & bit).any()


def test_classes_that_cannot_be_there(iw: Path, made: xr.Dataset) -> None:
    best = (
        METOCEAN.names[int(np.bincount(made["dominant"].values[made["dominant"].values < 10]).argmax())]
        if (made["dominant"].values < 10).any()
        else METOCEAN.names[0]
    )
    month = int(str(made.attrs["start_time"])[5:7])
    for rule, dropped in (
        (DropRule(name=best), True),
        (DropRule(name=best, equatorward_of=1.0), False),
        (DropRule(name=best, months=(month % 12 + 1,)), False),
        (DropRule(name=best, months=(month,)), True),
    ):
        score = (
            predict_phenomena(iw, model(), options=PhenomenaMapOptions(drop=(rule,)))["score"].sel(category=best).values
        )
        assert (score[score != 255].max() == 0) == dropped
    with pytest.raises(OptionError, match="ships"):
        predict_phenomena(iw, model(), options=PhenomenaMapOptions(drop=(DropRule(name="ships"),)))


def test_sea_ice_of_another_model_wins(iw: Path, made: xr.Dataset) -> None:
    ice = np.full(made["dominant"].shape, 10, np.uint8)
    ice[: len(ice) // 2] = 90
    other = xr.Dataset({"ice_probability": (("y", "x"), ice)}, {"y": made["y"], "x": made["x"]}, {"model": "ice-1"})
    both = predict_phenomena(iw, model(), ice=other)
    seen = both["dominant"].values < 254
    code = METOCEAN.names.index("sea_ice")
    assert (both["dominant"].values[(ice == 90) & seen] == code).all()
    assert (both["score"].values[code][(ice == 90) & seen] == 90).all()
    lower = (ice == 10) & seen
    np.testing.assert_array_equal(both["dominant"].values[lower], made["dominant"].values[lower])
    assert both.attrs["sea_ice_from"] == "ice-1"


def test_files(made: xr.Dataset, tmp_path: Path) -> None:
    files = export(made, tmp_path / "map")
    with rasterio.open(files["dominant"]) as tiff:
        np.testing.assert_array_equal(tiff.read(1), made["dominant"].values)
        assert tiff.colormap(1)[2][:3] == METOCEAN.classes[2].colour
    with rasterio.open(files["score"]) as tiff:
        assert tiff.descriptions == METOCEAN.names
    with xr.open_dataset(files["netcdf"], engine="h5netcdf", mask_and_scale=False) as back:
        np.testing.assert_array_equal(back["phenomena"].values, made["phenomena"].values)
    summary = json.loads(files["summary"].read_text())
    sea = (made["dominant"].values < 254).sum() * 0.16
    assert summary["mapped_sea_km2"] == pytest.approx(sea, abs=0.1)
    with pytest.raises(FrazilError, match="exists"):
        export(made, tmp_path / "map")
    with pytest.raises(ContractError):
        summarise(xr.Dataset())


def test_the_folder_holds_what_that_of_an_ice_map_does(made: xr.Dataset, tmp_path: Path) -> None:
    files = export(made, tmp_path / "map")
    assert all(path.is_file() for path in files.values())
    assert {path.suffix for path in files.values()} == {".tif", ".nc", ".gpkg", ".geojson", ".png", ".qgz", ".json"}
    xr.testing.assert_identical(open_map(tmp_path / "map"), open_map(tmp_path / "map" / "map.nc"))
    back = open_map(tmp_path / "map")
    assert check_map(back) is METOCEAN
    for name in made.data_vars:
        np.testing.assert_array_equal(back[name].values, made[name].values)
        assert back[name].dtype == made[name].dtype
    item = json.loads(files["stac"].read_text())
    assert set(item["assets"]) == set(files) - {"stac", "collection"}
    assert item["id"].endswith("_phenomena")
    assert len(item["assets"]["phenomena"]["classification:bitfields"]) == 10
    jsonschema.validate(item, ITEM_SCHEMA)
    assert "Iceberg" in (tmp_path / "map" / "dominant.qml").read_text()
    for asset in ("dominant", "score", "phenomena", "flags", "quicklook"):
        assert cog_validate(files[asset], strict=True)[0]


def test_polygons_cover_what_was_found(made: xr.Dataset, tmp_path: Path) -> None:
    """Without least area and simplification their areas are those of the cells, class by class, overlaps and all."""
    frame = phenomena_polygons(made, min_area_km2=0, simplify_m=0)
    told = summarise(made)["found_km2"]
    for code, name in enumerate(METOCEAN.names):
        mine = frame[frame["name"] == name]
        assert mine["area_km2"].sum() == pytest.approx(told[name], abs=0.01)
        n = int(((made["phenomena"].values >> code) & 1).sum())
        assert mine.geometry.area.sum() == pytest.approx(n * 400.0**2)
    assert frame.geometry.is_valid.all()
    assert frame["mean_score"].between(50, 100).all()
    assert (frame["area_km2"].diff().dropna() <= 0).all()
    layer = gpd.read_file(export(made, tmp_path / "map")["vectors"], layer="phenomena")
    assert set(layer["name"]) <= set(METOCEAN.names)
    assert layer.crs == frame.crs


def test_what_needs_sea_ice_says_so(made: xr.Dataset, tmp_path: Path) -> None:
    export(made, tmp_path / "map", formats=["netcdf"])
    for words in (["edge"], ["compare"]):
        more = [str(tmp_path / "map")] if words == ["compare"] else []
        done = CliRunner().invoke(cli, [*words, str(tmp_path / "map"), *more, "-o", str(tmp_path / "out.gpkg")])
        assert done.exit_code == 1
        assert "a map of phenomena (metocean), and a map of sea ice is needed" in str(done.exception) + done.output
    with pytest.raises(ContractError, match="a map of phenomena is needed"):
        phenomena_polygons(make_map())


def test_a_map_without_sea_says_so(iw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = lambda grid: (np.ones(grid.shape, bool), np.zeros(grid.shape, np.float32))  # noqa: E731
    monkeypatch.setattr("frazil.learn.predict.scene.land_on", everywhere)
    loaded = model()
    save_model(loaded.network, loaded.card, tmp_path / "model")
    done = CliRunner().invoke(cli, ["map", str(iw), "--model", str(tmp_path / "model"), "-o", str(tmp_path / "map")])
    assert done.exit_code == 0, done.output
    assert "no sea was observed in this product" in done.output
    summary = json.loads((tmp_path / "map" / "summary.json").read_text())
    assert summary["mapped_sea_km2"] == 0
    assert not any(summary["dominant_km2"].values())


def test_areas_are_those_of_the_ground(iw: Path) -> None:
    """On a grid that stretches lengths, areas are those of a UTM map of the same sea."""
    wide = "+proj=merc +k_0=1.2 +datum=WGS84"
    stretched, utm = (summarise(predict_phenomena(iw, model(), crs=crs)) for crs in (wide, "auto"))
    assert stretched["mapped_sea_km2"] == pytest.approx(utm["mapped_sea_km2"], rel=0.02)
    grid_km2 = (predict_phenomena(iw, model(), crs=wide)["dominant"].values < 254).sum() * 0.16
    assert stretched["mapped_sea_km2"] < 0.9 * grid_km2


def test_land_is_masked_and_land_only_products_are_refused(iw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import frazil.labels.imagettes_products as products
    import frazil.learn.predict.scene as maps

    monkeypatch.setattr(maps, "land_on", lambda grid: (np.ones(grid.shape, bool), np.zeros(grid.shape, np.float32)))
    made = predict_phenomena(iw, model())
    unseen = made["quality_flags"].values & QUALITY_FLAGS["nodata"][0] > 0  # as in maps of ice, on land too
    np.testing.assert_array_equal(made["dominant"].values, np.where(unseen, CLASS_NODATA, CLASS_LAND))
    assert 0.2 < unseen.mean() < 0.8
    assert (made["score"].values == 255).all()
    assert not made["phenomena"].values.any()
    monkeypatch.setattr(products, "_place", lambda _scene: (0.0, 0.0, 1.0))
    with pytest.raises(LabelError, match="lies over land"):
        cut_imagettes(iw)


def test_imagettes_of_a_wide_scene(iw: Path) -> None:
    ds = cut_imagettes(iw, max_land=1.0)
    assert ds["image"].shape[1:] == (200, 200)
    assert ds.sizes["imagette"] in (2, 4)
    assert 28 < float(ds["incidence_angle"].values[0]) < 47
    values = ds["image"].values.astype(float)
    assert 0.2 < np.nanmean(values) < 1
    coarse = cut_imagettes(iw, resolution_m=200.0, max_land=1.0)
    assert coarse["image"].shape[1:] == (100, 100)
    assert np.nanmean(coarse["image"].values.astype(float)) == pytest.approx(np.nanmean(values), abs=0.03)


def test_products_without_vv(small_safe: Path) -> None:
    with pytest.raises(UnsupportedProductError, match="VV"):
        cut_imagettes(small_safe)
    with pytest.raises(ModelError, match="VV"):
        predict_phenomena(small_safe, model())


def test_models_that_give_no_map(iw: Path) -> None:
    with pytest.raises(ModelError, match="metocean:unet"):
        predict_phenomena(iw, model("inception_v3"))
    with pytest.raises(ModelError, match="grey"):
        predict_phenomena(iw, model(training={"data": {"scaling": "8-bit"}}))
    for settings in ({"threshold": 1.0}, {"tiling": "x"}, {"precision": "float16"}):
        with pytest.raises(OptionError):
            PhenomenaMapOptions(**settings)
    with pytest.raises(OptionError):
        DropRule(name="sea_ice", months=(13,))


def test_a_box_with_an_ice_model(iw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The map of the box is that of the scene, sea ice of the other model included."""
    nowhere = lambda grid: (np.zeros(grid.shape, bool), np.full(grid.shape, np.inf, np.float32))  # noqa: E731
    monkeypatch.setattr("frazil.learn.predict.part.land_on", nowhere)
    sea, ice = model(), random_model(channels=tuple(CHANNELS[c] for c in ("vv", "nesz_vv", "incidence_angle")))
    save_model(sea.network, sea.card, tmp_path / "sea")
    save_model(ice.network, ice.card, tmp_path / "ice")
    lon, lat = Geolocation.of(open_for(iw, sea.card)).lonlat([900.0, 1900.0], [1100.0, 2500.0])
    box = ",".join(f"{v:.5f}" for v in (lon.min(), lat.min(), lon.max(), lat.max()))
    words = ["map", str(iw), "--model", str(tmp_path / "sea"), "--ice-model", str(tmp_path / "ice")]
    for name, more in (("whole", []), ("part", ["--bbox", box])):
        done = CliRunner().invoke(cli, [*words, "-o", str(tmp_path / name), *more])
        assert done.exit_code == 0, (done.output, done.exception)
    whole, part = open_map(tmp_path / "whole"), open_map(tmp_path / "part")
    there = whole.sel(x=part["x"], y=part["y"])
    assert part["dominant"].size < 0.5 * whole["dominant"].size
    assert part.attrs["sea_ice_from"] == whole.attrs["sea_ice_from"] == ice.card.id
    code = METOCEAN.names.index("sea_ice")
    assert (part["score"].values[code] >= 50).mean() > 0.01
    for name in ("score", "dominant", "phenomena", "quality_flags", "quicklook"):
        off = part[name].values != there[name].values
        assert off.mean() < 2e-3, name
    assert np.abs(part["score"].values.astype(int) - there["score"].values).max() <= 1


def test_command_line(iw: Path, tmp_path: Path) -> None:
    loaded = model()
    save_model(loaded.network, loaded.card, tmp_path / "model")
    run = CliRunner().invoke
    args = ["map", str(iw), "--model", str(tmp_path / "model"), "-o", str(tmp_path / "map"), "--drop", "sea_ice:50"]
    done = run(cli, [*args, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    assert Path(json.loads(done.stdout)["dominant"]).is_file()
    done = run(
        cli,
        [
            "imagettes",
            "simulated",
            "--count",
            "1",
            "-o",
            str(tmp_path / "a.zarr"),
            "--resolution",
            "200",
            "--picture",
            str(tmp_path / "a.png"),
        ],
    )
    assert done.exit_code == 0, done.output
    assert "images" in done.stdout
    assert (tmp_path / "a.png").stat().st_size > 10_000
    coarse = model(spacing_m=200.0)
    save_model(coarse.network, coarse.card, tmp_path / "coarse")
    for suffix in (".zarr", ".nc", ".tif"):
        output = tmp_path / f"s{suffix}"
        segment = ["segment", str(tmp_path / "a.zarr"), "--model", str(tmp_path / "coarse"), "-o", str(output)]
        done = run(cli, [*segment, "--picture", str(tmp_path / f"{suffix[1:]}.png")])
        assert done.exit_code == 0, done.output
        assert output.exists()
    assert "per-pixel Dice" in done.stdout
    assert len(list(output.glob("*.tif"))) == 10
    bad = run(cli, [*args, "--overwrite", "--drop", "sea_ice:x"])
    assert bad.exit_code == 1
    assert "LATITUDE" in str(bad.exception)


def test_wave_mode_imagettes_that_cannot_be_read_are_named(
    iw: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Three imagettes, one of which is damaged when it is opened and one when its pixels are read."""

    import frazil.labels.imagettes_products as products
    from frazil.errors import ProductError
    from frazil.sentinel1.product import open_product
    from frazil.sentinel1.scene import open_scene

    real = open_product(iw)
    part = open_scene(real, polarizations=("VV",)).isel(line=slice(0, 2000), pixel=slice(0, 2000)).load()

    class Damaged:
        def __getitem__(self, name: str) -> xr.DataArray:
            if name == "sigma0":
                raise ProductError("the strip is cut\x1b[2J")
            return part[name]

    def opened(*, image: str, polarizations: tuple[str, ...]) -> object:
        if image == "002":
            raise ProductError("no measurement/wv-002.tiff")
        return Damaged() if image == "003" else part

    def image(number: str) -> SimpleNamespace:
        first = real.bands[0]
        spacing = {"range_spacing_m": first.range_spacing_m, "azimuth_spacing_m": first.azimuth_spacing_m}
        return SimpleNamespace(name=f"wv-{number}", image=number, slant_range=False, **spacing)

    stub = SimpleNamespace(
        name="S1A_WV",
        mode="WV",
        polarizations=("VV",),
        images=tuple(image(n) for n in ("001", "002", "003")),
        open_scene=opened,
    )
    monkeypatch.setattr(products, "open_product", lambda _path: stub)
    monkeypatch.setattr(products, "_place", lambda _scene: (1.0, 2.0, 0.0))
    ds = cut_imagettes("WV.SAFE")
    assert ds.sizes["imagette"] == 1
    broken = ["wv-002: no measurement/wv-002.tiff", r"wv-003: the strip is cut\x1b[2J"]
    assert ds.attrs["left_out_broken"] == broken
    done = CliRunner().invoke(cli, ["imagettes", "product", "WV.SAFE", "-o", str(tmp_path / "a.zarr")])
    assert done.exit_code == 0, done.output
    assert "left_out_broken  2" in done.output
    assert all(f"Note: left out, since it cannot be read: {words}" in done.output for words in broken)
    stub.images = stub.images[1:]
    with pytest.raises(ProductError, match="none of 2 imagettes can be read"):
        cut_imagettes("WV.SAFE")


def test_no_crs_keeps_the_radar_grid_as_for_sea_ice(iw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from frazil.learn.predict.scene import open_for as opened

    scene = opened(iw, model().card).load()
    monkeypatch.setattr("frazil.scene.land.land_mask", lambda lon, lat: np.zeros(np.broadcast(lon, lat).shape, bool))
    made = predict_phenomena(scene, model(), crs=None)
    network: Any = model().network
    cell = network.cell
    assert made["dominant"].dims == ("line", "pixel")
    assert made["dominant"].shape == tuple(n // cell for n in (scene.sizes["line"], scene.sizes["pixel"]))
    score, _ = radar_scores(scene, model(), PhenomenaMapOptions())
    np.testing.assert_array_equal(made["score"].values, score)
    assert "spatial_ref" not in made.coords
    assert {"tie_latitude", "tie_longitude"} <= set(made.coords) | set(made.data_vars)
    with pytest.raises(OptionError, match="radar grid"):
        predict_phenomena(scene, model(), crs=None, spacing_m=400.0)
