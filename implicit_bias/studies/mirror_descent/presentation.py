"""Figures and methods of the mirror-descent study."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.results.statistics import mean_interval
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.mirror_descent.coordinates import DESIGNS, NORMS
from implicit_bias.studies.mirror_descent.coordinates import METHODS as ALGORITHMS
from implicit_bias.studies.mirror_descent.exercise import SOLVERS
from implicit_bias.studies.mirror_descent.limits import DESCENDED, POWERS, SCALES
from implicit_bias.studies.rows import by_seed, if_run, seeds_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

METHODS = """Everything is least squares in double precision, with full gradients, by the package's own
optimisers; nothing of the data is used. Each seed draws its own problems.

Mirror descent: Gaussian inputs, fewer examples than weights, and labels that a uniformly drawn point of
the simplex makes, so that solutions on simplex and orthant exist. Runs end where ‖Xw − y‖ is small
enough; their step size is half the inverse of the largest curvature in the potential's metric at the
solution, and does not change where they go. Solutions are computed independently: Bregman projections, of
which the largest entropy is one, by Newton's method on the dual; the least ‖w‖₁ by linear programming.
The excess of ‖w‖₁ over the least is taken from the programme's dual, without cancellation. The potential
of the p-norm is Σ|w|ᵖ/p, that of the entropy Σ w log w − w.

Coordinate descent: columns have length 1 and labels a least ‖w‖₁ of 1; nothing is noisy; all begin at
zero. An update of size 1 is exact on its coordinate. ε-steps go on for 4/ε updates and then hop to and
fro by ε. The condition is measured for each data set: whether any |w_i| falls along the lasso's path, by
least angle regression. Paths are compared at equal ‖w‖₁, from 10 to 95 % of the least.

Exercise C.15 does not say how true weights are drawn: they are normal in size, sparse or dense, with the
sum that is published for the solution, or with sum 1, which the normalised update needs. Its update is
read as it is written, divided by the sum, and as its hint has it, unnormalised. With all runs as long,
small weights are where exponentiated gradient is slow. The script is repeated as it is, with its seed for
the study's seed 0; beside it, the same labels by weights of both signs as a difference of positive ones."""

GREY = "#6b6b6b"
LOOKS = figures.categorical(["projection", "descent", *NORMS])
NORM_LOOKS: dict[Hashable, figures.Style] = {norm: LOOKS[norm] for norm in NORMS}
SOLVER_LOOKS = figures.categorical(SOLVERS)
SHOWN = 6
"""Weights whose path is drawn."""


def draw_scale(result: xr.Dataset) -> Figure:
    """Draw the excess of ‖w‖₁ against the start of entropic descent, and against the exponent of p-norms."""
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        if name.startswith("entropy"):
            made: dict[Hashable, figures.Curve] = {
                which: figures.Curve.from_values(
                    at, by_seed(result, "limits", f"{stem}_excess"), summary="geometric mean"
                )
                for which, stem, at in (
                    ("projection", "scale", SCALES), ("descent", "descended", DESCENDED)
                )
            }  # fmt: skip
            near = {key: _within(curve, 1e-17) for key, curve in made.items()}
            figures.curve_by_group(
                ax, near, xlabel="all weights at the start, α", ylabel="‖w‖₁/least − 1", xscale="log",
                yscale="log", styles=LOOKS, label="{}",
            )  # fmt: skip
            cost = by_seed(result, "limits", "least_cost")
            line = near["projection"]
            # The geometric mean's own limit: a mean of exponents.
            x = np.array([line.x[0], 1e-10])
            ax.plot(
                x, line.centre[0] * (x / x[0]) ** np.nanmean(cost), color=GREY, lw=1.1, ls=(0, (4, 2)),
                label="slope: mean least reduced cost",
            )  # fmt: skip
        else:
            made = {
                norm: figures.Curve.from_values(
                    POWERS, by_seed(result, "limits", variable), summary="mean"
                )
                for norm, variable in (("1-norm", "power_l1"), ("maximum norm", "power_linf"))
            }
            figures.curve_by_group(
                ax, made, xlabel="p", ylabel="norm/least", xscale="log", yscale="log",
                styles=NORM_LOOKS, label="{}",
            )  # fmt: skip
            ax.axhline(1, color=GREY, lw=0.8)
        shown.update(made)

    figure = figures.panels(
        ["entropy, from α", "p-norm, from zero"], draw, columns=2, width=3.5, height=2.7,
        share_x=False, share_y=False,
    )  # fmt: skip
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(shown)
        + " Least: over solutions w ≥ 0 on the left, all solutions on the "
        "right. Projections from smaller α than 1e-32 are in the table.",
    )
    return figure


def _within(curve: figures.Curve, least: float) -> figures.Curve:
    """Return a curve where its x is from 1e-32 on and its line above a number."""
    keep = (curve.x >= 1e-32) & (curve.centre > least)
    names = ("x", "centre", "low", "high", "used", "total")
    return replace(curve, **{name: getattr(curve, name)[keep] for name in names})


def draw_paths(result: xr.Dataset) -> Figure:
    """Draw the lasso's path and that of ε-steps for one data set of each design."""
    seed = int(seeds_of(result)[0])
    epsilon = float(result["epsilon"].values[-1])
    colours = figures.categorical(range(SHOWN))

    def draw(ax: Any, name: str) -> None:
        place = list(DESIGNS).index(name)
        lasso, steps = (
            by_seed(result, "coordinates", f"{which}_shown")[0, place]
            for which in ("lasso", "epsilon")
        )
        reach = result["reach"].values
        order = np.argsort(-np.abs(lasso).max(axis=0))[:SHOWN]
        for number, weight in enumerate(order):
            if np.abs(lasso[:, weight]).max() < 1e-9:
                continue
            colour = colours[number].colour
            ax.plot(
                reach,
                lasso[:, weight],
                color=colour,
                lw=1.6,
                label="lasso" if number == 0 else None,
            )
            ax.plot(
                reach, steps[:, weight], color=colour, ls="none", marker="o", ms=3.4, mfc="white",
                label=f"ε-steps, ε = {epsilon:g}" if number == 0 else None,
            )  # fmt: skip
        fall = by_seed(result, "coordinates", "path_fall")[0, place, 0]
        ax.set_xlabel("‖w‖₁/least of an interpolator")
        ax.set_ylabel("weight/least ‖w‖₁")
        ax.axhline(0, color=GREY, lw=0.8)
        ax.text(0.03, 0.03, f"falls: {fall:.2g}", transform=ax.transAxes, fontsize=8)

    figure = figures.panels(
        list(DESIGNS), draw, columns=3, width=2.7, height=2.5, share_x=True, share_y=False
    )
    figures.legend(figure)
    figures.note(
        figure,
        f"First data set of each design of seed {seed}; the {SHOWN} weights that are largest along the "
        "lasso's path, a colour each. Falls: sum of all falls of any |w_i| along that path, of its "
        "last ‖w‖₁; where there are none, ε-steps follow it as ε → 0.",
    )
    return figure


def draw_norms(result: xr.Dataset) -> Figure:
    """Draw the norms of where the methods end, over the least of an interpolator."""
    names = list(ALGORITHMS)

    def draw(ax: Any, name: str) -> None:
        place = list(DESIGNS).index(name)
        for shift, norm in zip((0.22, 0.0, -0.22), NORMS, strict=True):
            look = NORM_LOOKS[norm]
            for row, method in enumerate(names):
                values = by_seed(result, "coordinates", "method_norm", algorithm=method, norm=norm)
                found = mean_interval(values[:, place].mean(axis=1))
                y = len(names) - 1 - row + shift
                ax.plot(
                    [max(found.low, 0.5), found.high], [y, y], color=look.colour, lw=1.4, zorder=2
                )
                ax.plot(
                    found.value, y, ls="none", marker=look.marker, ms=5, color=look.colour,
                    mec="white", mew=0.5, zorder=3, label=norm if row == 0 else None,
                )  # fmt: skip
        ax.axvline(1, color=GREY, lw=0.9, zorder=1)
        ax.set_xscale("log")
        ax.set_xticks([1, 2, 5], ["1", "2", "5"])
        ax.minorticks_off()
        ax.set_yticks(range(len(names)), names[::-1])
        ax.set_xlabel("norm/least")

    figure = figures.panels(
        list(DESIGNS), draw, columns=3, width=2.6, height=2.9, share_x=True, share_y=True
    )
    figures.legend(figure)
    figures.note(
        figure,
        f"Means over n = {seeds_of(result).size} seeds, each over its data sets, with 95 % t-intervals. "
        "Least: of that norm over all w with Xw = y.",
    )
    return figure


def draw_exercise(result: xr.Dataset) -> Figure:
    """Draw what exercise C.15 asks for: weights of both methods against each other, and sorted."""
    kinds = {"sparse": "50 examples", "few examples": "10 examples"}
    panels = [f"{kind}: {what}" for kind in kinds.values() for what in ("weights", "sorted")]
    seed = int(seeds_of(result)[0])

    def draw(ax: Any, name: str) -> None:
        kind, _, what = name.partition(": ")
        truth = next(key for key, value in kinds.items() if value == kind)
        w = {
            solver: by_seed(result, "exercise", "exercise_weights", truth=truth, solver=solver)[0]
            for solver in SOLVERS
        }
        others = [
            solver
            for solver in SOLVERS
            if solver != "projected" and (truth != "few examples" or solver != "normalised")
        ]
        if what == "weights":
            top = 1.08 * max(np.max(w[one]) for one in ("projected", *others))
            ax.plot([0, top], [0, top], color=GREY, lw=0.9, zorder=1)
            for solver in others:
                look = SOLVER_LOOKS[solver]
                ax.plot(
                    w["projected"], w[solver], ls="none", marker=look.marker, ms=4.5,
                    color=look.colour, mfc="none", label=solver,
                )  # fmt: skip
            ax.set_xlabel("weight, projected")
            ax.set_ylabel("weight, exponentiated")
            return
        for solver in ("projected", *others):
            look = SOLVER_LOOKS[solver]
            ordered = np.maximum(np.sort(w[solver])[::-1], 1e-8)
            ax.plot(
                np.arange(1, ordered.size + 1), ordered, color=look.colour, ls=look.dash,
                marker=look.marker, ms=3, lw=1.1, label=solver,
            )  # fmt: skip
        figures.reference_line(ax, 0.01, "counts as zero below")
        ax.set_yscale("log")
        ax.set_xlabel("rank of the weight")
        ax.set_ylabel("weight")

    figure = figures.panels(
        panels, draw, columns=2, width=3.3, height=2.5, share_x=False, share_y=False
    )
    figures.legend(figure)
    figures.note(
        figure,
        f"First data set of seed {seed}, sparse true weights. Weights below 1e-8 are drawn there. The "
        "normalised update is left out where labels are not its own.",
    )
    return figure


DRAWINGS = (
    Drawing(
        "small-start", "Where mirror descent ends: ‖w‖₁ against the start of entropic descent, and norms "
        "against the exponent of p-norms.", draw_scale, if_run("limits"),
    ),
    Drawing(
        "l1-paths", "Coordinate descent in ε-steps beside the lasso, where its path is monotone and where "
        "not.", draw_paths, if_run("coordinates"),
    ),
    Drawing(
        "norms", "Norms of the solutions that six methods end at.", draw_norms, if_run("coordinates"),
    ),
    Drawing(
        "exercise", "Exercise C.15: weights of projected and exponentiated gradient, with more and with "
        "fewer examples than weights.", draw_exercise, if_run("exercise"),
    ),
)  # fmt: skip
