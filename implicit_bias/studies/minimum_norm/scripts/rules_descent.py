"""Rules on gradient descent and mini-batches: exercises C.1 and C.2 and their scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence
from implicit_bias.studies.comparisons import mean_ends
from implicit_bias.studies.minimum_norm.scripts import printed
from implicit_bias.studies.minimum_norm.scripts.comparing import (
    about,
    exceeds,
    mostly,
    own_seed,
    scripted,
    stays_below,
)
from implicit_bias.studies.minimum_norm.scripts.descent import BEYOND, STEPS
from implicit_bias.studies.rows import by_seed

if TYPE_CHECKING:
    import xarray as xr

DESCENT, BATCHES = "exercise-c1", "exercise-c2"
DESCENT_SCRIPT, BATCH_SCRIPT = "script-s1", "script-s2"

NORM_MATCH, ROW_SPACE, GROWTH, COUNTS = 1e-8, 1e-10, 1e3, 2.0
"""Stated differences of norms and parts outside the row space; a norm that counts as grown without bound; and
up to which factor numbers of updates and epochs are what is stated."""


def descent_exercise(result: xr.Dataset) -> Evidence:
    """Hold exercise C.1, done as it is set, against what it is to show."""

    def of(name: str, **at: object) -> np.ndarray:
        return by_seed(result, DESCENT, f"c1_{name}", **at)

    counts, law = of("iterations"), of("rate_law")
    mismatch, straight = of("mismatch"), of("straight")
    slow, middle, large = (STEPS.index(step) for step in STEPS)
    made = {
        "row space: nothing above 1e-10 outside": stays_below(of("null"), ROW_SPACE),
        "norms alike to 1e-8 where ‖∇f‖ < 1e-6": stays_below(mismatch[:, 0], NORM_MATCH),
        "norms alike to 1e-8 where ‖∇f‖ < 1e-10": stays_below(mismatch[:, 1], NORM_MATCH),
        "‖w*‖ about 0.8": about(of("norm"), printed.C1_NORM),
        "κ about 100": about(of("condition"), printed.C1_CONDITION),
        "1 − r about 0.01": about(1 - of("rate")[:, middle], 1 - printed.C1_RATE),
        "4000, 1200 and 600 updates": about(counts, list(printed.C1_ITERATIONS.values()), COUNTS),
        "α = 1.5/λmax faster than 0.5/λmax": exceeds(counts[:, slow], counts[:, middle]),
        "α = 1.99/λmax faster than 1.5/λmax": exceeds(counts[:, middle], counts[:, large]),
        f"α = {BEYOND}/λmax diverges": exceeds(of("growth"), GROWTH, 0.0),
        "r is 1 − αλmin at α = 1.5/λmax": about(law[:, middle], 1.0, 1.1),
        "r is 1 − αλmin at α = 1.99/λmax": about(law[:, large], 1.0, 1.1),
        "path never turns back at α = 0.5/λmax": mostly(of("smooth")[:, slow]),
        "path never turns back at α = 1.5/λmax": mostly(of("smooth")[:, middle]),
        "path never turns back at α = 1.99/λmax": mostly(of("smooth")[:, large]),
        "most of the path on one axis": mostly(of("share")[:, middle]),
    }
    return Evidence(
        made,
        headline="norms alike to 1e-8 where ‖∇f‖ < 1e-10",
        reason="κ of 50 rows of 200 features is near (1.5/0.5)² = 9 and ‖w*‖ near ‖w_true‖/2; the error is "
        "at most ‖∇f‖/λmin; the best step is 2/(λmin + λmax), and at 1.99/λmax the steepest mode, 1 − αλmax "
        "= −0.99, is the slowest; modes with αλ > 1 change sign at every update",
        details={
            "updates": {f"{step}": mean_ends(counts[:, STEPS.index(step)]) for step in STEPS},
            "‖w*‖/‖w_true‖, law √(m/n) = 0.5": mean_ends(of("norm") / of("signal")),
            "κ": mean_ends(of("condition")),
            "relative difference of norms where ‖∇f‖ < 1e-6": mean_ends(
                mismatch[:, 0] / of("norm")
            ),
            "R² of log error against t, and against log t": [
                float(np.mean(straight[:, 0])),
                float(np.mean(straight[:, 1])),
            ],
            "points logged before convergence, α = 1.5/λmax": mean_ends(of("logged")[:, middle]),
            "‖w‖/‖w*‖ after 1000 updates at exactly 2/λmax": mean_ends(of("border")),
            "share of data sets in which 50 power iterations let 1.99/λmax diverge": mean_ends(
                of("unstable")
            ),
            "plain updates against the closed form": float(np.nanmax(of("plain"))),
        },
    )


def descent_script(result: xr.Dataset) -> Evidence:
    """Hold what the first script prints against what it computes."""

    def of(name: str) -> np.ndarray:
        return scripted(result, DESCENT_SCRIPT, f"s1_{name}")

    norms = of("norm")
    excess = by_seed(result, DESCENT_SCRIPT, "s1_excess").mean(axis=1)
    return Evidence(
        {
            "descent ends at X⁺y to 1e-4": stays_below(of("alignment"), 1e-4),
            "‖w‖ at the end about 8.336": about(norms[:, -1], printed.S1_NORMS[-1]),
            "gradients as printed": about(of("gradient"), printed.S1_GRADIENTS, 10.0),
            "about 50,000 updates to ‖∇f‖ < 1e-6": about(of("needed"), printed.S1_NEEDED),
            "‖w‖ ends above ‖X⁺y‖ by 1.3e-6 of it": exceeds(1 + excess, 1.0, 1e-6),
        },
        headline="‖w‖ at the end about 8.336",
        reason="‖X⁺y‖ is at most ‖w_true‖ plus noise, and five standard normal coefficients have a length "
        "near 2.1; from 0 with α < 1/λmax every mode grows towards its end, so that ‖w‖ never exceeds ‖X⁺y‖. "
        "The loop counts from 0 and never prints iteration 50000. The many updates are those of a step of "
        "0.005/λmax",
        details={
            "at the script's own seed: ‖w‖": own_seed(result, DESCENT_SCRIPT, "s1_norm"),
            "at the script's own seed: ‖∇f‖": own_seed(result, DESCENT_SCRIPT, "s1_gradient"),
            "at the script's own seed: ‖X⁺y‖": own_seed(result, DESCENT_SCRIPT, "s1_minimum"),
            "printed ‖w‖": printed.S1_NORMS.tolist(),
            "printed ‖∇f‖": printed.S1_GRADIENTS.tolist(),
            "‖w_true‖ over seeds": mean_ends(of("signal")),
            "updates to ‖∇f‖ < 1e-6": mean_ends(of("needed")),
            "the same with α = 2/(λmin + λmax)": mean_ends(of("best")),
            "iterations that the script's loop prints": [
                t for t in range(50_000) if t % 10_000 == 0 and t > 0
            ],
        },
    )


def batch_exercise(result: xr.Dataset) -> Evidence:
    """Hold exercise C.2, done as it is set, against what it is to show, then at equal updates and its end."""

    def of(name: str, **at: object) -> np.ndarray:
        return by_seed(result, BATCHES, f"c2_{name}", **at)

    def grows(name: str, when: str) -> object:
        values = of(name, c2_when=when)
        return exceeds(values[:, -1], values[:, 0])

    reached, curvature, distance = of("reached"), of("curvature"), of("distance")
    asked = [printed.C2_BATCHES.index(batch) for batch in printed.C2_EPOCHS]
    first, equal, end = "100 epochs", "equal updates", "the end"
    made = {
        "‖w‖ is 0.4, 0.52, 0.65": about(of("norm", c2_when=first), printed.C2_NORMS),
        "test loss is 0.012, 0.016, 0.021": about(of("test", c2_when=first), printed.C2_TESTS),
        "training loss is 0.008, 0.008, 0.009": about(
            of("train", c2_when=first), printed.C2_TRAINS
        ),
        "40 and 15 epochs to a training loss of 0.001": about(
            reached[:, asked], list(printed.C2_EPOCHS.values()), COUNTS
        ),
        "‖w‖ larger with B = 50 than 4 (100 epochs)": grows("norm", first),
        "‖w‖ larger with B = 50 than 4 (equal updates)": grows("norm", equal),
        "‖w‖ larger with B = 50 than 4 (the end)": grows("norm", end),
        "‖w‖ larger with B = 50 than 4 (α ∝ √B)": exceeds(of("scaled")[:, -1], of("scaled")[:, 0]),
        "test loss larger with B = 50 than 4 (100 epochs)": grows("test", first),
        "test loss larger with B = 50 than 4 (equal updates)": grows("test", equal),
        "test loss larger with B = 50 than 4 (the end)": grows("test", end),
        "training loss larger with B = 4 than 50 (100 epochs)": exceeds(
            of("train", c2_when=first)[:, 0], of("train", c2_when=first)[:, -1]
        ),
        "λmax larger with B = 50 than 4": exceeds(curvature[:, -1], curvature[:, 0]),
        "deviations below 5 %": stays_below(of("deviation").max(axis=1), 0.05),
    }
    correlation = of("correlation")
    return Evidence(
        made,  # type: ignore[arg-type]
        headline="‖w‖ larger with B = 50 than 4 (100 epochs)",
        reason="labels can be fitted, so that noise dies out and every batch size ends at X⁺y; the Hessian "
        "is XᵀX/m everywhere. 100 epochs are 1300 updates for B = 4 and 100 for B = 50, whose norm is still "
        "growing. The test loss is near ½‖w_true‖²(1 − m/n)",
        details={
            "‖w‖ after 100 epochs": _means(of("norm", c2_when=first)),
            "‖w‖ at the end": _means(of("norm", c2_when=end)),
            "largest ‖w − X⁺y‖/‖X⁺y‖ at the end": [float(v) for v in np.nanmax(distance, axis=0)],
            "test loss after 100 epochs": _means(of("test", c2_when=first)),
            "test loss of X⁺y": mean_ends(of("limit_test")),
            "epochs to a training loss of 0.001": _means(reached),
            "λmax": mean_ends(curvature[:, 0]),
            "correlation of λmax, of three values, and test loss over nine runs: mean, least, largest": [
                float(np.nanmean(correlation)), float(np.nanmin(correlation)), float(np.nanmax(correlation)),
            ],
        },
    )  # fmt: skip


def batch_script(result: xr.Dataset) -> Evidence:
    """Hold what the second script prints against what it computes."""

    def of(name: str) -> np.ndarray:
        return scripted(result, BATCH_SCRIPT, f"s2_{name}")

    norms, tests = of("norm"), of("test")
    return Evidence(
        {
            "norms and losses as printed": about(
                np.concatenate([norms, of("train"), tests], axis=1),
                np.concatenate([printed.S2_NORMS, printed.S2_TRAINS, printed.S2_TESTS]),
            ),
            "λmax of XᵀX/m about 2.1": about(of("curvature"), printed.S2_CURVATURE),
            "‖w‖ larger with B = 128 than 8": exceeds(norms[:, -1], norms[:, 0]),
            "test loss larger with B = 128 than 8": exceeds(tests[:, -1], tests[:, 0]),
            "‖w‖ larger with B = 128 than 8, at the end": exceeds(
                of("far_norm")[:, -1], of("far_norm")[:, 0]
            ),
        },
        headline="‖w‖ larger with B = 128 than 8",
        reason="curvatures of the loss are at most 0.02: 50 epochs with step 0.01 leave w at a twentieth of "
        "its length or less, and the test loss at that of w = 0; the norm counts updates, 650, 200 and 50. "
        "λmax of 2.1 is that of XᵀX, not of XᵀX/m. A batch of 128 has but 100 examples, divided by 128",
        details={
            "at the script's own seed: ‖w‖": own_seed(result, BATCH_SCRIPT, "s2_norm"),
            "at the script's own seed: training loss": own_seed(result, BATCH_SCRIPT, "s2_train"),
            "at the script's own seed: test loss": own_seed(result, BATCH_SCRIPT, "s2_test"),
            "printed ‖w‖": printed.S2_NORMS.tolist(),
            "‖w‖/‖X⁺y‖": _means(norms / of("limit")[:, None]),
            "test loss over that of w = 0": _means(tests / of("zero_test")[:, None]),
            "λmax of XᵀX": mean_ends(of("sum_curvature")),
            "‖w‖ at the end of descent with larger steps": _means(of("far_norm")),
            "largest distance from X⁺y there": float(np.nanmax(of("far_distance"))),
        },
    )


def _means(table: np.ndarray) -> list[float]:
    return [float(value) for value in np.nanmean(table, axis=0)]
