"""Oracles: NumPy, and kernels whose eigenvalues are known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import entropy

from implicit_bias import kernels
from implicit_bias.errors import UserError

effective_rank = jax.jit(kernels.effective_rank)
participation_ratio = jax.jit(kernels.participation_ratio)


RNG = np.random.default_rng(0)
BASIS = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
VALUES = np.array([8.0, 4.0, 2.0, 1.0, 0.0])
KERNEL = (BASIS * VALUES[None]) @ BASIS.T


def test_eigenvalues():
    # Broken by: ascending order, absolute values, or a full kernel's axes out of order.
    np.testing.assert_allclose(kernels.eigenvalues(KERNEL), VALUES, atol=1e-14)
    outputs = RNG.normal(size=(2, 2))
    outputs = outputs @ outputs.T
    full = np.einsum("ij,ab->iajb", KERNEL, outputs)
    oracle = np.sort(np.outer(VALUES, np.linalg.eigvalsh(outputs)).ravel())[::-1]
    np.testing.assert_allclose(kernels.eigenvalues(full), oracle, atol=1e-13)


def test_rank_and_condition():
    # Broken by: counting eigenvalues that are rounding, or dividing by one of them.
    values = jnp.asarray(VALUES).at[-1].set(1e-16)
    assert int(kernels.numerical_rank(values)) == np.linalg.matrix_rank(KERNEL) == 4
    assert float(kernels.condition_number(values)) == 8
    assert int(kernels.numerical_rank(values, cutoff=0.2)) == 3
    assert float(kernels.condition_number(values, cutoff=0.2)) == 4
    assert float(kernels.condition_number(values[:4])) == np.linalg.cond(np.diag(VALUES[:4]))
    assert float(kernels.condition_number(jnp.asarray(VALUES), cutoff=0.0)) == np.inf


def test_effective_numbers():
    # Broken by: entropies in other units, shares that do not add up, or a ridge divided by n.
    equal = jnp.full(7, 0.3)
    for count in (participation_ratio, effective_rank):
        np.testing.assert_allclose(count(equal), 7)
        np.testing.assert_allclose(count(jnp.array([2.0, 0.0])), 1)
    values = jnp.asarray(VALUES)
    np.testing.assert_allclose(
        participation_ratio(values), np.trace(KERNEL) ** 2 / np.sum(KERNEL**2)
    )
    np.testing.assert_allclose(effective_rank(values), np.exp(entropy(VALUES)))
    hat = KERNEL @ np.linalg.inv(KERNEL + 0.5 * np.eye(5))
    np.testing.assert_allclose(kernels.effective_dimension(values, 0.5), np.trace(hat))
    assert float(kernels.effective_dimension(values, 0.0)) == 4


def test_rounding_below_zero_is_zero():
    # Broken by: the logarithm of a negative share, or its division by a ridge.
    values = jnp.asarray(VALUES).at[-1].set(-1e-16)
    np.testing.assert_allclose(kernels.effective_rank(values), np.exp(entropy(VALUES)))
    assert float(kernels.effective_dimension(values, 0.0)) == 4


def test_target_alignment():
    # Broken by: ascending order, or eigenvectors in rows.
    targets = np.stack([BASIS[:, 0], 2 * BASIS[:, 2]], axis=1)
    shares = kernels.target_alignment(KERNEL, targets)
    np.testing.assert_allclose(shares, [0.2, 0.2, 1, 1, 1], atol=1e-13)


def test_bad_requests():
    # Broken by: a kernel taken for a list of eigenvalues.
    for count in (
        kernels.numerical_rank,
        kernels.condition_number,
        kernels.participation_ratio,
        kernels.effective_rank,
        lambda values: kernels.effective_dimension(values, 1.0),
    ):
        with pytest.raises(UserError, match=r"as eigenvalues\(kernel\) returns"):
            count(KERNEL)
    with pytest.raises(UserError, match="choose a finite ridge >= 0"):
        kernels.effective_dimension(jnp.asarray(VALUES), -1.0)
    values = jnp.asarray(VALUES)
    for cutoff, tells in (("a", "give a number"), (np.nan, "0 <= cutoff"), (-0.1, "0 <= cutoff")):
        for count in (kernels.numerical_rank, kernels.condition_number):
            with pytest.raises(UserError, match=tells):
                count(values, cutoff=cutoff)
    with pytest.raises(UserError, match="eigenvalues are not all finite"):
        kernels.participation_ratio(values.at[0].set(jnp.inf))
    with pytest.raises(UserError, match=r"go down to -0\.1, where rounding"):
        kernels.effective_rank(values.at[4].set(-0.1))
    with pytest.raises(UserError, match="targets has shape"):
        kernels.target_alignment(KERNEL, np.ones((4, 2)))
