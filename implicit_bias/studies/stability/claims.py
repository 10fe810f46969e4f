"""What the stability study decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.stability import rules
from implicit_bias.studies.stability import rules_learning as learning
from implicit_bias.studies.stability.learning import LEAST

CLAIMS = (
    Claim(
        "ch11.thm-1.4",
        "statistical",
        "Chapter 11, theorem 1.4 and its proof",
        "The gap of an ε-uniformly stable algorithm is at most ε + L√(ln(1/δ)/(2m)) with probability 1 "
        "− δ, as it stays within L√(ln(1/δ)/(2m)) of its mean.",
        "ε + L√(ln(1/δ)/(2m))",
        "algorithms of known ε: share of training sets whose gap exceeds the bound below δ; and below "
        "δ the share whose gap is further from its mean than L√(ln(1/δ)/(2m)), at ε = 1/m and 1/4",
        rules.stated_bound,
        unit="fraction",
    ),
    Claim(
        "ch11.thm-1.4.proved",
        "required-control",
        "Bousquet & Elisseeff 2002; Feldman & Vondrák 2018; Bousquet, Klochkov & Zhivotovskiy 2020",
        "Bounds with a proof fail with probability δ at most.",
        "≤ δ",
        "largest share of violations over algorithms below δ, for each bound",
        rules.proved_bounds,
        unit="fraction",
    ),
    Claim(
        "ch11.thm-1.4.constant",
        "required-control",
        "A bound with half of the sampling term",
        "A wrong constant would be caught.",
        "> δ",
        "share of gaps of an algorithm of constant loss above half of the sampling term exceeds δ",
        rules.wrong_constant,
        unit="fraction",
    ),
    Claim(
        "ch11.thm-1.4.tight",
        "required-control",
        "Hoeffding 1963; the memoriser of strength ε",
        "The bound is nearly attained, and so is a mean gap of ε.",
        None,
        f"gap's quantile at 1 − δ above {rules.HALF_TIGHT:g} of the bound at ε = 0 and "
        f"{rules.NEARLY_TIGHT:g} at ε = 1/4; the memoriser's mean gap within {100 * rules.IN_MEAN:g} % "
        "of ε",
        rules.tight_cases,
    ),
    Claim(
        "ch11.thm-1.4.sgd",
        "identity",
        "Hardt, Recht & Singer 2016, convex losses",
        "One example changes what stochastic gradient descent ends with, on convex smooth losses of "
        "slope ρ, by at most 2ρ²Σ η/m in any loss; linear losses attain it.",
        "2ρ²Σ η/m",
        "paired runs, an example replaced by its opposite: excess over the bound on the logistic loss, "
        f"and relative distance from it on the linear loss, at most {rules.ATTAINED:g}",
        rules.descent_bound,
    ),
    Claim(
        "ch11.B.2",
        "statistical",
        "Chapter 11, exercise B.2 and its validation",
        "The gap is at most 2ε + O(L√(ln(1/δ)/m)); for ridge regression ε falls like L²/(mλ), and the "
        "gap is about 2ε.",
        "slope 2",
        "mean gap below 2ε at every λ and m, shares above 2ε + L√(2 ln(1/δ)/m) below δ, exponent of ε "
        f"in λ below {rules.FALLS:g}; its exponents −1 and the slope of the gap in ε 2 within "
        f"{100 * rules.PART_OFF:g} %",
        rules.exercise_bound,
    ),
    Claim(
        "ch11.B.2.average",
        "required-control",
        "Bousquet & Elisseeff 2002, lemma 7",
        "The mean gap is the mean change of the loss at the example that is replaced.",
        "equal",
        f"ratio of both over all λ and m within {100 * rules.SAME:g} % of one",
        rules.gap_is_average_change,
    ),
    Claim(
        "ch11.B.2.exact",
        "identity",
        "Sherman & Morrison 1950",
        "Ridge and kernel ridge regression without one example, or with another, follow from one "
        "factorisation.",
        None,
        f"largest difference from refits at most {rules.EXACT:g}",
        rules.exact_updates,
    ),
    Claim(
        "ch11.def.uniform-stability",
        "statistical",
        "Chapter 11, definition of uniform stability, valid example",
        "Removing one example moves the weights of regularised empirical risk minimisation by at most "
        "O(1/(mλ)), and losses by about as much.",
        "exponents −1 in m and λ",
        "ridge and logistic regression: largest movement below its bound; exponents in m and λ −1 within "
        f"{100 * rules.SLOPE_OFF:g} %, for an example alone in its direction and for those of a population",
        rules.inverse_products,
    ),
    Claim(
        "ch11.def.uniform-stability.order",
        "statistical",
        "Chapter 11, definition of uniform stability, usage",
        "Stability of order 1/√m or better gives bounds on the gap that mean something.",
        "O(1/√m)",
        "proved high-probability bounds below the loss's range at ε = 1/√m and at ε = 1/m",
        rules.meaningful_order,
    ),
    Claim(
        "ch11.def.alg-stability",
        "statistical",
        "Chapter 11, definition of algorithmic stability, examples",
        "Descent with small steps on convex losses is stable; memorisers and least squares without a "
        "penalty in high dimension are not.",
        None,
        f"largest change of any loss by one example: exponent in m below {rules.LIKE_INVERSE:g} for "
        f"descent and ridge regression, above {rules.UNSTABLE:g} of the loss's range for a lookup table "
        "and for minimum-norm least squares at the largest m",
        rules.stable_and_unstable,
    ),
    Claim(
        "ch11.A.10",
        "statistical",
        "Chapter 11, question A.10",
        "Uniform stability suffices for generalisation and is not necessary: some unstable "
        "algorithms generalise.",
        "True",
        "nearest neighbour and minimum-norm least squares with a long tail: one example changes a loss "
        f"by more than {rules.UNSTABLE:g} of its range; gap and excess risk below {learning.SMALL:g} at "
        "the largest m",
        learning.not_necessary,
    ),
    Claim(
        "ch11.A.10.example",
        "statistical",
        "Chapter 11, answer to A.10",
        "Regularised empirical risk minimisation may be without uniform stability.",
        "may not be stable",
        "some removal moves ridge or logistic weights further than (1 + W)/(mλ + 1) or 1/(mλ)",
        rules.regularised_is_stable,
    ),
    Claim(
        "ch11.B.5",
        "statistical",
        "Chapter 11, exercise B.5",
        "For some distributions and classes no algorithm's gap is smaller than Ω(1/√m) with more than "
        "constant probability.",
        "Ω(1/√m)",
        f"fair coin: at every m the share of draws with a gap of {LEAST:g}/√m or more, either "
        f"way, above {learning.OFTEN:g}, for each algorithm",
        learning.gap_lower_bound,
        learning.OFTEN,
        unit="fraction",
    ),
    Claim(
        "ch11.B.5.excess",
        "required-control",
        "Shalev-Shwartz & Ben-David 2014, section 28.2",
        "What has a lower bound of order 1/√m for every algorithm is the excess risk.",
        "−1/2",
        f"best algorithm on a coin biased by 1/(2√m): exponent −1/2 within {100 * learning.ROOT_OFF:g} %",
        learning.excess_lower_bound,
        unit="relative",
    ),
    Claim(
        "ch11.B.10",
        "statistical",
        "Chapter 11, exercise B.10",
        "Benign overfitting occurs if and only if some interpolating solution has a Rademacher "
        "complexity of O(1/√m).",
        "if and only if",
        f"if: interpolators, each of complexity 0, have an excess risk below {learning.BAD:g}; only if: "
        "where overfitting is benign the complexity of the ball of the solution's norm falls with an "
        f"exponent in m below {learning.LIKE_ROOT:g}",
        learning.complexity_decides,
    ),
    Claim(
        "ch11.B.19",
        "statistical",
        "Chapter 11, exercise B.19 and its proof",
        "A class is learnable exactly if its dimension of Vapnik and Chervonenkis is finite; kernels "
        "of infinite dimension are learnable even so.",
        "equivalent; RBF kernels learnable",
        f"thresholds: risk's exponent in m below {learning.LEARNT:g} for every law; a kernel that "
        f"labels any points in any way: risk above {learning.NOT_LEARNT:g} for some law at every m, "
        "and, if learnable, below it for every law tried",
        learning.dimension_decides,
    ),
    Claim(
        "ch11.C.16",
        "statistical",
        "Chapter 11, exercise C.16",
        "With λ the mean distance of weights by leaving one out falls, and the gap with it; the gap is "
        "below twice the distance and roughly tracks it.",
        "gap ≲ 2Δ̄",
        f"movement and gap larger at λ = 0.01 than at 1 by more than {100 * learning.MORE:g} %; at each "
        "λ the gap below twice the movement, and within a factor of two of it",
        learning.exercise,
    ),
    Claim(
        "ch11.C.16.values",
        "statistical",
        "Chapter 11, exercise C.16, what mastery looks like",
        "Movements of 0.5, 0.1 and 0.02 and gaps of 0.15, 0.04 and 0.01 at λ = 0.01, 0.1 and 1.",
        "0.5, 0.1, 0.02; 0.15, 0.04, 0.01",
        "each within a factor of two, on images of 784 pixels",
        learning.exercise_values,
        unit="|log ratio|",
    ),
    Claim(
        "ch11.S.12",
        "statistical",
        "Chapter 11, solution C.12",
        "The script on ridge regression of noise prints movements of 0.0342 and 1.8934, 55 times "
        "apart, and gaps of 0.0521 and 0.4821.",
        "0.0342, 1.8934; 0.0521, 0.4821",
        "each within 25 %",
        learning.printed,
        unit="|log ratio|",
    ),
    Claim(
        "ch11.S.12.direction",
        "statistical",
        "Chapter 11, solution C.12, observation",
        "The fit whose weights move less has the smaller gap.",
        "0.05 against 0.48",
        "movement and test less training error larger at λ = 1e-6 than at 0.1 by more than "
        f"{100 * learning.MORE:g} %",
        learning.script_direction,
        learning.MORE,
        unit="ratio",
    ),
)
"""In the order of the report."""
