"""The loss that operators are given: in evaluation, and normalised by its own batch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from implicit_bias import curvature, losses, models
from implicit_bias.errors import UserError
from implicit_bias.models import normalised_dense
from implicit_bias.training.weighted import batch_outputs, weighted_loss
from tests.models.harness import LinenBlock

MODEL = normalised_dense((3,), 2, "tanh")
LOSS = losses.get("cross_entropy")
N = 7


@pytest.fixture(scope="module")
def problem() -> tuple[Any, Any, Any]:
    """Parameters, running statistics and a batch, in float64."""
    rng = np.random.default_rng(2)
    params, state = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) + (leaf.ndim == 1)),
        models.abstract_init(MODEL, jnp.zeros(2)),
    )
    state = jax.tree.map(lambda leaf: jnp.abs(leaf) + 0.2, state)
    return params, state, (jnp.asarray(rng.normal(size=(N, 2))), jnp.arange(N) % 2)


def by_hand(params: Any, state: Any, batch: Any, weights: Any, statistics: str) -> jax.Array:
    """The weighted loss, written out."""
    x, y = batch
    hidden = x @ params["layer_0"]["weight"].T
    if statistics == "running":
        mean, variance = state["norm_0"]["mean"], state["norm_0"]["variance"]
    else:
        share = weights / weights.sum()
        mean = share @ hidden
        variance = share @ (hidden - mean[None]) ** 2
    normal = (hidden - mean[None]) / jnp.sqrt(variance + 1e-5)[None]
    own = params["norm_0"]
    last = params["layer_1"]
    hidden = jnp.tanh(normal * own["scale"][None] + own["bias"][None])
    outputs = hidden @ last["weight"].T + last["bias"][None]
    log_p = jax.nn.log_softmax(outputs)
    return -jnp.sum(weights * jnp.take_along_axis(log_p, y[:, None], axis=1)[:, 0])


@pytest.mark.parametrize("statistics", ["running", "batch"])
def test_the_hessian_is_that_of_the_loss_it_names(problem: Any, statistics: Any):
    # The dense Hessian, by products, against JAX's of the loss written out; the two modes differ.
    # Broken by statistics that are held fixed where they depend on the weights, or the reverse.
    params, state, data = problem
    flat, unravel = ravel_pytree(params)
    counts = jnp.asarray([1.0, 2, 1, 0, 1, 1, 3]) / 9

    def total(flat: jax.Array) -> jax.Array:
        return by_hand(unravel(flat), state, data, counts, statistics)

    loss = weighted_loss(MODEL, LOSS, state, statistics)

    @jax.jit
    def both(params: Any) -> Any:
        operator, _ = curvature.hessian(loss, params, data, weights=counts)
        return curvature.dense(operator), jax.hessian(total)(flat)

    found, expected = both(params)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(loss(params, data, counts), total(flat), rtol=1e-12)


@pytest.mark.parametrize("statistics", ["running", "batch"])
def test_gauss_newton_is_that_of_the_outputs_it_names(problem: Any, statistics: Any):
    # Against J' H J with the Jacobian of the outputs of the whole batch, in which an example's
    # outputs depend on the others. Broken by the running statistics under the other name.
    params, state, data = problem
    flat, unravel = ravel_pytree(params)

    def outputs(flat: jax.Array) -> jax.Array:
        x = data[0]
        return MODEL.apply(unravel(flat), state, x, train=statistics == "batch")[0]

    @jax.jit
    def both(params: Any) -> Any:
        operator, _ = curvature.gauss_newton(
            batch_outputs(MODEL, state, statistics),
            lambda f, batch: LOSS.per_example(f, batch[1]),
            params,
            data,
        )
        p = jax.nn.softmax(outputs(flat))
        metric = jax.vmap(jnp.diag)(p) - p[:, :, None] * p[:, None, :]
        jacobian = jax.jacobian(outputs)(flat)
        return curvature.dense(operator), jnp.einsum(
            "nkp,nkl,nlq->pq", jacobian, metric, jacobian
        ) / N

    found, expected = both(params)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_without_batch_normalisation_they_are_one(problem: Any):
    # Broken by a mode that is refused, or that trains, where there is nothing to choose.
    _, _, data = problem
    model = normalised_dense((3,), 2, norm="layer")
    params, state = jax.jit(model.init)(jax.random.key(0), data[0][0])
    weights = jnp.full(N, 1 / N)
    values = [
        weighted_loss(model, LOSS, state, name)(params, data, weights)
        for name in ("running", "batch")
    ]
    assert values[0] == values[1]


def test_what_cannot_be_is_refused(problem: Any):
    # Broken by a misspelt name that means the other one, or a Flax network whose empty slots count.
    params, state, data = problem
    with pytest.raises(UserError, match="unknown statistics 'bach'; did you mean 'batch'"):
        weighted_loss(MODEL, LOSS, state, "bach")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="unknown statistics"):
        batch_outputs(MODEL, state, "eval")  # type: ignore[arg-type]
    linen = models.from_flax(LinenBlock())
    with pytest.raises(UserError, match="cannot be told which examples count; choose 'running'"):
        weighted_loss(linen, LOSS, {}, "batch")(params, data, jnp.ones(N))
