"""Products: folders, archives, real metadata."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.fuzzing.target import Numbers, digest, some


def make_product(folder: Path, **options: Any) -> Path:
    """A simulated EW product across the border of two sub-swaths."""
    from frazil.simulate.product import simulate_product

    settings = {"seed": 7, "lines": (5200, 5600), "pixels": (2700, 3500)} | options
    made = simulate_product(folder, **settings)
    for path in folder.iterdir():
        if path != made:
            shutil.rmtree(path)
    return made


def real_metadata(name: str, folder: Path) -> Path:
    """Metadata of a real product, without its pixels, of tests/data or bundled."""
    root = Path(__file__).resolve().parents[2]
    places = (root / "tests" / "data", root / "src" / "frazil" / "data" / "sample")
    with zipfile.ZipFile(next(path for place in places for path in place.glob(name))) as archive:
        archive.extractall(folder)
    return next(p for p in folder.rglob("*") if p.is_dir() and (p / "annotation").is_dir())


def make_donors(folder: Path) -> None:
    """Other products, whose files come into the place of one's own: `foreign_file`."""
    if not folder.is_dir():
        make_product(folder / "seed", seed=8)
        make_product(folder / "cut", seed=7, lines=(2000, 2400), pixels=(6000, 6800))
        make_product(folder / "size", seed=7, lines=(5200, 5500))
        for name in ("iw-2015*", "S1A_IW*", "s4-2025*"):
            real_metadata(f"{name}.zip", folder / name[:7])


HEADER = (
    b"missionId",
    b"productType",
    b"polarisation",
    b"mode",
    b"swath",
    b"startTime",
    b"stopTime",
    b"absoluteOrbitNumber",
    b"missionDataTakeId",
    b"imageNumber",
)
ROLES = (
    "annotation/*.xml",
    "annotation/calibration/calibration-*.xml",
    "annotation/calibration/noise-*.xml",
    "measurement/*.tiff",
    "manifest.safe",
)


def foreign_file(root: Path, rng: np.random.Generator) -> str:
    """A file of another product in the place of one's own; sometimes with one's own header, as a forger would."""
    role = ROLES[int(rng.integers(len(ROLES)))]
    mine = sorted(p for p in root.glob(role) if p.is_file() and not p.is_symlink())
    donors = sorted(Path(os.environ["FUZZ_DONORS"]).glob(f"*/*.SAFE/{role}"))
    if not mine or not donors:
        return ""
    path, donor = mine[int(rng.integers(len(mine)))], donors[int(rng.integers(len(donors)))]
    data, forged = donor.read_bytes(), path.suffix == ".xml" and rng.random() < 0.5
    for tag in HEADER if forged else ():
        element = re.compile(rb"<%s>[^<]*</%s>" % (tag, tag))
        own = element.search(path.read_bytes())
        data = element.sub(own.group(), data, count=1) if own else data
    path.write_bytes(data)
    return f"{path.name} of {donor.parents[len(Path(role).parts) - 1].parent.name}{', own header' if forged else ''}"


def read_product(path: Path) -> Numbers:
    """What `info` and `scene` would show."""
    from frazil.scene.geolocation import Geolocation
    from frazil.scene.scaling import to_db
    from frazil.sentinel1.info import describe
    from frazil.sentinel1.product import open_product
    from frazil.sentinel1.scene import open_scene

    product = open_product(path)
    about = describe(product)
    scene = open_scene(product)
    lon, lat = Geolocation.of(scene).lonlat(scene["line"].values[::97][:, None], scene["pixel"].values[::97][None])
    found = {
        "σ0 dB": some(to_db(scene["sigma0"].values), 400),
        "NESZ dB": some(to_db(scene["nesz"].values), 200),
        "angle": some(scene["incidence_angle"].values),
        "longitude": some(lon),
        "latitude": some(lat),
        "valid": [float(scene["valid"].values.mean())],
    }
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
            rb'(<byteStream[^>]*size=")\d+("[^>]*>\s*<fileLocation[^>]*href="\./'
            + re.escape(match.group(1))
            + rb'"[^>]*/>\s*<checksum[^>]*>)[0-9a-fA-F]+'
        )
        sums = str(len(data)).encode(), hashlib.md5(data).hexdigest().encode()
        text = block.sub(lambda m, s=sums: m.group(1) + s[0] + m.group(2) + s[1], text)
    manifest.write_bytes(text)
    return "sealed anew"


def make_attacked(folder: Path) -> Path:
    """A product, and others beside it."""
    make_donors(Path(os.environ["FUZZ_DONORS"]))
    return make_product(folder)


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
    """Metadata of a real IW product; its pixels do not need to be read."""
    make_donors(Path(os.environ["FUZZ_DONORS"]))
    return real_metadata("S1A_IW*.zip", folder)


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
