"""How the batch-size study is read: tables, figures, methods."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import NOT_NEGATIVE, PERCENT, mean_interval
from implicit_bias.results.table import Table, format_number, make_table
from implicit_bias.studies import paired_cells
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.batch_size.settings import ARMS, TUNING
from implicit_bias.studies.rows import geometric_mean

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

METHODS = """\
Every lane is one training run. A seed decides the initial weights, the training and validation
examples drawn from the pool, the order of examples and all other draws, and the same seeds run in
every arm, so that comparisons are paired by seed. Batches are drawn without replacement in each
epoch; the last batch of an epoch is smaller where the batch size does not divide, and its
gradient is the mean over the examples it has.

Equal updates cost as many times the epochs as the batch size is larger, so these arms span a
factor of 16 in batch size at most. Matched lanes stop at the first evaluation of the full
training loss at or below the target; pairs with a lane that misses it are left out and counted.
Tuned lanes use, for each batch size and seed, the step size of least validation error; tuning is
part of what a seed repeats. Injected noise weights example i of a batch of B by 1/B + √((1/b −
1/B)/(B − 1)) (zᵢ − z̄), z standard normal, whose covariance is that of a batch of b.

λmax is the largest algebraic eigenvalue of the Hessian of the mean training loss, by Lanczos with
full reorthogonalisation stopped on the residual, and by power iteration as an independent second
method; the trace is Hutchinson's. Perturbations are averaged over random directions. The kernel
change compares the empirical tangent kernel on a fixed probe set with that of the initial
network; above 0.3 training counts as rich.

Intervals of verdicts hold simultaneously over all comparisons of the study at 95 % and agree with
Holm's procedure. Intervals of test-error differences cover new seeds and new test examples; those
in tables and figures cover new seeds only. Intervals of what cannot pass a bound (a proportion, a
loss, a norm) end there."""


def tables(result: xr.Dataset) -> list[Table]:
    """Return the tables of a result: arms, fit, geometry, differences."""
    return [arm_table(result), fit_table(result), geometry_table(result), difference_table(result)]


def arm_table(result: xr.Dataset) -> Table:
    """Return arms × batch sizes × step sizes."""
    rows = []
    for arm in [*_arms(result), *([TUNING] if TUNING in paired_cells.arms(result) else [])]:
        lanes = _arm(result, arm)
        sizes = paired_cells.batch_sizes(result, arm)
        steps = []
        for size in sizes:
            used = np.unique(lanes["step_size"].values[lanes["batch_size"].values == size])
            low, high = (format_number(float(step), digits=3) for step in (used[0], used[-1]))
            steps.append(low if len(used) == 1 else f"{low}–{high}")
        what = ARMS[arm].what if arm in ARMS else "grid of step sizes, for the tuned arms"
        rows.append(
            (
                arm,
                what,
                ", ".join(map(str, sizes)),
                steps[0] if len(set(steps)) == 1 else ", ".join(steps),
                len(np.unique(lanes["seed"].values)),
            )
        )
    return make_table(
        ["arm", "what is equal", "batch sizes", "step sizes", "seeds"], rows, caption="Arms"
    )


def fit_table(result: xr.Dataset) -> Table:
    """Return, for each arm and batch size, how well training ended."""
    rows: list[list[Any]] = []
    for arm, size, lanes, good in _cells(result):
        lost = int((~good).sum())
        rows.append(
            [
                arm,
                size,
                f"{int(good.sum())}" + (f" (−{lost})" if lost else ""),
                float(np.mean(lanes["epochs"].where(good))),
                mean_interval(100 * lanes["test_error"].where(good), bounds=PERCENT),
                mean_interval(lanes["train_loss"].where(good), bounds=NOT_NEGATIVE),
                mean_interval(lanes["loss_gap"].where(good)),
            ]
        )
    return make_table(
        ["arm", "batch", "seeds", "epochs", "test error (%)", "train loss", "test − train loss"],
        rows,
        caption="How well training ended: means [95 % t-intervals over seeds]; losses in nats",
        notes=("seeds: lanes that count (− those that diverged or missed the target loss)",),
    )


def geometry_table(result: xr.Dataset) -> Table:
    """Return, for each arm and batch size, the geometry of what training found."""
    rows: list[list[Any]] = []
    for arm, size, lanes, good in _cells(result):
        rows.append(
            [
                arm,
                size,
                float(np.mean(lanes["step_over_batch"])),
                geometric_mean(lanes["lambda_max"].where(good)),
                geometric_mean(lanes["lambda_max_times_step"].where(good)),
                geometric_mean(lanes["trace"].where(good)),
                mean_interval(lanes["relative_movement"].where(good), bounds=NOT_NEGATIVE),
                mean_interval(lanes["kernel_change"].where(good), bounds=NOT_NEGATIVE),
            ]
        )
    return make_table(
        ["arm", "batch", "η / B", "λmax", "λmax · η", "trace", "movement", "ΔK / K₀"],
        rows,
        caption="What training found: geometric means of λmax, λmax · η and trace, means of movement "
        "and kernel change [95 % t-intervals over seeds]",
        notes=("η is the step size, divided by 1 − momentum where there is momentum",),
    )


def _cells(
    result: xr.Dataset,
) -> Iterator[tuple[str, int, xr.Dataset, xr.DataArray]]:
    """Iterate over arm, batch size, its lanes by seed, and which of them count."""
    for arm in _arms(result):
        for size in paired_cells.batch_sizes(result, arm):
            lanes = paired_cells.cell(result, arm, size)
            yield arm, size, lanes, paired_cells.usable(lanes)


def difference_table(result: xr.Dataset) -> Table:
    """Return, for each arm, the largest batch size against the smallest, paired by seed."""
    rows: list[list[Any]] = []
    for arm in _arms(result):
        sizes = paired_cells.batch_sizes(result, arm)
        if len(sizes) < 2:
            continue
        large, small = (paired_cells.cell(result, arm, size) for size in (sizes[-1], sizes[0]))
        try:
            gap = paired_cells.error_gap(large, small, 0.0).estimate(0.95)
            sharp = paired_cells.ratio(large, small, "lambda_max", 0.0).estimate(0.95)
            trace = paired_cells.ratio(large, small, "trace", 0.0).estimate(0.95)
        except NotDecidable:
            continue
        moved = paired_cells.ratio(large, small, "relative_movement", 0.0).estimate(0.95)
        rows.append([arm, f"{sizes[-1]} : {sizes[0]}", gap.n, gap, sharp, trace, moved])
    return make_table(
        [
            "arm", "batch sizes", "pairs", "test error, large − small (points)",
            "λmax, large / small", "trace, large / small", "movement, large / small",
        ],
        rows,
        caption="Largest batch size against smallest, paired by seed [95 % intervals, each alone]",
        notes=("positive differences and ratios above 1: the small batch is better, or flatter",),
    )  # fmt: skip


def draw_error(result: xr.Dataset) -> Figure:
    """Draw test error against batch size, a panel an arm."""
    return _against_batch_size(result, "test_error", "test error (%)", factor=100, bounds=PERCENT)


def draw_sharpness(result: xr.Dataset) -> Figure:
    """Draw λmax against batch size, a panel an arm."""
    return _against_batch_size(
        result, "lambda_max", "λmax (nats/parameter²)", summary="geometric mean", yscale="log"
    )


def _against_batch_size(result: xr.Dataset, variable: str, label: str, **options: Any) -> Figure:
    yscale = options.pop("yscale", "linear")
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, arm: str) -> None:
        lanes = _marked(_arm(result, arm))
        curves = figures.curves(lanes, variable, x="batch_size", reasons=_REASONS, **options)
        shown[arm] = next(iter(curves.values()))
        figures.curve_by_group(
            ax, curves, xlabel="batch size (examples)", ylabel=label, yscale=yscale
        )

    figure = figures.panels(_arms(result), draw, share_x=True)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_perturbation(result: xr.Dataset) -> Figure:
    """Draw loss increase under filter-normalised perturbation, a shade a batch size, a panel an arm."""
    shown: dict[Hashable, figures.Curve] = {}
    wanted = ("epochs-fixed", "updates-fixed", "matched-fixed", "tuned")
    names = [arm for arm in _arms(result) if arm in wanted] or _arms(result)[:1]
    sizes = sorted({size for arm in names for size in paired_cells.batch_sizes(result, arm)})
    looks = figures.ordered(sizes)

    def draw(ax: Any, arm: str) -> None:
        lanes = _marked(_arm(result, arm))
        lanes = lanes.assign(rise=lanes["loss_change_filter"].mean("direction"))
        curves = figures.curves(
            lanes, "rise", x="filter_radius", by="batch_size", reasons=_REASONS,
            summary="mean",
        )  # fmt: skip
        figures.curve_by_group(
            ax, curves, xlabel="radius (relative to unit)", ylabel="training loss rise (nats)",
            xscale="log", yscale="log", styles=looks,
        )  # fmt: skip
        shown.update({f"{arm}, B = {size}": curve for size, curve in curves.items()})

    figure = figures.panels(names, draw)
    figures.legend(figure, title="batch size")
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_scatter(result: xr.Dataset) -> Figure:
    """Draw test error against λmax, a point a lane of the arms of plain SGD on clean labels."""
    names = [
        arm
        for arm in _arms(result)
        if not (ARMS[arm].momentum or ARMS[arm].noise or ARMS[arm].label_noise)
    ]
    lanes = _marked(result.isel(lane=np.flatnonzero(np.isin(result["arm"].values, names))))
    figure, ax = figures.axes(6.4, 4.2)
    legends, note = figures.scatter_by_group(
        ax,
        lanes["lambda_max"],
        100 * lanes["test_error"],
        lanes["arm"].values,
        lanes["batch_size"].values,
        xlabel="λmax (nats/parameter²)",
        ylabel="test error (%)",
        group_title="arm",
        shade_title="batch size",
        dropped={reason: lanes[name].values for reason, name in _REASONS.items()},
        xscale="log",
    )
    for entry in legends:
        figures.legend(figure, entry.handles, title=entry.title, side="right")
    figures.note(figure, note)
    return figure


def draw_training(result: xr.Dataset) -> Figure:
    """Draw training and test loss against epochs, a shade a batch size."""
    shown: dict[Hashable, figures.Curve] = {}
    wanted = ("epochs-fixed", "epochs-linear", "updates-fixed", "tuned")
    names = [arm for arm in _arms(result) if arm in wanted] or _arms(result)[:1]
    sizes = sorted({size for arm in names for size in paired_cells.batch_sizes(result, arm)})
    looks = figures.ordered(sizes)
    kinds = {"log_train_loss": "training loss (nats)", "log_test_loss": "test loss (nats)"}
    cells = {f"{arm}: {what.split(' (')[0]}": (arm, name, what)
             for name, what in kinds.items() for arm in names}  # fmt: skip

    def draw(ax: Any, title: str) -> None:
        arm, name, label = cells[title]
        lanes = _marked(_arm(result, arm))
        epochs = lanes["log_step"] * (lanes["epochs"] / lanes["updates"]).fillna(0)
        lanes = lanes.assign(log_epoch=epochs.round(6))
        curves = figures.curves(
            lanes, name, x="log_epoch", by="batch_size", reasons=_REASONS, summary="geometric mean"
        )
        figures.curves_with_bands(
            ax, curves, xlabel="epochs", ylabel=label, yscale="log", xscale="symlog", styles=looks
        )
        shown.update({f"{title}, B = {size}": curve for size, curve in curves.items()})

    figure = figures.panels(cells, draw, columns=len(names), share_x=False)
    figures.legend(figure, title="batch size")
    figures.note(figure, figures.count_note(shown))
    return figure


DRAWINGS = (
    Drawing("test_error", "Test error against batch size, one panel an arm.", draw_error),
    Drawing(
        "lambda_max", "Largest Hessian eigenvalue of the training loss against batch size, one panel "
        "an arm.", draw_sharpness,
    ),
    Drawing(
        "perturbation", "Rise of the training loss under filter-normalised random perturbations of the "
        "weights; radius relative to the norm of each unit's weights.", draw_perturbation,
    ),
    Drawing(
        "scatter", "Test error against λmax, one point a run of plain SGD on clean labels.", draw_scatter,
    ),
    Drawing("training", "Training and test loss during training.", draw_training),
)  # fmt: skip

_REASONS = {"diverged": "diverged", "missed the target": "missed"}


def _arms(result: xr.Dataset) -> list[str]:
    return [arm for arm in paired_cells.arms(result) if arm != TUNING]


def _arm(result: xr.Dataset, arm: str) -> xr.Dataset:
    return result.isel(lane=np.flatnonzero(result["arm"].values == arm))


def _marked(lanes: xr.Dataset) -> xr.Dataset:
    """Add which lanes missed their target loss."""
    return lanes.assign(missed=~paired_cells.usable(lanes) & ~lanes["diverged"])
