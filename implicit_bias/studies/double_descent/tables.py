"""Tables of the networks of the double-descent study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.table import Table, make_table
from implicit_bias.studies.double_descent.curves import peaks
from implicit_bias.studies.double_descent.features import FITS
from implicit_bias.studies.double_descent.linear import linear_tables
from implicit_bias.studies.double_descent.rows import (
    SWEEPS,
    at_values,
    controls,
    decayed,
    features,
    has_features,
    noises,
    remedies,
    threshold,
)
from implicit_bias.studies.rows import by_seed, has, values_of
from implicit_bias.studies.seed_means import geometric, percent

if TYPE_CHECKING:
    import xarray as xr


def tables(result: xr.Dataset) -> list[Table]:
    """Return the curves, the places of peaks, the controls, random features, and the linear part."""
    made = [
        _curve(result, arm, noise)
        for arm in ("width", "samples", "channels")
        if has(result, arm)
        for noise in reversed(noises(result, arm))
    ]
    if has(result, "width"):
        made += [_peaks(result), _controls(result)]
    if has_features(result):
        made.append(_features(result))
    if has(result, "scaling"):
        made.append(_scaling(result))
    return [*made, *linear_tables(result)]


def _curve(result: xr.Dataset, arm: str, noise: float) -> Table:
    names = (
        "train_error",
        "test_error",
        "stopped_test_error",
        "train_loss",
        "test_loss",
        "lambda_max",
    )
    along = values_of(result, arm, SWEEPS[arm])
    columns = {name: at_values(result, arm, name, label_noise=noise) for name in names}
    capacity = at_values(result, arm, "true_parameters", label_noise=noise)
    examples = at_values(result, arm, "examples", label_noise=noise)
    outputs = result["output"].size
    rows: list[list[Any]] = []
    for place, value in enumerate(along):
        train, test, stopped, fit, loss, sharp = (columns[name][:, place] for name in names)
        used = int(np.isfinite(test).sum())
        relative = np.nanmax(capacity[:, place] / examples[:, place] / outputs) if used else np.nan
        rows.append(
            [value, relative, used, percent(train), percent(test), percent(stopped), geometric(fit),
             geometric(loss), geometric(sharp)]
        )  # fmt: skip
    head = {"width": "width", "samples": "examples", "channels": "channels"}[arm]
    return make_table(
        [head, "parameters / nK", "seeds", "training error, %", "test error, %", "stopped early, %",
         "training loss", "test loss", "λmax"],
        rows,
        caption=f"Along {head}, {100 * noise:g} % label noise: means over seeds of errors [95 % t-intervals],"
        " geometric means of losses and λmax [95 % t-intervals of the logarithm]",
        notes=(
            "training errors and losses are on the noisy labels; stopped early: test error at the evaluation "
            "of least error on clean validation labels",
        ),
    )  # fmt: skip


def _peaks(result: xr.Dataset) -> Table:
    widths, predicted = values_of(result, "width", "hidden_width"), threshold(result)
    rows: list[list[Any]] = []
    for noise in reversed(noises(result)):
        for name, variable in (("test error", "test_error"), ("test loss", "test_loss")):
            found = peaks(at_values(result, "width", variable, label_noise=noise))
            there = np.isfinite(found)
            at_width = np.where(there, widths[np.nan_to_num(found).astype(int)], np.nan)
            each = ", ".join("none" if np.isnan(width) else f"{width:g}" for width in at_width)
            ratio = geometric(at_width / predicted) if there.any() else "n/a"
            rows.append([f"{100 * noise:g} %", name, each, ratio])
    return make_table(
        ["label noise", "peak of", "at width, seed by seed", "relative to the prediction"],
        rows,
        caption=f"Where the curves peak; {predicted:.1f} hidden units have as many parameters as examples × "
        "outputs",
        notes=(
            "peak: where the smoothed curve stands highest above its least value at smaller widths, unless "
            "at the widest; relative: geometric mean over seeds [95 % t-interval of the logarithm], on "
            "the grid of widths",
        ),
    )  # fmt: skip


def _controls(result: xr.Dataset) -> Table:
    columns = remedies(result)
    chosen = decayed(result) if has(result, "decay") else None
    rows: list[list[Any]] = []
    for place, width in enumerate(controls(result)):
        row: list[Any] = [width, *(percent(values[:, place]) for values in columns.values())]
        if chosen is not None:
            row.append(float(np.median(chosen["weight_decay"][:, place])))
        rows.append(row)
    return make_table(
        ["width", *columns, *(["decay"] if chosen else [])],
        rows,
        caption="What removes or lowers the peak: test error, % [95 % t-intervals over seeds], at the "
        "highest label noise",
        notes=("decay: median of those chosen",) if chosen else (),
    )


def _features(result: xr.Dataset) -> Table:
    loss, error = (features(result, f"feature_test_{name}") for name in ("loss", "error"))
    rows: list[list[Any]] = []
    for place, size in enumerate(result["feature_count"].values):
        row: list[Any] = [int(size)]
        for fit in range(len(FITS)):
            values = loss[:, fit, place]
            row += [
                f"{np.median(values):.3g} ({values.min():.3g} to {values.max():.3g})",
                percent(error[:, fit, place]),
            ]
        rows.append(row)
    heads = [f"{fit}, {what}" for fit in FITS for what in ("loss", "error, %")]
    return make_table(
        ["features", *heads],
        rows,
        caption="Least squares on random features: test loss, median over seeds (least to largest), and test "
        "error [95 % t-intervals]",
        notes=("near as many features as examples the loss has heavy tails: medians, no means",),
    )


def _scaling(result: xr.Dataset) -> Table:
    small, large = values_of(result, "scaling", "batch_size")
    rows: list[list[Any]] = []
    for depth in values_of(result, "scaling", "depth"):
        for width in values_of(result, "scaling", "hidden_width"):
            row: list[Any] = [depth, width]
            made = []
            for batch in (small, large):
                at = {"depth": depth, "hidden_width": width, "batch_size": batch}
                values = {
                    name: by_seed(result, "scaling", name, **at)
                    for name in ("lambda_max", "test_error", "train_loss")
                }
                made.append(values["lambda_max"])
                row += [
                    geometric(values["lambda_max"]),
                    percent(values["test_error"]),
                    geometric(values["train_loss"]),
                ]
            row.append(geometric(made[1] / made[0]))
            rows.append(row)
    heads = [
        f"{what}, B = {batch:g}"
        for batch in (small, large)
        for what in ("λmax", "test error, %", "training loss")
    ]
    return make_table(
        ["hidden layers", "width", *heads, "ratio of λmax"],
        rows,
        caption="Large against small batches at equal step size and epochs: geometric means, or means of "
        "errors, over seeds [95 % intervals]",
    )
