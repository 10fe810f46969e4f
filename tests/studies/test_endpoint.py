"""Each quantity measured at the end of a run, against an independent oracle.

The oracles know nothing of the package: the network, its loss and error are written out again, in NumPy
for what is a number of the outputs, in plain JAX at float64 for derivatives, which are taken densely.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from implicit_bias import curvature, losses
from implicit_bias.models import Dense
from implicit_bias.studies.endpoint import Endpoint, largest_eigenvalue
from implicit_bias.training.lane import LaneExamples, Pool
from implicit_bias.training.measurement import FinishedLane

N_POOL, N_TEST, N_TRAIN, N_IN, CLASSES = 20, 11, 12, 4, 3
MODEL = Dense((5,), CLASSES, "tanh")
ENDPOINT = Endpoint(
    n_test=N_TEST,
    examples=10,
    radii=(0.02, 0.2),
    filter_radii=(0.02, 0.2),
    directions=300,
    trace_probes=300,
    tol=1e-6,
    power_tol=1e-6,
    max_products=200,
    probe_set=6,
    noise_batches=(2, 8),
    noise_draws=2000,
    chunk_size=7,
)


def _network(params: Any, x: Any) -> Any:
    """Return the outputs; works on NumPy and on JAX arrays."""
    first, last = params["layer_0"], params["layer_1"]
    tanh = jnp.tanh if isinstance(x, jax.Array) else np.tanh
    return tanh(x @ first["weight"].T + first["bias"][None]) @ last["weight"].T + last["bias"][None]


def _log_chances(outputs: np.ndarray) -> np.ndarray:
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


@dataclasses.dataclass(frozen=True)
class Case:
    """A finished lane as NumPy arrays at float64, and what was measured of it."""

    pool: Pool
    examples: LaneExamples
    params: Any
    initial: Any
    measured: dict[str, np.ndarray]
    dtype: str

    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """The examples that curvature is averaged over."""
        rows = self.examples.train[: ENDPOINT.examples]
        return self.pool.x_train[rows], self.examples.targets[: ENDPOINT.examples]

    @property
    def close(self) -> float:
        """Relative rounding that the dtype allows."""
        return 1e-9 if self.dtype == "float64" else 2e-5


def _case(dtype: str, endpoint: Endpoint) -> Case:
    rng = np.random.default_rng(1)
    pool = Pool(
        rng.normal(size=(N_POOL, N_IN)),
        rng.integers(0, CLASSES, N_POOL).astype(np.int32),
        rng.normal(size=(N_TEST, N_IN)),
        rng.integers(0, CLASSES, N_TEST).astype(np.int32),
    )
    order = rng.permutation(N_POOL).astype(np.int32)
    train, valid = order[:N_TRAIN], order[N_TRAIN:]
    # Two labels differ from the pool's, as under label noise: the lane's own targets count.
    targets = pool.y_train[train].copy()
    targets[:2] = (targets[:2] + 1) % CLASSES
    examples = LaneExamples(train, valid, targets)

    def draw(scale: float) -> Any:
        sizes = {"layer_0": (5, N_IN), "layer_1": (CLASSES, 5)}
        return {
            name: {
                "weight": scale * rng.normal(size=size),
                "bias": scale * rng.normal(size=size[0]),
            }
            for name, size in sizes.items()
        }

    initial = draw(0.5)
    params = jax.tree.map(lambda a, b: a + b, initial, draw(0.3))

    def cast(tree: Any) -> Any:
        return jax.tree.map(
            lambda leaf: jnp.asarray(leaf, dtype if leaf.dtype.kind == "f" else None), tree
        )

    def measure(pool: Pool, examples: LaneExamples, params: Any, initial: Any) -> Any:
        lane = FinishedLane(jnp.uint32(3), examples, params, {}, initial)
        return endpoint(MODEL, losses.get("cross_entropy"), pool, lane)

    given = [cast(part) for part in (pool, examples, params, initial)]
    measured = {name: np.asarray(value) for name, value in jax.jit(measure)(*given).items()}
    # The oracles start from what was measured, rounded as it was, but go on in float64.
    rounded = jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float64 if leaf.dtype.kind == "f" else None), given
    )
    return Case(*rounded, measured, dtype)


# Hessian products in chunks, the last of them short; runs of studies measure in float32 and all at once.
@pytest.fixture(scope="module")
def case() -> Case:
    return _case("float64", dataclasses.replace(ENDPOINT, whole_batch=5))


@jax.jit
def _derivatives(params: Any, x: jax.Array, one_hot: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the Hessian of the mean loss and each example's gradient."""
    flat, unravel = ravel_pytree(params)

    def per_example(flat: jax.Array) -> jax.Array:
        return -jnp.sum(one_hot * jax.nn.log_softmax(_network(unravel(flat), x)), axis=1)

    hessian = jax.hessian(lambda flat: jnp.mean(per_example(flat)))(flat)
    return hessian, jax.jacobian(per_example)(flat)


def _dense(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the Hessian, the gradient and each example's gradient of the mean loss, in float64."""
    x, y = case.seen()
    hessian, each = map(np.asarray, _derivatives(case.params, x, np.eye(CLASSES)[y]))
    return hessian, each.mean(axis=0), each


# Breaks if a set is mixed up with another, the pool's labels take the place of the lane's, a chunk that
# does not divide its set is averaged wrongly, or a gap has the other sign.
def test_losses_and_errors(case: Case) -> None:
    pool, examples = case.pool, case.examples
    sets = {
        "train": (pool.x_train[examples.train], examples.targets),
        "valid": (pool.x_train[examples.valid], pool.y_train[examples.valid]),
        "test": (pool.x_test, pool.y_test),
    }
    expected = {}
    for name, (x, y) in sets.items():
        outputs = _network(case.params, x)
        expected[f"{name}_loss"] = -_log_chances(outputs)[np.arange(len(y)), y].mean()
        expected[f"{name}_error"] = (outputs.argmax(axis=1) != y).mean()
    expected["loss_gap"] = expected["test_loss"] - expected["train_loss"]
    expected["error_gap"] = expected["test_error"] - expected["train_error"]
    assert 0 not in np.round(list(expected.values()), 3), "a case that tells nothing"
    for name, value in expected.items():
        np.testing.assert_allclose(case.measured[name], value, rtol=10 * case.close, err_msg=name)
    wrong = _network(case.params, pool.x_test).argmax(axis=1) != pool.y_test
    assert case.measured["test_wrong"].dtype == bool
    np.testing.assert_array_equal(case.measured["test_wrong"], wrong)


# Breaks if the Hessian is not that of the mean loss over the lane's first examples, if the largest
# eigenvalue is taken by magnitude, or a residual or a standard error is not what it says.
def test_hessian(case: Case) -> None:
    hessian, _, _ = _dense(case)
    values = np.linalg.eigvalsh(hessian)
    measured = case.measured
    scale = np.abs(values).max()
    for name, slack in (("lambda_max", 0.0), ("lambda_max_power", 1e-6)):
        assert abs(measured[name] - values[-1]) <= (case.close + slack) * scale, name
    assert measured["lambda_max_residual"] <= 1e-6 * scale + case.close
    assert measured["lambda_max_converged"]
    assert measured["lambda_max_power_converged"]
    assert 0 < measured["lambda_max_products"] <= 2 * 200
    error = measured["trace_standard_error"]
    # Rademacher probes: the variance of one is twice the sum of squares off the diagonal.
    off = hessian - np.diag(np.diag(hessian))
    np.testing.assert_allclose(error, np.sqrt(2 * (off**2).sum() / 300), rtol=0.2)
    assert abs(measured["trace"] - np.trace(hessian)) < 4 * error


# Breaks if the second start repeats the first, the smaller value is kept, or products of one start are
# not counted. Two eigenvalues 0.5 % apart: by the spectrum, some single starts end at the second.
def test_two_starts_miss_less() -> None:
    rng = np.random.default_rng(0)
    spectrum = np.concatenate(
        [0.02 * rng.exponential(size=190), np.linspace(0.1, 0.5, 8), [1.0, 1.005]]
    )

    def both(key: jax.Array) -> Any:
        diagonal = jnp.asarray(spectrum)
        operator = curvature.LinearOperator(lambda v: diagonal * v, len(spectrum), diagonal.dtype)
        options: Any = {"max_products": 24, "tol": 1e-3}
        return curvature.lanczos(operator, key, **options), largest_eigenvalue(
            operator, key, **options
        )

    keys = jax.random.split(jax.random.key(0), 400)
    found = jax.jit(lambda keys: jax.lax.map(both, keys))(keys)
    single, pair = jax.tree.map(np.asarray, found)
    first = single.values[:, 0]
    missed = first < 1.004
    assert missed.sum() >= 10
    assert np.sum(pair.value < 1.004) <= missed.sum() / 4
    # Never less than the start it shares, and never above the spectrum.
    assert np.all(pair.value >= first)
    assert np.all(pair.value <= 1.005 + 1e-12)
    assert np.all(pair.residual <= 1e-3 * 1.005)
    assert np.all(pair.converged)
    np.testing.assert_allclose(pair.products.mean(), 2 * single.products.mean(), rtol=0.02)


# Breaks if the gradient is another loss's than the Hessian, or a norm leaves out a layer.
def test_gradient_norms_and_movement(case: Case) -> None:
    _, gradient, _ = _dense(case)
    flat = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(case.params)])
    start = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(case.initial)])
    expected = {
        "gradient_norm": np.linalg.norm(gradient),
        "parameter_norm": np.linalg.norm(flat),
        "relative_movement": np.linalg.norm(flat - start) / np.linalg.norm(start),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(case.measured[name], value, rtol=10 * case.close, err_msg=name)


# Breaks if the kernel is that of other examples, of the loss, or compared with itself.
def test_kernel_change(case: Case) -> None:
    x = jnp.asarray(case.pool.x_test[: ENDPOINT.probe_set])

    def kernel(params: Any) -> np.ndarray:
        """Sum over outputs; the measured one is their mean, which is the same change."""
        flat, unravel = ravel_pytree(jax.tree.map(jnp.asarray, params))
        jacobian = np.asarray(jax.jacobian(lambda flat: _network(unravel(flat), x))(flat))
        return np.einsum("ikp,jkp->ij", jacobian, jacobian)

    after, before = kernel(case.params), kernel(case.initial)
    expected = np.linalg.norm(after - before) / np.linalg.norm(before)
    assert expected > 0.05
    np.testing.assert_allclose(case.measured["kernel_change"], expected, rtol=10 * case.close)


# Breaks if a perturbation has another length or another centre, or biases are disturbed where filters
# are. Oracle: to second order the mean rise is ½ Σ Var(uᵢ) Hᵢᵢ, with the dense Hessian.
def test_perturbations(case: Case) -> None:
    hessian, gradient, _ = _dense(case)
    diagonal = np.diag(hessian)

    def variances(layer: dict[str, np.ndarray]) -> list[np.ndarray]:
        weight = layer["weight"]
        spread = (weight**2).sum(axis=1, keepdims=True) / weight.shape[1]
        return [np.zeros(layer["bias"].shape), np.broadcast_to(spread, weight.shape)]

    by_filter = [v.ravel() for name in sorted(case.params) for v in variances(case.params[name])]
    for name, variance in (
        ("loss_change", np.full(len(diagonal), 1 / len(diagonal))),
        ("loss_change_filter", np.concatenate(by_filter)),
    ):
        rise = case.measured[name]
        assert rise.shape == (300, 2)
        radius = ENDPOINT.radii[0]
        mean, error = rise[:, 0].mean(), rise[:, 0].std(ddof=1) / np.sqrt(300)
        curvature = 0.5 * radius**2 * (variance * diagonal).sum()
        assert abs(mean - curvature) < 4 * error, name
        # Along one direction the rise is first of all the slope: its spread tells the length.
        slope = radius * np.sqrt((variance * gradient**2).sum())
        np.testing.assert_allclose(rise[:, 0].std(ddof=1), slope, rtol=0.15, err_msg=name)
        # A larger radius of the same direction, not another direction.
        assert np.corrcoef(rise[:, 0], rise[:, 1])[0, 1] > 0.9


# Breaks if the covariance is not that of the mean of a batch drawn with replacement.
def test_batch_covariance(case: Case) -> None:
    _, gradient, each = _dense(case)
    one = ((each - gradient[None]) ** 2).sum(axis=1).mean()
    measured = case.measured["batch_covariance_trace"]
    np.testing.assert_allclose(measured, [one / 2, one / 8], rtol=0.12)


# Breaks if what is measured is not what is announced: a result could not hold it, or would mislabel it.
def test_variables(case: Case) -> None:
    variables, coordinates = ENDPOINT.variables, ENDPOINT.coordinates
    assert set(variables) == set(case.measured)
    sizes = {name: len(values) for name, values in coordinates.items()}
    sizes |= {"direction": ENDPOINT.directions, "test_example": N_TEST}
    for name, variable in variables.items():
        assert case.measured[name].shape == tuple(sizes[dim] for dim in variable.dims), name
        assert variable.units
        assert variable.long_name
        if case.measured[name].dtype.kind == "f":
            assert case.measured[name].dtype == case.dtype, name
    hash(ENDPOINT)
