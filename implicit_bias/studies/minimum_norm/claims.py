"""What the minimum-norm study decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.minimum_norm import rules_definitions as definitions
from implicit_bias.studies.minimum_norm import rules_descent as descent
from implicit_bias.studies.minimum_norm import rules_penalties as penalties
from implicit_bias.studies.minimum_norm.definitions import FITTED

_REACHED = f"relative distance from X⁺y at most {descent.REACHED:g}"

CLAIMS = (
    Claim(
        "dhand.def-2.1",
        "definition",
        "Dhand, definition 2.1",
        "A predictor interpolates if its training loss is zero, that is if it predicts every label.",
        "L(θ) = 0",
        "loss and largest residual, zero up to rounding, answer rightly on seven predictors of which three "
        "interpolate",
        definitions.interpolation,
        unit="share of wrong answers",
    ),
    Claim(
        "ch11.def.interp",
        "definition",
        "Chapter 11, definition of an interpolating solution",
        "Zero training loss is, in classification, the same as every training label being right.",
        "100 % accuracy",
        f"training loss at most {FITTED:g} wherever every label is right, for four losses "
        "and weights of four lengths",
        definitions.accuracy_means_zero_loss,
        unit="training loss",
    ),
    Claim(
        "dhand.def-2.2",
        "definition",
        "Dhand, definition 2.2",
        "The generalisation error is the expected loss on the data's distribution: a mean over fresh "
        "examples estimates it.",
        None,
        f"means over fresh examples within {penalties.FRESH:g} of the exact risk, at every size and signal",
        penalties.population_risk,
    ),
    Claim(
        "ch11.def.min-norm",
        "definition",
        "Chapter 11, definition of the minimum-norm solution, and its example",
        "Among all solutions of Xw = y the shortest is X⁺y = Xᵀ(XXᵀ)⁻¹y.",
        "X⁺y",
        f"the example's solution in fractions, and no other solution shorter, to {definitions.EXACT:g}",
        definitions.least_norm,
    ),
    Claim(
        "ch11.def.min-norm.rank",
        "definition",
        "Chapter 11, definition of the minimum-norm solution, failure case",
        "Where X has not full row rank its pseudoinverse is not directly defined, and the minimum norm "
        "becomes delicate.",
        "not directly defined",
        f"Penrose's four conditions violated by more than {definitions.EXACT:g} on designs of lower rank",
        definitions.rank_undefines,
    ),
    Claim(
        "dhand.thm-3.1",
        "identity",
        "Dhand, theorem 3.1",
        "Gradient descent from zero with small steps ends at the solution of least norm, where "
        "features are more than examples and X has full rank.",
        "Xᵀ(XXᵀ)⁻¹y",
        f"{_REACHED}, every step size below its limit, with momentum as well",
        descent.minimum_norm,
    ),
    Claim(
        "ch11.thm-1.1",
        "identity",
        "Chapter 11, theorem 1.1",
        "From zero, with a step size below 2/λmax(XᵀX), gradient descent stays in the row space "
        "and ends at X⁺y.",
        "X⁺y",
        f"distance from X⁺y, way outside the row space, and distance from closed forms at most "
        f"{descent.REACHED:g}",
        descent.theorem,
    ),
    Claim(
        "ch11.A.1",
        "statistical",
        "Chapter 11, question A.1",
        "On any underdetermined problem descent from zero ends at the minimum norm if and only if the "
        "step size is below 2/λmax.",
        "True",
        f"below: {_REACHED}, on designs of every rank. Beyond: residual grown above "
        f"{descent.DIVERGED:g}-fold for generic labels, and distance above {descent.TOLD_APART:g} for "
        "labels orthogonal to the first singular vector",
        descent.if_and_only_if,
    ),
    Claim(
        "ch11.B.1",
        "identity",
        "Chapter 11, problem B.1 and its validation",
        "With 50 examples of 200 features and step size 1.5/λmax, 10,000 updates end within 10⁻⁸ of "
        "X⁺y, in the row space all the time; beyond the limit descent diverges.",
        "10⁻⁸",
        f"distances from X⁺y and from the row space at most {descent.REACHED:g}, and divergence beyond",
        descent.validation,
    ),
    Claim(
        "ch11.B.1.optimisers",
        "statistical",
        "Chapter 11, problem B.1, interpretation",
        "Standard optimisers, SGD and Adam among them, select the minimum-norm interpolating solution.",
        "SGD, Adam",
        f"relative distance from X⁺y below {descent.TOLD_APART:g} from zero, optimiser by optimiser",
        descent.standard_optimisers,
    ),
    Claim(
        "dhand.E1",
        "identity",
        "Dhand, Experiment 1",
        "With 1000 features and 100 examples, descent from zero ends within 0.1 % of the minimum "
        "norm in 100 trials.",
        "< 0.1 %",
        f"relative distance from X⁺y at most {descent.STATED:g} in every trial",
        descent.experiment_1,
    ),
    Claim(
        "ch11.A.9",
        "identity",
        "Chapter 11, question A.9",
        "A bounded set of solutions is not needed for an implicit bias.",
        "False, as an equivalence",
        f"{_REACHED} where solutions fill an affine space",
        descent.unbounded,
    ),
    Claim(
        "dhand.thm-7.2",
        "statistical",
        "Dhand, theorem 7.2",
        "On convex quadratics a larger step size regularises more.",
        "‖θ − θ₀‖² + (η/2) θᵀHθ",
        f"the way from the start more than {descent.MATTERS:.0%} shorter with the largest step "
        f"size than with the smallest",
        descent.step_size_regularises,
    ),
    Claim(
        "ch11.thm-1.7",
        "statistical",
        "Chapter 11, theorem 1.7",
        "On a convex loss with many minima gradient flow ends at the one nearest to its start.",
        "argmin ‖θ − θ₀‖",
        f"distance from the nearest minimum below {descent.TOLD_APART:g} of the way there: least "
        "squares, a convex function of Xw, and a convex loss that is none",
        descent.nearest_minimum,
    ),
    Claim(
        "ch11.B.3",
        "ill-posed",
        "Chapter 11, problem B.3",
        "With a strictly convex loss of several solutions, descent ends at the projection of the free "
        "minimum on the feasible set.",
        "projection of θ*",
        "a strictly convex loss has one minimum; read as a constrained quadratic, distance from that "
        f"projection below {descent.TOLD_APART:g}, for an isotropic and an anisotropic Hessian",
        descent.constrained,
    ),
    Claim(
        "ch11.B.7",
        "identity",
        "Chapter 11, problem B.7",
        "On a μ-strongly convex, L-smooth loss descent converges at rate exp(−μLt); where minima are "
        "many its start decides, not the constants.",
        "exp(−μLt)",
        f"rate an update within {descent.RATE:.0%} of μL, for quadratics of L = 0.1 and 10",
        descent.quadratic_rate,
    ),
    Claim(
        "dhand.cor-3.2",
        "identity",
        "Dhand, corollary 3.2",
        "Ridge regression tends to the minimum norm as its penalty vanishes.",
        "λ → 0",
        f"exponent of the distance in λ within {penalties.SLOPE:g} of 1, its constant within "
        f"{penalties.CONSTANT:g} of ‖(XᵀX)⁺X⁺y‖, on designs of every rank",
        penalties.ridge_limit,
        unit="of what is allowed",
    ),
    Claim(
        "dhand.thm-3.3",
        "statistical",
        "Dhand, theorem 3.3",
        "The minimum norm's test error is at most ‖θ‖² E‖x‖² tr((XXᵀ)⁻¹)/n + σ².",
        "an upper bound",
        "bound less risk positive, given X, at the largest p, for every strength of the signal",
        penalties.bound,
        unit="σ²",
    ),
    Claim(
        "ch11.A.4",
        "identity",
        "Chapter 11, question A.4",
        "A model of zero training error need not have a positive generalisation gap.",
        "False, as a rule",
        f"a family of interpolating fits whose gap is at most {penalties.ROUNDING:g}",
        penalties.gap_can_vanish,
        unit="label²",
    ),
    Claim(
        "ch11.A.4.negative",
        "statistical",
        "Chapter 11, solution of question A.4",
        "The gap of a model with zero training loss can be negative on a lucky sample.",
        "negative",
        f"test loss below training loss in more than {penalties.SOME:.1%} of interpolating fits",
        penalties.gap_can_be_negative,
        unit="share of fits",
    ),
    Claim(
        "ch11.A.12",
        "statistical",
        "Chapter 11, question A.12",
        "Of solutions with one training loss the shortest is not always the most robust to a shift "
        "of inputs.",
        "False, as a rule",
        "after features that do not matter became wider, test error of the minimum L2 norm above "
        f"{1 + penalties.WORSE:g} times that of the minimum L1 norm",
        penalties.norm_is_not_robustness,
        unit="ratio",
    ),
    Claim(
        "dhand.sgd-extra",
        "statistical",
        "Dhand, section 3.3",
        "Noise of mini-batches regularises beyond what deterministic descent does.",
        "additional",
        f"norm more than {descent.MATTERS:.0%} smaller with single examples than with all: of w, where "
        "labels can be fitted and where they cannot, and of w = u² − v²",
        penalties.batches_regularise,
        unit="ratio",
    ),
    Claim(
        "ch11.A.16",
        "statistical",
        "Chapter 11, question A.16",
        "SGD with momentum 0.9 has another implicit bias than SGD without.",
        'False, as "the same bias"',
        f"ends more than {descent.MATTERS:.0%} apart: least squares with all examples and with "
        f"mini-batches; a network, at equal η/(1 − β) and at equal η, more than {1 + penalties.WORSE:g} "
        "times as far apart as by another order of batches",
        penalties.momentum_differs,
    ),
    Claim(
        "ch11.B.6",
        "statistical",
        "Chapter 11, problem B.6",
        "An overparameterised model trained to interpolation need not have a low norm.",
        "disproved",
        f"an interpolating solution more than {definitions.TENFOLD:g} times as long as the shortest",
        definitions.interpolation_is_not_low_norm,
        unit="ratio",
    ),
    Claim(
        "ch11.B.6.labels",
        "statistical",
        "Chapter 11, solution of problem B.6",
        "Random labels are the example: fitting them takes a high norm.",
        "high norm",
        f"‖X⁺y‖ of random labels above {1 + definitions.TWICE:g} times that of a signal of equal size, "
        "for isotropic and for decaying inputs",
        definitions.random_labels_need_norm,
        unit="ratio",
    ),
    Claim(
        "ch11.W.1",
        "statistical",
        "Chapter 11, worked example 1",
        "With 100 examples, 500 parameters and noise of 0.01, descent from zero ends at a norm of 5 to "
        "8, where the truth has 22, and its test error is dominated by the noise.",
        "5 to 8, and about σ²",
        f"norm below {definitions.NORM_PUBLISHED:g}, and test error below {definitions.NOISY:g} σ²",
        definitions.example_1,
    ),
    Claim(
        "ch11.W.2",
        "identity",
        "Chapter 11, worked example 2",
        "Ridge regression at λ = 0.001 has 1.05 times the norm of the minimum-norm solution.",
        1.05,
        f"norm ratio within {definitions.RATIO:g} of 1.05, relative",
        definitions.example_2,
    ),
    Claim(
        "ch11.W.2.descent",
        "statistical",
        "Chapter 11, worked example 2",
        "After 10,000 updates descent is at X⁺y up to 10⁻⁶, relative; real data are no exception.",
        "10⁻⁶",
        f"relative distance below {definitions.AGREES:g} on the example's inputs and on the study's data",
        definitions.descent_agrees,
    ),
)
"""Claims of the study, those on the chapter's exercises and scripts apart."""
