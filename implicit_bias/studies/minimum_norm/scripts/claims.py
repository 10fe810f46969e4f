"""What is decided about the exercises and scripts, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.minimum_norm.scripts.comparing import SMALLEST_RATIO
from implicit_bias.studies.minimum_norm.scripts.printed import ABOUT
from implicit_bias.studies.minimum_norm.scripts.rules_descent import (
    COUNTS,
    batch_exercise,
    batch_script,
    descent_exercise,
    descent_script,
)
from implicit_bias.studies.minimum_norm.scripts.rules_quadratic import (
    ALIKE,
    U_SHAPE,
    curvature_exercise,
    curvature_script,
    ridge_script,
)

_NUMBERS = f"numbers within a factor of {ABOUT:g} of what is stated"
_BY = f"differences by more than {SMALLEST_RATIO:.0%}"

SCRIPT_CLAIMS = (
    Claim(
        "ch11.C.1",
        "statistical",
        "Chapter 11, exercise C.1",
        "Gradient descent from zero on 50 examples of 200 features stays in the row space and ends at the "
        "minimum norm, about 0.8, after 4000, 1200 and 600 updates for α = 0.5, 1.5 and 1.99/λmax, along a "
        "smooth path, with decay r = 1 − αλmin = 0.99 for κ about 100; larger α is faster up to 2/λmax, and "
        "diverges from there on.",
        "‖w*‖ = 0.8, κ = 100, r = 0.99; 4000, 1200 and 600 updates",
        f"{_NUMBERS}, updates within {COUNTS:g}; parts outside the row space below 1e-10, norms alike to "
        f"1e-8; speed {_BY}; paths without turns of more than 90° in most data sets; divergence: a "
        "thousandfold norm",
        descent_exercise,
    ),
    Claim(
        "ch11.C.2",
        "statistical",
        "Chapter 11, exercise C.2",
        "On the same problem smaller batches end at smaller norms, lower test loss and lower λmax after 100 "
        "epochs, with slightly higher training loss, and deviations over data sets below 5 %.",
        "B = 4, 16, 50: ‖w‖ 0.40, 0.52, 0.65; test loss 0.012, 0.016, 0.021",
        f"{_NUMBERS}, epochs within {COUNTS:g}; {_BY} in the direction stated, after 100 epochs, after equal "
        "numbers of updates, and at the end",
        batch_exercise,
    ),
    Claim(
        "ch11.C.6",
        "statistical",
        "Chapter 11, exercise C.6",
        "On a quadratic with curvatures 0.1 to 100, from θ₀ = 0, gradient descent takes 10,000 updates to "
        "1e-7 (6900 in the slowest direction) and RMSProp 2000, alike in all directions: a fivefold gain, "
        "about ln κ.",
        "10,000 and 2000 updates; 5 times",
        f"{_NUMBERS}; distances below 1e-7 where they are said to be; exponents of λ in the updates to a "
        f"tenth of at most {ALIKE:g} in magnitude, with H diagonal and rotated",
        curvature_exercise,
    ),
    Claim(
        "ch11.S.1",
        "statistical",
        "Chapter 11, solution script C.1 (S.1 here)",
        "The script finds ‖w‖ = 8.336245 by descent against 8.336234 by the pseudo-inverse, with ‖∇f‖ "
        "falling from 1.2e-4 to 5.3e-7 over 50,000 updates.",
        8.336245,
        f"{_NUMBERS}, gradients within 10; directions alike to 1e-4; ‖w‖ above ‖X⁺y‖ by a millionth of it",
        descent_script,
    ),
    Claim(
        "ch11.S.2",
        "statistical",
        "Chapter 11, solution script C.2 (S.2 here)",
        "The script finds norms and test losses that grow with the batch size, and λmax(XᵀX/m) about 2.1.",
        "B = 8, 32, 128: ‖w‖ 0.342, 0.416, 0.523; test loss 0.0027, 0.0031, 0.0045",
        f"{_NUMBERS}; {_BY} in the direction stated, after its 50 epochs and at the end",
        batch_script,
    ),
    Claim(
        "ch11.S.5",
        "statistical",
        "Chapter 11, solution script C.5 (S.5 here)",
        "Over penalties from 0 to 0.01 the script's test loss has a U shape with its least at 0.001, and the "
        "norm falls by a third.",
        "‖w‖ from 0.523 to 0.342; test loss 0.00452, 0.00434, 0.00523 at λ = 0, 0.001, 0.01",
        f"{_NUMBERS}; both arms of the U at least {U_SHAPE:.0%} above its least",
        ridge_script,
    ),
    Claim(
        "ch11.S.6",
        "statistical",
        "Chapter 11, solution script C.6 (S.6 here)",
        "The script shows that descent takes 51 updates in the steepest direction and more than 5000 in the "
        "flattest, and RMSProp 51 in all: up to 100 times faster.",
        "51 updates, more than 5000, 51",
        f"updates to 1e-7 of the runs themselves, and all directions there after 5000; exponents of λ of at "
        f"most {ALIKE:g}; at least 100 times fewer updates to a half; a printed count that differs, {_BY}, "
        "from that of an optimiser that never moves",
        curvature_script,
    ),
)
"""Claims of exercises and scripts."""
