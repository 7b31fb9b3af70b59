"""A simulated product: a whole SAFE folder that any Sentinel-1 reader opens, and its truth beside it.

Metadata are those of a real product (see `frazil.simulate.metadata`). Digital numbers are
DN = √((σ0 + noise) · speckle) · A, rounded, with the true thermal noise in them; DN = 0 outside the sub-swaths. Work
goes in strips of lines, so that a full Extra Wide scene needs little more memory than its coarse truth.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np

from frazil import __version__
from frazil.conventions import CLASS_NODATA
from frazil.files import refuse_existing, whole_output
from frazil.jit import njit
from frazil.scene.geolocation import Geolocation
from frazil.sentinel1.annotation import Annotation, parse_annotation, parse_calibration, parse_noise
from frazil.sentinel1.noise import between
from frazil.sentinel1.product import Band
from frazil.sentinel1.radiometry import Radiometry, make_radiometry
from frazil.simulate.instrument import NoiseError, SpeckleStream, resolution_letter, speckle_model, true_noise
from frazil.simulate.metadata import Cut, band_files, band_stem, manifest, product_name, shift_dates, with_statistics
from frazil.simulate.scene import Simulation, prepare
from frazil.simulate.simulated import Simulated
from frazil.simulate.truth import ground_control_points, write_class_raster, write_polygons
from frazil.simulate.world import WorldConfig

_STRIP = 384  # lines

_NOTE = (
    "SIMULATED product: {shows} and speckle were made by frazil (seed {seed}). Metadata, calibration and noise tables "
    "are those of {template}.\n"
)


def simulate_product(
    out_dir: str | os.PathLike[str],
    *,
    seed: int,
    template: str | os.PathLike[str] = "ew",
    polarizations: tuple[str, ...] | None = None,
    world: WorldConfig | None = None,
    noise_error: NoiseError | None = None,
    spread: float = 1.0,
    block: int = 3,
    land: np.ndarray | Literal["gshhg"] | None = None,
    lines: tuple[int, int] | None = None,
    pixels: tuple[int, int] | None = None,
    compress: bool = False,
    date: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a simulated product and its truth; the path of the SAFE folder.

    Beside ``NAME.SAFE`` stands ``NAME_truth`` with ``ice_class.tif`` (codes of FIVE_CLASSES, 254 land, 255 not
    observed; radar geometry, one pixel per ``block`` × ``block``), ``polygons.gpkg`` (SIGRID-3, see
    `frazil.simulate.truth.write_polygons`) and ``simulation.json`` (every number drawn or set).

    Args:
        out_dir: folder to write into; made if it is missing.
        seed: decides everything that is not set.
        template: ``"ew"`` or ``"iw"`` (bundled; the second of VV alone), or the path of a GRD product.
        polarizations: of those in the template; all by default.
        world: settings of the world (its seed is replaced by ``seed``).
        noise_error: the true noise against the stated one; None draws errors, ``NoiseError()`` means none.
        spread: factor on the scene-to-scene spread of the class means.
        block: product pixels per pixel of the world and of the truth raster.
        land: as in `frazil.simulate.simulate_scene`; ``"gshhg"`` gives the islands that the reader will mask.
        lines: first and one past the last line to take of the template's image; the product is cut consistently.
        pixels: likewise across.
        compress: deflate the measurement files; ESA's are not compressed.
        date: ``"2025-02-01"``; by default one is drawn from the season of the world, which this does not change.
        overwrite: replace a product of the same name.

    Raises:
        OutputExistsError: there is such a product already.
        OptionError: an impossible setting.
    """
    sim = prepare(
        template,
        seed=seed,
        spacing_m=None,
        polarizations=polarizations,
        world=world,
        noise_error=noise_error,
        spread=spread,
        land=land,
        lines=lines,
        pixels=pixels,
        block=block,
        date=date,
    )
    a = sim.bands[0].annotation
    first_line, first_pixel = lines[0] if lines else 0, pixels[0] if pixels else 0
    cut = Cut(
        first_line=first_line,
        first_pixel=first_pixel,
        n_lines=(lines[1] if lines else a.n_lines) - first_line,
        n_pixels=(pixels[1] if pixels else a.n_pixels) - first_pixel,
        days=sim.days,
        code=sim.code,
    )
    return write_both(
        out_dir,
        sim,
        cut,
        lambda beside, annotation: write_truth(beside, sim, annotation, cut),
        compress=compress,
        overwrite=overwrite,
    )


def write_both(
    out_dir: str | os.PathLike[str],
    sim: Simulated,
    cut: Cut,
    write_beside: Callable[[Path, Annotation], None],
    *,
    compress: bool,
    overwrite: bool,
) -> Path:
    """Write a product and its truth, both or none; the path of the SAFE folder.

    Args:
        out_dir: folder to write into; made if it is missing.
        sim: what is written.
        cut: window and place.
        write_beside: writes the truth into a folder, given the annotation of the first image as written.
        compress: deflate the measurement files.
        overwrite: replace a product of the same name.

    Raises:
        OutputExistsError: there is such a product already.
    """
    name = product_name(sim.product, cut)
    target = Path(out_dir) / f"{name}.SAFE"
    truth = Path(out_dir) / f"{name}_truth"
    for path in (target, truth):
        refuse_existing(path, overwrite=overwrite)
    with whole_output(truth, overwrite=overwrite) as beside, whole_output(target, overwrite=overwrite) as folder:
        beside.mkdir()
        annotation = write_safe(folder, sim, cut, compress=compress)
        write_beside(beside, annotation)
        (folder / "note.txt").write_text(
            _NOTE.format(shows=sim.shows, seed=sim.seed, template=sim.product.name), encoding="utf-8"
        )
        _write_json(beside / "simulation.json", {"product": name, "frazil_version": __version__, **sim.parameters()})
    return target


def write_safe(folder: Path, sim: Simulated, cut: Cut, *, compress: bool) -> Annotation:
    """Write the SAFE folder; the annotation record of its first image."""
    for sub in ("annotation/calibration", "measurement", "preview"):
        (folder / sub).mkdir(parents=True)
    model = speckle_model(sim.bands[0].annotation, resolution_letter(sim.product))
    texts = [band_files(band, cut) for band in sim.bands]
    annotations, radiometries = zip(*(_records(t) for t in texts), strict=True)
    fields = [sim.sigma0(band.polarization) for band in sim.bands]
    gcps = ground_control_points(annotations[0].ties)
    sums = np.zeros((len(sim.bands), 3))
    quick = [np.zeros((-(-cut.n_lines // 21), -(-cut.n_pixels // 21)), np.float32) for _ in sim.bands]
    writers = [
        MeasurementWriter(
            folder / "measurement" / f"{band_stem(band, cut)}.tiff",
            (cut.n_lines, cut.n_pixels),
            gcps,
            compress=compress,
        )
        for band in sim.bands
    ]
    streams = [SpeckleStream(model, cut.n_pixels, (sim.seed, 4, k)) for k in range(len(sim.bands))]

    def strip(k: int, first: int, nesz: np.ndarray) -> None:
        last = min(first + _STRIP, cut.n_lines)
        dn = _strip_dn(sim, cut, k, fields[k], radiometries[k], streams[k], nesz, first, last)
        writers[k].write(dn, first)
        lit = dn[dn > 0].astype(np.float64)
        sums[k] += lit.size, lit.sum(), (lit**2).sum()
        for line in range(-(-first // 21) * 21, last, 21):
            quick[k][line // 21] = dn[line - first, ::21]

    columns = np.arange(cut.n_pixels)
    with ThreadPoolExecutor(len(sim.bands)) as pool:
        waiting: list[Any] = []
        for first, last in strips(cut.n_lines):
            inside = np.arange(first, last)
            # The noise kernel is parallel itself, so this thread alone calls it, one strip ahead of the writers.
            noise = [radiometry.nesz(inside, columns) for radiometry in radiometries]
            for job in waiting:
                job.result()
            waiting = [pool.submit(strip, k, first, noise[k]) for k in range(len(sim.bands))]
        for job in waiting:
            job.result()
    for writer in writers:
        writer.close()
    for text, (n, total, squares) in zip(texts, sums, strict=True):
        mean = total / max(n, 1)
        for path, data in text.items():
            if path.count("/") == 1:
                data = with_statistics(data, mean, float(np.sqrt(max(squares / max(n, 1) - mean**2, 0))))
            (folder / path).write_bytes(data)
    _write_quicklook(folder / "preview" / "quick-look.png", quick)
    finish(folder, sim.bands, cut, annotations[0])
    first_annotation: Annotation = annotations[0]
    return first_annotation


def finish(folder: Path, bands: tuple[Band, ...], cut: Cut, annotation: Annotation) -> None:
    """Write the preview overlay and the manifest of a folder whose other files are there."""
    product = bands[0].product
    ring = Geolocation.of_ties(annotation.ties).footprint(2)
    corners = [ring[i] for i in (5, 4, 1, 0)] if len(ring) > 6 else ring[:4]
    overlay = "preview/map-overlay.kml"
    if overlay in product.files:
        text = shift_dates(product.read(overlay), cut.days)
        quad = " ".join(f"{lon:.6f},{lat:.6f}" for lon, lat in corners)
        start, _, rest = text.partition(b"<coordinates>")
        text = start + b"<coordinates>" + quad.encode() + rest[rest.index(b"</coordinates>") :]
        (folder / overlay).write_bytes(text)
    files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    stems = {band.stem: band_stem(band, cut) for band in bands}
    footprint = " ".join(f"{lat:.6f},{lon:.6f}" for lon, lat in corners)
    (folder / "manifest.safe").write_bytes(manifest(product, cut, stems, files, footprint))


def _records(texts: dict[str, bytes]) -> tuple[Annotation, Radiometry]:
    """The records of the files as written: noise and gain are those that a reader will find."""
    names = {path.rsplit("/", 1)[-1].split("-")[0]: path for path in texts}
    calibration, noise = names.pop("calibration"), names.pop("noise")
    (main,) = names.values()
    annotation = parse_annotation(texts[main], main)
    return annotation, make_radiometry(
        annotation,
        parse_calibration(texts[calibration], calibration),
        parse_noise(texts[noise], noise),
        denoise=True,
    )


def _strip_dn(
    sim: Simulated,
    cut: Cut,
    k: int,
    field: np.ndarray,
    radiometry: Radiometry,
    stream: SpeckleStream,
    nesz: np.ndarray,
    first: int,
    last: int,
) -> np.ndarray:
    """Digital numbers of lines first to last of the cut image, uint16."""
    band = sim.bands[k]
    lines = np.arange(first, last)
    noise = true_noise(
        sim.noise_error,
        band.annotation,
        band.polarization,
        lines + cut.first_line,
        np.arange(cut.n_pixels) + cut.first_pixel,
        sim.seed,
    )
    low, weight = between(radiometry.gain_time, lines * radiometry.interval_s)
    speckle = stream.take(last - first)
    out = np.empty((last - first, cut.n_pixels), np.uint16)
    _digital_numbers(
        field,
        sim.block,
        first,
        nesz,
        radiometry.gain,
        low,
        weight,
        noise.swath,
        noise.scale,
        noise.offset,
        noise.gain,
        speckle,
        out,
    )
    return out


@njit(nogil=True)
def _digital_numbers(
    field: np.ndarray,
    block: int,
    first: int,
    nesz: np.ndarray,
    gain: np.ndarray,
    low: np.ndarray,
    weight: np.ndarray,
    swath: np.ndarray,
    scale: np.ndarray,
    offset: np.ndarray,
    seam: np.ndarray,
    speckle: np.ndarray,
    out: np.ndarray,
) -> None:
    rows, columns = field.shape
    centre = 0.5 * (block - 1)
    for i in range(out.shape[0]):
        y = min(max((i + first - centre) / block, 0.0), rows - 1.0)
        r = min(int(y), rows - 2)
        fy = np.float32(y - r)
        g0 = low[i]
        g1 = min(g0 + 1, gain.shape[0] - 1)
        w = weight[i]
        for j in range(out.shape[1]):
            k = swath[i, j]
            if k < 0:
                out[i, j] = 0
                continue
            x = min(max((j - centre) / block, 0.0), columns - 1.0)
            c = min(int(x), columns - 2)
            fx = np.float32(x - c)
            upper = field[r, c] + fx * (field[r, c + 1] - field[r, c])
            lower = field[r + 1, c] + fx * (field[r + 1, c + 1] - field[r + 1, c])
            value = (upper + fy * (lower - upper)) * seam[k]
            nominal = nesz[i, j]
            if nominal == nominal:  # the product states a noise here
                value += max(nominal * scale[k, i] + offset[k], np.float32(0.0))
            a = (1 - w) * gain[g0, j] + w * gain[g1, j]
            out[i, j] = np.uint16(min(np.sqrt(value * speckle[i, j]) * a + 0.5, 65535.0))


class MeasurementWriter:
    """A measurement GeoTIFF as ESA writes them (uint16, strips, ground control points), filled strip by strip."""

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int],
        gcps: list[Any],
        *,
        compress: bool,
        description: str = "Simulated pixels",
    ) -> None:
        import rasterio

        options = {"compress": "deflate", "predictor": 2, "zlevel": 1} if compress else {}
        self.file = rasterio.open(
            path,
            "w",
            driver="GTiff",
            height=shape[0],
            width=shape[1],
            count=1,
            dtype="uint16",
            gcps=gcps,
            crs="EPSG:4326",
            **options,
        )
        self.file.update_tags(TIFFTAG_IMAGEDESCRIPTION=description, TIFFTAG_SOFTWARE=f"frazil {__version__}")

    def write(self, dn: np.ndarray, first_line: int) -> None:
        """Write full-width lines."""
        from rasterio.windows import Window

        self.file.write(dn, 1, window=Window(0, first_line, dn.shape[1], dn.shape[0]))

    def close(self) -> None:
        """Finish the file."""
        self.file.close()


def write_truth(folder: Path, sim: Simulation, annotation: Annotation, cut: Cut) -> None:
    """Write the class raster and the polygons; what lies outside the sub-swaths is 255."""
    bounds = sim.bands[0].annotation.swath_bounds  # stripmap has none: it is observed everywhere
    observed = np.full(sim.world.ice_class.shape, not bounds)
    for b in bounds:
        observed |= ((sim.lines >= b.first_line) & (sim.lines <= b.last_line))[:, None] & (
            (sim.pixels >= b.first_pixel) & (sim.pixels <= b.last_pixel)
        )
    ice_class = np.where(observed, sim.world.ice_class, np.uint8(CLASS_NODATA))
    write_class_raster(folder / "ice_class.tif", ice_class, annotation.ties, sim.block)
    write_polygons(
        folder / "polygons.gpkg",
        ice_class,
        sim.lines - cut.first_line,
        sim.pixels - cut.first_pixel,
        Geolocation.of_ties(annotation.ties),
        annotation.range_spacing_m * sim.block,
    )


def _write_quicklook(path: Path, planes: list[np.ndarray]) -> None:
    """A small RGB of amplitudes as ESA makes them: red co-polarised, green cross-polarised, blue their ratio."""
    from PIL import Image

    red, green = planes[0], planes[-1]
    tops = [3.5 * float(np.mean(p[p > 0])) if (p > 0).any() else 1.0 for p in (red, green)]
    blue = np.where(red > 0, green / np.maximum(red, 1) * tops[0] / tops[1] * 0.5, 0)
    rgb = np.dstack([red / tops[0], green / tops[1], blue])
    Image.fromarray((np.clip(rgb, 0, 1) * 255).astype(np.uint8)).save(path)


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def strips(n_lines: int) -> Iterator[tuple[int, int]]:
    """First and one past the last line of each strip of an image."""
    for first in range(0, n_lines, _STRIP):
        yield first, min(first + _STRIP, n_lines)
