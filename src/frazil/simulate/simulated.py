"""What the writer of products wants to know of a simulation, of ice or of phenomena."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from frazil.sentinel1.product import Band, Product
from frazil.simulate.instrument import NoiseError


class Simulated(Protocol):
    """What a product is written from."""

    @property
    def product(self) -> Product:
        """The template."""
        ...

    @property
    def bands(self) -> tuple[Band, ...]:
        """Its images that are written."""
        ...

    @property
    def shows(self) -> str:
        """What was made, in words."""
        ...

    @property
    def block(self) -> int:
        """Pixels of the product per pixel of the truth, along each side."""
        ...

    @property
    def noise_error(self) -> NoiseError:
        """The true noise against the stated one."""
        ...

    @property
    def seed(self) -> int:
        """Of speckle and noise."""
        ...

    def sigma0(self, polarization: str) -> np.ndarray:
        """Expected sigma nought on the grid of the truth, linear power, float32."""
        ...

    def parameters(self) -> dict[str, object]:
        """All that was drawn or set, as plain JSON values."""
        ...
