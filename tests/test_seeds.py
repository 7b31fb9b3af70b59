"""Seeds: what is let through must be what numpy and PyTorch can begin from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frazil.errors import OptionError
from frazil.seeds import check_seed


@given(st.integers(-(2**70), 2**70))
def test_a_seed_is_let_through_exactly_where_numpy_takes_it(seed: int) -> None:
    try:
        np.random.default_rng([seed, 1])
    except ValueError:
        with pytest.raises(OptionError, match=f"seed {seed} must be 0 or more") as error:
            check_seed(seed)
        assert "\n" not in str(error.value)
    else:
        assert check_seed(seed) == seed


def test_the_name_of_the_seed_is_told() -> None:
    with pytest.raises(OptionError, match=r"^data\.seed -1"):
        check_seed(-1, "data.seed")
