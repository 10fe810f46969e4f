"""Numbers with as many digits as they deserve."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from implicit_bias.results.table import format_estimate, format_number


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (1.6132, 1.203, 2.018, "1.61 [1.20, 2.02]"),
        (0.0312, 0.0298, 0.0326, "0.0312 [0.0298, 0.0326]"),
        (3.0, 0.15, 59.0, "3.0 [0.1, 59.0]"),  # a ratio: its lower end is not 0
        (0.5, 1e-5, 30.0, "0.5 [1.0 × 10⁻⁵, 30.0]"),  # nor is this one, however far the other
        (0.25, -0.004, 15.0, "0.25 [-0.0040, 15.00]"),  # and this one is below it
        (4e11, -9.9e10, 5e14, "4.0 × 10¹¹ [-9.9 × 10¹⁰, 5.0 × 10¹⁴]"),
        (3.1, 0.0, 7.5, "3.1 [0, 7.5]"),  # this is: cut at what is possible
        (448.2, 1.25, 916.4, "448 [1, 916]"),  # nor here, where both sides are long
        (12345, 11000, 14000, "12300 [11000, 14000]"),
        (1.61e-5, 1.2e-5, 2.02e-5, "1.61 [1.20, 2.02] × 10⁻⁵"),
        (3e7, 2.5e7, 3.6e7, "3.00 [2.50, 3.60] × 10⁷"),
        (-0.0004, -0.012, 0.011, "0.000 [-0.012, 0.011]"),  # never -0.000
        (0.0, 0.0, 0.0, "0 [0, 0]"),
        (1.0, 1.0, 1.0, "1.000 [1.000, 1.000]"),  # no width says nothing of digits
        (1.5, -math.inf, 2.0, "1.50 [-∞, 2.00]"),
        (1.5, -math.inf, math.inf, "1.500 [-∞, ∞]"),
        (1.05, 0.0, math.inf, "1.050 [0, ∞]"),
        (5.0, math.nan, math.nan, "5 [no interval]"),
        (math.nan, math.nan, math.nan, "n/a"),
        (None, None, None, "n/a"),
    ],
)
def test_estimates(value: Any, low: Any, high: Any, text: str) -> None:
    # Breaks if the digits do not follow the interval, or the three numbers differ in form.
    assert format_estimate(value, low, high) == text


POWER = " × 10[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+"
NUMBER = rf"-?[\d.]+(?:{POWER})?"


def number(text: str) -> float:
    """Read a number with its power of ten."""
    digits, _, power = text.partition(" × 10")
    return float(digits) * 10.0 ** int(
        (power or "0").translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-"))
    )


@given(
    st.floats(-1e12, 1e12),
    st.floats(1e-12, 1e12),
    st.floats(1e-3, 1e3),
)
def test_an_estimate_reads_back_within_its_digits(
    value: float, half: float, lopsided: float
) -> None:
    # Breaks if rounding moves a bound by more than a twentieth of the interval's width, or an end
    # that differs from zero reads as zero.
    assume(half > 1e-7 * abs(value))  # far below that, four digits of the value stand
    low, high = value - half, value + half * lopsided
    text = format_estimate(value, low, high)
    found = re.fullmatch(rf"({NUMBER}) \[({NUMBER}), ({NUMBER})\]({POWER})?", text)
    assert found, text
    shared = number(f"1{found[4]}") if found[4] else 1.0
    tolerance = (high - low) / 20 + 1e-10 * max(abs(low), abs(high))
    for shown, true in zip(found.groups()[:3], (value, low, high), strict=True):
        assert abs(number(shown) * shared - true) <= tolerance + 0.05 * abs(true) * (" " in shown)
    for end, true in zip(found.groups()[1:3], (low, high), strict=True):
        assert (number(end) == 0) == (true == 0), text


def test_percent() -> None:
    # Breaks if the value is scaled and the interval is not.
    assert format_estimate(0.0312, 0.0298, 0.0326, percent=True) == "3.12 [2.98, 3.26] %"


def test_diverged() -> None:
    # Breaks if a lane that diverged reads "nan".
    assert format_estimate(None, missing="diverged") == "diverged"
    assert format_number(math.nan, missing="diverged") == "diverged"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.42131, "0.4213"),
        (2048.0, "2048"),
        (1.61e-5, "1.610 × 10⁻⁵"),
        (9.99996, "10.00"),
        (99999.96, "100000"),
        (0.99996, "1.000"),
        (123456.7, "123500"),
        (1e6, "1.000 × 10⁶"),
        (-0.0, "0"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (None, "n/a"),
    ],
)
def test_numbers(value: Any, text: str) -> None:
    # Breaks at the edges: rounding up into another power of ten, negative zero, whole numbers.
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("value", "low", "high", "margin", "text"),
    [
        (2.99, 1.2, 3.52, 1.2, "2.99 [1.20, 3.52]"),
        (0.998, 0.966, 1.2, 1.2, "0.998 [0.966, 1.200]"),
        (448.2, 1.25, 916.4, 1.25, "448 [1.25, 916]"),  # 1 would be another number
    ],
)
def test_an_end_at_the_margin_has_the_digits_of_the_others(
    value: float, low: float, high: float, margin: float, text: str
) -> None:
    # Breaks if one line has two notations, or if the smallest effect that matters is rounded.
    assert format_estimate(value, low, high, margin=margin) == text


@given(
    margin=st.sampled_from(
        [1e-9, 0.001, 0.05, 0.1, 1 / 3, 0.9, 1.0, 1.05, 1.2, 1.25, 5.0, 100.0, 1e4]
    ),
    spread=st.floats(1e-12, 1e12),
    inside=st.floats(0, 1),
    above=st.booleans(),
)
def test_an_end_at_the_margin_is_never_rounded_to_another_number(
    margin: float, spread: float, inside: float, above: bool
) -> None:
    """Breaks if the smallest effect that matters reads as another number, or cannot be written at all."""
    low, high = (margin, margin + spread) if above else (margin - spread, margin)
    text = format_estimate(low + inside * (high - low), low, high, margin=margin)
    ends = re.search(r"\[(.*), (.*)\](.*)", text)
    assert ends is not None
    if not ends[3]:  # one power of ten for all three follows the digits of the interval
        end = ends[1] if above else ends[2]
        end = re.sub(r" × 10(.*)", lambda found: f"e{found[1].translate(_DIGITS)}", end)
        assert float(end) == pytest.approx(margin, rel=1e-5)


_DIGITS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
