"""Rules of the normalization study, with the smallest effects that matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence, Finding, NotDecidable, identity
from implicit_bias.results.statistics import Comparison
from implicit_bias.studies.comparisons import above, agreement, below, larger, mean_ends
from implicit_bias.studies.normalization.arms import COMMON, TUNED
from implicit_bias.studies.normalization.invariance import (
    DECAY,
    DEFAULT_EPS,
    EVALUATION,
    LARGE_EPS,
    OUTPUT,
    PRE_NORM,
)
from implicit_bias.studies.normalization.rows import (
    at_target,
    exact,
    networks_of,
    norms_of,
    of_norm,
    sgd,
    steepest,
)
from implicit_bias.studies.rows import exponents, has, require

if TYPE_CHECKING:
    import xarray as xr

EXACT = 1e-6
"""Error of an identity in double precision; rounding of second derivatives is far below."""

FAILS = 0.01
"""Error from which invariance counts as lost."""

SMALLEST_RATIO = 0.25
"""A ratio matters from 1.25 on."""

LAW = 0.1
"""Part by which a law of equilibrium may be off."""

FALLS = -0.5
"""Exponent of the batch size below which the noise of statistics counts as falling with it."""

ERRORS = ("loss_error", "tangent_error", "gradient_error", "sharpness_error")


def invariance(result: xr.Dataset) -> Finding:
    """Ask whether loss, gradient and Hessian scale as they should for weights before a normalisation."""
    require(result, "invariance")
    by_error = {
        name: np.stack([exact(result, name, network, PRE_NORM) for network in networks_of(result)])
        for name in ERRORS
    }
    errors = np.stack(list(by_error.values()))
    usual = max(
        float(np.nanmax(exact(result, name, network, DEFAULT_EPS)))
        for name in ERRORS for network in networks_of(result)
    )  # fmt: skip
    return identity(
        errors, EXACT, n_seeds=errors.shape[2],
        reason=f"with ε = 0 and statistics of the batch; with ε = 1e-5 the largest error is {usual:.1g}",
        **{name: float(values.max()) for name, values in by_error.items()},
    )  # fmt: skip


def scope(result: xr.Dataset) -> Evidence:
    """Ask whether invariance is lost where it is not claimed."""
    require(result, "invariance")
    made: dict[str, Comparison] = {}
    for network in networks_of(result):
        made[f"{OUTPUT}, {network}"] = above(
            exact(result, "gradient_error", network, OUTPUT), FAILS
        )
        made[f"{LARGE_EPS}, {network}"] = above(
            exact(result, "gradient_error", network, LARGE_EPS), FAILS
        )
        made[f"{DECAY}, {network}"] = above(exact(result, "tangent_error", network, DECAY), FAILS)
        if network.startswith("batch"):
            made[f"{EVALUATION}, {network}"] = above(
                exact(result, "gradient_error", network, EVALUATION), FAILS
            )
    kept = {
        network: float(np.nanmax(exact(result, "gradient_error", network, EVALUATION)))
        for network in networks_of(result) if not network.startswith("batch")
    }  # fmt: skip
    return Evidence(
        made, details={f"{EVALUATION}, error of what takes no statistics of a batch": kept}
    )


def sphere(result: xr.Dataset) -> Finding:
    """Ask whether directions of weights move by descent on the sphere with step η/‖W‖²."""
    require(result, "invariance")
    errors = np.stack([exact(result, "sphere_error", network) for network in networks_of(result)])
    return identity(errors, EXACT, n_seeds=errors.shape[1])


def growth(result: xr.Dataset) -> Finding:
    """Ask whether squared norms grow by η²‖∇L‖² in an update, without decay."""
    require(result, "invariance")
    errors = np.stack([exact(result, "growth_error", network) for network in networks_of(result)])
    other = np.stack([exact(result, "growth_output", network) for network in networks_of(result)])
    return identity(
        errors, EXACT, n_seeds=errors.shape[1],
        reason=f"of the output layer it is missed by {other.min():.2g} of ‖W‖² or more",
    )  # fmt: skip


def rates(result: xr.Dataset) -> Evidence:
    """Ask whether effective steps of layers fall as norms grow, and differ between layers."""
    norms, decays = _followed(result)
    made = {}
    for norm in norms:
        hidden = _hidden(result)
        ratio = sgd(result, "norm_ratio", norm, decays[0])[:, :hidden]
        for layer in range(hidden):
            made[f"{_norm(norm)}, layer {layer + 1}: step at the start to the end"] = larger(
                np.square(ratio[:, layer]), 1.0, SMALLEST_RATIO
            )
        if hidden > 1:
            steps = sgd(result, "effective_step", norm, decays[0])[:, :hidden]
            made[f"{_norm(norm)}: between layers at the end"] = larger(
                steps.max(axis=1), steps.min(axis=1), SMALLEST_RATIO
            )
    return Evidence(made)


def equilibrium(result: xr.Dataset) -> Evidence:
    """Ask whether directions turn by √(2ηλ) in an update once norms have settled."""
    norms, decays = _followed(result)
    made = {}
    for norm in norms:
        for decay in decays[1:]:
            ratio = sgd(result, "turn_over_law", norm, decay)
            for layer in range(_hidden(result)):
                made[f"{_norm(norm)}, λ = {decay:g}, layer {layer + 1}"] = agreement(
                    ratio[:, layer], 1.0, LAW
                )
    details = {}
    if "none" in result["sgd_norm"].values:
        details = {
            f"λ = {decay:g}": mean_ends(sgd(result, "turn_over_law", "none", decay)[:, 0])
            for decay in decays[1:]
        }
    return Evidence(made, details={"without normalisation, first layer": details})


def smoothing(result: xr.Dataset) -> Evidence:
    """Hold λmax without normalisation against that with one, at one training loss."""
    made = {}
    for arm in (TUNED, COMMON):
        if not has(result, arm):
            continue
        plain = at_target(result, arm, "none", "lambda_running")
        for norm in norms_of(result, arm):
            if norm == "none":
                continue
            for which, words in _modes(norm):
                made[f"{_norm(norm)}, {words}, {_step(arm)}"] = larger(
                    plain, at_target(result, arm, norm, f"lambda_{which}"), SMALLEST_RATIO
                )
    if not made:
        raise NotDecidable("no normalisation was trained")
    return Evidence(made, reason=_lost(result), details=_ends(result))


def smoothing_relative(result: xr.Dataset) -> Evidence:
    """Hold λmax·‖W‖² of layers, which no scale of weights changes, without against with normalisation."""
    require(result, TUNED)
    made = {}
    for arm in (TUNED, COMMON):
        if not has(result, arm):
            continue
        plain = at_target(result, arm, "none", "layer_sharpness")
        for norm in norms_of(result, arm):
            if norm == "none":
                continue
            own = at_target(result, arm, norm, "layer_sharpness")
            for layer in range(own.shape[1]):
                made[f"{_norm(norm)}, layer {layer + 1}, {_step(arm)}"] = larger(
                    plain[:, layer], own[:, layer], SMALLEST_RATIO
                )
    return Evidence(made, reason=_lost(result))


def smoothing_path(result: xr.Dataset) -> Evidence:
    """Hold how fast gradients turn along the path, without against with normalisation, at one step size."""
    require(result, COMMON)
    made = {}
    for arm in (COMMON, TUNED):
        if not has(result, arm):
            continue
        plain = steepest(result, arm, "none", "running")
        for norm in norms_of(result, arm):
            if norm == "none":
                continue
            for which, words in _modes(norm):
                made[f"{_norm(norm)}, {words}, {_step(arm)}"] = larger(
                    plain, steepest(result, arm, norm, which), SMALLEST_RATIO
                )
    return Evidence(made, reason=_lost(result))


def regulariser(result: xr.Dataset) -> Evidence:
    """Ask whether the noise of a batch's statistics adds to the loss, and falls with the batch."""
    require(result, COMMON)
    sizes = result["small_batch"].values.astype(float)
    added = at_target(result, COMMON, "batch", "noise_penalty")
    slopes = exponents(sizes, added)  # NaN for a seed in which something is not added
    made = {
        f"added to the loss at B = {sizes[0]:g}": above(added[:, 0]),
        f"exponent of B from {sizes[0]:g} to {sizes[-1]:g}": below(slopes, FALLS),
    }
    loss = at_target(result, COMMON, "batch", "train_loss_batch")
    details: dict[str, object] = {
        "added, as part of the loss": mean_ends(added[:, 0] / loss),
        "of the whole batch": 0.0,
    }
    if "layer" in norms_of(result, COMMON):
        details["layer normalisation"] = float(
            np.nanmax(np.abs(of_norm(result, COMMON, "layer", "noise_penalty")))
        )
    return Evidence(made, reason=_lost(result), details=details)


def _followed(result: xr.Dataset) -> tuple[list[str], list[float]]:
    require(result, "equilibrium")
    norms = [str(norm) for norm in result["sgd_norm"].values if norm != "none"]
    if not norms:
        raise NotDecidable("no network with a normalisation was followed")
    return norms, [float(decay) for decay in result["decay"].values]


def _hidden(result: xr.Dataset) -> int:
    return int(result.sizes["sgd_layer"]) - 1


def _modes(norm: str) -> tuple[tuple[str, str], ...]:
    if norm == "batch":
        return ("batch", "statistics of the batch"), ("running", "running statistics")
    return (("running", "all statistics alike"),)


def _norm(norm: str) -> str:
    return f"{norm} normalisation"


def _step(arm: str) -> str:
    return "its own step size" if arm == TUNED else "one step size"


def _ends(result: xr.Dataset) -> dict[str, object]:
    """Return test errors where training losses are equal, and the seeds that got there."""
    return {
        f"{norm}, {_step(arm)}: test error, %": mean_ends(
            100 * at_target(result, arm, norm, "test_error")
        )
        for arm in (TUNED, COMMON) if has(result, arm)
        for norm in norms_of(result, arm)
    }  # fmt: skip


def _lost(result: xr.Dataset) -> str:
    lanes = np.isin(result["arm"].values, (TUNED, COMMON))
    short = lanes & ~result["reached_target"].values.astype(bool)
    lost = int(short.sum())
    return (
        f"{lost} of {int(lanes.sum())} runs did not meet the target, left out in pairs"
        if lost
        else ""
    )
