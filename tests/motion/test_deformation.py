"""Rates of fields whose derivatives are known."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.motion.deformation import deformation

slope = st.floats(-0.5, 0.5)


@settings(deadline=None)
@given(ux=slope, uy=slope, vx=slope, vy=slope, seed=st.integers(0, 100))
def test_linear_fields_are_exact(ux: float, uy: float, vx: float, vy: float, seed: int) -> None:
    """On cells of any shape."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(6) * 4000.0, -np.arange(5) * 4000.0)
    x, y = (v + rng.uniform(-900, 900, v.shape) for v in (x, y))
    found = deformation(x, y, 17 + ux * x + uy * y, -3 + vx * x + vy * y)
    np.testing.assert_allclose(found.divergence, ux + vy, atol=1e-10)
    np.testing.assert_allclose(found.vorticity, vx - uy, atol=1e-10)
    np.testing.assert_allclose(found.shear, np.hypot(ux - vy, uy + vx), atol=1e-10)


def test_a_rigid_turn_has_vorticity_alone() -> None:
    """Twice the angle a day, anticlockwise positive: y grows to the north, rows run down."""
    x, y = np.meshgrid(np.arange(4.0), -np.arange(4.0))
    found = deformation(x, y, -0.1 * y, 0.1 * x)
    np.testing.assert_allclose(found.vorticity, 0.2)
    np.testing.assert_allclose(found.divergence, 0, atol=1e-12)
    np.testing.assert_allclose(found.shear, 0, atol=1e-12)


def test_a_missing_node_takes_its_cells_along() -> None:
    x, y = np.meshgrid(np.arange(5.0), -np.arange(5.0))
    u = x.copy()
    u[2, 2] = np.nan
    missing = np.isnan(deformation(x, y, u, 0 * y).divergence)
    assert missing.sum() == 4
    assert missing[1:3, 1:3].all()


def test_the_flux_through_the_border_is_the_sum_over_cells() -> None:
    """Gauss: of any field, whatever it does inside."""
    rng = np.random.default_rng(1)
    x, y = np.meshgrid(np.arange(7) * 2.0, -np.arange(6) * 2.0)
    u, v = rng.standard_normal((2, 6, 7))
    inside = 4 * deformation(x, y, u, v).divergence.sum()

    def along(values: np.ndarray) -> float:
        return float(np.trapezoid(values, dx=2.0))

    border = along(u[:, -1]) - along(u[:, 0]) + along(v[0]) - along(v[-1])
    np.testing.assert_allclose(inside, border)
