"""Losses against SciPy, scikit-learn and finite differences."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import sklearn.metrics

from implicit_bias import losses
from implicit_bias.errors import UserError
from implicit_bias.losses import CROSS_ENTROPY, LOGISTIC, SQUARED, Loss

RNG = np.random.default_rng(1)
N, K = 9, 4
OUTPUTS = RNG.normal(size=(N, K)) * 3
CLASSES = RNG.integers(0, K, size=N).astype(np.int32)
VECTORS = RNG.normal(size=(N, K))
BINARY = np.array([0, 1, 1, 0, 1, 0, 0, 1, 1], np.int32)

# (loss, outputs, targets)
CASES: list[tuple[Loss, np.ndarray, np.ndarray]] = [
    (SQUARED, OUTPUTS, CLASSES),
    (SQUARED, OUTPUTS, VECTORS),
    (CROSS_ENTROPY, OUTPUTS, CLASSES),
    (CROSS_ENTROPY, OUTPUTS, scipy.special.softmax(VECTORS, axis=1)),
    (LOGISTIC, OUTPUTS[:, :1], BINARY),
]
every_case = pytest.mark.parametrize(
    ("loss", "outputs", "targets"), CASES, ids=["sq", "sq-vectors", "ce", "ce-soft", "logistic"]
)


def one_hot(classes: np.ndarray) -> np.ndarray:
    return np.eye(K)[classes]


def test_every_registered_loss_has_a_case():
    # Broken by a new loss without a row here.
    assert {loss.name for loss, _, _ in CASES} == set(losses.names())


def test_closed_forms():
    # Broken by a missing half, a wrong base of the logarithm, or a wrong sign of the label.
    def value(loss: Loss, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return np.asarray(loss.per_example(jnp.asarray(outputs), jnp.asarray(targets)))

    close = np.testing.assert_allclose
    close(value(SQUARED, OUTPUTS, VECTORS), 0.5 * ((OUTPUTS - VECTORS) ** 2).sum(1), rtol=1e-14)
    hot = one_hot(CLASSES)
    close(value(SQUARED, OUTPUTS, CLASSES), 0.5 * ((OUTPUTS - hot) ** 2).sum(1), rtol=1e-14)
    log_p = scipy.special.log_softmax(OUTPUTS, axis=1)
    close(value(CROSS_ENTROPY, OUTPUTS, CLASSES), -(hot * log_p).sum(1), rtol=1e-13, atol=1e-15)
    soft = scipy.special.softmax(VECTORS, axis=1)
    close(value(CROSS_ENTROPY, OUTPUTS, soft), -(soft * log_p).sum(1), rtol=1e-13)
    sign = 2 * BINARY - 1
    f = OUTPUTS[:, 0]
    close(value(LOGISTIC, OUTPUTS[:, :1], BINARY), np.log1p(np.exp(-sign * f)), rtol=1e-13)


def test_scikit_learn_agrees():
    # Broken by averaging over anything but the examples.
    p = scipy.special.softmax(OUTPUTS, axis=1)
    expected = sklearn.metrics.log_loss(CLASSES, p, labels=range(K))
    found = CROSS_ENTROPY.mean(jnp.asarray(OUTPUTS), jnp.asarray(CLASSES))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    f = OUTPUTS[:, :1]
    expected = sklearn.metrics.log_loss(BINARY, scipy.special.expit(f[:, 0]))
    found = LOGISTIC.mean(jnp.asarray(f), jnp.asarray(BINARY))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_logistic_is_two_class_cross_entropy():
    # log(1 + exp(−s f)) is the cross-entropy of outputs (0, f). Broken by a factor in either.
    f = jnp.asarray(OUTPUTS[:, :1])
    pair = jnp.concatenate([jnp.zeros_like(f), f], axis=1)
    y = jnp.asarray(BINARY)
    np.testing.assert_allclose(
        LOGISTIC.per_example(f, y), CROSS_ENTROPY.per_example(pair, y), rtol=1e-12
    )


@every_case
def test_derivatives_match_finite_differences(loss: Loss, outputs: np.ndarray, targets: np.ndarray):
    # Gradient and Hessian-vector product: curvature needs both. Broken by a stop_gradient that
    # hides a dependence, or by a custom rule that is wrong at second order.
    f, y = jnp.asarray(outputs), jnp.asarray(targets)
    v = jnp.asarray(RNG.normal(size=outputs.shape))
    h = 1e-5

    def mean(g: jax.Array) -> jax.Array:
        return loss.mean(g, y)

    slope = (mean(f + h * v) - mean(f - h * v)) / (2 * h)
    gradient = jax.grad(mean)
    np.testing.assert_allclose(jnp.sum(gradient(f) * v), slope, rtol=1e-8)
    bend = (gradient(f + h * v) - gradient(f - h * v)) / (2 * h)
    np.testing.assert_allclose(jax.jvp(gradient, (f,), (v,))[1], bend, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("size", [1e2, 1e4, 1e15])
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("loss", [CROSS_ENTROPY, LOGISTIC], ids=lambda loss: loss.name)
def test_extreme_outputs_are_finite(loss: Loss, offset: float, size: float):
    # Broken by an exponential that overflows: a well-trained network would turn into NaN.
    k = 1 if loss is LOGISTIC else 3
    f = jnp.asarray(np.linspace(-size, size, 4 * k).reshape(4, k) + offset, jnp.float32)
    y = jnp.asarray([0, 1, 0, 1], jnp.int32)
    values = loss.per_example(f, y)
    gradient = jax.grad(lambda g: loss.mean(g, y))(f)
    second = jax.jvp(jax.grad(lambda g: loss.mean(g, y)), (f,), (jnp.ones_like(f),))[1]
    for found in (values, gradient, second):
        assert jnp.isfinite(found).all()
    assert (values >= 0).all()


def test_small_losses_keep_their_digits():
    # The logistic loss at a large margin is exp(−margin), not a rounded zero.
    f, y = jnp.asarray([[40.0], [-60.0]], jnp.float32), jnp.asarray([1, 0], jnp.int32)
    np.testing.assert_allclose(LOGISTIC.per_example(f, y), np.exp([-40.0, -60.0]), rtol=1e-5)


def test_a_common_offset_changes_nothing():
    # Broken by log-sum-exp minus output, which loses every digit when outputs share a large offset.
    f = np.asarray(RNG.integers(-3, 4, size=(N, K)), np.float32)
    y = jnp.asarray(CLASSES)
    near = CROSS_ENTROPY.per_example(jnp.asarray(f), y)
    far = CROSS_ENTROPY.per_example(jnp.asarray(f + np.float32(2.0**20)), y)
    np.testing.assert_array_equal(near, far)


@every_case
def test_weights(loss: Loss, outputs: np.ndarray, targets: np.ndarray):
    # Weights are used as they are: 1/n is the mean, a zero drops an example of a padded batch.
    f, y = jnp.asarray(outputs), jnp.asarray(targets)
    mean = loss.mean(f, y)
    np.testing.assert_allclose(loss.mean(f, y, jnp.full(N, 1 / N)), mean, rtol=1e-14)
    keep = jnp.asarray([1.0] * 4 + [0.0] * (N - 4)) / 4
    np.testing.assert_allclose(loss.mean(f, y, keep), loss.mean(f[:4], y[:4]), rtol=1e-14)
    np.testing.assert_allclose(loss.mean(f, y, jnp.full(N, 2 / N)), 2 * mean, rtol=1e-14)


@every_case
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtype_follows_the_outputs(
    loss: Loss, outputs: np.ndarray, targets: np.ndarray, dtype: Any
):
    # Broken by a bare jnp.zeros or one_hot in the default dtype. Regression targets of another
    # precision are converted too.
    f, y = jnp.asarray(outputs, dtype), jnp.asarray(targets)
    assert loss.per_example(f, y).dtype == dtype
    assert loss.mean(f, y).dtype == dtype
    assert loss.error(f, y).dtype == dtype


def test_error():
    # Broken by a wrong argmax axis, a threshold at a half, or NaN counted as class 0.
    f = jnp.asarray([[0.1, 0.9, 0.0], [0.5, 0.2, 0.1], [np.nan, np.nan, np.nan], [1.0, 1.0, 0.0]])
    np.testing.assert_array_equal(losses.error(f, jnp.asarray([1, 2, 0, 0])), [0, 1, 1, 0])
    g = jnp.asarray([[0.3], [-0.3], [0.0], [np.nan]])
    np.testing.assert_array_equal(losses.error(g, jnp.asarray([1, 1, 0, 0])), [0, 1, 0, 1])
    found = SQUARED.error(jnp.asarray(OUTPUTS), jnp.asarray(VECTORS))
    np.testing.assert_allclose(found, ((OUTPUTS - VECTORS) ** 2).sum(1), rtol=1e-14)
    expected = 1 - sklearn.metrics.accuracy_score(CLASSES, OUTPUTS.argmax(1))
    found = CROSS_ENTROPY.error(jnp.asarray(OUTPUTS), jnp.asarray(CLASSES))
    np.testing.assert_allclose(jnp.mean(found), expected)


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "says"),
    [
        (SQUARED, (3, 2), np.zeros((3, 3)), "outputs have shape (3, 2) and targets (3, 3)"),
        (SQUARED, (3, 2), np.zeros(4, np.int32), "targets (4,)"),
        (SQUARED, (3, 1), np.zeros(3, np.int32), "choose one output per class"),
        (CROSS_ENTROPY, (3,), np.zeros(3, np.int32), "give outputs (n, k)"),
        (LOGISTIC, (3, 2), np.zeros(3, np.int32), "needs one output, but the network has 2"),
        (LOGISTIC, (3, 1), np.zeros((3, 1)), "give integer targets"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(loss: Loss, outputs: Any, targets: Any, says: str):
    # Broken by broadcasting: (n, 1) against (n,) would silently give (n, n).
    with pytest.raises(UserError) as caught:
        loss.per_example(jnp.zeros(outputs), jnp.asarray(targets))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("loss", "task", "n_outputs", "says"),
    [
        (CROSS_ENTROPY, "regression", 3, "for regression; .* of an integer type"),
        (LOGISTIC, "regression", 1, "cannot be used for regression"),
        (LOGISTIC, "classification", 10, "choose outputs=1"),
        (CROSS_ENTROPY, "classification", 1, "loss='logistic'"),
        (SQUARED, "classification", 1, "loss='logistic'"),
    ],
)
def test_check_refuses(loss: Loss, task: str, n_outputs: int, says: str):
    # Broken by a mismatch that would only fail once compiled, or not at all.
    with pytest.raises(UserError, match=says):
        loss.check(task, n_outputs)


def test_check_accepts():
    # Broken by a rule that refuses a sensible pair.
    SQUARED.check("regression", 1)
    SQUARED.check("classification", 10)
    CROSS_ENTROPY.check("classification", 2)
    LOGISTIC.check("classification", 1)


def test_get(tmp_path: Any):
    # Broken by a registry that refuses a user's own loss.
    assert losses.get("squared") is SQUARED
    assert losses.get(LOGISTIC) is LOGISTIC
    with pytest.raises(UserError, match="did you mean 'cross_entropy'"):
        losses.get("crossentropy")
    file = tmp_path / "mine.py"
    file.write_text(
        "import jax.numpy as jnp\n"
        "from implicit_bias.losses import Loss\n"
        "def absolute(outputs, targets):\n"
        "    return jnp.sum(jnp.abs(outputs - targets), axis=1)\n"
        "named = Loss('l1', absolute, ('regression',))\n"
        "number = 3\n"
    )
    mine = losses.get(f"{file}:absolute")
    assert mine.name == "absolute"
    found = mine.mean(jnp.asarray(OUTPUTS), jnp.asarray(VECTORS))
    np.testing.assert_allclose(found, np.abs(OUTPUTS - VECTORS).sum(1).mean(), rtol=1e-13)
    assert losses.get(f"{file}:named").name == "l1"
    assert hash(mine) == hash(losses.get(f"{file}:absolute"))
    with pytest.raises(UserError, match="is int"):
        losses.get(f"{file}:number")
    with pytest.raises(UserError, match="is float"):
        losses.get(1.5)


def test_losses_of_many_predictions_are_means_of_single_ones():
    # Broken by a mean over classes, or outputs that are cut in the wrong order.
    outputs = RNG.normal(size=(3, 6, 5))
    targets = RNG.integers(0, 5, size=(3, 6)).astype(np.int32)
    log_p = outputs - np.log(np.exp(outputs).sum(-1, keepdims=True))
    picked = np.take_along_axis(log_p, targets[:, :, None], 2)[:, :, 0]
    flat = jnp.asarray(outputs.reshape(3, -1))
    found = CROSS_ENTROPY.per_example(flat, jnp.asarray(targets))
    np.testing.assert_allclose(found, -picked.mean(axis=1), rtol=1e-12)
    wrong = losses.error(flat, jnp.asarray(targets))
    np.testing.assert_allclose(wrong, (outputs.argmax(-1) != targets).mean(axis=1))
    with pytest.raises(UserError, match="class numbers"):
        CROSS_ENTROPY.per_example(jnp.zeros((3, 5)), jnp.zeros((3, 5), jnp.int32))
