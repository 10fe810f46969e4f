"""Rules on penalties and on an ill-conditioned quadratic: the script to C.5, exercise C.6 and its script."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence
from implicit_bias.studies.comparisons import about_zero, above, mean_ends
from implicit_bias.studies.minimum_norm.scripts import printed
from implicit_bias.studies.minimum_norm.scripts.comparing import (
    about,
    exceeds,
    own_seed,
    scripted,
    stays_below,
)
from implicit_bias.studies.minimum_norm.scripts.curvature import (
    ADAM,
    ADAM_ROTATED,
    CONDITIONS,
    FADING,
    FADING_ROTATED,
    GD,
    OPTIMISERS,
    RMS,
    ROTATED,
    UPDATES,
)
from implicit_bias.studies.rows import by_seed

if TYPE_CHECKING:
    import xarray as xr

RIDGE_SCRIPT, CURVATURE, CURVATURE_SCRIPT = "script-s5", "exercise-c6", "script-s6"

U_SHAPE = 0.01
"""Test losses on the arms of a U are larger by this fraction at least; printed: 4 and 21 per cent."""

ALIKE = 0.25
"""Exponents of λ up to which directions are alike; descent has −1."""

AT_ONCE = 1e-12


def ridge_script(result: xr.Dataset) -> Evidence:
    """Hold what the fifth script prints against what it computes."""

    def of(name: str) -> np.ndarray:
        return scripted(result, RIDGE_SCRIPT, f"s5_{name}")

    norms, tests = of("norm"), of("test")
    best = printed.S5_PENALTIES.index(1e-3)
    return Evidence(
        {
            "norms and losses as printed": about(
                np.concatenate([norms, of("train"), tests], axis=1),
                np.concatenate([printed.S5_NORMS, printed.S5_TRAINS, printed.S5_TESTS]),
            ),
            "‖w‖ falls with λ": exceeds(norms[:, 0], norms[:, -1], 0.0),
            "‖w‖ falls by a third up to λ = 0.01": about(1 - norms[:, -1] / norms[:, 0], 0.346),
            "U: test loss at λ = 0 above that at 0.001": exceeds(
                tests[:, 0], tests[:, best], U_SHAPE
            ),
            "U: test loss at λ = 0.01 above that at 0.001": exceeds(
                tests[:, -1], tests[:, best], U_SHAPE
            ),
        },
        headline="‖w‖ falls by a third up to λ = 0.01",
        reason="λ stands beside eigenvalues of XᵀX of 9 to 290: up to 0.01 nothing changes by more than "
        "about a thousandth. The best penalty is near nσ²/‖w_true‖² = 0.25 on average, and gains next to "
        "nothing for twice as many examples as features; for 60 examples there is a U. Printed for λ = 0 is, "
        "digit for digit, what the second script prints for B = 128",
        details={
            "at the script's own seed: ‖w‖": own_seed(result, RIDGE_SCRIPT, "s5_norm"),
            "at the script's own seed: training loss": own_seed(result, RIDGE_SCRIPT, "s5_train"),
            "at the script's own seed: test loss": own_seed(result, RIDGE_SCRIPT, "s5_test"),
            "printed ‖w‖": printed.S5_NORMS.tolist(),
            "test loss at λ = 0.01 over that at 0": mean_ends(tests[:, -1] / tests[:, 0]),
            "smallest eigenvalue of XᵀX": mean_ends(of("least")),
            "nσ²/‖w_true‖²": mean_ends(of("optimal")),
            "expected loss without a penalty over the least": mean_ends(of("gain")),
            "the same with 60 examples": mean_ends(of("fewer_gain")),
            "penalty of least expected loss with 60 examples": mean_ends(of("fewer_best")),
            "printed at λ = 0 as by the second script for B = 128": bool(
                (printed.S5_NORMS[0], printed.S5_TRAINS[0], printed.S5_TESTS[0])
                == (printed.S2_NORMS[-1], printed.S2_TRAINS[-1], printed.S2_TESTS[-1])
            ),
        },
    )


def curvature_exercise(result: xr.Dataset) -> Evidence:
    """Hold exercise C.6 against what it is to show, and turn it out of its coordinates."""

    def of(name: str, **at: object) -> np.ndarray:
        return by_seed(result, CURVATURE, f"c6_{name}", **at)

    def by(name: str, optimiser: str) -> np.ndarray:
        return of(name, c6_optimiser=optimiser)

    accuracy, needed, speedup = printed.C6_ACCURACY, of("needed"), of("speedup")
    grown = speedup[:, CONDITIONS.index(10_000)] / speedup[:, CONDITIONS.index(100)]
    late = f"below 1e-7 from {printed.C6_ADAPTIVE} to {UPDATES} updates"
    made = {
        "θ₀ = 0 leaves something to converge": above(by("at_zero", GD), accuracy),
        "GD: λ = 100 vanishes at once": stays_below(of("steepest"), AT_ONCE),
        "GD: slowest direction at 1e-7 after 6900": stays_below(of("slowest"), accuracy),
        "GD: ‖θ‖ < 1e-7 after 10,000": stays_below(
            of("norm", c6_optimiser=GD, c6_time=UPDATES), accuracy
        ),
        "RMSProp: ‖θ‖ < 1e-7 first after about 2000": about(by("first", RMS), printed.C6_ADAPTIVE),
        f"RMSProp: {late}": stays_below(by("late", RMS), accuracy),
        f"RMSProp, α = 0.1/√t: {late}": stays_below(by("late", FADING), accuracy),
        f"RMSProp, α = 0.1/√t, H rotated: {late}": stays_below(
            by("late", FADING_ROTATED), accuracy
        ),
        "RMSProp, H rotated: ever below 1e-7": stays_below(by("least", ROTATED), accuracy),
        "GD takes about 5 times as many": about(needed / by("first", RMS), printed.C6_SPEEDUP),
        "the ratio grows with ln κ": about(grown, 2.0),
        "RMSProp: directions alike": about_zero(by("slope", RMS), ALIKE),
        "RMSProp, H rotated: directions alike": about_zero(by("slope", ROTATED), ALIKE),
    }
    columns = ("tenth", "first", "late", "slope")
    return Evidence(
        made,
        headline="RMSProp: directions alike",
        reason="ln(1e7)/0.001 is 16,110; 6904 updates give 1e-3. Without correction RMSProp's first step is "
        "0.1/√0.001 = 3.2: s is filled at once, and the updates after it contract; s forgets, the step over "
        "√s grows past stability, and θ leaves again, in bursts. Where H is diagonal λ "
        "cancels in g/√s, so that all κ cost the same; a rotation undoes that. {0.1, 0.2, …, 100} has a "
        "thousand members, not a hundred",
        details={
            "updates of GD to 1e-7": mean_ends(needed),
            "slowest component after 6900 updates": mean_ends(of("slowest")),
            "‖θ‖ after 2000 updates": {
                name: float(np.nanmean(_near(result, name, printed.C6_ADAPTIVE)))
                for name in (GD, RMS, ROTATED, ADAM, ADAM_ROTATED)
            },
            "updates to a tenth of ‖θ₀‖; to 1e-7; largest ‖θ‖ later; exponent of λ": {
                name: [float(np.nanmean(by(column, name))) for column in columns]
                for name in OPTIMISERS
            },
            "GD over RMSProp at κ = 10, 100, 1000, 10,000": [
                float(v) for v in np.nanmean(speedup, axis=0)
            ],
            "numbers kept for each parameter": {"GD": 0, "RMSProp": 1, "Adam": 2},
        },
    )


def _near(result: xr.Dataset, optimiser: str, t: int) -> np.ndarray:
    """Return ‖θ‖ at the kept time nearest to t."""
    times = np.asarray(result["c6_time"].values, float)
    label = result["c6_time"].values[int(np.argmin(np.abs(times - t)))]
    return by_seed(result, CURVATURE, "c6_norm", c6_optimiser=optimiser, c6_time=label)


def curvature_script(result: xr.Dataset) -> Evidence:
    """Hold what the sixth script prints against what its runs do."""

    def of(name: str, **at: object) -> np.ndarray:
        return scripted(result, CURVATURE_SCRIPT, f"s6_{name}", **at)

    counted, half = of("printed"), of("half")
    slopes = by_seed(result, CURVATURE_SCRIPT, "s6_slope").mean(axis=1)
    ends = {name: of("end", s6_optimiser=name) for name in ("GD", "RMSProp")}
    return Evidence(
        {
            "GD: steepest direction within 51 updates": stays_below(
                of("steep", s6_optimiser="GD"), printed.S6_COUNT
            ),
            "GD: flattest direction takes more than 5000": exceeds(
                of("flat"), printed.S6_SLOW, 0.0
            ),
            "RMSProp: directions alike, to a half": about_zero(
                slopes[:, 1], ALIKE
            ),
            "RMSProp: all directions at 1e-7 after 5000": stays_below(
                ends["RMSProp"].max(axis=1), printed.C6_ACCURACY
            ),
            "flattest direction to a half: 100 times faster": exceeds(
                half[:, 0] / half[:, 1], printed.S6_SPEEDUP, 0.0
            ),
            "what is printed tells convergence from standing still": exceeds(
                of("idle"), counted[:, 1]
            ),
        },
        headline="RMSProp: all directions at 1e-7 after 5000",
        reason="the script prints how many points it logged, 50 (51 are said to be printed), for every "
        "optimiser, and for one that never moves. With a constant step RMSProp ends in a cycle of half its "
        "step size in every direction: alike, and at no minimum",
        details={
            "printed by the script": [float(v) for v in np.nanmean(counted, axis=0)],
            "printed if nothing moves": float(np.nanmean(of("idle"))),
            "RMSProp's components after 5000 updates: least, median, largest": [
                float(np.nanmin(ends["RMSProp"])), float(np.nanmedian(ends["RMSProp"])),
                float(np.nanmax(ends["RMSProp"])),
            ],
            "GD's components after 5000 updates, flattest and steepest": [
                float(np.nanmean(ends["GD"][:, 0])), float(np.nanmean(ends["GD"][:, -1])),
            ],
            "updates of GD in the flattest direction to 1e-7": mean_ends(of("flat")),
            "updates to a half, GD and RMSProp": [float(v) for v in np.nanmean(half, axis=0)],
            "exponent of λ, GD and RMSProp": [float(v) for v in np.nanmean(slopes, axis=0)],
        },
    )  # fmt: skip
