"""What the PAC-Bayes study decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.pac_bayes import rules_bounds as bounds
from implicit_bias.studies.pac_bayes import rules_networks as networks
from implicit_bias.studies.pac_bayes import rules_others as others

CLAIMS = (
    Claim(
        "ch11.def.pac-bayes",
        "statistical",
        "Chapter 11, definition of the PAC-Bayes bound",
        "The mean risk over Q is at most the mean empirical risk plus √((2KL(Q‖P) + ln(1/δ))/2m); for "
        "a point mass at weights near zero and a Gaussian prior KL is small, and the bound tight.",
        "slack √((2KL + ln(1/δ))/2m); KL small for a point mass",
        "share of samples with known risks on which the inequality is wrong for any tried Q below δ, "
        "also for a point mass under a countable prior; and KL of a law next to a point mass, under a "
        f"Gaussian prior, less than {bounds.NEAR:g} times ‖θ‖²/2",
        bounds.definition,
    ),
    Claim(
        "ch11.B.13",
        "statistical",
        "Chapter 11, exercise B.13 and its proof",
        "The inequality holds with probability 1 − δ; by the proof KL is at most the least of an "
        "expression; the bound is near-vacuous where Q is close to P, and tight for a point mass of "
        "small norm.",
        "KL of a point mass ≈ ‖θ*‖²/2σ²",
        "wrong on less than δ of samples; the proof's display holds on more than 1 − δ; slack at Q = P above "
        f"{bounds.VACUOUS:g}; KL next to a point mass less than {bounds.NEAR:g} times ‖θ‖²/2σ²",
        bounds.printed,
    ),
    Claim(
        "ch11.B.13.valid",
        "required-control",
        "Maurer 2004; McAllester 1999; Catoni 2007; Pérez-Ortiz et al. 2021",
        "The bounds as published hold for all Q at once on 1 − δ of samples.",
        None,
        "share of samples on which a bound is wrong for any tried Q below δ, in the worst of the designs",
        bounds.valid,
    ),
    Claim(
        "ch11.B.13.tight",
        "required-control",
        "Maurer 2004, where KL is much larger than ln(2√m)",
        "The bound's constant cannot be halved: the luckiest of very many coins nearly attains it.",
        None,
        f"excess over the true risk below {bounds.CLOSE:g}; with half the slack wrong on more "
        "than δ of samples",
        bounds.tight,
    ),
    Claim(
        "ch11.B.13.implied",
        "identity",
        "Maurer 2004 and Pinsker's inequality",
        "The printed slack is at least a valid one where KL ≥ ln(2√m).",
        "3.34 at m = 200, 6.19 at m = 60,000",
        f"KL at which both are equal is ln(2√m) up to a relative error of {bounds.EXACT:g}",
        bounds.implied,
    ),
    Claim(
        "ch11.C.18",
        "statistical",
        "Chapter 11, exercise C.18",
        "For a trained network and a point mass, ‖w‖ is about 15, KL 11,250 and the bound .8, ten "
        "times the test loss but not vacuous; the bound is looser for wider priors.",
        "‖w‖ 15, KL 11,250, bound .8, test .08",
        f"at σ = {networks.STATED_SCALE:g}, for 784-100-10: ‖w‖ within {networks.STATED['norm'][1]:.0%} "
        f"of 15, bound within {networks.STATED['bound'][1]:.0%} of .8, its ratio to the test error "
        f"within {networks.STATED['ratio'][1]:.0%} of 10; larger at the largest σ; KL of the law of "
        f"least noise around w less than {bounds.NEAR:g} times what is stated; and with noise around "
        f"w a bound less than {1 - networks.MEANINGFUL:g} of the error of guessing",
        networks.exercise,
    ),
    Claim(
        "ch11.C.18.certified",
        "required-control",
        "Dziugaite & Roy 2017",
        "A Gaussian law of networks whose means, variances and prior variance descend on the bound has "
        "a bound that says something, without any data for the prior.",
        ".161 (binary MNIST, 784-600-1)",
        f"inverse of kl, with a bound on the empirical risk from samples and all priors of the grid: below "
        f"{1 - networks.MEANINGFUL:g} of the error of guessing, and not below the law's test error",
        networks.certified,
    ),
    Claim(
        "ch11.C.18.learned-prior",
        "required-control",
        "Chapter 11, exercise C.18, recent progress; Pérez-Ortiz et al. 2021",
        "A prior trained on some of the examples lowers the bound, which then counts the others alone.",
        "tighter",
        f"bound more than {networks.MORE:g} below that with the prior around the random start, and not "
        "below the law's test error",
        networks.learned_prior,
    ),
    Claim(
        "ch11.C.18.random-labels",
        "required-control",
        "Dziugaite & Roy 2017, random labels",
        "Where labels mean nothing no bound lies below the error of guessing, however far the "
        "network fits them.",
        "1.352 (784-600-1, binary, random labels; by a square root, which can exceed one)",
        "the least of the bounds of the law that is trained on random labels above 1 − 1/K",
        networks.random_labels,
    ),
    Claim(
        "ch11.C.18.memoriser",
        "required-control",
        "Maurer 2004; labels drawn at random that are all fitted",
        "Bounds stay valid for a classifier that has memorised labels without meaning, however large its "
        "weights, and for its point mass.",
        None,
        "minimum-norm weights w of labels that are coins, all of which they fit: the least bound of "
        "N(cw, s²I) over fixed s at every c, and that of the point mass, above a coin's error",
        others.memorisers,
    ),
    Claim(
        "ch11.S.14",
        "statistical",
        "Chapter 11, solution C.14, printed output",
        "A linear classifier of 50 inputs on 200 examples has KL .339, slack .2103 and the bound "
        ".2453, four times its test error.",
        "KL .3389, slack .2103, bound .2453",
        "norm, errors and bound with the script's own seed, and the slack of the printed KL, within "
        f"{others.PRINTED_OFF:.0%} of what is printed; below a coin's error on other draws, by the "
        "printed formula and for a law of finite KL",
        others.script,
    ),
    Claim(
        "dhand.thm-6.2",
        "statistical",
        "Dhand, theorem 6.2",
        "At a minimum of sharpness S the risk is at most L + √(S log(n/δ)/n), up to a constant.",
        "R ≲ L + √(S log(n/δ)/n)",
        f"constant needed in the worst case below {others.LARGEST_CONSTANT:g}, for separating weights "
        "at five scales and trained networks, with true and with random labels; R the error on new "
        "examples, which is the least that could be meant",
        others.sharpness_bound,
    ),
    Claim(
        "dhand.thm-6.2.valid",
        "required-control",
        "Dziugaite & Roy 2017; Maurer 2004",
        "Noise on weights gives a bound in which sharpness enters through the noisy loss, with the "
        "norm and the number of weights beside it.",
        None,
        f"never below the law's error; the same up to {others.SAME:g} at every scale of one classifier; "
        f"and the loss rises by s² tr H/2 up to {others.SAME:g} under small noise",
        others.sharpness_valid,
    ),
    Claim(
        "dhand.prop-6.1",
        "ill-posed",
        "Dhand, proposition 6.1",
        "Gradient descent with Gaussian noise optimises an objective like the information bottleneck's, and "
        "compresses.",
        "compression",
        f"for tanh and ReLU and every estimator: I(X; Z) ends more than {others.COMPRESSED:g} log n "
        "below its largest value in noisy descent, and, in the mean over estimators, below that of "
        "plain descent",
        others.compression,
        unit="parts of log n",
    ),
    Claim(
        "dhand.prop-6.1.same-function",
        "required-control",
        "Saxe et al. 2018; Goldfeld et al. 2019",
        "An estimate of information says something of what the network computes.",
        None,
        f"each estimate changes by less than {others.COMPRESSED:g} log n where a layer is ten times as "
        "large and every output the same",
        others.same_function,
        unit="parts of log n",
    ),
    Claim(
        "dhand.prop-6.1.exact",
        "required-control",
        "Closed forms: a Gaussian channel, a deterministic layer",
        "The noisy estimate is right where the truth is known; without noise it is the "
        "entropy of the layer's values.",
        None,
        f"relative error below {others.CHANNEL:g} on a Gaussian layer; and without noise within "
        f"{others.EXACT:g} log n of the entropy at every time",
        others.estimators_exact,
    ),
)  # fmt: skip
"""All claims of the study."""
