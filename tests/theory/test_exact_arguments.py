"""What laws of regression, margins, mirrors and factorisation refuse, in one line that says what was given.

Each breaks if a number without sense gives a number, or a traceback of NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from scipy import integrate, optimize

from implicit_bias import theory
from implicit_bias.errors import UserError

NAN, INF = float("nan"), float("inf")
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((5, 9)), RNG.standard_normal(5)
MODES = theory.modes(X)
Z = np.abs(RNG.standard_normal((6, 3)))
EYE = np.eye(2)
ENTROPY, POWER = theory.entropy_potential(), theory.p_norm_potential(1.5)
SPARSE = theory.least_l1(X, Y)
SLOPE = theory.squared_error(EYE, EYE)
FITTED = theory.fitted(1e-3)
Case = tuple[Callable[[], Any], str]

NOT_FINITE: tuple[Case, ...] = (
    (lambda: theory.minimum_norm(MODES, [NAN] * 5), "labels holds nan"),
    (lambda: theory.minimum_norm(MODES, Y, [INF] * 9), "start holds inf"),
    (lambda: theory.ridge_solutions(MODES, Y * NAN, 1.0), "labels holds nan"),
    (lambda: theory.row_part(MODES, [NAN] * 9), "weights holds nan"),
    (lambda: theory.leaves_row_space(MODES, [NAN] * 9), "weights holds nan"),
    (lambda: theory.least_squares_flow(MODES, Y * NAN, 1.0), "labels holds nan"),
    (lambda: theory.preconditioned_limit(MODES, Y, EYE * NAN), "metric holds nan"),
    (lambda: theory.descent(MODES, Y, 1e30, 0.01), r"updates is 1e\+30"),
    (lambda: theory.margins_in(Z, [NAN] * 3), "weights holds nan"),
    (lambda: theory.plain_steps(Z * NAN, 0.1, [1]), "signed examples holds nan"),
    (lambda: theory.normalised_steps(Z * NAN, 0.1, [1]), "signed examples holds nan"),
    (lambda: theory.normalised_steps(Z, 1e308, [30]), "weights overflow"),
    (lambda: theory.logistic_step_limit([[NAN, 1]]), "signed examples holds nan"),
    (lambda: theory.flow_path(Z, [NAN]), "log_times must be increasing finite numbers"),
    (lambda: theory.flow_path(Z, [1.0], start=[NAN] * 3), "start holds nan"),
    (lambda: theory.log_loss(Z, [NAN] * 3), "weights holds nan"),
    (lambda: theory.entropy([NAN, 1]), "weights holds nan"),
    (lambda: theory.bregman_projection([[1, 1]], [1], [-1, NAN], POWER), "start holds nan"),
    (lambda: theory.small_start_projection([[1, 2]], [1], NAN, [0.5]), "log_start is nan"),
    (lambda: theory.l1_excess([NAN] * 9, X, SPARSE), "weights holds nan"),
    (lambda: theory.lasso_path(X, Y * NAN), "labels holds nan"),
    (lambda: theory.diagonal_limit(X, Y * NAN, 0.1), "y holds nan"),
    (lambda: theory.q_alpha([NAN], 0.1), "weights holds nan"),
    (lambda: theory.nuclear_minimum(NAN * np.ones((1, 2, 2)), [1]), "measurements holds nan"),
    (lambda: theory.product_of([EYE, NAN * EYE]), "layer 2 holds nan"),
    (lambda: theory.product_velocity(EYE, NAN * EYE, 2), "slope holds nan"),
    (lambda: theory.second_mode(2, 0.01, NAN), "share is nan"),
    (lambda: theory.fitted(NAN), "loss is nan"),
    (lambda: theory.network_flow([EYE], SLOPE, until=FITTED, longest=NAN), "longest is nan"),
    (lambda: theory.network_flow([EYE], SLOPE, until=FITTED, times=[NAN]), "times holds nan"),
    (lambda: theory.completed_error([[True, False]], [[NAN, 1]]), "target holds nan"),
    (lambda: theory.path_risk([1, 2], [1, 2], 1.0, [NAN, 1]), "shrinkage holds nan"),
    (lambda: theory.safe_batch_step(X * NAN), "design holds nan"),
)
OTHER_SHAPE: tuple[Case, ...] = (
    (lambda: theory.descent(MODES, Y, 3, [0.01, 0.02]), r"step_size has shape \(2,\)"),
    (lambda: theory.contraction(MODES, [0.1]), r"step_size has shape \(1,\)"),
    (lambda: theory.margins_in(Z, [1, 2]), "but there are 3 features"),
    (lambda: theory.angles_to([1, 0], [0, 0, 1]), "but there are 3 features"),
    (
        lambda: theory.limit_offset(Z[:3], theory.hard_margin(Z)),
        "are 3 and the solution is one of 6",
    ),
    (lambda: theory.log_loss(Z, [1, 2]), "but there are 3 features"),
    (lambda: theory.logistic_step_limit([1.0, 2.0]), r"has shape \(2,\); give a matrix"),
    (lambda: theory.logistic_step_limit(np.zeros((0, 2))), r"has shape \(0, 2\); give a matrix"),
    (lambda: theory.plain_steps([1.0, 2], 0.1, [1]), r"has shape \(2,\); give a matrix"),
    (lambda: theory.plain_steps(Z, 0.1, []), "increasing numbers of steps, at least one"),
    (lambda: theory.normalised_steps(Z, 0.1, []), "increasing numbers of steps, at least one"),
    (lambda: theory.plain_steps(Z, 0.1, [1], [1.0]), r"start has shape \(1,\); give \(3,\)"),
    (lambda: theory.flow_path(Z, []), "log_times must be increasing"),
    (lambda: theory.entropy([]), r"weights has shape \(0,\)"),
    (lambda: theory.bregman_projection([[1, 1]], [1], [1, 2, 3], ENTROPY), "there are 2 features"),
    (lambda: theory.small_start_projection([[1, 2]], [1], -3.0, [0.5, 1]), "multipliers has shape"),
    (lambda: theory.l1_excess([1, 2], X, SPARSE), "but there are 9 features"),
    (lambda: theory.mean_square_limit(MODES, [1, 2]), "batch_size has shape"),
    (lambda: theory.nuclear_minimum([], []), r"measurements has shape \(0,\)"),
    (lambda: theory.diagonal_limit([], [], 0.1), r"x has shape \(0,\)"),
    (lambda: theory.layer_gradients([EYE, EYE], np.eye(3)), r"slope has shape \(3, 3\)"),
    (lambda: theory.mode_time([0.1, 0.2], [0.3, 0.4, 0.5], 1.0, 2), "do not broadcast"),
    (lambda: theory.mode_path([1.0], [0.1, 0.2], 1.0, 3), "start has shape"),
    (lambda: theory.squared_error(EYE, np.ones((2, 3))), "give one column of each"),
    (lambda: theory.sensed_error(EYE, [1]), "give one matrix each"),
    (lambda: theory.descent_ratio([1, 2]), "updates has shape"),
    (lambda: theory.path_risk([1, 2], [1, 2], 1.0, [1, 1, 1]), "but there are 2 eigenvalues"),
)
NO_NUMBER: tuple[Case, ...] = (
    (lambda: theory.row_part(MODES, ["a"] * 9), "give numbers"),
    (lambda: theory.signed_examples(Z, ["a"] * 6), "labels is .*; give numbers"),
    (lambda: theory.entropy(["a"]), "weights is .*; give numbers"),
    (lambda: theory.bregman_projection([[1, 1]], [1], "a", ENTROPY), "start is 'a'; give numbers"),
    (lambda: theory.norm_margin(Z, ["l2"]), "unknown norm"),  # type: ignore[arg-type]
    (lambda: theory.flow_path(Z, ["a"]), "log_times is .*; give numbers"),
    (lambda: theory.flow_shrinkage([1.0], "a"), "time is 'a'; give numbers"),
    (lambda: theory.balanced_layers("a", 2), "product is 'a'; give numbers"),
    (lambda: theory.kernel_share(["a"], 0.1), "weights is .*; give numbers"),
)
OUT_OF_RANGE: tuple[Case, ...] = (
    (lambda: theory.modes(np.full((2, 2), 1e308)), r"magnitude at most 1e\+150"),
    (lambda: theory.modes(np.full((2, 2), 1e-200)), "whose square is no number"),
    (lambda: theory.modes(X, 2.0), "tolerance is 2, which leaves no singular value"),
    (lambda: theory.preconditioned_limit(MODES, Y, np.triu(np.ones((9, 9)))), "not symmetric"),
    (lambda: theory.hard_margin(Z * 1e-200), "signed examples are at most .*e-200"),
    (lambda: theory.hard_margin(Z * 1e200), r"magnitude at most 1e\+150"),
    (lambda: theory.hard_margin(Z, 1.5), "free is 1.5; give whole numbers"),  # type: ignore[arg-type]
    (lambda: theory.angles_to([1, 0], [0, 0]), "direction is zero"),
    (lambda: theory.normalised_steps(Z, 0, [1]), "step_size is 0"),
    (lambda: theory.steepest_steps(Z, "l2", 0, [1]), "step_size is 0"),
    (lambda: theory.p_norm_potential(1.0001), "p is 1.0001; choose at least 1.01"),
    (lambda: theory.small_start_projection([[1, 2]], [1], 3.0, [0.5]), "log_start is 3"),
    (lambda: theory.least_l1(X, 0 * Y), "labels are all zero"),
    (lambda: theory.least_linf(0 * X, Y), "inputs are all zero"),
    (lambda: theory.nuclear_minimum(np.ones((1, 2, 2)), [1], most=0), "most is 0"),
)


@pytest.mark.parametrize(("call", "said"), NOT_FINITE + OTHER_SHAPE + NO_NUMBER + OUT_OF_RANGE)
def test_senseless_arguments_get_one_line(call: Callable[[], Any], said: str) -> None:
    with jax.enable_x64(True), pytest.raises(UserError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_steps_that_overflow_are_told() -> None:
    # Breaks if inf comes back as weights.
    with (
        jax.enable_x64(True),
        pytest.raises(UserError, match=r"1e\+308, with which weights overflow"),
    ):
        theory.plain_steps(Z, 1e308, [3])


def test_where_the_gradient_vanishes_nothing_moves() -> None:
    # Two opposite examples: 0 is the minimiser. Breaks if ℓ2 divides 0 by 0.
    for norm in ("l1", "l2", "linf"):
        assert not theory.steepest_steps([[1, 0], [-1, 0]], norm, 1.0, [2]).any()


@pytest.mark.parametrize("unit", [1e-100, 1e-9, 1e100])
def test_margins_are_in_the_unit_of_the_inputs(unit: float) -> None:
    # Breaks if a solver's own tolerance, or the square of a length, decides what is small.
    for norm in ("l1", "l2", "linf"):
        scaled, plain = theory.norm_margin(Z * unit, norm), theory.norm_margin(Z, norm)
        assert scaled[0] == pytest.approx(plain[0] * unit, rel=1e-9)
    scaled_solution, solution = theory.hard_margin(Z * unit), theory.hard_margin(Z)
    np.testing.assert_allclose(scaled_solution.weights * unit, solution.weights, rtol=1e-9)
    np.testing.assert_allclose(
        scaled_solution.multipliers * unit**2, solution.multipliers, rtol=1e-9
    )
    assert (scaled_solution.support == solution.support).all()


@pytest.mark.parametrize(("potential", "start"), [(POWER, 0.0), (ENTROPY, 0.3)])
def test_projections_of_dependent_rows_are_those_of_the_others(
    potential: theory.Potential, start: float
) -> None:
    # Breaks if a row that follows from others makes the system singular, or a multiplier is left out.
    x, y = np.array([[1.0, 2, 1], [0, 1, 3]]), np.array([3.0, 2.0])
    whole = np.concatenate([x, [x[0] + 2 * x[1]]])
    found = theory.bregman_projection(whole, np.append(y, y[0] + 2 * y[1]), start, potential)
    least = theory.bregman_projection(x, y, start, potential).weights
    np.testing.assert_allclose(found.weights, least, rtol=1e-9)
    dual = potential.dual(found.weights) - potential.dual(np.full(3, start))
    np.testing.assert_allclose(found.multipliers @ whole, dual, rtol=1e-8)


def test_labels_of_zero_have_a_projection() -> None:
    # w₁ = w₂ nearest to (1, 2) in the entropy: the geometric mean. Breaks if no residual is small beside 0.
    found = theory.bregman_projection([[1, -1]], [0], [1, 2.0], ENTROPY).weights
    np.testing.assert_allclose(found, np.sqrt(2), rtol=1e-12)


def test_constants_of_ali_kolter_tibshirani_by_another_search() -> None:
    # Printed there: 1.2985 and 1.6862.
    ratio = optimize.minimize_scalar(
        lambda x: -(1 - np.exp(-x)) * (1 + x) / x, bounds=(0.1, 10), method="bounded",
        options={"xatol": 1e-10},
    )  # fmt: skip
    assert pytest.approx(-ratio.fun, rel=1e-12) == theory.SHRINKAGE_RATIO
    assert round(-ratio.fun, 3) == 1.298
    assert pytest.approx(ratio.fun**2, rel=1e-12) == theory.RISK_RATIO


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_times_of_modes_by_quadrature(depth: int) -> None:
    # A layer's mode w = σ^{1/L} follows w′ = w^{L−1}(c − w^L) [Saxe et al. 2014].
    first, last, target = 0.01, 0.7, 0.9
    ends = first ** (1 / depth), last ** (1 / depth)
    known = integrate.quad(lambda w: 1 / (w ** (depth - 1) * (target - w**depth)), *ends)[0]
    assert float(theory.mode_time(first, last, target, depth)) == pytest.approx(known, rel=1e-8)
