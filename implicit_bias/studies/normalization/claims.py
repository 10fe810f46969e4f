"""What the normalization study decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.normalization import rules
from implicit_bias.studies.normalization.rules import EXACT, FAILS, FALLS, LAW, SMALLEST_RATIO

SECTION = "Dhand, section 9.2"
RATIO = f"ratio above {1 + SMALLEST_RATIO}"

CLAIMS = (
    Claim(
        "dhand.arch-9.2",
        "identity",
        f"{SECTION}, scale invariance and gradient rescaling",
        "Normalisation makes the loss invariant to the scale of weights: ⟨∇L, W⟩ = 0, ∇L(aW) = "
        "∇L(W)/a, λmax(aW) = λmax(W)/a².",
        "0, 1/a, 1/a²",
        "weights before a batch, layer or group normalisation, dense and convolutional, ε = 0: "
        f"relative errors in double precision at most {EXACT:g}",
        rules.invariance,
    ),
    Claim(
        "dhand.arch-9.2.scope",
        "required-control",
        f"{SECTION}, where it is not so",
        "Other weights, large ε, weight decay and the running statistics of batch normalisation break "
        "the invariance.",
        None,
        f"error of the gradient's scaling, and with decay of its being orthogonal to W, above "
        f"{FAILS:g} in each",
        rules.scope,
        FAILS,
    ),
    Claim(
        "dhand.arch-9.2.sphere",
        "identity",
        f"{SECTION}, proposition 9.2, first half",
        "Gradient descent with normalisation optimises over normalised parameters.",
        None,
        "W/‖W‖ moves as by descent on the unit sphere with step η/‖W‖²: distance after an update at "
        f"most {EXACT:g}",
        rules.sphere,
    ),
    Claim(
        "dhand.arch-9.2.growth",
        "identity",
        "van Laarhoven 2017; Li & Arora 2020",
        "Without weight decay an update adds η²‖∇L‖² to ‖W‖².",
        None,
        f"difference over several updates, relative to ‖W‖², at most {EXACT:g}",
        rules.growth,
    ),
    Claim(
        "dhand.arch-9.2.rates",
        "statistical",
        f"{SECTION}, gradient rescaling",
        "Normalisation modifies the effective learning rate of each layer.",
        "per layer",
        "SGD without decay: η/‖W‖² of a hidden layer at the start to the end, and of the layer with "
        f"the largest to the one with the least over the last half: {RATIO}",
        rules.rates,
        SMALLEST_RATIO,
        "ratio",
    ),
    Claim(
        "dhand.arch-9.2.equilibrium",
        "statistical",
        "van Laarhoven 2017; Wan et al. 2021",
        "With weight decay norms settle where a direction turns by √(2ηλ) in an update.",
        None,
        "root mean square angle over the last half of SGD, hidden layers with normalisation, within "
        f"{100 * LAW:g} % of √(2ηλ)",
        rules.equilibrium,
        unit="relative distance",
    ),
    Claim(
        "dhand.arch-9.2.smoothing",
        "statistical",
        f"{SECTION}, loss landscape smoothing",
        "Normalisation reduces the sharpness of minima.",
        "reduced",
        "λmax at one training loss, without to with normalisation, at each one's own step size and at "
        f"one for all, with statistics of the batch and with running ones: {RATIO}",
        rules.smoothing,
        SMALLEST_RATIO,
        "ratio",
    ),
    Claim(
        "dhand.arch-9.2.smoothing.relative",
        "required-control",
        f"{SECTION}, loss landscape smoothing, whatever the scale of weights",
        "Normalisation reduces the sharpness of minima relative to the weights.",
        "reduced",
        "λmax·‖W‖² of each hidden layer's Hessian block at one training loss, without to with "
        "normalisation: " + RATIO,
        rules.smoothing_relative,
        SMALLEST_RATIO,
        "ratio",
    ),
    Claim(
        "dhand.arch-9.2.smoothing.path",
        "statistical",
        f"{SECTION}, loss landscape smoothing; Santurkar et al. 2018",
        "Normalisation smooths the landscape along the path of training.",
        "smoothed",
        "largest ‖∇L(θ+δ) − ∇L(θ)‖/‖δ‖ down the gradient at updates after the start, without to with "
        f"normalisation: {RATIO}",
        rules.smoothing_path,
        SMALLEST_RATIO,
        "ratio",
    ),
    Claim(
        "dhand.arch-9.2.regulariser",
        "statistical",
        f"{SECTION}, proposition 9.2, second half",
        "Batch normalisation induces a regulariser that depends on the activations' statistics.",
        None,
        "mean over small batches of the loss with their own statistics less that of the same examples "
        "with those of all, at one training loss: above 0 for the smallest, and its exponent in B "
        f"below {FALLS:g}",
        rules.regulariser,
    ),
)
"""All claims of the study."""
