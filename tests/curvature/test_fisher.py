"""Oracles: explicit Jacobians and NumPy; drawn targets by ``jax.random``; the formulas' identities."""

from __future__ import annotations

import functools

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import losses, models
from implicit_bias.curvature import dense
from implicit_bias.curvature.fisher import sampled_fisher, true_fisher
from implicit_bias.curvature.gauss_newton import gauss_newton
from implicit_bias.errors import UserError
from implicit_bias.training.weighted import batch_outputs
from tests.curvature import cases

DRAWS, SEED = 3, 11


def build_true(problem, params, data, **options):
    return true_fisher(problem.outputs, problem.density, params, data, **options)


def build_sampled(problem, params, data, **options):
    key = jax.random.key(SEED)
    return sampled_fisher(
        problem.outputs, problem.density, params, data, key, n_draws=DRAWS, **options
    )


BUILDS = (build_true, build_sampled)


def true_oracle(exact, case, lane):
    # The expectation is written out over classes here; a normal distribution has the unit matrix.
    if case.loss == "squared":
        return exact.pulled_back(exact.metric)
    f = np.concatenate([exact.outputs, 0 * exact.outputs], axis=1)[:, : max(2, cases.CLASSES)]
    if case.loss == "logistic":
        f = f[:, :2]  # class one has the output, class zero a zero
    p = np.exp(f) / np.sum(np.exp(f), axis=1, keepdims=True)
    scores = np.eye(p.shape[1])[None] - p[:, None, :]  # (n, class, output)
    scores = scores[:, :, : exact.outputs.shape[1]]
    return exact.pulled_back(np.einsum("ny,nyk,nyl->nkl", p, scores, scores))


@functools.partial(cases.quick, static_argnames="loss")
def drawn_targets(f, loss):
    """Draw each example's targets as documented: from the key folded with the example's number."""

    def draw(number, f):
        key = jax.random.fold_in(jax.random.key(SEED), number)
        if loss == "squared":
            return jax.random.normal(key, (DRAWS, *f.shape), f.dtype)
        if loss == "logistic":
            return jax.random.bernoulli(key, jax.nn.sigmoid(f)[None, :], (DRAWS, 1))
        return jax.random.categorical(key, f, shape=(DRAWS,))

    return jax.vmap(draw)(jnp.arange(len(f), dtype=jnp.int32), f)


def sampled_oracle(exact, case, lane):
    f = exact.outputs
    drawn = np.asarray(drawn_targets(f.astype(case.dtype), case.loss))
    if case.loss == "squared":
        scores = drawn.astype(np.float64)
    elif case.loss == "logistic":
        scores = drawn - (1 / (1 + np.exp(-f)))[:, None, :]
    else:
        p = np.exp(f) / np.sum(np.exp(f), axis=1, keepdims=True)
        scores = np.eye(cases.CLASSES)[drawn] - p[:, None, :]
    return exact.pulled_back(np.einsum("ndk,ndl->nkl", scores, scores) / DRAWS)


@cases.every_case
def test_equal_the_dense_matrices(case):
    # Broken by: the wrong density or output Fisher matrix, a transpose, a lost example or block;
    # draws that depend on the chunk or the lane's place, or are made anew by each product; a mean
    # over draws taken twice.
    cases.check(case, (build_true, true_oracle), (build_sampled, sampled_oracle))


TestShared = cases.shared_tests(*BUILDS)


def gap(one, other):
    """Return the norm of the difference relative to that of the second."""
    one, other = np.asarray(one), np.asarray(other)
    return np.linalg.norm(one - other, 2) / np.linalg.norm(other, 2)


@pytest.mark.parametrize("loss", list(cases.DENSITIES))
def test_true_fisher_is_gauss_newton_of_its_loss(loss):
    # Broken by: a formula of the density that is not that of the library's loss.
    problem, params, data = cases.plain(loss)

    @cases.quick
    def both(params):
        ggn, _ = gauss_newton(problem.outputs, problem.loss_of_outputs, params, data)
        return dense(build_true(problem, params, data)[0]), dense(ggn)

    assert gap(*both(params)) < 1e-13


def log_softmax(f):
    return jax.nn.log_softmax(f, axis=1)


def test_given_density():
    # Broken by: probabilities in place of their logarithms, or scores of the wrong class. The draws
    # are those of the named density, since the key and the logits are (up to rounding).
    problem, params, data = cases.plain()

    @cases.quick
    def matrices(params):
        key = jax.random.key(3)
        given, named = (
            (
                true_fisher(problem.outputs, density, params, data)[0],
                sampled_fisher(problem.outputs, density, params, data, key, n_draws=2)[0],
            )
            for density in (log_softmax, "categorical")
        )
        return [[dense(operator) for operator in pair] for pair in (given, named)]

    given, named = matrices(params)
    assert gap(given[0], named[0]) < 1e-12
    assert gap(given[1], named[1]) < 1e-12


@pytest.mark.parametrize("density", ["gaussian", "categorical", "bernoulli", log_softmax])
def test_drawn_targets_average_to_the_true_matrix(density):
    # Broken by: targets drawn from another distribution than the predicted one, such as a uniform
    # one or that of other outputs. 4000 draws leave an error of about 2 %.
    problem, params, data = cases.plain()

    @cases.quick
    def both(params):
        true, _ = true_fisher(problem.outputs, density, params, data)
        sampled, _ = sampled_fisher(
            problem.outputs, density, params, data, jax.random.key(4), n_draws=4000
        )
        return dense(sampled), dense(true)

    assert gap(*both(params)) < 0.06


def test_predictions_of_an_example_add_up():
    # Broken by: one softmax over the outputs of all tokens, their mean in place of their sum, outputs of a
    # token put together wrongly, draws of tokens that are the same, or scores of another token.
    t, k = 3, 4
    model = models.Transformer(
        outputs=k, width=3, depth=1, heads=1, vocabulary=k, readout="every", mlp_ratio=1
    )
    rng = np.random.default_rng(0)
    x, y = rng.integers(k, size=(4, t)), rng.integers(k, size=(4, t))
    params, state = jax.jit(model.init)(jax.random.key(0), jnp.zeros(t))
    data = (jnp.asarray(x, np.float64), jnp.asarray(y))
    outputs = batch_outputs(model, state)
    loss = losses.get("cross_entropy")
    flat, back = jax.flatten_util.ravel_pytree(params)

    @jax.jit
    def every(flat):
        params = back(flat)
        true, _ = true_fisher(outputs, "categorical", params, data, predictions=t)
        given, _ = true_fisher(outputs, log_softmax, params, data, predictions=t)
        sampled, _ = sampled_fisher(
            outputs, "categorical", params, data, jax.random.key(4), n_draws=4000, predictions=t
        )
        ggn, _ = gauss_newton(outputs, lambda f, batch: loss.per_example(f, batch[1]), params, data)
        jacobian = jax.jacrev(lambda v: outputs(back(v), data))(flat)
        return [outputs(params, data), jacobian, *map(dense, (true, given, sampled, ggn))]

    f, jacobian, true, given, sampled, ggn = map(np.asarray, every(flat))
    p = np.exp(f.reshape(4, t, k))
    p /= p.sum(axis=2, keepdims=True)
    each = jacobian.reshape(4, t, k, -1)
    metric = p[..., None] * np.eye(k) - p[..., None, :] * p[..., None]
    exact = np.einsum("ntkp,ntkl,ntlq->pq", each, metric, each) / 4
    np.testing.assert_allclose(true, exact, atol=1e-12 * np.abs(exact).max())
    np.testing.assert_allclose(given, exact, atol=1e-12 * np.abs(exact).max())
    np.testing.assert_allclose(t * ggn, exact, atol=1e-12 * np.abs(exact).max())
    assert gap(sampled, exact) < 0.06
    for build in (true_fisher, functools.partial(sampled_fisher, key=jax.random.key(0))):
        for predictions, says in (
            (1, "the data have 3 classes an example; give predictions=3"),
            (5, "give predictions=3"),
            (0, "choose predictions >= 1"),
        ):
            with pytest.raises(UserError, match=says):
                build(outputs, "categorical", params, data, predictions=predictions)
    five = functools.partial(true_fisher, outputs, "categorical", data=data[:1], predictions=5)
    with pytest.raises(UserError, match="predictions is 5, but an example has 12 outputs"):
        jax.eval_shape(lambda params: five(params=params)[0].product(flat), params)


def test_bad_densities_and_draws():
    # Broken by: an unknown name taken for some density; no draws, whose mean is NaN.
    problem, params, data = cases.plain()
    with pytest.raises(UserError, match="did you mean 'categorical'"):
        true_fisher(problem.outputs, "categoric", params, data)
    sampled = functools.partial(sampled_fisher, problem.outputs)
    with pytest.raises(UserError, match="unknown density"):
        sampled("poisson", params, data, jax.random.key(0))
    with pytest.raises(UserError, match="n_draws is 0"):
        sampled("gaussian", params, data, jax.random.key(0), n_draws=0)
