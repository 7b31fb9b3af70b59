"""The bundled sample: a real product's metadata with pixels rebuilt from its own quick-look.

No measurement file of the product could be had, but its quick-look is real: red is the amplitude of HH, green that of
HV, averaged over about 20 × 21 pixels, blue their ratio. Both are linear in DN without an offset: blue × red / green is
the same constant from dark to bright, and the darkest green of every column follows √η of the annotation. One factor
per polarisation makes the mean equal the annotation's own ``outputDataMean``; with it, and the annotation's noise
removed, the sub-swaths fit together. Detail below 800 m is speckle and nothing else.
"""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from defusedxml.ElementTree import fromstring
from scipy import ndimage
from scipy.special import gammaln

from frazil.errors import UnsupportedProductError
from frazil.files import refuse_existing, whole_output
from frazil.jit import njit
from frazil.sentinel1.annotation import SwathBounds
from frazil.sentinel1.product import Product
from frazil.simulate.instrument import SpeckleStream, resolution_letter, speckle_model, template_product
from frazil.simulate.metadata import Cut, manifest
from frazil.simulate.noise import resample
from frazil.simulate.product import MeasurementWriter, strips
from frazil.simulate.truth import ground_control_points

_NOTE = """\
The measurement files of this product are NOT the original ones. They were rebuilt by frazil from the product's own
quick-look (about 800 m resolution), with simulated speckle. Metadata, calibration and noise are the original files.
Contains modified Copernicus Sentinel data {year}. Metadata and quick-look came from stactools-packages/sentinel1
(Apache-2.0).
"""


def sample_product(
    out_dir: str | os.PathLike[str],
    *,
    template: str = "ew",
    seed: int = 0,
    compress: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write a SAFE folder with real metadata and pixels rebuilt from the quick-look; its path.

    A ``note.txt`` in the folder and the description of each measurement file say that the pixels are rebuilt. The same
    seed gives the same bytes of image.

    Args:
        out_dir: folder to write into; made if it is missing.
        template: ``"ew"`` (bundled: Severnaya Zemlya, 30 November 2022), or the path of a GRD product with a manifest
            and a colour quick-look.
        seed: of the speckle.
        compress: deflate the measurement files.
        overwrite: replace a product of the same name.

    Raises:
        UnsupportedProductError: the product has no colour quick-look or only one polarisation.
        OutputExistsError: there is such a product already.
    """
    product = template_product(template)
    picture = read_quicklook(product)
    target = refuse_existing(Path(out_dir) / f"{product.name}.SAFE", overwrite=overwrite)
    annotation = product.bands[0].annotation
    shape = annotation.n_lines, annotation.n_pixels
    with whole_output(target, overwrite=overwrite) as folder:
        for name in product.files:
            if name.startswith(("annotation/", "preview/")):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(product.read(name))
        (folder / "measurement").mkdir()
        model = speckle_model(annotation, resolution_letter(product))

        def write_band(k: int) -> None:
            band = product.bands[k]
            amplitude, seen = digital_numbers(picture[..., k], output_mean(product, k))
            writer = MeasurementWriter(
                folder / "measurement" / f"{band.stem}.tiff",
                shape,
                ground_control_points(annotation.ties),
                compress=compress,
                description="Pixels rebuilt from the quick-look",
            )
            stream = SpeckleStream(model, shape[1], (seed, 5, k))
            mean_root = float(np.exp(gammaln(model.looks + 0.5) - gammaln(model.looks)) / np.sqrt(model.looks))
            for first, last in strips(shape[0]):
                smooth = upsample(amplitude, first, last, shape, annotation.swath_bounds)
                keep = observed(seen, first, last, shape, annotation.swath_bounds)
                out = np.empty(smooth.shape, np.uint16)
                _speckled(smooth, stream.take(last - first), keep, 1 / mean_root, out)
                writer.write(out, first)
            writer.close()

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(write_band, range(2)))
        year = int(annotation.first_line_time.astype("datetime64[Y]").astype(int)) + 1970
        (folder / "note.txt").write_text(_NOTE.format(year=year))
        cut = Cut(first_line=0, first_pixel=0, n_lines=shape[0], n_pixels=shape[1], days=0, code=product.name[-4:])
        files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
        stems = {band.stem: band.stem for band in product.bands}
        (folder / "manifest.safe").write_bytes(manifest(product, cut, stems, files, None))
    return target


def read_quicklook(product: Product) -> np.ndarray:
    """The quick-look as float32 (row, column, 3), 0 to 255; rows along lines, columns along pixels.

    Raises:
        UnsupportedProductError: there is none in colour.
    """
    from PIL import Image

    if "preview/quick-look.png" not in product.files or len(product.bands) != 2:
        raise UnsupportedProductError(
            f"{product.name} has no colour quick-look of two polarisations to rebuild pixels from. Use template='ew'."
        )
    picture = np.asarray(Image.open(io.BytesIO(product.read("preview/quick-look.png"))), dtype=np.float32)
    if picture.ndim != 3 or picture.shape[2] < 3:
        raise UnsupportedProductError(f"The quick-look of {product.name} is not in colour. Use template='ew'.")
    return picture[..., :3]


def output_mean(product: Product, k: int) -> float:
    """Mean digital number of an image, zeros included, as its annotation states it."""
    root = fromstring(product.read(f"annotation/{product.bands[k].stem}.xml"), forbid_dtd=True)
    return float(root.findtext("imageAnnotation/imageInformation/imageStatistics/outputDataMean/re") or "nan")


def digital_numbers(channel: np.ndarray, mean: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean DN of each quick-look pixel (float32, gaps filled from the nearest), and where it saw anything (bool)."""
    seen = channel > 0
    nearest = ndimage.distance_transform_edt(~seen, return_distances=False, return_indices=True)
    return channel[tuple(nearest)] * np.float32(mean / channel.mean()), seen


def upsample(
    amplitude: np.ndarray, first: int, last: int, shape: tuple[int, int], bounds: tuple[SwathBounds, ...]
) -> np.ndarray:
    """Lines first to last of the amplitude at full resolution, linear between quick-look pixels; float32.

    A quick-look pixel astride two sub-swaths mixes their noise, which steps there: on either side the nearest pixel
    that lies in the sub-swath alone is taken.
    """
    rows, columns = amplitude.shape
    y = (np.arange(first, last) + 0.5) * rows / shape[0] - 0.5
    x = (np.arange(shape[1]) + 0.5) * columns / shape[1] - 0.5
    for b in bounds:
        if b.first_line <= last and b.last_line >= first:
            inside = slice(b.first_pixel, b.last_pixel + 1)
            low = np.ceil(b.first_pixel * columns / shape[1])
            high = np.floor((b.last_pixel + 1) * columns / shape[1]) - 1
            x[inside] = np.clip(x[inside], low, high)
    out = np.empty((last - first, shape[1]), np.float32)
    resample(amplitude, y, x, out)
    return out


def observed(
    seen: np.ndarray, first: int, last: int, shape: tuple[int, int], bounds: tuple[SwathBounds, ...]
) -> np.ndarray:
    """Where lines first to last were observed: inside a sub-swath, in a column that is not black in the quick-look.

    The staircase at the top is finer in the annotation than in the quick-look, so the annotation decides it.
    """
    x = np.arange(shape[1]) * seen.shape[1] // shape[1]
    inside = np.zeros((last - first, shape[1]), bool)
    for b in bounds:
        inside[max(b.first_line - first, 0) : max(b.last_line + 1 - first, 0), b.first_pixel : b.last_pixel + 1] = True
    lit = np.asarray(seen.any(axis=0))
    return np.asarray(inside & lit[x])


@njit(nogil=True)
def _speckled(smooth: np.ndarray, speckle: np.ndarray, keep: np.ndarray, factor: float, out: np.ndarray) -> None:
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            value = smooth[i, j] * np.sqrt(speckle[i, j]) * factor + np.float32(0.5)
            out[i, j] = np.uint16(min(value, np.float32(65535.0))) if keep[i, j] else 0
