"""Tables of the laziness study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.table import Table, format_estimate, make_table
from implicit_bias.studies.laziness.predictions import PREDICTORS
from implicit_bias.studies.laziness.rows import (
    LAZIEST,
    SWEEPS,
    of_arm,
    predicted,
    slope,
    values_of,
)
from implicit_bias.studies.rows import by_seed, has
from implicit_bias.studies.seed_means import geometric, mean, percent

if TYPE_CHECKING:
    import xarray as xr

MOVED: dict[str, str] = {
    "relative_movement": "‖θ − θ₀‖ / ‖θ₀‖",
    "absolute_movement": "‖θ − θ₀‖",
    "kernel_change": "‖K − K₀‖ / ‖K₀‖",
    "flips": "flips",
    "feature_change": "‖Φ − Φ₀‖ / ‖Φ₀‖",
    "linearisation_error": "off the tangent",
}
"""Quantities that fall as a network turns lazy, with their heads."""

SYMBOLS = {"alpha": "α", "init-scale": "s", "width": "width"}
"""What arms sweep, as people write it."""


class Cell(NamedTuple):
    """One setting of an arm."""

    arm: str
    value: float | None

    @property
    def name(self) -> str:
        """As tables show it."""
        return "" if self.value is None else f"{SYMBOLS[self.arm]} = {self.value:g}"


def cells(result: xr.Dataset) -> Iterator[Cell]:
    """Yield what was trained, arm after arm."""
    for arm in ("alpha", "init-scale", "linearised", "deep", "width"):
        if not has(result, arm):
            continue
        if arm in SWEEPS:
            for value in values_of(result, arm):
                yield Cell(arm, float(value))
        else:
            yield Cell(arm, None)


def tables(result: xr.Dataset) -> list[Table]:
    """Return what moved, the exponents, the errors, and the two small problems."""
    made = [_movement(result), _exponents(result), _errors(result)]
    if has(result, "modes"):
        made.append(_modes(result))
    if has(result, "multi-index"):
        made.append(_features(result))
    return made


def _movement(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for cell in cells(result):
        columns = {name: of_arm(result, cell.arm, name, cell.value) for name in MOVED}
        rise = of_arm(result, cell.arm, "alignment_after", cell.value)
        rise = rise - of_arm(result, cell.arm, "alignment_before", cell.value)
        good = int(np.isfinite(columns["relative_movement"]).sum())
        lost = columns["relative_movement"].size - good
        rows.append(
            [
                cell.arm,
                cell.name,
                f"{good}" + (f" (−{lost})" if lost else ""),
                *(geometric(values) for values in columns.values()),
                mean(rise),
            ]
        )
    return make_table(
        ["arm", "setting", "seeds", *MOVED.values(), "alignment rises by"],
        rows,
        caption="What training changed inside: geometric means over seeds [95 % t-intervals of the "
        "logarithm]; alignment: means [95 % t-intervals]",
        notes=(
            "seeds: lanes that count (− those that diverged); a linearised network keeps its kernel and "
            "features",
            "K: empirical NTK on the probe set; flips: fraction of pairs of hidden unit and training example "
            "that turned on or off; Φ: last hidden layer; off the tangent: distance of the change of the "
            "outputs from its first order, relative; alignment: of the kernel with the labels, centred",
        ),
    )


def _exponents(result: xr.Dataset) -> Table:
    arms = [arm for arm in SWEEPS if values_of(result, arm).size >= LAZIEST]
    columns = [(arm, last) for arm in arms for last in (None, LAZIEST)]
    level = 1 - 0.05 / max(1, len(columns) * len(MOVED))
    rows = []
    for name, head in MOVED.items():
        row: list[Any] = [head]
        for arm, last in columns:
            try:
                row.append(format_estimate(slope(result, arm, name, level, last)))
            except NotDecidable:
                row.append("n/a")
        rows.append(row)
    heads = [
        f"{SYMBOLS[arm]}, {'all' if last is None else f'largest {last}'}" for arm, last in columns
    ]
    return make_table(
        ["quantity", *heads],
        rows,
        caption="Exponents: means over seeds of the slope of logarithms "
        f"[{100 * level:.4g} % t-intervals, simultaneous at 95 % over the table]",
        notes=(
            "of a lazy network: −1 in α, −2 in the initial scale s without biases, −1/2 in the width",
        ),
    )


def _errors(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for cell in cells(result):
        best, end, time, loss = (
            of_arm(result, cell.arm, name, cell.value)
            for name in ("best_test_error", "end_test_error", "best_update", "end_train_loss")
        )
        rows.append(
            [cell.arm, cell.name, percent(best), percent(end), "n/a", float(np.nanmedian(time))
             if np.isfinite(time).any() else np.nan, geometric(loss)]
        )  # fmt: skip
    if has(result, "kernels"):
        for name in PREDICTORS:
            best, end, limit, time = (
                predicted(result, f"kernel_{which}", name)
                for which in ("best_error", "end_error", "limit_error", "best_update")
            )
            rows.append(
                ["descent with", name, percent(best), percent(end), percent(limit),
                 float(np.nanmedian(time)), "n/a"]
            )  # fmt: skip
    return make_table(
        ["arm", "setting", "chosen time", "all updates", "ridgeless", "update", "training loss"],
        rows,
        caption="Test error, % [95 % t-intervals over seeds], at the time of least validation error, after "
        "all updates, and where kernel descent ends",
        notes=(
            "update: median of the chosen times; training loss: geometric mean after all updates",
            *(f"{name}: {what}" for name, what in PREDICTORS.items()),
        ),
    )


def _modes(result: xr.Dataset) -> Table:
    rows = []
    for strength in result["mode"].values:
        row: list[Any] = [float(strength)]
        for start in ("small", "large"):
            times = by_seed(result, "modes", "mode_time", start=start)
            place = list(result["mode"].values).index(strength)
            row.append(geometric(times[:, place] / times[:, 0]))
        rows.append(row)
    return make_table(
        ["mode's strength", "small start", "large start"],
        rows,
        caption="Deep linear networks: time at which half of a mode is learnt, relative to the strongest "
        "mode's; geometric means over seeds [95 % t-intervals of the logarithm]",
    )


def _features(result: xr.Dataset) -> Table:
    rows = [
        [name, geometric(by_seed(result, "multi-index", "target_error", features=name))]
        for name in result["features"].values
    ]
    end = by_seed(result, "multi-index", "target_end_error")
    rows.append(["learnt, after all updates", geometric(end)])
    return make_table(
        ["features", "test error / variance"],
        rows,
        caption="A target of few directions: squared test error relative to the target's variance; geometric "
        "means over seeds [95 % t-intervals of the logarithm]",
    )
