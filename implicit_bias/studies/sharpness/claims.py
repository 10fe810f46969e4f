"""What the sharpness study decides, by criteria fixed beforehand."""

from __future__ import annotations

from collections.abc import Iterator

from implicit_bias.results.claims import Claim
from implicit_bias.studies.sharpness import rules_exact as exact
from implicit_bias.studies.sharpness import rules_lanes as trained
from implicit_bias.studies.sharpness.rules_exact import EXACT, RATIO, REST_SLOPE, SLOPE
from implicit_bias.studies.sharpness.rules_lanes import (
    CHANGED,
    KEPT,
    SMALLEST_GAP,
    SMALLEST_RATIO,
)
from implicit_bias.studies.sharpness.select import SAME_OUTPUTS

REVIEW = "Johannsen 2026 (arXiv 2604.07603)"
DHAND = "Dhand"
CHAPTER = "Chapter 11"

_FACTOR = f"a factor {1 + SMALLEST_RATIO}"
_SAME = f"outputs within {SAME_OUTPUTS:g} of the largest"


def _of_networks() -> Iterator[Claim]:
    yield Claim(
        "johannsen.ledger", "statistical", f"{REVIEW}, axiom ledger",
        "The largest Hessian eigenvalue is a reliable scalar measure of the sharpness that matters for "
        "generalisation.", "assumed",
        f"where layers are rescaled farthest at an unchanged function ({_SAME}), λmax stays within {_FACTOR}",
        trained.reliable, KEPT, "share kept",
    )  # fmt: skip
    yield Claim(
        "dhand.def-6.1", "definition", f"{DHAND}, definition 6.1",
        "The sharpness of a minimum is the largest eigenvalue of the Hessian there.", None,
        "λmax of one lane a seed agrees with ARPACK's within 1e-4 of it",
        trained.second_opinion,
    )  # fmt: skip
    yield Claim(
        "ch11.def.flat", "statistical", f"{CHAPTER}, flat minimum",
        "Small batches and small steps end at flatter minima, which generalise better; ten times the "
        "parameters of a ReLU network have the same "
        "loss.", "98 against 96 %; Hessian × 100 at the same loss",
        f"large over small batch: λmax by more than {_FACTOR} in every arm, and so the rise along "
        f"random directions; large over small step likewise; test error by more than {SMALLEST_GAP} "
        f"points; the loss at 10 θ within {_FACTOR}",
        trained.flat,
    )  # fmt: skip
    yield Claim(
        "ch11.def.sharp", "statistical", f"{CHAPTER}, sharp minimum",
        "A large batch with a large step ends at a sharper minimum, and errs more, than a small batch with a "
        "small step.", "89 against 93 %",
        f"λmax larger by more than {_FACTOR} and test error by more than {SMALLEST_GAP} points for both "
        "changes together; λmax also for each change alone; at equal epochs and at equal training loss",
        trained.sharp,
    )  # fmt: skip
    yield Claim(
        "ch11.def.spectrum", "definition", f"{CHAPTER}, Hessian spectrum",
        "The spectrum is that of a symmetric matrix, with condition number 1000 for diag(100, 10, 1, 0.1); "
        "at a critical point of a network's loss the Hessian is not necessarily symmetric, though it should "
        "be where the loss is smooth.", "κ = 1000",
        "the example's condition number within 1e-9 of 1000; and, for the remark, uᵀHv and vᵀHu of two "
        "random directions that differ by more than 1e-5, relative, on some lane",
        trained.symmetric,
    )  # fmt: skip
    yield Claim(
        "ch11.W.11", "statistical", f"{CHAPTER}, worked example 11",
        "Multiplying all weights by c divides the largest Hessian eigenvalue by c.", "λmax / c",
        f"at c = 2 the ratio is within {_FACTOR} of 1/2",
        trained.inverse_scale, KEPT, "share kept",
    )  # fmt: skip
    yield Claim(
        "ch11.C.11", "statistical", f"{CHAPTER}, C.11",
        "Doubling all weights divides λmax by 4 and leaves λmax over the loss as it is.",
        "10 to 2.5; relative sharpness about equal",
        f"at c = 2 the ratio of λmax is within {_FACTOR} of 1/4, and that of λmax / loss within {_FACTOR} "
        f"of 1",
        trained.inverse_square, KEPT, "share kept",
    )  # fmt: skip
    yield Claim(
        "ch11.A.5", "statistical", f"{CHAPTER}, A.5",
        "A smaller λmax at equal loss does not guarantee better generalisation.", "False (the guarantee)",
        f"layers rescaled farthest, {_SAME}: λmax changes by more than {CHANGED:g} times on every lane",
        trained.no_guarantee, None, "factor",
    )  # fmt: skip
    yield Claim(
        "ch11.A.15", "statistical", f"{CHAPTER}, A.15",
        "Under multiplication of all parameters by a constant, measures made of Hessian eigenvalues "
        "alone are not valid without a normalisation.", "True",
        f"where the outputs are the same, λmax and trace change by more than {_FACTOR} on every lane",
        trained.invalid, None, "factor",
    )  # fmt: skip


def _of_arithmetic() -> Iterator[Claim]:
    yield Claim(
        "ch11.ml.1", "identity", f"{CHAPTER}, worked arithmetic 1",
        "Two checkpoints' rises under an equal perturbation give effective curvatures 80 and 240, by "
        "which the flatter one is chosen.", "80, 240, 3",
        f"the arithmetic within {EXACT:g}; the proxy stands for sharpness if its mean over random "
        f"probes is above {exact.KEPT_OF_TOP} of λmax",
        exact.random_probe,
    )  # fmt: skip
    yield Claim(
        "ch11.ml.2", "identity", f"{CHAPTER}, worked arithmetic 2",
        "With a gradient of norm 5, SAM's perturbation of radius 0.05 is 0.01 times the gradient, "
        "twice that at 0.10.", 0.05,
        "the perturbation of the package's own SAM agrees within 1e-12",
        exact.exactly("ascent_norm_error", 1e-12, "both radii, random gradients of norm 5",
                      "ascent_factor_error"),
    )  # fmt: skip
    yield Claim(
        "ch11.def.curvature", "definition", f"{CHAPTER}, curvature",
        "Curvature along a unit direction is v·Hv = Σ λᵢ (v·eᵢ)², largest at the top eigenvector.", "100 "
        "and 1",
        "within 1e-10 on random symmetric matrices and on the example",
        exact.exactly("directional_error", 1e-10,
                      "a kink (ReLU) leaves the Hessian undefined there, not singular",
                      "directional_example_error"),
    )  # fmt: skip
    yield Claim(
        "ch11.thm-1.2", "identity", f"{CHAPTER}, theorem 1.2",
        "Near a strict minimum of moderate condition number the loss is its quadratic model, up to "
        "o(δ²).", None,
        f"the model's error has slope 3 within {REST_SLOPE} in δ, at true minima",
        exact.quadratic_model,
    )  # fmt: skip
    yield Claim(
        "ch11.thm-1.3", "identity", f"{CHAPTER}, theorem 1.3",
        "At a critical point the worst rise within radius ρ is about ½ λmax ρ².", None,
        f"slope 2 within {SLOPE}, slope of the rest 3 within {REST_SLOPE}, ratio at the smallest ρ "
        f"within {RATIO} of 1",
        exact.expansion, None, "tolerances",
    )  # fmt: skip
    yield Claim(
        "ch11.B.11", "identity", f"{CHAPTER}, B.11",
        "S(ρ) = ½ λmax ρ² + O(ρ³), and it depends on scale unless divided by the loss or the radius "
        "goes with ‖θ‖.", None,
        f"the expansion as in theorem 1.3; λmax / loss and λmax ‖θ‖² within {_FACTOR} where the "
        "function is the same",
        exact.expansion_and_scale, None, "tolerances",
    )  # fmt: skip
    yield Claim(
        "ch11.B.17", "identity", f"{CHAPTER}, B.17",
        "No algorithm can guarantee a strictly flatter point at every step, even for convex "
        "losses.", "impossible",
        f"one convex loss suffices: λmax along descent on a quadratic changes by at most {EXACT:g}",
        exact.flattening,
    )  # fmt: skip
    yield Claim(
        "ch11.W.3", "identity", f"{CHAPTER}, worked example 3",
        "Gradient descent on diag(1, 10) and diag(0.1, 0.1) from (1, 1) with step 0.1: losses ½ · 0.81ᵗ and "
        "0.99²ᵗ.", "½ · 0.81ᵗ and 0.99²ᵗ",
        f"each formula within {EXACT:g} of the iterates; 'few' is at most 10 steps to a millionth, "
        "'hundreds' at least 100",
        exact.basins,
    )  # fmt: skip
    yield Claim(
        "ch11.A.18", "identity", f"{CHAPTER}, A.18",
        "The condition number alone does not determine the convergence of gradient descent and the local "
        "geometry.", "False (that it does)",
        "two quadratics of equal condition number, start and step have losses that differ by more than "
        f"{exact.DIFFERENT:g} times",
        exact.condition_number, None, "factor",
    )  # fmt: skip
    for script, published in (("S.7", "ratio 0.25"), ("S.19", "ratios 0.275 and 4.02")):
        yield Claim(
            f"ch11.{script}", "identity", f"{CHAPTER}, script {script}",
            "λmax over the loss is invariant when the weights of a linear regression are multiplied by c.",
            published, "the ratio is within 5 % of 1 at c = 1/2 and c = 2 for every seed",
            exact.relative_sharpness(script),
        )  # fmt: skip


CLAIMS = (*_of_networks(), *_of_arithmetic())
"""All claims the study owns."""
