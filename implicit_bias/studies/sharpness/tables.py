"""Tables of the sharpness study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import PERCENT, Estimate, mean_interval
from implicit_bias.results.table import Table, format_number, make_table
from implicit_bias.studies import paired_cells
from implicit_bias.studies.rows import geometric_mean
from implicit_bias.studies.sharpness.points import FOUND
from implicit_bias.studies.sharpness.rules_lanes import correlation
from implicit_bias.studies.sharpness.select import (
    INVARIANT,
    MEASURES,
    STAGE,
    at_found,
    cell,
    lanes,
    mean_ratio,
    points,
    ratios,
    trial,
)
from implicit_bias.studies.sharpness.settings import ARMS, MATCHED, STEPS, arm

if TYPE_CHECKING:
    import xarray as xr

_INTERVALS = "[95 % t-intervals over seeds, of the logarithm]"


def tables(result: xr.Dataset) -> list[Table]:
    """Return the tables of a result: arms, rescaling, other functions, what survives, minima."""
    makers = (arm_table, rescaling_table, scaling_table, survival_table, minimum_table)
    made = []
    for maker in makers:
        try:
            made.append(maker(result))
        except NotDecidable:
            continue
    return made


def cells(result: xr.Dataset) -> Iterator[tuple[str, int, xr.Dataset]]:
    """Iterate over arm, batch size and its lanes by seed, diverged ones included."""
    rows = result.isel(lane=np.flatnonzero(result["stage"].values == STAGE))
    for name in ARMS:
        if name in paired_cells.arms(rows):
            for size in paired_cells.batch_sizes(rows, name):
                yield name, size, paired_cells.cell(rows, name, size)


def arm_table(result: xr.Dataset) -> Table:
    """Return what training found in each arm and batch size."""
    rows: list[list[Any]] = []
    for name, size, own in cells(result):
        good = paired_cells.usable(own)
        lost = int((~good).sum())
        found = own.sel(point=FOUND)
        rows.append(
            [
                name,
                size,
                float(own["step_size"][0]),
                f"{int(good.sum())}" + (f" (−{lost})" if lost else ""),
                float(own["epochs"].where(good).mean()),
                geometric_mean(own["train_loss"].where(good)),
                mean_interval(100 * own["test_error"].where(good).values, bounds=PERCENT),
                geometric_mean(found["at_lambda_max"].where(good)),
                mean_interval(own["lambda_min"].where(good).values),
                mean_interval(100 * own["negative_share"].where(good).values, bounds=PERCENT),
                geometric_mean(found["at_trace"].where(good)),
                geometric_mean(own["gradient_norm"].where(good)),
            ]
        )
    return make_table(
        ["arm", "batch", "η", "seeds", "epochs", "train loss", "test error (%)", "λmax", "λmin",
         "negative (%)", "trace", "‖∇L‖"],
        rows,
        caption="What training found: geometric means, of test error, λmin and negative share means [95 % "
        "t-intervals over seeds]; losses in nats",
        notes=("seeds: lanes that count (− those that diverged or missed the target loss); negative: Σ |λ| "
        "over "
               "λ < 0 as a share of Σ |λ|",),
    )  # fmt: skip


def rescaling_table(result: xr.Dataset) -> Table:
    """Return every measure under rescaling of the layers, which changes no output."""
    rows = lanes(result)
    columns = [*points(rows, "layers"), *points(rows, "stretched")]
    made: list[list[Any]] = []
    for measure in MEASURES:
        found = [ratios(rows, measure, label) for label, _ in columns]
        own = [
            values for values, (label, _) in zip(found, columns, strict=True) if "layers" in label
        ]
        made.append([
            _named(measure, rows), *(mean_ratio(rows, values) for values in found), *_invariant(own),
        ])  # fmt: skip
    made += _keskar_rows(result, [label for label, _ in columns])
    return make_table(
        ["measure", *(label for label, _ in columns), "largest change", "invariant"],
        made,
        caption="Every measure under Dinh's rescaling, an identical function: value after over value before, "
        f"geometric means {_INTERVALS}",
        notes=(
            "layers × α: the first layer multiplied by α, the last divided by it. L(ψ/c): coordinates "
            "ψ = cθ for all parameters; also the same function, and not counted in the last two "
            "columns",
            f"largest change: largest |ratio − 1| of any lane and α; invariant: at most {INVARIANT:g} (fixed "
            "beforehand); ratios of no positive value are left out",
            "in brackets: the radius, the middle one of each sweep",
        ),
    )


def _named(measure: Any, rows: xr.Dataset) -> str:
    radius = measure.radius(rows)
    return measure.name if radius is None else f"{measure.name} ({radius:g})"


def _invariant(found: list[np.ndarray]) -> tuple[float | str, str]:
    """Return the largest deviation from 1, and whether it is small; a missing ratio decides nothing."""
    every = np.concatenate(found) if found else np.full(1, np.nan)
    if not np.isfinite(every).any():
        return "n/a", "n/a"
    worst = float(np.nanmax(np.abs(every - 1)))
    if worst > INVARIANT:
        return format_number(worst, digits=2), "no"
    return format_number(worst, digits=2), "yes" if np.isfinite(every).all() else "n/a"


def keskar_ratios(result: xr.Dataset) -> dict[tuple[str, float], tuple[xr.Dataset, dict[str, Any]]]:
    """Return Keskar's φ over φ where training ended, by variable and ε: rows, and ratios by point."""
    rows = trial(result, "keskar")
    found: dict[tuple[str, float], tuple[xr.Dataset, dict[str, Any]]] = {}
    for name in ("phi", "phi_subspace"):
        for epsilon in rows["epsilon"].values:
            data = rows[name].sel(epsilon=epsilon)
            with np.errstate(all="ignore"):
                by_point = {
                    str(label): (data.sel(keskar_point=label) / data.sel(keskar_point=FOUND)).values
                    for label in rows["keskar_point"].values
                }
            found[name, float(epsilon)] = rows, by_point
    return found


def _keskar_rows(result: xr.Dataset, labels: list[str]) -> list[list[Any]]:
    try:
        measured = keskar_ratios(result)
    except NotDecidable:
        return []
    names = {"phi": "Keskar φ", "phi_subspace": "Keskar φ, random subspace"}
    made: list[list[Any]] = []
    for (name, epsilon), (rows, by_point) in measured.items():
        cells: list[Any] = []
        for label in labels:
            values = by_point.get(label)
            cells.append("n/a" if values is None else mean_of_trials(rows, values))
        own = [values.ravel() for label, values in by_point.items() if label != FOUND]
        made.append([f"{names[name]} ({epsilon:g})", *cells, *_invariant(own)])
    return made


def mean_of_trials(rows: xr.Dataset, values: np.ndarray) -> Estimate:
    """Return the geometric mean over seeds of an experiment's ratios, those of one seed averaged first."""
    with np.errstate(all="ignore"):
        logs = np.log(np.where(values > 0, values, np.nan)).reshape(rows.sizes["lane"], -1)
    return geometric_mean(np.exp(np.mean(logs, axis=1)))


def scaling_table(result: xr.Dataset) -> Table:
    """Return every measure at multiples of the parameters: other functions."""
    rows = lanes(result)
    columns = points(rows, "scaled")
    made: list[list[Any]] = []
    for measure in MEASURES:
        values = (mean_ratio(rows, ratios(rows, measure, label)) for label, _ in columns)
        made.append([_named(measure, rows), *values])
    loss = rows["at_loss"] / rows["at_loss"].sel(point=FOUND)
    made.append(["loss", *(mean_ratio(rows, _positive(loss.sel(point=c))) for c, _ in columns)])
    return make_table(
        ["measure", *(label for label, _ in columns)],
        made,
        caption=f"Every measure at cθ, another function: value there over value at θ, geometric means "
        f"{_INTERVALS}",
        notes=("no law ties these to c: compare L(ψ/c) in the table above, where λmax is divided by c²; "
        "lanes whose "
               "value there vanishes in rounding are left out",),
    )  # fmt: skip


def _positive(values: xr.DataArray) -> np.ndarray:
    found = values.values.astype(float)
    return np.where(found > 0, found, np.nan)


def survival_table(result: xr.Dataset) -> Table:
    """Return what each measure says of batch, step and test error at equal loss, and whether it stands."""
    made: list[list[Any]] = []
    rows = lanes(result)
    for measure in MEASURES:
        get = at_found(measure)
        small, large = (cell(result, arm(MATCHED, STEPS[1]), size) for size in (0, 1))
        gentle = cell(result, arm(MATCHED, STEPS[0]), 0)
        made.append(
            [
                _named(measure, rows),
                paired_cells.ratio(large, small, get, 0.0).estimate(0.95),
                paired_cells.ratio(small, gentle, get, 0.0).estimate(0.95),
                correlation(result, measure, drawn=False),
                correlation(result, measure, drawn=True),
            ]
        )
    return make_table(
        ["measure", "large / small batch", "large / small step", "rank correlation with test error",
         "the same, layers rescaled"],
        made,
        caption="At equal training loss: what each measure says of batch and step, and its rank correlation "
        "with test error, before and after the layers of each network are rescaled at random [95 %, "
        "each alone]",
        notes=("ratios: paired by seed, the batch at the large step and the step at the small batch; "
        "correlations: "
               "Spearman, over all lanes that stopped at the target loss, seeds resampled",),
    )  # fmt: skip


def minimum_table(result: xr.Dataset) -> Table:
    """Return the expansion of S(ρ) at true minima."""
    rows = trial(result, "minimum")
    made: list[list[Any]] = []
    for problem in rows["problem"].values:
        own = rows.sel(problem=problem)
        condition = own["minimum_condition"].values
        made.append(
            [
                str(problem),
                float(np.median(condition)),
                float(own["minimum_loss"].mean()),
                mean_interval(own["minimum_slope"].values),
                mean_interval(own["minimum_rest_slope"].values),
                mean_interval(own["minimum_ratio"].isel(rho=0).values),
                mean_interval(own["model_slope"].values),
            ]
        )
    smallest = float(rows["rho"][0])
    return make_table(
        ["minimum", "κ", "loss", "slope of S", "slope of S − ½λρ²", f"S / (½λρ²) at {smallest:g}",
         "slope of the model's error"],
        made,
        caption="Worst rise S(ρ) around true minima, float64: means [95 % t-intervals over seeds]; κ is a "
        "median",
    )  # fmt: skip
