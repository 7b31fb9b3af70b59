"""Everything that frazil reads from strangers: a pristine input, and numbers by which a reading is known again."""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import os
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.fuzzing.mutations import BYTES, MEANING, TREES, Mutation

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """An input of frazil.

    Attributes:
        name: of the target.
        make: writes the pristine input into a folder, and says where it is; None where its data is not at hand.
        read: numbers of what is read.
        mutations: that it suffers.
        share: of the cases asked for.
        inside: what of the input is mutated.
        seal: what follows a mutation, to get behind the first check; says what it did.
    """

    name: str
    make: Callable[[Path], Path | None]
    read: Callable[[Path], Numbers]
    mutations: tuple[Mutation, ...]
    share: float = 0.2
    inside: Callable[[Path], Path] = lambda path: path
    seal: Callable[[Path, np.random.Generator], str] | None = None


def digest(values: Any) -> list[float]:
    """A few numbers that differ where arrays or words differ."""
    data = np.ascontiguousarray(values).tobytes() if isinstance(values, np.ndarray) else repr(values).encode()
    return [float(int.from_bytes(hashlib.sha256(data).digest()[:6], "big"))]


def some(values: Any, n: int = 40) -> np.ndarray:
    """Some numbers of an array, evenly."""
    flat = np.asarray(values, float).ravel()
    return flat[np.linspace(0, flat.size - 1, min(n, flat.size)).astype(int)] if flat.size else flat


# Products


def make_product(folder: Path, **options: Any) -> Path:
    """A simulated EW product across the border of two sub-swaths."""
    from frazil.simulate.product import simulate_product

    made = simulate_product(folder, seed=7, lines=(5200, 5600), pixels=(2700, 3500), **options)
    for path in folder.iterdir():
        if path != made:
            import shutil

            shutil.rmtree(path)
    return made


def read_product(path: Path) -> Numbers:
    """What `info` and `scene` would show."""
    from frazil.scene.scaling import to_db
    from frazil.scene.scene import open_scene
    from frazil.sentinel1.geolocation import Geolocation
    from frazil.sentinel1.info import describe
    from frazil.sentinel1.product import open_product

    product = open_product(path)
    about = describe(product)
    scene = open_scene(product)
    lon, lat = Geolocation.of(scene).lonlat(scene["line"].values[::97][:, None], scene["pixel"].values[::97][None])
    found = {
        "σ0 dB": some(to_db(scene["sigma0"].values), 400), "NESZ dB": some(to_db(scene["nesz"].values), 200),
        "angle": some(scene["incidence_angle"].values), "longitude": some(lon), "latitude": some(lat),
        "valid": [float(scene["valid"].values.mean())],
    }  # fmt: skip
    times = [str(about.get(k, "")) for k in ("start_time", "stop_time", "mission", "mode")]
    return found | {"times": digest(times)}


def reseal(path: Path, rng: np.random.Generator) -> str:
    """As it is, with right checksums in the manifest, or without a manifest: what a careful forger does."""
    manifest = path / "manifest.safe"
    kind = int(rng.integers(3))
    if kind == 0 or not manifest.is_file():
        return "as it is"
    if kind == 1:
        manifest.unlink()
        return "no manifest"
    text = manifest.read_bytes()
    for match in re.finditer(rb'href="\./([^"]+)"', text):
        file = path / os.fsdecode(match.group(1))
        if not file.is_file() or file.is_symlink():
            continue
        data = file.read_bytes()
        block = re.compile(
            rb'(<byteStream[^>]*size=")\d+("[^>]*>\s*<fileLocation[^>]*href="\./' + re.escape(match.group(1))
            + rb'"[^>]*/>\s*<checksum[^>]*>)[0-9a-fA-F]+'
        )  # fmt: skip
        sums = str(len(data)).encode(), hashlib.md5(data).hexdigest().encode()
        text = block.sub(lambda m, s=sums: m.group(1) + s[0] + m.group(2) + s[1], text)
    manifest.write_bytes(text)
    return "sealed anew"


def make_zip(folder: Path) -> Path:
    """The same as an archive."""
    safe = make_product(folder / "safe")
    path = folder / f"{safe.stem}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(safe.rglob("*")):
            if file.is_file():
                archive.write(file, f"{safe.name}/{file.relative_to(safe)}")
    return path


def make_real_product(folder: Path) -> Path:
    """Real metadata: stripmap of S1C, with measurements of zeros that do not need to be read."""
    data = Path(__file__).resolve().parents[2] / "tests" / "data"
    with zipfile.ZipFile(next(data.glob("iw-2021*.zip"))) as archive:
        archive.extractall(folder)
    return next(p for p in folder.rglob("*") if p.is_dir() and (p / "annotation").is_dir())


def read_metadata(path: Path) -> Numbers:
    """What `info` shows, and what the tables hold."""
    from frazil.sentinel1.info import describe
    from frazil.sentinel1.product import open_product
    from frazil.sentinel1.radiometry import make_radiometry

    product = open_product(path)
    about = describe(product)
    found: Numbers = {"about": digest(sorted((k, str(v)) for k, v in about.items() if k not in ("path", "checked")))}
    for band in product.bands:
        radiometry = make_radiometry(
            band.annotation, band.calibration, band.noise, denoise=True, ipf=product.ipf_version
        )
        ties = band.annotation.ties
        found |= {
            f"{band.polarization} ties": some([ties.latitude, ties.longitude], 60),
            f"{band.polarization} radiometry": digest(type(radiometry).__name__),
        }
    return found


# Labels, charts, references

CENTRE = (40.0, 77.5)


@functools.cache
def _scene() -> Any:
    from frazil.simulate.scene import simulate_scene

    return simulate_scene("ew", seed=1, spacing_m=480.0, lines=(4000, 6000), pixels=(3000, 6000), land=None).load()


def _polygons() -> Any:
    import geopandas as gpd
    import shapely

    from frazil.sentinel1.geolocation import Geolocation

    scene = _scene()
    lon, lat = Geolocation.of(scene).lonlat(
        scene["line"].values[[20, -20]][:, None], scene["pixel"].values[[20, -20]][None]
    )
    (x0, x1), (y0, y1) = (float(lon.min()), float(lon.max())), (float(lat.min()), float(lat.max()))
    boxes, rows = [], []
    codes = [("02", "", "", "W"), ("91", "83", "04", "I"), ("92", "95", "06", "I"), ("50", "86", "05", "I")]
    for i, (ct, sa, fa, kind) in enumerate(codes):
        boxes.append(shapely.box(x0 + i * (x1 - x0) / 4, y0, x0 + (i + 0.9) * (x1 - x0) / 4, y1))
        rows.append({"CT": ct, "CA": "", "SA": sa, "FA": fa, "POLY_TYPE": kind, "kind": kind, "number": i})
    return gpd.GeoDataFrame(rows, geometry=boxes, crs=4326)


def vector_maker(suffix: str) -> Callable[[Path], Path]:
    """A file of polygons."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        target = folder / f"labels{suffix}"
        if suffix == ".shp":
            (folder / "labels").mkdir()
            target = folder / "labels" / "labels.shp"
        _polygons().to_file(target, engine="pyogrio")
        return target.parent if suffix == ".shp" else target

    return make


def read_labels(path: Path) -> Numbers:
    """Classes on the pixels of a scene."""
    from frazil.conventions import FIVE_CLASSES
    from frazil.labels.sources import open_labels

    path = path / "labels.shp" if path.is_dir() else path
    scene = _scene()
    placed = open_labels(path, FIVE_CLASSES).on(scene)
    regions = placed.regions(slice(0, scene.sizes["line"]))
    codes = np.where(regions >= 0, np.asarray(placed.class_of)[np.clip(regions, 0, None)], 255)
    return {"classes": np.bincount(codes.ravel().astype(int), minlength=256), "where": digest(codes.astype(np.uint8))}


def read_chart_numbers(path: Path) -> Numbers:
    """Concentration and stage on a scene."""
    from frazil.labels.chart import rasterize_chart

    path = path / "labels.shp" if path.is_dir() else path
    found = rasterize_chart(path, like=_scene())
    return {name: some(found[name].values, 200) for name in ("sic", "sic_class", "sod_class", "floe_class")}


def make_class_raster(folder: Path) -> Path:
    """Classes as a GeoTIFF."""
    import rasterio
    from rasterio.transform import from_origin

    folder.mkdir(parents=True)
    box = _polygons().to_crs(3413).total_bounds
    values = np.kron((np.arange(6, dtype=np.uint8) % 5).reshape(2, 3), np.ones((40, 40), np.uint8))
    with rasterio.open(
        folder / "labels.tif", "w", driver="GTiff", width=120, height=80, count=1, dtype="uint8", crs="EPSG:3413",
        transform=from_origin(box[0], box[3], (box[2] - box[0]) / 120, (box[3] - box[1]) / 80), nodata=255,
    ) as file:  # fmt: skip
        file.write(values, 1)
    return folder / "labels.tif"


def make_reference(folder: Path) -> Path:
    """A concentration map in the layout of OSI SAF."""
    from tests.reference_files import osisaf_polar

    folder.mkdir(parents=True)
    return osisaf_polar(folder / "ice_conc_nh_polstere-100_multi_201801161200.nc", land=True)


def make_reference_tif(folder: Path) -> Path:
    """A concentration map in the layout of NSIDC's GeoTIFFs."""
    from tests.reference_files import raster

    folder.mkdir(parents=True)
    return raster(folder / "N_20180116_concentration_v3.0.tif", "nsidc")


def read_reference(path: Path) -> Numbers:
    """Scores of a map against it."""
    from tests.reference_files import true_map

    from frazil.maps.compare import compare

    scores = compare(true_map(spacing_m=4000.0), path).scores
    flat = {k: v for k, v in scores.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    return {name: [float(value)] for name, value in sorted(flat.items())}


def make_map_folder(folder: Path) -> Path:
    """A map as frazil writes it."""
    from frazil.maps.export import export
    from frazil.testing import make_map

    export(make_map(shape=(80, 90)), folder / "map", formats=["netcdf", "summary"])
    return folder / "map"


def read_map_folder(path: Path) -> Numbers:
    """Classes and ice edge of a map folder."""
    from frazil.maps.edges import ice_edge
    from frazil.maps.netcdf import open_map

    opened = open_map(path)
    lines = ice_edge(opened)
    return {
        "classes": np.bincount(opened["ice_class"].values.ravel(), minlength=256),
        "confidence": some(opened["confidence"].values, 100), "edge km": [float(lines["length_km"].sum())],
    }  # fmt: skip


# Sets and models


def make_patches(folder: Path) -> Path:
    """A patch set."""
    from frazil.labels.patch_set import save_patches
    from frazil.labels.patches import cut_patches

    scene = _scene()
    return save_patches(cut_patches(scene, scene["ice_class"].values, size=8, stride=8), folder / "set.zarr")


def read_patch_set(path: Path) -> Numbers:
    """Images and labels as a training reads them."""
    from frazil.learn.patches import read_patches

    patches, _ = read_patches((str(path),), channels=(), scheme="five_classes")
    return {"image": some(patches.image, 400), "label": np.bincount(patches.label, minlength=256),
            "all": digest(patches.image)}  # fmt: skip


def make_imagettes(folder: Path) -> Path:
    """A set of imagettes."""
    from frazil.labels.imagettes import save_imagettes
    from frazil.simulated_imagettes import simulated_imagettes

    return save_imagettes(simulated_imagettes(3, seed=1, resolution_m=200.0), folder / "set.zarr")


def read_imagettes(path: Path) -> Numbers:
    """Images and masks."""
    from frazil.labels.imagettes import open_imagettes

    ds = open_imagettes(path)
    return {"image": some(ds["image"].values, 400), "mask": some(ds["mask"].values), "all": digest(ds["image"].values)}


def make_model(folder: Path) -> Path:
    """A small U-Net and its card."""
    import torch

    from frazil.learn.checkpoint import ModelCard, save_model
    from frazil.learn.models import create_model
    from frazil.learn.seen import Seen
    from frazil.scene.scaling import CHANNELS

    torch.manual_seed(0)
    settings = {"widths": (4, 8), "patch": 1}
    network = create_model("unet", n_channels=3, n_classes=5, settings=settings)
    card = ModelCard(
        id="fuzz", architecture="unet", settings={"widths": [4, 8], "patch": 1}, class_scheme="five_classes",
        channels=tuple(CHANNELS[n] for n in ("hh", "hv", "incidence_angle")), spacing_m=480.0, denoise="esa",
        incidence_range=(19.0, 46.0), seen=Seen(scenes=9, medians={"hh": (-25.0, -10.0)}, modes=("EW",)),
    )  # fmt: skip
    save_model(network, card, folder / "model")
    return folder / "model"


def read_model(path: Path) -> Numbers:
    """What the model says of a scene, all of it sea: the map of land takes longer than everything else."""
    from frazil.learn import fit
    from frazil.learn.checkpoint import load_model
    from frazil.learn.predict import predict

    fit.land_mask = lambda lon, _: np.zeros(lon.shape, bool)  # type: ignore[attr-defined]
    made = predict(_scene().isel(line=slice(0, 64), pixel=slice(0, 64)), load_model(path), crs=None)
    return {"probability": some(made["probability"].values, 300), "flags": some(made["quality_flags"].values, 100)}


def make_store(folder: Path) -> Path:
    """An exchange folder with two workers."""
    from frazil.learn.distributed.exchange import Exchange
    from frazil.learn.distributed.store import Store

    (folder / "store").mkdir(parents=True)
    for name in ("good", "bad"):
        peer = Exchange(Store(folder / "store"), run="run", worker=name, like=_like(), model_text="net")
        for step in range(3):
            peer.publish({k: v + step for k, v in _like().items()}, step=step, samples=step)
    return folder / "store"


def _like() -> Any:
    import torch

    return {"w": torch.ones(8, 8), "n": torch.tensor(3)}


def read_store(path: Path) -> Numbers:
    """What a third worker learns from the good one, whatever became of the bad one."""
    from frazil.learn.distributed.exchange import Exchange
    from frazil.learn.distributed.store import Store
    from frazil.learn.distributed.watch import workers

    me = Exchange(Store(path), run="run", worker="me", like=_like(), model_text="net")
    found = me.fetch()
    assert me.publish(_like(), step=1, samples=1)
    assert "me" in {seen.manifest.worker for seen in workers(path, "run")}
    return {"good": some(found["good"].weights["w"]), "step": [found["good"].manifest.step]}


def make_split(folder: Path) -> Path:
    """A split."""
    from frazil.labels.splits import Split

    return Split(by="scene", seed=1, shares=(0.2, 0.2), train=("a", "b"), validation=("c",), test=("d",)).save(
        folder / "split.json"
    )


def read_split(path: Path) -> Numbers:
    """Its sides."""
    from frazil.labels.splits import Split

    return {"split": digest(Split.load(path))}


def make_run(folder: Path) -> Path:
    """The folder of a run that has just begun."""
    from frazil.learn.run_folder import begin
    from frazil.recipes import find_recipe

    (folder / "run").mkdir(parents=True)
    begin(folder / "run", find_recipe("patches:adhoc"), {"split": "scene"}, 10, "frazil train", overwrite=False)
    (folder / "run" / "log.jsonl").write_text(
        "".join(json.dumps({"step": i, "loss": 1 / (i + 1)}) + "\n" for i in range(9))
    )
    return folder / "run"


def read_run_folder(path: Path) -> Numbers:
    """What a report says of it."""
    from frazil.learn.config import run_config
    from frazil.learn.findings import gather_findings
    from frazil.learn.run_folder import read_run

    found = gather_findings(path, worst=0)
    return {"config": digest(run_config(read_run(path)["config"]).to_json()), "curve": digest(found.log)}


def make_features(folder: Path) -> Path:
    """A table of descriptors."""
    folder.mkdir(parents=True)
    np.savez(folder / "features.npz", features=np.random.default_rng(0).random((200, 6)).astype(np.float32))
    return folder / "features.npz"


def read_features(path: Path) -> Numbers:
    """As `propagate` reads it."""
    from frazil.learn.propagate_files import read_samples

    return {"features": some(read_samples(path, None).features, 300)}


#: What readers load when they are first called: loaded once, before children are forked.
LOADED = (
    "geopandas", "h5netcdf", "h5py", "numcodecs", "pyogrio", "rasterio", "rasterio.features", "scipy.io", "xarray",
    "zarr",
    "frazil.labels.chart", "frazil.labels.imagettes", "frazil.labels.patch_set", "frazil.labels.patches",
    "frazil.labels.sources", "frazil.labels.splits", "frazil.learn.checkpoint", "frazil.learn.distributed.watch",
    "frazil.learn.findings", "frazil.learn.patches", "frazil.learn.predict", "frazil.learn.propagate_files",
    "frazil.maps.compare", "frazil.maps.edges", "frazil.maps.netcdf", "frazil.scene.scene", "frazil.sentinel1.info",
    "tests.reference_files", "xarray.backends.h5netcdf_", "xarray.backends.scipy_", "xarray.backends.zarr", "pandas",
)  # fmt: skip


def targets() -> list[Target]:
    """All of them."""
    for name in LOADED:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)  # threads of the parent do not live on in its children
    _polygons()  # once, for all children: the scene, and the data of PROJ
    everything = BYTES + TREES + MEANING
    return [
        Target("product", make_product, read_product, everything, 0.7, seal=reseal),
        Target("product-zip", make_zip, read_product, BYTES, 0.1),
        Target("product-real-metadata", make_real_product, read_metadata, everything, 0.2, seal=reseal),
        Target("labels-gpkg", vector_maker(".gpkg"), read_labels, BYTES),
        Target("labels-geojson", vector_maker(".geojson"), read_labels, BYTES + MEANING),
        Target("labels-fgb", vector_maker(".fgb"), read_labels, BYTES),
        Target("labels-tif", make_class_raster, read_labels, BYTES),
        Target("chart-shp", vector_maker(".shp"), read_chart_numbers, BYTES + TREES + MEANING),
        Target("reference-nc", make_reference, read_reference, BYTES),
        Target("reference-tif", make_reference_tif, read_reference, BYTES),
        Target("map-folder", make_map_folder, read_map_folder, everything),
        Target("patch-set", make_patches, read_patch_set, everything),
        Target("imagettes", make_imagettes, read_imagettes, everything),
        Target("model", make_model, read_model, everything),
        Target("exchange-manifests", make_store, read_store, everything, inside=lambda p: p / "run/workers/bad"),
        Target("exchange-weights", make_store, read_store, everything, inside=lambda p: p / "run/weights/bad"),
        Target("split", make_split, read_split, BYTES + MEANING),
        Target("run-folder", make_run, read_run_folder, BYTES + MEANING),
        Target("features", make_features, read_features, BYTES),
    ]  # fmt: skip
