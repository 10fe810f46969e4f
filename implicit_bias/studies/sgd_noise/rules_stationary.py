"""Rules on what SGD's noise leaves: covariances, equations in continuous time, densities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence, Finding
from implicit_bias.results.statistics import Comparison
from implicit_bias.studies.comparisons import above, agreement, below
from implicit_bias.studies.rows import by_seed, exponents, has
from implicit_bias.studies.sgd_noise.chance import Sampled, sampled, sampled_identity
from implicit_bias.studies.sgd_noise.moments import EQUATIONS, UPDATES
from implicit_bias.studies.sgd_noise.stationary import CASES, SMALL_STEPS
from implicit_bias.studies.sgd_noise.wells import GROUNDS, RING, WELLS

if TYPE_CHECKING:
    import xarray as xr

LAW = 0.02
"""Distance of a simulated covariance from its exact law that is allowed, relative in every direction."""

SAME = 0.05
"""Relative distance up to which a covariance or a variance is what an equation says."""

EXPONENT = 0.1
"""Relative departure of an exponent that is allowed."""

TRACE = 0.1
"""Relative departure of a trace that is allowed: factors of two are not."""

SHARE = 0.05
"""Share of time beyond one half, or beyond another share, that counts; also what laws may be off."""


def case_values(result: xr.Dataset, name: str, case: str) -> np.ndarray:
    """Return a variable of a case by seed."""
    return by_seed(result, "stationary", name, noise_case=case)


def white_error(result: xr.Dataset, case: str) -> tuple[float, float]:
    """Return how far the mean covariance over seeds is from its law, and that distance's sampling error.

    Both are Frobenius norms of S^(−1/2)(Ŝ − S)S^(−1/2) over the root of the dimension: the relative error
    of a variance, root mean square over directions and their pairs.
    """
    white = case_values(result, "white", case)
    white = white[np.isfinite(white).all(axis=(1, 2))]
    size = white.shape[-1]
    away = np.linalg.norm(white.mean(axis=0) - np.eye(size)) / np.sqrt(size)
    spread = white.var(axis=0, ddof=1).sum() / size / len(white) if len(white) > 1 else np.nan
    return float(away), float(np.sqrt(spread))


def exact_covariances(result: xr.Dataset) -> Finding:
    """Hold simulated covariances against the discrete Lyapunov equation and its kin."""
    found = {case: white_error(result, case) for case in CASES}
    parts = {}
    for case, one in found.items():
        white = case_values(result, "white", case)
        size = white.shape[-1]
        count = int(np.isfinite(white).all(axis=(1, 2)).sum())
        # Entries on the diagonal have twice the variance of others, of which there are two each.
        parts[case] = Sampled(*one, count, size * (size + 1) // 2)
    return sampled_identity(
        parts,
        LAW,
        reason="relative, whitened by the law, so that all directions count; mean over seeds",
        distances={case: float(f"{one[0]:.3g}") for case, one in found.items()},
        sampling_errors={case: float(f"{one[1]:.3g}") for case, one in found.items()},
    )


def equation_as_written(result: xr.Dataset) -> Evidence:
    """Ask whether √η C dW gives SGD's covariance, where it can be told from √η C^(1/2) dW."""
    made = {
        f"stationary, {case}": below(case_values(result, "written_error", case), SAME)
        for case in SMALL_STEPS
        if case != "C = I"
    }
    made["at t = 2/λmax"] = below(_moment(result, "covariance", EQUATIONS[1])[:, -1], SAME)
    return Evidence(
        made,
        headline="stationary, C = I/16",
        reason="relative distance of covariances; with C² in place of C they have another unit. C = I, of "
        "which the square is the same, is left out",
    )


def equation_with_root(result: xr.Dataset) -> Evidence:
    """Ask whether √η C^(1/2) dW gives SGD's covariance, and means to the order it should."""
    made = {
        f"stationary, {case}": below(case_values(result, "root_error", case), SAME)
        for case in SMALL_STEPS
    }
    made["at t = 2/λmax"] = below(_moment(result, "covariance", EQUATIONS[0])[:, -1], SAME)
    steps = 1 / np.asarray(UPDATES, float)
    for order, equation in ((1, EQUATIONS[0]), (2, EQUATIONS[2])):
        orders = exponents(steps, _moment(result, "mean", equation))
        made[f"order {order} in η of the mean"] = agreement(orders, float(order), EXPONENT)
    return Evidence(
        made,
        headline="stationary, C = I/16",
        reason="with the drift of L + (η/4)‖∇L‖² means gain an order",
    )


def _moment(result: xr.Dataset, name: str, equation: str) -> np.ndarray:
    return by_seed(result, "moments", f"moment_{name}", equation=equation)


def gibbs_law(result: xr.Dataset) -> Evidence:
    """Ask whether the variance along every eigenvector of H is η/(2λ), as exp(−2L/η) has it."""
    arms = ("C = I", "C = I/16", "C = H", "C not commuting", "C = I, large steps")
    return Evidence(
        {case: below(case_values(result, "gibbs_error", case), SAME) for case in arms},
        headline="C = I",
        reason="largest |variance/(η/2λ) − 1| of a direction. On a quadratic of constant noise R of the "
            "theorem "
        "is a constant; with C = cI the exponent is −2L/(ηc), and c falls like one over the batch. With C "
        "proportional to H the variance is the same in all directions",
        details={"mean over seeds by case": {
            case: float(f"{np.nanmean(case_values(result, 'gibbs_error', case)):.3g}") for case in CASES
        }},
    )  # fmt: skip


def flat_directions(result: xr.Dataset) -> Evidence:
    """Ask whether the variance falls like 1/λ over directions."""
    arms = {
        "isotropic noise": "C = I",
        "isotropic noise, large steps": "C = I, large steps",
        "noise like H": "C = H",
        "noise that does not commute with H": "C not commuting",
    }
    made = {
        name: agreement(case_values(result, "variance_exponent", case), -1.0, EXPONENT)
        for name, case in arms.items()
    }
    if has(result, "given"):
        made["mini-batches of the data"] = agreement(
            by_seed(result, "given", "given_exponent"), -1.0, EXPONENT
        )
    mean = {
        case: float(f"{np.nanmean(case_values(result, 'variance_exponent', case)):.3g}")
        for case in CASES
    }
    return Evidence(
        made,
        headline="isotropic noise",
        reason="departure of the exponent of variances in λ from −1, relative. Exactly the variance is "
        "ηc/(λ(2 − ηλ)) where noise is isotropic and ηc/(2 − ηλ) where it is cH; where all labels are "
        "fitted mini-batches have no noise at the minimum, and no variance stays",
        details={"exponents": mean},
    )


def basins(result: xr.Dataset) -> Evidence:
    """Ask whether SGD is longer in the flat of two wells."""
    return Evidence(
        {name: above(by_seed(result, "wells", "mass", ground=name), 0.5 + SHARE) for name in WELLS},
        headline="equal depths",
        reason="share of time in the flat well, twice as wide; that of a deeper or a quieter sharp well is "
        "not decided by width",
        details=_masses(result),
    )


def densities(result: xr.Dataset) -> Finding:
    """Hold shares of time against (1/c) exp(−(2/η)∫L′/c)."""
    away = [
        by_seed(result, "wells", "mass", ground=name)
        - by_seed(result, "wells", "mass_law", ground=name)
        for name in GROUNDS
    ]
    return sampled_identity(
        sampled(np.stack(away, axis=1)),
        SHARE,
        reason="share of time less that of the density; steps are not small, which the density does not know",
        **_masses(result),
    )


def low_variance(result: xr.Dataset) -> Evidence:
    """Ask whether SGD is longer where gradients vary less than L alone would have it."""

    def more(ground: str, noisy_left: bool) -> np.ndarray:
        excess = by_seed(result, "wells", "mass", ground=ground) - by_seed(
            result, "wells", "mass_gibbs", ground=ground
        )
        return -excess if noisy_left else excess

    return Evidence(
        {
            "flat ground": above(more(RING, True), SHARE),
            "quieter sharp well": above(more("sharp well quieter", True), SHARE),
            "noisier sharp well": above(more("sharp well noisier", False), SHARE),
        },
        headline="flat ground",
        reason="share of time where noise is less, beyond that with uniform noise; the density has 1/c, "
        "and L divided by c under the integral: not −2L/η and a term beside it",
        details=_masses(result),
    )


def _masses(result: xr.Dataset) -> dict[str, dict[str, list[float]]]:
    return {
        "share of time, and by the density": {
            name: [
                float(f"{np.nanmean(by_seed(result, 'wells', variable, ground=name)):.3g}")
                for variable in ("mass", "mass_law")
            ]
            for name in GROUNDS
        }
    }


def stated_densities(result: xr.Dataset) -> Evidence:
    """Hold the covariances that exercise B.8's solution gives against SGD's, by their traces."""
    made: dict[str, Comparison] = {}
    for case in ("C = I", "C = H", "C not commuting"):
        for name in ("solution", "validation"):
            made[f"{name}, {case}"] = agreement(
                case_values(result, f"{name}_ratio", case), 1.0, TRACE
            )
    right = {
        case: float(f"{np.nanmean(case_values(result, 'right_ratio', case)):.4g}")
        for case in SMALL_STEPS
    }
    return Evidence(
        made,
        headline="solution, C = I",
        reason="the density to be shown holds no parameters: it is no density. The solution's has covariance "
        "α tr(C) H⁻¹, the one to validate against is αCH⁻¹; N(θ*, S) with HS + SH − αHSH = αC is right, "
        "for isotropic noise half of the second and one in 2d of the first",
        details={"trace of the exact law over SGD's": right},
    )
