"""Ranks, entropies and masses of attention against NumPy and closed forms."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from implicit_bias import geometry
from implicit_bias.errors import UserError
from implicit_bias.theory.matrix_rank import effective_rank, stable_rank
from tests.decompositions import decompositions

RNG = np.random.default_rng(0)
FREE = softmax(RNG.normal(size=(2, 3, 6, 6)), axis=-1)
LOGITS = np.where(np.tril(np.ones((6, 6))) > 0, RNG.normal(size=(2, 3, 6, 6)), -np.inf)
CAUSAL = softmax(LOGITS, axis=-1)


def test_ranks_are_those_of_the_spectrum():
    # Broken by shares of squares, or by a decomposition along the wrong axes.
    for attention in (FREE, CAUSAL):
        effective, stable = geometry.attention_ranks(jnp.asarray(attention))
        values = np.linalg.svd(attention, compute_uv=False)
        np.testing.assert_allclose(effective, effective_rank(values), rtol=1e-10)
        np.testing.assert_allclose(stable, stable_rank(values), rtol=1e-10)
    one, other = (
        float(geometry.attention_ranks(a)[0]) for a in (jnp.eye(5), jnp.full((5, 5), 0.2))
    )
    assert one == pytest.approx(5)
    assert other == pytest.approx(1)
    # One after another.
    assert decompositions(geometry.attention_ranks, FREE) == [(6, 6)]


def test_entropy_is_relative_to_what_a_row_may_look_at():
    # Broken by counting the row that has no choice, or by the same most for all causal rows.
    found = geometry.attention_entropy(jnp.asarray(CAUSAL), causal=True)
    rows = [entropy(CAUSAL[..., i, : i + 1], axis=-1) / np.log(i + 1) for i in range(1, 6)]
    np.testing.assert_allclose(found, np.mean(rows, axis=0), rtol=1e-10)
    free = geometry.attention_entropy(jnp.asarray(FREE), causal=False)
    np.testing.assert_allclose(free, (entropy(FREE, axis=-1) / np.log(6)).mean(-1), rtol=1e-10)


@pytest.mark.parametrize("causal", [False, True])
def test_uniform_attention_has_entropy_one_and_known_masses(causal: bool):
    # Broken by a mask that is turned over. Of causal rows of more than two entries, 2 of n are 2/n.
    uniform = geometry.uniform_attention(6, causal, np.float64)
    np.testing.assert_allclose(uniform.sum(1), 1)
    assert (np.triu(uniform, 1) == 0).all() == causal
    assert float(geometry.attention_entropy(uniform, causal=causal)) == pytest.approx(1)
    mean = np.mean([2 / n for n in range(3, 7)]) if causal else 1 / 3
    assert float(geometry.top_mass(uniform, 2, causal=causal)) == pytest.approx(mean)
    assert float(geometry.attention_entropy(jnp.eye(6), causal=causal)) == 0


def test_masses_by_counting():
    # Broken by the smallest weights, or by places counted from the wrong end.
    top = geometry.top_mass(jnp.asarray(CAUSAL), 2, causal=True)
    np.testing.assert_allclose(top, np.sort(CAUSAL, -1)[..., 2:, -2:].sum(-1).mean(-1), rtol=1e-10)
    recent = geometry.recent_mass(jnp.asarray(CAUSAL), 2)
    counted = [CAUSAL[..., i, i] + CAUSAL[..., i, i - 1] for i in range(2, 6)]
    np.testing.assert_allclose(recent, np.mean(counted, axis=0), rtol=1e-10)


def test_more_than_there_is_is_refused():
    for call in (
        lambda: geometry.top_mass(jnp.asarray(FREE), 6, causal=False),
        lambda: geometry.attention_entropy(jnp.ones((1, 1)), causal=False),
        lambda: geometry.recent_mass(jnp.asarray(CAUSAL), 0),
    ):
        with pytest.raises(UserError, match=r"there are . positions"):
            call()
