"""Figures of the sharpness study."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.results.claims import NotDecidable
from implicit_bias.studies import compare
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.sharpness.points import FOUND
from implicit_bias.studies.sharpness.rules_lanes import matched
from implicit_bias.studies.sharpness.select import (
    LAMBDA,
    MEASURES,
    Measure,
    lanes,
    mean_ratio,
    points,
    ratios,
    trial,
)
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
        good = own.isel(seed=np.flatnonzero(compare.usable(own).values))
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
    texts = dict.fromkeys(notes.values())
    if len(texts) > 1:
        texts = dict.fromkeys(f"{title}: {text}" for title, text in notes.items())
    figures.note(figure, " ".join(texts))
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
        figures.curves_with_bands(
            ax, curves, xlabel="radius ρ (parameter)", ylabel=label, xscale="log", yscale="log",
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
        f"gradient, "
        "the quadratic model's own S lies between ½ λmax ρ² and the dashed bound.",
    )
    return figure


_QUADRATIC, _BOUND = "½ λmax ρ²", "‖∇L‖ ρ + ½ λmax ρ²"
_PREDICTED = {
    _QUADRATIC: figures.Style("#262626", "", (0, (1, 1.5))),
    _BOUND: figures.Style("#D55E00", "", (0, (4, 2))),
}


def draw_rescaling(result: xr.Dataset) -> Figure:
    """Draw each measure's ratio against α, a line a measure."""
    rows = lanes(result)
    columns = sorted([*points(rows, "layers"), (FOUND, 1.0)], key=lambda point: point[1])
    others = tuple(measure for measure in MEASURES if measure not in EXPECTED)
    panels = {"not made to be invariant": others, "made to be invariant": EXPECTED}
    looks = figures.categorical(
        [*(m.name for m in others), "Keskar φ", *(m.name for m in EXPECTED)]
    )
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, title: str) -> None:
        curves: dict[Hashable, figures.Curve] = {}
        for measure in panels[title]:
            estimates = [mean_ratio(rows, ratios(rows, measure, label)) for label, _ in columns]
            curves[measure.name] = figures.Curve.from_estimates(
                [factor for _, factor in columns], estimates, line="geometric mean",
                band="95 % t-intervals of the logarithm",
            )  # fmt: skip
        if title == "not made to be invariant":
            curves |= _keskar_curve(result)
        figures.curve_by_group(
            ax, curves, xlabel="factor α of the first layer", ylabel="measure after / before",
            yscale="log", styles=looks,
        )  # fmt: skip
        figures.reference_line(ax, 1.0, "unchanged")
        shown.update(curves)

    figure = figures.panels(list(panels), draw, columns=2, width=3.6, height=3.2)
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


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
    rows = matched(result)
    if rows is None:
        raise NotDecidable("no lane stopped at the target loss")
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
    notes: list[str] = []
    looks = figures.categorical(dict.fromkeys(group))
    legends: list[Any] = []

    def draw(ax: Any, name: str) -> None:
        measure: Measure = chosen[name][0]
        place = drawn if chosen[name][1] else np.zeros_like(drawn)
        values = measure.values(rows)[np.arange(len(place)), place]
        found, text = figures.scatter_measures(
            ax, values, 100 * rows["test_error"].values, group,
            xlabel=f"{name} ({_short(rows[measure.variable].attrs['units'])})",
            ylabel="test error (%)", seed=rows["seed"].values, styles=looks,
        )  # fmt: skip
        legends[:] = found
        notes.append(f"{name}: {text}")

    figure = figures.panels(
        list(chosen), draw, columns=2, width=3.4, height=2.5, share_x=False, share_y=True
    )
    for one in legends:
        figures.legend(figure, one.handles, title=one.title)
    figures.note(figure, " ".join(notes))
    return figure


_SCATTERED = ("adaptive_worst_l2", "at_relative_flatness")

DRAWINGS = (
    Drawing(
        "rescaling", "Measures under rescaling of the first and last layer, an identical function.",
        draw_rescaling,
    ),
    Drawing(
        "rise", "Worst rise of the loss within a radius: around true minima, where it is ½ λmax ρ², and "
        "where "
        "training ended, where the gradient is not zero.", draw_rise,
    ),
    Drawing("spectrum", "Largest Hessian eigenvalues by rank.", draw_spectrum),
    Drawing(
        "test-error", "Measures against test error at equal training loss.", draw_scatter,
    ),
)  # fmt: skip
