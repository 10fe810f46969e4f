"""What the sharpness study measures of a lane, against dense matrices and the definitions."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from implicit_bias import geometry, losses, models
from implicit_bias.keys import role_key
from implicit_bias.studies.sharpness.measure import SWEEPS, Sharpness
from implicit_bias.studies.sharpness.points import make_points
from implicit_bias.training.lane import LaneExamples, Pool
from implicit_bias.training.measurement import FinishedLane

MODEL, LOSS = models.Dense((3,), 2, "relu"), losses.get("cross_entropy")
ALPHAS, SCALES, STRETCH = (10.0,), (2.0,), 3.0


@pytest.fixture(scope="module")
def lane() -> tuple[Pool, FinishedLane]:
    """Twelve examples in four dimensions, and a network of 23 parameters that fits them somewhat."""
    rng = np.random.default_rng(0)
    y = (np.arange(16) % 2).astype(np.int32)
    x = rng.normal(size=(16, 4)) + y[:, None]
    pool = Pool(jnp.asarray(x), jnp.asarray(y), jnp.asarray(x[:5]), jnp.asarray(y[:5]))
    rows = jnp.arange(12, dtype=jnp.int32)
    params, state = MODEL.init(jax.random.key(4), pool.x_train[0])
    examples = LaneExamples(rows, jnp.zeros((0,), jnp.int32), pool.y_train[rows])
    return pool, FinishedLane(jnp.uint32(3), examples, params, state, params)


@pytest.fixture(scope="module")
def measurement() -> Sharpness:
    """All points, two radii each."""
    return Sharpness(
        make_points(ALPHAS, SCALES, STRETCH), ((0.3,),) * len(SWEEPS), "layer_1", n_test=5, examples=12,
        top=3, tol=1e-7, trace_probes=400, density_probes=40, density_depth=23, steps=4, draws=3,
    )  # fmt: skip


@pytest.fixture(scope="module")
def measured(measurement: Sharpness, lane: Any) -> dict[str, np.ndarray]:
    """What it returns."""
    pool, finished = lane
    run = jax.jit(lambda finished: measurement(MODEL, LOSS, pool, finished))
    return {name: np.asarray(value) for name, value in run(finished).items()}


def mean_loss(pool: Pool) -> Any:
    """The loss as a function of parameters, written out."""

    def loss(params: Any) -> jax.Array:
        hidden = jax.nn.relu(pool.x_train[:12] @ params["layer_0"]["weight"].T
                             + params["layer_0"]["bias"][None, :])  # fmt: skip
        outputs = hidden @ params["layer_1"]["weight"].T + params["layer_1"]["bias"][None, :]
        chosen = jnp.take_along_axis(outputs, pool.y_train[:12, None], axis=1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(outputs, axis=1) - chosen)

    return loss


@pytest.fixture(scope="module")
def dense(lane: Any) -> Any:
    """The Hessian of ψ ↦ loss(inner · ψ), whole; compiled once."""
    pool, finished = lane
    _, unravel = ravel_pytree(finished.params)
    loss = mean_loss(pool)
    hessian = jax.jit(jax.hessian(lambda theta, inner: loss(unravel(inner * theta))))
    return lambda params, inner: np.asarray(hessian(ravel_pytree(params)[0], inner))


# The measurement


def test_the_spectrum_is_that_of_the_dense_hessian_at_every_point(
    measurement: Sharpness, measured: Any, lane: Any, dense: Any
) -> None:
    # Breaks if a point is another one, the inner factor is left out, or an end of the spectrum is lost.
    _, finished = lane
    for at, point in enumerate(measurement.points):
        hessian = dense(point.place(finished.params), point.inner)
        values = np.linalg.eigvalsh(hessian)
        np.testing.assert_allclose(measured["at_lambda_max"][at], values[-1], rtol=1e-6)
        error = 4 * measured["at_trace_standard_error"][at]
        assert abs(measured["at_trace"][at] - np.trace(hessian)) <= error
        if point.kind == "found":
            np.testing.assert_allclose(measured["eigenvalues"], values[:-4:-1], rtol=1e-6)
            np.testing.assert_allclose(measured["lambda_min"], values[0], rtol=1e-5)
            share = -values[values < 0].sum() / np.abs(values).sum()
            # 40 probes of 23 dimensions: the standard error is below a twentieth of the whole.
            assert abs(measured["negative_share"] - share) <= 0.05
    assert measured["asymmetry"] <= 1e-12
    assert (measured["at_converged"] == 1).all()


def test_the_rest_is_what_its_name_says(measured: Any, lane: Any) -> None:
    # Breaks if loss, norm or gradient are of other parameters, or the Fisher–Rao norm is of another matrix.
    pool, finished = lane
    flat, unravel = ravel_pytree(finished.params)
    loss = mean_loss(pool)
    np.testing.assert_allclose(measured["at_loss"][0], loss(finished.params), rtol=1e-12)
    np.testing.assert_allclose(measured["at_norm"][0], np.linalg.norm(flat), rtol=1e-12)
    slope = jax.jit(jax.grad(lambda theta: loss(unravel(theta))))(flat)
    np.testing.assert_allclose(measured["gradient_norm"], np.linalg.norm(slope), rtol=1e-10)

    def each(params: Any) -> jax.Array:
        outputs, _ = MODEL.apply(params, {}, pool.x_train[:12], train=False)
        return LOSS.per_example(outputs, pool.y_train[:12])

    jacobian = jax.jit(jax.jacobian(lambda theta: each(unravel(theta))))(flat)
    fisher = np.asarray(jacobian.T @ jacobian) / 12
    expected = math.sqrt(flat @ fisher @ flat)
    np.testing.assert_allclose(measured["at_fisher_rao"][0], expected, rtol=1e-10)


def test_rescaled_layers_are_one_function_and_only_some_measures_see_it(
    measurement: Sharpness, measured: Any
) -> None:
    # Breaks if the adaptive scale is not the weight's own, keys differ between points, or rescaling is wrong.
    labels = [point.label for point in measurement.points]
    same = [labels.index(f"layers × {alpha:g}") for alpha in ALPHAS]
    scaled = labels.index("2 θ")
    assert (measured["at_output_error"][[*same, -1]] <= 1e-14).all()
    assert measured["at_output_error"][scaled] > 0.1
    invariant = ["at_fisher_rao", "at_relative_flatness", "at_loss"]
    invariant += [sweep.name for sweep in SWEEPS if sweep.adaptive]
    for name in invariant:
        ratio = measured[name] / measured[name][0]
        np.testing.assert_allclose(ratio[same], 1, rtol=1e-9)
        assert abs(ratio[scaled] - 1).max() > 1e-3
    for name in ("at_lambda_max", "at_trace", *(s.name for s in SWEEPS if not s.adaptive)):
        assert abs(measured[name][same[0]] / measured[name][0] - 1).max() > 0.1


def test_stretched_coordinates_divide_every_eigenvalue_by_the_square(measured: Any) -> None:
    # Breaks if the chain rule is applied once.
    for name in ("at_lambda_max", "at_trace", "at_lambda_over_loss"):
        np.testing.assert_allclose(measured[name][-1] / measured[name][0], STRETCH**-2, rtol=1e-9)
    np.testing.assert_allclose(measured["at_lambda_norm"][-1], measured["at_lambda_norm"][0])


def test_both_sharpnesses_of_a_program_are_the_library_s(
    measurement: Sharpness, measured: Any, lane: Any
) -> None:
    # Breaks if the plain and the adaptive one are exchanged, or radii are.
    pool, finished = lane
    keys = jax.random.split(role_key(finished.seed, "probe"), 5)
    loss = mean_loss(pool)
    expected = jax.jit(
        lambda params: (
            geometry.worst_case_sharpness(
                loss, params, keys[3], (0.3,), ball="linf", adaptive=True, steps=4
            ).rise
        )
    )(finished.params)
    np.testing.assert_allclose(measured["adaptive_worst_linf"][0], expected, rtol=1e-6)
    assert abs(measured["worst_linf"][0] / expected - 1) > 1e-3
