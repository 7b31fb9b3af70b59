"""Maps without PyTorch: OpenVINO gives PyTorch's classes, whatever the tiles, and PyTorch is not imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from frazil import open_scene
from frazil.errors import ModelError, OptionError
from frazil.extras import installed
from frazil.learn.checkpoint import Model, ModelCard, load_model, save_model
from frazil.learn.infer import openvino_engine
from frazil.learn.infer.choose import engine_for
from frazil.learn.infer.dense import PatchEngine
from frazil.learn.infer.engine import Engine
from frazil.learn.infer.openvino_engine import OpenVINOEngine
from frazil.learn.infer.torch_engine import TorchEngine
from frazil.learn.models import create_model
from frazil.learn.predict.ice import predict
from tests.learn.infer.cell_logits import cell_logits
from tests.learn.predict.test_scene import random_model

pytestmark = [
    pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed: pip install 'frazil[fast]'"),
    pytest.mark.usefixtures("one_thread"),
]
BUNDLED = ("ice-simulated", "ice-measured")  # a U-Net, and one with a wide view


@pytest.fixture(scope="module", autouse=True)
def one_openvino_thread() -> Iterator[None]:
    """As `one_thread`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def scene(small_safe: Path) -> xr.Dataset:
    return open_scene(small_safe, looks=3).load()


def wide_model(stage: int = 2, patch: int = 2) -> Model:
    """An untrained network with a wide view, whose every pixel differs."""
    torch.manual_seed(3)
    settings = {"widths": (4, 6, 8, 10), "wide_widths": (4, 6, 8), "wide_stage": stage, "patch": patch}
    network = create_model("wide_unet", n_channels=3, n_classes=5, settings=settings)
    for name, values in network.state_dict().items():
        if values.is_floating_point():
            values.copy_(torch.rand_like(values) + 0.5 if name.endswith("var") else 0.3 * torch.randn_like(values))
    return Model(network.eval(), replace(random_model().card, architecture="wide_unet", settings=settings))


def image_of(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((3, *shape), np.float32)


@pytest.mark.parametrize(
    ("stage", "patch"), [*((None, p) for p in (1, 2, 4)), *((s, 2) for s in range(4)), (1, 1), (0, 4)]
)
def test_logits_are_those_of_pytorch(stage: int | None, patch: int) -> None:
    """Also of images that reach beyond the scene, of any height and width, one after another."""
    model = random_model(seed=4, patch=patch) if stage is None else wide_model(stage, patch)
    engine, reference = OpenVINOEngine(model), TorchEngine(model.network)
    for name in ("stride", "margin", "cell", "output", "view"):
        assert getattr(engine, name) == getattr(reference, name)
    step = engine.stride
    for one in (engine, reference) if engine.view > 1 else ():
        one.look(image_of((23, 17), seed=1))
    for rows, columns, corner in ((5, 9, (0, 0)), (4, 4, (2 * step, step)), (9, 5, (step, 0)), (3, 1, (40 * step, 0))):
        image = image_of((rows * step, columns * step), seed=rows)
        found, expected = engine(image, corner), reference(image, corner)
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5 * max(1.0, float(np.abs(expected).max())))
        assert (found.argmax(0) == expected.argmax(0)).mean() >= 0.9999


def classes_and_logits(scene: xr.Dataset, engine: Engine, card: ModelCard, tile: int) -> tuple[np.ndarray, np.ndarray]:
    out = cell_logits(scene, engine, card, tile)
    assert np.isfinite(out).all()
    return out.argmax(axis=0), out


@pytest.mark.parametrize("name", BUNDLED)
def test_classes_of_simulated_pixels_are_those_of_pytorch(scene: xr.Dataset, name: str) -> None:
    model = load_model(name)
    known = openvino_engine.knows_bfloat16()
    engines = {p: OpenVINOEngine(model, precision=p) for p in ("float32", *(["bfloat16"] if known else []))}
    ragged = scene.isel(line=slice(0, 283), pixel=slice(0, 491))
    expected, logits = classes_and_logits(ragged, TorchEngine(model.network), model.card, 4096)
    assert len(np.unique(expected)) > 1
    for tile in (4096, 112):
        found, close = classes_and_logits(ragged, engines["float32"], model.card, tile)
        assert (found == expected).mean() >= 0.9999
        np.testing.assert_allclose(close, logits, rtol=1e-3, atol=2e-4)
        if known:
            half, coarse = classes_and_logits(ragged, engines["bfloat16"], model.card, tile)
            assert (half == expected).mean() >= 0.998
            assert np.abs(coarse - logits).max() > 1e-3  # or it was not bfloat16
            assert (coarse.view(np.uint32) & 0xFFFF).any()  # but for the logits


@pytest.mark.parametrize("make", [random_model, wide_model])
def test_tiles_do_not_show(scene: xr.Dataset, make: Callable[..., Any]) -> None:
    model = make()
    whole = classes_and_logits(scene, OpenVINOEngine(model), model.card, 4096)[1]
    for tile in (64, 104):
        found = classes_and_logits(scene, OpenVINOEngine(model), model.card, tile)[1]
        np.testing.assert_allclose(found, whole, rtol=1e-3, atol=2e-5 * max(1.0, float(np.abs(whole).max())))


def test_a_map_is_the_same_by_both(scene: xr.Dataset, tmp_path: Path) -> None:
    model = load_model()
    made = {name: predict(scene, load_model(), engine=name, tile=128) for name in ("openvino", "torch")}
    a, b = (made[name]["probability"].values.astype(int) for name in made)
    assert np.abs(a - b).max() <= 1
    assert (made["openvino"]["ice_class"].values == made["torch"]["ice_class"].values).mean() >= 0.9999
    again = predict(scene, model, engine="openvino", tile=128)
    xr.testing.assert_equal(made["openvino"], again)
    assert not model.is_built


def test_float32_is_asked_for_and_threads_are_as_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left to itself OpenVINO computes in bfloat16 where the processor can."""
    for precision, told in (("float32", "f32"), ("bfloat16", "bf16")):
        if precision == "bfloat16" and not openvino_engine.knows_bfloat16():
            continue
        compiled = OpenVINOEngine(random_model(), precision=precision)._run.request.get_compiled_model()
        assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == told
        assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2,1")  # as OpenMP has it for nested loops
    OpenVINOEngine(random_model())


def test_weights_that_overflow_are_refused_as_by_pytorch(scene: xr.Dataset) -> None:
    """OpenVINO's own ReLU takes NaN for 0, and the map looked like any other."""
    for name in BUNDLED:
        model = load_model(name)
        spoilt = {k: v * np.float32(1e30) if v.ndim == 4 else v for k, v in model.weights.items()}
        with pytest.raises(ModelError, match="gave numbers that are not finite"):
            predict(scene, Model(None, model.card, weights=spoilt), engine="openvino", crs=None)


def test_auto_takes_openvino_for_maps_from_files_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model()
    save_model(model.network, model.card, tmp_path / "m")
    assert isinstance(engine_for(load_model(tmp_path / "m"), device="cpu"), OpenVINOEngine)
    assert isinstance(engine_for(model), TorchEngine)  # somebody's own network: as it is
    assert isinstance(engine_for(model, engine="openvino"), OpenVINOEngine)
    assert isinstance(engine_for(load_model(tmp_path / "m"), engine="torch"), TorchEngine)
    patches = create_model("adhoc", n_channels=3, n_classes=5)
    assert isinstance(engine_for(Model(patches, replace(model.card, architecture="adhoc"))), PatchEngine)
    monkeypatch.setattr("frazil.learn.infer.choose._cuda_is_there", lambda: True)
    monkeypatch.setattr("frazil.learn.infer.dense.make_engine", lambda *_, **options: options["device"])
    assert engine_for(load_model(tmp_path / "m")) is None  # which is CUDA for PyTorch
    assert isinstance(engine_for(load_model(tmp_path / "m"), device="cpu"), OpenVINOEngine)


def test_a_processor_without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "knows_bfloat16", lambda: False)
    assert isinstance(engine_for(load_model(), device="cpu", precision="bfloat16"), TorchEngine)
    with pytest.raises(OptionError, match="no bfloat16. Take precision 'float32'"):
        engine_for(load_model(), engine="openvino", precision="bfloat16")


def test_what_it_does_not_do_is_said() -> None:
    model = random_model()
    for options, words in (
        ({"device": "cuda"}, "on the CPU, not on 'cuda'"),
        ({"stride": 4}, "for patches"),
        ({"function": "dense"}, "for patches"),
        ({"precision": "float16"}, "float16"),
    ):
        with pytest.raises(OptionError, match=words):
            engine_for(model, engine="openvino", **options)
    with pytest.raises(OptionError, match="engine 'tpu' is not one of"):
        engine_for(model, engine="tpu")
    adhoc = Model(create_model("adhoc", n_channels=3, n_classes=5), replace(model.card, architecture="adhoc"))
    with pytest.raises(ModelError, match="'adhoc'. Take engine 'torch'"):
        engine_for(adhoc, engine="openvino")
    for other in (random_model(widths=(6, 8)), wide_model()):  # networks of another card
        with pytest.raises(ModelError, match="not what its card says"):
            engine_for(Model(other.network, model.card), engine="openvino")
    stage = replace(
        wide_model(2).card, settings=wide_model(2).card.settings | {"widths": (6, 6, 6, 6), "wide_stage": 1}
    )
    network = create_model("wide_unet", n_channels=3, n_classes=5, settings=stage.settings | {"wide_stage": 2})
    with pytest.raises(ModelError, match="not what its card says"):
        engine_for(Model(network, stage), engine="openvino")


def test_what_is_done_to_a_network_holds() -> None:
    model = load_model("ice-simulated")
    image = image_of((32, 32))
    before = OpenVINOEngine(model)(image)
    head: Any = model.network.head
    with torch.no_grad():
        head.bias += 1.0
    np.testing.assert_allclose(OpenVINOEngine(model)(image), before + 1, atol=1e-4)


WITHOUT = """
import sys
blocked = sys.argv[1].split(",")
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
from frazil.cli import main
sys.argv = ["frazil", *sys.argv[2:]]
main()
assert "torch" not in sys.modules
assert "openvino_telemetry" not in sys.modules
"""


def without(packages: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, packages, *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", BUNDLED)
def test_a_map_needs_no_pytorch(name: str, small_safe: Path, tmp_path: Path) -> None:
    done = without("torch,pydantic,tensorboardX", "map", small_safe, "-o", tmp_path / "map", "--model", name)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "map" / "class.tif").exists()


def test_what_is_not_installed_is_said_in_a_line(small_safe: Path, tmp_path: Path) -> None:
    model = random_model()
    save_model(
        create_model("adhoc", n_channels=3, n_classes=5),
        replace(model.card, architecture="adhoc", settings={}),
        tmp_path / "adhoc",
    )
    learn = "pip install 'frazil[learn]'"
    for packages, words, said in (
        ("torch,openvino", [], ("neither is installed", "pip install 'frazil[fast]'", learn)),
        ("openvino", ["--engine", "openvino"], ("pip install 'frazil[fast]'",)),
        ("torch", ["--engine", "torch"], ("needs PyTorch", learn)),
        ("torch", ["--model", tmp_path / "adhoc"], ("adhoc", "needs PyTorch", learn)),
    ):
        done = without(packages, "map", small_safe, "-o", tmp_path / "map", *words)
        assert done.returncode == 1, done.stderr
        assert done.stderr.strip().count("\n") == 0, done.stderr
        assert all(part in done.stderr for part in said), done.stderr
    done = without("torch", "train", "ice_simulated:tiny", "-o", tmp_path / "run")
    assert done.returncode == 1
    assert learn in done.stderr
