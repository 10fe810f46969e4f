"""Rules on what a result records and how it was measured: identities, each with its tolerance."""

from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Finding, NotDecidable, identity
from implicit_bias.results.statistics import mean_interval
from implicit_bias.studies import paired_cells
from implicit_bias.studies.batch_size.rules import measured_lanes, of_arms

if TYPE_CHECKING:
    import xarray as xr


def hyperparameter_table(result: xr.Dataset) -> Finding:
    """Count the hyper-parameters that some lane lacks."""
    names = ["batch_size", "step_size", "updates", "epochs", "updates_budget", "label_noise",
             "weight_decay", "decoupled_weight_decay", "init_scale"]  # fmt: skip
    absent = [name for name in names if name not in result.variables]
    gaps = sum(int(result[name].isnull().sum()) for name in names if name in result.variables)
    missing = len(absent) + gaps
    return identity(
        missing,
        0.5,
        n_seeds=_n_seeds(result),
        reason=f"{missing} values are missing from the table",
    )


def error_bars(result: xr.Dataset) -> Finding:
    """Count the reported cells that stand on one seed."""
    lanes = of_arms(result)
    counts = paired_cells.usable(lanes)
    without, least = 0, math.inf
    for arm in paired_cells.arms(lanes):
        for size in paired_cells.batch_sizes(lanes, arm):
            chosen = (lanes["arm"].values == arm) & (lanes["batch_size"].values == size)
            n = int(counts.values[chosen].sum())
            # A cell in which nothing can be reported is not a number without an interval.
            if n:
                without += n < 2
                least = min(least, n)
    if not math.isfinite(least):
        raise NotDecidable("nothing can be reported: no lane counts")
    return identity(
        without, 0.5, n_seeds=_n_seeds(result),
        reason=f"{without} reported cells lack an interval; the smallest stands on {least} seed(s)",
    )  # fmt: skip


def architecture(result: xr.Dataset) -> Finding:
    """Compare recorded parameter counts with the closed form of dense networks."""
    settings = json.loads(result.attrs["settings"])
    described = [json.loads(text) for text in settings["models"]]
    if any("widths" not in one for one in described):
        raise NotDecidable("the parameter count has a closed form only for dense networks")
    n_in = math.prod(settings["dataset"]["input_shape"])
    expected = set()
    for one in described:
        sizes = [n_in, *one["widths"], one["outputs"]]
        bias = 1 if one.get("bias", True) else 0
        expected.add(sum((a + bias) * b for a, b in itertools.pairwise(sizes)))
    counted = {int(count) for count in result["parameters"].values}
    different = len(expected ^ counted)
    return identity(
        different, 0.5, n_seeds=_n_seeds(result),
        reason=f"{different} parameter counts differ from Σ (n_in + 1) n_out; counted {sorted(counted)}",
    )  # fmt: skip


def hessian_method(result: xr.Dataset) -> Finding:
    """Compare the top eigenvalues of Lanczos and power iteration."""
    lanes = measured_lanes(result)
    both = (lanes["lambda_max_converged"] & lanes["lambda_max_power_converged"]).values
    if both.sum() < max(1, len(both) / 2):
        raise NotDecidable(f"both methods converged on {int(both.sum())} of {len(both)} lanes only")
    first, second = lanes["lambda_max"].values[both], lanes["lambda_max_power"].values[both]
    return identity(
        second / first - 1, 0.02, n_seeds=_n_seeds(result),
        reason=f"power iteration against Lanczos on {int(both.sum())} of {len(both)} lanes "
        "on which both converged",
    )  # fmt: skip


def covariance_ratio(result: xr.Dataset) -> Finding:
    """Compare the ratio of gradient noise of two batch sizes with that of the sizes."""
    lanes = measured_lanes(result)
    small, large = (int(size) for size in result["noise_batch"].values)
    traces = lanes["batch_covariance_trace"].values
    # Each lane has its own scale of noise: take it out by the mean of both sizes' estimates of tr S.
    scaled = traces * np.array([small, large])
    scaled = scaled / scaled.mean(axis=1, keepdims=True)
    means = np.nanmean(scaled, axis=0)
    error, allowed = means[0] / means[1] - 1, 0.05
    # Lanes of a seed share their draws. What drawing alone can do must not refute an identity.
    each = (scaled[:, 0] - scaled[:, 1]) / means[1]
    seeds = lanes["seed"].values
    drawn = mean_interval([np.nanmean(each[seeds == seed]) for seed in np.unique(seeds)])
    if abs(error) > allowed and min(abs(drawn.low), abs(drawn.high)) <= allowed:
        raise NotDecidable(
            f"the draws leave the ratio's error between {drawn.low:.2f} and {drawn.high:.2f}; more "
            "curvature.noise_draws or seeds would decide"
        )
    return identity(
        error,
        allowed,
        n_seeds=_n_seeds(result),
        reason=f"variance ratio of B = {small} to {large}, drawn with replacement, relative to "
        f"{large / small:g}; the standard deviation's ratio is its root, and without replacement "
        "(1/b − 1/n)/(1/B − 1/n) takes its place",
    )


def gap_sign(result: xr.Dataset) -> Finding:
    """Compare the measured gap with the last evaluation during training, for lanes that have both."""
    lanes = measured_lanes(result)
    rows = np.flatnonzero(lanes["target_loss"].isnull().values)
    if not rows.size:
        raise NotDecidable("needs an arm that runs to the end of its budget")
    lanes = lanes.isel(lane=rows)
    last = (lanes["log_step"] == lanes["updates"]).argmax("probe")
    logged = (lanes["log_test_loss"] - lanes["log_train_loss"]).isel(probe=last)
    return identity(
        lanes["loss_gap"].values - logged.values,
        1e-4,
        n_seeds=_n_seeds(result),
        reason="gap = test − training, positive where training fits better than test; "
        "written train − test, as in the source, the sign is reversed",
    )


def _n_seeds(result: xr.Dataset) -> int:
    return len(np.unique(result["seed"].values))
