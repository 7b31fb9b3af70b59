"""Products that many tests share: small, simulated, on real metadata. Made once a run, in a folder of the run."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from frazil.sentinel1.reader import Sentinel1, Sentinel1Product

ROOT = Path(__file__).resolve().parents[1]


def _data_folder() -> Path:
    return Path(os.environ.get("FRAZIL_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For small tensors: threads would only wait for each other, all the longer where other work runs."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real products; tests that want it skip, naming where they looked."""
    folder = _data_folder()
    if not (folder / "sentinel1").is_dir():
        pytest.skip(f"real data not found in {folder}; set FRAZIL_TEST_DATA to a folder with sentinel1/")
    return folder


@pytest.fixture(scope="session")
def metadata_products(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Real metadata without pixels: key -> zip, of tests/data (see its README.md) and the bundled IW product."""
    made = {path.stem: path for path in sorted((ROOT / "tests" / "data").glob("*.zip"))}
    return {**made, "iw-2021-ipf331": ROOT / "src" / "frazil" / "data" / "sample" / "S1A_IW_GRDH_8255_metadata.zip"}


@pytest.fixture(scope="session")
def ew_metadata(metadata_products: dict[str, Path]) -> Sentinel1Product:
    """The real Extra Wide product of the bundled sample, metadata only."""
    from importlib.resources import files

    folder = files("frazil") / "data" / "sample"
    archive = next(p for p in folder.iterdir() if p.name.startswith("S1A_EW"))
    return Sentinel1().open_product(str(archive))


@pytest.fixture(scope="session")
def small_safe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated SAFE folder of 900 × 1500 pixels of the open Kara Sea, across the border of EW1 and EW2."""
    from frazil.simulate.product import simulate_product

    return simulate_product(tmp_path_factory.mktemp("small"), seed=7, lines=(5200, 6100), pixels=(2400, 3900))


@pytest.fixture(scope="session")
def small_zip(small_safe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same product as a zip archive."""
    path = tmp_path_factory.mktemp("zip") / (small_safe.stem + ".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(small_safe.rglob("*")):
            if file.is_file():
                archive.write(file, f"{small_safe.name}/{file.relative_to(small_safe)}")
    return path
