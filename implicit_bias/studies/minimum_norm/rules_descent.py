"""Rules of the claims on where descent and flow end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence, Finding, identity
from implicit_bias.studies.comparisons import above, below
from implicit_bias.studies.minimum_norm.descents import BEYOND, OVER
from implicit_bias.studies.minimum_norm.designs import KINDS
from implicit_bias.studies.minimum_norm.judging import each, most, seen

if TYPE_CHECKING:
    import xarray as xr

REACHED = 1e-8
"""Relative distance at which a point counts as reached by descent in double precision."""

TOLD_APART = 1e-3
"""Relative distance from which on two points are different solutions."""

DIVERGED = 1e3
"""Growth of the residual that counts as divergence."""

MATTERS = 0.01
"""Smallest relative change that counts as an effect."""

STATED = 1e-3
"""Relative error of Experiment 1."""

TRIALS = 100
"""Trials of Experiment 1."""

RATE = 0.1
"""Allowed relative error of a rate."""


def minimum_norm(result: xr.Dataset) -> Finding:
    """Hold descent's end against the solution of least norm, by step sizes and momenta."""
    errors = seen(result, "descents", "descent_error", design="full rank", begun="zero")
    return identity(
        errors,
        REACHED,
        n_seeds=len(errors),
        reason="relative distance from X⁺y, every step size below its limit, with and without "
        "momentum; the rank does not matter, nor whether y can be fitted",
        **{
            "largest by design": {
                kind: most(result, "descents", "descent_error", design=kind) for kind in KINDS
            },
            "norm of the end over X⁺y's, from a random start": each(
                result, "descents", "descent_norm", "design", begun="random"
            ),
        },
    )


def theorem(result: xr.Dataset) -> Finding:
    """Check the theorem's statement, its row space, and closed forms of descent and flow."""
    plain = [str(rule) for rule in result["rule"].values if "λmax" in str(rule)]
    errors = [
        seen(result, "descents", "descent_error", design="full rank", begun="zero", rule=rule)
        for rule in plain
    ]
    outside = seen(result, "descents", "descent_outside", design="full rank", begun="zero")
    law = seen(result, "descents", "descent_law", design="full rank")
    worst = [float(np.max(part)) for part in (errors, outside, law)]
    return identity(
        worst,
        REACHED,
        n_seeds=len(law),
        reason="largest of: distance from X⁺y, way outside the row space, distance of iterates from their "
        "closed form. The proof's S = null(X) ⊕ range(Xᵀ) should be X⁺y + null(X)",
        **{
            "distance, outside, closed form": worst,
            "flow from (I − e^{−XᵀXt})X⁺y": most(result, "flows", "flow_law"),
        },
    )


def if_and_only_if(result: xr.Dataset) -> Evidence:
    """Ask both directions of the statement on step sizes, on labels that excite the top mode or not."""
    inside = seen(result, "descents", "descent_error", begun="zero").reshape(
        len(seen(result, "descents", "descent_error")), -1
    )
    growth = np.log10(seen(result, "descents", "beyond_growth", design="full rank"))
    orthogonal = seen(result, "descents", "beyond_orthogonal")
    return Evidence(
        {
            "step sizes below 2/λmax lead to X⁺y": below(inside.max(axis=1), REACHED),
            "larger ones do not, labels generic (log₁₀ growth)": above(growth, np.log10(DIVERGED)),
            "larger ones do not, labels orthogonal to the first singular vector": above(
                orthogonal, TOLD_APART
            ),
        },
        headline="larger ones do not, labels orthogonal to the first singular vector",
        reason=f"step sizes beyond: {BEYOND:g} · 2/λmax, and {2 * OVER:g}/λmax for the orthogonal "
        "labels, of which the steepest mode has nothing to learn; such labels have probability zero "
        "where noise is Gaussian",
        details={
            "error of the growth's law beyond the limit": most(result, "descents", "beyond_law")
        },
    )


def step_size_regularises(result: xr.Dataset) -> Evidence:
    """Ask whether a larger step size ends nearer to its start."""
    rules = [str(rule) for rule in result["rule"].values if "λmax" in str(rule)]
    ways = {
        rule: seen(result, "descents", "descent_way", design="full rank", rule=rule)
        for rule in (rules[0], rules[-1])
    }
    from_start = {
        begun: 1 - ways[rules[-1]][:, place] / ways[rules[0]][:, place]
        for place, begun in enumerate(result["begun"].values)
    }
    return Evidence(
        {f"from {begun}": above(values, MATTERS) for begun, values in from_start.items()},
        headline="from random",
        reason="by how much the way from the start is shorter with the largest step size than with "
        "the smallest; the formula itself is right and says nothing: θᵀHθ is the same for all "
        "solutions",
        details={
            "largest distance from the nearest solution": most(
                result, "descents", "descent_error", design="full rank"
            ),
            "largest change of θᵀHθ over solutions, relative": most(
                result, "descents", "descent_constraint"
            ),
        },
    )


def experiment_1(result: xr.Dataset) -> Finding:
    """Hold the trials' errors against the published one."""
    errors = seen(result, "experiment-1", "trial_error")
    reason = f"relative distance from X⁺y, {errors.size} trials"
    if errors.size < TRIALS:
        reason += f" of the source's {TRIALS}"
    return identity(
        errors,
        STATED,
        n_seeds=len(errors),
        reason=reason,
        **{
            "share of trials within": float(np.mean(errors < STATED)),
            "largest |‖w‖/‖X⁺y‖ − 1|": most(result, "experiment-1", "trial_norm"),
            "mean condition number of XXᵀ": float(
                np.mean(seen(result, "experiment-1", "trial_condition"))
            ),
        },
    )


def validation(result: xr.Dataset) -> Finding:
    """Check exercise B.1 by its own validation, on both sides of the limit."""
    errors = seen(result, "validation", "validation_error")[:, -1]
    outside = seen(result, "validation", "validation_outside")
    beyond = seen(result, "validation", "validation_beyond")
    diverges = bool(np.all(beyond[:, -1] > DIVERGED * beyond.min(axis=1)))
    proof = seen(result, "validation", "validation_proof")
    return identity(
        [errors.max(), outside.max(), 0.0 if diverges else np.inf],
        REACHED,
        n_seeds=len(errors),
        reason="distance from X⁺y after the updates, and from the row space on the way; "
        f"{'diverges' if diverges else 'does not diverge'} beyond the limit. The proof takes the dual "
        "iteration for descent on ½‖XXᵀu − y‖², which would need a step size below 2/λmax²: the one "
        f"used here is {proof.mean():.3g} times that and converges",
        **{"step size over 2/λmax²": proof},
    )


def standard_optimisers(result: xr.Dataset) -> Evidence:
    """Ask whether the optimisers in use end at the minimum norm."""
    return Evidence(
        {
            str(name): below(
                seen(result, "optimisers", "optimiser_error", optimiser=name), TOLD_APART
            )
            for name in result["optimiser"].values
        },
        headline="adam",
        details={
            "share outside the row space": each(
                result, "optimisers", "optimiser_outside", "optimiser"
            ),
            "norm over the least": each(result, "optimisers", "optimiser_norm", "optimiser"),
            "relative misfit": each(result, "optimisers", "optimiser_misfit", "optimiser"),
            "fixed metric from its closed form": most(result, "optimisers", "metric_error"),
        },
    )


def unbounded(result: xr.Dataset) -> Finding:
    """Show a bias on an unbounded set of solutions."""
    errors = seen(result, "validation", "validation_error")[:, -1]
    return identity(
        errors,
        REACHED,
        n_seeds=len(errors),
        reason="relative distance from X⁺y, where solutions fill an unbounded affine space. The "
        "question's premise contradicts itself: a strictly convex loss has one minimum at most",
        **{
            "least of 1000 other solutions' norms over the end's": float(
                np.mean(1 / seen(result, "validation", "validation_norm"))
            ),
            "strictly convex: distance of ends from two starts": most(
                result, "flows", "strict_apart"
            ),
        },
    )


def constrained(result: xr.Dataset) -> Evidence:
    """Put both readings of an exercise whose premise cannot hold."""
    return Evidence(
        {
            f"constrained, {name} Hessian: ends at the projection of the free minimum": below(
                seen(result, "flows", "projected_apart", hessian=name), TOLD_APART
            )
            for name in result["hessian"].values
        },
        headline="constrained, anisotropic Hessian: ends at the projection of the free minimum",
        reason="as stated it cannot be put: with a strictly convex loss two starts end "
        f"{most(result, 'flows', 'strict_apart'):.1g} apart, there is one solution. Read as a "
        "constrained problem, projected descent ends at the point nearest to the free minimum in the "
        "Hessian's norm",
        details={"distance from that point": most(result, "flows", "projected_law")},
    )


def quadratic_rate(result: xr.Dataset) -> Finding:
    """Hold the rate of descent with step size 1/L against μL."""
    stated, rate = seen(result, "flows", "rate_stated"), seen(result, "flows", "rate")
    curvatures = result["curvature"].values.astype(float)
    other = ~np.isclose(curvatures, 1.0)
    true = -np.log1p(-stated / curvatures**2)
    return identity(
        (rate / stated - 1)[:, other],
        RATE,
        n_seeds=len(rate),
        reason="measured rate an update over μL, less 1, where L is not 1. Units of the loss "
        "change μL and leave iterates as they are; the rate is −log(1 − μ/L). The second half holds: "
        "where minima are many the start decides, and μ and L do not",
        **{
            "rate over −log(1 − μ/L), less 1": float(np.abs(rate / true - 1).max()),
            "updates to 1e-6 by L": dict(
                zip(
                    map(str, curvatures),
                    seen(result, "flows", "rate_updates").mean(axis=0),
                    strict=True,
                )
            ),
            "largest distance from the minimum nearest to the start": most(
                result, "flows", "rate_limit"
            ),
            "distance of ends over that of starts in the null space": float(
                np.mean(seen(result, "flows", "rate_begun"))
            ),
        },
    )


def nearest_minimum(result: xr.Dataset) -> Evidence:
    """Ask whether gradient flow ends at the minimum nearest to its start."""
    return Evidence(
        {
            str(loss): below(seen(result, "flows", "flow_apart", flow_loss=loss), TOLD_APART)
            for loss in result["flow_loss"].values
        },
        headline="ellipse, given start",
        reason="distance from the nearest minimum over the way there. The proof's reduced flow should be "
        "du/dt = −(XXᵀu − y)",
        details={
            "end's distance from the start over the least, less 1": each(
                result, "flows", "flow_extra", "flow_loss"
            ),
            "integrated flow from closed forms": [
                most(result, "flows", "flow_law"),
                most(result, "flows", "ellipse_law"),
            ],
        },
    )
