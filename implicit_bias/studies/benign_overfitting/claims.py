"""What the benign-overfitting study decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.benign_overfitting import rules_linear as linear
from implicit_bias.studies.benign_overfitting import rules_networks as networks

CLAIMS = (
    Claim(
        "ch11.def.benign",
        "statistical",
        "Chapter 11, definition of benign overfitting",
        "A model can fit its training data exactly and have a test loss that exceeds the best "
        "possible by o(1).",
        "test loss ≤ optimum + o(1)",
        f"minimum-norm interpolation of noisy targets, few spikes and a long tail: excess risk below "
        f"{linear.NEAR_OPTIMAL:g} σ² at the largest m, and falling with an exponent in m below "
        f"{linear.FALLS:g}",
        linear.benign_exists,
    ),
    Claim(
        "ch11.thm-1.8",
        "statistical",
        "Chapter 11, theorem 1.8",
        "Where data have low effective rank, a small-norm interpolator's test loss less its training "
        "loss is O(√(effective rank/m)).",
        "exponent −1/2 in m",
        f"at effective ranks that do not grow with m: exponent in m below {linear.FALLS:g}, of the "
        "excess risk in every interpolating design (tails of m² and of 2m directions with one energy), "
        "and of test less training loss itself",
        linear.low_rank_suffices,
        unit="exponent",
    ),
    Claim(
        "ch11.thm-1.8.effective-ranks",
        "required-control",
        "Bartlett, Long, Lugosi & Tsigler 2020, theorem 4",
        "What noise adds to the risk is σ²(k*/m + m/R_k*) up to a constant: the tail must be long.",
        "proportional",
        f"the noise's share of the risk over k*/m + m/R_k*: |log| below log {linear.ORDER:g} at every "
        f"tail of at least {linear.CLEAR}m directions",
        linear.theory_orders,
        unit="|log ratio|",
    ),
    Claim(
        "ch11.A.14",
        "statistical",
        "Chapter 11, question A.14",
        "A model can interpolate and generalise because implicit bias selects a solution whose norm "
        "stays controlled.",
        "True",
        "minimum-norm interpolation with a long tail: what noise adds to the risk is below "
        f"{linear.NEAR_OPTIMAL:g} σ²; and the weights' norm grows with an exponent in m below "
        f"{linear.BOUNDED:g} where the risk falls",
        linear.norm_controlled,
    ),
    Claim(
        "ch11.B.16",
        "statistical",
        "Chapter 11, exercise B.16",
        "With effective rank r, the minimum-norm interpolator's norm is ‖y‖/σ_r up to a constant.",
        "Θ(‖y‖/σ_r)",
        f"‖X⁺y‖σ_r/‖y‖ within a factor of {linear.THETA:g} of 1 at the largest condition number, for every "
        "spectrum and direction of y",
        linear.norm_is_theta,
        unit="|log ratio|",
    ),
    Claim(
        "ch11.B.16.bound",
        "required-control",
        "Singular values of X, of which exercise B.16 takes one",
        "‖y‖/σ_1 ≤ ‖X⁺y‖ ≤ ‖y‖/σ_m for every y, σ_m the smallest singular value; both are attained.",
        None,
        f"no relative excess above {linear.TIGHT:g}",
        linear.norm_bounds,
    ),
    Claim(
        "ch11.C.14",
        "statistical",
        "Chapter 11, exercise C.14",
        "Data of nominal rank 5, 20 and 80 have these effective ranks, and test error rises with them.",
        "ranks 5, 20, 80; errors .02, .08, .25",
        f"by both readings of the design: effective ranks less than {100 * linear.RANK_OFF:g} % off; "
        f"and test error, as it is and over the variance of the targets, above {1 + linear.RISE:g} "
        "times as large at the largest rank as at the smallest",
        linear.effective_rank_decides,
    ),
    Claim(
        "ch11.S.10",
        "statistical",
        "Chapter 11, solution C.10, printed output",
        "Test error rises with effective rank from .008 at 5 to .154 at 200.",
        "19 times",
        f"test error above {1 + linear.RISE:g} times as large at the largest nominal rank as at the "
        "smallest, with test inputs as stated and, over the variance of the targets, with test inputs "
        f"of the training inputs' structure; effective rank less than {100 * linear.RANK_OFF:g} % off",
        linear.sweep_rises,
    ),
    Claim(
        "ch11.mot.linear",
        "statistical",
        "Chapter 11, why interpolating models still generalise, linear example",
        "With 50 examples of 1000 features, the minimum-norm interpolator generalises well.",
        "generalises well",
        f"excess risk below {linear.WELL:g} of the signal's variance, which is what predicting "
        f"nothing costs",
        linear.minimum_norm_generalises,
    ),
    Claim(
        "ch11.mot.linear.law",
        "required-control",
        "Belkin, Hsu & Xu 2020, theorem 1",
        "On isotropic inputs the minimum-norm interpolator's risk is ‖θ‖²(1 − m/n) + σ²m/(n − m − 1).",
        None,
        f"relative error of the mean over seeds of at most {linear.LAW:g}",
        linear.isotropic_law,
    ),
    Claim(
        "ch11.A.8",
        "statistical",
        "Chapter 11, question A.8",
        "A model that fits shuffled labels exactly necessarily generalises poorly to true ones.",
        "True, 1/K",
        f"mean accuracy on true labels less than {networks.NEAR_CHANCE:g} points above 1/K, for "
        "networks and for the nearest of few points; and, as it is to be necessary, less than "
        f"{100 * networks.NEVER:g} % of labellings that exceed 1/K by the margin, with the fewest "
        "classes",
        networks.necessarily_poor,
    ),
    Claim(
        "ch11.mot.mnist",
        "statistical",
        "Chapter 11, why interpolating models still generalise, MNIST example",
        "A network that fits all training images generalises, where a lookup table guesses.",
        "99.5 % against 10 %",
        f"test accuracy more than {networks.MUCH:g} points above that of a lookup table of the same "
        f"images, and above {networks.NETWORK:g} %",
        networks.network_beats_table,
        unit="percentage points",
    ),
    Claim(
        "ch11.mot.mnist.nearest",
        "required-control",
        "Chapter 11, the same: a table that memorises, but with a distance",
        "Network training's own bias makes a memorising predictor generalise: a table that answers "
        "with the nearest image does not do as well.",
        None,
        f"test accuracy more than {networks.MORE:g} point above that of the nearest training image's label",
        networks.network_beats_nearest,
        unit="percentage points",
    ),
    Claim(
        "ch11.conn.deep",
        "statistical",
        "Chapter 11, deep network interpolation",
        "A network of three hidden layers has 99 % on MNIST after 10 epochs; trained on shuffled "
        "labels it fits them and has 10 %.",
        "99 % and 10 %",
        f"after the stated epochs test accuracy above {networks.STATED:g} % with true labels, and "
        f"training accuracy above {networks.FITTED:g} % with shuffled ones; test accuracy less than "
        f"{networks.NEAR_CHANCE:g} points above 1/K once these are fitted",
        networks.structure_decides,
        unit="per cent",
    ),
    Claim(
        "ch11.C.13",
        "statistical",
        "Chapter 11, exercise C.13",
        "On 50 points of the plane, a network of 50,178 parameters fits true and random labels by "
        "epoch 50 of SGD, with test accuracies of about 75 % and 50 %.",
        "100 % by epoch 50; 75 % and 50 %",
        f"training accuracy above {networks.FITTED:g} % at a quarter of the stated epochs with both, "
        "and at their end with random labels; test accuracy with true ones within "
        f"{networks.AS_PUBLISHED[1]:g} points of {networks.AS_PUBLISHED[0]:g} %; and in a longer run "
        f"that fits random labels, test accuracy with true labels more than {networks.APART:g} points "
        "above that with random ones",
        networks.plane_as_expected,
        unit="per cent",
    ),
)
"""All claims of the study."""
