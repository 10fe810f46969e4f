"""Constants of the law of descent on separable data, by hand; ``test_margin_flow`` follows the flow."""

from __future__ import annotations

import numpy as np
import pytest

from implicit_bias import theory
from implicit_bias.errors import UserError


def test_the_offset_and_the_rates_by_hand() -> None:
    # z₁ = (1, 2), z₂ = (1, −1): ŵ = (1, 0), α = (1/3, 2/3). Breaks with a wrong sign or a missing γ².
    z = np.asarray([[1.0, 2.0], [1.0, -1.0], [3.0, 0.0]])
    solution = theory.hard_margin(z)
    np.testing.assert_allclose(solution.weights, [1, 0], atol=1e-12)
    np.testing.assert_allclose(solution.multipliers, [1 / 3, 2 / 3, 0], atol=1e-12)
    offset = theory.limit_offset(z, solution)
    np.testing.assert_allclose(offset, [np.log(3) - 2 * np.log(2) / 3, np.log(2) / 3], rtol=1e-12)
    rates = theory.limit_rates(z, solution)
    assert rates.angle == pytest.approx(np.log(2) / 3)
    assert rates.gap == pytest.approx(np.log(2) / 3)  # log(2/3) − (log(1/3) + 2 log(2/3))/3


def test_a_support_vector_that_does_not_push_is_told() -> None:
    z = np.asarray([[1.0, 0.0], [1.0, 1.0]])
    solution = theory.hard_margin(z)
    assert solution.support.all()
    assert not solution.generic
    with pytest.raises(UserError, match="multiplier zero"):
        theory.limit_offset(z, solution)
