"""Rules that compare batch sizes, arm by arm and paired by seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence, NotDecidable
from implicit_bias.results.statistics import Comparison, rank_correlation
from implicit_bias.studies import paired_cells
from implicit_bias.studies.batch_size.rules import (
    SMALLEST_GAP,
    SMALLEST_RATIO,
    ends_of,
    excluded,
    measured_lanes,
)

if TYPE_CHECKING:
    import xarray as xr

SMALLEST_CORRELATION = 0.3
"""A rank correlation matters from here on."""
RICH = 0.3
"""Relative kernel change above which training counts as rich (not lazy)."""


def error_gap(result: xr.Dataset, arm: str, large: int = -1) -> Comparison:
    """Compare the test errors of a larger batch size, by default the largest, and the smallest."""
    return paired_cells.error_gap(*ends_of(result, arm, large), SMALLEST_GAP)


def sharpness_ratio(
    result: xr.Dataset, arm: str, large: int = -1, effect: float = SMALLEST_RATIO
) -> Comparison:
    """Compare the top eigenvalues of the same batch sizes."""
    return paired_cells.ratio(*ends_of(result, arm, large), "lambda_max", effect)


def over_arms(
    comparison: Callable[[xr.Dataset, str], Comparison], names: Sequence[str], headline: str
) -> Callable[[xr.Dataset], Evidence]:
    """Judge one comparison in every arm of a list that was run."""

    def rule(result: xr.Dataset) -> Evidence:
        present = [arm for arm in paired_cells.arms(result) if arm in names]
        if not present:
            several = len(names) > 1
            raise NotDecidable(
                f"needs {'one of the arms' if several else 'arm'} {', '.join(names)}"
            )
        return Evidence(
            {arm: comparison(result, arm) for arm in present},
            headline=headline if headline in present else present[0],
            reason=excluded(result, present),
        )

    return rule


def gap_and_sharpness(arm: str, *others: str, large: int = -1) -> Callable[[xr.Dataset], Evidence]:
    """Judge error gap and curvature ratio in one arm, and the ratio alone in others."""

    def rule(result: xr.Dataset) -> Evidence:
        comparisons = {
            f"test error, {arm}": error_gap(result, arm, large),
            f"λmax, {arm}": sharpness_ratio(result, arm, large),
        }
        for other in others:
            if other in paired_cells.arms(result):
                comparisons[f"λmax, {other}"] = sharpness_ratio(result, other, large)
        return Evidence(comparisons, reason=excluded(result, [arm, *others]))

    return rule


def weight_perturbation(result: xr.Dataset) -> Evidence:
    """Compare the loss increase under filter-normalised perturbations of the middle radius."""
    measured = measured_lanes(result)
    radius = float(result["filter_radius"][result.sizes["filter_radius"] // 2])

    def change(lanes: xr.Dataset) -> xr.DataArray:
        return lanes["loss_change_filter"].sel(filter_radius=radius).mean("direction")

    def comparison(result: xr.Dataset, arm: str) -> Comparison:
        return paired_cells.ratio(*ends_of(result, arm), change, SMALLEST_RATIO)

    evidence = over_arms(comparison, ("epochs-fixed", "matched-fixed", "tuned"), "epochs-fixed")(
        result
    )
    parameters = measured["parameters"].values
    smallest = float(measured["radius"][0])
    predicted = 0.5 * smallest**2 / parameters * measured["trace"].values
    seen = measured["loss_change"].isel(radius=0).mean("direction").values
    share = float(np.nanmedian(seen / predicted))
    return Evidence(
        evidence.comparisons,
        evidence.headline,
        reason=evidence.reason,
        details={
            "filter_radius": radius,
            f"median of measured/predicted Δloss at radius {smallest:g}, ½ r² tr H / p": share,
        },
    )


def correlation(result: xr.Dataset) -> Evidence:
    """Correlate the top eigenvalue with the test error over all lanes that count."""
    lanes = measured_lanes(result)
    lanes = lanes.isel(lane=np.flatnonzero(paired_cells.usable(lanes).values))
    sharpness, error = lanes["lambda_max"].values, lanes["test_error"].values
    arm, seed = lanes["arm"].values.astype(str), lanes["seed"].values
    if len(np.unique(seed)) < 2:
        raise NotDecidable("a correlation over seeds needs at least 2 seeds")
    return Evidence(
        {
            "within arms": Comparison(
                rank_correlation(sharpness, error, arm, clusters=seed),
                SMALLEST_CORRELATION,
                1,
            ),
            "pooled over arms": Comparison(
                rank_correlation(sharpness, error, np.zeros(arm.shape, int), clusters=seed),
                SMALLEST_CORRELATION,
                1,
            ),
        },
        n_seeds=len(np.unique(seed)),
    )


def noise_against_compute(result: xr.Dataset) -> Evidence:
    """Compare large batches with and without injected noise, at equal updates and step size."""
    comparisons = {}
    for size in paired_cells.batch_sizes(result, "injected-noise"):
        plain = paired_cells.cell(result, "updates-fixed", size)
        noisy = paired_cells.cell(result, "injected-noise", size)
        comparisons[f"test error, B = {size}"] = paired_cells.error_gap(plain, noisy, SMALLEST_GAP)
        comparisons[f"λmax, B = {size}"] = paired_cells.ratio(
            plain, noisy, "lambda_max", SMALLEST_RATIO
        )
    largest = paired_cells.batch_sizes(result, "injected-noise")[-1]
    return Evidence(comparisons, headline=f"test error, B = {largest}")


def regime(result: xr.Dataset) -> Evidence:
    """Ask whether training left the lazy regime at the smallest and the largest batch size."""
    comparisons = {}
    for arm in [
        arm for arm in paired_cells.arms(result) if arm in ("epochs-fixed", "tuned", "momentum")
    ]:
        for lanes, end in zip(ends_of(result, arm), ("largest B", "smallest B"), strict=True):
            comparisons[f"{arm}, {end}"] = paired_cells.mean_above(lanes, "kernel_change", RICH)
    if not comparisons:
        raise NotDecidable("needs one of the arms epochs-fixed, tuned, momentum")
    return Evidence(comparisons)


def worked_example(result: xr.Dataset) -> Evidence:
    """Compare two batch sizes after long training with momentum, in four quantities."""
    ends = ends_of(result, "momentum-long")
    return Evidence(
        {
            "test error": paired_cells.error_gap(*ends, SMALLEST_GAP),
            "λmax": paired_cells.ratio(*ends, "lambda_max", SMALLEST_RATIO),
            "trace": paired_cells.ratio(*ends, "trace", SMALLEST_RATIO),
            "‖θ‖": paired_cells.ratio(*ends, "parameter_norm", 0.0),
        },
        headline="λmax",
        reason=excluded(result, ["momentum-long"]),
    )
