"""From lanes to curves: a line and its interval at each x, and who was left out and why."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from implicit_bias.errors import UserError, unknown
from implicit_bias.results.statistics import UNBOUNDED

Summary = Literal["mean", "geometric mean", "median"]
_SUMMARIES = ("mean", "geometric mean", "median")
_INTERVALS = {
    "mean": "t-intervals",
    "geometric mean": "t-intervals of the logarithm",
    "median": "order-statistic intervals",
}


@dataclass(frozen=True)
class Curve:
    """A summary over lanes (seeds) at each of n positions.

    Attributes:
        x: Positions, increasing, shape (n,).
        centre: Line, shape (n,); NaN where no lane is left.
        low: Lower end of the interval, shape (n,); NaN where there is no interval.
        high: Upper end of the interval, shape (n,).
        used: How many lanes the summary stands on, shape (n,).
        total: How many lanes there were, shape (n,).
        dropped: For each reason, how many lanes it removed, shape (n,).
        line: What the line is, for notes; such as ``"geometric mean"``.
        band: What the band is, for notes; such as ``"95 % t-intervals"``.
    """

    x: np.ndarray
    centre: np.ndarray
    low: np.ndarray
    high: np.ndarray
    used: np.ndarray
    total: np.ndarray
    dropped: Mapping[str, np.ndarray] = field(default_factory=dict)
    line: str = "mean"
    band: str = "95 % t-intervals"

    @classmethod
    def from_values(
        cls,
        x: Any,
        values: Any,
        *,
        summary: Summary = "mean",
        level: float = 0.95,
        present: Any = None,
        dropped: Mapping[str, Any] | None = None,
        least: float = 0.0,
        bounds: tuple[float, float] = UNBOUNDED,
    ) -> Curve:
        """Summarise values over lanes.

        Non-finite values are left out and counted, and so are, for the geometric mean, values that
        are not positive. Intervals need two lanes; fewer give NaN.

        Args:
            x: Positions, shape (n,), in any order.
            values: Shape (lanes, n).
            summary: ``"mean"`` and ``"geometric mean"`` come with t-intervals (of the values and of
                their logarithms); ``"median"`` with the narrowest pair of order statistics that
                reaches the level, if there is one (at 95 %: from 6 lanes on).
            level: Level of the interval, between 0 and 1.
            present: Shape (lanes, n), true where a lane exists at a position; the others are not
                counted as missing. All, by default.
            dropped: Reasons to leave out a lane whatever its value (``{"diverged": mask}``), each
                of shape (lanes, n). A lane is counted under its first reason.
            least: Draw a position only where at least this fraction of its lanes is left. With
                ragged logs, a mean over the few lanes that ran longest is a mean over other lanes.
            bounds: The least and the largest value that is possible, such as 0 and 100 for a
                proportion in per cent; intervals are cut there.

        Returns:
            The curve.

        Raises:
            UserError: A shape does not fit, ``summary`` is unknown, or ``level`` is not in (0, 1).
        """
        x, values = np.asarray(x), np.array(values, dtype=float)
        if values.ndim != 2 or x.shape != values.shape[1:]:
            raise UserError(
                f"the curve's values have shape {values.shape} and its positions {x.shape}; "
                "give values of shape (lanes, n) and positions of shape (n,)"
            )
        if summary not in _SUMMARIES:
            raise unknown("summary", summary, _SUMMARIES)
        if not 0 < level < 1:
            raise UserError(f"level is {level}; choose one between 0 and 1, such as 0.95")
        left = np.ones(values.shape, bool) if present is None else np.array(present, bool)
        total = left.sum(0)
        counts: dict[str, np.ndarray] = {}
        for reason, mask in (dropped or {}).items():
            out = left & np.asarray(mask, bool)
            counts[reason] = out.sum(0)
            left &= ~out
        for reason, out in (
            ("not finite", left & ~np.isfinite(values)),
            ("not positive", left & (values <= 0) & (summary == "geometric mean")),
        ):
            if out.any():
                counts[reason] = counts.get(reason, 0) + out.sum(0)
            left &= ~out
        values[~left] = np.nan
        centre, low, high = _summarise(values, left.sum(0), summary, level)
        low, high = np.clip(low, *bounds), np.clip(high, *bounds)
        few = left.sum(0) < least * total
        for part in (centre, low, high):
            part[few] = np.nan
        order = np.argsort(x, kind="stable")
        return cls(
            x=x[order],
            centre=centre[order],
            low=low[order],
            high=high[order],
            used=left.sum(0)[order],
            total=total[order],
            dropped={reason: count[order] for reason, count in counts.items() if count.any()},
            line=summary,
            band=f"{100 * level:g} % {_INTERVALS[summary]}",
        )

    @classmethod
    def from_estimates(cls, x: Any, estimates: Any, *, line: str = "", band: str = "") -> Curve:
        """Take lines and intervals that were computed elsewhere.

        Args:
            x: Positions, shape (n,).
            estimates: One record a position, with fields ``value``, ``low``, ``high`` and ``n``,
                and optionally ``level`` and ``method``.
            line: What the values are, for notes.
            band: What the intervals are, for notes; by default from the first estimate.

        Returns:
            The curve.
        """
        estimates = list(estimates)
        order = np.argsort(np.asarray(x), kind="stable")

        def column(name: str) -> np.ndarray:
            return np.array([getattr(one, name) for one in estimates], dtype=float)[order]

        used = column("n").astype(int)
        if not band and estimates:
            level = getattr(estimates[0], "level", None)
            method = getattr(estimates[0], "method", "")
            band = (f"{100 * level:g} % " if level else "") + (
                f"intervals ({method})" if method else "intervals"
            )
        return cls(
            x=np.asarray(x)[order],
            centre=column("value"),
            low=column("low"),
            high=column("high"),
            used=used,
            total=used,
            line=line or "estimate",
            band=band,
        )


def _summarise(
    values: np.ndarray, n: np.ndarray, summary: Summary, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre and interval of each column; NaN entries do not count."""
    from scipy.special import stdtrit

    if summary == "median":
        columns = [_median(column[np.isfinite(column)], level) for column in values.T]
        centre, low, high = np.array(columns, dtype=float).reshape(-1, 3).T.copy()
        return centre, low, high
    if summary == "geometric mean":
        values = np.log(values)
    missing = np.isnan(values)
    safe = np.maximum(n, 1)
    mean = np.where(missing, 0, values).sum(0) / safe
    squares = np.where(missing, 0, values - mean) ** 2
    deviation = np.sqrt(squares.sum(0) / np.maximum(n - 1, 1))
    half = stdtrit(np.maximum(n - 1, 1), (1 + level) / 2) * deviation / np.sqrt(safe)
    mean = np.where(n > 0, mean, np.nan)
    half = np.where(n > 1, half, np.nan)
    bounds = mean, mean - half, mean + half
    if summary == "geometric mean":
        return tuple(np.exp(bound) for bound in bounds)  # type: ignore[return-value]
    return bounds


def _median(values: np.ndarray, level: float) -> tuple[float, float, float]:
    """Median, and the narrowest symmetric pair of order statistics that covers it at the level.

    The r-th smallest and the r-th largest of n values enclose the median with probability
    1 - 2·P(Binomial(n, 1/2) < r), whatever the distribution.
    """
    from scipy.special import bdtr

    n = len(values)
    if not n:
        return np.nan, np.nan, np.nan
    ranked = np.sort(values)
    ranks = [r for r in range(1, n // 2 + 1) if 1 - 2 * bdtr(r - 1, n, 0.5) >= level]
    low, high = (ranked[ranks[-1] - 1], ranked[-ranks[-1]]) if ranks else (np.nan, np.nan)
    return float(np.median(ranked)), float(low), float(high)


# --------------------------------------------------------------------------------------------------


def curves(
    dataset: Any,
    variable: str,
    *,
    x: str,
    by: str | None = None,
    summary: Summary = "mean",
    level: float = 0.95,
    reasons: Mapping[str, str] | None = None,
    factor: float = 1.0,
    least: float = 0.0,
    bounds: tuple[float, float] = UNBOUNDED,
) -> dict[Hashable, Curve]:
    """Turn one variable of a dataset of lanes into one curve a group.

    Args:
        dataset: An ``xarray.Dataset`` whose main dimension is ``lane``.
        variable: Of shape (lane,), or (lane, k) for logs and profiles.
        x: The variable or coordinate on the x axis: of shape (lane,) for the first kind; (k,) or
            (lane, k) for the second, with NaN (or anything where ``variable`` is NaN) as padding.
        by: The variable or coordinate, shape (lane,), whose values make the groups; None for one
            group.
        summary: See ``Curve.from_values``.
        level: Level of the intervals.
        reasons: For each reason to leave out lanes, the boolean variable, shape (lane,), that says
            which; such as ``{"diverged": "diverged", "missed the target": "missed"}``. By default
            the variable ``diverged``, where the dataset has one.
        factor: Multiplies the values, as in 100 for per cent.
        least: See ``Curve.from_values``.
        bounds: What the values, times ``factor``, can be; see ``Curve.from_values``.

    Returns:
        A curve for each group, groups in increasing order if they are numbers, else in the
        dataset's.

    Raises:
        UserError: A name is not in the dataset, or a shape does not fit.
    """
    if reasons is None:
        reasons = {"diverged": "diverged"} if "diverged" in dataset.variables else {}
    for name in (variable, x, *([by] if by else []), *reasons.values()):
        if name not in dataset.variables:
            raise unknown("variable", name, map(str, dataset.variables))
    data = dataset[variable].transpose("lane", ...)
    if data.ndim > 2:
        raise UserError(
            f"{variable} has dimensions {data.dims}; select one entry of {data.dims[2:]} first"
        )
    values = np.asarray(data.values, dtype=float) * factor
    lanes = len(values)
    masks = {reason: np.asarray(dataset[name].values, bool) for reason, name in reasons.items()}
    groups: list[Hashable] = [variable] * lanes
    if by is not None:
        groups = [_item(group) for group in dataset[by].values]

    if data.ndim == 1:
        positions = np.asarray(dataset[x].values)[:, None]
        values = values[:, None]
        exists = np.ones(values.shape, bool)
    else:
        positions = np.asarray(dataset[x].transpose("lane", ..., missing_dims="ignore").values)
        positions = np.broadcast_to(positions, values.shape)
        # The padding of a ragged log is no missing lane; a lane whose log ends early is one only
        # where a reason says so.
        exists = np.isfinite(values) & _known(positions)
    result: dict[Hashable, Curve] = {}
    for group in _in_order(groups):
        member = np.array([other == group for other in groups], bool)
        here = member[:, None] & _known(positions)
        if data.ndim == 2:
            stopped = np.zeros(lanes, bool)
            for mask in masks.values():
                stopped |= mask
            here &= exists | stopped[:, None]
        grid = np.unique(positions[here])
        # Every lane of a group is a row; a column is a position that any of its lanes has. A lane
        # given twice at one position (such as a seed repeated) gets a further row.
        table, present, causes = _spread(grid, positions, values, here, masks)
        result[group] = Curve.from_values(
            grid,
            table,
            summary=summary,
            level=level,
            present=present,
            dropped=causes,
            least=least,
            bounds=bounds,
        )
    return result


def _spread(
    grid: np.ndarray,
    positions: np.ndarray,
    values: np.ndarray,
    here: np.ndarray,
    masks: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Lay lanes out over a common grid of positions."""
    rows = np.flatnonzero(here.any(1))
    table = np.full((len(rows), len(grid)), np.nan)
    present = np.zeros(table.shape, bool)
    for row, lane in enumerate(rows):
        columns = np.searchsorted(grid, positions[lane, here[lane]])
        table[row, columns] = values[lane, here[lane]]
        present[row, columns] = True
    causes = {reason: present & mask[rows, None] for reason, mask in masks.items()}
    return table, present, causes


def _known(positions: np.ndarray) -> np.ndarray:
    return np.isfinite(positions) if positions.dtype.kind == "f" else np.ones(positions.shape, bool)


def _item(value: Any) -> Hashable:
    return value.item() if isinstance(value, np.generic) else value


def _in_order(groups: list[Hashable]) -> list[Hashable]:
    distinct = list(dict.fromkeys(groups))
    if all(isinstance(group, (int, float)) for group in distinct):
        return sorted(distinct)  # type: ignore[type-var]
    return distinct


def count_note(curves: Mapping[Hashable, Curve], *, unit: str = "seeds", label: str = "{}") -> str:
    """Say what lines and bands are and how many lanes stand behind them.

    Args:
        curves: The curves of a figure.
        unit: What the lanes of a curve are.
        label: How a curve is named, a format for its group.

    Returns:
        Such as ``"Lines: mean; bands: 95 % t-intervals; n = 10 seeds, except η ∝ B: 7 of 10 at 2048
        (3 diverged)."``, or that there is but one, whose curves are themselves.
    """
    lines = sorted({curve.line for curve in curves.values()})
    bands = sorted({curve.band for curve in curves.values()})
    pairs = sorted({(curve.line, curve.band) for curve in curves.values()})
    totals = np.concatenate([np.zeros(0, int), *(curve.total for curve in curves.values())])
    alike: dict[str, list[str]] = {}
    for group, curve in curves.items():
        if text := _exception(curve):
            alike.setdefault(text, []).append(label.format(group))
    exceptions = [f"{', '.join(groups)}: {text}" for text, groups in alike.items()]
    if len(exceptions) > _MOST_EXCEPTIONS:
        # Too many to read: say how many, and the worst.
        group, curve = min(
            curves.items(),
            key=lambda pair: float(np.min(pair[1].used / np.maximum(pair[1].total, 1), initial=1)),
        )
        number = sum(map(len, alike.values()))
        exceptions = [
            f"{number} of {len(curves)} curves, at worst {label.format(group)}: {_exception(curve)}"
        ]
    if totals.size and max(totals) == 1:
        return f"Lines: n = 1 {unit.removesuffix('s')}, so no intervals."
    counted = f"n = {_range(totals)} {unit}"
    if exceptions:
        counted += ", except " + "; ".join(exceptions)
    if len(lines) > 1 and len(bands) > 1:
        # Two lists would not say which band goes with which line.
        said = "; ".join(f"{line} with {band}" for line, band in pairs)
        return f"Lines with bands: {said}; {counted}."
    return f"Lines: {', '.join(lines)}; bands: {', '.join(bands)}; {counted}."


_MOST_EXCEPTIONS = 6


def _exception(curve: Curve) -> str:
    """Where a curve stands on fewer lanes than there were."""
    short = np.flatnonzero(curve.used < curve.total).tolist()
    if not short:
        return ""
    # Lanes lost at many positions are mostly the same lanes: the worst position tells how many.
    worst = min(short, key=lambda at: int(curve.used[at] - curve.total[at]))
    everywhere = len(short) == len(curve.x) and len(set(curve.used)) == 1
    if everywhere or len(short) > 3:
        causes = _causes(curve, worst) + ("" if everywhere else " at worst")
        return f"{_range(curve.used)} of {_range(curve.total)} ({causes})"
    return ", ".join(
        f"{curve.used[at]} of {curve.total[at]} at {curve.x[at]:g} ({_causes(curve, at)})"
        for at in short
    )


def _causes(curve: Curve, at: int) -> str:
    return ", ".join(
        f"{count[at]} {reason}" for reason, count in curve.dropped.items() if count[at]
    )


def _range(counts: np.ndarray) -> str:
    if not len(counts):
        return "0"
    least, most = int(counts.min()), int(counts.max())
    return str(most) if least == most else f"{least}–{most}"
