"""Figures and methods of the NTK-prediction study."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.ntk_prediction.rows import by_width, first, last, mean, worst
from implicit_bias.studies.ntk_prediction.tables import arms_of
from implicit_bias.studies.ntk_prediction.tables import tables as tables

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

METHODS = """One network, in the NTK parameterisation and on the squared loss ½ ‖f − y‖², is trained at
several widths by gradient descent on all examples of a lane, which each seed redraws with the initial
weights. All lanes have one step size, a fraction of 2n/λmax of the infinite network's kernel on the
pool, and so equal times at equal updates. The arm centred trains f(θ) − f(θ₀), which starts at zero;
plain trains f itself; linearised trains the tangent of centred at θ₀.

At updates that are evenly spaced in log time, outputs on test examples are compared with kernel
gradient descent from the lane's own initial outputs after as many updates, in closed form: with the
network's initial tangent kernel, of all pairs of examples and outputs, and with the infinite network's.
Further with kernel gradient flow, with that flow without the factor 1/n that the mean over examples
brings, with ridge regression at the best of sixty ridges for each lane and probe, and with ridgeless
regression. Differences are mean squares over test examples and outputs. Powers of the width are fitted
seed by seed and averaged.

The published exercise is run as specified, at four choices of what it leaves open. Published scripts are
run with their own generator: seed 0 has their numbers, others are more of the same. Ends of descent
are found by iteration in double precision and held against closed forms."""


POWERS = {"−1": -1.0, "−1/2": -0.5, "−3/2": -1.5, "−3/4": -0.75}
"""Powers of the width that lines are drawn for."""

DOTS: dict[str, Any] = {
    "−1": (0, (2, 2)),
    "−1/2": (0, (2, 2)),
    "−3/2": (0, (6, 2)),
    "−3/4": (0, (6, 2)),
}
"""How these lines look."""


def draw_widths(result: xr.Dataset) -> Figure:
    """Draw the difference from both kernels' predictions against the width, a panel each."""
    figure = _against_width(
        result,
        {
            "infinite kernel, mean over time": ("infinite", mean, "−1"),
            "own initial kernel, largest over time": ("own", worst, "−3/2"),
        },
        "mean squared difference\n(squared output)",
    )
    if "linearised" in arms_of(result):
        largest = np.nanmax(by_width(result, "linearised", "own", worst).values, initial=0.0)
        figures.note(
            figure,
            f"Linearised networks are within {largest:.1e} of their own kernel's prediction.",
        )
    return figure


def draw_kernels(result: xr.Dataset) -> Figure:
    """Draw how far kernels are from their limit and from their start against the width."""
    return _against_width(
        result,
        {
            "from K∞, at the start": ("kernel_error", first, "−1/2"),
            "from K₀, at the end": ("kernel_change", last, "−3/4"),
        },
        "relative difference of kernels",
    )


def _against_width(
    result: xr.Dataset, shown: dict[str, tuple[str, Any, str]], label: str
) -> Figure:
    arms = arms_of(result)
    drawn: dict[Hashable, figures.Curve] = {}
    looks = figures.categorical(arms)

    def draw(ax: Any, title: str) -> None:
        variable, reduce, power = shown[title]
        curves: dict[Hashable, figures.Curve] = {}
        for arm in arms:
            if arm == "linearised" and variable in ("own", "kernel_change"):
                continue  # Only rounding is left there.
            if variable == "kernel_error" and curves:
                continue  # The arms' initial kernels are the same.
            grid = by_width(result, arm, variable, reduce)
            curves[arm] = figures.Curve.from_values(
                grid.widths, grid.values, summary="geometric mean", bounds=_bounds(grid.values)
            )
        figures.curve_by_group(
            ax, curves, xlabel="width", ylabel=label, styles=looks, xscale="log", yscale="log"
        )
        for curve in list(curves.values())[:1]:
            line = curve.centre[0] * (curve.x / curve.x[0]) ** POWERS[power]
            ax.plot(curve.x, line, color="#6b6b6b", lw=1.0, ls=DOTS[power], zorder=1.5,
                    label=f"power {power} of the width")  # fmt: skip
        drawn.update({f"{title}, {arm}": curve for arm, curve in curves.items()})

    figure = figures.panels(shown, draw, columns=2, width=3.6, height=2.9, share_y=False)
    figures.legend(figure)
    figures.note(figure, figures.count_note(drawn))
    return figure


def draw_course(result: xr.Dataset) -> Figure:
    """Draw the difference from both kernels' predictions against time, a shade a width."""
    lanes = result.isel(lane=np.flatnonzero(result["arm"].values == _main(result)))
    lanes = lanes.assign(width_of_lane=lanes["hidden"].astype(int))
    drawn: dict[Hashable, figures.Curve] = {}
    titles = {"own initial kernel": "log_own", "infinite kernel": "log_infinite"}
    looks = figures.ordered(sorted({int(width) for width in lanes["hidden"].values}))

    def draw(ax: Any, title: str) -> None:
        curves = figures.curves(
            lanes, titles[title], x="log_step", by="width_of_lane", summary="geometric mean",
            bounds=_bounds(lanes[titles[title]].values[:, 1:]),
        )  # fmt: skip
        kept = {group: _after_start(curve) for group, curve in curves.items()}
        figures.curves_with_bands(
            ax, kept, xlabel="updates", ylabel="mean squared difference\n(squared output)",
            xscale="log", yscale="log", label="width {}", styles=looks,
        )  # fmt: skip
        drawn.update({f"{title}, width {group}": curve for group, curve in kept.items()})

    figure = figures.panels(titles, draw, columns=2, width=3.6, height=2.9)
    figures.legend(figure)
    figures.note(figure, f"Arm {_main(result)}. " + figures.count_note(drawn))
    return figure


def _bounds(values: np.ndarray) -> tuple[float, float]:
    """Return where bands are cut: of two seeds an interval may span hundreds of powers of ten."""
    seen = values[np.isfinite(values) & (values > 0)]
    return (float(seen.min()) / 100, float(seen.max()) * 100) if seen.size else (0.0, 1.0)


def _after_start(curve: figures.Curve) -> figures.Curve:
    """Leave out the start, where log time has no place and outputs are equal."""
    import dataclasses

    kept = curve.x > 0
    return dataclasses.replace(
        curve,
        **{
            name: getattr(curve, name)[kept]
            for name in ("x", "centre", "low", "high", "used", "total")
        },
        dropped={reason: count[kept] for reason, count in curve.dropped.items()},
    )


def draw_outputs(result: xr.Dataset) -> Figure:
    """Draw the widest networks' outputs at the end against both predictions."""
    widest = result["hidden"].max().item()
    arms = [arm for arm in arms_of(result) if arm != "linearised"] or arms_of(result)
    legends: list[Any] = []
    notes = []

    def draw(ax: Any, arm: str) -> None:
        chosen = (result["arm"].values == arm) & (result["hidden"].values == widest)
        lanes = result.isel(lane=np.flatnonzero(chosen & ~result["diverged"].values))
        f = lanes["log_outputs"].values[:, -1].ravel()
        points = {
            name: lanes[f"log_outputs_{name}"].values[:, -1].ravel() for name in ("infinite", "own")
        }
        words = {"infinite": "infinite kernel", "own": "own initial kernel"}
        y = np.concatenate([f, f])
        x = np.concatenate(list(points.values()))
        group = [words[name] for name in points for _ in range(f.size)]
        found, _ = figures.scatter_by_group(
            ax, x, y, group, xlabel="output predicted", ylabel="output of the network"
        )
        if not legends:
            legends.extend(found)
        ends = [float(np.nanmin(y)), float(np.nanmax(y))] if y.size else [0.0, 1.0]
        ax.plot(ends, ends, color="#6b6b6b", lw=1.0, ls=(0, (2, 2)), zorder=1.5)
        notes.append(f"{arm}: {f.size} outputs of {lanes.sizes['lane']} seeds")

    figure = figures.panels(arms, draw, columns=len(arms), width=3.2, height=3.0)
    figures.legend(figure, legends[0].handles if legends else None)
    figures.note(
        figure,
        f"Width {int(widest)}, after all updates, on the first test examples; " + "; ".join(notes)
        + ". Dashed: equal.",
    )  # fmt: skip
    return figure


def _main(result: xr.Dataset) -> str:
    """Return the arm that is drawn where there is room for one: the first of those run."""
    return arms_of(result)[0]


def _trained(result: xr.Dataset) -> bool:
    return bool(arms_of(result))


DRAWINGS = (
    Drawing(
        "widths", "Networks against kernel gradient descent at equal time, by width: with their own initial "
        "kernel, and with the infinite network's.", draw_widths, _trained,
    ),
    Drawing(
        "course", "The same difference in the course of training.", draw_course, _trained,
    ),
    Drawing(
        "outputs", "Outputs of the widest networks at the end against both predictions.", draw_outputs,
        _trained,
    ),
    Drawing(
        "kernels", "How far tangent kernels are from their limit before training, and from their start "
        "after it.", draw_kernels, _trained,
    ),
)  # fmt: skip
