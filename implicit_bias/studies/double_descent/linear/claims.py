"""What the linear part decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.double_descent.linear.control import ALPHA, draws_follow_law
from implicit_bias.studies.double_descent.linear.rows import SMALLEST_RATIO
from implicit_bias.studies.double_descent.linear.rules import (
    benign,
    definition,
    deterministic,
    example,
    exercise,
    norms,
    proof_b14,
    proof_b18,
    random_labels,
    second_descent,
    theorem,
)

_BY = f"by a factor of more than {1 + SMALLEST_RATIO:g}"

LINEAR_CLAIMS = (
    Claim(
        "ch11.def.dd",
        "statistical",
        "Chapter 11, definition of double descent",
        "With m = 100 examples, test error falls as parameters grow to 100, spikes there, falls from 200 on, "
        "and is alike at 1000 and 10000.",
        "about 500 % at p = 100",
        f"medians {_BY}: from p = 10 to 50, from 50 up to 100, from 200 to 1000 (as far as the labels' "
        "model goes); no worse at 10000 than at 1000; for random labels, a dense signal, a random "
        "choice of features (Belkin, Hsu & Xu), and a signal that decays as 1/j",
        definition,
    ),
    Claim(
        "ch11.thm-1.6",
        "statistical",
        "Chapter 11, theorem 1.6",
        "On isotropic Gaussian features, minimum-norm test error is (σ²/m) tr((XXᵀ)⁻¹) plus a "
        "negligible bias and σ², about σ² for few parameters, and falls to σ² as they grow.",
        "proportional to m/(n − m)",
        f"measured within {SMALLEST_RATIO:.0%} of each of the four",
        theorem,
    ),
    Claim(
        "ch11.B.14",
        "statistical",
        "Chapter 11, problem B.14 and its proof",
        "The test error of the minimum norm is σ² + ‖θ‖² E‖X⁺‖², with a peak at n = m, and falls to σ².",
        "σ² + ‖θ‖² E‖X⁺‖²",
        f"mean test errors within {SMALLEST_RATIO:.0%} of the formula, with and without noise",
        proof_b14,
    ),
    Claim(
        "ch11.B.18",
        "statistical",
        "Chapter 11, problem B.18 and its proof",
        "With as many parameters as examples, the error is of the order of the larger of ‖θ‖ and σ.",
        "Θ(max(‖θ‖, σ))",
        "root of the median excess error, for σ < ‖θ‖: more than √10 times as large for ten times the "
        "signal; less than √10 times as large for ten times the noise; above 0.1 ‖θ‖ without noise",
        proof_b18,
    ),
    Claim(
        "ch11.C.5",
        "statistical",
        "Chapter 11, exercise C.5",
        "With m = 50, ten features that matter and noise of 0.01, test loss falls to n = 40, peaks at "
        "50, falls to about the noise at 200; the norm has a spike at 50; deviations over draws are "
        "small.",
        "0.20 at n = 10, 0.05 at 40, 0.4 to 0.5 at 50, 0.10 at 60, 0.015 at 200",
        f"medians over trials {_BY} from n = 10 to 40 and from 60 to 200; loss at 50 above 3 times that "
        "at 60 in most trials; loss at 200 at most 0.022; norm larger at 50 than at 10; deviation at "
        "50 at most 11 % of the mean",
        exercise,
    ),
    Claim(
        "ch11.W.5",
        "statistical",
        "Chapter 11, worked example 5",
        "With m = 50, ‖θ‖ = 1 and σ = 0.01, test error falls, peaks at d = 50, is much lower at 200, "
        "and falls to σ²; sparse signals are found better; more noise or more examples keep the shape; "
        "ridge 0.1 removes the peak and 0.001 does not.",
        "σ²",
        f"medians {_BY} in the direction stated; within {SMALLEST_RATIO:.0%} of σ² at d = 500",
        example,
    ),
    Claim(
        "ch11.A.3",
        "statistical",
        "Chapter 11, question A.3",
        "Overfitting can be benign without regularisation or early stopping, as 100 examples of 1000 "
        "features, ten of which matter, show: test error is about σ² = 0.01.",
        0.01,
        "mean test error at most 2σ², with the design as stated, and with weak features beyond the ten that "
        "matter",
        benign,
    ),
    Claim(
        "ch11.A.7",
        "statistical",
        "Chapter 11, question A.7",
        "Double descent needs no noise in the optimiser: pseudo-inverses at m = 100, ten coefficients and "
        "σ = 0.1 fall from n = 10 to 80, peak at 100 and fall from there on.",
        "False (the statement that noise is needed)",
        f"medians {_BY} in the direction stated; the same for a signal 1/j and a random choice of features",
        deterministic,
    ),
    Claim(
        "ch11.A.20",
        "statistical",
        "Chapter 11, question A.20",
        "Beyond the threshold test error falls with capacity, so that larger models can be better.",
        "True",
        f"m = 50: medians {_BY} from n = 60 to the largest, in the chapter's designs, for a random choice of "
        "features, a signal 1/j and features of strength 1/j; the largest better than every n < 50 in the "
        "designs where features add signal",
        second_descent,
    ),
    Claim(
        "ch11.conn.dd",
        "statistical",
        "Chapter 11, connections: double descent phenomenon",
        "With m = 100 and random labels, test error has a U shape before n = 100, a peak there, and "
        "falls from 150 on.",
        "peak at n = 100",
        f"medians {_BY}: from n = 50 to 80, from 50 up to 100, and from 150 to 500",
        random_labels,
    ),
    Claim(
        "ch11.conn.linreg",
        "statistical",
        "Chapter 11, connections: linear regression",
        "Fitting 50 random labels with 100 features, the minimum norm is about 1.4 and generalises "
        "reasonably, where a solution of larger norm overfits.",
        1.4,
        f"mean norm within {SMALLEST_RATIO:.0%} of √2; test error under a small shift {_BY} below that of "
        "descent from a random start; at most 1.1 times that of predicting zero",
        norms,
    ),
    Claim(
        "double-descent.ctrl.law",
        "required-control",
        "Belkin, Hsu & Xu 2020, theorem 1; Muirhead 1982, theorem 3.2.12",
        "Test errors of minimum-norm least squares on Gaussian features follow their exact "
        "distribution, at the threshold too.",
        "exact quartiles",
        "fractions of draws below the law's quartiles, at every size and design, within limits that "
        f"all hold with probability {1 - ALPHA:g}",
        draws_follow_law,
    ),
)
"""Claims about linear regression."""
