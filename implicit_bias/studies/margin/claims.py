"""What the margin study decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.margin import rules, rules_script
from implicit_bias.studies.margin.script import ANGLE

CLAIMS = (
    Claim(
        "ch11.A.6",
        "statistical",
        "Chapter 11, question A.6",
        "On separable data, gradient descent on the logistic or the exponential loss converges in direction "
        "to the largest margin.",
        "True",
        f"from starts at and near the origin, under both losses: angle to the hard-margin solution below "
        f"{rules.CLOSE:g}° at the last time, and falling with an exponent in log t below {rules.LIKE_LOG:g} "
        "from t = 10⁹ on",
        rules.reaches_hard_margin,
        unit="degrees",
    ),
    Claim(
        "ch11.A.6.start",
        "statistical",
        "Chapter 11, question A.6, failure modes",
        "This needs a start near the origin; from far away the direction may become another.",
        "another direction",
        f"from starts far away, also on the wrong side of all examples: direction at the last time more than "
        f"{rules.ELSEWHERE:g}° from that of the path from zero",
        rules.from_any_start,
        rules.ELSEWHERE,
        unit="degrees",
    ),
    Claim(
        "ch11.B.9",
        "statistical",
        "Chapter 11, exercise B.9",
        "Gradient descent on the logistic loss of separable data tends to the one direction of largest "
        "margin.",
        "margin → γ",
        f"from every start and under both losses: margin within {100 * rules.LAST_GAP:g} % of the largest at "
        f"the last time, and what it lacks falling with an exponent in log t below {rules.LIKE_LOG:g}",
        rules.maximises_margin,
    ),
    Claim(
        "ch11.B.9.law",
        "required-control",
        "Soudry et al. 2018, theorem 3",
        "w(t) = ŵ log t + w̃ + o(1), with z·w̃ = −log α on every support vector.",
        None,
        f"relative error of at most {rules.LAW:g} at t = 10⁹ and {rules.LAW_LAST:g} at the last time, "
        "on data whose solution was chosen",
        rules.law_with_constants,
    ),
    Claim(
        "ch11.B.9.rate",
        "required-control",
        "Soudry et al. 2018, theorem 5, with constants",
        "Angle and relative distance of the margin from the largest are constants over log t: γ‖(I − "
        "γ²ŵŵᵀ)w̃‖ and log max α − γ² Σ α log α.",
        "1/log t",
        "both times log t against their constants at the last time, within 10/log t, relative",
        rules.rates_with_constants,
    ),
    Claim(
        "ch11.B.9.degenerate",
        "required-control",
        "Soudry et al. 2018, theorem 4",
        "Where a support vector has multiplier zero, w leaves ŵ log t like log log t.",
        "slope 1",
        f"slope of its margin's excess against log log t from t = 10⁹ on, within {rules.LOG_LOG:g}",
        rules.degenerate_grows,
    ),
    Claim(
        "ch11.B.9.steps",
        "required-control",
        "Gradient flow stands for gradient descent",
        "Gradient descent at a small step size is where gradient flow is at t = η·steps.",
        None,
        f"distance after all steps at most {rules.SAME_PATH:g} of the weights' length",
        rules.same_path,
    ),
    Claim(
        "ch11.B.9.pace",
        "required-control",
        "Nacson et al. 2019; Ji and Telgarsky 2021",
        "Normalised gradient descent comes to the largest margin like 1/k with constant steps and like "
        "1/√k with steps c/√k, where gradient descent needs 1/log k.",
        "−1 and −1/2",
        f"exponents of the margin's distance in steps within {rules.PACE_OFF:g}",
        rules.paces,
        unit="exponent",
    ),
    Claim(
        "ch11.B.9.geometry",
        "required-control",
        "Gunasekar et al. 2018",
        "Steepest descent maximises the margin of its own norm: coordinate descent in ℓ1, gradient "
        "descent in ℓ2, sign descent in ℓ∞.",
        None,
        f"more than {100 * rules.MATCHED:g} % of the largest margin of its norm, by linear or quadratic "
        f"programming, and more than {100 * rules.BETTER:g} points above the other two there",
        rules.geometry_decides,
    ),
    Claim(
        "ch11.A.6.network",
        "required-control",
        "Lyu and Li 2020, theorem 4.1",
        "Along gradient descent of a homogeneous network, log(1/loss) over ‖θ‖² never falls once the loss is "
        "below one.",
        None,
        f"largest fall in a step at most {rules.FALLS:g} of its last value",
        rules.network_margin_rises,
    ),
    Claim(
        "ch11.ml.3",
        "statistical",
        "Chapter 11, worked application on margins after zero training error",
        "A smallest margin that rises from 0.12 to 0.21 at unchanged accuracy shows that the boundary "
        "has moved away from the examples.",
        "75 %",
        f"logarithm of the rise of the distance to the boundary more than {rules.MOVES:g} of that of the "
        "margin, for a linear classifier and a network, between checkpoints of those margins, late "
        "checkpoints of the same rise, and checkpoints between which the margin over the weights' norm "
        "has that rise",
        rules.margin_means_distance,
        rules.MOVES,
        unit="share",
    ),
    Claim(
        "ch11.ml.3.arithmetic",
        "identity",
        "Chapter 11, the same, result",
        "The relative gain is 0.75.",
        0.75,
        "measured gain of weights multiplied by 0.21/0.12, less 0.75: at most 1e-9",
        rules.gain_is_75,
    ),
    Claim(
        "ch11.C.3",
        "statistical",
        "Chapter 11, exercise C.3",
        "Logistic regression by 50,000 steps on two Gaussian classes is within 1° and 95 % of a hard "
        "margin of 0.6; its loss falls and its weights grow exponentially, to 100 after 20,000; all "
        "points are right; any line between the classes separates them.",
        "γ .6, ratio .95, 1°, norm 100",
        f"each as stated, on separable draws: margin within {100 * rules_script.OFF:g} %; exponential: "
        f"a change in the last half of the steps more than {rules_script.SHAPE:g} times that in the "
        f"quarter before; norm above {rules_script.LENGTH:g}; accuracy above "
        f"{rules_script.ALL_RIGHT['train']:g} % and {rules_script.ALL_RIGHT['test']:g} %; the line "
        f"halfway separates more than {100 * rules_script.ALWAYS:g} % of draws",
        rules_script.exercise,
        unit="as named",
    ),
    Claim(
        "ch11.C.3.growth",
        "required-control",
        "Soudry et al. 2018, theorem 3",
        "Weights grow like log t/γ and the loss falls like 1/t.",
        "slopes 1 and −1",
        f"γ d‖w‖/d log t and −d log(loss)/d log t from t = 10⁹ on within {rules.ONE_LOG:g} of one",
        rules.grows_like_log,
    ),
    Claim(
        "ch11.S.3",
        "statistical",
        "Chapter 11, solution C.3, printed output",
        "After 20,000 steps the angle to the support vector machine is 0.52°, margins agree to 1.0001, "
        "the loss is 0.000156 and the weights' length 10.12.",
        ".52°, 1.0001, .000156, 10.12",
        f"angle below {ANGLE:g}°, margins within 1 %, and loss and length change from the "
        "first to the last printed step as printed, within a factor of 1.25",
        rules_script.printed,
        unit="as named",
    ),
)
"""All claims of the study."""
