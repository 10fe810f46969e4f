"""Tables of the flat-minima study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.statistics import NOT_NEGATIVE, PERCENT, Estimate, mean_interval
from implicit_bias.results.table import Table, format_number, make_table
from implicit_bias.studies import paired_cells
from implicit_bias.studies.flat_minima.arms import ARMS
from implicit_bias.studies.flat_minima.rules import adaptive, compared
from implicit_bias.studies.rows import geometric_mean

if TYPE_CHECKING:
    import xarray as xr


def tables(result: xr.Dataset) -> list[Table]:
    """Return the tables of a result."""
    return [
        arm_table(result), flatness_table(result), robustness_table(result),
        *constructed_tables(result),
    ]  # fmt: skip


def arm_table(result: xr.Dataset) -> Table:
    """Return what was trained, and what was chosen."""
    rows = []
    for arm, size, lanes, good in _cells(result):
        rows.append(
            [
                f"{arm}, {size}",
                ARMS[arm].what,
                f"{int(good.sum())}" + (f" (−{int((~good).sum())})" if (~good).any() else ""),
                _range(lanes["step_size"].values),
                _range(lanes["strength"].values) if (lanes["strength"] > 0).any() else "–",
                float(lanes["updates_budget"][0]),
                ARMS[arm].gradients,
            ]
        )
    return make_table(
        ["arm, batch", "what", "seeds", "step size", "strength", "updates", "gradients/update"],
        rows,
        caption="What was trained; step size and strength: those chosen, over seeds",
        notes=("seeds: lanes that count (− those that diverged)",),
    )


def flatness_table(result: xr.Dataset) -> Table:
    """Return fit and flatness of each arm."""
    rows = []
    for arm, size, lanes, good in _cells(result):
        rows.append(
            [
                f"{arm}, {size}",
                mean_interval(100 * lanes["test_error"].where(good), bounds=PERCENT),
                geometric_mean(lanes["train_loss"].where(good)),
                geometric_mean(lanes["lambda_max"].where(good)),
                mean_interval(lanes["lambda_min"].where(good)),
                mean_interval(lanes["trace"].where(good)),
                geometric_mean(adaptive(lanes).where(good)),
            ]
        )
    radius = middle_radius(result)
    return make_table(
        ["arm, batch", "test error (%)", "train loss", "λmax", "λmin", "tr H", "adaptive"],
        rows,
        caption="Fit and flatness: means, of train loss, λmax and adaptive sharpness geometric means "
        "[95 % t-intervals over seeds]; nats, and nats/parameter²",
        notes=(f"adaptive: worst-case sharpness relative to the weights, ρ = {radius:g}",),
    )


def robustness_table(result: xr.Dataset) -> Table:
    """Return margins and accuracy under attack of each arm."""
    eps = [float(value) for value in result["eps"].values]
    middle = eps[len(eps) // 2]
    rows = []
    for arm, size, lanes, good in _cells(result):
        under = [
            mean_interval(
                100 * lanes[f"{name}_accuracy"].sel(eps=middle).where(good), bounds=PERCENT
            )
            for name in ("fgsm", "pgd", "noise")
        ]
        rows.append(
            [
                f"{arm}, {size}",
                mean_interval(lanes["parameter_norm"].where(good), bounds=NOT_NEGATIVE),
                mean_interval(lanes["output_margin"].where(good)),
                mean_interval(lanes["certified_radius"].where(good), bounds=NOT_NEGATIVE),
                *under,
            ]
        )
    return make_table(
        ["arm, batch", "‖θ‖", "margin", "certified", "FGSM (%)", "PGD (%)", "random (%)"],
        rows,
        caption=f"Margins and accuracy under attack at ε = {middle:g}: means [95 % t-intervals over seeds]; "
        "radii in pixels from 0 to 1",
        notes=("certified: mean certified radius, zero where the network errs; random: random signs",),
    )  # fmt: skip


def constructed_tables(result: xr.Dataset) -> Iterator[Table]:
    """Return the tables of poisoned and guessed minima, where they were made."""
    if "minimum_lambda_max" in result:
        rows = []
        lanes = result.isel(lane=np.flatnonzero(result["stage"].values == "poisoned"))
        for kind in lanes["minimum"].values:
            own = lanes.sel(minimum=kind)
            rows.append(
                [
                    str(kind),
                    f"{int((own['minimum_reached'] == 1).sum())} of {own.sizes['lane']}",
                    mean_interval(own["minimum_loss"], bounds=NOT_NEGATIVE),
                    mean_interval(100 * own["minimum_extra_error"], bounds=PERCENT),
                    mean_interval(100 * own["minimum_test_error"], bounds=PERCENT),
                    geometric_mean(own["minimum_lambda_max"]),
                    geometric_mean(
                        own["minimum_adaptive_sharpness"].sel(adaptive_radius=middle_radius(result))
                    ),
                ]
            )
        yield make_table(
            ["minimum", "at target", "clean loss", "mislabelled (%)", "test error (%)", "λmax",
             "adaptive"],
            rows,
            caption="Minima of gradient descent from one initialisation, without and with mislabelled extra "
            "examples, at equal loss over the clean ones [95 % t-intervals over seeds]",
            notes=("mislabelled: error on the extra examples, by their wrong labels",),
        )  # fmt: skip
    if "search_lambda_max" in result:
        rows = []
        lanes = result.isel(lane=np.flatnonzero(result["stage"].values == "random-search"))
        for way in lanes["found_by"].values:
            own = lanes.sel(found_by=way)
            counts = np.isfinite(own["search_loss"].values)
            rows.append(
                [
                    str(way),
                    int(counts.sum()),
                    _over_networks(own["search_loss"], NOT_NEGATIVE),
                    _over_networks(own["search_lambda_max"], None),
                    _over_networks(100 * own["search_train_error"], PERCENT),
                    _over_networks(100 * own["search_test_error"], PERCENT),
                ]
            )
        share = float(np.nanmean(lanes["search_fitting"].values))
        yield make_table(
            [
                "found by",
                "networks",
                "normalised loss",
                "λmax",
                "train error (%)",
                "test error (%)",
            ],
            rows,
            caption="Small networks of equal norms and loss that fit a few examples of two classes "
            "[95 % t-intervals over seeds, each a mean over its networks]",
            notes=(f"{100 * share:.2g} % of random networks fit all examples",),
        )


def _cells(result: xr.Dataset) -> Iterator[tuple[str, int, xr.Dataset, xr.DataArray]]:
    """Iterate over arm, batch size, its compared lanes by seed, and which of them count."""
    lanes = compared(result)
    for arm in paired_cells.arms(lanes):
        for size in paired_cells.batch_sizes(lanes, arm):
            cell = paired_cells.cell(lanes, arm, size)
            yield arm, size, cell, paired_cells.usable(cell)


def middle_radius(result: xr.Dataset) -> float:
    """Return the middle one of the radii of adaptive sharpness."""
    radii = result["adaptive_radius"].values
    return float(radii[len(radii) // 2])


def _range(values: np.ndarray) -> str:
    low, high = (format_number(float(end), digits=3) for end in (values.min(), values.max()))
    return low if low == high else f"{low}–{high}"


def _over_networks(values: xr.DataArray, bounds: tuple[float, float] | None) -> Estimate:
    """Estimate over seeds from each seed's mean over its networks; of the logarithm without bounds."""
    logarithm = bounds is None
    table = values.transpose("lane", "network").values
    finite = np.isfinite(table)
    known = np.where(finite, table, 1)
    total = np.where(finite, np.log(known) if logarithm else known, 0).sum(1)
    means = np.where(finite.any(1), total / np.maximum(finite.sum(1), 1), np.nan)
    if bounds is None:
        return geometric_mean(np.exp(means))
    return mean_interval(means, bounds=bounds)
