"""Tables of the ntk-width study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.table import Table, format_estimate, make_table
from implicit_bias.studies.ntk_width.settings import ARMS
from implicit_bias.studies.ntk_width.slopes import (
    SLOPES,
    arms_of,
    by_width,
    family_level,
    slope,
    trial_slope,
    widths_of,
)
from implicit_bias.studies.seed_means import geometric, mean, percent

if TYPE_CHECKING:
    import xarray as xr

MOVED: dict[str, str] = {
    "relative_movement": "‖θ − θ₀‖ / ‖θ₀‖",
    "absolute_movement": "‖θ − θ₀‖",
    "kernel_change": "‖K − K₀‖ / ‖K₀‖",
    "flips": "flips, %",
}
"""Quantities of the table of movement, with their heads."""

LEARNED: dict[str, str] = {
    "feature_change": "‖Φ − Φ₀‖ / ‖Φ₀‖",
    "feature_cka": "CKA of Φ and Φ₀",
    "alignment_before": "alignment of K₀",
    "alignment_after": "of K",
}
"""Quantities of the table of features."""

LIMITS: dict[str, str] = {
    "kernel_error": "‖K₀ − K∞‖ / ‖K∞‖",
    "infinite_distance": "distance² from descent with K∞",
    "own_distance": "distance² from descent with K₀",
}
"""What the comparison with kernels leaves of each width, with its names."""

SCALED = ("relative_movement", "absolute_movement", "kernel_change", "kernel_distance",
          "feature_change", "flips")  # fmt: skip
"""Quantities of the table of exponents."""


def tables(result: xr.Dataset) -> list[Table]:
    """Return what moved, how it scales with width, and the errors side by side."""
    made = []
    if arms_of(result):
        made += [movement_table(result), feature_table(result), exponent_table(result)]
    made.append(error_table(result))
    return [*made, limit_table(result)] if trial(result, "kernel_error") is not None else made


def trial(result: xr.Dataset, name: str) -> np.ndarray | None:
    """Return what the comparison with kernels left, (seeds, …); None where it was not made."""
    if name not in result.variables:
        return None
    values: np.ndarray = np.asarray(result[name].values, float)
    values = values[result["stage"].values == "kernels"]
    return values if np.isfinite(values).any() else None


def movement_table(result: xr.Dataset) -> Table:
    """Return how far parameters, kernel and units went, one row an arm and width."""
    rows: list[list[Any]] = []
    for arm in arms_of(result):
        columns = {name: by_width(result, arm, name) for name in MOVED}
        for place, width in enumerate(widths_of(result, arm)):
            own = {name: column[:, place] for name, column in columns.items()}
            seeds = own["relative_movement"].size
            good = int(np.isfinite(own["relative_movement"]).sum())
            cells = [geometric(own[name] * (100 if name == "flips" else 1)) for name in MOVED]
            lost = f" (−{seeds - good})" if good < seeds else ""
            rows.append([arm, int(width), f"{good}{lost}", *cells])
    return make_table(
        ["arm", "width", "seeds", *MOVED.values()],
        rows,
        caption="What training moved: geometric means over seeds [95 % t-intervals of the logarithm]",
        notes=(
            "seeds: lanes that count (− those that diverged)",
            "K: empirical NTK on the probe set; flips: pairs of a hidden unit and a training example that "
            "turned on or off",
        ),
    )


def feature_table(result: xr.Dataset) -> Table:
    """Return how features and kernel turned, one row an arm and width."""
    rows: list[list[Any]] = []
    for arm in arms_of(result):
        columns = {name: by_width(result, arm, name) for name in LEARNED}
        for place, width in enumerate(widths_of(result, arm)):
            cells = [mean(columns[name][:, place]) for name in LEARNED]
            rows.append([arm, int(width), *cells])
    return make_table(
        ["arm", "width", *LEARNED.values()],
        rows,
        caption="What training taught: means over seeds [95 % t-intervals]",
        notes=(
            "Φ: last hidden layer on the probe set; alignment: of the kernel there with the labels, centred",
        ),
    )


def exponent_table(result: xr.Dataset) -> Table:
    """Return the exponents of the width, a row a quantity and a column an arm."""
    level, arms = family_level(result), arms_of(result)
    rows = [
        [name.replace("_", " "), *(_exponent(result, arm, name, level) for arm in arms)]
        for name in SCALED
    ]
    for name, text in LIMITS.items():
        try:
            found = format_estimate(trial_slope(result, name, level))
        except NotDecidable:
            continue
        rows.append([text, *(found if arm == "ntk" else "n/a" for arm in arms)])
    return make_table(
        ["quantity", *arms],
        rows,
        caption="Exponents of the width: means over seeds of the slope of logarithms "
        f"[{100 * level:.4g} % t-intervals, simultaneous at 95 % over what the claims need]",
        notes=(f"claims need {', '.join(name.replace('_', ' ') for name in SLOPES)}, the steps of the "
               "first from width to width, and the first distance",),
    )  # fmt: skip


def _exponent(result: xr.Dataset, arm: str, name: str, level: float) -> str:
    try:
        return format_estimate(slope(result, arm, name, level))
    except NotDecidable:
        return "n/a"


def error_table(result: xr.Dataset) -> Table:
    """Return test errors of networks, their linearisations and kernels side by side, a row a width."""
    arms = [arm for arm in ARMS if arm in set(result["arm"].values)]
    widths = sorted({int(width) for arm in arms for width in widths_of(result, arm)})
    own, end, infinite, infinite_end = (
        trial(result, name)
        for name in ("own_error", "own_error_limit", "infinite_error", "infinite_error_limit")
    )
    rows: list[list[Any]] = [
        [width, *(_error(result, arm, width) for arm in arms)] for width in widths
    ]
    if own is None or end is None or infinite is None or infinite_end is None:
        return make_table(["width", *arms], rows, caption=ERRORS)
    at = {int(width): place for place, width in enumerate(result["kernel_width"].values)}
    for row in rows:
        place = at[row[0]]
        row += [percent(own[:, place]), percent(end[:, place])]
    rows.append(["∞", *["n/a"] * len(arms), percent(infinite), percent(infinite_end)])
    return make_table(
        ["width", *arms, "kernel", "kernel, end"],
        rows,
        caption=ERRORS,
        notes=(
            "kernel: descent on the squared loss with the kernel that networks of arm ntk have at their "
            "start (∞: with the infinite-width kernel), for as long as they were trained; end: ridgeless "
            "regression",
        ),
    )


def limit_table(result: xr.Dataset) -> Table:
    """Return how far networks of arm ntk are from their infinite-width limit, a row a width."""
    found = [np.asarray(trial(result, name)) for name in LIMITS]
    rows = [
        [int(width), *(geometric(values[:, place]) for values in found)]
        for place, width in enumerate(result["kernel_width"].values)
    ]
    return make_table(
        ["width", *LIMITS.values()],
        rows,
        caption="Networks of arm ntk and their infinite-width limit: geometric means over seeds [95 % "
        "t-intervals of the logarithm]",
        notes=(
            "distance²: mean squared difference of a test output between the trained network and descent in "
            "function space for the same time",
        ),
    )


ERRORS = (
    "Test error, % [95 % t-intervals over seeds], trained networks and kernels on the same examples"
)


def _error(result: xr.Dataset, arm: str, width: int) -> str:
    widths = widths_of(result, arm)
    if width not in widths:
        return "n/a"
    column = by_width(result, arm, "test_error")[:, np.searchsorted(widths, width)]
    return percent(column) if np.isfinite(column).any() else "diverged"
