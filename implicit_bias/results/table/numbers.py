"""Numbers and estimates as text: how many digits an estimate shows is decided by its interval."""

from __future__ import annotations

import math
from typing import Any

from implicit_bias.results.table.record import value_and_interval

_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def format_number(value: float | None, *, digits: int = 4, missing: str = "n/a") -> str:
    """Write one number with a given count of significant digits.

    Args:
        value: The number; None and NaN count as missing.
        digits: Significant digits. Whole numbers below a million are always written in full.
        missing: What stands for a missing number.

    Returns:
        Such as ``"0.4213"``, ``"2048"``, ``"1.61 × 10⁻⁵"``, ``"∞"``.
    """
    if value is None or math.isnan(value):
        return missing
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if float(value).is_integer() and abs(value) < 1e6:
        return str(int(value))
    exponent = math.floor(math.log10(abs(value)))
    if float(f"{abs(value):.{digits - 1}e}") >= 10.0 ** (exponent + 1):  # 9.9999 rounds to 10
        exponent += 1
    if -4 < exponent < 6:
        return _fixed(value, digits - 1 - exponent)
    return f"{_fixed(value / 10.0**exponent, digits - 1)}{_power(exponent)}"


def format_estimate(
    value: Any,
    low: float | None = None,
    high: float | None = None,
    *,
    missing: str = "n/a",
    percent: bool = False,
    margin: float | None = None,
) -> str:
    """Write an estimate with its interval, as in ``1.61 [1.20, 2.02]``.

    The digits follow the interval: two significant digits of its shorter side, the same number of
    decimals in all three numbers. A number that would read as zero with so many decimals, and is not,
    has two digits of its own; an end that is zero is written ``0``. Very large and very small
    estimates share one power of ten.

    Args:
        value: The estimate, or a record with fields ``value``, ``low`` and ``high``, or with
            ``effect`` and ``interval``.
        low: Lower end of the interval; ignored when ``value`` is a record.
        high: Upper end of the interval; ignored when ``value`` is a record.
        missing: What stands for an estimate that does not exist, such as ``"diverged"``.
        percent: Multiply by 100 and write ``%`` behind.
        margin: Where an end of the interval is this number, it is written as it is wherever the digits
            of the others would round it.

    Returns:
        The estimate; without a usable interval the value alone, followed by ``[no interval]``.
    """
    if (
        value is not None
        and not isinstance(value, (int, float))
        and not hasattr(value, "__float__")
    ):
        value, low, high = value_and_interval(value)
    if value is None or math.isnan(value):
        return missing
    low = math.nan if low is None else float(low)
    high = math.nan if high is None else float(high)
    if percent:
        value, low, high = 100 * value, 100 * low, 100 * high
    unit = " %" if percent else ""
    if math.isnan(low) or math.isnan(high):
        return f"{format_number(value)}{unit} [no interval]"
    if math.isinf(value):
        return format_number(value) + unit

    finite = [abs(bound) for bound in (value, low, high) if math.isfinite(bound)]
    largest = max(finite)
    if largest == 0.0:
        return f"0 [0, 0]{unit}"
    if math.isfinite(high - low):
        # Of a lopsided interval (a ratio's) the shorter side counts, or its end would read 0.
        half = max(min(value - low, high - value), (high - low) / 20)
        near = 10 * min(abs(low), abs(high))
        if low * high > 0 and near >= 1e-4 * largest:
            # An interval that leaves out zero must not read as if it began there.
            half = min(half, near)
    else:
        # An end at zero is where a ratio's scale ends: it says as little as one at infinity.
        sides = [abs(bound - value) for bound in (low, high) if bound and math.isfinite(bound)]
        half = min(sides, default=0.0)
    # An interval of no width (or without end) says nothing about digits: show four.
    step = half if half > 1e-9 * largest else largest / 100
    exponent = math.floor(math.log10(largest))
    power = exponent if not -4 < exponent < 6 else 0
    decimals = min(1 - math.floor(math.log10(step)) + power, 12)
    bounds = (value, low, high)
    shown = [_fixed(bound / 10.0**power, decimals) for bound in bounds]
    # What differs from zero must not read as zero; only an estimate within its interval may.
    lost = [
        place
        for place, bound in enumerate(bounds)
        if math.isfinite(bound) and bound and float(shown[place]) == 0 and (place or low * high > 0)
    ]
    if lost and power:  # one power of ten for all three would not do
        lost, power = [0, 1, 2], 0
    for place in lost:
        shown[place] = format_number(bounds[place], digits=2)
    for place in (1, 2):
        if bounds[place] == 0:
            shown[place] = "0"
        elif margin is not None and not power and math.isclose(bounds[place], margin, rel_tol=1e-9):
            # As many decimals as the others where that says the same number: one notation a line.
            written = float(f"{margin:.1e}") if place in lost else round(margin, decimals)
            if not math.isclose(written, margin, rel_tol=1e-9):
                shown[place] = f"{margin:g}"
    return f"{shown[0]} [{shown[1]}, {shown[2]}]{_power(power) if power else ''}{unit}"


def _fixed(value: float, decimals: int) -> str:
    """Fixed-point notation; negative decimals round to tens, hundreds …; never ``-0``."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    rounded = round(value, decimals)
    return f"{rounded + 0.0 if rounded else 0.0:.{max(decimals, 0)}f}"


def _power(exponent: int) -> str:
    return f" × 10{str(exponent).translate(_SUPERSCRIPT)}"
