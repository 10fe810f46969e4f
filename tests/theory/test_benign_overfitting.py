"""Effective ranks against their definition and their inequalities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implicit_bias import theory
from implicit_bias.errors import UserError

spectra = st.lists(st.floats(1e-8, 1e8), min_size=1, max_size=40)


@given(spectrum=spectra, scale=st.floats(1e-6, 1e6))
@settings(deadline=None, max_examples=100)
def test_ranks_are_their_definition(spectrum: list[float], scale: float) -> None:
    # Breaks if a tail begins one too early or late, or ranks depend on units or order.
    r, big = theory.effective_ranks(spectrum)
    values = sorted(spectrum, reverse=True)
    for k in range(len(values)):
        tail = np.array(values[k:])
        assert r[k] == pytest.approx(tail.sum() / tail[0])
        assert big[k] == pytest.approx(tail.sum() ** 2 / np.sum(tail**2))
    slack = 1 + 1e-12
    # Bartlett et al., lemma 5: 1 ≤ r ≤ R ≤ r², and neither exceeds the number of directions.
    assert (r * slack >= 1).all()
    assert (r <= big * slack).all()
    assert (big <= r**2 * slack).all()
    assert (big <= np.arange(len(values), 0, -1) * slack).all()
    again = theory.effective_ranks(scale * np.array(spectrum[::-1]))
    assert again[0] == pytest.approx(r)
    assert again[1] == pytest.approx(big)


def test_spikes_above_a_flat_tail() -> None:
    # Breaks if k* counts from 1, or the order of the variance is not k/m + m/R.
    spectrum = np.r_[np.full(3, 100.0), np.full(2000, 0.1)]
    assert theory.head_size(spectrum, 100) == 3
    assert theory.variance_order(spectrum, 100) == pytest.approx(3 / 100 + 100 / 2000)
    # Isotropic: nothing is learnt; as many directions as 20 examples have: m/n is left.
    assert theory.head_size(np.ones(400), 20) == 0
    assert theory.variance_order(np.ones(400), 20) == pytest.approx(0.05)
    # A steep spectrum never has a long enough tail: fitting noise is not benign.
    assert theory.head_size(0.5 ** np.arange(200.0), 20) is None
    assert theory.variance_order(0.5 ** np.arange(200.0), 20) == 1


def test_steep_tails_keep_their_ranks() -> None:
    # Breaks if squares of small eigenvalues vanish: a geometric tail has r = 2 and R = 3 everywhere.
    r, big = theory.effective_ranks(0.5 ** np.arange(1000.0))
    assert r[:900] == pytest.approx(np.full(900, 2.0))
    assert big[:900] == pytest.approx(np.full(900, 3.0))


def test_bad_inputs_get_one_line() -> None:
    with pytest.raises(UserError, match=r"^spectrum holds -1; give positive eigenvalues$"):
        theory.effective_ranks([1.0, -1.0])
    with pytest.raises(UserError, match=r"^examples is 0; choose at least 1$"):
        theory.head_size([1.0], 0)
    with pytest.raises(UserError, match=r"^constant is 0; choose a positive one$"):
        theory.head_size([1.0], 5, 0.0)
