"""What the landscape study decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.landscape.rules import (
    FREE,
    NEARLY_ALL,
    PRINTED,
    SMALLEST_RATIO,
    WILD,
    WITHIN,
    adam_ends_elsewhere,
    paths_do_not_rise,
    published_rises,
    rise_is_of_the_function,
    rises_more,
    script_prints,
    test_loss_varies,
    zero_loss_nearby,
)

_CHAPTER = "Chapter 11"

CLAIMS = (
    Claim(
        "ch11.C.17",
        "statistical",
        f"{_CHAPTER}, exercise C.17",
        "Over random planes the test loss rises more around a minimum found with large batches than around "
        "one found with small batches.",
        "0.05 against 2.0 nats at the boundary",
        "geometric mean over seeds of large over small, above 1.25, of the mean rise from middle to boundary "
        "and of the larger eigenvalue of the Hessian over the plane, mean over planes; for raw and "
        "filter-normalised planes, at an equal step size and at a larger one for large batches; "
        "simultaneous intervals",
        rises_more,
        SMALLEST_RATIO,
        "ratio",
    ),
    Claim(
        "ch11.C.17.values",
        "statistical",
        f"{_CHAPTER}, exercise C.17",
        "The test loss rises by about 0.05 nats to the boundary of a raw plane for small batches and by "
        "about 2.0 for large ones.",
        "0.05 and 2.0",
        f"geometric means over seeds of both rises within a factor {WITHIN:g} of what is published, with "
        "their whole intervals (simultaneous); refuted where one lies wholly beyond",
        published_rises,
        None,
        "nats",
    ),
    Claim(
        "ch11.C.17.scale",
        "required-control",
        f"{_CHAPTER}, exercise C.17",
        "How much the loss rises over a random plane is a property of the function that was found.",
        None,
        "rescaling the layers of a ReLU network, which changes no output, changes the rise by less than a "
        "factor 1.25, with the whole interval",
        rise_is_of_the_function,
        None,
        "factor",
    ),
    Claim(
        "ch11.mot.geometry",
        "statistical",
        f"{_CHAPTER}, Motivation, geometry of the loss landscape",
        "Nearly all random points near the initial weights of an overparameterised network have zero "
        "training loss.",
        "nearly all",
        f"share of random points with no training error, which is less than zero loss asks, above "
        f"{NEARLY_ALL:g} in the mean over seeds, at each distance from the initial weights",
        zero_loss_nearby,
        None,
        "fraction",
    ),
    Claim(
        "ch11.mot.geometry.paths",
        "statistical",
        f"{_CHAPTER}, Motivation, geometry of the loss landscape",
        "Solutions are often connected by continuous paths on which the training loss does not rise.",
        None,
        f"on a trained quadratic Bezier curve the highest training loss lies less than {FREE:g} nats above "
        "the higher end, in the mean over seeds, for each pair of end points",
        paths_do_not_rise,
        None,
        "nats",
    ),
    Claim(
        "ch11.mot.geometry.test-loss",
        "statistical",
        f"{_CHAPTER}, Motivation, geometry of the loss landscape",
        "The test loss varies wildly along such paths.",
        None,
        "highest over lowest test loss along the Bezier curve above 2 in the geometric mean over seeds, for "
        "each pair of end points",
        test_loss_varies,
        WILD,
        "ratio",
    ),
    Claim(
        "ch11.mot.geometry.optimizers",
        "statistical",
        f"{_CHAPTER}, Motivation, geometry of the loss landscape",
        "Stochastic gradient descent ends at a low norm and close to the initial weights, Adam elsewhere.",
        None,
        "Adam's norm and its distance from the initial weights are above 1.25 times those of SGD, in the "
        "geometric mean over seeds",
        adam_ends_elsewhere,
        SMALLEST_RATIO,
        "ratio",
    ),
    Claim(
        "ch11.S.13",
        "identity",
        f"{_CHAPTER}, solution script C.13 (S.13 here)",
        "The script prints loss ranges of 0.0012 to 0.1234 for small and 0.0015 to 0.8932 for large batches.",
        "0.0012 to 0.1234; 0.0015 to 0.8932",
        f"each of the four numbers within {PRINTED:g} of what the script computes, at its own seed and "
        "others",
        script_prints,
        None,
        "1",
    ),
)
