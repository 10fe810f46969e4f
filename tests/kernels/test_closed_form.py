"""The dense recursion against Gaussian quadrature, neural_tangents and exact values."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from implicit_bias.kernels import Kernels, infinite_kernel
from implicit_bias.kernels.closed_form import LayerNumbers, closed_form, layer_numbers
from implicit_bias.models import Dense, residual_dense
from implicit_bias.models.layers import Activation, Affine, Residual, WeightLayer

POINTS = np.random.default_rng(0).normal(size=(5, 4))


def dense(depth: int, activation: str, parameterisation: str = "ntk") -> Dense:
    scale = 0.7 if parameterisation == "ntk" else 1.0
    return Dense(
        (8,) * depth,
        2,
        activation,  # type: ignore[arg-type]
        parameterisation,  # type: ignore[arg-type]
        bias_std=0.3,
        bias_scale=scale,
    )


NETWORKS = {
    **{
        f"{activation}-{depth}": dense(depth, activation)
        for activation, depth in itertools.product(("relu", "erf", "identity"), (1, 4))
    },
    "relu-2-standard": dense(2, "relu", "standard"),
    "relu-3-no-bias": Dense((8,) * 3, 2, bias=False),
    "erf-2-bias-at-zero": Dense((8,) * 2, 2, "erf", "ntk", "lecun"),
    "residual-relu": residual_dense(8, 2, 2, "relu", 0.6, parameterisation="ntk", bias_std=0.2),
    "residual-erf": residual_dense(8, 1, 2, "erf", 2.0),
}


@functools.cache
def compiled(name: str, engine: str = "auto") -> Callable[..., Kernels]:
    """Return a network's kernels as a function of (x1, x2, scale), compiled."""

    def kernels(x1: jax.Array, x2: jax.Array | None, scale: jax.Array) -> Kernels:
        return infinite_kernel(NETWORKS[name], engine=engine, scale=scale).block(x1, x2)

    return jax.jit(kernels)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_equals_neural_tangents(name: str) -> None:
    # Broken by any wrong coefficient of the recursion, or of the numbers handed to stax.
    once = name != "relu-1"
    x, y = jnp.asarray(POINTS), jnp.asarray(POINTS[:2] ** 2 - 0.3)
    for dtype, tolerance in ((jnp.float64, 1e-9), (jnp.float32, 1e-5))[: 1 if once else 2]:
        for x2 in (y, None)[: 1 if once else 2]:
            found, expected = (
                compiled(name, engine)(
                    x.astype(dtype), None if x2 is None else x2.astype(dtype), jnp.asarray(1.2)
                )
                for engine in ("closed form", "neural-tangents")
            )
            for a, b in zip(found, expected, strict=True):
                assert a.dtype == b.dtype == dtype
                np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def expectation(rule: Callable[[np.ndarray], np.ndarray], covariance: np.ndarray) -> float:
    """Integrate ``E f(u) f(v)`` over Gaussians of a covariance, in polar coordinates."""
    root = np.linalg.cholesky(covariance)
    nodes, weights = np.polynomial.legendre.leggauss(80)
    radius, radial = 6 + 6 * nodes, 6 * weights  # from 0 to 12 standard deviations
    # Where a unit's sums change sign is a ray: the pieces between such rays are smooth.
    zeros = [math.atan2(-row[0], row[1]) % math.pi for row in root]
    rays = sorted([0.0, 2 * math.pi, *zeros, *(zero + math.pi for zero in zeros)])
    total = 0.0
    for low, high in itertools.pairwise(rays):
        angle, angular = (low + high) / 2 + (high - low) / 2 * nodes, (high - low) / 2 * weights
        u, v = (radius * (row[:, None] @ np.ones((1, 80))) for row in root @ _circle(angle))
        density = radius * np.exp(-(radius**2) / 2) / (2 * math.pi)
        total += float(np.sum(rule(u) * rule(v) * density * radial * angular[:, None]))
    return total


def _circle(angle: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angle), np.sin(angle)])


RULES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], ...]] = {
    "relu": (lambda u: np.maximum(u, 0), lambda u: (u > 0).astype(float)),
    "erf": (special.erf, lambda u: 2 / math.sqrt(math.pi) * np.exp(-u * u)),
}


@pytest.mark.parametrize("name", list(RULES))
def test_equals_quadrature(name: str) -> None:
    # An oracle without kernel formulas: broken by any of them, or by the rule for the weights.
    function, derivative = RULES[name]
    x = jnp.asarray(POINTS[:2])
    numbers = (LayerNumbers(1.5, 0.2, 1.5, 0.4), LayerNumbers(0.8, 0.1, 3.0, 0.5))
    chain = (Affine(1), Activation(name), Affine(1))
    found = jax.jit(lambda x: closed_form(chain, numbers, x))(x)
    first = 1.5 * POINTS[:2] @ POINTS[:2].T / 4 + 0.2
    first_ntk = 1.5 * POINTS[0] @ POINTS[1] / 4 + 0.4
    moment = expectation(function, first)
    slopes = expectation(derivative, first)
    np.testing.assert_allclose(found.nngp[0, 1], 0.8 * moment + 0.1, rtol=1e-7)
    expected = 0.8 * slopes * first_ntk + 3.0 * moment + 0.5
    np.testing.assert_allclose(found.ntk[0, 1], expected, rtol=1e-7)


def test_layer_numbers_are_those_of_the_weights() -> None:
    # Broken by forgetting a multiplier, the fan-in or the scale, which acts on weights alone.
    entry = WeightLayer("layer_0", 10, 0.5, 0.3, 2.0, 4.0)
    (found,) = layer_numbers([entry], 3.0, jnp.float64)
    np.testing.assert_allclose(found, (0.25 * 36 * 10, 1.44, 2.5, 0.09), rtol=1e-12)


@pytest.mark.parametrize("name", ["relu-3-no-bias", "residual-relu", "erf-4"])
def test_keeps_its_digits_where_inputs_have_one_direction(name: str) -> None:
    # Broken by angles as arccos of a rounded cosine: those are wrong by √ε, here 3e-4 an angle.
    kernel, one = compiled(name), jnp.asarray(1.0)
    x = np.concatenate([POINTS, 2 * POINTS[:2], -POINTS[2:4]])
    exact = kernel(jnp.asarray(x), None, one)
    for x2 in (None, jnp.asarray(x, jnp.float32)):
        found = kernel(jnp.asarray(x, jnp.float32), x2, one)
        for a, b in zip(found, exact, strict=True):
            np.testing.assert_allclose(a, b, rtol=4e-6, atol=4e-6)


def test_bias_free_relu_is_homogeneous_and_exact_on_the_diagonal() -> None:
    # Known by hand: with He weights K(x, x) = 2|x|²/d at every depth, Θ = (depth) times that.
    x = jnp.asarray(POINTS, jnp.float32)
    found = infinite_kernel(Dense((8, 8), 1, "relu", "ntk", bias=False))(x)
    squares = 2 * np.sum(POINTS**2, axis=1) / 4
    np.testing.assert_allclose(np.diag(found.nngp), squares, rtol=1e-6)
    np.testing.assert_allclose(np.diag(found.ntk), 3 * squares, rtol=1e-6)


@pytest.mark.parametrize("name", ["relu-3-no-bias", "residual-relu", "erf-4"])
def test_nan_stays_nan(name: str) -> None:
    # Broken by a comparison that takes NaN for zero, or for one direction: traced inputs pass.
    x = jnp.asarray(POINTS[:3]).at[1, 0].set(jnp.nan)
    for kernel in compiled(name)(x, None, jnp.asarray(1.0)):
        wrong = np.isnan(np.asarray(kernel))
        np.testing.assert_array_equal(wrong, [[0, 1, 0], [1, 1, 1], [0, 1, 0]])


def test_zero_inputs_and_derivatives_are_finite() -> None:
    # Broken by a division by a norm of zero, or by the derivative of a root or an angle at zero. A
    # unit whose sums are zero is off in our networks, so only the last layer's bias is left.
    model = Dense((8,), 1, "relu", "ntk")
    x = jnp.zeros((2, 4)).at[1].set(1.0)
    found = infinite_kernel(model)(x)
    np.testing.assert_allclose(found.ntk, [[1.0, 1.0], [1.0, found.ntk[1, 1]]], rtol=1e-12)

    def total(x: jax.Array, network: Dense) -> jax.Array:
        both = infinite_kernel(network).block(x, x)
        return jnp.sum(both.nngp) + jnp.sum(both.ntk)

    for network in (model, dense(2, "erf")):
        slope = jax.jit(jax.grad(total), static_argnums=1)(x, network)
        assert bool(jnp.all(jnp.isfinite(slope)))


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from(["relu-4", "erf-4", "identity-4", "residual-relu"]),
    st.floats(0.3, 3.0),
)
def test_kernels_are_positive_semi_definite(seed: int, name: str, scale: float) -> None:
    # Covariances and Gram matrices both. Under these parameterisations, where every weight's factor
    # is at least its spread, so is their difference, the part of the kernel below the last layer.
    x = np.random.default_rng(seed).normal(size=(6, 3))
    x[3] = 2 * x[2]  # rank-deficient on purpose
    found = compiled(name)(jnp.asarray(x), None, jnp.asarray(scale))
    for matrix in found:
        values = np.linalg.eigvalsh(np.asarray(matrix))
        assert values[0] >= -1e-12 * values[-1]
    if scale <= 1.0:
        values = np.linalg.eigvalsh(np.asarray(found.ntk - found.nngp))
        assert values[0] >= -1e-12 * abs(values[-1])


def test_residual_of_a_linear_branch_is_linear() -> None:
    # h + sWh has the kernel of one layer: (1 + s²a)·K; broken by adding s instead of s².
    chain = (Affine(1), Residual((Affine(1),), 0.5))
    numbers = (LayerNumbers(1.0, 0.0, 1.0, 0.0), LayerNumbers(2.0, 0.0, 3.0, 0.0))
    x = jnp.asarray(POINTS)
    found = jax.jit(lambda x: closed_form(chain, numbers, x))(x)
    linear = POINTS @ POINTS.T / 4
    np.testing.assert_allclose(found.nngp, 1.5 * linear, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.ntk, (1 + 0.25 * (2 + 3)) * linear, rtol=1e-10, atol=1e-12)
