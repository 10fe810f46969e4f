"""What the laws of risk and the effective ranks refuse, in one line that says what was given.

Each breaks if a number without sense gives a number, or a traceback of NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from implicit_bias import theory
from implicit_bias.errors import UserError
from implicit_bias.theory import ridge

NAN = float("nan")
NO_BROADCAST = "do not broadcast"
Case = tuple[Callable[[], Any], str]

CASES: tuple[Case, ...] = (
    # Numbers that gave NaN, 0 or 1 without a word.
    (lambda: theory.risk_cdf(NAN, 20, 10, 1), "excess is nan"),
    (lambda: theory.risk_cdf(NAN, 10, 20, 1), "excess is nan"),
    (lambda: theory.decaying_powers(10, NAN), "exponent is nan; give a finite number"),
    (lambda: theory.decaying_powers(10, -1e4), "exponent is -10000.* choose a larger one"),
    (lambda: theory.nested_risk(10, 5, 1, np.ones((3, 3))), r"powers has shape \(3, 3\)"),
    (lambda: theory.anisotropic_risk(10, [1, 2], 1, [NAN, 1]), "coefficients holds nan"),
    # Words and lists where one number is asked for.
    (lambda: theory.risk_cdf("a", 10, 20, 1), "excess is 'a'; give numbers"),
    (lambda: theory.decaying_powers(10, "a"), "exponent is 'a'"),  # type: ignore[arg-type]
    (lambda: theory.decaying_powers([1, 2]), "total has shape"),  # type: ignore[arg-type]
    (lambda: theory.decaying_powers(10, 1, [1, 2]), "power has shape"),  # type: ignore[arg-type]
    (lambda: theory.effective_penalty([10, 20], [1, 2]), "examples has shape"),  # type: ignore[arg-type]
    (lambda: theory.effective_penalty(10, [1, 2], [1, 2]), "penalty has shape"),  # type: ignore[arg-type]
    (lambda: theory.anisotropic_risk(10, [1, 2], [1, 2], [1, 1]), "sigma has shape"),  # type: ignore[arg-type]
    (lambda: theory.anisotropic_risk(10, [1, 2], 1, ["a", "b"]), "give numbers"),
    (lambda: theory.head_size([1, 1], [2, 3]), "examples has shape"),  # type: ignore[arg-type]
    (lambda: theory.head_size([1, 1], 2, [1, 2]), "constant has shape"),  # type: ignore[arg-type]
    (lambda: theory.variance_order([1, 1], [2, 3]), "examples has shape"),  # type: ignore[arg-type]
    # Scales whose square is no number.
    (lambda: theory.isotropic_risk(10, 20, 1e200), r"sigma is 1e\+200; choose at most 1e\+150"),
    (lambda: theory.risk_quantile(0.5, 10, 10, 1e200), "sigma is 1e"),
    (lambda: theory.ridge_risk(10, 20, 1e200, 1), "sigma is 1e"),
    (lambda: theory.optimal_penalty(10, 1e200), "sigma is 1e"),
    (lambda: theory.anisotropic_risk(1, [1, 2], 1, [1e200, 1]), "coefficients holds 1e"),
    # Shapes.
    (lambda: theory.isotropic_risk([10, 20], [1, 2, 3], 1), NO_BROADCAST),
    (lambda: theory.misspecified_risk(10, [5, 6], 1, [1, 2, 3], 1), NO_BROADCAST),
    (lambda: theory.selected_risk(10, [5, 6], [4, 5, 6], 1), NO_BROADCAST),
    (lambda: theory.nested_risk([10, 20], [1, 2, 3], 1, [1, 2, 3]), NO_BROADCAST),
    (lambda: theory.risk_cdf([1, 2], 10, [20, 30, 40], 1), NO_BROADCAST),
    (lambda: theory.risk_quantile([0.1, 0.2], 10, [1, 2, 3], 1), NO_BROADCAST),
    (lambda: theory.ridge_risk([1, 2], [1, 2, 3], 1, 1), NO_BROADCAST),
    (lambda: theory.optimal_penalty([1, 2], [1, 2, 3]), NO_BROADCAST),
    (lambda: ridge.stieltjes([1, 2], [1, 2, 3]), NO_BROADCAST),
    # The pair that does not fit is told, not the largest and the smallest of all.
    (lambda: theory.selected_risk(10, [3, 8, 9], [2, 9, 9], 1), "features is 3, but there are 2"),
)


@pytest.mark.parametrize("place", range(len(CASES)))
def test_it_is_refused_in_one_line(place: int) -> None:
    call, says = CASES[place]
    with pytest.raises(UserError, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_what_has_sense_is_let_through() -> None:
    # Breaks if a check refuses an infinite excess, an even signal, or scalars in arrays.
    assert theory.risk_cdf([-np.inf, np.inf], 10, 20, 1) == pytest.approx([0, 1])
    assert theory.decaying_powers(4, 0.0) == pytest.approx(0.25)
    assert theory.head_size([1, 1], np.int64(2), 0.5) == 0
    shape = theory.isotropic_risk([[10], [20]], [5, 50, 500], 1).total.shape
    assert shape == (2, 3)
    # No place at all, as a study has that compares only some of its sizes with medians.
    assert theory.isotropic_risk(10, [], 1).total.shape == (0,)
    assert theory.risk_quantile([[0.25], [0.5]], 10, [], 1).shape == (2, 0)
    assert theory.ridge_risk(10, [], 1, 1).total.shape == (0,)
