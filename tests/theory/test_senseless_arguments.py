"""What the laws of noise, stability, bounds and information refuse, in one line that says what was given.

Each breaks if a number without sense gives a number, or a traceback of NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from implicit_bias import theory
from implicit_bias.errors import UserError
from implicit_bias.theory import checks, mutual_information, stability
from implicit_bias.theory.label_noise import imbalance_path, label_noise_penalty
from implicit_bias.theory.modified_loss import Quadratic, epoch_end, epoch_loss, flow_end, mean_loss

NAN, INF = float("nan"), float("inf")
X = np.random.default_rng(0).standard_normal((6, 2))
Y = X @ np.array([1.0, -1.0]) + 0.1
EYE = np.eye(2)
PARTS = theory.batch_losses(X, Y, 2)
FIT = theory.ridge_fit(X, Y, 0.1)
KERNEL = theory.kernel_fit(X @ X.T + np.eye(6), Y, 0.1)
RNG = np.random.default_rng(0)
Case = tuple[Callable[[], Any], str]

NOT_FINITE: tuple[Case, ...] = (
    (lambda: theory.stationary_covariance([[1, NAN], [NAN, 1]], EYE, 0.1), "hessian holds nan"),
    (lambda: theory.stationary_covariance(1e308 * EYE, EYE, 1e-309), "at most 1e\\+150"),
    (lambda: theory.least_squares_noise(X * NAN, Y, 0.1, 2), "design holds nan"),
    (lambda: theory.least_squares_noise(X, Y * INF, 0.1, 2), "labels holds"),
    (lambda: theory.batch_covariance([[1.0, NAN]], 1), "gradients holds nan"),
    (lambda: theory.process_mean(EYE, [1, NAN], 1.0), "start holds nan"),
    (lambda: theory.line_density([0, 1, 2], [0, INF, 0], [1, 1, 1], 0.1), "slope holds inf"),
    (lambda: theory.line_density([0, 1, 2], [0, 0, 0], [1, INF, 1], 0.1), "variance is inf"),
    (lambda: theory.batch_losses(X * NAN, Y, 2), "design holds nan"),
    (lambda: epoch_loss(PARTS, 0.1, NAN), "coefficient is nan"),
    (lambda: flow_end(PARTS[0], [1, NAN], 1.0), "start holds nan"),
    (lambda: epoch_end(PARTS, 1e300, [1, 1]), "weights overflow"),
    (lambda: label_noise_penalty([-INF, 1.0], 0.1), "curvatures holds -inf"),
    (lambda: imbalance_path(NAN, 1.0, 0.1, 0.1, 2), "imbalance is nan"),
    (lambda: theory.ridge_fit(X, Y * NAN, 1.0), "labels holds nan"),
    (lambda: theory.kernel_fit(NAN * np.eye(6), Y, 0.1), "kernel holds nan"),
    (lambda: theory.replaced_coefficients(KERNEL, 0, [NAN] * 6, 1.0, 1.0), "row holds nan"),
    (lambda: theory.additive_bound(0.1, 10, 0.1, 1.0, NAN), "multiple is nan"),
    (lambda: theory.vacuous(NAN), "bounds of at least 0"),
    (lambda: stability.check_expansion(NAN, 1.0), "step_size is nan"),
    (lambda: theory.gaussian_kl([NAN, 1.0], 1.0, 0.0, 1.0), "mean holds nan"),
    (lambda: theory.gaussian_kl([1.0], 1.0, NAN, 1.0), "prior_mean is nan"),
    (lambda: theory.binned_information(X * NAN, Y, 3, -1, 1), "the layer holds nan"),
    (lambda: theory.binned_information(X, Y, 3, -INF, INF), "low is -inf"),
    (lambda: theory.noisy_information(X * INF, Y, 1.0, RNG), "the layer holds"),
    (lambda: theory.covariance_after(EYE, EYE, 0.1, 1e30), "less than 2"),
)
NO_NUMBER: tuple[Case, ...] = (
    (lambda: theory.stationary_covariance(EYE, EYE, [0.1, 0.2]), r"shape \(2,\); give one number"),
    (lambda: theory.batch_factor([5, 6], 1), "examples has shape"),
    (lambda: theory.process_mean(EYE, [1, 1], [1, 2]), "time has shape"),
    (lambda: theory.least_squares_noise(X, Y, 0.1, "a"), "batch_size is 'a'; give numbers"),
    (lambda: theory.least_squares_noise(X, Y, 0.1, None), "batch_size is None"),
    (lambda: theory.least_squares_noise(X, Y, 0.1, 1.5), "give whole numbers"),
    (lambda: theory.line_density(["a", "b"], [0, 0], [1, 1], 0.1), "give numbers"),
    (lambda: theory.batch_losses(X, Y, "2"), "give numbers"),
    (lambda: theory.batch_losses(X, Y, 1.5), "give whole numbers"),
    (lambda: epoch_loss([1, 2], 0.1), "of type int; give Quadratics"),
    (lambda: imbalance_path(1.0, "x", 0.1, 0.1, 2), "label is 'x'"),
    (lambda: theory.ridge_fit(X, Y, [1, 2]), "penalty has shape"),
    (lambda: theory.replaced_weights(FIT, 1.5, X, Y), "place is 1.5; give whole numbers"),
    (lambda: theory.replaced_weights(FIT, "a", X, Y), "place is 'a'; give numbers"),
    (lambda: theory.sampling_term(10, 0.1, [1, 2]), "loss_range has shape"),
    (lambda: theory.sgd_stability([0.1], [10, 20], 1.0, 1.0), "examples has shape"),
    (lambda: theory.sgd_stability([0.1], 10, 1.0, 1.0, "a"), "loss_range is 'a'"),
    (lambda: theory.gaussian_kl(["a"], 1.0, 0.0, 1.0), "give numbers"),
    (lambda: theory.catoni_bound(0.1, 1.0, 100, 0.05, [2.0]), "beta has shape"),
    (lambda: theory.prior_variance(1, [0, 1], 1.0), "largest has shape"),
    (lambda: theory.binned_information(X, Y, 3, "a", "b"), "low is 'a'"),
    (lambda: theory.noisy_information(X, Y, 1.0, 0), "rng is of type int; give a generator"),  # type: ignore[arg-type]
    (lambda: theory.noisy_information_bounds(X, [1, 2]), "noise has shape"),
)
OUT_OF_RANGE: tuple[Case, ...] = (
    (lambda: theory.stationary_covariance(EYE, EYE, -0.1), "finite numbers above 0"),
    (lambda: label_noise_penalty([-1.0], 0.2), "none is below 0"),
    (lambda: imbalance_path(1.0, 0.0, 0.1, 0.1, 2), "label is 0"),
    (lambda: theory.kernel_fit(-np.eye(6), Y, 0.1), "eigenvalue -1; give a positive semidefinite"),
    (lambda: theory.replaced_coefficients(KERNEL, 0, [0] * 6, -0.1, 1.0), "own is -0.1"),
    (lambda: theory.replaced_coefficients(KERNEL, 0, [9] * 6, 0.0, 1.0), "positive semidefinite"),
    (lambda: theory.additive_bound(0.1, 10, 0.1, 1.0, -1.0), "multiple is -1"),
    (lambda: theory.sampling_term(10, 0.1, -1.0), "loss_range is -1; choose finite numbers above"),
    (lambda: theory.vacuous(-5.0), "bounds of at least 0"),
    (lambda: theory.sgd_stability([0.1], 10, 1.0, 1.0, -5.0), "loss_range is -5"),
    (lambda: theory.ridge_movement([0.01, 1.0], [200, 0]), "examples is 0"),
    (lambda: theory.ridge_movement([0.01, 0.5], [200, 1]), "penalty is 0.5 and examples is 1"),
    (lambda: theory.binary_kl(2.0, 0.1), "q is 2; give probabilities"),
)
SHAPES: tuple[Case, ...] = (
    (lambda: theory.sampling_term([1, 2, 3], [0.1, 0.2]), r"examples \(3,\) and delta \(2,\)"),
    (lambda: theory.bounded_difference_bound([0.1, 0.2, 0.3], [10, 20], 0.1), "do not broadcast"),
    (lambda: theory.feldman_vondrak_bound([0.1, 0.2, 0.3], [10, 20], 0.1), "do not broadcast"),
    (lambda: theory.moment_bound([0.1, 0.2, 0.3], [10, 20], 0.1), "do not broadcast"),
    (lambda: theory.regularised_stability(1.0, [1, 2], [1, 2, 3]), "do not broadcast"),
    (lambda: theory.kl_bound([0.1, 0.2], [1, 2, 3], 100, 0.05), "do not broadcast"),
    (lambda: theory.pinsker_bound([0.1, 0.2], [1, 2, 3], 100, 0.05), "do not broadcast"),
    (lambda: theory.binary_kl([0.1, 0.2], [0.1, 0.2, 0.3]), "do not broadcast"),
    (lambda: theory.sampled_risk_bound([0.1, 0.2], [1, 2, 3], 0.1), "do not broadcast"),
    (lambda: theory.gaussian_kl([1.0], 1.0, [1, 2, 3], 1.0), r"prior_mean has shape \(3,\)"),
    (lambda: theory.gaussian_kl(1.0, [1, 1], 0.0, 1.0), r"std has shape \(2,\)"),
    (lambda: flow_end(PARTS[0], [1, 2, 3], 1.0), r"start has shape \(3,\); give \(2,\)"),
    (lambda: epoch_end(PARTS, 0.1, 1.0), r"start has shape \(\); give \(2,\)"),
    (lambda: mean_loss([*PARTS, Quadratic(np.eye(3), np.ones(3))]), "2 and 3 parameters"),
    (lambda: theory.replaced_coefficients(KERNEL, 0, [0] * 6, 1.0, [1, 2]), "label has shape"),
    (lambda: theory.binned_information(X, Y[:1], 3, -1, 1), "6 inputs; give one each"),
    (lambda: theory.binned_information(X, Y[:, None], 3, -1, 1), "6 inputs; give one each"),
    (lambda: theory.noisy_information(X, Y[:3], 1.0, RNG), "6 inputs; give one each"),
    (lambda: theory.binned_information(X, Y * NAN, 3, -1, 1), "no label"),
)
EMPTY: tuple[Case, ...] = (
    (lambda: theory.batch_covariance(np.zeros((3, 0)), 1), r"shape \(3, 0\)"),
    (lambda: theory.least_squares_noise(np.zeros((6, 0)), Y, 0.1, 2), r"shape \(6, 0\)"),
    (lambda: theory.batch_losses(np.zeros((0, 2)), [], 2), r"shape \(0, 2\)"),
    (lambda: mean_loss([]), "at least one batch"),
    (lambda: label_noise_penalty([], 0.1), "at least one number"),
    (lambda: imbalance_path([], 1.0, 0.1, 0.1, 2), "at least one number"),
    (lambda: theory.ridge_fit(X, np.zeros((6, 0)), 1.0), "at least one number"),
    (lambda: theory.sampling_term([], 0.1), "at least one number"),
    (lambda: theory.sgd_stability([], 10, 1.0, 1.0), "at least one number"),
    (lambda: theory.kl_bound([], 1.0, 100, 0.05), "at least one number"),
    (lambda: theory.gaussian_kl([], 1.0, 0.0, 1.0), "at least one number"),
    (lambda: theory.binned_information(np.zeros((3, 0)), [1, 2, 3], 3, -1, 1), "at least one"),
    (lambda: mutual_information.gaussian_channel([], 1.0), "at least one component"),
)
ALL = [*NOT_FINITE, *NO_NUMBER, *OUT_OF_RANGE, *SHAPES, *EMPTY]


@pytest.mark.parametrize("place", range(len(ALL)))
def test_it_is_refused_in_one_line(place: int) -> None:
    call, says = ALL[place]
    with pytest.raises(UserError, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_what_has_sense_is_let_through() -> None:
    # Breaks if a check refuses whole numbers that are floats, zero-dimensional arrays, or names of classes.
    assert checks.count("n", np.float64(3.0)) == 3
    assert checks.number("x", np.array(-2.5)) == -2.5
    assert len(theory.batch_losses(X, Y, 2)) == 2
    assert theory.noisy_information(X, list("aabbcc"), 1.0, RNG).inputs > 0
    assert float(theory.kl_bound(0.1, INF, 100, 0.05)) == 1.0
    assert theory.sgd_stability([0.1], 10, 1.0, 1.0) == pytest.approx(0.02)
    # KL of a law whose variance is 0 in double precision, though its deviation is none: ½(s²−1) − ln s.
    tiny = theory.gaussian_kl([0.0], 1e-200, 0.0, 1.0)
    assert tiny == pytest.approx(-0.5 + 200 * np.log(10))
