"""Curvature penalties: against polynomials whose traces and eigenvalues are known, in float64."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import optimizers
from implicit_bias.errors import UserError
from implicit_bias.optimizers import Schedule
from implicit_bias.optimizers.curvature_penalty import (
    curvature_gradient,
    random_signs,
    top_direction,
)
from tests.optimizers.harness import ROWS, problem, trajectory

RNG = np.random.default_rng(0)
A, U, B = RNG.normal(size=5), RNG.normal(size=5), 0.7
W = RNG.normal(size=5)
Q = np.linalg.qr(RNG.normal(size=(5, 5)))[0]


def tree(w: Any) -> dict[str, jax.Array]:
    return {"a": jnp.asarray(w[:2]), "b": jnp.asarray(w[2:])}


def flat(p: Any) -> jax.Array:
    return jnp.concatenate([p["a"], p["b"]])


def quartic(p: Any) -> jax.Array:
    """Σ aᵢ wᵢ⁴ + b (u·w)³, with Hessian 12 diag(a w²) + 6 b (u·w) u uᵀ."""
    w = flat(p)
    return jnp.sum(jnp.asarray(A) * w**4) + B * jnp.vdot(jnp.asarray(U), w) ** 3


TRACE_GRADIENT = 24 * A * W + 6 * B * (U @ U) * U


def rotated(c: np.ndarray, a: np.ndarray) -> Any:
    """Σ aᵢ zᵢ⁴ + cᵢ zᵢ² with z = Qw: eigenvectors the rows of Q, eigenvalues 12 aᵢ zᵢ² + 2 cᵢ."""

    def loss(p: Any) -> jax.Array:
        z = jnp.asarray(Q) @ flat(p)
        return jnp.sum(jnp.asarray(a) * z**4 + jnp.asarray(c) * z**2)

    return loss


def update_gradient(name: str, loss: Any, key: jax.Array, **settings: float) -> jax.Array:
    optimizer = optimizers.get(name)
    gradient_of = jax.grad(loss)
    params = tree(W)
    found = optimizer.update_gradient(
        Schedule(),
        optimizer.settings() | settings,
        jnp.int32(0),
        gradient_of(params),
        gradient_of,
        params,
        key,
    )
    return flat(found)


def test_the_mean_over_all_signs_is_the_gradient_of_the_trace() -> None:
    # Breaks if a factor of two or another derivative is taken: the mean over all 32 sign vectors is exact,
    # and so is each one's ∇(vᵀHv) = 24 a w v² + 6 b (u·v)² u.
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=5)))
    gradient_of = jax.grad(quartic)
    found = jax.jit(jax.vmap(lambda v: flat(curvature_gradient(gradient_of, tree(W), tree(v)))))(
        jnp.asarray(signs)
    )
    each = 24 * A * W + 6 * B * (signs @ U)[:, None] ** 2 * U
    np.testing.assert_allclose(found, each, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.mean(found, axis=0), TRACE_GRADIENT, rtol=1e-12, atol=1e-12)


def test_the_trace_penalty_is_unbiased_over_its_keys() -> None:
    # Breaks if probes are not signs, not independent between entries and arrays, or the same for all keys.
    # 4,000 keys; five coordinates within 4.5 of their own standard errors.
    keys = jax.random.split(jax.random.key(1), 4000)
    found = jax.jit(
        jax.vmap(lambda key: update_gradient("trace_penalty", quartic, key, gamma=0.3))
    )(keys)
    expected = np.asarray(flat(jax.grad(quartic)(tree(W)))) + 0.3 * TRACE_GRADIENT
    error = np.std(found, axis=0, ddof=1) / np.sqrt(len(keys))
    assert (error > 0).all()
    assert (np.abs(np.mean(found, axis=0) - expected) < 4.5 * error).all()
    signs = random_signs(keys[0], tree(W))
    assert set(np.unique(flat(signs))) == {-1.0, 1.0}


def test_the_top_penalty_is_the_derivative_of_the_largest_eigenvalue() -> None:
    # Breaks if the eigenvector is differentiated, has not length one, or belongs to another eigenvalue.
    # Its derivative along row i of Q is 24 aᵢ zᵢ; the eigenvalues are far apart, so 60 products converge.
    a, c = np.array([0.1, 0.2, 1.5, 0.3, 0.1]), np.array([1.0, 2.0, 9.0, -1.0, 0.5])
    loss, z = rotated(c, a), Q @ W
    values = 12 * a * z**2 + 2 * c
    top = np.argmax(values)
    expected = np.asarray(flat(jax.grad(loss)(tree(W)))) + 0.3 * 24 * a[top] * z[top] * Q[top]
    found = update_gradient("top_penalty", loss, jax.random.key(0), gamma=0.3, hessian_products=60)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("bottom", [-0.5, -10.1, -40.0])
def test_the_top_is_found_where_the_bottom_is_larger(bottom: float) -> None:
    # Breaks if the eigenvalue of largest size is sought, as by power iteration. Eigenvalues are 2c: the top
    # is 20, then 12; the bottom is −1, −20.2 or −80. An ascent multiplies the quotient's error by at most
    # ((1 − x)/(1 + x))², x = 8/100 at worst: 0.73, so that 200 products leave rounding.
    c = np.array([1.0, 10.0, 6.0, bottom, 0.5])
    loss = rotated(c, np.zeros(5))
    direction = flat(top_direction(jax.grad(loss), tree(W), jax.random.key(3), jnp.asarray(200.0)))
    np.testing.assert_allclose(np.abs(Q @ np.asarray(direction)), np.eye(5)[1], atol=1e-8)


def test_more_products_come_nearer_and_the_start_is_random() -> None:
    # Breaks if the number of products is not traced or not heeded, or each update starts the same.
    loss = rotated(np.array([1.0, 10.0, 6.0, 2.0, 0.5]), np.zeros(5))

    @jax.jit
    def overlap(key: jax.Array, count: jax.Array) -> jax.Array:
        return jnp.abs(jnp.asarray(Q[1]) @ flat(top_direction(jax.grad(loss), tree(W), key, count)))

    found = [float(overlap(jax.random.key(0), jnp.asarray(n))) for n in (2.0, 4.0, 16.0)]
    assert found[0] < found[1] < found[2] < 1 + 1e-12
    assert found[2] > 0.999
    assert float(overlap(jax.random.key(1), jnp.asarray(2.0))) != found[0]


def test_no_curvature_is_no_penalty() -> None:
    # Breaks if 0/0 in the search for an eigenvector makes NaN: a linear loss has no Hessian at all.
    def linear(p: Any) -> jax.Array:
        return jnp.vdot(jnp.asarray(U), flat(p))

    for name in ("trace_penalty", "top_penalty"):
        found = update_gradient(name, linear, jax.random.key(0), gamma=2.0)
        np.testing.assert_array_equal(found, U)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("name", ["trace_penalty", "top_penalty"])
def test_without_gamma_it_is_the_base_optimiser_bit_for_bit(row: Any, name: str) -> None:
    # Breaks if the control of every comparison is another optimiser than the plain one.
    params, loss = problem()
    wrapped = optimizers.get(f"{name}({row.name})")
    settings = row.full(step_size=row.step_size, weight_decay=0.01)
    base = trajectory(row.optimizer, settings, params, jax.grad(loss), 3)
    settings = wrapped.settings() | settings | {"gamma": 0.0}
    found = trajectory(wrapped, settings, params, jax.grad(loss), 3)
    jax.tree.map(np.testing.assert_array_equal, found, base)


def test_descent_on_the_penalised_loss_lowers_the_eigenvalue() -> None:
    # Breaks if the penalty pulls the wrong way. The loss ½(xy − 1)² is zero on a hyperbola, where its only
    # non-zero eigenvalue is x² + y²: smallest at x = y = 1, and 17/4 at the start (2, ½).
    def loss(p: Any) -> jax.Array:
        return 0.5 * (p["x"] * p["y"] - 1) ** 2

    start = {"x": jnp.asarray(2.0), "y": jnp.asarray(0.5)}
    for name in ("trace_penalty(heavy_ball)", "top_penalty(heavy_ball)"):
        optimizer = optimizers.get(name)
        settings = optimizer.settings() | {"step_size": 0.01, "gamma": 1e-2}
        end = trajectory(optimizer, settings, start, jax.grad(loss), 3000)
        hessian = jax.hessian(lambda v: loss({"x": v[0], "y": v[1]}))
        top = np.linalg.eigvalsh(hessian(jnp.stack([end["x"], end["y"]])))[-1]
        assert float(loss(end)) < 1e-3
        assert top < 2.05


def test_names_and_settings() -> None:
    # Breaks if a penalty is found under another name, or its strength is not a traced setting.
    assert optimizers.get("trace_penalty") == optimizers.trace_penalty(optimizers.SGD)
    assert optimizers.get("top_penalty(adam)").name == "top_penalty(adam)"
    settings = optimizers.get("top_penalty(heavy_ball)").settings()
    assert {"gamma", "hessian_products", "momentum"} <= set(settings)
    assert optimizers.get("trace_penalty").gradients == 3
    with pytest.raises(UserError, match="gamma is -1"):
        optimizers.get("trace_penalty").validate({"gamma": -1})
    with pytest.raises(UserError, match="hessian_products is 1"):
        optimizers.get("top_penalty").validate({"hessian_products": 1})
