"""Effective and stable rank against cases that are known, and their bounds for any spectrum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from implicit_bias.errors import UserError
from implicit_bias.theory import effective_rank, stable_rank


def test_known_spectra() -> None:
    # Breaks with entropy in bits, squares in place of values, or a norm that is not squared.
    assert effective_rank([2.0, 2.0, 2.0, 0.0]) == pytest.approx(3)
    assert effective_rank([3.0, 1.0]) == pytest.approx(4 / 3**0.75)
    assert stable_rank([2.0, 1.0, 1.0]) == pytest.approx(1.5)
    assert np.isnan(effective_rank([0.0, 0.0]))
    assert np.isnan(stable_rank([0.0]))


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=8), st.floats(1e-3, 1e3))
def test_between_one_and_the_number_and_without_scale(values: list[float], factor: float) -> None:
    # Breaks where shares are not of the sum, or the order matters.
    s = np.array(values)
    for rank in (effective_rank, stable_rank):
        found = float(rank(s))
        assert 1 - 1e-9 <= found <= s.size + 1e-9
        assert found == pytest.approx(float(rank(factor * s[::-1])), rel=1e-9)


def test_refusals() -> None:
    with pytest.raises(
        UserError, match="singular value is -1; choose finite numbers of at least 0"
    ):
        effective_rank([1.0, -1.0])
    with pytest.raises(UserError, match="give at least one"):
        stable_rank([])
