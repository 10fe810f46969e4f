"""Rules of the linear part. Near the threshold, where means are infinite, medians are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias import theory
from implicit_bias.results.claims import Evidence
from implicit_bias.results.statistics import Comparison, mean_interval
from implicit_bias.studies.comparisons import mean_ends
from implicit_bias.studies.double_descent.linear.designs import (
    BHX,
    DECAYING,
    DENSE,
    FALLING,
    FIFTY,
    HUGE,
    HUNDRED,
    LOUD,
    NOISELESS,
    ONES,
    RANDOM,
    SIGNAL,
    SPARSE,
    SPIKED,
    STRONG_FIRST,
    TWO_HUNDRED,
    Design,
    law,
)
from implicit_bias.studies.double_descent.linear.rows import (
    SMALLEST_RATIO,
    agrees,
    errors,
    exceeds,
    stays_below,
)
from implicit_bias.studies.rows import by_seed

if TYPE_CHECKING:
    import xarray as xr

INFINITE = (
    "medians over training sets are compared where |n − m| ≤ 10; at |n − m| ≤ 1 the mean is infinite for "
    "any noise"
)


def _falls(result: xr.Dataset, design: Design, target: str, start: int, end: int) -> Comparison:
    """Ask whether the median test error falls from one size to another."""
    return exceeds(errors(result, design, target, start), errors(result, design, target, end))


def _least(result: xr.Dataset, design: Design, target: str, below: bool) -> np.ndarray:
    """Return the least median test error by seed over sizes on one side of the threshold."""
    sizes = [
        size
        for size in design.sizes
        if (size < design.examples) == below
        and size != design.examples
        and design.defined(design.target(target), size)
    ]
    return np.min([errors(result, design, target, size) for size in sizes], axis=0)


def definition(result: xr.Dataset) -> Evidence:
    """Look for the three stretches of the curve at m = 100, for four kinds of labels."""
    made: dict[str, Comparison] = {}
    for target in (RANDOM, SIGNAL, BHX, DECAYING):
        made[f"first descent ({target})"] = _falls(result, HUNDRED, target, 10, 50)
        made[f"peak at p = 100 ({target})"] = _falls(result, HUNDRED, target, 100, 50)
        made[f"descent from 200 on ({target})"] = _falls(
            result, HUNDRED, target, 200, 300 if target == BHX else 1000
        )
    for target in (RANDOM, SIGNAL):
        made[f"10000 no worse than 1000 ({target})"] = stays_below(
            errors(result, HUGE, target, 10_000), errors(result, HUNDRED, target, 1000)
        )
    peaks = {target: mean_ends(errors(result, HUNDRED, target, 100)) for target in HUNDRED.names}
    return Evidence(
        made,
        headline=f"peak at p = 100 ({SIGNAL})",
        reason=INFINITE,
        details={"median test error at p = 100": peaks},
    )


def theorem(result: xr.Dataset) -> Evidence:
    """Hold the theorem's four statements against draws at m = 100."""
    m = HUNDRED.examples
    noise = {size: errors(result, HUNDRED, RANDOM, size, "mean") - 1 for size in (200, 1000)}
    trace = m / (200 - m)
    shape = noise[200] / noise[1000] / ((1000 - m) / (200 - m))
    return Evidence(
        {
            "variance is (σ²/m) tr((XXᵀ)⁻¹) at n = 200": agrees(noise[200], trace / m),
            "bias is negligible (a tenth of ‖θ‖² at most) at n = 1000": stays_below(
                errors(result, HUNDRED, NOISELESS, 1000, "mean"), 0.1
            ),
            "test error falls to σ² at n = 1000": stays_below(
                errors(result, HUNDRED, SIGNAL, 1000, "mean"), 0.25
            ),
            "test error is σ² for n < m at n = 50": agrees(
                errors(result, HUNDRED, RANDOM, 50, "mean"), 1.0
            ),
        },
        headline="test error falls to σ² at n = 1000",
        reason="exact: bias ‖θ‖²(1 − m/n), variance σ² m/(n − m − 1) for n > m + 1 and σ² n/(m − n − 1) for "
        "n < m − 1; the total tends to ‖θ‖² + σ², and only the shape 1/(n − m) of the variance is right",
        details={
            "ratio of variances at n = 200 and 1000, over that of 1/(n − m)": mean_ends(shape),
            "least risk for ‖θ‖² = 4σ² at n/m": float(theory.local_minimum(4.0)),
            "law": _law_of(HUNDRED, SIGNAL),
        },
    )


def proof_b14(result: xr.Dataset) -> Evidence:
    """Hold the risk against σ² + ‖θ‖² E‖X⁺‖², with E‖X⁺‖² exact, and with its limits."""
    m = HUNDRED.examples
    made = {
        f"formula at n = {n}": agrees(
            errors(result, HUNDRED, SIGNAL, n, "mean"), 0.25 + min(n, m) / (abs(n - m) - 1)
        )
        for n in (50, 1000)
    }
    made["formula without noise at n = 50"] = agrees(
        errors(result, HUNDRED, NOISELESS, 50, "mean"), 50 / 49
    )
    made["test error falls to σ² at n = 1000"] = stays_below(
        errors(result, HUNDRED, SIGNAL, 1000, "mean"), 0.25
    )
    peak = errors(result, HUNDRED, SIGNAL, 100) / errors(result, HUNDRED, SIGNAL, 50)
    return Evidence(
        made,
        headline="formula at n = 1000",
        reason="noise, not the signal, multiplies ‖X⁺‖²; the signal adds ‖θ‖²(1 − m/n) for n > m. That there "
        "is a peak at n = m is right",
        details={"median at n = 100 over that at n = 50": mean_ends(peak)},
    )


def proof_b18(result: xr.Dataset) -> Evidence:
    """Measure how error at n = m grows with the signal's length and with the noise."""

    def error(norm: float, sigma: float) -> np.ndarray:
        return by_seed(
            result, "threshold", "threshold_error", threshold_norm=norm, threshold_sigma=sigma
        )

    # Θ(max(‖θ‖, σ)) means, for σ below ‖θ‖: ten times the signal, ten times the error, and no change with
    # the noise. Half of that in the exponent would do.
    root = 10**0.5
    made = {
        "error ∝ ‖θ‖: ‖θ‖ from 1 to 10 at σ = 0.01": exceeds(
            error(10.0, 0.01), error(1.0, 0.01), root
        ),
        "error does not depend on σ < ‖θ‖: σ from 0.01 to 0.1 at ‖θ‖ = 1": stays_below(
            error(1.0, 0.1), error(1.0, 0.01), root
        ),
        "error of order ‖θ‖ without noise": Comparison(
            lambda level: mean_interval(error(1.0, 0.0), level), SMALLEST_RATIO, 1
        ),
    }
    quantiles = {
        f"σ = {sigma:g}": {
            "median": mean_ends(error(1.0, sigma)),
            "95 %": mean_ends(
                by_seed(result, "threshold", "threshold_high", threshold_norm=1.0, threshold_sigma=sigma)
            ),
            "law": [float(np.sqrt(theory.risk_quantile(q, 50, 50, sigma))) for q in (0.5, 0.95)],
        }
        for sigma in (0.01, 0.1, 1.0)
    }  # fmt: skip
    return Evidence(
        made,
        reason="X is invertible: the error is ‖X⁻¹η‖, whatever the signal; its square is σ² χ²_m/χ²_1, with "
        "infinite mean",
        details={"root of the excess error at ‖θ‖ = 1": quantiles},
    )


def exercise(result: xr.Dataset) -> Evidence:
    """Hold exercise C.5, done as it is set, against the curve it is to show."""

    def of(name: str, size: int) -> np.ndarray:
        return by_seed(result, "exercise", f"exercise_{name}", exercise_features=size)

    def loss(size: int) -> np.ndarray:
        return of("median", size)

    signal = by_seed(result, "exercise", "exercise_signal")
    peaks = by_seed(result, "exercise", "exercise_peaks")
    table = {str(size): mean_ends(of("mean", size)) for size in (10, 40, 50, 60, 200, 500)}
    return Evidence(
        {
            "falls from n = 10 to 40": exceeds(loss(10), loss(40)),
            "peak: n = 50 three times n = 60 in most trials": Comparison(
                lambda level: mean_interval(peaks, level).within((0.0, 1.0)), 0.5, 1
            ),
            "falls from n = 60 to 200": exceeds(loss(60), loss(200)),
            "n = 200 at about 0.015": stays_below(loss(200), 0.02),
            "norm at n = 50 larger than at 10": exceeds(of("norm", 50), of("norm", 10)),
            "deviation at n = 50 below 10 % of the mean": stays_below(
                of("deviation", 50) / of("mean", 50), 0.1
            ),
        },
        headline="falls from n = 60 to 200",
        reason="low noise and a signal that ten features hold: test error is σ²(1 + n/(m − n − 1)) below the "
        f"threshold and about ‖θ‖²(1 − m/n) above; training loss is "
        f"{np.mean(of('train', 60)):.1g} at n = 60 and {np.mean(of('train', 40)):.1g} at 40 as stated",
        details={
            "mean test loss": table,
            "‖w‖ at n = 500 over ‖θ‖, law √(m/n) = 0.32": mean_ends(of("norm", 500) / signal),
            "training loss at n = 40, 60": [float(np.mean(of("train", n))) for n in (40, 60)],
        },
    )


def example(result: xr.Dataset) -> Evidence:
    """Hold example 5 and its what-ifs against draws at m = 50."""

    def ridge(name: str, size: int) -> np.ndarray:
        return by_seed(
            result,
            "ridge",
            "ridge_median",
            ridge_sigma=0.1,
            ridge_penalty=name,
            ridge_features=size,
        )

    best = ridge("optimal", 50) / ridge("optimal", 55)
    return Evidence(
        {
            "falls from d = 5 to 30": _falls(result, FIFTY, DENSE, 5, 30),
            "d = 200 below d = 50": _falls(result, FIFTY, DENSE, 50, 200),
            "falls to σ² at d = 500": stays_below(errors(result, FIFTY, DENSE, 500), 1e-4),
            "sparse signals are found better at d = 200": exceeds(
                errors(result, FIFTY, DENSE, 200), errors(result, FIFTY, SPARSE, 200)
            ),
            "σ = 0.1: d = 200 below d = 50": _falls(result, FIFTY, LOUD, 50, 200),
            "m = 200: peak at d = 200": _falls(result, TWO_HUNDRED, LOUD, 200, 150),
            "ridge 0.1 and σ = 0.1: no peak at d = 50": stays_below(
                ridge("0.1", 50), ridge("0.1", 60)
            ),
            "ridge 0.001 and σ = 0.1: peak at d = 50": exceeds(
                ridge("0.001", 50), ridge("0.001", 60)
            ),
        },
        headline="d = 200 below d = 50",
        reason=INFINITE + "; the test error tends to ‖θ‖² + σ², not to σ²",
        details={
            "optimal ridge, σ = 0.1: median at d = 50 over that at 55": mean_ends(best),
            "law": _law_of(FIFTY, DENSE),
        },
    )


def benign(result: xr.Dataset) -> Evidence:
    """Hold A.3's counterexample as stated, and with weak features beyond the signal's, against the noise."""
    stated = errors(result, HUNDRED, ONES, 1000, "mean")
    weak = errors(result, SPIKED, ONES, 1000, "mean")

    return Evidence(
        {
            "as stated with all features alike": stays_below(stated, 0.01, 2.0),
            "features 11 to 1000 of variance 0.0001": stays_below(weak, 0.01, 2.0),
        },
        headline="as stated with all features alike",
        reason="that fitting noise exactly needs no regularisation to be harmless is right, and not in the "
        "design given: there the error is that of predicting almost nothing",
        details={
            "test error as stated": mean_ends(stated),
            "its law": float(law(HUNDRED).mean[HUNDRED.names.index(ONES), -1]),
            "test error with weak features": mean_ends(weak),
        },
    )


def deterministic(result: xr.Dataset) -> Evidence:
    """Look for double descent of pseudo-inverses: as A.7 has it, and where it is."""
    return Evidence(
        {
            "peak at n = 100 as stated": _falls(result, HUNDRED, ONES, 100, 80),
            "falls from n = 10 to 80 as stated": _falls(result, HUNDRED, ONES, 10, 80),
            "falls from n = 110 to 200 as stated": _falls(result, HUNDRED, ONES, 110, 200),
            f"falls from n = 10 to 30 ({DECAYING})": _falls(result, HUNDRED, DECAYING, 10, 30),
            f"peak at n = 100 ({DECAYING})": _falls(result, HUNDRED, DECAYING, 100, 30),
            f"falls from n = 110 to 300 ({BHX})": _falls(result, HUNDRED, BHX, 110, 300),
        },
        headline="peak at n = 100 as stated",
        reason="nothing in the solution is drawn: no noise of an optimiser is needed, as the answer says. "
        + INFINITE,
    )


def second_descent(result: xr.Dataset) -> Evidence:
    """Ask, by design, whether larger models that interpolate are better, and better than all small ones."""
    made = {
        f"falls from n = 60 to 200 ({target})": _falls(result, FIFTY, target, 60, 200)
        for target in (DENSE, SPARSE, DECAYING, BHX)
    }
    made[f"falls from n = 60 to 500 ({FALLING})"] = _falls(result, STRONG_FIRST, FALLING, 60, 500)
    for design, target, used in ((FIFTY, BHX, 200), (STRONG_FIRST, FALLING, 500)):
        made[f"n = {used} better than every n < 50 ({target})"] = exceeds(
            _least(result, design, target, below=True), errors(result, design, target, used)
        )
    return Evidence(
        made,
        headline=f"falls from n = 60 to 200 ({BHX})",
        reason="where no feature adds to the signal, the risk beyond the threshold has its minimum at "
        "n/m = √SNR/(√SNR − 1) and rises from there on",
    )


def random_labels(result: xr.Dataset) -> Evidence:
    """Look for the stretches of the curve when labels are noise."""
    ends = {str(n): mean_ends(errors(result, HUNDRED, RANDOM, n)) for n in (50, 100, 150, 500)}
    return Evidence(
        {
            "peak at n = 100": _falls(result, HUNDRED, RANDOM, 100, 50),
            "falls from n = 150 to 500": _falls(result, HUNDRED, RANDOM, 150, 500),
            "falls before the threshold from n = 50 to 80": _falls(result, HUNDRED, RANDOM, 50, 80),
        },
        headline="peak at n = 100",
        reason="with nothing to learn, predicting zero has test error 1, to which the curve falls",
        details={"median test error": ends},
    )


def norms(result: xr.Dataset) -> Evidence:
    """Measure the norm of what fits random labels, against a solution from elsewhere."""

    def of(name: str, fit: str) -> np.ndarray:
        return by_seed(result, "random-labels", f"fit_{name}", fit=fit)

    least, other = "minimum norm", "descent from a random start"
    gap = by_seed(result, "random-labels", "fit_descent")
    return Evidence(
        {
            "norm is √(n/m) = 1.41": agrees(of("norm", least), 2**0.5),
            "smaller test error than a solution of larger norm": exceeds(
                of("shifted", other), of("shifted", least)
            ),
            "test error no larger than that of predicting zero": stays_below(
                of("shifted", least), 1.0
            ),
        },
        headline="norm is √(n/m) = 1.41",
        reason="‖w‖² has mean m/(n − m − 1) = 1.02; with random labels every fitted norm adds to the test "
        "error",
        details={
            "mean ‖w‖²": mean_ends(of("square", least)),
            "mean ‖w‖ from a random start": mean_ends(of("norm", other)),
            "test error": mean_ends(of("error", least)),
            "distance of descent from zero to the minimum norm, relative": float(np.max(gap)),
        },
    )


def _law_of(design: Design, target: str) -> dict[str, float]:
    row = law(design).mean[design.names.index(target)]
    return {str(size): float(value) for size, value in zip(design.sizes, row, strict=True)}
