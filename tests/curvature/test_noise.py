"""Oracles: gradients of a linear model by hand, and every batch there is."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.curvature import (
    gradient_covariance_trace,
    minibatch_covariance_trace,
    minibatch_gradient_covariance_trace,
)
from implicit_bias.errors import UserError

RNG = np.random.default_rng(0)
X, Y, W = RNG.normal(size=(7, 3)), RNG.normal(size=7), RNG.normal(size=3)
GRADIENTS = X * (X @ W - Y)[:, None]
TRACE = np.trace(np.cov(GRADIENTS, rowvar=False))


def loss(params, batch, weights):
    x, y = batch
    return jnp.sum(weights * 0.5 * jnp.square(x @ params["w"] - y))


def arguments(dtype="float64"):
    return {"w": jnp.asarray(W, dtype)}, (jnp.asarray(X, dtype), jnp.asarray(Y, dtype))


@pytest.mark.parametrize(("chunk_size", "dtype"), [(1, "float64"), (3, "float64"), (9, "float32")])
def test_exact_trace(chunk_size, dtype):
    # Broken by: a divisor n for n - 1, a chunk's repeated example counted, the mean left in.
    found = gradient_covariance_trace(loss, *arguments(dtype), chunk_size=chunk_size)
    np.testing.assert_allclose(found, TRACE, rtol=1e-12 if dtype == "float64" else 1e-5)
    assert found.dtype == dtype


def test_exact_trace_of_a_block():
    # Broken by: a block ignored, or its gradient taken with the other parameters at zero.
    def with_bias(params, batch, weights):
        x, y = batch
        return jnp.sum(weights * 0.5 * jnp.square(x @ params["w"] + params["bias"] - y))

    residuals = X @ W + 0.7 - Y
    by_block = {"w": X * residuals[:, None], "bias": residuals[:, None]}
    params, data = arguments()
    for block, gradients in by_block.items():
        whole = {**params, "bias": jnp.asarray(0.7)}
        found = gradient_covariance_trace(with_bias, whole, data, block=block)
        np.testing.assert_allclose(found, gradients.var(axis=0, ddof=1).sum(), rtol=1e-12)


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_batch_formula_against_every_batch(batch_size, replacement):
    # Broken by: the wrong finite-population factor; the average over all batches leaves no choice.
    batches = (
        itertools.product(range(7), repeat=batch_size)
        if replacement
        else itertools.combinations(range(7), batch_size)
    )
    mean = GRADIENTS.mean(axis=0)
    squared = [np.sum((GRADIENTS[list(batch)].mean(axis=0) - mean) ** 2) for batch in batches]
    found = minibatch_covariance_trace(TRACE, 7, batch_size, replacement=replacement)
    np.testing.assert_allclose(found, np.mean(squared), rtol=1e-12)


def test_ratio_of_batch_sizes():
    # Broken by: noise that does not fall as 1/B. With replacement the ratio is exactly 8.
    ratio = {
        replacement: minibatch_covariance_trace(1.0, 10_000, 64, replacement=replacement)
        / minibatch_covariance_trace(1.0, 10_000, 512, replacement=replacement)
        for replacement in (True, False)
    }
    assert ratio[True] == pytest.approx(8)
    assert ratio[False] == pytest.approx((1 / 64 - 1e-4) / (1 / 512 - 1e-4))
    assert minibatch_covariance_trace(1.0, 100, 100) == 0


@pytest.mark.parametrize("replacement", [False, True])
def test_drawn_batches_agree(replacement):
    # Broken by: drawing the same batch again, distances from the wrong centre, replacement ignored,
    # a standard error without the root of n.
    found = jax.jit(
        lambda key: minibatch_gradient_covariance_trace(
            loss, *arguments(), key, batch_size=4, n_batches=4000, replacement=replacement
        )
    )(jax.random.key(1))
    expected = minibatch_covariance_trace(TRACE, 7, 4, replacement=replacement)
    assert abs(float(found.estimate) - expected) < 4 * float(found.standard_error)
    assert 0 < float(found.standard_error) < 0.05 * expected
    assert int(found.n_batches) == 4000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, d: gradient_covariance_trace(loss, p, d, chunk_size=0), "chunk_size is 0"),
        (
            lambda p, d: gradient_covariance_trace(loss, p, jax.tree.map(lambda a: a[:1], d)),
            "needs at least 2",
        ),
        (lambda p, d: minibatch_covariance_trace(1.0, 7, 8), "choose batch_size <= 7"),
        (lambda p, d: minibatch_covariance_trace(1.0, 7, 0), "batch_size is 0"),
        (
            lambda p, d: minibatch_gradient_covariance_trace(
                loss, p, d, jax.random.key(0), batch_size=8, n_batches=2
            ),
            "choose batch_size <= 7",
        ),
        (
            lambda p, d: minibatch_gradient_covariance_trace(
                loss, p, d, jax.random.key(0), batch_size=2, n_batches=1
            ),
            "n_batches is 1",
        ),
    ],
)
def test_bad_requests(call, message):
    # Broken by: a check that is missing.
    with pytest.raises(UserError) as caught:
        call(*arguments())
    assert message in str(caught.value)
