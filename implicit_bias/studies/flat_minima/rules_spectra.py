"""Rule on the Hessian spectra of the published protocols."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence
from implicit_bias.results.statistics import Comparison, Estimate, mean_interval
from implicit_bias.studies import paired_cells
from implicit_bias.studies.flat_minima.rules import cells, exponential, folded, lost_lanes, ratio

if TYPE_CHECKING:
    import xarray as xr

WITHIN = 2.0
"""A published eigenvalue is met within this factor."""
SPECTRA = {"momentum": 50.0, "adam": 10.0}
"""Published largest eigenvalues of the two protocols."""
_ROUNDING = 1e-6
"""What float32 leaves open of an eigenvalue, relative to the largest."""


def published_spectra(result: xr.Dataset) -> Evidence:
    """Hold largest and smallest eigenvalues of both protocols against the published ones."""
    a, b = cells(result, ("momentum", 0), ("adam", 0))
    comparisons = {"λmax, A / B": ratio(a, b, "lambda_max")}
    details: dict[str, Any] = {}
    for name, lanes, published in (("A", a, SPECTRA["momentum"]), ("B", b, SPECTRA["adam"])):
        values = lanes["lambda_max"].where(paired_cells.usable(lanes)).values
        comparisons |= {
            f"λmax of {name} within a factor of {WITHIN:g} of {published:g}": Comparison(
                _factor(values, published), 0.0, -1, WITHIN
            ),
            f"no negative eigenvalue, {name}": Comparison(_lowest(lanes), 0.0, 1),
        }  # fmt: skip
        top = lanes["eigenvalue"].values
        details[f"{name}: λ1, λ2, …, mean over seeds"] = np.nanmean(top, axis=0).tolist()
        details[f"{name}: λ1/λk of the k listed"] = float(np.nanmean(top[:, 0] / top[:, -1]))
        for quantity in ("lambda_min", "lambda_min_residual"):
            details[f"{name}: {quantity}, mean over seeds"] = float(
                np.nanmean(lanes[quantity].values)
            )
        for quantity in ("train_error", "test_error"):
            word = quantity.replace("_", " ")
            details[f"{name}: {word} (%)"] = 100 * float(np.nanmean(lanes[quantity].values))
    step, momentum = float(a["step_size"][0]), float(a["momentum"][0])
    details["edge of stability of heavy ball, 2(1 + β)/η"] = 2 * (1 + momentum) / step
    return Evidence(comparisons, details=details, reason=lost_lanes(result, ("momentum", "adam")))


def _lowest(lanes: xr.Dataset) -> Callable[[float], Estimate]:
    """Estimate the smallest eigenvalue over the largest, in %; the interval covers what Lanczos left open.

    A quotient vᵀHv below zero proves a negative eigenvalue, whatever its residual; one above zero proves
    nothing beyond its residual.
    """
    good = paired_cells.usable(lanes).values
    top, low, residual = (
        np.where(good, lanes[name].values, np.nan)
        for name in ("lambda_max", "lambda_min", "lambda_min_residual")
    )

    def estimate(level: float) -> Estimate:
        made = mean_interval(100 * low / top, level)
        beneath = mean_interval(100 * (low - residual) / top, level)
        return dataclasses.replace(made, low=beneath.low, high=made.high + 100 * _ROUNDING)

    return estimate


def _factor(values: np.ndarray, published: float) -> Callable[[float], Estimate]:
    """Estimate by which factor, up or down, the geometric mean differs from a published value."""
    logs = np.log(values / published)
    return lambda level: exponential(folded(mean_interval(logs, level)))
