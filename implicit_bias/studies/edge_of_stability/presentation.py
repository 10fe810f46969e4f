"""Tables, figures and methods of the edge-of-stability study."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.results.table import Table, format_estimate, make_table
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.edge_of_stability.arms import ARMS
from implicit_bias.studies.edge_of_stability.claims import BAND, groups, judge_group

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

METHODS = """Full-batch arms use the whole training set of the lane in every update; each seed redraws it
with the initial weights. Sharpness is the largest eigenvalue of the Hessian of the mean training loss
at the iterate after the stated number of updates, by Lanczos stopped on the residual and started from
the last probe's eigenvector with a random part added.

Thresholds are those of a quadratic: 2/η for gradient descent, 2(1 + β)/η for heavy ball, and
(2 + 2β₁)/((1 − β₁)η) for the sharpness preconditioned by Adam's second moments. An arm counts as at
the edge where the geometric mean over seeds of the median over the last fifth of the run lies, with
its whole interval, within 0.9 and 1.15 of the threshold; intervals hold simultaneously over all arms
and step sizes of a run (Bonferroni).

Gradient descent goes to the edge only where the loss sharpens so far; a step size whose threshold lies
above what the run reaches stays below it. Nothing is claimed for stochastic gradients."""

_PLACES = {"at": "at the edge", "below": "below it", "above": "above it", "undecided": "undecided"}


def tables(result: xr.Dataset) -> list[Table]:
    """Return one row for each arm and step size."""
    cells = groups(result)
    level = 1 - 0.05 / max(1, len(cells))
    rows = []
    for (arm, step), lanes in cells.items():
        found = judge_group(lanes, level)
        good = ~lanes["diverged"].values
        loss = lanes["log_train_loss"].values[:, -1]
        products = (
            np.nanmean(lanes["log_sharpness_products"].values[:, 1:]) if good.any() else np.nan
        )
        rows.append(
            [
                arm,
                float(step),
                ARMS[arm].formula,
                float(lanes["threshold"][0]),
                f"{int(good.sum())}" + (f" (−{found['diverged']})" if found["diverged"] else ""),
                found["reached"],
                format_estimate(found["effect"], *found["interval"]),
                _PLACES[found["where"]],
                float(np.mean(loss[good])) if good.any() else np.nan,
                float(products),
            ]
        )
    return [
        make_table(
            ["arm", "η", "threshold", "value", "seeds", "reached it", "late sharpness / threshold",
             "where", "train loss", "products"],
            rows,
            caption="Sharpness over the last fifth of training, relative to the threshold: geometric mean "
            f"over seeds [{100 * level:.3g} % t-intervals of the logarithm, simultaneous at 95 %]",
            notes=(
                "seeds: lanes that count (− those that diverged); products: Hessian-vector products a probe",
                f"at the edge: the whole interval within {BAND[0]} and {BAND[1]}",
            ),
        )
    ]  # fmt: skip


def draw_sharpness(result: xr.Dataset) -> Figure:
    """Draw sharpness relative to the threshold against updates, a shade a step size, a panel an arm."""
    return _courses(result, "log_relative_sharpness", "sharpness / threshold", threshold=1.0)


def draw_loss(result: xr.Dataset) -> Figure:
    """Draw training loss against updates, a shade a step size, a panel an arm."""
    units = result["log_train_loss"].attrs["units"]
    return _courses(result, "log_train_loss", f"training loss ({units})")


def _courses(
    result: xr.Dataset, variable: str, label: str, threshold: float | None = None
) -> Figure:
    shown: dict[Hashable, figures.Curve] = {}
    arms = list(dict.fromkeys(str(arm) for arm in result["arm"].values))
    looks = figures.ordered(np.unique(result["step_size"].values))

    def draw(ax: Any, arm: str) -> None:
        lanes = result.isel(lane=np.flatnonzero(result["arm"].values == arm))
        curves = figures.curves(
            lanes, variable, x="log_step", by="step_size", summary="geometric mean",
            reasons={"diverged": "diverged"},
        )  # fmt: skip
        figures.curves_with_bands(
            ax, curves, xlabel="updates", ylabel=label, yscale="log", label="η = {:g}",
            styles=looks,
        )  # fmt: skip
        if threshold is not None:
            figures.reference_line(ax, threshold, "threshold")
        shown.update({f"{arm}, η = {step:g}": curve for step, curve in curves.items()})

    figure = figures.panels(arms, draw, columns=min(2, len(arms)), width=3.4, height=2.6)
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


DRAWINGS = (
    Drawing(
        "sharpness", "Sharpness relative to the threshold of stability during training, one panel an "
        "arm; Adam's is the preconditioned sharpness.", draw_sharpness,
    ),
    Drawing("loss", "Training loss, one panel an arm.", draw_loss),
)  # fmt: skip
