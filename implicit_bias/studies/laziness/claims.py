"""What the laziness study decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.laziness.rows import LAZIEST
from implicit_bias.studies.laziness.rules import (
    APART,
    BAND,
    FIXED,
    LEARNT,
    NARROW,
    RICH,
    RISE,
    SMALLEST_GAP,
    SMALLEST_RATIO,
    hierarchical_aligned_incremental,
    limitations,
    movement_falls_with_alpha,
    narrow_beats_wide,
    random_features_fall_short,
    rich_beats_lazy,
)

CLAIMS = (
    Claim(
        "dhand.E3",
        "statistical",
        "Dhand, section 10.3, experiment 3",
        "Two-layer networks that learn features, the narrow ones, beat the wide ones in the kernel regime on "
        "CIFAR-10.",
        "5 to 8 percentage points",
        f"as stated: test error of the widest network more than {SMALLEST_GAP:g} points above that of each "
        f"network of up to {NARROW:g} of its width, each at its time of least validation error",
        narrow_beats_wide,
        SMALLEST_GAP,
        "percentage points",
    ),
    Claim(
        "dhand.E3.same-width",
        "required-control",
        "Dhand, section 10.3, experiment 3, laziness told from width",
        "A network that learns features beats the kernel regime at its own width.",
        "5 to 8 percentage points",
        f"test error more than {SMALLEST_GAP:g} points above the network's, of its linearisation and of "
        "kernel descent with the kernel of its start and of infinite width; and that of the largest α above "
        "that of the smallest; each at its time of least validation error",
        rich_beats_lazy,
        SMALLEST_GAP,
        "percentage points",
    ),
    Claim(
        "dhand.sec-5.3",
        "statistical",
        "Dhand, section 5.3, limitations of the kernel",
        "In the kernel regime features stay as they were drawn, while those of networks as they are used "
        "move; networks of finite width depart from it; and how far depends on their start.",
        "three limitations",
        f"relative change of the last hidden layer: above {LEARNT} at α = 1, below {FIXED} at the largest α; "
        f"squared distance of the narrowest network from the infinite-width kernel's function above {APART} "
        f"of its size and above {1 + SMALLEST_RATIO} times the widest one's; change of the kernel from the "
        f"smallest initial scale above {1 + SMALLEST_RATIO} times that from the largest",
        limitations,
        None,
        "1",
    ),
    Claim(
        "dhand.sec-6.1-claims",
        "statistical",
        "Dhand, section 6.1, feature learning regime",
        "Learning features is hierarchical (upper layers turn to the task), aligned with the target, and "
        "incremental (simple patterns come first).",
        "simple before complex",
        f"in the rich regime, which the smallest α must reach (kernel change of {RICH} at least): "
        f"centred alignment of the kernel with the labels rises by more than {RISE} at the smallest α, "
        "and by that more than at the largest; deep linear networks from a small start take more than "
        f"{1 + SMALLEST_RATIO} times as long for the weakest mode of the target as for the strongest, "
        "and that ratio exceeds the large start's as much; with two hidden layers, at the smallest α, "
        f"the alignment of the second rises by more than {RISE} more than that of the first",
        hierarchical_aligned_incremental,
        None,
        "1",
    ),
    Claim(
        "ch11.A.17",
        "statistical",
        "Chapter 11, question A.17",
        "That random features, of which only the last layer is trained, generalise as well as features "
        "learnt end to end is false.",
        "False",
        "a counterexample: on a target of few directions, at one width, test error with random features "
        f"above {1 + SMALLEST_RATIO} times that with learnt ones, stopped alike on validation data, and even "
        "with the ridge that is best on the test examples",
        random_features_fall_short,
        SMALLEST_RATIO,
        "ratio",
    ),
    Claim(
        "laziness.ctrl.alpha",
        "required-control",
        "Chizat, Oyallon & Bach 2019, section 1",
        "Networks whose outputs are multiplied by a large α are lazy: their parameters move as 1/α.",
        "an exponent of −1",
        f"exponent of relative movement over the {LAZIEST} largest α within [{BAND[0]}, {BAND[1]}], with its "
        "whole interval",
        movement_falls_with_alpha,
        None,
        "exponent",
    ),
)
"""All claims of the study."""
