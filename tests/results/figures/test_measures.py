"""Measures against the error, with their rank correlations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats

from implicit_bias.errors import UserError
from implicit_bias.results import figures


def test_measures_come_with_scipys_correlation() -> None:
    # Breaks if the correlation is Pearson's or of the drawn points only: one point is negative and
    # has no place on a log axis, but has a rank.
    rng = np.random.default_rng(0)
    seeds, groups = np.tile(np.arange(12), 2), np.repeat(["SGD", "SAM"], 12)
    measure = np.exp(rng.normal(0, 2, 24))
    measure[5] = -1.0
    error = np.log(np.abs(measure)) + rng.normal(0, 1, 24)
    figure, ax = figures.axes()
    legends, text = figures.scatter_measures(
        ax,
        measure,
        error,
        groups,
        seed=seeds,
        xlabel="sharpness (nats)",
        ylabel="test error (%)",
        group_title="optimiser",
    )
    for entry in legends:
        figures.legend(figure, entry.handles, title=entry.title, side="right")
    figures.note(figure, text)
    figure.canvas.draw()
    rho = scipy.stats.spearmanr(measure, error).statistic
    found = float(text.split("over all ")[1].split(" ")[0])
    assert found == pytest.approx(rho, abs=0.006)
    assert "within groups" in text
    assert "seeds resampled" in text
    assert "23 of 24 lanes" in text
    assert sum(len(one.get_xdata()) for one in ax.lines) == 23
    assert {one.get_marker() for one in ax.lines} == {"o", "s"}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("sharpness (nats)", "test error (%)")


def test_lanes_without_seeds_count_as_independent_and_say_so() -> None:
    # Breaks if the reader is not told, or one group gets a second, equal correlation.
    _, ax = figures.axes()
    x = np.arange(1.0, 9.0)
    _, text = figures.scatter_measures(ax, x, x[::-1], ["a"] * 8, xlabel="m (1)", ylabel="e (%)")
    assert "lanes taken as independent" in text
    assert "within groups" not in text
    x[:] = np.nan
    figures.scatter_measures(ax, x, x, ["a"] * 8, xlabel="m (1)", ylabel="e (%)")


@pytest.mark.parametrize(
    ("seed", "level", "message"),
    [([0, 1], 0.95, "one value a lane"), ([0, 1, 2], 95, "between 0 and 1")],
)
def test_bad_measures_are_refused(seed: Any, level: float, message: str) -> None:
    # Breaks if seeds are taken by position when there are too few.
    _, ax = figures.axes()
    with pytest.raises(UserError, match=message):
        figures.scatter_measures(
            ax, [1, 2, 3], [1, 2, 3], list("aab"), seed=seed, level=level, xlabel="m", ylabel="e"
        )
