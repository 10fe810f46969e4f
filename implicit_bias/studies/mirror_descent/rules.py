"""Rules of the mirror-descent study."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence, Finding, NotDecidable, identity
from implicit_bias.studies.comparisons import above, agreement, below
from implicit_bias.studies.mirror_descent.coordinates import DESIGNS, METHODS, MONOTONE
from implicit_bias.studies.mirror_descent.limits import DESCENDED, POWERS, SCALES, STARTS
from implicit_bias.studies.mirror_descent.script import PRINTED, SAID_SPARSER
from implicit_bias.studies.rows import by_seed, exponents, seeds_of

if TYPE_CHECKING:
    import xarray as xr

SAME = 0.01
"""A solution is the one that is stated if it is so up to one per cent."""

EXACT = 1e-6
"""Distance from a projection that a run which has ended may have: rounding, and what its residual leaves."""

ENDED = 1e-6
"""‖Xw − y‖/‖y‖ up to which a run counts as at its end."""

REST = 1e-3
"""Distance from non-negative least squares, of its largest weight, at which a run is at the same place."""

SMALLER = 0.1
"""1-norms and losses differ from ten per cent on."""

CLIP = 5.0
"""Scores are cut there, so that one part which fails by far does not make intervals wide."""

AGREE = 0.1
"""Relative deviation of a measured exponent from its law that is allowed."""

TINY = 1e-300


def _mean(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(f"{finite.mean():.4g}") if finite.size else None


def start_values(result: xr.Dataset, name: str, start: str) -> np.ndarray:
    """Return a variable of a start by seed; NaN where the run is not at its end."""
    ended = by_seed(result, "limits", "start_residual", start=start) <= ENDED
    return np.where(ended, by_seed(result, "limits", f"start_{name}", start=start), np.nan)


def largest_entropy(result: xr.Dataset) -> Evidence:
    """Hold the end of entropic mirror descent against the solution of largest entropy."""
    made = {name: below(start_values(result, "entropy_distance", name), SAME) for name in STARTS}
    short = {
        name: _mean(start_values(result, "most", name) - start_values(result, "entropy", name))
        for name in STARTS
    }
    return Evidence(
        made,
        headline="simplex from equal weights",
        reason="mirror descent goes to the solution nearest to its start in the potential's divergence, "
        "that of largest entropy from equal weights on the simplex, or where the data fix the sum, and "
        "on the orthant from 1/e alone",
        details={"entropy short of the largest, nats": short},
    )  # fmt: skip


def projections(result: xr.Dataset) -> Finding:
    """Hold all runs of mirror descent that ended against the projections of their starts."""
    parts, open_runs = [], 0
    for stem, labels in (("start", tuple(STARTS)), ("power", POWERS), ("descended", DESCENDED)):
        for label in labels:
            at = {stem: label}
            distance = by_seed(result, "limits", f"{stem}_distance", **at)
            ended = by_seed(result, "limits", f"{stem}_residual", **at) <= ENDED
            parts.append(distance[ended])
            open_runs += int((~ended & np.isfinite(distance)).sum())
    found = np.concatenate(parts)
    return identity(
        found if found.size else [math.nan],
        EXACT,
        n_seeds=len(seeds_of(result)),
        reason=f"{found.size} runs; {open_runs} more were not at their end after the updates given"
        if open_runs
        else f"{found.size} runs, all at their end",
    )


def small_start(result: xr.Dataset) -> Evidence:
    """Follow the excess of ‖w‖₁ as the start of entropic descent goes to zero."""
    ratio = by_seed(result, "limits", "scale_exponent") / by_seed(result, "limits", "least_cost")
    smallest = by_seed(result, "limits", "scale_excess", scale=SCALES[-1])
    return Evidence(
        {
            "exponent of the excess in α over the least reduced cost": agreement(ratio, 1.0, AGREE),
            f"excess of ‖w‖₁ over the least at α = {SCALES[-1]:.0e}": below(smallest, SAME),
        },
        details={
            "least reduced costs": [
                float(f"{one:.3g}") for one in by_seed(result, "limits", "least_cost")
            ],
            "excess of mirror descent from α, geometric mean": {
                f"{scale:g}": float(
                    f"{np.exp(np.mean(np.log(np.maximum(_descended(result, scale), TINY)))):.3g}"
                )
                for scale in DESCENDED
            },
        },
    )


def _descended(result: xr.Dataset, scale: float) -> np.ndarray:
    values = by_seed(result, "limits", "descended_excess", descended=scale)
    return values[np.isfinite(values)]


def over_draws(result: xr.Dataset, values: np.ndarray, monotone: bool) -> np.ndarray:
    """Return means by seed over data sets whose lasso path is, or is not, monotone.

    Args:
        result: The study's result.
        values: Shape (seeds, designs, draws).
        monotone: Which data sets count.

    Returns:
        Shape (seeds,); NaN for a seed without such data sets.
    """
    fall = by_seed(result, "coordinates", "path_fall")
    chosen = ((fall <= MONOTONE) == monotone) & np.isfinite(fall) & np.isfinite(values)
    total = np.where(chosen, values, 0.0).sum(axis=(1, 2))
    count = chosen.sum(axis=(1, 2))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def method_norm(result: xr.Dataset, method: str, norm: str = "1-norm") -> np.ndarray:
    """Return a norm relative to the least, shape (seeds, designs, draws)."""
    return by_seed(result, "coordinates", "method_norm", algorithm=method, norm=norm)


def _both_sides(result: xr.Dataset) -> None:
    fall = by_seed(result, "coordinates", "path_fall")
    for monotone in (True, False):
        if not ((fall <= MONOTONE) == monotone).any(axis=(1, 2)).sum() > 1:
            kind = "monotone" if monotone else "other"
            raise NotDecidable(f"needs {kind} lasso paths in two seeds; draw more data sets")


def coordinate_sparse(result: xr.Dataset) -> Evidence:
    """Hold ‖w‖₁ where coordinate descent ends against the least, with and without the condition."""
    _both_sides(result)
    made = {
        f"{method} where {'monotone' if monotone else 'not'}": below(
            over_draws(result, method_norm(result, method), monotone), 1 + SAME
        )
        for method in list(METHODS)[:4]
        for monotone in (True, False)
    }
    fall = by_seed(result, "coordinates", "path_fall")
    share = {
        design: _mean((fall[:, place] <= MONOTONE).mean(axis=1))
        for place, design in enumerate(DESIGNS)
    }
    others = {method: _mean(method_norm(result, method)) for method in list(METHODS)[4:]}
    return Evidence(
        made,
        headline="ε-steps where monotone",
        reason="the condition is that no |w_i| falls along the lasso's path, measured for each data set",
        details={
            "share of monotone paths by design": share,
            "‖w‖₁ over the least of methods that move all coordinates": others,
        },
    )


def stagewise_path(result: xr.Dataset) -> Evidence:
    """Ask whether ε-steps follow the lasso's path as ε → 0, and only where it is monotone."""
    _both_sides(result)
    epsilons = result["epsilon"].values
    distance = {
        monotone: np.stack(
            [
                over_draws(
                    result, by_seed(result, "coordinates", "path_distance", epsilon=one), monotone
                )
                for one in epsilons
            ],
            axis=1,
        )
        for monotone in (True, False)
    }
    fit = exponents(epsilons, distance[True])
    return Evidence(
        {
            "exponent in ε of the distance where monotone": above(fit, 0.75),
            "distance at the smallest ε where not monotone": above(distance[False][:, -1], SAME),
        },
        details={
            "distance by ε, monotone": {
                f"{one:g}": _mean(distance[True][:, k]) for k, one in enumerate(epsilons)
            },
            "distance by ε, not monotone": {
                f"{one:g}": _mean(distance[False][:, k]) for k, one in enumerate(epsilons)
            },
        },
    )


def weakest_part(
    fewer: np.ndarray | None, first_l1: np.ndarray, second_l1: np.ndarray,
    first_loss: np.ndarray, second_loss: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Score "sparser at the same loss": 1 where all parts are just met, more where all are exceeded.

    Parts are: at least one weight fewer, a 1-norm smaller by ``SMALLER``, a loss larger by ``SMALLER`` at
    most. Each is 1 where it is just met; the score is the least, cut at ±``CLIP``.

    Args:
        fewer: By how many weights the second has less than the first; None leaves that part out.
        first_l1: 1-norm of gradient descent's end.
        second_l1: That of exponentiated gradient's.
        first_loss: Losses likewise.
        second_loss: Losses likewise.
    """
    unit = math.log1p(SMALLER)
    parts = [
        np.log(first_l1 / second_l1) / unit,
        2 - np.log((second_loss + ROUNDING) / (first_loss + ROUNDING)) / unit,
    ]
    if fewer is not None:
        parts.append(fewer)
    return np.clip(np.min(parts, axis=0), -CLIP, CLIP)


ROUNDING = 1e-8
"""Added to losses relative to ‖y‖², or of labels of order 1: below it both fit exactly."""


def exercise_score(result: xr.Dataset, truth: str, solver: str) -> np.ndarray:
    """Return the score of ``weakest_part`` of a solver against projected descent, by seed."""

    def of(name: str, which: str) -> np.ndarray:
        return by_seed(result, "exercise", f"exercise_{name}", truth=truth, solver=which)

    first, second = "projected", solver
    score = weakest_part(
        of("count", first) - of("count", second), of("l1", first), of("l1", second),
        of("loss", first), of("loss", second),
    )  # fmt: skip
    return np.asarray(score.mean(axis=1))


READINGS = {"unnormalised": "exponentiated from 1/n", "normalised": "normalised"}
"""Readings of the exercise's update."""


def exercise_sparser(result: xr.Dataset) -> Evidence:
    """Ask whether exponentiated gradient is sparser at the same loss, by both readings of its update."""
    made = {
        f"{reading}: {truth}": above(exercise_score(result, truth, solver), 1.0)
        for reading, solver in READINGS.items()
        for truth in ("sparse", "dense", "sum 1")
    }
    shown = {
        f"{truth}: {solver}": {
            name: _mean(by_seed(result, "exercise", f"exercise_{name}", truth=truth, solver=solver))
            for name in ("count", "l1", "l2", "loss")
        }
        for truth in ("sparse", "dense", "sum 1")
        for solver in ("projected", *READINGS.values())
    }
    return Evidence(
        made,
        headline="unnormalised: sparse",
        reason="with more examples than weights the loss has one minimum among w ≥ 0, and both go there; "
        "dividing by the sum fixes ‖w‖₁ = 1 whatever the data, which costs loss unless the true sum is 1",
        details={"means": shown},
    )


def exercise_same(result: xr.Dataset) -> Finding:
    """Hold projected and unnormalised descent against non-negative least squares."""
    found = [
        by_seed(result, "exercise", "exercise_distance", truth=truth, solver=solver)
        for truth in ("sparse", "dense", "sum 1")
        for solver in ("projected", "exponentiated from 1/n", "exponentiated from 1e-6")
    ]
    values = np.concatenate([one[np.isfinite(one)] for one in found])
    return identity(
        values if values.size else [math.nan], REST, n_seeds=len(seeds_of(result)),
        reason="largest difference of a weight, of the largest one, after the updates given; exponentiated "
        "gradient is slow where weights are small",
    )  # fmt: skip


def exercise_few(result: xr.Dataset) -> Evidence:
    """Ask the exercise's question where there are many solutions."""
    made = {
        solver: above(exercise_score(result, "few examples", solver), 1.0)
        for solver in ("exponentiated from 1e-6",)
    }
    return Evidence(
        made,
        details={
            solver: {
                name: _mean(
                    by_seed(
                        result, "exercise", f"exercise_{name}", truth="few examples", solver=solver
                    )
                )
                for name in ("count", "l1", "l2", "loss")
            }
            for solver in ("projected", "exponentiated from 1/n", "exponentiated from 1e-6")
        },
    )


def script_sparser(result: xr.Dataset) -> Evidence:
    """Ask of the script what is said of it, and hold its numbers against those printed."""

    def of(name: str, run: str) -> np.ndarray:
        return by_seed(result, "script", f"script_{name}", script_run=run)

    made = {}
    for arm, run in (("as it is", "normalised"), ("w = u − v, unnormalised", "two-sided")):
        score = weakest_part(
            None, of("l1", "gradient"), of("l1", run), of("loss", "gradient"), of("loss", run)
        )
        made[arm] = above(score, 1.0)
    details: dict[str, Any] = {
        f"{name}: printed, mean over seeds, at the script's own seed": {
            run: [PRINTED[name][place], _mean(of(name, run)), float(f"{of(name, run)[0]:.5g}")]
            for place, run in enumerate(("gradient", "normalised"))
        }
        for name in PRINTED
    }
    smaller = 100 * (1 - of("l1", "normalised") / of("l1", "gradient"))
    details["1-norm smaller, %: printed, mean over seeds"] = [SAID_SPARSER, _mean(smaller)]
    details["largest |‖w‖₁ − 1| of the normalised run"] = float(
        np.nanmax(by_seed(result, "script", "script_sum"))
    )
    most = math.sqrt(30)
    details["‖w‖₁/‖w‖₂: printed of gradient descent, and most possible for 30 weights"] = [
        float(f"{PRINTED['l1'][0] / PRINTED['l2'][0]:.4g}"), float(f"{most:.4g}"),
    ]  # fmt: skip
    return Evidence(
        made,
        headline="as it is",
        reason="normalised weights have a 1-norm of 1 at every update, so that 3.23 (and 30 at the start) "
        "cannot be printed; no weights on the simplex fit labels that true weights of both signs "
        "make; ‖w‖₁ = 5.23 at ‖w‖₂ = 0.453 is no vector of 30 weights",
        details=details,
    )  # fmt: skip
