"""Estimates are read from records of any kind."""

from __future__ import annotations

from types import SimpleNamespace

from implicit_bias.results.statistics import mean_interval
from implicit_bias.results.table import format_cell, format_estimate


def test_estimates_are_taken_from_records_of_any_kind() -> None:
    # Breaks if the statistics module's record, a finding or its JSON form is not understood.
    made = mean_interval([1.0, 2.0, 3.0])
    text = "2.0 [-0.5, 4.5]"  # t interval: 2 ± 4.303 · 1/√3
    assert format_estimate(made) == text
    assert format_cell(made) == text
    assert format_cell(SimpleNamespace(effect=made.value, interval=(made.low, made.high))) == text
    assert format_cell({"value": made.value, "low": made.low, "high": made.high}) == text
