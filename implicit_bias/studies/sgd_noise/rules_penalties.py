"""Rules on what noise is said to add to the loss, and on labels that are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence, Finding, identity
from implicit_bias.studies.comparisons import above, agreement, below, less_than
from implicit_bias.studies.rows import by_seed, exponents
from implicit_bias.studies.sgd_noise.chance import sampled, sampled_identity
from implicit_bias.studies.sgd_noise.corrupted import FITS, WITHIN
from implicit_bias.studies.sgd_noise.endpoints import ENDINGS, FORMULAS
from implicit_bias.studies.sgd_noise.epochs import FLOWS, FRACTIONS, NOISES, STEPS
from implicit_bias.studies.sgd_noise.given import SAMPLINGS

if TYPE_CHECKING:
    import xarray as xr

HALF = 0.5
"""An exponent that is said to be ±1 must be beyond ±½."""

NONE = 0.1
"""λαT up to which there is no penalty: that of early stopping is about one."""

SAMPLING = 3.5
"""Distances of mean ends from gradient descent's, in standard errors, that chance may make."""

ORDER = 0.1
"""Relative departure of an order in η that is allowed."""

DRIFT = 0.03
"""Relative departure of the drift under fresh labels from its law, mean over seeds."""

TRACE = 0.02
"""Relative departure of the trace of a batch gradient's covariance, mean over seeds."""

AGREE = 2.0
"""Factor within which formulas of one strength agree."""

LESS = 0.9
"""What a wrong label counts of a right one, below which it is downweighted."""

LINEAR = 1e-12
"""Rounding of derivatives of predictions."""

POINTS = 1.0
"""Percentage points of test error that matter."""

ADDED = ("σ² = 1/4", "σ² = 1", "σ² = 4")


def end_values(result: xr.Dataset, name: str, ending: str) -> np.ndarray:
    """Return a variable of a way of training by seed."""
    return by_seed(result, "endpoints", f"end_{name}", ending=ending)


def penalty_exponents(result: xr.Dataset, values: dict[str, float]) -> np.ndarray:
    """Return exponents of the fitted λ in what differs between ways of training, by seed.

    Args:
        result: The study's result.
        values: By way of training, the number that differs.
    """
    table = np.stack([end_values(result, "penalty", ending) for ending in values], axis=1)
    return exponents(np.asarray(list(values.values())), table)


def in_noise(result: xr.Dataset) -> dict[str, np.ndarray]:
    """Return exponents of λ in σ², by added noise and by the batch."""
    # A batch of one has four times the variance of one of four, drawn with replacement.
    return {
        "added noise": penalty_exponents(result, {name: ENDINGS[name].noise for name in ADDED}),
        "mini-batches": penalty_exponents(result, {"batches of 4": 1.0, "batches of 1": 4.0}),
    }


def _mean(values: np.ndarray) -> float:
    return float(f"{np.nanmean(values):.4g}")


def noise_is_the_penalty(result: xr.Dataset) -> Evidence:
    """Ask whether λ of the mean end is proportional to σ², as σ²/(αT) has it."""
    return Evidence(
        {name: above(values, HALF) for name, values in in_noise(result).items()},
        headline="added noise",
        reason="exponent of the ridge penalty nearest to the mean end in σ²: the mean end on a quadratic is "
        "that of gradient descent, whatever the noise, and λ of the order of 1/(αT) without noise as well. "
        "At σ² = 1 the two formulas are the same number",
        details={
            "distance of the mean end from ridge with λ = σ²/(αT) and with 1/(αT), relative": {
                name: [_mean(end_values(result, part, name)) for part in ("stated", "stopped")]
                for name in ("σ² = 0", *ADDED, "batches of 1", "batches of 4")
            },
            "λ": {name: _mean(end_values(result, "penalty", name)) for name in ENDINGS},
        },
    )


def mean_is_descents(result: xr.Dataset) -> Finding:
    """Hold mean ends of SGD against gradient descent's, in standard errors."""
    noisy = [name for name in ENDINGS if name != "σ² = 0"]
    ratios = [
        end_values(result, "apart", name) / end_values(result, "error", name) for name in noisy
    ]
    return identity(
        np.concatenate([*ratios, 1e12 * end_values(result, "apart", "σ² = 0")]),
        SAMPLING,
        n_seeds=len(ratios[0]),
        reason="distance over its standard error, added noise and mini-batches; without noise over 10⁻¹²",
        largest_relative_distance=float(
            f"{np.nanmax([end_values(result, 'apart', name) for name in noisy]):.3g}"
        ),
    )


def definition_of_implicit(result: xr.Dataset) -> Evidence:
    """Hold λ = ασ²/(2T), and none without noise, against the λ of mean ends."""
    without = end_values(result, "penalty", "σ² = 0") * (
        end_values(result, "step", "σ² = 0") * end_values(result, "updates", "σ² = 0")
    )
    in_step = penalty_exponents(result, {"α/2": 0.5, "σ² = 1": 1.0, "2α": 2.0})
    in_time = penalty_exponents(result, {"T/2": 0.5, "σ² = 1": 1.0, "2T": 2.0})
    noise = in_noise(result)
    return Evidence(
        {
            "λαT without noise": below(without, NONE),
            "exponent in σ², added noise": above(noise["added noise"], HALF),
            "exponent in σ², mini-batches": above(noise["mini-batches"], HALF),
            "exponent in α": above(in_step, HALF),
        },
        headline="exponent in σ², added noise",
        reason="least squares, which is convex: full batches stopped early have a penalty of about "
            "1/(αT) without "
        "any noise. Noise adds its variance to the norm: it takes weights away from zero",
        details={
            "exponent in T (stated −1)": _mean(in_time),
            "mean ‖end‖² over that of gradient descent": {
                name: _mean(end_values(result, "square", name)) for name in ENDINGS
            },
        },
    )  # fmt: skip


def formulas_against_each_other(result: xr.Dataset) -> Finding:
    """Ask whether the strengths that the sources give for one training are one."""
    own = [name for name in FORMULAS if name != "early stopping"]
    values = np.stack(
        [
            by_seed(result, "endpoints", "end_formula", ending=ending, formula=name)
            for ending in ("σ² = 1", "batches of 4")
            for name in own
        ],
        axis=1,
    ).reshape(-1, 2, len(own))
    ratio = np.log10(values.max(axis=2) / values.min(axis=2))
    # B.15's and the appendix's ε are one where B is one, the definition's and B.15's differ by α²/2.
    shown = {name: _mean(values[:, 1, place]) for place, name in enumerate(own)}
    penalty = _mean(end_values(result, "penalty", "batches of 4"))
    return identity(
        ratio,
        float(np.log10(AGREE)),
        n_seeds=len(values),
        reason="decimal logarithm of the largest over the smallest of them, at the same α, T, B and σ²",
        **{"λ by formula, batches of 4": shown, "λ fitted to the mean end": penalty},
    )


def noise_over_step(result: xr.Dataset) -> Evidence:
    """Ask whether what noise adds falls with the step size, as σ²/(2α) has it."""
    steps = np.asarray(STEPS)
    middle = NOISES[len(NOISES) // 2]
    fresh = exponents(steps, by_seed(result, "fresh-labels", "drift", label_noise=middle))
    shuffled = exponents(np.asarray(FRACTIONS), by_seed(result, "epochs", "epoch_strength"))
    in_variance = exponents(
        np.asarray(NOISES), by_seed(result, "fresh-labels", "drift", label_step=STEPS[1])
    )
    return Evidence(
        {
            "labels drawn afresh": below(fresh, -HALF),
            "shuffled batches": below(shuffled, -HALF),
        },
        headline="labels drawn afresh",
        reason="exponent of the strength in α, which is said to be −1: it is +1, λ = ασ²/B where labels "
            "are drawn "
        "afresh and (α/4) mean ‖∇L_B‖² where batches are shuffled",
        details={"exponent in σ², labels drawn afresh (stated 1)": _mean(in_variance)},
    )  # fmt: skip


def fresh_labels(result: xr.Dataset) -> Finding:
    """Hold the drift under fresh labels against its law."""
    drift, law = (by_seed(result, "fresh-labels", name) for name in ("drift", "drift_law"))
    return sampled_identity(
        sampled(drift / law - 1),
        DRIFT,
        reason="relative, mean over seeds, at every step size and noise; exact but for fluctuations of "
        "u² + v²",
    )


def modified_losses(result: xr.Dataset) -> Evidence:
    """Ask with which order in η gradient flow of each loss ends where an epoch does on average."""
    steps = np.asarray(FRACTIONS)
    orders = dict(zip(FLOWS, (2.0, 2.0, 3.0, 2.0), strict=True))
    return Evidence(
        {
            flow: agreement(
                exponents(steps, by_seed(result, "epochs", "epoch_apart", flow=flow)), order, ORDER
            )
            for flow, order in orders.items()
        },
        headline="L + η/4 mean ‖∇L_B‖²",
        reason="departure of the order from 3 with a quarter of the mean square of batches' gradients, "
        "from 2 with anything else; the mean over all orders of the batches, exactly",
    )


def batch_noise(result: xr.Dataset) -> Finding:
    """Hold traces of drawn batches' covariances against sampling theory."""
    away = [
        by_seed(result, "given", "given_noise", sampling=kind)
        / by_seed(result, "given", "given_noise_law", sampling=kind)
        - 1
        for kind in SAMPLINGS
    ]
    return sampled_identity(
        sampled(np.stack(away, axis=1)), TRACE,
        reason="relative, mean over seeds: tr S (1 − 1/m)/B with, tr S (1/B − 1/m) without replacement",
    )  # fmt: skip


def data_covariance(result: xr.Dataset) -> Finding:
    """Hold SGD's variances on the run's data against the exact law."""
    ratio = by_seed(result, "given", "given_variance") / by_seed(
        result, "given", "given_variance_law"
    )
    return sampled_identity(
        sampled(ratio - 1),
        TRACE,
        reason="relative, along eigenvectors of H, mean over seeds; the noise depends on the weights",
    )


def downweighted(result: xr.Dataset) -> Evidence:
    """Ask whether a wrong label changes predictions less than a right one."""

    def of(name: str, fit: str) -> np.ndarray:
        return by_seed(result, "corrupted", name, fit=fit)

    details: dict[str, Any] = {
        "share of wrong labels in squared residuals when stopped, %": {
            fit: _mean(of("share_stopped", fit)) for fit in FITS
        },
        "wrong labels that are predicted, %: stopped, end": {
            fit: [_mean(of("obeyed_stopped", fit)), _mean(of("obeyed_end", fit))] for fit in FITS
        },
    }
    return Evidence(
        {
            fit: less_than(of("counts_corrupted", fit), of("counts_clean", fit), LESS)
            for fit in FITS
        },
        headline="least squares",
        reason="norm of the change of all training predictions with a wrong label, over that with a "
        "right one. In least squares predictions are linear in labels, so that SGD cannot know which "
        "is wrong; in the gradient wrong labels count more, as their residuals are larger",
        details=details,
    )


def linear_effects(result: xr.Dataset) -> Finding:
    """Hold a label's effect where labels are wrong against that where all are right, in least squares."""
    return identity(
        by_seed(result, "corrupted", "counts_apart", fit="least squares"),
        LINEAR,
        n_seeds=len(by_seed(result, "corrupted", "counts_apart")),
        reason="relative; of the others on average "
        + ", ".join(
            f"{fit} {np.nanmean(by_seed(result, 'corrupted', 'counts_apart', fit=fit)):.2g}"
            for fit in FITS
            if fit != "least squares"
        ),
    )


def stopping_helps(result: xr.Dataset) -> Evidence:
    """Ask whether stopping early lowers the clean test error where labels are wrong."""
    return Evidence(
        {
            fit: above(
                by_seed(result, "corrupted", "error_end", fit=fit)
                - by_seed(result, "corrupted", "error_stopped", fit=fit),
                POINTS,
            )
            for fit in FITS
            if fit not in WITHIN  # nothing there is wrong at the end either
        },
        headline="least squares",
        reason="percentage points by which the end is worse than where validation on such labels is best",
    )
