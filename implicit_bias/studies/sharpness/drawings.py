"""Figures of the sharpness study."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.table import format_number
from implicit_bias.studies import paired_cells
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.sharpness.points import FOUND
from implicit_bias.studies.sharpness.rules_lanes import matched
from implicit_bias.studies.sharpness.select import (
    INVARIANT,
    LAMBDA,
    MEASURES,
    Measure,
    lanes,
    mean_ratio,
    points,
    ratios,
    trial,
)
from implicit_bias.studies.sharpness.settings import MATCHED
from implicit_bias.studies.sharpness.tables import cells, keskar_ratios, mean_of_trials

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

EXPECTED = tuple(
    measure
    for measure in MEASURES
    if measure.name.startswith("adaptive") or measure.variable in ("at_fisher_rao", "at_relative_flatness")
)  # fmt: skip
"""Measures made to survive rescaling; the others are drawn apart."""


def _groups(result: xr.Dataset) -> dict[str, dict[str, xr.Dataset]]:
    """Return lanes that count by budget, then by step and batch size."""
    found: dict[str, dict[str, xr.Dataset]] = {}
    for arm, size, own in cells(result):
        budget, step = arm.split("-", 1)
        good = own.isel(seed=np.flatnonzero(paired_cells.usable(own).values))
        if good.sizes["seed"]:
            found.setdefault(budget, {})[f"{step.replace('-', ' ')}, B = {size}"] = good
    return found


def _short(unit: str) -> str:
    """Write a unit so that it fits beside an axis."""
    return unit.replace(" per squared parameter", "/parameter²")


_TITLES = {"epochs": "equal epochs", "matched": "equal training loss"}


def draw_spectrum(result: xr.Dataset) -> Figure:
    """Draw the largest eigenvalues by rank, a line an arm and batch size, a panel a budget."""
    groups = _groups(result)
    names = list(dict.fromkeys(name for own in groups.values() for name in own))
    looks = figures.categorical(names)
    notes: dict[str, str] = {}
    unit = _short(result["eigenvalues"].attrs["units"])

    def draw(ax: Any, title: str) -> None:
        budget = next(name for name, text in _TITLES.items() if text == title)
        values: dict[Hashable, Any] = {
            name: own["eigenvalues"].values for name, own in groups[budget].items()
        }
        notes[title] = figures.spectrum(
            ax, values, ylabel=f"eigenvalue ({unit})", summary="geometric mean", styles=looks
        )  # fmt: skip

    figure = figures.panels([_TITLES[name] for name in groups], draw, width=3.4, height=2.9)
    figures.legend(figure)
    figures.note(figure, figures.joint_note(notes))
    return figure


def draw_rise(result: xr.Dataset) -> Figure:
    """Draw the worst rise against the radius, with its quadratic prediction."""
    minima = trial(result, "minimum")
    groups = _groups(result).get("matched", {})
    minimum = "true minima"
    names = [minimum, *groups]
    notes: dict[Hashable, figures.Curve] = {}

    def add(ax: Any, label: str, shown: dict[Hashable, tuple[Any, Any, figures.Style]]) -> None:
        """Draw curves over the radius; those without a marker are predictions and have no band."""
        curves = {}
        for key, (rho, values, look) in shown.items():
            curve = figures.Curve.from_values(rho, values, summary="geometric mean")
            if not look.marker:
                nothing = np.full(curve.x.shape, np.nan)
                curve = dataclasses.replace(curve, low=nothing, high=nothing)
            curves[key] = curve
        figures.curve_by_group(
            ax, curves, xlabel="radius ρ (parameters)", ylabel=label, xscale="log", yscale="log",
            styles={key: look for key, (_, _, look) in shown.items()},
        )  # fmt: skip
        notes.update({key: curve for key, curve in curves.items() if shown[key][2].marker})

    def draw(ax: Any, name: str) -> None:
        if name == minimum:
            rho = minima["rho"].values
            looks = figures.categorical(map(str, minima["problem"].values))
            for problem in map(str, minima["problem"].values):
                own = minima.sel(problem=problem)
                half = 0.5 * own["minimum_lambda_max"].values[:, None] * rho[None, :] ** 2
                add(ax, "rise of the loss (loss unit)", {
                    f"S, {problem}": (rho, own["minimum_rise"].values, looks[problem]),
                    _QUADRATIC: (rho, half, _PREDICTED[_QUADRATIC]),
                })  # fmt: skip
            return
        own = groups[name]
        rho = own["worst_l2_radius"].values
        found = own["worst_l2"].sel(point=FOUND).transpose("seed", ...).values
        half = 0.5 * own["at_lambda_max"].sel(point=FOUND).values[:, None] * rho[None, :] ** 2
        slope = own["gradient_norm"].values[:, None] * rho[None, :]
        add(ax, f"rise of the loss ({own['worst_l2'].attrs['units']})", {
            "S, networks": (rho, found, figures.Style("#0072B2", "o", "-")),
            _QUADRATIC: (rho, half, _PREDICTED[_QUADRATIC]),
            _BOUND: (rho, slope + half, _PREDICTED[_BOUND]),
        })  # fmt: skip

    figure = figures.panels(
        names, draw, columns=min(3, len(names)), width=3.0, height=2.5, share_x=False, share_y=False
    )
    figures.legend(figure)
    figures.note(
        figure,
        f"{figures.count_note(notes)} S of networks is what the search found, a lower bound; with a "
        "gradient, the quadratic model's own S lies between ½ λmax ρ² and the dashed bound.",
    )
    return figure


_QUADRATIC, _BOUND = "½ λmax ρ²", "‖∇L‖ ρ + ½ λmax ρ²"
_PREDICTED = {
    _QUADRATIC: figures.Style("#262626", "", (0, (1, 1.5))),
    _BOUND: figures.Style("#D55E00", "", (0, (4, 2))),
}


def draw_rescaling(result: xr.Dataset) -> Figure:
    """Draw each measure's ratio against α where it changes, and its largest change where it should not."""
    rows = lanes(result)
    columns = sorted([*points(rows, "layers"), (FOUND, 1.0)], key=lambda point: point[1])
    others = tuple(measure for measure in MEASURES if measure not in EXPECTED)
    looks = figures.categorical([*(measure.name for measure in others), "Keskar φ"])
    curves: dict[Hashable, figures.Curve] = {}
    for measure in others:
        estimates = [mean_ratio(rows, ratios(rows, measure, label)) for label, _ in columns]
        curves[measure.name] = figures.Curve.from_estimates(
            [factor for _, factor in columns], estimates, line="geometric mean",
            band="95 % t-intervals of the logarithm",
        )  # fmt: skip
    curves |= _keskar_curve(result)
    changes = {
        measure.name: np.concatenate(
            [ratios(rows, measure, label) for label, factor in columns if factor != 1.0]
        )
        for measure in EXPECTED
    }

    def draw(ax: Any, title: str) -> None:
        if title != _CHANGES:
            figures.curve_by_group(
                ax, curves, xlabel="factor α of the first layer", ylabel="measure after / before",
                yscale="log", styles=looks,
            )  # fmt: skip
            figures.reference_line(ax, 1.0, "unchanged")
            return
        _draw_changes(ax, changes)

    figure = figures.panels(
        ["not made to be invariant", _CHANGES], draw, columns=2, width=3.8, height=3.2,
        share_x=False, share_y=False,
    )  # fmt: skip
    figures.legend(figure)
    figures.note(
        figure,
        f"Left: {figures.count_note(curves)} Right: the largest change of any network at any α; at most "
        f"{INVARIANT:g} counts as invariant, and no change at all is drawn at "
        f"{format_number(_FLOOR, digits=1)}.",
    )
    return figure


_CHANGES = "made to be invariant"
_FLOOR = 1e-16  # what is rounded to 64 bits differs by more than this, or not at all


def _draw_changes(ax: Any, changes: dict[str, np.ndarray]) -> None:
    """Draw the largest |ratio − 1| of each measure, a row a measure."""
    for place, values in enumerate(changes.values()):
        finite = np.abs(values[np.isfinite(values)] - 1)
        if finite.size:
            ax.plot(
                max(finite.max(), _FLOOR), place, marker="o", ms=5.5, color="#02456f", ls="none"
            )
    ax.set_xscale("log")
    figures.reference_line(ax, INVARIANT, "invariant up to here", axis="x")
    low, high = ax.get_xlim()
    ax.set_xlim(min(low, _FLOOR / 2), max(high, 3 * INVARIANT))
    ax.set_yticks(range(len(changes)), list(changes))
    ax.set_ylim(len(changes) - 0.4, -0.6)
    ax.set_xlabel("largest |after / before − 1|")


def _keskar_curve(result: xr.Dataset) -> dict[Hashable, figures.Curve]:
    try:
        (_, (rows, by_point)) = next(iter(keskar_ratios(result).items()))
    except NotDecidable:
        return {}
    known = {
        float(label.removeprefix("layers × ")): values
        for label, values in by_point.items()
        if label != FOUND
    }
    if not known:
        return {}
    known[1.0] = by_point[FOUND]
    estimates = [mean_of_trials(rows, known[factor]) for factor in sorted(known)]
    return {
        "Keskar φ": figures.Curve.from_estimates(
            sorted(known),
            estimates,
            line="geometric mean",
            band="95 % t-intervals of the logarithm",
        )
    }


def draw_scatter(result: xr.Dataset) -> Figure:
    """Draw measures against test error at equal training loss, with rank correlations."""
    if matched(result) is None:
        raise NotDecidable("no lane stopped at the target loss")
    rows = lanes(result)
    rows = rows.isel(
        lane=np.flatnonzero(np.char.startswith(rows["arm"].values.astype(str), MATCHED))
    )
    diverged = rows["diverged"].values
    dropped = {
        "diverged": diverged,
        "missed the target": ~paired_cells.usable(rows).values & ~diverged,
    }
    group = [
        f"{arm.split('-', 1)[1].replace('-', ' ')}, B = {size}"
        for arm, size in zip(map(str, rows["arm"].values), rows["batch_size"].values, strict=True)
    ]
    drawn = rows["drawn_point"].values.astype(int)
    chosen = {
        LAMBDA.name: (LAMBDA, False),
        "λmax, rescaled at random": (LAMBDA, True),
        **{m.name: (m, False) for m in MEASURES if m.variable in _SCATTERED},
    }
    notes: dict[str, str] = {}
    # An arm looks as it does in the other figures.
    looks = figures.categorical(
        dict.fromkeys([*(name for own in _groups(result).values() for name in own), *group])
    )
    legends: list[Any] = []

    def draw(ax: Any, name: str) -> None:
        measure: Measure = chosen[name][0]
        place = drawn if chosen[name][1] else np.zeros_like(drawn)
        values = measure.values(rows)[np.arange(len(place)), place]
        found, notes[name] = figures.scatter_measures(
            ax, values, 100 * rows["test_error"].values, group,
            xlabel=f"{name} ({_short(rows[measure.variable].attrs['units'])})",
            ylabel="test error (%)", seed=rows["seed"].values, styles=looks,
            dropped=dropped,
        )  # fmt: skip
        legends[:] = found

    figure = figures.panels(
        list(chosen), draw, columns=2, width=3.4, height=2.5, share_x=False, share_y=True
    )
    for one in legends:
        figures.legend(figure, one.handles, title=one.title, order=[str(name) for name in looks])
    figures.note(figure, figures.joint_note(notes))
    return figure


_SCATTERED = ("adaptive_worst_l2", "at_relative_flatness")

DRAWINGS = (
    Drawing(
        "rescaling", "Measures under rescaling of the first and last layer, an identical function: by which "
        "factor those change that were not made to be invariant, and how little the others do.",
        draw_rescaling,
    ),
    Drawing(
        "rise", "Worst rise of the loss within a radius: around true minima, where it is ½ λmax ρ², and "
        "where training ended, where the gradient is not zero.", draw_rise,
    ),
    Drawing("spectrum", "Largest Hessian eigenvalues by rank.", draw_spectrum),
    Drawing(
        "test-error", "Measures against test error at equal training loss.", draw_scatter,
    ),
)  # fmt: skip
