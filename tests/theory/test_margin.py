"""Hard margins, against scikit-learn, SciPy's own solvers and hand-made data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.svm import SVC

from implicit_bias import theory
from implicit_bias.errors import UserError


def _data(seed: int, n: int = 24, d: int = 3, shift: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Draw labelled inputs that a direction separates, and their labels."""
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((n, d)), rng.standard_normal(d)
    w /= np.linalg.norm(w)
    y = np.sign(x @ w)
    y[:2] = 1, -1
    x[:2] = np.abs(x[:2] @ w)[:, None] * y[:2, None] * w[None, :]
    return x + shift * y[:, None] * w[None, :], y


@pytest.mark.parametrize("seed", range(4))
def test_a_free_bias_gives_the_support_vector_machine(seed: int) -> None:
    # Breaks if the bias counts in the norm, or the margin is not 1/‖w‖.
    x, y = _data(seed)
    found = theory.hard_margin(theory.signed_examples(x, y), free=1)
    machine = SVC(kernel="linear", C=1e9, tol=1e-9).fit(x, y)
    np.testing.assert_allclose(found.weights[:-1], machine.coef_[0], rtol=1e-4, atol=1e-5)
    assert found.weights[-1] == pytest.approx(float(machine.intercept_[0]), rel=1e-4, abs=1e-5)
    assert found.margin == pytest.approx(1 / np.linalg.norm(machine.coef_), rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_solution_is_that_of_a_quadratic_programme_and_meets_its_conditions(seed: int) -> None:
    # Breaks if the support is wrong, or multipliers are those of another scale.
    z = theory.signed_examples(*_data(seed), bias=False)
    found = theory.hard_margin(z)
    solved = minimize(
        lambda w: 0.5 * w @ w, 10 * found.weights, jac=lambda w: w, method="SLSQP",
        constraints={"type": "ineq", "fun": lambda w: z @ w - 1, "jac": lambda w: z},
        options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    np.testing.assert_allclose(found.weights, solved.x, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.multipliers @ z, found.weights, rtol=1e-9, atol=1e-9)
    assert found.multipliers.sum() == pytest.approx(1 / found.margin**2)
    assert (z @ found.weights).min() == pytest.approx(1, abs=1e-9)
    assert not found.multipliers[~found.support].any()


@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3))
@settings(max_examples=25, deadline=None)
def test_no_direction_has_a_larger_margin(seed: int, scale: float) -> None:
    # Holds for all data: breaks if a margin is not the largest, or not homogeneous in the inputs.
    z = theory.signed_examples(*_data(seed, n=12), bias=False)
    directions = np.random.default_rng(seed + 1).standard_normal((200, 3))
    for norm in ("l1", "l2", "linf"):
        largest, weights = theory.norm_margin(z, norm)
        assert theory.margins_in(z, directions, norm).max() <= largest * (1 + 1e-9)
        assert float(theory.margins_in(z, weights, norm)) == pytest.approx(largest, rel=1e-6)
        assert theory.norm_margin(scale * z, norm)[0] == pytest.approx(scale * largest, rel=1e-6)


def test_margins_in_three_norms_by_hand() -> None:
    # z = (1, 3) alone: largest over ‖w‖₁ ≤ 1 is 3, over ‖w‖₂ ≤ 1 √10, over ‖w‖∞ ≤ 1 4.
    z = np.asarray([[1.0, 3.0]])
    found = [theory.norm_margin(z, norm)[0] for norm in ("l1", "l2", "linf")]
    np.testing.assert_allclose(found, [3, np.sqrt(10), 4], rtol=1e-9)
    with pytest.raises(UserError, match="linf"):
        theory.norm_margin(z, "linfty")


def test_angles_are_exact_where_an_arc_cosine_is_not() -> None:
    # arccos loses half of all digits near zero.
    assert float(theory.angles_to([1.0, 1e-12], [1.0, 0.0])) == pytest.approx(1e-12, rel=1e-9)
    assert float(theory.angles_to([-1.0, 0.0], [2.0, 0.0])) == pytest.approx(np.pi)


def test_data_that_cannot_be_used_give_one_line() -> None:
    # Four points of an exclusive or: no line separates them.
    x = np.asarray([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    z = theory.signed_examples(x, [1, 1, -1, -1])
    assert not theory.separable(z)
    for call in (theory.hard_margin, theory.norm_margin, lambda q: theory.flow_path(q, [0.0])):
        with pytest.raises(UserError, match="not linearly separable") as error:
            call(z)
        assert "\n" not in str(error.value)
    assert not theory.separable([[0.0, 0.0], [1.0, 1.0]])
    # A margin of 1e-6 of one example's length is one.
    assert theory.separable([[1e-6, 1e-6], [1e3, 2.0]])
    with pytest.raises(UserError, match="give −1 and 1"):
        theory.signed_examples(x, [0, 1, 1, 0])
    with pytest.raises(UserError, match="examples holds nan"):
        theory.separable([[np.nan, 1.0]])
    with pytest.raises(UserError, match="free is 3"):
        theory.hard_margin(theory.signed_examples([[1.0, 1.0]], [1]), free=3)
