"""Oracles: ``jax.hessian``, and NumPy: explicit derivatives, central differences of a network."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.special import erf, logsumexp

from implicit_bias.curvature import (
    LinearOperator,
    dense,
    hessian,
    lanczos,
    power_iteration,
)
from implicit_bias.errors import UserError
from tests.curvature import cases

N, INPUTS, HIDDEN, OUTPUTS = 11, 4, 3, 3
ACTIVATIONS = ["relu", "tanh", "gelu", "erf", "identity"]
LOSSES = ["squared", "cross_entropy", "logistic"]


def chosen(number, choices):
    """Return the choice of a traced number, so that one program serves all.

    The others count zero times; this compiles faster than a switch, whose branches' derivatives
    must agree in what they keep.
    """
    return sum((number == i).astype(each.dtype) * each for i, each in enumerate(choices))


def activate(h, activation):
    return chosen(activation, [jnp.maximum(h, 0), jnp.tanh(h), jax.nn.gelu(h), jax.lax.erf(h), h])


def network(params, x, activation):
    for index, layer in enumerate(params):
        x = x @ layer["kernel"] + layer["bias"][None, :]
        if index < len(params) - 1:
            x = activate(x, activation)
    return x


def weighted_loss(params, batch, weights, *, activation, loss):
    """Return the weighted sum for losses by traced number; the logistic one reads one output."""
    x, y = batch
    f = network(params, x, activation)
    one_hot = jax.nn.one_hot(y, OUTPUTS, dtype=f.dtype)
    each = chosen(
        loss,
        [
            0.5 * jnp.sum((f - one_hot) ** 2, axis=1),
            jax.nn.logsumexp(f, axis=1) - jnp.sum(one_hot * f, axis=1),
            jnp.logaddexp(0, f[:, 0]) - f[:, 0] * (y == 0).astype(f.dtype),
        ],
    )
    return jnp.sum(weights * each)


def make(depth: int, seed: int):
    """Return float64 parameters of a network with ``depth`` layers, and data."""
    rng = np.random.default_rng(seed)
    sizes = [INPUTS, *[HIDDEN] * (depth - 1), OUTPUTS]
    scale = rng.uniform(0.5, 2)
    params = [
        {
            "kernel": scale * rng.normal(size=(a, b)) / np.sqrt(a),
            "bias": 0.3 * rng.normal(size=b),
        }
        for a, b in itertools.pairwise(sizes)
    ]
    return params, (rng.normal(size=(N, INPUTS)), rng.integers(0, OUTPUTS, N).astype("int32"))


def cast(tree, dtype):
    return jax.tree.map(
        lambda leaf: leaf.astype(dtype) if np.issubdtype(leaf.dtype, np.floating) else leaf, tree
    )


@functools.partial(cases.quick, static_argnames="tol")
def extremes(params, data, activation, loss, tol):
    """Return the largest pairs of the Hessian and of its negative."""
    operator, _ = hessian(
        functools.partial(weighted_loss, activation=activation, loss=loss), params, data
    )

    def largest(sign):
        signed = LinearOperator(
            lambda v: sign * operator.product(v), operator.dimension, sign.dtype
        )
        return lanczos(signed, jax.random.key(1), k=2, tol=tol)

    return jax.lax.map(largest, jnp.asarray([1, -1], operator.dtype))


@cases.quick
def exact(params, data, activation, loss):
    flat, unravel = ravel_pytree(params)
    weights = jnp.full((N,), 1 / N)

    def value(flat):
        return weighted_loss(unravel(flat), data, weights, activation=activation, loss=loss)

    return jax.hessian(value)(flat)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-9)])
def test_eigenvalues_of_random_networks(depth, dtype, bound):
    # Broken by: anything wrong in the operator or the method: a loss averaged twice, a lost sign, a
    # product in low precision, an eigenvalue of largest magnitude. 45 networks for each type.
    # A network of one layer repeats eigenvalues (each once per output under the squared loss, zeros
    # under the others), and Lanczos may show one copy only: there the second is not compared.
    for activation, name in enumerate(ACTIVATIONS):
        for loss, loss_name in enumerate(LOSSES):
            params, data = make(depth, seed=100 * depth + 10 * activation + loss)
            numbers = np.int32(activation), np.int32(loss)
            # The oracle sees the same rounded numbers, in float64.
            rounded, rounded_data = cast(params, dtype), cast(data, dtype)
            found = jax.device_get(extremes(rounded, rounded_data, *numbers, bound))
            matrix = np.asarray(exact(*cast((rounded, rounded_data), "float64"), *numbers))
            values = np.linalg.eigvalsh(matrix)
            scale = np.max(np.abs(values))
            case = f"{name}, {loss_name}, {depth} layers"
            assert found.values.dtype == dtype, case
            error = np.abs(found.values - np.array([values[[-1, -2]], -values[[0, 1]]]))
            compared = error[:, : 1 if depth == 1 else 2]
            assert np.all(compared <= bound * scale), (case, compared / scale)
            signed = np.array([1, -1])[:, None, None] * (found.vectors @ matrix)
            away = signed - found.values[..., None] * found.vectors
            np.testing.assert_allclose(
                found.residuals,
                np.linalg.norm(away, axis=2),
                atol=30 * np.finfo(dtype).eps * scale,
                err_msg=case,
            )
            assert np.all(found.converged), case


def test_both_methods_agree():
    # Broken by: either method wrong; the study's control asks for 2 %.
    @cases.quick
    def both(params, data, activation, loss):
        operator, _ = hessian(
            functools.partial(weighted_loss, activation=activation, loss=loss), params, data
        )
        key = jax.random.key(2)
        return lanczos(operator, key, tol=1e-3), power_iteration(operator, key, tol=1e-3)

    for loss in range(3):
        for activation in range(5):
            params, data = make(2, seed=loss + 7 * activation)
            one, other = both(params, data, jnp.int32(activation), jnp.int32(loss))
            assert bool(one.converged)
            assert bool(other.converged)
            np.testing.assert_allclose(one.values, other.values, rtol=5e-3)


def numpy_loss(flat, x, y, activation, loss):
    """Return the mean loss of the network with one hidden layer; written without JAX."""
    rest = flat
    kernels = []
    for a, b in ((INPUTS, HIDDEN), (HIDDEN, OUTPUTS)):
        # ravel_pytree goes through dictionaries by sorted name: bias, then kernel.
        bias, rest = rest[:b], rest[b:]
        kernel, rest = rest[: a * b].reshape(a, b), rest[a * b :]
        kernels.append((kernel, bias))
    act = {"tanh": np.tanh, "erf": erf, "identity": lambda h: h}[activation]
    f = act(x @ kernels[0][0] + kernels[0][1]) @ kernels[1][0] + kernels[1][1]
    if loss == "squared":
        return np.mean(0.5 * np.sum((f - np.eye(OUTPUTS)[y]) ** 2, axis=1))
    if loss == "cross_entropy":
        return np.mean(logsumexp(f, axis=1) - f[np.arange(N), y])
    sign = np.where(y == 0, 1.0, -1.0)
    return np.mean(np.log1p(np.exp(-sign * f[:, 0])))


@cases.quick
def dense_hessian(params, data, activation, loss):
    one = functools.partial(weighted_loss, activation=activation, loss=loss)
    return dense(hessian(one, params, data)[0])


@pytest.mark.parametrize(
    ("activation", "loss"),
    [("tanh", "squared"), ("erf", "cross_entropy"), ("identity", "logistic")],
)
def test_matrix_against_finite_differences(activation, loss):
    # Broken by: a mistake that the product and jax.hessian would share, in the loss or the network.
    params, (x, y) = make(2, seed=3)
    flat = np.asarray(ravel_pytree(params)[0])
    step, p = 1e-4, len(flat)
    shifts = step * np.eye(p)

    def at(shift):
        return numpy_loss(flat + shift, np.asarray(x), np.asarray(y), activation, loss)

    expected = np.zeros((p, p))
    for i in range(p):
        for j in range(i + 1):
            a, b = shifts[i], shifts[j]
            expected[i, j] = expected[j, i] = (at(a + b) - at(a - b) - at(b - a) + at(-a - b)) / (
                4 * step**2
            )

    found = dense_hessian(
        params,
        (x, y),
        jnp.int32(ACTIVATIONS.index(activation)),
        jnp.int32(LOSSES.index(loss)),
    )
    np.testing.assert_allclose(found, expected, atol=2e-6)


def cross_entropy(params, batch, weights):
    x, y = batch
    f = jnp.tanh(x @ params[0]["kernel"] + params[0]["bias"][None, :])
    f = f @ params[1]["kernel"] + params[1]["bias"][None, :]
    one_hot = jax.nn.one_hot(y, OUTPUTS, dtype=f.dtype)
    return jnp.sum(weights * (jax.nn.logsumexp(f, axis=1) - jnp.sum(one_hot * f, axis=1)))


@functools.partial(cases.quick, static_argnames=("chunk_size", "linearize"))
def product(params, data, vector, weights=None, chunk_size=None, linearize=True):
    operator, _ = hessian(
        cross_entropy, params, data, weights=weights, chunk_size=chunk_size, linearize=linearize
    )
    return operator.product(vector)


@pytest.mark.parametrize("linearize", [False, True])
@pytest.mark.parametrize("chunk_size", [1, 4, 50])
def test_chunks_change_nothing(chunk_size, linearize):
    # Broken by: an example of the last chunk dropped or counted twice, or an average of averages
    # (4 does not divide 11).
    params, data = make(2, seed=4)
    vector = jnp.asarray(np.random.default_rng(0).normal(size=27))
    found = product(params, data, vector, chunk_size=chunk_size, linearize=linearize)
    expected = product(params, data, vector, linearize=False)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("linearize", [False, True])
def test_last_chunk_holds_real_examples(linearize):
    # Broken by: padding with zeros, whose loss here is 0/0, and zero times NaN is NaN.
    x = jnp.asarray(np.random.default_rng(1).normal(size=(5, 2)))

    def loss(params, batch, weights):
        unit = batch / jnp.linalg.norm(batch, axis=1, keepdims=True)
        return jnp.sum(weights * jnp.square(unit @ params))

    @cases.quick
    def matrix(params):
        return dense(hessian(loss, params, x, chunk_size=3, linearize=linearize)[0])

    unit = np.asarray(x) / np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(matrix(jnp.ones(2)), 2 * unit.T @ unit / 5, rtol=1e-12)


def test_weights_choose_examples():
    # Broken by: weights ignored, divided by n again, or shifted against the examples of a chunk.
    params, (x, y) = make(2, seed=5)
    vector = jnp.ones(27)
    weights = jnp.asarray([*[0.0] * 9, 0.5, 0.5])
    weighted = product(params, (x, y), vector, weights, chunk_size=4)
    pair = product(params, (x[-2:], y[-2:]), vector)
    np.testing.assert_allclose(weighted, pair, rtol=1e-11)


def test_unravel_gives_back_the_tree():
    # Broken by: an order of parameters that differs from the vectors'.
    params, data = make(2, seed=5)

    @cases.quick
    def there_and_back(params):
        operator, unravel = hessian(cross_entropy, params, data, linearize=False)
        assert operator.dimension == 27
        return unravel(ravel_pytree(params)[0])

    jax.tree.map(np.testing.assert_array_equal, there_and_back(params), params)


def test_parameters_that_are_not_finite():
    # Broken by: a diverged lane that runs through its whole budget, or reports a number.
    params, data = make(2, seed=8)
    params[0]["kernel"][0, 0] = np.nan
    found = extremes(params, data, jnp.int32(1), jnp.int32(1), 1e-9)
    assert not np.any(found.converged)
    assert np.all(np.isnan(found.values))
    assert np.all(np.asarray(found.products) <= 1 + 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunk_size": 0}, "chunk_size is 0"),
        ({"data": (jnp.ones((0, 4)), jnp.ones((0,), jnp.int32))}, "0 examples"),
        ({"data": (jnp.ones((3, 4)), jnp.ones((2,), jnp.int32))}, "share one leading axis"),
        ({"data": ()}, "share one leading axis"),
        ({"data": jnp.float32(1)}, "share one leading axis"),
        ({"weights": jnp.ones(3)}, "give shape (11,)"),
        ({"params": jnp.ones(3, jnp.int32)}, "floating-point"),
    ],
)
def test_bad_requests(change, message):
    # Broken by: a check that is missing, so that the user meets an error of JAX instead.
    params, data = make(2, seed=9)
    arguments = {"params": params, "data": data} | change
    params, data = arguments.pop("params"), arguments.pop("data")
    with pytest.raises(UserError) as caught:
        hessian(cross_entropy, params, data, **arguments)
    assert message in str(caught.value)


def build(problem, params, data, **options):
    return hessian(problem.weighted, params, data, **options)


@cases.every_case
def test_equals_the_dense_matrix(case):
    # Broken by: anything wrong in a product, for some network, block, chunk or way to map lanes.
    def oracle(exact, case, lane):
        bend = np.einsum("n,nk,nkpq->pq", exact.mean_weights, exact.residual, exact.bend)
        return exact.pulled_back(exact.metric) + bend

    cases.check(case, (build, oracle))


def test_padding_adds_only_zeros():
    # Broken by: a padded unit that a product reaches.
    cases.check_padding(build)


def test_highest_precision():
    # Broken by: a product traced outside the precision context, which a GPU would round to TF32.
    cases.check_precision(build)


def test_forward_pass_is_shared():
    # Broken by: a linearization that keeps the forward pass among what is done for each vector.
    cases.check_shared_primal(build)


@cases.every_bad_request
def test_bad_blocks_and_more(change, message):
    # Broken by: a check that is missing, so that the user meets an error of JAX instead.
    with pytest.raises(UserError) as caught:
        cases.request(build, change)
    assert message in str(caught.value)
