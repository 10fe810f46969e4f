"""What the mirror-descent study decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.mirror_descent import rules

CLAIMS = (
    Claim(
        "dhand.mirror",
        "statistical",
        "Dhand, section 3.3, mirror descent",
        "Mirror descent with the entropy goes to the solution of Xw = y with the largest entropy.",
        "argmax H(w) with Xw = y",
        f"the end is less than {100 * rules.SAME:g} % away from that solution, in the 1-norm, from "
        "every start: on the simplex from equal and drawn weights, on the orthant from 1/e, 1 and "
        "1e-4, and from 1 and 1e-4 where an example gives the sum",
        rules.largest_entropy,
    ),
    Claim(
        "dhand.mirror.projection",
        "required-control",
        "Gunasekar, Lee, Soudry & Srebro 2018, theorem 1",
        "Mirror descent goes to the solution with the least divergence from its start, whatever the "
        "step size.",
        None,
        f"distance of every run that has ended from the projection computed by Newton's method at most "
        f"{rules.EXACT:g}: entropy on simplex and orthant, and p-norms",
        rules.projections,
    ),
    Claim(
        "dhand.mirror.small-start",
        "required-control",
        "Gunasekar et al. 2018; Cominetti & San Martín 1994",
        "From equal weights α on the orthant the end goes to the least ‖w‖₁ as α → 0; the excess falls "
        "like α to the least reduced cost of the linear programme.",
        None,
        f"exponent within {100 * rules.AGREE:g} % of the reduced cost; excess below "
        f"{100 * rules.SAME:g} % at the smallest α",
        rules.small_start,
    ),
    Claim(
        "dhand.coord",
        "statistical",
        "Dhand, section 3.3, coordinate descent",
        "Coordinate descent is implicitly regularised in the 1-norm under certain conditions, and selects "
        "sparse solutions.",
        "1-norm, under certain conditions",
        f"‖w‖₁ at the end is at most {100 * rules.SAME:g} % above the least of an interpolator: "
        "ε-steps, greedy in small and exact steps, cyclic exact, each where no |w_i| falls along the "
        "lasso's path and where one does",
        rules.coordinate_sparse,
    ),
    Claim(
        "dhand.coord.path",
        "required-control",
        "Efron, Hastie, Johnstone & Tibshirani 2004; Hastie et al. 2007",
        "ε-step coordinate descent follows the lasso's path as ε → 0 if that path is monotone.",
        None,
        "exponent in ε of the largest distance between the paths above 0.75 where the path is monotone; "
        f"distance above {100 * rules.SAME:g} % of ‖w‖₁ at the smallest ε where it is not",
        rules.stagewise_path,
    ),
    Claim(
        "ch11.C.15",
        "statistical",
        "Chapter 11, exercise C.15",
        "On 50 examples of 20 features with non-negative weights, exponentiated gradient is sparser "
        "than projected gradient descent, at a similar loss.",
        "8 weights against 4 to 5, ‖w‖₁ 25 against 12, losses alike",
        f"at least one weight of 0.01 fewer, ‖w‖₁ smaller by {100 * rules.SMALLER:g} %, and a loss "
        f"larger by at most {100 * rules.SMALLER:g} %: the weakest of the three, in units of what is "
        "asked, above 1; both readings of the update, three kinds of true weights",
        rules.exercise_sparser,
    ),
    Claim(
        "ch11.C.15.same-limit",
        "required-control",
        "Convexity: XᵀX has full rank",
        "Projected and exponentiated gradient go to the same non-negative least squares, from any "
        "positive start.",
        None,
        f"no weight further off than {rules.REST:g} of the largest",
        rules.exercise_same,
    ),
    Claim(
        "ch11.C.15.few-examples",
        "required-control",
        "The design that the exercise's claim needs",
        "With 10 examples, exponentiated gradient from small weights is sparser than projected "
        "descent at equal loss.",
        None,
        "as for the exercise",
        rules.exercise_few,
    ),
    Claim(
        "ch11.S.11",
        "statistical",
        "Chapter 11, solution C.11, printed output",
        "Normalised exponentiated gradient ends 38 % sparser in ‖w‖₁ than gradient descent, at the "
        "same loss.",
        "‖w‖₁ 3.23 against 5.23, loss 0.00129 against 0.00123",
        f"‖w‖₁ smaller by {100 * rules.SMALLER:g} % and a loss larger by at most "
        f"{100 * rules.SMALLER:g} %: the weaker of the two, in units of what is asked, above 1; the "
        "script as it is, and with weights of both signs",
        rules.script_sparser,
    ),
)
