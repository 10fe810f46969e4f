"""PAC-Bayes bounds against root finding, quadrature, exact binomial sums, and each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from implicit_bias import theory
from implicit_bias.errors import UserError


@pytest.mark.parametrize("risk", [0.0, 1e-4, 0.03, 0.5, 0.97])
@pytest.mark.parametrize("slack", [1e-6, 1e-3, 0.1, 2.0, 20.0])
def test_the_inverse_of_kl_is_that_of_root_finding(risk: float, slack: float) -> None:
    # Breaks if the search ends early, or takes the root below the risk.
    def beyond(p: float) -> float:
        return stats.entropy([risk, 1 - risk], [p, 1 - p]) - slack

    top = 1 - 1e-16
    expected = (
        optimize.brentq(beyond, max(risk, 1e-300), top, xtol=1e-15) if beyond(top) > 0 else 1.0
    )
    assert float(theory.kl_inverse(risk, slack)) == pytest.approx(expected, abs=1e-10)


def test_ends_of_the_inverse() -> None:
    assert float(theory.kl_inverse(0.2, 0.0)) == pytest.approx(0.2)
    assert float(theory.kl_inverse(0.2, np.inf)) == 1.0  # what a point mass gives
    assert float(theory.kl_inverse(1.0, 0.3)) == 1.0
    assert float(theory.kl_inverse(0.0, 0.3)) == pytest.approx(-np.expm1(-0.3))
    np.testing.assert_allclose(
        theory.kl_inverse([0.1, 0.5], [[0.0], [np.inf]]), [[0.1, 0.5], [1, 1]]
    )


@pytest.mark.parametrize("m", [8, 30, 200])
def test_the_constant_of_the_slack_is_the_moment_that_it_bounds(m: int) -> None:
    # E exp(m kl(r̂‖r)), exactly: at most 2√m, as the slack has it; above √m, so that half would not do.
    k = np.arange(m + 1)
    moments = []
    for p in (0.5, 0.2, 0.05):
        logs = stats.binom.logpmf(k, m, p) + m * theory.binary_kl(k / m, p)
        moments.append(np.exp(logs).sum())
    constant = 0.05 * np.exp(m * float(theory.maurer_slack(0.0, m, 0.05)))
    assert constant == pytest.approx(2 * np.sqrt(m))
    assert max(moments) <= constant
    assert moments[0] > np.sqrt(m)


def test_divergences_are_those_of_quadrature_and_a_point_mass_has_none() -> None:
    own, prior = stats.norm(0.3, 0.5), stats.norm(-0.2, 2.0)
    expected, _ = integrate.quad(
        lambda w: own.pdf(w) * (own.logpdf(w) - prior.logpdf(w)), -6, 6, epsabs=1e-12
    )
    assert theory.gaussian_kl([0.3], 0.5, -0.2, 2.0) == pytest.approx(expected, rel=1e-8)
    both = theory.gaussian_kl([0.3, 0.3], [0.5, 0.5], [-0.2, -0.2], 2.0)
    assert both == pytest.approx(2 * expected, rel=1e-8)
    assert theory.gaussian_kl([0.3, 0.3], [0.5, 0.0], 0.0, 1.0) == np.inf
    # The law of ever less noise tends there, d ln 10 a decade.
    steps = [theory.gaussian_kl(np.ones(7), 10.0**-k, 0.0, 1.0) for k in (8, 9)]
    assert steps[1] - steps[0] == pytest.approx(7 * np.log(10), rel=1e-6)


def test_bounds_are_ordered_as_their_proofs_are() -> None:
    # Breaks if a factor of 2 is lost in any of them.
    risk, kl = np.meshgrid([0.0, 0.02, 0.3], [0.0, 5.0, 300.0])
    best = theory.kl_bound(risk, kl, 1000, 0.05)
    for looser in (theory.pinsker_bound, theory.quadratic_bound):
        assert (best <= looser(risk, kl, 1000, 0.05) + 1e-12).all()
    slack = float(theory.pinsker_bound(0.0, 0.0, 1000, 0.05))
    assert slack == pytest.approx(np.sqrt(np.log(2 * np.sqrt(1000) / 0.05) / 2000))
    assert float(theory.mcallester_bound(0.1, 7.0, 1000, 0.05)) == pytest.approx(
        0.1 + np.sqrt((7 + np.log(20) + np.log(1000) + 2) / 1999)
    )
    # Half the quadratic bound's slack at r̂ = 0: (2√c)² with c = slack/2.
    assert float(theory.quadratic_bound(0.0, 7.0, 1000, 0.05)) == pytest.approx(
        2 * float(theory.maurer_slack(7.0, 1000, 0.05))
    )


@pytest.mark.parametrize(("risk", "kl"), [(0.05, 20.0), (0.4, 3.0)])
def test_the_best_beta_gives_the_inverse_of_kl_at_its_own_slack(risk: float, kl: float) -> None:
    # kl is the supremum over β of Catoni's function, so that his bounds touch the inverse from above.
    def bound(log_beta: float) -> float:
        return float(theory.catoni_bound(risk, kl, 500, 0.05, float(np.exp(log_beta))))

    found = optimize.minimize_scalar(
        bound, bounds=(-6, 4), method="bounded", options={"xatol": 1e-9}
    )
    expected = float(theory.kl_inverse(risk, (kl + np.log(20)) / 500))
    assert found.fun == pytest.approx(expected, abs=1e-8)


def test_the_printed_slack_is_the_larger_one_from_a_divergence_on() -> None:
    for m, threshold in ((200, 3.342), (60_000, 6.194)):
        for kl, larger in ((threshold - 0.01, False), (threshold + 0.01, True)):
            printed = theory.printed_bound(0.0, kl, m, 0.05)
            assert (printed > theory.pinsker_bound(0.0, kl, m, 0.05)) == larger
    assert float(theory.printed_bound(0.0, 0.3389, 200, 0.05)) == pytest.approx(0.0958, abs=1e-4)


def test_priors_share_delta_and_draws_bound_the_empirical_risk() -> None:
    numbers = np.arange(1, 200_001)
    assert theory.prior_delta(numbers, 0.05).sum() == pytest.approx(0.05, rel=1e-5)
    assert float(theory.prior_variance(100, 0.1, 100.0)) == pytest.approx(0.1 / np.e)
    draws, truth = 400, 0.1
    seen = np.random.default_rng(0).binomial(draws, truth, 4000) / draws
    short = np.mean(theory.sampled_risk_bound(seen, draws, 0.05) < truth)
    assert 0 < short <= 0.05


BAD: tuple[tuple[Callable[[], Any], str], ...] = (
    (lambda: theory.kl_bound(0.1, 1.0, 100, 1.0), "delta is 1; choose numbers between 0 and 1"),
    (lambda: theory.kl_bound(0.1, 1.0, 100, 0.0), "delta is 0"),
    (
        lambda: theory.kl_bound(2.3, 1.0, 100, 0.05),
        "risk is 2.3, but PAC-Bayes bounds need a loss in",
    ),
    (lambda: theory.require_bounded([0.2, np.nan]), "losses is nan"),
    (lambda: theory.kl_inverse(0.1, -1.0), "kl is -1; give at least 0"),
    (lambda: theory.maurer_slack(1.0, 0, 0.05), "m is 0; choose at least 1"),
    (lambda: theory.gaussian_kl([0.0], 1.0, 0.0, 0.0), "prior_std is 0"),
    (lambda: theory.gaussian_kl([0.0], -1.0, 0.0, 1.0), "std is -1"),
    (lambda: theory.catoni_bound(0.1, 1.0, 100, 0.05, 0.0), "beta is 0"),
    (lambda: theory.prior_delta(0, 0.05), "number is 0"),
)


@pytest.mark.parametrize("place", range(len(BAD)))
def test_what_no_bound_is_for_is_said_in_one_line(place: int) -> None:
    call, message = BAD[place]
    with pytest.raises(UserError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
