"""Pictures and arrays of strangers: PNG, JPEG, BMP, TIFF and ``.npy``, of no more pixels than they may have.

A picture of some kilobytes can claim billions of pixels, and an array any shape; both say so in their first bytes,
which are read before anything is unpacked. Arrays of objects would have to be unpickled, which may run code: refused.
"""

from __future__ import annotations

import io
import warnings
from pathlib import PurePath
from typing import Any

import numpy as np

from frazil.errors import LabelError
from frazil.untrusted import read_bytes

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
MOST_PIXELS = 100_000_000  # 10,000 × 10,000: no patch or imagette is near it
MOST_BYTES = 2**30  #: of a file


def read_picture(
    name: str | PurePath,
    content: bytes | None = None,
    *,
    mode: str | None = None,
    grey: bool = False,
    codes: bool = False,
) -> np.ndarray:
    """A picture or a ``.npy`` array.

    Args:
        name: of the file, for messages and its suffix; its path, where `content` is not given.
        content: of the file.
        mode: to convert pictures to: ``"RGB"``. None: palettes and CMYK become RGB, others stay.
        grey: coloured pictures become grey ones.
        codes: values of pictures with a palette are their numbers in it, not the colours: masks.

    Raises:
        LabelError: it cannot be read, is of another format, has too many pixels, or would have to be unpickled.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        data = read_bytes(name, MOST_BYTES) if content is None else content
        if str(name).lower().endswith(".npy"):
            return _array(name, data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs and odd metadata; the size is checked here
            with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
                _check_size(name, picture.size)
                return np.asarray(picture.convert(mode) if mode else _plain(picture, grey, codes))
    except Image.DecompressionBombError as error:
        raise LabelError(f"{name} claims more pixels than {MOST_PIXELS}. Cut it into patches.") from error
    except (
        OSError,
        ValueError,
        EOFError,
        UnidentifiedImageError,
        SyntaxError,
        TypeError,
        KeyError,
        IndexError,
        OverflowError,
        MemoryError,
        RuntimeError,
        ArithmeticError,
    ) as error:
        if isinstance(error, LabelError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise LabelError(f"{name} cannot be read as an image: {reason}.") from error


def _plain(picture: Any, grey: bool, codes: bool) -> Any:
    if picture.mode == "I" and picture.format == "PNG":  # 16 bits, as Pillow before 11 opens them
        return np.asarray(picture).astype(np.uint16)
    if codes:
        return picture.convert("RGB") if picture.mode == "CMYK" else picture
    if grey:
        return picture.convert("L") if picture.mode in ("P", "RGB", "RGBA", "LA", "CMYK") else picture
    return picture.convert("RGB") if picture.mode in ("P", "CMYK") else picture


def _check_size(name: str | PurePath, size: tuple[int, int]) -> None:
    if size[0] * size[1] > MOST_PIXELS:
        raise LabelError(f"{name} claims {size[0]} × {size[1]} pixels, more than {MOST_PIXELS}. Cut it into patches.")


def _array(name: str | PurePath, data: bytes) -> np.ndarray:
    file = io.BytesIO(data)
    major, _ = np.lib.format.read_magic(file)
    head = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = head(file)
    if dtype.hasobject:
        raise LabelError(f"{name} is a pickled array, which can run code when it is loaded. Save it as plain numbers.")
    count = 1
    for n in shape:
        count *= int(n)
    if count * dtype.itemsize != len(data) - file.tell():
        raise LabelError(
            f"{name} cannot be read as an array: its {len(data)} bytes do not hold {shape} values of {dtype}. "
            "Is it whole?"
        )
    values = np.frombuffer(data, dtype, count, file.tell())
    return values.reshape(shape, order="F" if fortran else "C").copy()
