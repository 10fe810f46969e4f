"""Levels of a loss: round, within the values, for several planes at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from implicit_bias.errors import UserError
from implicit_bias.results import figures


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.04, 12.0, [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]),
        (1e-4, 1e2, [1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100]),
        (1e-12, 1e12, 10.0 ** np.arange(-12, 13, 3)),
    ],
)
def test_log_levels_are_round_and_within(low: float, high: float, expected: Any) -> None:
    # Breaks if decades are skipped unevenly, a level lies outside, or there are more than asked.
    np.testing.assert_allclose(figures.contour_levels([low, high]), expected, rtol=1e-12)


def test_levels_of_a_short_range_still_part_it() -> None:
    # Breaks if only 1-2-5 numbers are tried, of which [0.301, 0.302] holds none.
    levels = figures.contour_levels([0.301, 0.302])
    assert 5 <= len(levels) <= 10
    assert 0.301 <= levels[0] < levels[-1] <= 0.302
    assert (np.diff(levels) > 0).all()


def test_linear_levels_have_equal_distances_and_serve_all_planes() -> None:
    # Breaks if panels that share levels take them from the first plane alone.
    levels = figures.contour_levels([0.0, 1.0], [[3.0, np.nan], [9.9, np.inf]], scale="linear")
    assert np.ptp(np.diff(levels)) < 1e-12
    assert levels[0] >= 0
    assert 9 <= levels[-1] <= 9.9


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([np.nan], {}, "no finite positive"),
        ([-1.0, 0.0], {}, "scale='linear'"),
        ([np.inf], {"scale": "linear"}, "no finite value"),
        ([1.0, 2.0], {"count": 1}, "count >= 2"),
        ([1.0, 2.0], {"scale": "lin"}, "unknown scale"),
    ],
)
def test_no_levels_to_choose(values: Any, options: Any, message: str) -> None:
    # Breaks if an empty range ends in a NumPy error about zero-size arrays.
    with pytest.raises(UserError, match=message):
        figures.contour_levels(values, **options)
