"""Exact leave-one-out and replace-one against refits by SciPy and scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import linalg
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from implicit_bias import theory
from implicit_bias.errors import UserError


def _data(m: int, n: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([m, n])
    return rng.standard_normal((m, n)), rng.standard_normal((m, outputs))


def _ridge(x: np.ndarray, y: np.ndarray, alpha: float) -> Any:
    return Ridge(alpha=alpha, fit_intercept=False, solver="svd").fit(x, y).coef_.T


@pytest.mark.parametrize(("m", "n"), [(12, 4), (6, 9)])
def test_every_example_left_out_is_a_refit_without_it(m: int, n: int) -> None:
    # scikit-learn refits. Breaks if 1 − h is missing, or residuals are those of the whole fit.
    x, y = _data(m, n, 2)
    fit = theory.ridge_fit(x, y, 0.3)
    weights, residuals = theory.left_out_weights(fit), theory.left_out_residuals(fit)
    for place in range(m):
        again = _ridge(np.delete(x, place, 0), np.delete(y, place, 0), 0.3)
        np.testing.assert_allclose(weights[place], again, atol=1e-10)
        np.testing.assert_allclose(residuals[place], y[place] - x[place] @ again, atol=1e-10)


def test_every_replacement_is_a_refit_with_the_other_example() -> None:
    # Breaks if the second update uses the inverse of all examples instead of the others'.
    x, y = _data(8, 3, 2)
    others, labels = _data(3, 3, 2)
    fit = theory.ridge_fit(x, y, 0.2)
    for place in range(8):
        found = theory.replaced_weights(fit, place, others, labels)
        for one, other, label in zip(found, others, labels, strict=True):
            changed, goals = x.copy(), y.copy()
            changed[place], goals[place] = other, label
            np.testing.assert_allclose(one, _ridge(changed, goals, 0.2), atol=1e-10)


def test_kernels_left_out_and_replaced_are_refits() -> None:
    # scikit-learn's kernel ridge. Breaks if the border's own kernel lacks the penalty, or a sign is wrong.
    x, y = _data(9, 2, 2)
    fit = theory.kernel_fit(np.exp(-(linalg.norm(x[:, None] - x[None], axis=2) ** 2)), y, 0.1)
    machine = KernelRidge(alpha=0.1, kernel="rbf", gamma=1.0)
    residuals, coefficients = (
        theory.left_out_kernel_residuals(fit),
        theory.left_out_coefficients(fit),
    )
    new, label = np.asarray([0.3, -0.4]), np.asarray([1.0, -2.0])
    row = np.exp(-np.sum((x - new) ** 2, axis=1))
    for place in range(9):
        rest = np.delete(np.arange(9), place)
        machine.fit(x[rest], y[rest])
        np.testing.assert_allclose(
            residuals[place], y[place] - machine.predict(x[[place]])[0], atol=1e-10
        )
        np.testing.assert_allclose(coefficients[place][rest], machine.dual_coef_, atol=1e-10)
        assert not coefficients[place][place].any()
        changed, goals = x.copy(), y.copy()
        changed[place], goals[place] = new, label
        machine.fit(changed, goals)
        found = theory.replaced_coefficients(fit, place, row, 1.0, label)
        np.testing.assert_allclose(found, machine.dual_coef_, atol=1e-10)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda x, y: theory.ridge_fit(x, y[:-1], 1.0), "labels have shape"),
        (lambda x, y: theory.ridge_fit(x[:2], y[:2], 0.0), "choose a larger penalty"),
        (lambda x, y: theory.ridge_fit(x, y, -1.0), "penalty is -1"),
        (lambda x, y: theory.kernel_fit(x, y, 1.0), "square matrix"),
        (lambda x, y: theory.kernel_fit(np.triu(np.ones((5, 5))), y, 1.0), "symmetric"),
        (
            lambda x, y: theory.replaced_weights(theory.ridge_fit(x, y, 1.0), 5, x, y),
            "choose 0 to 4",
        ),
        (
            lambda x, y: theory.replaced_weights(theory.ridge_fit(x, y, 1.0), 0, x[:, :2], y),
            "2 features",
        ),
        (lambda x, y: theory.left_out_weights(theory.ridge_fit(x[:3], y[:3], 0.0)), "leverage one"),
        (
            lambda x, y: theory.replaced_coefficients(
                theory.kernel_fit(np.eye(5), y, 1.0), 0, [1.0], 1.0, 0.0
            ),
            r"give \(5,\)",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(call: Any, says: str) -> None:
    x, y = _data(5, 3, 1)
    with pytest.raises(UserError, match=says) as caught:
        call(x, y)
    assert "\n" not in str(caught.value)
